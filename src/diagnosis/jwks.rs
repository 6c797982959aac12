//! A set of public keys (RFC 7517 section 5), as issuers publish it at `jwks_uri`: from its text to keys that signatures can
//! be checked with.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::quote::{quote, quote_all};
use super::redact;
use super::token::Key;

/// The longest text of a set, in bytes: the largest known, Entra's, has 25 KB, and keys with their certificate chains are 5.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;

/// The most keys that are looked at: issuers publish two to twenty.
const MAX_KEYS: usize = 100;

/// Where a set came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `the argument jwks`, or the file's name.
    pub name: String,
    /// When the file was read.
    pub read: Option<Timestamp>,
    /// Why the file is not what is used: it changed, and can no longer be read.
    pub outdated: Option<String>,
}

/// Public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// Where they came from.
    pub origin: Origin,
    /// Those that can be used.
    pub(super) keys: Vec<PublicKey>,
    /// Those that cannot, each with its name and the reason.
    unusable: Vec<String>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub kid: Option<String>,
    /// The algorithms that it may be used with: the one that it names, else those of its kind.
    pub algorithms: Vec<&'static str>,
    pub key: Key,
}

impl KeySet {
    /// Reads a JWKS, a list of JWKs, or one JWK.
    ///
    /// # Errors
    /// Why no signature can be checked with it, to follow the set's name.
    pub fn parse(text: &str, name: &str, read: Option<Timestamp>) -> Result<Self, String> {
        if text.len() > MAX_JWKS_BYTES {
            return Err(format!("has {} bytes; more than {MAX_JWKS_BYTES} are not read", text.len()));
        }
        let text = text.trim();
        let value: Value = serde_json::from_str(text).map_err(|error| no_json(text, &error))?;
        Self::of(&value, name, read)
    }

    /// The same of JSON that has been read.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of(value: &Value, name: &str, read: Option<Timestamp>) -> Result<Self, String> {
        let one;
        let list: &[Value] = match value {
            Value::Array(list) => list,
            Value::Object(members) => match members.get("keys") {
                Some(Value::Array(list)) => list,
                Some(_) => return Err("has keys that are no list (RFC 7517 section 5.1)".to_owned()),
                None if members.contains_key("kty") => {
                    one = [value.clone()];
                    &one
                }
                None => return Err(no_keys(members)),
            },
            Value::String(text) if text.trim_start().starts_with(['{', '[']) => return Self::parse(text, name, read),
            _ => return Err("is no JWKS: an object with a list named keys is needed (RFC 7517 section 5)".to_owned()),
        };
        if list.is_empty() {
            return Err("has no key in it".to_owned());
        }
        let (mut keys, mut unusable) = (Vec::new(), Vec::new());
        for (n, jwk) in list.iter().take(MAX_KEYS).enumerate() {
            let kid = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
            match usable(jwk) {
                Ok((key, algorithms)) => keys.push(PublicKey { kid, algorithms, key }),
                Err(why) => {
                    let name = kid.map_or_else(|| format!("key {}", n + 1), |kid| format!("key {}", quote(&kid)));
                    unusable.push(format!("{name}: {why}"));
                }
            }
        }
        if keys.is_empty() {
            return Err(format!("has no key that can check a signature: {}", shown(&unusable)));
        }
        let origin = Origin { name: redact::escape(name).into_owned(), read, outdated: None };
        Ok(Self { origin, keys, unusable })
    }

    /// The names of its keys, for people.
    pub(super) fn names(&self) -> String {
        let named: Vec<&str> = self.keys.iter().filter_map(|key| key.kid.as_deref()).collect();
        let nameless = self.keys.len() - named.len();
        match (named.is_empty(), nameless) {
            (false, 0) => quote_all(named),
            (false, n) => format!("{} and {n} without kid", quote_all(named)),
            (true, n) => format!("{n} without kid"),
        }
    }

    /// Why keys of the set are not used, a sentence each.
    #[must_use]
    pub fn unusable(&self) -> &[String] {
        &self.unusable
    }
}

/// The first reasons of several.
fn shown(reasons: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = reasons.len().saturating_sub(SHOWN);
    let first = reasons.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more == 0 { first } else { format!("{first}; and {more} more") }
}

