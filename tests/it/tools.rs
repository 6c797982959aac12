//! The eleven tools: their texts as the samples show them, the same facts as structured content, and their edges.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_echo_stateful::config::{Command, Config};
use mcp_echo_stateful::protocol::SERVER_VERSION;
use mcp_echo_stateful::tools::TOOLS;
use regex::Regex;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::exchange::{Answer, accepting, assert_says};
use crate::server::{Session, TestServer, in_memory, in_values, initialize, least_arguments, tool_call, within};

/// Fails unless `text` begins with `sample`, in which `<n>` and its like stand for values.
fn begins_as(text: &str, sample: &str) {
    let mut pattern = format!("^{}(\n\n|$)", regex::escape(sample));
    for (name, value) in [
        ("<n>", "[0-9]+"),
        ("<decimal>", "[0-9]+\\.[0-9]"),
        ("<ms>", "[0-9]+\\.[0-9]{2}ms"),
        ("<time>", "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} UTC"),
        ("<time ms>", "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} UTC"),
        ("<duration>", "[0-9]+[smhd]( [0-9]+[smh])?"),
        ("<bytes>", "[0-9.]+(B|KB|MB|GB)"),
        ("<cpu>", "([0-9]+\\.[0-9]%|not available)"),
        ("<memory>", "([0-9]+MB( / [0-9]+MB \\([0-9]+%\\))?|not available)"),
        ("<process memory>", "([0-9.]+(KB|MB|GB)|not available)"),
        ("<request>", "req_[0-9a-f]{12}"),
    ] {
        pattern = pattern.replace(&regex::escape(name), value);
    }
    assert!(Regex::new(&pattern).unwrap().is_match(text), "{text}\n--- should begin as\n{sample}");
}

/// A token with this payload, signed with nonsense.
fn jwt(header: &str, payload: &str) -> String {
    format!("{}.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

/// A tool's result where the request carries more than the session's headers.
async fn call_with(request: RequestBuilder) -> Value {
    Answer::to(request).await.result()
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

/// What is wrong with the arguments, as 2025-11-25 tells it.
async fn refusal(session: &Session<'_>, tool: &str, arguments: Value) -> String {
    let result = session.call(tool, arguments).await;
    assert_eq!(result["isError"], true, "{result}");
    text(&result).to_owned()
}

async fn listed(server: &TestServer) -> Vec<Value> {
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let request = server.post(&list).header("mcp-protocol-version", "2025-11-25");
    Answer::to(request).await.result()["tools"].as_array().unwrap().clone()
}

fn assert_satisfies(schema: &Value, value: &Value) {
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}\n{value}");
}

#[tokio::test]
async fn every_tools_schemas_are_json_schema_2020_12_and_closed_to_other_arguments() {
    let server = TestServer::start().await;
    for tool in listed(&server).await {
        for schema in ["inputSchema", "outputSchema"] {
            assert!(jsonschema::draft202012::meta::is_valid(&tool[schema]), "{tool}");
            assert_eq!(tool[schema]["type"], "object");
        }
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
        for text in ["title", "description"] {
            assert!(tool[text].as_str().is_some_and(|text| text.len() >= 4), "{tool}");
        }
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{tool}");
        }
        for (name, property) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name} of {tool}");
        }
    }
}

#[tokio::test]
async fn every_tool_refuses_arguments_that_it_does_not_know() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    for tool in TOOLS.iter().map(|tool| tool.name) {
        let text = refusal(&session, tool, json!({"message": "m", "bogus": 1})).await;
        assert!(text.contains(tool) && text.contains("`bogus` is unknown"), "{text}");
    }
}

/// Keys below which the caller's own names stand.
const FOREIGN: [&str; 8] =
    ["customData", "environment", "header", "meta", "payload", "claims", "clientCapabilities", "trace"];

fn assert_camel_case(value: &Value) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let camel = key.starts_with(|c: char| c.is_ascii_lowercase())
                    && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
                assert!(camel, "{key} is not in camel case");
                if !FOREIGN.contains(&key.as_str()) {
                    assert_camel_case(value);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(assert_camel_case),
        _ => {}
    }
}

