//! `cors.*`: why a browser's script cannot use this server, as far as one request or one simulated attempt tells.
//!
//! The answers are those of [`cors::simulate`], which corsAnalysis shows point by point; here each cause is told once.
//! Which preflights came before, one request does not tell; that a cross-origin request arrived from a browser tells
//! that somebody allowed it.

mod rules;

use http::{Method, Uri};

use super::headers::with_headers;
use super::{Facts, Finding, Rule};
use crate::config::{Config, Origins};
use crate::diagnosis::cors::{self, Attempt, Class, Needs, Point, Policy, Verdict, needs};
use crate::diagnosis::forwarding::proxies;
use crate::diagnosis::headers::title_case;
use crate::diagnosis::{products, redact};
use crate::protocol::Revision;
use rules::{
    CREDENTIALS_WILDCARD, EXPOSE_MISSING, NO_ALLOW_ORIGIN, NULL_ORIGIN, ORIGIN_REFUSED, PREFLIGHT_MISSING_HEADER,
    PREFLIGHT_MISSING_METHOD, PROXY_ANSWERS, SCHEME_DOWNGRADE,
};

/// The family's rules.
pub const RULES: &[&Rule] = &[
    &ORIGIN_REFUSED,
    &NULL_ORIGIN,
    &SCHEME_DOWNGRADE,
    &NO_ALLOW_ORIGIN,
    &PREFLIGHT_MISSING_METHOD,
    &PREFLIGHT_MISSING_HEADER,
    &EXPOSE_MISSING,
    &CREDENTIALS_WILDCARD,
    &PROXY_ANSWERS,
];

/// What stands in the way of the script that sent this request. Without `Origin`, nothing.
#[must_use]
pub fn of_request(facts: &Facts<'_>) -> Vec<Finding> {
    let headers = facts.headers;
    let text = |name: &str| headers.get(name).map(|value| redact::decode(value.as_bytes()).trim().to_owned());
    let Some(origin) = text("origin") else { return Vec::new() };
    let own_origin = cors::own_origin(headers, facts.uri);
    let asked = (*facts.method == Method::OPTIONS).then(|| text("access-control-request-method")).flatten();
    let preflight = asked.is_some();
    let method = asked.unwrap_or_else(|| facts.method.as_str().to_owned());
    let mut names: Vec<String> = if preflight {
        let list = text("access-control-request-headers").unwrap_or_default();
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(title_case).collect()
    } else {
        let by_script = headers.keys().map(http::HeaderName::as_str).filter(|name| cors::is_by_script(name));
        by_script.map(title_case).collect()
    };
    names.sort_unstable();
    let attempt = Attempt {
        origin: Some(&origin),
        own_origin: own_origin.as_deref(),
        method: &method,
        headers: names.iter().map(String::as_str).collect(),
        behind_proxy: !proxies(headers).is_empty() || !products::seen(headers).is_empty(),
    };
    let class = Class::of(attempt.origin, attempt.own_origin);
    let allowed = Policy::of(facts.config).allows(&origin);
    let from_browser = text("sec-fetch-mode").is_some_and(|mode| mode == "cors") && !preflight;
    let asked_first = !cors::preflight_reasons(&method, &attempt.headers).is_empty();
    let stage = match () {
        () if preflight => Stage::Preflight,
        // It came through its preflight, whoever answered that: nothing of it is missing.
        () if from_browser && asked_first => Stage::Arrived,
        () => Stage::Simulated,
    };
    let mut findings = judge(&attempt, needs(facts.revision), facts.config, stage);
    if matches!(class, Class::Extension) && !preflight {
        // With host permissions, an extension's own pages are free of CORS.
        findings.retain(|finding| finding.rule.id == ORIGIN_REFUSED.id);
    } else if class.needs_cors() && !preflight {
        let other_sets_cors = !allowed || attempt.behind_proxy;
        findings.extend(other_sets_cors.then(|| unread_session(facts)).flatten());
        findings.extend(cookies(facts));
    }
    findings
}

