//! What the server reads from headers: who may come in, which form an answer has, whose session it is, what proxies say,
//! and what findings make of it. An input is lines of `Name: value`; `$TOKEN` stands for a token whose signature nothing
//! may show, and a line `> /mcp?x=y` is the target.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use mcp_echo_stateful::config::{Config, Origins};
use mcp_echo_stateful::diagnosis::findings::{self, Facts, Family};
use mcp_echo_stateful::diagnosis::headers::{category, title_case};
use mcp_echo_stateful::diagnosis::identity::{User, caller, encoded_words};
use mcp_echo_stateful::diagnosis::{forwarding, origin, proxies, redact};
use mcp_echo_stateful::request::headers::{
    SESSION_ID, SessionHeader, accepts, is_encoded, is_json, lists, protocol_version, session_id, single,
};
use mcp_echo_stateful::protocol::Revision;
use mcp_echo_stateful::request::RequestId;

/// A signature that nothing may show.
const SIGNATURE: &str = "c2lnbmF0dXJlLXRoYXQtbm9ib2R5LW1heS1zZWUtaGVyZQ";
const CLAIMS: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjoxfQ";

/// As many as hyper takes.
const MAX_HEADERS: usize = 100;

/// Evidence is at most 300 characters, each escaped to six at most, and its name.
const LONGEST_EVIDENCE: usize = 300 * 6 * 4 + 1000;

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    let mut uri = Uri::from_static("/mcp");
    let token = format!("{CLAIMS}.{SIGNATURE}");
    for line in input.split(|byte| *byte == b'\n').take(MAX_HEADERS) {
        if let Some(target) = line.strip_prefix(b"> ") {
            uri = Uri::try_from(target).unwrap_or(uri);
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let value = match value {
            b"$TOKEN" => token.clone().into_bytes(),
            b"Bearer $TOKEN" => format!("Bearer {token}").into_bytes(),
            b"DPoP $TOKEN" => format!("DPoP {token}").into_bytes(),
            value => value.to_vec(),
        };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(&value)) {
            headers.append(name, value);
        }
    }
    decisions(&headers);
    origins(&headers);
    shown(&headers, &uri);
});

/// What decides how a request is served.
fn decisions(headers: &HeaderMap) {
    let (accepted, listed) = (accepts(headers), lists(headers));
    assert!(accepted.json || !listed.json, "JSON is listed and not accepted: {headers:?}");
    assert!(accepted.sse || !listed.sse, "streams are listed and not accepted: {headers:?}");
    let _ = (is_json(headers), is_encoded(headers));
    if let SessionHeader::Id(id) = session_id(headers) {
        assert_eq!(single(headers, &SESSION_ID).as_deref(), Some(&*id.to_string()));
    }
    let _ = protocol_version(headers);
    if let Some(id) = headers.get("x-request-id").and_then(|id| RequestId::accept(id.to_str().ok()?)) {
        assert_eq!(id.as_str().as_bytes(), headers["x-request-id"].as_bytes());
    }
    let (first, again) = (caller(headers), caller(headers));
    assert_eq!(first, again);
    assert!(first.map_or(true, |caller| !caller.id.trim().is_empty()), "nobody is somebody: {headers:?}");
}

fn origins(headers: &HeaderMap) {
    let nobody = Config::default();
    let listed = Config { allowed_origins: Origins::Only(vec!["https://app.example".to_owned()]), ..nobody.clone() };
    for value in headers.values().filter_map(|value| value.to_str().ok()) {
        if let Some(once) = origin::serialise(value) {
            assert_eq!(origin::serialise(&once).as_ref(), Some(&once), "{value:?}");
        }
        let loopback = origin::is_loopback_origin(value);
        assert_eq!(origin::origin_allowed(value, &nobody), loopback, "{value:?}");
        let is_listed = origin::serialise(value).as_deref() == Some("https://app.example");
        assert_eq!(origin::origin_allowed(value, &listed), loopback || is_listed, "{value:?}");
        let _ = origin::is_loopback_host(value);
    }
}

/// What people are shown of headers.
fn shown(headers: &HeaderMap, uri: &Uri) {
    let mut shown = String::new();
    for (name, value) in headers {
        shown += &redact::header(name.as_str(), value);
        shown += &title_case(name.as_str());
        let _ = category(name.as_str());
        let text = String::from_utf8_lossy(value.as_bytes());
        shown += &redact::value(&text);
        let _ = encoded_words(&text);
    }
    shown += &redact::uri(&uri.to_string());
    let url = forwarding::public_url(headers, uri);
    assert_eq!(url.url().is_some(), url.host.is_some(), "{url:?}");
    let _ = url.origin();
    let peer = Some(([127, 0, 0, 1], 40_000).into());
    let _ = (forwarding::client_address(headers, peer), proxies::proxies(headers), User::told_by(headers));
    for revision in [Revision::V2025_03_26, Revision::V2025_11_25, Revision::V2026_07_28] {
        let now = Timestamp::from_second(1_800_000_000).unwrap_or_default();
        let config = Config::default();
        let facts = Facts::new(&Method::POST, uri, headers, revision, &config, now);
        let found = findings::find(&facts, &Family::ALL);
        for finding in &found {
            assert!(!finding.evidence.is_empty(), "{finding:?}");
            assert!(finding.evidence.iter().all(|evidence| evidence.len() <= LONGEST_EVIDENCE), "{finding:?}");
            shown += &finding.to_json().to_string();
        }
        shown += &findings::section(&findings::verdict(&found, ""), &found);
    }
    // By itself it is a word like others, under a name that is known to be harmless.
    let is_part = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        text.match_indices(SIGNATURE).all(|(at, _)| text[..at].ends_with('.'))
    };
    assert!(!shown.contains(SIGNATURE) || !headers.values().all(is_part), "a signature is shown: {headers:?}");
}
