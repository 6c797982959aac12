//! The server put together: state, router, and the loop that accepts connections until it is told to stop.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{Config, StoreAt, endpoint_url};
use crate::connections::{self, ConnectionLimit, Place, Timeouts};
use crate::http::{Account, Budget, Connection, Http, Layers, refusing_routes, routes};
use crate::logging::Log;
use crate::recorder::Recorder;
use crate::rpc::Engine;
use crate::session::disk::{Disk, DiskLimits};
use crate::session::redis::Redis;
use crate::session::store::{CallId, Gone, Here, Store};
use crate::session::values::http::HttpValues;
use crate::session::values::{Values as _, Whole};
use crate::session::{self, Committer, Limits, SessionManager, keep_alive_regularly, read, sweep_regularly, write};
use crate::system::System;
use crate::tools::{Server, TOOLS, Tool};
use crate::view::{self, View};

/// The most bytes of a request's head: room for a token of 32 KiB next to large cookies. More is answered 431, as are more
/// than 100 headers (hyper's own bound, which it keeps without allocating).
const MAX_HEAD: usize = 64 * 1024;

/// How often the other end of an HTTP/2 connection is asked whether it still lives, and how long it may take to answer: a
/// machine that lost its network says no goodbye. HTTP/1 has `Timeouts::head` instead.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The most streams of an HTTP/2 connection at once: hyper's own default, named because it is a bound.
const MAX_H2_STREAMS: u32 = 200;

/// What HTTP/2 takes of an answer before it is sent, in bytes a stream: it is not counted any more.
const MAX_H2_SEND: usize = 16 * 1024;

