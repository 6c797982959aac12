//! Callers that mean harm, or behave as if: whatever they do, it costs them more than the server, and others notice nothing.

use std::time::Duration;

use futures_util::future::{join_all, select_all};
use mcp_echo_stateful::app::Bounds;
use mcp_echo_stateful::connections::Timeouts;
use mcp_echo_stateful::protocol::notice;
use mcp_echo_stateful::rpc::MAX_CALLS;
use mcp_echo_stateful::session::{MAX_RUNNING, enter, read};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::exchange::{Answer, accepting, assert_says};
use crate::raw::{Raw, post};
use crate::server::{Events, Session, TestServer, in_memory, initialize, tool_call, within};

const VERSION: &str = "2025-06-18";

/// Longer than any time-out: for clocks that are paused, where it takes no time.
const EVER: Duration = Duration::from_secs(3600);

fn ping(id: u32) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "ping"})
}

/// The text of a tool's answer at the version of requests without a session.
fn text(answer: &Answer) -> String {
    answer.result()["content"][0]["text"].as_str().unwrap().to_owned()
}

fn raw_body(server: &TestServer, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    server.request(Method::POST, "/mcp").header("content-type", "application/json").body(body)
}

async fn is_well(server: &TestServer) {
    assert_eq!(Answer::to(server.post(&ping(1))).await.result(), json!({}));
}

// --- Slow ---

