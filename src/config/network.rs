//! Origins (RFC 6454) and hosts, as they are written in lists.

use std::net::{IpAddr, Ipv6Addr};

use super::{AllowedHost, Origins};

impl Origins {
    /// Whether `origin` (normalised) is in the set.
    #[must_use]
    pub fn contains(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(origins) => origins.iter().any(|allowed| allowed == origin),
        }
    }
}

/// The serialised origin that `text` stands for (RFC 6454 §6.2): lower case, without the scheme's default port.
/// `null` stands for itself.
///
/// # Errors
/// What is wrong with it, to follow the quoted text: `has a path; …`.
pub fn normalise_origin(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case("null") {
        return Ok("null".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("has no scheme: write https://{text} or http://{text}"));
    };
    let scheme = scheme.to_ascii_lowercase();
    // RFC 3986 §3.1
    let first_is_letter = scheme.starts_with(|c: char| c.is_ascii_lowercase());
    if !first_is_letter || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
        return Err(format!("is not an origin: {scheme:?} is not a scheme such as https"));
    }
    if let Some(end) = rest.find(['/', '?', '#']) {
        return Err(format!("has a path: an origin ends after host and port, write {scheme}://{}", &rest[..end]));
    }
    if rest.contains('@') {
        return Err("carries a user: an origin is scheme://host[:port]".to_owned());
    }
    let (host, port) = host_and_port(rest)?;
    let default_port = match scheme.as_str() {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    Ok(match port.filter(|_| port != default_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Whether a normalised origin is on this machine: localhost, names below it, 127.0.0.0/8, `[::1]`.
#[must_use]
pub fn is_loopback_origin(origin: &str) -> bool {
    origin
        .split_once("://")
        .and_then(|(_, authority)| host_and_port(authority).ok())
        .is_some_and(|(host, _)| is_loopback_host(&host))
}

/// Whether a host (lower case, IPv6 in brackets, without port) is this machine.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    // As good as every request names one of these.
    if matches!(host, "127.0.0.1" | "localhost") {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        // RFC 6761 §6.3: names below localhost resolve to loopback too.
        Err(_) => bare == "localhost" || bare.strip_suffix(".localhost").is_some_and(|name| !name.is_empty()),
    }
}

/// One entry of `MCP_ALLOWED_HOSTS`.
pub(super) fn allowed_host(text: &str) -> Result<AllowedHost, String> {
    if text.contains("://") {
        return Err("has a scheme: a Host header has none, write name or name:port".to_owned());
    }
    if text == "*" {
        return Err(
            "is not a host: leave the variable unset to allow all (bound to loopback, name the hosts)".to_owned()
        );
    }
    if text.contains('/') {
        return Err("has a path: write name or name:port".to_owned());
    }
    let (host, port) = host_and_port(text)?;
    Ok(AllowedHost { host, port })
}

/// A bind address: an IP address (IPv6 with or without brackets) or a name, lower case, IPv6 without brackets.
pub(super) fn bind_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if text.contains("://") {
        return Err("has a scheme: an IP address or a host name alone is needed".to_owned());
    }
    match host_and_port(text) {
        Ok((host, None)) => Ok(host),
        Ok((_, Some(_))) => Err("has a port: the port is set by MCP_ECHO_PORT or --port".to_owned()),
        Err(_) => Err("is not an IP address or a host name".to_owned()),
    }
}

/// `name`, `name:port`, `[::1]`, `[::1]:port`: the host in lower case, IPv6 in brackets in its canonical form.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("has no closing bracket: write [::1] or [::1]:port")?;
        let address: Ipv6Addr = address.parse().map_err(|_| format!("holds no IPv6 address: [{address}]"))?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or("has something after the bracket: write [::1] or [::1]:port")?),
        };
        (format!("[{address}]"), port)
    } else {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(format!("is an IPv6 address without brackets: write [{text}]"));
        }
        let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
        (host_name(name)?, port)
    };
    let port = port.map(|port| match port.parse::<u16>() {
        // "+80" parses as a number, but no browser writes it so
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err(format!("has a bad port {port:?}: a whole number from 1 to 65535 is needed")),
    });
    Ok((host, port.transpose()?))
}

