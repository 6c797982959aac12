//! What `tools/call` answers, as each revision has it.

use std::sync::LazyLock;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::protocol::{Id, Revision, RpcError, message, server_meta};
use crate::tools::{Outcome, ToolError};

/// A tool's result as the revision has it (schema `CallToolResult`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallToolResult<'a> {
    content: Content<'a>,
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a Value>,
    /// Of the stateless era.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    /// Of the stateless era.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<&'static Value>,
}

impl<'a> CallToolResult<'a> {
    fn new(content: Content<'a>, revision: Revision) -> Self {
        static META: LazyLock<Value> = LazyLock::new(server_meta);
        let is_stateless = revision.is_stateless();
        Self {
            content,
            is_error: false,
            structured_content: None,
            result_type: is_stateless.then_some("complete"),
            meta: is_stateless.then(|| &*META),
        }
    }

    /// The answer to the request with `id`.
    fn answer(&self, id: &Id) -> Vec<u8> {
        // Room for most results, so that few grow while they are written.
        message::result_with(id, 256 + 2 * self.content.text.len(), |json| {
            // Texts, numbers and maps of texts: all of it can be written.
            let _ = serde_json::to_writer(json, self);
        })
    }
}

/// Content blocks (schema `ContentBlock`): the text, unless there is none and something else instead, and what else there is.
struct Content<'a> {
    text: &'a str,
    more: &'a [Value],
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Text<'a> {
            r#type: &'static str,
            text: &'a str,
        }
        let text = (!self.text.is_empty() || self.more.is_empty()).then_some(Text { r#type: "text", text: self.text });
        let mut blocks = serializer.serialize_seq(None)?;
        if let Some(text) = text {
            blocks.serialize_element(&text)?;
        }
        for block in self.more {
            blocks.serialize_element(block)?;
        }
        blocks.end()
    }
}

/// The answer to the request with `id`: a result as the revision has it.
pub fn result(id: &Id, outcome: &Outcome, revision: Revision) -> Vec<u8> {
    let has_structured = revision.has_structured_content() && !outcome.structured.is_null();
    CallToolResult {
        is_error: outcome.is_error,
        structured_content: has_structured.then_some(&outcome.structured),
        ..CallToolResult::new(Content { text: &outcome.text, more: &outcome.content }, revision)
    }
    .answer(id)
}

/// The answer to the request with `id`: a tool's refusal as the revision has it.
///
/// # Errors
/// Where it has it as a JSON-RPC error.
pub fn refuse(id: &Id, tool: &str, error: &ToolError, revision: Revision) -> Result<Vec<u8>, RpcError> {
    match error {
        ToolError::InvalidArguments(problems) => {
            let message = format!("Invalid arguments for {tool}: {error}");
            if revision.answers_invalid_arguments_with_a_result() {
                let content = Content { text: &message, more: &[] };
                return Ok(CallToolResult { is_error: true, ..CallToolResult::new(content, revision) }.answer(id));
            }
            Err(RpcError::invalid_params(message).with_data(json!({ "problems": problems })))
        }
        ToolError::SessionRequired(message) => {
            let hint = if revision.is_stateless() {
                "call echo without sessionId: it makes a session and returns its handle; pass that as sessionId"
            } else {
                "POST initialize, then send its Mcp-Session-Id header with every request"
            };
            Err(RpcError::invalid_params(*message).with_data(json!({ "hint": hint })))
        }
        ToolError::Full(full) => Err(RpcError::too_many_sessions(&full.to_string())),
        ToolError::CapabilityRequired(capabilities) => {
            Err(RpcError::new(RpcError::MISSING_CLIENT_CAPABILITY, format!("Missing client capability for {tool}"))
                .with_data(json!({ "requiredCapabilities": capabilities })))
        }
    }
}
