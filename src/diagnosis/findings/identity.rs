//! `id.*`: whether headers, tokens and the session tell of the same user.

use serde_json::{Map, Value};

use super::headers::with_headers;
use super::{Facts, Finding, Rule, Severity};
use crate::diagnosis::agreement::claims_of;
use crate::diagnosis::claims::{bearer_claims, bearers, jwt_claims, text_claim};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::identity::{Fact, caller, facts as told};
use crate::diagnosis::products::{self, Meaning};
use crate::diagnosis::redact;

/// The family's rules.
pub const RULES: &[&Rule] = &[
    &HEADER_CLAIM_MISMATCH,
    &OTHER_USER,
    &ASSERTION_MISMATCH,
    &AUTH_TOKEN_NE_BEARER,
    &SESSION_OWNER_MISMATCH,
    &TOKEN_PASSTHROUGH,
];

static HEADER_CLAIM_MISMATCH: Rule = Rule {
    id: "id.header_claim_mismatch",
    severity: Severity::Error,
    meaning: "A header that the proxy copies from the token says something else than the token",
    fix: "have the proxy overwrite the header from the token that it checked: a client may have sent this one",
    reference: "CVE-2026-30851 (Caddy); Traefik ForwardAuth, authResponseHeaders; Istio outputClaimToHeaders",
};

static OTHER_USER: Rule = Rule {
    id: "id.other_user",
    severity: Severity::Warning,
    meaning: "The auth product's headers name another user than the bearer token",
    fix: "log in to both as the same user, or have the proxy delete the identity headers that it does not write",
    reference: "RFC 9700 section 4.13; each product's documentation of its headers",
};

static ASSERTION_MISMATCH: Rule = Rule {
    id: "id.assertion_mismatch",
    severity: Severity::Error,
    meaning: "An identity header says something else than the signed assertion of the same product",
    fix: "read the assertion and check its signature instead of the plain header, and let only the product reach this \
          server",
    reference: "each product's documentation: Google IAP signed headers, Cloudflare Access application token, AWS ALB \
                x-amzn-oidc-data, Pomerium identity verification",
};

static AUTH_TOKEN_NE_BEARER: Rule = Rule {
    id: "id.auth_token_ne_bearer",
    severity: Severity::Error,
    meaning: "X-Auth-Token and the bearer token are two different tokens: the proxy checked one, a server may use the \
              other",
    fix: "list X-Auth-Token in the proxy's authResponseHeaders, so that it replaces what the client sends",
    reference: "RFC 6750 section 2 (one way to send a token); Traefik ForwardAuth, authResponseHeaders",
};

static SESSION_OWNER_MISMATCH: Rule = Rule {
    id: "id.session_owner_mismatch",
    severity: Severity::Error,
    meaning: "The request is not from the user that opened its session",
    fix: "initialize a session for each user, and leave MCP_SESSION_BINDING at user",
    reference: "MCP 2025-11-25 basic/security_best_practices, Session Hijacking",
};

static TOKEN_PASSTHROUGH: Rule = Rule {
    id: "id.token_passthrough",
    severity: Severity::Info,
    meaning: "The client's own token reaches this server twice: as bearer and in X-Auth-Token",
    fix: "do not hand this token on to other services: let a server that calls them get one of its own",
    reference: "MCP 2025-11-25 basic/authorization, Access Token Privilege Restriction",
};

/// Products whose headers are copied from the bearer token of the same request.
const FROM_THE_BEARER: [&str; 2] = ["mcp-oauth-gateway", "Envoy / Istio"];

/// Products that send a signed assertion beside plain headers of the same content.
const WITH_ASSERTION: [&str; 5] = ["authentik", "Pomerium", "Cloudflare Access", "Google IAP", "AWS ALB"];

/// Where the headers, the token and the session's owner contradict each other.
#[must_use]
pub fn of_request(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let told = told(facts.headers);
    // Without Authorization, what the gateway says it checked is the token to compare with.
    let checked = || jwt_claims(facts.headers.get("x-auth-token")?.to_str().ok()?);
    if let Some(claims) = bearer_claims(facts.headers).or_else(checked) {
        findings.extend(from_the_bearer(facts, &told, &claims));
        findings.extend(other_users(facts, &told, &claims));
    }
    findings.extend(assertions(facts, &told));
    findings.extend(auth_token(facts));
    findings.extend(session_owner(facts));
    findings
}