#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_silent_is_closed_also_after_a_request() {
    let server = TestServer::start().await;
    for said in ["", "POST /mc", "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let mut raw = Raw::to(server.address).await;
        raw.send(post(&ping(1), "")).await;
        assert_eq!(raw.answer().await.result(), json!({}));
        let answered = tokio::time::Instant::now();
        raw.send(said).await;
        let rest = tokio::time::timeout(EVER, raw.rest()).await;
        assert_eq!(rest.expect("it was left open"), b"", "after {said:?}");
        let (waited, head) = (answered.elapsed(), Timeouts::default().head);
        assert!(waited >= head - Duration::from_secs(1) && waited < head + Duration::from_secs(5), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_while_requests_come_in_time() {
    let server = TestServer::start().await;
    let mut raw = Raw::to(server.address).await;
    for n in 0..5 {
        raw.send(post(&ping(n), "")).await;
        assert_eq!(raw.answer().await.json()["id"], n);
        tokio::time::sleep(Timeouts::default().head - Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_open_for_as_long_as_its_client_wants() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let mut stream = session.stream().await;
    let began = tokio::time::Instant::now();
    // Longer by far than a connection without a request is waited for.
    while began.elapsed() < EVER {
        stream.next().await.expect("the stream was cut");
    }
    assert!(session.text("sessionInfo", json!({})).await.contains("Open Streams: 1"));
}

#[tokio::test(start_paused = true)]
async fn a_call_may_take_longer_than_a_head() {
    let timeouts = Timeouts { head: Duration::from_secs(1), ..Timeouts::default() };
    let server = TestServer::with_bounds(Bounds { timeouts, ..Bounds::default() }, |_| {}).await;
    let mut raw = Raw::to(server.address).await;
    raw.send(post(&tool_call("echo", &json!({"message": "late", "delayMs": 30_000})), "")).await;
    let result = raw.answer().await.result();
    assert!(result["content"][0]["text"].as_str().unwrap().starts_with("late\n"), "{result}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_not_waited_for() {
    let server = TestServer::start().await;
    for requests_before in [0, 1] {
        let mut raw = Raw::to(server.address).await;
        for _ in 0..requests_before {
            raw.send(post(&ping(1), "")).await;
            raw.answer().await;
        }
        raw.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\n").await;
        let dripping = async {
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                if raw.stream.write_all(b"X-Slow: 1\r\n").await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(EVER, dripping).await.expect("every header put the end off");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_answered_with_408() {
    let server = TestServer::start().await;
    for headers in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        let head = format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n");
        for requests_before in [0, 1] {
            let mut raw = Raw::to(server.address).await;
            for _ in 0..requests_before {
                raw.send(post(&ping(1), "")).await;
                raw.answer().await;
            }
            raw.send(&head).await;
            let answer = tokio::time::timeout(EVER, raw.answer()).await.expect("it was waited for");
            assert_says(&answer.error(408, -32600, &Value::Null), &["Request Timeout", "60 s"]);
            assert_eq!(answer.header("connection"), Some("close"));
            tokio::time::timeout(EVER, raw.rest()).await.expect("it was left open");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_has_a_minute_in_all() {
    let server = TestServer::start().await;
    let mut raw = Raw::to(server.address).await;
    raw.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        .await;
    let mut reading = Box::pin(async {
        let mut received = [0; 1024];
        let (mut read, mut write) = raw.stream.split();
        loop {
            tokio::select! {
                n = read.read(&mut received) => return String::from_utf8_lossy(&received[..n.unwrap()]).into_owned(),
                () = tokio::time::sleep(Duration::from_secs(5)) => write.write_all(b" ").await.unwrap(),
            }
        }
    });
    let answer = tokio::time::timeout(EVER, &mut reading).await.expect("every byte put the end off");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn who_never_reads_is_cut_off_and_sent_no_more_than_fits_the_buffers() {
    let timeouts = Timeouts { unread: Duration::from_secs(1), ..Timeouts::default() };
    let bounds = Bounds { timeouts, ..Bounds::default() };
    let server = TestServer::with_bounds(bounds, |config| config.shutdown_grace = EVER).await;
    let list = post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}), "");
    let mut raw = Raw::to(server.address).await;
    let mut written = 0_usize;
    let cut_off = async {
        // Pipelined, each with an answer fifty times as long.
        while let Ok(n) = raw.stream.write(&list.repeat(100)).await {
            written += n;
        }
    };
    let others = async {
        for _ in 0..20 {
            is_well(&server).await;
        }
    };
    within(async { tokio::join!(cut_off, others) }).await;
    assert!(written < 32 * 1024 * 1024, "the server went on reading: {written} bytes");
    // Shutdown waits for connections, here for an hour.
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
}

// --- Large ---

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431_and_the_connection_closed() {
    let server = TestServer::start().await;
    let many = (0..101).map(|n| format!("X-Header-{n}: 1\r\n")).collect::<Vec<_>>().concat();
    let one = format!("X-Long: {}\r\n", "a".repeat(64 * 1024));
    for headers in [many, one] {
        let mut raw = Raw::to(server.address).await;
        raw.send(post(&ping(1), &headers)).await;
        let received = String::from_utf8(within(raw.rest()).await).unwrap();
        assert!(received.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{received:?}");
        assert!(received.contains("connection: close\r\n"), "{received}");
    }
    let mut raw = Raw::to(server.address).await;
    let long = "a".repeat(64 * 1024);
    raw.send(format!("POST /mcp?{long} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let received = String::from_utf8(within(raw.rest()).await).unwrap();
    assert!(received.starts_with("HTTP/1.1 431 ") || received.starts_with("HTTP/1.1 414 "), "{received:?}");

    let fits = format!("Authorization: Bearer {}\r\n", "a".repeat(60 * 1024));
    let mut raw = Raw::to(server.address).await;
    raw.send(post(&ping(1), &fits)).await;
    assert_eq!(within(raw.answer()).await.result(), json!({}));
}

#[tokio::test]
async fn chunks_that_lie_about_their_length_are_believed_no_further_than_the_limit() {
    let server = TestServer::with(|config| config.max_body_bytes = 1000).await;
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: \
                chunked\r\n\r\n";
    // A chunk that says it is 16 EiB, one byte at a time beyond the limit, and a thousand tiny ones.
    let huge = format!("{head}FFFFFFFFFFFFFFFF\r\n{}", " ".repeat(1001));
    let tiny = format!("{head}{}", "1\r\n \r\n".repeat(1001));
    for bytes in [huge, tiny] {
        let mut raw = Raw::to(server.address).await;
        raw.send(bytes).await;
        let answer = within(raw.answer()).await;
        assert_says(&answer.error(413, -32600, &Value::Null), &["1000", "MCP_MAX_BODY_BYTES"]);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    for nonsense in ["x\r\n", "FFFFFFFFFFFFFFFFF\r\n", "-1\r\n", "2\r\n{}x\r\n0\r\n\r\n"] {
        let mut raw = Raw::to(server.address).await;
        raw.send(format!("{head}{nonsense}")).await;
        let answer = within(raw.answer()).await;
        assert_says(&answer.error(400, -32600, &Value::Null), &["the body broke off"]);
    }
    is_well(&server).await;
}

#[tokio::test]
async fn two_lengths_of_one_body_are_refused() {
    let server = TestServer::start().await;
    // Request smuggling (RFC 9112 section 6.3): proxy and server must not take different ends of it.
    for lengths in [
        "Content-Length: 10\r\nContent-Length: 11\r\n",
        "Content-Length: 1, 2\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: identity, chunked, identity\r\n",
    ] {
        let mut raw = Raw::to(server.address).await;
        raw.send(format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n0123456789")).await;
        let received = String::from_utf8(within(raw.rest()).await).unwrap();
        assert!(received.starts_with("HTTP/1.1 400 ") && received.contains("connection: close"), "{received:?}");
        assert_eq!(received.matches("HTTP/1.1").count(), 1, "{received:?}");
    }
}

#[tokio::test]
async fn large_bodies_under_way_are_bounded_all_together() {
    const BODY: usize = 1024 * 1024;
    let bounds = Bounds { large_bytes: 8 * BODY, ..Bounds::default() };
    let server = TestServer::with_bounds(bounds, |config| config.max_body_bytes = BODY).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {BODY}\r\n\r\n"
    );
    // Of which the last byte never comes, and three times as many as there is room for.
    let part = vec![b' '; BODY - 1];
    let mut clients: Vec<_> = (0..24)
        .map(|_| {
            Box::pin(async {
                let mut raw = Raw::to(server.address).await;
                raw.send(&head).await;
                let _ = raw.stream.write_all(&part).await;
                raw.rest().await
            })
        })
        .collect();
    // One that makes way, or is refused in the middle of its body, may be cut off without a word.
    let answer = within(async {
        loop {
            let (received, _, others) = select_all(std::mem::take(&mut clients)).await;
            clients = others;
            if let Some((answer, _)) = Answer::first_of(&received) {
                break answer;
            }
        }
    })
    .await;
    assert_says(&answer.error(503, -32603, &Value::Null), &["large requests", "try again"]);
    assert!(answer.header("retry-after").is_some());
    is_well(&server).await;
    drop(clients);
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y".repeat(100_000)}});
    loop {
        // Until the server has seen that they are gone.
        let answer = Answer::to(server.post(&large)).await;
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.status, 503);
    }
}

// --- Strange ---

#[tokio::test]
async fn json_of_any_shape_is_answered() {
    let server = TestServer::start().await;
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
        )
    };
    let send = |body: Vec<u8>| Answer::to(raw_body(&server, body));
    for (open, close) in [("[", "]"), (r#"{"x":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let answer = send(call(&deep).into()).await;
        assert_says(&answer.error(400, -32600, &json!(1)), &["nested"]);
        let answer = send(deep.into()).await;
        assert!(answer.text.contains("-32600") && answer.text.len() < 1_000, "{answer:?}");
        // Without an end.
        assert_eq!(send(open.repeat(100_000).into()).await.status, 400);
    }
    let long = "x".repeat(1024 * 1024);
    let answer = send(call(&format!(r#"{{"message":"{long}"}}"#)).into()).await;
    assert!(text(&answer) == long);

    let nul = send(call(r#"{"message":"a\u0000b"}"#).into()).await;
    assert_eq!(text(&nul), "a\0b");
    for surrogate in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800x"] {
        let answer = send(call(&format!(r#"{{"message":"{surrogate}"}}"#)).into()).await;
        answer.error(400, -32700, &json!(1));
    }
    for not_utf8 in [&b"\xff"[..], b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"] {
        let body = [br#"{"jsonrpc":"2.0","id":1,"method":""#, not_utf8, br#""}"#].concat();
        send(body).await.error(400, -32700, &Value::Null);
    }
    for number in ["1e400", "-1e400", &"9".repeat(100_000), "1e-400", "0.1e+9999999999"] {
        let answer = send(call(&format!(r#"{{"message":"m","delayMs":{number}}}"#)).into()).await;
        assert!([200, 400].contains(&answer.status), "{number:.20}: {answer:?}");
        answer.json();
    }
    let answer = send(call(r#"{"message":"first","message":"last"}"#).into()).await;
    assert_eq!(text(&answer), "last", "as JSON.parse has it");
    is_well(&server).await;
}

#[tokio::test]
async fn a_batch_of_a_hundred_thousand_is_refused_as_a_whole() {
    let server = TestServer::with(|config| config.max_body_bytes = 64 * 1024 * 1024).await;
    let session = server.session("2025-03-26").await;
    for message in ["1".to_owned(), tool_call("echo", &json!({"message": "m"})).to_string()] {
        let batch = format!("[{}{message}]", format!("{message},").repeat(99_999));
        let answer = Answer::to(raw_body(&server, batch).header("mcp-session-id", &session.id)).await;
        assert_says(&answer.error(400, -32600, &Value::Null), &["100"]);
        assert!(answer.text.len() < 2000, "{} bytes", answer.text.len());
    }
    let guard =
        enter(&server.sessions, session.id.parse().unwrap(), None, |_| ()).unwrap_or_else(|why| panic!("{why:?}"));
    assert_eq!(guard.session().record().state.echo_count, 0);
}

// --- Many ---

#[tokio::test]
async fn initializing_without_end_ends_only_what_is_idle() {
    // On disk, in a build for tests, it takes longer than its time-outs allow.
    if !in_memory() {
        return;
    }
    let server = TestServer::with(|config| config.max_sessions = 50).await;
    let streaming = server.session(VERSION).await;
    let mut stream = streaming.stream().await;
    let mut raw = Raw::to(server.address).await;
    for _ in 0..30 {
        raw.send(post(&initialize(VERSION), "").repeat(100)).await;
        for _ in 0..100 {
            assert_eq!(within(raw.answer()).await.status, 200);
        }
    }
    let stats = read(&server.sessions).stats();
    assert_eq!((stats.active, stats.evicted), (50, 3001 - 50));
    streaming.call("echo", json!({"message": "still here"})).await;
    assert_eq!(stream.not_a_finding().await.unwrap().json()["params"]["logger"], "tools.echo");
}

#[tokio::test]
async fn sessions_hold_no_more_memory_than_they_may_together() {
    const MIB: usize = 1024 * 1024;
    if !in_memory() {
        return;
    }
    let server = TestServer::with(|config| config.max_sessions = 100).await;
    let streaming = server.session(VERSION).await;
    let _stream = streaming.stream().await;
    let first = server.session(VERSION).await;
    let message = "x".repeat(MIB);
    for n in 0..20 {
        let session = server.session(VERSION).await;
        session.call("echo", json!({"message": message})).await;
        let stats = read(&server.sessions).stats();
        assert!(stats.storage_bytes + stats.queue_bytes < 17 * MIB as u64, "after {n}: {stats:?}");
    }
    assert_eq!(Answer::to(first.post(&ping(1))).await.result(), json!({}), "who holds little never gives way");
    assert_eq!(Answer::to(streaming.post(&ping(1))).await.result(), json!({}));
    let stats = read(&server.sessions).stats();
    assert!(stats.evicted > 0 && stats.active > 12, "and no more gave way than had to: {stats:?}");
}

#[tokio::test]
async fn who_keeps_large_sessions_busy_is_refused_more_and_ends_nobody_elses() {
    const MIB: usize = 1024 * 1024;
    let server = TestServer::with(|config| config.max_sessions = 100).await;
    let bystanders = join_all((0..30).map(|_| server.session(VERSION))).await;
    let message = json!({"message": "x".repeat(MIB)});
    let (mut kept, mut streams) = (0, Vec::new());
    for n in 0..60 {
        let session = server.session(VERSION).await;
        streams.push(session.stream().await);
        session.call("echo", json!({"message": "small"})).await;
        let result = session.call("echo", message.clone()).await;
        let stats = read(&server.sessions).stats();
        assert!(stats.storage_bytes + stats.queue_bytes <= 16 * MIB as u64, "after {n}: {stats:?}");
        if result["isError"] == json!(true) {
            let text = result["content"][0]["text"].as_str().unwrap();
            for part in ["not kept", "more than its share", "MCP_MAX_SESSIONS"] {
                assert!(text.contains(part), "{text}");
            }
            assert_eq!(session.call("sessionInfo", json!({})).await["isError"], json!(false));
            let replayed = session.text("replayLastEcho", json!({})).await;
            assert!(replayed.contains("small"), "the session is as it was: {replayed:.100}");
            session.call("echo", json!({"message": "small ones are kept"})).await;
        } else {
            kept += 1;
        }
    }
    assert!((10..16).contains(&kept), "{kept}");
    assert_eq!(read(&server.sessions).stats().evicted, 0);
    for bystander in &bystanders {
        assert_eq!(Answer::to(bystander.post(&ping(1))).await.result(), json!({}));
    }
}

/// A hundred echoes that answer in a minute.
fn late_batch() -> Value {
    json!(vec![tool_call("echo", &json!({"message": "late", "delayMs": 60_000})); 100])
}

/// Sends it; returns when its calls are at work.
async fn send_late_batch(session: &Session<'_>) -> Events {
    send_late_batch_of(session, "somebody").await
}

async fn send_late_batch_of(session: &Session<'_>, user: &str) -> Events {
    let request = accepting(session.post(&late_batch()), "text/event-stream").header("x-user-id", user);
    let mut events = Events::of(within(request.send()).await.unwrap());
    assert!(events.next().await.unwrap().comment.is_some());
    events
}

#[tokio::test]
async fn a_session_has_a_thousand_calls_at_work_and_the_next_is_told_to_come_back() {
    let server = TestServer::start().await;
    let session = server.session("2025-03-26").await;
    let mut batches = Vec::new();
    for _ in 0..MAX_RUNNING / 100 {
        batches.push(send_late_batch(&session).await);
    }
    let late = tool_call("echo", &json!({"message": "one too many", "delayMs": 60_000}));
    let answer = Answer::to(session.post(&late)).await;
    assert_says(&answer.error(503, -32603, &json!(1)), &["Too many calls", "1000", "try again"]);
    assert!(answer.header("retry-after").is_some());
    session.call("echo", json!({"message": "now"})).await;
    let other = server.session("2025-03-26").await;
    send_late_batch(&other).await;

    assert_eq!(session.delete().await, 204);
    for batch in batches {
        assert_eq!(batch.rest().await, []);
    }
}

#[tokio::test]
async fn ten_thousand_calls_are_at_work_and_the_next_is_told_to_come_back() {
    let server = TestServer::start().await;
    let mut batches = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..MAX_CALLS / MAX_RUNNING {
        let session = server.session("2025-03-26").await;
        for _ in 0..MAX_RUNNING / 100 {
            batches.push(send_late_batch_of(&session, &format!("user-{}", sessions.len())).await);
        }
        sessions.push(session);
    }
    let newcomer = server.session("2025-03-26").await;
    let late = tool_call("echo", &json!({"message": "one too many", "delayMs": 60_000}));
    for request in [newcomer.post(&late), server.post(&late)] {
        let answer = Answer::to(request).await;
        assert_says(&answer.error(503, -32603, &json!(1)), &["Too many calls", "10000"]);
    }
    let batch = newcomer.ask(&json!([late, ping(2)])).await;
    assert_eq!((&batch[0]["error"]["code"], &batch[1]["result"]), (&json!(-32603), &json!({})));
    is_well(&server).await;
    assert_eq!(sessions[0].delete().await, 204);
    let mut events = Events::of(within(accepting(newcomer.post(&late), "text/event-stream").send()).await.unwrap());
    assert!(events.next().await.unwrap().comment.is_some(), "there is room again");
}

#[tokio::test]
async fn who_has_most_calls_at_work_leaves_the_last_ones_to_others() {
    let server = TestServer::start().await;
    let mut batches = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..9 * MAX_CALLS / 10 / MAX_RUNNING {
        let session = server.session("2025-03-26").await;
        for _ in 0..MAX_RUNNING / 100 {
            batches.push(send_late_batch_of(&session, "mallory").await);
        }
        sessions.push(session);
    }
    let late = tool_call("echo", &json!({"message": "late", "delayMs": 60_000}));
    let ask = |user| accepting(server.post(&late), "application/json, text/event-stream").header("x-user-id", user);
    let answer = Answer::to(ask("mallory")).await;
    assert_says(&answer.error(503, -32603, &json!(1)), &["Too many calls", "a quarter of the 10000"]);
    let alice = accepting(server.post(&late), "text/event-stream").header("x-user-id", "alice");
    let mut events = Events::of(within(alice.send()).await.unwrap());
    assert!(events.next().await.unwrap().comment.is_some(), "alice's is at work");
}

// --- Connections ---

#[tokio::test]
async fn idle_connections_make_room_for_a_newcomer() {
    let server = TestServer::with(|config| config.max_connections = 3).await;
    let mut kept = Raw::to(server.address).await;
    kept.send(post(&ping(1), "")).await;
    within(kept.answer()).await;
    let silent = Raw::to(server.address).await;
    let mut hesitant = Raw::to(server.address).await;
    hesitant.send("POST /mcp HT").await;
    is_well(&server).await;
    for idle in [kept, silent, hesitant] {
        assert_eq!(within(idle.rest()).await, b"");
    }
}

#[tokio::test]
async fn where_every_connection_is_at_work_a_newcomer_is_told_so_and_the_probe_still_works() {
    if !in_memory() {
        return;
    }
    let server = TestServer::with(|config| config.max_connections = 2).await;
    let session = server.session(VERSION).await;
    let (first, mut second) = (session.stream().await, session.stream().await);
    for _ in 0..3 {
        let mut raw = Raw::to(server.address).await;
        raw.send(post(&ping(7), "X-Request-Id: mine\r\n")).await;
        let answer = within(raw.answer()).await;
        assert_says(&answer.error(503, -32603, &Value::Null), &["Too many connections", "MCP_MAX_CONNECTIONS", "2"]);
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        assert_eq!((answer.header("connection"), answer.header("x-request-id")), (Some("close"), Some("mine")));
        assert_eq!(within(raw.rest()).await, b"");
    }
    for (method, status) in [("GET", 200), ("POST", 405)] {
        let mut probe = Raw::to(server.address).await;
        probe.send(format!("{method} /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let answer = within(probe.answer()).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/json")));
    }

    let sessions = server.sessions.clone();
    let guard = enter(&sessions, session.id.parse().unwrap(), None, |_| ()).unwrap_or_else(|why| panic!("{why:?}"));
    let line = || notice::log(&json!({"data": "streams go on"}));
    guard.session().change(|working| working.log(mcp_echo_stateful::session::LogLevel::Error, line));
    assert_eq!(second.message().await.unwrap().json()["params"]["data"], "streams go on");
    drop(first);
    let served = async {
        loop {
            // Until the server has seen that it is gone.
            let mut raw = Raw::to(server.address).await;
            raw.send(post(&ping(7), "")).await;
            let answer = raw.answer().await;
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 503);
        }
    };
    within(served).await;
}

/// By clients that all want a stream, and among them many that connect and say nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_has_every_connection_gives_way_to_a_newcomer() {
    let server = TestServer::with(|config| config.max_connections = 8).await;
    let late = tool_call("echo", &json!({"message": "late", "delayMs": 60_000}));
    let mut busy = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::to(server.address).await;
        raw.send(post(&late, "Accept: text/event-stream\r\n")).await;
        // Its answer begins: it is at work.
        within(raw.stream.readable()).await.unwrap();
        busy.push(raw);
    }
    // Now and then one gives way: who is refused tries again.
    let comes_in = async {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            let mut raw = Raw { stream: socket.connect(server.address).await.unwrap(), received: Vec::new() };
            raw.send(post(&ping(1), "")).await;
            let answer = raw.answer().await;
            if answer.status == 200 {
                return answer;
            }
        }
    };
    assert_eq!(within(comes_in).await.result(), json!({}));
}

#[tokio::test]
async fn where_streams_hold_every_connection_the_probe_is_answered_within_a_second() {
    let server = TestServer::with(|config| config.max_connections = 4).await;
    let session = server.session(VERSION).await;
    let streams = [session.stream().await, session.stream().await, session.stream().await, session.stream().await];
    let mut others = Vec::new();
    for n in 0..200 {
        let mut raw = Raw::to(server.address).await;
        if n % 4 == 0 {
            let head = format!("Accept: text/event-stream\r\nMcp-Session-Id: {}\r\n", session.id);
            raw.send(format!("GET /mcp HTTP/1.1\r\nHost: localhost\r\n{head}\r\n")).await;
        }
        others.push(raw);
    }
    let promptly = async |request: Vec<u8>| {
        let answering = async {
            let mut raw = Raw::to(server.address).await;
            raw.send(&request).await;
            raw.answer().await
        };
        tokio::time::timeout(Duration::from_secs(1), answering).await.expect("an answer within a second")
    };
    let probe = || promptly(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
    for _ in 0..5 {
        assert_eq!(probe().await.status, 200);
    }
    for answer in join_all((0..20).map(|_| probe())).await {
        assert_eq!(answer.status, 200);
    }
    let refused = promptly(post(&ping(1), "")).await;
    assert_says(&refused.error(503, -32603, &Value::Null), &["Too many connections", "MCP_MAX_CONNECTIONS"]);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(read(&server.sessions).stats().streams, streams.len() as u64, "and the streams go on");
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_that_says_nothing_is_gone_in_seconds() {
    let server = TestServer::with(|config| config.max_connections = 1).await;
    let session = server.session(VERSION).await;
    let response = tokio::time::timeout(EVER, session.request(Method::GET).send()).await.unwrap().unwrap();
    let _stream = Events::of(response);
    let began = tokio::time::Instant::now();
    let silent = Raw::to(server.address).await;
    tokio::time::timeout(EVER, silent.rest()).await.expect("it was left open");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let server = TestServer::start().await;
    let mut raw = Raw::to(server.address).await;
    raw.send((0..1000).flat_map(|n| post(&ping(n), "")).collect::<Vec<_>>()).await;
    for n in 0..1000 {
        assert_eq!(within(raw.answer()).await.json()["id"], n);
    }
}

#[tokio::test]
async fn who_closes_one_half_gets_what_is_ready_and_is_taken_for_gone_else() {
    let server = TestServer::with(|config| config.shutdown_grace = EVER).await;
    let mut raw = Raw::to(server.address).await;
    raw.send(post(&ping(1), "")).await;
    raw.stream.shutdown().await.unwrap();
    assert_eq!(within(raw.answer()).await.result(), json!({}));
    assert_eq!(within(raw.rest()).await, b"");

    let session = server.session(VERSION).await;
    let mut raw = Raw::to(server.address).await;
    let head = format!("Mcp-Session-Id: {}\r\nAccept: text/event-stream\r\n", session.id);
    raw.send(format!("GET /mcp HTTP/1.1\r\nHost: localhost\r\n{head}\r\n")).await;
    raw.stream.readable().await.unwrap();
    raw.stream.shutdown().await.unwrap();
    let received = String::from_utf8(within(raw.rest()).await).unwrap();
    assert!(received.starts_with("HTTP/1.1 200 OK\r\n") && received.contains("stream open"), "{received:?}");
}

#[tokio::test]
async fn clients_that_go_away_in_the_middle_of_anything_leave_nothing_behind() {
    let server = TestServer::with(|config| config.shutdown_grace = EVER).await;
    let session = server.session(VERSION).await;
    let in_session = format!("Mcp-Session-Id: {}\r\n", session.id);
    let late = tool_call("echo", &json!({"message": "late", "delayMs": 200}));
    let large = tool_call("echo", &json!({"message": "x".repeat(1024 * 1024)}));
    let streaming = format!("{in_session}Accept: text/event-stream\r\n");
    let requests = [
        post(&ping(1), &in_session),
        post(&late, &in_session),
        post(&late, &streaming),
        post(&large, &in_session),
        post(&large, &streaming),
        format!("GET /mcp HTTP/1.1\r\nHost: localhost\r\n{streaming}\r\n").into_bytes(),
    ];
    for request in &requests {
        // After nothing, parts of the head, parts of the body, all of it; and with the first bytes of the answer.
        for part in [0, 1, 20, request.len() / 2, request.len() - 1, request.len()] {
            for reset in [false, true] {
                let mut raw = Raw::to(server.address).await;
                raw.send(&request[..part]).await;
                if part == request.len() {
                    raw.stream.readable().await.unwrap();
                }
                if reset {
                    raw.stream.set_zero_linger().unwrap();
                }
            }
        }
    }
    is_well(&server).await;
    server.shutdown.cancel();
    let sessions = server.sessions.clone();
    within(server.running).await.unwrap().unwrap();
    let stats = read(&sessions).stats();
    assert_eq!((stats.in_flight, stats.streams), (0, 0), "{stats:?}");
}

#[tokio::test]
async fn a_thousand_abandoned_streams_are_gone() {
    let server = TestServer::with(|config| config.shutdown_grace = EVER).await;
    let sessions = join_all((0..50).map(|_| server.session(VERSION))).await;
    for _ in 0..5 {
        let streams = sessions.iter().flat_map(|session| (0..4).map(|_| session.stream()));
        let streams = join_all(streams).await;
        assert!(read(&server.sessions).stats().streams >= 200);
        drop(streams);
    }
    // Shutdown waits for connections, here for an hour, and does not end sessions.
    server.shutdown.cancel();
    let sessions = server.sessions.clone();
    within(server.running).await.unwrap().unwrap();
    assert_eq!(read(&sessions).stats().streams, 0);
}

#[tokio::test]
async fn a_client_with_a_tiny_window_gets_all_of_a_large_answer() {
    let server = TestServer::start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = within(socket.connect(server.address)).await.unwrap();
    let message = "x".repeat(1024 * 1024);
    let call = post(&tool_call("echo", &json!({"message": message})), "Connection: close\r\n");
    within(stream.write_all(&call)).await.unwrap();
    let mut received = Vec::new();
    within(stream.read_to_end(&mut received)).await.unwrap();
    let (answer, length) = Answer::first_of(&received).unwrap();
    assert_eq!(length, received.len());
    assert!(text(&answer) == message);
}
