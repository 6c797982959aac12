//! `MCP_ECHO_STRICT=true`: what breaks a MUST is refused by name, and who keeps the rules notices nothing.

use mcp_echo_stateful::protocol::Revision;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::exchange::{Answer, accepting, assert_says};
use crate::modern::Modern;
use crate::server::{Events, Session, TestServer, initialize, tool_call, within};

async fn strict() -> TestServer {
    TestServer::with(|config| config.strict = true).await
}

/// `request` with `MCP-Protocol-Version`.
fn versioned(request: RequestBuilder, version: &str) -> RequestBuilder {
    request.headers(HeaderMap::from_iter([(HeaderName::from_static("mcp-protocol-version"), version.parse().unwrap())]))
}

/// A session whose client has kept all rules so far.
async fn session<'a>(server: &'a TestServer, version: &str) -> Session<'a> {
    let response = within(server.post(&initialize(version)).send()).await.unwrap();
    let session = Session { server, id: response.headers()["mcp-session-id"].to_str().unwrap().to_owned() };
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(Answer::to(versioned(session.post(&ready), version)).await.status, 202);
    session
}

fn echo() -> Value {
    tool_call("echo", &json!({"message": "x"}))
}

/// The refusal of a POST with id 1.
fn refused(answer: &Answer, status: u16, id: &Value, rule: &str, section: &str) {
    let error = answer.error(status, -32600, id);
    assert_says(&error, &[rule, section, "MCP_ECHO_STRICT"]);
    assert_eq!(error["data"]["rule"], rule);
    assert!(error["data"]["section"].as_str().unwrap().contains(section), "{error}");
    assert_eq!(error["data"]["findings"][0]["id"], rule);
}

#[tokio::test]
async fn accept_must_list_both_types_on_post_and_the_stream_on_get() {
    let server = strict().await;
    let rule = "http.accept_incomplete";
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let session = session(&server, version).await;
        for accept in ["application/json", "text/event-stream", "*/*", "application/*, text/event-stream"] {
            let answer = Answer::to(accepting(versioned(session.post(&echo()), version), accept)).await;
            refused(&answer, 406, &json!(1), rule, "Sending Messages to the Server");
            assert_eq!(answer.header("mcp-session-id"), Some(session.id.as_str()));
        }
        let get = accepting(versioned(session.request(Method::GET), version), "*/*");
        refused(&Answer::to(get).await, 406, &Value::Null, rule, "Listening for Messages from the Server");
        let first = accepting(server.post(&initialize(version)), "application/json");
        refused(&Answer::to(first).await, 406, &json!(0), rule, version);
        let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}});
        let note = accepting(versioned(session.post(&note), version), "application/json");
        refused(&Answer::to(note).await, 406, &Value::Null, rule, version);
    }
    let modern = Modern::call("echo", json!({"message": "x"})).accept("application/json");
    refused(&modern.ask(&server).await, 406, &json!(1), rule, "MCP 2026-07-28 basic/transports/streamable-http");
}

#[tokio::test]
async fn the_version_header_must_be_there_and_be_the_negotiated_one() {
    let server = strict().await;
    for version in ["2025-06-18", "2025-11-25"] {
        let session = session(&server, version).await;
        let section = "Protocol Version Header";
        let post = Answer::to(session.post(&echo())).await;
        refused(&post, 400, &json!(1), "http.version_header_missing", section);
        for method in [Method::GET, Method::DELETE] {
            let answer = Answer::to(session.request(method)).await;
            refused(&answer, 400, &Value::Null, "http.version_header_missing", section);
        }
        let other = Answer::to(versioned(session.post(&echo()), "2025-03-26")).await;
        refused(&other, 400, &json!(1), "http.version_header_mismatch", section);
        assert_eq!(Answer::to(versioned(session.request(Method::DELETE), version)).await.status, 204);
    }
}

#[tokio::test]
async fn requests_must_wait_for_initialized() {
    let server = strict().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let response = within(server.post(&initialize(version)).send()).await.unwrap();
        let id = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let session = Session { server: &server, id };
        let answer = Answer::to(versioned(session.post(&echo()), version)).await;
        refused(&answer, 400, &json!(1), "ses.initialized_never_sent", "basic/lifecycle");
        let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
        Answer::to(versioned(session.post(&ping), version)).await.result();
        // Clients open the stream while the notification is under way.
        let get = versioned(session.request(Method::GET), version).send();
        assert_eq!(within(get).await.unwrap().status(), 200);
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(Answer::to(versioned(session.post(&ready), version)).await.status, 202);
        Answer::to(versioned(session.post(&echo()), version)).await.result();
    }
}

