//! What a token is for: access, identity, refresh, proof, a gateway's word; and by what one can tell.

use super::decoded::{Binding, Decoded};
use super::format::Format;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// OAuth access token: what a resource server wants.
    AccessToken,
    /// OpenID Connect ID token: for the client only.
    IdToken,
    /// For the token endpoint only.
    RefreshToken,
    /// DPoP proof (RFC 9449): goes with an access token.
    DpopProof,
    /// What an identity-aware proxy says to the backend.
    GatewayAssertion,
    /// OpenID Connect back-channel logout token.
    LogoutToken,
    /// Security event token (RFC 8417).
    SecurityEvent,
    /// Client authentication or a JWT grant (RFC 7523, ID-JAG): for the token endpoint only.
    Assertion,
    /// A verifiable credential.
    Credential,
    /// A vendor's API key or other secret.
    ApiKey,
    /// User name and password.
    Password,
    /// Cannot be told.
    Unknown,
}

impl TokenKind {
    /// Every kind, for schemas.
    pub const ALL: [Self; 12] = [
        Self::AccessToken,
        Self::IdToken,
        Self::RefreshToken,
        Self::DpopProof,
        Self::GatewayAssertion,
        Self::LogoutToken,
        Self::SecurityEvent,
        Self::Assertion,
        Self::Credential,
        Self::ApiKey,
        Self::Password,
        Self::Unknown,
    ];

    /// Its name in structured form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "access-token",
            Self::IdToken => "id-token",
            Self::RefreshToken => "refresh-token",
            Self::DpopProof => "dpop-proof",
            Self::GatewayAssertion => "gateway-assertion",
            Self::LogoutToken => "logout-token",
            Self::SecurityEvent => "security-event",
            Self::Assertion => "assertion",
            Self::Credential => "credential",
            Self::ApiKey => "api-key",
            Self::Password => "password",
            Self::Unknown => "unknown",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::AccessToken => "access token",
            Self::IdToken => "ID token",
            Self::RefreshToken => "refresh token",
            Self::DpopProof => "DPoP proof",
            Self::GatewayAssertion => "gateway assertion",
            Self::LogoutToken => "logout token",
            Self::SecurityEvent => "security event token",
            Self::Assertion => "assertion",
            Self::Credential => "verifiable credential",
            Self::ApiKey => "API key",
            Self::Password => "user name and password",
            Self::Unknown => "unknown",
        }
    }

    /// Why a token of this kind gives access to nothing, and what to do with it; `None` for one that may.
    #[must_use]
    pub const fn why_wrong(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::RefreshToken => Some((
                "it goes to the token endpoint and nowhere else",
                "send the access_token of the token endpoint's answer; with this one ask that endpoint for the next \
                 (grant_type=refresh_token)",
            )),
            Self::DpopProof => Some((
                "it goes into the DPoP header, beside the access token",
                "send `Authorization: DPoP ACCESS-TOKEN` and this proof as `DPoP: PROOF`",
            )),
            Self::LogoutToken => Some((
                "it tells that somebody logged out",
                "have the issuer send it to the back-channel logout URI of the client, and send the access token here",
            )),
            Self::SecurityEvent => Some((
                "it tells of an event",
                "have it sent to the receiver of such events, and send the access token here",
            )),
            Self::Assertion => Some((
                "it goes to the authorization server, which gives an access token for it",
                "exchange it at the token endpoint and send the access_token of the answer",
            )),
            Self::Credential => Some((
                "it is shown to a verifier of credentials, who gives an access token for it",
                "present it where it is asked for, and send the access token that comes of it",
            )),
            _ => None,
        }
    }
}

/// `typ` values that settle the question, without `application/`, with what they are.
const TYPES: &[(&str, TokenKind, &str)] = &[
    ("at+jwt", TokenKind::AccessToken, "JWT access token (RFC 9068 section 2.1)"),
    ("dpop+jwt", TokenKind::DpopProof, "DPoP proof (RFC 9449 section 4.2)"),
    ("logout+jwt", TokenKind::LogoutToken, "logout token (OpenID Connect Back-Channel Logout section 2.4)"),
    ("secevent+jwt", TokenKind::SecurityEvent, "security event token (RFC 8417 section 2.3)"),
    (
        "oauth-id-jag+jwt",
        TokenKind::Assertion,
        "identity assertion grant: to be exchanged at the authorization server, never sent to a resource",
    ),
    ("client-authentication+jwt", TokenKind::Assertion, "client authentication for the token endpoint"),
    ("oauth-client-attestation+jwt", TokenKind::Assertion, "client attestation for the authorization server"),
    ("oauth-client-attestation-pop+jwt", TokenKind::Assertion, "proof of possession for a client attestation"),
    ("oauth-authz-req+jwt", TokenKind::Assertion, "signed authorization request (RFC 9101)"),
    (
        "token-introspection+jwt",
        TokenKind::Unknown,
        "introspection response (RFC 9701): it tells of a token and is none",
    ),
    ("dc+sd-jwt", TokenKind::Credential, "SD-JWT credential"),
    ("vc+sd-jwt", TokenKind::Credential, "SD-JWT credential (older name)"),
    ("kb+jwt", TokenKind::Credential, "key binding of an SD-JWT"),
    ("vc+jwt", TokenKind::Credential, "verifiable credential"),
    ("openid4vci-proof+jwt", TokenKind::Credential, "proof for a credential request"),
    ("entity-statement+jwt", TokenKind::Unknown, "OpenID Federation entity statement"),
    ("statuslist+jwt", TokenKind::Unknown, "status list for credentials"),
    ("id_token+jwt", TokenKind::IdToken, "ID token"),
];

