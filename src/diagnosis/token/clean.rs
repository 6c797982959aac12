//! What people paste around a token, taken off step by step, each step said.

use std::borrow::Cow;

use super::notes::{Note, quote};
use super::opaque::by_prefix;
use super::placeholder::{Placeholder, placeholder};
use super::segment::is_jws;

/// Whence the text came: around a header's value a scheme belongs, around an argument it does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Given by a person.
    Argument,
    /// The value of an `Authorization` header.
    Authorization,
    /// The value of a header that holds a bare token.
    Header,
}

/// What is left of the text, and how it came to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The token.
    pub token: String,
    /// The authentication scheme in front of it, as spelled.
    pub scheme: Option<String>,
    /// What was taken off, and what stands instead of a token.
    pub notes: Vec<Note>,
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
pub fn clean(input: &str, origin: Origin) -> Cleaned {
    let mut text: Cow<'_, str> = Cow::Borrowed(input);
    let mut notes = Vec::new();
    let mut schemes: Vec<String> = Vec::new();
    for _ in 0..ROUNDS {
        let next = trim(&text, &mut notes)
            .or_else(|| unquote(&text, &mut notes))
            .or_else(|| take_scheme(&text, &mut schemes))
            .or_else(|| take_name(&text, &mut notes))
            .or_else(|| first_of_list(&text, &mut notes))
            .or_else(|| percent_decode(&text, &mut notes))
            .or_else(|| take_pomerium(&text, &mut notes));
        match next {
            Some(next) => text = Cow::Owned(next),
            None => break,
        }
    }
    if text.contains(is_blank) && text.contains('.') && !text.starts_with(['{', '[', '<']) {
        let joined: String = text.chars().filter(|c| !is_blank(*c)).collect();
        notes.push(Note::warning(
            "white space or invisible characters inside the token were removed: it was wrapped when copied",
        ));
        text = Cow::Owned(joined);
    }
    note_schemes(&schemes, origin, &text, &mut notes);
    let placeholder = placeholder(&text);
    if matches!(placeholder, Some(Placeholder::EmptyVariable | Placeholder::Template)) {
        notes.push(Note::error(format!("the text is {}", quote(&text))));
    }
    Cleaned { token: text.into_owned(), scheme: schemes.into_iter().next(), notes, placeholder }
}

/// White space, and what looks like none: no-break and zero-width spaces, byte order marks.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn trim(text: &str, notes: &mut Vec<Note>) -> Option<String> {
    let trimmed = text.trim_matches(is_blank);
    if trimmed.len() == text.len() {
        return None;
    }
    let removed = || text.chars().take_while(|c| is_blank(*c)).chain(text.chars().rev().take_while(|c| is_blank(*c)));
    let what = if removed().any(|c| c == '\r' || c == '\n') {
        "a line break around the token was removed: a header cannot hold one (RFC 9110 section 5.5); a file read \
         without trimming is the usual source"
    } else if removed().any(|c| c != ' ' && c != '\t') {
        "invisible characters around the token were removed: they came along when it was copied"
    } else {
        "white space around the token was removed"
    };
    if !trimmed.is_empty() && !notes.iter().any(|note| note.text == what) {
        notes.push(Note::info(what));
    }
    Some(trimmed.to_owned())
}

fn unquote(text: &str, notes: &mut Vec<Note>) -> Option<String> {
    const QUOTES: [char; 8] = ['"', '\'', '`', '“', '”', '‘', '’', '\\'];
    let inner = text.trim_matches(QUOTES);
    // In angle brackets stands a placeholder as a rule, but some write a token so.
    let bracketed = inner.strip_prefix('<').and_then(|inner| inner.strip_suffix('>'));
    let inner = bracketed.filter(|inner| is_jws(inner) || by_prefix(inner).is_some()).unwrap_or(inner);
    if inner.len() == text.len() {
        return None;
    }
    notes.push(Note::warning("quotes around the token were removed: sent in a header, they would be part of it"));
    Some(inner.to_owned())
}

fn take_scheme(text: &str, schemes: &mut Vec<String>) -> Option<String> {
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
        Some('%') => rest.strip_prefix("%20")?,
        Some(c) => &rest[c.len_utf8()..],
        None => rest,
    };
    schemes.push(word.to_owned());
    Some(rest.to_owned())
}

fn take_name(text: &str, notes: &mut Vec<Note>) -> Option<String> {
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
    notes.push(Note::info(format!(
        "`{}{}` in front of the token was removed",
        quote_name(name),
        if form { "=" } else { ":" }
    )));
    if form && text.contains("://") {
        notes.push(Note::warning(
            "the token stood in a URL: there it ends up in logs and histories (RFC 6750 section 5.3); MCP forbids it",
        ));
    }
    Some(rest.to_owned())
}

fn quote_name(name: &str) -> String {
    name.chars().take(40).collect()
}

/// `Authorization: Bearer a, Bearer b`: two headers that a proxy has joined.
fn first_of_list(text: &str, notes: &mut Vec<Note>) -> Option<String> {
    if text.starts_with(['{', '[', '<']) {
        return None;
    }
    let (first, rest) = text.split_once([',', ';'])?;
    let first = first.trim_end();
    if first.contains(['"', '=']) && !first.contains('.') {
        return None; // the parameters of Digest and the like
    }
    notes.push(if rest.trim().is_empty() {
        Note::warning("a comma or semicolon after the token was removed")
    } else {
        Note::error(
            "there is more than one credential, joined by a comma: two Authorization headers were merged on the way. \
             Only the first is looked at (RFC 9110 section 5.3 allows one)",
        )
    });
    Some(first.to_owned())
}

fn percent_decode(text: &str, notes: &mut Vec<Note>) -> Option<String> {
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
    notes.push(Note::warning("percent-encoding was undone: it belongs into URLs, not into a header"));
    Some(decoded)
}

/// Pomerium's service accounts send `Authorization: Bearer Pomerium-<jwt>`.
fn take_pomerium(text: &str, notes: &mut Vec<Note>) -> Option<String> {
    let rest = text.strip_prefix("Pomerium-").filter(|rest| rest.starts_with("ey"))?;
    notes.push(Note::info("the prefix `Pomerium-` of Pomerium's service accounts was removed"));
    Some(rest.to_owned())
}

fn note_schemes(schemes: &[String], origin: Origin, rest: &str, notes: &mut Vec<Note>) {
    let Some(first) = schemes.first() else {
        if origin == Origin::Authorization {
            notes.push(Note::error(
                "the Authorization header has no scheme: write `Bearer` and a space in front of the token \
                 (RFC 6750 section 2.1)",
            ));
        }
        return;
    };
    let bearer = first.eq_ignore_ascii_case("bearer");
    if schemes.len() > 1 {
        notes.push(Note::error(format!(
            "the scheme is there {} times (`{}`): the token already held it when the client added its own",
            schemes.len(),
            schemes.join(" ")
        )));
    } else if origin != Origin::Authorization && !rest.is_empty() {
        notes.push(Note::info(format!("the scheme `{first}` in front of the token was removed")));
    }
    if bearer && first != "Bearer" {
        notes.push(Note::info(format!(
            "the scheme is spelled `{first}`: correct, for case does not matter (RFC 9110 section 11.1), but some servers \
             accept only `Bearer`"
        )));
    }
    if !matches!(first.to_ascii_lowercase().as_str(), "bearer" | "dpop" | "basic") {
        notes.push(Note::error(format!("the scheme is `{first}`: MCP and OAuth want `Bearer` (RFC 6750 section 2.1)")));
    }
}
