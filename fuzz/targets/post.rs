//! From the bytes of requests to answers: what the layers and routes of `http` are given, and what they may answer.
//!
//! An input is a few requests, one after the other, parted by lines of `---`. A request is `METHOD TARGET`, header lines,
//! an empty line and the body; text that does not begin like that is the body of a POST. `$SESSION` and `$EVENT` stand for
//! the session and the event that the answers named last. In front of the method `~` means that the client goes away
//! after the first bytes of the answer, `&` that the next request does not wait for it. `WAIT 60000` lets so many
//! milliseconds pass, and `CONFIG 1` in the first line chooses a configuration.
#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::{Config, Origins, ResponseMode, SessionBinding};
use mcp_echo_stateful::http::{Budget, Connection, Http, Layers, routes};
use mcp_echo_stateful::rpc::Engine;
use mcp_echo_stateful::session::{Limits, SessionManager, sweep, write};
use mcp_echo_stateful::system::System;
use mcp_echo_stateful::tools::{Server as ToolServer, TOOLS};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tower::util::BoxCloneService;

/// What stands in a header of every request and in no answer.
const SECRET: &str = "c2lnbmF0dXJlLXRoYXQtbm9ib2R5LW1heS1zZWUtaGVyZQ";

/// How long an endless answer is listened to: past a keep-alive.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long every other answer takes at the most: the longest delay of an echo.
const LONGEST: Duration = Duration::from_secs(601);

/// More requests than these are left out.
const MAX_REQUESTS: usize = 16;

thread_local! {
    static SERVERS: (Runtime, Vec<Server>) = {
        // The clock stands still and leaps where all wait: a minute's delay takes no time.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let servers = runtime.block_on(async { configs().map(Server::new).into() });
        (runtime, servers)
    };
}

fn configs() -> [Config; 3] {
    let usual = Config {
        max_sessions: 3,
        session_timeout: Duration::from_secs(60),
        message_queue_size: 4,
        max_body_bytes: 32 * 1024,
        ..Config::default()
    };
    let strict = Config {
        strict: true,
        require_session: true,
        response: ResponseMode::Sse,
        cors_origins: Some(Origins::Any),
        ..usual.clone()
    };
    let lax = Config {
        session_binding: SessionBinding::Off,
        response: ResponseMode::Json,
        allowed_origins: Origins::Any,
        cors_origins: Some(Origins::Only(vec!["https://app.example".to_owned()])),
        ..usual.clone()
    };
    [usual, strict, lax]
}

struct Server {
    http: Arc<Http>,
    stack: Stack,
}

/// Layers and routes.
type Stack = BoxCloneService<Request<Body>, Response, Infallible>;

impl Server {
    fn new(config: Config) -> Self {
        let clock = Arc::new(Clock::new());
        let sessions = SessionManager::new(Limits::from(&config), Arc::clone(&clock));
        let (bound_to_loopback, max_body) = (config.cors_origins.is_none(), config.max_body_bytes);
        let (sessions, system) = (Arc::new(RwLock::new(sessions)), Arc::new(System::unsampled()));
        let server = ToolServer::new(Arc::new(config), clock, sessions, system);
        let http = Arc::new(Http {
            instance: HeaderValue::from_static("0000"),
            bound_to_loopback,
            unread: Duration::from_secs(60),
            engine: Engine::new(server, TOOLS, CancellationToken::new()),
        });
        let connection = Connection { peer: SocketAddr::from(([127, 0, 0, 1], 40_000)), local: None };
        let account = Budget::new(1024 * 1024, max_body).account([127, 0, 0, 1].into());
        let stack = Layers::around(Arc::clone(&http), routes(&http)).on(connection, account);
        let stack = stack.map_response(|response| response.map(Body::new));
        Self { http, stack: BoxCloneService::new(stack) }
    }

    /// Everybody leaves, and nothing of what an input did is left for the next one.
    async fn reset(&self) {
        let engine = &self.http.engine;
        engine.calls.close();
        tokio::time::timeout(LONGEST, engine.calls.wait()).await.expect("calls that end");
        engine.calls.reopen();
        let server = &engine.server;
        *write(&server.sessions) = SessionManager::new(Limits::from(&*server.config), Arc::clone(&server.clock));
        assert!(engine.is_idle(), "a call or a stream keeps its place");
    }
}

