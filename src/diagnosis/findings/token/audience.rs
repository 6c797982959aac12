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
//! Not every issuer in wide use has URLs as audiences. What somebody set, or may set, for one resource server is
//! [`UNCHECKED`], an info, since that server can be configured for it: Entra's application ids and `api://...`, ids of
//! all kinds, the issuer as audience, as mcp-oauth-gateway writes it, which verifies its tokens itself. So is no
//! audience at all with issuers that write none: Cognito, Clerk, Keycloak without an audience mapper. What an issuer
//! writes into everybody's tokens because nobody set anything is a warning, with that issuer's remedy (see `defaults`):
//! a server that looks refuses it, and one that accepts it accepts every other client's tokens.

mod defaults;
mod fit;

use std::borrow::Cow;

use self::fit::Fit;
use super::grants::has_own;
use super::{Facts, Finding, Rule};
use crate::diagnosis::difference::nearest;
use crate::diagnosis::expected::Wanted;
use crate::diagnosis::findings::Severity;
use crate::diagnosis::issuers::Issuer;
use crate::diagnosis::origin::is_internal;
use crate::diagnosis::quote::{quote, quote_all};
use crate::diagnosis::remedies::{self, Topic};
use crate::diagnosis::token::{Decoded, Format, Report, TokenKind};

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
        id: "tok.aud_prefix",
        severity: Severity::Warning,
        meaning: "The audience's path is the one that was called with more in front of it: a proxy takes a prefix off and \
                  does not say so",
        fix: "have the proxy send the prefix as X-Forwarded-Prefix, or leave the path as it is",
        reference: "MCP specification, Authorization, Canonical Server URI; Traefik StripPrefix, X-Forwarded-Prefix",
        check: judge,
    },
    Rule {
        id: "tok.aud_default",
        severity: Severity::Warning,
        meaning: "The audience is what the issuer writes where nobody set one for this server: other servers' tokens have \
                  the same",
        fix: "have the issuer write this server's URL into aud, and let the server accept no other",
        reference: "MCP specification, Authorization, Token Audience Binding; RFC 8707 section 2; the issuer's documentation \
                    on audiences",
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
        fix: "compare aud with the audience that the gateway or the real server is set to: MCP_EXPECT_AUDIENCE, or the \
              argument resource of bearerDecode",
        reference: "RFC 7519 section 4.1.3; RFC 9068 section 4",
        check: judge,
    },
];

/// Another audience than the expected one.
const MISMATCH: &str = "tok.aud_mismatch";

/// Nothing to compare the audience with.
pub(super) const UNCHECKED: &str = "tok.aud_unchecked";

/// Whether there is an audience that this server can be compared with: of other kinds it is known for whom they are, a
/// client, a token endpoint, the proxy's backend.
pub(super) fn is_judged(facts: &Facts<'_>) -> bool {
    subject(facts).is_some()
}

/// The token whose audience is judged: one whose claims can be read, or an encrypted one that says it in its header (RFC
/// 7519 section 5.3).
fn subject<'a>(facts: &'a Facts<'_>) -> Option<&'a Report> {
    let says_so = |report: &&Report| {
        let encrypted = matches!(report.token.format, Format::Jwe | Format::JweJson);
        encrypted && (report.token.has("aud") || report.token.is_for_its_issuer())
    };
    let report = facts.signed().or_else(|| facts.report().filter(says_so))?;
    matches!(report.kind, TokenKind::AccessToken | TokenKind::Unknown).then_some(report)
}

/// What is found out about the audience.
struct Verdict {
    /// The rule.
    id: &'static str,
    summary: String,
    /// Instead of the rule's.
    fix: Option<Cow<'static, str>>,
    /// What the issuer is to be told behind the rule's fix.
    topic: Option<Topic>,
    /// Whose remedy, where that is not the issuer that the token names.
    issuer: Option<Issuer>,
    /// Name and value.
    evidence: Vec<(&'static str, String)>,
}

impl Verdict {
    fn new(id: &'static str, summary: String, token: &Decoded) -> Self {
        let aud = match token.claim("aud") {
            None => "absent".to_owned(),
            Some(_) if is_empty(token) => "empty".to_owned(),
            Some(_) => token.audience().join(", "),
        };
        Self { id, summary, fix: None, topic: None, issuer: None, evidence: vec![("aud", aud)] }
    }

