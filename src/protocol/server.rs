//! What the server says of itself.

use serde_json::{Value, json};

use super::Revision;
use super::meta::META_SERVER_INFO;

/// The package's name: `serverInfo.name`.
pub const SERVER_NAME: &str = env!("CARGO_PKG_NAME");
/// `serverInfo.title`, for the revisions that have it.
pub const SERVER_TITLE: &str = "MCP Echo (stateful)";
/// The crate's version: `serverInfo.version`.
pub const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// `instructions`: what a model should know before it calls a tool.
pub const INSTRUCTIONS: &str = "Diagnostic server: call bearerDecode and authContext for a token or login that does not \
work, printHeader for what the proxy sends, corsAnalysis for browser clients, sessionInfo and replayLastEcho for sessions, \
requestTiming and healthProbe for the server itself.";

/// `serverInfo` (schema `Implementation`) at `revision`.
#[must_use]
pub fn server_info(revision: Revision) -> Value {
    let mut info = json!({ "name": SERVER_NAME });
    if revision.has_titles() {
        info["title"] = SERVER_TITLE.into();
    }
    info["version"] = SERVER_VERSION.into();
    info
}

/// `_meta` of every result of the stateless era (MCP 2026-07-28 basic/index, Per-response protocol fields).
#[must_use]
pub fn server_meta() -> Value {
    json!({ META_SERVER_INFO: server_info(Revision::NEWEST) })
}
