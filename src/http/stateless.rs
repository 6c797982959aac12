//! POST in the stateless era (MCP 2026-07-28): every request says in `_meta` what it is, and its headers repeat it.

use std::borrow::Cow;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::Value;

use super::headers::{self, Accepts};
use super::refusal::Refusal;
use super::run::{self, Answering, Calls, Disconnect, Work};
use super::strict::{self, Asked};
use super::{Http, listen};
use crate::diagnosis::redact;
use crate::dispatch::{Job, unknown_method};
use crate::protocol::meta::named_version;
use crate::protocol::{Call, Given, Members, Meta, Notification, RpcError};
use crate::request::Request;
use crate::session::history::Kind;
use crate::tools::Mirrored;

/// `Mcp-Method` (MCP 2026-07-28 streamable-http, Standard Request Headers).
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name` (the same).
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Answers a request of the stateless era.
#[inline(never)]
pub fn answer(http: &Arc<Http>, request: &Arc<Request>, accepts: Accepts, call: Call) -> Answering {
    let id = call.id.clone();
    let meta = match check(http, &request.headers, &call) {
        Ok(meta) => meta,
        Err(error) => return Refusal::new(status(&error), error).to(Some(&id)).into(),
    };
    let revision = http.engine.config.protocol.get(&meta.version).unwrap_or(crate::protocol::Revision::V2026_07_28);
    let asked = Asked {
        kind: Kind::Post,
        headers: &request.headers,
        session: None,
        revision,
        named: Some(revision),
        calls: &[],
    };
    if let Err(refusal) = strict::check(http, &asked) {
        return refusal.to(Some(&id)).into();
    }
    if call.method == "subscriptions/listen" {
        return Answering::from(listen::answer(http, accepts, &call)).to(&id);
    }
    let job = Job {
        id: call.id,
        method: call.method,
        params: call.params,
        revision,
        session: None,
        request: Arc::clone(request),
        client: Some(Box::new(meta)),
        outbox: None,
    };
    run::answer(
        http,
        accepts,
        Work { calls: Calls::One(job), visit: None, session_id: None, disconnect: Disconnect::Cancels },
    )
}

/// Takes a notification. There is nothing to do: this era defines none that a client sends over HTTP, since closing a
/// request's stream is what cancels it. One in a version that is not served cannot be accepted all the same.
pub fn notify(http: &Http, request: &Request, notification: &Notification) -> Result<Response, Refusal> {
    let served = &http.engine.config.protocol;
    let named = headers::protocol_version_text(&request.headers)
        .or_else(|| named_version(&notification.params).map(Cow::Owned));
    match named.filter(|version| served.get(version).is_none()) {
        Some(version) => Err(Refusal::new(StatusCode::BAD_REQUEST, RpcError::unsupported_version(&version, served))),
        None => Ok(StatusCode::ACCEPTED.into_response()),
    }
}

/// The status of a request that is refused before it is looked into.
fn status(error: &RpcError) -> StatusCode {
    if error.code == RpcError::METHOD_NOT_FOUND { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST }
}

/// The rules that hold for every request, in the order in which a client would mend them: `_meta`, version, method, name,
/// mirrored arguments.
fn check(http: &Http, headers: &HeaderMap, call: &Call) -> Result<Meta, RpcError> {
    let served = &http.engine.config.protocol;
    let meta = match Meta::read(&call.params) {
        Ok(meta) => meta,
        // The only sign that an older client gets (MCP 2026-07-28 basic/versioning, Backward Compatibility).
        Err(_) if call.method == "initialize" && served.preferred().is_none() => {
            let asked = call.params.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
            return Err(RpcError::unsupported_version(asked, served));
        }
        Err(problems) => {
            // A version that is not served has other rules for `_meta`, or none: the version is what to mend first.
            let unserved = headers::protocol_version_text(headers).filter(|version| served.get(version).is_none());
            if let (Some(version), None) = (unserved, named_version(&call.params)) {
                return Err(RpcError::unsupported_version(&version, served));
            }
            let data = serde_json::json!({ "problems": problems });
            return Err(RpcError::invalid_params(format!("Invalid params: {}", problems.join("; "))).with_data(data));
        }
    };
    matches(headers, &headers::PROTOCOL_VERSION, "MCP-Protocol-Version", &meta.version, "_meta")?;
    if served.get(&meta.version).is_none_or(|revision| !revision.is_stateless()) {
        return Err(RpcError::unsupported_version(&meta.version, served));
    }
    matches(headers, &METHOD, "Mcp-Method", &call.method, "method")?;
    match call.method.as_str() {
        "tools/call" => check_tool_call(http, headers, call)?,
        "server/discover" | "tools/list" | "subscriptions/listen" => {}
        method => return Err(unknown_method(method, true)),
    }
    Ok(meta)
}

fn check_tool_call(http: &Http, headers: &HeaderMap, call: &Call) -> Result<(), RpcError> {
    let Some(name) = call.params.get("name").and_then(Value::as_str) else {
        return Ok(()); // The dispatcher says what is missing.
    };
    matches(headers, &NAME, "Mcp-Name", name, "params.name")?;
    let Ok(entry) = http.engine.tool(&call.params) else { return Ok(()) };
    let none = Members::new();
    let arguments = match call.params.arguments() {
        Some(Given::Members(arguments)) => arguments,
        // The dispatcher says what is wrong.
        None | Some(Given::Other(_)) => &none,
    };
    entry.mirrored().iter().try_for_each(|mirrored| check_mirrored(headers, mirrored, arguments))
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
fn check_mirrored(headers: &HeaderMap, mirrored: &Mirrored, arguments: &Members) -> Result<(), RpcError> {
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
        (Some(_), None) => Err(mismatch(format!("the {shown} header is required and must repeat the argument {path}"))),
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
    format!("\"{}\"", redact::header(name, &crate::text::shorten(text, 100)))
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
            let arguments = arguments.as_object().cloned().unwrap_or_default().into();
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
