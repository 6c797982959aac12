//! What `tools/call` answers, as each revision has it.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::json;

use crate::protocol::json::write_string;
use crate::protocol::{Id, Revision, RpcError, message, server_meta};
use crate::tools::{Outcome, Structured, ToolError};

/// The answer to the request with `id`: a result as the revision has it (schema `CallToolResult`).
#[must_use]
pub fn result(id: &Id, outcome: &Outcome, revision: Revision) -> Vec<u8> {
    // Room for most results, so that few grow while they are written.
    let bytes = outcome.text.len() + outcome.text.len() / 8 + 256;
    let bytes = bytes
        + match &outcome.structured {
            Structured::Written(json) => json.len(),
            Structured::Tree(_) => outcome.text.len(),
        };
    message::result_with(id, bytes, |json| {
        json.extend_from_slice(b"{\"content\":[");
        let mut separator: &[u8] = b"";
        // The text, unless there is none and something else instead.
        if !outcome.text.is_empty() || outcome.content.is_empty() {
            json.extend_from_slice(b"{\"type\":\"text\",\"text\":");
            write_string(json, &outcome.text);
            json.push(b'}');
            separator = b",";
        }
        for block in &outcome.content {
            json.extend_from_slice(separator);
            write(json, block);
            separator = b",";
        }
        json.extend_from_slice(if outcome.is_error { b"],\"isError\":true" } else { b"],\"isError\":false" });
        if revision.has_structured_content() && !outcome.structured.is_none() {
            json.extend_from_slice(b",\"structuredContent\":");
            match &outcome.structured {
                Structured::Tree(tree) => write(json, tree),
                Structured::Written(written) => json.extend_from_slice(written),
            }
        }
        if revision.is_stateless() {
            static META: LazyLock<String> = LazyLock::new(|| server_meta().to_string());
            json.extend_from_slice(b",\"resultType\":\"complete\",\"_meta\":");
            json.extend_from_slice(META.as_bytes());
        }
        json.push(b'}');
    })
}

/// Texts and trees of them: all of it can be written.
fn write(json: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let _ = serde_json::to_writer(json, value);
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
                return Ok(result(id, &Outcome { text: message, is_error: true, ..Outcome::default() }, revision));
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
