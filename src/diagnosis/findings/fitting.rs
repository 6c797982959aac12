//! What a rule's fix asks the gateway or the issuer for: where one of them was seen, how it does that stands behind the fix
//! ([`Finding::fitted`]).

use super::{Facts, Finding};
use crate::diagnosis::remedies::Topic;

/// The topic of each rule that has one.
const TOPICS: &[(&str, Topic)] = &[
    ("hdr.auth_failed_but_allowed", Topic::RefuseUnauthenticated),
    ("hdr.authorization_lost", Topic::HandOnAuthorization),
    ("hdr.basic_instead_of_bearer", Topic::LeaveAuthorization),
    ("hdr.duplicate_authorization", Topic::LeaveAuthorization),
    ("hdr.token_elsewhere", Topic::HandOnAuthorization),
    ("tok.absent", Topic::HandOnAuthorization),
    ("hdr.underscore_alias", Topic::DropUnderscores),
    ("hdr.duplicate_identity", Topic::DropIdentity),
    ("hdr.lone_identity", Topic::DropIdentity),
    ("hdr.two_products", Topic::DropIdentity),
    ("id.header_claim_mismatch", Topic::DropIdentity),
    ("id.unconfirmed_header", Topic::DropIdentity),
    ("id.other_user", Topic::DropIdentity),
    ("hdr.forwarded_conflict", Topic::DropForwarded),
    ("hdr.public_url_differs", Topic::DropForwarded),
    ("hdr.xfp_http_public", Topic::Scheme),
    ("hdr.xfh_ne_host", Topic::Host),
    ("hdr.fwd_uri_at_backend", Topic::DropSubrequest),
    ("hdr.oversize", Topic::HeaderSize),
    ("hdr.large", Topic::HeaderSize),
    ("tok.id_token", Topic::AccessToken),
    ("tok.scope_missing", Topic::Scopes),
    ("tok.scope_login_only", Topic::Scopes),
    ("tok.scope_other_api", Topic::Scopes),
    ("tok.scope_insufficient", Topic::Scopes),
    ("tok.opaque", Topic::Jwt),
    ("tok.typ_not_at_jwt", Topic::Rfc9068),
    ("tok.too_big", Topic::TokenSize),
    ("cors.proxy_answers", Topic::Cors),
    ("cors.no_allow_origin", Topic::Preflight),
    ("ses.stream_timeout", Topic::Timeout),
];

/// `finding` with what the product that was seen has to be told, unless that is said already.
pub(super) fn fit(finding: Finding, facts: &Facts<'_>) -> Finding {
    if finding.source.is_some() {
        return finding;
    }
    match TOPICS.iter().find(|(id, _)| *id == finding.rule.id) {
        Some((_, topic)) => finding.fitted(facts, *topic),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::diagnosis::findings::rules;

    #[test]
    fn every_topic_is_of_a_rule_and_each_rule_has_one() {
        let known: HashSet<_> = rules().map(|rule| rule.id).collect();
        let mut seen = HashSet::new();
        for (id, _) in TOPICS {
            assert!(known.contains(id) && seen.insert(id), "{id}");
        }
    }

    #[test]
    fn no_neutral_fix_is_one_products() {
        // OAuth and HTTP terms that are names of products, too, are none here.
        let names = crate::diagnosis::remedies::product_names();
        let names: Vec<&str> = names.filter(|name| !matches!(*name, "Google" | "GitHub" | "Kubernetes")).collect();
        for rule in rules().filter(|rule| TOPICS.iter().any(|(id, _)| *id == rule.id)) {
            for name in &names {
                assert!(!rule.fix.contains(name), "{}: {name} in {}", rule.id, rule.fix);
            }
        }
    }
}
