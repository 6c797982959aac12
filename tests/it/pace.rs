//! `MCP_RATE_LIMIT`: how many messages a session may send, and what it is told beyond.

use std::time::Duration;

use mcp_echo_stateful::config::RateLimit;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Session, TestServer, initialize, tool_call, within};

const VERSION: &str = "2025-06-18";

/// A server that lets sessions send three messages a second; its clock stands still.
async fn limited() -> TestServer {
    TestServer::frozen(|config| config.rate_limit = Some(RateLimit::per_second(3))).await
}

async fn echo(session: &Session<'_>) -> (StatusCode, HeaderMap, Value) {
    let response = within(session.post(&tool_call("echo", &json!({ "message": "m" }))).send()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, within(response.json()).await.unwrap())
}

#[tokio::test]
async fn a_session_that_sends_too_much_is_told_when_to_come_again_and_nothing_is_done() {
    let server = limited().await;
    // `notifications/initialized` is its first message.
    let session = server.session(VERSION).await;
    for n in 1..=2 {
        assert_eq!(echo(&session).await.2["result"]["structuredContent"]["echoCount"], n);
    }
    let (status, headers, body) = echo(&session).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(headers["ratelimit"], "\"session\";r=0;t=1");
    assert_eq!(headers["ratelimit-policy"], "\"session\";q=3;w=1");
    assert_eq!(headers["mcp-session-id"], session.id.as_str());
    assert_eq!((&body["id"], &body["error"]["code"]), (&json!(1), &json!(-32029)), "{body}");
    assert_eq!(body["error"]["data"]["retryAfterMs"], 334, "a third of a second, in whole milliseconds: {body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("MCP_RATE_LIMIT"), "{body}");

    server.clock.advance(Duration::from_millis(334));
    assert_eq!(echo(&session).await.2["result"]["structuredContent"]["echoCount"], 3, "what was refused was not done");
    assert_eq!(echo(&session).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn other_sessions_and_what_opens_and_ends_them_have_no_limit() {
    let server = limited().await;
    let (busy, other) = (server.session(VERSION).await, server.session(VERSION).await);
    while echo(&busy).await.0 == StatusCode::OK {}
    assert_eq!(echo(&other).await.0, StatusCode::OK);
    for _ in 0..10 {
        assert_eq!(within(server.post(&initialize(VERSION)).send()).await.unwrap().status(), StatusCode::OK);
    }
    for _ in 0..5 {
        let get = server.request(Method::GET, "/mcp?wait=0").header("accept", "text/event-stream");
        let get = get.header("mcp-session-id", &busy.id);
        assert_eq!(within(get.send()).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(busy.delete().await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_handle_is_held_to_its_sessions_limit() {
    use crate::modern::Modern;
    let server = limited().await;
    let made = Modern::call("echo", json!({ "message": "m" })).facts(&server).await;
    let with = || Modern::call("echo", json!({ "message": "m", "sessionId": made["sessionId"] }));
    for n in 2..=4 {
        assert_eq!(with().facts(&server).await["echoCount"], n);
    }
    let answer = with().id("late").ask(&server).await;
    let error = answer.error(429, -32029, &json!("late"));
    assert!(error["data"]["retryAfterMs"].is_number(), "{error}");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_client_that_does_not_wait_is_told_so() {
    let server = limited().await;
    let session = server.session(VERSION).await;
    for _ in 0..6 {
        echo(&session).await;
    }
    server.clock.advance(Duration::from_secs(2));
    let info = session.text("sessionInfo", json!({})).await;
    assert!(info.contains("ses.retry_too_early"), "{info}");
}