    fn unchecked(why: &str, token: &Decoded) -> Self {
        Self::new(UNCHECKED, format!("audience not checked: {why}"), token)
    }

    fn with_fix(self, fix: impl Into<Cow<'static, str>>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// With what the issuer has to be told, so that it writes this server into `aud`.
    fn at_the_issuer(self) -> Self {
        Self { topic: Some(Topic::Audience), ..self }
    }

    fn with(mut self, what: &'static str, value: &str) -> Self {
        self.evidence.push((what, value.to_owned()));
        self
    }
}

/// One inspection for all rows: it finds the most specific of them.
fn judge(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let verdict = verdict(facts).filter(|verdict| verdict.id == rule.id)?;
    let mut evidence = verdict.evidence.iter();
    let (what, value) = evidence.next()?;
    let finding = Finding::new(rule, verdict.summary, what, value);
    let mut finding = evidence.fold(finding, |finding, (what, value)| finding.and_evidence(what, value));
    if let Some(fix) = verdict.fix {
        finding = finding.with_fix(fix);
    }
    let Some(topic) = verdict.topic else { return Some(finding) };
    Some(match verdict.issuer {
        Some(issuer) => finding.remedied(facts, remedies::of_issuer(issuer, topic)),
        None => finding.fitted(facts, topic),
    })
}

fn is_empty(token: &Decoded) -> bool {
    token.audience().iter().all(|aud| aud.is_empty())
}

/// `None` where the audience is this server's, or of a type that has a finding of its own.
fn verdict(facts: &Facts<'_>) -> Option<Verdict> {
    let token = &subject(facts)?.token;
    if token.is_for_its_issuer() {
        return Some(for_its_issuer(token));
    }
    if is_empty(token) {
        return missing(token);
    }
    let expected = &facts.expected().audiences;
    if !expected.is_empty() {
        return compared(token, expected);
    }
    let audience = token.audience();
    let public = facts.public_url();
    let url = public.url();
    let told = facts.headers.contains_key("x-forwarded-proto") || facts.headers.contains_key("forwarded");
    let fits: Vec<(Fit, &str)> = audience.iter().map(|aud| (fit::fit(aud, url.as_deref(), told), *aud)).collect();
    let (best, closest) = fits.iter().copied().min()?;
    let own = url.as_deref().unwrap_or_default();
    let seen = |verdict: Verdict| verdict.with("this request's URL", url.as_deref().unwrap_or("unknown"));
    let found =
        |id: &'static str, why: &str| seen(Verdict::new(id, format!("{}: {why}", fit::two(closest, own)), token));
    match best {
        Fit::Exact => return None,
        Fit::Spelling => return Some(found("tok.aud_slash", fit::spelling(closest, own))),
        Fit::Parent => return Some(found("tok.aud_origin_only", "aud is only a part of it")),
        Fit::Prefix => {
            let prefix = fit::prefix(closest, own).unwrap_or_default();
            let shown = quote(&prefix);
            let fix = format!(
                "have the proxy that takes {shown} off say so, with X-Forwarded-Prefix: {}, or leave the path as it is",
                shown.trim_matches('`')
            );
            let verdict = found("tok.aud_prefix", &format!("a proxy took {shown} off the path")).with_fix(fix);
            return Some(Verdict { topic: Some(Topic::Prefix), ..verdict });
        }
        Fit::Port | Fit::Scheme | Fit::Path | Fit::Other | Fit::Id => {}
    }
    if let Some(verdict) = unlike(token) {
        return Some(verdict);
    }
    let all = quote_all(audience.iter().copied());
    if fits.iter().any(|(fit, _)| *fit == Fit::Id) {
        let what = match Issuer::of(token) {
            Some(Issuer::Entra) => "an id or URI of an Entra app registration",
            Some(Issuer::Zitadel) => "ids of a Zitadel project and its applications",
            _ => "an id, not a URL that could be compared with this server's",
        };
        return Some(Verdict::unchecked(&format!("aud is {all}, {what}"), token));
    }
    Some(match &public.host {
        Some(host) if !is_internal(host) => seen(mismatch(facts, token, closest, best)),
        _ => seen(Verdict::unchecked(&format!("aud is {all}, but nothing tells this server's public URL"), token)),
    })
}

/// The audience against what is expected, to the letter.
fn compared(token: &Decoded, expected: &Wanted) -> Option<Verdict> {
    let audience = token.audience();
    if audience.iter().any(|aud| expected.contains(aud)) {
        return None;
    }
    let (all, by) = (quote_all(audience.iter().copied()), expected.by);
    let of = quote_all(expected.values.iter().map(String::as_str));
    let (closest, difference) = audience
        .iter()
        .filter_map(|aud| Some((*aud, nearest(aud, &expected.values)?.1)))
        .min_by_key(|(_, difference)| *difference)?;
    let says = |aud: &str, why: &str| format!("aud is {}, {by} says {of}{why}", quote(aud));
    let parent = |aud: &str, wanted: &str| {
        fit::is_url(aud) && wanted.strip_prefix(aud.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
    };
    let any_parent = audience.iter().find(|aud| expected.values.iter().any(|wanted| parent(aud, wanted)));
    // Entra writes the id of the application into tokens of version 2, and its URI into those of version 1.
    let entras = |aud: &str, wanted: &str| {
        wanted.strip_prefix("api://") == Some(aud) || aud.strip_prefix("api://") == Some(wanted)
    };
    let any_entra = audience.iter().find(|aud| expected.values.iter().any(|wanted| entras(aud, wanted)));
    let verdict = if difference.is_spelling() {
        Verdict::new("tok.aud_slash", says(closest, &format!(": they differ in {}", difference.name())), token)
    } else if let Some(aud) = any_parent {
        Verdict::new("tok.aud_origin_only", says(aud, ": only a part of it"), token)
    } else if let Some(aud) = any_entra {
        let why = ": the id of an application and its URI are two names of one (Entra)";
        Verdict::new(MISMATCH, says(aud, why), token).with_fix(
            "expect both names: Entra writes the id into tokens of version 2 and api://ID into those of version 1 \
             (requestedAccessTokenVersion in the API's manifest)",
        )
    } else if let Some(verdict) = unlike(token).filter(|verdict| verdict.id != UNCHECKED) {
        Verdict { summary: format!("{}; {by} says {of}", verdict.summary), ..verdict }
    } else {
        let what = difference.name();
        let why = if what.is_empty() { String::new() } else { format!(": they differ in {what}") };
        let summary = format!("aud is {all}, {by} says {of}{why}");
        Verdict::new(MISMATCH, summary, token).at_the_issuer()
    };
    Some(verdict.with(by, &expected.values.join(", ")))
}

/// Auth0's opaque tokens have five parts, and only Auth0 can read them.
fn for_its_issuer(token: &Decoded) -> Verdict {
    let issuer = token.param_str("iss").unwrap_or_default();
    let summary = format!(
        "the token is encrypted with a secret of its issuer, {}: it is for the issuer's own API, since none was asked for",
        quote(issuer)
    );
    // No other issuer is known to do so, and Auth0 does it under customers' names, too.
    let verdict = Verdict::new("tok.wrong_api", summary, token).with("iss", issuer);
    Verdict { topic: Some(Topic::Jwt), issuer: Some(Issuer::Auth0), ..verdict }
}

/// An audience that is somebody else's, whatever this server's URL is: the provider's own API, a default, the client, the
/// issuer.
fn unlike(token: &Decoded) -> Option<Verdict> {
    let audience = token.audience();
    let all = quote_all(audience.iter().copied());
    let found = |id: &'static str, what: &str| Verdict::new(id, format!("aud is {all}, {what}"), token).at_the_issuer();
    let api = audience.iter().find_map(|aud| defaults::providers_api(aud, token));
    if let Some(api) = api.filter(|_| is_providers_api(token)) {
        return Some(found("tok.wrong_api", &format!("which is {api} and not this server")));
    }
    let client = token.client();
    let is_client = |aud: &str| client.is_some_and(|(_, client)| client == aud);
    let default = audience.iter().find_map(|aud| defaults::default(aud, token));
    let each = |aud: &&str| is_client(aud) || defaults::default(aud, token).is_some();
    if let Some(default) = default.filter(|_| audience.iter().all(each)) {
        return Some(Verdict { issuer: Some(default.issuer), ..found("tok.aud_default", default.whose) });
    }
    if let Some((claim, client)) = client.filter(|_| token.audience_is_client()) {
        // One app registration is often client and API at once: then the scope is the API's.
        if Issuer::of(token) == Some(Issuer::Entra) && has_own(token) {
            let why = format!("aud is {}, an Entra app registration that is client and API at once", quote(client));
            return Some(Verdict::unchecked(&why, token));
        }
        let verdict = found("tok.aud_is_client", &format!("which is the client itself ({claim})"));
        return Some(verdict.with(claim, client));
    }
    if defaults::is_made_of_scopes(token) {
        return Some(
            found("tok.aud_default", "the scope: no resource was asked for, so the issuer wrote that").with_fix(
                "send the resource parameter with this server's URL in the authorization and token requests, and have the \
                 issuer allow it",
            ),
        );
    }
    let issuer = token.claim_str("iss").unwrap_or_default();
    audience.iter().all(|aud| aud.trim_end_matches('/') == issuer.trim_end_matches('/')).then(|| {
        let why = format!("aud is the issuer itself, {}: good where the issuer's gateway verifies it", quote(issuer));
        Verdict::unchecked(&why, token)
    })
}

/// Whether the token is for nothing but the provider's own API.
pub(super) fn is_providers_api(token: &Decoded) -> bool {
    let audience = token.audience();
    !audience.is_empty() && audience.iter().all(|aud| defaults::providers_api(aud, token).is_some())
}

/// Whether the token is for this server's URL, or the expected audience, to the letter.
pub(super) fn is_this(facts: &Facts<'_>, token: &Decoded) -> bool {
    let url = facts.public_url().url();
    let expected = &facts.expected().audiences;
    token.audience().iter().any(|aud| Some(*aud) == url.as_deref() || expected.contains(aud))
}

/// Another URL than this server's: what differs, and who has to mend it.
fn mismatch(facts: &Facts<'_>, token: &Decoded, closest: &str, best: Fit) -> Verdict {
    let public = facts.public_url();
    let told = fit::told_as(closest);
    let (why, fix, topic): (&str, Option<Cow<'static, str>>, Topic) = match (best, told) {
        (Fit::Port, Some((_, port))) => {
            let header = ["X-Forwarded-Port", "X-Forwarded-Host", "Forwarded"]
                .into_iter()
                .find(|name| public.sources.contains(name))
                .unwrap_or("Host");
            let fix = format!("have the proxy tell the port that clients use, {port}, or none, in {header}");
            let why = match header {
                "X-Forwarded-Port" => ": only the port differs, by X-Forwarded-Port",
                "X-Forwarded-Host" => ": only the port differs, by X-Forwarded-Host",
                "Forwarded" => ": only the port differs, by Forwarded",
                _ => ": only the port differs, by Host",
            };
            (why, Some(fix.into()), Topic::Port)
        }
        (Fit::Scheme, Some((scheme, _))) if scheme == "https" => (
            ": only the scheme differs",
            Some("make the proxy that ends TLS send X-Forwarded-Proto: https".into()),
            Topic::Scheme,
        ),
        (Fit::Scheme, _) => (
            ": only the scheme differs",
            Some(
                "name the https URL as resource in the protected-resource metadata: clients ask for what stands there"
                    .into(),
            ),
            Topic::Audience,
        ),
        (Fit::Path, _) => (": another path of this host", None, Topic::Audience),
        _ => ("", None, Topic::Audience),
    };
    let all = quote_all(token.audience());
    let summary = format!("aud is {all}, this request came to {}{why}", quote(&public.url().unwrap_or_default()));
    let verdict = Verdict::new(MISMATCH, summary, token);
    Verdict { fix, topic: Some(topic), ..verdict }
}

fn missing(token: &Decoded) -> Option<Verdict> {
    // Of another type: a finding of its own.
    if token.claim("aud").is_some_and(|aud| !aud.is_string() && !aud.is_array()) {
        return None;
    }
    let of = token.claim_str("iss").map_or_else(String::new, |issuer| format!(" of {}", quote(issuer)));
    let what = if token.has("aud") { "an empty aud" } else { "no aud" };
    if let Some(why) = defaults::usually_none(token) {
        return Some(Verdict::unchecked(&format!("the token{of} has {what}; {why}"), token));
    }
    Some(Verdict::new("tok.aud_missing", format!("the token{of} has {what}"), token).at_the_issuer())
}
