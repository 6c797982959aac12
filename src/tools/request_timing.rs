//! requestTiming: how long this request takes, on what machine, within which trace.

use serde_json::{Value, json};

use super::{Annotations, Call, Context, Family, Handle, NoArguments, Outcome, Tool, ToolError};
use crate::object::object;
use crate::schema;
use crate::session::Working;
use crate::text::{duration, rfc3339, shorten, time_ms};

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
    call: |given| Call::of(given, run),
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
    "required": ["requestStart", "processingTimeMs", "rating", "activeSessions", "pendingMessages", "session", "trace"],
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

fn run(context: &Context<'_>, session: Option<&mut Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let sample = context.server.system.sample();
    let stats = context.stats;
    let available = sample.memory_available_bytes();
    let record = session.as_deref().map(|session| &*session.record);
    let pending = session.as_deref().map_or(stats.pending_messages, |session| session.figures().pending as u64);
    let trace = trace(context);
    let ms = context.request.received.elapsed().as_secs_f64() * 1000.0;
    let (shown, rated) = rating(ms);
    let session_lines = match &record {
        Some(record) => format!(
            "- Session Age: {}\n- Requests in Session: {}\n- Average Response Time: {}",
            duration(context.server.clock.now().since(record.created)),
            record.request_count,
            record.average_handling_ms().map_or_else(|| "not available".to_owned(), |ms| format!("{ms:.1}ms")),
        ),
        None => "- No session: this request came without an Mcp-Session-Id header".to_owned(),
    };
    let text = format!(
        "⏱️ Request Timing Analysis\n\n\
         📊 Performance Metrics:\n\
         - Request Start: {}\n\
         - Processing Time: {ms:.2}ms\n\
         - Performance: {shown}\n\n\
         🖥️ System Resources:\n\
         - CPU Usage: {}\n\
         - Memory Usage: {}\n\
         - Active Sessions: {}\n\
         - Message Queue Size: {pending}\n\n\
         📈 Session Statistics:\n\
         {session_lines}",
        time_ms(context.request.received_at),
        sample.cpu_percent.map_or_else(|| "not available".to_owned(), |cpu| format!("{cpu:.1}%")),
        memory(sample.memory_bytes, available),
        stats.active,
    );
    let details = trace_lines(&trace);
    let all_clear = match &record {
        Some(_) => "No problem found in what this session's requests did so far",
        None => "No problem found; not checked: how the requests of a session follow each other, since there is none",
    };
    let structured = object! {
        "requestStart": rfc3339(context.request.received_at),
        "processingTimeMs": round(ms),
        "rating": rated,
        "requestBodyBytes": context.request.body_bytes,
        "requestId": context.request.id.as_str(),
        "cpuPercent": sample.cpu_percent.map(|cpu| round(f64::from(cpu))),
        "memoryBytes": sample.memory_bytes,
        "memoryLimitBytes": available,
        "activeSessions": stats.active,
        "pendingMessages": pending,
        "session": record.map(|record| object! {
            "ageSeconds": context.server.clock.now().since(record.created).as_secs(),
            "requests": record.request_count,
            "averageResponseTimeMs": record.average_handling_ms(),
        }),
        "trace": trace,
    };
    Ok(Outcome::new(text, &structured).with(all_clear, details))
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

fn trace(context: &Context<'_>) -> Value {
    let mut header = json!({});
    let mut meta = json!({});
    for key in TRACE_KEYS {
        if let Some(value) = context.request.header(key) {
            header[key] = shorten(value, MAX_TRACE_VALUE).into();
        }
        if let Some(value) = context.message.get("_meta").and_then(|meta| meta.get(key)).and_then(Value::as_str) {
            meta[key] = shorten(value, MAX_TRACE_VALUE).into();
        }
    }
    let note = trace_note(header["traceparent"].as_str(), meta["traceparent"].as_str());
    let mut trace = object! { "header": header, "meta": meta };
    if let Some(note) = note {
        trace["note"] = note.into();
    }
    trace
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

fn trace_lines(trace: &Value) -> String {
    let mut lines = String::new();
    for (place, of) in [("header", &trace["header"]), ("_meta", &trace["meta"])] {
        for (key, value) in of.as_object().into_iter().flatten() {
            lines += &format!("\n- {key} ({place}): {}", value.as_str().unwrap_or_default());
        }
    }
    if let Some(note) = trace.get("note").and_then(Value::as_str) {
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
