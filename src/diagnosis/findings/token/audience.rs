//! The audience: whom the token is for. One finding at most, the most specific.
//!
//! Where somebody says what is expected (the argument `resource`, `MCP_EXPECT_AUDIENCE`, `MCP_PUBLIC_URL`), it is compared
//! with that to the letter, and another audience is [`MISMATCH`], whatever it looks like.
//!
//! Else: MCP wants the audience to be the server's own URL (MCP specification, Authorization, Token Audience Binding). The
//! URL is what the forwarding headers tell, so the rules are careful where those say nothing:
//!
//! - without `X-Forwarded-Proto` or `Forwarded`, `http` and `https` count as the same: this server never has TLS
//!   itself;
//! - where only an internal name is seen (`Host: backend:3000`), a URL of another host cannot be judged: [`UNCHECKED`].
//!
//! Not every issuer in wide use has URLs as audiences. What is healthy with one of them is [`UNCHECKED`], an info,
//! since the resource server can be configured for it: Keycloak's `account`, Entra's application ids and `api://...`,
//! Okta's `api://default`, Supabase's `authenticated`; no audience at all with Cognito (access tokens have none) and
//! Keycloak (none without an audience mapper); the issuer as audience, as mcp-oauth-gateway writes it, which verifies
//! its tokens itself. An audience that is the client, or missing elsewhere, is a warning: the client sent no
//! `resource`, but a server that does not look lets it in.

use http::Uri;

use super::{Facts, Finding, Rule};
use crate::diagnosis::difference::nearest;
use crate::diagnosis::expected::Wanted;
use crate::diagnosis::findings::Severity;
use crate::diagnosis::origin::is_internal;
use crate::diagnosis::quote::{quote, quote_all};
use crate::diagnosis::token::{Decoded, TokenKind};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.aud_missing",
        severity: Severity::Warning,
        meaning: "The token does not say whom it is for: an MCP server must refuse it",
        fix: "send the resource parameter with the server's URL in the authorization and token requests, and have the \
              issuer write it into aud",
        reference: "MCP specification, Authorization, Token Audience Binding; RFC 8707 section 2; RFC 7519 section 4.1.3",
        check: judge,
    },
    Rule {
        id: MISMATCH,
        severity: Severity::Error,
        meaning: "The token is for another URL than this server's",
        fix: "send the resource parameter with this server's URL in the authorization and token requests; if aud is \
              right, make the proxy forward the public scheme and host",
        reference: "MCP specification, Authorization, Token Audience Binding; RFC 8707 section 2; RFC 7519 section 4.1.3",
        check: judge,
    },
    Rule {
        id: "tok.aud_slash",
        severity: Severity::Warning,
        meaning: "The audience is this server's URL in another spelling, such as a slash at the end: exact comparison \
                  fails",
        fix: "use one spelling, without the slash, in the protected-resource metadata, the client and the issuer",
        reference: "MCP specification, Authorization, Canonical Server URI; RFC 3986 section 6.2.1; RFC 9728 section 3.3",
        check: judge,
    },
    Rule {
        id: "tok.aud_origin_only",
        severity: Severity::Warning,
        meaning: "The audience is this server's host or a parent path, not the URL that was called: exact comparison fails",
        fix: "make the resource in the protected-resource metadata and the client's resource parameter the same URL; if \
              the metadata names the shorter one, configure the server for that",
        reference: "MCP specification, Authorization, Canonical Server URI; RFC 9728 section 3.3",
        check: judge,
    },
    Rule {
        id: "tok.aud_is_client",
        severity: Severity::Warning,
        meaning: "The token is for the client itself: it asked for no resource",
        fix: "send the resource parameter with the server's URL in the authorization and token requests; with Entra \
              expose an API and ask for its scope",
        reference: "RFC 8707 section 2; MCP specification, Authorization, Resource Parameter Implementation",
        check: judge,
    },
    Rule {
        id: "tok.wrong_api",
        severity: Severity::Error,
        meaning: "The token is for the identity provider's own API, Microsoft Graph or UserInfo",
        fix: "ask for a token for this server: register it as an API with the provider, and send its resource, audience \
              or scope",
        reference: "MCP specification, Authorization, Token Audience Binding; RFC 8707 section 2",
        check: judge,
    },
    Rule {
        id: "tok.aud_unchecked",
        severity: Severity::Info,
        meaning: "The audience cannot be compared with this server's URL",
        fix: "compare aud with the audience that the gateway or the real server is set to",
        reference: "RFC 7519 section 4.1.3; RFC 9068 section 4",
        check: judge,
    },
];

