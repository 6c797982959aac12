//! A browser's request, played through against this server's own policy, point by point.

use super::{ALLOW_HEADERS, ALLOW_METHODS, Beyond, Class, EXPOSE_HEADERS, Needs, Policy, is_forbidden, list_allows};
use crate::config::{Config, Origins};
use crate::diagnosis::origin::origin_allowed;

/// A request to play through.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// `Origin`, if there is one.
    pub origin: Option<&'a str>,
    /// The origin that the client knows the server by.
    pub own_origin: Option<&'a str>,
    /// HTTP method, upper case.
    pub method: &'a str,
    /// Names of the headers that the script sets.
    pub headers: Vec<&'a str>,
    /// Whether a proxy stands in front, as far as one can see.
    pub behind_proxy: bool,
}

/// How a point came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// A browser would stop here.
    Fail,
    /// Cannot be decided here, or is only to be known.
    Note,
}

impl Verdict {
    /// A stable name for scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Note => "note",
        }
    }

    /// A sign for people.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Pass => "✅",
            Self::Fail => "❌",
            Self::Note => "ℹ️",
        }
    }
}

/// One point of the simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// A stable name: `preflight-header`.
    pub id: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was looked at and found, for people.
    pub summary: String,
    /// What to do about a failure, or about what this server leaves to the proxy.
    pub fix: Option<String>,
    /// It came out so only because the origin gets no `Access-Control-Allow-Origin`, which another point says: for
    /// people, one cause is one line.
    pub follows: bool,
}

/// Plays `attempt` through: is the origin served, what does the preflight answer for its method and each of its
/// headers, can a script read the answer, the headers it `needs`, a 401?
#[must_use]
pub fn simulate(attempt: &Attempt<'_>, needs: &Needs, config: &Config) -> Vec<Point> {
    let policy = Policy::of(config);
    let class = Class::of(attempt.origin, attempt.own_origin);
    let mut points = Points(Vec::new());
    let Some(origin) = attempt.origin else {
        points.note("origin", "no Origin header: the request is served without CORS headers");
        return points.0;
    };
    let served = origin_allowed(origin, config);
    points.judge(
        "origin",
        served,
        || "the server accepts this Origin".to_owned(),
        || "the server answers 403 to this Origin".to_owned(),
        || how_to_serve(origin, class, policy, attempt.behind_proxy),
    );
    if attempt
        .own_origin
        .is_some_and(|own| own.strip_prefix("http://") == origin.strip_prefix("https://") && own.starts_with("http://"))
    {
        points.fail(
            "scheme",
            "the browser used https, the proxy's headers tell of http: the same site looks like another origin",
            "have the proxy that ends TLS send X-Forwarded-Proto: https",
        );
    }
    if !class.needs_cors() {
        points.note("class", "same-origin: no preflight, every header can be read");
        return points.0;
    }
    let own = attempt.own_origin.filter(|_| !attempt.behind_proxy);
    if let Some(beyond) = own.and_then(|own| Beyond::of(origin, own)) {
        points.note("beyond-cors", beyond.meaning());
    }
    let judged_here = points.0.len();
    let allowed = served && policy.allows(origin);
    points.by_policy(policy, allowed, origin, attempt, needs);
    if !allowed {
        // A 403 is the cause of all that fails after it; without one, the first missing Access-Control-Allow-Origin is.
        let cause = usize::from(served);
        let failed = points.0[judged_here..].iter_mut().filter(|point| point.verdict == Verdict::Fail);
        failed.skip(cause).for_each(|point| point.follows = true);
    }
    if policy == Policy::Off && attempt.behind_proxy {
        // The usual way to run behind a proxy: what this server leaves out is no failure yet.
        for point in points.0[judged_here..].iter_mut().filter(|point| point.verdict == Verdict::Fail) {
            point.verdict = Verdict::Note;
        }
    }
    points.0
}

/// What makes the server serve `origin`, and browsers let its scripts read the answers.
fn how_to_serve(origin: &str, class: Class, policy: Policy<'_>, behind_proxy: bool) -> String {
    if class == Class::Malformed {
        return "an origin is scheme://host[:port] with nothing after it, such as https://app.example.com".to_owned();
    }
    let cors = match policy {
        _ if !class.needs_cors() || policy.allows(origin) => String::new(),
        Policy::Off if behind_proxy => format!(" and {AT_THE_PROXY}"),
        _ => " and, unless a proxy sets CORS, to MCP_CORS_ORIGINS".to_owned(),
    };
    format!("add {origin} to MCP_ALLOWED_ORIGINS{cors}; nothing else counts until then")
}

