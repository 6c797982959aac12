//! `cors.*`: why a browser's script cannot use this server, as far as one request or one simulated attempt tells.
//!
//! The answers are those of [`cors::simulate`], which corsAnalysis shows point by point; here each cause is told once.
//! Which preflights came before, one request does not tell; that a cross-origin request arrived from a browser tells
//! that somebody allowed it.

use http::{HeaderName, Method, Uri};

use super::headers::with_headers;
use super::{Facts, Finding, Rule, Severity};
use crate::config::{Config, Origins};
use crate::diagnosis::cors::{self, Attempt, Beyond, Class, Needs, Point, Policy, Verdict, needs};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::origin::is_loopback_host;
use crate::diagnosis::proxies::proxies;
use crate::diagnosis::{products, redact};
use crate::protocol::Revision;

/// The family's rules.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "cors.origin_refused",
        severity: Severity::Error,
        meaning: "This server answers 403 to the Origin",
        fix: "add the origin to MCP_ALLOWED_ORIGINS",
        reference: "MCP 2025-11-25 basic/transports, Security Warning",
        check: played,
    },
    Rule {
        id: "cors.null_origin",
        severity: Severity::Warning,
        meaning: "Origin null is served: every sandboxed frame and local file has it",
        fix: "serve the page from a web origin, and take null out of MCP_ALLOWED_ORIGINS and MCP_CORS_ORIGINS",
        reference: "Fetch standard section 3.3; RFC 6454 section 4",
        check: played,
    },
    Rule {
        id: "cors.scheme_downgrade",
        severity: Severity::Error,
        meaning: "The browser used https and the proxy's headers tell of http: the same site looks like another origin",
        fix: "have the proxy that ends TLS send X-Forwarded-Proto: https",
        reference: "RFC 6454 section 5; RFC 7239 section 5.4",
        check: played,
    },
    Rule {
        id: "cors.no_allow_origin",
        severity: Severity::Error,
        meaning: "The answer has no Access-Control-Allow-Origin for this Origin: the browser keeps it from the script",
        fix: "add the origin to MCP_CORS_ORIGINS, unless a proxy sets CORS",
        reference: "Fetch standard section 3.3.3 and 4.10 (CORS check)",
        check: played,
    },
    Rule {
        id: "cors.preflight_missing_method",
        severity: Severity::Error,
        meaning: "The preflight does not allow the method",
        fix: "use POST, GET or DELETE: this protocol has no other",
        reference: "Fetch standard section 4.8 (CORS-preflight fetch); MCP 2025-11-25 basic/transports",
        check: played,
    },
    Rule {
        id: "cors.preflight_missing_header",
        severity: Severity::Error,
        meaning: "The preflight does not allow a header that the script sends: the browser sends no request at all",
        fix: "leave the header out, or list it by name in the Access-Control-Allow-Headers of the proxy that sets CORS",
        reference: "Fetch standard section 4.8 (CORS-preflight fetch)",
        check: played,
    },
    Rule {
        id: "cors.expose_missing",
        severity: Severity::Error,
        meaning: "A script that has initialized comes without Mcp-Session-Id: it most likely cannot read the header",
        fix: "have whoever sets CORS send Access-Control-Expose-Headers on the answers, not only on the preflight",
        reference: "Fetch standard section 3.3.3 (Access-Control-Expose-Headers); MCP 2025-11-25 basic/transports, Session \
                    Management",
        check: unread_session,
    },
    Rule {
        id: "cors.credentials_wildcard",
        severity: Severity::Warning,
        meaning: "The script sends cookies, and Access-Control-Allow-Origin: * does not work with credentials",
        fix: "have the script leave credentials out (credentials: \"omit\"), or list the origin in MCP_CORS_ORIGINS and \
              have a proxy allow credentials",
        reference: "Fetch standard section 3.3.5 (CORS protocol and credentials)",
        check: cookies,
    },
    Rule {
        id: "cors.mixed_content",
        severity: Severity::Error,
        meaning: "A page of https calls http: browsers block that as mixed content, whatever CORS says",
        fix: "give the server https, at a proxy that ends TLS, or open the page from http",
        reference: "W3C Mixed Content section 4.4; Secure Contexts section 3.1",
        check: played,
    },
    Rule {
        id: "cors.local_network",
        severity: Severity::Warning,
        meaning: "A page of the internet calls this machine or a private network: Chrome asks its user first",
        fix: "allow local network access for the page, or open the page from this machine",
        reference: "WICG Local Network Access; Chrome 142",
        check: played,
    },
    Rule {
        id: "cors.proxy_answers",
        severity: Severity::Info,
        meaning: "CORS for this Origin is left to the proxy: what it answers cannot be seen from here",
        fix: "have the proxy answer preflights without asking for a token, and allow and expose what the revision needs",
        reference: "Fetch standard section 3.3; MCP basic/transports and basic/authorization of the revision",
        check: played,
    },
];

