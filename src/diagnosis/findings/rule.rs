//! What a rule is, and what it finds.

use serde::Serialize;
use serde_json::{Value, json};

use super::facts::Facts;
use crate::diagnosis::redact;
use crate::diagnosis::remedies::{Remedy, Topic};
use crate::text::shorten;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
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

/// Whether a rule fires: it gets its own row, and makes at most one finding from the facts.
pub type Check = fn(&'static Rule, &Facts<'_>) -> Option<Finding>;

/// What can be wrong: a row of its family's table.
#[derive(Debug)]
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
    /// Whether it fires.
    pub check: Check,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}

/// The check of a rule that fires only where a request is refused, before there are facts: `http` makes its finding, and
/// the corpus of sessions holds that it does.
pub(super) fn where_refused(_: &'static Rule, _: &Facts<'_>) -> Option<Finding> {
    None
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
    /// Where the fix of the product that was seen is documented.
    pub source: Option<&'static str>,
}

/// Characters of a value shown as evidence: a URL fits, a page does not.
const MAX_EVIDENCE: usize = 300;

impl Finding {
    /// A finding with its first piece of evidence. `value` is redacted by its shape and escaped; a header's value is to be
    /// given through [`redact::header`].
    #[must_use]
    pub fn new(rule: &'static Rule, summary: impl Into<String>, what: &str, value: &str) -> Self {
        let finding = Self {
            rule,
            summary: summary.into(),
            evidence: Vec::with_capacity(1),
            fix: rule.fix.to_owned(),
            source: None,
        };
        finding.and_evidence(what, value)
    }

    /// One more piece of evidence.
    #[must_use]
    pub fn and_evidence(mut self, what: &str, value: &str) -> Self {
        let value = redact::value(value).into_owned();
        self.evidence.push(format!("{what}: {}", redact::escape(&shorten(&value, MAX_EVIDENCE))));
        self
    }

    /// A fix of its own instead of the rule's.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// With what the product that was seen has to be told of `topic`, behind the fix so far; unchanged where none was
    /// seen that has something to set.
    #[must_use]
    pub fn fitted(self, facts: &Facts<'_>, topic: Topic) -> Self {
        self.remedied(facts, facts.remedy(topic))
    }

    /// With a product's remedy behind the fix so far.
    #[must_use]
    pub fn remedied(mut self, facts: &Facts<'_>, remedy: Option<Remedy>) -> Self {
        if let Some(remedy) = remedy {
            self.fix = format!("{}; {}", self.fix, facts.remedy_text(&remedy));
            self.source = Some(remedy.source);
        }
        self
    }

    /// The rule's reference, and where the fix is documented.
    #[must_use]
    pub fn reference(&self) -> String {
        let rule = self.rule.reference;
        self.source.map_or_else(|| rule.to_owned(), |source| format!("{rule}; {source}"))
    }

    /// Several findings of one rule as one: its summaries one after the other, all its evidence.
    #[must_use]
    pub fn joined(findings: impl IntoIterator<Item = Self>) -> Option<Self> {
        findings.into_iter().reduce(|mut all, next| {
            all.summary = format!("{}; {}", all.summary, next.summary);
            all.evidence.extend(next.evidence);
            all
        })
    }

    /// For scripts: `id`, `severity`, `summary`, `evidence`, `fix`, `reference`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        #[derive(Serialize)]
        struct FindingJson<'a> {
            id: &'static str,
            severity: Severity,
            summary: &'a str,
            evidence: &'a [String],
            fix: &'a str,
            reference: &'a str,
        }

        json!(FindingJson {
            id: self.rule.id,
            severity: self.rule.severity,
            summary: &self.summary,
            evidence: &self.evidence,
            fix: &self.fix,
            reference: &self.reference(),
        })
    }
}
