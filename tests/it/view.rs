//! The admin listener: what came is there to be looked at, as lines, as a HAR, as a report and as figures; nothing secret is.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::program::{Program, run};
use crate::server::{Events, initialize, tool_call, within};

/// A server, and its admin listener.
struct Viewed {
    program: Program,
    admin: String,
    http: Client,
}

impl Viewed {
    async fn start(environment: &[(&str, &str)]) -> Self {
        let mut program = Program::start(&[], &[&[("MCP_ADMIN_ADDR", "127.0.0.1:0")], environment].concat()).await;
        let line = program.line("exchanges, reports and figures on http://").await;
        let admin = line[line.find("http://").unwrap()..].trim_end_matches('/').to_owned();
        Self { program, admin, http: Client::builder().no_proxy().build().unwrap() }
    }

    async fn get(&self, path: &str) -> String {
        let response = within(self.http.get(format!("{}{path}", self.admin)).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        within(response.text()).await.unwrap()
    }

    async fn exchanges(&self, query: &str) -> Vec<Value> {
        let lines = self.get(&format!("/exchanges{query}")).await;
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn call(&self, session: &str, body: &Value) -> StatusCode {
        let request = self.program.post(body).header("mcp-session-id", session);
        within(request.send()).await.unwrap().status()
    }
}

fn echo(text: &str) -> Value {
    tool_call("echo", &json!({ "message": text }))
}

#[tokio::test]
async fn everything_that_came_is_there_in_its_order_refused_or_not() {
    let viewed = Viewed::start(&[]).await;
    let session = viewed.program.session().await;
    assert_eq!(viewed.call(&session, &tool_call("authContext", &json!({}))).await, StatusCode::OK);
    assert_eq!(viewed.call("11111111-2222-4333-8444-555555555555", &echo("x")).await, StatusCode::NOT_FOUND);
    let url = &viewed.program.url;
    let preflight = viewed.http.request(Method::OPTIONS, url).header("origin", "https://app.example");
    within(preflight.header("access-control-request-method", "POST").send()).await.unwrap();
    let discovery = url.replace("/mcp", "/.well-known/oauth-protected-resource?resource=x");
    within(viewed.http.get(discovery).header("x-twice", "1").header("x-twice", "2").send()).await.unwrap();
    within(viewed.program.post(&json!("no message")).send()).await.unwrap();

    let seen = viewed.exchanges("").await;
    let shown: Vec<_> =
        seen.iter().map(|one| (one["method"].as_str().unwrap(), one["status"].as_u64().unwrap())).collect();
    assert_eq!(shown[..3], [("POST", 200), ("POST", 200), ("POST", 404)]);
    assert_eq!((shown[3].0, shown[4], shown[5]), ("OPTIONS", ("GET", 404), ("POST", 400)));
    let numbers: Vec<_> = seen.iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(seen[0]["rpc"], json!({"method": "initialize", "id": 0}));
    assert_eq!(seen[0]["session"], session[..8]);
    assert_eq!((&seen[1]["rpc"]["tool"], &seen[1]["session"]), (&json!("authContext"), &json!(session[..8])));
    assert!(seen[1]["findings"].as_array().unwrap().contains(&json!("http.version_header_missing")), "{}", seen[1]);
    assert!(seen[2]["refused"].as_str().unwrap().contains("Session not found"), "{}", seen[2]);
    assert!(seen[4]["target"].as_str().unwrap().starts_with("/.well-known/"));
    let twice: Vec<_> = seen[4]["headers"].as_array().unwrap().iter().filter(|one| one[0] == "x-twice").collect();
    assert_eq!(twice, [&json!(["x-twice", "1"]), &json!(["x-twice", "2"])]);
    assert!(seen[5]["refused"].is_string());

    assert_eq!(viewed.exchanges("?since=4").await.len(), 2);
    assert_eq!(viewed.exchanges("?last=1").await[0]["number"], 6);
    assert_eq!(viewed.exchanges("?status=404").await.len(), 2);
    assert_eq!(viewed.exchanges(&format!("?session={session}")).await.len(), 2);
    let all: Value = serde_json::from_str(&viewed.get("/exchanges?format=json").await).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 6);
}

/// The rule for all four ways to look: a secret that came in a header, a claim, an argument, a query or a cookie is in none.
#[tokio::test]
async fn no_secret_is_shown_anywhere() {
    let viewed = Viewed::start(&[("MCP_RECORD_BODIES", "true"), ("MCP_PROXY_SECRET", "X-Proof: MARKED-proof-1")]).await;
    let session = viewed.program.session().await;
    // {"alg":"none"} and {"sub":"alice","password":"MARKED-claim"}
    let token =
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsInBhc3N3b3JkIjoiTUFSS0VELWNsYWltIn0.TUFSS0VEc2lnbmF0dXJlTUFSS0VE";
    let url = format!("{}?access_token=a1b2c3d4e5f6MARKED&code=a1b2c3d4e5f6MARKED", viewed.program.url);
    let body = tool_call("bearerDecode", &json!({ "token": token }));
    let request = viewed.http.post(url).json(&body).header("accept", "application/json, text/event-stream");
    let request = request
        .header("mcp-session-id", &session)
        .header("authorization", format!("Bearer {token}"))
        .header("cookie", "session=a1b2c3d4e5f6MARKED")
        .header("x-api-key", "a1b2c3d4e5f6MARKED")
        .header("x-proof", "MARKED-proof-1")
        .header("proxy-authorization", "Basic TUFSS0VEOk1BUktFRA==");
    assert_eq!(within(request.send()).await.unwrap().status(), StatusCode::OK);
    for path in
        ["/exchanges", "/exchanges?format=json", "/exchanges?format=har", "/report", "/report?format=json", "/metrics"]
    {
        let shown = viewed.get(path).await;
        for secret in ["MARKED", "TUFSS0VE", &session, "eyJzdWIiOiJhbGljZSIs"] {
            assert!(!shown.contains(secret), "{path} shows {secret}: {shown}");
        }
    }
    let recorded = &viewed.exchanges("").await[1];
    assert!(recorded["request"].as_str().unwrap().contains("bearerDecode"), "{recorded}");
    assert!(recorded["answer"].as_str().unwrap().contains("result"), "{recorded}");
}

#[tokio::test]
async fn who_follows_has_what_comes_as_it_comes() {
    let viewed = Viewed::start(&[]).await;
    let session = viewed.program.session().await;
    let follow = viewed.http.get(format!("{}/exchanges?follow=1&since=1", viewed.admin));
    let mut response = within(follow.send()).await.unwrap();
    for n in 2..=5_u64 {
        assert_eq!(viewed.call(&session, &echo("x")).await, StatusCode::OK);
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend_from_slice(&within(response.chunk()).await.unwrap().unwrap());
        }
        let exchange: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&exchange["number"], &exchange["rpc"]["tool"]), (&json!(n), &json!("echo")));
    }
}

