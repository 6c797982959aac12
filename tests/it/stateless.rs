//! The stateless era, 2026-07-28: every request says in `_meta` what it is, and its headers repeat it.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use mcp_echo_stateful::config::ResponseMode;
use mcp_echo_stateful::protocol::SERVER_VERSION;
use mcp_echo_stateful::session::{enter, read};
use mcp_echo_stateful::tools::{
    Annotations, Call, Handle, NoArguments, Ongoing, Outcome, RawArguments, Tool, ToolError,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::exchange::{Answer, assert_says, data_alone};
use crate::modern::{CAPABILITIES, CLIENT_INFO, LOG_LEVEL, MODERN, Modern, SERVER_INFO, VERSION, base64};
use crate::revisions::{object, satisfies};
use crate::server::{Event, Events, TestServer, least_arguments, tool_call, within};

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";

const INVALID_PARAMS: i64 = -32602;
const NOT_FOUND: i64 = -32601;
const MISMATCH: i64 = -32020;
const UNSUPPORTED: i64 = -32022;

fn discover() -> Modern {
    Modern::new("server/discover", json!({}))
}

fn list() -> Modern {
    Modern::new("tools/list", json!({}))
}

fn listen() -> Modern {
    Modern::new("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}))
}

fn echo(message: &str) -> Modern {
    Modern::call("echo", json!({"message": message}))
}

/// An echo that answers late.
fn late(delay_ms: u64) -> Modern {
    Modern::call("echo", json!({"message": "late", "delayMs": delay_ms}))
}

/// One request of each method.
fn every_method() -> [Modern; 4] {
    [discover(), list(), echo("m"), listen()]
}

fn sessions_created(server: &TestServer) -> u64 {
    read(&server.sessions).stats().created
}

#[tokio::test]
async fn a_request_is_served_as_it_comes_without_a_session_of_the_protocol() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for id in [None, Some(&*session.id), Some("00000000-0000-4000-8000-000000000000"), Some("garbage")] {
        for request in [discover(), list(), echo("m"), Modern::call("sessionInfo", json!({}))] {
            let request = id.map_or(request.clone(), |id| request.header("mcp-session-id", id));
            let answer = request.ask(&server).await;
            assert!(answer.header("mcp-session-id").is_none(), "{answer:?}");
            let result = answer.result();
            assert_eq!(result["structuredContent"].get("session").unwrap_or(&Value::Null), &Value::Null, "{result}");
        }
    }
    let info = session.call("sessionInfo", json!({})).await;
    let info = &info["structuredContent"]["session"];
    assert_eq!((&info["totalRequests"], &info["echoCount"]), (&json!(2), &json!(0)), "it was left alone: {info}");
}

#[tokio::test]
async fn what_is_missing_or_wrong_in_meta_is_named() {
    let server = TestServer::start().await;
    let cases = |request: &Modern| {
        let mut bare = request.clone();
        bare.body["params"].as_object_mut().unwrap().remove("_meta");
        let mut no_params = request.clone();
        no_params.body.as_object_mut().unwrap().remove("params");
        // Otherwise a name that is not in the body would be another mistake.
        no_params = no_params.header("mcp-name", "echo");
        let mut text = request.clone();
        text.body["params"]["_meta"] = "2026-07-28".into();
        [
            (bare, vec!["`_meta`", VERSION, CAPABILITIES]),
            (no_params, vec!["`_meta`"]),
            (text, vec!["`_meta`"]),
            (request.clone().without_meta(VERSION), vec![VERSION]),
            (request.clone().meta(VERSION, 20_260_728), vec![VERSION]),
            (request.clone().meta(VERSION, Value::Null), vec![VERSION]),
            (request.clone().without_meta(CAPABILITIES), vec![CAPABILITIES]),
            (request.clone().meta(CAPABILITIES, json!([])), vec![CAPABILITIES]),
            (request.clone().without_meta(VERSION).without_meta(CAPABILITIES), vec![VERSION, CAPABILITIES]),
            (request.clone().meta(CLIENT_INFO, "me"), vec![CLIENT_INFO]),
            (request.clone().meta(CLIENT_INFO, json!({"name": "me"})), vec![CLIENT_INFO, "version"]),
            (request.clone().meta(CLIENT_INFO, json!({"name": 1, "version": "1"})), vec![CLIENT_INFO, "name"]),
        ]
    };
    for request in every_method() {
        for (wrong, words) in cases(&request) {
            let answer = wrong.id("m-1").ask(&server).await;
            let error = answer.error(400, INVALID_PARAMS, &json!("m-1"));
            assert_says(&error, &words);
            let problems = error["data"]["problems"].as_array().unwrap();
            assert!(!problems.is_empty() && problems.iter().all(Value::is_string), "{error}");
        }
    }
    assert_eq!(sessions_created(&server), 0);
}

#[tokio::test]
async fn a_client_need_not_name_itself() {
    let server = TestServer::start().await;
    for request in [discover(), list(), echo("m"), Modern::call("whoIStheGOAT", json!({}))] {
        request.without_meta(CLIENT_INFO).result(&server).await;
    }
    let named = Modern::call("whoIStheGOAT", json!({})).result(&server).await;
    assert!(named.to_string().contains("modern-client"), "{named}");
}

#[tokio::test]
async fn a_log_level_is_one_of_those_that_there_are() {
    let server = TestServer::start().await;
    for level in ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"] {
        list().meta(LOG_LEVEL, level).result(&server).await;
    }
    for level in [json!("loud"), json!("INFO"), json!(""), json!(3), Value::Null] {
        let error = list().meta(LOG_LEVEL, level).ask(&server).await.error(400, INVALID_PARAMS, &json!(1));
        assert_says(&error, &[LOG_LEVEL, "debug", "emergency"]);
    }
}

