//! bearerDecode: a token taken apart, not verified. What is in it is the business of [`crate::diagnosis::token`]; here is
//! where it comes from.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Annotations, Call, Context, Family, Handle, Outcome, Tool, ToolError};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::token::{self, Binding, Format, Kind, MAX_TOKEN_BYTES, Note, Origin, Presented, Report};
use crate::diagnosis::{findings, forwarding};
use crate::object::object;
use crate::request::Request;
use crate::schema;
use crate::session::Working;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "bearerDecode",
    title: "Decode a bearer token",
    description: "Takes a token apart without verifying it: header, claims, status (EXPIRED, VALID, NOT YET VALID, NO EXPIRY), \
                  what kind of token it is and what verifiers would object to. Any alg, encrypted and opaque tokens, DPoP \
                  proofs; a malformed token gets the reason and the place. Without an argument it looks at the token of the \
                  request itself. Use it when a login works but calls are refused.",
    input_schema: || schema::parse(INPUT),
    output_schema,
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[Family::Token],
    call: |given| Call::of(given, run),
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arguments {
    token: Option<String>,
    include_raw: Option<bool>,
}

fn run(context: &Context<'_>, _: Option<&mut Working<'_>>, arguments: &Arguments) -> Result<Outcome, ToolError> {
    let now = context.server.clock.wall_now();
    let include_raw = arguments.include_raw == Some(true);
    let found = find(context.request, arguments.token.as_deref(), now);
    let seen = seen_in(context.request, now);

    let mut details = found.report.details();
    if found.source == "none" {
        details.push_str(&how_to_send(&seen));
    }
    if include_raw {
        details.push_str(&raw_section(&found.report));
    }
    let mut structured = found.report.to_json(include_raw);
    structured["source"] = found.source.into();
    structured["seenIn"] =
        seen.iter().map(|(header, format)| object! { "header": header, "format": format.name() }).collect();
    let mut outcome = Outcome::new(found.report.text(), &structured).with(ALL_CLEAR, details);
    if found.source == "argument" {
        // The request's own token is judged by its family; this one is another.
        outcome.findings = Some(context.with_facts(None, |facts| findings::token::of_report(&found.report, facts)));
    }
    Ok(outcome)
}

/// What the verdict says of a token that nothing is wrong with.
const ALL_CLEAR: &str =
    "No problem found in the token's form, claims and times; not checked: signature, issuer, scopes";

/// The report on the token, and where that came from.
struct Found {
    source: &'static str,
    report: Report,
}

fn find(request: &Request, argument: Option<&str>, now: Timestamp) -> Found {
    if let Some(given) = argument {
        let mut report = token::inspect(given, now);
        // A proof that is this request's own can be held against the request.
        if report.kind == Kind::DpopProof && request.header("dpop").is_some_and(|header| header.trim() == given.trim())
        {
            compare_proof(&mut report, request);
        }
        return Found { source: "argument", report };
    }
    let mut values = request.headers.get_all(http::header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Found { source: "none", report: token::inspect_from("", Origin::Argument, now) };
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    let mut report = token::inspect_from(&value, Origin::Authorization, now);
    let more = values.count();
    if more > 0 {
        report.add([Note::error(format!(
            "the request has {} Authorization headers: servers disagree on which counts, the first is looked at (RFC 9110 section \
             5.3)",
            more + 1
        ))]);
    }
    add_proof(&mut report, &value, request, now);
    Found { source: "authorization", report }
}

/// The `DPoP` header against the access token and the request (RFC 9449 section 4.3).
fn add_proof(report: &mut Report, authorization: &str, request: &Request, now: Timestamp) {
    let bound_to = match report.facts.binding() {
        Some(Binding::Dpop(thumbprint)) => Some(thumbprint.to_owned()),
        _ => None,
    };
    let mut proofs = request.headers.get_all("dpop").iter();
    let Some(value) = proofs.next() else {
        if bound_to.is_some() {
            report.add([Note::error(
                "the token is bound by DPoP, but the request has no DPoP header with a proof (RFC 9449 section 7.1)",
            )]);
        }
        return;
    };
    if proofs.next().is_some() {
        report.add([Note::error("the request has more than one DPoP header (RFC 9449 section 4.3)")]);
    }
    let proof = token::inspect_from(&String::from_utf8_lossy(value.as_bytes()), Origin::Header, now);
    let url = forwarding::public_url(&request.headers, &request.uri).url();
    let access_token = token::clean(authorization, Origin::Authorization).token;
    let presented = Presented {
        method: Some(request.method.as_str()),
        url: url.as_deref(),
        access_token: Some(&access_token),
        bound_to: bound_to.as_deref(),
    };
    report.add_proof(&proof, &presented);
}

fn compare_proof(report: &mut Report, request: &Request) {
    let url = forwarding::public_url(&request.headers, &request.uri).url();
    let presented = Presented { method: Some(request.method.as_str()), url: url.as_deref(), ..Presented::default() };
    let notes = report.proof.as_ref().map(|proof| proof.compare(&presented)).unwrap_or_default();
    report.add(notes);
}

/// Other headers of the request that hold a token: those made for it, and any whose value looks like a JWT.
fn seen_in(request: &Request, now: Timestamp) -> Vec<(String, Format)> {
    let mut seen: Vec<(String, Format)> = Vec::new();
    for (name, value) in &request.headers {
        let name = name.as_str();
        if matches!(name, "authorization" | "dpop") || seen.iter().any(|(known, _)| known == name) {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        let cookie = name == "cookie" && value.split([';', '=']).any(|part| token::is_jws(part.trim()));
        if cookie {
            seen.push((name.to_owned(), Format::Jws));
        } else if (TOKEN_HEADERS.contains(&name) && !value.is_empty()) || token::is_jws(value) {
            seen.push((name.to_owned(), token::inspect_from(value, Origin::Header, now).facts.format));
        }
        if seen.len() == MOST_SEEN {
            break;
        }
    }
    seen
}

/// What to do when the request has no Authorization header.
fn how_to_send(seen: &[(String, Format)]) -> String {
    let mut text = String::from("\n\n📭 No Authorization Header:\n");
    if seen.is_empty() {
        text.push_str("- The request carries no token in any header known for it.\n");
    } else {
        for (header, format) in seen {
            let (header, format) = (title_case(header), format.title());
            text.push_str(
                &["- ", &header, " holds a token (", format, "): pass it as `token` to decode it.\n"].concat(),
            );
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
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::tools::fixture;

    fn jws(header: &Value, payload: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", encode(header), encode(payload))
    }

    /// Calls the tool as the dispatcher does, and holds the outcome against the schema.
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
        let outcome = call(&[("authorization", &format!("Bearer {bound}"))], &json!({}));
        assert!(
            outcome.text.contains("was sent as Bearer") && outcome.text.contains("no DPoP header"),
            "{}",
            outcome.text
        );
    }
}
