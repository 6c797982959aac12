//! A client gets what its protocol revision defines: no field more and no rule less.

use mcp_echo_stateful::config::{Command, Config, ConfigError};
use mcp_echo_stateful::protocol::SERVER_VERSION;
use mcp_echo_stateful::protocol::Served;
use mcp_echo_stateful::session::read;
use serde_json::{Value, json};

use crate::exchange::{Answer, accepting, assert_says};
use crate::server::{Events, TestServer, initialize, tool_call};

/// The revisions with a handshake, oldest first.
const HANDSHAKE: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

fn request(id: impl Into<Value>, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

/// What differs between revisions, by name, as their changelogs tell it.
struct Has {
    batch: bool,
    annotations: bool,
    titles: bool,
    structured_content: bool,
    bad_arguments_are_results: bool,
}

fn has(version: &str) -> Has {
    Has {
        batch: version < "2025-06-18",
        annotations: version >= "2025-03-26",
        titles: version >= "2025-06-18",
        structured_content: version >= "2025-06-18",
        bad_arguments_are_results: version >= "2025-11-25",
    }
}

/// Settings as the environment would make them.
fn configured(variables: &[(&str, &str)]) -> Result<Served, ConfigError> {
    match Config::load(["server"], variables.iter().copied())? {
        Command::Serve(config) => Ok(config.protocol),
        other => panic!("{other:?}"),
    }
}

async fn negotiated(server: &TestServer, asked: &str) -> String {
    let result = Answer::to(server.post(&initialize(asked))).await.result();
    result["protocolVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_version_asked_for_is_the_version_answered() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        assert_eq!(negotiated(&server, version).await, version);
    }
}

#[tokio::test]
async fn any_other_version_is_answered_with_the_newest_one_and_never_with_an_error() {
    let server = TestServer::start().await;
    for asked in ["2026-07-28", "2099-01-01", "2024-10-07", "1.0", "", "latest", "2025-11-25 ", "💥"] {
        assert_eq!(negotiated(&server, asked).await, "2025-11-25", "{asked:?}");
    }
}

#[tokio::test]
async fn the_preferred_version_answers_what_is_not_served() {
    let served = configured(&[
        ("MCP_PROTOCOL_VERSION", "2024-11-05"),
        ("MCP_PROTOCOL_VERSIONS_SUPPORTED", "2025-06-18, 2024-11-05"),
    ]);
    let server = TestServer::with(|config| config.protocol = served.unwrap()).await;
    for asked in ["2025-11-25", "2025-03-26", "2026-07-28", "nonsense"] {
        assert_eq!(negotiated(&server, asked).await, "2024-11-05", "{asked}");
    }
    assert_eq!(negotiated(&server, "2025-06-18").await, "2025-06-18");

    let preferred = configured(&[("MCP_PROTOCOL_VERSION", "2025-06-18")]).unwrap();
    let server = TestServer::with(|config| config.protocol = preferred).await;
    assert_eq!(negotiated(&server, "nonsense").await, "2025-06-18");
    assert_eq!(negotiated(&server, "2025-11-25").await, "2025-11-25", "the others are still served");

    let narrowed = configured(&[("MCP_PROTOCOL_VERSIONS_SUPPORTED", "2025-03-26,2025-06-18")]).unwrap();
    let server = TestServer::with(|config| config.protocol = narrowed).await;
    assert_eq!(negotiated(&server, "2025-11-25").await, "2025-06-18", "unset, the newest one that is served");
}

#[test]
fn versions_that_nobody_knows_stop_the_start() {
    for variables in [
        &[("MCP_PROTOCOL_VERSIONS_SUPPORTED", "2025-06-18,2025-06-19")][..],
        &[("MCP_PROTOCOL_VERSION", "2020-01-01")],
        &[("MCP_PROTOCOL_VERSION", "2025-11-25"), ("MCP_PROTOCOL_VERSIONS_SUPPORTED", "2025-06-18")],
    ] {
        let error = configured(variables).unwrap_err();
        assert!(error.mistakes[0].contains("MCP_PROTOCOL_VERSION"), "{error}");
    }
}

#[tokio::test]
async fn initialize_answers_with_what_the_revision_defines() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let result = Answer::to(server.post(&initialize(version))).await.result();
        satisfies(&initialize_rules(version), &result);
        assert_eq!(result["serverInfo"]["name"], "mcp-echo-streamablehttp-server-stateful");
        assert_eq!(result["serverInfo"]["version"], SERVER_VERSION);
        let title = result["serverInfo"].get("title").and_then(Value::as_str);
        assert_eq!(title, has(version).titles.then_some("MCP Echo (stateful)"));
        assert_eq!(result["capabilities"], json!({"logging": {}, "tools": {}}), "what works, and no more");
        let shown = serde_json::to_string_pretty(&result).unwrap().replace(SERVER_VERSION, "[version]");
        insta::assert_snapshot!(format!("initialize_{version}"), shown);
    }
}

