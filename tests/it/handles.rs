//! Handles: how a client without a session of the protocol has one of the server's all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use mcp_echo_stateful::config::SessionBinding;
use mcp_echo_stateful::session::{Stats, read, sweep};
use mcp_echo_stateful::tools::{Annotations, Call, Handle, Ongoing, Outcome, RawArguments, Tool, ToolError};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::exchange::{Answer, assert_says};
use crate::modern::{LOG_LEVEL, MODERN, Modern, base64};
use crate::server::{Events, Session, TestServer, in_values, initialize, tool_call, within};

const HOUR: Duration = Duration::from_secs(3600);
/// A millisecond less.
const ALMOST: Duration = Duration::from_millis(3_599_999);
const MS: Duration = Duration::from_millis(1);
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";
const HANDSHAKE: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

fn echo(message: &str) -> Modern {
    Modern::call("echo", json!({"message": message}))
}

/// A call with a handle.
fn with(tool: &str, handle: &str, mut arguments: Value) -> Modern {
    arguments["sessionId"] = handle.into();
    Modern::call(tool, arguments)
}

fn echo_in(handle: &str, message: &str) -> Modern {
    with("echo", handle, json!({"message": message}))
}

fn info(handle: &str) -> Modern {
    with("sessionInfo", handle, json!({}))
}

fn replay(handle: &str) -> Modern {
    with("replayLastEcho", handle, json!({}))
}

/// Each tool with a handle.
fn every_use(handle: &str) -> [Modern; 3] {
    [echo_in(handle, "m"), replay(handle), info(handle)]
}

/// A new session's handle.
async fn new_handle(server: &TestServer) -> String {
    echo("first").facts(server).await["sessionId"].as_str().unwrap().to_owned()
}

fn stats(server: &TestServer) -> Stats {
    read(&server.sessions).stats()
}

/// The handle leads nowhere, and the answer says why and what to do.
async fn leads_nowhere(server: &TestServer, call: &Modern, why: Option<&str>) {
    let said = call.complaint(server).await;
    let expected = why.map_or_else(|| "not found or expired;".to_owned(), |why| format!("expired (it was {why});"));
    for words in [&*expected, "`sessionId`", "call echo without `sessionId`"] {
        assert!(said.contains(words), "{words:?} is missing in {said:?}");
    }
}

#[tokio::test]
async fn an_echo_without_a_handle_makes_a_session_and_tells_its_id() {
    let server = TestServer::start().await;
    let result = echo("Hello").result(&server).await;
    let handle = result["structuredContent"]["sessionId"].as_str().unwrap();
    assert_eq!(result["content"][0]["text"], format!("Hello\n\nSession: {handle}\nEcho count in session: 1"));
    assert_eq!(result["structuredContent"], json!({"message": "Hello", "sessionId": handle, "echoCount": 1}));
    let id = uuid::Uuid::parse_str(handle).unwrap();
    assert_eq!((id.get_version_num(), id.hyphenated().to_string()), (4, handle.to_owned()));
    assert_ne!(new_handle(&server).await, handle, "each makes one of its own");
    assert_eq!((stats(&server).created, stats(&server).in_flight), (2, 0));
}

