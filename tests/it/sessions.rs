//! Sessions: who has one, for how long, and who sees what is in it.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use mcp_echo_stateful::config::SessionBinding;
use mcp_echo_stateful::session::{Stats, read, sweep};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::server::{Events, Session, TestServer, in_memory, in_values, initialize, tool_call, within};

const VERSION: &str = "2025-06-18";
const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);
/// A millisecond less than an hour: the moment before a session expires.
const ALMOST: Duration = Duration::from_millis(3_599_999);
const UNKNOWN_ID: &str = "00000000-0000-4000-8000-000000000000";

/// Status, headers and JSON body.
async fn send(request: RequestBuilder) -> (StatusCode, HeaderMap, Value) {
    let response = within(request.send()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = within(response.bytes()).await.unwrap();
    (status, headers, serde_json::from_slice(&body).unwrap_or_default())
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

fn stats(server: &TestServer) -> Stats {
    read(&server.sessions).stats()
}

async fn is_alive(session: &Session<'_>) -> bool {
    within(session.post(&ping()).send()).await.unwrap().status() == StatusCode::OK
}

/// Why the session is gone, as the 404 says.
async fn reason(request: RequestBuilder) -> Value {
    let (status, headers, body) = send(request).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    assert!(!headers.contains_key("mcp-session-id"));
    assert_eq!(body["error"]["code"], -32603);
    assert!(body["error"]["message"].as_str().unwrap().starts_with("Session not found or expired: "));
    body["error"]["data"]["reason"].clone()
}

/// The tool's structured content.
async fn facts(session: &Session<'_>, tool: &str) -> Value {
    session.call(tool, json!({})).await["structuredContent"].take()
}

/// A call that is at work on the server when this returns, and stays so for a minute.
async fn call_in_flight(session: &Session<'_>, id: u32) -> Events {
    let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "echo", "arguments": {"message": "late", "delayMs": 60_000}, "_meta": {"progressToken": "p"},
    }});
    let mut events = Events::of(within(session.post(&call).send()).await.unwrap());
    assert_eq!(events.message().await.unwrap().json()["params"]["progress"], 0);
    events
}

async fn cancel(session: &Session<'_>, id: u32) {
    let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    assert_eq!(within(session.post(&note).send()).await.unwrap().status(), StatusCode::ACCEPTED);
}

/// A GET that ends as soon as there is a message.
async fn waiting_stream(session: &Session<'_>) -> Events {
    let url = format!("{}?wait=300", session.server.url("/mcp"));
    let request = session.server.http.get(url).header("accept", "text/event-stream");
    Events::of(within(request.header("mcp-session-id", &session.id).send()).await.unwrap())
}

fn bearer(subject: &str) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("Bearer {}.{}.c2ln", part(json!({"alg": "RS256"})), part(json!({"sub": subject})))
}

#[tokio::test]
async fn two_sessions_never_see_each_other() {
    let server = TestServer::start().await;
    let (a, b) = (server.session(VERSION).await, server.session(VERSION).await);
    assert_ne!(a.id, b.id);
    a.call("echo", json!({"message": "of a", "customData": {"who": "a"}})).await;
    assert!(b.text("replayLastEcho", json!({})).await.starts_with("No previous echo message found"));
    b.call("echo", json!({"message": "of b", "customData": {"whose": "b"}})).await;
    assert!(a.text("replayLastEcho", json!({})).await.contains("of a"));
    let (facts_a, facts_b) = (facts(&a, "sessionInfo").await, facts(&b, "sessionInfo").await);
    assert_eq!(facts_a["session"]["customData"], json!({"who": "a"}));
    assert_eq!(facts_b["session"]["customData"], json!({"whose": "b"}));
    assert_eq!((&facts_a["session"]["echoCount"], &facts_b["session"]["echoCount"]), (&json!(1), &json!(1)));

    // b's queue tells of b's three calls, whatever a does meanwhile.
    let mut stream = b.stream().await;
    a.call("echo", json!({"message": "of a again"})).await;
    b.call("healthProbe", json!({})).await;
    let mut tools = Vec::new();
    while tools.last() != Some(&json!("healthProbe")) {
        tools.push(stream.not_a_finding().await.unwrap().json()["params"]["data"]["tool"].clone());
    }
    assert_eq!(tools, ["replayLastEcho", "echo", "sessionInfo", "healthProbe"]);
}

