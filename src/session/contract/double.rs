//! A store that does what it is told to do wrong.
//!
//! It keeps its promises like a real one; what it is told to do wrong happens to the operations that come next, in that
//! order. Its clock is its own. What it loses in a rollback, and what happens just before or after an operation, is up to
//! the test.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::session::ended::EndReason;
use crate::session::lock::lock;
use crate::session::saved::{Saved, Unreadable};
use crate::session::store::{
    Commit, Committed, Create, Created, Down, Ended, Epoch, Gone, Later, Loaded, Open, Opened, Reply, Store, StoreTime,
    Take, Taken, Token,
};
use crate::session::stored::Stored;

/// How long a client of the store waits for a reply.
const TIMEOUT: Duration = Duration::from_millis(500);

/// What happens to an operation.
pub enum Fault {
    /// It never reaches the store.
    Unreachable,
    /// It is done, and the reply is lost.
    ReplyLost,
    /// It is done when that is cancelled, if it still may be. Its caller hears nothing.
    Delayed(CancellationToken),
    /// It takes that long to get there.
    Slow(Duration),
    /// Something else happens just before.
    Before(Box<dyn FnOnce(&Double) + Send>),
    /// Nothing.
    None,
}

#[derive(Clone)]
enum Entry {
    Alive(Box<Stored>),
    Gone(Gone),
    /// A newer release wrote it.
    Unreadable(Unreadable),
}

/// Everything that the store holds, to go back to.
#[derive(Clone)]
pub struct Snapshot(HashMap<Uuid, Entry>);

/// See the module's documentation.
#[derive(Clone)]
pub struct Double(Arc<Inner>);

struct Inner {
    entries: Mutex<HashMap<Uuid, Entry>>,
    faults: Mutex<VecDeque<Fault>>,
    frozen: Mutex<Option<CancellationToken>>,
    counts: Mutex<Counts>,
    began: Instant,
    clock: Mutex<StoreTime>,
}

/// What was asked of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commits that reached it, repetitions included.
    pub commits: u32,
    /// Commits that were kept.
    pub kept: u32,
    /// Commits that met another version.
    pub conflicts: u32,
    /// Commits that came too late.
    pub late: u32,
}

impl Double {
    pub fn new() -> Self {
        // Some day in 2026, whatever the clocks of its processes show.
        let clock = Mutex::new(StoreTime(1_780_000_000_000_000));
        Self(Arc::new(Inner {
            entries: Mutex::default(),
            faults: Mutex::default(),
            frozen: Mutex::default(),
            counts: Mutex::default(),
            began: Instant::now(),
            clock,
        }))
    }

    /// Does `fault` to the next operation that nothing is to happen to yet.
    pub fn next(&self, fault: Fault) {
        lock(&self.0.faults).push_back(fault);
    }

    /// Nothing more goes wrong.
    pub fn restore(&self) {
        lock(&self.0.faults).clear();
    }

    /// Stops the process: what is asked of it from now on is done when it goes on, and its callers hear nothing.
    pub fn freeze(&self) {
        *lock(&self.0.frozen) = Some(CancellationToken::new());
    }

    /// Has it go on. What was asked of it meanwhile is done when other tasks have had their turn.
    pub fn thaw(&self) {
        if let Some(frozen) = lock(&self.0.frozen).take() {
            frozen.cancel();
        }
    }

    pub fn counts(&self) -> Counts {
        *lock(&self.0.counts)
    }

    /// Time passes, for the store alone.
    pub fn advance(&self, by: Duration) {
        let mut clock = lock(&self.0.clock);
        *clock = clock.plus(by);
    }

    pub fn now(&self) -> StoreTime {
        lock(&self.0.clock).plus(self.0.began.elapsed())
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot(lock(&self.0.entries).clone())
    }

    /// It forgets what has happened since: power failed, or another node took over.
    pub fn roll_back(&self, snapshot: Snapshot) {
        *lock(&self.0.entries) = snapshot.0;
    }

    /// What it holds of a session.
    pub fn stored(&self, id: Uuid) -> Stored {
        match lock(&self.0.entries).get(&id) {
            Some(Entry::Alive(stored)) => (**stored).clone(),
            _ => panic!("{id} is not there"),
        }
    }

    /// It writes everything out, and reads it in again; `edit` may change a session in between.
    pub fn restart(&self, edit: impl Fn(&mut serde_json::Value)) {
        for entry in lock(&self.0.entries).values_mut() {
            let Entry::Alive(stored) = entry else { continue };
            let mut value = serde_json::to_value(&*stored).unwrap();
            edit(&mut value["saved"]);
            *entry = match Saved::from_json(value["saved"].to_string().as_bytes()) {
                Ok(_) => Entry::Alive(serde_json::from_value(value).unwrap()),
                Err(why) => Entry::Unreadable(why),
            };
        }
    }

    /// Ends a session, as another process would.
    pub fn end_now(&self, id: Uuid, reason: EndReason) {
        self.with(id, |entry, now| {
            if let Entry::Alive(stored) = entry {
                *entry = Entry::Gone(stored.end(reason, None, now).unwrap());
            }
        });
    }

    /// Commits an echo, as another process would.
    pub fn echo_now(&self, id: Uuid) {
        let Loaded { version, mut record, .. } = self.alive(id, |stored, now| stored.load(now)).unwrap();
        record.state.echo_count += 1;
        let token = Token { writer: u64::MAX, number: self.now().0 };
        let commit = Commit {
            id,
            token,
            expected: version,
            until: self.now(),
            in_use: false,
            attempt: 0,
            record: &record,
            append: &[],
        };
        self.alive(id, |stored, now| stored.commit(commit, now, now)).unwrap();
    }

