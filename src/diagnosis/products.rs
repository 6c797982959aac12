//! The headers in which auth proxies hand on who the user is: one table.
//!
//! All of them are claims. Whether a proxy or a client wrote a header cannot be seen in a request; what can be seen is
//! whether the headers agree (`agreement`), and whether what a product always sends is there.

use std::sync::LazyLock;

use http::HeaderMap;
use http::header::COOKIE;

/// What a header of an auth proxy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A stable id of the user.
    UserId,
    /// A login name.
    UserName,
    /// A name for people.
    DisplayName,
    /// An e-mail address.
    Email,
    /// Groups, roles or entitlements, in one value.
    Groups,
    /// Who gave the user's id.
    Issuer,
    /// A token that an issuer gave.
    Token,
    /// What the product itself says of the user, signed: a JWT.
    Assertion,
    /// Something else that shows the product.
    Other,
}

impl Meaning {
    /// Whether such a header says which user it is.
    #[must_use]
    pub const fn names_a_user(self) -> bool {
        matches!(self, Self::UserId | Self::UserName | Self::DisplayName | Self::Email)
    }

    /// Whether such a header holds a token.
    #[must_use]
    pub const fn is_token(self) -> bool {
        matches!(self, Self::Token | Self::Assertion)
    }
}

/// One header of a product.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Lower case; a `*` at the end stands for any ending.
    pub header: &'static str,
    /// What it says.
    pub meaning: Meaning,
    /// Whether it must not be shown: see `redact`.
    pub secret: bool,
    /// Whether its value is a JWT.
    pub jwt: bool,
}

impl Field {
    const fn new(header: &'static str, meaning: Meaning) -> Self {
        Self { header, meaning, secret: meaning.is_token(), jwt: matches!(meaning, Meaning::Assertion) }
    }

    const fn jwt(header: &'static str) -> Self {
        Self { jwt: true, ..Self::new(header, Meaning::Token) }
    }

    /// Whether `name` (lower case) is this header.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.header.strip_suffix('*') {
            Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
            None => name == self.header,
        }
    }
}

/// Where a product has the user from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The bearer token of the same request: its headers repeat claims.
    Bearer,
    /// A login of its own, whose user id is the `sub` of its issuer (OpenID Connect Core 1.0 section 2).
    Subject,
    /// A login of its own, with names or ids of its own.
    Login,
}

/// A product that authenticates in front of a server.
#[derive(Debug)]
pub struct Product {
    /// Its name.
    pub name: &'static str,
    /// What parts its groups.
    pub group_separator: char,
    /// Where it has the user from.
    pub origin: Origin,
    /// Headers of which it sends one, at least, with every user that it names. Where all are missing, a client may have
    /// written the others. Empty where the operator chooses what is handed on.
    pub always: &'static [&'static str],
    /// Its headers, the most telling first. No header stands in two products.
    pub fields: &'static [Field],
}

impl Product {
    const fn new(name: &'static str, origin: Origin, fields: &'static [Field]) -> Self {
        Self { name, group_separator: ',', origin, always: &[], fields }
    }

    /// The header in which it says who gave the user's id.
    #[must_use]
    pub fn issuer_header(&self) -> Option<&'static str> {
        self.fields.iter().find(|field| field.meaning == Meaning::Issuer).map(|field| field.header)
    }

    /// The headers in which it signs what it says.
    pub fn assertions(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().filter(|field| field.meaning == Meaning::Assertion).map(|field| field.header)
    }

    /// Its name in a request with these headers. `X-User-Id` alone is what HAProxy, Envoy and others are set up to send.
    #[must_use]
    pub fn name_in(&self, headers: &HeaderMap) -> &'static str {
        let gateway =
            self.name == GATEWAY && !["x-user-name", "x-auth-token"].iter().any(|name| headers.contains_key(*name));
        if gateway { CONVENTION } else { self.name }
    }
}

use Meaning::{Assertion, DisplayName, Email, Groups, Issuer, Other, Token, UserId, UserName};
use Origin::{Bearer, Login, Subject};

