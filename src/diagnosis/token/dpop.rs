//! DPoP proofs (RFC 9449): what they say, whether they are signed with the key they carry, and whether they fit the
//! request they came with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::facts::Facts;
use super::notes::{Note, quote};
use super::own_key::Key;

/// How old a proof may be before servers refuse it: RFC 9449 section 11.1 speaks of seconds or minutes; five minutes is
/// the most generous default in use.
pub const MAX_AGE_SECONDS: i64 = 300;

/// Whether a proof is signed with the key in its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// It is.
    Valid,
    /// It is not.
    Invalid,
    /// Not checked, with the reason.
    NotChecked(String),
}

impl Verification {
    /// `valid`, `invalid`, `not-checked`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::NotChecked(_) => "not-checked",
        }
    }
}

/// What a DPoP proof says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// `htm`: the method it is for.
    pub method: Option<String>,
    /// `htu`: the URL it is for, without query and fragment.
    pub url: Option<String>,
    /// `jti`: what makes it usable once.
    pub id: Option<String>,
    /// `ath`: base64url of the SHA-256 of the access token.
    pub access_token_hash: Option<String>,
    /// `nonce`: the server's, if it wanted one (RFC 9449 section 9).
    pub nonce: Option<String>,
    /// Seconds since `iat`.
    pub age: Option<i64>,
    /// RFC 7638 thumbprint of the key in the header: what `cnf.jkt` of the access token must be.
    pub thumbprint: Option<String>,
    /// Whether it is signed with that key.
    pub signature: Verification,
}

/// The request that a proof came with, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// Its method.
    pub method: Option<&'a str>,
    /// Its URL as the client saw it.
    pub url: Option<&'a str>,
    /// The access token that came along.
    pub access_token: Option<&'a str>,
    /// `cnf.jkt` of that token.
    pub bound_to: Option<&'a str>,
}

impl Proof {
    /// Reads a proof's claims; `signature` is what `own_key::verify` said.
    #[must_use]
    pub fn of(facts: &Facts, signature: Verification) -> Self {
        let claim = |name| facts.claim_str(name).map(str::to_owned);
        Self {
            method: claim("htm"),
            url: claim("htu"),
            id: claim("jti"),
            access_token_hash: claim("ath"),
            nonce: claim("nonce"),
            age: facts.times.age(),
            thumbprint: facts.param("jwk").and_then(|jwk| Key::read(jwk).ok()).map(|key| key.thumbprint()),
            signature,
        }
    }

    /// What is wrong with the proof itself (RFC 9449 sections 4.2 and 4.3).
    #[must_use]
    pub fn notes(&self, facts: &Facts) -> Vec<Note> {
        let mut notes = Vec::new();
        if facts.typ().as_deref() != Some("dpop+jwt") {
            notes.push(Note::error("typ is not dpop+jwt: servers refuse the proof (RFC 9449 section 4.3)"));
        }
        let missing: Vec<&str> = ["jti", "htm", "htu", "iat"].into_iter().filter(|name| !facts.has(name)).collect();
        if !missing.is_empty() {
            notes.push(Note::error(format!("the proof lacks {} (RFC 9449 section 4.2)", missing.join(", "))));
        }
        match facts.param("jwk") {
            None => {
                notes.push(Note::error("the header has no jwk, the key that the proof proves (RFC 9449 section 4.2)"));
            }
            Some(jwk) => {
                if jwk.get("d").is_some() || jwk.get("k").is_some() {
                    notes.push(Note::error(
                        "the jwk in the header holds the private key: make a new key, this one is known to everybody who \
                         saw the request (RFC 9449 section 4.3)",
                    ));
                }
            }
        }
        match &self.signature {
            Verification::Valid => notes.push(Note::info("the proof is signed with the key in its header")),
            Verification::Invalid => notes.push(Note::error(
                "the proof is not signed with the key in its header: it was altered, or another key signed it",
            )),
            Verification::NotChecked(reason) => {
                notes.push(Note::warning(format!("the proof's signature was not checked: {reason}")));
            }
        }
        if let Some(age) = self.age.filter(|age| *age > MAX_AGE_SECONDS) {
            notes.push(Note::warning(format!(
                "the proof is {age} s old: a client makes a new one for each request, and servers refuse old ones (RFC 9449 \
                 section 11.1)"
            )));
        }
        if self.url.as_deref().is_some_and(|url| url.contains(['?', '#'])) {
            notes.push(Note::warning("htu has a query or fragment: it should have neither (RFC 9449 section 4.2)"));
        }
        notes
    }

