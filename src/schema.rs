//! JSON Schemas written as text: constants that are parsed when they are asked for. Those of arguments are at the start, to check
//! with, those of results when `tools/list` shows them first.
//!
//! Text, because `json!` makes code of every node: the schemas of eleven tools were 400 KB of it.

use serde_json::{Map, Value, json};

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

/// What of a schema is said about all its types: the others are rules for values of one.
const OF_ALL_TYPES: [&str; 5] = ["title", "description", "default", "examples", "deprecated"];

/// `schema` with one `type` each. A list of types, which several clients cannot read (the MCP Inspector marks such a tool),
/// becomes one alternative for each of them (JSON Schema 2020-12 core section 10.2.1.2, `anyOf`). What is said of the value
/// stays where it is; rules go with the types that are not `null`.
#[must_use]
pub fn portable(schema: Value) -> Value {
    let mut members = match schema {
        Value::Object(members) => members,
        Value::Array(items) => return items.into_iter().map(portable).collect(),
        other => return other,
    };
    for member in members.values_mut() {
        *member = portable(member.take());
    }
    let Some(Value::Array(types)) = members.get("type").cloned() else { return Value::Object(members) };
    members.shift_remove("type");
    let (said, rules): (Map<_, _>, Map<_, _>) =
        members.into_iter().partition(|(name, _)| OF_ALL_TYPES.contains(&name.as_str()));
    let alternative = |of: &Value| {
        let mut alternative = if of == "null" { Map::new() } else { rules.clone() };
        alternative.shift_insert(0, "type".to_owned(), of.clone());
        Value::Object(alternative)
    };
    let mut portable = said;
    portable.insert("anyOf".to_owned(), types.iter().map(alternative).collect());
    Value::Object(portable)
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
    fn a_list_of_types_becomes_alternatives() {
        let schema = json!({
            "type": "object",
            "properties": {
                "at": { "type": ["string", "null"], "format": "date-time", "description": "when" },
                "type": { "type": "string" },
                "deep": { "type": "array", "items": { "type": ["object", "null"], "properties": { "n": { "type": ["integer", "null"] } } } },
            },
        });
        let number = json!({ "anyOf": [{ "type": "integer" }, { "type": "null" }] });
        assert_eq!(
            portable(schema),
            json!({
                "type": "object",
                "properties": {
                    "at": {
                        "description": "when",
                        "anyOf": [{ "type": "string", "format": "date-time" }, { "type": "null" }],
                    },
                    "type": { "type": "string" },
                    "deep": {
                        "type": "array",
                        "items": { "anyOf": [{ "type": "object", "properties": { "n": number } }, { "type": "null" }] },
                    },
                },
            })
        );
    }

    #[test]
    fn names_stand_for_values() {
        let values = [("most", json!(3)), ("kinds", json!(["a", "b"]))];
        let schema = fill(r#"{ "maximum": "$most", "enum": "$kinds", "description": "$most" }"#, &values);
        assert_eq!(schema, json!({ "maximum": 3, "enum": ["a", "b"], "description": 3 }));
    }
}
