//! Sessions in a real Redis, on several replicas without sticky sessions, while Redis is killed, stopped, filled and rolled
//! back. `MCP_TEST_STORE=redis://127.0.0.1:6379 cargo test --test it redis::` runs them; each starts a Redis of its own, so
//! that `redis-server` must be there. Without the variable they do nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mcp_echo_stateful::config::Config;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::program::{Program, run};
use crate::server::{Events, Session, TestServer, configured, in_memory, initialize, test_store, tool_call, within};

/// A Redis of the test's own, as an operator runs it: every second on disk.
struct Redis {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    options: Vec<&'static str>,
}

impl Redis {
    /// `None` where the tests are not run on Redis.
    async fn start(options: &[&'static str]) -> Option<Self> {
        if in_memory() || !test_store()?.starts_with("redis:") {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let child = Self::launch(port, &folder, options);
        let redis = Self { child, port, folder, options: options.to_vec() };
        redis.answers().await;
        Some(redis)
    }

    fn launch(port: u16, folder: &tempfile::TempDir, options: &[&str]) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"]).arg("--dir").arg(folder.path());
        command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command.spawn().expect("redis-server must be installed for these tests")
    }

    /// Waits until it does.
    async fn answers(&self) {
        within(async {
            while self.cli(&["ping"]).await.trim() != "PONG" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    async fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(arguments).stdin(Stdio::null()).output().await;
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    /// Waits until a command answers what is expected.
    async fn until(&self, arguments: &[&str], is_so: impl Fn(&str) -> bool) {
        within(async { while !is_so(&self.cli(arguments).await) {} }).await;
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    async fn kill(&mut self) {
        self.signal("KILL");
        within(self.child.wait()).await.unwrap();
    }

    async fn restart(&mut self) {
        self.child = Self::launch(self.port, &self.folder, &self.options);
        self.answers().await;
    }

    /// Its log of what was written, which it reads at its start.
    fn log(&self) -> PathBuf {
        let folder = self.folder.path().join("appendonlydir");
        let mut files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.find(|file| file.to_string_lossy().ends_with(".incr.aof")).unwrap()
    }

    async fn replica(&self, change: impl FnOnce(&mut Config)) -> TestServer {
        let store = configured([("MCP_STORE", self.url().as_str())]).store;
        TestServer::with(|config| {
            config.store = store;
            change(config);
        })
        .await
    }

    async fn replicas<const N: usize>(&self, change: impl Fn(&mut Config)) -> [TestServer; N] {
        let replicas = join_all((0..N).map(|_| self.replica(&change))).await;
        replicas.try_into().unwrap_or_else(|_| unreachable!())
    }
}

/// The same session at another replica.
fn at<'a>(replica: &'a TestServer, session: &Session<'_>) -> Session<'a> {
    Session { server: replica, id: session.id.clone() }
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

/// A call whose id is its text: what the server says of it names it.
fn echo(text: &str) -> Value {
    let mut call = tool_call("echo", &json!({ "message": "x" }));
    call["id"] = json!(text);
    call
}

async fn count(session: &Session<'_>, text: &str) -> u64 {
    let answer = session.ask(&echo(text)).await;
    answer["result"]["structuredContent"]["echoCount"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

async fn refusal(request: RequestBuilder) -> (StatusCode, Value) {
    let request = request.header("accept", "application/json, text/event-stream");
    let response = within(request.send()).await.unwrap();
    let status = response.status();
    (status, within(response.json::<Value>()).await.unwrap()["error"].take())
}

/// The next `n` messages that tools sent: their texts, and the id of the last event.
async fn messages(events: &mut Events, n: usize) -> (Vec<String>, Option<String>) {
    within(next_messages(events, n)).await
}

async fn next_messages(events: &mut Events, n: usize) -> (Vec<String>, Option<String>) {
    let (mut texts, mut last) = (Vec::new(), None);
    while texts.len() < n {
        let event = events.not_a_finding().await.expect("the stream goes on");
        if event.name.as_deref() == Some("keep-alive") {
            continue;
        }
        let call = event.json()["params"]["data"]["requestId"].as_str().map(str::to_owned);
        texts.push(call.unwrap_or_else(|| panic!("{event:?}")));
        last = event.id;
    }
    (texts, last)
}

#[tokio::test]
async fn any_replica_serves_any_session_and_64_calls_at_once_are_counted_exactly() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let replicas = redis.replicas::<4>(|_| {}).await;
    let session = replicas[0].session("2025-06-18").await;
    let calls = (0..64).map(|n| {
        let there = at(&replicas[n % 4], &session);
        async move { count(&there, &n.to_string()).await }
    });
    let counts: BTreeSet<u64> = join_all(calls).await.into_iter().collect();
    assert_eq!(counts, (1..=64).collect());
    let replay = at(&replicas[3], &session).call("replayLastEcho", json!({})).await;
    assert_eq!(replay["structuredContent"]["echoCount"], 64);
    // One after the other on any of them.
    for n in 65..=80 {
        assert_eq!(count(&at(&replicas[n % 4], &session), "x").await, n as u64);
    }
    let probe = at(&replicas[1], &session).call("healthProbe", json!({})).await;
    let names: BTreeSet<_> = join_all(replicas.iter().map(|replica| async {
        let response = within(replica.request(Method::GET, "/healthz").send()).await.unwrap();
        response.headers()["x-instance-id"].to_str().unwrap().to_owned()
    }))
    .await
    .into_iter()
    .collect();
    assert_eq!(names.len(), 4);
    assert!(names.contains(probe["structuredContent"]["instance"].as_str().unwrap()));
    assert_eq!(probe["structuredContent"]["store"]["location"], redis.url());
}

#[tokio::test]
async fn a_stream_at_one_replica_has_what_calls_at_the_others_send_once_and_in_order() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let replicas = redis.replicas::<3>(|config| config.message_queue_size = 10_000).await;
    let session = replicas[0].session("2025-06-18").await;
    let mut stream = at(&replicas[1], &session).stream().await;
    let sending = async {
        for n in 0..300 {
            count(&at(&replicas[n % 3], &session), &format!("message {n}.")).await;
        }
    };
    let ((), (texts, _)) = tokio::join!(sending, messages(&mut stream, 300));
    for (n, text) in texts.iter().enumerate() {
        assert!(text.contains(&format!("message {n}.")), "{n}: {text}");
    }
}

#[tokio::test]
async fn the_newest_stream_delivers_wherever_it_is_and_gives_back() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|_| {}).await;
    let session = a.session("2025-06-18").await;
    let mut old = session.stream().await;
    count(&session, "one").await;
    assert!(messages(&mut old, 1).await.0[0].contains("one"));
    let mut new = at(&b, &session).stream().await;
    count(&session, "two").await;
    assert!(messages(&mut new, 1).await.0[0].contains("two"), "the newer one, though it is elsewhere");
    drop(new);
    redis.until(&["hget", &format!("mcp:{{{}}}:s", session.id), "st"], |open| open.matches(';').count() == 1).await;
    count(&session, "three").await;
    let cut = old.not_a_finding().await.unwrap().data.unwrap();
    assert!(cut.contains("a stream that ended at once"), "{cut}");
    assert!(messages(&mut old, 1).await.0[0].contains("three"), "it ended, and the older one goes on");
}

#[tokio::test]
async fn a_client_whose_replica_is_killed_goes_on_at_another_and_misses_nothing() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let url = redis.url();
    let mut dies = Program::start(&[], &[("MCP_STORE", url.as_str()), ("MCP_MESSAGE_QUEUE_SIZE", "1000")]).await;
    let lives = redis.replica(|_| {}).await;
    let session = Session { server: &lives, id: dies.session().await };
    let stream = dies.post(&ping()).build().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = http.get(stream.url().clone()).header("accept", "text/event-stream");
    let mut events = Events::of(within(get.header("mcp-session-id", &session.id).send()).await.unwrap());
    for n in 0..20 {
        count(&session, &format!("message {n}.")).await;
    }
    let (before, last) = messages(&mut events, 7).await;
    dies.signal("KILL");
    within(dies.end()).await;
    for n in 20..40 {
        assert_eq!(count(&session, &format!("message {n}.")).await, n + 1);
    }
    let mut resumed = session.stream_after(last.as_deref()).await;
    let (after, _) = messages(&mut resumed, 33).await;
    for (n, text) in before.iter().chain(&after).enumerate() {
        assert!(text.contains(&format!("message {n}.")), "{n}: {text}");
    }
}

#[tokio::test]
async fn another_open_stream_takes_over_from_a_replica_that_is_frozen() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let url = redis.url();
    let frozen = Program::start(&[], &[("MCP_STORE", url.as_str())]).await;
    let lives = redis.replica(|_| {}).await;
    let session = Session { server: &lives, id: frozen.session().await };
    let mut standby = session.stream().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = http.get(&frozen.url).header("accept", "text/event-stream").header("mcp-session-id", &session.id);
    let mut newest = Events::of(within(get.send()).await.unwrap());
    count(&session, "one").await;
    assert!(messages(&mut newest, 1).await.0[0].contains("one"));
    frozen.signal("STOP");
    let began = Instant::now();
    count(&session, "two").await;
    assert!(messages(&mut standby, 1).await.0[0].contains("two"));
    assert!(began.elapsed() < Duration::from_secs(10), "when the lease has run out");
    let open = ["hget", &format!("mcp:{{{}}}:s", session.id), "st"];
    let lease = |open: &str| open.trim().trim_end_matches(';').rsplit(':').next().map(str::to_owned);
    let old = lease(&redis.cli(&open).await);
    frozen.signal("CONT");
    redis.until(&open, |open| lease(open) != old).await;
    count(&session, "three").await;
    assert!(messages(&mut newest, 1).await.0[0].contains("three"), "it is the newest again");
}

#[tokio::test]
async fn a_call_is_cancelled_at_another_replica_than_it_runs_at() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|_| {}).await;
    let session = a.session("2025-06-18").await;
    let mut call = tool_call("echo", &json!({ "message": "late", "delayMs": 600_000 }));
    call["id"] = json!("slow");
    call["params"]["_meta"] = json!({ "progressToken": 1 });
    let mut events = Events::of(within(session.post(&call).send()).await.unwrap());
    let progress = events.message().await.unwrap();
    assert_eq!(progress.json()["method"], "notifications/progress", "it runs");
    let cancel =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow", "reason": "no"}});
    let response = within(at(&b, &session).post(&cancel).send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let rest = within(events.rest()).await;
    assert!(rest.iter().all(|event| event.json().get("result").is_none()), "{rest:?}");
    assert_eq!(count(&session, "next").await, 1, "it was not echoed");
}

#[tokio::test]
async fn a_session_that_is_deleted_at_one_replica_is_so_at_all() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|_| {}).await;
    let session = a.session("2025-06-18").await;
    let mut stream = session.stream().await;
    count(&session, "one").await;
    messages(&mut stream, 1).await;
    assert_eq!(at(&b, &session).delete().await, StatusCode::NO_CONTENT);
    within(stream.rest()).await;
    for replica in [&a, &b] {
        let (status, error) = refusal(at(replica, &session).post(&ping())).await;
        assert_eq!((status, &error["data"]["reason"]), (StatusCode::NOT_FOUND, &json!("deleted")), "{error}");
        assert!(!error.to_string().contains("ses.other_replica"), "{error}");
    }
}

