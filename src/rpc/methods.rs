//! Methods other than `tools/call`.

use serde_json::{Value, json};

use super::Engine;
use super::job::Job;
use crate::config::SessionBinding;
use crate::diagnosis::forwarding::client_address;
use crate::diagnosis::identity;
use crate::protocol::{
    Capabilities, ClientInfo, INSTRUCTIONS, LogLevel, Params, Revision, RpcError, message, server_info, server_meta,
};
use crate::request::Request;
use crate::session::{Identity, NewSession, Unbound};
use crate::tools::TTL_MS;

/// The methods of the handshake era that are answered.
const METHODS: &[&str] = &["initialize", "ping", "tools/list", "tools/call", "logging/setLevel"];

/// The methods of the stateless era that are answered.
const STATELESS_METHODS: &[&str] = &["server/discover", "tools/list", "tools/call", "subscriptions/listen"];

/// Whether a client that sends this method wants an answer.
#[must_use]
pub fn must_be_answered(method: &str) -> bool {
    METHODS.contains(&method) || STATELESS_METHODS.contains(&method)
}

/// -32600 for such a method without an id: as a notification it would get no answer (JSON-RPC 2.0 section 4.1).
#[must_use]
pub fn id_missing(method: &str) -> RpcError {
    RpcError::invalid_request(format!(
        "Invalid Request: {method} came without \"id\", so it is a notification and gets no answer; add an \"id\" (a number or a \
         string)"
    ))
}

/// -32601 for a method that the era does not have.
#[must_use]
pub fn unknown_method(method: &str, stateless: bool) -> RpcError {
    RpcError::method_not_found(method, if stateless { STATELESS_METHODS } else { METHODS })
}

/// The result of `initialize` at `revision`.
#[must_use]
pub fn initialize_result(revision: Revision) -> Vec<u8> {
    let result = json!({
        "protocolVersion": revision,
        "capabilities": { "logging": {}, "tools": {} },
        "serverInfo": server_info(revision),
        "instructions": INSTRUCTIONS,
    });
    result.to_string().into_bytes()
}

impl Engine {
    /// The answer to any method but `tools/call`: a JSON-RPC response.
    ///
    /// # Errors
    /// The JSON-RPC error to answer with.
    pub(super) fn answer_method(&self, job: &Job) -> Result<Vec<u8>, RpcError> {
        match (job.method.as_str(), job.revision.is_stateless()) {
            ("tools/list", _) => self.list_tools(job),
            ("ping", false) => Ok(message::result(&job.id, b"{}")),
            ("logging/setLevel", false) => set_log_level(job),
            ("server/discover", true) => Ok(message::result(&job.id, self.discover().as_bytes())),
            (method, stateless) => Err(unknown_method(method, stateless)),
        }
    }

    fn list_tools(&self, job: &Job) -> Result<Vec<u8>, RpcError> {
        match job.params.get("cursor") {
            None | Some(Value::Null) => Ok(message::result(&job.id, &self.tools.list(job.revision))),
            Some(_) => Err(RpcError::invalid_params(
                "Invalid cursor: all tools are on one page and no cursor is ever issued; leave it out",
            )),
        }
    }

    /// The result of `server/discover` (MCP 2026-07-28 server/discover).
    fn discover(&self) -> String {
        let result = json!({
            "resultType": "complete",
            "supportedVersions": self.server.config.protocol.newest_first(),
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
    pub(super) fn read_initialize(&self, params: &Params, request: &Request) -> Result<NewSession, RpcError> {
        let mut problems = Vec::new();
        let asked = params.get("protocolVersion").and_then(Value::as_str);
        let served = &self.server.config.protocol;
        let Some(protocol_version) = served.negotiate(asked.unwrap_or_default()) else {
            // MCP 2026-07-28 basic/versioning: a server without handshake revisions should name what it has.
            return Err(RpcError::unsupported_version(asked.unwrap_or_default(), served));
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
            client: self.server.client(request),
        })
    }

    /// Whose a new session is, or why it is nobody's.
    pub(super) fn owner(&self, request: &Request) -> Result<Identity, Unbound> {
        match self.server.config.session_binding {
            SessionBinding::User | SessionBinding::Require => self.server.identity(&request.headers),
            SessionBinding::Off => Err(Unbound::Off),
        }
    }
}

/// Whom a session is bound to, for the log: where its user is read, not who it is.
pub(super) fn binding(owner: &Result<Identity, Unbound>) -> String {
    match owner {
        Ok(identity) => identity::source(identity),
        Err(why) => format!("unbound: {}", why.reason()),
    }
}

/// What is said to a client whose session cannot be bound, where it must be.
pub(super) fn unbindable(why: Unbound) -> String {
    format!(
        "this server binds every session to its user (MCP_SESSION_BINDING=require), and here {}; send Authorization with a \
         bearer JWT that has a sub claim, or come through the gateway that adds the user's identity header",
        why.reason()
    )
}

fn set_log_level(job: &Job) -> Result<Vec<u8>, RpcError> {
    let level = job.params.get("level").and_then(Value::as_str).and_then(LogLevel::named).ok_or_else(|| {
        let names = LogLevel::ALL.map(LogLevel::name);
        RpcError::invalid_params(format!("Invalid params: \"level\" must be one of {}", names.join(", ")))
            .with_data(json!({ "available": names }))
    })?;
    let Some(session) = &job.session else {
        return Err(RpcError::invalid_params(
            "Session required for logging/setLevel: log messages are queued per session; POST initialize first, then send its \
             Mcp-Session-Id with every request",
        ));
    };
    session.change(|working| working.set_log_level(level));
    Ok(message::result(&job.id, b"{}"))
}
