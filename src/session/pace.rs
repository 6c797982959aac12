//! How fast a session's messages come: the generic cell rate algorithm (ITU-T I.371), one number a session.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rest::Rest;
use crate::clock::Moment;
use crate::config::RateLimit;

/// What is kept of a session's pace, by the clock that its other moments are of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// When the next message would be due if all came evenly, in microseconds since the epoch.
    due_us: u64,
    /// Messages refused.
    pub refused: u32,
    /// Of them those that came before the time that an earlier refusal had told.
    pub early: u32,
    /// The time that the last refusal told; zero where a message was taken since.
    pub told: Moment,
    /// What a newer release wrote beside these.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A message came too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFast {
    /// How long to wait.
    pub wait: Duration,
    /// It came before the time that an earlier refusal had told.
    pub early: bool,
}

impl Pace {
    /// Takes a message that comes at `now`, or refuses it.
    ///
    /// # Errors
    /// [`TooFast`]
    pub fn take(&mut self, limit: &RateLimit, now: Moment) -> Result<(), TooFast> {
        let (now_us, interval) = (now.0.saturating_mul(1000), limit.interval_us());
        let tolerance = interval.saturating_mul(u64::from(limit.burst - 1));
        let due = self.due_us.max(now_us);
        let wait_us = due.saturating_sub(tolerance).saturating_sub(now_us);
        if wait_us == 0 {
            self.due_us = due.saturating_add(interval);
            self.told = Moment(0);
            return Ok(());
        }
        // Whole milliseconds, as moments are: who waits as long is let in.
        let wait = Duration::from_millis(wait_us.div_ceil(1000));
        let early = now < self.told;
        self.refused = self.refused.saturating_add(1);
        self.early = self.early.saturating_add(early.into());
        self.told = now.plus(wait);
        Err(TooFast { wait, early })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { messages: 10, window: Duration::from_secs(1), burst: 3 };

    #[test]
    fn a_burst_is_taken_and_then_one_an_interval() {
        let mut pace = Pace::default();
        let at = |ms: u64| Moment(1_000_000 + ms);
        for _ in 0..3 {
            assert_eq!(pace.take(&LIMIT, at(0)), Ok(()));
        }
        assert_eq!(pace.take(&LIMIT, at(0)), Err(TooFast { wait: Duration::from_millis(100), early: false }));
        assert_eq!(pace.take(&LIMIT, at(40)), Err(TooFast { wait: Duration::from_millis(60), early: true }));
        assert_eq!(pace.take(&LIMIT, at(100)), Ok(()), "who waited as long as told is let in");
        assert!(pace.take(&LIMIT, at(100)).is_err());
        // After a pause all of the burst again, and no more.
        for _ in 0..3 {
            assert_eq!(pace.take(&LIMIT, at(60_000)), Ok(()));
        }
        assert!(pace.take(&LIMIT, at(60_000)).is_err());
        assert_eq!((pace.refused, pace.early), (4, 1));
    }

    #[test]
    fn in_the_long_run_no_more_than_the_rate_is_taken() {
        let mut pace = Pace::default();
        let taken = (0..10_000).filter(|ms| pace.take(&LIMIT, Moment(*ms)).is_ok()).count();
        assert!((100..=103).contains(&taken), "{taken} in ten seconds");
    }
}
