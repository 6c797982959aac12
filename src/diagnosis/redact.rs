//! Redaction: the one place that decides what of a value may be seen, by tools, logs and findings alike.
//!
//! Two questions are asked of every value. What does its *name* say ([`is_secret`]: `X-Auth-Token` is a token whatever
//! it looks like), and what does its *shape* say ([`value`]: a JWT is a token wherever it turns up)? Whatever is shown
//! is also escaped, so that a header cannot forge a log line: control bytes, line separators and bidirectional
//! overrides come out as `\n`, `\x1b`, `\u{202e}`, and bytes that are not UTF-8 as `\xff`.
//!
//! What is left of a secret is enough to recognise it and too little to use it: the first [`SHOWN`] characters, but
//! never more than a third; nothing of passwords, client secrets, signatures and cookie values, which have no public
//! beginning (RFC 9700 section 4 and RFC 6819 section 5.1.6 ask that credentials stay out of logs).
//!
//! What was redacted may be redacted again: it never shows more, and as a rule stays what it was.

pub mod log;
mod names;
mod shapes;

use std::borrow::Cow;
use std::fmt::Write as _;

pub use log::{MAX_LOGGED, loggable, unrevealing};
pub use names::is_secret;
use names::{Secret, secret};

use super::harmless::is_harmless;
use super::placeholder;
pub use crate::text::escape;
use crate::text::shorten;

/// How many characters of a token are shown. The header of a JWT begins with them in nearly every token (`eyJhbGc` is
/// `{"alg"`), and so do the prefixes of most opaque tokens; the sample in the product documentation shows seven.
pub const SHOWN: usize = 7;

/// How many characters of a session id are shown, as in the sample: enough to find it again in a log.
pub const SESSION_SHOWN: usize = 8;

/// What stands for a value of which nothing is shown.
pub const HIDDEN: &str = "***";

/// From this length on, `showSecrets` shows both ends of a value: then at least half of it stays hidden.
const LONG_ENOUGH_FOR_ENDS: usize = 16;

/// Authentication schemes that are shown whole: the IANA registry (RFC 9110 section 16.4.1) and those of common
/// products. Anything else in front of a space may itself be the secret.
const SCHEMES: [&str; 20] = [
    "Basic",
    "Bearer",
    "Concealed",
    "Digest",
    "DPoP",
    "GNAP",
    "HOBA",
    "Mutual",
    "Negotiate",
    "NTLM",
    "OAuth",
    "PrivateToken",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "vapid",
    "ApiKey",
    "AWS4-HMAC-SHA256",
    "Key",
    "SSWS",
    "Token",
];

/// A header's value as it may be shown. `name` in any case, with `-` or `_`.
///
/// Tokens and keys are shown as scheme, where there is one (RFC 9110 section 11.6.2), and [`SHOWN`] characters; of Basic
/// credentials nothing is shown, because they are the user name and password in another spelling (RFC 7617 section 2)
/// and seven characters of base64 are five bytes of them. Of cookies the names stay (RFC 6265 section 4.2.1).
#[must_use]
pub fn header<'a>(name: &str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Cow<'a, str> {
    let text = decode(value.as_ref());
    match secret(name) {
        None if is_harmless(&name.to_ascii_lowercase()) => map(text, shapes::mask),
        None => map(text, shapes::mask_random),
        Some(Secret::Session) => Cow::Owned(session_ids(&text)),
        Some(secret) => Cow::Owned(
            escape(&match secret {
                Secret::Cookies => cookies(&text),
                Secret::SetCookie => set_cookie(&text),
                Secret::Token | Secret::Session => credentials(&text),
                Secret::Hidden => hidden(&text).to_owned(),
            })
            .into_owned(),
        ),
    }
}

/// Any text, with every secret masked that has a shape of its own: JWTs, tokens with a known prefix, secret parameters
/// of URIs, forms and JSON (`access_token=`, `code=`, `"client_secret":`), Basic and Bearer credentials,
/// `user:password@` in URLs, private keys.
#[must_use]
pub fn value(text: &str) -> Cow<'_, str> {
    map(Cow::Borrowed(text), shapes::mask)
}

