//! sessionInfo: the session as the server sees it; without one, how to get one.

use serde_json::{Map, Value};

use super::{Annotations, Call, Context, Family, Handle, NoArguments, Outcome, Tool, ToolError};
use crate::object::object;
use crate::schema;
use crate::session::{CustomData, Record, Stats, Working};
use crate::text::{bytes, duration, rfc3339, shorten, time};

/// Characters of custom data shown as text; the structured form has it all.
const CUSTOM_SHOWN: usize = 2000;

pub(super) const TOOL: Tool = Tool {
    name: "sessionInfo",
    title: "Session information",
    description: "Shows the session: id, age, expiry, counters, queue, streams, client, custom data, and who it is bound \
                  to. Without a session it says how to get one.",
    input_schema: schema::no_arguments,
    output_schema: || schema::parse(OUTPUT),
    annotations: Annotations::READ_ONLY,
    handle: Handle::Reads,
    findings: &Family::ALL,
    call: |given| Call::of(given, run),
};

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "session": {
            "type": ["object", "null"],
            "description": "null when the request has no session",
            "properties": {
                "sessionId": { "type": "string" },
                "createdAt": { "type": "string", "format": "date-time" },
                "lastActivityAt": { "type": "string", "format": "date-time" },
                "ageSeconds": { "type": "integer" },
                "timeoutSeconds": { "type": "integer", "description": "Idle time after which it expires" },
                "expiresAt": { "type": "string", "format": "date-time", "description": "If this is the last request" },
                "totalRequests": { "type": "integer" },
                "toolCalls": { "type": "integer" },
                "averageResponseTimeMs": { "type": ["number", "null"] },
                "echoCount": { "type": "integer" },
                "replayCount": { "type": "integer" },
                "queue": {
                    "type": "object",
                    "properties": {
                        "pending": { "type": "integer" },
                        "held": { "type": "integer" },
                        "dropped": { "type": "integer" },
                        "bytes": { "type": "integer" }
                    },
                    "required": ["pending", "held", "dropped", "bytes"]
                },
                "openStreams": { "type": "integer" },
                "initialized": { "type": "boolean" },
                "clientReady": { "type": "boolean", "description": "notifications/initialized came" },
                "protocolVersion": { "type": "string" },
                "client": {
                    "type": "object",
                    "properties": {
                        "name": { "type": "string" },
                        "version": { "type": "string" },
                        "title": { "type": "string" }
                    },
                    "required": ["name", "version"]
                },
                "clientCapabilities": { "type": ["object", "null"], "description": "null when they were too large to keep" },
                "logLevel": { "type": "string" },
                "customData": { "type": "object" },
                "boundTo": {
                    "type": ["object", "null"],
                    "properties": { "id": { "type": "string" }, "source": { "type": "string" } },
                    "required": ["id", "source"]
                },
                "findingsSeen": {
                    "type": "array",
                    "description": "What this session's requests raised so far",
                    "items": {
                        "type": "object",
                        "properties": {
                            "id": { "type": "string" },
                            "count": { "type": "integer" },
                            "firstAt": { "type": "string", "format": "date-time" },
                            "lastAt": { "type": "string", "format": "date-time" }
                        },
                        "required": ["id", "count", "firstAt", "lastAt"]
                    }
                },
                "intrusions": {
                    "type": "object",
                    "description": "Attempts to use this session's id by others",
                    "properties": {
                        "otherIdentity": { "type": "integer" },
                        "withoutIdentity": { "type": "integer" },
                        "lastAt": { "type": ["string", "null"], "format": "date-time" }
                    },
                    "required": ["otherIdentity", "withoutIdentity", "lastAt"]
                }
            },
            "required": ["sessionId", "createdAt", "lastActivityAt", "totalRequests", "echoCount", "replayCount"]
        },
        "server": {
            "type": "object",
            "description": "All sessions of this server",
            "properties": {
                "activeSessions": { "type": "integer" },
                "maxSessions": { "type": "integer" },
                "sessionsCreated": { "type": "integer" },
                "timeoutSeconds": { "type": "integer" }
            },
            "required": ["activeSessions", "maxSessions", "sessionsCreated", "timeoutSeconds"]
        },
        "hint": { "type": "string", "description": "How to get a session" }
    },
    "required": ["session", "server"],
    "additionalProperties": false
}"#;

const HOW_TO_STATELESS: &str = "call echo without sessionId: it makes a session and returns its handle; pass that as \
sessionId (protocol version 2026-07-28 has no sessions of its own, and Mcp-Session-Id means nothing there)";

const HOW_TO: &str = "POST initialize, take the Mcp-Session-Id header of the answer, and send it with every request";

fn run(context: &Context<'_>, session: Option<&mut Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let stats = context.stats;
    let server = object! {
        "activeSessions": stats.active,
        "maxSessions": stats.max_sessions,
        "sessionsCreated": stats.created,
        "timeoutSeconds": context.server.config.session_timeout.as_secs(),
    };
    Ok(match session {
        Some(session) => with_session(context, session, &server),
        None => without_session(context, stats, &server),
    })
}

fn without_session(context: &Context<'_>, stats: &Stats, server: &Value) -> Outcome {
    let (without, how_to) = if context.revision.is_stateless() {
        ("the argument sessionId", HOW_TO_STATELESS)
    } else {
        ("an Mcp-Session-Id header", HOW_TO)
    };
    let text = format!(
        "📊 Session Information\n\n\
         ❌ This request has no session: it came without {without}.\n\
         How to get one: {how_to}."
    );
    let details = format!(
        "🖥️ Server:\n\
         - Active Sessions: {} of at most {}\n\
         - Total Sessions Created: {}\n\
         - Session Timeout: {}",
        stats.active,
        stats.max_sessions,
        stats.created,
        duration(context.server.config.session_timeout),
    );
    let structured = object! { "session": Value::Null, "server": server, "hint": how_to };
    Outcome::new(text, &structured).with(ALL_CLEAR_WITHOUT, details)
}

