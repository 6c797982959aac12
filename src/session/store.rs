//! What a store outside this process has to do.
//!
//! A store keeps the truth about sessions; a process has copies. The record moves by compare-and-swap
//! ([`Store::commit`]); messages and streams by operations of their own ([`Store::open`], [`Store::take`],
//! [`Store::close`]), or every delivery would conflict with every call. [`Committer`](super::Committer) is the one who
//! calls `commit`.
//!
//! What a store promises, and the contract suite beside this module checks:
//!
//! - A version is a name ([`Token`]), compared for equality only: a store that is rolled back gives out old numbers again.
//! - A token is applied at most once, however often it is sent: a lost reply is asked for again with the same token.
//! - Only `create` makes a session; after `end` or its expiry every operation says that it is gone, and a late `create`
//!   does not bring it back.
//! - What may fail comes first; then all of an operation happens, or nothing.
//! - Time is the store's own ([`StoreTime`], in every reply), whatever the clocks of its processes say. A commit that
//!   arrives after its `until` is refused.
//! - Positions of messages and epochs of streams grow, also over a rollback: each is at least the store's time in
//!   microseconds. The open stream with the newest epoch whose lease has not run out has the right to what is pending.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ended::EndReason;
use super::queue::Delivery;
use super::record::{Intrusions, Record};
use super::saved::Saved;
use crate::clock::Moment;
pub use crate::protocol::Id as CallId;
use crate::protocol::LogLevel;

/// What a store answers, later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<Reply<T>, Down>> + Send + 'a>>;

/// An answer, and when the store gave it.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// By the store's clock.
    pub at: StoreTime,
    /// What it says.
    pub what: T,
}

/// The store did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Down {
    /// Why, for people.
    pub why: String,
    /// What was asked for may have happened all the same. False where it surely never reached the store.
    pub reached: bool,
    /// It would say the same again: it is full, or what it has cannot be read.
    pub lasts: bool,
}

/// A moment by the store's clock, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreTime(pub u64);

impl StoreTime {
    /// The moment `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// As moments of a record count: in milliseconds.
    #[must_use]
    pub fn moment(self) -> Moment {
        Moment(self.0 / 1000)
    }
}

/// The name of a commit, and of the version that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token {
    /// Who: 64 random bits of each start of a process. With fewer, two processes would share a name some day, and a commit
    /// of one would be taken for a repetition of the other's.
    pub writer: u64,
    /// Which commit of its.
    pub number: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.writer, self.number)
    }
}

/// A session that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Create<'a> {
    /// Names it: its first version.
    pub token: Token,
    /// The session. The bound of its queue is its own from then on, whatever other processes are configured to.
    pub saved: &'a Saved,
    /// Idle time after which it expires. Its own, too.
    pub timeout: Duration,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is made: now, or by an earlier try with the same token.
    Made,
    /// There is, or was, another session with that id.
    Taken,
    /// There are as many as may be, and none gives way.
    Full,
}

/// What a process knows of a session: a reading, true when the store replied.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Its version.
    pub version: Token,
    /// What is known of it.
    pub record: Record,
    /// What the store counts itself.
    pub figures: StoreFigures,
}

/// What a store counts of a session itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Messages not yet delivered.
    pub pending: usize,
    /// Messages held, delivered ones included.
    pub held: usize,
    /// Messages lost because the queue was full.
    pub dropped: u64,
    /// Memory that the queue holds, in bytes.
    pub bytes: usize,
    /// Streams open, in all processes.
    pub streams: usize,
    /// Attempts to use the id by others. They are no change of the session: a stranger must neither conflict with its owner
    /// nor keep it alive.
    pub intrusions: Intrusions,
}

/// A session that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Why it ended; `None` where the store never heard of it, or has forgotten it.
    pub reason: Option<EndReason>,
    /// When.
    pub at: Moment,
    /// A number for its owner ([`Identity::number`](super::Identity::number)): the reason is nobody else's business.
    pub owner: Option<u64>,
}

/// A change that is to be kept.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The session.
    pub id: Uuid,
    /// Names the commit, and the version that it makes.
    pub token: Token,
    /// The version that it is made from.
    pub expected: Token,
    /// Not after that.
    pub until: StoreTime,
    /// Requests or streams have used the session here all the time: it cannot have been idle. For a store of one process.
    pub in_use: bool,
    /// How often it has met a conflict: a store may let those first that have lost for long.
    pub attempt: u32,
    /// The record as it is to be. Its log level is the least that is delivered from then on.
    pub record: &'a Record,
    /// Messages to be queued.
    pub append: &'a [Outgoing],
}

/// A message that is to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its level.
    pub level: LogLevel,
    /// The JSON-RPC notification.
    pub json: Box<str>,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// It is kept.
    Kept {
        /// The session's version: the commit's token, unless others have committed since.
        version: Token,
        /// An earlier try with the same token had been kept already.
        again: bool,
        /// What the store counts itself.
        figures: StoreFigures,
    },
    /// Somebody else committed before. The session as it is: that is the truth, even where it looks older.
    Conflict(Box<Loaded>),
    /// It came too late, and was not kept.
    Late,
    /// There is no session.
    Gone(Gone),
}