fuzz_target!(|input: &[u8]| {
    let (config, input) = match input.strip_prefix(b"CONFIG ") {
        Some([digit, b'\n', rest @ ..]) => (usize::from(*digit), rest),
        _ => (0, input),
    };
    SERVERS.with(|(runtime, servers)| {
        let server = &servers[config % servers.len()];
        LocalSet::new().block_on(runtime, async {
            let names = Rc::new(RefCell::new(Names::default()));
            let mut left_alone = Vec::new();
            for text in split(input, b"\n---\n").take(MAX_REQUESTS) {
                if let Some(passed) = wait(text) {
                    tokio::time::sleep(passed).await;
                    server.http.engine.server.clock.advance(passed);
                    sweep(&server.http.engine.server.sessions);
                    continue;
                }
                let text = names.borrow().put_into(text);
                let Some(asked) = Asked::read(&text) else { continue };
                let client = exchange(server.stack.clone(), asked, Rc::clone(&names), left_alone.is_empty());
                match text.first() {
                    Some(b'&') => left_alone.push(tokio::task::spawn_local(client)),
                    _ => client.await,
                }
            }
            for client in left_alone {
                client.await.expect("a client that does not panic");
            }
            server.reset().await;
        });
    });
});

/// `WAIT MILLISECONDS`: a moment on both clocks.
fn wait(text: &[u8]) -> Option<Duration> {
    let milliseconds: u64 = std::str::from_utf8(text.strip_prefix(b"WAIT ")?).ok()?.trim().parse().ok()?;
    Some(Duration::from_millis(milliseconds.min(100_000)))
}

/// What the answers named.
#[derive(Default)]
struct Names {
    session: Vec<u8>,
    event: Vec<u8>,
}

impl Names {
    fn put_into(&self, text: &[u8]) -> Vec<u8> {
        let text = replace(text, b"$SESSION", &self.session);
        replace(&text, b"$EVENT", &self.event)
    }
}

/// A request and what its answer must agree with.
struct Asked {
    request: Request<Body>,
    /// The ids of the JSON-RPC messages in its body, to the letter.
    ids: Vec<String>,
    /// Whether the body is one JSON-RPC request beyond doubt.
    is_call: bool,
    leaves: bool,
    is_endless: bool,
    is_head: bool,
}

impl Asked {
    fn read(text: &[u8]) -> Option<Self> {
        let (head, body) = split_once(text, b"\n\n").unwrap_or((text, b""));
        let (first, lines) = split_once(head, b"\n").unwrap_or((head, b""));
        let marks = first.iter().take_while(|byte| b"~&".contains(byte)).count();
        let words = std::str::from_utf8(&first[marks..]).ok().and_then(|line| line.trim_end().split_once(' '));
        let line = words.and_then(|(method, target)| Some((method.parse::<Method>().ok()?, target)));
        let is_request = line.as_ref().is_some_and(|(method, target)| {
            method.as_str().bytes().all(|byte| byte.is_ascii_uppercase()) && target.starts_with(['/', 'h', '*'])
        });
        let (line, lines, body) = if is_request { (line, lines, body) } else { (None, &b""[..], text) };
        let (method, target) = line.unwrap_or((Method::POST, "/mcp"));
        let mut request = Request::builder().method(method).uri(target).body(Body::from(body.to_vec())).ok()?;
        let headers = request.headers_mut();
        for line in split(lines, b"\n").take(100) {
            let Some((name, value)) = split_once(line, b":") else { continue };
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) {
                headers.append(name, value);
            }
        }
        let token = format!("Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjoxfQ.{SECRET}");
        let cookie = format!("sid={SECRET}");
        let defaults = [
            (HOST, "localhost:3000"),
            (CONTENT_TYPE, "application/json"),
            (AUTHORIZATION, token.as_str()),
            (COOKIE, cookie.as_str()),
        ];
        for (name, value) in defaults {
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_str(value).ok()?);
            }
        }
        let messages = Messages::read(body);
        Some(Self {
            // GET and `subscriptions/listen` go on until the client leaves; so does what only looks like them here.
            is_endless: request.method() == Method::GET || find(body, b"subscriptions").is_some(),
            is_call: request.method() == Method::POST && messages.is_call,
            ids: messages.ids,
            is_head: request.method() == Method::HEAD,
            leaves: first[..marks].contains(&b'~'),
            request,
        })
    }
}

/// The messages in a body that nobody could read in two ways.
#[derive(Default)]
struct Messages {
    ids: Vec<String>,
    /// It is one JSON-RPC request.
    is_call: bool,
}

