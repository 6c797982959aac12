//! healthProbe: is the server well, and what does it hold. Every figure is measured or counted.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::streams::{self, ShownStreams};
use super::{Annotations, Call, Context, Handle, NoArguments, Outcome, Server, Tool, ToolError};
use crate::schema;
use crate::session::{Stats, Working};
use crate::system::Sample;
use crate::text::{bytes, duration, rfc3339};

pub(super) const TOOL: Tool = Tool {
    name: "healthProbe",
    title: "Health probe",
    description: "Deep health check: overall status with its reasons, session statistics, memory, queues, and how the \
                  sweep is doing. For load balancers, GET /healthz is cheaper.",
    input_schema: schema::no_arguments,
    output_schema: || {
        let integer = json!({ "type": ["integer", "null"] });
        schema::fill(OUTPUT, &[("integer", integer), ("streams", schema::parse(streams::SCHEMA))])
    },
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[],
    call: |raw| Call::reading(raw, run),
};

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "status": { "enum": ["HEALTHY", "DEGRADED", "UNHEALTHY"] },
        "reasons": { "type": "array", "items": { "type": "string" }, "description": "Why it is not HEALTHY" },
        "sessions": {
            "type": "object",
            "properties": {
                "active": "$integer",
                "max": "$integer",
                "created": "$integer",
                "expired": "$integer",
                "deleted": "$integer",
                "evicted": "$integer",
                "refused": "$integer",
                "openStreams": "$integer",
                "requestsInFlight": "$integer",
                "cleanupRuns": "$integer"
            }
        },
        "streams": "$streams",
        "lastCleanupAt": { "type": ["string", "null"], "format": "date-time" },
        "memory": {
            "type": "object",
            "properties": {
                "processBytes": "$integer",
                "limitBytes": "$integer",
                "sessionStorageBytes": "$integer",
                "messageQueueBytes": "$integer"
            }
        },
        "performance": {
            "type": "object",
            "properties": {
                "averageSessionLifetimeSeconds": { "type": ["number", "null"] },
                "sessionsCreatedPerMinute": { "type": "number" },
                "averageQueueDepth": { "type": "number" },
                "cpuPercent": { "type": ["number", "null"] }
            }
        },
        "process": {
            "type": "object",
            "properties": {
                "uptimeSeconds": "$integer",
                "threads": "$integer",
                "openFiles": "$integer",
                "openFilesLimit": "$integer",
                "logLinesLost": "$integer"
            }
        },
        "store": {
            "type": "object",
            "description": "Where sessions are kept",
            "properties": {
                "location": { "type": "string" },
                "state": { "enum": ["ok", "unavailable"] },
                "commits": "$integer",
                "conflicts": "$integer",
                "unavailableForSeconds": { "type": ["integer", "null"] },
                "why": { "type": ["string", "null"] }
            }
        },
        "version": { "type": "string" },
        "instance": { "type": "string", "description": "This run of the server, as in X-Instance-Id: replicas differ" },
        "findingsRaised": {
            "type": "array",
            "description": "How often each finding was raised since the server started",
            "items": {
                "type": "object",
                "properties": { "id": { "type": "string" }, "count": { "type": "integer" } },
                "required": ["id", "count"]
            }
        }
    },
    "required": ["status", "reasons", "sessions", "memory", "performance", "process", "version", "instance"],
    "additionalProperties": false
}"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Healthy,
    Degraded,
    Unhealthy,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::Unhealthy => "UNHEALTHY",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Healthy => "✅",
            Self::Degraded => "⚠️",
            Self::Unhealthy => "❌",
        }
    }
}

/// Shares, in percent, of a bound that is used: from the first on it is a warning, from the second on a failure.
const SESSIONS_USED: (usize, usize) = (90, 101);
const MEMORY_USED: (u64, u64) = (85, 95);
const FILES_USED: (u64, u64) = (80, 95);