#[tokio::test]
async fn the_headers_repeat_what_the_body_says() {
    let server = TestServer::start().await;
    for request in every_method() {
        let method = request.body["method"].as_str().unwrap().to_owned();
        let mut wrong = vec![
            (request.clone().without("mcp-protocol-version"), "MCP-Protocol-Version"),
            (request.clone().header("mcp-protocol-version", ""), "MCP-Protocol-Version"),
            (request.clone().header("mcp-protocol-version", "2025-11-25"), "MCP-Protocol-Version"),
            (request.clone().header("mcp-protocol-version", "2027-01-01"), "MCP-Protocol-Version"),
            (request.clone().without("mcp-method"), "Mcp-Method"),
            (request.clone().header("mcp-method", ""), "Mcp-Method"),
            (request.clone().header("mcp-method", "ping"), "Mcp-Method"),
            (request.clone().header("mcp-method", method.to_uppercase()), "Mcp-Method"),
            (request.clone().header("mcp-method", &method).header("mcp-method", "ping"), "Mcp-Method"),
            (request.clone().header("mcp-method", base64(&method)), "Mcp-Method"),
            (request.clone().header("mcp-protocol-version", base64(MODERN)), "MCP-Protocol-Version"),
        ];
        if method == "tools/call" {
            wrong.extend([
                (request.clone().without("mcp-name"), "Mcp-Name"),
                (request.clone().header("mcp-name", ""), "Mcp-Name"),
                (request.clone().header("mcp-name", "printHeader"), "Mcp-Name"),
                (request.clone().header("mcp-name", "Echo"), "Mcp-Name"),
                (request.clone().header("mcp-name", "echo").header("mcp-name", "printHeader"), "Mcp-Name"),
            ]);
        }
        for (request, header) in wrong {
            let error = request.id("h").ask(&server).await.error(400, MISMATCH, &json!("h"));
            assert_says(&error, &["Header mismatch", header]);
        }
    }
    assert_eq!(sessions_created(&server), 0, "nothing was done");
    let twice = list().header("mcp-method", "tools/list").header("mcp-method", "tools/list");
    twice.result(&server).await;
    list().header("mcp-name", "anything").result(&server).await;
}

#[tokio::test]
async fn a_name_that_is_no_plain_header_is_written_in_base64() {
    let server = TestServer::start().await;
    echo("m").header("mcp-name", base64("echo")).result(&server).await;
    for name in ["ünï-tool", " echo", "line\nbreak", "=?base64?ZWNobw==?="] {
        let answer = Modern::call(name, json!({})).ask(&server).await;
        assert_says(&answer.error(200, INVALID_PARAMS, &json!(1)), &["Unknown tool"]);
    }
    let broken = [
        "=?base64?ZWNobw?=",
        "=?base64?ZWN!bw==?=",
        "=?base64?/w==?=",
        "=?BASE64?ZWNobw==?=",
        "=?base64?ZWNobw==",
        "ZWNobw==",
    ];
    for value in broken {
        assert_says(
            &echo("m").header("mcp-name", value).ask(&server).await.error(400, MISMATCH, &json!(1)),
            &["Mcp-Name"],
        );
    }
    assert_says(
        &echo("m").header("mcp-name", base64("printHeader")).ask(&server).await.error(400, MISMATCH, &json!(1)),
        &["printHeader", "echo"],
    );
}

