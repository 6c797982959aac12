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
use serde_json::json;

use super::rest::Rest;
use crate::protocol::{LogLevel, notice};

/// How many runs of lost messages are remembered. One is added where another stream takes over; the oldest is forgotten.
const MAX_RUNS: usize = 8;

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

/// Messages that are gone and went to one stream: on it they were delivered, or their loss was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    stream: u32,
    /// The position of the last.
    to: u64,
    count: u64,
}

/// What streams had and may be without.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Losses {
    /// What was pushed out after a stream had it, oldest first.
    gone: VecDeque<Run>,
    /// A stream that ended soon after messages were sent on it, before its client can be sure to have an event's id.
    cut: Option<u32>,
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
        let mut gone = losses.iter().flat_map(|losses| &losses.gone);
        if gone.clone().count() > MAX_RUNS || gone.any(|run| run.to > delivered) {
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
                self.lose(oldest.stream, oldest.position, 1);
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
        if let Some(losses) = &mut self.losses {
            // It is resumed.
            losses.cut = losses.cut.filter(|cut| *cut != stream);
        }
        let tells = least <= LogLevel::Warning;
        if tells && let Some((to, lost)) = self.gap(stream, position) {
            return Some(Delivery { position: to, json: self.gap_warning(lost) });
        }
        if let Some(again) = self.again(stream, position).next() {
            return Some(again.into());
        }
        if !takes_pending {
            return None;
        }
        if let Some(cut) = self.losses.as_mut().and_then(|losses| losses.cut.take())
            && tells
            && let Some(json) = self.cut_warning(cut)
        {
            return Some(Delivery { position, json });
        }
        let lost = self.untold;
        if lost > 0 {
            self.tell(lost);
            self.lose(stream, self.delivered, lost);
            if tells {
                return Some(Delivery { position: self.delivered, json: self.loss_warning(lost) });
            }
        }
        self.deliver(stream).map(Into::into)
    }

    /// `count` messages up to position `to` are gone, which went to `stream`.
    fn lose(&mut self, stream: u32, to: u64, count: u64) {
        let gone = &mut self.losses.get_or_insert_default().gone;
        match gone.back_mut() {
            Some(last) if last.stream == stream => {
                last.to = to;
                last.count += count;
            }
            _ => {
                if gone.len() == MAX_RUNS {
                    gone.pop_front();
                }
                gone.push_back(Run { stream, to, count });
            }
        }
    }

    /// The position of the last message that is gone, and how many are, of those that went to `stream` after `position`.
    fn gap(&self, stream: u32, position: u64) -> Option<(u64, u64)> {
        let missed = self.gone(stream).filter(|run| run.to > position);
        let last = missed.clone().last()?;
        // Of a run that the client has a part of, the rest: positions follow each other, but for those that were forgotten.
        let lost = missed.map(|run| run.count.min(run.to - position)).sum();
        Some((last.to, lost))
    }

    /// What is gone of what went to `stream`.
    fn gone(&self, stream: u32) -> impl Iterator<Item = &Run> + Clone {
        self.losses.iter().flat_map(|losses| &losses.gone).filter(move |run| run.stream == stream)
    }

    /// Stream `stream` ended soon after messages were sent on it, and nothing but their own ids would let its client have
    /// them again: a client that comes without one is told.
    pub fn note_cut(&mut self, stream: u32) {
        self.losses.get_or_insert_default().cut = Some(stream);
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

    /// The warning that a stream which resumes had `lost` messages that are gone.
    fn gap_warning(&self, lost: u64) -> Box<str> {
        notice::log(&json!({
            "level": LogLevel::Warning,
            "logger": "queue",
            "data": {
                "message": format!(
                    "{lost} {} lost: sent on this stream after the event that it resumes from, and pushed out since of the queue, \
                     which holds {}; resume sooner or raise MCP_MESSAGE_QUEUE_SIZE",
                    if lost == 1 { "message was" } else { "messages were" },
                    self.capacity,
                ),
                "dropped": lost,
                "droppedTotal": self.dropped,
                "queueSize": self.capacity,
            },
        }))
    }

    /// The warning that what was sent on `stream` may not have arrived; `None` where nothing was.
    fn cut_warning(&self, stream: u32) -> Option<Box<str>> {
        let gone: u64 = self.gone(stream).map(|run| run.count).sum();
        let held = self.again(stream, 0).count() as u64;
        let sent = gone + held;
        let (tag, were) = (self.tag, if sent == 1 { "message was" } else { "messages were" });
        (sent > 0).then(|| {
            notice::log(&json!({
                "level": LogLevel::Warning,
                "logger": "queue",
                "data": {
                    "message": format!(
                        "{sent} {were} sent on a stream that ended at once; if they did not arrive, GET with Last-Event-ID: \
                         {tag:08x}-{stream}-0 has {} again",
                        if held == sent { "them".to_owned() } else { format!("{held} of them") },
                    ),
                    "sent": sent,
                    "lastEventId": format!("{tag:08x}-{stream}-0"),
                },
            }))
        })
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
            + self.losses.as_ref().map_or(0, |losses| size_of::<Losses>() + losses.gone.capacity() * size_of::<Run>())
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
    fn what_was_pushed_out_behind_a_client_is_told_when_it_resumes_and_again_if_that_is_lost() {
        let mut queue = filled(5, 5);
        assert_eq!(drain(&mut queue, 1, 0).len(), 5);
        for n in 6..=8 {
            queue.push(LogLevel::Info, n.to_string().into());
        }
        // 1 to 3 are gone, of which the client has one.
        for _ in 0..2 {
            let warning = queue.next(1, 1, true, LogLevel::Info).unwrap();
            assert!(warning.json.contains("2 messages were lost"), "{}", warning.json);
            assert_eq!(warning.position, 3);
        }
        assert_eq!(drain(&mut queue, 1, 3), ["4", "5", "6", "7", "8"]);
        assert_eq!(queue.gap(1, 3), None, "who has them is told nothing");
        assert_eq!(queue.gap(2, 0), None, "nor is another stream");
    }

    #[test]
    fn the_warning_of_an_overflow_outlives_its_connection() {
        let mut queue = filled(3, 5);
        let first = queue.next(1, 0, true, LogLevel::Info).unwrap();
        assert!(first.json.contains("2 messages were lost"), "{}", first.json);
        // The connection broke with it: the client resumes from before.
        let again = drain(&mut queue, 1, 0);
        assert!(again[0].contains("2 messages were lost"), "{}", again[0]);
        assert_eq!(again[1..], ["3", "4", "5"]);
    }

    #[test]
    fn what_a_stream_took_with_it_is_told_to_who_comes_without_an_id_and_only_once() {
        let mut queue = filled(10, 2).tagged(0xa11c_e000);
        let (stream, position) = queue.new_stream();
        assert_eq!(drain(&mut queue, stream, position), ["1", "2"]);
        queue.note_cut(stream);
        let (next, position) = queue.new_stream();
        let told = drain(&mut queue, next, position);
        // Its position is that of the stream: it is asked for once more from there.
        assert!(told[0].contains("2 messages were sent") && told[0].contains("a11ce000-1-0"), "{told:?}");
        assert_eq!(told.len(), 1);
        assert_eq!(drain(&mut queue, stream, 0), ["1", "2"], "there they are");
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
        gone: Vec<(u64, u32)>,
        dropped: u64,
        untold: u64,
    }

    impl Model {
        /// Runs of messages that are gone and went to one stream.
        fn runs(&self) -> usize {
            self.gone.chunk_by(|a, b| a.1 == b.1).filter(|run| run[0].1 != 0).count()
        }
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
                            let (seq, stream) = model.messages.remove(0);
                            model.gone.push((seq, stream));
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
                            model.gone.iter_mut().filter(|(_, went)| *went == 0).for_each(|(_, went)| *went = stream);
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
                        let lost = model.gone.iter().filter(|(seq, went)| *seq > after && *went == stream).count();
                        if model.runs() > MAX_RUNS {
                            // The oldest are forgotten.
                            continue;
                        }
                        if lost > 0 {
                            let warning = queue.next(stream, position, false, LogLevel::Info).unwrap();
                            prop_assert!(warning.json.contains(&format!("\"dropped\":{lost}")), "{}", warning.json);
                            position = warning.position;
                        }
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
