//! bearerDecode: a token taken apart, not verified. What is in it is the business of [`crate::diagnosis::token`]; here is
//! where it comes from.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Annotations, Call, Context, Family, Handle, Outcome, Tool, ToolError};
use crate::diagnosis::findings;
use crate::diagnosis::headers::title_case;
use crate::diagnosis::token::{self, Format, MAX_TOKEN_BYTES, Proof, Report};
use crate::request::Request;
use crate::schema;
use crate::session::Working;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "bearerDecode",
    title: "Decode a bearer token",
    description: "Takes a token apart without verifying it: header, claims, status (EXPIRED, VALID, NOT YET VALID, NO EXPIRY, UNKNOWN), \
                  what kind of token it is and what verifiers would object to. Any alg, encrypted and opaque tokens, DPoP \
                  proofs; a malformed token gets the reason and the place. Without an argument it looks at the token of the \
                  request itself. Use it when a login works but calls are refused.",
    input_schema: || schema::parse(INPUT),
    output_schema,
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[Family::Credentials, Family::Presence, Family::Token],
    call: |raw| Call::reading(raw, run),
};

/// Headers in which proxies pass tokens on (survey of identity-aware proxies: oauth2-proxy, authentik, Pomerium,
/// Cloudflare Access, Google IAP, AWS ALB, Azure App Service, Backstage, mcp-oauth-gateway).
const TOKEN_HEADERS: [&str; 18] = [
    "x-auth-token",
    "x-forwarded-access-token",
    "x-auth-request-access-token",
    "x-access-token",
    "x-id-token",
    "x-userinfo",
    "x-authentik-jwt",
    "x-pomerium-jwt-assertion",
    "x-pomerium-jwt-assertion-for",
    "cf-access-jwt-assertion",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-data",
    "x-amzn-oidc-accesstoken",
    "x-oauth2-proxy-id-token",
    "x-ms-token-aad-access-token",
    "x-ms-token-aad-id-token",
    "x-ms-client-principal",
    "proxy-authorization",
];

/// More headers than this with a token in them are counted, not named.
const MOST_SEEN: usize = 10;

const INPUT: &str = r#"{
    "type": "object",
    "properties": {
        "token": {
            "type": "string",
            "description": "The token, with or without `Bearer `. Left out: the Authorization header of this request."
        },
        "includeRaw": {
            "type": "boolean",
            "default": false,
            "description": "Also return the header and payload segments as sent. The signature is never returned."
        }
    },
    "additionalProperties": false
}"#;

/// What is added to the properties of a report.
const OUTPUT: &str = r#"{
    "source": {"enum": ["argument", "authorization", "none"], "description": "where the token came from"},
    "raw": {
        "type": "object",
        "description": "only with includeRaw: base64url segments as sent, not verified",
        "properties": {"header": {"type": "string"}, "payload": {"type": "string"}},
        "required": ["header", "payload"],
        "additionalProperties": false
    },
    "seenIn": {
        "type": "array",
        "description": "other headers of this request that hold a token",
        "items": {
            "type": "object",
            "properties": {"header": {"type": "string"}, "format": {"type": "string"}},
            "required": ["header", "format"],
            "additionalProperties": false
        }
    }
}"#;

fn output_schema() -> Value {
    let mut schema = token::schema();
    if let (Some(properties), Value::Object(more)) = (schema["properties"].as_object_mut(), schema::parse(OUTPUT)) {
        properties.extend(more);
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.extend(["source".into(), "seenIn".into()]);
    }
    schema
}

/// The structured content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Decoding {
    #[serde(flatten)]
    report: Value,
    source: &'static str,
    seen_in: Vec<SeenToken>,
}

