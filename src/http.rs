//! HTTP: the only room that knows axum. [`Layers`] is the list of layers that every request passes, [`routes`] the table
//! of routes behind them.

mod body;
mod budget;
mod cors;
mod delete;
mod form;
mod get;
mod guard;
mod layers;
mod observe;
mod post;
mod refusal;
mod sse;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use http::header::{ALLOW, CONNECTION};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use crate::protocol::RpcError;
use crate::recorder::Recorder;
use crate::request::{self, ProxyProof, RequestId, headers};
use crate::rpc::Engine;
use crate::seen::Seen;
pub use budget::{Account, Budget};
pub use layers::Layers;
use refusal::Refusal;

/// The MCP endpoint. With and without the slash, never redirected: a redirect loses Authorization.
pub const MCP_PATHS: [&str; 2] = ["/mcp", "/mcp/"];

/// The probe for load balancers.
pub const HEALTH_PATH: &str = "/healthz";

/// Whether requests can be answered now: for orchestrators that choose where to send them.
pub const READY_PATH: &str = "/readyz";

/// What every handler shares.
pub struct Http {
    /// Answers messages.
    pub engine: Arc<Engine>,
    /// This run of the server, by name: a header of every response.
    pub instance: HeaderValue,
    /// Whether the server listens on a loopback address.
    pub bound_to_loopback: bool,
    /// How long a client may leave a large answer unread.
    pub unread: Duration,
    /// Who records exchanges, if somebody can look at them.
    pub recorder: Option<Arc<Recorder>>,
}

/// The TCP connection of a request.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: Option<SocketAddr>,
}

/// How a request came in: an extension of the request, which `observe` adds.
#[derive(Debug, Clone)]
struct Arrival {
    id: RequestId,
    at: Instant,
    connection: Connection,
    proxy: ProxyProof,
    /// Whether it gets a line in the log whatever becomes of it.
    is_logged: bool,
    /// What is noted of it for the recorder.
    seen: Option<Arc<Seen>>,
    /// The memory of its connection.
    account: Account,
}

impl Arrival {
    /// The request as tools and diagnosis see it. A large body comes with its share of the budget.
    fn request(&self, parts: Parts, body_bytes: usize, share: Option<budget::Share>) -> request::Request {
        request::Request {
            id: self.id.clone(),
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            proxy: self.proxy,
            peer: Some(self.connection.peer),
            local: self.connection.local,
            received: self.at,
            body_bytes,
            share: share.map(|share| Arc::new(share) as _),
        }
    }
}

/// The routes.
#[must_use = "a router does nothing unless it is served"]
pub fn routes(http: &Arc<Http>) -> Router {
    let mut router = Router::new();
    for path in MCP_PATHS {
        router = router.route(path, mcp());
    }
    router
        .route(HEALTH_PATH, on(MethodFilter::GET, health).fallback(method_not_allowed_on_health))
        .route(READY_PATH, on(MethodFilter::GET, ready).fallback(method_not_allowed_on_health))
        .fallback(not_found)
        .with_state(Arc::clone(http))
}

/// The routes of a connection beyond the limit of `max`: 503 for all but the probe.
#[must_use = "a router does nothing unless it is served"]
pub fn refusing_routes(http: &Arc<Http>, max: usize) -> Router {
    let refuse = move |request: Request| async move {
        // The body is read first: closing a connection with unread bytes may take the answer from the client.
        let body = Limited::new(request.into_body(), REFUSED_BODY);
        let _ = tokio::time::timeout(REFUSED_BODY_TIME, body.collect()).await;
        let error = RpcError::new(
            RpcError::INTERNAL_ERROR,
            format!("Too many connections: all {max} are in use; try again later or raise MCP_MAX_CONNECTIONS"),
        );
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(refusal::RETRY_AFTER_S).and_close()
    };
    // Closed at once: a refused connection is not kept.
    let probe = async |http: State<Arc<Http>>| ([(CONNECTION, HeaderValue::from_static("close"))], health(http).await);
    let probe = on(MethodFilter::GET, probe).fallback(method_not_allowed_on_health);
    Router::new().route(HEALTH_PATH, probe).fallback(refuse).with_state(Arc::clone(http))
}

/// How much of a refused connection's body is read and thrown away before the answer, in bytes and time.
const REFUSED_BODY: usize = 64 * 1024;
const REFUSED_BODY_TIME: Duration = Duration::from_secs(1);

