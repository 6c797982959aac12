//! Requests that are refused: from a reason to a status, a JSON body and a word for the log.

use std::fmt;
use std::net::SocketAddr;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::Http;
use crate::diagnosis::client::client;
use crate::diagnosis::findings::{Finding, session};
use crate::protocol::{Addressee, Allowance, FIRST_STATELESS, Failure, Refused, RpcError, message};
use crate::request::headers::SESSION_ID;
use crate::rpc::{Caller, Era};
use crate::session::clients::{Denial, Denied};

/// Seconds after which a client that found all sessions in use may try again.
pub const RETRY_AFTER_S: u64 = 10;

/// The media type of JSON bodies.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The methods of the MCP endpoint.
pub const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");

/// The methods of the MCP endpoint in the stateless era.
pub const STATELESS_METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// A request that is refused as a whole.
#[derive(Debug, Clone)]
pub struct Refusal {
    status: StatusCode,
    to: Addressee,
    /// Boxed: a refusal travels as an `Err`.
    error: Box<RpcError>,
    /// Headers besides those that every JSON response has.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Why, as it is remembered of the client.
    denial: Denial,
    /// Findings that explain it, and were not told of yet.
    untold: Vec<Finding>,
}

/// Why a response refuses: an extension of the response, for the log.
#[derive(Debug, Clone)]
pub struct Why(pub String);

impl Refusal {
    /// A refusal that says `error`, to a request whose id is not known.
    #[must_use]
    pub fn new(status: StatusCode, error: RpcError) -> Self {
        let denial = denial(status, &error);
        let error = Box::new(error);
        Self { status, to: Addressee::Unreadable, error, headers: Vec::new(), denial, untold: Vec::new() }
    }

    /// 400, -32600
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, RpcError::invalid_request(message))
    }

    /// Telling this one.
    #[must_use]
    pub fn addressed_to(mut self, to: Addressee) -> Self {
        self.to = to;
        self
    }

    /// What it says.
    #[must_use]
    pub fn error(&self) -> &RpcError {
        &self.error
    }

    /// With `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with(RETRY_AFTER, seconds.into())
    }

    /// A 405 that allows these methods.
    #[must_use]
    pub fn allowing(self, methods: HeaderValue) -> Self {
        self.with(ALLOW, methods)
    }

    /// Closes the connection: what the client still sends is not wanted.
    #[must_use]
    pub fn and_close(self) -> Self {
        self.with(CONNECTION, HeaderValue::from_static("close"))
    }

    /// With a finding that explains it.
    #[must_use]
    pub fn explained_by(mut self, finding: Finding) -> Self {
        explain(&mut self.error, &finding);
        self.untold.push(finding);
        self
    }

    /// The same, for this reason.
    #[must_use]
    pub fn because(self, denial: Denial) -> Self {
        Self { denial, ..self }
    }

    /// The same, remembered of its client; its findings are counted and logged. `method` and `headers` are the refused
    /// request's.
    #[must_use]
    pub fn noted(mut self, http: &Http, method: &Method, headers: &HeaderMap, peer: SocketAddr) -> Self {
        for finding in std::mem::take(&mut self.untold) {
            http.engine.tell_of_refusal(finding);
        }
        note(http, (method, headers, peer), self.denial, &mut self.error);
        self
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 415 for a compressed body. `Accept-Encoding` says that the coding is the trouble (RFC 9110 section 15.5.16).
    #[must_use]
    pub fn unsupported_encoding() -> Self {
        let error = RpcError::invalid_request(
            "Unsupported Media Type: compressed bodies are not taken; send the JSON as it is, without Content-Encoding \
             (or with identity)",
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error).with(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// 406
    #[must_use]
    pub fn not_acceptable(message: &str) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, RpcError::invalid_request(format!("Not Acceptable: {message}")))
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let failure = refused.failure;
        let refusal = Self {
            denial: denial_of(&refused),
            status: status(refused.failure),
            to: refused.to,
            error: refused.error,
            untold: Vec::new(),
            headers: refused.session.map(|id| (SESSION_ID, session_value(id))).into_iter().collect(),
        };
        waits(failure).into_iter().fold(refusal, |refusal, (name, value)| refusal.with(name, value))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let why = Why(self.to_string());
        let body = match &self.to {
            Addressee::Request(id) => message::error(Some(id), &self.error),
            Addressee::Unreadable => message::error(None, &self.error),
            Addressee::Nobody => message::error_without_id(&self.error),
        };
        let mut response = json(self.status, body);
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, ALLOWED_METHODS);
        }
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(why);
        response
    }
}