/// The gateway that this server was made for.
const GATEWAY: &str = "mcp-oauth-gateway";

/// What gateways are set up to send that have no headers of their own: HAProxy, Envoy AI Gateway, agentgateway, `KrakenD`,
/// Gloo, Oathkeeper, nginx.
const CONVENTION: &str = "X-User-* convention";

/// The products whose headers are known, in the order in which they are believed when they disagree: the gateway this
/// server was made for, then those whose headers cannot mean anything else, then conventions.
///
/// Sources: each product's documentation or source as named beside it.
pub const PRODUCTS: &[Product] = &[
    // mcp-oauth-gateway docs/architecture/security.md: `/verify` answers with sub, github_username, the raw token.
    Product {
        always: &["x-user-name", "x-auth-token"],
        ..Product::new(
            GATEWAY,
            Bearer,
            &[
                Field::new("x-user-id", UserId),
                Field::new("x-user-name", UserName),
                Field { jwt: true, ..Field::new("x-auth-token", Token) },
            ],
        )
    },
    // oauth2-proxy `--set-xauthrequest`: response of /oauth2/auth, copied by nginx or Traefik.
    Product::new(
        "oauth2-proxy (auth request)",
        Subject,
        &[
            Field::new("x-auth-request-user", UserId),
            Field::new("x-auth-request-preferred-username", UserName),
            Field::new("x-auth-request-email", Email),
            Field::new("x-auth-request-groups", Groups),
            Field::new("x-auth-request-access-token", Token),
            Field::jwt("x-oauth2-proxy-id-token"),
        ],
    ),
    // oauth2-proxy as the reverse proxy: `--pass-user-headers`, `--pass-access-token`, `--signature-key`; also
    // traefik-forward-auth and Databricks Apps.
    Product::new(
        "oauth2-proxy (upstream)",
        Subject,
        &[
            Field::new("x-forwarded-user", UserId),
            Field::new("x-forwarded-preferred-username", UserName),
            Field::new("x-forwarded-email", Email),
            Field::new("x-forwarded-groups", Groups),
            Field::new("x-forwarded-access-token", Token),
            Field { secret: true, ..Field::new("gap-signature", Other) },
        ],
    ),
    // Authelia internal/handlers/const.go; also a convention of Caddy and Apache.
    Product::new(
        "Authelia",
        Login,
        &[
            Field::new("remote-user", UserId),
            Field::new("remote-name", DisplayName),
            Field::new("remote-email", Email),
            Field::new("remote-groups", Groups),
            Field::new("x-authelia-url", Other),
        ],
    ),
    // docs.goauthentik.io/docs/providers/proxy: groups and entitlements are parted by `|`.
    Product {
        group_separator: '|',
        ..Product::new(
            "authentik",
            Login,
            &[
                Field::new("x-authentik-uid", UserId),
                Field::new("x-authentik-username", UserName),
                Field::new("x-authentik-name", DisplayName),
                Field::new("x-authentik-email", Email),
                Field::new("x-authentik-groups", Groups),
                Field::new("x-authentik-entitlements", Groups),
                Field::new("x-authentik-jwt", Assertion),
                Field::new("x-authentik-meta-*", Other),
            ],
        )
    },
    // Pomerium `pass_identity_headers`, `jwt_claims_headers`: the claims come beside the assertion.
    Product {
        always: &["x-pomerium-jwt-assertion"],
        ..Product::new(
            "Pomerium",
            Subject,
            &[
                Field::new("x-pomerium-jwt-assertion", Assertion),
                Field::jwt("x-pomerium-jwt-assertion-for"),
                Field::new("x-pomerium-claim-sub", UserId),
                Field::new("x-pomerium-claim-user", UserName),
                Field::new("x-pomerium-claim-name", DisplayName),
                Field::new("x-pomerium-claim-email", Email),
                Field::new("x-pomerium-claim-groups", Groups),
                Field::new("x-pomerium-claim-*", Other),
            ],
        )
    },
    // developers.cloudflare.com/cloudflare-one: application token, service tokens.
    Product {
        always: &["cf-access-jwt-assertion"],
        ..Product::new(
            "Cloudflare Access",
            Login,
            &[
                Field::new("cf-access-jwt-assertion", Assertion),
                Field::new("cf-access-authenticated-user-email", Email),
                Field::new("cf-access-client-id", Other),
                Field { secret: true, ..Field::new("cf-access-client-secret", Other) },
            ],
        )
    },
    // cloud.google.com/iap/docs/identity-howto, signed-headers-howto.
    Product {
        always: &["x-goog-iap-jwt-assertion"],
        ..Product::new(
            "Google IAP",
            Login,
            &[
                Field::new("x-goog-iap-jwt-assertion", Assertion),
                Field::new("x-goog-authenticated-user-id", UserId),
                Field::new("x-goog-authenticated-user-email", Email),
            ],
        )
    },
    // docs.aws.amazon.com: Authenticate users using an Application Load Balancer.
    Product {
        always: &["x-amzn-oidc-data"],
        ..Product::new(
            "AWS ALB",
            Subject,
            &[
                Field::new("x-amzn-oidc-identity", UserId),
                Field::new("x-amzn-oidc-data", Assertion),
                Field::new("x-amzn-oidc-accesstoken", Token),
            ],
        )
    },
    // goteleport.com/docs: JWT for applications and MCP servers.
    Product::new("Teleport", Login, &[Field::new("teleport-jwt-assertion", Assertion)]),
    // Envoy: XFCC, ext_authz `failure_mode_allow_header_add`; Istio RequestAuthentication `outputClaimToHeaders`; Envoy
    // Gateway `claimToHeaders`.
    Product::new(
        "Envoy / Istio",
        Bearer,
        &[
            Field::new("x-forwarded-client-cert", Other),
            Field::new("x-envoy-auth-failure-mode-allowed", Other),
            Field::new("x-jwt-claim-sub", UserId),
            Field::new("x-jwt-claim-iss", Issuer),
            Field::new("x-jwt-claim-preferred-username", UserName),
            Field::new("x-jwt-claim-name", DisplayName),
            Field::new("x-jwt-claim-email", Email),
            Field::new("x-jwt-claim-groups", Groups),
            Field::new("x-jwt-claim-*", Other),
            Field::new("x-jwt-payload", Other),
        ],
    ),
    // Kong: key-auth and its kin, oauth2 (the user behind the consumer), openid-connect, kong-oidc; APISIX key-auth and
    // openid-connect have the same names.
    Product::new(
        "Kong or APISIX",
        Login,
        &[
            Field::new("x-authenticated-userid", UserId),
            Field::new("x-consumer-id", UserId),
            Field::new("x-consumer-username", UserName),
            Field::new("x-consumer-custom-id", Other),
            Field::new("x-consumer-groups", Groups),
            Field::new("x-credential-identifier", Other),
            Field::new("x-anonymous-consumer", Other),
            Field::new("x-authenticated-scope", Other),
            Field::new("x-userinfo", Other),
            Field::jwt("x-id-token"),
            Field::jwt("x-raw-id-token"),
        ],
    ),
    // tailscale ipn/ipnlocal/serve.go: client copies are deleted; not set for tagged nodes.
    Product {
        always: &["tailscale-user-name", "tailscale-headers-info"],
        ..Product::new(
            "Tailscale Serve",
            Login,
            &[
                Field::new("tailscale-user-login", UserId),
                Field::new("tailscale-user-name", DisplayName),
                Field::new("tailscale-user-profile-pic", Other),
                Field::new("tailscale-headers-info", Other),
                Field::new("tailscale-funnel-request", Other),
                Field::new("tailscale-app-capabilities", Other),
            ],
        )
    },
    // learn.microsoft.com: App Service and Container Apps authentication, access user claims and tokens.
    Product {
        always: &["x-ms-client-principal", "x-ms-client-principal-idp"],
        ..Product::new(
            "Azure EasyAuth",
            Login,
            &[
                Field::new("x-ms-client-principal-id", UserId),
                Field::new("x-ms-client-principal-name", UserName),
                Field::new("x-ms-client-principal-idp", Issuer),
                Field::new("x-ms-client-principal", Other),
                Field::jwt("x-ms-token-aad-access-token"),
                Field::jwt("x-ms-token-aad-id-token"),
                Field::new("x-ms-token-aad-refresh-token", Token),
                Field::new("x-ms-token-aad-expires-on", Other),
            ],
        )
    },
    // Apache mod_auth_openidc: OIDCPassClaimsAs headers, with underscores by design. An ID token has `iss`, an
    // introspection's answer `active` (RFC 7662 section 2.2).
    Product {
        always: &[
            "oidc_claim_iss",
            "oidc_claim_active",
            "oidc_id_token",
            "oidc_id_token_payload",
            "oidc_userinfo_json",
            "oidc_userinfo_jwt",
        ],
        ..Product::new(
            "mod_auth_openidc",
            Subject,
            &[
                Field::new("oidc_claim_sub", UserId),
                Field::new("oidc_claim_iss", Issuer),
                Field::new("oidc_claim_preferred_username", UserName),
                Field::new("oidc_claim_username", UserName),
                Field::new("oidc_claim_name", DisplayName),
                Field::new("oidc_claim_email", Email),
                Field::new("oidc_claim_groups", Groups),
                Field::new("oidc_claim_*", Other),
                Field::new("oidc_access_token", Token),
                Field::new("oidc_access_token_expires", Other),
                Field::new("oidc_refresh_token", Token),
                Field::jwt("oidc_id_token"),
                Field { secret: true, ..Field::new("oidc_id_token_payload", Other) },
                Field::new("oidc_userinfo_json", Other),
                Field::jwt("oidc_userinfo_jwt"),
            ],
        )
    },
    // Apache mod_oauth2: OAuth2TargetPass, headers by default, prefix OAUTH2_CLAIM_; checks the request's own bearer.
    Product {
        always: &["oauth2_claim_iss", "oauth2_claim_active"],
        ..Product::new(
            "mod_oauth2",
            Bearer,
            &[
                Field::new("oauth2_claim_sub", UserId),
                Field::new("oauth2_claim_iss", Issuer),
                Field::new("oauth2_claim_preferred_username", UserName),
                Field::new("oauth2_claim_username", UserName),
                Field::new("oauth2_claim_name", DisplayName),
                Field::new("oauth2_claim_email", Email),
                Field::new("oauth2_claim_groups", Groups),
                Field::new("oauth2_claim_*", Other),
            ],
        )
    },
    // gogatekeeper and louketo-proxy (Keycloak Gatekeeper): the subject and the login name, always both.
    Product {
        always: &["x-auth-subject"],
        ..Product::new(
            "Gatekeeper",
            Subject,
            &[
                Field::new("x-auth-subject", UserId),
                Field::new("x-auth-userid", UserName),
                Field::new("x-auth-username", UserName),
                Field::new("x-auth-email", Email),
                Field::new("x-auth-groups", Groups),
                Field::new("x-auth-roles", Groups),
                Field::new("x-auth-audience", Other),
                Field::new("x-auth-expiresin", Other),
            ],
        )
    },
    // vouch-proxy README: response of /validate, copied by nginx.
    Product::new(
        "Vouch Proxy",
        Login,
        &[
            Field::new("x-vouch-idp-claims-sub", UserId),
            Field::new("x-vouch-user", UserName),
            Field::new("x-vouch-idp-claims-preferred-username", UserName),
            Field::new("x-vouch-idp-claims-name", DisplayName),
            Field::new("x-vouch-idp-claims-email", Email),
            Field::new("x-vouch-idp-claims-groups", Groups),
            Field::new("x-vouch-idp-claims-*", Other),
            Field::new("x-vouch-success", Other),
            Field::new("x-vouch-idp-accesstoken", Token),
            Field::jwt("x-vouch-idp-idtoken"),
        ],
    ),
    // caddy-security (AuthCrunch), `inject headers with claims`: the client's own are overwritten.
    Product::new(
        "caddy-security",
        Bearer,
        &[
            Field::new("x-token-subject", UserId),
            Field::new("x-token-user-name", DisplayName),
            Field::new("x-token-user-email", Email),
            Field::new("x-token-user-roles", Groups),
        ],
    ),
    // Google Cloud Endpoints (ESPv2) and API Gateway: the claims as base64url JSON.
    Product::new(
        "Google API Gateway",
        Bearer,
        &[Field::new("x-apigateway-api-userinfo", Other), Field::new("x-endpoint-api-userinfo", Other)],
    ),
    // WSO2 API Manager and Choreo: the backend JWT.
    Product::new("WSO2", Login, &[Field::new("x-jwt-assertion", Assertion)]),
    // ngrok.com/docs: OAuth and OpenID Connect actions.
    Product::new(
        "ngrok",
        Login,
        &[
            Field::new("ngrok-auth-user-id", UserId),
            Field::new("ngrok-auth-user-name", DisplayName),
            Field::new("ngrok-auth-user-email", Email),
        ],
    ),
    // docs.snowflake.com: Snowpark Container Services, caller's context.
    Product::new(
        "Snowflake",
        Login,
        &[Field::new("sf-context-current-user", UserId), Field::new("sf-context-current-user-token", Token)],
    ),
    // docs.replit.com: Replit Auth.
    Product::new(
        "Replit",
        Login,
        &[
            Field::new("x-replit-user-id", UserId),
            Field::new("x-replit-user-name", UserName),
            Field::new("x-replit-user-roles", Groups),
        ],
    ),
    // Grafana's auth.proxy convention; Traefik basicAuth and digestAuth document it for `headerField`.
    Product::new(
        "X-WebAuth-* convention",
        Login,
        &[
            Field::new("x-webauth-user", UserId),
            Field::new("x-webauth-name", DisplayName),
            Field::new("x-webauth-email", Email),
            Field::new("x-webauth-groups", Groups),
        ],
    ),
    // Beside X-User-Id: Envoy AI Gateway `claimToHeaders`, KrakenD `propagate_claims`, agentgateway, mcp-gateway-registry.
    Product::new(
        CONVENTION,
        Bearer,
        &[
            Field::new("x-user-sub", UserId),
            Field::new("x-username", UserName),
            Field::new("x-user-username", UserName),
            Field::new("x-user-login", UserName),
            Field::new("x-user-displayname", DisplayName),
            Field::new("x-user-email", Email),
            Field::new("x-user-groups", Groups),
            Field::new("x-user-roles", Groups),
        ],
    ),
    // ContextForge and others behind an authenticating proxy.
    Product::new(
        "X-Authenticated-* convention",
        Login,
        &[
            Field::new("x-authenticated-user", UserId),
            Field::new("x-authenticated-email", Email),
            Field::new("x-authenticated-groups", Groups),
        ],
    ),
    // oauth2-proxy's documentation for nginx `auth_request_set`; Oathkeeper's header mutator.
    Product::new(
        "nginx auth_request convention",
        Login,
        &[Field::new("x-user", UserId), Field::new("x-email", Email), Field::new("x-access-token", Token)],
    ),
];