#[tokio::test]
async fn an_idle_session_expires_everywhere_and_use_anywhere_keeps_it() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|config| config.session_timeout = Duration::from_secs(1)).await;
    let (idle, streamed, at_work) =
        tokio::join!(a.session("2025-06-18"), a.session("2025-06-18"), a.session("2025-06-18"));
    let stream = streamed.stream().await;
    let slow = tool_call("echo", &json!({ "message": "late", "delayMs": 4000 }));
    let used = b.session("2025-06-18").await;
    let working = within(at_work.ask(&slow));
    let using = async {
        // Three time-outs long, at either replica.
        let began = Instant::now();
        let mut n = 0;
        while began.elapsed() < Duration::from_secs(3) {
            n += 1;
            assert_eq!(count(&at([&a, &b][n % 2], &used), "x").await, n as u64);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (worked, ()) = tokio::join!(working, using);
    assert_eq!(worked["result"]["structuredContent"]["echoCount"], 1, "{worked}");
    for replica in [&a, &b] {
        let (status, error) = refusal(at(replica, &idle).post(&ping())).await;
        assert_eq!((status, &error["data"]["reason"]), (StatusCode::NOT_FOUND, &json!("expired")), "{error}");
    }
    assert_eq!(at(&b, &streamed).ask(&ping()).await["result"], json!({}), "a stream keeps it");
    drop(stream);
}

#[tokio::test]
async fn a_session_is_its_owners_at_every_replica() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|_| {}).await;
    let alice = |request: RequestBuilder| request.header("x-user-id", "alice");
    let session = a.session_with("2025-06-18", alice).await;
    let there = at(&b, &session);
    let (status, error) = refusal(there.post(&ping()).header("x-user-id", "bob")).await;
    assert_eq!((status, error["data"].get("reason")), (StatusCode::NOT_FOUND, None), "{error}");
    let (status, _) = refusal(there.post(&ping())).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let request = alice(session.post(&tool_call("sessionInfo", &json!({}))));
    let info: Value = within(within(request.send()).await.unwrap().json()).await.unwrap();
    let findings = info["result"]["structuredContent"].to_string();
    assert!(findings.contains("ses.") && findings.contains("another"), "its owner hears of it elsewhere: {info}");
}

