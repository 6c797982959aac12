//! How many connections there may be, and how long one may hold its place without use.
//!
//! When all places are taken, a new connection is made room for: idle connections are told to close (a proxy reopens
//! those that it kept for later), and so are those that have not asked for anything yet. Where that frees nothing, the new
//! connection is *refused*: it gets no more than a 503, or the health probe's 200. Refused connections have places of their
//! own; when these are taken too, the oldest refused connection is closed. Accepting waits for none of this. So
//! connections that do nothing lock nobody out, and whoever asks at once is answered at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::system;

/// The most connections that are being refused at a time.
const REFUSED: usize = 64;

/// File descriptors that are not connections': the refused ones, the listener, the runtime's, logs, `/proc`.
const OTHER_FILES: usize = REFUSED + 64;

/// The least time between two rounds of closing idle connections: a client that opens connections without end must not have
/// everybody else's closed at the same rate.
const ROUND: Duration = Duration::from_secs(1);

/// How long after the beginning of a round new connections wait for a place: closing an idle connection takes far less.
const CLOSING: Duration = Duration::from_millis(100);

/// How long a connection may hold its place without use.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The longest that a connection may take to send a request's head, or wait between two requests. By default longer
    /// than the idle pools of proxies keep their connections (Traefik 90 s, nginx and AWS ALB 60 s): they, not we, should
    /// close first.
    pub head: Duration,
    /// The longest that the other end may leave sent bytes unacknowledged or its window closed (`TCP_USER_TIMEOUT`, RFC
    /// 5482; on Linux): a client that stopped reading, or a machine that lost its network with a stream open. And the
    /// longest that a client may leave a large answer unread.
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
pub struct ConnectionLimit {
    places: Arc<Semaphore>,
    max: usize,
    /// The connections of this round.
    round: Round,
    /// Rounds that were told to close, with what is left of their connections.
    closing: TaskTracker,
    last_round: Option<Instant>,
    /// The refused connections, the oldest first. Each token is cancelled when its connection has ended, or shall.
    refused: VecDeque<CancellationToken>,
}

#[derive(Default)]
struct Round {
    connections: GracefulShutdown,
    /// Cancelled when connections that have not asked for anything shall go.
    crowded: CancellationToken,
}

/// A connection's place; dropping it frees the place.
pub struct Place {
    /// Tells the connection to end: this round's end, or shutdown.
    pub watcher: Watcher,
    /// Cancelled when the connection shall go at once: one that has not asked for anything yet, or any refused one.
    pub unwanted: CancellationToken,
    held: Held,
}

enum Held {
    Served { _permit: OwnedSemaphorePermit },
    Refused { _gone: DropGuard, hope: Hope },
}

/// What a refused connection may still hope for: a place that the round under way frees.
struct Hope {
    places: Arc<Semaphore>,
    until: Instant,
    /// Then the connection is one of this round.
    crowded: CancellationToken,
}

impl Place {
    /// Whether the connection gets no answer but 503.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.held, Held::Refused { .. })
    }

    /// A place is about to be free: to be waited for.
    pub fn expect_one(&mut self) {
        if let Held::Refused { hope, .. } = &mut self.held {
            hope.until = hope.until.max(Instant::now() + CLOSING);
        }
    }

    /// Waits for the round under way, where there is one, and takes a place that it frees.
    #[must_use]
    pub async fn settled(mut self) -> Self {
        if let Held::Refused { hope, .. } = &self.held
            && let places = Arc::clone(&hope.places)
            && let Ok(Ok(permit)) = tokio::time::timeout_at(hope.until, places.acquire_owned()).await
        {
            self.unwanted = hope.crowded.clone();
            self.held = Held::Served { _permit: permit };
        }
        self
    }
}

impl ConnectionLimit {
    /// `wanted` places, or as many as the system's limit on open files leaves room for.
    #[must_use]
    pub fn new(wanted: usize) -> Self {
        let max = system::open_files_limit().map_or(wanted, |files| wanted.min(affordable(files)));
        if max < wanted {
            tracing::info!(max, "at most {max} connections at a time, for the limit on open files (ulimit -n)");
        }
        Self {
            places: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            max,
            round: Round::default(),
            closing: TaskTracker::new(),
            last_round: None,
            refused: VecDeque::with_capacity(REFUSED),
        }
    }

