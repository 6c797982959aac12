//! What the token is, and whether it has what an access token needs.

use super::{Facts, Finding, Rule};
use crate::config::is_loopback_host;
use crate::diagnosis::findings::Severity;
use crate::diagnosis::quote::{plain, quote};
use crate::diagnosis::token::{TokenKind, type_name};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.id_token",
        severity: Severity::Warning,
        meaning: "This is an ID token, which is for the client alone: resource servers refuse it unless they expect one",
        fix: "send the access_token of the token endpoint's answer, not its id_token; behind oauth2-proxy use \
              --pass-access-token: its --pass-authorization-header hands the ID token on by design",
        reference: "OpenID Connect Core section 2; RFC 9068 section 5; RFC 8725 section 3.11",
        check: id_token,
    },
    Rule {
        id: "tok.wrong_kind",
        severity: Severity::Error,
        meaning: "This is no access token but another kind, such as a refresh token, a proof or an assertion",
        fix: "exchange it at the token endpoint and send the access_token of the answer",
        reference: "RFC 6749 sections 1.4 and 1.5; RFC 8725 section 3.11",
        check: other_kind,
    },
    Rule {
        id: "tok.wrong_type",
        severity: Severity::Error,
        meaning: "A header parameter or claim has another JSON type than its specification says: strict libraries refuse \
                  the token",
        fix: "have the issuer write it as the specification says",
        reference: "RFC 7515 section 4.1; RFC 7519 section 4.1; RFC 8693 section 4.2",
        check: wrong_type,
    },
    Rule {
        id: "tok.iss_missing",
        severity: Severity::Warning,
        meaning: "The token does not say who issued it: a verifier cannot know whose keys to use",
        fix: "have the issuer write iss",
        reference: "RFC 7519 section 4.1.1; RFC 9068 section 2.2",
        check: iss_missing,
    },
    Rule {
        id: "tok.iss_http",
        severity: Severity::Warning,
        meaning: "The issuer is an http URL: it must be https, and behind a proxy it does not know its public address",
        fix: "configure the authorization server with its public https URL",
        reference: "RFC 8414 section 2; RFC 9207 section 2",
        check: iss_http,
    },
    Rule {
        id: "tok.iss_entra_v1",
        severity: Severity::Info,
        meaning: "The issuer is Entra ID version 1: a server that expects login.microsoftonline.com/.../v2.0 refuses the \
                  token",
        fix: "set requestedAccessTokenVersion to 2 in the manifest of the API's app registration, or configure the \
              server for sts.windows.net",
        reference: "Microsoft identity platform, Access tokens, Token formats; RFC 9068 section 4",
        check: iss_entra_v1,
    },
    Rule {
        id: "tok.typ_not_at_jwt",
        severity: Severity::Info,
        meaning: "typ is not at+jwt: the token does not follow the JWT profile for access tokens",
        fix: "turn on RFC 9068 access tokens at the issuer if the resource server demands them",
        reference: "RFC 9068 section 2.1",
        check: typ_not_at_jwt,
    },
    Rule {
        id: "tok.rfc9068_missing",
        severity: Severity::Info,
        meaning: "Claims are missing that the JWT profile for access tokens requires",
        fix: "turn on RFC 9068 access tokens at the issuer if the resource server demands them",
        reference: "RFC 9068 section 2.2",
        check: rfc9068_missing,
    },
    Rule {
        id: "tok.scope_form",
        severity: Severity::Warning,
        meaning: "scope is not one string with spaces: some servers find no scope in it, or a single one",
        fix: "have the issuer write scope as one string, separated by spaces",
        reference: "RFC 8693 section 4.2; RFC 6749 section 3.3",
        check: scope_form,
    },
    Rule {
        id: "tok.scope_missing",
        severity: Severity::Info,
        meaning: "The token grants no scope, permission or role: a server that requires one answers 403 insufficient_scope",
        fix: "ask for the scopes that the 401 challenge or scopes_supported of the protected-resource metadata names",
        reference: "RFC 6750 section 3.1; MCP specification, Authorization, Scope Selection Strategy",
        check: scope_missing,
    },
    Rule {
        id: "tok.groups_overage",
        severity: Severity::Warning,
        meaning: "The user's groups are not in the token, since there are too many: a server that looks for one refuses",
        fix: "limit the groups to those assigned to the application, use app roles, or ask Microsoft Graph for them",
        reference: "Microsoft identity platform, Configure group claims, groups overage",
        check: groups_overage,
    },
];

