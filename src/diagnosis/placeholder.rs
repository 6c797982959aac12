//! What stands where a value should: empty variables, templates of every client's syntax, masks, previews.
//!
//! The forms are those that public reports show: opencode `{env:X}`, VS Code `${input:x}` and `${env:X}`, Claude Code,
//! Cursor, Zed and others `${X}`, shells `$X` and `$(cat x)`, PowerShell `$env:X`, cmd `%X%`, Postman and GitHub Actions
//! `{{X}}`, code that was copied (`process.env.X`), the examples of pages (`<YOUR_TOKEN>`).

use super::prefixes;

/// What stands where a value should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `undefined`, `null`: what code writes when its variable is empty.
    EmptyVariable,
    /// `[object Promise]`: an object of a program, as text.
    Object,
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
            Self::Object => (
                "the text of a program's object was sent instead of a token",
                "the client wrote an object into the header: await the promise, call the function, and take the token out of \
                 what it gives",
            ),
            Self::Template => (
                "a template's placeholder was sent instead of a token",
                "nothing replaced the placeholder: check that the variable is set where the client starts, and that this is \
                 the syntax of this client and of this field (opencode {env:X}; VS Code ${input:x} and ${env:X}; Claude Code \
                 ${X}; a shell $X, with quotes that let it expand; Windows %X% or $env:X)",
            ),
            Self::Mask => (
                "this is what a log, a page or a tool shows instead of a token",
                "copy the token where it is issued or sent, not from a log or an example",
            ),
            Self::Preview => (
                "this is a shortened preview of a token: its middle is missing",
                "copy the whole token where it is issued or sent, not from a display that shortens it",
            ),
        }
    }
}

/// The longest text that is looked at as a whole: placeholders are short, and tokens that are longer are none.
const LONGEST: usize = 128;

/// How far a text is looked through for a template: a header's value that has one is short.
const LOOKED_AT: usize = 4096;

/// Recognises a text, found where a credential belongs, that only stands for one.
#[must_use]
pub fn placeholder(text: &str) -> Option<Placeholder> {
    let text = text.trim();
    whole(text).or_else(|| anywhere(text).map(|_| Placeholder::Template)).or_else(|| {
        // Three dots in the middle are no separators: the authContext tool of this server writes previews like that.
        let preview = text.contains('…') || (text.len() <= LONGEST && text.contains("...") && !text.starts_with('{'));
        preview.then_some(Placeholder::Preview)
    })
}

/// What of a text that [`placeholder`] recognises may be shown: all of it, or the template in it.
#[must_use]
pub fn shown(text: &str) -> &str {
    let text = text.trim();
    if may_be_shown(text) {
        text
    } else {
        anywhere(text).map_or("", |found| found.split([':', ',']).next().unwrap_or(found))
    }
}

/// The part of a value that nobody but an unexpanded template or an object's text can be, whatever the value is for.
#[must_use]
pub fn unmistakable(text: &str) -> Option<(&str, Placeholder)> {
    let text = text.trim();
    if text == "undefined" {
        return Some((text, Placeholder::EmptyVariable));
    }
    if is_object(text) {
        return Some((text, Placeholder::Object));
    }
    anywhere(text).map(|found| (found, Placeholder::Template))
}

/// Whether all of `text` is a placeholder and nothing in it can be a secret, so that it may be shown: no default value
/// (`${X:-value}`, `getenv("X", "value")`), and no preview.
#[must_use]
pub fn may_be_shown(text: &str) -> bool {
    let text = text.trim();
    if text.len() > LONGEST || text.split(|c: char| !c.is_alphanumeric()).any(is_no_word) {
        return false;
    }
    let holds_value = [":-", ":=", ":+", ":?", ",", "="].iter().any(|mark| text.contains(mark));
    let shown = |found: &str| found.len() == text.len() && !holds_value;
    whole(text).is_some() || anywhere(text).is_some_and(shown)
}

/// Whether a run of letters and digits is no name and no word of one: longer, or of all kinds of characters.
fn is_no_word(run: &str) -> bool {
    let has = |is: fn(&u8) -> bool| run.bytes().any(|b| is(&b));
    let is_mixed = || has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    run.len() > 32 || run.len() >= 16 && is_mixed()
}

