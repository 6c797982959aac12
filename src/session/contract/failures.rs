//! What holds when a store fails. F1 to F31 are the failures that a first design of stores did not survive.
//!
//! Not here: what is the business of one kind of store (F5 to the letter, F7, F24 to F26, F30, F31), what the store's task
//! does for sessions in use and across processes (F17, F18's turn, F22, F23), and F15, which nothing mends: a message that
//! was taken and not written is lost to a client that has no event id. F10 is a promise of every place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::double::{Double, Fault};
use super::places::{LEASE, PATIENCE, Place, QUEUE, Remote, RemoteStream, TAG, TIMEOUT, new_session};
use crate::protocol::LogLevel;
use crate::session::connections::event_id;
use crate::session::store::{Commit, Committed, Create, Created, Ended, Gone, Outgoing, Store, StoreTime, Token};
use crate::session::{Committer, EndReason, Over, Record, Saved, Uncommitted};

/// Two processes on one store, and a session of the first.
async fn two() -> (Remote, Remote, Uuid) {
    let (a, id) = one().await;
    let b = Remote::on(a.store.clone(), 2);
    (a, b, id)
}

/// A process, and a session that it has a copy of.
async fn one() -> (Remote, Uuid) {
    let a = Remote::new();
    let id = a.create(None).await;
    (a, id)
}

/// An echo that is queued too.
async fn echo(place: &Remote, id: Uuid) -> Result<u64, Uncommitted> {
    let change = |working: &mut crate::session::Working<'_>| {
        let number = working.echo("message", None).unwrap();
        working.log(LogLevel::Info, || number.to_string().into());
        number
    };
    place.commit(id, change).await
}

fn count(store: &Double, id: Uuid) -> u64 {
    store.stored(id).saved.record.state.echo_count
}

async fn texts(place: &Remote, stream: &mut RemoteStream) -> Vec<String> {
    let events = place.take(stream).await.unwrap();
    events.into_iter().map(|event| event.json.into()).collect()
}

/// F1
#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_asked_for_again_and_nothing_is_done_twice() {
    let (a, id) = one().await;
    let mut stream = a.open(id, None).await;
    for n in 1..=QUEUE as u64 {
        a.store.next(Fault::ReplyLost);
        a.store.next(Fault::ReplyLost);
        assert_eq!(echo(&a, id).await, Ok(n));
    }
    assert_eq!(texts(&a, &mut stream).await, ["1", "2", "3", "4", "5"]);
    let counts = a.store.counts();
    assert_eq!((counts.commits, counts.kept, counts.conflicts), (15, 5, 0));
}

/// F1: also when others have committed meanwhile; and the copy here is then not taken for the newest.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_recognised_after_others_have_committed() {
    let (a, id) = one().await;
    a.store.next(Fault::ReplyLost);
    a.store.next(Fault::Before(Box::new(move |store| store.echo_now(id))));
    assert_eq!(echo(&a, id).await, Ok(1));
    assert_eq!(echo(&a, id).await, Ok(3));
    assert_eq!(a.store.counts().conflicts, 0);
}

/// F1, F2: a commit that was tried in two forms, the first of which was kept after all. What the change returned is not
/// what it did then.
#[tokio::test(start_paused = true)]
async fn where_an_earlier_form_of_a_commit_was_kept_the_outcome_is_unknown() {
    let (a, id) = one().await;
    let (snapshot, delay) = (a.store.snapshot(), CancellationToken::new());
    a.store.next(Fault::Delayed(delay.clone()));
    a.store.next(Fault::Before(Box::new(move |store| store.echo_now(id))));
    a.store.next(Fault::Slow(Duration::from_millis(500)));
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { echo(&a, id).await }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!((a.store.counts().conflicts, count(&a.store, id)), (1, 1));
    a.store.roll_back(snapshot);
    delay.cancel();
    let answer = waiting.await.unwrap();
    let Err(Uncommitted::Unknown(_)) = answer else { panic!("{answer:?}") };
    assert_eq!((count(&a.store, id), echo(&a, id).await), (1, Ok(2)));
}

/// F2
#[tokio::test(start_paused = true)]
async fn a_change_after_a_rollback_is_not_overwritten_by_one_from_before() {
    let (a, b, id) = two().await;
    echo(&a, id).await.unwrap();
    let snapshot = a.store.snapshot();
    echo(&a, id).await.unwrap();
    a.store.roll_back(snapshot);
    assert_eq!(echo(&b, id).await, Ok(2), "the second is lost");
    assert_eq!(echo(&a, id).await, Ok(3), "and what came after it is not, though it is the third version here too");
    assert_eq!(a.store.counts().conflicts, 1);
}