/// What `typ` says, if it says anything that is known.
pub(super) fn by_typ(typ: &str) -> Option<(TokenKind, &'static str)> {
    TYPES.iter().find(|(name, ..)| *name == typ).map(|(_, kind, meaning)| (*kind, *meaning))
}

/// Tells a token's kind, with a sentence on the evidence.
pub(super) fn classify(token: &Decoded) -> (TokenKind, String) {
    match token.format {
        Format::Basic => return (TokenKind::Password, "Basic credentials carry a user name and a password".to_owned()),
        Format::Jwe | Format::JweJson => return encrypted(token),
        _ if token.header.is_none() && token.payload.is_none() => {
            return (TokenKind::Unknown, "there is nothing to tell it by".to_owned());
        }
        _ => {}
    }
    if let Some((kind, meaning)) = token.typ().as_deref().and_then(by_typ) {
        return (kind, format!("the header's typ says so: {meaning}"));
    }
    [gateway, google, by_token_use, by_events, refresh, id_token, access_token, proof_without_typ, self_issued, entra]
        .into_iter()
        .find_map(|rule| rule(token))
        .unwrap_or_else(|| (TokenKind::Unknown, no_evidence(token).to_owned()))
}

/// What an encrypted token's header says (RFC 7516 section 4.1, RFC 7519 section 5.3).
fn encrypted(token: &Decoded) -> (TokenKind, String) {
    if let Some((kind, meaning)) = token.typ().as_deref().and_then(by_typ) {
        return (kind, format!("the claims are encrypted; the header's typ says so: {meaning}"));
    }
    if token.is_for_its_issuer() {
        return (
            TokenKind::AccessToken,
            "it is encrypted with its issuer's own secret (dir, iss and nothing else in the header): Auth0's access token \
             for UserInfo"
                .to_owned(),
        );
    }
    (TokenKind::Unknown, "the claims are encrypted: only the holder of the key can tell".to_owned())
}

