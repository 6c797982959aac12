//! What a token says, in the terms that the rules ask for.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::document::Document;
use super::format::Format;
use super::segment::Oddities;
use super::times::Times;

/// What is known of the signature: never the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Characters of the segment.
    pub characters: usize,
    /// Bytes, where it is base64url.
    pub bytes: Option<usize>,
    /// It begins like ASN.1 DER, with a length that fits.
    pub der: bool,
    /// What stands in its place.
    pub stand_in: Option<StandIn>,
}

/// What stands where a signature was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// `SIGNATURE_REMOVED_BY_GOOGLE`: Cloud Run has checked the token and lets nobody behind it send it on.
    RemovedByGoogle,
    /// `***`, `[REDACTED]`, `<signature>`: what logs and displays show.
    Mask,
}

/// Everything a token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Its form.
    pub format: Format,
    /// The authentication schemes in front of it, as spelled: one, as a rule.
    pub schemes: Vec<String>,
    /// Characters of the token without what was around it.
    pub length: usize,
    /// The decoded header.
    pub header: Option<Document>,
    /// The decoded payload.
    pub payload: Option<Document>,
    /// The signature's size.
    pub signature: Option<Signature>,
    /// What was odd about the encoding, all segments together.
    pub oddities: Oddities,
    /// The time claims.
    pub times: Times,
    /// It is a private key in PEM.
    pub is_private_key: bool,
}

/// A set of scopes or the like, and the claim it stood in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants<'a> {
    /// `scope`, `scp`, `permissions`, `roles`, …
    pub claim: &'static str,
    /// What it grants.
    pub values: Vec<&'a str>,
}

/// How a token is bound to a key of its sender (RFC 7800).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding<'a> {
    /// `cnf.jkt`: DPoP (RFC 9449 section 6.1); the thumbprint.
    Dpop(&'a str),
    /// `cnf.x5t#S256`: mutual TLS (RFC 8705 section 3.1).
    Certificate,
    /// `cnf.jwk` or `cnf.kid`: another key.
    Key,
}

impl Decoded {
    /// Of a text that says nothing.
    #[must_use]
    pub fn empty(format: Format, now: Timestamp) -> Self {
        Self {
            format,
            schemes: Vec::new(),
            length: 0,
            header: None,
            payload: None,
            signature: None,
            oddities: Oddities::default(),
            times: Times::of(&Map::new(), now),
            is_private_key: false,
        }
    }

