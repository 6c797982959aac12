//! What is remembered of clients beyond their sessions: requests without a session, sessions that were never used, streams,
//! refusals. Numbers and kinds only, nothing that a client wrote, shown to nobody but the same client.
//!
//! A client is told apart by who it says it is, else by where it comes from, and by its `User-Agent`: as much as requests
//! without a session tell. What a plain request in a session costs is nothing: only what is rare is noted.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use super::lock::lock;
use super::streams::{Life, Streams, Way};
use crate::clock::Moment;

/// How many clients are remembered, those heard of last: enough for the clients that one person looks after, and some 400 KB.
pub const MAX_CLIENTS: usize = 512;

/// Refusals are one after the other when there is no more than this between them: people try again after seconds, loops sooner.
pub const AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// A client, as far as it can be told apart: a number that means nothing outside this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Client {
    /// With its identity, where the request has one.
    own: u64,
    /// Without: what comes from the same place under the same name, such as a browser's preflights.
    anonymous: u64,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// 400: not JSON, or no JSON-RPC.
    Unreadable,
    /// 400: it names no session.
    NoSession,
    /// 400: a version that is not served.
    Version,
    /// 400: another rule of the protocol.
    Rule,
    /// 403: the Host.
    Host,
    /// 403: the Origin.
    Origin,
    /// 404: no such session.
    DeadSession,
    /// 404: no such method (MCP 2026-07-28).
    UnknownMethod,
    /// 405
    Method,
    /// 406
    Accept,
    /// 413
    TooLarge,
    /// 415
    ContentType,
    /// 429: the session's messages come too fast.
    TooFast,
    /// 503, or any other mistake that is not the client's.
    Busy,
}

impl Denial {
    /// All.
    pub const ALL: [Self; 14] = [
        Self::Unreadable,
        Self::NoSession,
        Self::Version,
        Self::Rule,
        Self::Host,
        Self::Origin,
        Self::DeadSession,
        Self::UnknownMethod,
        Self::Method,
        Self::Accept,
        Self::TooLarge,
        Self::ContentType,
        Self::TooFast,
        Self::Busy,
    ];

    /// The status, and why, in a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "400 (no JSON-RPC message)",
            Self::NoSession => "400 (no Mcp-Session-Id)",
            Self::Version => "400 (MCP-Protocol-Version)",
            Self::Rule => "400 (a rule of the protocol)",
            Self::Host => "403 (Host)",
            Self::Origin => "403 (Origin)",
            Self::DeadSession => "404 (no such session)",
            Self::UnknownMethod => "404 (no such method)",
            Self::Method => "405 (method)",
            Self::Accept => "406 (Accept)",
            Self::TooLarge => "413 (body too large)",
            Self::ContentType => "415 (Content-Type)",
            Self::TooFast => "429 (MCP_RATE_LIMIT)",
            Self::Busy => "503 (no room)",
        }
    }
}

/// A kind of refusal, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// How often.
    pub count: u32,
    /// How often in a row: see [`AGAIN_WITHIN`].
    pub row: u32,
    /// When the row began.
    pub since: Moment,
    /// The last one.
    pub last: Moment,
}

/// What is remembered of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it was last heard of here.
    pub last: Moment,
    /// Sessions that `initialize` made for it.
    pub initialized: u32,
    /// Of them those whose id it used.
    pub used: u32,
    /// The last ones in a row that it has not used.
    pub unused: u32,
    /// When the first of them was made.
    pub unused_since: Moment,
    /// When `initialize` last made one.
    pub last_initialized: Moment,
    /// Requests other than `initialize` and `ping` that named no session.
    pub sessionless: u32,
    /// One came since the last `initialize`.
    goes_without: bool,
    /// DELETEs that ended a session.
    pub deleted: u32,
    /// CORS preflights.
    pub preflights: u32,
    /// Its streams, of all its sessions.
    pub streams: Streams,
    /// Requests that were refused, by [`Denial::ALL`].
    refused: [Refused; Denial::ALL.len()],
    /// The POST that was refused last: why, and when.
    pub refused_post: Option<(Denial, Moment)>,
    /// The id of no session that it sent last, as a number, and how often in a row.
    dead_id: (u64, u32),
}

impl Seen {
    /// Refusals of one kind.
    #[must_use]
    pub fn refused(&self, why: Denial) -> Refused {
        self.refused[why as usize]
    }

    /// How often the last id of no session came, in a row.
    #[must_use]
    pub fn dead_id_tries(&self) -> u32 {
        self.dead_id.1
    }
}

