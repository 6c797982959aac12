//! What callers wrote, as it may stand in a log line.

use uuid::Uuid;

use super::{escape, session_id, shortened, value};

/// Characters of a caller's text in a log line.
pub const MAX_LOGGED: usize = 200;

/// Characters of a session id.
const UUID_LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

/// What a caller named (a method, a tool, a client) as it may stand in a log line: short, one line, no secrets.
#[must_use]
pub fn loggable(text: &str) -> String {
    unrevealing(&shortened(text, MAX_LOGGED))
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
