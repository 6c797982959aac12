//! requestTiming: how long this request takes, on what machine, within which trace.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Annotations, Call, Context, Family, Handle, NoArguments, Outcome, Tool, ToolError};
use crate::diagnosis::redact;
use crate::schema;
use crate::session::Working;
use crate::text::{duration, rfc3339, shell_quoted, shorten, time_ms};

pub(super) const TOOL: Tool = Tool {
    name: "requestTiming",
    title: "Request timing",
    description: "Shows how long the server has taken for this request so far, CPU and memory of the process, the session's \
                  averages, and the trace context that arrived.",
    input_schema: schema::no_arguments,
    output_schema: || schema::parse(OUTPUT),
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[Family::Session],
    call: |raw| Call::reading(raw, run),
};

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "requestStart": { "type": "string", "format": "date-time" },
        "processingTimeMs": { "type": "number", "description": "From the request's head to this answer's making" },
        "rating": { "enum": ["excellent", "good", "acceptable", "slow"] },
        "requestBodyBytes": { "type": "integer" },
        "requestId": { "type": "string", "description": "X-Request-Id" },
        "cpuPercent": { "type": ["number", "null"] },
        "memoryBytes": { "type": ["integer", "null"] },
        "memoryLimitBytes": { "type": ["integer", "null"], "description": "The container's limit, else the machine's memory" },
        "activeSessions": { "type": "integer" },
        "pendingMessages": { "type": "integer", "description": "Of this session, else of all" },
        "session": {
            "type": ["object", "null"],
            "properties": {
                "ageSeconds": { "type": "integer" },
                "requests": { "type": "integer" },
                "averageResponseTimeMs": { "type": ["number", "null"] }
            },
            "required": ["ageSeconds", "requests", "averageResponseTimeMs"]
        },
        "sentAt": { "type": "string", "format": "date-time", "description": "When this answer was made" },
        "progressToken": { "type": "boolean", "description": "Whether _meta of this call has one" },
        "progressNote": { "type": "string", "description": "Why no progress can reach this client, where none can" },
        "tryBuffering": {
            "type": "string",
            "description": "A curl command that shows whether something on the way holds events back"
        },
        "trace": {
            "type": "object",
            "description": "Trace context (W3C) as it arrived: in headers, and in _meta of the call",
            "properties": {
                "header": { "type": "object" },
                "meta": { "type": "object" },
                "note": { "type": "string" }
            },
            "required": ["header", "meta"]
        }
    },
    "required": [
        "requestStart", "processingTimeMs", "rating", "activeSessions", "pendingMessages", "session", "sentAt", "progressToken",
        "trace"
    ],
    "additionalProperties": false
}"#;

/// The ratings and the time below which each is given, in milliseconds.
const RATINGS: [(f64, &str, &str); 4] = [
    (10.0, "🟢 Excellent", "excellent"),
    (50.0, "🟡 Good", "good"),
    (100.0, "🟠 Acceptable", "acceptable"),
    (f64::INFINITY, "🔴 Slow", "slow"),
];

fn rating(ms: f64) -> (&'static str, &'static str) {
    RATINGS.iter().find(|(below, ..)| ms < *below).map_or(("🔴 Slow", "slow"), |(_, text, name)| (text, name))
}

/// What is shown; times and figures as they were when the tool looked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timing {
    #[serde(serialize_with = "as_rfc3339")]
    request_start: Timestamp,
    processing_time_ms: f64,
    rating: &'static str,
    request_body_bytes: usize,
    request_id: String,
    cpu_percent: Option<f64>,
    memory_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    active_sessions: usize,
    pending_messages: u64,
    session: Option<SessionTiming>,
    #[serde(serialize_with = "as_rfc3339")]
    sent_at: Timestamp,
    progress_token: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_note: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    try_buffering: Option<String>,
    trace: Trace,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionTiming {
    age_seconds: u64,
    requests: u64,
    average_response_time_ms: Option<f64>,
}

