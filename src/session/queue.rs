//! A session's message queue: a bounded FIFO with a memory of where each message went. Plain data and positions; who
//! waits for messages is [`super::mailbox`]'s business.
//!
//! Messages are numbered from 1 as they come. Those that were delivered stay until newer ones push them out, so that a
//! client that lost its connection can have them again: on the stream they were delivered on, and on no other (MCP
//! 2025-11-25 basic/transports, Resumability and Redelivery).

use std::collections::VecDeque;

use serde_json::json;

use super::LogLevel;
use crate::protocol::Notice;

/// What a held message costs beyond its text, in bytes: its slot in the queue.
const SLOT_BYTES: usize = size_of::<Held>();

/// A message and where it went.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    seq: u64,
    level: LogLevel,
    /// The stream it was delivered on; 0 while it is pending.
    stream: u32,
    notice: Notice,
}

/// A message on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Position, for the event's id.
    pub seq: u64,
    /// The JSON-RPC notification.
    pub json: Box<str>,
}

/// A bounded FIFO. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Queue {
    held: VecDeque<Held>,
    capacity: usize,
    /// The number of the newest message.
    last: u64,
    /// Messages up to here were delivered or pushed out.
    delivered: u64,
    /// Messages held that no stream had yet.
    pending: usize,
    /// Pushed out before delivery, not yet told.
    untold: u64,
    /// Pushed out before delivery, in all.
    dropped: u64,
    text_bytes: usize,
}

impl Queue {
    /// An empty queue for `capacity` messages (at least one).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            held: VecDeque::new(),
            capacity: capacity.max(1),
            last: 0,
            delivered: 0,
            pending: 0,
            untold: 0,
            dropped: 0,
            text_bytes: 0,
        }
    }

    /// Appends a notification; the oldest message gives way when the queue is full.
    pub fn push(&mut self, level: LogLevel, notice: Notice) {
        if self.held.len() >= self.capacity
            && let Some(oldest) = self.held.pop_front()
        {
            self.text_bytes -= oldest.notice.weight();
            if oldest.stream == 0 {
                self.untold += 1;
                self.dropped += 1;
                self.pending -= 1;
                self.delivered = oldest.seq;
            }
        }
        self.last += 1;
        self.pending += 1;
        self.text_bytes += notice.weight();
        self.held.push_back(Held { seq: self.last, level, stream: 0, notice });
    }

    /// The next message for a connection of stream number `stream` (from 1) whose last message was `position`: first what
    /// that stream already had after it, then, where `takes_pending`, what no stream had yet, beginning with a warning
    /// where messages were lost.
    pub fn next(&mut self, stream: u32, position: u64, takes_pending: bool, least: LogLevel) -> Option<Delivery> {
        let after = self.held.partition_point(|held| held.seq <= position);
        if let Some(again) =
            self.held.range(after..).take_while(|held| held.seq <= self.delivered).find(|held| held.stream == stream)
        {
            return Some(Delivery { seq: again.seq, json: again.notice.to_json() });
        }
        if !takes_pending {
            return None;
        }
        if self.untold > 0 {
            let untold = std::mem::take(&mut self.untold);
            if least <= LogLevel::Warning {
                return Some(Delivery { seq: self.delivered, json: self.loss_warning(untold) });
            }
        }
        let pending = self.held.partition_point(|held| held.seq <= self.delivered);
        let next = self.held.get_mut(pending)?;
        next.stream = stream;
        self.pending -= 1;
        self.delivered = next.seq;
        Some(Delivery { seq: next.seq, json: next.notice.to_json() })
    }

    fn loss_warning(&self, lost: u64) -> Box<str> {
        let params = json!({
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
        });
        crate::protocol::message::notification("notifications/message", &params).into()
    }

    /// Drops what is pending below `least`: the client no longer wants it (MCP server/utilities/logging).
    pub fn forget_below(&mut self, least: LogLevel) {
        let (delivered, before, mut freed) = (self.delivered, self.held.len(), 0);
        self.held.retain(|held| {
            let keep = held.seq <= delivered || held.level >= least;
            freed += if keep { 0 } else { held.notice.weight() };
            keep
        });
        self.pending -= before - self.held.len();
        self.text_bytes -= freed;
    }

    /// Messages that no stream had yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Messages held, delivered ones included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Messages pushed out before anybody had them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The number of the last message that was delivered or pushed out: where a new stream begins. One less where a loss
    /// is still to be told: the warning goes by the number of the last lost message, and no two events may share an id.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.delivered - u64::from(self.untold > 0)
    }

    /// The number of the newest message; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.last
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.held.capacity() * SLOT_BYTES + self.text_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notice(json: impl Into<Box<str>>) -> Notice {
        Notice::Json(json.into())
    }

    fn filled(capacity: usize, messages: u64) -> Queue {
        let mut queue = Queue::new(capacity);
        for n in 1..=messages {
            queue.push(LogLevel::Info, notice(n.to_string()));
        }
        queue
    }

    fn drain(queue: &mut Queue, stream: u32, mut position: u64) -> Vec<String> {
        std::iter::from_fn(|| {
            let delivery = queue.next(stream, position, true, LogLevel::Info)?;
            position = delivery.seq;
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
        let position = queue.position();
        assert!(drain(&mut queue, 2, position).is_empty());
    }

    #[test]
    fn a_stream_that_resumes_gets_what_it_had_and_only_that() {
        let mut queue = filled(10, 2);
        assert_eq!(drain(&mut queue, 1, 0), ["1", "2"]);
        queue.push(LogLevel::Info, notice("3"));
        assert_eq!(drain(&mut queue, 2, 2), ["3"]);
        queue.push(LogLevel::Info, notice("4"));
        assert_eq!(drain(&mut queue, 1, 1), ["2", "4"], "3 went to the other stream");
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_says_so_before_the_next() {
        let mut queue = filled(3, 5);
        assert_eq!((queue.pending(), queue.dropped()), (3, 2));
        let got = drain(&mut queue, 1, 0);
        assert!(got[0].contains("\"dropped\":2") && got[0].contains("2 messages were lost"), "{}", got[0]);
        assert_eq!(got[1..], ["3", "4", "5"]);
        queue.push(LogLevel::Info, notice("6"));
        assert_eq!(drain(&mut queue, 1, 5), ["6"], "it is said once, and a delivered message is no loss");
        assert_eq!(queue.dropped(), 2);
    }

    #[test]
    fn what_is_pending_below_a_raised_level_is_forgotten() {
        let mut queue = filled(10, 2);
        queue.push(LogLevel::Error, notice("bad"));
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
                        queue.push(LogLevel::Info, notice(next.to_string()));
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
                        let position = queue.position();
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
                            position = delivery.seq;
                            got.push(delivery.seq);
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
