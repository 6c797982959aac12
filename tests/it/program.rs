//! The program itself: what it prints, how it exits, what it logs and what it never logs.

use std::process::{Output, Stdio};

use mcp_echo_stateful::config::VARIABLES;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};

use crate::modern::{Modern, VERSION};
use crate::server::{Events, initialize, tool_call, within};

const NAME: &str = "mcp-echo-streamablehttp-server-stateful";

/// The program in an environment of the test's own.
fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-echo-streamablehttp-server-stateful"));
    // Of the many at once one alone could have the admin listener's usual address.
    command.args(arguments).env_clear().env("MCP_ADMIN_ADDR", "off").envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = within(command(arguments, environment).output()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The program at work on a free port.
pub struct Program {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Its lines so far.
    pub log: Vec<String>,
    /// The MCP endpoint.
    pub url: String,
    http: Client,
}

impl Program {
    pub async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run_by(command(&[&["--port", "0"], arguments].concat(), environment)).await
    }

    /// With at most so many files open.
    pub async fn with_open_files(limit: u32, environment: &[(&str, &str)]) -> Self {
        Self::limited(&format!("ulimit -n {limit}"), environment).await
    }

    /// With no file larger than so many blocks of 512 bytes: beyond that, writing fails as on a full disk.
    pub async fn with_file_size(blocks: u32, environment: &[(&str, &str)]) -> Self {
        Self::limited(&format!("trap '' XFSZ && ulimit -f {blocks}"), environment).await
    }

    async fn limited(limit: &str, environment: &[(&str, &str)]) -> Self {
        let mut limited = Command::new("/bin/sh");
        limited.args(["-c", &format!("{limit} && exec \"$@\""), "sh"]);
        limited.arg(env!("CARGO_BIN_EXE_mcp-echo-streamablehttp-server-stateful")).args(["--port", "0"]);
        limited.env_clear().env("MCP_ADMIN_ADDR", "off").envs(environment.iter().copied());
        limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Self::run_by(limited).await
    }

    async fn run_by(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let http = Client::builder().no_proxy().build().unwrap();
        let mut program = Self { child, stdout, log: Vec::new(), url: String::new(), http };
        let line = program.line("http://").await;
        let rest = &line[line.find("http://").unwrap()..];
        rest[..rest.find("/mcp").unwrap() + 4].clone_into(&mut program.url);
        program
    }

    /// Reads on to the next line that contains `what`.
    pub async fn line(&mut self, what: &str) -> String {
        loop {
            let line = within(self.stdout.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("no line with {what:?} in {:#?}", self.log));
            self.log.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    pub fn post(&self, body: &Value) -> RequestBuilder {
        self.http.post(&self.url).header("accept", "application/json, text/event-stream").json(body)
    }

    /// Initializes a session; returns its id.
    pub async fn session(&self) -> String {
        let response = within(self.post(&initialize("2025-06-18")).send()).await.unwrap();
        response.headers()["mcp-session-id"].to_str().unwrap().to_owned()
    }

    /// The same, where there may be no room for it.
    pub async fn session_or_none(&self) -> Option<String> {
        let response = within(self.post(&initialize("2025-06-18")).send()).await.unwrap();
        response.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned())
    }

    /// GET of another path: status and JSON.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = within(self.http.get(self.url.replace("/mcp", path)).send()).await.unwrap();
        (response.status(), within(response.json()).await.unwrap())
    }

    pub async fn health(&self) -> Value {
        let url = self.url.replace("/mcp", "/healthz");
        within(within(self.http.get(url).send()).await.unwrap().json()).await.unwrap()
    }

    /// A file below `/proc` of the running process.
    pub fn proc(&self, name: &str) -> std::path::PathBuf {
        format!("/proc/{}/{name}", self.child.id().unwrap()).into()
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id().unwrap());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Its exit code, once it ends by itself, though nobody reads its lines.
    pub async fn end_unread(&mut self) -> Option<i32> {
        within(self.child.wait()).await.unwrap().code()
    }

    /// Its exit code, once it ends by itself. All its lines are read then.
    pub async fn end(&mut self) -> Option<i32> {
        while let Some(line) = within(self.stdout.next_line()).await.unwrap() {
            self.log.push(line);
        }
        within(self.child.wait()).await.unwrap().code()
    }
}

