//! `id.*`: whether headers, tokens and the session tell of the same user.

use serde_json::{Map, Value};

use super::headers::with_headers;
use super::{Facts, Finding, Rule, Severity};
use crate::diagnosis::agreement::{ClaimComparison, compare};
use crate::diagnosis::claims::{bearers, jwt_claims};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::identity::{IdentityHeader, caller, identity_headers};
use crate::diagnosis::products::{self, Meaning};
use crate::diagnosis::redact;

/// The family's rules.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "id.header_claim_mismatch",
        severity: Severity::Error,
        meaning: "A header that the proxy copies from the token says something else than the token",
        fix: "have the proxy overwrite the header from the token that it checked: a client may have sent this one",
        reference: "CVE-2026-30851 (Caddy); Traefik ForwardAuth, authResponseHeaders; Istio outputClaimToHeaders",
        check: header_claim_mismatch,
    },
    Rule {
        id: "id.other_user",
        severity: Severity::Warning,
        meaning: "The auth product's headers name another user than the bearer token",
        fix: "log in to both as the same user, or have the proxy delete the identity headers that it does not write",
        reference: "RFC 9700 section 4.13; each product's documentation of its headers",
        check: other_user,
    },
    Rule {
        id: "id.assertion_mismatch",
        severity: Severity::Error,
        meaning: "An identity header says something else than the signed assertion of the same product",
        fix: "read the assertion and check its signature instead of the plain header, and let only the product reach this \
              server",
        reference: "each product's documentation: Google IAP signed headers, Cloudflare Access application token, AWS ALB \
                    x-amzn-oidc-data, Pomerium identity verification",
        check: assertion_mismatch,
    },
    Rule {
        id: "id.auth_token_ne_bearer",
        severity: Severity::Error,
        meaning: "X-Auth-Token and the bearer token are two different tokens: the proxy checked one, a server may use the \
                  other",
        fix: "list X-Auth-Token in the proxy's authResponseHeaders, so that it replaces what the client sends",
        reference: "RFC 6750 section 2 (one way to send a token); Traefik ForwardAuth, authResponseHeaders",
        check: auth_token,
    },
    Rule {
        id: "id.session_owner_mismatch",
        severity: Severity::Error,
        meaning: "The request is not from the user that opened its session",
        fix: "initialize a session for each user, and leave MCP_SESSION_BINDING at user",
        reference: "MCP 2025-11-25 basic/security_best_practices, Session Hijacking",
        check: session_owner,
    },
    Rule {
        id: "id.token_passthrough",
        severity: Severity::Info,
        meaning: "The client's own token reaches this server twice: as bearer and in X-Auth-Token",
        fix: "do not hand this token on to other services: let a server that calls them get one of its own",
        reference: "MCP 2025-11-25 basic/authorization, Access Token Privilege Restriction",
        check: auth_token,
    },
];

/// Products whose headers are copied from the bearer token of the same request.
const FROM_THE_BEARER: [&str; 2] = ["mcp-oauth-gateway", "Envoy / Istio"];

/// Products that send a signed assertion beside plain headers of the same content.
const WITH_ASSERTION: [&str; 5] = ["authentik", "Pomerium", "Cloudflare Access", "Google IAP", "AWS ALB"];

/// The claims to compare with: the bearer's; without Authorization those of the token that the gateway says it checked.
fn claims(facts: &Facts<'_>) -> Option<Map<String, Value>> {
    let checked = || jwt_claims(facts.headers.get("x-auth-token")?.to_str().ok()?);
    facts.claims().cloned().or_else(checked)
}

/// A display name differs with every directory's taste: only these are judged.
fn judged(header: &IdentityHeader, claims: &Map<String, Value>) -> Option<ClaimComparison> {
    compare(header, claims).filter(|_| header.meaning != Meaning::DisplayName)
}

/// `rule` with the header's lines and the claim that it differs from.
fn differs(
    rule: &'static Rule,
    facts: &Facts<'_>,
    summary: String,
    header: &IdentityHeader,
    ClaimComparison { claim, value, .. }: &ClaimComparison,
) -> Option<Finding> {
    let finding = with_headers(rule, summary, facts.headers, &[&*header.name])?;
    Some(finding.and_evidence(&format!("Claim {claim}"), &redact::header(claim, value)))
}

