//! Promises of the manager, with a clock that stands still.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::protocol::{Capabilities, ClientInfo, LogLevel, Revision, notice};
use crate::session::memory::free;
use crate::session::streams::Way;
use crate::session::{IdentitySource, MAX_CUSTOM_DATA, MAX_RUNNING, NotKept, REMEMBERED, State, Unbound, sweep};

const HOUR: Duration = Duration::from_secs(3600);

fn manager(max_sessions: usize) -> (RwLock<SessionManager>, Arc<Clock>) {
    let clock = Arc::new(Clock::standing_still());
    let limits =
        Limits { timeout: HOUR, warning: Duration::from_secs(360), max_sessions, queue_size: 5, max_bytes: 100_000 };
    (RwLock::new(SessionManager::new(limits, Arc::clone(&clock))), clock)
}

fn new_session(owner: Option<&str>) -> NewSession {
    NewSession {
        protocol_version: Revision::V2025_06_18,
        client_info: ClientInfo::default(),
        client_capabilities: Capabilities::keep(&json!({})),
        owner: owner.map(identity).ok_or(Unbound::NoIdentity),
        address: None,
        client: Client::default(),
    }
}

fn identity(id: &str) -> Identity {
    Identity::new(id, IdentitySource::X_USER_ID)
}

fn create(manager: &RwLock<SessionManager>) -> Uuid {
    write(manager).create(new_session(None)).unwrap().0.session().id()
}

fn missing(manager: &RwLock<SessionManager>, id: Uuid) -> Missing {
    enter(manager, id, None, |_| ()).err().unwrap()
}

#[test]
fn a_session_is_dead_at_its_moment_and_the_sweep_only_buries_it() {
    let (manager, clock) = manager(10);
    let id = create(&manager);
    clock.advance(HOUR - Duration::from_secs(1));
    drop(enter(&manager, id, None, |_| ()).unwrap());
    clock.advance(HOUR - Duration::from_secs(1));
    assert!(enter(&manager, id, None, |_| ()).is_ok(), "use keeps it alive");
    clock.advance(HOUR);
    let Missing::Ended { reason: EndReason::Expired, at, .. } = missing(&manager, id) else { panic!() };
    assert_eq!(sweep(&manager), 1);
    let Missing::Ended { reason: EndReason::Expired, at: remembered, tries: 2 } = missing(&manager, id) else {
        panic!()
    };
    assert_eq!(at, remembered);
    assert_eq!(read(&manager).stats().active, 0);
}

#[test]
fn a_session_with_work_or_a_stream_does_not_expire() {
    let (manager, clock) = manager(10);
    let (guard, _) = write(&manager).create(new_session(None)).unwrap();
    let id = guard.session().id();
    clock.advance(3 * HOUR);
    assert_eq!(sweep(&manager), 0);
    let stream = guard.session().open_stream(None, Client::default(), Way::default());
    drop(guard);
    clock.advance(3 * HOUR);
    assert_eq!(sweep(&manager), 0);
    drop(enter(&manager, id, None, |_| ()).unwrap());
    drop(stream);
    clock.advance(HOUR);
    assert_eq!(sweep(&manager), 1);
}

#[test]
fn a_session_released_while_a_sweep_looks_at_it_is_not_forgotten() {
    const ROUNDS: usize = 2_000;
    let (manager, clock) = manager(ROUNDS);
    let mut removed = 0;
    let next = Mutex::new(None);
    let together = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                together.wait();
                drop(lock(&next).take());
                together.wait();
            }
        });
        for _ in 0..ROUNDS {
            let id = create(&manager);
            *lock(&next) = enter(&manager, id, None, |_| ()).ok();
            together.wait();
            removed += sweep(&manager);
            together.wait();
            clock.advance(HOUR);
            removed += sweep(&manager);
        }
    });
    assert_eq!(removed, ROUNDS);
}

