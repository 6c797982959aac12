//! Tokens bound to a key by DPoP (RFC 9449), and the proof that comes with them.

use super::{Facts, Finding, Rule};
use crate::diagnosis::findings::Severity;
use crate::diagnosis::quote::quote;
use crate::diagnosis::token::{Binding, OwnSignature, Proof, Report, url_difference};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.dpop_bound_bearer",
        severity: Severity::Error,
        meaning: "A token bound to a key by DPoP was sent as Bearer or without its proof",
        fix: "send `Authorization: DPoP TOKEN` and a new proof in the DPoP header of each request",
        reference: "RFC 9449 section 7.1",
        check: bound_bearer,
    },
    Rule {
        id: "tok.dpop_unbound",
        severity: Severity::Warning,
        meaning: "A token was sent with the scheme DPoP, but it is not bound to a key",
        fix: "ask the authorization server for a token with a DPoP proof in the token request, or send this one as Bearer",
        reference: "RFC 9449 sections 5 and 6.1",
        check: unbound,
    },
    Rule {
        id: "tok.dpop_proof",
        severity: Severity::Error,
        meaning: "The DPoP proof is not one, or is not signed with the key that it brings",
        fix: "send one DPoP header with a JWT of typ dpop+jwt, with jwk in its header and jti, htm, htu and iat among its \
              claims, signed with the private key of that jwk",
        reference: "RFC 9449 sections 4.2 and 4.3",
        check: not_a_proof,
    },
    Rule {
        id: "tok.dpop_age",
        severity: Severity::Error,
        meaning: "The DPoP proof is too old or lies ahead: servers take it for seconds or minutes only",
        fix: "make a new proof for each request, with iat now, and synchronize the client's clock",
        reference: "RFC 9449 sections 4.3 and 11.1",
        check: age,
    },
    Rule {
        id: "tok.dpop_htm",
        severity: Severity::Error,
        meaning: "The DPoP proof is for another method than this request's",
        fix: "make a new proof for each request, with htm as its method",
        reference: "RFC 9449 section 4.3, point 8",
        check: htm,
    },
    Rule {
        id: "tok.dpop_htu",
        severity: Severity::Error,
        meaning: "The DPoP proof is for another URL than the one this request came to",
        fix: "make the proxy forward the public scheme and host (X-Forwarded-Proto, X-Forwarded-Host) and compare htu \
              with the URL that they tell",
        reference: "RFC 9449 section 4.3, points 9 and 12",
        check: htu,
    },
    Rule {
        id: "tok.dpop_ath",
        severity: Severity::Error,
        meaning: "The DPoP proof is not for the access token that it came with",
        fix: "make a new proof with ath: base64url of the SHA-256 of the access token",
        reference: "RFC 9449 sections 4.2 and 4.3, point 11",
        check: ath,
    },
    Rule {
        id: "tok.dpop_key",
        severity: Severity::Error,
        meaning: "The DPoP proof's key is not the one that the access token is bound to",
        fix: "sign proofs with the key that the token was asked for with",
        reference: "RFC 9449 sections 4.3, point 11, and 6.1",
        check: key,
    },
];

/// How old a proof may be before servers refuse it: RFC 9449 section 11.1 speaks of seconds or minutes; five minutes is
/// the most generous default in use.
const MAX_AGE_SECONDS: i64 = 300;

fn thumbprint<'a>(facts: &'a Facts<'_>) -> Option<&'a str> {
    match facts.signed()?.token.binding() {
        Some(Binding::Dpop(thumbprint)) => Some(thumbprint),
        _ => None,
    }
}

/// The proof in question, which has been read: the request's own `DPoP` header, or the given token itself.
fn proof<'a>(facts: &'a Facts<'_>) -> Option<(&'a Report, &'a Proof)> {
    let credential = facts.credential()?;
    let report = credential.proof.as_ref().or(credential.given.then_some(&credential.report))?;
    Some((report, report.proof.as_ref()?))
}

/// The same, where it came with this request.
fn sent<'a>(facts: &'a Facts<'_>) -> Option<&'a Proof> {
    facts.credential()?.proof.as_ref()?.proof.as_ref()
}

