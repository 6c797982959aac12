//! What is kept of a session's requests for the findings of the families `ses` and `http`: flags, counters and a few
//! last values. Plain data, far below a microsecond a request; text and evidence are made where a finding is shown.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::fingerprint::fingerprint;
use super::rest::Rest;
use super::streams::Streams;
use crate::clock::Moment;
use crate::protocol::Revision;

/// A kind of request, as far as Authorization is watched. A bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// POST of `initialize`.
    Initialize = 1,
    /// POST of anything else.
    Post = 2,
    /// GET: a stream.
    Get = 4,
    /// DELETE.
    Delete = 8,
}

impl Kind {
    /// All, in the order of a session's life.
    pub const ALL: [Self; 4] = [Self::Initialize, Self::Post, Self::Get, Self::Delete];

    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "POST initialize",
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Delete => "DELETE",
        }
    }
}

/// Kinds of requests: a set of [`Kind`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kinds(u8);

impl Kinds {
    fn add(&mut self, kind: Kind) {
        self.0 |= kind as u8;
    }

    /// Whether `kind` is among them.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & kind as u8 != 0
    }

    /// Whether there is one that uses a session.
    const fn has_more_than_initialize(self) -> bool {
        self.0 & !(Kind::Initialize as u8) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    #[must_use]
    pub fn names(self) -> String {
        let names: Vec<_> = Kind::ALL.into_iter().filter(|kind| self.has(*kind)).map(Kind::name).collect();
        names.join(", ")
    }
}

/// One HTTP request that entered a session.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What kind it is.
    pub kind: Kind,
    /// Hash of the `Authorization` header; `None` without one.
    pub authorization: Option<u64>,
    /// A number for who sent it; `None` where that cannot be told.
    pub user: Option<u64>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// What `MCP-Protocol-Version` says.
    pub version: Option<Revision>,
    /// `Accept` names application/json.
    pub lists_json: bool,
    /// `Accept` names text/event-stream.
    pub lists_sse: bool,
}

/// What is known of the requests of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Kinds that came with `Authorization`.
    pub authorized: Kinds,
    /// Kinds that came without.
    pub unauthorized: Kinds,
    /// How often the token was another than the one before; the first is the first.
    pub tokens: u32,
    /// Hash of the last token.
    pub last_token: u64,
    /// A number for the last user that was named; 0 before one was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_user: u64,
    /// How often the user was another than the one before: only where the session is bound to nobody.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_users: u64,
    /// Where IPv4 requests come from.
    pub v4: Addresses,
    /// Where IPv6 requests come from. A host has many addresses of one /64 (RFC 8981): the network is what counts.
    pub v6: Addresses,
    /// Requests after `initialize` without `MCP-Protocol-Version`, where the revision demands it.
    pub version_absent: u32,
    /// Requests whose `MCP-Protocol-Version` is another than the negotiated one.
    pub version_other: u32,
    /// The last such version.
    pub last_other_version: Option<Revision>,
    /// POSTs whose `Accept` does not name application/json.
    pub accept_without_json: u32,
    /// POSTs and GETs whose `Accept` does not name text/event-stream.
    pub accept_without_sse: u32,
    /// JSON-RPC requests other than `ping` after `initialize` and before `notifications/initialized`.
    pub before_ready: u32,
    /// Requests whose id was that of a call still at work.
    pub reused_ids: u32,
    /// Its GET streams. Boxed: most sessions have had none.
    #[serde(default)]
    pub streams: Option<Box<Streams>>,
    /// `notifications/cancelled` for calls that were not at work: they had been answered, or never came.
    #[serde(default)]
    pub late_cancels: u32,
    /// `tools/list` came before the first tool call.
    #[serde(default)]
    pub listed_first: bool,
    /// How often the id was used after the session had expired.
    pub tries_when_dead: u32,
    /// A number for the client, as far as it can be told.
    pub client: u64,
    /// The session before, of the same client.
    pub before: Option<Before>,
    /// What a newer release wrote beside these.
    #[serde(flatten)]
    pub rest: Rest,
}

/// The addresses of one family that a session was used from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The first.
    pub first: Option<IpAddr>,
    /// The last that was another than the first.
    pub other: Option<IpAddr>,
    /// Requests from others than the first.
    pub from_others: u32,
}

impl Addresses {
    fn record(&mut self, address: IpAddr) {
        match self.first {
            None => self.first = Some(address),
            Some(first) if first != address => {
                self.other = Some(address);
                self.from_others = self.from_others.saturating_add(1);
            }
            Some(_) => {}
        }
    }
}

