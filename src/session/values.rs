//! Stores that keep a session as one value: two methods, and the rest is here.
//!
//! A value is read, changed as a store promises, and put back where nobody else has put one since ([`Put::Stale`]). So counts are
//! exact and nothing is lost, whoever shares the store. What such a store cannot do: wake the streams of other processes (they
//! look every second), and bound the sessions of all together.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::ended::EndReason;
use super::lock::lock;
use super::saved::{Saved, Unreadable};
use super::store::{
    Commit, Committed, Create, Created, Down, Ended, Epoch, Gone, Later, Loaded, Open, Opened, Reply, Store, StoreTime,
    Take, Taken,
};
use super::stored::Stored;
use crate::clock::Clock;

pub mod http;

/// What a store of values answers, later.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Down>> + Send + 'a>>;

/// What tells a value from those that were under its name before: an opaque text, compared for equality only.
pub type Tag = String;

/// A value, and its tag.
pub type Tagged = (Vec<u8>, Tag);

/// What became of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is kept, with this tag.
    Kept(Tag),
    /// There is another value than expected: nothing was changed.
    Stale,
}

/// A store of values, as a user writes it. [`Whole`] makes a [`Store`] of it; [`kit::values`](super::kit::values) checks it.
///
/// A value has some 2 KB, 20 KB with a full queue, and up to 3 MiB with the largest echo. Every future ends by itself.
pub trait Values: Send + Sync + 'static {
    /// The value of a session, with its tag; `None` where there is none, or its time is up.
    fn get(&self, id: Uuid) -> Asked<'_, Option<Tagged>>;

    /// Puts a value for `ttl`, if the present one has the tag `expected`; `None`: if there is none. Of several puts at once
    /// that expect the same one is kept.
    fn put(&self, id: Uuid, value: Vec<u8>, expected: Option<Tag>, ttl: Duration) -> Asked<'_, Put>;

    /// Now, by a clock that all processes share; `None`: by this machine's, which the others' must agree with.
    fn now(&self) -> Option<StoreTime> {
        None
    }
}

/// How long an expired session's value is kept, so that it can be told that it has expired.
const EXPIRED_FOR: Duration = Duration::from_mins(10);
/// How long it is known why a session ended.
const ENDED_FOR: Duration = Duration::from_hours(1);
/// How often a value is read anew because others were faster.
const TRIES: u32 = 100;
/// The longest pause between two of them.
const MOST_PAUSE: Duration = Duration::from_millis(20);
/// The most values that are remembered, and the most bytes they may have together: a commit then needs no read.
const REMEMBERED: usize = 1000;
const REMEMBERED_BYTES: usize = 32 * 1024 * 1024;
/// How long a connection is taken for alive after it was last heard of: three looks.
const LEASE: Duration = Duration::from_secs(3);

/// What is under a session's name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kept {
    Session(Box<Stored>),
    Gone(Gone),
}

/// What is looked at where the whole cannot be read.
#[derive(Deserialize)]
struct Head {
    session: SessionHead,
}

#[derive(Deserialize)]
struct SessionHead {
    saved: Box<RawValue>,
}

impl Kept {
    fn read(json: &[u8]) -> Result<Self, Down> {
        serde_json::from_slice(json).map_err(|error| {
            let newer = serde_json::from_slice(json)
                .ok()
                .and_then(|Head { session }| Saved::from_json(session.saved.get().as_bytes()).err());
            let why = newer.unwrap_or_else(|| Unreadable::Damaged(error.to_string()));
            Down { why: why.to_string(), reached: false, lasts: true }
        })
    }

    fn ttl(&self) -> Duration {
        match self {
            Self::Session(stored) => stored.timeout() + EXPIRED_FOR,
            Self::Gone(_) => ENDED_FOR,
        }
    }
}

/// Whether what was done is to be kept.
enum Done<T> {
    Changed(T),
    Unchanged(T),
}

