//! Who the user is, as the headers of auth proxies and the bearer token tell it.

use std::borrow::Cow;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::claims::{jwt_claims, text_claim};
use super::encoding::BASE64;
use super::headers::title_case;
use super::jwks::KeySet;
use super::products::{self, Meaning, PRODUCTS, Product, Telling};
use super::redact::decode;
use super::token;
use super::verification::verify;
use crate::session::{Identity, IdentitySource, Unbound, exact};

/// Who sent a request: the user of the most believed identity header, else the `sub` of the bearer token, else a login name
/// or an e-mail address that a gateway hands on. Not verified. What sessions are bound to.
///
/// To the letter: different values of one header are not the same as one that lists them, bytes that are no text are no
/// text that looks like them, and nothing but the white space around a value is left out (RFC 9110 section 5.5).
///
/// # Errors
/// Why nobody can be told.
pub fn caller(headers: &HeaderMap) -> Result<Identity, Unbound> {
    let telling = products::telling(headers);
    if let Some(identity) =
        telling.filter(|telling| !telling.is_last_resort()).and_then(|telling| told(headers, telling))
    {
        return Ok(identity);
    }
    bearer(headers).or_else(|why| telling.and_then(|telling| told(headers, telling)).ok_or(why))
}

/// The same where the issuer's keys are known: a token, or a gateway's assertion, that none of them signed tells nobody.
///
/// # Errors
/// Why nobody can be told.
pub fn verified_caller(headers: &HeaderMap, keys: &KeySet, now: Timestamp) -> Result<Identity, Unbound> {
    let identity = caller(headers)?;
    let name = match &identity.source {
        IdentitySource::BearerSub => AUTHORIZATION.as_str(),
        IdentitySource::Header(name) => {
            let is_assertion = products::lookup(name).is_some_and(|(_, field)| field.meaning == Meaning::Assertion);
            if !is_assertion {
                return Ok(identity);
            }
            name
        }
    };
    let is_signed = |value: &HeaderValue| {
        value.to_str().is_ok_and(|token| verify(&token::inspect(token, now), Some(keys)).is_verified())
    };
    if headers.get_all(name).iter().all(is_signed) { Ok(identity) } else { Err(Unbound::Unverified) }
}

/// The identity that a header tells.
fn told(headers: &HeaderMap, telling: &Telling) -> Option<Identity> {
    let source = IdentitySource::Header(Cow::Borrowed(telling.header));
    if telling.meaning == Meaning::Assertion {
        let claims = jwt_claims(headers.get(telling.header)?.to_str().ok()?.trim())?;
        let (_, id) = text_claim(&claims, &["sub", "email", "common_name"])?;
        let issuer = text_claim(&claims, &["iss"]).map(|(_, issuer)| issuer);
        return Some(Identity { issuer, ..Identity::new(exact([id.as_bytes()]), source) });
    }
    let id = lines(headers, telling.header)?;
    if let Some(issuer) = telling.product.issuer_header() {
        return Some(Identity { issuer: lines(headers, issuer), ..Identity::new(id, source) });
    }
    // The token of the same user names who gave the id.
    let same = bearer(headers).ok().filter(|bearer| bearer.id == id);
    Some(Identity { beside: same.and_then(|bearer| bearer.issuer), ..Identity::new(id, source) })
}

/// The values of a header, each once; `None` where all are empty.
fn lines(headers: &HeaderMap, name: &str) -> Option<String> {
    distinct(headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()))
}

fn distinct<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut different: Vec<&[u8]> = Vec::with_capacity(1);
    for value in values.filter(|value| !value.is_empty()) {
        if !different.contains(&value) {
            different.push(value);
        }
    }
    (!different.is_empty()).then(|| exact(different))
}

/// The identity that the bearer token tells. Of several tokens each that tells one.
fn bearer(headers: &HeaderMap) -> Result<Identity, Unbound> {
    let mut subjects = Vec::new();
    let mut why = Unbound::NoIdentity;
    for value in headers.get_all(AUTHORIZATION) {
        match value.to_str().map_err(|_| Unbound::Opaque).and_then(token::bearer_subject) {
            Ok(subject) => subjects.push(subject),
            Err(reason) => why = reason,
        }
    }
    let id = distinct(subjects.iter().map(|(sub, _)| sub.as_bytes())).ok_or(why)?;
    let issuer = distinct(subjects.iter().filter_map(|(_, iss)| iss.as_deref().map(str::as_bytes)));
    Ok(Identity { issuer, ..Identity::new(id, IdentitySource::BearerSub) })
}

