//! What a value's shape says, wherever in a text it stands.
//!
//! One pass from left to right; at each place a handful of shapes is tried, and what one of them covers is skipped.
//! Every look back and every failed look ahead is bounded, so that the time is linear in the text.

use std::borrow::Cow;

use base64::Engine as _;

use super::names::secret;
use super::{HIDDEN, SHOWN, beginning};
use crate::diagnosis::encoding::BASE64;

/// Prefixes of opaque tokens, with how many characters must follow: enough that `sk-SK` in `Accept-Language` is none.
const PREFIXES: [(&str, usize); 30] = [
    // GitHub: personal, OAuth, user-to-server, server-to-server, refresh, fine-grained.
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 16),
    // Google: OAuth access token, API key.
    ("ya29.", 16),
    ("AIza", 30),
    // Slack.
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxe-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    // OpenAI, Anthropic, Stripe.
    ("sk-", 16),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("whsec_", 16),
    // AWS access key ids.
    ("AKIA", 16),
    ("ASIA", 16),
    // Supabase, npm, PyPI, Hugging Face, DigitalOcean, Shopify, SendGrid.
    ("sbp_", 16),
    ("npm_", 30),
    ("pypi-", 30),
    ("hf_", 20),
    ("dop_v1_", 30),
    ("shpat_", 20),
    ("SG.", 30),
    // PASETO (paseto.io): encrypted tokens; public ones are signed and replayable.
    ("v4.", 40),
];

/// The longest name that is looked for in front of `=` or `:`.
const LONGEST_NAME: usize = 64;

/// The longest JOSE header that is looked through for its end. What goes on for longer without one is masked as well:
/// it is no word, and looking further from each of its places would take the square of its length.
const LONGEST_SEGMENT: usize = 4096;

/// How far a token with a known prefix is looked at to tell it from words.
const TELLING: usize = 256;

/// A secret that was found: what to leave out, and what to write instead.
struct Hit {
    start: usize,
    end: usize,
    shown: String,
}

/// `text` with every secret masked that has a shape. Does not escape.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < text.len() {
        if let Some(hit) = hit(text, at) {
            out.push_str(&text[copied..hit.start]);
            out.push_str(&hit.shown);
            (copied, at) = (hit.end, hit.end);
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Whether `text` as a whole is a token: one of a known shape, or long and random.
pub(super) fn is_token(text: &str) -> bool {
    let text = text.trim();
    let whole = token_run(text) == text.len();
    whole && (jwt(text).is_some() || opaque(text).is_some() || is_random(text)) || private_key(text).is_some()
}

/// Long hexadecimal, or long with upper case, lower case and digits mixed: keys and hashes, not names or paths.
fn is_random(text: &str) -> bool {
    let any = |test: fn(&u8) -> bool| text.bytes().any(|b| test(&b));
    let hex = text.len() >= 32 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let mixed = text.len() >= 24
        && !text.contains(['/', '.'])
        && any(u8::is_ascii_uppercase)
        && any(u8::is_ascii_lowercase)
        && any(u8::is_ascii_digit);
    hex || mixed
}

fn hit(text: &str, at: usize) -> Option<Hit> {
    let rest = &text[at..];
    let bytes = text.as_bytes();
    match bytes[at] {
        b':' if rest.starts_with("://") => return user_information(text, at + 3),
        b':' => return json_member(text, at),
        b'=' => return parameter(text, at, at + 1),
        b'%' if rest.get(..3).is_some_and(|code| code.eq_ignore_ascii_case("%3d")) => {
            return parameter(text, at, at + 3);
        }
        b'-' if rest.starts_with("-----BEGIN ") => {
            let end = at + private_key(rest)?;
            return Some(Hit { start: at, end, shown: "-----BEGIN PRIVATE KEY-----...".to_owned() });
        }
        _ => {}
    }
    // `%22eyJ…` begins a token as well as ` eyJ…`.
    let encoded =
        at >= 3 && bytes[at - 3] == b'%' && bytes[at - 2].is_ascii_hexdigit() && bytes[at - 1].is_ascii_hexdigit();
    if at > 0 && is_word(bytes[at - 1]) && !encoded {
        return None;
    }
    if let Some(length) = jwt(rest).or_else(|| opaque(rest)) {
        return Some(Hit { start: at, end: at + length, shown: beginning(&rest[..length], SHOWN) });
    }
    credentials(text, at)
}

const fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// The length of the run of characters a token may have: base64, base64url, and what joins their parts
/// (token68 of RFC 9110 section 11.2).
fn token_run(text: &str) -> usize {
    text.bytes().position(|b| !(b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b))).unwrap_or(text.len())
}

