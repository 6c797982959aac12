//! What is known of a session besides its messages.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::clients::Client;
use super::fingerprint::fingerprint;
use super::history::History;
use super::pace::Pace;
use super::rest::Rest;
use crate::clock::Moment;
use crate::protocol::{Capabilities, ClientInfo, LogLevel, Revision};

/// The most that a session's `custom_data` may hold, as JSON text, in bytes.
pub const MAX_CUSTOM_DATA: usize = 16 * 1024;

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// UUID v4, chosen by the server.
    pub id: Uuid,
    /// When `initialize` was answered.
    pub created: Moment,
    /// When the last request came in or ended, or a stream was open.
    pub last_activity: Moment,
    /// `initialize` was answered. False for a session that a stateless request made: it has no handshake.
    pub initialized: bool,
    /// `notifications/initialized` came.
    pub client_ready: bool,
    /// The negotiated revision.
    pub protocol_version: Revision,
    /// `clientInfo` of `initialize`, strings shortened.
    pub client_info: ClientInfo,
    /// `capabilities` of `initialize`; `null` when they were larger than the bound.
    pub client_capabilities: Capabilities,
    /// The least level that is queued: `logging/setLevel`.
    pub log_level: LogLevel,
    /// Who initialized it, where the request said so and sessions are bound.
    pub owner: Option<Arc<Identity>>,
    /// Why it is nobody's, where there is no owner and the reason is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbound: Option<Unbound>,
    /// Attempts to use the id by others.
    pub intrusions: Intrusions,
    /// How fast its messages come, where `MCP_RATE_LIMIT` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Box<Pace>>,
    /// JSON-RPC requests; `initialize` is the first.
    pub request_count: u64,
    /// Tool calls among them.
    pub tool_calls: u64,
    /// Handling time of all finished requests, in microseconds.
    pub total_handling_us: u64,
    /// Requests that finished, to average over.
    pub finished_count: u64,
    /// What the findings look at.
    #[serde(default)]
    pub history: History,
    /// What the tools keep.
    pub state: State,
    /// What was found wrong so far, in the order of first sight.
    pub findings: Vec<SeenFinding>,
    /// What a newer release wrote beside these.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Record {
    /// A session that begins at `now`.
    #[must_use]
    pub fn new(id: Uuid, now: Moment, new: NewSession) -> Self {
        Self {
            id,
            created: now,
            last_activity: now,
            initialized: !new.protocol_version.is_stateless(),
            client_ready: false,
            protocol_version: new.protocol_version,
            client_info: new.client_info,
            client_capabilities: new.client_capabilities,
            log_level: LogLevel::default(),
            unbound: new.owner.as_ref().err().copied(),
            owner: new.owner.ok().map(Arc::new),
            intrusions: Intrusions::default(),
            pace: None,
            request_count: 0,
            tool_calls: 0,
            total_handling_us: 0,
            finished_count: 0,
            history: History::default(),
            state: State::default(),
            findings: Vec::new(),
            rest: Rest::default(),
        }
    }

    /// Whether its revision has GET streams on this transport.
    #[must_use]
    pub const fn has_get(&self) -> bool {
        self.protocol_version.requires_accept() && !self.protocol_version.is_stateless()
    }

    /// Mean handling time of the finished requests in milliseconds, to the microsecond: that is what is counted. `None`
    /// before the first.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub fn average_handling_ms(&self) -> Option<f64> {
        (self.finished_count > 0).then(|| (self.total_handling_us as f64 / self.finished_count as f64).round() / 1000.0)
    }

    /// Memory held besides the record itself, in bytes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let findings: usize = self.findings.iter().map(|seen| size_of::<SeenFinding>() + seen.id.len()).sum();
        self.client_info.name.len()
            + self.client_info.version.len()
            + self.client_info.title.as_ref().map_or(0, |title| title.len())
            + self.client_capabilities.weight()
            + self.owner.as_ref().map_or(0, |owner| size_of::<Identity>() + owner.bytes())
            + findings
            + self.state.bytes()
    }
}