    /// Whether the proof fits the request (RFC 9449 section 4.3, points 8, 9 and 12).
    #[must_use]
    pub fn compare(&self, with: &Presented<'_>) -> Vec<Note> {
        let mut notes = Vec::new();
        if let (Some(proof), Some(request)) = (&self.method, with.method) {
            notes.push(if proof == request {
                Note::info(format!("htm is {}, the method of this request", quote(proof)))
            } else {
                Note::error(format!("htm is {}, but this request is a {request} (RFC 9449 section 4.3)", quote(proof)))
            });
        }
        if let (Some(proof), Some(request)) = (&self.url, with.url) {
            notes.push(compare_urls(proof, request));
        }
        if let Some(token) = with.access_token {
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()));
            notes.push(match &self.access_token_hash {
                Some(ath) if *ath == hash => Note::info("ath is the hash of the access token that came along"),
                Some(_) => Note::error(
                    "ath is not the hash of the access token that came along: the proof was made for another token (RFC 9449 \
                     section 4.3)",
                ),
                None => Note::error("ath is missing: with an access token it is required (RFC 9449 section 4.2)"),
            });
        }
        if let (Some(bound), Some(thumbprint)) = (with.bound_to, &self.thumbprint) {
            notes.push(if bound == thumbprint {
                Note::info("the proof's key is the one the access token is bound to (cnf.jkt)")
            } else {
                Note::error(
                    "the proof's key is not the one the access token is bound to: cnf.jkt differs from its thumbprint (RFC \
                     9449 section 4.3)",
                )
            });
        }
        notes
    }
}

/// Compares `htu` with the request's URL (RFC 9449 section 4.3 point 9).
fn compare_urls(proof: &str, request: &str) -> Note {
    match url_difference(proof, request) {
        Ok(None) => Note::info(format!("htu is {}, the URL of this request", quote(proof))),
        Ok(Some(why)) => Note::error(format!(
            "htu is {}, but this request came to {}: {why} (RFC 9449 section 4.3)",
            quote(proof),
            quote(request)
        )),
        Err(NotAUrl) => {
            Note::error(format!("htu is {}, which is no absolute URL (RFC 9449 section 4.2)", quote(proof)))
        }
    }
}

/// One of two texts is no absolute URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAUrl;

/// How `proof` differs from `request`, without query and fragment, after normalization (RFC 9449 section 4.3 point 9, RFC
/// 3986 sections 6.2.2 and 6.2.3); `None` when it does not.
///
/// # Errors
///
/// When one of them is no absolute URL.
pub fn url_difference(proof: &str, request: &str) -> Result<Option<&'static str>, NotAUrl> {
    let (Some(wanted), Some(is)) = (Target::read(proof), Target::read(request)) else { return Err(NotAUrl) };
    Ok(if wanted == is {
        None
    } else if wanted.scheme != is.scheme {
        Some("the scheme differs: the proxy ends TLS, so X-Forwarded-Proto must say https")
    } else if wanted.authority != is.authority {
        Some("the host or port differs: the proxy must forward the public one in Host or X-Forwarded-Host")
    } else if wanted.path.trim_end_matches('/') == is.path.trim_end_matches('/') {
        Some("only the slash at the end differs")
    } else {
        Some("the path differs: a proxy strips or adds a prefix")
    })
}

#[derive(PartialEq, Eq)]
struct Target {
    scheme: String,
    authority: String,
    path: String,
}

impl Target {
    fn read(url: &str) -> Option<Self> {
        let uri: http::Uri = url.split('#').next()?.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let host = uri.host()?.to_ascii_lowercase();
        let default = if scheme == "https" { 443 } else { 80 };
        let port = uri.port_u16().filter(|port| *port != default);
        let authority = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        Some(Self { scheme, authority, path: normal_path(uri.path()) })
    }
}

/// Percent-encodings in upper case (RFC 3986 section 6.2.2.1), and `/` for nothing.
fn normal_path(path: &str) -> String {
    let mut left = 0;
    let normal: String = path
        .chars()
        .map(|c| match (c, left) {
            ('%', _) => {
                left = 2;
                c
            }
            (_, 1..) => {
                left -= 1;
                c.to_ascii_uppercase()
            }
            _ => c,
        })
        .collect();
    if normal.is_empty() { "/".to_owned() } else { normal }
}
