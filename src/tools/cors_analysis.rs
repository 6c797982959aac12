//! corsAnalysis: what a browser would make of this request, or of one that the arguments describe.

use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};

use super::{Annotations, Call, Context, Family, Handle, Outcome, Tool, ToolError};
use crate::diagnosis::cors::{self, Attempt, Class, NEEDS, Policy};
use crate::diagnosis::findings::{self, Finding};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::proxies::proxies;
use crate::diagnosis::{products, redact};
use crate::schema;
use crate::session::Working;
use crate::text::shell_quoted;

/// See the module's documentation.
pub(crate) const TOOL: Tool = Tool {
    name: "corsAnalysis",
    title: "CORS analysis",
    description: "Says what kind of request this is to a browser, whether a preflight comes first and why, and plays \
                  it through against this server's own CORS policy, with pass or fail for each point. Give origin, \
                  method and headers to simulate another request. Use it when a browser client fails where curl works.",
    input_schema: || schema::parse(INPUT),
    output_schema: || schema::parse(OUTPUT),
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[Family::Cors],
    call: |raw| Call::reading(raw, run),
};

/// The most header names that are simulated: a request has fewer, and each one costs a line.
const MAX_HEADERS: usize = 64;

/// The longest origin, method or header name that is looked at.
const MAX_LENGTH: usize = 256;

const INPUT: &str = r#"{
    "type": "object",
    "properties": {
        "origin": {
            "type": "string",
            "description": "Origin to simulate, such as https://app.example. Default: this request's."
        },
        "method": {"type": "string", "description": "HTTP method to simulate. Default: this request's."},
        "headers": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names of the headers that the script sets. Default: those of this request."
        }
    },
    "additionalProperties": false
}"#;

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "simulated": {"type": "boolean", "description": "whether an argument replaced a part of the request"},
        "request": {
            "type": "object",
            "properties": {
                "origin": {"type": ["string", "null"]},
                "ownOrigin": {"type": ["string", "null"]},
                "method": {"type": "string"},
                "headers": {"type": "array", "items": {"type": "string"}},
                "class": {"type": "string"},
                "fetchSite": {"type": ["string", "null"]},
                "fetchMode": {"type": ["string", "null"]}
            },
            "required": ["origin", "ownOrigin", "method", "headers", "class", "fetchSite", "fetchMode"]
        },
        "preflight": {
            "type": "object",
            "properties": {"needed": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "string"}}},
            "required": ["needed", "reasons"]
        },
        "preflightsSeen": {
            "type": "integer",
            "minimum": 0,
            "description": "preflights that reached this server from this client's address and User-Agent"
        },
        "policy": {
            "type": "object",
            "properties": {
                "setBy": {"type": "string", "enum": ["server", "proxy", "nobody"]},
                "setting": {"type": "string", "description": "what MCP_CORS_ORIGINS is set to"},
                "origins": {"type": "string"},
                "allowMethods": {"type": "array", "items": {"type": "string"}},
                "allowHeaders": {"type": "array", "items": {"type": "string"}},
                "exposeHeaders": {"type": "array", "items": {"type": "string"}},
                "maxAgeSeconds": {"type": "integer"},
                "credentials": {"type": "boolean"}
            },
            "required": [
                "setBy", "setting", "origins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAgeSeconds", "credentials"
            ]
        },
        "tryPreflight": {
            "type": ["string", "null"],
            "description": "the preflight as a curl command, to see what answers it out there; null where none is needed"
        },
        "mustComeBack": {
            "type": "array",
            "items": {"type": "string"},
            "description": "what the answer to that command must be like"
        },
        "points": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "verdict": {"type": "string", "enum": ["pass", "fail", "note"]},
                    "summary": {"type": "string"},
                    "fix": {"type": ["string", "null"]}
                },
                "required": ["id", "verdict", "summary", "fix"]
            }
        },
        "needs": {
            "type": "array",
            "description": "what each protocol revision needs of whoever sets CORS",
            "items": {
                "type": "object",
                "properties": {
                    "revision": {"type": "string"},
                    "current": {"type": "boolean"},
                    "methods": {"type": "array", "items": {"type": "string"}},
                    "headers": {"type": "array", "items": {"type": "string"}},
                    "exposed": {"type": "array", "items": {"type": "string"}}
                },
                "required": ["revision", "current", "methods", "headers", "exposed"]
            }
        }
    },
    "required": ["simulated", "request", "preflight", "policy", "points", "needs", "preflightsSeen", "tryPreflight", "mustComeBack"]
}"#;

