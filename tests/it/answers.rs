//! How answers travel: as JSON or as a stream, with progress, until they are cancelled; and what every one of them carries.

use mcp_echo_stateful::config::{KeepAliveStyle, Origins, ResponseMode};
use mcp_echo_stateful::session::read;
use mcp_echo_stateful::tools::{Annotations, Call, Handle, NoArguments, Tool, ToolError};
use reqwest::header::HeaderName;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::exchange::{Answer, accepting};
use crate::server::{Event, Events, Session, TestServer, handshake_only, initialize, tool_call, within};

const BOTH: &str = "application/json, text/event-stream";
const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";

/// An echo with id 1 that takes its time, with a progress token if there is one.
fn late_echo(delay_ms: u64, token: Option<Value>) -> Value {
    let mut call = tool_call("echo", &json!({"message": "late", "delayMs": delay_ms}));
    if let Some(token) = token {
        call["params"]["_meta"] = json!({"progressToken": token});
    }
    call
}

/// Sends a POST and opens the stream that answers it.
async fn stream_of(request: RequestBuilder) -> Events {
    Events::of(within(request.send()).await.unwrap())
}

async fn echo_count(session: &Session<'_>) -> u64 {
    let text = session.text("sessionInfo", json!({})).await;
    text.lines().find_map(|line| line.strip_prefix("- Echo Count: ")).unwrap().parse().unwrap()
}

fn cancellation(id: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id.into(), "reason": "test"}})
}

#[tokio::test]
async fn the_form_of_an_answer_is_what_the_client_accepts_and_the_call_needs() {
    let with_progress = || late_echo(1, Some(json!(1)));
    let at_once = || tool_call("echo", &json!({"message": "m"}));
    let cases = [
        (ResponseMode::Auto, BOTH, JSON, JSON, SSE),
        (ResponseMode::Auto, "text/event-stream, application/json", JSON, JSON, SSE),
        (ResponseMode::Auto, "*/*", JSON, JSON, SSE),
        (ResponseMode::Auto, JSON, JSON, JSON, JSON),
        (ResponseMode::Auto, SSE, SSE, SSE, SSE),
        (ResponseMode::Json, BOTH, JSON, JSON, JSON),
        (ResponseMode::Json, SSE, SSE, SSE, SSE),
        (ResponseMode::Sse, BOTH, SSE, SSE, SSE),
        (ResponseMode::Sse, JSON, JSON, JSON, JSON),
    ];
    for (mode, accept, quick, late, progress) in cases {
        let server = TestServer::with(|config| config.response = mode).await;
        let session = server.session_with("2025-11-25", |request| accepting(request, JSON)).await;
        for (body, form) in [(at_once(), quick), (late_echo(1, None), late), (with_progress(), progress)] {
            let answer = Answer::to(accepting(session.post(&body), accept)).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(form)), "{mode:?} {accept} {body}");
        }
        let answer = Answer::to(accepting(server.post(&initialize("2025-11-25")), accept)).await;
        assert_eq!(answer.header("content-type"), Some(quick), "{mode:?} {accept}");
        let answer = Answer::to(accepting(session.post(&tool_call("nope", &json!({}))), accept)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(quick)), "errors too");
    }
}

/// Works only for clients that declare sampling.
static DEMANDING: [Tool; 1] = [Tool {
    name: "demanding",
    title: "Demanding",
    description: "Needs a capability",
    input_schema: || json!({"type": "object", "properties": {}, "additionalProperties": false}),
    output_schema: || Value::Null,
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[],
    call: |raw| Call::of(raw, |_, _, _: &NoArguments| Err(ToolError::CapabilityRequired(json!({"sampling": {}})))),
}];

#[tokio::test]
async fn an_error_that_has_a_status_keeps_it_where_answers_are_streams() {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let server = TestServer::with_tools(&DEMANDING, |config| config.response = mode).await;
        // With the level, the line about the finished call would go before the answer.
        for level in [None, Some("info")] {
            let mut call = tool_call("demanding", &json!({}));
            call["params"]["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            if let Some(level) = level {
                call["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = level.into();
            }
            let request = server.post(&call).header("mcp-protocol-version", "2026-07-28");
            let request = request.header("mcp-method", "tools/call").header("mcp-name", "demanding");
            let error = Answer::to(request).await.error(400, -32021, &call["id"]);
            assert_eq!(error["data"]["requiredCapabilities"], json!({"sampling": {}}), "{mode:?} {level:?}");
        }
    }
}

