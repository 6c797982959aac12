//! Headers that tell of a request's way: schemes, hosts, sizes, and what should have been left behind on it.

use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderName};

use super::super::{Facts, Finding, Rule, Severity};
use super::{MOST_SHOWN, with_headers};
use crate::diagnosis::forwarding::{first, without_default_port};
use crate::diagnosis::headers::{Category, category, title_case};
use crate::diagnosis::products;
use crate::diagnosis::proxies::proxies;
use crate::diagnosis::redact;
use crate::diagnosis::urls::is_inner_host;

/// The rules on a request's way.
pub(in crate::diagnosis::findings) const RULES: &[Rule] = &[
    Rule {
        id: "hdr.forwarded_conflict",
        severity: Severity::Warning,
        meaning: "Forwarded tells another URL than X-Forwarded-* or Host: most gateways hand a client's Forwarded on",
        fix: "have the outermost proxy write Forwarded itself, or delete what clients send",
        reference: "RFC 7239 sections 4, 5.3, 5.4 and 7.4",
        check: forwarded_conflict,
    },
    Rule {
        id: "hdr.xfp_http_public",
        severity: Severity::Warning,
        meaning: "The proxy's headers tell of http, but the client most likely used https: URLs made from them (resource \
                  metadata, audience, redirects) are wrong",
        fix: "have the proxy that ends TLS send X-Forwarded-Proto: https, and those behind it trust that",
        reference: "RFC 9728 section 3.3; RFC 7239 section 5.4",
        check: http_behind_tls,
    },
    Rule {
        id: "hdr.xfh_ne_host",
        severity: Severity::Info,
        meaning: "X-Forwarded-Host and Host differ: a proxy rewrites Host",
        fix: "have the proxy hand Host on where a server behind it needs the public name",
        reference: "RFC 7239 section 5.3; RFC 9110 section 7.2",
        check: rewritten_host,
    },
    Rule {
        id: "hdr.fwd_uri_at_backend",
        severity: Severity::Warning,
        meaning: "X-Forwarded-Uri or X-Forwarded-Method, which proxies send to their auth service, reached this server",
        fix: "have the proxy delete them in front of this server, and do not name this server as the address of an auth \
              service",
        reference: "Traefik pkg/middlewares/auth/forward.go; Caddy forward_auth",
        check: auth_request,
    },
    Rule {
        id: "hdr.oversize",
        severity: Severity::Warning,
        meaning: "The headers are larger than what common proxies and servers take: 431, 400 or a cut connection is near",
        fix: "make the largest header smaller (fewer group claims, no user info in cookies), or raise the limit of every \
              proxy on the way",
        reference: "RFC 6585 section 5; nginx large_client_header_buffers (8 KiB a line); Apache LimitRequestFieldSize \
                    (8190); Node.js --max-http-header-size (16 KiB)",
        check: size,
    },
    Rule {
        id: "hdr.large",
        severity: Severity::Info,
        meaning: "The headers take more than half of what common proxies and servers take",
        fix: "look at the largest header before it grows",
        reference: "RFC 6585 section 5; nginx large_client_header_buffers (8 KiB a line)",
        check: size,
    },
    Rule {
        id: "hdr.hop_by_hop",
        severity: Severity::Warning,
        meaning: "A header that is for one connection only came through a proxy, or Connection names one that is for the \
                  whole way",
        fix: "have the proxy remove hop-by-hop headers and whatever Connection names, and update it",
        reference: "RFC 9110 sections 7.6.1 and 11.7.2",
        check: hop_by_hop,
    },
];

fn forwarded_conflict(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let conflicts = &facts.public_url().conflicts;
    let conflict = conflicts.iter().find(|conflict| conflict.starts_with("Forwarded says"))?;
    let names = ["forwarded", "x-forwarded-proto", "x-forwarded-host"];
    with_headers(rule, redact::value(conflict), facts.headers, &names)
}

/// Something in front ended TLS and the scheme got lost: another header says so, or the name is one that the public
/// internet knows. A plain request without a proxy raises nothing.
fn http_behind_tls(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    let url = facts.public_url();
    let in_front = proxies(headers);
    if url.scheme != "http" || (in_front.is_empty() && products::seen(headers).is_empty()) {
        return None;
    }
    let host = url.host.as_deref()?;
    let name = "x-forwarded-proto";
    let told = match first(headers, name) {
        Some(_) => "X-Forwarded-Proto says http",
        None if headers.contains_key("forwarded") => "Forwarded says http or no scheme",
        None => "X-Forwarded-Proto is missing",
    };
    let shown = redact::value(host).into_owned();
    if let Some(tls) = tls_telltale(headers) {
        let summary = format!("{told} for {shown}, and {} tells of TLS", title_case(tls));
        return with_headers(rule, summary, headers, &[tls, name, "forwarded", "x-forwarded-host"]);
    }
    if is_inner_host(host) {
        return None;
    }
    let summary = format!("{told} for the public name {shown}: URLs made from this request begin with http://");
    let names = [name, "forwarded", "x-forwarded-host", "x-forwarded-for", "host"];
    let finding = with_headers(rule, summary, headers, &names)?;
    // Behind a proxy that is known by other headers only: the public URL is evidence enough.
    Some(finding.and_evidence("URL of this request", &redact::uri(&url.url()?)))
}

