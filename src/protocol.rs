//! The protocol itself: JSON-RPC messages, errors, and the table of revisions. Knows neither HTTP nor tools.

mod revision;

pub use revision::{FIRST_STATELESS, Revision, Served, is_stateless};