#[tokio::test]
async fn what_every_tool_returns_satisfies_the_schema_that_it_listed() {
    let server = TestServer::start().await;
    let tools = listed(&server).await;
    let token = jwt(r#"{"alg":"RS256"}"#, r#"{"sub":"u","name":"N","iat":1516239022,"exp":4102444800}"#);
    let session = server.session("2025-11-25").await;
    for tool in &tools {
        let name = tool["name"].as_str().unwrap();
        let arguments = match name {
            "echo" => json!({"message": "m", "delayMs": 1}),
            "corsAnalysis" => {
                json!({"origin": "https://app.example", "method": "PUT", "headers": ["X-A", "Authorization"]})
            }
            _ => least_arguments(&tool["inputSchema"]),
        };
        let bare = server.post(&tool_call(name, &arguments)).header("mcp-protocol-version", "2025-11-25");
        let anonymous = (name != "replayLastEcho").then_some(bare);
        let in_session = || session.post(&tool_call(name, &arguments));
        let dressed = in_session()
            .header("authorization", format!("Bearer {token}"))
            .header("x-forwarded-for", "203.0.113.7, 10.0.0.1")
            .header("x-forwarded-proto", "https")
            .header("x-user-id", "u")
            .header("origin", "http://localhost:6274")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        for request in anonymous.into_iter().chain([in_session(), dressed]) {
            let result = call_with(request).await;
            assert_eq!(result["isError"], false, "{result}");
            assert_satisfies(&tool["outputSchema"], &result["structuredContent"]);
            assert_camel_case(&result["structuredContent"]);
        }
    }
}

#[tokio::test]
async fn echo_is_shown_as_in_the_sample() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let arguments = json!({"message": "Hello, stateful world!", "uppercase": true});
    let result = session.call("echo", arguments).await;
    let id = &session.id;
    assert_eq!(text(&result), format!("HELLO, STATEFUL WORLD!\n\nSession: {id}\nEcho count in session: 1"));
    assert_eq!(
        result["structuredContent"],
        json!({"message": "HELLO, STATEFUL WORLD!", "sessionId": session.id, "echoCount": 1})
    );
    let again = session.text("echo", json!({"message": "second", "uppercase": false})).await;
    assert_eq!(again, format!("second\n\nSession: {id}\nEcho count in session: 2"));
}

#[tokio::test]
async fn replay_is_shown_as_in_the_sample() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    session.call("echo", json!({"message": "first"})).await;
    session.call("echo", json!({"message": "Hello, stateful world!", "uppercase": true})).await;
    for replays in 1..=2 {
        let result = session.call("replayLastEcho", json!({})).await;
        let expected = format!(
            "🔄 Replaying last echo:\nHELLO, STATEFUL WORLD!\n\nOriginal echo count: 2\nThis session has replayed \
             {replays} messages"
        );
        assert_eq!(text(&result), expected);
        assert_eq!(result["structuredContent"]["message"], "HELLO, STATEFUL WORLD!");
        assert_eq!(result["structuredContent"]["replayCount"], replays);
    }
}

#[tokio::test]
async fn headers_are_shown_as_in_the_sample() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let token = jwt(r#"{"alg":"RS256","typ":"JWT"}"#, r#"{"sub":"12345"}"#);
    let request = session
        .post(&tool_call("printHeader", &json!({})))
        .header("authorization", format!("Bearer {token}"))
        .header("x-user-id", "12345")
        .header("x-user-name", "johndoe")
        .header("user-agent", "MCP-Client/1.0")
        .header("x-custom-one", "1")
        .header("x-custom-two", "2");
    let result = call_with(request).await;
    let text = text(&result);
    let prefix = &session.id[..8];
    for section in [
        "📋 HTTP Headers Analysis\n\n🔐 Authentication Headers:\n  Authorization: Bearer eyJhbGc...\n  X-User-Id: \
         12345\n  X-User-Name: johndoe\n\n",
        "\n\n🌐 Standard Headers:\n",
        &format!("\n  Host: {}\n", server.address),
        "\n  User-Agent: MCP-Client/1.0\n",
        &format!("\n\n🔄 MCP Headers:\n  Mcp-Session-Id: {prefix}...\n\n"),
    ] {
        assert!(text.contains(section), "{section:?} is not in\n{text}");
    }
    let statistics = &result["structuredContent"]["statistics"];
    let total: usize = result["structuredContent"]["headers"]
        .as_object()
        .unwrap()
        .values()
        .map(|of| of.as_array().unwrap().len())
        .sum();
    assert_eq!(statistics["total"], total);
    let lines =
        format!("\n\n📊 Header Statistics:\n  Total headers: {total}\n  Auth headers: 3\n  Custom headers: 2\n");
    assert!(text.contains(&lines), "{text}");
    assert!(!text.contains(&token) && !text.contains(&session.id), "{text}");
}

