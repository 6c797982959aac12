//! A token taken apart without being trusted: what it is, what it says, and why a verifier would refuse it.
//!
//! [`inspect`] takes whatever people paste or clients send and always returns a [`Report`]: never an error, never a
//! panic. It verifies nothing and asks nobody; time comes in as a parameter. What a report holds may be shown: no
//! signature, password or private key is in it.
//!
//! The way of a text: `clean` takes off what is around the token, `parse` tells its form and reads its segments
//! (`segment`, `document`), [`Decoded`] is what it says; from that follow its [`TokenKind`] and its [`Profile`]. What is
//! wrong with it is the business of `findings::token`. `render` and `structured` write the same report
//! for people and for scripts.

mod algorithm;
mod clean;
mod decoded;
mod document;
mod dpop;
mod fault;
mod format;
mod key;
mod kind;
mod masked;
mod node;
mod opaque;
mod own_key;
mod parse;
mod problem;
mod profile;
mod removed;
mod render;
mod segment;
mod structured;
#[cfg(test)]
mod tests;
mod times;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

pub use algorithm::{Algorithm, Protection, algorithm};
pub use clean::{Cleaned, clean};
pub use decoded::{Binding, Decoded, Grants, Signature, StandIn, strings};
pub use document::{Document, MAX_DEPTH, type_name};
pub use dpop::{NotAUrl, Proof, url_difference};
pub use format::Format;
pub(crate) use key::Key;
pub use kind::TokenKind;
pub use node::Masked;
pub use own_key::OwnSignature;
pub use problem::{Location, Offset, Problem};
pub use profile::Profile;
pub use removed::Removed;
pub use segment::{Oddities, is_jws};
pub use structured::schema;
pub use times::{Notation, Status, Time, TimeClaim, Times, Unit, When, length};

use super::placeholder;
use super::quote::quote;
use crate::session::Unbound;

/// The longest token that is looked at, in bytes. HTTP servers take 8 to 16 KiB of headers in all; twice that leaves room
/// for tokens that are too long for them, so that one can see why.
pub const MAX_TOKEN_BYTES: usize = 32 * 1024;

/// Tokens shorter than this get no hash: from a prefix of it they could be guessed.
const SHORTEST_HASHED: usize = 16;

/// Everything that was found out about a text. Made by [`inspect`].
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What it says.
    pub token: Decoded,
    /// What stood around it.
    pub removed: Vec<Removed>,
    /// Why it, or a part of it, cannot be read. Empty for a JWT in order.
    pub problems: Vec<Problem>,
    /// What it is for.
    pub kind: TokenKind,
    /// By what one can tell.
    pub kind_evidence: String,
    /// How it stands to RFC 9068, where it could be an access token.
    pub profile: Option<Profile>,
    /// The DPoP proof that it is.
    pub proof: Option<Proof>,
    /// What is worth knowing of its form, and nobody's fault.
    pub remarks: Vec<String>,
    /// The token inside, one level deep.
    pub nested: Option<Box<Report>>,
    /// The first 8 hex digits of the token's SHA-256, to tell tokens apart without showing them; none for what could be
    /// guessed from it.
    pub sha256_prefix: Option<String>,
    /// The SHA-256 of the token in base64url: `ath` of a DPoP proof that comes with it (RFC 9449 section 4.2).
    pub hash: String,
    /// What is signed, and the signature: for whoever has keys. Never shown.
    pub(in crate::diagnosis) signing: Option<Signing>,
    /// Header and payload segments as sent, where they hide nothing that the decoded form masks.
    pub raw: Option<(String, String)>,
}

/// A JWS as it was sent (RFC 7515 section 5.1): it is not to be shown, so it does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::diagnosis) struct Signing {
    /// Header and payload segments with the dot between.
    pub input: String,
    /// The signature's segment.
    pub signature: String,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signing({} bytes)", self.input.len())
    }
}

/// Looks at a text: a token, perhaps with a scheme, quotes or more around it.
#[must_use]
pub fn inspect(input: &str, now: Timestamp) -> Report {
    // What is taken off may be long too, but not longer than what it is taken off from.
    if input.len() > 2 * MAX_TOKEN_BYTES {
        return too_large(input, now);
    }
    let cleaned = clean(input);
    let mut report = if cleaned.token.len() > MAX_TOKEN_BYTES {
        too_large(&cleaned.token, now)
    } else if cleaned.token.is_empty() {
        empty(&cleaned, now)
    } else if let Some(placeholder) = cleaned.placeholder {
        let (reason, advice) = placeholder.advice();
        nothing(
            Format::Placeholder,
            Problem::whole(format!("{reason}: {}", quote(placeholder::shown(&cleaned.token))), advice),
            now,
        )
    } else {
        read(&cleaned.token, cleaned.schemes.first().map(String::as_str), true, now)
    };
    report.token.schemes = cleaned.schemes;
    report.token.length = cleaned.token.chars().count();
    report.removed.splice(0..0, cleaned.removed);
    report
}

impl Report {
    /// Whether there is anything decoded to show.
    #[must_use]
    pub const fn is_decoded(&self) -> bool {
        self.token.header.is_some() || self.token.payload.is_some() || self.nested.is_some()
    }