#[tokio::test]
async fn bytes_that_no_header_may_have_are_refused() {
    let server = TestServer::with(|config| config.handle_header = true).await;
    let name = "outil-é";
    for (header, value) in [("mcp-name", name), ("mcp-method", "tools/cåll"), ("mcp-protocol-version", "2026-07-28é")]
    {
        let answer = Modern::call(name, json!({})).header(header, value).ask(&server).await;
        assert_says(&answer.error(400, MISMATCH, &json!(1)), &["ASCII"]);
    }
    let handle = Modern::call("echo", json!({"message": "m", "sessionId": "é"})).header("mcp-param-session", "é");
    assert_says(&handle.ask(&server).await.error(400, MISMATCH, &json!(1)), &["Mcp-Param-Session"]);
}

#[tokio::test]
async fn header_names_have_any_case_and_values_any_spaces_around_them() {
    let server = TestServer::start().await;
    let body = echo("m").body.to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCONTENT-TYPE: application/json\r\n\
         Content-Length: {}\r\nmcp-PROTOCOL-version:   {MODERN} \r\nMCP-METHOD:\ttools/call\t\r\nmCP-nAME:echo   \r\n\r\n",
        body.len()
    );
    let answer = Answer::to_raw(&server, (head + &body).as_bytes()).await;
    assert_eq!(answer.result()["structuredContent"]["message"], "m");
}

#[tokio::test]
async fn a_version_that_is_not_served_is_answered_with_those_that_discovery_names() {
    let server = TestServer::start().await;
    let supported = discover().result(&server).await["supportedVersions"].take();
    assert_eq!(supported, json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]));
    for version in ["2099-01-01", "2026-07-29", "v999", "1900-01-01", "2026-7-28", "DRAFT-2027-v1"] {
        for request in every_method() {
            let error = request.meta(VERSION, version).id("v").ask(&server).await.error(400, UNSUPPORTED, &json!("v"));
            assert_eq!(data_alone(&error), json!({"supported": supported, "requested": version}));
            assert_says(&error, &["Unsupported protocol version", MODERN, "2024-11-05"]);
        }
    }
}

#[tokio::test]
async fn a_version_that_is_not_served_is_told_of_also_where_only_the_header_names_it() {
    let server = TestServer::start().await;
    let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]);
    for version in ["2099-01-01", "2026-07-29", "v999", "2024-10-07"] {
        for body in [tool_call("echo", &json!({"message": "m"})), json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})]
        {
            let answer = Answer::to(server.post(&body).header("mcp-protocol-version", version)).await;
            let error = answer.error(400, UNSUPPORTED, &json!(1));
            assert_eq!(data_alone(&error), json!({"supported": supported, "requested": version}));
        }
        let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled"});
        let answer = Answer::to(server.post(&note).header("mcp-protocol-version", version)).await;
        assert_eq!(answer.error(400, UNSUPPORTED, &Value::Null)["data"]["requested"], version);
    }
}

#[tokio::test]
async fn methods_that_this_era_does_not_have_are_not_found() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    let gone = [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "notifications/initialized",
        "tools/List",
        "no/such",
    ];
    for method in gone {
        for accept in ["application/json, text/event-stream", SSE] {
            let request = Modern::new(method, json!({"level": "info", "uri": "file:///x", "name": "x"}));
            let request = request.id("gone").accept(accept).header("mcp-session-id", &session.id);
            let error = request.ask(&server).await.error(404, NOT_FOUND, &json!("gone"));
            assert_says(&error, &[method]);
            assert!(error["data"]["available"].as_array().unwrap().contains(&json!("server/discover")), "{error}");
        }
    }
    assert_eq!(sessions_created(&server), 1, "the initialize among them made no session");
}

