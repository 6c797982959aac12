//! What a client says of itself: in `initialize`, and in the `_meta` of every request of the stateless era.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{LogLevel, Params};
use crate::text::shorten;

/// `_meta` key of the protocol version (MCP 2026-07-28 basic/index, `_meta`, as all keys here).
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` key of the client's name and version.
pub const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// `_meta` key of the client's capabilities.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta` key of the least level of log messages that the client wants.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// `_meta` key of the server's name and version, on results.
pub const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// `_meta` key of a subscription's id, on everything that its stream carries.
pub const META_SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// Characters kept of each string of a client's name: room for any real one.
const MAX_CLIENT_INFO: usize = 200;

/// Bytes kept of a client's capabilities as JSON text; larger ones are forgotten. Real clients send under 1 KB.
const MAX_CAPABILITIES: usize = 16 * 1024;

/// The client as it names itself (schema `Implementation`), strings shortened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// `name`
    pub name: Box<str>,
    /// `version`
    pub version: Box<str>,
    /// `title` (2025-06-18 and later).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Box<str>>,
}

impl ClientInfo {
    /// Reads an `Implementation`; `None` without the strings `name` and `version`, which every revision requires.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(|text| shorten(text, MAX_CLIENT_INFO).into());
        Some(Self { name: text("name")?, version: text("version")?, title: text("title") })
    }
}

/// A client's capabilities as sessions and calls keep them: JSON text, since values would take ten times as much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities(Box<str>);

impl Capabilities {
    /// Keeps `capabilities`; `null` when they are larger than is kept.
    #[must_use]
    pub fn keep(capabilities: &Value) -> Self {
        let text = capabilities.to_string();
        if text.len() <= MAX_CAPABILITIES { Self(text.into()) } else { Self::default() }
    }

    /// What was kept.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The same as the object that it is; empty where nothing was kept.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        match self.to_value() {
            Value::Object(capabilities) => capabilities,
            _ => Map::new(),
        }
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.len()
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self("null".into())
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self::keep(&value))
    }
}

/// The protocol version that `_meta` names, if it names one at all.
#[must_use]
pub fn named_version(params: &Params) -> Option<String> {
    Some(params.meta().get(META_VERSION)?.as_str()?.to_owned())
}

/// `_meta` of a request of the stateless era.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// The protocol version that the request is made in.
    pub version: String,
    /// Who the client is, if it says.
    pub client_info: Option<ClientInfo>,
    /// What the client can do.
    pub client_capabilities: Capabilities,
    /// The least level of log messages that it wants; none without.
    pub log_level: Option<LogLevel>,
}

impl Meta {
    /// Reads `_meta` (MCP 2026-07-28 basic/index, Per-request protocol fields).
    ///
    /// # Errors
    /// One sentence for each field that is missing or wrong.
    pub fn read(params: &Params) -> Result<Self, Vec<String>> {
        let Some(meta) = params.meta().as_object() else {
            return Err(vec![format!(
                "`_meta` is required: an object with `{META_VERSION}` and `{META_CLIENT_CAPABILITIES}`"
            )]);
        };
        let mut problems = Vec::new();
        let version = meta.get(META_VERSION).and_then(Value::as_str);
        if version.is_none() {
            problems.push(format!("`_meta[\"{META_VERSION}\"]` is required: a string such as \"2026-07-28\""));
        }
        let capabilities = meta.get(META_CLIENT_CAPABILITIES).filter(|value| value.is_object());
        if capabilities.is_none() {
            problems.push(format!(
                "`_meta[\"{META_CLIENT_CAPABILITIES}\"]` is required: an object, {{}} if the client has none"
            ));
        }
        let info = meta.get(META_CLIENT_INFO);
        let client_info = info.and_then(ClientInfo::read);
        if info.is_some() && client_info.is_none() {
            problems.push(format!(
                "`_meta[\"{META_CLIENT_INFO}\"]` must be an object with the strings `name` and `version`"
            ));
        }
        let level = meta.get(META_LOG_LEVEL);
        let log_level = level.and_then(Value::as_str).and_then(LogLevel::named);
        if level.is_some() && log_level.is_none() {
            let names = LogLevel::ALL.map(LogLevel::name).join(", ");
            problems.push(format!("`_meta[\"{META_LOG_LEVEL}\"]` must be one of {names}"));
        }
        match (version, capabilities) {
            (Some(version), Some(capabilities)) if problems.is_empty() => Ok(Self {
                version: version.to_owned(),
                client_info,
                client_capabilities: Capabilities::keep(capabilities),
                log_level,
            }),
            _ => Err(problems),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(meta: &Value) -> Result<Meta, Vec<String>> {
        Meta::read(&json!({ "_meta": meta }).as_object().unwrap().clone().into())
    }

    #[test]
    fn every_required_field_that_is_missing_is_named() {
        assert_eq!(Meta::read(&Params::default()).unwrap_err().len(), 1);
        let problems = read(&json!({ META_CLIENT_INFO: {"name": "x"}, META_LOG_LEVEL: "loud" })).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].contains(META_VERSION) && problems[1].contains(META_CLIENT_CAPABILITIES));
    }

    #[test]
    fn a_client_need_not_name_itself() {
        let meta = read(&json!({ META_VERSION: "2026-07-28", META_CLIENT_CAPABILITIES: {} })).unwrap();
        assert_eq!((meta.client_info, meta.log_level), (None, None));
    }
}
