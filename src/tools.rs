//! The eleven tools. A tool is data and a function: [`TOOLS`] is the table, one file each.
//!
//! A tool reads its [`Context`], checks nothing that its schema already checked, and writes text and structured form
//! from the same facts. It knows neither HTTP answers nor JSON-RPC.

mod arguments;
mod registry;

mod auth_context;
mod bearer_decode;
mod cors_analysis;
mod echo;
mod environment_dump;
#[cfg(test)]
mod fixture;
mod health_probe;
mod outbox;
mod print_header;
mod replay_last_echo;
mod request_timing;
mod session_info;
mod who_is_the_goat;

use std::sync::{Arc, RwLock};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

pub use arguments::Arguments;
pub use outbox::{Outbox, Outgoing};
pub use registry::{Entry, HANDLE, Mirrored, Registry, TTL_MS};

use crate::clock::Clock;
use crate::config::Config;
use crate::diagnosis::cors::Preflights;
use crate::diagnosis::findings::{self, Facts, Family, Finding, FindingCounts};
use crate::object::object;
use crate::protocol::{LogLevel, Meta, Revision};
use crate::request::Request;
use crate::session::{Full, Session, SessionGuard, SessionManager};
use crate::system::System;

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
    /// Whether it works on a session, and so takes a handle in the stateless era.
    pub handle: Handle,
    /// The families of findings that its answer shows.
    pub findings: &'static [Family],
    /// What it does.
    pub run: Run,
}

/// How a tool comes by its session in the stateless era, where there is none of the protocol's: by an argument
/// `sessionId` (MCP 2026-07-28 basic/index, Statelessness: state is referenced by an explicit identifier).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handle {
    /// It needs no session.
    None,
    /// It works on the session that the handle names.
    Reads,
    /// The same, and without a handle it makes a session.
    Makes,
}

/// What a tool does at once.
pub type Now = fn(&Context<'_>, &Arguments) -> Result<Outcome, ToolError>;

/// What a tool does that may take its time; dropped when the call is cancelled.
pub type Later = for<'a> fn(&'a Context<'a>, &'a Arguments) -> BoxFuture<'a, Result<Outcome, ToolError>>;

/// How a tool runs.
#[derive(Clone, Copy)]
pub enum Run {
    /// At once.
    Now(Now),
    /// It may take its time.
    Later(Later),
    /// At once, unless its arguments ask it to wait.
    Either {
        /// Whether they do.
        waits: fn(&Arguments) -> bool,
        /// What it does where they do not.
        now: Now,
        /// What it does where they do.
        later: Later,
    },
}

/// How a call runs.
#[derive(Clone, Copy)]
pub enum Way {
    /// At once.
    Now(Now),
    /// It may take its time.
    Later(Later),
}

impl Run {
    /// How a call with these arguments runs.
    #[must_use]
    pub fn way(self, arguments: &Arguments) -> Way {
        match self {
            Self::Now(now) => Way::Now(now),
            Self::Later(later) => Way::Later(later),
            Self::Either { waits, now, later } => {
                if waits(arguments) {
                    Way::Later(later)
                } else {
                    Way::Now(now)
                }
            }
        }
    }
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
        object! {
            "title": title,
            "readOnlyHint": self.read_only,
            "destructiveHint": false,
            "idempotentHint": self.idempotent,
            "openWorldHint": false,
        }
    }
}

/// What a tool found: the same facts twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// For people, as the original has it; left out of the content when empty.
    pub text: String,
    /// Sections that come after the findings, with an empty line between two.
    pub details: String,
    /// What the verdict says where nothing is wrong: what was checked, and what was not.
    pub all_clear: String,
    /// For scripts: an object that satisfies the output schema; none by default.
    pub structured: Structured,
    /// Further content blocks, as the protocol writes them (schema `ContentBlock`).
    pub content: Vec<Value>,
    /// Whether the tool failed at its work.
    pub is_error: bool,
    /// What the tool itself found wrong; where `None`, the tool's families look at the request.
    pub findings: Option<Vec<Finding>>,
}