/// 200 echoes at once, all with the same JSON-RPC id; checks that every answer is that of its own call.
async fn echo_at_once(server: &TestServer, session_id: &str, tag: &str) {
    const ECHOES: u64 = 200;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let calls = (0..ECHOES).map(|n| {
        let message = format!("{tag}-{n}");
        let request = http
            .post(server.url("/mcp"))
            .header("mcp-session-id", session_id)
            .header("accept", "application/json, text/event-stream")
            .json(&tool_call("echo", &json!({"message": message})));
        async move {
            let answer: Value = request.send().await.unwrap().json().await.unwrap();
            assert_eq!(answer["id"], 1);
            let echoed = &answer["result"]["structuredContent"];
            assert_eq!((&echoed["message"], &echoed["sessionId"]), (&json!(message), &json!(session_id)));
            echoed["echoCount"].as_u64().unwrap()
        }
    });
    let counts: BTreeSet<u64> = join_all(calls).await.into_iter().collect();
    assert_eq!(counts, (1..=ECHOES).collect(), "every echo has a number of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_echoes_at_once_in_one_session_lose_no_count() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    within(echo_at_once(&server, &session.id, "x")).await;
    let info = facts(&session, "sessionInfo").await;
    // initialize and this call are the other two.
    assert_eq!((&info["session"]["echoCount"], &info["session"]["totalRequests"]), (&json!(200), &json!(202)));
    assert_eq!(info["session"]["toolCalls"], 201);
    let queue = &info["session"]["queue"];
    assert_eq!((&queue["pending"], &queue["dropped"]), (&json!(100), &json!(100)));
}

#[tokio::test]
async fn requests_that_are_refused_as_a_whole_are_not_counted() {
    let server = TestServer::start().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for (version, answered, counted) in [("2025-03-26", StatusCode::OK, 4), ("2025-06-18", StatusCode::BAD_REQUEST, 2)]
    {
        let session = server.session(version).await;
        assert_eq!(send(session.post(&json!([ping, ping]))).await.0, answered, "{version}");
        // initialize and this call are two of them.
        let text = session.text("sessionInfo", json!({})).await;
        assert!(text.contains(&format!("- Total Requests: {counted}\n")), "{version}: {text}");
    }

    let server = TestServer::with(|config| config.strict = true).await;
    let dress = |request: RequestBuilder| request.header("mcp-protocol-version", VERSION);
    let session = server.session_with(VERSION, dress).await;
    assert_eq!(send(session.post(&ping)).await.0, StatusCode::BAD_REQUEST, "without its version");
    let (_, _, answer) = send(dress(session.post(&tool_call("sessionInfo", &json!({}))))).await;
    assert_eq!(answer["result"]["structuredContent"]["session"]["totalRequests"], 2, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_ids_in_64_sessions_at_once_never_meet() {
    let server = TestServer::start().await;
    let sessions = join_all((0..64).map(|_| server.session(VERSION))).await;
    let echoes = sessions.iter().enumerate().map(|(n, session)| {
        let tag = format!("session {n}");
        async move { echo_at_once(session.server, &session.id, &tag).await }
    });
    tokio::time::timeout(Duration::from_secs(120), join_all(echoes)).await.expect("it took too long");
    for (n, session) in sessions.iter().enumerate() {
        let info = facts(session, "sessionInfo").await;
        assert_eq!((&info["session"]["echoCount"], &info["session"]["totalRequests"]), (&json!(200), &json!(202)));
        assert!(session.text("replayLastEcho", json!({})).await.contains(&format!("session {n}-")));
    }
    assert_eq!(stats(&server).in_flight, 0);
}

#[tokio::test]
async fn calls_under_one_id_in_one_session_get_their_own_answers() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let calls = [("c", 90), ("b", 60), ("a", 30), ("now", 0)].map(|(message, delay_ms)| {
        let call = session.call("echo", json!({"message": message, "delayMs": delay_ms}));
        async move { assert_eq!(call.await["structuredContent"]["message"], message) }
    });
    join_all(calls).await;
    assert_eq!(facts(&session, "sessionInfo").await["session"]["echoCount"], 4);
}

#[tokio::test]
async fn no_session_can_cancel_the_calls_of_another() {
    let server = TestServer::start().await;
    let (ours, theirs) = (server.session(VERSION).await, server.session(VERSION).await);
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": "echo", "arguments": {"message": "ours", "delayMs": 300}, "_meta": {"progressToken": "p"},
    }});
    let mut events = Events::of(within(ours.post(&call).send()).await.unwrap());
    events.message().await.unwrap();
    cancel(&theirs, 7).await;
    let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
    within(server.post(&note).send()).await.unwrap();
    cancel(&ours, 8).await;
    let answer = events.rest().await.pop().unwrap().json();
    assert_eq!(answer["result"]["structuredContent"]["message"], "ours");
}