/// Another audience than the expected one.
const MISMATCH: &str = "tok.aud_mismatch";

/// Nothing to compare the audience with.
pub(super) const UNCHECKED: &str = "tok.aud_unchecked";

/// What one audience is to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Byte for byte.
    Exact,
    /// After normalization, with or without a slash at the end.
    Spelling,
    /// The origin, or a parent of the path.
    Parent,
    /// Another URL.
    Other,
    /// No URL.
    Id,
}

/// Whether there is an audience that this server can be compared with: of other kinds it is known for whom they are, a
/// client, a token endpoint, the proxy's backend.
pub(super) fn is_judged(facts: &Facts<'_>) -> bool {
    facts.signed().is_some_and(|report| matches!(report.kind, TokenKind::AccessToken | TokenKind::Unknown))
}

/// One inspection for all rows: it finds the most specific of them.
fn judge(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.signed().filter(|_| is_judged(facts))?;
    let token = &report.token;
    let audience = token.audience();
    if audience.iter().all(|aud| aud.is_empty()) {
        return missing(rule, token);
    }
    let expected = &facts.expected().audiences;
    if !expected.is_empty() {
        return compared(rule, token, &audience, expected);
    }
    let public = facts.public_url();
    let url = public.url();
    let told = facts.headers.contains_key("x-forwarded-proto") || facts.headers.contains_key("forwarded");
    let fits: Vec<Fit> = audience.iter().map(|aud| fit(aud, url.as_deref(), told)).collect();
    let best = fits.iter().copied().min().unwrap_or(Fit::Id);
    let found =
        |id: &str, summary: String| (rule.id == id).then(|| Finding::new(rule, summary, "aud", &audience.join(", ")));
    let seen = |finding: Finding| finding.and_evidence("this request's URL", url.as_deref().unwrap_or("unknown"));
    match best {
        Fit::Exact => return None,
        Fit::Spelling | Fit::Parent => {
            let (id, what) = match best {
                Fit::Spelling => ("tok.aud_slash", "the same URL in another spelling"),
                _ => ("tok.aud_origin_only", "only a part of it"),
            };
            let aud = audience.iter().zip(&fits).find(|(_, fit)| **fit == best).map_or("", |(aud, _)| aud);
            let url = quote(url.as_deref().unwrap_or_default());
            return found(id, format!("aud is {}, the URL is {url}: {what}", quote(aud))).map(seen);
        }
        Fit::Other | Fit::Id => {}
    }
    let all = || quote_all(audience.iter().copied());
    if audience.iter().all(|aud| is_providers_api(aud)) {
        return found(
            "tok.wrong_api",
            format!("aud is {}, the identity provider's own API and not this server", all()),
        );
    }
    if token.audience_is_client()
        && let Some((claim, client)) = token.client()
    {
        let summary = format!("aud is {}, which is the client itself ({claim})", quote(client));
        return found("tok.aud_is_client", summary).map(|finding| finding.and_evidence(claim, client));
    }
    let issuer = token.claim_str("iss").unwrap_or_default();
    if audience.iter().all(|aud| aud.trim_end_matches('/') == issuer.trim_end_matches('/')) {
        let summary =
            format!("aud is the issuer itself, {}: good where the issuer's gateway verifies it", quote(issuer));
        return found(UNCHECKED, summary);
    }
    if fits.contains(&Fit::Id) {
        return found(
            UNCHECKED,
            format!("aud is {}: an id, not a URL that could be compared with this server's", all()),
        );
    }
    match (&url, &public.host) {
        (Some(url), Some(host)) if !is_internal(host) => {
            let only_scheme = audience.iter().any(|aud| fit(aud, Some(url), false) <= Fit::Spelling);
            let why = if only_scheme { ": only the scheme differs" } else { "" };
            let summary = format!("aud is {}, this request came to {}{why}", all(), quote(url));
            let finding = found(MISMATCH, summary).map(seen)?;
            Some(if only_scheme {
                finding.with_fix("make the proxy that ends TLS send X-Forwarded-Proto: https")
            } else {
                finding
            })
        }
        _ => found(UNCHECKED, format!("aud is {}, but the request names no public host to compare it with", all()))
            .map(seen),
    }
}

