//! A session's message queue: a bounded FIFO that remembers where each message went. Plain data: waiting for
//! messages is the business of `connections`.
//!
//! Messages have positions, in the order in which they came. Those that were delivered stay until newer ones push them
//! out, so that a client that lost its connection can have them again: on the stream they were delivered on, and on no
//! other (MCP 2025-11-25 basic/transports, Resumability and Redelivery).
//!
//! What is lost is told, once, to the client that had it: what was pushed out before anybody had it, and what a stream that
//! resumes had and may have missed. A warning that its connection did not deliver is told again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::losses::{self, Losses};
use super::rest::Rest;
use crate::protocol::LogLevel;

/// What a held message costs beyond its text, in bytes: its slot in the queue.
const SLOT_BYTES: usize = size_of::<Message>();

/// A message and where it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its place in the order, from 1.
    pub position: u64,
    /// Its level.
    pub level: LogLevel,
    /// The stream it was delivered on; 0 while it is pending.
    pub stream: u32,
    /// The JSON-RPC notification, as it goes to the client.
    pub json: Box<str>,
}

/// A message on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Position, for the event's id.
    pub position: u64,
    /// The JSON-RPC notification.
    pub json: Box<str>,
}

impl From<&Message> for Delivery {
    fn from(message: &Message) -> Self {
        Self { position: message.position, json: message.json.clone() }
    }
}

/// A bounded FIFO. See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Queue {
    capacity: u32,
    /// The position of the newest message.
    newest: u64,
    /// Messages up to here were delivered or pushed out.
    delivered: u64,
    /// Pushed out before delivery, and the client does not know yet.
    untold: u64,
    /// Pushed out before delivery, in all.
    dropped: u64,
    /// Streams opened so far: the number of the newest.
    streams: u32,
    /// A number of its own by which its events are told from those of other sessions. Chosen by chance: it says nothing of
    /// the session's id.
    #[serde(default)]
    tag: u32,
    messages: VecDeque<Message>,
    /// What streams had and may be without. Few sessions have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    losses: Option<Box<Losses>>,
    /// What a newer release wrote beside these.
    #[serde(flatten)]
    rest: Rest,
    /// Messages held that no stream had yet.
    #[serde(skip)]
    pending: u32,
    #[serde(skip)]
    text_bytes: usize,
}

/// A queue as it is read: what can be counted is not stored.
#[derive(Deserialize)]
struct Stored {
    capacity: u32,
    newest: u64,
    delivered: u64,
    untold: u64,
    dropped: u64,
    streams: u32,
    #[serde(default)]
    tag: u32,
    messages: VecDeque<Message>,
    #[serde(default)]
    losses: Option<Box<Losses>>,
    #[serde(flatten)]
    rest: Rest,
}

/// As many messages as no queue holds are counted as four thousand million.
fn count(messages: usize) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

impl TryFrom<Stored> for Queue {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let Stored { capacity, newest, delivered, untold, dropped, streams, tag, messages, losses, rest } = stored;
        let pending = |message: &&Message| message.position > delivered;
        if capacity == 0 || count(messages.len()) > capacity {
            return Err("the queue holds more messages than it may");
        }
        if !messages.iter().map(|message| message.position).is_sorted_by(|a, b| a < b) {
            return Err("the queue's messages are out of order");
        }
        if untold > delivered || delivered > newest || messages.back().is_some_and(|last| last.position > newest) {
            return Err("the queue has messages beyond its newest");
        }
        if messages.iter().any(|message| (message.stream == 0) != pending(&message)) {
            return Err("the queue's messages do not agree with what was delivered");
        }
        if losses.as_ref().is_some_and(|losses| !losses.are_of(delivered)) {
            return Err("the queue lost what it never delivered");
        }
        let text_bytes = messages.iter().map(|message| message.json.len()).sum();
        let pending = count(messages.iter().filter(pending).count());
        Ok(Self {
            capacity,
            newest,
            delivered,
            untold,
            dropped,
            streams,
            tag,
            messages,
            losses,
            rest,
            pending,
            text_bytes,
        })
    }
}