#[test]
fn a_busy_session_keeps_nobody_waiting_but_its_own_callers() {
    let (manager, _) = manager(2_000);
    let id = create(&manager);
    let busy = Arc::clone(read(&manager).get(id).unwrap());
    let (begun, at_work) = std::sync::mpsc::channel();
    let (done, others) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            busy.change(|_| {
                begun.send(()).unwrap();
                let others = others.recv_timeout(Duration::from_secs(10));
                assert!(others.is_ok(), "they waited for a session that is not theirs");
            });
        });
        at_work.recv().unwrap();
        scope.spawn(|| drop(enter(&manager, id, None, |_| ()).unwrap()));
        for _ in 0..1_000 {
            write(&manager).create(new_session(Some("other"))).unwrap();
        }
        done.send(()).unwrap();
    });
}

#[test]
fn a_sweep_removes_all_that_expired_and_nothing_else() {
    let (manager, clock) = manager(10_000);
    for _ in 0..1000 {
        create(&manager);
    }
    clock.advance(HOUR / 2);
    let young: Vec<_> = (0..500).map(|_| create(&manager)).collect();
    clock.advance(HOUR / 2);
    assert_eq!(sweep(&manager), 1000);
    assert!(young.iter().all(|id| enter(&manager, *id, None, |_| ()).is_ok()));
    let stats = read(&manager).stats();
    assert_eq!((stats.active, stats.expired, stats.created), (500, 1000, 1500));
    assert_eq!(stats.average_lifetime, Some(HOUR));
}

#[test]
fn an_idle_session_is_told_once_before_it_expires() {
    let (manager, clock) = manager(10);
    let id = create(&manager);
    clock.advance(HOUR - Duration::from_secs(300));
    sweep(&manager);
    sweep(&manager);
    let guard = enter(&manager, id, None, |_| ()).unwrap();
    let mut stream = guard.session().open_stream(None, Client::default(), Way::default());
    let notice = stream.try_next().unwrap().unwrap().json;
    assert!(notice.contains("\"notice\"") && notice.contains("expires in 5m 0s"), "{notice}");
    assert_eq!(stream.try_next(), Ok(None));
}

#[test]
fn sessions_that_are_used_again_do_not_hide_an_expired_one_from_the_sweep() {
    let (manager, clock) = manager(1000);
    let used: Vec<_> = (0..200).map(|_| create(&manager)).collect();
    let expired = create(&manager);
    clock.advance(HOUR - Duration::from_secs(300));
    sweep(&manager);
    let _guards: Vec<_> = used.iter().map(|id| enter(&manager, *id, None, |_| ()).unwrap()).collect();
    clock.advance(Duration::from_secs(300));
    assert_eq!(sweep(&manager), 1);
    assert!(read(&manager).get(expired).is_none());
}

#[test]
fn a_panic_while_sessions_are_evicted_does_not_end_evicting() {
    let (manager, _) = manager(10);
    let shared = Arc::clone(&read(&manager).shared);
    let large = create(&manager);
    let panicked = std::thread::scope(|scope| {
        let evicting = || {
            let _only = lock(&shared.evicting);
            panic!("on purpose");
        };
        scope.spawn(evicting).join().is_err()
    });
    assert!(panicked && shared.evicting.is_poisoned());
    read(&manager).get(large).unwrap().change(|working| working.echo(&"x".repeat(50_000), None)).unwrap();
    assert_eq!(free(&manager, 60_000), [large]);
}

#[test]
fn at_the_bound_the_longest_idle_is_evicted_and_busy_ones_never() {
    let (manager, clock) = manager(3);
    let (busy, _) = write(&manager).create(new_session(None)).unwrap();
    let first = create(&manager);
    clock.advance(Duration::from_secs(1));
    let second = create(&manager);
    clock.advance(Duration::from_secs(1));
    drop(enter(&manager, first, None, |_| ()).unwrap());
    let (third, evicted) = write(&manager).create(new_session(None)).unwrap();
    assert_eq!(evicted.unwrap().id(), second, "the first was used since");
    let Missing::Ended { reason: EndReason::Evicted, .. } = missing(&manager, second) else { panic!() };
    let (_fourth, evicted) = write(&manager).create(new_session(None)).unwrap();
    assert_eq!(evicted.unwrap().id(), first);
    assert_eq!(write(&manager).create(new_session(None)).err(), Some(Full { max_sessions: 3 }));
    assert_eq!(read(&manager).stats().refused, 1);
    drop((busy, third));
}

