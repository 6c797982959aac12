//! CORS: what browsers need of this server, and what its own policy would answer.
//!
//! The lists below are the ones that the server's CORS layer sends: the simulation and the server cannot disagree.
//! Rules are those of the Fetch standard (fetch.spec.whatwg.org), sections 2.2.1 (methods), 2.2.2 (headers), 3.3 (CORS
//! protocol).

mod beyond;
mod simulation;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, Uri};

use super::forwarding::public_url;
use super::headers::{Category, category};
use super::origin::{contains, is_loopback_host, is_loopback_origin, serialise};
use crate::config::{Config, Origins};
use crate::protocol::Revision;

pub use beyond::Beyond;
pub use simulation::{Attempt, Point, Verdict, simulate};

/// What `Access-Control-Allow-Methods` lists.
pub const ALLOW_METHODS: [&str; 4] = ["POST", "GET", "DELETE", "OPTIONS"];

/// What `Access-Control-Allow-Headers` lists: all that any revision needs ([`NEEDS`]), trace context (SEP-414), DPoP
/// (RFC 9449) and a request id. Each by name: `*` never covers `Authorization`, and there is no wildcard for a prefix.
pub const ALLOW_HEADERS: [&str; 14] = [
    "Content-Type",
    "Accept",
    "Authorization",
    "Mcp-Session-Id",
    "Last-Event-ID",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Param-Session",
    "DPoP",
    "traceparent",
    "tracestate",
    "baggage",
    "X-Request-Id",
];

/// What `Access-Control-Expose-Headers` lists: without it a script can read none of these.
pub const EXPOSE_HEADERS: [&str; 6] =
    ["Mcp-Session-Id", "WWW-Authenticate", "MCP-Protocol-Version", "Retry-After", "X-Request-Id", "X-Instance-Id"];

/// `Access-Control-Max-Age` in seconds: the longest that Chromium keeps a preflight.
pub const MAX_AGE: u32 = 7200;

/// What a browser client of one revision needs.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// The revision's name.
    pub revision: &'static str,
    /// Methods that a preflight must allow.
    pub methods: &'static [&'static str],
    /// Request headers that a preflight must allow. `Mcp-Method` and `Mcp-Name` stand in every row: a client that
    /// finds out a server's era sends them to older servers too.
    pub headers: &'static [&'static str],
    /// Response headers that the answer itself must expose.
    pub exposed: &'static [&'static str],
}

/// The needs of each revision: basic/transports and basic/authorization of that revision.
pub const NEEDS: [Needs; 5] = [
    Needs {
        revision: "2024-11-05",
        methods: &["POST", "GET", "DELETE", "OPTIONS"],
        headers: BEFORE_VERSION_HEADER,
        exposed: &["Mcp-Session-Id", "WWW-Authenticate"],
    },
    Needs {
        revision: "2025-03-26",
        methods: &["POST", "GET", "DELETE", "OPTIONS"],
        headers: BEFORE_VERSION_HEADER,
        exposed: &["Mcp-Session-Id", "WWW-Authenticate"],
    },
    Needs {
        revision: "2025-06-18",
        methods: &["POST", "GET", "DELETE", "OPTIONS"],
        headers: WITH_VERSION_HEADER,
        exposed: &["Mcp-Session-Id", "WWW-Authenticate", "MCP-Protocol-Version"],
    },
    Needs {
        revision: "2025-11-25",
        methods: &["POST", "GET", "DELETE", "OPTIONS"],
        headers: WITH_VERSION_HEADER,
        exposed: &["Mcp-Session-Id", "WWW-Authenticate", "MCP-Protocol-Version"],
    },
    Needs {
        revision: "2026-07-28",
        methods: &["POST", "OPTIONS"],
        headers: &["Content-Type", "Accept", "Authorization", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"],
        exposed: &["WWW-Authenticate", "MCP-Protocol-Version", "Retry-After"],
    },
];

const BEFORE_VERSION_HEADER: &[&str] =
    &["Content-Type", "Accept", "Authorization", "Mcp-Session-Id", "Last-Event-ID", "Mcp-Method", "Mcp-Name"];

const WITH_VERSION_HEADER: &[&str] = &[
    "Content-Type",
    "Accept",
    "Authorization",
    "Mcp-Session-Id",
    "Last-Event-ID",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
];

/// The needs of `revision`.
#[must_use]
pub fn needs(revision: Revision) -> &'static Needs {
    NEEDS.iter().find(|needs| needs.revision == revision.name()).unwrap_or(&NEEDS[NEEDS.len() - 1])
}

/// Who gets CORS headers from this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy<'a> {
    /// `MCP_CORS_ORIGINS` says who.
    Origins(&'a Origins),
    /// Unset, and bound to a loopback address: loopback origins.
    Loopback,
    /// Unset, and bound to another address: nobody. CORS is the proxy's job, and two that set it double the headers.
    Off,
}