/// The length of the JWT (RFC 7519) that `text` begins with, whole or cut off. Its first segment is base64url of a JSON
/// object, so it begins with the encoding of `{"`, or of `{` and white space; a dot follows. No word does.
fn jwt(text: &str) -> Option<usize> {
    let opens = ["eyJ", "eyA", "ewo", "ew0", "ewk"].iter().any(|start| text.starts_with(start));
    if !opens {
        return None;
    }
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b"-_=".contains(b);
    let first = text.bytes().take(LONGEST_SEGMENT).take_while(inside).count();
    let found = first == LONGEST_SEGMENT || (first >= 10 && text.as_bytes().get(first) == Some(&b'.'));
    found.then(|| token_run(text))
}

fn opaque(text: &str) -> Option<usize> {
    PREFIXES.iter().find_map(|(prefix, at_least)| {
        let rest = text.strip_prefix(prefix)?;
        let inside = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
        let run = rest.bytes().take(TELLING).take_while(inside).count();
        // Tokens have digits; `sk-something-in-words` has none.
        let found = run >= *at_least && rest[..run].bytes().any(|b| b.is_ascii_digit());
        found.then(|| prefix.len() + rest.bytes().take_while(inside).count())
    })
}

/// `Basic dXNlcjpwYXNz` and `Bearer abc123…` in the middle of a text. What follows `Basic` must decode to something
/// with a colon (RFC 7617 section 2), what follows `Bearer` must be long and have a digit: `Basic authentication`,
/// `Bearer realm="…"` are left alone.
fn credentials(text: &str, at: usize) -> Option<Hit> {
    let rest = &text[at..];
    let word = rest.bytes().position(|b| !b.is_ascii_alphabetic())?;
    let basic = rest[..word].eq_ignore_ascii_case("basic");
    if !(basic || ["bearer", "dpop", "token"].iter().any(|scheme| rest[..word].eq_ignore_ascii_case(scheme))) {
        return None;
    }
    let gap = rest[word..].bytes().take_while(|b| *b == b' ').count();
    let start = at + word + gap;
    let end = start + token_run(&text[start..]);
    let found = &text[start..end];
    if gap == 0 || text[end..].starts_with('"') {
        return None;
    }
    let secret = if basic {
        found.len() >= 4 && BASE64.decode(found).is_ok_and(|decoded| decoded.contains(&b':'))
    } else {
        found.len() >= 16 && found.bytes().any(|b| b.is_ascii_digit())
    };
    secret.then(|| Hit { start, end, shown: if basic { HIDDEN.to_owned() } else { beginning(found, SHOWN) } })
}

/// `user:password@` after `://`: both are masked, since in `https://TOKEN@host` the user is the secret.
fn user_information(text: &str, start: usize) -> Option<Hit> {
    let rest = &text[start..];
    let authority = rest.find(|c: char| c.is_whitespace() || "/?#\"'<>\\".contains(c)).unwrap_or(rest.len());
    let end = start + rest[..authority].rfind('@')?;
    (end > start && &text[start..end] != HIDDEN).then(|| Hit { start, end, shown: HIDDEN.to_owned() })
}

