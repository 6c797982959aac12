//! What a token is for: access, identity, refresh, proof, a gateway's word; and by what one can tell.

use super::facts::{Binding, Facts};
use super::format::Format;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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

impl Kind {
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
}

/// `typ` values that settle the question, without `application/`, with what they are.
const TYPES: &[(&str, Kind, &str)] = &[
    ("at+jwt", Kind::AccessToken, "JWT access token (RFC 9068 section 2.1)"),
    ("dpop+jwt", Kind::DpopProof, "DPoP proof (RFC 9449 section 4.2)"),
    ("logout+jwt", Kind::LogoutToken, "logout token (OpenID Connect Back-Channel Logout section 2.4)"),
    ("secevent+jwt", Kind::SecurityEvent, "security event token (RFC 8417 section 2.3)"),
    (
        "oauth-id-jag+jwt",
        Kind::Assertion,
        "identity assertion grant: to be exchanged at the authorization server, never sent to a resource",
    ),
    ("client-authentication+jwt", Kind::Assertion, "client authentication for the token endpoint"),
    ("oauth-client-attestation+jwt", Kind::Assertion, "client attestation for the authorization server"),
    ("oauth-client-attestation-pop+jwt", Kind::Assertion, "proof of possession for a client attestation"),
    ("oauth-authz-req+jwt", Kind::Assertion, "signed authorization request (RFC 9101)"),
    ("token-introspection+jwt", Kind::Unknown, "introspection response (RFC 9701): it tells of a token and is none"),
    ("dc+sd-jwt", Kind::Credential, "SD-JWT credential"),
    ("vc+sd-jwt", Kind::Credential, "SD-JWT credential (older name)"),
    ("kb+jwt", Kind::Credential, "key binding of an SD-JWT"),
    ("vc+jwt", Kind::Credential, "verifiable credential"),
    ("openid4vci-proof+jwt", Kind::Credential, "proof for a credential request"),
    ("entity-statement+jwt", Kind::Unknown, "OpenID Federation entity statement"),
    ("statuslist+jwt", Kind::Unknown, "status list for credentials"),
    ("id_token+jwt", Kind::IdToken, "ID token"),
];

/// What `typ` says, if it says anything that is known.
pub(super) fn by_typ(typ: &str) -> Option<(Kind, &'static str)> {
    TYPES.iter().find(|(name, ..)| *name == typ).map(|(_, kind, meaning)| (*kind, *meaning))
}

/// Tells a token's kind, with a sentence on the evidence.
pub(super) fn classify(facts: &Facts) -> (Kind, String) {
    match facts.format {
        Format::Basic => return (Kind::Password, "Basic credentials carry a user name and a password".to_owned()),
        Format::Jwe | Format::JweJson => {
            return (Kind::Unknown, "the claims are encrypted: only the holder of the key can tell".to_owned());
        }
        _ if facts.header.is_none() && facts.payload.is_none() => {
            return (Kind::Unknown, "there is nothing to tell it by".to_owned());
        }
        _ => {}
    }
    if let Some((kind, meaning)) = facts.typ().as_deref().and_then(by_typ) {
        return (kind, format!("the header's typ says so: {meaning}"));
    }
    [gateway, by_token_use, by_events, refresh, id_token, access_token, proof_without_typ, self_issued, entra]
        .into_iter()
        .find_map(|rule| rule(facts))
        .unwrap_or_else(|| (Kind::Unknown, no_evidence(facts).to_owned()))
}

