//! The bound on what all sessions hold together, in bytes.
//!
//! It is checked after a call ([`SessionManager::is_crowded`]), not kept at every moment: [`evict_for_memory`] then ends idle
//! sessions that hold more than their share, until there is room.

use std::sync::{Arc, RwLock, TryLockError};

use uuid::Uuid;

use super::ended::EndReason;
use super::instance::prefix;
use super::live::Session;
use super::lock::lock;
use super::manager::{SessionManager, read, write};

impl SessionManager {
    /// Whether sessions hold more memory than they may together.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.shared.excess_bytes(0) > 0
    }

    /// Ends idle sessions that hold more than their share, the longest idle first, until `excess` bytes are free; none where
    /// all of them together hold less: it would help nobody. Returns those that ended.
    fn free_memory(&mut self, excess: u64) -> Vec<Arc<Session>> {
        let large: Vec<_> = lock(&self.shared.large).iter().filter_map(|id| self.get(*id)).cloned().collect();
        let mut idle: Vec<_> = large.into_iter().filter(|session| !session.is_held()).collect();
        let mut ended = Vec::new();
        if idle.iter().map(|session| session.bytes()).sum::<u64>() < excess {
            return ended;
        }
        idle.sort_by_cached_key(|session| session.last_activity());
        let mut freed = 0;
        for session in idle {
            if freed >= excess {
                break;
            }
            let bytes = session.bytes();
            if self.end_idle(&session, EndReason::Evicted) {
                freed += bytes;
                ended.push(session);
            }
        }
        ended
    }
}

/// Evicts idle sessions that hold more than their share, longest idle first, until all together hold no more than they may
/// less `room` bytes; none where that cannot be reached. Each is a line in the log.
pub fn evict_for_memory(manager: &RwLock<SessionManager>, room: u64) {
    for id in free(manager, room).into_iter().filter(|_| !read(manager).is_of_copies()) {
        tracing::warn!(session = prefix(id), "evicted a long-idle session: sessions held too much memory");
    }
}

/// The same, without a line in the log. Returns the ids of those that ended.
pub(super) fn free(manager: &RwLock<SessionManager>, room: u64) -> Vec<Uuid> {
    let shared = Arc::clone(&read(manager).shared);
    // A call that only tidies up leaves that to one that does so already; a call that needs the room waits.
    let _only = match shared.evicting.try_lock() {
        Ok(only) => only,
        Err(TryLockError::Poisoned(only)) => only.into_inner(),
        Err(TryLockError::WouldBlock) if room == 0 => return Vec::new(),
        Err(TryLockError::WouldBlock) => lock(&shared.evicting),
    };
    let excess = shared.excess_bytes(i64::try_from(room).unwrap_or(i64::MAX));
    if excess == 0 {
        return Vec::new();
    }
    // Bound to a name: they are dropped without the lock of the manager, and before the next one looks.
    let ended = write(manager).free_memory(excess);
    let look = Arc::clone(&read(manager).last_look);
    for session in &ended {
        look.at(session);
    }
    ended.iter().map(|session| session.id()).collect()
}