/// A URI: secret query and fragment parameters and user information masked (RFC 6750 section 2.3 on tokens in URIs,
/// RFC 6749 section 4.1.2 on `code`, RFC 3986 section 3.2.1 on `user:password`), and every part of path and query that
/// looks random: some URLs are secrets themselves, and session ids stand in paths of other transports.
#[must_use]
pub fn uri(uri: &str) -> Cow<'_, str> {
    uri_masked(value(uri), |part| beginning(part, SHOWN))
}

/// `masked`, and every part that looks random as `shown` shows it.
fn uri_masked(masked: Cow<'_, str>, shown: impl Fn(&str) -> String) -> Cow<'_, str> {
    const DELIMITERS: [char; 9] = ['/', '?', '&', '=', '#', ';', ':', ',', '@'];
    if !masked.split(DELIMITERS).any(shapes::is_random) {
        return masked;
    }
    let parts = masked.split_inclusive(DELIMITERS).map(|part| {
        let bare = part.strip_suffix(DELIMITERS).unwrap_or(part);
        let shown = if shapes::is_random(bare) { shown(bare) } else { bare.to_owned() };
        shown + &part[bare.len()..]
    });
    Cow::Owned(parts.collect())
}

/// Whether `text` is a token by its looks, whatever it stands under: a JWT, or one with a prefix that its issuer gives.
#[must_use]
pub fn begins_with_token(text: &str) -> bool {
    shapes::begins_with_token(text)
}

/// As [`value`], at most `most` characters: masked first, so that no piece of a secret is left at the cut. Of a long text
/// only the beginning is looked at.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    masked_and_cut(text, most, value)
}

fn masked_and_cut(text: &str, most: usize, value: fn(&str) -> Cow<'_, str>) -> String {
    /// Bytes: more than any `most`, and a token that begins in front of it is known by what is left of it.
    const LOOKED_AT: usize = 16 * 1024;
    if text.len() <= LOOKED_AT {
        return shorten(&value(text), most);
    }
    // What a cut has left of a last word may be a secret that is not known any more.
    let part = &text[..text.floor_char_boundary(LOOKED_AT)];
    let part = &part[..part.rfind(|c: char| c.is_whitespace() || ",;&\"".contains(c)).unwrap_or(part.len())];
    shorten(&format!("{}…", value(part)), most)
}

/// A session id: the first [`SESSION_SHOWN`] characters and `...`. It is a capability: whoever holds it can use the
/// session where it is bound to nobody.
#[must_use]
pub fn session_id(id: &str) -> String {
    if placeholder::may_be_shown(id) {
        return id.to_owned();
    }
    escape(&beginning(id, SESSION_SHOWN)).into_owned()
}

/// A variable of the environment or a setting. Masked whole when its name says that it is a secret or when it looks
/// like a token whatever its name; otherwise only the secrets inside it are.
///
/// `show_secrets` shows the first and last 4 characters of masked values of 16 or more: two people can then tell
/// whether they hold the same one.
#[must_use]
pub fn environment<'a>(name: &str, value: &'a str, show_secrets: bool) -> Cow<'a, str> {
    // `MCP_REQUIRE_SESSION` and its kin set how sessions work; no variable holds a session's id.
    let by_name = secret(name).is_some_and(|secret| secret != Secret::Session) && !is_flag(value);
    if value.is_empty() || !(by_name || shapes::is_token(value)) {
        return map(Cow::Borrowed(value), shapes::mask);
    }
    let length = value.chars().count();
    if !show_secrets || length < LONG_ENOUGH_FOR_ENDS {
        return Cow::Borrowed(HIDDEN);
    }
    let first: String = value.chars().take(4).collect();
    let last: String = value.chars().skip(length - 4).collect();
    Cow::Owned(escape(&format!("{first}...{last}")).into_owned())
}

/// Bytes as text; those that are not UTF-8 as `\xff`.
pub(crate) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// Applies `mask` and escapes, without a copy where nothing changes.
fn map(text: Cow<'_, str>, mask: impl Fn(&str) -> Cow<'_, str>) -> Cow<'_, str> {
    let changed = {
        let masked = mask(&text);
        let escaped = escape(&masked);
        (*escaped != *text).then(|| escaped.into_owned())
    };
    changed.map_or(text, Cow::Owned)
}

