//! A token's signature, checked with keys that somebody gave: alone, before any claim is looked at.
//!
//! The key decides on the algorithm, never the token's header (RFC 8725 section 3.1): a header that names another one is
//! refused. So are `none`, algorithms with a shared secret, `b64` false and every extension that `crit` names, since none
//! is known here (RFC 7515 section 4.1.11).

use serde_json::{Map, Value};

use super::jwks::{KeySet, same};
use super::quote::{quote, quote_all};
use super::token::{Decoded, Protection, Report, TimeClaim, algorithm};
use crate::text;

/// The most keys that are tried where the token names none: each costs a signature's check.
const MAX_TRIED: usize = 16;

/// How far clocks may differ, in seconds: what verifiers allow for by default (jsonwebtoken, Spring Security: 60).
pub const LEEWAY_SECONDS: i64 = 60;

/// What became of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// Nobody gave keys.
    NotAsked,
    /// There is no signature of a kind that could be checked; why.
    NotPossible(String),
    /// It is by this key.
    Verified {
        /// The key's name, if it has one.
        kid: Option<String>,
        /// The algorithm.
        alg: &'static str,
    },
    /// It is by none of the keys that it could be by; why.
    Failed(String),
    /// The key that the token names is not among those given; which are.
    NoKey(String),
    /// The token must not be accepted whatever its signature is; why.
    Refused(String),
}

impl Verification {
    /// `not-asked`, `not-possible`, `verified`, `failed`, `no-key`, `refused`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::NotPossible(_) => "not-possible",
            Self::Verified { .. } => "verified",
            Self::Failed(_) => "failed",
            Self::NoKey(_) => "no-key",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether it is by one of the keys.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        matches!(self, Self::Verified { .. })
    }

    /// Whether a verifier with the same keys refuses the token.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Refused(_))
    }
}

/// A token in another header than `Authorization`, checked with the same keys: a gateway's signed assertion.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    /// What became of its signature.
    pub signature: Verification,
    /// Whether `exp` lies ahead and `nbf` does not, with [`LEEWAY_SECONDS`]; false without `exp`.
    pub is_current: bool,
    /// Its claims.
    pub claims: Map<String, Value>,
}

impl Assertion {
    /// Whether it proves what it says: signed by one of the keys, and of now.
    #[must_use]
    pub const fn is_proof(&self) -> bool {
        self.signature.is_verified() && self.is_current
    }

    /// Of a token that was taken apart.
    pub(super) fn of(report: &Report, keys: Option<&KeySet>) -> Self {
        let times = &report.token.times;
        let current = |claim: &TimeClaim, ahead: bool| {
            let seconds = claim.is_seconds(false).then(|| claim.at()).flatten().map(|at| at.as_second());
            seconds.map(|at| {
                let now = times.now.as_second();
                if ahead { at.saturating_add(LEEWAY_SECONDS) > now } else { at.saturating_sub(LEEWAY_SECONDS) <= now }
            })
        };
        let begun = times.not_before == TimeClaim::Absent || current(&times.not_before, false) == Some(true);
        Self {
            signature: verify(report, keys),
            is_current: begun && (current(&times.expires, true) == Some(true) || header_expires(report)),
            claims: report.token.payload.as_ref().map(|payload| payload.members.clone()).unwrap_or_default(),
        }
    }
}

/// AWS load balancers write exp into the header of their assertion (Elastic Load Balancing: Authenticate users, user claims
/// encoding): whether it lies ahead, where the claims have none.
fn header_expires(report: &Report) -> bool {
    let times = &report.token.times;
    let at = report.token.param("exp").and_then(Value::as_i64);
    times.expires == TimeClaim::Absent && at.is_some_and(|at| at.saturating_add(LEEWAY_SECONDS) > times.now.as_second())
}

/// Checks the signature of the token that `report` is about.
#[must_use]
pub fn verify(report: &Report, keys: Option<&KeySet>) -> Verification {
    let Some(keys) = keys else { return Verification::NotAsked };
    let token = &report.token;
    let (Some(signing), Some(_)) = (&report.signing, &token.header) else {
        return Verification::NotPossible(format!("this is {}", token.format.title()));
    };
    if let Some(why) = refusal(token) {
        return Verification::Refused(why);
    }
    let alg = token.alg().unwrap_or_default();
    let kid = token.param_str("kid");
    let mut fitting: Vec<_> = keys.keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid).collect();
    if fitting.is_empty() {
        // A key without a name may be the one.
        fitting = keys.keys.iter().filter(|key| key.kid.is_none()).collect();
    }
    let origin = &keys.origin;
    let at = origin.read.map_or_else(String::new, |read| format!("read {}, ", text::time(read)));
    let Some(kid) = kid else {
        return among(fitting.iter().copied(), alg, &signing.input, &signing.signature).unwrap_or_else(|| {
            Verification::Failed(format!(
                "the token has no kid, and no key of {} has signed it ({at}keys {})",
                origin.name,
                keys.names()
            ))
        });
    };
    if fitting.is_empty() {
        let (kid, name, has) = (quote(kid), &origin.name, keys.names());
        let again = if origin.read.is_some() { "; if the issuer rotated, fetch it again" } else { "" };
        let outdated =
            origin.outdated.as_ref().map_or_else(String::new, |why| format!("; the file is newer, but {why}"));
        return Verification::NoKey(format!("kid {kid} is not in {name} ({at}keys {has}){again}{outdated}"));
    }
    if !fitting.iter().any(|key| key.algorithms.iter().any(|known| same(known, alg))) {
        let key = fitting[0];
        let for_it = quote_all(key.algorithms.iter().copied());
        let why = format!(
            "alg is {}, but key {} of {} is {} for {for_it}",
            quote(alg),
            quote(kid),
            origin.name,
            key.key.name()
        );
        return Verification::Failed(why);
    }
    among(fitting.into_iter(), alg, &signing.input, &signing.signature).unwrap_or_else(|| {
        let why = "altered, cut, or signed by somebody else";
        Verification::Failed(format!(
            "the signature is not by key {} of {}: the token was {why}",
            quote(kid),
            origin.name
        ))
    })
}

/// The key among these that has signed it, by an algorithm that is the key's.
fn among<'a>(
    keys: impl Iterator<Item = &'a super::jwks::PublicKey>,
    alg: &str,
    input: &str,
    signature: &str,
) -> Option<Verification> {
    let with_alg = keys.filter_map(|key| Some((key, *key.algorithms.iter().find(|known| same(known, alg))?)));
    with_alg.take(MAX_TRIED).find_map(|(key, alg)| {
        let signed = key.key.has_signed(alg, input, signature) == Ok(true);
        signed.then(|| Verification::Verified { kid: key.kid.clone(), alg })
    })
}

/// Why nobody may accept a token with such a header, whatever keys there are.
fn refusal(token: &Decoded) -> Option<String> {
    let alg = token.alg().unwrap_or_default();
    match algorithm(alg).protection {
        Protection::None => return Some(format!("alg is {}: there is no signature", quote(alg))),
        Protection::Shared => {
            return Some(format!(
                "alg is {}, a shared secret: with public keys nobody can check it, and who takes a public key for the \
                 secret accepts forged tokens",
                quote(alg)
            ));
        }
        _ => {}
    }
    if let Some(crit) = token.param("crit") {
        let names = super::token::strings(Some(crit));
        let names = if names.is_empty() { "nothing".to_owned() } else { quote_all(names) };
        return Some(format!("crit demands {names}, which this check does not know"));
    }
    token.is_unencoded().then(|| "b64 is false, which a JWT must not have".to_owned())
}