impl Queue {
    /// An empty queue for `capacity` messages (at least one).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: count(capacity.max(1)),
            newest: 0,
            delivered: 0,
            untold: 0,
            dropped: 0,
            streams: 0,
            tag: 0,
            messages: VecDeque::new(),
            losses: None,
            rest: Rest::default(),
            pending: 0,
            text_bytes: 0,
        }
    }

    /// The same, with this tag.
    #[must_use]
    pub fn tagged(mut self, tag: u32) -> Self {
        self.tag = tag;
        self
    }

    /// What tells its events from those of other sessions: the first part of their ids.
    #[must_use]
    pub fn tag(&self) -> u32 {
        self.tag
    }

    /// Takes its messages away for a moment: [`Queue::put_back`].
    pub(super) fn take_messages(&mut self) -> VecDeque<Message> {
        std::mem::take(&mut self.messages)
    }

    /// Puts back what [`Queue::take_messages`] took.
    pub(super) fn put_back(&mut self, messages: VecDeque<Message>) {
        self.messages = messages;
    }

    /// Its messages, in their order.
    pub(super) fn messages(&self) -> &VecDeque<Message> {
        &self.messages
    }

    /// This queue, which was kept without its messages, with them.
    pub(super) fn with(&self, messages: VecDeque<Message>) -> Result<Self, &'static str> {
        let Self { capacity, newest, delivered, untold, dropped, streams, tag, .. } = *self;
        let (losses, rest) = (self.losses.clone(), self.rest.clone());
        Self::try_from(Stored { capacity, newest, delivered, untold, dropped, streams, tag, messages, losses, rest })
    }

    /// Appends a notification; where the queue is full, the oldest message is dropped.
    pub fn push(&mut self, level: LogLevel, json: Box<str>) {
        self.push_at(0, level, json);
    }

    /// The same, at position `least` or after it. A store that may lose what it acknowledged gives its own time here, in
    /// microseconds: then a position is never given out twice, and a client that resumes after a lost one misses nothing.
    pub fn push_at(&mut self, least: u64, level: LogLevel, json: Box<str>) {
        if count(self.messages.len()) >= self.capacity
            && let Some(oldest) = self.messages.pop_front()
        {
            self.text_bytes -= oldest.json.len();
            if oldest.stream == 0 {
                self.untold += 1;
                self.dropped += 1;
                self.pending -= 1;
                self.delivered = oldest.position;
            } else {
                self.losses.get_or_insert_default().add(oldest.stream, oldest.position, 1);
            }
        }
        self.newest = (self.newest + 1).max(least);
        self.pending += 1;
        self.text_bytes += json.len();
        self.messages.push_back(Message { position: self.newest, level, stream: 0, json });
    }

    /// The next message for a connection of stream number `stream` (from 1) whose last message was `position`: first what
    /// that stream already had after it, then, where `takes_pending`, what no stream had yet; both begin with a warning
    /// where messages were lost.
    pub fn next(&mut self, stream: u32, position: u64, takes_pending: bool, least: LogLevel) -> Option<Delivery> {
        let tells = least <= LogLevel::Warning;
        if let Some(gap) = self.gap(stream, position).filter(|_| tells) {
            return Some(gap);
        }
        if let Some(again) = self.again(stream, position).next() {
            return Some(again.into());
        }
        if !takes_pending {
            return None;
        }
        if let Some(json) = self.take_cut(tells) {
            return Some(Delivery { position, json });
        }
        let lost = self.untold;
        if lost > 0 {
            self.tell(lost);
            self.losses.get_or_insert_default().add(stream, self.delivered, lost);
            if tells {
                return Some(Delivery { position: self.delivered, json: self.loss_warning(lost) });
            }
        }
        self.deliver(stream).map(Into::into)
    }

    /// Stream `stream` ended soon after messages were sent on it, and nothing but their own ids would let its client have
    /// them again: a client that comes without one is told.
    pub fn note_cut(&mut self, stream: u32) {
        self.losses.get_or_insert_default().note_cut(stream);
    }

    /// A warning where `stream` had messages after `position` that are no longer held, with the position that it goes on after.
    pub fn gap(&mut self, stream: u32, position: u64) -> Option<Delivery> {
        let losses = self.losses.as_mut()?;
        losses.resumed(stream);
        let (to, lost) = losses.gap(stream, position)?;
        Some(Delivery { position: to, json: losses::gap_warning(lost, self.dropped, self.capacity) })
    }

    /// A warning where a stream was cut off soon after messages were sent on it, once; where it is wanted.
    pub fn take_cut(&mut self, tells: bool) -> Option<Box<str>> {
        let cut = self.losses.as_mut()?.take_cut()?;
        if tells { self.cut_warning(cut) } else { None }
    }

    /// What `stream` had after `position`.
    pub fn again(&self, stream: u32, position: u64) -> impl Iterator<Item = &Message> {
        let after = self.messages.partition_point(|message| message.position <= position);
        let delivered = self.messages.range(after..).take_while(|message| message.position <= self.delivered);
        delivered.filter(move |message| message.stream == stream)
    }

    /// The first message that no stream had yet.
    #[must_use]
    pub fn first_pending(&self) -> Option<&Message> {
        self.messages.get(self.messages.len() - self.pending())
    }

    /// Delivers that message on `stream`.
    pub fn deliver(&mut self, stream: u32) -> Option<&Message> {
        let first = self.messages.len() - self.pending();
        let message = self.messages.get_mut(first)?;
        message.stream = stream;
        self.pending -= 1;
        self.delivered = message.position;
        Some(message)
    }

    /// Messages that were pushed out before delivery, and that the client was not told of.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.untold
    }

    /// The client was told of `lost` of them.
    pub fn tell(&mut self, lost: u64) {
        self.untold = self.untold.saturating_sub(lost);
    }

    /// The warning that `lost` messages were lost.
    #[must_use]
    pub fn loss_warning(&self, lost: u64) -> Box<str> {
        losses::overflow_warning(lost, self.dropped, self.capacity)
    }

    /// The warning that what was sent on `stream` may not have arrived; `None` where nothing was.
    fn cut_warning(&self, stream: u32) -> Option<Box<str>> {
        let gone = self.losses.as_ref().map_or(0, |losses| losses.count(stream));
        losses::cut_warning(self.tag, stream, self.again(stream, 0).count() as u64, gone)
    }

    /// Drops what is pending below `least`: the client no longer wants it (MCP server/utilities/logging).
    pub fn forget_below(&mut self, least: LogLevel) {
        let (delivered, before, mut freed) = (self.delivered, self.messages.len(), 0);
        self.messages.retain(|message| {
            let keep = message.position <= delivered || message.level >= least;
            freed += if keep { 0 } else { message.json.len() };
            keep
        });
        self.pending -= count(before - self.messages.len());
        self.text_bytes -= freed;
    }

    /// A number for a new stream, and the position that it starts from.
    pub fn new_stream(&mut self) -> (u32, u64) {
        self.streams += 1;
        (self.streams, self.start())
    }

    /// Where a new stream starts: after the last message that was delivered or pushed out. One less where a loss is still to
    /// be told: the warning has the position of the last lost message, and no two events may share an id.
    fn start(&self) -> u64 {
        self.delivered - u64::from(self.untold > 0)
    }

    /// Whether `stream` was opened here, and `position` given out.
    #[must_use]
    pub fn knows(&self, stream: u32, position: u64) -> bool {
        (1..=self.streams).contains(&stream) && position <= self.newest
    }

    /// A stream with this number was opened, in a past that this queue knows nothing of: a store lost it.
    pub fn admit_stream(&mut self, stream: u32) {
        self.streams = self.streams.max(stream);
    }

    /// The number of the newest stream; 0 before the first.
    #[must_use]
    pub fn streams(&self) -> u32 {
        self.streams
    }

    /// Messages that no stream had yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending as usize
    }

    /// Messages held, delivered ones included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.messages.len()
    }

    /// Messages pushed out before anybody had them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The most messages that it holds.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The position of the newest message; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.messages.capacity() * SLOT_BYTES
            + self.text_bytes
            + self.losses.as_ref().map_or(0, |losses| losses.bytes())
    }
}

#[cfg(test)]
mod tests;
