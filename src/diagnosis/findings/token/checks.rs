//! What was compared of a token, and what came of it: each on its own, for a verifier refuses for one of them alone.

use serde::Serialize;

use super::audience::{self, UNCHECKED};
use super::{Facts, Finding};
use crate::diagnosis::findings::Severity;
use crate::diagnosis::quote::quote;
use crate::diagnosis::token::{Report, Status, TimeClaim};
use crate::diagnosis::verification::{LEEWAY_SECONDS, Verification};

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// Not compared.
    NotChecked,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `signature`, `exp`, `nbf`, `iss`, `aud`, `scopes`.
    pub name: &'static str,
    /// What came of it.
    pub result: Outcome,
    /// With what, or why not; the finding that says more.
    pub detail: String,
}

impl Check {
    fn new(name: &'static str, result: Outcome, detail: impl Into<String>) -> Self {
        Self { name, result, detail: detail.into() }
    }

    /// `aud: passed, as MCP_PUBLIC_URL says`.
    #[must_use]
    pub fn line(&self) -> String {
        let result = match self.result {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::NotChecked => "not checked",
        };
        format!("{}: {result}, {}", self.name, self.detail)
    }
}

/// What was compared; `found` are the findings on the token. Empty where there is none that was read.
#[must_use]
pub fn checks(facts: &Facts<'_>, found: &[Finding]) -> Vec<Check> {
    let Some(report) = facts.signed() else { return Vec::new() };
    let raised = |id: &'static str| found.iter().any(|finding| finding.rule.id == id).then_some(id);
    let mut checks = vec![signature(facts)];
    checks.push(time(report, "exp", &report.token.times.expires, raised("tok.expired")));
    checks.push(time(report, "nbf", &report.token.times.not_before, raised("tok.nbf_future")));
    let expected = facts.expected();
    checks.push(match raised("tok.iss_mismatch") {
        Some(id) => Check::new("iss", Outcome::Failed, id),
        None if expected.issuers.is_empty() => {
            Check::new("iss", Outcome::NotChecked, "nothing to compare it with: pass issuer, or set MCP_EXPECT_ISSUER")
        }
        None if report.token.claim_str("iss").is_none() => Check::new("iss", Outcome::Failed, "the token has none"),
        None => Check::new("iss", Outcome::Passed, format!("as {} says", expected.issuers.by)),
    });
    checks.push(aud(facts, found));
    checks.push(match raised("tok.scope_insufficient") {
        Some(id) => Check::new("scopes", Outcome::Failed, id),
        None if expected.scopes.is_empty() => Check::new(
            "scopes",
            Outcome::NotChecked,
            "nothing to compare them with: pass scopes, or set MCP_EXPECT_SCOPES",
        ),
        None => Check::new("scopes", Outcome::Passed, format!("all that {} says", expected.scopes.by)),
    });
    checks
}

fn signature(facts: &Facts<'_>) -> Check {
    let (result, detail) = match facts.verification() {
        Verification::NotAsked => {
            (Outcome::NotChecked, "there are no keys: pass jwks, or set MCP_EXPECT_JWKS".to_owned())
        }
        Verification::NotPossible(why) => (Outcome::NotChecked, why.clone()),
        Verification::NoKey(_) => (Outcome::NotChecked, "tok.key_unknown".to_owned()),
        Verification::Verified { kid, alg } => {
            let kid = kid.as_ref().map_or_else(|| "a key without kid".to_owned(), |kid| format!("key {}", quote(kid)));
            let of = facts.keys().map_or("", |keys| keys.origin.name.as_str());
            (Outcome::Passed, format!("by {kid} ({alg}) of {of}"))
        }
        Verification::Failed(_) => (Outcome::Failed, "tok.signature_invalid".to_owned()),
        Verification::Refused(why) => (Outcome::Failed, why.clone()),
    };
    Check::new("signature", result, detail)
}

/// `exp` or `nbf`, with the leeway that verifiers allow for.
fn time(report: &Report, name: &'static str, claim: &TimeClaim, late: Option<&'static str>) -> Check {
    let times = &report.token.times;
    if *claim == TimeClaim::Absent {
        return Check::new(name, Outcome::NotChecked, "the token has none");
    }
    if !claim.is_seconds(times.dates) {
        return Check::new(name, Outcome::Failed, "it is not a number of seconds");
    }
    let Some(id) = late else { return Check::new(name, Outcome::Passed, "by this server's clock") };
    let off = claim.at().map(|at| (at.as_second() - times.now.as_second()).abs());
    if off.is_some_and(|off| off < LEEWAY_SECONDS) {
        return Check::new(name, Outcome::Passed, format!("but only with a leeway of {LEEWAY_SECONDS} s: {id}"));
    }
    Check::new(name, Outcome::Failed, id)
}