#[tokio::test]
async fn a_handle_leads_back_to_what_was_kept() {
    let server = TestServer::start().await;
    let (one, other) = (new_handle(&server).await, new_handle(&server).await);
    let custom = with("echo", &one, json!({"message": "second", "uppercase": true, "customData": {"k": 1, "gone": 2}}));
    let facts = custom.facts(&server).await;
    assert_eq!(facts, json!({"message": "SECOND", "sessionId": one, "echoCount": 2}));
    with("echo", &one, json!({"message": "third", "customData": {"gone": null}})).facts(&server).await;
    for replays in 1..=2 {
        let facts = replay(&one).facts(&server).await;
        let expected =
            json!({"found": true, "message": "third", "echoCount": 3, "replayCount": replays, "sessionId": one});
        assert_eq!(facts, expected);
    }
    assert_eq!(replay(&other).facts(&server).await["message"], "first", "another session is another");

    let result = info(&one).result(&server).await;
    let session = &result["structuredContent"]["session"];
    assert_eq!(session["sessionId"], *one);
    assert_eq!((&session["echoCount"], &session["replayCount"]), (&json!(3), &json!(2)));
    assert_eq!((&session["totalRequests"], &session["toolCalls"]), (&json!(6), &json!(6)));
    assert_eq!((&session["customData"], &session["protocolVersion"]), (&json!({"k": 1}), &json!(MODERN)));
    assert_eq!(session["client"], json!({"name": "modern-client", "version": "2.0"}));
    assert_eq!((&session["initialized"], &session["queue"]["pending"]), (&json!(false), &json!(0)));
    let text = result["content"][0]["text"].as_str().unwrap();
    for line in
        [&*format!("- Session ID: {one}"), "- Initialized: ❌", "no handshake", "- Bound To: nobody, unbound: neither"]
    {
        assert!(text.contains(line), "{line:?} is missing in {text}");
    }
}

#[tokio::test]
async fn without_a_handle_there_is_nothing_to_replay_and_the_way_to_one_is_told() {
    let server = TestServer::start().await;
    for arguments in [json!({}), json!({"sessionId": null})] {
        // A result, in both forms: clients show a model one of them, and of an error only a sentence of their own.
        let result = Modern::call("replayLastEcho", arguments.clone()).result(&server).await;
        assert_eq!(result["isError"], true, "{result}");
        for shown in [&result["content"][0]["text"], &result["structuredContent"]["hint"]] {
            assert!(shown.as_str().unwrap().contains("call echo without sessionId"), "{result}");
        }
        assert!(result["content"][0]["text"].as_str().unwrap().starts_with("Session required for replay"), "{result}");
        let result = Modern::call("sessionInfo", arguments).result(&server).await;
        assert_eq!(result["structuredContent"]["session"], Value::Null);
        assert!(result["content"][0]["text"].as_str().unwrap().contains("call echo without sessionId"), "{result}");
    }
    assert_eq!(stats(&server).created, 0);
}

#[tokio::test]
async fn a_handle_needs_no_header() {
    let server = TestServer::start().await;
    let one = new_handle(&server).await;
    info(&one).without("mcp-param-session").facts(&server).await;
    info(&one).header("mcp-param-session", "of an earlier list").facts(&server).await;
}

#[tokio::test]
async fn where_it_is_asked_for_the_header_repeats_the_handle() {
    let server = TestServer::with(|config| config.handle_header = true).await;
    let (one, other) = (new_handle(&server).await, new_handle(&server).await);
    for call in every_use(&one) {
        let wrong = [
            call.clone().without("mcp-param-session"),
            call.clone().header("mcp-param-session", ""),
            call.clone().header("mcp-param-session", &other),
            call.clone().header("mcp-param-session", one.to_uppercase()),
            call.clone().header("mcp-param-session", base64(&other)),
            call.clone().header("mcp-param-session", "=?base64?x?="),
            call.clone().header("mcp-param-session", &one).header("mcp-param-session", &other),
        ];
        for call in wrong {
            let error = call.id("h").ask(&server).await.error(400, -32020, &json!("h"));
            assert_says(&error, &["Header mismatch", "Mcp-Param-Session"]);
        }
        let error = call.clone().without("mcp-param-session").ask(&server).await.error(400, -32020, &json!(1));
        assert_says(&error, &["browser", "MCP_HANDLE_HEADER"]);
        assert_eq!(error["data"]["findings"][0]["id"], "http.handle_header_missing");
        call.header("mcp-param-session", base64(&one)).facts(&server).await;
    }
    assert_eq!(info(&one).facts(&server).await["session"]["echoCount"], 2, "only what agreed was done");

    // No argument, no header.
    for arguments in [json!({"message": "m"}), json!({"message": "m", "sessionId": null})] {
        let call = Modern::call("echo", arguments).header("mcp-param-session", &one);
        assert_says(&call.ask(&server).await.error(400, -32020, &json!(1)), &["sessionId"]);
    }
    Modern::call("printHeader", json!({}))
        .header("mcp-param-session", "not an argument of this tool")
        .facts(&server)
        .await;
    leads_nowhere(&server, &info("").header("mcp-param-session", ""), None).await;
}

