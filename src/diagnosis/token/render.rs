//! A report for people to read.

use std::fmt::Write as _;

use super::times::length;
use super::{
    Binding, Decoded, Document, Format, Masked, Notation, OwnSignature, Proof, Report, Status, TimeClaim, TokenKind,
    Unit, When, algorithm,
};
use crate::diagnosis::issuer;
use crate::diagnosis::quote::{quote, quote_all};
use crate::diagnosis::verification::Verification;
use crate::text;

/// What stands under every result.
const NOT_VERIFIED: &str = "⚠️ Not verified: no signature was checked against an issuer's key. Anybody can write a token that \
                            says this; do not trust it.";

/// The same where the signature was checked and is not the issuer's.
const PROVES_NOTHING: &str = "⚠️ Not verified: the signature proves nothing. Do not trust what the token says.";

impl Report {
    /// The text of the bearerDecode tool: header, payload and status.
    #[must_use]
    ///
    /// `standing` is what the status rests on: a status and a note.
    pub fn text(&self, standing: Option<(&str, &str)>) -> String {
        let mut out = String::from("🔍 JWT Token Analysis");
        if self.is_decoded() {
            self.write_decoded(&mut out, standing);
        } else {
            section(&mut out, &format!("Nothing to decode: {}", nothing(self.token.format)));
        }
        out
    }

    /// What else there is to say.
    #[must_use]
    pub fn details(&self, signature: &Verification) -> String {
        if self.token.format == Format::Empty {
            return String::new();
        }
        let mut out = String::from(match signature {
            Verification::Verified { .. } => "🔏 The signature is the issuer's: the token says what the issuer wrote.",
            Verification::Failed(_) | Verification::Refused(_) => PROVES_NOTHING,
            _ => NOT_VERIFIED,
        });
        self.write_times(&mut out);
        self.write_summary(&mut out);
        if let Some(proof) = &self.proof {
            out += &proof.section();
        }
        self.write_nested(&mut out);
        out
    }

    fn write_decoded(&self, out: &mut String, standing: Option<(&str, &str)>) {
        section(out, &format!("Header:\n{}", document(self.token.header.as_ref(), "not available")));
        let missing = match self.token.format {
            Format::Jwe | Format::JweJson => "not available: it is encrypted",
            _ if self.nested.is_some() => "a token itself, see below",
            _ => "not available",
        };
        section(out, &format!("Payload:\n{}", document(self.token.payload.as_ref(), missing)));
        section(out, "⏱️ Token Status:");
        for status in self.status_lines(standing) {
            line(out, &format!("- {status}"));
        }
    }

    /// As the original has them.
    fn status_lines(&self, standing: Option<(&str, &str)>) -> Vec<String> {
        let times = &self.token.times;
        let Some(status) = self.status() else {
            let why = match self.token.format {
                Format::Jwe | Format::JweJson => "the claims are encrypted",
                _ => "there are no claims that could be read",
            };
            return ["Issued", "Expires", "Status"].map(|name| format!("{name}: not available ({why})")).to_vec();
        };
        // VALID beside a time of issue that is yet to come looks like a contradiction.
        let is_early = status == Status::Valid && times.age().is_some_and(i64::is_negative);
        let early = if is_early { "by exp and nbf alone: iat lies ahead" } else { "" };
        let (status, note) = standing.unwrap_or((status.name(), ""));
        let notes = [early, note].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("; ");
        let notes = if notes.is_empty() { notes } else { format!(" ({notes})") };
        vec![
            format!("Issued: {}", time(&times.issued, "iat")),
            format!("Expires: {}", time(&times.expires, "exp")),
            format!("Status: {status}{notes}"),
        ]
    }

    /// What times follow from the claims.
    fn write_times(&self, out: &mut String) {
        let times = &self.token.times;
        let mut lines = Vec::new();
        if times.not_before != TimeClaim::Absent {
            lines.push(format!("Not Before: {}", time(&times.not_before, "nbf")));
        }
        // What lies the wrong way is a finding.
        if let Some(age @ 0..) = times.age() {
            lines.push(format!("Age: {}", length(age)));
        }
        if let (Some(left @ 1..), Some(Status::Valid)) = (times.expires_in(), self.status()) {
            lines.push(format!("Remaining: {}", length(left)));
        }
        if let Some(life @ 0..) = times.lifetime() {
            lines.push(format!("Lifetime: {}", length(life)));
        }
        if !lines.is_empty() {
            section(out, "🕰️ Times:");
            for time in &lines {
                line(out, &format!("- {time}"));
            }
        }
    }