/// How long a change is tried that a session store does not answer: less than clients wait for an answer.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// How often a session that is at work says so to a store that others use too: another one does not give way to it meanwhile.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

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
    log: Log,
    store: Option<Arc<dyn Store>>,
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
        let sessions = match config.store {
            StoreAt::Memory => sessions,
            StoreAt::Disk(_) => sessions.of_copies(false),
            StoreAt::Redis(_) | StoreAt::Http(_) | StoreAt::Custom => sessions.of_copies(true),
        };
        Self {
            config: Arc::new(config),
            clock,
            sessions: Arc::new(RwLock::new(sessions)),
            tools,
            bounds: Bounds::default(),
            log: Log::default(),
            store: None,
        }
    }

    /// With a store of the caller's, whatever `MCP_STORE` says.
    #[must_use]
    pub fn with_store(self, store: Arc<dyn Store>) -> Self {
        let limits = Limits::from(&*self.config);
        let sessions = SessionManager::new(limits, Arc::clone(&self.clock)).of_copies(store.is_shared());
        let config = Arc::new(Config { store: StoreAt::Custom, ..(*self.config).clone() });
        Self { store: Some(store), sessions: Arc::new(RwLock::new(sessions)), config, ..self }
    }

    /// With the log of the process, which healthProbe speaks of.
    #[must_use]
    pub fn with_log(self, log: Log) -> Self {
        Self { log, ..self }
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

    /// Where the truth about sessions is, for the process that calls itself `writer`.
    async fn truth(&self, writer: u64) -> io::Result<Truth> {
        let (mut disk, mut silent) = (None, false);
        let store = match &self.config.store {
            _ if self.store.is_some() => self.store.clone(),
            StoreAt::Memory | StoreAt::Custom => None,
            StoreAt::Disk(path) => {
                let limits = Limits::from(&*self.config);
                let limits = DiskLimits { max_sessions: limits.max_sessions, warning: limits.warning };
                let here = Box::new(Copies(Arc::clone(&self.sessions)));
                let opened = Disk::open(path, limits, here, Arc::clone(&self.clock));
                let opened = Arc::new(opened.map_err(io::Error::other)?);
                disk = Some(Arc::clone(&opened));
                Some(opened as _)
            }
            StoreAt::Redis(at) => {
                let here = Arc::new(Copies(Arc::clone(&self.sessions)));
                let redis = Redis::new(at.clone(), writer, self.config.max_sessions, here);
                match redis.check().await {
                    Err(down) if down.lasts => {
                        return Err(io::Error::other(format!("MCP_STORE: {at}: {down}")));
                    }
                    // It is tried again with every request: nobody has to start this server anew.
                    Err(_) => silent = true,
                    Ok(()) => {}
                }
                Some(Arc::new(redis) as _)
            }
            StoreAt::Http(at) => {
                let whole = Whole::new(HttpValues::new(at.clone()), Arc::clone(&self.clock));
                silent = whole.values().get(Uuid::nil()).await.is_err();
                Some(Arc::new(whole) as _)
            }
        };
        Ok(Truth { store, disk, silent })
    }

    /// Serves until `shutdown` is cancelled; then stops accepting, ends every GET stream, lets requests in flight finish
    /// for at most the grace period, and returns.
    ///
    /// # Errors
    /// When the listener cannot tell its address.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let grace = self.config.shutdown_grace;
        let writer = session::writer();
        let Truth { store, disk, silent } = self.truth(writer).await?;
        let limit = ConnectionLimit::new(self.config.max_connections);
        let sweeping = tokio::spawn(sweep_regularly(
            Arc::clone(&self.sessions),
            self.config.session_cleanup_interval,
            shutdown.clone(),
        ));
        let instance = read(&self.sessions).instance().name();
        tracing::debug!(%instance, "this run's name, in X-Instance-Id");
        let mut server = Server::new(
            Arc::clone(&self.config),
            Arc::clone(&self.clock),
            Arc::clone(&self.sessions),
            System::start(shutdown.clone()),
        )
        .with_log(self.log);
        if let Some(store) = &store {
            let committer = Committer::new(Arc::clone(store), writer, STORE_PATIENCE);
            if silent {
                // From the first moment on it is known, and told.
                committer.probe(Duration::ZERO).await;
            }
            server = server.with_store(Arc::new(committer));
            if store.is_shared() {
                let (store, sessions) = (Arc::clone(store), Arc::clone(&self.sessions));
                tokio::spawn(keep_alive_regularly(
                    store,
                    sessions,
                    (self.config.session_timeout / 4).min(SIGN_OF_LIFE),
                    shutdown.clone(),
                ));
            }
        }
        let engine = Engine::new(server, self.tools, shutdown.clone());
        let bound_to_loopback = listener.local_addr()?.ip().is_loopback();
        let admin = self.config.admin.address(bound_to_loopback);
        let recorder = admin.map(|_| Arc::new(Recorder::new(self.config.record, self.config.record_bodies)));
        let watching = match (admin, &recorder) {
            (Some(admin), Some(recorder)) => {
                let address = listener.local_addr()?;
                let endpoint = endpoint_url(&address.ip().to_string(), address.port());
                let view = View::new(Arc::clone(&engine), Arc::clone(recorder), endpoint);
                watch(admin, view, shutdown.clone()).await?
            }
            _ => None,
        };
        let recorder = recorder.filter(|_| watching.is_some());
        let http = Arc::new(Http {
            recorder,
            // Four hex digits: always a header's value.
            instance: HeaderValue::from_str(&instance.to_string()).unwrap_or(HeaderValue::from_static("")),
            bound_to_loopback,
            engine: Arc::clone(&engine),
            unread: self.bounds.timeouts.unread,
        });
        let endpoint = Arc::new(Endpoint {
            serving: Layers::around(Arc::clone(&http), routes(&http)),
            refusing: Layers::around(Arc::clone(&http), refusing_routes(&http, limit.max())),
            protocol: protocol(self.bounds.timeouts),
            timeouts: self.bounds.timeouts,
            budget: Budget::new(self.bounds.large_bytes, self.config.max_body_bytes),
        });
        let mut acceptor = Acceptor { listener, limit, endpoint };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = acceptor.run() => {}
        }
        let Acceptor { listener, limit, .. } = acceptor;
        drop(listener);

        let drained = async {
            limit.shutdown().await;
            engine.calls.close();
            engine.calls.wait().await;
            let _ = sweeping.await;
            if let Some(watching) = watching {
                let _ = watching.await;
            }
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            let in_flight = read(&self.sessions).stats().in_flight;
            tracing::warn!(in_flight, "requests were still at work after {} s; ending without them", grace.as_secs());
        } else {
            tracing::info!("all requests finished; bye");
        }
        if let Some(store) = disk {
            // What was acknowledged is in the file; closed in order, it opens at once.
            let _closed = tokio::task::spawn_blocking(move || store.shut()).await;
        }
        Ok(())
    }
}

/// Starts the admin listener.
///
/// # Errors
/// Where it was asked for at an address that it cannot have.
async fn watch(
    (address, asked): (SocketAddr, bool),
    view: View,
    shutdown: CancellationToken,
) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
    match view::bind(address).await {
        Ok(listener) => {
            let address = listener.local_addr()?;
            tracing::info!("exchanges, reports and figures on http://{address}/");
            Ok(Some(tokio::spawn(view::serve(view, listener, shutdown))))
        }
        Err(error) if asked => Err(io::Error::other(format!("MCP_ADMIN_ADDR: {address}: {error}"))),
        Err(error) => {
            tracing::warn!(
                "no exchanges, reports and figures: {address}: {error}; MCP_ADMIN_ADDR gives them another address"
            );
            Ok(None)
        }
    }
}

/// Where the truth about sessions is.
struct Truth {
    /// `None`: in this process.
    store: Option<Arc<dyn Store>>,
    /// The same, where it has to be closed at the end.
    disk: Option<Arc<Disk>>,
    /// It did not answer.
    silent: bool,
}

/// The copies of sessions here, for their store.
struct Copies(Arc<RwLock<SessionManager>>);

