//! The gateways in front, as far as headers give them away.
//!
//! A client may have written every header here, so each conclusion comes with its evidence, and one that rests on a
//! custom of configuration instead of a header that only one product writes is called *likely*.

#![cfg_attr(not(test), expect(clippy::enum_glob_use, reason = "the tables name nearly all of them"))]

use http::HeaderMap;
use http::header::{COOKIE, HOST};
use serde::{Serialize, Serializer};

use super::forwarding::all;
use super::headers::title_case;
use super::products;

/// A gateway: something that requests pass on their way here, and that can be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is its own name: see `Gateway::name`")]
pub enum Gateway {
    Traefik,
    Nginx,
    IngressNginx,
    Apache,
    ModAuthOpenidc,
    ModOauth2,
    Envoy,
    EnvoyOauth2,
    EnvoyGateway,
    Istio,
    HaProxy,
    Caddy,
    Kong,
    Apisix,
    Oauth2Proxy,
    Authelia,
    Authentik,
    Pomerium,
    Cloudflare,
    CloudflareAccess,
    AwsLoadBalancer,
    AwsApiGateway,
    CloudFront,
    GoogleCloud,
    GoogleIap,
    AzureAppService,
    AzureEasyAuth,
    AzureApim,
    AzureFrontDoor,
    Tailscale,
    Ngrok,
    Akamai,
    Fastly,
    Fly,
    Heroku,
    Railway,
    Vercel,
    Squid,
    Varnish,
}

/// Where on the way a gateway stands: where several are seen, the first of these with something to set is nearest the
/// fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// It checks who comes, and hands the request on itself.
    Login,
    /// A reverse proxy.
    Proxy,
    /// A service that a reverse proxy asks; what has to be set is set at that proxy, as a rule.
    Asked,
    /// A platform or a network at the edge.
    Edge,
}

