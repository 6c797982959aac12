//! A token taken apart without being trusted: what it is, what it says, and why a verifier would refuse it.
//!
//! [`inspect`] takes whatever people paste or clients send and always returns a [`Report`]: never an error, never a
//! panic. It verifies nothing and asks nobody; time comes in as a parameter. What a report holds may be shown: no
//! signature, password or private key is in it.
//!
//! The way of a text: `clean` takes off what is around the token, `parse` tells its form and reads its segments
//! (`segment`, `document`), [`Facts`] are what it says, and pure rules on them give its [`Kind`], its [`Profile`] and the
//! [`Note`]s. `render` and `structured` write the same report for people and for scripts.

mod algorithm;
mod clean;
mod document;
mod dpop;
mod facts;
mod format;
mod kind;
mod node;
mod notes;
mod opaque;
mod own_key;
mod parse;
mod placeholder;
mod problem;
mod profile;
mod render;
mod segment;
mod structured;
#[cfg(test)]
mod tests;
mod times;

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use algorithm::{Algorithm, Protection, algorithm};
pub use clean::{Cleaned, Origin, clean};
pub use document::{Document, MAX_DEPTH, Masked};
pub use dpop::{MAX_AGE_SECONDS, NotAUrl, Presented, Proof, Verification, url_difference};
pub use facts::{Binding, Facts, Grants, Signature};
pub use format::Format;
pub use kind::Kind;
pub use notes::{LONG_TOKEN, Level, Note, quote};
pub use placeholder::Placeholder;
pub use problem::{Place, Problem, Spot};
pub use profile::Profile;
pub use segment::{Oddities, is_jws};
pub use structured::schema;
pub use times::{Claim, Form, LONG_LIFETIME, SHORT_LIFETIME, Status, Time, Times, Unit, When};

/// The longest token that is looked at, in bytes. HTTP servers take 8 to 16 KiB of headers in all; twice that leaves room
/// for tokens that are too long for them, so that one can see why.
pub const MAX_TOKEN_BYTES: usize = 32 * 1024;

/// Tokens shorter than this get no hash: from a prefix of it they could be guessed.
const SHORTEST_HASHED: usize = 16;

/// Everything that was found out about a text. Made by [`inspect`].
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What it says.
    pub facts: Facts,
    /// Why it, or a part of it, cannot be read. Empty for a JWT in order.
    pub problems: Vec<Problem>,
    /// What it is for.
    pub kind: Kind,
    /// By what one can tell.
    pub evidence: String,
    /// How it stands to RFC 9068, where it could be an access token.
    pub profile: Option<Profile>,
    /// The DPoP proof that it is or that came with it.
    pub proof: Option<Proof>,
    /// Observations, the worst first.
    pub notes: Vec<Note>,
    /// The token inside, one level deep.
    pub nested: Option<Box<Report>>,
    /// The first 8 hex digits of the token's SHA-256, to tell tokens apart without showing them; none for what could be
    /// guessed from it.
    pub sha256_prefix: Option<String>,
    /// Header and payload segments as sent, where they hide nothing that the decoded form masks.
    pub raw: Option<(String, String)>,
}

/// Looks at a text that a person gave as a token, perhaps with a scheme, quotes or more around it.
#[must_use]
pub fn inspect(input: &str, now: Timestamp) -> Report {
    inspect_from(input, Origin::Argument, now)
}

/// Looks at a text; `origin` says what is expected around the token.
#[must_use]
pub fn inspect_from(input: &str, origin: Origin, now: Timestamp) -> Report {
    // What is taken off may be long too, but not longer than what it is taken off from.
    if input.len() > 2 * MAX_TOKEN_BYTES {
        return too_large(input, now);
    }
    let cleaned = clean(input, origin);
    let mut report = if cleaned.token.len() > MAX_TOKEN_BYTES {
        too_large(&cleaned.token, now)
    } else if cleaned.token.is_empty() {
        empty(&cleaned, now)
    } else if let Some(placeholder) = cleaned.placeholder {
        let (reason, advice) = placeholder.advice();
        nothing(Format::Placeholder, Problem::whole(reason, advice), now)
    } else {
        read(&cleaned.token, cleaned.scheme.as_deref(), true, now)
    };
    report.facts.scheme = cleaned.scheme;
    report.facts.length = cleaned.token.chars().count();
    let kind = report.kind;
    report.add(cleaned.notes);
    report.add(notes::observe(&report.facts, kind));
    report
}

