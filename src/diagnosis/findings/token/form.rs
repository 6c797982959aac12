//! The form of what was sent: nothing, a placeholder, no JWT, a broken one, one that holds what it should not.

use super::{Facts, Finding, Rule};
use crate::diagnosis::findings::{Severity, credentials};
use crate::diagnosis::quote::{quote, quote_all};
use crate::diagnosis::token::{Format, Masked, Protection, Removed, Report, StandIn, TokenKind, algorithm};

/// What stands where a token should. Who shows the `Authorization` header shows these as well.
pub(in crate::diagnosis::findings) const PRESENCE: &[Rule] = &[
    Rule {
        id: "tok.empty",
        severity: Severity::Error,
        meaning: "The Authorization header holds no token",
        fix: "log in before the header is built, and check where the client's variable is set",
        reference: "RFC 6750 section 2.1; MCP specification, Authorization, Token Requirements",
        check: empty,
    },
    Rule {
        id: "tok.placeholder",
        severity: Severity::Error,
        meaning: "A placeholder was sent instead of a token",
        fix: "log in first, and check that the variable is set and expanded where the header is built",
        reference: "RFC 6750 section 2.1; MCP specification, Authorization, Token Requirements",
        check: placeholder,
    },
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tok.malformed",
        severity: Severity::Error,
        meaning: "The token is broken: cut, glued, quoted, encoded, or with a part that cannot be read",
        fix: "send the token whole and unchanged as the issuer returned it",
        reference: "RFC 7515 sections 2 and 7.1; RFC 7519 section 7.2",
        check: malformed,
    },
    Rule {
        id: "tok.duplicate_names",
        severity: Severity::Error,
        meaning: "A name occurs twice in the header or among the claims: parsers disagree on which value counts",
        fix: "have the issuer write each name once",
        reference: "RFC 7515 section 4; RFC 7519 section 4",
        check: duplicate_names,
    },
    Rule {
        id: "tok.secret_inside",
        severity: Severity::Error,
        meaning: "A password or a private key stands in the open: whoever sees the token can use it",
        fix: "replace the secret, and have nobody write it into tokens or send it",
        reference: "RFC 7519 section 12; RFC 7517 section 9.2",
        check: secret_inside,
    },
    Rule {
        id: "tok.too_big",
        severity: Severity::Warning,
        meaning: "The token is so long that servers and proxies refuse the headers with 400 or 431",
        fix: "issue fewer claims: limit groups and roles to those of this application, or use an opaque token",
        reference: "RFC 6585 section 5; nginx large_client_header_buffers (8 KiB)",
        check: too_big,
    },
    Rule {
        id: "tok.base64",
        severity: Severity::Warning,
        meaning: "A part of the token is not plain base64url: most libraries refuse it",
        fix: "have the issuer encode with - and _ and without =; if it does, the token was altered on the way",
        reference: "RFC 7515 section 2; RFC 4648 section 3.5",
        check: base64,
    },
    Rule {
        id: "tok.in_url",
        severity: Severity::Warning,
        meaning: "The token stood in a URL: there it ends up in logs and histories, and MCP forbids it",
        fix: "send the token in the Authorization header only",
        reference: "RFC 6750 section 5.3; MCP specification, Authorization, Token Requirements",
        check: in_url,
    },
    Rule {
        id: "tok.opaque",
        severity: Severity::Info,
        meaning: "The token is opaque: what it says is known to its issuer only",
        fix: "verify it by introspection; if a JWT is expected, ask for the token with the resource (or the issuer's \
              audience) parameter",
        reference: "RFC 7662 section 2; RFC 8707 section 2",
        check: opaque,
    },
    Rule {
        id: "tok.jwe",
        severity: Severity::Info,
        meaning: "The token is encrypted: only the holder of the key can read its claims",
        fix: "give the resource server the key, or ask for the token with the resource (or the issuer's audience) \
              parameter: some issuers encrypt tokens that are for themselves",
        reference: "RFC 7516 section 7.1; RFC 8707 section 2",
        check: jwe,
    },
    Rule {
        id: "tok.nested",
        severity: Severity::Info,
        meaning: "The token holds another token",
        fix: "make sure that the resource server unwraps it, or have the issuer sign only",
        reference: "RFC 7519 sections 5.2 and 7.2",
        check: nested,
    },
    Rule {
        id: "tok.signature_removed",
        severity: Severity::Warning,
        meaning: "Cloud Run checked the ID token in Authorization and took its signature off",
        fix: "send the ID token for Cloud Run in X-Serverless-Authorization, and the access token for this server in \
              Authorization; a server that is to trust Cloud Run's check must not verify the signature again",
        reference: "Google Cloud: Cloud Run, Authenticating service-to-service, X-Serverless-Authorization",
        check: signature_removed,
    },
    Rule {
        id: "tok.too_short",
        severity: Severity::Error,
        meaning: "What came is too short for a token: no issuer gives one that can be guessed",
        fix: "look at what the client has for a token: an example, a name, a cut value; send the access_token of the token \
              endpoint's answer, whole",
        reference: "RFC 6749 section 10.10; RFC 6750 section 2.1",
        check: too_short,
    },
    Rule {
        id: "tok.masked",
        severity: Severity::Error,
        meaning: "A mask stands in the place of the signature, as logs and displays write it",
        fix: "take the token from the client or the token endpoint's answer, whole",
        reference: "RFC 7515 section 7.1",
        check: masked,
    },
];

