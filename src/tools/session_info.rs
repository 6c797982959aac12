//! sessionInfo: the session as the server sees it; without one, how to get one.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::streams::{self, ShownStreams};
use super::{Annotations, Call, Context, Family, Handle, NoArguments, Outcome, Tool, ToolError};
use crate::diagnosis::{identity, redact};
use crate::protocol::{Capabilities, ClientInfo, LogLevel, Revision};
use crate::schema;
use crate::session::clients::{Denial, Seen};
use crate::session::streams::Streams;
use crate::session::{CustomData, Unbound, Working};
use crate::text::{bytes, duration, rfc3339, shorten, time};

/// Characters of custom data shown as text; the structured form has it all.
const CUSTOM_SHOWN: usize = 2000;

pub(super) const TOOL: Tool = Tool {
    name: "sessionInfo",
    title: "Session information",
    description: "Shows the session: id, age, expiry, counters, queue, streams, client, custom data, and who it is bound \
                  to. Without a session it says how to get one.",
    input_schema: schema::no_arguments,
    output_schema: || schema::fill(OUTPUT, &[("streams", schema::parse(streams::SCHEMA))]),
    annotations: Annotations::READ_ONLY,
    handle: Handle::Reads,
    findings: &Family::ALL,
    call: |raw| Call::reading(raw, run),
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
                "streams": "$streams",
                "earlierSessionsLeftOpen": {
                    "type": "integer",
                    "description": "Sessions of the same client that were open and idle when this one began"
                },
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
                    "properties": { "id": { "type": "string" }, "source": { "type": "string" }, "issuer": { "type": "string" } },
                    "required": ["id", "source"]
                },
                "unbound": { "type": "string", "description": "Why it is bound to nobody" },
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
        "client": {
            "type": "object",
            "description": "Without a session: what this server remembers of the client (its address or identity, and its User-Agent)",
            "properties": {
                "initialized": { "type": "integer", "description": "Sessions that initialize made for it" },
                "idsUsed": { "type": "integer", "description": "Of them those whose id it used" },
                "requestsWithoutSession": { "type": "integer" },
                "sessionsDeleted": { "type": "integer" },
                "preflights": { "type": "integer" },
                "refused": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": { "why": { "type": "string" }, "count": { "type": "integer" } },
                        "required": ["why", "count"]
                    }
                },
                "streams": "$streams"
            },
            "required": ["initialized", "idsUsed", "requestsWithoutSession", "sessionsDeleted", "preflights", "refused", "streams"]
        },
        "hint": { "type": "string", "description": "How to get a session" }
    },
    "required": ["session", "server"],
    "additionalProperties": false
}"#;

const HOW_TO_STATELESS: &str = "call echo without sessionId: it makes a session and returns its handle; pass that as \
sessionId (protocol version 2026-07-28 has no sessions of its own, and Mcp-Session-Id means nothing there)";

const HOW_TO: &str = "POST initialize, take the Mcp-Session-Id header of the answer, and send it with every request";

/// What is shown.
#[derive(Serialize)]
struct Information {
    session: Option<ShownSession>,
    server: ShownServer,
    /// Without a session: what is remembered of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ShownClient>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

/// What is remembered of a client: numbers and kinds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownClient {
    initialized: u32,
    ids_used: u32,
    requests_without_session: u32,
    sessions_deleted: u32,
    preflights: u32,
    refused: Vec<ShownRefusal>,
    streams: ShownStreams,
}

#[derive(Serialize)]
struct ShownRefusal {
    why: &'static str,
    count: u32,
}