/// A refused session counts against health for this long: two intervals of a usual health check.
const REFUSAL_COUNTS: Duration = Duration::from_secs(60);

/// Judges the figures. Pure, so that each reason can be shown to fire.
fn judge(stats: &Stats, sample: &Sample, store: &Store, server: &Server) -> (Status, Vec<String>) {
    let Server { config, clock, log, .. } = server;
    let mut reasons = Vec::new();
    let mut note = |status: Status, reason: String| reasons.push((status, reason));
    let now = clock.now();
    if stats.last_refused.is_some_and(|at| now.since(at) < REFUSAL_COUNTS) {
        note(
            Status::Unhealthy,
            format!("new sessions are refused: all {} are in use; raise MCP_MAX_SESSIONS", stats.max_sessions),
        );
    } else if stats.active * 100 >= stats.max_sessions * SESSIONS_USED.0 {
        note(
            Status::Degraded,
            format!(
                "{} of {} sessions exist: the longest idle ones soon give way; clients may not send DELETE",
                stats.active, stats.max_sessions
            ),
        );
    }
    if let (Some(used), Some(all)) = (sample.memory_bytes, sample.memory_limit_bytes) {
        let percent = used * 100 / all.max(1);
        if percent >= MEMORY_USED.0 {
            let status = if percent >= MEMORY_USED.1 { Status::Unhealthy } else { Status::Degraded };
            note(status, format!("{percent}% of the container's memory limit is used"));
        }
    }
    if let (Some(used), Some(all)) = (sample.open_files, sample.open_files_limit) {
        let percent = used * 100 / all.max(1);
        if percent >= FILES_USED.0 {
            let status = if percent >= FILES_USED.1 { Status::Unhealthy } else { Status::Degraded };
            note(status, format!("{used} of {all} file descriptors are open: connections are about to be refused"));
        }
    }
    let since_sweep = stats.last_sweep.map_or_else(|| clock.uptime(), |at| now.since(at));
    if since_sweep > config.session_cleanup_interval * 3 {
        note(Status::Degraded, format!("the last session cleanup was {} ago", duration(since_sweep)));
    }
    if let (Some(seconds), Some(why)) = (store.unavailable_for_seconds, &store.why) {
        note(
            Status::Unhealthy,
            format!("the session store {} has not answered for {seconds} s: {why}", store.location),
        );
    }
    for trouble in log.troubles() {
        note(Status::Degraded, trouble);
    }
    let worst = reasons.iter().map(|(status, _)| *status).max().unwrap_or(Status::Healthy);
    (worst, reasons.into_iter().map(|(_, reason)| reason).collect())
}