/// The audience against what is expected, to the letter.
fn compared(rule: &'static Rule, token: &Decoded, audience: &[&str], expected: &Wanted) -> Option<Finding> {
    if audience.iter().any(|aud| expected.contains(aud)) {
        return None;
    }
    let all = || quote_all(audience.iter().copied());
    let of = || quote_all(expected.values.iter().map(String::as_str));
    let (nearest, difference) = audience
        .iter()
        .filter_map(|aud| Some((*aud, nearest(aud, &expected.values)?.1)))
        .min_by_key(|(_, difference)| *difference)?;
    let parent = || {
        let parent = |aud: &str, wanted: &str| {
            let rest = wanted.strip_prefix(aud.trim_end_matches('/'));
            parts(aud).is_some() && rest.is_some_and(|rest| rest.starts_with('/'))
        };
        audience.iter().copied().find(|aud| expected.values.iter().any(|wanted| parent(aud, wanted)))
    };
    let by = expected.by;
    let (id, summary) = if difference.is_spelling() {
        let what = difference.name();
        ("tok.aud_slash", format!("aud is {}, {by} says {}: they differ in {what}", quote(nearest), of()))
    } else if let Some(aud) = parent() {
        ("tok.aud_origin_only", format!("aud is {}, {by} says {}: only a part of it", quote(aud), of()))
    } else if audience.iter().all(|aud| is_providers_api(aud)) {
        ("tok.wrong_api", format!("aud is {}, the identity provider's own API and not {}", all(), of()))
    } else if token.audience_is_client()
        && let Some((claim, client)) = token.client()
    {
        (
            "tok.aud_is_client",
            format!("aud is {}, which is the client itself ({claim}); {by} says {}", quote(client), of()),
        )
    } else {
        let what = difference.name();
        let why = if what.is_empty() { String::new() } else { format!(": they differ in {what}") };
        (MISMATCH, format!("aud is {}, {by} says {}{why}", all(), of()))
    };
    let found = (rule.id == id).then(|| Finding::new(rule, summary, "aud", &audience.join(", ")));
    found.map(|finding| finding.and_evidence(by, &expected.values.join(", ")))
}

/// Whether an audience is an API of the identity provider itself: Microsoft Graph by URL or application id, or an OpenID
/// Connect UserInfo endpoint.
fn is_providers_api(audience: &str) -> bool {
    audience.contains("graph.microsoft.com")
        || audience.starts_with("00000003-0000-0000-c000-")
        || audience.ends_with("/userinfo")
}

fn missing(rule: &'static Rule, token: &Decoded) -> Option<Finding> {
    let product = if token.claim_str("token_use") == Some("access") {
        Some("Cognito writes none into access tokens: compare client_id and scope instead")
    } else if token.claim_str("typ") == Some("Bearer") {
        Some("Keycloak writes none without an audience mapper: add one with this server's URL")
    } else {
        None
    };
    let value = match token.claim("aud") {
        None => "absent",
        Some(aud) if aud.is_string() || aud.is_array() => "empty",
        // Of another type: a finding of its own.
        Some(_) => return None,
    };
    let of = token.claim_str("iss").map_or_else(String::new, |issuer| format!(" of {}", quote(issuer)));
    let (id, summary) = match product {
        Some(why) => (UNCHECKED, format!("the token{of} has no aud; {why}")),
        None => ("tok.aud_missing", format!("the token{of} has no aud")),
    };
    (rule.id == id).then(|| Finding::new(rule, summary, "aud", value))
}

/// Scheme, authority without the default port, path without the slash at its end.
fn parts(url: &str) -> Option<(String, String, String)> {
    let uri: Uri = url.split('#').next()?.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let default = if scheme == "https" { 443 } else { 80 };
    let host = uri.host()?.to_ascii_lowercase();
    let authority = match uri.port_u16().filter(|port| *port != default) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    Some((scheme.to_owned(), authority, uri.path().trim_end_matches('/').to_owned()))
}

fn fit(aud: &str, url: Option<&str>, scheme_told: bool) -> Fit {
    let Some((scheme, authority, path)) = parts(aud) else { return Fit::Id };
    let Some((url, (own_scheme, own_authority, own_path))) = url.and_then(|url| Some((url, parts(url)?))) else {
        return Fit::Other;
    };
    let bare = |url: &str| url.split_once("://").map(|(_, rest)| rest.to_owned());
    if aud == url || (!scheme_told && bare(aud) == bare(url)) {
        Fit::Exact
    } else if (scheme_told && scheme != own_scheme) || authority != own_authority {
        Fit::Other
    } else if path == own_path {
        // At the root there is no other spelling of the request's path than the slash (RFC 3986 section 6.2.3).
        if path.is_empty() { Fit::Exact } else { Fit::Spelling }
    } else if own_path.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')) {
        Fit::Parent
    } else {
        Fit::Other
    }
}