/// What begins a session.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The negotiated revision.
    pub protocol_version: Revision,
    /// Who the client is.
    pub client_info: ClientInfo,
    /// What the client can do.
    pub client_capabilities: Capabilities,
    /// Who is behind it, or why it is bound to nobody.
    pub owner: Result<Identity, Unbound>,
    /// Where the client is.
    pub address: Option<std::net::IpAddr>,
    /// Which client it is, as far as a request tells.
    pub client: Client,
}

/// Who a request comes from, as far as the proxy or the token says.
///
/// Compared to the letter: see [`Identity::is`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user's id, in a form that no other id has ([`exact`]).
    pub id: String,
    /// Where it was read.
    pub source: IdentitySource,
    /// Who gave the id: what the product says beside it, or the `iss` of the token that holds it. An id is unique
    /// within its issuer only (OpenID Connect Core 1.0 sections 2 and 5.7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The `iss` of a bearer token with the same id, beside a header whose product names no issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

impl Identity {
    /// An id without an issuer.
    #[must_use]
    pub fn new(id: impl Into<String>, source: IdentitySource) -> Self {
        Self { id: id.into(), source, issuer: None, beside: None }
    }

    /// Whether `caller` is the same: id, source and issuer. A token that came beside a header on one of the two requests
    /// only says nothing.
    #[must_use]
    pub fn is(&self, caller: &Self) -> bool {
        let same_token_issuer = match (&self.beside, &caller.beside) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.id == caller.id && self.source == caller.source && self.issuer == caller.issuer && same_token_issuer
    }

    /// A number that stands for it, where the identity itself is not to be kept.
    #[must_use]
    pub fn number(&self) -> u64 {
        let issuer = self.issuer.as_deref().unwrap_or_default();
        fingerprint(&[self.id.as_bytes(), self.source.as_str().as_bytes(), issuer.as_bytes()])
    }

    /// The id for people, not yet redacted: several lines of a header are parted by `, `, bytes that are no text are `\xff`.
    #[must_use]
    pub fn shown(&self) -> String {
        self.id.replace(NEXT, ", ").replace(ESCAPE, "\\x")
    }

    /// Memory held besides itself, in bytes.
    fn bytes(&self) -> usize {
        let issuers = [&self.issuer, &self.beside].into_iter().flatten();
        self.id.len() + issuers.map(String::len).sum::<usize>()
    }
}

/// Between the lines of a header that came more than once. No header can hold it (RFC 9110 section 5.5).
const NEXT: char = '\u{1e}';

/// Before the two hexadecimal digits of a byte that is a control character or no text.
const ESCAPE: char = '\u{1a}';

/// One text for the values of an id, such that no other values have it: several are parted by a character that no value
/// can hold, and bytes that are not UTF-8 differ from any text.
#[must_use]
pub fn exact<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut out = String::new();
    for (n, value) in values.into_iter().enumerate() {
        if n > 0 {
            out.push(NEXT);
        }
        for chunk in value.utf8_chunks() {
            if chunk.valid().bytes().any(|b| b < b' ') {
                for c in chunk.valid().chars() {
                    if c < ' ' { escape(&mut out, u8::try_from(c).unwrap_or_default()) } else { out.push(c) }
                }
            } else {
                out.push_str(chunk.valid());
            }
            chunk.invalid().iter().for_each(|byte| escape(&mut out, *byte));
        }
    }
    out
}

fn escape(out: &mut String, byte: u8) {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    out.extend([ESCAPE, digit(byte >> 4), digit(byte & 0xf)]);
}

/// Where an identity was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// The header of this name, lower case.
    Header(Cow<'static, str>),
    /// The bearer token's `sub` claim, not verified here.
    BearerSub,
}

impl IdentitySource {
    /// The gateway's own header.
    pub const X_USER_ID: Self = Self::Header(Cow::Borrowed("x-user-id"));

    /// As it is stored: the header's name, or `bearer-sub`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Header(name) => name,
            Self::BearerSub => "bearer-sub",
        }
    }
}

