//! From a method to what it does. Knows no HTTP and no lock.

use std::sync::{Arc, LazyLock, RwLock};
use std::time::Instant;

use bytes::Bytes;
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{Config, SessionBinding};
use crate::diagnosis::cors::Preflights;
use crate::diagnosis::findings::{self, Finding, FindingCounts, Severity};
use crate::diagnosis::forwarding::client_address;
use crate::diagnosis::identity;
use crate::protocol::{
    Capabilities, ClientInfo, INSTRUCTIONS, Id, LogLevel, Meta, Notice, Params, Revision, RpcError, server_info,
    server_meta,
};
use crate::request::Request;
use crate::session::{self, Full, Identity, Missing, NewSession, Session, SessionManager, Visit};
use crate::system::System;
use crate::text::{did_you_mean, shorten};
use crate::tools::{Context, Entry, HANDLE, Handle, Outbox, Outcome, Registry, TTL_MS, ToolError};

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
    pub client: Option<Meta>,
    /// Where notifications that belong to it go; `None` where the client cannot have them.
    pub outbox: Option<Outbox>,
}

impl Engine {
    /// Answers a request other than `initialize`: the result as JSON.
    ///
    /// # Errors
    /// The JSON-RPC error to answer with.
    pub async fn answer(&self, job: Job) -> Result<Bytes, RpcError> {
        match (job.method.as_str(), job.revision.is_stateless()) {
            ("tools/list", _) => self.list_tools(&job),
            ("tools/call", _) => self.call_tool(job).await,
            ("ping", false) => Ok(Bytes::from_static(b"{}")),
            ("logging/setLevel", false) => set_log_level(&job),
            ("server/discover", true) => Ok(self.discover()),
            (method, stateless) => Err(unknown_method(method, stateless)),
        }
    }

    fn list_tools(&self, job: &Job) -> Result<Bytes, RpcError> {
        match job.params.get("cursor") {
            None | Some(Value::Null) => Ok(self.tools.list(job.revision)),
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

    async fn call_tool(&self, mut job: Job) -> Result<Bytes, RpcError> {
        let entry = self.tool(&job.params)?;
        let token = job.params.get("_meta").and_then(|meta| meta.get("progressToken")).and_then(Value::as_str);
        if token.is_some_and(|token| token.len() > MAX_PROGRESS_TOKEN) {
            return Err(RpcError::invalid_params(format!(
                "Invalid params: `_meta.progressToken` is longer than {MAX_PROGRESS_TOKEN} bytes; use a number or a short \
                 string"
            )));
        }
        let arguments = match job.params.remove("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err(RpcError::invalid_params("Invalid params: \"arguments\" must be an object")),
        };
        let started = Instant::now();
        let outcome = self.run_tool(entry, arguments, &job).await;
        tell_finished(entry, &job, started, outcome.is_err() || outcome.as_ref().is_ok_and(|o| o.is_error));
        let crowded = match &job.session {
            Some(session) => session.is_crowded(),
            None => job.revision.is_stateless() && session::read(&self.sessions).is_crowded(),
        };
        if crowded {
            self.shed_sessions();
        }
        match outcome {
            Ok(outcome) => Ok(result(&outcome, job.revision)),
            Err(error) => refuse(entry.name(), &error, job.revision),
        }
    }

    async fn run_tool(&self, entry: &Entry, arguments: Map<String, Value>, job: &Job) -> Result<Outcome, ToolError> {
        let mut visit = None;
        let tool_calls = job.session.as_ref().map_or(0, |session| session.count_tool_call());
        let arguments = entry.check(arguments, job.revision)?;
        if let Some(handle) = arguments.str(HANDLE).filter(|_| entry.handle() != Handle::None) {
            visit = Some(self.enter_by_handle(handle, &job.request)?);
        }
        let tool_calls = visit.as_ref().map_or(tool_calls, |visit: &Visit| visit.session().count_tool_call());
        let make = || self.make_session(job);
        let context = Context {
            request: &job.request,
            session: visit.as_ref().map(Visit::session).or(job.session.as_ref()),
            revision: job.revision,
            config: &self.config,
            clock: &self.clock,
            sessions: &self.sessions,
            system: &self.system,
            finding_counts: &self.findings,
            preflights: &self.preflights,
            meta: job.params.get("_meta").and_then(Value::as_object),
            client: job.client.as_ref(),
            new_session: (entry.handle() == Handle::Makes && job.revision.is_stateless()).then_some(&make),
            outbox: job.outbox.as_ref(),
            tool_calls,
        };
        let mut outcome = entry.run(&context, &arguments).await?;
        // Deleted while the call took its time: what it did there is gone.
        if let Some(reason) = visit.as_ref().and_then(|visit| visit.session().ended()) {
            return Err(no_session(format!(" (it was {})", reason.name())));
        }
        if !entry.families().is_empty() && outcome.structured.is_object() {
            let found = outcome.findings.take().unwrap_or_else(|| context.findings(entry.families()));
            self.note(&found, context.session);
            outcome.text += &findings::section(&found);
            outcome.structured["findings"] = found.iter().map(Finding::to_json).collect();
        }
        Ok(outcome)
    }