/// Cookies by which a product keeps its login, with the product: a name, or its beginning where it ends with `*`.
const COOKIES: &[(&str, &str)] = &[
    // Envoy: envoy.filters.http.oauth2, the default cookie names.
    ("OauthHMAC", "Envoy oauth2 filter"),
    ("BearerToken", "Envoy oauth2 filter"),
    ("_oauth2_proxy*", "oauth2-proxy"),
    ("authelia_session", "Authelia"),
    ("authentik_proxy_*", "authentik"),
    ("_pomerium*", "Pomerium"),
    ("CF_Authorization", "Cloudflare Access"),
    ("GCP_IAP_*", "Google IAP"),
    ("GCP_IAAP_*", "Google IAP"),
    ("__Host-GCP_IAP_*", "Google IAP"),
    ("AWSELBAuthSessionCookie*", "AWS ALB"),
    ("mod_auth_openidc_session*", "mod_auth_openidc"),
    ("AppServiceAuthSession*", "Azure EasyAuth"),
    ("VouchCookie*", "Vouch Proxy"),
    ("AUTHP_ACCESS_TOKEN", "caddy-security"),
    ("_forward_auth", "traefik-forward-auth"),
];

/// The products whose login cookies a request has, each with the cookies' names.
#[must_use]
pub fn cookies(headers: &HeaderMap) -> Vec<(&'static str, Vec<String>)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(';')).filter_map(|pair| Some(pair.split_once('=')?.0.trim()));
    let mut found: Vec<(&'static str, Vec<String>)> = Vec::new();
    for name in names {
        let is = |known: &str| match known.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == known,
        };
        let Some((_, product)) = COOKIES.iter().find(|(known, _)| is(known)) else { continue };
        match found.iter_mut().find(|(known, _)| known == product) {
            Some((_, names)) if names.len() < MOST_COOKIES => names.push(name.to_owned()),
            Some(_) => {}
            None => found.push((product, vec![name.to_owned()])),
        }
    }
    found
}

