//! What browsers hold a page's request back for besides CORS, as far as the two origins tell.

use http::Uri;

use crate::diagnosis::origin::{is_internal, is_loopback_host};

/// A rule of browsers that is not CORS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// A page of `https` calls `http` (W3C Mixed Content section 4.4): no request is sent. Loopback is exempt in Chrome and
    /// Firefox (Secure Contexts section 3.1), not in Safari.
    MixedContent,
    /// A page of the internet calls this machine or a private address: Chrome asks its user first (WICG Local Network
    /// Access, Chrome 142 and later), and only for pages of `https`.
    LocalNetwork,
}

impl Beyond {
    /// The rule that a request from a page of `origin` to the server `own` meets first, if any.
    #[must_use]
    pub fn of(origin: &str, own: &str) -> Option<Self> {
        let (page, server): (Uri, Uri) = (origin.parse().ok()?, own.parse().ok()?);
        let (page_host, server_host) = (page.host()?, server.host()?);
        if !matches!(page.scheme_str()?, "http" | "https") {
            return None; // An extension.
        }
        let upgraded = page.scheme_str() == Some("https") && server.scheme_str() == Some("http");
        if upgraded && !is_loopback_host(server_host) {
            Some(Self::MixedContent)
        } else if is_internal(server_host) && !is_internal(page_host) {
            Some(Self::LocalNetwork)
        } else {
            None
        }
    }

    /// What the browser does, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::MixedContent => "the page is https and this server http: browsers block that as mixed content",
            Self::LocalNetwork => {
                "the page comes from the internet and this server is on this machine or a private network: Chrome asks its \
                 user for local network access, and blocks it for pages without https"
            }
        }
    }

    /// What to do.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::MixedContent => "give the server https, at a proxy that ends TLS, or open the page from http",
            Self::LocalNetwork => {
                "allow \"Local network access\" for the page (Chrome: the icon before the address, Site settings), open the page \
                 from this machine, or give the server a public https address"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_places_is_told_apart() {
        use Beyond::{LocalNetwork, MixedContent};
        for (page, server, expected) in [
            ("https://app.example.com", "http://127.0.0.1:3000", Some(LocalNetwork)),
            ("https://app.example.com", "http://localhost:3000", Some(LocalNetwork)),
            ("https://app.example.com", "https://192.168.1.7", Some(LocalNetwork)),
            ("http://app.example.com", "http://10.0.0.2:3000", Some(LocalNetwork)),
            ("https://app.example.com", "http://192.168.1.7:3000", Some(MixedContent)),
            ("https://app.example.com", "http://mcp.example.com", Some(MixedContent)),
            ("https://app.example.com", "https://mcp.example.com", None),
            ("http://localhost:6274", "http://localhost:3000", None),
            ("http://localhost:6274", "https://mcp.example.com", None),
            ("http://192.168.1.5", "http://192.168.1.7:3000", None),
            ("null", "http://localhost:3000", None),
            ("chrome-extension://abcdefgh", "http://localhost:3000", None),
        ] {
            assert_eq!(Beyond::of(page, server), expected, "{page} {server}");
        }
    }
}
