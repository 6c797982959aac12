//! A report for people to read.

use std::fmt::Write as _;

use super::times::length;
use super::{Binding, Claim, Document, Facts, Form, Format, Report, Status, Unit, When};
use crate::text;

/// What stands under every result.
const NOT_VERIFIED: &str = "⚠️ Not verified: no signature was checked against an issuer's key. Anybody can write a token that \
                            says this; do not trust it.";

impl Report {
    /// The text of the bearerDecode tool: header, payload and status.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::from("🔍 JWT Token Analysis");
        if self.is_decoded() {
            self.write_decoded(&mut out);
        } else {
            section(&mut out, &format!("Nothing to decode: {}", nothing(self.facts.format)));
        }
        out
    }

    /// What else there is to say.
    #[must_use]
    pub fn details(&self) -> String {
        let mut out = String::from(NOT_VERIFIED);
        self.write_times(&mut out);
        self.write_problems(&mut out);
        self.write_summary(&mut out);
        self.write_proof(&mut out);
        self.write_nested(&mut out);
        if !self.notes.is_empty() {
            section(&mut out, "🔎 Observations:");
            for note in &self.notes {
                line(&mut out, &format!("- {} {}", note.level.sign(), note.text));
            }
        }
        out
    }

    fn write_decoded(&self, out: &mut String) {
        section(out, &format!("Header:\n{}", document(self.facts.header.as_ref(), "not available")));
        let missing = match self.facts.format {
            Format::Jwe | Format::JweJson => "not available: it is encrypted",
            _ if self.nested.is_some() => "a token itself, see below",
            _ => "not available",
        };
        section(out, &format!("Payload:\n{}", document(self.facts.payload.as_ref(), missing)));
        section(out, "⏱️ Token Status:");
        for status in self.status_lines() {
            line(out, &format!("- {status}"));
        }
    }

    /// As the original has them.
    fn status_lines(&self) -> Vec<String> {
        let times = &self.facts.times;
        let Some(status) = self.status() else {
            let why = match self.facts.format {
                Format::Jwe | Format::JweJson => "the claims are encrypted",
                _ => "there are no claims that could be read",
            };
            return ["Issued", "Expires", "Status"].map(|name| format!("{name}: not available ({why})")).to_vec();
        };
        // VALID beside a time of issue that is yet to come looks like a contradiction.
        let is_early = status == Status::Valid && times.age().is_some_and(i64::is_negative);
        vec![
            format!("Issued: {}", time(&times.issued, "iat")),
            format!("Expires: {}", time(&times.expires, "exp")),
            format!(
                "Status: {}{}",
                status.name(),
                if is_early { " (by exp and nbf alone: iat lies ahead)" } else { "" }
            ),
        ]
    }

    /// What times follow from the claims.
    fn write_times(&self, out: &mut String) {
        let times = &self.facts.times;
        let mut lines = Vec::new();
        if times.not_before != Claim::Absent {
            lines.push(format!("Not Before: {}", time(&times.not_before, "nbf")));
        }
        // What lies the wrong way is a finding.
        if let Some(age @ 0..) = times.age() {
            lines.push(format!("Age: {}", length(age)));
        }
        if let Some(left @ 1..) = times.expires_in() {
            lines.push(format!("Remaining: {}", length(left)));
        }
        if let Some(life @ 0..) = times.lifetime() {
            lines.push(format!("Lifetime: {}", length(life)));
        }
        if !lines.is_empty() {
            section(out, "🕰️ Times:");
            lines.iter().for_each(|time| line(out, &format!("- {time}")));
        }
    }

    fn write_problems(&self, out: &mut String) {
        if self.problems.is_empty() {
            return;
        }
        section(out, "❌ What is wrong:");
        for problem in &self.problems {
            line(out, &format!("- {}", problem.reason));
            if let Some(place) = &problem.place {
                line(out, &format!("  Where: {place}"));
            }
            line(out, &format!("  What to do: {}", problem.advice));
        }
    }

    fn write_summary(&self, out: &mut String) {
        section(out, "🏷️ What It Is:");
        line(out, &format!("- Kind: {} ({})", self.kind.title(), self.evidence));
        line(out, &format!("- Format: {}", self.facts.format.title()));
        let hash = self.sha256_prefix.as_ref().map_or_else(String::new, |hash| format!(", SHA-256 begins {hash}"));
        line(out, &format!("- Size: {} characters{hash}", self.facts.length));
        if let Some(signature) = self.facts.signature {
            let bytes = signature.bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
            line(out, &format!("- Signature: {} characters{bytes} (never shown)", signature.characters));
        }
        let audience = self.facts.audience();
        if !audience.is_empty() {
            line(out, &format!("- Audience: {}", list(&audience)));
        }
        if let Some((claim, client)) = self.facts.client() {
            line(out, &format!("- Client: {} ({claim})", list(&[client])));
        }
        for grants in self.facts.grants() {
            let values = if grants.values.is_empty() { "none".to_owned() } else { list(&grants.values) };
            line(out, &format!("- {}: {values}", title(grants.claim)));
        }
        if let Some(bound) = binding(&self.facts) {
            line(out, &format!("- Bound To: {bound}"));
        }
        if let Some(profile) = &self.profile {
            line(out, &format!("- RFC 9068: {}", profile.verdict()));
        }
    }

    fn write_proof(&self, out: &mut String) {
        let Some(proof) = &self.proof else { return };
        let or_none = |value: &Option<String>| {
            value.as_deref().map_or_else(|| "not available".to_owned(), |value| list(&[value]))
        };
        section(out, "🔐 DPoP Proof:");
        line(out, &format!("- Method (htm): {}", or_none(&proof.method)));
        line(out, &format!("- URL (htu): {}", or_none(&proof.url)));
        line(out, &format!("- Id (jti): {}", or_none(&proof.id)));
        line(out, &format!("- Access Token Hash (ath): {}", or_none(&proof.access_token_hash)));
        line(out, &format!("- Key Thumbprint (jkt): {}", or_none(&proof.thumbprint)));
        line(
            out,
            &format!(
                "- Signed With Its Own Key: {}",
                match &proof.signature {
                    super::Verification::Valid => "yes",
                    super::Verification::Invalid => "no",
                    super::Verification::NotChecked(_) => "not checked",
                }
            ),
        );
        if let Some(age) = proof.age {
            let age = if age < 0 { format!("{} in the future", length(age)) } else { length(age) };
            line(out, &format!("- Age: {age}"));
        }
    }

    fn write_nested(&self, out: &mut String) {
        let Some(nested) = &self.nested else { return };
        section(out, "🪆 Token Inside:");
        line(out, &format!("Header:\n{}", document(nested.facts.header.as_ref(), "not available")));
        line(out, &format!("Payload:\n{}", document(nested.facts.payload.as_ref(), "not available")));
        for status in nested.status_lines() {
            line(out, &format!("- {status}"));
        }
        for problem in &nested.problems {
            line(out, &format!("- ❌ {}", problem.reason));
        }
        for note in &nested.notes {
            line(out, &format!("- {} {}", note.level.sign(), note.text));
        }
    }
}

