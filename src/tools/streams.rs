//! The history of GET streams, as tools show it.

use std::time::Duration;

use serde::Serialize;

use crate::session::streams::{End, Streams};
use crate::text::duration;

/// JSON Schema of [`ShownStreams`].
pub const SCHEMA: &str = r#"{
    "type": "object",
    "description": "GET streams so far",
    "properties": {
        "opened": { "type": "integer" },
        "open": { "type": "integer" },
        "endedByTheOtherEnd": { "type": "integer", "description": "By the client, or a proxy between" },
        "displaced": { "type": "integer", "description": "Another stream of the session took their place" },
        "lastLivedMs": { "type": "integer" },
        "lastSilenceMs": { "type": "integer", "description": "How long nothing had been sent on the last one when it ended" },
        "lastEndedBy": { "type": "string" }
    },
    "required": ["opened", "open", "endedByTheOtherEnd", "displaced"]
}"#;

/// The history of GET streams.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownStreams {
    opened: u32,
    open: u64,
    ended_by_the_other_end: u32,
    displaced: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_lived_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_silence_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ended_by: Option<&'static str>,
}

impl ShownStreams {
    /// Of these streams, of which `open` are open.
    pub fn of(streams: &Streams, open: u64) -> Self {
        let last = streams.last();
        Self {
            opened: streams.opened,
            open,
            ended_by_the_other_end: streams.ended_by(End::Remote),
            displaced: streams.ended_by(End::Displaced),
            last_lived_ms: last.map(|last| last.ms),
            last_silence_ms: last.map(|last| last.silence_ms),
            last_ended_by: last.map(|last| match last.end {
                End::Remote if streams.proxied => "the client, or a proxy between",
                End::Remote => "the client",
                End::Displaced => "another stream of the session",
                End::Session => "the end of its session",
                End::Shutdown => "the server",
                End::Polled => "the time that ?wait= gave it",
            }),
        }
    }

    /// `opened 15, open 0, last lived 0.3 s, ended by the client`
    pub fn line(&self) -> String {
        let mut line = format!("opened {}, open {}", self.opened, self.open);
        if let (Some(ms), Some(by)) = (self.last_lived_ms, self.last_ended_by) {
            let lived = Duration::from_millis(ms.into());
            let lived = if ms < 60_000 { format!("{:.1} s", lived.as_secs_f64()) } else { duration(lived) };
            line += &format!(", last lived {lived}, ended by {by}");
        }
        line
    }
}
