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

use super::live::Session;
use super::lock::lock;
use super::record::Record;
use super::saved::Saved;
use super::store::{
    Commit, Committed, Create, Created, Down, Gone, Later, Loaded, Outgoing, Reply, Store, StoreFigures, StoreTime,
    Token,
};
use super::working::{Around, Effect, Messages, Working};

/// Time between two tries of a commit that the store did not answer.
const PAUSE: Duration = Duration::from_millis(20);

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
            Self::Gone(_) | Self::Broken => None,
        }
    }
}

/// Commits changes to a store. One a process.
pub struct Committer {
    store: Arc<dyn Store>,
    /// This start of this process: 64 random bits.
    writer: u64,
    commits: AtomicU64,
    /// How long a commit is tried.
    patience: Duration,
    /// What the store's clock showed, and when.
    clock: Mutex<Option<(Instant, StoreTime)>>,
    sessions: Mutex<HashMap<Uuid, Line>>,
}

/// The changes of a session that wait, and what they are made from.
#[derive(Default)]
struct Line {
    /// The version of the copy here, and what the store counts; `None` where it must be loaded.
    known: Option<(Token, StoreFigures)>,
    /// No more than there are requests at work.
    waiting: Vec<Box<dyn Waiting>>,
    /// A task is at work on it.
    at_work: bool,
}

