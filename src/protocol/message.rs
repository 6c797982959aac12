//! JSON-RPC 2.0 messages as they arrive: classified once, ids and parameters kept to the letter.

use std::fmt;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Params, RpcError};

/// The most messages in a batch. A batch is answered when its last call is, so a bound keeps one POST from holding
/// the work of thousands; no known client sends more than a handful.
pub const MAX_BATCH: usize = 100;

/// The longest id of a request, in bytes as JSON. It comes back with everything that a stream says about its request, and
/// a stream that stays open holds it. Clients count, or send UUIDs.
pub const MAX_ID: usize = 1024;

/// A request's id as the client wrote it: a string or a number, never re-formatted on its way back.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Id(Arc<str>);

impl Id {
    /// The JSON text: `1`, `"a"`.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The same id written in the one way that [`Id::from_value`] writes it, for comparing. A number that is larger than
    /// what a computer counts with stays as it is: rounded, it would be another request's.
    #[must_use]
    pub fn canonical(&self) -> Self {
        match serde_json::from_str::<Value>(&self.0) {
            Ok(Value::Number(number)) if number.is_f64() && is_integer(&self.0) => self.clone(),
            Ok(value) => Self::from_value(&value).unwrap_or_else(|| self.clone()),
            Err(_) => self.clone(),
        }
    }

    pub(super) fn read(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()).then(|| Self(text.into()))
    }

    /// The id in `value` (`requestId` of a cancellation), if it can be one.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        (value.is_string() || value.is_number()).then(|| Self(value.to_string().into()))
    }
}

/// Whether a JSON number is written without fraction and exponent.
fn is_integer(number: &str) -> bool {
    number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Wants an answer.
    Request(Call),
    /// Wants none.
    Notification(Notification),
    /// The client's answer to a request of the server.
    Response,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its id.
    pub id: Id,
    /// Its method.
    pub method: String,
    /// Its parameters; empty when it has none.
    pub params: Params,
}

/// A notification.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// Its method.
    pub method: String,
    /// Its parameters; empty when it has none.
    pub params: Params,
}

/// A message that is not acceptable, with the id to answer under where it could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Malformed {
    /// The id, if there was a valid one.
    pub id: Option<Id>,
    /// What is wrong; boxed, since it travels as an `Err`.
    pub error: Box<RpcError>,
}

impl Malformed {
    fn new(id: Option<Id>, error: RpcError) -> Self {
        Self { id, error: Box::new(error) }
    }

    fn invalid(id: Option<Id>, message: impl Into<String>) -> Self {
        Self::new(id, RpcError::invalid_request(message))
    }
}

/// What a body holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// One message.
    Single(Message),
    /// An array of 1 to [`MAX_BATCH`] messages, each acceptable or not.
    Batch(Vec<Result<Message, Malformed>>),
}

/// Reads a body.
///
/// # Errors
/// -32700 when it is not JSON, with line and column unless it is empty; -32600 when it is no JSON-RPC 2.0 message, or an
/// empty or too long batch.
pub fn read(body: &[u8]) -> Result<Body, Malformed> {
    let text = std::str::from_utf8(body).map_err(|error| {
        parse_error(
            &format!("the body is not UTF-8 (byte {})", error.valid_up_to() + 1),
            place(body, error.valid_up_to()),
        )
    })?;
    // RFC 8259 section 8.1: a parser may ignore a byte order mark rather than treat it as an error.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_ascii_start();
    if start.is_empty() {
        let message = "Parse error: the body is empty; send one JSON-RPC message";
        return Err(Malformed::new(None, RpcError::new(RpcError::PARSE_ERROR, message)));
    }
    if !start.starts_with('[') {
        return message(text, text).map(Body::Single);
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| syntax(text, text, &error))?;
    match items.len() {
        0 => Err(Malformed::invalid(None, "Invalid Request: the batch is empty")),
        1..=MAX_BATCH => Ok(Body::Batch(items.into_iter().map(|item| message(item.get(), text)).collect())),
        n => Err(Malformed::invalid(
            None,
            format!("Invalid Request: a batch of {n} messages; at most {MAX_BATCH} are taken at once"),
        )),
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Tells `null` from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A request or notification as nearly all of them are, read in one pass.
#[derive(Deserialize)]
struct Usual<'a> {
    jsonrpc: &'a str,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    method: String,
    #[serde(default)]
    params: Option<Params>,
    // Read only so that a second one is noticed.
    #[serde(default, rename = "result")]
    _result: IgnoredAny,
    #[serde(default, rename = "error")]
    _error: IgnoredAny,
}

impl Usual<'_> {
    /// `None` where anything is out of the ordinary: that takes a closer look.
    fn read(text: &str) -> Option<Message> {
        let usual: Usual<'_> = serde_json::from_str(text).ok()?;
        if usual.jsonrpc != "2.0" {
            return None;
        }
        let (method, params) = (usual.method, usual.params.unwrap_or_default());
        let Some(id) = usual.id else { return Some(Message::Notification(Notification { method, params })) };
        let id = Id::read(id).filter(|id| id.0.len() <= MAX_ID)?;
        Some(Message::Request(Call { id, method, params }))
    }
}

/// Classifies `text`, which lies inside `whole`.
fn message(text: &str, whole: &str) -> Result<Message, Malformed> {
    // Else an array would be taken for the members in their order.
    if text.trim_ascii_start().starts_with('{') {
        return Usual::read(text).map_or_else(|| closer_look(text, whole), Ok);
    }
    Err(match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Malformed::invalid(None, "Invalid Request: a message must be a JSON object"),
        Err(error) => syntax(text, whole, &error),
    })
}

