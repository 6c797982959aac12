//! JSON-RPC errors, and the codes that the protocol uses.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use super::Served;
use crate::text::{escape_json, escape_lines};

/// A JSON-RPC error object (JSON-RPC 2.0 section 5.1).
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// One of the constants below.
    pub code: i32,
    /// What is wrong and what to do about it.
    pub message: String,
    /// More, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// The body is not JSON (JSON-RPC 2.0 section 5.1).
    pub const PARSE_ERROR: i32 = -32700;
    /// Not a JSON-RPC 2.0 message, or not acceptable here (JSON-RPC 2.0 section 5.1).
    pub const INVALID_REQUEST: i32 = -32600;
    /// Unknown method (JSON-RPC 2.0 section 5.1).
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// Unknown tool or bad parameters (JSON-RPC 2.0 section 5.1).
    pub const INVALID_PARAMS: i32 = -32602;
    /// The session is gone, or the server is at fault (JSON-RPC 2.0 section 5.1).
    pub const INTERNAL_ERROR: i32 = -32603;
    /// Headers and body disagree, or a required header is missing (MCP 2026-07-28 streamable-http, Server Validation).
    pub const HEADER_MISMATCH: i32 = -32020;
    /// A session's messages come too fast. The server's own, of those that JSON-RPC 2.0 section 5.1 leaves to it.
    pub const TOO_FAST: i32 = -32029;
    /// The client did not declare a capability that the request needs (MCP 2026-07-28 basic/index, `_meta`).
    pub const MISSING_CLIENT_CAPABILITY: i32 = -32021;
    /// The protocol version is not served (MCP 2026-07-28 schema, `UnsupportedProtocolVersionError`).
    pub const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;

    /// An error without data.
    #[must_use]
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        let message = message.into();
        // It quotes callers, and people read it.
        let message = match escape_lines(&message) {
            Cow::Owned(escaped) => escaped,
            Cow::Borrowed(_) => message,
        };
        Self { code, message, data: None }
    }

    /// The same error with data.
    #[must_use]
    pub fn with_data(mut self, mut data: Value) -> Self {
        escape_json(&mut data);
        self.data = Some(data);
        self
    }

    /// -32600
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_REQUEST, message)
    }

    /// -32602
    #[must_use]
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_PARAMS, message)
    }

    /// -32601, naming the methods there are.
    #[must_use]
    pub fn method_not_found(method: &str, known: &[&str]) -> Self {
        let method = crate::text::shorten(method, 100);
        // In the message too: it is all that some clients show.
        Self::new(
            Self::METHOD_NOT_FOUND,
            format!("Method not found: {method}; this server answers {}", known.join(", ")),
        )
        .with_data(json!({ "method": method, "available": known }))
    }

    /// -32603 for a mistake of the server's own.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            Self::INTERNAL_ERROR,
            "Internal error: the server made a mistake; its log has the details under this response's X-Request-Id",
        )
    }

    /// -32029 for a message of a session that sends too many. `limit` is how the variable says it.
    #[must_use]
    pub fn too_fast(limit: &str, wait_ms: u32) -> Self {
        let message = format!(
            "Too many messages: this session may send {limit} (MCP_RATE_LIMIT); nothing was done: send it again in {wait_ms} ms, in \
             the same session"
        );
        Self::new(Self::TOO_FAST, message).with_data(json!({ "retryAfterMs": wait_ms, "limit": limit }))
    }

    /// -32603 when no more sessions can be made.
    #[must_use]
    pub fn too_many_sessions(why: &str) -> Self {
        let message = format!("Too many sessions: {why} and none is idle; try again later or raise MCP_MAX_SESSIONS");
        Self::new(Self::INTERNAL_ERROR, message)
    }

    /// -32022 with what is served and what was asked for.
    #[must_use]
    pub fn unsupported_version(requested: &str, served: &Served) -> Self {
        // In the message too: it is all that some clients show (MCP 2026-07-28 basic/versioning, Backward Compatibility).
        let names: Vec<&str> = served.newest_first().iter().map(|revision| revision.name()).collect();
        let message = format!("Unsupported protocol version: this server supports {}", names.join(", "));
        Self::new(Self::UNSUPPORTED_PROTOCOL_VERSION, message)
            .with_data(json!({ "supported": served.newest_first(), "requested": crate::text::shorten(requested, 100) }))
    }
}
