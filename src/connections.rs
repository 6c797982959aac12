//! How many connections there may be, and how long one may hold on to its place without use.
//!
//! A newcomer that finds all places taken is made room for: idle connections are told to close (what a proxy keeps for
//! later it opens again), as are those that have not said what they want. Where that frees nothing, it is still answered,
//! with 503, from one of a few places kept for refusals; and where these are taken too, it waits to be accepted. So nobody
//! is locked out by connections that do nothing, and who is turned away hears why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::Version;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::system;

/// The most connections that are being refused at a time.
const REFUSALS: usize = 64;

/// File descriptors that are not connections': the refused ones, the listener, the runtime's, logs, `/proc`.
const OTHER_FILES: usize = REFUSALS + 64;

/// The least time between two rounds of closing idle connections: who opens connections without end shall not have
/// everybody else's closed at the same rate.
const ROUND: Duration = Duration::from_secs(1);

/// How long a newcomer waits for a place after such a round: closing an idle connection takes far less.
const CLOSING: Duration = Duration::from_millis(100);

/// How long a connection may hold its place without use.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The longest that a connection may take to send a request's head, or wait between two requests. By default longer
    /// than the idle pools of proxies keep their connections (Traefik 90 s, nginx and AWS ALB 60 s): they, not we, should
    /// close first.
    pub head: Duration,
    /// The longest that the other end may leave sent bytes unacknowledged or its window closed (`TCP_USER_TIMEOUT`, RFC
    /// 5482; on Linux): a client that stopped reading, or a machine that lost its network with a stream open.
    pub unread: Duration,
    /// The longest that a refused connection is there.
    pub refusal: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { head: Duration::from_secs(120), unread: Duration::from_secs(60), refusal: Duration::from_secs(2) }
    }
}

/// The places for connections.
pub struct Places {
    served: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    max: usize,
    /// The connections of this round.
    round: Round,
    /// Rounds that were told to close, with what is left of their connections.
    closing: TaskTracker,
    last_round: Option<Instant>,
}

#[derive(Default)]
struct Round {
    connections: GracefulShutdown,
    /// Cancelled when connections that have not asked for anything shall go.
    crowded: CancellationToken,
}

/// A connection's place; dropping it gives it to the next.
pub struct Place {
    /// Tells the connection to end: this round's end, or shutdown.
    pub watcher: Watcher,
    /// Cancelled when the connection shall go if it has not asked for anything yet.
    pub crowded: CancellationToken,
    /// Whether it gets no answer but 503.
    pub refused: bool,
    /// What is given back.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// `wanted` places, or as many as the system's limit on open files leaves room for.
    #[must_use]
    pub fn new(wanted: usize) -> Self {
        let max = system::open_files_limit().map_or(wanted, |files| wanted.min(affordable(files)));
        if max < wanted {
            tracing::info!(max, "at most {max} connections at a time, for the limit on open files (ulimit -n)");
        }
        Self {
            served: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            refused: Arc::new(Semaphore::new(REFUSALS)),
            max,
            round: Round::default(),
            closing: TaskTracker::new(),
            last_round: None,
        }
    }

    /// The most connections at a time.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// A place for a connection that was accepted. Waits when even those for refusals are taken.
    pub async fn next(&mut self) -> Place {
        if let Ok(permit) = Arc::clone(&self.served).try_acquire_owned() {
            return self.place(Some(permit), false);
        }
        if self.make_room("all connections are taken (MCP_MAX_CONNECTIONS)") {
            let freed = tokio::time::timeout(CLOSING, Arc::clone(&self.served).acquire_owned()).await;
            if let Ok(Ok(permit)) = freed {
                return self.place(Some(permit), false);
            }
        }
        tokio::select! {
            biased;
            Ok(permit) = Arc::clone(&self.served).acquire_owned() => self.place(Some(permit), false),
            // Never closed, so there always is a permit in the end.
            permit = Arc::clone(&self.refused).acquire_owned() => self.place(permit.ok(), true),
        }
    }

    fn place(&self, permit: Option<OwnedSemaphorePermit>, refused: bool) -> Place {
        let Round { connections, crowded } = &self.round;
        Place { watcher: connections.watcher(), crowded: crowded.clone(), refused, permit }
    }

    /// Has idle connections close, unless that was done a moment ago. Requests at work and streams go on. `why` is for the
    /// log.
    pub fn make_room(&mut self, why: &str) -> bool {
        if self.last_round.is_some_and(|last| last.elapsed() < ROUND) {
            return false;
        }
        self.last_round = Some(Instant::now());
        tracing::warn!(max = self.max, "{why}; closing idle ones");
        let Round { connections, crowded } = std::mem::take(&mut self.round);
        self.closing.spawn(connections.shutdown());
        crowded.cancel();
        true
    }

    /// Has all connections end, and returns when they have.
    pub async fn shutdown(self) {
        self.round.crowded.cancel();
        self.closing.close();
        tokio::join!(self.round.connections.shutdown(), self.closing.wait());
    }
}

