//! HTTP: the only room that knows axum. [`Stack`] is what every request passes, `routes` the table of routes.

mod at_work;
mod body;
mod budget;
mod delete;
mod era;
mod get;
mod guard;
mod handshake;
pub mod headers;
mod lines;
mod listen;
mod observe;
mod post;
mod refusal;
mod run;
mod sse;
mod stack;
mod stateless;
mod strict;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, AUTHORIZATION, CONNECTION,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Origins;
use crate::diagnosis::forwarding::client_address;
use crate::diagnosis::{cors, identity};
use crate::dispatch::Engine;
use crate::protocol::{FIRST_STATELESS, Revision, RpcError};
use crate::request::RequestId;
use crate::session::history::{Entry, Kind, token_hash};
use crate::session::{Missing, Session, SessionGuard, prefix, read};
pub use at_work::kept_at_work;
pub use budget::{Budget, unless_unread};
use era::Era;
use headers::SessionHeader;
pub use lines::Lines;
use refusal::Refusal;
pub use stack::Stack;

/// The MCP endpoint. With and without the slash, never redirected: a redirect loses Authorization.
pub const MCP_PATHS: [&str; 2] = ["/mcp", "/mcp/"];

/// The probe for load balancers.
pub const HEALTH_PATH: &str = "/healthz";

/// What every handler shares.
pub struct Http {
    /// Which requests get a line in the log.
    pub lines: Lines,
    /// Answers messages.
    pub engine: Engine,
    /// This run of the server, by name: a header of every response.
    pub instance: HeaderValue,
    /// Whether the server listens on a loopback address.
    pub bound_to_loopback: bool,
    /// Cancelled when the server is to end.
    pub shutdown: CancellationToken,
    /// Calls that outlive their request's handler: shutdown waits for them.
    pub calls: TaskTracker,
    /// Room for calls that may take their time: [`MAX_CALLS`] permits.
    pub waiting: Semaphore,
    /// Memory for large bodies and answers.
    pub budget: Budget,
    /// Room for `subscriptions/listen` streams: [`MAX_SUBSCRIPTIONS`] permits.
    pub subscriptions: Arc<Semaphore>,
}

/// The most `subscriptions/listen` streams at once, of all clients: as many as there are sessions by default, since these
/// streams belong to none that would bound them.
pub const MAX_SUBSCRIPTIONS: usize = 10_000;

/// The most calls at work at once, of all clients: those that may take their time. Each holds its arguments for up to a
/// minute.
pub const MAX_CALLS: usize = 10_000;

/// The TCP connection of a request.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: Option<SocketAddr>,
}

/// How a request came in: an extension of it.
#[derive(Debug, Clone)]
struct Arrival {
    id: RequestId,
    at: Instant,
    wall: Timestamp,
    connection: Connection,
    /// Whether it gets a line in the log whatever becomes of it.
    is_logged: bool,
}

/// The routes.
fn routes(http: &Arc<Http>) -> Router {
    let mut router = Router::new();
    for path in MCP_PATHS {
        router = router.route(path, mcp());
    }
    router
        .route(HEALTH_PATH, on(MethodFilter::GET, health).fallback(method_not_allowed_on_health))
        .fallback(not_found)
        .with_state(Arc::clone(http))
}

/// The routes of a connection that is one too many: 503, but for the probe. `max` is how many there may be.
fn refusing_routes(http: &Arc<Http>, max: usize) -> Router {
    let refuse = move |request: Request| async move {
        // What is under way of the body, so that closing does not take the answer from the client.
        let body = Limited::new(request.into_body(), REFUSED_BODY);
        let _ = tokio::time::timeout(REFUSED_BODY_TIME, body.collect()).await;
        let error = RpcError::new(
            RpcError::INTERNAL_ERROR,
            format!("Too many connections: all {max} are in use; try again later or raise MCP_MAX_CONNECTIONS"),
        );
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(refusal::RETRY_AFTER_S).and_close()
    };
    // The place is for the next who is refused.
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

/// The server's own CORS, by the policy and the lists that corsAnalysis judges by.
fn cors_layer(http: &Http) -> Option<CorsLayer> {
    let allow_origin = match cors::Policy::of(&http.engine.config) {
        cors::Policy::Off => return None,
        cors::Policy::Origins(Origins::Any) => AllowOrigin::any(),
        _ => {
            let config = Arc::clone(&http.engine.config);
            AllowOrigin::predicate(move |value: &HeaderValue, _| {
                value.to_str().is_ok_and(|value| cors::Policy::of(&config).allows(value))
            })
        }
    };
    let names = |names: &[&str]| -> Vec<HeaderName> { names.iter().filter_map(|name| name.parse().ok()).collect() };
    let methods: Vec<Method> = cors::ALLOW_METHODS.iter().filter_map(|name| name.parse().ok()).collect();
    Some(
        CorsLayer::new()
            .allow_origin(allow_origin)
            .allow_methods(methods)
            .allow_headers(names(&cors::ALLOW_HEADERS))
            .expose_headers(names(&cors::EXPOSE_HEADERS))
            .max_age(Duration::from_secs(u64::from(cors::MAX_AGE))),
    )
}

/// CORS headers mean nothing without an allowed origin, and the layer sends some to everybody. Scripts that look for the
/// session in a dump of the headers (`grep -i mcp-session-id`) must find the one line that has it.
async fn without_idle_cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in [
            ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
    }
    response
}

