//! What is promised of sessions wherever they are kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::places::{Memory, Place, QUEUE, Remote, TIMEOUT, Why};
use crate::protocol::LogLevel;
use crate::session::{EndReason, Event, MAX_STREAMS, Over, Working};

/// Each promise as a test of each place. The clock of the runtime stands still: nothing waits for time.
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)] async fn $name() { super::$name::<super::Memory>().await; })*
        }
        mod remote {
            $(#[tokio::test(start_paused = true)] async fn $name() { super::$name::<super::Remote>().await; })*
        }
    };
}

promises![
    what_a_call_changed_the_next_one_sees,
    an_echo_that_is_refused_changes_nothing,
    an_id_that_was_never_made_is_unknown,
    an_ended_session_never_comes_back_and_its_owner_hears_why,
    an_idle_session_expires_at_its_moment_and_use_keeps_it,
    an_open_stream_keeps_its_session,
    a_session_is_its_owners_alone_and_the_owner_hears_of_others,
    messages_come_once_and_in_order,
    a_full_queue_drops_the_oldest_and_says_how_many,
    messages_below_the_level_are_not_delivered,
    a_client_that_resumes_has_what_it_missed_and_nothing_twice,
    what_another_stream_had_is_not_resumed,
    an_unknown_event_id_starts_at_the_oldest_pending,
    a_newer_stream_takes_over_and_gives_back,
    one_stream_too_many_closes_the_oldest,
    a_restart_changes_nothing,
    members_of_a_newer_release_outlive_a_change,
    a_format_of_a_newer_release_is_refused,
    an_effect_happens_once_and_not_before_its_change,
];

fn log(working: &mut Working<'_>, level: LogLevel, text: &str) {
    working.log(level, || text.into());
}

async fn send<P: Place>(place: &P, id: Uuid, messages: std::ops::RangeInclusive<u32>) {
    for n in messages {
        place.change(id, None, move |working| log(working, LogLevel::Info, &n.to_string())).await.unwrap();
    }
}

fn texts(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| &*event.json).collect()
}

async fn what_a_call_changed_the_next_one_sees<P: Place>() {
    let place = P::new();
    let (id, other) = (place.create(None).await, place.create(None).await);
    let custom = json!({ "a": 1, "b": 2 });
    let first = place.change(id, None, move |working| {
        working.count_requests(1);
        (working.count_tool_call(), working.echo("hello", custom.as_object()).unwrap(), working.note_finding("x"))
    });
    assert_eq!(first.await, Ok((1, 1, true)));
    let second = place.change(id, None, |working| {
        let replay = working.replay().unwrap();
        (replay.message, replay.echo_count, replay.replay_count, working.note_finding("x"), working.count_tool_call())
    });
    assert_eq!(second.await, Ok(("hello".to_owned(), 1, 1, false, 2)));
    let custom = place.change(id, None, |working| working.record.state.custom_data.as_ref().unwrap().to_map());
    assert_eq!(json!(custom.await.unwrap()), json!({ "a": 1, "b": 2 }));
    assert_eq!(
        place.change(other, None, |working| working.replay()).await,
        Ok(None),
        "sessions have nothing in common"
    );
}

async fn an_echo_that_is_refused_changes_nothing<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let large = json!({ "large": "x".repeat(crate::session::MAX_CUSTOM_DATA) });
    let refused = place.change(id, None, move |working| working.echo("b", large.as_object()).is_err());
    assert_eq!(refused.await, Ok(true));
    let state = place.change(id, None, |working| working.record.state.clone()).await.unwrap();
    assert_eq!((state.last_echo, state.echo_count, state.custom_data), (None, 0, None));
}

async fn an_id_that_was_never_made_is_unknown<P: Place>() {
    let place = P::new();
    assert_eq!(place.change(Uuid::from_u128(1), None, |_| ()).await, Err(Why::Unknown));
}

async fn an_ended_session_never_comes_back_and_its_owner_hears_why<P: Place>() {
    let place = P::new();
    for reason in [EndReason::Deleted, EndReason::Evicted] {
        let id = place.create(Some("alice")).await;
        let mut stream = place.open(id, None).await;
        place.end(id, reason).await;
        assert_eq!(place.take(&mut stream).await, Err(Over));
        for _ in 0..2 {
            assert_eq!(place.change(id, Some("alice"), |_| ()).await, Err(Why::Ended(reason)));
        }
        assert_eq!(place.change(id, Some("bob"), |_| ()).await, Err(Why::Unknown));
    }
}

async fn an_idle_session_expires_at_its_moment_and_use_keeps_it<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    for _ in 0..3 {
        place.pass(TIMEOUT - Duration::from_secs(1));
        assert_eq!(place.change(id, None, |_| ()).await, Ok(()));
    }
    place.pass(TIMEOUT);
    for _ in 0..2 {
        assert_eq!(place.change(id, None, |_| ()).await, Err(Why::Ended(EndReason::Expired)));
    }
}