    fn write_summary(&self, out: &mut String) {
        section(out, "🏷️ What It Is:");
        // By what a token is told that should not have been sent, or says nothing, is part of the finding.
        let in_finding =
            self.kind.why_wrong().is_some() || self.kind == TokenKind::IdToken || self.token.format == Format::Opaque;
        let evidence = if in_finding { String::new() } else { format!(" ({})", self.kind_evidence) };
        line(out, &format!("- Kind: {}{evidence}", self.kind.title()));
        line(out, &format!("- Format: {}", self.token.format.title()));
        let hash = self.sha256_prefix.as_ref().map_or_else(String::new, |hash| format!(", SHA-256 begins {hash}"));
        line(out, &format!("- Size: {} characters{hash}", self.token.length));
        if let Some(signature) = self.token.signature {
            let bytes = signature.bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
            line(out, &format!("- Signature: {} characters{bytes} (never shown)", signature.characters));
        }
        if let Some(alg) = self.token.alg() {
            line(out, &format!("- Algorithm: {} ({})", plain(alg), algorithm(alg).meaning));
        }
        if let Some(issuer) = self.token.claim_str("iss") {
            line(out, &format!("- Issuer: {}; verifiers compare iss exactly", plain(issuer)));
            let metadata: Vec<String> = issuer::metadata(issuer).iter().map(|url| plain(url)).collect();
            match metadata.as_slice() {
                [] => line(out, "- Issuer Metadata: not available (the issuer is no URL)"),
                urls => line(out, &format!("- Issuer Metadata: {}", urls.join(" or "))),
            }
        }
        if let Some((claim, client)) = self.token.client() {
            line(out, &format!("- Client: {} ({claim})", plain(client)));
        }
        if let Some(bound) = binding(&self.token) {
            line(out, &format!("- Bound To: {bound}"));
        }
        if let Some(actor) = self.token.claim("act") {
            let actor = actor.get("sub").and_then(serde_json::Value::as_str).unwrap_or("unnamed");
            line(out, &format!("- Actor: {} acts for the subject (RFC 8693 section 4.1)", plain(actor)));
        }
        if self.token.param_str("signer").is_some_and(|signer| signer.starts_with("arn:aws")) {
            line(
                out,
                "- Keys: public-keys.auth.elb.<region>.amazonaws.com/<kid>; compare signer with the ARN of your own load \
                 balancer",
            );
        }
        if let Some(profile) = self.profile.as_ref().filter(|profile| profile.is_followed()) {
            line(out, &format!("- RFC 9068: {}", profile.verdict()));
        }
        if !self.removed.is_empty() {
            let removed: Vec<String> = self.removed.iter().map(ToString::to_string).collect();
            line(out, &format!("- Taken Off Before Reading: {}", removed.join(", ")));
        }
        for remark in &self.remarks {
            line(out, &format!("- Also: {remark}"));
        }
        let tokens_inside = [&self.token.header, &self.token.payload].into_iter().flatten().flat_map(|document| {
            document.masked.iter().filter(|(_, what)| *what == Masked::Token).map(|(path, _)| path.as_str())
        });
        let tokens_inside = quote_all(tokens_inside);
        if !tokens_inside.is_empty() {
            line(out, &format!("- Tokens Inside, Not Shown Whole: {tokens_inside}"));
        }
    }

    fn write_nested(&self, out: &mut String) {
        let Some(nested) = &self.nested else { return };
        section(out, "🪆 Token Inside:");
        line(out, &format!("Header:\n{}", document(nested.token.header.as_ref(), "not available")));
        line(out, &format!("Payload:\n{}", document(nested.token.payload.as_ref(), "not available")));
        for status in nested.status_lines(None) {
            line(out, &format!("- {status}"));
        }
    }
}

impl Proof {
    /// The section on a DPoP proof.
    #[must_use]
    pub fn section(&self) -> String {
        let or_none = |value: &Option<String>| value.as_deref().map_or_else(|| "not available".to_owned(), plain);
        let mut out = String::new();
        section(&mut out, "🔐 DPoP Proof:");
        line(&mut out, &format!("- Method (htm): {}", or_none(&self.htm)));
        line(&mut out, &format!("- URL (htu): {}", or_none(&self.htu)));
        line(&mut out, &format!("- Id (jti): {}", or_none(&self.jti)));
        line(&mut out, &format!("- Access Token Hash (ath): {}", or_none(&self.ath)));
        line(&mut out, &format!("- Key Thumbprint (jkt): {}", or_none(&self.thumbprint)));
        let signed = match &self.signature {
            OwnSignature::Valid => "yes".to_owned(),
            OwnSignature::Invalid => "no".to_owned(),
            OwnSignature::NotChecked(why) => format!("not checked: {why}"),
        };
        line(&mut out, &format!("- Signed With Its Own Key: {signed}"));
        if let Some(age) = self.age {
            let age = if age < 0 { format!("{} in the future", length(age)) } else { length(age) };
            line(&mut out, &format!("- Age: {age}"));
        }
        out
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

fn time(claim: &TimeClaim, name: &str) -> String {
    let time = match claim {
        TimeClaim::Absent => return format!("not available (no {name} claim)"),
        TimeClaim::Unreadable(_) => return format!("not available ({name} is not a time)"),
        TimeClaim::Read(time) => time,
    };
    let when = match time.when {
        When::At(at) => text::time(at),
        When::Before => return format!("before any calendar ({})", text::shorten(&time.written, 40)),
        When::After => return format!("after the year 9999 ({})", text::shorten(&time.written, 40)),
    };
    match (time.unit, time.notation) {
        (Unit::Seconds, Notation::Number) => when,
        (Unit::Seconds, Notation::Quoted) => format!("{when} (written as a string)"),
        (Unit::Seconds, Notation::Date) => format!("{when} (written as a date)"),
        (unit, _) => format!("{when} (written in {})", unit.name()),
    }
}

fn binding(token: &Decoded) -> Option<String> {
    Some(match token.binding()? {
        Binding::Dpop(thumbprint) => format!("a DPoP key, thumbprint {} (sender-constrained)", plain(thumbprint)),
        Binding::Certificate => {
            "a TLS client certificate (sender-constrained): a proxy that ends TLS must pass it on (RFC \
                                 8705 section 3)"
                .to_owned()
        }
        Binding::Key => "a key (cnf)".to_owned(),
    })
}

/// A value by itself: escaped where a terminal would act on it, shortened where it is long.
fn plain(value: &str) -> String {
    quote(value).trim_matches('`').to_owned()
}
