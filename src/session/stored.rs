//! A session as a store keeps it that has it as one value, changed by pure functions of the store's time.
//!
//! What a store promises of a session ([`store`](super::store)) is here, without how it is kept: the disk uses it, and the
//! contract suite's double.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::connections::MAX_STREAMS;
use super::ended::EndReason;
use super::queue::{Delivery, Message};
use super::record::Intrusions;
use super::saved::{Saved, Unreadable};
use super::store::{
    Commit, Committed, Create, Ended, Epoch, Gone, Loaded, Open, Opened, Start, StoreFigures, StoreTime, Take, Taken,
    Token,
};
use crate::protocol::LogLevel;

/// The newest commit of so many writers is remembered, so that a repetition is known.
const WRITERS: usize = 8;

/// A session that lives, or lived until its time-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub saved: Saved,
    version: Token,
    /// The newest commit of each writer, newest first.
    writers: Vec<Token>,
    timeout: Duration,
    dead_at: StoreTime,
    last_epoch: Epoch,
    /// Oldest first.
    open: Vec<Registered>,
    /// A warning that was handed out, and may not have reached the client: its position, and how many losses it tells of.
    told: Option<(u64, u64)>,
    intrusions: Intrusions,
}

/// What is looked at where the whole cannot be read.
#[derive(Deserialize)]
struct Head {
    saved: Box<RawValue>,
}

/// An open connection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Registered {
    epoch: Epoch,
    stream: u32,
    lease: StoreTime,
}

impl Stored {
    pub fn new(create: Create<'_>, now: StoreTime) -> Self {
        Self {
            saved: create.saved.clone(),
            version: create.token,
            writers: vec![create.token],
            timeout: create.timeout,
            dead_at: now.plus(create.timeout),
            last_epoch: Epoch(0),
            open: Vec::new(),
            told: None,
            intrusions: Intrusions::default(),
        }
    }

    /// Reads what [`Stored::head`] wrote, with the messages that were kept beside it. Its connections are gone.
    ///
    /// # Errors
    /// Where a newer release wrote it, or it is damaged.
    pub fn read(head: &[u8], messages: VecDeque<Message>) -> Result<Self, Unreadable> {
        let mut stored: Self = serde_json::from_slice(head).map_err(|error| {
            match serde_json::from_slice(head) {
                Ok(Head { saved }) => Saved::from_json(saved.get().as_bytes()).err(),
                Err(_) => None,
            }
            .unwrap_or_else(|| Unreadable::Damaged(error.to_string()))
        })?;
        let queue = stored.saved.queue.with(messages);
        stored.saved.queue = queue.map_err(|why| Unreadable::Damaged(why.to_owned()))?;
        stored.open.clear();
        Ok(stored)
    }

    /// All of it but its messages, as JSON.
    pub fn head(&mut self) -> Vec<u8> {
        let messages = self.saved.queue.take_messages();
        // Plain data with texts as keys: nothing that could fail.
        let head = serde_json::to_vec(self).unwrap_or_default();
        self.saved.queue.put_back(messages);
        head
    }

    /// When it expires, unless it is used.
    pub fn dead_at(&self) -> StoreTime {
        self.dead_at
    }

