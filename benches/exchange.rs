//! What the engine does for a message, without HTTP: reading it, session, tool, answer. And what noting a request for the
//! findings costs beside that: it happens on every one. `cargo bench --bench exchange`
#![expect(clippy::unwrap_used, reason = "a measurement may break off")]

use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use criterion::Criterion;
use http::{HeaderMap, HeaderValue, Method, Version};
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::Config;
use mcp_echo_stateful::protocol::{Capabilities, Content, Revision, message};
use mcp_echo_stateful::request::headers::Accept;
use mcp_echo_stateful::request::{ProxyProof, Request, RequestId};
use mcp_echo_stateful::rpc::{Caller, Engine};
use mcp_echo_stateful::session::history::{Entry, History, Kind, token_hash};
use mcp_echo_stateful::session::{Client, ClientInfo, Limits, NewSession, SessionManager, Unbound};
use mcp_echo_stateful::system::System;
use mcp_echo_stateful::tools::{Server, TOOLS};
use tokio_util::sync::CancellationToken;

/// The requests, by name.
const REQUESTS: [(&str, &str); 6] = [
    ("ping", r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#),
    ("tools/list", r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#),
    (
        "echo",
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"message":"Hello, stateful world!"}}}"#,
    ),
    (
        "bearerDecode",
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"bearerDecode","arguments":{}}}"#,
    ),
    ("printHeader", r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"printHeader","arguments":{}}}"#),
    ("sessionInfo", r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"sessionInfo","arguments":{}}}"#),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    findings(&mut criterion);
    criterion.final_summary();
}

/// An unsigned token of some 1 KB: `alg` none, an issuer, and padding.
fn token() -> String {
    format!("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZSIsIngiOiI{}ifQ.", "eHh4".repeat(240))
}

fn engine() -> Arc<Engine> {
    let config = Arc::new(Config::default());
    let clock = Arc::new(Clock::new());
    let sessions = SessionManager::new(Limits::from(&*config), Arc::clone(&clock));
    let server = Server::new(config, clock, Arc::new(RwLock::new(sessions)), Arc::new(System::unsampled()));
    Engine::new(server, TOOLS, CancellationToken::new())
}

/// A request of a new session.
fn request(engine: &Engine, bearer: &str) -> Arc<Request> {
    let new = NewSession {
        protocol_version: Revision::V2025_06_18,
        client_info: ClientInfo::default(),
        client_capabilities: Capabilities::default(),
        owner: Err(Unbound::NoIdentity),
        address: None,
        client: Client::default(),
    };
    let session = engine.server.sessions.write().unwrap().create(new).unwrap().0.session().id();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(bearer).unwrap());
    headers.insert("mcp-session-id", HeaderValue::from_str(&session.to_string()).unwrap());
    headers.insert("mcp-protocol-version", HeaderValue::from_static("2025-06-18"));
    Arc::new(Request {
        id: RequestId::generate(),
        method: Method::POST,
        uri: "/mcp".parse().unwrap(),
        version: Version::HTTP_11,
        headers,
        proxy: ProxyProof::NotAsked,
        peer: None,
        local: None,
        received: Instant::now(),
        body_bytes: 0,
        share: None,
    })
}

fn answer(engine: &Arc<Engine>, request: &Arc<Request>, body: &[u8]) {
    let reply = engine.exchange(
        &Caller::of_http(request, Accept::of(&request.headers), true),
        message::read(black_box(body)).unwrap(),
    );
    let Content::Answer(answers) = reply.content else { panic!("no answer") };
    black_box(answers);
}

fn requests(criterion: &mut Criterion) {
    let engine = engine();
    let request = request(&engine, &format!("Bearer {}", token()));
    let mut group = criterion.benchmark_group("exchange");
    for (name, body) in REQUESTS {
        group.bench_function(name, |bencher| bencher.iter(|| answer(&engine, &request, body.as_bytes())));
    }
    group.finish();
}

fn findings(criterion: &mut Criterion) {
    let bearer = format!("Bearer {}", token());
    let mut history = History::default();
    criterion.bench_function("noting a request for the findings", |bencher| {
        bencher.iter(|| {
            let entry = Entry {
                user: None,
                kind: Kind::Post,
                authorization: Some(token_hash(black_box(bearer.as_bytes()))),
                address: None,
                version: Some(Revision::V2025_06_18),
                lists_json: true,
                lists_sse: true,
            };
            history.record(&entry, Revision::V2025_06_18);
        });
    });
    black_box(&history);
}