fn empty(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report().filter(|report| report.token.format == Format::Empty)?;
    Some(Finding::new(rule, &*report.problems.first()?.reason, "length", "0"))
}

fn placeholder(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report().filter(|report| report.token.format == Format::Placeholder)?;
    let problem = report.problems.first()?;
    let length = report.token.length.to_string();
    Some(Finding::new(rule, &*problem.reason, "length", &length).with_fix(&*problem.advice))
}

/// What stood around it in a header, what cannot be read, a signature of the wrong size: one finding, for one is the
/// cause.
fn malformed(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let credential = facts.credential()?;
    let report = &credential.report;
    let form = report.token.format;
    if matches!(form, Format::Empty | Format::Placeholder) || credentials::is_other_scheme(report) {
        return None;
    }
    let harmful = |removed: &&Removed| match removed {
        // In the request it is a finding of its own.
        Removed::SecondCredential => credential.given || !credentials::is_duplicate(facts),
        _ => !credential.given && !removed.is_harmless(),
    };
    let mut around: Vec<String> = report.removed.iter().filter(harmful).map(ToString::to_string).collect();
    // Quotes come off one by one.
    around.dedup();
    if !around.is_empty() {
        let summary = format!("there is more than scheme and token: {}", around.join(", "));
        return Some(Finding::new(rule, summary, "form", form.title()));
    }
    if matches!(form, Format::Opaque | Format::Basic | Format::TooLarge) {
        return None;
    }
    // The first problem of a PASETO is that it is one: an opaque token.
    let mut problems = report.problems.iter().skip(usize::from(form == Format::Paseto));
    if let Some(problem) = problems.next() {
        let finding = Finding::new(rule, problem.to_string(), "form", form.title()).with_fix(&*problem.advice);
        return Some(problems.fold(finding, |finding, problem| finding.and_evidence("also", &problem.to_string())));
    }
    let fault = signature_fault(report)?;
    Some(Finding::new(rule, fault, "form", form.title()))
}

/// Something else stands where the signature was.
fn signature_removed(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report().filter(|report| report.token.is_signature_removed())?;
    let summary = "Cloud Run checked this ID token and put SIGNATURE_REMOVED_BY_GOOGLE in the place of its signature: nobody \
                   behind it can verify the token";
    Some(Finding::new(rule, summary, "aud", &report.token.audience().join(", ")))
}

/// Characters of the shortest token that is not guessed (RFC 6749 section 10.10: 128 bits; in base64url 22, some issuers give
/// fewer).
const SHORTEST: usize = 16;

fn too_short(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report().filter(|report| report.token.format == Format::Opaque)?;
    if report.token.length >= SHORTEST || credentials::is_other_scheme(report) {
        return None;
    }
    let summary = format!("this is no token: {}", report.kind_evidence);
    Some(Finding::new(rule, summary, "length", &report.token.length.to_string()))
}

fn masked(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let signature = facts.report()?.token.signature.filter(|signature| signature.stand_in == Some(StandIn::Mask))?;
    let summary =
        "a mask stands in the place of the signature: this was copied from a log or a display, not from the client";
    Some(Finding::new(rule, summary, "characters of the signature", &signature.characters.to_string()))
}

/// What is wrong with the signature by its size alone (RFC 7518 section 3). Of one that is missing, or of `none`, the rule
/// on unsecured tokens tells.
fn signature_fault(report: &Report) -> Option<String> {
    let (signature, name) = (report.token.signature?, report.token.alg()?);
    let known = algorithm(name);
    if signature.characters == 0 || known.protection == Protection::None || signature.stand_in.is_some() {
        return None;
    }
    let bytes = signature.bytes?;
    match known.signature_bytes {
        Some(expected) if bytes != expected && signature.der && name.starts_with("ES") => Some(format!(
            "the signature looks like ASN.1 DER ({bytes} bytes): {} wants the two numbers one after the other, {expected} bytes \
             (RFC 7518 section 3.4)",
            quote(name)
        )),
        Some(expected) if bytes != expected => Some(format!(
            "the signature has {bytes} bytes, {} makes {expected}: it was cut when copied, or made by another algorithm",
            quote(name)
        )),
        None if name.starts_with(['R', 'P']) && known.protection == Protection::Public && bytes < 256 => Some(format!(
            "the signature has {bytes} bytes, an RSA key of 2048 bits makes 256: it was cut when copied, or the key is too short \
             (RFC 7518 section 3.3)"
        )),
        _ => None,
    }
}

