//! Sessions: what is kept between requests. Independent of HTTP and of the tools.
//!
//! [`SessionManager`] holds them all behind one `RwLock`; looking one up takes a read lock for the time of a hash look-up.
//! Everything inside a [`Session`] has a `std` mutex of its own, held for a few instructions and never across an await:
//! requests of different sessions do not meet. What would survive the process is in [`Record`]; the rest (streams, calls
//! that run, wakers) lives here.

pub mod history;
mod idle;
mod instance;
mod mailbox;
mod manager;
mod queue;
mod record;
mod stream;
mod suspended;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::{Clock, Moment};
use crate::protocol::{Id, Notice};
use history::Entry;
use idle::{IdleOrder, List, Place};
use mailbox::Mailbox;
use suspended::SuspendedStreams;

pub use crate::protocol::{ClientInfo, LogLevel};
pub use instance::{Instance, Maker, Name as InstanceName};
pub use mailbox::MAX_STREAMS;
pub use manager::{
    EndReason, Full, Limits, Missing, NewSession, REMEMBERED, SessionManager, Stats, read, shed_and_tell, sweep,
    sweep_regularly, write,
};
pub use record::{Identity, IdentitySource, Intrusions, Record, SeenFinding, State};
pub use stream::{Event, Over, Stream};
pub use suspended::{EventStream, MAX_SUSPENDED};

/// The most that a session's `custom_data` may hold, as JSON text, in bytes.
pub const MAX_CUSTOM_DATA: usize = 16 * 1024;

/// The most calls of a session at work at once: ten full batches. More than a client keeps track of, and few enough to look
/// for an id among them.
pub const MAX_RUNNING: usize = 1000;

/// A session has [`MAX_RUNNING`] calls at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has {MAX_RUNNING} at work, as many as it may")]
pub struct Busy;

/// The first 8 characters of a session's id: enough to find it in a log, too little to use it.
#[must_use]
pub fn prefix(id: Uuid) -> String {
    let mut id = id.to_string();
    id.truncate(8);
    id
}

/// A lock whose holder panicked holds plain data that is still good: one bad request must not take sessions down.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all sessions of a manager share.
#[derive(Debug)]
struct House {
    clock: Arc<Clock>,
    limits: Limits,
    idle: Mutex<IdleOrder>,
    totals: Totals,
    /// Sessions that hold more than their share: who gives way when all together hold too much.
    large: Mutex<BTreeSet<Uuid>>,
    /// Held while sessions give way for memory: what is ended counts until it is dropped, and must not be ended for twice.
    shedding: Mutex<()>,
}

impl House {
    /// What a session may hold in any case, in bytes: if none held more, all together would hold no more than they may.
    fn share(&self) -> i64 {
        let share = self.limits.max_bytes / (self.limits.max_sessions as u64).max(1);
        i64::try_from(share).unwrap_or(i64::MAX)
    }

    /// By how many bytes sessions and their queues hold more than they may together.
    fn excess_bytes(&self) -> u64 {
        self.excess_bytes_with(0)
    }

    /// The same, if they held `more` bytes than they do.
    fn excess_bytes_with(&self, more: i64) -> u64 {
        let held =
            more + self.totals.storage_bytes.load(Ordering::Relaxed) + self.totals.queue_bytes.load(Ordering::Relaxed);
        u64::try_from(held).unwrap_or(0).saturating_sub(self.limits.max_bytes)
    }
}

/// Sums over all sessions, kept as they change so that nobody has to walk a million sessions to know them.
#[derive(Debug, Default)]
struct Totals {
    storage_bytes: AtomicI64,
    queue_bytes: AtomicI64,
    pending: AtomicI64,
    streams: AtomicI64,
    in_flight: AtomicI64,
}

fn add(total: &AtomicI64, after: usize, before: usize) {
    if after != before {
        let change = i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        total.fetch_add(change, Ordering::Relaxed);
    }
}

/// A live session, or one that just ended while a request or stream still holds it.
pub struct Session {
    id: Uuid,
    place: Place,
    house: Arc<House>,
    /// Requests in flight and open streams: while there are any, the session is not idle.
    holds: AtomicU32,
    /// 0 while it lives, else an [`EndReason`].
    ended: AtomicU8,
    kept: Mutex<Kept>,
    mailbox: Mutex<Mailbox>,
    /// Wakes the session's streams: a message came, a connection ended, the session ended.
    wake: Notify,
    /// Calls that run and can be cancelled. Ids may repeat: a client that breaks the rule cancels them all.
    calls: Mutex<Vec<(Id, CancellationToken)>>,
    /// What it holds, its queue included, in bytes.
    bytes: AtomicI64,
    /// Streams of calls whose connection was let go of.
    suspended: Mutex<Option<Box<SuspendedStreams>>>,
}

