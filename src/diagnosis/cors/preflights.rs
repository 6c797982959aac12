//! The last preflight that reached this server. Where a proxy answers them, none ever does: then the proxy's policy counts,
//! not this server's.

use std::sync::{Mutex, PoisonError};

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

/// The last preflight; `None` before the first.
#[derive(Debug, Default)]
pub struct Preflights(Mutex<Option<Preflight>>);

impl Preflights {
    /// Keeps an OPTIONS request, if it is a preflight: one with `Origin` and `Access-Control-Request-Method` (Fetch standard,
    /// CORS-preflight request).
    pub fn note(&self, headers: &HeaderMap, at: Moment) {
        let text = |name: HeaderName| {
            let value = headers.get(&name)?;
            Some(shorten(&redact::header(name.as_str(), value.as_bytes()), MAX_KEPT))
        };
        let (Some(origin), Some(method)) = (text(ORIGIN), text(ACCESS_CONTROL_REQUEST_METHOD)) else { return };
        let headers = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let seen = Preflight { at, origin, method, headers };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> Option<Preflight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