/// How CORS is set where this server leaves it to a proxy.
const AT_THE_PROXY: &str = "set CORS at the proxy, ahead of its login (Traefik: a headers middleware before ForwardAuth; nginx: \
                            add_header with always, and 204 for OPTIONS)";

struct Points(Vec<Point>);

impl Points {
    fn note(&mut self, id: &'static str, summary: &str) {
        self.0.push(Point { id, verdict: Verdict::Note, summary: summary.to_owned(), fix: None, follows: false });
    }

    fn fail(&mut self, id: &'static str, summary: &str, fix: &str) {
        self.judge(id, false, String::new, || summary.to_owned(), || fix.to_owned());
    }

    fn judge(
        &mut self,
        id: &'static str,
        passes: bool,
        pass: impl FnOnce() -> String,
        fail: impl FnOnce() -> String,
        fix: impl FnOnce() -> String,
    ) {
        self.0.push(if passes {
            Point { id, verdict: Verdict::Pass, summary: pass(), fix: None, follows: false }
        } else {
            Point { id, verdict: Verdict::Fail, summary: fail(), fix: Some(fix()), follows: false }
        });
    }

    /// What this server's CORS layer answers. Where it is off, what a proxy answers cannot be seen from here.
    fn by_policy(&mut self, policy: Policy<'_>, allowed: bool, origin: &str, attempt: &Attempt<'_>, needs: &Needs) {
        let fix = match (policy, attempt.behind_proxy) {
            (Policy::Off, true) => AT_THE_PROXY.to_owned(),
            _ => format!("add {origin} to MCP_CORS_ORIGINS, unless a proxy sets CORS"),
        };
        let fix = &*fix;
        if policy == Policy::Off {
            self.note("policy", "this server sends no CORS headers: a proxy in front has to add them");
        }
        let sent = |list: &'static [&'static str]| if allowed { list } else { &[] };

