//! The product that issued a token, as far as its claims give it away. Whoever makes a token may write any claim: this
//! picks advice, and proves nothing.

use serde_json::Value;

use super::token::{Decoded, Report};

/// An authorization server, or a service that is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is its own name: see `Issuer::name`")]
pub enum Issuer {
    Keycloak,
    Entra,
    Okta,
    Auth0,
    Cognito,
    Google,
    GitHub,
    Glewlwyd,
    Authentik,
    Zitadel,
    OryHydra,
    WorkOs,
    Clerk,
    Supabase,
    Descope,
    Stytch,
    Ping,
    FusionAuth,
    Logto,
    Adfs,
    Duende,
    Firebase,
    GithubActions,
    Kubernetes,
}

impl Issuer {
    /// All of them, in the order of the pages.
    pub const ALL: [Self; 24] = [
        Self::Keycloak,
        Self::Entra,
        Self::Okta,
        Self::Auth0,
        Self::Cognito,
        Self::Google,
        Self::GitHub,
        Self::Glewlwyd,
        Self::Authentik,
        Self::Zitadel,
        Self::OryHydra,
        Self::WorkOs,
        Self::Clerk,
        Self::Supabase,
        Self::Descope,
        Self::Stytch,
        Self::Ping,
        Self::FusionAuth,
        Self::Logto,
        Self::Adfs,
        Self::Duende,
        Self::Firebase,
        Self::GithubActions,
        Self::Kubernetes,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keycloak => "Keycloak",
            Self::Entra => "Microsoft Entra ID",
            Self::Okta => "Okta",
            Self::Auth0 => "Auth0",
            Self::Cognito => "Amazon Cognito",
            Self::Google => "Google",
            Self::GitHub => "GitHub",
            Self::Glewlwyd => "Glewlwyd",
            Self::Authentik => "authentik",
            Self::Zitadel => "ZITADEL",
            Self::OryHydra => "Ory Hydra",
            Self::WorkOs => "WorkOS",
            Self::Clerk => "Clerk",
            Self::Supabase => "Supabase",
            Self::Descope => "Descope",
            Self::Stytch => "Stytch",
            Self::Ping => "PingOne",
            Self::FusionAuth => "FusionAuth",
            Self::Logto => "Logto",
            Self::Adfs => "AD FS",
            Self::Duende => "IdentityServer",
            Self::Firebase => "Firebase",
            Self::GithubActions => "GitHub Actions",
            Self::Kubernetes => "Kubernetes",
        }
    }
}

/// Hosts of `iss` that only one service has: the host, or the end of it.
const HOSTS: &[(&str, Issuer)] = &[
    ("login.microsoftonline.com", Issuer::Entra),
    ("login.microsoftonline.us", Issuer::Entra),
    ("login.partner.microsoftonline.cn", Issuer::Entra),
    ("sts.windows.net", Issuer::Entra),
    (".ciamlogin.com", Issuer::Entra),
    (".b2clogin.com", Issuer::Entra),
    (".okta.com", Issuer::Okta),
    (".oktapreview.com", Issuer::Okta),
    (".okta-emea.com", Issuer::Okta),
    (".okta-gov.com", Issuer::Okta),
    (".auth0.com", Issuer::Auth0),
    (".auth0app.com", Issuer::Auth0),
    ("accounts.google.com", Issuer::Google),
    ("securetoken.google.com", Issuer::Firebase),
    ("github.com", Issuer::GitHub),
    ("token.actions.githubusercontent.com", Issuer::GithubActions),
    (".supabase.co", Issuer::Supabase),
    (".clerk.accounts.dev", Issuer::Clerk),
    (".zitadel.cloud", Issuer::Zitadel),
    (".projects.oryapis.com", Issuer::OryHydra),
    ("api.workos.com", Issuer::WorkOs),
    (".authkit.app", Issuer::WorkOs),
    ("api.descope.com", Issuer::Descope),
    (".descope.com", Issuer::Descope),
    ("stytch.com", Issuer::Stytch),
    (".stytch.com", Issuer::Stytch),
    (".customers.stytch.dev", Issuer::Stytch),
    (".pingone.com", Issuer::Ping),
    (".pingone.eu", Issuer::Ping),
    (".pingone.asia", Issuer::Ping),
    (".logto.app", Issuer::Logto),
    (".fusionauth.io", Issuer::FusionAuth),
];

impl Issuer {
    /// The product that issued a token: by the host or path of `iss`, else by claims that only it writes.
    #[must_use]
    pub fn of(token: &Decoded) -> Option<Self> {
        let iss = token.claim_str("iss").or_else(|| token.param_str("iss")).unwrap_or_default();
        Self::by_url(iss).or_else(|| Self::by_claims(token))
    }

    fn by_url(iss: &str) -> Option<Self> {
        let iss = iss.to_ascii_lowercase();
        let rest = iss.split_once("://").map_or(iss.as_str(), |(_, rest)| rest);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let is_of = |known: &str| host == known || (known.starts_with('.') && host.ends_with(known));
        if let Some((_, issuer)) = HOSTS.iter().find(|(known, _)| is_of(known)) {
            return Some(*issuer);
        }
        let rules = [
            (Self::Cognito, host.starts_with("cognito-idp.") && host.contains(".amazonaws.com")),
            (Self::Ping, host.starts_with("auth.pingone.")),
            (Self::Keycloak, path.contains("/realms/")),
            (Self::Authentik, path.contains("/application/o/")),
            (Self::Adfs, path.starts_with("/adfs")),
            (Self::Kubernetes, host.starts_with("kubernetes.default.svc")),
            (Self::Glewlwyd, path.contains("/api/oidc") || path.contains("/api/glwd")),
            (Self::Supabase, path.ends_with("/auth/v1")),
        ];
        rules.into_iter().find_map(|(issuer, fits)| fits.then_some(issuer))
    }