#[tokio::test]
async fn initialize_can_be_answered_by_a_stream_with_nothing_else_in_it() {
    let server = TestServer::with(|config| config.response = ResponseMode::Sse).await;
    let response = within(server.post(&initialize("2025-11-25")).send()).await.unwrap();
    assert!(response.headers().contains_key("mcp-session-id"));
    let events = Events::of(response).rest().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].json()["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn the_first_byte_of_a_stream_leaves_at_once() {
    for mode in [ResponseMode::Sse, ResponseMode::Auto] {
        let server = TestServer::with(|config| config.response = mode).await;
        let session = server.session_with("2025-11-25", |request| accepting(request, JSON)).await;
        let mut quiet = stream_of(accepting(session.post(&late_echo(60_000, None)), SSE)).await;
        assert!(quiet.next().await.unwrap().comment.is_some());
        let mut telling = stream_of(session.post(&late_echo(60_000, Some(json!("t"))))).await;
        assert!(telling.next().await.is_some());
    }
}

#[tokio::test]
async fn a_stream_cannot_be_cached_nor_held_back() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    let streams = [
        accepting(session.post(&tool_call("echo", &json!({"message": "m"}))), SSE),
        accepting(server.post(&initialize("2025-11-25")), SSE),
        session.post(&late_echo(1, Some(json!(1)))),
        accepting(server.request(Method::GET, "/mcp?wait=0").header("mcp-session-id", &session.id), SSE),
    ];
    for request in streams {
        let answer = Answer::to(request).await;
        assert_eq!(answer.header("content-type"), Some(SSE));
        assert_eq!(answer.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    }
}

#[tokio::test]
async fn an_event_is_a_message_on_one_data_line_and_has_no_id() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    let mut call = tool_call("echo", &json!({"message": "two\nlines\r\nand\u{2028}more"}));
    call["id"] = json!("with\nbreak");
    let answer = Answer::to(accepting(session.post(&call), SSE)).await;
    let lines: Vec<_> = answer.text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "event: message");
    let message: Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(message["id"], "with\nbreak");
    assert!(message["result"]["content"][0]["text"].as_str().unwrap().starts_with("two\nlines\r\nand\u{2028}more\n\n"));
}

#[tokio::test]
async fn progress_grows_and_comes_before_the_answer_under_the_callers_token() {
    let server = TestServer::start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let session = server.session(version).await;
        for token in [json!("a token"), json!(7), json!(0)] {
            let mut events = stream_of(session.post(&late_echo(20, Some(token.clone())))).await.rest().await;
            assert!(events.iter().all(|event| event.name.as_deref() == Some("message") && event.id.is_none()));
            let answer = events.pop().unwrap().json();
            assert_eq!(answer["id"], 1);
            assert!(answer["result"]["content"][0]["text"].as_str().unwrap().starts_with("late\n\n"), "{answer}");
            assert!(!events.is_empty());
            let mut last = -1.0;
            for note in events.iter().map(Event::json) {
                assert_eq!(note["method"], "notifications/progress");
                assert!(note.get("id").is_none());
                assert_eq!(note["params"]["progressToken"], token);
                assert_eq!(note["params"]["total"], 20);
                assert_eq!(note["params"].get("message").is_some(), version > "2024-11-05", "{version}: {note}");
                let progress = note["params"]["progress"].as_f64().unwrap();
                assert!(progress > last && progress <= 20.0, "{note} after {last}");
                last = progress;
            }
        }
    }
}

#[tokio::test]
async fn progress_comes_about_every_second() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let events = stream_of(session.post(&late_echo(1100, Some(json!(1))))).await.rest().await;
    let progress: Vec<_> = events.iter().filter_map(|event| event.json()["params"]["progress"].as_u64()).collect();
    assert_eq!(progress, [0, 1000, 1100]);
}

#[tokio::test]
async fn without_a_token_there_is_no_progress() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    for token in [None, Some(Value::Null), Some(json!({})), Some(json!([1])), Some(json!(true))] {
        let request = accepting(session.post(&late_echo(5, token.clone())), SSE);
        let events = stream_of(request).await.rest().await;
        assert_eq!(events.len(), 1, "{token:?}: {events:?}");
    }
    let answer = Answer::to(accepting(session.post(&late_echo(5, Some(json!(1)))), JSON)).await;
    assert_eq!(answer.json()["id"], 1, "a client that accepts only JSON gets the answer alone");
}

