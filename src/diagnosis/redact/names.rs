//! What a name says of its value: of headers, parameters, JSON keys and environment variables alike.

/// What a secret is, which decides how much of it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    /// `scheme credentials`, as in `Authorization`.
    Credentials,
    /// `name=value; name=value`
    Cookies,
    /// `name=value; attribute; attribute`
    SetCookie,
    /// A session id.
    Session,
    /// A token or key: its beginning tells what it is.
    Token,
    /// A password, client secret or signature: nothing of it is shown.
    Hidden,
}

/// Secrets whose names do not say so. `DPoP` is a proof that can be replayed while it is fresh (RFC 9449 section 11.1);
/// `X-Amzn-Oidc-Data` is the JWT of an AWS load balancer.
const TOKENS: [&str; 7] =
    ["dpop", "x-amzn-oidc-data", "cf-authorization", "x-auth", "x-auth-key", "client-key", "x-key"];

/// Names with a telling word in them whose values are public: lists of header names, metadata, ids.
const OPEN: [&str; 10] = [
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
];

/// Claims that a proxy copied into headers of their own: shown, because comparing them is the diagnosis.
const OPEN_PREFIXES: [&str; 4] = ["x-jwt-claim-", "x-pomerium-claim-", "oidc-claim-", "x-authentik-meta-"];

/// A name that ends with one of these describes a secret and is none: `token_type`, `X-Ms-Token-Aad-Expires-On`.
const QUALIFIERS: [&str; 22] = [
    "-type",
    "-endpoint",
    "-expires",
    "-expires-on",
    "-expires-in",
    "-expiry",
    "-ttl",
    "-timeout",
    "-interval",
    "-binding",
    "-length",
    "-limit",
    "-remaining",
    "-method",
    "-methods",
    "-methods-supported",
    "-alg",
    "-algorithm",
    "-issuer",
    "-lifetime",
    "-count",
    "-enabled",
];

/// Words that may stand before `key` in the name of a secret: `X-Api-Key`, `AWS_ACCESS_KEY_ID`, `private_key`. Other
/// keys are none (`Idempotency-Key`, `Sec-WebSocket-Key`).
const KEYS: [&str; 14] = [
    "api",
    "access",
    "private",
    "secret",
    "auth",
    "subscription",
    "functions",
    "encryption",
    "signing",
    "license",
    "master",
    "account",
    "shared",
    "service",
];

/// Whether values under this name are secrets: headers (RFC 9110 section 11 and the products of
/// [`super::super::products`]), URI parameters, JSON keys, variables. In any case, with `-` or `_`.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    secret(name).is_some()
}

/// What kind of secret values under this name are.
pub(super) fn secret(name: &str) -> Option<Secret> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let name = name.as_str();
    if TOKENS.contains(&name) {
        return Some(Secret::Token);
    }
    if OPEN.contains(&name)
        || OPEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || QUALIFIERS.iter().any(|ending| name.ends_with(ending))
    {
        return None;
    }
    let words: Vec<&str> = name.split(['-', '.']).collect();
    let said = words
        .iter()
        .enumerate()
        .filter_map(|(i, word)| of_word(word, i.checked_sub(1).map(|i| words[i]), words.get(i + 1).copied()));
    said.max_by_key(|kind| strength(*kind))
}

/// What one word of a name says. Endings count (`X-Amzn-Oidc-Accesstoken`, `clientSecret`), beginnings do not
/// (`X-Tokenizer`), nor do claims' key sets (`jwks`).
fn of_word(word: &str, before: Option<&str>, after: Option<&str>) -> Option<Secret> {
    let ends = |endings: &[&str]| {
        endings.iter().any(|e| word.ends_with(e) || word.strip_suffix('s').is_some_and(|w| w.ends_with(e)))
    };
    if ends(&["password", "passwd", "passphrase", "secret", "credential", "signature"]) || matches!(word, "pwd" | "otp")
    {
        Some(Secret::Hidden)
    } else if ends(&["authorization"]) {
        Some(Secret::Credentials)
    } else if ends(&["cookie"]) {
        Some(if before == Some("set") { Secret::SetCookie } else { Secret::Cookies })
    } else if ends(&["token", "jwt", "assertion", "apikey", "accesskey", "privatekey"])
        || (ends(&["verifier"]) && before == Some("code"))
        || (matches!(word, "key" | "keys") && before.is_some_and(|before| KEYS.contains(&before)))
    {
        Some(Secret::Token)
    } else if word == "sessionid" || (word == "session" && matches!(after, None | Some("id" | "key" | "handle"))) {
        Some(Secret::Session)
    } else {
        None
    }
}

/// Where a name says two things (`X-Session-Token`, `X-Token-Secret`), the one that shows less wins.
const fn strength(kind: Secret) -> u8 {
    match kind {
        Secret::Session => 0,
        Secret::Token => 1,
        Secret::SetCookie => 2,
        Secret::Cookies => 3,
        Secret::Credentials => 4,
        Secret::Hidden => 5,
    }
}
