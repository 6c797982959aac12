//! The eleven tools. A tool is data and a function: [`TOOLS`] is the table, one file each.
//!
//! A tool reads its [`Context`], checks nothing that its schema already checked, and writes text and structured form
//! from the same facts. It knows neither HTTP answers nor JSON-RPC.

mod arguments;
mod call;
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
mod seen;
mod session_info;
mod streams;
mod who_is_the_goat;

use std::sync::{Arc, RwLock};

use http::HeaderMap;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

pub use call::{Call, Function, NoArguments, Ongoing, RawArguments, Run, Streaming};
pub use outbox::{Outbox, Sent};
pub use registry::{Entry, HANDLE, HOW_TO_GET_A_HANDLE, Mirrored, Registry, TTL_MS};
pub use seen::FindingCounts;

use crate::clock::Clock;
use crate::config::{Config, ResponseMode};
use crate::diagnosis::findings::{self, Facts, Family, Finding, SessionFacts};
use crate::diagnosis::forwarding::client_address;
use crate::diagnosis::jwks::KeySet;
use crate::diagnosis::{client, identity};
use crate::keys::Keys;
use crate::logging::Log;
use crate::protocol::{Meta, Params, Revision};
use crate::request::Request;
use crate::request::headers::Accept;
use crate::session::{
    Client, Clients, Committer, Full, Identity, NotKept, Record, SessionManager, Stats, TooFast, Unbound, Working, read,
};
use crate::system::System;
use crate::text::{escape_json, escape_lines};

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
    /// Reads the arguments, and says what the call is: mostly [`Call::of`] with the tool's function.
    pub call: fn(&RawArguments<'_>) -> Result<Call, ToolError>,
}

impl Tool {
    /// Whether it says something of the session as a whole: its queue, its streams, who else has tried to use it.
    #[must_use]
    pub fn looks_at_sessions(&self) -> bool {
        self.findings.contains(&Family::Session)
    }

    /// Whether it says something of the token.
    #[must_use]
    pub fn looks_at_tokens(&self) -> bool {
        self.findings.contains(&Family::Token)
    }
}

/// How a tool comes by its session in the stateless era, where there is none of the protocol's: by an argument
/// `sessionId` (MCP 2026-07-28 basic/index, Statelessness: state is referenced by an explicit identifier).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handle {
    /// It needs no session.
    None,
    /// It works on the session that the handle names.
    Reads,
    /// The same, and can do nothing without.
    Needs,
    /// The same, and without a handle a session is made for it.
    Makes,
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
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// For people, as the original has it; left out of the content when empty.
    pub text: String,
    /// Sections that come after the findings, with an empty line between two.
    pub details: String,
    /// What the verdict says where nothing is wrong: what was checked, and what was not.
    pub all_clear: String,
    /// For scripts: an object that satisfies the output schema, if there is any, as JSON text.
    pub structured: Option<Box<RawValue>>,
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
    pub fn new(text: String, facts: impl serde::Serialize) -> Self {
        // Facts are structs of texts and numbers: all of them can be written.
        Self { text, structured: to_raw_value(&facts).ok(), ..Self::default() }
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
            // What a caller wrote stands in these tools' texts, and people read them.
            let escaped = |text: &str| escape_lines(text).into_owned();
            (self.text, self.details) = (escaped(&self.text), escaped(&self.details));
            let verdict = findings::verdict(found, &self.all_clear);
            self.add_section(&findings::section(&verdict, found));
            let mut structured = self.facts();
            escape_json(&mut structured);
            structured["verdict"] = verdict.into();
            structured["findings"] = found.iter().map(Finding::to_json).collect();
            self.structured = to_raw_value(&structured).ok();
        }
        let details = std::mem::take(&mut self.details);
        self.add_section(&details);
        self
    }

    /// The structured form as a tree.
    #[must_use]
    pub fn facts(&self) -> Value {
        self.structured.as_ref().and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default()
    }

    /// One more section of the text; nothing for an empty one.
    fn add_section(&mut self, section: &str) {
        if !section.is_empty() {
            self.text += "\n\n";
            self.text += section;
        }
    }
}

