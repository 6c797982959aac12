//! What scopes, permissions and roles are for: a login, another API, or perhaps this server.

use crate::diagnosis::token::Decoded;

/// Scopes that let somebody log in and tell who it is: OpenID Connect Core sections 5.4 and 11, and what Keycloak, Okta,
/// Hydra, Authelia, Cognito and Google add by default.
const LOGIN: [&str; 25] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    "offline_access",
    "offline",
    "online_access",
    "groups",
    "roles",
    "acr",
    "basic",
    "web-origins",
    "microprofile-jwt",
    "service_account",
    "organization",
    "device_sso",
    "username",
    "federated:id",
    "aws.cognito.signin.user.admin",
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/userinfo.profile",
    "https://graph.microsoft.com/openid",
    "https://graph.microsoft.com/profile",
    "https://graph.microsoft.com/email",
];

/// Whether it only lets somebody log in.
pub(super) fn is_login(scope: &str) -> bool {
    LOGIN.contains(&scope) || scope.starts_with("urn:zitadel:") || scope.starts_with("urn:iam:")
}

/// The first words of Microsoft Graph's permissions: `Mail.Read`, `User.ReadBasic.All` (Microsoft Graph permissions
/// reference). Names of other APIs have the same form, so only these count.
const GRAPH: [&str; 16] = [
    "User",
    "Mail",
    "Files",
    "Sites",
    "Calendars",
    "Contacts",
    "Directory",
    "Group",
    "GroupMember",
    "Team",
    "Channel",
    "Chat",
    "ChannelMessage",
    "People",
    "Notes",
    "Presence",
];

/// The API that a scope is known to belong to.
pub(super) fn api(scope: &str) -> Option<&'static str> {
    let graph = || {
        scope.split_once('.').is_some_and(|(first, rest)| {
            GRAPH.contains(&first) && ["Read", "Send", "Create", "Manage"].iter().any(|verb| rest.starts_with(verb))
        })
    };
    if scope.starts_with("https://graph.microsoft.com/") || graph() {
        Some("Microsoft Graph")
    } else if scope.starts_with("https://www.googleapis.com/auth/") || scope == "https://mail.google.com/" {
        Some("Google")
    } else if scope.strip_prefix("okta.").is_some_and(|rest| rest.contains('.')) {
        Some("Okta")
    } else {
        None
    }
}

/// Whether a scope, permission or role may be one of this server's.
pub(super) fn has_own(token: &Decoded) -> bool {
    let own = |claim: &str, value: &str| match claim {
        "scope" | "scp" => !is_login(value) && api(value).is_none(),
        // Roles that every realm of Keycloak gives to everybody.
        "realm_access.roles" => {
            !matches!(value, "offline_access" | "uma_authorization") && !value.starts_with("default-roles-")
        }
        _ => true,
    };
    token.grants().iter().any(|grants| grants.values.iter().any(|value| own(grants.claim, value)))
}
