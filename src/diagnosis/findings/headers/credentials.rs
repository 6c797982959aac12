//! Credentials that are not where a server looks for them.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::super::{Facts, Finding, Rule, Severity};
use super::with_headers;
use crate::diagnosis::forwarding::proxies;
use crate::diagnosis::headers::title_case;
use crate::diagnosis::products::{self, Meaning};
use crate::diagnosis::redact;

pub(super) static AUTH_FAILED_BUT_ALLOWED: Rule = Rule {
    id: "hdr.auth_failed_but_allowed",
    severity: Severity::Error,
    meaning: "The proxy could not authenticate the request and let it through all the same",
    fix: "have the proxy refuse what it cannot authenticate (Envoy ext_authz: failure_mode_allow: false; Kong: remove \
          the anonymous consumer or add request-termination to it)",
    reference: "Envoy ext_authz, failure_mode_allow_header_add; Kong, anonymous access",
};

pub(super) static BASIC_INSTEAD_OF_BEARER: Rule = Rule {
    id: "hdr.basic_instead_of_bearer",
    severity: Severity::Error,
    meaning: "Behind a proxy, Authorization holds Basic credentials: the proxy replaced the client's bearer token or \
              asks for a password itself",
    fix: "have the proxy leave Authorization alone (oauth2-proxy: --pass-basic-auth=false; Traefik: no BasicAuth in \
          front of an OAuth route)",
    reference: "RFC 6750 section 2.1; RFC 7617 section 2; oauth2-proxy --pass-basic-auth",
};

pub(super) static AUTHORIZATION_LOST: Rule = Rule {
    id: "hdr.authorization_lost",
    severity: Severity::Warning,
    meaning: "X-Auth-Token holds the token that the gateway checked, and Authorization is gone: a proxy removed it",
    fix: "have the proxy hand Authorization on (Traefik: removeHeader: false; Istio: forwardOriginalToken: true), or \
          read X-Auth-Token on purpose",
    reference: "RFC 6750 section 2.1; Traefik BasicAuth, removeHeader",
};

pub(super) static TOKEN_ELSEWHERE: Rule = Rule {
    id: "hdr.token_elsewhere",
    severity: Severity::Info,
    meaning: "The proxy hands a token on in a header of its own, and there is no Authorization: the login is a \
              cookie's or the proxy took it",
    fix: "have the proxy set Authorization where the server behind it needs a bearer token",
    reference: "RFC 6750 section 2.1",
};

pub(super) fn of_request(facts: &Facts<'_>) -> Vec<Finding> {
    let headers = facts.headers;
    let found = [auth_failed(headers), basic(headers), elsewhere(headers)];
    found.into_iter().flatten().collect()
}

fn auth_failed(headers: &HeaderMap) -> Option<Finding> {
    const TELLTALES: [(&str, &str); 2] = [
        ("x-anonymous-consumer", "Kong could not authenticate this request and let it through as anonymous"),
        (
            "x-envoy-auth-failure-mode-allowed",
            "Envoy could not reach its authorization service and let the request through",
        ),
    ];
    TELLTALES.iter().find_map(|(name, summary)| {
        let told = headers
            .get_all(*name)
            .iter()
            .any(|value| redact::decode(value.as_bytes()).trim().eq_ignore_ascii_case("true"));
        told.then(|| with_headers(&AUTH_FAILED_BUT_ALLOWED, *summary, headers, &[*name])).flatten()
    })
}

/// Only behind a proxy: a client that sends Basic itself is another fault.
fn basic(headers: &HeaderMap) -> Option<Finding> {
    let basic = headers.get_all(AUTHORIZATION).iter().any(|value| {
        let value = redact::decode(value.as_bytes());
        value.split_whitespace().next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("Basic"))
    });
    if !basic {
        return None;
    }
    let products = products::seen(headers);
    let in_front =
        products.first().map(|seen| seen.product).or_else(|| proxies(headers).first().map(|proxy| proxy.name))?;
    let evidence = products.iter().flat_map(|seen| &seen.headers).take(2).map(String::as_str);
    let names: Vec<&str> = std::iter::once(AUTHORIZATION.as_str()).chain(evidence).collect();
    let summary = format!("Authorization holds Basic credentials instead of a bearer token, behind {in_front}");
    with_headers(&BASIC_INSTEAD_OF_BEARER, summary, headers, &names)
}

fn elsewhere(headers: &HeaderMap) -> Option<Finding> {
    if headers.get_all(AUTHORIZATION).iter().any(|value| !value.as_bytes().trim_ascii().is_empty()) {
        return None;
    }
    if headers.get("x-auth-token").is_some_and(|value| !value.is_empty()) {
        let summary = "X-Auth-Token holds a token, and Authorization is missing";
        return with_headers(&AUTHORIZATION_LOST, summary, headers, &["x-auth-token"]);
    }
    let tokens = products::PRODUCTS.iter().flat_map(|product| product.fields);
    let name = tokens
        .filter(|field| field.meaning == Meaning::Token)
        .find(|field| headers.get(field.header).is_some_and(|value| !value.is_empty()))?
        .header;
    let summary = format!("{} holds a token, and Authorization is missing", title_case(name));
    with_headers(&TOKEN_ELSEWHERE, summary, headers, &[name])
}
