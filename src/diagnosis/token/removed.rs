//! What stood around a token and was taken off before it was read.

use std::fmt;

/// One thing that was taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// Spaces and tabs.
    WhiteSpace,
    /// A line break, which no header can hold (RFC 9110 section 5.5).
    LineBreak,
    /// Zero-width characters, byte order marks and the like.
    Invisible,
    /// White space or invisible characters inside the token.
    Wrapping,
    /// Quotes or angle brackets.
    Quotes,
    /// A name, with the `=` or `:` after it.
    Name(String),
    /// The URL that it stood in.
    Url,
    /// A comma or semicolon at the end.
    Comma,
    /// Whatever came after a comma: a second credential.
    SecondCredential,
    /// Percent-encoding, which belongs into URLs.
    PercentEncoding,
    /// The prefix of Pomerium's service accounts: `Authorization: Bearer Pomerium-<jwt>`.
    Pomerium,
    /// Base64 around the token, as Kubernetes writes secrets.
    Base64,
    /// JSON around the token, as a token endpoint answers, with the member that was looked at.
    Json(&'static str),
}

impl Removed {
    /// Whether a server that gets the token so reads it all the same.
    #[must_use]
    pub const fn is_harmless(&self) -> bool {
        matches!(self, Self::WhiteSpace | Self::Pomerium)
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WhiteSpace => "white space",
            Self::LineBreak => "a line break (a file read without trimming is the usual source)",
            Self::Invisible => "invisible characters",
            Self::Wrapping => "white space or invisible characters inside it (it was wrapped when copied)",
            Self::Quotes => "quotes",
            Self::Name(name) => return write!(f, "`{name}`"),
            Self::Url => "the URL around it",
            Self::Comma => "a comma or semicolon",
            Self::SecondCredential => "a second credential after a comma",
            Self::PercentEncoding => "percent-encoding",
            Self::Pomerium => "the prefix `Pomerium-` of Pomerium's service accounts",
            Self::Base64 => "base64 around it (Kubernetes encodes secrets so)",
            Self::Json(name) => return write!(f, "the JSON around `{name}`"),
        })
    }
}
