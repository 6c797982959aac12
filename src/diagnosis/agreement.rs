//! What headers, token and session say of the same user, side by side, and which difference is a fault. The findings are
//! made of these comparisons, so that the two cannot disagree.

use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::claims::{USER_NAME, bearers, jwt_claims, text_claim};
use super::headers::title_case;
use super::identity::{self, IdentityHeader, caller, identity_headers};
use super::products::{Meaning, Origin, PRODUCTS, Product};
use super::redact;
use crate::session::Identity;

/// The rules whose findings are made of comparisons.
pub mod rules {
    /// A header that repeats the token does not.
    pub const HEADER_CLAIM: &str = "id.header_claim_mismatch";
    /// A header that repeats the token has nothing there that it repeats.
    pub const UNCONFIRMED: &str = "id.unconfirmed_header";
    /// A login of its own is another user's than the token.
    pub const OTHER_USER: &str = "id.other_user";
    /// A header is not what its product signed.
    pub const ASSERTION: &str = "id.assertion_mismatch";
    /// Two tokens.
    pub const TWO_TOKENS: &str = "id.auth_token_ne_bearer";
    /// The session is someone else's.
    pub const SESSION_OWNER: &str = "id.session_owner_mismatch";
    /// Two products name two users.
    pub const TWO_PRODUCTS: &str = "hdr.two_products";
}

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
    /// The rule that calls the difference a fault; a difference without one is nobody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<&'static str>,
    /// What is wrong, for that finding.
    #[serde(skip)]
    pub summary: String,
    /// The product whose header it is.
    #[serde(skip)]
    pub product: Option<&'static str>,
    /// The headers that were compared, lower case.
    #[serde(skip)]
    pub headers: Vec<&'static str>,
    /// The other side, where it is no header: its name and value.
    #[serde(skip)]
    pub other: Option<(String, String)>,
}

impl Comparison {
    fn new(id: &'static str, subject: String) -> Self {
        Self {
            id,
            subject,
            agrees: true,
            detail: String::new(),
            finding: None,
            summary: String::new(),
            product: None,
            headers: Vec::new(),
            other: None,
        }
    }

    /// Of a header with a claim.
    fn of_header(id: &'static str, header: &IdentityHeader, with: &str, claim: &str, value: Option<&str>) -> Self {
        let shown = value.map_or_else(|| "absent".to_owned(), |value| redact::header(claim, value).into_owned());
        Self {
            detail: redact::value(&header.value).into_owned(),
            product: Some(header.product.name),
            headers: vec![header.name],
            other: Some((format!("Claim {claim}"), shown)),
            ..Self::new(id, format!("{} and {with} {claim}", title_case(header.name)))
        }
    }

    /// The same where the two differ; a fault where `finding` names its rule.
    fn differs(mut self, finding: Option<&'static str>, summary: impl Into<String>) -> Self {
        if let Some((other, value)) = &self.other {
            self.detail = format!("header {}, {} {value}", self.detail, other.to_lowercase());
        }
        Self { agrees: false, finding, summary: summary.into(), ..self }
    }
}

/// Everything that can be compared: identity headers with the claims of the token, with their product's assertion and with
/// those of other products; forwarded tokens with the bearer; the caller with the session's `owner`.
///
/// `claims` are the bearer's; without any those of the token that the gateway says it checked. Where the proxy is `proven`,
/// a name that the token does not hold is the proxy's own knowledge.
#[must_use]
pub fn comparisons(
    headers: &HeaderMap,
    claims: Option<&Map<String, Value>>,
    owner: Option<&Identity>,
    proven: bool,
) -> Vec<Comparison> {
    let checked = || jwt_claims(headers.get("x-auth-token")?.to_str().ok()?);
    let checked = if claims.is_none() { checked() } else { None };
    let claims = claims.or(checked.as_ref());
    let told = identity_headers(headers);
    let mut all = Vec::new();
    for product in PRODUCTS {
        let of: Vec<&IdentityHeader> = told.iter().filter(|header| header.product.name == product.name).collect();
        if of.is_empty() {
            continue;
        }
        all.extend(with_assertion(headers, product, &of));
        match claims {
            Some(claims) if product.origin == Origin::Bearer => {
                all.extend(of.iter().filter_map(|header| copied(header, claims, proven || is_introspected(headers))));
            }
            Some(claims) => all.extend(logged_in(product, &of, claims)),
            None => {}
        }
    }
    all.extend(with_bearer(headers));
    let between = between_products(headers, &told, &all);
    all.extend(between);
    all.extend(owner.map(|owner| with_owner(headers, owner)));
    all
}

