//! Two eras on one endpoint: each request belongs to one of them, and neither disturbs the other.

use mcp_echo_stateful::config::{Command, Config};
use mcp_echo_stateful::healthcheck;
use mcp_echo_stateful::protocol::{Revision, Served};
use mcp_echo_stateful::session::read;
use reqwest::Method;
use serde_json::{Value, json};

use crate::exchange::{Answer, assert_says, data_alone};
use crate::modern::{CAPABILITIES, MODERN, Modern, VERSION};
use crate::server::{TestServer, handshake_only, initialize, tool_call, within};

const HANDSHAKE: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

fn stateless_only(config: &mut Config) {
    config.protocol = Served::new(&[Revision::V2026_07_28], None).unwrap();
}

fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
}

#[tokio::test]
async fn a_session_that_was_initialized_keeps_its_revision_whatever_comes_later() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let session = server.session(version).await;
        let before = Answer::to(session.post(&list())).await.text;
        let stateless = [
            Modern::new("tools/list", json!({})),
            Modern::new("server/discover", json!({})),
            Modern::call("echo", json!({"message": "m"})),
            Modern::call("echo", json!({"message": "m", "sessionId": session.id})),
        ];
        for request in stateless {
            request.header("mcp-session-id", &session.id).result(&server).await;
        }
        let refused = session.post(&list()).header("mcp-protocol-version", MODERN);
        assert_says(&Answer::to(refused).await.error(400, -32602, &json!(1)), &["_meta"]);
        for header in HANDSHAKE.into_iter().chain([version, ""]) {
            let answer = Answer::to(session.post(&list()).header("mcp-protocol-version", header)).await;
            assert_eq!(answer.header("mcp-session-id"), Some(&*session.id));
            assert_eq!(answer.text, before, "{version} with {header}");
        }
        let info = session.call("sessionInfo", json!({})).await;
        let text = info["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(&format!("- Protocol Version: {version}")), "{text}");
        assert!(info.get("resultType").is_none());
    }
}

#[tokio::test]
async fn meta_that_names_a_revision_with_a_handshake_is_not_held_against_a_client() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for version in HANDSHAKE {
        let mut body = list();
        body["params"] = json!({"_meta": {VERSION: version, CAPABILITIES: {}}});
        let result = Answer::to(session.post(&body)).await.result();
        assert!(result.get("resultType").is_none(), "{result}");
        let mixed = Answer::to(server.post(&body).header("mcp-protocol-version", MODERN)).await;
        assert_says(&mixed.error(400, -32020, &json!(1)), &["MCP-Protocol-Version", MODERN, version]);
    }
}

#[tokio::test]
async fn clients_of_both_eras_are_served_side_by_side() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let mut queue = session.stream().await;
    let slow = Modern::call("echo", json!({"message": "new", "delayMs": 100})).meta("progressToken", "t");
    let mut modern = slow.stream(&server).await;
    assert_eq!(modern.message().await.unwrap().json()["params"]["progressToken"], "t");
    let old = session.call("echo", json!({"message": "old"})).await;
    assert_eq!(old["structuredContent"], json!({"message": "old", "sessionId": session.id, "echoCount": 1}));
    // A cancellation of the one era with the id of the other's call.
    let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    assert_eq!(Answer::to(session.post(&note)).await.status, 202);
    let answer = modern.rest().await.pop().unwrap().json();
    assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["message"]), (&json!(1), &json!("new")));
    assert_eq!(queue.message().await.unwrap().json()["params"]["logger"], "tools.echo");
    assert_eq!(session.delete().await, 204);
    assert_eq!(queue.rest().await, [], "of the other's call it was not told");
}

