//! The README is true: its tables name what the code has, its samples are what the tools say, its links lead somewhere.
//! The sessions that readers paste are run by `tests/readme/run`.

use std::collections::BTreeSet;
use std::path::Path;

use mcp_echo_stateful::config::{Accepts, AllowedHost, VARIABLES};
use mcp_echo_stateful::diagnosis::cors;
use mcp_echo_stateful::diagnosis::findings::Family;
use mcp_echo_stateful::protocol::Revision;
use mcp_echo_stateful::tools::TOOLS;
use regex::Regex;
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::server::{TestServer, tool_call};

const README: &str = include_str!("../../README.md");

/// The lines below a heading, up to the next heading that is not deeper.
fn section(heading: &str) -> Vec<&'static str> {
    let level = heading.chars().take_while(|c| *c == '#').count();
    let below = README.lines().skip_while(|line| *line != heading).skip(1);
    let lines: Vec<_> = below.take_while(|line| heading_level(line).is_none_or(|other| other > level)).collect();
    assert!(!lines.is_empty(), "the README has no section {heading:?}");
    lines
}

fn heading_level(line: &str) -> Option<usize> {
    let level = line.chars().take_while(|c| *c == '#').count();
    (level > 0 && line[level..].starts_with(' ')).then_some(level)
}

