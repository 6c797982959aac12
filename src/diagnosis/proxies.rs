//! The proxies in front, as far as headers give them away.
//!
//! A client may have written every header here, so each conclusion comes with its evidence.

use http::HeaderMap;
use serde::Serialize;

use super::forwarding::all;
use super::headers::title_case;

/// A proxy, and the headers that give it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proxy {
    /// Its name.
    pub name: &'static str,
    /// Header names as people write them, with what is telling about their value.
    pub evidence: Vec<String>,
}

/// Headers that only one proxy writes. Several rows may have one name.
const TELLTALES: [(&str, &str); 33] = [
    // Traefik pkg/middlewares/forwardedheaders; X-Forwarded-Server alone is also Apache's, see `shared`.
    ("Traefik", "x-forwarded-tls-client-cert"),
    ("Traefik", "x-forwarded-tls-client-cert-info"),
    ("Traefik", "x-traefik-fast-proxy"),
    ("Cloudflare", "cf-ray"),
    ("Cloudflare", "cf-connecting-ip"),
    ("Cloudflare", "cf-visitor"),
    ("AWS load balancer", "x-amzn-trace-id"),
    ("AWS load balancer", "x-amzn-mtls-clientcert-subject"),
    ("AWS CloudFront", "x-amz-cf-id"),
    ("AWS CloudFront", "cloudfront-forwarded-proto"),
    ("Google Cloud load balancer", "x-cloud-trace-context"),
    ("Azure Front Door", "x-azure-ref"),
    ("Azure Front Door", "x-azure-fdid"),
    ("Azure App Service", "x-arr-log-id"),
    ("Azure App Service", "x-arr-ssl"),
    ("Akamai", "akamai-origin-hop"),
    ("Akamai", "x-akamai-edgescape"),
    ("Fastly", "fastly-client-ip"),
    ("Fastly", "fastly-ff"),
    ("Fly.io", "fly-request-id"),
    ("Fly.io", "fly-client-ip"),
    ("Vercel", "x-vercel-id"),
    ("Railway", "x-railway-request-id"),
    ("Railway", "x-railway-edge"),
    ("ngrok", "ngrok-trace-id"),
    ("Envoy", "x-envoy-external-address"),
    ("Envoy", "x-envoy-internal"),
    ("Envoy", "x-envoy-original-path"),
    ("Envoy", "x-envoy-expected-rq-timeout-ms"),
    ("Envoy", "x-forwarded-client-cert"),
    ("Kong", "x-kong-request-id"),
    ("ingress-nginx", "x-original-forwarded-for"),
    ("Tailscale Serve", "tailscale-headers-info"),
];

/// What proxies call themselves in `Via` (RFC 9110 section 7.6.3) or `CDN-Loop` (RFC 8586), lower case.
const SELF_NAMED: [(&str, &str); 10] = [
    ("AWS CloudFront", "cloudfront"),
    ("Google Cloud load balancer", "google"),
    ("Caddy", "caddy"),
    ("Kong", "kong"),
    ("Varnish", "varnish"),
    ("Squid", "squid"),
    ("Heroku router", "vegur"),
    ("Heroku router", "heroku-router"),
    ("Cloudflare", "cloudflare"),
    ("Fly.io", "fly.io"),
];

/// The proxies that `headers` give away. One that is seen only by headers any proxy writes is called `unknown proxy`.
#[must_use]
pub fn proxies(headers: &HeaderMap) -> Vec<Proxy> {
    let mut found: Vec<Proxy> = Vec::new();
    let mut add = |name: &'static str, evidence: String| match found.iter_mut().find(|proxy| proxy.name == name) {
        Some(proxy) => proxy.evidence.push(evidence),
        None => found.push(Proxy { name, evidence: vec![evidence] }),
    };
    if let Some((name, evidence)) = shared(headers) {
        add(name, evidence);
    }
    for (name, header) in TELLTALES {
        if headers.contains_key(header) {
            add(name, title_case(header));
        }
    }
    for header in ["via", "cdn-loop"] {
        let value = all(headers, header).to_ascii_lowercase();
        for (name, word) in SELF_NAMED {
            if value
                .split([' ', ',', ';', '(', ')', '/'])
                .any(|part| part == word || part.ends_with(&format!(".{word}.net")))
            {
                add(name, format!("{} names {word}", title_case(header)));
            }
        }
    }
    if found.is_empty() {
        let general = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via"];
        let evidence: Vec<String> =
            general.iter().filter(|name| headers.contains_key(**name)).map(|name| title_case(name)).collect();
        if !evidence.is_empty() {
            found.push(Proxy { name: "unknown proxy", evidence });
        }
    }
    found
}

/// Headers that several proxies write, told apart by their company: Traefik sends X-Forwarded-Server with X-Real-Ip and
/// X-Forwarded-Port (pkg/middlewares/forwardedheaders), Apache's mod_proxy sends it with neither; nginx has no headers
/// of its own, but X-Real-Ip without X-Forwarded-Server is its documentation's example.
fn shared(headers: &HeaderMap) -> Option<(&'static str, String)> {
    let has = |name: &str| headers.contains_key(name);
    match (has("x-forwarded-server"), has("x-real-ip"), has("x-forwarded-port")) {
        (true, true, _) => Some(("Traefik", "X-Forwarded-Server with X-Real-Ip".to_owned())),
        (true, false, false) => Some(("Apache mod_proxy", "X-Forwarded-Server without X-Real-Ip".to_owned())),
        (true, false, true) => Some(("Traefik", "X-Forwarded-Server with X-Forwarded-Port".to_owned())),
        (false, true, _) if has("x-scheme") || has("x-forwarded-scheme") => {
            Some(("ingress-nginx", "X-Real-Ip with X-Scheme or X-Forwarded-Scheme".to_owned()))
        }
        (false, true, _) => Some(("nginx (likely)", "X-Real-Ip without X-Forwarded-Server".to_owned())),
        (false, false, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::testing::headers;

    #[test]
    fn proxies_are_named_with_their_evidence() {
        let names =
            |given: &[(&str, &str)]| proxies(&headers(given)).iter().map(|proxy| proxy.name).collect::<Vec<_>>();
        let traefik =
            proxies(&headers(&[("x-forwarded-server", "t1"), ("x-real-ip", "10.0.0.1"), ("cf-ray", "8f-FRA")]));
        assert_eq!(traefik[0].evidence, ["X-Forwarded-Server with X-Real-Ip"]);
        assert_eq!(traefik[1], Proxy { name: "Cloudflare", evidence: vec!["Cf-Ray".into()] });
        assert_eq!(names(&[("x-forwarded-server", "a")]), ["Apache mod_proxy"]);
        assert_eq!(names(&[("x-real-ip", "10.0.0.1")]), ["nginx (likely)"]);
        assert_eq!(
            names(&[("x-envoy-external-address", "1"), ("x-amzn-trace-id", "Root=1")]),
            ["AWS load balancer", "Envoy"]
        );
        assert_eq!(names(&[("via", "2.0 abc.cloudfront.net (CloudFront), 1.1 Caddy")]), ["AWS CloudFront", "Caddy"]);
        assert_eq!(names(&[("x-forwarded-for", "10.0.0.1")]), ["unknown proxy"]);
        assert_eq!(names(&[("host", "a")]), Vec::<&str>::new());
    }
}
