//! Sessions that ended: why, and what is remembered of them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::history::Before;
use crate::clock::Moment;

/// How many ended ids are remembered with their reason: enough for the sessions of an hour of a busy server, 0.5 MB.
pub const REMEMBERED: usize = 10_000;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum EndReason {
    /// Idle for longer than the timeout.
    Expired = 1,
    /// The client sent DELETE.
    Deleted = 2,
    /// It was the longest idle one when there were too many, or when all together held too much memory.
    Evicted = 3,
}

impl EndReason {
    /// The reason with that number.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Expired, Self::Deleted, Self::Evicted].into_iter().find(|reason| *reason as u8 == byte)
    }

    /// `expired`, `deleted`, `evicted`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Evicted => "evicted",
        }
    }
}

/// What is remembered of an ended session.
#[derive(Debug)]
pub struct Tombstone {
    pub reason: EndReason,
    pub at: Moment,
    /// A number for the owner: the reason is nobody else's business.
    pub owner: Option<u64>,
    /// How often the id was used since.
    pub tries: AtomicU32,
    /// A number for the client.
    pub client: u64,
    /// What its client did with it.
    pub before: Before,
}

impl Tombstone {
    /// Counts a use of the id. Returns how many there were, this one included.
    pub fn count_try(&self) -> u32 {
        self.tries.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// The last [`REMEMBERED`] sessions that ended.
#[derive(Debug, Default)]
pub struct Tombstones {
    by_id: HashMap<Uuid, Tombstone>,
    /// Oldest first.
    order: VecDeque<Uuid>,
}

impl Tombstones {
    /// Remembers a session. Returns the one that is forgotten for it.
    pub fn add(&mut self, id: Uuid, stone: Tombstone) -> Option<(Uuid, Tombstone)> {
        let forgotten = if self.order.len() >= REMEMBERED { self.order.pop_front() } else { None };
        let forgotten = forgotten.and_then(|id| self.by_id.remove_entry(&id));
        self.order.push_back(id);
        self.by_id.insert(id, stone);
        forgotten
    }

    /// What is remembered of `id`.
    pub fn get(&self, id: Uuid) -> Option<&Tombstone> {
        self.by_id.get(&id)
    }

    /// How many are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        assert_eq!(self.by_id.len(), self.order.len());
        self.order.len()
    }
}
