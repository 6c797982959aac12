//! Time as a parameter.
//!
//! Two questions need two clocks. *How long ago?* (idle sessions, durations) is asked of a clock that never jumps; *what
//! time is it?* (token expiry, what people read) is asked of the machine's wall clock, which does. [`Clock`] answers both
//! and can be moved forward by a test, so that an hour of idleness takes no time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A moment on the server's own steady clock, in milliseconds since the Unix epoch as it was believed at start.
///
/// Differences are exact whatever happens to the wall clock; [`Clock::wall`] turns a moment into what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The server's clocks. One is shared by everything; see the module's documentation.
#[derive(Debug)]
pub struct Clock {
    /// `None` for a clock that stands still.
    started: Option<Instant>,
    started_unix_ms: u64,
    moved_ms: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Some(Instant::now()),
            started_unix_ms: u64::try_from(unix.as_millis()).unwrap_or_default(),
            moved_ms: AtomicU64::new(0),
        }
    }

    /// A clock that stands still and only moves when it is moved: for tests that count to the millisecond.
    #[must_use]
    pub fn standing_still() -> Self {
        Self { started: None, ..Self::new() }
    }

    /// Whether it stands still.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.started.is_none()
    }

    /// Now, on the steady clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    /// What it shows `at` that time, or would if it had not been moved since: for callers that have read the time already.
    #[must_use]
    pub fn at(&self, at: Instant) -> Moment {
        let since = |started| u64::try_from(at.saturating_duration_since(started).as_millis()).unwrap_or(u64::MAX);
        let elapsed = self.started.map_or(0, since);
        Moment(self.started_unix_ms + elapsed + self.moved_ms.load(Ordering::Relaxed))
    }

    /// Time since the clock was made.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.now().since(Moment(self.started_unix_ms))
    }

    /// Now, as people and tokens count it (UTC), to the microsecond.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn wall_now(&self) -> Timestamp {
        match self.moved_ms.load(Ordering::Relaxed) {
            0 => Timestamp::now(),
            moved => Timestamp::now() + Duration::from_millis(moved),
        }
    }

    /// What the wall clock showed, or will show, at `moment`: the same whenever it is asked for, unless the wall clock was
    /// set meanwhile. By how much is known to the second: finer, the answer would change with the two clocks' readings.
    #[must_use]
    pub fn wall(&self, moment: Moment) -> Timestamp {
        let as_believed = |Moment(ms)| {
            let ms = i64::try_from(ms).unwrap_or(i64::MAX);
            Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
        };
        let set_by = self.wall_now().duration_since(as_believed(self.now()));
        let seconds = set_by.round(jiff::Unit::Second).unwrap_or(set_by);
        as_believed(moment).checked_add(seconds).unwrap_or(Timestamp::MAX)
    }

    /// Moves both clocks forward: for tests and simulations, which have no hour to wait.
    pub fn advance(&self, by: Duration) {
        self.moved_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_time_whenever_it_is_asked_for() {
        let clock = Clock::new();
        let moment = clock.now();
        let wall = clock.wall(moment);
        for _ in 0..10_000 {
            assert_eq!(clock.wall(moment), wall);
        }
        assert!(wall.duration_since(clock.wall_now()).abs() < jiff::SignedDuration::from_secs(1));
    }

    #[test]
    fn a_clock_that_is_moved_shows_it_on_both_faces() {
        let clock = Clock::new();
        let (before, wall_before) = (clock.now(), clock.wall_now());
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now().since(before) >= Duration::from_secs(3600));
        assert!(clock.wall_now().as_second() - wall_before.as_second() >= 3600);
        assert!((clock.wall(before).as_second() - wall_before.as_second()).abs() <= 1);
    }
}
