//! How things are written for people: one way for times, durations and sizes in every tool, and for a guess at a name.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde_json::Value;

/// `2024-01-01 12:00:00 UTC`.
#[must_use]
pub fn time(at: Timestamp) -> String {
    format!("{} UTC", to_the_second(Offset::UTC.to_datetime(at)))
}

/// `2024-01-01 12:00:00.123 UTC`.
#[must_use]
pub fn time_ms(at: Timestamp) -> String {
    let at = Offset::UTC.to_datetime(at);
    format!("{}.{:03} UTC", to_the_second(at), at.millisecond())
}

/// By hand: `strftime` brings patterns and time zones along, 40 KB of code.
fn to_the_second(at: DateTime) -> String {
    format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", at.year(), at.month(), at.day(), at.hour(), at.minute(), at.second())
}

/// Text without anything that could end a line, move a cursor, reorder what is read or hide in it: for everything that a
/// caller wrote and a person reads. Such characters come out as `\n`, `\u{1b}`, `\u{202e}`.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_but(text, is_unsafe)
}

/// The same for text of several lines: their ends stay.
#[must_use]
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_but(text, |c| c != '\n' && is_unsafe(c))
}

fn escape_but(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// [`escape_lines`] for every text in a JSON value, names of members included.
pub fn escape_json(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(escaped) = escape_lines(text) {
                *text = escaped;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(escape_json),
        Value::Object(members) => {
            if members.keys().any(|name| matches!(escape_lines(name), Cow::Owned(_))) {
                let escaped = |(name, value): (String, Value)| (escape_lines(&name).into_owned(), value);
                *members = std::mem::take(members).into_iter().map(escaped).collect();
            }
            members.values_mut().for_each(escape_json);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Control characters, line and paragraph separators, what reorders text (Unicode Standard Annex 9, section 2), what is not
/// seen (zero-width characters, soft hyphens, variation selectors of none, tags: Unicode Technical Standard 39 section 3.1)
/// and white space that looks like a space and is none.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{a0}' | '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// One word to a shell, whatever a caller put into it: `'it'\''s'`.
#[must_use]
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// RFC 3339 with milliseconds, for machines: `2024-01-01T12:00:00.123Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// `45s`, `5m 30s`, `2h 5m`, `3d 4h`: the two largest units that say something.
#[must_use]
pub fn duration(of: Duration) -> String {
    let s = of.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Bytes in the unit people read: `512B`, `12KB`, `256MB`, `3.1GB` (1 KB is 1024 bytes).
#[must_use]
pub fn bytes(n: u64) -> String {
    const KB: u64 = 1024;
    match n {
        0..KB => format!("{n}B"),
        KB..0x10_0000 => format!("{}KB", n.div_ceil(KB)),
        0x10_0000..0x4000_0000 => format!("{}MB", n / (KB * KB)),
        _ => {
            let tenths = n / (KB * KB * KB / 10);
            format!("{}.{}GB", tenths / 10, tenths % 10)
        }
    }
}

/// The first `max` characters of `text`, with `…` where something was cut.
#[must_use]
pub fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// `; did you mean NAME?` for the name among `known` that was probably meant: the same but for case and punctuation, or
/// one slip of the finger in every three characters, three at most. Empty when none is that near: a guess would be noise.
#[must_use]
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    const MOST_SLIPS: usize = 3;
    let plain = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
    };
    // Far longer than any known name: not worth comparing.
    let longest = known.iter().map(|known| known.len()).max().unwrap_or_default();
    if name.chars().count() > 2 * longest {
        return String::new();
    }
    let name = plain(name);
    let slips = |known: &&&str| strsim::damerau_levenshtein(&name, &plain(known));
    known
        .iter()
        .min_by_key(slips)
        .filter(|known| slips(known) <= (known.len() / 3).min(MOST_SLIPS))
        .map(|known| format!("; did you mean {known}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_written_as_the_samples_show() {
        assert_eq!(duration(Duration::from_secs(330)), "5m 30s");
        assert_eq!(duration(Duration::from_secs(45)), "45s");
        assert_eq!(duration(Duration::from_secs(7500)), "2h 5m");
        assert_eq!(bytes(12 * 1024), "12KB");
        assert_eq!(bytes(256 * 1024 * 1024), "256MB");
        assert_eq!(bytes(0), "0B");
    }

    #[test]
    fn a_quoted_text_is_one_word_to_a_shell() {
        assert_eq!(shell_quoted("https://a.example/mcp"), "'https://a.example/mcp'");
        assert_eq!(shell_quoted("/a';id"), r"'/a'\'';id'");
    }

    #[test]
    fn times_are_written_as_the_samples_show() {
        let at: Timestamp = "2018-01-18T01:30:22.5Z".parse().unwrap();
        assert_eq!(time(at), "2018-01-18 01:30:22 UTC");
        assert_eq!(time_ms(at), "2018-01-18 01:30:22.500 UTC");
        assert_eq!(rfc3339(at), "2018-01-18T01:30:22.500Z");
        let before_the_epoch = Timestamp::from_millisecond(-62_135_596_800_001).unwrap();
        assert_eq!(time(before_the_epoch), "0000-12-31 23:59:59 UTC");
        assert_eq!(time_ms(before_the_epoch), "0000-12-31 23:59:59.999 UTC");
    }

    #[test]
    fn a_name_is_guessed_when_it_is_near_enough() {
        let guess = |name: &str| did_you_mean(name, &["echo", "replayLastEcho", "whoIStheGOAT"]);
        for (name, meant) in [
            ("Echo", "echo"),
            ("ehco", "echo"),
            ("replay_last_echo", "replayLastEcho"),
            ("replayLsatEhco", "replayLastEcho"),
            ("WHOISTHEGOAT", "whoIStheGOAT"),
        ] {
            assert_eq!(guess(name), format!("; did you mean {meant}?"), "{name}");
        }
        for name in ["", "ping", "eh", "add", "weather", &"echo".repeat(1_000_000)] {
            assert_eq!(guess(name), "", "{}", shorten(name, 20));
        }
        assert_eq!(did_you_mean("x", &[]), "");
    }

    #[test]
    fn shortening_cuts_between_characters() {
        assert_eq!(shorten("grüße", 3), "grü…");
        assert_eq!(shorten("abc", 3), "abc");
    }
}
