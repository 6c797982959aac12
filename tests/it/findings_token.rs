//! The corpus under `tests/findings/token/`: for every `tok.*` rule what must raise it and what must not, and healthy
//! tokens of products in wide use.
//!
//! A file is a list of `{"id", "must_raise", "must_not"}`; `healthy.json` is a list of cases. See [`Case`] for what a
//! case may say. Times are offsets from now, so that the files do not age; signatures are made up here.

#![expect(clippy::print_stdout, reason = "the counts of the corpus")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jiff::Timestamp;
use mcp_echo_stateful::diagnosis::findings::{Facts, Family, Finding, Rule, Severity, find};
use mcp_echo_stateful::diagnosis::jwks::KeySet;
use mcp_echo_stateful::protocol::Revision;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::server::configured;

/// One rule's cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    id: String,
    must_raise: Vec<Case>,
    must_not: Vec<Case>,
}

/// One request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Where it comes from; `field.rs` counts them.
    #[serde(rename = "source")]
    _source: Option<String>,
    /// What it is.
    name: String,
    /// The value of `Authorization`, `{jwt}` standing for the token; null for none. `Bearer {jwt}` when left out.
    #[serde(default = "bearer")]
    authorization: Option<String>,
    /// Look at this text as at a token that somebody gave, instead of at the request's; `{jwt}` as above.
    given: Option<String>,
    /// The token's header; a usual one when left out.
    header: Option<Value>,
    /// The token's claims, all of them; healthy ones when left out.
    claims: Option<Map<String, Value>>,
    /// Claims to set in, or with null to remove from, the healthy ones.
    #[serde(default)]
    change: Map<String, Value>,
    /// Bytes of the signature; what the algorithm makes when left out.
    signature: Option<usize>,
    /// Characters of a claim `groups` to make the token long.
    padding: Option<usize>,
    /// Put the token into another one.
    #[serde(default)]
    nested: bool,
    /// Claims of a DPoP proof to send along: `{ath}` stands for the hash of the token. Its signature is made up, so it is
    /// none of its key's.
    dpop: Option<Map<String, Value>>,
    /// The header of that proof, without its `jwk`, where it is not the usual one.
    dpop_header: Option<Value>,
    /// Text for the `DPoP` header, in place of a proof; `{jwt}` as above.
    dpop_text: Option<String>,
    /// Headers besides `Host: mcp.example.com` and `X-Forwarded-Proto: https`; null removes one.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// Variables that are set: what is expected.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// The issuer's keys: signatures are checked with them.
    keys: Option<Value>,
    /// Path and query; `/mcp` when left out.
    path: Option<String>,
}

/// The families that show `tok.*` rules.
const FAMILIES: [Family; 3] = [Family::Credentials, Family::Presence, Family::Token];

fn rules() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.into_iter().flat_map(Family::rules).filter(|rule| rule.id.starts_with("tok."))
}

fn bearer() -> Option<String> {
    Some("Bearer {jwt}".to_owned())
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings/token")
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rule_files() -> Vec<Cases> {
    let mut paths: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "json") && !path.ends_with("healthy.json"));
    paths.sort();
    paths.iter().flat_map(|path| read::<Vec<Cases>>(path)).collect()
}

/// `+3600s`, `-5s` and `+3600000ms` are offsets from now, in that unit; anything else stays.
fn resolve(value: &mut Value, now: Timestamp) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| resolve(member, now)),
        Value::String(text) if text.starts_with(['+', '-']) => {
            let offset = |text: &str, unit: &str| text.strip_suffix(unit)?.parse::<i64>().ok();
            if let Some(offset) = offset(text, "ms") {
                *value = json!(now.as_millisecond() + offset);
            } else if let Some(offset) = offset(text, "s") {
                *value = json!(now.as_second() + offset);
            }
        }
        _ => {}
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A signature of the size that the algorithm makes, of nothing.
fn signature(header: &Value, bytes: Option<usize>) -> String {
    let usual = match header["alg"].as_str().unwrap_or_default() {
        "none" => 0,
        "HS256" => 32,
        "ES256" | "EdDSA" => 64,
        _ => 256,
    };
    URL_SAFE_NO_PAD.encode(vec![0xa5; bytes.unwrap_or(usual)])
}

