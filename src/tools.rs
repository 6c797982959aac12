//! The eleven tools. A tool is data and a function: [`TOOLS`] is the table, one file each.
//!
//! A tool reads its [`Context`], checks nothing that its schema already checked, and writes text and structured form
//! from the same facts. It knows neither HTTP answers nor JSON-RPC.

mod arguments;
mod bearer_decode;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

pub use arguments::Arguments;

use crate::clock::Clock;
use crate::config::Config;
use crate::protocol::Revision;
use crate::request::Request;
use crate::session::Session;

/// A tool: what clients are told of it, and what it does.
pub struct Tool {
    /// Name on the wire.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// What it does and when to use it, for people and models.
    pub description: &'static str,
    /// JSON Schema 2020-12 of the arguments: an object with `additionalProperties: false`.
    pub input_schema: fn() -> Value,
    /// JSON Schema 2020-12 of the structured content.
    pub output_schema: fn() -> Value,
    /// Hints for clients.
    pub annotations: Annotations,
    /// What it does.
    pub run: Run,
}

/// How a tool runs.
#[derive(Clone, Copy)]
pub enum Run {
    /// Answers at once.
    Now(fn(&Context<'_>, &Arguments) -> Result<Outcome, ToolError>),
    /// May take its time; dropped when the call is cancelled.
    Later(for<'a> fn(&'a Context<'a>, &'a Arguments) -> BoxFuture<'a, Result<Outcome, ToolError>>),
}

/// Tool annotations (2025-03-26 and later, schema `ToolAnnotations`). No tool here reaches outside the server.
#[derive(Debug, Clone, Copy)]
pub struct Annotations {
    /// Does not modify its environment.
    pub read_only: bool,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent: bool,
}

impl Annotations {
    /// For tools that only look.
    pub const READ_ONLY: Self = Self { read_only: true, idempotent: true };

    /// As listed.
    #[must_use]
    pub fn to_json(self, title: &str) -> Value {
        json!({
            "title": title,
            "readOnlyHint": self.read_only,
            "destructiveHint": false,
            "idempotentHint": self.idempotent,
            "openWorldHint": false,
        })
    }
}

/// What a tool found: the same facts twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// For people.
    pub text: String,
    /// For scripts: an object that satisfies the output schema.
    pub structured: Value,
}

/// Why a tool could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not satisfy the schema or a bound: one sentence for each problem.
    #[error("{}", .0.join("; "))]
    InvalidArguments(Vec<String>),
    /// The tool works on a session and the request has none.
    #[error("{0}")]
    SessionRequired(&'static str),
}

/// All that a tool may see.
pub struct Context<'a> {
    /// The HTTP request that carried the call.
    pub request: &'a Request,
    /// The session of the call, if it has one.
    pub session: Option<&'a Arc<Session>>,
    /// The revision the call is answered in.
    pub revision: Revision,
    /// Configuration.
    pub config: &'a Config,
    /// Time.
    pub clock: &'a Clock,
}

/// All tools, in the order of `tools/list`.
pub const TOOLS: &[Tool] = &[];
