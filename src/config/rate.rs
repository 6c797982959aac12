//! `MCP_RATE_LIMIT`: how many messages a session may send.

use std::fmt;
use std::time::Duration;

/// The most messages and the largest burst: a slip of units beyond.
const MOST: u32 = 1_000_000;

/// So many messages in a second or a minute, evenly, or so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Messages in a window.
    pub messages: u32,
    /// The window: a second, or a minute.
    pub window: Duration,
    /// Messages at once, after a pause that is long enough.
    pub burst: u32,
}

impl RateLimit {
    /// Reads the variable: `off`, `20/s`, `600/m`, `20/s:40`.
    ///
    /// # Errors
    /// What it may be.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(None);
        }
        let wrong = || {
            format!(
                "must be off, or 1 to {MOST} messages a second or minute (20/s, 600/m), with a burst of as many or more where you want one (20/s:40)"
            )
        };
        let (rate, burst) = text.split_once(':').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
        let (messages, unit) = rate.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse().ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(wrong);
        let window = match unit.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            _ => return Err(wrong()),
        };
        let messages = number(messages)?;
        // Without one, what a window holds.
        let burst = burst.map_or(Ok(messages), number)?;
        if burst < messages {
            return Err(wrong());
        }
        Ok(Some(Self { messages, window, burst }))
    }

    /// So many messages a second.
    #[must_use]
    pub const fn per_second(messages: u32) -> Self {
        Self { messages, window: Duration::from_secs(1), burst: messages }
    }

    /// Time between two messages that come evenly, in microseconds: at least one.
    #[must_use]
    pub fn interval_us(&self) -> u64 {
        u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX) / u64::from(self.messages)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.window == Duration::from_secs(1) { 's' } else { 'm' };
        write!(f, "{}/{unit}", self.messages)?;
        if self.burst == self.messages { Ok(()) } else { write!(f, ":{}", self.burst) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_off_or_messages_in_a_time() {
        assert_eq!(RateLimit::parse("off"), Ok(None));
        for text in ["20/s", "600/m", "20/s:40", "1000000/s"] {
            assert_eq!(RateLimit::parse(text).unwrap().unwrap().to_string(), text);
        }
        assert_eq!(RateLimit::parse("20/s:20").unwrap().unwrap().to_string(), "20/s");
        assert_eq!(RateLimit::parse("20/s").unwrap().unwrap().interval_us(), 50_000);
        for bad in ["", "20", "20/h", "0/s", "-1/s", "20/s:", "20/s:19", "20/s:x", "1000001/s", "on"] {
            assert!(RateLimit::parse(bad).unwrap_err().contains("20/s:40"), "{bad}");
        }
    }
}
