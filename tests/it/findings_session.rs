//! The corpus of the families `ses` and `http`: sequences of requests that must raise a finding, and near misses that
//! must not. A file of `tests/findings/session/` each; what a step can be is said at
//! [`Step`].

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, Method, Uri};
use mcp_echo_stateful::config::{Config, RateLimit};
use mcp_echo_stateful::diagnosis::findings::{Facts, Family, Finding, SessionFacts, find};
use mcp_echo_stateful::diagnosis::identity;
use mcp_echo_stateful::session::{Identity, IdentitySource, enter, prefix, read, sweep};
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::server::{Events, TestServer, in_memory, initialize, within};

/// A file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    /// The rule's id; the file's name without `.json`.
    id: String,
    /// Cases after which the rule must have fired.
    must_raise: Vec<Case>,
    /// Cases after which it must not.
    must_not: Vec<Case>,
}

/// A story: a server of its own, and what a client does with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Where it comes from: `reported: …`, `recorded: …`; made up, where it is absent.
    #[serde(default, rename = "source")]
    _source: Option<String>,
    /// The revision that `initialize` asks for.
    version: String,
    /// With `MCP_ECHO_STRICT=true`.
    #[serde(default)]
    strict: bool,
    /// With `MCP_RATE_LIMIT`, in messages a second.
    #[serde(default)]
    rate_limit: Option<u32>,
    /// With `MCP_HANDLE_HEADER=true`.
    #[serde(default)]
    handle_header: bool,
    /// With `MCP_REQUIRE_SESSION=true`.
    #[serde(default)]
    require_session: bool,
    /// `MCP_MESSAGE_QUEUE_SIZE`.
    queue: Option<usize>,
    steps: Vec<Step>,
    /// What is looked at: the session's findings, those of the last answer (`data.findings`), or those that sessionInfo shows
    /// without a session.
    #[serde(default)]
    look_at: LookAt,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
enum LookAt {
    #[default]
    Session,
    Answer,
    /// What the client is told without a session.
    Client,
}

