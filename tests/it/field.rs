//! What real clients, products and people sent, and what the server says of it: whole requests over a socket, the answer
//! read as a person reads it. The cases are data, `tests/findings/field/**/*.json`, each file a list of [`Case`]s:
//!
//! ```json
//! {
//!   "source": "reported: litellm#11891",
//!   "name": "a key in a header of its own",
//!   "environment": {"MCP_PUBLIC_URL": "https://mcp.acme.example/mcp"},
//!   "tokens": {"t": {"header": {"alg": "RS256"}, "claims": {"sub": "1001", "exp": "now+3600"}}},
//!   "headers": {"Host": "mcp.acme.example", "Authorization": "Bearer {t}"},
//!   "steps": [
//!     {"do": "initialize", "session": "a"},
//!     {"do": "call", "session": "a", "tool": "authContext", "raises": ["tok.expired"], "verdict": "expired"}
//!   ]
//! }
//! ```
//!
//! - `source`: `reported: REPOSITORY#NUMBER` (a public report), `recorded: PRODUCT VERSION, SET-UP` (what a product sent,
//!   written by `tests/identity/run --record`), or `made up`.
//! - `tokens`: `{NAME}` in a header, a path, a body or an argument stands for the JWT. A claim or member whose value is
//!   `now+N` or `now-N` is that time in seconds; in quotes (`"'now+N'"`) it stays text. `signature` replaces the made-up
//!   one (an empty text leaves none).
//! - `headers`: of every step; a step's own come on top, null takes one away. A list of texts is a header that comes
//!   repeatedly. Without `Host` here it is `mcp.acme.example`.
//! - a step: see [`Step`]. Steps run in order; where no session is named there is none.

#![expect(clippy::print_stdout, reason = "the counts of the corpus")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_echo_stateful::config::{Command, Config};
use mcp_echo_stateful::diagnosis::findings::rules;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::server::{Events, TestServer, initialize, tool_call, within};

/// One set-up, and what is said of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Where it comes from.
    source: String,
    /// What it is.
    name: String,
    /// What the server's environment has, as a person would write it.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Tokens by name.
    #[serde(default)]
    tokens: BTreeMap<String, Token>,
    /// Headers of every step.
    #[serde(default)]
    headers: BTreeMap<String, HeaderValues>,
    /// What is sent, one after the other.
    steps: Vec<Step>,
}

/// A JWT, made where it is used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    #[serde(default = "usual_header")]
    header: Value,
    claims: Value,
    signature: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum HeaderValues {
    None(()),
    One(String),
    Many(Vec<String>),
}

/// One request, and what its answer must be like.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// `initialize`, `call` (of `tool`), `list`, `get`, `delete`, or `send` (`method`, `body`).
    r#do: String,
    /// The session by a name of the case's own: an `initialize` makes it, the others use it.
    session: Option<String>,
    /// The protocol revision; of a stateless one the request carries `_meta`.
    #[serde(default = "latest_with_sessions")]
    revision: String,
    /// Headers on top of the case's.
    #[serde(default)]
    headers: BTreeMap<String, HeaderValues>,
    /// Path and query.
    #[serde(default = "mcp")]
    path: String,
    tool: Option<String>,
    #[serde(default = "no_arguments")]
    arguments: Value,
    /// Of `send`.
    method: Option<String>,
    /// Of `send`: a text as it is, anything else as JSON.
    body: Option<Value>,
    /// How often it is sent; the last answer is looked at.
    #[serde(default = "once")]
    times: u32,
    /// Of `get`: the client ends the stream after as many milliseconds of the server's clock.
    closed_after_ms: Option<u64>,

    /// The HTTP status; 200 where none is named (202 and 204 count as such).
    status: Option<u16>,
    /// Findings that the answer must have.
    #[serde(default)]
    raises: Vec<String>,
    /// Findings that it must not have.
    #[serde(default)]
    raises_not: Vec<String>,
    /// It must have no warning and no error.
    #[serde(default)]
    quiet: bool,
    /// Nor any info but these.
    only_infos: Option<Vec<String>>,
    /// How bad the findings of `raises` are, where it matters.
    #[serde(default)]
    severity: BTreeMap<String, String>,
    /// Must stand in the verdict's line: what is said first is what is wrong.
    verdict: Option<String>,
    /// Must stand in the fix of the first finding of `raises`.
    fix: Option<String>,
    /// Must not.
    fix_not: Option<String>,
    /// Must stand in what a person sees: a tool's text, or `error.message`.
    #[serde(default)]
    text: Vec<String>,
    /// Must not stand in it, nor anywhere in the answer.
    #[serde(default)]
    text_not: Vec<String>,
}

