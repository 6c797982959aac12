//! Findings of headers, identity and CORS: each rule fires on what it is about and not on the near miss, and nothing
//! worse than an info on a healthy request. The requests are data, `tests/findings/headers/*.json`:
//!
//! - `RULE.json`: `{"id": RULE, "must_raise": [CASE…], "must_not": [CASE…]}`; `healthy.json`: `{"healthy": [CASE…]}`.
//! - A case: `name`, `headers` as pairs, and where they matter `method`, `path`, `revision`, `config`, `owner`.
//! - A value: a text, `{"jwt": CLAIMS, "scheme": "Bearer"}` for a token that is made here (`scheme` may be left
//!   out), `{"repeat": TEXT, "times": N}`.
//! - `attempt` instead of `headers`: what corsAnalysis' arguments describe.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use mcp_echo_stateful::config::Origins;
use mcp_echo_stateful::diagnosis::cors::Attempt;
use mcp_echo_stateful::diagnosis::findings::{Facts, Family, Finding, Rule, Severity, cors, find};
use mcp_echo_stateful::diagnosis::jwks::KeySet;
use mcp_echo_stateful::protocol::Revision;
use mcp_echo_stateful::session::{Identity, IdentitySource};
use serde::Deserialize;
use serde_json::Value;

use crate::server::configured;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    id: String,
    must_raise: Vec<Case>,
    must_not: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthyFile {
    healthy: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Where it comes from: `reported: …`, `recorded: …`; made up, where it is absent.
    #[serde(default, rename = "source")]
    _source: Option<String>,
    #[serde(default)]
    headers: Vec<(String, HeaderText)>,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "mcp")]
    path: String,
    #[serde(default = "latest_with_sessions")]
    revision: String,
    #[serde(default)]
    config: Settings,
    /// Keys that signatures are checked with.
    keys: Option<Value>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    attempt: Option<Tried>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderText {
    Plain(String),
    Made(Made),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    jwt: Option<Value>,
    scheme: Option<String>,
    repeat: Option<String>,
    times: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Settings {
    host: Option<String>,
    allowed_origins: Option<Vec<String>>,
    /// Variables that are set.
    #[serde(default)]
    set: BTreeMap<String, String>,
    cors_origins: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    origin: String,
    own_origin: Option<String>,
    method: String,
    headers: Vec<String>,
    #[serde(default)]
    behind_proxy: bool,
}

/// All that look at the headers; what they say of the token has a corpus of its own.
const FAMILIES: [Family; 5] =
    [Family::Credentials, Family::IdentityHeaders, Family::Headers, Family::Identity, Family::Cors];

fn rules() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.into_iter().flat_map(Family::rules).filter(|rule| !rule.id.starts_with("tok."))
}

fn post() -> String {
    "POST".to_owned()
}

fn mcp() -> String {
    "/mcp".to_owned()
}

fn latest_with_sessions() -> String {
    "2025-11-25".to_owned()
}

