//! Members of a stored object that this release does not know.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// What a newer release wrote and this one does not know: kept, and written back as it was. Without it, a replica of the
/// old release would drop during an upgrade what one of the new release has just stored.
///
/// For a field with `#[serde(flatten)]`. Nearly always empty, and then one word large.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rest(Option<Box<Map<String, Value>>>);

impl Rest {
    /// The value of an unknown member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.as_ref()?.get(name)
    }
}

impl Serialize for Rest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().flat_map(|members| members.iter()))
    }
}

impl<'de> Deserialize<'de> for Rest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        Ok(Self((!members.is_empty()).then(|| Box::new(members))))
    }
}
