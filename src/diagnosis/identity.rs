//! Who the user is, as the headers of auth proxies and the bearer token tell it.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::encoding::BASE64;
use super::products::{Meaning, PRODUCTS, Product};
use super::redact::decode;
use super::token;
use crate::session::{Identity, IdentitySource};

/// The header that decides whose a session is, before the bearer token does.
pub const X_USER_ID: &str = "x-user-id";

/// The same, ready to be looked up: every request is asked for it.
const USER_ID: HeaderName = HeaderName::from_static(X_USER_ID);

/// Who sent a request: `X-User-Id`, else the `sub` of the bearer token (not verified). What sessions are bound to.
///
/// Several different values are joined with `, `, as a list header is (RFC 9110 section 5.3), so that they never equal
/// one of them; empty values count as absent.
#[must_use]
pub fn caller(headers: &HeaderMap) -> Option<Identity> {
    let ids = headers.get_all(USER_ID).iter().map(|value| decode(value.as_bytes()).trim().to_owned());
    if let Some(id) = joined(ids) {
        return Some(Identity { id, source: IdentitySource::XUserId });
    }
    let authorizations = headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
    let subjects = authorizations.filter_map(token::bearer_subject);
    joined(subjects).map(|id| Identity { id, source: IdentitySource::BearerSub })
}

fn joined(values: impl Iterator<Item = String>) -> Option<String> {
    let mut different: Vec<String> = Vec::new();
    for value in values.filter(|value| !value.is_empty()) {
        if !different.contains(&value) {
            different.push(value);
        }
    }
    (!different.is_empty()).then(|| different.join(", "))
}

/// The user as headers tell it: for each fact the first header of the table that has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: Option<Told>,
    /// The login name.
    pub name: Option<Told>,
    /// The name for people.
    pub display_name: Option<Told>,
    /// The e-mail address.
    pub email: Option<Told>,
    /// Groups, each once, in the order of the headers.
    pub groups: Vec<String>,
}

/// A fact and the header that tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The value, decoded as its product encodes it.
    pub value: String,
    /// The header's name, lower case.
    pub header: String,
}

impl User {
    /// The user as `headers` tell it.
    #[must_use]
    pub fn told_by(headers: &HeaderMap) -> Self {
        let mut user = Self::default();
        for IdentityHeader { product, meaning, name, value } in identity_headers(headers) {
            let slot = match meaning {
                Meaning::UserId => &mut user.id,
                Meaning::UserName => &mut user.name,
                Meaning::DisplayName => &mut user.display_name,
                Meaning::Email => &mut user.email,
                Meaning::Groups => {
                    for group in value.split(product.group_separator).map(str::trim).filter(|group| !group.is_empty()) {
                        if !user.groups.iter().any(|known| known == group) {
                            user.groups.push(group.to_owned());
                        }
                    }
                    continue;
                }
                Meaning::Token | Meaning::Other => continue,
            };
            if slot.is_none() {
                *slot = Some(Told { value, header: name });
            }
        }
        user
    }
}

/// What one header, all its lines together, tells of the user.
#[derive(Debug, Clone)]
pub struct IdentityHeader {
    /// Whose header it is.
    pub product: &'static Product,
    /// What it says.
    pub meaning: Meaning,
    /// Its name, lower case.
    pub name: String,
    /// Its value, decoded; different values of repeated lines joined with `, `.
    pub value: String,
}

/// Everything that headers of the table tell, in the table's order; empty values left out.
#[must_use]
pub fn identity_headers(headers: &HeaderMap) -> Vec<IdentityHeader> {
    let fields = PRODUCTS.iter().flat_map(|product| product.fields.iter().map(move |field| (product, field)));
    let named = fields.filter(|(_, field)| !field.header.ends_with('*'));
    named
        .filter_map(|(product, field)| {
            let values = headers.get_all(field.header).iter().map(|value| plain(product, &decode(value.as_bytes())));
            let value = joined(values)?;
            Some(IdentityHeader { product, meaning: field.meaning, name: field.header.to_owned(), value })
        })
        .collect()
}

/// A value without what its product wraps it in: Google IAP's issuer in front, Tailscale's encoded words.
fn plain(product: &Product, value: &str) -> String {
    let value = value.trim();
    match product.name {
        "Google IAP" => value.strip_prefix("accounts.google.com:").unwrap_or(value).to_owned(),
        "Tailscale Serve" => encoded_words(value),
        _ => value.to_owned(),
    }
}

/// Text with RFC 2047 encoded words decoded (`=?utf-8?q?J=C3=BCrgen?=`). White space between two of them is not part of
/// the text (section 6.2); what is malformed is left as it is.
#[must_use]
pub fn encoded_words(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        if let Some((decoded, length)) = encoded_word(word) {
            if !(after_word && before.trim().is_empty()) {
                out.push_str(before);
            }
            out.push_str(&decoded);
            rest = &word[length..];
            after_word = true;
        } else {
            out.push_str(&rest[..start + 2]);
            rest = &word[2..];
            after_word = false;
        }
    }
    out.push_str(rest);
    out
}