fn id_token(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report().filter(|report| report.kind == TokenKind::IdToken)?;
    let summary = format!("this is an ID token: {}", report.kind_evidence);
    Some(Finding::new(rule, summary, "aud", &report.token.audience().join(", ")))
}

fn other_kind(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report()?;
    let why = report.kind.why_wrong()?;
    let summary = format!("this is no access token but another kind ({}): {why}", report.kind.title());
    Some(Finding::new(rule, summary, "told by", &report.kind_evidence))
}

fn wrong_type(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = &facts.signed().or(facts.report())?.token;
    let strings = [
        ("alg", token.param("alg")),
        ("typ", token.param("typ")),
        ("kid", token.param("kid")),
        ("iss", token.claim("iss")),
        ("sub", token.claim("sub")),
    ];
    let strings =
        strings.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_string())?)));
    let all_strings = |items: &Vec<serde_json::Value>| items.iter().all(serde_json::Value::is_string);
    let lists = ["aud", "scope"].into_iter().filter_map(|name| {
        let value = token.claim(name)?;
        (!value.is_string() && !value.as_array().is_some_and(all_strings)).then_some((name, value))
    });
    let found = strings.chain(lists).map(|(name, value)| {
        let what = if value.is_array() { "a list of other things than strings" } else { type_name(value) };
        Finding::new(rule, format!("{name} is {what}, not a string"), name, &plain(value))
    });
    Finding::joined(found)
}

fn iss_missing(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.signed().filter(|report| !report.token.has("iss") && report.kind != TokenKind::DpopProof)?;
    // AWS load balancers and others name it in the header.
    report.token.param("iss").is_none().then(|| Finding::new(rule, "the token has no iss", "iss", "absent"))
}

fn iss_http(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let issuer = facts.signed()?.token.claim_str("iss")?;
    let host = issuer.parse::<http::Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"))?.host()?.to_owned();
    let local = is_loopback_host(host.trim_matches(['[', ']']));
    (!local).then(|| Finding::new(rule, format!("iss is {}, not https", quote(issuer)), "iss", issuer))
}

fn iss_entra_v1(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let issuer = facts.signed()?.token.claim_str("iss").filter(|issuer| issuer.contains("sts.windows.net"))?;
    Some(Finding::new(rule, format!("iss is {}, the version 1 issuer of Entra ID", quote(issuer)), "iss", issuer))
}

fn typ_not_at_jwt(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.signed()?;
    report.profile.as_ref().filter(|profile| !profile.typ)?;
    Some(match report.token.param("typ").map(plain) {
        Some(typ) => Finding::new(rule, format!("typ is {}, not at+jwt", quote(&typ)), "typ", &typ),
        None => Finding::new(rule, "the header has no typ, so no at+jwt either", "typ", "absent"),
    })
}

/// aud, exp and iss have rules of their own, which say more.
fn rfc9068_missing(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let profile = facts.signed()?.profile.as_ref()?;
    let missing: Vec<_> =
        profile.missing.iter().copied().filter(|name| !matches!(*name, "aud" | "exp" | "iss")).collect();
    let missing = missing.join(", ");
    (!missing.is_empty()).then(|| Finding::new(rule, format!("the token lacks {missing}"), "missing", &missing))
}

fn scope_form(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let scope = facts.signed()?.token.claim("scope")?;
    let summary = match scope.as_str() {
        Some(text) if text.contains(',') => "scope is separated by commas: to a verifier this is one scope",
        None if scope.is_array() => "scope is a list",
        _ => return None,
    };
    Some(Finding::new(rule, summary, "scope", &plain(scope)))
}

fn scope_missing(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    // What is expected says more: `tok.scope_insufficient`.
    let nothing_expected = facts.expected().scopes.is_empty();
    let report = facts.signed().filter(|report| nothing_expected && report.kind == TokenKind::AccessToken)?;
    let granted = report.token.grants().iter().any(|grants| !grants.values.is_empty());
    if granted {
        return None;
    }
    let to = report.token.client().map_or_else(String::new, |(_, client)| format!(" of {}", quote(client)));
    let summary = format!("the token{to} grants no scope, permission or role");
    Some(Finding::new(rule, summary, "scope", "absent or empty"))
}

fn groups_overage(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = &facts.signed()?.token;
    let claim = ["_claim_names", "hasgroups"].into_iter().find(|name| token.has(name))?;
    let summary = format!("the groups are not in the token: {claim} says that there were too many");
    Some(Finding::new(rule, summary, "claim", claim))
}
