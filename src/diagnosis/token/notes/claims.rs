//! Rules on the claims other than times (RFC 7519 section 4.1, RFC 9068, RFC 8693, RFC 9449, and what single issuers do).

use serde_json::Value;

use super::{Note, quote, quote_all};
use crate::diagnosis::token::document::type_name;
use crate::diagnosis::token::facts::{Binding, Facts};
use crate::diagnosis::token::format::Format;
use crate::diagnosis::token::kind::Kind;

pub(super) fn observe(facts: &Facts, kind: Kind) -> Vec<Note> {
    let mut notes = Vec::new();
    if kind != Kind::DpopProof {
        issuer(facts, &mut notes);
        subject(facts, &mut notes);
        audience(facts, kind, &mut notes);
        scope(facts, kind, &mut notes);
    }
    binding(facts, &mut notes);
    delegation(facts, &mut notes);
    groups(facts, &mut notes);
    notes
}

fn issuer(facts: &Facts, notes: &mut Vec<Note>) {
    match facts.claim("iss") {
        None if facts.format == Format::PayloadOnly => {}
        None => notes.push(Note::warning(
            "there is no iss: a verifier cannot know whose keys to use (RFC 7519 section 4.1.1)",
        )),
        Some(Value::String(issuer)) if issuer.contains("sts.windows.net") => notes.push(Note::warning(
            "iss is sts.windows.net: an Entra ID v1 token; servers that expect login.microsoftonline.com/.../v2.0 refuse it \
             (set requestedAccessTokenVersion to 2 in the app's manifest)",
        )),
        Some(Value::String(issuer)) if issuer.starts_with("http://") => notes.push(Note::warning(format!(
            "iss {} is http: an issuer must be https (RFC 8414 section 2); behind a proxy, the authorization server does not \
             know its public address",
            quote(issuer)
        ))),
        Some(Value::String(_)) => {}
        Some(other) => notes.push(Note::error(format!("iss is {}, not a string (RFC 7519 section 4.1.1)", type_name(other)))),
    }
}

fn subject(facts: &Facts, notes: &mut Vec<Note>) {
    match facts.claim("sub") {
        None => {
            notes.push(Note::warning("there is no sub: nobody can tell whose token it is (RFC 7519 section 4.1.2)"));
        }
        Some(Value::String(sub)) if sub.is_empty() => {
            notes.push(Note::warning("sub is empty (RFC 7519 section 4.1.2)"));
        }
        Some(Value::String(_)) => {}
        Some(other) => notes.push(Note::error(format!(
            "sub is {}, not a string: strict libraries refuse the token (RFC 7519 section 4.1.2)",
            type_name(other)
        ))),
    }
}

fn audience(facts: &Facts, kind: Kind, notes: &mut Vec<Note>) {
    let audience = facts.audience();
    match facts.claim("aud") {
        None if facts.format != Format::PayloadOnly || facts.has("exp") => notes.push(Note::warning(
            "there is no aud: an MCP server must refuse tokens that were not issued for it (RFC 8707; MCP authorization); the \
             client sends resource to say for whom",
        )),
        Some(Value::String(_)) if audience == [""] => notes.push(Note::warning("aud is empty")),
        Some(Value::Array(items)) if items.is_empty() => notes.push(Note::warning("aud is an empty list")),
        Some(Value::Array(items)) if items.len() != audience.len() => {
            notes.push(Note::error("aud holds something that is not a string (RFC 7519 section 4.1.3)"));
        }
        Some(other) if !other.is_string() && !other.is_array() => notes.push(Note::error(format!(
            "aud is {}: it must be a string or a list of strings (RFC 7519 section 4.1.3)",
            type_name(other)
        ))),
        _ => {}
    }
    if facts.audience_is_client() && kind != Kind::IdToken {
        notes.push(Note::warning(
            "aud is the client itself: the client asked for no resource, so the token is for nobody else (RFC 8707 section 2)",
        ));
    }
    let elsewhere: Vec<&str> = audience.iter().filter(|aud| Facts::is_providers_api(aud)).copied().collect();
    if !elsewhere.is_empty() && elsewhere.len() == audience.len() {
        notes.push(Note::error(format!(
            "aud is {}: the token is for the identity provider's own API, not for this server",
            quote_all(&elsewhere)
        )));
    }
}

fn scope(facts: &Facts, kind: Kind, notes: &mut Vec<Note>) {
    match facts.claim("scope") {
        Some(Value::String(scope)) if scope.contains(',') => notes.push(Note::warning(
            "scope is separated by commas: it must be by spaces (RFC 8693 section 4.2), so this is one scope to a verifier",
        )),
        Some(Value::Array(_)) => notes.push(Note::warning(
            "scope is a list: it should be one string with spaces (RFC 8693 section 4.2); some servers find no scope in it",
        )),
        Some(other) if !other.is_string() => {
            notes.push(Note::error(format!("scope is {}, not a string (RFC 8693 section 4.2)", type_name(other))));
        }
        _ => {}
    }
    if kind == Kind::AccessToken && facts.grants().is_empty() {
        notes.push(Note::info(
            "it grants no scope, permission or role: a server that requires one answers 403 insufficient_scope (RFC 6750 \
             section 3.1)",
        ));
    }
}

fn binding(facts: &Facts, notes: &mut Vec<Note>) {
    match facts.binding() {
        Some(Binding::Dpop(_)) => {
            notes.push(Note::info(
                "cnf.jkt: sender-constrained, good only together with a DPoP proof by the same key (RFC 9449 section 6)",
            ));
            if facts.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
                notes.push(Note::error(
                    "a token bound by DPoP was sent as Bearer: the scheme must be DPoP, with a proof in the DPoP header (RFC 9449 \
                     section 7.1)",
                ));
            }
        }
        Some(Binding::Certificate) => notes.push(Note::info(
            "cnf.x5t#S256: sender-constrained, good only over a TLS connection with the same client certificate (RFC 8705 \
             section 3); a proxy that ends TLS must pass the certificate on",
        )),
        Some(Binding::Key) => notes.push(Note::info("cnf: bound to a key of its sender (RFC 7800)")),
        None if facts.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("dpop")) => {
            notes.push(Note::warning("sent with the scheme DPoP, but not bound to a key: there is no cnf.jkt (RFC 9449 section 6)"));
        }
        None => {}
    }
}

fn delegation(facts: &Facts, notes: &mut Vec<Note>) {
    if let Some(act) = facts.claim("act") {
        let actor = act.get("sub").and_then(Value::as_str).unwrap_or("unnamed");
        notes.push(Note::info(format!("act: {} acts for the subject (RFC 8693 section 4.1)", quote(actor))));
    }
    if facts.has("may_act") {
        notes.push(Note::info("may_act: names who may act for the subject (RFC 8693 section 4.4)"));
    }
    if facts.has("authorization_details") {
        notes.push(Note::info("authorization_details: rights beyond scopes (RFC 9396)"));
    }
}

fn groups(facts: &Facts, notes: &mut Vec<Note>) {
    if facts.has("_claim_names") || facts.has("hasgroups") {
        notes.push(Note::warning(
            "the groups are not in the token: there were too many, Entra ID wants them asked for by Graph (groups overage)",
        ));
    }
}