/// A store of sessions in a store of values.
pub struct Whole<V> {
    values: V,
    clock: Arc<Clock>,
    /// The values put last, with their tags.
    newest: Mutex<HashMap<Uuid, Tagged>>,
}

impl<V: Values> Whole<V> {
    /// In `values`. `clock` says what time it is where they do not.
    #[must_use]
    pub fn new(values: V, clock: Arc<Clock>) -> Self {
        Self { values, clock, newest: Mutex::default() }
    }

    /// The store of values.
    #[must_use]
    pub fn values(&self) -> &V {
        &self.values
    }

    fn time(&self) -> StoreTime {
        self.values
            .now()
            .unwrap_or_else(|| StoreTime(u64::try_from(self.clock.wall_now().as_microsecond()).unwrap_or_default()))
    }

    fn remember(&self, id: Uuid, value: Vec<u8>, tag: Tag) {
        let mut newest = lock(&self.newest);
        let bytes: usize =
            if newest.len().is_multiple_of(64) { newest.values().map(|(value, _)| value.len()).sum() } else { 0 };
        if newest.len() >= REMEMBERED || bytes > REMEMBERED_BYTES {
            newest.clear();
        }
        newest.insert(id, (value, tag));
    }

    /// Does something with what is under a name, and keeps it where it was changed. It may be done more than once, and only
    /// the last time counts.
    async fn with<T>(
        &self,
        id: Uuid,
        mut act: impl FnMut(&mut Option<Kept>, StoreTime) -> Done<T>,
    ) -> Result<Reply<T>, Down> {
        for tries in 0..TRIES {
            let remembered = lock(&self.newest).remove(&id);
            let is_sure = remembered.is_none();
            let tagged = match remembered {
                Some(tagged) => Some(tagged),
                None => self.values.get(id).await.map_err(|down| Down { reached: false, ..down })?,
            };
            let (mut kept, tag) = match tagged {
                Some((value, tag)) => (Some(Kept::read(&value)?), Some(tag)),
                None => (None, None),
            };
            // No clock is exact: time does not go back behind what was written last.
            let at = match &kept {
                Some(Kept::Session(stored)) => self.time().max(stored.used_at()),
                _ => self.time(),
            };
            let what = match act(&mut kept, at) {
                // What is remembered may be old: only a put can tell.
                Done::Unchanged(_) if !is_sure => continue,
                Done::Unchanged(what) => return Ok(Reply { at, what }),
                Done::Changed(what) => what,
            };
            let Some(kept) = kept else { return Ok(Reply { at, what }) };
            // Plain data with texts as keys: nothing that could fail.
            let value = serde_json::to_vec(&kept).unwrap_or_default();
            match self.values.put(id, value.clone(), tag, kept.ttl()).await? {
                Put::Kept(tag) => {
                    self.remember(id, value, tag);
                    return Ok(Reply { at, what });
                }
                Put::Stale => tokio::time::sleep(Duration::from_millis(u64::from(tries / 4)).min(MOST_PAUSE)).await,
            }
        }
        Err(Down { why: format!("{TRIES} times others had changed the session before"), reached: false, lasts: false })
    }

    /// The same with a session that lives.
    async fn alive<T>(
        &self,
        id: Uuid,
        mut act: impl FnMut(&mut Stored, StoreTime) -> Done<T>,
    ) -> Result<Reply<Result<T, Gone>>, Down> {
        self.with(id, |kept, now| match kept {
            Some(Kept::Session(stored)) => match stored.gone(now) {
                Some(gone) => Done::Unchanged(Err(gone)),
                None => match act(stored, now) {
                    Done::Changed(what) => Done::Changed(Ok(what)),
                    Done::Unchanged(what) => Done::Unchanged(Ok(what)),
                },
            },
            Some(Kept::Gone(gone)) => Done::Unchanged(Err(*gone)),
            None => Done::Unchanged(Err(Gone { reason: None, at: now.moment(), owner: None })),
        })
        .await
    }

