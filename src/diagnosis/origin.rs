//! Web origins (RFC 6454): which ones may talk to this server, and which ones its CORS headers are for.

use std::net::IpAddr;

use crate::config::{self, Config, Origins};

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
    *origins == Origins::Any || serialise(origin).is_some_and(|origin| origins.contains(&origin))
}

/// `http` or `https` on `localhost`, `*.localhost` (RFC 6761 section 6.3), 127.0.0.0/8 or `[::1]`, with any port.
#[must_use]
pub fn is_loopback_origin(origin: &str) -> bool {
    serialise(origin).is_some_and(|origin| {
        (origin.starts_with("http://") || origin.starts_with("https://")) && config::is_loopback_origin(&origin)
    })
}

/// Whether `host` (a name or an address, IPv6 with or without brackets, no port) is this machine's own.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    config::is_loopback_host(&host.to_ascii_lowercase())
}

/// `origin` as browsers serialise it: lower case, without the scheme's default port (RFC 6454 section 6.2). `null` is
/// `null`; `None` for what is no origin.
#[must_use]
pub fn serialise(origin: &str) -> Option<String> {
    match origin {
        "null" => Some("null".to_owned()),
        _ if origin.eq_ignore_ascii_case("null") => None,
        _ => config::normalise_origin(origin).ok(),
    }
}

/// Whether a host is a name that no client outside uses: this machine, a private address, a container or a service.
#[must_use]
pub(crate) fn is_internal(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_matches(['[', ']']);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => {
            let ends = [".internal", ".local", ".svc", ".lan"].into_iter().any(|end| bare.ends_with(end));
            is_loopback_host(bare) || !bare.contains('.') || ends
        }
    }
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