#[tokio::test]
async fn a_handle_that_leads_nowhere_says_so_to_the_model() {
    let server = TestServer::frozen(|config| config.max_sessions = 2).await;
    let handle = new_handle(&server).await;
    let spellings =
        [handle.to_uppercase(), handle.replace('-', ""), format!("urn:uuid:{handle}"), format!(" {handle}")];
    for unknown in spellings.iter().map(String::as_str).chain([UNKNOWN, "x", "../../etc/passwd", "💥"]) {
        for call in every_use(unknown) {
            leads_nowhere(&server, &call, None).await;
        }
    }
    assert_eq!(stats(&server).created, 1, "an unknown handle makes no session");

    server.clock.advance(MS);
    let deleted = new_handle(&server).await;
    assert_eq!(Session { server: &server, id: deleted.clone() }.delete().await, 204);
    server.clock.advance(MS);
    let expired = new_handle(&server).await;
    server.clock.advance(MS);
    new_handle(&server).await;
    for call in every_use(&handle) {
        leads_nowhere(&server, &call, Some("evicted")).await;
    }
    for call in every_use(&deleted) {
        leads_nowhere(&server, &call, Some("deleted")).await;
    }
    info(&expired).facts(&server).await;
    server.clock.advance(ALMOST);
    info(&expired).facts(&server).await;
    server.clock.advance(HOUR);
    for _ in ["before the sweep", "after it"] {
        for call in every_use(&expired) {
            leads_nowhere(&server, &call, Some("expired")).await;
        }
        sweep(&server.sessions);
    }
    assert_eq!(stats(&server).active, 0);
}

#[tokio::test]
async fn someone_elses_handle_looks_like_one_that_never_was() {
    let server = TestServer::start().await;
    let as_user = |call: Modern, user: Option<&str>| user.map_or(call.clone(), |user| call.header("x-user-id", user));
    let made = as_user(echo("mine"), Some("alice")).facts(&server).await;
    let handle = made["sessionId"].as_str().unwrap();
    for user in [Some("bob"), None] {
        for (call, unknown) in every_use(handle).into_iter().zip(every_use(UNKNOWN)) {
            let (theirs, nobodys) = (as_user(call, user).ask(&server).await, as_user(unknown, user).ask(&server).await);
            assert_eq!((theirs.status, &theirs.text), (nobodys.status, &nobodys.text));
            assert_eq!(theirs.result()["isError"], true);
        }
        let session = Session { server: &server, id: handle.to_owned() };
        for method in [Method::GET, Method::DELETE] {
            let request = session.request(method);
            let request = if let Some(user) = user { request.header("x-user-id", user) } else { request };
            Answer::to(request).await.error(404, -32603, &Value::Null);
        }
    }
    let facts = as_user(info(handle), Some("alice")).facts(&server).await;
    let session = &facts["session"];
    assert_eq!((&session["boundTo"]["id"], &session["echoCount"]), (&json!("alice"), &json!(1)));
    assert_eq!(session["intrusions"]["otherIdentity"], 5);
    assert_eq!(session["intrusions"]["withoutIdentity"], 5);
    let delete = Session { server: &server, id: handle.to_owned() }.request(Method::DELETE);
    assert_eq!(Answer::to(delete.header("x-user-id", "alice")).await.status, 204);
    leads_nowhere(&server, &as_user(info(handle), Some("bob")), None).await;
    leads_nowhere(&server, &as_user(info(handle), Some("alice")), Some("deleted")).await;
}