#[tokio::test]
async fn a_level_that_is_set_at_one_replica_holds_at_the_others() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|_| {}).await;
    let session = a.session("2025-06-18").await;
    let mut stream = session.stream().await;
    count(&session, "seen").await;
    messages(&mut stream, 1).await;
    let level = |level| json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}});
    assert_eq!(at(&b, &session).ask(&level("error")).await["result"], json!({}));
    count(&session, "unseen").await;
    assert_eq!(at(&b, &session).ask(&level("info")).await["result"], json!({}));
    count(&at(&b, &session), "seen again").await;
    assert!(messages(&mut stream, 1).await.0[0].contains("seen again"));
}

#[tokio::test]
async fn the_bound_of_sessions_is_that_of_all_replicas() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|config| config.max_sessions = 3).await;
    let first = a.session("2025-06-18").await;
    let second = b.session("2025-06-18").await;
    let streamed = b.session("2025-06-18").await;
    let stream = streamed.stream().await;
    let fourth = a.session("2025-06-18").await;
    let (status, error) = refusal(at(&b, &first).post(&ping())).await;
    assert_eq!((status, &error["data"]["reason"]), (StatusCode::NOT_FOUND, &json!("evicted")), "{error}");
    for lives in [&second, &streamed, &fourth] {
        assert_eq!(at(&a, lives).ask(&ping()).await["result"], json!({}));
    }
    drop(stream);
    assert_eq!(redis.cli(&["zcard", "mcp:ix"]).await.trim(), "3");
    assert_eq!(at(&b, &fourth).delete().await, StatusCode::NO_CONTENT);
    let body = initialize("2025-06-18");
    let many = join_all((0..8).map(|n| [&a, &b][n % 2].session_or_error(&body))).await;
    let alive = join_all(many.into_iter().flatten().map(|id| async {
        let session = Session { server: &a, id };
        session.ask(&ping()).await["result"].is_object()
    }));
    let alive = alive.await.into_iter().filter(|alive| *alive).count();
    assert!((1..=3).contains(&alive), "{alive}");
}

