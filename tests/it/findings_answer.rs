//! What an answer says of its findings: the verdict first, each once, and the same in every tool.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::server::{TestServer, tool_call};

/// A request's headers.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// The result of a call with these headers.
async fn call(server: &TestServer, tool: &str, headers: Headers<'_>) -> Value {
    let session = server.session_with("2025-11-25", |request| request).await;
    let mut request = session.post(&tool_call(tool, &json!({})));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["result"].clone()
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

/// Severity and summary by id.
fn findings(result: &Value) -> BTreeMap<String, (String, String)> {
    let findings = result["structuredContent"]["findings"].as_array().unwrap();
    let own = |value: &Value| value.as_str().unwrap().to_owned();
    findings.iter().map(|one| (own(&one["id"]), (own(&one["severity"]), own(&one["summary"])))).collect()
}

const EXPIRED: &str = "Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsifQ.\
eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJzdWIiOiIxMDAxIiwiYXVkIjoiaHR0cHM6Ly9vdGhlci5leGFtcGxlL21jcCIsImlhdCI6MSwiZXhwIjoyfQ.";

#[tokio::test]
async fn two_credentials_in_one_header_get_one_verdict_in_every_tool_that_shows_them() {
    let server = TestServer::start().await;
    let headers = [("authorization", "Bearer opaque-token-number-one, Bearer opaque-token-number-two")];
    let mut verdicts = Vec::new();
    for tool in ["printHeader", "bearerDecode", "authContext"] {
        let result = call(&server, tool, &headers).await;
        verdicts.push(result["structuredContent"]["verdict"].clone());
        let told = findings(&result).remove("hdr.duplicate_authorization").unwrap();
        assert_eq!(told.0, "error", "{tool}");
        assert!(!text(&result).contains("no duplicates"), "{}", text(&result));
    }
    assert_eq!(verdicts[0], verdicts[1]);
    assert_eq!(verdicts[1], verdicts[2]);
    assert!(verdicts[0].as_str().unwrap().contains("two credentials, joined by a comma"), "{}", verdicts[0]);
}

#[tokio::test]
async fn a_header_without_a_token_gets_one_verdict_in_every_tool_that_shows_it() {
    let server = TestServer::start().await;
    for (value, id) in [
        ("Bearer ", "tok.empty"),
        ("Bearer", "tok.empty"),
        ("Bearer $TOKEN", "tok.placeholder"),
        ("Bearer ${input:token}", "tok.placeholder"),
        ("Bearer undefined", "tok.placeholder"),
    ] {
        let mut told = Vec::new();
        for tool in ["printHeader", "bearerDecode", "authContext"] {
            let result = call(&server, tool, &[("authorization", value)]).await;
            let finding =
                findings(&result).remove(id).unwrap_or_else(|| panic!("{tool} of {value:?}: {}", text(&result)));
            told.push((finding, result["structuredContent"]["verdict"].clone()));
        }
        assert!(told.iter().all(|one| *one == told[0]), "{value:?}: {told:?}");
    }
}

#[tokio::test]
async fn the_verdict_stands_first_and_nothing_is_said_twice() {
    let server = TestServer::start().await;
    let headers = [
        ("authorization", EXPIRED),
        ("x-user-id", "mallory"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "mcp.example.com"),
    ];
    for (tool, last_line) in [
        ("printHeader", "  Custom headers: 0"),
        ("bearerDecode", "- Status: EXPIRED"),
        ("authContext", "- Request ID: "),
        ("requestTiming", "- Average Response Time: "),
        ("corsAnalysis", "- Preflight: not needed"),
        ("sessionInfo", "- Client: "),
    ] {
        let result = call(&server, tool, &headers).await;
        let (original, rest) = text(&result).split_once("\n\n🩺 ").unwrap();
        assert!(original.lines().last().unwrap().starts_with(last_line), "{tool}: {original}");
        let verdict = result["structuredContent"]["verdict"].as_str().unwrap();
        assert_eq!(rest.lines().next(), Some(verdict), "{tool}");
        for (id, (severity, summary)) in findings(&result) {
            assert_eq!(text(&result).matches(&format!("({id})")).count(), 1, "{tool}: {id}\n{}", text(&result));
            assert_eq!(text(&result).matches(&*summary).count(), 1, "{tool}: {summary}\n{}", text(&result));
            assert!(severity != "error" || verdict.starts_with("❌"), "{tool}: {verdict}");
        }
    }
}

#[tokio::test]
async fn where_nothing_is_wrong_the_verdict_says_what_was_not_checked() {
    let server = TestServer::start().await;
    let result = call(&server, "bearerDecode", &[]).await;
    assert!(text(&result).contains("\n\n🩺 The request has no Authorization header"), "{}", text(&result));
    let opaque =
        call(&server, "bearerDecode", &[("authorization", "Bearer gho_16C7e42F292c6912E7710c838347Ae178B4a")]).await;
    let verdict = opaque["structuredContent"]["verdict"].as_str().unwrap();
    assert!(verdict.contains("nothing of it was checked"), "{verdict}");
}
