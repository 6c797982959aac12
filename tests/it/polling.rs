//! Calls that let go of their connection, and clients that come back for the answer (SEP-1699).

use std::sync::Arc;
use std::time::Duration;

use mcp_echo_stateful::session::{MAX_SUSPENDED, enter};
use mcp_echo_stateful::tools::{Annotations, Call, Handle, Outcome, Tool};
use serde_json::{Value, json};

use crate::server::{Event, Events, TestServer, tool_call, within};

/// Lets go, works a little, tells of it, and answers.
static POLLED: [Tool; 1] = [Tool {
    name: "polled",
    title: "Polled",
    description: "Lets go of its connection",
    input_schema: || json!({"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": false}),
    output_schema: || Value::Null,
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[],
    call: |given| {
        Call::streaming(given, |call| {
            Box::pin(async move {
                call.suspend();
                tokio::time::sleep(Duration::from_millis(30)).await;
                call.context.progress(1, 2, "half way");
                Ok(Outcome::new(format!("answer {}", call.arguments["n"]), ()))
            })
        })
    },
}];

async fn server() -> TestServer {
    TestServer::with_tools(&POLLED, |_| {}).await
}

fn call(n: u64) -> Value {
    let mut call = tool_call("polled", &json!({ "n": n }));
    call["params"]["_meta"] = json!({ "progressToken": n });
    call
}

async fn events(response: reqwest::Response) -> Vec<Event> {
    let mut events = Events::of(response);
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        all.push(event);
    }
    all
}

#[tokio::test]
async fn a_call_that_lets_go_is_answered_to_the_client_that_comes_back() {
    let server = server().await;
    let session = server.session("2025-11-25").await;
    let first = events(within(session.post(&call(1)).send()).await.unwrap()).await;
    let priming = first.iter().find(|event| event.id.is_some()).expect("an event id");
    assert_eq!(priming.data.as_deref(), Some(""), "it has no data: {first:?}");
    assert!(priming.retry.is_some() && first.iter().all(|event| event.name.is_none()));
    let rest = session.stream_after(priming.id.as_deref()).await.rest().await;
    let messages: Vec<Value> = rest.iter().map(Event::json).collect();
    assert_eq!(messages[0]["params"]["progressToken"], 1);
    assert_eq!(messages[1]["result"]["content"][0]["text"], "answer 1");
    assert_eq!(messages.len(), 2, "the stream ends with the answer");
}

#[tokio::test]
async fn what_was_fetched_is_gone_and_the_stream_is_then_the_sessions_own() {
    let server = server().await;
    let session = server.session("2025-11-25").await;
    let first = events(within(session.post(&call(1)).send()).await.unwrap()).await;
    let id = first.iter().find_map(|event| event.id.clone()).unwrap();
    session.stream_after(Some(&id)).await.rest().await;
    let line = session.stream_after(Some(&id)).await.message().await.unwrap().json();
    assert_eq!(line["params"]["logger"], "tools.polled");
}

#[tokio::test]
async fn revisions_without_it_keep_the_connection() {
    let server = server().await;
    for version in ["2025-03-26", "2025-06-18"] {
        let session = server.session(version).await;
        let all = events(within(session.post(&call(2)).send()).await.unwrap()).await;
        assert!(all.iter().all(|event| event.id.is_none()), "{all:?}");
        assert_eq!(all.last().unwrap().json()["result"]["content"][0]["text"], "answer 2");
    }
}

#[tokio::test]
async fn a_deleted_session_takes_its_suspended_calls_along() {
    let server = server().await;
    let session = server.session("2025-11-25").await;
    for n in 0..=MAX_SUSPENDED as u64 {
        within(session.post(&call(n)).send()).await.unwrap().bytes().await.unwrap();
    }
    let inside = {
        let id = session.id.parse().unwrap();
        let guard = enter(&server.sessions, id, None, |_| ()).unwrap();
        Arc::downgrade(guard.session())
    };
    session.delete().await;
    // Every call has ended when the server has: what still held the session would hold it for ever.
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
    assert!(inside.upgrade().is_none());
}
