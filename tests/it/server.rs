//! A real server on a free port, and what tests say to it.
//!
//! Every test starts its own: nothing is shared, all run in parallel, nothing sleeps. Whatever waits does so in
//! [`within`], so that a test that would hang fails instead.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use mcp_echo_stateful::app::{App, Bounds};
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::{AdminAt, Command, Config, StoreAt};
use mcp_echo_stateful::protocol::{Revision, Served};
use mcp_echo_stateful::session::SessionManager;
use mcp_echo_stateful::session::store::Store;
use mcp_echo_stateful::tools::{TOOLS, Tool};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long anything may take before the test fails: far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// `future`, or a failed test.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it took too long")
}

/// A server that runs until it is dropped.
pub struct TestServer {
    pub address: SocketAddr,
    pub clock: Arc<Clock>,
    pub sessions: Arc<RwLock<SessionManager>>,
    pub http: reqwest::Client,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<std::io::Result<()>>,
    _stop: DropGuard,
    /// What a store on disk is in.
    _folder: tempfile::TempDir,
}

impl TestServer {
    /// With the defaults, on a free port of the loopback address.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With changed defaults.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::bound("127.0.0.1", change).await
    }

    /// Bound to `host`.
    pub async fn bound(host: &str, change: impl FnOnce(&mut Config)) -> Self {
        Self::launch(host, Clock::new(), TOOLS, Bounds::default(), change).await
    }

    /// With other bounds.
    pub async fn with_bounds(bounds: Bounds, change: impl FnOnce(&mut Config)) -> Self {
        Self::launch("127.0.0.1", Clock::new(), TOOLS, bounds, change).await
    }

    /// With a session clock that stands still and moves only by `clock.advance`: to count to the millisecond.
    pub async fn frozen(change: impl FnOnce(&mut Config)) -> Self {
        Self::launch("127.0.0.1", Clock::standing_still(), TOOLS, Bounds::default(), change).await
    }

    /// With other tools.
    pub async fn with_tools(tools: &'static [Tool], change: impl FnOnce(&mut Config)) -> Self {
        Self::launch("127.0.0.1", Clock::new(), tools, Bounds::default(), change).await
    }

    /// With a store of the test's own.
    pub async fn on_store(store: Arc<dyn Store>) -> Self {
        Self::launch_on("127.0.0.1", Clock::new(), TOOLS, Bounds::default(), Some(store), |_| {}).await
    }

    async fn launch(
        host: &str,
        clock: Clock,
        tools: &'static [Tool],
        bounds: Bounds,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::launch_on(host, clock, tools, bounds, None, change).await
    }

    async fn launch_on(
        host: &str,
        clock: Clock,
        tools: &'static [Tool],
        bounds: Bounds,
        store: Option<Arc<dyn Store>>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        // Of the many at once one alone could have the admin listener's usual address.
        let admin = AdminAt::Off;
        let mut config = Config { host: host.to_owned(), port: 0, admin, ..Config::default() };
        change(&mut config);
        // Every promise holds where sessions are in a store, too: `MCP_TEST_STORE=disk cargo test --test it`, or the URL of a Redis.
        let folder = tempfile::tempdir().unwrap();
        if config.store == StoreAt::Memory && !time_stands_still() {
            match test_store().as_deref() {
                None => {}
                Some("disk") => config.store = StoreAt::Disk(folder.path().join("sessions")),
                // Its time-outs are by its own clock, which no test moves.
                Some(_) if clock.stands_still() => {}
                Some(url) => config.store = configured([("MCP_STORE", unique(url).as_str())]).store,
            }
        }
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let mut address = listener.local_addr().unwrap();
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        let clock = Arc::new(clock);
        let mut app = App::with(config, Arc::clone(&clock), tools).with_bounds(bounds);
        if let Some(store) = store {
            app = app.with_store(store);
        }
        let sessions = app.sessions();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(app.serve(listener, shutdown.clone()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let stop = shutdown.clone().drop_guard();
        Self { address, clock, sessions, http, shutdown, running, _stop: stop, _folder: folder }
    }

    /// With other settings, where it may not come up: why not.
    pub async fn try_start(change: impl FnOnce(&mut Config)) -> Result<Self, String> {
        let mut server = Self::with(change).await;
        let probe = server.request(Method::GET, "/healthz").send();
        tokio::select! {
            ended = &mut server.running => Err(ended.unwrap().expect_err("it ended").to_string()),
            answer = probe => match answer {
                Ok(_) => Ok(server),
                Err(_) => Err(within(&mut server.running).await.unwrap().expect_err("it ended").to_string()),
            },
        }
    }

    /// Ends it, and waits until it has.
    pub async fn stop(self) {
        self.shutdown.cancel();
        within(self.running).await.unwrap().unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A bare request to a path.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// A POST to the MCP endpoint with the headers of a well-behaved client.
    pub fn post(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream").json(body)
    }

    /// The id of the session that a request makes, or how it is refused.
    pub async fn session_or_error(&self, body: &Value) -> Result<String, (StatusCode, Value)> {
        let response = within(self.post(body).send()).await.unwrap();
        match response.headers().get("mcp-session-id") {
            Some(id) => Ok(id.to_str().unwrap().to_owned()),
            None => Err((response.status(), within(response.json::<Value>()).await.unwrap()["error"].take())),
        }
    }

    /// Initializes a session at `version`, completely.
    pub async fn session(&self, version: &str) -> Session<'_> {
        self.session_with(version, |request| request).await
    }

    /// The same with headers on every request.
    pub async fn session_with(&self, version: &str, dress: impl Fn(RequestBuilder) -> RequestBuilder) -> Session<'_> {
        let response = within(dress(self.post(&initialize(version))).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let id = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let body: Value = within(response.json()).await.unwrap();
        assert!(body["result"]["protocolVersion"].is_string(), "{body}");
        let session = Session { server: self, id };
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let response = within(dress(session.post(&ready)).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        session
    }
}

/// Whether sessions are in memory unless a test says otherwise. What is promised of memory alone is not looked for elsewhere.
pub fn in_memory() -> bool {
    test_store().is_none()
}

/// Whether sessions are values behind HTTP: that store bounds no sessions, and counts what a stream lost from above.
pub fn in_values() -> bool {
    test_store().is_some_and(|store| store.starts_with("http"))
}

/// Where sessions are unless a test says otherwise: `disk`, or the URL of a Redis or of a store of values.
#[expect(clippy::disallowed_methods, reason = "it says how the tests are run, and nothing of what they test")]
pub fn test_store() -> Option<String> {
    std::env::var("MCP_TEST_STORE").ok().filter(|store| !store.is_empty())
}

/// The URL of a store, with a prefix that nobody else has.
pub fn unique(url: &str) -> String {
    let mut name = [0_u8; 8];
    rand::RngCore::fill_bytes(&mut rand::thread_rng(), &mut name);
    let name = u64::from_be_bytes(name);
    if url.starts_with("http") { format!("{url}/{name:016x}") } else { format!("{url}?prefix=test-{name:016x}:") }
}

/// Whether the runtime's clock stands still. It jumps when all tasks wait, also when they wait for a disk.
fn time_stands_still() -> bool {
    let (before, began) = (tokio::time::Instant::now(), std::time::Instant::now());
    while began.elapsed() < Duration::from_millis(1) {
        std::hint::spin_loop();
    }
    before.elapsed().is_zero()
}

/// What these variables come to.
pub fn configured<K: AsRef<str>>(variables: impl IntoIterator<Item = (K, K)>) -> Config {
    let variables = variables.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned()));
    match Config::load(["program"], variables) {
        Ok(Command::Serve(config)) => *config,
        other => panic!("{other:?}"),
    }
}