/// A request that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Denied {
    /// Why.
    pub why: Denial,
    /// Whether it was a POST.
    pub is_post: bool,
    /// The id of no session that it named, as a number.
    pub dead_id: Option<u64>,
}

/// The clients heard of last. Its locks are taken last, and nothing is called while one is held.
#[derive(Debug, Default)]
pub struct Clients {
    seen: Mutex<HashMap<u64, Seen>>,
    /// The streams of all clients.
    streams: Mutex<Streams>,
    /// A key of this process: nobody can choose what meets in one place.
    hasher: RandomState,
}

impl Clients {
    /// The client with this identity (as a number), address and `User-Agent`.
    #[must_use]
    pub fn client(&self, identity: Option<u64>, address: Option<IpAddr>, agent: &[u8]) -> Client {
        let anonymous = self.hasher.hash_one((address, agent));
        let own = identity.map_or(anonymous, |identity| self.hasher.hash_one((identity, agent)));
        Client { own, anonymous }
    }

    /// A number that stands for something that a client sent.
    #[must_use]
    pub fn number(&self, sent: &[u8]) -> u64 {
        self.hasher.hash_one(sent)
    }

    /// What is remembered of `client`.
    #[must_use]
    pub fn seen(&self, client: Client) -> Seen {
        let all = lock(&self.seen);
        let mut seen = all.get(&client.own).cloned().unwrap_or_default();
        if client.own != client.anonymous {
            // Browsers send no credentials with preflights (Fetch standard, CORS-preflight fetch).
            seen.preflights += all.get(&client.anonymous).map_or(0, |seen| seen.preflights);
        }
        seen
    }

    /// The streams of all clients.
    #[must_use]
    pub fn streams(&self) -> Streams {
        lock(&self.streams).clone()
    }

    fn note<T>(&self, client: u64, now: Moment, note: impl FnOnce(&mut Seen) -> T) -> T {
        let mut all = lock(&self.seen);
        if all.len() >= MAX_CLIENTS && !all.contains_key(&client) {
            // A walk of some microseconds, for a client that is new while there are as many as may be.
            let oldest = all.iter().min_by_key(|(_, seen)| seen.last).map(|(client, _)| *client);
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        let seen = all.entry(client).or_default();
        seen.last = seen.last.max(now);
        note(seen)
    }

    /// `initialize` made a session for it.
    pub fn initialized(&self, client: Client, now: Moment) {
        self.note(client.own, now, |seen| {
            bump(&mut seen.initialized);
            if seen.unused == 0 {
                seen.unused_since = now;
            }
            bump(&mut seen.unused);
            seen.last_initialized = now;
            seen.goes_without = false;
        });
    }

    /// It used the id of a session for the first time.
    pub fn used(&self, client: Client, now: Moment) {
        self.note(client.own, now, |seen| {
            bump(&mut seen.used);
            seen.unused = 0;
        });
    }

    /// It sent a request without a session. Returns what is remembered of it, where that is the first since a session was
    /// made for it.
    pub fn sessionless(&self, client: Client, now: Moment) -> Option<Seen> {
        self.note(client.own, now, |seen| {
            bump(&mut seen.sessionless);
            let is_first = !std::mem::replace(&mut seen.goes_without, true);
            is_first.then(|| seen.clone())
        })
    }

    /// It ended a session.
    pub fn deleted(&self, client: Client, now: Moment) {
        self.note(client.own, now, |seen| bump(&mut seen.deleted));
    }

    /// A preflight came from there.
    pub fn preflight(&self, client: Client, now: Moment) {
        self.note(client.anonymous, now, |seen| bump(&mut seen.preflights));
    }

    /// A request of it was refused. Returns what is remembered of it.
    pub fn refused(&self, client: Client, denied: Denied, now: Moment) -> Seen {
        let Denied { why, is_post, dead_id } = denied;
        self.note(client.own, now, |seen| {
            let refused = &mut seen.refused[why as usize];
            bump(&mut refused.count);
            if refused.row == 0 || now.since(refused.last) > AGAIN_WITHIN {
                (refused.row, refused.since) = (0, now);
            }
            bump(&mut refused.row);
            refused.last = now;
            if is_post {
                seen.refused_post = Some((why, now));
            }
            if let Some(id) = dead_id {
                let tries = if seen.dead_id.0 == id { seen.dead_id.1 } else { 0 };
                seen.dead_id = (id, tries.saturating_add(1));
            }
            seen.clone()
        })
    }

    /// It opened a stream.
    pub(super) fn opened(&self, client: Client, way: Way, now: Moment) {
        lock(&self.streams).open(way);
        self.note(client.own, now, |seen| seen.streams.open(way));
    }

    /// A stream of it ended.
    pub(super) fn ended(&self, client: Client, life: Life) {
        lock(&self.streams).end(life);
        self.note(client.own, life.ended(), |seen| seen.streams.end(life));
    }
}

fn bump(count: &mut u32) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::super::streams::End;
    use super::*;

