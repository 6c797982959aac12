//! Values of a request in a sentence.

use serde_json::Value;

use super::redact;
use crate::text::shorten;

/// The longest value in a sentence, in characters.
const LONGEST: usize = 80;

/// A value in a sentence: secrets hidden, what is not printable escaped, shortened.
#[must_use]
pub fn quote(value: &str) -> String {
    format!("`{}`", shorten(&redact::value(value), LONGEST))
}

/// Several values in a sentence.
#[must_use]
pub fn quote_all<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    // Ten are enough to recognise a list by.
    const SHOWN: usize = 10;
    let mut quoted: Vec<String> = values.into_iter().map(quote).collect();
    if quoted.len() > SHOWN {
        let more = quoted.len() - SHOWN;
        quoted.truncate(SHOWN);
        quoted.push(format!("and {more} more"));
    }
    quoted.join(", ")
}

/// A claim or header parameter as evidence: strings without quotes, anything else as JSON.
#[must_use]
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
