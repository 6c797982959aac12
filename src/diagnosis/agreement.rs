//! Whether the headers, the token and the session tell of the same user.
//!
//! A header that a client forged is told from one that a proxy wrote only by what it contradicts. The checks are those
//! that published header injections would have failed: Traefik CVE-2026-39858 and Caddy CVE-2026-52845 (underscore
//! aliases), Caddy CVE-2026-30851 (a client's value kept where the auth service sent none).

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};

use super::claims::{bearers, text_claim};
use super::headers::{Category, category, title_case};
use super::identity::{caller, facts};
use super::products::{self, Meaning};
use super::redact::{self, decode};
use crate::session::Identity;

/// One comparison. Only those are made for which both sides are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// A stable name: `user-id-claim`.
    pub id: &'static str,
    /// What was compared, for people.
    pub subject: String,
    /// Whether it is as it should be.
    pub agrees: bool,
    /// What was found, redacted.
    pub detail: String,
}

/// Everything that can be compared: identity headers with the bearer's `claims`, forwarded tokens with the bearer, the
/// caller with the session's `owner`, headers with themselves.
#[must_use]
pub fn checks(headers: &HeaderMap, claims: Option<&Map<String, Value>>, owner: Option<&Identity>) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(claims) = claims {
        checks.extend(with_claims(headers, claims));
    }
    checks.extend(with_bearer(headers));
    if let Some(owner) = owner {
        checks.push(with_owner(headers, owner));
    }
    let products = products::seen(headers);
    if !products.is_empty() || headers.contains_key(AUTHORIZATION) {
        checks.push(once(headers));
    }
    checks.extend(siblings(headers));
    if products.len() > 1 {
        let names: Vec<_> = products.iter().map(|seen| seen.product).collect();
        checks.push(Check {
            id: "one-product",
            subject: "identity headers of one product".to_owned(),
            agrees: false,
            detail: format!("{}: a client may have sent those that its proxy does not overwrite", names.join(", ")),
        });
    }
    checks.extend(aliases(headers));
    checks.extend(subrequest(headers));
    checks
}

