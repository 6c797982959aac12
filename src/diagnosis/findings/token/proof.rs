//! Tokens bound to a key by DPoP (RFC 9449), and the proof that comes with them.

use std::borrow::Cow;

use super::{Facts, Finding, Report, quote};
use crate::diagnosis::findings::{Rule, Severity};
use crate::diagnosis::forwarding::public_url;
use crate::diagnosis::token::{self, Binding, Origin};

pub(super) const DPOP_BOUND_BEARER: Rule = Rule {
    id: "tok.dpop_bound_bearer",
    severity: Severity::Error,
    meaning: "A token bound to a key by DPoP was sent as Bearer or without its proof",
    fix: "send `Authorization: DPoP TOKEN` and a new proof in the DPoP header of each request",
    reference: "RFC 9449 section 7.1",
};
pub(super) const DPOP_HTU: Rule = Rule {
    id: "tok.dpop_htu",
    severity: Severity::Error,
    meaning: "The DPoP proof is for another URL than the one this request came to",
    fix: "make the proxy forward the public scheme and host (X-Forwarded-Proto, X-Forwarded-Host) and compare htu \
          with the URL that they tell",
    reference: "RFC 9449 section 4.3, points 9 and 12",
};

pub(super) fn of_report(report: &Report) -> Option<Finding> {
    let bearer = report.facts.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
    let Some(Binding::Dpop(thumbprint)) = report.facts.binding().filter(|_| bearer) else { return None };
    let summary = "the token is bound to a key by DPoP (cnf.jkt), but the scheme is Bearer".to_owned();
    Some(Finding::new(&DPOP_BOUND_BEARER, summary, "cnf.jkt", thumbprint).and_evidence("scheme", "Bearer"))
}

/// The proof in the request's `DPoP` header, or that there is none.
pub(super) fn of_request(report: &Report, facts: &Facts<'_>) -> Option<Finding> {
    let Some(header) = facts.headers.get("dpop") else {
        let dpop = report.facts.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("dpop"));
        let Some(Binding::Dpop(thumbprint)) = report.facts.binding().filter(|_| dpop) else { return None };
        let summary = "the token is bound to a key by DPoP (cnf.jkt), but the request has no DPoP header".to_owned();
        return Some(Finding::new(&DPOP_BOUND_BEARER, summary, "cnf.jkt", thumbprint).and_evidence("DPoP", "absent"));
    };
    let text: Cow<'_, str> = String::from_utf8_lossy(header.as_bytes());
    let proof = token::inspect_from(&text, Origin::Header, facts.now).proof?;
    let htu = proof.url?;
    let url = public_url(facts.headers, facts.uri).url()?;
    let why = token::url_difference(&htu, &url).unwrap_or(Some("htu is no absolute URL"))?;
    let summary = format!("htu is {}, this request came to {}: {why}", quote(&htu), quote(&url));
    Some(Finding::new(&DPOP_HTU, summary, "htu", &htu).and_evidence("this request's URL", &url))
}