fn duplicate_names(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = &facts.report()?.token;
    let found = [("header", &token.header), ("payload", &token.payload)].into_iter().filter_map(|(part, document)| {
        let names = &document.as_ref().filter(|document| !document.duplicates.is_empty())?.duplicates;
        let summary =
            format!("names occur more than once in the {part}: {}", quote_all(names.iter().map(String::as_str)));
        Some(Finding::new(rule, summary, part, &names.join(", ")))
    });
    Finding::joined(found)
}

fn secret_inside(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let credential = facts.credential()?;
    let reports = [Some(&credential.report), credential.proof.as_ref()].into_iter().flatten();
    let pem = credential.report.token.is_private_key.then_some(("the text", "a private key"));
    let documents = reports.flat_map(|report| [&report.token.header, &report.token.payload]).flatten();
    let masked = documents.flat_map(|document| &document.masked);
    let masked = masked.filter(|(_, what)| *what != Masked::Token).map(|(path, what)| (path.as_str(), what.name()));
    let mut secrets = pem.into_iter().chain(masked);
    let (place, what) = secrets.next()?;
    let finding = Finding::new(rule, format!("{} holds {what}", quote(place)), "not shown", place);
    Some(secrets.fold(finding, |finding, (place, _)| finding.and_evidence("not shown", place)))
}

/// A token longer than this is close to what servers take in a header: nginx and Tomcat give all of it 8 KiB by default.
const LONG_TOKEN: usize = 6 * 1024;

fn too_big(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = &facts.report().filter(|report| report.token.length > LONG_TOKEN)?.token;
    let summary = match token.format {
        Format::TooLarge => facts.report()?.problems.first()?.reason.clone(),
        _ => format!("the token has {} characters, many servers take 8192 bytes of headers in all", token.length),
    };
    let finding = Finding::new(rule, summary, "length", &token.length.to_string());
    Some(match token.largest_claim() {
        Some((name, size)) => finding.and_evidence("largest claim", &format!("{name}, {size} bytes of JSON")),
        None => finding,
    })
}

/// AWS load balancers write padding, and whoever reads their tokens knows that.
fn base64(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report()?;
    let odd = report.token.oddities;
    let found = [
        (odd.padded && report.kind != TokenKind::GatewayAssertion, "padding (`=`) at the end of a part"),
        (odd.standard_alphabet, "`+` or `/` of the standard alphabet instead of `-` and `_`"),
        (odd.surplus_bits, "a part's last character has bits that belong to no byte: it was cut or altered there"),
    ];
    let found: Vec<&str> = found.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
    (!found.is_empty()).then(|| Finding::new(rule, found.join("; "), "form", report.token.format.title()))
}

fn in_url(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let removed = &facts.report()?.removed;
    let name = removed.iter().rfind(|removed| matches!(removed, Removed::Name(_)))?.to_string();
    if !removed.contains(&Removed::Url) {
        return None;
    }
    Some(Finding::new(rule, format!("the token stood in a URL, after {name}"), "parameter", &name))
}

fn opaque(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report()?;
    let opaque = matches!(report.token.format, Format::Opaque | Format::Paseto);
    // Another scheme's credentials, a refresh token, or what is too short for any, are another finding.
    if !opaque
        || report.token.length < SHORTEST
        || report.kind.why_wrong().is_some()
        || credentials::is_other_scheme(report)
    {
        return None;
    }
    let what = match report.token.format {
        Format::Paseto => report.problems.first().map_or("a PASETO", |problem| &problem.reason),
        _ => &report.kind_evidence,
    };
    let summary = format!("the token is no JWT, so nothing in it can be verified like one: {what}");
    Some(Finding::new(rule, summary, "length", &report.token.length.to_string()))
}

fn jwe(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let token = &facts.report()?.token;
    if !matches!(token.format, Format::Jwe | Format::JweJson) {
        return None;
    }
    let (alg, enc) = (token.alg().unwrap_or("none"), token.param_str("enc").unwrap_or("none"));
    let summary = format!("the token is encrypted with {} and {}: its claims cannot be seen", quote(alg), quote(enc));
    Some(Finding::new(rule, summary, "form", token.format.title()))
}

fn nested(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let report = facts.report()?;
    if let Some(inner) = &report.nested {
        let summary = format!("inside the token is another one: {}", inner.token.format.title());
        return Some(Finding::new(rule, summary, "kind of the inner token", inner.kind.title()));
    }
    report.token.param_str("cty").filter(|cty| cty.eq_ignore_ascii_case("jwt"))?;
    Some(Finding::new(rule, "the header says that the content is a token itself (cty JWT)", "cty", "JWT"))
}
