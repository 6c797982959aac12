//! What is counted of exchanges for good: how long operations took, and what was refused.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Answered;

/// Upper bounds of the histogram's buckets, in seconds: those that OpenTelemetry advises for MCP, and finer ones below.
pub const BOUNDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The most operations that are told apart; the next ones are counted as `other`.
const MOST: usize = 500;

/// What is told apart: nothing that a caller can make up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The JSON-RPC method; `_other` for one that this server does not know, empty where there was no message.
    pub method: &'static str,
    /// The tool that was called, if it is one of this server's.
    pub tool: &'static str,
    /// The HTTP status, where it is an error.
    pub error: Option<u16>,
}

/// An operation in figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Operation {
    /// By bucket, not added up; the last has what took longer than all bounds.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All of them.
    pub count: u64,
    /// Their time.
    pub sum: Duration,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Operations(Mutex<BTreeMap<Key, Operation>>);

/// Methods that messages may have.
pub const METHODS: [&str; 14] = [
    "initialize",
    "ping",
    "tools/call",
    "tools/list",
    "logging/setLevel",
    "server/discover",
    "subscriptions/listen",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "response",
    "batch",
    "_other",
];

fn known(name: &str, names: &[&'static str]) -> Option<&'static str> {
    names.iter().find(|known| **known == name).copied()
}

impl Operations {
    pub(super) fn count(&self, answered: &Answered) {
        let asked = answered.seen.asked();
        let method = asked.map_or("", |asked| known(&asked.method, &METHODS).unwrap_or("_other"));
        let tool = asked.map_or("", |asked| match (asked.known_tool, &asked.tool) {
            (Some(tool), _) => tool,
            (None, Some(_)) => "_other",
            (None, None) => "",
        });
        let error = (answered.status >= 400).then_some(answered.status);
        let mut operations = self.operations();
        let key = Key { method, tool, error };
        let key = if operations.len() < MOST || operations.contains_key(&key) {
            key
        } else {
            Key { method: "_other", tool: "", error: None }
        };
        let operation = operations.entry(key).or_default();
        let seconds = answered.took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        operation.buckets[bucket] += 1;
        operation.count += 1;
        operation.sum += answered.took;
    }

    /// All, in the order of their keys.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Key, Operation> {
        self.operations().clone()
    }

    fn operations(&self) -> MutexGuard<'_, BTreeMap<Key, Operation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_what_took_no_longer_than_its_bound() {
        assert_eq!(BOUNDS.partition_point(|bound| *bound < 0.0001), 0);
        assert_eq!(BOUNDS.partition_point(|bound| *bound < 0.00011), 1);
        assert_eq!(BOUNDS.partition_point(|bound| *bound < 31.0), BOUNDS.len());
    }
}
