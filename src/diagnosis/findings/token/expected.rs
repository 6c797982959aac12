//! The token against what somebody says is expected: who issued it, what it grants, whose key signed it. The audience has
//! rules of its own, see `audience`.

use super::{Facts, Finding, Rule};
use crate::diagnosis::findings::Severity;
use crate::diagnosis::issuer::mismatch;
use crate::diagnosis::quote::{quote, quote_all};
use crate::diagnosis::verification::Verification;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.signature_invalid",
        severity: Severity::Error,
        meaning: "The signature is not by the issuer's keys: the token was altered, or somebody else made it",
        fix: "send the token as the issuer gave it, and give the keys of that issuer (jwks_uri of its metadata)",
        reference: "RFC 7515 section 5.2; RFC 8725 sections 3.1 and 3.3",
        check: signature,
    },
    Rule {
        id: "tok.key_unknown",
        severity: Severity::Warning,
        meaning: "The key that the token names is not among the issuer's keys that were given: the signature was not checked",
        fix: "fetch the keys again from jwks_uri of the issuer's metadata, and look whether the token is of that issuer",
        reference: "RFC 7517 section 4.5; OpenID Connect Core section 10.1.1",
        check: key,
    },
    Rule {
        id: "tok.iss_mismatch",
        severity: Severity::Error,
        meaning: "The token is of another issuer than the expected one: verifiers compare iss to the letter",
        fix: "log in at the expected issuer, or expect the issuer exactly as its metadata has it",
        reference: "RFC 7519 section 4.1.1; RFC 8414 section 3.3; RFC 9068 section 4",
        check: issuer,
    },
    Rule {
        id: "tok.scope_insufficient",
        severity: Severity::Error,
        meaning: "The token lacks scopes that are expected: the server answers 403 insufficient_scope",
        fix: "ask for the missing scopes in the authorization request, and allow them for this client and user at the issuer",
        reference: "RFC 6750 section 3.1; MCP specification, Authorization, Scope Challenge Handling",
        check: scopes,
    },
];

/// What must be refused whatever the keys are has rules of its own (`tok.unsecured`, `tok.crit`, `tok.unencoded`), but for
/// shared secrets, which may be the attack that takes a public key for one.
fn signature(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let why = match facts.verification() {
        Verification::Failed(why) => why,
        Verification::Refused(why) if why.contains("shared secret") => why,
        _ => return None,
    };
    let token = &facts.signed().or(facts.report())?.token;
    let finding = Finding::new(rule, why.as_str(), "alg", token.alg().unwrap_or("absent"));
    Some(finding.and_evidence("kid", token.param_str("kid").unwrap_or("absent")))
}

fn key(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let Verification::NoKey(why) = facts.verification() else { return None };
    let kid = facts.signed().or(facts.report())?.token.param_str("kid")?;
    Some(Finding::new(rule, why.as_str(), "kid", kid))
}

fn issuer(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let expected = &facts.expected().issuers;
    let issuer = facts.signed()?.token.claim_str("iss")?;
    let found = mismatch(issuer, &expected.values)?;
    let wanted = quote_all(expected.values.iter().map(String::as_str));
    let summary = format!("iss is {}, {} says {wanted}: they differ in {}", quote(issuer), expected.by, found.what);
    let finding = Finding::new(rule, summary, "iss", issuer).and_evidence(expected.by, &expected.values.join(", "));
    Some(match found.fix {
        Some(fix) => finding.with_fix(fix),
        None => finding,
    })
}

fn scopes(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let expected = &facts.expected().scopes;
    let grants = facts.signed()?.token.grants();
    let granted: Vec<&str> = grants.iter().flat_map(|grants| grants.values.iter().copied()).collect();
    let missing: Vec<&str> =
        expected.values.iter().map(String::as_str).filter(|wanted| !granted.contains(wanted)).collect();
    if missing.is_empty() {
        return None;
    }
    let has = if granted.is_empty() { "none".to_owned() } else { quote_all(granted.iter().copied()) };
    let mut summary = format!("the token lacks {}; it has {has}", quote_all(missing.iter().copied()));
    // Entra takes api://APP/Name and writes Name; Google and others are asked by URL.
    let tail = |scope: &str| scope.rsplit_once('/').map(|(_, tail)| tail.to_owned());
    let shortened = |wanted: &&str| tail(wanted).is_some_and(|tail| granted.contains(&tail.as_str()));
    let other_case = |wanted: &&str| granted.iter().any(|scope| scope.eq_ignore_ascii_case(wanted));
    let mut fix = None;
    if let Some(wanted) = missing.iter().find(|wanted| shortened(wanted)) {
        summary += &format!(
            ": what is asked for as {} stands in the token without what is before its last slash",
            quote(wanted)
        );
        fix = Some("expect the scope as the token has it: Entra writes Name for api://APP-ID/Name");
    } else if missing.iter().any(other_case) {
        summary += ": they differ in upper and lower case";
        fix = Some("write the scope in one spelling: upper and lower case count (RFC 6749 section 3.3)");
    }
    let claims = grants.iter().map(|grants| grants.claim).collect::<Vec<_>>().join(", ");
    let claims = if claims.is_empty() { "absent".to_owned() } else { claims };
    let finding =
        Finding::new(rule, summary, expected.by, &expected.values.join(" ")).and_evidence("looked in", &claims);
    Some(match fix {
        Some(fix) => finding.with_fix(fix),
        None => finding,
    })
}
