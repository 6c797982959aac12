//! The members of a JSON object in their order, and a message's parameters made of them.
//!
//! Parameters and arguments have a handful of members: to look at them one by one costs less than to hash one name.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// With more members than this, repeated names are found by hashing: nobody sends so many, but whoever does must not make
/// the server compare each with each.
const FEW: usize = 16;

/// The members of an object. Of those with the same name the last counts, at the place of the first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members(Vec<(Name, Value)>);

/// A member's name.
type Name = Cow<'static, str>;

/// Names that nearly every message has: they need no memory of their own.
const USUAL: [&str; 5] = ["name", "arguments", "_meta", "message", "sessionId"];

/// Reads a name.
struct ReadName;

impl<'de> DeserializeSeed<'de> for ReadName {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ReadName {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        let usual = USUAL.into_iter().find(|usual| *usual == name);
        Ok(usual.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed))
    }
}

impl Members {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of the member called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// All, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps those whose value `keep` likes.
    pub fn retain(&mut self, mut keep: impl FnMut(&Value) -> bool) {
        self.0.retain(|(_, value)| keep(value));
    }

    fn into_map(self) -> Map<String, Value> {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value)).collect()
    }

    fn insert(&mut self, name: Name, value: Value) {
        match self.0.iter_mut().find(|(own, _)| *own == name) {
            Some((_, own)) => *own = value,
            None => self.0.push((name, value)),
        }
    }
}

impl From<Map<String, Value>> for Members {
    fn from(members: Map<String, Value>) -> Self {
        Self(members.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect())
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Read)
    }
}

/// Reads an object's members.
struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
        let mut members = Members::new();
        while let Some(name) = access.next_key_seed(ReadName)? {
            members.insert(name, access.next_value()?);
            if members.0.len() > FEW {
                let mut many = members.into_map();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    many.insert(name, value);
                }
                return Ok(many.into());
            }
        }
        Ok(members)
    }
}

/// The parameters of a message, by name. `arguments` (of `tools/call`) are kept apart, since they are looked into most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    members: Members,
    arguments: Option<Given>,
}

/// What `arguments` are.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// An object.
    Members(Members),
    /// Anything else: boxed, since it is a mistake.
    Other(Box<Value>),
}

impl Given {
    fn other(value: impl Into<Value>) -> Self {
        Self::Other(Box::new(value.into()))
    }
}

impl Params {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { members: Members::new(), arguments: None }
    }

    /// The parameter called `name`; not `arguments`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// `arguments`.
    #[must_use]
    pub const fn arguments(&self) -> Option<&Given> {
        self.arguments.as_ref()
    }

    /// Takes `arguments` out.
    pub fn take_arguments(&mut self) -> Option<Given> {
        self.arguments.take()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.arguments.is_none()
    }
}

impl From<Map<String, Value>> for Params {
    fn from(mut members: Map<String, Value>) -> Self {
        let arguments = members.shift_remove("arguments").map(|arguments| match arguments {
            Value::Object(arguments) => Given::Members(arguments.into()),
            other => Given::Other(Box::new(other)),
        });
        Self { members: members.into(), arguments }
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Params;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Params, A::Error> {
                let mut params = Params::new();
                while let Some(name) = access.next_key_seed(ReadName)? {
                    if name == "arguments" {
                        params.arguments = Some(access.next_value()?);
                        continue;
                    }
                    params.members.insert(name, access.next_value()?);
                    if params.members.0.len() > FEW {
                        let mut many = params.members.into_map();
                        while let Some((name, value)) = access.next_entry::<String, Value>()? {
                            many.insert(name, value);
                        }
                        let rest = Params::from(many);
                        return Ok(Params { arguments: rest.arguments.or(params.arguments), members: rest.members });
                    }
                }
                Ok(params)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Given, A::Error> {
                Read.visit_map(access).map(Given::Members)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Given, A::Error> {
                Value::deserialize(SeqAccessDeserializer::new(access)).map(Given::other)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Given, E> {
                Ok(Given::other(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Given, E> {
                Ok(Given::other(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Given, E> {
                Ok(Given::other(value))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Given, E> {
                Ok(Given::other(value))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Given, E> {
                Ok(Given::other(value))
            }

            fn visit_unit<E: Error>(self) -> Result<Given, E> {
                Ok(Given::other(Value::Null))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn params(text: &str) -> Params {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn arguments_are_kept_apart_whatever_they_are() {
        let read = params(r#"{"name":"echo","arguments":{"a":1},"_meta":{}}"#);
        assert_eq!(read.get("name"), Some(&json!("echo")));
        assert_eq!(read.get("arguments"), None);
        let Some(Given::Members(arguments)) = read.arguments() else { panic!() };
        assert_eq!(arguments.get("a"), Some(&json!(1)));
        for other in [json!(null), json!(true), json!(-1), json!(1), json!(1.5), json!("x"), json!([{}, [1]])] {
            assert_eq!(params(&json!({ "arguments": other }).to_string()).arguments(), Some(&Given::other(other)));
        }
    }

    proptest! {
        /// Repeated names included, few and many.
        #[test]
        fn members_are_what_a_map_of_them_would_be(names in prop::collection::vec("[a-e]|arguments|[a-z]{2}", 0..60)) {
            let text: Vec<String> = names.iter().enumerate().map(|(i, name)| format!("{name:?}:{i}")).collect();
            let text = format!("{{{}}}", text.join(","));
            let map: Map<String, Value> = serde_json::from_str(&text).unwrap();
            let members: Members = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&members, &Members::from(map.clone()));
            prop_assert!(members.iter().eq(map.iter().map(|(name, value)| (name.as_str(), value))));
            prop_assert_eq!(params(&text), Params::from(map));
        }
    }
}