#[tokio::test]
async fn a_cancelled_call_says_nothing_more_and_is_not_done() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for id in [json!(1), json!("one")] {
        let mut call = late_echo(60_000, None);
        call["id"] = id.clone();
        let mut events = stream_of(accepting(session.post(&call), SSE)).await;
        assert!(events.next().await.unwrap().comment.is_some(), "it runs");
        let answer = Answer::to(session.post(&cancellation(id))).await;
        assert_eq!((answer.status, &*answer.text), (202, ""));
        assert_eq!(events.rest().await, []);
    }
    let mut events = stream_of(session.post(&late_echo(60_000, Some(json!("token"))))).await;
    assert_eq!(events.message().await.unwrap().json()["method"], "notifications/progress");
    Answer::to(session.post(&cancellation(1))).await;
    assert_eq!(events.rest().await, [], "no more progress either");
    assert_eq!(echo_count(&session).await, 0);
}

#[tokio::test]
async fn a_call_is_counted_when_it_begins_also_when_it_is_cancelled() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let tool_calls = async || {
        let info = session.call("sessionInfo", json!({})).await;
        info["structuredContent"]["session"]["toolCalls"].as_u64().unwrap()
    };
    let mut events = stream_of(session.post(&late_echo(60_000, Some(json!("token"))))).await;
    assert!(events.message().await.is_some(), "it runs");
    assert_eq!(tool_calls().await, 2);
    Answer::to(session.post(&cancellation(1))).await;
    assert_eq!(events.rest().await, []);
    assert_eq!(tool_calls().await, 3);
    Answer::to(accepting(session.post(&late_echo(1, None)), JSON)).await;
    assert_eq!(tool_calls().await, 5, "once");
}

#[tokio::test]
async fn a_cancelled_call_of_a_batch_is_left_out_of_its_answer() {
    let server = TestServer::start().await;
    let session = server.session("2025-03-26").await;
    let mut queue = session.stream().await;
    let mut quick = tool_call("whoIStheGOAT", &json!({}));
    quick["id"] = json!(2);
    let batch = session.post(&json!([late_echo(60_000, None), quick]));
    let answer = tokio::spawn(Answer::to(accepting(batch, JSON)));
    // The second call's log line: by then the first one waits.
    assert_eq!(queue.message().await.unwrap().json()["params"]["logger"], "tools.whoIStheGOAT");
    Answer::to(session.post(&cancellation(1))).await;
    let answers = within(answer).await.unwrap().json();
    assert_eq!(answers.as_array().unwrap().len(), 1, "{answers}");
    assert_eq!(answers[0]["id"], 2);
    assert_eq!(echo_count(&session).await, 0);
}

#[tokio::test]
async fn a_cancellation_concerns_its_own_sessions_call_of_just_that_id() {
    let server = TestServer::start().await;
    let (session, other) = (server.session("2025-06-18").await, server.session("2025-06-18").await);
    let mut events = stream_of(accepting(session.post(&late_echo(300, None)), SSE)).await;
    assert!(events.next().await.unwrap().comment.is_some(), "it runs");
    for harmless in [
        other.post(&cancellation(1)),
        server.post(&cancellation(1)),
        session.post(&cancellation("1")),
        session.post(&cancellation(2)),
        session.post(&cancellation(Value::Null)),
        session.post(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled"})),
    ] {
        assert_eq!(Answer::to(harmless).await.status, 202);
    }
    assert_eq!(events.rest().await.pop().unwrap().json()["id"], 1);
    assert_eq!(Answer::to(session.post(&cancellation(1))).await.status, 202, "too late is no mistake");
    assert_eq!(echo_count(&session).await, 1);
}

#[tokio::test]
async fn a_client_that_goes_away_has_not_cancelled() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let mut queue = session.stream().await;
    let mut events = stream_of(accepting(session.post(&late_echo(200, None)), SSE)).await;
    assert!(events.next().await.unwrap().comment.is_some(), "it runs");
    drop(events);
    let line = queue.message().await.unwrap().json();
    assert_eq!(line["params"]["logger"], "tools.echo");
    assert_eq!(line["params"]["data"]["isError"], false);
    assert_eq!(echo_count(&session).await, 1);
}