/// What stands in the way of the script that corsAnalysis' arguments describe.
#[must_use]
pub fn of_attempt(attempt: &Attempt<'_>, revision: Revision, config: &Config) -> Vec<Finding> {
    RULES.iter().filter_map(|rule| judge(rule, attempt, needs(revision), config, Stage::Simulated)).collect()
}

/// What the request shows of the script that sent it. Without `Origin`, there is none.
struct Script {
    origin: String,
    own_origin: Option<String>,
    method: String,
    headers: Vec<String>,
    is_preflight: bool,
    behind_proxy: bool,
}

impl Script {
    fn of(facts: &Facts<'_>) -> Option<Self> {
        let headers = facts.headers;
        let origin = facts.header("origin")?;
        let asked = (*facts.method == Method::OPTIONS).then(|| facts.header("access-control-request-method")).flatten();
        let is_preflight = asked.is_some();
        let mut names: Vec<String> = if is_preflight {
            let list = facts.header("access-control-request-headers").unwrap_or_default();
            list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(title_case).collect()
        } else {
            let by_script = headers.keys().map(HeaderName::as_str).filter(|name| cors::is_by_script(name));
            by_script.map(title_case).collect()
        };
        names.sort_unstable();
        Some(Self {
            origin,
            own_origin: cors::own_origin(headers, facts.uri),
            method: asked.unwrap_or_else(|| facts.method.as_str().to_owned()),
            headers: names,
            is_preflight,
            behind_proxy: !proxies(headers).is_empty() || !products::seen(headers).is_empty(),
        })
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            origin: Some(&self.origin),
            own_origin: self.own_origin.as_deref(),
            method: &self.method,
            headers: self.headers.iter().map(String::as_str).collect(),
            behind_proxy: self.behind_proxy,
        }
    }

    fn class(&self) -> Class {
        Class::of(Some(&self.origin), self.own_origin.as_deref())
    }
}

/// How far a request came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It would come.
    Simulated,
    /// Its preflight came.
    Preflight,
    /// It came after a preflight.
    Arrived,
}

/// The script's request played through; one inspection for most rows.
fn played(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let script = Script::of(facts)?;
    let attempt = script.attempt();
    // With host permissions, an extension's own pages are free of CORS.
    if matches!(script.class(), Class::Extension) && !script.is_preflight && rule.id != "cors.origin_refused" {
        return None;
    }
    let from_browser = facts.header("sec-fetch-mode").is_some_and(|mode| mode == "cors");
    let asked_first = !cors::preflight_reasons(&script.method, &attempt.headers).is_empty();
    let stage = match () {
        () if script.is_preflight => Stage::Preflight,
        // It came through its preflight, whoever answered that: nothing of it is missing.
        () if from_browser && asked_first => Stage::Arrived,
        () => Stage::Simulated,
    };
    judge(rule, &attempt, needs(facts.revision), facts.config, stage)
}

