//! Findings: what is wrong, the evidence, and how to mend it. Pure functions from facts; no I/O, no clock, no lock.
//!
//! A [`Rule`] is everything about a finding that does not depend on the request: a row of its family's table. A
//! [`Finding`] is a rule that fired, with evidence. No finding without evidence, and none on a healthy request: the corpus
//! under `tests/findings/` holds both sides of every rule.

mod answer;
pub mod cors;
mod counts;
pub mod headers;
pub mod identity;
pub mod session;
pub mod token;

pub use answer::{schemas, section, verdict};
pub use counts::FindingCounts;

use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use serde_json::Value;

use super::redact;
use crate::config::Config;
use crate::object::object;
use crate::protocol::Revision;
use crate::session::Identity;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Breaks something, or soon will.
    Warning,
    /// Breaks the login, the session or the stream.
    Error,
}

impl Severity {
    /// `info`, `warning`, `error`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// The mark before a finding in a text.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Info => "ℹ️",
            Self::Warning => "⚠️",
            Self::Error => "❌",
        }
    }
}

/// What a kind of finding is: a row of its family's table.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// `FAMILY.NAME`: `tok.aud_slash`.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one plain sentence without the request's own values: for tables.
    pub meaning: &'static str,
    /// How to mend it, in the imperative.
    pub fix: &'static str,
    /// The rule it rests on: RFC or specification with its section, or the product's documentation.
    pub reference: &'static str,
}

/// A rule that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What is wrong here, in one plain sentence.
    pub summary: String,
    /// What was seen: `NAME: VALUE`, secrets hidden. Never empty.
    pub evidence: Vec<String>,
    /// How to mend it, in the imperative, with this request's own values where that helps.
    pub fix: String,
}

impl Finding {
    /// A finding with its first piece of evidence. `value` is redacted by its shape and escaped; a header's value is to be
    /// given through [`redact::header`].
    #[must_use]
    pub fn new(rule: &'static Rule, summary: impl Into<String>, what: &str, value: &str) -> Self {
        let finding = Self { rule, summary: summary.into(), evidence: Vec::with_capacity(1), fix: rule.fix.to_owned() };
        finding.and_evidence(what, value)
    }

    /// One more piece of evidence.
    #[must_use]
    pub fn and_evidence(mut self, what: &str, value: &str) -> Self {
        let value = redact::value(value).into_owned();
        self.evidence.push(format!("{what}: {}", redact::escape(&crate::text::shorten(&value, MAX_EVIDENCE))));
        self
    }

    /// A fix of its own instead of the rule's.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// For scripts: `id`, `severity`, `summary`, `evidence`, `fix`, `reference`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object! {
            "id": self.rule.id,
            "severity": self.rule.severity.name(),
            "summary": self.summary,
            "evidence": self.evidence,
            "fix": self.fix,
            "reference": self.rule.reference,
        }
    }
}

/// Characters of a value shown as evidence: a URL fits, a page does not.
const MAX_EVIDENCE: usize = 300;

/// A group of rules that one tool shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `tok.*`: the bearer token.
    Token,
    /// `hdr.*`: headers and the proxies that set them.
    Headers,
    /// `id.*`: whether headers, token and session agree on who it is.
    Identity,
    /// `cors.*`: browsers.
    Cors,
    /// `ses.*` and `http.*`: what the session's requests did so far.
    Session,
}

impl Family {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Token, Self::Headers, Self::Identity, Self::Cors, Self::Session];
}

/// The facts of one request that the families look at.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// Path and query as received.
    pub uri: &'a Uri,
    /// All headers, repeated ones each.
    pub headers: &'a HeaderMap,
    /// The revision that the request is answered in.
    pub revision: Revision,
    /// Configuration.
    pub config: &'a Config,
    /// Who the session is bound to, if there is one and it is.
    pub owner: Option<&'a Identity>,
    /// Now.
    pub now: Timestamp,
}

/// What the given families find wrong with a request. The session's family looks at a record instead.
#[must_use]
pub fn of_request(facts: &Facts<'_>, families: &[Family]) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in families {
        match family {
            Family::Token => found.extend(token::of_request(facts)),
            Family::Headers => found.extend(headers::of_request(facts)),
            Family::Identity => found.extend(identity::of_request(facts)),
            Family::Cors => found.extend(cors::of_request(facts)),
            Family::Session => {}
        }
    }
    found
}

/// All rules, family by family.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [token::RULES, headers::RULES, identity::RULES, cors::RULES, session::RULES].into_iter().flatten().copied()
}

/// Worst first; findings of the same severity keep their order.
pub fn sort(findings: &mut Vec<Finding>) {
    // Each into its place: they are few, and the library's stable sort is 9 KB of code for every type that it sorts.
    let mut sorted: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings.drain(..) {
        let at = sorted.partition_point(|before| before.rule.severity >= finding.rule.severity);
        sorted.insert(at, finding);
    }
    *findings = sorted;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_has_an_id_of_its_family_and_says_what_to_do() {
        let mut ids = HashSet::new();
        for rule in rules() {
            let (family, name) = rule.id.split_once('.').unwrap();
            assert!(["tok", "hdr", "id", "cors", "ses", "http"].contains(&family), "{}", rule.id);
            assert!(
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            assert!(ids.insert(rule.id), "{} twice", rule.id);
            for text in [rule.meaning, rule.fix, rule.reference] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text:?}", rule.id);
            }
        }
    }
}
