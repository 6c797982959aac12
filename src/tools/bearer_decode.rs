//! bearerDecode: a token taken apart, not verified. What is in it is the business of [`crate::diagnosis::token`]; here is
//! where it comes from.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Annotations, Call, Context, Family, Handle, Outcome, Tool, ToolError};
use crate::diagnosis::expected::Asked;
use crate::diagnosis::findings::token::Check;
use crate::diagnosis::findings::{self, Facts};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::jwks::KeySet;
use crate::diagnosis::quote::quote;
use crate::diagnosis::token::{self, Format, MAX_TOKEN_BYTES, Proof, Report};
use crate::diagnosis::verification::Verification;
use crate::request::Request;
use crate::schema;
use crate::session::Working;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "bearerDecode",
    title: "Decode a bearer token",
    description: "Takes a token apart: header, claims, status (EXPIRED, VALID, NOT YET VALID, NO EXPIRY, UNKNOWN), \
                  what kind of token it is and what verifiers would object to; compares it with what is expected (resource, issuer, \
                  scopes), and verifies its signature where keys are given (jwks). Any alg, encrypted and opaque tokens, DPoP \
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
        "resource": {
            "type": "string",
            "maxLength": 2048,
            "description": "The URL of the server that the token is for, as clients know it: compared with aud."
        },
        "issuer": {
            "type": ["string", "array"],
            "items": {"type": "string"},
            "description": "The expected issuer, or several of which one will do: compared with iss, exactly."
        },
        "scopes": {
            "type": ["string", "array"],
            "items": {"type": "string"},
            "description": "The scopes that the token needs, as a list or separated by spaces."
        },
        "jwks": {
            "type": ["object", "array", "string"],
            "description": "The issuer's public keys (its jwks_uri's answer): the signature is verified with them."
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
    "signature": {
        "type": "object",
        "description": "what became of the signature, checked alone with the keys that were given",
        "properties": {
            "result": {"enum": ["not-asked", "not-possible", "verified", "failed", "no-key", "refused"]},
            "kid": {"type": "string"},
            "alg": {"type": "string"},
            "reason": {"type": "string"},
            "unusableKeys": {"type": "array", "items": {"type": "string"}}
        },
        "required": ["result"],
        "additionalProperties": false
    },
    "checks": {
        "type": "array",
        "description": "what was compared, each on its own",
        "items": {
            "type": "object",
            "properties": {
                "name": {"enum": ["signature", "exp", "nbf", "iss", "aud", "scopes"]},
                "result": {"enum": ["passed", "failed", "not-checked"]},
                "detail": {"type": "string"}
            },
            "required": ["name", "result", "detail"],
            "additionalProperties": false
        }
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
        required.extend(["source", "signature", "checks", "seenIn"].map(Into::into));
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
    signature: Signature,
    checks: Vec<Check>,
    seen_in: Vec<SeenToken>,
}

/// What became of the signature.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unusable_keys: Vec<String>,
}

impl Signature {
    fn of(facts: &Facts<'_>) -> Self {
        let verification = facts.verification();
        let (kid, alg, reason) = match verification {
            Verification::Verified { kid, alg } => (kid.as_deref().map(quoted), Some(*alg), None),
            Verification::NotPossible(why)
            | Verification::Failed(why)
            | Verification::NoKey(why)
            | Verification::Refused(why) => (None, None, Some(why.clone())),
            Verification::NotAsked => (None, None, None),
        };
        let unusable_keys = facts.keys().map(|keys| keys.unusable().to_vec()).unwrap_or_default();
        Self { result: verification.name(), kid, alg, reason, unusable_keys }
    }
}

/// A key's name by itself.
fn quoted(kid: &str) -> String {
    quote(kid).trim_matches('`').to_owned()
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
    resource: Option<String>,
    issuer: Option<Value>,
    scopes: Option<Value>,
    jwks: Option<Value>,
    include_raw: Option<bool>,
}

/// The most values of an argument, and the longest one in bytes: what is compared with a token of 32 KiB.
const MAX_VALUES: usize = 100;
const MAX_VALUE_BYTES: usize = 2048;

impl Arguments {
    fn asked(&self) -> Result<Asked, ToolError> {
        Ok(Asked {
            resource: values("resource", self.resource.clone().map(Value::String).as_ref(), false)?,
            issuer: values("issuer", self.issuer.as_ref(), false)?,
            scopes: values("scopes", self.scopes.as_ref(), true)?,
        })
    }
}

/// The texts of an argument that is a text or a list of them; `split`: a text is a list with spaces between.
fn values(name: &str, given: Option<&Value>, split: bool) -> Result<Vec<String>, ToolError> {
    let wrong = |what: &str| ToolError::invalid(format!("`{name}` {what}"));
    let texts: Vec<&str> = match given {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) if split => text.split([' ', ',']).collect(),
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect()
        }
        Some(_) => return Err(wrong("must be a string or a list of strings")),
    };
    let texts: Vec<String> =
        texts.into_iter().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    if texts.len() > MAX_VALUES || texts.iter().any(|text| text.len() > MAX_VALUE_BYTES) {
        return Err(wrong(&format!("has more than {MAX_VALUES} entries, or one of more than {MAX_VALUE_BYTES} bytes")));
    }
    Ok(texts)
}

fn run(context: &Context<'_>, session: Option<&Working<'_>>, arguments: &Arguments) -> Result<Outcome, ToolError> {
    let include_raw = arguments.include_raw == Some(true);
    let given = arguments.token.as_deref();
    // A given token came with no header.
    let families = if given.is_some() { &[Family::Presence, Family::Token] } else { TOOL.findings };
    let facts = context.facts(session);
    let keys = match arguments.jwks.as_ref().filter(|jwks| !jwks.is_null()) {
        Some(jwks) => Some(
            KeySet::of(jwks, "the argument jwks", None).map_err(|why| ToolError::invalid(format!("`jwks` {why}")))?,
        ),
        None => None,
    };
    let facts = facts.with_asked(arguments.asked()?);
    let facts = match &keys {
        Some(keys) => facts.with_keys(Some(keys)),
        None => facts,
    };
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
    let checks = findings::token::checks(facts, &found);
    let standing = findings::token::standing(facts, &found, &checks);
    let standing = standing.as_ref().map(|standing| (standing.status, standing.note.as_str()));
    let mut details = report.details(facts.verification());
    details.push_str(&compared(&checks));
    details.extend(proof.map(Proof::section));
    if source == "none" {
        details.push_str(&how_to_send(&seen));
    }
    if include_raw {
        details.push_str(&raw_section(report));
    }
    let mut json = report.to_json(include_raw, proof);
    json["verified"] = facts.verification().is_verified().into();
    if let Some((status, _)) = standing.filter(|_| !json["status"].is_null()) {
        json["status"] = status.into();
    }
    let decoding = Decoding { report: json, source, signature: Signature::of(facts), checks, seen_in: seen };
    let all_clear = findings::token::all_clear(facts, &found);
    Ok(Outcome {
        findings: Some(found),
        ..Outcome::new(report.text(standing), &decoding).with(all_clear, details.trim_start())
    })
}

/// What was compared, a line each.
fn compared(checks: &[Check]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let lines = checks.iter().map(|check| format!("\n- {}", check.line()));
    lines.fold("\n\n🧾 Compared:".to_owned(), |text, line| text + &line)
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
