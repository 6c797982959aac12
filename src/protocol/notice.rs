//! Notifications of the server's that wait for a stream, as JSON.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{Id, LogLevel, message};
use crate::text::shorten;

/// The level of a finished call's line.
pub const FINISHED: LogLevel = LogLevel::Info;

/// The longest id of a request that is repeated in a notice, in bytes as JSON: a longer one is cut, since notices are kept.
const MAX_ID: usize = 64;

/// A log line (MCP server/utilities/logging); `params` are the parameters of `notifications/message`.
#[must_use]
pub fn log(params: &impl Serialize) -> Box<str> {
    message::notification("notifications/message", params).into()
}

/// The line of a finished call.
#[must_use]
pub fn call_finished(tool: &str, id: &Id, took: Duration, is_error: bool) -> Box<str> {
    let mut id = Cow::Borrowed(id.as_json());
    if id.len() > MAX_ID {
        id = Value::String(shorten(id.trim_matches('"'), MAX_ID - 1)).to_string().into();
    }
    // To the hundredth of a millisecond.
    let hundredths = u32::try_from((took.as_micros() + 5) / 10).unwrap_or(u32::MAX);
    let ms = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    // Put together from parts: every call makes one, and with serde it takes 4,300 instructions. The id is JSON already, and
    // a tool's name is letters.
    let parts = [
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"tools."#,
        tool,
        r#"","data":{"tool":""#,
        tool,
        r#"","durationMs":"#,
        &ms,
        r#","isError":"#,
        if is_error { "true" } else { "false" },
        r#","requestId":"#,
        &id,
        "}}}",
    ];
    parts.concat().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_finished_call_is_told_as_a_log_line() {
        let id = Id::from_value(&json!("a")).unwrap();
        assert_eq!(
            &*call_finished("echo", &id, Duration::from_micros(1234), false),
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"tools.echo","data":{"tool":"echo","durationMs":1.23,"isError":false,"requestId":"a"}}}"#
        );
    }

    #[test]
    fn a_long_id_is_cut() {
        let id = Id::from_value(&json!("x".repeat(1000))).unwrap();
        let json: Value = serde_json::from_str(&call_finished("echo", &id, Duration::ZERO, true)).unwrap();
        let told = json["params"]["data"]["requestId"].as_str().unwrap();
        assert!(told.starts_with("xxx") && told.chars().count() <= MAX_ID, "{told}");
    }
}
