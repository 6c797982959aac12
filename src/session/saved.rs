//! A session as one value: what outlives the process.

use serde::{Deserialize, Deserializer, Serialize};

use super::instance::event_tag;
use super::queue::Queue;
use super::record::Record;
use super::rest::Rest;

/// Everything about a session that is kept: plain data, the same in every build and on every machine.
///
/// What lives only in a process (open connections, calls at work, who waits) is beside it, in
/// [`Session`](super::Session).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The format it was written in. First, so that nothing else is read of a newer one.
    pub format: Format,
    /// What is known of the session.
    pub record: Record,
    /// Its messages, and where each went.
    pub queue: Queue,
    /// What a newer release wrote beside these.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A format's number.
///
/// A new member needs no new format: older releases keep what they do not know ([`Rest`]), and newer ones give what is
/// missing its default. A number is for what older releases would misread, and takes two releases: the first one reads
/// both and goes on writing the old one, the second one writes the new one. So every release reads what the next one
/// writes, and replicas can be replaced one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Format(u32);

impl Format {
    /// What this release writes.
    pub const WRITTEN: Self = Self(1);
    /// The newest that this release can read.
    pub const NEWEST: Self = Self(1);
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let format = u32::deserialize(deserializer)?;
        if format > Self::NEWEST.0 {
            return Err(serde::de::Error::custom(Unreadable::Newer { format }));
        }
        Ok(Self(format))
    }
}

/// Why a stored session cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer release wrote it, in a format that this one does not know.
    #[error("it has format {format}, written by a newer release; this one reads up to {}", Format::NEWEST.0)]
    Newer {
        /// Its format.
        format: u32,
    },
    /// It is no session, or a damaged one.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

impl Saved {
    /// A session without messages.
    #[must_use]
    pub fn new(record: Record, queue_size: usize) -> Self {
        let queue = Queue::new(queue_size).tagged(event_tag());
        Self { format: Format::WRITTEN, record, queue, rest: Rest::default() }
    }

    /// Reads what [`Saved::to_json`] wrote, in this release or another.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn from_json(json: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        serde_json::from_slice(json).map_err(|error| match serde_json::from_slice(json) {
            Ok(Head { format }) if format > Format::NEWEST.0 => Unreadable::Newer { format },
            _ => Unreadable::Damaged(error.to_string()),
        })
    }

    /// As JSON, for a store.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Plain data with texts as keys: nothing that could fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::clock::Moment;
    use crate::protocol::{Capabilities, ClientInfo, LogLevel, Revision};
    use crate::session::history::{Entry, Kind, token_hash};
    use crate::session::record::{CustomData, Identity, IdentitySource, NewSession, SeenFinding};
    use crate::session::streams::{End, Life, Way};

    /// A session of which every part is used.
    fn saved() -> Saved {
        let new = NewSession {
            protocol_version: Revision::V2025_11_25,
            client_info: ClientInfo { name: "client".into(), version: "1.0".into(), title: Some("Client".into()) },
            client_capabilities: Capabilities::keep(&json!({ "roots": {} })),
            owner: Ok(Identity {
                issuer: Some("https://issuer.example".to_owned()),
                ..Identity::new("alice", IdentitySource::BearerSub)
            }),
            address: None,
            client: crate::session::Client::default(),
        };
        let mut record = Record::new(Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0000), Moment(1000), new);
        record.history.record(
            &Entry {
                kind: Kind::Post,
                authorization: Some(token_hash(b"Bearer token")),
                user: Some(7),
                address: "2001:db8::1".parse().ok(),
                version: None,
                lists_json: true,
                lists_sse: false,
            },
            Revision::V2025_11_25,
        );
        let streams = record.history.streams.get_or_insert_default();
        streams.open(Way { proxied: true, envoy_timeout_ms: 60_000 });
        streams.end(Life { opened: Moment(1000), ms: 60_000, silence_ms: 15_000, end: End::Remote });
        record.intrusions.last = Some(Moment(1500));
        record.state.last_echo = Some("Hello, \"world\"".to_owned());
        record.state.custom_data = CustomData::merge(None, json!({ "b": 1, "a": [null] }).as_object().unwrap()).ok();
        record.findings.push(SeenFinding {
            id: "ses.x".to_owned(),
            count: 2,
            first: Moment(1),
            last: Moment(2),
            untold: false,
        });
        let mut saved = Saved::new(record, 2);
        saved.queue = Queue::new(2).tagged(7);
        for n in 1..=4 {
            saved.queue.push(LogLevel::Info, format!("{{\"n\":{n}}}").into());
        }
        let (stream, position) = saved.queue.new_stream();
        let warning = saved.queue.next(stream, position, true, LogLevel::Info).unwrap();
        saved.queue.next(stream, warning.position, true, LogLevel::Info);
        saved
    }

    fn read(value: &Value) -> Result<Saved, Unreadable> {
        Saved::from_json(value.to_string().as_bytes())
    }

    #[test]
    fn a_session_is_the_same_after_a_restart() {
        let before = saved();
        let after = Saved::from_json(&before.to_json()).unwrap();
        assert_eq!(after, before);
        assert_eq!(after.to_json(), before.to_json());
    }

    /// Changes here change what every store holds: they need a default for what is missing, or a new [`Format`].
    #[test]
    fn the_format_is_what_it_was() {
        insta::assert_json_snapshot!(saved());
    }

    #[test]
    fn members_of_a_newer_release_are_kept() {
        let mut newer = serde_json::to_value(saved()).unwrap();
        for place in ["", "/record", "/record/history", "/record/state", "/queue"] {
            newer.pointer_mut(place).unwrap()["newMember"] = json!({ "at": place, "n": [1, 2.5, null] });
        }
        let read = read(&newer).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), newer);
        assert_eq!(read.record.rest.get("newMember").unwrap()["at"], "/record");
    }

    #[test]
    fn a_session_of_the_release_before_is_read() {
        let mut before = serde_json::to_value(saved()).unwrap();
        before["record"]["owner"] = json!({ "id": "12345", "source": "x-user-id" });
        before["record"]["history"].as_object_mut().unwrap().remove("last_user");
        let owner = read(&before).unwrap().record.owner.unwrap();
        assert!(owner.is(&Identity::new("12345", IdentitySource::X_USER_ID)));
    }

    #[test]
    fn a_format_of_the_release_after_next_is_refused_and_says_so() {
        let mut newer = serde_json::to_value(saved()).unwrap();
        newer["format"] = json!(99);
        newer["record"] = json!("whatever it is by then");
        let why = read(&newer).unwrap_err();
        assert_eq!(why, Unreadable::Newer { format: 99 });
        assert!(why.to_string().contains("newer release"), "{why}");
    }

    #[test]
    fn what_is_damaged_is_refused_rather_than_half_read() {
        let good = serde_json::to_value(saved()).unwrap();
        let damage: [(&str, Value); 8] = [
            ("/format", json!(null)),
            ("/record/id", json!("x")),
            ("/record/protocol_version", json!("1999-01-01")),
            ("/queue/capacity", json!(1)),
            ("/queue/newest", json!(2)),
            ("/queue/delivered", json!(0)),
            ("/queue/untold", json!(9)),
            ("/queue/messages/1/position", json!(1)),
        ];
        for (place, value) in damage {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value;
            assert!(matches!(read(&bad), Err(Unreadable::Damaged(_))), "{place}: {:?}", read(&bad));
        }
        let whole = good.to_string();
        for end in 0..whole.len() {
            assert!(Saved::from_json(&whole.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }
}
