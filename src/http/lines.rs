//! How many requests get a line of their own in the log: people read some, a flood of them fills a disk.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// The most requests a second that get a line of their own: more than anybody reads, and 200 bytes each are a megabyte in
/// five seconds. The others are counted, and their number is told in the next second.
const MAX_LINES: u32 = 1000;

/// The lines of the current second.
#[derive(Debug)]
pub struct Lines {
    began: Instant,
    /// Seconds since then.
    second: AtomicU64,
    taken: AtomicU32,
    left_out: AtomicU64,
}

impl Lines {
    /// None taken yet; seconds are counted from `began`.
    #[must_use]
    pub fn since(began: Instant) -> Self {
        Self { began, second: AtomicU64::new(0), taken: AtomicU32::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether a request that came in `at` gets a line. Counts it either way.
    pub fn take(&self, at: Instant) -> bool {
        let second = at.saturating_duration_since(self.began).as_secs();
        if self.second.fetch_max(second, Ordering::Relaxed) < second {
            self.taken.store(0, Ordering::Relaxed);
            self.tell();
        }
        let is_taken = self.taken.fetch_add(1, Ordering::Relaxed) < MAX_LINES;
        if !is_taken {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        is_taken
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
    fn a_second_has_its_lines_and_the_next_has_them_again() {
        let lines = Lines::since(Instant::now());
        let taken = |after: u64, requests: u32| {
            let at = lines.began + Duration::from_secs(after);
            (0..requests).filter(|_| lines.take(at)).count()
        };
        assert_eq!(taken(0, MAX_LINES + 500), MAX_LINES as usize);
        assert_eq!(lines.left_out.load(Ordering::Relaxed), 500);
        assert_eq!(taken(1, 3), 3, "and what was left out is told");
        assert_eq!(lines.left_out.load(Ordering::Relaxed), 0);
        assert_eq!(taken(0, 3), 3, "a straggler counts in the second that is");
    }
}
