//! What a value's shape says, wherever in a text it stands.
//!
//! One pass from left to right; at each place a handful of shapes is tried, and what one of them covers is skipped. The
//! ends of runs are looked for once a run and kept, every other look is bounded: the time is linear in the text, and a
//! test counts the bytes that are looked at.

use std::borrow::Cow;

use base64::Engine as _;

use super::names::secret;
use super::{HIDDEN, SHOWN, beginning, is_flag};
use crate::diagnosis::encoding::BASE64;
use crate::diagnosis::{placeholder, prefixes};

/// The longest name that is looked for in front of `=` or `:`.
const LONGEST_NAME: usize = 64;

/// A secret that was found: what to leave out, and what to write instead.
struct Hit {
    start: usize,
    end: usize,
    shown: String,
}

impl Hit {
    /// Of which the beginning is shown.
    fn token(text: &str, start: usize, end: usize) -> Self {
        Self { start, end, shown: beginning(&text[start..end], SHOWN) }
    }

    /// Of which nothing is shown. What was masked before stays as it is: three stars, or a beginning and three dots. So do
    /// `none` and `true`, and placeholders.
    fn hidden(text: &str, start: usize, end: usize) -> Option<Self> {
        let found = &text[start..end];
        let masked = found == HIDDEN || found.strip_suffix("...").is_some_and(|shown| shown.len() <= SHOWN + 1);
        let shown = masked || is_flag(found) || placeholder::may_be_shown(found);
        (start < end && !shown).then(|| Self { start, end, shown: HIDDEN.to_owned() })
    }
}

/// `text` with every secret masked that has a shape. Does not escape.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    Scan::new(text, false).mask()
}

/// The same, and nothing is shown of what is masked.
pub(super) fn mask_whole(text: &str) -> Cow<'_, str> {
    Scan { shows: false, ..Scan::new(text, false) }.mask()
}

/// [`mask`], and with everything masked that looks random: what stands under a name that nobody knows.
pub(super) fn mask_random(text: &str) -> Cow<'_, str> {
    Scan::new(text, true).mask()
}

/// Whether `text` as a whole is a token: one of a known shape, or long and random.
pub(super) fn is_token(text: &str) -> bool {
    let text = text.trim();
    let mut scan = Scan::new(text, true);
    let whole = scan.end_of(Class::Token, 0) == text.len();
    whole && (scan.jwt(0).is_some() || scan.opaque(0).is_some() || is_random(text)) || private_key(text).is_some()
}

/// Whether `text` begins with a token of a known shape: a JWT, or one with an issuer's prefix.
pub(super) fn begins_with_token(text: &str) -> bool {
    let mut scan = Scan::new(text, false);
    scan.jwt(0).is_some() || scan.opaque(0).is_some()
}

/// Whether a run of a token's characters looks random: long hexadecimal, or long with a piece in which letters and digits, or
/// lower and upper case, take turns more often than in words, dates, versions and host names.
pub(super) fn is_random(run: &str) -> bool {
    /// Characters of a run, and of one of its pieces between punctuation.
    const LONG: usize = 20;
    const PIECE: usize = 16;
    /// Hexadecimal digits of 128 bits.
    const HEX: usize = 32;
    /// A piece that has all three kinds of characters may be shorter.
    const MIXED_PIECE: usize = 12;
    if run.len() < LONG || run.starts_with('/') {
        return false;
    }
    if run.len() >= HEX
        && run.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        && run.bytes().any(|b| b.is_ascii_digit())
    {
        return true;
    }
    let (mut longest, mut letters, mut turns) = (0, 0, 0);
    let (mut upper, mut lower, mut digits) = (false, 0, 0);
    for piece in run.split(|c: char| !c.is_ascii_alphanumeric()) {
        longest = longest.max(piece.len());
        for pair in piece.as_bytes().windows(2) {
            let from_digit = pair[0].is_ascii_digit() != pair[1].is_ascii_digit();
            turns += usize::from(from_digit || (pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()));
        }
        letters += piece.len();
        upper |= piece.bytes().any(|b| b.is_ascii_uppercase());
        lower += piece.bytes().filter(u8::is_ascii_lowercase).count();
        digits += piece.bytes().filter(u8::is_ascii_digit).count();
    }
    let mixed = upper && lower > 1 && digits > 1;
    (longest >= PIECE || (mixed && longest >= MIXED_PIECE))
        && digits >= 2
        && letters > digits + 1
        && turns * 6 >= letters
}

const fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// Runs of characters whose ends are kept.
#[derive(Clone, Copy)]
enum Class {
    /// Base64, base64url, and what joins their parts (token68 of RFC 9110 section 11.2).
    Token,
    /// Of an issuer's token.
    Opaque,
    /// Of a segment of a JWT.
    Segment,
    /// What is no digit.
    NoDigit,
}

impl Class {
    const fn has(self, b: u8) -> bool {
        let joins: &[u8] = match self {
            Self::Token => b"-._~+/=",
            Self::Opaque => b"-_.",
            Self::Segment => b"-_=",
            Self::NoDigit => return !b.is_ascii_digit(),
        };
        let mut i = 0;
        while i < joins.len() {
            if joins[i] == b {
                return true;
            }
            i += 1;
        }
        b.is_ascii_alphanumeric()
    }
}

struct Scan<'a> {
    text: &'a str,
    /// Whether what looks random is masked too.
    random: bool,
    /// Whether the beginning of a token is shown.
    shows: bool,
    /// Where the run of each class ends that was looked at last; a place before its start was never looked at.
    ends: [(usize, usize); 4],
    /// Bytes looked at: a test holds that they grow with the text.
    looked_at: usize,
}

impl<'a> Scan<'a> {
    const fn new(text: &'a str, random: bool) -> Self {
        Self { text, random, shows: true, ends: [(0, 0); 4], looked_at: 0 }
    }

    /// Counts what is looked at.
    const fn look(&mut self, bytes: usize) {
        self.looked_at += bytes;
    }

