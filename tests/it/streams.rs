//! GET streams: what they deliver, in which order, to whom, and how a client that lost one goes on.

use std::collections::HashSet;
use std::time::Duration;

use mcp_echo_stateful::config::KeepAliveStyle;
use mcp_echo_stateful::session::{Stats, read, sweep};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::server::{Event, Events, Session, TestServer, in_memory, in_values, tool_call, within};

const VERSION: &str = "2025-06-18";
const PRIMED: &str = "2025-11-25";
const HOUR: Duration = Duration::from_secs(3600);

/// Calls a tool under a JSON-RPC id of the test's: the log line about it carries that id.
async fn call(session: &Session<'_>, id: impl Into<Value>) {
    let mut body = tool_call("healthProbe", &json!({}));
    body["id"] = id.into();
    let answer = session.ask(&body).await;
    assert!(answer["result"].is_object(), "{answer}");
}

async fn set_level(session: &Session<'_>, level: &str) {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}});
    assert_eq!(session.ask(&body).await["result"], json!({}));
}

/// `GET ?wait=`
fn polling(session: &Session<'_>, seconds: &str) -> RequestBuilder {
    let request = session.server.request(Method::GET, &format!("/mcp?wait={seconds}"));
    request.header("accept", "text/event-stream").header("mcp-session-id", &session.id)
}

async fn wait(session: &Session<'_>, seconds: &str) -> Events {
    Events::of(within(polling(session, seconds).send()).await.unwrap())
}

/// Which call a message is about.
fn about(event: &Event) -> Value {
    event.json()["params"]["data"]["requestId"].clone()
}

/// The calls that the next `n` messages are about.
async fn take(stream: &mut Events, n: usize) -> Vec<Value> {
    let mut calls = Vec::new();
    for _ in 0..n {
        calls.push(about(&stream.message().await.expect("the stream goes on")));
    }
    calls
}

/// What a script that asks once gets.
async fn pending(session: &Session<'_>) -> Vec<Value> {
    wait(session, "0").await.rest().await.iter().map(about).collect()
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[tokio::test]
async fn what_is_pending_comes_first_and_then_what_happens() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    for id in 1..=3 {
        call(&session, id).await;
    }
    let mut stream = session.stream().await;
    assert_eq!(take(&mut stream, 3).await, [1, 2, 3]);
    call(&session, 4).await;
    assert_eq!(take(&mut stream, 1).await, [4]);
    assert_eq!(pending(&session).await, [] as [Value; 0], "what was delivered is delivered");
}

#[tokio::test]
async fn a_stream_is_for_reading_as_it_comes() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let response = within(session.request(Method::GET).send()).await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-cache, no-transform");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let first = Events::of(response).next().await.unwrap();
    assert!(first.comment.is_some(), "the first byte leaves at once: {first:?}");
}

#[tokio::test]
async fn streams_work_over_http_2() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let request = http.get(server.url("/mcp")).header("accept", "text/event-stream");
    let response = within(request.header("mcp-session-id", &session.id).send()).await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    let mut stream = Events::of(response);
    call(&session, 1).await;
    assert_eq!(take(&mut stream, 1).await, [1]);
    session.delete().await;
    assert_eq!(stream.rest().await, []);
}

#[tokio::test]
async fn only_the_newest_revision_primes_its_streams() {
    let server = TestServer::start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18"] {
        let session = server.session(version).await;
        call(&session, 1).await;
        let mut stream = session.stream().await;
        let mut events = vec![stream.next().await.unwrap()];
        while events.last().unwrap().data.is_none() {
            events.push(stream.next().await.unwrap());
        }
        let message = events.pop().unwrap();
        assert_eq!((message.name.as_deref(), message.id.is_some(), &message.retry), (Some("message"), true, &None));
        for event in &events {
            assert_eq!((&event.id, &event.retry, event.comment.is_some()), (&None, &None, true), "{version}");
        }
    }

    let session = server.session(PRIMED).await;
    call(&session, 1).await;
    let mut stream = session.stream().await;
    let priming = stream.next().await.unwrap();
    assert_eq!((&priming.name, priming.data.as_deref(), &priming.comment), (&None, Some(""), &None));
    assert!(priming.retry.unwrap().parse::<u32>().unwrap() > 0);
    let message = stream.next().await.unwrap();
    assert_eq!((about(&message), message.retry), (json!(1), None));

    // Nothing is delivered on a stream that is resumed from its beginning but what it had.
    let mut again = session.stream_after(priming.id.as_deref()).await;
    let first = again.next().await.unwrap();
    assert_eq!((&first.id, &first.data, first.retry.is_some()), (&None, &None, true));
    let repeated = again.next().await.unwrap();
    assert_eq!((about(&repeated), repeated.id), (json!(1), message.id));
}

