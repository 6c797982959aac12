//! Figures over all sessions.

use std::time::Duration;

use super::instance::Name;
use crate::clock::Moment;

/// Figures over all sessions, for healthProbe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Which run of the server this is.
    pub instance: Name,
    /// Sessions that live.
    pub active: usize,
    /// The bound.
    pub max_sessions: usize,
    /// Ever created.
    pub created: u64,
    /// Ended by expiry.
    pub expired: u64,
    /// Ended by DELETE.
    pub deleted: u64,
    /// Ended to make room.
    pub evicted: u64,
    /// Refused because all were in use.
    pub refused: u64,
    /// When the last one was refused.
    pub last_refused: Option<Moment>,
    /// Sweeps so far.
    pub sweeps: u64,
    /// When the last sweep ended.
    pub last_sweep: Option<Moment>,
    /// Mean lifetime of the sessions that ended; `None` before the first did.
    pub average_lifetime: Option<Duration>,
    /// Memory held by records, in bytes.
    pub storage_bytes: u64,
    /// Memory held by queues, in bytes.
    pub queue_bytes: u64,
    /// Messages not yet delivered.
    pub pending_messages: u64,
    /// GET streams open.
    pub streams: u64,
    /// Requests at work in a session.
    pub in_flight: u64,
    /// Requests with the id of a session that had ended.
    pub dead_ids_used: u64,
}

/// What the manager counts itself.
#[derive(Debug, Default)]
pub struct Counters {
    pub created: u64,
    /// By the number of the reason.
    pub ended: [u64; 4],
    pub refused: u64,
    pub last_refused: Option<Moment>,
    pub sweeps: u64,
    pub last_sweep: Option<Moment>,
    /// Of all sessions that ended, added up.
    pub lifetime: Duration,
}
