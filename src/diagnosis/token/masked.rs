//! Parts of a token that a log, a display or a platform has put something else in the place of.

use super::decoded::StandIn;

/// What Cloud Run writes in place of the signature (Google Cloud, Cloud Run: authenticating service-to-service).
const REMOVED_BY_GOOGLE: &str = "SIGNATURE_REMOVED_BY_GOOGLE";

/// Longer than any word that stands for a signature, shorter than any signature: HS256's have 43 characters.
const LONGEST_WORD: usize = 40;

/// Words in what logs put in place of a secret.
const WORDS: [&str; 11] = [
    "redact",
    "mask",
    "hidden",
    "filtered",
    "removed",
    "omitted",
    "stripped",
    "truncated",
    "signature",
    "secret",
    "snip",
];

/// Characters that no part of a token has, and masks do.
fn is_mask_character(c: char) -> bool {
    matches!(c, '*' | '•' | '●' | '█' | '…' | '<' | '>' | '[' | ']' | '(' | ')')
}

/// Whether a part of a token is a mask, or holds one.
pub(super) fn is_masked(part: &str) -> bool {
    let xs = part.len() >= 3 && part.chars().all(|c| matches!(c, 'x' | 'X'));
    let lower = || part.to_ascii_lowercase();
    let word = || {
        let lower = lower();
        let plain = lower.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '-'));
        plain && WORDS.iter().any(|word| lower.contains(word))
    };
    xs || part.contains(is_mask_character) || (part.len() <= LONGEST_WORD && word())
}

/// What stands in place of a signature.
pub(super) fn stand_in(signature: &str) -> Option<StandIn> {
    if signature == REMOVED_BY_GOOGLE {
        Some(StandIn::RemovedByGoogle)
    } else {
        is_masked(signature).then_some(StandIn::Mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_signature_is_told_from_one() {
        assert_eq!(stand_in("SIGNATURE_REMOVED_BY_GOOGLE"), Some(StandIn::RemovedByGoogle));
        for mask in [
            "***",
            "a1B2***",
            "[REDACTED]",
            "<signature>",
            "signature",
            "SIGNATURE",
            "xxxxxxxx",
            "[signaturenotshown]",
            "…",
            "•••••",
            "REDACTED",
            "signature_hidden",
            "(masked)",
        ] {
            assert_eq!(stand_in(mask), Some(StandIn::Mask), "{mask}");
        }
        for signature in
            ["", "xx", "paWlpaWlpaWl", "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c", "AAAA", "a.b", "secret0"]
        {
            assert_eq!(stand_in(signature), None, "{signature}");
        }
    }
}
