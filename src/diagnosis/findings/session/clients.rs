//! What only the memory of a client shows, beyond its sessions: ids that it never sends back, refusals that it does not heed.
//!
//! The server remembers numbers and kinds, and tells them to nobody but the client that they are of.

use std::time::Duration;

use super::{Facts, Finding, Rule, Severity};
use crate::clock::Moment;
use crate::diagnosis::findings::rule::where_refused;
use crate::session::clients::{Denial, Seen};
use crate::text::duration;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "ses.id_dropped",
        severity: Severity::Warning,
        meaning: "initialize was answered with a session id several times, and none of the ids ever came back",
        fix: "have the client read Mcp-Session-Id from the headers of the answer to initialize and send it with every request that \
              follows, and check that no proxy drops it in either direction: compare `curl -i` of an initialize with and without the \
              proxy; a browser reads it only where Access-Control-Expose-Headers lists Mcp-Session-Id",
        reference: "MCP 2025-03-26 and later, basic/transports, Session Management",
        check: id_dropped,
    },
    Rule {
        id: "http.refused_again",
        severity: Severity::Warning,
        meaning: "requests of the client are refused again and again for the same reason",
        fix: "mend what the refusal names before trying again",
        reference: "RFC 9110 section 15.5: the client should not repeat the request without modification",
        check: refused_again,
    },
    SSE_FALLBACK,
];

/// A GET after a POST that was refused.
const SSE_FALLBACK: Rule = Rule {
    id: "ses.sse_fallback",
    severity: Severity::Warning,
    meaning: "the client's POST was refused, and it tried the HTTP+SSE transport of 2024-11-05 instead, which is not served here",
    fix: "mend why the POST was refused; what the client says of SSE is not the cause",
    reference: "MCP 2025-03-26 and later, basic/transports, Backwards Compatibility",
    check: where_refused,
};

/// Sessions in a row whose id was never used: one is a client that was started and stopped.
const UNUSED: u32 = 2;

/// How long what a client did is the cause of what it asks about.
const RECENT: Duration = Duration::from_secs(600);

fn id_dropped(_: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    if facts.session.is_some() || facts.revision.is_stateless() {
        return None;
    }
    let client = facts.client()?;
    dropped(&client.seen, client.now)
}

/// A client that never sends the id of its sessions back, where it asks without one.
#[must_use]
pub fn dropped(seen: &Seen, now: Moment) -> Option<Finding> {
    if seen.unused < UNUSED || now.since(seen.last_initialized) > RECENT {
        return None;
    }
    let count = seen.unused;
    let never = if seen.used == 0 { "never used an id" } else { "used none of these ids" };
    let summary =
        format!("you initialized {count} times and {never}: the client, or a proxy on the way, drops Mcp-Session-Id");
    let finding = Finding::new(&RULES[0], summary, "sessions made and never used", &count.to_string())
        .and_evidence("the first of them", &format!("{} ago", duration(now.since(seen.unused_since))));
    Some(finding.and_evidence("requests without a session", &seen.sessionless.to_string()))
}

/// Refusals in a row that are a loop.
const REFUSALS: u32 = 3;

fn refused_again(_: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let client = facts.client()?;
    let found = Denial::ALL.into_iter().filter_map(|why| again(&client.seen, why, client.now));
    Finding::joined(found)
}

/// A client whose requests are refused for this reason again and again.
#[must_use]
pub fn again(seen: &Seen, why: Denial, now: Moment) -> Option<Finding> {
    let refused = seen.refused(why);
    // Of an id that is dead `ses.dead_id_reused` tells, and what is not the client's fault is none.
    let is_told = matches!(why, Denial::DeadSession | Denial::TooFast | Denial::Busy);
    if is_told || refused.row < REFUSALS || now.since(refused.last) > RECENT {
        return None;
    }
    let (count, span) = (refused.row, duration(refused.last.since(refused.since)));
    let summary = format!("{count} requests of this client in {span} were refused with {}", why.name());
    let finding = Finding::new(&RULES[1], summary, "refused in a row", &count.to_string());
    Some(finding.and_evidence("of that kind in all", &refused.count.to_string()).with_fix(remedy(why)))
}

/// What to do about a refusal.
const fn remedy(why: Denial) -> &'static str {
    match why {
        Denial::Unreadable => {
            "POST one JSON-RPC 2.0 message as JSON; look at what the client or a proxy makes of the body"
        }
        Denial::NoSession => {
            "POST initialize first and send the Mcp-Session-Id of its answer with GET, DELETE and, where MCP_REQUIRE_SESSION is set, \
             every POST; a client without sessions need not open GET"
        }
        Denial::Version => {
            "send the MCP-Protocol-Version that initialize was answered with; the refusal lists those that are served"
        }
        Denial::Rule => "read the refusal: it names the rule; look at the client's version and its SDK",
        Denial::Host => "add the name that the client uses to MCP_ALLOWED_HOSTS, or have the proxy set Host",
        Denial::Origin => "add the page's origin to MCP_ALLOWED_ORIGINS, if the page is yours",
        Denial::DeadSession => "on 404, POST initialize without an Mcp-Session-Id header",
        Denial::UnknownMethod => {
            "the refusal lists the methods of this protocol version; initialize first, for those of the versions before"
        }
        Denial::Method => "use POST for messages, GET for the stream, DELETE to end the session",
        Denial::Accept => {
            "send Accept: application/json, text/event-stream with POST, and text/event-stream with GET; a probe for OAuth can stop: \
             this server itself asks for no token"
        }
        Denial::TooLarge => "send less at a time, or raise MCP_MAX_BODY_BYTES",
        Denial::ContentType => "send Content-Type: application/json and no Content-Encoding",
        Denial::TooFast => "wait as long as Retry-After says before the next message",
        Denial::Busy => "try again later",
    }
}

/// How soon after a refused POST a client falls back.
const FALLBACK_WITHIN: Duration = Duration::from_secs(10);

/// A GET without a session by a client whose POST was refused just before.
#[must_use]
pub fn sse_fallback(seen: &Seen, now: Moment) -> Option<Finding> {
    let (why, at) = seen.refused_post.filter(|(_, at)| now.since(*at) <= FALLBACK_WITHIN)?;
    let why_name = why.name();
    let summary = format!(
        "the client's POST {} before was refused with {why_name}; this GET looks like its fallback to the HTTP+SSE transport",
        duration(now.since(at))
    );
    let finding = Finding::new(&SSE_FALLBACK, summary, "the POST was refused with", why_name);
    Some(finding.with_fix(format!("{}; HTTP+SSE is not served, and needs no mending", remedy(why))))
}
