//! replayLastEcho: the session's last echo again. It shows that state is kept.

use serde::Serialize;

use super::{Annotations, Call, Context, HOW_TO_GET_A_HANDLE, Handle, NoArguments, Outcome, Tool, ToolError};
use crate::schema;
use crate::session::Working;

const REQUIRED: &str = "Session required for replay functionality";

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
    handle: Handle::Needs,
    findings: &[],
    call: |raw| Call::of(raw, run),
};

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "found": { "type": "boolean", "description": "Whether there was an echo to replay" },
        "message": { "type": ["string", "null"], "description": "The last echo" },
        "echoCount": { "type": "integer", "minimum": 0, "description": "Its number in the session; 0 without one" },
        "replayCount": { "type": "integer", "minimum": 0, "description": "Replays so far, this one included" },
        "sessionId": { "type": "string", "description": "Absent where the call named no session" },
        "hint": { "type": "string", "description": "What may be wrong, and what to do" }
    },
    "required": ["found", "message", "echoCount", "replayCount"],
    "additionalProperties": false
}"#;

/// What the structured content says.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    found: bool,
    message: Option<String>,
    echo_count: u64,
    replay_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

fn run(context: &Context<'_>, session: Option<&mut Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let Some(session) = session else { return without_session(context) };
    let id = session.record.id;
    let mut facts = Facts { session_id: Some(id.to_string()), ..Facts::default() };
    let Some(replay) = session.replay() else {
        // This call is counted already.
        if session.record.tool_calls > 1 {
            return Ok(Outcome::new(NOTHING_YET.to_owned(), &facts));
        }
        facts.hint = Some(SESSION_PER_CALL);
        return Ok(Outcome::new(format!("{NOTHING_YET}\n\n{SESSION_PER_CALL}\n\nSession: {id}"), &facts));
    };
    let text = format!(
        "🔄 Replaying last echo:\n{}\n\nOriginal echo count: {}\nThis session has replayed {} messages",
        replay.message, replay.echo_count, replay.replay_count,
    );
    (facts.found, facts.echo_count, facts.replay_count) = (true, replay.echo_count, replay.replay_count);
    facts.message = Some(replay.message);
    Ok(Outcome::new(text, &facts))
}

/// In the stateless era a result that says so, in both forms: clients show a model one or the other, and of an error only a
/// sentence of their own.
fn without_session(context: &Context<'_>) -> Result<Outcome, ToolError> {
    if !context.revision.is_stateless() {
        return Err(ToolError::SessionRequired(REQUIRED));
    }
    let facts = Facts { hint: Some(HOW_TO_GET_A_HANDLE), ..Facts::default() };
    Ok(Outcome { is_error: true, ..Outcome::new(format!("{REQUIRED}: {HOW_TO_GET_A_HANDLE}"), &facts) })
}
