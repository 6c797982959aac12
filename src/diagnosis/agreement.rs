//! What headers, token and session say of the same user, side by side. Whether a difference is a fault is the business of
//! the findings, which look at the same comparisons.

use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::claims::{USER_NAME, bearers, text_claim};
use super::headers::title_case;
use super::identity::{IdentityHeader, caller, identity_headers};
use super::products::Meaning;
use super::redact;
use crate::session::Identity;

/// One comparison, for people. Only those are made for which both sides are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// A stable name: `user-id-claim`.
    pub id: &'static str,
    /// What was compared.
    pub subject: String,
    /// Whether both say the same.
    pub agrees: bool,
    /// What was found, redacted.
    pub detail: String,
}

/// Everything that can be compared: identity headers with the bearer's `claims`, forwarded tokens with the bearer, the
/// caller with the session's `owner`.
#[must_use]
pub fn comparisons(
    headers: &HeaderMap,
    claims: Option<&Map<String, Value>>,
    owner: Option<&Identity>,
) -> Vec<Comparison> {
    let mut all = Vec::new();
    if let Some(claims) = claims {
        all.extend(identity_headers(headers).iter().filter_map(|header| shown(header, claims)));
    }
    all.extend(with_bearer(headers));
    all.extend(owner.map(|owner| with_owner(headers, owner)));
    all
}

/// An identity header beside the claim that it may repeat.
pub struct ClaimComparison {
    /// The claim: the one that agrees, else the first that is there.
    pub claim: &'static str,
    /// Its value.
    pub value: String,
    /// Whether the header says what one of the claims of its meaning says.
    pub agrees: bool,
}

/// Compares a header with the claims of its meaning; `None` where there is nothing to compare.
#[must_use]
pub fn compare(header: &IdentityHeader, claims: &Map<String, Value>) -> Option<ClaimComparison> {
    let (_, names) = claims_of(header.meaning)?;
    // Some gateways put the name for people into X-User-Name.
    let also: &[&'static str] = if header.meaning == Meaning::UserName { &["email", "name", "sub"] } else { &[] };
    let claim = |name: &&'static str| text_claim(claims, &[*name]);
    let same = names.iter().chain(also).filter_map(claim).find(|(_, value)| {
        // Google IAP writes the issuer before the subject, in the header and in the assertion.
        let value = value.strip_prefix("accounts.google.com:").unwrap_or(value);
        if value.contains('@') { value.eq_ignore_ascii_case(&header.value) } else { value == header.value }
    });
    let agrees = same.is_some();
    let (claim, value) = same.or_else(|| names.iter().find_map(claim))?;
    Some(ClaimComparison { claim, value, agrees })
}

/// The claims that a header of this meaning may repeat, with the name of the comparison.
fn claims_of(meaning: Meaning) -> Option<(&'static str, &'static [&'static str])> {
    match meaning {
        Meaning::UserId => Some(("user-id-claim", &["sub", "oid", "user_id", "uid", "preferred_username", "email"])),
        Meaning::UserName => Some(("user-name-claim", USER_NAME)),
        Meaning::DisplayName => Some(("display-name-claim", &["name"])),
        Meaning::Email => Some(("email-claim", &["email", "upn", "preferred_username"])),
        Meaning::Groups | Meaning::Token | Meaning::Other => None,
    }
}

fn shown(header: &IdentityHeader, claims: &Map<String, Value>) -> Option<Comparison> {
    let (id, _) = claims_of(header.meaning)?;
    let ClaimComparison { claim, value, agrees } = compare(header, claims)?;
    let told = redact::value(&header.value);
    Some(Comparison {
        id,
        subject: format!("{} and token claim {claim}", title_case(&header.name)),
        agrees,
        detail: if agrees { told.into_owned() } else { format!("header {told}, claim {}", redact::value(&value)) },
    })
}

/// Tokens in headers of their own against the `Authorization` header.
fn with_bearer(headers: &HeaderMap) -> Vec<Comparison> {
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
            Comparison {
                id: "forwarded-token",
                subject: format!("{} and Authorization bearer", title_case(name)),
                agrees,
                detail: if agrees { "the same token" } else { "two different tokens" }.to_owned(),
            }
        })
        .collect()
}

/// The caller against the identity that opened the session.
fn with_owner(headers: &HeaderMap, owner: &Identity) -> Comparison {
    let caller = caller(headers);
    let agrees = caller.as_ref().is_some_and(|caller| caller.id == owner.id);
    let shown = |identity: &Identity| format!("{} ({})", redact::value(&identity.id), identity.source.name());
    Comparison {
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
        let checks = comparisons(&headers, bearer_claims(&headers).as_ref(), owner.as_ref());
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
            [("user-id-claim", true), ("user-name-claim", true), ("forwarded-token", true), ("session-owner", true),]
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
        let told = format!("{:?}", comparisons(&headers, bearer_claims(&headers).as_ref(), None));
        assert!(!told.contains(&token[8..30]) && !told.contains("hunter2"), "{told}");
    }
}
