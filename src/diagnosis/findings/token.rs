//! Findings on the token: its form, its header, its times, its audience, what it is.
//!
//! A severity is that of the worst a rule finds where the rest of the set-up is in order. Error: every verifier that
//! follows its specification refuses the token. Warning: some do, or the token does harm. Info: what explains a
//! refusal, but is normal with a product in wide use, which is why these are not warnings:
//!
//! - an opaque token: GitHub's, Google's and Authelia's are; a resource server can introspect them (RFC 7662).
//! - an audience that is no URL, or none with issuers that put none in: see `audience`.
//! - an Entra v1 issuer: what Entra gives an API whose manifest does not ask for version 2.
//! - no `typ` `at+jwt`, claims of RFC 9068 that are missing: Keycloak, Entra, Cognito and others came before it.
//! - a life of more than a week: nothing breaks by it.
//! - scopes that are only for logging in: what Keycloak and Okta grant to everybody; whether a server wants more, this one
//!   does not know.
//!
//! An ID token is a warning: the MCP specification and RFC 9068 have it refused, but where oauth2-proxy passes
//! Authorization on it is the one that the server is set up for.
//!
//! Issuer, scopes and signature are compared where somebody says what is expected: see `expected`. Where nobody does,
//! `tok.scope_missing` says only that a token grants nothing at all.

mod audience;
mod checks;
mod claims;
mod dpop;
mod expected;
pub(super) mod form;
mod grants;
mod header;
mod kind;
pub(super) mod profile;
mod scopes;
mod times;

pub use checks::{Check, Outcome, Standing, checks, standing};

use super::{Facts, Finding, Rule};
use crate::diagnosis::token::Format;

/// The family's rules: the form first, for what is broken says nothing else.
pub(super) const TABLES: &[&[Rule]] = &[
    form::RULES,
    kind::RULES,
    header::RULES,
    expected::RULES,
    times::RULES,
    audience::RULES,
    claims::RULES,
    scopes::RULES,
    dpop::RULES,
    profile::RULES,
];

/// What the verdict says of a token that nothing is wrong with, `found` being its infos.
#[must_use]
pub fn all_clear(facts: &Facts<'_>, found: &[Finding]) -> String {
    let Some(report) = facts.report() else {
        return "The request has no Authorization header: there is no token to check".to_owned();
    };
    match report.token.format {
        Format::Opaque | Format::Paseto => {
            return "The token is opaque: nothing of it was checked, only its issuer can say whether it is good"
                .to_owned();
        }
        Format::Jwe | Format::JweJson => {
            return "The token is encrypted: nothing but its header was checked".to_owned();
        }
        _ if facts.signed().is_none() => return "There is no token that could be checked".to_owned(),
        _ => {}
    }
    checks::summary(facts, found)
}
