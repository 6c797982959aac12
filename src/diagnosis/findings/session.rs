//! Findings about a session and its transport: what only several requests together show. From the counters of
//! [`History`](crate::session::history::History); nothing here looks at more than the record and the request that asks.

use http::HeaderMap;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use jiff::SignedDuration;
use serde_json::Value;

use super::{Facts, Finding, Rule, Severity};
use crate::clock::Moment;
use crate::diagnosis::{claims, redact};
use crate::session::history::{Addresses, token_hash};
use crate::session::{EndReason, InstanceName, Record};
use crate::text::duration;

/// A session's id was used after the session had ended.
pub static DEAD_ID_REUSED: Rule = Rule {
    id: "ses.dead_id_reused",
    severity: Severity::Warning,
    meaning: "a request names a session that has ended",
    fix: "on 404, POST initialize without an Mcp-Session-Id header, and use the new session from then on",
    reference: "MCP 2025-03-26 and later, basic/transports, Session Management",
};
/// Another instance made the session.
pub static OTHER_REPLICA: Rule = Rule {
    id: "ses.other_replica",
    severity: Severity::Error,
    meaning: "a request names a session that another instance of this server made",
    fix: "run one replica, or have the load balancer send all requests of a session to the same one (sticky sessions need a \
          client that keeps cookies; hashing by the client's address needs none)",
    reference: "MCP 2025-03-26 and later, basic/transports, Session Management: the session is state of the server that assigned it",
};
/// The client makes a session for every call.
pub static PER_CALL: Rule = Rule {
    id: "ses.per_call",
    severity: Severity::Info,
    meaning: "the client opens a session for every tool call: nothing is kept from one to the next",
    fix: "keep the Mcp-Session-Id of initialize and send it with every call, or expect nothing that a session keeps",
    reference: "MCP SEP-2567, Motivation: hosted clients that open a session per call",
};
/// The client's session before expired.
pub static NO_DELETE: Rule = Rule {
    id: "ses.no_delete",
    severity: Severity::Info,
    meaning: "the session before, of the same client, expired: the client did not end it",
    fix: "send DELETE with the Mcp-Session-Id when the session is no longer needed",
    reference: "MCP 2025-03-26 and later, basic/transports, Session Management",
};
/// Nobody listens.
pub static GET_MISSING: Rule = Rule {
    id: "ses.get_missing",
    severity: Severity::Info,
    meaning: "the client has not opened a GET stream: notifications wait in the queue and get lost",
    fix: "open GET with the Mcp-Session-Id and Accept: text/event-stream, and check that the proxy lets GET through",
    reference: "MCP 2025-03-26 and later, basic/transports, Listening for Messages from the Server",
};
/// Authorization on some requests only.
pub static AUTH_MISSING_ON_SOME: Rule = Rule {
    id: "ses.auth_missing_on_some",
    severity: Severity::Error,
    meaning: "some requests of the session carry Authorization and others do not",
    fix: "send Authorization with every request: POST, GET and DELETE; check that no redirect or proxy route drops it",
    reference: "MCP 2025-03-26 and later, basic/authorization, Access Token Usage: in every HTTP request, even of one session",
};
/// `notifications/initialized` did not come.
pub static INITIALIZED_NEVER_SENT: Rule = Rule {
    id: "ses.initialized_never_sent",
    severity: Severity::Warning,
    meaning: "the client sends requests but has not sent notifications/initialized",
    fix: "POST notifications/initialized with the Mcp-Session-Id after the answer to initialize, before any other request",
    reference: "MCP 2024-11-05 and later, basic/lifecycle, Initialization",
};
/// The token is about to expire and was never another.
pub static TOKEN_NEVER_REFRESHED: Rule = Rule {
    id: "ses.token_never_refreshed",
    severity: Severity::Warning,
    meaning: "the session has used one token from its start, and that token has expired or is about to",
    fix: "have the client use its refresh token before exp, and check that it was granted one (offline_access)",
    reference: "RFC 6749 sections 1.5 and 6",
};
/// The token changed.
pub static TOKEN_ROTATED: Rule = Rule {
    id: "ses.token_rotated",
    severity: Severity::Info,
    meaning: "the token of the session has changed: refreshing works",
    fix: "nothing to mend, as long as the user stays the same",
    reference: "RFC 6749 section 6",
};
/// Used from two places.
pub static TWO_ADDRESSES: Rule = Rule {
    id: "ses.two_addresses",
    severity: Severity::Warning,
    meaning: "the session's id was used from two addresses: a roaming client, several outgoing addresses, or a stolen id",
    fix: "check that both addresses are the client's; if they are not, end the session with DELETE and find the leak",
    reference: "MCP security best practices, Session Hijacking",
};
/// Streams end after a well-known time.
pub static STREAM_TIMEOUT: Rule = Rule {
    id: "ses.stream_timeout",
    severity: Severity::Warning,
    meaning: "GET streams end after the same time again and again, one that is known for a time-out on the way",
    fix: "raise the time-out of what is on the way",
    reference: "nginx proxy_read_timeout, AWS ALB idle timeout, Cloudflare Proxy Read Timeout, undici bodyTimeout",
};
/// Others tried the id.
pub static INTRUSION: Rule = Rule {
    id: "ses.intrusion",
    severity: Severity::Warning,
    meaning: "requests of others, or without identity, tried this session and were answered as if there were none",
    fix: "check that the client sends its token with every request; if it does, its session id has leaked: end the session",
    reference: "MCP security best practices, Session Hijacking",
};
/// The queue was full.
pub static QUEUE_OVERFLOW: Rule = Rule {
    id: "ses.queue_overflow",
    severity: Severity::Warning,
    meaning: "messages for the GET stream were lost: the queue was full",
    fix: "keep a GET stream open, raise the level with logging/setLevel, or raise MCP_MESSAGE_QUEUE_SIZE",
    reference: "MCP 2025-03-26 and later, basic/transports, Listening for Messages from the Server",
};
/// A request id twice at the same time.
pub static ID_REUSED: Rule = Rule {
    id: "ses.id_reused",
    severity: Severity::Warning,
    meaning: "a request has the id of another one that is still at work",
    fix: "give every request of a session an id of its own",
    reference: "MCP 2024-11-05 and later, basic, Requests: the ID must not have been used before in the session",
};
/// No `MCP-Protocol-Version`.
pub static VERSION_HEADER_MISSING: Rule = Rule {
    id: "http.version_header_missing",
    severity: Severity::Warning,
    meaning: "requests after initialize come without MCP-Protocol-Version",
    fix: "send MCP-Protocol-Version with the negotiated version on every request after initialize, and let proxies pass it",
    reference: "MCP 2025-06-18 and later, basic/transports, Protocol Version Header",
};
/// Another `MCP-Protocol-Version`.
pub static VERSION_HEADER_MISMATCH: Rule = Rule {
    id: "http.version_header_mismatch",
    severity: Severity::Warning,
    meaning: "MCP-Protocol-Version is not the version that initialize negotiated",
    fix: "send the protocolVersion of the answer to initialize, not the one asked for",
    reference: "MCP 2025-06-18 and later, basic/transports, Protocol Version Header",
};
/// `Accept` without one of the two.
pub static ACCEPT_INCOMPLETE: Rule = Rule {
    id: "http.accept_incomplete",
    severity: Severity::Warning,
    meaning: "the Accept header does not list what the client must accept",
    fix: "send Accept: application/json, text/event-stream with POST, and at least text/event-stream with GET",
    reference: "MCP 2025-03-26 and later, basic/transports, Sending Messages to the Server",
};
/// Not JSON.
pub static CONTENT_TYPE_WRONG: Rule = Rule {
    id: "http.content_type",
    severity: Severity::Error,
    meaning: "the body of a POST is not declared as JSON",
    fix: "send exactly one Content-Type: application/json",
    reference: "RFC 9110 sections 8.3 and 15.5.16",
};
/// No `Mcp-Session-Id`.
pub static SESSION_HEADER_MISSING: Rule = Rule {
    id: "http.session_header_missing",
    severity: Severity::Warning,
    meaning: "a request other than initialize names no session",
    fix: "POST initialize first, and send the Mcp-Session-Id of its answer with every request that follows",
    reference: "MCP 2025-03-26 and later, basic/transports, Session Management",
};