#[tokio::test]
async fn a_rate_is_a_sessions_at_all_replicas_together() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let rate = configured([("MCP_RATE_LIMIT", "1/m:5")]).rate_limit;
    let replicas = redis.replicas::<3>(|config| config.rate_limit = rate).await;
    let session = replicas[0].session("2025-06-18").await;
    let mut statuses = Vec::new();
    for n in 0..9 {
        let response = within(at(&replicas[n % 3], &session).post(&ping()).send()).await.unwrap();
        statuses.push(response.status().as_u16());
    }
    let refused = statuses.iter().filter(|status| **status == 429).count();
    // `notifications/initialized` was one of the five.
    assert_eq!((refused, &statuses[..4]), (5, &[200; 4][..]), "{statuses:?}");
}

#[tokio::test]
async fn a_redis_that_dies_is_named_and_what_was_acknowledged_is_there_when_it_is_back() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|_| {}).await;
    let session = a.session("2025-06-18").await;
    let mut stream = at(&b, &session).stream().await;
    assert_eq!(count(&session, "one").await, 1);
    let (_, _) = messages(&mut stream, 1).await;
    redis.kill().await;
    for request in [session.post(&echo("two")), b.post(&initialize("2025-06-18")), session.request(Method::DELETE)] {
        let (status, error) = refusal(request).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(error["data"]["store"], redis.url(), "{error}");
        assert!(["refused", "unknown"].map(Value::from).contains(&error["data"]["outcome"]), "{error}");
    }
    let ready = within(a.request(Method::GET, "/readyz").send()).await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let alive = within(a.request(Method::GET, "/healthz").send()).await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    redis.restart().await;
    let n = count(&session, "three").await;
    assert!((2..=3).contains(&n), "{n}: what was answered with an error was not done, or its outcome was unknown");
    let expected: &[&str] = if n == 3 { &["two", "three"] } else { &["three"] };
    assert_eq!(messages(&mut stream, expected.len()).await.0, expected, "the stream went on");
}