    fn with<T>(&self, id: Uuid, act: impl FnOnce(&mut Entry, StoreTime) -> T) -> T {
        let now = self.now();
        let mut entries = lock(&self.0.entries);
        let entry = entries.entry(id).or_insert(Entry::Gone(Gone { reason: None, at: now.moment(), owner: None }));
        act(entry, now)
    }

    /// Acts on a session that lives.
    fn alive<T>(&self, id: Uuid, act: impl FnOnce(&mut Stored, StoreTime) -> T) -> Result<T, Gone> {
        self.with(id, |entry, now| match entry {
            Entry::Alive(stored) => match stored.gone(now) {
                Some(gone) => Err(gone),
                None => Ok(act(stored, now)),
            },
            Entry::Gone(gone) => Err(*gone),
            Entry::Unreadable(_) => panic!("looked at before"),
        })
    }

    /// An operation, with what is to happen to it.
    fn operate<T: Send + 'static>(&self, id: Uuid, act: impl FnOnce(&Self) -> T + Send + 'static) -> Later<'static, T> {
        let (double, down) = (self.clone(), |why: &str, reached| Down { why: why.to_owned(), reached, lasts: false });
        if let Some(Entry::Unreadable(why)) = lock(&self.0.entries).get(&id) {
            let down = down(&why.to_string(), false);
            return Box::pin(async { Err(down) });
        }
        let fault = lock(&self.0.faults).pop_front().unwrap_or(Fault::None);
        let frozen = lock(&self.0.frozen).clone();
        Box::pin(async move {
            match frozen.map_or(fault, Fault::Delayed) {
                Fault::Delayed(until) => {
                    // In a task of its own: it is done also where its caller has gone.
                    tokio::spawn(async move {
                        until.cancelled().await;
                        act(&double);
                    });
                    sleep(TIMEOUT).await;
                    return Err(down("no reply within 500 ms", true));
                }
                Fault::Unreachable => return Err(down("connection refused", false)),
                Fault::ReplyLost => {
                    act(&double);
                    return Err(down("connection reset", true));
                }
                Fault::Slow(time) => sleep(time).await,
                Fault::Before(happens) => happens(&double),
                Fault::None => {}
            }
            Ok(Reply { what: act(&double), at: double.now() })
        })
    }
}

impl Store for Double {
    fn create<'a>(&'a self, create: Create<'a>) -> Later<'a, Created> {
        let (saved, Create { token, timeout, .. }) = (create.saved.clone(), create);
        self.operate(saved.record.id, move |double| {
            double.with(saved.record.id, |entry, now| match entry {
                Entry::Alive(stored) if stored.made_by(token) => Created::Made,
                Entry::Gone(Gone { reason: None, .. }) => {
                    let create = Create { token, saved: &saved, timeout };
                    *entry = Entry::Alive(Box::new(Stored::new(create, now)));
                    Created::Made
                }
                Entry::Alive(_) | Entry::Gone(_) | Entry::Unreadable(_) => Created::Taken,
            })
        })
    }

    fn load(&self, id: Uuid) -> Later<'_, Result<Loaded, Gone>> {
        self.operate(id, move |double| double.alive(id, |stored, now| stored.load(now)))
    }

    fn commit<'a>(&'a self, commit: Commit<'a>) -> Later<'a, Committed> {
        let (record, append) = (commit.record.clone(), commit.append.to_vec());
        let Commit { id, token, expected, until, in_use, attempt, .. } = commit;
        self.operate(id, move |double| {
            let commit = Commit { id, token, expected, until, in_use, attempt, record: &record, append: &append };
            let committed = double.alive(id, |stored, now| stored.commit(commit, now, now));
            let committed = committed.unwrap_or_else(Committed::Gone);
            let counts = &mut lock(&double.0.counts);
            counts.commits += 1;
            match &committed {
                Committed::Kept { again: false, .. } => counts.kept += 1,
                Committed::Conflict(_) => counts.conflicts += 1,
                Committed::Late => counts.late += 1,
                Committed::Kept { .. } | Committed::Gone(_) => {}
            }
            committed
        })
    }

    fn note_intrusion(&self, id: Uuid, anonymous: bool) -> Later<'_, ()> {
        self.operate(id, move |double| {
            let _gone = double.alive(id, |stored, now| stored.note_intrusion(anonymous, now));
        })
    }

    fn open(&self, id: Uuid, open: Open) -> Later<'_, Result<Opened, Gone>> {
        self.operate(id, move |double| double.alive(id, |stored, now| stored.open(open, now)))
    }

    fn take(&self, id: Uuid, take: Take) -> Later<'_, Taken> {
        self.operate(id, move |double| {
            double.alive(id, |stored, now| stored.take(take, now)).unwrap_or_else(Taken::Gone)
        })
    }

    fn close(&self, id: Uuid, epoch: Epoch, cut: bool) -> Later<'_, ()> {
        self.operate(id, move |double| {
            let _gone = double.alive(id, |stored, now| stored.close(epoch, cut, now));
        })
    }

    fn touch(&self, id: Uuid, _lease: Duration) -> Later<'_, ()> {
        self.operate(id, move |double| {
            let _gone = double.alive(id, |stored, now| stored.touch(now));
        })
    }

    fn end(&self, id: Uuid, reason: EndReason, unless_used_since: Option<StoreTime>) -> Later<'_, Ended> {
        self.operate(id, move |double| {
            let ended = double.alive(id, |stored, now| stored.end(reason, unless_used_since, now));
            match ended {
                Err(gone) => Ended::Gone(gone),
                Ok(Err(used)) => used,
                Ok(Ok(gone)) => {
                    double.with(id, |entry, _| *entry = Entry::Gone(gone));
                    Ended::Now
                }
            }
        })
    }
}