/// Why a tool could not answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not satisfy the schema or a bound: one sentence for each problem.
    #[error("{}", .0.join("; "))]
    InvalidArguments(Vec<String>),
    /// The session that an argument names is not there, for this caller; one sentence.
    #[error("{0}")]
    NoSession(String),
    /// The tool works on a session and the request has none; what is not possible without.
    #[error("{0}")]
    SessionRequired(&'static str),
    /// The session cannot keep what it was given.
    #[error("{0}")]
    NotKept(#[from] NotKept),
    /// There is no room for another session.
    #[error("{0}")]
    Full(#[from] Full),
    /// The session's messages come too fast.
    #[error("the session's messages come too fast")]
    TooFast(TooFast),
    /// The client did not declare the capabilities that the tool needs: an object of them, as in `ClientCapabilities`.
    #[error("the client has not declared a capability that this tool needs")]
    CapabilityRequired(Value),
}

impl ToolError {
    /// One problem with the arguments.
    #[must_use]
    pub fn invalid(problem: impl Into<String>) -> Self {
        Self::InvalidArguments(vec![problem.into()])
    }
}

/// What tools may see of the server.
pub struct Server {
    /// Configuration.
    pub config: Arc<Config>,
    /// Time.
    pub clock: Arc<Clock>,
    /// All sessions. Never asked while a session is changed: who holds the manager's lock waits for sessions.
    pub sessions: Arc<RwLock<SessionManager>>,
    /// The issuer's keys, if a file is set.
    pub keys: Keys,
    /// This process in figures.
    pub system: Arc<System>,
    /// What is remembered of clients.
    pub clients: Arc<Clients>,
    /// How often each finding was raised.
    pub findings: Arc<FindingCounts>,
    /// What is known of the log.
    pub log: Log,
    /// Where the truth about sessions is in a store: who changes them there.
    pub committer: Option<Arc<Committer>>,
}

impl Server {
    /// A server with nothing seen yet.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        clock: Arc<Clock>,
        sessions: Arc<RwLock<SessionManager>>,
        system: Arc<System>,
    ) -> Self {
        let keys = Keys::of(&config);
        let clients = read(&sessions).clients();
        let (findings, log, committer) = (Arc::default(), Log::default(), None);
        Self { config, clock, sessions, keys, system, clients, findings, log, committer }
    }

    /// With a store that has the truth about sessions.
    #[must_use]
    pub fn with_store(self, committer: Arc<Committer>) -> Self {
        Self { committer: Some(committer), ..self }
    }

    /// With the log of the process.
    #[must_use]
    pub fn with_log(self, log: Log) -> Self {
        Self { log, ..self }
    }

    /// Who sends a request, as sessions are bound to them. Where the issuer's keys are known, a token that none of them signed
    /// binds nobody and enters nothing.
    ///
    /// # Errors
    /// Why nobody can be told.
    pub fn identity(&self, headers: &HeaderMap) -> Result<Identity, Unbound> {
        if self.config.expect.jwks.is_none() {
            return identity::caller(headers);
        }
        let now = self.clock.wall_now();
        match self.keys.current(now) {
            Some(keys) => identity::verified_caller(headers, &keys, now),
            None => identity::caller(headers),
        }
    }

    /// Who shares out with others what there is, as a number: the request's identity, else its address.
    #[must_use]
    pub fn holder(&self, request: &Request) -> u64 {
        let identity = identity::caller(&request.headers).ok();
        let address =
            || self.clients.number(format!("{:?}", client_address(&request.headers, request.peer)).as_bytes());
        identity.map_or_else(address, |identity| identity.number())
    }

    /// Which client sends a request.
    #[must_use]
    pub fn client(&self, request: &Request) -> Client {
        client::client(&self.clients, &request.headers, request.peer)
    }

    /// Figures over all sessions.
    #[must_use]
    pub fn stats(&self) -> Stats {
        read(&self.sessions).stats()
    }
}

/// All that a tool may see; the session, which it may change, comes beside it.
pub struct Context<'a> {
    /// The HTTP request that carried the call.
    pub request: &'a Request,
    /// What the call's message says.
    pub message: &'a Params,
    /// The revision the call is answered in.
    pub revision: Revision,
    /// What `_meta` says of the client, in the stateless era.
    pub client: Option<&'a Meta>,
    /// Where notifications that belong to the call go, if the client can have any.
    pub outbox: Option<&'a Outbox>,
    /// The keys that tokens are checked with, for a tool that looks at them.
    pub keys: Option<Arc<KeySet>>,
    /// The server.
    pub server: &'a Server,
    /// Figures over all sessions, as they were when the call began.
    pub stats: &'a Stats,
}

