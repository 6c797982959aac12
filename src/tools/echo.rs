//! echo: the message back, remembered in the session.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Annotations, Arguments, Context, Handle, Outcome, Run, Structured, Tool, ToolError};
use crate::protocol::json::write_string;
use crate::schema;
use crate::session::{self, EndReason, MAX_CUSTOM_DATA, NotKept, Session};

/// The longest delay, in milliseconds: the idle time-out of common proxies (nginx, AWS ALB) is 60 s.
const MAX_DELAY_MS: u64 = 60_000;

/// The longest message, in bytes: it is kept in the session for replayLastEcho.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Time between two progress notifications.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

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
    run: Run::Either { waits: |arguments| delay_ms(arguments) > 0, now: answer, later },
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

fn delay_ms(arguments: &Arguments) -> u64 {
    arguments.u64("delayMs").unwrap_or_default()
}

fn later<'a>(context: &'a Context<'a>, arguments: &'a Arguments) -> BoxFuture<'a, Result<Outcome, ToolError>> {
    Box::pin(async move {
        // What is refused is not waited for.
        message(context, arguments)?;
        wait(context, delay_ms(arguments)).await;
        answer(context, arguments)
    })
}

/// The message as it will be kept, or what is wrong with the arguments.
fn message<'a>(context: &Context<'_>, arguments: &'a Arguments) -> Result<Cow<'a, str>, ToolError> {
    let given = arguments.str("message").unwrap_or_default();
    // Some letters grow when they are made upper case.
    let message = if arguments.bool("uppercase") { Cow::Owned(given.to_uppercase()) } else { Cow::Borrowed(given) };
    let length = message.len().max(given.len());
    if length > MAX_MESSAGE {
        return Err(invalid(format!("`message` is {length} bytes long; at most {MAX_MESSAGE} are taken")));
    }
    let custom = arguments.object("customData");
    if custom.is_some() && context.session.is_none() && context.new_session.is_none() {
        return Err(invalid("`customData` needs a session to be kept in: initialize first".to_owned()));
    }
    Ok(message)
}

fn answer(context: &Context<'_>, arguments: &Arguments) -> Result<Outcome, ToolError> {
    let message = message(context, arguments)?;
    let custom = arguments.object("customData");
    let delay_ms = delay_ms(arguments);
    let made = match (context.session, context.new_session) {
        (None, Some(new_session)) => {
            // Checked before a session is made: a refused echo leaves nothing behind.
            let bytes = custom.map_or(0, |custom| Value::Object(custom.clone()).to_string().len());
            if bytes > MAX_CUSTOM_DATA {
                return Err(invalid(format!("`customData` is {bytes} bytes; at most {MAX_CUSTOM_DATA} are kept")));
            }
            Some(new_session()?)
        }
        _ => None,
    };
    let session: Option<&Session> = made.as_ref().map(|visit| &**visit.session()).or(context.session.map(|s| &**s));
    let Some(session) = session else {
        let structured = structured(&message, None, delay_ms);
        return Ok(Outcome::new(message.into_owned(), structured));
    };
    let mut kept = session.change(|working| working.echo(&message, custom));
    if let Err(NotKept::NoRoom { growth, .. }) = kept {
        session::evict_for_memory(context.sessions, growth);
        kept = session.change(|working| working.echo(&message, custom));
    }
    let count = match kept {
        Ok(count) => count,
        Err(error) => {
            if made.is_some() {
                // A refused echo leaves nothing behind.
                session::write(context.sessions).end(session, EndReason::Evicted);
            }
            return refuse(error);
        }
    };
    let mut id = Uuid::encode_buffer();
    let id = &*session.id().hyphenated().encode_lower(&mut id);
    let structured = structured(&message, Some((id, count)), delay_ms);
    // Room for all of it: most calls of this server are echoes.
    let mut text = String::with_capacity(message.len() + 96);
    text.push_str(&message);
    text.push_str("\n\nSession: ");
    text.push_str(id);
    text.push_str("\nEcho count in session: ");
    text.push_str(itoa::Buffer::new().format(count));
    Ok(Outcome::new(text, structured))
}

/// The structured form. `session` is an id and the number of the echo in it.
fn structured(message: &str, session: Option<(&str, u64)>, delay_ms: u64) -> Structured {
    let mut json = Vec::with_capacity(message.len() + 128);
    json.extend_from_slice(b"{\"message\":");
    write_string(&mut json, message);
    if let Some((id, count)) = session {
        json.extend_from_slice(b",\"sessionId\":\"");
        json.extend_from_slice(id.as_bytes());
        json.extend_from_slice(b"\",\"echoCount\":");
        json.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    }
    if delay_ms > 0 {
        json.extend_from_slice(b",\"delayMs\":");
        json.extend_from_slice(itoa::Buffer::new().format(delay_ms).as_bytes());
    }
    json.push(b'}');
    Structured::Written(json)
}

/// What is wrong with the arguments is told as such; that there is no room is the server's state.
fn refuse(error: NotKept) -> Result<Outcome, ToolError> {
    match error {
        NotKept::CustomData(_) => Err(invalid(error.to_string())),
        NotKept::NoRoom { .. } => {
            let text = format!(
                "The message was not kept, and the session is as it was: {error}. Send a shorter message, end sessions that \
                 are not needed any more (DELETE) or close their streams, or raise MCP_MAX_SESSIONS."
            );
            Ok(Outcome { text, is_error: true, ..Outcome::default() })
        }
    }
}

fn invalid(problem: String) -> ToolError {
    ToolError::InvalidArguments(vec![problem])
}

/// Waits, telling how far it is. Progress is the milliseconds that have passed.
async fn wait(context: &Context<'_>, delay_ms: u64) {
    let started = Instant::now();
    let due = started + Duration::from_millis(delay_ms);
    let mut step = started;
    while step < due {
        let passed = u64::try_from((step - started).as_millis()).unwrap_or(u64::MAX);
        context.progress(passed, delay_ms, &format!("answering in {} ms", delay_ms - passed));
        step = (step + PROGRESS_INTERVAL).min(due);
        tokio::time::sleep_until(step).await;
    }
    context.progress(delay_ms, delay_ms, "answering now");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_echo_writes_itself_is_what_its_schema_says() {
        let id = "550e8400-e29b-41d4-a716-446655440000";
        let validator = jsonschema::draft202012::new(&(TOOL.output_schema)()).unwrap();
        for message in ["", "Hello", "\"quoted\" \\ \u{1}\n\t", "日本語 and more than eight bytes"] {
            for session in [None, Some((id, 1)), Some((id, u64::MAX))] {
                for delay_ms in [0, 60_000] {
                    let mut facts = json!({ "message": message });
                    if let Some((id, count)) = session {
                        facts["sessionId"] = id.into();
                        facts["echoCount"] = count.into();
                    }
                    if delay_ms > 0 {
                        facts["delayMs"] = delay_ms.into();
                    }
                    let written = structured(message, session, delay_ms).into_tree();
                    assert_eq!(written, facts);
                    assert!(validator.is_valid(&written), "{written}");
                }
            }
        }
    }
}