#[test]
fn a_bound_session_is_unknown_to_everybody_else_and_its_owner_hears_of_them() {
    let (manager, _) = manager(10);
    let id = write(&manager).create(new_session(Some("alice"))).unwrap().0.session().id();
    let try_as = |who: Option<&str>| {
        enter(&manager, id, who.map(identity).as_ref(), |_| ()).map(|guard| guard.session().record())
    };
    assert_eq!(try_as(Some("bob")).err(), Some(Missing::NotYours { anonymous: false }));
    assert_eq!(try_as(None).err(), Some(Missing::NotYours { anonymous: true }));
    let intrusions = try_as(Some("alice")).unwrap().intrusions;
    assert_eq!((intrusions.other, intrusions.anonymous, intrusions.last.is_some()), (1, 1, true));
    let session = Arc::clone(enter(&manager, id, Some(&identity("alice")), |_| ()).unwrap().session());
    write(&manager).end(&session, EndReason::Deleted);
    let after = |who: &str| enter(&manager, id, Some(&identity(who)), |_| ()).err().unwrap();
    assert_eq!(after("bob"), Missing::Unknown, "why it ended is the owner's business");
    assert!(matches!(after("alice"), Missing::Ended { reason: EndReason::Deleted, .. }));
}

#[test]
fn what_is_remembered_of_the_ended_is_bounded() {
    let (manager, _) = manager(1);
    let first = create(&manager);
    for _ in 0..=REMEMBERED {
        create(&manager);
    }
    assert_eq!(missing(&manager, first), Missing::Unknown);
    assert_eq!(read(&manager).tombstones.len(), REMEMBERED);
}