#[derive(Serialize)]
struct Analysis {
    simulated: bool,
    #[serde(rename = "preflightsSeen")]
    preflights_seen: u32,
    #[serde(skip)]
    behind_proxy: bool,
    #[serde(skip)]
    handle_header: bool,
    /// The preflight as a command, whoever answers it out there.
    #[serde(rename = "tryPreflight")]
    try_preflight: Option<String>,
    #[serde(rename = "mustComeBack")]
    must_come_back: Vec<String>,
    request: ShownRequest,
    preflight: Preflight,
    policy: ShownPolicy,
    points: Vec<Point>,
    needs: Vec<Needs>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownRequest {
    origin: Option<String>,
    own_origin: Option<String>,
    method: String,
    headers: Vec<String>,
    class: &'static str,
    #[serde(skip)]
    meaning: &'static str,
    fetch_site: Option<String>,
    fetch_mode: Option<String>,
}

#[derive(Serialize)]
struct Preflight {
    needed: bool,
    reasons: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownPolicy {
    set_by: &'static str,
    setting: String,
    origins: &'static str,
    allow_methods: &'static [&'static str],
    allow_headers: &'static [&'static str],
    expose_headers: &'static [&'static str],
    max_age_seconds: u32,
    credentials: bool,
}

#[derive(Serialize)]
struct Point {
    id: &'static str,
    verdict: &'static str,
    #[serde(skip)]
    sign: &'static str,
    summary: String,
    fix: Option<String>,
    #[serde(skip)]
    follows: bool,
}

#[derive(Serialize)]
struct Needs {
    revision: &'static str,
    current: bool,
    methods: &'static [&'static str],
    headers: &'static [&'static str],
    exposed: &'static [&'static str],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arguments {
    origin: Option<String>,
    method: Option<String>,
    headers: Option<Vec<String>>,
}

fn run(context: &Context<'_>, session: Option<&Working<'_>>, arguments: &Arguments) -> Result<Outcome, ToolError> {
    let analysis = analyse(context, arguments)?;
    let found = if analysis.simulated {
        // The request itself is judged by its family; this one was only described.
        let attempt = Attempt {
            origin: analysis.request.origin.as_deref(),
            own_origin: analysis.request.own_origin.as_deref(),
            method: &analysis.request.method,
            headers: analysis.request.headers.iter().map(String::as_str).collect(),
            behind_proxy: analysis.behind_proxy,
        };
        findings::cors::of_attempt(&attempt, context.revision, &context.server.config)
    } else {
        findings::find(&context.facts(session), TOOL.findings)
    };
    let all_clear = if analysis.request.origin.is_none() {
        "No Origin, so no browser's script: CORS does not apply; give origin to play one through"
    } else if analysis.try_preflight.is_some() {
        "No problem found in what this server makes of the Origin; not checked: what a proxy in front answers, which the \
         curl below shows"
    } else {
        "No problem found in what this server makes of the Origin; not checked: what a proxy in front answers"
    };
    let mut outcome = Outcome::new(text(&analysis), &analysis).with(all_clear, details(&analysis, &found));
    outcome.findings = Some(found);
    Ok(outcome)
}