#[tokio::test]
async fn ids_come_back_to_the_letter() {
    let server = TestServer::start().await;
    for id in ["0", "-1", "9007199254740993", "123456789012345678901234567890", r#""""#, r#""\u0061\/b""#, "\"ü💥\""]
    {
        for (request, status) in
            [(list(), 200), (Modern::new("ping", json!({})), 404), (list().without("mcp-method"), 400)]
        {
            let body = request.body.to_string().replace("\"id\":1", &format!("\"id\": {id} "));
            let answer = Answer::to(request.to(&server).body(body)).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(answer.text.starts_with(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},")), "{id}: {}", answer.text);
        }
    }
}

/// `_meta` of a result.
fn meta_rules() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    let implementation = object(&["name", "title", "version"], &json!({"name": text, "title": text, "version": text}));
    object(&[SERVER_INFO], &json!({SERVER_INFO: implementation}))
}

/// A result that may be cached, with these members besides.
fn cacheable(required: &[&str], members: &Value) -> Value {
    let mut members = members.clone();
    members["resultType"] = json!({"const": "complete"});
    members["_meta"] = meta_rules();
    members["ttlMs"] = json!({"type": "integer", "minimum": 0});
    members["cacheScope"] = json!({"enum": ["public", "private"]});
    object(&[required, &["resultType", "_meta", "ttlMs", "cacheScope"]].concat(), &members)
}

fn shown(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap().replace(SERVER_VERSION, "[version]")
}

#[tokio::test]
async fn discovery_tells_versions_capabilities_and_who_this_is() {
    let server = TestServer::start().await;
    let result = discover().result(&server).await;
    let rules = cacheable(
        &["supportedVersions", "capabilities"],
        &json!({
            "supportedVersions": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string"}},
            "capabilities": object(&["logging", "tools"], &json!({"logging": object(&[], &json!({})), "tools": object(&[], &json!({}))})),
            "instructions": {"type": "string", "minLength": 1},
        }),
    );
    satisfies(&rules, &result);
    assert_eq!(result["_meta"][SERVER_INFO]["name"], "mcp-echo-streamablehttp-server-stateful");
    assert_eq!(result["_meta"][SERVER_INFO]["version"], SERVER_VERSION);
    insta::assert_snapshot!("discover_2026-07-28", shown(&result));
}

/// The arguments that a tool wants mirrored into headers, each with its annotation.
fn annotated(tool: &Value) -> Vec<(&str, &str)> {
    let properties = tool["inputSchema"]["properties"].as_object().unwrap();
    properties
        .iter()
        .filter_map(|(name, rule)| Some((name.as_str(), rule.get("x-mcp-header")?.as_str().unwrap())))
        .collect()
}

#[tokio::test]
async fn tools_are_listed_with_what_the_revision_defines() {
    let server = TestServer::start().await;
    let result = list().result(&server).await;
    let text = json!({"type": "string", "minLength": 1});
    let flag = json!({"type": "boolean"});
    let header = json!({"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"});
    let property = json!({
        "type": "object",
        "required": ["description"],
        "anyOf": [{"required": ["type"]}, {"required": ["anyOf"]}],
        "properties": {"x-mcp-header": header},
        // Only what is text, a whole number or a yes and no can be mirrored.
        "if": {"required": ["x-mcp-header"]},
        "then": {"properties": {"type": {"enum": ["string", "integer", "boolean"]}}},
    });
    let input = json!({
        "type": "object",
        "required": ["type", "additionalProperties"],
        "properties": {"type": {"const": "object"}, "properties": {"type": "object", "additionalProperties": property}},
    });
    let annotations = json!({
        "title": text, "readOnlyHint": flag, "destructiveHint": flag, "idempotentHint": flag, "openWorldHint": flag,
    });
    let tool = object(
        &["name", "title", "description", "inputSchema", "outputSchema", "annotations"],
        &json!({
            "name": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"},
            "title": text,
            "description": text,
            "inputSchema": input,
            "outputSchema": {"type": "object", "required": ["type"]},
            "annotations": object(&[], &annotations),
        }),
    );
    satisfies(&cacheable(&["tools"], &json!({"tools": {"type": "array", "minItems": 11, "items": tool}})), &result);
    for tool in result["tools"].as_array().unwrap() {
        for schema in ["inputSchema", "outputSchema"] {
            assert!(jsonschema::draft202012::meta::is_valid(&tool[schema]), "{tool}");
        }
        assert_eq!(annotated(tool), [], "browsers cannot send what an annotation asks for: {tool}");
        let requires_handle = tool["inputSchema"]["required"].to_string().contains("sessionId");
        assert_eq!(requires_handle, tool["name"] == "replayLastEcho", "{tool}");
    }
    let asking = TestServer::with(|config| config.handle_header = true).await;
    for tool in list().result(&asking).await["tools"].as_array().unwrap() {
        let takes_a_handle = ["echo", "replayLastEcho", "sessionInfo"].contains(&tool["name"].as_str().unwrap());
        let expected = if takes_a_handle { vec![("sessionId", "Session")] } else { Vec::new() };
        assert_eq!(annotated(tool), expected, "{tool}");
    }
    insta::assert_snapshot!("tools_2026-07-28", shown(&result));
}

#[tokio::test]
async fn the_list_is_the_same_for_everybody_every_time() {
    let server = TestServer::start().await;
    let first = list().ask(&server).await.text;
    echo("m").result(&server).await;
    let session = server.session("2025-06-18").await;
    for request in [
        list(),
        list().without_meta(CLIENT_INFO),
        list().meta(CAPABILITIES, json!({"sampling": {}, "extensions": {"com.example/x": {}}})),
        list().header("x-user-id", "alice").header("mcp-session-id", &session.id),
    ] {
        assert_eq!(request.ask(&server).await.text, first);
    }
    let mut cursor = list();
    cursor.body["params"]["cursor"] = "2".into();
    assert_says(&cursor.ask(&server).await.error(200, INVALID_PARAMS, &json!(1)), &["cursor"]);
}

#[tokio::test]
async fn handles_are_arguments_of_this_era_only() {
    let server = TestServer::start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let session = server.session(version).await;
        let listed = session.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
        assert!(!listed.to_string().contains("x-mcp-header"), "{version}");
        for tool in listed["result"]["tools"].as_array().unwrap() {
            assert!(tool["inputSchema"]["properties"].get("sessionId").is_none(), "{version}: {tool}");
        }
        let call = tool_call("echo", &json!({"message": "m", "sessionId": session.id}));
        assert!(session.ask(&call).await.to_string().contains("`sessionId` is unknown"), "{version}");
    }
}

