//! One segment of a token: base64url (RFC 7515 section 2) to bytes, with the place of every mistake.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

use super::fault::Fault;

/// Base64url that also takes a last character with surplus bits: noted, not refused.
const LENIENT: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// What was wrong with a segment that could be decoded all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// `=` at the end: RFC 7515 section 2 omits it; AWS load balancers write it.
    pub padded: bool,
    /// `+` or `/` instead of `-` and `_`.
    pub standard_alphabet: bool,
    /// The last character has bits set that belong to no byte (RFC 4648 section 3.5).
    pub surplus_bits: bool,
}

/// Decodes base64url, tolerating padding and the standard alphabet.
///
/// # Errors
/// The first [`Fault`].
pub(super) fn decode(segment: &str) -> Result<(Vec<u8>, Oddities), Fault> {
    if segment.is_empty() {
        return Err(Fault::Empty);
    }
    let body = segment.trim_end_matches('=');
    let mut oddities = Oddities { padded: body.len() < segment.len(), ..Oddities::default() };
    for (i, c) in body.chars().enumerate() {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '_' => {}
            '+' | '/' => oddities.standard_alphabet = true,
            '=' => return Err(Fault::InnerPadding(i + 1)),
            other => return Err(Fault::Character(other, i + 1)),
        }
    }
    if body.len() % 4 == 1 || body.is_empty() {
        return Err(Fault::Length(body.len()));
    }
    let bytes = decode_body(body).ok_or(Fault::Length(body.len()))?;
    // A body with surplus bits is not what encoding the bytes again gives.
    oddities.surplus_bits = LENIENT.encode(&bytes).bytes().next_back() != to_url_safe(body).bytes().next_back();
    Ok((bytes, oddities))
}

/// Decodes without saying what is wrong: for the path of every request.
pub(super) fn decode_quietly(segment: &str) -> Option<Vec<u8>> {
    decode_body(segment.trim_end_matches('='))
}

fn decode_body(body: &str) -> Option<Vec<u8>> {
    LENIENT.decode(to_url_safe(body).as_bytes()).ok()
}

fn to_url_safe(body: &str) -> std::borrow::Cow<'_, str> {
    if body.contains(['+', '/']) { body.replace('+', "-").replace('/', "_").into() } else { body.into() }
}

/// Whether `text` is three dot-separated segments of which the first decodes to something that begins as a JSON object.
#[must_use]
pub fn is_jws(text: &str) -> bool {
    text.split('.').count() == 3 && begins_as_object(text)
}

/// Whether the base64url text begins with `{`, perhaps after white space.
pub(super) fn begins_as_object(text: &str) -> bool {
    let head = text.split('.').next().unwrap_or_default().trim_end_matches('=');
    let head = head.get(..head.len().min(8)).unwrap_or_default();
    let whole = head.len() - usize::from(head.len() % 4 == 1);
    let head = head.get(..whole).unwrap_or_default();
    let bytes = decode_quietly(head).unwrap_or_default();
    // `{` alone is not enough: `example` decodes to something that begins with it.
    bytes
        .trim_ascii_start()
        .strip_prefix(b"{")
        .is_some_and(|rest| matches!(rest.trim_ascii_start().first(), None | Some(b'"' | b'}')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_has_its_place() {
        assert_eq!(decode(""), Err(Fault::Empty));
        assert_eq!(decode("ab*d"), Err(Fault::Character('*', 3)));
        assert_eq!(decode("äbcd"), Err(Fault::Character('ä', 1)));
        assert_eq!(decode("ab=d"), Err(Fault::InnerPadding(3)));
        assert_eq!(decode("abcde"), Err(Fault::Length(5)));
        assert_eq!(decode("===="), Err(Fault::Length(0)));
    }

    #[test]
    fn what_can_be_tolerated_is_tolerated_and_said() {
        assert_eq!(
            decode("+/8=").unwrap(),
            (vec![0xfb, 0xff], Oddities { padded: true, standard_alphabet: true, ..Oddities::default() })
        );
        assert!(decode("_x").unwrap().1.surplus_bits);
        assert_eq!(decode("_w").unwrap(), (vec![0xff], Oddities::default()));
    }

    #[test]
    fn a_jws_is_known_by_its_first_characters() {
        assert!(is_jws("eyJhbGciOiJub25lIn0.e30."));
        assert!(is_jws("ewogICJhbGciOiAibm9uZSIKfQ.e30.x"));
        for other in ["a.b.c", "foo.example.com", "", "eyJh", "é.é.é"] {
            assert!(!is_jws(other), "{other}");
        }
    }
}
