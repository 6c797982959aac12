//! Observations on a token: one pure function from [`Facts`] for each subject.

mod claims;
mod header;
mod times;

use super::document::Masked;
use super::facts::Facts;
use super::format::Format;
use super::kind::Kind;
use crate::text::shorten;
pub(super) use header::signature_fault;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// May be what is wrong.
    Warning,
    /// Verifiers refuse it, or should.
    Error,
}

impl Level {
    /// `info`, `warning`, `error`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// A sign in front of a line.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Info => "ℹ️",
            Self::Warning => "⚠️",
            Self::Error => "❌",
        }
    }
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How bad it is.
    pub level: Level,
    /// A sentence, lower case, without full stop.
    pub text: String,
}

impl Note {
    /// Good to know.
    #[must_use]
    pub fn info(text: impl Into<String>) -> Self {
        Self { level: Level::Info, text: text.into() }
    }

    /// May be what is wrong.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self { level: Level::Warning, text: text.into() }
    }

    /// Verifiers refuse it, or should.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self { level: Level::Error, text: text.into() }
    }
}

/// A value from the token in a sentence: shortened, with what is not printable escaped.
#[must_use]
pub fn quote(text: &str) -> String {
    let escaped: String =
        shorten(text, 80).chars().flat_map(|c| if c == '\'' { vec![c] } else { c.escape_debug().collect() }).collect();
    format!("`{escaped}`")
}

/// Several values in a sentence.
#[must_use]
pub(super) fn quote_all(values: &[&str]) -> String {
    // Ten are enough to recognise a list by.
    const SHOWN: usize = 10;
    let mut quoted: Vec<String> = values.iter().take(SHOWN).map(|value| quote(value)).collect();
    if values.len() > SHOWN {
        quoted.push(format!("and {} more", values.len() - SHOWN));
    }
    quoted.join(", ")
}

/// A token longer than this is close to what servers take in a header: nginx and Tomcat give all of it 8 KiB by default.
pub const LONG_TOKEN: usize = 6 * 1024;

/// All observations that need nothing but the token.
#[must_use]
pub(super) fn observe(facts: &Facts, kind: Kind) -> Vec<Note> {
    let mut notes = Vec::new();
    if facts.header.is_some() {
        notes.extend(header::observe(facts, kind));
    }
    if facts.payload.is_some() && facts.format != Format::Key {
        notes.extend(times::observe(facts, kind));
        notes.extend(claims::observe(facts, kind));
    }
    encoding(facts, &mut notes);
    hidden(facts, &mut notes);
    size(facts, &mut notes);
    notes
}

fn encoding(facts: &Facts, notes: &mut Vec<Note>) {
    if facts.oddities.padded {
        notes.push(Note::warning(
            "base64 padding (`=`) at the end of a segment: AWS load balancers write it, most libraries refuse it (RFC 7515 \
             section 2)",
        ));
    }
    if facts.oddities.standard_alphabet {
        notes.push(Note::warning(
            "`+` or `/` of the standard base64 alphabet: a token uses `-` and `_` (RFC 7515 section 2), most libraries \
             refuse it",
        ));
    }
    if facts.oddities.surplus_bits {
        notes.push(Note::warning(
            "a segment's last character has bits that belong to no byte: the token was cut or altered there (RFC 4648 \
             section 3.5)",
        ));
    }
    for (part, document) in [("header", &facts.header), ("payload", &facts.payload)] {
        let Some(document) = document else { continue };
        if !document.duplicates.is_empty() {
            let names: Vec<&str> = document.duplicates.iter().map(String::as_str).collect();
            let section = if part == "header" { "RFC 7515 section 4" } else { "RFC 7519 section 4" };
            notes.push(Note::error(format!(
                "names occur more than once in the {part}: {}; parsers disagree on which counts ({section})",
                quote_all(&names)
            )));
        }
    }
}

/// More than this many hidden values are counted, not listed.
const MOST_HIDDEN: usize = 10;

fn hidden(facts: &Facts, notes: &mut Vec<Note>) {
    for document in [&facts.header, &facts.payload].into_iter().flatten() {
        for (path, what) in document.masked.iter().take(MOST_HIDDEN) {
            let shown = if *what == Masked::Token { "not shown whole" } else { "not shown" };
            let text = format!("{} holds {}, which is {shown}", quote(path), what.name());
            notes.push(match what {
                Masked::Token => Note::info(text),
                Masked::Secret => Note::error(format!("{text}: whoever holds the token can read it")),
                Masked::PrivateKey => Note::error(format!("{text}: the key is no secret any more")),
            });
        }
        if document.masked.len() > MOST_HIDDEN {
            notes.push(Note::info(format!("{} more values are not shown", document.masked.len() - MOST_HIDDEN)));
        }
    }
}

fn size(facts: &Facts, notes: &mut Vec<Note>) {
    if facts.length <= LONG_TOKEN {
        return;
    }
    let most = facts.largest_claim().map_or_else(String::new, |(name, bytes)| {
        format!("; {} takes most of it ({bytes} bytes of JSON)", quote(name))
    });
    notes.push(Note::warning(format!(
        "the token is {} characters long: many servers take no more than 8192 bytes of headers and answer 400 or 431{most}",
        facts.length
    )));
}
