//! Audiences that issuers write where nobody set one for this server, with what each issuer has to be told; and whose own
//! APIs a token may be for.
//!
//! From the issuers' documentation and from reports of their users: wanaku#1527, mcp-gateway-registry#1533 and #1117
//! (Keycloak), supabase/auth#2610, docfork#161 (WorkOS), goauthentik/authentik#14545, fastmcp#3204, tino#24.

use crate::diagnosis::issuers::Issuer;
use crate::diagnosis::token::Decoded;

/// What stands in `aud` where nobody set anything.
pub(super) struct Known {
    /// Who writes it: its remedy is that of [`Topic::Audience`](crate::diagnosis::remedies::Topic::Audience).
    pub(super) issuer: Issuer,
    /// Whose it is, to follow the audience in a sentence.
    pub(super) whose: &'static str,
}

const fn known(issuer: Issuer, whose: &'static str) -> Option<Known> {
    Some(Known { issuer, whose })
}

/// Whether `aud` is one of the clients that every realm of Keycloak has (`realm-management` and its kin get their own
/// roles into tokens, and so themselves into aud: Keycloak, Server Administration, Audience support).
fn is_keycloaks(aud: &str) -> bool {
    matches!(
        aud,
        "account" | "account-console" | "broker" | "realm-management" | "security-admin-console" | "admin-cli"
    ) || aud.ends_with("-realm")
}

/// The default that `aud` is, if it is one.
pub(super) fn default(aud: &str, token: &Decoded) -> Option<Known> {
    const KEYCLOAK: Option<Known> =
        known(Issuer::Keycloak, "a client that every Keycloak realm has, not this server: no audience mapper names it");
    let by_issuer = match Issuer::of(token) {
        Some(Issuer::Keycloak) if is_keycloaks(aud) => KEYCLOAK,
        Some(Issuer::WorkOs) if aud.starts_with("client_") => {
            known(Issuer::WorkOs, "the WorkOS environment, not this server")
        }
        Some(Issuer::Descope) if token.claim_str("iss").is_some_and(|iss| iss.ends_with(aud)) => {
            known(Issuer::Descope, "the Descope project, not this server")
        }
        Some(Issuer::Duende) if aud.ends_with("/resources") => {
            known(Issuer::Duende, "IdentityServer's audience for all of its APIs (EmitStaticAudienceClaim)")
        }
        Some(Issuer::FusionAuth) if token.claim_str("applicationId") == Some(aud) => {
            known(Issuer::FusionAuth, "the FusionAuth application, which is the client")
        }
        Some(Issuer::GithubActions) if aud.starts_with("https://github.com/") => {
            known(Issuer::GithubActions, "what GitHub Actions writes where no audience was asked for")
        }
        _ => None,
    };
    // These mean the same wherever the issuer's URL is the customer's own.
    by_issuer.or_else(|| match aud {
        "account" => KEYCLOAK,
        "api://default" => {
            known(Issuer::Okta, "what Okta's authorization server `default` writes for every application")
        }
        "authenticated" => known(Issuer::Supabase, "what Supabase Auth writes for everybody who is logged in"),
        _ if aud.starts_with("microsoft:identityserver:") => {
            known(Issuer::Adfs, "the AD FS client itself: it asked for no resource")
        }
        _ => None,
    })
}

/// An API of an identity provider, by a URL or id in `aud`.
struct Api {
    /// What it is called.
    name: &'static str,
    /// How `aud` begins.
    begins: &'static [&'static str],
}

/// APIs of providers that tokens are for where a client did not say what it wants, and resource ids of Microsoft's own
/// (Microsoft identity platform, Application IDs of commonly used Microsoft applications).
const APIS: &[Api] = &[
    Api {
        name: "Microsoft Graph",
        begins: &["https://graph.microsoft.com", "https://graph.microsoft.us", "00000003-0000-0000-c000-"],
    },
    Api { name: "Azure AD Graph", begins: &["https://graph.windows.net", "00000002-0000-0000-c000-"] },
    Api {
        name: "Azure Resource Manager",
        begins: &["https://management.azure.com", "https://management.core.windows.net", "797f4846-ba00-4fd7-ba43-"],
    },
    Api {
        name: "another API of Microsoft",
        begins: &[
            "https://vault.azure.net",
            "https://storage.azure.com",
            "https://database.windows.net",
            "https://cognitiveservices.azure.com",
            "https://ai.azure.com",
            "https://outlook.office",
            "499b84ac-1321-427f-aa17-267ca6975798",
            "00000002-0000-0ff1-ce00-",
            "00000003-0000-0ff1-ce00-",
        ],
    },
    Api { name: "AD FS UserInfo", begins: &["urn:microsoft:userinfo"] },
    Api { name: "the PingOne API", begins: &["https://api.pingone."] },
    Api { name: "the Kubernetes API", begins: &["https://kubernetes.default.svc", "https://kubernetes.default"] },
];

/// The identity provider's own API that `aud` is, if it is one.
pub(super) fn providers_api(aud: &str, token: &Decoded) -> Option<&'static str> {
    if let Some(api) = APIS.iter().find(|api| api.begins.iter().any(|begin| aud.starts_with(begin))) {
        return Some(api.name);
    }
    let issuer = token.claim_str("iss").unwrap_or_default();
    let same = |url: &str| url.trim_end_matches('/') == aud.trim_end_matches('/');
    match Issuer::of(token) {
        Some(Issuer::Auth0) if aud.ends_with("/api/v2/") || aud.ends_with("/api/v2") => {
            Some("the Auth0 Management API")
        }
        // An organisation's own authorization server; those for APIs have /oauth2/ID in their issuer.
        Some(Issuer::Okta) if same(issuer) && !issuer.contains("/oauth2/") => Some("Okta's own API"),
        _ if aud.ends_with("/userinfo") => Some("UserInfo"),
        _ => None,
    }
}

/// Why there is no audience, where that is usual with the issuer.
pub(super) fn usually_none(token: &Decoded) -> Option<&'static str> {
    Some(match Issuer::of(token)? {
        Issuer::Cognito => {
            "Cognito writes none into access tokens where no resource was asked for: compare client_id and scope"
        }
        Issuer::Keycloak => "Keycloak writes none without an audience mapper: add one with this server's URL",
        Issuer::Clerk => "Clerk writes none of its own: compare iss and azp or client_id",
        Issuer::WorkOs => {
            "WorkOS writes none or its environment's without a resource indicator: add this server's URL in its dashboard"
        }
        _ => return None,
    })
}

/// Whether the audience is made of the scopes: Glewlwyd writes them where no resource was asked for, Cloud Foundry's UAA
/// the parts of them before the dot, and the client.
pub(super) fn is_made_of_scopes(token: &Decoded) -> bool {
    let (audience, scopes) = (token.audience(), token.scopes().unwrap_or_default());
    let client = token.client().map(|(_, client)| client);
    let whole = token.claim_str("scope");
    let is_scope = |aud: &str| {
        whole == Some(aud)
            || scopes.iter().any(|scope| *scope == aud || scope.rsplit_once('.').is_some_and(|(part, _)| part == aud))
    };
    let mut some = false;
    let all = audience.iter().all(|aud| {
        let scope = !aud.contains("://") && is_scope(aud);
        some |= scope;
        scope || client == Some(aud)
    });
    some && all
}
