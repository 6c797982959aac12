//! Issuers with real keys, made in the test, always the same: RSA, P-256, Ed25519.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rsa::pkcs1v15;
use rsa::signature::SignatureEncoding as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::Sha256;

/// Makes a key: the slowest takes a second, so it is made once.
static RSA: LazyLock<rsa::RsaPrivateKey> =
    LazyLock::new(|| rsa::RsaPrivateKey::new(&mut StdRng::seed_from_u64(1), 2048).unwrap());

/// A private key.
pub enum Key {
    Rsa,
    Ec(u64),
    Ed(u64),
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    pub fn alg(&self) -> &'static str {
        match self {
            Self::Rsa => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public key as a JWK, named `kid`.
    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            Self::Rsa => {
                json!({"kty": "RSA", "n": encode(RSA.n().to_bytes_be()), "e": encode(RSA.e().to_bytes_be())})
            }
            Self::Ec(seed) => {
                let point = ec(*seed).verifying_key().to_encoded_point(false);
                json!({"kty": "EC", "crv": "P-256", "x": encode(point.x().unwrap()), "y": encode(point.y().unwrap())})
            }
            Self::Ed(seed) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(ed(*seed).verifying_key().as_bytes())})
            }
        };
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The signature of `input`.
    pub fn sign(&self, input: &str) -> String {
        let input = input.as_bytes();
        match self {
            Self::Rsa => {
                let key = pkcs1v15::SigningKey::<Sha256>::new(RSA.clone());
                encode(rsa::signature::Signer::sign(&key, input).to_bytes())
            }
            Self::Ec(seed) => {
                let signature: p256::ecdsa::Signature = ec(*seed).sign(input);
                encode(signature.to_bytes())
            }
            Self::Ed(seed) => encode(ed(*seed).sign(input).to_bytes()),
        }
    }

    /// A token with this header and these claims.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.sign(&input);
        format!("{input}.{signature}")
    }

    /// A usual token, signed with the key `kid`.
    pub fn usual(&self, kid: &str, claims: &Value) -> String {
        self.token(&json!({"alg": self.alg(), "typ": "at+jwt", "kid": kid}), claims)
    }
}

fn ec(seed: u64) -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::random(&mut StdRng::seed_from_u64(seed))
}

fn ed(seed: u64) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::generate(&mut StdRng::seed_from_u64(seed))
}