#[tokio::test]
async fn a_rejected_initialize_leaves_nothing_behind() {
    let server = TestServer::start().await;
    let good = initialize(VERSION);
    let without = |key: &str| {
        let mut body = good.clone();
        body["params"].as_object_mut().unwrap().remove(key);
        body
    };
    let raw = |body: &str| {
        let request = server.request(Method::POST, "/mcp").header("content-type", "application/json");
        request.body(body.to_owned())
    };
    let mut no_params = good.clone();
    no_params.as_object_mut().unwrap().remove("params");
    let mut null_id = good.clone();
    null_id["id"] = Value::Null;
    let mut notification = good.clone();
    notification.as_object_mut().unwrap().remove("id");
    let post = |body: &Value| server.post(body);
    let rejected = [
        ("bad JSON", 400, raw("{\"jsonrpc\": \"2.0\",")),
        ("no JSON-RPC", 400, raw(r#"{"method": "initialize"}"#)),
        ("bad Accept", 406, raw(&good.to_string()).header("accept", "text/html")),
        ("bad Content-Type", 415, server.request(Method::POST, "/mcp").body(good.to_string())),
        ("no protocolVersion", 200, post(&without("protocolVersion"))),
        ("no capabilities", 200, post(&without("capabilities"))),
        ("no clientInfo", 200, post(&without("clientInfo"))),
        ("no params", 200, post(&no_params)),
        ("null id", 400, post(&null_id)),
        ("without an id", 400, post(&notification)),
        ("in a batch", 200, post(&json!([good]))),
        ("foreign Origin", 403, post(&good).header("origin", "https://evil.example")),
        ("foreign Host", 403, post(&good).header("host", "evil.example")),
        ("unknown session", 404, post(&good).header("mcp-session-id", UNKNOWN_ID)),
        ("too large", 413, raw(&format!("{}{good}", " ".repeat(4_194_304)))),
    ];
    for (what, expected, request) in rejected {
        let (status, headers, body) = send(request).await;
        assert_eq!(status.as_u16(), expected, "{what}: {body}");
        assert!(!headers.contains_key("mcp-session-id"), "{what}");
        let stats = stats(&server);
        assert_eq!((stats.active, stats.created, stats.storage_bytes), (0, 0, 0), "{what} left something behind");
    }
    assert_eq!(send(post(&good)).await.0, StatusCode::OK, "the same without a fault");
    assert_eq!(stats(&server).created, 1);
}

#[tokio::test]
async fn ids_are_uuids_that_only_the_server_chooses() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let id = uuid::Uuid::parse_str(&session.id).unwrap();
    assert_eq!((id.get_version_num(), session.id.as_str()), (4, id.hyphenated().to_string().as_str()));

    for foreign in [UNKNOWN_ID, "my-own-session", "../../etc/passwd", &session.id.to_uppercase()] {
        let (status, headers, body) = send(server.post(&initialize(VERSION)).header("mcp-session-id", foreign)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{foreign}: {body}");
        assert!(!headers.contains_key("mcp-session-id"));
        assert_eq!(reason(server.post(&ping()).header("mcp-session-id", foreign)).await, Value::Null);
    }
    let (status, _, body) = send(session.post(&initialize(VERSION))).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32600)), "alive: {body}");
    assert_eq!((stats(&server).active, stats(&server).created), (1, 1));
    assert!(is_alive(&session).await);
}

