//! `subscriptions/listen`: the long-lived stream of the stateless era.

use std::time::Duration;

use mcp_echo_stateful::config::ResponseMode;
use serde_json::{Value, json};

use crate::exchange::{Answer, assert_says};
use crate::modern::{Modern, SERVER_INFO, SUBSCRIPTION_ID};
use crate::server::{Event, Events, TestServer, within};

fn listen(notifications: Value) -> Modern {
    let mut params = json!({});
    params["notifications"] = notifications;
    Modern::new("subscriptions/listen", params)
}

#[tokio::test]
async fn the_first_message_says_what_will_be_heard_and_the_last_that_it_is_over() {
    let server = TestServer::start().await;
    let wishes = [
        json!({}),
        json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": false}),
        json!({"resourceSubscriptions": ["file:///a", "file:///b"], "comExampleUnheardOf": {"x": 1}}),
    ];
    let ids = [json!(1), json!("listen-1"), json!(0), json!("")];
    let mut open = Vec::new();
    for wish in wishes {
        for id in &ids {
            let mut events = listen(wish.clone()).id(id.clone()).stream(&server).await;
            let first = events.next().await.unwrap();
            assert_eq!((first.name.as_deref(), &first.id, &first.retry), (Some("message"), &None, &None));
            let acknowledged = json!({
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                // Nothing here ever changes: none of the wishes can be honoured.
                "params": {"_meta": {SUBSCRIPTION_ID: id}, "notifications": {}},
            });
            assert_eq!(first.json(), acknowledged);
            open.push((id.clone(), events));
        }
    }
    server.shutdown.cancel();
    for (id, events) in open {
        let rest = events.rest().await;
        assert_eq!(rest.len(), 1, "{rest:?}");
        let closing = rest[0].json();
        assert_eq!((&closing["id"], &closing["result"]["resultType"]), (&id, &json!("complete")), "{closing}");
        let meta = &closing["result"]["_meta"];
        assert_eq!(meta[SUBSCRIPTION_ID], id);
        assert_eq!(meta[SERVER_INFO]["name"], "mcp-echo-streamablehttp-server-stateful");
        assert_eq!(closing["result"].as_object().unwrap().len(), 2, "{closing}");
    }
    within(server.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_subscription_id_is_the_requests_to_the_letter() {
    let server = TestServer::start().await;
    for id in ["123456789012345678901234567890", "\"\\u0061\\/b\""] {
        let request = listen(json!({}));
        let body = request.body.to_string().replace("\"id\":1", &format!("\"id\":{id}"));
        let response = within(request.to(&server).body(body).send()).await.unwrap();
        let first = Events::of(response).next().await.unwrap();
        let data = first.data.unwrap();
        assert!(data.contains(&format!("\"{SUBSCRIPTION_ID}\":{id}")), "{data}");
    }
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive_by_comments() {
    let server = TestServer::with(|config| config.sse_keepalive_interval = Duration::from_millis(10)).await;
    let mut events = listen(json!({"toolsListChanged": true})).stream(&server).await;
    assert!(events.next().await.unwrap().data.is_some());
    for _ in 0..4 {
        let event = events.next().await.unwrap();
        assert_eq!(Event { comment: event.comment.clone(), ..Event::default() }, event);
        assert!(event.comment.is_some());
    }
}

#[tokio::test]
async fn a_stream_cannot_be_cached_nor_held_back() {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let server = TestServer::with(|config| config.response = mode).await;
        let response = within(listen(json!({})).to(&server).send()).await.unwrap();
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("x-accel-buffering", "no"),
            ("cache-control", "no-cache, no-transform"),
        ] {
            assert_eq!(response.headers()[name], value, "{mode:?}");
        }
        assert!(!response.headers().contains_key("mcp-session-id"));
    }
}

#[tokio::test]
async fn a_client_that_accepts_no_stream_cannot_listen() {
    let server = TestServer::start().await;
    let answer = listen(json!({})).id("l").accept("application/json").ask(&server).await;
    assert_says(&answer.error(406, -32600, &json!("l")), &["text/event-stream"]);
}

#[tokio::test]
async fn what_is_wanted_must_be_said_in_the_right_form() {
    let server = TestServer::start().await;
    let cases = [
        (listen(Value::Null), "notifications"),
        (Modern::new("subscriptions/listen", json!({})), "notifications"),
        (listen(json!(["toolsListChanged"])), "notifications"),
        (listen(json!({"toolsListChanged": "yes"})), "toolsListChanged"),
        (listen(json!({"promptsListChanged": 1})), "promptsListChanged"),
        (listen(json!({"resourcesListChanged": null})), "resourcesListChanged"),
        (listen(json!({"resourceSubscriptions": "file:///a"})), "resourceSubscriptions"),
        (listen(json!({"resourceSubscriptions": [1]})), "resourceSubscriptions"),
    ];
    for (request, word) in cases {
        let answer: Answer = request.id("l").ask(&server).await;
        assert_says(&answer.error(200, -32602, &json!("l")), &[word]);
    }
}

#[tokio::test]
async fn several_streams_end_each_for_itself() {
    let server = TestServer::start().await;
    let mut streams = Vec::new();
    for id in ["a", "b", "c"] {
        let mut events = listen(json!({})).id(id).stream(&server).await;
        assert_eq!(events.message().await.unwrap().json()["params"]["_meta"][SUBSCRIPTION_ID], id);
        streams.push(events);
    }
    drop(streams.remove(1));
    server.shutdown.cancel();
    for (events, id) in streams.into_iter().zip(["a", "c"]) {
        assert_eq!(events.rest().await.pop().unwrap().json()["id"], id);
    }
}
