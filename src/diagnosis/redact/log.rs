//! What callers wrote, as it may stand in a log line.

use std::borrow::Cow;

use uuid::Uuid;

use super::{HIDDEN, escape, map, masked_and_cut, session_id, shapes, uri_masked};

/// Characters of a caller's text in a log line.
pub const MAX_LOGGED: usize = 200;

/// Characters of a session id.
const UUID_LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

/// What a caller named (a method, a tool, a client) as it may stand in a log line: short, one line, no secrets.
#[must_use]
pub fn loggable(text: &str) -> String {
    unrevealing(&masked_and_cut(text, MAX_LOGGED, value))
}

/// Any text with its secrets hidden, of which nothing is shown: a log is read by more people than a tool's answer.
#[must_use]
pub fn value(text: &str) -> Cow<'_, str> {
    map(Cow::Borrowed(text), shapes::mask_whole)
}

/// A path or a URI, with nothing shown of its secrets, nor of what looks random.
#[must_use]
pub fn uri(uri: &str) -> String {
    masked_and_cut(&uri_masked(value(uri), |_| HIDDEN.to_owned()), MAX_LOGGED, |text| Cow::Borrowed(text))
}

/// Text that may quote a caller, on one line, without its secrets and without whole session ids: those are capabilities.
#[must_use]
pub fn unrevealing(text: &str) -> String {
    let text = escape(&value(text)).into_owned();
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(next) = rest.chars().next() {
        let id = rest.get(..UUID_LENGTH).filter(|id| id.as_bytes()[8] == b'-' && Uuid::try_parse(id).is_ok());
        let length = if let Some(id) = id {
            out += &session_id(id);
            UUID_LENGTH
        } else {
            out.push(next);
            next.len_utf8()
        };
        rest = &rest[length..];
    }
    out
}
