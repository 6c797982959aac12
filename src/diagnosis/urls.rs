//! How two URLs differ, in words: what a token or a setting says, and what a request or another setting says.
//!
//! Verifiers compare audiences, issuers and resources byte by byte (RFC 9728 section 3.3, RFC 8414 section 3.3, RFC 7519
//! section 4.1.3), so one slash is a difference. Which one it is tells where the fault is: a port that a proxy added is no
//! fault of the token.

use std::net::IpAddr;

use super::remedies::Topic;
use crate::config::is_loopback_host;

/// What differs. `left` is the first of the two URLs, as a rule the token's; `right` the second, as a rule the request's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One of them is no http or https URL: an id.
    NotAUrl,
    /// White space around one of them.
    WhiteSpace,
    /// `http` and `https`, or the scheme in another case.
    Scheme,
    /// User name or password before the host.
    UserInfo,
    /// The same host in another case (RFC 3986 section 6.2.2.1).
    HostCase,
    /// The same host with a dot at its end (RFC 3986 section 3.2.2).
    HostDot,
    /// One of them has `www.` in front.
    Www,
    /// One host is below the other: `example.com` and `mcp.example.com`.
    Subdomain,
    /// One of them is a name or an address that only machines inside know.
    InnerHost,
    /// Another host.
    Host,
    /// `:443` or `:80` spelled out (RFC 3986 section 6.2.3).
    DefaultPort,
    /// Another port: left and right as written, `None` where there is none.
    Port(Option<String>, Option<String>),
    /// A slash at the end of the path, or an empty path and `/`.
    Slash,
    /// The same path in another case.
    PathCase,
    /// The same path with other percent-encodings (RFC 3986 section 6.2.2).
    Encoding,
    /// The left path is a prefix and then the right one: something on the way took the prefix off.
    PrefixMissing(String),
    /// The right path is a prefix and then the left one: something on the way added the prefix.
    PrefixAdded(String),
    /// The right path is the left one twice, or the left the right one twice: `/mcp/mcp`.
    Doubled(String),
    /// The same but for the last segment, and both name an MCP endpoint: `/sse` and `/mcp`.
    Endpoint(String, String),
    /// The left path is a parent of the right one: an origin, or a part of the path.
    Parent,
    /// Another path.
    Path,
    /// Another query.
    Query,
    /// Another fragment.
    Fragment,
}

impl Kind {
    /// Whether both spellings name the same resource once they are normalized (RFC 3986 section 6.2), as far as servers
    /// agree: the slash at the end is not among RFC 3986's, but few servers tell the two apart.
    const fn is_spelling(&self) -> bool {
        matches!(
            self,
            Self::WhiteSpace | Self::HostCase | Self::HostDot | Self::DefaultPort | Self::Slash | Self::Encoding
        )
    }

    /// What differs, in a few words.
    fn noun(&self) -> &'static str {
        match self {
            Self::NotAUrl => "one is no URL",
            Self::WhiteSpace => "white space around it",
            Self::Scheme => "the scheme",
            Self::UserInfo => "a user name before the host",
            Self::HostCase => "the case of the host",
            Self::HostDot => "a dot at the end of the host",
            Self::Www => "`www.` in front of the host",
            Self::Subdomain => "the host (one is below the other)",
            Self::InnerHost => "the host (one is an inner name)",
            Self::Host => "the host",
            Self::DefaultPort => "the default port, spelled out",
            Self::Port(..) => "the port",
            Self::Slash => "the slash at the end",
            Self::PathCase => "the case of the path",
            Self::Encoding => "percent-encoding",
            Self::PrefixMissing(_) | Self::PrefixAdded(_) => "the beginning of the path",
            Self::Doubled(_) => "a path that is there twice",
            Self::Endpoint(..) => "the end of the path",
            Self::Parent => "the path (one is only a part of the other)",
            Self::Path => "the path",
            Self::Query => "the query",
            Self::Fragment => "the fragment",
        }
    }

    /// What most likely happened, where the difference alone tells.
    fn reason(&self) -> Option<String> {
        Some(match self {
            Self::Scheme => "whoever ends TLS must tell it with X-Forwarded-Proto: https".to_owned(),
            Self::InnerHost => "one side knows the public name, the other an inner one".to_owned(),
            Self::Port(left, right) => {
                let port = |port: &Option<String>| port.clone().unwrap_or_else(|| "none".to_owned());
                format!("{} and {}", port(left), port(right))
            }
            Self::PrefixMissing(prefix) => format!("a proxy took {prefix} off and did not tell it"),
            Self::PrefixAdded(prefix) => format!("a proxy, or the address that clients use, put {prefix} in front"),
            Self::Doubled(path) => format!("{path} was put behind an address that has it already"),
            Self::Endpoint(left, right) => format!("{left} and {right}: one is another transport's endpoint"),
            _ => return None,
        })
    }

    /// What is to be set where a proxy made the difference.
    #[must_use]
    pub const fn topic(&self) -> Option<Topic> {
        match self {
            Self::Scheme => Some(Topic::Scheme),
            Self::InnerHost => Some(Topic::Host),
            Self::Port(..) => Some(Topic::Port),
            Self::PrefixMissing(_) => Some(Topic::Prefix),
            _ => None,
        }
    }
}

