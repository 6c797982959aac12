//! The time claims. Clock skew is said, never applied: whether a verifier allows for it is the question.

use std::time::Duration;

use super::{Finding, Report, quote};
use crate::diagnosis::findings::{Rule, Severity};
use crate::diagnosis::token::{Claim, Kind, LONG_LIFETIME, Status, Unit};
use crate::text::{duration, rfc3339};

pub(super) const EXPIRED: Rule = Rule {
    id: "tok.expired",
    severity: Severity::Error,
    meaning: "The token has expired",
    fix: "refresh the token or log in again; if that happens all the time, the client does not use its refresh token",
    reference: "RFC 7519 section 4.1.4; RFC 6749 section 1.5",
};
pub(super) const NBF_FUTURE: Rule = Rule {
    id: "tok.nbf_future",
    severity: Severity::Error,
    meaning: "The token is not valid yet",
    fix: "synchronize the clocks of issuer and verifier (NTP), or allow a minute of leeway in the verifier",
    reference: "RFC 7519 section 4.1.5",
};
pub(super) const IAT_FUTURE: Rule = Rule {
    id: "tok.iat_future",
    severity: Severity::Warning,
    meaning: "The token was issued in the future: the clocks differ, and some verifiers refuse it",
    fix: "synchronize the clocks of issuer and verifier (NTP), or allow a minute of leeway in the verifier",
    reference: "RFC 7519 section 4.1.6",
};
pub(super) const MS_EPOCH: Rule = Rule {
    id: "tok.ms_epoch",
    severity: Severity::Error,
    meaning: "A time is not in seconds: read as seconds it lies thousands of years ahead",
    fix: "write seconds since 1970: in JavaScript Math.floor(Date.now() / 1000)",
    reference: "RFC 7519 section 2, NumericDate",
};
pub(super) const NO_EXP: Rule = Rule {
    id: "tok.no_exp",
    severity: Severity::Warning,
    meaning: "The token never expires: strict verifiers refuse it, and a leaked one is good for ever",
    fix: "have the issuer set exp, to an hour or less",
    reference: "RFC 9068 section 2.2; RFC 6750 section 5.3",
};
pub(super) const LONG_LIFE: Rule = Rule {
    id: "tok.long_life",
    severity: Severity::Info,
    meaning: "The token lives for more than a day: whoever finds it can use it for as long",
    fix: "have the issuer set a life of an hour or less and use refresh tokens",
    reference: "RFC 6750 section 5.3; RFC 9700 section 4.13",
};

/// Up to here a difference is probably two clocks: "no more than a few minutes" (RFC 7519 section 4.1.4).
const SKEW_SECONDS: i64 = 300;

fn length(seconds: i64) -> String {
    duration(Duration::from_secs(seconds.unsigned_abs()))
}

fn written(claim: &Claim) -> String {
    claim.time().map(|time| time.written.clone()).unwrap_or_default()
}

fn in_seconds(claim: &Claim) -> bool {
    claim.time().is_none_or(|time| time.unit == Unit::Seconds)
}

pub(super) fn of(report: &Report) -> Vec<Finding> {
    let times = &report.facts.times;
    let wrong_units: Vec<_> = times.each().into_iter().filter(|(_, claim)| !in_seconds(claim)).collect();
    if !wrong_units.is_empty() {
        // One finding for all: with the unit wrong, whatever else they say means nothing.
        let names: Vec<&str> = wrong_units.iter().map(|(name, _)| *name).collect();
        let unit = wrong_units.iter().find_map(|(_, claim)| claim.time()).map_or("", |time| time.unit.name());
        let summary = format!("{} is in {unit} instead of seconds", names.join(", "));
        let mut finding = Finding::new(&MS_EPOCH, summary, "now in seconds", &times.now.as_second().to_string());
        for (name, claim) in wrong_units {
            finding = finding.and_evidence(name, &written(claim));
        }
        return vec![finding];
    }
    let now = rfc3339(times.now);
    let mut findings = Vec::new();
    match times.status() {
        Status::Expired => {
            let ago = times.expires_in().map_or(0, i64::wrapping_neg);
            let hint = if ago <= SKEW_SECONDS { ": so little may also be clock skew" } else { "" };
            let summary = format!("the token expired {} ago{hint}", length(ago));
            let mut finding =
                Finding::new(&EXPIRED, summary, "exp", &written(&times.expires)).and_evidence("now", &now);
            if let Some(life) = times.lifetime() {
                finding = finding.and_evidence("life", &length(life));
            }
            findings.push(finding);
        }
        Status::NotYetValid => findings.push(ahead(&NBF_FUTURE, "nbf", &times.not_before, report, &now)),
        Status::NoExpiry
            if times.expires == Claim::Absent && !matches!(report.kind, Kind::DpopProof | Kind::SecurityEvent) =>
        {
            let issuer = report.facts.claim_str("iss").unwrap_or("an issuer that it does not name");
            let summary = format!("the token of {} has no exp", quote(issuer));
            findings.push(Finding::new(&NO_EXP, summary, "exp", "absent"));
        }
        Status::NoExpiry | Status::Valid => {}
    }
    // Both claims ahead have one cause; nbf is the one that every verifier checks.
    if times.age().is_some_and(|age| age < 0) && times.status() != Status::NotYetValid {
        findings.push(ahead(&IAT_FUTURE, "iat", &times.issued, report, &now));
    }
    let life = times.lifetime().and_then(|life| u64::try_from(life).ok()).map(Duration::from_secs);
    if let Some(life) = life.filter(|life| *life > LONG_LIFETIME) {
        let summary = format!("the token lives for {}", duration(life));
        let finding = Finding::new(&LONG_LIFE, summary, "exp", &written(&times.expires));
        findings.push(finding.and_evidence("iat", &written(&times.issued)));
    }
    findings
}

fn ahead(rule: &'static Rule, name: &'static str, claim: &Claim, report: &Report, now: &str) -> Finding {
    let times = &report.facts.times;
    let seconds = claim.at().map_or(0, |at| at.as_second() - times.now.as_second());
    let guess = if seconds <= SKEW_SECONDS { ": so little is clock skew" } else { "" };
    let summary = format!("{name} lies {} ahead of this server's clock{guess}", length(seconds));
    Finding::new(rule, summary, name, &written(claim)).and_evidence("now", now)
}
