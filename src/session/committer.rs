//! Changes of sessions whose truth is in a store.
//!
//! A task a session, for as long as there is something to commit; it belongs to no request, so that a client that goes away
//! cannot leave half a commit. It runs all changes that wait, in their order, on a copy of the record, commits once,
//! takes the copy for the session's, answers all, and only then has their effects happen. After a conflict the changes run
//! again on what the store says. A reply that is lost is asked for again with the same token, also for a while after the
//! commit's time is up: the store then says whether it was kept or came too late. Where it says nothing, nobody knows what
//! became of the commit: those who wait are told so, and the copy is not used again.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::Span;
use uuid::Uuid;

use super::ended::EndReason;
use super::instance::tag_of;
use super::kept;
use super::live::Session;
use super::lock::lock;
use super::record::Record;
use super::saved::Saved;
use super::store::{
    Commit, Committed, Create, Created, Down, Ended, Epoch, Gone, Later, Loaded, Open, Opened, Outgoing, Reply, Store,
    StoreFigures, StoreTime, Token,
};
use super::working::Working;
use crate::seen::{self, Seen};

/// Time between two tries of a commit that the store did not answer.
const PAUSE: Duration = Duration::from_millis(20);

/// How long to wait where another process has the turn: a part of what the turn lasts.
const TURN: Duration = Duration::from_millis(5);

/// How long after its time is up the store is asked what became of a commit. It cannot be kept any more, so that any answer
/// settles it.
const GRACE: Duration = Duration::from_secs(1);

/// Why a change is not kept, or not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncommitted {
    /// Nothing was changed.
    #[error("the session store could not take the change: {0}")]
    Refused(String),
    /// It may have been kept, or not.
    #[error("the session store did not say whether it took the change: {0}")]
    Unknown(String),
    /// There is no session.
    #[error("there is no such session")]
    Gone(Gone),
    /// There are as many sessions as may be, and none gives way.
    #[error("all sessions are in use")]
    Full,
    /// The change panicked; nothing of it was kept.
    #[error("the change broke off")]
    Broken,
}

impl Uncommitted {
    /// For `data.outcome` of a JSON-RPC error: what became of the change, where the store is to blame.
    #[must_use]
    pub fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Refused(_) => Some("refused"),
            Self::Unknown(_) => Some("unknown"),
            Self::Gone(_) | Self::Full | Self::Broken => None,
        }
    }
}

/// Commits changes to a store. One a process.
pub struct Committer {
    store: Arc<dyn Store>,
    /// This start of this process: 64 random bits.
    writer: u64,
    commits: AtomicU64,
    conflicts: AtomicU64,
    /// How long a commit is tried.
    patience: Duration,
    /// What the store's clock showed, and when.
    clock: Mutex<Option<(Instant, StoreTime)>>,
    /// Since when it does not answer, and why.
    silent: Mutex<Option<(Instant, String)>>,
    sessions: Mutex<HashMap<Uuid, Line>>,
}

/// The changes of a session that wait. No more than there are requests at work.
type Line = Vec<Box<dyn Waiting>>;

/// How a store does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// Commits that were begun, sessions made included.
    pub commits: u64,
    /// How often one met another process's change, and ran again.
    pub conflicts: u64,
    /// For how long it has not answered, and why; `None` while it does.
    pub down: Option<(Duration, String)>,
}

/// A change that waits, whatever it returns.
trait Waiting: Send {
    /// Runs it.
    fn run(&mut self);
    /// Tells its caller what became of it.
    fn answer(self: Box<Self>, why_not: Option<Uncommitted>) -> Whose;
}

struct Change<T, F> {
    run: F,
    /// Of the last run.
    result: Option<T>,
    waits: oneshot::Sender<Result<T, Uncommitted>>,
    of: Whose,
}

/// Whose change it is: where its log lines belong, and what it raises is noted.
#[derive(Clone)]
struct Whose {
    span: Span,
    seen: Option<Arc<Seen>>,
}

impl Whose {
    fn here() -> Self {
        Self { span: Span::current(), seen: seen::current() }
    }

    fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        seen::within(self.seen.as_ref(), || self.span.in_scope(work))
    }
}

impl<T: Send, F: FnMut() -> T + Send> Waiting for Change<T, F> {
    fn run(&mut self) {
        // What an earlier run left goes first.
        self.result = None;
        self.result = Some(self.of.in_scope(&mut self.run));
    }

