//! The promises of this module: every malformed token gets its reason and place, nothing panics, nothing leaks.

#![expect(clippy::needless_pass_by_value, reason = "literals in place")]

mod malformed;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::diagnosis::verification::Verification;

/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A JWS with a signature of the right length for `ES256`.
fn jws(header: &Value, payload: &Value) -> String {
    format!("{}.{}.{}", b64(header.to_string()), b64(payload.to_string()), b64([0x5a; 64]))
}

fn es256() -> Value {
    json!({"alg": "ES256", "typ": "at+jwt", "kid": "1"})
}

fn claims() -> Value {
    json!({"iss": "https://as.example", "sub": "u1", "aud": "https://mcp.example/mcp", "client_id": "c", "scope": "a b",
           "iat": NOW - 60, "exp": NOW + 3540, "jti": "j"})
}

fn with(base: &Value, changes: Value) -> Value {
    let mut all = base.clone();
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

fn payload(changes: Value) -> String {
    jws(&es256(), &with(&claims(), changes))
}

fn header(changes: Value) -> String {
    jws(&with(&es256(), changes), &claims())
}

#[test]
fn a_token_in_order_has_no_problem_and_follows_the_profile() {
    let report = inspect(&jws(&es256(), &claims()), now());
    assert_eq!(report.problems, []);
    assert_eq!(report.kind, TokenKind::AccessToken);
    assert!(report.profile.unwrap().is_followed());
    assert_eq!(report.token.claim_str("sub"), Some("u1"));
}

#[test]
fn kinds_are_told_by_evidence() {
    let kind = |header: Value, payload: Value| {
        let report = inspect(&jws(&header, &payload), now());
        (report.kind, report.kind_evidence)
    };
    for (header, payload, expected, word) in [
        (json!({"alg": "ES256", "typ": "application/at+jwt"}), json!({}), TokenKind::AccessToken, "RFC 9068"),
        (
            json!({"alg": "ES256"}),
            json!({"scope": "a", "client_id": "c"}),
            TokenKind::AccessToken,
            "scopes and a client",
        ),
        (json!({"alg": "ES256"}), json!({"token_use": "access"}), TokenKind::AccessToken, "Cognito"),
        (json!({"alg": "ES256"}), json!({"at_hash": "x", "scope": "a"}), TokenKind::IdToken, "at_hash"),
        (json!({"alg": "ES256"}), json!({"aud": "c", "azp": "c"}), TokenKind::IdToken, "azp"),
        (json!({"alg": "HS512"}), json!({"typ": "Refresh"}), TokenKind::RefreshToken, "Keycloak"),
        (json!({"alg": "ES256", "typ": "dpop+jwt"}), json!({}), TokenKind::DpopProof, "RFC 9449"),
        (json!({"alg": "ES256"}), json!({"iss": "https://cloud.google.com/iap"}), TokenKind::GatewayAssertion, "IAP"),
        (
            json!({"alg": "RS256"}),
            json!({"iss": "https://t.cloudflareaccess.com"}),
            TokenKind::GatewayAssertion,
            "Cloudflare",
        ),
        (
            json!({"alg": "ES256"}),
            json!({"iss": "a.example", "aud": ["a.example"], "sub": "u"}),
            TokenKind::GatewayAssertion,
            "Pomerium",
        ),
        (json!({"alg": "ES256", "typ": "logout+jwt"}), json!({}), TokenKind::LogoutToken, "Back-Channel"),
        (json!({"alg": "ES256", "typ": "oauth-id-jag+jwt"}), json!({}), TokenKind::Assertion, "authorization server"),
        (
            json!({"alg": "ES256"}),
            json!({"iss": "c", "sub": "c", "aud": "x", "exp": 1}),
            TokenKind::Assertion,
            "RFC 7523",
        ),
        (json!({"alg": "ES256"}), json!({"sub": "u"}), TokenKind::Unknown, "nothing in it"),
    ] {
        let (found, evidence) = kind(header, payload.clone());
        assert_eq!(found, expected, "{payload}: {evidence}");
        assert!(evidence.contains(word), "{evidence}");
    }
    let missing = inspect(&jws(&json!({"alg": "ES256"}), &json!({"sub": "u", "exp": 1})), now()).profile.unwrap();
    assert_eq!(missing.missing, ["iss", "aud", "client_id", "iat", "jti"]);
}

/// RFC 9449 section 4.1's example proof, whose thumbprint section 6.1 gives.
const RFC_9449_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklD\
                              UkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2\
                              R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHB\
                              zOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8ig\
                              iMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

#[test]
fn the_rfcs_own_dpop_proof_verifies_and_has_the_rfcs_thumbprint() {
    let report = inspect(RFC_9449_PROOF, now());
    let proof = report.proof.as_ref().unwrap();
    assert_eq!(proof.signature, OwnSignature::Valid);
    assert_eq!(proof.thumbprint.as_deref(), Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"));
    let altered = RFC_9449_PROOF.replace("2-GxA6T8", "2-GxA6T9");
    assert_eq!(inspect(&altered, now()).proof.unwrap().signature, OwnSignature::Invalid);

    for (url, why) in [
        ("https://SERVER.example.com:443/token?x=1", None),
        ("http://server.example.com/token", Some("X-Forwarded-Proto must say https")),
        ("https://internal:8080/token", Some("host or port differs")),
        ("https://server.example.com/token/", Some("only the slash")),
        ("https://server.example.com/mcp", Some("path differs")),
    ] {
        let found = url_difference(proof.htu.as_deref().unwrap(), url).unwrap();
        assert!(
            found.is_some() == why.is_some() && found.is_none_or(|found| found.contains(why.unwrap())),
            "{found:?}"
        );
    }
}

#[test]
fn keys_that_would_upset_the_crypto_library_never_reach_it() {
    for jwk in [
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": b64([0; 32])}),
        json!({"kty": "RSA", "n": "AA", "e": "AQAB"}),
        json!({"kty": "RSA", "n": b64([0; 256]), "e": "AQAB"}),
        json!({"kty": "RSA", "n": b64([255; 256]), "e": "AQ"}),
        json!({"kty": "EC", "crv": "P-256", "x": "", "y": ""}),
        json!({"kty": "EC", "crv": "P-256", "x": b64([0; 32]), "y": b64([0; 32])}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!("x"),
        json!(null),
    ] {
        for alg in ["ES256", "EdDSA", "Ed25519", "RS256", "PS256", "HS256", "none", "ES512"] {
            let token = jws(&json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk}), &json!({}));
            assert_ne!(inspect(&token, now()).proof.unwrap().signature, OwnSignature::Valid, "{alg} {jwk}");
        }
    }
}

#[test]
fn the_subject_of_a_bearer_token_is_read_quickly_and_strictly() {
    let token = jws(&es256(), &claims());
    for header in [format!("Bearer {token}"), format!("bEARER  {token}"), format!("DPoP {token}")] {
        assert_eq!(bearer_subject(&header).unwrap().0, "u1", "{header}");
    }
    let with_payload = |payload: &str| format!("Bearer {}.{}.x", b64("{}"), b64(payload));
    for header in [
        token.clone(),
        format!("Basic {token}"),
        "Bearer ".to_owned(),
        format!("Bearer {token}.x"),
        with_payload("{\"sub\":[5]}"),
        with_payload("{\"sub\":true}"),
        with_payload("{\"sub\":\"\"}"),
        with_payload("{\"sub\":\"a\",\"sub\":\"b\"}"),
        with_payload("[]"),
        format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1)),
        "Bearer a.*.c".to_owned(),
    ] {
        assert!(bearer_subject(&header).is_err(), "{}", crate::text::shorten(&header, 60));
    }
    assert_eq!(
        bearer_subject(&with_payload("{\"sub\":5,\"iss\":\"i\"}")).unwrap(),
        ("5".to_owned(), Some("i".to_owned()))
    );
    let padded = format!("Bearer x.{}.y", STANDARD.encode("{\"sub\":\"~~~?\"}"));
    assert_eq!(bearer_subject(&padded).unwrap().0, "~~~?");
}

