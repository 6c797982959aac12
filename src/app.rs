//! The server put together: state, router, and the loop that accepts connections until it is told to stop.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, RwLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::connections::{self, Activity, Place, Places, Timeouts};
use crate::diagnosis::cors::Preflights;
use crate::diagnosis::findings::FindingCounts;
use crate::dispatch::Engine;
use crate::http::{Budget, Connection, Http, Lines, MAX_CALLS, MAX_SUBSCRIPTIONS, Stack, kept_at_work, unless_unread};
use crate::session::{Limits, SessionManager, read, sweep_regularly};
use crate::system::System;
use crate::tools::{Registry, TOOLS, Tool};

/// The most bytes of a request's head: room for a token of 32 KiB next to large cookies. More is answered 431, as are more
/// than 100 headers (hyper's own bound, which it keeps without allocating).
const MAX_HEAD: usize = 64 * 1024;

/// How often an HTTP/2 connection is asked whether its other end still lives, and for how long it may keep silent then: a
/// machine that lost its network says no goodbye. In HTTP/1.1 the time that a head may take does this.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The most streams of an HTTP/2 connection at once: hyper's own default, named because it is a bound.
const MAX_H2_STREAMS: u32 = 200;

/// How long to wait when the system has no file descriptors left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds that no variable sets: tests do, which have neither minutes nor hundreds of megabytes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long connections may hold their places without use.
    pub timeouts: Timeouts,
    /// The most bytes that all large bodies and answers may hold together; room for eight of the largest body in any case.
    pub large_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { timeouts: Timeouts::default(), large_bytes: 256 * 1024 * 1024 }
    }
}

/// The server, not yet listening.
pub struct App {
    config: Arc<Config>,
    clock: Arc<Clock>,
    sessions: Arc<RwLock<SessionManager>>,
    tools: &'static [Tool],
    bounds: Bounds,
}

impl App {
    /// A server with the eleven tools.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with(config, Arc::new(Clock::new()), TOOLS)
    }

    /// A server with a clock and a table of tools of the caller's: for tests.
    #[must_use]
    pub fn with(config: Config, clock: Arc<Clock>, tools: &'static [Tool]) -> Self {
        let sessions = SessionManager::new(Limits::from(&config), Arc::clone(&clock));
        Self {
            config: Arc::new(config),
            clock,
            sessions: Arc::new(RwLock::new(sessions)),
            tools,
            bounds: Bounds::default(),
        }
    }

    /// With other bounds: for tests.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The sessions: for tests that look at them from inside.
    #[must_use]
    pub fn sessions(&self) -> Arc<RwLock<SessionManager>> {
        Arc::clone(&self.sessions)
    }

    /// Serves until `shutdown` is cancelled; then stops accepting, ends every GET stream, lets requests in flight finish
    /// for at most the grace period, and returns.
    ///
    /// # Errors
    /// When the listener cannot tell its address.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let grace = self.config.shutdown_grace;
        let calls = TaskTracker::new();
        let budget = Budget::new(self.bounds.large_bytes, self.config.max_body_bytes);
        let mut places = Places::new(self.config.max_connections);
        let sweeping = tokio::spawn(sweep_regularly(
            Arc::clone(&self.sessions),
            self.config.session_cleanup_interval,
            shutdown.clone(),
        ));
        let instance = read(&self.sessions).instance().name();
        tracing::debug!(%instance, "this run's name, in X-Instance-Id");
        let http = Arc::new(Http {
            lines: Lines::since(Instant::now()),
            // Four hex digits: always a header's value.
            instance: HeaderValue::from_str(&instance.to_string()).unwrap_or(HeaderValue::from_static("")),
            bound_to_loopback: listener.local_addr()?.ip().is_loopback(),
            engine: Engine {
                config: self.config,
                clock: self.clock,
                sessions: Arc::clone(&self.sessions),
                tools: Registry::new(self.tools),
                system: System::start(shutdown.clone()),
                findings: FindingCounts::default(),
                preflights: Preflights::default(),
            },
            shutdown: shutdown.clone(),
            calls: calls.clone(),
            waiting: Semaphore::new(MAX_CALLS),
            budget,
            subscriptions: Arc::new(Semaphore::new(MAX_SUBSCRIPTIONS)),
        });
        let stacks = Stacks {
            refusing: Arc::new(Stack::refusing(Arc::clone(&http), places.max())),
            serving: Arc::new(Stack::new(Arc::clone(&http))),
        };
        accept(listener, &stacks, &mut places, self.bounds.timeouts, &shutdown).await;

        let drained = async {
            places.shutdown().await;
            calls.close();
            calls.wait().await;
            let _ = sweeping.await;
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            let in_flight = read(&self.sessions).stats().in_flight;
            tracing::warn!(in_flight, "requests were still at work after {} s; ending without them", grace.as_secs());
        } else {
            tracing::info!("all requests finished; bye");
        }
        http.lines.tell();
        Ok(())
    }
}