#[tokio::test]
async fn help_names_every_flag_and_variable() {
    let (code, stdout, stderr) = run(&["--help"], &[]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for variable in VARIABLES {
        assert!(stdout.contains(variable.name), "{} is not in {stdout}", variable.name);
        assert!(variable.flag.is_none_or(|flag| stdout.contains(flag)), "{}", variable.name);
    }
    assert!(stdout.contains("healthcheck"));
    let (code, stdout, stderr) = run(&["--version"], &[]).await;
    assert_eq!((code, stdout, stderr), (Some(0), format!("{NAME} {}\n", env!("CARGO_PKG_VERSION")), String::new()));
}

#[tokio::test]
async fn all_mistakes_are_told_at_once_and_nothing_is_begun() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let log_file = folder.path().join("logs/mcp.log");
    let environment = [
        ("MCP_ECHO_PORT", port.as_str()),
        ("MCP_SESSION_CLEANUP_INTERVAL", "soon"),
        ("MCP_SESSION_BINDING", "maybe"),
        ("MCP_MAX_SESSIONS", "0"),
        ("MCP_PROTOCOL_VERSIONS_SUPPORTED", "2025-06-18,1.0"),
        ("MCP_ALLOWED_ORIGINS", "not an origin"),
        ("LOG_FORMAT", "xml"),
        ("LOG_FILE", log_file.to_str().unwrap()),
    ];
    let (code, stdout, stderr) = run(&["--session-timeout", "-5"], &environment).await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    let wrong = [
        "--session-timeout",
        "MCP_SESSION_CLEANUP_INTERVAL",
        "MCP_SESSION_BINDING",
        "MCP_MAX_SESSIONS",
        "MCP_PROTOCOL_VERSIONS_SUPPORTED",
        "MCP_ALLOWED_ORIGINS",
        "LOG_FORMAT",
    ];
    assert_eq!(lines.len(), wrong.len(), "{stderr}");
    for name in wrong {
        assert_eq!(lines.iter().filter(|line| line.starts_with(name)).count(), 1, "{name}: {stderr}");
    }
    assert!(!folder.path().join("logs").exists());
    let (code, _, stderr) = run(&["--no-such-flag"], &[]).await;
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
}

#[tokio::test]
async fn port_0_is_a_free_one_that_is_told() {
    let program = Program::start(&[], &[]).await;
    assert!(program.url.starts_with("http://127.0.0.1:") && !program.url.contains(":0/"), "{}", program.url);
    assert_eq!(program.health().await["status"], "ok");
    // Also where nothing is logged.
    let program = Program::start(&[], &[("LOG_LEVEL", "off")]).await;
    assert_eq!(program.log, [program.url.as_str()]);
    assert_eq!(program.health().await["activeSessions"], 0);
}

#[tokio::test]
async fn a_flag_wins_over_its_variable() {
    let environment = [("MCP_ECHO_PORT", "1"), ("MCP_SESSION_TIMEOUT", "100")];
    let program = Program::start(&["--session-timeout", "200"], &environment).await;
    let call = program.post(&tool_call("sessionInfo", &json!({}))).header("mcp-protocol-version", "2025-06-18");
    let answer: Value = within(within(call.send()).await.unwrap().json()).await.unwrap();
    assert_eq!(answer["result"]["structuredContent"]["server"]["timeoutSeconds"], 200);
}

#[tokio::test]
async fn a_port_in_use_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, stderr) = run(&["--port", &port], &[]).await;
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains(&port) && stderr.contains("in use") && stderr.contains("--port"), "{stderr}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_it_in_order() {
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(&[], &[]).await;
        let session = program.session().await;
        let stream = program.http.get(&program.url).header("accept", "text/event-stream");
        let mut stream = Events::of(within(stream.header("mcp-session-id", &session).send()).await.unwrap());
        stream.next().await.unwrap();
        let late = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "echo", "arguments": {"message": "late", "delayMs": 500}, "_meta": {"progressToken": 1},
        }});
        let mut call = Events::of(within(program.post(&late).send()).await.unwrap());
        call.message().await.unwrap();
        program.signal(signal);
        assert_eq!(stream.rest().await, []);
        let answer = call.rest().await.pop().unwrap().json();
        assert!(answer["result"]["content"][0]["text"].as_str().unwrap().starts_with("late\n"), "{answer}");
        assert_eq!(program.end().await, Some(0));
        assert!(program.log.iter().any(|line| line.contains(&format!("signal=\"SIG{signal}\""))), "{:#?}", program.log);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut program = Program::start(&[], &[("MCP_SHUTDOWN_GRACE", "3600")]).await;
    let late = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "echo", "arguments": {"message": "late", "delayMs": 60_000}, "_meta": {"progressToken": 1},
    }});
    let mut call = Events::of(within(program.post(&late).send()).await.unwrap());
    call.message().await.unwrap();
    program.signal("TERM");
    program.line("shutting down").await;
    program.signal("TERM");
    assert_eq!(program.end().await, Some(143));
}

