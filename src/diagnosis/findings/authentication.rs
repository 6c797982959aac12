//! Whether somebody is authenticated, and whose word it is: what is true, not what a request claims.

use serde::Serialize;

use super::{Facts, Finding, Severity};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::identity::identity_headers;
use crate::diagnosis::products::PRODUCTS;
use crate::diagnosis::quote::quote;
use crate::diagnosis::token::{Format, Protection, Removed, Status, algorithm};
use crate::diagnosis::verification::Verification;
use crate::request::ProxyProof;

/// The state, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Proven, or told by a gateway's headers with a credential that they agree with.
    Authenticated,
    /// A token, or other credentials, of which nobody here knows whether they are good.
    TokenUnverified,
    /// Identity headers that anybody could have sent.
    HeadersUnproven,
    /// The token has expired.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
    /// The token is not signed.
    Unsigned,
    /// What was sent is no token.
    Malformed,
    /// What was sent stands for a token.
    Placeholder,
    /// Nothing was sent.
    Nothing,
}

impl State {
    /// All, for the schema.
    pub const NAMES: [&'static str; 9] = [
        "authenticated",
        "token-unverified",
        "headers-unproven",
        "expired",
        "not-yet-valid",
        "unsigned",
        "malformed",
        "placeholder",
        "nothing",
    ];
}

/// Whether the caller is authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authentication {
    /// For scripts.
    pub state: State,
    /// For people: `✅ Authenticated`.
    pub text: String,
    /// Whose word it is.
    pub word: String,
}

impl Authentication {
    fn new(state: State, text: impl Into<String>, word: impl Into<String>) -> Self {
        Self { state, text: text.into(), word: word.into() }
    }

    /// Of a request, in which `found` is wrong.
    #[must_use]
    pub fn of(facts: &Facts<'_>, found: &[Finding]) -> Self {
        let who = telling(facts);
        if let (ProxyProof::Proven, Some(who)) = (facts.proxy, &who) {
            let word = format!("the gateway's, proven by MCP_PROXY_SECRET: {who}");
            return Self::new(State::Authenticated, "✅ Authenticated", word);
        }
        if let Some(word) = asserted(facts) {
            return Self::new(State::Authenticated, "✅ Authenticated", word);
        }
        if let Some(fault) = fault(facts, found) {
            return fault;
        }
        if let Some(word) = verified(facts, found) {
            return Self::new(State::Authenticated, "✅ Authenticated", word);
        }
        let has_token = facts.report().is_some_and(|report| report.token.format != Format::Empty);
        let Some(who) = who else {
            return if has_token { token_alone(facts) } else { Self::nothing(facts, found) };
        };
        if is_confirmed(facts, found) {
            let word = format!("the gateway's ({who}), and the token says the same; neither was verified here");
            return Self::new(State::Authenticated, "✅ Authenticated", word);
        }
        let why = if facts.comparisons().iter().any(|comparison| comparison.finding.is_some()) {
            "what came with them contradicts them"
        } else if facts.claims().is_some() {
            "the token does not say the same"
        } else if has_token {
            "the token says nothing itself that could be compared"
        } else {
            "no credential came with them"
        };
        let word = format!("a gateway's or the client's own ({who}): {why}{}", secret(facts));
        Self::new(State::HeadersUnproven, "⚠️ Identity headers, unproven", word)
    }

    fn nothing(facts: &Facts<'_>, found: &[Finding]) -> Self {
        let word = match facts.report() {
            Some(_) => "nobody's: the Authorization header is empty".to_owned(),
            None => match found.iter().find(|finding| ELSEWHERE.contains(&finding.rule.id)) {
                Some(finding) => format!("nobody's: {}", finding.summary),
                None => "nobody's: neither a token nor an identity header came".to_owned(),
            },
        };
        Self::new(State::Nothing, "❌ Not authenticated", word)
    }
}

/// The findings that say that a credential came, and where nobody reads it.
const ELSEWHERE: [&str; 2] = ["hdr.token_other_name", "hdr.credential_in_url"];

