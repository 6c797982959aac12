//! A token's JSON object as it was written: member order, numbers to the letter, repeated names kept apart; and without
//! what must not be shown.
//!
//! `serde_json::Value` forgets repeated names and rounds large numbers, so the text for people is made from [`Node`],
//! which keeps both. Masking happens once, here: nothing made from a [`Document`] can leak what it has taken out.

use serde_json::{Map, Value};

use super::node::Node;

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
    /// The private part of a JWK (RFC 7517 section 9.2).
    PrivateKey,
    /// A token: not shown, or without its signature.
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
            Self::Token => "a token",
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
