//! echo: the message back, remembered in the session.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Annotations, Call, Context, Handle, Outcome, RawArguments, Tool, ToolError};
use crate::schema;
use crate::session::{MAX_CUSTOM_DATA, Working};

/// The longest delay, in milliseconds: the idle time-out of common proxies (nginx, AWS ALB) is 60 s.
const MAX_DELAY_MS: u64 = 60_000;

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
            "description": "Answer this many milliseconds later; with a progressToken, progress comes about every second"
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
        "delayMs": { "type": "integer", "minimum": 0, "description": "The delay that was asked for" }
    },
    "required": ["message"],
    "additionalProperties": false
}"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arguments {
    message: String,
    uppercase: Option<bool>,
    #[serde(default, deserialize_with = "delay_ms")]
    delay_ms: u64,
    custom_data: Option<Map<String, Value>>,
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
    if let Some(custom) = &arguments.custom_data {
        let bytes = serde_json::to_string(custom).map_or(usize::MAX, |text| text.len());
        if bytes > MAX_CUSTOM_DATA {
            return Err(ToolError::invalid(format!(
                "`customData` is {bytes} bytes; at most {MAX_CUSTOM_DATA} are kept"
            )));
        }
    }
    let delay = Duration::from_millis(arguments.delay_ms);
    Ok(Call::with(arguments, run).after(delay))
}

fn run(_: &Context<'_>, session: Option<&mut Working<'_>>, arguments: &Arguments) -> Result<Outcome, ToolError> {
    let message = arguments.message.as_str();
    let delay_ms = (arguments.delay_ms > 0).then_some(arguments.delay_ms);
    let mut facts = Facts { message, session_id: None, echo_count: None, delay_ms };
    let Some(session) = session else {
        if arguments.custom_data.is_some() {
            return Err(ToolError::invalid("`customData` needs a session to be kept in: initialize first"));
        }
        return Ok(Outcome::new(message.to_owned(), &facts));
    };
    let count = session.echo(message, arguments.custom_data.as_ref())?;
    let mut id = Uuid::encode_buffer();
    let id = &*session.record.id.hyphenated().encode_lower(&mut id);
    (facts.session_id, facts.echo_count) = (Some(id), Some(count));
    let mut text = String::with_capacity(message.len() + 96);
    let _ = write!(text, "{message}\n\nSession: {id}\nEcho count in session: {count}");
    Ok(Outcome::new(text, &facts))
}
