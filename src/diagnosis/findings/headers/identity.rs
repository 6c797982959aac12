//! Headers that say who the user is: which of them no auth proxy would have sent so.

use http::{HeaderMap, HeaderName};

use super::super::{Facts, Finding, Rule, Severity};
use super::with_headers;
use crate::diagnosis::headers::{Category, category, title_case};
use crate::diagnosis::products::{self, Meaning};

/// The rules on identity headers.
pub(in crate::diagnosis::findings) const RULES: &[Rule] = &[
    Rule {
        id: "hdr.underscore_alias",
        severity: Severity::Error,
        meaning: "A header written with underscores may be taken for one that says who the user is or how the request came",
        fix: "have the proxy delete or refuse headers with underscores (Traefik: aliasHeadersStrategy of the entry \
              point, which was underscoreHeadersStrategy before; nginx: underscores_in_headers off), and update it",
        reference: "CVE-2026-39858 (Traefik), CVE-2026-52845 (Caddy); RFC 3875 section 4.1.18",
        check: underscore_alias,
    },
    Rule {
        id: "hdr.underscore_name",
        severity: Severity::Info,
        meaning: "A header's name has an underscore: many proxies drop such headers silently",
        fix: "write the header's name with dashes",
        reference: "nginx ngx_http_core_module, underscores_in_headers; RFC 3875 section 4.1.18",
        check: underscore_name,
    },
    Rule {
        id: "hdr.duplicate_identity",
        severity: Severity::Error,
        meaning: "A header that says who the user is comes twice: a proxy may check one and a server read the other",
        fix: "have the proxy replace the client's header instead of adding its own (Traefik: list it in \
              authResponseHeaders; nginx: proxy_set_header)",
        reference: "RFC 9110 section 5.3; CVE-2026-30851 (Caddy)",
        check: duplicates,
    },
    Rule {
        id: "hdr.lone_identity",
        severity: Severity::Warning,
        meaning: "A header that says who the user is comes without those that its product sends beside it",
        fix: "list all identity headers in the proxy's authResponseHeaders or copy_headers, so that it removes those that \
              the client sends",
        reference: "Traefik ForwardAuth, authResponseHeaders; CVE-2026-30851 (Caddy)",
        check: lone,
    },
    Rule {
        id: "hdr.two_products",
        severity: Severity::Warning,
        meaning: "Headers of several auth products say who the user is: a client may have sent those that its proxy does \
                  not overwrite",
        fix: "have the proxy delete the identity headers of the product that is not in front of this server",
        reference: "Traefik ForwardAuth: headers that are not listed in authResponseHeaders pass unchanged",
        check: two_products,
    },
];

/// Headers with underscores, with their names with dashes: those that tell of the user or of the request's way, or all
/// others.
fn underscores(headers: &HeaderMap, telling: bool) -> Vec<(&str, String)> {
    let named = headers.keys().map(HeaderName::as_str).filter_map(|name| Some((name, alias_of(name)?)));
    let tells = |dashed: &str| matches!(category(dashed), Category::Authentication | Category::Forwarding);
    let mut named: Vec<_> = named.filter(|(_, dashed)| tells(dashed) == telling).collect();
    named.sort_unstable(); // the map's own order is nobody's
    named
}

/// What a server that does not tell `_` from `-` takes the header `name` (lower case) for. `None` without `_`, and for
/// products whose own headers have it. This server never merges them.
fn alias_of(name: &str) -> Option<String> {
    (name.contains('_') && products::lookup(name).is_none()).then(|| name.replace('_', "-"))
}

fn names(found: &[(&str, String)]) -> String {
    found.iter().map(|(name, _)| title_case(name)).collect::<Vec<_>>().join(", ")
}

fn underscore_alias(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let found = underscores(facts.headers, true);
    let meant: Vec<_> = found.iter().map(|(_, dashed)| title_case(dashed)).collect();
    let summary = format!("{} may be taken for {} by a server behind the proxy", names(&found), meant.join(", "));
    with_headers(rule, summary, facts.headers, &found.iter().map(|(name, _)| *name).collect::<Vec<_>>())
}