/// Serves the revisions with a handshake and no other.
pub fn handshake_only(config: &mut Config) {
    let revisions = Revision::ALL.into_iter().filter(|revision| !revision.is_stateless()).collect::<Vec<_>>();
    config.protocol = Served::new(&revisions, None).unwrap();
}

/// The body of an `initialize`.
pub fn initialize(version: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "test-client", "version": "1.0"},
        },
    })
}

/// The body of a tool call with id 1.
pub fn tool_call(name: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
}

/// The arguments that a tool cannot do without, by its input schema.
pub fn least_arguments(schema: &Value) -> Value {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let value = |name: &str| match &schema["properties"][name] {
        property if property.get("enum").is_some() => property["enum"][0].clone(),
        property => match property["type"].as_str() {
            Some("string") => json!("m"),
            Some("integer" | "number") => property.get("minimum").cloned().unwrap_or_else(|| json!(1)),
            Some("boolean") => json!(true),
            Some("array") => json!([]),
            _ => json!({}),
        },
    };
    required.map(|name| (name.to_owned(), value(name))).collect::<serde_json::Map<_, _>>().into()
}

/// A session, from its client's side.
pub struct Session<'a> {
    pub server: &'a TestServer,
    pub id: String,
}

impl Session<'_> {
    /// A POST in this session.
    pub fn post(&self, body: &Value) -> RequestBuilder {
        self.server.post(body).header("mcp-session-id", &self.id)
    }

    /// A GET or DELETE in this session.
    pub fn request(&self, method: Method) -> RequestBuilder {
        let request = self.server.request(method, "/mcp").header("accept", "text/event-stream");
        request.header("mcp-session-id", &self.id)
    }

    /// A request's whole JSON answer.
    pub async fn ask(&self, body: &Value) -> Value {
        let response = within(self.post(body).send()).await.unwrap();
        within(response.json()).await.unwrap()
    }

    /// A tool's result; fails on a JSON-RPC error.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        let mut answer = self.ask(&tool_call(tool, &arguments)).await;
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].take()
    }

    /// A tool's text.
    pub async fn text(&self, tool: &str, arguments: Value) -> String {
        self.call(tool, arguments).await["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// Opens a GET stream.
    pub async fn stream(&self) -> Events {
        self.stream_after(None).await
    }

    /// Opens a GET stream with a Last-Event-ID.
    pub async fn stream_after(&self, last_event_id: Option<&str>) -> Events {
        let mut request = self.request(Method::GET);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = within(request.send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Events::of(response)
    }

    /// Ends the session.
    pub async fn delete(&self) -> StatusCode {
        within(self.request(Method::DELETE).send()).await.unwrap().status()
    }
}

/// One server-sent event, or a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    pub name: Option<String>,
    pub id: Option<String>,
    pub retry: Option<String>,
    pub data: Option<String>,
    pub comment: Option<String>,
}

impl Event {
    /// The event's data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().expect("an event with data")).unwrap()
    }

    fn parse(block: &str) -> Self {
        let mut event = Self::default();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            let field = match field {
                "" => &mut event.comment,
                "event" => &mut event.name,
                "id" => &mut event.id,
                "retry" => &mut event.retry,
                "data" => &mut event.data,
                other => panic!("unknown field {other:?} in {block:?}"),
            };
            assert_eq!(field.replace(value), None, "a field twice in {block:?}");
        }
        event
    }
}

/// A stream of server-sent events as it arrives.
pub struct Events {
    body: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: String,
}

impl Events {
    pub fn of(response: Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.bytes_stream().boxed(), buffer: String::new() }
    }

    /// The next event or comment; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                return Some(Event::parse(block.trim_end_matches('\n')));
            }
            let Some(bytes) = within(self.body.next()).await else {
                assert!(self.buffer.is_empty(), "an event broke off: {:?}", self.buffer);
                return None;
            };
            let bytes = bytes.expect("a stream ends, it does not break off");
            self.buffer.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next event with data, comments passed over.
    pub async fn message(&mut self) -> Option<Event> {
        loop {
            let event = self.next().await?;
            if event.data.as_deref().is_some_and(|data| !data.is_empty()) {
                return Some(event);
            }
        }
    }

    /// The next message that is not about a finding.
    pub async fn not_a_finding(&mut self) -> Option<Event> {
        loop {
            let event = self.message().await?;
            if event.json()["params"]["logger"] != "findings" {
                return Some(event);
            }
        }
    }

    /// Everything until the end of the stream, comments left out.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.message().await {
            events.push(event);
        }
        events
    }
}
