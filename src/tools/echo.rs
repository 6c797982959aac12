//! echo: the message back, remembered in the session.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Annotations, Call, Context, Handle, Outcome, RawArguments, Tool, ToolError};
use crate::schema;
use crate::session::{MAX_CUSTOM_DATA, Working};
use crate::text::rfc3339;

/// The longest delay, in milliseconds: twice the longest time-out that people meet (60 s in nginx, AWS load balancers and
/// the TypeScript SDK, 100 and 125 s in Cloudflare, 300 s in undici and the Python SDK).
const MAX_DELAY_MS: u64 = 600_000;

/// The delay from which progress would have come in between, in milliseconds: without it the answer says why none did.
const PROGRESS_MS: u64 = 1000;

/// The longest message, in bytes: it is kept in the session for replayLastEcho.
const MAX_MESSAGE: usize = 1024 * 1024;

pub(super) const TOOL: Tool = Tool {
    name: "echo",
    title: "Echo",
    description: "Returns the message, remembers it in the session for replayLastEcho, and counts. Can answer late \
                  (delayMs), with progress and cancellation, and keep custom data in the session.",
    input_schema: || schema::fill(INPUT, &[("maxDelayMs", MAX_DELAY_MS.into())]),
    output_schema: || schema::parse(OUTPUT),
    annotations: Annotations { read_only: false, idempotent: false },
    handle: Handle::Makes,
    findings: &[],
    call,
};

const INPUT: &str = r#"{
    "type": "object",
    "properties": {
        "message": { "type": "string", "description": "The text to return (at most 1 MiB)" },
        "uppercase": { "type": "boolean", "description": "Return it in upper case", "default": false },
        "delayMs": {
            "type": "integer",
            "minimum": 0,
            "maximum": "$maxDelayMs",
            "default": 0,
            "description": "Answer this many milliseconds later; with a progressToken, progress comes about every second. What breaks a call after a time shows which time-out it is"
        },
        "customData": {
            "type": "object",
            "description": "Merged into the session's custom data (16 KiB at most); a null value removes its key"
        }
    },
    "required": ["message"],
    "additionalProperties": false
}"#;

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "message": { "type": "string", "description": "The message as returned" },
        "sessionId": { "type": "string", "description": "The session that remembers it" },
        "echoCount": { "type": "integer", "minimum": 1, "description": "Echoes in this session so far" },
        "delayMs": { "type": "integer", "minimum": 0, "description": "The delay that was asked for" },
        "receivedAt": { "type": "string", "format": "date-time", "description": "With a delay: when the request came in" },
        "sentAt": { "type": "string", "format": "date-time", "description": "With a delay: when the answer left" },
        "progressNote": { "type": "string", "description": "Why no progress came before a slow answer, where none could" }
    },
    "required": ["message"],
    "additionalProperties": false
}"#;

/// As they came.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arguments {
    message: String,
    uppercase: Option<bool>,
    #[serde(default, deserialize_with = "delay_ms")]
    delay_ms: u64,
    custom_data: Option<Map<String, Value>>,
}

/// What a call keeps of them until it runs.
struct Echo {
    message: String,
    delay_ms: u64,
    /// An object as JSON text: as a tree it takes up to a hundred times as much.
    custom_data: Option<Box<str>>,
}

/// What the structured content says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_note: Option<&'static str>,
}

impl<'a> Facts<'a> {
    fn of(context: &Context<'_>, message: &'a str, delay_ms: u64) -> Self {
        let delayed = delay_ms > 0;
        Self {
            message,
            session_id: None,
            echo_count: None,
            delay_ms: delayed.then_some(delay_ms),
            received_at: delayed.then(|| rfc3339(context.received_at())),
            sent_at: delayed.then(|| rfc3339(context.server.clock.wall_now())),
            progress_note: (delay_ms >= PROGRESS_MS).then(|| context.without_progress()).flatten(),
        }
    }

    /// Of a delay, for people: both times, since what is held back on the way shows only where they can be compared.
    fn delay(&self) -> String {
        let (Some(delay), Some(received), Some(sent)) = (self.delay_ms, &self.received_at, &self.sent_at) else {
            return String::new();
        };
        let note = self.progress_note.map(|note| format!("\n- ℹ️ {note}")).unwrap_or_default();
        format!(
            "⏱️ Delay:\n- The request came at {received}, this answer left at {sent} ({delay} ms were asked for): what arrives \
             much later was held back on the way{note}"
        )
    }
}

/// 0 to [`MAX_DELAY_MS`]; 5.0 is an integer to JSON Schema, and `null` is left out.
fn delay_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let Some(number) = Option::<f64>::deserialize(deserializer)? else { return Ok(0) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "looked at just now")]
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    if (0.0..=MAX_DELAY_MS as f64).contains(&number) && number.fract() == 0.0 {
        Ok(number as u64)
    } else {
        Err(serde::de::Error::custom(format!("`delayMs` must be an integer from 0 to {MAX_DELAY_MS}")))
    }
}

fn call(raw: &RawArguments<'_>) -> Result<Call, ToolError> {
    let mut arguments: Arguments = raw.read()?;
    if arguments.uppercase == Some(true) {
        arguments.message = arguments.message.to_uppercase();
    }
    // Looked at when it is upper case: some letters grow.
    let length = arguments.message.len();
    if length > MAX_MESSAGE {
        return Err(ToolError::invalid(format!("`message` is {length} bytes long; at most {MAX_MESSAGE} are taken")));
    }
    let custom_data = match &arguments.custom_data {
        Some(custom) => Some(custom_data(custom)?),
        None => None,
    };
    let Arguments { message, delay_ms, .. } = arguments;
    Ok(Call::with(Echo { message, delay_ms, custom_data }, run).after(Duration::from_millis(delay_ms)))
}

/// Custom data as it is kept until the call runs.
fn custom_data(custom: &Map<String, Value>) -> Result<Box<str>, ToolError> {
    let text = serde_json::to_string(custom).map_err(|error| ToolError::invalid(format!("`customData`: {error}")))?;
    if text.len() > MAX_CUSTOM_DATA {
        let bytes = text.len();
        return Err(ToolError::invalid(format!("`customData` is {bytes} bytes; at most {MAX_CUSTOM_DATA} are kept")));
    }
    Ok(text.into())
}

fn run(context: &Context<'_>, session: Option<&mut Working<'_>>, echo: &Echo) -> Result<Outcome, ToolError> {
    let message = echo.message.as_str();
    let mut facts = Facts::of(context, message, echo.delay_ms);
    let details = facts.delay();
    let Some(session) = session else {
        if echo.custom_data.is_some() {
            return Err(ToolError::invalid("`customData` needs a session to be kept in: initialize first"));
        }
        return Ok(Outcome::new(message.to_owned(), &facts).with("", details));
    };
    let custom: Option<Map<String, Value>> = echo.custom_data.as_ref().and_then(|text| serde_json::from_str(text).ok());
    let count = session.echo(message, custom.as_ref())?;
    let mut id = Uuid::encode_buffer();
    let id = &*session.record.id.hyphenated().encode_lower(&mut id);
    (facts.session_id, facts.echo_count) = (Some(id), Some(count));
    let mut text = String::with_capacity(message.len() + 96);
    let _ = write!(text, "{message}\n\nSession: {id}\nEcho count in session: {count}");
    Ok(Outcome::new(text, &facts).with("", details))
}