impl Messages {
    fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            jsonrpc: Option<&'a RawValue>,
            #[serde(borrow)]
            method: Option<&'a RawValue>,
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            result: Option<IgnoredAny>,
            error: Option<IgnoredAny>,
        }
        // An id, and whether it is that of a request: one that is not acceptable is answered too.
        let id = |raw: &RawValue| {
            let message: Message<'_> = serde_json::from_str(raw.get()).ok()?;
            let id = message.id?.get();
            let is_id = id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
            // A text that is none, half a surrogate pair, has its id answered as well.
            let is_text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).is_ok();
            let is_call = message.jsonrpc.map(RawValue::get) == Some("\"2.0\"") && message.method.is_some_and(is_text);
            is_id.then(|| (id.to_owned(), is_call && message.result.is_none() && message.error.is_none()))
        };
        if let Ok(batch) = serde_json::from_slice::<Vec<&RawValue>>(body) {
            return Self { ids: batch.into_iter().filter_map(id).map(|(id, _)| id).collect(), is_call: false };
        }
        let single = serde_json::from_slice::<&RawValue>(body).ok().and_then(id);
        single.map_or_else(Self::default, |(id, is_call)| Self { ids: vec![id], is_call })
    }
}

/// Sends a request and judges the answer. `alone`: no other client is at work.
async fn exchange(stack: Stack, asked: Asked, names: Rc<RefCell<Names>>, alone: bool) {
    let answering = stack.oneshot(asked.request);
    let Ok(response) = tokio::time::timeout(LONGEST, answering).await.expect("an answer in time");
    let (parts, mut body) = response.into_parts();
    let status = parts.status;
    assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{status} by a client's doing");
    assert!(parts.headers.contains_key("x-request-id"), "{:?}", parts.headers);
    if let Some(id) = parts.headers.get("mcp-session-id") {
        names.borrow_mut().session = id.as_bytes().to_vec();
    }
    let media = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_stream = media.starts_with(b"text/event-stream");

    let mut bytes = Vec::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame: Bytes = frame.expect("a body that does not break off").into_data().unwrap_or_default();
            bytes.extend_from_slice(&frame);
            if asked.leaves {
                return;
            }
        }
    };
    let patience = if asked.is_endless { PATIENCE } else { LONGEST };
    let has_ended = tokio::time::timeout(patience, reading).await.is_ok() && !asked.leaves;
    drop(body);
    assert!(has_ended || asked.leaves || (asked.is_endless && is_stream), "an answer that does not end");
    let shown = String::from_utf8_lossy(&bytes);
    assert!(!shown.contains(SECRET) && !format!("{:?}", parts.headers).contains(SECRET), "a secret in {shown}");

    let mut answered: Vec<String> = Vec::new();
    if is_stream {
        assert_eq!(status, StatusCode::OK);
        for line in shown.split('\n') {
            if let Some(event) = line.strip_prefix("id: ") {
                names.borrow_mut().event = event.as_bytes().to_vec();
            }
            match line.strip_prefix("data:").map(str::trim_ascii) {
                None | Some("") => {}
                Some(data) => answered.extend(judge(data)),
            }
        }
    } else if media.starts_with(b"application/json") {
        // HEAD has the headers of GET and no body.
        answered = if has_ended && !asked.is_head { judge(&shown) } else { Vec::new() };
    } else {
        assert!(bytes.is_empty(), "{shown:?} without a type");
    }
    // What the reader here finds ambiguous (a key twice, say), the server may read.
    for id in answered.iter().filter(|id| asked.ids.contains(id)) {
        let times = |ids: &[String]| ids.iter().filter(|other| *other == id).count();
        assert!(times(&answered) <= times(&asked.ids), "{id} is answered too often: {shown}");
    }
    if asked.is_call && status == StatusCode::OK && has_ended && alone {
        assert_eq!(answered, asked.ids, "{shown}");
    }
}

/// The ids that a message of the server's answers, or an array of them, to the letter.
fn judge(text: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        jsonrpc: Option<&'a str>,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        method: Option<IgnoredAny>,
        result: Option<IgnoredAny>,
        error: Option<IgnoredAny>,
    }
    if let Ok(batch) = serde_json::from_str::<Vec<&RawValue>>(text) {
        return batch.into_iter().flat_map(|message| judge(message.get())).collect();
    }
    let message: Message<'_> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if message.jsonrpc.is_none() {
        return Vec::new();
    }
    let parts = [message.method.is_some(), message.result.is_some(), message.error.is_some()];
    assert_eq!(parts.iter().filter(|part| **part).count(), 1, "{text}");
    let id = message.id.filter(|id| message.method.is_none() && id.get() != "null");
    id.map(|id| id.get().to_owned()).into_iter().collect()
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    find(text, separator).map(|at| (&text[..at], &text[at + separator.len()..]))
}

fn split<'a>(text: &'a [u8], separator: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (first, after) = split_once(text, separator).map_or((text, None), |(first, after)| (first, Some(after)));
        rest = after;
        Some(first)
    })
}

fn replace(text: &[u8], word: &[u8], with: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = split(text, word).collect();
    parts.join(with)
}