impl Outcome {
    /// Text and structured form of the same facts.
    #[must_use]
    pub fn new(text: String, structured: impl Into<Structured>) -> Self {
        Self { text, structured: structured.into(), ..Self::default() }
    }

    /// With what the verdict says where nothing is wrong, and the sections that come after the findings.
    #[must_use]
    pub fn with(mut self, all_clear: impl Into<String>, details: impl Into<String>) -> Self {
        (self.all_clear, self.details) = (all_clear.into(), details.into());
        self
    }

    /// As it is answered: the text, verdict and findings, the details.
    #[must_use]
    pub fn concluded(mut self, found: Option<&[Finding]>) -> Self {
        if let Some(found) = found {
            let verdict = findings::verdict(found, &self.all_clear);
            self.add_section(&findings::section(&verdict, found));
            let mut structured = self.structured.into_tree();
            structured["verdict"] = verdict.into();
            structured["findings"] = found.iter().map(Finding::to_json).collect();
            self.structured = structured.into();
        }
        let details = std::mem::take(&mut self.details);
        self.add_section(&details);
        self
    }

    fn add_section(&mut self, section: &str) {
        if !section.is_empty() {
            self.text += "\n\n";
            self.text += section;
        }
    }
}

/// What a tool found, for scripts.
#[derive(Debug, Clone, PartialEq)]
pub enum Structured {
    /// As a tree; `null` for nothing.
    Tree(Value),
    /// As JSON, which a tool wrote itself that is called so often that a tree would cost too much: an object.
    Written(Vec<u8>),
}

impl Structured {
    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::Tree(Value::Null))
    }

    /// As a tree.
    #[must_use]
    pub fn into_tree(self) -> Value {
        match self {
            Self::Tree(tree) => tree,
            Self::Written(json) => serde_json::from_slice(&json).unwrap_or_default(),
        }
    }
}

impl Default for Structured {
    fn default() -> Self {
        Self::Tree(Value::Null)
    }
}