/// The same for a message that is not what nearly all are: what is wrong with it, if anything.
fn closer_look(text: &str, whole: &str) -> Result<Message, Malformed> {
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => {
            return Err(Malformed::invalid(None, format!("Invalid Request: {error}")));
        }
        Err(error) => return Err(syntax(text, whole, &error)),
    };
    if envelope.id.is_some_and(|raw| raw.get().len() > MAX_ID) {
        let message = format!("Invalid Request: \"id\" is longer than {MAX_ID} bytes; use a number or a short string");
        return Err(Malformed::invalid(None, message));
    }
    let id = envelope.id.and_then(Id::read);
    if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return Err(Malformed::invalid(id, "Invalid Request: \"jsonrpc\" must be \"2.0\""));
    }
    let Some(method) = envelope.method else {
        return match (envelope.result, envelope.error) {
            (Some(_), None) if id.is_none() => Err(Malformed::invalid(
                None,
                "Invalid Request: a \"result\" needs the \"id\" of the request that it answers",
            )),
            (Some(_), None) | (None, Some(_)) => Ok(Message::Response),
            (Some(_), Some(_)) => {
                Err(Malformed::invalid(id, "Invalid Request: a response has either \"result\" or \"error\", not both"))
            }
            (None, None) => Err(Malformed::invalid(
                id,
                "Invalid Request: neither \"method\" (a request or notification) nor \"result\" or \"error\" (a response)",
            )),
        };
    };
    let Ok(method) = serde_json::from_str::<String>(method.get()) else {
        return Err(Malformed::invalid(id, "Invalid Request: \"method\" must be a string"));
    };
    if let Some(raw) = envelope.id
        && id.is_none()
    {
        let what = if raw.get() == "null" { "null" } else { "neither a string nor a number" };
        return Err(Malformed::invalid(
            None,
            format!("Invalid Request: \"id\" is {what}; use a string or a number, or leave it out to notify"),
        ));
    }
    let params = match envelope.params.map(|raw| (raw, serde_json::from_str::<Value>(raw.get()))) {
        None | Some((_, Ok(Value::Null))) => Params::default(),
        // Once more: as a tree, a number may have lost digits.
        Some((raw, Ok(Value::Object(_)))) => serde_json::from_str(raw.get()).unwrap_or_default(),
        Some((_, Ok(_))) => return Err(Malformed::invalid(id, "Invalid Request: \"params\" must be an object")),
        Some((_, Err(error))) if error.to_string().starts_with("recursion limit exceeded") => {
            return Err(Malformed::invalid(id, "Invalid Request: \"params\" are nested deeper than 127 levels"));
        }
        Some((raw, Err(error))) => {
            let mut malformed = syntax(raw.get(), whole, &error);
            malformed.id = id;
            return Err(malformed);
        }
    };
    Ok(match id {
        Some(id) => Message::Request(Call { id, method, params }),
        None => Message::Notification(Notification { method, params }),
    })
}

/// A syntax error in `part`, placed in `whole`.
fn syntax(part: &str, whole: &str, error: &serde_json::Error) -> Malformed {
    let sentence = error.to_string();
    let what = sentence.rsplit_once(" at line ").map_or(sentence.as_str(), |(what, _)| what);
    // `part` is a slice of `whole`: its start, and the error's place in it, give the place in the body.
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len());
    let before_error = part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    parse_error(what, place(whole.as_bytes(), start + before_error + error.column().saturating_sub(1)))
}

/// Line and column, from 1, of the byte at `offset`.
fn place(body: &[u8], offset: usize) -> (usize, usize) {
    let before = &body[..offset.min(body.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.len() - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1) + 1;
    (line, column)
}

fn parse_error(what: &str, (line, column): (usize, usize)) -> Malformed {
    let error = RpcError::new(RpcError::PARSE_ERROR, format!("Parse error: {what} at line {line} column {column}"))
        .with_data(json!({ "line": line, "column": column }));
    Malformed::new(None, error)
}

/// A successful answer; `result` is JSON.
#[must_use]
pub fn result(id: &Id, result: &[u8]) -> Vec<u8> {
    let mut answer = head(id, result.len());
    answer.extend_from_slice(result);
    answer.push(b'}');
    answer
}

/// A successful answer with this result.
#[must_use]
pub fn result_of(id: &Id, result: &impl Serialize) -> Vec<u8> {
    let mut answer = head(id, 512);
    // Texts and trees of them: all of it can be written.
    let _ = serde_json::to_writer(&mut answer, result);
    answer.push(b'}');
    answer
}

fn head(id: &Id, room: usize) -> Vec<u8> {
    let id = id.as_json().as_bytes();
    let mut answer = Vec::with_capacity(room + id.len() + 36);
    answer.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    answer.extend_from_slice(id);
    answer.extend_from_slice(b",\"result\":");
    answer
}

/// An error answer; `id` is `null` where the request's could not be read.
#[must_use]
pub fn error(id: Option<&Id>, error: &RpcError) -> Vec<u8> {
    let body = serde_json::to_string(error).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{body}}}", id.map_or("null", Id::as_json)).into_bytes()
}

/// An error that answers no request: it has no `id` member (MCP 2025-11-25 basic/transports, Security Warning).
#[must_use]
pub fn error_without_id(error: &RpcError) -> Vec<u8> {
    let body = serde_json::to_string(error).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",\"error\":{body}}}").into_bytes()
}

/// A notification of the server's.
#[must_use]
pub fn notification(method: &str, params: &impl Serialize) -> String {
    let params = serde_json::to_string(params).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}")
}

#[cfg(test)]
mod tests;