#[cfg(unix)]
#[tokio::test]
async fn it_ends_with_0_when_the_grace_period_is_over_too() {
    let mut program = Program::start(&[], &[("MCP_SHUTDOWN_GRACE", "0")]).await;
    let late = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "echo", "arguments": {"message": "late", "delayMs": 60_000}, "_meta": {"progressToken": 1},
    }});
    let mut call = Events::of(within(program.post(&late).send()).await.unwrap());
    call.message().await.unwrap();
    program.signal("TERM");
    assert_eq!(program.end().await, Some(0));
    assert!(
        program.log.iter().any(|line| line.contains("WARN") && line.contains("still at work")),
        "{:#?}",
        program.log
    );
}

#[tokio::test]
async fn a_healthcheck_passes_and_leaves_no_session() {
    let program = Program::start(&[], &[]).await;
    let (code, stdout, stderr) = run(&["healthcheck", "--url", &program.url], &[]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("healthy: "), "{stdout}");
    let port = program.url.strip_prefix("http://127.0.0.1:").unwrap().strip_suffix("/mcp").unwrap();
    let (code, ..) = run(&["healthcheck"], &[("MCP_ECHO_HOST", "0.0.0.0"), ("MCP_ECHO_PORT", port)]).await;
    assert_eq!(code, Some(0), "it finds the server by the same variables");
    assert_eq!(program.health().await["activeSessions"], 0);
    let call = program.post(&tool_call("healthProbe", &json!({}))).header("mcp-protocol-version", "2025-06-18");
    let answer: Value = within(within(call.send()).await.unwrap().json()).await.unwrap();
    let sessions = &answer["result"]["structuredContent"]["sessions"];
    assert_eq!((&sessions["created"], &sessions["deleted"], &sessions["active"]), (&json!(2), &json!(2), &json!(0)));
}

#[tokio::test]
async fn a_healthcheck_fails_where_there_is_no_server() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/mcp");
    let (code, stdout, stderr) = run(&["healthcheck", "--url", &url], &[]).await;
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
    assert!(stderr.contains("cannot connect") && stderr.contains(&port.to_string()), "{stderr}");

    let program = Program::start(&[], &[]).await;
    let (code, _, stderr) = run(&["healthcheck", "--url", &program.url.replace("/mcp", "/nothing")], &[]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("404"), "{stderr}");
}

/// Ends the program and returns its log as JSON.
#[cfg(unix)]
async fn json_log(mut program: Program) -> Vec<Value> {
    program.signal("TERM");
    assert_eq!(program.end().await, Some(0));
    program.log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"))).collect()
}

