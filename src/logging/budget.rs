//! A bound on lines a second: people read some of them, and a flood of them fills a disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SECOND_NS: u64 = 1_000_000_000;

/// Lines a second, counted by the time that they use up (the generic cell rate algorithm, ITU-T I.371). A second's worth may
/// be used up at once; under load lines are then spread over the second. Written all at its start, they would delay what is
/// behind them.
#[derive(Debug)]
pub struct LogBudget {
    began: Instant,
    lines: u64,
    /// Until when lines have used up the time, in nanoseconds since then.
    used_ns: AtomicU64,
    left_out: AtomicU64,
}

impl LogBudget {
    /// At most `lines` (1 to 1,000,000) a second; none is used up yet. Time is counted from `began`.
    #[must_use]
    pub fn since(began: Instant, lines: u64) -> Self {
        Self { began, lines, used_ns: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// The most lines a second.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether there is a line at `at`. Counts it either way.
    pub fn take(&self, at: Instant) -> bool {
        let now = u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX / 2);
        let line = SECOND_NS / self.lines;
        let taken = self.used_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let used = used.max(now) + line;
            (used - now <= SECOND_NS).then_some(used)
        });
        if taken.is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Whether any was left out since this was last asked by [`LogBudget::take_left_out`].
    #[must_use]
    pub fn has_left_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed) > 0
    }

    /// How many were left out since this was last asked.
    pub fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_has_its_lines_and_under_load_they_are_spread() {
        let lines = LogBudget::since(Instant::now(), 1000);
        let taken = |after_ms: u64, requests: usize| {
            let at = lines.began + Duration::from_millis(after_ms);
            (0..requests).filter(|_| lines.take(at)).count()
        };
        assert_eq!(taken(0, 1500), 1000, "after a pause as many at once");
        assert_eq!(lines.take_left_out(), 500);
        assert!(!lines.has_left_out());
        assert_eq!(taken(10, 100), 10, "then one a millisecond");
        assert!(lines.has_left_out());
        assert_eq!(taken(10_000, 1500), 1000);
    }
}
