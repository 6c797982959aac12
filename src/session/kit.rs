//! What a store is checked with: the built-in ones by their tests, and anybody's own.
//!
//! ```no_run
//! # async fn check(values: impl mcp_echo_stateful::session::values::Values) {
//! use std::sync::Arc;
//!
//! use mcp_echo_stateful::clock::Clock;
//! use mcp_echo_stateful::session::kit;
//! use mcp_echo_stateful::session::values::Whole;
//!
//! kit::values(&values).await.unwrap();
//! let store = Whole::new(values, Arc::new(Clock::new()));
//! for seed in 0..20 {
//!     kit::sessions(&store, kit::Positions::Time, seed).await.unwrap();
//! }
//! # }
//! ```

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::clients::Client;
use super::ended::EndReason;
use super::instance::tag_of;
use super::record::{Identity, IdentitySource, NewSession, Record, Unbound};
use super::saved::Saved;
use super::store::{
    Commit, Committed, Create, Created, Down, Ended, Epoch, Gone, Loaded, Open, Opened, Outgoing, Reply, Store,
    StoreFigures, StoreTime, Take, Taken, Token,
};
use super::stored::Stored;
use super::values::{Put, Values};
use crate::protocol::{Capabilities, ClientInfo, LogLevel, Revision};

/// What a store did otherwise than it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

impl From<Down> for Broken {
    fn from(down: Down) -> Self {
        Self(format!("it did not answer: {down}"))
    }
}

fn must(holds: bool, what: &str) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(what.to_owned())) }
}

/// Checks a store of values: two seconds, and a few names that were never used before.
///
/// # Errors
/// What does not hold.
pub async fn values(store: &impl Values) -> Result<(), Broken> {
    const LONG: Duration = Duration::from_secs(3600);
    let kept = |put: Put| match put {
        Put::Kept(tag) => Ok(tag),
        Put::Stale => Err(Broken("a put that expects what is there is refused".to_owned())),
    };
    let id = new_id();
    must(store.get(id).await?.is_none(), "a value that was never put is there")?;
    let first = kept(store.put(id, b"{\"n\":1}".to_vec(), None, LONG).await?)?;
    must(
        store.get(id).await? == Some((b"{\"n\":1}".to_vec(), first.clone())),
        "a value is not read as it was put, with the tag that the put returned",
    )?;
    must(
        store.put(id, b"other".to_vec(), None, LONG).await? == Put::Stale,
        "a put that expects no value replaces one",
    )?;
    let second = kept(store.put(id, b"{\"n\":2}".to_vec(), Some(first.clone()), LONG).await?)?;
    must(second != first, "another value has the same tag")?;
    must(
        store.put(id, b"{\"n\":3}".to_vec(), Some(first), LONG).await? == Put::Stale,
        "a put that expects an old value replaces a newer one",
    )?;
    must(
        store.put(new_id(), b"x".to_vec(), Some(second.clone()), LONG).await? == Put::Stale,
        "a put that expects a value makes one where none is",
    )?;
    must(
        store.get(id).await? == Some((b"{\"n\":2}".to_vec(), second.clone())),
        "a put that was refused has changed something",
    )?;
    let puts = (0..8_u8).map(|n| store.put(id, vec![b'0' + n; 100], Some(second.clone()), LONG));
    let puts: Vec<_> = futures_util::future::join_all(puts).await.into_iter().collect::<Result<_, Down>>()?;
    let won = puts.iter().filter(|put| **put != Put::Stale).count();
    must(won == 1, &format!("of eight puts at once that expect the same, {won} are kept instead of one"))?;
    let large: Vec<u8> = (0..3 * 1024 * 1024_u32).map(|n| b"\x00\xff{}\"\n"[n as usize % 6]).collect();
    let id = new_id();
    kept(store.put(id, large.clone(), None, LONG).await?)?;
    must(
        store.get(id).await?.is_some_and(|(value, _)| value == large),
        "a value of 3 MiB does not come back as it was",
    )?;
    let id = new_id();
    kept(store.put(id, b"short".to_vec(), None, Duration::from_secs(1)).await?)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    must(store.get(id).await?.is_none(), "a value is there after its time to live, which was one second")?;
    kept(store.put(id, b"again".to_vec(), None, LONG).await?)?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "names that nobody else has")]
