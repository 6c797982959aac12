//! Expiry: what ends the sessions that have been idle for too long.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::ended::EndReason;
use super::idle::List;
use super::live::Session;
use super::lock::lock;
use super::manager::{SessionManager, read, write};
use crate::protocol::{LogLevel, notice};

/// The most sessions that a sweep looks at under one write lock: some 200 µs, their memory included, so that nobody who
/// waits for a sweep notices.
const SWEEP_CHUNK: usize = 64;

impl SessionManager {
    /// Looks at no more than [`SWEEP_CHUNK`] sessions: ends those that have expired, and warns those that are about to. Returns
    /// the ended ones (to be dropped without the lock) and whether there is more to do.
    fn sweep_some(&mut self) -> (Vec<Arc<Session>>, bool) {
        let now = self.shared.clock.now();
        let limits = self.shared.limits;
        let mut ended = Vec::new();
        let mut steps = 0;
        while steps < SWEEP_CHUNK {
            let warned = self.longest_idle(List::Warned);
            let Some(session) = warned.filter(|session| session.is_taken() || session.is_expired(now)) else { break };
            if self.end_idle(&session, EndReason::Expired) {
                ended.push(session);
            }
            steps += 1;
        }
        while steps < SWEEP_CHUNK {
            let Some(session) = self.longest_idle(List::Fresh) else { break };
            if self.set_aside(&session) {
                // It comes back when it is idle again.
            } else if session.is_expired(now) {
                if self.end_idle(&session, EndReason::Expired) {
                    ended.push(session);
                }
            } else if !session.is_away()
                && session.last_activity().plus(limits.timeout.saturating_sub(limits.warning)) <= now
            {
                lock(&self.shared.idle).put_last(session.slot(), List::Warned);
                let left = session.last_activity().plus(limits.timeout).since(now);
                session.change(|working| working.log(LogLevel::Notice, || expiry_notice(left)));
            } else {
                break;
            }
            steps += 1;
        }
        let more = steps >= SWEEP_CHUNK;
        if !more {
            self.counters.sweeps += 1;
            self.counters.last_sweep = Some(now);
        }
        (ended, more)
    }
}

/// What a session is told that expires in `left`.
pub(super) fn expiry_notice(left: Duration) -> Box<str> {
    notice::log(&json!({
        "level": LogLevel::Notice,
        "logger": "session",
        "data": {
            "message": format!("this session expires in {} unless it is used", crate::text::duration(left)),
            "expiresInSeconds": left.as_secs(),
        },
    }))
}

/// Ends every session that has expired. Returns how many. The lock is given back between chunks.
pub fn sweep(manager: &RwLock<SessionManager>) -> usize {
    let mut removed = 0;
    loop {
        let (ended, more) = sweep_chunk(manager);
        removed += ended;
        if !more {
            return removed;
        }
    }
}

/// A chunk of a sweep: how many sessions it ended, and whether there is more to do.
fn sweep_chunk(manager: &RwLock<SessionManager>) -> (usize, bool) {
    // Bound to a name: the sessions are dropped after the lock is given back.
    let (ended, more) = write(manager).sweep_some();
    let look = Arc::clone(&read(manager).last_look);
    for session in &ended {
        look.at(session);
    }
    (ended.len(), more)
}

/// Sweeps every `interval` until `shutdown`. Logs only when it removed something.
pub async fn sweep_regularly(manager: Arc<RwLock<SessionManager>>, interval: Duration, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let mut removed = 0;
        loop {
            let (ended, more) = sweep_chunk(&manager);
            removed += ended;
            if !more {
                break;
            }
            // Where there is one worker, everybody else would wait for the whole sweep.
            tokio::task::yield_now().await;
        }
        if removed > 0 {
            tracing::info!(removed, active = read(&manager).stats().active, "removed {removed} expired sessions");
        }
    }
}
