//! From a method to what it does. Knows no HTTP and no lock.

use std::sync::{Arc, RwLock};
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::config::{Config, SessionBinding};
use crate::diagnosis::identity;
use crate::protocol::{Id, Params, Revision, RpcError};
use crate::request::Request;
use crate::session::{ClientInfo, LogLevel, NewSession, Session, SessionManager};
use crate::system::System;
use crate::text::shorten;
use crate::tools::{Context, Outbox, Outcome, Registry, ToolError};

/// The package's name: `serverInfo.name`.
pub const SERVER_NAME: &str = env!("CARGO_PKG_NAME");
/// `serverInfo.title`, for the revisions that have it.
pub const SERVER_TITLE: &str = "MCP Echo (stateful)";
/// The crate's version: `serverInfo.version`.
pub const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The methods of the handshake era that are answered.
const METHODS: &[&str] = &["initialize", "ping", "tools/list", "tools/call", "logging/setLevel"];

/// Characters kept of each string of `clientInfo`: room for any real name.
const MAX_CLIENT_INFO: usize = 200;

/// Bytes kept of a client's capabilities as JSON text; larger ones are forgotten. Real clients send under 1 KB.
const MAX_CAPABILITIES: usize = 16 * 1024;

const INSTRUCTIONS: &str = "Diagnostic server: call bearerDecode and authContext for a token or login that does not work, \
printHeader for what the proxy sends, corsAnalysis for browser clients, sessionInfo and replayLastEcho for sessions, \
requestTiming and healthProbe for the server itself.";

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
    /// Where notifications that belong to it go; `None` where the client cannot have them.
    pub outbox: Option<Outbox>,
}

impl Engine {
    /// Answers a request other than `initialize`: the result as JSON.
    ///
    /// # Errors
    /// The JSON-RPC error to answer with.
    pub async fn answer(&self, job: Job) -> Result<Bytes, RpcError> {
        match job.method.as_str() {
            "ping" => Ok(Bytes::from_static(b"{}")),
            "tools/list" => self.list_tools(&job),
            "tools/call" => self.call_tool(job).await,
            "logging/setLevel" => set_log_level(&job),
            method => Err(RpcError::method_not_found(method, METHODS)),
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

    async fn call_tool(&self, mut job: Job) -> Result<Bytes, RpcError> {
        let Some(Value::String(name)) = job.params.get("name") else {
            return Err(RpcError::invalid_params("Invalid params: \"name\" must be the name of a tool")
                .with_data(json!({ "available": self.tools.names() })));
        };
        let Some(entry) = self.tools.get(name) else {
            return Err(RpcError::invalid_params(format!("Unknown tool: {}", shorten(name, 100)))
                .with_data(json!({ "available": self.tools.names() })));
        };
        let arguments = match job.params.remove("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err(RpcError::invalid_params("Invalid params: \"arguments\" must be an object")),
        };
        let started = Instant::now();
        let tool_calls = job.session.as_ref().map_or(0, |session| session.count_tool_call());
        let context = Context {
            request: &job.request,
            session: job.session.as_ref(),
            revision: job.revision,
            config: &self.config,
            clock: &self.clock,
            sessions: &self.sessions,
            system: &self.system,
            meta: job.params.get("_meta").and_then(Value::as_object),
            outbox: job.outbox.as_ref(),
            tool_calls,
        };
        let outcome = entry.run(&context, arguments).await;
        if let Some(session) = &job.session {
            session.log(LogLevel::Info, || {
                let duration_ms = (started.elapsed().as_secs_f64() * 1e5).round() / 1e2;
                json!({
                    "level": LogLevel::Info,
                    "logger": entry.logger(),
                    "data": {
                        "tool": entry.name(),
                        "durationMs": duration_ms,
                        "isError": outcome.is_err(),
                        "requestId": loggable(&job.id),
                    },
                })
            });
        }
        match outcome {
            Ok(outcome) => Ok(result(&outcome, job.revision)),
            Err(error) => refuse(entry.name(), &error, job.revision),
        }
    }

