//! A tool's arguments, checked against its input schema: the schema is the only place that says what is allowed.

use serde_json::{Map, Value};

use super::ToolError;
use crate::text::shorten;

/// The most problems that are named one by one: an answer is read by people, and must not grow with what is sent.
const MAX_PROBLEMS: usize = 20;

/// Arguments that satisfy their tool's input schema.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments(Map<String, Value>);

impl Arguments {
    /// Checks `given` against `schema`, which uses `properties`, `required`, `type`, `minimum`, `maximum`, `enum` and
    /// `items.type`; every property that it does not name is refused. An optional argument that is `null` counts as
    /// left out.
    ///
    /// # Errors
    /// [`ToolError::InvalidArguments`] with one sentence for each problem.
    pub fn check(mut given: Map<String, Value>, schema: &Value) -> Result<Self, ToolError> {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut problems = Vec::new();
        for name in required.iter().filter_map(Value::as_str) {
            if !given.contains_key(name) {
                let kind = properties.get(name).map_or("value", kind_of);
                problems.push(format!("`{name}` is required: {} {kind}", article(kind)));
            }
        }
        let mut has_null = false;
        for (name, value) in &given {
            match properties.get(name) {
                None => problems.push(unknown(name, properties)),
                Some(_) if value.is_null() && !required.contains(&Value::String(name.clone())) => has_null = true,
                Some(rule) => problems.extend(problem(name, value, rule)),
            }
        }
        if problems.is_empty() {
            if has_null {
                given.retain(|_, value| !value.is_null());
            }
            return Ok(Self(given));
        }
        if problems.len() > MAX_PROBLEMS {
            let more = problems.len() - MAX_PROBLEMS;
            problems.truncate(MAX_PROBLEMS);
            problems.push(format!("and {more} more"));
        }
        Err(ToolError::InvalidArguments(problems))
    }

    /// A string argument.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A boolean argument; false when left out.
    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// An integer argument that is not negative.
    #[must_use]
    pub fn u64(&self, name: &str) -> Option<u64> {
        let value = self.0.get(name)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the schema has bounded it, and 5.0 is an integer to JSON Schema"
        )]
        value.as_u64().or_else(|| value.as_f64().map(|float| float as u64))
    }

    /// An object argument.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name)?.as_object()
    }

    /// The strings of an array argument.
    #[must_use]
    pub fn strings(&self, name: &str) -> Option<Vec<&str>> {
        Some(self.0.get(name)?.as_array()?.iter().filter_map(Value::as_str).collect())
    }
}

fn kind_of(rule: &Value) -> &str {
    rule.get("type").and_then(Value::as_str).unwrap_or("value")
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn unknown(name: &str, properties: &Map<String, Value>) -> String {
    let name = shorten(name, 40);
    if properties.is_empty() {
        return format!("`{name}` is unknown: this tool takes no arguments");
    }
    let known: Vec<String> = properties.keys().map(|key| format!("`{key}`")).collect();
    format!("`{name}` is unknown: this tool takes {}", known.join(", "))
}

fn problem(name: &str, value: &Value, rule: &Value) -> Option<String> {
    let kind = kind_of(rule);
    let fits = match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => true,
    };
    if !fits {
        return Some(format!("`{name}` must be {} {kind}, got {}", article(kind), describe(value)));
    }
    if let Some(number) = value.as_f64() {
        let (min, max) = (rule.get("minimum").and_then(Value::as_f64), rule.get("maximum").and_then(Value::as_f64));
        if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
            let range = match (min, max) {
                (Some(min), Some(max)) => format!("between {min} and {max}"),
                (Some(min), None) => format!("at least {min}"),
                _ => format!("at most {}", max.unwrap_or_default()),
            };
            return Some(format!("`{name}` must be {range}, got {value}"));
        }
    }
    if let Some(allowed) = rule.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return Some(format!("`{name}` must be one of {}, got {}", allowed.join(", "), describe(value)));
    }
    if let (Some(items), Some(item_rule)) = (value.as_array(), rule.get("items")) {
        return items.iter().enumerate().find_map(|(i, item)| problem(&format!("{name}[{i}]"), item, item_rule));
    }
    None
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => format!("the boolean {value}"),
        Value::Number(_) => format!("the number {value}"),
        Value::String(text) => format!("the string {:?}", shorten(text, 40)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "delayMs": {"type": "integer", "minimum": 0, "maximum": 60000},
                "headers": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["message"],
            "additionalProperties": false,
        })
    }

    fn problems(given: &Value) -> Vec<String> {
        match Arguments::check(given.as_object().unwrap().clone(), &schema()) {
            Ok(_) => Vec::new(),
            Err(ToolError::InvalidArguments(problems)) => problems,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_mistake_is_named_with_what_would_be_right() {
        assert_eq!(
            problems(&json!({"mesage": "x", "delayMs": 70000, "headers": ["a", 1]})),
            [
                "`message` is required: a string",
                "`mesage` is unknown: this tool takes `message`, `delayMs`, `headers`",
                "`delayMs` must be between 0 and 60000, got 70000",
                "`headers[1]` must be a string, got the number 1",
            ]
        );
        assert_eq!(problems(&json!({"message": null})), ["`message` must be a string, got null"]);
    }

    #[test]
    fn an_answer_does_not_grow_with_the_mistakes() {
        let given = (0..1000).map(|n| (format!("unknown{n}"), Value::Null)).chain([("message".to_owned(), json!(""))]);
        let problems = problems(&Value::Object(given.collect()));
        assert_eq!(problems.len(), MAX_PROBLEMS + 1);
        assert_eq!(problems.last().unwrap(), "and 980 more");
    }

    #[test]
    fn what_the_schema_allows_is_read_back() {
        let given = json!({"message": "hi", "delayMs": 5.0, "headers": null});
        let arguments = Arguments::check(given.as_object().unwrap().clone(), &schema()).unwrap();
        assert_eq!(arguments.str("message"), Some("hi"));
        assert_eq!(arguments.u64("delayMs"), Some(5));
        assert_eq!(arguments.strings("headers"), None);
    }
}