#[tokio::test]
async fn with_binding_off_anybody_who_knows_the_handle_has_the_session() {
    let server = TestServer::with(|config| config.session_binding = SessionBinding::Off).await;
    let made = echo("m").header("x-user-id", "alice").facts(&server).await;
    let handle = made["sessionId"].as_str().unwrap();
    assert_eq!(replay(handle).header("x-user-id", "bob").facts(&server).await["message"], "m");
    assert_eq!(replay(handle).facts(&server).await["replayCount"], 2);
}

#[tokio::test]
async fn a_session_of_the_handshake_era_is_a_handle_here() {
    let server = TestServer::start().await;
    let alice = |request: RequestBuilder| request.header("x-user-id", "alice");
    for version in HANDSHAKE {
        let session = server.session_with(version, alice).await;
        let said = Answer::to(alice(session.post(&tool_call("echo", &json!({"message": "then"}))))).await.result();
        assert!(said.to_string().contains("Echo count in session: 1"), "{said}");
        let facts = replay(&session.id).header("x-user-id", "alice").facts(&server).await;
        assert_eq!((&facts["message"], &facts["echoCount"]), (&json!("then"), &json!(1)));
        assert_eq!(echo_in(&session.id, "now").header("x-user-id", "alice").facts(&server).await["echoCount"], 2);
        let facts = info(&session.id).header("x-user-id", "alice").facts(&server).await;
        assert_eq!(
            (&facts["session"]["protocolVersion"], &facts["session"]["clientReady"]),
            (&json!(version), &json!(true))
        );
        let back = Answer::to(alice(session.post(&tool_call("replayLastEcho", &json!({}))))).await.result();
        assert!(back["content"][0]["text"].as_str().unwrap().contains("now"), "{back}");
        leads_nowhere(&server, &replay(&session.id).header("x-user-id", "bob"), None).await;
        leads_nowhere(&server, &replay(&session.id), None).await;
    }
}

#[tokio::test]
async fn a_handle_is_a_session_of_the_handshake_era() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let handle = new_handle(&server).await;
        let session = Session { server: &server, id: handle.clone() };
        let post = |body: &Value| session.post(body).header("mcp-protocol-version", version);
        let answer = Answer::to(post(&tool_call("replayLastEcho", &json!({})))).await;
        assert_eq!(answer.header("mcp-session-id"), Some(&*handle));
        let result = answer.result();
        assert!(result["content"][0]["text"].as_str().unwrap().contains("first"), "{result}");
        assert!(result.get("resultType").is_none() && result.get("_meta").is_none(), "{version}: {result}");
        assert_eq!(result.get("structuredContent").is_some(), version >= "2025-06-18", "{version}");
        let bad = Answer::to(post(&tool_call("echo", &json!({})))).await.json();
        assert_eq!(bad["result"]["isError"] == true, version >= "2025-11-25", "{version}: {bad}");
        let batch = Answer::to(post(&json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]))).await;
        assert_eq!(batch.status, if version < "2025-06-18" { 200 } else { 400 }, "{version}");

        // Its stream: opened as the header's revision has it; it tells of the calls of the handshake era.
        let request = session.request(Method::GET).header("mcp-protocol-version", version);
        let mut stream = Events::of(within(request.send()).await.unwrap());
        let opening = stream.next().await.unwrap();
        assert_eq!(opening.retry.is_some(), version >= "2025-11-25", "{version}: {opening:?}");
        assert_eq!(stream.message().await.unwrap().json()["params"]["logger"], "tools.replayLastEcho");
        assert_eq!(info(&handle).facts(&server).await["session"]["openStreams"], 1);
        let again = Answer::to(session.post(&initialize(version))).await;
        assert_says(&again.error(400, -32600, &json!(0)), &["already"]);
        let delete = session.request(Method::DELETE).header("mcp-protocol-version", version);
        assert_eq!(Answer::to(delete).await.status, 204);
        assert!(stream.rest().await.iter().all(|event| event.json()["params"]["logger"] == "tools.echo"));
        leads_nowhere(&server, &info(&handle), Some("deleted")).await;
    }
}

