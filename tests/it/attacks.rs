//! Attacks that got through once, each at the size that it was tried with, and what happens now.

use std::time::Duration;

use mcp_echo_stateful::session::{Stats, read};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::exchange::{Answer, assert_says};
use crate::modern::{Modern, base64};
use crate::raw::{Raw, post};
use crate::server::{TestServer, initialize, tool_call, within};

const VERSION: &str = "2025-06-18";

fn stats(server: &TestServer) -> Stats {
    read(&server.sessions).stats()
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

#[tokio::test]
async fn a_body_in_another_transfer_coding_than_chunked_is_not_read_as_if_it_were() {
    let server = TestServer::start().await;
    let body = ping().to_string();
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (coding, status) in [
        ("gzip, chunked", 501),
        ("identity, chunked", 501),
        ("chunked, chunked", 501),
        ("chunked\r\nTransfer-Encoding: chunked", 501),
        ("CHUNKED", 200),
    ] {
        let mut raw = Raw::to(server.address).await;
        let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        raw.send(format!("{head}Transfer-Encoding: {coding}\r\n\r\n{chunk}")).await;
        let answer = within(raw.answer()).await;
        if status == 200 {
            assert_eq!(answer.result(), json!({}), "{coding}");
        } else {
            assert_says(&answer.error(status, -32600, &Value::Null), &["Transfer-Encoding", "chunked"]);
            assert_eq!(answer.header("connection"), Some("close"));
        }
    }
}

#[tokio::test]
async fn a_cancellation_ends_the_call_with_its_id_to_the_last_digit_and_no_other() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    for [runs, other] in [
        ["123456789012345678902", "123456789012345678901"],
        ["18446744073709551617", "18446744073709551616"],
        ["9007199254740993", "9007199254740992"],
    ] {
        let id = format!("Mcp-Session-Id: {}\r\nMCP-Protocol-Version: {VERSION}\r\n", session.id);
        let mut call = Raw::to(server.address).await;
        let text = tool_call("echo", &json!({"message": "late", "delayMs": 1000})).to_string();
        let text = text.replacen("\"id\":1", &format!("\"id\":{runs}"), 1);
        let head = format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{id}");
        call.send(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len())).await;
        let cancel = |id: &str| {
            let text =
                format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
            session.request(reqwest::Method::POST).header("content-type", "application/json").body(text)
        };
        assert_eq!(within(cancel(other).send()).await.unwrap().status(), StatusCode::ACCEPTED);
        let answer = within(call.answer()).await;
        assert!(answer.text.contains(&format!("\"id\":{runs},\"result\"")), "{runs}");
    }
}

#[tokio::test]
async fn a_session_does_not_expire_while_the_body_of_its_request_arrives() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let request = post(&ping(), &format!("Mcp-Session-Id: {}\r\n", session.id));
    let (head, rest) = request.split_at(request.len() - 5);
    let mut raw = Raw::to(server.address).await;
    raw.send(head).await;
    // Until the request is being read.
    while stats(&server).in_flight == 0 {
        tokio::task::yield_now().await;
    }
    server.clock.advance(Duration::from_secs(7200));
    mcp_echo_stateful::session::sweep(&server.sessions);
    raw.send(rest).await;
    assert_eq!(within(raw.answer()).await.result(), json!({}));
}

#[tokio::test]
async fn nobody_keeps_somebody_elses_session_alive_with_a_body_that_drips() {
    let server = TestServer::start().await;
    let session = server.session_with(VERSION, |request| request.header("x-user-id", "alice")).await;
    let request = post(&ping(), &format!("Mcp-Session-Id: {}\r\nX-User-Id: mallory\r\n", session.id));
    let (head, rest) = request.split_at(request.len() - 5);
    let mut raw = Raw::to(server.address).await;
    raw.send(head).await;
    let answer = Answer::to(server.post(&ping())).await;
    assert_eq!(answer.result(), json!({}));
    server.clock.advance(Duration::from_secs(7200));
    mcp_echo_stateful::session::sweep(&server.sessions);
    assert_eq!(stats(&server).active, 0);
    raw.send(rest).await;
    assert_eq!(within(raw.answer()).await.status, 404);
}

/// Milliseconds of `Server-Timing`.
fn took(answer: &Answer) -> f64 {
    answer.header("server-timing").unwrap().strip_prefix("app;dur=").unwrap().parse().unwrap()
}