/// The record, and what its parts weigh.
struct Kept {
    record: Record,
    fixed_bytes: usize,
    custom_bytes: usize,
}

impl Kept {
    fn bytes(&self) -> usize {
        let findings: usize = self.record.findings.iter().map(|seen| size_of::<SeenFinding>() + seen.id.len()).sum();
        self.fixed_bytes + self.custom_bytes + findings + self.record.state.last_echo.as_ref().map_or(0, String::len)
    }
}

/// What replayLastEcho shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The last echo's text.
    pub message: String,
    /// Its number in the session, from 1.
    pub echo_count: u64,
    /// Replays so far, this one included.
    pub replay_count: u64,
}

/// Custom data would grow beyond [`MAX_CUSTOM_DATA`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session's custom data would be {bytes} bytes; at most {MAX_CUSTOM_DATA} are kept")]
pub struct CustomDataTooLarge {
    /// What it would weigh.
    pub bytes: usize,
}

/// Why an echo is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The custom data would be too large.
    #[error("`customData`: {0}")]
    CustomData(#[from] CustomDataTooLarge),
    /// All sessions together would hold more memory than they may, and this one more than its share of it.
    #[error(
        "the sessions of this server together hold as much memory as they may, and with this message this one would hold \
         {bytes} bytes, more than its share of {share}"
    )]
    NoRoom {
        /// What the session would hold, in bytes.
        bytes: i64,
        /// What it may hold in any case, in bytes.
        share: i64,
        /// How many bytes more than now that is.
        growth: u64,
    },
}

/// A session's queue in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFigures {
    /// Not yet delivered.
    pub pending: usize,
    /// Held, delivered ones included.
    pub held: usize,
    /// Lost because the queue was full.
    pub dropped: u64,
    /// Memory held, in bytes.
    pub bytes: usize,
    /// GET streams open.
    pub streams: usize,
}