    const AGENT: &[u8] = b"node";

    fn from(clients: &Clients, last: u8) -> Client {
        clients.client(None, Some(IpAddr::from([192, 0, 2, last])), AGENT)
    }

    fn refusal(why: Denial) -> Denied {
        Denied { why, is_post: true, dead_id: None }
    }

    #[test]
    fn all_of_it_is_a_few_hundred_kilobytes() {
        assert!(MAX_CLIENTS * size_of::<(u64, Seen)>() <= 450_000, "{} bytes each", size_of::<Seen>());
    }

    #[test]
    fn a_client_is_who_it_says_it_is_else_where_it_comes_from_under_its_name() {
        let clients = Clients::default();
        let address = |last| Some(IpAddr::from([192, 0, 2, last]));
        let alice = clients.client(Some(1), address(1), AGENT);
        assert_eq!(alice.own, clients.client(Some(1), address(2), AGENT).own, "a cloud has many addresses");
        for other in [
            clients.client(Some(2), address(1), AGENT),
            clients.client(Some(1), address(1), b"curl"),
            clients.client(None, address(1), AGENT),
        ] {
            assert_ne!(alice.own, other.own);
        }
        clients.preflight(from(&clients, 1), Moment(1));
        assert_eq!(clients.seen(alice).preflights, 1, "a preflight has no credentials");
        clients.initialized(alice, Moment(2));
        assert_eq!(clients.seen(from(&clients, 1)).initialized, 0, "what belongs to an identity is shown to no other");
    }

    #[test]
    fn the_client_not_heard_of_for_longest_is_forgotten() {
        let clients = Clients::default();
        for n in 0..MAX_CLIENTS as u64 {
            clients.initialized(clients.client(Some(n), None, AGENT), Moment(n + 1));
        }
        let first = clients.client(Some(0), None, AGENT);
        clients.used(first, Moment(9999));
        clients.sessionless(clients.client(Some(1_000_000), None, AGENT), Moment(9999));
        assert_eq!(clients.seen(first).used, 1);
        assert_eq!(clients.seen(clients.client(Some(1), None, AGENT)), Seen::default());
        assert_eq!(lock(&clients.seen).len(), MAX_CLIENTS);
    }

    #[test]
    fn ids_that_were_never_used_are_counted_in_a_row() {
        let clients = Clients::default();
        let client = from(&clients, 1);
        clients.initialized(client, Moment(1));
        clients.used(client, Moment(2));
        for n in 3..6 {
            clients.initialized(client, Moment(n));
        }
        let seen = clients.sessionless(client, Moment(7)).unwrap();
        assert_eq!(clients.sessionless(client, Moment(7)), None);
        assert_eq!((seen.initialized, seen.used, seen.unused, seen.unused_since), (4, 1, 3, Moment(3)));
        assert_eq!((seen.sessionless, seen.last), (1, Moment(7)));
    }

    #[test]
    fn refusals_are_counted_by_kind_and_in_a_row() {
        let clients = Clients::default();
        let client = from(&clients, 1);
        for second in [0, 1, 2, 100, 101] {
            clients.refused(client, refusal(Denial::Accept), Moment(second * 1000));
        }
        let seen = clients.refused(client, refusal(Denial::ContentType), Moment(102_000));
        let accept = seen.refused(Denial::Accept);
        assert_eq!((accept.count, accept.row, accept.since), (5, 2, Moment(100_000)));
        assert_eq!((seen.refused(Denial::ContentType).row, seen.refused(Denial::Rule).row), (1, 0));
        assert_eq!(seen.refused_post, Some((Denial::ContentType, Moment(102_000))));
        let dead = |id| Denied { why: Denial::DeadSession, is_post: false, dead_id: Some(id) };
        let tries = [7, 7, 8].map(|id| clients.refused(client, dead(id), Moment(103_000)).dead_id_tries());
        assert_eq!(tries, [1, 2, 1]);
    }

    #[test]
    fn streams_are_counted_for_the_client_and_for_all() {
        let clients = Clients::default();
        for last in [1, 2] {
            clients.opened(from(&clients, last), Way::default(), Moment(1));
            clients.ended(from(&clients, last), Life { opened: Moment(1), ms: 300, silence_ms: 0, end: End::Remote });
        }
        assert_eq!((clients.streams().opened, clients.seen(from(&clients, 1)).streams.opened), (2, 1));
    }
}