#[tokio::test]
async fn a_redis_that_is_frozen_for_a_moment_loses_nothing_and_does_nothing_twice() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|config| config.message_queue_size = 10_000).await;
    let session = a.session("2025-06-18").await;
    let mut stream = at(&b, &session).stream().await;
    let freezing = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            redis.signal("STOP");
            tokio::time::sleep(Duration::from_millis(1200)).await;
            redis.signal("CONT");
        }
    };
    let sending = async {
        for n in 1..=200 {
            assert_eq!(count(&at([&a, &b][n % 2], &session), &format!("message {n}.")).await, n as u64);
        }
    };
    let ((), (), (texts, _)) = tokio::join!(freezing, sending, messages(&mut stream, 200));
    for (n, text) in (1..).zip(&texts) {
        assert!(text.contains(&format!("message {n}.")), "{n}: {text}");
    }
}

#[tokio::test]
async fn a_redis_that_was_rolled_back_doubles_nothing_and_what_came_after_is_delivered() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|_| {}).await;
    let session = a.session("2025-06-18").await;
    let mut stream = at(&b, &session).stream().await;
    let mut seen = BTreeSet::new();
    for n in 1..=10 {
        count(&session, &format!("before {n}.")).await;
        let event = stream.not_a_finding().await.unwrap();
        assert!(seen.insert(event.id.unwrap()));
    }
    let kept = std::fs::metadata(redis.log()).unwrap().len();
    for n in 11..=20 {
        count(&session, &format!("lost {n}.")).await;
        let event = stream.not_a_finding().await.unwrap();
        assert!(seen.insert(event.id.unwrap()));
    }
    redis.kill().await;
    // Power failed: the tail of what was written never reached the disk.
    std::fs::OpenOptions::new().write(true).open(redis.log()).unwrap().set_len(kept).unwrap();
    redis.restart().await;
    let after = count(&at(&b, &session), "after 1.").await;
    assert!((10..=12).contains(&after), "Redis has lost ten: {after}");
    for n in 2..=5 {
        assert_eq!(count(&session, &format!("after {n}.")).await, after + n - 1);
    }
    for n in 1..=5 {
        let event = stream.not_a_finding().await.unwrap();
        let text = event.json()["params"]["data"].to_string();
        assert!(text.contains(&format!("after {n}.")), "{n}: {text}");
        assert!(seen.insert(event.id.unwrap()), "no id is given out twice");
    }
}

