//! `hdr.*`: what headers and proxies do to a request.
//!
//! Nothing here decides whether a header is genuine: that cannot be seen behind a proxy. What can be seen is what no
//! well set-up proxy would let through.

pub(super) mod identity;
pub(super) mod path;
pub(super) mod public_url;

use http::HeaderMap;

use super::{Finding, Rule};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::redact;

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
