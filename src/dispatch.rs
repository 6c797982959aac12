//! From a method to what it does. Knows no HTTP and no lock.
//!
//! Most calls are answered in one go, without a future: [`Begun::Done`]. Those that may take their time are handed back
//! before their tool begins, for the caller to bound and to cancel them.

mod call;
mod result;

pub use call::{Begun, Waiting};

use std::sync::{Arc, RwLock};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{Config, SessionBinding};
use crate::diagnosis::cors::Preflights;
use crate::diagnosis::findings::{self, Finding, FindingCounts, Severity};
use crate::diagnosis::forwarding::client_address;
use crate::diagnosis::identity;
use crate::protocol::{
    Capabilities, ClientInfo, INSTRUCTIONS, Id, LogLevel, Meta, Params, Revision, RpcError, message, notice,
    server_info, server_meta,
};
use crate::request::Request;
use crate::session::{self, Identity, Missing, NewSession, Session, SessionManager};
use crate::system::System;
use crate::text::{did_you_mean, shorten};
use crate::tools::{Entry, Outbox, Registry, TTL_MS};

/// The methods of the handshake era that are answered.
const METHODS: &[&str] = &["initialize", "ping", "tools/list", "tools/call", "logging/setLevel"];

/// The methods of the stateless era that are answered.
const STATELESS_METHODS: &[&str] = &["server/discover", "tools/list", "tools/call", "subscriptions/listen"];

/// The longest `_meta.progressToken`, in bytes: every progress notification repeats it. Clients count, or send UUIDs.
const MAX_PROGRESS_TOKEN: usize = 1024;

/// Everything that answering a message takes, shared by all requests.
pub struct Engine {
    /// Configuration.
    pub config: Arc<Config>,
    /// Time.
    pub clock: Arc<Clock>,
    /// All sessions.
    pub sessions: Arc<RwLock<SessionManager>>,
    /// The tools.
    pub tools: Registry,
    /// This process in figures.
    pub system: Arc<System>,
    /// How often each finding was raised.
    pub findings: FindingCounts,
    /// The last preflight that came.
    pub preflights: Preflights,
}

/// A request on its way to an answer.
pub struct Job {
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

impl Engine {
    /// Answers a request other than `initialize`, or has its call begin: [`Engine::finish`] answers that.
    pub fn begin(&self, job: Job) -> Begun {
        Begun::Done(match (job.method.as_str(), job.revision.is_stateless()) {
            ("tools/call", _) => return self.begin_call(job),
            ("tools/list", _) => self.list_tools(&job),
            ("ping", false) => Ok(message::result(&job.id, b"{}")),
            ("logging/setLevel", false) => set_log_level(&job),
            ("server/discover", true) => Ok(message::result(&job.id, self.discover().as_bytes())),
            (method, stateless) => Err(unknown_method(method, stateless)),
        })
    }

    fn list_tools(&self, job: &Job) -> Result<Vec<u8>, RpcError> {
        match job.params.get("cursor") {
            None | Some(Value::Null) => Ok(message::result(&job.id, &self.tools.list(job.revision))),
            Some(_) => Err(RpcError::invalid_params(
                "Invalid cursor: all tools are on one page and no cursor is ever issued; leave it out",
            )),
        }
    }

    /// The tool that a call names.
    ///
    /// # Errors
    /// -32602 with the names there are.
    pub fn tool(&self, params: &Params) -> Result<&Entry, RpcError> {
        let available = || json!({ "available": self.tools.names() });
        match params.get("name") {
            Some(Value::String(name)) => self.tools.get(name).ok_or_else(|| {
                let guess = did_you_mean(name, &self.tools.names());
                RpcError::invalid_params(format!("Unknown tool: {}{guess}", shorten(name, 100))).with_data(available())
            }),
            _ => {
                Err(RpcError::invalid_params("Invalid params: \"name\" must be the name of a tool")
                    .with_data(available()))
            }
        }
    }

    /// Counts findings. The first of its kind in a session (without one: on this server) is logged, and queued where it is
    /// more than worth knowing.
    pub fn note(&self, found: &[Finding], session: Option<&Arc<Session>>) {
        for finding in found {
            let first_here = self.findings.count(finding.rule);
            let first =
                session.map_or(first_here, |session| session.change(|working| working.note_finding(finding.rule.id)));
            if !first {
                continue;
            }
            let (id, severity) = (finding.rule.id, finding.rule.severity);
            if severity == Severity::Info {
                tracing::info!(finding = id, "{}: {}; to do: {}", id, finding.summary, finding.fix);
                continue;
            }
            tracing::warn!(finding = id, "{}: {}; to do: {}", id, finding.summary, finding.fix);
            if let Some(session) = session {
                let params = || json!({ "level": LogLevel::Warning, "logger": "findings", "data": finding.to_json() });
                session.change(|working| working.log(LogLevel::Warning, || notice::log(&params())));
            }
        }
    }