/// The cells of every table row of `lines`, heads and rules left out.
fn rows(lines: &[&'static str]) -> Vec<Vec<&'static str>> {
    let rule = |line: &str| line.starts_with("|--");
    let body = lines
        .iter()
        .enumerate()
        .filter(|(n, line)| line.starts_with('|') && !rule(line) && !lines.get(n + 1).is_some_and(|next| rule(next)));
    body.map(|(_, line)| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The text between fences of the language `language`.
fn fenced(lines: &[&'static str], language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| **line != "```").copied().collect();
        if fence == language {
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

fn code(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { format!("`{text}`") }
}

#[test]
fn the_configuration_table_names_every_variable_with_its_flag_and_default() {
    let rows = rows(&section("## Configuration"));
    let told: Vec<_> = rows.iter().map(|row| row[..3].join(" ")).collect();
    let known: Vec<_> = VARIABLES
        .iter()
        .map(|variable| {
            [code(variable.name), code(variable.flag.unwrap_or_default()), code(variable.default)].join(" ")
        })
        .collect();
    assert_eq!(told, known);
}

#[test]
fn the_configuration_table_names_the_values_that_are_accepted() {
    for (row, variable) in rows(&section("## Configuration")).iter().zip(VARIABLES) {
        let meaning = row[3];
        match variable.accepts {
            Accepts::Number { min, max, .. } => {
                assert!(meaning.contains(&format!("{min} to {max}")), "{}: {meaning}", variable.name);
            }
            Accepts::OneOf(words) => {
                assert!(words.iter().all(|word| meaning.contains(&code(word))), "{}: {meaning}", variable.name);
            }
            Accepts::Switch | Accepts::Text(_) => {}
        }
    }
}

#[test]
fn the_tools_section_names_the_tools_in_their_order() {
    let lines = section("## The eleven tools");
    let told: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("### ")).collect();
    let known: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
    assert_eq!(told, known);
}

#[test]
fn each_tool_has_a_row_for_each_argument() {
    for tool in TOOLS {
        let schema = (tool.input_schema)();
        let known: Vec<_> = schema["properties"].as_object().unwrap().keys().map(|name| code(name)).collect();
        let lines = section(&format!("### {}", tool.name));
        let told: Vec<_> = rows(&lines).iter().map(|row| row[0].to_owned()).collect();
        assert_eq!(told, known, "{}", tool.name);
        assert!(!known.is_empty() || lines.join(" ").contains("No arguments"), "{}", tool.name);
    }
}

/// The caller of the samples: a client behind Traefik with ForwardAuth. The token expired in 2018.
fn behind_forward_auth(request: RequestBuilder) -> RequestBuilder {
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IjIwMjYtMDEifQ.eyJpc3MiOiJodHRwczovL2F1dGguZXhhb\
        XBsZS5jb20iLCJzdWIiOiIxMjM0NSIsIm5hbWUiOiJKb2huIERvZSIsImF1ZCI6Imh0dHBzOi8vbWNwLWVjaG8tc3RhdGVmd\
        WwuZXhhbXBsZS5jb20iLCJjbGllbnRfaWQiOiJteS1jbGllbnQiLCJzY29wZSI6Im1jcDpyZWFkIiwianRpIjoiMSIsImlhd\
        CI6MTUxNjIzOTAyMiwiZXhwIjoxNTE2MjQyNjIyfQ.HWav-EGK0xxlrvdAidIbZK32P4jRGmOs9T6H0Bliq_Q9hs8YYarzPI\
        XOF2Cp8juEzRZfqPE6g8wVXqfwOYLLFF2m7ziByhNcpe43gMkSW6TtNn_IEVqj7DV-xxBZous0fcYPWKHqM3zFDleg6TJ7xA\
        1Wn-gxesMMVZ7nMHnCC1Sd5i94wQpTnOUud8AJUpvkLXa_CFGa4yx1vgdQmeIrdL0GT5jhKnO8BU6X4ClyuwRNlt8ocboDTJ\
        XeJ3C5AkuU3SZvuAFKk9wlbrcASZLbJG22_0iR2iNstf5HkNkia7T9Ro_YIWqz_EWO1yBpsvtEjdYfaLH6Q4zVHmew-UKL1A";
    request
        .header("host", "mcp-echo-stateful.example.com")
        .header("user-agent", "my-client/1.0")
        .bearer_auth(TOKEN)
        .header("x-auth-token", TOKEN)
        .header("x-user-id", "12345")
        .header("x-user-name", "johndoe")
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-forwarded-host", "mcp-echo-stateful.example.com")
        .header("x-forwarded-port", "443")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-server", "traefik")
        .header("x-real-ip", "203.0.113.7")
        .header("x-request-id", "req_abc123")
        .header("mcp-protocol-version", "2025-11-25")
}

/// A line without what differs from run to run: of `label: value` the label only, where the value has figures or rates them.
fn shape(line: &str) -> &str {
    match line.split_once(": ") {
        Some((label, value)) if value.contains(|c: char| c.is_ascii_digit() || c == '🟢') => label,
        _ => line,
    }
}

/// A line with `#` for each of its figures: an hour later, the token of the samples has expired an hour more ago.
fn without_figures(line: &str) -> String {
    Regex::new("[0-9]+").unwrap().replace_all(line, "#").into_owned()
}

#[tokio::test]
async fn the_samples_are_what_the_tools_say() {
    let server = TestServer::with(|config| {
        config.allowed_hosts.push(AllowedHost { host: "mcp-echo-stateful.example.com".to_owned(), port: None });
    })
    .await;
    let session = server.session_with("2025-11-25", behind_forward_auth).await;
    for tool in TOOLS {
        let lines = section(&format!("### {}", tool.name));
        let call: Value = serde_json::from_str(&fenced(&lines, "json")[0]).unwrap();
        assert_eq!(call["name"], tool.name);
        let request = behind_forward_auth(session.post(&tool_call(tool.name, &call["arguments"])));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let said = answer["result"]["content"][0]["text"].as_str().unwrap();
        let mut rest = said.lines();
        for told in fenced(&lines, "text")[0].lines().filter(|line| *line != "…") {
            assert!(
                rest.any(|line| without_figures(line).starts_with(&without_figures(shape(told)))),
                "{}: no {told:?} here, or not in this place:\n{said}",
                tool.name
            );
        }
    }
}

#[test]
fn the_revisions_table_names_the_revisions() {
    let lines = section("## Protocol revisions");
    let head = lines.iter().find(|line| line.starts_with('|')).unwrap();
    let told: Vec<_> = head.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(told, Revision::ALL.map(Revision::name));

    let features: [fn(Revision) -> bool; 8] = [
        |revision| !revision.is_stateless(),
        Revision::is_stateless,
        Revision::has_batch,
        Revision::has_annotations,
        Revision::has_titles,
        Revision::has_structured_content,
        Revision::answers_invalid_arguments_with_a_result,
        Revision::has_primed_streams,
    ];
    let rows = rows(&lines);
    assert_eq!(rows.len(), features.len());
    for (row, has) in rows.iter().zip(features) {
        let told: Vec<_> = row[1..].iter().map(|cell| *cell == "yes" || cell.starts_with("result")).collect();
        assert_eq!(told, Revision::ALL.map(has), "{}", row[0]);
    }
}

#[test]
fn the_endpoint_tables_name_every_status_and_error_code() {
    let text = section("## Endpoints and status codes").join("\n");
    let told: BTreeSet<&str> = text.split(|c: char| !(c.is_ascii_digit() || c == '-')).collect();
    let statuses = [200, 202, 204, 400, 403, 404, 405, 406, 408, 413, 415, 431, 500, 503];
    let codes = [-32700, -32600, -32601, -32602, -32603, -32020, -32022];
    for number in statuses.iter().chain(&codes) {
        assert!(told.contains(&*number.to_string()), "{number}");
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let anchors: BTreeSet<_> = text.lines().filter(|line| heading_level(line).is_some()).map(anchor).collect();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if let Some(wanted) = target.strip_prefix('#') {
                assert!(anchors.contains(wanted), "{document}: no heading for #{wanted}");
            } else if !target.contains("://") {
                assert!(root.join(target).exists(), "{document}: there is no {target}");
            }
        }
    }
}

/// The fragment that names a heading, as forges make it.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    title
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn the_table_of_symptoms_names_findings_that_its_tools_show() {
    let tools = Regex::new(r"\]\(#([a-z]+)\)").unwrap();
    let ids = Regex::new("`([a-z]+\\.[a-z0-9_]+)`").unwrap();
    let rules: BTreeSet<&str> = mcp_echo_stateful::diagnosis::findings::rules().map(|rule| rule.id).collect();
    let rows = rows(&section("### When something does not work"));
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        // A refused request explains itself: no tool is named.
        let tool = tools.captures(row[1]).map(|name| {
            TOOLS.iter().find(|tool| tool.name.to_lowercase() == name[1]).unwrap_or_else(|| panic!("{row:?}"))
        });
        let mut named = 0;
        for id in ids.captures_iter(row[2]).map(|id| id.get(1).unwrap().as_str()) {
            assert!(rules.contains(id), "there is no {id}: {row:?}");
            let family = Family::ALL.into_iter().find(|family| family.rules().any(|rule| rule.id == id)).unwrap();
            assert!(tool.is_none_or(|tool| tool.findings.contains(&family)), "the tool does not show {id}: {row:?}");
            named += 1;
        }
        assert!(named > 0, "no finding: {row:?}");
    }
}

/// The parts of a comma list, in lower case and alphabetical order.
fn names(list: &str) -> Vec<String> {
    let mut names: Vec<_> = list.split(',').map(|name| name.trim().to_lowercase()).collect();
    names.sort();
    names
}

#[test]
fn every_proxys_configuration_allows_and_exposes_what_the_servers_own_cors_does() {
    let compose = include_str!("../../docker-compose.yml");
    for (label, header, known) in [
        ("accesscontrolallowheaders=", "Access-Control-Allow-Headers", cors::ALLOW_HEADERS.join(",")),
        ("accesscontrolexposeheaders=", "Access-Control-Expose-Headers", cors::EXPOSE_HEADERS.join(",")),
        ("accesscontrolallowmethods=", "Access-Control-Allow-Methods", cors::ALLOW_METHODS.join(",")),
    ] {
        let known = names(&known);
        let told = compose.split_once(label).unwrap().1.split('"').next().unwrap();
        assert_eq!(names(told), known, "docker-compose.yml: {label}");
        for (heading, language) in [("### nginx", "nginx"), ("### Caddy", "caddyfile")] {
            let block = &fenced(&section(heading), language)[0];
            let told = block.split_once(&format!("{header} \"")).unwrap().1.split('"').next().unwrap();
            assert_eq!(names(told), known, "{heading}: {header}");
        }
    }
}

#[test]
fn the_findings_table_names_every_rule() {
    let expected: Vec<String> = mcp_echo_stateful::diagnosis::findings::rules()
        .map(|rule| {
            format!(
                "| `{}` | {} | {} | {} | {} |",
                rule.id,
                rule.severity.name(),
                rule.meaning,
                rule.fix.replace('|', "\\|"),
                rule.reference
            )
        })
        .collect();
    let lines = section("## Reading the findings");
    let found: Vec<&str> = lines.iter().filter(|line| line.starts_with("| `")).copied().collect();
    assert_eq!(found, expected, "the table should read:\n{}", expected.join("\n"));
}
