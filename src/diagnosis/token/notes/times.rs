//! Rules on the time claims (RFC 7519 sections 4.1.4 to 4.1.6). Clock skew is said, never applied: whether a verifier
//! allows for it is the question.

use std::time::Duration;

use super::{Note, quote};
use crate::diagnosis::token::facts::Facts;
use crate::diagnosis::token::format::Format;
use crate::diagnosis::token::kind::Kind;
use crate::diagnosis::token::times::{Claim, Form, LONG_LIFETIME, SHORT_LIFETIME, Status, Unit, When, length};
use crate::text::duration;

/// Up to here a difference is probably two clocks and not a mistake: "no more than a few minutes" (RFC 7519 section
/// 4.1.4).
const SKEW_SECONDS: i64 = 300;

/// Up to here two clocks may explain a difference, one of them set to the wrong time zone; a day is more than any zone.
const CLOCK_OFF_SECONDS: i64 = 24 * 60 * 60;

pub(super) fn observe(facts: &Facts, kind: Kind) -> Vec<Note> {
    let mut notes = Vec::new();
    form(facts, &mut notes);
    now(facts, kind, &mut notes);
    order(facts, &mut notes);
    lifetime(facts, &mut notes);
    notes
}

fn form(facts: &Facts, notes: &mut Vec<Note>) {
    for (name, claim) in facts.times.each() {
        let time = match claim {
            Claim::Absent => continue,
            Claim::Unreadable(value) => {
                notes.push(Note::error(format!(
                    "{name} is {}, which is no time: verifiers refuse the token, for it must be a number of seconds (RFC 7519 \
                     section 2)",
                    quote(value)
                )));
                continue;
            }
            Claim::Read(time) => time,
        };
        if time.unit != Unit::Seconds {
            notes.push(Note::error(format!(
                "{name} is in {}: it must be in seconds (RFC 7519 section 2), a verifier reads {} as a time thousands of years \
                 ahead",
                time.unit.name(),
                quote(&time.written)
            )));
        }
        match time.form {
            Form::Number => {}
            Form::Quoted => notes.push(Note::error(format!(
                "{name} is a string: it must be a number without quotes (RFC 7519 section 2), many libraries refuse it"
            ))),
            // PASETO writes its times so.
            Form::Date if facts.format == Format::Paseto => {}
            Form::Date => notes.push(Note::error(format!(
                "{name} is a date in words: it must be a number of seconds (RFC 7519 section 2)"
            ))),
        }
        match time.when {
            When::At(_) => {}
            When::Before => notes.push(Note::error(format!("{name} is {}: before any calendar", quote(&time.written)))),
            When::After => notes.push(Note::warning(format!(
                "{name} is {}: after the year 9999, some libraries cannot read that",
                quote(&time.written)
            ))),
        }
        if time.written.starts_with('-') {
            notes.push(Note::error(format!("{name} is negative: before 1970")));
        } else if time.written.parse() == Ok(0.0_f64) {
            notes.push(Note::warning(format!("{name} is 0: the value was never set")));
        }
    }
}

fn now(facts: &Facts, kind: Kind, notes: &mut Vec<Note>) {
    let times = &facts.times;
    let skew = |n: i64| {
        if n <= SKEW_SECONDS {
            "; so little is clock skew: synchronize the clocks (NTP), or allow a few minutes in the verifier (RFC 7519 section 4.1.4)"
        } else {
            ""
        }
    };
    match times.status() {
        Status::Expired => {
            let ago = times.expires_in().map(i64::wrapping_neg);
            let text =
                ago.map_or_else(|| "the token has expired".to_owned(), |ago| format!("expired {} ago", length(ago)));
            let hint = ago
                .filter(|ago| *ago <= SKEW_SECONDS)
                .map_or("", |_| "; so little may be clock skew, or a client that refreshes only when it is too late");
            notes.push(Note::error(format!("{text}: the client must refresh it or log in again{hint}")));
        }
        Status::NotYetValid => {
            let ahead = times.not_before.at().map(|from| from.as_second() - times.now.as_second());
            let text = ahead.map_or_else(String::new, |ahead| format!(" for another {}{}", length(ahead), skew(ahead)));
            notes.push(Note::error(format!("nbf lies ahead: verifiers refuse the token{text}")));
        }
        Status::NoExpiry
            if matches!(times.expires, Claim::Absent) && kind != Kind::DpopProof && kind != Kind::SecurityEvent =>
        {
            notes.push(Note::warning(
                "there is no exp: the token is good for ever if it leaks, and strict servers refuse it (RFC 9068 section 2.2)",
            ));
        }
        Status::NoExpiry | Status::Valid => {}
    }
    if let Some(ahead) = times.age().filter(|age| *age < 0).map(i64::wrapping_neg) {
        let guess = if ahead > CLOCK_OFF_SECONDS {
            "the claim is wrong, no clock is off by so much; some verifiers refuse the token"
        } else {
            "this machine's clock is behind the issuer's, or the issuer's is fast"
        };
        notes.push(Note::warning(format!("iat lies {} ahead: {guess}{}", length(ahead), skew(ahead))));
    }
}

fn order(facts: &Facts, notes: &mut Vec<Note>) {
    let when = |claim: &Claim| claim.time().map(|time| time.when);
    let (issued, expires, from) =
        (when(&facts.times.issued), when(&facts.times.expires), when(&facts.times.not_before));
    if let (Some(issued), Some(expires)) = (issued, expires)
        && expires < issued
    {
        notes.push(Note::error("exp is before iat: the token was never valid"));
    }
    if let (Some(from), Some(expires)) = (from, expires)
        && from > expires
    {
        notes.push(Note::error("nbf is after exp: the token is never valid"));
    }
}

fn lifetime(facts: &Facts, notes: &mut Vec<Note>) {
    let Some(life) = facts.times.lifetime().and_then(|life| u64::try_from(life).ok()).map(Duration::from_secs) else {
        return;
    };
    if life > LONG_LIFETIME {
        notes.push(Note::warning(format!(
            "lives for {}: more than a day is long for a token that anybody who finds it can use (RFC 6750 section 5.3)",
            duration(life)
        )));
    } else if life < SHORT_LIFETIME {
        notes.push(Note::info(format!("lives for {} only: the client must refresh all the time", duration(life))));
    }
}
