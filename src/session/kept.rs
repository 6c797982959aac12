//! What is to happen once a change is kept.
//!
//! A change of a session in a store may run more than once, or for nothing. What it wants to happen besides (a log line, a
//! count, a task) waits here while it runs, and happens when the store has kept it. Where nothing is to be kept elsewhere,
//! it happens at once.
//!
//! Changes run in plain calls on one thread, so that the thread knows which one is running.

use std::cell::RefCell;

use uuid::Uuid;

use super::working::Effect;

/// What a run of changes left.
#[derive(Default)]
pub struct Waiting {
    /// What is to happen once they are kept.
    pub effects: Vec<Effect>,
    /// The ids of sessions that it made.
    pub made: Vec<Uuid>,
}

thread_local! {
    /// Of the run on this thread, if there is one.
    static WAITING: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

/// Whether a run is going on that is yet to be kept.
#[must_use]
pub fn is_pending() -> bool {
    WAITING.with_borrow(Option::is_some)
}

/// Has `effect` happen once the change that is running is kept; at once where none is running.
pub fn when_kept(effect: impl FnOnce() + Send + 'static) {
    if is_pending() {
        WAITING.with_borrow_mut(|waiting| waiting.get_or_insert_default().effects.push(Box::new(effect)));
    } else {
        effect();
    }
}

/// Says that the run that is going on made a session.
pub fn made(id: Uuid) {
    WAITING.with_borrow_mut(|waiting| {
        if let Some(waiting) = waiting {
            waiting.made.push(id);
        }
    });
}

/// Runs changes, and returns what they left to be done.
pub fn run<T>(changes: impl FnOnce() -> T) -> (T, Waiting) {
    /// Puts back what was, also where the changes panicked.
    struct Outer(Option<Waiting>);
    impl Drop for Outer {
        fn drop(&mut self) {
            WAITING.set(self.0.take());
        }
    }
    let mut outer = Outer(WAITING.replace(Some(Waiting::default())));
    let result = changes();
    let waiting = WAITING.replace(outer.0.take());
    std::mem::forget(outer);
    (result, waiting.unwrap_or_default())
}
