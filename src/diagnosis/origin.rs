//! Web origins (RFC 6454): which ones may talk to this server, and which ones its CORS headers are for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Config, Origins};

/// Whether a request with this `Origin` is served: loopback origins always, others only where `MCP_ALLOWED_ORIGINS`
/// names them or is `*`. `null`, which any sandboxed frame has, is an origin like another here. The protocol asks for
/// this check against DNS rebinding (2025-11-25 basic/transports, Security Warning).
#[must_use]
pub fn origin_allowed(origin: &str, config: &Config) -> bool {
    is_loopback_origin(origin) || contains(&config.allowed_origins, origin)
}

/// Whether `origin` is in `origins`, after both are spelled alike.
#[must_use]
pub fn contains(origins: &Origins, origin: &str) -> bool {
    match origins {
        Origins::Any => true,
        Origins::Only(list) => serialise(origin).is_some_and(|origin| list.contains(&origin)),
    }
}

/// `http` or `https` on `localhost`, `*.localhost` (RFC 6761 section 6.3), 127.0.0.0/8 or `[::1]`, with any port.
#[must_use]
pub fn is_loopback_origin(origin: &str) -> bool {
    parse(origin).is_some_and(|origin| matches!(&*origin.scheme, "http" | "https") && is_loopback_host(&origin.host))
}

/// Whether `host` (a name or an address, IPv6 with or without brackets, no port) is this machine's own.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => address == Ipv6Addr::LOCALHOST,
        Err(_) => host == "localhost" || host.strip_suffix(".localhost").is_some_and(is_name),
    }
}

/// `origin` as browsers serialise it: lower case, without the scheme's default port (RFC 6454 section 6.2). `null` is
/// `null`; `None` for what is no origin.
#[must_use]
pub fn serialise(origin: &str) -> Option<String> {
    if origin == "null" {
        return Some("null".to_owned());
    }
    let Origin { scheme, host, port } = parse(origin)?;
    Some(match port {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// An origin in its parts: lower case, the port only where it is not the scheme's default.
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// `scheme://host[:port]` and nothing behind it. Extension schemes (`chrome-extension`, `vscode-webview`) are let pass.
fn parse(origin: &str) -> Option<Origin> {
    let (scheme, rest) = origin.split_once("://")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme_ok {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = match rest.rfind(':') {
        Some(colon) if !rest[colon..].contains(']') => {
            let port = &rest[colon + 1..];
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            (&rest[..colon], Some(digits.then(|| port.parse::<u16>().ok())??))
        }
        _ => (rest, None),
    };
    let host = match host.strip_prefix('[') {
        Some(address) => format!("[{}]", address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?),
        None if is_name(host) => {
            host.parse::<Ipv4Addr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string())
        }
        None => return None,
    };
    let default = match &*scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Some(Origin { scheme, host, port: port.filter(|port| Some(*port) != default) })
}

fn is_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(origins: &[&str]) -> Config {
        Config {
            allowed_origins: Origins::Only(origins.iter().map(|&origin| origin.to_owned()).collect()),
            ..Config::default()
        }
    }

    #[test]
    fn loopback_origins_are_allowed_whatever_their_port() {
        for origin in [
            "http://localhost",
            "http://localhost:6274",
            "https://LOCALHOST:443",
            "http://app.localhost:8080",
            "http://127.0.0.1:3000",
            "http://127.255.0.9",
            "http://[::1]:3000",
            "https://[0:0:0:0:0:0:0:1]",
        ] {
            assert!(is_loopback_origin(origin), "{origin}");
            assert!(origin_allowed(origin, &config(&[])), "{origin}");
        }
    }

    #[test]
    fn what_only_looks_like_loopback_is_not() {
        for origin in [
            "http://localhost.evil.example",
            "http://evil-localhost",
            "http://127.0.0.1.evil.example",
            "http://127.1",
            "http://localhost@evil.example",
            "http://evil.example#localhost",
            "http://localhost/",
            "http://localhost:",
            "http://localhost:+80",
            "http://localhost:99999",
            "http://.localhost",
            "http://[::2]",
            "http://[::1",
            "http://[::ffff:127.0.0.1]",
            "ftp://localhost",
            "chrome-extension://localhost",
            "localhost",
            "null",
            "",
            "http://",
            "http://0.0.0.0",
        ] {
            assert!(!is_loopback_origin(origin), "{origin}");
            assert!(!origin_allowed(origin, &config(&[])), "{origin}");
        }
    }

    #[test]
    fn other_origins_are_allowed_where_the_list_names_them() {
        let config = config(&["https://app.example", "https://app.example:8443", "vscode-webview://abc"]);
        for origin in
            ["https://app.example", "https://APP.example:443", "https://app.example:8443", "vscode-webview://abc"]
        {
            assert!(origin_allowed(origin, &config), "{origin}");
        }
        for origin in ["http://app.example", "https://app.example.evil.example", "https://x.app.example", "null"] {
            assert!(!origin_allowed(origin, &config), "{origin}");
        }
    }

    #[test]
    fn null_is_allowed_only_where_it_is_meant() {
        assert!(origin_allowed("null", &config(&["null"])));
        assert!(origin_allowed("null", &Config { allowed_origins: Origins::Any, ..Config::default() }));
    }

    proptest::proptest! {
        #[test]
        fn serialising_twice_changes_nothing(origin in "[a-z]{1,5}://[a-zA-Z0-9.\\[\\]:-]{0,20}") {
            if let Some(once) = serialise(&origin) {
                proptest::prop_assert_eq!(serialise(&once), Some(once));
            }
        }
    }
}
