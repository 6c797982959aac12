//! What was wrong with other MCP servers and SDKs, as attacks on this one. Each test names the advisories or issues that it
//! is for; where another file has the promise in full, the attack is still played here as it was told.
//!
//! What does not apply, and why:
//!
//! - CVE-2026-52870 (GHSA-hvrp-rf83-w775, Python SDK: tasks of others could be read): there are no tasks here.
//! - CVE-2026-59950 (GHSA-vj7q-gjh5-988w, Python SDK: WebSocket without Host and Origin checks): there is no WebSocket.
//! - CVE-2025-49596 (Inspector's proxy) and CVE-2025-6514 (mcp-remote): on the client's side. Nothing here starts a
//!   program or follows a URL that a request names.
//! - rust-mcp-sdk#141 (algorithms confused, audience unchecked): no token is verified here, and every tool says so. The rest
//!   of that audit, bodies and sessions without bound, is `hostile`'s subject.
//! - rust-sdk#934, #970, #1026 (sessions and tasks of rmcp's server that were never reaped): rmcp is no part of the server.
//! - HTTP/2's own: rapid reset (CVE-2023-44487) and CONTINUATION floods (CVE-2024-27316) are in `http2`.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_echo_stateful::session::read;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::exchange::{Answer, accepting};
use crate::modern::Modern;
use crate::raw::{Raw, post};
use crate::server::{Events, TestServer, initialize, tool_call, within};

const VERSION: &str = "2025-06-18";

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

fn stats(server: &TestServer) -> mcp_echo_stateful::session::Stats {
    read(&server.sessions).stats()
}

/// DNS rebinding: CVE-2026-42559 (GHSA-89vp-x53w-74fx, RUSTSEC-2026-0189, rmcp), CVE-2025-66414 (TypeScript SDK),
/// CVE-2025-66416 (GHSA-9h52-p55h-vw2f, Python SDK), CVE-2026-34742 (GHSA-xw59-hvm2-8pj6, Go SDK), GHSA-8jxr-pr72-r468 (Java
/// SDK). A page of evil.example gives its name the address 127.0.0.1; the browser then takes the local server for the page's
/// own, and sends Host: evil.example, with or without an Origin.
#[tokio::test]
async fn a_page_that_rebinds_its_name_reaches_nothing() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let before = stats(&server);
    let browser = |http2: bool| {
        let client = Client::builder().no_proxy().resolve("evil.example", server.address);
        if http2 { client.http2_prior_knowledge() } else { client }.build().unwrap()
    };
    for client in [browser(false), browser(true)] {
        let url = format!("http://evil.example:{}/mcp", server.address.port());
        let origin = format!("http://evil.example:{}", server.address.port());
        for with_origin in [false, true] {
            let requests = [
                client.post(&url).json(&initialize(VERSION)),
                client.post(&url).json(&tool_call("environmentDump", &json!({}))),
                client.get(&url).header("accept", "text/event-stream").header("mcp-session-id", &session.id),
                client.delete(&url).header("mcp-session-id", &session.id),
                client.request(Method::OPTIONS, &url).header("access-control-request-method", "POST"),
            ];
            for request in requests {
                let request = if with_origin { request.header("origin", &origin) } else { request };
                let answer = Answer::to(request).await;
                assert_eq!(answer.status, 403, "{answer:?}");
                assert!(answer.header("access-control-allow-origin").is_none() && !answer.text.contains("result"));
            }
        }
    }
    assert_eq!(stats(&server).created, before.created);
    assert_eq!(Answer::to(session.post(&ping())).await.result(), json!({}), "the session is untouched");
}

