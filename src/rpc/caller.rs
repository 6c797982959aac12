//! Who sends a message, as far as the transport tells.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::AUTHORIZATION;

use crate::diagnosis::forwarding::client_address;
use crate::protocol::{Revision, RpcError, Served};
use crate::request::Request;
use crate::request::headers::{self, Accept, Accepts, SessionHeader};
use crate::session::Client;
use crate::session::history::{Entry, Kind, token_hash};
use crate::tools::Server;

/// The caller's facts.
pub struct Caller<'a> {
    /// The HTTP request that carried the message, or that opened the connection which did.
    pub request: &'a Arc<Request>,
    /// The session that it names.
    pub session: SessionHeader,
    /// Whether anything can reach it before the answer.
    pub streams: bool,
    /// Whether it takes a stream where there is no other form.
    pub subscribes: bool,
    /// Whether it has to repeat in headers what its message says (MCP 2026-07-28 streamable-http, Standard Request Headers).
    pub mirrors: bool,
    lists: Accepts,
    version: Option<Cow<'a, str>>,
}

impl<'a> Caller<'a> {
    /// Of an HTTP request that accepts these forms of an answer. `streams`: whether it may be a stream.
    #[must_use]
    pub fn of_http(request: &'a Arc<Request>, accept: Accept, streams: bool) -> Self {
        Self {
            request,
            session: headers::session_id(&request.headers),
            streams,
            subscribes: accept.accepts.sse,
            lists: accept.lists,
            mirrors: true,
            version: headers::protocol_version(&request.headers),
        }
    }

    /// What `MCP-Protocol-Version` says, whether it is served or not; `None` when absent or empty.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The revision that `MCP-Protocol-Version` names.
    ///
    /// # Errors
    /// -32022 when it names one that is not served, or several.
    pub fn served_version(&self, served: &Served) -> Result<Option<Revision>, RpcError> {
        let Some(text) = self.version() else { return Ok(None) };
        served.get(text).map(Some).ok_or_else(|| RpcError::unsupported_version(text, served))
    }

    /// Which client it is.
    pub(super) fn client(&self, server: &Server) -> Client {
        server.client(self.request)
    }

    /// What a session keeps of a request of this caller.
    pub(super) fn entry(&self, kind: Kind, version: Option<Revision>) -> Entry {
        let headers = &self.request.headers;
        Entry {
            kind,
            authorization: headers.get(AUTHORIZATION).map(|value| token_hash(value.as_bytes())),
            user: None,
            address: client_address(headers, self.request.peer),
            version,
            lists_json: self.lists.json,
            lists_sse: self.lists.sse,
        }
    }
}
