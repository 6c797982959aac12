//! From a cleaned text to what it says: its form first, then its segments.

mod bare;
mod json;

use jiff::Timestamp;

use super::Signing;
use super::decoded::{Decoded, Signature};
use super::document::Document;
use super::fault::Fault;
use super::format::Format;
use super::kind::TokenKind;
use super::masked;
use super::opaque;
use super::own_key::{self, OwnSignature};
use super::problem::Problem;
use super::removed::Removed;
use super::segment::{self, Oddities, begins_as_object};
use super::times::Times;
use crate::diagnosis::quote::quote_all;

/// What was found in a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed {
    pub token: Decoded,
    pub problems: Vec<Problem>,
    /// What was around it that only reading it shows.
    pub removed: Vec<Removed>,
    /// What is worth knowing and nobody's fault.
    pub remarks: Vec<String>,
    /// What the form alone says of the kind.
    pub kind: Option<(TokenKind, String)>,
    /// Header and payload segments as sent; nothing in them is a secret that the decoded form masks.
    pub raw: Option<(String, String)>,
    /// What is signed, and the signature.
    pub signing: Option<Signing>,
    /// Whether it is signed with the key in its own header.
    pub own_key: OwnSignature,
    /// A token that is the payload of this one, without its signature when shown.
    pub inner: Option<String>,
}

impl Parsed {
    fn new(format: Format, now: Timestamp) -> Self {
        Self {
            token: Decoded::empty(format, now),
            problems: Vec::new(),
            removed: Vec::new(),
            remarks: Vec::new(),
            kind: None,
            raw: None,
            signing: None,
            own_key: OwnSignature::NotChecked("it has no signature that can be checked".to_owned()),
            inner: None,
        }
    }

    fn with_problem(mut self, problem: Problem) -> Self {
        self.problems.push(problem);
        self
    }

    /// Reads a header or payload; what goes wrong becomes a problem.
    fn object(&mut self, number: usize, part: &'static str, text: &str) -> Option<Document> {
        match Document::decode(text) {
            Ok((document, oddities)) => {
                self.add(oddities);
                Some(document)
            }
            Err(fault) => {
                self.problems.push(Problem::of(number, part, &fault));
                None
            }
        }
    }

    fn add(&mut self, oddities: Oddities) {
        let all = &mut self.token.oddities;
        all.padded |= oddities.padded;
        all.standard_alphabet |= oddities.standard_alphabet;
        all.surplus_bits |= oddities.surplus_bits;
    }

    fn read_times(&mut self) {
        if let Some(payload) = &self.token.payload {
            self.token.times = Times::of(&payload.members, self.token.times.now);
        }
    }
}

/// Reads a token that is neither empty nor a placeholder nor too large.
pub(super) fn parse(token: &str, scheme: Option<&str>, now: Timestamp) -> Parsed {
    if let Some(basic) = scheme.filter(|scheme| scheme.eq_ignore_ascii_case("basic")) {
        return bare::basic(token, basic, now);
    }
    if token.starts_with(['{', '[']) {
        return json::parse(token, now);
    }
    if token.starts_with("-----BEGIN") {
        return bare::pem(token, now);
    }
    if token.contains('~') && segment::is_jws(token.split('~').next().unwrap_or_default()) {
        return sd_jwt(token, now);
    }
    if let Some(guess) = opaque::by_prefix(token) {
        return bare::opaque(guess, now);
    }
    if bare::is_paseto(token) {
        return bare::paseto(token, now);
    }
    let segments: Vec<&str> = token.split('.').collect();
    match segments[..] {
        [one] => bare::one_segment(one, now),
        [header, payload, signature] if looks_like_jwt(&segments) => jws(header, payload, signature, now),
        [_, _, _, _, _] if begins_as_object(token) && is_encrypted(segments[0]) => jwe(&segments, now),
        _ if begins_as_object(token) => wrong_count(&segments, now),
        _ if looks_like_jwt(&segments) => wrong_count(&segments, now),
        _ => bare::dotted(token, segments.len(), now),
    }
}

