//! What is wrong with a request is answered with the right status and code, under the request's own id, and says what to
//! do about it.

use std::time::Duration;

use mcp_echo_stateful::config::{AllowedHost, Config, Origins, SessionBinding};
use mcp_echo_stateful::protocol::{Revision, Served};
use mcp_echo_stateful::session::read;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::exchange::{Answer, accepting, assert_says, data_alone};
use crate::server::{Events, Session, TestServer, handshake_only, in_values, initialize, tool_call, within};

const NEVER_ISSUED: &str = "00000000-0000-4000-8000-000000000000";

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": "p-1", "method": "ping"})
}

fn raw_body(server: &TestServer, body: impl Into<reqwest::Body>) -> RequestBuilder {
    server.request(Method::POST, "/mcp").header("content-type", "application/json").body(body)
}

fn get(server: &TestServer) -> RequestBuilder {
    server.request(Method::GET, "/mcp").header("accept", "text/event-stream")
}

fn delete(server: &TestServer) -> RequestBuilder {
    server.request(Method::DELETE, "/mcp")
}

fn active_sessions(server: &TestServer) -> usize {
    read(&server.sessions).stats().active
}

#[tokio::test]
async fn a_body_that_is_not_json_is_answered_with_line_and_column() {
    let server = TestServer::start().await;
    let cases: [(&[u8], u64, u64); 6] = [
        (b"hello", 1, 1),
        (b"{\"jsonrpc\":\"2.0\",}", 1, 18),
        (b"{\n  \"jsonrpc\": \"2.0\",\n  \"id\": 1,\n  oops\n}", 4, 3),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},\n x]", 2, 2),
        (b"{\"jsonrpc\":\"2.0\",\n\"method\":\"\xff\"}", 2, 11),
        (b"\xef\xbb\xbf{]", 1, 2),
    ];
    for (body, line, column) in cases {
        let what = String::from_utf8_lossy(body);
        let error = Answer::to(raw_body(&server, body.to_vec())).await.error(400, -32700, &Value::Null);
        assert_says(&error, &["Parse error", &format!("line {line}"), &format!("column {column}")]);
        assert_eq!(data_alone(&error), json!({"line": line, "column": column}), "{what}");
    }
    for cut in
        ["{", "{\"jsonrpc\":\"2.0\",\"id\":1", "{} {}", "[1", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}x"]
    {
        let error = Answer::to(raw_body(&server, cut)).await.error(400, -32700, &Value::Null);
        assert_says(&error, &["Parse error", "line 1", "column"]);
    }
}

