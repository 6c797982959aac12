//! A token that is signed with the key in its own header.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::key::Key;

/// Whether a token is signed with the key in its own header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnSignature {
    /// It is.
    Valid,
    /// It is not.
    Invalid,
    /// Not checked, with the reason.
    NotChecked(String),
}

impl OwnSignature {
    /// `valid`, `invalid`, `not-checked`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::NotChecked(_) => "not-checked",
        }
    }
}

impl Serialize for OwnSignature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Whether `signed` (header and payload segments with the dot between) carries a signature by the key in its own header.
pub(super) fn verify(header: &Map<String, Value>, signed: &str, signature: &str) -> OwnSignature {
    let Some(jwk) = header.get("jwk") else {
        return OwnSignature::NotChecked("the header has no key".to_owned());
    };
    let alg = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    match Key::read(jwk).and_then(|key| key.has_signed(alg, signed, signature)) {
        Ok(true) => OwnSignature::Valid,
        Ok(false) => OwnSignature::Invalid,
        Err(why) => OwnSignature::NotChecked(why),
    }
}