    async fn done(&self, id: Uuid, mut act: impl FnMut(&mut Stored, StoreTime)) -> Result<Reply<()>, Down> {
        let Reply { at, .. } = self
            .alive(id, |stored, now| {
                act(stored, now);
                Done::Changed(())
            })
            .await?;
        Ok(Reply { at, what: () })
    }
}

fn or_gone<T>(reply: Reply<Result<T, Gone>>, gone: impl FnOnce(Gone) -> T) -> Reply<T> {
    Reply { at: reply.at, what: reply.what.unwrap_or_else(gone) }
}

impl<V: Values> Store for Whole<V> {
    fn now(&self) -> Option<StoreTime> {
        Some(self.time())
    }

    fn lease(&self) -> Duration {
        LEASE
    }

    fn create<'a>(&'a self, create: Create<'a>) -> Later<'a, Created> {
        Box::pin(self.with(create.saved.record.id, move |kept, now| match kept {
            Some(Kept::Session(stored)) if stored.made_by(create.token) => Done::Unchanged(Created::Made),
            Some(_) => Done::Unchanged(Created::Taken),
            None => {
                *kept = Some(Kept::Session(Box::new(Stored::new(create, now))));
                Done::Changed(Created::Made)
            }
        }))
    }

    fn load(&self, id: Uuid) -> Later<'_, Result<Loaded, Gone>> {
        Box::pin(self.alive(id, |stored, now| Done::Unchanged(stored.load(now))))
    }

    fn commit<'a>(&'a self, commit: Commit<'a>) -> Later<'a, Committed> {
        Box::pin(async move {
            let committed = self.alive(commit.id, |stored, now| match stored.commit(commit, now, now) {
                kept @ Committed::Kept { again: false, .. } => Done::Changed(kept),
                other => Done::Unchanged(other),
            });
            Ok(or_gone(committed.await?, Committed::Gone))
        })
    }

    fn note_intrusion(&self, id: Uuid, anonymous: bool) -> Later<'_, ()> {
        Box::pin(self.done(id, move |stored, now| stored.note_intrusion(anonymous, now)))
    }

    fn open(&self, id: Uuid, open: Open) -> Later<'_, Result<Opened, Gone>> {
        Box::pin(self.alive(id, move |stored, now| Done::Changed(stored.open(open, now))))
    }

    fn take(&self, id: Uuid, take: Take) -> Later<'_, Taken> {
        Box::pin(async move {
            let taken = self.alive(id, |stored, now| match stored.take(take, now) {
                taken @ Taken::Messages { .. } => Done::Changed(taken),
                other => Done::Unchanged(other),
            });
            Ok(or_gone(taken.await?, Taken::Gone))
        })
    }

    fn close(&self, id: Uuid, epoch: Epoch, cut: bool) -> Later<'_, ()> {
        Box::pin(self.done(id, move |stored, now| stored.close(epoch, cut, now)))
    }

    fn touch(&self, id: Uuid, _lease: Duration) -> Later<'_, ()> {
        Box::pin(self.done(id, Stored::touch))
    }

    fn end(&self, id: Uuid, reason: EndReason, unless_used_since: Option<StoreTime>) -> Later<'_, Ended> {
        Box::pin(self.with(id, move |kept, now| match kept {
            Some(Kept::Session(stored)) => match stored.gone(now) {
                Some(gone) => Done::Unchanged(Ended::Gone(gone)),
                None => match stored.end(reason, unless_used_since, now) {
                    Ok(gone) => {
                        *kept = Some(Kept::Gone(gone));
                        Done::Changed(Ended::Now)
                    }
                    Err(used) => Done::Unchanged(used),
                },
            },
            Some(Kept::Gone(gone)) => Done::Unchanged(Ended::Gone(*gone)),
            None => Done::Unchanged(Ended::Gone(Gone { reason: None, at: now.moment(), owner: None })),
        }))
    }
}
