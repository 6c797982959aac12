//! Several replicas: sessions live in one of them, and the others say so.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, in_memory, tool_call, within};

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

#[tokio::test]
async fn every_answer_names_the_instance_and_health_probe_does_too() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let mut names = BTreeSet::new();
    for request in [
        session.post(&ping()),
        server.post(&json!("nonsense")),
        server.request(Method::GET, "/healthz"),
        server.request(Method::GET, "/nowhere"),
        server.request(Method::PUT, "/mcp"),
    ] {
        let response = within(request.send()).await.unwrap();
        names.insert(response.headers()["x-instance-id"].to_str().unwrap().to_owned());
    }
    let name = names.pop_first().unwrap();
    assert!(names.is_empty() && name.len() == 4 && name.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
    let probe = session.call("healthProbe", json!({})).await;
    assert_eq!(probe["structuredContent"]["instance"], name);
    assert!(session.text("healthProbe", json!({})).await.contains(&format!("- Instance: {name}")));
}

/// Two replicas; the second was started before the first made the session.
async fn two() -> (TestServer, TestServer) {
    let (first, second) = (TestServer::frozen(|_| {}).await, TestServer::frozen(|_| {}).await);
    for replica in [&first, &second] {
        replica.clock.advance(std::time::Duration::from_secs(10));
    }
    (first, second)
}

#[tokio::test]
async fn a_session_of_another_replica_is_told_as_such() {
    if !in_memory() {
        return;
    }
    let (first, second) = two().await;
    let session = first.session("2025-06-18").await;
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let request = second.request(method.clone(), "/mcp").header("mcp-session-id", &session.id);
        let request = if method == Method::POST { request.json(&ping()) } else { request };
        let request = request.header("accept", "application/json, text/event-stream");
        let response = within(request.send()).await.unwrap();
        assert_eq!(response.status(), 404, "{method}");
        let here = response.headers()["x-instance-id"].to_str().unwrap().to_owned();
        let body: Value = within(response.json()).await.unwrap();
        let data = &body["error"]["data"];
        assert!(body["error"]["message"].as_str().unwrap().starts_with("Session not found or expired: "));
        assert!(data["hint"].as_str().unwrap().starts_with("another instance of this server"), "{body}");
        assert_eq!(data["instance"], here);
        assert_ne!(data["madeByInstance"], here);
        assert_eq!(data["findings"][0]["id"], "ses.other_replica");
    }
    assert!(session.text("echo", json!({"message": "still there"})).await.contains("still there"));
    let probe = second.session("2025-06-18").await.call("healthProbe", json!({})).await;
    let raised = &probe["structuredContent"]["findingsRaised"];
    assert!(raised.as_array().unwrap().contains(&json!({"id": "ses.other_replica", "count": 3})), "{raised}");
}

#[tokio::test]
async fn a_session_from_before_a_restart_may_be_either() {
    if !in_memory() {
        return;
    }
    let before = TestServer::frozen(|_| {}).await;
    let session = before.session("2025-06-18").await;
    let after = TestServer::frozen(|_| {}).await;
    after.clock.advance(std::time::Duration::from_secs(1));
    let request = after.post(&ping()).header("mcp-session-id", &session.id);
    let body: Value = within(within(request.send()).await.unwrap().json()).await.unwrap();
    let hint = body["error"]["data"]["hint"].as_str().unwrap();
    assert!(hint.contains("another replica, or this server before it was restarted"), "{hint}");
}

#[tokio::test]
async fn a_handle_of_another_replica_is_told_as_such() {
    if !in_memory() {
        return;
    }
    let (first, second) = two().await;
    let session = first.session("2025-06-18").await;
    let call = |handle: &str| {
        let mut call = tool_call("echo", &json!({"message": "hello", "sessionId": handle}));
        call["params"]["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        call
    };
    let request = second
        .post(&call(&session.id))
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "echo")
        .header("mcp-param-session", &session.id);
    let body: Value = within(within(request.send()).await.unwrap().json()).await.unwrap();
    let text = body["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("another instance of this server") && text.contains("another replica"), "{body}");
}
