//! A preflight as it reached this server. Where a proxy answers them, none ever does: then the proxy's policy counts, not
//! this server's.

use http::header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, HeaderName};

use crate::clock::Moment;
use crate::diagnosis::redact;
use crate::text::shorten;

/// Characters kept of each of its headers.
const MAX_KEPT: usize = 300;

/// A preflight as it came, safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// When.
    pub at: Moment,
    /// `Origin`
    pub origin: String,
    /// `Access-Control-Request-Method`
    pub method: String,
    /// `Access-Control-Request-Headers`; empty when the script sets none.
    pub headers: String,
}

impl Preflight {
    /// An OPTIONS request with these headers, if it is a preflight: one with `Origin` and `Access-Control-Request-Method`
    /// (Fetch standard, CORS-preflight request).
    #[must_use]
    pub fn of(headers: &HeaderMap, at: Moment) -> Option<Self> {
        let text = |name: HeaderName| {
            let value = headers.get(&name)?;
            Some(shorten(&redact::header(name.as_str(), value.as_bytes()), MAX_KEPT))
        };
        Some(Self {
            at,
            origin: text(ORIGIN)?,
            method: text(ACCESS_CONTROL_REQUEST_METHOD)?,
            headers: text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default(),
        })
    }
}