/// What answers requests: those that are served, and those on a connection too many.
struct Stacks {
    serving: Arc<Stack>,
    refusing: Arc<Stack>,
}

/// Accepts connections until `shutdown`.
async fn accept(
    listener: TcpListener,
    stacks: &Stacks,
    places: &mut Places,
    timeouts: Timeouts,
    shutdown: &CancellationToken,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        // How long a head may take is `connections::Activity`'s business: hyper would set a timer for each request.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_H2_STREAMS);
    let server = Arc::new(server);
    loop {
        let stream = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) if is_the_connections_fault(&error) => continue,
                Err(error) => {
                    tracing::error!("cannot accept connections: {error}; trying again");
                    // Likely there are no file descriptors left.
                    places.make_room("the system has no more file descriptors, most likely");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let place = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            place = places.next() => place,
        };
        let stack = if place.refused { &stacks.refusing } else { &stacks.serving };
        serve_connection(stream, stack, &server, place, timeouts);
    }
}

/// Errors of `accept` that concern one connection that is already gone.
fn is_the_connections_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn serve_connection(
    stream: TcpStream,
    stack: &Arc<Stack>,
    server: &Arc<auto::Builder<TokioExecutor>>,
    place: Place,
    timeouts: Timeouts,
) {
    // Without it a streamed answer waits some 40 ms for the client's delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    connections::bound_unread(&stream, timeouts.unread);
    let Ok(peer) = stream.peer_addr() else { return };
    let connection = Connection { peer, local: stream.local_addr().ok() };
    let stack = Arc::clone(stack);
    let activity = Activity::new();
    let told = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let at_work = told.begin(request.version());
        // Not a block that awaits: that would hold the future twice, and it is moved.
        stack.respond(connection, request).map(move |response| {
            let response = unless_unread(response, timeouts.unread);
            Ok::<_, Infallible>(kept_at_work(response, at_work))
        })
    });
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let Place { watcher, crowded, refused, permit: _held } = place;
        let serving = server.serve_connection(TokioIo::new(stream), service);
        let mut serving = pin!(watcher.watch(serving));
        let patience = if refused { timeouts.refusal } else { timeouts.head };
        let mut patience_ends = pin!(tokio::time::sleep(patience));
        let early = tokio::select! {
            biased;
            served = &mut serving => Some(served),
            () = activity.first_request(), if !refused => None,
            () = crowded.cancelled() => return,
            () = &mut patience_ends => {
                tracing::debug!(%peer, "connection closed: no request within {} s", patience.as_secs());
                return;
            }
        };
        let served = if let Some(served) = early {
            served
        } else {
            let mut knows_waker = None;
            let served = poll_fn(|context| {
                if let Poll::Ready(served) = serving.as_mut().poll(context) {
                    return Poll::Ready(Some(served));
                }
                // A timer that knows whom to wake need not be told again each time something else happens.
                if knows_waker.as_ref().is_some_and(|waker| context.waker().will_wake(waker))
                    && !patience_ends.is_elapsed()
                {
                    return Poll::Pending;
                }
                // Unconstrained: else it might say that it waits, and not have taken the waker (tokio's budget for a task).
                while pin!(tokio::task::unconstrained(patience_ends.as_mut())).poll(context).is_ready() {
                    let Some(later) = activity.look_again(patience) else { return Poll::Ready(None) };
                    patience_ends.as_mut().reset(later);
                }
                knows_waker = Some(context.waker().clone());
                Poll::Pending
            });
            let Some(served) = served.await else {
                tracing::debug!(%peer, "connection closed: no other request within {} s", patience.as_secs());
                return;
            };
            served
        };
        if let Err(error) = served {
            if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
                // Nothing but status and `Connection: close` went out: hyper answers before there is a request.
                tracing::info!(%peer, "a request was refused with 431: its head has more than {MAX_HEAD} bytes or 100 headers");
                return;
            }
            // A client that goes away in the middle is no news.
            tracing::debug!(%peer, "connection ended: {error}");
        }
    });
}
