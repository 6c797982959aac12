//! What a change may see and do.
//!
//! A change is a function of a request's facts and `&mut Working`: it reads and writes the session's value, and does
//! nothing else. What shall happen besides (a log line, a count, a notice elsewhere) it hands over with
//! [`Working::after`]: that happens once, when what was changed is kept.

use std::time::Duration;

use serde_json::{Map, Value};

use super::history::{Entry, News};
use super::local::Local;
use super::pace::TooFast;
use super::queue::Queue;
use super::record::{CustomData, CustomDataTooLarge, Record, SeenFinding};
use super::saved::Saved;
use super::shared::Shared;
use super::store::{Outgoing, StoreFigures};
use crate::clock::Moment;
use crate::config::RateLimit;
use crate::protocol::{Id, LogLevel};

/// What happens once a change is kept.
pub type Effect = Box<dyn FnOnce() + Send>;

/// A session while it is changed.
pub struct Working<'a> {
    /// What is known of it.
    pub record: &'a mut Record,
    messages: Messages<'a>,
    around: Around<'a>,
    /// JSON-RPC requests counted.
    requests: u32,
    /// What the request brought for the first time.
    news: News,
    effects: Vec<Effect>,
}

/// What a change leaves to be done when it is kept.
pub struct Left {
    /// JSON-RPC requests that it counted.
    pub requests: u32,
    /// What the request brought for the first time.
    pub news: News,
    /// What is to happen.
    pub effects: Vec<Effect>,
}

/// Where its messages are.
pub enum Messages<'a> {
    /// In its own queue.
    Kept(&'a mut Queue),
    /// In a store.
    Sent {
        /// What that counts.
        figures: StoreFigures,
        /// What is to be queued there.
        append: &'a mut Vec<Outgoing>,
    },
}

/// What is around a change.
pub struct Around<'a> {
    pub local: &'a Local,
    pub shared: &'a Shared,
    /// What the session takes besides its value, in bytes.
    pub overhead: usize,
    /// Now, by the store's clock, where it has one.
    pub now: Option<Moment>,
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

/// A session in figures: its queue, and what of it is at work in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages not yet delivered.
    pub pending: usize,
    /// Messages held, delivered ones included.
    pub held: usize,
    /// Messages lost because the queue was full.
    pub dropped: u64,
    /// Memory that the queue holds, in bytes.
    pub bytes: usize,
    /// GET streams open.
    pub streams: usize,
    /// Calls at work that can be cancelled.
    pub running: usize,
}

impl Figures {
    pub(super) fn of(saved: &Saved, local: &Local) -> Self {
        Self::with_queue(&saved.queue, local)
    }

    /// What a store says.
    pub(super) fn told(figures: &StoreFigures, local: &Local) -> Self {
        let &StoreFigures { pending, held, dropped, bytes, streams, .. } = figures;
        Self { pending, held, dropped, bytes, streams, running: local.calls.count() }
    }

    fn with_queue(queue: &Queue, local: &Local) -> Self {
        Self {
            pending: queue.pending(),
            held: queue.held(),
            dropped: queue.dropped(),
            bytes: queue.bytes(),
            streams: local.connections.count(),
            running: local.calls.count(),
        }
    }
}

impl<'a> Working<'a> {
    pub(super) fn new(record: &'a mut Record, messages: Messages<'a>, around: Around<'a>) -> Self {
        Self { record, messages, around, requests: 0, news: News::default(), effects: Vec::new() }
    }

    /// What is left to be done once the change is kept.
    pub(super) fn finish(self) -> Left {
        Left { requests: self.requests, news: self.news, effects: self.effects }
    }

    /// Has `effect` happen once the change is kept: never before, and once also where the change has to run again.
    pub fn after(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.effects.push(Box::new(effect));
    }