fn bound_bearer(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let thumbprint = thumbprint(facts)?;
    let credential = facts.credential()?;
    let found = |summary: &str| Finding::new(rule, summary, "cnf.jkt", thumbprint);
    if credential.report.token.has_scheme("bearer") {
        let summary = "the token is bound to a key by DPoP (cnf.jkt), but the scheme is Bearer";
        return Some(found(summary).and_evidence("scheme", "Bearer"));
    }
    let alone = credential.report.token.has_scheme("dpop") && !credential.given && credential.proof.is_none();
    let summary = "the token is bound to a key by DPoP (cnf.jkt), but the request has no DPoP header";
    alone.then(|| found(summary).and_evidence("DPoP", "absent"))
}

fn unbound(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = facts.report().map(|report| &report.token).filter(|token| token.has_scheme("dpop"))?;
    let summary = "the scheme is DPoP, but the token is not bound to a key: there is no cnf.jkt";
    (facts.signed().is_some() && thumbprint(facts).is_none())
        .then(|| Finding::new(rule, summary, "scheme", token.scheme().unwrap_or_default()))
}

fn not_a_proof(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let lines = facts.headers.get_all("dpop").iter().count();
    let credential = facts.credential()?;
    if !credential.given && lines > 1 {
        return Some(Finding::new(
            rule,
            format!("the request has {lines} DPoP headers"),
            "DPoP headers",
            &lines.to_string(),
        ));
    }
    let Some((report, proof)) = proof(facts) else {
        let report = credential.proof.as_ref()?;
        let summary = "the DPoP header does not hold a DPoP proof";
        return Some(Finding::new(rule, summary, "it holds", report.token.format.title()));
    };
    let token = &report.token;
    let missing: Vec<&str> = ["jti", "htm", "htu", "iat"].into_iter().filter(|name| !token.has(name)).collect();
    let wrong = [
        (token.typ().as_deref() != Some("dpop+jwt"), "typ is not dpop+jwt".to_owned()),
        (!missing.is_empty(), format!("it lacks {}", missing.join(", "))),
        (token.param("jwk").is_none(), "its header has no jwk, the key that it proves".to_owned()),
        (
            proof.signature == OwnSignature::Invalid,
            "it is not signed with the key in its header: it was altered, or another key signed it".to_owned(),
        ),
    ];
    let wrong: Vec<String> = wrong.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
    (!wrong.is_empty()).then(|| {
        Finding::new(rule, format!("the DPoP proof: {}", wrong.join("; ")), "signature", proof.signature.name())
    })
}

fn age(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let age = proof(facts)?.1.age.filter(|age| age.abs() > MAX_AGE_SECONDS)?;
    let how = if age < 0 { "ahead" } else { "old" };
    let summary = format!("the DPoP proof is {} s {how}", age.abs());
    Some(Finding::new(rule, summary, "seconds since iat", &age.to_string()))
}

fn htm(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let (htm, method) = (sent(facts)?.htm.as_deref()?, facts.method.as_str());
    (htm != method)
        .then(|| Finding::new(rule, format!("htm is {}, but this request is a {method}", quote(htm)), "htm", htm))
}

fn htu(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let htu = sent(facts)?.htu.as_deref()?;
    let url = facts.public_url().url()?;
    let why = url_difference(htu, &url).unwrap_or(Some("htu is no absolute URL"))?;
    let summary = format!("htu is {}, this request came to {}: {why}", quote(htu), quote(&url));
    Some(Finding::new(rule, summary, "htu", htu).and_evidence("this request's URL", &url))
}

fn ath(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let ath = &sent(facts)?.ath;
    let hash = &facts.report()?.hash;
    match ath {
        Some(ath) if ath == hash => None,
        Some(ath) => {
            let summary = "ath is not the hash of the access token: the proof was made for another token";
            Some(Finding::new(rule, summary, "ath", ath).and_evidence("hash of the access token", hash))
        }
        None => {
            Some(Finding::new(rule, "the proof has no ath, which it needs beside an access token", "ath", "absent"))
        }
    }
}

fn key(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let (bound, thumbprint) = (thumbprint(facts)?, sent(facts)?.thumbprint.as_deref()?);
    let summary = "the proof's key is another one than the access token is bound to";
    (bound != thumbprint).then(|| {
        Finding::new(rule, summary, "cnf.jkt", bound).and_evidence("thumbprint of the proof's key", thumbprint)
    })
}