    /// The status, where claims could be read.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.token.payload.as_ref().filter(|_| self.token.format != Format::Key).map(|_| self.token.times.status())
    }
}

fn read(token: &str, scheme: Option<&str>, look_inside: bool, now: Timestamp) -> Report {
    let parsed = parse::parse(token, scheme, now);
    let decoded = parsed.token;
    let (kind, kind_evidence) = parsed.kind.unwrap_or_else(|| kind::classify(&decoded));
    let nested = parsed.inner.filter(|_| look_inside).map(|inner| {
        let mut nested = read(&inner, None, false, now);
        nested.token.length = inner.chars().count();
        Box::new(nested)
    });
    let hides = [&decoded.header, &decoded.payload].into_iter().flatten().any(|document| !document.masked.is_empty());
    let readable = decoded.payload.is_some() || decoded.format == Format::Jwe;
    let guessable = matches!(decoded.format, Format::Basic | Format::Key) || token.len() < SHORTEST_HASHED;
    Report {
        profile: Profile::of(&decoded, kind),
        proof: (kind == TokenKind::DpopProof).then(|| Proof::of(&decoded, parsed.own_key)),
        token: decoded,
        removed: parsed.removed,
        problems: parsed.problems,
        kind,
        kind_evidence,
        remarks: parsed.remarks,
        raw: parsed.raw.filter(|_| readable && !hides && nested.is_none()),
        nested,
        sha256_prefix: (!guessable).then(|| sha256_prefix(token)),
        hash: URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes())),
        signing: parsed.signing,
    }
}

fn nothing(format: Format, problem: Problem, now: Timestamp) -> Report {
    Report {
        token: Decoded::empty(format, now),
        removed: Vec::new(),
        problems: vec![problem],
        kind: TokenKind::Unknown,
        kind_evidence: "there is nothing to tell it by".to_owned(),
        profile: None,
        proof: None,
        remarks: Vec::new(),
        nested: None,
        sha256_prefix: None,
        hash: String::new(),
        signing: None,
        raw: None,
    }
}

fn empty(cleaned: &Cleaned, now: Timestamp) -> Report {
    let reason = match cleaned.schemes.first() {
        Some(scheme) => format!("there is nothing after the scheme `{scheme}`"),
        None => "the token is empty".to_owned(),
    };
    let advice = "the client built the header before it had a token: log in first, and check where its variable is set";
    nothing(Format::Empty, Problem::whole(reason, advice), now)
}

fn too_large(token: &str, now: Timestamp) -> Report {
    let problem = Problem::whole(
        format!("the token has {} bytes; more than {MAX_TOKEN_BYTES} are not looked at", token.len()),
        "no server takes a header that long: issue fewer claims (groups and roles are the usual reason), or an opaque token",
    );
    let mut report = nothing(Format::TooLarge, problem, now);
    report.sha256_prefix = Some(sha256_prefix(token));
    report.token.length = token.chars().count();
    report
}

fn sha256_prefix(token: &str) -> String {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// `sub` and `iss` of a JWT in an `Authorization` header's value, not verified: who the caller says to be.
///
/// For the path of every request: one allocation for the payload, one for each claim. `Bearer` and `DPoP` (RFC 9449
/// section 7.1) count, in any case; of a token with two `sub` claims, or one that is empty or neither text nor a number,
/// nobody can be told (RFC 7519 sections 4 and 4.1.2). A number counts as its text.
///
/// # Errors
/// Why there is no subject.
pub fn bearer_subject(authorization_header_value: &str) -> Result<(String, Option<String>), Unbound> {
    let (scheme, token) = authorization_header_value.trim().split_once(' ').ok_or(Unbound::NoIdentity)?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop");
    if !known {
        return Err(Unbound::NoIdentity);
    }
    subject(token.trim_start())
}

/// `sub` and `iss` of a JWT, as [`bearer_subject`].
fn subject(token: &str) -> Result<(String, Option<String>), Unbound> {
    #[derive(Deserialize)]
    struct Claims<'a> {
        #[serde(borrow)]
        sub: Option<&'a RawValue>,
        #[serde(borrow)]
        iss: Option<&'a RawValue>,
    }

    if token.len() > MAX_TOKEN_BYTES {
        return Err(Unbound::TooLong);
    }
    let mut segments = token.split('.');
    let (Some(_header), Some(payload), Some(_signature), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return Err(Unbound::Opaque);
    };
    let payload = segment::decode_quietly(payload).ok_or(Unbound::NoSubject)?;
    let claims: Claims<'_> = serde_json::from_slice(&payload).map_err(|_| Unbound::NoSubject)?;
    let sub = claims.sub.and_then(plain_text).ok_or(Unbound::NoSubject)?;
    Ok((sub, claims.iss.and_then(plain_text)))
}

/// A string that is not empty, or the text of a number.
fn plain_text(value: &RawValue) -> Option<String> {
    let json = value.get();
    let text = match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok()?,
        b'-' | b'0'..=b'9' => json.to_owned(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}
