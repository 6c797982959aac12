//! What people and clients really send, each with what they must be told.

use std::fmt::Write as _;

use base64::engine::general_purpose::STANDARD;

use super::*;

/// What a person reads: the text, which holds problems, places and notes.
fn explained(token: &str) -> (Format, String) {
    let report = inspect(token, now());
    (report.facts.format, format!("{}\n\n{}", report.text(), report.details()))
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
        ("empty", String::new(), Empty, &["the token is empty", "log in first"]),
        ("blank", " \r\n\t".into(), Empty, &["the token is empty"]),
        ("scheme alone", "Bearer ".into(), Empty, &["nothing after the scheme `Bearer`"]),
        ("undefined", "Bearer undefined".into(), Placeholder, &["empty variable", "`undefined`"]),
        ("object", "[object Object]".into(), Placeholder, &["empty variable"]),
        ("null in quotes", "\"null\"".into(), Placeholder, &["empty variable", "quotes around"]),
        ("shell variable", "Bearer ${TOKEN}".into(), Placeholder, &["placeholder", "`${TOKEN}`", "let it expand"]),
        ("bare variable", "$MCP_TOKEN".into(), Placeholder, &["`$MCP_TOKEN`"]),
        ("angle brackets", "<your token>".into(), Placeholder, &["template"]),
        ("token in brackets", "<gho_16C7e42F292c6912E7710c838347Ae178B4a>".into(), Opaque, &["GitHub OAuth", "quotes"]),
        ("mustache", "{{token}}".into(), Placeholder, &["template"]),
        ("mask", "Bearer ********".into(), Placeholder, &["instead of a token", "not from a log"]),
        ("preview", "eyJhbG...AbC123".into(), Placeholder, &["shortened preview", "middle is missing"]),
        ("twice Bearer", format!("Bearer Bearer {good}"), Jws, &["the scheme is there 2 times"]),
        ("lower case", format!("bearer {good}"), Jws, &["spelled `bearer`", "RFC 9110 section 11.1"]),
        ("other scheme", format!("Token {good}"), Jws, &["the scheme is `Token`", "RFC 6750"]),
        ("header line", format!("Authorization: Bearer {good}\r\n"), Jws, &["`Authorization:` in front", "line break"]),
        (
            "command",
            format!("curl -H 'Authorization: Bearer {good}' https://mcp.example/mcp"),
            Jws,
            &["- Status: VALID"],
        ),
        ("Negotiate", "Negotiate YIIJvwYGKwYBBQUC".into(), Opaque, &["the scheme is `Negotiate`"]),
        ("cookie", format!("Cookie: a=b; CF_Authorization={good}; c=d"), Jws, &["`CF_Authorization=` in front"]),
        ("quotes", format!("'{good}'"), Jws, &["quotes around the token were removed"]),
        ("wrapped", format!("{}\n  {}", &good[..40], &good[40..]), Jws, &["wrapped when copied"]),
        ("zero width", format!("\u{feff}{good}"), Jws, &["invisible characters"]),
        ("percent", good.replace('.', "%2E"), Jws, &["percent-encoding was undone"]),
        ("two headers", format!("Bearer {good}, Bearer {good}"), Jws, &["more than one credential"]),
        ("in a URL", format!("https://a/b?access_token={good}&x=1"), Jws, &["stood in a URL", "RFC 6750 section 5.3"]),
        ("Pomerium", format!("Bearer Pomerium-{good}"), Jws, &["service accounts"]),
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
        (
            "twice sub",
            format!("{h}.{}.{s}", b64("{\"sub\":\"a\",\"sub\":\"b\"}")),
            Jws,
            &["more than once", "`sub`", "RFC 7519 section 4"],
        ),
        ("padding", format!("{h}=.{p}=.{s}=="), Jws, &["base64 padding", "RFC 7515 section 2"]),
        (
            "standard",
            format!("{h}.{}.{s}", STANDARD.encode("{\"sub\":\"~~~???\"}").trim_end_matches('=')),
            Jws,
            &["standard base64 alphabet"],
        ),
        ("surplus bits", format!("{h}.{p}.{}", surplus(&s)), Jws, &["bits that belong to no byte"]),
        // The header.
        (
            "none",
            format!("{}.{p}.", b64("{\"alg\":\"none\"}")),
            Jws,
            &["alg `none`: unsecured", "RFC 8725 section 3.2"],
        ),
        (
            "None, signed",
            format!("{}.{p}.{s}", b64("{\"alg\":\"None\"}")),
            Jws,
            &["alg is none, but there is a signature"],
        ),
        ("stripped", format!("{h}.{p}."), Jws, &["the signature is empty although alg is `ES256`"]),
        ("short signature", format!("{h}.{p}.{}", &s[..40]), Jws, &["the signature has 30 bytes, `ES256` makes 64"]),
        ("DER", format!("{h}.{p}.{}", b64(der())), Jws, &["ASN.1 DER", "RFC 7518 section 3.4"]),
        ("no alg", format!("{}.{p}.{s}", b64("{}")), Jws, &["the header has no alg"]),
        ("alg number", header(json!({"alg": 5})), Jws, &["alg is a number, not a string"]),
        ("shared secret", header(json!({"alg": "HS256"})), Jws, &["HMAC with SHA-256", "issuer's secret"]),
        ("unknown alg", header(json!({"alg": "XX1"})), Jws, &["`XX1`: not a registered algorithm"]),
        ("post-quantum", header(json!({"alg": "ML-DSA-44"})), Jws, &["post-quantum", "makes 2420"]),
        ("no kid", jws(&json!({"alg": "ES256"}), &claims()), Jws, &["no kid", "no typ"]),
        ("kid injection", header(json!({"kid": "../../dev/null"})), Jws, &["looks like a path"]),
        ("jku", header(json!({"jku": "https://evil.example/k"})), Jws, &["brings or names its own key (jku)"]),
        ("crit", header(json!({"crit": ["x"], "x": 1})), Jws, &["crit demands extensions", "`x`"]),
        ("crit absent", header(json!({"crit": ["y"]})), Jws, &["crit names what the header does not have: `y`"]),
        (
            "b64",
            format!("{}.{{\"sub\":\"u\"}}.{s}", b64("{\"alg\":\"ES256\",\"b64\":false,\"crit\":[\"b64\"]}")),
            Jws,
            &["b64 is false", "RFC 7797", "\"sub\": \"u\""],
        ),
        ("zip", header(json!({"zip": "DEF"})), Jws, &["zip has no meaning in a signed token"]),
        ("Graph", header(json!({"nonce": "n"})), Jws, &["Microsoft Graph"]),
        (
            "ALB",
            header(json!({"typ": "JWT", "signer": "arn:aws:elasticloadbalancing:x", "client": "c"})),
            Jws,
            &["AWS load balancer", "gateway assertion", "public-keys.auth.elb"],
        ),
        // Times.
        ("expired", payload(json!({"exp": NOW - 330})), Jws, &["- Status: EXPIRED", "expired 5m 30s ago"]),
        ("just expired", payload(json!({"exp": NOW})), Jws, &["- Status: EXPIRED", "clock skew"]),
        ("valid", good.clone(), Jws, &["- Status: VALID", "- Remaining: 59m 0s", "- Lifetime: 1h 0m", "- Age: 1m 0s"]),
        (
            "not yet",
            payload(json!({"nbf": NOW + 90})),
            Jws,
            &["- Status: NOT YET VALID", "- Not Before: 2026-01-01 00:01:30 UTC", "another 1m 30s"],
        ),
        (
            "no exp",
            payload(json!({"exp": null})).replace('\0', ""),
            Jws,
            &["- Status: NO EXPIRY", "`null`, which is no time"],
        ),
        (
            "milliseconds",
            payload(json!({"exp": (NOW + 60) * 1000})),
            Jws,
            &["2026-01-01 00:01:00 UTC (written in milliseconds)", "exp is in milliseconds"],
        ),
        ("quoted", payload(json!({"exp": (NOW + 60).to_string()})), Jws, &["written as a string", "exp is a string"]),
        (
            "fraction",
            payload(json!({"exp": 1_767_225_660.75})),
            Jws,
            &["- Expires: 2026-01-01 00:01:00 UTC\n", "1767225660.75"],
        ),
        ("out of range", payload(json!({"exp": 1e300})), Jws, &["after the year 9999", "- Status: VALID"]),
        ("negative", payload(json!({"exp": -1})), Jws, &["exp is negative", "1969-12-31 23:59:59 UTC"]),
        ("future", payload(json!({"iat": NOW + 4})), Jws, &["iat lies 4s ahead", "clock is behind", "clock skew"]),
        (
            "far future",
            payload(json!({"iat": NOW + 98_028_119, "exp": NOW + 98_031_719})),
            Jws,
            &["iat lies 1134d 14h ahead: the claim is wrong", "- Status: VALID (by exp and nbf alone: iat lies ahead)"],
        ),
        (
            "disorder",
            payload(json!({"iat": NOW, "exp": NOW - 1, "nbf": NOW + 1})),
            Jws,
            &["exp is before iat", "nbf is after exp"],
        ),
        ("long", payload(json!({"exp": NOW + 864_000})), Jws, &["lives for 10d 0h"]),
        // Claims.
        ("aud number", payload(json!({"aud": 7})), Jws, &["aud is a number"]),
        ("aud is client", payload(json!({"aud": "c"})), Jws, &["aud is the client itself", "RFC 8707"]),
        ("Graph's aud", payload(json!({"aud": "https://graph.microsoft.com"})), Jws, &["identity provider's own API"]),
        ("sub number", payload(json!({"sub": 5})), Jws, &["sub is a number, not a string"]),
        ("scope list", payload(json!({"scope": ["a"]})), Jws, &["scope is a list", "- Scope: a"]),
        ("scope commas", payload(json!({"scope": "a,b"})), Jws, &["separated by commas"]),
        ("Entra v1", payload(json!({"iss": "https://sts.windows.net/x/"})), Jws, &["Entra ID v1"]),
        (
            "bound, as Bearer",
            format!("Bearer {}", payload(json!({"cnf": {"jkt": "k"}}))),
            Jws,
            &["sender-constrained", "was sent as Bearer"],
        ),
        (
            "password",
            payload(json!({"password": "hunter2"})),
            Jws,
            &["`password` holds a secret", "[a secret not shown]"],
        ),
        (
            "huge",
            payload(json!({"groups": vec!["group-with-a-name"; 400]})),
            Jws,
            &["`groups` takes most of it", "8192 bytes"],
        ),
        // Other forms.
        (
            "JWE",
            format!("{jwe_header}.AAAA.AAAA.AAAA.AAAA"),
            Jwe,
            &["it is encrypted", "`A256GCM`", "RFC 8707", "compressed"],
        ),
        ("JWE cut", format!("{jwe_header}.AAAA.AAAA"), Malformed, &["five segments; here are three"]),
        ("JWE cut to four", format!("{jwe_header}.AAAA.AAAA.AAAA"), Malformed, &["five segments; here are 4"]),
        (
            "nested",
            format!("{}.{}.{s}", b64("{\"alg\":\"ES256\",\"cty\":\"JWT\"}"), b64(&good)),
            Jws,
            &["🪆 Token Inside", "\"sub\": \"u1\"", "cty JWT"],
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
            &["JSON serialization", "\"sub\": \"u1\""],
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
            &["token endpoint's answer"],
        ),
        (
            "JWK",
            "{\"kty\":\"OKP\",\"d\":\"c2VjcmV0\"}".into(),
            Key,
            &["a key (JWK", "[private key material not shown]"],
        ),
        (
            "PEM",
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----".into(),
            Key,
            &["private key was pasted"],
        ),
        (
            "Basic",
            format!("Basic {}", STANDARD.encode("aladdin:opensesame")),
            Basic,
            &["user name is `aladdin`", "pass-basic-auth"],
        ),
        ("Basic, bare", STANDARD.encode("aladdin:opensesame"), Basic, &["user name and a password"]),
        (
            "GitHub",
            "gho_16C7e42F292c6912E7710c838347Ae178B4a".into(),
            Opaque,
            &["GitHub OAuth access token", "introspection"],
        ),
        ("Google", format!("ya29.{}", "a0AfH6SM".repeat(4)), Opaque, &["Google OAuth access token"]),
        (
            "no prefix",
            "Zm9vYmFyYmF6cXV4cXV1eA".into(),
            Opaque,
            &["Nothing to decode: this is an opaque token\n", "- it holds no claims", "- Format: opaque, not a JWT\n"],
        ),
        (
            "URL",
            "https://mcp.example.com/x?y=1".into(),
            Malformed,
            &["Nothing to decode: this token is malformed", "a URL"],
        ),
        ("UUID", "550e8400-e29b-41d4-a716-446655440000".into(), Opaque, &["a UUID"]),
        ("host name", "mcp.example.com".into(), Opaque, &["host name"]),
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

/// 64 bytes in base64url end in a character with four bits to spare.
fn surplus(signature: &str) -> String {
    format!("{}{}", &signature[..signature.len() - 1], 'h')
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