fn header_claim_mismatch(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let claims = claims(facts)?;
    let headers = identity_headers(facts.headers);
    let copied = headers.iter().filter(|header| FROM_THE_BEARER.contains(&header.product.name));
    Finding::joined(copied.filter_map(|header| {
        let compared = judged(header, &claims).filter(|compared| !compared.agrees)?;
        let summary = format!("{} is not what the token says in {}", title_case(&header.name), compared.claim);
        differs(rule, facts, summary, header, &compared)
    }))
}

/// Two logins, one at the proxy and one of the client, may well have different ids for one user: only where nothing
/// that a product says agrees is it another user.
fn other_user(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let claims = claims(facts)?;
    let headers = identity_headers(facts.headers);
    let others = products::PRODUCTS.iter().filter(|product| !FROM_THE_BEARER.contains(&product.name));
    Finding::joined(others.filter_map(|product| {
        let of_product = headers.iter().filter(|header| header.product.name == product.name);
        let compared: Vec<_> = of_product.filter_map(|header| Some((header, judged(header, &claims)?))).collect();
        if compared.iter().any(|(_, compared)| compared.agrees) {
            return None;
        }
        // Ids of two systems differ by nature; e-mail addresses and login names do not.
        let by_name = |header: &IdentityHeader| {
            matches!(header.meaning, Meaning::Email | Meaning::UserName)
                || (header.meaning == Meaning::UserId && header.value.contains('@'))
        };
        let (header, compared) = compared.iter().find(|(header, _)| by_name(header))?;
        if header.value.contains('@') != compared.value.contains('@') {
            return None;
        }
        let summary =
            format!("{} names another user than the bearer token's {}", title_case(&header.name), compared.claim);
        differs(rule, facts, summary, header, compared)
    }))
}

fn assertion_mismatch(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = identity_headers(facts.headers);
    let products = products::PRODUCTS.iter().filter(|product| WITH_ASSERTION.contains(&product.name));
    Finding::joined(products.flat_map(|product| {
        let mut assertions = product.fields.iter().filter(|field| field.jwt).map(|field| field.header);
        let claims = |name: &str| jwt_claims(facts.headers.get(name)?.to_str().ok()?);
        let assertion = assertions.find_map(|name| Some((name, claims(name)?)));
        let plain = headers.iter().filter(|header| header.product.name == product.name);
        let found: Vec<Finding> = plain
            .filter_map(|header| {
                let (assertion, claims) = assertion.as_ref()?;
                let compared = judged(header, claims).filter(|compared| !compared.agrees)?;
                let [plain, signed] = [title_case(&header.name), title_case(assertion)];
                let summary = format!("{plain} is not what {signed} says in {}", compared.claim);
                differs(rule, facts, summary, header, &compared)
            })
            .collect();
        found
    }))
}

/// One inspection for two rows: another token, or the same.
fn auth_token(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let bearers: Vec<&[u8]> = bearers(facts.headers).map(str::as_bytes).collect();
    let tokens: Vec<&[u8]> = facts.headers.get_all("x-auth-token").iter().map(|value| bare(value.as_bytes())).collect();
    if bearers.is_empty() || tokens.iter().all(|token| token.is_empty()) {
        return None;
    }
    let (id, summary) = if tokens.iter().all(|token| bearers.contains(token)) {
        ("id.token_passthrough", "X-Auth-Token is the bearer token itself")
    } else {
        ("id.auth_token_ne_bearer", "X-Auth-Token is another token than Authorization holds")
    };
    let found = with_headers(rule, summary, facts.headers, &["x-auth-token", "authorization"]);
    found.filter(|_| rule.id == id)
}

/// A token without a scheme in front.
fn bare(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked("Bearer ".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"Bearer ") => rest.trim_ascii(),
        _ => value,
    }
}

/// With `MCP_SESSION_BINDING=user` such a request is refused before a tool sees it.
fn session_owner(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let owner = facts.owner?;
    let caller = caller(facts.headers);
    if caller.as_ref().is_some_and(|caller| caller.id == owner.id) {
        return None;
    }
    let summary = match &caller {
        Some(caller) => format!("the {} is not the session owner's", caller.source.name()),
        None => "the session has an owner, and this request names nobody".to_owned(),
    };
    let seen = caller.map_or_else(|| "no X-User-Id and no bearer token with a sub".to_owned(), |caller| caller.id);
    Some(Finding::new(rule, summary, "Session owner", &owner.id).and_evidence("This request", &seen))
}
