//! The headers in which auth proxies hand on who the user is: one table.
//!
//! All of them are claims. Whether a proxy or a client wrote a header cannot be seen in a request; what can be seen is
//! whether the headers agree (`agreement`).

use http::HeaderMap;

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
    /// A token or an assertion about the user.
    Token,
    /// Something else that shows the product.
    Other,
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
        Self { header, meaning, secret: matches!(meaning, Meaning::Token), jwt: false }
    }

    const fn jwt(header: &'static str) -> Self {
        Self { header, meaning: Meaning::Token, secret: true, jwt: true }
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

/// A product that authenticates in front of a server.
#[derive(Debug)]
pub struct Product {
    /// Its name.
    pub name: &'static str,
    /// What parts its groups.
    pub group_separator: char,
    /// Its headers, the most telling first. No header stands in two products.
    pub fields: &'static [Field],
}

use Meaning::{DisplayName, Email, Groups, Other, Token, UserId, UserName};

/// The products whose headers are known, in the order in which they are believed when they disagree: the gateway this
/// server was made for, then those whose headers cannot mean anything else, then conventions.
///
/// Sources: each product's documentation or source as named beside it.
pub const PRODUCTS: &[Product] = &[
    Product {
        // mcp-oauth-gateway docs/architecture/security.md: `/verify` answers with sub, github_username, the raw token.
        name: "mcp-oauth-gateway",
        group_separator: ',',
        fields: &[
            Field::new("x-user-id", UserId),
            Field::new("x-user-name", UserName),
            Field { jwt: true, ..Field::new("x-auth-token", Token) },
        ],
    },
    Product {
        // oauth2-proxy `--set-xauthrequest`: response of /oauth2/auth, copied by nginx or Traefik.
        name: "oauth2-proxy (auth request)",
        group_separator: ',',
        fields: &[
            Field::new("x-auth-request-user", UserId),
            Field::new("x-auth-request-preferred-username", UserName),
            Field::new("x-auth-request-email", Email),
            Field::new("x-auth-request-groups", Groups),
            Field::new("x-auth-request-access-token", Token),
            Field::jwt("x-oauth2-proxy-id-token"),
        ],
    },
    Product {
        // oauth2-proxy as the reverse proxy: `--pass-user-headers`, `--pass-access-token`, `--signature-key`.
        name: "oauth2-proxy (upstream)",
        group_separator: ',',
        fields: &[
            Field::new("x-forwarded-user", UserId),
            Field::new("x-forwarded-preferred-username", UserName),
            Field::new("x-forwarded-email", Email),
            Field::new("x-forwarded-groups", Groups),
            Field::new("x-forwarded-access-token", Token),
            Field { secret: true, ..Field::new("gap-signature", Other) },
        ],
    },
    Product {
        // Authelia internal/handlers/const.go; also a convention of Caddy and Apache.
        name: "Authelia",
        group_separator: ',',
        fields: &[
            Field::new("remote-user", UserId),
            Field::new("remote-name", DisplayName),
            Field::new("remote-email", Email),
            Field::new("remote-groups", Groups),
            Field::new("x-authelia-url", Other),
        ],
    },
    Product {
        // docs.goauthentik.io/docs/providers/proxy: groups and entitlements are parted by `|`.
        name: "authentik",
        group_separator: '|',
        fields: &[
            Field::new("x-authentik-uid", UserId),
            Field::new("x-authentik-username", UserName),
            Field::new("x-authentik-name", DisplayName),
            Field::new("x-authentik-email", Email),
            Field::new("x-authentik-groups", Groups),
            Field::new("x-authentik-entitlements", Groups),
            Field::jwt("x-authentik-jwt"),
            Field::new("x-authentik-meta-*", Other),
        ],
    },
    Product {
        // Pomerium `pass_identity_headers`, `jwt_claims_headers`.
        name: "Pomerium",
        group_separator: ',',
        fields: &[
            Field::jwt("x-pomerium-jwt-assertion"),
            Field::jwt("x-pomerium-jwt-assertion-for"),
            Field::new("x-pomerium-claim-sub", UserId),
            Field::new("x-pomerium-claim-user", UserName),
            Field::new("x-pomerium-claim-name", DisplayName),
            Field::new("x-pomerium-claim-email", Email),
            Field::new("x-pomerium-claim-groups", Groups),
            Field::new("x-pomerium-claim-*", Other),
        ],
    },
    Product {
        // developers.cloudflare.com/cloudflare-one: application token, service tokens.
        name: "Cloudflare Access",
        group_separator: ',',
        fields: &[
            Field::jwt("cf-access-jwt-assertion"),
            Field::new("cf-access-authenticated-user-email", Email),
            Field::new("cf-access-client-id", Other),
            Field { secret: true, ..Field::new("cf-access-client-secret", Other) },
        ],
    },
    Product {
        // cloud.google.com/iap/docs/identity-howto, signed-headers-howto.
        name: "Google IAP",
        group_separator: ',',
        fields: &[
            Field::jwt("x-goog-iap-jwt-assertion"),
            Field::new("x-goog-authenticated-user-id", UserId),
            Field::new("x-goog-authenticated-user-email", Email),
        ],
    },
    Product {
        // docs.aws.amazon.com: Authenticate users using an Application Load Balancer.
        name: "AWS ALB",
        group_separator: ',',
        fields: &[
            Field::new("x-amzn-oidc-identity", UserId),
            Field::jwt("x-amzn-oidc-data"),
            Field::new("x-amzn-oidc-accesstoken", Token),
        ],
    },
    Product {
        // Envoy: XFCC, ext_authz `failure_mode_allow_header_add`; Istio RequestAuthentication `outputClaimToHeaders`.
        name: "Envoy / Istio",
        group_separator: ',',
        fields: &[
            Field::new("x-forwarded-client-cert", Other),
            Field::new("x-envoy-auth-failure-mode-allowed", Other),
            Field::new("x-jwt-claim-sub", UserId),
            Field::new("x-jwt-claim-email", Email),
            Field::new("x-jwt-claim-groups", Groups),
            Field::new("x-jwt-claim-*", Other),
            Field::new("x-jwt-payload", Other),
        ],
    },
    Product {
        // Kong: key-auth and its kin, openid-connect, kong-oidc.
        name: "Kong",
        group_separator: ',',
        fields: &[
            Field::new("x-consumer-id", UserId),
            Field::new("x-consumer-username", UserName),
            Field::new("x-consumer-custom-id", Other),
            Field::new("x-consumer-groups", Groups),
            Field::new("x-credential-identifier", Other),
            Field::new("x-anonymous-consumer", Other),
            Field::new("x-authenticated-userid", Other),
            Field::new("x-authenticated-scope", Other),
            Field::new("x-userinfo", Other),
            Field::jwt("x-id-token"),
        ],
    },
    Product {
        // tailscale ipn/ipnlocal/serve.go: client copies are deleted; not set for tagged nodes.
        name: "Tailscale Serve",
        group_separator: ',',
        fields: &[
            Field::new("tailscale-user-login", UserId),
            Field::new("tailscale-user-name", DisplayName),
            Field::new("tailscale-user-profile-pic", Other),
            Field::new("tailscale-headers-info", Other),
            Field::new("tailscale-funnel-request", Other),
            Field::new("tailscale-app-capabilities", Other),
        ],
    },
    Product {
        // learn.microsoft.com: App Service authentication, access user claims and tokens.
        name: "Azure EasyAuth",
        group_separator: ',',
        fields: &[
            Field::new("x-ms-client-principal-id", UserId),
            Field::new("x-ms-client-principal-name", UserName),
            Field::new("x-ms-client-principal-idp", Other),
            Field::new("x-ms-client-principal", Other),
            Field::jwt("x-ms-token-aad-access-token"),
            Field::jwt("x-ms-token-aad-id-token"),
            Field::new("x-ms-token-aad-refresh-token", Token),
            Field::new("x-ms-token-aad-expires-on", Other),
        ],
    },
    Product {
        // Apache mod_auth_openidc: OIDCPassClaimsAs headers, with underscores by design.
        name: "mod_auth_openidc",
        group_separator: ',',
        fields: &[
            Field::new("oidc_claim_sub", UserId),
            Field::new("oidc_claim_preferred_username", UserName),
            Field::new("oidc_claim_name", DisplayName),
            Field::new("oidc_claim_email", Email),
            Field::new("oidc_claim_groups", Groups),
            Field::new("oidc_claim_*", Other),
            Field::new("oidc_access_token", Token),
            Field::new("oidc_access_token_expires", Other),
            Field::jwt("oidc_id_token"),
        ],
    },
    Product {
        // oauth2-proxy's documentation for nginx `auth_request_set`.
        name: "nginx auth_request convention",
        group_separator: ',',
        fields: &[Field::new("x-user", UserId), Field::new("x-email", Email), Field::new("x-access-token", Token)],
    },
];

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
        Seen { product: product.name, headers: names.into_iter().map(|(_, name)| name).collect() }
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
}
