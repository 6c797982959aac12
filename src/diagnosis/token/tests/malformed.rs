//! What people and clients really send, each with what they must be told.

use std::fmt::Write as _;

use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Uri};

use super::*;
use crate::config::Config;
use crate::diagnosis::findings::{self, Facts, Family, find, section, verdict};
use crate::diagnosis::testing::headers;
use crate::protocol::Revision;

/// What a person reads of a token that is given, and of one that is sent in the Authorization header.
fn explained(token: &str) -> (Format, String) {
    let config = Config::default();
    let uri = Uri::from_static("/mcp");
    let mut headers = headers(&[("host", "mcp.example"), ("x-forwarded-proto", "https")]);
    let answer = |facts: &Facts<'_>, families: &[Family]| {
        let absent = inspect("", now());
        let report = facts.report().unwrap_or(&absent);
        let found = find(facts, families);
        let all_clear = findings::token::all_clear(facts, &found);
        [report.text(None), section(&verdict(&found, &all_clear), &found), report.details(facts.verification())]
            .join("\n\n")
    };
    let given = {
        let facts = Facts::new(&Method::POST, &uri, &headers, Revision::V2025_11_25, &config, now());
        answer(&facts.with_token(token), &[Family::Presence, Family::Token])
    };
    let Ok(value) = HeaderValue::from_str(token) else { return (inspect(token, now()).token.format, given) };
    headers.insert("authorization", value);
    let facts = Facts::new(&Method::POST, &uri, &headers, Revision::V2025_11_25, &config, now());
    (
        inspect(token, now()).token.format,
        given + "\n\n" + &answer(&facts, &[Family::Credentials, Family::Presence, Family::Token]),
    )
}