fn aud(facts: &Facts<'_>, found: &[Finding]) -> Check {
    let is_audience =
        |finding: &&Finding| finding.rule.id.starts_with("tok.aud_") || finding.rule.id == "tok.wrong_api";
    let by = facts.expected().audiences.by;
    match found.iter().find(is_audience).map(|finding| finding.rule.id) {
        Some(UNCHECKED) => {
            Check::new("aud", Outcome::NotChecked, "nothing to compare it with: pass resource, or set MCP_PUBLIC_URL")
        }
        Some(id) => Check::new("aud", Outcome::Failed, id),
        None if !audience::is_judged(facts) => {
            Check::new("aud", Outcome::NotChecked, "a token of this kind is for others")
        }
        None if by.is_empty() => Check::new("aud", Outcome::Passed, "this request's URL"),
        None => Check::new("aud", Outcome::Passed, format!("as {by} says")),
    }
}

/// What the token's status is, beyond its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The status: by its times, unless its signature is proven wrong.
    pub status: &'static str,
    /// What the status rests on, for a line; empty where it says all.
    pub note: String,
}

/// The status of a token in the light of all that was compared: VALID by its times is not yet good.
#[must_use]
pub fn standing(facts: &Facts<'_>, found: &[Finding], checks: &[Check]) -> Option<Standing> {
    let status = facts.signed()?.status()?;
    let valid = status == Status::Valid;
    if !valid {
        return Some(Standing { status: status.name(), note: String::new() });
    }
    if facts.verification().is_refusal() {
        return Some(Standing { status: "INVALID", note: "the signature proves nothing".to_owned() });
    }
    let error =
        found.iter().find(|finding| finding.rule.severity == Severity::Error && finding.rule.id.starts_with("tok."));
    let of = |result: Outcome, names: &[&str]| {
        let names = checks.iter().filter(|check| check.result == result && names.contains(&check.name));
        names.map(|check| check.name).collect::<Vec<_>>().join(", ")
    };
    let missing = of(Outcome::NotChecked, &["signature", "iss", "aud"]);
    let note = if let Some(error) = error {
        format!("by its times alone: {}", error.rule.id)
    } else if missing.is_empty() {
        format!("passed: {}", of(Outcome::Passed, &["signature", "exp", "nbf", "iss", "aud", "scopes"]))
    } else {
        format!("by its times alone; not checked: {missing}")
    };
    Some(Standing { status: status.name(), note })
}

/// What the verdict says of a signed token that nothing is wrong with.
pub(super) fn summary(facts: &Facts<'_>, found: &[Finding]) -> String {
    let checks = checks(facts, found);
    let named = |result: Outcome| {
        let name = |check: &Check| match check.name {
            "iss" => "issuer",
            "aud" => "audience",
            other => other,
        };
        let of: Vec<_> = checks.iter().filter(|check| check.result == result).collect();
        of.into_iter().map(|check| (check.name, name(check))).collect::<Vec<_>>()
    };
    let (passed, unchecked) = (named(Outcome::Passed), named(Outcome::NotChecked));
    let list = |names: Vec<&str>| names.join(", ");
    let is_verified = facts.verification().is_verified();
    let no_audience = unchecked.iter().any(|(name, _)| *name == "aud");
    let begin = if no_audience {
        "Audience not checked (nothing to compare it with: pass resource, or set MCP_PUBLIC_URL); "
    } else {
        ""
    };
    // A token has exp or not, and nbf or not: that there is nothing to compare is no omission.
    let open: Vec<&str> =
        unchecked.iter().filter(|(name, _)| !matches!(*name, "aud" | "exp" | "nbf")).map(|(_, title)| *title).collect();
    let not = if open.is_empty() { String::new() } else { format!("; not checked: {}", list(open)) };
    if is_verified {
        let Some(signed) = checks.first() else { return String::new() };
        let others: Vec<&str> = passed.iter().filter(|(name, _)| *name != "signature").map(|(name, _)| *name).collect();
        let others = if others.is_empty() { "nothing else".to_owned() } else { list(others) };
        return format!("{begin}signature VERIFIED {}; compared, too: {others}{not}", signed.detail);
    }
    let mut compared = vec!["form", "times", "claims"];
    compared
        .extend(passed.iter().filter(|(name, _)| matches!(*name, "iss" | "aud" | "scopes")).map(|(_, title)| *title));
    let last = compared.pop().unwrap_or_default();
    let no = if begin.is_empty() { "No" } else { "no" };
    format!("{begin}{no} problem found in the token's {} and {last}{not}", list(compared))
}
