//! Requests that are refused: from a reason to a status, a JSON body and a word for the log.

use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::headers::SESSION_ID;
use crate::clock::Clock;
use crate::diagnosis::findings::Finding;
use crate::diagnosis::findings::session::{dead_id, other_replica};
use crate::protocol::{Id, RpcError, message};
use crate::session::Missing;
use crate::text::rfc3339;

/// Seconds after which a client that found all sessions in use may try again.
pub const RETRY_AFTER_S: u64 = 10;

/// The media type of JSON bodies.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The methods of the MCP endpoint.
pub const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");

/// The methods of the MCP endpoint in the stateless era.
pub const STATELESS_METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// Whom a JSON-RPC error answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Addressee {
    /// The request with this id.
    Request(Id),
    /// A request whose id could not be read: `"id":null`.
    Unreadable,
    /// No request: no `id` member at all.
    Nobody,
}

/// A request that is refused as a whole.
#[derive(Debug, Clone)]
pub struct Refusal {
    status: StatusCode,
    to: Addressee,
    /// Boxed: a refusal travels as an `Err`.
    error: Box<RpcError>,
    /// Headers besides those that every JSON response has.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a response refuses: an extension of the response, for the log.
#[derive(Debug, Clone)]
pub struct Why(pub String);

impl Refusal {
    /// A refusal that says `error`, to a request whose id is not known.
    #[must_use]
    pub fn new(status: StatusCode, error: RpcError) -> Self {
        Self { status, to: Addressee::Unreadable, error: Box::new(error), headers: Vec::new() }
    }

    /// 400, -32600
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, RpcError::invalid_request(message))
    }

    /// Addressed to the request with `id`.
    #[must_use]
    pub fn to(mut self, id: Option<&Id>) -> Self {
        self.to = id.map_or(Addressee::Unreadable, |id| Addressee::Request(id.clone()));
        self
    }

    /// What it says.
    #[must_use]
    pub fn error(&self) -> &RpcError {
        &self.error
    }

    /// Addressed to no request.
    #[must_use]
    pub fn addressed_to_nobody(mut self) -> Self {
        self.to = Addressee::Nobody;
        self
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

    /// Naming the session that the refused request entered.
    #[must_use]
    pub fn in_session(self, id: Uuid) -> Self {
        self.with(SESSION_ID, session_value(id))
    }

    /// With the finding that explains it.
    #[must_use]
    pub fn explained_by(mut self, finding: &Finding) -> Self {
        let data = self.error.data.get_or_insert_with(|| json!({}));
        data["findings"] = json!([finding.to_json()]);
        self
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 404 for a session that there is not, with the reason where the caller may know it.
    #[must_use]
    pub fn missing_session(missing: Missing, clock: &Clock) -> Self {
        const HINT: &str = "POST initialize without an Mcp-Session-Id header to start a new session";
        const UNKNOWN: &str = "never issued here, lost in a restart, or opened by another identity: send the same token as \
                               with initialize; or POST initialize without an Mcp-Session-Id header to start a new session";
        let data = match missing {
            Missing::Ended { reason, at, tries } => {
                let at = rfc3339(clock.wall(at));
                let mut data = json!({ "reason": reason.name(), "endedAt": at, "hint": HINT });
                if tries > 0 {
                    data["findings"] = json!([dead_id(reason, &at, tries).to_json()]);
                }
                data
            }
            Missing::Elsewhere { maker, here, replica } => {
                let finding = other_replica(maker, here, replica);
                json!({
                    "hint": format!("{}; or {HINT}", finding.summary),
                    "instance": here.to_string(),
                    "madeByInstance": maker.to_string(),
                    "findings": [finding.to_json()],
                })
            }
            // Someone else's session must look like none at all.
            Missing::Unknown | Missing::NotYours { .. } => json!({ "hint": UNKNOWN }),
        };
        let error = RpcError::new(RpcError::INTERNAL_ERROR, "Session not found or expired").with_data(data);
        Self::new(StatusCode::NOT_FOUND, error)
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

/// A JSON response.
#[must_use]
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
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
