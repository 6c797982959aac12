//! The protocol itself: JSON-RPC messages, errors, and the table of revisions. Knows neither HTTP nor tools.

mod error;
pub mod message;
mod revision;

pub use error::RpcError;
pub use message::{Call, Id, Message, Notification, Params};
pub use revision::{FIRST_STATELESS, Revision, Served, is_stateless};
