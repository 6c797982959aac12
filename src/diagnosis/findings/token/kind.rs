//! What was sent, where it is no access token: the remedy depends on what it is.

use super::{Facts, Finding, Rule};
use crate::diagnosis::findings::Severity;
use crate::diagnosis::issuers::Issuer;
use crate::diagnosis::products;
use crate::diagnosis::token::{Report, TokenKind};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.wrong_kind",
        severity: Severity::Error,
        meaning: "This is no access token but another kind, such as a refresh token, a proof, an assertion or a session \
                  cookie",
        fix: "send the access_token of the token endpoint's answer",
        reference: "RFC 6749 sections 1.4 and 1.5; RFC 8725 section 3.11",
        check: other_kind,
    },
    Rule {
        id: "tok.id_token",
        severity: Severity::Warning,
        meaning: "This is an ID token, which is for the client alone: resource servers refuse it unless they expect one",
        fix: "send the access_token of the token endpoint's answer, not its id_token",
        reference: "OpenID Connect Core section 2; RFC 9068 section 5; RFC 8725 section 3.11",
        check: id_token,
    },
    Rule {
        id: "tok.gateway_assertion",
        severity: Severity::Info,
        meaning: "Authorization holds what an identity-aware proxy tells the server behind it, and no access token",
        fix: "have the proxy send it in its own header, and verify it there with the proxy's keys",
        reference: "RFC 6750 section 2.1; the proxy's documentation on its signed header",
        check: gateway_assertion,
    },
    Rule {
        id: "tok.api_key",
        severity: Severity::Info,
        meaning: "This is an API key and no OAuth token: only a server that knows the key takes it",
        fix: "log in with OAuth and send the access token; where the server takes keys nothing is wrong, but a vendor's key \
              belongs to that vendor's API alone",
        reference: "RFC 6750 section 2.1; MCP specification, Authorization, Token Requirements",
        check: api_key,
    },
];

fn other_kind(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report()?;
    let (why, fix) = report.kind.why_wrong()?;
    let summary = format!("this is no access token but another kind ({}): {why}", report.kind.title());
    Some(Finding::new(rule, summary, "told by", &report.kind_evidence).with_fix(fix))
}

/// Of one that a platform took the signature off, another rule tells. One of Google's for this very server is how Google's
/// service accounts show who they are to servers of their owner.
fn id_token(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report().filter(|report| report.kind == TokenKind::IdToken)?;
    let token = &report.token;
    if token.is_signature_removed() {
        return None;
    }
    let issuer = Issuer::of(token);
    if issuer == Some(Issuer::Google) && super::audience::is_this(facts, token) {
        return None;
    }
    let summary = format!("this is an ID token: {}", report.kind_evidence);
    let finding = Finding::new(rule, summary, "aud", &token.audience().join(", "));
    let behind = |name: &str| products::seen(facts.headers).iter().any(|seen| seen.product.starts_with(name));
    Some(if !is_given(facts) && behind("oauth2-proxy") {
        finding.with_fix(
            "send the access token: behind oauth2-proxy use --pass-access-token, since its --pass-authorization-header hands \
             the ID token on by design",
        )
    } else {
        match issuer {
            Some(Issuer::Google) => finding.with_fix(
                "Google's access tokens are opaque, so send one and have the server ask Google about it (tokeninfo), or have \
                 the server expect ID tokens, with its own client id or URL as aud",
            ),
            Some(Issuer::Firebase) => finding.with_fix(
                "Firebase gives backends its ID token by design: have the server expect it (iss \
                 https://securetoken.google.com/PROJECT, aud PROJECT), or put an OAuth authorization server in front",
            ),
            _ => finding,
        }
    })
}

fn is_given(facts: &Facts<'_>) -> bool {
    facts.credential().is_some_and(|credential| credential.given)
}

fn gateway_assertion(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report: &Report = facts.report().filter(|report| report.kind == TokenKind::GatewayAssertion)?;
    if is_given(facts) {
        return None;
    }
    let summary = format!("Authorization holds a gateway's assertion: {}", report.kind_evidence);
    Some(Finding::new(rule, summary, "aud", &report.token.audience().join(", ")))
}

fn api_key(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report().filter(|report| report.kind == TokenKind::ApiKey)?;
    if crate::diagnosis::findings::credentials::is_other_scheme(report) {
        return None;
    }
    let summary = format!("this is an API key and no OAuth token: it {}", report.kind_evidence);
    Some(Finding::new(rule, summary, "length", &report.token.length.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_is_wrong_has_a_remedy_of_its_own() {
        let mut fixes = std::collections::HashSet::new();
        for (_, fix) in TokenKind::ALL.into_iter().filter_map(TokenKind::why_wrong) {
            assert!(fixes.insert(fix) && !fix.ends_with('.'), "{fix}");
        }
        assert_eq!(fixes.len(), 6);
    }
}
