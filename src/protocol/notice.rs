//! Notifications of the server's that wait for a stream, kept as small as they can be.
//!
//! Nearly all of them say that a call has finished, and nearly none is ever fetched: what is kept are the facts, and the
//! JSON is written when a client takes it.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Id, LogLevel, message};
use crate::text::shorten;

/// The longest id of a request that is repeated in a notice, in bytes as JSON: a longer one is cut, since notices are kept.
const MAX_ID: usize = 64;

/// A JSON-RPC notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// As JSON.
    Json(Box<str>),
    /// `notifications/message`: a call has finished.
    CallFinished(Box<CallFinished>),
}

/// A finished tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFinished {
    /// The tool's name.
    tool: &'static str,
    /// The call's id.
    request_id: ShortText,
    /// How long it took, in hundredths of a millisecond.
    duration: u32,
    is_error: bool,
}

impl Notice {
    /// The level of a finished call's line.
    pub const FINISHED: LogLevel = LogLevel::Info;

    /// A log line (MCP server/utilities/logging); `params` are the parameters of `notifications/message`.
    #[must_use]
    pub fn log(params: &Value) -> Self {
        Self::Json(message::notification("notifications/message", params).into())
    }

    /// The line of a finished call.
    #[must_use]
    pub fn call_finished(tool: &'static str, id: &Id, took: Duration, is_error: bool) -> Self {
        let id = id.as_json();
        let request_id = if id.len() <= MAX_ID {
            ShortText::new(id)
        } else {
            ShortText::new(&Value::String(shorten(id.trim_matches('"'), MAX_ID - 1)).to_string())
        };
        let duration = u32::try_from((took.as_micros() + 5) / 10).unwrap_or(u32::MAX);
        Self::CallFinished(Box::new(CallFinished { tool, request_id, duration, is_error }))
    }

    /// The notification as JSON.
    #[must_use]
    pub fn to_json(&self) -> Box<str> {
        match self {
            Self::Json(json) => json.clone(),
            Self::CallFinished(call) => call.to_json().into(),
        }
    }

    /// Memory held besides the notice itself, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            Self::CallFinished(call) => size_of::<CallFinished>() + call.request_id.weight(),
        }
    }
}

/// Text that is nearly always short, as ids are that count: then it has no memory of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ShortText {
    Short { length: u8, bytes: [u8; 14] },
    Long(Box<str>),
}

impl ShortText {
    fn new(text: &str) -> Self {
        let mut bytes = [0; 14];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(room)) => {
                room.copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            // It was text.
            Self::Short { length, bytes } => str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }

    /// Memory held besides itself, in bytes.
    fn weight(&self) -> usize {
        if let Self::Long(text) = self { text.len() } else { 0 }
    }
}

impl CallFinished {
    fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Params<'a> {
            level: LogLevel,
            logger: &'a str,
            data: Data<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a> {
            tool: &'a str,
            duration_ms: f64,
            is_error: bool,
            request_id: Option<&'a RawValue>,
        }
        let params = Params {
            level: Notice::FINISHED,
            logger: &format!("tools.{}", self.tool),
            data: Data {
                tool: self.tool,
                duration_ms: f64::from(self.duration) / 100.0,
                is_error: self.is_error,
                request_id: serde_json::from_str(self.request_id.as_str()).ok(),
            },
        };
        message::notification("notifications/message", &params)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_finished_call_is_told_as_a_log_line() {
        let id = Id::from_value(&json!("a")).unwrap();
        let notice = Notice::call_finished("echo", &id, Duration::from_micros(1234), false);
        assert_eq!(
            &*notice.to_json(),
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"tools.echo","data":{"tool":"echo","durationMs":1.23,"isError":false,"requestId":"a"}}}"#
        );
    }

    #[test]
    fn an_id_comes_back_as_it_was_however_long() {
        for length in 0..=MAX_ID {
            let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
            assert_eq!(ShortText::new(&text).as_str(), text);
        }
        assert!(size_of::<CallFinished>() <= 48);
    }

    #[test]
    fn a_long_id_is_cut() {
        let id = Id::from_value(&json!("x".repeat(1000))).unwrap();
        let notice = Notice::call_finished("echo", &id, Duration::ZERO, true);
        let json: Value = serde_json::from_str(&notice.to_json()).unwrap();
        let told = json["params"]["data"]["requestId"].as_str().unwrap();
        assert!(told.starts_with("xxx") && told.chars().count() <= MAX_ID, "{told}");
        assert!(notice.weight() < 200);
    }
}
