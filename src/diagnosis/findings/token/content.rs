//! What the token is, and whether it has what an access token needs.

use super::{Finding, Report, plain, quote};
use crate::diagnosis::findings::{Rule, Severity};
use crate::diagnosis::token::Kind;

pub(super) const ID_TOKEN: Rule = Rule {
    id: "tok.id_token",
    severity: Severity::Warning,
    meaning: "This is an ID token, which is for the client alone: resource servers refuse it unless they expect one",
    fix: "send the access token; where oauth2-proxy passes Authorization on (pass-authorization-header) it is the ID \
          token by design: use pass-access-token instead",
    reference: "OpenID Connect Core section 2; RFC 9068 section 5; RFC 8725 section 3.11",
};
pub(super) const WRONG_KIND: Rule = Rule {
    id: "tok.wrong_kind",
    severity: Severity::Error,
    meaning: "This is no access token but another kind, such as a refresh token, a proof or an assertion",
    fix: "exchange it at the token endpoint and send the access_token of the answer",
    reference: "RFC 6749 sections 1.4 and 1.5; RFC 8725 section 3.11",
};
pub(super) const ISS_ENTRA_V1: Rule = Rule {
    id: "tok.iss_entra_v1",
    severity: Severity::Info,
    meaning: "The issuer is Entra ID version 1: a server that expects login.microsoftonline.com/.../v2.0 refuses the \
              token",
    fix: "set requestedAccessTokenVersion to 2 in the manifest of the API's app registration, or configure the server \
          for sts.windows.net",
    reference: "Microsoft identity platform, Access tokens, Token formats; RFC 9068 section 4",
};
pub(super) const TYP_NOT_AT_JWT: Rule = Rule {
    id: "tok.typ_not_at_jwt",
    severity: Severity::Info,
    meaning: "typ is not at+jwt: the token does not follow the JWT profile for access tokens",
    fix: "turn on RFC 9068 access tokens at the issuer if the resource server demands them",
    reference: "RFC 9068 section 2.1",
};
pub(super) const RFC9068_MISSING: Rule = Rule {
    id: "tok.rfc9068_missing",
    severity: Severity::Info,
    meaning: "Claims are missing that the JWT profile for access tokens requires",
    fix: "turn on RFC 9068 access tokens at the issuer if the resource server demands them",
    reference: "RFC 9068 section 2.2",
};
pub(super) const SCOPE_MISSING: Rule = Rule {
    id: "tok.scope_missing",
    severity: Severity::Info,
    meaning: "The token grants no scope, permission or role: a server that requires one answers 403 insufficient_scope",
    fix: "ask for the scopes that the 401 challenge or scopes_supported of the protected-resource metadata names",
    reference: "RFC 6750 section 3.1; MCP specification, Authorization, Scope Selection Strategy",
};

/// Why a token gives access to nothing, by its kind.
pub(super) fn wrong_kind(report: &Report) -> Option<&'static str> {
    match report.kind {
        Kind::RefreshToken => Some("it goes to the token endpoint and nowhere else"),
        Kind::DpopProof => Some("it goes into the DPoP header, beside the access token"),
        Kind::LogoutToken | Kind::SecurityEvent => Some("it tells of an event"),
        Kind::Assertion => Some("it goes to the authorization server, which gives an access token for it"),
        _ => None,
    }
}

pub(super) fn of(report: &Report) -> Vec<Finding> {
    let facts = &report.facts;
    let mut findings = Vec::new();
    if report.kind == Kind::IdToken {
        let summary = format!("this is an ID token: {}", report.evidence);
        findings.push(Finding::new(&ID_TOKEN, summary, "aud", &facts.audience().join(", ")));
    }
    if let Some(why) = wrong_kind(report) {
        let summary = format!("this is no access token but another kind ({}): {why}", report.kind.title());
        findings.push(Finding::new(&WRONG_KIND, summary, "told by", &report.evidence));
    }
    if let Some(issuer) = facts.claim_str("iss").filter(|issuer| issuer.contains("sts.windows.net")) {
        let summary = format!("iss is {}, the version 1 issuer of Entra ID", quote(issuer));
        findings.push(Finding::new(&ISS_ENTRA_V1, summary, "iss", issuer));
    }
    let Some(profile) = &report.profile else { return findings };
    if !profile.typ {
        let typ = facts.param("typ").map_or_else(|| "absent".into(), plain);
        findings.push(Finding::new(&TYP_NOT_AT_JWT, format!("typ is {}, not at+jwt", quote(&typ)), "typ", &typ));
    }
    // aud and exp have findings of their own, which say more.
    let missing: Vec<&str> = profile.missing.iter().copied().filter(|name| !matches!(*name, "aud" | "exp")).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        findings.push(Finding::new(&RFC9068_MISSING, format!("the token lacks {missing}"), "missing", &missing));
    }
    if report.kind == Kind::AccessToken && facts.grants().iter().all(|grants| grants.values.is_empty()) {
        let client = facts.client().map_or("its client", |(_, client)| client);
        let summary = format!("the token of {} grants no scope, permission or role", quote(client));
        findings.push(Finding::new(&SCOPE_MISSING, summary, "scope", "absent or empty"));
    }
    findings
}