impl Report {
    /// Adds observations; the worst come first.
    pub fn add(&mut self, notes: impl IntoIterator<Item = Note>) {
        for note in notes {
            if !self.notes.contains(&note) {
                let at = self.notes.partition_point(|before| before.level >= note.level);
                self.notes.insert(at, note);
            }
        }
    }

    /// Adds the DPoP proof that came with the token, and what is wrong with it.
    pub fn add_proof(&mut self, proof: &Self, with: &Presented<'_>) {
        let Some(found) = &proof.proof else {
            self.add([Note::error("the DPoP header does not hold a DPoP proof (RFC 9449 section 4.2)")]);
            return;
        };
        self.add(found.notes(&proof.facts));
        self.add(found.compare(with));
        self.proof = Some(found.clone());
    }

    /// Whether there is anything decoded to show.
    #[must_use]
    pub const fn is_decoded(&self) -> bool {
        self.facts.header.is_some() || self.facts.payload.is_some() || self.nested.is_some()
    }

    /// The status, where claims could be read.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.facts.payload.as_ref().filter(|_| self.facts.format != Format::Key).map(|_| self.facts.times.status())
    }
}

fn read(token: &str, scheme: Option<&str>, look_inside: bool, now: Timestamp) -> Report {
    let parsed = parse::parse(token, scheme, now);
    let facts = parsed.facts;
    let (kind, evidence) = parsed.kind.unwrap_or_else(|| kind::classify(&facts));
    let profile = Profile::of(&facts, kind);
    let is_proof = kind == Kind::DpopProof;
    let proof = is_proof.then(|| Proof::of(&facts, parsed.own_key));
    let proof_notes = proof.as_ref().map(|proof| proof.notes(&facts)).unwrap_or_default();
    let nested = parsed.inner.filter(|_| look_inside).map(|inner| {
        let mut nested = read(&inner, None, false, now);
        nested.facts.length = inner.chars().count();
        let kind = nested.kind;
        nested.add(notes::observe(&nested.facts, kind));
        Box::new(nested)
    });
    let hides = [&facts.header, &facts.payload].into_iter().flatten().any(|document| !document.masked.is_empty());
    let readable = facts.payload.is_some() || facts.format == Format::Jwe;
    let guessable = matches!(facts.format, Format::Basic | Format::Key) || token.len() < SHORTEST_HASHED;
    let mut report = Report {
        facts,
        problems: parsed.problems,
        kind,
        evidence,
        profile,
        proof,
        notes: Vec::new(),
        raw: parsed.raw.filter(|_| readable && !hides && nested.is_none()),
        nested,
        sha256_prefix: (!guessable).then(|| sha256_prefix(token)),
    };
    report.add(parsed.notes);
    report.add(proof_notes);
    report
}

fn nothing(format: Format, problem: Problem, now: Timestamp) -> Report {
    Report {
        facts: Facts::empty(format, now),
        evidence: "there is nothing to tell it by".to_owned(),
        problems: vec![problem],
        kind: Kind::Unknown,
        profile: None,
        proof: None,
        notes: Vec::new(),
        nested: None,
        sha256_prefix: None,
        raw: None,
    }
}

fn empty(cleaned: &Cleaned, now: Timestamp) -> Report {
    let reason = match &cleaned.scheme {
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
    report.facts.length = token.chars().count();
    report
}

fn sha256_prefix(token: &str) -> String {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// The `sub` claim of a JWT in an `Authorization` header's value, not verified: who the caller says to be.
///
/// For the path of every request: one allocation for the payload, one for the result. `Bearer` and `DPoP` (RFC 9449
/// section 7.1) count, in any case; of a token with two `sub` claims, or one that is empty or not a string, nobody can be
/// told (RFC 7519 sections 4 and 4.1.2).
#[must_use]
pub fn bearer_subject(authorization_header_value: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }

    let (scheme, token) = authorization_header_value.trim().split_once(' ')?;
    let token = token.trim_start();
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop");
    if !known || token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut segments = token.split('.');
    let (_header, payload, _signature) = (segments.next()?, segments.next()?, segments.next()?);
    if segments.next().is_some() {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&segment::decode_quietly(payload)?).ok()?;
    (!claims.sub.is_empty()).then_some(claims.sub)
}