    /// Counts findings. The first of its kind in a session (without one: on this server) is logged, and queued where it is
    /// more than worth knowing.
    pub fn note(&self, found: &[Finding], session: Option<&Arc<Session>>) {
        for finding in found {
            let first_here = self.findings.count(finding.rule);
            let first = session.map_or(first_here, |session| session.note_finding(finding.rule.id));
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
                session.log(LogLevel::Warning, || Notice::log(&params()));
            }
        }
    }

    /// Enters the session that a handle names, for its caller.
    fn enter_by_handle(&self, handle: &str, request: &Request) -> Result<Visit, ToolError> {
        // To the letter, as in Mcp-Session-Id: another spelling would be routed to another server.
        let id = Uuid::try_parse(handle).ok().filter(|id| id.hyphenated().to_string() == handle);
        // Before the lock: it may mean to decode a token of tens of kilobytes.
        let caller = identity::caller(&request.headers);
        let missing = match id {
            Some(id) => match session::read(&self.sessions).enter(id, || caller) {
                Ok(mut visit) => {
                    tracing::Span::current().record("session", handle.get(..8));
                    visit.count_requests(1);
                    return Ok(visit);
                }
                Err(missing) => {
                    self.note_missing(id, missing);
                    missing
                }
            },
            None => Missing::Unknown,
        };
        Err(no_session(match missing {
            Missing::Ended { reason, .. } => format!(" (it was {})", reason.name()),
            Missing::Elsewhere { maker, here, replica } => {
                let finding = findings::session::other_replica(maker, here, replica);
                format!(" ({}: made by instance {maker}, this is {here})", finding.summary)
            }
            Missing::Unknown | Missing::NotYours { .. } => String::new(),
        }))
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

    /// Makes a session for a call of the stateless era.
    fn make_session(&self, job: &Job) -> Result<Visit, Full> {
        let client = job.client.as_ref();
        let new = NewSession {
            protocol_version: job.revision,
            client_info: client.and_then(|client| client.client_info.clone()).unwrap_or_default(),
            client_capabilities: client
                .map(|client| Capabilities::keep(&Value::Object(client.client_capabilities.clone())))
                .unwrap_or_default(),
            owner: self.owner(&job.request),
            address: None,
        };
        let bound = new.owner.is_some();
        let created = session::write(&self.sessions).create(new);
        let (mut visit, evicted) = created?;
        visit.count_requests(1);
        visit.session().count_tool_call();
        let id = session::prefix(visit.session().id());
        if let Some(evicted) = evicted {
            tracing::warn!(session = session::prefix(evicted.id()), "the longest-idle session gave way to a new one");
        }
        tracing::info!(session = id, revision = %job.revision, bound, "session created");
        Ok(visit)
    }

    /// Has sessions give way while all together hold more memory than they may.
    pub fn shed_sessions(&self) {
        session::shed_and_tell(&self.sessions, 0);
    }

    /// Whose a new session is, where sessions are bound.
    fn owner(&self, request: &Request) -> Option<Identity> {
        match self.config.session_binding {
            SessionBinding::User => identity::caller(&request.headers),
            SessionBinding::Off => None,
        }
    }

    /// The result of `server/discover` (MCP 2026-07-28 server/discover).
    fn discover(&self) -> Bytes {
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
        Bytes::from(result.to_string())
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
    pub fn initialize_result(&self, revision: Revision) -> Bytes {
        let result = json!({
            "protocolVersion": revision,
            "capabilities": { "logging": {}, "tools": {} },
            "serverInfo": server_info(revision),
            "instructions": INSTRUCTIONS,
        });
        Bytes::from(result.to_string())
    }
}

/// One `info` line for each finished call: queued in the session, or in the stateless era on the call's own stream
/// where `_meta` asks for it.
fn tell_finished(entry: &Entry, job: &Job, started: Instant, is_error: bool) {
    let notice = || Notice::call_finished(entry.name(), &job.id, started.elapsed(), is_error);
    match (&job.session, &job.client, &job.outbox) {
        (Some(session), ..) => session.log(Notice::FINISHED, notice),
        (None, Some(client), Some(outbox)) if client.log_level.is_some_and(|least| least <= Notice::FINISHED) => {
            outbox.send(notice().to_json().into());
        }
        _ => {}
    }
}

/// There is no session behind a handle: why, where the caller may know, and what to do.
#[expect(clippy::needless_pass_by_value, reason = "made for this call")]
fn no_session(why: String) -> ToolError {
    ToolError::InvalidArguments(vec![format!(
        "`{HANDLE}`: session not found or expired{why}; call echo without `{HANDLE}` to make a new one"
    )])
}

/// -32601 for a method that the era does not have.
#[must_use]
pub fn unknown_method(method: &str, stateless: bool) -> RpcError {
    RpcError::method_not_found(method, if stateless { STATELESS_METHODS } else { METHODS })
}

/// A tool's result as the revision has it (schema `CallToolResult`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallToolResult<'a> {
    content: Content<'a>,
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a Value>,
    /// Of the stateless era.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    /// Of the stateless era.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<&'static Value>,
}