/// How two URLs differ: at least one [`Kind`], in the order of a URL's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub kinds: Vec<Kind>,
}

impl Difference {
    /// Whether only the spelling differs: the same resource, and still refused by an exact comparison.
    #[must_use]
    pub fn is_spelling(&self) -> bool {
        self.kinds.iter().all(Kind::is_spelling)
    }

    /// The one thing that differs, spelling aside.
    #[must_use]
    pub fn only(&self) -> Option<&Kind> {
        let mut kinds = self.kinds.iter().filter(|kind| !kind.is_spelling());
        kinds.next().filter(|_| kinds.next().is_none()).or_else(|| self.kinds.first().filter(|_| self.kinds.len() == 1))
    }

    /// Whether scheme, host and port are the same, spelling aside.
    #[must_use]
    pub fn same_origin(&self) -> bool {
        !self.kinds.iter().any(|kind| {
            matches!(
                kind,
                Kind::NotAUrl
                    | Kind::Scheme
                    | Kind::Www
                    | Kind::Subdomain
                    | Kind::InnerHost
                    | Kind::Host
                    | Kind::Port(..)
            )
        })
    }

    /// `only the port differs: 20523 and none`, `the scheme and the host differ`.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.kinds[..] {
            [Kind::NotAUrl] => "one of them is no URL: they can only be the same to the byte".to_owned(),
            [only] => {
                let reason = only.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
                format!("only {} differs{reason}", only.noun())
            }
            kinds => {
                let nouns: Vec<&str> = kinds.iter().map(Kind::noun).collect();
                let (last, before) = nouns.split_last().map_or(("", &[][..]), |(last, before)| (*last, before));
                format!("{} and {last} differ", before.join(", "))
            }
        }
    }
}

/// How `left` differs from `right`; `None` where they are the same to the byte. In linear time.
#[must_use]
pub fn url_difference(left: &str, right: &str) -> Option<Difference> {
    if left == right {
        return None;
    }
    let mut kinds = Vec::new();
    let (trimmed_left, trimmed_right) = (left.trim(), right.trim());
    if trimmed_left != left || trimmed_right != right {
        kinds.push(Kind::WhiteSpace);
    }
    if trimmed_left == trimmed_right {
        return Some(Difference { kinds });
    }
    let (Some(left), Some(right)) = (Parts::read(trimmed_left), Parts::read(trimmed_right)) else {
        kinds.push(Kind::NotAUrl);
        return Some(Difference { kinds });
    };
    if left.scheme != right.scheme {
        kinds.push(Kind::Scheme);
    }
    if left.user != right.user {
        kinds.push(Kind::UserInfo);
    }
    kinds.extend(host_kind(left.host, right.host));
    kinds.extend(port_kind(&left, &right));
    kinds.extend(path_kind(left.path, right.path));
    if left.query != right.query {
        kinds.push(Kind::Query);
    }
    if left.fragment != right.fragment {
        kinds.push(Kind::Fragment);
    }
    (!kinds.is_empty()).then_some(Difference { kinds })
}

