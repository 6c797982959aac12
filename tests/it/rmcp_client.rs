//! A real client: rmcp, as it comes.

#![expect(deprecated, reason = "logging is deprecated in 2026-07-28, and part of the revisions before")]

use mcp_echo_stateful::session::read;
use mcp_echo_stateful::tools::TOOLS;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, LoggingLevel,
    LoggingMessageNotificationParam, PingRequest, ProgressNotificationParam, ProtocolVersion, ServerResult,
    SetLevelRequestParams,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::server::{TestServer, handshake_only, within};

/// Passes on what the server says unasked.
struct Ears {
    logs: mpsc::Sender<LoggingMessageNotificationParam>,
    progress: mpsc::Sender<ProgressNotificationParam>,
}

impl ClientHandler for Ears {
    async fn on_logging_message(&self, params: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        self.logs.send(params).await.unwrap();
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.send(params).await.unwrap();
    }
}

struct Client {
    running: RunningService<RoleClient, Ears>,
    logs: mpsc::Receiver<LoggingMessageNotificationParam>,
    progress: mpsc::Receiver<ProgressNotificationParam>,
}

impl Client {
    async fn connect(server: &TestServer, lifecycle: ClientLifecycleMode) -> Self {
        let (logs_in, logs) = mpsc::channel(100);
        let (progress_in, progress) = mpsc::channel(100);
        let ears = Ears { logs: logs_in, progress: progress_in };
        let transport = StreamableHttpClientTransport::with_client(
            server.http.clone(),
            StreamableHttpClientTransportConfig::with_uri(server.url("/mcp")),
        );
        let running = within(ears.serve_with_lifecycle(transport, lifecycle)).await.unwrap();
        Self { running, logs, progress }
    }

    fn request(tool: &'static str, arguments: &Value) -> CallToolRequestParams {
        CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> CallToolResult {
        within(self.running.call_tool(Self::request(tool, &arguments))).await.unwrap()
    }

    async fn text(&self, tool: &'static str, arguments: Value) -> String {
        self.call(tool, arguments).await.content[0].as_text().unwrap().text.clone()
    }

    async fn log(&mut self) -> LoggingMessageNotificationParam {
        within(self.logs.recv()).await.unwrap()
    }
}

#[tokio::test]
async fn rmcp_connects_works_and_leaves_nothing_behind() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, ClientLifecycleMode::Initialize).await;
    let info = client.running.peer_info().unwrap();
    // It asks for 2026-07-28, which is never negotiated.
    assert_eq!(info.protocol_version, ProtocolVersion::V_2025_11_25);
    assert_eq!(info.server_info.as_ref().unwrap().name, "mcp-echo-streamablehttp-server-stateful");
    assert!(info.capabilities.logging.is_some() && info.capabilities.tools.is_some());

    let tools = within(client.running.list_all_tools()).await.unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(&names[..2], ["echo", "replayLastEcho"]);
    assert!(tools.iter().all(|tool| tool.output_schema.is_some() && tool.annotations.is_some()));

    let text = client.text("echo", json!({"message": "hello"})).await;
    assert!(text.starts_with("hello\n\nSession: ") && text.ends_with("Echo count in session: 1"), "{text}");
    assert!(client.text("replayLastEcho", json!({})).await.contains("hello"));
    let bad = client.call("echo", json!({"message": 5})).await;
    assert_eq!(bad.is_error, Some(true), "a model sees what was wrong with its arguments");

    // Each finished call is told of on the client's GET stream.
    for (tool, is_error) in [("echo", false), ("replayLastEcho", false), ("echo", true)] {
        let log = client.log().await;
        assert_eq!((log.level, log.logger), (LoggingLevel::Info, Some(format!("tools.{tool}"))));
        assert_eq!((&log.data["tool"], &log.data["isError"]), (&json!(tool), &json!(is_error)));
    }

    let ping = ClientRequest::PingRequest(PingRequest::default());
    let pong = within(client.running.send_request(ping)).await.unwrap();
    assert!(matches!(pong, ServerResult::EmptyResult(_)), "{pong:?}");

    assert_eq!(read(&server.sessions).stats().active, 1);
    within(client.running.close()).await.unwrap();
    let stats = read(&server.sessions).stats();
    assert_eq!((stats.active, stats.deleted), (0, 1));
}

#[tokio::test]
async fn rmcp_hears_what_its_level_lets_through() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, ClientLifecycleMode::Initialize).await;
    within(client.running.set_level(SetLevelRequestParams::new(LoggingLevel::Error))).await.unwrap();
    client.call("echo", json!({"message": "unheard"})).await;
    within(client.running.set_level(SetLevelRequestParams::new(LoggingLevel::Info))).await.unwrap();
    client.call("healthProbe", json!({})).await;
    assert_eq!(client.log().await.data["tool"], "healthProbe");
}

#[tokio::test]
async fn rmcp_hears_how_far_a_call_is() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, ClientLifecycleMode::Initialize).await;
    let text = client.text("echo", json!({"message": "late", "delayMs": 1100})).await;
    assert!(text.starts_with("late"), "{text}");
    let mut progress = Vec::new();
    while progress.last() != Some(&1100.0) {
        let step = within(client.progress.recv()).await.unwrap();
        assert_eq!(step.total, Some(1100.0));
        progress.push(step.progress);
    }
    assert_eq!(progress, [0.0, 1000.0, 1100.0]);
}