#[tokio::test]
async fn a_session_is_dead_at_its_moment_and_use_puts_it_off() {
    if !in_memory() {
        return;
    }
    let server = TestServer::frozen(|_| {}).await;
    let session = server.session(VERSION).await;
    for _ in 0..3 {
        server.clock.advance(ALMOST);
        assert!(is_alive(&session).await, "used a millisecond before its moment");
    }
    server.clock.advance(ALMOST);
    assert_eq!(sweep(&server.sessions), 0);
    server.clock.advance(MS);
    assert_eq!(reason(session.post(&ping())).await, "expired", "the sweep has not come by yet");
    assert_eq!(reason(session.request(Method::GET)).await, "expired");
    assert_eq!(reason(session.request(Method::DELETE)).await, "expired");
    assert_eq!(stats(&server).active, 1);
    assert_eq!(sweep(&server.sessions), 1);
    assert_eq!(sweep(&server.sessions), 0);
    assert_eq!(reason(session.post(&ping())).await, "expired", "nor does the sweep change what is said");
    assert_eq!((stats(&server).active, stats(&server).expired), (0, 1));
}

#[tokio::test]
async fn every_use_of_a_session_keeps_it_alive() {
    let server = TestServer::frozen(|_| {}).await;
    let session = server.session(VERSION).await;
    let note = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
    let answer = json!({"jsonrpc": "2.0", "id": 9, "result": {}});
    let unknown = json!({"jsonrpc": "2.0", "id": 9, "method": "no/such"});
    for body in [note, answer, unknown, tool_call("no-such-tool", &json!({}))] {
        server.clock.advance(ALMOST);
        within(session.post(&body).send()).await.unwrap();
    }
    server.clock.advance(HOUR);
    assert_eq!(reason(session.post(&ping())).await, "expired");
}

#[tokio::test]
async fn a_session_with_an_open_stream_does_not_expire() {
    if !in_memory() {
        return;
    }
    let server = TestServer::frozen(|_| {}).await;
    let session = server.session(VERSION).await;
    let stream = waiting_stream(&session).await;
    server.clock.advance(50 * HOUR);
    assert_eq!(sweep(&server.sessions), 0);
    session.call("healthProbe", json!({})).await;
    assert_eq!(stream.rest().await.len(), 1);
    server.clock.advance(ALMOST);
    assert_eq!(sweep(&server.sessions), 0, "idle since the stream ended");
    server.clock.advance(MS);
    assert_eq!(sweep(&server.sessions), 1);
}

#[tokio::test]
async fn a_session_with_a_call_in_flight_does_not_expire() {
    if !in_memory() {
        return;
    }
    let server = TestServer::frozen(|_| {}).await;
    let session = server.session(VERSION).await;
    let call = call_in_flight(&session, 7).await;
    server.clock.advance(50 * HOUR);
    assert_eq!(sweep(&server.sessions), 0);
    cancel(&session, 7).await;
    assert_eq!(call.rest().await, []);
    assert_eq!(stats(&server).in_flight, 0);
    server.clock.advance(ALMOST);
    assert_eq!(sweep(&server.sessions), 0, "idle since the call ended");
    server.clock.advance(MS);
    assert_eq!(sweep(&server.sessions), 1);
}

#[tokio::test]
async fn a_deleted_session_is_gone_with_all_that_ran_in_it() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let call = call_in_flight(&session, 7).await;
    let stream = session.stream().await;
    assert_eq!(session.delete().await, StatusCode::NO_CONTENT);
    assert_eq!(stream.rest().await, []);
    assert_eq!(call.rest().await, []);
    for request in [session.post(&ping()), session.request(Method::GET), session.request(Method::DELETE)] {
        assert_eq!(reason(request).await, "deleted");
    }
    assert_eq!(reason(session.post(&initialize(VERSION))).await, "deleted");
    assert_eq!((stats(&server).active, stats(&server).deleted), (0, 1));
    let again = server.session(VERSION).await;
    assert_ne!(again.id, session.id);
}

#[tokio::test]
async fn at_the_bound_the_longest_idle_session_gives_way() {
    let server = TestServer::frozen(|config| config.max_sessions = 3).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(server.session(VERSION).await);
        server.clock.advance(MS);
    }
    assert!(is_alive(&sessions[0]).await);
    let newest = server.session(VERSION).await;
    assert_eq!(reason(sessions[1].post(&ping())).await, "evicted", "the first was used since");
    for session in [&sessions[0], &sessions[2], &newest] {
        assert!(is_alive(session).await);
    }
    assert_eq!((stats(&server).active, stats(&server).evicted), (3, 1));
}

#[tokio::test]
async fn at_the_bound_an_expired_session_goes_before_one_that_lives() {
    let server = TestServer::frozen(|config| config.max_sessions = 2).await;
    let (first, second) = (server.session(VERSION).await, server.session(VERSION).await);
    server.clock.advance(HOUR / 2);
    assert!(is_alive(&first).await);
    server.clock.advance(HOUR / 2);
    server.session(VERSION).await;
    assert_eq!(reason(second.post(&ping())).await, "expired");
    assert!(is_alive(&first).await);
}

