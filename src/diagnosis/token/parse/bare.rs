//! Texts that are no compact JWT: opaque tokens, a single segment, PASETO, keys, Basic credentials.

use jiff::Timestamp;

use super::Parsed;
use crate::diagnosis::quote::quote;
use crate::diagnosis::token::decoded::Signature;
use crate::diagnosis::token::document::Document;
use crate::diagnosis::token::format::Format;
use crate::diagnosis::token::kind::TokenKind;
use crate::diagnosis::token::opaque::{self as guess, Guess};
use crate::diagnosis::token::problem::Problem;
use crate::diagnosis::token::removed::Removed;
use crate::diagnosis::token::segment;

const INTROSPECT: &str = "only its issuer can read it: ask its introspection endpoint (RFC 7662) or userinfo. If the server needs a \
                          JWT, request one from the authorization server with the resource or audience parameter (RFC 8707)";

pub(super) fn opaque(guess: Guess, now: Timestamp) -> Parsed {
    let mut parsed = Parsed::new(Format::Opaque, now);
    parsed.problems.push(match guess.kind {
        TokenKind::ApiKey => Problem::whole(
            "this is no JWT but a vendor's key or secret",
            "it belongs to that vendor's API; an MCP server wants a token that was issued for it",
        ),
        _ => Problem::whole("it holds no claims, only what its issuer knows it by", INTROSPECT),
    });
    parsed.kind = Some((guess.kind, guess.evidence));
    parsed
}

/// Dots, but nothing in front of them that begins like a JWT.
pub(super) fn dotted(token: &str, segments: usize, now: Timestamp) -> Parsed {
    let is_url = token.contains("://");
    let mut parsed = Parsed::new(if is_url { Format::Malformed } else { Format::Opaque }, now);
    let host = token.split('/').next().unwrap_or_default();
    let (reason, advice) = if is_url {
        ("this is a URL, not a token".to_owned(), "send the token itself")
    } else if segments == 3 && !host.chars().any(|c| c.is_ascii_uppercase()) && host.len() < 64 {
        (
            "three parts with dots in between, but none that could be a JWT's header".to_owned(),
            "is it a host name or a version?",
        )
    } else {
        (format!("{segments} parts, but the first is no JWT's header: an opaque token"), INTROSPECT)
    };
    parsed.problems.push(Problem::whole(reason, advice));
    parsed.kind = Some((TokenKind::Unknown, format!("{segments} parts, none of which is a JSON object in base64url")));
    parsed
}

/// No dot: half a JWT, a key in base64, Basic credentials, or an opaque token.
pub(super) fn one_segment(text: &str, now: Timestamp) -> Parsed {
    if let Ok((document, oddities)) = Document::decode(text) {
        let mut parsed = json_only(document, now);
        parsed.add(oddities);
        return parsed;
    }
    if text.starts_with("eyJ") {
        let mut parsed = Parsed::new(Format::Malformed, now);
        parsed.object(1, "header", text);
        return parsed.with_problem(Problem::whole(
            "it begins like a JWT but has no dot: most of it is missing",
            "the token was cut when copied or stored (a database column or environment variable too short): copy it again, whole",
        ));
    }
    let decoded = segment::decode(text).ok().and_then(|(bytes, _)| String::from_utf8(bytes).ok());
    if let Some(inner) = decoded.as_deref().map(str::trim).filter(|inner| segment::is_jws(inner)) {
        let mut parsed = super::parse(inner, None, now);
        parsed.removed.push(Removed::Base64);
        return parsed;
    }
    if decoded.is_some_and(|text| text.contains(':') && text.len() > 2 && text.chars().all(|c| c.is_ascii_graphic())) {
        return basic(text, "", now);
    }
    opaque(guess::by_shape(text), now)
}

