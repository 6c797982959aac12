//! The URL that the client used, and where it is, as far as headers tell.
//!
//! Every header here may have been written by the client. A proxy that is set up well overwrites them; that cannot be
//! seen from behind it, so each conclusion comes with its evidence.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::{HeaderMap, HeaderName, Uri};

use super::origin::is_internal;
use super::redact::decode;
use crate::config::EndpointUrl;

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

/// The source of a URL that is set.
const SET: &str = "MCP_PUBLIC_URL";

/// The URL of the request as the client wrote it, as far as the headers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https` or `http`.
    pub scheme: String,
    /// Host with its port, unless that is the scheme's default; `None` when nothing names a host.
    pub host: Option<String>,
    /// Path with the prefix that a proxy took away; no query, since that may hold a token.
    pub path: String,
    /// The headers that told scheme and host, or the variable that did; empty when nothing did.
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

    /// Whether it was set, so that no header tells otherwise.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.sources == [SET]
    }

    /// The URL that is set, in place of this one, which headers tell.
    #[must_use]
    pub fn in_favour_of(self, set: &EndpointUrl) -> Self {
        let EndpointUrl { scheme, host, path } = set.clone();
        Self { scheme, host: Some(host), path, sources: vec![SET], conflicts: self.conflicts }
    }

    /// `https://host`, an origin (RFC 6454 section 6.2); `None` when nothing names a host.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        Some(format!("{}://{}", self.scheme, self.host.as_ref()?))
    }
}

/// Headers in which a gateway tells the path before it rewrote it, besides `X-Forwarded-Prefix`: Envoy's `prefix_rewrite`,
/// Traefik's `ReplacePath`.
const ORIGINAL_PATH: [&str; 2] = ["x-envoy-original-path", "x-replaced-path"];

/// The URL that the client used for `uri`: from `X-Forwarded-Proto`, `-Host`, `-Port` and `-Prefix`, from `Host` (or
/// `:authority`), and from `Forwarded` (RFC 7239 sections 5.3 and 5.4) what those leave open: gateways in wide use hand a
/// client's `Forwarded` on as it came. Else it is plain HTTP. Of a list the first entry counts: the proxy nearest to the
/// client wrote it, or the client itself.
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
    let seen_host = own_host.as_deref().filter(|host| x_host.is_none() && !is_internal(host)).map(without_default_port);
    differ(("Forwarded", named[0].as_ref()), ("Host", seen_host.as_ref()));

    let mut sources = Vec::new();
    let mut pick = |candidates: [(&'static str, Option<String>); 4]| {
        let (name, value) = candidates.into_iter().find_map(|(name, value)| Some((name, value?)))?;
        if !sources.contains(&name) {
            sources.push(name);
        }
        Some(value)
    };
    // A name that clients cannot use was set by a proxy: then `Forwarded` may know better.
    let (public_host, inner_host) =
        if own_host.as_deref().is_some_and(is_internal) { (None, own_host) } else { (own_host, None) };
    let scheme = pick([("X-Forwarded-Proto", x_proto), ("Forwarded", forwarded_proto), ("", None), ("", None)]);
    let hosts =
        [("X-Forwarded-Host", x_host), ("Host", public_host), ("Forwarded", forwarded_host), ("Host", inner_host)];
    let host = pick(hosts);

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
    let original = ORIGINAL_PATH.iter().filter(|_| prefix.is_none()).find_map(|name| {
        let path = first(headers, name)?.split(['?', '#']).next()?.to_owned();
        (path.starts_with('/') && !path.starts_with("//")).then_some((*name, path))
    });
    let path = match original {
        Some((name, path)) => {
            sources.push(if name == ORIGINAL_PATH[0] { "X-Envoy-Original-Path" } else { "X-Replaced-Path" });
            path
        }
        None => format!("{}{}", prefix.as_deref().unwrap_or_default().trim_end_matches('/'), uri.path()),
    };
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
pub(super) fn all(headers: &HeaderMap, name: &str) -> String {
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
            (&[("forwarded", "proto=https;host=evil.example"), ("host", "a.example")], "https://a.example/mcp"),
            (
                &[("forwarded", "proto=http;host=evil.example"), ("host", "a.example"), ("x-forwarded-proto", "https")],
                "https://a.example/mcp",
            ),
            (&[("forwarded", "proto=https;host=a.example"), ("host", "backend:3000")], "https://a.example/mcp"),
            (&[("host", "b"), ("x-envoy-original-path", "/tools/mcp?token=x")], "http://b/tools/mcp"),
            (&[("host", "b"), ("x-replaced-path", "/tools/mcp")], "http://b/tools/mcp"),
            (&[("host", "b"), ("x-envoy-original-path", "//evil.example")], "http://b/mcp"),
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
}