async fn an_open_stream_keeps_its_session<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let mut stream = place.open(id, None).await;
    for _ in 0..3 {
        place.pass(TIMEOUT - Duration::from_secs(1));
        assert_eq!(place.take(&mut stream).await, Ok(Vec::new()));
    }
    place.close(stream).await;
    place.pass(TIMEOUT - Duration::from_secs(1));
    assert_eq!(place.change(id, None, |_| ()).await, Ok(()));
}

async fn a_session_is_its_owners_alone_and_the_owner_hears_of_others<P: Place>() {
    let place = P::new();
    let id = place.create(Some("alice")).await;
    assert_eq!(place.change(id, Some("bob"), |_| ()).await, Err(Why::NotYours));
    assert_eq!(place.change(id, None, |_| ()).await, Err(Why::NotYours));
    assert_eq!(place.change(id, None, |_| ()).await, Err(Why::NotYours));
    // At the latest with its second call: strangers are no change of the session, which the first could conflict with.
    place.change(id, Some("alice"), |_| ()).await.unwrap();
    let intrusions = place.change(id, Some("alice"), |working| working.record.intrusions).await.unwrap();
    assert_eq!((intrusions.other, intrusions.anonymous, intrusions.last.is_some()), (1, 2, true));
}

async fn messages_come_once_and_in_order<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    send(&place, id, 1..=2).await;
    let mut stream = place.open(id, None).await;
    assert_eq!(texts(&place.take(&mut stream).await.unwrap()), ["1", "2"]);
    assert_eq!(place.take(&mut stream).await, Ok(Vec::new()));
    send(&place, id, 3..=5).await;
    let events = place.take(&mut stream).await.unwrap();
    assert_eq!(texts(&events), ["3", "4", "5"]);
    let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), events.len(), "no two events share an id");
}

async fn a_full_queue_drops_the_oldest_and_says_how_many<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    send(&place, id, 1..=8).await;
    let figures = place.change(id, None, |working| working.figures()).await.unwrap();
    assert_eq!((figures.pending, figures.held, figures.dropped), (5, 5, 3));
    let mut stream = place.open(id, None).await;
    let events = place.take(&mut stream).await.unwrap();
    assert!(events[0].json.contains("3 messages were lost"), "{}", events[0].json);
    assert_eq!(texts(&events[1..]), ["4", "5", "6", "7", "8"]);
    let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), events.len(), "no two events share an id");
    send(&place, id, 9..=9).await;
    assert_eq!(
        texts(&place.take(&mut stream).await.unwrap()),
        ["9"],
        "it is said once, and a delivered one is no loss"
    );
}

async fn messages_below_the_level_are_not_delivered<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let mut stream = place.open(id, None).await;
    place
        .change(id, None, |working| {
            log(working, LogLevel::Debug, "below the default");
            log(working, LogLevel::Info, "raised over");
            log(working, LogLevel::Error, "error");
        })
        .await
        .unwrap();
    place.change(id, None, |working| working.set_log_level(LogLevel::Error)).await.unwrap();
    place.change(id, None, |working| log(working, LogLevel::Warning, "below the level")).await.unwrap();
    assert_eq!(texts(&place.take(&mut stream).await.unwrap()), ["error"]);
}

async fn a_client_that_resumes_has_what_it_missed_and_nothing_twice<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let mut broken = place.open(id, None).await;
    send(&place, id, 1..=3).await;
    let events = place.take(&mut broken).await.unwrap();
    send(&place, id, 4..=4).await;
    // It lingers: nobody has noticed yet that its client is gone.
    let mut again = place.open(id, Some(&events[0].id)).await;
    assert_eq!(place.take(&mut broken).await, Err(Over), "a stream has one connection");
    let resumed = place.take(&mut again).await.unwrap();
    assert_eq!(texts(&resumed), ["2", "3", "4"]);
    assert_eq!(resumed[..2], events[1..], "the same events, by the same ids");
    place.close(broken).await;
    send(&place, id, 5..=5).await;
    assert_eq!(
        texts(&place.take(&mut again).await.unwrap()),
        ["5"],
        "the late end of the old connection closes nothing"
    );
}

/// F10
async fn what_another_stream_had_is_not_resumed<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let mut first = place.open(id, None).await;
    send(&place, id, 1..=2).await;
    let events = place.take(&mut first).await.unwrap();
    let mut second = place.open(id, None).await;
    send(&place, id, 3..=3).await;
    assert_eq!(texts(&place.take(&mut second).await.unwrap()), ["3"]);
    place.close(first).await;
    place.close(second).await;
    let mut again = place.open(id, Some(&events[0].id)).await;
    assert_eq!(texts(&place.take(&mut again).await.unwrap()), ["2"]);
}

async fn an_unknown_event_id_starts_at_the_oldest_pending<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    send(&place, id, 1..=2).await;
    for unknown in
        ["", "x", "1-1", "a11ce000-1-1", "00000000-1-1", "a11ce000-7-2", "a11ce000-1-99999999999999999999", "-"]
    {
        let stream = place.open(id, Some(unknown)).await;
        place.close(stream).await;
    }
    let mut stream = place.open(id, Some("99-1")).await;
    assert_eq!(texts(&place.take(&mut stream).await.unwrap()), ["1", "2"]);
}

