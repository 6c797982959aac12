//! Sessions that outlive the process: a store on disk, with the program itself, killed, damaged and crowded out.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::StoreAt;
use mcp_echo_stateful::session::EndReason;
use mcp_echo_stateful::session::disk::{Disk, DiskLimits};
use mcp_echo_stateful::session::store::{
    Commit, Committed, Create, Created, Down, Ended, Epoch, Gone, Here, Later, Loaded, Open, Opened, Store, StoreTime,
    Take, Taken,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::program::{Program, run};
use crate::server::{Events, TestServer, initialize, tool_call, within};

/// A client that writes down what was acknowledged.
struct Ledger {
    http: Client,
    url: String,
    session: String,
    /// Echoes acknowledged, and one that may have been done.
    echoes: u64,
    in_doubt: u64,
    /// The last event that came on its stream.
    last_event: Option<String>,
}

impl Ledger {
    fn new() -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        Self { http, url: String::new(), session: String::new(), echoes: 0, in_doubt: 0, last_event: None }
    }

    /// Calls a tool; `None` where the answer did not come.
    async fn call(&self, tool: &str, arguments: Value) -> Option<Value> {
        let request = self.http.post(&self.url).header("accept", "application/json, text/event-stream");
        let request = request.header("mcp-session-id", &self.session).json(&tool_call(tool, &arguments));
        let answer: Value = within(request.send()).await.ok()?.json().await.ok()?;
        Some(answer)
    }

    /// Echoes until the server is gone.
    async fn echo_until_killed(&mut self) {
        loop {
            let Some(answer) = self.call("echo", json!({ "message": format!("m{}", self.echoes) })).await else {
                self.in_doubt += 1;
                return;
            };
            let count = answer["result"]["structuredContent"]["echoCount"].as_u64();
            let count = count.unwrap_or_else(|| panic!("{answer}"));
            assert!(count > self.echoes && count <= self.echoes + 1 + self.in_doubt, "{count} after {}", self.echoes);
            (self.echoes, self.in_doubt) = (count, 0);
        }
    }

    /// Messages after the last that it had, with their ids.
    async fn catch_up(&mut self) -> Vec<String> {
        let mut request = self.http.get(format!("{}?wait=0", self.url)).header("accept", "text/event-stream");
        request = request.header("mcp-session-id", &self.session);
        if let Some(id) = &self.last_event {
            request = request.header("last-event-id", id);
        }
        let events = Events::of(within(request.send()).await.unwrap()).rest().await;
        let ids: Vec<String> = events.iter().filter_map(|event| event.id.clone()).collect();
        self.last_event = ids.last().cloned().or(self.last_event.take());
        ids
    }
}

async fn program(file: &Path) -> Program {
    let store = format!("disk:{}", file.display());
    Program::start(&[], &[("MCP_STORE", &store), ("MCP_MESSAGE_QUEUE_SIZE", "10000")]).await
}

/// How often the server is killed: `STORES_KILLS=200` for the long run.
#[expect(clippy::disallowed_methods, reason = "it says how long the tests may take, and nothing of what they test")]
fn kills() -> u32 {
    std::env::var("STORES_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions");
    let mut ledger = Ledger::new();
    let mut seen = std::collections::HashSet::new();
    for round in 0..kills() {
        let mut server = program(&file).await;
        ledger.url.clone_from(&server.url);
        if round == 0 {
            ledger.session = server.session().await;
        }
        for id in ledger.catch_up().await {
            assert!(seen.insert(id.clone()), "{id} came twice");
        }
        // Echoes go on while the process is killed at some moment between two of them, or in one.
        let kill = async {
            for _ in 0..round % 7 {
                tokio::task::yield_now().await;
            }
            while ledger_is_young(&server.url, &ledger.http, &ledger.session, u64::from(round)).await {}
            server.signal("KILL");
        };
        let mut echoing =
            Ledger { http: ledger.http.clone(), url: ledger.url.clone(), session: ledger.session.clone(), ..ledger };
        tokio::join!(echoing.echo_until_killed(), kill);
        ledger = echoing;
        within(server.end()).await;
    }
    let server = program(&file).await;
    ledger.url.clone_from(&server.url);
    for id in ledger.catch_up().await {
        assert!(seen.insert(id.clone()), "{id} came twice");
    }
    let answer = ledger.call("replayLastEcho", json!({})).await.unwrap();
    let count = answer["result"]["structuredContent"]["echoCount"].as_u64().unwrap();
    assert!(
        (ledger.echoes..=ledger.echoes + ledger.in_doubt).contains(&count),
        "{answer}: {} acknowledged",
        ledger.echoes
    );
    // One message an echo: those that were acknowledged came, each once.
    assert!(seen.len() as u64 >= ledger.echoes, "{} messages for {} echoes", seen.len(), ledger.echoes);
}

