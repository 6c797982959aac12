//! The time claims. Clock skew is said, never applied: whether a verifier allows for it is the question.

use std::time::Duration;

use super::{Facts, Finding, Rule};
use crate::diagnosis::findings::Severity;
use crate::diagnosis::headers::title_case;
use crate::diagnosis::quote::quote;
use crate::diagnosis::remedies::Topic;
use crate::diagnosis::token::{Format, Notation, Status, TimeClaim, Times, TokenKind, Unit, When, length};
use crate::text::rfc3339;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.time_format",
        severity: Severity::Error,
        meaning: "A time is not a number of seconds: many verifiers refuse the token",
        fix: "have the issuer write times as JSON numbers: seconds since 1970, without quotes",
        reference: "RFC 7519 section 2, NumericDate",
        check: time_format,
    },
    Rule {
        id: "tok.ms_epoch",
        severity: Severity::Error,
        meaning: "A time is not in seconds: read as seconds it lies thousands of years ahead",
        fix: "write seconds since 1970: in JavaScript Math.floor(Date.now() / 1000)",
        reference: "RFC 7519 section 2, NumericDate",
        check: ms_epoch,
    },
    Rule {
        id: "tok.time_range",
        severity: Severity::Warning,
        meaning: "A time was never set, or lies outside of what calendars hold: some libraries cannot read it",
        fix: "have the issuer write the real time, in seconds since 1970",
        reference: "RFC 7519 section 2, NumericDate",
        check: time_range,
    },
    Rule {
        id: "tok.time_order",
        severity: Severity::Error,
        meaning: "The token ends before it begins: it was never valid",
        fix: "have the issuer write exp after iat and nbf",
        reference: "RFC 7519 sections 4.1.4 to 4.1.6",
        check: time_order,
    },
    Rule {
        id: "tok.expired",
        severity: Severity::Error,
        meaning: "The token has expired",
        fix: "refresh the token or log in again; if that happens all the time, the client does not use its refresh token",
        reference: "RFC 7519 section 4.1.4; RFC 6749 section 1.5",
        check: expired,
    },
    Rule {
        id: "tok.nbf_future",
        severity: Severity::Error,
        meaning: "The token is not valid yet",
        fix: "synchronize the clocks of issuer and verifier (NTP), or allow a few minutes of leeway in the verifier",
        reference: "RFC 7519 section 4.1.5",
        check: nbf_future,
    },
    Rule {
        id: "tok.iat_future",
        severity: Severity::Warning,
        meaning: "The token was issued in the future: the clocks differ, and some verifiers refuse it",
        fix: "synchronize the clocks of issuer and verifier (NTP), or allow a few minutes of leeway in the verifier",
        reference: "RFC 7519 sections 4.1.4 and 4.1.6",
        check: iat_future,
    },
    Rule {
        id: "tok.no_exp",
        severity: Severity::Warning,
        meaning: "The token never expires: strict verifiers refuse it, and a leaked one is good for ever",
        fix: "have the issuer set exp, to an hour or less",
        reference: "RFC 9068 section 2.2; RFC 6750 section 5.3",
        check: no_exp,
    },
    Rule {
        id: "tok.long_life",
        severity: Severity::Info,
        meaning: "The token lives for more than a day: whoever finds it can use it for as long",
        fix: "have the issuer set a life of an hour or less and use refresh tokens",
        reference: "RFC 6750 section 5.3; RFC 9700 section 4.13",
        check: long_life,
    },
    Rule {
        id: "tok.short_life",
        severity: Severity::Info,
        meaning: "The token lives for less than a minute: a client that does not refresh ahead of time meets expired ones",
        fix: "have the issuer set a life of some minutes, or have the client refresh before exp",
        reference: "RFC 6749 section 1.5",
        check: short_life,
    },
];

/// Up to here a difference is probably two clocks: "no more than a few minutes" (RFC 7519 section 4.1.4).
const SKEW_SECONDS: i64 = 300;

/// More than any time zone: no clock is off by so much.
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Longer than this, an access token is long-lived: RFC 6750 section 5.3 wants an hour or less, a day is the longest that
/// authorization servers issue by default.
const LONG_LIFE: Duration = Duration::from_hours(24);

/// Shorter than this, a client that does not refresh ahead of time meets an expired token all the time.
const SHORT_LIFE: Duration = Duration::from_mins(1);

fn written(claim: &TimeClaim) -> &str {
    match claim {
        TimeClaim::Absent => "absent",
        TimeClaim::Unreadable(value) => value,
        TimeClaim::Read(time) => &time.written,
    }
}

/// The times of a token whose claims can be read.
fn times<'a>(facts: &'a Facts<'_>) -> Option<&'a Times> {
    let paseto = || facts.report().filter(|report| report.token.format == Format::Paseto && report.status().is_some());
    facts.signed().or_else(paseto).map(|report| &report.token.times)
}

/// The times of one whose times are all in seconds: with the unit wrong, whatever else they say means nothing.
fn in_seconds<'a>(facts: &'a Facts<'_>) -> Option<&'a Times> {
    times(facts).filter(|times| times.each().into_iter().all(|(_, claim)| unit(claim) == Unit::Seconds))
}

fn unit(claim: &TimeClaim) -> Unit {
    claim.time().map_or(Unit::Seconds, |time| time.unit)
}