fn usual_header() -> Value {
    json!({"alg": "RS256", "typ": "at+jwt", "kid": "k1"})
}

fn latest_with_sessions() -> String {
    "2025-11-25".to_owned()
}

fn mcp() -> String {
    "/mcp".to_owned()
}

fn no_arguments() -> Value {
    json!({})
}

fn once() -> u32 {
    1
}

/// `now+N` and `now-N` as numbers, in quotes as text.
fn timed(value: &Value, now: i64) -> Value {
    let seconds = |text: &str| {
        let offset = text.strip_prefix("now")?;
        if offset.is_empty() { Some(now) } else { Some(now + offset.parse::<i64>().ok()?) }
    };
    match value {
        Value::String(text) => match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            Some(quoted) => seconds(quoted).map_or_else(|| quoted.to_owned(), |time| time.to_string()).into(),
            None => seconds(text).map_or_else(|| value.clone(), Value::from),
        },
        Value::Array(items) => items.iter().map(|item| timed(item, now)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), timed(value, now))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

impl Token {
    fn compact(&self, now: i64) -> String {
        let segment = |value: &Value| URL_SAFE_NO_PAD.encode(timed(value, now).to_string());
        let signature = self.signature.clone().unwrap_or_else(|| URL_SAFE_NO_PAD.encode([0x5a; 256]));
        format!("{}.{}.{signature}", segment(&self.header), segment(&self.claims))
    }
}

/// Puts the case's tokens into texts.
struct Filler(Vec<(String, String)>);

impl Filler {
    fn of(case: &Case, now: i64) -> Self {
        Self(case.tokens.iter().map(|(name, token)| (format!("{{{name}}}"), token.compact(now))).collect())
    }

    fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, token)| text.replace(name, token))
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), self.value(value))).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }
}

/// What came back.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// What a person sees.
    fn text(&self) -> String {
        match &self.body["error"]["message"] {
            Value::String(message) => message.clone(),
            _ => self.body["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned(),
        }
    }

    fn findings(&self) -> &[Value] {
        let of_result = &self.body["result"]["structuredContent"]["findings"];
        let of_error = &self.body["error"]["data"]["findings"];
        of_result.as_array().or(of_error.as_array()).map_or(&[], Vec::as_slice)
    }
}

struct Run<'a> {
    case: &'a Case,
    server: TestServer,
    filler: Filler,
    sessions: BTreeMap<&'a str, String>,
}

impl<'a> Run<'a> {
    async fn of(case: &'a Case) -> Self {
        let command = Config::load(["server"], &case.environment).expect("a sound environment");
        let Command::Serve(config) = command else { panic!("{}: no server's environment", case.name) };
        // Where the case says nothing, as in the image: the Host header is anybody's.
        let host = case.environment.get("MCP_ECHO_HOST").map_or("0.0.0.0", String::as_str);
        let server = TestServer::bound(host, |defaults| {
            *defaults = Config { host: host.to_owned(), port: 0, ..*config };
        })
        .await;
        let filler = Filler::of(case, server.clock.wall_now().as_second());
        Self { case, server, filler, sessions: BTreeMap::new() }
    }

