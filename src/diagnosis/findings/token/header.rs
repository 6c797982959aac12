//! The token's header: how it is signed and with which key.

use super::{Facts, Finding, Rule};
use crate::diagnosis::findings::Severity;
use crate::diagnosis::quote::{plain, quote, quote_all};
use crate::diagnosis::token::{Decoded, Format, Protection, TokenKind, algorithm, strings};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.unsecured",
        severity: Severity::Error,
        meaning: "The token has no signature: anybody can write such a token",
        fix: "send a signed token; if the issuer signs, find out what on the way takes the signature off",
        reference: "RFC 8725 sections 3.1 and 3.2; RFC 9068 section 2.1",
        check: unsecured,
    },
    Rule {
        id: "tok.alg_missing",
        severity: Severity::Error,
        meaning: "The header names no algorithm that could protect the token: every verifier refuses it",
        fix: "have the issuer write the alg that it signs with (RS256, ES256 or EdDSA)",
        reference: "RFC 7515 section 4.1.1; RFC 7516 section 4.1.2",
        check: alg_missing,
    },
    Rule {
        id: "tok.alg_unknown",
        severity: Severity::Warning,
        meaning: "The algorithm is not a registered one: verifiers most likely refuse the token",
        fix: "have the issuer sign with RS256, ES256 or EdDSA",
        reference: "RFC 7518 section 3.1; RFC 8725 section 3.1",
        check: alg_unknown,
    },
    Rule {
        id: "tok.symmetric",
        severity: Severity::Warning,
        meaning: "An authorization server signed the token with a shared secret: whoever can verify it can also forge it",
        fix: "have the issuer sign with a private key (RS256, ES256 or EdDSA) and publish the public one",
        reference: "RFC 8725 section 3.5; RFC 7518 section 3.2",
        check: symmetric,
    },
    Rule {
        id: "tok.no_kid",
        severity: Severity::Warning,
        meaning: "The token does not say with which key it is signed: verification fails once the issuer has two keys",
        fix: "have the issuer write kid, as in its JWKS, into the header",
        reference: "RFC 7515 section 4.1.4; RFC 7517 section 4.5",
        check: no_kid,
    },
    Rule {
        id: "tok.key_trap",
        severity: Severity::Warning,
        meaning: "kid has characters of a path, a URL or a query: it may be an attack on verifiers that look keys up by it",
        fix: "use a plain key id, and look keys up in the issuer's JWKS only, never in a file or database by the raw kid",
        reference: "RFC 8725 section 3.10",
        check: key_trap,
    },
    Rule {
        id: "tok.embedded_key",
        severity: Severity::Warning,
        meaning: "The token brings or names its own key: a verifier that uses it accepts tokens that anybody made",
        fix: "verify with keys from the issuer's jwks_uri only, and have the issuer leave the parameter out",
        reference: "RFC 8725 section 3.10; RFC 7515 section 4.1.2",
        check: embedded_key,
    },
    Rule {
        id: "tok.crit",
        severity: Severity::Error,
        meaning: "crit is malformed, or demands an extension that verifiers do not know: they must refuse the token",
        fix: "have the issuer leave crit out, or use a verifier that knows the extension",
        reference: "RFC 7515 section 4.1.11",
        check: crit,
    },
    Rule {
        id: "tok.unencoded",
        severity: Severity::Error,
        meaning: "b64 is false, so the payload is not base64url: a JWT must not do that",
        fix: "have the issuer leave b64 out",
        reference: "RFC 7797 section 7",
        check: unencoded,
    },
    Rule {
        id: "tok.zip",
        severity: Severity::Warning,
        meaning: "zip has no meaning in a signed token: libraries ignore or refuse it",
        fix: "have the issuer leave zip out",
        reference: "RFC 7516 section 4.1.3",
        check: zip,
    },
    Rule {
        id: "tok.graph_nonce",
        severity: Severity::Error,
        meaning: "The token is made for Microsoft Graph: nobody but Graph can verify its signature",
        fix: "expose an API in the Entra app registration and ask for its scope (api://APP-ID/.default or a scope of it)",
        reference: "Microsoft identity platform, Access tokens, Validate tokens; RFC 8707 section 2",
        check: graph_nonce,
    },
];

/// What the header says, where there is one.
fn with_header<'a>(facts: &'a Facts<'_>) -> Option<&'a Decoded> {
    facts.report().map(|report| &report.token).filter(|token| token.header.is_some())
}

fn protection(token: &Decoded) -> Option<Protection> {
    token.alg().map(|alg| algorithm(alg).protection)
}

fn unsecured(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = with_header(facts)?;
    let stripped = token.signature.is_some_and(|signature| signature.characters == 0);
    if token.format == Format::Malformed || !(stripped || protection(token) == Some(Protection::None)) {
        return None;
    }
    let alg = token.alg().unwrap_or_default();
    let size = token.signature.map_or(0, |signature| signature.characters);
    let what = if stripped { "there is no signature" } else { "the signature means nothing" };
    let summary = format!("alg is {}, and {what}", quote(alg));
    Some(Finding::new(rule, summary, "alg", alg).and_evidence("characters of the signature", &size.to_string()))
}

