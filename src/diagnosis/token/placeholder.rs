//! What stands where a token should: empty variables, templates, masks, previews.

/// What stands where a token should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `undefined`, `null`, `[object Object]`: what code writes when its variable is empty.
    EmptyVariable,
    /// `${TOKEN}`, `{{token}}`, `<token>`: a template nobody filled in.
    Template,
    /// `***`, `[REDACTED]`: a log's mask.
    Mask,
    /// `eyJhbG...AbC123`: a preview.
    Preview,
}

impl Placeholder {
    /// Why it is there and what to do.
    #[must_use]
    pub const fn advice(self) -> (&'static str, &'static str) {
        match self {
            Self::EmptyVariable => (
                "the text of an empty variable was sent instead of a token",
                "the client built the header before it had a token: log in first, and check where the variable is set",
            ),
            Self::Template => (
                "a template's placeholder was sent instead of a token",
                "nothing replaced the placeholder: check that the variable is set and that the quotes let it expand \
                 (single quotes do not, in a shell)",
            ),
            Self::Mask => (
                "this is what a log or a tool shows instead of a token",
                "copy the token where it is issued or sent, not from a log",
            ),
            Self::Preview => (
                "this is a shortened preview of a token: its middle is missing",
                "copy the whole token where it is issued or sent, not from a display that shortens it",
            ),
        }
    }
}

/// Recognises a text that only stands for a token.
pub(super) fn placeholder(text: &str) -> Option<Placeholder> {
    const EMPTY_VARIABLES: [&str; 13] = [
        "undefined",
        "null",
        "none",
        "nil",
        "nan",
        "false",
        "true",
        "[object object]",
        "[object promise]",
        "[object]",
        "(null)",
        "<nil>",
        "\\0",
    ];
    const TEMPLATES: [&str; 12] = [
        "token",
        "jwt",
        "access_token",
        "accesstoken",
        "your_token",
        "your-token",
        "yourtoken",
        "your_token_here",
        "your-token-here",
        "your_access_token",
        "mytoken",
        "my_token",
    ];
    let lower = text.get(..text.len().min(64)).unwrap_or_default().to_ascii_lowercase();
    let whole = text.len() <= 64;
    let enclosed = |open: &str, close: &str| text.len() > open.len() && text.starts_with(open) && text.ends_with(close);
    if whole && EMPTY_VARIABLES.contains(&lower.as_str()) {
        return Some(Placeholder::EmptyVariable);
    }
    let mask = |c: char| matches!(c, '*' | '•' | '●' | '█' | 'x' | 'X' | '.' | '-' | '_' | '…');
    if !text.is_empty() && text.chars().all(mask) && text.chars().any(|c| c != '.' && c != '-' && c != '_') {
        return Some(Placeholder::Mask);
    }
    if whole && (lower.contains("redacted") || lower.contains("masked") || lower.contains("hidden")) {
        return Some(Placeholder::Mask);
    }
    let variable =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if whole
        && (TEMPLATES.contains(&lower.as_str())
            || enclosed("<", ">")
            || enclosed("${", "}")
            || enclosed("$(", ")")
            || enclosed("{{", "}}")
            || (enclosed("{", "}") && !text.contains(['"', ':']) && text.len() > 2)
            || (enclosed("%", "%") && variable(text.trim_matches('%')))
            || text.strip_prefix('$').is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')))
    {
        return Some(Placeholder::Template);
    }
    // Three dots in the middle are no separators: the authContext tool of this server writes previews like that.
    (text.contains('…') || (text.len() <= 128 && text.contains("...") && !text.starts_with('{')))
        .then_some(Placeholder::Preview)
}
