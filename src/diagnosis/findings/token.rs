//! Findings of one family.

use super::Rule;

/// The family's rules.
pub const RULES: &[&Rule] = &[];

/// What is wrong.
#[must_use]
pub fn of_request(_: &super::Facts<'_>) -> Vec<super::Finding> {
    Vec::new()
}