/// Header or payload begins as a JSON object, or the header begins as one usually does: worth saying what is wrong.
fn looks_like_jwt(segments: &[&str]) -> bool {
    let begins = |part: &&str| begins_as_object(part) || part.starts_with("ey");
    segments.iter().take(2).any(begins) || (segments.len() == 3 && segments.iter().all(|part| part.len() >= 16))
}

fn is_encrypted(header: &str) -> bool {
    Document::decode(header).is_ok_and(|(header, _)| header.members.contains_key("enc"))
}

fn jws(header: &str, payload: &str, signature: &str, now: Timestamp) -> Parsed {
    let mut parsed = Parsed::new(Format::Jws, now);
    parsed.token.header = parsed.object(1, "header", header);
    if parsed.token.is_encrypted() {
        parsed.token.format = Format::Malformed;
        return parsed.with_problem(Problem::whole(
            "the header is that of an encrypted token (it has enc), which has five segments; here are three",
            "two segments are missing: copy the token again, whole (RFC 7516 section 7.1)",
        ));
    }
    read_payload(&mut parsed, payload);
    read_signature(&mut parsed, 3, signature);
    if parsed.token.header.is_none() && parsed.token.payload.is_none() {
        parsed.token.format = Format::Malformed;
    }
    if let Some(members) = parsed.token.header.as_ref().map(|header| &header.members) {
        // Only a key in the header can be checked against; whether to trust it is another question.
        let signing = Signing { input: format!("{header}.{payload}"), signature: signature.to_owned() };
        parsed.own_key = own_key::verify(members, &signing.input, signature);
        parsed.signing = Some(signing);
    }
    parsed.raw = Some((header.to_owned(), payload.to_owned()));
    parsed.read_times();
    parsed
}

fn read_payload(parsed: &mut Parsed, payload: &str) {
    if parsed.token.is_unencoded()
        && let Ok(document) = Document::parse(payload)
    {
        parsed.token.payload = Some(document);
        return;
    }
    if payload.is_empty() {
        parsed.problems.push(Problem {
            advice: "with a detached payload (RFC 7515 appendix F) the content travels elsewhere; a JWT has it inside"
                .to_owned(),
            ..Problem::of(2, "payload", &Fault::Empty)
        });
        return;
    }
    let inner = segment::decode(payload).ok().and_then(|(bytes, _)| String::from_utf8(bytes).ok());
    if let Some(inner) = inner.filter(|inner| begins_as_object(inner) && matches!(inner.split('.').count(), 3 | 5)) {
        parsed.inner = Some(inner);
        return;
    }
    parsed.token.payload = parsed.object(2, "payload", payload);
}

fn read_signature(parsed: &mut Parsed, number: usize, signature: &str) {
    let stand_in = masked::stand_in(signature);
    let decoded = segment::decode(signature);
    let bytes = decoded.as_ref().ok().map(|(bytes, _)| bytes);
    parsed.token.signature = Some(Signature {
        stand_in,
        characters: signature.chars().count(),
        bytes: if signature.is_empty() { Some(0) } else { bytes.map(Vec::len) },
        der: bytes.is_some_and(|bytes| matches!(bytes[..], [0x30, n, 0x02, ..] if usize::from(n) + 2 == bytes.len())),
    });
    match decoded {
        // What stands there instead has a rule of its own.
        _ if stand_in.is_some() => {}
        Ok((_, oddities)) => parsed.add(oddities),
        Err(Fault::Empty) => {}
        Err(fault) => parsed.problems.push(Problem::of(number, "signature", &fault)),
    }
}

fn jwe(segments: &[&str], now: Timestamp) -> Parsed {
    const PARTS: [&str; 5] = ["header", "encrypted key", "initialization vector", "ciphertext", "authentication tag"];
    let mut parsed = Parsed::new(Format::Jwe, now);
    parsed.token.header = parsed.object(1, "header", segments[0]);
    let alg = parsed.token.alg().unwrap_or_default().to_owned();
    let keyless = matches!(alg.as_str(), "dir" | "ECDH-ES");
    for (i, (text, part)) in segments.iter().zip(PARTS).enumerate().skip(1) {
        match segment::decode(text) {
            Err(Fault::Empty) if i == 1 && keyless => {}
            Ok(_) if i == 1 && keyless => parsed.problems.push(Problem::whole(
                format!("there is an encrypted key although alg is {alg}"),
                "the issuer must leave it empty (RFC 7516 section 5.2)",
            )),
            Ok((_, oddities)) => parsed.add(oddities),
            Err(fault) => parsed.problems.push(Problem::of(i + 1, part, &fault)),
        }
    }
    parsed.raw = Some((segments[0].to_owned(), String::new()));
    parsed
}

