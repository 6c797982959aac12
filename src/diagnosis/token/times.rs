//! The time claims: NumericDate values (RFC 7519 section 2) as they are found, not as they should be.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// At or above this, a value is milliseconds: 100 000 000 000 s is the year 5138, 100 000 000 000 ms is 1973.
const MILLISECONDS_FROM: f64 = 1e11;
/// At or above this, microseconds.
const MICROSECONDS_FROM: f64 = 1e14;
/// At or above this, nanoseconds.
const NANOSECONDS_FROM: f64 = 1e17;
/// 9999-12-31 in seconds: what people write for "never". Not milliseconds of 1978.
const END_OF_9999: std::ops::RangeInclusive<f64> = 253_370_764_800.0..=253_402_300_800.0;

/// 0001-01-01 in seconds: RFC 3339 has no way to write what was before.
const YEAR_ONE: i64 = -62_135_596_800;

/// The unit a time was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// As RFC 7519 section 2 wants it.
    Seconds,
    /// JavaScript's `Date.now()`.
    Milliseconds,
    /// Python's and Go's microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    /// `seconds`, `milliseconds`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    const fn per_second(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Milliseconds => 1e3,
            Self::Microseconds => 1e6,
            Self::Nanoseconds => 1e9,
        }
    }

    fn of(magnitude: f64) -> Self {
        match magnitude {
            m if m >= NANOSECONDS_FROM => Self::Nanoseconds,
            m if m >= MICROSECONDS_FROM => Self::Microseconds,
            m if m >= MILLISECONDS_FROM && !END_OF_9999.contains(&m) => Self::Milliseconds,
            _ => Self::Seconds,
        }
    }
}

/// How a time was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// A JSON number, as it should be.
    Number,
    /// A number in quotes.
    Quoted,
    /// A date and time in words: RFC 3339.
    Date,
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// Before the year 1.
    Before,
    /// Then.
    At(Timestamp),
    /// After the year 9999.
    After,
}

/// One time claim that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Time {
    /// As written, without quotes.
    pub written: String,
    /// What it means.
    pub when: When,
    /// In which unit.
    pub unit: Unit,
    /// In which form.
    pub notation: Notation,
}

impl Time {
    /// Reads a claim's value.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(Self::from_number(number.as_f64()?, number.to_string(), Notation::Number)),
            Value::String(text) => {
                let text = text.trim();
                if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
                    return Some(Self::from_number(number, text.to_owned(), Notation::Quoted));
                }
                let at = text.parse().ok()?;
                Some(Self {
                    written: text.to_owned(),
                    when: When::At(at),
                    unit: Unit::Seconds,
                    notation: Notation::Date,
                })
            }
            _ => None,
        }
    }

    fn from_number(number: f64, written: String, notation: Notation) -> Self {
        let unit = Unit::of(number.abs());
        let seconds = number / unit.per_second();
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and jiff refuses what is out of range")]
        let (whole, nanos) = (seconds.floor() as i64, ((seconds - seconds.floor()) * 1e9) as i32);
        let when = match Timestamp::new(whole, nanos) {
            Ok(_) if whole < YEAR_ONE => When::Before,
            Ok(at) => When::At(at),
            Err(_) if whole < 0 => When::Before,
            Err(_) => When::After,
        };
        Self { written, when, unit, notation }
    }

    /// The moment, if a calendar has it.
    #[must_use]
    pub const fn at(&self) -> Option<Timestamp> {
        match self.when {
            When::At(at) => Some(at),
            When::Before | When::After => None,
        }
    }
}

/// A time claim.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum TimeClaim {
    /// Not there.
    #[default]
    Absent,
    /// Read.
    Read(Time),
    /// There, but no time: its value as JSON, shortened.
    Unreadable(String),
}

impl TimeClaim {
    fn of(claims: &Map<String, Value>, name: &str) -> Self {
        match claims.get(name) {
            None => Self::Absent,
            Some(value) => Time::read(value)
                .map_or_else(|| Self::Unreadable(crate::text::shorten(&value.to_string(), 40)), Self::Read),
        }
    }

    /// Whether it is absent or written as RFC 7519 section 2 wants it; with `dates`, as PASETO does.
    #[must_use]
    pub fn is_seconds(&self, dates: bool) -> bool {
        match self {
            Self::Absent => true,
            Self::Unreadable(_) => false,
            Self::Read(time) => time.unit == Unit::Seconds && (time.notation == Notation::Number || dates),
        }
    }

    /// The time, if it was read.
    #[must_use]
    pub const fn time(&self) -> Option<&Time> {
        match self {
            Self::Read(time) => Some(time),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }

    /// The moment, if it was read and a calendar has it.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        self.time()?.at()
    }
}

/// Whether the token is good at this time, by its claims alone and without any leeway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `exp` is now or past (RFC 7519 section 4.1.4).
    Expired,
    /// `exp` lies ahead and `nbf` does not.
    Valid,
    /// `nbf` lies ahead (RFC 7519 section 4.1.5).
    NotYetValid,
    /// There is no `exp`.
    NoExpiry,
    /// A time is written so that verifiers refuse it, or read another one.
    Unknown,
}

impl Status {
    /// As shown: `EXPIRED`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "EXPIRED",
            Self::Valid => "VALID",
            Self::NotYetValid => "NOT YET VALID",
            Self::NoExpiry => "NO EXPIRY",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The time claims of a token, and when they were looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// `iat`.
    pub issued: TimeClaim,
    /// `exp`.
    pub expires: TimeClaim,
    /// `nbf`.
    pub not_before: TimeClaim,
    /// When it was looked at.
    pub now: Timestamp,
    /// Times are to be dates in words, as PASETO has them, and not numbers of seconds.
    pub dates: bool,
}

