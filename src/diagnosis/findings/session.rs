//! Findings of one family.

use super::Rule;

/// The family's rules.
pub const RULES: &[&Rule] = &[];