#[tokio::test]
async fn a_stream_says_what_went_out_on_it_and_who_ended_it() {
    let viewed = Viewed::start(&[("MCP_SSE_KEEPALIVE_INTERVAL", "1")]).await;
    let session = viewed.program.session().await;
    let get = || {
        viewed.http.get(&viewed.program.url).header("accept", "text/event-stream").header("mcp-session-id", &session)
    };
    let mut cut = Events::of(within(get().send()).await.unwrap());
    viewed.call(&session, &echo("x")).await;
    cut.message().await.unwrap();
    while cut.next().await.unwrap().name.as_deref() != Some("keep-alive") {}
    let open = &viewed.exchanges("?status=200").await[1]["stream"];
    assert_eq!((&open["open"], open["events"].as_u64() >= Some(1)), (&json!(true), true), "{open}");
    drop(cut);
    let ended = Events::of(within(get().send()).await.unwrap());
    let delete = viewed.http.delete(&viewed.program.url).header("mcp-session-id", &session);
    within(delete.send()).await.unwrap();
    within(ended.rest()).await;
    let ends = async {
        loop {
            let seen = viewed.exchanges("").await;
            let ends: Vec<_> = seen.iter().filter_map(|one| one["stream"]["endedBy"].as_str()).collect();
            if ends.len() == 2 {
                break ends.into_iter().map(str::to_owned).collect::<Vec<_>>();
            }
        }
    };
    assert_eq!(within(ends).await, ["client", "server"]);
}