fn no_evidence(token: &Decoded) -> &'static str {
    if token.payload.is_none() {
        "without claims there is nothing to tell it by"
    } else {
        "nothing in it says what it is for: no typ such as at+jwt, no scope, no nonce"
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every rule answers with an Option")]
fn said(kind: TokenKind, evidence: impl Into<String>) -> Option<(TokenKind, String)> {
    Some((kind, evidence.into()))
}

fn gateway(token: &Decoded) -> Option<(TokenKind, String)> {
    let issuer = token.claim_str("iss").or_else(|| token.param_str("iss")).unwrap_or_default();
    let signer = token.param_str("signer").unwrap_or_default();
    if signer.starts_with("arn:aws") {
        return said(
            TokenKind::GatewayAssertion,
            "AWS load balancer: the header names its ARN as signer (X-Amzn-Oidc-Data)",
        );
    }
    if issuer == "https://cloud.google.com/iap" {
        return said(
            TokenKind::GatewayAssertion,
            "Google IAP: iss is https://cloud.google.com/iap (X-Goog-Iap-Jwt-Assertion)",
        );
    }
    if issuer.trim_end_matches('/').ends_with(".cloudflareaccess.com") {
        return said(
            TokenKind::GatewayAssertion,
            "Cloudflare Access: iss is a cloudflareaccess.com team (Cf-Access-Jwt-Assertion)",
        );
    }
    let host = |text: &str| text.contains('.') && !text.contains("://") && !text.contains(char::is_whitespace);
    if token.alg() == Some("ES256") && host(issuer) && token.audience() == [issuer] && token.has("sub") {
        return said(
            TokenKind::GatewayAssertion,
            "Pomerium, most likely: ES256, and iss and aud are the same bare host (X-Pomerium-Jwt-Assertion)",
        );
    }
    None
}

/// Google's access tokens are opaque (Google Identity, Token types): its JWTs are ID tokens, those of service accounts too.
fn google(token: &Decoded) -> Option<(TokenKind, String)> {
    if token.is_signature_removed() {
        return said(
            TokenKind::IdToken,
            "Cloud Run took the signature off after it had checked this ID token of Google's",
        );
    }
    let issuer = token.claim_str("iss")?.trim_start_matches("https://");
    match issuer {
        "accounts.google.com" => {
            said(TokenKind::IdToken, "iss is accounts.google.com: Google's access tokens are no JWTs")
        }
        _ if issuer.starts_with("securetoken.google.com/") => {
            said(TokenKind::IdToken, "iss is securetoken.google.com: Firebase gives out ID tokens")
        }
        _ => None,
    }
}

fn by_token_use(token: &Decoded) -> Option<(TokenKind, String)> {
    match token.claim_str("token_use")? {
        "access" => said(TokenKind::AccessToken, "token_use is access (AWS Cognito)"),
        "id" => said(TokenKind::IdToken, "token_use is id (AWS Cognito)"),
        _ => None,
    }
}

fn by_events(token: &Decoded) -> Option<(TokenKind, String)> {
    let events = token.claim("events")?.as_object()?;
    if events.contains_key("http://schemas.openid.net/event/backchannel-logout") {
        return said(
            TokenKind::LogoutToken,
            "events holds backchannel-logout (OpenID Connect Back-Channel Logout section 2.4)",
        );
    }
    said(TokenKind::SecurityEvent, "it has an events claim (RFC 8417 section 2.2)")
}

fn refresh(token: &Decoded) -> Option<(TokenKind, String)> {
    let typ = token.claim_str("typ")?;
    match typ {
        "Refresh" | "Offline" => said(TokenKind::RefreshToken, format!("the typ claim is {typ} (Keycloak)")),
        "ID" => said(TokenKind::IdToken, "the typ claim is ID (Keycloak)"),
        "Bearer" | "DPoP" => said(TokenKind::AccessToken, format!("the typ claim is {typ} (Keycloak)")),
        "Logout" => said(TokenKind::LogoutToken, "the typ claim is Logout (Keycloak)"),
        _ => None,
    }
    .or_else(|| {
        let use_claim = token.claim_str("token_type").or_else(|| token.claim_str("type"))?;
        use_claim
            .eq_ignore_ascii_case("refresh")
            .then(|| (TokenKind::RefreshToken, "its type claim is refresh".to_owned()))
    })
}

fn id_token(token: &Decoded) -> Option<(TokenKind, String)> {
    let hash = ["at_hash", "c_hash", "s_hash"].into_iter().find(|name| token.has(name));
    if let Some(hash) = hash {
        return said(
            TokenKind::IdToken,
            format!("it has {hash}, which only ID tokens have (OpenID Connect Core section 3)"),
        );
    }
    let scoped = token.scopes().is_some();
    if token.has("nonce") && !scoped {
        return said(TokenKind::IdToken, "it has a nonce and no scope (OpenID Connect Core section 2)");
    }
    if token.audience_is_client() && !scoped {
        let (claim, _) = token.client()?;
        return said(TokenKind::IdToken, format!("aud is the client itself ({claim}) and there is no scope"));
    }
    if token.has("auth_time") && !scoped && token.client().is_none() {
        return said(TokenKind::IdToken, "it has auth_time and neither scope nor client_id");
    }
    None
}

fn access_token(token: &Decoded) -> Option<(TokenKind, String)> {
    if token.scopes().is_some() {
        return match token.client() {
            Some((claim, _)) => said(TokenKind::AccessToken, format!("it has scopes and a client ({claim})")),
            None => said(TokenKind::AccessToken, "it has scopes"),
        };
    }
    if token.has("permissions") && token.client().is_some() {
        return said(TokenKind::AccessToken, "it has permissions and a client (Auth0)");
    }
    match token.binding() {
        Some(Binding::Dpop(_)) => said(TokenKind::AccessToken, "cnf.jkt binds it to a DPoP key (RFC 9449 section 6)"),
        Some(Binding::Certificate) => {
            said(TokenKind::AccessToken, "cnf binds it to a TLS certificate (RFC 8705 section 3)")
        }
        _ => None,
    }
}

fn proof_without_typ(token: &Decoded) -> Option<(TokenKind, String)> {
    if token.has("htm") && token.has("htu") {
        return said(
            TokenKind::DpopProof,
            "it has htm and htu, though its typ is not dpop+jwt (RFC 9449 section 4.2 requires that)",
        );
    }
    None
}

fn self_issued(token: &Decoded) -> Option<(TokenKind, String)> {
    let issuer = token.claim_str("iss")?;
    if token.claim_str("sub") == Some(issuer) && token.has("aud") && token.has("exp") {
        return said(
            TokenKind::Assertion,
            "iss and sub are the same: a client or service account made it itself (RFC 7523 section 3), for a token \
             endpoint as a rule",
        );
    }
    None
}

fn entra(token: &Decoded) -> Option<(TokenKind, String)> {
    if token.has("idtyp") || (token.has("appid") && token.has("ver")) || (token.has("azp") && token.has("roles")) {
        return said(TokenKind::AccessToken, "it names the application and what it may do (appid, azp, roles)");
    }
    token.client().filter(|_| token.has("aud") && !token.audience_is_client()).and_then(|(claim, _)| {
        said(TokenKind::AccessToken, format!("it was issued to a client ({claim}) for another audience"))
    })
}