/// Says that it is at work, and is so until a permit comes.
async fn wait_for(gate: &'static Semaphore, call: &Ongoing<'_>) -> Result<Outcome, ToolError> {
    call.context.progress(0, 1, "at work");
    gate.acquire().await.unwrap().forget();
    Ok(Outcome::new("done".to_owned(), json!({})))
}

static TO_DELETED: Semaphore = Semaphore::const_new(0);
static TO_IDLE: Semaphore = Semaphore::const_new(0);

const fn gated(name: &'static str, call: fn(&RawArguments<'_>) -> Result<Call, ToolError>) -> Tool {
    Tool {
        name,
        title: "Waits",
        description: "Waits.",
        input_schema: || json!({"type": "object", "properties": {}, "additionalProperties": false}),
        output_schema: || json!({"type": "object"}),
        annotations: Annotations::READ_ONLY,
        handle: Handle::Reads,
        findings: &[],
        call,
    }
}

const GATED: &[Tool] = &[
    gated("until-deleted", |given| Call::streaming(given, |call| wait_for(&TO_DELETED, call).boxed())),
    gated("until-idle", |given| Call::streaming(given, |call| wait_for(&TO_IDLE, call).boxed())),
];

/// A call of a tool that waits: it is at work when this returns.
async fn at_work(server: &TestServer, tool: &str, handle: &str) -> Events {
    let mut stream = with(tool, handle, json!({})).meta("progressToken", 1).stream(server).await;
    assert_eq!(stream.message().await.unwrap().json()["method"], "notifications/progress");
    stream
}

#[tokio::test]
async fn a_call_whose_session_is_deleted_under_it_says_so() {
    let server = TestServer::with_tools(GATED, |_| {}).await;
    let session = server.session("2025-06-18").await;
    let stream = at_work(&server, "until-deleted", &session.id).await;
    assert_eq!(session.delete().await, 204);
    TO_DELETED.add_permits(1);
    let result = stream.rest().await.pop().unwrap().json()["result"].take();
    assert_eq!(result["isError"], true, "{result}");
    assert!(result["content"][0]["text"].as_str().unwrap().contains("it was deleted"), "{result}");
    assert_eq!((stats(&server).active, stats(&server).in_flight), (0, 0));
}

#[tokio::test]
async fn at_the_bound_the_longest_idle_session_gives_way() {
    let server = TestServer::frozen(|config| config.max_sessions = 3).await;
    let first = new_handle(&server).await;
    server.clock.advance(MS);
    let second = server.session("2025-06-18").await;
    server.clock.advance(MS);
    let third = new_handle(&server).await;
    server.clock.advance(MS);
    replay(&first).facts(&server).await;
    let fourth = new_handle(&server).await;
    leads_nowhere(&server, &info(&second.id), Some("evicted")).await;
    for alive in [first, third, fourth] {
        info(&alive).facts(&server).await;
    }
    assert_eq!((stats(&server).active, stats(&server).evicted), (3, 1));
}

#[tokio::test]
async fn when_every_session_is_at_work_a_new_one_must_wait() {
    if in_values() {
        return;
    }
    let server = TestServer::with(|config| config.max_sessions = 1).await;
    let handle = new_handle(&server).await;
    let late = with("echo", &handle, json!({"message": "late", "delayMs": 60_000})).meta("progressToken", 1);
    let mut busy = late.stream(&server).await;
    busy.message().await.unwrap();
    let forms = [echo("m"), echo("m").accept("application/json"), echo("m").accept("text/event-stream")];
    for call in forms.into_iter().chain([echo("m").meta(LOG_LEVEL, "debug")]) {
        let answer = call.id("full").ask(&server).await;
        assert_says(&answer.error(503, -32603, &json!("full")), &["session", "MCP_MAX_SESSIONS"]);
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    }
    assert_eq!((stats(&server).created, stats(&server).refused), (1, 4));
    assert_eq!(echo_in(&handle, "m").facts(&server).await["echoCount"], 2, "who has a session goes on");
    Modern::call("healthProbe", json!({})).facts(&server).await;
}

