//! Who uses the session, and with which token.

use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Facts, Finding, Rule, Severity};
use crate::session::Unbound;
use crate::session::history::{Addresses, token_hash};
use crate::text::{duration, rfc3339};

pub(super) const RULES: &[Rule] = &[
    AUTH_MISSING_ON_SOME,
    Rule {
        id: "ses.token_never_refreshed",
        severity: Severity::Warning,
        meaning: "the session has used one token from its start, and that token has expired or is about to",
        fix: "have the client use its refresh token before exp, and check that it was granted one (offline_access)",
        reference: "RFC 6749 sections 1.5 and 6",
        check: never_refreshed,
    },
    Rule {
        id: "ses.token_rotated",
        severity: Severity::Info,
        meaning: "the token of the session has changed",
        fix: "nothing to mend, as long as the user stays the same",
        reference: "RFC 6749 section 6",
        check: rotated,
    },
    Rule {
        id: "ses.user_changed",
        severity: Severity::Warning,
        meaning: "another user than before uses the session, which is bound to nobody",
        fix: "initialize a session for each user, with the user's token or behind the gateway's login, and leave \
              MCP_SESSION_BINDING at user",
        reference: "MCP security best practices, Session Hijacking",
        check: user_changed,
    },
    Rule {
        id: "ses.two_addresses",
        severity: Severity::Warning,
        meaning: "the session's id was used from two addresses: a roaming client, several outgoing addresses, or a stolen id",
        fix: "check that both addresses are the client's; if they are not, end the session with DELETE and find the leak",
        reference: "MCP security best practices, Session Hijacking",
        check: two_addresses,
    },
    Rule {
        id: "ses.intrusion",
        severity: Severity::Warning,
        meaning: "requests of others, or without identity, tried this session and were answered as if there were none",
        fix: "check that the client sends its token with every request; if it does, its session id has leaked: end the session",
        reference: "MCP security best practices, Session Hijacking",
        check: intrusion,
    },
];

/// Authorization on some requests only.
pub const AUTH_MISSING_ON_SOME: Rule = Rule {
    id: "ses.auth_missing_on_some",
    severity: Severity::Error,
    meaning: "some requests of the session carry Authorization and others do not",
    fix: "send Authorization with every request: POST, GET and DELETE; check that no redirect or proxy route drops it",
    reference: "MCP 2025-03-26 and later, basic/authorization, Access Token Usage: in every HTTP request, even of one session",
    check: auth_missing_on_some,
};

fn auth_missing_on_some(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let history = &facts.handshake()?.history;
    if history.authorized.is_empty() || history.unauthorized.is_empty() {
        return None;
    }
    let summary = "some requests carry Authorization and others do not";
    let finding = Finding::new(rule, summary, "with Authorization", &history.authorized.names());
    Some(finding.and_evidence("without Authorization", &history.unauthorized.names()))
}

/// How near its end a token is about to expire, and how long a session must have had to refresh it.
const SOON: SignedDuration = SignedDuration::from_secs(60);

fn never_refreshed(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let session = facts.session.filter(|session| session.record.history.tokens == 1)?;
    let lived = session.now.since(session.record.created);
    let age = SignedDuration::try_from(lived).unwrap_or(SignedDuration::MAX);
    let token = facts.headers.get(AUTHORIZATION)?;
    if age < SOON || token_hash(token.as_bytes()) != session.record.history.last_token {
        return None;
    }
    let exp = facts.claims()?.get("exp").and_then(Value::as_i64)?;
    let exp = Timestamp::from_second(exp).ok()?;
    let left = exp.duration_since(facts.now);
    // One that had expired before the session began is no matter of the session.
    if left > SOON || left + age <= SignedDuration::ZERO {
        return None;
    }
    let state = if left > SignedDuration::ZERO { "is about to expire" } else { "has expired" };
    let summary = format!("the session has used one token from its start, and that token {state}");
    let finding = Finding::new(rule, summary, "exp", &rfc3339(exp));
    Some(finding.and_evidence("tokens in the session", "1").and_evidence("age of the session", &duration(lived)))
}

fn rotated(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let history = &facts.session?.record.history;
    let tokens = history.tokens;
    if history.other_users > 0 {
        return None; // said by the rule on users
    }
    let known = facts.owner.is_some() || history.last_user != 0;
    let summary = if known {
        "the token changed during the session, its user did not: refreshing works"
    } else {
        "the token changed during the session; whose each is cannot be told"
    };
    let what = "changes of the Authorization header";
    (tokens > 1).then(|| Finding::new(rule, summary, what, &(tokens - 1).to_string()))
}

fn user_changed(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let session = facts.session?;
    let changes = session.record.history.other_users;
    let why = session.record.unbound.map_or("it is bound to nobody", Unbound::reason);
    let summary = "the session was used by more than one user";
    let finding = (changes > 0).then(|| Finding::new(rule, summary, "changes of the user", &changes.to_string()))?;
    Some(finding.and_evidence("why it was served", why))
}

fn two_addresses(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let history = &facts.session?.record.history;
    let found = [history.v4, history.v6].into_iter().filter_map(|Addresses { first, other, from_others }| {
        let (first, other) = (first?, other?);
        let network = if first.is_ipv6() { "/64" } else { "" };
        let summary = "the session's id was used from two addresses";
        let finding = Finding::new(rule, summary, "first from", &format!("{first}{network}"));
        let finding = finding.and_evidence("later from", &format!("{other}{network}"));
        Some(finding.and_evidence("requests from elsewhere than the first", &from_others.to_string()))
    });
    Finding::joined(found)
}

fn intrusion(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let intrusions = facts.session?.record.intrusions;
    if intrusions.other + intrusions.anonymous == 0 {
        return None;
    }
    let summary = "requests that were not its owner's tried this session";
    let finding = Finding::new(rule, summary, "with another identity", &intrusions.other.to_string());
    Some(finding.and_evidence("without identity", &intrusions.anonymous.to_string()))
}