        let reasons = super::preflight_reasons(attempt.method, &attempt.headers);
        if reasons.is_empty() {
            self.note("preflight", "no preflight: method and headers are safelisted");
        } else {
            self.note("preflight", &format!("a preflight comes first, because of {}", reasons.join(", ")));
            self.judge(
                "preflight-origin",
                allowed,
                || format!("preflight: Access-Control-Allow-Origin answers {origin}"),
                || "preflight: no Access-Control-Allow-Origin".to_owned(),
                || fix.to_owned(),
            );
            let simple = ["GET", "HEAD", "POST"].contains(&attempt.method);
            self.judge(
                "preflight-method",
                allowed && (simple || sent(&ALLOW_METHODS).contains(&attempt.method)),
                || format!("preflight: method {} is allowed", attempt.method),
                || format!("preflight: method {} is not allowed", attempt.method),
                || if allowed { "this server has no such method".to_owned() } else { fix.to_owned() },
            );
            for name in &attempt.headers {
                self.preflight_header(name, sent(&ALLOW_HEADERS), allowed, fix);
            }
        }
        self.judge(
            "response-readable",
            allowed,
            || "response: a script may read it".to_owned(),
            || "response: a script may not read it, Access-Control-Allow-Origin is missing".to_owned(),
            || fix.to_owned(),
        );
        for name in needs.exposed {
            self.judge(
                "response-header",
                list_allows(sent(&EXPOSE_HEADERS), name),
                || format!("response: {name} can be read"),
                || format!("response: {name} cannot be read, it is not in Access-Control-Expose-Headers"),
                || fix.to_owned(),
            );
        }
        if attempt.behind_proxy {
            self.note(
                "unauthorized",
                "401: the proxy answers it, so the proxy must send Access-Control-Allow-Origin and expose \
                 WWW-Authenticate on it, and answer OPTIONS without asking for a token",
            );
        } else {
            self.note("unauthorized", "401: this server checks no tokens and never answers 401");
        }
        self.wildcards(policy, allowed, attempt.behind_proxy);
    }

    fn preflight_header(&mut self, name: &str, allow: &[&str], allowed: bool, fix: &str) {
        if is_forbidden(name) {
            self.note(
                "preflight-header",
                &format!("preflight: {name} is set by browsers only, scripts cannot send it"),
            );
        } else if super::is_safelisted(name) && allowed {
            self.judge(
                "preflight-header",
                true,
                || format!("preflight: {name} is always allowed"),
                String::new,
                String::new,
            );
        } else {
            self.judge(
                "preflight-header",
                list_allows(allow, name),
                || format!("preflight: header {name} is allowed"),
                || format!("preflight: header {name} is not allowed"),
                || if allowed { "this server does not read it: leave it out".to_owned() } else { fix.to_owned() },
            );
        }
    }

    fn wildcards(&mut self, policy: Policy<'_>, allowed: bool, behind_proxy: bool) {
        if let Policy::Origins(Origins::Any) = policy {
            self.note("wildcard-origin", "Access-Control-Allow-Origin: * does not work with credentials (cookies)");
        }
        if behind_proxy {
            self.note(
                "wildcard-headers",
                "at the proxy: Access-Control-Allow-Headers: * never covers Authorization, list it by name",
            );
        }
        if behind_proxy && allowed {
            self.note(
                "twice",
                "a proxy stands in front: where both set Access-Control-Allow-Origin, browsers refuse the answer",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::cors::NEEDS;

    fn run(origin: Option<&str>, method: &str, headers: &[&str], config: &Config) -> Vec<Point> {
        let attempt = Attempt {
            origin,
            own_origin: Some("http://mcp.example"),
            method,
            headers: headers.to_vec(),
            behind_proxy: false,
        };
        simulate(&attempt, &NEEDS[3], config)
    }

    fn failures(points: &[Point]) -> Vec<(&'static str, &str)> {
        let failed = points.iter().filter(|point| point.verdict == Verdict::Fail);
        failed.map(|point| (point.id, &*point.summary)).collect()
    }

    #[test]
    fn a_local_page_may_do_all_that_the_protocol_asks_for() {
        for needs in NEEDS {
            for method in needs.methods {
                let points = run(Some("http://localhost:6274"), method, needs.headers, &Config::default());
                assert!(failures(&points).is_empty(), "{points:?}");
                assert!(points.iter().all(|point| point.fix.is_none()));
            }
        }
    }

    #[test]
    fn each_failure_is_named_with_its_fix() {
        let listed = Config {
            allowed_origins: Origins::Any,
            cors_origins: Some(Origins::Only(vec!["https://app.example".into()])),
            ..Config::default()
        };
        let points = run(Some("https://app.example"), "PUT", &["Authorization", "X-Custom", "Cookie"], &listed);
        assert_eq!(
            failures(&points),
            [
                ("preflight-method", "preflight: method PUT is not allowed"),
                ("preflight-header", "preflight: header X-Custom is not allowed"),
            ]
        );
        let points = run(Some("https://other.example"), "POST", &["Authorization"], &listed);
        let failed: Vec<_> = failures(&points).iter().map(|(id, _)| *id).collect();
        assert_eq!(
            failed,
            [
                "preflight-origin",
                "preflight-method",
                "preflight-header",
                "response-readable",
                "response-header",
                "response-header",
                "response-header",
            ]
        );
        assert!(points.iter().all(|point| (point.verdict == Verdict::Fail) == point.fix.is_some()));
        let told: Vec<_> = points.iter().filter(|point| point.verdict == Verdict::Fail && !point.follows).collect();
        assert_eq!(told.len(), 1, "one cause");
        assert_eq!(
            told[0].fix.as_deref(),
            Some("add https://other.example to MCP_CORS_ORIGINS, unless a proxy sets CORS")
        );
        let unserved = run(Some("https://app.example"), "GET", &[], &Config::default());
        assert_eq!(failures(&unserved)[0], ("origin", "the server answers 403 to this Origin"));
    }

    #[test]
    fn what_is_left_to_the_proxy_is_no_failure_of_this_server() {
        let config = Config { host: "0.0.0.0".into(), allowed_origins: Origins::Any, ..Config::default() };
        let attempt = Attempt {
            origin: Some("https://app.example"),
            own_origin: None,
            method: "DELETE",
            headers: vec!["Authorization"],
            behind_proxy: true,
        };
        let points = simulate(&attempt, &NEEDS[3], &config);
        assert!(failures(&points).is_empty());
        assert_eq!(points.iter().filter(|point| point.fix.is_some()).count(), 7);
        let alone = simulate(&Attempt { behind_proxy: false, ..attempt }, &NEEDS[3], &config);
        assert_eq!(failures(&alone).len(), 7);
    }

    #[test]
    fn a_lost_scheme_is_recognised() {
        let points = run(Some("https://mcp.example"), "POST", &[], &Config::default());
        assert!(failures(&points).iter().any(|(id, _)| *id == "scheme"));
    }

    #[test]
    fn without_an_origin_nothing_is_judged() {
        let points = run(None, "POST", &["Authorization"], &Config::default());
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].verdict, Verdict::Note);
        let same = run(
            Some("http://mcp.example"),
            "POST",
            &[],
            &Config { allowed_origins: Origins::Any, ..Config::default() },
        );
        assert!(failures(&same).is_empty());
    }
}