fn jwt(claims: &Value) -> String {
    let segment = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signature = "what-is-signed-is-not-to-be-shown";
    format!("{}.{}.{}", segment(r#"{"alg":"RS256","typ":"JWT"}"#), segment(&claims.to_string()), segment(signature))
}

fn origins(list: &[String]) -> Origins {
    if list == ["*"] { Origins::Any } else { Origins::Only(list.to_vec()) }
}

impl Case {
    /// The findings, and the tokens that must not be in them.
    fn run(&self) -> (Vec<Finding>, Vec<String>) {
        let mut config = configured(&self.config.set);
        if let Some(host) = &self.config.host {
            config.host.clone_from(host);
        }
        if let Some(list) = &self.config.allowed_origins {
            config.allowed_origins = origins(list);
        }
        config.cors_origins = self.config.cors_origins.as_deref().map(origins);
        let revision = Revision::ALL.into_iter().find(|revision| revision.name() == self.revision);
        let revision = revision.unwrap_or_else(|| panic!("{}: no such revision", self.name));
        if let Some(tried) = &self.attempt {
            assert!(self.headers.is_empty(), "{}: either headers or an attempt", self.name);
            let attempt = Attempt {
                origin: Some(&tried.origin),
                own_origin: tried.own_origin.as_deref(),
                method: &tried.method,
                headers: tried.headers.iter().map(String::as_str).collect(),
                behind_proxy: tried.behind_proxy,
            };
            return (cors::of_attempt(&attempt, revision, &config), Vec::new());
        }
        let mut tokens = Vec::new();
        let mut map = HeaderMap::new();
        for (name, text) in &self.headers {
            let text = match text {
                HeaderText::Plain(text) => text.clone(),
                HeaderText::Made(Made { jwt: Some(claims), scheme, repeat: None, times: None }) => {
                    let token = jwt(claims);
                    tokens.push(token.clone());
                    scheme.as_ref().map_or(token.clone(), |scheme| format!("{scheme} {token}"))
                }
                HeaderText::Made(Made { repeat: Some(text), times: Some(times), jwt: None, scheme: None }) => {
                    text.repeat(*times)
                }
                HeaderText::Made(_) => panic!("{}: {name}: either jwt or repeat with times", self.name),
            };
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(text.as_bytes()).unwrap());
        }
        let owner = self.owner.clone().map(|id| Identity::new(id, IdentitySource::X_USER_ID));
        let uri: Uri = self.path.parse().unwrap();
        let method: Method = self.method.parse().unwrap();
        let facts = Facts::new(&method, &uri, &map, revision, &config, jiff::Timestamp::UNIX_EPOCH);
        let keys = self.keys.as_ref().map(|keys| KeySet::of(keys, "the corpus", None).unwrap());
        let facts = facts.with_owner(owner.as_ref()).with_keys(keys.as_ref());
        let findings = find(&facts, &FAMILIES);
        // What Agreement marks ❌ is a finding, and the other way round.
        let marked: BTreeSet<&str> = facts.comparisons().iter().filter_map(|comparison| comparison.finding).collect();
        let compared = |id: &&str| {
            let judged = ["id.token_passthrough"];
            (id.starts_with("id.") || *id == "hdr.two_products") && !judged.contains(id)
        };
        let found: BTreeSet<&str> = findings.iter().map(|finding| finding.rule.id).filter(compared).collect();
        assert_eq!(marked, found, "{}: what Agreement says", self.name);
        (findings, tokens)
    }
}

/// What holds for every finding, whatever raised it.
fn check_form(case: &str, findings: &[Finding], tokens: &[String]) {
    for finding in findings {
        let id = finding.rule.id;
        assert!(!finding.evidence.is_empty(), "{case}: {id} without evidence");
        assert!(!finding.summary.is_empty() && !finding.summary.ends_with('.'), "{case}: {id}: {}", finding.summary);
        assert!(!finding.fix.ends_with('.'), "{case}: {id}: {}", finding.fix);
        assert!(finding.fix.starts_with(|c: char| c.is_lowercase()), "{case}: {id}: {}", finding.fix);
        let told = finding.to_json().to_string();
        // The beginning of a token may be seen, the rest not; `hunter2` marks secrets that are not made here.
        for secret in tokens.iter().map(|token| &token[token.len() / 3..]).chain(["hunter2"]) {
            assert!(!told.contains(secret), "{case}: {id} shows a secret: {told}");
        }
    }
}

fn files() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings/headers");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let json = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the size of the corpus, for whoever runs it with --nocapture")]
fn every_rule_fires_on_its_fault_and_not_on_the_near_miss() {
    let mut wanting: BTreeSet<&str> = rules().map(|rule| rule.id).collect();
    let (mut raised, mut spared, mut failures) = (0, 0, Vec::new());
    for (stem, text) in files().into_iter().filter(|(stem, _)| stem != "healthy") {
        let file: RuleFile = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{stem}.json: {e}"));
        assert_eq!(file.id, stem, "a file is named after its rule");
        assert!(!file.must_raise.is_empty() && !file.must_not.is_empty(), "{stem}: both sides");
        assert!(wanting.remove(&*file.id), "{stem}: no such rule");
        let cases =
            file.must_raise.iter().map(|case| (case, true)).chain(file.must_not.iter().map(|case| (case, false)));
        for (case, must) in cases {
            let (findings, tokens) = case.run();
            let label = format!("{stem}: {}", case.name);
            check_form(&label, &findings, &tokens);
            let ids: Vec<_> = findings.iter().map(|finding| finding.rule.id).collect();
            if ids.contains(&&*file.id) != must {
                failures.push(format!("{label}: must{} raise it, raises {ids:?}", if must { "" } else { " not" }));
            }
        }
        raised += file.must_raise.len();
        spared += file.must_not.len();
    }
    println!("headers, identity, CORS: {} rules, {raised} must raise, {spared} must not", rules().count());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(wanting.is_empty(), "no file for {wanting:?}");
}

#[test]
#[expect(clippy::print_stdout, reason = "the size of the corpus, for whoever runs it with --nocapture")]
fn a_healthy_request_raises_nothing_that_asks_for_mending() {
    let file: HealthyFile = serde_json::from_str(&files()["healthy"]).unwrap();
    let mut failures = Vec::new();
    for case in &file.healthy {
        let (findings, tokens) = case.run();
        check_form(&case.name, &findings, &tokens);
        let bad = findings.iter().filter(|finding| finding.rule.severity > Severity::Info);
        failures.extend(bad.map(|finding| format!("{}: {}: {:?}", case.name, finding.rule.id, finding.evidence)));
    }
    println!("healthy: {} requests", file.healthy.len());
    assert!(file.healthy.len() > 12 && failures.is_empty(), "{}", failures.join("\n"));
}