/// Whether the session has not been used so often yet since the server began.
async fn ledger_is_young(url: &str, http: &Client, session: &str, round: u64) -> bool {
    let request = http.post(url).header("accept", "application/json, text/event-stream");
    let request = request.header("mcp-session-id", session).json(&tool_call("healthProbe", &json!({})));
    let answer: Value = within(within(request.send()).await.unwrap().json()).await.unwrap();
    let commits = answer["result"]["structuredContent"]["store"]["commits"].as_u64().unwrap();
    commits < 20 + round * 5 % 37
}

#[tokio::test]
async fn a_session_goes_on_after_a_restart_with_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions");
    let mut server = program(&file).await;
    let mut ledger = Ledger { url: server.url.clone(), session: server.session().await, ..Ledger::new() };
    for n in 1..=3 {
        let answer = ledger.call("echo", json!({ "message": "x", "customData": { "n": n } })).await.unwrap();
        assert_eq!(answer["result"]["structuredContent"]["echoCount"], n);
    }
    let first = ledger.catch_up().await;
    ledger.last_event = first.first().cloned();
    server.signal("TERM");
    assert_eq!(server.end().await, Some(0));

    let server = program(&file).await;
    ledger.url.clone_from(&server.url);
    assert_eq!(ledger.catch_up().await, first[1..], "what the client may not have had comes again, and no more");
    let answer = ledger.call("replayLastEcho", json!({})).await.unwrap();
    assert_eq!(answer["result"]["structuredContent"]["echoCount"], 3, "{answer}");
}

#[tokio::test]
async fn a_deleted_session_stays_deleted_and_says_so_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions");
    let mut server = program(&file).await;
    let mut ledger = Ledger { url: server.url.clone(), session: server.session().await, ..Ledger::new() };
    let delete = |ledger: &Ledger| ledger.http.delete(&ledger.url).header("mcp-session-id", &ledger.session).send();
    assert_eq!(within(delete(&ledger)).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(within(delete(&ledger)).await.unwrap().status(), StatusCode::NOT_FOUND);
    server.signal("KILL");
    server.end().await;
    let server = program(&file).await;
    ledger.url.clone_from(&server.url);
    let answer = ledger.call("echo", json!({ "message": "x" })).await.unwrap();
    assert_eq!(answer["error"]["data"]["reason"], "deleted", "{answer}");
}

#[tokio::test]
async fn a_second_server_on_one_file_is_refused_and_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions");
    let _first = program(&file).await;
    let store = format!("disk:{}", file.display());
    let (code, _, stderr) = run(&["--port", "0"], &[("MCP_STORE", &store)]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("another process has it open") && stderr.contains(&*file.to_string_lossy()), "{stderr}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_never_read_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions");
    let mut server = program(&file).await;
    let ledger = Ledger { url: server.url.clone(), session: server.session().await, ..Ledger::new() };
    for _ in 0..4 {
        ledger.call("echo", json!({ "message": "kept" })).await.unwrap();
    }
    server.signal("TERM");
    server.end().await;
    let whole = std::fs::read(&file).unwrap();
    // A byte in every part of the file: refused, or right. Steps are prime, so that all places in a page have their turn.
    let step = if kills() > 100 { 31 } else { 997 };
    for at in (0..whole.len()).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let damaged = folder.path().join(format!("damaged-{at}"));
        std::fs::write(&damaged, &bytes).unwrap();
        let opened = TestServer::try_start(|config| config.store = StoreAt::Disk(damaged.clone())).await;
        let server = match opened {
            Ok(server) => server,
            Err(why) => {
                assert!(why.contains("damaged") && why.contains(&*damaged.to_string_lossy()), "{at}: {why}");
                continue;
            }
        };
        let call = server.post(&tool_call("replayLastEcho", &json!({}))).header("mcp-session-id", &ledger.session);
        let answer: Value = within(within(call.send()).await.unwrap().json()).await.unwrap();
        let found = &answer["result"]["structuredContent"];
        assert_eq!((&found["message"], &found["echoCount"]), (&json!("kept"), &json!(4)), "{at}: {answer}");
        server.stop().await;
        std::fs::remove_file(&damaged).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions");
    let store = format!("disk:{}", file.display());
    // No file may grow beyond some megabytes, as on a disk that is full then.
    let mut server = Program::with_file_size(4096, &[("MCP_STORE", &store), ("MCP_MESSAGE_QUEUE_SIZE", "10000")]).await;
    let mut ledger = Ledger { url: server.url.clone(), session: server.session().await, ..Ledger::new() };
    let refused = loop {
        let message = "x".repeat(200_000);
        let answer =
            ledger.call("echo", json!({ "message": message, "customData": { "n": ledger.echoes } })).await.unwrap();
        match answer["result"]["structuredContent"]["echoCount"].as_u64() {
            Some(count) => ledger.echoes = count,
            None => break answer,
        }
        let other = Ledger {
            url: server.url.clone(),
            session: server.session_or_none().await.unwrap_or_default(),
            ..Ledger::new()
        };
        other.call("echo", json!({ "message": message })).await;
        assert!(ledger.echoes < 1000, "the disk is never full");
    };
    let data = &refused["error"]["data"];
    assert_eq!(data["store"], json!(store), "{refused}");
    assert!(["refused", "unknown"].map(Value::from).contains(&data["outcome"]), "{refused}");
    assert_eq!(server.health().await["status"], "ok");
    server.signal("KILL");
    server.end().await;

    let server = program(&file).await;
    ledger.url.clone_from(&server.url);
    let answer = ledger.call("replayLastEcho", json!({})).await.unwrap();
    let count = answer["result"]["structuredContent"]["echoCount"].as_u64().unwrap();
    assert!((ledger.echoes..=ledger.echoes + 1).contains(&count), "{count} of {} acknowledged", ledger.echoes);
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK);
}