/// Orders the connections of a session: the newest has the right to what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// A connection that is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// The process that has it.
    pub replica: u64,
    /// How long it is taken for alive after it was last heard of.
    pub lease: Duration,
    /// Stream and position that it comes after; `None` for a new stream.
    pub resume: Option<(u32, u64)>,
    /// The epoch that the store gave out and has forgotten ([`Taken::Unregistered`]).
    pub again: Option<Epoch>,
}

/// An open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its stream.
    pub stream: u32,
    /// Where it starts: after that.
    pub position: u64,
    /// How it starts.
    pub how: Start,
}

/// How a connection starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As a new stream.
    New,
    /// Where an earlier connection ended.
    Resumed,
    /// As a new stream: the id to resume after was never given out.
    Unknown,
    /// Where an earlier connection ended, though the store has lost that: what came up to there the client has.
    Foreign,
}

/// What a connection asks for. It is its sign of life, too: lease and session start anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its stream.
    pub stream: u32,
    /// The last position that it wrote.
    pub position: u64,
    /// The most messages to take.
    pub count: usize,
    /// How long it is taken for alive after this.
    pub lease: Duration,
}

/// What there is for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Messages, in order; empty where there are none for it now.
    Messages {
        /// They.
        messages: Vec<Delivery>,
        /// There may be more for it now.
        more: bool,
    },
    /// Another connection has taken its place: it is over.
    Displaced,
    /// The store does not know the epoch, though it gave it out: it was rolled back. Open again with that epoch.
    Unregistered,
    /// There is no session.
    Gone(Gone),
}

impl Taken {
    /// Nothing, for now.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Messages { messages: Vec::new(), more: false }
    }

    /// A warning, and what comes after it.
    #[must_use]
    pub fn warning(position: u64, json: Box<str>) -> Self {
        Self::Messages { messages: vec![Delivery { position, json }], more: true }
    }
}

/// What became of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has ended, now.
    Now,
    /// It was used meanwhile, and lives.
    Used,
    /// There was no session.
    Gone(Gone),
}

/// What a store may ask of the process that uses it, and tell it.
pub trait Here: Send + Sync {
    /// Whether requests or streams use a session here: a store of one process does not let it expire then.
    fn is_in_use(&self, id: Uuid) -> bool;
    /// A session has ended, not by a request of this process.
    fn ended(&self, id: Uuid, gone: Gone);
    /// There may be something for the streams of a session that are open here; `None`: of any.
    fn wake(&self, _id: Option<Uuid>) {}
    /// A client has cancelled a call of a session, which may be at work here.
    fn cancel(&self, _id: Uuid, _call: &CallId) {}
}

/// A store of sessions. See the module's documentation for what it promises.
///
/// Every future ends by itself, at the latest when the store's own time-out says so.
pub trait Store: Send + Sync {
    /// Now, where the store's clock can be read without asking it.
    fn now(&self) -> Option<StoreTime> {
        None
    }

    /// Whether other processes use it too. A session that is idle here may be used there.
    fn is_shared(&self) -> bool {
        true
    }

    /// How long a connection is taken for alive after it was last heard of. Where no other process can take over, long.
    fn lease(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Makes a session.
    fn create<'a>(&'a self, create: Create<'a>) -> Later<'a, Created>;

    /// Reads a session.
    fn load(&self, id: Uuid) -> Later<'_, Result<Loaded, Gone>>;

    /// Keeps a change.
    fn commit<'a>(&'a self, commit: Commit<'a>) -> Later<'a, Committed>;

    /// Counts an attempt to use a session by someone else, or by nobody known. No change of the session.
    fn note_intrusion(&self, id: Uuid, anonymous: bool) -> Later<'_, ()>;

    /// Opens a connection for the session's messages.
    fn open(&self, id: Uuid, open: Open) -> Later<'_, Result<Opened, Gone>>;

    /// Takes what there is for a connection.
    fn take(&self, id: Uuid, take: Take) -> Later<'_, Taken>;

    /// Closes a connection: the next newest has its right at once. `cut`: its client may not have had what was sent on it, and
    /// nothing but the events' own ids would let it have that again; a client that comes without one is told.
    fn close(&self, id: Uuid, epoch: Epoch, cut: bool) -> Later<'_, ()>;

    /// Says that a session is at work: it is not idle, and gives way to none for as long as `lease`.
    fn touch(&self, id: Uuid, lease: Duration) -> Later<'_, ()>;

    /// Tells the other processes that a client has cancelled a call, as well as the store can: a call that is not told goes on
    /// (MCP 2025-11-25 basic/utilities/cancellation).
    fn cancel(&self, _id: Uuid, _call: &CallId) {}

    /// Ends a session. With `unless_used_since`, only if nothing has happened in it since then and no stream is open.
    fn end(&self, id: Uuid, reason: EndReason, unless_used_since: Option<StoreTime>) -> Later<'_, Ended>;
}
