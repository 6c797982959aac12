//! How often each finding was raised on this server: for healthProbe, and to know a first sight.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Rule;

/// How often each rule fired since the server started.
#[derive(Debug, Default)]
pub struct FindingCounts(Mutex<BTreeMap<&'static str, u64>>);

impl FindingCounts {
    /// Counts one. Returns whether it was the first of its kind.
    pub fn count(&self, rule: &'static Rule) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(rule.id).or_default();
        *count += 1;
        *count == 1
    }

    /// By id.
    #[must_use]
    pub fn by_id(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