fn analyse(context: &Context<'_>, arguments: &Arguments) -> Result<Analysis, ToolError> {
    let Context { request, revision, server, .. } = context;
    let config = &*server.config;
    check(arguments)?;
    let safe = |text: &str| redact::value(text).into_owned();
    let given = arguments.origin.as_deref().map(str::trim);
    let origin = given.or_else(|| request.header("origin")).map(safe);
    let method = arguments.method.as_deref().map_or_else(|| request.method.to_string(), str::to_ascii_uppercase);
    let headers: Vec<String> = if let Some(names) = &arguments.headers {
        names.iter().map(|name| name.trim().to_owned()).collect()
    } else {
        let names = request.headers.keys().map(HeaderName::as_str).filter(|name| cors::is_by_script(name));
        let mut names: Vec<String> = names.map(title_case).collect();
        // The map's own order is nobody's.
        names.sort_unstable();
        names
    };
    let own_origin = cors::own_origin(&request.headers, &request.uri);
    let behind_proxy = !proxies(&request.headers).is_empty() || !products::seen(&request.headers).is_empty();
    let needs = cors::needs(*revision);
    let attempt = Attempt {
        origin: origin.as_deref(),
        own_origin: own_origin.as_deref(),
        method: &method,
        headers: headers.iter().map(String::as_str).collect(),
        behind_proxy,
    };
    let class = Class::of(attempt.origin, attempt.own_origin);
    let reasons = if class.needs_cors() { cors::preflight_reasons(&method, &attempt.headers) } else { Vec::new() };
    let points = cors::simulate(&attempt, needs, config);
    let policy = Policy::of(config);
    let on = policy != Policy::Off;
    let preflights_seen = server.clients.seen(server.client(request)).preflights;
    let url = context.facts(None).public_url().url();
    let try_preflight = url.filter(|_| !reasons.is_empty()).map(|url| preflight_command(&safe(&url), &attempt));
    let must_come_back = if try_preflight.is_some() { must_come_back(&attempt, needs) } else { Vec::new() };
    Ok(Analysis {
        preflights_seen,
        must_come_back,
        try_preflight,
        behind_proxy,
        handle_header: config.handle_header && revision.is_stateless(),
        simulated: arguments.origin.is_some() || arguments.method.is_some() || arguments.headers.is_some(),
        preflight: Preflight { needed: !reasons.is_empty(), reasons },
        policy: ShownPolicy {
            set_by: match (on, behind_proxy) {
                (true, _) => "server",
                (false, true) => "proxy",
                (false, false) => "nobody",
            },
            setting: redact::value(&Policy::setting(config)).into_owned(),
            origins: policy.name(),
            allow_methods: if on { &cors::ALLOW_METHODS } else { &[] },
            allow_headers: if on { &cors::ALLOW_HEADERS } else { &[] },
            expose_headers: if on { &cors::EXPOSE_HEADERS } else { &[] },
            max_age_seconds: if on { cors::MAX_AGE } else { 0 },
            credentials: false,
        },
        points: points.into_iter().map(Point::from).collect(),
        needs: NEEDS.iter().map(|row| Needs::of(row, needs)).collect(),
        request: ShownRequest {
            fetch_site: request.header("sec-fetch-site").map(safe),
            fetch_mode: request.header("sec-fetch-mode").map(safe),
            class: class.name(),
            meaning: class.meaning(),
            own_origin: own_origin.as_deref().map(safe),
            origin,
            method,
            headers,
        },
    })
}

impl From<cors::Point> for Point {
    fn from(point: cors::Point) -> Self {
        Self {
            id: point.id,
            verdict: point.verdict.name(),
            sign: point.verdict.sign(),
            summary: point.summary,
            fix: point.fix,
            follows: point.follows,
        }
    }
}

impl Needs {
    fn of(row: &cors::Needs, current: &cors::Needs) -> Self {
        Self {
            revision: row.revision,
            current: row.revision == current.revision,
            methods: row.methods,
            headers: row.headers,
            exposed: row.exposed,
        }
    }
}

/// The preflight that a browser would send for `attempt`, for a shell.
fn preflight_command(url: &str, attempt: &Attempt<'_>) -> String {
    let header = |name: &str, value: &str| format!(" -H {}", shell_quoted(&format!("{name}: {value}")));
    let mut names: Vec<_> = attempt.headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    // As browsers write them (Fetch standard section 4.8).
    names.sort_unstable();
    let asked =
        if names.is_empty() { String::new() } else { header("Access-Control-Request-Headers", &names.join(",")) };
    format!(
        "curl -i -X OPTIONS {}{}{}{asked}",
        shell_quoted(url),
        header("Origin", attempt.origin.unwrap_or_default()),
        header("Access-Control-Request-Method", attempt.method),
    )
}

