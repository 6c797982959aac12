//! What a token's `alg` means (RFC 7518 section 3.1, RFC 8037, RFC 8812, RFC 9864, and drafts where they are in use).

/// What kind of protection an algorithm gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// `none`: nothing.
    None,
    /// A secret that issuer and verifier share.
    Shared,
    /// A private key signs, a public key verifies.
    Public,
    /// Encryption of a content key: a JWE.
    Encryption,
    /// Not in the table.
    Unknown,
}

/// One `alg` value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm {
    /// What it protects with.
    pub protection: Protection,
    /// A word on it.
    pub meaning: &'static str,
    /// How many bytes its signature has, where that is fixed.
    pub signature_bytes: Option<usize>,
}

/// Looks up an `alg` value. Names are case-sensitive (RFC 7515 section 4.1.1), but `none` is recognised in any case,
/// for that is how verifiers were tricked.
#[must_use]
pub fn algorithm(name: &str) -> Algorithm {
    use Protection::{Encryption, None as Nothing, Public, Shared, Unknown};
    let (protection, meaning, signature_bytes) = match name {
        "HS256" => (Shared, "HMAC with SHA-256", Some(32)),
        "HS384" => (Shared, "HMAC with SHA-384", Some(48)),
        "HS512" => (Shared, "HMAC with SHA-512", Some(64)),
        "RS256" => (Public, "RSA PKCS#1 v1.5 with SHA-256: the most widely supported", None),
        "RS384" => (Public, "RSA PKCS#1 v1.5 with SHA-384", None),
        "RS512" => (Public, "RSA PKCS#1 v1.5 with SHA-512", None),
        "PS256" => (Public, "RSA-PSS with SHA-256", None),
        "PS384" => (Public, "RSA-PSS with SHA-384", None),
        "PS512" => (Public, "RSA-PSS with SHA-512", None),
        "ES256" => (Public, "ECDSA on P-256 with SHA-256", Some(64)),
        "ES384" => (Public, "ECDSA on P-384 with SHA-384", Some(96)),
        "ES512" => (Public, "ECDSA on P-521 with SHA-512: many libraries do not have it", Some(132)),
        "ES256K" => (Public, "ECDSA on secp256k1: many libraries do not have it", Some(64)),
        "EdDSA" => (Public, "Edwards curve signature; since RFC 9864 the curve should be named (`Ed25519`)", None),
        "Ed25519" => (Public, "Ed25519, named as RFC 9864 wants it: older libraries know only `EdDSA`", Some(64)),
        "Ed448" => (Public, "Ed448, named as RFC 9864 wants it: few libraries have it", Some(114)),
        "ML-DSA-44" => (Public, "post-quantum lattice signature (FIPS 204): few libraries have it", Some(2420)),
        "ML-DSA-65" => (Public, "post-quantum lattice signature (FIPS 204): few libraries have it", Some(3309)),
        "ML-DSA-87" => (Public, "post-quantum lattice signature (FIPS 204): few libraries have it", Some(4627)),
        "dir" => (Encryption, "a shared secret is the content key itself", None),
        "RSA1_5" => (
            Encryption,
            "RSA PKCS#1 v1.5 key encryption: open to padding oracles, do not use (RFC 8725 section 3.2)",
            None,
        ),
        "RSA-OAEP" | "RSA-OAEP-256" | "RSA-OAEP-384" | "RSA-OAEP-512" => (Encryption, "RSA-OAEP key encryption", None),
        "A128KW" | "A192KW" | "A256KW" => (Encryption, "AES key wrap with a shared secret", None),
        "A128GCMKW" | "A192GCMKW" | "A256GCMKW" => (Encryption, "AES-GCM key wrap with a shared secret", None),
        "ECDH-ES" | "ECDH-ES+A128KW" | "ECDH-ES+A192KW" | "ECDH-ES+A256KW" => {
            (Encryption, "key agreement on an elliptic curve", None)
        }
        "PBES2-HS256+A128KW" | "PBES2-HS384+A192KW" | "PBES2-HS512+A256KW" => {
            (Encryption, "key derived from a password", None)
        }
        other if other.eq_ignore_ascii_case("none") => (Nothing, "unsecured: anybody can write such a token", Some(0)),
        _ => (Unknown, "not a registered algorithm that this server knows", None),
    };
    Algorithm { protection, meaning, signature_bytes }
}