fn alg_missing(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = with_header(facts)?;
    match token.param("alg") {
        None => Some(Finding::new(rule, "the header has no alg", "alg", "absent")),
        Some(alg) if protection(token) == Some(Protection::Encryption) && !token.is_encrypted() => {
            let alg = plain(alg);
            let summary =
                format!("alg {} encrypts, but the header has no enc: it is neither a JWS nor a JWE", quote(&alg));
            Some(Finding::new(rule, summary, "alg", &alg))
        }
        Some(_) => None,
    }
}

fn alg_unknown(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = with_header(facts)?;
    let alg = token.alg().filter(|alg| algorithm(alg).protection == Protection::Unknown)?;
    Some(Finding::new(
        rule,
        format!("alg is {}, not a registered algorithm that this server knows", quote(alg)),
        "alg",
        alg,
    ))
}

fn symmetric(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = with_header(facts)?;
    let is_url = |issuer: &&str| issuer.starts_with("https://") || issuer.starts_with("http://");
    let stripped = token.signature.is_none_or(|signature| signature.characters == 0);
    if protection(token) != Some(Protection::Shared) || stripped {
        return None;
    }
    let (alg, issuer) = (token.alg()?, token.claim_str("iss").filter(is_url)?);
    let summary = format!("{} signs with {}, a secret that it shares with its verifiers", quote(issuer), quote(alg));
    Some(Finding::new(rule, summary, "alg", alg).and_evidence("iss", issuer))
}

/// Header parameters that carry or point to a key: what an attacker would like a verifier to use (RFC 8725 section 3.10).
fn embedded_keys(token: &Decoded) -> Vec<&'static str> {
    ["jwk", "jku", "x5c", "x5u"].into_iter().filter(|name| token.param(name).is_some()).collect()
}

fn no_kid(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = with_header(facts)?;
    let public = protection(token) == Some(Protection::Public);
    if !public || token.param("kid").is_some() || !embedded_keys(token).is_empty() {
        return None;
    }
    if matches!(facts.report()?.kind, TokenKind::DpopProof | TokenKind::GatewayAssertion) {
        return None;
    }
    let alg = token.alg()?;
    Some(Finding::new(rule, format!("the token is signed with {} and has no kid", quote(alg)), "alg", alg))
}

fn key_trap(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let kid = with_header(facts)?.param_str("kid")?;
    let does_more =
        kid.contains("..") || kid.contains("://") || kid.contains(['\'', '"', ';', '\\', '\0', '|', '$', '<']);
    does_more.then(|| Finding::new(rule, format!("kid {} looks like a path, a URL or code", quote(kid)), "kid", kid))
}

/// A DPoP proof brings its `jwk` (RFC 9449 section 4.2).
fn embedded_key(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = with_header(facts).filter(|token| token.format.is_signed())?;
    let is_proof = facts.report()?.kind == TokenKind::DpopProof;
    let keys: Vec<_> = embedded_keys(token).into_iter().filter(|name| !(is_proof && *name == "jwk")).collect();
    if keys.is_empty() {
        return None;
    }
    let summary = format!("the header has {}: its own key, or where to get it", quote_all(keys.iter().copied()));
    Some(Finding::new(rule, summary, "header parameters", &keys.join(", ")))
}

/// Of the registered names only `b64` (RFC 7797) is an extension that verifiers know.
fn crit(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = with_header(facts)?;
    let crit = token.param("crit")?;
    let names = if crit.is_array() { strings(Some(crit)) } else { Vec::new() };
    let unknown: Vec<_> = names.iter().copied().filter(|name| *name != "b64").collect();
    let absent: Vec<_> = names.iter().copied().filter(|name| token.param(name).is_none()).collect();
    let summary = if names.is_empty() {
        "crit is not a list of names".to_owned()
    } else if !unknown.is_empty() {
        format!("crit demands {}, which hardly any verifier knows", quote_all(unknown))
    } else if !absent.is_empty() {
        format!("crit names what the header does not have: {}", quote_all(absent))
    } else {
        return None;
    };
    Some(Finding::new(rule, summary, "crit", &plain(crit)))
}

fn unencoded(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    with_header(facts).filter(|token| token.is_unencoded())?;
    Some(Finding::new(rule, "the header says b64 false: the payload is not base64url", "b64", "false"))
}

fn zip(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let zip = with_header(facts).filter(|token| !token.is_encrypted())?.param("zip")?;
    Some(Finding::new(rule, "the header of a signed token has zip", "zip", &plain(zip)))
}

fn graph_nonce(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = with_header(facts).filter(|token| token.format.is_signed())?;
    token.param("nonce").filter(|_| facts.report().is_some_and(|report| report.kind != TokenKind::DpopProof))?;
    let summary = "the header has a nonce, as only tokens for Microsoft Graph have";
    Some(Finding::new(rule, summary, "header parameter", "nonce").and_evidence("aud", &token.audience().join(", ")))
}
