//! Tokens that say nothing themselves: whose they probably are, by prefix and by shape.

use super::kind::TokenKind;
use crate::diagnosis::prefixes::{self, Issued, Prefix};

/// What an opaque token probably is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guess {
    /// Its likely kind.
    pub kind: TokenKind,
    /// What it looks like, and by what.
    pub evidence: String,
}

/// Where a token is expected, so many characters after a prefix are enough, unless the prefix begins words, too.
const LIKELY: usize = 8;

/// A prefix after which more than this must follow begins words, too.
const TELLING: usize = 30;

/// What a token with a known prefix is.
#[must_use]
pub(super) fn by_prefix(token: &str) -> Option<Guess> {
    let Prefix { start, issued, name, at_least } = prefixes::of(token)?;
    // As long as a prefix alone, it is more likely a word.
    let enough = start.len() + if *at_least > TELLING { *at_least } else { LIKELY };
    let kind = match issued {
        Issued::Access => TokenKind::AccessToken,
        Issued::Refresh => TokenKind::RefreshToken,
        Issued::Key => TokenKind::ApiKey,
    };
    let article = if name.starts_with(['A', 'E', 'O', 'a', 'i', 'n', 'x']) { "an" } else { "a" };
    (token.len() >= enough).then(|| Guess { kind, evidence: format!("starts with `{start}`: {article} {name}") })
}

/// What a token without dots and without a known prefix is, by its characters.
#[must_use]
pub(super) fn by_shape(token: &str) -> Guess {
    let n = token.chars().count();
    let hex = token.chars().all(|c| c.is_ascii_hexdigit());
    let (kind, evidence) = if uuid::Uuid::try_parse(token).is_ok() && token.contains('-') {
        (TokenKind::Unknown, "a UUID: often the key of a session or token in the issuer's database".to_owned())
    } else if token.chars().all(|c| c.is_ascii_digit()) {
        (TokenKind::Unknown, format!("{n} digits: a user id or a one-time code rather than a token"))
    } else if hex && matches!(n, 32 | 40 | 64) {
        (TokenKind::Unknown, format!("{n} hexadecimal digits: a random value of {} bits, or a hash of a token", n * 4))
    } else if hex && n >= 16 {
        (TokenKind::Unknown, format!("{n} hexadecimal digits: a random value"))
    } else if n < 16 {
        (TokenKind::Unknown, format!("{n} characters: too short for a token that nobody can guess"))
    } else if token.contains(char::is_whitespace) {
        (TokenKind::Unknown, "words with spaces in between: no kind of token".to_owned())
    } else {
        (
            TokenKind::Unknown,
            format!("{n} characters without a known prefix: an opaque access or refresh token, or an API key"),
        )
    };
    Guess { kind, evidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_shapes_tell_what_a_token_is() {
        let guess = by_prefix("gho_16C7e42F292c6912E7710c838347Ae178B4a").unwrap();
        assert_eq!(
            (guess.kind, guess.evidence.as_str()),
            (TokenKind::AccessToken, "starts with `gho_`: a GitHub OAuth access token")
        );
        assert_eq!(by_prefix("npm_run"), None);
        for (token, word) in [
            ("550e8400-e29b-41d4-a716-446655440000", "UUID"),
            ("d41d8cd98f00b204e9800998ecf8427e", "128 bits"),
            ("123456", "6 digits"),
            ("abc", "too short"),
            ("Zm9vYmFyYmF6cXV4cXV1eA", "22 characters without a known prefix"),
        ] {
            assert!(by_shape(token).evidence.contains(word), "{token}: {}", by_shape(token).evidence);
        }
    }
}
