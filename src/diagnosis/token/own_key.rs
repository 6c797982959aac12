//! A signature checked against the key in the token's own header, and that key's thumbprint.

use std::str::FromStr;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde_json::{Map, Value};

use super::dpop::Verification;
use super::notes::quote;
use super::segment;

/// Whether `signed` (header and payload segments with the dot between) carries a signature by the key in its own header.
///
/// `jsonwebtoken` does the arithmetic. It knows neither `none` nor every registered algorithm, and slices short Ed25519
/// keys out of bounds, so the key is measured before it sees it.
pub(super) fn verify(header: &Map<String, Value>, signed: &str, signature: &str) -> Verification {
    let Some(jwk) = header.get("jwk") else {
        return Verification::NotChecked("the header has no key".to_owned());
    };
    let key = match Key::read(jwk) {
        Ok(key) => key,
        Err(reason) => return Verification::NotChecked(reason),
    };
    let alg = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    if !key.algorithms.contains(&alg) {
        return Verification::NotChecked(format!(
            "{} does not go with a {} key, or is not supported",
            quote(alg),
            key.name
        ));
    }
    // RFC 9864 gave the algorithm the curve's name.
    let name = if alg == "Ed25519" { "EdDSA" } else { alg };
    let unsupported = || Verification::NotChecked(format!("{} is not supported here", quote(alg)));
    let Ok(algorithm) = jsonwebtoken::Algorithm::from_str(name) else { return unsupported() };
    let Ok(decoding) = DecodingKey::from_jwk(&key.jwk) else { return unsupported() };
    match jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &decoding, algorithm) {
        Ok(true) => Verification::Valid,
        Ok(false) => Verification::Invalid,
        Err(_) => Verification::NotChecked("the key or the signature is not well-formed".to_owned()),
    }
}

/// A public key of a kind and size that can be worked with.
pub(super) struct Key {
    jwk: Jwk,
    name: &'static str,
    algorithms: &'static [&'static str],
}

impl Key {
    /// Reads the members that make the key (RFC 7638 section 3.2), no others, and measures them.
    pub(super) fn read(jwk: &Value) -> Result<Self, String> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
        let bytes = |name: &str| match segment::decode(member(name)) {
            Ok((bytes, oddities)) if oddities == segment::Oddities::default() => Ok(bytes),
            _ => Err(format!("member {name} of the jwk is not base64url")),
        };
        let size = |name: &str, expected: usize| {
            let n = bytes(name)?.len();
            if n == expected {
                Ok(())
            } else {
                Err(format!("member {name} of the jwk has {n} bytes instead of {expected}"))
            }
        };
        let (name, algorithms, members): (_, &[&str], &[&str]) = match (member("kty"), member("crv")) {
            ("EC", crv @ ("P-256" | "P-384" | "P-521")) => {
                let (length, name, algorithms): (_, _, &[&str]) = match crv {
                    "P-256" => (32, "P-256", &["ES256"]),
                    "P-384" => (48, "P-384", &["ES384"]),
                    _ => (66, "P-521", &[]),
                };
                size("x", length)?;
                size("y", length)?;
                (name, algorithms, &["kty", "crv", "x", "y"])
            }
            ("OKP", "Ed25519") => {
                size("x", 32)?;
                ("Ed25519", &["EdDSA", "Ed25519"], &["kty", "crv", "x"])
            }
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                // 2048 to 4096 bits: less is forbidden (RFC 7518 section 3.3), more costs too much to check for a stranger.
                let sound = (256..=512).contains(&n.len()) && n[0] != 0 && n[n.len() - 1] & 1 == 1;
                if !sound || e.len() > 4 || e[e.len() - 1] & 1 == 0 {
                    return Err("the RSA key in the jwk is not one of 2048 to 4096 bits".to_owned());
                }
                ("RSA", &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], &["kty", "n", "e"])
            }
            ("oct", _) => return Err("the jwk is a shared secret, which proves nothing".to_owned()),
            (kty, crv) => {
                return Err(format!("keys of kty {} and crv {} are not supported here", quote(kty), quote(crv)));
            }
        };
        let only: Map<String, Value> = members.iter().map(|name| ((*name).to_owned(), member(name).into())).collect();
        let jwk = serde_json::from_value(Value::Object(only)).map_err(|_| "the jwk cannot be read".to_owned())?;
        Ok(Self { jwk, name, algorithms })
    }

    pub(super) fn thumbprint(&self) -> Option<String> {
        self.jwk.thumbprint(ThumbprintHash::SHA256).ok()
    }
}
