//! A request on its way to an answer.

use std::sync::Arc;

use crate::protocol::{Id, Meta, Params, Revision};
use crate::request::Request;
use crate::session::Session;
use crate::tools::Outbox;

/// A request on its way to an answer.
pub(super) struct Job {
    /// JSON-RPC id.
    pub id: Id,
    /// JSON-RPC method.
    pub method: String,
    /// JSON-RPC parameters.
    pub params: Params,
    /// The revision that it is answered in.
    pub revision: Revision,
    /// The session that it works on.
    pub session: Option<Arc<Session>>,
    /// The HTTP request that carried it.
    pub request: Arc<Request>,
    /// What `_meta` says of the client: in the stateless era only.
    pub client: Option<Box<Meta>>,
    /// Where notifications that belong to it go; `None` where the client cannot have them.
    pub outbox: Option<Outbox>,
}

impl Job {
    /// Whether the line of its call goes on its own stream (MCP 2026-07-28 server/utilities/logging).
    pub fn logs(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.log_level.is_some())
    }
}
