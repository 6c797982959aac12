//! What is wrong with a tool's arguments, by its input schema: asked where the tool's type could not be read from them.

use serde_json::{Map, Value};

use crate::text::shorten;

/// The most problems that are named one by one: an answer is read by people, and must not grow with what is sent.
const MAX_PROBLEMS: usize = 20;

/// A tool's input schema, ready to explain with.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    all: Vec<Rule>,
}

/// What an argument has to be.
#[derive(Debug, Clone)]
struct Rule {
    name: String,
    is_required: bool,
    schema: Value,
}

/// JSON Schema's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    Boolean,
    Integer,
    Number,
    Object,
    Array,
    Any,
}

impl Kind {
    fn of(schema: &Value) -> Self {
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => Self::String,
            Some("boolean") => Self::Boolean,
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("object") => Self::Object,
            Some("array") => Self::Array,
            _ => Self::Any,
        }
    }

    /// With its article.
    const fn name(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Any => "a value",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => {
                value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0)
            }
            Self::Number => value.is_number(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::Any => true,
        }
    }
}

impl Rules {
    /// The rules of a schema that uses `properties`, `required`, `type`, `minimum`, `maximum`, `enum` and `items.type`.
    /// Every property that it does not name is refused.
    #[must_use]
    pub fn of(schema: &Value) -> Self {
        let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let properties = schema.get("properties").and_then(Value::as_object);
        let rule = |(name, schema): (&String, &Value)| Rule {
            name: name.clone(),
            is_required: required.iter().any(|required| required == name),
            schema: schema.clone(),
        };
        Self { all: properties.into_iter().flatten().map(rule).collect() }
    }

    fn get(&self, name: &str) -> Option<&Rule> {
        self.all.iter().find(|rule| rule.name == name)
    }

    /// Everything that is wrong with `given`, a sentence each. An optional argument that is `null` counts as left out.
    #[must_use]
    pub fn problems(&self, given: &Map<String, Value>) -> Vec<String> {
        let mut problems = Vec::new();
        for rule in self.all.iter().filter(|rule| rule.is_required && !given.contains_key(&rule.name)) {
            problems.push(format!("`{}` is required: {}", rule.name, Kind::of(&rule.schema).name()));
        }
        for (name, value) in given {
            match self.get(name) {
                None => problems.push(unknown(name, self)),
                Some(rule) if value.is_null() && !rule.is_required => {}
                Some(rule) => problems.extend(problem(name, value, &rule.schema)),
            }
        }
        if problems.len() > MAX_PROBLEMS {
            let more = problems.len() - MAX_PROBLEMS;
            problems.truncate(MAX_PROBLEMS);
            problems.push(format!("and {more} more"));
        }
        problems
    }
}

fn unknown(name: &str, rules: &Rules) -> String {
    let name = shorten(name, 40);
    if rules.all.is_empty() {
        return format!("`{name}` is unknown: this tool takes no arguments");
    }
    let known: Vec<String> = rules.all.iter().map(|rule| format!("`{}`", rule.name)).collect();
    format!("`{name}` is unknown: this tool takes {}", known.join(", "))
}

fn problem(name: &str, value: &Value, rule: &Value) -> Option<String> {
    let kind = Kind::of(rule);
    if !kind.fits(value) {
        return Some(format!("`{name}` must be {}, got {}", kind.name(), describe(value)));
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
        Rules::of(&schema()).problems(given.as_object().unwrap())
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
    fn what_the_schema_allows_is_no_problem() {
        assert!(problems(&json!({"message": "hi", "delayMs": 5.0, "headers": null})).is_empty());
    }
}
