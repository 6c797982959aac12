//! A token's JSON object as it was written: member order, numbers to the letter, repeated names kept apart; and without
//! what must not be shown.
//!
//! `serde_json::Value` forgets repeated names and rounds large numbers, so the text for people is made from [`Node`],
//! which keeps both. Masking happens once, here: nothing made from a [`Document`] can leak what it has taken out.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::segment::is_jws;

/// How deep a header or payload may nest: real tokens stay under 10, and every parser has a limit of its own.
pub const MAX_DEPTH: usize = 32;

/// A decoded header or payload.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// Its members, masked; of repeated names the last one counts (RFC 7519 section 4, RFC 7515 section 4).
    pub members: Map<String, Value>,
    /// Pretty-printed: own order, numbers as written, repeated names each; masked.
    pub pretty: String,
    /// Paths of member names that occur more than once in their object.
    pub duplicates: Vec<String>,
    /// What was not shown: path and reason.
    pub masked: Vec<(String, Masked)>,
}

/// Why a value is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masked {
    /// The private part of a JWK (RFC 7517 section 9.3).
    PrivateKey,
    /// A token inside the token: its signature is cut off.
    Token,
    /// A password or client secret.
    Secret,
}

impl Masked {
    /// What it is.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "private key material",
            Self::Token => "a token with its signature",
            Self::Secret => "a secret",
        }
    }
}

/// Why a text is not a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not JSON; line and column as serde_json counts them, from 1.
    NotJson {
        /// What the parser says, without the place.
        reason: String,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// JSON, but not an object.
    NotAnObject(&'static str),
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl Document {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`Refusal`] with the place.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let value: Value = serde_json::from_str(text).map_err(|error| refusal(&error))?;
        if !value.is_object() {
            return Err(Refusal::NotAnObject(type_name(&value)));
        }
        if depth(&value) > MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        let mut node = Node::parse(text).map_err(|error| refusal(&error))?;
        let mut document = Self::default();
        node.find_duplicates("", &mut document.duplicates);
        node.mask("", &mut document.masked);
        if let Value::Object(members) = node.to_value() {
            document.members = members;
        }
        node.write(0, &mut document.pretty);
        Ok(document)
    }

    /// A string member.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }
}

fn refusal(error: &serde_json::Error) -> Refusal {
    let full = error.to_string();
    if full.contains("recursion limit") {
        return Refusal::TooDeep;
    }
    let reason = full.split(" at line ").next().unwrap_or(&full).to_owned();
    Refusal::NotJson { reason, line: error.line(), column: error.column() }
}

/// What kind of JSON value it is, with its article.
pub(super) const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// One JSON value as it was written.
enum Node {
    /// A number, `true`, `false` or `null`, to the letter.
    Literal(String),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn parse(raw: &str) -> serde_json::Result<Self> {
        let raw = raw.trim_matches([' ', '\t', '\r', '\n']);
        Ok(match raw.as_bytes().first() {
            Some(b'{') => {
                let members: Members<'_> = serde_json::from_str(raw)?;
                let parse = |(name, value): (String, &RawValue)| Ok((name, Self::parse(value.get())?));
                Self::Object(members.0.into_iter().map(parse).collect::<serde_json::Result<_>>()?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw)?;
                Self::Array(items.into_iter().map(|item| Self::parse(item.get())).collect::<serde_json::Result<_>>()?)
            }
            Some(b'"') => Self::Text(serde_json::from_str(raw)?),
            _ => Self::Literal(raw.to_owned()),
        })
    }

    fn find_duplicates(&self, path: &str, found: &mut Vec<String>) {
        match self {
            Self::Object(members) => {
                let mut seen = std::collections::HashSet::new();
                for (name, value) in members {
                    let here = join(path, name);
                    if !seen.insert(name.as_str()) && !found.contains(&here) {
                        found.push(here.clone());
                    }
                    value.find_duplicates(&here, found);
                }
            }
            Self::Array(items) => items.iter().for_each(|item| item.find_duplicates(&format!("{path}[]"), found)),
            Self::Literal(_) | Self::Text(_) => {}
        }
    }