/// W3C trace context as it arrived.
#[derive(Serialize)]
struct Trace {
    header: BTreeMap<&'static str, String>,
    meta: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

fn as_rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

fn run(context: &Context<'_>, session: Option<&Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let timing = timing(context, session);
    let all_clear = match &timing.session {
        Some(_) => {
            "No problem found in what this session's requests did so far; not checked: what the way here adds or holds back, \
             since the time above is this server's own"
        }
        None => {
            "No problem found; not checked: how the requests of a session follow each other, since there is none, and what the \
             way here adds or holds back, since the time above is this server's own"
        }
    };
    let details = format!("{}\n\n{}", stream_lines(&timing), trace_lines(&timing.trace));
    Ok(Outcome::new(text(&timing), &timing).with(all_clear, details))
}

fn timing(context: &Context<'_>, session: Option<&Working<'_>>) -> Timing {
    let sample = context.server.system.sample();
    let stats = context.stats;
    let ms = context.request.received.elapsed().as_secs_f64() * 1000.0;
    Timing {
        request_start: context.received_at(),
        processing_time_ms: round(ms),
        rating: rating(ms).1,
        request_body_bytes: context.request.body_bytes,
        request_id: context.request.id.as_str().to_owned(),
        cpu_percent: sample.cpu_percent.map(|cpu| round(f64::from(cpu))),
        memory_bytes: sample.memory_bytes,
        memory_limit_bytes: sample.memory_available_bytes(),
        active_sessions: stats.active,
        pending_messages: session.map_or(stats.pending_messages, |session| session.figures().pending as u64),
        session: session.map(|session| {
            let record = &*session.record;
            SessionTiming {
                age_seconds: context.server.clock.now().since(record.created).as_secs(),
                requests: record.request_count,
                average_response_time_ms: record.average_handling_ms(),
            }
        }),
        sent_at: context.server.clock.wall_now(),
        progress_token: context.message.progress_token().is_some(),
        progress_note: context.without_progress(),
        try_buffering: context.facts(None).public_url().url().map(|url| try_buffering(context, &redact::value(&url))),
        trace: trace(context),
    }
}

/// A call of five seconds with progress, each line with the time at which it arrived: for bash, zsh and their kin.
fn try_buffering(context: &Context<'_>, url: &str) -> String {
    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"late","delayMs":5000},"_meta":{"progressToken":1}}}"#;
    let token = context.request.header("authorization").map_or("", |_| r#" -H "Authorization: Bearer $TOKEN""#);
    let session = if context.server.config.require_session { r#" -H "Mcp-Session-Id: $SESSION""# } else { "" };
    format!(
        "curl -sS -N --fail-with-body {}{token}{session} -H 'Content-Type: application/json' -H 'Accept: application/json, \
         text/event-stream' -d {} | while IFS= read -r line; do echo \"$(date -u +%T) $line\"; done",
        shell_quoted(url),
        shell_quoted(CALL),
    )
}

/// What the processing time does not show: whether answers stream through to the client.
fn stream_lines(timing: &Timing) -> String {
    let mut lines = format!("🌊 Streaming:\n- This answer was made at {}", rfc3339(timing.sent_at));
    lines += &match timing.progress_note {
        Some(note) => format!("\n- ℹ️ {note}"),
        None => "\n- A progressToken came: progress can reach this client".to_owned(),
    };
    if let Some(command) = &timing.try_buffering {
        lines += "\n- Does something on the way hold events back? Run this where the client is. Each line begins with the time at \
                  which it arrived, each progress message says when it was sent: all of them at once at the end is buffering";
        lines += &format!("\n{command}");
    }
    lines
}

fn text(timing: &Timing) -> String {
    let unknown = || "not available".to_owned();
    let session = match &timing.session {
        Some(session) => format!(
            "- Session Age: {}\n- Requests in Session: {}\n- Average Response Time: {}",
            duration(Duration::from_secs(session.age_seconds)),
            session.requests,
            session.average_response_time_ms.map_or_else(unknown, |ms| format!("{ms:.1}ms")),
        ),
        None => "- No session: this request came without an Mcp-Session-Id header".to_owned(),
    };
    format!(
        "⏱️ Request Timing Analysis\n\n\
         📊 Performance Metrics:\n\
         - Request Start: {}\n\
         - Processing Time: {:.2}ms\n\
         - Performance: {}\n\n\
         🖥️ System Resources:\n\
         - CPU Usage: {}\n\
         - Memory Usage: {}\n\
         - Active Sessions: {}\n\
         - Message Queue Size: {}\n\n\
         📈 Session Statistics:\n\
         {session}",
        time_ms(timing.request_start),
        timing.processing_time_ms,
        rating(timing.processing_time_ms).0,
        timing.cpu_percent.map_or_else(unknown, |cpu| format!("{cpu:.1}%")),
        memory(timing.memory_bytes, timing.memory_limit_bytes),
        timing.active_sessions,
        timing.pending_messages,
    )
}

/// To the microsecond: what a clock can tell.
fn round(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}

/// `256MB / 1024MB (25%)`.
fn memory(used: Option<u64>, available: Option<u64>) -> String {
    let mb = |bytes: u64| bytes.div_ceil(1024 * 1024);
    match (used, available) {
        (Some(used), Some(all)) if all > 0 => format!("{}MB / {}MB ({}%)", mb(used), mb(all), used * 100 / all),
        (Some(used), _) => format!("{}MB", mb(used)),
        (None, _) => "not available".to_owned(),
    }
}

/// The keys of W3C Trace Context and Baggage; in `_meta` they stand bare (SEP-414).
const TRACE_KEYS: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// Characters shown of a trace value: a traceparent has 55.
const MAX_TRACE_VALUE: usize = 512;

fn trace(context: &Context<'_>) -> Trace {
    let of = |get: &dyn Fn(&str) -> Option<String>| -> BTreeMap<&'static str, String> {
        TRACE_KEYS.iter().filter_map(|key| Some((*key, shorten(&get(key)?, MAX_TRACE_VALUE)))).collect()
    };
    let header = of(&|key| context.request.header(key).map(str::to_owned));
    let meta = of(&|key| Some(context.message.meta().get(key)?.as_str()?.to_owned()));
    let parent = |from: &BTreeMap<&'static str, String>| from.get("traceparent").cloned();
    let note = trace_note(parent(&header).as_deref(), parent(&meta).as_deref());
    Trace { header, meta, note }
}