#[tokio::test]
async fn tools_are_listed_with_what_the_revision_defines() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let session = server.session(version).await;
        let result = session.ask(&request(1, "tools/list", &json!({}))).await["result"].take();
        satisfies(&tools_rules(version), &result);
        let Has { annotations, titles, .. } = has(version);
        for tool in result["tools"].as_array().unwrap() {
            for (field, expected) in
                [("annotations", annotations), ("title", titles), ("outputSchema", titles), ("description", true)]
            {
                assert_eq!(tool.get(field).is_some(), expected, "{version}: {field} of {tool}");
            }
        }
        let shown = serde_json::to_string_pretty(&result).unwrap().replace(SERVER_VERSION, "[version]");
        insta::assert_snapshot!(format!("tools_{version}"), shown);
    }
}

/// Fails unless `value` satisfies `schema`.
pub fn satisfies(schema: &Value, value: &Value) {
    assert!(jsonschema::draft202012::meta::is_valid(schema), "{schema}");
    let validator = jsonschema::draft202012::new(schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}\n{value}");
}

/// An object that has these members and no others.
pub fn object(required: &[&str], members: &Value) -> Value {
    json!({"type": "object", "required": required, "properties": members, "additionalProperties": false})
}

/// `InitializeResult` as a server with tools and logging may send it.
fn initialize_rules(version: &str) -> Value {
    let text = json!({"type": "string", "minLength": 1});
    let mut implementation = object(&["name", "version"], &json!({"name": text, "version": text}));
    if has(version).titles {
        implementation["properties"]["title"] = text.clone();
    }
    let capabilities = object(
        &[],
        &json!({"logging": object(&[], &json!({})), "tools": object(&[], &json!({"listChanged": {"type": "boolean"}}))}),
    );
    object(
        &["protocolVersion", "capabilities", "serverInfo"],
        &json!({
            "protocolVersion": {"const": version},
            "capabilities": capabilities,
            "serverInfo": implementation,
            "instructions": text,
        }),
    )
}

/// `ListToolsResult`.
fn tools_rules(version: &str) -> Value {
    let text = json!({"type": "string", "minLength": 1});
    let schema = json!({
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"const": "object"},
            "properties": {"type": "object", "additionalProperties": {"type": "object"}},
            "required": {"type": "array", "items": {"type": "string"}},
        },
    });
    let flag = json!({"type": "boolean"});
    let annotations = object(
        &[],
        &json!({"title": text, "readOnlyHint": flag, "destructiveHint": flag, "idempotentHint": flag, "openWorldHint": flag}),
    );
    let mut tool = object(&["name", "inputSchema"], &json!({"name": text, "description": text, "inputSchema": schema}));
    let Has { annotations: annotated, titles, .. } = has(version);
    if annotated {
        tool["properties"]["annotations"] = annotations;
    }
    if titles {
        tool["properties"]["title"] = text.clone();
        tool["properties"]["outputSchema"] = schema;
    }
    if version == "2025-11-25" {
        // Names: 1 to 128 characters of these (server/tools, Tool Names); icons are optional.
        tool["properties"]["name"] = json!({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"});
        tool["properties"]["icons"] = json!({"type": "array"});
    }
    object(&["tools"], &json!({"tools": {"type": "array", "items": tool}}))
}

#[tokio::test]
async fn a_tools_result_has_structured_content_where_the_revision_has_it() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let session = server.session(version).await;
        let result = session.call("echo", json!({"message": "m"})).await;
        let mut members = json!({
            "content": {
                "type": "array",
                "minItems": 1,
                "items": object(&["type", "text"], &json!({"type": {"const": "text"}, "text": {"type": "string"}})),
            },
            "isError": {"const": false},
        });
        let mut required = vec!["content"];
        if has(version).structured_content {
            members["structuredContent"] = json!({"type": "object"});
            required.push("structuredContent");
        }
        satisfies(&object(&required, &members), &result);
    }
}