#[tokio::test]
async fn a_refused_echo_leaves_no_session_behind() {
    let server = TestServer::start().await;
    let big = json!({"message": "m", "customData": {"k": "x".repeat(17_000)}});
    for arguments in [json!({}), json!({"message": 5}), json!({"message": "m", "delayMs": -1}), big] {
        Modern::call("echo", arguments).complaint(&server).await;
    }
    let long = Modern::call("echo", json!({"message": "x".repeat(1024 * 1024 + 1)}));
    assert!(long.complaint(&server).await.contains("`message`"));
    echo("m").without("mcp-name").ask(&server).await.error(400, -32020, &json!(1));
    assert_eq!((stats(&server).created, stats(&server).storage_bytes), (0, 0));

    let handle = new_handle(&server).await;
    let big = with("echo", &handle, json!({"message": "m", "customData": {"k": "x".repeat(17_000)}}));
    assert!(big.complaint(&server).await.contains("`customData`"));
    assert_eq!(replay(&handle).facts(&server).await["message"], "first", "nothing of it was done");
}

#[tokio::test]
async fn a_call_in_flight_keeps_its_session_alive() {
    let server = TestServer::with_tools(GATED, |_| {}).await;
    let session = server.session("2025-06-18").await;
    let stream = at_work(&server, "until-idle", &session.id).await;
    server.clock.advance(50 * HOUR);
    assert_eq!(sweep(&server.sessions), 0);
    TO_IDLE.add_permits(1);
    assert_eq!(stream.rest().await.pop().unwrap().json()["result"]["isError"], false);
    server.clock.advance(HOUR / 2);
    assert_eq!(sweep(&server.sessions), 0, "idle since the call ended");
    server.clock.advance(HOUR / 2);
    assert_eq!(sweep(&server.sessions), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_ids_in_64_sessions_at_once_never_meet() {
    const ECHOES: u64 = 50;
    let server = TestServer::start().await;
    let handles = join_all((0..64).map(|_| new_handle(&server))).await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let all = handles.iter().enumerate().map(|(n, handle)| {
        let (http, server) = (&http, &server);
        let echoes = (0..ECHOES).map(move |i| {
            let message = format!("{n}-{i}");
            let call = echo_in(handle, &message);
            let request = http.post(server.url("/mcp")).headers(call.all_headers()).json(&call.body);
            async move {
                let answer: Value = request.send().await.unwrap().json().await.unwrap();
                let facts = &answer["result"]["structuredContent"];
                assert_eq!((&answer["id"], &facts["message"]), (&json!(1), &json!(message)), "{answer}");
                assert_eq!(facts["sessionId"], **handle);
                facts["echoCount"].as_u64().unwrap()
            }
        });
        async move { join_all(echoes).await.into_iter().collect::<BTreeSet<u64>>() }
    });
    let counts = tokio::time::timeout(Duration::from_secs(120), join_all(all)).await.expect("it took too long");
    for (n, (handle, counts)) in handles.iter().zip(counts).enumerate() {
        assert_eq!(counts, (2..=ECHOES + 1).collect(), "every echo has a number of its own");
        let facts = info(handle).facts(&server).await;
        let session = &facts["session"];
        assert_eq!((&session["echoCount"], &session["totalRequests"]), (&json!(51), &json!(52)));
        assert!(replay(handle).facts(&server).await["message"].as_str().unwrap().starts_with(&format!("{n}-")));
    }
    assert_eq!((stats(&server).active, stats(&server).in_flight), (64, 0));
}