impl Gateway {
    /// All of them, in the order of the pages.
    pub const ALL: [Self; 39] = [
        Self::Traefik,
        Self::Nginx,
        Self::IngressNginx,
        Self::Apache,
        Self::ModAuthOpenidc,
        Self::ModOauth2,
        Self::Envoy,
        Self::EnvoyOauth2,
        Self::EnvoyGateway,
        Self::Istio,
        Self::HaProxy,
        Self::Caddy,
        Self::Kong,
        Self::Apisix,
        Self::Oauth2Proxy,
        Self::Authelia,
        Self::Authentik,
        Self::Pomerium,
        Self::Cloudflare,
        Self::CloudflareAccess,
        Self::AwsLoadBalancer,
        Self::AwsApiGateway,
        Self::CloudFront,
        Self::GoogleCloud,
        Self::GoogleIap,
        Self::AzureAppService,
        Self::AzureEasyAuth,
        Self::AzureApim,
        Self::AzureFrontDoor,
        Self::Tailscale,
        Self::Ngrok,
        Self::Akamai,
        Self::Fastly,
        Self::Fly,
        Self::Heroku,
        Self::Railway,
        Self::Vercel,
        Self::Squid,
        Self::Varnish,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traefik => "Traefik",
            Self::Nginx => "nginx",
            Self::IngressNginx => "ingress-nginx",
            Self::Apache => "Apache mod_proxy",
            Self::ModAuthOpenidc => "Apache mod_auth_openidc",
            Self::ModOauth2 => "Apache mod_oauth2",
            Self::Envoy => "Envoy",
            Self::EnvoyOauth2 => "Envoy's oauth2 filter",
            Self::EnvoyGateway => "Envoy Gateway",
            Self::Istio => "Istio",
            Self::HaProxy => "HAProxy",
            Self::Caddy => "Caddy",
            Self::Kong => "Kong",
            Self::Apisix => "APISIX",
            Self::Oauth2Proxy => "oauth2-proxy",
            Self::Authelia => "Authelia",
            Self::Authentik => "authentik outpost",
            Self::Pomerium => "Pomerium",
            Self::Cloudflare => "Cloudflare",
            Self::CloudflareAccess => "Cloudflare Access",
            Self::AwsLoadBalancer => "AWS load balancer",
            Self::AwsApiGateway => "AWS API Gateway",
            Self::CloudFront => "AWS CloudFront",
            Self::GoogleCloud => "Google Cloud (Cloud Run or load balancer)",
            Self::GoogleIap => "Google IAP",
            Self::AzureAppService => "Azure App Service",
            Self::AzureEasyAuth => "Azure App Service authentication",
            Self::AzureApim => "Azure API Management",
            Self::AzureFrontDoor => "Azure Front Door",
            Self::Tailscale => "Tailscale Serve",
            Self::Ngrok => "ngrok",
            Self::Akamai => "Akamai",
            Self::Fastly => "Fastly",
            Self::Fly => "Fly.io",
            Self::Heroku => "Heroku router",
            Self::Railway => "Railway",
            Self::Vercel => "Vercel",
            Self::Squid => "Squid",
            Self::Varnish => "Varnish",
        }
    }

    /// What it runs in, where that has settings of its own.
    #[must_use]
    pub const fn host(self) -> Option<Self> {
        match self {
            Self::ModAuthOpenidc | Self::ModOauth2 => Some(Self::Apache),
            Self::EnvoyOauth2 => Some(Self::Envoy),
            Self::CloudflareAccess => Some(Self::Cloudflare),
            Self::GoogleIap => Some(Self::GoogleCloud),
            Self::AzureEasyAuth => Some(Self::AzureAppService),
            _ => None,
        }
    }

    const fn place(self) -> Place {
        match self {
            Self::ModAuthOpenidc
            | Self::ModOauth2
            | Self::EnvoyOauth2
            | Self::Oauth2Proxy
            | Self::Pomerium
            | Self::CloudflareAccess
            | Self::GoogleIap
            | Self::AzureEasyAuth => Place::Login,
            Self::Authelia | Self::Authentik => Place::Asked,
            Self::Traefik
            | Self::Nginx
            | Self::IngressNginx
            | Self::Apache
            | Self::Envoy
            | Self::EnvoyGateway
            | Self::Istio
            | Self::HaProxy
            | Self::Caddy
            | Self::Kong
            | Self::Apisix
            | Self::Squid
            | Self::Varnish => Place::Proxy,
            _ => Place::Edge,
        }
    }

    /// The gateway that writes the headers of a product of the table in [`products`].
    fn of_product(name: &str) -> Option<Self> {
        Some(match name {
            "oauth2-proxy (auth request)" | "oauth2-proxy (upstream)" => Self::Oauth2Proxy,
            "Authelia" => Self::Authelia,
            "authentik" => Self::Authentik,
            "Pomerium" => Self::Pomerium,
            "Cloudflare Access" => Self::CloudflareAccess,
            "Google IAP" => Self::GoogleIap,
            "AWS ALB" => Self::AwsLoadBalancer,
            "Azure EasyAuth" => Self::AzureEasyAuth,
            "mod_auth_openidc" => Self::ModAuthOpenidc,
            "mod_oauth2" => Self::ModOauth2,
            "Tailscale Serve" => Self::Tailscale,
            _ => return None,
        })
    }
}

/// A proxy, and the headers that give it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proxy {
    /// What it is, and whether that is only likely; `None`: headers that any proxy writes.
    #[serde(rename = "name", serialize_with = "shown")]
    pub gateway: Option<Seen>,
    /// Header names as people write them, with what is telling about their value.
    pub evidence: Vec<String>,
}

/// A gateway, and how sure it is that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which one.
    pub gateway: Gateway,
    /// By a custom, and not by what only this one writes.
    pub likely: bool,
}

impl Proxy {
    /// Its name, ` (likely)` where it is only that; `unknown proxy`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.gateway {
            None => "unknown proxy".to_owned(),
            Some(Seen { gateway, likely: true }) => format!("{} (likely)", gateway.name()),
            Some(Seen { gateway, likely: false }) => gateway.name().to_owned(),
        }
    }
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn shown<S: Serializer>(gateway: &Option<Seen>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&Proxy { gateway: *gateway, evidence: Vec::new() }.name())
}