/// Where an identity was read, for people: `X-User-Id header`, `sub claim of the bearer token`.
#[must_use]
pub fn source(identity: &Identity) -> String {
    match &identity.source {
        IdentitySource::Header(name) => format!("{} header", title_case(name)),
        IdentitySource::BearerSub => "sub claim of the bearer token".to_owned(),
    }
}

/// An identity with its source and issuer for people, not yet redacted: `alice (X-User-Id header)`.
#[must_use]
pub fn shown(identity: &Identity) -> String {
    let issuer = identity.issuer.as_ref().or(identity.beside.as_ref());
    let issuer = issuer.map(|issuer| format!(", issuer {issuer}")).unwrap_or_default();
    format!("{} ({}{issuer})", identity.shown(), source(identity))
}

/// The user's id for people, not yet redacted, where `identity` holds one and not only a name.
#[must_use]
pub fn user_id(identity: &Identity) -> Option<String> {
    let IdentitySource::Header(name) = &identity.source else { return Some(identity.shown()) };
    let (product, field) = products::lookup(name)?;
    let is_id = matches!(field.meaning, Meaning::UserId | Meaning::Assertion);
    is_id.then(|| plain(product, &identity.shown()))
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
                Meaning::Issuer | Meaning::Token | Meaning::Assertion | Meaning::Other => continue,
            };
            if slot.is_none() {
                *slot = Some(Told { value, header: name.to_owned() });
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
    pub name: &'static str,
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
            Some(IdentityHeader { product, meaning: field.meaning, name: field.header, value })
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
        caller(&headers(given)).ok().map(|identity| identity.shown())
    }

    fn bearer_of(claims: &serde_json::Value) -> String {
        format!("Bearer {}", jwt(claims))
    }

    #[test]
    fn the_header_names_the_caller_and_else_the_token_does() {
        let bearer = bearer_of(&json!({"sub": "user123", "iss": "https://a"}));
        assert_eq!(id(&[("x-user-id", "12345"), ("authorization", &bearer)]).as_deref(), Some("12345"));
        assert_eq!(id(&[("x-user-id", " "), ("authorization", &bearer)]).as_deref(), Some("user123"));
        assert_eq!(id(&[("x-user-name", "jd"), ("authorization", &bearer)]).as_deref(), Some("user123"));
        let from_token = caller(&headers(&[("authorization", &bearer)])).unwrap();
        let issuer = Some("https://a".to_owned());
        assert_eq!(from_token, Identity { issuer, ..Identity::new("user123", IdentitySource::BearerSub) });
    }

    #[test]
    fn who_cannot_be_told_has_a_reason() {
        let long = format!("Bearer {}", jwt(&json!({"sub": "a", "x": "y".repeat(token::MAX_TOKEN_BYTES)})));
        let basic = ("authorization", "Basic YTpi");
        for (nobody, why) in [
            (&[][..], Unbound::NoIdentity),
            (&[("x-user-id", "")], Unbound::NoIdentity),
            (&[("x_user_id", "1")], Unbound::NoIdentity),
            (&[basic], Unbound::NoIdentity),
            (&[("authorization", "Bearer opaque")], Unbound::Opaque),
            (&[("authorization", &long)], Unbound::TooLong),
            (&[("authorization", &bearer_of(&json!({"sub": ""})))], Unbound::NoSubject),
            (&[("authorization", &bearer_of(&json!({"sub": ["a"]})))], Unbound::NoSubject),
            (&[("authorization", &bearer_of(&json!({"iss": "i"})))], Unbound::NoSubject),
        ] {
            assert_eq!(caller(&headers(nobody)), Err(why), "{nobody:?}");
        }
        assert_eq!(id(&[("authorization", &bearer_of(&json!({"sub": 1001})))]).as_deref(), Some("1001"));
    }

    #[test]
    fn every_product_brings_an_identity() {
        let assertion = jwt(&json!({"sub": "accounts.google.com:9", "iss": "https://cloud.google.com/iap"}));
        for (header, value, told, issuer) in [
            ("oidc_claim_sub", "alice", "alice", None),
            ("oauth2_claim_sub", "alice", "alice", None),
            ("remote-user", "alice", "alice", None),
            ("tailscale-user-login", "a@example.com", "a@example.com", None),
            ("cf-access-authenticated-user-email", "a@example.com", "a@example.com", None),
            ("x-goog-iap-jwt-assertion", &assertion, "accounts.google.com:9", Some("https://cloud.google.com/iap")),
        ] {
            let identity = caller(&headers(&[(header, value), ("authorization", "Bearer opaque")])).unwrap();
            assert_eq!(
                (&*identity.shown(), identity.source.as_str(), identity.issuer.as_deref()),
                (told, header, issuer)
            );
        }
    }

    #[test]
    fn an_id_counts_within_its_issuer_only() {
        let of = |given: &[(&str, &str)]| caller(&headers(given)).unwrap();
        let token = |iss: &str| bearer_of(&json!({"sub": "1001", "iss": iss}));
        let (a, b, none) = (token("https://a"), token("https://b"), bearer_of(&json!({"sub": "1001"})));
        let bearers = [&a, &b, &none].map(|bearer| of(&[("authorization", bearer)]));
        let claims = [None, Some("https://a"), Some("https://b")].map(|iss| {
            let iss = iss.map(|iss| ("oidc_claim_iss", iss));
            of(&[("oidc_claim_sub", "1001")].into_iter().chain(iss).collect::<Vec<_>>())
        });
        for identities in [&bearers, &claims] {
            for (n, one) in identities.iter().enumerate() {
                for (m, other) in identities.iter().enumerate() {
                    assert_eq!(one.is(other), n == m, "{one:?} {other:?}");
                }
            }
        }
        let with = |bearer: &str| of(&[("x-user-id", "1001"), ("authorization", bearer)]);
        assert!(!with(&a).is(&with(&b)), "the gateway's id, of two issuers");
        assert!(with(&a).is(&of(&[("x-user-id", "1001")])), "a token that did not come says nothing");
        assert!(!with(&a).is(&bearers[0]), "another source");
    }

    #[test]
    fn ids_are_compared_to_the_letter() {
        let of = |values: &[&[u8]]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append("x-user-id", http::HeaderValue::from_bytes(value).unwrap());
            }
            caller(&map).unwrap()
        };
        let same = [
            (&[&b"alice"[..], b"alice"][..], &[&b"alice"[..]][..]),
            (&[b"alice", b""], &[b"alice"]),
            (&[b" alice "], &[b"alice"]),
        ];
        assert!(same.iter().all(|(one, other)| of(one).is(&of(other))));
        for (one, other) in [
            (&[&b"alice"[..], b"bob"][..], &[&b"alice, bob"[..]][..]),
            (&[b"alice", b"bob"], &[b"alice"]),
            (&[b"a, b", b"c"], &[b"a", b"b, c"]),
            (&["alice\u{a0}".as_bytes()], &[b"alice"]),
            (&[b"\xff"], &[br"\xff"]),
            (&[b"\xff\xfe"], &[br"\xff\xfe"]),
            (&[b"\xff"], &["\u{fffd}".as_bytes()]),
            (&[b"Alice"], &[b"alice"]),
            (&[b"a\tb"], &[b"a b"]),
        ] {
            assert!(!of(one).is(&of(other)), "{one:?} {other:?}");
        }
        assert_eq!(of(&[b"alice", b"bob\xff"]).shown(), r"alice, bob\xff");
        let subs = |subs: &[&str]| {
            let bearers: Vec<String> = subs.iter().map(|sub| bearer_of(&json!({"sub": sub}))).collect();
            let given: Vec<_> = bearers.iter().map(|bearer| ("authorization", &**bearer)).collect();
            caller(&headers(&given)).unwrap()
        };
        assert_eq!(subs(&["a", "b"]).shown(), "a, b");
        assert!(!subs(&["a", "b"]).is(&subs(&["a\u{1e}b"])));
        assert!(!subs(&["a\u{1a}1e"]).is(&subs(&["a\u{1e}"])));
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