/// The families `ses` and `http`.
pub const RULES: &[&Rule] = &[
    &DEAD_ID_REUSED,
    &OTHER_REPLICA,
    &PER_CALL,
    &NO_DELETE,
    &GET_MISSING,
    &AUTH_MISSING_ON_SOME,
    &INITIALIZED_NEVER_SENT,
    &TOKEN_NEVER_REFRESHED,
    &TOKEN_ROTATED,
    &TWO_ADDRESSES,
    &STREAM_TIMEOUT,
    &INTRUSION,
    &QUEUE_OVERFLOW,
    &ID_REUSED,
    &VERSION_HEADER_MISSING,
    &VERSION_HEADER_MISMATCH,
    &ACCEPT_INCOMPLETE,
    &CONTENT_TYPE_WRONG,
    &SESSION_HEADER_MISSING,
];

/// Requests before the missing GET stream is worth a word.
const REQUESTS_WITHOUT_GET: u64 = 6;

/// How near its end a token is about to expire, and how long a session must have had to refresh it.
const SOON: SignedDuration = SignedDuration::from_secs(60);

/// Time-outs that end streams, in seconds, and whose they are.
const TIMEOUTS: [(u32, &str); 4] = [
    (60, "nginx proxy_read_timeout, AWS ALB idle timeout, HAProxy timeout server or Traefik readTimeout (all 60 s)"),
    (100, "the Cloudflare proxy read timeout (100 s; 120 s in newer plans)"),
    (125, "Cloudflare (ends idle answers after about 125 s)"),
    (300, "undici bodyTimeout in Node.js clients, the read timeout of the Python SDK, or Railway (all 300 s)"),
];