/// Headers that only one gateway writes. Several rows may have one gateway.
const TELLTALES: &[(Gateway, &str)] = {
    use Gateway::*;
    &[
        // Traefik pkg/middlewares/forwardedheaders, replacepath; X-Forwarded-Server alone is also Apache's, see `by_company`.
        (Traefik, "x-forwarded-tls-client-cert"),
        (Traefik, "x-forwarded-tls-client-cert-info"),
        (Traefik, "x-traefik-fast-proxy"),
        (Traefik, "x-replaced-path"),
        (Cloudflare, "cf-ray"),
        (Cloudflare, "cf-connecting-ip"),
        (Cloudflare, "cf-visitor"),
        (Cloudflare, "cf-warp-tag-id"),
        (AwsLoadBalancer, "x-amzn-trace-id"),
        (AwsLoadBalancer, "x-amzn-mtls-clientcert-subject"),
        // docs.aws.amazon.com/apigateway: HTTP integrations.
        (AwsApiGateway, "x-amzn-apigateway-api-id"),
        (CloudFront, "x-amz-cf-id"),
        (CloudFront, "cloudfront-forwarded-proto"),
        // cloud.google.com/trace: load balancers and Cloud Run both write it.
        (GoogleCloud, "x-cloud-trace-context"),
        (GoogleCloud, "x-serverless-authorization"),
        (AzureFrontDoor, "x-azure-ref"),
        (AzureFrontDoor, "x-azure-fdid"),
        (AzureAppService, "x-arr-log-id"),
        (AzureAppService, "x-arr-ssl"),
        (AzureAppService, "x-appservice-proto"),
        (AzureAppService, "x-site-deployment-id"),
        (AzureApim, "ocp-apim-subscription-key"),
        (Akamai, "akamai-origin-hop"),
        (Akamai, "x-akamai-edgescape"),
        (Fastly, "fastly-client-ip"),
        (Fastly, "fastly-ff"),
        (Fly, "fly-request-id"),
        (Fly, "fly-client-ip"),
        (Vercel, "x-vercel-id"),
        (Railway, "x-railway-request-id"),
        (Railway, "x-railway-edge"),
        (Ngrok, "ngrok-trace-id"),
        // istio.io: telemetry between sidecars.
        (Istio, "x-envoy-peer-metadata"),
        (Istio, "x-envoy-peer-metadata-id"),
        (Istio, "x-envoy-decorator-operation"),
        // envoyproxy.io: router filter, HTTP header manipulation.
        (Envoy, "x-envoy-external-address"),
        (Envoy, "x-envoy-internal"),
        (Envoy, "x-envoy-original-path"),
        (Envoy, "x-envoy-original-host"),
        (Envoy, "x-envoy-expected-rq-timeout-ms"),
        (Envoy, "x-envoy-attempt-count"),
        (Envoy, "x-envoy-auth-failure-mode-allowed"),
        (Envoy, "x-forwarded-client-cert"),
        // docs.konghq.com: headers sent upstream.
        (Kong, "x-kong-request-id"),
        (Kong, "x-forwarded-path"),
        (Kong, "x-anonymous-consumer"),
        (IngressNginx, "x-original-forwarded-for"),
        (Tailscale, "tailscale-headers-info"),
        (Tailscale, "tailscale-funnel-request"),
    ]
};

/// What gateways call themselves in `Via` (RFC 9110 section 7.6.3) or `CDN-Loop` (RFC 8586), lower case.
const SELF_NAMED: &[(Gateway, &str)] = &[
    (Gateway::CloudFront, "cloudfront"),
    (Gateway::GoogleCloud, "google"),
    (Gateway::Caddy, "caddy"),
    (Gateway::Kong, "kong"),
    (Gateway::Varnish, "varnish"),
    (Gateway::Squid, "squid"),
    (Gateway::Heroku, "vegur"),
    (Gateway::Heroku, "heroku-router"),
    (Gateway::Cloudflare, "cloudflare"),
    (Gateway::Fly, "fly.io"),
    (Gateway::AwsApiGateway, "amazonapigateway"),
];