/// An identity header beside the claim that it may repeat.
struct ClaimComparison {
    /// The claim: the one that agrees, else the first of the same kind, else the first that is there.
    claim: &'static str,
    /// Its value.
    value: String,
    /// Whether the header says what one of the claims of its meaning says.
    agrees: bool,
}

/// Compares a header with the claims of its meaning; `None` where there is nothing to compare.
fn compare(header: &IdentityHeader, claims: &Map<String, Value>) -> Option<ClaimComparison> {
    let (_, names) = claims_of(header.meaning)?;
    // Some gateways put the name for people into X-User-Name.
    let also: &[&'static str] = if header.meaning == Meaning::UserName { &["email", "name", "sub"] } else { &[] };
    let claim = |name: &&'static str| text_claim(claims, &[*name]);
    // Google IAP writes the issuer before the subject, in the header and in the assertion.
    let bare = |value: &str| value.strip_prefix("accounts.google.com:").unwrap_or(value).to_owned();
    let same = names.iter().chain(also).filter_map(claim).find(|(_, value)| is_same(&bare(value), &header.value));
    let agrees = same.is_some();
    let alike = || names.iter().filter_map(claim).find(|(_, value)| are_alike(value, &header.value));
    let (claim, value) = same.or_else(alike).or_else(|| names.iter().find_map(claim))?;
    Some(ClaimComparison { claim, value, agrees })
}

/// E-mail addresses are the same in any case.
fn is_same(one: &str, other: &str) -> bool {
    if one.contains('@') { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// Whether two ids are of one kind, so that they can be told to be two users': two e-mail addresses or two words. Numbers and
/// random ids of two systems differ by nature.
fn are_alike(one: &str, other: &str) -> bool {
    (one.contains('@') && other.contains('@')) || (is_word(one) && is_word(other))
}

/// Whether an id was chosen by a person: a login name.
fn is_word(id: &str) -> bool {
    const LONGEST: usize = 32;
    const MOST_DIGITS: usize = 3;
    let known = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    id.len() <= LONGEST
        && id.starts_with(char::is_alphabetic)
        && id.chars().all(known)
        && id.chars().filter(char::is_ascii_digit).count() <= MOST_DIGITS
}

/// The claims that a header of this meaning may repeat, with the name of the comparison.
fn claims_of(meaning: Meaning) -> Option<(&'static str, &'static [&'static str])> {
    match meaning {
        Meaning::UserId => Some(("user-id-claim", &["sub", "oid", "user_id", "uid", "preferred_username", "email"])),
        Meaning::UserName => Some(("user-name-claim", USER_NAME)),
        Meaning::DisplayName => Some(("display-name-claim", &["name"])),
        Meaning::Email => Some(("email-claim", &["email", "upn", "preferred_username"])),
        Meaning::Issuer => Some(("issuer-claim", &["iss"])),
        Meaning::Groups | Meaning::Token | Meaning::Assertion | Meaning::Other => None,
    }
}

/// A header that its product copies from the token. `knows_more`: what the token does not hold may come from elsewhere.
fn copied(header: &IdentityHeader, claims: &Map<String, Value>, knows_more: bool) -> Option<Comparison> {
    let written = title_case(header.name);
    let (id, compared) = match claims_of(header.meaning) {
        Some((id, _)) => (id, compare(header, claims)),
        None if header.meaning == Meaning::Groups => ("groups-claim", None),
        None => return None,
    };
    if let Some(ClaimComparison { claim, value, agrees: true }) = &compared {
        return Some(Comparison::of_header(id, header, "token claim", claim, Some(value)));
    }
    // A claim of the operator's choice. An id is one of those that are ids.
    if header.meaning != Meaning::UserId && is_in(header, claims) {
        return Some(Comparison::of_header(id, header, "a claim of", "the token", Some(&header.value)));
    }
    match compared {
        Some(ClaimComparison { claim, value, .. }) => {
            let summary = format!("{written} is not what the token says in {claim}");
            let comparison = Comparison::of_header(id, header, "token claim", claim, Some(&value));
            Some(comparison.differs(Some(rules::HEADER_CLAIM), summary))
        }
        None if knows_more => None,
        None => {
            let summary = format!("{written} says {}, and no claim of the token does", redact::value(&header.value));
            let comparison = Comparison::of_header(id, header, "claims of", "the token", None);
            Some(comparison.differs(Some(rules::UNCONFIRMED), summary))
        }
    }
}

/// Whether every value of a header stands somewhere among the claims. What a gateway encodes (Envoy writes lists as base64
/// of JSON) is let pass.
fn is_in(header: &IdentityHeader, claims: &Map<String, Value>) -> bool {
    let is_encoded = |text: &str| text.starts_with(['[', '{']) || text.starts_with("WyJ") || text.starts_with("eyJ");
    let mut values = match header.meaning {
        Meaning::Groups => header.value.split(header.product.group_separator).collect(),
        _ => vec![header.value.as_str()],
    };
    values.retain(|value| !value.trim().is_empty());
    is_encoded(&header.value) || values.iter().all(|value| claims.values().any(|claim| says(claim, value.trim())))
}

/// Whether a claim, or something inside it, is `value`. As deep as JSON is read.
fn says(claim: &Value, value: &str) -> bool {
    match claim {
        Value::String(text) => is_same(text.trim(), value) || text.split_ascii_whitespace().any(|word| word == value),
        Value::Number(number) => number.to_string() == value,
        Value::Bool(yes) => yes.to_string() == value,
        Value::Array(items) => items.iter().any(|item| says(item, value)),
        Value::Object(members) => members.values().any(|member| says(member, value)),
        Value::Null => false,
    }
}

/// Whether Apache has asked the issuer about the token: what it says is more than what the token holds (RFC 7662 section
/// 2.2).
fn is_introspected(headers: &HeaderMap) -> bool {
    headers.contains_key("oauth2_claim_active")
}

/// The headers of a product with a login of its own. Two logins may well have different ids for one user: only where nothing
/// that the product says agrees is it another user.
fn logged_in(product: &Product, of: &[&IdentityHeader], claims: &Map<String, Value>) -> Vec<Comparison> {
    let told = of.iter().find(|header| header.meaning == Meaning::Issuer).map(|header| header.value.as_str());
    let issuer = claims.get("iss").and_then(Value::as_str);
    let foreign = matches!((told, issuer), (Some(told), Some(issuer)) if told != issuer);
    let compared: Vec<_> = of
        .iter()
        .filter(|header| header.meaning.names_a_user())
        .filter_map(|header| Some((*header, compare(header, claims)?)))
        .collect();
    // An id is unique within its issuer only.
    let is_foreign = |header: &IdentityHeader, compared: &ClaimComparison| {
        foreign && header.meaning == Meaning::UserId && compared.claim == "sub"
    };
    let agrees = |header: &IdentityHeader, compared: &ClaimComparison| compared.agrees && !is_foreign(header, compared);
    let is_known = compared.iter().any(|(header, compared)| agrees(header, compared));
    let comparison = |(header, compared): &(&IdentityHeader, ClaimComparison)| {
        let id = claims_of(header.meaning).map_or("user-claim", |(id, _)| id);
        let ClaimComparison { claim, value, .. } = compared;
        let comparison = Comparison::of_header(id, header, "token claim", claim, Some(value));
        if agrees(header, compared) {
            return comparison;
        }
        let written = title_case(header.name);
        let (is_fault, summary) = if compared.agrees {
            (true, format!("{written} is the {claim} of another issuer's user than the bearer token's"))
        } else {
            let is_fault = match header.meaning {
                Meaning::UserName => header.value.contains('@') == value.contains('@'),
                Meaning::UserId if product.origin == Origin::Subject && *claim == "sub" => !foreign,
                Meaning::UserId | Meaning::Email => are_alike(value, &header.value),
                _ => false,
            };
            (is_fault, format!("{written} names another user than the bearer token's {claim}"))
        };
        comparison.differs((is_fault && !is_known).then_some(rules::OTHER_USER), summary)
    };
    compared.iter().map(comparison).collect()
}

/// Plain headers with what their product signed.
fn with_assertion(headers: &HeaderMap, product: &Product, of: &[&IdentityHeader]) -> Vec<Comparison> {
    let claims = |name: &str| jwt_claims(headers.get(name)?.to_str().ok()?);
    let Some((name, claims)) = product.assertions().find_map(|name| Some((name, claims(name)?))) else {
        return Vec::new();
    };
    let comparison = |header: &&IdentityHeader| {
        let ClaimComparison { claim, value, agrees } =
            compare(header, &claims).filter(|_| header.meaning.names_a_user())?;
        let signed = title_case(name);
        let comparison = Comparison::of_header("assertion", header, &format!("{signed} claim"), claim, Some(&value));
        // A display name differs with every directory's taste.
        let finding = (header.meaning != Meaning::DisplayName).then_some(rules::ASSERTION);
        let summary = format!("{} is not what {signed} says in {claim}", title_case(header.name));
        Some(if agrees { comparison } else { comparison.differs(finding, summary) })
    };
    of.iter().filter_map(comparison).collect()
}

/// Tokens in headers of their own against the `Authorization` header. That oauth2-proxy hands on an ID token and an access
/// token is as it should be.
fn with_bearer(headers: &HeaderMap) -> Vec<Comparison> {
    const ACCESS_TOKENS: [&str; 4] =
        ["x-auth-token", "x-auth-request-access-token", "x-forwarded-access-token", "x-access-token"];
    let authorization: Vec<&[u8]> = bearers(headers).map(str::as_bytes).collect();
    if authorization.is_empty() {
        return Vec::new();
    }
    let comparison = |name: &'static str| {
        let tokens: Vec<&[u8]> = headers.get_all(name).iter().map(|value| bare(value.as_bytes())).collect();
        if tokens.iter().all(|token| token.is_empty()) {
            return None;
        }
        let written = title_case(name);
        let comparison = Comparison {
            detail: "the same token".to_owned(),
            headers: vec![name, "authorization"],
            ..Comparison::new("forwarded-token", format!("{written} and Authorization bearer"))
        };
        if tokens.iter().all(|token| authorization.contains(token)) {
            return Some(comparison);
        }
        let finding = (name == "x-auth-token").then_some(rules::TWO_TOKENS);
        let summary = format!("{written} is another token than Authorization holds");
        let comparison = Comparison { detail: "two different tokens".to_owned(), ..comparison };
        Some(comparison.differs(finding, summary))
    };
    ACCESS_TOKENS.into_iter().filter_map(comparison).collect()
}

/// A token without a scheme in front.
fn bare(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked("Bearer ".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"Bearer ") => rest.trim_ascii(),
        _ => value,
    }
}

/// What a vendor's headers, plain and signed, say of the user.
struct Vendor {
    name: &'static str,
    /// The first header that tells.
    header: &'static str,
    /// Ids, login names and e-mail addresses, with whose they are.
    told: Vec<(&'static str, String)>,
    /// The token says so, too.
    is_confirmed: bool,
}

/// Products under one name: both ways of oauth2-proxy, and the headers that operators choose themselves.
fn vendor(product: &'static str) -> &'static str {
    match product.split(" (").next().unwrap_or(product) {
        "mcp-oauth-gateway" | "nginx auth_request convention" => "X-User-* convention",
        name if name.ends_with(" convention") => "X-User-* convention",
        name => name,
    }
}

/// Each vendor with the most believed one, and the operator's own headers among themselves. Certificates of a mesh, portals'
/// URLs and service tokens come beside any product.
fn between_products(headers: &HeaderMap, told: &[IdentityHeader], with_token: &[Comparison]) -> Vec<Comparison> {
    let mut vendors: Vec<Vendor> = Vec::new();
    let mut note = |product: &'static Product, header: &'static str, values: Vec<String>| {
        let name = vendor(product.name);
        let agrees = |c: &Comparison| c.agrees && c.product == Some(product.name) && c.id.ends_with("-claim");
        let confirmed = with_token.iter().any(agrees);
        let known = vendors.iter().position(|vendor| vendor.name == name);
        let at = known.unwrap_or_else(|| {
            vendors.push(Vendor { name, header, told: Vec::new(), is_confirmed: false });
            vendors.len() - 1
        });
        vendors[at].is_confirmed |= confirmed;
        vendors[at].told.extend(values.into_iter().map(|value| (product.name, value)));
    };
    for product in PRODUCTS {
        for header in told.iter().filter(|header| header.product.name == product.name) {
            if header.meaning.names_a_user() || header.meaning == Meaning::Groups {
                let is_id = matches!(header.meaning, Meaning::UserId | Meaning::UserName | Meaning::Email);
                note(product, header.name, is_id.then(|| header.value.clone()).into_iter().collect());
            }
        }
        for name in product.assertions() {
            let claims = headers.get(name).and_then(|value| value.to_str().ok()).and_then(jwt_claims);
            let values = claims.map(|claims| {
                let claims = ["sub", "email", "preferred_username"].map(|name| text_claim(&claims, &[name]));
                claims.into_iter().flatten().map(|(_, value)| value).collect()
            });
            if let Some(values) = values {
                note(product, name, values);
            }
        }
    }
    let mut all: Vec<Comparison> = vendors.iter().filter_map(within).collect();
    let Some((first, others)) = vendors.split_first() else { return all };
    all.extend(others.iter().map(|other| {
        let comparison = Comparison {
            detail: "the same user".to_owned(),
            headers: vec![first.header, other.header],
            ..Comparison::new("products", format!("{} and {}", first.name, other.name))
        };
        let shared = first.told.iter().any(|(_, one)| other.told.iter().any(|(_, other)| is_same(one, other)));
        if shared || (first.is_confirmed && other.is_confirmed) {
            return comparison;
        }
        let summary = format!(
            "identity headers of {} and {} do not name the same user: only one of them should be in front",
            first.name, other.name
        );
        let detail = "nothing that they say of the user is the same".to_owned();
        Comparison { detail, ..comparison }.differs(Some(rules::TWO_PRODUCTS), summary)
    }));
    all
}

/// Headers of the operator's choice that name two users.
fn within(vendor: &Vendor) -> Option<Comparison> {
    let pairs =
        vendor.told.iter().enumerate().flat_map(|(n, one)| vendor.told[..n].iter().map(move |other| (other, one)));
    let mut two = pairs.filter(|((product, one), (other_product, other))| {
        product != other_product && are_alike(one, other) && !is_same(one, other)
    });
    let ((_, one), (_, other)) = two.next().filter(|_| vendor.name.ends_with(" convention"))?;
    let summary = "identity headers of one request name two users: only one set of them should be in front";
    let comparison = Comparison {
        detail: format!("{} and {}", redact::value(one), redact::value(other)),
        headers: vec![vendor.header],
        ..Comparison::new("products", "identity headers among themselves".to_owned())
    };
    Some(comparison.differs(Some(rules::TWO_PRODUCTS), summary))
}

/// The caller against the identity that opened the session.
fn with_owner(headers: &HeaderMap, owner: &Identity) -> Comparison {
    let caller = caller(headers);
    let shown = |identity: &Identity| redact::value(&identity::shown(identity)).into_owned();
    let comparison =
        Comparison { detail: shown(owner), ..Comparison::new("session-owner", "caller and session owner".to_owned()) };
    let (detail, seen, summary) = match &caller {
        Ok(caller) if owner.is(caller) => return comparison,
        Ok(caller) => (
            format!("caller {}, owner {}", shown(caller), shown(owner)),
            shown(caller),
            format!("the {} is not the session owner's", identity::source(caller)),
        ),
        Err(why) => (
            format!("this request names nobody, owner {}", shown(owner)),
            why.reason().to_owned(),
            "the session has an owner, and this request names nobody".to_owned(),
        ),
    };
    let other = Some(("This request".to_owned(), seen));
    Comparison { detail, agrees: false, finding: Some(rules::SESSION_OWNER), summary, other, ..comparison }
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
        let owner = owner.map(|id| Identity::new(id, IdentitySource::X_USER_ID));
        let checks = comparisons(&headers, bearer_claims(&headers).as_ref(), owner.as_ref(), false);
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
            &[("authorization", &bearer), ("oidc_claim_sub", "12345"), ("oidc_claim_iss", "https://idp.example")],
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
        let told = format!("{:?}", comparisons(&headers, bearer_claims(&headers).as_ref(), None, false));
        assert!(!told.contains(&token[8..30]) && !told.contains("hunter2"), "{told}");
    }
}