/// All that anybody can get out of a report.
fn everything(report: &Report) -> String {
    format!(
        "{}\n{}\n{}\n{report:?}",
        report.text(None),
        report.details(&Verification::NotAsked),
        report.to_json(true, None)
    )
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = everything(&inspect(&text, now()));
        let _ = bearer_subject(&text);
    }

    #[test]
    fn no_text_of_a_tokens_characters_makes_it_panic(text in "(Bearer |Basic |\"|%2|v4.public.|\\{)?[eyJA-Da-d0-9._~+/=%{}\" -]{0,80}") {
        let _ = everything(&inspect(&text, now()));
        let _ = bearer_subject(&text);
    }

    #[test]
    fn no_json_in_a_token_makes_it_panic(
        header in "\\{(\"(alg|typ|kid|crit|enc|b64|jwk|aud)\":(1|\"x\"|\\[\\]|\\{\\}|null),?){0,3}\\}?",
        payload in "\\{(\"(exp|iat|nbf|aud|scope|cnf|sub|events)\":(-?[0-9]{1,25}(\\.5)?|\"x\"|\\[1\\]|\\{\\}|null|1e99),?){0,4}\\}?",
    ) {
        let _ = everything(&inspect(&format!("{}.{}.AAAA", b64(header), b64(payload)), now()));
    }

    #[test]
    fn a_mutated_token_never_shows_its_signature(position in 0_usize..500, byte in "[ -~]", insert in any::<bool>()) {
        let token = jws(&es256(), &claims());
        let signature = token.rsplit('.').next().unwrap().to_owned();
        let at = position % token.len();
        let mutated = format!("{}{byte}{}", &token[..at], &token[at + usize::from(!insert)..]);
        // Whatever else is broken, no stretch of the signature comes out.
        prop_assert!(!everything(&inspect(&mutated, now())).contains(&signature[..12]), "{mutated}");
        for wrapped in [format!("Bearer {mutated}"), format!("{mutated}~~"), format!("{{\"access_token\":\"{mutated}\"}}"), b64(&mutated)] {
            prop_assert!(!everything(&inspect(&wrapped, now())).contains(&signature[..12]), "{wrapped}");
        }
    }
}