impl Here for Copies {
    fn is_in_use(&self, id: Uuid) -> bool {
        session::is_in_use(&self.0, id)
    }

    fn ended(&self, id: Uuid, gone: Gone) {
        let mut sessions = write(&self.0);
        if sessions.is_shared() {
            // What it has no copy of, another process ended.
            sessions.bury_copy(id, gone);
        } else {
            sessions.bury(id, gone);
        }
    }

    fn wake(&self, id: Option<Uuid>) {
        read(&self.0).wake(id);
    }

    fn cancel(&self, id: Uuid, call: &CallId) {
        read(&self.0).cancel(id, call);
    }
}

/// Accepts connections, and has each served in a task of its own.
struct Acceptor {
    listener: TcpListener,
    limit: ConnectionLimit,
    endpoint: Arc<Endpoint>,
}

impl Acceptor {
    /// Goes on until it is dropped. Waits for nothing but connections: when those that want to be accepted are too many, the
    /// system ignores more of them, and their clients try again after seconds.
    async fn run(&mut self) {
        loop {
            let (stream, address) = self.accept().await;
            let mut place = self.limit.place();
            let endpoint = Arc::clone(&self.endpoint);
            if place.is_refused() && endpoint.budget.make_way(address) {
                place.expect_one();
            }
            let account = endpoint.budget.account(address);
            let served = account.clone();
            let task = tokio::spawn(async move { endpoint.serve(stream, place.settled().await, served).await });
            account.opened_for(task.abort_handle());
        }
    }

    async fn accept(&mut self) -> (TcpStream, IpAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (stream, peer.ip().to_canonical()),
                Err(error) if is_the_connections_fault(&error) => {}
                Err(error) => {
                    tracing::error!("cannot accept connections: {error}; trying again");
                    // Likely there are no file descriptors left.
                    self.limit.out_of_files();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Errors of `accept` that concern one connection that is already gone.
fn is_the_connections_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// HTTP/1 and HTTP/2 as they are spoken here: hyper's own bounds and time-outs.
fn protocol(timeouts: Timeouts) -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http1()
        .timer(TokioTimer::new())
        // From the end of an answer to the end of the next head: a request and its answer may take as long as they do.
        .header_read_timeout(timeouts.head)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_H2_STREAMS)
        .max_send_buf_size(MAX_H2_SEND);
    protocol
}

/// Serves connections.
struct Endpoint {
    /// What answers the requests of a connection.
    serving: Layers,
    /// What answers those of a connection beyond the limit.
    refusing: Layers,
    protocol: auto::Builder<TokioExecutor>,
    timeouts: Timeouts,
    budget: Budget,
}

impl Endpoint {
    /// Serves a connection until it ends, or has to.
    async fn serve(&self, stream: TcpStream, place: Place, account: Account) {
        let timeouts = self.timeouts;
        // Without it a streamed answer waits some 40 ms for the client's delayed ACK.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        connections::bound_unread(&stream, timeouts.unread);
        let Ok(peer) = stream.peer_addr() else { return };
        let is_refused = place.is_refused();
        let layers = if is_refused { &self.refusing } else { &self.serving };
        let layers = layers.clone().on(Connection { peer, local: stream.local_addr().ok() }, account);
        let asked = Arc::new(Notify::new());
        let service = {
            let asked = Arc::clone(&asked);
            service_fn(move |request: Request<Incoming>| {
                asked.notify_one();
                // Always ready: see `Layers::on`.
                layers.clone().call(request)
            })
        };
        let serving = self.protocol.serve_connection(TokioIo::new(stream), service);
        let mut serving = pin!(place.watcher.watch(serving));
        // hyper's time-outs begin when it knows the version of HTTP, and graceful shutdown waits for a head that has begun.
        let patience = if is_refused { timeouts.refusal } else { timeouts.head };
        let served = tokio::select! {
            biased;
            served = &mut serving => served,
            () = asked.notified(), if !is_refused => serving.await,
            () = place.unwanted.cancelled() => return,
            () = tokio::time::sleep(patience) => {
                tracing::debug!(%peer, "connection closed: no request within {} s", patience.as_secs());
                return;
            }
        };
        let Err(error) = served else { return };
        let http1 = error.downcast_ref::<hyper::Error>();
        if http1.is_some_and(hyper::Error::is_parse_too_large) {
            // Nothing but status and `Connection: close` went out: hyper answers before there is a request.
            tracing::info!(%peer, "a request was refused with 431: its head has more than {MAX_HEAD} bytes or 100 headers");
        } else if http1.is_some_and(hyper::Error::is_timeout) {
            tracing::debug!(%peer, "connection closed: no other request within {} s", timeouts.head.as_secs());
        } else {
            // A client that goes away in the middle is no news.
            tracing::debug!(%peer, "connection ended: {error}");
        }
    }
}