/// Every case: a name, the token, its format, and words that the explanation must hold.
#[expect(clippy::too_many_lines, reason = "a table")]
fn table() -> Vec<(&'static str, String, Format, &'static [&'static str])> {
    use Format::{
        Basic, Empty, HeaderOnly, Jwe, JweJson, Jws, JwsJson, Key, Malformed, Opaque, Paseto, PayloadOnly, Placeholder,
        SdJwt, TooLarge,
    };
    let good = jws(&es256(), &claims());
    let [h, p, s] = good.split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    let jwe_header = b64(json!({"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF"}).to_string());
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let at = |part: &str, i: usize, c: &str| format!("{}{c}{}", &part[..i], &part[i + 1..]);
    vec![
        // What stands around or instead of a token.
        ("empty", String::new(), Empty, &["the token is empty", "log in before"]),
        ("blank", " \r\n\t".into(), Empty, &["the token is empty"]),
        ("scheme alone", "Bearer ".into(), Empty, &["nothing after the scheme `Bearer`"]),
        ("null in quotes", "\"null\"".into(), Placeholder, &["empty variable", "quotes"]),
        ("shell variable", "Bearer ${TOKEN}".into(), Placeholder, &["placeholder", "`${TOKEN}`", "let it expand"]),
        ("token in brackets", "<gho_16C7e42F292c6912E7710c838347Ae178B4a>".into(), Opaque, &["GitHub OAuth", "quotes"]),
        ("mustache", "{{token}}".into(), Placeholder, &["template"]),
        ("preview", "eyJhbG...AbC123".into(), Placeholder, &["shortened preview", "middle is missing"]),
        ("header line", format!("Authorization: Bearer {good}\r\n"), Jws, &["`Authorization:`", "line break"]),
        (
            "command",
            format!("curl -H 'Authorization: Bearer {good}' https://mcp.example/mcp"),
            Jws,
            &["- Status: VALID"],
        ),
        ("cookie", format!("Cookie: a=b; CF_Authorization={good}; c=d"), Jws, &["`CF_Authorization=`"]),
        ("wrapped", format!("{}\n  {}", &good[..40], &good[40..]), Jws, &["wrapped when copied"]),
        ("zero width", format!("\u{feff}{good}"), Jws, &["invisible characters"]),
        ("percent", good.replace('.', "%2E"), Jws, &["percent-encoding"]),
        (
            "in a URL",
            format!("https://a/b?access_token={good}&x=1"),
            Jws,
            &["stood in a URL, after `access_token=`", "RFC 6750 section 5.3"],
        ),
        ("too large", "x".repeat(MAX_TOKEN_BYTES + 1), TooLarge, &["32769 bytes", "not looked at"]),
        // The number of segments.
        ("cut", format!("{h}.{p}"), Malformed, &["two segments", "cut when copied", "\"sub\": \"u1\""]),
        ("four", format!("{good}.x"), Malformed, &["four segments", "appended"]),
        ("five, no enc", format!("{good}.x.y"), Malformed, &["five segments", "no enc"]),
        ("six", format!("{good}.{good}"), Malformed, &["6 segments", "second token", "joined"]),
        ("glued", format!("{good}{good}"), Malformed, &["5 segments", "second token"]),
        ("two dots", format!("{h}..{p}.{s}"), Malformed, &["some of them empty"]),
        ("header alone", h.clone(), HeaderOnly, &["header of a token alone", "first dot"]),
        ("payload alone", p.clone(), PayloadOnly, &["payload of a token alone", "Istio"]),
        ("plain payload", claims().to_string(), PayloadOnly, &["payload of a token alone"]),
        ("first part cut", h[..h.len() - 3].into(), Malformed, &["has no dot", "segment 1 (header)"]),
        // Single segments.
        ("no payload", format!("{h}..{s}"), Jws, &["the payload is empty", "detached"]),
        ("character", format!("{h}.{}.{s}", at(&p, 16, "*")), Jws, &["`*`", "segment 2 (payload), character 17"]),
        (
            "umlaut",
            format!("{}.{p}.{s}", at(&h, 4, "ä")),
            Jws,
            &["`ä`", "segment 1 (header), character 5", "plain text"],
        ),
        ("in the signature", format!("{h}.{p}.{}", at(&s, 0, "!")), Jws, &["segment 3 (signature), character 1"]),
        ("length", format!("{h}.{p}A.{s}").replace(&format!("{p}A"), &fit(&p)), Jws, &["multiple of four plus one"]),
        ("not UTF-8", format!("{h}.{}.{s}", b64(b"{\"a\":\"\xff\"}")), Jws, &["not UTF-8", "byte 6 after decoding"]),
        ("not JSON", format!("{h}.{}.{s}", b64("{\"a\":1,}")), Jws, &["not JSON", "line 1, column 8"]),
        ("end missing", format!("{h}.{}.{s}", b64("{\"a\":1")), Jws, &["not JSON: EOF", "its end is missing"]),
        ("a list", format!("{h}.{}.{s}", b64("[1]")), Jws, &["an array instead of an object"]),
        ("deep", format!("{h}.{}.{s}", b64(deep)), Jws, &["more than 32 levels deep"]),
        // What the corpus of findings does not look at: how a token is described.
        (
            "ALB",
            header(json!({"typ": "JWT", "signer": "arn:aws:elasticloadbalancing:x", "client": "c"})),
            Jws,
            &["AWS load balancer", "gateway assertion", "public-keys.auth.elb"],
        ),
        ("DER", format!("{h}.{p}.{}", b64(der())), Jws, &["ASN.1 DER", "RFC 7518 section 3.4"]),
        ("post-quantum", header(json!({"alg": "ML-DSA-44"})), Jws, &["post-quantum", "makes 2420"]),
        (
            "b64",
            format!("{}.{{\"sub\":\"u\"}}.{s}", b64("{\"alg\":\"ES256\",\"b64\":false,\"crit\":[\"b64\"]}")),
            Jws,
            &["b64 false", "RFC 7797", "\"sub\": \"u\""],
        ),
        // Times.
        ("expired", payload(json!({"exp": NOW - 330})), Jws, &["- Status: EXPIRED", "expired 5m 30s ago"]),
        ("just expired", payload(json!({"exp": NOW})), Jws, &["- Status: EXPIRED", "clock skew"]),
        (
            "valid",
            good.clone(),
            Jws,
            &[
                "- Status: VALID",
                "- Remaining: 59m 0s",
                "- Lifetime: 1h 0m",
                "- Age: 1m 0s",
                "No problem found in the token's form, times, claims and audience",
            ],
        ),
        (
            "not yet",
            payload(json!({"nbf": NOW + 90})),
            Jws,
            &["- Status: NOT YET VALID", "- Not Before: 2026-01-01 00:01:30 UTC", "nbf lies 1m 30s ahead"],
        ),
        (
            "no exp",
            payload(json!({"exp": null})).replace('\0', ""),
            Jws,
            &["- Status: UNKNOWN", "`null`, which is no time"],
        ),
        (
            "milliseconds",
            payload(json!({"exp": (NOW + 60) * 1000})),
            Jws,
            &["2026-01-01 00:01:00 UTC (written in milliseconds)", "exp is in milliseconds"],
        ),
        (
            "quoted",
            payload(json!({"exp": (NOW + 60).to_string()})),
            Jws,
            &["written as a string", "exp is a string", "- Status: UNKNOWN"],
        ),
        (
            "fraction",
            payload(json!({"exp": 1_767_225_660.75})),
            Jws,
            &["- Expires: 2026-01-01 00:01:00 UTC\n", "1767225660.75"],
        ),
        ("out of range", payload(json!({"exp": 1e300})), Jws, &["after the year 9999", "- Status: UNKNOWN"]),
        ("future", payload(json!({"iat": NOW + 4})), Jws, &["iat lies 4s ahead", "clock skew"]),
        (
            "far future",
            payload(json!({"iat": NOW + 98_028_119, "exp": NOW + 98_031_719})),
            Jws,
            &[
                "iat lies 1134d 14h ahead",
                "the claim is wrong",
                "- Status: VALID (by exp and nbf alone: iat lies ahead)",
            ],
        ),
        (
            "password",
            payload(json!({"password": "hunter2"})),
            Jws,
            &["`password` holds a secret", "[a secret not shown]"],
        ),
        // Other forms.
        ("JWE", format!("{jwe_header}.AAAA.AAAA.AAAA.AAAA"), Jwe, &["it is encrypted", "`A256GCM`", "(tok.jwe)"]),
        ("JWE cut", format!("{jwe_header}.AAAA.AAAA"), Malformed, &["five segments; here are three"]),
        ("JWE cut to four", format!("{jwe_header}.AAAA.AAAA.AAAA"), Malformed, &["five segments; here are 4"]),
        (
            "nested",
            format!("{}.{}.{s}", b64("{\"alg\":\"ES256\",\"cty\":\"JWT\"}"), b64(&good)),
            Jws,
            &["🪆 Token Inside", "\"sub\": \"u1\"", "inside the token is another one"],
        ),
        (
            "SD-JWT",
            format!("{good}~{}~{}~", b64("[\"salt\",\"age\",42]"), b64("[\"s\",\"x\",1]")),
            SdJwt,
            &["2 disclosures", "`age`, `x`", "without key binding"],
        ),
        (
            "PASETO",
            format!(
                "v4.public.{}",
                b64([b"{\"sub\":\"u1\",\"exp\":\"2039-01-01T00:00:00+00:00\"}".as_slice(), &[0; 64]].concat())
            ),
            Paseto,
            &["PASETO (v4.public)", "- Expires: 2039-01-01"],
        ),
        ("PASETO local", "v2.local.AAAA".into(), Paseto, &["encrypted with a shared secret"]),
        (
            "JSON JWS",
            json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string(),
            JwsJson,
            &["JSON form", "\"sub\": \"u1\""],
        ),
        (
            "flattened",
            json!({"payload": p, "protected": h, "signature": s, "header": {"kid": "1"}}).to_string(),
            JwsJson,
            &["unprotected header"],
        ),
        (
            "JSON JWE",
            json!({"ciphertext": "AAAA", "protected": jwe_header, "recipients": [{}, {}]}).to_string(),
            JweJson,
            &["2 recipient(s)"],
        ),
        (
            "answer",
            json!({"access_token": good, "token_type": "Bearer"}).to_string(),
            Jws,
            &["the JSON around `access_token`"],
        ),
        (
            "JWK",
            "{\"kty\":\"OKP\",\"d\":\"c2VjcmV0\"}".into(),
            Key,
            &["a key (JWK", "[private key material not shown]"],
        ),
        ("PEM", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----".into(), Key, &["holds a private key"]),
        (
            "Basic",
            format!("Basic {}", STANDARD.encode("aladdin:opensesame")),
            Basic,
            &["user name is `aladdin`", "the scheme is `Basic`"],
        ),
        ("Basic, bare", STANDARD.encode("aladdin:opensesame"), Basic, &["user name is `aladdin`"]),
        ("GitHub", "gho_16C7e42F292c6912E7710c838347Ae178B4a".into(), Opaque, &["GitHub OAuth access token", "opaque"]),
        ("Google", format!("ya29.{}", "a0AfH6SM".repeat(4)), Opaque, &["Google OAuth access token"]),
        (
            "no prefix",
            "Zm9vYmFyYmF6cXV4cXV1eA".into(),
            Opaque,
            &["Nothing to decode: this is an opaque token\n", "(tok.opaque)", "- Format: opaque, not a JWT\n"],
        ),
        (
            "URL",
            "https://mcp.example.com/x?y=1".into(),
            Malformed,
            &["Nothing to decode: this token is malformed", "a URL"],
        ),
        ("UUID", "550e8400-e29b-41d4-a716-446655440000".into(), Opaque, &["a UUID"]),
        ("host name", "mcp.example.com".into(), Opaque, &["none of which is a JSON object"]),
    ]
}

/// A payload cut or grown to a length that no base64url text has.
fn fit(part: &str) -> String {
    let mut text = part.to_owned();
    while text.len() % 4 != 1 {
        text.push('A');
    }
    text
}

fn der() -> Vec<u8> {
    let mut der = vec![0x30, 68, 0x02, 32];
    der.extend([1; 32]);
    der.extend([0x02, 32]);
    der.extend([1; 32]);
    der
}

#[test]
fn every_malformed_or_exotic_token_gets_its_explanation() {
    let mut failures = String::new();
    for (name, token, format, words) in table() {
        let (found, text) = explained(&token);
        for missing in words.iter().filter(|words| !text.contains(**words)) {
            let _ = writeln!(failures, "{name}: {missing:?} is not in\n{text}\n");
        }
        if found != format {
            let _ = writeln!(failures, "{name}: {found:?} instead of {format:?}\n{text}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