impl ShownClient {
    fn of(seen: &Seen) -> Self {
        let refused = Denial::ALL.map(|why| ShownRefusal { why: why.name(), count: seen.refused(why).count });
        let streams = &seen.streams;
        Self {
            initialized: seen.initialized,
            ids_used: seen.used,
            requests_without_session: seen.sessionless,
            sessions_deleted: seen.deleted,
            preflights: seen.preflights,
            refused: refused.into_iter().filter(|refused| refused.count > 0).collect(),
            streams: ShownStreams::of(streams, u64::from(streams.opened.saturating_sub(streams.all_ended()))),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownServer {
    active_sessions: usize,
    max_sessions: usize,
    sessions_created: u64,
    timeout_seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSession {
    session_id: String,
    created_at: Shown,
    last_activity_at: Shown,
    age_seconds: u64,
    timeout_seconds: u64,
    expires_at: Shown,
    total_requests: u64,
    tool_calls: u64,
    average_response_time_ms: Option<f64>,
    echo_count: u64,
    replay_count: u64,
    queue: Queue,
    open_streams: usize,
    streams: ShownStreams,
    earlier_sessions_left_open: u16,
    initialized: bool,
    client_ready: bool,
    protocol_version: Revision,
    client: ClientInfo,
    client_capabilities: Capabilities,
    log_level: LogLevel,
    bound_to: Option<Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unbound: Option<&'static str>,
    findings_seen: Vec<FindingSeen>,
    intrusions: Intrusions,
    custom_data: Map<String, Value>,
}

/// A time: RFC 3339 for scripts.
struct Shown(Timestamp);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

#[derive(Serialize)]
struct Queue {
    pending: usize,
    held: usize,
    dropped: u64,
    bytes: usize,
}

#[derive(Serialize)]
struct Owner {
    id: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingSeen {
    id: String,
    count: u64,
    first_at: Shown,
    last_at: Shown,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Intrusions {
    other_identity: u64,
    without_identity: u64,
    last_at: Option<Shown>,
}

fn run(context: &Context<'_>, session: Option<&Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let stats = context.stats;
    let (without, how_to) = if context.revision.is_stateless() {
        ("the argument sessionId", HOW_TO_STATELESS)
    } else {
        ("an Mcp-Session-Id header", HOW_TO)
    };
    let information = Information {
        session: session.map(|session| shown(context, session)),
        server: ShownServer {
            active_sessions: stats.active,
            max_sessions: stats.max_sessions,
            sessions_created: stats.created,
            timeout_seconds: context.server.config.session_timeout.as_secs(),
        },
        client: (session.is_none() && !context.revision.is_stateless())
            .then(|| ShownClient::of(&context.server.clients.seen(context.server.client(context.request)))),
        hint: session.is_none().then_some(how_to),
    };
    if let Some(session) = &information.session {
        return Ok(Outcome::new(text(session), &information).with(ALL_CLEAR, details(session)));
    }
    let text = format!(
        "📊 Session Information\n\n\
         ❌ This request has no session: it came without {without}.\n\
         How to get one: {how_to}."
    );
    let mut details = information.client.as_ref().map(client_lines).unwrap_or_default();
    details += &server_lines(&information.server);
    Ok(Outcome::new(text, &information).with(ALL_CLEAR_WITHOUT, details))
}

const ALL_CLEAR: &str = "No problem found in the session, its requests and this request; not checked: what only an issuer can \
tell of a token, such as its signature";

const ALL_CLEAR_WITHOUT: &str = "No problem found besides the missing session; not checked: what only an issuer can tell of a token, \
such as its signature";

fn shown(context: &Context<'_>, session: &Working<'_>) -> ShownSession {
    let record = session.record.clone();
    let (queue, timeout) = (session.figures(), context.server.config.session_timeout);
    let now = context.server.clock.now();
    let at = |moment| Shown(context.server.clock.wall(moment));
    ShownSession {
        session_id: record.id.to_string(),
        created_at: at(record.created),
        last_activity_at: at(record.last_activity),
        age_seconds: now.since(record.created).as_secs(),
        timeout_seconds: timeout.as_secs(),
        expires_at: at(now.plus(timeout)),
        total_requests: record.request_count,
        tool_calls: record.tool_calls,
        average_response_time_ms: record.average_handling_ms(),
        echo_count: record.state.echo_count,
        replay_count: record.state.replay_count,
        queue: Queue { pending: queue.pending, held: queue.held, dropped: queue.dropped, bytes: queue.bytes },
        open_streams: queue.streams,
        streams: ShownStreams::of(
            record.history.streams.as_deref().unwrap_or(&Streams::default()),
            queue.streams as u64,
        ),
        earlier_sessions_left_open: record.history.before.map_or(0, |before| before.left_open),
        initialized: record.initialized,
        client_ready: record.client_ready,
        protocol_version: record.protocol_version,
        unbound: record.owner.is_none().then(|| record.unbound.map_or(UNKNOWN_REASON, Unbound::reason)),
        bound_to: record.owner.map(|owner| Owner {
            id: shown_word(&owner.shown()),
            source: identity::source(&owner),
            issuer: owner.issuer.as_deref().or(owner.beside.as_deref()).map(shown_word),
        }),
        findings_seen: record
            .findings
            .into_iter()
            .map(|seen| FindingSeen {
                id: seen.id,
                count: seen.count,
                first_at: at(seen.first),
                last_at: at(seen.last),
            })
            .collect(),
        intrusions: Intrusions {
            other_identity: record.intrusions.other,
            without_identity: record.intrusions.anonymous,
            last_at: record.intrusions.last.map(at),
        },
        custom_data: record.state.custom_data.as_ref().map(CustomData::to_map).unwrap_or_default(),
        client: record.client_info,
        client_capabilities: record.client_capabilities,
        log_level: record.log_level,
    }
}

/// Of a session that an earlier release made.
const UNKNOWN_REASON: &str = "the request that made it named nobody";

/// A caller's word, as it may be shown.
fn shown_word(text: &str) -> String {
    redact::escape(&shorten(&redact::value(text), 200)).into_owned()
}

fn text(session: &ShownSession) -> String {
    let seconds = |seconds| duration(Duration::from_secs(seconds));
    let ClientInfo { name, version, .. } = &session.client;
    format!(
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
         - Protocol Version: {revision}\n\
         - Client: {client}",
        id = session.session_id,
        created = time(session.created_at.0),
        last = time(session.last_activity_at.0),
        age = seconds(session.age_seconds),
        left = seconds(session.timeout_seconds),
        requests = session.total_requests,
        echoes = session.echo_count,
        replays = session.replay_count,
        pending = session.queue.pending,
        initialized = if session.initialized { "✅" } else { "❌" },
        revision = session.protocol_version,
        client = if name.is_empty() { "not available".to_owned() } else { format!("{name} v{version}") },
    )
}

fn client_lines(client: &ShownClient) -> String {
    let refused: Vec<_> = client.refused.iter().map(|ShownRefusal { why, count }| format!("{why}: {count}")).collect();
    format!(
        "🧾 This Client So Far:\n\
         - Sessions Initialized: {}, ids used: {}\n\
         - Requests Without Session: {}\n\
         - Streams: {}\n\
         - Refused: {}\n\n",
        client.initialized,
        client.ids_used,
        client.requests_without_session,
        client.streams.line(),
        if refused.is_empty() { "none".to_owned() } else { refused.join(", ") },
    )
}

fn server_lines(server: &ShownServer) -> String {
    format!(
        "🖥️ Server:\n\
         - Active Sessions: {} of at most {}\n\
         - Total Sessions Created: {}\n\
         - Session Timeout: {}",
        server.active_sessions,
        server.max_sessions,
        server.sessions_created,
        duration(Duration::from_secs(server.timeout_seconds)),
    )
}

/// What the sample does not show.
fn details(session: &ShownSession) -> String {
    let ready = match (session.initialized, session.client_ready) {
        (false, _) => "not applicable: a request of 2026-07-28 made this session, and that version has no handshake",
        (true, true) => "notifications/initialized came",
        (true, false) => "notifications/initialized has not come",
    };
    let bound = match &session.bound_to {
        Some(Owner { id, source, issuer: Some(issuer) }) => format!("{id} ({source}, issuer {issuer})"),
        Some(Owner { id, source, issuer: None }) => format!("{id} ({source})"),
        None => format!("nobody, unbound: {}", session.unbound.unwrap_or(UNKNOWN_REASON)),
    };
    let custom = if session.custom_data.is_empty() {
        "none".to_owned()
    } else {
        let json = json!(session.custom_data).to_string();
        format!("{} ({})", shorten(&json, CUSTOM_SHOWN), bytes(json.len() as u64))
    };
    let mut text = format!(
        "🔎 More:\n\
         - Client Ready: {ready}\n\
         - Bound To: {bound}\n\
         - Open Streams: {}\n\
         - Streams: {}\n\
         - Log Level: {}\n\
         - Messages Held For Resuming: {}\n\
         - Messages Lost: {}\n\
         - Custom Data: {custom}",
        session.open_streams,
        session.streams.line(),
        session.log_level.name(),
        session.queue.held,
        session.queue.dropped,
    );
    if session.earlier_sessions_left_open > 0 {
        let count = session.earlier_sessions_left_open;
        text += &format!("\n- Earlier Sessions Of This Client: {count} open and idle when this one began");
    }
    if !session.findings_seen.is_empty() {
        let seen = session.findings_seen.iter().map(|seen| format!("{} {}", seen.id, seen.count));
        text += &format!("\n- Findings So Far: {}", seen.collect::<Vec<_>>().join(", "));
    }
    text
}
