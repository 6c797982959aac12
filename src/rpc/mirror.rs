//! Headers that have to repeat what the message says, so that proxies can route by them (MCP 2026-07-28 streamable-http,
//! Standard Request Headers and Custom Headers from Tool Parameters).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use crate::diagnosis::redact;
use crate::protocol::{Params, RpcError};
use crate::request::headers;
use crate::text::shorten;
use crate::tools::{Entry, Mirrored, Registry};

/// `Mcp-Method` (MCP 2026-07-28 streamable-http, Standard Request Headers).
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name` (the same).
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// `MCP-Protocol-Version` against `_meta`.
pub fn check_version(headers: &HeaderMap, version: &str) -> Result<(), RpcError> {
    matches(headers, &headers::PROTOCOL_VERSION, "MCP-Protocol-Version", version, "_meta")
}

/// `Mcp-Method` against the message's method.
pub fn check_method(headers: &HeaderMap, method: &str) -> Result<(), RpcError> {
    matches(headers, &METHOD, "Mcp-Method", method, "method")
}

/// `Mcp-Name` and `Mcp-Param-*` against the parameters of `tools/call`. What is wrong with these is told where they are read.
pub fn check_tool_call(tools: &Registry, headers: &HeaderMap, params: &Params) -> Result<(), RpcError> {
    let Some(name) = params.name().as_str() else { return Ok(()) };
    matches(headers, &NAME, "Mcp-Name", name, "params.name")?;
    let Some(entry) = tools.get(name) else { return Ok(()) };
    let none = Map::new();
    let arguments = params.arguments().as_object().unwrap_or(&none);
    entry.mirrored().iter().try_for_each(|mirrored| check_mirrored(headers, mirrored, arguments))
}

/// Whether a call names a session by its handle and does not repeat it in a header, where the tool asks for that.
pub fn lacks_handle(tools: &Registry, headers: &HeaderMap, params: &Params) -> bool {
    let Some(arguments) = params.arguments().as_object() else { return false };
    let entry = params.name().as_str().and_then(|name| tools.get(name));
    entry.into_iter().flat_map(Entry::mirrored).any(|mirrored| {
        mirrored.is_handle() && mirrored.value(arguments).is_some() && !headers.contains_key(mirrored.header.as_str())
    })
}

/// A header that must repeat a text of the body.
fn matches(headers: &HeaderMap, name: &HeaderName, shown: &str, body: &str, place: &str) -> Result<(), RpcError> {
    // Only names and arguments may be written in the Base64 form (Value Encoding): proxies read the others as they are.
    let header = if *name == NAME { value(headers, name, shown)? } else { plain_value(headers, name, shown)? };
    match header {
        None => {
            Err(mismatch(format!("the {shown} header is required and must repeat {place} ({})", quoted(shown, body))))
        }
        Some(header) if header != body => Err(mismatch(format!(
            "{shown} header value {} does not match {place} value {}",
            quoted(shown, &header),
            quoted(shown, body)
        ))),
        Some(_) => Ok(()),
    }
}

/// An `Mcp-Param-*` header against the argument that it mirrors (MCP 2026-07-28 streamable-http, Server Behavior for
/// Custom Headers).
fn check_mirrored(headers: &HeaderMap, mirrored: &Mirrored, arguments: &Map<String, Value>) -> Result<(), RpcError> {
    let shown = mirrored.header.as_str();
    let Ok(name) = HeaderName::try_from(shown) else { return Ok(()) };
    let header = value(headers, &name, shown)?;
    let path = mirrored.path.join(".");
    match (mirrored.value(arguments), header) {
        (None, None) => Ok(()),
        // An empty argument makes an empty header, which is no value to [`headers::single`].
        (Some(Value::String(text)), None) if text.is_empty() && headers.contains_key(&name) => Ok(()),
        (None, Some(header)) => Err(mismatch(format!(
            "{shown} header is {} but the argument {path} is not there; send both or neither",
            quoted(shown, &header)
        ))),
        (Some(_), None) => {
            let remedy = if mirrored.is_handle() {
                "; SDKs in a browser cannot send it: for them run the server without MCP_HANDLE_HEADER"
            } else {
                ""
            };
            Err(mismatch(format!("the {shown} header is required and must repeat the argument {path}{remedy}")))
        }
        (Some(value), Some(header)) if agrees(value, &header) => Ok(()),
        (Some(value), Some(header)) => Err(mismatch(format!(
            "{shown} header value {} does not match the argument {path} {}",
            quoted(shown, &header),
            quoted(shown, value.as_str().unwrap_or(&value.to_string()))
        ))),
    }
}

/// Whether a header says what an argument says; integers are compared as numbers (Server Validation, note).
fn agrees(argument: &Value, header: &str) -> bool {
    match argument {
        Value::String(text) => text == header,
        Value::Bool(value) => header == if *value { "true" } else { "false" },
        Value::Number(number) => header.parse::<f64>().ok() == number.as_f64(),
        // Not a primitive: the schema check says so.
        Value::Null | Value::Array(_) | Value::Object(_) => true,
    }
}

/// A header's value as it stands.
fn plain_value<'a>(headers: &'a HeaderMap, name: &HeaderName, shown: &str) -> Result<Option<Cow<'a, str>>, RpcError> {
    // RFC 9110 section 5.5: visible ASCII, space and tab; anything else is for the Base64 form.
    if headers.get_all(name).iter().any(|value| value.to_str().is_err()) {
        return Err(mismatch(format!("the {shown} header has characters that are not ASCII")));
    }
    Ok(headers::single(headers, name))
}

/// A header's value, decoded where it is written in the Base64 form (Value Encoding).
fn value<'a>(headers: &'a HeaderMap, name: &HeaderName, shown: &str) -> Result<Option<Cow<'a, str>>, RpcError> {
    let Some(text) = plain_value(headers, name, shown)? else { return Ok(None) };
    let Some(encoded) = text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(Some(text));
    };
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .map(|text| Some(Cow::Owned(text)))
        .ok_or_else(|| mismatch(format!("the {shown} header is not valid Base64 of UTF-8 text")))
}

fn mismatch(what: impl std::fmt::Display) -> RpcError {
    RpcError::new(RpcError::HEADER_MISMATCH, format!("Header mismatch: {what}"))
}

/// A value that a header has or should have, as it may be told: the answer is logged too.
fn quoted(name: &str, text: &str) -> String {
    /// Characters that are looked at, and that are told: masked before cut.
    const LOOKED_AT: usize = 4096;
    const TOLD: usize = 100;
    format!("\"{}\"", shorten(&redact::header(name, &shorten(text, LOOKED_AT)), TOLD))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    fn read(value_text: &str) -> Result<Option<String>, RpcError> {
        Ok(value(&headers("mcp-name", value_text), &NAME, "Mcp-Name")?.map(Cow::into_owned))
    }

    #[test]
    fn encoded_values_are_decoded_before_they_are_compared() {
        assert_eq!(read("us-west1").unwrap().as_deref(), Some("us-west1"));
        assert_eq!(read("=?base64?SGVsbG8sIOS4lueVjA==?=").unwrap().as_deref(), Some("Hello, 世界"));
        assert_eq!(read("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=").unwrap().as_deref(), Some("=?base64?literal?="));
        assert_eq!(read("=?BASE64?eA==?=").unwrap().as_deref(), Some("=?BASE64?eA==?="), "the markers are lower case");
        for broken in ["=?base64?SGVsbG8?=", "=?base64?SGVs!G8=?=", "=?base64?/w==?="] {
            assert_eq!(read(broken).unwrap_err().code, RpcError::HEADER_MISMATCH, "{broken}");
        }
        let raw = HeaderMap::from_iter([(NAME, http::HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap())]);
        assert_eq!(value(&raw, &NAME, "Mcp-Name").unwrap_err().code, RpcError::HEADER_MISMATCH);
    }

    #[test]
    fn a_mirrored_argument_is_there_twice_or_not_at_all() {
        let mirrored = Mirrored { header: "Mcp-Param-Region".to_owned(), path: vec!["region".to_owned()] };
        let check = |header: Option<&str>, arguments: Value| {
            let headers = header.map(|value| headers("mcp-param-region", value)).unwrap_or_default();
            let arguments = arguments.as_object().cloned().unwrap_or_default();
            check_mirrored(&headers, &mirrored, &arguments).is_ok()
        };
        assert!(check(None, json!({})) && check(None, json!({ "region": null })) && check(None, Value::Null));
        assert!(check(Some("a"), json!({ "region": "a" })) && check(Some("true"), json!({ "region": true })));
        assert!(check(Some("42.0"), json!({ "region": 42 })), "integers are compared as numbers");
        assert!(check(Some(""), json!({ "region": "" })) && !check(None, json!({ "region": "" })));
        assert!(!check(Some("a"), json!({})) && !check(None, json!({ "region": "a" })));
        assert!(!check(Some("b"), json!({ "region": "a" })) && !check(Some("A"), json!({ "region": "a" })));
    }
}