#[tokio::test]
async fn sessions_at_work_never_give_way_and_the_newcomer_is_told_to_come_back() {
    if in_values() {
        return;
    }
    let server = TestServer::with(|config| config.max_sessions = 2).await;
    let (streaming, calling) = (server.session(VERSION).await, server.session(VERSION).await);
    let stream = waiting_stream(&streaming).await;
    let _call = call_in_flight(&calling, 1).await;
    let (status, headers, body) = send(server.post(&initialize(VERSION))).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(-32603)));
    assert!(headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert!(!headers.contains_key("mcp-session-id"));
    assert_eq!((&body["id"], stats(&server).refused), (&json!(0), 1));
    assert!(is_alive(&streaming).await && is_alive(&calling).await);

    streaming.call("healthProbe", json!({})).await;
    stream.rest().await;
    server.session(VERSION).await;
    assert_eq!(reason(streaming.post(&ping())).await, "evicted");
}

/// Every request of a session, as `dress` sends it.
fn attempts(session: &Session<'_>, dress: impl Fn(RequestBuilder) -> RequestBuilder) -> Vec<RequestBuilder> {
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let posts = [ping(), tool_call("sessionInfo", &json!({})), note, initialize(VERSION)];
    let others = [session.request(Method::GET), session.request(Method::DELETE)];
    posts.iter().map(|body| session.post(body)).chain(others).map(dress).collect()
}

/// What makes two refusals look alike: everything but the request's own id and times.
async fn looks(request: RequestBuilder) -> (StatusCode, Vec<String>, Value) {
    let (status, headers, mut body) = send(request).await;
    body.as_object_mut().unwrap().remove("id");
    (status, headers.keys().map(ToString::to_string).collect(), body)
}