#[tokio::test]
async fn an_archive_is_one_that_developer_tools_open() {
    let viewed = Viewed::start(&[]).await;
    viewed.program.session().await;
    let har: Value = serde_json::from_str(&viewed.get("/exchanges?format=har").await).unwrap();
    assert_eq!(har["log"]["version"], "1.2");
    let entry = &har["log"]["entries"][0];
    // What HAR 1.2 requires of an entry.
    for place in [
        "/startedDateTime",
        "/time",
        "/request/method",
        "/request/url",
        "/request/httpVersion",
        "/request/cookies",
        "/request/headers",
        "/request/queryString",
        "/request/headersSize",
        "/request/bodySize",
        "/response/status",
        "/response/statusText",
        "/response/httpVersion",
        "/response/cookies",
        "/response/headers",
        "/response/content/size",
        "/response/content/mimeType",
        "/response/redirectURL",
        "/response/headersSize",
        "/response/bodySize",
        "/cache",
        "/timings/send",
        "/timings/wait",
        "/timings/receive",
    ] {
        assert!(entry.pointer(place).is_some(), "{place}: {entry}");
    }
    assert_eq!(entry["request"]["url"], viewed.program.url);
}

#[tokio::test]
async fn figures_are_open_metrics_and_no_label_is_a_callers() {
    let viewed = Viewed::start(&[]).await;
    let session = viewed.program.session().await;
    viewed.call(&session, &echo("x")).await;
    viewed.call(&session, &tool_call("made-up-by-a-caller", &json!({}))).await;
    viewed.call(&session, &json!({"jsonrpc": "2.0", "id": 1, "method": "made/up"})).await;
    viewed.call("11111111-2222-4333-8444-555555555555", &echo("x")).await;
    let text = viewed.get("/metrics").await;
    assert!(text.contains("# HELP mcp_echo_sessions_created_total ") && !text.contains("# EOF"), "{text}");
    let request = viewed.http.get(format!("{}/metrics", viewed.admin)).header("accept", "application/openmetrics-text");
    let text = within(within(request.send()).await.unwrap().text()).await.unwrap();
    assert!(text.ends_with("# EOF\n") && !text.contains("made") && !text.contains(&session[..8]), "{text}");
    for line in [
        "mcp_server_operation_duration_seconds_count{mcp_method_name=\"tools/call\",gen_ai_tool_name=\"echo\"} 1",
        "mcp_server_operation_duration_seconds_count{mcp_method_name=\"initialize\"} 1",
        "mcp_echo_refused_total{status=\"404\"} 1",
        "mcp_echo_sessions 1",
        "mcp_echo_sessions_created_total 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    assert!(text.contains("le=\"+Inf\",mcp_method_name=\"initialize\"} 1"), "{text}");
}