/// CVE-2026-33252 (Go SDK): a foreign page may send `text/plain` without a preflight, and the server took it for JSON.
#[tokio::test]
async fn a_foreign_page_cannot_call_a_tool_with_a_simple_request() {
    let server = TestServer::start().await;
    let body = initialize(VERSION).to_string();
    // What Fetch lets pass without a preflight (CORS-safelisted request-header), and none at all.
    for content_type in
        [Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data; boundary=x"), None]
    {
        for (origin, status) in [(Some("https://evil.example"), 403), (Some("null"), 403), (None, 415)] {
            let mut request = server.request(Method::POST, "/mcp").body(body.clone());
            if let Some(value) = content_type {
                request = request.header("content-type", value);
            }
            if let Some(value) = origin {
                request = request.header("origin", value);
            }
            assert_eq!(Answer::to(request).await.status, status, "{content_type:?} {origin:?}");
        }
    }
    assert_eq!(stats(&server).created, 0);
}

/// CVE-2026-52869 (GHSA-jpw9-pfvf-9f58, Python SDK): who had the id of a session could use it as its owner.
#[tokio::test]
async fn a_stolen_session_id_is_worth_nothing_to_another_user() {
    let server = TestServer::start().await;
    let alice = |request: RequestBuilder| request.header("x-user-id", "alice");
    let session = server.session_with(VERSION, alice).await;
    let echo = tool_call("echo", &json!({"message": "alice's"}));
    assert_eq!(Answer::to(alice(session.post(&echo))).await.status, 200);
    for thief in [Some("bob"), Some("ALICE"), None] {
        let dress = |request: RequestBuilder| match thief {
            Some(user) => request.header("x-user-id", user),
            None => request,
        };
        for request in [
            session.post(&tool_call("replayLastEcho", &json!({}))),
            session.request(Method::GET),
            session.request(Method::DELETE),
        ] {
            let answer = Answer::to(dress(request)).await;
            assert_eq!(answer.status, 404, "{thief:?}: {answer:?}");
            assert!(!answer.text.contains("alice"), "{answer:?}");
        }
        let by_handle = Modern::call("replayLastEcho", json!({"sessionId": session.id}));
        let request = server.http.post(server.url("/mcp")).headers(by_handle.all_headers()).json(&by_handle.body);
        let answer = Answer::to(dress(request)).await;
        assert!(!answer.text.contains("alice"), "{thief:?}: {answer:?}");
    }
    let replay = Answer::to(alice(session.post(&tool_call("replayLastEcho", &json!({}))))).await.result();
    assert!(replay.to_string().contains("alice's"));
}

/// CVE-2026-25536 (GHSA-345p-7cg4-v4c7, TypeScript SDK): clients whose requests had the same JSON-RPC id got each other's
/// answers. Fast and late ones, in sessions of their own and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_clients_with_the_same_request_ids_get_their_own_answers() {
    let server = TestServer::start().await;
    let clients = (0..50).map(|client| {
        let server = &server;
        async move {
            let http = Client::builder().no_proxy().build().unwrap();
            let made = http.post(server.url("/mcp")).header("accept", "application/json").json(&initialize(VERSION));
            let made = made.send().await.unwrap();
            let session = made.headers()["mcp-session-id"].to_str().unwrap().to_owned();
            for round in 0..4 {
                let message = format!("client {client}, round {round}");
                let call = tool_call("echo", &json!({"message": message, "delayMs": (client * 7 + round * 11) % 40}));
                let mut request = http.post(server.url("/mcp")).json(&call);
                request =
                    request.header("accept", if round % 2 == 0 { "application/json" } else { "text/event-stream" });
                if round != 3 {
                    request = request.header("mcp-session-id", &session);
                }
                let text = request.send().await.unwrap().text().await.unwrap();
                assert_eq!(text.matches("client ").count() >= 1, text.contains(&message), "{text}");
                assert!(!text.replace(&message, "").contains("client "), "{text}");
            }
        }
    });
    within(join_all(clients)).await;
}