impl<'a> Policy<'a> {
    /// The policy that `config` sets.
    #[must_use]
    pub fn of(config: &'a Config) -> Self {
        match &config.cors_origins {
            Some(Origins::Only(list)) if list.is_empty() => Self::Off,
            Some(origins) => Self::Origins(origins),
            None if is_loopback_host(&config.host) => Self::Loopback,
            None => Self::Off,
        }
    }

    /// What `MCP_CORS_ORIGINS` is set to, for people.
    #[must_use]
    pub fn setting(config: &Config) -> String {
        match &config.cors_origins {
            None => "unset".to_owned(),
            Some(Origins::Only(list)) if list.is_empty() => "none".to_owned(),
            Some(origins) => origins.to_string(),
        }
    }

    /// Whether `origin` gets CORS headers.
    #[must_use]
    pub fn allows(self, origin: &str) -> bool {
        match self {
            Self::Origins(origins) => contains(origins, origin),
            Self::Loopback => is_loopback_origin(origin),
            Self::Off => false,
        }
    }

    /// The value of `Access-Control-Allow-Origin` for `origin`, and whether the answer depends on it (`Vary: Origin`).
    #[must_use]
    pub fn allow_origin(self, origin: &str) -> Option<(&str, bool)> {
        match self {
            Self::Origins(Origins::Any) => Some(("*", false)),
            _ => self.allows(origin).then_some((origin, true)),
        }
    }

    /// For people and scripts: `off`, `loopback origins`, `any origin`, `listed origins`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Origins(Origins::Any) => "any origin",
            Self::Origins(Origins::Only(_)) => "listed origins",
            Self::Loopback => "loopback origins",
            Self::Off => "off",
        }
    }
}

/// What kind of request a browser, or something else, made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No `Origin`: no browser, or a same-origin GET. CORS does not apply.
    NoOrigin,
    /// `Origin` is the server's own. CORS does not apply.
    SameOrigin,
    /// Another site.
    CrossOrigin,
    /// `null`: a sandboxed frame, a file, a redirect across sites.
    Null,
    /// A browser or editor extension.
    Extension,
    /// Another port or scheme of this machine: a development server, an inspector.
    Loopback,
    /// Not an origin.
    Malformed,
}

impl Class {
    /// A stable name for scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoOrigin => "no-origin",
            Self::SameOrigin => "same-origin",
            Self::CrossOrigin => "cross-origin",
            Self::Null => "null-origin",
            Self::Extension => "extension",
            Self::Loopback => "loopback",
            Self::Malformed => "malformed-origin",
        }
    }

    /// What that means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NoOrigin => "no Origin header: not a browser's cross-origin request, CORS does not apply",
            Self::SameOrigin => "same-origin: CORS does not apply",
            Self::CrossOrigin => "cross-origin: another site's script",
            Self::Null => "opaque origin (null): a sandboxed frame, a local file or a redirect across sites",
            Self::Extension => "a browser or editor extension",
            Self::Loopback => "loopback: a page served from this machine",
            Self::Malformed => "the Origin is not a web origin (scheme://host[:port])",
        }
    }

    /// Whether a browser asks for permission at all.
    #[must_use]
    pub const fn needs_cors(self) -> bool {
        !matches!(self, Self::NoOrigin | Self::SameOrigin)
    }

    /// The class of a request from `origin` to a server whose own origin is `own`.
    #[must_use]
    pub fn of(origin: Option<&str>, own: Option<&str>) -> Self {
        let Some(origin) = origin else { return Self::NoOrigin };
        let Some(spelled) = serialise(origin) else { return Self::Malformed };
        let extension =
            ["chrome-extension", "moz-extension", "safari-web-extension", "extension", "vscode-webview", "vscode-file"]
                .iter()
                .any(|scheme| spelled.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")));
        if spelled == "null" {
            Self::Null
        } else if own.and_then(serialise).is_some_and(|own| own == spelled) {
            Self::SameOrigin
        } else if extension {
            Self::Extension
        } else if is_loopback_origin(&spelled) {
            Self::Loopback
        } else {
            Self::CrossOrigin
        }
    }
}

/// Whether an OPTIONS request is a preflight: one with `Origin` and `Access-Control-Request-Method` (Fetch standard,
/// CORS-preflight request).
#[must_use]
pub fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The origin that the client knows this server by.
#[must_use]
pub fn own_origin(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    public_url(headers, uri).origin()
}

/// Why a request with `method` and these header names needs a preflight; empty when it needs none. `Content-Type`
/// counts as `application/json`, which this protocol's POST always is and which is not safelisted: that is what keeps
/// other sites' forms from posting here.
#[must_use]
pub fn preflight_reasons(method: &str, headers: &[&str]) -> Vec<String> {
    let mut reasons = Vec::new();
    if !["GET", "HEAD", "POST"].contains(&method) {
        reasons.push(format!("method {method}"));
    }
    for name in headers.iter().filter(|name| !is_safelisted(name) && !is_forbidden(name)) {
        reasons.push(if name.eq_ignore_ascii_case("content-type") {
            format!("header {name}: application/json")
        } else {
            format!("header {name}")
        });
    }
    reasons
}

