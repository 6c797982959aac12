//! The facts of one HTTP request that tools and diagnosis look at: as received, not interpreted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, Uri, Version};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

/// One HTTP request as it arrived. Knows nothing of JSON-RPC.
#[derive(Debug, Clone)]
pub struct Request {
    /// `X-Request-Id`: the caller's if it was sane, else one of ours.
    pub id: RequestId,
    /// HTTP method.
    pub method: Method,
    /// Path and query as received.
    pub uri: Uri,
    /// HTTP version of the connection.
    pub version: Version,
    /// All headers, repeated ones each.
    pub headers: HeaderMap,
    /// The other end of the TCP connection: usually the proxy.
    pub peer: Option<SocketAddr>,
    /// The address that the connection came in on.
    pub local: Option<SocketAddr>,
    /// When the request's head had been read, for measuring.
    pub received: Instant,
    /// When the request's head had been read, for people.
    pub received_at: Timestamp,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Its share of the memory for large bodies, where it has one: given back when nothing works on the request any more.
    pub share: Option<Arc<OwnedSemaphorePermit>>,
}

impl Request {
    /// The first value of `name`, when it is visible text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The longest `X-Request-Id` that is taken over from a caller: room for a UUID, a ULID or a trace id, not for a payload.
pub const MAX_REQUEST_ID: usize = 128;

/// The value of `X-Request-Id`: 1 to [`MAX_REQUEST_ID`] characters of `[A-Za-z0-9._:=+/@-]`, safe in any log or header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The caller's id, if it is sane.
    #[must_use]
    pub fn accept(theirs: &str) -> Option<Self> {
        let sane = |b: u8| b.is_ascii_alphanumeric() || b"._:=+/@-".contains(&b);
        ((1..=MAX_REQUEST_ID).contains(&theirs.len()) && theirs.bytes().all(sane)).then(|| Self(theirs.to_owned()))
    }

    /// A new id: `req_` and 12 hex digits.
    #[must_use]
    pub fn generate() -> Self {
        let random = uuid::Uuid::new_v4().as_u128() & 0xffff_ffff_ffff;
        Self(format!("req_{random:012x}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_request_id_is_kept_only_if_it_is_sane() {
        assert_eq!(RequestId::accept("abc-123").unwrap().as_str(), "abc-123");
        for bad in ["", "a b", "a\u{7f}", "<script>", &"x".repeat(MAX_REQUEST_ID + 1)] {
            assert_eq!(RequestId::accept(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn generated_request_ids_have_the_documented_shape() {
        let id = RequestId::generate();
        assert_eq!(id.as_str().len(), 16);
        assert!(id.as_str().starts_with("req_"));
        assert!(RequestId::accept(id.as_str()).is_some());
    }
}
