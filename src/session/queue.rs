//! A session's message queue: a bounded FIFO that remembers where each message went. Plain data: waiting for
//! messages is the business of `connections`.
//!
//! Messages have positions, in the order in which they came. Those that were delivered stay until newer ones push them
//! out, so that a client that lost its connection can have them again: on the stream they were delivered on, and on no
//! other (MCP 2025-11-25 basic/transports, Resumability and Redelivery).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rest::Rest;
use crate::protocol::{LogLevel, notice};

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
    capacity: usize,
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
    /// What a newer release wrote beside these.
    #[serde(flatten)]
    rest: Rest,
    /// Messages held that no stream had yet.
    #[serde(skip)]
    pending: usize,
    #[serde(skip)]
    text_bytes: usize,
}

/// A queue as it is read: what can be counted is not stored.
#[derive(Deserialize)]
struct Stored {
    capacity: usize,
    newest: u64,
    delivered: u64,
    untold: u64,
    dropped: u64,
    streams: u32,
    #[serde(default)]
    tag: u32,
    messages: VecDeque<Message>,
    #[serde(flatten)]
    rest: Rest,
}

impl TryFrom<Stored> for Queue {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let Stored { capacity, newest, delivered, untold, dropped, streams, tag, messages, rest } = stored;
        let pending = |message: &&Message| message.position > delivered;
        if capacity == 0 || messages.len() > capacity {
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
        let text_bytes = messages.iter().map(|message| message.json.len()).sum();
        let pending = messages.iter().filter(pending).count();
        Ok(Self { capacity, newest, delivered, untold, dropped, streams, tag, messages, rest, pending, text_bytes })
    }
}

impl Queue {
    /// An empty queue for `capacity` messages (at least one).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            newest: 0,
            delivered: 0,
            untold: 0,
            dropped: 0,
            streams: 0,
            tag: 0,
            messages: VecDeque::new(),
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

    /// Appends a notification; where the queue is full, the oldest message is dropped.
    pub fn push(&mut self, level: LogLevel, json: Box<str>) {
        self.push_at(0, level, json);
    }

    /// The same, at position `least` or after it. A store that may lose what it acknowledged gives its own time here, in
    /// microseconds: then a position is never given out twice, and a client that resumes after a lost one misses nothing.
    pub fn push_at(&mut self, least: u64, level: LogLevel, json: Box<str>) {
        if self.messages.len() >= self.capacity
            && let Some(oldest) = self.messages.pop_front()
        {
            self.text_bytes -= oldest.json.len();
            if oldest.stream == 0 {
                self.untold += 1;
                self.dropped += 1;
                self.pending -= 1;
                self.delivered = oldest.position;
            }
        }
        self.newest = (self.newest + 1).max(least);
        self.pending += 1;
        self.text_bytes += json.len();
        self.messages.push_back(Message { position: self.newest, level, stream: 0, json });
    }

    /// The next message for a connection of stream number `stream` (from 1) whose last message was `position`: first what
    /// that stream already had after it, then, where `takes_pending`, what no stream had yet, beginning with a warning
    /// where messages were lost.
    pub fn next(&mut self, stream: u32, position: u64, takes_pending: bool, least: LogLevel) -> Option<Delivery> {
        if let Some(again) = self.again(stream, position).next() {
            return Some(again.into());
        }
        if !takes_pending {
            return None;
        }
        let lost = self.untold;
        if lost > 0 {
            self.tell(lost);
            if least <= LogLevel::Warning {
                return Some(Delivery { position: self.delivered, json: self.loss_warning(lost) });
            }
        }
        self.deliver(stream).map(Into::into)
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
        self.messages.get(self.messages.len() - self.pending)
    }

    /// Delivers that message on `stream`.
    pub fn deliver(&mut self, stream: u32) -> Option<&Message> {
        let first = self.messages.len() - self.pending;
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
        notice::log(&json!({
            "level": LogLevel::Warning,
            "logger": "queue",
            "data": {
                "message": format!(
                    "{lost} {} lost: the queue holds {} and nobody fetched them; open a GET stream or raise MCP_MESSAGE_QUEUE_SIZE",
                    if lost == 1 { "message was" } else { "messages were" },
                    self.capacity,
                ),
                "dropped": lost,
                "droppedTotal": self.dropped,
                "queueSize": self.capacity,
            },
        }))
    }

    /// Drops what is pending below `least`: the client no longer wants it (MCP server/utilities/logging).
    pub fn forget_below(&mut self, least: LogLevel) {
        let (delivered, before, mut freed) = (self.delivered, self.messages.len(), 0);
        self.messages.retain(|message| {
            let keep = message.position <= delivered || message.level >= least;
            freed += if keep { 0 } else { message.json.len() };
            keep
        });
        self.pending -= before - self.messages.len();
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
        self.pending
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

    /// The position of the newest message; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.messages.capacity() * SLOT_BYTES + self.text_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(capacity: usize, messages: u64) -> Queue {
        let mut queue = Queue::new(capacity);
        for n in 1..=messages {
            queue.push(LogLevel::Info, n.to_string().into());
        }
        queue
    }