fn mcp() -> MethodRouter<Arc<Http>> {
    on(MethodFilter::POST, post::post)
        // Named on its own, since GET would take HEAD requests along and open a stream for them.
        .on(MethodFilter::HEAD, method_not_allowed)
        .on(MethodFilter::GET, get::get)
        .on(MethodFilter::DELETE, delete::delete)
        .on(MethodFilter::OPTIONS, options)
        .fallback(method_not_allowed)
}

async fn options() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(ALLOW, refusal::ALLOWED_METHODS);
    response
}

async fn method_not_allowed(
    State(http): State<Arc<Http>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Refusal {
    let (parts, body) = request.into_parts();
    let error = RpcError::invalid_request(format!(
        "Method Not Allowed: {}; POST sends a message, GET opens a stream, DELETE ends the session",
        parts.method
    ));
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error);
    let refusal = refusal.noted(&http, &parts.method, &parts.headers, arrival.connection.peer);
    body::refuse(&parts.headers, body, refusal).await
}

async fn method_not_allowed_on_health(method: Method, uri: Uri) -> Response {
    let message = format!("{method} is not for {}: use GET", uri.path());
    let body = json!({ "error": "method_not_allowed", "message": message });
    let mut response = refusal::json(StatusCode::METHOD_NOT_ALLOWED, body.to_string());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

async fn health(State(http): State<Arc<Http>>) -> Response {
    let (status, word) = if http.engine.shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting_down")
    } else {
        (StatusCode::OK, "ok")
    };
    refusal::json(status, condition(&http, word).to_string())
}

/// 503 while the server stops, and while its session store does not answer; then a try tells whether it does again.
async fn ready(State(http): State<Arc<Http>>) -> Response {
    let committer = http.engine.server.committer.as_ref();
    if let Some(committer) = committer.filter(|committer| committer.health().down.is_some()) {
        committer.probe(PROBE_TIME).await;
    }
    let down = committer.is_some_and(|committer| committer.health().down.is_some());
    let (status, word) = match (http.engine.shutdown.is_cancelled(), down) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
        (false, false) => (StatusCode::OK, "ready"),
    };
    refusal::json(status, condition(&http, word).to_string())
}

/// How long a probe waits for the session store: less than probes wait for us.
const PROBE_TIME: Duration = Duration::from_millis(500);

/// What the probes are told.
fn condition(http: &Http, word: &str) -> Value {
    let server = &http.engine.server;
    let mut condition = json!({
        "status": word,
        "version": crate::protocol::SERVER_VERSION,
        "uptimeSeconds": server.clock.uptime().as_secs(),
        "activeSessions": server.stats().active,
    });
    if let Some(committer) = &server.committer {
        let down = committer.health().down;
        condition["store"] = json!({
            "kind": server.config.store.kind(),
            "status": if down.is_some() { "unavailable" } else { "ok" },
        });
        if let Some((lasts, _)) = down {
            condition["store"]["unavailableForSeconds"] = lasts.as_secs().into();
        }
    }
    condition
}

async fn not_found(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = nothing_here(&parts);
    if !body::discard(&parts.headers, body).await {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn nothing_here(request: &Parts) -> Response {
    let path = crate::text::shorten(&crate::diagnosis::redact::uri(request.uri.path()), 200);
    // Clients without metadata try the authorization endpoints at their default places (MCP 2025-03-26 authorization).
    let is_oauth = path.starts_with("/.well-known/") || ["/register", "/authorize", "/token"].contains(&path.as_str());
    let message = if is_oauth {
        "this server has no authentication of its own and serves no OAuth metadata; the proxy in front of it has to answer \
         this path"
    } else if path == "/sse" || path.starts_with("/messages") {
        "the HTTP+SSE transport of 2024-11-05 is not served; use streamable HTTP at /mcp"
    } else {
        "there is nothing here; the MCP endpoint is /mcp and the health probe is /healthz"
    };
    if request.method == Method::POST && headers::is_json(&request.headers) && !is_oauth {
        // JSON-RPC at the wrong door. OAuth's clients, which send JSON too, could not read this form.
        let error = RpcError::invalid_request(format!("Not Found: {message}"))
            .with_data(json!({ "path": path, "endpoint": "/mcp" }));
        return Refusal::new(StatusCode::NOT_FOUND, error).into_response();
    }
    let body = json!({ "error": "not_found", "path": path, "message": message, "endpoints": ["/mcp", HEALTH_PATH] });
    refusal::json(StatusCode::NOT_FOUND, body.to_string())
}

fn note_panic(panic: &(dyn std::any::Any + Send)) {
    let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = what.unwrap_or("unknown"), "a handler panicked");
}