#[tokio::test]
async fn a_stream_that_waits_is_kept_alive_by_comments() {
    for style in [KeepAliveStyle::Event, KeepAliveStyle::Comment] {
        let server = TestServer::with(|config| {
            config.sse_keepalive_interval = std::time::Duration::from_millis(10);
            config.sse_keepalive_style = style;
        })
        .await;
        let session = server.session("2025-11-25").await;
        let mut events = stream_of(accepting(session.post(&late_echo(60_000, None)), SSE)).await;
        for _ in 0..4 {
            let event = events.next().await.unwrap();
            assert!(event.comment.is_some() && event.name.is_none() && event.data.is_none(), "{event:?}");
        }
    }
}

/// A request of every kind of answer that there is, in a session: status and request.
fn all_kinds(session: &Session<'_>) -> Vec<(u16, RequestBuilder)> {
    let server = session.server;
    let dead = "00000000-0000-4000-8000-000000000000";
    vec![
        (200, server.post(&initialize("2025-06-18"))),
        (200, session.post(&tool_call("echo", &json!({"message": "m"})))),
        (200, accepting(session.post(&late_echo(1, None)), SSE)),
        (200, session.post(&tool_call("nope", &json!({})))),
        (202, session.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))),
        (200, accepting(server.request(Method::GET, "/mcp?wait=0").header("mcp-session-id", &session.id), SSE)),
        (400, server.request(Method::GET, "/mcp")),
        (400, server.post(&json!([]))),
        (403, server.post(&json!({})).header("origin", "https://evil.example")),
        (404, server.post(&tool_call("echo", &json!({}))).header("mcp-session-id", dead)),
        (404, server.request(Method::GET, "/nothing/here")),
        (405, server.request(Method::PUT, "/mcp")),
        (406, accepting(server.post(&json!({})), "text/html")),
        (415, server.request(Method::POST, "/mcp")),
        (204, server.request(Method::OPTIONS, "/mcp")),
        (200, server.request(Method::GET, "/healthz")),
    ]
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let mut seen = std::collections::HashSet::new();
    for (status, request) in all_kinds(&session) {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let id = answer.header("x-request-id").unwrap().to_owned();
        let hex = id.strip_prefix("req_").unwrap_or_else(|| panic!("{id}"));
        assert!(hex.len() == 12 && hex.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{id}");
        assert!(seen.insert(id), "no id comes twice");
    }
    for (_, request) in all_kinds(&session) {
        let answer = Answer::to(request.header("x-request-id", "trace-42.A_b:c")).await;
        assert_eq!(answer.header("x-request-id"), Some("trace-42.A_b:c"), "a caller's own is taken");
    }
}

#[tokio::test]
async fn a_request_id_that_is_not_sane_is_replaced() {
    let server = TestServer::start().await;
    let long = "x".repeat(1000);
    for id in ["", "two words", "<script>", "a\tb", "a,b;c", &long] {
        let answer = Answer::to(server.request(Method::GET, "/healthz").header("x-request-id", id)).await;
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"), "{id:?}: {answer:?}");
    }
}

#[tokio::test]
async fn every_answer_says_how_long_it_took() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for (_, request) in all_kinds(&session) {
        let answer = Answer::to(request).await;
        let timing = answer.header("server-timing").unwrap();
        let ms: f64 = timing.strip_prefix("app;dur=").unwrap().parse().unwrap();
        assert!((0.0..20_000.0).contains(&ms), "{timing}");
    }
}

#[tokio::test]
async fn an_answer_names_the_session_that_it_comes_from() {
    let server = TestServer::start().await;
    let session = server.session("2025-03-26").await;
    let delete = server.request(Method::DELETE, "/mcp").header("mcp-session-id", &session.id);
    let involved = [
        session.post(&tool_call("echo", &json!({"message": "m"}))),
        session.post(&tool_call("nope", &json!({}))),
        session.post(&json!([tool_call("echo", &json!({"message": "m"}))])),
        session.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
        accepting(session.post(&late_echo(1, None)), SSE),
        accepting(server.request(Method::GET, "/mcp?wait=0").header("mcp-session-id", &session.id), SSE),
        delete,
    ];
    for request in involved {
        let answer = Answer::to(request).await;
        assert_eq!(answer.header("mcp-session-id"), Some(&*session.id), "{answer:?}");
    }
    let uninvolved = [
        server.post(&tool_call("echo", &json!({"message": "m"}))),
        server.request(Method::GET, "/healthz").header("mcp-session-id", &session.id),
        session.post(&tool_call("echo", &json!({"message": "m"}))),
    ];
    for request in uninvolved {
        assert!(Answer::to(request).await.header("mcp-session-id").is_none(), "no session, or a dead one");
    }
}