impl Session {
    fn new(record: Record, place: Place, house: Arc<House>) -> Self {
        let fixed_bytes = size_of::<Self>()
            + record.client_info.name.len()
            + record.client_info.version.len()
            + record.client_info.title.as_ref().map_or(0, |title| title.len())
            + record.owner.as_ref().map_or(0, |owner| owner.id.len())
            + record.client_capabilities.weight();
        let custom_bytes = record.state.custom_data.iter().flat_map(|custom| custom.values()).map(weight).sum();
        let kept = Kept { record, fixed_bytes, custom_bytes };
        let mailbox = Mailbox::new(house.limits.queue_size);
        let bytes = i64::try_from(kept.bytes()).unwrap_or(i64::MAX);
        add(&house.totals.storage_bytes, kept.bytes(), 0);
        let session = Self {
            id: kept.record.id,
            place,
            holds: AtomicU32::new(0),
            ended: AtomicU8::new(0),
            kept: Mutex::new(kept),
            mailbox: Mutex::new(mailbox),
            wake: Notify::new(),
            calls: Mutex::new(Vec::new()),
            bytes: AtomicI64::new(bytes),
            suspended: Mutex::default(),
            house,
        };
        session.note_size(0, bytes);
        session
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// A copy of what is known of it.
    #[must_use]
    pub fn record(&self) -> Record {
        lock(&self.kept).record.clone()
    }

    /// Looks at the record without copying it. `look` must be short and must not call the session.
    pub fn with_record<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&lock(&self.kept).record)
    }

    /// Changes the record's state and keeps the sums right.
    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = lock(&self.kept);
        let before = kept.bytes();
        let result = change(&mut kept);
        add(&self.house.totals.storage_bytes, kept.bytes(), before);
        self.resize(kept.bytes(), before);
        result
    }

    /// A part of it grew or shrank.
    fn resize(&self, after: usize, before: usize) {
        if after != before {
            let change = i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
            let held = self.bytes.fetch_add(change, Ordering::AcqRel);
            self.note_size(held, held + change);
        }
    }

    /// Enters it among those that hold more than their share, or takes it out.
    fn note_size(&self, before: i64, after: i64) {
        let share = self.house.share();
        if (before > share) != (after > share) {
            let mut large = lock(&self.house.large);
            // Looked at again under the lock: of two changes at once the last one here has the last word.
            if self.bytes.load(Ordering::Acquire) > share {
                large.insert(self.id);
            } else {
                large.remove(&self.id);
            }
        }
    }

    /// The revision negotiated for it.
    #[must_use]
    pub fn revision(&self) -> crate::protocol::Revision {
        lock(&self.kept).record.protocol_version
    }

    /// `notifications/initialized` came.
    pub fn client_is_ready(&self) {
        lock(&self.kept).record.client_ready = true;
    }

    /// Notes an HTTP request that entered the session, for the findings.
    pub fn note(&self, entry: &Entry) {
        let record = &mut lock(&self.kept).record;
        record.history.note(entry, record.protocol_version);
    }

    /// Notes a JSON-RPC request, for the findings.
    pub fn note_call(&self, method: &str, id: &Id) {
        let reused = self.is_running(id);
        let record = &mut lock(&self.kept).record;
        if method != "ping" && record.initialized && !record.client_ready {
            record.history.before_ready = record.history.before_ready.saturating_add(1);
        }
        if reused {
            record.history.reused_ids = record.history.reused_ids.saturating_add(1);
        }
    }

    /// Whether a call with this id is at work.
    #[must_use]
    pub fn is_running(&self, id: &Id) -> bool {
        let calls = lock(&self.calls);
        if calls.is_empty() {
            return false;
        }
        let id = id.canonical();
        calls.iter().any(|(running, _)| *running == id)
    }

    /// Why it ended; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<EndReason> {
        EndReason::from_byte(self.ended.load(Ordering::Acquire))
    }

    /// When it expires if nothing more happens; `None` while a request or stream holds it.
    #[must_use]
    pub fn expires(&self) -> Option<Moment> {
        (!self.is_held()).then(|| self.last_activity().plus(self.house.limits.timeout))
    }

    /// How much longer it lives if nothing more happens than the request that asks.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.house.limits.timeout
    }

    fn last_activity(&self) -> Moment {
        lock(&self.kept).record.last_activity
    }

    /// Whether all sessions together hold more memory than they may.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.house.excess_bytes() > 0
    }

    /// What it holds, in bytes.
    fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.load(Ordering::Acquire)).unwrap_or(0)
    }

    fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }

    fn is_expired(&self, now: Moment) -> bool {
        self.expires().is_some_and(|at| at <= now)
    }

    fn hold(&self) {
        self.holds.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends a hold; the last one starts the idle time.
    fn release(&self, now: Instant) {
        let record = &mut lock(&self.kept).record;
        // Another request may have ended since `now` was looked at.
        record.last_activity = record.last_activity.max(self.house.clock.at(now));
        // Counted under the lock of the order, so that a sweep does not set aside what is no longer held.
        let mut idle = lock(&self.house.idle);
        if self.holds.fetch_sub(1, Ordering::AcqRel) == 1 && self.ended().is_none() {
            idle.put_last(self.place, List::Fresh);
        }
    }

    /// Keeps `message` as the last echo, merges `custom` into the custom data, and counts. Returns the echo's number.
    ///
    /// # Errors
    /// When the custom data would grow beyond its bound, or all sessions beyond theirs and this one beyond its share of it;
    /// nothing is changed then.
    pub fn echo(&self, message: &str, custom: Option<&Map<String, Value>>) -> Result<u64, NotKept> {
        self.change(|kept| {
            let mut merged_custom = None;
            let mut custom_bytes = kept.custom_bytes;
            if let Some(custom) = custom.filter(|custom| !custom.is_empty()) {
                let mut merged = kept.record.state.custom_data.clone().unwrap_or_default();
                for (key, value) in custom {
                    if value.is_null() {
                        merged.shift_remove(key);
                    } else {
                        merged.insert(key.clone(), value.clone());
                    }
                }
                let bytes = serde_json::to_string(&merged).map_or(usize::MAX, |text| text.len());
                if bytes > MAX_CUSTOM_DATA {
                    return Err(CustomDataTooLarge { bytes }.into());
                }
                custom_bytes = merged.iter().map(|(key, value)| key.len() + weight(value)).sum();
                merged_custom = Some(merged);
            }
            let last = kept.record.state.last_echo.as_ref().map_or(0, String::len);
            self.check_room(custom_bytes + message.len(), kept.custom_bytes + last)?;
            if merged_custom.is_some() {
                kept.custom_bytes = custom_bytes;
                kept.record.state.custom_data = merged_custom;
            }
            let state = &mut kept.record.state;
            let last = state.last_echo.get_or_insert_default();
            last.clear();
            last.push_str(message);
            last.shrink_to(2 * message.len());
            state.echo_count += 1;
            Ok(state.echo_count)
        })
    }

    /// Whether a part of it may grow from `before` to `after` bytes.
    fn check_room(&self, after: usize, before: usize) -> Result<(), NotKept> {
        let growth = i64::try_from(after.saturating_sub(before)).unwrap_or(i64::MAX);
        let (share, bytes) = (self.house.share(), self.bytes.load(Ordering::Acquire) + growth);
        if growth == 0 || bytes <= share {
            return Ok(());
        }
        if self.house.excess_bytes_with(growth) == 0 {
            Ok(())
        } else {
            Err(NotKept::NoRoom { bytes, share, growth: growth.unsigned_abs() })
        }
    }

    /// Counts a finding. Returns whether it is the first of its kind here.
    pub fn note_finding(&self, id: &str) -> bool {
        let now = self.house.clock.now();
        self.change(|kept| {
            let findings = &mut kept.record.findings;
            if let Some(seen) = findings.iter_mut().find(|seen| seen.id == id) {
                seen.count += 1;
                seen.last = now;
                return false;
            }
            findings.push(SeenFinding { id: id.to_owned(), count: 1, first: now, last: now });
            true
        })
    }

    /// The last echo again, counted; `None` before the first.
    #[must_use]
    pub fn replay(&self) -> Option<Replay> {
        let state = &mut lock(&self.kept).record.state;
        let message = state.last_echo.clone()?;
        state.replay_count += 1;
        Some(Replay { message, echo_count: state.echo_count, replay_count: state.replay_count })
    }

    /// Counts a tool call. Returns the number of calls so far, this one included.
    pub fn count_tool_call(&self) -> u64 {
        let record = &mut lock(&self.kept).record;
        record.tool_calls += 1;
        record.tool_calls
    }

    /// The least level that is queued.
    #[must_use]
    pub fn log_level(&self) -> LogLevel {
        lock(&self.kept).record.log_level
    }

    /// `logging/setLevel`: from now on nothing below `level` is delivered.
    pub fn set_log_level(&self, level: LogLevel) {
        lock(&self.kept).record.log_level = level;
        self.with_mailbox(|mailbox| mailbox.queue.forget_below(level));
    }

    /// Queues a `notifications/message`, if its level is wanted. `notice` makes it.
    pub fn log(&self, level: LogLevel, notice: impl FnOnce() -> Notice) {
        if level < self.log_level() {
            return;
        }
        let notice = notice();
        self.with_mailbox(|mailbox| mailbox.queue.push(level, notice));
        self.wake.notify_waiters();
    }

    fn with_mailbox<T>(&self, change: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut mailbox = lock(&self.mailbox);
        let (bytes, pending) = (mailbox.queue.bytes(), mailbox.queue.pending());
        let streams = mailbox.open_streams();
        let result = change(&mut mailbox);
        add(&self.house.totals.queue_bytes, mailbox.queue.bytes(), bytes);
        self.resize(mailbox.queue.bytes(), bytes);
        add(&self.house.totals.pending, mailbox.queue.pending(), pending);
        add(&self.house.totals.streams, mailbox.open_streams(), streams);
        result
    }

    /// The queue in figures.
    #[must_use]
    pub fn queue_figures(&self) -> QueueFigures {
        let mailbox = lock(&self.mailbox);
        QueueFigures {
            pending: mailbox.queue.pending(),
            held: mailbox.queue.held(),
            dropped: mailbox.queue.dropped(),
            bytes: mailbox.queue.bytes(),
            streams: mailbox.open_streams(),
        }
    }

    /// Registers a call that runs, so that the client can cancel it. Dropping the guard takes it out again.
    ///
    /// # Errors
    /// When there are [`MAX_RUNNING`] already.
    pub fn running(self: &Arc<Self>, id: &Id) -> Result<RunningCall, Busy> {
        let id = id.canonical();
        let cancelled = CancellationToken::new();
        {
            let mut calls = lock(&self.calls);
            if calls.len() >= MAX_RUNNING {
                return Err(Busy);
            }
            calls.push((id.clone(), cancelled.clone()));
        }
        if self.ended().is_some() {
            cancelled.cancel();
        }
        Ok(RunningCall { session: Arc::clone(self), id, cancelled })
    }

    /// Cancels the calls with this id that run. Returns whether there were any.
    pub fn cancel(&self, id: &Id) -> bool {
        let calls = lock(&self.calls);
        let matching = calls.iter().filter(|(running, _)| running == id);
        matching.inspect(|(_, cancelled)| cancelled.cancel()).count() > 0
    }

    /// Marks it ended: streams end, running calls are cancelled.
    fn end(&self, reason: EndReason) {
        self.ended.store(reason as u8, Ordering::Release);
        for (_, cancelled) in lock(&self.calls).iter() {
            cancelled.cancel();
        }
        self.forget_suspended();
        self.wake.notify_waiters();
    }

    /// The event id under which a client finds the rest of a stream whose connection is about to be let go of.
    #[must_use]
    pub fn suspension_id(&self) -> String {
        lock(&self.suspended).get_or_insert_default().next_id()
    }

    /// Keeps the rest of a stream until a client comes for it with `id`, or newer ones push it out.
    pub fn suspend(&self, id: &str, rest: EventStream) {
        // Bound to a name: what is pushed out may hold this session, and is dropped without the lock.
        let pushed_out = lock(&self.suspended).get_or_insert_default().keep(id, rest);
        drop(pushed_out);
        if self.ended().is_some() {
            self.forget_suspended();
        }
    }

    /// A suspended stream holds its session: forgetting it lets the session go.
    fn forget_suspended(&self) {
        let suspended = lock(&self.suspended).take();
        drop(suspended);
    }

    /// The rest of the stream that was suspended as `id`.
    #[must_use]
    pub fn take_suspended(&self, id: &str) -> Option<EventStream> {
        lock(&self.suspended).as_mut()?.take(id)
    }

    /// Opens a stream on the queue, resuming after `last_event_id` where that names an event of this session.
    #[must_use]
    pub fn open_stream(self: &Arc<Self>, last_event_id: Option<&str>) -> Stream {
        Stream::open(Arc::clone(self), last_event_id)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let totals = &self.house.totals;
        add(&totals.storage_bytes, 0, lock(&self.kept).bytes());
        let mailbox = lock(&self.mailbox);
        add(&totals.queue_bytes, 0, mailbox.queue.bytes());
        add(&totals.pending, 0, mailbox.queue.pending());
        add(&totals.streams, 0, mailbox.open_streams());
        lock(&self.house.idle).remove(self.place);
        if *self.bytes.get_mut() > self.house.share() {
            lock(&self.house.large).remove(&self.id);
        }
    }
}

