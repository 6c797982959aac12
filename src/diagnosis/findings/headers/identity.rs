//! Headers that say who the user is: which of them no auth proxy would have sent so.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::super::{Facts, Finding, Rule, Severity};
use super::with_headers;
use crate::diagnosis::agreement::alias_of;
use crate::diagnosis::headers::{Category, category, title_case};
use crate::diagnosis::products::{self, Meaning};

pub(super) static UNDERSCORE_ALIAS: Rule = Rule {
    id: "hdr.underscore_alias",
    severity: Severity::Error,
    meaning: "A header written with underscores may be taken for one that says who the user is or how the request came",
    fix: "have the proxy delete or refuse headers with underscores (Traefik: aliasHeadersStrategy of the entry \
          point, which was underscoreHeadersStrategy before; nginx: underscores_in_headers off), and update it",
    reference: "CVE-2026-39858 (Traefik), CVE-2026-52845 (Caddy); RFC 3875 section 4.1.18",
};

pub(super) static UNDERSCORE_NAME: Rule = Rule {
    id: "hdr.underscore_name",
    severity: Severity::Info,
    meaning: "A header's name has an underscore: many proxies drop such headers silently",
    fix: "write the header's name with dashes",
    reference: "nginx ngx_http_core_module, underscores_in_headers; RFC 3875 section 4.1.18",
};

pub(super) static DUPLICATE_IDENTITY: Rule = Rule {
    id: "hdr.duplicate_identity",
    severity: Severity::Error,
    meaning: "A header that says who the user is comes twice: a proxy may check one and a server read the other",
    fix: "have the proxy replace the client's header instead of adding its own (Traefik: list it in \
          authResponseHeaders; nginx: proxy_set_header)",
    reference: "RFC 9110 section 5.3; CVE-2026-30851 (Caddy)",
};

pub(super) static DUPLICATE_AUTHORIZATION: Rule = Rule {
    id: "hdr.duplicate_authorization",
    severity: Severity::Error,
    meaning: "Authorization comes more than once: a proxy may check one token and a server read the other",
    fix: "send one Authorization header, and have the proxy replace it instead of adding another",
    reference: "RFC 9110 sections 5.3 and 11.6.2; RFC 6750 section 2",
};

pub(super) static LONE_IDENTITY: Rule = Rule {
    id: "hdr.lone_identity",
    severity: Severity::Warning,
    meaning: "A header that says who the user is comes without those that its product sends beside it",
    fix: "list all identity headers in the proxy's authResponseHeaders or copy_headers, so that it removes those that \
          the client sends",
    reference: "Traefik ForwardAuth, authResponseHeaders; CVE-2026-30851 (Caddy)",
};

pub(super) static TWO_PRODUCTS: Rule = Rule {
    id: "hdr.two_products",
    severity: Severity::Warning,
    meaning: "Headers of several auth products say who the user is: a client may have sent those that its proxy does \
              not overwrite",
    fix: "have the proxy delete the identity headers of the product that is not in front of this server",
    reference: "Traefik ForwardAuth: headers that are not listed in authResponseHeaders pass unchanged",
};

pub(super) fn of_request(facts: &Facts<'_>) -> Vec<Finding> {
    let headers = facts.headers;
    let mut findings = underscores(headers);
    findings.extend(duplicates(headers));
    findings.extend(lone(headers));
    findings.extend(two_products(headers));
    findings
}

fn underscores(headers: &HeaderMap) -> Vec<Finding> {
    let with_underscore = headers.keys().map(HeaderName::as_str).filter_map(|name| Some((name, alias_of(name)?)));
    let mut named: Vec<(&str, String)> = with_underscore.collect();
    named.sort_unstable(); // the map's own order is nobody's
    let (telling, others): (Vec<_>, Vec<_>) = named
        .into_iter()
        .partition(|(_, dashed)| matches!(category(dashed), Category::Authentication | Category::Forwarding));
    let list = |found: &[(&str, String)]| found.iter().map(|(name, _)| title_case(name)).collect::<Vec<_>>().join(", ");
    let alias = (!telling.is_empty()).then(|| {
        let meant: Vec<_> = telling.iter().map(|(_, dashed)| title_case(dashed)).collect();
        let summary = format!("{} may be taken for {} by a server behind the proxy", list(&telling), meant.join(", "));
        with_headers(&UNDERSCORE_ALIAS, summary, headers, &telling.iter().map(|(name, _)| *name).collect::<Vec<_>>())
    });
    let other = (!others.is_empty()).then(|| {
        let summary = format!("{}: many proxies drop headers with underscores silently", list(&others));
        with_headers(&UNDERSCORE_NAME, summary, headers, &others.iter().map(|(name, _)| *name).collect::<Vec<_>>())
    });
    alias.flatten().into_iter().chain(other.flatten()).collect()
}