#[tokio::test]
async fn session_ids_are_random_uuids_of_the_servers_own() {
    let server = TestServer::start().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let session = server.session("2025-06-18").await;
        let id: uuid::Uuid = session.id.parse().unwrap();
        assert_eq!((id.get_version_num(), id.to_string() == session.id), (4, true), "{id}");
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn the_endpoint_is_the_same_with_and_without_a_slash() {
    let server = TestServer::start().await;
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for path in ["/mcp", "/mcp/"] {
        let url = server.url(path);
        let answer = Answer::to(client.post(&url).header("accept", BOTH).json(&initialize("2025-06-18"))).await;
        assert_eq!(answer.status, 200, "{path}");
        let id = answer.header("mcp-session-id").unwrap();
        let get = client.get(format!("{url}?wait=0")).header("accept", SSE).header("mcp-session-id", id);
        assert_eq!(Answer::to(get).await.status, 200, "{path}");
        let options = Answer::to(client.request(Method::OPTIONS, &url)).await;
        assert_eq!((options.status, options.header("allow").is_some()), (204, true), "{path}");
        assert_eq!(Answer::to(client.delete(&url).header("mcp-session-id", id)).await.status, 204, "{path}");
    }
}

#[tokio::test]
async fn options_names_the_methods() {
    for host in ["127.0.0.1", "0.0.0.0"] {
        let server = TestServer::bound(host, |_| {}).await;
        let answer = Answer::to(server.request(Method::OPTIONS, "/mcp")).await;
        assert_eq!((answer.status, &*answer.text), (204, ""));
        assert_eq!(answer.header("allow"), Some("GET, POST, DELETE, OPTIONS"));
    }
}

#[tokio::test]
async fn the_health_probe_needs_nothing_and_creates_nothing() {
    let server = TestServer::with(|config| config.require_session = true).await;
    for request in [
        server.request(Method::GET, "/healthz"),
        server.request(Method::GET, "/healthz").header("accept", "text/html"),
        server.request(Method::GET, "/healthz?probe=1").header("mcp-protocol-version", "nonsense"),
    ] {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["status"], "ok");
    }
    let stats = read(&server.sessions).stats();
    assert_eq!((stats.active, stats.created), (0, 0));
}

#[tokio::test]
async fn ids_come_back_to_the_letter() {
    let server = TestServer::with(handshake_only).await;
    let session = server.session("2025-06-18").await;
    let ids = [
        "0",
        "-1",
        "1.0",
        "1e3",
        "9007199254740993",
        "123456789012345678901234567890",
        r#""""#,
        r#""1""#,
        r#""\u0061\/b""#,
        "\"ünï💥\"",
    ];
    for id in ids {
        for (method, status, word) in
            [("ping", 200, "result"), ("no/such", 200, "error"), ("server/discover", 404, "error")]
        {
            let body = format!(r#"{{"method":"{method}","id": {id} ,"jsonrpc":"2.0"}}"#);
            for accept in [JSON, SSE] {
                if method == "server/discover" && accept == SSE {
                    continue;
                }
                let request = accepting(session.post(&Value::Null), accept).body(body.clone());
                let answer = Answer::to(request).await;
                assert_eq!(answer.status, status, "{answer:?}");
                let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"{word}":"#);
                assert!(answer.text.contains(&expected), "{id}: {}", answer.text);
            }
        }
    }
}

const INSPECTOR: &str = "http://localhost:6274";

fn preflight(server: &TestServer, origin: &str) -> RequestBuilder {
    server
        .request(Method::OPTIONS, "/mcp")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,mcp-session-id,mcp-protocol-version,authorization")
}

fn list(answer: &Answer, name: &str) -> Vec<String> {
    let value = answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    value.split(',').map(|item| item.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn a_local_page_passes_its_preflight() {
    let server = TestServer::start().await;
    let answer = Answer::to(preflight(&server, INSPECTOR)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(INSPECTOR)));
    assert_eq!(answer.header("allow"), Some("GET, POST, DELETE, OPTIONS"));
    for method in ["post", "get", "delete"] {
        assert!(list(&answer, "access-control-allow-methods").iter().any(|allowed| allowed == method));
    }
    let headers = list(&answer, "access-control-allow-headers");
    for name in ["content-type", "accept", "authorization", "mcp-session-id", "mcp-protocol-version", "last-event-id"] {
        assert!(headers.iter().any(|allowed| allowed == name), "{name} is not in {headers:?}");
    }
    assert!(list(&answer, "vary").contains(&"origin".to_owned()));
    assert!(answer.header("access-control-allow-credentials").is_none());
}

#[tokio::test]
async fn a_local_page_can_read_answers_and_errors() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for (status, request) in all_kinds(&session) {
        if status == 403 {
            continue;
        }
        let answer = Answer::to(request.header("origin", INSPECTOR)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(INSPECTOR), "{answer:?}");
        if status == 204 {
            continue;
        }
        let exposed = list(&answer, "access-control-expose-headers");
        for name in ["mcp-session-id", "www-authenticate"] {
            assert!(exposed.iter().any(|header| header == name), "{name} is not in {exposed:?}");
        }
    }
}

fn cors_headers(answer: &Answer) -> Vec<&str> {
    answer.headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("access-control-")).collect()
}