/// How exactly a lifetime must match, in milliseconds.
const NEAR_MS: u32 = 2000;

/// What there is besides the record.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The request that asks, where it is one of the session.
    pub facts: Option<&'a Facts<'a>>,
    /// Now, on the sessions' clock.
    pub now: Moment,
    /// Messages that the session's queue lost.
    pub lost: u64,
}

/// What is wrong with a session.
#[must_use]
pub fn of_session(record: &Record, around: Around<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if record.initialized {
        handshake(record, &mut findings);
        transport(record, &mut findings);
    }
    tokens(record, around, &mut findings);
    addresses(record, &mut findings);
    streams(record, around, &mut findings);
    super::sort(&mut findings);
    findings
}

/// How the session began and is used.
fn handshake(record: &Record, findings: &mut Vec<Finding>) {
    let history = &record.history;
    if !record.client_ready && history.before_ready >= 2 {
        let summary = format!("{} requests came, and notifications/initialized did not", history.before_ready);
        let count = history.before_ready.to_string();
        findings.push(Finding::new(&INITIALIZED_NEVER_SENT, summary, "requests since initialize", &count));
    }
    if history.reused_ids > 0 {
        let summary = "a request had the id of another one that was still at work";
        findings.push(Finding::new(&ID_REUSED, summary, "such requests", &history.reused_ids.to_string()));
    }
    if record.client_ready && record.request_count >= REQUESTS_WITHOUT_GET && !history.opened_get() && record.has_get()
    {
        let summary = "the client has not opened a GET stream: it gets no notifications outside of calls";
        let count = record.request_count.to_string();
        findings.push(Finding::new(&GET_MISSING, summary, "requests without a GET", &count));
    }
    let Some(before) = history.before else { return };
    if record.tool_calls <= 1 && record.request_count <= 2 && before.single_calls > 0 {
        let summary = "the client seems to open a session for every tool call; what a session keeps is lost each time";
        let count = before.single_calls.to_string();
        findings.push(
            Finding::new(&PER_CALL, summary, "sessions before this one with one tool call and nothing else", &count)
                .and_evidence("tool calls in this session", &record.tool_calls.to_string()),
        );
    }
    if before.expired {
        let summary = "the session before, of the same client, expired without DELETE";
        let age = duration(record.created.since(before.created));
        findings.push(
            Finding::new(&NO_DELETE, summary, "the session before was created", &format!("{age} before this one"))
                .and_evidence("its requests", &before.requests.to_string()),
        );
    }
}

/// Headers that every request must have.
fn transport(record: &Record, findings: &mut Vec<Finding>) {
    let history = &record.history;
    let negotiated = record.protocol_version.name();
    if history.version_absent > 0 {
        findings.push(
            Finding::new(
                &VERSION_HEADER_MISSING,
                "requests after initialize came without MCP-Protocol-Version",
                "such requests",
                &history.version_absent.to_string(),
            )
            .with_fix(format!("send MCP-Protocol-Version: {negotiated} with every request after initialize")),
        );
    }
    if let Some(other) = history.last_other_version {
        findings.push(
            version_mismatch(other.name(), negotiated)
                .and_evidence("such requests", &history.version_other.to_string()),
        );
    }
    let missing: Vec<(&str, String)> =
        [("application/json", history.accept_without_json), ("text/event-stream", history.accept_without_sse)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind, count.to_string()))
            .collect();
    if let Some((kind, count)) = missing.first() {
        let kinds: Vec<&str> = missing.iter().map(|(kind, _)| *kind).collect();
        let summary = format!("the Accept header of some requests does not list {}", kinds.join(" and "));
        let finding = Finding::new(&ACCEPT_INCOMPLETE, summary, &format!("requests without {kind}"), count);
        findings.push(
            missing[1..].iter().fold(finding, |finding, (kind, count)| {
                finding.and_evidence(&format!("requests without {kind}"), count)
            }),
        );
    }
    if !history.authorized.is_empty() && !history.unauthorized.is_empty() {
        let summary = "some requests carry Authorization and others do not";
        findings.push(
            Finding::new(&AUTH_MISSING_ON_SOME, summary, "with Authorization", &history.authorized.names())
                .and_evidence("without Authorization", &history.unauthorized.names()),
        );
    }
}

