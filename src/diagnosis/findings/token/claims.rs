//! The claims that say who issued the token and for whom, and the types of all of them.

use super::{Facts, Finding, Rule};
use crate::config::is_loopback_host;
use crate::diagnosis::findings::Severity;
use crate::diagnosis::quote::{plain, quote};
use crate::diagnosis::token::{TokenKind, type_name};

pub(super) const RULES: &[Rule] = &[
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
        id: "tok.groups_overage",
        severity: Severity::Warning,
        meaning: "The user's groups are not in the token, since there are too many: a server that looks for one refuses",
        fix: "limit the groups to those assigned to the application, use app roles, or ask Microsoft Graph for them",
        reference: "Microsoft identity platform, Configure group claims, groups overage",
        check: groups_overage,
    },
];

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

fn groups_overage(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = &facts.signed()?.token;
    let claim = ["_claim_names", "hasgroups"].into_iter().find(|name| token.has(name))?;
    let summary = format!("the groups are not in the token: {claim} says that there were too many");
    Some(Finding::new(rule, summary, "claim", claim))
}
