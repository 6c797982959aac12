//! Numbers that stand for texts: the same in every build, on every machine.
//!
//! They are part of what is stored, so that another release and another replica must come to the same number; the hasher
//! of the standard library promises that to nobody.

use sha2::{Digest as _, Sha256};

/// A number for `parts`: the first 64 bits of a SHA-256. The length of each part counts, so that `["ab", "c"]` and
/// `["a", "bc"]` differ.
#[must_use]
pub fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_same_in_every_build() {
        assert_eq!(fingerprint(&[]), 0xe3b0_c442_98fc_1c14);
        assert_eq!(fingerprint(&[b"alice"]), FINGERPRINT_OF_ALICE);
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
    }

    /// `printf '\0\0\0\0\0\0\0\x05alice' | sha256sum`
    const FINGERPRINT_OF_ALICE: u64 = 0x6ea9_88ee_737a_68d0;
}