fn judge(rule: &'static Rule, attempt: &Attempt<'_>, needs: &Needs, config: &Config, stage: Stage) -> Option<Finding> {
    let origin = attempt.origin?;
    let policy = Policy::of(config);
    let class = Class::of(attempt.origin, attempt.own_origin);
    let points = cors::simulate(attempt, needs, config);
    let failed = |id: &str| points.iter().find(|point| point.id == id && point.verdict == Verdict::Fail);
    let shown = redact::value(origin).into_owned();
    let found = |id: &str, summary: String| (rule.id == id).then(|| Finding::new(rule, summary, "Origin", origin));

    if let "cors.mixed_content" | "cors.local_network" = rule.id {
        // What came is past the browser; and behind a proxy the name and the scheme may be inner ones.
        let seen_whole = stage != Stage::Arrived && !attempt.behind_proxy;
        let beyond = Beyond::of(origin, attempt.own_origin?).filter(|_| seen_whole)?;
        let id = match beyond {
            Beyond::MixedContent => "cors.mixed_content",
            Beyond::LocalNetwork => "cors.local_network",
        };
        let finding = found(id, beyond.meaning().to_owned())?;
        let own = attempt.own_origin.unwrap_or_default();
        return Some(finding.and_evidence("This server's origin", own).with_fix(beyond.fix()));
    }
    let own_host = attempt.own_origin.and_then(|own| own.parse::<Uri>().ok());
    let is_local = own_host.is_some_and(|own| own.host().is_some_and(is_loopback_host));
    if failed("scheme").is_some() && !is_local {
        // The rest follows from it.
        let summary = format!("the browser calls this server {shown}, the proxy's headers call it http");
        let finding = found("cors.scheme_downgrade", summary)?;
        return Some(finding.and_evidence("This server's origin", attempt.own_origin.unwrap_or_default()));
    }
    if let Some(point) = failed("origin") {
        let finding = found("cors.origin_refused", format!("this server answers 403 to Origin {shown}"))?
            .and_evidence("MCP_ALLOWED_ORIGINS", &allow_list(&config.allowed_origins));
        return Some(match class {
            Class::Null => {
                finding.with_fix("serve the page from a web origin: a sandboxed frame or a local file has none")
            }
            _ => finding.with_fix(fix(point, rule)),
        });
    }
    if rule.id == "cors.null_origin" && class == Class::Null {
        let summary = "Origin null is served: any sandboxed frame may call this server".to_owned();
        let finding = found(rule.id, summary)?;
        return Some(finding.and_evidence("MCP_ALLOWED_ORIGINS", &allow_list(&config.allowed_origins)));
    }
    if !class.needs_cors() {
        return None;
    }
    if policy.allows(origin) {
        return preflight(rule, &points, attempt).filter(|_| stage != Stage::Arrived);
    }
    // Unset, CORS is the proxy's job where there is one.
    let left_to_proxy = attempt.behind_proxy && !matches!(policy, Policy::Origins(_));
    if stage == Stage::Arrived || (left_to_proxy && stage == Stage::Simulated) {
        let summary = if stage == Stage::Arrived {
            format!("a browser sent this after its preflight, which this server does not allow {shown}: a proxy does")
        } else {
            format!("this server sends no CORS headers to {shown}: the proxy has to")
        };
        let lists = format!("{} (headers), {} (methods)", needs.headers.join(", "), needs.methods.join(", "));
        let finding = found("cors.proxy_answers", summary)?
            .and_evidence("MCP_CORS_ORIGINS", &Policy::setting(config))
            .and_evidence(&format!("{} needs allowed", needs.revision), &lists)
            .and_evidence(&format!("{} needs exposed", needs.revision), &needs.exposed.join(", "));
        return Some(finding);
    }
    let point = failed("preflight-origin").or_else(|| failed("response-readable"));
    let fix = match (stage, attempt.behind_proxy) {
        (Stage::Preflight, true) if left_to_proxy => {
            "have the proxy answer preflights itself, ahead of its login (Traefik: a headers middleware before \
             ForwardAuth; nginx: 204 for OPTIONS), or set MCP_CORS_ORIGINS"
                .to_owned()
        }
        _ => point.map_or_else(|| rule.fix.to_owned(), |point| fix(point, rule)),
    };
    let summary = if stage == Stage::Preflight {
        format!("the preflight of {shown} came through to this server, which does not allow it")
    } else {
        format!("a script of {shown} can neither pass the preflight nor read the answer")
    };
    let finding = found("cors.no_allow_origin", summary)?;
    let finding = finding.and_evidence("MCP_CORS_ORIGINS", &Policy::setting(config)).with_fix(fix);
    Some(if attempt.headers.is_empty() {
        finding
    } else {
        finding.and_evidence("Headers that the preflight must allow", &attempt.headers.join(", "))
    })
}

