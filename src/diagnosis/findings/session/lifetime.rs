//! How sessions end, and who comes after that.

use super::{Facts, Finding, Rule, Severity};
use crate::diagnosis::findings::rule::where_refused;
use crate::session::{EndReason, InstanceName};
use crate::text::duration;

pub(super) const RULES: &[Rule] = &[
    DEAD_ID_REUSED,
    OTHER_REPLICA,
    Rule {
        id: "ses.per_call",
        severity: Severity::Info,
        meaning: "the client opens a session for every tool call: nothing is kept from one to the next",
        fix: "keep the Mcp-Session-Id of initialize and send it with every call, or expect nothing that a session keeps",
        reference: "MCP SEP-2567, Motivation: hosted clients that open a session per call",
        check: per_call,
    },
    Rule {
        id: "ses.no_delete",
        severity: Severity::Info,
        meaning: "the session before, of the same client, expired: the client did not end it",
        fix: "send DELETE with the Mcp-Session-Id when the session is no longer needed",
        reference: "MCP 2025-03-26 and later, basic/transports, Session Management",
        check: no_delete,
    },
    Rule {
        id: "ses.stream_timeout",
        severity: Severity::Warning,
        meaning: "GET streams end after the same time again and again, one that is known for a time-out on the way",
        fix: "raise the limit on a whole answer, which keep-alives do not reset; if one counts silence, set \
              MCP_SSE_KEEPALIVE_INTERVAL below it",
        reference: "Envoy route timeout, nginx proxy_read_timeout, AWS ALB idle timeout, Cloudflare Proxy Read Timeout, undici bodyTimeout",
        check: stream_timeout,
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
    fix: "run one replica, or have the load balancer send all requests of a session to the same one (sticky sessions need a \
          client that keeps cookies; hashing by the client's address needs none)",
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

/// A request that names a session of the instance `maker`, at the instance `here`. `replica`: `maker` made it while this
/// instance ran.
#[must_use]
pub fn other_replica(maker: InstanceName, here: InstanceName, replica: bool) -> Finding {
    let summary = if replica {
        "another replica of this server made the session, and sessions are not shared"
    } else {
        "another instance made the session: another replica, or this server before it was restarted"
    };
    let finding = Finding::new(&OTHER_REPLICA, summary, "made by instance", &maker.to_string())
        .and_evidence("answered by instance", &here.to_string());
    if replica {
        finding
    } else {
        finding.with_fix(
            "after a restart: POST initialize without an Mcp-Session-Id header; with several replicas: have the load balancer \
             send all requests of a session to the same one",
        )
    }
}

fn per_call(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake()?;
    let before = record.history.before.filter(|before| before.single_calls > 0)?;
    if record.tool_calls > 1 || record.request_count > 2 {
        return None;
    }
    let summary = "the client seems to open a session for every tool call; what a session keeps is lost each time";
    let what = "sessions before this one with one tool call and nothing else";
    let finding = Finding::new(rule, summary, what, &before.single_calls.to_string());
    Some(finding.and_evidence("tool calls in this session", &record.tool_calls.to_string()))
}

fn no_delete(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake()?;
    let before = record.history.before.filter(|before| before.expired)?;
    let summary = "the session before, of the same client, expired without DELETE";
    let age = duration(record.created.since(before.created));
    let finding = Finding::new(rule, summary, "the session before was created", &format!("{age} before this one"));
    Some(finding.and_evidence("its requests", &before.requests.to_string()))
}

/// Time-outs that end streams, in seconds, and whose they are.
const TIMEOUTS: [(u32, &str); 4] = [
    (60, "a route's timeout in Envoy; nginx, HAProxy and AWS load balancers (all 60 s) count silence only"),
    (100, "the Cloudflare proxy read timeout (100 s; 120 s in newer plans)"),
    (125, "Cloudflare (ends idle answers after about 125 s)"),
    (300, "undici bodyTimeout in Node.js clients, the read timeout of the Python SDK, or Railway (all 300 s)"),
];

/// How exactly a lifetime must match, in milliseconds.
const NEAR_MS: u32 = 2000;

fn stream_timeout(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let lifetimes = facts.session?.record.history.lifetimes();
    let found = TIMEOUTS.into_iter().filter_map(|(seconds, culprits)| {
        let near = |lifetime: &&u32| lifetime.abs_diff(seconds * 1000) <= NEAR_MS;
        let matching: Vec<_> = lifetimes.iter().filter(near).map(ToString::to_string).collect();
        // Once is chance.
        if matching.len() < 2 {
            return None;
        }
        let summary = format!("{} GET streams ended after {seconds} s, give or take 2 s", matching.len());
        let finding = Finding::new(rule, summary, "lifetimes in ms", &matching.join(", "));
        Some(finding.and_evidence("known for this time", culprits))
    });
    Finding::joined(found)
}

fn queue_overflow(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let lost = facts.session?.lost;
    let summary = "messages for the GET stream were lost because the queue was full";
    (lost > 0).then(|| Finding::new(rule, summary, "messages lost", &lost.to_string()))
}