#[tokio::test]
async fn nothing_tells_somebody_elses_session_from_none() {
    let server = TestServer::start().await;
    let alice = server.session_with(VERSION, |request| request.header("x-user-id", "alice")).await;
    let ended = server.session_with(VERSION, |request| request.header("x-user-id", "alice")).await;
    let end = ended.request(reqwest::Method::DELETE).header("x-user-id", "alice");
    assert_eq!(within(end.send()).await.unwrap().status(), StatusCode::NO_CONTENT);
    let nobodys = "0b7d6c6e-1111-4222-8333-444455556666";
    let mut told = Vec::new();
    for id in [&*alice.id, &*ended.id, nobodys] {
        let ask = |method| server.request(method, "/mcp").header("x-user-id", "mallory").header("mcp-session-id", id);
        for request in [
            ask(reqwest::Method::POST).json(&ping()),
            ask(reqwest::Method::GET).header("accept", "text/event-stream"),
            ask(reqwest::Method::DELETE),
        ] {
            let answer = Answer::to(request.header("x-request-id", "same")).await;
            assert_eq!(answer.status, 404);
            // Longer than any look-up takes, so that it does not show.
            assert!(took(&answer) >= 1.0, "{}", took(&answer));
            let names: Vec<_> = answer.headers.keys().cloned().collect();
            told.push((names, answer.text.replace(id, "ID")));
        }
        let call = Modern::call("echo", json!({"message": "x", "sessionId": id})).header("x-user-id", "mallory");
        let answer = call.ask(&server).await;
        assert!(took(&answer) >= 1.0, "{}", took(&answer));
        told.push((Vec::new(), answer.text.replace(id, "ID")));
    }
    let (alices, others) = told.split_at(4);
    for other in others.chunks(4) {
        assert_eq!(alices, other);
    }
}

/// What moves a cursor, reorders text or hides in it: C0, C1, line separators, bidi, zero-width, tags.
const HIDDEN: &str =
    "\u{7}\u{1b}[31m\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{2060}\u{61c}\u{ad}\u{e0041}\u{fff9}";

fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            into.push(name.clone());
            texts(value, into);
        }),
        _ => {}
    }
}

fn assert_harmless(what: &str, answer: &Value) {
    let mut found = Vec::new();
    texts(answer, &mut found);
    for text in found {
        let hidden: Vec<char> = HIDDEN.chars().filter(|c| !"[31m".contains(*c) && text.contains(*c)).collect();
        assert!(hidden.is_empty(), "{what}: {hidden:?} in {text:?}");
    }
}

#[tokio::test]
async fn what_a_caller_wrote_moves_no_cursor_and_hides_nothing() {
    let server = TestServer::start().await;
    let mut hello = initialize(VERSION);
    hello["params"]["clientInfo"] = json!({"name": HIDDEN, "version": HIDDEN, "title": HIDDEN});
    let answer = Answer::to(server.post(&hello)).await;
    let id = answer.header("mcp-session-id").unwrap().to_owned();
    let token = {
        let part = |value: Value| base64(value.to_string()).replace('+', "-").replace('/', "_").replace('=', "");
        let claims = json!({"iss": HIDDEN, "sub": HIDDEN, "aud": HIDDEN, "scope": HIDDEN, (HIDDEN): HIDDEN});
        format!("{}.{}.c2ln", part(json!({"alg": "RS256", "kid": HIDDEN})), part(claims))
    };
    // Of a header's value what HTTP takes: neither C0 nor, for reqwest, anything but bytes.
    let header: Vec<u8> = HIDDEN.bytes().filter(|byte| *byte >= 0x20).collect();
    let dressed = |request: reqwest::RequestBuilder| {
        let request = request.header("mcp-session-id", &id).header("mcp-protocol-version", VERSION);
        let names =
            ["x-user-name", "x-forwarded-prefix", "x-forwarded-host", "user-agent", "x-any", "referer", "cookie"];
        names.into_iter().fold(request, |request, name| request.header(name, header.clone()))
    };
    for (tool, arguments) in [
        ("sessionInfo", json!({})),
        ("bearerDecode", json!({"token": token, "resource": format!("https://a/{HIDDEN}"), "issuer": HIDDEN})),
        ("authContext", json!({})),
        ("printHeader", json!({})),
        ("corsAnalysis", json!({"origin": format!("https://a{HIDDEN}")})),
        ("requestTiming", json!({})),
        ("whoIStheGOAT", json!({})),
        (HIDDEN, json!({})),
        ("echo", json!({"message": "x", (HIDDEN): 1})),
        ("echo", json!({"message": "x", "delayMs": HIDDEN})),
    ] {
        let request = dressed(server.post(&tool_call(tool, &arguments)));
        let request = request.header("authorization", format!("Bearer {token}"));
        assert_harmless(tool, &Answer::to(request).await.json());
    }
    for (what, request) in [
        ("a method", server.post(&json!({"jsonrpc": "2.0", "id": 1, "method": HIDDEN}))),
        ("a version", server.post(&ping()).header("mcp-protocol-version", header.clone())),
        ("a session", server.post(&ping()).header("mcp-session-id", header.clone())),
        ("an origin", server.post(&ping()).header("origin", header.clone())),
        ("a type", server.post(&ping()).header("content-type", header.clone())),
        ("no JSON-RPC", server.post(&json!({"jsonrpc": HIDDEN, "id": 1}))),
    ] {
        assert_harmless(what, &Answer::to(request).await.json());
    }
}
