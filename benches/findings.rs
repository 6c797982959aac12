//! What findings cost a request that shows none: the session's history, noted on every request, against the work that the
//! engine does for an echo. One run, interleaved rounds, medians and their ratio. `cargo bench --bench findings`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and may break off")]

use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Version};
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::Config;
use mcp_echo_stateful::diagnosis::cors::Preflights;
use mcp_echo_stateful::diagnosis::findings::FindingCounts;
use mcp_echo_stateful::dispatch::{Engine, Job};
use mcp_echo_stateful::protocol::message::{Body, read};
use mcp_echo_stateful::protocol::{Message, Revision};
use mcp_echo_stateful::request::{Request, RequestId};
use mcp_echo_stateful::session::history::{Entry, History, Kind, token_hash};
use mcp_echo_stateful::session::{ClientInfo, Limits, NewSession, Session, SessionManager};
use mcp_echo_stateful::system::System;
use mcp_echo_stateful::tools::{Registry, TOOLS};

/// Calls of a round.
const CALLS: u32 = 20_000;
/// Rounds of each kind.
const ROUNDS: usize = 15;
/// The body of a call.
const ECHO: &[u8] = br#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"message":"Hello, stateful world!"}}}"#;

fn main() {
    let config = Arc::new(Config::default());
    let clock = Arc::new(Clock::new());
    let sessions = SessionManager::new(Limits::from(&*config), Arc::clone(&clock));
    let engine = Engine {
        config,
        clock: Arc::clone(&clock),
        sessions: Arc::new(RwLock::new(sessions)),
        tools: Registry::new(TOOLS),
        system: Arc::new(System::unsampled()),
        findings: FindingCounts::default(),
        preflights: Preflights::default(),
    };
    let new = NewSession {
        protocol_version: Revision::V2025_06_18,
        client_info: ClientInfo::default(),
        client_capabilities: serde_json::json!({}),
        owner: None,
        address: None,
    };
    let session = Arc::clone(engine.sessions.write().unwrap().create(new).unwrap().0.session());
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {}", "x".repeat(1024));
    headers.insert("authorization", HeaderValue::from_str(&bearer).unwrap());
    let request = Arc::new(Request {
        id: RequestId::generate(),
        method: Method::POST,
        uri: "/mcp".parse().unwrap(),
        version: Version::HTTP_11,
        headers,
        peer: None,
        local: None,
        received: Instant::now(),
        received_at: clock.wall_now(),
        body_bytes: ECHO.len(),
        share: None,
    });
    let mut history = History::default();
    let mut rounds: [Vec<u128>; 2] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(round(|| echo(&engine, &session, &request)));
        rounds[1].push(round(|| note(&mut history, bearer.as_bytes())));
    }
    black_box(&history);
    let [engine, noting] = rounds.map(|mut of| {
        of.sort_unstable();
        of[of.len() / 2]
    });
    println!("an echo in the engine (read, dispatch, session, result): {engine} ns");
    println!("noting a request for the findings:                        {noting} ns, {}% of it", noting * 100 / engine);
}

fn round(mut call: impl FnMut()) -> u128 {
    let began = Instant::now();
    (0..CALLS).for_each(|_| call());
    began.elapsed().as_nanos() / u128::from(CALLS)
}

fn echo(engine: &Engine, session: &Arc<Session>, request: &Arc<Request>) {
    let Body::Single(Message::Request(call)) = read(black_box(ECHO)).unwrap() else { return };
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
    black_box(engine.answer(job).now_or_never().unwrap().unwrap());
}

fn note(history: &mut History, authorization: &[u8]) {
    let entry = Entry {
        kind: Kind::Post,
        authorization: Some(token_hash(black_box(authorization))),
        address: None,
        version: Some(Revision::V2025_06_18),
        lists_json: true,
        lists_sse: true,
    };
    history.note(&entry, Revision::V2025_06_18);
}
