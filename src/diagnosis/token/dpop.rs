//! DPoP proofs (RFC 9449): what they say, and whether they are signed with the key they carry.

use serde::Serialize;

use super::decoded::Decoded;
use super::key::Key;
use super::own_key::OwnSignature;

/// What a DPoP proof says, by the names of its claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The method it is for.
    pub htm: Option<String>,
    /// The URL it is for, without query and fragment.
    pub htu: Option<String>,
    /// What makes it usable once.
    pub jti: Option<String>,
    /// base64url of the SHA-256 of the access token.
    pub ath: Option<String>,
    /// The server's nonce, if it wanted one (RFC 9449 section 9).
    pub nonce: Option<String>,
    /// Seconds since `iat`.
    #[serde(rename = "ageSeconds")]
    pub age: Option<i64>,
    /// RFC 7638 thumbprint of the key in the header: what `cnf.jkt` of the access token must be.
    pub thumbprint: Option<String>,
    /// Whether it is signed with that key.
    pub signature: OwnSignature,
}

impl Proof {
    /// Reads a proof's claims; `signature` is what `own_key::verify` said.
    #[must_use]
    pub fn of(token: &Decoded, signature: OwnSignature) -> Self {
        let claim = |name| token.claim_str(name).map(str::to_owned);
        Self {
            htm: claim("htm"),
            htu: claim("htu"),
            jti: claim("jti"),
            ath: claim("ath"),
            nonce: claim("nonce"),
            age: token.times.age(),
            thumbprint: token.param("jwk").and_then(|jwk| Key::read(jwk).ok()).map(|key| key.thumbprint()),
            signature,
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
