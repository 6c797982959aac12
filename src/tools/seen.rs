//! What this server saw so far that tools tell of.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::diagnosis::findings::Rule;

/// How often each rule fired since the server started: for healthProbe, and to know a first sight.
#[derive(Debug, Default)]
pub struct FindingCounts(Mutex<BTreeMap<&'static str, u64>>);

impl FindingCounts {
    /// Counts one. Returns whether it was the first of its kind.
    pub fn count(&self, rule: &'static Rule) -> bool {
        let mut counts = lock(&self.0);
        let count = counts.entry(rule.id).or_default();
        *count += 1;
        *count == 1
    }

    /// By id.
    #[must_use]
    pub fn by_id(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0).clone()
    }
}

/// What is counted here is good whatever happened to a holder of the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