/// GHSA-qvqr-5cv7-wh35 (Ruby SDK): a second GET with a stolen session id took the stream of the first.
#[tokio::test]
async fn a_stranger_cannot_take_over_a_stream() {
    let server = TestServer::start().await;
    let session = server.session_with(VERSION, |request| request.header("x-user-id", "alice")).await;
    let opened = session.request(Method::GET).header("x-user-id", "alice");
    let mut stream = Events::of(within(opened.send()).await.unwrap());
    for thief in [Some("mallory"), None] {
        for last_event_id in [None, Some("1-0")] {
            let mut request = session.request(Method::GET);
            if let Some(user) = thief {
                request = request.header("x-user-id", user);
            }
            if let Some(id) = last_event_id {
                request = request.header("last-event-id", id);
            }
            assert_eq!(Answer::to(request).await.status, 404);
        }
    }
    let call = session.post(&tool_call("echo", &json!({"message": "m"}))).header("x-user-id", "alice");
    assert_eq!(Answer::to(call).await.status, 200);
    assert_eq!(stream.not_a_finding().await.unwrap().json()["params"]["logger"], "tools.echo");
}

/// GHSA-j975-95f5-7wqh and GHSA-3qhf-m339-9g5v (Python SDK): an exception that nobody caught (a client that left in the
/// middle, a message that was not valid) ended the server for all.
#[tokio::test]
async fn nothing_invalid_and_nobody_who_leaves_ends_the_server() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let in_session = format!("Mcp-Session-Id: {}\r\n", session.id);
    let invalid = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": {"a": 1}, "arguments": "x"}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": []}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {"x": []}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": null}}),
        json!({"jsonrpc": "2.0", "method": "notifications/no/such", "params": {"x": 1}}),
        json!({"jsonrpc": "2.0", "id": 1, "result": null}),
        json!({"jsonrpc": "2.0", "id": 1, "error": "x"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": [], "capabilities": 1}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": 5}}),
    ];
    for message in &invalid {
        for headers in ["", &in_session] {
            let mut raw = Raw::to(server.address).await;
            raw.send(post(message, headers)).await;
            let status = within(raw.answer()).await.status;
            assert!(status < 500, "{message}: {status}");
            let whole = post(message, headers);
            let mut leaves = Raw::to(server.address).await;
            leaves.send(&whole[..whole.len() - 3]).await;
        }
    }
    assert_eq!(Answer::to(session.post(&ping())).await.result(), json!({}));
}

/// rust-sdk#808 and #811: sessions whose handshake was never finished stayed for ever. python-sdk#3228: a rejected request
/// left a session behind.
#[tokio::test]
async fn a_handshake_that_is_not_finished_or_rejected_leaves_nothing_for_long() {
    let server = TestServer::start().await;
    for (header, value) in [("accept", "text/html"), ("content-type", "text/plain"), ("origin", "https://evil.example")]
    {
        let request = server.request(Method::POST, "/mcp").header("content-type", "application/json");
        let mut request = request.body(initialize(VERSION).to_string()).build().unwrap();
        request.headers_mut().insert(header, value.parse().unwrap());
        let status = within(server.http.execute(request)).await.unwrap().status();
        assert!(status.is_client_error(), "{header}: {status}");
    }
    assert_eq!(stats(&server).created, 0);
    assert_eq!(Answer::to(server.post(&initialize(VERSION))).await.status, 200);
    assert_eq!(stats(&server).active, 1);
    server.clock.advance(Duration::from_secs(3600));
    mcp_echo_stateful::session::sweep(&server.sessions);
    assert_eq!(stats(&server).active, 0);
}

/// go-sdk#1136: every `server/discover` left a session behind.
#[tokio::test]
async fn discovery_makes_no_session() {
    let server = TestServer::start().await;
    for _ in 0..10 {
        let discover = Modern::new("server/discover", json!({}));
        let request = server.http.post(server.url("/mcp")).headers(discover.all_headers()).json(&discover.body);
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.header("mcp-session-id")), (200, None));
    }
    assert_eq!(stats(&server).created, 0);
}