    /// The most connections at a time.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// A place for a connection that was accepted: where there is none, a refused connection's, which may become better when
    /// it has [`settled`](Place::settled).
    #[must_use]
    pub fn place(&mut self) -> Place {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return self.served(permit);
        }
        self.make_room("all connections are taken (MCP_MAX_CONNECTIONS)");
        self.refused()
    }

    fn served(&self, permit: OwnedSemaphorePermit) -> Place {
        let Round { connections, crowded } = &self.round;
        Place { watcher: connections.watcher(), unwanted: crowded.clone(), held: Held::Served { _permit: permit } }
    }

    fn refused(&mut self) -> Place {
        self.refused.retain(|refused| !refused.is_cancelled());
        if self.refused.len() >= REFUSED
            && let Some(oldest) = self.refused.pop_front()
        {
            oldest.cancel();
        }
        let unwanted = CancellationToken::new();
        self.refused.push_back(unwanted.clone());
        let gone = unwanted.clone().drop_guard();
        let hope = Hope {
            places: Arc::clone(&self.places),
            until: self.last_round.map_or_else(Instant::now, |began| began + CLOSING),
            crowded: self.round.crowded.clone(),
        };
        Place { watcher: self.round.connections.watcher(), unwanted, held: Held::Refused { _gone: gone, hope } }
    }

    /// The system has no file descriptor for another connection: idle and refused ones give theirs back.
    pub fn out_of_files(&mut self) {
        self.make_room("the system has no more file descriptors, most likely");
        self.end_refused();
    }

    /// Has idle connections close, unless that was done a moment ago. Requests at work and streams go on. `why` is for the
    /// log.
    fn make_room(&mut self, why: &str) {
        if self.last_round.is_some_and(|last| last.elapsed() < ROUND) {
            return;
        }
        self.last_round = Some(Instant::now());
        tracing::warn!(max = self.max, "{why}; closing idle ones");
        let Round { connections, crowded } = std::mem::take(&mut self.round);
        self.closing.spawn(connections.shutdown());
        crowded.cancel();
    }

    fn end_refused(&mut self) {
        for refused in self.refused.drain(..) {
            refused.cancel();
        }
    }

    /// Has all connections end, and returns when they have.
    pub async fn shutdown(mut self) {
        self.end_refused();
        self.round.crowded.cancel();
        self.closing.close();
        tokio::join!(self.round.connections.shutdown(), self.closing.wait());
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
    async fn without_a_place_idle_connections_are_closed_once_a_second_and_else_the_new_one_is_refused() {
        let mut limit = ConnectionLimit::new(1);
        let first = limit.place().settled().await;
        assert!(!first.is_refused() && !first.unwanted.is_cancelled());
        let second = limit.place().settled().await;
        assert!(second.is_refused() && first.unwanted.is_cancelled(), "it was asked to go and did not");
        assert!(!second.unwanted.is_cancelled());
        let third = limit.place().settled().await;
        assert!(third.is_refused() && !second.unwanted.is_cancelled(), "not again so soon");
        drop((first, second, third));
        assert!(!limit.place().is_refused());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_freed_in_time_goes_to_who_waits_for_it() {
        let mut limit = ConnectionLimit::new(1);
        let first = limit.place();
        let (second, third) = (limit.place(), limit.place());
        let (second, third, ()) = tokio::join!(second.settled(), third.settled(), async move {
            tokio::time::sleep(CLOSING / 2).await;
            drop(first);
        });
        assert!(!second.is_refused() && third.is_refused());
        assert!(!second.unwanted.is_cancelled(), "it is a connection like any");
        tokio::time::advance(ROUND).await;
        let _fourth = limit.place();
        assert!(second.unwanted.is_cancelled() && !third.unwanted.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_beyond_the_refused_ones_closes_the_oldest_of_them_that_is_there() {
        let mut limit = ConnectionLimit::new(1);
        let _served = limit.place();
        let mut refused: VecDeque<_> = (0..REFUSED).map(|_| limit.place()).collect();
        // One has ended by itself: its place is taken first.
        drop(refused.remove(5));
        refused.push_back(limit.place());
        assert!(refused.iter().all(|place| !place.unwanted.is_cancelled()));
        refused.push_back(limit.place());
        let unwanted: Vec<_> = refused.iter().map(|place| place.unwanted.is_cancelled()).collect();
        assert!(unwanted[0] && !unwanted[1..].contains(&true), "{unwanted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connections_give_their_files_back_where_there_are_no_more() {
        let mut limit = ConnectionLimit::new(1);
        let served = limit.place();
        let refused = limit.place();
        limit.out_of_files();
        assert!(refused.unwanted.is_cancelled() && served.unwanted.is_cancelled());
    }
}
