//! How sessions end, and who comes after that.

use std::time::Duration;

use super::{Facts, Finding, Rule, Severity};
use crate::clock::Moment;
use crate::diagnosis::findings::rule::where_refused;
use crate::session::history::Before;
use crate::session::{EndReason, InstanceName};
use crate::text::duration;

pub(super) const RULES: &[Rule] = &[
    DEAD_ID_REUSED,
    OTHER_REPLICA,
    Rule {
        id: "ses.per_call",
        severity: Severity::Info,
        meaning: "the client opens a session for every tool call: nothing is kept from one to the next",
        fix: "keep one session open for all calls (one client object, not one for each call), or expect nothing that a session keeps",
        reference: "MCP SEP-2567, Motivation: hosted clients that open a session per call",
        check: per_call,
    },
    Rule {
        id: "ses.no_delete",
        severity: Severity::Info,
        meaning: "earlier sessions of the same client are still open, or expired: the client did not end them",
        fix: "send DELETE with the Mcp-Session-Id when the session is no longer needed; else it is kept for MCP_SESSION_TIMEOUT",
        reference: "MCP 2025-03-26 and later, basic/transports, Session Management",
        check: no_delete,
    },
    Rule {
        id: "ses.retry_too_early",
        severity: Severity::Warning,
        meaning: "the client sent its next message before the time that a 429 had told it",
        fix: "wait for as many seconds as Retry-After says (data.retryAfterMs in milliseconds) before any message of this session",
        reference: "RFC 6585 section 4, RFC 9110 section 10.2.3",
        check: retry_too_early,
    },
    Rule {
        id: "ses.thrown_away",
        severity: Severity::Warning,
        meaning: "the client gave up a session that was told to wait, and began another",
        fix: "on 429, keep the session and send the message again after Retry-After: a new session has lost what the old one kept",
        reference: "RFC 6585 section 4; MCP 2025-03-26 and later, basic/transports, Session Management (404 alone asks for a new session)",
        check: thrown_away,
    },
    Rule {
        id: "ses.queue_overflow",
        severity: Severity::Warning,
        meaning: "messages for the GET stream were lost: the queue was full",
        fix: "keep a GET stream open, raise the level with logging/setLevel, or raise MCP_MESSAGE_QUEUE_SIZE",
        reference: "MCP 2025-03-26 and later, basic/transports, Listening for Messages from the Server",
        check: queue_overflow,
    },
];

/// A session's id was used after the session had ended.
const DEAD_ID_REUSED: Rule = Rule {
    id: "ses.dead_id_reused",
    severity: Severity::Warning,
    meaning: "a request names a session that has ended",
    fix: "on 404, POST initialize without an Mcp-Session-Id header, and use the new session from then on",
    reference: "MCP 2025-03-26 and later, basic/transports, Session Management",
    check: where_refused,
};
/// Another instance made the session.
const OTHER_REPLICA: Rule = Rule {
    id: "ses.other_replica",
    severity: Severity::Error,
    meaning: "a request names a session that another instance of this server made",
    fix: "after a restart, POST initialize without an Mcp-Session-Id header; with several replicas, share sessions \
          (MCP_STORE=redis://HOST), or have the load balancer send all requests of a session to the same one (sticky sessions need a client that keeps cookies; hashing by the client's \
          address needs none)",
    reference: "MCP 2025-03-26 and later, basic/transports, Session Management: the session is state of the server that assigned it",
    check: where_refused,
};

/// A request that names a session which ended for `reason`, for the `tries`-th time.
#[must_use]
pub fn dead_id(reason: EndReason, at: &str, tries: u32) -> Finding {
    let why = match reason {
        EndReason::Expired => "it was idle for longer than MCP_SESSION_TIMEOUT",
        EndReason::Deleted => "its client sent DELETE",
        EndReason::Evicted => {
            "it was the longest idle when there were more than MCP_MAX_SESSIONS, or they held too much memory"
        }
    };
    let summary = format!("this session has ended: {why}");
    let finding = Finding::new(&DEAD_ID_REUSED, summary, "ended", at)
        .and_evidence("reason", reason.name())
        .and_evidence("requests with this id since", &tries.to_string());
    if tries > 1 {
        finding.with_fix("the client ignores the 404: have it POST initialize without Mcp-Session-Id")
    } else {
        finding
    }
}

