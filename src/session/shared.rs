//! What all sessions of a manager share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::clients::Clients;
use super::idle::IdleOrder;
use super::limits::Limits;
use crate::clock::Clock;

/// What all sessions of a manager share.
pub struct Shared {
    pub clock: Arc<Clock>,
    pub limits: Limits,
    pub idle: Mutex<IdleOrder>,
    pub totals: Totals,
    /// What is remembered of clients.
    pub clients: Arc<Clients>,
    /// Sessions that hold more than their share of the memory: those that are evicted when all together hold too much.
    pub large: Mutex<BTreeSet<Uuid>>,
    /// Held while sessions are evicted for memory: what is ended counts until it is dropped, and must not be ended for twice.
    pub evicting: Mutex<()>,
}

impl Shared {
    pub fn new(limits: Limits, clock: Arc<Clock>) -> Self {
        Self {
            clock,
            limits,
            idle: Mutex::default(),
            totals: Totals::default(),
            clients: Arc::default(),
            large: Mutex::default(),
            evicting: Mutex::default(),
        }
    }

    /// By how many bytes sessions and their queues would hold more than they may together, if they held `more` bytes than
    /// they do.
    pub fn excess_bytes(&self, more: i64) -> u64 {
        let held = self.totals.storage_bytes.load(Ordering::Relaxed) + self.totals.queue_bytes.load(Ordering::Relaxed);
        u64::try_from(held.saturating_add(more)).unwrap_or(0).saturating_sub(self.limits.max_bytes)
    }
}

/// What a session adds to the sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Memory of its record, in bytes.
    pub storage: usize,
    /// Memory of its queue, in bytes.
    pub queue: usize,
    /// Messages not yet delivered.
    pub pending: usize,
    /// Open streams.
    pub streams: usize,
}

impl Weight {
    /// Memory, in bytes.
    pub fn bytes(self) -> i64 {
        i64::try_from(self.storage + self.queue).unwrap_or(i64::MAX)
    }
}

/// Sums over all sessions, kept as they change so that nobody has to walk a million sessions to know them.
#[derive(Debug, Default)]
pub struct Totals {
    pub storage_bytes: AtomicI64,
    pub queue_bytes: AtomicI64,
    pub pending: AtomicI64,
    pub streams: AtomicI64,
    pub in_flight: AtomicI64,
}

impl Totals {
    /// A session that weighed `before` weighs `after`.
    pub fn replace(&self, before: Weight, after: Weight) {
        let sums = [
            (&self.storage_bytes, before.storage, after.storage),
            (&self.queue_bytes, before.queue, after.queue),
            (&self.pending, before.pending, after.pending),
            (&self.streams, before.streams, after.streams),
        ];
        for (sum, before, after) in sums {
            if after != before {
                let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
                sum.fetch_add(signed(after) - signed(before), Ordering::Relaxed);
            }
        }
    }
}
