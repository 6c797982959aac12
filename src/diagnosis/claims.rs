//! The claims of a bearer token, cheaply: what a header comparison needs and no more. Nothing is verified here; whoever
//! may send a token may have written its claims.

use base64::Engine as _;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};

use super::encoding::BASE64URL;
use super::token::MAX_TOKEN_BYTES;

/// The claims that may be a login name, in the order in which they are looked for: OpenID Connect's, and those of
/// mcp-oauth-gateway, GitHub, GitLab, Cognito and Entra v1.
pub const USER_NAME: &[&str] =
    &["preferred_username", "github_username", "username", "login", "nickname", "cognito:username", "upn"];

/// The tokens of the `Authorization` headers with scheme `Bearer` (RFC 6750 section 2.1) or `DPoP` (RFC 9449 section
/// 7.1), in any case (RFC 9110 section 11.1). More than one is a mistake of somebody's, and none is left out.
pub fn bearers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once([' ', '\t'])?;
        let token = token.trim();
        let known = scheme.eq_ignore_ascii_case("Bearer") || scheme.eq_ignore_ascii_case("DPoP");
        (known && !token.is_empty()).then_some(token)
    })
}

/// The claims of the first bearer token, if it is a JWT whose payload can be read. Not verified.
#[must_use]
pub fn bearer_claims(headers: &HeaderMap) -> Option<Map<String, Value>> {
    bearers(headers).find_map(jwt_claims)
}

/// The payload of a signed JWT (RFC 7519 section 7.2): the second of three segments, a JSON object. Pomerium's prefix
/// for service accounts is skipped. `None` for anything else, and beyond [`MAX_TOKEN_BYTES`] bytes.
#[must_use]
pub fn jwt_claims(token: &str) -> Option<Map<String, Value>> {
    let token = token.strip_prefix("Pomerium-").unwrap_or(token);
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut segments = token.split('.');
    let (_header, payload, _signature) = (segments.next()?, segments.next()?, segments.next()?);
    if segments.next().is_some() {
        return None; // five segments: encrypted
    }
    let decoded = BASE64URL.decode(payload).ok()?;
    serde_json::from_str(std::str::from_utf8(&decoded).ok()?).ok()
}

/// The first of `names` that is a non-empty string or a number, with its name.
pub(crate) fn text_claim<'n>(claims: &Map<String, Value>, names: &[&'n str]) -> Option<(&'n str, String)> {
    names.iter().find_map(|name| {
        let text = match claims.get(*name)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some((*name, text))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnosis::testing::{headers, jwt};

    #[test]
    fn claims_of_a_bearer_are_read_whatever_the_case_of_its_scheme() {
        let token = jwt(&json!({"sub": "user123"}));
        for scheme in ["Bearer", "bearer", "DPoP", "BEARER  "] {
            let headers = headers(&[("authorization", &format!("{scheme} {token}"))]);
            assert_eq!(bearer_claims(&headers).unwrap()["sub"], "user123", "{scheme}");
        }
    }

    #[test]
    fn what_is_no_jwt_has_no_claims() {
        for token in ["", "opaque", "a.b", "a.b.c", "..", "e30.W10.", "a.b.c.d.e", "e30.!!.x", "e30.e30"] {
            assert_eq!(jwt_claims(token), None, "{token:?}");
        }
        assert_eq!(jwt_claims(&format!("e30.{}.x", "A".repeat(MAX_TOKEN_BYTES))), None);
        assert_eq!(jwt_claims("e30.e30=.x"), Some(Map::new()), "padding is let pass");
        assert_eq!(jwt_claims("Pomerium-e30.e30.x"), Some(Map::new()));
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(jwt_claims(&format!("e30.{}.x", BASE64URL.encode(deep))), None);
    }
}