#[tokio::test]
async fn rmcp_can_cancel_a_call() {
    // Longer than the test may take: shutdown ends in time only if the call was really cancelled.
    let grace = std::time::Duration::from_secs(600);
    let server = TestServer::with(|config| config.shutdown_grace = grace).await;
    let mut client = Client::connect(&server, ClientLifecycleMode::Initialize).await;
    let params = Client::request("echo", &json!({"message": "never", "delayMs": 60_000}));
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    let options = PeerRequestOptions::no_options();
    let handle = within(client.running.send_cancellable_request(request, options)).await.unwrap();
    within(client.progress.recv()).await.unwrap();
    within(handle.cancel(Some("changed my mind".to_owned()))).await.unwrap();
    let text = client.text("echo", json!({"message": "after"})).await;
    assert!(text.ends_with("Echo count in session: 1"), "{text}");
    within(client.running.close()).await.unwrap();
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn rmcp_that_discovers_first_falls_back_to_initialize() {
    let server = TestServer::with(handshake_only).await;
    let mut client = Client::connect(&server, auto()).await;
    assert_eq!(client.running.peer_info().unwrap().protocol_version, ProtocolVersion::V_2025_11_25);
    client.call("echo", json!({"message": "x"})).await;
    assert_eq!(client.log().await.data["tool"], "echo");
    let stats = read(&server.sessions).stats();
    assert_eq!((stats.active, stats.created), (1, 1), "the discovery made none");
    within(client.running.close()).await.unwrap();
    assert_eq!(read(&server.sessions).stats().active, 0);
}

/// Asks `server/discover` first.
fn auto() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto { preferred_versions: vec![ProtocolVersion::V_2026_07_28], legacy_version: None }
}

#[tokio::test]
async fn rmcp_that_discovers_first_keeps_its_state_by_handle() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, auto()).await;
    assert_eq!(client.running.peer_info().unwrap().protocol_version, ProtocolVersion::V_2026_07_28);
    let tools = within(client.running.list_all_tools()).await.unwrap();
    assert_eq!(tools.len(), TOOLS.len(), "it left none out for a wrong annotation");
    let echo = client.call("echo", json!({"message": "hello"})).await;
    let handle = echo.structured_content.as_ref().unwrap()["sessionId"].as_str().unwrap().to_owned();
    let again = client.text("echo", json!({"message": "again", "sessionId": handle})).await;
    assert!(again.ends_with("Echo count in session: 2"), "{again}");
    assert!(client.text("replayLastEcho", json!({"sessionId": handle})).await.contains("again"));
    assert_eq!(session_of(&client.call("sessionInfo", json!({"sessionId": handle})).await), handle);
    let lost = client.call("replayLastEcho", json!({"sessionId": "lost"})).await;
    assert_eq!(lost.is_error, Some(true), "a model sees that its handle leads nowhere");
    within(client.running.close()).await.unwrap();
    let stats = read(&server.sessions).stats();
    assert_eq!((stats.created, stats.in_flight), (1, 0));
}

#[tokio::test]
async fn rmcp_cancels_by_closing_the_stream() {
    let server = TestServer::with(|config| config.shutdown_grace = std::time::Duration::from_secs(600)).await;
    let mut client = Client::connect(&server, auto()).await;
    let params = Client::request("echo", &json!({"message": "never", "delayMs": 60_000}));
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    let handle =
        within(client.running.send_cancellable_request(request, PeerRequestOptions::no_options())).await.unwrap();
    within(client.progress.recv()).await.unwrap();
    within(handle.cancel(None)).await.unwrap();
    client.call("healthProbe", json!({})).await;
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
    assert_eq!(read(&server.sessions).stats().created, 0, "the echo never came to make one");
}

#[tokio::test]
async fn rmcp_begins_again_when_its_session_is_gone() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, ClientLifecycleMode::Initialize).await;
    client.call("echo", json!({"message": "before"})).await;
    let first = session_of(&client.call("sessionInfo", json!({})).await);
    let delete = server.request(reqwest::Method::DELETE, "/mcp").header("mcp-session-id", &first);
    assert_eq!(within(delete.send()).await.unwrap().status(), reqwest::StatusCode::NO_CONTENT);
    let info = client.call("sessionInfo", json!({})).await;
    assert_ne!(session_of(&info), first);
    within(client.running.close()).await.unwrap();
    assert_eq!(read(&server.sessions).stats().active, 0);
}

fn session_of(result: &CallToolResult) -> String {
    result.structured_content.as_ref().unwrap()["session"]["sessionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn many_rmcp_clients_keep_to_themselves() {
    let server = TestServer::start().await;
    let clients = (0..8).map(|n| {
        let server = &server;
        async move {
            let mut client = Client::connect(server, ClientLifecycleMode::Initialize).await;
            for count in 1..=5 {
                let text = client.text("echo", json!({"message": format!("{n}-{count}")})).await;
                assert!(text.starts_with(&format!("{n}-{count}\n")) && text.ends_with(&format!(": {count}")), "{text}");
                assert_eq!(client.log().await.data["tool"], "echo");
            }
            within(client.running.close()).await.unwrap();
        }
    });
    futures_util::future::join_all(clients).await;
    let stats = read(&server.sessions).stats();
    assert_eq!((stats.active, stats.deleted), (0, 8));
}

#[tokio::test]
async fn rmcp_passes_strict_mode() {
    for (lifecycle, deleted) in [(ClientLifecycleMode::Initialize, 1), (auto(), 0)] {
        let server = TestServer::with(|config| config.strict = true).await;
        let mut client = Client::connect(&server, lifecycle).await;
        within(client.running.list_all_tools()).await.unwrap();
        assert!(client.text("echo", json!({"message": "hello"})).await.starts_with("hello"));
        within(client.running.close()).await.unwrap();
        assert_eq!(read(&server.sessions).stats().deleted, deleted);
    }
}