#[tokio::test]
async fn bad_arguments_are_an_error_or_a_result_as_the_revision_says() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let session = server.session(version).await;
        let call = tool_call("echo", &json!({"uppercase": "yes", "volume": 11}));
        let answer = Answer::to(session.post(&call)).await;
        let text = if has(version).bad_arguments_are_results {
            let result = answer.result();
            assert_eq!(result["isError"], true);
            assert!(result.get("structuredContent").is_none());
            result["content"][0]["text"].clone()
        } else {
            let error = answer.error(200, -32602, &json!(1));
            assert_eq!(error["data"]["problems"].as_array().unwrap().len(), 3);
            error["message"].clone()
        };
        for problem in ["`message` is required", "`uppercase` must be a boolean", "`volume` is unknown"] {
            assert!(text.as_str().unwrap().contains(problem), "{version}: {text}");
        }
    }
}

#[tokio::test]
async fn an_unknown_tool_or_method_is_an_error_in_every_revision() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let session = server.session(version).await;
        let answer = Answer::to(session.post(&tool_call("nope", &json!({})))).await;
        assert_says(&answer.error(200, -32602, &json!(1)), &["Unknown tool", "nope"]);
        let answer = Answer::to(session.post(&tool_call("replay_last_echo", &json!({})))).await;
        assert_says(&answer.error(200, -32602, &json!(1)), &["; did you mean replayLastEcho?"]);
        let answer = Answer::to(session.post(&request("m", "no/such", &json!({})))).await;
        assert_says(&answer.error(200, -32601, &json!("m")), &["no/such"]);
        let answer = Answer::to(session.post(&request(1, "Tools/List", &json!({})))).await;
        answer.error(200, -32601, &json!(1));
    }
}

#[tokio::test]
async fn ping_and_set_level_are_answered_in_every_revision() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let session = server.session(version).await;
        assert_eq!(session.ask(&request(0, "ping", &json!({}))).await["result"], json!({}));
        let with_meta = request(0, "ping", &json!({"_meta": {"progressToken": 1}}));
        assert_eq!(session.ask(&with_meta).await["result"], json!({}));
        assert_eq!(session.ask(&json!({"jsonrpc": "2.0", "id": 0, "method": "ping"})).await["result"], json!({}));
        for level in ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"] {
            let answer = session.ask(&request(2, "logging/setLevel", &json!({"level": level}))).await;
            assert_eq!(answer["result"], json!({}), "{level}");
        }
    }
}

#[tokio::test]
async fn all_tools_are_on_one_page() {
    let server = TestServer::start().await;
    let session = server.session("2025-06-18").await;
    for params in [json!({}), json!({"cursor": null}), json!({"_meta": {"progressToken": 7}})] {
        let result = session.ask(&request(1, "tools/list", &params)).await["result"].take();
        assert!(result["tools"].as_array().unwrap().len() > 9);
        assert!(result.get("nextCursor").is_none());
    }
    let answer = Answer::to(session.post(&request(1, "tools/list", &json!({"cursor": "2"})))).await;
    answer.error(200, -32602, &json!(1));
}