/// What would stand in the way of the script that corsAnalysis' arguments describe.
#[must_use]
pub fn of_attempt(attempt: &Attempt<'_>, revision: Revision, config: &Config) -> Vec<Finding> {
    judge(attempt, needs(revision), config, Stage::Simulated)
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

fn judge(attempt: &Attempt<'_>, needs: &Needs, config: &Config, stage: Stage) -> Vec<Finding> {
    let Some(origin) = attempt.origin else { return Vec::new() };
    let policy = Policy::of(config);
    let class = Class::of(attempt.origin, attempt.own_origin);
    let points = cors::simulate(attempt, needs, config);
    let failed = |id: &str| points.iter().find(|point| point.id == id && point.verdict == Verdict::Fail);
    let shown = redact::value(origin).into_owned();
    let mut findings = Vec::new();

    let own_host = attempt.own_origin.and_then(|own| own.parse::<Uri>().ok());
    let is_local = own_host.is_some_and(|own| own.host().is_some_and(crate::diagnosis::origin::is_loopback_host));
    if failed("scheme").is_some() && !is_local {
        let summary = format!("the browser calls this server {shown}, the proxy's headers call it http");
        let finding = Finding::new(&SCHEME_DOWNGRADE, summary, "Origin", origin);
        // The rest follows from it.
        return vec![finding.and_evidence("This server's origin", attempt.own_origin.unwrap_or_default())];
    }
    if let Some(point) = failed("origin") {
        let finding =
            Finding::new(&ORIGIN_REFUSED, format!("this server answers 403 to Origin {shown}"), "Origin", origin)
                .and_evidence("MCP_ALLOWED_ORIGINS", &allow_list(&config.allowed_origins));
        let fix = match class {
            Class::Null => "serve the page from a web origin: a sandboxed frame or a local file has none".to_owned(),
            _ => fix(point, &ORIGIN_REFUSED),
        };
        return vec![finding.with_fix(fix)];
    }
    if class == Class::Null {
        let summary = "Origin null is served: any sandboxed frame may call this server";
        let finding = Finding::new(&NULL_ORIGIN, summary, "Origin", origin);
        findings.push(finding.and_evidence("MCP_ALLOWED_ORIGINS", &allow_list(&config.allowed_origins)));
    }
    if !class.needs_cors() {
        return findings;
    }
    if policy.allows(origin) {
        if stage != Stage::Arrived {
            findings.extend(preflight(&points, attempt));
        }
        return findings;
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
        let finding = Finding::new(&PROXY_ANSWERS, summary, "Origin", origin)
            .and_evidence("MCP_CORS_ORIGINS", policy.name())
            .and_evidence(&format!("{} needs allowed", needs.revision), &lists)
            .and_evidence(&format!("{} needs exposed", needs.revision), &needs.exposed.join(", "));
        findings.push(finding);
        return findings;
    }
    let point = failed("preflight-origin").or_else(|| failed("response-readable"));
    let fix = match (stage, attempt.behind_proxy) {
        (Stage::Preflight, true) if left_to_proxy => {
            "have the proxy answer preflights itself (Traefik: a headers middleware in front of the auth middleware), \
             or set MCP_CORS_ORIGINS"
                .to_owned()
        }
        _ => point.map_or_else(|| NO_ALLOW_ORIGIN.fix.to_owned(), |point| fix(point, &NO_ALLOW_ORIGIN)),
    };
    let summary = if stage == Stage::Preflight {
        format!("the preflight of {shown} came through to this server, which does not allow it")
    } else {
        format!("a script of {shown} can neither pass the preflight nor read the answer")
    };
    let mut finding = Finding::new(&NO_ALLOW_ORIGIN, summary, "Origin", origin)
        .and_evidence("MCP_CORS_ORIGINS", policy.name())
        .with_fix(fix);
    if !attempt.headers.is_empty() {
        finding = finding.and_evidence("Headers that the preflight must allow", &attempt.headers.join(", "));
    }
    findings.push(finding);
    findings
}

/// The method and the headers that the preflight refuses to an origin that it allows.
fn preflight(points: &[Point], attempt: &Attempt<'_>) -> Vec<Finding> {
    let failed = |id: &'static str| points.iter().filter(move |point| point.id == id && point.verdict == Verdict::Fail);
    let mut findings = Vec::new();
    if failed("preflight-method").next().is_some() {
        let summary = format!("the preflight does not allow method {}", redact::value(attempt.method));
        let allowed = cors::ALLOW_METHODS.join(", ");
        let finding = Finding::new(&PREFLIGHT_MISSING_METHOD, summary, "Method", attempt.method);
        findings.push(finding.and_evidence("Access-Control-Allow-Methods", &allowed));
    }
    if failed("preflight-header").next().is_some() {
        let refused = attempt.headers.iter().filter(|name| {
            !(cors::is_forbidden(name) || cors::is_safelisted(name) || cors::list_allows(&cors::ALLOW_HEADERS, name))
        });
        let refused = refused.copied().collect::<Vec<_>>().join(", ");
        let summary = format!("the preflight does not allow {}", redact::value(&refused));
        let finding = Finding::new(&PREFLIGHT_MISSING_HEADER, summary, "Headers of the script", &refused);
        findings.push(finding.and_evidence("Access-Control-Allow-Headers", &cors::ALLOW_HEADERS.join(", ")));
    }
    findings
}

/// A client names its revision in a header only after `initialize`, whose answer told it the session's id.
fn unread_session(facts: &Facts<'_>) -> Option<Finding> {
    let headers = facts.headers;
    let initialized = headers.contains_key("mcp-protocol-version") && facts.revision != Revision::V2026_07_28;
    if !initialized || headers.contains_key("mcp-session-id") {
        return None;
    }
    let exposed = needs(facts.revision).exposed;
    let summary = "a script that has initialized comes without Mcp-Session-Id: it most likely could not read it";
    let finding = with_headers(&EXPOSE_MISSING, summary, headers, &["origin", "mcp-protocol-version"])?;
    let finding = finding.and_evidence("Mcp-Session-Id", "absent");
    let list = exposed.join(", ");
    Some(finding.with_fix(format!(
        "have whoever sets CORS send Access-Control-Expose-Headers: {list} on the answers, not only on the preflight"
    )))
}

fn cookies(facts: &Facts<'_>) -> Option<Finding> {
    if Policy::of(facts.config) != Policy::Origins(&Origins::Any) {
        return None;
    }
    let summary = "the script sends cookies: with Access-Control-Allow-Origin: * it cannot read the answer";
    facts.headers.get("cookie")?;
    let finding = with_headers(&CREDENTIALS_WILDCARD, summary, facts.headers, &["cookie", "origin"])?;
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
