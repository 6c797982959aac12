//! Parts of the tools' schemas that several of them share.

use serde_json::{Value, json};

/// The input schema of a tool without arguments.
pub(super) fn no_arguments() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

/// A value of this type, or `null` where it is not known.
pub(super) fn nullable(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

/// A list of strings.
pub(super) fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}