/// The value of a secret parameter: `access_token=…` up to the next delimiter, also percent-encoded as in a URI that is
/// itself a parameter (`%3Fcode%3D…%26`).
fn parameter(text: &str, equals: usize, start: usize) -> Option<Hit> {
    let (name, delimiter) = name_before(text, equals);
    let in_uri = matches!(delimiter, None | Some(b'?' | b'&' | b'#'));
    // `code` is an authorization code only where parameters stand: `status code=404` is none. So for the signatures and
    // keys of cloud storage URLs.
    let secret = secret(name).is_some()
        || (in_uri
            && ["code", "key", "sig", "pass", "state_token"].iter().any(|short| short.eq_ignore_ascii_case(name)));
    if !secret {
        return None;
    }
    let rest = &text[start..];
    let quoted = rest.starts_with(['"', '\'']);
    let start = start + usize::from(quoted);
    let rest = &text[start..];
    let plain = |c: char| c.is_whitespace() || "&#;,\"'<>)]}\\".contains(c);
    let end = rest
        .char_indices()
        .find(|(i, c)| if quoted { "\"'".contains(*c) } else { plain(*c) || *c == '%' && delimiter_code(&rest[*i..]) });
    let end = start + end.map_or(rest.len(), |(i, _)| i);
    hide(text, start, end)
}

/// Whether `text` begins with the code of `&` or `#`.
fn delimiter_code(text: &str) -> bool {
    text.get(..3).is_some_and(|code| code.eq_ignore_ascii_case("%26") || code.eq_ignore_ascii_case("%23"))
}

/// The value of a secret member of JSON text: `"client_secret": "…"`, also where the quotes are escaped.
fn json_member(text: &str, colon: usize) -> Option<Hit> {
    let before = text[..colon].trim_end_matches(' ');
    let name_end = before.trim_end_matches(['"', '\'', '\\']).len();
    if name_end == before.len() {
        return None;
    }
    let (name, _) = name_before(text, name_end);
    if !(secret(name).is_some() || name.eq_ignore_ascii_case("code")) {
        return None;
    }
    let rest = text[colon + 1..].trim_start_matches(' ');
    let value = rest.trim_start_matches(['"', '\'', '\\']);
    let start = text.len() - value.len();
    let quoted = value.len() < rest.len();
    let length = value.find(|c: char| if quoted { "\"\\".contains(c) } else { ",}] ".contains(c) });
    let end = start + length.unwrap_or(value.len());
    if !quoted && !text[start..end].starts_with(|c: char| c.is_ascii_digit()) {
        return None; // null, true, an object, an array
    }
    hide(text, start, end)
}

fn hide(text: &str, start: usize, end: usize) -> Option<Hit> {
    // What was masked before stays as it is: three stars, or a beginning and three dots.
    let found = &text[start..end];
    let masked = found == HIDDEN || found.strip_suffix("...").is_some_and(|shown| shown.len() <= SHOWN + 1);
    (start < end && !masked).then(|| Hit { start, end, shown: HIDDEN.to_owned() })
}

/// The name that ends at `end`, and the character in front of it, decoded where it is percent-encoded.
fn name_before(text: &str, end: usize) -> (&str, Option<u8>) {
    let bytes = text.as_bytes();
    let mut start = end;
    while start > 0 && end - start < LONGEST_NAME && (is_word(bytes[start - 1]) || b"-.".contains(&bytes[start - 1])) {
        start -= 1;
    }
    let delimiter = start.checked_sub(1).map(|i| bytes[i]);
    if delimiter == Some(b'%')
        && let Some(code) = text.get(start..start + 2)
        && let Ok(byte) = u8::from_str_radix(code, 16)
        && start + 2 <= end
    {
        return (&text[start + 2..end], Some(byte));
    }
    (&text[start..end], delimiter)
}

/// The length of the private key (RFC 7468 section 10) that `text` begins with, to its end or the text's.
fn private_key(text: &str) -> Option<usize> {
    let label = text.strip_prefix("-----BEGIN ")?;
    let dashes = label.bytes().take(LONGEST_NAME).position(|b| b == b'-')?;
    if !label[..dashes].ends_with("PRIVATE KEY") {
        return None;
    }
    let end = text.find("-----END ").and_then(|end| {
        let after = end + "-----END ".len();
        Some(after + text[after..].find("-----")? + 5)
    });
    Some(end.unwrap_or(text.len()))
}
