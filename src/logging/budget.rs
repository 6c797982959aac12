//! How many requests get a line of their own in the log: people read some of them, and a flood of them fills a disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The most requests a second that get a line of their own: more than anybody reads, and 200 bytes each are a megabyte in
/// five seconds. The others are counted, and their number is logged in the next second.
const MAX_LINES: u64 = 1000;

/// The part of a second that a line uses up, in nanoseconds.
const LINE_NS: u64 = 1_000_000_000 / MAX_LINES;

/// How much may be used up at once: a second. Under load the lines are then spread over the second. Written all at its
/// start, they would delay the requests behind them.
const BURST_NS: u64 = 1_000_000_000;

/// The lines of requests, counted by the time that they use up (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug)]
pub struct LogBudget {
    began: Instant,
    /// Until when lines have used up the time, in nanoseconds since then.
    used_ns: AtomicU64,
    /// When the number of omitted lines was last logged, in seconds since then.
    told: AtomicU64,
    left_out: AtomicU64,
}

impl LogBudget {
    /// No line is used up yet; time is counted from `began`.
    #[must_use]
    pub fn since(began: Instant) -> Self {
        Self { began, used_ns: AtomicU64::new(0), told: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether a request that came in `at` gets a line. Counts it either way.
    pub fn take(&self, at: Instant) -> bool {
        let now = at.saturating_duration_since(self.began);
        if self.told.fetch_max(now.as_secs(), Ordering::Relaxed) < now.as_secs() {
            self.tell();
        }
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let taken = self.used_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let used = used.max(now) + LINE_NS;
            (used - now <= BURST_NS).then_some(used)
        });
        if taken.is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Logs how many requests got no line since this was last said, if any.
    pub fn tell(&self) {
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            tracing::info!(left_out, "{left_out} more requests were answered: {MAX_LINES} a second get a line each");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_has_its_lines_and_under_load_they_are_spread() {
        let lines = LogBudget::since(Instant::now());
        let taken = |after_ms: u64, requests: usize| {
            let at = lines.began + Duration::from_millis(after_ms);
            (0..requests).filter(|_| lines.take(at)).count()
        };
        assert_eq!(taken(0, 1500), 1000, "after a pause as many at once");
        assert_eq!(lines.left_out.load(Ordering::Relaxed), 500);
        assert_eq!(taken(10, 100), 10, "then one a millisecond");
        assert_eq!(taken(1000, 3), 3, "and in the next second what was left out is told");
        assert_eq!(lines.left_out.load(Ordering::Relaxed), 0);
        assert_eq!(taken(10_000, 1500), 1000);
    }
}