impl Serialize for IdentitySource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for IdentitySource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text == Self::BearerSub.as_str() { Self::BearerSub } else { Self::Header(text.into()) })
    }
}

/// Why a session is bound to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unbound {
    /// `MCP_SESSION_BINDING=off`.
    Off,
    /// Neither an identity header nor a token came.
    NoIdentity,
    /// The token says nothing itself, and no header names the user.
    Opaque,
    /// The token is larger than what is looked at.
    TooLong,
    /// The token has no `sub` that could be used: none, an empty one, two, or one that is no text and no number.
    NoSubject,
    /// The issuer's keys are known, and none of them signed the token.
    Unverified,
}

impl Unbound {
    /// Why, for people.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Off => "MCP_SESSION_BINDING is off",
            Self::NoIdentity => "neither an identity header of a gateway nor a bearer token came",
            Self::Opaque => "the token is opaque, and no identity header of a gateway came",
            Self::TooLong => {
                "the token is longer than 32 KiB and not looked at, and no identity header of a gateway came"
            }
            Self::Unverified => "no key of MCP_EXPECT_JWKS signed the token, and no identity header of a gateway came",
            Self::NoSubject => "the token has no sub claim that names a user, and no identity header of a gateway came",
        }
    }
}

/// A kind of finding that a session's requests raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFinding {
    /// The rule's id.
    pub id: String,
    /// How often it was raised.
    pub count: u64,
    /// When it was raised first.
    pub first: Moment,
    /// When it was raised last.
    pub last: Moment,
    /// It is in the log, and no answer has told the client yet.
    #[serde(default)]
    pub untold: bool,
}

/// How often others tried a session's id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intrusions {
    /// Requests with another identity.
    pub other: u64,
    /// Requests without any.
    pub anonymous: u64,
    /// The last of them.
    pub last: Option<Moment>,
}

impl Intrusions {
    /// Counts one.
    pub(super) fn count(&mut self, anonymous: bool, at: Moment) {
        *(if anonymous { &mut self.anonymous } else { &mut self.other }) += 1;
        self.last = Some(at);
    }
}

/// What the tools keep in a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The last message that echo returned.
    pub last_echo: Option<String>,
    /// Echoes so far.
    pub echo_count: u64,
    /// Replays so far.
    pub replay_count: u64,
    /// What echo's `customData` merged; `None` where there was none, as in nearly every session.
    pub custom_data: Option<CustomData>,
    /// What a newer release wrote beside these.
    #[serde(flatten)]
    pub rest: Rest,
}

impl State {
    /// Memory held besides itself, in bytes.
    fn bytes(&self) -> usize {
        self.last_echo.as_ref().map_or(0, String::capacity) + self.custom_data.as_ref().map_or(0, CustomData::bytes)
    }
}

/// A session's custom data: the JSON text of an object, since values would take ten times as much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomData(Box<str>);

impl CustomData {
    /// What is kept when `changes` are merged into `kept`; a `null` removes its key.
    ///
    /// # Errors
    /// When that is larger than [`MAX_CUSTOM_DATA`].
    pub fn merge(kept: Option<&Self>, changes: &Map<String, Value>) -> Result<Self, CustomDataTooLarge> {
        let mut merged = kept.map(Self::to_map).unwrap_or_default();
        for (key, value) in changes {
            if value.is_null() {
                merged.shift_remove(key);
            } else {
                merged.insert(key.clone(), value.clone());
            }
        }
        let text = Value::Object(merged).to_string();
        if text.len() > MAX_CUSTOM_DATA {
            return Err(CustomDataTooLarge { bytes: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// Its members.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// Its size as JSON text, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl Serialize for CustomData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CustomData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        Ok(Self(Value::Object(members).to_string().into()))
    }
}

/// Custom data would grow beyond [`MAX_CUSTOM_DATA`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session's custom data would be {bytes} bytes; at most {MAX_CUSTOM_DATA} are kept")]
pub struct CustomDataTooLarge {
    /// What it would weigh.
    pub bytes: usize,
}