    fn by_claims(token: &Decoded) -> Option<Self> {
        let has = |name: &str| token.has(name);
        let object = |name: &str| token.claim(name).is_some_and(Value::is_object);
        let said = |name: &str, value: &str| token.claim_str(name) == Some(value);
        let starts = |name: &str, start: &str| token.claim_str(name).is_some_and(|text| text.starts_with(start));
        let any = |start: &str| {
            token.payload.as_ref().is_some_and(|payload| payload.members.keys().any(|name| name.starts_with(start)))
        };
        let of_keycloak = ["Bearer", "DPoP", "ID", "Refresh", "Offline", "Logout"];
        let rules = [
            // Keycloak writes the kind of token into a claim, as no other does.
            (Self::Keycloak, token.claim_str("typ").is_some_and(|typ| of_keycloak.contains(&typ))),
            (Self::Keycloak, object("realm_access") || object("resource_access")),
            (Self::Cognito, has("token_use")),
            (Self::Entra, has("tid") && (has("oid") || has("xms_tcdt") || has("uti"))),
            (Self::Zitadel, any("urn:zitadel:iam:")),
            (Self::Firebase, object("firebase")),
            (Self::Kubernetes, object("kubernetes.io")),
            (Self::Descope, has("drn")),
            (Self::Clerk, starts("sid", "sess_") && starts("sub", "user_")),
            (Self::Okta, has("cid") && (has("uid") || (has("scp") && has("ver")))),
            (Self::Auth0, has("gty") || any("https://auth0.com/") || starts("sub", "auth0|")),
            (Self::OryHydra, object("ext") && token.claim("scp").is_some_and(Value::is_array)),
            (Self::FusionAuth, has("applicationId")),
            (Self::Glewlwyd, said("type", "access_token") && has("client_id")),
            (Self::Supabase, has("aal") && object("app_metadata")),
            (Self::Duende, is_static_audience(token)),
        ];
        rules.into_iter().find_map(|(issuer, fits)| fits.then_some(issuer))
    }
}

/// IdentityServer's `EmitStaticAudienceClaim`: `ISSUER/resources`.
fn is_static_audience(token: &Decoded) -> bool {
    let issuer = token.claim_str("iss").unwrap_or_default();
    let is_static = |aud: &str| aud.strip_prefix(issuer.trim_end_matches('/')) == Some("/resources");
    !issuer.is_empty() && token.audience().into_iter().any(is_static)
}

/// The product that issued the token of `report`, by the prefix of an opaque one too.
#[must_use]
pub fn issuer(report: &Report) -> Option<Issuer> {
    let token = &report.token;
    // What is known of a token without claims stands in the evidence of its kind.
    let told = |name: &str| token.payload.is_none() && report.kind_evidence.contains(name);
    Issuer::of(token).or_else(|| {
        [(Issuer::GitHub, " GitHub "), (Issuer::Google, " Google ")]
            .into_iter()
            .find_map(|(issuer, name)| told(name).then_some(issuer))
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::diagnosis::testing::jwt;
    use crate::diagnosis::token::inspect;

    fn of(claims: &Value) -> Option<Issuer> {
        issuer(&inspect(&jwt(claims), Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn issuers_are_known_by_host_path_and_claims() {
        for (claims, expected) in [
            (json!({"iss": "https://login.microsoftonline.com/t/v2.0"}), Some(Issuer::Entra)),
            (json!({"iss": "https://id.example.com/realms/acme"}), Some(Issuer::Keycloak)),
            (json!({"iss": "https://acme.okta.com/oauth2/default"}), Some(Issuer::Okta)),
            (json!({"iss": "https://cognito-idp.eu-west-1.amazonaws.com/x"}), Some(Issuer::Cognito)),
            (json!({"iss": "https://id.example.com/application/o/mcp/"}), Some(Issuer::Authentik)),
            (json!({"iss": "https://acme.example", "urn:zitadel:iam:org:id": "1"}), Some(Issuer::Zitadel)),
            (json!({"iss": "https://securetoken.google.com/p"}), Some(Issuer::Firebase)),
            (json!({"iss": "https://fs.acme.example/adfs"}), Some(Issuer::Adfs)),
            (
                json!({"iss": "https://id.acme.example", "aud": "https://id.acme.example/resources"}),
                Some(Issuer::Duende),
            ),
            (json!({"iss": "accounts.google.com"}), Some(Issuer::Google)),
            (json!({"iss": "https://evil-okta.com/"}), None),
            (json!({"iss": "https://okta.com.evil.example/"}), None),
            (json!({"iss": "https://id.example.com", "sub": "1", "scope": "mcp"}), None),
        ] {
            assert_eq!(of(&claims), expected, "{claims}");
        }
        let opaque = |text: &str| issuer(&inspect(text, Timestamp::UNIX_EPOCH));
        assert_eq!(opaque("Bearer gho_16C7e42F292c6912E7710c838347Ae178B4a"), Some(Issuer::GitHub));
        assert_eq!(opaque("Bearer ya29.a0AfH6SMBxxxxxxxxxxxxxxxxxxxx"), Some(Issuer::Google));
        assert_eq!(opaque("Bearer 0123456789abcdefghijklmnopqrstuvwxyz"), None);
    }
}