/// The header that says that the client used TLS.
fn tls_telltale(headers: &HeaderMap) -> Option<&'static str> {
    const TELLTALES: [(&str, &str); 8] = [
        ("x-forwarded-port", "443"),
        ("x-forwarded-ssl", "on"),
        ("front-end-https", "on"),
        ("x-forwarded-scheme", "https"),
        ("x-url-scheme", "https"),
        ("x-scheme", "https"),
        ("cloudfront-forwarded-proto", "https"),
        ("cf-visitor", r#"{"scheme":"https"}"#),
    ];
    let says = |name: &str, value: &str| first(headers, name).is_some_and(|said| said.eq_ignore_ascii_case(value));
    TELLTALES.iter().find(|(name, value)| says(name, value)).map(|(name, _)| *name)
}

fn rewritten_host(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    let forwarded = first(headers, "x-forwarded-host")?;
    let host = first(headers, HOST.as_str())?;
    if without_default_port(&forwarded).eq_ignore_ascii_case(&without_default_port(&host)) {
        return None;
    }
    let [asked, got] = [redact::value(&forwarded), redact::value(&host)];
    let summary = format!("the client asked for {asked}, the proxy asks this server for {got}");
    with_headers(rule, summary, headers, &["x-forwarded-host", "host"])
}

/// The snippets of Authelia's documentation for nginx send X-Forwarded-URI to every backend: that of this very request
/// is no fault.
fn auth_request(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    let method = first(headers, "x-forwarded-method");
    let uri = facts.header("x-forwarded-uri");
    let path = |uri: &str| uri.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/').to_owned();
    let own = [path(facts.uri.path()), path(&facts.public_url().path)];
    let other_uri = uri.as_ref().is_some_and(|uri| !own.contains(&path(uri)));
    let summary = match (&method, other_uri) {
        (_, true) => "X-Forwarded-Uri names another path than this request has",
        (Some(_), false) => "X-Forwarded-Method, which a proxy sends to its auth service, reached this server",
        (None, false) => return None,
    };
    with_headers(rule, summary, headers, &["x-forwarded-method", "x-forwarded-uri"])
}

/// Limits of common proxies and servers. A line: nginx, Apache. All of them: Tomcat and Jetty, Node.js, Kestrel.
const LIMITS: [(usize, &str); 4] = [
    (4 * 1024, "4 KiB (half of nginx's line)"),
    (8 * 1024, "8 KiB (nginx and Apache for a line, Tomcat and Jetty for all)"),
    (16 * 1024, "16 KiB (Node.js, HAProxy and AWS load balancers)"),
    (32 * 1024, "32 KiB (Kestrel)"),
];

fn size(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    // `NAME: VALUE` and the end of the line, as HTTP/1.1 sends it.
    let line = |name: &HeaderName, value: &http::HeaderValue| name.as_str().len() + value.len() + ": \r\n".len();
    let total: usize = headers.iter().map(|(name, value)| line(name, value)).sum();
    let (_, limit) = LIMITS.iter().rev().find(|(limit, _)| total >= *limit)?;
    if (rule.id == "hdr.oversize") != (total >= LIMITS[1].0) {
        return None;
    }
    let mut largest: Vec<(usize, &str)> = headers
        .keys()
        .map(|name| (headers.get_all(name).iter().map(|value| line(name, value)).sum(), name.as_str()))
        .collect();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let (most, name) = *largest.first()?;
    let name = title_case(name);
    let summary = format!("the headers take {total} bytes, past {limit}; the largest is {name} with {most}");
    let mut finding = Finding::new(rule, summary, "All headers", &format!("{total} bytes"));
    for (bytes, name) in largest.iter().take(MOST_SHOWN - 2) {
        finding = finding.and_evidence(&title_case(name), &format!("{bytes} bytes"));
    }
    Some(finding)
}

/// What a client on this very connection may send, and what a proxy sends for its own connection (`Connection: close`,
/// `upgrade`, `Transfer-Encoding`, `TE: trailers`), is no leak.
fn hop_by_hop(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    const OF_THE_CONNECTION: [&str; 6] = ["close", "keep-alive", "upgrade", "te", "http2-settings", "trailer"];
    let headers = facts.headers;
    let mut leaked: Vec<&str> = ["proxy-connection", "proxy-authorization", "proxy-authenticate"]
        .into_iter()
        .filter(|name| headers.contains_key(*name))
        .collect();
    if !proxies(headers).is_empty() {
        leaked.extend(["keep-alive"].iter().filter(|name| headers.contains_key(**name)));
        let te = headers.get("te").is_some_and(|te| !te.as_bytes().trim_ascii().eq_ignore_ascii_case(b"trailers"));
        leaked.extend(te.then_some("te"));
    }
    let connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>();
    let named: Vec<String> = connection
        .iter()
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .filter(|option| !OF_THE_CONNECTION.contains(&option.as_str()))
        .filter(|option| headers.contains_key(option.as_str()) || is_for_the_whole_way(option))
        .collect();
    if leaked.is_empty() && named.is_empty() {
        return None;
    }
    let title = |name: &&str| title_case(name);
    let summary = if leaked.is_empty() {
        let names = named.iter().map(String::as_str).map(title_case).collect::<Vec<_>>().join(", ");
        format!("Connection names {names}: a proxy that obeys removes it, one that does not lets it through")
    } else {
        format!("{} should have ended at the proxy", leaked.iter().map(title).collect::<Vec<_>>().join(", "))
    };
    let connection = (!named.is_empty()).then_some(CONNECTION.as_str());
    with_headers(rule, summary, headers, &connection.into_iter().chain(leaked).collect::<Vec<_>>())
}

/// Headers that every proxy must hand on: to name them in `Connection` makes one remove them.
fn is_for_the_whole_way(name: &str) -> bool {
    matches!(category(name), Category::Authentication | Category::Forwarding | Category::Mcp)
}