    fn mask(&mut self, path: &str, masked: &mut Vec<(String, Masked)>) {
        match self {
            Self::Object(members) => {
                let key = members.iter().any(|(name, _)| name == "kty");
                for (name, value) in members {
                    let here = join(path, name);
                    let reason = if key && PRIVATE_KEY_MEMBERS.contains(&name.as_str()) {
                        Some(Masked::PrivateKey)
                    } else if SECRET_MEMBERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
                        Some(Masked::Secret)
                    } else {
                        None
                    };
                    match reason {
                        Some(reason) => {
                            *value = Self::Text(format!("[{} not shown]", reason.name()));
                            masked.push((here, reason));
                        }
                        None => value.mask(&here, masked),
                    }
                }
            }
            Self::Array(items) => items.iter_mut().for_each(|item| item.mask(&format!("{path}[]"), masked)),
            Self::Text(text) => {
                if let Some(shown) = without_signatures(text) {
                    *text = shown;
                    masked.push((path.to_owned(), Masked::Token));
                }
            }
            Self::Literal(_) => {}
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Literal(raw) => serde_json::from_str(raw).unwrap_or(Value::Null),
            Self::Text(text) => Value::String(text.clone()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), value.to_value())).collect())
            }
        }
    }

    fn write(&self, indent: usize, out: &mut String) {
        match self {
            Self::Literal(raw) => out.push_str(raw),
            Self::Text(text) => write_string(text, out),
            Self::Array(items) if items.is_empty() => out.push_str("[]"),
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    new_line(i > 0, indent + 1, out);
                    item.write(indent + 1, out);
                }
                new_line(false, indent, out);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    new_line(i > 0, indent + 1, out);
                    write_string(name, out);
                    out.push_str(": ");
                    value.write(indent + 1, out);
                }
                new_line(false, indent, out);
                out.push('}');
            }
        }
    }
}

/// The members of a JWK that are private or symmetric keys (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1; `priv`: the
/// "AKP" keys of ML-DSA).
const PRIVATE_KEY_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// Claims that nobody should put into a token, and that are not shown when someone did.
const SECRET_MEMBERS: [&str; 5] = ["password", "passwd", "pwd", "client_secret", "secret"];

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The text with the last segment of every word in it that is a JWS cut off; `None` where there is none.
fn without_signatures(text: &str) -> Option<String> {
    if !text.contains("ey") {
        return None;
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '/' | '=');
    let mut shown = String::with_capacity(text.len());
    let mut found = false;
    for word in text.split_inclusive(|c| !is_part(c)) {
        let (token, rest) = word.split_at(word.trim_end_matches(|c| !is_part(c)).len());
        match token.rfind('.') {
            Some(dot) if is_jws(token) => {
                found = true;
                shown.push_str(&token[..dot]);
                shown.push_str(".[signature not shown]");
            }
            _ => shown.push_str(token),
        }
        shown.push_str(rest);
    }
    found.then_some(shown)
}

fn new_line(comma: bool, indent: usize, out: &mut String) {
    out.push_str(if comma { ",\n" } else { "\n" });
    for _ in 0..indent {
        out.push_str("  ");
    }
}

/// A JSON string in which control characters and those that reorder or hide text are escaped: what a terminal shows is
/// what the token says.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..'\u{20}'
            | '\u{7f}'..'\u{a0}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// An object's members in order, repeated names included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_order_numbers_and_repeated_names() {
        let document =
            Document::parse(r#" {"z":1.50,"a":12345678901234567890123,"z":[],"o":{},"s":"é\u202e\n"} "#).unwrap();
        assert_eq!(
            document.pretty,
            "{\n  \"z\": 1.50,\n  \"a\": 12345678901234567890123,\n  \"z\": [],\n  \"o\": {},\n  \"s\": \"é\\u202e\\n\"\n}"
        );
        assert_eq!(document.duplicates, ["z"]);
        assert_eq!(document.members["z"], serde_json::json!([]));
    }

    #[test]
    fn private_keys_passwords_and_signatures_inside_are_taken_out() {
        let document = Document::parse(
            r#"{"jwk":{"kty":"EC","d":"PRIV","x":"pub"},"Password":"PRIV",
                "t":["Bearer eyJhbGciOiJub25lIn0.e30.PRIV"],"d":"shown"}"#,
        )
        .unwrap();
        assert!(!document.pretty.contains("PRIV") && !format!("{document:?}").contains("PRIV"), "{document:?}");
        let paths: Vec<&str> = document.masked.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["jwk.d", "Password", "t[]"]);
        assert_eq!(document.str("d"), Some("shown"));
    }

    #[test]
    fn what_is_not_an_object_is_refused_with_the_place() {
        assert_eq!(
            Document::parse("{\n \"a\": }"),
            Err(Refusal::NotJson { reason: "expected value".to_owned(), line: 2, column: 7 })
        );
        assert_eq!(Document::parse("[1]"), Err(Refusal::NotAnObject("an array")));
        let nested = |n| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
        assert!(Document::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Document::parse(&nested(MAX_DEPTH + 1)), Err(Refusal::TooDeep));
        assert_eq!(Document::parse(&nested(10_000)), Err(Refusal::TooDeep));
    }
}