#[tokio::test]
async fn no_two_events_of_a_session_share_an_id() {
    let server = TestServer::with(|config| config.message_queue_size = 3).await;
    for version in [VERSION, PRIMED] {
        let session = server.session(version).await;
        let (mut ids, mut events) = (HashSet::new(), 0);
        let mut count = |stream: Vec<Event>| {
            for event in stream {
                let Some(id) = event.id.clone() else { continue };
                assert!(!id.is_empty() && ids.insert(id), "{event:?} has an id that was given before");
                events += 1;
            }
        };
        for round in 0..3 {
            // More than the queue holds: a warning is among the events.
            for n in 0..5 {
                call(&session, format!("{round}-{n}")).await;
            }
            let mut stream = wait(&session, "0").await;
            let mut all = Vec::new();
            while let Some(event) = stream.next().await {
                all.push(event);
            }
            assert_eq!(all.iter().filter(|event| event.name.is_some()).count(), 4);
            count(all);
        }
        assert!(events >= 12);
    }
}

#[tokio::test]
async fn who_resumes_where_the_connection_broke_loses_nothing_and_hears_nothing_twice() {
    let server = TestServer::start().await;
    for seed in 0..12 {
        let mut random = Random(seed);
        let session = server.session(PRIMED).await;
        let (mut made, mut heard) = (0, Vec::new());
        let mut last_id = None;
        for _ in 0..15 {
            let mut stream = session.stream_after(last_id.as_deref()).await;
            if last_id.is_none() {
                last_id = stream.next().await.unwrap().id;
            }
            for _ in 0..random.below(5) {
                made += 1;
                call(&session, made).await;
            }
            let there = made - u64::try_from(heard.len()).unwrap();
            for _ in 0..random.below(there + 1) {
                let event = stream.message().await.unwrap();
                heard.push(about(&event));
                last_id = event.id;
            }
            // Here the connection breaks; what it was still to bring, the next one brings.
        }
        let mut stream = session.stream_after(last_id.as_deref()).await;
        call(&session, made + 1).await;
        while heard.last() != Some(&json!(made + 1)) {
            heard.push(about(&stream.message().await.unwrap()));
        }
        let expected: Vec<Value> = (1..=made + 1).map(Value::from).collect();
        assert_eq!(heard, expected, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resuming_while_messages_keep_coming_loses_nothing_either() {
    const CALLS: u64 = 300;
    let server = TestServer::with(|config| config.message_queue_size = 1000).await;
    let session = server.session(PRIMED).await;
    let calls = async {
        for id in 1..=CALLS {
            call(&session, id).await;
        }
    };
    let listening = async {
        let (mut random, mut heard, mut last_id) = (Random(7), Vec::new(), None);
        while heard.last() != Some(&json!(CALLS)) {
            let mut stream = session.stream_after(last_id.as_deref()).await;
            if last_id.is_none() {
                last_id = stream.next().await.unwrap().id;
            }
            for _ in 0..=random.below(8) {
                if heard.last() == Some(&json!(CALLS)) {
                    break;
                }
                let event = stream.message().await.unwrap();
                heard.push(about(&event));
                last_id = event.id;
            }
        }
        heard
    };
    let ((), heard) = tokio::join!(calls, listening);
    assert_eq!(heard, (1..=CALLS).map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn resuming_brings_what_the_queue_still_holds() {
    if in_values() {
        return;
    }
    let server = TestServer::with(|config| config.message_queue_size = 3).await;
    let session = server.session(VERSION).await;
    let mut stream = session.stream().await;
    call(&session, 1).await;
    let first = stream.message().await.unwrap();
    for id in 2..=6 {
        call(&session, id).await;
        assert_eq!(take(&mut stream, 1).await, [id]);
    }
    drop(stream);
    let mut stream = session.stream_after(first.id.as_deref()).await;
    let lost = warning(&stream.message().await.unwrap()).unwrap();
    assert!(lost.starts_with("2 messages were lost"), "2 and 3 were pushed out: {lost}");
    assert_eq!(take(&mut stream, 3).await, [4, 5, 6]);
    call(&session, 7).await;
    assert_eq!(take(&mut stream, 1).await, [7]);
}

/// Waits until the server's figures are so.
async fn until(server: &TestServer, are: impl Fn(&Stats) -> bool) {
    within(async {
        while !are(&read(&server.sessions).stats()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The text of a warning of the queue's, if the event is one.
fn warning(event: &Event) -> Option<String> {
    let params = &event.json()["params"];
    (params["logger"] == "queue" && params["level"] == "warning")
        .then(|| params["data"]["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_was_pushed_out_behind_a_client_is_told_when_it_resumes() {
    if in_values() {
        return;
    }
    let server = TestServer::with(|config| config.message_queue_size = 10).await;
    for version in [VERSION, PRIMED] {
        let session = server.session(version).await;
        for n in 0..10 {
            call(&session, n).await;
        }
        // All ten are sent; the client has three when its connection breaks.
        let mut stream = session.stream().await;
        let mut third = None;
        for n in 0..3 {
            let event = stream.message().await.unwrap();
            assert_eq!(about(&event), json!(n));
            third = event.id;
        }
        until(&server, |stats| stats.pending_messages == 0).await;
        drop(stream);
        until(&server, |stats| stats.streams == 0).await;
        for n in 10..17 {
            call(&session, n).await;
        }
        // Once more where the warning itself may have been lost.
        for _ in 0..2 {
            let mut again = session.stream_after(third.as_deref()).await;
            let first = again.message().await.unwrap();
            let warning = warning(&first).unwrap_or_else(|| panic!("{version}: {first:?}"));
            assert!(warning.starts_with("4 messages were lost: sent on this stream"), "{warning}");
            assert_eq!(take(&mut again, 10).await, (7..17).collect::<Vec<_>>());
        }
        assert_eq!(session.delete().await, StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn what_a_stream_took_with_it_is_told_to_who_comes_again_without_an_id() {
    if !in_memory() {
        return;
    }
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    for n in 0..3 {
        call(&session, n).await;
    }
    // It reads nothing, and is gone.
    let stream = session.stream().await;
    until(&server, |stats| stats.pending_messages == 0).await;
    drop(stream);
    until(&server, |stats| stats.streams == 0).await;
    let mut again = session.stream().await;
    let first = again.message().await.unwrap();
    let warning = warning(&first).unwrap_or_else(|| panic!("{first:?}"));
    assert!(warning.contains("sent on a stream that ended at once"), "{warning}");
    let id = first.json()["params"]["data"]["lastEventId"].as_str().unwrap().to_owned();
    drop(again);
    let mut resumed = session.stream_after(Some(&id)).await;
    for n in 0..3 {
        assert_eq!(about(&resumed.not_a_finding().await.unwrap()), json!(n));
    }
}

#[tokio::test]
async fn an_unknown_last_event_id_starts_at_the_oldest_pending() {
    let server = TestServer::start().await;
    let other = server.session(PRIMED).await;
    for _ in 0..3 {
        drop(other.stream().await);
    }
    let foreign = other.stream().await.next().await.unwrap().id.unwrap();
    for unknown in ["nonsense", "9-9", "-", "1-99999999999999999999999", "0-0", "é", foreign.as_str()] {
        let session = server.session(VERSION).await;
        call(&session, 1).await;
        call(&session, 2).await;
        let mut stream = session.stream_after(Some(unknown)).await;
        assert_eq!(take(&mut stream, 2).await, [1, 2], "{unknown}");
    }
}

#[tokio::test]
async fn a_newer_stream_takes_over_and_gives_back() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let mut oldest = session.stream().await;
    call(&session, 1).await;
    assert_eq!(take(&mut oldest, 1).await, [1]);
    let mut older = wait(&session, "300").await;
    let newest = wait(&session, "300").await;
    call(&session, 2).await;
    assert_eq!(newest.rest().await.iter().map(about).collect::<Vec<_>>(), [2]);
    call(&session, 3).await;
    assert_eq!(take(&mut older, 1).await, [3]);
    assert_eq!(older.rest().await, []);
    call(&session, 4).await;
    assert_eq!(take(&mut oldest, 1).await, [4]);
}

#[tokio::test]
async fn a_message_goes_to_one_stream_only() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    call(&session, 0).await;
    let mut streams = vec![session.stream().await];
    assert_eq!(take(&mut streams[0], 1).await, [0]);
    for _ in 0..3 {
        streams.push(session.stream().await);
    }
    for id in 1..=5 {
        call(&session, id).await;
    }
    let mut newest = streams.pop().unwrap();
    assert_eq!(take(&mut newest, 5).await, [1, 2, 3, 4, 5]);
    session.delete().await;
    for stream in streams {
        assert_eq!(stream.rest().await, []);
    }
    assert_eq!(newest.rest().await, []);
}

#[tokio::test]
async fn the_fifth_stream_closes_the_oldest() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(session.stream().await);
    }
    assert_eq!(streams.remove(0).rest().await, []);
    let info = session.call("sessionInfo", json!({})).await;
    assert_eq!(info["structuredContent"]["session"]["openStreams"], 4);
    assert_eq!(streams[3].not_a_finding().await.unwrap().json()["params"]["data"]["tool"], "sessionInfo");
    call(&session, 2).await;
    assert_eq!(take(&mut streams[3], 1).await, [2]);
}

#[tokio::test]
async fn a_client_whose_dead_connections_linger_is_never_locked_out() {
    let server = TestServer::start().await;
    let session = server.session(PRIMED).await;
    let mut lingering = Vec::new();
    let mut last_id = None;
    for id in 1..=12 {
        // Every other time without the id, as clients that keep none do.
        let resumes = last_id.filter(|_| id % 2 == 0);
        let mut stream = session.stream_after(Option::as_deref(&resumes)).await;
        call(&session, id).await;
        let event = stream.message().await.unwrap();
        assert_eq!(about(&event), id);
        last_id = event.id;
        lingering.push(stream);
    }
}

#[tokio::test]
async fn resuming_ends_the_connection_that_had_the_stream() {
    let server = TestServer::start().await;
    let session = server.session(PRIMED).await;
    let mut old = session.stream().await;
    let id = old.next().await.unwrap().id;
    let mut new = session.stream_after(id.as_deref()).await;
    assert_eq!(old.rest().await, []);
    call(&session, 1).await;
    assert_eq!(take(&mut new, 1).await, [1]);
}

#[tokio::test]
async fn a_full_queue_says_first_how_much_it_lost() {
    let server = TestServer::with(|config| config.message_queue_size = 3).await;
    for version in [VERSION, PRIMED] {
        let session = server.session(version).await;
        for id in 1..=5 {
            call(&session, id).await;
        }
        let mut stream = session.stream().await;
        let warning = stream.message().await.unwrap();
        assert!(warning.id.is_some());
        let warning = warning.json();
        assert_eq!(warning["method"], "notifications/message");
        assert_eq!(warning["params"]["level"], "warning");
        assert_eq!((&warning["params"]["data"]["dropped"], &warning["params"]["logger"]), (&json!(2), &json!("queue")));
        assert!(warning["params"]["data"]["message"].as_str().unwrap().contains("2 messages were lost"));
        assert_eq!(take(&mut stream, 3).await, [3, 4, 5]);
        let info = session.call("sessionInfo", json!({})).await;
        assert_eq!(info["structuredContent"]["session"]["queue"]["dropped"], 2);
        assert_eq!(about(&stream.not_a_finding().await.unwrap()), 1, "told once");
    }
}

#[tokio::test]
async fn idle_streams_are_kept_alive_with_an_event() {
    let server = TestServer::with(|config| config.sse_keepalive_interval = Duration::from_millis(50)).await;
    let session = server.session(PRIMED).await;
    let mut stream = session.stream().await;
    let priming = stream.next().await.unwrap();
    for _ in 0..3 {
        let event = stream.next().await.unwrap();
        assert_eq!((event.name.as_deref(), event.id, event.retry), (Some("keep-alive"), None, None));
        assert_eq!(event.data.as_deref(), Some(r#"{"type":"ping"}"#));
    }
    call(&session, 1).await;
    let message = loop {
        let event = stream.next().await.unwrap();
        if event.name.as_deref() == Some("message") {
            break event;
        }
    };
    assert_eq!(about(&message), 1);
    drop(stream);
    let mut waiting = session.stream_after(priming.id.as_deref()).await;
    assert_eq!(about(&waiting.message().await.unwrap()), 1, "keep-alives do not count as delivered");
    let mut waiting = wait(&session, "300").await;
    waiting.next().await.unwrap();
    assert_eq!(waiting.next().await.unwrap().name.as_deref(), Some("keep-alive"));
}

#[tokio::test]
async fn keep_alives_can_be_comments_and_always_are_on_posts() {
    let server = TestServer::with(|config| {
        config.sse_keepalive_interval = Duration::from_millis(50);
        config.sse_keepalive_style = KeepAliveStyle::Comment;
    })
    .await;
    let session = server.session(VERSION).await;
    let mut stream = session.stream().await;
    for _ in 0..3 {
        let event = stream.next().await.unwrap();
        assert_eq!(Event { comment: event.comment.clone(), ..Event::default() }, event);
    }

    let server = TestServer::with(|config| config.sse_keepalive_interval = Duration::from_millis(50)).await;
    let session = server.session(VERSION).await;
    let body = tool_call("echo", &json!({"message": "x", "delayMs": 400}));
    let request = session.server.request(Method::POST, "/mcp").header("accept", "text/event-stream").json(&body);
    let mut answer = Events::of(within(request.header("mcp-session-id", &session.id).send()).await.unwrap());
    let mut comments = 0;
    let event = loop {
        let event = answer.next().await.unwrap();
        if event.comment.is_none() {
            break event;
        }
        comments += 1;
    };
    assert!(comments >= 2);
    assert_eq!((event.name.as_deref(), &event.json()["id"]), (Some("message"), &json!(1)));
    assert_eq!(answer.rest().await, []);
}

#[tokio::test]
async fn nothing_below_the_level_is_delivered_not_even_what_was_pending() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    call(&session, 1).await;
    call(&session, 2).await;
    set_level(&session, "warning").await;
    assert_eq!(pending(&session).await, [] as [Value; 0]);
    call(&session, 3).await;
    set_level(&session, "info").await;
    assert_eq!(pending(&session).await, [] as [Value; 0], "what was not wanted does not come back");
    call(&session, 4).await;
    set_level(&session, "debug").await;
    call(&session, 5).await;
    assert_eq!(pending(&session).await, [4, 5]);

    let other = server.session(VERSION).await;
    call(&other, 1).await;
    set_level(&session, "emergency").await;
    assert_eq!(pending(&other).await, [1], "a level is its session's own");
    let mut stream = session.stream().await;
    call(&session, 6).await;
    set_level(&session, "info").await;
    call(&session, 7).await;
    assert_eq!(take(&mut stream, 1).await, [7]);
}

#[tokio::test]
async fn a_lost_message_that_nobody_wanted_is_not_warned_of() {
    let server = TestServer::with(|config| config.message_queue_size = 2).await;
    let session = server.session(VERSION).await;
    set_level(&session, "error").await;
    for id in 1..=5 {
        call(&session, id).await;
    }
    assert_eq!(wait(&session, "0").await.rest().await, []);
}

#[tokio::test]
async fn a_script_waits_no_longer_than_it_says() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    assert_eq!(wait(&session, "0").await.rest().await, []);
    assert_eq!(wait(&session, "0.05").await.rest().await, []);
    call(&session, 1).await;
    call(&session, 2).await;
    let delivered = wait(&session, "300").await.rest().await;
    assert_eq!(delivered.iter().map(about).collect::<Vec<_>>(), [1, 2], "what is pending ends the wait at once");
    let waiting = wait(&session, "300").await;
    call(&session, 3).await;
    assert_eq!(waiting.rest().await.iter().map(about).collect::<Vec<_>>(), [3]);
    let last_id = delivered[0].id.clone();
    call(&session, 4).await;
    let request = polling(&session, "300").header("last-event-id", last_id.unwrap());
    let resumed = Events::of(within(request.send()).await.unwrap()).rest().await;
    assert_eq!(resumed.iter().map(about).collect::<Vec<_>>(), [2, 4], "3 was another stream's");
}

#[tokio::test]
async fn a_wait_that_is_no_time_is_refused() {
    let server = TestServer::start().await;
    let session = server.session(VERSION).await;
    for bad in ["", "-1", "abc", "NaN", "inf", "1e9", "301", "0x10", "1,5", "5%20s"] {
        let response = within(polling(&session, bad).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{bad:?}");
        let body: Value = within(response.json()).await.unwrap();
        assert!(body["error"]["message"].as_str().unwrap().contains("wait"), "{body}");
    }
    let info = session.call("sessionInfo", json!({})).await;
    assert_eq!(info["structuredContent"]["session"]["openStreams"], 0);
}

#[tokio::test]
async fn every_finished_tool_call_is_told_of_in_one_line() {
    let server = TestServer::start().await;
    for version in [VERSION, PRIMED] {
        let session = server.session(version).await;
        call(&session, "a string").await;
        call(&session, -7).await;
        session.ask(&tool_call("echo", &json!({"message": 5}))).await;
        session.ask(&tool_call("no-such-tool", &json!({}))).await;
        session.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
        session.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
        let lines = wait(&session, "0").await.rest().await;
        let expected =
            [("healthProbe", json!("a string"), false), ("healthProbe", json!(-7), false), ("echo", json!(1), true)];
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, (tool, id, is_error)) in lines.iter().zip(expected) {
            assert_eq!(line.name.as_deref(), Some("message"));
            let mut line = line.json();
            let duration = line["params"]["data"].as_object_mut().unwrap().remove("durationMs").unwrap();
            assert!(duration.as_f64().is_some_and(|ms| (0.0..60_000.0).contains(&ms)), "{duration}");
            let data = json!({"tool": tool, "isError": is_error, "requestId": id});
            let params = json!({"level": "info", "logger": format!("tools.{tool}"), "data": data});
            assert_eq!(line, json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}));
        }
    }
}

#[tokio::test]
async fn answers_to_posts_never_appear_on_a_stream() {
    let server = TestServer::start().await;
    let session = server.session("2025-03-26").await;
    let mut stream = session.stream().await;
    session.call("echo", json!({"message": "x", "delayMs": 20})).await;
    session.ask(&json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})).await;
    session.ask(&json!({"jsonrpc": "2.0", "id": 3, "method": "no/such"})).await;
    session
        .ask(&json!([tool_call("echo", &json!({"message": "y"})), {"jsonrpc": "2.0", "id": 4, "method": "ping"}]))
        .await;
    let progress = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {
        "name": "echo", "arguments": {"message": "z", "delayMs": 20}, "_meta": {"progressToken": 1},
    }});
    Events::of(within(session.post(&progress).send()).await.unwrap()).rest().await;
    call(&session, "last").await;
    let mut messages = Vec::new();
    while messages.last().map(about) != Some(json!("last")) {
        messages.push(stream.message().await.unwrap());
    }
    assert_eq!(messages.len(), 4);
    for message in messages {
        let message = message.json();
        assert_eq!((&message["method"], message.get("id")), (&json!("notifications/message"), None), "{message}");
    }
}

#[tokio::test]
async fn streams_end_with_their_session() {
    let server = TestServer::start().await;
    let (session, other) = (server.session(VERSION).await, server.session(VERSION).await);
    let mut others = other.stream().await;
    let (first, second, waiting) = (session.stream().await, session.stream().await, wait(&session, "300").await);
    assert_eq!(session.delete().await, StatusCode::NO_CONTENT);
    for stream in [first, second, waiting] {
        assert_eq!(stream.rest().await, []);
    }
    call(&other, 1).await;
    assert_eq!(take(&mut others, 1).await, [1]);
}

#[tokio::test]
async fn a_session_about_to_expire_says_so() {
    if !in_memory() {
        return;
    }
    let server = TestServer::frozen(|_| {}).await;
    let session = server.session(VERSION).await;
    for _ in 0..2 {
        server.clock.advance(HOUR / 2);
        sweep(&server.sessions);
        server.clock.advance(Duration::from_secs(1500));
        for _ in 0..3 {
            assert_eq!(sweep(&server.sessions), 0);
        }
        let notices = wait(&session, "0").await.rest().await;
        assert_eq!(notices.len(), 1, "once: {notices:?}");
        let notice = notices[0].json();
        assert_eq!(notice["method"], "notifications/message");
        assert_eq!((&notice["params"]["level"], &notice["params"]["logger"]), (&json!("notice"), &json!("session")));
        assert_eq!(notice["params"]["data"]["expiresInSeconds"], 300);
    }
    set_level(&session, "error").await;
    server.clock.advance(Duration::from_secs(3599));
    sweep(&server.sessions);
    assert_eq!(wait(&session, "0").await.rest().await, []);
}