fn underscore_name(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let found = underscores(facts.headers, false);
    let summary = format!("{}: many proxies drop headers with underscores silently", names(&found));
    with_headers(rule, summary, facts.headers, &found.iter().map(|(name, _)| *name).collect::<Vec<_>>())
}

/// Of a client certificate each proxy adds its own element, by design.
fn duplicates(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    let identity =
        |name: &str| products::lookup(name).is_some_and(|(_, field)| field.header != "x-forwarded-client-cert");
    let lines = |name: &str| headers.get_all(name).iter().count();
    let mut repeated: Vec<_> =
        headers.keys().map(HeaderName::as_str).filter(|name| identity(name) && lines(name) > 1).collect();
    repeated.sort_unstable();
    let found = repeated.into_iter().filter_map(|name| {
        with_headers(rule, format!("{} comes {} times", title_case(name), lines(name)), headers, &[name])
    });
    Finding::joined(found)
}

/// The gateway writes `X-User-Id`, `X-User-Name` and `X-Auth-Token` together; another gateway may send the id with one
/// of them. Groups without a user are what a forged `Remote-Groups` looks like.
fn lone(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    const WITH_GROUPS: [&str; 4] = ["oauth2-proxy (auth request)", "oauth2-proxy (upstream)", "Authelia", "authentik"];
    let headers = facts.headers;
    let has = |name: &str| headers.contains_key(name);
    let mut findings = Vec::new();
    if has("x-user-id") && !has("x-user-name") && !has("x-auth-token") {
        let summary = "X-User-Id comes without X-User-Name and X-Auth-Token: the proxy did not remove a client's \
                       header, or hands on only this one";
        findings.extend(with_headers(rule, summary, headers, &["x-user-id"]));
    } else if has("x-user-name") && !has("x-user-id") {
        let summary = "X-User-Name comes without X-User-Id: the proxy did not remove a client's header, or hands on \
                       only this one";
        findings.extend(with_headers(rule, summary, headers, &["x-user-name"]));
    }
    for product in products::PRODUCTS.iter().filter(|product| WITH_GROUPS.contains(&product.name)) {
        let present = || product.fields.iter().filter(|field| has(field.header));
        let user = present().any(|field| !matches!(field.meaning, Meaning::Groups | Meaning::Other));
        let groups: Vec<&str> =
            present().filter(|field| field.meaning == Meaning::Groups).map(|field| field.header).collect();
        if let Some(first) = groups.first().filter(|_| !user) {
            let summary = format!("{} names groups, and no header of {} a user", title_case(first), product.name);
            findings.extend(with_headers(rule, summary, headers, &groups));
        }
    }
    Finding::joined(findings)
}

/// Only headers that name a user count: what clients send themselves (service tokens), certificates of a mesh and
/// portals' URLs come beside any product. Kong's openid-connect hands on X-Access-Token, which nginx set-ups use too.
fn two_products(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    let vendor = |product: &'static str| product.split(" (").next().unwrap_or(product);
    let telling = |name: &&String| {
        products::lookup(name).is_some_and(|(_, field)| match field.meaning {
            Meaning::Token => field.jwt && field.header != "x-auth-token",
            Meaning::Other => false,
            _ => true,
        })
    };
    let mut vendors: Vec<&str> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for seen in products::seen(headers) {
        if let Some(name) = seen.headers.iter().find(telling) {
            if !vendors.contains(&vendor(seen.product)) {
                vendors.push(vendor(seen.product));
            }
            names.push(name.clone());
        }
    }
    if vendors.len() < 2 {
        return None;
    }
    let summary = format!("identity headers of {}: only one of them should be in front", vendors.join(" and "));
    with_headers(rule, summary, headers, &names.iter().map(String::as_str).collect::<Vec<_>>())
}