    fn request(&self, step: &Step) -> reqwest::RequestBuilder {
        let (method, body) = self.message(step);
        let mut headers = BTreeMap::new();
        let mut set = |name: &str, values: HeaderValues| headers.insert(name.to_ascii_lowercase(), values);
        let one = |text: &str| HeaderValues::One(text.to_owned());
        set("host", one("mcp.acme.example"));
        set(
            "accept",
            one(if method == Method::GET { "text/event-stream" } else { "application/json, text/event-stream" }),
        );
        if body.is_some() {
            set("content-type", one("application/json"));
        }
        if step.r#do != "initialize" && step.r#do != "send" {
            set("mcp-protocol-version", one(&step.revision));
        }
        if is_stateless(&step.revision) && step.r#do != "send" {
            set("mcp-method", one(if step.r#do == "list" { "tools/list" } else { "tools/call" }));
            if let Some(tool) = &step.tool {
                set("mcp-name", one(tool));
            }
        }
        if let Some(id) = step.session.as_ref().filter(|_| step.r#do != "initialize") {
            let id = self.sessions.get(id.as_str()).expect("an earlier initialize");
            set("mcp-session-id", one(id));
        }
        for (name, values) in self.case.headers.iter().chain(&step.headers) {
            set(name, values.clone());
        }
        let mut request = self.server.request(method, &self.filler.text(&step.path));
        for (name, values) in headers {
            let values = match values {
                HeaderValues::None(()) => vec![],
                HeaderValues::One(value) => vec![value],
                HeaderValues::Many(values) => values,
            };
            for value in values {
                request = request.header(&name, self.filler.text(&value));
            }
        }
        match body {
            Some(body) => request.body(self.filler.text(&body)),
            None => request,
        }
    }

    fn message(&self, step: &Step) -> (Method, Option<String>) {
        let call = |tool: &str| {
            let mut call = tool_call(tool, &self.filler.value(&step.arguments));
            if is_stateless(&step.revision) {
                call["params"]["_meta"] = meta(&step.revision);
            }
            Some(call.to_string())
        };
        match step.r#do.as_str() {
            "initialize" => (Method::POST, Some(initialize(&step.revision).to_string())),
            "call" => (Method::POST, call(step.tool.as_ref().expect("a tool"))),
            "list" => {
                let mut list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}});
                if is_stateless(&step.revision) {
                    list["params"]["_meta"] = meta(&step.revision);
                }
                (Method::POST, Some(list.to_string()))
            }
            "get" => (Method::GET, None),
            "delete" => (Method::DELETE, None),
            "send" => {
                let method = step.method.as_deref().unwrap_or("POST").parse().unwrap();
                let body = step.body.as_ref().map(|body| match body {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                (method, body)
            }
            other => panic!("no step is called {other}"),
        }
    }

    async fn send(&mut self, step: &'a Step) -> Answer {
        let response = within(self.request(step).send()).await.unwrap();
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let session = header("mcp-session-id");
        let is_stream = header("content-type").as_deref() == Some("text/event-stream");
        let body = if is_stream && step.r#do == "get" {
            if let Some(life) = step.closed_after_ms {
                self.server.clock.advance(Duration::from_millis(life));
            }
            // Dropped: the client goes away.
            Value::Null
        } else if is_stream {
            let mut events = Events::of(response);
            loop {
                let event = events.message().await.expect("an answer").json();
                if event.get("id").is_some() {
                    break event;
                }
            }
        } else {
            let text = within(response.text()).await.unwrap();
            serde_json::from_str(&text).unwrap_or(Value::Null)
        };
        if let (Some(name), Some(id), "initialize") = (&step.session, &session, step.r#do.as_str()) {
            self.sessions.insert(name, id.clone());
        }
        Answer { status, body }
    }
}

fn is_stateless(revision: &str) -> bool {
    revision >= "2026-07-28"
}

fn meta(revision: &str) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientInfo": {"name": "test-client", "version": "1.0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// What is not as the step says.
fn problems(step: &Step, answer: &Answer) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    match step.status {
        Some(status) => check(answer.status == status, format!("status {}, expected {status}", answer.status)),
        None => check(matches!(answer.status, 200 | 202 | 204), format!("status {}", answer.status)),
    }
    let member = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let found: BTreeMap<String, &Value> =
        answer.findings().iter().map(|finding| (member(finding, "id"), finding)).collect();
    for id in &step.raises {
        check(found.contains_key(id), format!("{id} is not found"));
    }
    for id in &step.raises_not {
        check(!found.contains_key(id), format!("{id} is found"));
    }
    for (id, finding) in &found {
        let severity = member(finding, "severity");
        if step.quiet {
            check(severity == "info", format!("{severity} {id}: {}", member(finding, "summary")));
        }
        if let Some(infos) = &step.only_infos {
            check(severity != "info" || infos.contains(id), format!("info {id}: {}", member(finding, "summary")));
        }
        if let Some(expected) = step.severity.get(id) {
            check(severity == *expected, format!("{id} is {severity}, expected {expected}"));
        }
    }
    if let Some(finding) = step.raises.first().and_then(|id| found.get(id)) {
        let fix = member(finding, "fix");
        if let Some(part) = &step.fix {
            check(fix.contains(part.as_str()), format!("the fix has no {part:?}: {fix}"));
        }
        if let Some(part) = &step.fix_not {
            check(!fix.contains(part.as_str()), format!("the fix has {part:?}: {fix}"));
        }
    }
    let text = answer.text();
    if let Some(part) = &step.verdict {
        let line = text.lines().find(|line| line.starts_with("🩺")).unwrap_or_default();
        check(line.contains(part.as_str()), format!("the verdict has no {part:?}: {line}"));
    }
    for part in &step.text {
        check(text.contains(part.as_str()), format!("the text has no {part:?}"));
    }
    let whole = answer.body.to_string();
    for part in &step.text_not {
        check(!text.contains(part.as_str()) && !whole.contains(part.as_str()), format!("the answer has {part:?}"));
    }
    problems
}