#[tokio::test]
async fn a_script_finds_the_session_in_exactly_one_header() {
    let server = TestServer::start().await;
    let answer = Answer::to(server.post(&initialize("2025-06-18"))).await;
    let dump = format!("{:?}", answer.headers).to_lowercase();
    assert_eq!(dump.matches("mcp-session-id").count(), 1, "{dump}");
    let session = server.session("2025-06-18").await;
    for (_, request) in all_kinds(&session) {
        let answer = Answer::to(request).await;
        assert_eq!(cors_headers(&answer), [""; 0], "a request without Origin is not a page's: {answer:?}");
    }
}

#[tokio::test]
async fn a_foreign_page_gets_no_cors_headers() {
    let server = TestServer::with(|config| config.allowed_origins = Origins::Any).await;
    let foreign = "https://evil.example";
    for request in [preflight(&server, foreign), server.post(&initialize("2025-06-18")).header("origin", foreign)] {
        let answer = Answer::to(request).await;
        assert!(answer.status < 300, "{answer:?}");
        assert_eq!(cors_headers(&answer), [""; 0]);
    }
    let closed = TestServer::start().await;
    assert_eq!(Answer::to(preflight(&closed, foreign)).await.status, 403);
}

#[tokio::test]
async fn bound_to_all_addresses_cors_is_left_to_the_proxy() {
    let server = TestServer::bound("0.0.0.0", |_| {}).await;
    for request in [preflight(&server, INSPECTOR), server.post(&initialize("2025-06-18")).header("origin", INSPECTOR)] {
        let answer = Answer::to(request).await;
        assert!(answer.status < 300, "{answer:?}");
        assert_eq!(cors_headers(&answer), [""; 0]);
    }
}

#[tokio::test]
async fn cors_is_for_the_origins_that_are_named() {
    let app = "https://app.example";
    let server = TestServer::bound("0.0.0.0", |config| {
        config.allowed_origins = Origins::Any;
        config.cors_origins = Some(Origins::Only(vec![app.to_owned()]));
    })
    .await;
    for (origin, allowed) in [(app, true), ("https://other.example", false), (INSPECTOR, false)] {
        let expected = allowed.then_some(origin);
        assert_eq!(Answer::to(preflight(&server, origin)).await.header("access-control-allow-origin"), expected);
        let request = server.post(&initialize("2025-06-18")).header("origin", origin);
        assert_eq!(Answer::to(request).await.header("access-control-allow-origin"), expected);
    }
    let open = TestServer::bound("0.0.0.0", |config| {
        config.allowed_origins = Origins::Any;
        config.cors_origins = Some(Origins::Any);
    })
    .await;
    let answer = Answer::to(preflight(&open, app)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
}

#[tokio::test]
async fn cors_analysis_counts_preflights_and_shows_nobodys_words() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let before = session.call("corsAnalysis", json!({})).await;
    assert_eq!(before["structuredContent"]["preflightsSeen"], 0);
    assert!(
        before["content"][0]["text"].as_str().unwrap().contains("- Preflights that came here from this client: none.")
    );
    // An OPTIONS that is no preflight is not taken for one.
    within(server.request(Method::OPTIONS, "/mcp").send()).await.unwrap();
    let preflight = server
        .request(Method::OPTIONS, "/mcp")
        .header("origin", "http://somebody.example:6274")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,mcp-session-id,x-words-of-somebody");
    within(preflight.send()).await.unwrap();
    let after = session.call("corsAnalysis", json!({})).await;
    assert_eq!(after["structuredContent"]["preflightsSeen"], 1);
    assert!(!after.to_string().contains("somebody"), "{after}");
}