#[tokio::test]
async fn a_server_that_starts_before_its_redis_answers_503_and_goes_on_when_it_is_there() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    redis.kill().await;
    let url = redis.url();
    let mut server = Program::start(&[], &[("MCP_STORE", url.as_str())]).await;
    assert_eq!(server.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let (status, error) = refusal(server.post(&initialize("2025-06-18"))).await;
    assert_eq!((status, &error["data"]["outcome"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("refused")), "{error}");
    redis.restart().await;
    within(async { while server.session_or_none().await.is_none() {} }).await;
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK);
    server.signal("TERM");
    assert_eq!(within(server.end()).await, Some(0));
}

#[tokio::test]
async fn a_redis_that_throws_keys_away_or_wants_a_password_is_refused_at_the_start() {
    let Some(redis) = Redis::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await else {
        return;
    };
    let (code, _, errors) = run(&["--port", "0"], &[("MCP_STORE", redis.url().as_str())]).await;
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("allkeys-lru") && errors.contains("noeviction"), "{errors}");
    redis.cli(&["config", "set", "requirepass", "secret"]).await;
    let url = format!("redis://:wrong@127.0.0.1:{}", redis.port);
    let (code, _, errors) = run(&["--port", "0"], &[("MCP_STORE", url.as_str())]).await;
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("redis://***@127.0.0.1") && !errors.contains("wrong@"), "{errors}");
}

#[tokio::test]
async fn a_full_redis_is_told_and_sessions_can_still_be_ended() {
    let Some(redis) = Redis::start(&["--maxmemory", "4mb"]).await else { return };
    let server = redis.replica(|_| {}).await;
    let session = server.session("2025-06-18").await;
    let long = tool_call("echo", &json!({ "message": "x".repeat(100_000) }));
    let (status, error) = within(async {
        loop {
            let session = server.session_or_error(&initialize("2025-06-18")).await;
            let Ok(id) = session else { break session.unwrap_err() };
            let answer = within(Session { server: &server, id }.post(&long).send()).await.unwrap();
            if answer.status() != StatusCode::OK {
                break (answer.status(), within(answer.json::<Value>()).await.unwrap()["error"].take());
            }
        }
    })
    .await;
    assert_eq!((status, &error["data"]["outcome"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("refused")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("OOM"), "{error}");
    assert_eq!(session.delete().await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn two_deployments_on_one_redis_have_a_prefix_each() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let ours = redis.replica(|_| {}).await;
    let store = configured([("MCP_STORE", format!("{}?prefix=other:", redis.url()).as_str())]).store;
    let theirs = TestServer::with(|config| config.store = store).await;
    let session = ours.session("2025-06-18").await;
    let (status, error) = refusal(at(&theirs, &session).post(&ping())).await;
    assert_eq!((status, error["data"].get("reason")), (StatusCode::NOT_FOUND, None), "{error}");
    assert!(redis.cli(&["keys", "other:*"]).await.trim().is_empty());
}

#[tokio::test]
async fn the_rest_of_a_call_is_where_it_runs_and_the_others_say_so() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [a, b] = redis.replicas(|_| {}).await;
    let session = a.session("2025-11-25").await;
    let (status, error) = refusal(at(&b, &session).request(Method::GET).header("last-event-id", "call-0000-1-0")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(error["data"]["runsInInstance"], "0000", "{error}");
}

#[tokio::test]
async fn an_idle_session_takes_2_kb_and_one_with_100_messages_24() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let server = redis.replica(|_| {}).await;
    let session = server.session("2025-06-18").await;
    let bytes = async |kind: &str| {
        let key = format!("mcp:{{{}}}:{kind}", session.id);
        redis.cli(&["memory", "usage", &key, "samples", "0"]).await.trim().parse::<usize>().unwrap_or(0)
    };
    let idle = (bytes("s").await, bytes("q").await);
    assert!(idle.0 + idle.1 <= 2048, "{idle:?}");
    for n in 0..100 {
        count(&session, &n.to_string()).await;
    }
    let full = bytes("s").await + bytes("q").await;
    assert!(full <= 24 * 1024, "{full}");
}
