//! Headers that every request must have.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::{Facts, Finding, Rule, Severity};
use crate::diagnosis::findings::rule::where_refused;
use crate::diagnosis::redact;

pub(super) const RULES: &[Rule] = &[
    VERSION_HEADER_MISSING,
    VERSION_HEADER_MISMATCH,
    ACCEPT_INCOMPLETE,
    CONTENT_TYPE_WRONG,
    SESSION_HEADER_MISSING,
    SESSION_HEADER_TWICE,
    HANDLE_HEADER_MISSING,
];

/// No `MCP-Protocol-Version`.
pub const VERSION_HEADER_MISSING: Rule = Rule {
    id: "http.version_header_missing",
    severity: Severity::Warning,
    meaning: "requests after initialize come without MCP-Protocol-Version",
    fix: "send MCP-Protocol-Version with the negotiated version on every request after initialize, and let proxies pass it",
    reference: "MCP 2025-06-18 and later, basic/transports, Protocol Version Header",
    check: version_missing,
};
/// Another `MCP-Protocol-Version`.
const VERSION_HEADER_MISMATCH: Rule = Rule {
    id: "http.version_header_mismatch",
    severity: Severity::Warning,
    meaning: "MCP-Protocol-Version is not the version that initialize negotiated",
    fix: "send the protocolVersion of the answer to initialize, not the one asked for",
    reference: "MCP 2025-06-18 and later, basic/transports, Protocol Version Header",
    check: version_other,
};
/// `Accept` without one of the two.
const ACCEPT_INCOMPLETE: Rule = Rule {
    id: "http.accept_incomplete",
    severity: Severity::Warning,
    meaning: "the Accept header does not list what the client must accept",
    fix: "send Accept: application/json, text/event-stream with POST, and at least text/event-stream with GET",
    reference: "MCP 2025-03-26 and later, basic/transports, Sending Messages to the Server",
    check: accept_incomplete,
};
/// Not JSON.
const CONTENT_TYPE_WRONG: Rule = Rule {
    id: "http.content_type",
    severity: Severity::Error,
    meaning: "the body of a POST is not declared as JSON",
    fix: "send exactly one Content-Type: application/json",
    reference: "RFC 9110 sections 8.3 and 15.5.16",
    check: where_refused,
};
/// No `Mcp-Session-Id`.
const SESSION_HEADER_MISSING: Rule = Rule {
    id: "http.session_header_missing",
    severity: Severity::Warning,
    meaning: "a request other than initialize names no session",
    fix: "POST initialize first, and send the Mcp-Session-Id of its answer with every request that follows",
    reference: "MCP 2025-03-26 and later, basic/transports, Session Management",
    check: where_refused,
};

/// Two of `Mcp-Session-Id`.
const SESSION_HEADER_TWICE: Rule = Rule {
    id: "http.session_header_twice",
    severity: Severity::Error,
    meaning: "Mcp-Session-Id came twice, or two values in one: a session id is one value",
    fix: "have the client send the header once, and proxies replace it instead of adding one",
    reference: "MCP 2025-03-26 and later, basic/transports, Session Management; RFC 9110 section 5.3",
    check: where_refused,
};

/// Two of `Mcp-Session-Id`, in two lines or in one.
#[must_use]
pub fn session_twice() -> Finding {
    let summary = "Mcp-Session-Id came twice, or joined by a comma";
    Finding::new(&SESSION_HEADER_TWICE, summary, "Mcp-Session-Id", "two values")
}

/// No `Mcp-Param-Session` beside a handle.
const HANDLE_HEADER_MISSING: Rule = Rule {
    id: "http.handle_header_missing",
    severity: Severity::Warning,
    meaning: "a call of 2026-07-28 names a session and does not repeat it in Mcp-Param-Session, as MCP_HANDLE_HEADER asks",
    fix: "run the server without MCP_HANDLE_HEADER, unless a load balancer routes by that header: SDKs in a browser never send \
          it (typescript-sdk#2327)",
    reference: "MCP 2026-07-28 basic/transports/streamable-http, Custom Headers from Tool Parameters",
    check: where_refused,
};

/// No `Mcp-Param-Session` beside a handle, where it is asked for.
#[must_use]
pub fn handle_header_missing() -> Finding {
    let summary = "the call names a session and does not repeat it in Mcp-Param-Session";
    Finding::new(&HANDLE_HEADER_MISSING, summary, "Mcp-Param-Session", "absent")
}

fn version_missing(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake().filter(|record| record.history.version_absent > 0)?;
    let summary = "requests after initialize came without MCP-Protocol-Version";
    let finding = Finding::new(rule, summary, "such requests", &record.history.version_absent.to_string());
    let negotiated = record.protocol_version.name();
    Some(finding.with_fix(format!("send MCP-Protocol-Version: {negotiated} with every request after initialize")))
}

fn version_other(_: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let record = facts.handshake()?;
    let finding = version_mismatch(record.history.last_other_version?.name(), record.protocol_version.name());
    Some(finding.and_evidence("such requests", &record.history.version_other.to_string()))
}

fn accept_incomplete(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let history = &facts.handshake()?.history;
    let kinds = [("application/json", history.accept_without_json), ("text/event-stream", history.accept_without_sse)];
    let missing: Vec<_> = kinds.into_iter().filter(|(_, count)| *count > 0).collect();
    let names: Vec<&str> = missing.iter().map(|(kind, _)| *kind).collect();
    let summary = format!("the Accept header of some requests does not list {}", names.join(" and "));
    let mut seen = missing.iter().map(|(kind, count)| (format!("requests without {kind}"), count.to_string()));
    let (what, count) = seen.next()?;
    let finding = Finding::new(rule, summary, &what, &count);
    Some(seen.fold(finding, |finding, (what, count)| finding.and_evidence(&what, &count)))
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

/// No `Mcp-Session-Id`, where it is needed.
#[must_use]
pub fn session_missing(summary: &str) -> Finding {
    Finding::new(&SESSION_HEADER_MISSING, summary, "Mcp-Session-Id", "absent")
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
