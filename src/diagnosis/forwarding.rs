//! The proxies in front, as far as headers give them away, and the URL that the client used.
//!
//! Every header here may have been written by the client. A proxy that is set up well overwrites them; that cannot be
//! seen from behind it, so each conclusion comes with its evidence.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::{HeaderMap, HeaderName, Uri};
use serde::Serialize;

use super::redact::decode;

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
            add(name, super::headers::title_case(header));
        }
    }
    for header in ["via", "cdn-loop"] {
        let value = all(headers, header).to_ascii_lowercase();
        for (name, word) in SELF_NAMED {
            if value
                .split([' ', ',', ';', '(', ')', '/'])
                .any(|part| part == word || part.ends_with(&format!(".{word}.net")))
            {
                add(name, format!("{} names {word}", super::headers::title_case(header)));
            }
        }
    }
    if found.is_empty() {
        let general = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via"];
        let evidence: Vec<String> = general
            .iter()
            .filter(|name| headers.contains_key(**name))
            .map(|name| super::headers::title_case(name))
            .collect();
        if !evidence.is_empty() {
            found.push(Proxy { name: "unknown proxy", evidence });
        }
    }
    found
}

/// Every request is asked for it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where the client is, as far as the request tells: the first hop of X-Forwarded-For, else the other end of the connection.
#[must_use]
pub fn client_address(headers: &HeaderMap, peer: Option<SocketAddr>) -> Option<IpAddr> {
    let first = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok()?.split(',').next());
    let first = first.map(str::trim).and_then(|hop| {
        let hop = hop.trim_matches(['[', ']']);
        // Some proxies write the port too.
        hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
    });
    first.or_else(|| peer.map(|peer| peer.ip())).map(|address| address.to_canonical())
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

/// The URL of the request as the client wrote it, as far as the headers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https` or `http`.
    pub scheme: String,
    /// Host with its port, unless that is the scheme's default; `None` when nothing names a host.
    pub host: Option<String>,
    /// Path with the prefix that a proxy took away; no query, since that may hold a token.
    pub path: String,
    /// The headers that told scheme and host; empty when nothing did.
    pub sources: Vec<&'static str>,
    /// What does not fit together, one sentence each.
    pub conflicts: Vec<String>,
}

impl PublicUrl {
    /// `https://host/path`; `None` when nothing names a host.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        Some(format!("{}{}", self.origin()?, self.path))
    }

    /// `https://host`, an origin (RFC 6454 section 6.2); `None` when nothing names a host.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        Some(format!("{}://{}", self.scheme, self.host.as_ref()?))
    }
}