/// Whether a connection is used: told by its requests, asked by who watches it. In place of a timer for each request, which
/// would be set and taken back for nothing: one that wakes up when nothing may have happened for too long.
#[derive(Debug)]
pub struct Activity {
    /// Requests at work, their answers included while these are being made.
    at_work: AtomicU32,
    spoke: AtomicBool,
    first: Notify,
    /// Whether it is of HTTP/2, which looks after itself by pings.
    is_multiplexed: AtomicBool,
    began: Instant,
    /// Milliseconds from then to when the last request was done.
    idle_since_ms: AtomicU64,
}

/// A request at work; dropping it ends that.
#[derive(Debug)]
pub struct AtWork(Arc<Activity>);

impl Activity {
    /// None so far.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            at_work: AtomicU32::new(0),
            spoke: AtomicBool::new(false),
            first: Notify::new(),
            is_multiplexed: AtomicBool::new(false),
            began: Instant::now(),
            idle_since_ms: AtomicU64::new(0),
        })
    }

    /// A request has come: its head is there.
    #[must_use]
    pub fn begin(self: &Arc<Self>, version: Version) -> AtWork {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        if !self.spoke.swap(true, Ordering::AcqRel) {
            self.is_multiplexed.store(version == Version::HTTP_2, Ordering::Release);
            self.first.notify_one();
        }
        AtWork(Arc::clone(self))
    }

    /// Resolves when the first request has come.
    pub async fn first_request(&self) {
        self.first.notified().await;
    }

    /// When to look again whether it has had no request for `patience`; `None` when it has had none.
    #[must_use]
    pub fn look_again(&self, patience: Duration) -> Option<Instant> {
        let now = Instant::now();
        if self.at_work.load(Ordering::Acquire) > 0 || self.is_multiplexed.load(Ordering::Acquire) {
            return Some(now + patience);
        }
        let due = self.began + Duration::from_millis(self.idle_since_ms.load(Ordering::Acquire)) + patience;
        (due > now).then_some(due)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let activity = &self.0;
        let since = u64::try_from(activity.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        activity.idle_since_ms.store(since, Ordering::Release);
        activity.at_work.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How many connections a limit on open files leaves room for.
fn affordable(files: usize) -> usize {
    files.saturating_sub(OTHER_FILES).max(files / 2).max(1)
}

/// Bounds how long the other end may leave what it was sent unread.
pub fn bound_unread(stream: &TcpStream, timeout: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
        tracing::debug!("cannot set TCP_USER_TIMEOUT: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, timeout);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_leave_room_for_what_is_no_connection() {
        assert_eq!(affordable(1_048_576), 1_048_576 - 128);
        assert_eq!(affordable(1024), 896);
        assert_eq!(affordable(64), 32, "half where there is little");
        assert_eq!(affordable(0), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_has_idle_connections_closed_once_a_second_and_is_refused_else() {
        let mut places = Places::new(1);
        let first = places.next().await;
        assert!(!first.refused && !first.crowded.is_cancelled());
        let second = places.next().await;
        assert!(second.refused && first.crowded.is_cancelled(), "it was asked to go and did not");
        assert!(!second.crowded.is_cancelled());
        let third = places.next().await;
        assert!(third.refused && !second.crowded.is_cancelled(), "not again so soon");
        tokio::time::advance(ROUND).await;
        let crowded = first.crowded.clone();
        drop(first);
        assert!(crowded.is_cancelled() && !places.next().await.refused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_given_up_when_it_has_had_no_request_for_too_long() {
        let (patience, second) = (Duration::from_secs(120), Duration::from_secs(1));
        let activity = Activity::new();
        let began = activity.began;
        tokio::time::advance(patience - second).await;
        assert_eq!(activity.look_again(patience), Some(began + patience), "it has one second left to speak");
        let at_work = activity.begin(Version::HTTP_11);
        tokio::time::advance(patience * 3).await;
        assert!(activity.look_again(patience).is_some(), "a request is at work for as long as it takes");
        drop(at_work);
        let done = Instant::now();
        tokio::time::advance(patience - second).await;
        assert_eq!(activity.look_again(patience), Some(done + patience));
        tokio::time::advance(second).await;
        assert_eq!(activity.look_again(patience), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_http2_is_not_given_up() {
        let activity = Activity::new();
        drop(activity.begin(Version::HTTP_2));
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert!(activity.look_again(Duration::from_secs(120)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_even_to_be_refused_waits() {
        let mut places = Places::new(1);
        let mut taken = Vec::new();
        for _ in 0..=REFUSALS {
            taken.push(places.next().await);
        }
        assert!(tokio::time::timeout(Duration::from_secs(60), places.next()).await.is_err());
        taken.pop();
        assert!(tokio::time::timeout(Duration::from_secs(60), places.next()).await.unwrap().refused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_freed_is_not_kept_waiting_by_those_who_are_refused() {
        let mut places = Places::new(1);
        let first = places.next().await;
        let mut refused = Vec::new();
        for _ in 0..REFUSALS {
            refused.push(places.next().await);
        }
        let (next, ()) = tokio::join!(places.next(), async move {
            tokio::time::sleep(CLOSING * 2).await;
            drop(first);
        });
        assert!(!next.refused);
    }
}
