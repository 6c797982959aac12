//! Findings about a session and its transport: what only several requests together show. From the counters of
//! [`History`](crate::session::history::History); nothing here looks at more than the record and the request that asks.
//!
//! Some rules fire where a request is refused, too: `http` makes those findings from the functions here.

mod handshake;
mod identity;
mod lifetime;
mod transport;

pub use handshake::{ID_REUSED, INITIALIZED_NEVER_SENT};
pub use identity::AUTH_MISSING_ON_SOME;
pub use lifetime::{dead_id, other_replica};
pub use transport::{SESSION_HEADER_MISSING, VERSION_HEADER_MISSING, accept, content_type, version_mismatch};

use super::{Facts, Finding, Rule, Severity};

/// The rules of `ses` and `http`.
pub(super) const TABLES: &[&[Rule]] = &[lifetime::RULES, handshake::RULES, identity::RULES, transport::RULES];