    /// When it was used last.
    pub fn used_at(&self) -> StoreTime {
        StoreTime(self.dead_at.0.saturating_sub(u64::try_from(self.timeout.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long it may be idle.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether connections are open.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Its messages, in their order.
    pub fn messages(&self) -> &VecDeque<Message> {
        self.saved.queue.messages()
    }

    /// What it takes in memory, about, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.saved.record.bytes() + self.saved.queue.bytes()
    }

    pub fn made_by(&self, token: Token) -> bool {
        self.writers.contains(&token)
    }

    /// Whether it has expired: the value is kept for a while, so that the reason can be told.
    pub fn gone(&self, now: StoreTime) -> Option<Gone> {
        (self.dead_at <= now).then(|| self.tombstone(EndReason::Expired, self.dead_at))
    }

    pub fn tombstone(&self, reason: EndReason, at: StoreTime) -> Gone {
        let owner = self.saved.record.owner.as_ref().map(|owner| owner.number());
        Gone { reason: Some(reason), at: at.moment(), owner }
    }

    pub fn load(&self, now: StoreTime) -> Loaded {
        let queue = &self.saved.queue;
        let figures = StoreFigures {
            pending: queue.pending(),
            held: queue.held(),
            dropped: queue.dropped(),
            bytes: queue.bytes(),
            streams: self.open.iter().filter(|open| open.lease > now).count(),
            intrusions: self.intrusions,
        };
        Loaded { version: self.version, record: self.saved.record.clone(), figures }
    }

    /// `least` is the least position that a message may have: the time, or when the store was opened where it cannot forget
    /// what it has acknowledged since then.
    pub fn commit(&mut self, commit: Commit<'_>, least: StoreTime, now: StoreTime) -> Committed {
        if self.made_by(commit.token) {
            let Loaded { version, figures, .. } = self.load(now);
            return Committed::Kept { version, again: true, figures };
        }
        if commit.until < now {
            return Committed::Late;
        }
        if commit.expected != self.version {
            return Committed::Conflict(Box::new(self.load(now)));
        }
        if commit.record.log_level != self.saved.record.log_level {
            self.saved.queue.forget_below(commit.record.log_level);
        }
        self.saved.record = commit.record.clone();
        // An event's id is of this session's time: one from before it was made is none of its own.
        let least = least.max(StoreTime(self.saved.record.created.0 * 1000 + 1));
        for message in commit.append {
            self.saved.queue.push_at(least.0, message.level, message.json.clone());
        }
        self.version = commit.token;
        self.writers.retain(|token| token.writer != commit.token.writer);
        self.writers.insert(0, commit.token);
        self.writers.truncate(WRITERS);
        self.touch(now);
        let Loaded { version, figures, .. } = self.load(now);
        Committed::Kept { version, again: false, figures }
    }

    pub fn note_intrusion(&mut self, anonymous: bool, now: StoreTime) {
        self.intrusions.count(anonymous, now.moment());
    }

    pub fn open(&mut self, open: Open, now: StoreTime) -> Opened {
        self.touch(now);
        let queue = &mut self.saved.queue;
        let created = self.saved.record.created.0 * 1000;
        let (stream, position, how) = match open.resume {
            Some((stream, position)) if queue.knows(stream, position) => (stream, position, Start::Resumed),
            Some((stream, position))
                if stream > 0
                    && stream <= queue.streams() + 16
                    && (open.again.is_some() || (created < position && position <= now.0)) =>
            {
                queue.admit_stream(stream);
                (stream, position, Start::Foreign)
            }
            resume => {
                let (stream, position) = queue.new_stream();
                (stream, position, if resume.is_some() { Start::Unknown } else { Start::New })
            }
        };
        let epoch = open.again.unwrap_or(Epoch((self.last_epoch.0 + 1).max(now.0)));
        self.last_epoch = self.last_epoch.max(epoch);
        self.open.retain(|other| other.stream != stream);
        self.open.push(Registered { epoch, stream, lease: now.plus(open.lease) });
        self.open.sort_by_key(|open| open.epoch);
        if self.open.len() > MAX_STREAMS {
            self.open.remove(0);
        }
        Opened { epoch, stream, position, how }
    }

    pub fn take(&mut self, take: Take, now: StoreTime) -> Taken {
        let mine = self.open.iter_mut().find(|open| open.epoch == take.epoch && open.stream == take.stream);
        let Some(mine) = mine else {
            // Displaced, unless the store has forgotten an epoch that it gave out.
            return if self.last_epoch < take.epoch { Taken::Unregistered } else { Taken::Displaced };
        };
        mine.lease = now.plus(take.lease);
        self.touch(now);
        let (queue, tells) = (&mut self.saved.queue, self.saved.record.log_level <= LogLevel::Warning);
        if tells && let Some(gap) = queue.gap(take.stream, take.position) {
            return Taken::warning(gap.position, gap.json);
        }
        let again: Vec<Delivery> = queue.again(take.stream, take.position).take(take.count).map(Into::into).collect();
        if !again.is_empty() {
            return Taken::Messages { messages: again, more: true };
        }
        if let Some((position, lost)) = self.told
            && take.position >= position
        {
            // The connection has passed the warning: it was written.
            queue.tell(lost);
            self.told = None;
        }
        let newest = self.open.iter().rfind(|open| open.lease > now).map(|open| open.epoch);
        if newest != Some(take.epoch) {
            return Taken::nothing();
        }
        if let Some(cut) = queue.take_cut(tells) {
            return Taken::warning(take.position, cut);
        }
        let (lost, first) = (queue.untold(), queue.first_pending().map(|first| first.position));
        if lost > 0 && !tells {
            queue.tell(lost);
        } else if let (1.., Some(first)) = (lost, first) {
            // Before the first pending one and after all others: an id of its own.
            self.told = Some((first - 1, lost));
            return Taken::warning(first - 1, queue.loss_warning(lost));
        }
        let mut taken = Vec::new();
        while taken.len() < take.count
            && let Some(message) = queue.deliver(take.stream)
        {
            // What is not beyond its position the client has: the store has forgotten that it was delivered.
            if message.position > take.position {
                taken.push(message.into());
            }
        }
        Taken::Messages { messages: taken, more: queue.pending() > 0 }
    }

    pub fn close(&mut self, epoch: Epoch, cut: bool, now: StoreTime) {
        if let Some(closed) = self.open.iter().find(|open| open.epoch == epoch).filter(|_| cut) {
            self.saved.queue.note_cut(closed.stream);
        }
        self.open.retain(|open| open.epoch != epoch);
        self.touch(now);
    }

    pub fn end(&self, reason: EndReason, unless_used_since: Option<StoreTime>, now: StoreTime) -> Result<Gone, Ended> {
        let used =
            |since: StoreTime| self.dead_at > since.plus(self.timeout) || self.open.iter().any(|open| open.lease > now);
        if unless_used_since.is_some_and(used) {
            return Err(Ended::Used);
        }
        Ok(self.tombstone(reason, now))
    }

    /// Queues a notice that it expires in `left`: no use of it.
    pub fn warn(&mut self, json: Box<str>, least: StoreTime) {
        if self.saved.record.log_level <= LogLevel::Notice {
            self.saved.queue.push_at(least.0, LogLevel::Notice, json);
        }
    }

    /// It is in use at `now`, so that it cannot have been idle for too long.
    pub fn touch(&mut self, now: StoreTime) {
        self.dead_at = now.plus(self.timeout);
    }
}