#[tokio::test]
async fn a_report_says_who_came_and_what_went_wrong() {
    let viewed = Viewed::start(&[]).await;
    assert!(viewed.get("/report").await.contains("Nothing has come yet"));
    let session = viewed.program.session().await;
    viewed.call(&session, &tool_call("authContext", &json!({}))).await;
    viewed.call("11111111-2222-4333-8444-555555555555", &echo("x")).await;
    let report = viewed.get("/report").await;
    for part in [
        "127.0.0.1 (no User-Agent): 3 requests",
        "tools/call authContext ×1",
        "refused: 404 ×1",
        "http.version_header_missing",
        &session[..8],
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let json: Value = serde_json::from_str(&viewed.get("/report?format=json").await).unwrap();
    assert_eq!((&json["clients"][0]["requests"], &json["clients"][0]["refused"]["404"]), (&json!(3), &json!(1)));
    assert_eq!(json["operations"]["initialize"]["count"], 1);
}

/// What a hostile client sends breaks no line and no terminal.
#[tokio::test]
async fn what_a_client_sends_breaks_neither_lines_nor_terminals() {
    let viewed = Viewed::start(&[("MCP_RECORD_BODIES", "true")]).await;
    let hostile = "<script>alert(1)</script>\u{202e}\u{1b}[31m\u{9b}2J\u{85}\u{2028}";
    let request = viewed
        .program
        .post(&json!({"jsonrpc": "2.0", "id": hostile, "method": hostile, "params": {"x": "y".repeat(60_000)}}));
    let agent = reqwest::header::HeaderValue::from_bytes(hostile.replace('\u{1b}', "\t").as_bytes()).unwrap();
    within(request.header("user-agent", agent).send()).await.unwrap();
    let lines = viewed.get("/exchanges").await;
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.len() < 16 * 1024, "{} bytes", lines.len());
    for path in ["/exchanges", "/report"] {
        let shown = viewed.get(path).await;
        let bad = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{2028}';
        assert!(!shown.contains(bad), "{path}: {shown:?}");
    }
}

#[tokio::test]
async fn the_listener_is_read_only_and_no_page_of_the_web_can_read_it() {
    let viewed = Viewed::start(&[]).await;
    let ask = |method: Method, header: &'static str, value: &'static str| {
        let request = viewed.http.request(method, format!("{}/exchanges", viewed.admin)).header(header, value);
        async move { within(request.send()).await.unwrap().status() }
    };
    assert_eq!(ask(Method::POST, "x", "1").await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(Method::GET, "host", "evil.example").await, StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::GET, "origin", "http://evil.example").await, StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::GET, "origin", "null").await, StatusCode::FORBIDDEN);
    let address: std::net::SocketAddr = viewed.admin.trim_start_matches("http://").parse().unwrap();
    let mut raw = TcpStream::connect(address).await.unwrap();
    raw.write_all(
        format!("GET / HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n", address.port()).as_bytes(),
    )
    .await
    .unwrap();
    let mut answer = String::new();
    within(raw.read_to_string(&mut answer)).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("content-security-policy: default-src 'none'"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_and_one_that_was_asked_for_is_a_mistake() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, errors) = run(&["--port", "0"], &[("MCP_ADMIN_ADDR", address.as_str())]).await;
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("MCP_ADMIN_ADDR") && errors.contains(&address), "{errors}");
}

#[tokio::test]
async fn with_record_0_nothing_is_kept_and_figures_are_there() {
    let viewed = Viewed::start(&[("MCP_RECORD", "0")]).await;
    let response = within(viewed.program.post(&initialize("2025-06-18")).send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(viewed.exchanges("").await.is_empty());
    assert!(viewed.get("/metrics").await.contains("_count{mcp_method_name=\"initialize\"} 1"));
}

/// Every figure that the dashboard asks for is one that the server has.
#[tokio::test]
async fn the_dashboard_asks_for_figures_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("disk:{}", folder.path().join("sessions").display());
    let viewed = Viewed::start(&[("MCP_STORE", store.as_str())]).await;
    let session = viewed.program.session().await;
    viewed.call(&session, &tool_call("authContext", &json!({}))).await;
    viewed.call("11111111-2222-4333-8444-555555555555", &echo("x")).await;
    let there = viewed.get("/metrics").await;
    let dashboard: Value = serde_json::from_str(include_str!("../../deploy/grafana.json")).unwrap();
    let mut asked = 0;
    for target in dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap())
    {
        let expression = target["expr"].as_str().unwrap();
        for name in expression
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("mcp_") && *word != "mcp_method_name")
        {
            asked += 1;
            let has = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            assert!(there.lines().any(has), "{name}: {there}");
        }
    }
    assert!(asked > 10, "{asked}");
}