#[tokio::test]
async fn a_bound_session_looks_unknown_to_everybody_else() {
    let server = TestServer::start().await;
    let (alice, bob) = (bearer("alice"), bearer("bob"));
    let by_user = |user: &'static str| move |request: RequestBuilder| request.header("x-user-id", user);
    let by_token = |token: &str| {
        let token = token.to_owned();
        move |request: RequestBuilder| request.header("authorization", &token)
    };
    let nobody = Session { server: &server, id: UNKNOWN_ID.to_owned() };

    let session = server.session_with(VERSION, by_user("alice")).await;
    for (request, unknown) in attempts(&session, by_user("bob")).into_iter().zip(attempts(&nobody, by_user("bob"))) {
        assert_eq!(looks(request).await, looks(unknown).await);
    }
    for (request, unknown) in attempts(&session, |r| r).into_iter().zip(attempts(&nobody, |r| r)) {
        assert_eq!(looks(request).await, looks(unknown).await);
    }
    // X-User-Id comes from the proxy and goes before the token's claim.
    let disguised = |r: RequestBuilder| r.header("x-user-id", "bob").header("authorization", &alice);
    assert_eq!(reason(disguised(session.post(&ping()))).await, Value::Null);
    let both = session.post(&ping()).header("x-user-id", "alice").header("x-user-id", "bob");
    assert_eq!(reason(both).await, Value::Null);

    let info = by_user("alice")(session.post(&tool_call("sessionInfo", &json!({}))));
    let body = send(info).await.2;
    let info = &body["result"]["structuredContent"]["session"];
    assert_eq!(info["boundTo"]["id"], "alice");
    assert_eq!((&info["intrusions"]["otherIdentity"], &info["intrusions"]["withoutIdentity"]), (&json!(8), &json!(6)));
    assert!(info["intrusions"]["lastAt"].is_string());
    let text = body["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\n  Seen: with another identity: 8\n  Seen: without identity: 6\n"), "{text}");
    assert_eq!(info["clientReady"], true);

    let session = server.session_with(VERSION, by_token(&alice)).await;
    for request in attempts(&session, by_token(&bob)).into_iter().chain(attempts(&session, |r| r)) {
        assert_eq!(reason(request).await, Value::Null);
    }
    assert_eq!(send(by_token(&alice)(session.post(&ping()))).await.0, StatusCode::OK);
    assert_eq!(send(by_token(&alice)(session.request(Method::DELETE))).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn someone_elses_attempts_do_not_keep_a_session_alive() {
    let server = TestServer::frozen(|_| {}).await;
    let session = server.session_with(VERSION, |request| request.header("x-user-id", "alice")).await;
    server.clock.advance(ALMOST);
    assert_eq!(reason(session.post(&ping()).header("x-user-id", "bob")).await, Value::Null);
    server.clock.advance(MS);
    assert_eq!(reason(session.post(&ping()).header("x-user-id", "alice")).await, "expired");
}

#[tokio::test]
async fn why_a_session_ended_is_its_owners_business() {
    let server = TestServer::frozen(|config| config.max_sessions = 3).await;
    let dress = |request: RequestBuilder| request.header("x-user-id", "alice");
    let deleted = server.session_with(VERSION, dress).await;
    assert_eq!(send(dress(deleted.request(Method::DELETE))).await.0, StatusCode::NO_CONTENT);
    let evicted = server.session_with(VERSION, dress).await;
    for _ in 0..3 {
        server.clock.advance(MS);
        server.session_with(VERSION, dress).await;
    }
    server.clock.advance(HOUR / 2);
    let expired = server.session_with(VERSION, dress).await;
    server.clock.advance(HOUR);
    let check = async |stage: &str| {
        for (session, why) in [(&deleted, "deleted"), (&evicted, "evicted"), (&expired, "expired")] {
            for method in [Method::GET, Method::DELETE] {
                assert_eq!(reason(session.request(method.clone()).header("x-user-id", "bob")).await, Value::Null);
                assert_eq!(reason(session.request(method)).await, Value::Null, "{stage}");
            }
            assert_eq!(reason(session.post(&ping()).header("x-user-id", "bob")).await, Value::Null, "{stage}");
            assert_eq!(reason(dress(session.post(&ping()))).await, why, "{stage}");
        }
    };
    check("before the sweep").await;
    sweep(&server.sessions);
    check("after the sweep").await;
}

#[tokio::test]
async fn a_session_begun_without_identity_is_bound_to_nobody() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    assert_eq!(send(session.post(&ping()).header("x-user-id", "alice")).await.0, StatusCode::OK);
    assert_eq!(send(session.post(&ping()).header("authorization", bearer("bob"))).await.0, StatusCode::OK);
    assert_eq!(facts(&session, "sessionInfo").await["session"]["boundTo"], Value::Null);
}

/// A request with these headers, whose values may be any bytes.
fn with(request: RequestBuilder, headers: &[(&str, &[u8])]) -> RequestBuilder {
    let value = |value: &[u8]| reqwest::header::HeaderValue::from_bytes(value).unwrap();
    headers.iter().fold(request, |request, (name, bytes)| request.header(*name, value(bytes)))
}

#[tokio::test]
async fn a_session_is_bound_to_the_user_that_any_product_names() {
    type Headers<'a> = &'a [(&'a str, &'a [u8])];
    let server = TestServer::start().await;
    let token = |claims: Value| {
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("Bearer {}.{}.c2ln", part(json!({"alg": "RS256"})), part(claims))
    };
    let of = |iss: &str, sub: Value| token(json!({"iss": iss, "sub": sub}));
    let (a, b) = (of("https://a.example", json!("1001")), of("https://b.example", json!("1001")));
    let number = of("https://a.example", json!(1001));
    let opaque = ("authorization", &b"Bearer Zm9vYmFyYmF6cXV4cXV1eA"[..]);
    let iss = ("oidc_claim_iss", &b"https://a.example"[..]);
    let other_iss = ("oidc_claim_iss", &b"https://b.example"[..]);
    let cases: [(&str, Headers<'_>, Headers<'_>); 12] = [
        ("mod_auth_openidc", &[("oidc_claim_sub", b"alice"), opaque], &[("oidc_claim_sub", b"bob"), opaque]),
        ("its issuer", &[("oidc_claim_sub", b"alice"), iss], &[("oidc_claim_sub", b"alice"), other_iss]),
        ("no issuer", &[("oidc_claim_sub", b"alice"), iss], &[("oidc_claim_sub", b"alice")]),
        ("Authelia", &[("remote-user", b"alice")], &[("remote-user", b"bob")]),
        ("an address", &[("x-forwarded-email", b"a@example.com")], &[("x-forwarded-email", b"b@example.com")]),
        ("another source", &[("x-user-id", b"alice")], &[("remote-user", b"alice")]),
        ("another issuer's token", &[("authorization", a.as_bytes())], &[("authorization", b.as_bytes())]),
        ("a numeric sub", &[("authorization", number.as_bytes())], &[opaque]),
        ("white space that is text", &[("x-user-id", b"alice")], &[("x-user-id", "alice\u{a0}".as_bytes())]),
        ("a byte and its name", &[("x-user-id", b"\xff")], &[("x-user-id", br"\xff")]),
        ("two and one", &[("x-user-id", b"alice"), ("x-user-id", b"bob")], &[("x-user-id", b"alice, bob")]),
        ("one and two", &[("x-user-id", b"alice, bob")], &[("x-user-id", b"alice"), ("x-user-id", b"bob")]),
    ];
    for (what, owner, other) in cases {
        let session = server.session_with(VERSION, |request| with(request, owner)).await;
        for request in [session.post(&ping()), session.request(Method::GET), session.request(Method::DELETE)] {
            assert_eq!(send(with(request, other)).await.0, StatusCode::NOT_FOUND, "{what}");
        }
        assert_eq!(send(with(session.post(&ping()), owner)).await.0, StatusCode::OK, "{what}");
        assert_eq!(send(with(session.request(Method::DELETE), owner)).await.0, StatusCode::NO_CONTENT, "{what}");
    }
}