/// What the secret of the proxy came to, where that is asked for.
fn secret(facts: &Facts<'_>) -> &'static str {
    match facts.proxy {
        ProxyProof::NotAsked | ProxyProof::Proven => "",
        ProxyProof::Missing => "; the header of MCP_PROXY_SECRET did not come",
        ProxyProof::Wrong => "; the header of MCP_PROXY_SECRET came with another value",
    }
}

/// A gateway's signed assertion that is by a key of MCP_EXPECT_JWKS, and of now: whose word that is.
fn asserted(facts: &Facts<'_>) -> Option<String> {
    facts.keys()?;
    PRODUCTS.iter().find_map(|product| {
        product.assertions().find_map(|name| {
            let assertion = facts.verify(&facts.header(name)?);
            if !assertion.is_proof() {
                return None;
            }
            let named =
                ["email", "sub"].into_iter().find_map(|claim| Some((claim, assertion.claims.get(claim)?.as_str()?)));
            let whom = named.map_or_else(String::new, |(claim, user)| format!(", for {claim} {}", quote(user)));
            Some(format!(
                "the gateway's, proven: {} of {} is signed{}{whom}",
                title_case(name),
                product.name,
                by(&assertion.signature)
            ))
        })
    })
}

/// A bearer token that its issuer has signed, and that nothing speaks against: whose word that is.
fn verified(facts: &Facts<'_>, found: &[Finding]) -> Option<String> {
    let against =
        |finding: &&Finding| finding.rule.severity == Severity::Error || finding.rule.id.starts_with("tok.aud_");
    if !facts.verification().is_verified()
        || found.iter().filter(|finding| finding.rule.severity > Severity::Info).any(|finding| against(&finding))
    {
        return None;
    }
    let issuer = facts.signed()?.token.claim_str("iss").map_or_else(String::new, |iss| format!(", {}", quote(iss)));
    Some(format!("the issuer's{issuer}: the token is signed{}", by(facts.verification())))
}

fn by(signature: &Verification) -> String {
    match signature {
        Verification::Verified { kid: Some(kid), alg } => format!(" by key {} ({alg}) of MCP_EXPECT_JWKS", quote(kid)),
        Verification::Verified { kid: None, alg } => format!(" by a key of MCP_EXPECT_JWKS ({alg})"),
        _ => String::new(),
    }
}

/// The headers that name a user: `mcp-oauth-gateway: X-User-Id, X-User-Name`.
fn telling(facts: &Facts<'_>) -> Option<String> {
    let told = identity_headers(facts.headers);
    let product = |product: &'static crate::diagnosis::products::Product| {
        let plain = told.iter().filter(|header| header.product.name == product.name && header.meaning.names_a_user());
        let signed = product.assertions().filter(|name| facts.headers.contains_key(*name));
        let names: Vec<String> = plain.map(|header| header.name).chain(signed).map(title_case).collect();
        (!names.is_empty()).then(|| format!("{}: {}", product.name_in(facts.headers), names.join(", ")))
    };
    let all: Vec<String> = PRODUCTS.iter().filter_map(product).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Whether the token says what the headers say, and nothing speaks against them.
fn is_confirmed(facts: &Facts<'_>, found: &[Finding]) -> bool {
    const AGAINST: [&str; 3] = ["hdr.lone_identity", "hdr.duplicate_identity", "hdr.underscore_alias"];
    let comparisons = facts.comparisons();
    let confirmed = |product: &str| {
        comparisons
            .iter()
            .any(|c| c.agrees && c.product == Some(product) && c.id.ends_with("-claim") && c.id != "issuer-claim")
    };
    let told = identity_headers(facts.headers);
    let mut named =
        told.iter().filter(|header| header.meaning.names_a_user()).map(|header| header.product.name).peekable();
    named.peek().is_some()
        && named.all(confirmed)
        && comparisons.iter().all(|comparison| comparison.finding.is_none())
        && !found.iter().any(|finding| AGAINST.contains(&finding.rule.id))
}

/// What makes a token worth nothing, whoever checks it.
fn fault(facts: &Facts<'_>, found: &[Finding]) -> Option<Authentication> {
    let own = facts.report()?;
    let has = |id: &str| found.iter().find(|finding| finding.rule.id == id);
    let because = |finding: &Finding| format!("nobody's: {}", finding.summary);
    if own.token.format == Format::Placeholder {
        let word = has("tok.placeholder").map_or_else(|| "nobody's".to_owned(), because);
        return Some(Authentication::new(State::Placeholder, "❌ Placeholder instead of a token", word));
    }
    let schemes = &own.token.schemes;
    let oauth = own.token.has_scheme("bearer") || own.token.has_scheme("dpop");
    if !oauth && !schemes.is_empty() {
        return None; // other credentials: nothing is known of them
    }
    if is_garbage(facts) {
        let word = format!("nobody's: {}", own.kind_evidence);
        return Some(Authentication::new(State::Malformed, "❌ Not a token", word));
    }
    // A signature of an odd size is for its verifier to judge.
    let around = |removed: &Removed| !removed.is_harmless() && *removed != Removed::SecondCredential;
    let is_broken = own.token.format.is_signed() && !own.problems.is_empty();
    if let Some(finding) = has("tok.malformed").filter(|_| is_broken || own.removed.iter().any(around)) {
        return Some(Authentication::new(State::Malformed, "❌ Not a whole token", because(finding)));
    }
    let signed = facts.signed()?;
    let unsigned = signed.token.alg().is_some_and(|name| algorithm(name).protection == Protection::None)
        || signed.token.signature.is_none_or(|signature| signature.characters == 0);
    if unsigned && !is_taken_off(found) {
        let word = "nobody's: anybody can write a token without a signature";
        return Some(Authentication::new(State::Unsigned, "❌ Token not signed (alg none)", word));
    }
    match signed.status()? {
        Status::Expired => {
            let word = has("tok.expired").map_or_else(|| "nobody's any more: it has expired".to_owned(), because);
            Some(Authentication::new(State::Expired, "❌ Token expired", word))
        }
        Status::NotYetValid => {
            let word = "nobody's yet: its nbf lies ahead";
            Some(Authentication::new(State::NotYetValid, "❌ Token not valid yet", word))
        }
        Status::Valid | Status::NoExpiry | Status::Unknown => None,
    }
}

/// A platform that checked the token may have taken its signature off.
fn is_taken_off(found: &[Finding]) -> bool {
    found.iter().any(|finding| finding.rule.id.contains("signature_removed"))
}

/// Nothing that an issuer would give: too short to be safe from guessing (RFC 6749 section 10.10), words with spaces, digits,
/// a key.
fn is_garbage(facts: &Facts<'_>) -> bool {
    const SHORTEST: usize = 16;
    let Some(report) = facts.report() else { return false };
    match report.token.format {
        Format::Opaque => report.token.length < SHORTEST || report.kind_evidence.contains("no kind of token"),
        Format::HeaderOnly | Format::PayloadOnly | Format::Key | Format::Malformed => true,
        _ => false,
    }
}

fn token_alone(facts: &Facts<'_>) -> Authentication {
    let token = facts.report().map(|report| &report.token);
    let other = token
        .and_then(|token| token.scheme())
        .filter(|scheme| !["bearer", "dpop"].iter().any(|oauth| scheme.eq_ignore_ascii_case(oauth)));
    if other.is_some() {
        let word = format!("the client's: only who gave these credentials can check them{}", secret(facts));
        return Authentication::new(State::TokenUnverified, "⚠️ Credentials sent, not verified", word);
    }
    let why = match token.map(|token| token.format) {
        Some(Format::Opaque | Format::Paseto) => "only its issuer can say whether it is good (introspection, RFC 7662)",
        Some(Format::Jwe | Format::JweJson) => "it is encrypted, and only the holder of the key can read it",
        _ => "its signature was not checked here",
    };
    let word = format!("the client's: {why}; no gateway names the user{}", secret(facts));
    Authentication::new(State::TokenUnverified, "⚠️ Token sent, not verified", word)
}