/// One JSON object without anything around it: a header, a payload, or a key.
pub(super) fn json_only(document: Document, now: Timestamp) -> Parsed {
    let has = |name: &str| document.members.contains_key(name);
    let (format, reason, advice) = if has("kty") || has("keys") {
        (Format::Key, "this is a key (JWK, RFC 7517), not a token", "keys verify tokens; send the token")
    } else if has("alg") && !has("sub") && !has("exp") {
        (
            Format::HeaderOnly,
            "this is the header of a token alone: payload and signature are missing",
            "the token was cut at its first dot: copy it again, whole",
        )
    } else {
        (
            Format::PayloadOnly,
            "this is the payload of a token alone: header and signature are missing",
            "nobody can verify it; some proxies (Istio's outputPayloadToHeader, Azure's X-Ms-Client-Principal) pass on just this \
             after they have checked the token",
        )
    };
    let mut parsed = Parsed::new(format, now).with_problem(Problem::whole(reason, advice));
    match format {
        Format::HeaderOnly => parsed.token.header = Some(document),
        _ => parsed.token.payload = Some(document),
    }
    parsed.read_times();
    parsed
}

/// Basic credentials (RFC 7617 section 2): that there is a name and a password, and the name where it is one.
pub(super) fn basic(text: &str, scheme: &str, now: Timestamp) -> Parsed {
    let decoded = segment::decode(text).ok().and_then(|(bytes, _)| String::from_utf8(bytes).ok());
    let mut parsed = Parsed::new(Format::Basic, now);
    let reason = match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((name, password)) => {
            // A name that looks like a key, or one without a password, may be the secret itself.
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
            let shown =
                name.len() <= 64 && !password.is_empty() && name.chars().all(plain) && guess::by_prefix(name).is_none();
            parsed.remarks.push(if shown {
                format!("the user name is {}; the password is not shown", quote(name))
            } else {
                "neither user name nor password is shown".to_owned()
            });
            "these are Basic credentials: a user name and a password"
        }
        None if scheme.is_empty() => "these may be Basic credentials",
        None => "the scheme is Basic, but what follows is no name and password in base64 (RFC 7617 section 2)",
    };
    parsed.with_problem(Problem::whole(
        reason,
        "MCP wants an OAuth access token: Authorization: Bearer <token>. A proxy may have replaced the client's header \
         (oauth2-proxy: --pass-basic-auth=false)",
    ))
}

pub(super) fn pem(text: &str, now: Timestamp) -> Parsed {
    let mut parsed = Parsed::new(Format::Key, now);
    parsed.token.is_private_key = text.contains("PRIVATE KEY");
    parsed.with_problem(Problem::whole(
        "this is a key or certificate in PEM, not a token",
        "keys verify tokens; send the token",
    ))
}

/// The versions and purposes of PASETO.
pub(super) fn is_paseto(text: &str) -> bool {
    let mut parts = text.split('.');
    matches!(parts.next(), Some("v1" | "v2" | "v3" | "v4")) && matches!(parts.next(), Some("public" | "local"))
}

/// PASETO: of a public one the payload is in the open, in front of a signature of fixed length (PASETO specification,
/// versions 1 to 4).
pub(super) fn paseto(text: &str, now: Timestamp) -> Parsed {
    let mut parsed = Parsed::new(Format::Paseto, now);
    let parts: Vec<&str> = text.split('.').collect();
    let body = parts.get(2).copied().unwrap_or_default();
    let name = format!("{}.{}", parts[0], parts[1]);
    let signature = match parts[0] {
        "v1" => 256,
        "v3" => 96,
        _ => 64,
    };
    parsed.problems.push(Problem::whole(
        format!("this is a PASETO ({name}), not a JWT"),
        "MCP and OAuth libraries do not read PASETO: have the authorization server issue a JWT, or introspect it (RFC 7662)",
    ));
    if parts[1] == "local" {
        parsed.remarks.push("local: the content is encrypted with a shared secret".to_owned());
        return parsed;
    }
    match segment::decode(body) {
        Err(fault) => parsed.problems.push(Problem::of(3, "payload", &fault)),
        Ok((bytes, _)) => match bytes.len().checked_sub(signature) {
            None => parsed.problems.push(Problem::whole(
                format!("its third part has {} bytes, the signature alone has {signature}", bytes.len()),
                "the token was cut when copied: copy it again, whole",
            )),
            Some(end) => {
                parsed.token.signature = Some(Signature {
                    characters: signature.div_ceil(3) * 4,
                    bytes: Some(signature),
                    der: false,
                    stand_in: None,
                });
                parsed.token.payload =
                    std::str::from_utf8(&bytes[..end]).ok().and_then(|text| Document::parse(text).ok());
            }
        },
    }
    parsed.read_times();
    parsed.token.times.dates = true;
    parsed
}