/// The most cookies of a product that are named.
const MOST_COOKIES: usize = 4;

/// A header that says who sent a request.
pub struct Telling {
    /// Its name, lower case.
    pub header: &'static str,
    /// Whose it is.
    pub product: &'static Product,
    /// What it says: an id or an assertion, or, for want of those, a login name or an e-mail address.
    pub meaning: Meaning,
}

impl Telling {
    /// Whether it is only asked where the bearer token names nobody either.
    #[must_use]
    pub const fn is_last_resort(&self) -> bool {
        matches!(self.meaning, Meaning::UserName | Meaning::Email)
    }
}

/// The headers that say who sent a request, the most believed first.
static TELLING: LazyLock<Vec<Telling>> = LazyLock::new(|| {
    let of = |meanings: &'static [Meaning]| {
        PRODUCTS.iter().flat_map(move |product| {
            let fields = move |meaning| product.fields.iter().filter(move |field| field.meaning == meaning);
            let named = meanings.iter().flat_map(move |meaning| fields(*meaning));
            named.map(move |field| Telling { header: field.header, product, meaning: field.meaning })
        })
    };
    of(&[UserId, Assertion]).chain(of(&[UserName, Email])).collect()
});

/// Places in [`TELLING`] by the length of the name and its first letter: every request is asked, and most of its headers are
/// no more than looked up here.
static PLACES: LazyLock<Vec<[Vec<usize>; 26]>> = LazyLock::new(|| {
    let longest = TELLING.iter().map(|telling| telling.header.len()).max().unwrap_or_default();
    let mut places = vec![<[Vec<usize>; 26]>::default(); longest + 1];
    for (rank, telling) in TELLING.iter().enumerate() {
        places[telling.header.len()][letter(telling.header)].push(rank);
    }
    places
});