fn with_session(context: &Context<'_>, session: &Working<'_>, server: &Value) -> Outcome {
    let record = &*session.record;
    let queue = session.figures();
    let now = context.server.clock.now();
    let age = now.since(record.created);
    let expires = now.plus(context.server.config.session_timeout);
    let (created, last, expires) = (
        context.server.clock.wall(record.created),
        context.server.clock.wall(record.last_activity),
        context.server.clock.wall(expires),
    );
    let text = format!(
        "📊 Session Information\n\n\
         🔑 Session Details:\n\
         - Session ID: {id}\n\
         - Created: {created}\n\
         - Last Activity: {last}\n\
         - Age: {age}\n\
         - Time Until Expiry: {left}\n\n\
         📈 Session Metrics:\n\
         - Total Requests: {requests}\n\
         - Echo Count: {echoes}\n\
         - Replay Count: {replays}\n\
         - Message Queue: {pending} pending\n\n\
         🧠 Session State:\n\
         - Initialized: {initialized}\n\
         - Protocol Version: {version}\n\
         - Client: {client}",
        id = record.id,
        created = time(created),
        last = time(last),
        age = duration(age),
        left = duration(context.server.config.session_timeout),
        requests = record.request_count,
        echoes = record.state.echo_count,
        replays = record.state.replay_count,
        pending = queue.pending,
        initialized = if record.initialized { "✅" } else { "❌" },
        version = record.protocol_version,
        client = client(record),
    );
    let details = details(record, queue.streams, queue.dropped, queue.held);
    let structured = object! {
        "session": object! {
            "sessionId": record.id.to_string(),
            "createdAt": rfc3339(created),
            "lastActivityAt": rfc3339(last),
            "ageSeconds": age.as_secs(),
            "timeoutSeconds": context.server.config.session_timeout.as_secs(),
            "expiresAt": rfc3339(expires),
            "totalRequests": record.request_count,
            "toolCalls": record.tool_calls,
            "averageResponseTimeMs": record.average_handling_ms(),
            "echoCount": record.state.echo_count,
            "replayCount": record.state.replay_count,
            "queue": object! { "pending": queue.pending, "held": queue.held, "dropped": queue.dropped, "bytes": queue.bytes },
            "openStreams": queue.streams,
            "initialized": record.initialized,
            "clientReady": record.client_ready,
            "protocolVersion": record.protocol_version,
            "client": record.client_info,
            "clientCapabilities": record.client_capabilities,
            "logLevel": record.log_level,
            "boundTo": record.owner.as_ref().map(|owner| object! { "id": owner.id, "source": owner.source.name() }),
            "findingsSeen": record.findings.iter().map(|seen| object! {
                "id": seen.id,
                "count": seen.count,
                "firstAt": rfc3339(context.server.clock.wall(seen.first)),
                "lastAt": rfc3339(context.server.clock.wall(seen.last)),
            }).collect::<Value>(),
            "intrusions": object! {
                "otherIdentity": record.intrusions.other,
                "withoutIdentity": record.intrusions.anonymous,
                "lastAt": record.intrusions.last.map(|at| rfc3339(context.server.clock.wall(at))),
            },
            "customData": custom_data(record),
        },
        "server": server,
    };
    Outcome::new(text, &structured).with(ALL_CLEAR, details)
}

const ALL_CLEAR_WITHOUT: &str = "No problem found in this request; not checked: a session, since there is none, and \
signature, issuer and scopes of the token";

const ALL_CLEAR: &str = "No problem found in the session, its requests and this request; not checked: signature, issuer and \
scopes of the token";

/// What echo's `customData` merged.
fn custom_data(record: &Record) -> Map<String, Value> {
    record.state.custom_data.as_ref().map(CustomData::to_map).unwrap_or_default()
}

/// `test-client v1.0`.
fn client(record: &Record) -> String {
    let info = &record.client_info;
    if info.name.is_empty() { "not available".to_owned() } else { format!("{} v{}", info.name, info.version) }
}

/// What the sample does not show, in a section of its own.
fn details(record: &Record, streams: usize, dropped: u64, held: usize) -> String {
    let ready = if !record.initialized {
        "not applicable: a request of 2026-07-28 made this session, and that version has no handshake"
    } else if record.client_ready {
        "notifications/initialized came"
    } else {
        "notifications/initialized has not come"
    };
    let maker = if record.initialized { "initialize" } else { "the call that made it" };
    let bound = match &record.owner {
        Some(owner) => format!("{} ({})", shorten(&owner.id, 200), owner.source.name()),
        None => format!("nobody: {maker} carried neither X-User-Id nor a bearer token with a sub claim"),
    };
    let custom = if custom_data(record).is_empty() {
        "none".to_owned()
    } else {
        let json = Value::Object(custom_data(record)).to_string();
        format!("{} ({})", shorten(&json, CUSTOM_SHOWN), bytes(json.len() as u64))
    };
    let mut text = format!(
        "🔎 More:\n\
         - Client Ready: {ready}\n\
         - Bound To: {bound}\n\
         - Open Streams: {streams}\n\
         - Log Level: {}\n\
         - Messages Held For Resuming: {held}\n\
         - Messages Lost: {dropped}\n\
         - Custom Data: {custom}",
        record.log_level.name(),
    );
    if !record.findings.is_empty() {
        let seen = record.findings.iter().map(|seen| format!("{} {}", seen.id, seen.count));
        text += &format!("\n- Findings So Far: {}", seen.collect::<Vec<_>>().join(", "));
    }
    text
}