fn new_id() -> Uuid {
    Uuid::new_v4()
}

/// What positions a store gives to messages, beside that they grow, and are after the session was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// At least its time.
    Time,
    /// At least that, where it has surely lost nothing since.
    Since(StoreTime),
}

/// Walks a session through 80 random operations, and compares what the store says with what it promises
/// ([`store`](super::store)), at the time that it says it was. The same seed is the same walk, but for the time.
///
/// # Errors
/// Where it says something else, and what was done up to there.
pub async fn sessions(store: &dyn Store, positions: Positions, seed: u64) -> Result<(), Broken> {
    let mut walk = Walk::begin(store, positions, seed).await?;
    for _ in 0..80 {
        walk.step(store).await?;
    }
    Ok(())
}

/// Chance that can be had again: xorshift64* (Vigna 2016).
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end.max(1)
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

fn new_session(owner: Option<&str>) -> NewSession {
    NewSession {
        protocol_version: Revision::V2025_11_25,
        client_info: ClientInfo { name: "client".into(), version: "1.0".into(), title: None },
        client_capabilities: Capabilities::keep(&json!({})),
        owner: owner.map(|who| Identity::new(who, IdentitySource::X_USER_ID)).ok_or(Unbound::NoIdentity),
        address: None,
        client: Client::default(),
    }
}

/// What is promised of a session.
#[derive(Clone)]
pub(super) enum Model {
    Alive(Box<Stored>),
    Gone(Gone),
}

impl Model {
    fn alive<T>(&mut self, now: StoreTime, act: impl FnOnce(&mut Stored) -> T) -> Result<T, Gone> {
        match self {
            Self::Alive(stored) => match stored.gone(now) {
                Some(gone) => Err(gone),
                None => Ok(act(stored)),
            },
            Self::Gone(gone) => Err(*gone),
        }
    }
}

/// Memory may be counted otherwise.
fn figures(figures: StoreFigures) -> StoreFigures {
    StoreFigures { bytes: 0, ..figures }
}

fn loaded(loaded: Loaded) -> Loaded {
    Loaded { figures: figures(loaded.figures), ..loaded }
}

fn committed(committed: Committed) -> Committed {
    match committed {
        Committed::Kept { version, again, figures: f } => Committed::Kept { version, again, figures: figures(f) },
        Committed::Conflict(conflict) => Committed::Conflict(Box::new(loaded(*conflict))),
        other => other,
    }
}

const LEVELS: [LogLevel; 4] = [LogLevel::Debug, LogLevel::Info, LogLevel::Warning, LogLevel::Error];

/// A session under random operations of several writers, in the store and in the model.
pub(super) struct Walk {
    chance: Chance,
    pub(super) model: Model,
    pub(super) id: Uuid,
    pub(super) positions: Positions,
    record: Record,
    versions: Vec<Token>,
    number: u64,
    /// Epoch, stream, position.
    streams: Vec<(Epoch, u32, u64)>,
    pub(super) log: Vec<String>,
}

impl Walk {
    pub(super) async fn begin(store: &dyn Store, positions: Positions, seed: u64) -> Result<Self, Broken> {
        let mut chance = Chance::new(seed);
        let id = new_id();
        let now = store.load(id).await?.at;
        let record = Record::new(id, now.moment(), new_session(chance.percent(50).then_some("alice")));
        let mut saved = Saved::new(record.clone(), 1 + chance.below(5));
        saved.queue = saved.queue.tagged(tag_of(id));
        let token = Token { writer: 1, number: 0 };
        let create = Create { token, saved: &saved, timeout: Duration::from_secs(600) };
        let made = store.create(create).await?;
        must(made.what == Created::Made, "a session is not made")?;
        must(store.create(create).await?.what == Created::Made, "the same creation again is not known")?;
        let other = Create { token: Token { writer: 2, number: 0 }, ..create };
        must(store.create(other).await?.what == Created::Taken, "a session is made twice")?;
        let model = Model::Alive(Box::new(Stored::new(create, made.at)));
        let (versions, streams, log) = (vec![token], Vec::new(), Vec::new());
        Ok(Self { chance, model, id, positions, record, versions, number: 0, streams, log })
    }