impl From<Value> for Structured {
    fn from(tree: Value) -> Self {
        Self::Tree(tree)
    }
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
    /// There is no room for another session.
    #[error("{0}")]
    Full(#[from] Full),
    /// The client did not declare the capabilities that the tool needs: an object of them, as in `ClientCapabilities`.
    #[error("the client has not declared a capability that this tool needs")]
    CapabilityRequired(Value),
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
    /// All sessions, for figures over them.
    pub sessions: &'a RwLock<SessionManager>,
    /// This process in figures.
    pub system: &'a System,
    /// How often each finding was raised on this server.
    pub finding_counts: &'a FindingCounts,
    /// The last preflight that came.
    pub preflights: &'a Preflights,
    /// `_meta` of the call's parameters.
    pub meta: Option<&'a Map<String, Value>>,
    /// What `_meta` says of the client, in the stateless era.
    pub client: Option<&'a Meta>,
    /// Makes a session for a call of the stateless era that came without a handle.
    pub new_session: Option<&'a (dyn Fn() -> Result<SessionGuard, Full> + Send + Sync)>,
    /// Where notifications that belong to the call go, if the client can have any.
    pub outbox: Option<&'a Outbox>,
    /// Tool calls in the session so far, this one included.
    pub tool_calls: u64,
}

impl Context<'_> {
    /// Calls `look` with the facts that findings are made from.
    pub fn with_facts<T>(&self, look: impl FnOnce(&Facts<'_>) -> T) -> T {
        let owner = self.session.and_then(|session| session.owner());
        look(&Facts {
            method: &self.request.method,
            uri: &self.request.uri,
            headers: &self.request.headers,
            revision: self.revision,
            config: self.config,
            owner,
            now: self.clock.wall_now(),
        })
    }

    /// What the given families find wrong with this request and its session, worst first.
    #[must_use]
    pub fn findings(&self, families: &[Family]) -> Vec<Finding> {
        self.with_facts(|facts| {
            let mut found = findings::of_request(facts, families);
            if let Some(session) = self.session.filter(|_| families.contains(&Family::Session)) {
                let lost = session.figures().dropped;
                let around = findings::session::Around { facts: Some(facts), now: self.clock.now(), lost };
                found.extend(session.with_record(|record| findings::session::of_session(record, around)));
            }
            findings::sort(&mut found);
            found
        })
    }

    /// A log line of the call itself, on the call's own stream, if the client can and wants to have it: in the handshake
    /// era by the session's level, in the stateless era only where `_meta` asks for it.
    pub fn log(&self, level: LogLevel, logger: &str, data: &Value) {
        let wanted = match (self.revision.is_stateless(), self.session) {
            (true, _) => self.client.and_then(|client| client.log_level),
            (false, Some(session)) => Some(session.with_record(|record| record.log_level)),
            (false, None) => Some(LogLevel::default()),
        };
        if let (Some(outbox), Some(least)) = (self.outbox, wanted)
            && level >= least
        {
            let params = object! { "level": level, "logger": logger, "data": data };
            outbox.send(crate::protocol::message::notification("notifications/message", &params));
        }
    }

    /// Lets go of the call's connection, so that a long call does not hold it: the client gets an event id and comes back for
    /// the answer with a GET (SEP-1699 in 2025-11-25 basic/transports, Sending Messages). Nothing happens where the
    /// revision does not have that, the call has no session, or its answer is no stream.
    pub fn suspend(&self) {
        if let (Some(outbox), Some(_), true) = (self.outbox, self.session, self.revision.has_primed_streams()) {
            outbox.suspend();
        }
    }

    /// The client's name: from `_meta` in the stateless era, else from the session's `initialize`.
    #[must_use]
    pub fn client_name(&self) -> Option<String> {
        let name = match (self.client, self.session) {
            (Some(client), _) => client.client_info.as_ref()?.name.to_string(),
            (None, session) => session?.with_record(|record| record.client_info.name.to_string()),
        };
        (!name.is_empty()).then_some(name)
    }

    /// The capabilities that the client declared.
    #[must_use]
    pub fn client_capabilities(&self) -> Map<String, Value> {
        match (self.client, self.session) {
            (Some(client), _) => client.client_capabilities.clone(),
            (None, Some(session)) => match session.with_record(|record| record.client_capabilities.to_value()) {
                Value::Object(capabilities) => capabilities,
                _ => Map::new(),
            },
            (None, None) => Map::new(),
        }
    }

    /// Tells the client how far the call is, if it asked (`_meta.progressToken`) and can be told. `progress` must grow
    /// from one call to the next (MCP basic/utilities/progress). A client too slow to read misses some.
    pub fn progress(&self, progress: u64, total: u64, message: &str) {
        let token = self.meta.and_then(|meta| meta.get("progressToken"));
        let (Some(token), Some(outbox)) = (token.filter(|t| t.is_string() || t.is_number()), self.outbox) else {
            return;
        };
        let mut params = object! { "progressToken": token, "progress": progress, "total": total };
        if self.revision.has_progress_messages() {
            params["message"] = message.into();
        }
        outbox.send(crate::protocol::message::notification("notifications/progress", &params));
    }
}

/// All tools, in the order of `tools/list`.
pub const TOOLS: &[Tool] = &[
    echo::TOOL,
    replay_last_echo::TOOL,
    print_header::TOOL,
    bearer_decode::TOOL,
    auth_context::TOOL,
    request_timing::TOOL,
    cors_analysis::TOOL,
    environment_dump::TOOL,
    health_probe::TOOL,
    session_info::TOOL,
    who_is_the_goat::TOOL,
];
