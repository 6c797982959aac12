//! Signs of life of sessions whose store does not know what goes on here.

use std::collections::HashSet;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::manager::{SessionManager, read};
use super::store::Store;

/// How many sign at once.
const AT_ONCE: usize = 16;

/// Says every `interval` that the sessions that have been in use here since the last time are not idle, until `shutdown`: a
/// call that takes its time keeps its session alive. What is shorter speaks for itself.
pub async fn keep_alive_regularly(
    store: Arc<dyn Store>,
    sessions: Arc<RwLock<SessionManager>>,
    interval: Duration,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = HashSet::<Uuid>::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now: HashSet<Uuid> = read(&sessions).in_use().into_iter().collect();
        let lasting = now.intersection(&before).copied();
        // Where the store does not answer, its clock runs on: the next sign may come in time.
        let signs = lasting.map(|id| store.touch(id, interval * 3));
        futures_util::stream::iter(signs).buffer_unordered(AT_ONCE).for_each(|_| std::future::ready(())).await;
        before = now;
    }
}