/// What the answer to the preflight must be like, and the answer after it (Fetch standard sections 4.8 and 4.10).
fn must_come_back(attempt: &Attempt<'_>, needs: &cors::Needs) -> Vec<String> {
    let origin = attempt.origin.unwrap_or_default();
    let mut asked: Vec<_> = attempt.headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    asked.retain(|name| !cors::is_safelisted(name) && !cors::is_forbidden(name));
    asked.sort_unstable();
    let mut lines = vec![
        "status 200 or 204, not a redirect and not 401 or 403: a gateway must not ask a preflight for a token"
            .to_owned(),
        format!("Access-Control-Allow-Origin: {origin} (or *, where no cookies are sent), once"),
    ];
    if !["GET", "HEAD", "POST"].contains(&attempt.method) {
        lines.push(format!("Access-Control-Allow-Methods: with {}", attempt.method));
    }
    if !asked.is_empty() {
        let wildcard =
            if asked.iter().any(|name| name == "authorization") { "; * does not cover authorization" } else { "" };
        lines.push(format!("Access-Control-Allow-Headers: with {}{wildcard}", asked.join(", ")));
    }
    lines.push(format!(
        "and on the answer after it, a 401 too: Access-Control-Allow-Origin again, and Access-Control-Expose-Headers: {}",
        needs.exposed.join(", ")
    ));
    lines
}

/// What the schema cannot say: names must be such as a browser could send.
fn check(arguments: &Arguments) -> Result<(), ToolError> {
    let mut problems = Vec::new();
    if arguments.origin.as_ref().is_some_and(|origin| origin.len() > MAX_LENGTH) {
        problems.push(format!("`origin` must not be longer than {MAX_LENGTH} bytes"));
    }
    if let Some(method) = &arguments.method
        && (method.len() > MAX_LENGTH || Method::from_bytes(method.as_bytes()).is_err())
    {
        problems.push("`method` must be an HTTP method such as POST".to_owned());
    }
    let names = arguments.headers.as_deref().unwrap_or_default();
    if names.len() > MAX_HEADERS {
        problems.push(format!("`headers` must not have more than {MAX_HEADERS} names"));
    }
    let bad = |name: &String| name.len() > MAX_LENGTH || HeaderName::from_bytes(name.trim().as_bytes()).is_err();
    if let Some(i) = names.iter().position(bad) {
        problems.push(format!("`headers[{i}]` must be the name of a header, such as Authorization"));
    }
    if problems.is_empty() { Ok(()) } else { Err(ToolError::InvalidArguments(problems)) }
}

fn text(analysis: &Analysis) -> String {
    let Analysis { request, preflight, .. } = analysis;
    let or = |fact: &Option<String>, none: &str| fact.clone().unwrap_or_else(|| none.to_owned());
    let mut lines = vec![
        "🌍 CORS Analysis".to_owned(),
        format!("\n📨 Request:{}", if analysis.simulated { " (simulated)" } else { "" }),
        format!("- Origin: {}", or(&request.origin, "none")),
        format!("- Kind: {}", request.meaning),
        format!("- This server's origin: {}", or(&request.own_origin, "not available")),
        format!("- Method: {}", request.method),
        format!("- Headers set by the script: {}", list(&request.headers)),
    ];
    if let Some(site) = &request.fetch_site {
        lines.push(format!("- Sec-Fetch: site {site}, mode {}", or(&request.fetch_mode, "not available")));
    }
    lines.push(if preflight.needed {
        format!("- Preflight: needed, because of {}", preflight.reasons.join(", "))
    } else {
        "- Preflight: not needed".to_owned()
    });
    lines.join("\n")
}

