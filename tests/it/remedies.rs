//! `error.message` alone says what to do: clients show nothing else.

use reqwest::Method;
use serde_json::{Value, json};

use crate::exchange::{Answer, assert_says};
use crate::modern::Modern;
use crate::server::{TestServer, initialize, tool_call};

#[tokio::test]
async fn a_method_that_must_be_answered_needs_an_id_and_the_refusal_says_so() {
    let server = TestServer::start().await;
    for method in ["initialize", "ping", "tools/list", "tools/call", "logging/setLevel", "server/discover"] {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": {} });
        let answer = Answer::to(server.post(&message)).await;
        let error = answer.error(400, -32600, &Value::Null);
        assert_says(&error, &[method, "\"id\"", "notification", "add"]);
        assert!(answer.header("mcp-session-id").is_none(), "{method} without an id does nothing");
    }
}

#[tokio::test]
async fn in_a_batch_only_the_message_without_its_id_is_refused() {
    let server = TestServer::start().await;
    let session = server.session("2025-03-26").await;
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "ping" },
        { "jsonrpc": "2.0", "method": "ping" },
        { "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } },
    ]);
    let answers = Answer::to(session.post(&batch)).await.json();
    assert_eq!(answers.as_array().unwrap().len(), 2, "{answers}");
    assert_eq!(answers[0]["result"], json!({}));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&Value::Null, &json!(-32600)));
    assert_says(&answers[1]["error"], &["ping", "\"id\""]);
}

#[tokio::test]
async fn notifications_that_nobody_knows_are_taken_without_an_id() {
    let server = TestServer::start().await;
    let message = json!({ "jsonrpc": "2.0", "method": "notifications/made_up" });
    assert_eq!(Answer::to(server.post(&message)).await.status, 202);
}

#[tokio::test]
async fn every_error_message_says_what_to_do() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let ask = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let in_session = [
        (ask("resources/list", json!({})), &["this server answers", "tools/call"][..]),
        (ask("tools/call", json!({ "name": "eco" })), &["did you mean echo?", "replayLastEcho", "whoIStheGOAT"]),
        (ask("tools/call", json!({})), &["\"name\" must be the name of a tool", "printHeader"]),
        (tool_call("echo", &json!({ "mesage": "x" })), &["`message` is required", "`mesage` is unknown"]),
        (ask("tools/list", json!({ "cursor": "x" })), &["leave it out"]),
        (ask("logging/setLevel", json!({ "level": "loud" })), &["must be one of", "debug", "emergency"]),
    ];
    for (message, words) in in_session {
        let answer = Answer::to(session.post(&message)).await.json();
        assert_says(&answer["error"], words);
    }
    let without_session = [
        (
            tool_call("replayLastEcho", &json!({})),
            &["Session required for replay functionality", "POST initialize"][..],
        ),
        (ask("logging/setLevel", json!({ "level": "info" })), &["Session required", "POST initialize"]),
        (ask("initialize", json!({})), &["`protocolVersion` is required", "`capabilities` is required"]),
    ];
    for (message, words) in without_session {
        let answer = Answer::to(server.post(&message)).await.json();
        assert_says(&answer["error"], words);
    }
    let get = server.request(Method::GET, "/mcp").header("accept", "text/event-stream");
    assert_says(&Answer::to(get).await.json()["error"], &["Mcp-Session-Id", "POST initialize"]);
    assert_says(&Answer::to(server.request(Method::DELETE, "/mcp")).await.json()["error"], &["Mcp-Session-Id"]);
    assert_says(&Answer::to(server.request(Method::PUT, "/mcp")).await.json()["error"], &["POST", "GET", "DELETE"]);
    let again = Answer::to(session.post(&initialize("2025-06-18"))).await.json();
    assert_says(&again["error"], &["already initialized", "leave Mcp-Session-Id out"]);
}

#[tokio::test]
async fn without_a_handle_the_stateless_era_says_how_to_get_one() {
    let server = TestServer::start().await;
    let result = Modern::call("replayLastEcho", json!({})).result(&server).await;
    let shown = result["content"][0]["text"].as_str().unwrap();
    assert!(shown.starts_with("Session required for replay functionality"), "{shown}");
    assert!(shown.contains("call echo without sessionId"), "{shown}");
}