fn tokens(record: &Record, around: Around<'_>, findings: &mut Vec<Finding>) {
    let history = &record.history;
    if history.tokens > 1 {
        let summary = "the token changed during the session";
        let changes = (history.tokens - 1).to_string();
        findings.push(Finding::new(&TOKEN_ROTATED, summary, "changes of the Authorization header", &changes));
    }
    let Some(facts) = around.facts.filter(|_| history.tokens == 1) else { return };
    let age = SignedDuration::try_from(around.now.since(record.created)).unwrap_or(SignedDuration::MAX);
    let same = facts.headers.get(AUTHORIZATION).is_some_and(|value| token_hash(value.as_bytes()) == history.last_token);
    if age < SOON || !same {
        return;
    }
    let claims = claims::bearer_claims(facts.headers);
    let Some(exp) = claims.as_ref().and_then(|claims| claims.get("exp")).and_then(Value::as_i64) else { return };
    let Ok(exp) = jiff::Timestamp::from_second(exp) else { return };
    let left = exp.duration_since(facts.now);
    // One that had expired before the session began is no matter of the session.
    if left <= SOON && left + age > SignedDuration::ZERO {
        let state = if left > SignedDuration::ZERO { "is about to expire" } else { "has expired" };
        let summary = format!("the session has used one token from its start, and that token {state}");
        findings.push(
            Finding::new(&TOKEN_NEVER_REFRESHED, summary, "exp", &crate::text::rfc3339(exp))
                .and_evidence("tokens in the session", "1")
                .and_evidence("age of the session", &duration(around.now.since(record.created))),
        );
    }
}

fn addresses(record: &Record, findings: &mut Vec<Finding>) {
    for Addresses { first, other, from_others } in [record.history.v4, record.history.v6] {
        let (Some(first), Some(other)) = (first, other) else { continue };
        let network = if first.is_ipv6() { "/64" } else { "" };
        let summary = "the session's id was used from two addresses";
        findings.push(
            Finding::new(&TWO_ADDRESSES, summary, "first from", &format!("{first}{network}"))
                .and_evidence("later from", &format!("{other}{network}"))
                .and_evidence("requests from elsewhere than the first", &from_others.to_string()),
        );
    }
    let intrusions = record.intrusions;
    if intrusions.other + intrusions.anonymous > 0 {
        let summary = "requests that were not its owner's tried this session";
        findings.push(
            Finding::new(&INTRUSION, summary, "with another identity", &intrusions.other.to_string())
                .and_evidence("without identity", &intrusions.anonymous.to_string()),
        );
    }
}

fn streams(record: &Record, around: Around<'_>, findings: &mut Vec<Finding>) {
    let lifetimes = record.history.lifetimes();
    for (seconds, culprits) in TIMEOUTS {
        let near = |lifetime: &&u32| lifetime.abs_diff(seconds * 1000) <= NEAR_MS;
        let matching: Vec<_> = lifetimes.iter().filter(near).map(ToString::to_string).collect();
        // Once is chance.
        if matching.len() >= 2 {
            let summary = format!("{} GET streams ended after {seconds} s, give or take 2 s", matching.len());
            findings.push(
                Finding::new(&STREAM_TIMEOUT, summary, "lifetimes in ms", &matching.join(", "))
                    .and_evidence("known for this time", culprits)
                    .with_fix(format!("raise the time-out of what is on the way: {culprits}")),
            );
        }
    }
    if around.lost > 0 {
        let summary = "messages for the GET stream were lost because the queue was full";
        findings.push(Finding::new(&QUEUE_OVERFLOW, summary, "messages lost", &around.lost.to_string()));
    }
}

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

/// A `Content-Type` that is not JSON.
#[must_use]
pub fn content_type(headers: &HeaderMap) -> Finding {
    let summary = "the body of the POST is not declared as JSON";
    Finding::new(&CONTENT_TYPE_WRONG, summary, "Content-Type", &shown(headers, CONTENT_TYPE.as_str()))
}

/// An `Accept` without `missing`.
#[must_use]
pub fn accept(headers: &HeaderMap, missing: &str) -> Finding {
    let summary = format!("the Accept header does not list {missing}");
    Finding::new(&ACCEPT_INCOMPLETE, summary, "Accept", &shown(headers, ACCEPT.as_str()))
}

/// A version that is not the negotiated one.
#[must_use]
pub fn version_mismatch(named: &str, negotiated: &str) -> Finding {
    let summary = format!("MCP-Protocol-Version is {named}, but initialize negotiated {negotiated}");
    Finding::new(&VERSION_HEADER_MISMATCH, summary, "MCP-Protocol-Version", named)
        .and_evidence("negotiated", negotiated)
        .with_fix(format!("send MCP-Protocol-Version: {negotiated}"))
}

/// All values of a header, safe to show.
fn shown(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| redact::header(name, value.as_bytes()).into_owned()).collect();
    if values.is_empty() { "absent".to_owned() } else { values.join("; ") }
}