#[tokio::test]
async fn a_server_of_the_stateless_era_alone_tells_older_clients_what_it_speaks() {
    let server = TestServer::with(stateless_only).await;
    let supported = json!([MODERN]);
    for version in HANDSHAKE.into_iter().chain([MODERN, "nonsense"]) {
        let answer = Answer::to(server.post(&initialize(version))).await;
        let error = answer.error(400, -32022, &json!(0));
        assert_eq!(data_alone(&error), json!({"supported": supported, "requested": version}));
        assert_says(&error, &[MODERN]);
        assert!(answer.header("mcp-session-id").is_none());
    }
    for version in HANDSHAKE {
        let answer = Answer::to(server.post(&list()).header("mcp-protocol-version", version)).await;
        assert_eq!(answer.error(400, -32022, &json!(1))["data"]["requested"], version);
        let named = Modern::new("tools/list", json!({})).meta(VERSION, version);
        assert_eq!(named.ask(&server).await.error(400, -32022, &json!(1))["data"]["supported"], supported);
    }
    Answer::to(server.post(&list())).await.error(400, -32602, &json!(1));
    for method in [Method::GET, Method::DELETE] {
        for id in [None, Some("00000000-0000-4000-8000-000000000000")] {
            let request = server.request(method.clone(), "/mcp").header("accept", "text/event-stream");
            let request = if let Some(id) = id { request.header("mcp-session-id", id) } else { request };
            let answer = Answer::to(request).await;
            answer.error(405, -32600, &Value::Null);
            assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
        }
    }
    Answer::to(server.post(&json!([list()]))).await.error(400, -32600, &Value::Null);
    Answer::to(server.post(&json!({"jsonrpc": "2.0", "id": 1, "result": {}}))).await.error(400, -32600, &Value::Null);
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(Answer::to(server.post(&note)).await.status, 202);
    assert_eq!(read(&server.sessions).stats().created, 0);

    let discovered = Modern::new("server/discover", json!({})).result(&server).await;
    assert_eq!(discovered["supportedVersions"], supported);
    let handle = Modern::call("echo", json!({"message": "m"})).facts(&server).await["sessionId"].take();
    let again = Modern::call("replayLastEcho", json!({"sessionId": handle})).facts(&server).await;
    assert_eq!(again["message"], "m");
}

#[tokio::test]
async fn a_server_of_the_handshake_era_alone_has_nothing_of_the_other() {
    let server = TestServer::with(handshake_only).await;
    let session = server.session("2025-03-26").await;
    for request in [
        Modern::new("tools/list", json!({})),
        Modern::call("echo", json!({"message": "m"})),
        Modern::new("subscriptions/listen", json!({"notifications": {}})),
    ] {
        let error = request.header("mcp-session-id", &session.id).ask(&server).await.error(400, -32022, &json!(1));
        assert_eq!(error["data"]["requested"], MODERN);
        assert_eq!(error["data"]["supported"], json!(["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]));
    }
    Modern::new("server/discover", json!({})).ask(&server).await.error(404, -32601, &json!(1));
    for request in [
        session.request(Method::GET),
        session.request(Method::DELETE),
        session.post(&json!([list()])),
        session.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
        session.post(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})),
    ] {
        Answer::to(request.header("mcp-protocol-version", MODERN)).await.error(400, -32022, &Value::Null);
    }
    let listen = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {"notifications": {}}});
    Answer::to(session.post(&listen)).await.error(200, -32601, &json!(1));
    let echo = session.post(&tool_call("echo", &json!({"message": "m"})));
    assert!(Answer::to(echo).await.result().to_string().contains("Echo count in session: 1"), "it lives on");
}

#[tokio::test]
async fn the_versions_served_are_a_setting() {
    let served = |versions: &str| match Config::load(
        ["server", "--protocol-versions", versions],
        std::iter::empty::<(&str, &str)>(),
    ) {
        Ok(Command::Serve(config)) => config.protocol,
        other => panic!("{other:?}"),
    };
    let cases = [("2026-07-28", vec![MODERN]), ("2025-06-18, 2026-07-28", vec![MODERN, "2025-06-18"])];
    for (setting, expected) in cases {
        let server = TestServer::with(|config| config.protocol = served(setting)).await;
        let discovered = Modern::new("server/discover", json!({})).result(&server).await;
        assert_eq!(discovered["supportedVersions"], json!(expected), "{setting}");
    }
    let no_handshake = Config::load(["server"], [("MCP_PROTOCOL_VERSION", MODERN)]).unwrap_err();
    assert!(no_handshake.mistakes[0].contains("MCP_PROTOCOL_VERSION"), "{no_handshake}");
}

#[tokio::test]
async fn the_health_check_passes_whatever_versions_are_served() {
    for revisions in [&Revision::ALL[..], &[Revision::V2025_11_25], &[Revision::V2024_11_05], &[Revision::V2026_07_28]]
    {
        let server = TestServer::with(|config| config.protocol = Served::new(revisions, None).unwrap()).await;
        let said = within(healthcheck::run(&server.url("/mcp"))).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(said.starts_with("healthy: "), "{said}");
        assert_eq!(read(&server.sessions).stats().active, 0);
    }
}