/// Whether a script may send the header without asking (Fetch, CORS-safelisted request-header).
#[must_use]
pub fn is_safelisted(name: &str) -> bool {
    ["accept", "accept-language", "content-language", "range"].iter().any(|safe| safe.eq_ignore_ascii_case(name))
}

/// Whether only the browser sets the header (Fetch, forbidden request-header).
#[must_use]
pub fn is_forbidden(name: &str) -> bool {
    const FORBIDDEN: [&str; 21] = [
        "accept-charset",
        "accept-encoding",
        "access-control-request-headers",
        "access-control-request-method",
        "access-control-request-private-network",
        "connection",
        "content-length",
        "cookie",
        "cookie2",
        "date",
        "dnt",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "referer",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = name.to_ascii_lowercase();
    FORBIDDEN.contains(&&*name) || name == "via" || name.starts_with("proxy-") || name.starts_with("sec-")
}

/// Whether a header of a request (lower case) was probably set by the script: not by the browser, a proxy or an auth
/// product.
#[must_use]
pub fn is_by_script(name: &str) -> bool {
    let own = ["authorization", "content-type", "dpop", "x-api-key", "api-key", "traceparent", "tracestate", "baggage"];
    own.contains(&name) || matches!(category(name), Category::Mcp | Category::Custom)
}

/// Whether a list of header names allows `name`: `*` allows all but `Authorization` (Fetch, CORS non-wildcard
/// request-header name), and only where no credentials are sent.
#[must_use]
pub fn list_allows(list: &[&str], name: &str) -> bool {
    list.iter().any(|listed| {
        listed.eq_ignore_ascii_case(name) || (*listed == "*" && !name.eq_ignore_ascii_case("authorization"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_has_a_row_and_the_servers_lists_cover_it() {
        for revision in Revision::ALL {
            assert_eq!(needs(revision).revision, revision.name());
        }
        for needs in NEEDS {
            let all = |wanted: &[&str], list: &[&str]| wanted.iter().all(|name| list_allows(list, name));
            assert!(all(needs.methods, &ALLOW_METHODS), "{}", needs.revision);
            assert!(all(needs.headers, &ALLOW_HEADERS), "{}", needs.revision);
            assert!(all(needs.exposed, &EXPOSE_HEADERS), "{}", needs.revision);
            assert!(needs.headers.contains(&"Mcp-Method") && needs.headers.contains(&"Mcp-Name"));
        }
    }

    #[test]
    fn requests_are_told_apart_by_their_origin() {
        let own = Some("https://mcp.example");
        for (origin, class) in [
            (None, Class::NoOrigin),
            (Some("https://mcp.example:443"), Class::SameOrigin),
            (Some("http://mcp.example"), Class::CrossOrigin),
            (Some("https://app.example"), Class::CrossOrigin),
            (Some("null"), Class::Null),
            (Some("chrome-extension://abc"), Class::Extension),
            (Some("vscode-webview://1a2b"), Class::Extension),
            (Some("http://localhost:6274"), Class::Loopback),
            (Some("app.example"), Class::Malformed),
        ] {
            assert_eq!(Class::of(origin, own), class, "{origin:?}");
        }
    }

    #[test]
    fn a_preflight_is_forced_by_what_is_not_safelisted() {
        assert!(preflight_reasons("GET", &["Accept", "Cookie", "Sec-Fetch-Mode", "User-agent"]).len() == 1);
        assert_eq!(
            preflight_reasons("DELETE", &["content-type", "Authorization", "Accept"]),
            ["method DELETE", "header content-type: application/json", "header Authorization"]
        );
    }

    #[test]
    fn a_wildcard_never_covers_authorization() {
        assert!(list_allows(&["*"], "Mcp-Session-Id"));
        assert!(!list_allows(&["*"], "authorization"));
        assert!(list_allows(&["*", "Authorization"], "authorization"));
    }

    #[test]
    fn the_policy_follows_the_setting_and_else_the_address() {
        let at =
            |host: &str, cors: Option<Origins>| Config { host: host.into(), cors_origins: cors, ..Config::default() };
        let only = Origins::Only(vec!["https://app.example".into()]);
        for (config, name, app, local) in [
            (at("127.0.0.1", None), "loopback origins", false, true),
            (at("localhost", None), "loopback origins", false, true),
            (at("::1", None), "loopback origins", false, true),
            (at("0.0.0.0", None), "off", false, false),
            (at("0.0.0.0", Some(Origins::Any)), "any origin", true, true),
            (at("127.0.0.1", Some(only)), "listed origins", true, false),
            (at("127.0.0.1", Some(Origins::Only(Vec::new()))), "off", false, false),
        ] {
            let policy = Policy::of(&config);
            assert_eq!(policy.name(), name);
            assert_eq!(policy.allows("https://app.example"), app, "{name}");
            assert_eq!(policy.allows("http://localhost:6274"), local, "{name}");
        }
    }
}
