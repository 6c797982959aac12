//! printHeader: every header of the request, sorted by what it says, secrets redacted.

use serde::Serialize;

use super::{Annotations, Call, Context, Family, Handle, NoArguments, Outcome, Tool, ToolError};
use crate::diagnosis::headers::{Category, category, title_case};
use crate::diagnosis::proxies::proxies;
use crate::diagnosis::redact;
use crate::request::Request;
use crate::schema;
use crate::session::Working;

/// See the module's documentation.
pub(crate) const TOOL: Tool = Tool {
    name: "printHeader",
    title: "HTTP headers",
    description: "Shows every HTTP header that reached the server, by category (authentication, forwarding, standard, \
                  MCP, custom), repeated ones each, with statistics. Secrets are redacted. Use it to see what a proxy \
                  added, removed or changed.",
    input_schema: schema::no_arguments,
    output_schema: || schema::fill(OUTPUT, &[("lines", schema::parse(LINES))]),
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[Family::Credentials, Family::Presence, Family::IdentityHeaders, Family::Headers],
    call: |raw| Call::reading(raw, run),
};

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "headers": {
            "type": "object",
            "properties": {
                "authentication": "$lines",
                "forwarding": "$lines",
                "standard": "$lines",
                "mcp": "$lines",
                "custom": "$lines"
            },
            "required": ["authentication", "forwarding", "standard", "mcp", "custom"]
        },
        "statistics": {
            "type": "object",
            "properties": {
                "total": { "type": "integer", "minimum": 0 },
                "auth": { "type": "integer", "minimum": 0 },
                "custom": { "type": "integer", "minimum": 0 },
                "bytes": { "type": "integer", "minimum": 0 }
            },
            "required": ["total", "auth", "custom", "bytes"]
        }
    },
    "required": ["headers", "statistics"]
}"#;

/// A group of headers in [`OUTPUT`].
const LINES: &str = r#"{
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "value": { "type": "string", "description": "redacted where it is a secret" },
            "redacted": { "type": "boolean", "description": "whether the value is shown otherwise than as received" },
            "bytes": { "type": "integer", "minimum": 0, "description": "length of the value" }
        },
        "required": ["name", "value", "redacted", "bytes"]
    }
}"#;

#[derive(Serialize)]
struct HeaderListing {
    headers: Sections,
    statistics: Statistics,
}

#[derive(Serialize, Default)]
struct Sections {
    authentication: Vec<Line>,
    forwarding: Vec<Line>,
    standard: Vec<Line>,
    mcp: Vec<Line>,
    custom: Vec<Line>,
}

/// One header line.
#[derive(Serialize)]
struct Line {
    name: String,
    value: String,
    redacted: bool,
    bytes: usize,
}

#[derive(Serialize)]
struct Statistics {
    total: usize,
    auth: usize,
    custom: usize,
    /// As HTTP/1.1 sends them (RFC 9112 section 5): name, colon, space, value, CR, LF.
    bytes: usize,
}

fn run(context: &Context<'_>, _: Option<&Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let listing = listing(context.request);
    let mut details = format!("📏 Header Bytes: {}", listing.statistics.bytes);
    for proxy in proxies(&context.request.headers) {
        details += &format!("\n🛡️ Proxy: {} ({})", proxy.name(), proxy.evidence.join(", "));
    }
    Ok(Outcome::new(text(&listing), &listing).with(ALL_CLEAR, details))
}

const ALL_CLEAR: &str = "No problem found in the headers; not checked: what a token says (bearerDecode does)";

fn listing(request: &Request) -> HeaderListing {
    let mut sections = Sections::default();
    let mut bytes = 0;
    for (name, value) in &request.headers {
        bytes += name.as_str().len() + value.len() + 4;
        let shown = redact::header(name.as_str(), value);
        let line = Line {
            name: title_case(name.as_str()),
            redacted: shown.as_bytes() != value.as_bytes(),
            value: shown.into_owned(),
            bytes: value.len(),
        };
        sections.of(category(name.as_str())).push(line);
    }
    let statistics = Statistics {
        total: request.headers.len(),
        auth: sections.authentication.len(),
        custom: sections.custom.len(),
        bytes,
    };
    HeaderListing { headers: sections, statistics }
}

