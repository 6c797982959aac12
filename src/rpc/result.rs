//! What `tools/call` answers, as each revision has it.

use std::sync::LazyLock;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::protocol::{Id, Revision, RpcError, message, server_meta};
use crate::session::NotKept;
use crate::text::escape_lines;
use crate::tools::{HOW_TO_GET_A_HANDLE, Outcome, ToolError};

/// A result (schema `CallToolResult`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallToolResult<'a> {
    content: Content<'a>,
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<&'static Value>,
}

/// The content blocks of an outcome: its text, unless there is none and something else instead, and what else it has.
struct Content<'a>(&'a Outcome);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Text<'a> {
            r#type: &'static str,
            text: &'a str,
        }
        let Outcome { text, content, .. } = self.0;
        let mut blocks = serializer.serialize_seq(None)?;
        if !text.is_empty() || content.is_empty() {
            blocks.serialize_element(&Text { r#type: "text", text })?;
        }
        content.iter().try_for_each(|block| blocks.serialize_element(block))?;
        blocks.end()
    }
}

/// The answer to the request with `id`: a result as the revision has it.
#[must_use]
pub fn result(id: &Id, outcome: &Outcome, revision: Revision) -> Vec<u8> {
    static META: LazyLock<Value> = LazyLock::new(server_meta);
    let result = CallToolResult {
        content: Content(outcome),
        is_error: outcome.is_error,
        structured_content: outcome.structured.as_deref().filter(|_| revision.has_structured_content()),
        result_type: revision.is_stateless().then_some("complete"),
        meta: revision.is_stateless().then(|| &*META),
    };
    message::result_of(id, &result)
}

/// The answer to the request with `id`: a tool's refusal as the revision has it.
///
/// # Errors
/// Where it has it as a JSON-RPC error.
pub fn refuse(id: &Id, tool: &str, error: &ToolError, revision: Revision) -> Result<Vec<u8>, RpcError> {
    let failed = |text: String| {
        let text = escape_lines(&text).into_owned();
        result(id, &Outcome { text, is_error: true, ..Outcome::default() }, revision)
    };
    match error {
        ToolError::NotKept(NotKept::NoRoom { .. }) => Ok(failed(format!(
            "The message was not kept, and the session is as it was: {error}. Send a shorter message, end sessions that are \
             not needed any more (DELETE) or close their streams, or raise MCP_MAX_SESSIONS."
        ))),
        ToolError::NotKept(NotKept::CustomData(_)) => invalid(tool, &[error.to_string()], revision, failed),
        ToolError::InvalidArguments(problems) => invalid(tool, problems, revision, failed),
        ToolError::NoSession(problem) => invalid(tool, std::slice::from_ref(problem), revision, failed),
        ToolError::SessionRequired(what) => {
            let hint = if revision.is_stateless() {
                HOW_TO_GET_A_HANDLE
            } else {
                "POST initialize, then send its Mcp-Session-Id header with every request"
            };
            // In the message too: it is all that some clients show.
            Err(RpcError::invalid_params(format!("{what}: {hint}")).with_data(json!({ "hint": hint })))
        }
        // Said where it is refused: before the call has a session.
        ToolError::TooFast(_) => Err(RpcError::internal()),
        ToolError::Full(full) => Err(RpcError::too_many_sessions(&full.to_string())),
        ToolError::CapabilityRequired(capabilities) => {
            let message = format!("Missing client capability for {tool}: the client must declare {capabilities}");
            Err(RpcError::new(RpcError::MISSING_CLIENT_CAPABILITY, message)
                .with_data(json!({ "requiredCapabilities": capabilities })))
        }
    }
}

/// Bad arguments (SEP-1303 in MCP 2025-11-25: a result that says so, so that a model can mend them).
fn invalid(
    tool: &str,
    problems: &[String],
    revision: Revision,
    failed: impl FnOnce(String) -> Vec<u8>,
) -> Result<Vec<u8>, RpcError> {
    let message = format!("Invalid arguments for {tool}: {}", problems.join("; "));
    if revision.answers_invalid_arguments_with_a_result() {
        return Ok(failed(message));
    }
    Err(RpcError::invalid_params(message).with_data(json!({ "problems": problems })))
}
