//! The URL that is set, and another one that the headers tell.

use super::super::{Facts, Finding, Rule, Severity};
use crate::diagnosis::redact;
use crate::diagnosis::urls::is_inner_host;

/// The rule on `MCP_PUBLIC_URL`.
pub(in crate::diagnosis::findings) const RULES: &[Rule] = &[Rule {
    id: "hdr.public_url_differs",
    severity: Severity::Info,
    meaning: "MCP_PUBLIC_URL and the proxy's headers tell different URLs: what is compared here is MCP_PUBLIC_URL",
    fix: "set MCP_PUBLIC_URL to the URL that clients are given, or have the proxy's headers tell that one",
    reference: "MCP specification, Authorization, Canonical Server URI; RFC 7239 section 5",
    check: differs,
}];

/// Only what headers say counts: an internal name in `Host`, a scheme of which nothing is said and a prefix that a proxy
/// takes off in silence are why the variable is set.
fn differs(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let set = facts.config.expect.public_url.as_ref()?;
    let told = facts.told_url();
    let says = |name: &str| told.sources.contains(&name);
    let host = told.host.as_deref()?;
    let host_told = says("X-Forwarded-Host") || says("Forwarded") || !is_inner_host(host);
    let scheme_told = says("X-Forwarded-Proto") || says("Forwarded");
    let other = (host_told && *host != set.host)
        || (scheme_told && told.scheme != set.scheme)
        || (says("X-Forwarded-Prefix") && told.path.trim_end_matches('/') != set.path.trim_end_matches('/'));
    if !other {
        return None;
    }
    let told_url = told.url()?;
    let summary = format!("MCP_PUBLIC_URL is {set}, this request's headers tell {}", redact::uri(&told_url));
    let finding = Finding::new(rule, summary, "MCP_PUBLIC_URL", &set.to_string());
    Some(finding.and_evidence(&told.sources.join(", "), &told_url))
}