/// The JSON files below a folder of `tests/findings`.
fn files(folder: &str) -> BTreeSet<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings").join(folder)];
    let mut files = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                files.insert(path);
            }
        }
    }
    files
}

/// All cases, with the file each stands in.
fn corpus() -> Vec<(PathBuf, Case)> {
    let cases = files("field").into_iter().flat_map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let cases: Vec<Case> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        cases.into_iter().map(move |case| (path.clone(), case))
    });
    cases.collect()
}

#[tokio::test]
async fn what_people_and_products_sent_is_answered_truly() {
    let corpus = corpus();
    let mut failures = Vec::new();
    for (path, case) in &corpus {
        let mut run = Run::of(case).await;
        for (number, step) in case.steps.iter().enumerate() {
            let mut last = None;
            for _ in 0..step.times {
                last = Some(run.send(step).await);
            }
            let answer = last.expect("sent at least once");
            let problems = problems(step, &answer);
            if !problems.is_empty() {
                let file = path.file_name().unwrap().to_string_lossy();
                let seen = serde_json::to_string_pretty(answer.findings()).unwrap();
                failures.push(format!(
                    "{file}: {} ({}), step {}:\n  {}\n{}\n{seen}",
                    case.name,
                    case.source,
                    number + 1,
                    problems.join("\n  "),
                    answer.text()
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} wrong answers:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn every_case_says_where_it_comes_from_and_means_something() {
    let known: BTreeSet<&str> = rules().map(|rule| rule.id).collect();
    let mut names = BTreeSet::new();
    for (path, case) in corpus() {
        let place = format!("{}: {}", path.display(), case.name);
        assert!(names.insert(format!("{} {}", case.source, case.name)), "{place}: twice");
        let mut says_something = false;
        for step in &case.steps {
            for id in step.raises.iter().chain(&step.raises_not).chain(step.severity.keys()) {
                assert!(known.contains(id.as_str()), "{place}: there is no rule {id}");
            }
            says_something |= step.quiet
                || step.status.is_some()
                || step.verdict.is_some()
                || step.only_infos.is_some()
                || !(step.raises.is_empty() && step.raises_not.is_empty())
                || !(step.text.is_empty() && step.text_not.is_empty());
        }
        assert!(says_something, "{place}: nothing is expected");
    }
}

/// The whole corpus, those of single rules too: how much of it came from outside.
#[test]
fn the_corpus_by_source() {
    let mut by_source: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |case: &Value, place: &Path| {
        let source = case["source"].as_str().unwrap_or("made up");
        let kind = source.split(':').next().unwrap_or_default();
        let named = source.split_once(": ").is_some_and(|(_, what)| !what.is_empty());
        let sound = kind == "made up" || (["reported", "recorded"].contains(&kind) && named);
        assert!(sound, "{}: {}: {source:?}", place.display(), case["name"]);
        *by_source.entry(kind.to_owned()).or_default() += 1;
    };
    for path in files("") {
        let whole: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let list = whole.as_array().map_or(std::slice::from_ref(&whole), Vec::as_slice);
        for entry in list {
            let groups = ["must_raise", "must_not", "healthy"].map(|group| entry[group].as_array());
            if groups.iter().all(Option::is_none) {
                count(entry, &path);
            }
            groups.into_iter().flatten().flatten().for_each(|case| count(case, &path));
        }
    }
    println!("cases by source: {by_source:?}");
}