/// The number of the letter that a header's name begins with; that of `a` for what is no letter.
fn letter(name: &str) -> usize {
    name.bytes().next().filter(u8::is_ascii_lowercase).map_or(0, |first| usize::from(first - b'a'))
}

/// The header of a request that says who sent it: the most believed one that is not empty.
#[must_use]
pub fn telling(headers: &HeaderMap) -> Option<&'static Telling> {
    let (places, telling) = (&*PLACES, &*TELLING);
    let found = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let rank = *places.get(name.len())?[letter(name)].iter().find(|rank| telling[**rank].header == name)?;
        (!value.as_bytes().trim_ascii().is_empty()).then_some(rank)
    });
    found.min().map(|rank| &telling[rank])
}

/// The product and the row of the header `name` (lower case).
#[must_use]
pub fn lookup(name: &str) -> Option<(&'static Product, &'static Field)> {
    PRODUCTS.iter().find_map(|product| Some((product, product.fields.iter().find(|field| field.matches(name))?)))
}

/// A product whose headers a request has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The product's name.
    pub product: &'static str,
    /// Its headers in the request, lower case, in the table's order.
    pub headers: Vec<String>,
}

/// The products whose headers are in `headers`, in the table's order.
#[must_use]
pub fn seen(headers: &HeaderMap) -> Vec<Seen> {
    let found = PRODUCTS.iter().map(|product| {
        let mut names: Vec<(usize, String)> = headers
            .keys()
            .filter_map(|name| {
                let row = product.fields.iter().position(|field| field.matches(name.as_str()))?;
                Some((row, name.as_str().to_owned()))
            })
            .collect();
        names.sort_unstable();
        Seen { product: product.name_in(headers), headers: names.into_iter().map(|(_, name)| name).collect() }
    });
    found.filter(|seen| !seen.headers.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::diagnosis::redact;
    use crate::diagnosis::testing::headers;

    #[test]
    fn what_the_table_calls_secret_is_redacted_and_nothing_else() {
        for field in PRODUCTS.iter().flat_map(|product| product.fields) {
            assert_eq!(redact::is_secret(field.header), field.secret, "{}", field.header);
            assert!(field.secret || !field.jwt, "{}: a JWT is a secret", field.header);
            assert!(field.secret || !field.meaning.is_token(), "{}: a token is a secret", field.header);
        }
    }

    #[test]
    fn no_header_stands_in_two_products() {
        let mut names = HashSet::new();
        for field in PRODUCTS.iter().flat_map(|product| product.fields) {
            assert!(names.insert(field.header), "{}", field.header);
            assert_eq!(field.header, field.header.to_lowercase());
            if !field.header.ends_with('*') {
                assert_eq!(lookup(field.header).unwrap().1.header, field.header, "an earlier row takes it");
            }
        }
    }

    #[test]
    fn products_are_known_by_their_headers() {
        let headers = headers(&[
            ("X-Auth-Token", "t"),
            ("X-User-Id", "1"),
            ("X-Pomerium-Claim-Department", "x"),
            ("Host", "example"),
        ]);
        let seen = seen(&headers);
        assert_eq!(seen.len(), 2);
        assert_eq!(
            seen[0],
            Seen { product: "mcp-oauth-gateway", headers: vec!["x-user-id".into(), "x-auth-token".into()] }
        );
        assert_eq!(seen[1].product, "Pomerium");
    }

    #[test]
    fn a_lone_user_id_is_a_convention_and_no_product() {
        let seen = seen(&headers(&[("X-User-Id", "1001")]));
        assert_eq!(seen[0].product, CONVENTION);
    }

    #[test]
    fn login_cookies_name_their_product() {
        let headers = headers(&[("Cookie", "a=1; BearerToken=x; OauthHMAC=y"), ("Cookie", "_oauth2_proxy_0=z")]);
        assert_eq!(
            cookies(&headers),
            [
                ("Envoy oauth2 filter", vec!["BearerToken".to_owned(), "OauthHMAC".to_owned()]),
                ("oauth2-proxy", vec!["_oauth2_proxy_0".to_owned()])
            ]
        );
    }

    #[test]
    fn the_most_believed_header_tells() {
        let told = |given: &[(&str, &str)]| telling(&headers(given)).map(|telling| telling.header);
        assert_eq!(told(&[("oidc_claim_sub", "alice"), ("x-user-email", "a@example.com")]), Some("oidc_claim_sub"));
        assert_eq!(told(&[("remote-user", " "), ("x-user-email", "a@example.com")]), Some("x-user-email"));
        assert_eq!(told(&[("remote-user", "a"), ("x-user-id", "1"), ("host", "h")]), Some("x-user-id"));
        assert_eq!(told(&[("x-request-id", "1"), ("authorization", "Bearer x"), ("oidc_claim_iss", "i")]), None);
        for telling in TELLING.iter() {
            assert_eq!(told(&[(telling.header, "v")]), Some(telling.header));
            assert!(!telling.header.ends_with('*'));
        }
    }
}
