//! What is known of a session: plain data, so that a store outside the process can hold it without another shape.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::history::History;
use crate::clock::Moment;
use crate::protocol::{Capabilities, ClientInfo, LogLevel, Revision};

/// Everything about a session that would survive the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// UUID v4, chosen by the server.
    pub id: Uuid,
    /// When `initialize` was answered.
    pub created: Moment,
    /// When the last request came in or ended, or a stream was open.
    pub last_activity: Moment,
    /// `initialize` was answered. False for a session that a stateless request made: it has no handshake.
    pub initialized: bool,
    /// `notifications/initialized` came.
    pub client_ready: bool,
    /// The negotiated revision.
    pub protocol_version: Revision,
    /// `clientInfo` of `initialize`, strings shortened.
    pub client_info: ClientInfo,
    /// `capabilities` of `initialize`; `null` when they were larger than the bound.
    pub client_capabilities: Capabilities,
    /// The least level that is queued: `logging/setLevel`.
    pub log_level: LogLevel,
    /// Who initialized it, where the request said so and sessions are bound.
    pub owner: Option<Identity>,
    /// Attempts to use the id by others.
    pub intrusions: Intrusions,
    /// JSON-RPC requests; `initialize` is the first.
    pub request_count: u64,
    /// Tool calls among them.
    pub tool_calls: u64,
    /// Handling time of all finished requests, in microseconds.
    pub total_handling_us: u64,
    /// Requests that finished, to average over.
    pub finished_count: u64,
    /// What the findings look at.
    #[serde(default)]
    pub history: History,
    /// What the tools keep.
    pub state: State,
    /// What was found wrong so far, in the order of first sight.
    pub findings: Vec<SeenFinding>,
}

impl Record {
    /// Whether its revision has GET streams on this transport.
    #[must_use]
    pub const fn has_get(&self) -> bool {
        self.protocol_version.requires_accept() && !self.protocol_version.is_stateless()
    }

    /// Mean handling time of the finished requests in milliseconds, to the microsecond: that is what is counted. `None`
    /// before the first.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub fn average_handling_ms(&self) -> Option<f64> {
        (self.finished_count > 0).then(|| (self.total_handling_us as f64 / self.finished_count as f64).round() / 1000.0)
    }
}

/// Who a request comes from, as far as the proxy or the token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user's id.
    pub id: String,
    /// Where it was read.
    pub source: IdentitySource,
}

/// Where an identity was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentitySource {
    /// The `X-User-Id` header.
    XUserId,
    /// The bearer token's `sub` claim, not verified here.
    BearerSub,
}

impl IdentitySource {
    /// As people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::XUserId => "X-User-Id header",
            Self::BearerSub => "sub claim of the bearer token",
        }
    }
}

/// A kind of finding that a session's requests raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFinding {
    /// The rule's id.
    pub id: String,
    /// How often it was raised.
    pub count: u64,
    /// When it was raised first.
    pub first: Moment,
    /// When it was raised last.
    pub last: Moment,
}

/// How often others tried a session's id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intrusions {
    /// Requests with another identity.
    pub other: u64,
    /// Requests without any.
    pub anonymous: u64,
    /// The last of them.
    pub last: Option<Moment>,
}

/// What the tools keep in a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The last message that echo returned.
    pub last_echo: Option<String>,
    /// Echoes so far.
    pub echo_count: u64,
    /// Replays so far.
    pub replay_count: u64,
    /// What echo's `customData` merged; `None` where there was none, as in nearly every session.
    pub custom_data: Option<Box<Map<String, Value>>>,
}
