//! What the process uses while it is attacked, and that it gets it back: files and memory, as the system counts them.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use serde_json::Value;

use crate::program::Program;
use crate::raw::Raw;
use crate::server::{initialize, within};

/// Nobody reads the log of these: a full pipe would hold the server up.
const QUIET: [(&str, &str); 1] = [("LOG_LEVEL", "ERROR")];

fn address(program: &Program) -> SocketAddr {
    program.url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap().parse().unwrap()
}

fn open_files(program: &Program) -> usize {
    std::fs::read_dir(program.proc("fd")).unwrap().count()
}

/// The most memory that the process has had at a time, in bytes.
fn peak_memory(program: &Program) -> u64 {
    let status = std::fs::read_to_string(program.proc("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Looks until it is so: of the system's figures nobody tells when they change.
async fn until(is_so: impl Fn() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_files_of_abandoned_streams_come_back() {
    let program = Program::start(&[], &QUIET).await;
    program.health().await;
    let before = open_files(&program);
    let http = Client::builder().no_proxy().build().unwrap();
    let sessions = within(join_all((0..50).map(|_| async {
        let made = http.post(&program.url).header("accept", "application/json").json(&initialize("2025-06-18")).send();
        made.await.unwrap().headers()["mcp-session-id"].clone()
    })))
    .await;
    for _ in 0..5 {
        // Dropped, the client closes its connections as a process that dies does.
        let client = Client::builder().no_proxy().build().unwrap();
        let streams =
            within(join_all(sessions.iter().flat_map(|session| (0..4).map(move |_| session)).map(|session| {
                let request = client.get(&program.url).header("accept", "text/event-stream");
                request.header("mcp-session-id", session).send()
            })))
            .await;
        assert!(streams.iter().all(|stream| stream.as_ref().unwrap().status() == 200));
        assert!(open_files(&program) >= before + 200);
        drop((client, streams));
    }
    drop(http);
    until(|| open_files(&program) <= before + 1).await;
    assert_eq!(program.health().await["status"], "ok");
}

#[tokio::test]
async fn a_server_without_files_left_accepts_again_when_it_has_some() {
    // Half of them for connections, and not enough of the rest for all that may be refused at a time.
    let mut program = Program::with_open_files(48, &[]).await;
    let to = address(&program);
    let mut silent = Vec::new();
    for _ in 0..120 {
        silent.push(within(Raw::to(to)).await);
    }
    program.line("at most 24 connections").await;
    program.line("cannot accept connections").await;
    // While they are all still there: idle ones are closed for the newcomer.
    assert_eq!(program.health().await["status"], "ok");
    drop(silent);
    assert_eq!(program.health().await["status"], "ok");
}

#[tokio::test]
async fn bodies_without_end_do_not_fill_the_memory() {
    const MIB: usize = 1024 * 1024;
    let program = Program::start(&[], &[("MCP_MAX_BODY_BYTES", "65536"), QUIET[0]]).await;
    program.health().await;
    let before = peak_memory(&program);
    let to = address(&program);
    let chunk = format!("{:x}\r\n{}\r\n", MIB, " ".repeat(MIB));
    let attacks = (0..8).map(|_| async {
        let mut raw = Raw::to(to).await;
        raw.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n").await;
        raw.send("Transfer-Encoding: chunked\r\n\r\n").await;
        let answer = {
            // Twelve of the sixteen that are read and thrown away, so that the answer is not lost.
            for _ in 0..12 {
                raw.send(&chunk).await;
            }
            raw.answer().await
        };
        answer.error(413, -32600, &Value::Null);
    });
    within(join_all(attacks)).await;
    let grown = peak_memory(&program) - before;
    assert!(grown < 32 * MIB as u64, "{grown} bytes more, of {} that were sent", 8 * 12 * MIB);
}

#[tokio::test]
async fn calls_that_wait_hold_what_they_use_and_not_the_trees_that_they_came_as() {
    const CALLS: usize = 365;
    let program = Program::start(&[], &QUIET).await;
    program.health().await;
    let before = peak_memory(&program);
    let to = address(&program);
    // 62 KB of JSON that take a megabyte and more as a tree.
    let tree = format!("[{}]", vec!["[0]"; 15_500].join(","));
    let custom = format!("[{}]", vec!["[0]"; 4_000].join(","));
    for (meta, arguments) in [(&*tree, "{}"), ("0", &*custom)] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"x","delayMs":60000,"customData":{{"x":{arguments}}}}},"_meta":{{"x":{meta}}}}}}}"#
        );
        let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, \
                    text/event-stream\r\n";
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            let session = if arguments == "{}" {
                String::new()
            } else {
                format!("Mcp-Session-Id: {}\r\n", program.session().await)
            };
            let mut raw = Raw::to(to).await;
            raw.send(format!("{head}{session}Content-Length: {}\r\n\r\n{body}", body.len())).await;
            calls.push(raw);
        }
        // Each has begun, or been refused, before the next question is answered.
        program.health().await;
        let grown = peak_memory(&program) - before;
        assert!(grown < 192 * 1024 * CALLS as u64, "{grown} bytes, {} a call", grown / CALLS as u64);
    }
}
