//! What the unit tests of this folder and of the tools make their requests from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Headers in the given order, repeated ones each.
pub(crate) fn headers(given: &[(&str, &str)]) -> HeaderMap {
    let pairs = given.iter().map(|(name, value)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value);
    }
    headers
}

/// An RS256 token with these claims and a signature of nothing.
pub(crate) fn jwt(claims: &Value) -> String {
    let segment = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", segment(r#"{"alg":"RS256","typ":"JWT"}"#), segment(&claims.to_string()), segment("signature"))
}