    /// Reads the parameters of `initialize`: what the new session is made of.
    ///
    /// # Errors
    /// -32602 with everything that is wrong.
    pub fn read_initialize(&self, params: &Params, request: &Request) -> Result<NewSession, RpcError> {
        let mut problems = Vec::new();
        let asked = params.get("protocolVersion").and_then(Value::as_str);
        if asked.is_none() {
            problems.push("`protocolVersion` is required: a string such as \"2025-06-18\"".to_owned());
        }
        let capabilities = params.get("capabilities").filter(|value| value.is_object());
        if capabilities.is_none() {
            problems.push("`capabilities` is required: an object, {} if the client has none".to_owned());
        }
        let info = params.get("clientInfo").and_then(Value::as_object);
        let text = |key: &str| info.and_then(|info| info.get(key)).and_then(Value::as_str);
        if text("name").is_none() || text("version").is_none() {
            problems.push("`clientInfo` is required: an object with the strings `name` and `version`".to_owned());
        }
        if !problems.is_empty() {
            return Err(RpcError::invalid_params(format!("Invalid params for initialize: {}", problems.join("; ")))
                .with_data(json!({ "problems": problems })));
        }
        let short = |key: &str| text(key).map(|text| shorten(text, MAX_CLIENT_INFO));
        let client_capabilities =
            capabilities.filter(|value| value.to_string().len() <= MAX_CAPABILITIES).cloned().unwrap_or_default();
        Ok(NewSession {
            protocol_version: self.config.protocol.negotiate(asked.unwrap_or_default()),
            client_info: ClientInfo {
                name: short("name").unwrap_or_default(),
                version: short("version").unwrap_or_default(),
                title: short("title"),
            },
            client_capabilities,
            owner: match self.config.session_binding {
                SessionBinding::User => identity::caller(&request.headers),
                SessionBinding::Off => None,
            },
        })
    }

    /// The result of `initialize` at `revision`.
    #[must_use]
    pub fn initialize_result(&self, revision: Revision) -> Bytes {
        let mut server_info = json!({ "name": SERVER_NAME });
        if revision.has_titles() {
            server_info["title"] = SERVER_TITLE.into();
        }
        server_info["version"] = SERVER_VERSION.into();
        let result = json!({
            "protocolVersion": revision,
            "capabilities": { "logging": {}, "tools": {} },
            "serverInfo": server_info,
            "instructions": INSTRUCTIONS,
        });
        Bytes::from(result.to_string())
    }
}

/// A result as the revision has it.
fn result(outcome: &Outcome, revision: Revision) -> Bytes {
    let mut result = json!({ "content": [{ "type": "text", "text": outcome.text }], "isError": false });
    if revision.has_structured_content() {
        result["structuredContent"] = outcome.structured.clone();
    }
    Bytes::from(result.to_string())
}

/// A tool's refusal as the revision has it.
fn refuse(tool: &str, error: &ToolError, revision: Revision) -> Result<Bytes, RpcError> {
    match error {
        ToolError::InvalidArguments(problems) => {
            let message = format!("Invalid arguments for {tool}: {error}");
            if revision.answers_invalid_arguments_with_a_result() {
                let result = json!({ "content": [{ "type": "text", "text": message }], "isError": true });
                return Ok(Bytes::from(result.to_string()));
            }
            Err(RpcError::invalid_params(message).with_data(json!({ "problems": problems })))
        }
        ToolError::SessionRequired(message) => Err(RpcError::invalid_params(*message).with_data(json!({
            "hint": "POST initialize, then send its Mcp-Session-Id header with every request",
        }))),
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

/// A JSON-RPC id for a log line: a long one is cut, since lines are kept.
fn loggable(id: &Id) -> Value {
    const MAX: usize = 64;
    if id.as_json().len() <= MAX {
        serde_json::from_str(id.as_json()).unwrap_or_default()
    } else {
        Value::String(shorten(id.as_json().trim_matches('"'), MAX))
    }
}