/// Names below which only one platform serves: it picks the server by them.
const HOSTS: &[(Gateway, &str)] = &[
    (Gateway::GoogleCloud, ".run.app"),
    (Gateway::Ngrok, ".ngrok-free.app"),
    (Gateway::Ngrok, ".ngrok-free.dev"),
    (Gateway::Ngrok, ".ngrok.app"),
    (Gateway::Ngrok, ".ngrok.dev"),
    (Gateway::Ngrok, ".ngrok.io"),
    (Gateway::Tailscale, ".ts.net"),
    (Gateway::Cloudflare, ".trycloudflare.com"),
    (Gateway::AzureAppService, ".azurewebsites.net"),
    (Gateway::AzureApim, ".azure-api.net"),
    (Gateway::AzureFrontDoor, ".azurefd.net"),
    (Gateway::CloudFront, ".cloudfront.net"),
    (Gateway::AwsLoadBalancer, ".elb.amazonaws.com"),
    (Gateway::Fly, ".fly.dev"),
    (Gateway::Heroku, ".herokuapp.com"),
    (Gateway::Railway, ".up.railway.app"),
    (Gateway::Vercel, ".vercel.app"),
];

/// Beginnings of header names that only one module writes, by its default settings (lower case).
const PREFIXES: &[(Gateway, &str)] = &[
    // mod_auth_openidc: OIDCClaimPrefix, OIDCPassClaimsAs.
    (Gateway::ModAuthOpenidc, "oidc_claim_"),
    (Gateway::ModAuthOpenidc, "oidc_access_token"),
    (Gateway::ModAuthOpenidc, "oidc_id_token"),
    // mod_oauth2: OAuth2TargetPass, prefix.
    (Gateway::ModOauth2, "oauth2_claim_"),
];

/// The proxies that `headers` give away, nearest to this server first as far as that can be told. One that is seen only by
/// headers any proxy writes is called `unknown proxy`.
#[must_use]
pub fn proxies(headers: &HeaderMap) -> Vec<Proxy> {
    let mut found: Vec<Proxy> = Vec::new();
    let mut add = |gateway: Gateway, likely: bool, evidence: String| match found
        .iter_mut()
        .find(|proxy| proxy.gateway.is_some_and(|seen| seen.gateway == gateway))
    {
        Some(proxy) if !proxy.evidence.contains(&evidence) => proxy.evidence.push(evidence),
        Some(_) => {}
        None => found.push(Proxy { gateway: Some(Seen { gateway, likely }), evidence: vec![evidence] }),
    };
    if let Some((gateway, evidence)) = by_company(headers) {
        add(gateway, false, evidence.to_owned());
    }
    for &(gateway, header) in TELLTALES {
        if headers.contains_key(header) {
            add(gateway, false, title_case(header));
        }
    }
    for header in ["via", "cdn-loop"] {
        let value = all(headers, header).to_ascii_lowercase();
        let named = |word: &str| {
            let mut parts = value.split([' ', ',', ';', '(', ')', '/']);
            parts.any(|part| part == word || part.strip_suffix(".net").is_some_and(|name| ends_below(name, word)))
        };
        for &(gateway, word) in SELF_NAMED.iter().filter(|(_, word)| named(word)) {
            add(gateway, false, format!("{} names {word}", title_case(header)));
        }
    }
    for header in ["x-forwarded-host", HOST.as_str()] {
        let value = all(headers, header).to_ascii_lowercase();
        let name = value.rsplit_once(':').map_or(value.as_str(), |(name, _)| name);
        if let Some(&(gateway, ending)) = HOSTS.iter().find(|(_, ending)| name.ends_with(ending)) {
            add(gateway, false, format!("{} ends in {ending}", title_case(header)));
        }
    }
    for name in headers.keys() {
        if let Some(&(gateway, _)) = PREFIXES.iter().find(|(_, prefix)| name.as_str().starts_with(prefix)) {
            add(gateway, false, title_case(name.as_str()));
        }
    }
    if let Some(evidence) = envoy_cookies(headers) {
        add(Gateway::EnvoyOauth2, false, evidence);
    }
    if !found.iter().any(|proxy| proxy.gateway.is_some_and(|seen| seen.gateway.place() == Place::Proxy))
        && let Some((gateway, evidence)) = by_custom(headers)
    {
        found.push(Proxy { gateway: Some(Seen { gateway, likely: true }), evidence: vec![evidence.to_owned()] });
    }
    if found.is_empty() {
        let general = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via"];
        let evidence: Vec<String> =
            general.iter().filter(|name| headers.contains_key(**name)).map(|name| title_case(name)).collect();
        if !evidence.is_empty() {
            found.push(Proxy { gateway: None, evidence });
        }
    }
    // A stable sort of a handful, as elsewhere in this folder: by place, those alike in the order found.
    let place = |proxy: &Proxy| proxy.gateway.map(|seen| seen.gateway.place());
    let mut sorted: Vec<Proxy> = Vec::with_capacity(found.len());
    for proxy in found {
        let at = sorted.partition_point(|before| place(before) <= place(&proxy));
        sorted.insert(at, proxy);
    }
    sorted
}