fn no_evidence(facts: &Facts) -> &'static str {
    if facts.payload.is_none() {
        "without claims there is nothing to tell it by"
    } else {
        "nothing in it says what it is for: no typ such as at+jwt, no scope, no nonce"
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every rule answers with an Option")]
fn said(kind: Kind, evidence: impl Into<String>) -> Option<(Kind, String)> {
    Some((kind, evidence.into()))
}

fn gateway(facts: &Facts) -> Option<(Kind, String)> {
    let issuer = facts.claim_str("iss").or_else(|| facts.param_str("iss")).unwrap_or_default();
    let signer = facts.param_str("signer").unwrap_or_default();
    if signer.starts_with("arn:aws") {
        return said(
            Kind::GatewayAssertion,
            "AWS load balancer: the header names its ARN as signer (X-Amzn-Oidc-Data)",
        );
    }
    if issuer == "https://cloud.google.com/iap" {
        return said(
            Kind::GatewayAssertion,
            "Google IAP: iss is https://cloud.google.com/iap (X-Goog-Iap-Jwt-Assertion)",
        );
    }
    if issuer.trim_end_matches('/').ends_with(".cloudflareaccess.com") {
        return said(
            Kind::GatewayAssertion,
            "Cloudflare Access: iss is a cloudflareaccess.com team (Cf-Access-Jwt-Assertion)",
        );
    }
    let host = |text: &str| text.contains('.') && !text.contains("://") && !text.contains(char::is_whitespace);
    if facts.alg() == Some("ES256") && host(issuer) && facts.audience() == [issuer] && facts.has("sub") {
        return said(
            Kind::GatewayAssertion,
            "Pomerium, most likely: ES256, and iss and aud are the same bare host (X-Pomerium-Jwt-Assertion)",
        );
    }
    None
}

fn by_token_use(facts: &Facts) -> Option<(Kind, String)> {
    match facts.claim_str("token_use")? {
        "access" => said(Kind::AccessToken, "token_use is access (AWS Cognito)"),
        "id" => said(Kind::IdToken, "token_use is id (AWS Cognito)"),
        _ => None,
    }
}

fn by_events(facts: &Facts) -> Option<(Kind, String)> {
    let events = facts.claim("events")?.as_object()?;
    if events.contains_key("http://schemas.openid.net/event/backchannel-logout") {
        return said(
            Kind::LogoutToken,
            "events holds backchannel-logout (OpenID Connect Back-Channel Logout section 2.4)",
        );
    }
    said(Kind::SecurityEvent, "it has an events claim (RFC 8417 section 2.2)")
}

fn refresh(facts: &Facts) -> Option<(Kind, String)> {
    let typ = facts.claim_str("typ")?;
    match typ {
        "Refresh" | "Offline" => said(Kind::RefreshToken, format!("the typ claim is {typ} (Keycloak)")),
        "ID" => said(Kind::IdToken, "the typ claim is ID (Keycloak)"),
        "Bearer" | "DPoP" => said(Kind::AccessToken, format!("the typ claim is {typ} (Keycloak)")),
        "Logout" => said(Kind::LogoutToken, "the typ claim is Logout (Keycloak)"),
        _ => None,
    }
    .or_else(|| {
        let use_claim = facts.claim_str("token_type").or_else(|| facts.claim_str("type"))?;
        use_claim.eq_ignore_ascii_case("refresh").then(|| (Kind::RefreshToken, "its type claim is refresh".to_owned()))
    })
}

fn id_token(facts: &Facts) -> Option<(Kind, String)> {
    let hash = ["at_hash", "c_hash", "s_hash"].into_iter().find(|name| facts.has(name));
    if let Some(hash) = hash {
        return said(
            Kind::IdToken,
            format!("it has {hash}, which only ID tokens have (OpenID Connect Core section 3)"),
        );
    }
    let scoped = facts.scopes().is_some();
    if facts.has("nonce") && !scoped {
        return said(Kind::IdToken, "it has a nonce and no scope (OpenID Connect Core section 2)");
    }
    if facts.audience_is_client() && !scoped {
        let (claim, _) = facts.client()?;
        return said(Kind::IdToken, format!("aud is the client itself ({claim}) and there is no scope"));
    }
    if facts.has("auth_time") && !scoped && facts.client().is_none() {
        return said(Kind::IdToken, "it has auth_time and neither scope nor client_id");
    }
    None
}

fn access_token(facts: &Facts) -> Option<(Kind, String)> {
    if facts.scopes().is_some() {
        return match facts.client() {
            Some((claim, _)) => said(Kind::AccessToken, format!("it has scopes and a client ({claim})")),
            None => said(Kind::AccessToken, "it has scopes"),
        };
    }
    if facts.has("permissions") && facts.client().is_some() {
        return said(Kind::AccessToken, "it has permissions and a client (Auth0)");
    }
    match facts.binding() {
        Some(Binding::Dpop(_)) => said(Kind::AccessToken, "cnf.jkt binds it to a DPoP key (RFC 9449 section 6)"),
        Some(Binding::Certificate) => said(Kind::AccessToken, "cnf binds it to a TLS certificate (RFC 8705 section 3)"),
        _ => None,
    }
}

fn proof_without_typ(facts: &Facts) -> Option<(Kind, String)> {
    if facts.has("htm") && facts.has("htu") {
        return said(
            Kind::DpopProof,
            "it has htm and htu, though its typ is not dpop+jwt (RFC 9449 section 4.2 requires that)",
        );
    }
    None
}

fn self_issued(facts: &Facts) -> Option<(Kind, String)> {
    let issuer = facts.claim_str("iss")?;
    if facts.claim_str("sub") == Some(issuer) && facts.has("aud") && facts.has("exp") {
        return said(
            Kind::Assertion,
            "iss and sub are the same: a client or service account made it itself (RFC 7523 section 3), for a token \
             endpoint as a rule",
        );
    }
    None
}

fn entra(facts: &Facts) -> Option<(Kind, String)> {
    if facts.has("idtyp") || (facts.has("appid") && facts.has("ver")) || (facts.has("azp") && facts.has("roles")) {
        return said(Kind::AccessToken, "it names the application and what it may do (appid, azp, roles)");
    }
    facts.client().filter(|_| facts.has("aud") && !facts.audience_is_client()).and_then(|(claim, _)| {
        said(Kind::AccessToken, format!("it was issued to a client ({claim}) for another audience"))
    })
}