#[tokio::test]
async fn an_empty_body_is_said_to_be_empty_and_has_no_line() {
    let server = TestServer::start().await;
    for empty in ["", " \r\n", "\u{feff}"] {
        let error = Answer::to(raw_body(&server, empty)).await.error(400, -32700, &Value::Null);
        assert_eq!(error["message"], "Parse error: the body is empty; send one JSON-RPC message");
        assert!(data_alone(&error).as_object().is_none_or(serde_json::Map::is_empty), "{error}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_ignored() {
    let server = TestServer::start().await;
    let body = format!("\u{feff}{}", ping());
    assert_eq!(Answer::to(raw_body(&server, body)).await.result(), json!({}));
}

#[tokio::test]
async fn compressed_bodies_are_not_taken() {
    let server = TestServer::start().await;
    for coding in ["gzip", "br", "identity, gzip", "x-unknown"] {
        let request = raw_body(&server, "\u{1f}\u{8b}").header("content-encoding", coding);
        let answer = Answer::to(request).await;
        let error = answer.error(415, -32600, &Value::Null);
        assert_says(&error, &["Content-Encoding", "identity"]);
        assert_eq!(answer.header("accept-encoding"), Some("identity"), "{coding}");
    }
    for coding in ["identity", "Identity", ""] {
        let request = raw_body(&server, ping().to_string()).header("content-encoding", coding);
        assert_eq!(Answer::to(request).await.result(), json!({}), "{coding}");
    }
}

#[tokio::test]
async fn what_is_no_json_rpc_message_is_refused_under_its_id_where_it_has_one() {
    let server = TestServer::start().await;
    let null = Value::Null;
    let cases = [
        ("[]", null.clone(), "batch"),
        ("1", null.clone(), "object"),
        ("null", null.clone(), "object"),
        ("\"ping\"", null.clone(), "object"),
        ("{}", null.clone(), "jsonrpc"),
        (r#"{"id":7,"method":"ping"}"#, json!(7), "jsonrpc"),
        (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, json!(7), "2.0"),
        (r#"{"jsonrpc":2.0,"id":"seven","method":"ping"}"#, json!("seven"), "2.0"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, null.clone(), "null"),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, null.clone(), "id"),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, null.clone(), "id"),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, null.clone(), "id"),
        (r#"{"jsonrpc":"2.0","id":7,"method":5}"#, json!(7), "method"),
        (r#"{"jsonrpc":"2.0","id":7,"method":null}"#, json!(7), "method"),
        (r#"{"jsonrpc":"2.0","id":7}"#, json!(7), "method"),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":"x"}"#, json!(7), "params"),
        (r#"{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":"x"}}"#, json!(7), "result"),
    ];
    for (body, id, word) in cases {
        let answer = Answer::to(raw_body(&server, body)).await;
        assert_says(&answer.error(400, -32600, &id), &[word]);
        assert!(answer.header("mcp-session-id").is_none(), "{body}");
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{{"x":{}1{}}}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    assert_says(&Answer::to(raw_body(&server, deep)).await.error(400, -32600, &json!(7)), &["nested"]);
    assert_eq!(active_sessions(&server), 0, "a refused request leaves nothing behind");
}

#[tokio::test]
async fn only_application_json_is_taken() {
    let server = TestServer::start().await;
    let body = ping().to_string();
    let send = |content_type: Option<&str>| {
        let request = server.request(Method::POST, "/mcp").body(body.clone());
        Answer::to(match content_type {
            Some(value) => request.header("content-type", value),
            None => request,
        })
    };
    let wrong = [
        None,
        Some(""),
        Some("text/plain"),
        Some("text/plain; application/json"),
        Some("application/json-rpc"),
        Some("application/x-www-form-urlencoded"),
        Some("application/json, text/plain"),
    ];
    for content_type in wrong {
        let error = send(content_type).await.error(415, -32600, &Value::Null);
        assert_says(&error, &["Content-Type", "application/json"]);
    }
    for content_type in
        ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;x=y"]
    {
        assert_eq!(send(Some(content_type)).await.result(), json!({}), "{content_type}");
    }
    let twice = server.request(Method::POST, "/mcp").body(body.clone());
    let twice = twice.header("content-type", "application/json").header("content-type", "text/plain");
    Answer::to(twice).await.error(415, -32600, &Value::Null);
}

#[tokio::test]
async fn an_accept_header_that_allows_neither_form_is_refused() {
    let server = TestServer::start().await;
    let send = |accept: &str| {
        let request = raw_body(&server, ping().to_string()).header("accept", accept);
        async move { Answer::to(request).await }
    };
    let neither = [
        "text/html",
        "text/html, application/xhtml+xml",
        "application/jsonp",
        "*/*;q=0",
        "application/json;q=0, text/event-stream;q=0",
        "application/json;q=0.0, text/event-stream;q=0.000, */*",
        "image/*",
    ];
    for accept in neither {
        let error = send(accept).await.error(406, -32600, &Value::Null);
        assert_says(&error, &["Accept", "application/json", "text/event-stream"]);
    }
    for accept in ["", "*/*", "application/*", "application/json;q=0.1", "text/plain, */*;q=0.8"] {
        assert_eq!(send(accept).await.result(), json!({}), "{accept:?}");
    }
    assert_eq!(Answer::to(raw_body(&server, ping().to_string())).await.result(), json!({}), "no Accept at all");
    for accept in ["text/event-stream", "text/*", "application/json;q=0, */*"] {
        let answer = send(accept).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")), "{accept}");
    }
}

#[tokio::test]
async fn a_get_that_does_not_accept_a_stream_is_refused() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for accept in ["application/json", "text/html", "text/event-stream;q=0", "text/event-stream;q=0, */*"] {
        let request =
            server.request(Method::GET, "/mcp").header("accept", accept).header("mcp-session-id", &session.id);
        assert_says(&Answer::to(request).await.error(406, -32600, &Value::Null), &["text/event-stream"]);
    }
    for accept in ["*/*", "text/*", "text/event-stream, application/json", "application/json, text/event-stream"] {
        let request = server.request(Method::GET, "/mcp?wait=0").header("accept", accept);
        assert_eq!(Answer::to(request.header("mcp-session-id", &session.id)).await.status, 200, "{accept}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_as_soon_as_it_is_declared() {
    let server = TestServer::with(|config| config.max_body_bytes = 1000).await;
    let head =
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1001\r\n\r\n";
    let answer = Answer::to_raw(&server, head.as_bytes()).await;
    assert_says(&answer.error(413, -32600, &Value::Null), &["1000", "MCP_MAX_BODY_BYTES"]);
    assert_eq!(answer.header("connection"), Some("close"));

    let mut body = ping().to_string();
    body += &" ".repeat(1000 - body.len());
    assert_eq!(Answer::to(raw_body(&server, body.clone())).await.status, 200, "the limit itself is allowed");
    let answer = Answer::to(raw_body(&server, body + " ")).await;
    answer.error(413, -32600, &Value::Null);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_when_its_length_is_not_declared() {
    let server = TestServer::with(|config| config.max_body_bytes = 1000).await;
    let mut bytes = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    // No last chunk: the server must not wait for one.
    for _ in 0..3 {
        bytes.extend_from_slice(format!("190\r\n{}\r\n", " ".repeat(0x190)).as_bytes());
    }
    let answer = Answer::to_raw(&server, &bytes).await;
    assert_says(&answer.error(413, -32600, &Value::Null), &["1000"]);
}

/// A proxy that hears nothing of it sends the next request to a connection that is being closed, and answers 502.
#[tokio::test]
async fn a_request_refused_for_its_head_leaves_its_connection_usable() {
    let server = TestServer::start().await;
    // More than arrives with the head.
    let body = "x".repeat(1024 * 1024);
    for (head, status) in [
        ("POST /mcp HTTP/1.1\r\nOrigin: https://evil.example\r\nContent-Type: application/json", 403),
        ("POST /mcp HTTP/1.1\r\nContent-Type: text/plain", 415),
        ("POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\nAccept: text/html", 406),
        ("POST /nowhere HTTP/1.1\r\nContent-Type: application/json", 404),
        ("PUT /mcp HTTP/1.1\r\nContent-Type: application/json", 405),
    ] {
        // With its length, and in one chunk, as streaming clients send it.
        for body in [
            format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ] {
            let mut stream = within(TcpStream::connect(server.address)).await.unwrap();
            let refused = format!("{head}\r\nHost: localhost\r\n{body}");
            within(stream.write_all(refused.as_bytes())).await.unwrap_or_else(|error| panic!("{head}: {error}"));
            let answer = Answer::read(&mut stream).await;
            assert_eq!((answer.status, answer.header("connection")), (status, None), "{head}");
            within(stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.unwrap();
            assert_eq!(Answer::read(&mut stream).await.status, 200, "{head}");
        }
    }
}

#[tokio::test]
async fn a_refused_body_that_does_not_come_closes_its_connection_and_says_so() {
    let server = TestServer::start().await;
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n";
    for expect in ["", "Expect: 100-continue\r\n"] {
        let answer = Answer::to_raw(&server, format!("{head}{expect}\r\n").as_bytes()).await;
        assert_eq!((answer.status, answer.header("connection")), (415, Some("close")), "{expect}");
    }
}

#[tokio::test]
async fn foreign_origins_are_refused_on_every_method() {
    let server = TestServer::start().await;
    let foreign = [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://127.0.0.1.evil.example:3000",
        "file://",
        "localhost",
    ];
    for origin in foreign {
        let requests = [
            server.post(&ping()),
            server.post(&initialize("2025-06-18")),
            get(&server),
            delete(&server),
            server.request(Method::OPTIONS, "/mcp").header("access-control-request-method", "POST"),
        ];
        for request in requests {
            let answer = Answer::to(request.header("origin", origin)).await;
            assert_eq!(answer.status, 403, "{origin}: {answer:?}");
            let body = answer.json();
            assert!(body.get("id").is_none(), "{body}");
            assert!(body["error"]["code"].is_i64(), "{body}");
            assert_says(&body["error"], &["Origin", origin, "MCP_ALLOWED_ORIGINS"]);
            assert!(answer.header("access-control-allow-origin").is_none());
        }
    }
    assert_eq!(active_sessions(&server), 0);
    let own = [
        "http://localhost:6274",
        "https://localhost",
        "http://127.0.0.1:1",
        "http://[::1]:3000",
        "http://app.localhost",
    ];
    for origin in own {
        assert_eq!(Answer::to(server.post(&ping()).header("origin", origin)).await.status, 200, "{origin}");
    }
}

#[tokio::test]
async fn origins_may_be_allowed_by_name_or_all_of_them() {
    let named = TestServer::with(|config| {
        config.allowed_origins = Origins::Only(vec!["https://app.example".to_owned()]);
    })
    .await;
    for (origin, status) in [
        ("https://app.example", 200),
        ("https://app.example:443", 200),
        ("http://app.example", 403),
        ("https://app.example:8443", 403),
        ("https://sub.app.example", 403),
    ] {
        assert_eq!(Answer::to(named.post(&ping()).header("origin", origin)).await.status, status, "{origin}");
    }
    let any = TestServer::with(|config| config.allowed_origins = Origins::Any).await;
    assert_eq!(Answer::to(any.post(&ping()).header("origin", "https://evil.example")).await.status, 200);
}

/// A ping by hand, with this Host header.
fn ping_to(host: &str) -> Vec<u8> {
    let body = ping().to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn a_server_on_a_loopback_address_answers_to_loopback_names_only() {
    let server = TestServer::start().await;
    for host in ["localhost", "LOCALHOST:3000", "127.0.0.1", "127.8.8.8:1", "[::1]", "[::1]:3000", "mcp.localhost"] {
        assert_eq!(Answer::to_raw(&server, &ping_to(host)).await.status, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:3000", "localhost.evil.example", "192.168.0.1", "[::2]", "0.0.0.0"] {
        let answer = Answer::to_raw(&server, &ping_to(host)).await;
        assert_eq!(answer.status, 403, "{host}: {answer:?}");
        let body = answer.json();
        assert!(body.get("id").is_none(), "{body}");
        assert_says(&body["error"], &["Host", "MCP_ALLOWED_HOSTS"]);
    }
    for host in ["evil.example@localhost", "evil.example#.localhost", "localhost:evil", "[::1]evil.example", "::1"] {
        let answer = Answer::to_raw(&server, &ping_to(host)).await;
        assert_eq!(answer.status, 400, "{host}: {answer:?}");
        assert_says(&answer.json()["error"], &["Host", host]);
    }
}

#[tokio::test]
async fn hosts_may_be_allowed_by_name() {
    let change = |config: &mut Config| {
        config.allowed_hosts = vec![
            AllowedHost { host: "mcp.example.com".to_owned(), port: None },
            AllowedHost { host: "other.example.com".to_owned(), port: Some(8443) },
        ];
    };
    for bind in ["127.0.0.1", "0.0.0.0"] {
        let server = TestServer::bound(bind, change).await;
        let cases = [
            ("mcp.example.com", 200),
            ("MCP.Example.com:3000", 200),
            ("other.example.com:8443", 200),
            ("other.example.com", 403),
            ("evil.example", 403),
        ];
        for (host, status) in cases {
            assert_eq!(Answer::to_raw(&server, &ping_to(host)).await.status, status, "{bind}, {host}");
        }
    }
    let open = TestServer::bound("0.0.0.0", |_| {}).await;
    assert_eq!(Answer::to_raw(&open, &ping_to("evil.example")).await.status, 200, "unset, and bound to all addresses");
}

#[tokio::test]
async fn http_2_names_its_host_too() {
    let server = TestServer::start().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .resolve("evil.example", server.address)
        .resolve("app.localhost", server.address)
        .build()
        .unwrap();
    let send = |name: &str| {
        let url = format!("http://{name}:{}/mcp", server.address.port());
        Answer::to(client.post(url).header("accept", "application/json").json(&ping()))
    };
    assert_eq!(send("app.localhost").await.result(), json!({}));
    assert_eq!(send("127.0.0.1").await.result(), json!({}));
    let two_names = client.post(server.url("/mcp")).header("host", "evil.example").json(&ping());
    let answer = Answer::to(two_names).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_says(&answer.json()["error"], &["Host", ":authority"]);
    let answer = send("evil.example").await;
    assert_eq!(answer.status, 403);
    assert!(answer.json().get("id").is_none());
}

#[tokio::test]
async fn a_version_that_is_not_served_is_refused_with_those_that_are() {
    let server = TestServer::with(handshake_only).await;
    let session = server.session("2025-06-18").await;
    for version in ["1.0", "2024-10-07", "2099-01-01", "2026-07-28", "latest", "2025-06-18, 2025-03-26"] {
        let requests = [
            (session.post(&ping()), json!("p-1")),
            (server.post(&ping()), json!("p-1")),
            (session.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})), Value::Null),
            (get(&server).header("mcp-session-id", &session.id), Value::Null),
            (delete(&server).header("mcp-session-id", &session.id), Value::Null),
        ];
        for (request, id) in requests {
            let error = Answer::to(request.header("mcp-protocol-version", version)).await.error(400, -32022, &id);
            let supported = json!(["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]);
            assert_eq!(data_alone(&error), json!({"supported": supported, "requested": version}));
        }
    }
    assert_eq!(session.call("sessionInfo", json!({})).await["structuredContent"]["server"]["sessionsCreated"], 1);
}

#[tokio::test]
async fn a_version_that_was_narrowed_away_is_refused() {
    let server = TestServer::with(|config| {
        config.protocol = Served::new(&[Revision::V2025_06_18, Revision::V2024_11_05], None).unwrap();
    })
    .await;
    let request = server.post(&ping()).header("mcp-protocol-version", "2025-03-26");
    let error = Answer::to(request).await.error(400, -32022, &json!("p-1"));
    assert_eq!(error["data"]["supported"], json!(["2025-06-18", "2024-11-05"]));
}

#[tokio::test]
async fn where_the_stateless_era_is_not_served_its_requests_are_answered_so_that_clients_fall_back() {
    let server = TestServer::with(handshake_only).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    for id in [json!("server-discover-probe-1"), json!(0)] {
        let probe = json!({"jsonrpc": "2.0", "id": id, "method": "server/discover", "params": {"_meta": meta}});
        let request = server.post(&probe).header("mcp-protocol-version", "2026-07-28");
        Answer::to(request.header("mcp-method", "server/discover")).await.error(404, -32601, &id);
        Answer::to(server.post(&probe)).await.error(404, -32601, &id);
    }
    let bare = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover"});
    Answer::to(server.post(&bare)).await.error(404, -32601, &json!(1));

    for version in ["2026-07-28", "2027-01-01", "nonsense"] {
        let params = json!({"name": "echo", "arguments": {"message": "m"},
            "_meta": {"io.modelcontextprotocol/protocolVersion": version}});
        let call = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params});
        let error = Answer::to(server.post(&call)).await.error(400, -32022, &json!(5));
        assert_eq!(error["data"]["requested"], version);
        assert_eq!(error["data"]["supported"], json!(["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]));
    }
}

/// The 404 of every kind of request that names `session`: a request's answer, then a GET's and a DELETE's.
async fn refusals_of(session: &Session<'_>, dress: impl Fn(RequestBuilder) -> RequestBuilder) -> Vec<Value> {
    let server = session.server;
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let requests = [
        (session.post(&ping()), json!("p-1")),
        (session.post(&initialize("2025-06-18")), json!(0)),
        (session.post(&notification), Value::Null),
        (get(server).header("mcp-session-id", &session.id), Value::Null),
        (delete(server).header("mcp-session-id", &session.id), Value::Null),
    ];
    let mut errors = Vec::new();
    for (request, id) in requests {
        let error = Answer::to(dress(request)).await.error(404, -32603, &id);
        assert!(error["message"].as_str().unwrap().starts_with("Session not found or expired: "));
        assert!(error["data"]["hint"].as_str().unwrap().contains("initialize"), "{error}");
        // How often a client came with an id that is none depends on how often it came, not on whose the id is.
        errors.push(json!({"code": error["code"], "message": error["message"], "data": data_alone(&error)}));
    }
    errors
}

fn reasons(errors: &[Value]) -> Vec<&Value> {
    errors.iter().map(|error| &error["data"]["reason"]).collect()
}

#[tokio::test]
async fn an_id_that_was_never_issued_is_not_found() {
    let server = TestServer::start().await;
    for id in [NEVER_ISSUED, "x", "../../etc/passwd", "00000000000040008000000000000000"] {
        let errors = refusals_of(&Session { server: &server, id: id.to_owned() }, |request| request).await;
        assert!(errors.iter().all(|error| error["data"].get("reason").is_none()), "{errors:?}");
        let hint = errors[0]["data"]["hint"].as_str().unwrap();
        for cause in ["never issued here", "lost in a restart", "opened by another identity", "the same token"] {
            assert!(hint.contains(cause), "{hint}");
        }
    }
    let session = server.session("2025-06-18").await;
    let shouted = Session { server: &server, id: session.id.to_uppercase() };
    refusals_of(&shouted, |request| request).await;
    assert_eq!(active_sessions(&server), 1);
}

#[tokio::test]
async fn a_deleted_session_is_gone_and_the_answer_says_that_it_was_deleted() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    assert_eq!(session.delete().await, 204);
    let errors = refusals_of(&session, |request| request).await;
    assert_eq!(reasons(&errors), [&json!("deleted"); 5]);
}

#[tokio::test]
async fn an_expired_session_is_dead_at_its_moment_and_the_answer_says_that_it_expired() {
    let server = TestServer::frozen(|_| {}).await;
    let session = server.session("2025-06-18").await;
    server.clock.advance(Duration::from_secs(3590));
    assert_eq!(session.ask(&ping()).await["result"], json!({}), "not yet; and a request starts the hour again");
    server.clock.advance(Duration::from_secs(3590));
    assert_eq!(session.ask(&ping()).await["result"], json!({}));
    server.clock.advance(Duration::from_secs(3600));
    let errors = refusals_of(&session, |request| request).await;
    assert_eq!(reasons(&errors), [&json!("expired"); 5]);
    assert!(errors[0]["data"]["endedAt"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn an_evicted_session_is_gone_and_the_answer_says_that_it_was_evicted() {
    if in_values() {
        return;
    }
    let server = TestServer::with(|config| config.max_sessions = 1).await;
    let first = server.session("2025-06-18").await;
    let second = server.session("2025-06-18").await;
    assert_eq!(reasons(&refusals_of(&first, |request| request).await), [&json!("evicted"); 5]);
    assert_eq!(second.ask(&ping()).await["result"], json!({}));
}

#[tokio::test]
async fn another_users_session_looks_like_one_that_never_was() {
    let server = TestServer::start().await;
    let alice = |request: RequestBuilder| request.header("x-user-id", "alice");
    let bob = |request: RequestBuilder| request.header("x-user-id", "bob");
    let session = server.session_with("2025-06-18", alice).await;
    let unknown = refusals_of(&Session { server: &server, id: NEVER_ISSUED.to_owned() }, bob).await;
    assert_eq!(refusals_of(&session, bob).await, unknown);
    assert_eq!(refusals_of(&session, |request| request).await, unknown, "no identity is another identity");
    assert_eq!(Answer::to(alice(session.post(&ping()))).await.result(), json!({}), "and its owner still has it");

    let delete = server.request(Method::DELETE, "/mcp").header("mcp-session-id", &session.id);
    assert_eq!(Answer::to(alice(delete)).await.status, 204);
    assert_eq!(refusals_of(&session, bob).await, unknown, "why it ended is not their business either");
    assert_eq!(reasons(&refusals_of(&session, alice).await), [&json!("deleted"); 5]);
}

#[tokio::test]
async fn with_binding_off_anybody_who_knows_the_id_has_the_session() {
    let server = TestServer::with(|config| config.session_binding = SessionBinding::Off).await;
    let session = server.session_with("2025-06-18", |request| request.header("x-user-id", "alice")).await;
    assert_eq!(Answer::to(session.post(&ping()).header("x-user-id", "bob")).await.result(), json!({}));
    assert_eq!(Answer::to(session.post(&ping())).await.result(), json!({}));
}

#[tokio::test]
async fn get_and_delete_without_a_session_are_told_to_initialize() {
    let server = TestServer::start().await;
    for request in [get(&server), delete(&server), get(&server).header("mcp-session-id", "")] {
        assert_says(&Answer::to(request).await.error(400, -32600, &Value::Null), &["Mcp-Session-Id"]);
    }
    assert_says(&Answer::to(get(&server)).await.error(400, -32600, &Value::Null), &["initialize"]);
}

#[tokio::test]
async fn where_a_session_is_required_every_post_but_initialize_needs_one() {
    let server = TestServer::with(|config| config.require_session = true).await;
    let posts = [
        (ping(), json!("p-1")),
        (json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"}), json!(3)),
        (tool_call("echo", &json!({"message": "m"})), json!(1)),
        (json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), Value::Null),
        (json!({"jsonrpc": "2.0", "id": 1, "result": {}}), Value::Null),
        (json!([ping()]), Value::Null),
    ];
    for (body, id) in posts {
        let error = Answer::to(server.post(&body)).await.error(400, -32600, &id);
        assert_says(&error, &["session", "initialize"]);
    }
    let session = server.session("2025-06-18").await;
    assert_eq!(session.ask(&ping()).await["result"], json!({}));
}

#[tokio::test]
async fn a_session_that_is_alive_cannot_be_initialized_again() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let error = Answer::to(session.post(&initialize("2025-06-18"))).await.error(400, -32600, &json!(0));
    assert_says(&error, &["already initialized"]);
    assert_eq!(session.ask(&ping()).await["result"], json!({}), "it lives on");
    assert_eq!(active_sessions(&server), 1);
}

#[tokio::test]
async fn an_initialize_that_is_refused_leaves_no_session_behind() {
    let server = TestServer::start().await;
    let broken = [
        json!({}),
        json!({"protocolVersion": 5, "capabilities": {}, "clientInfo": {"name": "n", "version": "1"}}),
        json!({"protocolVersion": "2025-06-18", "capabilities": [], "clientInfo": {"name": "n", "version": "1"}}),
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "n"}}),
        json!({"protocolVersion": "2025-06-18", "capabilities": {}}),
    ];
    for params in broken {
        let body = json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": params});
        let answer = Answer::to(server.post(&body)).await;
        answer.error(200, -32602, &json!("i"));
        assert!(answer.header("mcp-session-id").is_none());
    }
    let everything = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize"});
    let error = Answer::to(server.post(&everything)).await.error(200, -32602, &json!(1));
    assert_says(&error, &["protocolVersion", "capabilities", "clientInfo"]);
    assert_eq!(active_sessions(&server), 0);
}

#[tokio::test]
async fn when_every_session_is_in_use_a_new_one_must_wait() {
    if in_values() {
        return;
    }
    let server = TestServer::with(|config| config.max_sessions = 2).await;
    let (first, second) = (server.session("2025-06-18").await, server.session("2025-06-18").await);
    let (_one, _two) = (first.stream().await, second.stream().await);
    let answer = Answer::to(server.post(&initialize("2025-06-18"))).await;
    assert_says(&answer.error(503, -32603, &json!(0)), &["session", "MCP_MAX_SESSIONS"]);
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert!(answer.header("mcp-session-id").is_none());
    assert_eq!(first.ask(&ping()).await["result"], json!({}), "the others go on");

    assert_eq!(second.delete().await, 204);
    let third = server.session("2025-06-18").await;
    assert_eq!(third.ask(&ping()).await["result"], json!({}));
}

#[tokio::test]
async fn a_call_whose_session_ends_under_it_is_answered_under_its_own_id() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let call = tool_call("echo", &json!({"message": "late", "delayMs": 60_000}));
    let request = accepting(session.post(&call), "application/json").send();
    let waiting = tokio::spawn(async move { request.await.unwrap() });
    // Whether the call runs by now or comes after the end: the answer is the same.
    session.ask(&ping()).await;
    assert_eq!(session.delete().await, 204);
    let response = within(waiting).await.unwrap();
    assert_eq!(response.status(), 404);
    assert!(response.headers().get("mcp-session-id").is_none(), "clients take up the id that a response names");
    let body: Value = within(response.json()).await.unwrap();
    assert_eq!(body["id"], 1, "{body}");
    assert_eq!(body["error"]["code"], -32603);
    assert_eq!(body["error"]["data"]["reason"], "deleted");
}

#[tokio::test]
async fn a_stream_whose_session_ends_under_it_ends_without_an_answer() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let call = tool_call("echo", &json!({"message": "late", "delayMs": 60_000}));
    let response = within(accepting(session.post(&call), "text/event-stream").send()).await.unwrap();
    let mut events = Events::of(response);
    assert!(events.next().await.unwrap().comment.is_some(), "it runs");
    assert_eq!(session.delete().await, 204);
    assert_eq!(events.rest().await, []);
}

#[tokio::test]
async fn unknown_paths_are_answered_in_json_and_name_the_endpoint() {
    let server = TestServer::start().await;
    for path in ["/", "/mcp/x", "/mcpx", "/MCP", "/sse", "/.well-known/oauth-protected-resource", "/favicon.ico"] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
            let answer = Answer::to(server.request(method.clone(), path)).await;
            assert_eq!(answer.status, 404, "{method} {path}");
            assert!(answer.json().to_string().contains("/mcp"), "{answer:?}");
            assert!(answer.header("x-request-id").is_some());
        }
    }
}

#[tokio::test]
async fn json_rpc_at_the_wrong_path_is_answered_as_json_rpc() {
    let server = TestServer::start().await;
    for path in ["/", "/mcp/mcp", "/mcpx", "/sse", "/messages?session_id=1"] {
        let answer = Answer::to(server.request(Method::POST, path).json(&ping())).await;
        let error = answer.error(404, -32600, &Value::Null);
        assert_says(&error, &["Not Found", "/mcp"]);
        assert_eq!(error["data"]["endpoint"], "/mcp");
    }
    for path in ["/register", "/.well-known/oauth-authorization-server"] {
        let answer = Answer::to(server.request(Method::POST, path).json(&json!({"redirect_uris": []}))).await;
        assert_eq!((answer.status, &answer.json()["error"]), (404, &json!("not_found")), "OAuth's errors are strings");
    }
}

#[tokio::test]
async fn options_finds_nothing_where_there_is_nothing_unless_it_is_a_preflight() {
    let server = TestServer::start().await;
    let options = |path: &str| server.request(Method::OPTIONS, path).header("origin", "http://localhost:6274");
    for path in ["/", "/mcp/x", "/favicon.ico"] {
        let answer = Answer::to(options(path)).await;
        assert_eq!((answer.status, &answer.json()["error"]), (404, &json!("not_found")), "{path}");
        let preflight = Answer::to(options(path).header("access-control-request-method", "POST")).await;
        assert!(preflight.status < 300 && preflight.header("access-control-allow-origin").is_some(), "{preflight:?}");
    }
    for path in ["/mcp", "/mcp/"] {
        let answer = Answer::to(options(path)).await;
        assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, POST, DELETE, OPTIONS")), "{path}");
    }
}

#[tokio::test]
async fn unknown_methods_are_answered_with_those_that_there_are() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for path in ["/mcp", "/mcp/"] {
        for method in [Method::PUT, Method::PATCH, Method::TRACE, Method::from_bytes(b"PURGE").unwrap(), Method::HEAD] {
            let request = server.request(method.clone(), path).header("mcp-session-id", &session.id);
            let answer = Answer::to(request.header("accept", "text/event-stream")).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, POST, DELETE, OPTIONS"), "{method} {path}");
            if method != Method::HEAD {
                assert!(answer.json()["error"]["message"].as_str().unwrap().contains("POST"), "{answer:?}");
            }
        }
    }
    let streams = session.call("sessionInfo", json!({})).await["structuredContent"]["session"]["openStreams"].clone();
    assert_eq!(streams, 0, "HEAD opens no stream");
    let answer = Answer::to(server.request(Method::POST, "/healthz")).await;
    assert_eq!((answer.status, answer.header("allow").unwrap().contains("GET")), (405, true));
    answer.json();
}

#[tokio::test]
async fn inside_a_live_session_a_json_rpc_error_is_no_http_error() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let request = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 9, "method": method, "params": params});
    let cases = [
        (request("resources/list", json!({})), -32601, "resources/list"),
        (request("prompts/list", json!({})), -32601, "prompts/list"),
        (request("completion/complete", json!({})), -32601, "completion/complete"),
        (request("no/such", json!({})), -32601, "no/such"),
        (request("tools/call", json!({"name": "nope"})), -32602, "nope"),
        (request("tools/call", json!({})), -32602, "name"),
        (request("tools/call", json!({"name": 5})), -32602, "name"),
        (request("tools/call", json!({"name": "echo", "arguments": [1]})), -32602, "arguments"),
        (request("tools/call", json!({"name": "echo", "arguments": {}})), -32602, "message"),
        (request("tools/list", json!({"cursor": "x"})), -32602, "cursor"),
        (request("logging/setLevel", json!({"level": "loud"})), -32602, "level"),
        (request("logging/setLevel", json!({})), -32602, "level"),
    ];
    for (body, code, word) in cases {
        let answer = Answer::to(session.post(&body)).await;
        assert_says(&answer.error(200, code, &json!(9)), &[word]);
        assert_eq!(answer.header("mcp-session-id"), Some(&*session.id));
    }
    let answer = Answer::to(session.post(&request("tools/call", json!({"name": "nope"})))).await;
    let available = answer.json()["error"]["data"]["available"].clone();
    assert_eq!(available[0], "echo", "an unknown tool is told which ones there are");
}

#[tokio::test]
async fn what_every_progress_notification_would_repeat_is_short() {
    let server = TestServer::start().await;
    let mut call = tool_call("echo", &json!({"message": "x", "delayMs": 10}));
    for (length, refused) in [(1024, false), (1025, true)] {
        call["params"]["_meta"] = json!({"progressToken": "t".repeat(length)});
        let answer = Answer::to(accepting(server.post(&call), "application/json")).await;
        if refused {
            assert_says(&answer.error(200, -32602, &json!(1)), &["progressToken", "1024"]);
        } else {
            answer.result();
        }
    }
}