impl Times {
    /// Reads the claims.
    #[must_use]
    pub fn of(claims: &Map<String, Value>, now: Timestamp) -> Self {
        let claim = |name| TimeClaim::of(claims, name);
        Self { issued: claim("iat"), expires: claim("exp"), not_before: claim("nbf"), now, dates: false }
    }

    /// Each with the claim's name.
    #[must_use]
    pub const fn each(&self) -> [(&'static str, &TimeClaim); 3] {
        [("iat", &self.issued), ("exp", &self.expires), ("nbf", &self.not_before)]
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = When::At(self.now);
        let expires = self.expires.time().map(|time| time.when);
        let in_seconds = |time: &&Time| time.unit == Unit::Seconds;
        // However it is written, whoever can read it refuses the token, and so does whoever cannot.
        if self.expires.time().filter(in_seconds).is_some_and(|expires| expires.when <= now) {
            Status::Expired
        } else if [&self.expires, &self.not_before].into_iter().any(|claim| !claim.is_seconds(self.dates)) {
            Status::Unknown
        } else if self.not_before.time().is_some_and(|from| from.when > now) {
            Status::NotYetValid
        } else if expires.is_none() {
            Status::NoExpiry
        } else {
            Status::Valid
        }
    }

    /// Seconds until `exp`; negative when it is past.
    #[must_use]
    pub fn expires_in(&self) -> Option<i64> {
        Some(seconds_between(self.now, self.expires.at()?))
    }

    /// Seconds since `iat`; negative when it lies ahead.
    #[must_use]
    pub fn age(&self) -> Option<i64> {
        Some(seconds_between(self.issued.at()?, self.now))
    }

    /// Seconds from `iat`, else `nbf`, to `exp`; negative when they are in the wrong order.
    #[must_use]
    pub fn lifetime(&self) -> Option<i64> {
        let from = self.issued.at().or_else(|| self.not_before.at())?;
        Some(seconds_between(from, self.expires.at()?))
    }
}

/// How long so many seconds are, for people; whichever way they go.
#[must_use]
pub fn length(seconds: i64) -> String {
    crate::text::duration(Duration::from_secs(seconds.unsigned_abs()))
}

/// Whole seconds from `a` to `b`, rounded down.
fn seconds_between(a: Timestamp, b: Timestamp) -> i64 {
    let nanos = b.as_nanosecond() - a.as_nanosecond();
    i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> (String, Unit, Notation) {
        let time = Time::read(value).unwrap();
        (time.at().map_or_else(|| format!("{:?}", time.when), |at| at.to_string()), time.unit, time.notation)
    }

    #[test]
    fn a_time_is_read_in_whatever_unit_and_form_it_came() {
        use {
            Notation::{Date, Number, Quoted},
            Unit::{Microseconds, Milliseconds, Nanoseconds, Seconds},
        };
        let at = "2018-01-18T01:30:22Z".to_owned();
        for (value, expected) in [
            (json!(1_516_239_022), (at.clone(), Seconds, Number)),
            (json!("1516239022"), (at.clone(), Seconds, Quoted)),
            (json!(1_516_239_022_000_u64), (at.clone(), Milliseconds, Number)),
            (json!(1_516_239_022_000_000_u64), (at.clone(), Microseconds, Number)),
            (json!(1_516_239_022_000_000_000_u64), (at.clone(), Nanoseconds, Number)),
            (json!("2018-01-18T01:30:22Z"), (at, Seconds, Date)),
            (json!(1_516_239_022.5), ("2018-01-18T01:30:22.5Z".to_owned(), Seconds, Number)),
            (json!(-1.5), ("1969-12-31T23:59:58.5Z".to_owned(), Seconds, Number)),
            (json!(253_402_300_799_u64), ("After".to_owned(), Seconds, Number)),
            (json!(1e300), ("After".to_owned(), Nanoseconds, Number)),
            (json!(-1e300), ("Before".to_owned(), Nanoseconds, Number)),
        ] {
            assert_eq!(read(&value), expected, "{value}");
        }
        for none in [json!(null), json!("tomorrow"), json!("NaN"), json!("inf"), json!([1]), json!(true)] {
            assert_eq!(Time::read(&none), None, "{none}");
        }
    }

    #[test]
    fn a_token_is_expired_from_the_second_of_its_exp_on() {
        let status = |claims: Value, now: i64| {
            Times::of(claims.as_object().unwrap(), Timestamp::from_second(now).unwrap()).status()
        };
        assert_eq!(status(json!({"exp": 100}), 99), Status::Valid);
        assert_eq!(status(json!({"exp": 100}), 100), Status::Expired);
        assert_eq!(status(json!({"exp": 100, "nbf": 50}), 49), Status::NotYetValid);
        assert_eq!(status(json!({"exp": 100, "nbf": 50}), 50), Status::Valid);
        assert_eq!(status(json!({"iat": 1}), 50), Status::NoExpiry);
        for unclear in [json!("soon"), json!(null), json!("100"), json!(100_000_000_000_i64)] {
            assert_eq!(status(json!({"exp": unclear}), 50), Status::Unknown);
        }
        assert_eq!(status(json!({"exp": "40"}), 50), Status::Expired);
    }

    #[test]
    fn differences_have_a_sign() {
        let now = Timestamp::from_second(1000).unwrap();
        let times = Times::of(json!({"iat": 1300, "exp": 670}).as_object().unwrap(), now);
        assert_eq!((times.age(), times.expires_in(), times.lifetime()), (Some(-300), Some(-330), Some(-630)));
    }
}