/// Remembers of its client that a request (its method, its headers, its other end) was refused, and says in `error` what
/// that shows.
#[cold]
pub fn note(http: &Http, request: (&Method, &HeaderMap, SocketAddr), why: Denial, error: &mut RpcError) {
    let (method, headers, peer) = request;
    let server = &http.engine.server;
    let (clients, now) = (&server.clients, server.clock.now());
    let dead_id = headers.get(SESSION_ID).filter(|_| why == Denial::DeadSession);
    let dead_id = dead_id.map(|id| clients.number(id.as_bytes()));
    let denied = Denied { why, is_post: method == Method::POST, dead_id };
    let seen = clients.refused(client(clients, headers, Some(peer)), denied, now);
    // Of an id that is remembered, or another replica's, the refusal has told already.
    let is_told = error.data.as_ref().is_some_and(|data| data.get("findings").is_some());
    let unknown = dead_id.filter(|_| !is_told).and_then(|_| session::unknown_id(seen.dead_id_tries()));
    let is_get_first = method == Method::GET && why == Denial::NoSession;
    let fallback = is_get_first.then(|| session::sse_fallback(&seen, now)).flatten();
    if let Some(fallback) = &fallback {
        // In the message too: it is all that some clients show.
        error.message = format!("{}; {}", error.message, fallback.summary);
    }
    for finding in [session::again(&seen, why, now), unknown, fallback].into_iter().flatten() {
        explain(error, &finding);
        http.engine.tell_of_refusal(finding);
    }
}

/// Adds a finding to what an error says for scripts.
fn explain(error: &mut RpcError, finding: &Finding) {
    let data = error.data.get_or_insert_with(|| json!({}));
    match data.get_mut("findings").and_then(serde_json::Value::as_array_mut) {
        Some(findings) => findings.push(finding.to_json()),
        None => data["findings"] = json!([finding.to_json()]),
    }
}

/// What a refused message is remembered as.
#[must_use]
pub fn denial_of(refused: &Refused) -> Denial {
    match refused.failure {
        Failure::SessionRequired => Denial::NoSession,
        Failure::NoSession => Denial::DeadSession,
        failure => denial(status(failure), &refused.error),
    }
}

/// What a refusal is remembered as.
fn denial(status: StatusCode, error: &RpcError) -> Denial {
    match status {
        StatusCode::BAD_REQUEST if error.code == RpcError::UNSUPPORTED_PROTOCOL_VERSION => Denial::Version,
        StatusCode::BAD_REQUEST if error.code == RpcError::PARSE_ERROR => Denial::Unreadable,
        StatusCode::BAD_REQUEST => Denial::Rule,
        StatusCode::FORBIDDEN => Denial::Host,
        StatusCode::NOT_FOUND => Denial::UnknownMethod,
        StatusCode::METHOD_NOT_ALLOWED => Denial::Method,
        StatusCode::NOT_ACCEPTABLE => Denial::Accept,
        StatusCode::PAYLOAD_TOO_LARGE => Denial::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Denial::ContentType,
        StatusCode::TOO_MANY_REQUESTS => Denial::TooFast,
        _ => Denial::Busy,
    }
}

/// Headers that say when to come again (RFC 9110 section 10.2.3, in whole seconds), and how much there is
/// (draft-ietf-httpapi-ratelimit-headers-11).
#[must_use]
pub fn waits(failure: Failure) -> Vec<(HeaderName, HeaderValue)> {
    match failure {
        Failure::Busy => vec![(RETRY_AFTER, RETRY_AFTER_S.into())],
        Failure::TooFast(Allowance { wait_ms, messages, window_s }) => {
            let wait_s = wait_ms.div_ceil(1000);
            // Numbers and quotes: always a header's value.
            let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
            vec![
                (RETRY_AFTER, wait_s.into()),
                (RATE_LIMIT_POLICY, value(format!("\"session\";q={messages};w={window_s}"))),
                (RATE_LIMIT, value(format!("\"session\";r=0;t={wait_s}"))),
            ]
        }
        _ => Vec::new(),
    }
}

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The status that a failure has.
#[must_use]
pub fn status(failure: Failure) -> StatusCode {
    match failure {
        Failure::Malformed | Failure::SessionRequired => StatusCode::BAD_REQUEST,
        Failure::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Failure::NoSession | Failure::UnknownMethod => StatusCode::NOT_FOUND,
        Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Failure::TooFast(_) => StatusCode::TOO_MANY_REQUESTS,
        Failure::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// 405 for GET and DELETE in the stateless era (MCP 2026-07-28 streamable-http, Earlier Streamable HTTP Revisions).
///
/// # Errors
/// It, where the caller is of that era.
pub fn refuse_stateless(http: &Http, caller: &Caller<'_>, method: &str, instead: &str) -> Result<(), Refusal> {
    let served = &http.engine.server.config.protocol;
    if served.has_stateless() && Era::by_header(caller.version(), served) == Era::Stateless {
        let error = RpcError::invalid_request(format!(
            "Method Not Allowed: {method} is not part of protocol version {FIRST_STATELESS} and later; {instead}"
        ));
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error).allowing(STATELESS_METHODS));
    }
    Ok(())
}

/// Headers of a usual response. Room for them is made at once: the map would grow at the seventh.
pub const HEADERS: usize = 10;

/// A JSON response.
#[must_use]
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().reserve(HEADERS);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Names the session on a response.
pub fn name_session(response: &mut Response, id: Uuid) {
    response.headers_mut().insert(SESSION_ID, session_value(id));
}

/// A session's id as a header's value.
#[must_use]
pub fn session_value(id: Uuid) -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    // An id is hexadecimal digits and hyphens: always a header's value.
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)).unwrap_or(HeaderValue::from_static(""))
}
