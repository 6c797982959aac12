//! What people paste around a token, taken off step by step, each step said.

use std::borrow::Cow;

use super::opaque::by_prefix;
use super::removed::Removed;
use super::segment::is_jws;
use crate::diagnosis::placeholder::{Placeholder, may_be_shown, placeholder};

/// What is left of the text, and how it came to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The token.
    pub token: String,
    /// The authentication schemes in front of it, as spelled.
    pub schemes: Vec<String>,
    /// What else was taken off.
    pub removed: Vec<Removed>,
    /// It is not a token but stands for one.
    pub placeholder: Option<Placeholder>,
}

/// Rounds of taking off: `"Bearer Bearer 'x'"` needs four; more is no accident.
const ROUNDS: usize = 8;

/// How many names in a URL or cookie are looked at for one that means a token.
const PAIRS: usize = 32;

/// Schemes that people and clients write in front of tokens, in lower case (IANA HTTP Authentication Scheme Registry, and
/// `Token`, `JWT` and `ApiKey`, which are in nobody's registry).
const SCHEMES: [&str; 14] = [
    "bearer",
    "dpop",
    "basic",
    "digest",
    "negotiate",
    "ntlm",
    "token",
    "jwt",
    "apikey",
    "api-key",
    "gnap",
    "hoba",
    "mutual",
    "aws4-hmac-sha256",
];

/// Names in front of `=` or `:` in forms, cookies, URLs and pasted header lines, in lower case.
const NAMES: [&str; 14] = [
    "authorization",
    "proxy-authorization",
    "access_token",
    "id_token",
    "refresh_token",
    "token",
    "jwt",
    "dpop",
    "x-auth-token",
    "x-forwarded-access-token",
    "cf-access-jwt-assertion",
    "cf_authorization",
    "x-amzn-oidc-data",
    "bearer",
];

/// Takes off what is not the token.
#[must_use]
pub fn clean(input: &str) -> Cleaned {
    let mut text: Cow<'_, str> = Cow::Borrowed(input);
    let mut removed = Vec::new();
    let mut schemes: Vec<String> = Vec::new();
    for _ in 0..ROUNDS {
        let next = trim(&text, &mut removed)
            .or_else(|| unquote(&text, &mut removed))
            .or_else(|| take_scheme(&text, &mut schemes, &mut removed));
        // A template may hold what looks like a name, a list or a code.
        if next.is_none() && may_be_shown(&text) {
            break;
        }
        let next = next
            .or_else(|| take_name(&text, &mut removed))
            .or_else(|| first_of_list(&text, &mut removed))
            .or_else(|| percent_decode(&text, &mut removed))
            .or_else(|| take_pomerium(&text, &mut removed));
        match next {
            Some(next) => text = Cow::Owned(next),
            None => break,
        }
    }
    if text.contains(is_blank) && text.contains('.') && !text.starts_with(['{', '[', '<']) {
        let joined: String = text.chars().filter(|c| !is_blank(*c)).collect();
        removed.push(Removed::Wrapping);
        text = Cow::Owned(joined);
    }
    let placeholder = placeholder(&text);
    Cleaned { token: text.into_owned(), schemes, removed, placeholder }
}

/// White space, and what looks like none: no-break and zero-width spaces, byte order marks.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn trim(text: &str, removed: &mut Vec<Removed>) -> Option<String> {
    let trimmed = text.trim_matches(is_blank);
    if trimmed.len() == text.len() {
        return None;
    }
    let blanks = || text.chars().take_while(|c| is_blank(*c)).chain(text.chars().rev().take_while(|c| is_blank(*c)));
    let what = if blanks().any(|c| c == '\r' || c == '\n') {
        Removed::LineBreak
    } else if blanks().any(|c| c != ' ' && c != '\t') {
        Removed::Invisible
    } else {
        Removed::WhiteSpace
    };
    if !trimmed.is_empty() && !removed.contains(&what) {
        removed.push(what);
    }
    Some(trimmed.to_owned())
}

