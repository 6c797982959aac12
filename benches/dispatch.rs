//! What the engine does for a request, without HTTP: reading the message, dispatch, session, tool, result. And what
//! noting a request for the findings costs beside that: it happens on every one. `cargo bench --bench dispatch`
#![expect(clippy::unwrap_used, reason = "a measurement may break off")]

use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use criterion::Criterion;
use http::{HeaderMap, HeaderValue, Method, Version};
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::Config;
use mcp_echo_stateful::diagnosis::cors::Preflights;
use mcp_echo_stateful::diagnosis::findings::FindingCounts;
use mcp_echo_stateful::dispatch::{Begun, Engine, Job};
use mcp_echo_stateful::protocol::message::{Body, read};
use mcp_echo_stateful::protocol::{Capabilities, Message, Revision};
use mcp_echo_stateful::request::{Request, RequestId};
use mcp_echo_stateful::session::history::{Entry, History, Kind, token_hash};
use mcp_echo_stateful::session::{ClientInfo, Limits, NewSession, Session, SessionManager};
use mcp_echo_stateful::system::System;
use mcp_echo_stateful::tools::{Registry, TOOLS};

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

fn engine() -> Engine {
    let config = Arc::new(Config::default());
    let clock = Arc::new(Clock::new());
    let sessions = SessionManager::new(Limits::from(&*config), Arc::clone(&clock));
    Engine {
        config,
        clock,
        sessions: Arc::new(RwLock::new(sessions)),
        tools: Registry::new(TOOLS),
        system: Arc::new(System::unsampled()),
        findings: FindingCounts::default(),
        preflights: Preflights::default(),
    }
}

fn session(engine: &Engine) -> Arc<Session> {
    let new = NewSession {
        protocol_version: Revision::V2025_06_18,
        client_info: ClientInfo::default(),
        client_capabilities: Capabilities::default(),
        owner: None,
        address: None,
    };
    Arc::clone(engine.sessions.write().unwrap().create(new).unwrap().0.session())
}

fn request(engine: &Engine, bearer: &str) -> Arc<Request> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(bearer).unwrap());
    Arc::new(Request {
        id: RequestId::generate(),
        method: Method::POST,
        uri: "/mcp".parse().unwrap(),
        version: Version::HTTP_11,
        headers,
        peer: None,
        local: None,
        received: Instant::now(),
        received_at: engine.clock.wall_now(),
        body_bytes: 0,
        share: None,
    })
}

fn answer(engine: &Engine, session: &Arc<Session>, request: &Arc<Request>, body: &[u8]) {
    let Body::Single(Message::Request(call)) = read(black_box(body)).unwrap() else { return };
    let job = Job {
        id: call.id,
        method: call.method,
        params: call.params,
        revision: Revision::V2025_06_18,
        session: Some(Arc::clone(session)),
        request: Arc::clone(request),
        client: None,
        outbox: None,
    };
    let Begun::Done(answer) = engine.begin(job) else { return };
    black_box(answer.unwrap());
}

fn requests(criterion: &mut Criterion) {
    let engine = engine();
    let session = session(&engine);
    let request = request(&engine, &format!("Bearer {}", token()));
    let mut group = criterion.benchmark_group("dispatch");
    for (name, body) in REQUESTS {
        group.bench_function(name, |bencher| bencher.iter(|| answer(&engine, &session, &request, body.as_bytes())));
    }
    group.finish();
}

fn findings(criterion: &mut Criterion) {
    let bearer = format!("Bearer {}", token());
    let mut history = History::default();
    criterion.bench_function("noting a request for the findings", |bencher| {
        bencher.iter(|| {
            let entry = Entry {
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
