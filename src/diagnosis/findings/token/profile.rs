//! The JWT profile for access tokens (RFC 9068): what explains a refusal where nothing else does.
//!
//! Most products came before it, so a token that does not follow it is usual, and said once, last, and only where nothing
//! worse is found. Of products that write their own form and no other, nobody expects the profile.

use super::{Facts, Finding, Rule};
use crate::diagnosis::findings::Severity;
use crate::diagnosis::issuers::Issuer;
use crate::diagnosis::quote::{plain, quote};
use crate::diagnosis::token::Profile;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: NOT_AT_JWT,
        severity: Severity::Info,
        meaning: "The token does not follow the JWT profile for access tokens: typ is not at+jwt",
        fix: "turn on RFC 9068 access tokens at the issuer if the resource server demands them",
        reference: "RFC 9068 sections 2.1, 2.2 and 4",
        check: typ_not_at_jwt,
    },
    Rule {
        id: "tok.rfc9068_missing",
        severity: Severity::Info,
        meaning: "typ is at+jwt, but claims are missing that this profile requires",
        fix: "have the issuer write what its own typ promises",
        reference: "RFC 9068 section 2.2",
        check: rfc9068_missing,
    },
];

/// What is said only where nothing else can be the cause.
pub(in crate::diagnosis::findings) const NOT_AT_JWT: &str = "tok.typ_not_at_jwt";

/// aud, exp and iss have rules of their own, which say more.
fn missing(profile: &Profile) -> Option<String> {
    let missing = profile.missing.iter().copied().filter(|name| !matches!(*name, "aud" | "exp" | "iss"));
    let missing: Vec<&str> = missing.collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn typ_not_at_jwt(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.signed()?;
    let profile = report.profile.as_ref().filter(|profile| !profile.typ)?;
    if Issuer::of(&report.token).is_some() {
        return None;
    }
    let lacks = missing(profile).map_or_else(String::new, |missing| format!(", and {missing} is missing"));
    let summary = |typ: &str| format!("only a verifier that demands RFC 9068 refuses it for this: {typ}{lacks}");
    Some(match report.token.param("typ").map(plain) {
        Some(typ) => Finding::new(rule, summary(&format!("typ is {}, not at+jwt", quote(&typ))), "typ", &typ),
        None => Finding::new(rule, summary("there is no typ, so no at+jwt either"), "typ", "absent"),
    })
}

fn rfc9068_missing(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let missing = missing(facts.signed()?.profile.as_ref().filter(|profile| profile.typ)?)?;
    Some(Finding::new(rule, format!("typ is at+jwt, but the token lacks {missing}"), "missing", &missing))
}