/// F3
#[tokio::test(start_paused = true)]
async fn a_position_is_never_given_out_twice_also_after_a_rollback() {
    let (a, id) = one().await;
    let mut stream = a.open(id, None).await;
    let snapshot = a.store.snapshot();
    for _ in 0..3 {
        echo(&a, id).await.unwrap();
    }
    let had = a.take(&mut stream).await.unwrap();
    a.store.roll_back(snapshot);
    a.store.advance(Duration::from_millis(1));
    for _ in 0..3 {
        echo(&a, id).await.unwrap();
    }
    let last = event_id(TAG, stream.stream, stream.position);
    let mut again = a.open(id, Some(&last)).await;
    let after = a.take(&mut again).await.unwrap();
    assert_eq!(after.len(), 3, "all that came after the rollback");
    assert!(after.iter().all(|event| !had.iter().any(|before| before.id == event.id)));
}

/// F4
#[tokio::test(start_paused = true)]
async fn a_late_create_or_commit_does_not_bring_a_session_back() {
    let store = Double::new();
    let saved = Saved::new(Record::new(Uuid::from_u128(7), store.now().moment(), new_session(None)), QUEUE);
    let id = saved.record.id;
    let token = |number| Token { writer: 1, number };
    let create = Create { token: token(1), saved: &saved, timeout: TIMEOUT };
    assert_eq!(store.create(create).await.unwrap().what, Created::Made);
    assert_eq!(store.create(create).await.unwrap().what, Created::Made, "the same create again");
    let other = Create { token: token(2), ..create };
    assert_eq!(store.create(other).await.unwrap().what, Created::Taken);
    assert_eq!(store.end(id, EndReason::Deleted, None).await.unwrap().what, Ended::Now);
    assert_eq!(store.create(create).await.unwrap().what, Created::Taken);
    let until = store.now().plus(PATIENCE);
    let commit = Commit {
        id,
        token: token(3),
        expected: token(1),
        until,
        in_use: false,
        attempt: 0,
        record: &saved.record,
        append: &[],
    };
    let Committed::Gone(Gone { reason: Some(EndReason::Deleted), .. }) = store.commit(commit).await.unwrap().what
    else {
        panic!();
    };
    let unknown = store.commit(Commit { id: Uuid::from_u128(8), ..commit }).await.unwrap().what;
    let Committed::Gone(Gone { reason: None, .. }) = unknown else { panic!("{unknown:?}") };
}

/// F4
#[tokio::test(start_paused = true)]
async fn a_session_that_is_deleted_under_a_commit_stays_deleted() {
    let (a, id) = one().await;
    a.store.next(Fault::Before(Box::new(move |store| store.end_now(id, EndReason::Deleted))));
    let Err(Uncommitted::Gone(Gone { reason: Some(EndReason::Deleted), .. })) = echo(&a, id).await else { panic!() };
    let Err(Uncommitted::Gone(_)) = echo(&a, id).await else { panic!() };
}

/// F5: in a value there is no half; what a commit appends comes with its record or not at all.
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_leaves_neither_record_nor_messages() {
    let (a, id) = one().await;
    let before = a.store.stored(id);
    let append = [Outgoing { level: LogLevel::Info, json: "m".into() }];
    let mut record = before.saved.record.clone();
    record.state.echo_count = 9;
    let token = Token { writer: 9, number: 1 };
    let until = StoreTime(a.store.now().0 - 1);
    let late =
        Commit { id, token, expected: token, until, in_use: false, attempt: 0, record: &record, append: &append };
    assert_eq!(a.store.commit(late).await.unwrap().what, Committed::Late);
    let stale = Commit { until: a.store.now().plus(PATIENCE), ..late };
    let Committed::Conflict(_) = a.store.commit(stale).await.unwrap().what else { panic!() };
    assert_eq!(a.store.stored(id), before);
}

/// F6
#[tokio::test(start_paused = true)]
async fn what_was_answered_with_an_error_is_not_done_later() {
    let (a, id) = one().await;
    a.store.freeze();
    let answer = echo(&a, id).await;
    let Err(Uncommitted::Unknown(_)) = answer else { panic!("{answer:?}") };
    assert_eq!(answer.unwrap_err().outcome(), Some("unknown"));
    a.store.thaw();
    assert_eq!(echo(&a, id).await, Ok(1), "what was frozen came too late");
    assert!(a.store.counts().late > 1);
}