/// Begins a section: one empty line between it and what stands above.
fn section(out: &mut String, text: &str) {
    if !out.ends_with("\n\n") {
        out.push_str("\n\n");
    }
    out.push_str(text);
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\n{text}");
}

/// Why there is nothing to decode.
fn nothing(format: Format) -> String {
    match format {
        Format::Opaque => "this is an opaque token".to_owned(),
        Format::Malformed => "this token is malformed".to_owned(),
        Format::TooLarge => "this token is too large to look at".to_owned(),
        Format::Empty => "there is no token".to_owned(),
        _ => format!("this is {}", format.title()),
    }
}

fn document<'a>(document: Option<&'a Document>, missing: &'a str) -> &'a str {
    document.map_or(missing, |document| &document.pretty)
}

fn time(claim: &Claim, name: &str) -> String {
    let time = match claim {
        Claim::Absent => return format!("not available (no {name} claim)"),
        Claim::Unreadable(_) => return format!("not available ({name} is not a time)"),
        Claim::Read(time) => time,
    };
    let when = match time.when {
        When::At(at) => text::time(at),
        When::Before => return format!("before any calendar ({})", text::shorten(&time.written, 40)),
        When::After => return format!("after the year 9999 ({})", text::shorten(&time.written, 40)),
    };
    match (time.unit, time.form) {
        (Unit::Seconds, Form::Number) => when,
        (Unit::Seconds, Form::Quoted) => format!("{when} (written as a string)"),
        (Unit::Seconds, Form::Date) => format!("{when} (written as a date)"),
        (unit, _) => format!("{when} (written in {})", unit.name()),
    }
}

fn binding(facts: &Facts) -> Option<String> {
    Some(match facts.binding()? {
        Binding::Dpop(thumbprint) => format!("a DPoP key, thumbprint {} (sender-constrained)", list(&[thumbprint])),
        Binding::Certificate => "a TLS client certificate (sender-constrained)".to_owned(),
        Binding::Key => "a key (cnf)".to_owned(),
    })
}

/// `scope` → `Scope`.
fn title(claim: &str) -> String {
    let mut chars = claim.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Values on one line: escaped where a terminal would act on them, shortened where they are many.
fn list(values: &[&str]) -> String {
    // As many as one reads; the payload above has them all.
    const SHOWN: usize = 20;
    let mut shown: Vec<String> = values
        .iter()
        .take(SHOWN)
        .map(|value| {
            let quoted = super::quote(value);
            quoted[1..quoted.len() - 1].to_owned()
        })
        .collect();
    if values.len() > SHOWN {
        shown.push(format!("and {} more", values.len() - SHOWN));
    }
    shown.join(", ")
}