#[tokio::test]
async fn a_token_is_decoded_as_in_the_sample() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let token = jwt(
        r#"{"alg":"RS256","typ":"JWT"}"#,
        r#"{"sub":"user123","name":"John Doe","iat":1516239022,"exp":1516242622}"#,
    );
    let by_argument = session.call("bearerDecode", json!({"token": token})).await;
    let request =
        session.post(&tool_call("bearerDecode", &json!({}))).header("authorization", format!("Bearer {token}"));
    for result in [by_argument, call_with(request).await] {
        let shown = text(&result);
        assert!(
            shown.starts_with(
                "🔍 JWT Token Analysis\n\nHeader:\n{\n  \"alg\": \"RS256\",\n  \"typ\": \"JWT\"\n}\n\nPayload:\n{\n  \
                 \"sub\": \"user123\",\n  \"name\": \"John Doe\",\n  \"iat\": 1516239022,\n  \"exp\": 1516242622\n}\n\n\
                 ⏱️ Token Status:\n- Issued: 2018-01-18 01:30:22 UTC\n- Expires: 2018-01-18 02:30:22 UTC\n- Status: \
                 EXPIRED\n"
            ),
            "{shown}"
        );
        assert!(shown.to_lowercase().contains("not verified"), "{shown}");
        assert!(!shown.contains("c2lnbmF0dXJl"), "the signature is nobody's business");
    }
}