#[tokio::test]
async fn a_tools_result_is_complete_and_says_who_answers() {
    let server = TestServer::start().await;
    let mut result = echo("Hello").result(&server).await;
    let block = object(&["type", "text"], &json!({"type": {"const": "text"}, "text": {"type": "string"}}));
    let rules = object(
        &["content", "isError", "structuredContent", "resultType", "_meta"],
        &json!({
            "content": {"type": "array", "minItems": 1, "items": block},
            "isError": {"const": false},
            "structuredContent": {"type": "object"},
            "resultType": {"const": "complete"},
            "_meta": meta_rules(),
        }),
    );
    satisfies(&rules, &result);
    let listed = list().result(&server).await;
    for tool in listed["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        if name == "replayLastEcho" {
            continue;
        }
        let answered = Modern::call(name, least_arguments(&tool["inputSchema"])).result(&server).await;
        satisfies(&rules, &answered);
        satisfies(&tool["outputSchema"], &answered["structuredContent"]);
    }
    let handle = result["structuredContent"]["sessionId"].as_str().unwrap().to_owned();
    result = serde_json::from_str(&result.to_string().replace(&handle, "[handle]")).unwrap();
    insta::assert_snapshot!("echo_2026-07-28", shown(&result));
}

#[tokio::test]
async fn bad_arguments_are_a_result_that_the_model_can_read() {
    let server = TestServer::start().await;
    let said = Modern::call("echo", json!({"uppercase": "yes", "volume": 11})).complaint(&server).await;
    for problem in ["`message` is required", "`uppercase` must be a boolean", "`volume` is unknown"] {
        assert!(said.contains(problem), "{said}");
    }
    assert!(said.contains("`sessionId`"), "the arguments that there are: {said}");
    let said = Modern::call("echo", json!({"message": "m", "sessionId": 7})).header("mcp-param-session", "7.0");
    assert!(said.complaint(&server).await.contains("`sessionId` must be a string"));
    assert_eq!(sessions_created(&server), 0);
}

#[tokio::test]
async fn a_call_that_names_no_tool_is_an_error() {
    let server = TestServer::start().await;
    let answer = Modern::call("nope", json!({})).ask(&server).await;
    let error = answer.error(200, INVALID_PARAMS, &json!(1));
    assert_says(&error, &["Unknown tool", "nope"]);
    assert_eq!(error["data"]["available"][0], "echo");
    let nameless = Modern::new("tools/call", json!({"arguments": {}}));
    assert_says(&nameless.ask(&server).await.error(200, INVALID_PARAMS, &json!(1)), &["name"]);
    let listed = Modern::call("echo", json!(["m"]));
    assert_says(&listed.ask(&server).await.error(200, INVALID_PARAMS, &json!(1)), &["arguments"]);
}