impl Context<'_> {
    /// What findings are made from.
    #[must_use]
    pub fn facts<'a>(&'a self, session: Option<&'a Working<'_>>) -> Facts<'a> {
        let Request { method, uri, headers, proxy, .. } = self.request;
        let Server { config, clock, .. } = self.server;
        let facts = Facts::new(method, uri, headers, self.revision, config, clock.wall_now())
            .with_proxy(*proxy)
            .with_keys(self.keys.as_deref())
            .with_clients(&self.server.clients, self.request.peer, clock.now());
        match session {
            Some(session) => {
                let figures = session.figures();
                facts.with_session(SessionFacts { record: &*session.record, figures, now: clock.now() })
            }
            None => facts,
        }
    }

    /// When the request's head had been read, for people.
    #[must_use]
    pub fn received_at(&self) -> jiff::Timestamp {
        self.server.clock.wall_now() - self.request.received.elapsed()
    }

    /// The client's name: from `_meta` in the stateless era, else from the session's `initialize`.
    #[must_use]
    pub fn client_name(&self, session: Option<&Record>) -> Option<String> {
        let name = match (self.client, session) {
            (Some(client), _) => &client.client_info.as_ref()?.name,
            (None, session) => &session?.client_info.name,
        };
        (!name.is_empty()).then(|| name.to_string())
    }

    /// The capabilities that the client declared.
    #[must_use]
    pub fn client_capabilities(&self, session: Option<&Record>) -> Map<String, Value> {
        match (self.client, session) {
            (Some(client), _) => client.client_capabilities.to_map(),
            (None, Some(record)) => record.client_capabilities.to_map(),
            (None, None) => Map::new(),
        }
    }

    /// Why no progress of this call can reach its client, where none can. Clients end a call after a time of their own (60 s
    /// in the TypeScript SDK) unless progress comes.
    #[must_use]
    pub fn without_progress(&self) -> Option<&'static str> {
        let accepts = Accept::of(&self.request.headers).accepts;
        match self.message.meta().get("progressToken") {
            None | Some(Value::Null) => Some(
                "no progressToken came, so no progress can keep the client's time-out off (_meta has none; the TypeScript SDK \
                 sends one only where onprogress is given, resetTimeoutOnProgress alone does nothing)",
            ),
            Some(_) if self.message.progress_token().is_none() => Some(
                "the progressToken in _meta is neither a string nor a number, so no progress can keep the client's time-out off",
            ),
            Some(_) if !accepts.sse => Some(
                "a progressToken came, but Accept allows no text/event-stream: nothing can be sent before the answer, so no \
                 progress can keep the client's time-out off",
            ),
            Some(_) if accepts.json && self.server.config.response == ResponseMode::Json => Some(
                "a progressToken came, but MCP_ECHO_RESPONSE=json: nothing can be sent before the answer, so no progress can \
                 keep the client's time-out off",
            ),
            Some(_) => None,
        }
    }

    /// Tells the client how far the call is, if it asked (`_meta.progressToken`) and can be told. `progress` must grow
    /// from one call to the next (MCP basic/utilities/progress). A client too slow to read misses some.
    pub fn progress(&self, progress: u64, total: u64, message: &str) {
        let (Some(token), Some(outbox)) = (self.message.progress_token(), self.outbox) else { return };
        let mut params = json!({ "progressToken": token, "progress": progress, "total": total });
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