/// Whether a fact repeats a claim of its meaning, and the claim that it should have repeated; `None` where there is
/// nothing to compare.
fn compare(fact: &Fact, claims: &Map<String, Value>) -> Option<(bool, &'static str, String)> {
    // A display name differs with every directory's taste.
    if fact.meaning == Meaning::DisplayName {
        return None;
    }
    let (_, names) = claims_of(fact.meaning)?;
    let (name, value) = text_claim(claims, names)?;
    // Some gateways put the name for people into X-User-Name.
    let also: &[&'static str] = if fact.meaning == Meaning::UserName { &["name", "sub"] } else { &[] };
    let same = names.iter().chain(also).any(|name| {
        text_claim(claims, &[*name]).is_some_and(|(_, value)| {
            // Google IAP writes the issuer before the subject, in the header and in the assertion.
            let value = value.strip_prefix("accounts.google.com:").unwrap_or(&value);
            if value.contains('@') { value.eq_ignore_ascii_case(&fact.value) } else { value == fact.value }
        })
    });
    Some((same, name, value))
}

fn from_the_bearer(facts: &Facts<'_>, told: &[Fact], claims: &Map<String, Value>) -> Vec<Finding> {
    let copied = told.iter().filter(|fact| FROM_THE_BEARER.contains(&fact.product.name));
    let differing = copied.filter_map(|fact| match compare(fact, claims)? {
        (true, ..) => None,
        (false, claim, value) => {
            let header = title_case(&fact.header);
            let summary = format!("{header} is not what the token says in {claim}");
            let finding = with_headers(&HEADER_CLAIM_MISMATCH, summary, facts.headers, &[&*fact.header])?;
            Some(finding.and_evidence(&format!("Claim {claim}"), &redact::header(claim, &value)))
        }
    });
    differing.collect()
}

/// Two logins, one at the proxy and one of the client, may well have different ids for one user: only where nothing
/// that a product says agrees is it another user.
fn other_users(facts: &Facts<'_>, told: &[Fact], claims: &Map<String, Value>) -> Vec<Finding> {
    let others = products::PRODUCTS.iter().filter(|product| !FROM_THE_BEARER.contains(&product.name));
    let differing = others.filter_map(|product| {
        let of_product = told.iter().filter(|fact| fact.product.name == product.name);
        let compared: Vec<_> = of_product.filter_map(|fact| Some((fact, compare(fact, claims)?))).collect();
        // Ids of two systems differ by nature; e-mail addresses and login names do not.
        let by_name = |fact: &Fact| {
            matches!(fact.meaning, Meaning::Email | Meaning::UserName)
                || (fact.meaning == Meaning::UserId && fact.value.contains('@'))
        };
        if compared.iter().any(|(_, (same, ..))| *same) {
            return None;
        }
        let (fact, (_, claim, value)) = compared.iter().find(|(fact, _)| by_name(fact))?;
        let both_addresses = fact.value.contains('@') == value.contains('@');
        if !both_addresses {
            return None;
        }
        let summary = format!("{} names another user than the bearer token's {claim}", title_case(&fact.header));
        let finding = with_headers(&OTHER_USER, summary, facts.headers, &[&*fact.header])?;
        Some(finding.and_evidence(&format!("Claim {claim}"), &redact::header(claim, value)))
    });
    differing.collect()
}

fn assertions(facts: &Facts<'_>, told: &[Fact]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for product in products::PRODUCTS.iter().filter(|product| WITH_ASSERTION.contains(&product.name)) {
        let mut assertions = product
            .fields
            .iter()
            .filter(|field| field.jwt)
            .filter_map(|field| Some((field.header, jwt_claims(facts.headers.get(field.header)?.to_str().ok()?)?)));
        let Some((header, claims)) = assertions.next() else { continue };
        for fact in told.iter().filter(|fact| fact.product.name == product.name) {
            let Some((false, claim, value)) = compare(fact, &claims) else { continue };
            let [plain, assertion] = [title_case(&fact.header), title_case(header)];
            let summary = format!("{plain} is not what {assertion} says in {claim}");
            let finding = with_headers(&ASSERTION_MISMATCH, summary, facts.headers, &[&*fact.header]);
            let shown = redact::header(claim, &value);
            findings.extend(finding.map(|finding| finding.and_evidence(&format!("Claim {claim}"), &shown)));
        }
    }
    findings
}

fn auth_token(facts: &Facts<'_>) -> Option<Finding> {
    let bearers: Vec<&[u8]> = bearers(facts.headers).map(str::as_bytes).collect();
    let tokens: Vec<&[u8]> = facts.headers.get_all("x-auth-token").iter().map(|value| bare(value.as_bytes())).collect();
    if bearers.is_empty() || tokens.iter().all(|token| token.is_empty()) {
        return None;
    }
    let same = tokens.iter().all(|token| bearers.contains(token));
    let (rule, summary) = if same {
        (&TOKEN_PASSTHROUGH, "X-Auth-Token is the bearer token itself")
    } else {
        (&AUTH_TOKEN_NE_BEARER, "X-Auth-Token is another token than Authorization holds")
    };
    with_headers(rule, summary, facts.headers, &["x-auth-token", "authorization"])
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
fn session_owner(facts: &Facts<'_>) -> Option<Finding> {
    let owner = facts.owner?;
    let caller = caller(facts.headers);
    if caller.as_ref().is_some_and(|caller| caller.id == owner.id) {
        return None;
    }
    let summary = match &caller {
        Some(caller) => format!("the {} is not the session owner's", caller.source.name()),
        None => "the session has an owner, and this request names nobody".to_owned(),
    };
    let finding = Finding::new(&SESSION_OWNER_MISMATCH, summary, "Session owner", &owner.id);
    Some(match &caller {
        Some(caller) => finding.and_evidence("This request", &caller.id),
        None => finding.and_evidence("This request", "no X-User-Id and no bearer token with a sub"),
    })
}