/// python-sdk#3300 and java-sdk#471: DELETE, or the end of a session, did not give its memory back.
#[tokio::test]
async fn a_deleted_session_gives_its_memory_back() {
    let server = TestServer::start().await;
    let keeper = server.session(VERSION).await;
    keeper.call("echo", json!({"message": "m"})).await;
    let before = stats(&server);
    for _ in 0..5 {
        let session = server.session(VERSION).await;
        session.call("echo", json!({"message": "x".repeat(100_000), "customData": {"k": "v".repeat(10_000)}})).await;
        assert!(stats(&server).storage_bytes > before.storage_bytes + 100_000);
        assert_eq!(session.delete().await, 204);
    }
    let after = stats(&server);
    assert_eq!((after.active, after.queue_bytes), (before.active, before.queue_bytes));
    assert_eq!(after.storage_bytes, before.storage_bytes);
}

/// python-sdk#2455: the idle time-out ended sessions under a call at work.
#[tokio::test]
async fn a_session_does_not_expire_under_a_call() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let late = tool_call("echo", &json!({"message": "late", "delayMs": 300}));
    let mut events = Events::of(within(accepting(session.post(&late), "text/event-stream").send()).await.unwrap());
    assert!(events.next().await.unwrap().comment.is_some(), "it is at work");
    server.clock.advance(Duration::from_secs(7200));
    mcp_echo_stateful::session::sweep(&server.sessions);
    assert_eq!(events.message().await.unwrap().json()["result"]["structuredContent"]["message"], "late");
    assert_eq!(Answer::to(session.post(&ping())).await.result(), json!({}));
}

/// LibreChat#14816, mcp-remote#159, mcp-sap-docs#75: a proxy had cut the stream without the server noticing; the client's
/// next GET got 409 for as long as the dead one lingered.
#[tokio::test]
async fn a_stream_whose_connection_lingers_dead_does_not_lock_its_client_out() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let mut lingering = Vec::new();
    for round in 0..10 {
        let head = format!("Mcp-Session-Id: {}\r\nAccept: text/event-stream\r\n", session.id);
        let mut raw = Raw::to(server.address).await;
        raw.send(format!("GET /mcp HTTP/1.1\r\nHost: localhost\r\n{head}\r\n")).await;
        // Its answer begins; it never reads on and never closes.
        raw.stream.readable().await.unwrap();
        lingering.push(raw);
        let mut stream = session.stream().await;
        session.call("echo", json!({"message": round.to_string()})).await;
        let mut logger = json!("queue");
        // The stream of the round before ended at once; that is told to the next one.
        while logger == "queue" {
            logger = stream.not_a_finding().await.unwrap().json()["params"]["logger"].take();
        }
        assert_eq!(logger, "tools.echo");
    }
}

/// java-sdk#1021 and #1022: connections that clients had dropped stayed in CLOSE-WAIT, until there were no files left.
#[tokio::test]
async fn connections_of_killed_clients_are_let_go_of() {
    let server = TestServer::with(|config| config.shutdown_grace = Duration::from_secs(3600)).await;
    let session = server.session(VERSION).await;
    let late = tool_call("echo", &json!({"message": "late", "delayMs": 100}));
    for n in 0..100 {
        let mut raw = Raw::to(server.address).await;
        let head = format!("Mcp-Session-Id: {}\r\nAccept: text/event-stream\r\n", session.id);
        match n % 3 {
            0 => raw.send(format!("GET /mcp HTTP/1.1\r\nHost: localhost\r\n{head}\r\n")).await,
            1 => raw.send(post(&late, &head)).await,
            _ => raw.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n").await,
        }
        if n % 2 == 0 {
            // As the system closes the sockets of a process that was killed with unread bytes.
            raw.stream.set_zero_linger().unwrap();
        }
    }
    // Shutdown waits for connections, here for an hour.
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
}
