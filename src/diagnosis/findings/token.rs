//! Findings on the bearer token: its form, its header, its times, its audience, what it is.
//!
//! Two ways in: [`of_request`] for the `Authorization` header of a request, [`of_report`] for a token that somebody
//! gave. Both ask the same pure rules; what a token says comes from [`crate::diagnosis::token`], which also has the
//! predicates.
//!
//! A severity is that of the worst a rule finds where the rest of the set-up is in order. Error: every verifier that
//! follows its specification refuses the token. Warning: some do, or the token does harm. Info: what explains a
//! refusal, but is normal with a product in wide use, which is why these are not warnings:
//!
//! - an opaque token: GitHub's, Google's and Authelia's are; a resource server can introspect them (RFC 7662).
//! - an audience that is no URL, or none with issuers that put none in: see `audience`.
//! - an Entra v1 issuer: what Entra gives an API whose manifest does not ask for version 2.
//! - no `typ` `at+jwt`, claims of RFC 9068 that are missing: Keycloak, Entra, Cognito and others came before it.
//! - a life of more than a day: Entra's continuous access evaluation gives up to 28 hours; nothing breaks by it.
//!
//! Not told here: whether scopes suffice and whether the issuer is the expected one. This server is configured with
//! neither, so `tok.scope_missing` says only that a token grants nothing at all, and there is no `tok.iss_mismatch`.

mod audience;
mod content;
mod form;
mod header;
mod proof;
mod times;

use std::borrow::Cow;

use http::header::AUTHORIZATION;

use super::{Facts, Finding, Rule};
use crate::diagnosis::token::{self, Origin, Report};
use crate::diagnosis::{products, redact};

/// The family's rules.
pub const RULES: &[&Rule] = &[
    &form::ABSENT,
    &form::EMPTY,
    &form::PLACEHOLDER,
    &form::SCHEME,
    &form::NOT_BEARER,
    &form::OPAQUE,
    &form::JWE,
    &form::MALFORMED,
    &form::NESTED,
    &form::TOO_BIG,
    &header::UNSECURED,
    &header::SYMMETRIC,
    &header::NO_KID,
    &header::KEY_TRAP,
    &header::EMBEDDED_KEY,
    &header::CRIT,
    &header::GRAPH_NONCE,
    &times::EXPIRED,
    &times::NBF_FUTURE,
    &times::IAT_FUTURE,
    &times::MS_EPOCH,
    &times::NO_EXP,
    &times::LONG_LIFE,
    &audience::MISSING,
    &audience::MISMATCH,
    &audience::SLASH,
    &audience::ORIGIN_ONLY,
    &audience::IS_CLIENT,
    &audience::WRONG_API,
    &audience::UNCHECKED,
    &content::ID_TOKEN,
    &content::WRONG_KIND,
    &content::ISS_ENTRA_V1,
    &content::TYP_NOT_AT_JWT,
    &content::RFC9068_MISSING,
    &content::SCOPE_MISSING,
    &proof::DPOP_BOUND_BEARER,
    &proof::DPOP_HTU,
];

/// What is wrong with the token in the request's `Authorization` header. Of several headers the first is looked at.
#[must_use]
pub fn of_request(facts: &Facts<'_>) -> Vec<Finding> {
    let Some(value) = facts.headers.get(AUTHORIZATION) else {
        return form::absent(facts).into_iter().collect();
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let report = token::inspect_from(&text, Origin::Authorization, facts.now);
    let shown = redact::header(AUTHORIZATION.as_str(), value);
    let mut findings = form::of_header(&report, &text, &shown);
    findings.extend(of_report(&report, facts).into_iter().filter(|finding| finding.rule.id != form::MALFORMED.id));
    findings.extend(proof::of_request(&report, facts));
    super::sort(&mut findings);
    findings
}

/// What is wrong with a token, whatever way it came; its audience is compared with the URL of the request.
#[must_use]
pub fn of_report(report: &Report, facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = form::of_report(report);
    if report.facts.header.is_some() {
        findings.extend(header::of(report));
    }
    if report.facts.payload.is_some() && report.facts.format.is_signed() {
        findings.extend(times::of(report));
        findings.extend(audience::of(report, facts));
    }
    findings.extend(content::of(report));
    findings.extend(proof::of_report(report));
    super::sort(&mut findings);
    findings
}

/// The header of an auth product that this request has, if it has one: somebody in front has logged the user in.
fn auth_header(facts: &Facts<'_>) -> Option<(&'static str, String)> {
    products::PRODUCTS.iter().find_map(|product| {
        let names = facts.headers.keys().map(http::HeaderName::as_str);
        let name = names.into_iter().find(|name| {
            let field = product.fields.iter().find(|field| field.matches(name));
            field.is_some_and(|field| !matches!(field.meaning, products::Meaning::Other))
        })?;
        Some((product.name, name.to_owned()))
    })
}

/// A value from the token in a sentence: redacted, escaped, shortened.
fn quote(value: &str) -> String {
    token::quote(&redact::value(value))
}

/// Several values in a sentence.
fn quote_all<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    values.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// A claim or header parameter as evidence: strings without quotes, anything else as JSON.
fn plain(value: &serde_json::Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed)
}