fn host_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("has no host".to_owned());
    }
    if name.contains('*') {
        return Err("has a wildcard in a name: list each name".to_owned());
    }
    if !name.is_ascii() {
        return Err("is not ASCII: write the xn-- form that browsers send".to_owned());
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Err("has a character that no host name has".to_owned());
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(
            text in "(?i:https?|wss?|app)://([a-zA-Z0-9._-]{1,12}|\\[::[0-9a-fA-F]{1,4}\\])(:[0-9]{1,5})?"
        ) {
            if let Ok(origin) = normalise_origin(&text) {
                prop_assert_eq!(normalise_origin(&origin), Ok(origin.clone()));
                prop_assert_eq!(origin.to_ascii_lowercase(), origin);
            }
        }

        #[test]
        fn no_text_breaks_the_parsers(text in "\\PC{0,40}|[a-z:/\\[\\]@.*0-9]{0,20}") {
            let _ = (normalise_origin(&text), allowed_host(&text), is_loopback_origin(&text));
            if let Ok(host) = bind_host(&text) {
                prop_assert_eq!(bind_host(&host), Ok(host));
            }
        }
    }

    #[test]
    fn origins_are_lower_case_without_the_default_port() {
        for (text, origin) in [
            ("https://App.Example", "https://app.example"),
            ("HTTPS://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("http://[::0:1]:6274", "http://[::1]:6274"),
            ("vscode-webview://0abc", "vscode-webview://0abc"),
            ("NULL", "null"),
        ] {
            assert_eq!(normalise_origin(text).as_deref(), Ok(origin), "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_told_why() {
        for (text, reason) in [
            ("app.example", "has no scheme: write https://app.example"),
            ("https://app.example/", "has a path: an origin ends after host and port, write https://app.example"),
            ("https://app.example/mcp", "has a path"),
            ("https://app.example?x", "has a path"),
            ("https://*.example", "wildcard"),
            ("https://", "has no host"),
            ("https://user@app.example", "carries a user"),
            ("https://app.example:x", "bad port"),
            ("https://app.example:+1", "bad port"),
            ("https://bücher.example", "xn--"),
            ("1https://app.example", "not a scheme"),
            ("https://::1", "without brackets"),
        ] {
            let error = normalise_origin(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn hosts_may_name_a_port() {
        let host = |text| allowed_host(text).map(|h| (h.host, h.port));
        assert_eq!(host("Mcp.Example"), Ok(("mcp.example".into(), None)));
        assert_eq!(host("mcp.example:8443"), Ok(("mcp.example".into(), Some(8443))));
        assert_eq!(host("[::1]"), Ok(("[::1]".into(), None)));
        assert_eq!(host("[::1]:3000"), Ok(("[::1]".into(), Some(3000))));
        for bad in
            ["http://mcp.example", "mcp.example/mcp", "::1", "[::1", "[x]", "[::1]3000", "a:0", "a:b", "*", ":80"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bind_address_has_no_port_and_no_scheme() {
        assert_eq!(bind_host("0.0.0.0").as_deref(), Ok("0.0.0.0"));
        assert_eq!(bind_host("[::]").as_deref(), Ok("::"));
        assert_eq!(bind_host("::1").as_deref(), Ok("::1"));
        assert_eq!(bind_host("LocalHost").as_deref(), Ok("localhost"));
        for (bad, reason) in
            [("0.0.0.0:80", "has a port"), ("http://x", "has a scheme"), ("a b", "is not an IP address")]
        {
            assert!(bind_host(bad).unwrap_err().starts_with(reason), "{bad}");
        }
    }

    #[test]
    fn loopback_has_many_names() {
        for origin in
            ["http://localhost:6274", "http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]:80", "http://a.localhost"]
        {
            assert!(is_loopback_origin(origin), "{origin}");
        }
        for origin in ["null", "https://app.example", "http://localhost.example", "http://128.0.0.1"] {
            assert!(!is_loopback_origin(origin), "{origin}");
        }
    }
}