/// The encoded word that `text` begins with, decoded, and its length.
fn encoded_word(text: &str) -> Option<(String, usize)> {
    use base64::Engine as _;

    let mut parts = text.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let end = rest.find("?=")?;
    let bytes = match encoding {
        "q" | "Q" => quoted(&rest[..end])?,
        "b" | "B" => BASE64.decode(&rest[..end]).ok()?,
        _ => return None,
    };
    let length = "=?".len() + charset.len() + 1 + encoding.len() + 1 + end + "?=".len();
    let charset = charset.split('*').next().unwrap_or_default(); // RFC 2231 section 5: a language may follow
    let decoded = match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "us-ascii" => String::from_utf8(bytes).ok()?,
        "iso-8859-1" => bytes.into_iter().map(char::from).collect(),
        _ => return None,
    };
    Some((decoded, length))
}

/// The Q encoding (RFC 2047 section 4.2).
fn quoted(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'_' => b' ',
            b'=' => {
                let code = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&code).ok()?, 16).ok()?
            }
            b => b,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnosis::testing::{headers, jwt};

    fn id(given: &[(&str, &str)]) -> Option<String> {
        caller(&headers(given)).map(|identity| identity.id)
    }

    #[test]
    fn the_header_names_the_caller_and_else_the_token_does() {
        let bearer = format!("Bearer {}", jwt(&json!({"sub": "user123"})));
        assert_eq!(id(&[("x-user-id", "12345"), ("authorization", &bearer)]).as_deref(), Some("12345"));
        assert_eq!(id(&[("x-user-id", " "), ("authorization", &bearer)]).as_deref(), Some("user123"));
        let from_token = caller(&headers(&[("authorization", &bearer)])).unwrap();
        assert_eq!(from_token, Identity { id: "user123".into(), source: IdentitySource::BearerSub });
        for nobody in [&[][..], &[("authorization", "Bearer opaque")], &[("x-user-id", "")], &[("x_user_id", "1")]] {
            assert_eq!(id(nobody), None, "{nobody:?}");
        }
        assert_eq!(id(&[("authorization", &format!("Bearer {}", jwt(&json!({"sub": ""}))))]), None);
    }

    #[test]
    fn conflicting_ids_never_equal_one_of_them() {
        assert_eq!(id(&[("x-user-id", "alice"), ("x-user-id", "bob")]).as_deref(), Some("alice, bob"));
        assert_eq!(id(&[("x-user-id", "alice"), ("x-user-id", "alice")]).as_deref(), Some("alice"));
        assert_eq!(id(&[("x-user-id", "alice"), ("x-user-id", "")]).as_deref(), Some("alice"));
        let bearer = |sub: &str| format!("Bearer {}", jwt(&json!({"sub": sub})));
        assert_eq!(id(&[("authorization", &bearer("a")), ("authorization", &bearer("b"))]).as_deref(), Some("a, b"));
    }

    #[test]
    fn each_products_own_spelling_is_read() {
        let user = User::told_by(&headers(&[
            ("tailscale-user-login", "juergen@example.com"),
            ("tailscale-user-name", "=?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_M=C3=BCller?="),
            ("x-goog-authenticated-user-email", "accounts.google.com:j@example.com"),
            ("x-authentik-groups", "admins|ops, night shift"),
            ("remote-groups", "ops,dev"),
        ]));
        assert_eq!(user.id.unwrap().value, "juergen@example.com");
        assert_eq!(user.display_name.unwrap().value, "Jürgen Müller");
        assert_eq!(
            user.email.unwrap(),
            Told { value: "j@example.com".into(), header: "x-goog-authenticated-user-email".into() }
        );
        assert_eq!(user.groups, ["ops", "dev", "admins", "ops, night shift"]);
        assert_eq!(user.name, None);
    }

    #[test]
    fn the_gateways_own_headers_come_first() {
        let user =
            User::told_by(&headers(&[("x-forwarded-user", "other"), ("x-user-id", "12345"), ("x-user-name", "jd")]));
        assert_eq!(user.id.unwrap().value, "12345");
        assert_eq!(user.name.unwrap().value, "jd");
    }

    #[test]
    fn malformed_encoded_words_are_left_alone() {
        for text in
            ["=?", "=?utf-8?q?x", "=?utf-8?x?a?=", "=?utf-8?q?=G1?=", "=?koi8-r?q?a?=", "a=?b", "=?utf-8?q?=FF?="]
        {
            assert_eq!(encoded_words(text), text);
        }
        assert_eq!(encoded_words("Dr. =?UTF-8?B?SsO8cmdlbg==?= x"), "Dr. Jürgen x");
        assert_eq!(encoded_words("=?iso-8859-1*de?Q?=FC?="), "ü");
    }
}