#[cfg(unix)]
#[tokio::test]
async fn a_request_is_one_json_line_that_says_all() {
    let program = Program::start(&[], &[("LOG_FORMAT", "json")]).await;
    let session = program.session().await;
    let call = program.post(&tool_call("echo", &json!({"message": "line\nbreak"}))).header("x-request-id", "call-1");
    let call = call.header("mcp-session-id", &session).header("x-user-id", "alice");
    assert_eq!(within(call.header("x-forwarded-for", "203.0.113.7").send()).await.unwrap().status(), StatusCode::OK);
    let refused = program.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).header("x-request-id", "call-2");
    let refused = within(refused.header("mcp-session-id", "no-such-session").send()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    program.health().await;

    let log = json_log(program).await;
    for line in &log {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let of = |line: &&Value, id: &str| line["span"]["request_id"] == id && line.get("status").is_some();
    let lines = |id: &str| log.iter().filter(|line| of(line, id)).collect::<Vec<_>>();
    let [line] = lines("call-1")[..] else { panic!("{log:#?}") };
    let span = &line["span"];
    assert_eq!(
        (&line["level"], &span["method"], &span["tool"]),
        (&json!("INFO"), &json!("tools/call"), &json!("echo"))
    );
    assert_eq!(span["session"], session[..8]);
    assert_eq!((&span["forwarded_for"], &span["user"]), (&json!("203.0.113.7"), &json!("alice")));
    assert_eq!(line["status"], 200);
    assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    assert_eq!((&span["http_method"], &span["path"]), (&json!("POST"), &json!("/mcp")));
    assert_eq!(line["message"], "answered");

    let [line] = lines("call-2")[..] else { panic!("{log:#?}") };
    assert_eq!((&line["status"], &line["span"]["method"]), (&json!(404), &json!("ping")));
    let message = line["message"].as_str().unwrap();
    assert!(message.starts_with("refused: Session not found"), "{message}");
    let created = log.iter().find(|line| line["message"] == "session created").unwrap();
    assert!(created.get("session").is_none() && created["span"]["session"] == session[..8], "{created}");
    assert!(!log.iter().any(|line| line["span"]["path"] == "/healthz"), "probes are no news");
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_says_that_someone_else_tried_a_session() {
    let program = Program::start(&[], &[("LOG_FORMAT", "json")]).await;
    let response = within(program.post(&initialize("2025-06-18")).header("x-user-id", "alice").send()).await.unwrap();
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let ping =
        || program.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).header("mcp-session-id", &session);
    within(ping().header("x-user-id", "bob").send()).await.unwrap();
    within(ping().send()).await.unwrap();
    within(ping().header("x-user-id", "alice").send()).await.unwrap();
    let log = json_log(program).await;
    let tried = |line: &&Value| line["message"].as_str().is_some_and(|message| message.contains("tried a session"));
    let warnings: Vec<_> = log.iter().filter(tried).collect();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for (warning, who) in warnings.iter().zip(["another identity", "without identity"]) {
        assert!(warning["message"].as_str().unwrap().contains(who), "{warning}");
        assert!(warning.to_string().contains(&session[..8]) && !warning.to_string().contains(&session), "{warning}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_tells_of_handles_as_of_sessions() {
    let program = Program::start(&[], &[("LOG_FORMAT", "json"), ("MCP_MAX_SESSIONS", "1")]).await;
    let send = async |call: Modern, user: &str| {
        let post =
            program.http.post(&program.url).headers(call.all_headers()).header("x-user-id", user).json(&call.body);
        within(within(post.send()).await.unwrap().json::<Value>()).await.unwrap()
    };
    let echo = || Modern::call("echo", json!({"message": "m"}));
    let made = send(echo(), "alice").await;
    let handle = made["result"]["structuredContent"]["sessionId"].as_str().unwrap();
    send(Modern::call("sessionInfo", json!({"sessionId": handle})), "bob").await;
    send(echo(), "bob").await;
    let log = json_log(program).await;
    let told = |level: &str, words: &str| {
        let told =
            log.iter().filter(|line| line["level"] == level && line["message"].as_str().unwrap().contains(words));
        told.filter(|line| line["session"] == handle[..8] && !line.to_string().contains(handle)).count()
    };
    for (level, words) in [("INFO", "session created"), ("WARN", "another identity"), ("WARN", "evicted")] {
        assert_eq!(told(level, words), 1, "{words}: {log:#?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_sweep_comes_by_itself_and_speaks_only_of_what_it_removed() {
    let environment = [("MCP_SESSION_TIMEOUT", "1"), ("MCP_SESSION_CLEANUP_INTERVAL", "1")];
    let mut program = Program::start(&[], &environment).await;
    program.session().await;
    program.line("removed 1 expired session").await;
    assert_eq!(program.health().await["activeSessions"], 0);
    program.signal("TERM");
    assert_eq!(program.end().await, Some(0));
    assert_eq!(program.log.iter().filter(|line| line.contains("removed")).count(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_file_gets_the_same_lines_and_its_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/down/mcp.log");
    let mut program = Program::start(&[], &[("LOG_FILE", file.to_str().unwrap())]).await;
    program.session().await;
    program.signal("TERM");
    assert_eq!(program.end().await, Some(0));
    let written = std::fs::read_to_string(&file).unwrap();
    // Each has its own times.
    let untimed = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    let lines: Vec<_> = written.lines().map(untimed).collect();
    assert_eq!(lines, program.log.iter().map(|line| untimed(line)).collect::<Vec<_>>());
    assert!(written.contains("session created") && written.contains("all requests finished"), "{written}");
}

#[tokio::test]
async fn a_log_file_that_cannot_be_written_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(&["--port", "0"], &[("LOG_FILE", folder.path().to_str().unwrap())]).await;
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
    assert!(stderr.starts_with("LOG_FILE"), "{stderr}");
}

/// What no line may contain.
const SECRET: &str = "S3cretMARKERx7Qw9Zt";

#[cfg(unix)]
#[tokio::test]
async fn secrets_and_whole_session_ids_are_in_no_log_line() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["text", "json"] {
        let file = folder.path().join(format);
        let environment = [("LOG_FORMAT", format), ("LOG_FILE", file.to_str().unwrap())];
        let mut program = Program::start(&["--debug"], &environment).await;
        let session = program.session().await;
        let jwt = format!("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9{SECRET}.{SECRET}");
        let opaque = format!("ghp_abc{SECRET}0123456789");
        let dress = |request: RequestBuilder| {
            request
                .header("authorization", format!("Bearer {opaque}"))
                .header("proxy-authorization", format!("Basic {SECRET}"))
                .header("cookie", format!("_oauth2_proxy={SECRET}; theme={SECRET}"))
                .header("x-auth-token", format!("{SECRET}{SECRET}"))
                .header("x-forwarded-access-token", &jwt)
                .header("x-api-key", SECRET)
                .header("dpop", &jwt)
                .header("referer", format!("https://app.example/cb?code={SECRET}&state=1"))
                .header("x-forwarded-uri", format!("/mcp?access_token={SECRET}"))
                .header("mcp-param-session", &session)
                .header("mcp-session-id", &session)
        };
        let bodies = [
            tool_call("bearerDecode", &json!({"token": jwt})),
            tool_call("bearerDecode", &json!({"token": opaque, "includeRaw": true})),
            tool_call("echo", &json!({"message": SECRET, "customData": {"password": SECRET}})),
            tool_call("echo", &json!({"message": 5, SECRET: SECRET})),
            tool_call(&session, &json!({})),
            tool_call("printHeader", &json!({})),
            tool_call("authContext", &json!({})),
            tool_call("sessionInfo", &json!({})),
            tool_call("environmentDump", &json!({"showSecrets": true})),
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {"token": SECRET}}}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": SECRET}}),
        ];
        for body in bodies {
            within(dress(program.post(&body)).send()).await.unwrap();
        }
        let odd = [
            Modern::call("sessionInfo", json!({"sessionId": session})).header("mcp-param-session", "other"),
            Modern::call("sessionInfo", json!({"sessionId": "other"})).header("mcp-param-session", &session),
            Modern::call("sessionInfo", json!({"sessionId": session})).header("mcp-name", &jwt),
            Modern::call("sessionInfo", json!({"sessionId": session})),
            Modern::call(&opaque, json!({"sessionId": session})),
            Modern::call("echo", json!({"message": SECRET})),
            Modern::new(&opaque, json!({})),
            Modern::new("tools/list", json!({})).header("mcp-method", &opaque),
            Modern::new("tools/list", json!({})).meta(VERSION, opaque.as_str()),
        ];
        for request in odd {
            let post = program.http.post(&program.url).headers(request.all_headers()).json(&request.body);
            within(within(post.send()).await.unwrap().bytes()).await.unwrap();
        }
        let query = format!("{}?access_token={SECRET}&wait=0&api_key={SECRET}", program.url);
        for request in [
            dress(program.http.post(&query)).json(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})),
            dress(program.http.post(&query)).header("content-type", "application/json").body(format!("{{{SECRET}")),
            dress(program.http.get(&query)).header("accept", "text/event-stream"),
            dress(program.http.get(program.url.replace("/mcp", &format!("/nothing?token={SECRET}")))),
            program.http.get(program.url.replace("/mcp", &format!("/sessions/{session}"))),
            program.http.get(format!("{}?session_id={session}", program.url)),
            dress(program.http.request(Method::OPTIONS, &query)).header("origin", "https://evil.example"),
            dress(program.http.delete(&query)),
            dress(program.http.delete(&query)),
        ] {
            within(within(request.send()).await.unwrap().bytes()).await.unwrap();
        }
        program.signal("TERM");
        assert_eq!(program.end().await, Some(0));

        let written = std::fs::read_to_string(&file).unwrap();
        assert!(program.log.len() > 30 && written.lines().count() == program.log.len());
        for line in program.log.iter().map(String::as_str).chain(written.lines()) {
            assert!(!line.contains(SECRET), "a secret in {line}");
            assert!(!line.contains(&session), "a whole session id in {line}");
        }
        let head = program.log.iter().find(|line| line.contains("proxy-authorization")).expect("headers are logged");
        assert!(head.contains("authorization: Bearer ghp_abc..."), "{head}");
        assert!(head.contains(&format!("mcp-session-id: {}...", &session[..8])), "{head}");
    }
}
