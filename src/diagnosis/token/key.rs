//! Public keys as JSON (RFC 7517), and signatures checked against them.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::segment;
use crate::diagnosis::quote::quote;

/// A public key of a kind and size that can be worked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The members that make the key, in the order of their names.
    members: Map<String, Value>,
    name: &'static str,
    algorithms: &'static [&'static str],
}

impl Key {
    /// Reads the members that make the key (RFC 7638 section 3.2), no others, and measures them.
    pub(crate) fn read(jwk: &Value) -> Result<Self, String> {
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
                (name, algorithms, &["crv", "kty", "x", "y"])
            }
            ("OKP", "Ed25519") => {
                size("x", 32)?;
                ("Ed25519", &["EdDSA", "Ed25519"], &["crv", "kty", "x"])
            }
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                // 2048 to 4096 bits: less is forbidden (RFC 7518 section 3.3), more costs too much to check for a stranger.
                let sound = (256..=512).contains(&n.len()) && n[0] != 0 && n[n.len() - 1] & 1 == 1;
                if !sound || e.len() > 4 || e[e.len() - 1] & 1 == 0 {
                    return Err("the RSA key in the jwk is not one of 2048 to 4096 bits".to_owned());
                }
                ("RSA", &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], &["e", "kty", "n"])
            }
            ("oct", _) => return Err("the jwk is a shared secret, which proves nothing".to_owned()),
            (kty, crv) => {
                return Err(format!("keys of kty {} and crv {} are not supported here", quote(kty), quote(crv)));
            }
        };
        let members = members.iter().map(|name| ((*name).to_owned(), member(name).into())).collect();
        Ok(Self { members, name, algorithms })
    }

    /// The RFC 7638 thumbprint with SHA-256: of the members in the order of their names, without white space.
    pub(crate) fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(serde_json::to_vec(&self.members).unwrap_or_default()))
    }

    fn decoding(&self) -> Option<DecodingKey> {
        let member = |name| self.members.get(name).and_then(Value::as_str).unwrap_or_default();
        match member("kty") {
            "EC" => DecodingKey::from_ec_components(member("x"), member("y")),
            "OKP" => DecodingKey::from_ed_components(member("x")),
            _ => DecodingKey::from_rsa_components(member("n"), member("e")),
        }
        .ok()
    }

    /// `RSA`, `P-256`, `Ed25519`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The algorithms that go with such a key and can be checked here. None for a key of a kind that nobody here can use.
    pub(crate) fn algorithms(&self) -> &'static [&'static str] {
        self.algorithms
    }

    /// Whether `signed` carries this signature by this key. `alg` is the caller's decision: one of [`Self::algorithms`].
    ///
    /// `jsonwebtoken` does the arithmetic. It knows neither `none` nor every registered algorithm, and slices short Ed25519
    /// keys out of bounds, so the key is measured before it sees it. Its verifier is asked for by name: `crypto::verify`
    /// would take whatever provider is installed at run time, and so bring everything that signs into the program (a quarter
    /// of a megabyte).
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(crate) fn has_signed(&self, alg: &str, signed: &str, signature: &str) -> Result<bool, String> {
        if !self.algorithms.contains(&alg) {
            return Err(format!("{} does not go with a {} key, or is not supported", quote(alg), self.name));
        }
        // RFC 9864 gave the algorithm the curve's name.
        let name = if alg == "Ed25519" { "EdDSA" } else { alg };
        let unsupported = || format!("{} is not supported here", quote(alg));
        let algorithm = Algorithm::from_str(name).map_err(|_| unsupported())?;
        let decoding = self.decoding().ok_or_else(unsupported)?;
        // AWS load balancers pad every segment.
        let signature = URL_SAFE_NO_PAD.decode(signature.trim_end_matches('='));
        match ((DEFAULT_PROVIDER.verifier_factory)(&algorithm, &decoding), signature) {
            (Ok(verifier), Ok(signature)) => Ok(verifier.verify(signed.as_bytes(), &signature).is_ok()),
            _ => Err("the key or the signature is not well-formed".to_owned()),
        }
    }
}
