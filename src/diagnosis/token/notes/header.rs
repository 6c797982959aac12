//! Rules on the header (RFC 7515 section 4, RFC 8725).

use serde_json::Value;

use super::{Note, quote, quote_all};
use crate::diagnosis::token::algorithm::{Protection, algorithm};
use crate::diagnosis::token::document::type_name;
use crate::diagnosis::token::facts::Facts;
use crate::diagnosis::token::kind::{Kind, by_typ};

pub(super) fn observe(facts: &Facts, kind: Kind) -> Vec<Note> {
    let mut notes = Vec::new();
    alg(facts, &mut notes);
    signature(facts, &mut notes);
    typ(facts, kind, &mut notes);
    kid(facts, &mut notes);
    embedded_keys(facts, kind, &mut notes);
    critical(facts, &mut notes);
    encryption(facts, &mut notes);
    issuers_own(facts, &mut notes);
    notes
}

fn alg(facts: &Facts, notes: &mut Vec<Note>) {
    let Some(value) = facts.param("alg") else {
        notes.push(Note::error("the header has no alg: every verifier refuses the token (RFC 7515 section 4.1.1)"));
        return;
    };
    let Some(name) = value.as_str() else {
        notes.push(Note::error(format!("alg is {}, not a string (RFC 7515 section 4.1.1)", type_name(value))));
        return;
    };
    let known = algorithm(name);
    let text = format!("alg {}: {}", quote(name), known.meaning);
    notes.push(match known.protection {
        Protection::None => Note::error(format!("{text}; a resource server must refuse it (RFC 8725 section 3.2)")),
        Protection::Shared => Note::warning(format!(
            "{text}: whoever verifies it needs the issuer's secret and can also issue tokens; an authorization server for \
             others should sign with a private key"
        )),
        Protection::Public => Note::info(text),
        Protection::Encryption if facts.is_encrypted() => Note::info(text),
        Protection::Encryption => Note::error(format!("{text}, but the header has no enc: neither a JWS nor a JWE")),
        Protection::Unknown => Note::warning(format!("{text}: verifiers most likely refuse it")),
    });
}

fn signature(facts: &Facts, notes: &mut Vec<Note>) {
    notes.extend(signature_fault(facts).map(Note::error));
}

/// What is wrong with the signature by its size alone (RFC 7518 section 3).
pub(in crate::diagnosis::token) fn signature_fault(facts: &Facts) -> Option<String> {
    let (signature, name) = (facts.signature?, facts.alg()?);
    let known = algorithm(name);
    if signature.characters == 0 {
        return (known.protection != Protection::None).then(|| {
            format!("the signature is empty although alg is {}: it was cut off, or somebody stripped it", quote(name))
        });
    }
    let bytes = signature.bytes?;
    match known.signature_bytes {
        Some(0) => Some("alg is none, but there is a signature (RFC 7518 section 3.6)".to_owned()),
        Some(expected) if bytes != expected && signature.der && name.starts_with("ES") => Some(format!(
            "the signature looks like ASN.1 DER ({bytes} bytes): {} wants the two numbers one after the other, {expected} \
             bytes (RFC 7518 section 3.4)",
            quote(name)
        )),
        Some(expected) if bytes != expected => Some(format!(
            "the signature has {bytes} bytes, {} makes {expected}: it was cut when copied, or made by another algorithm",
            quote(name)
        )),
        None if name.starts_with(['R', 'P']) && known.protection == Protection::Public && bytes < 256 => Some(format!(
            "the signature has {bytes} bytes, an RSA key of 2048 bits makes 256: it was cut when copied, or the key is \
                 too short (RFC 7518 section 3.3)"
        )),
        _ => None,
    }
}

fn typ(facts: &Facts, kind: Kind, notes: &mut Vec<Note>) {
    match (facts.param("typ"), facts.typ()) {
        (None, _) => notes.push(Note::info(
            "the header has no typ: what the token is for can only be guessed (RFC 8725 section 3.11)",
        )),
        (Some(value), None) => {
            notes.push(Note::error(format!("typ is {}, not a string (RFC 7515 section 4.1.9)", type_name(value))));
        }
        (_, Some(typ)) => match by_typ(&typ) {
            Some((known, meaning)) if known != Kind::AccessToken => {
                notes.push(Note::info(format!("typ {}: {meaning}", quote(&typ))));
            }
            None if typ != "jwt" && typ != "jose" => {
                notes.push(Note::info(format!("typ {} is not one this server knows", quote(&typ))));
            }
            _ => {}
        },
    }
    let wrong = match kind {
        Kind::IdToken => {
            "this is an ID token: it is for the client alone, a resource server must refuse it (RFC 9068 section 5); send the access token"
        }
        Kind::RefreshToken => {
            "this is a refresh token: it goes to the token endpoint and nowhere else (RFC 6749 section 1.5)"
        }
        Kind::LogoutToken | Kind::SecurityEvent => "this token tells of an event and gives access to nothing",
        Kind::Assertion => {
            "an assertion goes to the authorization server, which gives an access token for it (RFC 7523)"
        }
        _ => return,
    };
    notes.push(Note::error(wrong));
}