    fn drain(queue: &mut Queue, stream: u32, mut position: u64) -> Vec<String> {
        std::iter::from_fn(|| {
            let delivery = queue.next(stream, position, true, LogLevel::Info)?;
            position = delivery.position;
            Some(delivery.json.into())
        })
        .collect()
    }

    #[test]
    fn messages_come_in_order_and_once() {
        let mut queue = filled(10, 3);
        assert_eq!(drain(&mut queue, 1, 0), ["1", "2", "3"]);
        assert_eq!((queue.pending(), queue.held()), (0, 3));
        assert!(drain(&mut queue, 1, 3).is_empty());
        let position = queue.start();
        assert!(drain(&mut queue, 2, position).is_empty());
    }

    #[test]
    fn a_stream_that_resumes_gets_what_it_had_and_only_that() {
        let mut queue = filled(10, 2);
        assert_eq!(drain(&mut queue, 1, 0), ["1", "2"]);
        queue.push(LogLevel::Info, "3".into());
        assert_eq!(drain(&mut queue, 2, 2), ["3"]);
        queue.push(LogLevel::Info, "4".into());
        assert_eq!(drain(&mut queue, 1, 1), ["2", "4"], "3 went to the other stream");
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_says_so_before_the_next() {
        let mut queue = filled(3, 5);
        assert_eq!((queue.pending(), queue.dropped()), (3, 2));
        let got = drain(&mut queue, 1, 0);
        assert!(got[0].contains("\"dropped\":2") && got[0].contains("2 messages were lost"), "{}", got[0]);
        assert_eq!(got[1..], ["3", "4", "5"]);
        queue.push(LogLevel::Info, "6".into());
        assert_eq!(drain(&mut queue, 1, 5), ["6"], "it is said once, and a delivered message is no loss");
        assert_eq!(queue.dropped(), 2);
    }

    #[test]
    fn what_is_pending_below_a_raised_level_is_forgotten() {
        let mut queue = filled(10, 2);
        queue.push(LogLevel::Error, "bad".into());
        queue.forget_below(LogLevel::Error);
        assert_eq!(queue.pending(), 1);
        assert_eq!(drain(&mut queue, 1, 0), ["bad"]);
    }

    /// The queue told as simply as possible: everything that ever came, and where it went.
    #[derive(Default)]
    struct Model {
        messages: Vec<(u64, u32)>,
        dropped: u64,
        untold: u64,
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push,
        Take(u32),
        Resume(u32, u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => Just(Op::Push),
            2 => (1u32..4).prop_map(Op::Take),
            1 => (1u32..4, 0u64..40).prop_map(|(stream, after)| Op::Resume(stream, after)),
        ]
    }

    proptest! {
        #[test]
        fn the_queue_behaves_as_its_model(capacity in 1usize..8, ops in prop::collection::vec(op(), 1..80)) {
            let mut queue = Queue::new(capacity);
            let mut model = Model::default();
            let mut next = 0u64;
            for op in ops {
                match op {
                    Op::Push => {
                        next += 1;
                        queue.push(LogLevel::Info, next.to_string().into());
                        model.messages.push((next, 0));
                        if model.messages.len() > capacity {
                            let (_, stream) = model.messages.remove(0);
                            if stream == 0 {
                                model.dropped += 1;
                                model.untold += 1;
                            }
                        }
                    }
                    Op::Take(stream) => {
                        let position = queue.start();
                        let got = queue.next(stream, position, true, LogLevel::Info);
                        if std::mem::take(&mut model.untold) > 0 {
                            prop_assert!(got.unwrap().json.contains("lost"));
                        } else if let Some(message) = model.messages.iter_mut().find(|(_, went)| *went == 0) {
                            message.1 = stream;
                            prop_assert_eq!(String::from(got.unwrap().json), message.0.to_string());
                        } else {
                            prop_assert_eq!(got, None);
                        }
                    }
                    Op::Resume(stream, after) => {
                        let mut position = after;
                        let mut got = Vec::new();
                        while let Some(delivery) = queue.next(stream, position, false, LogLevel::Info) {
                            position = delivery.position;
                            got.push(delivery.position);
                        }
                        let expected: Vec<u64> = model
                            .messages
                            .iter()
                            .filter(|(seq, went)| *seq > after && *went == stream)
                            .map(|(seq, _)| *seq)
                            .collect();
                        prop_assert_eq!(got, expected);
                    }
                }
                prop_assert_eq!(queue.pending(), model.messages.iter().filter(|(_, went)| *went == 0).count());
                prop_assert_eq!(queue.held(), model.messages.len());
                prop_assert_eq!(queue.dropped(), model.dropped);
                prop_assert!(queue.held() <= capacity);
                let text: usize = model.messages.iter().map(|(seq, _)| seq.to_string().len()).sum();
                prop_assert_eq!(queue.text_bytes, text);
            }
        }
    }
}