#[tokio::test]
async fn in_a_batch_the_notification_counts_from_where_it_stands() {
    let server = strict().await;
    let response = within(server.post(&initialize("2025-03-26")).send()).await.unwrap();
    let session = Session { server: &server, id: response.headers()["mcp-session-id"].to_str().unwrap().to_owned() };
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let early = Answer::to(session.post(&json!([echo(), ready]))).await;
    refused(&early, 400, &Value::Null, "ses.initialized_never_sent", "basic/lifecycle");
    assert_eq!(Answer::to(session.post(&json!([ready, echo()]))).await.status, 200);
}

#[tokio::test]
async fn authorization_must_come_with_every_request_of_a_session_that_began_with_it() {
    let server = strict().await;
    let version = "2025-06-18";
    let with = |request: RequestBuilder| versioned(request, version).header("authorization", "Bearer opaque");
    let session = server.session_with(version, with).await;
    let rule = "ses.auth_missing_on_some";
    let post = Answer::to(versioned(session.post(&echo()), version)).await;
    refused(&post, 400, &json!(1), rule, "basic/authorization, Access Token Usage");
    for method in [Method::GET, Method::DELETE] {
        let answer = Answer::to(versioned(session.request(method), version)).await;
        refused(&answer, 400, &Value::Null, rule, "basic/authorization");
    }
    Answer::to(with(session.post(&echo()))).await.result();
    assert_eq!(Answer::to(with(session.request(Method::DELETE))).await.status, 204);
}

#[tokio::test]
async fn an_initialize_that_is_refused_is_not_the_one_its_session_began_with() {
    let server = strict().await;
    let version = "2025-06-18";
    let session = session(&server, version).await;
    let again = versioned(session.post(&initialize(version)), version).header("authorization", "Bearer opaque");
    assert_says(&Answer::to(again).await.error(400, -32600, &json!(0)), &["already"]);
    Answer::to(versioned(session.post(&echo()), version)).await.result();
}

#[tokio::test]
async fn an_id_at_work_must_not_be_used_again() {
    let server = strict().await;
    let version = "2025-11-25";
    let session = session(&server, version).await;
    let late = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "echo", "arguments": {"message": "late", "delayMs": 60_000}, "_meta": {"progressToken": "p"},
    }});
    let mut events = Events::of(within(versioned(session.post(&late), version).send()).await.unwrap());
    assert!(events.message().await.is_some());
    let answer = Answer::to(versioned(session.post(&echo()), version)).await;
    refused(&answer, 400, &json!(1), "ses.id_reused", "basic, Requests");
}

#[tokio::test]
async fn every_request_but_initialize_and_ping_must_name_its_session() {
    let server = strict().await;
    let answer = Answer::to(server.post(&echo())).await;
    refused(&answer, 400, &json!(1), "http.session_header_missing", "Session Management");
    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
    Answer::to(server.post(&ping)).await.result();
}

#[tokio::test]
async fn who_keeps_the_rules_of_a_revision_notices_nothing() {
    let server = strict().await;
    for revision in Revision::ALL.into_iter().filter(|revision| !revision.is_stateless()) {
        let version = revision.name();
        let session = session(&server, version).await;
        let dress = |request| if version >= "2025-06-18" { versioned(request, version) } else { request };
        let list = json!({"jsonrpc": "2.0", "id": "list", "method": "tools/list"});
        Answer::to(dress(session.post(&list))).await.result();
        Answer::to(dress(session.post(&echo()))).await.result();
        assert_eq!(within(dress(session.request(Method::GET)).send()).await.unwrap().status(), 200);
        let delete = accepting(dress(session.request(Method::DELETE)), "*/*");
        assert_eq!(Answer::to(delete).await.status, 204);
    }
    let modern = Modern::call("echo", json!({"message": "x"}));
    modern.ask(&server).await.result();
}

#[tokio::test]
async fn nothing_of_this_is_refused_without_strict_mode() {
    let server = TestServer::start().await;
    let response = within(server.post(&initialize("2025-11-25")).send()).await.unwrap();
    let session = Session { server: &server, id: response.headers()["mcp-session-id"].to_str().unwrap().to_owned() };
    Answer::to(accepting(session.post(&echo()), "application/json")).await.result();
    Answer::to(server.post(&echo())).await.result();
}