fn kid(facts: &Facts, notes: &mut Vec<Note>) {
    match facts.param("kid") {
        None if facts.lacks_kid() => notes.push(Note::warning(
            "the header has no kid: when the issuer has more than one key, verifiers must try them all or give up (RFC 7515 \
             section 4.1.4)",
        )),
        Some(Value::String(kid)) if facts.suspicious_kid().is_some() => notes.push(Note::warning(format!(
            "kid {} looks like a path, a URL or code: a verifier must not use it to find a file or in a query (RFC 8725 section \
             3.10)",
            quote(kid)
        ))),
        None | Some(Value::String(_)) => {}
        Some(other) => notes.push(Note::error(format!("kid is {}, not a string (RFC 7515 section 4.1.4)", type_name(other)))),
    }
}

fn embedded_keys(facts: &Facts, kind: Kind, notes: &mut Vec<Note>) {
    let keys = facts.foreign_keys(kind);
    if !keys.is_empty() {
        notes.push(Note::warning(format!(
            "the header brings or names its own key ({}): a verifier that uses it accepts tokens that anybody made (RFC 8725 \
             section 3.10)",
            keys.join(", ")
        )));
    }
}

/// `crit` names extensions that a verifier must understand (RFC 7515 section 4.1.11).
fn critical(facts: &Facts, notes: &mut Vec<Note>) {
    if let Some(value) = facts.param("crit") {
        let names: Vec<&str> =
            value.as_array().map(|items| items.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
        if names.is_empty() {
            notes.push(Note::error("crit must be a list of names that is not empty (RFC 7515 section 4.1.11)"));
        }
        let absent: Vec<&str> = names.iter().copied().filter(|name| facts.param(name).is_none()).collect();
        if !absent.is_empty() {
            notes.push(Note::error(format!(
                "crit names what the header does not have: {} (RFC 7515 section 4.1.11)",
                quote_all(&absent)
            )));
        }
        let unknown = facts.unknown_critical();
        if !unknown.is_empty() {
            notes.push(Note::error(format!(
                "crit demands extensions that hardly any verifier knows: {}; one that does not must refuse the token (RFC \
                 7515 section 4.1.11)",
                quote_all(&unknown)
            )));
        }
    }
    if facts.is_unencoded() {
        notes.push(Note::error(
            "b64 is false, the payload is not base64url: a JWT must not do that (RFC 7797 section 7)",
        ));
    }
}

fn encryption(facts: &Facts, notes: &mut Vec<Note>) {
    if facts.is_encrypted() {
        if let Some(enc) = facts.param_str("enc") {
            notes.push(Note::info(format!("the content is encrypted with {}", quote(enc))));
        }
        notes.push(Note::info(
            "a resource server can read it only with its own private key; if it should be a plain access token, ask the \
             authorization server for it with the resource parameter (RFC 8707): some issue encrypted tokens for their own \
             use without it",
        ));
    }
    match facts.param("zip") {
        Some(_) if facts.is_encrypted() => {
            notes.push(Note::info("zip: the content is compressed before it is encrypted (RFC 7516 section 4.1.3)"));
        }
        Some(_) => notes.push(Note::warning(
            "zip has no meaning in a signed token (RFC 7516 section 4.1.3): libraries ignore or refuse it",
        )),
        None => {}
    }
    if facts.param_str("cty").is_some_and(|cty| cty.eq_ignore_ascii_case("jwt")) {
        notes.push(Note::info("cty JWT: the content is a token itself (RFC 7519 section 5.2)"));
    }
}

/// Parameters that single issuers add.
fn issuers_own(facts: &Facts, notes: &mut Vec<Note>) {
    if facts.param("nonce").is_some() {
        notes.push(Note::error(
            "the header has a nonce: Entra ID makes tokens for Microsoft Graph so, and nobody but Graph can verify them; ask \
             for a token for your own API (scope api://.../.default)",
        ));
    }
    if facts.param_str("signer").is_some_and(|signer| signer.starts_with("arn:aws")) {
        notes.push(Note::info(
            "signed by an AWS load balancer: its keys are at public-keys.auth.elb.<region>.amazonaws.com/<kid>; compare \
             signer with the ARN of your own",
        ));
    }
}