fn host_kind(left: &str, right: &str) -> Option<Kind> {
    if left == right {
        return None;
    }
    let [a, b] = [left.to_ascii_lowercase(), right.to_ascii_lowercase()];
    if a == b {
        return Some(Kind::HostCase);
    }
    let [a, b] = [a.trim_end_matches('.'), b.trim_end_matches('.')];
    let below = |name: &str, parent: &str| name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    Some(if a == b {
        Kind::HostDot
    } else if a.strip_prefix("www.") == Some(b) || b.strip_prefix("www.") == Some(a) {
        Kind::Www
    } else if is_inner_host(a) != is_inner_host(b) {
        Kind::InnerHost
    } else if !is_address(a) && !is_address(b) && (below(a, b) || below(b, a)) {
        Kind::Subdomain
    } else {
        Kind::Host
    })
}

fn port_kind(left: &Parts<'_>, right: &Parts<'_>) -> Option<Kind> {
    if left.port == right.port {
        return None;
    }
    let default = |parts: &Parts<'_>| parts.port.is_none_or(|port| port == parts.default_port());
    let port = |parts: &Parts<'_>| parts.port.map(str::to_owned);
    Some(if default(left) && default(right) { Kind::DefaultPort } else { Kind::Port(port(left), port(right)) })
}

fn path_kind(left: &str, right: &str) -> Option<Kind> {
    /// Last segments of MCP endpoints: streamable HTTP, and the two of the transport before it.
    const ENDPOINTS: [&str; 5] = ["mcp", "sse", "message", "messages", "stream"];

    if left == right {
        return None;
    }
    let [a, b] = [left.trim_end_matches('/'), right.trim_end_matches('/')];
    if a == b {
        return Some(Kind::Slash);
    }
    let [norm_a, norm_b] = [normal_path(a), normal_path(b)];
    if norm_a == norm_b {
        return Some(Kind::Encoding);
    }
    if norm_a.eq_ignore_ascii_case(&norm_b) {
        return Some(Kind::PathCase);
    }
    // At a segment's border: both begin with a slash, or are empty.
    let prefix = |whole: &str, rest: &str| whole.strip_suffix(rest).filter(|_| !rest.is_empty()).map(str::to_owned);
    if let Some(prefix) = prefix(a, b) {
        return Some(if prefix == b { Kind::Doubled(prefix) } else { Kind::PrefixMissing(prefix) });
    }
    if let Some(prefix) = prefix(b, a) {
        return Some(if prefix == a { Kind::Doubled(prefix) } else { Kind::PrefixAdded(prefix) });
    }
    if b.strip_prefix(a).is_some_and(|rest| rest.starts_with('/')) {
        return Some(Kind::Parent);
    }
    if let (Some((before_a, end_a)), Some((before_b, end_b))) = (a.rsplit_once('/'), b.rsplit_once('/'))
        && before_a == before_b
        && ENDPOINTS.contains(&end_a)
        && ENDPOINTS.contains(&end_b)
    {
        return Some(Kind::Endpoint(format!("/{end_a}"), format!("/{end_b}")));
    }
    Some(Kind::Path)
}

/// The parts of an http or https URL as written; the scheme in lower case.
#[derive(Debug)]
struct Parts<'a> {
    scheme: String,
    user: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn read(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return None;
        }
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        // A colon inside of brackets belongs to the address (RFC 3986 section 3.2.2).
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        (!host.is_empty()).then_some(Self { scheme, user, host, port, path, query, fragment })
    }

    fn default_port(&self) -> &'static str {
        if self.scheme == "https" { "443" } else { "80" }
    }
}

/// `text` up to `separator`, and what follows it.
fn cut(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Percent-encodings in upper case, and those of unreserved characters decoded (RFC 3986 sections 6.2.2.1 and 6.2.2.2).
fn normal_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            Some(byte) => out.push_str(&format!("%{byte:02X}")),
            None => out.push('%'),
        }
        rest = &rest[at + if code.is_some() { 3 } else { 1 }..];
    }
    out.push_str(rest);
    out
}

fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// Whether `host` (with or without a port) is a name that no client outside uses: a loopback or private address (RFC 1918,
/// RFC 4193, RFC 6598), a name without a dot, one that is for private use (RFC 6761, RFC 6762, RFC 8375, ICANN's
/// `.internal`, and what container platforms use).
#[must_use]
pub fn is_inner_host(host: &str) -> bool {
    const PRIVATE: [&str; 12] = [
        "localhost",
        "local",
        "localdomain",
        "internal",
        "lan",
        "home",
        "home.arpa",
        "test",
        "invalid",
        "intranet",
        "corp",
        "svc",
    ];
    let host = host.to_ascii_lowercase();
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => &host,
    };
    let bare = name.trim_matches(['[', ']']).trim_end_matches('.');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0b1100_0000 == 64;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || shared
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
        Err(_) => {
            let private = |end: &str| bare.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
            !bare.contains('.') || is_loopback_host(bare) || PRIVATE.iter().any(|end| private(end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(left: &str, right: &str) -> Vec<Kind> {
        url_difference(left, right).map(|difference| difference.kinds).unwrap_or_default()
    }

    #[test]
    fn the_kind_of_difference_is_named() {
        let base = "https://mcp.acme.example/mcp";
        for (other, kind) in [
            ("http://mcp.acme.example/mcp", Kind::Scheme),
            ("https://MCP.acme.example/mcp", Kind::HostCase),
            ("https://mcp.acme.example./mcp", Kind::HostDot),
            ("https://www.mcp.acme.example/mcp", Kind::Www),
            ("https://acme.example/mcp", Kind::Subdomain),
            ("https://backend:3000/mcp", Kind::InnerHost),
            ("https://10.0.0.7/mcp", Kind::InnerHost),
            ("https://api.acme.example/mcp", Kind::Host),
            ("https://mcp.acme.example:443/mcp", Kind::DefaultPort),
            ("https://mcp.acme.example:20523/mcp", Kind::Port(Some("20523".into()), None)),
            ("https://mcp.acme.example/mcp/", Kind::Slash),
            ("https://mcp.acme.example/MCP", Kind::PathCase),
            ("https://mcp.acme.example/%6dcp", Kind::Encoding),
            ("https://mcp.acme.example/tools/mcp", Kind::PrefixMissing("/tools".into())),
            ("https://mcp.acme.example/mcp/mcp", Kind::Doubled("/mcp".into())),
            ("https://mcp.acme.example/sse", Kind::Endpoint("/sse".into(), "/mcp".into())),
            ("https://mcp.acme.example", Kind::Parent),
            ("https://mcp.acme.example/", Kind::Parent),
            ("https://mcp.acme.example/other", Kind::Path),
            ("https://mcp.acme.example/mcp?x=1", Kind::Query),
            ("https://mcp.acme.example/mcp#x", Kind::Fragment),
            ("https://u@mcp.acme.example/mcp", Kind::UserInfo),
            (" https://mcp.acme.example/mcp", Kind::WhiteSpace),
            ("api://mcp", Kind::NotAUrl),
            ("account", Kind::NotAUrl),
        ] {
            let found = kinds(other, base);
            let wanted = if other.contains("backend:3000") {
                vec![kind, Kind::Port(Some("3000".into()), None)]
            } else {
                vec![kind]
            };
            assert_eq!(found, wanted, "{other}");
        }
        assert_eq!(url_difference(base, base), None);
        assert_eq!(kinds("https://[::1]:3000/mcp", "https://[::1]/mcp"), [Kind::Port(Some("3000".into()), None)]);
        assert_eq!(kinds("https://a.example/mcp", "https://a.example/tools/mcp"), [Kind::PrefixAdded("/tools".into())]);
    }

    #[test]
    fn words_tell_one_difference_or_several() {
        let words = |left, right| url_difference(left, right).unwrap().words();
        assert_eq!(
            words("https://a.example/tools/mcp", "https://a.example/mcp"),
            "only the beginning of the path differs: a proxy took /tools off and did not tell it"
        );
        assert_eq!(words("https://a.example/mcp", "http://b.example/mcp"), "the scheme and the host differ");
        assert_eq!(words("https://a.example:8443", "https://a.example"), "only the port differs: 8443 and none");
        assert_eq!(
            url_difference("https://a.example/mcp/", "http://a.example/mcp").unwrap().only(),
            Some(&Kind::Scheme)
        );
        assert!(url_difference("https://A.example:443/mcp/", "https://a.example/mcp").unwrap().is_spelling());
    }
}