/// A store that can be taken away.
struct Fickle {
    disk: Disk,
    is_down: AtomicBool,
}

impl Fickle {
    fn unless_down<'a, T: 'a>(&self, ask: impl FnOnce() -> Later<'a, T>) -> Later<'a, T> {
        if self.is_down.load(Ordering::Relaxed) {
            let down = Down { why: "connection refused".to_owned(), reached: false, lasts: false };
            return Box::pin(async { Err(down) });
        }
        ask()
    }
}

impl Store for Fickle {
    fn create<'a>(&'a self, create: Create<'a>) -> Later<'a, Created> {
        self.unless_down(|| self.disk.create(create))
    }

    fn load(&self, id: Uuid) -> Later<'_, Result<Loaded, Gone>> {
        self.unless_down(|| self.disk.load(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a>) -> Later<'a, Committed> {
        self.unless_down(|| self.disk.commit(commit))
    }

    fn note_intrusion(&self, id: Uuid, anonymous: bool) -> Later<'_, ()> {
        self.unless_down(|| self.disk.note_intrusion(id, anonymous))
    }

    fn open(&self, id: Uuid, open: Open) -> Later<'_, Result<Opened, Gone>> {
        self.unless_down(|| self.disk.open(id, open))
    }

    fn take(&self, id: Uuid, take: Take) -> Later<'_, Taken> {
        self.unless_down(|| self.disk.take(id, take))
    }

    fn touch(&self, id: Uuid, lease: Duration) -> Later<'_, ()> {
        self.unless_down(|| self.disk.touch(id, lease))
    }

    fn close(&self, id: Uuid, epoch: Epoch, cut: bool) -> Later<'_, ()> {
        self.unless_down(|| self.disk.close(id, epoch, cut))
    }

    fn end(&self, id: Uuid, reason: EndReason, unless_used_since: Option<StoreTime>) -> Later<'_, Ended> {
        self.unless_down(|| self.disk.end(id, reason, unless_used_since))
    }
}

/// Nobody uses the sessions of a store but those who ask it.
struct Nobody;

impl Here for Nobody {
    fn is_in_use(&self, _: Uuid) -> bool {
        false
    }

    fn ended(&self, _: Uuid, _: Gone) {}
}