    /// The first authentication scheme in front of it, as spelled.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.schemes.first().map(String::as_str)
    }

    /// Whether it came with this scheme, in any case (RFC 9110 section 11.1).
    #[must_use]
    pub fn has_scheme(&self, name: &str) -> bool {
        self.scheme().is_some_and(|scheme| scheme.eq_ignore_ascii_case(name))
    }

    /// A header parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&Value> {
        self.header.as_ref()?.members.get(name)
    }

    /// A header parameter that is a string.
    #[must_use]
    pub fn param_str(&self, name: &str) -> Option<&str> {
        self.param(name)?.as_str()
    }

    /// A claim. Of an encrypted token the header may repeat `iss`, `sub` and `aud` (RFC 7519 section 5.3).
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        match &self.payload {
            Some(payload) => payload.members.get(name),
            None if matches!(self.format, Format::Jwe | Format::JweJson) && matches!(name, "iss" | "sub" | "aud") => {
                self.param(name)
            }
            None => None,
        }
    }

    /// A claim that is a string.
    #[must_use]
    pub fn claim_str(&self, name: &str) -> Option<&str> {
        self.claim(name)?.as_str()
    }

    /// Whether there are claims and this is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.claim(name).is_some()
    }

    /// `alg`.
    #[must_use]
    pub fn alg(&self) -> Option<&str> {
        self.param_str("alg")
    }

    /// `typ` in lower case and without `application/`, which may be left out (RFC 7515 section 4.1.9).
    #[must_use]
    pub fn typ(&self) -> Option<String> {
        let typ = self.param_str("typ")?.to_ascii_lowercase();
        Some(typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ))
    }

    /// `aud` as a list, whether it was a string or an array (RFC 7519 section 4.1.3).
    #[must_use]
    pub fn audience(&self) -> Vec<&str> {
        strings(self.claim("aud"))
    }

    /// The client the token was issued to, and the claim that says so: `client_id` (RFC 8693 section 4.3), `azp` (OpenID
    /// Connect), `appid` (Entra v1), `cid` (Okta).
    #[must_use]
    pub fn client(&self) -> Option<(&'static str, &str)> {
        ["client_id", "azp", "appid", "cid"].into_iter().find_map(|name| Some((name, self.claim_str(name)?)))
    }

    /// Whether the audience is nobody but the client itself.
    #[must_use]
    pub fn audience_is_client(&self) -> bool {
        let audience = self.audience();
        self.client().is_some_and(|(_, client)| !audience.is_empty() && audience.iter().all(|aud| *aud == client))
    }

    /// Scopes (RFC 8693 section 4.2; Entra and Okta write `scp`), permissions (Auth0), roles, groups and entitlements (RFC
    /// 9068 section 2.2.3.1), Keycloak's roles: whatever there is, in this order.
    #[must_use]
    pub fn grants(&self) -> Vec<Grants<'_>> {
        let mut grants = Vec::new();
        for claim in ["scope", "scp", "permissions", "roles", "groups", "entitlements"] {
            let values = match self.claim(claim) {
                Some(Value::String(text)) if matches!(claim, "scope" | "scp") => {
                    text.split_ascii_whitespace().collect()
                }
                value => strings(value),
            };
            if self.has(claim) {
                grants.push(Grants { claim, values });
            }
        }
        let realm = self.claim("realm_access").and_then(|access| access.get("roles"));
        if realm.is_some() {
            grants.push(Grants { claim: "realm_access.roles", values: strings(realm) });
        }
        grants
    }

    /// Scopes of `scope` or `scp`.
    #[must_use]
    pub fn scopes(&self) -> Option<Vec<&str>> {
        self.grants().into_iter().find(|grants| matches!(grants.claim, "scope" | "scp")).map(|grants| grants.values)
    }

    /// How the token is bound to its sender's key.
    #[must_use]
    pub fn binding(&self) -> Option<Binding<'_>> {
        let cnf = self.claim("cnf")?.as_object()?;
        if let Some(jkt) = cnf.get("jkt").and_then(Value::as_str) {
            Some(Binding::Dpop(jkt))
        } else if cnf.contains_key("x5t#S256") {
            Some(Binding::Certificate)
        } else {
            (cnf.contains_key("jwk") || cnf.contains_key("kid") || cnf.contains_key("jwe")).then_some(Binding::Key)
        }
    }

    /// The header says that it is a JWE's (RFC 7516 section 4.1.2: `enc` must be there).
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.param("enc").is_some()
    }

    /// It is encrypted with a secret that only its issuer has, and says nothing but who that is: what Auth0 gives clients
    /// that ask for no audience (Auth0, Access Tokens: opaque access tokens; auth0/nextjs-auth0#1809).
    #[must_use]
    pub fn is_for_its_issuer(&self) -> bool {
        self.format == Format::Jwe
            && self.alg() == Some("dir")
            && self.param_str("iss").is_some()
            && ["aud", "typ", "cty", "kid"].into_iter().all(|name| self.param(name).is_none())
    }

    /// Something took the signature off after checking it.
    #[must_use]
    pub fn is_signature_removed(&self) -> bool {
        self.signature.is_some_and(|signature| signature.stand_in == Some(StandIn::RemovedByGoogle))
    }

    /// `b64` is false: the payload is not base64url (RFC 7797).
    #[must_use]
    pub fn is_unencoded(&self) -> bool {
        self.param("b64") == Some(&Value::Bool(false))
    }

    /// The claim that takes most room, with the size of its JSON in bytes.
    #[must_use]
    pub fn largest_claim(&self) -> Option<(&str, usize)> {
        let members = &self.payload.as_ref()?.members;
        members.iter().map(|(name, value)| (name.as_str(), value.to_string().len())).max_by_key(|(_, size)| *size)
    }
}

/// The strings of a string or an array.
#[must_use]
pub fn strings(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