async fn options() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(ALLOW, refusal::ALLOWED_METHODS);
    response
}

async fn method_not_allowed(request: Request) -> Refusal {
    let (parts, body) = request.into_parts();
    let error = RpcError::invalid_request(format!(
        "Method Not Allowed: {}; POST sends a message, GET opens a stream, DELETE ends the session",
        parts.method
    ));
    body::refuse(&parts.headers, body, Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error)).await
}

async fn method_not_allowed_on_health(method: Method) -> Response {
    let body =
        json!({ "error": "method_not_allowed", "message": format!("{method} is not for {HEALTH_PATH}: use GET") });
    let mut response = refusal::json(StatusCode::METHOD_NOT_ALLOWED, body.to_string());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

async fn health(State(http): State<Arc<Http>>) -> Response {
    let (status, word) = if http.shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting_down")
    } else {
        (StatusCode::OK, "ok")
    };
    let body = json!({
        "status": word,
        "version": crate::protocol::SERVER_VERSION,
        "uptimeSeconds": http.engine.clock.uptime().as_secs(),
        "activeSessions": read(&http.engine.sessions).stats().active,
    });
    refusal::json(status, body.to_string())
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
    let path = crate::text::shorten(request.uri.path(), 200);
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

#[expect(clippy::needless_pass_by_value, reason = "what catch_unwind returns")]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    note_panic(&*panic);
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, internal_error()).into_response()
}

fn note_panic(panic: &(dyn std::any::Any + Send)) {
    let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = what.unwrap_or("unknown"), "a handler panicked");
}

fn internal_error() -> RpcError {
    RpcError::new(
        RpcError::INTERNAL_ERROR,
        "Internal error: the server made a mistake; its log has the details under this response's X-Request-Id",
    )
}

/// 405 for GET and DELETE in the stateless era (MCP 2026-07-28 streamable-http, Earlier Streamable HTTP Revisions).
fn refuse_stateless(http: &Http, headers: &http::HeaderMap, method: &str, instead: &str) -> Result<(), Refusal> {
    let served = &http.engine.config.protocol;
    let named = headers::protocol_version_text(headers);
    if served.has_stateless() && Era::by_header(named.as_deref(), served) == Era::Stateless {
        let error = RpcError::invalid_request(format!(
            "Method Not Allowed: {method} is not part of protocol version {FIRST_STATELESS} and later; {instead}"
        ));
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error).allowing(refusal::STATELESS_METHODS));
    }
    Ok(())
}

/// The revision of a request of the handshake era: the one its session negotiated, else the one that its header names, else
/// the one that the specification says. A session that a stateless request made has negotiated none.
fn revision(http: &Http, session: Option<&Session>, named: Option<Revision>) -> Revision {
    let negotiated = session.map(Session::revision).filter(|revision| !revision.is_stateless());
    let unnamed = || http.engine.config.protocol.when_unnamed().unwrap_or(Revision::WHEN_UNNAMED);
    negotiated.or(named).unwrap_or_else(unnamed)
}

/// Notes a request in the session that it entered.
fn note(session: &Session, kind: Kind, headers: &http::HeaderMap, peer: Option<SocketAddr>, named: Option<Revision>) {
    let listed = headers::lists(headers);
    let entry = Entry {
        kind,
        authorization: headers.get(AUTHORIZATION).map(|value| token_hash(value.as_bytes())),
        address: client_address(headers, peer),
        version: named,
        lists_json: listed.json,
        lists_sse: listed.sse,
    };
    session.change(|working| working.record_request(&entry));
}

/// Enters the session that the headers name; `None` when they name none.
fn enter_session(http: &Http, headers: &http::HeaderMap) -> Result<Option<SessionGuard>, Refusal> {
    let missing = match headers::session_id(headers) {
        SessionHeader::Absent => return Ok(None),
        SessionHeader::Foreign => Missing::Unknown,
        SessionHeader::Id(id) => {
            // Before the lock: it may mean to decode a token of tens of kilobytes.
            let caller = identity::caller(headers);
            let entered = read(&http.engine.sessions).enter(id, || caller, |_| ());
            match entered {
                Ok(visit) => return Ok(Some(visit)),
                Err(missing) => {
                    http.engine.note_missing(id, missing);
                    missing
                }
            }
        }
    };
    Err(Refusal::missing_session(missing, &http.engine.clock))
}