fn duplicates(headers: &HeaderMap) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Of a client certificate each proxy adds its own element, by design.
    let identity =
        |name: &str| products::lookup(name).is_some_and(|(_, field)| field.header != "x-forwarded-client-cert");
    let mut repeated: Vec<&str> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| identity(name) && headers.get_all(*name).iter().count() > 1)
        .collect();
    repeated.sort_unstable();
    for name in repeated {
        let summary = format!("{} comes {} times", title_case(name), headers.get_all(name).iter().count());
        findings.extend(with_headers(&DUPLICATE_IDENTITY, summary, headers, &[name]));
    }
    let lines = headers.get_all(AUTHORIZATION).iter().count();
    // Credentials of these schemes hold no comma: a proxy has joined two lines.
    let joined = headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let value = value.to_ascii_lowercase();
        value
            .split(',')
            .skip(1)
            .any(|part| ["bearer ", "dpop ", "basic "].iter().any(|scheme| part.trim_start().starts_with(scheme)))
    });
    if lines > 1 || joined {
        let summary = match lines {
            1 => "Authorization holds two credentials, joined by a comma".to_owned(),
            _ => format!("Authorization comes {lines} times"),
        };
        findings.extend(with_headers(&DUPLICATE_AUTHORIZATION, summary, headers, &[AUTHORIZATION.as_str()]));
    }
    findings
}

/// The gateway writes `X-User-Id`, `X-User-Name` and `X-Auth-Token` together; another gateway may send the id with one
/// of them. Groups without a user are what a forged `Remote-Groups` looks like.
fn lone(headers: &HeaderMap) -> Vec<Finding> {
    const WITH_GROUPS: [&str; 4] = ["oauth2-proxy (auth request)", "oauth2-proxy (upstream)", "Authelia", "authentik"];
    let has = |name: &str| headers.contains_key(name);
    let mut findings = Vec::new();
    if has("x-user-id") && !has("x-user-name") && !has("x-auth-token") {
        let summary = "X-User-Id comes without X-User-Name and X-Auth-Token: the proxy did not remove a client's \
                       header, or hands on only this one";
        findings.extend(with_headers(&LONE_IDENTITY, summary, headers, &["x-user-id"]));
    } else if has("x-user-name") && !has("x-user-id") {
        let summary = "X-User-Name comes without X-User-Id: the proxy did not remove a client's header, or hands on \
                       only this one";
        findings.extend(with_headers(&LONE_IDENTITY, summary, headers, &["x-user-name"]));
    }
    for product in products::PRODUCTS.iter().filter(|product| WITH_GROUPS.contains(&product.name)) {
        let present = || product.fields.iter().filter(|field| has(field.header));
        let user = present().any(|field| !matches!(field.meaning, Meaning::Groups | Meaning::Other));
        let groups: Vec<&str> =
            present().filter(|field| field.meaning == Meaning::Groups).map(|field| field.header).collect();
        if let Some(first) = groups.first().filter(|_| !user) {
            let summary = format!("{} names groups, and no header of {} a user", title_case(first), product.name);
            findings.extend(with_headers(&LONE_IDENTITY, summary, headers, &groups));
        }
    }
    findings
}

/// Only headers that name a user count: what clients send themselves (service tokens), certificates of a mesh and
/// portals' URLs come beside any product. Kong's openid-connect hands on X-Access-Token, which nginx set-ups use too.
fn two_products(headers: &HeaderMap) -> Option<Finding> {
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
    with_headers(&TWO_PRODUCTS, summary, headers, &names.iter().map(String::as_str).collect::<Vec<_>>())
}