/// Who sets CORS, each check, and what each revision needs.
fn details(analysis: &Analysis, found: &[Finding]) -> String {
    let policy = &analysis.policy;
    let mut lines = vec!["🛂 Who sets CORS here:".to_owned()];
    lines.push(match policy.set_by {
        "server" => format!("- This server, for {}", policy.origins),
        "proxy" => format!(
            "- Not this server, whose own CORS is off (MCP_CORS_ORIGINS is {}): the proxy in front has to",
            policy.setting
        ),
        _ => format!(
            "- Nobody: this server's own CORS is off (MCP_CORS_ORIGINS is {}), and no proxy is seen in front",
            policy.setting
        ),
    });
    if policy.set_by == "server" {
        lines.push(format!("- Allow-Methods: {}", policy.allow_methods.join(", ")));
        lines.push(format!("- Allow-Headers: {}", policy.allow_headers.join(", ")));
        lines.push(format!("- Expose-Headers: {}", policy.expose_headers.join(", ")));
    }
    lines.push(match analysis.preflights_seen {
        0 => "- Preflights that came here from this client: none. If its browser sends some, something in front answers them"
            .to_owned(),
        count => format!("- Preflights that came here from this client: {count}"),
    });
    lines.push("\n🧪 Check by check:".to_owned());
    // One cause is one line; the structured form has all that follows from it.
    for Point { sign, summary, fix, .. } in analysis.points.iter().filter(|point| !point.follows) {
        // What a finding says to do is not said again.
        let fix = fix.as_ref().filter(|fix| found.iter().all(|finding| finding.fix != **fix));
        let fix = fix.map(|fix| format!(" → {fix}")).unwrap_or_default();
        lines.push(format!("- {sign} {summary}{fix}"));
    }
    if let Some(command) = &analysis.try_preflight {
        lines.push(format!("\n🔁 The preflight, to try from where the browser is:\n{command}"));
        lines.push("What must come back:".to_owned());
        lines.extend(analysis.must_come_back.iter().map(|line| format!("- {line}")));
    }
    // The other revisions' are in the structured form.
    if let Some(Needs { revision, methods, headers, exposed, .. }) = analysis.needs.iter().find(|needs| needs.current) {
        lines.push(format!("\n📚 What {revision} needs of whoever sets CORS:"));
        lines.push(format!("- Allow-Methods: {}", methods.join(", ")));
        lines.push(format!("- Allow-Headers: {}", headers.join(", ")));
        lines.push(format!("- Expose-Headers: {}", exposed.join(", ")));
    }
    if analysis.handle_header {
        lines.push(
            "\n🎟️ MCP_HANDLE_HEADER is on: calls with sessionId need Mcp-Param-Session, which SDKs in a browser never send; \
             each such call is refused"
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use serde_json::Value;

    use super::*;
    use crate::config::Config;
    use crate::tools::fixture::{call, request};

    fn outcome(given: &[(&str, &str)], config: &Config, arguments: &Value) -> Outcome {
        call(&TOOL, &request(given), config, arguments).unwrap()
    }

    #[test]
    fn a_local_inspector_passes_every_point() {
        let given = [
            ("host", "localhost:3000"),
            ("origin", "http://localhost:6274"),
            ("content-type", "application/json"),
            ("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"),
            ("mcp-protocol-version", "2025-11-25"),
            ("user-agent", "Mozilla/5.0"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "cors"),
        ];
        let outcome = outcome(&given, &Config::default(), &json!({}));
        assert!(outcome.text.starts_with(
            "🌍 CORS Analysis\n\n📨 Request:\n- Origin: http://localhost:6274\n- Kind: loopback: a page served from this \
             machine\n- This server's origin: http://localhost:3000\n- Method: POST\n- Headers set by the script: \
             Authorization, Content-Type, Mcp-Protocol-Version\n- Sec-Fetch: site same-site, mode cors\n\
             - Preflight: needed"
        ), "{}", outcome.text);
        assert!(!outcome.text.contains('❌'), "{}", outcome.text);
        assert_eq!(outcome.facts()["policy"]["setBy"], "server");
        assert_eq!(outcome.facts()["request"]["class"], "loopback");
        let facts = outcome.facts();
        let current: Vec<_> = facts["needs"].as_array().unwrap().iter().filter(|n| n["current"] == true).collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0]["revision"], "2025-11-25");
    }

    #[test]
    fn another_site_is_told_what_stops_it() {
        let public = Config { host: "0.0.0.0".into(), ..Config::default() };
        let arguments = json!({"origin": "https://app.example", "method": "delete", "headers": ["Authorization"]});
        let outcome = outcome(&[("x-forwarded-for", "1.2.3.4")], &public, &arguments);
        assert!(outcome.text.contains("(simulated)"));
        let fix = "\n  Fix: add https://app.example to MCP_ALLOWED_ORIGINS and set CORS at the proxy, ahead of its login \
                   (Traefik: a headers middleware before ForwardAuth; nginx: add_header with always, and 204 for \
                   OPTIONS); nothing else counts until then\n";
        assert!(outcome.text.contains(fix), "{}", outcome.text);
        assert!(outcome.text.contains("- ❌ the server answers 403 to this Origin\n"), "{}", outcome.text);
        assert!(!outcome.text.contains(" → "), "the finding says what to do: {}", outcome.text);
        let facts = outcome.facts();
        let points = facts["points"].as_array().unwrap();
        assert_eq!(points.iter().filter(|point| point["fix"].is_string()).count(), 8, "scripts get each point");
        assert_eq!(outcome.facts()["policy"]["setBy"], "proxy");
        assert_eq!(outcome.facts()["preflight"]["reasons"], json!(["method DELETE", "header Authorization"]));
    }

    #[test]
    fn one_cause_is_one_line_with_one_fix() {
        let allowed = Config { allowed_origins: crate::config::Origins::Any, ..Config::default() };
        let arguments = json!({"origin": "https://app.example.com", "headers": ["Authorization", "Content-Type"]});
        for (config, fix) in [
            (
                Config::default(),
                "add https://app.example.com to MCP_ALLOWED_ORIGINS and, unless a proxy sets CORS, to MCP_CORS_ORIGINS; \
                 nothing else counts until then",
            ),
            (allowed, "add https://app.example.com to MCP_CORS_ORIGINS, unless a proxy sets CORS"),
        ] {
            let text = outcome(&[], &config, &arguments).text;
            assert_eq!(text.matches(fix).count(), 1, "{text}");
            assert_eq!(text.matches("\n- ❌").count(), 1, "{text}");
        }
        let given = [("host", "localhost:3000")];
        let odd = json!({"origin": "https://a.example", "headers": ["X-'A"]});
        let text = outcome(&given, &Config::default(), &odd).text;
        let command = "\ncurl -i -X OPTIONS 'http://localhost:3000/mcp' -H 'Origin: https://a.example' \
                       -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: x-'\\''a'\n";
        assert!(text.contains(command), "what a shell would read is quoted: {text}");
        let slashed = json!({"origin": "https://app.example.com/"});
        let text = outcome(&[], &Config::default(), &slashed).text;
        assert!(text.contains("with nothing after it"), "{text}");
    }

    #[test]
    fn a_request_without_origin_is_no_browsers() {
        let outcome = outcome(&[], &Config::default(), &json!({}));
        assert_eq!(outcome.facts()["request"]["class"], "no-origin");
        assert!(outcome.text.contains("- Origin: none\n"));
        assert_eq!(outcome.facts()["preflight"]["needed"], false);
    }

    #[test]
    fn names_that_no_browser_could_send_are_refused() {
        let bad = json!({"method": "GE T", "headers": ["Accept", "a:b"], "origin": "x".repeat(300)});
        let refused = call(&TOOL, &request(&[]), &Config::default(), &bad).unwrap_err();
        assert_eq!(
            refused,
            ToolError::InvalidArguments(vec![
                "`origin` must not be longer than 256 bytes".into(),
                "`method` must be an HTTP method such as POST".into(),
                "`headers[1]` must be the name of a header, such as Authorization".into(),
            ])
        );
        let many = json!({"headers": vec!["a"; 65]});
        assert!(call(&TOOL, &request(&[]), &Config::default(), &many).is_err());
    }

    #[test]
    fn an_origin_that_is_none_is_said_to_be_none_and_cannot_forge_a_line() {
        let outcome = outcome(&[], &Config::default(), &json!({"origin": "x\n- ✅ fine https://u:p@h"}));
        assert_eq!(outcome.facts()["request"]["class"], "malformed-origin");
        assert!(outcome.text.contains("- Origin: x\\n- ✅ fine https://***@h\n"), "{}", outcome.text);
    }
}