fn time_format(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let times = times(facts)?;
    let found = times.each().into_iter().filter_map(|(name, claim)| {
        let what = match claim {
            TimeClaim::Unreadable(value) => format!("{name} is {}, which is no time", quote(value)),
            TimeClaim::Read(time) if time.notation == Notation::Quoted => format!("{name} is a string"),
            TimeClaim::Read(time) if time.notation == Notation::Date && !times.dates => {
                format!("{name} is a date in words")
            }
            _ => return None,
        };
        Some(Finding::new(rule, what, name, written(claim)))
    });
    Finding::joined(found)
}

fn ms_epoch(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let times = times(facts)?;
    let wrong: Vec<_> = times.each().into_iter().filter(|(_, claim)| unit(claim) != Unit::Seconds).collect();
    let (_, first) = wrong.first()?;
    let names: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
    let summary = format!("{} is in {} instead of seconds", names.join(", "), unit(first).name());
    let finding = Finding::new(rule, summary, "now in seconds", &times.now.as_second().to_string());
    Some(wrong.iter().fold(finding, |finding, (name, claim)| finding.and_evidence(name, written(claim))))
}

fn time_range(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let found = in_seconds(facts)?.each().into_iter().filter_map(|(name, claim)| {
        let time = claim.time()?;
        let what = match time.when {
            When::Before => "lies before any calendar",
            When::After => "lies after the year 9999",
            When::At(at) if at.as_second() == 0 => "is 0: it was never set",
            When::At(at) if at.as_second() < 0 => "is negative: before 1970",
            When::At(_) => return None,
        };
        Some(Finding::new(rule, format!("{name} {what}"), name, &time.written))
    });
    Finding::joined(found)
}

fn time_order(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let times = in_seconds(facts)?;
    let when = |claim: &TimeClaim| claim.time().map(|time| time.when);
    let expires = when(&times.expires)?;
    let found = [("iat", &times.issued), ("nbf", &times.not_before)].into_iter().filter_map(|(name, claim)| {
        let late = when(claim).is_some_and(|begins| expires < begins);
        late.then(|| Finding::new(rule, format!("exp lies before {name}"), name, written(claim)))
    });
    Some(Finding::joined(found)?.and_evidence("exp", written(&times.expires)))
}

fn expired(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let times = in_seconds(facts).filter(|times| times.status() == Status::Expired)?;
    let ago = times.expires_in().map_or(0, i64::wrapping_neg);
    let hint = if ago <= SKEW_SECONDS { ": so little may also be clock skew" } else { "" };
    let summary = format!("the token expired {} ago{hint}", length(ago));
    // A gateway that repeats the token's user has read the token, and did not refuse it.
    let read_by = facts.comparisons().iter().find(|found| found.agrees && found.subject.contains("token claim"));
    let Some(read_by) = read_by.filter(|_| facts.credential().is_some_and(|credential| !credential.given)) else {
        let finding = Finding::new(rule, summary, "exp", written(&times.expires));
        return Some(finding.and_evidence("now", &rfc3339(times.now)));
    };
    let names: Vec<String> = read_by.headers.iter().map(|name| title_case(name)).collect();
    let summary = format!(
        "{summary}, and your gateway, which names its user in {}, let it through: it does not check exp",
        names.join(", ")
    );
    let finding = Finding::new(rule, summary, "exp", written(&times.expires)).and_evidence("now", &rfc3339(times.now));
    let fix = "have the gateway compare exp (and aud and iss) itself: to verify the signature alone is not enough; and refresh the \
               token";
    Some(finding.with_fix(fix).fitted(facts, Topic::CheckClaims))
}

fn nbf_future(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let times = in_seconds(facts).filter(|times| times.status() == Status::NotYetValid)?;
    Some(ahead(rule, "nbf", &times.not_before, times))
}

/// Both claims ahead have one cause; nbf is the one that every verifier checks.
fn iat_future(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let times = in_seconds(facts).filter(|times| times.status() != Status::NotYetValid)?;
    times.age().filter(|age| *age < 0)?;
    Some(ahead(rule, "iat", &times.issued, times))
}

fn ahead(rule: &'static Rule, name: &'static str, claim: &TimeClaim, times: &Times) -> Finding {
    let seconds = claim.at().map_or(0, |at| at.as_second() - times.now.as_second());
    let guess = if seconds <= SKEW_SECONDS {
        ": so little is clock skew"
    } else if seconds > DAY_SECONDS {
        ": the claim is wrong, no clock is off by so much"
    } else {
        ""
    };
    let summary = format!("{name} lies {} ahead of this server's clock{guess}", length(seconds));
    Finding::new(rule, summary, name, written(claim)).and_evidence("now", &rfc3339(times.now))
}

fn no_exp(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.signed().filter(|report| report.token.times.expires == TimeClaim::Absent)?;
    if matches!(report.kind, TokenKind::DpopProof | TokenKind::SecurityEvent) {
        return None;
    }
    let of = report.token.claim_str("iss").map_or_else(String::new, |issuer| format!(" of {}", quote(issuer)));
    Some(Finding::new(rule, format!("the token{of} has no exp"), "exp", "absent"))
}

fn life(rule: &'static Rule, facts: &Facts<'_>, fits: fn(&Duration) -> bool) -> Option<Finding> {
    let times = in_seconds(facts)?;
    let life = times.lifetime().and_then(|life| u64::try_from(life).ok()).map(Duration::from_secs).filter(fits)?;
    let summary = format!("the token lives for {}", crate::text::duration(life));
    let finding = Finding::new(rule, summary, "exp", written(&times.expires));
    Some(finding.and_evidence("iat", written(&times.issued)))
}

fn long_life(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    life(rule, facts, |life| *life > LONG_LIFE)
}

fn short_life(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    life(rule, facts, |life| *life < SHORT_LIFE)
}