/// A change that waits, whatever it returns.
trait Waiting: Send {
    /// Runs it. Returns what is to happen once it is kept.
    fn run(&mut self, working: Working<'_>) -> Vec<Effect>;
    /// Tells its caller what became of it.
    fn answer(self: Box<Self>, why_not: Option<Uncommitted>) -> Span;
}

struct Change<T, F> {
    run: F,
    /// Of the last run.
    result: Option<T>,
    waits: oneshot::Sender<Result<T, Uncommitted>>,
    span: Span,
}

impl<T: Send, F: FnMut(&mut Working<'_>) -> T + Send> Waiting for Change<T, F> {
    fn run(&mut self, mut working: Working<'_>) -> Vec<Effect> {
        self.result = Some((self.run)(&mut working));
        working.finish().effects
    }

    fn answer(self: Box<Self>, why_not: Option<Uncommitted>) -> Span {
        let answer = match (why_not, self.result) {
            (None, Some(result)) => Ok(result),
            (None, None) => Err(Uncommitted::Broken),
            (Some(why_not), _) => Err(why_not),
        };
        // Where nobody waits any more, nobody is told.
        let _gone = self.waits.send(answer);
        self.span
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
    /// Of each change.
    effects: Vec<Vec<Effect>>,
}

impl Committer {
    /// Commits to `store` as `writer`, and tries each commit for `patience`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, writer: u64, patience: Duration) -> Self {
        Self {
            store,
            writer,
            commits: AtomicU64::new(0),
            patience,
            clock: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// Makes a session in the store.
    ///
    /// # Errors
    /// Where the store did not take it.
    pub async fn create(&self, saved: &Saved, timeout: Duration) -> Result<(), Uncommitted> {
        let create = Create { token: self.token(), saved, timeout };
        match self.ask(Instant::now() + self.patience, || self.store.create(create)).await?.what {
            Created::Made => {
                self.know(saved.record.id, Some((create.token, StoreFigures::default())));
                Ok(())
            }
            Created::Taken => Err(Uncommitted::Refused("there is, or was, a session with this id".to_owned())),
        }
    }

    /// Reads a session of which there is no copy here from the store.
    ///
    /// # Errors
    /// Where the store did not answer, or has no such session.
    pub async fn load(&self, id: Uuid) -> Result<Record, Uncommitted> {
        let Loaded { version, record, figures } = self.look(id).await?;
        self.know(id, Some((version, figures)));
        Ok(record)
    }

    /// Changes a session, and returns when that is kept. The change may run more than once, and only its last run counts;
    /// what it hands to [`Working::after`] happens once. It is kept, or not, also where the future is dropped.
    ///
    /// # Errors
    /// [`Uncommitted`]
    pub async fn change<T, F>(self: &Arc<Self>, session: &Arc<Session>, change: F) -> Result<T, Uncommitted>
    where
        T: Send + 'static,
        F: FnMut(&mut Working<'_>) -> T + Send + 'static,
    {
        let (waits, answer) = oneshot::channel();
        let change = Box::new(Change { run: change, result: None, waits, span: Span::current() });
        let begins = {
            let mut sessions = lock(&self.sessions);
            let line = sessions.entry(session.id()).or_default();
            line.waiting.push(change);
            !std::mem::replace(&mut line.at_work, true)
        };
        if begins {
            tokio::spawn(Arc::clone(self).work(Arc::clone(session)));
        }
        answer.await.unwrap_or_else(|_| Err(Uncommitted::Unknown("the commit broke off".to_owned())))
    }

    /// Forgets what is known of a session whose copy here is dropped.
    pub fn forget(&self, id: Uuid) {
        let mut sessions = lock(&self.sessions);
        if let Some(line) = sessions.get_mut(&id) {
            line.known = None;
            if !line.at_work {
                sessions.remove(&id);
            }
        }
    }

    /// Now, by the store's clock as far as it is known here: never ahead of it, unless that clock was set back.
    #[must_use]
    pub fn now(&self) -> StoreTime {
        let clock = *lock(&self.clock);
        clock.map_or(StoreTime::default(), |(seen, at)| at.plus(seen.elapsed()))
    }

    /// Commits what waits for `session` until nothing does.
    async fn work(self: Arc<Self>, session: Arc<Session>) {
        while let Some(batch) = self.next_batch(session.id()) {
            let commit = AssertUnwindSafe(self.commit(&session, batch)).catch_unwind();
            if commit.await.is_err() {
                self.know(session.id(), None);
            }
        }
    }

    fn next_batch(&self, id: Uuid) -> Option<Vec<Box<dyn Waiting>>> {
        let mut sessions = lock(&self.sessions);
        let line = sessions.get_mut(&id)?;
        if line.waiting.is_empty() {
            line.at_work = false;
            if line.known.is_none() {
                sessions.remove(&id);
            }
            return None;
        }
        Some(std::mem::take(&mut line.waiting))
    }

    /// Commits a batch as one, and answers it.
    async fn commit(&self, session: &Session, mut batch: Vec<Box<dyn Waiting>>) {
        match self.try_commit(session, &mut batch).await {
            Ok(effects) => {
                let spans: Vec<Span> = batch.into_iter().map(|change| change.answer(None)).collect();
                for (span, effects) in spans.iter().zip(effects) {
                    span.in_scope(|| effects.into_iter().for_each(|effect| effect()));
                }
            }
            Err(why_not) => {
                // What is here may be neither what was nor what is.
                self.know(session.id(), None);
                for change in batch {
                    change.answer(Some(why_not.clone()));
                }
            }
        }
    }

    /// Commits a batch as one. Returns the effects of each of its changes; those that panicked are no longer in it.
    async fn try_commit(
        &self,
        session: &Session,
        batch: &mut Vec<Box<dyn Waiting>>,
    ) -> Result<Vec<Vec<Effect>>, Uncommitted> {
        let (id, token, deadline) = (session.id(), self.token(), Instant::now() + self.patience);
        let known = lock(&self.sessions).get(&id).and_then(|line| line.known);
        let mut base = match known {
            Some((version, figures)) => Loaded { version, record: session.record(), figures },
            None => self.look(id).await?,
        };
        let until = || self.now().plus(deadline.saturating_duration_since(Instant::now()));
        let (mut not_after, mut attempt) = (until(), 0);
        // Whether this commit, made from an older version, may still be on its way to the store.
        let mut older = false;
        loop {
            let run = self.run(session, &base, batch);
            let (record, append) = (&run.record, run.append.as_slice());
            let commit = Commit { id, token, expected: base.version, until: not_after, attempt, record, append };
            let asked = self.ask(deadline + GRACE, || self.store.commit(commit)).await;
            let Heard { what, lost } =
                asked.map_err(|silence| Silence { reached: silence.reached || older, ..silence })?;
            match what {
                // Of what was kept then, the changes returned something else.
                Committed::Kept { again: true, .. } if older => {
                    return Err(Uncommitted::Unknown("it was kept as it was tried first".to_owned()));
                }
                Committed::Kept { version, figures, .. } => {
                    session.access().inside.saved.record = run.record;
                    self.know(id, (version == token).then_some((version, figures)));
                    return Ok(run.effects);
                }
                Committed::Conflict(loaded) => base = *loaded,
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
    fn run(&self, session: &Session, base: &Loaded, batch: &mut Vec<Box<dyn Waiting>>) -> Run {
        let now = self.now().moment();
        loop {
            let mut run = Run { record: base.record.clone(), append: Vec::new(), effects: Vec::new() };
            run.record.intrusions = base.figures.intrusions;
            run.record.last_activity = now;
            let panicked = {
                let inside = session.inside();
                batch.iter_mut().position(|change| {
                    let around = Around { now: Some(now), ..session.around(&inside.local) };
                    let messages = Messages::Sent { figures: base.figures, append: &mut run.append };
                    let working = Working::new(&mut run.record, messages, around);
                    let ran = catch_unwind(AssertUnwindSafe(|| change.run(working)));
                    ran.map(|effects| run.effects.push(effects)).is_err()
                })
            };
            match panicked {
                None => return run,
                Some(i) => drop(batch.remove(i).answer(Some(Uncommitted::Broken))),
            }
        }
    }

    /// Reads a session. That changes nothing, whether or not it reaches the store.
    async fn look(&self, id: Uuid) -> Result<Loaded, Uncommitted> {
        let asked = self.ask(Instant::now() + self.patience, || self.store.load(id)).await;
        asked.map_err(|silence| Uncommitted::Refused(silence.why))?.what.map_err(Uncommitted::Gone)
    }

    /// Asks the store until it answers, or until `give_up`.
    async fn ask<'a, T>(&self, give_up: Instant, ask: impl Fn() -> Later<'a, T>) -> Result<Heard<T>, Silence> {
        let mut lost = false;
        loop {
            let down = match timeout_at(give_up, ask()).await {
                Ok(Ok(Reply { at, what })) => {
                    *lock(&self.clock) = Some((Instant::now(), at));
                    return Ok(Heard { what, lost });
                }
                Ok(Err(down)) => down,
                Err(_) => Down { why: "it did not answer in time".to_owned(), reached: true },
            };
            lost |= down.reached;
            if Instant::now() + PAUSE > give_up {
                return Err(Silence { why: down.why, reached: lost });
            }
            sleep_until(Instant::now() + PAUSE).await;
        }
    }

    fn token(&self) -> Token {
        Token { writer: self.writer, number: self.commits.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// Notes what is known of a session's version; `None` where the copy here must not be used.
    fn know(&self, id: Uuid, known: Option<(Token, StoreFigures)>) {
        lock(&self.sessions).entry(id).or_default().known = known;
    }
}

/// What the store said.
struct Heard<T> {
    what: T,
    /// An answer was lost before: what was asked for may have happened then.
    lost: bool,
}
