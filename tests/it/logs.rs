//! The log holds nobody up and fills no disk, whoever reads it and whatever callers do.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::program::{Program, run};
use crate::server::{initialize, tool_call, within};

async fn health_probe(program: &Program) -> Value {
    let call = program.post(&tool_call("healthProbe", &json!({}))).header("mcp-protocol-version", "2025-06-18");
    let response = within(call.send()).await.unwrap();
    let body: Value = within(response.json()).await.unwrap();
    body["result"]["structuredContent"].clone()
}

fn reasons(health: &Value) -> String {
    health["reasons"].to_string()
}

#[tokio::test]
async fn a_reader_that_stops_holds_up_no_request_no_probe_and_no_signal() {
    // In debug mode each request has several lines: far more than a pipe, and what may wait, can hold.
    let mut program = Program::start(&["--debug"], &[]).await;
    let wide = "w".repeat(6000);
    let mut lost = 0;
    for _ in 0..4000 {
        let ping = program.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).header("x-wide", &wide);
        assert_eq!(within(ping.send()).await.unwrap().status(), StatusCode::OK);
        lost = health_probe(&program).await["process"]["logLinesLost"].as_u64().unwrap();
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0, "all of it was taken by a pipe that nobody reads");
    assert_eq!(program.health().await["status"], "ok");
    let health = health_probe(&program).await;
    assert_eq!(health["status"], "DEGRADED");
    assert!(reasons(&health).contains("stdout is read too slowly"), "{health}");
    program.signal("TERM");
    assert_eq!(program.end_unread().await, Some(0));
}

#[tokio::test]
async fn lines_that_were_lost_are_told_when_the_reader_comes_back() {
    let mut program = Program::start(&["--debug"], &[]).await;
    let wide = "w".repeat(6000);
    while health_probe(&program).await["process"]["logLinesLost"] == 0 {
        let ping = program.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).header("x-wide", &wide);
        within(ping.send()).await.unwrap();
    }
    program.line("log lines were lost").await;
}

#[tokio::test]
async fn a_log_file_that_was_moved_away_is_opened_again_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let [file, old] = ["mcp.log", "mcp.log.1"].map(|name| folder.path().join(name));
    let mut program = Program::start(&[], &[("LOG_FILE", file.to_str().unwrap())]).await;
    program.session().await;
    program.line("answered").await;
    std::fs::rename(&file, &old).unwrap();
    program.signal("HUP");
    program.line("LOG_FILE was opened again").await;
    program.session().await;
    program.signal("TERM");
    assert_eq!(program.end().await, Some(0));
    let [new, old] = [file, old].map(|file| std::fs::read_to_string(file).unwrap());
    assert_eq!([&old, &new].map(|text| text.matches("session created").count()), [1, 1], "{old}{new}");
}

#[tokio::test]
async fn a_log_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mcp.log");
    let _program = Program::start(&[], &[("LOG_FILE", file.to_str().unwrap())]).await;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_told_on_stdout_and_by_the_health_probe() {
    let mut program = Program::start(&[], &[("LOG_FILE", "/dev/full")]).await;
    let line = program.line("LOG_FILE takes no log lines").await;
    assert!(line.contains("ERROR") && line.contains("No space left on device"), "{line}");
    let health = health_probe(&program).await;
    assert_eq!(health["status"], "DEGRADED");
    assert!(reasons(&health).contains("No space left on device"), "{health}");
}

#[tokio::test]
async fn a_pipe_as_log_file_stops_the_start_instead_of_holding_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (code, _, stderr) = run(&["--port", "0"], &[("LOG_FILE", pipe.to_str().unwrap())]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("LOG_FILE: cannot open") && stderr.contains("it is a pipe"), "{stderr}");
}

#[tokio::test]
async fn a_flood_of_warnings_has_a_bound_and_the_rest_is_counted() {
    let mut program = Program::start(&[], &[("MCP_MAX_SESSIONS", "1"), ("LOG_LEVEL", "WARNING")]).await;
    // Each but the first ends the session before it, which is a warning.
    for _ in 0..600 {
        within(program.post(&initialize("2025-06-18")).send()).await.unwrap();
    }
    program.line("more than 100 warnings a second").await;
    program.signal("TERM");
    program.end().await;
    let told: u64 = program.log.iter().filter(|line| line.contains("evicted the longest-idle session")).count() as u64;
    let left_out = |line: &String| -> Option<u64> {
        let (_, number) = line.split_once("left_out=").filter(|_| line.contains("100 warnings a second"))?;
        number.trim().parse().ok()
    };
    let left_out: u64 = program.log.iter().filter_map(left_out).sum();
    assert_eq!(told + left_out, 599, "{:#?}", program.log);
    assert!(left_out > 0);
}

#[tokio::test]
async fn of_a_secret_in_a_request_id_or_a_path_the_log_has_nothing() {
    let mut program = Program::start(&["--debug"], &[]).await;
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let id = "0b7d6c6e-1111-4222-8333-444455556666";
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": format!("x {token}")});
    within(program.post(&ping).header("x-request-id", token).send()).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = program.url.replace("/mcp", &format!("/messages/{id}/{token}?session_id={id}&token={token}"));
    within(http.get(url).send()).await.unwrap();
    program.signal("TERM");
    program.end().await;
    for line in program.log.iter().filter(|line| !line.contains("x-request-id: ")) {
        for part in ["ghp_0", "0b7d6c6e-1", "01234567"] {
            assert!(!line.contains(part), "{part} in {line}");
        }
    }
}
