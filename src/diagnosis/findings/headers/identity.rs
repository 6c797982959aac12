//! Headers that say who the user is: which of them no auth proxy would have sent so.

use http::{HeaderMap, HeaderName};

use super::super::identity::differs;
use super::super::{Facts, Finding, Rule, Severity};
use super::with_headers;
use crate::diagnosis::agreement::rules;
use crate::diagnosis::headers::{Category, category, title_case};
use crate::diagnosis::products::{self, Meaning, Origin, PRODUCTS, Product};
use crate::diagnosis::token::Format;
use crate::request::ProxyProof;

/// The rules on identity headers.
pub(in crate::diagnosis::findings) const RULES: &[Rule] = &[
    Rule {
        id: "hdr.underscore_alias",
        severity: Severity::Error,
        meaning: "A header written with underscores or dots may be taken for one that says who the user is or how the request \
                  came",
        fix: "have the proxy delete or refuse headers with underscores or dots, and update it",
        reference: "CVE-2026-39858 (Traefik), CVE-2026-52845 (Caddy); Traefik 3.7.13 (dots); RFC 3875 section 4.1.18",
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
        fix: "have the proxy replace the client's header instead of adding its own",
        reference: "RFC 9110 section 5.3; CVE-2026-30851 (Caddy)",
        check: duplicates,
    },
    Rule {
        id: "hdr.lone_identity",
        severity: Severity::Warning,
        meaning: "A header that says who the user is comes without what its product always sends, and no token confirms it",
        fix: "have the proxy set or remove each identity header on every request, so that none comes from a client",
        reference: "Traefik ForwardAuth, authResponseHeaders; CVE-2026-30851 (Caddy)",
        check: lone,
    },
    Rule {
        id: "hdr.assertion_invalid",
        severity: Severity::Error,
        meaning: "A gateway's signed assertion is not signed by the key that it names: a client made it, or something altered it",
        fix: "let only the gateway reach this server, and have it replace what clients send under this name",
        reference: "RFC 7515 section 5.2; the gateway's documentation on its signed header",
        check: assertion,
    },
    Rule {
        id: rules::TWO_PRODUCTS,
        severity: Severity::Warning,
        meaning: "Headers of several auth products do not name the same user: a client may have sent those that its proxy \
                  does not overwrite",
        fix: "have the proxy delete the identity headers of the product that is not in front of this server",
        reference: "Traefik ForwardAuth: headers that are not listed in authResponseHeaders pass unchanged",
        check: differs,
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

/// What a server that does not tell `_` or `.` from `-` (CGI, WSGI, PHP) takes the header `name` (lower case) for. `None`
/// without them, and for products whose own headers have them. This server never merges them.
fn alias_of(name: &str) -> Option<String> {
    (name.contains(['_', '.']) && products::lookup(name).is_none()).then(|| name.replace(['_', '.'], "-"))
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
    let mut found = underscores(facts.headers, false);
    found.retain(|(name, _)| name.contains('_'));
    let summary = format!("{}: many proxies drop headers with underscores silently", names(&found));
    with_headers(rule, summary, facts.headers, &found.iter().map(|(name, _)| *name).collect::<Vec<_>>())
}

/// Of a client certificate each proxy adds its own element, by design. Two lines that a proxy has joined by a comma are two.
fn duplicates(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    let lines = |name: &str| headers.get_all(name).iter().count();
    let mut repeated: Vec<(&str, String)> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter_map(|name| {
            let (_, field) = products::lookup(name).filter(|(_, field)| field.header != "x-forwarded-client-cert")?;
            let summary = match lines(name) {
                1 if is_joined(field.meaning, headers.get(name)?.as_bytes()) => {
                    "holds two values, joined by a comma".to_owned()
                }
                1 => return None,
                lines => format!("comes {lines} times"),
            };
            Some((name, format!("{} {summary}", title_case(name))))
        })
        .collect();
    repeated.sort_unstable();
    Finding::joined(repeated.into_iter().filter_map(|(name, summary)| with_headers(rule, summary, headers, &[name])))
}

/// Whether a value that names one user names two: neither a name for people nor a distinguished name (RFC 4514).
fn is_joined(meaning: Meaning, value: &[u8]) -> bool {
    let parts: Vec<&[u8]> = value.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect();
    let is_whole = |part: &&[u8]| !part.is_empty() && !part.iter().any(|b| matches!(b, b' ' | b'=' | b'"'));
    match meaning {
        Meaning::UserId | Meaning::UserName => parts.len() > 1 && parts.iter().all(is_whole),
        Meaning::Email => parts.len() > 1 && parts.iter().all(|part| part.contains(&b'@')),
        _ => false,
    }
}

/// What a product always sends is missing beside a header that names a user, and the token does not speak: where it does,
/// the comparison with it is the judge. Groups without a user are what a forged `Remote-Groups` looks like.
fn lone(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    if facts.proxy == ProxyProof::Proven {
        return None;
    }
    let headers = facts.headers;
    let has = |name: &&str| headers.get_all(*name).iter().any(|value| !value.as_bytes().trim_ascii().is_empty());
    let findings = PRODUCTS.iter().filter_map(|product| {
        let told: Vec<_> =
            product.fields.iter().filter(|field| !field.header.ends_with('*') && has(&field.header)).collect();
        let users: Vec<&str> =
            told.iter().filter(|field| field.meaning.names_a_user()).map(|field| field.header).collect();
        let Some(first) = users.first() else {
            let groups = || told.iter().filter(|field| field.meaning == Meaning::Groups).map(|field| field.header);
            // A claim of groups may be all that an operator has chosen.
            let alone = product.origin != Origin::Bearer && told.iter().all(|field| !field.meaning.is_token());
            let name = groups().next().filter(|_| alone)?;
            let summary = format!("{} names groups, and no header of {} a user", title_case(name), product.name);
            return with_headers(rule, summary, headers, &groups().collect::<Vec<_>>());
        };
        let expected: Vec<&str> = product.always.iter().copied().filter(|name| !users.contains(name)).collect();
        let lacks_id = *first == "x-user-name";
        if product.always.is_empty() || (product.always.iter().any(&has) && !lacks_id) {
            return None;
        }
        // Gateways that ask an issuer about an opaque token hand on what they like.
        let is_opaque =
            facts.claims().is_none() && facts.report().is_some_and(|report| report.token.format == Format::Opaque);
        let by_token = |name: &&str| facts.comparisons().iter().any(|c| c.agrees && c.headers.contains(name));
        let judged = match product.origin {
            Origin::Bearer => {
                facts.claims().is_some() || (is_opaque && !lacks_id) || (lacks_id && has(&"x-auth-token"))
            }
            Origin::Subject | Origin::Login => users.iter().all(by_token),
        };
        if judged {
            return None;
        }
        let missing = if lacks_id {
            "X-User-Id".to_owned()
        } else {
            expected.iter().take(2).map(|name| title_case(name)).collect::<Vec<_>>().join(" or ")
        };
        let summary = format!(
            "{} comes without {missing}, {}",
            title_case(first),
            if product.origin == Origin::Bearer {
                "and no token confirms it: a client can send this"
            } else {
                "which the product always sends: a client can send this"
            }
        );
        let finding = with_headers(rule, summary, headers, &users)?;
        let finding = finding.and_evidence("Product of the header", product.name);
        Some(match lone_fix(product.name) {
            Some(fix) => finding.with_fix(fix),
            None => finding,
        })
    });
    Finding::joined(findings)
}

/// Only of what names one of the keys that are known: others may be the gateway's own, which nobody gave.
fn assertion(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    facts.keys()?;
    let name = PRODUCTS
        .iter()
        .flat_map(Product::assertions)
        .find(|name| facts.header(name).is_some_and(|token| facts.verify(&token).signature.is_refusal()))?;
    with_headers(rule, format!("the signature of {} proves nothing", title_case(name)), facts.headers, &[name])
}

/// How each product is kept from handing on what clients send.
fn lone_fix(product: &str) -> Option<&'static str> {
    match product {
        "mod_auth_openidc" => Some(
            "in Apache, remove what clients send (`RequestHeader unset OIDC_CLAIM_sub early`, and the others that are used), \
             or do not use OIDCUnAuthAction pass here: it hands a client's header on",
        ),
        "mod_oauth2" => Some(
            "in Apache, remove what clients send (`RequestHeader unset OAUTH2_CLAIM_sub early`), and have \
             `Require valid-user` with AuthType oauth2 stand over this location",
        ),
        "Pomerium" | "Cloudflare Access" | "Google IAP" | "AWS ALB" | "Azure EasyAuth" | "Tailscale Serve" => Some(
            "let only that product reach this server (firewall, private network): a request that came through it has the \
                  header that is missing",
        ),
        _ => None,
    }
}
