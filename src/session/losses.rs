//! What streams had of a queue and may be without, and the warnings that say so.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::protocol::{LogLevel, notice};

/// How many runs of lost messages are remembered. One is added where another stream takes over; the oldest is forgotten.
pub(super) const MAX_RUNS: usize = 8;

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
pub(super) struct Losses {
    /// What was pushed out after a stream had it, oldest first.
    gone: VecDeque<Run>,
    /// A stream that ended soon after messages were sent on it, before its client can be sure to have an event's id.
    cut: Option<u32>,
}

impl Losses {
    /// Whether they can be those of a queue that has delivered so far.
    pub fn are_of(&self, delivered: u64) -> bool {
        self.gone.len() <= MAX_RUNS && self.gone.iter().all(|run| run.to <= delivered)
    }

    /// `count` messages up to position `to` are gone, which went to `stream`.
    pub fn add(&mut self, stream: u32, to: u64, count: u64) {
        match self.gone.back_mut() {
            Some(last) if last.stream == stream => {
                last.to = to;
                last.count += count;
            }
            _ => {
                if self.gone.len() == MAX_RUNS {
                    self.gone.pop_front();
                }
                self.gone.push_back(Run { stream, to, count });
            }
        }
    }

    /// The position of the last message that is gone, and how many are, of those that went to `stream` after `position`.
    pub fn gap(&self, stream: u32, position: u64) -> Option<(u64, u64)> {
        let missed = self.of(stream).filter(|run| run.to > position);
        let last = missed.clone().last()?;
        // Of a run that the client has a part of, the rest: positions follow each other, but for those that were forgotten.
        let lost = missed.map(|run| run.count.min(run.to - position)).sum();
        Some((last.to, lost))
    }

    /// How many are gone of those that went to `stream`.
    pub fn count(&self, stream: u32) -> u64 {
        self.of(stream).map(|run| run.count).sum()
    }

    fn of(&self, stream: u32) -> impl Iterator<Item = &Run> + Clone {
        self.gone.iter().filter(move |run| run.stream == stream)
    }

    /// Stream `stream` ended soon after messages were sent on it.
    pub fn note_cut(&mut self, stream: u32) {
        self.cut = Some(stream);
    }

    /// Stream `stream` goes on: it was not cut for good.
    pub fn resumed(&mut self, stream: u32) {
        self.cut = self.cut.filter(|cut| *cut != stream);
    }

    /// The stream that was cut, for who comes without an id; once.
    pub fn take_cut(&mut self) -> Option<u32> {
        self.cut.take()
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.gone.capacity() * size_of::<Run>()
    }
}

/// The warning that `lost` messages were pushed out of a queue for `capacity` before anybody had them.
pub(super) fn overflow_warning(lost: u64, in_all: u64, capacity: u32) -> Box<str> {
    let what = format!(
        "the queue holds {capacity} and nobody fetched them; open a GET stream or raise MCP_MESSAGE_QUEUE_SIZE"
    );
    warning(lost, in_all, capacity, &what)
}

/// The warning that a stream which resumes had `lost` messages that are gone.
pub(super) fn gap_warning(lost: u64, in_all: u64, capacity: u32) -> Box<str> {
    let what = format!(
        "sent on this stream after the event that it resumes from, and pushed out since of the queue, which holds {capacity}; \
         resume sooner or raise MCP_MESSAGE_QUEUE_SIZE"
    );
    warning(lost, in_all, capacity, &what)
}

fn warning(lost: u64, in_all: u64, capacity: u32, what: &str) -> Box<str> {
    let were = if lost == 1 { "message was" } else { "messages were" };
    notice::log(&json!({
        "level": LogLevel::Warning,
        "logger": "queue",
        "data": {
            "message": format!("{lost} {were} lost: {what}"),
            "dropped": lost,
            "droppedTotal": in_all,
            "queueSize": capacity,
        },
    }))
}

/// The warning that what was sent on `stream` may not have arrived: `held` messages, which are there, and `gone`. `None` where
/// nothing was sent.
pub(super) fn cut_warning(tag: u32, stream: u32, held: u64, gone: u64) -> Option<Box<str>> {
    let sent = held + gone;
    let were = if sent == 1 { "message was" } else { "messages were" };
    let them = if gone == 0 { "them".to_owned() } else { format!("{held} of them") };
    // From before its first event.
    let id = format!("{tag:08x}-{stream}-0");
    (sent > 0).then(|| {
        notice::log(&json!({
            "level": LogLevel::Warning,
            "logger": "queue",
            "data": {
                "message": format!(
                    "{sent} {were} sent on a stream that ended at once; if they did not arrive, GET with Last-Event-ID: {id} \
                     has {them} again"
                ),
                "sent": sent,
                "lastEventId": id,
            },
        }))
    })
}
