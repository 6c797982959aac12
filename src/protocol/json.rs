//! JSON strings, written fast: most of what this server writes is text.

/// Appends `text` as a JSON string, quotes included, to the letter as serde_json writes it: what has to be escaped is
/// looked for in eight bytes at a time.
pub fn write_string(json: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    json.reserve(bytes.len() + 2);
    json.push(b'"');
    let mut written = 0;
    while let Some(plain) = first_escaped(&bytes[written..]) {
        let at = written + plain;
        json.extend_from_slice(&bytes[written..at]);
        escape(json, bytes[at]);
        written = at + 1;
    }
    json.extend_from_slice(&bytes[written..]);
    json.push(b'"');
}

/// Where the first byte is that cannot stand as it is: RFC 8259 section 7.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is zero, exact up to the first of them (Mycroft's test).
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = control | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(i * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let in_rest = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'));
    in_rest.map(|at| words.len() * 8 + at)
}

fn escape(json: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]);
            return json.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    };
    json.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut json = b"before:".to_vec();
        write_string(&mut json, text);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn every_character_is_written_as_serde_json_writes_it_wherever_it_stands() {
        for code in (0..0x300).chain([0x7ff, 0x800, 0x2028, 0xfffd, 0x1_0000, 0x10_ffff]) {
            let Some(character) = char::from_u32(code) else { continue };
            for before in 0..17 {
                let text = format!("{}{character}ü{character}{}", "x".repeat(before), "y".repeat(16 - before));
                assert_eq!(written(&text), format!("before:{}", serde_json::to_string(&text).unwrap()));
            }
        }
    }

    proptest! {
        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in any::<String>()) {
            prop_assert_eq!(written(&text), format!("before:{}", serde_json::to_string(&text).unwrap()));
        }
    }
}