/// What all of a short text is.
fn whole(text: &str) -> Option<Placeholder> {
    const EMPTY_VARIABLES: [&str; 14] = [
        "undefined",
        "null",
        "none",
        "nil",
        "nan",
        "false",
        "true",
        "(null)",
        "(none)",
        "<nil>",
        "<null>",
        "<none>",
        "\\0",
        "null null",
    ];
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    if EMPTY_VARIABLES.contains(&lower.as_str()) {
        return Some(Placeholder::EmptyVariable);
    }
    if is_object(text) {
        return Some(Placeholder::Object);
    }
    let bare = prefixes::of(text).map_or(text, |prefix| &text[prefix.start.len()..]);
    // With nothing beside it that could be the secret: words, and what parts them.
    let is_words = !text.bytes().any(|b| b.is_ascii_digit())
        && text.split(|c: char| !c.is_alphanumeric()).all(|word| word.len() <= 16);
    if is_mask(bare) || is_words && ["redacted", "masked", "hidden"].iter().any(|word| lower.contains(word)) {
        return Some(Placeholder::Mask);
    }
    let is_name = |name: &str, first: fn(&u8) -> bool| {
        name.as_bytes().first().is_some_and(first) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let within = |open: &str, close: &str| text.strip_prefix(open)?.strip_suffix(close);
    let variable =
        |rest: Option<&str>| rest.is_some_and(|name| is_name(name, |b| b.is_ascii_alphabetic() || *b == b'_'));
    let constant = |rest: Option<&str>| {
        rest.is_some_and(|name| is_name(name, u8::is_ascii_uppercase) && !name.bytes().any(|b| b.is_ascii_lowercase()))
    };
    let template = within("<", ">").is_some_and(|inner| !inner.is_empty())
        || within("{", "}").is_some_and(|inner| !inner.contains(['"', ':', '{']))
        || variable(text.strip_prefix('$'))
        || variable(text.strip_prefix(':'))
        || constant(within("%", "%"))
        || constant(within("@@", "@@"))
        || constant(within("__", "__"))
        || variable(within("%(", ")s"))
        || text == "%s"
        || ["env.", "env:", "ENV:", "secrets.", "vars.", "inputs.", "@env:", "@env."]
            .iter()
            .any(|before| variable(text.strip_prefix(before)))
        || text == "@env"
        || ["op://", "!secret ", "vault:", "keychain:", "arn:aws:secretsmanager:", "&lt;"]
            .iter()
            .any(|before| text.starts_with(before))
        || are_example_words(bare)
        || ["[]", "()"].iter().any(|pair| within(&pair[..1], &pair[1..]).is_some_and(are_example_words));
    template.then_some(Placeholder::Template)
}

/// `***`, `xxxx`, `•••`: with a token's prefix in front or without.
fn is_mask(text: &str) -> bool {
    let mask = |c: char| matches!(c, '*' | '•' | '●' | '█' | 'x' | 'X' | '.' | '-' | '_' | '…');
    text.chars().all(mask) && text.chars().any(|c| c != '.' && c != '-' && c != '_')
}

/// What JavaScript and Python write for an object.
fn is_object(text: &str) -> bool {
    const BEGINNINGS: [&str; 12] = [
        "[object ",
        "[object]",
        "[function",
        "[class ",
        "promise {",
        "<promise",
        "<coroutine ",
        "<function ",
        "<bound method ",
        "<generator ",
        "function(",
        "function (",
    ];
    let beginning = text.get(..text.len().min(20)).unwrap_or_default().to_ascii_lowercase();
    BEGINNINGS.iter().any(|known| beginning.starts_with(known)) || beginning.starts_with("() =>")
}

/// Words that say what should stand here: `YOUR_API_KEY`, `paste-token-here`, `changeme`, or the name of a variable
/// without its sign (`GITHUB_TOKEN`).
fn are_example_words(text: &str) -> bool {
    const ASKING: [&str; 14] = [
        "your", "my", "insert", "replace", "paste", "enter", "put", "add", "change", "example", "sample", "dummy",
        "fake", "some",
    ];
    const MEANT: [&str; 18] = [
        "token",
        "jwt",
        "key",
        "apikey",
        "secret",
        "password",
        "pat",
        "bearer",
        "credential",
        "credentials",
        "auth",
        "me",
        "here",
        "value",
        "access",
        "api",
        "authorization",
        "oauth",
    ];
    const ALONE: [&str; 20] = [
        "token",
        "jwt",
        "accesstoken",
        "idtoken",
        "bearertoken",
        "authtoken",
        "apitoken",
        "apikey",
        "secretkey",
        "mytoken",
        "yourtoken",
        "yourapikey",
        "yourkey",
        "changeme",
        "replaceme",
        "placeholder",
        "todo",
        "fixme",
        "tbd",
        "personalaccesstoken",
    ];
    /// Letters of the longest of them.
    const MOST: usize = 64;
    let separator = |c: char| matches!(c, '_' | '-' | ' ' | '.' | '<' | '>');
    if text.len() > MOST || !text.chars().all(|c| c.is_ascii_alphabetic() || separator(c)) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(separator).filter(|word| !word.is_empty()).collect();
    let [first, others @ ..] = &words[..] else { return false };
    let is_name = text.contains('_') && !text.bytes().any(|b| b.is_ascii_lowercase());
    let ends_as_secret = || words.last().is_some_and(|last| MEANT[..11].contains(last));
    ALONE.contains(&words.concat().as_str())
        || (ASKING.contains(first) && others.iter().any(|word| MEANT.contains(word)))
        || (is_name && !others.is_empty() && ends_as_secret())
        || others.last().is_some_and(|last| *last == "here")
}

/// The first template in a text: nothing else is written so.
fn anywhere(text: &str) -> Option<&str> {
    /// Between brackets: a path or an expression fits, a document does not.
    const LONGEST_INSIDE: usize = 100;
    const CODE: [&str; 12] = [
        "process.env.",
        "process.env[",
        "import.meta.env",
        "os.environ",
        "os.getenv(",
        "Deno.env.",
        "Bun.env.",
        "System.getenv(",
        "Environment.GetEnvironmentVariable(",
        "@Microsoft.KeyVault(",
        "ENV[",
        "getenv(",
    ];
    let enclosed = |at: usize, open: &str, close: &str| {
        let rest = text[at..].strip_prefix(open)?;
        let length = rest.bytes().take(LONGEST_INSIDE).position(|b| b == close.as_bytes()[0])?;
        (length > 0 && rest[length..].starts_with(close)).then(|| &text[at..at + open.len() + length + close.len()])
    };
    let name = |at: usize| {
        let length =
            text[at..].bytes().take(LONGEST_INSIDE).take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        &text[at..at + length]
    };
    text.bytes().take(LOOKED_AT).enumerate().find_map(|(at, byte)| match byte {
        b'$' => {
            let variable =
                text[at..].strip_prefix("$env:").map(|_| at + 5).filter(|name_at| !name(*name_at).is_empty());
            let shell = || {
                // `$5` is a price, and `$2a$` the beginning of a hash.
                let word = name(at + 1);
                let constant = word.len() >= 3 && word.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
                (constant && !word.bytes().any(|b| b.is_ascii_lowercase())).then(|| &text[at..=at + word.len()])
            };
            enclosed(at, "${{", "}}")
                .or_else(|| enclosed(at, "${", "}"))
                .or_else(|| enclosed(at, "$(", ")"))
                .or_else(|| variable.map(|name_at| &text[at..name_at + name(name_at).len()]))
                .or_else(shell)
        }
        b'#' => enclosed(at, "#{", "}"),
        b'{' => {
            let kind = name(at + 1);
            let known = ["env", "file", "input", "secret", "secrets", "var", "vault", "cmd"]
                .contains(&&*kind.to_ascii_lowercase())
                && text[at + 1 + kind.len()..].starts_with(':');
            enclosed(at, "{{", "}}").or_else(|| known.then(|| enclosed(at, "{", "}")).flatten())
        }
        b'[' if text[at..].starts_with("[object ") => enclosed(at, "[", "]"),
        b'p' | b'i' | b'o' | b'D' | b'B' | b'S' | b'E' | b'@' | b'g' => {
            let starts = at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric();
            let code = CODE.iter().find(|code| starts && text[at..].starts_with(**code))?;
            let rest = &text[at + code.len()..];
            let length = rest.bytes().take(LONGEST_INSIDE).take_while(|b| !b.is_ascii_whitespace()).count();
            text.get(at..at + code.len() + length)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_every_client_are_known() {
        for text in [
            "{env:MY_TOKEN}",
            "{file:~/.token}",
            "$env:X",
            "${env:X}",
            "${input:api-key}",
            "${X}",
            "${X:-default}",
            "$X",
            "$TOKEN",
            "%TOKEN%",
            "%ACCESS_TOKEN%",
            "{{X}}",
            "{{ secrets.X }}",
            "${{ secrets.X }}",
            "<token>",
            "<YOUR_TOKEN>",
            "<your token here>",
            "YOUR_API_KEY",
            "your-token-here",
            "your_access_token",
            "process.env.TOKEN",
            "process.env['X']",
            "os.environ[\"X\"]",
            "os.environ.get('X')",
            "os.getenv('X')",
            "import.meta.env.VITE_TOKEN",
            "$(cat x)",
            "@env",
            "env.X",
            "env:TOKEN",
            "secrets.TOKEN",
            "REPLACE_ME",
            "changeme",
            "GITHUB_TOKEN",
            "MY_SERVICE_API_KEY",
            "#{TOKEN}",
            "@@TOKEN@@",
            "__TOKEN__",
            "op://vault/item/field",
            "!secret token",
            "{token}",
            "{0}",
            "%s",
            "%(token)s",
            ":token",
            "[YOUR_TOKEN]",
            "sk-your-api-key",
            "ghp_your_token_here",
            "prefix-${X}",
            "token",
            "Deno.env.get(\"X\")",
        ] {
            assert_eq!(placeholder(text), Some(Placeholder::Template), "{text}");
        }
        for (text, kind) in [
            ("undefined", Placeholder::EmptyVariable),
            ("null", Placeholder::EmptyVariable),
            ("None", Placeholder::EmptyVariable),
            ("[object Object]", Placeholder::Object),
            ("[object Promise]", Placeholder::Object),
            ("Promise { <pending> }", Placeholder::Object),
            ("<coroutine object get_token at 0x7f31>", Placeholder::Object),
            ("xxx", Placeholder::Mask),
            ("ghp_xxxxxxxxxxxxxxxx", Placeholder::Mask),
            ("sk-xxxx-xxxx", Placeholder::Mask),
            ("********", Placeholder::Mask),
            ("[REDACTED]", Placeholder::Mask),
            ("eyJhbG...AbC123", Placeholder::Preview),
        ] {
            assert_eq!(placeholder(text), Some(kind), "{text}");
        }
    }

    #[test]
    fn tokens_are_no_placeholders() {
        for text in [
            "",
            "s3cr3tValue1234567890abcdef",
            "YOURgEnvsbJkUZh9Kq2",
            "abcdefghijklmnop",
            "sk-1234",
            "your",
            "key",
            "$2a$10$N9qo8uLOickgx2ZMRZoMye",
            "price-$5",
            "550e8400-e29b-41d4-a716-446655440000",
            "dXNlcjpwYXNz",
            "a.b.c",
            "{\"alg\":\"none\"}",
            "test",
            "secret-of-mine",
            "env_8sdf7sdf",
            "process-environment",
            "tokenizer",
            "HELLO_WORLD",
            "getenvironment",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }

    #[test]
    fn in_any_header_only_the_unmistakable_counts() {
        for (text, found) in [
            ("Bearer {env:X}", Some("{env:X}")),
            ("a=1; token=${TOKEN}; b=2", Some("${TOKEN}")),
            ("undefined", Some("undefined")),
            ("{env:MY_PROJECT_ID}", Some("{env:MY_PROJECT_ID}")),
            ("https://x/?key=$API_KEY", Some("$API_KEY")),
            ("null", None),
            ("true", None),
            ("xxx", None),
            ("<a@b.example>", None),
            ("{\"scheme\":\"https\"}", None),
            ("{\"a\":{\"b\":{}}}", None),
            ("cost $5 (US$)", None),
            ("for=\"[2001:db8::1]\";proto=https", None),
            ("token", None),
        ] {
            assert_eq!(unmistakable(text).map(|(found, _)| found), found, "{text}");
        }
    }

    #[test]
    fn what_may_hold_a_value_is_not_shown() {
        for (text, shown) in [
            ("${TOKEN}", true),
            ("undefined", true),
            ("YOUR_TOKEN", true),
            ("${TOKEN:-s3cret}", false),
            ("os.getenv('X', 's3cret')", false),
            ("abc-${TOKEN}", false),
            ("eyJhbG...AbC123", false),
        ] {
            assert_eq!(may_be_shown(text), shown, "{text}");
        }
    }

    #[test]
    fn a_word_for_a_mask_beside_a_secret_is_none() {
        for mask in ["<redacted>", "[MASKED]", "token-hidden", "(redacted by policy)"] {
            assert!(may_be_shown(mask), "{mask}");
        }
        for secret in [
            "op://vault/x.c2lnbmF0dXJlLXRoYXQ",
            "op://a/aB3dE5gH7jK9mN1p",
            "Bmasked.c2lnbmF0dXJl",
            "masked.abcdefghijklmnopqrstuvwxyz",
            "hidden1",
            "redacted:4711",
        ] {
            assert!(!may_be_shown(secret), "{secret}");
        }
    }
}
