//! What bounds sessions.

use std::time::Duration;

use crate::config::Config;

/// What bounds sessions.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Idle time after which a session expires.
    pub timeout: Duration,
    /// How long before its expiry an idle session is told.
    pub warning: Duration,
    /// The most sessions.
    pub max_sessions: usize,
    /// Messages held per session.
    pub queue_size: usize,
    /// The most bytes that all sessions and their queues may hold together.
    pub max_bytes: u64,
}

/// What sessions may hold together, in bytes: room for all of them with a full queue of usual lines (some 200 bytes) and 6
/// KiB of their own, 256 MiB at the defaults. Few sessions still have room for what one may keep (an echo of 1 MiB).
const MIN_BYTES: u64 = 16 * 1024 * 1024;
const BYTES_OF_SESSION: u64 = 6 * 1024;
const BYTES_OF_MESSAGE: u64 = 208;

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        // A tenth of the timeout, but at least one sweep ahead: otherwise the sweep that would tell finds it expired.
        let warning =
            (config.session_timeout / 10).max(config.session_cleanup_interval).min(config.session_timeout / 2);
        Self {
            timeout: config.session_timeout,
            warning,
            max_sessions: config.max_sessions,
            queue_size: config.message_queue_size,
            max_bytes: (config.message_queue_size as u64)
                .saturating_mul(BYTES_OF_MESSAGE)
                .saturating_add(BYTES_OF_SESSION)
                .saturating_mul(config.max_sessions as u64)
                .max(MIN_BYTES),
        }
    }
}

impl Limits {
    /// What a session may hold in any case, in bytes: if none held more, all together would hold no more than they may.
    #[must_use]
    pub fn share(&self) -> i64 {
        let share = self.max_bytes / (self.max_sessions as u64).max(1);
        i64::try_from(share).unwrap_or(i64::MAX)
    }
}