#[test]
fn the_sums_return_to_nothing_when_the_sessions_do() {
    let (manager, clock) = manager(10);
    for _ in 0..5 {
        let (guard, _) = write(&manager).create(new_session(Some("x"))).unwrap();
        let session = guard.session();
        let custom = json!({"a": [1, 2, {"b": "text"}]});
        session.change(|working| working.echo("message", custom.as_object())).unwrap();
        session.change(|working| working.echo("longer message", json!({"a": null, "c": 1}).as_object())).unwrap();
        for _ in 0..8 {
            session.change(|working| working.log(LogLevel::Info, || notice::log(&json!({"level": "info"}))));
        }
        session.change(|working| working.log(LogLevel::Debug, || panic!("below the level")));
    }
    let stats = read(&manager).stats();
    assert_eq!((stats.pending_messages, stats.in_flight), (25, 0));
    assert!(stats.storage_bytes > 5 * 100 && stats.queue_bytes > 25 * 50, "{stats:?}");
    clock.advance(HOUR);
    sweep(&manager);
    let stats = read(&manager).stats();
    assert_eq!((stats.pending_messages, stats.queue_bytes, stats.streams), (0, 0, 0));
    assert_eq!(read(&manager).shared.totals.storage_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn what_a_shorter_echo_leaves_unused_is_counted_as_held() {
    let (manager, _) = manager(1);
    let (guard, _) = write(&manager).create(new_session(None)).unwrap();
    let echo = |bytes: usize| guard.session().change(|working| working.echo(&"x".repeat(bytes), None)).unwrap();
    let held = || read(&manager).stats().storage_bytes;
    echo(10_000);
    let long = held();
    echo(6_000);
    assert_eq!(held(), long, "room for twice the message is kept");
    echo(100);
    assert!(held() < long - 9_000);
}

#[test]
fn custom_data_is_merged_and_bounded() {
    let (manager, _) = manager(1);
    let (guard, _) = write(&manager).create(new_session(None)).unwrap();
    let session = guard.session();
    session.change(|working| working.echo("a", json!({"keep": 1, "drop": 2}).as_object())).unwrap();
    session.change(|working| working.echo("b", json!({"drop": null, "new": "x"}).as_object())).unwrap();
    assert_eq!(json!(session.record().state.custom_data), json!({"keep": 1, "new": "x"}));
    let large = json!({"large": "x".repeat(MAX_CUSTOM_DATA)});
    assert!(session.change(|working| working.echo("c", large.as_object())).is_err());
    assert_eq!(session.record().state.last_echo.as_deref(), Some("b"), "nothing is changed by a refused echo");
}

#[test]
fn sessions_above_their_share_are_evicted_where_that_helps_and_no_others() {
    let (manager, clock) = manager(10);
    let light = create(&manager);
    let keep = |bytes: usize| {
        clock.advance(Duration::from_secs(1));
        let (guard, _) = write(&manager).create(new_session(None)).unwrap();
        guard.session().change(|working| working.echo(&"x".repeat(bytes), None)).unwrap();
        guard.session().id()
    };
    let (first, second) = (keep(40_000), keep(20_000));
    assert!(free(&manager, 0).is_empty());
    let (busy, _) = write(&manager).create(new_session(None)).unwrap();
    let busy = busy.session();
    let refused = busy.change(|working| working.echo(&"x".repeat(50_000), json!({"a": 1}).as_object()));
    let Err(NotKept::NoRoom { growth, share: 10_000, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(busy.record().state, State::default(), "a refused echo changes nothing");
    assert!(free(&manager, 100_000).is_empty(), "what would not help ends nobody");
    assert_eq!(free(&manager, growth), [first], "and no more than it takes");
    assert!(matches!(missing(&manager, first), Missing::Ended { reason: EndReason::Evicted, .. }));
    busy.change(|working| working.echo(&"x".repeat(50_000), None)).unwrap();
    assert!(enter(&manager, light, None, |_| ()).is_ok() && enter(&manager, second, None, |_| ()).is_ok());

    let (other, _) = write(&manager).create(new_session(None)).unwrap();
    assert!(other.session().change(|working| working.echo(&"x".repeat(30_000), None)).is_err());
    assert!(other.session().change(|working| working.echo("within its share", None)).is_ok());
    let large = lock(&manager.read().unwrap().shared.large).clone();
    assert_eq!(large, [second, busy.id()].into());
}

#[test]
fn a_session_has_no_more_calls_at_work_than_it_may() {
    let (manager, _) = manager(1);
    let (guard, _) = write(&manager).create(new_session(None)).unwrap();
    let id = crate::protocol::Id::from_value(&json!(1)).unwrap();
    let mut running: Vec<_> = (0..MAX_RUNNING).map(|_| guard.session().running(&id).unwrap()).collect();
    assert!(guard.session().running(&id).is_err());
    running.pop();
    assert!(guard.session().running(&id).is_ok());
}

#[test]
fn at_the_bound_whoever_has_most_gives_way() {
    let (manager, clock) = manager(10);
    let create = |who: &str| write(&manager).create(new_session(Some(who)));
    let alice = create("alice").unwrap().0.session().id();
    let bob = create("bob").unwrap().0.session().id();
    let alive = |id| read(&manager).get(id).is_some();
    clock.advance(Duration::from_secs(60));
    for _ in 0..1000 {
        drop(create("mallory").unwrap());
    }
    // Most of what is remembered of her has ended.
    for _ in 0..6 {
        assert!(create("newcomer").is_ok());
    }
    assert!(alive(alice) && alive(bob), "they have been idle for longest, and have one each");
    drop(create("alice").unwrap());
    assert!(alive(alice) && alive(bob));
    assert_eq!(read(&manager).stats().active, 10);
}

#[test]
fn who_holds_all_sessions_busy_keeps_nobody_out() {
    let (manager, _clock) = manager(10);
    let create = |who: &str| write(&manager).create(new_session(Some(who)));
    let busy: Vec<_> = (0..10).map(|_| create("mallory").unwrap().0).collect();
    assert!(create("mallory").is_err(), "its own are all at work");
    let (alice, evicted) = create("alice").unwrap();
    assert!(busy.iter().any(|guard| guard.session().id() == evicted.as_ref().unwrap().id()));
    assert_eq!(evicted.unwrap().ended(), Some(EndReason::Evicted));
    let again = create("alice").unwrap().0;
    assert_ne!(alice.session().id(), again.session().id());
}
