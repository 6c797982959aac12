//! JSON in place of a token: the JSON serializations, the answer of a token endpoint, a bare payload, a key.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Parsed, bare, jws};
use crate::diagnosis::token::document::Document;
use crate::diagnosis::token::fault::NotAnObject;
use crate::diagnosis::token::format::Format;
use crate::diagnosis::token::problem::Problem;
use crate::diagnosis::token::removed::Removed;

pub(super) fn parse(text: &str, now: Timestamp) -> Parsed {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(why) => return not_an_object(&why, now),
    };
    // The document masks tokens in it; what is looked into is the text itself, which has just been found sound.
    let members: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let str = |name: &str| members.get(name).and_then(Value::as_str);
    if members.contains_key("ciphertext") {
        return jwe_json(&members, now);
    }
    if let (Some(payload), true) =
        (str("payload"), members.contains_key("signature") || members.contains_key("signatures"))
    {
        return jws_json(&members, payload, now);
    }
    for name in ["access_token", "id_token", "token", "assertion"] {
        let Some(token) = str(name).filter(|token| !token.trim_start().starts_with('{')) else { continue };
        let mut parsed = super::parse(token.trim(), None, now);
        parsed.removed.insert(0, Removed::Json(name));
        return parsed;
    }
    bare::json_only(document, now)
}

fn not_an_object(why: &NotAnObject, now: Timestamp) -> Parsed {
    let (reason, advice) = match why {
        NotAnObject::NotJson { reason, line, column } => (
            format!("it begins like JSON but is not: {} (line {line}, column {column})", reason.replace('`', "'")),
            "a token has no braces around it: send the value alone",
        ),
        NotAnObject::Other(what) => (format!("it is JSON, but {what}, not an object"), "send the token itself"),
        NotAnObject::TooDeep => ("it is JSON that is nested too deep to be read".to_owned(), "send the token itself"),
    };
    Parsed::new(Format::Malformed, now).with_problem(Problem::whole(reason, advice))
}

/// JWS JSON serialization, general or flattened: the first signature is looked at (RFC 7515 sections 7.2.1 and 7.2.2).
fn jws_json(members: &Map<String, Value>, payload: &str, now: Timestamp) -> Parsed {
    let signatures = members.get("signatures").and_then(Value::as_array);
    let first = match signatures {
        Some(all) => all.first().and_then(Value::as_object),
        None => Some(members),
    };
    let str = |name: &str| first.and_then(|first| first.get(name)).and_then(Value::as_str).unwrap_or_default();
    let mut parsed = jws(str("protected"), payload, str("signature"), now);
    parsed.token.format = Format::JwsJson;
    parsed.problems.insert(
        0,
        Problem::whole("this is a JWS in JSON form", "send the compact form: a JWT has no other (RFC 7519 section 3)"),
    );
    if let Some(all) = signatures {
        parsed.remarks.push(format!("{} signatures; the first one is looked at", all.len()));
    }
    if first.is_some_and(|first| first.contains_key("header")) {
        parsed.remarks.push("an unprotected header, which no signature covers (RFC 7515 section 7.2.1)".to_owned());
    }
    parsed
}

/// JWE JSON serialization: the protected header (RFC 7516 section 7.2).
fn jwe_json(members: &Map<String, Value>, now: Timestamp) -> Parsed {
    let mut parsed = Parsed::new(Format::JweJson, now);
    match members.get("protected").and_then(Value::as_str) {
        Some(protected) => parsed.token.header = parsed.object(1, "header", protected),
        None => parsed.remarks.push("no protected header".to_owned()),
    }
    let recipients = members.get("recipients").and_then(Value::as_array).map_or(1, Vec::len);
    parsed.problems.insert(
        0,
        Problem::whole("this is a JWE in JSON form", "send the compact form: a JWT has no other (RFC 7519 section 3)"),
    );
    parsed.remarks.push(format!("encrypted for {recipients} recipient(s)"));
    parsed
}
