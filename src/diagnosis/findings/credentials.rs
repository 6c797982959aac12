//! The `Authorization` header: whether it came, once and whole, and with what. printHeader, bearerDecode and authContext
//! show it, and so these findings.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::headers::with_headers;
use super::{Facts, Finding, Rule, Severity};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::products::{self, Meaning};
use crate::diagnosis::quote::quote;
use crate::diagnosis::redact;
use crate::diagnosis::token::{Format, Report};

/// The family's rules.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "hdr.auth_failed_but_allowed",
        severity: Severity::Error,
        meaning: "The proxy could not authenticate the request and let it through all the same",
        fix: "have the proxy refuse what it cannot authenticate",
        reference: "Envoy ext_authz, failure_mode_allow_header_add; Kong, anonymous access",
        check: auth_failed,
    },
    Rule {
        id: "hdr.duplicate_authorization",
        severity: Severity::Error,
        meaning: "Authorization comes more than once: a proxy may check one token and a server read the other",
        fix: "send one Authorization header, and have the proxy replace it instead of adding another",
        reference: "RFC 9110 sections 5.3 and 11.6.2; RFC 6750 section 2",
        check: duplicate,
    },
    Rule {
        id: "hdr.basic_instead_of_bearer",
        severity: Severity::Error,
        meaning: "An auth product names the user, and Authorization holds Basic credentials: it replaced the client's \
                  bearer token",
        fix: "have the proxy leave Authorization alone",
        reference: "RFC 6750 section 2.1; RFC 7617 section 2; oauth2-proxy --pass-basic-auth",
        check: basic,
    },
    Rule {
        id: "hdr.authorization_lost",
        severity: Severity::Warning,
        meaning: "X-Auth-Token holds the token that the gateway checked, and Authorization is gone: a proxy removed it",
        fix: "have the proxy hand Authorization on, or read X-Auth-Token on purpose",
        reference: "RFC 6750 section 2.1; Traefik BasicAuth, removeHeader",
        check: lost,
    },
    Rule {
        id: "tok.scheme",
        severity: Severity::Error,
        meaning: "The scheme in front of the token is missing, doubled or none that OAuth knows",
        fix: "send `Authorization: Bearer TOKEN`, with the scheme once and one space",
        reference: "RFC 6750 section 2.1; MCP specification, Authorization, Token Requirements",
        check: scheme,
    },
    Rule {
        id: "hdr.token_elsewhere",
        severity: Severity::Info,
        meaning: "The proxy hands a token on in a header of its own, and there is no Authorization: the login is a \
                  cookie's or the proxy took it",
        fix: "have the proxy set Authorization where the server behind it needs a bearer token",
        reference: "RFC 6750 section 2.1",
        check: elsewhere,
    },
    Rule {
        id: "tok.absent",
        severity: Severity::Info,
        meaning: "An auth proxy names the user, but there is no Authorization header",
        fix: "let the proxy pass Authorization on if this server is to see the token; where it keeps the token on purpose, \
              nothing is wrong",
        reference: "RFC 6750 section 2.1; Traefik ForwardAuth, authResponseHeaders",
        check: absent,
    },
    Rule {
        id: "tok.not_bearer",
        severity: Severity::Info,
        meaning: "Authorization holds other credentials than an OAuth token, such as a proxy's Basic login or an API key",
        fix: "send a Bearer token if this server is to be reached with OAuth; if the proxy asks for these credentials, \
              nothing is wrong",
        reference: "RFC 9110 section 11.6.2; MCP specification, Authorization, Token Requirements",
        check: not_bearer,
    },
];

fn auth_failed(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    const TELLTALES: [(&str, &str); 2] = [
        ("x-anonymous-consumer", "Kong could not authenticate this request and let it through as anonymous"),
        (
            "x-envoy-auth-failure-mode-allowed",
            "Envoy could not reach its authorization service and let the request through",
        ),
    ];
    let told = |name: &str| {
        let mut values = facts.headers.get_all(name).iter();
        values.any(|value| redact::decode(value.as_bytes()).trim().eq_ignore_ascii_case("true"))
    };
    let (name, summary) = TELLTALES.into_iter().find(|(name, _)| told(name))?;
    with_headers(rule, summary, facts.headers, &[name])
}

/// Whether the request carries more than one credential: two lines, or two that a proxy has joined.
pub(super) fn is_duplicate(facts: &Facts<'_>) -> bool {
    let joined = |value: &http::HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        // Credentials of these schemes hold no comma.
        let begins =
            |text: &str| ["bearer ", "dpop ", "basic "].iter().any(|scheme| text.trim_start().starts_with(scheme));
        let mut parts = value.split(',');
        let first = parts.next().is_some_and(&begins);
        parts.any(|part| begins(part) || (first && !part.trim().is_empty()))
    };
    let lines = facts.headers.get_all(AUTHORIZATION);
    lines.iter().count() > 1 || lines.iter().any(joined)
}