    fn answer(self: Box<Self>, why_not: Option<Uncommitted>) -> Whose {
        let answer = match (why_not, self.result) {
            (None, Some(result)) => Ok(result),
            (None, None) => Err(Uncommitted::Broken),
            (Some(why_not), _) => Err(why_not),
        };
        // Where nobody waits any more, nobody is told.
        let _gone = self.waits.send(answer);
        self.of
    }
}

/// The store said nothing, as long as it was asked.
struct Silence {
    why: String,
    /// What was asked for may have happened all the same.
    reached: bool,
}

impl From<Silence> for Uncommitted {
    fn from(silence: Silence) -> Self {
        if silence.reached { Self::Unknown(silence.why) } else { Self::Refused(silence.why) }
    }
}

/// A batch of changes, run.
struct Run {
    record: Record,
    append: Vec<Outgoing>,
    /// What each change left.
    left: Vec<kept::Waiting>,
}

impl Committer {
    /// Commits to `store` as `writer`, and tries each commit for `patience`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, writer: u64, patience: Duration) -> Self {
        Self {
            store,
            writer,
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            patience,
            clock: Mutex::default(),
            silent: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// Makes a session in the store. Returns it as it is there.
    ///
    /// # Errors
    /// Where the store did not take it.
    pub async fn create(&self, saved: &Saved, timeout: Duration) -> Result<Loaded, Uncommitted> {
        let create = Create { token: self.token(), saved, timeout };
        match self.ask(Instant::now() + self.patience, || self.store.create(create)).await?.what {
            Created::Made => Ok(Loaded {
                version: create.token,
                record: saved.record.clone(),
                figures: StoreFigures {
                    pending: saved.queue.pending(),
                    held: saved.queue.held(),
                    bytes: saved.queue.bytes(),
                    ..StoreFigures::default()
                },
            }),
            Created::Full => Err(Uncommitted::Full),
            Created::Taken => Err(Uncommitted::Refused("there is, or was, a session with this id".to_owned())),
        }
    }

    /// Puts a session into the store that was made here. Until then nobody else knows of it.
    ///
    /// # Errors
    /// Where the store did not take it.
    pub async fn bear(&self, session: &Session) -> Result<(), Uncommitted> {
        let timeout = session.timeout();
        let (record, append) = session.end_draft();
        let mut saved = Saved { record, ..session.saved() };
        saved.queue = saved.queue.tagged(tag_of(saved.record.id));
        for message in append {
            saved.queue.push(message.level, message.json);
        }
        let Loaded { version, figures, .. } = self.create(&saved, timeout).await?;
        session.know(Some((version, figures)));
        Ok(())
    }

    /// Reads a session of which there is no copy here from the store.
    ///
    /// # Errors
    /// Where the store did not answer, or has no such session.
    pub async fn load(&self, id: Uuid) -> Result<Loaded, Uncommitted> {
        let asked = self.ask(Instant::now() + self.patience, || self.store.load(id)).await;
        // That changes nothing, whether or not it reaches the store.
        asked.map_err(|silence| Uncommitted::Refused(silence.why))?.what.map_err(Uncommitted::Gone)
    }

    /// Counts an attempt of somebody else to use a session of which there is a copy here. Nothing of the session is changed, so
    /// that nothing is to be waited for where the store is silent.
    pub async fn note_intrusion(&self, session: &Session, anonymous: bool) {
        let _counted = self.store.note_intrusion(session.id(), anonymous).await;
        session.count_intrusion(anonymous);
    }

    /// The store, for what is no change of a record.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// This start of this process, as it names itself to the store.
    #[must_use]
    pub fn writer(&self) -> u64 {
        self.writer
    }

    /// Changes a session, and returns when that is kept. The change may run more than once, and only its last run counts;
    /// what it hands to [`Working::after`] happens once. It is kept, or not, also where the future is dropped.
    ///
    /// # Errors
    /// [`Uncommitted`]
    pub async fn change<T, F>(self: &Arc<Self>, session: &Arc<Session>, mut change: F) -> Result<T, Uncommitted>
    where
        T: Send + 'static,
        F: FnMut(&mut Working<'_>) -> T + Send + 'static,
    {
        let changed = Arc::clone(session);
        self.run_in(session, move || changed.change(|working| change(working))).await
    }

    /// The same for something that enters and changes this session, in as many steps as it likes, and no other: all of it is
    /// kept together. What it hands to [`kept::when_kept`] happens once.
    ///
    /// # Errors
    /// [`Uncommitted`]
    pub async fn run_in<T, F>(self: &Arc<Self>, session: &Arc<Session>, run: F) -> Result<T, Uncommitted>
    where
        T: Send + 'static,
        F: FnMut() -> T + Send + 'static,
    {
        let (waits, answer) = oneshot::channel();
        let change = Box::new(Change { run, result: None, waits, of: Whose::here() });
        let begins = {
            let mut sessions = lock(&self.sessions);
            let line = sessions.get_mut(&session.id());
            let begins = line.is_none();
            match line {
                Some(line) => line.push(change),
                None => drop(sessions.insert(session.id(), vec![change])),
            }
            begins
        };
        if begins {
            tokio::spawn(Arc::clone(self).work(Arc::clone(session)));
        }
        answer.await.unwrap_or_else(|_| Err(Uncommitted::Unknown("the commit broke off".to_owned())))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Where the store did not answer, or there was none.
    pub async fn end(&self, id: Uuid, reason: EndReason) -> Result<(), Uncommitted> {
        match self.ask(Instant::now() + self.patience, || self.store.end(id, reason, None)).await?.what {
            Ended::Now | Ended::Used => Ok(()),
            Ended::Gone(gone) => Err(Uncommitted::Gone(gone)),
        }
    }

    /// Opens a connection for a session's messages.
    ///
    /// # Errors
    /// Where the store did not answer, or there is no session.
    pub async fn open(
        &self,
        id: Uuid,
        resume: Option<(u32, u64)>,
        again: Option<Epoch>,
    ) -> Result<Opened, Uncommitted> {
        let open = Open { replica: self.writer, lease: self.store.lease(), resume, again };
        let asked = self.ask(Instant::now() + self.patience, || self.store.open(id, open)).await?;
        asked.what.map_err(Uncommitted::Gone)
    }

    /// Asks the store whether it answers, for no longer than `patience`: [`Committer::health`] knows then.
    pub async fn probe(&self, patience: Duration) {
        let _gone = self.ask(Instant::now() + patience, || self.store.load(Uuid::nil())).await;
    }

    /// How the store does.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        StoreHealth {
            commits: self.commits.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            down: lock(&self.silent).as_ref().map(|(since, why)| (since.elapsed(), why.clone())),
        }
    }

    /// Now, by the store's clock as far as it is known here: never ahead of it, unless that clock was set back.
    #[must_use]
    pub fn now(&self) -> StoreTime {
        let estimate = || {
            let clock = *lock(&self.clock);
            clock.map_or(StoreTime::default(), |(seen, at)| at.plus(seen.elapsed()))
        };
        self.store.now().unwrap_or_else(estimate)
    }

    /// Commits what waits for `session` until nothing does.
    async fn work(self: Arc<Self>, session: Arc<Session>) {
        while let Some(batch) = self.next_batch(session.id()) {
            let commit = AssertUnwindSafe(self.commit(&session, batch)).catch_unwind();
            if commit.await.is_err() {
                session.know(None);
            }
        }
    }

    /// What waits. Where nothing does, the line is closed: the next one who comes opens another.
    fn next_batch(&self, id: Uuid) -> Option<Line> {
        let mut sessions = lock(&self.sessions);
        let waiting = std::mem::take(sessions.get_mut(&id)?);
        if waiting.is_empty() {
            sessions.remove(&id);
        }
        Some(waiting).filter(|waiting| !waiting.is_empty())
    }

    /// Commits a batch as one, and answers it.
    async fn commit(&self, session: &Session, mut batch: Line) {
        match self.try_commit(session, &mut batch).await {
            Ok(left) => {
                let whose: Vec<Whose> = batch.into_iter().map(|change| change.answer(None)).collect();
                for (of, left) in whose.iter().zip(left) {
                    of.in_scope(|| left.effects.into_iter().for_each(|effect| effect()));
                }
            }
            Err(why_not) => {
                // What is here may be neither what was nor what is.
                session.know(None);
                for change in batch {
                    change.answer(Some(why_not.clone()));
                }
            }
        }
    }

    /// Commits a batch as one. Returns what each of its changes left; those that panicked are no longer in it.
    async fn try_commit(&self, session: &Session, batch: &mut Line) -> Result<Vec<kept::Waiting>, Uncommitted> {
        let (id, token, deadline) = (session.id(), self.token(), Instant::now() + self.patience);
        let mut base = match session.known() {
            Some((version, figures)) => Loaded { version, record: session.record(), figures },
            None => self.load(id).await?,
        };
        // Before the batch runs: what enters the session now does not say that it was used until now.
        let in_use = session.was_in_use();
        let until = || self.now().plus(deadline.saturating_duration_since(Instant::now()));
        let (mut not_after, mut attempt) = (until(), 0);
        // Whether this commit, made from an older version, may still be on its way to the store.
        let mut older = false;
        loop {
            let run = self.run(session, &base, batch);
            let (record, append) = (&run.record, run.append.as_slice());
            let commit =
                Commit { id, token, expected: base.version, until: not_after, in_use, attempt, record, append };
            let asked = self.ask(deadline + GRACE, || self.store.commit(commit)).await;
            let Heard { what, lost } =
                asked.map_err(|silence| Silence { reached: silence.reached || older, ..silence })?;
            match what {
                // Of what was kept then, the changes returned something else.
                Committed::Kept { again: true, .. } if older => {
                    return Err(Uncommitted::Unknown("it was kept as it was tried first".to_owned()));
                }
                Committed::Kept { version, figures, .. } => {
                    session.know((version == token).then_some((version, figures)));
                    if !run.append.is_empty() {
                        session.wake_streams();
                    }
                    return Ok(run.left);
                }
                Committed::Conflict(loaded) => {
                    self.conflicts.fetch_add(1, Ordering::Relaxed);
                    if loaded.version == base.version {
                        // Somebody else goes first, who has lost for long.
                        sleep_until(Instant::now() + TURN).await;
                    }
                    base = *loaded;
                }
                // The store's clock was set forward, or the commit was long on its way. No form of it can be kept any more.
                Committed::Late if Instant::now() < deadline => {
                    (not_after, older) = (until(), false);
                    sleep_until(Instant::now() + PAUSE).await;
                    continue;
                }
                Committed::Late => return Err(Uncommitted::Refused("it came too late".to_owned())),
                Committed::Gone(gone) => return Err(Uncommitted::Gone(gone)),
            }
            older |= lost;
            attempt += 1;
            if Instant::now() >= deadline {
                let why = format!("{attempt} times others had changed the session before");
                return Err(Silence { why, reached: older }.into());
            }
        }
    }

    /// Runs a batch on a copy of `base`. A change that panics is answered and left out, as if it had never come.
    fn run(&self, session: &Session, base: &Loaded, batch: &mut Line) -> Run {
        let now = self.now().moment();
        loop {
            session.begin_draft(base, now);
            let mut left = Vec::with_capacity(batch.len());
            let panicked = batch.iter_mut().position(|change| {
                let (ran, waiting) = kept::run(|| catch_unwind(AssertUnwindSafe(|| change.run())));
                left.push(waiting);
                ran.is_err()
            });
            let (record, append) = session.end_draft();
            match panicked {
                None => return Run { record, append, left },
                Some(i) => drop(batch.remove(i).answer(Some(Uncommitted::Broken))),
            }
        }
    }

    /// Asks the store until it answers, or until `give_up`.
    async fn ask<'a, T>(&self, give_up: Instant, ask: impl Fn() -> Later<'a, T>) -> Result<Heard<T>, Silence> {
        let mut lost = false;
        loop {
            let down = match timeout_at(give_up, ask()).await {
                Ok(Ok(Reply { at, what })) => {
                    *lock(&self.clock) = Some((Instant::now(), at));
                    let silent = lock(&self.silent).take();
                    if let Some((since, _)) = silent {
                        tracing::warn!("the session store answers again, after {} s", since.elapsed().as_secs());
                    }
                    return Ok(Heard { what, lost });
                }
                Ok(Err(down)) => down,
                Err(_) => Down { why: "it did not answer in time".to_owned(), reached: true, lasts: false },
            };
            lost |= down.reached;
            let began = {
                let mut silent = lock(&self.silent);
                let began = silent.as_ref().map(|(since, _)| *since);
                *silent = Some((began.unwrap_or_else(Instant::now), down.why.clone()));
                began
            };
            if began.is_none() {
                tracing::error!("the session store does not answer: {}; requests that need it get 503", down.why);
            }
            if down.lasts || Instant::now() + PAUSE > give_up {
                return Err(Silence { why: down.why, reached: lost });
            }
            sleep_until(Instant::now() + PAUSE).await;
        }
    }

    fn token(&self) -> Token {
        Token { writer: self.writer, number: self.commits.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

/// What the store said.
struct Heard<T> {
    what: T,
    /// An answer was lost before: what was asked for may have happened then.
    lost: bool,
}