/// What the same client (name, version, address, identity) did with its session before this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// JSON-RPC requests in it.
    pub requests: u64,
    /// Tool calls among them.
    pub tool_calls: u64,
    /// It expired: there was no DELETE.
    pub expired: bool,
    /// When it was created.
    pub created: Moment,
    /// How many sessions before this one had one tool call each and nothing else but a `tools/list`, without interruption.
    pub single_calls: u32,
    /// Of them those that asked for `tools/list` before their call: so does a client that goes on, too.
    #[serde(default)]
    pub listed_first: u8,
    /// How many sessions of the client, in a row up to this one, were open and idle when their next one began.
    #[serde(default)]
    pub left_open: u16,
    /// Its last message was refused because it came too fast: when the next one would have been taken; else zero.
    #[serde(default, skip_serializing_if = "is_moment_zero")]
    pub told_to_wait_until: Moment,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_moment_zero(moment: &Moment) -> bool {
    *moment == Moment(0)
}

/// What a request brought for the first time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// It is the first that names the session.
    pub first_use: bool,
    /// There may be something to find.
    pub findings: bool,
}

impl History {
    /// Records a request. `negotiated` is the session's revision. Returns what came for the first time.
    pub fn record(&mut self, entry: &Entry, negotiated: Revision) -> News {
        let used = Kinds(self.authorized.0 | self.unauthorized.0).has_more_than_initialize();
        let mut news = News { first_use: entry.kind != Kind::Initialize && !used, ..News::default() };
        let mut bump = |count: &mut u32| {
            news.findings |= *count == 0;
            bump(count);
        };
        match entry.authorization {
            Some(token) => {
                self.authorized.add(entry.kind);
                if self.tokens == 0 || self.last_token != token {
                    self.tokens = self.tokens.saturating_add(1);
                    self.last_token = token;
                }
            }
            None => self.unauthorized.add(entry.kind),
        }
        if let Some(user) = entry.user
            && self.last_user != user
        {
            self.other_users += u64::from(self.last_user != 0);
            self.last_user = user;
        }
        match entry.address {
            Some(IpAddr::V6(address)) => self.v6.record(IpAddr::V6(network(address))),
            Some(address) => self.v4.record(address),
            None => {}
        }
        if entry.kind != Kind::Initialize {
            match entry.version {
                None if negotiated.requires_version_header() => bump(&mut self.version_absent),
                Some(version) if version != negotiated => {
                    bump(&mut self.version_other);
                    self.last_other_version = Some(version);
                }
                _ => {}
            }
        }
        if negotiated.requires_accept() {
            if matches!(entry.kind, Kind::Initialize | Kind::Post) && !entry.lists_json {
                bump(&mut self.accept_without_json);
            }
            if entry.kind != Kind::Delete && !entry.lists_sse {
                bump(&mut self.accept_without_sse);
            }
        }
        news
    }

    /// Whether a GET stream was asked for.
    #[must_use]
    pub const fn opened_get(&self) -> bool {
        self.authorized.has(Kind::Get) || self.unauthorized.has(Kind::Get)
    }

    /// Whether its `initialize` came with `Authorization`.
    #[must_use]
    pub const fn began_authorized(&self) -> bool {
        self.authorized.has(Kind::Initialize)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn bump(count: &mut u32) {
    *count = count.saturating_add(1);
}

fn network(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address) >> 64 << 64)
}

/// A number that tells tokens apart. Length and end suffice, and cost the same for tokens of any size: the end of a
/// signed token is its signature.
#[must_use]
pub fn token_hash(authorization: &[u8]) -> u64 {
    const END: usize = 192;
    let end = &authorization[authorization.len().saturating_sub(END)..];
    fingerprint(&[&(authorization.len() as u64).to_be_bytes(), end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry {
        kind: Kind::Post,
        authorization: Some(1),
        user: None,
        address: None,
        version: Some(Revision::V2025_06_18),
        lists_json: true,
        lists_sse: true,
    };

    #[test]
    fn a_well_behaved_request_leaves_nothing_but_its_token() {
        let mut history = History::default();
        for _ in 0..3 {
            history.record(&ENTRY, Revision::V2025_06_18);
        }
        let mut expected = History { tokens: 1, last_token: 1, ..History::default() };
        expected.authorized.add(Kind::Post);
        assert_eq!(history, expected);
    }

    #[test]
    fn a_host_with_two_families_and_changing_suffixes_is_one() {
        let mut history = History::default();
        for address in ["192.0.2.1", "2001:db8::1", "192.0.2.1", "2001:db8::2"] {
            history.record(&Entry { address: address.parse().ok(), ..ENTRY }, Revision::V2025_06_18);
        }
        assert_eq!((history.v4.other, history.v6.other), (None, None));
        history.record(&Entry { address: "192.0.2.2".parse().ok(), ..ENTRY }, Revision::V2025_06_18);
        assert_eq!(history.v4.from_others, 1);
    }
}
