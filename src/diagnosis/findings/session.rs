//! Findings about a session and its transport: what only several requests together show. From the counters of
//! [`History`](crate::session::history::History) and what is remembered of the client; nothing here looks at more than those
//! and the request that asks.
//!
//! Some rules fire where a request is refused, too: `http` makes those findings from the functions here.

mod clients;
mod handshake;
mod identity;
mod lifetime;
mod streams;
mod transport;

pub use clients::{again, dropped, sse_fallback};
pub use handshake::{ID_REUSED, INITIALIZED_NEVER_SENT};
pub use identity::AUTH_MISSING_ON_SOME;
pub use lifetime::{dead_id, other_replica, unknown_id};
pub use transport::{
    VERSION_HEADER_MISSING, accept, content_type, handle_header_missing, session_missing, session_twice,
    version_mismatch,
};

use super::{Facts, Finding, Rule, Severity};

/// The rules of `ses` and `http`.
pub(super) const TABLES: &[&[Rule]] =
    &[lifetime::RULES, streams::RULES, clients::RULES, handshake::RULES, identity::RULES, transport::RULES];