    fn mask(&mut self) -> Cow<'a, str> {
        let mut out = String::new();
        let (mut copied, mut at) = (0, 0);
        while at < self.text.len() {
            if let Some(hit) = self.hit(at) {
                out.push_str(&self.text[copied..hit.start]);
                out.push_str(if self.shows { &hit.shown } else { HIDDEN });
                (copied, at) = (hit.end, hit.end);
            } else {
                at += self.text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        if copied == 0 {
            return Cow::Borrowed(self.text);
        }
        out.push_str(&self.text[copied..]);
        Cow::Owned(out)
    }

    /// Where the run of `class` ends that goes on at `at`. Each byte is looked at once, since places only grow.
    fn end_of(&mut self, class: Class, at: usize) -> usize {
        let (from, end) = self.ends[class as usize];
        if (from..end).contains(&at) {
            return end;
        }
        let run = self.text.as_bytes()[at..].iter().take_while(|b| class.has(**b)).count();
        self.look(run + 1);
        self.ends[class as usize] = (at, at + run);
        at + run
    }

    fn hit(&mut self, at: usize) -> Option<Hit> {
        self.look(1);
        let (text, bytes) = (self.text, self.text.as_bytes());
        let rest = &text[at..];
        if self.random
            && let Some(end) = self.random_run(at)
        {
            return Some(Hit::token(text, at, end));
        }
        match bytes[at] {
            b':' if rest.starts_with("://") => return self.user_information(at + 3),
            b':' => return self.json_member(at),
            b'=' => return self.parameter(at, at + 1),
            b'%' if rest.get(..3).is_some_and(|code| code.eq_ignore_ascii_case("%3d")) => {
                return self.parameter(at, at + 3);
            }
            b'-' if rest.starts_with("-----BEGIN ") => {
                let end = at + private_key(rest)?;
                return Some(Hit { start: at, end, shown: "-----BEGIN PRIVATE KEY-----...".to_owned() });
            }
            b if !is_word(b) => return None,
            _ => {}
        }
        // `%22eyJ…` begins a token as well as ` eyJ…`.
        let encoded =
            at >= 3 && bytes[at - 3] == b'%' && bytes[at - 2].is_ascii_hexdigit() && bytes[at - 1].is_ascii_hexdigit();
        if at > 0 && is_word(bytes[at - 1]) && !encoded {
            return None;
        }
        if let Some(end) = self.jwt(at).or_else(|| self.opaque(at)) {
            return Some(Hit::token(text, at, end));
        }
        self.credentials(at)
    }

    /// The end of the run that begins at `at`, where it looks random. Looks at each run once, at its beginning.
    fn random_run(&mut self, at: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        if !Class::Token.has(bytes[at]) || at.checked_sub(1).is_some_and(|before| Class::Token.has(bytes[before])) {
            return None;
        }
        let end = self.end_of(Class::Token, at);
        self.look(end - at);
        is_random(&self.text[at..end]).then_some(end)
    }

    /// The end of the JWT (RFC 7519) that begins at `at`, whole or cut off. Its first segment is base64url of a JSON object, so
    /// it begins with the encoding of `{"`, or of `{` and white space; a dot follows. No word does.
    fn jwt(&mut self, at: usize) -> Option<usize> {
        /// Characters of a first segment: `{"alg":…` is longer. One that goes on for longer than the second without a dot is
        /// no word either.
        const SHORTEST: usize = 10;
        const LONGEST: usize = 4096;
        if !["eyJ", "eyA", "ewo", "ew0", "ewk"].iter().any(|start| self.text[at..].starts_with(start)) {
            return None;
        }
        let end = self.end_of(Class::Segment, at);
        let length = end - at;
        let found = length >= LONGEST || (length >= SHORTEST && self.text.as_bytes().get(end) == Some(&b'.'));
        found.then(|| self.end_of(Class::Token, at))
    }

    /// The end of the token with an issuer's prefix that begins at `at`.
    fn opaque(&mut self, at: usize) -> Option<usize> {
        let rest = &self.text[at..];
        let (from, at_least) = match prefixes::of(rest) {
            Some(prefix) => (at + prefix.start.len(), prefix.at_least),
            // PASETO (paseto.io): encrypted tokens; public ones are signed and replayable.
            None if rest.starts_with('v')
                && rest.get(2..).is_some_and(|rest| rest.starts_with(".local.") || rest.starts_with(".public.")) =>
            {
                (at + 3, 40)
            }
            None => return None,
        };
        if from >= self.text.len() {
            return None;
        }
        let end = self.end_of(Class::Opaque, from);
        // Tokens have digits, or capitals among small letters; `sk-something-in-words` has neither.
        let found = end - from >= at_least && (self.end_of(Class::NoDigit, from) < end || self.takes_turns(from, end));
        found.then_some(end)
    }

    /// Whether capitals follow on small letters several times: `AbCdEf`, and not `ApiKey`.
    fn takes_turns(&mut self, from: usize, end: usize) -> bool {
        const TURNS: usize = 3;
        /// Bytes that are looked at: a token shows it in its beginning, and prefixes may follow on each other.
        const BEGINNING: usize = 20;
        let end = end.min(from + BEGINNING);
        self.look(end - from);
        let pairs = self.text.as_bytes()[from..end].windows(2);
        pairs.filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()).count() >= TURNS
    }

    /// `Basic dXNlcjpwYXNz` and `Bearer abc123…` in the middle of a text. What follows `Basic` must decode to something
    /// with a colon (RFC 7617 section 2), what follows `Bearer` must be long and have a digit: `Basic authentication`,
    /// `Bearer realm="…"` are left alone.
    fn credentials(&mut self, at: usize) -> Option<Hit> {
        const SCHEMES: [&str; 4] = ["basic", "bearer", "dpop", "token"];
        let (text, rest) = (self.text, &self.text[at..]);
        let scheme = SCHEMES.iter().find(|scheme| {
            let word = rest.get(..scheme.len()).is_some_and(|word| word.eq_ignore_ascii_case(scheme));
            word && rest.as_bytes().get(scheme.len()) == Some(&b' ')
        })?;
        let gap = rest[scheme.len()..].bytes().take_while(|b| *b == b' ').count();
        self.look(gap);
        let start = at + scheme.len() + gap;
        if start >= text.len() {
            return None;
        }
        let end = self.end_of(Class::Token, start);
        let found = &text[start..end];
        if text[end..].starts_with('"') {
            return None;
        }
        self.look(found.len());
        if *scheme == "basic" {
            let secret = found.len() >= 4 && BASE64.decode(found).is_ok_and(|decoded| decoded.contains(&b':'));
            return secret.then(|| Hit { start, end, shown: HIDDEN.to_owned() });
        }
        (found.len() >= 16 && found.bytes().any(|b| b.is_ascii_digit())).then(|| Hit::token(text, start, end))
    }