/// One thing to do. Every request names the session and its version and accepts both forms, unless `headers` says
/// otherwise: a text replaces, `null` leaves out. A text `Bearer exp=90` becomes a token that expires 90 s after the story began.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    /// POST `initialize`: a new session.
    Initialize(#[serde(default)] Headers),
    /// `initialize` and `notifications/initialized`, with the same headers.
    Start(#[serde(default)] Headers),
    /// POST a message: `{"body": {...}, "headers": {...}}`; id and jsonrpc are added.
    Post {
        body: Value,
        #[serde(default)]
        headers: Headers,
        /// How often.
        #[serde(default = "once")]
        times: u32,
    },
    /// POST a call that reports its progress, and leave it at work.
    Begin(Value),
    /// GET, and the connection is dropped after `{"for": "60s"}` of the server's clock.
    Stream {
        #[serde(rename = "for")]
        lasts: String,
        /// How long before the end something was sent last; the whole life where absent.
        silence: Option<String>,
        #[serde(default)]
        headers: Headers,
        /// How often.
        #[serde(default = "once")]
        times: u32,
    },
    /// GET, and so many more GETs, each after a second and with the first event's id: they take the first one's stream.
    Resume(u32),
    /// DELETE.
    Delete(#[serde(default)] Headers),
    /// The clock moves on, `"3600s"`; expired sessions are swept.
    Advance(String),
}

type Headers = Map<String, Value>;

fn once() -> u32 {
    1
}

struct Story<'a> {
    case: &'a Case,
    server: TestServer,
    session: Option<String>,
    negotiated: Option<String>,
    /// The second in which it began.
    began: i64,
    last: Option<Value>,
    /// Calls and streams at work.
    at_work: Vec<Events>,
    /// The headers of the last request.
    headers: HeaderMap,
}

impl<'a> Story<'a> {
    async fn of(case: &'a Case) -> Self {
        let change = |config: &mut Config| {
            config.strict = case.strict;
            config.rate_limit = case.rate_limit.map(RateLimit::per_second);
            config.require_session = case.require_session;
            config.handle_header = case.handle_header;
            config.message_queue_size = case.queue.unwrap_or(config.message_queue_size);
        };
        let server = TestServer::frozen(change).await;
        let began = server.clock.wall_now().as_second();
        Self {
            case,
            began,
            server,
            session: None,
            negotiated: None,
            last: None,
            at_work: Vec::new(),
            headers: HeaderMap::new(),
        }
    }

    fn request(&mut self, method: Method, changes: &Headers) -> RequestBuilder {
        let mut headers = Map::new();
        headers.insert("accept".into(), "application/json, text/event-stream".into());
        if method == Method::POST {
            headers.insert("content-type".into(), "application/json".into());
        }
        for (name, value) in [("mcp-session-id", &self.session), ("mcp-protocol-version", &self.negotiated)] {
            if let Some(value) = value {
                headers.insert(name.into(), value.clone().into());
            }
        }
        for (name, value) in changes {
            headers.insert(name.to_ascii_lowercase(), value.clone());
        }
        self.headers = headers
            .iter()
            .filter_map(|(name, value)| {
                let value = value.as_str()?;
                let value = match value.strip_prefix("Bearer exp=") {
                    Some(seconds) => format!("Bearer {}", token(self.began + seconds.parse::<i64>().unwrap())),
                    None => value.to_owned(),
                };
                Some((name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            })
            .collect();
        self.server.request(method, "/mcp").headers(self.headers.clone())
    }

    async fn send(&mut self, request: RequestBuilder) -> Response {
        within(request.send()).await.unwrap_or_else(|error| panic!("{}: {error}", self.case.name))
    }

    async fn finish(&mut self, response: Response) {
        let text = within(response.text()).await.unwrap();
        self.last = serde_json::from_str(&text).ok();
    }

    async fn initialize(&mut self, headers: &Headers, ready: bool) {
        (self.session, self.negotiated) = (None, None);
        let request = self.request(Method::POST, headers).body(initialize(&self.case.version).to_string());
        let response = self.send(request).await;
        self.session = response.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        self.finish(response).await;
        let result = self.last.as_ref().and_then(|answer| answer["result"]["protocolVersion"].as_str());
        self.negotiated = result.filter(|version| *version >= "2025-06-18").map(str::to_owned);
        if ready {
            self.post(json!({"method": "notifications/initialized"}), headers).await;
        }
    }

    async fn post(&mut self, mut body: Value, headers: &Headers) {
        body["jsonrpc"] = "2.0".into();
        if !body["method"].as_str().unwrap().starts_with("notifications/") {
            body["id"] = 1.into();
        }
        let request = self.request(Method::POST, headers).body(body.to_string());
        let response = self.send(request).await;
        self.finish(response).await;
    }

    async fn run(&mut self) {
        for step in &self.case.steps {
            match step {
                Step::Initialize(headers) => self.initialize(headers, false).await,
                Step::Start(headers) => self.initialize(headers, true).await,
                Step::Post { body, headers, times } => {
                    for _ in 0..*times {
                        self.post(body.clone(), headers).await;
                    }
                }
                Step::Begin(body) => {
                    let request = self.request(Method::POST, &Headers::new()).body(body.to_string());
                    let mut events = Events::of(self.send(request).await);
                    assert!(events.message().await.is_some());
                    self.at_work.push(events);
                }
                Step::Stream { lasts, silence, headers, times } => {
                    for _ in 0..*times {
                        self.stream(duration(lasts), silence.as_deref().map(duration), headers).await;
                    }
                }
                Step::Resume(times) => self.resume(*times).await,
                Step::Delete(headers) => {
                    let request = self.request(Method::DELETE, headers);
                    let response = self.send(request).await;
                    self.finish(response).await;
                }
                Step::Advance(by) => {
                    self.server.clock.advance(duration(by));
                    sweep(&self.server.sessions);
                }
            }
        }
    }

    async fn stream(&mut self, lasts: Duration, silence: Option<Duration>, headers: &Headers) {
        let request = self.request(Method::GET, headers);
        let response = self.send(request).await;
        if !response.status().is_success() {
            return self.finish(response).await;
        }
        let mut events = Events::of(response);
        if let Some(silence) = silence {
            self.server.clock.advance(lasts - silence);
            let call = json!({"method": "tools/call", "params": {"name": "echo", "arguments": {"message": "x"}}});
            self.post(call, &Headers::new()).await;
            assert!(events.message().await.is_some());
            self.server.clock.advance(silence);
        } else {
            self.server.clock.advance(lasts);
        }
        drop(events);
        self.no_stream_is_open().await;
    }

    /// Waits until the server has noticed that its streams' clients left.
    async fn no_stream_is_open(&mut self) {
        let sessions = std::sync::Arc::clone(&self.server.sessions);
        within(async move {
            while read(&sessions).stats().streams > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn resume(&mut self, times: u32) {
        let mut headers = Headers::new();
        let request = self.request(Method::GET, &headers);
        let mut streams = vec![Events::of(self.send(request).await)];
        let id = streams[0].next().await.and_then(|event| event.id).expect("a primed stream");
        headers.insert("last-event-id".to_owned(), id.into());
        for _ in 0..times {
            self.server.clock.advance(Duration::from_secs(1));
            let request = self.request(Method::GET, &headers);
            let newer = Events::of(self.send(request).await);
            let older = streams.pop().expect("one is open");
            older.rest().await;
            streams.push(newer);
        }
        self.at_work.append(&mut streams);
    }

    /// The findings that are looked at: ids.
    fn found(&self) -> BTreeSet<String> {
        if self.case.look_at != LookAt::Session {
            let findings = self.last.as_ref().map(|answer| match self.case.look_at {
                LookAt::Client => &answer["result"]["structuredContent"]["findings"],
                _ => &answer["error"]["data"]["findings"],
            });
            let findings = findings.and_then(Value::as_array).into_iter().flatten();
            return findings
                .inspect(|finding| assert!(!finding["evidence"].as_array().unwrap().is_empty(), "{finding}"))
                .map(|finding| finding["id"].as_str().unwrap().to_owned())
                .collect();
        }
        let id = self.session.as_deref().expect("a session").parse().unwrap();
        // Whoever sent the last request, or the owner that others tried to be.
        let owner = Identity::new("alice", IdentitySource::X_USER_ID);
        let callers = [identity::caller(&self.headers).ok(), Some(owner)];
        let mut entered = callers.iter().map(|caller| enter(&self.server.sessions, id, caller.as_ref(), |_| ()));
        let first = entered.next().unwrap();
        let guard = first.or_else(|_| entered.next().unwrap());
        let guard = guard.unwrap_or_else(|missing| panic!("{}: {} {missing:?}", self.case.name, prefix(id)));
        let session = guard.session();
        let config = Config::default();
        let (record, clock) = (session.record(), &self.server.clock);
        let uri = Uri::from_static("/mcp");
        let facts = Facts::new(&Method::POST, &uri, &self.headers, session.revision(), &config, clock.wall_now());
        let figures = session.figures();
        let facts = facts.with_session(SessionFacts { record: &record, figures, now: clock.now() });
        let findings: Vec<Finding> = find(&facts, &[Family::Session]);
        assert!(findings.iter().all(|finding| !finding.evidence.is_empty()));
        findings.iter().map(|finding| finding.rule.id.to_owned()).collect()
    }
}

/// An unsigned token of alice's.
fn token(exp: i64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(json!({"alg": "HS256"})), part(json!({"sub": "alice", "exp": exp})))
}

fn duration(text: &str) -> Duration {
    Duration::from_secs_f64(text.strip_suffix('s').expect("seconds, as 60s").parse().unwrap())
}

fn files() -> Vec<Corpus> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings/session");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let corpus: Corpus = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(path.file_stem().unwrap().to_str(), Some(corpus.id.as_str()));
        files.push(corpus);
    }
    files
}

#[test]
fn every_rule_has_both_sides_in_the_corpus() {
    let files = files();
    for rule in Family::Session.rules() {
        let file = files.iter().find(|file| file.id == rule.id);
        let file = file.unwrap_or_else(|| panic!("tests/findings/session/{}.json is missing", rule.id));
        assert!(!file.must_raise.is_empty() && !file.must_not.is_empty(), "{} lacks a side", rule.id);
    }
    assert_eq!(files.len(), Family::Session.rules().count(), "a file without a rule");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_corpus_raises_what_it_must_and_nothing_else() {
    let mut cases = JoinSet::new();
    for file in files() {
        let sides = [(true, file.must_raise), (false, file.must_not)];
        for (raise, case) in
            sides.into_iter().flat_map(|(raise, cases)| cases.into_iter().map(move |case| (raise, case)))
        {
            let id = file.id.clone();
            // Where the store is shared, every session is to be found.
            if id == "ses.other_replica" && !in_memory() {
                continue;
            }
            cases.spawn(async move {
                let mut story = Story::of(&case).await;
                story.run().await;
                if case.look_at == LookAt::Client {
                    (story.session, story.negotiated) = (None, None);
                    let call = json!({"method": "tools/call", "params": {"name": "sessionInfo"}});
                    let version = ("mcp-protocol-version".to_owned(), case.version.as_str().into());
                    story.post(call, &Headers::from_iter([version])).await;
                }
                let found = story.found();
                let wrong = found.contains(&id) != raise;
                wrong.then(|| format!("{id}: {}: must raise: {raise}; found {found:?}; {:?}", case.name, story.last))
            });
        }
    }
    let wrong: Vec<String> = cases.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
