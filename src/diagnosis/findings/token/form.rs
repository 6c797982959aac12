//! The form of what was sent: nothing, a placeholder, another scheme, no JWT, a broken one.

use super::{Facts, Finding, Report, auth_header, quote};
use crate::diagnosis::findings::{Rule, Severity};
use crate::diagnosis::headers::title_case;
use crate::diagnosis::token::{self, Format, LONG_TOKEN, Origin};

pub(super) const ABSENT: Rule = Rule {
    id: "tok.absent",
    severity: Severity::Info,
    meaning: "An auth proxy names the user, but there is no Authorization header",
    fix: "let the proxy pass Authorization on if this server is to see the token: with Traefik ForwardAuth do not name \
          Authorization in authResponseHeaders unless the auth server sets it, and no removeHeader in basicAuth",
    reference: "RFC 6750 section 2.1; Traefik ForwardAuth, authResponseHeaders",
};
pub(super) const EMPTY: Rule = Rule {
    id: "tok.empty",
    severity: Severity::Error,
    meaning: "The Authorization header holds no token",
    fix: "log in before the header is built, and check where the client's variable is set",
    reference: "RFC 6750 section 2.1; MCP specification, Authorization, Token Requirements",
};
pub(super) const PLACEHOLDER: Rule = Rule {
    id: "tok.placeholder",
    severity: Severity::Error,
    meaning: "A placeholder was sent instead of a token",
    fix: "log in first, and check that the variable is set and expanded where the header is built",
    reference: "RFC 6750 section 2.1; MCP specification, Authorization, Token Requirements",
};
pub(super) const SCHEME: Rule = Rule {
    id: "tok.scheme",
    severity: Severity::Error,
    meaning: "The scheme in front of the token is missing, doubled or none that OAuth knows",
    fix: "send `Authorization: Bearer TOKEN`, with the scheme once and one space",
    reference: "RFC 6750 section 2.1; MCP specification, Authorization, Token Requirements",
};
pub(super) const NOT_BEARER: Rule = Rule {
    id: "tok.not_bearer",
    severity: Severity::Info,
    meaning: "Authorization holds other credentials than an OAuth token, such as a proxy's Basic login or an API key",
    fix: "send a Bearer token if this server is to be reached with OAuth; if the proxy asks for these credentials, \
          nothing is wrong",
    reference: "RFC 9110 section 11.6.2; MCP specification, Authorization, Token Requirements",
};
pub(super) const OPAQUE: Rule = Rule {
    id: "tok.opaque",
    severity: Severity::Info,
    meaning: "The token is opaque: what it says is known to its issuer only",
    fix: "verify it by introspection; if a JWT is expected, ask for the token with the resource (or the issuer's \
          audience) parameter",
    reference: "RFC 7662 section 2; RFC 8707 section 2",
};
pub(super) const JWE: Rule = Rule {
    id: "tok.jwe",
    severity: Severity::Info,
    meaning: "The token is encrypted: only the holder of the key can read its claims",
    fix: "give the resource server the key, or ask for the token with the resource (or the issuer's audience) \
          parameter: some issuers encrypt tokens that are for themselves",
    reference: "RFC 7516 section 7.1; RFC 8707 section 2",
};
pub(super) const MALFORMED: Rule = Rule {
    id: "tok.malformed",
    severity: Severity::Error,
    meaning: "The token is broken: cut, glued, quoted, encoded or with claims that cannot be read",
    fix: "send the token whole and unchanged as the issuer returned it",
    reference: "RFC 7515 sections 2 and 7.1; RFC 7519 section 7.2",
};
pub(super) const NESTED: Rule = Rule {
    id: "tok.nested",
    severity: Severity::Info,
    meaning: "The token holds another token",
    fix: "make sure that the resource server unwraps it, or have the issuer sign only",
    reference: "RFC 7519 sections 5.2 and 7.2",
};
pub(super) const TOO_BIG: Rule = Rule {
    id: "tok.too_big",
    severity: Severity::Warning,
    meaning: "The token is so long that servers and proxies refuse the headers with 400 or 431",
    fix: "issue fewer claims: limit groups and roles to those of this application, or use an opaque token",
    reference: "RFC 6585 section 5; nginx large_client_header_buffers (8 KiB)",
};

/// No `Authorization` header. Said only where a proxy's headers show that somebody has logged in: a server without
/// authorization is in order.
pub(super) fn absent(facts: &Facts<'_>) -> Option<Finding> {
    let (product, name) = auth_header(facts)?;
    let name = title_case(&name);
    let summary = format!("{name} ({product}) names a login, but the request has no Authorization header");
    Some(Finding::new(&ABSENT, summary, "header present", &name))
}