    /// Notes why there is no session `id` for a request, where an operator should know.
    pub fn note_missing(&self, id: Uuid, missing: Missing) {
        match missing {
            Missing::Elsewhere { maker, here, replica } => {
                self.note(&[findings::session::other_replica(maker, here, replica)], None);
            }
            Missing::NotYours { anonymous } => {
                let who = if anonymous { "a request without identity" } else { "another identity" };
                tracing::warn!(session = session::prefix(id), "{who} tried a session that is bound to someone else");
            }
            Missing::Unknown | Missing::Ended { .. } => {}
        }
    }

    /// Evicts sessions while all together hold more memory than they may.
    pub fn evict_for_memory(&self) {
        session::evict_for_memory(&self.sessions, 0);
    }

    /// Whose a new session is, where sessions are bound.
    fn owner(&self, request: &Request) -> Option<Identity> {
        match self.config.session_binding {
            SessionBinding::User => identity::caller(&request.headers),
            SessionBinding::Off => None,
        }
    }

    /// The result of `server/discover` (MCP 2026-07-28 server/discover).
    fn discover(&self) -> String {
        let result = json!({
            "resultType": "complete",
            "supportedVersions": self.config.protocol.newest_first(),
            // A server that sends log messages must declare so, also where `_meta` has to ask for them (server/utilities/logging).
            "capabilities": { "logging": {}, "tools": {} },
            "instructions": INSTRUCTIONS,
            "ttlMs": TTL_MS,
            "cacheScope": "public",
            "_meta": server_meta(),
        });
        result.to_string()
    }

    /// Reads the parameters of `initialize`: what the new session is made of.
    ///
    /// # Errors
    /// -32602 with everything that is wrong.
    pub fn read_initialize(&self, params: &Params, request: &Request) -> Result<NewSession, RpcError> {
        let mut problems = Vec::new();
        let asked = params.get("protocolVersion").and_then(Value::as_str);
        let Some(protocol_version) = self.config.protocol.negotiate(asked.unwrap_or_default()) else {
            // MCP 2026-07-28 basic/versioning: a server without handshake revisions should name what it has.
            return Err(RpcError::unsupported_version(asked.unwrap_or_default(), &self.config.protocol));
        };
        if asked.is_none() {
            problems.push("`protocolVersion` is required: a string such as \"2025-06-18\"".to_owned());
        }
        let capabilities = params.get("capabilities").filter(|value| value.is_object());
        if capabilities.is_none() {
            problems.push("`capabilities` is required: an object, {} if the client has none".to_owned());
        }
        let client_info = params.get("clientInfo").and_then(ClientInfo::read);
        if client_info.is_none() {
            problems.push("`clientInfo` is required: an object with the strings `name` and `version`".to_owned());
        }
        if !problems.is_empty() {
            return Err(RpcError::invalid_params(format!("Invalid params for initialize: {}", problems.join("; ")))
                .with_data(json!({ "problems": problems })));
        }
        Ok(NewSession {
            protocol_version,
            client_info: client_info.unwrap_or_default(),
            client_capabilities: capabilities.map(Capabilities::keep).unwrap_or_default(),
            owner: self.owner(request),
            address: client_address(&request.headers, request.peer),
        })
    }

    /// The result of `initialize` at `revision`.
    #[must_use]
    pub fn initialize_result(&self, revision: Revision) -> String {
        let result = json!({
            "protocolVersion": revision,
            "capabilities": { "logging": {}, "tools": {} },
            "serverInfo": server_info(revision),
            "instructions": INSTRUCTIONS,
        });
        result.to_string()
    }
}

/// -32601 for a method that the era does not have.
#[must_use]
pub fn unknown_method(method: &str, stateless: bool) -> RpcError {
    RpcError::method_not_found(method, if stateless { STATELESS_METHODS } else { METHODS })
}

fn set_log_level(job: &Job) -> Result<Vec<u8>, RpcError> {
    let level = job.params.get("level").and_then(Value::as_str).and_then(LogLevel::named).ok_or_else(|| {
        let names = LogLevel::ALL.map(LogLevel::name);
        RpcError::invalid_params(format!("Invalid params: \"level\" must be one of {}", names.join(", ")))
            .with_data(json!({ "available": names }))
    })?;
    let Some(session) = &job.session else {
        return Err(RpcError::invalid_params(
            "Session required for logging/setLevel: log messages are queued per session; POST initialize first",
        ));
    };
    session.change(|working| working.set_log_level(level));
    Ok(message::result(&job.id, b"{}"))
}