#[tokio::test]
async fn get_and_delete_are_no_methods_of_this_era() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for version in [MODERN, "2027-01-01"] {
        for method in [Method::GET, Method::DELETE] {
            for request in [session.request(method.clone()), server.request(method.clone(), "/mcp")] {
                let answer = Answer::to(request.header("mcp-protocol-version", version)).await;
                assert_says(&answer.error(405, -32600, &Value::Null), &[method.as_str(), MODERN]);
                assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
                assert!(answer.header("mcp-session-id").is_none());
            }
        }
    }
    assert_eq!(session.call("echo", json!({"message": "m"})).await["isError"], false, "it lives on");
}

#[tokio::test]
async fn there_are_no_batches_and_nothing_of_one_is_done() {
    let server = TestServer::start().await;
    let batches = [json!([echo("m").body]), json!([list().body, echo("m").body]), json!([])];
    for batch in batches {
        let answer = Answer::to(server.post(&batch).header("mcp-protocol-version", MODERN)).await;
        answer.error(400, -32600, &Value::Null);
    }
    assert_eq!(sessions_created(&server), 0);
}

#[tokio::test]
async fn a_batch_with_a_message_of_this_era_is_refused_as_a_whole() {
    let server = TestServer::start().await;
    let session = server.session("2025-03-26").await;
    let old = tool_call("echo", &json!({"message": "old"}));
    let note = json!({"jsonrpc": "2.0", "method": "notifications/x", "params": {"_meta": {VERSION: MODERN}}});
    let discover = json!({"jsonrpc": "2.0", "id": 2, "method": "server/discover"});
    for modern in [echo("new").body, discover, note] {
        for batch in [json!([modern]), json!([old, modern]), json!([modern, old])] {
            for request in [session.post(&batch), server.post(&batch)] {
                let error = Answer::to(request).await.error(400, -32600, &Value::Null);
                assert_says(&error, &["batch", "one message"]);
            }
        }
    }
    let info = session.call("sessionInfo", json!({})).await;
    assert!(info["content"][0]["text"].as_str().unwrap().contains("- Echo Count: 0"), "{info}");
    assert_eq!(sessions_created(&server), 1);
}

#[tokio::test]
async fn notifications_are_accepted_and_responses_are_not() {
    let server = TestServer::start().await;
    for method in ["notifications/cancelled", "notifications/initialized", "no/such"] {
        let note = json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": 1, "_meta": {VERSION: MODERN}}});
        let by_header = json!({"jsonrpc": "2.0", "method": method});
        for request in [server.post(&note), server.post(&by_header).header("mcp-protocol-version", MODERN)] {
            let answer = Answer::to(request).await;
            assert_eq!((answer.status, &*answer.text), (202, ""), "{answer:?}");
            assert!(answer.header("mcp-session-id").is_none());
        }
    }
    for response in [
        json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}}),
    ] {
        let answer = Answer::to(server.post(&response).header("mcp-protocol-version", MODERN)).await;
        assert_says(&answer.error(400, -32600, &Value::Null), &["response"]);
    }
}

#[tokio::test]
async fn the_form_of_an_answer_is_what_the_client_accepts_and_the_call_needs() {
    let both = "application/json, text/event-stream";
    for (mode, accept, quick, telling) in [
        (ResponseMode::Auto, both, JSON, SSE),
        (ResponseMode::Auto, JSON, JSON, JSON),
        (ResponseMode::Auto, SSE, SSE, SSE),
        (ResponseMode::Json, both, JSON, JSON),
        (ResponseMode::Sse, both, SSE, SSE),
    ] {
        let server = TestServer::with(|config| config.response = mode).await;
        let with_progress = late(1).meta("progressToken", 1);
        let cases =
            [(discover(), quick), (list(), quick), (echo("m"), quick), (late(1), quick), (with_progress, telling)];
        for (request, form) in cases {
            let answer = request.accept(accept).ask(&server).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(form)), "{mode:?} {accept}");
        }
    }
}

#[tokio::test]
async fn a_stream_has_no_ids_to_resume_from_and_ends_with_the_answer() {
    let server = TestServer::start().await;
    for request in [discover(), echo("m"), late(5), late(5).meta("progressToken", "p").meta(LOG_LEVEL, "debug")] {
        let response = within(request.id("last").accept(SSE).header("last-event-id", "1-1").to(&server).send()).await;
        let response = response.unwrap();
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert!(!response.headers().contains_key("mcp-session-id"));
        let mut events = Events::of(response);
        let mut last = Event::default();
        while let Some(event) = events.next().await {
            assert!(event.id.is_none() && event.retry.is_none(), "{event:?}");
            last = event;
        }
        let answer = last.json();
        assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!("last"), &json!("complete")));
    }
}