impl<'a> CallToolResult<'a> {
    fn new(content: Content<'a>, revision: Revision) -> Self {
        static META: LazyLock<Value> = LazyLock::new(server_meta);
        let is_stateless = revision.is_stateless();
        Self {
            content,
            is_error: false,
            structured_content: None,
            result_type: is_stateless.then_some("complete"),
            meta: is_stateless.then(|| &*META),
        }
    }

    fn to_json(&self) -> Bytes {
        // Room for most results, so that few grow while they are written.
        let mut json = Vec::with_capacity(256 + 2 * self.content.text.len());
        // Texts, numbers and maps of texts: all of it can be written.
        let _ = serde_json::to_writer(&mut json, self);
        Bytes::from(json)
    }
}

/// Content blocks (schema `ContentBlock`): the text, unless there is none and something else instead, and what else there is.
struct Content<'a> {
    text: &'a str,
    more: &'a [Value],
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Text<'a> {
            r#type: &'static str,
            text: &'a str,
        }
        let text = (!self.text.is_empty() || self.more.is_empty()).then_some(Text { r#type: "text", text: self.text });
        let mut blocks = serializer.serialize_seq(None)?;
        if let Some(text) = text {
            blocks.serialize_element(&text)?;
        }
        for block in self.more {
            blocks.serialize_element(block)?;
        }
        blocks.end()
    }
}

/// A result as the revision has it.
fn result(outcome: &Outcome, revision: Revision) -> Bytes {
    let has_structured = revision.has_structured_content() && !outcome.structured.is_null();
    CallToolResult {
        is_error: outcome.is_error,
        structured_content: has_structured.then_some(&outcome.structured),
        ..CallToolResult::new(Content { text: &outcome.text, more: &outcome.content }, revision)
    }
    .to_json()
}

/// A tool's refusal as the revision has it.
fn refuse(tool: &str, error: &ToolError, revision: Revision) -> Result<Bytes, RpcError> {
    match error {
        ToolError::InvalidArguments(problems) => {
            let message = format!("Invalid arguments for {tool}: {error}");
            if revision.answers_invalid_arguments_with_a_result() {
                let content = Content { text: &message, more: &[] };
                return Ok(CallToolResult { is_error: true, ..CallToolResult::new(content, revision) }.to_json());
            }
            Err(RpcError::invalid_params(message).with_data(json!({ "problems": problems })))
        }
        ToolError::SessionRequired(message) => {
            let hint = if revision.is_stateless() {
                "call echo without sessionId: it makes a session and returns its handle; pass that as sessionId"
            } else {
                "POST initialize, then send its Mcp-Session-Id header with every request"
            };
            Err(RpcError::invalid_params(*message).with_data(json!({ "hint": hint })))
        }
        ToolError::Full(full) => Err(RpcError::too_many_sessions(&full.to_string())),
        ToolError::CapabilityRequired(capabilities) => {
            Err(RpcError::new(RpcError::MISSING_CLIENT_CAPABILITY, format!("Missing client capability for {tool}"))
                .with_data(json!({ "requiredCapabilities": capabilities })))
        }
    }
}

fn set_log_level(job: &Job) -> Result<Bytes, RpcError> {
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
    session.set_log_level(level);
    Ok(Bytes::from_static(b"{}"))
}