#[tokio::test]
async fn what_cannot_be_bound_is_said_and_refused_where_it_must_be() {
    let long = bearer(&"x".repeat(40 * 1024));
    let unbound = ["Bearer Zm9vYmFyYmF6cXV4cXV1eA", &long, "Basic YTpi", &bearer("")];
    let server = TestServer::start().await;
    for (authorization, why) in unbound.into_iter().zip(["opaque", "32 KiB", "neither", "no sub"]) {
        let session = server.session_with(VERSION, |request| request.header("authorization", authorization)).await;
        let info = facts(&session, "sessionInfo").await;
        assert!(info["session"]["unbound"].as_str().unwrap().contains(why), "{info}");
        let context = facts(&session, "authContext").await;
        assert!(context["sessionBinding"].as_str().unwrap().contains("unbound"), "{context}");
    }
    let server = TestServer::with(|config| config.session_binding = SessionBinding::Require).await;
    for authorization in unbound {
        let request = server.post(&initialize(VERSION)).header("authorization", authorization);
        let (status, headers, body) = send(request).await;
        assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32600)), "{body}");
        assert!(body["error"]["message"].as_str().unwrap().contains("send Authorization"), "{body}");
        assert!(!headers.contains_key("mcp-session-id"));
    }
    assert_eq!(stats(&server).created, 0);
    assert!(server.session_with(VERSION, |request| request.header("oidc_claim_sub", "alice")).await.id.len() == 36);
}

#[tokio::test]
async fn binding_can_be_switched_off() {
    let server = TestServer::with(|config| config.session_binding = SessionBinding::Off).await;
    let session = server.session_with(VERSION, |request| request.header("x-user-id", "alice")).await;
    assert_eq!(send(session.post(&ping()).header("x-user-id", "bob")).await.0, StatusCode::OK);
    assert_eq!(facts(&session, "sessionInfo").await["session"]["boundTo"], Value::Null);
    assert_eq!(session.delete().await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_session_is_required_only_where_it_is_set_so() {
    let server = TestServer::with(|config| config.require_session = true).await;
    let (status, _, body) = send(server.post(&ping())).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32600)));
    assert!(body["error"]["message"].as_str().unwrap().contains("initialize"), "{body}");
    assert!(is_alive(&server.session(VERSION).await).await);
}

#[tokio::test]
async fn every_answer_in_a_session_names_it() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let names_it = |response: &Response| response.headers()["mcp-session-id"] == session.id.as_str();
    for body in [ping(), json!({"jsonrpc": "2.0", "method": "notifications/x"}), tool_call("no-such", &json!({}))] {
        assert!(names_it(&within(session.post(&body).send()).await.unwrap()), "{body}");
    }
    for refused in [initialize(VERSION), json!([ping()])] {
        let response = within(session.post(&refused).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert!(names_it(&response), "{refused}");
    }
    for method in [Method::GET, Method::DELETE] {
        assert!(names_it(&within(session.request(method).send()).await.unwrap()));
    }
}