fn sd_jwt(token: &str, now: Timestamp) -> Parsed {
    // More than this in one token is no credential that anybody issues.
    const MOST: usize = 200;
    let mut parts = token.split('~');
    let issuer: Vec<&str> = parts.next().unwrap_or_default().split('.').collect();
    let mut parsed = match issuer[..] {
        [header, payload, signature] => jws(header, payload, signature, now),
        _ => Parsed::new(Format::SdJwt, now),
    };
    parsed.token.format = Format::SdJwt;
    let mut disclosures: Vec<&str> = parts.collect();
    let key_binding = disclosures.pop().is_some_and(|last| !last.is_empty());
    let names: Vec<String> = disclosures.iter().take(MOST).filter_map(|text| disclosed(text)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    parsed.remarks.push(format!(
        "{} disclosures after the issuer's JWT, {} key binding at the end{}",
        disclosures.len(),
        if key_binding { "with" } else { "without" },
        if names.is_empty() { String::new() } else { format!("; they disclose {}", quote_all(names)) }
    ));
    parsed
}

/// The name of a disclosure's claim: the second of three in a JSON array (RFC 9901 section 4.2.1).
fn disclosed(text: &str) -> Option<String> {
    let (bytes, _) = segment::decode(text).ok()?;
    let (_, name, _): (String, String, serde_json::Value) =
        serde_json::from_str(std::str::from_utf8(&bytes).ok()?).ok()?;
    Some(name)
}

/// A token that begins as a JWT and has the wrong number of segments: what can be read is shown.
fn wrong_count(segments: &[&str], now: Timestamp) -> Parsed {
    let mut parsed = Parsed::new(Format::Malformed, now);
    parsed.token.header = Document::decode(segments[0]).ok().map(|(document, _)| document);
    if !parsed.token.is_encrypted() {
        parsed.token.payload =
            segments.get(1).and_then(|text| Document::decode(text).ok()).map(|(document, _)| document);
    }
    let encrypted = parsed.token.is_encrypted();
    let n = segments.len();
    let glued = segments.iter().skip(2).any(|text| text.contains("eyJ"));
    let (reason, advice) = match n {
        _ if encrypted => (
            format!("the header is that of an encrypted token (it has enc), which has five segments; here are {n}"),
            "copy the token again, whole (RFC 7516 section 7.1)",
        ),
        2 => (
            "two segments: the signature is missing, with the dot in front of it".to_owned(),
            "the token was cut when copied (a signed token has three segments, RFC 7515 section 7.1): copy it again, whole; an \
             unsecured one ends with a dot",
        ),
        _ if segments.iter().any(|text| text.is_empty()) => (
            format!("{n} segments, some of them empty: there are dots too many"),
            "dots were added or a part between them was lost: copy the token again, whole",
        ),
        _ if glued => (
            format!("{n} segments, and a second token seems to begin in the middle"),
            "two tokens were joined: a variable was appended to instead of set, or two were copied at once",
        ),
        4 => (
            "four segments: a signed token has three, an encrypted one five".to_owned(),
            "something was appended to a signed token, or a part of an encrypted one is missing: copy it again",
        ),
        5 => (
            "five segments like an encrypted token, but the header has no enc".to_owned(),
            "if it should be encrypted, its header is wrong (RFC 7516 section 4.1.2); if not, two segments too many were copied",
        ),
        _ => (
            format!("{n} segments: a signed token has three, an encrypted one five"),
            "something was appended, or several tokens were joined: copy it again",
        ),
    };
    parsed.problems.push(Problem::whole(reason, advice));
    parsed.read_times();
    parsed
}