/// What only a header's value can have wrong. `shown` is the value, redacted.
pub(super) fn of_header(report: &Report, value: &str, shown: &str) -> Vec<Finding> {
    let found = |rule, summary: String| vec![Finding::new(rule, summary, "Authorization", shown)];
    if matches!(report.facts.format, Format::Empty | Format::Placeholder) {
        return Vec::new(); // said by `of_report`
    }
    let Some(scheme) = report.facts.scheme.as_deref() else {
        return found(&SCHEME, "the Authorization header has no scheme that is known in front of the token".to_owned());
    };
    let oauth = ["bearer", "dpop"].into_iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !oauth {
        let invented = ["token", "jwt"].into_iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let rule = if invented { &SCHEME } else { &NOT_BEARER };
        return found(rule, format!("the scheme is {}, MCP and OAuth want Bearer", quote(scheme)));
    }
    let rest = value.trim().get(scheme.len()..).unwrap_or_default().trim();
    let again = token::clean(rest, Origin::Argument);
    if let Some(second) = again.scheme {
        return found(&SCHEME, format!("the scheme is there twice ({} and {})", quote(scheme), quote(&second)));
    }
    let sent = rest.strip_prefix("Pomerium-").unwrap_or(rest);
    let read = token::clean(value, Origin::Authorization).token;
    if sent != read {
        return found(
            &MALFORMED,
            "there is more in the Authorization header than scheme and token: quotes, encoding, white space or a \
             second token"
                .to_owned(),
        );
    }
    let reason = match report.facts.format {
        Format::HeaderOnly | Format::PayloadOnly | Format::Key | Format::JwsJson | Format::JweJson => {
            Some(format!("the Authorization header holds {}, not a token in compact form", report.facts.format.title()))
        }
        _ => broken(report),
    };
    reason.map_or_else(Vec::new, |reason| found(&MALFORMED, reason))
}

/// Why a verifier cannot read it.
fn broken(report: &Report) -> Option<String> {
    let problem = report.problems.first().filter(|_| {
        report.facts.format == Format::Malformed
            || report.facts.format.is_signed()
            || report.facts.format == Format::Jwe
    });
    if let Some(problem) = problem {
        let place = problem.place.map(|place| format!(" ({place})")).unwrap_or_default();
        return Some(format!("the token cannot be read: {}{place}", problem.reason));
    }
    let stripped = report.facts.signature.is_some_and(|signature| signature.characters == 0);
    report.facts.signature_fault().filter(|_| !stripped && !super::header::is_unsecured(report))
}

/// What any text can have wrong.
pub(super) fn of_report(report: &Report) -> Vec<Finding> {
    let facts = &report.facts;
    let found = |rule, summary: String| Finding::new(rule, summary, "form", facts.format.title());
    let mut findings = Vec::new();
    let problem = || report.problems.first().map_or_else(String::new, |problem| problem.reason.clone());
    match facts.format {
        Format::Empty => findings.push(found(&EMPTY, problem()).and_evidence("length", "0")),
        Format::Placeholder => {
            findings.push(found(&PLACEHOLDER, problem()).and_evidence("length", &facts.length.to_string()));
        }
        Format::Opaque | Format::Paseto if super::content::wrong_kind(report).is_none() => {
            let summary = format!("the token is no JWT, so nothing in it can be read: {}", report.evidence);
            findings.push(found(&OPAQUE, summary).and_evidence("length", &facts.length.to_string()));
        }
        Format::Jwe | Format::JweJson => {
            let (alg, enc) = (facts.alg().unwrap_or("none"), facts.param_str("enc").unwrap_or("none"));
            let summary =
                format!("the token is encrypted with {} and {}: its claims cannot be seen", quote(alg), quote(enc));
            findings.push(found(&JWE, summary));
        }
        _ => {}
    }
    if let Some(reason) = broken(report) {
        findings.push(found(&MALFORMED, reason));
    }
    if let Some(inner) = &report.nested {
        let summary = format!("inside the token is another one: {}", inner.facts.format.title());
        findings.push(Finding::new(&NESTED, summary, "kind of the inner token", inner.kind.title()));
    } else if facts.param_str("cty").is_some_and(|cty| cty.eq_ignore_ascii_case("jwt")) {
        let summary = "the header says that the content is a token itself".to_owned();
        findings.push(Finding::new(&NESTED, summary, "cty", "JWT"));
    }
    if facts.length > LONG_TOKEN {
        let mut finding = Finding::new(
            &TOO_BIG,
            format!("the token has {} characters, many servers take 8192 bytes of headers in all", facts.length),
            "length",
            &facts.length.to_string(),
        );
        if let Some((name, size)) = facts.largest_claim() {
            finding = finding.and_evidence("largest claim", &format!("{name}, {size} bytes of JSON"));
        }
        findings.push(finding);
    }
    findings
}