    pub(super) async fn step(&mut self, store: &dyn Store) -> Result<(), Broken> {
        match self.chance.below(100) {
            0..41 => self.commit(store).await,
            41..56 => self.open(store).await,
            56..84 => self.take(store).await,
            84..90 => self.close(store).await,
            90..93 => {
                let anonymous = self.chance.percent(50);
                let Reply { at, .. } = store.note_intrusion(self.id, anonymous).await?;
                let _gone = self.model.alive(at, |stored| stored.note_intrusion(anonymous, at));
                Ok(())
            }
            93..97 => {
                let real = store.load(self.id).await?;
                let ours = self.model.alive(real.at, |stored| stored.load(real.at)).map(loaded);
                self.agree("load", &real.what.map(loaded), &ours)
            }
            97..98 => self.end(store).await,
            _ => {
                let Reply { at, .. } = store.touch(self.id, Duration::from_millis(1)).await?;
                let _gone = self.model.alive(at, |stored| stored.touch(at));
                Ok(())
            }
        }
    }

    /// Whether the store says what it promises.
    fn agree<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, real: &T, ours: &T) -> Result<(), Broken> {
        self.log.push(format!("{what} -> {real:?}"));
        if real == ours {
            return Ok(());
        }
        Err(Broken(format!("{:#?}\n{what} is to be {ours:?}", self.log)))
    }

    fn least(&self, now: StoreTime) -> StoreTime {
        match self.positions {
            Positions::Time => now,
            Positions::Since(least) => least,
        }
    }

    async fn commit(&mut self, store: &dyn Store) -> Result<(), Broken> {
        self.number += u64::from(self.chance.percent(90));
        let token = Token { writer: 1 + self.chance.below(10) as u64, number: self.number };
        let newest = self.versions[self.versions.len() - 1];
        let expected = if self.chance.percent(85) { newest } else { self.versions[0] };
        self.record.state.echo_count += 1;
        if self.chance.percent(10) {
            self.record.log_level = LEVELS[self.chance.below(4)];
        }
        let mut append = Vec::new();
        for n in 0..self.chance.below(4) {
            let level = LEVELS[self.chance.below(4)];
            if level >= self.record.log_level {
                append.push(Outgoing { level, json: format!("{{\"{}\":\"{n} ü\"}}", self.number).into() });
            }
        }
        let until = if self.chance.percent(95) { StoreTime(u64::MAX / 4) } else { StoreTime(1) };
        let (id, in_use, attempt, record) = (self.id, false, 0, self.record.clone());
        let commit = Commit { id, token, expected, until, in_use, attempt, record: &record, append: &append };
        let real = store.commit(commit).await?;
        let least = self.least(real.at);
        let ours = self.model.alive(real.at, |stored| stored.commit(commit, least, real.at));
        let ours = committed(ours.unwrap_or_else(Committed::Gone));
        self.agree(&format!("commit {token} of {} messages", append.len()), &committed(real.what), &ours)?;
        match ours {
            Committed::Kept { version, .. } => self.versions.push(version),
            Committed::Conflict(loaded) => {
                self.versions.push(loaded.version);
                self.record = loaded.record;
            }
            Committed::Late | Committed::Gone(_) => {}
        }
        Ok(())
    }

    fn lease(&mut self) -> Duration {
        Duration::from_millis(if self.chance.percent(20) { 1 } else { 60_000 })
    }

    async fn open(&mut self, store: &dyn Store) -> Result<(), Broken> {
        let lease = self.lease();
        let known = self.streams.get(self.chance.below(self.streams.len() + 1)).copied();
        let resume = match (known, self.chance.below(4)) {
            (Some((_, stream, position)), 0 | 1) => Some((stream, position)),
            (Some((_, stream, _)), 2) => Some((stream, 0)),
            (_, 3) => Some((u32::try_from(self.chance.below(30)).unwrap_or(0), self.chance.below(1000) as u64)),
            _ => None,
        };
        let open = Open { replica: 1, lease, resume, again: None };
        let real = store.open(self.id, open).await?;
        let ours = self.model.alive(real.at, |stored| stored.open(open, real.at));
        self.agree(&format!("open after {resume:?}"), &real.what, &ours)?;
        if let Ok(Opened { epoch, stream, position, .. }) = ours {
            self.streams.push((epoch, stream, position));
        }
        Ok(())
    }

    async fn take(&mut self, store: &dyn Store) -> Result<(), Broken> {
        let Some(last) = self.streams.len().checked_sub(1) else { return Ok(()) };
        let i = if self.chance.percent(70) { last } else { self.chance.below(last + 1) };
        let (epoch, stream, position) = self.streams[i];
        let take = Take { epoch, stream, position, count: 1 + self.chance.below(3), lease: self.lease() };
        let real = store.take(self.id, take).await?;
        let ours = self.model.alive(real.at, |stored| stored.take(take, real.at)).unwrap_or_else(Taken::Gone);
        self.agree(&format!("{take:?}"), &real.what, &ours)?;
        match ours {
            Taken::Messages { messages, .. } => {
                // Sometimes what was taken never reaches the client.
                if let Some(last) = messages.last().filter(|_| self.chance.percent(90)) {
                    self.streams[i].2 = last.position;
                }
            }
            Taken::Unregistered => {
                let open = Open { replica: 1, lease: take.lease, resume: Some((stream, position)), again: Some(epoch) };
                let real = store.open(self.id, open).await?;
                let ours = self.model.alive(real.at, |stored| stored.open(open, real.at));
                self.agree(&format!("open {epoch:?} again"), &real.what, &ours)?;
                if let Ok(Opened { stream, position, .. }) = ours {
                    self.streams[i] = (epoch, stream, position);
                }
            }
            Taken::Displaced | Taken::Gone(_) => {}
        }
        Ok(())
    }

    async fn close(&mut self, store: &dyn Store) -> Result<(), Broken> {
        if self.streams.is_empty() {
            return Ok(());
        }
        let (epoch, ..) = self.streams[self.chance.below(self.streams.len())];
        let cut = self.chance.percent(50);
        let Reply { at, .. } = store.close(self.id, epoch, cut).await?;
        let _gone = self.model.alive(at, |stored| stored.close(epoch, cut, at));
        self.log.push(format!("close {epoch:?}, cut: {cut}"));
        Ok(())
    }

    async fn end(&mut self, store: &dyn Store) -> Result<(), Broken> {
        let real = store.end(self.id, EndReason::Deleted, None).await?;
        let ours = match self.model.alive(real.at, |stored| stored.end(EndReason::Deleted, None, real.at)) {
            Ok(Ok(gone)) => {
                self.model = Model::Gone(gone);
                Ended::Now
            }
            Ok(Err(ended)) => ended,
            Err(gone) => Ended::Gone(gone),
        };
        self.agree("end", &real.what, &ours)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use tokio::time::Instant;

    use super::*;
    use crate::clock::Clock;
    use crate::session::lock::lock;
    use crate::session::values::{Asked, Tag, Tagged, Whole};

    /// What is wrong with a store of values.
    #[derive(Clone, Copy, PartialEq)]
    enum Flaw {
        None,
        ExpectsNothing,
        ReplacesAnything,
        MakesWhatIsExpected,
        SameTag,
        KeepsForEver,
        CutsOff,
        ChangesWhatItRefuses,
    }

    type Row = (u64, Vec<u8>, Instant);

    struct Table(Flaw, Mutex<HashMap<Uuid, Row>>);

    impl Table {
        fn present(&self, id: Uuid) -> Option<Row> {
            let rows = lock(&self.1);
            rows.get(&id).filter(|(_, _, until)| self.0 == Flaw::KeepsForEver || *until > Instant::now()).cloned()
        }
    }

    impl Values for Table {
        fn get(&self, id: Uuid) -> Asked<'_, Option<Tagged>> {
            let found = self.present(id).map(|(version, value, _)| (value, version.to_string()));
            Box::pin(async { Ok(found) })
        }

        fn put(&self, id: Uuid, mut value: Vec<u8>, expected: Option<Tag>, ttl: Duration) -> Asked<'_, Put> {
            let version = self.present(id).map(|(version, ..)| version);
            let fits = match (version, &expected) {
                (None, None) => true,
                (None, Some(_)) => self.0 == Flaw::MakesWhatIsExpected,
                (Some(_), None) => self.0 == Flaw::ExpectsNothing,
                (Some(version), Some(tag)) => self.0 == Flaw::ReplacesAnything || version.to_string() == *tag,
            };
            let next = if self.0 == Flaw::SameTag { 1 } else { version.unwrap_or_default() + 1 };
            if self.0 == Flaw::CutsOff {
                value.truncate(1024 * 1024);
            }
            if fits || self.0 == Flaw::ChangesWhatItRefuses {
                lock(&self.1)
                    .insert(id, (if fits { next } else { version.unwrap_or_default() }, value, Instant::now() + ttl));
            }
            let put = if fits { Put::Kept(next.to_string()) } else { Put::Stale };
            Box::pin(async { Ok(put) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_flaw_of_a_store_of_values_is_found() {
        let flaws = [
            (Flaw::ExpectsNothing, "expects no value replaces one"),
            (Flaw::ReplacesAnything, "an old value replaces a newer one"),
            (Flaw::MakesWhatIsExpected, "makes one where none is"),
            (Flaw::SameTag, "the same tag"),
            (Flaw::KeepsForEver, "after its time to live"),
            (Flaw::CutsOff, "3 MiB"),
            (Flaw::ChangesWhatItRefuses, "has changed something"),
        ];
        for (flaw, said) in flaws {
            let found = values(&Table(flaw, Mutex::default())).await.unwrap_err();
            assert!(found.0.contains(said), "{found}");
        }
        assert_eq!(values(&Table(Flaw::None, Mutex::default())).await, Ok(()));
    }

    #[tokio::test]
    async fn sessions_in_a_store_of_values_are_as_promised() {
        let store = Whole::new(Table(Flaw::None, Mutex::default()), Arc::new(Clock::new()));
        for seed in 0..100 {
            let walked = sessions(&store, Positions::Time, seed).await;
            walked.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        }
    }

    #[tokio::test]
    async fn a_walk_finds_a_store_that_does_otherwise() {
        let store = Whole::new(Table(Flaw::None, Mutex::default()), Arc::new(Clock::new()));
        let walked = sessions(&store, Positions::Since(StoreTime(u64::MAX / 2)), 1).await.unwrap_err();
        assert!(walked.0.contains("is to be"), "{walked}");
    }

    #[tokio::test(start_paused = true)]
    async fn two_processes_on_one_store_of_values_lose_nothing() {
        let table = Arc::new(Table(Flaw::None, Mutex::default()));
        let stores = [0; 2].map(|_| Whole::new(Shared(Arc::clone(&table)), Arc::new(Clock::new())));
        let id = Walk::begin(&stores[0], Positions::Time, 1).await.unwrap().id;
        let echo = async |n: usize| loop {
            let store = &stores[n % 2];
            let Loaded { version, mut record, .. } = store.load(id).await.unwrap().what.unwrap();
            record.state.echo_count += 1;
            let (token, until) = (Token { writer: n as u64 + 10, number: 1 }, StoreTime(u64::MAX / 4));
            let (in_use, attempt, record, append) = (false, 0, &record, &[]);
            let commit = Commit { id, token, expected: version, until, in_use, attempt, record, append };
            if let Committed::Kept { .. } = store.commit(commit).await.unwrap().what {
                return;
            }
        };
        futures_util::future::join_all((0..50).map(echo)).await;
        assert_eq!(stores[0].load(id).await.unwrap().what.unwrap().record.state.echo_count, 50);
    }

    struct Shared(Arc<Table>);

    impl Values for Shared {
        fn get(&self, id: Uuid) -> Asked<'_, Option<Tagged>> {
            self.0.get(id)
        }

        fn put(&self, id: Uuid, value: Vec<u8>, expected: Option<Tag>, ttl: Duration) -> Asked<'_, Put> {
            self.0.put(id, value, expected, ttl)
        }
    }
}
