//! What is seen of every request: its id, one span, one log line, `Server-Timing`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::headers::{REQUEST_ID, SERVER_TIMING};
use super::refusal::{ALLOWED_METHODS, Why};
use super::{Arrival, HEALTH_PATH, Http, MCP_PATHS};
use crate::diagnosis::redact::{self, SESSION_SHOWN};
use crate::request::RequestId;
use crate::text::shorten;

/// Characters of a caller's header value in a log line.
const MAX_LOGGED: usize = 200;

/// What a caller named (a method, a tool, a client) as it may stand in a log line: short, one line, no secrets.
#[must_use]
pub fn loggable(text: &str) -> String {
    redact::escape(&redact::value(&shorten(text, MAX_LOGGED))).into_owned()
}

/// Wraps every request.
pub async fn observe(State(http): State<Arc<Http>>, mut request: Request, next: Next) -> Response {
    let at = Instant::now();
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let id = given.and_then(RequestId::accept).unwrap_or_else(RequestId::generate);
    let quiet = request.uri().path() == HEALTH_PATH;
    let is_options = request.method() == Method::OPTIONS && MCP_PATHS.contains(&request.uri().path());
    let span = span(&request, &id);
    if tracing::enabled!(tracing::Level::DEBUG) {
        span.in_scope(|| log_headers(&request));
    }
    let request_id = HeaderValue::from_str(id.as_str());
    request.extensions_mut().insert(Arrival { id, at, wall: http.engine.clock.wall_now() });
    let mut response = next.run(request).instrument(span.clone()).await;
    if is_options && response.status() == StatusCode::OK {
        // The CORS layer answers preflights with 200 and without Allow.
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(http::header::ALLOW, ALLOWED_METHODS);
    }
    if let Ok(id) = request_id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let ms = at.elapsed().as_secs_f64() * 1000.0;
    if let Ok(timing) = HeaderValue::from_str(&format!("app;dur={ms:.3}")) {
        response.headers_mut().insert(SERVER_TIMING, timing);
    }
    log(&span, &response, ms, quiet);
    response
}

fn span(request: &Request, id: &RequestId) -> Span {
    let span = tracing::info_span!(
        "request",
        request_id = id.as_str(),
        http_method = %request.method(),
        path = %uri(&shorten(request.uri().path(), MAX_LOGGED)),
        method = Empty,
        tool = Empty,
        session = Empty,
        forwarded_for = Empty,
        user = Empty,
        status = Empty,
        duration_ms = Empty,
    );
    for (field, header) in [("forwarded_for", "x-forwarded-for"), ("user", "x-user-id")] {
        if let Some(value) = request.headers().get(header) {
            span.record(field, display(shorten(&redact::header(header, value.as_bytes()), MAX_LOGGED)));
        }
    }
    if let Some(session) = request.headers().get(super::headers::SESSION_ID).and_then(|id| id.to_str().ok()) {
        span.record("session", display(shorten(&redact::escape(session), SESSION_SHOWN).trim_end_matches('…')));
    }
    span
}

/// A URI as it may be logged: no secrets, and of a session id put into the path (clients of other transports do) no more
/// than elsewhere.
fn uri(uri: &str) -> String {
    let parts = redact::uri(uri);
    let parts = parts.split_inclusive(['/', '?', '&', '=', '#']).map(|part| {
        let id = part.trim_end_matches(['/', '?', '&', '=', '#']);
        if Uuid::try_parse(id).is_ok() { part.replace(id, &redact::session_id(id)) } else { part.to_owned() }
    });
    parts.collect()
}

/// In debug mode every header is logged, secrets hidden.
fn log_headers(request: &Request) {
    let headers: Vec<String> = header_lines(request.headers());
    tracing::debug!(uri = %uri(&request.uri().to_string()), version = ?request.version(), headers = ?headers, "request head");
}

fn header_lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", redact::header(name.as_str(), value.as_bytes()))).collect()
}

/// One line a request. It reads alone; its figures are fields of the span.
fn log(span: &Span, response: &Response, ms: f64, quiet: bool) {
    let status = response.status();
    span.record("status", status.as_u16());
    span.record("duration_ms", (ms * 1000.0).round() / 1000.0);
    let _entered = span.enter();
    match response.extensions().get::<Why>() {
        Some(Why(why)) if status.is_server_error() => tracing::warn!("answered {status} in {ms:.2} ms: {why}"),
        Some(Why(why)) => tracing::info!("refused with {status} in {ms:.2} ms: {why}"),
        None if quiet => tracing::debug!("answered {status} in {ms:.2} ms"),
        None => tracing::info!("answered {status} in {ms:.2} ms"),
    }
}