/// The gateways that `headers` give away, those whose login names the user included, nearest the fault first.
#[must_use]
pub fn gateways(headers: &HeaderMap) -> Vec<Seen> {
    let mut seen: Vec<Seen> = proxies(headers).into_iter().filter_map(|proxy| proxy.gateway).collect();
    for product in products::seen(headers) {
        if let Some(gateway) = Gateway::of_product(product.product)
            && !seen.iter().any(|known| known.gateway == gateway)
        {
            let at = seen.partition_point(|before| before.gateway.place() <= gateway.place());
            seen.insert(at, Seen { gateway, likely: false });
        }
    }
    seen
}

/// Whether `name` is `word` or ends in `.word`.
fn ends_below(name: &str, word: &str) -> bool {
    name.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Headers that two products write, told apart by their company: Traefik sends X-Forwarded-Server with X-Real-Ip and
/// X-Forwarded-Port (pkg/middlewares/forwardedheaders), Apache's mod_proxy sends it with neither. ingress-nginx sends both
/// X-Scheme and X-Forwarded-Scheme (its nginx.tmpl).
fn by_company(headers: &HeaderMap) -> Option<(Gateway, &'static str)> {
    let has = |name: &str| headers.contains_key(name);
    match (has("x-forwarded-server"), has("x-real-ip"), has("x-forwarded-port")) {
        (true, true, _) => Some((Gateway::Traefik, "X-Forwarded-Server with X-Real-Ip")),
        (true, false, true) => Some((Gateway::Traefik, "X-Forwarded-Server with X-Forwarded-Port")),
        (true, false, false) => Some((Gateway::Apache, "X-Forwarded-Server without X-Real-Ip")),
        (false, true, _) if has("x-scheme") && has("x-forwarded-scheme") => {
            Some((Gateway::IngressNginx, "X-Real-Ip with X-Scheme and X-Forwarded-Scheme"))
        }
        (false, ..) => None,
    }
}

/// Customs of configuration: nginx has no headers of its own, but X-Real-Ip is its documentation's example; HAProxy's
/// manual has an example of a unique id; Envoy gives every request a UUID, and tells the scheme but not the host.
fn by_custom(headers: &HeaderMap) -> Option<(Gateway, &'static str)> {
    let has = |name: &str| headers.contains_key(name);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if has("x-real-ip") {
        return Some((Gateway::Nginx, "X-Real-Ip without X-Forwarded-Server"));
    }
    let unique = text("x-unique-id");
    let count = |c: char| unique.chars().filter(|other| *other == c).count();
    if count(':') >= 3 && count('_') >= 3 && unique.bytes().all(|b| b.is_ascii_hexdigit() || b":_".contains(&b)) {
        return Some((Gateway::HaProxy, "X-Unique-Id in the form of its manual"));
    }
    let id = text("x-request-id");
    let elsewhere = ["x-forwarded-host", "x-forwarded-port", "via", "forwarded"].iter().any(|name| has(name));
    if has("x-forwarded-proto") && !elsewhere && id.len() == 36 && uuid::Uuid::try_parse(id).is_ok() {
        return Some((Gateway::Envoy, "X-Request-Id (a UUID) with X-Forwarded-Proto and without X-Forwarded-Host"));
    }
    None
}

/// The cookies of Envoy's oauth2 filter by their default names (envoyproxy.io: OAuth2 filter, `cookie_names`): two of
/// them, since one may be anybody's.
fn envoy_cookies(headers: &HeaderMap) -> Option<String> {
    const NAMES: [&str; 6] = ["OauthHMAC", "OauthExpires", "BearerToken", "IdToken", "RefreshToken", "OauthNonce"];
    let lines: Vec<&str> = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
    let names: Vec<&str> =
        lines.iter().flat_map(|line| line.split(';')).filter_map(|pair| Some(pair.split_once('=')?.0.trim())).collect();
    let found: Vec<&str> = NAMES.into_iter().filter(|name| names.contains(name)).collect();
    (found.len() >= 2).then(|| format!("cookies {}", found.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::testing::headers;

    fn names(given: &[(&str, &str)]) -> Vec<String> {
        proxies(&headers(given)).iter().map(Proxy::name).collect()
    }

    #[test]
    fn proxies_are_named_with_their_evidence() {
        let traefik =
            proxies(&headers(&[("x-forwarded-server", "t1"), ("x-real-ip", "10.0.0.1"), ("cf-ray", "8f-FRA")]));
        assert_eq!(traefik[0].evidence, ["X-Forwarded-Server with X-Real-Ip"]);
        assert_eq!((traefik[1].name().as_str(), &traefik[1].evidence), ("Cloudflare", &vec!["Cf-Ray".to_owned()]));
        assert_eq!(names(&[("x-forwarded-server", "a")]), ["Apache mod_proxy"]);
        assert_eq!(names(&[("x-real-ip", "10.0.0.1")]), ["nginx (likely)"]);
        assert_eq!(
            names(&[("x-envoy-external-address", "1"), ("x-amzn-trace-id", "Root=1")]),
            ["Envoy", "AWS load balancer"]
        );
        assert_eq!(names(&[("via", "2.0 abc.cloudfront.net (CloudFront), 1.1 Caddy")]), ["Caddy", "AWS CloudFront"]);
        assert_eq!(names(&[("x-forwarded-for", "10.0.0.1")]), ["unknown proxy"]);
        assert_eq!(names(&[("host", "a")]), Vec::<&str>::new());
    }

    /// As measured with the products, names replaced.
    #[test]
    fn healthy_gateways_are_known_by_what_they_send() {
        for (given, expected) in [
            (
                &[
                    ("x-forwarded-for", "203.0.113.7"),
                    ("x-forwarded-proto", "https"),
                    ("x-request-id", "6f2c9d0e-8a35-4b7c-9a01-2f3e4d5c6b7a"),
                ][..],
                &["Envoy (likely)"][..],
            ),
            (
                &[
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-host", "a"),
                    ("x-request-id", "6f2c9d0e-8a35-4b7c-9a01-2f3e4d5c6b7a"),
                ],
                &["unknown proxy"],
            ),
            (&[("x-forwarded-for", "1"), ("x-forwarded-host", "a"), ("via", "1.1 Caddy")], &["Caddy"]),
            (&[("oidc_claim_sub", "alice"), ("oidc_claim_iss", "https://i")], &["Apache mod_auth_openidc"]),
            (&[("oauth2_claim_sub", "alice")], &["Apache mod_oauth2"]),
            (&[("cookie", "BearerToken=a.b.c; OauthHMAC=x; theme=dark")], &["Envoy's oauth2 filter"]),
            (&[("cookie", "IdToken=a.b.c; theme=dark")], &[]),
            (
                &[("host", "mcp-123-uc.a.run.app"), ("x-forwarded-proto", "https")],
                &["Google Cloud (Cloud Run or load balancer)"],
            ),
            (&[("x-unique-id", "7F000001:8296_7F00001E:1F90_4F7B0A69_0003:790E")], &["HAProxy (likely)"]),
            (&[("x-unique-id", "abc")], &[]),
            (&[("x-real-ip", "1"), ("x-forwarded-scheme", "https")], &["nginx (likely)"]),
            (&[("x-real-ip", "1"), ("x-kong-request-id", "1")], &["Kong"]),
        ] {
            assert_eq!(names(given), expected, "{given:?}");
        }
    }

    #[test]
    fn of_several_the_one_nearest_the_fault_comes_first() {
        let seen =
            |given: &[(&str, &str)]| gateways(&headers(given)).into_iter().map(|seen| seen.gateway).collect::<Vec<_>>();
        assert_eq!(
            seen(&[("cf-ray", "1"), ("x-real-ip", "1"), ("x-auth-request-user", "alice"), ("remote-user", "alice")]),
            [Gateway::Oauth2Proxy, Gateway::Nginx, Gateway::Authelia, Gateway::Cloudflare]
        );
        assert!(seen(&[("x-user-id", "1"), ("x-forwarded-for", "1")]).is_empty());
    }
}