#[tokio::test]
async fn progress_comes_on_the_calls_own_stream_under_its_token() {
    let server = TestServer::start().await;
    for token in [json!("a token"), json!(7)] {
        let mut events = late(20).meta("progressToken", token.clone()).stream(&server).await.rest().await;
        assert_eq!(events.pop().unwrap().json()["result"]["structuredContent"]["message"], "late");
        let notes: Vec<Value> = events.iter().map(Event::json).collect();
        assert!(!notes.is_empty());
        let mut last = -1.0;
        for note in notes {
            assert_eq!(note["method"], "notifications/progress");
            assert_eq!(note["params"]["progressToken"], token);
            assert!(note["params"]["message"].is_string(), "{note}");
            let progress = note["params"]["progress"].as_f64().unwrap();
            assert!(progress > last, "{note} after {last}");
            last = progress;
        }
    }
    assert_eq!(late(5).accept(SSE).stream(&server).await.rest().await.len(), 1, "without a token, only the answer");
}

#[tokio::test]
async fn log_lines_come_only_when_they_are_asked_for_and_at_the_level_that_is() {
    let server = TestServer::start().await;
    for (level, lines) in
        [(None, 0), (Some("debug"), 1), (Some("info"), 1), (Some("notice"), 0), (Some("emergency"), 0)]
    {
        for request in [echo("m"), late(5), Modern::call("healthProbe", json!({}))] {
            let request = request.id("mine").accept(SSE);
            let request = level.map_or(request.clone(), |level| request.meta(LOG_LEVEL, level));
            let mut events: Vec<Value> = request.stream(&server).await.rest().await.iter().map(Event::json).collect();
            assert!(events.pop().unwrap()["result"].is_object());
            assert_eq!(events.len(), lines, "{level:?}: {events:?}");
            for line in events {
                assert_eq!(line["method"], "notifications/message");
                assert_eq!(
                    (&line["params"]["level"], &line["params"]["data"]["requestId"]),
                    (&json!("info"), &json!("mine"))
                );
            }
        }
    }
    let told = echo("m").meta(LOG_LEVEL, "info").ask(&server).await;
    assert_eq!(told.header("content-type"), Some(SSE), "there is something to stream");
    let alone = echo("m").meta(LOG_LEVEL, "info").accept(JSON).ask(&server).await;
    assert_eq!(alone.json()["id"], 1, "a client that accepts only JSON gets the answer alone");
}

#[tokio::test]
async fn log_lines_never_come_on_any_other_stream() {
    let server = TestServer::start().await;
    let session = server.session("2025-11-25").await;
    let mut queue = session.stream().await;
    let mut listening = listen().stream(&server).await;
    assert_eq!(listening.message().await.unwrap().json()["method"], "notifications/subscriptions/acknowledged");
    let call = |id: &str| {
        let arguments = json!({"message": id, "delayMs": 50, "sessionId": session.id});
        Modern::call("echo", arguments).id(id).meta(LOG_LEVEL, "debug").accept(SSE)
    };
    let (a, b) = (call("a").stream(&server).await, call("b").stream(&server).await);
    for (stream, own) in [(a, "a"), (b, "b")] {
        let events: Vec<Value> = stream.rest().await.iter().map(Event::json).collect();
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!((&events[0]["params"]["data"]["requestId"], &events[1]["id"]), (&json!(own), &json!(own)));
    }
    // A call of the handshake era is the first that the session's own stream tells of.
    session.call("healthProbe", json!({})).await;
    assert_eq!(queue.message().await.unwrap().json()["params"]["logger"], "tools.healthProbe");
    server.shutdown.cancel();
    let rest = listening.rest().await;
    assert_eq!(rest.len(), 1, "the closing answer and nothing else: {rest:?}");
}

/// A permit for each call of `endless` that began, and one for each that was dropped.
static BEGAN: Semaphore = Semaphore::const_new(0);
static DROPPED: Semaphore = Semaphore::const_new(0);

struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        DROPPED.add_permits(1);
    }
}

fn endless<'a>(call: &'a Ongoing<'a>) -> BoxFuture<'a, Result<Outcome, ToolError>> {
    async move {
        let _dropped = Dropped;
        call.context.progress(0, 1, "at work");
        BEGAN.add_permits(1);
        std::future::pending().await
    }
    .boxed()
}

fn needy(given: &RawArguments<'_>) -> Result<Call, ToolError> {
    Call::of(given, |_, _, _: &NoArguments| Err(ToolError::CapabilityRequired(json!({"sampling": {}}))))
}