/// The beginning of a secret, never more than a third of it.
fn beginning(secret: &str, at_most: usize) -> String {
    if secret.is_empty() {
        return String::new();
    }
    // A value that was masked before keeps what is left of it.
    if let Some(shown) = secret.strip_suffix("...")
        && shown.chars().count() <= at_most
    {
        return secret.to_owned();
    }
    let shown = at_most.min(secret.chars().count() / 3);
    let beginning: String = secret.chars().take(shown).collect();
    format!("{beginning}...")
}

/// Whether `token` only stands for a token.
pub(crate) fn is_placeholder(token: &str) -> bool {
    placeholder::placeholder(token).is_some()
}

/// Whether `text` is no secret under whatever name: `X-Requires-Auth: true`, `?auth=none`, `X-Auth: Bearer`.
fn is_flag(text: &str) -> bool {
    const FLAGS: [&str; 20] = [
        "0",
        "1",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "none",
        "null",
        "required",
        "optional",
        "enabled",
        "disabled",
        "anonymous",
        "basic",
        "bearer",
        "oauth",
        "oauth2",
        "jwt",
    ];
    FLAGS.iter().any(|flag| text.trim().eq_ignore_ascii_case(flag))
}

/// A token: its beginning, so that one sees what kind it is. What only stands for one is shown.
fn token(text: &str) -> String {
    let text = text.trim();
    if is_flag(text) || placeholder::may_be_shown(text) { text.to_owned() } else { beginning(text, SHOWN) }
}

fn hidden(text: &str) -> &str {
    if text.trim().is_empty() { "" } else { HIDDEN }
}

/// Whether `word` is an authentication scheme.
fn is_scheme(word: &str) -> bool {
    SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// `Bearer eyJhbGc...`. A scheme that is repeated by mistake (`Bearer Bearer …`) is shown as sent, and of credentials that a
/// proxy has joined (`Bearer a, Bearer b`) each.
fn credentials(text: &str) -> String {
    let mut out = String::new();
    let mut from = 0;
    for (comma, _) in text.match_indices(',') {
        let next = text[comma + 1..].trim_start();
        // No scheme is longer than this.
        let word = next.bytes().take(20).position(|b| b == b' ').map(|end| &next.as_bytes()[..end]);
        if word.and_then(|word| str::from_utf8(word).ok()).is_some_and(is_scheme) {
            credential(&text[from..comma], &mut out);
            out.push_str(", ");
            from = comma + 1;
        }
    }
    credential(&text[from..], &mut out);
    out
}

/// One of them.
fn credential(text: &str, out: &mut String) {
    let mut rest = text.trim();
    loop {
        let (scheme, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        if !is_scheme(scheme) {
            out.push_str(&token(rest));
            return;
        }
        out.push_str(scheme);
        rest = after.trim_start();
        if rest.is_empty() {
            return;
        }
        out.push(' ');
        if scheme.eq_ignore_ascii_case("Basic") {
            out.push_str(hidden(rest));
            return;
        }
    }
}

/// Session ids, each of those that a proxy has joined.
fn session_ids(text: &str) -> String {
    text.split(',').map(|id| session_id(id.trim())).collect::<Vec<_>>().join(", ")
}

/// `name=***; other=***`: which cookies there are, not what they hold.
fn cookies(text: &str) -> String {
    let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(cookie_pair).collect::<Vec<_>>().join("; ")
}

/// `name=***`. A cookie without a name is all value.
fn cookie_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) => format!("{}={HIDDEN}", shapes::mask(name.trim())),
        None => HIDDEN.to_owned(),
    }
}

/// `name=***; Path=/; HttpOnly`: the attributes of RFC 6265 section 4.1.1 and its successors stay.
fn set_cookie(text: &str) -> String {
    const ATTRIBUTES: [&str; 9] =
        ["expires", "max-age", "domain", "path", "secure", "httponly", "samesite", "partitioned", "priority"];
    let mut parts = text.split(';').map(str::trim);
    let mut shown = vec![cookie_pair(parts.next().unwrap_or_default())];
    for part in parts.filter(|part| !part.is_empty()) {
        let name = part.split('=').next().unwrap_or_default().trim();
        let known = ATTRIBUTES.iter().any(|attribute| attribute.eq_ignore_ascii_case(name));
        shown.push(if known { shapes::mask(part).into_owned() } else { cookie_pair(part) });
    }
    shown.join("; ")
}

#[cfg(test)]
mod tests;