/// The claims that a header of this meaning may repeat, with the name of the check.
pub(crate) fn claims_of(meaning: Meaning) -> Option<(&'static str, &'static [&'static str])> {
    match meaning {
        Meaning::UserId => Some(("user-id-claim", &["sub", "oid", "user_id", "uid", "preferred_username", "email"])),
        Meaning::UserName => Some((
            "user-name-claim",
            &[
                "preferred_username",
                "github_username",
                "username",
                "login",
                "nickname",
                "cognito:username",
                "upn",
                "email",
            ],
        )),
        Meaning::DisplayName => Some(("display-name-claim", &["name"])),
        Meaning::Email => Some(("email-claim", &["email", "upn", "preferred_username"])),
        Meaning::Groups | Meaning::Token | Meaning::Other => None,
    }
}

/// Identity headers against claims: a header agrees when it repeats any claim of its meaning.
fn with_claims(headers: &HeaderMap, claims: &Map<String, Value>) -> Vec<Check> {
    let compared = facts(headers).into_iter().filter_map(|fact| {
        let (id, names) = claims_of(fact.meaning)?;
        let (first, first_value) = text_claim(claims, names)?;
        let same = names.iter().find(|name| {
            text_claim(claims, &[**name]).is_some_and(|(_, value)| match fact.meaning {
                Meaning::Email => value.eq_ignore_ascii_case(&fact.value),
                _ => value == fact.value,
            })
        });
        let header = title_case(&fact.header);
        let shown = redact::value(&fact.value).into_owned();
        Some(Check {
            id,
            subject: format!("{header} and token claim {}", same.copied().unwrap_or(first)),
            agrees: same.is_some(),
            detail: match same {
                Some(_) => shown,
                None => format!("header {shown}, claim {}", redact::value(&first_value)),
            },
        })
    });
    compared.collect()
}

/// Tokens in headers of their own against the `Authorization` header.
fn with_bearer(headers: &HeaderMap) -> Vec<Check> {
    const ACCESS_TOKENS: [&str; 4] =
        ["x-auth-token", "x-auth-request-access-token", "x-forwarded-access-token", "x-access-token"];
    let authorization: Vec<&str> = bearers(headers).collect();
    if authorization.is_empty() {
        return Vec::new();
    }
    let present = ACCESS_TOKENS.iter().filter_map(|name| Some((*name, headers.get(*name)?)));
    present
        .map(|(name, value)| {
            let agrees = authorization.iter().any(|token| token.as_bytes() == value.as_bytes());
            Check {
                id: "forwarded-token",
                subject: format!("{} and Authorization bearer", title_case(name)),
                agrees,
                detail: if agrees { "the same token" } else { "two different tokens" }.to_owned(),
            }
        })
        .collect()
}

/// The caller against the identity that opened the session.
fn with_owner(headers: &HeaderMap, owner: &Identity) -> Check {
    let caller = caller(headers);
    let agrees = caller.as_ref().is_some_and(|caller| caller.id == owner.id);
    let shown = |identity: &Identity| format!("{} ({})", redact::value(&identity.id), identity.source.name());
    Check {
        id: "session-owner",
        subject: "caller and session owner".to_owned(),
        agrees,
        detail: match &caller {
            Some(caller) if agrees => shown(caller),
            Some(caller) => format!("caller {}, owner {}", shown(caller), shown(owner)),
            None => format!("this request names nobody, owner {}", shown(owner)),
        },
    }
}

/// Identity headers and `Authorization` come once each. Of two, a proxy may check one and the server read the other.
fn once(headers: &HeaderMap) -> Check {
    let identity = |name: &str| name == AUTHORIZATION.as_str() || products::lookup(name).is_some();
    let repeated = headers.keys().filter(|name| identity(name.as_str())).filter_map(|name| {
        let lines = headers.get_all(name).iter().count();
        (lines > 1).then(|| format!("{} ×{lines}", title_case(name.as_str())))
    });
    let repeated: Vec<String> = repeated.collect();
    Check {
        id: "identity-headers-once",
        subject: "identity headers come once".to_owned(),
        agrees: repeated.is_empty(),
        detail: if repeated.is_empty() { "no duplicates".to_owned() } else { repeated.join(", ") },
    }
}

/// The gateway writes `X-User-Id`, `X-User-Name` and `X-Auth-Token` together: one alone was not written by it.
fn siblings(headers: &HeaderMap) -> Option<Check> {
    if !headers.contains_key("x-user-id") {
        return None;
    }
    let missing: Vec<&str> = [("x-user-name", "X-User-Name"), ("x-auth-token", "X-Auth-Token")]
        .iter()
        .filter(|(name, _)| !headers.contains_key(*name))
        .map(|(_, written)| *written)
        .collect();
    Some(Check {
        id: "identity-headers-complete",
        subject: "X-User-Id with its siblings".to_owned(),
        // A gateway other than mcp-oauth-gateway may send the id with a name or a token only.
        agrees: missing.len() < 2,
        detail: if missing.len() < 2 {
            "X-User-Id comes with what gateways send beside it".to_owned()
        } else {
            format!(
                "without {}: list it in the proxy's authResponseHeaders, or a client has set it",
                missing.join(" and ")
            )
        },
    })
}

/// Headers whose `_` makes them look like another one to a server that does not tell `_` from `-` (CGI, WSGI, PHP). The
/// proxy that removes `X-User-Id` may let `X_User_Id` pass. This server never merges them.
fn aliases(headers: &HeaderMap) -> Option<Check> {
    let found: Vec<String> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| alias_of(name).is_some_and(|dashed| category(&dashed) != Category::Custom))
        .map(title_case)
        .collect();
    (!found.is_empty()).then(|| Check {
        id: "underscore-alias",
        subject: "no underscore aliases".to_owned(),
        agrees: false,
        detail: format!(
            "{}: taken for the header with dashes by some servers; have the proxy delete it",
            found.join(", ")
        ),
    })
}

/// What a server that does not tell `_` from `-` takes the header `name` (lower case) for. `None` without `_`, and for
/// products whose own headers have it.
pub(crate) fn alias_of(name: &str) -> Option<String> {
    (name.contains('_') && products::lookup(name).is_none()).then(|| name.replace('_', "-"))
}