const fn tool(name: &'static str, call: fn(&RawArguments<'_>) -> Result<Call, ToolError>) -> Tool {
    Tool {
        name,
        title: "For tests",
        description: "For tests.",
        input_schema: || json!({"type": "object", "properties": {}, "additionalProperties": false}),
        output_schema: || json!({"type": "object"}),
        annotations: Annotations::READ_ONLY,
        handle: Handle::None,
        findings: &[],
        call,
    }
}

const OTHER_TOOLS: &[Tool] = &[tool("endless", |given| Call::streaming(given, endless)), tool("needy", needy)];

#[tokio::test]
async fn a_client_that_goes_away_has_cancelled() {
    let server = TestServer::with_tools(OTHER_TOOLS, |_| {}).await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for http in [&server.http, &http2] {
        for (accept, token) in [(SSE, None), (SSE, Some("p")), (JSON, None)] {
            let call = Modern::call("endless", json!({})).accept(accept);
            let call = token.map_or(call.clone(), |token| call.meta("progressToken", token));
            let request = http.post(server.url("/mcp")).headers(call.all_headers()).json(&call.body);
            // A JSON answer never begins; a stream has begun by then.
            let client = tokio::spawn(async move {
                let mut events = Events::of(request.send().await.unwrap());
                while events.next().await.is_some() {}
            });
            within(BEGAN.acquire()).await.unwrap().forget();
            client.abort();
            within(DROPPED.acquire()).await.unwrap().forget();
        }
    }
    assert_eq!(DROPPED.available_permits(), 0);
}

#[tokio::test]
async fn a_late_echo_whose_client_went_away_is_never_counted() {
    let server = TestServer::with(|config| config.shutdown_grace = std::time::Duration::from_secs(3600)).await;
    let handle = echo("first").facts(&server).await["sessionId"].take();
    let arguments = json!({"message": "late", "delayMs": 60_000, "sessionId": handle});
    let mut stream = Modern::call("echo", arguments).meta("progressToken", 1).stream(&server).await;
    assert_eq!(stream.message().await.unwrap().json()["params"]["progress"], 0, "it is at work");
    assert_eq!(read(&server.sessions).stats().in_flight, 1);
    drop(stream);
    // Shutdown waits for calls at work, here for an hour: that it ends at once says that there is none.
    server.shutdown.cancel();
    let sessions = server.sessions.clone();
    within(server.running).await.unwrap().unwrap();
    assert_eq!(read(&sessions).stats().in_flight, 0);
    let id = handle.as_str().unwrap().parse().unwrap();
    let guard = enter(&sessions, id, None, |_| ()).unwrap_or_else(|missing| panic!("{missing:?}"));
    let record = guard.session().record();
    assert_eq!((record.state.echo_count, record.state.last_echo.as_deref()), (1, Some("first")));
}

#[tokio::test]
async fn calls_in_flight_are_answered_at_shutdown() {
    let server = TestServer::start().await;
    let mut stream = late(300).meta("progressToken", 1).stream(&server).await;
    stream.message().await.unwrap();
    server.shutdown.cancel();
    let answer = stream.rest().await.pop().unwrap().json();
    assert_eq!(answer["result"]["structuredContent"]["echoCount"], 1, "{answer}");
    within(server.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_capability_that_the_client_lacks_is_an_error_of_its_own() {
    let server = TestServer::with_tools(OTHER_TOOLS, |_| {}).await;
    for accept in ["application/json, text/event-stream", SSE] {
        let answer = Modern::call("needy", json!({})).meta(LOG_LEVEL, "debug").accept(accept).ask(&server).await;
        let error = answer.error(400, -32021, &json!(1));
        assert_eq!(error["data"]["requiredCapabilities"], json!({"sampling": {}}));
    }
}

#[tokio::test]
async fn the_trace_context_of_meta_is_shown() {
    let server = TestServer::start().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let other = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = Modern::call("requestTiming", json!({})).meta("traceparent", parent);
    let call = call.meta("tracestate", "vendor=1").meta("baggage", "user=1");
    let facts = call.facts(&server).await;
    assert_eq!(facts["trace"]["meta"], json!({"traceparent": parent, "tracestate": "vendor=1", "baggage": "user=1"}));
    assert!(facts["trace"].get("note").is_none(), "{facts}");
    let result = call.header("traceparent", other).result(&server).await;
    let text = result["content"][0]["text"].as_str().unwrap();
    for shown in [parent, other, "vendor=1", "user=1", "different traces"] {
        assert!(text.contains(shown), "{shown} is missing in {text}");
    }
}