/// Another header of the request that holds a token.
#[derive(Serialize)]
struct SeenToken {
    header: String,
    format: &'static str,
    #[serde(skip)]
    title: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arguments {
    token: Option<String>,
    include_raw: Option<bool>,
}

fn run(context: &Context<'_>, session: Option<&Working<'_>>, arguments: &Arguments) -> Result<Outcome, ToolError> {
    let include_raw = arguments.include_raw == Some(true);
    let given = arguments.token.as_deref();
    // A given token came with no header.
    let families = if given.is_some() { &[Family::Presence, Family::Token] } else { TOOL.findings };
    let facts = context.facts(session);
    let facts = &match given {
        Some(token) => facts.with_token(token),
        None => facts,
    };
    let found = findings::find(facts, families);
    let absent = token::inspect("", facts.now);
    let report = facts.report().unwrap_or(&absent);
    let proof = facts.credential().and_then(|credential| credential.proof.as_ref()?.proof.as_ref());
    let seen = seen_in(context.request, facts.now);
    let source = match facts.credential() {
        Some(credential) if credential.given => "argument",
        Some(_) => "authorization",
        None => "none",
    };
    let mut details = report.details();
    details.extend(proof.map(Proof::section));
    if source == "none" {
        details.push_str(&how_to_send(&seen));
    }
    if include_raw {
        details.push_str(&raw_section(report));
    }
    let decoding = Decoding { report: report.to_json(include_raw, proof), source, seen_in: seen };
    let all_clear = findings::token::all_clear(facts, &found);
    Ok(Outcome {
        findings: Some(found),
        ..Outcome::new(report.text(), &decoding).with(all_clear, details.trim_start())
    })
}

/// Other headers of the request that hold a token: those made for it, and any whose value looks like a JWT.
fn seen_in(request: &Request, now: Timestamp) -> Vec<SeenToken> {
    let mut seen: Vec<SeenToken> = Vec::new();
    for (name, value) in &request.headers {
        let name = name.as_str();
        if matches!(name, "authorization" | "dpop") || seen.iter().any(|known| known.header == name) {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        let cookie = name == "cookie" && value.split([';', '=']).any(|part| token::is_jws(part.trim()));
        let format = if cookie {
            Format::Jws
        } else if (TOKEN_HEADERS.contains(&name) && !value.is_empty()) || token::is_jws(value) {
            token::inspect(value, now).token.format
        } else {
            continue;
        };
        seen.push(SeenToken { header: name.to_owned(), format: format.name(), title: format.title() });
        if seen.len() == MOST_SEEN {
            break;
        }
    }
    seen
}

/// What to do when the request has no Authorization header.
fn how_to_send(seen: &[SeenToken]) -> String {
    let mut text = String::from("\n\n📭 No Authorization Header:\n");
    if seen.is_empty() {
        text.push_str("- The request carries no token in any header known for it.\n");
    } else {
        for SeenToken { header, title, .. } in seen {
            let header = title_case(header);
            text.push_str(&format!("- {header} holds a token ({title}): pass it as `token` to decode it.\n"));
        }
        text.push_str(
            "- A proxy in front has probably moved the token there, or removed Authorization after checking it.\n",
        );
    }
    text.push_str(
        "- Pass one as `token`, or send the header: curl -H \"Authorization: Bearer $TOKEN\"\n- If the client does send it, a \
         proxy drops it: Traefik's basicAuth with removeHeader, or an auth middleware whose authResponseHeaders name \
         Authorization without setting it.",
    );
    text
}

fn raw_section(report: &Report) -> String {
    match &report.raw {
        Some((header, payload)) => {
            format!("\n\n📦 Raw Segments (not verified, without signature):\n- Header: {header}\n- Payload: {payload}")
        }
        None => format!(
            "\n\n📦 Raw Segments:\n- not available: there is none that can be shown without a secret in it (at most \
             {MAX_TOKEN_BYTES} bytes of a JWT)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::tools::fixture;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn jws(header: &Value, payload: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", encode(header), encode(payload))
    }

    /// Calls the tool as the engine does, and holds the outcome against the schema.
    fn call(headers: &[(&str, &str)], arguments: &Value) -> Outcome {
        fixture::call(&TOOL, &fixture::request(headers), &Config::default(), arguments).unwrap()
    }

    fn sample() -> String {
        jws(
            &json!({"alg": "RS256", "typ": "JWT"}),
            &json!({"sub": "user123", "name": "John Doe", "iat": 1_516_239_022, "exp": 1_516_242_622}),
        )
    }

    #[test]
    fn the_samples_text_is_reproduced_to_the_letter() {
        let outcome = call(&[], &json!({"token": sample()}));
        let expected = "🔍 JWT Token Analysis\n\nHeader:\n{\n  \"alg\": \"RS256\",\n  \"typ\": \"JWT\"\n}\n\nPayload:\n{\n  \
                        \"sub\": \"user123\",\n  \"name\": \"John Doe\",\n  \"iat\": 1516239022,\n  \"exp\": \
                        1516242622\n}\n\n⏱️ Token Status:\n- Issued: 2018-01-18 01:30:22 UTC\n- Expires: 2018-01-18 \
                        02:30:22 UTC\n- Status: EXPIRED\n\n🩺 ❌ ";
        assert_eq!(&outcome.text[..expected.len()], expected);
        assert_eq!(outcome.facts()["expiresAt"], "2018-01-18T02:30:22.000Z");
        assert_eq!(outcome.facts()["lifetimeSeconds"], 3600);
        assert_eq!(outcome.facts()["source"], "argument");
        assert!(outcome.facts().get("raw").is_none());
    }

    #[test]
    fn without_an_argument_the_requests_own_token_is_decoded() {
        let outcome = call(&[("authorization", &format!("Bearer {}", sample()))], &json!({}));
        assert_eq!(outcome.facts()["source"], "authorization");
        assert_eq!(outcome.facts()["payload"]["sub"], "user123");
        assert!(!outcome.text.contains("was removed"), "a scheme in a header is no oddity: {}", outcome.text);
    }

    #[test]
    fn without_a_token_it_says_where_tokens_are_and_how_to_send_one() {
        let outcome = call(&[("x-auth-token", &sample()), ("x-custom", &sample()), ("cookie", "a=b")], &json!({}));
        assert_eq!(outcome.facts()["format"], "empty");
        assert_eq!(
            outcome.facts()["seenIn"],
            json!([{"header": "x-auth-token", "format": "jws"}, {"header": "x-custom", "format": "jws"}])
        );
        assert!(outcome.text.contains("- X-Auth-Token holds a token (JWS, compact (RFC 7515))"), "{}", outcome.text);
        assert!(call(&[], &json!({})).text.contains("Authorization: Bearer $TOKEN"));
    }

    #[test]
    fn raw_segments_come_only_when_asked_for_and_never_the_signature() {
        let outcome = call(&[], &json!({"token": sample(), "includeRaw": true}));
        assert_eq!(outcome.facts()["raw"]["header"], sample().split('.').next().unwrap());
        assert!(outcome.text.contains("not verified, without signature"));
        assert!(!format!("{outcome:?}").contains("c2lnbmF0dXJl"));
        let secret = jws(&json!({"alg": "none"}), &json!({"password": "hunter2"}));
        let outcome = call(&[], &json!({"token": secret, "includeRaw": true}));
        assert_eq!(outcome.facts().get("raw"), None);
        assert!(!format!("{outcome:?}").contains("hunter2"));
    }

    #[test]
    fn every_outcome_satisfies_the_schema() {
        let nested = URL_SAFE_NO_PAD.encode(sample());
        let big = "x".repeat(MAX_TOKEN_BYTES + 1);
        for token in [
            "",
            "Bearer",
            "undefined",
            "gho_16C7e42F292c6912E7710c838347Ae178B4a",
            "Basic dXNlcjpwYXNz",
            "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..aXY.Y3Q.dGFn",
            "eyJhbGciOiJub25lIn0.e30",
            "{\"kty\":\"RSA\"}",
            "v4.local.AAAA",
            &format!("eyJhbGciOiJIUzI1NiIsImN0eSI6IkpXVCJ9.{nested}.AAAA"),
            &big,
        ] {
            call(&[], &json!({"token": token, "includeRaw": true}));
        }
    }

    #[test]
    fn a_dpop_header_is_held_against_the_token_and_the_request() {
        let bound = jws(&json!({"alg": "ES256", "kid": "1"}), &json!({"sub": "u", "cnf": {"jkt": "abc"}}));
        let proof = jws(
            &json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": {"kty": "EC"}}),
            &json!({"htm": "GET", "htu": "https://mcp.example/mcp", "jti": "1", "iat": 1, "ath": "wrong"}),
        );
        let outcome =
            call(&[("authorization", &format!("DPoP {bound}")), ("dpop", &proof), ("host", "mcp.example")], &json!({}));
        for words in
            ["htm is `GET`, but this request is a POST", "X-Forwarded-Proto must say https", "made for another token"]
        {
            assert!(outcome.text.contains(words), "{words}: {}", outcome.text);
        }
        for (scheme, words) in [("Bearer", "but the scheme is Bearer"), ("DPoP", "the request has no DPoP header")] {
            let outcome = call(&[("authorization", &format!("{scheme} {bound}"))], &json!({}));
            assert!(outcome.text.contains(words), "{words}: {}", outcome.text);
        }
    }
}