fn unquote(text: &str, removed: &mut Vec<Removed>) -> Option<String> {
    const QUOTES: [char; 8] = ['"', '\'', '`', '“', '”', '‘', '’', '\\'];
    let inner = text.trim_matches(QUOTES);
    // In angle brackets stands a placeholder as a rule, but some write a token so.
    let bracketed = inner.strip_prefix('<').and_then(|inner| inner.strip_suffix('>'));
    let inner = bracketed.filter(|inner| is_jws(inner) || by_prefix(inner).is_some()).unwrap_or(inner);
    if inner.len() == text.len() {
        return None;
    }
    removed.push(Removed::Quotes);
    Some(inner.to_owned())
}

fn take_scheme(text: &str, schemes: &mut Vec<String>, removed: &mut Vec<Removed>) -> Option<String> {
    let end = text.find(|c: char| is_blank(c) || c == ':' || c == '%').unwrap_or(text.len());
    let word = &text[..end];
    if text[end..].starts_with(':') && !word.eq_ignore_ascii_case("bearer") {
        return None; // a header's name
    }
    let known = SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
    // A lone `token` or `jwt` is a placeholder, not a scheme without a token.
    if !known || (end == text.len() && !word.eq_ignore_ascii_case("bearer") && !word.eq_ignore_ascii_case("dpop")) {
        return None;
    }
    let rest = &text[end..];
    let rest = match rest.chars().next() {
        Some('%') => {
            let rest = rest.strip_prefix("%20")?;
            removed.push(Removed::PercentEncoding);
            rest
        }
        Some(c) => {
            if c == ':' {
                removed.push(Removed::Name(format!("{word}:")));
            }
            &rest[c.len_utf8()..]
        }
        None => rest,
    };
    schemes.push(word.to_owned());
    Some(rest.to_owned())
}

fn take_name(text: &str, removed: &mut Vec<Removed>) -> Option<String> {
    if text.starts_with(['{', '[']) {
        return None;
    }
    let name_before =
        |end: usize| text[..end].trim().rsplit(['?', '&', '#', ' ', ';', '\'', '"']).next().unwrap_or_default();
    let known = |name: &str| NAMES.iter().any(|known| name.eq_ignore_ascii_case(known));
    let (end, _) = text.match_indices(['=', ':']).take(PAIRS).find(|(end, _)| known(name_before(*end)))?;
    let name = name_before(end);
    // In a pasted command the header ends with the quote that it begins with.
    let quote = text[..end - name.len().min(end)].chars().next_back().filter(|c| matches!(c, '\'' | '"'));
    let form = text.as_bytes().get(end) == Some(&b'=');
    let rest = &text[end + 1..];
    let rest = if form { rest.split(['&', ';', '#']).next().unwrap_or(rest) } else { rest };
    let rest = quote.and_then(|quote| rest.split(quote).next()).unwrap_or(rest);
    let name: String = name.chars().take(40).collect();
    removed.push(Removed::Name(format!("{name}{}", if form { "=" } else { ":" })));
    if form && text.contains("://") {
        removed.push(Removed::Url);
    }
    Some(rest.to_owned())
}

/// `Authorization: Bearer a, Bearer b`: two headers that a proxy has joined.
fn first_of_list(text: &str, removed: &mut Vec<Removed>) -> Option<String> {
    if text.starts_with(['{', '[', '<']) {
        return None;
    }
    let (first, rest) = text.split_once([',', ';'])?;
    let first = first.trim_end();
    if first.contains(['"', '=']) && !first.contains('.') {
        return None; // the parameters of Digest and the like
    }
    removed.push(if rest.trim().is_empty() { Removed::Comma } else { Removed::SecondCredential });
    Some(first.to_owned())
}

fn percent_decode(text: &str, removed: &mut Vec<Removed>) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut rest, mut found) = (text.as_bytes(), false);
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|hex| byte == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(decoded) = code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            found = true;
            bytes.push(decoded);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    let decoded = found.then(|| String::from_utf8(bytes).ok()).flatten()?;
    removed.push(Removed::PercentEncoding);
    Some(decoded)
}

/// Pomerium's service accounts send `Authorization: Bearer Pomerium-<jwt>`.
fn take_pomerium(text: &str, removed: &mut Vec<Removed>) -> Option<String> {
    let rest = text.strip_prefix("Pomerium-").filter(|rest| rest.starts_with("ey"))?;
    removed.push(Removed::Pomerium);
    Some(rest.to_owned())
}