#[tokio::test]
async fn every_token_is_told_what_it_is() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    let payload = |claims: &str| jwt(r#"{"alg":"HS256"}"#, claims);
    for (token, word) in [
        (payload(r#"{"exp":4102444800}"#), "- Status: VALID"),
        (payload(r#"{"nbf":4102444800,"exp":4202444800}"#), "- Status: NOT YET VALID"),
        (payload(r#"{"sub":"1"}"#), "- Status: NO EXPIRY"),
        (jwt(r#"{"alg":"none"}"#, r#"{"sub":"1"}"#), "\"alg\": \"none\""),
        (jwt(r#"{"alg":"XY999"}"#, r#"{"sub":"1"}"#), "XY999"),
        (format!("Bearer {}", payload(r#"{"exp":4102444800}"#)), "- Status: VALID"),
        ("gho_16C7e42F292c6912E7710c838347Ae178B4a".to_owned(), "GitHub"),
    ] {
        let shown = session.text("bearerDecode", json!({"token": token})).await;
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
    for broken in ["", "a", "a.b", "a.b.c", "....", "eyJ.eyJ.x", "not a token at all", "\u{1F410}", "e30.e30"] {
        let result = session.call("bearerDecode", json!({"token": broken})).await;
        assert_eq!(result["isError"], false, "{broken:?}: a malformed token is what the tool is for: {result}");
    }
    let raw = session.text("bearerDecode", json!({"token": payload("{}"), "includeRaw": true})).await;
    assert!(raw.contains(&URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#)) && !raw.contains("c2lnbmF0dXJl"), "{raw}");
    let none = session.text("bearerDecode", json!({})).await;
    assert!(none.contains("Authorization"), "without a token it says where it looked: {none}");
}

#[tokio::test]
async fn the_authentication_context_is_shown_as_in_the_sample() {
    let server = TestServer::start().await;
    let token = jwt(r#"{"alg":"RS256"}"#, r#"{"sub":"12345","github_username":"johndoe"}"#);
    let gateway = |request: RequestBuilder| {
        request
            .header("authorization", format!("Bearer {token}"))
            .header("x-user-id", "12345")
            .header("x-user-name", "johndoe")
    };
    let session = server.session_with("2025-06-18", gateway).await;
    let result = call_with(gateway(session.post(&tool_call("authContext", &json!({}))))).await;
    let (first, last, length, id) = (&token[..6], &token[token.len() - 6..], token.len(), &session.id);
    begins_as(
        text(&result),
        &format!(
            "🔐 Authentication Context\n\n👤 User Information:\n- User ID: 12345\n- Username: johndoe\n- GitHub User: \
             johndoe\n\n🎫 Token Details:\n- Token Type: Bearer\n- Token Length: {length} characters\n- Token Preview: \
             {first}...{last}\n\n🔑 Derived Information:\n- Authentication: ✅ Authenticated\n- Whose Word: the gateway's (mcp-oauth-gateway: X-User-Id, \
             X-User-Name), and the token says the same; neither was verified here\n- Session: {id}\n- Request \
             ID: <request>"
        ),
    );
    assert!(!result.to_string().contains(&token));
}

#[tokio::test]
async fn a_caller_without_identity_is_told_so() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let shown = session.text("authContext", json!({})).await;
    begins_as(
        &shown,
        &format!(
            "🔐 Authentication Context\n\n👤 User Information:\n- User ID: not available\n- Username: not available\n- \
             GitHub User: not available\n\n🎫 Token Details:\n- Token Type: not available\n- Token Length: not available\n- \
             Token Preview: not available\n\n🔑 Derived Information:\n- Authentication: ❌ Not authenticated\n- Whose Word: nobody's: \
             neither a token nor an identity header came\n- Session: \
             {}\n- Request ID: <request>",
            session.id
        ),
    );
    let short = session.post(&tool_call("authContext", &json!({}))).header("authorization", "Bearer Sup3rSecret");
    assert!(!call_with(short).await.to_string().contains("Sup3rS"), "of a short token no end is shown");
}

#[tokio::test]
async fn timing_is_shown_as_in_the_sample() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    session.call("echo", json!({"message": "m"})).await;
    server.clock.advance(Duration::from_secs(330));
    let result = session.call("requestTiming", json!({})).await;
    let (emoji, word) = match result["structuredContent"]["rating"].as_str().unwrap() {
        "excellent" => ("🟢", "Excellent"),
        "good" => ("🟡", "Good"),
        "acceptable" => ("🟠", "Acceptable"),
        "slow" => ("🔴", "Slow"),
        other => panic!("{other}"),
    };
    begins_as(
        text(&result),
        &format!(
            "⏱️ Request Timing Analysis\n\n📊 Performance Metrics:\n- Request Start: <time ms>\n- Processing Time: <ms>\n- \
             Performance: {emoji} {word}\n\n🖥️ System Resources:\n- CPU Usage: <cpu>\n- Memory Usage: <memory>\n- Active \
             Sessions: 1\n- Message Queue Size: 1\n\n📈 Session Statistics:\n- Session Age: <duration>\n- Requests in \
             Session: 3\n- Average Response Time: <decimal>ms"
        ),
    );
    assert!(text(&result).contains("- Session Age: 5m 3"), "{}", text(&result));
}

#[tokio::test]
async fn the_trace_context_is_shown_from_header_and_meta() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let meta = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01";
    let ask = |in_header: Option<&str>, in_meta: Option<&str>| {
        let mut call = tool_call("requestTiming", &json!({}));
        if let Some(value) = in_meta {
            call["params"]["_meta"] = json!({"traceparent": value, "tracestate": "vendor=1"});
        }
        let request = session.post(&call);
        call_with(match in_header {
            Some(value) => request.header("traceparent", value).header("baggage", "user=1"),
            None => request,
        })
    };
    let both = ask(Some(header), Some(meta)).await;
    assert_eq!(both["structuredContent"]["trace"]["header"]["traceparent"], header);
    assert_eq!(both["structuredContent"]["trace"]["meta"]["traceparent"], meta);
    assert_eq!(both["structuredContent"]["trace"]["meta"]["tracestate"], "vendor=1");
    for value in [header, meta, "different traces"] {
        assert!(text(&both).contains(value), "{}", text(&both));
    }
    assert!(ask(Some(header), Some(header)).await["structuredContent"]["trace"].get("note").is_none());
    assert!(text(&ask(Some("garbage"), None).await).contains("not valid"));
    assert!(text(&ask(None, None).await).contains("No traceparent"));
}

#[tokio::test]
async fn the_session_is_shown_as_in_the_sample() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    session.call("echo", json!({"message": "one"})).await;
    session.call("echo", json!({"message": "two"})).await;
    session.call("replayLastEcho", json!({})).await;
    server.clock.advance(Duration::from_secs(330));
    let result = session.call("sessionInfo", json!({})).await;
    begins_as(
        text(&result),
        &format!(
            "📊 Session Information\n\n🔑 Session Details:\n- Session ID: {}\n- Created: <time>\n- Last Activity: \
             <time>\n- Age: <duration>\n- Time Until Expiry: 1h 0m\n\n📈 Session Metrics:\n- Total Requests: 5\n- Echo \
             Count: 2\n- Replay Count: 1\n- Message Queue: 3 pending\n\n🧠 Session State:\n- Initialized: ✅\n- Protocol \
             Version: 2025-06-18\n- Client: test-client v1.0",
            session.id
        ),
    );
    assert!(text(&result).contains("- Age: 5m 3"), "{}", text(&result));
    let facts = &result["structuredContent"]["session"];
    assert_eq!(facts["sessionId"], *session.id);
    assert_eq!(facts["totalRequests"], 5);
    assert_eq!(facts["queue"]["pending"], 3);
    assert_eq!(facts["clientReady"], true);
}

#[tokio::test]
async fn without_a_session_session_info_says_how_to_get_one() {
    let server = TestServer::start().await;
    let _other = server.session("2025-06-18").await;
    let request = server.post(&tool_call("sessionInfo", &json!({}))).header("mcp-protocol-version", "2025-11-25");
    let result = call_with(request).await;
    for word in ["no session", "initialize", "Mcp-Session-Id", "- Active Sessions: 1"] {
        assert!(text(&result).contains(word), "{word:?} is not in\n{}", text(&result));
    }
    assert_eq!(result["structuredContent"]["session"], Value::Null);
    assert_eq!(result["structuredContent"]["server"]["activeSessions"], 1);
}

#[tokio::test]
async fn health_is_shown_as_in_the_sample() {
    if !in_memory() {
        return;
    }
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    assert_eq!(server.session("2025-06-18").await.delete().await, 204);
    session.call("echo", json!({"message": "m"})).await;
    let result = session.call("healthProbe", json!({})).await;
    let shown = text(&result).replace("- Last Cleanup: not yet\n", "- Last Cleanup: 0s ago\n");
    begins_as(
        &shown,
        "🏥 System Health Report\n\n✅ Overall Status: HEALTHY\n\n📊 Session Statistics:\n- Active Sessions: 1\n- Total \
         Sessions Created: 2\n- Sessions Expired: 0\n- Cleanup Run Count: <n>\n- Last Cleanup: <duration> ago\n\n💾 Memory \
         Status:\n- Process Memory: <process memory>\n- Session Storage: <bytes>\n- Message Queues: <bytes>\n\n⚡ \
         Performance:\n- Average Session Lifetime: <duration>\n- Session Creation Rate: 2.0/min\n- Message Queue Depth: 1.0 \
         avg",
    );
    let facts = &result["structuredContent"];
    assert_eq!(facts["status"], "HEALTHY");
    assert_eq!(facts["reasons"], json!([]));
    assert_eq!(facts["sessions"]["deleted"], 1);
    assert_eq!(facts["sessions"]["requestsInFlight"], 1, "this one");
    assert!(facts["memory"]["messageQueueBytes"].as_u64().unwrap() > 50, "{facts}");
}

#[tokio::test]
async fn health_is_degraded_when_sessions_run_out_and_bad_when_they_have() {
    if in_values() {
        return;
    }
    let server = TestServer::with(|config| config.max_sessions = 10).await;
    let session = server.session("2025-06-18").await;
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(server.session("2025-06-18").await);
    }
    let eight = session.call("healthProbe", json!({})).await;
    assert_eq!(eight["structuredContent"]["status"], "HEALTHY");
    others.push(server.session("2025-06-18").await);
    let nine = session.call("healthProbe", json!({})).await;
    assert_eq!(nine["structuredContent"]["status"], "DEGRADED");
    assert!(text(&nine).contains("⚠️ Overall Status: DEGRADED\n- 9 of 10 sessions"), "{}", text(&nine));

    others.push(server.session("2025-06-18").await);
    let mut streams = vec![session.stream().await];
    for other in &others {
        streams.push(other.stream().await);
    }
    assert_eq!(Answer::to(server.post(&initialize("2025-06-18"))).await.status, 503);
    let full = session.call("healthProbe", json!({})).await;
    assert_eq!(full["structuredContent"]["status"], "UNHEALTHY");
    assert!(text(&full).contains("❌ Overall Status: UNHEALTHY\n- new sessions are refused"), "{}", text(&full));
    assert_eq!(full["structuredContent"]["sessions"]["refused"], 1);
    assert_eq!(full["structuredContent"]["sessions"]["openStreams"], 10);
}

#[tokio::test]
async fn upper_case_is_that_of_all_scripts_and_what_is_remembered() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for (given, expected) in [("straße ñ", "STRASSE Ñ"), ("", ""), ("ÿ\n\u{0}\"", "Ÿ\n\u{0}\""), ("🐐", "🐐")]
    {
        let result = session.call("echo", json!({"message": given, "uppercase": true})).await;
        assert_eq!(result["structuredContent"]["message"], expected);
        assert!(text(&result).starts_with(&format!("{expected}\n\nSession: ")));
        let replay = session.call("replayLastEcho", json!({})).await;
        assert_eq!(replay["structuredContent"]["message"], expected, "an empty echo is one, too");
        assert_eq!(replay["structuredContent"]["found"], true);
    }
}

#[tokio::test]
async fn a_delay_is_a_whole_number_of_milliseconds_up_to_ten_minutes() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    for bad in [json!(-1), json!(600_001), json!(1.5), json!("5"), json!(true), json!([]), json!(1e300)] {
        let shown = refusal(&session, "echo", json!({"message": "m", "delayMs": bad})).await;
        assert!(shown.contains("`delayMs` must be"), "{bad}: {shown}");
    }
    for good in [json!(0), json!(1), json!(2.0), Value::Null] {
        let result = session.call("echo", json!({"message": "m", "delayMs": good})).await;
        assert_eq!(result["isError"], false, "{good}");
    }
    let longest = session.post(&tool_call("echo", &json!({"message": "m", "delayMs": 600_000})));
    let response = within(accepting(longest, "text/event-stream").send()).await.unwrap();
    assert_eq!(response.status(), 200, "ten minutes are allowed");
    let started = std::time::Instant::now();
    session.call("echo", json!({"message": "m", "delayMs": 50})).await;
    assert!(started.elapsed() >= Duration::from_millis(50), "and it is waited for");
}

#[tokio::test]
async fn custom_data_is_merged_and_null_removes() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    let kept =
        async || session.call("sessionInfo", json!({})).await["structuredContent"]["session"]["customData"].take();
    assert_eq!(kept().await, json!({}));
    let steps = [
        (json!({"a": 1, "b": {"x": 1}}), json!({"a": 1, "b": {"x": 1}})),
        (json!({"b": {"y": null}, "c": [null]}), json!({"a": 1, "b": {"y": null}, "c": [null]})),
        (json!({"a": null, "never": null}), json!({"b": {"y": null}, "c": [null]})),
        (json!({}), json!({"b": {"y": null}, "c": [null]})),
    ];
    for (data, expected) in steps {
        session.call("echo", json!({"message": "m", "customData": data})).await;
        assert_eq!(kept().await, expected);
    }
    let other = server.session("2025-11-25").await;
    let theirs = other.call("sessionInfo", json!({})).await;
    assert_eq!(theirs["structuredContent"]["session"]["customData"], json!({}), "each session has its own");
}

#[tokio::test]
async fn custom_data_is_bounded_and_a_refused_echo_changes_nothing() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    let data = |key: &str, bytes: usize| json!({key: "x".repeat(bytes - key.len() - 7)});
    let fits = json!({"message": "kept", "customData": data("k", 16 * 1024)});
    assert_eq!(session.call("echo", fits).await["isError"], false, "the bound itself is allowed");
    let more = refusal(&session, "echo", json!({"message": "lost", "customData": {"l": 1}})).await;
    assert!(more.contains("customData") && more.contains("16384"), "{more}");
    let replay = session.call("replayLastEcho", json!({})).await;
    assert_eq!(replay["structuredContent"]["message"], "kept");
    assert_eq!(replay["structuredContent"]["echoCount"], 1);
    let instead = json!({"message": "m", "customData": {"k": null, "l": 1}});
    assert_eq!(session.call("echo", instead).await["isError"], false, "what is removed makes room");

    let fresh = server.session("2025-11-25").await;
    refusal(&fresh, "echo", json!({"message": "m", "customData": data("k", 16 * 1024 + 1)})).await;
}

#[tokio::test]
async fn a_message_is_at_most_a_mebibyte() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    let longest = "x".repeat(1024 * 1024);
    let result = session.call("echo", json!({"message": longest})).await;
    assert_eq!(result["structuredContent"]["message"].as_str().unwrap().len(), 1024 * 1024);
    let shown = refusal(&session, "echo", json!({"message": longest + "x"})).await;
    assert!(shown.contains("`message`") && shown.contains("1048576"), "{shown}");
}

#[tokio::test]
async fn all_that_is_wrong_is_said_at_once() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let wrong = json!({"uppercase": 1, "delayMs": 999_999, "customData": [], "Message": "m"});
    let error = Answer::to(session.post(&tool_call("echo", &wrong))).await.error(200, -32602, &json!(1));
    let words =
        ["echo", "`message` is required", "`uppercase`", "`delayMs`", "600000", "`customData`", "`Message` is unknown"];
    assert_says(&error, &words);
    assert_eq!(error["data"]["problems"].as_array().unwrap().len(), 5);
    let error =
        Answer::to(session.post(&tool_call("echo", &json!({"message": null})))).await.error(200, -32602, &json!(1));
    assert_says(&error, &["`message` must be a string"]);
    for wrong in [json!({"headers": "X"}), json!({"headers": [1]}), json!({"origin": 5})] {
        Answer::to(session.post(&tool_call("corsAnalysis", &wrong))).await.error(200, -32602, &json!(1));
    }
}

#[tokio::test]
async fn a_first_call_that_replays_is_told_of_clients_with_a_session_for_each_call() {
    let server = TestServer::start().await;
    let nothing = "No previous echo message found in this session. Use the echo tool first!";
    let session = server.session("2025-06-18").await;
    let first = session.call("replayLastEcho", json!({})).await;
    begins_as(text(&first), nothing);
    assert!(text(&first).contains("session for every call") && text(&first).contains(&session.id), "{}", text(&first));
    assert_eq!(first["structuredContent"]["found"], false);
    assert!(first["structuredContent"]["hint"].is_string());
    let second = session.call("replayLastEcho", json!({})).await;
    assert_eq!(text(&second), nothing, "not any more after other calls");
    assert!(second["structuredContent"].get("hint").is_none());

    let used = server.session("2025-06-18").await;
    used.call("sessionInfo", json!({})).await;
    assert_eq!(used.text("replayLastEcho", json!({})).await, nothing);
}

#[tokio::test]
async fn repeated_headers_are_shown_each_and_secrets_never_whole() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let token = jwt(r#"{"alg":"RS256"}"#, r#"{"sub":"12345"}"#);
    let basic = base64::engine::general_purpose::STANDARD.encode("user:correct horse battery staple");
    let secrets = [
        ("authorization", format!("Bearer {token}")),
        ("proxy-authorization", format!("Basic {basic}")),
        ("cookie", "session=c00kie-s3cret-value; theme=dark".to_owned()),
        ("x-api-key", "k3y-0123456789abcdef".to_owned()),
        ("x-auth-token", token.clone()),
        ("x-forwarded-access-token", "gho_16C7e42F292c6912E7710c838347Ae178B4a".to_owned()),
        ("cf-access-jwt-assertion", token.clone()),
        ("x-note", format!("see {token}")),
        ("x-link", "https://user:pa55word@host.example/?access_token=t0kent0kent0ken".to_owned()),
    ];
    let mut request = session
        .post(&tool_call("printHeader", &json!({})))
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-twice", "one")
        .header("x-twice", "two");
    for (name, value) in &secrets {
        request = request.header(*name, value);
    }
    let result = call_with(request).await;
    let shown = text(&result);
    assert!(shown.contains("\n  X-Forwarded-For: 203.0.113.7\n  X-Forwarded-For: 10.0.0.1\n"), "{shown}");
    assert!(shown.contains("\n  X-Twice: one\n  X-Twice: two\n"), "{shown}");
    let everything = result.to_string();
    for secret in [
        &token,
        &basic,
        "c00kie-s3cret-value",
        "k3y-0123456789abcdef",
        "16C7e42F292c6912E7710c838347Ae178B4a",
        "pa55word",
        "t0kent0kent0ken",
        &session.id,
    ] {
        assert!(!everything.contains(secret), "{secret} is shown whole in\n{shown}");
    }
    for (name, _) in &secrets {
        assert!(shown.to_lowercase().contains(&format!("  {name}: ")), "{name} is not shown in\n{shown}");
    }
}

#[tokio::test]
async fn the_environment_is_shown_with_its_sources_and_without_its_secrets() {
    let environment = [
        ("MCP_SESSION_TIMEOUT", "120"),
        ("MCP_API_TOKEN", "0123456789-sup3rs3cret-tail"),
        ("RUST_LOG", "info"),
        ("HOME", "/home/somebody"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI"),
    ];
    let Command::Serve(loaded) = Config::load(["server", "--port", "0"], environment).unwrap() else { panic!() };
    let server = TestServer::with(|config| *config = *loaded).await;
    let session = server.session("2025-06-18").await;
    let result = session.call("environmentDump", json!({})).await;
    for line in [
        "\n- MCP_ECHO_PORT: 0 (flag)\n",
        "\n- MCP_SESSION_TIMEOUT: 120 (environment)\n",
        "\n- MCP_SESSION_CLEANUP_INTERVAL: 60 (default)\n",
        "\n- RUST_LOG: info\n",
        &format!("\n- Server Version: {SERVER_VERSION}\n"),
    ] {
        assert!(text(&result).contains(line), "{line:?} is not in\n{}", text(&result));
    }
    assert_eq!(result["structuredContent"]["environment"]["MCP_API_TOKEN"], "***");
    let shown = session.call("environmentDump", json!({"showSecrets": true})).await;
    assert_eq!(shown["structuredContent"]["environment"]["MCP_API_TOKEN"], "0123...tail");
    for result in [result, shown] {
        for hidden in ["sup3rs3cret", "wJalrXUtnFEMI", "AWS_SECRET", "/home/somebody"] {
            assert!(!result.to_string().contains(hidden), "{hidden} in {}", text(&result));
        }
    }
}

#[tokio::test]
async fn cors_is_judged_for_this_request_or_for_one_that_is_described() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let local = session.post(&tool_call("corsAnalysis", &json!({}))).header("origin", "http://localhost:6274");
    let local = call_with(local).await;
    let facts = &local["structuredContent"];
    assert_eq!(facts["request"]["origin"], "http://localhost:6274");
    assert_eq!((facts["simulated"].clone(), facts["policy"]["setBy"].clone()), (json!(false), json!("server")));
    assert!(facts["points"].as_array().unwrap().iter().all(|point| point["verdict"] != "fail"), "{facts}");
    for name in ["Mcp-Session-Id", "WWW-Authenticate"] {
        assert!(text(&local).contains(name));
    }
    let foreign = json!({"origin": "https://app.example", "method": "POST", "headers": ["Content-Type"]});
    let foreign = session.call("corsAnalysis", foreign).await;
    let facts = &foreign["structuredContent"];
    assert_eq!(facts["simulated"], true);
    assert!(facts["points"].as_array().unwrap().iter().any(|point| point["verdict"] == "fail"), "{facts}");
    assert!(text(&foreign).contains("MCP_ALLOWED_ORIGINS"), "{}", text(&foreign));
}

#[tokio::test]
async fn the_goat_is_the_caller_and_always_the_same() {
    let server = TestServer::start().await;
    let tools = listed(&server).await;
    let goat = tools.iter().find(|tool| tool["name"] == "whoIStheGOAT").unwrap();
    assert!(goat["description"].as_str().unwrap().contains("AI-powered excellence analyzer"));
    let (one, two) = (server.session("2025-06-18").await, server.session("2025-06-18").await);
    let named = |session: &Session<'_>, name: &'static str| {
        call_with(session.post(&tool_call("whoIStheGOAT", &json!({}))).header("x-user-name", name))
    };
    let first = named(&one, "johndoe").await;
    assert_eq!(named(&two, "johndoe").await, first, "the same caller, the same verdict");
    assert_ne!(named(&one, "janedoe").await, first);
    assert!(first["structuredContent"]["verdict"].as_str().unwrap().starts_with("johndoe"));

    let token = jwt(r#"{"alg":"RS256"}"#, r#"{"name":"John Doe"}"#);
    let by_token = one
        .post(&tool_call("whoIStheGOAT", &json!({})))
        .header("authorization", format!("Bearer {token}"))
        .header("x-user-name", "johndoe");
    assert_eq!(call_with(by_token).await["structuredContent"]["goat"], "John Doe");
    assert_eq!(one.call("whoIStheGOAT", json!({})).await["structuredContent"]["goat"], "test-client");
}

#[tokio::test]
async fn a_message_that_grows_in_upper_case_is_bounded_as_it_is_kept() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    // Two bytes each, six in upper case.
    let message = "ΐ".repeat(500 * 1024);
    let result = session.call("echo", json!({"message": message, "uppercase": true})).await;
    assert_eq!(result["isError"], true);
    assert!(result["content"][0]["text"].as_str().unwrap().contains("at most 1048576"));
    assert!(session.text("replayLastEcho", json!({})).await.starts_with("No previous echo message found"));
}