async fn a_newer_stream_takes_over_and_gives_back<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let mut old = place.open(id, None).await;
    let mut new = place.open(id, None).await;
    send(&place, id, 1..=1).await;
    assert_eq!(place.take(&mut old).await, Ok(Vec::new()));
    assert_eq!(texts(&place.take(&mut new).await.unwrap()), ["1"]);
    place.close(new).await;
    send(&place, id, 2..=2).await;
    assert_eq!(texts(&place.take(&mut old).await.unwrap()), ["2"]);
}

async fn one_stream_too_many_closes_the_oldest<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let mut streams = Vec::new();
    for _ in 0..=MAX_STREAMS {
        streams.push(place.open(id, None).await);
    }
    assert_eq!(place.take(&mut streams[0]).await, Err(Over));
    for stream in &mut streams[1..] {
        assert_eq!(place.take(stream).await, Ok(Vec::new()));
    }
    let figures = place.change(id, None, |working| working.figures());
    figures.await.unwrap();
    let streams = place.change(id, None, |working| working.figures().streams);
    assert_eq!(streams.await, Ok(MAX_STREAMS));
}

async fn a_restart_changes_nothing<P: Place>() {
    let place = P::new();
    let id = place.create(Some("alice")).await;
    let change = |working: &mut Working<'_>| {
        working.echo("hello", json!({ "k": "v" }).as_object()).unwrap();
        working.note_finding("x");
        working.set_log_level(LogLevel::Notice);
        for text in ["1", "2", "3"] {
            log(working, LogLevel::Notice, text);
        }
    };
    place.change(id, Some("alice"), change).await.unwrap();
    let before = place.change(id, Some("alice"), |working| working.record.clone()).await.unwrap();
    let mut stream = place.open(id, None).await;
    let events = place.take(&mut stream).await.unwrap();
    place.change(id, Some("alice"), |working| log(working, LogLevel::Error, "4")).await.unwrap();

    let place = place.restart(|_| ());
    assert_eq!(place.change(id, Some("bob"), |_| ()).await, Err(Why::NotYours));
    let mut after = place.change(id, Some("alice"), |working| working.record.clone()).await.unwrap();
    (after.intrusions, after.last_activity) = (before.intrusions, before.last_activity);
    // The stream was opened meanwhile.
    after.history.streams = before.history.streams.clone();
    assert_eq!(after, before);
    let mut again = place.open(id, Some(&events[1].id)).await;
    assert_eq!(texts(&place.take(&mut again).await.unwrap()), ["3", "4"]);
}

async fn members_of_a_newer_release_outlive_a_change<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let place = place.restart(|saved| {
        saved["newMember"] = json!(1);
        saved["record"]["newMember"] = json!({ "at": [2] });
        saved["record"]["state"]["newMember"] = json!("3");
    });
    assert_eq!(place.change(id, None, |working| working.echo("m", None).unwrap()).await, Ok(1));
    let place = place.restart(|saved| {
        assert_eq!(saved["newMember"], 1);
        assert_eq!(saved["record"]["newMember"], json!({ "at": [2] }));
        assert_eq!(saved["record"]["state"]["newMember"], "3");
    });
    assert_eq!(place.change(id, None, |working| working.record.state.echo_count).await, Ok(1));
}

async fn a_format_of_a_newer_release_is_refused<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let place = place.restart(|saved| saved["format"] = json!(99));
    assert_eq!(place.change(id, None, |_| ()).await, Err(Why::Unreadable));
}

async fn an_effect_happens_once_and_not_before_its_change<P: Place>() {
    let place = P::new();
    let id = place.create(None).await;
    let happened = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&happened);
    let during = place.change(id, None, move |working| {
        let (before, counted) = (counted.load(Ordering::Relaxed), Arc::clone(&counted));
        working.after(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        before
    });
    assert_eq!(during.await, Ok(0));
    place.change(id, None, |_| ()).await.unwrap();
    assert_eq!(happened.load(Ordering::Relaxed), 1);
}

/// On threads of their own, and not on a clock that stands still.
async fn no_count_is_lost<P: Place>() {
    const TASKS: u64 = 64;
    const EACH: u64 = 20;
    let place = P::new();
    let id = place.create(None).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let place = place.clone();
            tokio::spawn(async move {
                let mut numbers = Vec::new();
                for _ in 0..EACH {
                    let number = place.change(id, None, |working| {
                        log(working, LogLevel::Info, "m");
                        working.echo("m", None).unwrap()
                    });
                    numbers.push(number.await.unwrap());
                }
                numbers
            })
        })
        .collect();
    let mut numbers = BTreeSet::new();
    for task in tasks {
        numbers.extend(task.await.unwrap());
    }
    assert_eq!(numbers, (1..=TASKS * EACH).collect(), "each has a number of its own");
    let dropped = place.change(id, None, |working| working.figures().dropped).await.unwrap();
    assert_eq!(dropped, TASKS * EACH - QUEUE as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_on_a_session_in_memory_lose_no_count() {
    no_count_is_lost::<Memory>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_on_a_session_in_a_store_lose_no_count() {
    no_count_is_lost::<Remote>().await;
}
