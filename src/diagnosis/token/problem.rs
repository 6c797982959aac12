//! Why a token cannot be read: the reason, the place, and what to do.

use std::fmt;

use serde::Serialize;

use super::document::MAX_DEPTH;
use super::fault::{Fault, NotAnObject};
use crate::diagnosis::quote::quote;

/// One reason why a token, or a part of it, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong, in a sentence.
    pub reason: String,
    /// Where.
    #[serde(flatten)]
    pub location: Option<Location>,
    /// What to do about it.
    pub advice: String,
}

/// Where in a token. Everything counts from 1, except bytes, which count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Location {
    /// Number of the segment.
    pub segment: usize,
    /// What the segment is: `header`, `payload`, `signature`.
    pub part: &'static str,
    /// Where in it.
    #[serde(flatten)]
    pub at: Offset,
}

/// Where in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Offset {
    /// All of it.
    Whole {},
    /// A character of the segment as sent.
    Character { character: usize },
    /// A byte of the decoded segment.
    Byte { byte: usize },
    /// Line and column of the decoded segment.
    Line { line: usize, column: usize },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} ({})", self.segment, self.part)?;
        match self.at {
            Offset::Whole {} => Ok(()),
            Offset::Character { character: n } => write!(f, ", character {n}"),
            Offset::Byte { byte: n } => write!(f, ", byte {n} after decoding"),
            Offset::Line { line, column } => write!(f, ", line {line}, column {column} after decoding"),
        }
    }
}

impl Problem {
    /// A problem with all of the token.
    pub(super) fn whole(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { reason: reason.into(), location: None, advice: advice.into() }
    }

    /// A problem with one segment.
    pub(super) fn of(segment: usize, part: &'static str, fault: &Fault) -> Self {
        const AGAIN: &str = "copy the token again, whole, from where it is issued or sent";
        let (reason, at, advice) = match fault {
            Fault::Empty => (format!("the {part} is empty"), Offset::Whole {}, AGAIN),
            Fault::Character(c, n) => (
                format!("the {part} holds {}, which is not a base64url character", quote(&c.to_string())),
                Offset::Character { character: *n },
                match c {
                    '%' => "undo the percent-encoding",
                    c if c.is_whitespace() => "remove white space and line breaks",
                    c if !c.is_ascii() => {
                        "a program replaced or added the character: copy the token from its source, as plain text"
                    }
                    _ => AGAIN,
                },
            ),
            Fault::InnerPadding(n) => (
                format!("the {part} holds `=` before its end"),
                Offset::Character { character: *n },
                "two values were joined, or characters are missing: copy the token again",
            ),
            Fault::Length(n) => (
                format!("the {part} has {n} characters: no base64url text is a multiple of four plus one long"),
                Offset::Whole {},
                "at least one character is missing or too many: copy the token again, whole",
            ),
            Fault::NotUtf8(n) => (
                format!("the {part} decodes to bytes that are not UTF-8 text"),
                Offset::Byte { byte: *n },
                "it was altered, or it is encrypted, compressed or signed data and this is not a JWT",
            ),
            Fault::NotAnObject(NotAnObject::NotJson { reason, line, column }) => (
                format!("the {part} decodes to text that is not JSON: {}", reason.replace('`', "'")),
                Offset::Line { line: *line, column: *column },
                if reason.starts_with("EOF") {
                    "its end is missing: copy the token again, whole"
                } else {
                    "it was altered, or it is not a JWT"
                },
            ),
            Fault::NotAnObject(NotAnObject::Other(what)) => (
                format!("the {part} is JSON, but {what} instead of an object"),
                Offset::Whole {},
                "a JWT's header and payload are JSON objects (RFC 7519 section 7.2): this one was made by something else",
            ),
            Fault::NotAnObject(NotAnObject::TooDeep) => (
                format!("the {part} is nested more than {MAX_DEPTH} levels deep and was not read"),
                Offset::Whole {},
                "no real token needs that: it was made to make parsers fail",
            ),
        };
        Self { reason, location: Some(Location { segment, part, at }), advice: advice.to_owned() }
    }
}

impl fmt::Display for Problem {
    /// The reason, and where.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        self.location.map_or(Ok(()), |location| write!(f, " ({location})"))
    }
}
