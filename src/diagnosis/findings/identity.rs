//! `id.*`: whether headers, tokens and the session tell of the same user.

use super::headers::with_headers;
use super::{Facts, Finding, Rule, Severity};
use crate::diagnosis::agreement::{Comparison, rules};

/// The family's rules.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: rules::HEADER_CLAIM,
        severity: Severity::Error,
        meaning: "A header that the proxy copies from the token says something else than the token",
        fix: "have the proxy overwrite the header from the token that it checked: a client may have sent this one",
        reference: "CVE-2026-30851 (Caddy); Traefik ForwardAuth, authResponseHeaders; Istio outputClaimToHeaders",
        check: differs,
    },
    Rule {
        id: rules::UNCONFIRMED,
        severity: Severity::Warning,
        meaning: "A header that gateways copy from the token says what no claim of the token says: a client may have sent it",
        fix: "have the gateway remove this header from what clients send, or set it on every request; where the gateway looks \
              it up elsewhere, prove the gateway with MCP_PROXY_SECRET",
        reference: "envoyproxy/ai-gateway#1815 (clients' copies are stripped); devopsfaith/krakend-ce#309; Traefik ForwardAuth, \
                    authResponseHeaders",
        check: differs,
    },
    Rule {
        id: rules::OTHER_USER,
        severity: Severity::Warning,
        meaning: "The auth product's headers name another user than the bearer token",
        fix: "log in to both as the same user, or have the proxy delete the identity headers that it does not write",
        reference: "RFC 9700 section 4.13; each product's documentation of its headers",
        check: differs,
    },
    Rule {
        id: rules::ASSERTION,
        severity: Severity::Error,
        meaning: "An identity header says something else than the signed assertion of the same product",
        fix: "read the assertion and check its signature instead of the plain header, and let only the product reach this \
              server",
        reference: "each product's documentation: Google IAP signed headers, Cloudflare Access application token, AWS ALB \
                    x-amzn-oidc-data, Pomerium identity verification",
        check: differs,
    },
    Rule {
        id: rules::TWO_TOKENS,
        severity: Severity::Error,
        meaning: "X-Auth-Token and the bearer token are two different tokens: the proxy checked one, a server may use the \
                  other",
        fix: "list X-Auth-Token in the proxy's authResponseHeaders, so that it replaces what the client sends",
        reference: "RFC 6750 section 2 (one way to send a token); Traefik ForwardAuth, authResponseHeaders",
        check: differs,
    },
    Rule {
        id: rules::SESSION_OWNER,
        severity: Severity::Error,
        meaning: "The request is not from the user that opened its session",
        fix: "initialize a session for each user, and leave MCP_SESSION_BINDING at user",
        reference: "MCP 2025-11-25 basic/security_best_practices, Session Hijacking",
        check: differs,
    },
    Rule {
        id: "id.token_passthrough",
        severity: Severity::Info,
        meaning: "The client's own token reaches this server twice: as bearer and in X-Auth-Token",
        fix: "do not hand this token on to other services: let a server that calls them get one of its own",
        reference: "MCP 2025-11-25 basic/authorization, Access Token Privilege Restriction",
        check: passthrough,
    },
];

/// The comparisons that a rule calls a fault, as its finding.
pub(super) fn differs(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let faults = facts.comparisons().iter().filter(|comparison| comparison.finding == Some(rule.id));
    Finding::joined(faults.filter_map(|comparison| {
        let Comparison { summary, headers, other, detail, .. } = comparison;
        let finding = with_headers(rule, summary.as_str(), facts.headers, headers);
        match other {
            Some((what, value)) => Some(match finding {
                Some(finding) => finding.and_evidence(what, value),
                None => Finding::new(rule, summary.as_str(), what, value).and_evidence("Compared", detail),
            }),
            None => finding,
        }
    }))
}

fn passthrough(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let same = |c: &&Comparison| c.id == "forwarded-token" && c.agrees && c.headers.contains(&"x-auth-token");
    let comparison = facts.comparisons().iter().find(same)?;
    with_headers(rule, "X-Auth-Token is the bearer token itself", facts.headers, &comparison.headers)
}
