//! A token's JSON object as it was written: member order, numbers to the letter, repeated names kept apart; and without
//! what must not be shown.
//!
//! `serde_json::Value` forgets repeated names and rounds large numbers, so the text for people is made from [`Node`],
//! which keeps both. Masking happens once, here: nothing made from a [`Document`] can leak what it has taken out.

use serde_json::{Map, Value};

use super::fault::{Fault, NotAnObject};
use super::node::{Masked, Node};
use super::segment::{self, Oddities};

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

impl Document {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`NotAnObject`] with the place.
    pub(super) fn parse(text: &str) -> Result<Self, NotAnObject> {
        let value: Value = serde_json::from_str(text).map_err(|error| why_not(&error))?;
        if !value.is_object() {
            return Err(NotAnObject::Other(type_name(&value)));
        }
        if depth(&value) > MAX_DEPTH {
            return Err(NotAnObject::TooDeep);
        }
        let mut node = Node::parse(text).map_err(|error| why_not(&error))?;
        let mut document = Self::default();
        node.find_duplicates("", &mut document.duplicates);
        node.mask("", &mut document.masked);
        if let Value::Object(members) = node.to_value() {
            document.members = members;
        }
        node.write(0, &mut document.pretty);
        Ok(document)
    }

    /// Decodes a segment that should hold a JSON object.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub(super) fn decode(segment: &str) -> Result<(Self, Oddities), Fault> {
        let (bytes, oddities) = segment::decode(segment)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Fault::NotUtf8(error.valid_up_to()))?;
        Ok((Self::parse(text).map_err(Fault::NotAnObject)?, oddities))
    }

    /// A string member.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }
}

fn why_not(error: &serde_json::Error) -> NotAnObject {
    let full = error.to_string();
    if full.contains("recursion limit") {
        return NotAnObject::TooDeep;
    }
    let reason = full.split(" at line ").next().unwrap_or(&full).to_owned();
    NotAnObject::NotJson { reason, line: error.line(), column: error.column() }
}

/// What kind of JSON value it is, with its article.
#[must_use]
pub const fn type_name(value: &Value) -> &'static str {
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
                "t":["Bearer eyJhbGciOiJub25lIn0.e30.PRIV"],"d":"shown","access_token":"PRIV",
                "damaged":"{yJhbGciOiJub25lIn0.e30.PRIVPRIVPRIVPRIVPRIVPRIVPRIVPRIV"}"#,
        )
        .unwrap();
        assert!(!document.pretty.contains("PRIV") && !format!("{document:?}").contains("PRIV"), "{document:?}");
        let paths: Vec<&str> = document.masked.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["jwk.d", "Password", "t[]", "access_token", "damaged"]);
        assert_eq!(document.str("d"), Some("shown"));
    }

    #[test]
    fn bytes_that_are_no_text_have_their_place() {
        assert_eq!(Document::decode("_w"), Err(Fault::NotUtf8(0)));
    }

    #[test]
    fn what_is_not_an_object_is_refused_with_the_place() {
        assert_eq!(
            Document::parse("{\n \"a\": }"),
            Err(NotAnObject::NotJson { reason: "expected value".to_owned(), line: 2, column: 7 })
        );
        assert_eq!(Document::parse("[1]"), Err(NotAnObject::Other("an array")));
        let nested = |n| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
        assert!(Document::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Document::parse(&nested(MAX_DEPTH + 1)), Err(NotAnObject::TooDeep));
        assert_eq!(Document::parse(&nested(10_000)), Err(NotAnObject::TooDeep));
    }
}