/// What a JSON value holds beyond itself, in bytes, roughly: texts, keys and slots.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() + weight(item)).sum(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| size_of::<(String, Value)>() + key.len() + weight(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// A request's time in a session: the session is not idle while this lives.
pub struct Visit {
    session: Arc<Session>,
    started: Instant,
    requests: u32,
}

impl Visit {
    /// `now` it begins.
    fn new(session: Arc<Session>, now: Instant) -> Self {
        session.hold();
        session.house.totals.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { session, started: now, requests: 0 }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Counts JSON-RPC requests of this visit.
    pub fn count_requests(&mut self, n: u32) {
        self.requests += n;
        lock(&self.session.kept).record.request_count += u64::from(n);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let now = Instant::now();
        if self.requests > 0 {
            let took = now.saturating_duration_since(self.started);
            let record = &mut lock(&self.session.kept).record;
            record.total_handling_us =
                record.total_handling_us.saturating_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            record.finished_count += u64::from(self.requests);
        }
        self.session.house.totals.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.session.release(now);
    }
}

/// A call that runs and can be cancelled.
pub struct RunningCall {
    session: Arc<Session>,
    id: Id,
    cancelled: CancellationToken,
}

impl RunningCall {
    /// Resolves when the client cancels the call or its session ends.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        // One entry a guard: calls with the same id are alike.
        let mut calls = lock(&self.session.calls);
        if let Some(i) = calls.iter().position(|(id, _)| *id == self.id) {
            calls.swap_remove(i);
        }
        if calls.is_empty() {
            *calls = Vec::new();
        }
    }
}
