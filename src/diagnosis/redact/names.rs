//! What a name says of its value: of headers, parameters, JSON keys and environment variables alike.

/// What a secret is, which decides how much of it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Secret {
    /// A session id.
    Session,
    /// A token or key, perhaps with a scheme in front: its beginning tells what it is.
    Token,
    /// `name=value; attribute; attribute`
    SetCookie,
    /// `name=value; name=value`
    Cookies,
    /// A password, client secret or signature: nothing of it is shown.
    Hidden,
}

/// Secrets whose names do not say so. `DPoP` is a proof that can be replayed while it is fresh (RFC 9449 section 11.1);
/// `X-Amzn-Oidc-Data` is the JWT of an AWS load balancer.
const TOKENS: [&str; 2] = ["dpop", "x-amzn-oidc-data"];

/// Names with a telling word in them whose values are public: lists of header names, metadata, ids, nonces.
const OPEN: [&str; 14] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-request-headers",
    "access-control-expose-headers",
    // Kong: the id of a credential, not the credential.
    "x-credential-identifier",
    // RFC 9421 section 4.1: what was signed, not the signature.
    "signature-input",
    "accept-signature",
    "cookie-name",
    // Istio `outputPayloadToHeader`, by convention: claims without a signature.
    "x-jwt-payload",
    "token-binding",
    // caddy-security: the `sub` of the token.
    "x-token-subject",
    // RFC 6455 section 11.3.1: a nonce.
    "sec-websocket-key",
    "authentication-info",
    "authentication-results",
];

/// Claims that a proxy copied into headers of their own: shown, because comparing them is the diagnosis.
const OPEN_PREFIXES: [&str; 6] =
    ["x-jwt-claim-", "x-pomerium-claim-", "oidc-claim-", "oauth2-claim-", "x-authentik-meta-", "sec-ch-"];

/// A name whose last word is one of these describes a secret and is none: `token_type`, `X-Ms-Token-Aad-Expires-On`,
/// `X-Auth-User`.
const QUALIFIERS: [&str; 53] = [
    "type",
    "endpoint",
    "expires",
    "expiry",
    "ttl",
    "timeout",
    "interval",
    "binding",
    "length",
    "limit",
    "remaining",
    "method",
    "methods",
    "alg",
    "algorithm",
    "issuer",
    "lifetime",
    "count",
    "enabled",
    "status",
    "result",
    "url",
    "uri",
    "server",
    "servers",
    "required",
    "scheme",
    "mode",
    "provider",
    "policy",
    "realm",
    "audience",
    "scope",
    "scopes",
    "version",
    "size",
    "hint",
    "user",
    "username",
    "name",
    "email",
    "groups",
    "roles",
    "redirect",
    "source",
    "format",
    "usage",
    "used",
    "model",
    "file",
    "path",
    "supported",
    "age",
];

/// The same, of two words.
const QUALIFIER_PAIRS: [(&str, &str); 4] = [("expires", "on"), ("expires", "in"), ("expires", "at"), ("issued", "at")];

/// Words in front of `key` in the name of what is no secret: it names, sorts or caches something.
const OPEN_KEYS: [&str; 24] = [
    "idempotency",
    "websocket",
    "surrogate",
    "cache",
    "primary",
    "foreign",
    "sort",
    "partition",
    "routing",
    "public",
    "object",
    "group",
    "row",
    "hash",
    "translation",
    "dedup",
    "deduplication",
    "lookup",
    "message",
    "event",
    "range",
    "project",
    "issue",
    "i18n",
];

/// Words that end with `key` or `pass` and have to do with neither.
const NO_SECRETS: [&str; 8] = ["monkey", "donkey", "turkey", "hockey", "jockey", "whiskey", "hotkey", "bypass"];

/// Words beside `tokens` that count them: `max_tokens`, `X-RateLimit-Remaining-Tokens`.
const COUNTED: [&str; 19] = [
    "max",
    "min",
    "total",
    "prompt",
    "completion",
    "input",
    "output",
    "cached",
    "reasoning",
    "limit",
    "remaining",
    "reset",
    "used",
    "num",
    "per",
    "thinking",
    "budget",
    "ratelimit",
    "response",
];

/// Whether values under this name are secrets: headers (RFC 9110 section 11 and the products of
/// [`super::super::products`]), URI parameters, JSON keys, variables. In any spelling: `X-Auth-Token`, `x_auth_token`,
/// `xAuthToken`.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    secret(name).is_some()
}