impl Sections {
    fn of(&mut self, category: Category) -> &mut Vec<Line> {
        match category {
            Category::Authentication => &mut self.authentication,
            Category::Forwarding => &mut self.forwarding,
            Category::Standard => &mut self.standard,
            Category::Mcp => &mut self.mcp,
            Category::Custom => &mut self.custom,
        }
    }
}

fn text(listing: &HeaderListing) -> String {
    let HeaderListing { headers, statistics } = listing;
    let sections = [
        ("🔐 Authentication Headers:", &headers.authentication),
        ("🔀 Forwarding Headers:", &headers.forwarding),
        ("🌐 Standard Headers:", &headers.standard),
        ("🔄 MCP Headers:", &headers.mcp),
        ("🧩 Custom Headers:", &headers.custom),
    ];
    let mut lines = vec!["📋 HTTP Headers Analysis".to_owned()];
    for (title, section) in sections.iter().filter(|(_, section)| !section.is_empty()) {
        lines.push(format!("\n{title}"));
        lines.extend(section.iter().map(|Line { name, value, .. }| format!("  {name}: {value}")));
    }
    let Statistics { total, auth, custom, .. } = statistics;
    lines.extend([
        "\n📊 Header Statistics:".to_owned(),
        format!("  Total headers: {total}"),
        format!("  Auth headers: {auth}"),
        format!("  Custom headers: {custom}"),
    ]);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::tools::fixture::{SESSION, call, request};

    fn print(given: &[(&str, &str)]) -> Outcome {
        call(&TOOL, &request(given), &Config::default(), &json!({})).unwrap()
    }

    #[test]
    fn headers_are_printed_as_the_sample_shows_them() {
        let outcome = print(&[
            ("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"),
            ("x-user-id", "12345"),
            ("x-user-name", "johndoe"),
            ("host", "mcp-echo.example.com"),
            ("user-agent", "MCP-Client/1.0"),
            ("mcp-session-id", SESSION),
            ("x-one", "1"),
            ("x-two", "2"),
        ]);
        let expected = "📋 HTTP Headers Analysis\n\n\
             🔐 Authentication Headers:\n  Authorization: Bearer eyJhbGc...\n  X-User-Id: 12345\n  \
             X-User-Name: johndoe\n\n\
             🌐 Standard Headers:\n  Host: mcp-echo.example.com\n  User-Agent: MCP-Client/1.0\n\n\
             🔄 MCP Headers:\n  Mcp-Session-Id: 550e8400...\n\n\
             🧩 Custom Headers:\n  X-One: 1\n  X-Two: 2\n\n\
             📊 Header Statistics:\n  Total headers: 8\n  Auth headers: 3\n  Custom headers: 2";
        assert!(outcome.text.starts_with(&format!("{expected}\n\n🩺 ")), "{}", outcome.text);
        assert_eq!(outcome.facts()["statistics"], json!({"total": 8, "auth": 3, "custom": 2, "bytes": 231}));
    }

    #[test]
    fn repeated_headers_stand_on_a_line_each_and_empty_sections_are_left_out() {
        let outcome = print(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]);
        assert!(
            outcome.text.contains("🔀 Forwarding Headers:\n  X-Forwarded-For: 10.0.0.1\n  X-Forwarded-For: 10.0.0.2\n")
        );
        assert!(!outcome.text.contains("🔐") && !outcome.text.contains("🧩"));
        assert_eq!(outcome.facts()["headers"]["custom"], json!([]));
    }

    #[test]
    fn no_header_can_forge_a_section() {
        let outcome = print(&[("x-note", "a\t🔐\u{2028}b")]);
        assert!(outcome.text.contains("X-Note: a\\t🔐\\u{2028}b"));
        assert_eq!(outcome.facts()["headers"]["custom"][0]["redacted"], true);
    }

    #[test]
    fn it_takes_no_arguments() {
        let refused = call(&TOOL, &request(&[]), &Config::default(), &json!({"all": true})).unwrap_err();
        assert_eq!(refused.to_string(), "`all` is unknown: this tool takes no arguments");
        assert!(
            print(&[]).text.contains("Total headers: 0\n  Auth headers: 0\n  Custom headers: 0\n\n🩺 No problem found")
        );
    }
}
