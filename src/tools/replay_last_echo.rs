//! replayLastEcho: the session's last echo again. It shows that state is kept.

use serde_json::Value;

use super::{Annotations, Arguments, Context, Handle, Outcome, Run, Tool, ToolError};
use crate::object::object;
use crate::schema;

const NOTHING_YET: &str = "No previous echo message found in this session. Use the echo tool first!";

const SESSION_PER_CALL: &str = "💡 This is the first tool call of this session. If you did call echo before, your client \
opens a new session for every call: some do. Compare the session id here with the one that echo showed.";

pub(super) const TOOL: Tool = Tool {
    name: "replayLastEcho",
    title: "Replay last echo",
    description: "Returns the last message that echo returned in this session: the quickest proof that a client keeps its \
                  session.",
    input_schema: schema::no_arguments,
    output_schema: || schema::parse(OUTPUT),
    annotations: Annotations { read_only: false, idempotent: false },
    handle: Handle::Reads,
    findings: &[],
    run: Run::Now(run),
};

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "found": { "type": "boolean", "description": "Whether there was an echo to replay" },
        "message": { "type": ["string", "null"], "description": "The last echo" },
        "echoCount": { "type": "integer", "minimum": 0, "description": "Its number in the session; 0 without one" },
        "replayCount": { "type": "integer", "minimum": 0, "description": "Replays so far, this one included" },
        "sessionId": { "type": "string" },
        "hint": { "type": "string", "description": "What may be wrong" }
    },
    "required": ["found", "message", "echoCount", "replayCount", "sessionId"],
    "additionalProperties": false
}"#;

fn run(context: &Context<'_>, _: &Arguments) -> Result<Outcome, ToolError> {
    let session = context.session.ok_or(ToolError::SessionRequired("Session required for replay functionality"))?;
    let mut structured = object! {
        "found": false,
        "message": Value::Null,
        "echoCount": 0,
        "replayCount": 0,
        "sessionId": session.id().to_string(),
    };
    let Some(replay) = session.change(|working| working.replay()) else {
        if context.tool_calls > 1 {
            return Ok(Outcome::new(NOTHING_YET.to_owned(), structured));
        }
        structured["hint"] = SESSION_PER_CALL.into();
        let text = format!("{NOTHING_YET}\n\n{SESSION_PER_CALL}\n\nSession: {}", session.id());
        return Ok(Outcome::new(text, structured));
    };
    let text = format!(
        "🔄 Replaying last echo:\n{}\n\nOriginal echo count: {}\nThis session has replayed {} messages",
        replay.message, replay.echo_count, replay.replay_count,
    );
    structured["found"] = true.into();
    structured["message"] = replay.message.into();
    structured["echoCount"] = replay.echo_count.into();
    structured["replayCount"] = replay.replay_count.into();
    Ok(Outcome::new(text, structured))
}