#[tokio::test]
async fn a_store_that_is_down_is_named_and_comes_back_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let limits = DiskLimits { max_sessions: 100, warning: Duration::ZERO };
    let clock = Arc::new(Clock::new());
    let disk = Disk::open(&folder.path().join("sessions"), limits, Box::new(Nobody), clock).unwrap();
    let store = Arc::new(Fickle { disk, is_down: AtomicBool::new(false) });
    let server = TestServer::on_store(Arc::clone(&store) as _).await;
    let session = server.session("2025-06-18").await;
    let echo = |n: u64| session.post(&tool_call("echo", &json!({ "message": n.to_string() })));
    let ready = async || {
        let response = within(server.request(Method::GET, "/readyz").send()).await.unwrap();
        (response.status(), within(response.json::<Value>()).await.unwrap()["store"]["status"].clone())
    };
    assert_eq!(within(echo(1).send()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(ready().await, (StatusCode::OK, json!("ok")));

    store.is_down.store(true, Ordering::Relaxed);
    for request in
        [echo(2), server.post(&initialize("2025-06-18")), session.request(Method::GET), session.request(Method::DELETE)]
    {
        let response = within(request.header("accept", "application/json, text/event-stream").send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
        let body: Value = within(response.json()).await.unwrap();
        let (message, data) = (body["error"]["message"].as_str().unwrap(), &body["error"]["data"]);
        assert!(message.contains("connection refused") && message.contains("nothing was changed"), "{body}");
        assert_eq!((&data["outcome"], data["since"].is_string()), (&json!("refused"), true), "{body}");
    }
    assert_eq!(ready().await, (StatusCode::SERVICE_UNAVAILABLE, json!("unavailable")));
    let alive: Value =
        within(within(server.request(Method::GET, "/healthz").send()).await.unwrap().json()).await.unwrap();
    assert_eq!((&alive["status"], &alive["store"]["status"]), (&json!("ok"), &json!("unavailable")));

    store.is_down.store(false, Ordering::Relaxed);
    assert_eq!(ready().await, (StatusCode::OK, json!("ok")), "it is asked, and answers");
    let answer: Value = within(within(echo(3).send()).await.unwrap().json()).await.unwrap();
    assert_eq!(answer["result"]["structuredContent"]["echoCount"], 2, "what was refused was not done: {answer}");
}

#[tokio::test]
async fn a_session_about_to_expire_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = StoreAt::Disk(folder.path().join("sessions"));
    let server = TestServer::frozen(|config| config.store = at).await;
    let session = server.session("2025-06-18").await;
    server.clock.advance(Duration::from_secs(3600 - 60));
    // The store looks with the next commit when a second has passed: that of another session here.
    server.session("2025-06-18").await;
    let events = Events::of(within(session.request(Method::GET).send()).await.unwrap()).message().await.unwrap();
    assert!(events.json()["params"]["data"]["message"].as_str().unwrap().contains("expires in"), "{events:?}");
}

#[tokio::test]
async fn an_expired_session_is_told_as_such_and_use_puts_it_off() {
    let folder = tempfile::tempdir().unwrap();
    let at = StoreAt::Disk(folder.path().join("sessions"));
    let server = TestServer::frozen(|config| config.store = at.clone()).await;
    let (used, idle) = (server.session("2025-06-18").await, server.session("2025-06-18").await);
    server.clock.advance(Duration::from_millis(3_599_999));
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(within(used.post(&ping).send()).await.unwrap().status(), StatusCode::OK);
    server.clock.advance(Duration::from_millis(1));
    let answer: Value = within(within(idle.post(&ping).send()).await.unwrap().json()).await.unwrap();
    assert_eq!(answer["error"]["data"]["reason"], "expired", "{answer}");
    assert_eq!(within(used.post(&ping).send()).await.unwrap().status(), StatusCode::OK, "use puts it off");
}

#[tokio::test]
async fn sixty_four_calls_at_once_on_one_session_are_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::with(|config| config.store = StoreAt::Disk(folder.path().join("sessions"))).await;
    let session = server.session("2025-06-18").await;
    let echoes = (0..64).map(|n| session.call("echo", json!({ "message": n.to_string() })));
    let mut counts: Vec<u64> = Vec::new();
    for answer in futures_util::future::join_all(echoes).await {
        counts.push(answer["structuredContent"]["echoCount"].as_u64().unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bound_session_stays_its_owners_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let at = StoreAt::Disk(folder.path().join("sessions"));
    let server = TestServer::with(|config| config.store = at.clone()).await;
    let session = server.session_with("2025-06-18", |request| request.header("x-user-id", "alice")).await;
    let id = session.id.clone();
    server.stop().await;
    let server = TestServer::with(|config| config.store = at.clone()).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let ask = |who| server.post(&ping).header("mcp-session-id", &id).header("x-user-id", who);
    assert_eq!(within(ask("bob").send()).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(within(ask("alice").send()).await.unwrap().status(), StatusCode::OK);
    let stream = server.request(Method::GET, "/mcp?wait=0").header("mcp-session-id", &id);
    let stream = stream.header("accept", "text/event-stream").header("x-user-id", "bob");
    assert_eq!(within(stream.send()).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_session_too_many_ends_the_longest_idle_one_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let at = StoreAt::Disk(folder.path().join("sessions"));
    let change = |config: &mut mcp_echo_stateful::config::Config| {
        config.store = at.clone();
        config.max_sessions = 3;
    };
    let server = TestServer::with(change).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(server.session("2025-06-18").await.id);
    }
    server.stop().await;
    // Also those that another run made.
    let server = TestServer::with(change).await;
    within(server.post(&initialize("2025-06-18")).send()).await.unwrap();
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let mut alive = Vec::new();
    for id in &ids {
        alive.push(
            within(server.post(&ping).header("mcp-session-id", id).send()).await.unwrap().status() == StatusCode::OK,
        );
    }
    assert_eq!(alive, [false, true, true]);
}
