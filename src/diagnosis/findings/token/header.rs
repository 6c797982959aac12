//! The token's header: how it is signed and with which key.

use super::{Finding, Report, plain, quote, quote_all};
use crate::diagnosis::findings::{Rule, Severity};
use crate::diagnosis::token::{Format, Kind, Protection, algorithm};

pub(super) const UNSECURED: Rule = Rule {
    id: "tok.unsecured",
    severity: Severity::Error,
    meaning: "The token has no signature: anybody can write such a token",
    fix: "send a signed token; if the issuer signs, find out what on the way takes the signature off",
    reference: "RFC 8725 sections 3.1 and 3.2; RFC 9068 section 2.1",
};
pub(super) const SYMMETRIC: Rule = Rule {
    id: "tok.symmetric",
    severity: Severity::Warning,
    meaning: "An authorization server signed the token with a shared secret: whoever can verify it can also forge it",
    fix: "have the issuer sign with a private key (RS256, ES256 or EdDSA) and publish the public one",
    reference: "RFC 8725 section 3.5; RFC 7518 section 3.2",
};
pub(super) const NO_KID: Rule = Rule {
    id: "tok.no_kid",
    severity: Severity::Warning,
    meaning: "The token does not say with which key it is signed: verification fails once the issuer has two keys",
    fix: "have the issuer write kid, as in its JWKS, into the header",
    reference: "RFC 7515 section 4.1.4; RFC 7517 section 4.5",
};
pub(super) const KEY_TRAP: Rule = Rule {
    id: "tok.key_trap",
    severity: Severity::Warning,
    meaning: "kid has characters of a path, a URL or a query: it may be an attack on verifiers that look keys up by it",
    fix: "use a plain key id, and look keys up in the issuer's JWKS only, never in a file or database by the raw kid",
    reference: "RFC 8725 section 3.10",
};
pub(super) const EMBEDDED_KEY: Rule = Rule {
    id: "tok.embedded_key",
    severity: Severity::Warning,
    meaning: "The token brings or names its own key: a verifier that uses it accepts tokens that anybody made",
    fix: "verify with keys from the issuer's jwks_uri only, and have the issuer leave the parameter out",
    reference: "RFC 8725 section 3.10; RFC 7515 section 4.1.2",
};
pub(super) const CRIT: Rule = Rule {
    id: "tok.crit",
    severity: Severity::Error,
    meaning: "crit demands an extension that verifiers do not know: they must refuse the token",
    fix: "have the issuer leave crit out, or use a verifier that knows the extension",
    reference: "RFC 7515 section 4.1.11",
};
pub(super) const GRAPH_NONCE: Rule = Rule {
    id: "tok.graph_nonce",
    severity: Severity::Error,
    meaning: "The token is made for Microsoft Graph: nobody but Graph can verify its signature",
    fix: "expose an API in the Entra app registration and ask for its scope (api://APP-ID/.default or a scope of it)",
    reference: "Microsoft identity platform, Access tokens, Validate tokens; RFC 8707 section 2",
};

/// `alg` is `none`, or the signature is gone.
pub(super) fn is_unsecured(report: &Report) -> bool {
    let none = report.facts.alg().is_some_and(|alg| algorithm(alg).protection == Protection::None);
    let stripped = report.facts.signature.is_some_and(|signature| signature.characters == 0);
    report.facts.format != Format::Malformed && (none || stripped)
}

pub(super) fn of(report: &Report) -> Vec<Finding> {
    let facts = &report.facts;
    let mut findings = Vec::new();
    let alg = facts.alg().unwrap_or_default();
    if is_unsecured(report) {
        let summary = format!("alg is {} and the signature is empty or means nothing", quote(alg));
        let size = facts.signature.map_or(0, |signature| signature.characters);
        findings.push(
            Finding::new(&UNSECURED, summary, "alg", alg)
                .and_evidence("characters of the signature", &size.to_string()),
        );
    }
    let issuer =
        facts.claim_str("iss").filter(|issuer| issuer.starts_with("https://") || issuer.starts_with("http://"));
    if let Some(issuer) = issuer.filter(|_| algorithm(alg).protection == Protection::Shared && !is_unsecured(report)) {
        let summary =
            format!("{} signs with {}, a secret that it shares with its verifiers", quote(issuer), quote(alg));
        findings.push(Finding::new(&SYMMETRIC, summary, "alg", alg).and_evidence("iss", issuer));
    }
    if facts.lacks_kid() && !matches!(report.kind, Kind::DpopProof | Kind::GatewayAssertion) {
        let summary = format!("the token is signed with {} and has no kid", quote(alg));
        findings.push(Finding::new(&NO_KID, summary, "alg", alg));
    }
    if let Some(kid) = facts.suspicious_kid() {
        let summary = format!("kid {} looks like a path, a URL or code", quote(kid));
        findings.push(Finding::new(&KEY_TRAP, summary, "kid", kid));
    }
    let keys = facts.foreign_keys(report.kind);
    if !keys.is_empty() && facts.format.is_signed() {
        let summary = format!("the header has {}: its own key, or where to get it", quote_all(keys.iter().copied()));
        findings.push(Finding::new(&EMBEDDED_KEY, summary, "header parameters", &keys.join(", ")));
    }
    let unknown = facts.unknown_critical();
    if !unknown.is_empty()
        && let Some(crit) = facts.param("crit")
    {
        let summary = format!("crit demands {}, which hardly any verifier knows", quote_all(unknown));
        findings.push(Finding::new(&CRIT, summary, "crit", &plain(crit)));
    }
    if facts.param("nonce").is_some() && report.kind != Kind::DpopProof && facts.format.is_signed() {
        let audience = facts.audience().join(", ");
        let summary = "the header has a nonce, as only tokens for Microsoft Graph have".to_owned();
        findings.push(Finding::new(&GRAPH_NONCE, summary, "header parameter", "nonce").and_evidence("aud", &audience));
    }
    findings
}