/// What kind of secret values under this name are.
pub(super) fn secret(name: &str) -> Option<Secret> {
    /// A name that is longer is none.
    const LONGEST: usize = 256;
    let name = name.get(..LONGEST).unwrap_or(name);
    let lower = name.to_ascii_lowercase().replace('_', "-");
    if TOKENS.contains(&lower.as_str()) {
        return Some(Secret::Token);
    }
    if OPEN.contains(&lower.as_str()) || OPEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return None;
    }
    let name = dashed(name);
    let words: Vec<&str> = name.split(['-', '.']).filter(|word| !word.is_empty()).collect();
    let (last, before) = words.split_last()?;
    if !before.is_empty()
        && (QUALIFIERS.contains(last) || before.last().is_some_and(|first| QUALIFIER_PAIRS.contains(&(first, last))))
    {
        return None;
    }
    // `X-Api-Key-2` is a key as well.
    let numbered =
        |word: &&&str| word.bytes().all(|b| b.is_ascii_digit()) || ["value", "header", "raw"].contains(*word);
    let end = words.iter().rposition(|word| !numbered(&word)).map_or(0, |last| last + 1);
    let words = &words[..end];
    (0..words.len()).filter_map(|at| of_word(words, at)).max()
}

/// A name in lower case with dashes between its words: `clientSecret` is `client-secret`.
fn dashed(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before = '-';
    for c in name.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            out.push('-');
        }
        out.push(if c == '_' || c == ' ' { '-' } else { c.to_ascii_lowercase() });
        before = c;
    }
    out
}

/// What one word of a name says. Endings count (`X-Amzn-Oidc-Accesstoken`, `mcpauth`), beginnings do not (`X-Tokenizer`,
/// `X-Author`, `X-Keyboard`), nor do claims' key sets (`jwks`).
fn of_word(words: &[&str], at: usize) -> Option<Secret> {
    let word = words[at];
    let before = at.checked_sub(1).map(|before| words[before]);
    let is_last = at + 1 == words.len();
    let singular = word.strip_suffix('s').unwrap_or(word);
    let ends = |endings: &[&str]| endings.iter().any(|ending| word.ends_with(ending) || singular.ends_with(ending));
    if NO_SECRETS.contains(&singular) {
        return None;
    }
    if ends(&["password", "passwd", "passphrase", "passcode", "secret", "credential", "signature"])
        || matches!(word, "pwd" | "otp" | "totp" | "mfa" | "creds" | "cred" | "hmac")
        || (is_last && matches!(word, "pass" | "dsn" | "connectionstring"))
        || (word == "string" && before == Some("connection"))
    {
        Some(Secret::Hidden)
    } else if ends(&["cookie"]) {
        Some(if before == Some("set") { Secret::SetCookie } else { Secret::Cookies })
    } else if word.ends_with("tokens") && words.iter().any(|word| COUNTED.contains(word)) {
        None
    } else if ends(&["token", "jwt", "assertion", "authorization", "authorisation", "bearer"])
        || (ends(&["verifier"]) && before == Some("code"))
        || (word == "code" && matches!(before, Some("device" | "authorization" | "auth")))
        || is_key(word, before, is_last)
        || (is_last && (word.ends_with("auth") || matches!(word, "authentication" | "pat" | "pats")))
    {
        Some(Secret::Token)
    } else if word == "sessionid"
        || word == "sid" && is_last
        || (word == "session"
            && (is_last || (at + 2 == words.len() && matches!(words[at + 1], "id" | "key" | "handle"))))
    {
        Some(Secret::Session)
    } else {
        None
    }
}

/// Whether a word of a name is that of a key: `X-OpenAI-Key`, `AWS_ACCESS_KEY_ID`, `apikey`.
fn is_key(word: &str, before: Option<&str>, is_last: bool) -> bool {
    /// Words that make a key one wherever in the name they stand.
    const SURE: [&str; 6] = ["api", "access", "private", "secret", "auth", "subscription"];
    let Some(kind) = word.strip_suffix("keys").or_else(|| word.strip_suffix("key")) else { return false };
    let kind = if kind.is_empty() { before.unwrap_or_default() } else { kind };
    !OPEN_KEYS.contains(&kind) && (is_last || SURE.contains(&kind))
}