/// F6
#[tokio::test(start_paused = true)]
async fn a_store_that_thaws_in_time_has_done_it_once() {
    let (a, id) = one().await;
    a.store.freeze();
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { echo(&a, id).await }
    });
    tokio::time::sleep(PATIENCE / 2).await;
    a.store.thaw();
    assert_eq!(waiting.await.unwrap(), Ok(1));
    assert_eq!((count(&a.store, id), a.store.counts().kept), (1, 1));
}

/// F6: whoever is asked again when the time is up says for certain that nothing was changed.
#[tokio::test(start_paused = true)]
async fn a_store_that_thaws_too_late_says_that_nothing_was_changed() {
    let (a, id) = one().await;
    a.store.freeze();
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { echo(&a, id).await }
    });
    tokio::time::sleep(PATIENCE + Duration::from_millis(100)).await;
    a.store.thaw();
    let answer = waiting.await.unwrap();
    let Err(Uncommitted::Refused(_)) = answer else { panic!("{answer:?}") };
    assert_eq!((answer.unwrap_err().outcome(), count(&a.store, id)), (Some("refused"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_never_reached_has_refused_and_recovers_by_itself() {
    let (a, id) = one().await;
    for _ in 0..200 {
        a.store.next(Fault::Unreachable);
    }
    let answer = echo(&a, id).await;
    let Err(Uncommitted::Refused(why)) = answer else { panic!("{answer:?}") };
    assert!(why.contains("connection refused"), "{why}");
    assert_eq!(echo(&a, id).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_waited_for() {
    let (a, id) = one().await;
    a.store.next(Fault::Slow(PATIENCE / 2));
    assert_eq!(echo(&a, id).await, Ok(1));
    a.store.next(Fault::Slow(PATIENCE + Duration::from_millis(500)));
    let answer = echo(&a, id).await;
    let Err(Uncommitted::Refused(_)) = answer else { panic!("{answer:?}") };
    assert_eq!(echo(&a, id).await, Ok(2));
}

/// F8
#[tokio::test(start_paused = true)]
async fn another_stream_takes_over_when_a_lease_runs_out() {
    let (a, b, id) = two().await;
    let mut standby = a.open(id, None).await;
    let silent = b.open(id, None).await;
    echo(&a, id).await.unwrap();
    assert!(texts(&a, &mut standby).await.is_empty(), "the newest has the right to it");
    a.store.advance(LEASE);
    assert_eq!(texts(&a, &mut standby).await, ["1"]);
    echo(&a, id).await.unwrap();
    let mut silent = silent;
    assert_eq!(texts(&b, &mut silent).await, ["2"], "whoever is back has its right again");
}

/// F9
#[tokio::test(start_paused = true)]
async fn a_delivery_conflicts_with_no_call() {
    let (a, b, id) = two().await;
    let mut stream = b.open(id, None).await;
    for n in 1..=20 {
        assert_eq!(echo(&a, id).await, Ok(n));
        assert_eq!(texts(&b, &mut stream).await, [n.to_string()]);
    }
    assert_eq!(a.store.counts().conflicts, 0);
}

/// F11
#[tokio::test(start_paused = true)]
async fn a_level_set_in_one_process_holds_in_all() {
    let (a, b, id) = two().await;
    let mut stream = a.open(id, None).await;
    b.commit(id, |working| working.set_log_level(LogLevel::Error)).await.unwrap();
    echo(&a, id).await.unwrap();
    assert!(texts(&a, &mut stream).await.is_empty());
}

/// F12
#[tokio::test(start_paused = true)]
async fn a_delivery_that_the_store_forgot_is_not_repeated() {
    let (a, id) = one().await;
    let mut stream = a.open(id, None).await;
    for _ in 0..3 {
        echo(&a, id).await.unwrap();
    }
    let snapshot = a.store.snapshot();
    assert_eq!(texts(&a, &mut stream).await, ["1", "2", "3"]);
    a.store.roll_back(snapshot);
    a.store.advance(Duration::from_millis(1));
    echo(&a, id).await.unwrap();
    assert_eq!(texts(&a, &mut stream).await, ["4"]);
}

/// F12, F14
#[tokio::test(start_paused = true)]
async fn a_stream_that_the_store_forgot_goes_on_where_it_was() {
    let (a, id) = one().await;
    let snapshot = a.store.snapshot();
    a.store.advance(Duration::from_millis(1));
    let mut stream = a.open(id, None).await;
    echo(&a, id).await.unwrap();
    assert_eq!(texts(&a, &mut stream).await, ["1"]);
    let number = stream.stream;
    a.store.roll_back(snapshot);
    a.store.advance(Duration::from_millis(1));
    echo(&a, id).await.unwrap();
    assert_eq!(texts(&a, &mut stream).await, ["1"], "its count was lost; the message is a new one");
    assert_eq!(stream.stream, number);
}

/// F13
#[tokio::test(start_paused = true)]
async fn a_loss_that_was_not_written_is_told_again() {
    let (a, b, id) = two().await;
    for _ in 0..QUEUE + 2 {
        echo(&a, id).await.unwrap();
    }
    let mut dies = a.open(id, None).await;
    assert!(a.take_once(&mut dies).await.unwrap()[0].json.contains("2 messages were lost"));
    a.close(dies).await;
    let mut next = b.open(id, None).await;
    let told = texts(&b, &mut next).await;
    assert!(told[0].contains("2 messages were lost"), "{told:?}");
    assert_eq!(told[1..], ["3", "4", "5", "6", "7"]);
}

/// F14
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_displaced_stays_so() {
    let (a, b, id) = two().await;
    let mut frozen = a.open(id, None).await;
    let last = event_id(TAG, frozen.stream, frozen.position);
    let resumed = b.open(id, Some(&last)).await;
    b.close(resumed).await;
    assert_eq!(a.take(&mut frozen).await, Err(Over));
}

/// F16
#[tokio::test(start_paused = true)]
async fn an_expired_session_is_expired_and_not_unknown() {
    let (a, b, id) = two().await;
    a.store.advance(TIMEOUT);
    for place in [&a, &b] {
        let Err(Uncommitted::Gone(Gone { reason: Some(EndReason::Expired), .. })) = echo(place, id).await else {
            panic!();
        };
    }
}

/// F18: it is tried until its time is up, however often others come before it.
#[tokio::test(start_paused = true)]
async fn a_conflict_runs_the_change_again_on_what_others_did() {
    let (a, b, id) = two().await;
    for n in 1..=10 {
        let place = if n % 2 == 0 { &a } else { &b };
        assert_eq!(echo(place, id).await, Ok(n));
    }
    assert!(a.store.counts().conflicts >= 8);
    let effects = Arc::new(AtomicU32::new(0));
    let runs = Arc::new(AtomicU32::new(0));
    let (counted, happened) = (Arc::clone(&runs), Arc::clone(&effects));
    let change = a.commit(id, move |working| {
        counted.fetch_add(1, Ordering::Relaxed);
        let happened = Arc::clone(&happened);
        working.after(move || {
            happened.fetch_add(1, Ordering::Relaxed);
        });
        working.note_finding("x")
    });
    echo(&b, id).await.unwrap();
    assert_eq!(change.await, Ok(true));
    assert_eq!((runs.load(Ordering::Relaxed), effects.load(Ordering::Relaxed)), (2, 1), "F29: run twice, told once");
}

/// F19
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_no_half_commit() {
    let (a, id) = one().await;
    a.store.next(Fault::Slow(Duration::from_millis(300)));
    let happened = Arc::new(Notify::new());
    let happens = Arc::clone(&happened);
    let request = a.commit(id, move |working| {
        let happens = Arc::clone(&happens);
        working.after(move || happens.notify_one());
        working.echo("message", None).unwrap()
    });
    assert!(tokio::time::timeout(Duration::from_millis(100), request).await.is_err(), "the client went away");
    happened.notified().await;
    assert_eq!(echo(&a, id).await, Ok(2));
    assert_eq!(a.store.counts().conflicts, 0, "the copy is what was committed");
}

/// F19: a copy whose commit nobody knows anything of is not used again.
#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_the_session_is_read_anew() {
    let (a, id) = one().await;
    for _ in 0..300 {
        a.store.next(Fault::ReplyLost);
    }
    let answer = echo(&a, id).await;
    let Err(Uncommitted::Unknown(_)) = answer else { panic!("{answer:?}") };
    a.store.restore();
    assert_eq!(count(&a.store, id), 1, "it was kept");
    assert_eq!(echo(&a, id).await, Ok(2));
    assert_eq!(a.store.counts().conflicts, 0);
}

/// F20
#[tokio::test(start_paused = true)]
async fn nothing_is_answered_from_a_stale_copy() {
    let (a, b, id) = two().await;
    assert_eq!(a.commit(id, |working| working.replay()).await, Ok(None));
    echo(&b, id).await.unwrap();
    let replay = a.commit(id, |working| working.replay()).await.unwrap();
    assert_eq!(replay.unwrap().echo_count, 1);
}

/// F21
#[tokio::test(start_paused = true)]
async fn strangers_neither_conflict_with_the_owner_nor_keep_the_session() {
    let a = Remote::new();
    let id = a.create(Some("alice")).await;
    a.store.advance(TIMEOUT - Duration::from_secs(1));
    for _ in 0..3 {
        a.change(id, Some("bob"), |_| ()).await.unwrap_err();
    }
    echo(&a, id).await.unwrap();
    assert_eq!(a.store.counts().conflicts, 0);
    a.store.advance(TIMEOUT - Duration::from_secs(1));
    a.change(id, Some("bob"), |_| ()).await.unwrap_err();
    a.store.advance(Duration::from_secs(1));
    let Err(Uncommitted::Gone(_)) = echo(&a, id).await else { panic!() };
}

/// F27
#[tokio::test(start_paused = true)]
async fn the_bound_of_a_queue_is_its_sessions_own() {
    let (a, b, id) = two().await;
    for _ in 0..=QUEUE {
        echo(&b, id).await.unwrap();
    }
    let figures = async || a.commit(id, |working| working.figures()).await.unwrap();
    figures().await;
    assert_eq!(figures().await.held, QUEUE, "the copies of a process hold no messages, and bound none");
}

/// F28: the clocks of the processes are an hour off.
#[tokio::test(start_paused = true)]
async fn moments_are_the_stores() {
    let (a, id) = one().await;
    a.store.advance(Duration::from_secs(5));
    echo(&a, id).await.unwrap();
    let (now, last) = a.commit(id, |working| (working.now(), working.record.last_activity)).await.unwrap();
    assert_eq!((now, last), (a.store.now().moment(), a.store.now().moment()));
}

#[tokio::test(start_paused = true)]
async fn changes_that_wait_are_committed_as_one_in_their_order() {
    let (a, id) = one().await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let a = a.clone();
            tokio::spawn(async move { echo(&a, id).await })
        })
        .collect();
    for (task, n) in tasks.into_iter().zip(1..) {
        assert_eq!(task.await.unwrap(), Ok(n));
    }
    assert_eq!(a.store.counts().commits, 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_panics_takes_nobody_along() {
    let (a, id) = one().await;
    a.store.next(Fault::Slow(Duration::from_millis(100)));
    let first = tokio::spawn({
        let a = a.clone();
        async move { echo(&a, id).await }
    });
    tokio::task::yield_now().await;
    let broken = a.commit(id, |working| {
        working.echo("half", None).unwrap();
        assert!(working.record.tool_calls > 0, "on purpose");
    });
    let (broken, after) = tokio::join!(broken, echo(&a, id));
    assert_eq!((first.await.unwrap(), broken, after), (Ok(1), Err(Uncommitted::Broken), Ok(2)));
    assert_eq!(echo(&a, id).await, Ok(3), "the session is as good as before");
}

#[tokio::test(start_paused = true)]
async fn effects_wait_for_the_commit_and_answers_come_first() {
    let (a, id) = one().await;
    let happened = Arc::new(AtomicBool::new(false));
    a.store.next(Fault::Before(Box::new({
        let happened = Arc::clone(&happened);
        move |_| assert!(!happened.load(Ordering::Relaxed), "before it was kept")
    })));
    let effect = Arc::clone(&happened);
    let change = a.commit(id, move |working| {
        let effect = Arc::clone(&effect);
        working.after(move || effect.store(true, Ordering::Relaxed));
    });
    change.await.unwrap();
    echo(&a, id).await.unwrap();
    assert!(happened.load(Ordering::Relaxed));
    // And none of what is not kept.
    let effect = Arc::clone(&happened);
    happened.store(false, Ordering::Relaxed);
    a.store.next(Fault::Before(Box::new(move |store| store.end_now(id, EndReason::Deleted))));
    let change = a.commit(id, move |working| {
        let effect = Arc::clone(&effect);
        working.after(move || effect.store(true, Ordering::Relaxed));
    });
    let Err(Uncommitted::Gone(_)) = change.await else { panic!() };
    assert!(!happened.load(Ordering::Relaxed));
}

/// A create whose reply is lost has made one session.
#[tokio::test(start_paused = true)]
async fn a_create_is_asked_for_again_too() {
    let store = Double::new();
    let committer = Committer::new(Arc::new(store.clone()), 1, PATIENCE);
    let saved = Saved::new(Record::new(Uuid::from_u128(7), store.now().moment(), new_session(None)), QUEUE);
    store.next(Fault::ReplyLost);
    store.next(Fault::Unreachable);
    assert!(committer.create(&saved, TIMEOUT).await.is_ok());
    let Err(Uncommitted::Refused(_)) = committer.create(&saved, TIMEOUT).await else { panic!() };
}
