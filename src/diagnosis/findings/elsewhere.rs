//! Credentials where none belong: in the request's URL, in a header that no MCP server reads; and what nothing replaced, in
//! any header.

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, REFERER};

use super::headers::with_headers;
use super::{Facts, Finding, Rule, Severity};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::placeholder::{self, Placeholder};
use crate::diagnosis::products;
use crate::diagnosis::quote::quote;
use crate::diagnosis::redact;

/// The rules, part of the family of credentials.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "hdr.credential_in_url",
        severity: Severity::Error,
        meaning: "A credential stands in the request's URL, which MCP forbids: logs, histories and Referer headers keep it",
        fix: "send it as `Authorization: Bearer TOKEN`, take it out of the client's URL, and replace it at its issuer: logs on \
              the way have it",
        reference: "MCP specification, Authorization, Token Requirements; RFC 9700 section 4.3.2; RFC 6750 section 2.3",
        check: in_url,
    },
    Rule {
        id: "hdr.token_other_name",
        severity: Severity::Warning,
        meaning: "A token came in a header that MCP servers do not read, and Authorization is missing",
        fix: "have the client send it as `Authorization: Bearer TOKEN`; where a proxy moved it, have it moved back",
        reference: "MCP specification, Authorization, Token Requirements; RFC 6750 section 2.1",
        check: other_name,
    },
    Rule {
        id: "hdr.placeholder",
        severity: Severity::Error,
        meaning: "A header, or the URL, holds a template that nothing replaced, or the text of an empty variable",
        fix: "set the variable where the client starts, and use the syntax of this client and of this field",
        reference: "RFC 9110 section 5.5; the client's documentation on variables in its configuration",
        check: unreplaced,
    },
];

/// Names of parameters that hold credentials, in lower case and without what parts their words: what clients and pages put
/// behind `?`. Fewer than those whose values are masked: a name that only looks like one is no fault.
const PARAMETERS: [&str; 24] = [
    "token",
    "accesstoken",
    "idtoken",
    "refreshtoken",
    "authtoken",
    "bearertoken",
    "apitoken",
    "usertoken",
    "sessiontoken",
    "mcptoken",
    "bearer",
    "jwt",
    "auth",
    "authorization",
    "key",
    "apikey",
    "xapikey",
    "accesskey",
    "secretkey",
    "secret",
    "clientsecret",
    "apisecret",
    "password",
    "pat",
];

/// The parameter of a query that holds a credential: by its name, or by its value.
fn credential_of(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let telling = PARAMETERS.contains(&plain.as_str());
        let is = !value.is_empty() && (telling || redact::begins_with_token(value));
        is.then_some(if name.is_empty() { "the query" } else { name })
    })
}

fn in_url(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let target = facts.uri.to_string();
    if let Some(name) = facts.uri.query().and_then(credential_of) {
        let summary = format!("a credential came in the URL, as {}", quote(name));
        return Some(Finding::new(rule, summary, "request target", &redact::uri(&target)));
    }
    if facts.uri.path().split('/').any(redact::begins_with_token) {
        let summary = "a credential came in the path of the URL";
        return Some(Finding::new(rule, summary, "request target", &redact::uri(&target)));
    }
    // A proxy tells the URL that came to it.
    let told = ["x-original-url", "x-original-uri", "x-forwarded-uri", "x-envoy-original-path", REFERER.as_str()];
    let holds = |name: &&str| {
        let value = facts.header(name)?;
        let (_, query) = value.split_once('?')?;
        credential_of(query.split('#').next()?).map(quote)
    };
    let (name, parameter) = told.iter().find_map(|name| Some((*name, holds(name)?)))?;
    let summary = format!("a credential stands in the URL that {} names, as {parameter}", title_case(name));
    with_headers(rule, summary, facts.headers, &[name])
}

/// A header that holds a token by its looks, or behind a scheme, and is no auth product's own.
fn holds_token(name: &HeaderName, value: &[u8]) -> bool {
    /// What has a meaning of its own: the proxy's login, cookies, Cloud Run's caller.
    const OTHERS: [&str; 4] =
        ["x-serverless-authorization", "dpop", "x-goog-iap-jwt-assertion", "sec-websocket-protocol"];
    if *name == AUTHORIZATION || *name == COOKIE || *name == PROXY_AUTHORIZATION || OTHERS.contains(&name.as_str()) {
        return false;
    }
    if products::lookup(name.as_str()).is_some_and(|(_, field)| field.jwt || field.meaning.is_token()) {
        return false;
    }
    let text = redact::decode(value);
    let text = text.trim();
    let scheme =
        text.split_once(' ').filter(|(scheme, rest)| scheme.eq_ignore_ascii_case("bearer") && rest.trim().len() > 8);
    scheme.is_some() || (text.starts_with('e') && redact::begins_with_token(text))
}

/// The header of a token that came under another name, where Authorization did not come.
pub(super) fn other_header<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    if facts.headers.contains_key(AUTHORIZATION) {
        return None;
    }
    let mut names: Vec<&str> = facts
        .headers
        .iter()
        .filter(|(name, value)| holds_token(name, value.as_bytes()))
        .map(|(name, _)| name.as_str())
        .collect();
    // The map's own order is nobody's.
    names.sort_unstable();
    names.first().copied()
}

fn other_name(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let name = other_header(facts)?;
    let summary =
        format!("a token came as {}, which MCP servers do not read: Authorization is missing", title_case(name));
    with_headers(rule, summary, facts.headers, &[name])
}

fn unreplaced(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    // Of Authorization another rule tells; these hold whatever a person or a page wrote.
    const FREE: [&str; 4] = ["user-agent", "referer", "cookie", "traceparent"];
    let mut found: Vec<(&str, String, Placeholder)> = facts
        .headers
        .iter()
        .filter(|(name, _)| **name != AUTHORIZATION && !FREE.contains(&name.as_str()))
        .filter_map(|(name, value)| {
            let text = redact::decode(value.as_bytes());
            let (part, what) = placeholder::unmistakable(&text)?;
            Some((name.as_str(), placeholder::shown(part).to_owned(), what))
        })
        .collect();
    found.sort_unstable_by_key(|(name, ..)| *name);
    if let Some((name, part, what)) = found.first() {
        let summary = format!("{} holds {}: {}", title_case(name), said(*what), quote(part));
        return with_headers(rule, summary, facts.headers, &[name]);
    }
    let query = facts.uri.query()?;
    let (part, what) = query.split('&').find_map(|pair| placeholder::unmistakable(pair.split_once('=')?.1))?;
    let summary = format!("the URL holds {}: {}", said(what), quote(placeholder::shown(part)));
    Some(Finding::new(rule, summary, "request target", &redact::uri(&facts.uri.to_string())))
}

const fn said(what: Placeholder) -> &'static str {
    match what {
        Placeholder::EmptyVariable => "the text of an empty variable",
        Placeholder::Object => "the text of a program's object",
        Placeholder::Template | Placeholder::Mask | Placeholder::Preview => "a placeholder that nothing replaced",
    }
}
