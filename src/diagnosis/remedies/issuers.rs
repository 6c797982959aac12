//! How issuers do it.

#![cfg_attr(not(test), expect(clippy::enum_glob_use, reason = "the tables name nearly all of them"))]

use super::{Row, Topic};
use crate::diagnosis::issuers::Issuer;

const fn row(product: Issuer, topic: Topic, setting: &'static str, source: &'static str) -> Row<Issuer> {
    Row { product, topic, setting, source }
}

/// A row an issuer and topic.
pub const ISSUERS: &[Row<Issuer>] = {
    use Issuer::*;
    use Topic::*;
    &[
        row(
            Keycloak,
            Audience,
            "a client scope with a mapper of the type Audience, Included Custom Audience = {url}, added to the access \
             token; assign the scope to the client. Do not accept `account`: every token of the realm may have it",
            "keycloak.org: Server Administration, Audience support",
        ),
        row(
            Keycloak,
            Scopes,
            "a client scope of this server's own, assigned to the client as optional, which the client then asks for",
            "keycloak.org: Server Administration, Client scopes",
        ),
        row(
            Keycloak,
            IssuerName,
            "KC_HOSTNAME=https://PUBLIC-NAME (and `hostname-backchannel-dynamic` for requests from inside): else it writes \
             the name that it was asked by",
            "keycloak.org: Configuring the hostname (v2)",
        ),
        row(
            Keycloak,
            Rfc9068,
            "Client, Advanced: *Use \"at+jwt\" as access token header type*",
            "keycloak.org: Server Administration, client's advanced settings",
        ),
        row(
            Keycloak,
            TokenSize,
            "*Full scope allowed* off in the client's dedicated scope, so that roles of other clients stay out",
            "keycloak.org: Server Administration, Role scope mappings",
        ),
        row(
            Entra,
            Audience,
            "expose an API in the server's own app registration and ask for its scope: api://APP-ID/SCOPE. Entra takes no \
             URL of another host for aud: have the gateway compare it with the application id (v2) or api://… (v1)",
            "learn.microsoft.com: Entra, Expose a web API; Access token claims, aud",
        ),
        row(
            Entra,
            Scopes,
            "expose a scope in the app registration and ask for api://APP-ID/SCOPE; it arrives in scp",
            "learn.microsoft.com: Entra, Expose a web API",
        ),
        row(
            Entra,
            IssuerName,
            "requestedAccessTokenVersion: 2 in the API's manifest for https://login.microsoftonline.com/TENANT/v2.0, null or \
             1 for https://sts.windows.net/TENANT/; `common` is never an issuer",
            "learn.microsoft.com: Entra, Access tokens, token formats",
        ),
        row(
            Entra,
            AccessToken,
            "ask for a scope of your own API: with openid and Graph's scopes only the access token is Graph's",
            "learn.microsoft.com: Entra, Access tokens",
        ),
        row(
            Entra,
            TokenSize,
            "groups assigned to the application instead of all groups in the token's configuration",
            "learn.microsoft.com: Entra, Configure group claims",
        ),
        row(
            Okta,
            Audience,
            "a custom authorization server whose Audience is {url}: api://default is the default of the one called \
             `default`, and the org's own server issues tokens for Okta only",
            "developer.okta.com: Authorization servers",
        ),
        row(
            Okta,
            Scopes,
            "a scope in the custom authorization server and an access policy that grants it to the client",
            "developer.okta.com: Customize tokens, Create scopes",
        ),
        row(
            Okta,
            IssuerName,
            "https://ORG/oauth2/ID is the issuer of a custom server, https://ORG the org's own, which others cannot verify",
            "developer.okta.com: Authorization servers",
        ),
        row(
            Auth0,
            Audience,
            "an API whose Identifier is {url}, and *Resource Parameter Compatibility Profile* or a Default Audience in the \
             tenant, where the client sends resource instead of audience",
            "auth0.com: Register APIs; Get Access Tokens, audience",
        ),
        row(
            Auth0,
            Jwt,
            "name an API: send audience={url} (or a Default Audience in the tenant). Without one the token is opaque, for \
             /userinfo only",
            "auth0.com: Get Access Tokens",
        ),
        row(
            Auth0,
            Scopes,
            "Permissions of the API; with RBAC *Add Permissions in the Access Token*",
            "auth0.com: Enable RBAC for APIs",
        ),
        row(Auth0, IssuerName, "iss ends in a slash: https://TENANT/", "auth0.com: Access tokens"),
        row(
            Auth0,
            Rfc9068,
            "*JSON Web Token (JWT) Profile* of the API: RFC 9068",
            "auth0.com: Configure access token profile",
        ),
        row(
            Auth0,
            Refresh,
            "*Allow Offline Access* of the API, and offline_access among the client's scopes",
            "auth0.com: Get refresh tokens",
        ),
        row(
            Cognito,
            Audience,
            "an access token gets aud only with resource binding (the resource parameter, {url}); else compare client_id, \
             token_use and scope",
            "docs.aws.amazon.com: Cognito, Understanding the access token; Resource binding",
        ),
        row(
            Cognito,
            Scopes,
            "a resource server with custom scopes in the user pool, allowed for the app client",
            "docs.aws.amazon.com: Cognito, Scopes, M2M, and resource servers",
        ),
        row(
            Google,
            Audience,
            "Google issues no access tokens for other servers: put an authorization server or a gateway of your own \
             between",
            "developers.google.com: Using OAuth 2.0 to access Google APIs",
        ),
        row(
            Google,
            Jwt,
            "Google's access tokens are opaque and for Google's APIs: have the gateway ask tokeninfo and issue its own",
            "developers.google.com: Using OAuth 2.0 to access Google APIs",
        ),
        row(
            GitHub,
            Audience,
            "GitHub issues no tokens for other servers: have the gateway ask api.github.com/user and issue its own",
            "docs.github.com: Authorizing OAuth apps",
        ),
        row(
            GitHub,
            Jwt,
            "GitHub's tokens are opaque and for GitHub's API: have the gateway ask api.github.com/user and issue its own",
            "docs.github.com: Authorizing OAuth apps",
        ),
        row(
            Glewlwyd,
            Audience,
            "have the client send resource={url}, with resource indicators on in the OIDC plugin: without one the scope is \
             written into aud",
            "github.com/babelouest/glewlwyd: OIDC plugin, Resource Indicators; tried",
        ),
        row(
            Authentik,
            Audience,
            "aud is the provider's client id: a scope mapping with `return {\"aud\": \"{url}\"}`, or the id as the gateway's \
             audience",
            "docs.goauthentik.io: OAuth2 provider, scope mappings",
        ),
        row(
            Authentik,
            IssuerName,
            "*Issuer mode* of the provider: each provider its own issuer (with the slash at the end), or one for all",
            "docs.goauthentik.io: OAuth2 provider, issuer mode",
        ),
        row(
            Zitadel,
            Audience,
            "aud has client and project ids: ask for the scope urn:zitadel:iam:org:project:id:PROJECT:aud and have the \
             gateway compare the project's id",
            "zitadel.com: Scopes, reserved scopes",
        ),
        row(Zitadel, Jwt, "*Auth Token Type* JWT in the application's token settings", "zitadel.com: Token types"),
        row(
            OryHydra,
            Audience,
            "{url} in the client's `audience` list, asked for with the audience parameter and granted by the consent app",
            "ory.sh: Hydra, Audience",
        ),
        row(
            OryHydra,
            Jwt,
            "`strategies: {access_token: jwt}` in Hydra's configuration, or introspection",
            "ory.sh: Hydra, JSON Web Token access tokens",
        ),
        row(
            WorkOs,
            Audience,
            "the resource indicator {url} in AuthKit's Connect settings, and the client sends resource",
            "workos.com: AuthKit, Model Context Protocol",
        ),
        row(
            Clerk,
            Audience,
            "OAuth tokens name the client in client_id and no aud: compare issuer and client_id",
            "clerk.com: OAuth, access tokens",
        ),
        row(
            Supabase,
            Audience,
            "a Custom Access Token hook that writes {url} into aud: `authenticated` is every logged-in user's",
            "supabase.com: Auth, Custom Access Token hook; JWT claims reference",
        ),
        row(
            Descope,
            Audience,
            "a JWT template with a custom claim aud = {url}, or the MCP server's own URL in an MCP server application",
            "docs.descope.com: JWT templates",
        ),
        row(
            Stytch,
            Audience,
            "a custom audience in the Connected App: without one aud is the project id",
            "stytch.com: Connected Apps, access tokens",
        ),
        row(
            Ping,
            Audience,
            "a custom resource whose Audience is {url}, with a scope that the client asks for",
            "docs.pingidentity.com: PingOne, Resources",
        ),
        row(
            FusionAuth,
            Audience,
            "aud is the application's id: a JWT populate lambda that writes {url}, or the id as the gateway's audience",
            "fusionauth.io: JWT populate lambda",
        ),
        row(
            Logto,
            Audience,
            "an API resource whose identifier is {url}, and the client sends resource",
            "docs.logto.io: API resources",
        ),
        row(
            Logto,
            Jwt,
            "name an API resource with the resource parameter: without one the token is opaque",
            "docs.logto.io: Access token, opaque token",
        ),
        row(
            Adfs,
            Audience,
            "a Web API in the application group whose identifier is {url}, and the client sends it as resource",
            "learn.microsoft.com: AD FS OpenID Connect/OAuth flows and application scenarios",
        ),
        row(
            Duende,
            Audience,
            "an API resource whose name is {url}, with the scopes that clients ask for; EmitStaticAudienceClaim off",
            "docs.duendesoftware.com: IdentityServer, API resources",
        ),
        row(
            Firebase,
            Audience,
            "Firebase gives backends its ID token by design: have the server expect iss \
             https://securetoken.google.com/PROJECT and aud PROJECT, or put an authorization server in front",
            "firebase.google.com: Verify ID tokens",
        ),
        row(
            GithubActions,
            Audience,
            "core.getIDToken(\"{url}\"), or &audience={url} behind ACTIONS_ID_TOKEN_REQUEST_URL",
            "docs.github.com: OpenID Connect, customizing the audience value",
        ),
        row(
            Kubernetes,
            Audience,
            "audiences: [{url}] in the TokenRequest, or in the projected serviceAccountToken volume",
            "kubernetes.io: Service account token volume projection",
        ),
    ]
};
