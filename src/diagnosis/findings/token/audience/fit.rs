//! How an audience stands to the URL that it is compared with.

use http::Uri;

use crate::diagnosis::quote::quote;

/// What one audience is to a URL, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Byte for byte.
    Exact,
    /// After normalization, with or without a slash at the end.
    Spelling,
    /// The origin, or a parent of the path.
    Parent,
    /// The path with more in front of it: what a proxy takes off.
    Prefix,
    /// Only the port differs.
    Port,
    /// Only the scheme differs.
    Scheme,
    /// Another path of the same origin.
    Path,
    /// Another URL.
    Other,
    /// No URL.
    Id,
}

/// An audience or a URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    scheme: String,
    host: String,
    /// Where it is not the scheme's own.
    port: Option<u16>,
    /// Without the slash at its end.
    path: String,
}

impl Parts {
    fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.split('#').next()?.parse().ok()?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        let default = if scheme == "https" { 443 } else { 80 };
        Some(Self {
            scheme: scheme.to_owned(),
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().filter(|port| *port != default),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// Whether it is a URL of http or https.
pub(super) fn is_url(text: &str) -> bool {
    Parts::of(text).is_some()
}

/// Compares an audience with a URL; `scheme_told` is false where nothing says whether clients use `http` or `https`.
pub(super) fn fit(aud: &str, url: Option<&str>, scheme_told: bool) -> Fit {
    if url == Some(aud) {
        return Fit::Exact;
    }
    let Some(aud_parts) = Parts::of(aud) else { return Fit::Id };
    let Some((url, own)) = url.and_then(|url| Some((url, Parts::of(url)?))) else { return Fit::Other };
    let bare = |url: &str| url.split_once("://").map(|(_, rest)| rest.to_owned());
    let Parts { scheme, host, port, path } = aud_parts;
    if !scheme_told && bare(aud) == bare(url) {
        return Fit::Exact;
    }
    if host != own.host {
        return Fit::Other;
    }
    let ends_alike = own.path.len() > 1 && path.len() > own.path.len() && path.ends_with(&own.path);
    let same_scheme = !scheme_told || scheme == own.scheme;
    match (port == own.port, same_scheme) {
        (true, true) if path == own.path => {
            // At the root there is no other spelling of the request's path than the slash (RFC 3986 section 6.2.3).
            if path.is_empty() { Fit::Exact } else { Fit::Spelling }
        }
        (true, true) if own.path.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')) => Fit::Parent,
        (true, true) if ends_alike => Fit::Prefix,
        (true, true) => Fit::Path,
        (false, _) if path == own.path || ends_alike => Fit::Port,
        (true, false) if path == own.path || ends_alike => Fit::Scheme,
        _ => Fit::Other,
    }
}

/// How two spellings of one URL differ.
pub(super) fn spelling(aud: &str, url: &str) -> &'static str {
    let bare = |url: &str| url.trim_end_matches('/').split_once("://").map_or("", |(_, rest)| rest).to_owned();
    let (aud, url) = (bare(aud), bare(url));
    if aud == url {
        "only the slash at the end differs"
    } else if aud.eq_ignore_ascii_case(&url) {
        "only upper and lower case differ"
    } else {
        "the same URL in another spelling"
    }
}

/// What is in front of the URL's path in the audience's: `/tools` of `/tools/mcp`, where the request came to `/mcp`.
pub(super) fn prefix(aud: &str, url: &str) -> Option<String> {
    let (aud, own) = (Parts::of(aud)?, Parts::of(url)?);
    aud.path.strip_suffix(own.path.as_str()).map(str::to_owned)
}

/// The audience's scheme and port, as X-Forwarded-Proto and X-Forwarded-Port would tell them.
pub(super) fn told_as(aud: &str) -> Option<(String, u16)> {
    let parts = Parts::of(aud)?;
    let default = if parts.scheme == "https" { 443 } else { 80 };
    Some((parts.scheme, parts.port.unwrap_or(default)))
}

/// Two things that differ, in a sentence.
pub(super) fn two(aud: &str, url: &str) -> String {
    format!("aud is {}, this request came to {}", quote(aud), quote(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_difference_is_told() {
        for (aud, url, expected) in [
            ("https://a.example/mcp", "https://a.example/mcp", Fit::Exact),
            ("https://a.example/mcp/", "https://a.example/mcp", Fit::Spelling),
            ("https://A.example:443/mcp", "https://a.example/mcp", Fit::Spelling),
            ("https://a.example", "https://a.example/mcp", Fit::Parent),
            ("https://a.example/tools/mcp", "https://a.example/mcp", Fit::Prefix),
            ("https://a.example/mcp", "https://a.example:20523/mcp", Fit::Port),
            ("http://a.example/mcp", "https://a.example/mcp", Fit::Scheme),
            ("https://a.example/xmcp", "https://a.example/mcp", Fit::Path),
            ("https://a.example/other", "https://a.example/mcp", Fit::Path),
            ("https://b.example/mcp", "https://a.example/mcp", Fit::Other),
            ("http://a.example/other", "https://a.example/mcp", Fit::Other),
            ("api://x", "https://a.example/mcp", Fit::Id),
            ("my-api", "my-api", Fit::Exact),
        ] {
            assert_eq!(fit(aud, Some(url), true), expected, "{aud} {url}");
        }
        assert_eq!(fit("https://a.example/mcp", Some("http://a.example/mcp"), false), Fit::Exact);
        assert_eq!(prefix("https://a.example/tools/mcp", "https://a.example/mcp").as_deref(), Some("/tools"));
        assert_eq!(told_as("https://a.example/mcp"), Some(("https".to_owned(), 443)));
    }
}