/// The method and the headers that the preflight refuses to an origin that it allows.
fn preflight(rule: &'static Rule, points: &[Point], attempt: &Attempt<'_>) -> Option<Finding> {
    let failed = |id: &str| points.iter().any(|point| point.id == id && point.verdict == Verdict::Fail);
    match rule.id {
        "cors.preflight_missing_method" if failed("preflight-method") => {
            let summary = format!("the preflight does not allow method {}", redact::value(attempt.method));
            let finding = Finding::new(rule, summary, "Method", attempt.method);
            Some(finding.and_evidence("Access-Control-Allow-Methods", &cors::ALLOW_METHODS.join(", ")))
        }
        "cors.preflight_missing_header" if failed("preflight-header") => {
            let refused = attempt.headers.iter().copied().filter(|name| {
                let allowed = cors::list_allows(&cors::ALLOW_HEADERS, name);
                !(cors::is_forbidden(name) || cors::is_safelisted(name) || allowed)
            });
            let refused = refused.collect::<Vec<_>>().join(", ");
            let summary = format!("the preflight does not allow {}", redact::value(&refused));
            let finding = Finding::new(rule, summary, "Headers of the script", &refused);
            Some(finding.and_evidence("Access-Control-Allow-Headers", &cors::ALLOW_HEADERS.join(", ")))
        }
        _ => None,
    }
}

/// A script that has to pass CORS, and came with something else than a preflight.
fn cross_origin(facts: &Facts<'_>) -> Option<Script> {
    let script = Script::of(facts)?;
    let class = script.class();
    (class.needs_cors() && !matches!(class, Class::Extension) && !script.is_preflight).then_some(script)
}

/// A client names its revision in a header only after `initialize`, whose answer told it the session's id.
fn unread_session(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    let script = cross_origin(facts)?;
    if Policy::of(facts.config).allows(&script.origin) && !script.behind_proxy {
        return None; // this server exposes it
    }
    let initialized = headers.contains_key("mcp-protocol-version") && !facts.revision.is_stateless();
    if !initialized || headers.contains_key("mcp-session-id") {
        return None;
    }
    let exposed = needs(facts.revision).exposed;
    let summary = "a script that has initialized comes without Mcp-Session-Id: it most likely could not read it";
    let finding = with_headers(rule, summary, headers, &["origin", "mcp-protocol-version"])?;
    let finding = finding.and_evidence("Mcp-Session-Id", "absent");
    let list = exposed.join(", ");
    Some(finding.with_fix(format!(
        "have whoever sets CORS send Access-Control-Expose-Headers: {list} on the answers, not only on the preflight"
    )))
}

fn cookies(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    cross_origin(facts)?;
    if Policy::of(facts.config) != Policy::Origins(&Origins::Any) {
        return None;
    }
    let summary = "the script sends cookies: with Access-Control-Allow-Origin: * it cannot read the answer";
    facts.headers.get("cookie")?;
    let finding = with_headers(rule, summary, facts.headers, &["cookie", "origin"])?;
    Some(finding.and_evidence("MCP_CORS_ORIGINS", "*"))
}

fn fix(point: &Point, rule: &Rule) -> String {
    point.fix.clone().unwrap_or_else(|| rule.fix.to_owned())
}

fn allow_list(origins: &Origins) -> String {
    match origins {
        Origins::Only(list) if list.is_empty() => "loopback origins only".to_owned(),
        _ => origins.to_string(),
    }
}
