//! What tokens and proxies are compared with: the endpoint's public URL, issuers, audiences, scopes, keys, and the secret
//! by which the proxy shows that a request came through it.

use std::fmt;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, Uri};
use sha2::{Digest as _, Sha256};

use super::network::host_and_port;

/// The shortest value of `MCP_PROXY_SECRET` that gets no warning, in characters: 16 of base64 are 96 bits.
pub(super) const SHORTEST_SECRET: usize = 16;

/// What is expected of requests. Everything here is optional: what is not set is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectations {
    /// `MCP_PUBLIC_URL`: the endpoint as clients know it.
    pub public_url: Option<EndpointUrl>,
    /// `MCP_EXPECT_ISSUER`: one of these is the token's `iss`, to the letter (RFC 8414 section 3.3, RFC 9207 section 2.4).
    pub issuers: Vec<String>,
    /// `MCP_EXPECT_AUDIENCE`: one of these is in the token's `aud`, to the letter (RFC 7519 section 4.1.3). Empty: the
    /// public URL.
    pub audiences: Vec<String>,
    /// `MCP_EXPECT_SCOPES`: all of these are among the token's.
    pub scopes: Vec<String>,
    /// `MCP_EXPECT_JWKS`: a file with the issuer's keys (RFC 7517 section 5).
    pub jwks: Option<PathBuf>,
    /// `MCP_PROXY_SECRET`.
    pub proxy_secret: Option<ProxySecret>,
}

/// The URL of an endpoint: `https://mcp.example/mcp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// `https` or `http`.
    pub scheme: String,
    /// Host, lower case, with its port unless that is the scheme's default.
    pub host: String,
    /// The path as it was written; empty for `https://host`.
    pub path: String,
}

impl EndpointUrl {
    /// Reads `https://host[:port]/path`.
    ///
    /// # Errors
    /// What is wrong with it, to follow the quoted text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("is no absolute URL: write https://{}", text.trim_start_matches('/')));
        };
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "https" | "http") {
            return Err("is no http or https URL".to_owned());
        }
        if let Some(mark) = rest.find(['?', '#']) {
            let what = if rest[mark..].starts_with('?') { "a query" } else { "a fragment" };
            // RFC 8707 section 2: no fragment, and a query only where it cannot be avoided; MCP's endpoint has none.
            return Err(format!("has {what}: the endpoint's URL ends with its path"));
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return Err("carries a user: the endpoint's URL is scheme://host[:port]/path".to_owned());
        }
        let (host, port) = host_and_port(authority)?;
        if !path.is_empty() && path.parse::<Uri>().is_err() {
            return Err("has a character in its path that no URL has: percent-encode it".to_owned());
        }
        let default_port = if scheme == "https" { 443 } else { 80 };
        let host = match port.filter(|port| *port != default_port) {
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        Ok(Self { scheme, host, path: path.to_owned() })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host, self.path)
    }
}

/// A header that only the proxy can send: what comes with it came through the proxy. Its value is kept as a hash, so that
/// nothing can show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxySecret {
    /// The header's name.
    pub header: HeaderName,
    hash: [u8; 32],
    pub(super) is_short: bool,
}

impl ProxySecret {
    /// Reads `Header-Name: value`.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        /// Headers that say something else to this server, or to every hop.
        const TAKEN: [&str; 14] = [
            "accept",
            "authorization",
            "connection",
            "content-length",
            "content-type",
            "cookie",
            "forwarded",
            "host",
            "last-event-id",
            "origin",
            "te",
            "transfer-encoding",
            "upgrade",
            "x-request-id",
        ];
        let form = || "is not of the form Header-Name: value".to_owned();
        let (name, value) = text.split_once(':').ok_or_else(form)?;
        let header: HeaderName = name.trim().parse().map_err(|_| form())?;
        let value = value.trim();
        if value.is_empty() {
            return Err(form());
        }
        if TAKEN.contains(&header.as_str()) || header.as_str().starts_with("mcp-") {
            return Err(format!(
                "names {header}, which has another meaning: take a header of your own, X-Proxy-Secret"
            ));
        }
        let is_short = value.chars().count() < SHORTEST_SECRET;
        Ok(Self { header, hash: Sha256::digest(value.as_bytes()).into(), is_short })
    }

    /// Whether these headers have it, once. Hashes are compared, so that the time it takes tells nothing of the value.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(&self.header).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => <[u8; 32]>::from(Sha256::digest(value.as_bytes().trim_ascii())) == self.hash,
            _ => false,
        }
    }
}