    /// `user:password@` after `://`: both are masked, since in `https://TOKEN@host` the user is the secret.
    fn user_information(&mut self, start: usize) -> Option<Hit> {
        let rest = &self.text[start..];
        let authority = rest.find(|c: char| c.is_whitespace() || "/?#\"'<>\\".contains(c)).unwrap_or(rest.len());
        self.look(authority);
        let end = start + rest[..authority].rfind('@')?;
        (end > start && &self.text[start..end] != HIDDEN).then(|| Hit { start, end, shown: HIDDEN.to_owned() })
    }

    /// The value of a secret parameter: `access_token=…` up to the next delimiter, also percent-encoded as in a URI that is
    /// itself a parameter (`%3Fcode%3D…%26`).
    fn parameter(&mut self, equals: usize, start: usize) -> Option<Hit> {
        /// Names that are secrets only where parameters of a URI stand: `status code=404` is none. So for the signatures
        /// and keys of cloud storage URLs.
        const IN_URIS: [&str; 8] = ["code", "key", "sig", "pass", "pat", "sid", "auth", "state_token"];
        let text = self.text;
        let (name, delimiter) = self.name_before(equals);
        let in_uri = matches!(delimiter, None | Some(b'?' | b'&' | b'#'));
        let short = IN_URIS.iter().any(|short| short.eq_ignore_ascii_case(name));
        if !(if short { in_uri } else { secret(name).is_some() }) {
            return None;
        }
        let quoted = text[start..].starts_with(['"', '\'']);
        let start = start + usize::from(quoted);
        let rest = &text[start..];
        let plain = |c: char| c.is_whitespace() || "&#;,\"'<>)]}\\".contains(c);
        let end = rest.char_indices().find(|(i, c)| {
            if quoted { "\"'".contains(*c) } else { plain(*c) || *c == '%' && delimiter_code(&rest[*i..]) }
        });
        let end = start + end.map_or(rest.len(), |(i, _)| i);
        self.look(end - start);
        // A template ends with a bracket, and the value of a parameter in brackets does not.
        if text.as_bytes().get(end) == Some(&b'}') && placeholder::may_be_shown(&text[start..=end]) {
            return None;
        }
        // `Authorization=Bearer x` in a form or a log.
        let scheme = text[start..end].eq_ignore_ascii_case("bearer") || text[start..end].eq_ignore_ascii_case("basic");
        if scheme { None } else { Hit::hidden(text, start, end) }
    }

    /// The value of a secret member of JSON text: `"client_secret": "…"`, also where the quotes are escaped.
    fn json_member(&mut self, colon: usize) -> Option<Hit> {
        let text = self.text;
        let before = text[..colon].trim_end_matches(' ');
        let name_end = before.trim_end_matches(['"', '\'', '\\']).len();
        self.look(colon - name_end);
        if name_end == before.len() {
            return None;
        }
        let (name, _) = self.name_before(name_end);
        // A `key` of JSON is one half of a pair.
        let secret = secret(name).is_some() && !name.eq_ignore_ascii_case("key") && !name.eq_ignore_ascii_case("keys");
        if !(secret || name.eq_ignore_ascii_case("code")) {
            return None;
        }
        let rest = text[colon + 1..].trim_start_matches(' ');
        let value = rest.trim_start_matches(['"', '\'', '\\']);
        let start = text.len() - value.len();
        self.look(start - colon);
        let quoted = value.len() < rest.len();
        if !quoted && !value.starts_with(|c: char| c.is_ascii_digit()) {
            return None; // null, true, an object, an array
        }
        let length = value.find(|c: char| if quoted { "\"\\".contains(c) } else { ",}] ".contains(c) });
        let end = start + length.unwrap_or(value.len());
        self.look(end - start);
        Hit::hidden(text, start, end)
    }

