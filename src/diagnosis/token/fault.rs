//! Why a part of a token cannot be read.

/// Why a segment could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing between the dots.
    Empty,
    /// A character that is not base64url, at a position counted from 1 in characters.
    Character(char, usize),
    /// `=` before the end, at a position counted from 1.
    InnerPadding(usize),
    /// A length that no encoding has: a multiple of four plus one.
    Length(usize),
    /// Bytes that are not UTF-8 from this offset on (from 0).
    NotUtf8(usize),
    /// Not a JSON object.
    NotAnObject(NotAnObject),
}

/// Why a text is not a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotAnObject {
    /// Not JSON; line and column as serde_json counts them, from 1.
    NotJson {
        /// What the parser says, without the place.
        reason: String,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Other JSON.
    Other(&'static str),
    /// Deeper than [`super::MAX_DEPTH`].
    TooDeep,
}
