//! The parameters of a message.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Id;

/// The parameters of a message. Of members with the same name the last counts; what is absent is `null`.
///
/// Those that are asked for most have places of their own, so that no name of theirs is hashed, and each place is small, so
/// that a message can be handed on: 4,000 instructions of an echo.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    meta: Option<Box<Value>>,
    name: Option<Box<Value>>,
    arguments: Option<Box<Value>>,
    request_id: Option<Id>,
    others: Option<Box<Map<String, Value>>>,
}

impl Params {
    /// `_meta`
    #[must_use]
    pub fn meta(&self) -> &Value {
        self.meta.as_deref().unwrap_or(&Value::Null)
    }

    /// `name`
    #[must_use]
    pub fn name(&self) -> &Value {
        self.name.as_deref().unwrap_or(&Value::Null)
    }

    /// `arguments`
    #[must_use]
    pub fn arguments(&self) -> &Value {
        self.arguments.as_deref().unwrap_or(&Value::Null)
    }

    /// `requestId` of a cancellation, to the digit, where it can be one.
    #[must_use]
    pub fn request_id(&self) -> Option<&Id> {
        self.request_id.as_ref()
    }

    /// Takes `arguments` out.
    pub fn take_arguments(&mut self) -> Value {
        self.arguments.take().map(|arguments| *arguments).unwrap_or_default()
    }

    /// `_meta.progressToken`, where it is one: a string or a number (MCP basic/utilities/progress).
    #[must_use]
    pub fn progress_token(&self) -> Option<&Value> {
        self.meta().get("progressToken").filter(|token| token.is_string() || token.is_number())
    }

    /// Lets go of all but `_meta.progressToken`: what a call that takes its time still needs. As a tree the rest takes up to
    /// a hundred times its bytes.
    pub fn keep_progress_token(&mut self) {
        let token = self.progress_token().cloned();
        let kept = |token| Box::new(Value::Object(Map::from_iter([("progressToken".to_owned(), token)])));
        *self = Self { meta: token.map(kept), ..Self::default() };
    }

    /// Any other parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.others.as_ref()?.get(name)
    }
}

impl From<Map<String, Value>> for Params {
    fn from(mut others: Map<String, Value>) -> Self {
        let mut take = |name| others.shift_remove(name).map(Box::new);
        let (meta, name, arguments) = (take("_meta"), take("name"), take("arguments"));
        let request_id = others.shift_remove("requestId").and_then(|id| Id::from_value(&id));
        Self { meta, name, arguments, request_id, others: (!others.is_empty()).then(|| Box::new(others)) }
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Params;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Params, A::Error> {
                let mut params = Params::default();
                while let Some(name) = members.next_key()? {
                    match name {
                        Parameter::Meta => params.meta = Some(Box::new(members.next_value()?)),
                        Parameter::Name => params.name = Some(Box::new(members.next_value()?)),
                        Parameter::Arguments => params.arguments = Some(Box::new(members.next_value()?)),
                        Parameter::RequestId => params.request_id = Id::read(members.next_value()?),
                        Parameter::Other(name) => {
                            params.others.get_or_insert_default().insert(name, members.next_value()?);
                        }
                    }
                }
                Ok(params)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A parameter, by its name.
enum Parameter {
    Meta,
    Name,
    Arguments,
    RequestId,
    Other(String),
}

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Parameter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Parameter, E> {
                Ok(match name {
                    "_meta" => Parameter::Meta,
                    "name" => Parameter::Name,
                    "arguments" => Parameter::Arguments,
                    "requestId" => Parameter::RequestId,
                    other => Parameter::Other(other.to_owned()),
                })
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_call_that_takes_its_time_only_the_progress_token_is_kept() {
        let read = |json: Value| serde_json::from_value::<Params>(json).unwrap();
        let mut params =
            read(json!({ "name": "echo", "_meta": { "progressToken": 1, "more": [[0]] }, "other": [[0]] }));
        params.keep_progress_token();
        assert_eq!(params, read(json!({ "_meta": { "progressToken": 1 } })));
        let mut without = read(json!({ "name": "echo", "_meta": { "progressToken": [1] } }));
        without.keep_progress_token();
        assert_eq!(without, Params::default());
    }

    proptest! {
        #[test]
        fn they_are_what_a_map_of_them_would_be(names in prop::collection::vec("_meta|name|arguments|[a-c]", 0..8)) {
            let members: Vec<String> = names.iter().enumerate().map(|(n, name)| format!("{name:?}:{n}")).collect();
            let text = format!("{{{}}}", members.join(","));
            let map: Map<String, Value> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<Params>(&text).unwrap(), Params::from(map));
        }
    }
}