/// A batch with something of everything.
fn mixed_batch() -> Value {
    json!([
        request(1, "ping", &json!({})),
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}},
        request("two", "tools/call", &json!({"name": "echo", "arguments": {"message": "batched"}})),
        {"jsonrpc": "2.0", "id": 3, "result": {}},
        request(4, "no/such", &json!({})),
        request(5, "tools/call", &json!({"name": "nope"})),
        {"jsonrpc": "1.0", "id": 6, "method": "ping"},
        7,
    ])
}

/// Each message of an answer, by its id.
fn by_id(answers: &[Value], id: &Value) -> Value {
    let found: Vec<_> = answers.iter().filter(|answer| answer["id"] == *id).collect();
    assert_eq!(found.len(), 1, "{id}: {answers:?}");
    found[0].clone()
}

fn assert_answers_mixed_batch(answers: &[Value]) {
    assert_eq!(answers.len(), 6, "{answers:?}");
    assert_eq!(by_id(answers, &json!(1))["result"], json!({}));
    let echo = by_id(answers, &json!("two"));
    assert!(echo["result"]["content"][0]["text"].as_str().unwrap().starts_with("batched"), "{echo}");
    assert_eq!(by_id(answers, &json!(4))["error"]["code"], -32601);
    assert_eq!(by_id(answers, &json!(5))["error"]["code"], -32602);
    assert_eq!(by_id(answers, &json!(6))["error"]["code"], -32600);
    assert_eq!(by_id(answers, &Value::Null)["error"]["code"], -32600);
}

#[tokio::test]
async fn a_batch_is_answered_where_the_revision_has_batches() {
    let server = TestServer::start().await;
    for version in ["2024-11-05", "2025-03-26"] {
        let session = server.session(version).await;
        let answer = Answer::to(session.post(&mixed_batch())).await;
        assert_eq!((answer.status, answer.header("mcp-session-id")), (200, Some(&*session.id)));
        assert_answers_mixed_batch(answer.json().as_array().unwrap());
    }
}

#[tokio::test]
async fn a_batch_can_be_answered_as_a_stream_with_one_message_an_event() {
    let server = TestServer::start().await;
    let session = server.session("2025-03-26").await;
    let response = accepting(session.post(&mixed_batch()), "text/event-stream").send().await.unwrap();
    let events = Events::of(response).rest().await;
    assert!(events.iter().all(|event| event.name.as_deref() == Some("message")), "{events:?}");
    let answers: Vec<Value> = events.iter().map(crate::server::Event::json).collect();
    assert_answers_mixed_batch(&answers);
}

#[tokio::test]
async fn a_batch_of_notifications_alone_is_accepted() {
    let server = TestServer::start().await;
    let session = server.session("2025-03-26").await;
    let quiet = json!([
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/whatever", "params": {"x": 1}},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ]);
    let answer = Answer::to(session.post(&quiet)).await;
    assert_eq!((answer.status, &*answer.text), (202, ""));
}

#[tokio::test]
async fn initialize_cannot_be_in_a_batch() {
    let server = TestServer::start().await;
    let batch = json!([initialize("2025-03-26"), request(1, "ping", &json!({}))]);
    let answer = Answer::to(server.post(&batch)).await;
    assert!(answer.header("mcp-session-id").is_none());
    let answers = answer.json();
    let error = by_id(answers.as_array().unwrap(), &json!(0))["error"].clone();
    assert_eq!(error["code"], -32600, "{error}");
    assert_says(&error, &["initialize", "batch"]);
    assert_eq!(read(&server.sessions).stats().created, 0);
}

#[tokio::test]
async fn a_batch_is_refused_where_the_revision_has_none_and_nothing_of_it_is_done() {
    let server = TestServer::start().await;
    for version in ["2025-06-18", "2025-11-25"] {
        assert!(!has(version).batch);
        let session = server.session(version).await;
        let batches = [
            mixed_batch(),
            json!([request(1, "ping", &json!({}))]),
            json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]),
        ];
        for batch in batches {
            let error = Answer::to(session.post(&batch)).await.error(400, -32600, &Value::Null);
            assert_says(&error, &["batch", version]);
        }
        assert_eq!(session.call("sessionInfo", json!({})).await["structuredContent"]["session"]["echoCount"], 0);
    }
}