/// What is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    #[serde(serialize_with = "status_name")]
    status: Status,
    reasons: Vec<String>,
    sessions: Sessions,
    streams: ShownStreams,
    #[serde(serialize_with = "time_or_null")]
    last_cleanup_at: Option<Timestamp>,
    #[serde(skip)]
    last_cleanup: Option<Duration>,
    memory: Memory,
    performance: Performance,
    process: Process,
    store: Store,
    version: &'static str,
    instance: String,
    findings_raised: Vec<Raised>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sessions {
    active: usize,
    max: usize,
    created: u64,
    expired: u64,
    deleted: u64,
    evicted: u64,
    refused: u64,
    open_streams: u64,
    requests_in_flight: u64,
    cleanup_runs: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the unit, as scripts see it")]
struct Memory {
    process_bytes: Option<u64>,
    limit_bytes: Option<u64>,
    session_storage_bytes: u64,
    message_queue_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Performance {
    average_session_lifetime_seconds: Option<f64>,
    sessions_created_per_minute: f64,
    average_queue_depth: f64,
    cpu_percent: Option<f32>,
}

/// Where the truth about sessions is in a store.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    location: String,
    state: &'static str,
    commits: u64,
    conflicts: u64,
    unavailable_for_seconds: Option<u64>,
    why: Option<String>,
}

impl Store {
    fn of(server: &Server) -> Self {
        let location = server.config.store.shown();
        let Some(health) = server.committer.as_ref().map(|committer| committer.health()) else {
            return Self { location, state: "ok", commits: 0, conflicts: 0, unavailable_for_seconds: None, why: None };
        };
        Self {
            location,
            state: if health.down.is_some() { "unavailable" } else { "ok" },
            commits: health.commits,
            conflicts: health.conflicts,
            unavailable_for_seconds: health.down.as_ref().map(|(lasts, _)| lasts.as_secs()),
            why: health.down.map(|(_, why)| why),
        }
    }

    fn line(&self) -> String {
        let Self { location, commits, conflicts, .. } = self;
        match (&self.why, self.unavailable_for_seconds) {
            (Some(why), Some(seconds)) => format!("{location}, no answer for {seconds} s: {why}"),
            _ if location == "memory" => "memory: sessions end with the process (MCP_STORE)".to_owned(),
            _ => format!("{location}, answers; commits {commits}, conflicts {conflicts}"),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    uptime_seconds: u64,
    threads: Option<u64>,
    open_files: Option<u64>,
    open_files_limit: Option<u64>,
    log_lines_lost: u64,
}

/// How often a finding was raised.
#[derive(Serialize)]
struct Raised {
    id: &'static str,
    count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn status_name<S: Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.name())
}

#[expect(clippy::ref_option, reason = "serde gives references")]
fn time_or_null<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(rfc3339).serialize(serializer)
}

fn run(context: &Context<'_>, _: Option<&Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let health = health(context);
    Ok(Outcome::new(text(&health), &health).with("", details(&health)))
}

fn health(context: &Context<'_>) -> Health {
    let stats = context.stats;
    let sample = context.server.system.sample();
    let store = Store::of(context.server);
    let (status, reasons) = judge(stats, &sample, &store, context.server);
    let uptime = context.server.clock.uptime();
    Health {
        status,
        reasons,
        sessions: Sessions {
            active: stats.active,
            max: stats.max_sessions,
            created: stats.created,
            expired: stats.expired,
            deleted: stats.deleted,
            evicted: stats.evicted,
            refused: stats.refused,
            open_streams: stats.streams,
            requests_in_flight: stats.in_flight,
            cleanup_runs: stats.sweeps,
        },
        streams: ShownStreams::of(&context.server.clients.streams(), stats.streams),
        last_cleanup_at: stats.last_sweep.map(|at| context.server.clock.wall(at)),
        last_cleanup: stats.last_sweep.map(|at| context.server.clock.now().since(at)),
        memory: Memory {
            process_bytes: sample.memory_bytes,
            limit_bytes: sample.memory_limit_bytes,
            session_storage_bytes: stats.storage_bytes,
            message_queue_bytes: stats.queue_bytes,
        },
        performance: Performance {
            average_session_lifetime_seconds: stats.average_lifetime.map(|lifetime| lifetime.as_secs_f64()),
            sessions_created_per_minute: rate_per_minute(stats.created, uptime),
            average_queue_depth: average(stats.pending_messages, stats.active),
            cpu_percent: sample.cpu_percent,
        },
        process: Process {
            uptime_seconds: uptime.as_secs(),
            threads: sample.threads,
            open_files: sample.open_files,
            open_files_limit: sample.open_files_limit,
            log_lines_lost: context.server.log.lost(),
        },
        store,
        version: env!("CARGO_PKG_VERSION"),
        instance: stats.instance.to_string(),
        findings_raised: context.server.findings.by_id().into_iter().map(|(id, count)| Raised { id, count }).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn rate_per_minute(created: u64, uptime: Duration) -> f64 {
    // Under a minute of uptime the count itself is the rate: two sessions in the first second are not 120 a minute.
    let minutes = (uptime.as_secs_f64() / 60.0).max(1.0);
    (created as f64 / minutes * 100.0).round() / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn average(sum: u64, n: usize) -> f64 {
    if n == 0 { 0.0 } else { (sum as f64 / n as f64 * 100.0).round() / 100.0 }
}

fn text(health: &Health) -> String {
    let Health { sessions, memory, performance, .. } = health;
    let last_cleanup = health.last_cleanup.map_or_else(|| "not yet".to_owned(), |ago| format!("{} ago", duration(ago)));
    let lifetime = performance.average_session_lifetime_seconds.map_or_else(
        || "not available (no session has ended yet)".to_owned(),
        |seconds| duration(Duration::from_secs_f64(seconds)),
    );
    let why = health.reasons.iter().fold(String::new(), |why, reason| why + "\n- " + reason);
    format!(
        "🏥 System Health Report\n\n\
         {mark} Overall Status: {name}{why}\n\n\
         📊 Session Statistics:\n\
         - Active Sessions: {active}\n\
         - Total Sessions Created: {created}\n\
         - Sessions Expired: {expired}\n\
         - Cleanup Run Count: {sweeps}\n\
         - Last Cleanup: {last_cleanup}\n\n\
         💾 Memory Status:\n\
         - Process Memory: {process}\n\
         - Session Storage: {storage}\n\
         - Message Queues: {queues}\n\n\
         ⚡ Performance:\n\
         - Average Session Lifetime: {lifetime}\n\
         - Session Creation Rate: {per_minute:.1}/min\n\
         - Message Queue Depth: {depth:.1} avg",
        mark = health.status.mark(),
        name = health.status.name(),
        active = sessions.active,
        created = sessions.created,
        expired = sessions.expired,
        sweeps = sessions.cleanup_runs,
        process = memory.process_bytes.map_or_else(|| "not available".to_owned(), bytes),
        storage = bytes(memory.session_storage_bytes),
        queues = bytes(memory.message_queue_bytes),
        per_minute = performance.sessions_created_per_minute,
        depth = performance.average_queue_depth,
    )
}

/// What the sample does not show.
fn details(health: &Health) -> String {
    let Health { sessions, memory, process, .. } = health;
    let files = match (process.open_files, process.open_files_limit) {
        (Some(open), Some(limit)) => format!("{open} of at most {limit}"),
        (Some(open), None) => open.to_string(),
        (None, _) => "not available".to_owned(),
    };
    format!(
        "🔎 More:\n\
         - Sessions Allowed: {max}\n\
         - Sessions Deleted: {deleted}\n\
         - Sessions Evicted: {evicted}\n\
         - Sessions Refused: {refused}\n\
         - Open Streams: {streams}\n\
         - Streams: {history}\n\
         - Memory Limit: {limit}\n\
         - File Descriptors: {files}\n\
         - Log Lines Lost: {lost}\n\
         - Session Store: {store}\n\
         - Uptime: {uptime}\n\
         - Version: {version}\n\
         - Instance: {instance}\n\
         - Findings Raised: {findings}",
        max = sessions.max,
        deleted = sessions.deleted,
        evicted = sessions.evicted,
        refused = sessions.refused,
        streams = sessions.open_streams,
        history = health.streams.line(),
        limit = memory.limit_bytes.map_or_else(|| "none".to_owned(), bytes),
        lost = process.log_lines_lost,
        store = health.store.line(),
        uptime = duration(Duration::from_secs(process.uptime_seconds)),
        version = health.version,
        instance = health.instance,
        findings = findings_line(&health.findings_raised),
    )
}

/// `tok.expired 3, hdr.xfp_http_public 1`, the most frequent first.
fn findings_line(raised: &[Raised]) -> String {
    if raised.is_empty() {
        return "none".to_owned();
    }
    let mut sorted: Vec<&Raised> = Vec::with_capacity(raised.len());
    for one in raised {
        sorted.insert(sorted.partition_point(|before| before.count >= one.count), one);
    }
    sorted.iter().map(|Raised { id, count }| format!("{id} {count}")).collect::<Vec<_>>().join(", ")
}