    /// The name that ends at `end`, and the character in front of it, decoded where it is percent-encoded.
    fn name_before(&mut self, end: usize) -> (&'a str, Option<u8>) {
        let (text, bytes) = (self.text, self.text.as_bytes());
        let mut start = end;
        while start > 0
            && end - start < LONGEST_NAME
            && (is_word(bytes[start - 1]) || b"-.".contains(&bytes[start - 1]))
        {
            start -= 1;
        }
        self.look(end - start);
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
}

/// Whether `text` begins with the code of `&` or `#`.
fn delimiter_code(text: &str) -> bool {
    text.get(..3).is_some_and(|code| code.eq_ignore_ascii_case("%26") || code.eq_ignore_ascii_case("%23"))
}

/// The length of the private key (RFC 7468 section 10, OpenPGP's and OpenSSH's) that `text` begins with, to its end or the
/// text's. What it covers is skipped, so no byte is looked at twice.
fn private_key(text: &str) -> Option<usize> {
    let label = text.strip_prefix("-----BEGIN ")?;
    let dashes = label.bytes().take(LONGEST_NAME).position(|b| b == b'-')?;
    if !label[..dashes].contains("PRIVATE KEY") {
        return None;
    }
    let end = text.find("-----END ").and_then(|end| {
        let after = end + "-----END ".len();
        Some(after + text[after..].find("-----")? + 5)
    });
    Some(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_at(text: &str) -> usize {
        let mut scan = Scan::new(text, true);
        let _ = scan.mask();
        scan.looked_at
    }

    /// Pieces that begin what is looked for, end it late or never, or hold it apart.
    const PIECES: [&str; 26] = [
        "eyJ-",
        "eyJ.",
        "eyJ",
        "sk-",
        "sk-a.",
        "ghp_",
        "xox",
        "token=",
        "token=\"",
        "\"token\":x",
        "\"token\": \"",
        "\"a\": ",
        "\"   : ",
        "://",
        "://a@",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "Basic ",
        "Basic a/",
        "bearer=",
        "Bearer a/",
        "Bearer  ",
        "%3D",
        "a=",
        "v4.local.",
        "0aA1bB2cC3dD/",
    ];

    #[test]
    fn what_is_looked_at_grows_with_the_text_and_not_with_its_square() {
        /// Looks at each byte: as a place, in three runs, as a name, a value and a candidate.
        const MOST: usize = 12;
        for piece in PIECES {
            for other in PIECES {
                for size in [4_000, 64_000] {
                    let text = format!("{piece}{other}").repeat(size / (piece.len() + other.len()));
                    let looks = looked_at(&text);
                    assert!(looks <= MOST * text.len() + 1000, "{piece}{other}: {looks} looks at {} bytes", text.len());
                }
            }
        }
    }

    #[test]
    fn what_is_random_is_told_from_words_dates_and_hosts() {
        for random in [
            "0123456789abcdef0123456789abcdef",
            "aB3dE5gH7jK9mN1pQ3sT5vW7",
            "k3j9d8s7a6q5w4e3r2t1",
            "s3cr3tValue1234567890abcd3f9h",
            "550e8400-e29b-41d4-a716-446655440000",
            "dGhpc0lzQVNlY3JldDEyMzQ1Njc4OTA",
        ] {
            assert!(is_random(random), "{random}");
        }
        for plain in [
            "20241105T123456789Z",
            "claude-3-5-sonnet-20241022",
            "mcp-remote-v0-1-29-beta",
            "Inspector2.mcp-gateway-east1.example",
            "/var/log/mcp-echo/Server-2024/2024-11-05-LogFile.log",
            "ip-10-0-0-12.eu-central-1.compute.internal",
            "1732603637000000000000",
            "getServerSidePropsOfThePage",
            "MyApplication2024Version12",
            "application/vnd.github.v3+json",
            "2025-06-18.and.2024-11-05",
            "short1A2b3C",
        ] {
            assert!(!is_random(plain), "{plain}");
        }
    }

    #[test]
    fn every_known_prefix_is_masked_under_any_name() {
        for prefix in prefixes::PREFIXES {
            let token = format!("{}{}", prefix.start, "a1B2".repeat(prefix.at_least.div_ceil(4)));
            assert_ne!(mask(&token), token, "{}", prefix.start);
        }
    }
}