/// A request that names, for the `tries`-th time in a row, an id that is no session here: one that nobody remembers.
#[must_use]
pub fn unknown_id(tries: u32) -> Option<Finding> {
    (tries > 1).then(|| {
        let summary = format!("the same id of no session came {tries} times: the client does not heed the 404");
        let fix = "have the client POST initialize without an Mcp-Session-Id header when it gets 404";
        Finding::new(&DEAD_ID_REUSED, summary, "requests with this id in a row", &tries.to_string()).with_fix(fix)
    })
}

/// A request that names a session of the instance `maker`, at the instance `here`, which runs since `since` (RFC 3339).
#[must_use]
pub fn other_replica(maker: InstanceName, here: InstanceName, since: &str) -> Finding {
    let summary = format!(
        "another instance of this server ({maker}) made the session: another replica, or this server before it was \
         restarted at {since}; sessions are not shared"
    );
    Finding::new(&OTHER_REPLICA, summary, "made by instance", &maker.to_string())
        .and_evidence("answered by instance", &here.to_string())
}

/// Sessions of one call that asked for the list of tools before it: a person who starts a client for one call makes such
/// a session, too.
const LISTED_FIRST: u32 = 3;

fn per_call(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake()?;
    let Before { single_calls, listed_first, .. } = record.history.before?;
    if record.tool_calls > 1 || record.request_count > 3 {
        return None;
    }
    if single_calls == u32::from(listed_first) && single_calls < LISTED_FIRST {
        return None;
    }
    let summary = "the client seems to open a session for every tool call; what a session keeps is lost each time";
    let what = "sessions before this one with one tool call and nothing else but tools/list";
    let finding = Finding::new(rule, summary, what, &single_calls.to_string());
    Some(finding.and_evidence("tool calls in this session", &record.tool_calls.to_string()))
}

/// Sessions that are still open and idle when the next one begins, before they are worth a word: one is a restart.
const LEFT_OPEN: u16 = 2;

fn no_delete(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake()?;
    let before = record.history.before?;
    let age = format!("{} before this one", duration(record.created.since(before.created)));
    let expired = before.expired.then(|| {
        let summary = "the session before, of the same client, expired without DELETE";
        let finding = Finding::new(rule, summary, "the session before was created", &age);
        finding.and_evidence("its requests", &before.requests.to_string())
    });
    let left_open = (before.left_open >= LEFT_OPEN).then(|| {
        let count = before.left_open;
        let summary = format!("{count} earlier sessions of this client were still open and idle when this one began");
        Finding::new(rule, summary, "earlier sessions that nobody ended", &count.to_string())
            .and_evidence("the last of them was created", &age)
    });
    Finding::joined(expired.into_iter().chain(left_open))
}

fn retry_too_early(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let pace = facts.session?.record.pace.as_ref()?;
    let early = pace.early;
    let times = if early == 1 { "once".to_owned() } else { format!("{early} times") };
    let summary = format!("{times} a message came before the time that a 429 had told to wait for");
    (early > 0).then(|| {
        Finding::new(rule, summary, "such messages", &early.to_string())
            .and_evidence("messages refused in all", &pace.refused.to_string())
    })
}

/// A session that begins so soon after another one was told to wait takes its place.
const TAKES_ITS_PLACE: Duration = Duration::from_mins(1);

fn thrown_away(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake()?;
    let before = record.history.before?;
    let until = before.told_to_wait_until;
    (until > Moment(0) && record.created < until.plus(TAKES_ITS_PLACE)).then(|| {
        let summary = "the session before, of the same client, was told to wait (429), and this one was opened instead";
        Finding::new(rule, summary, "requests of the session before", &before.requests.to_string())
    })
}

fn queue_overflow(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let lost = facts.session?.figures.dropped;
    let summary = "messages for the GET stream were lost because the queue was full";
    (lost > 0).then(|| Finding::new(rule, summary, "messages lost", &lost.to_string()))
}
