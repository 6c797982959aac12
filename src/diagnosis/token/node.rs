//! A JSON value as it was written: order, numbers to the letter, repeated names; masked and pretty-printed.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::segment::is_jws;
use crate::text::is_unsafe;

/// Why a value is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masked {
    /// The private part of a JWK (RFC 7517 section 9.2).
    PrivateKey,
    /// A token: not shown, or without its signature.
    Token,
    /// A password or client secret.
    Secret,
}

impl Masked {
    /// What it is.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "private key material",
            Self::Token => "a token",
            Self::Secret => "a secret",
        }
    }
}

/// One JSON value as it was written.
pub(super) enum Node {
    /// A number, `true`, `false` or `null`, to the letter.
    Literal(String),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn parse(raw: &str) -> serde_json::Result<Self> {
        let raw = raw.trim_matches([' ', '\t', '\r', '\n']);
        Ok(match raw.as_bytes().first() {
            Some(b'{') => {
                let members: Members<'_> = serde_json::from_str(raw)?;
                let parse = |(name, value): (String, &RawValue)| Ok((name, Self::parse(value.get())?));
                Self::Object(members.0.into_iter().map(parse).collect::<serde_json::Result<_>>()?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw)?;
                Self::Array(items.into_iter().map(|item| Self::parse(item.get())).collect::<serde_json::Result<_>>()?)
            }
            Some(b'"') => Self::Text(serde_json::from_str(raw)?),
            _ => Self::Literal(raw.to_owned()),
        })
    }

    pub(super) fn find_duplicates(&self, path: &str, found: &mut Vec<String>) {
        match self {
            Self::Object(members) => {
                let mut seen = std::collections::HashSet::new();
                for (name, value) in members {
                    let here = join(path, name);
                    if !seen.insert(name.as_str()) && !found.contains(&here) {
                        found.push(here.clone());
                    }
                    value.find_duplicates(&here, found);
                }
            }
            Self::Array(items) => items.iter().for_each(|item| item.find_duplicates(&format!("{path}[]"), found)),
            Self::Literal(_) | Self::Text(_) => {}
        }
    }

    pub(super) fn mask(&mut self, path: &str, masked: &mut Vec<(String, Masked)>) {
        match self {
            Self::Object(members) => {
                let key = members.iter().any(|(name, _)| name == "kty");
                for (name, value) in members {
                    let here = join(path, name);
                    let reason = if key && PRIVATE_KEY_MEMBERS.contains(&name.as_str()) {
                        Some(Masked::PrivateKey)
                    } else if SECRET_MEMBERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
                        Some(Masked::Secret)
                    } else if TOKEN_MEMBERS.contains(&name.as_str()) && matches!(value, Self::Text(_)) {
                        Some(Masked::Token)
                    } else {
                        None
                    };
                    match reason {
                        Some(reason) => {
                            *value = Self::Text(format!("[{} not shown]", reason.name()));
                            masked.push((here, reason));
                        }
                        None => value.mask(&here, masked),
                    }
                }
            }
            Self::Array(items) => items.iter_mut().for_each(|item| item.mask(&format!("{path}[]"), masked)),
            Self::Text(text) => {
                if let Some(shown) = without_signatures(text) {
                    *text = shown;
                    masked.push((path.to_owned(), Masked::Token));
                }
            }
            Self::Literal(_) => {}
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Literal(raw) => serde_json::from_str(raw).unwrap_or(Value::Null),
            Self::Text(text) => Value::String(text.clone()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), value.to_value())).collect())
            }
        }
    }

    pub(super) fn write(&self, indent: usize, out: &mut String) {
        match self {
            Self::Literal(raw) => out.push_str(raw),
            Self::Text(text) => write_string(text, out),
            Self::Array(items) if items.is_empty() => out.push_str("[]"),
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    new_line(i > 0, indent + 1, out);
                    item.write(indent + 1, out);
                }
                new_line(false, indent, out);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    new_line(i > 0, indent + 1, out);
                    write_string(name, out);
                    out.push_str(": ");
                    value.write(indent + 1, out);
                }
                new_line(false, indent, out);
                out.push('}');
            }
        }
    }
}

/// The members of a JWK that are private or symmetric keys (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1; `priv`: the
/// "AKP" keys of ML-DSA).
const PRIVATE_KEY_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// Claims that nobody should put into a token, and that are not shown when someone did.
const SECRET_MEMBERS: [&str; 5] = ["password", "passwd", "pwd", "client_secret", "secret"];

/// Members of a token endpoint's answer and the like, whose values are tokens of any form (RFC 6749 section 5.1).
const TOKEN_MEMBERS: [&str; 6] = ["access_token", "refresh_token", "id_token", "token", "assertion", "device_code"];

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Three long segments: perhaps a JWS whose header is damaged.
fn looks_signed(token: &str) -> bool {
    let segments: Vec<&str> = token.split('.').collect();
    matches!(segments[..], [header, _, signature] if header.len() >= 16 && signature.len() >= 32)
}

/// The text with the last segment of every word in it that is a JWS cut off; `None` where there is none.
fn without_signatures(text: &str) -> Option<String> {
    if !text.contains('.') {
        return None;
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '/' | '=');
    let mut shown = String::with_capacity(text.len());
    let mut found = false;
    for word in text.split_inclusive(|c| !is_part(c)) {
        let (token, rest) = word.split_at(word.trim_end_matches(|c| !is_part(c)).len());
        match token.rfind('.') {
            Some(dot) if is_jws(token) || looks_signed(token) => {
                found = true;
                shown.push_str(&token[..dot]);
                shown.push_str(".[signature not shown]");
            }
            _ => shown.push_str(token),
        }
        shown.push_str(rest);
    }
    found.then_some(shown)
}

fn new_line(comma: bool, indent: usize, out: &mut String) {
    out.push_str(if comma { ",\n" } else { "\n" });
    for _ in 0..indent {
        out.push_str("  ");
    }
}

/// A JSON string in which control characters and those that reorder or hide text are escaped: what a terminal shows is
/// what the token says.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // As JSON writes what is beyond 16 bits: in two parts (RFC 8259 section 7).
            c if is_unsafe(c) => {
                for part in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{part:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// An object's members in order, repeated names included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
