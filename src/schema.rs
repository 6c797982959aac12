//! JSON Schemas written as text: constants that are parsed when they are asked for. Those of arguments are at the start, to check
//! with, those of results when `tools/list` shows them first.
//!
//! Text, because `json!` makes code of every node: the schemas of eleven tools were 400 KB of it.

use serde_json::{Value, json};

/// The schema in `text`.
///
/// # Panics
/// If it is not JSON. The text is a constant, and the tests ask each tool for its schemas.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant that the tests parse")]
pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("a schema is JSON")
}

/// The schema in `text`, in which `"$NAME"` stands for the value that goes by that name: for what other code knows, such as
/// a maximum or the names of an enum's variants, and for what a schema says several times.
///
/// # Panics
/// If it is not JSON, as [`parse`] does.
#[must_use]
pub fn fill(text: &str, values: &[(&str, Value)]) -> Value {
    let filled = values
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("\"${name}\""), &value.to_string()));
    parse(&filled)
}

/// The input schema of a tool without arguments.
#[must_use]
pub fn no_arguments() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_values() {
        let values = [("most", json!(3)), ("kinds", json!(["a", "b"]))];
        let schema = fill(r#"{ "maximum": "$most", "enum": "$kinds", "description": "$most" }"#, &values);
        assert_eq!(schema, json!({ "maximum": 3, "enum": ["a", "b"], "description": 3 }));
    }
}
