//! What a token grants: whether anything, in which form, and whether any of it can be for this server.
//!
//! Which scopes this server wants is not known here. So scopes that only let somebody log in are an info: many gateways
//! ask for no more, and Keycloak, Okta and Cognito grant them to everybody. They explain a 403.

use super::grants::{api, has_own, is_login};
use super::{Facts, Finding, Rule};
use crate::diagnosis::findings::Severity;
use crate::diagnosis::quote::{plain, quote, quote_all};
use crate::diagnosis::token::{Report, TokenKind};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.scope_form",
        severity: Severity::Warning,
        meaning: "scope is not one string with spaces: some servers find no scope in it, or a single one",
        fix: "have the issuer write scope as one string, separated by spaces",
        reference: "RFC 8693 section 4.2; RFC 6749 section 3.3",
        check: scope_form,
    },
    Rule {
        id: "tok.scope_missing",
        severity: Severity::Warning,
        meaning: "The token grants no scope, permission or role: a server that requires one answers 403 insufficient_scope",
        fix: "ask for the scopes that the 401 challenge or scopes_supported of the protected-resource metadata names",
        reference: "RFC 6750 section 3.1; MCP specification, Authorization, Scope Selection Strategy",
        check: scope_missing,
    },
    Rule {
        id: "tok.scope_other_api",
        severity: Severity::Warning,
        meaning: "All scopes are those of another API, such as Microsoft Graph or Google's: none is for this server",
        fix: "ask for the scopes that the 401 challenge or scopes_supported of the protected-resource metadata names, and \
              for those of the other API in a token of its own",
        reference: "RFC 6750 section 3.1; MCP specification, Authorization, Scope Selection Strategy",
        check: scope_other_api,
    },
    Rule {
        id: "tok.scope_login_only",
        severity: Severity::Info,
        meaning: "All scopes are for logging in (openid, profile, email, ...): a server that requires one of its own answers \
                  403 insufficient_scope",
        fix: "ask for the scopes that the 401 challenge or scopes_supported of the protected-resource metadata names, and \
              have the issuer define them",
        reference: "RFC 6750 section 3.1; OpenID Connect Core section 5.4; MCP specification, Authorization, Scope Selection \
                    Strategy",
        check: scope_login_only,
    },
];

fn access<'a>(facts: &'a Facts<'_>) -> Option<&'a Report> {
    facts.signed().filter(|report| report.kind == TokenKind::AccessToken)
}

fn scope_form(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let scope = facts.signed()?.token.claim("scope")?;
    let summary = match scope.as_str() {
        Some(text) if text.contains(',') => "scope is separated by commas: to a verifier this is one scope",
        None if scope.is_array() => "scope is a list",
        _ => return None,
    };
    Some(Finding::new(rule, summary, "scope", &plain(scope)))
}

fn scope_missing(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    // What is expected says more: `tok.scope_insufficient`.
    let token = &access(facts).filter(|_| facts.expected().scopes.is_empty())?.token;
    if token.grants().iter().any(|grants| !grants.values.is_empty()) {
        return None;
    }
    let to = token.client().map_or_else(String::new, |(_, client)| format!(" of {}", quote(client)));
    let summary = format!("the token{to} grants no scope, permission or role");
    Some(Finding::new(rule, summary, "scope", "absent or empty"))
}

/// The scopes, where none of them, and nothing else in the token, may be for this server.
fn foreign<'a>(facts: &'a Facts<'_>) -> Option<(&'static str, Vec<&'a str>)> {
    let token = &access(facts).filter(|_| facts.expected().scopes.is_empty())?.token;
    let grants = token.grants().into_iter().find(|grants| matches!(grants.claim, "scope" | "scp"))?;
    (!grants.values.is_empty() && !has_own(token)).then_some((grants.claim, grants.values))
}

/// Not where the audience is that API: then the token is all for it, which is said by the audience's rule.
fn scope_other_api(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let (claim, scopes) = foreign(facts)?;
    let name = scopes.iter().find_map(|scope| api(scope))?;
    if super::audience::is_providers_api(&facts.signed()?.token) {
        return None;
    }
    let summary = format!("{claim} is {}: scopes of {name}, none of this server", quote_all(scopes.iter().copied()));
    Some(Finding::new(rule, summary, claim, &scopes.join(" ")))
}

fn scope_login_only(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let (claim, scopes) = foreign(facts)?;
    if !scopes.iter().all(|scope| is_login(scope)) {
        return None;
    }
    let summary = format!(
        "{claim} is {}: only scopes of the login, none of this server; one that requires its own answers 403 \
         insufficient_scope",
        quote(&scopes.join(" "))
    );
    Some(Finding::new(rule, summary, claim, &scopes.join(" ")))
}
