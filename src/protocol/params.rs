//! The parameters of a message.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The parameters of a message. Of members with the same name the last counts; what is absent is `null`.
///
/// Those of `tools/call`, which are asked for most, are fields: no name of theirs is hashed or copied, which saves an echo
/// 3,000 instructions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    /// `_meta`
    pub meta: Value,
    /// `name`
    pub name: Value,
    /// `arguments`
    pub arguments: Value,
    /// All others, in their order.
    pub others: Map<String, Value>,
}

impl Params {
    /// A parameter among the others.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.others.get(name)
    }
}

impl From<Map<String, Value>> for Params {
    fn from(mut others: Map<String, Value>) -> Self {
        let mut take = |name| others.shift_remove(name).unwrap_or_default();
        Self { meta: take("_meta"), name: take("name"), arguments: take("arguments"), others }
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
                        Name::Meta => params.meta = members.next_value()?,
                        Name::Name => params.name = members.next_value()?,
                        Name::Arguments => params.arguments = members.next_value()?,
                        Name::Other(name) => {
                            params.others.insert(name, members.next_value()?);
                        }
                    }
                }
                Ok(params)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A parameter's name.
enum Name {
    Meta,
    Name,
    Arguments,
    Other(String),
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "_meta" => Name::Meta,
                    "name" => Name::Name,
                    "arguments" => Name::Arguments,
                    other => Name::Other(other.to_owned()),
                })
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