impl fmt::Debug for ProxySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxySecret({}: ***)", self.header)
    }
}

/// An entry of `MCP_EXPECT_ISSUER`. Not every issuer is a URL: Google's older tokens have `accounts.google.com`.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    if text.contains("/.well-known/") {
        return Err("is the address of metadata: write what stands there under \"issuer\"".to_owned());
    }
    entry(text)
}

/// An entry that is compared to the letter.
pub(super) fn entry(text: &str) -> Result<String, String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("has white space inside: separate entries with commas".to_owned());
    }
    Ok(text.to_owned())
}

/// The entries of a list of scopes: separated by spaces, as in OAuth (RFC 6749 section 3.3), or by commas.
pub(super) fn scopes(text: &str) -> Result<Vec<String>, String> {
    let is_scope = |c: char| matches!(c, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
    let scopes = text.split([' ', ',']).filter(|scope| !scope.is_empty());
    let scopes: Vec<String> = scopes.map(str::to_owned).collect();
    match scopes.iter().find(|scope| !scope.chars().all(is_scope)) {
        Some(_) => Err("has a character that no scope has: quotes, backslashes or what is not ASCII".to_owned()),
        None => Ok(scopes),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_endpoints_url_is_kept_as_clients_write_it() {
        for (text, url) in [
            ("https://mcp.example/mcp", "https://mcp.example/mcp"),
            ("HTTPS://MCP.example:443/Mcp/", "https://mcp.example/Mcp/"),
            ("http://localhost:3000/mcp", "http://localhost:3000/mcp"),
            ("http://[::1]:3000/mcp", "http://[::1]:3000/mcp"),
            ("https://mcp.example", "https://mcp.example"),
        ] {
            assert_eq!(EndpointUrl::parse(text).map(|url| url.to_string()).as_deref(), Ok(url), "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoints_url_is_told_why() {
        for (text, reason) in [
            ("mcp.example/mcp", "write https://mcp.example/mcp"),
            ("/mcp", "is no absolute URL"),
            ("ws://mcp.example/mcp", "is no http or https URL"),
            ("https://mcp.example/mcp?x=1", "has a query"),
            ("https://mcp.example/mcp#top", "has a fragment"),
            ("https://user:pass@mcp.example/mcp", "carries a user"),
            ("https:///mcp", "has no host"),
            ("https://mcp.example:0/mcp", "bad port"),
            ("https://*.example/mcp", "wildcard"),
            ("https://mcp.example/m cp", "has a character in its path"),
        ] {
            let error = EndpointUrl::parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_proxys_secret_is_in_the_headers_once_or_not() {
        let secret = ProxySecret::parse("X-Proxy-Secret: 0123456789abcdef: x").unwrap();
        let headers = |values: &[&'static str]| {
            let values = values.iter().map(|value| HeaderValue::from_static(value));
            values.map(|value| (secret.header.clone(), value)).collect::<HeaderMap>()
        };
        let twice = {
            let mut twice = headers(&["0123456789abcdef: x"]);
            twice.append(secret.header.clone(), HeaderValue::from_static("0123456789abcdef: x"));
            twice
        };
        assert!(secret.is_in(&headers(&["0123456789abcdef: x"])));
        assert!(
            !secret.is_in(&headers(&["0123456789abcdef"])) && !secret.is_in(&headers(&[])) && !secret.is_in(&twice)
        );
        assert_eq!(format!("{secret:?}"), "ProxySecret(x-proxy-secret: ***)");
        assert!(!secret.is_short && ProxySecret::parse("X-S: short").unwrap().is_short);
    }

    #[test]
    fn what_is_no_secret_header_is_refused_without_showing_it() {
        for text in
            ["s3cret", "X-Proxy-Secret:", ": s3cret", "X Proxy: s3cret", "Authorization: s3cret", "Mcp-X: s3cret"]
        {
            let error = ProxySecret::parse(text).expect_err(text);
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn lists_are_read_as_people_write_them() {
        assert_eq!(scopes("mcp:tools  mcp:read,profile").unwrap(), ["mcp:tools", "mcp:read", "profile"]);
        assert!(scopes("\"mcp:tools\"").is_err());
        assert!(issuer("https://as.example/.well-known/openid-configuration").unwrap_err().contains("\"issuer\""));
        assert_eq!(issuer("accounts.google.com").as_deref(), Ok("accounts.google.com"));
        assert!(entry("a b").is_err());
    }
}
