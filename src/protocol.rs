//! The protocol itself: JSON-RPC messages, errors, and the table of revisions. Knows neither HTTP nor tools.

mod error;
mod level;
pub mod message;
pub mod meta;
pub mod notice;
mod params;
mod reply;
mod revision;
mod server;

pub use error::RpcError;
pub use level::LogLevel;
pub use message::{Call, Id, Message, Notification};
pub use meta::{Capabilities, ClientInfo, Meta};
pub use params::Params;
pub use reply::{Addressee, Allowance, Answer, Answers, CallStream, Content, Failure, Outgoing, Refused, Reply};
pub use revision::{FIRST_STATELESS, Revision, Served, is_stateless};
pub use server::{INSTRUCTIONS, SERVER_NAME, SERVER_TITLE, SERVER_VERSION, server_info, server_meta};