/// `X-Forwarded-Uri` and `-Method` belong to the question that a proxy puts to its auth service (Traefik
/// pkg/middlewares/auth/forward.go), not to what reaches the server behind it.
fn subrequest(headers: &HeaderMap) -> Option<Check> {
    let found = ["x-forwarded-uri", "x-forwarded-method"].into_iter().filter_map(|name| {
        let value = headers.get(name)?;
        Some(format!("{}: {}", title_case(name), redact::value(&decode(value.as_bytes()))))
    });
    let found: Vec<String> = found.collect();
    (!found.is_empty()).then(|| Check {
        id: "auth-subrequest-headers",
        subject: "no headers of an auth subrequest".to_owned(),
        agrees: false,
        detail: format!("{}: leaked by a proxy or sent by the client", found.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnosis::claims::bearer_claims;
    use crate::diagnosis::testing::{headers, jwt};
    use crate::session::IdentitySource;

    fn run(given: &[(&str, &str)], owner: Option<&str>) -> Vec<(&'static str, bool)> {
        let headers = headers(given);
        let owner = owner.map(|id| Identity { id: id.to_owned(), source: IdentitySource::XUserId });
        let checks = checks(&headers, bearer_claims(&headers).as_ref(), owner.as_ref());
        checks.iter().map(|check| (check.id, check.agrees)).collect()
    }

    #[test]
    fn a_request_through_the_gateway_agrees_in_everything() {
        let token = jwt(&json!({"sub": "12345", "github_username": "johndoe"}));
        let bearer = format!("Bearer {token}");
        let given =
            [("authorization", &*bearer), ("x-user-id", "12345"), ("x-user-name", "johndoe"), ("x-auth-token", &token)];
        assert_eq!(
            run(&given, Some("12345")),
            [
                ("user-id-claim", true),
                ("user-name-claim", true),
                ("forwarded-token", true),
                ("session-owner", true),
                ("identity-headers-once", true),
                ("identity-headers-complete", true),
            ]
        );
    }

    #[test]
    fn each_contradiction_is_found() {
        let token = jwt(&json!({"sub": "12345", "email": "J@Example.com"}));
        let bearer = format!("Bearer {token}");
        for (given, owner, id) in [
            (&[("authorization", &*bearer), ("x-user-id", "666")][..], None, "user-id-claim"),
            (&[("authorization", &bearer), ("x-auth-token", "other")], None, "forwarded-token"),
            (&[("x-user-id", "666")], Some("12345"), "session-owner"),
            (&[], Some("12345"), "session-owner"),
            (&[("x-user-id", "1"), ("x-user-id", "2")], None, "identity-headers-once"),
            (&[("authorization", &bearer), ("authorization", &bearer)], None, "identity-headers-once"),
            (&[("x-user-id", "1")], None, "identity-headers-complete"),
            (&[("x-user-id", "1"), ("remote-user", "2")], None, "one-product"),
            (&[("x_user_id", "1")], None, "underscore-alias"),
            (&[("x_forwarded_proto", "https")], None, "underscore-alias"),
            (&[("x-forwarded-uri", "/mcp")], None, "auth-subrequest-headers"),
        ] {
            assert!(run(given, owner).contains(&(id, false)), "{id}: {given:?}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_not_called_a_contradiction() {
        let token = jwt(&json!({"sub": "12345", "email": "J@Example.com"}));
        let bearer = format!("Bearer {token}");
        for given in [
            &[][..],
            &[("x-user-id", "1"), ("x-user-name", "j")],
            &[("authorization", "Bearer opaque"), ("x-user-id", "1"), ("x-auth-token", "opaque")],
            &[("authorization", &bearer), ("x-auth-request-email", "j@example.com")],
            &[("oidc_claim_sub", "12345"), ("oidc_claim_iss", "https://idp.example")],
            &[("my_header", "x")],
        ] {
            assert!(run(given, None).iter().all(|(_, agrees)| *agrees), "{given:?}");
        }
    }

    #[test]
    fn no_token_comes_out_of_a_check() {
        let token = jwt(&json!({"sub": "1"}));
        let bearer = format!("Bearer {token}");
        let headers = headers(&[
            ("authorization", &bearer),
            ("x-user-id", &token),
            ("x-forwarded-uri", "/mcp?access_token=hunter2-hunter2"),
        ]);
        let told = format!("{:?}", checks(&headers, bearer_claims(&headers).as_ref(), None));
        assert!(!told.contains(&token[8..30]) && !told.contains("hunter2"), "{told}");
    }
}