fn duplicate(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    if !is_duplicate(facts) {
        return None;
    }
    let summary = match facts.headers.get_all(AUTHORIZATION).iter().count() {
        1 => "Authorization holds two credentials, joined by a comma".to_owned(),
        lines => format!("Authorization comes {lines} times"),
    };
    with_headers(rule, format!("{summary}; only the first is looked at here"), facts.headers, &[AUTHORIZATION.as_str()])
}

/// Basic credentials beside the headers of an auth product: it put them there. Behind any other proxy they may be the
/// login that this asks for, and a client that sends them itself is another fault.
fn is_replaced(headers: &HeaderMap) -> bool {
    let basic = headers.get_all(AUTHORIZATION).iter().any(|value| {
        let value = redact::decode(value.as_bytes());
        value.split_whitespace().next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("Basic"))
    });
    basic && !products::seen(headers).is_empty()
}

fn basic(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let products = products::seen(facts.headers);
    let in_front = products.first().filter(|_| is_replaced(facts.headers))?.product;
    let evidence = products.iter().flat_map(|seen| &seen.headers).take(2).map(String::as_str);
    let names: Vec<&str> = std::iter::once(AUTHORIZATION.as_str()).chain(evidence).collect();
    let summary = format!("Authorization holds Basic credentials instead of a bearer token, behind {in_front}");
    with_headers(rule, summary, facts.headers, &names)
}

/// Without `Authorization`, the header in which a proxy hands a token on: the gateway's own first.
fn other_token(headers: &HeaderMap) -> Option<&'static str> {
    if headers.get_all(AUTHORIZATION).iter().any(|value| !value.as_bytes().trim_ascii().is_empty()) {
        return None;
    }
    let tokens = products::PRODUCTS.iter().flat_map(|product| product.fields);
    // What a product says itself, signed, is for its own readers.
    let tokens = tokens.filter(|field| field.meaning == Meaning::Token).map(|field| field.header);
    std::iter::once("x-auth-token").chain(tokens).find(|name| headers.get(*name).is_some_and(|value| !value.is_empty()))
}

fn lost(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let name = other_token(facts.headers).filter(|name| *name == "x-auth-token")?;
    with_headers(rule, "X-Auth-Token holds a token, and Authorization is missing", facts.headers, &[name])
}

fn elsewhere(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let name = other_token(facts.headers).filter(|name| *name != "x-auth-token")?;
    let summary = format!("{} holds a token, and Authorization is missing", title_case(name));
    with_headers(rule, summary, facts.headers, &[name])
}

/// Said only where a proxy's headers show that somebody has logged in, a server without authorization is in order; and
/// where no other header holds the token, for that is said already.
fn absent(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    if facts.headers.contains_key(AUTHORIZATION) || other_token(facts.headers).is_some() {
        return None;
    }
    let (product, name) = products::PRODUCTS.iter().find_map(|product| {
        let names = facts.headers.keys().map(http::HeaderName::as_str);
        let name = names.into_iter().find(|name| {
            let field = product.fields.iter().find(|field| field.matches(name));
            field.is_some_and(|field| !matches!(field.meaning, Meaning::Other))
        })?;
        Some((product.name, title_case(name)))
    })?;
    let summary = format!("{name} ({product}) names a login, but the request has no Authorization header");
    Some(Finding::new(rule, summary, "header present", &name))
}

/// The request's own credentials, where they hold something.
fn own<'a>(facts: &'a Facts<'_>) -> Option<&'a Report> {
    let own = facts.credential().filter(|credential| !credential.given).map(|credential| &credential.report)?;
    (!matches!(own.token.format, Format::Empty | Format::Placeholder)).then_some(own)
}

/// `Token` and `JWT` are in nobody's registry: whoever writes them means Bearer.
fn is_invented(scheme: &str) -> bool {
    ["token", "jwt"].iter().any(|invented| scheme.eq_ignore_ascii_case(invented))
}

fn scheme(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = &own(facts)?.token;
    let summary = match &token.schemes[..] {
        [] => "the Authorization header has no scheme that is known in front of the token".to_owned(),
        [first, second, ..] => format!("the scheme is there twice ({} and {})", quote(first), quote(second)),
        [one] if is_invented(one) => format!("the scheme is {}, MCP and OAuth want Bearer", quote(one)),
        [_] => return None,
    };
    with_headers(rule, summary, facts.headers, &[AUTHORIZATION.as_str()])
}

/// Whether it has a scheme that is neither OAuth's nor an invention.
pub(super) fn is_other_scheme(report: &Report) -> bool {
    let token = &report.token;
    token
        .scheme()
        .is_some_and(|scheme| !(token.has_scheme("bearer") || token.has_scheme("dpop") || is_invented(scheme)))
}

fn not_bearer(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = own(facts).filter(|report| is_other_scheme(report) && report.token.schemes.len() == 1)?;
    if is_replaced(facts.headers) {
        return None; // said by the rule on Basic
    }
    let summary = format!("the scheme is {}, MCP and OAuth want Bearer", quote(report.token.scheme()?));
    with_headers(rule, summary, facts.headers, &[AUTHORIZATION.as_str()])
}
