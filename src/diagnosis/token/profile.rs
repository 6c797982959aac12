//! The JWT profile for access tokens (RFC 9068): which of its demands a token meets.

use super::decoded::Decoded;
use super::kind::TokenKind;

/// How a token stands to the JWT profile for access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `typ` is `at+jwt` (RFC 9068 section 2.1).
    pub typ: bool,
    /// The `alg` is not `none` (RFC 9068 section 2.1).
    pub signed: bool,
    /// Required claims that are missing (RFC 9068 section 2.2), in the RFC's order.
    pub missing: Vec<&'static str>,
    /// Times that are no numbers of seconds (RFC 7519 section 2).
    pub unclear: Vec<&'static str>,
}

impl Profile {
    /// The verdict on a token that could be an access token; `None` for one that is something else.
    #[must_use]
    pub fn of(token: &Decoded, kind: TokenKind) -> Option<Self> {
        if !token.format.is_signed()
            || token.payload.is_none()
            || !matches!(kind, TokenKind::AccessToken | TokenKind::Unknown)
        {
            return None;
        }
        let required = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];
        let unclear = token.times.each().into_iter().filter(|(_, claim)| !claim.is_seconds(false));
        Some(Self {
            unclear: unclear.map(|(name, _)| name).collect(),
            typ: token.typ().as_deref() == Some("at+jwt"),
            signed: !token.alg().is_some_and(|alg| alg.eq_ignore_ascii_case("none")),
            missing: required
                .into_iter()
                .filter(|name| token.claim(name).is_none_or(|value| value.as_str() == Some("")))
                .collect(),
        })
    }

    /// Whether it follows the profile.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.typ && self.signed && self.missing.is_empty() && self.unclear.is_empty()
    }

    /// One line.
    #[must_use]
    pub fn verdict(&self) -> String {
        if self.is_followed() {
            return "follows the profile: typ at+jwt and all required claims".to_owned();
        }
        let mut wrong = Vec::new();
        if !self.typ {
            wrong.push("typ is not at+jwt".to_owned());
        }
        if !self.signed {
            wrong.push("alg none is forbidden".to_owned());
        }
        if !self.missing.is_empty() {
            wrong.push(format!("missing {}", self.missing.join(", ")));
        }
        if !self.unclear.is_empty() {
            wrong.push(format!("{} not in seconds", self.unclear.join(", ")));
        }
        format!("does not follow the profile: {}", wrong.join("; "))
    }
}
