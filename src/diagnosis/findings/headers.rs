//! `hdr.*`: what headers and proxies do to a request.
//!
//! Nothing here decides whether a header is genuine: that cannot be seen behind a proxy. What can be seen is what no
//! well set-up proxy would let through.

mod credentials;
mod identity;
mod path;

use http::HeaderMap;

use super::{Facts, Finding, Rule};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::redact;

/// The family's rules.
pub const RULES: &[&Rule] = &[
    &identity::UNDERSCORE_ALIAS,
    &identity::UNDERSCORE_NAME,
    &identity::DUPLICATE_IDENTITY,
    &identity::DUPLICATE_AUTHORIZATION,
    &identity::LONE_IDENTITY,
    &identity::TWO_PRODUCTS,
    &path::FORWARDED_CONFLICT,
    &path::XFP_HTTP_PUBLIC,
    &path::XFH_NE_HOST,
    &path::FWD_URI_AT_BACKEND,
    &path::OVERSIZE,
    &path::LARGE,
    &path::HOP_BY_HOP,
    &path::PROXY_FINGERPRINT,
    &credentials::AUTH_FAILED_BUT_ALLOWED,
    &credentials::BASIC_INSTEAD_OF_BEARER,
    &credentials::AUTHORIZATION_LOST,
    &credentials::TOKEN_ELSEWHERE,
];

/// What is wrong with the headers of one request.
#[must_use]
pub fn of_request(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = identity::of_request(facts);
    findings.extend(path::of_request(facts));
    findings.extend(credentials::of_request(facts));
    findings
}

/// The most lines of one header, and the most headers, that are shown as evidence.
const MOST_SHOWN: usize = 5;

/// `rule` with the lines of the headers `names` (lower case) as evidence; those that are absent are left out. `None`
/// without any: no finding without evidence.
pub(super) fn with_headers(
    rule: &'static Rule,
    summary: impl Into<String>,
    headers: &HeaderMap,
    names: &[&str],
) -> Option<Finding> {
    let mut finding: Option<Finding> = None;
    let mut summary = Some(summary.into());
    for &name in names.iter().take(MOST_SHOWN) {
        let written = title_case(name);
        for line in headers.get_all(name).iter().take(MOST_SHOWN) {
            let shown = redact::header(name, line);
            finding = Some(match finding {
                Some(finding) => finding.and_evidence(&written, &shown),
                None => Finding::new(rule, summary.take().unwrap_or_default(), &written, &shown),
            });
        }
    }
    finding
}
