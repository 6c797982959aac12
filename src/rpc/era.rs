//! Which era a request belongs to: decided here and nowhere else.

use crate::protocol::meta::META_VERSION;
use crate::protocol::{Params, Served, is_stateless};

/// The two eras of the protocol (MCP 2026-07-28 basic/versioning, Terminology: legacy and modern).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `initialize`, sessions: 2024-11-05 to 2025-11-25.
    Handshake,
    /// Every request on its own: 2026-07-28 and later.
    Stateless,
}

impl Era {
    /// The era of a message; `header` is what its request's `MCP-Protocol-Version` says.
    ///
    /// Stateless when its `_meta` names a protocol version, the header names one of that era, or its method is
    /// `server/discover`; `initialize` only by its `_meta`. A `_meta` that names a handshake revision which is served does not
    /// count: those revisions leave `_meta` free. Where no handshake revision is served, everything is stateless.
    #[must_use]
    pub fn of(method: &str, params: &Params, header: Option<&str>, served: &Served) -> Self {
        let named = params.meta().get(META_VERSION);
        let by_meta = named.is_some_and(|named| {
            let handshake = named.as_str().and_then(|name| served.get(name)).is_some_and(|r| !r.is_stateless());
            !handshake || named.as_str().is_some_and(is_stateless)
        });
        // MCP 2026-07-28 basic/versioning: without that `_meta`, `initialize` selects the handshake era, where there is one.
        if !by_meta && method == "initialize" && served.preferred().is_some() {
            Self::Handshake
        } else if by_meta || method == "server/discover" || Self::by_header(header, served) == Self::Stateless {
            Self::Stateless
        } else {
            Self::Handshake
        }
    }

    /// The era that `MCP-Protocol-Version` names: what decides for GET, DELETE and responses.
    #[must_use]
    pub fn by_header(header: Option<&str>, served: &Served) -> Self {
        let stateless = header.is_some_and(is_stateless);
        if stateless || served.preferred().is_none() { Self::Stateless } else { Self::Handshake }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn era(method: &str, params: Value, header: Option<&str>) -> Era {
        let Value::Object(params) = params else { panic!() };
        Era::of(method, &params.into(), header, &Served::all())
    }

    #[test]
    fn one_sign_of_the_stateless_era_is_enough() {
        for version in ["2026-07-28", "v999", "2027-01-01"] {
            assert_eq!(era("tools/list", json!({ "_meta": { META_VERSION: version } }), None), Era::Stateless);
        }
        assert_eq!(era("tools/list", json!({}), Some("2026-07-28")), Era::Stateless);
        assert_eq!(era("server/discover", json!({}), None), Era::Stateless);
    }

    #[test]
    fn initialize_opens_the_handshake_era_whatever_its_header() {
        let params = json!({ "protocolVersion": "2025-06-18" });
        assert_eq!(era("initialize", params, Some("2026-07-28")), Era::Handshake);
        let modern = json!({ "_meta": { META_VERSION: "2026-07-28" } });
        assert_eq!(era("initialize", modern, Some("2026-07-28")), Era::Stateless);
    }

    #[test]
    fn everything_else_is_a_handshake() {
        for header in [None, Some("2025-06-18"), Some("nonsense"), Some("")] {
            assert_eq!(era("tools/list", json!({ "_meta": { "progressToken": 1 } }), header), Era::Handshake);
        }
        assert_eq!(era("ping", json!({ "_meta": { META_VERSION: "2025-06-18" } }), None), Era::Handshake);
    }
}