/// The URL that the client used for `uri`: from `Forwarded` (RFC 7239 sections 5.3 and 5.4), else from
/// `X-Forwarded-Proto`, `-Host`, `-Port` and `-Prefix`, else from `Host` (or `:authority`) and plain HTTP. Of a list
/// the first entry counts: the proxy nearest to the client wrote it, or the client itself.
#[must_use]
pub fn public_url(headers: &HeaderMap, uri: &Uri) -> PublicUrl {
    let (forwarded_proto, forwarded_host) = forwarded(&all(headers, "forwarded"));
    let x_proto = first(headers, "x-forwarded-proto").map(|proto| web_scheme(&proto));
    let x_host = first(headers, "x-forwarded-host").filter(|host| is_authority(host));
    let x_port = first(headers, "x-forwarded-port").and_then(|port| port.parse::<u16>().ok());
    let own_host =
        first(headers, HOST.as_str()).or_else(|| Some(uri.authority()?.to_string())).filter(|host| is_authority(host));

    let mut conflicts = Vec::new();
    let mut differ = |left: (&str, Option<&String>), right: (&str, Option<&String>)| {
        if let (Some(a), Some(b)) = (left.1, right.1)
            && !a.eq_ignore_ascii_case(b)
        {
            conflicts.push(format!("{} says {a}, {} says {b}", left.0, right.0));
        }
    };
    differ(("Forwarded", forwarded_proto.as_ref()), ("X-Forwarded-Proto", x_proto.as_ref()));
    let named = [&forwarded_host, &x_host].map(|host| host.as_deref().map(without_default_port));
    differ(("Forwarded", named[0].as_ref()), ("X-Forwarded-Host", named[1].as_ref()));

    let mut sources = Vec::new();
    let mut pick = |candidates: [(&'static str, Option<String>); 3]| {
        let (name, value) = candidates.into_iter().find_map(|(name, value)| Some((name, value?)))?;
        if !sources.contains(&name) {
            sources.push(name);
        }
        Some(value)
    };
    let scheme = pick([("Forwarded", forwarded_proto), ("X-Forwarded-Proto", x_proto), ("", None)]);
    let host = pick([("Forwarded", forwarded_host), ("X-Forwarded-Host", x_host), ("Host", own_host)]);

    let scheme_known = scheme.is_some();
    let scheme = scheme.unwrap_or_else(|| "http".to_owned());
    let default_port = if scheme == "https" { 443 } else { 80 };
    let host = host.map(|host| {
        let host = host.to_ascii_lowercase();
        match (port_of(&host), x_port) {
            (Some(port), _) if port == default_port => host[..host.rfind(':').unwrap_or(host.len())].to_owned(),
            (None, Some(port)) if port != default_port && sources.contains(&"X-Forwarded-Host") => {
                sources.push("X-Forwarded-Port");
                format!("{host}:{port}")
            }
            _ => host,
        }
    });
    if scheme == "http" && x_port == Some(443) {
        conflicts.push(format!(
            "X-Forwarded-Port says 443, {} http",
            if scheme_known { "the scheme is told as" } else { "but nothing says https: taken for" }
        ));
    }
    let prefix =
        first(headers, "x-forwarded-prefix").filter(|prefix| prefix.starts_with('/') && !prefix.starts_with("//"));
    if prefix.is_some() {
        sources.push("X-Forwarded-Prefix");
    }
    let path = format!("{}{}", prefix.as_deref().unwrap_or_default().trim_end_matches('/'), uri.path());
    PublicUrl { scheme, host, path, sources, conflicts }
}

/// `proto` and `host` of the first element of a `Forwarded` value (RFC 7239 section 4).
fn forwarded(value: &str) -> (Option<String>, Option<String>) {
    let element = unquoted_split(value, ',').next().unwrap_or_default();
    let parameter = |name: &str| {
        unquoted_split(element, ';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    (parameter("proto").map(|proto| web_scheme(&proto)), parameter("host").filter(|host| is_authority(host)))
}

/// The parts of `text` between `separator`s that stand outside of double quotes.
fn unquoted_split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// Traefik names the scheme of an upgraded connection `ws` or `wss`.
fn web_scheme(proto: &str) -> String {
    match proto.to_ascii_lowercase().as_str() {
        "https" | "wss" => "https".to_owned(),
        _ => "http".to_owned(),
    }
}

/// Whether `host` can stand in a URL as host and port: nothing in it ends the authority or adds user information.
fn is_authority(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]~%".contains(&b))
}

/// `host` without `:443` or `:80`: some proxies write the default port and some do not.
pub(crate) fn without_default_port(host: &str) -> String {
    let default = matches!(port_of(host), Some(443 | 80));
    if default { host[..host.rfind(':').unwrap_or(host.len())].to_owned() } else { host.to_owned() }
}

/// The port that `host` names.
fn port_of(host: &str) -> Option<u16> {
    let (name, port) = host.rsplit_once(':')?;
    let in_brackets = name.contains(':') && !name.ends_with(']');
    if in_brackets { None } else { port.parse().ok() }
}

/// All lines of a header as one list.
fn all(headers: &HeaderMap, name: &str) -> String {
    let lines: Vec<_> = headers.get_all(name).iter().map(|value| decode(value.as_bytes())).collect();
    lines.join(", ")
}

/// The first entry of a list header.
pub(crate) fn first(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = decode(headers.get(name)?.as_bytes()).split(',').next()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::testing::headers;

    fn url(given: &[(&str, &str)]) -> Option<String> {
        public_url(&headers(given), &Uri::from_static("/mcp?token=x")).url()
    }

    #[test]
    fn the_clients_url_is_told_by_the_proxy_and_else_by_the_host() {
        for (given, expected) in [
            (&[("host", "mcp.example:8443")][..], "http://mcp.example:8443/mcp"),
            (
                &[("host", "a"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "Mcp.Example")],
                "https://mcp.example/mcp",
            ),
            (&[("host", "a"), ("x-forwarded-proto", "wss, http"), ("x-forwarded-host", "b, c")], "https://b/mcp"),
            (
                &[("x-forwarded-proto", "https"), ("x-forwarded-host", "b"), ("x-forwarded-port", "8443")],
                "https://b:8443/mcp",
            ),
            (
                &[("x-forwarded-proto", "https"), ("x-forwarded-host", "b:443"), ("x-forwarded-port", "443")],
                "https://b/mcp",
            ),
            (
                &[("forwarded", "for=\"[2001:db8::1]:1\";proto=https;host=\"b:8443\", for=x;host=c")],
                "https://b:8443/mcp",
            ),
            (&[("host", "[::1]:3000")], "http://[::1]:3000/mcp"),
            (&[("host", "[::1]")], "http://[::1]/mcp"),
            (&[("host", "b"), ("x-forwarded-prefix", "/echo/")], "http://b/echo/mcp"),
            (&[("host", "b"), ("x-forwarded-prefix", "//evil.example")], "http://b/mcp"),
            (&[("host", "b"), ("x-forwarded-host", "evil.example/@x")], "http://b/mcp"),
        ] {
            assert_eq!(url(given).as_deref(), Some(expected), "{given:?}");
        }
        assert_eq!(url(&[]), None);
        let http2 = public_url(&HeaderMap::new(), &Uri::from_static("https://mcp.example/mcp"));
        assert_eq!(
            http2.url().as_deref(),
            Some("http://mcp.example/mcp"),
            ":authority, but nothing tells of TLS in front"
        );
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        let conflicts = |given: &[(&str, &str)]| public_url(&headers(given), &Uri::from_static("/mcp")).conflicts;
        assert_eq!(
            conflicts(&[("forwarded", "proto=https;host=a"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "b")]),
            ["Forwarded says https, X-Forwarded-Proto says http", "Forwarded says a, X-Forwarded-Host says b"]
        );
        assert_eq!(conflicts(&[("x-forwarded-port", "443"), ("host", "a")]).len(), 1);
        assert!(conflicts(&[("forwarded", "proto=https;host=a"), ("x-forwarded-proto", "HTTPS")]).is_empty());
    }

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