impl Case {
    fn claims(&self, now: Timestamp) -> Value {
        let healthy = json!({
            "iss": "https://auth.example.com", "sub": "user-1", "aud": "https://mcp.example.com/mcp",
            "client_id": "client-1", "scope": "mcp:read", "iat": "-60s", "exp": "+3540s", "jti": "token-1",
        });
        let mut claims = self.claims.clone().unwrap_or_else(|| healthy.as_object().unwrap().clone());
        for (name, value) in &self.change {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        if let Some(padding) = self.padding {
            claims.insert("groups".to_owned(), "g".repeat(padding).into());
        }
        let mut claims = Value::Object(claims);
        resolve(&mut claims, now);
        claims
    }

    fn token(&self, now: Timestamp) -> String {
        let header = self.header.clone().unwrap_or_else(|| json!({"alg": "RS256", "typ": "at+jwt", "kid": "key-1"}));
        if header.get("enc").is_some() {
            return format!("{}.a2V5.aXY.{}.dGFn", encode(&header), "Y2lwaGVydGV4dA");
        }
        let token = format!("{}.{}.{}", encode(&header), encode(&self.claims(now)), signature(&header, self.signature));
        if !self.nested {
            return token;
        }
        let outer = json!({"alg": "RS256", "cty": "JWT", "kid": "key-1"});
        format!("{}.{}.{}", encode(&outer), URL_SAFE_NO_PAD.encode(token), signature(&outer, None))
    }

    fn proof(&self, token: &str, now: Timestamp) -> Option<String> {
        if let Some(text) = &self.dpop_text {
            return Some(text.replace("{jwt}", token));
        }
        let mut claims = Value::Object(self.dpop.clone()?);
        resolve(&mut claims, now);
        if claims["ath"] == "{ath}" {
            claims["ath"] = URL_SAFE_NO_PAD.encode(Sha256::digest(token)).into();
        }
        let part = |byte: u8| URL_SAFE_NO_PAD.encode([byte; 32]);
        let mut header = self.dpop_header.clone().unwrap_or_else(|| json!({"alg": "ES256", "typ": "dpop+jwt"}));
        header["jwk"] = json!({"kty": "EC", "crv": "P-256", "x": part(1), "y": part(2)});
        Some(format!("{}.{}.{}", encode(&header), encode(&claims), signature(&header, None)))
    }

    /// What is found, and the texts that must not show in it.
    fn run(&self, now: Timestamp) -> (Vec<Finding>, Vec<String>) {
        let token = self.token(now);
        let mut headers = HeaderMap::new();
        let mut set = |name: &str, value: &str| {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        };
        for (name, value) in [("host", "mcp.example.com"), ("x-forwarded-proto", "https")] {
            if !self.headers.contains_key(name) {
                set(name, value);
            }
        }
        for (name, value) in &self.headers {
            if let Some(value) = value {
                set(name, &value.replace("{jwt}", &token));
            }
        }
        if let Some(authorization) = &self.authorization {
            set("authorization", &authorization.replace("{jwt}", &token));
        }
        if let Some(proof) = self.proof(&token, now) {
            set("dpop", &proof);
        }
        let uri: Uri = self.path.as_deref().unwrap_or("/mcp").parse().unwrap();
        let config = configured(&self.set);
        let keys = self.keys.as_ref().map(|keys| KeySet::of(keys, "the corpus", None).unwrap());
        let facts = Facts::new(&Method::POST, &uri, &headers, Revision::ALL[3], &config, now);
        let facts = facts.with_keys(keys.as_ref());
        let findings = match &self.given {
            Some(given) => find(&facts.with_token(&given.replace("{jwt}", &token)), &[Family::Presence, Family::Token]),
            None => find(&facts, &FAMILIES),
        };
        let signature = token.rsplit('.').next().unwrap().to_owned();
        (findings, [token, signature].into_iter().filter(|text| text.len() > 16).collect())
    }
}

/// What holds for every finding of every case.
fn check(case: &Case, findings: &[Finding], secrets: &[String]) {
    let name = &case.name;
    let audiences: Vec<&str> = findings.iter().map(|finding| finding.rule.id).filter(is_audience).collect();
    assert!(audiences.len() <= 1, "{name}: {audiences:?}");
    let ids: BTreeSet<&str> = findings.iter().map(|finding| finding.rule.id).collect();
    assert_eq!(ids.len(), findings.len(), "{name}: a rule fired twice: {findings:#?}");
    for finding in findings {
        assert!(!finding.evidence.is_empty(), "{name}: {}", finding.rule.id);
        assert!(!finding.summary.is_empty() && !finding.summary.ends_with('.'), "{name}: {}", finding.summary);
        let text = finding.to_json().to_string();
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{name}: {text}");
    }
}

fn is_audience(id: &&str) -> bool {
    id.starts_with("tok.aud_") || *id == "tok.wrong_api"
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

#[test]
fn every_rule_on_tokens_fires_where_it_must_and_nowhere_else() {
    let mut counts: BTreeMap<&str, (usize, usize)> = rules().map(|rule| (rule.id, (0, 0))).collect();
    let mut wrong = Vec::new();
    for cases in &rule_files() {
        let count = counts.get_mut(cases.id.as_str()).unwrap_or_else(|| panic!("there is no rule {}", cases.id));
        count.0 += cases.must_raise.len();
        count.1 += cases.must_not.len();
        let both = [(true, &cases.must_raise), (false, &cases.must_not)];
        for (must, case) in both.into_iter().flat_map(|(must, list)| list.iter().map(move |case| (must, case))) {
            let (findings, secrets) = case.run(now());
            check(case, &findings, &secrets);
            let ids: Vec<&str> = findings.iter().map(|finding| finding.rule.id).collect();
            if ids.contains(&cases.id.as_str()) != must {
                let must = if must { "must" } else { "must not" };
                wrong.push(format!("{} {must} be raised by {:?}; raised: {ids:?}", cases.id, case.name));
            }
        }
    }
    let (raise, not) = counts.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    for (id, (raise, not)) in &counts {
        println!("{id}: {raise} must raise, {not} must not");
        if *raise == 0 || *not == 0 {
            wrong.push(format!("{id} lacks a case that must raise it or one that must not"));
        }
    }
    println!("{} rules, {raise} must raise, {not} must not", counts.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn healthy_tokens_of_common_products_raise_nothing_above_info() {
    let cases: Vec<Case> = read(&folder().join("healthy.json"));
    println!("{} healthy tokens", cases.len());
    for case in &cases {
        let (findings, secrets) = case.run(now());
        check(case, &findings, &secrets);
        for finding in &findings {
            assert_eq!(finding.rule.severity, Severity::Info, "{}: {finding:#?}", case.name);
        }
    }
}
