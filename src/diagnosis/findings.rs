//! Findings: what is wrong, the evidence, and how to mend it. Pure functions from facts; no I/O, no clock, no lock.
//!
//! A [`Rule`] is a row of its family's table, with its check. A [`Finding`] is a rule that fired, with evidence: at most one
//! a rule. No finding without evidence, and none on a healthy request: the corpus under `tests/findings/` holds both sides of
//! every rule.

mod answer;
mod authentication;
pub mod cors;
mod credentials;
mod elsewhere;
mod facts;
mod fitting;
mod headers;
mod identity;
mod rule;
pub mod session;
pub mod token;

pub use answer::{schemas, section, verdict};
pub use authentication::{Authentication, State};
pub use facts::{ClientFacts, Credential, Facts, SessionFacts};
pub use rule::{Check, Finding, Rule, Severity};

/// A group of rules about one thing: every tool that shows the thing shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The `Authorization` header: whether it came, once and whole, and with what.
    Credentials,
    /// Whether there is a token where one should be.
    Presence,
    /// `tok.*`: the token.
    Token,
    /// Headers that say who the user is.
    IdentityHeaders,
    /// `hdr.*`: the way of the request through proxies.
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
    pub const ALL: [Self; 8] = [
        Self::Credentials,
        Self::Presence,
        Self::Token,
        Self::IdentityHeaders,
        Self::Headers,
        Self::Identity,
        Self::Cors,
        Self::Session,
    ];

    /// Its tables, one after the other.
    const fn tables(self) -> &'static [&'static [Rule]] {
        match self {
            Self::Credentials => &[credentials::RULES, elsewhere::RULES],
            Self::Presence => &[token::form::PRESENCE],
            Self::Token => token::TABLES,
            Self::IdentityHeaders => &[headers::identity::RULES],
            Self::Headers => &[headers::path::RULES, headers::public_url::RULES],
            Self::Identity => &[identity::RULES],
            Self::Cors => &[cors::RULES],
            Self::Session => session::TABLES,
        }
    }

    /// Its rules.
    pub fn rules(self) -> impl Iterator<Item = &'static Rule> {
        self.tables().iter().copied().flatten()
    }
}

/// What the given families find wrong, worst first.
#[must_use]
pub fn find(facts: &Facts<'_>, families: &[Family]) -> Vec<Finding> {
    let rules = families.iter().flat_map(|family| family.rules());
    let found = rules.filter_map(|rule| (rule.check)(rule, facts));
    let mut found: Vec<Finding> = found.map(|finding| fitting::fit(finding, facts)).collect();
    // What explains a refusal only where nothing else does.
    if found.iter().any(|finding| finding.rule.severity > Severity::Info) {
        found.retain(|finding| finding.rule.id != token::profile::NOT_AT_JWT);
    }
    sort(&mut found);
    found
}

/// All rules, family by family.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    Family::ALL.into_iter().flat_map(Family::rules)
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