/// A key that signatures may be checked with, and the algorithms that it is for.
fn usable(jwk: &Value) -> Result<(Key, Vec<&'static str>), String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if !jwk.is_object() {
        return Err("is no JSON object".to_owned());
    }
    // Keycloak and others publish the key for encryption beside the one for signatures.
    if text("use").is_some_and(|used| used != "sig") {
        return Err(format!("is for {} and not for signatures (use)", quote(text("use").unwrap_or_default())));
    }
    if let Some(operations) = jwk.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|operation| operation == "verify")
    {
        return Err("is not for verifying (key_ops)".to_owned());
    }
    if text("kty") == Some("oct") {
        return Err("is a shared secret (kty oct): who can verify with it can also forge".to_owned());
    }
    if jwk.get("d").is_some() {
        return Err("is a private key (it has d): only its public members belong here".to_owned());
    }
    let key = Key::read(jwk)?;
    let algorithms: Vec<&'static str> = match text("alg") {
        Some(alg) => key.algorithms().iter().copied().filter(|known| same(known, alg)).collect(),
        None => key.algorithms().to_vec(),
    };
    if algorithms.is_empty() {
        let alg = text("alg").map_or_else(String::new, |alg| format!(" with alg {}", quote(alg)));
        return Err(format!("is a {} key{alg}, which cannot be checked here", key.name()));
    }
    Ok((key, algorithms))
}

/// Whether two names are of one algorithm: RFC 9864 gave `EdDSA` the curve's name.
pub(super) fn same(one: &str, other: &str) -> bool {
    let ed = |name: &str| matches!(name, "EdDSA" | "Ed25519");
    one == other || (ed(one) && ed(other))
}

fn no_json(text: &str, error: &serde_json::Error) -> String {
    let what = if text.starts_with("-----BEGIN") {
        "it is PEM: write the key as a JWK"
    } else if text.starts_with('<') {
        "it is a page of HTML: jwks_uri was not what answered"
    } else if text.is_empty() {
        "it is empty"
    } else if text.starts_with("ey") {
        "it is encrypted or signed: write the set itself"
    } else {
        return format!("is not JSON (line {}, column {})", error.line(), error.column());
    };
    format!("is not JSON: {what}")
}

fn no_keys(members: &Map<String, Value>) -> String {
    if let Some(uri) = members.get("jwks_uri").and_then(Value::as_str) {
        return format!("is the issuer's metadata, not its keys: fetch {}", quote(uri));
    }
    let pem = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("-----BEGIN"));
    if members.values().any(pem) {
        return "has certificates in PEM: fetch the same keys as a JWKS (Google: oauth2/v3/certs)".to_owned();
    }
    "is no JWKS: it has no list named keys (RFC 7517 section 5)".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ec(change: &[(&str, Value)]) -> Value {
        let part = "WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis";
        let mut key = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": part, "y": part});
        for (name, value) in change {
            key[*name] = value.clone();
        }
        key
    }

    fn parse(value: &Value) -> Result<KeySet, String> {
        KeySet::parse(&value.to_string(), "f", None)
    }

    #[test]
    fn keys_are_read_from_whatever_holds_them() {
        for value in
            [json!({"keys": [ec(&[])]}), json!([ec(&[])]), ec(&[]), json!(json!({"keys": [ec(&[])]}).to_string())]
        {
            let set = parse(&value).unwrap();
            assert_eq!((set.names().as_str(), &*set.keys[0].algorithms), ("`a`", &["ES256"][..]), "{value}");
        }
    }

    #[test]
    fn what_cannot_check_a_signature_is_refused_by_name() {
        for (change, reason) in [
            (("use", json!("enc")), "key `a`: is for `enc` and not for signatures"),
            (("key_ops", json!(["sign"])), "not for verifying"),
            (("kty", json!("oct")), "shared secret"),
            (("d", json!("x")), "private key"),
            (("x", json!("AAAA")), "has 3 bytes instead of 32"),
            (("alg", json!("ES384")), "with alg `ES384`, which cannot be checked here"),
            (("crv", json!("secp256k1")), "not supported"),
        ] {
            let error = parse(&json!({"keys": [ec(std::slice::from_ref(&change))]})).unwrap_err();
            assert!(error.contains(reason), "{change:?}: {error}");
            let both = parse(&json!({"keys": [ec(&[change]), ec(&[])]})).unwrap();
            assert_eq!((both.keys.len(), both.unusable().len()), (1, 1));
        }
    }

    #[test]
    fn what_is_no_set_is_told_by_what_it_is() {
        for (text, reason) in [
            ("", "it is empty"),
            ("<html>", "HTML"),
            ("-----BEGIN PUBLIC KEY-----", "PEM"),
            ("eyJhbGciOiJkaXIifQ..", "encrypted"),
            ("{", "line 1, column 1"),
            ("{\"keys\": []}", "has no key in it"),
            ("{\"keys\": {}}", "no list"),
            ("{\"issuer\": \"x\", \"jwks_uri\": \"https://as.example/jwks\"}", "fetch `https://as.example/jwks`"),
            ("{\"k\": \"-----BEGIN CERTIFICATE-----\"}", "certificates in PEM"),
            ("{}", "no list named keys"),
            ("7", "is no JWKS"),
            (&" ".repeat(MAX_JWKS_BYTES + 1), "are not read"),
        ] {
            let error = KeySet::parse(text, "f", None).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