#[tokio::test]
async fn without_a_session_the_version_is_that_of_the_header() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let list = server.post(&request(1, "tools/list", &json!({}))).header("mcp-protocol-version", version);
        satisfies(&tools_rules(version), &Answer::to(list).await.result());
        let call = server.post(&tool_call("echo", &json!({"message": "m"}))).header("mcp-protocol-version", version);
        let result = Answer::to(call).await.result();
        assert_eq!(result.get("structuredContent").is_some(), has(version).structured_content);
        let batch = server.post(&json!([request(1, "ping", &json!({}))])).header("mcp-protocol-version", version);
        assert_eq!(Answer::to(batch).await.status, if has(version).batch { 200 } else { 400 }, "{version}");
    }
}

#[tokio::test]
async fn without_a_session_and_a_header_the_version_is_the_one_that_the_specification_says() {
    let server = TestServer::start().await;
    let result = Answer::to(server.post(&request(1, "tools/list", &json!({})))).await.result();
    satisfies(&tools_rules("2025-03-26"), &result);
    assert!(result["tools"][0].get("annotations").is_some());
    let batch = Answer::to(server.post(&json!([request(1, "ping", &json!({}))]))).await;
    assert_eq!(batch.json(), json!([{"jsonrpc": "2.0", "id": 1, "result": {}}]));
    let bad = Answer::to(server.post(&tool_call("echo", &json!({})))).await;
    bad.error(200, -32602, &json!(1));
}

#[tokio::test]
async fn without_a_session_echo_returns_the_message_and_nothing_else() {
    let server = TestServer::start().await;
    let call = tool_call("echo", &json!({"message": "probe", "uppercase": true}));
    for version in HANDSHAKE {
        let answer = Answer::to(server.post(&call).header("mcp-protocol-version", version)).await;
        assert!(answer.header("mcp-session-id").is_none());
        let result = answer.result();
        assert_eq!(result["content"], json!([{"type": "text", "text": "PROBE"}]));
        if has(version).structured_content {
            assert_eq!(result["structuredContent"], json!({"message": "PROBE"}));
        }
    }
    assert_eq!(read(&server.sessions).stats().created, 0);
}

#[tokio::test]
async fn without_a_session_there_is_nothing_to_replay() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let request = server.post(&tool_call("replayLastEcho", &json!({}))).header("mcp-protocol-version", version);
        let error = Answer::to(request).await.error(200, -32602, &json!(1));
        assert!(error["message"].as_str().unwrap().starts_with("Session required for replay functionality"), "{error}");
    }
}

#[tokio::test]
async fn in_a_session_the_version_is_the_negotiated_one_with_or_without_the_header() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let session = server.session(version).await;
        let list = request(1, "tools/list", &json!({}));
        let without = Answer::to(session.post(&list)).await.result();
        let with = Answer::to(session.post(&list).header("mcp-protocol-version", version)).await.result();
        assert_eq!(without, with);
        satisfies(&tools_rules(version), &with);
    }
}

#[tokio::test]
async fn notifications_and_responses_are_accepted_with_an_empty_body() {
    let server = TestServer::start().await;
    for version in HANDSHAKE {
        let session = server.session(version).await;
        for message in [
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}),
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "gone"}}),
            json!({"jsonrpc": "2.0", "method": "no/such/notification"}),
            json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "no"}}),
            json!({"jsonrpc": "2.0", "id": null, "error": {"code": -1, "message": "no"}}),
        ] {
            let answer = Answer::to(session.post(&message)).await;
            assert_eq!((answer.status, &*answer.text), (202, ""), "{message}");
            assert!(answer.header("content-type").is_none());
        }
    }
}
