//! The scripts against what a store promises: [`Stored`] does the same, at the time that Redis says it was.
//!
//! They need a Redis: `MCP_TEST_STORE=redis://127.0.0.1:6379 cargo test --lib session::redis`. Without one they do nothing.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::protocol::{Capabilities, ClientInfo, LogLevel, Revision};
use crate::session::clients::Client;
use crate::session::stored::Stored;
use crate::session::{Identity, IdentitySource, NewSession, Record, Saved, Unbound};

struct Nobody;

impl Here for Nobody {
    fn is_in_use(&self, _: Uuid) -> bool {
        false
    }

    fn ended(&self, _: Uuid, _: Gone) {}
}

/// A Redis, with a prefix of the test's own.
#[expect(clippy::disallowed_methods, reason = "it says where a Redis is, and nothing of what is tested")]
fn place() -> Option<RedisAt> {
    let url = std::env::var("MCP_TEST_STORE").ok().filter(|store| store.starts_with("redis://"))?;
    Some(RedisAt { url, prefix: format!("test-{:016x}:", rand::random::<u64>()) })
}

fn store(at: &RedisAt) -> Redis {
    Redis::new(at.clone(), 1, 1000, Arc::new(Nobody))
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

/// What the model knows of a session.
#[derive(Clone)]
enum Model {
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

/// Memory is counted otherwise.
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

/// A session under random operations of two writers, in both.
struct Walk {
    random: StdRng,
    at: RedisAt,
    redis: Redis,
    model: Model,
    id: Uuid,
    /// When the connection was made.
    least: StoreTime,
    record: Record,
    versions: Vec<Token>,
    number: u64,
    /// Epoch, stream, position.
    streams: Vec<(Epoch, u32, u64)>,
    snapshot: Option<(Vec<Option<Vec<u8>>>, Model)>,
    log: Vec<String>,
}

impl Walk {
    async fn begin(at: &RedisAt, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let redis = store(at);
        redis.check().await.unwrap();
        let least = redis.link.since().await;
        let now = redis.link.time().await.unwrap();
        let id = Uuid::from_u128(random.r#gen());
        let record = Record::new(id, now.moment(), new_session(random.gen_bool(0.5).then_some("alice")));
        let mut saved = Saved::new(record.clone(), random.gen_range(1..6));
        saved.queue = saved.queue.tagged(tag_of(id));
        let token = Token { writer: 1, number: 0 };
        let timeout = Duration::from_secs(600);
        let create = Create { token, saved: &saved, timeout };
        let made = redis.create(create).await.unwrap();
        assert_eq!(made.what, Created::Made);
        let model = Model::Alive(Box::new(Stored::new(create, made.at)));
        let versions = vec![token];
        Self {
            random,
            at: at.clone(),
            redis,
            model,
            id,
            least,
            record,
            versions,
            number: 0,
            streams: Vec::new(),
            snapshot: None,
            log: Vec::new(),
        }
    }

    async fn step(&mut self) {
        match self.random.gen_range(0..100) {
            0..40 => self.commit().await,
            40..55 => self.open().await,
            55..82 => self.take().await,
            82..88 => self.close().await,
            88..91 => self.intrude().await,
            91..95 => self.load().await,
            95..96 => self.end().await,
            96..97 => self.touch().await,
            97..98 => self.keep().await,
            _ => self.roll_back().await,
        }
    }

    async fn commit(&mut self) {
        self.number += u64::from(self.random.gen_bool(0.9));
        let token = Token { writer: self.random.gen_range(1..11), number: self.number };
        let newest = *self.versions.last().unwrap();
        let expected = if self.random.gen_bool(0.85) { newest } else { self.versions[0] };
        self.record.state.echo_count += 1;
        if self.random.gen_bool(0.1) {
            self.record.log_level = LEVELS[self.random.gen_range(0..4)];
        }
        let append: Vec<_> = (0..self.random.gen_range(0..4))
            .map(|n| {
                let level = LEVELS[self.random.gen_range(0..4)];
                Outgoing { level, json: format!("{{\"{}\":\"{n} ü\"}}", self.number).into() }
            })
            .filter(|message| message.level >= self.record.log_level)
            .collect();
        let until = if self.random.gen_bool(0.95) { StoreTime(u64::MAX / 4) } else { StoreTime(1) };
        let record = self.record.clone();
        let commit =
            Commit { id: self.id, token, expected, until, in_use: false, attempt: 0, record: &record, append: &append };
        let real = self.redis.commit(commit).await.unwrap();
        // A message has a position after the session was made, however old the connection is.
        let least = StoreTime(self.least.0.max(self.record.created.0 * 1000 + 1));
        let ours = self.model.alive(real.at, |stored| stored.commit(commit, least, real.at));
        let ours = committed(ours.unwrap_or_else(Committed::Gone));
        self.log.push(format!("commit {token} {} -> {:?}", append.len(), real.what));
        assert_eq!(committed(real.what), ours, "{:#?}", self.log);
        match ours {
            Committed::Kept { version, .. } => self.versions.push(version),
            Committed::Conflict(loaded) => {
                self.versions.push(loaded.version);
                self.record = loaded.record;
            }
            Committed::Late | Committed::Gone(_) => {}
        }
    }

    async fn open(&mut self) {
        let lease = Duration::from_millis(if self.random.gen_bool(0.2) { 1 } else { 60_000 });
        let known = self.streams.get(self.random.gen_range(0..self.streams.len() + 1)).copied();
        let resume = match (known, self.random.gen_range(0..4)) {
            (Some((_, stream, position)), 0 | 1) => Some((stream, position)),
            (Some((_, stream, _)), 2) => Some((stream, 0)),
            (_, 3) => Some((self.random.gen_range(0..30), self.random.gen_range(0..1000))),
            _ => None,
        };
        let open = Open { replica: 1, lease, resume, again: None };
        let real = self.redis.open(self.id, open).await.unwrap();
        let ours = self.model.alive(real.at, |stored| stored.open(open, real.at));
        self.log.push(format!("open {resume:?} -> {:?}", real.what));
        assert_eq!(real.what, ours, "{:#?}", self.log);
        if let Ok(Opened { epoch, stream, position, .. }) = ours {
            self.streams.push((epoch, stream, position));
        }
    }

    async fn take(&mut self) {
        let Some(i) = self.streams.len().checked_sub(1) else { return };
        let i = if self.random.gen_bool(0.7) { i } else { self.random.gen_range(0..=i) };
        let (epoch, stream, position) = self.streams[i];
        let lease = Duration::from_millis(if self.random.gen_bool(0.2) { 1 } else { 60_000 });
        let take = Take { epoch, stream, position, count: self.random.gen_range(1..4), lease };
        let real = self.redis.take(self.id, take).await.unwrap();
        let ours = self.model.alive(real.at, |stored| stored.take(take, real.at)).unwrap_or_else(Taken::Gone);
        self.log.push(format!("take {take:?} -> {:?}", real.what));
        assert_eq!(real.what, ours, "{:#?}", self.log);
        match ours {
            Taken::Messages { messages, .. } => {
                // Sometimes what was taken never reaches the client.
                if self.random.gen_bool(0.9)
                    && let Some(last) = messages.last()
                {
                    self.streams[i].2 = last.position;
                }
            }
            Taken::Unregistered => {
                let open = Open { replica: 1, lease, resume: Some((stream, position)), again: Some(epoch) };
                let real = self.redis.open(self.id, open).await.unwrap();
                let ours = self.model.alive(real.at, |stored| stored.open(open, real.at));
                self.log.push(format!("again {epoch:?} -> {:?}", real.what));
                assert_eq!(real.what, ours, "{:#?}", self.log);
                if let Ok(Opened { stream, position, .. }) = ours {
                    self.streams[i] = (epoch, stream, position);
                }
            }
            Taken::Displaced | Taken::Gone(_) => {}
        }
    }

    async fn close(&mut self) {
        let Some(i) = self.streams.len().checked_sub(1) else { return };
        let (epoch, ..) = self.streams[self.random.gen_range(0..=i)];
        let cut = self.random.gen_bool(0.5);
        let real = self.redis.close(self.id, epoch, cut).await.unwrap();
        let _gone = self.model.alive(real.at, |stored| stored.close(epoch, cut, real.at));
        self.log.push(format!("close {epoch:?} {cut}"));
    }

    async fn intrude(&mut self) {
        let anonymous = self.random.gen_bool(0.5);
        let real = self.redis.note_intrusion(self.id, anonymous).await.unwrap();
        let _gone = self.model.alive(real.at, |stored| stored.note_intrusion(anonymous, real.at));
    }

    async fn touch(&mut self) {
        let real = self.redis.touch(self.id, Duration::from_millis(1)).await.unwrap();
        let _gone = self.model.alive(real.at, |stored| stored.touch(real.at));
    }

    async fn load(&mut self) {
        let real = self.redis.load(self.id).await.unwrap();
        let ours = self.model.alive(real.at, |stored| stored.load(real.at)).map(loaded);
        self.log.push(format!("load -> {:?}", real.what));
        assert_eq!(real.what.map(loaded), ours, "{:#?}", self.log);
    }

    async fn end(&mut self) {
        let real = self.redis.end(self.id, EndReason::Deleted, None).await.unwrap();
        let ours = match self.model.alive(real.at, |stored| stored.end(EndReason::Deleted, None, real.at)) {
            Ok(Ok(gone)) => {
                self.model = Model::Gone(gone);
                Ended::Now
            }
            Ok(Err(ended)) => ended,
            Err(gone) => Ended::Gone(gone),
        };
        self.log.push(format!("end -> {:?}", real.what));
        assert_eq!(real.what, ours, "{:#?}", self.log);
    }

    fn keys(&self) -> [String; 2] {
        ["s", "q"].map(|kind| format!("{}{{{}}}:{kind}", self.at.prefix, self.id))
    }

    async fn keep(&mut self) {
        let mut values = Vec::new();
        for key in self.keys() {
            values.push(self.redis.link.ask(redis::cmd("DUMP").arg(key)).await);
        }
        self.snapshot = Some((values, self.model.clone()));
        self.log.push("snapshot".to_owned());
    }

    /// Redis forgets what has happened since the snapshot; all connections end.
    async fn roll_back(&mut self) {
        let Some((values, model)) = self.snapshot.clone() else { return };
        for (key, value) in self.keys().into_iter().zip(values) {
            let _: i64 = self.redis.link.ask(redis::cmd("DEL").arg(&key)).await;
            if let Some(value) = value {
                let _: String = self.redis.link.ask(redis::cmd("RESTORE").arg(key).arg(0).arg(value)).await;
            }
        }
        self.redis = store(&self.at);
        self.redis.check().await.unwrap();
        (self.least, self.model) = (self.redis.link.since().await, model);
        self.log.push("rolled back".to_owned());
    }
}

#[tokio::test]
async fn the_scripts_do_what_a_store_promises() {
    let Some(at) = place() else { return };
    let walks: Vec<_> = (0..400)
        .map(|seed| {
            let at = at.clone();
            async move {
                let mut walk = Walk::begin(&at, seed).await;
                for _ in 0..80 {
                    walk.step().await;
                }
            }
        })
        .collect();
    for walk in walks {
        walk.await;
    }
}

/// A Redis that is not there, is somebody else's or throws sessions away is told as such.
#[tokio::test]
async fn a_redis_that_cannot_be_reached_has_surely_changed_nothing() {
    let at = RedisAt { url: "redis://127.0.0.1:1".to_owned(), prefix: "test:".to_owned() };
    let why = store(&at).load(Uuid::nil()).await.unwrap_err();
    assert!(!why.reached && why.why.contains("refused"), "{why:?}");
}
