//! The facts of one HTTP request that tools and diagnosis look at: as received, not interpreted.

pub mod headers;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, Uri, Version};

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
    /// Whether the proxy has shown that it handed the request on.
    pub proxy: ProxyProof,
    /// The other end of the TCP connection: usually the proxy.
    pub peer: Option<SocketAddr>,
    /// The address that the connection came in on.
    pub local: Option<SocketAddr>,
    /// When the request's head had been read, for measuring.
    pub received: Instant,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Its share of the memory for large bodies, where it has one: given back when nothing works on the request any more.
    pub share: Option<Arc<dyn Any + Send + Sync>>,
}

/// Whether the header that `MCP_PROXY_SECRET` names came with a request. Its value goes no further than where the request
/// came in: in [`Request::headers`] stands `***` in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyProof {
    /// No secret is set.
    #[default]
    NotAsked,
    /// It came, and is right: the request came through the proxy.
    Proven,
    /// It did not come.
    Missing,
    /// It came with another value, or several times.
    Wrong,
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
pub struct RequestId(Id);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    /// Of ours: no memory of its own.
    Generated([u8; 16]),
    /// The caller's.
    Accepted(HeaderValue),
}

impl RequestId {
    /// The caller's id, if it is sane.
    #[must_use]
    pub fn accept(theirs: &str) -> Option<Self> {
        let sane = |b: u8| b.is_ascii_alphanumeric() || b"._:=+/@-".contains(&b);
        let is_sane = (1..=MAX_REQUEST_ID).contains(&theirs.len()) && theirs.bytes().all(sane);
        Some(Self(Id::Accepted(HeaderValue::from_str(theirs).ok().filter(|_| is_sane)?)))
    }

    /// A new id: `req_` and 12 hex digits. They begin anywhere and go on by leaps, so that no two requests of a run share
    /// them and those of two runs hardly ever do.
    #[must_use]
    pub fn generate() -> Self {
        /// 2^48 divided by the golden ratio, made odd: leaps of it come to every number before they come to one again.
        const LEAP: u64 = 0x9e37_79b9_7f4b;
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        #[expect(clippy::disallowed_methods, reason = "the ids of a run begin where nobody can tell")]
        static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(uuid::Uuid::new_v4().as_u64_pair().1));
        let mut number = NEXT.fetch_add(LEAP, Ordering::Relaxed);
        let mut id = *b"req_000000000000";
        for digit in id[4..].iter_mut().rev() {
            *digit = DIGITS[usize::try_from(number & 0xf).unwrap_or_default()];
            number >>= 4;
        }
        Self(Id::Generated(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of nothing else than ASCII.
        match &self.0 {
            Id::Generated(id) => str::from_utf8(id).unwrap_or_default(),
            Id::Accepted(id) => id.to_str().unwrap_or_default(),
        }
    }

    /// The id as a header's value.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        match &self.0 {
            // Letters and digits: always a header's value.
            Id::Generated(id) => HeaderValue::from_bytes(id).unwrap_or(HeaderValue::from_static("req_0")),
            Id::Accepted(id) => id.clone(),
        }
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
