//! In what two identifiers that should be the same differ: a slash, case, a port, http, the host. Verifiers compare them
//! to the letter (RFC 8414 section 3.3, RFC 7519 sections 4.1.1 and 4.1.3, RFC 3986 section 6.2.1), and people see none of
//! these.

use http::Uri;

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Byte for byte the same.
    None,
    /// A slash at the end.
    Slash,
    /// Upper and lower case.
    Case,
    /// A default port that one of them names.
    DefaultPort,
    /// `http` and `https`.
    Scheme,
    /// Ports.
    Port,
    /// Hosts.
    Host,
    /// Paths.
    Path,
    /// Several of these, or no URL.
    Other,
}

impl Difference {
    /// For a sentence: `they differ in …`. Empty for [`Self::None`] and [`Self::Other`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None | Self::Other => "",
            Self::Slash => "a slash at the end",
            Self::Case => "upper and lower case",
            Self::DefaultPort => "the default port, which only one of them names",
            Self::Scheme => "http and https",
            Self::Port => "the port",
            Self::Host => "the host",
            Self::Path => "the path",
        }
    }

    /// Whether both name the same thing, in another spelling.
    #[must_use]
    pub const fn is_spelling(self) -> bool {
        matches!(self, Self::Slash | Self::Case | Self::DefaultPort)
    }
}

/// Scheme, host, port if it is named, path with query.
fn parts(text: &str) -> Option<(String, String, Option<u16>, String)> {
    let uri: Uri = text.parse().ok()?;
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    // A URI without a path is given one.
    let path = if path == "/" && !text.ends_with('/') { "" } else { path };
    Some((uri.scheme_str()?.to_owned(), uri.host()?.to_owned(), uri.port_u16(), path.to_owned()))
}

/// In what they differ, where it is one thing.
#[must_use]
pub fn difference(one: &str, other: &str) -> Difference {
    if one == other {
        return Difference::None;
    }
    if one.strip_suffix('/') == Some(other) || other.strip_suffix('/') == Some(one) {
        return Difference::Slash;
    }
    if one.eq_ignore_ascii_case(other) {
        return Difference::Case;
    }
    let (Some(one), Some(other)) = (parts(one), parts(other)) else { return Difference::Other };
    let default = |scheme: &str| match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let same_host = one.1.eq_ignore_ascii_case(&other.1);
    let (port, other_port) = (one.2.or(default(&one.0)), other.2.or(default(&other.0)));
    match (one.0 == other.0, same_host, port == other_port, one.3 == other.3) {
        (true, true, true, true) => Difference::DefaultPort,
        (false, true, _, true) if one.2 == other.2 => Difference::Scheme,
        (true, true, false, true) => Difference::Port,
        (true, false, _, true) => Difference::Host,
        (true, true, true, false) => Difference::Path,
        _ => Difference::Other,
    }
}

/// The one of `wanted` that is most like `value`, and in what they differ; `None` where nothing is wanted.
#[must_use]
pub fn nearest<'a>(value: &str, wanted: &'a [String]) -> Option<(&'a str, Difference)> {
    wanted.iter().map(|wanted| (wanted.as_str(), difference(value, wanted))).min_by_key(|(_, difference)| *difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_difference_is_named() {
        let url = "https://as.example/realms/w";
        for (other, expected) in [
            (url, Difference::None),
            ("https://as.example/realms/w/", Difference::Slash),
            ("https://as.example/realms/W", Difference::Case),
            ("https://AS.example/realms/w", Difference::Case),
            ("https://as.example:443/realms/w", Difference::DefaultPort),
            ("http://as.example/realms/w", Difference::Scheme),
            ("https://as.example:8443/realms/w", Difference::Port),
            ("https://keycloak:8443/realms/w", Difference::Host),
            ("https://as.example/realms/x", Difference::Path),
            ("https://as.example", Difference::Path),
            ("http://keycloak:8080/realms/w", Difference::Other),
            ("accounts.example", Difference::Other),
            ("", Difference::Other),
        ] {
            assert_eq!(difference(url, other), expected, "{other}");
            assert_eq!(difference(other, url), expected, "{other}");
        }
        assert_eq!(difference("https://as.example", "https://as.example/"), Difference::Slash);
    }

    #[test]
    fn the_nearest_is_the_one_that_differs_least() {
        let wanted = ["https://b.example/".to_owned(), "https://a.example/".to_owned()];
        assert_eq!(nearest("https://a.example", &wanted), Some(("https://a.example/", Difference::Slash)));
        assert_eq!(nearest("x", &[]), None);
    }
}
