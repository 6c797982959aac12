//! How the server ends, and what does not end it.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use mcp_echo_stateful::protocol::notice;
use mcp_echo_stateful::session::{LogLevel, enter, read};
use mcp_echo_stateful::tools::{Annotations, Call, Handle, NoArguments, RawArguments, Tool, ToolError};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::exchange::Answer;
use crate::modern::Modern;
use crate::server::{Events, Session, TestServer, in_memory, tool_call, within};

const VERSION: &str = "2025-06-18";

/// An echo that answers late and tells how far it is.
fn late_echo(delay_ms: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": "late", "method": "tools/call", "params": {
        "name": "echo", "arguments": {"message": "late", "delayMs": delay_ms}, "_meta": {"progressToken": 1},
    }})
}

/// A late echo that is at work on the server when this returns.
async fn in_flight(session: &Session<'_>, delay_ms: u64) -> Events {
    let mut events = Events::of(within(session.post(&late_echo(delay_ms)).send()).await.unwrap());
    assert_eq!(events.message().await.unwrap().json()["params"]["progress"], 0);
    events
}

#[tokio::test]
async fn calls_in_flight_are_answered_and_streams_end() {
    let mut server = TestServer::start().await;
    let running = std::mem::replace(&mut server.running, tokio::spawn(async { Ok(()) }));
    let session = server.session(VERSION).await;
    let polling = server.request(Method::GET, "/mcp?wait=300").header("accept", "text/event-stream");
    let polling = within(polling.header("mcp-session-id", &session.id).send()).await.unwrap();
    let streams = [Events::of(polling), session.stream().await];
    let call = in_flight(&session, 500).await;

    let began = Instant::now();
    server.shutdown.cancel();
    let newcomer = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(within(newcomer.get(server.url("/healthz")).send()).await.is_err(), "no new connection is served");
    for stream in streams {
        assert_eq!(stream.rest().await, []);
    }
    let answer = call.rest().await.pop().unwrap().json();
    assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["message"]), (&json!("late"), &json!("late")));
    within(running).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "the grace period of 10 s was not waited for");
    assert_eq!(TcpStream::connect(server.address).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn calls_in_flight_are_answered_over_http_2_and_as_json_too() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let post = |body: &Value, accept: &str| {
        http.post(server.url("/mcp")).header("mcp-session-id", &session.id).header("accept", accept).json(body)
    };
    let json_call = tokio::spawn(post(&late_echo(500), "application/json").send());
    // On the same connection: when this one is at work, so is the other.
    let mut both = Events::of(within(post(&late_echo(500), "text/event-stream").send()).await.unwrap());
    both.message().await.unwrap();
    server.shutdown.cancel();
    let answer: Value = within(within(json_call).await.unwrap().unwrap().json()).await.unwrap();
    assert_eq!(answer["result"]["structuredContent"]["message"], "late");
    assert_eq!(both.rest().await.pop().unwrap().json()["id"], "late");
    within(server.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_whose_client_has_gone_is_finished_too() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    drop(in_flight(&session, 300).await);
    server.shutdown.cancel();
    let sessions = server.sessions.clone();
    let session = session.id.parse().unwrap();
    within(server.running).await.unwrap().unwrap();
    let guard = enter(&sessions, session, None, |_| ()).unwrap_or_else(|missing| panic!("{missing:?}"));
    assert_eq!(guard.session().record().state.echo_count, 1);
}

#[tokio::test]
async fn the_grace_period_is_the_longest_that_shutdown_takes() {
    const GRACE: Duration = Duration::from_millis(300);
    let server = TestServer::with(|config| config.shutdown_grace = GRACE).await;
    let session = server.session(VERSION).await;
    let _call = in_flight(&session, 60_000).await;
    // A client that stops in the middle of a request's head, and one in the middle of a body.
    let mut stalled =
        [TcpStream::connect(server.address).await.unwrap(), TcpStream::connect(server.address).await.unwrap()];
    stalled[0].write_all(b"POST /mcp HTTP/1.1\r\nHost: loc").await.unwrap();
    stalled[1]
        .write_all(
            b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 100\r\n\r\n{",
        )
        .await
        .unwrap();
    let began = Instant::now();
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
    assert!(began.elapsed() >= GRACE && began.elapsed() < GRACE + Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn idle_connections_do_not_hold_shutdown_up() {
    let server = TestServer::start().await;
    server.session(VERSION).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let mut hesitant = TcpStream::connect(server.address).await.unwrap();
    hesitant.write_all(b"POST /mcp HTTP/1.1\r\nHost: local").await.unwrap();
    let began = Instant::now();
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_asks_anything_is_closed() {
    let server = TestServer::start().await;
    // Nothing; the beginning of HTTP/2's greeting; all of it; a request's beginning.
    for said in ["", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "POST /mcp HT"] {
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        silent.write_all(said.as_bytes()).await.unwrap();
        let read = tokio::time::timeout(Duration::from_secs(600), silent.read_to_end(&mut Vec::new())).await;
        assert!(read.is_ok(), "after {said:?} it was left open");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_2_connection_whose_client_is_gone_is_closed() {
    let server = TestServer::start().await;
    let mut gone = TcpStream::connect(server.address).await.unwrap();
    // Greeting, empty SETTINGS, and HEADERS of `GET /healthz` on stream 1 (RFC 9113 sections 3.4 and 6.2, RFC 7541).
    let head = b"\x82\x86\x04\x08/healthz\x01\x09localhost";
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    said.extend([0, 0, u8::try_from(head.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    said.extend(head);
    gone.write_all(&said).await.unwrap();
    let mut received = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(600), gone.read_to_end(&mut received)).await;
    assert!(read.is_ok(), "it was left open after {} bytes", received.len());
    assert!(received.windows(6).any(|bytes| bytes == b"\"ok\",\""), "the request was answered: {received:?}");
}

/// A tool that panics as `call` says.
const fn panicking(name: &'static str, call: fn(&RawArguments<'_>) -> Result<Call, ToolError>) -> Tool {
    Tool {
        name,
        title: "Panics",
        description: "Panics.",
        input_schema: || json!({"type": "object", "properties": {}, "additionalProperties": false}),
        output_schema: || json!({"type": "object"}),
        annotations: Annotations::READ_ONLY,
        handle: Handle::None,
        findings: &[],
        call,
    }
}

const PANICKING: &[Tool] = &[
    panicking("reading", |_| panic!("on purpose")),
    // With the lock of the session in its hand, where there is one.
    panicking("now", |given| Call::of(given, |_, _, _: &NoArguments| panic!("on purpose"))),
    panicking("later", |given| Call::streaming(given, |_| async { panic!("on purpose") }.boxed())),
    panicking("much-later", |given| {
        Call::streaming(given, |_| {
            async {
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                panic!("on purpose")
            }
            .boxed()
        })
    }),
];

#[tokio::test]
async fn a_call_that_panics_is_answered_and_the_server_lives_on() {
    let server = TestServer::with_tools(PANICKING, |_| {}).await;
    let session = server.session(VERSION).await;
    for tool in ["reading", "now", "later", "much-later"] {
        let response = within(session.post(&tool_call(tool, &json!({}))).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{tool}");
        assert_eq!(response.headers()["content-type"], "application/json");
        let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(request_id.starts_with("req_"), "{request_id}");
        let body: Value = within(response.json()).await.unwrap();
        assert_eq!((&body["jsonrpc"], &body["id"], &body["error"]["code"]), (&json!("2.0"), &json!(1), &json!(-32603)));
        assert!(!body.to_string().contains("on purpose"), "the log has the details: {body}");
        let pong = session.ask(&json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).await;
        assert_eq!(pong, json!({"jsonrpc": "2.0", "id": 2, "result": {}}), "after {tool}");
    }
    assert_eq!(read(&server.sessions).stats().in_flight, 0);
    assert_eq!(session.delete().await, StatusCode::NO_CONTENT);
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_whose_call_panics_ends_with_an_answer() {
    let server = TestServer::with_tools(PANICKING, |_| {}).await;
    let session = server.session(VERSION).await;
    let request = server.request(Method::POST, "/mcp").header("accept", "text/event-stream");
    let request = request.header("mcp-session-id", &session.id).json(&tool_call("much-later", &json!({})));
    let events = Events::of(within(request.send()).await.unwrap()).rest().await;
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0].json()["id"], &events[0].json()["error"]["code"]), (&json!(1), &json!(-32603)));
}

#[tokio::test]
async fn a_panic_in_a_batch_is_one_answer_of_it() {
    let server = TestServer::with_tools(PANICKING, |_| {}).await;
    let session = server.session("2025-03-26").await;
    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
    for tool in ["now", "much-later"] {
        let answers = session.ask(&json!([tool_call(tool, &json!({})), ping])).await;
        assert_eq!((&answers[0]["id"], &answers[0]["error"]["code"]), (&json!(1), &json!(-32603)), "{answers}");
        assert_eq!(answers[1], json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    }
}

#[tokio::test]
async fn a_panic_is_answered_in_the_stateless_era_too() {
    let server = TestServer::with_tools(PANICKING, |_| {}).await;
    for tool in ["now", "later", "much-later"] {
        let call = Modern::call(tool, json!({}));
        let answer =
            Answer::to(server.http.post(server.url("/mcp")).headers(call.all_headers()).json(&call.body)).await;
        answer.error(500, -32603, &json!(1));
    }
    let call = Modern::call("much-later", json!({})).accept("text/event-stream");
    let events = call.stream(&server).await.rest().await;
    assert_eq!((events.len(), &events[0].json()["error"]["code"]), (1, &json!(-32603)));
    let discover = Modern::new("server/discover", json!({}));
    let request = server.http.post(server.url("/mcp")).headers(discover.all_headers()).json(&discover.body);
    assert_eq!(Answer::to(request).await.status, 200);
}

#[tokio::test]
async fn locks_that_a_panic_left_behind_are_used_on() {
    if !in_memory() {
        return;
    }
    let server = TestServer::with_tools(PANICKING, |_| {}).await;
    let (session, other) = (server.session(VERSION).await, server.session(VERSION).await);
    let mut stream = session.stream().await;
    let sessions = server.sessions.clone();
    let panicking = std::thread::spawn(move || {
        let _held = mcp_echo_stateful::session::write(&sessions);
        panic!("on purpose");
    });
    assert!(panicking.join().is_err() && server.sessions.is_poisoned());
    // And the session's own.
    assert_eq!(Answer::to(session.post(&tool_call("now", &json!({})))).await.status, 500);

    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
    for session in [&session, &other, &server.session(VERSION).await] {
        assert_eq!(session.ask(&ping).await["result"], json!({}));
        assert_eq!(Answer::to(session.post(&tool_call("now", &json!({})))).await.status, 500);
    }
    let guard =
        enter(&server.sessions, session.id.parse().unwrap(), None, |_| ()).unwrap_or_else(|why| panic!("{why:?}"));
    guard.session().change(|working| working.log(LogLevel::Error, || notice::log(&json!({"logger": "test"}))));
    drop(guard);
    assert_eq!(stream.not_a_finding().await.unwrap().json()["params"]["logger"], "test");
    assert_eq!(Answer::to(server.request(Method::GET, "/healthz")).await.status, 200);
    assert_eq!(session.delete().await, StatusCode::NO_CONTENT);
    assert_eq!(stream.rest().await, []);
    server.clock.advance(Duration::from_secs(3600));
    mcp_echo_stateful::session::sweep(&server.sessions);
    assert_eq!(read(&server.sessions).stats().active, 0);
}