/// What is odd about the trace context, in one sentence.
fn trace_note(header: Option<&str>, meta: Option<&str>) -> Option<String> {
    for (place, value) in [("header", header), ("_meta", meta)] {
        if value.is_some_and(|value| trace_id(value).is_none()) {
            return Some(format!(
                "the traceparent in {place} is not valid: 00-<32 hex>-<16 hex>-<2 hex>, not all zeros (W3C Trace Context 3.2)"
            ));
        }
    }
    let (header, meta) = (trace_id(header?)?, trace_id(meta?)?);
    (header != meta).then(|| "header and _meta belong to different traces: a proxy may have started its own".to_owned())
}

/// The trace id of a valid traceparent (W3C Trace Context section 3.2.2).
fn trace_id(traceparent: &str) -> Option<&str> {
    let parts: Vec<&str> = traceparent.trim().split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    match parts.as_slice() {
        [version, trace, span, flags, rest @ ..]
            if hex(version, 2)
                && *version != "ff"
                && (rest.is_empty() || *version != "00")
                && hex(trace, 32)
                && hex(span, 16)
                && hex(flags, 2)
                && !zero(trace)
                && !zero(span) =>
        {
            Some(trace)
        }
        _ => None,
    }
}

fn trace_lines(trace: &Trace) -> String {
    let mut lines = String::new();
    for (place, values) in [("header", &trace.header), ("_meta", &trace.meta)] {
        for (key, value) in values {
            lines += &format!("\n- {key} ({place}): {value}");
        }
    }
    if let Some(note) = &trace.note {
        lines += &format!("\n- ⚠️ {note}");
    }
    if lines.is_empty() {
        lines.push_str("\n- No traceparent arrived, neither as a header nor in _meta");
    }
    format!("🧵 Trace Context:{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::fixture::record;

    #[test]
    fn the_average_has_no_more_figures_than_were_counted() {
        let mut record = record(None);
        assert_eq!(record.average_handling_ms(), None);
        (record.total_handling_us, record.finished_count) = (1_000, 3);
        assert_eq!(record.average_handling_ms(), Some(0.333));
    }

    #[test]
    fn ratings_change_at_their_thresholds() {
        let of = |ms: f64| rating(ms).1;
        assert_eq!(
            [of(0.0), of(9.99), of(10.0), of(49.9), of(50.0), of(99.9), of(100.0), of(1e9)],
            ["excellent", "excellent", "good", "good", "acceptable", "acceptable", "slow", "slow"]
        );
    }

    #[test]
    fn a_traceparent_is_judged_by_the_standard() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(good), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        let bad = [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ];
        for bad in bad {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
        let other = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01";
        assert!(trace_note(Some(good), Some(other)).unwrap().contains("different traces"));
        assert_eq!(trace_note(Some(good), Some(good)), None);
        assert!(trace_note(None, Some("x")).unwrap().contains("_meta"));
    }

    #[test]
    fn memory_is_written_as_the_sample_shows() {
        const MB: u64 = 1024 * 1024;
        assert_eq!(memory(Some(256 * MB), Some(1024 * MB)), "256MB / 1024MB (25%)");
        assert_eq!(memory(None, None), "not available");
    }
}
