//! What a client owes between `initialize` and its first calls.

use super::{Facts, Finding, Rule, Severity};

pub(super) const RULES: &[Rule] = &[
    INITIALIZED_NEVER_SENT,
    ID_REUSED,
    Rule {
        id: "ses.get_missing",
        severity: Severity::Info,
        meaning: "the client has not opened a GET stream: notifications wait in the queue and get lost",
        fix: "open GET with the Mcp-Session-Id and Accept: text/event-stream, and check that the proxy lets GET through",
        reference: "MCP 2025-03-26 and later, basic/transports, Listening for Messages from the Server",
        check: get_missing,
    },
    Rule {
        id: "ses.cancel_late",
        severity: Severity::Info,
        meaning: "the client cancels calls that are not at work: they had been answered, or never came",
        fix: "send notifications/cancelled only while a request waits for its answer; nothing was lost",
        reference: "MCP 2024-11-05 and later, basic/utilities/cancellation",
        check: cancel_late,
    },
];

/// `notifications/initialized` did not come.
pub const INITIALIZED_NEVER_SENT: Rule = Rule {
    id: "ses.initialized_never_sent",
    severity: Severity::Warning,
    meaning: "the client sends requests but has not sent notifications/initialized",
    fix: "POST notifications/initialized with the Mcp-Session-Id after the answer to initialize, before any other request",
    reference: "MCP 2024-11-05 and later, basic/lifecycle, Initialization",
    check: initialized_never_sent,
};
/// A request id twice at the same time.
pub const ID_REUSED: Rule = Rule {
    id: "ses.id_reused",
    severity: Severity::Warning,
    meaning: "a request has the id of another one that is still at work",
    fix: "give every request of a session an id of its own",
    reference: "MCP 2024-11-05 and later, basic, Requests: the ID must not have been used before in the session",
    check: id_reused,
};

fn initialized_never_sent(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake().filter(|record| !record.client_ready && record.history.before_ready >= 2)?;
    let count = record.history.before_ready.to_string();
    let summary = format!("{count} requests came, and notifications/initialized did not");
    Some(Finding::new(rule, summary, "requests since initialize", &count))
}

fn id_reused(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let count = facts.handshake()?.history.reused_ids;
    let summary = "a request had the id of another one that was still at work";
    (count > 0).then(|| Finding::new(rule, summary, "such requests", &count.to_string()))
}

/// Such cancellations before they are worth a word: one may have crossed the answer.
const LATE_CANCELS: u32 = 2;

fn cancel_late(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let count = facts.handshake()?.history.late_cancels;
    let summary = "calls were cancelled that were not at work: they had been answered, or never came";
    (count >= LATE_CANCELS).then(|| Finding::new(rule, summary, "such cancellations", &count.to_string()))
}

/// Requests before the missing GET stream is worth a word.
const REQUESTS_WITHOUT_GET: u64 = 6;

fn get_missing(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake()?;
    let waits = record.client_ready && record.request_count >= REQUESTS_WITHOUT_GET && record.has_get();
    let summary = "the client has not opened a GET stream: it gets no notifications outside of calls";
    let count = record.request_count.to_string();
    (waits && !record.history.opened_get()).then(|| Finding::new(rule, summary, "requests without a GET", &count))
}