    /// Now, on the sessions' clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.around.now.unwrap_or_else(|| self.around.shared.clock.now())
    }

    /// Its figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let local = self.around.local;
        match &self.messages {
            Messages::Kept(queue) => Figures::with_queue(queue, local),
            Messages::Sent { figures, .. } => Figures::told(figures, local),
        }
    }

    /// Counts JSON-RPC requests. Where a request enters the session with it, their handling time is counted too.
    pub fn count_requests(&mut self, n: u32) {
        self.requests += n;
        self.record.request_count += u64::from(n);
    }

    /// Counts a request that took its time, where nothing else counts the time of requests at their end.
    pub fn count_finished(&mut self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.record.total_handling_us = self.record.total_handling_us.saturating_add(took);
        self.record.finished_count += 1;
    }

    /// Takes a message, unless it comes too fast.
    ///
    /// # Errors
    /// [`TooFast`]
    pub fn keep_pace(&mut self, limit: &RateLimit) -> Result<(), TooFast> {
        let now = self.now();
        let taken = self.record.pace.get_or_insert_default().take(limit, now);
        self.news.findings |= taken.is_err_and(|too_fast| too_fast.early);
        taken
    }

    /// Counts a tool call. Returns the number of calls so far, this one included.
    pub fn count_tool_call(&mut self) -> u64 {
        self.record.tool_calls += 1;
        self.record.tool_calls
    }

    /// Records an HTTP request that entered the session, for the findings.
    pub fn record_request(&mut self, entry: &Entry) {
        let news = self.record.history.record(entry, self.record.protocol_version);
        self.news.first_use |= news.first_use;
        self.news.findings |= news.findings;
    }

    /// Records a JSON-RPC request, for the findings.
    pub fn record_call(&mut self, method: &str, id: &Id) {
        let reused = self.is_running(id);
        let history = &mut self.record.history;
        if method != "ping" && self.record.initialized && !self.record.client_ready {
            history.before_ready = history.before_ready.saturating_add(1);
            self.news.findings |= history.before_ready == 2;
        }
        if self.record.tool_calls == 0 && method == "tools/list" {
            history.listed_first = true;
        }
        if reused {
            history.reused_ids = history.reused_ids.saturating_add(1);
            self.news.findings |= history.reused_ids == 1;
        }
    }

    /// Whether a call with this id is at work.
    #[must_use]
    pub fn is_running(&self, id: &Id) -> bool {
        self.around.local.calls.has(id)
    }

    /// Counts a finding that the client is told of. Returns whether it is the first time that it is.
    pub fn note_finding(&mut self, id: &str) -> bool {
        let now = self.now();
        let findings = &mut self.record.findings;
        if let Some(seen) = findings.iter_mut().find(|seen| seen.id == id) {
            seen.count += 1;
            seen.last = now;
            return std::mem::take(&mut seen.untold);
        }
        findings.push(SeenFinding { id: id.to_owned(), count: 1, first: now, last: now, untold: false });
        true
    }

    /// Notes a finding that the client is not told of yet. Returns whether it is the first of its kind here.
    pub fn note_untold(&mut self, id: &str) -> bool {
        let now = self.now();
        let findings = &mut self.record.findings;
        let is_first = findings.iter().all(|seen| seen.id != id);
        if is_first {
            findings.push(SeenFinding { id: id.to_owned(), count: 1, first: now, last: now, untold: true });
        }
        is_first
    }

    /// A cancellation came for a call that is not at work.
    pub fn count_late_cancel(&mut self) {
        let count = &mut self.record.history.late_cancels;
        *count = count.saturating_add(1);
        self.news.findings |= *count == 2;
    }

    /// `logging/setLevel`: from now on nothing below `level` is delivered.
    pub fn set_log_level(&mut self, level: LogLevel) {
        self.record.log_level = level;
        if let Messages::Kept(queue) = &mut self.messages {
            queue.forget_below(level);
        }
    }

    /// Queues a notification, if its level is wanted. `json` renders it: [`crate::protocol::notice`].
    pub fn log(&mut self, level: LogLevel, json: impl FnOnce() -> Box<str>) {
        if level >= self.record.log_level {
            match &mut self.messages {
                Messages::Kept(queue) => queue.push(level, json()),
                Messages::Sent { append, .. } => append.push(Outgoing { level, json: json() }),
            }
        }
    }

    /// Keeps `message` as the last echo, merges `custom` into the custom data, and counts. Returns the echo's number.
    ///
    /// # Errors
    /// When the custom data would grow beyond its bound, or all sessions beyond theirs and this one beyond its share of it;
    /// nothing is changed then.
    pub fn echo(&mut self, message: &str, custom: Option<&Map<String, Value>>) -> Result<u64, NotKept> {
        let kept = self.record.state.custom_data.as_ref();
        let merged = match custom.filter(|custom| !custom.is_empty()) {
            Some(custom) => Some(CustomData::merge(kept, custom)?),
            None => None,
        };
        let before = self.record.state.last_echo.as_ref().map_or(0, String::len) + kept.map_or(0, CustomData::bytes);
        let after = message.len() + merged.as_ref().or(kept).map_or(0, CustomData::bytes);
        self.check_room(after, before)?;
        let state = &mut self.record.state;
        if merged.is_some() {
            state.custom_data = merged;
        }
        let last = state.last_echo.get_or_insert_default();
        last.clear();
        last.push_str(message);
        last.shrink_to(2 * message.len());
        state.echo_count += 1;
        Ok(state.echo_count)
    }

    /// Whether a part of it may grow from `before` to `after` bytes.
    fn check_room(&self, after: usize, before: usize) -> Result<(), NotKept> {
        let growth = i64::try_from(after.saturating_sub(before)).unwrap_or(i64::MAX);
        if growth == 0 {
            return Ok(());
        }
        let queue = if let Messages::Kept(queue) = &self.messages { queue.bytes() } else { 0 };
        let held = self.around.overhead + self.record.bytes() + queue;
        let bytes = i64::try_from(held).unwrap_or(i64::MAX).saturating_add(growth);
        let share = self.around.shared.limits.share();
        if bytes <= share || self.around.shared.excess_bytes(growth) == 0 {
            return Ok(());
        }
        Err(NotKept::NoRoom { bytes, share, growth: growth.unsigned_abs() })
    }

    /// The last echo again, counted; `None` before the first.
    #[must_use]
    pub fn replay(&mut self) -> Option<Replay> {
        let state = &mut self.record.state;
        let message = state.last_echo.clone()?;
        state.replay_count += 1;
        Some(Replay { message, echo_count: state.echo_count, replay_count: state.replay_count })
    }
}
