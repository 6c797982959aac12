//! A store of values behind HTTP (RFC 9110): `GET` and `PUT` of `BASE/SESSION-ID`, with `ETag`, `If-Match` and 412.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, DATE, ETAG, IF_MATCH, IF_NONE_MATCH, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use uuid::Uuid;

use super::{Asked, Put, Tag, Tagged, Values};
use crate::clock::Clock;
use crate::config::HttpAt;
use crate::session::lock::lock;
use crate::session::store::{Down, StoreTime};

/// How long an answer may take. A commit is tried for longer, under the same name.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// The largest value that is read, in bytes: the largest echo, escaped, beside a full queue.
const MOST: usize = 64 * 1024 * 1024;

/// A store of values behind HTTP. See the module's documentation.
pub struct HttpValues {
    client: Client<HttpConnector, Full<Bytes>>,
    at: HttpAt,
    authorization: Option<HeaderValue>,
    clock: Clock,
    /// By how much the store's clock is ahead of this one, in microseconds, as far as its `Date`s tell.
    ahead: Mutex<Option<i64>>,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl HttpValues {
    /// The store at `at`. Nothing is connected yet.
    #[must_use]
    pub fn new(at: HttpAt) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let authorization = at.user.as_ref().and_then(|user| {
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(user))).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, at, authorization, clock: Clock::new(), ahead: Mutex::default() }
    }

    async fn ask(
        &self,
        method: Method,
        id: Uuid,
        headers: &[(http::HeaderName, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, Down> {
        let mut url = self.at.base.clone();
        // Writing to a text does not fail.
        let _infallible = write!(url, "/{id}");
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(USER_AGENT, concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            // Compressed on the way, a value has another, weak tag.
            .header(ACCEPT_ENCODING, "identity");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| Down {
            why: format!("cannot ask it: {error}"),
            reached: false,
            lasts: true,
        })?;
        let asked = async {
            let response = self.client.request(request).await.map_err(|error| Down {
                why: format!("{error}{}", source(&error)),
                reached: !error.is_connect(),
                lasts: false,
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MOST).collect().await;
            let body = body.map_err(|error| Down {
                why: format!("its answer broke off: {error}"),
                reached: true,
                lasts: false,
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", PATIENCE.as_secs());
            Err(Down { why, reached: true, lasts: false })
        })?;
        self.learn(&answer.headers);
        Ok(answer)
    }

    /// Learns from the `Date` of an answer what time the store's clock shows: that second (RFC 9110 section 6.6.1).
    fn learn(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(date);
        let Some(date) = date else { return };
        let least = date - self.wall();
        let mut ahead = lock(&self.ahead);
        // It is within that second, and within those of the answers before.
        *ahead = Some(ahead.map_or(least + 500_000, |before| before.clamp(least, least + 1_000_000)));
    }

    fn wall(&self) -> i64 {
        self.clock.wall_now().as_microsecond()
    }
}

/// Seconds of an HTTP date, in microseconds since the epoch.
fn date(text: &str) -> Option<i64> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(time.timestamp().as_microsecond())
}

fn source(error: &dyn std::error::Error) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}

/// The tag of a value.
fn tag(headers: &HeaderMap) -> Result<Tag, Down> {
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    match tag {
        Some(tag) if tag.starts_with("W/") => {
            let why = format!(
                "its ETag {tag} is weak, and If-Match never matches it (RFC 9110 section 13.1.1): switch compression off on the way"
            );
            Err(Down { why, reached: true, lasts: true })
        }
        Some(tag) => Ok(tag.to_owned()),
        None => Err(Down { why: "its answers have no ETag".to_owned(), reached: true, lasts: true }),
    }
}

fn unexpected(answer: &Answer, what: &str) -> Down {
    let refused = answer.status.is_client_error();
    Down { why: format!("{what} was answered with {}", answer.status), reached: !refused, lasts: refused }
}

impl Values for HttpValues {
    fn get(&self, id: Uuid) -> Asked<'_, Option<Tagged>> {
        Box::pin(async move {
            let answer = self.ask(Method::GET, id, &[], Vec::new()).await?;
            match answer.status {
                StatusCode::OK => {
                    let tag = tag(&answer.headers)?;
                    Ok(Some((answer.body.into(), tag)))
                }
                StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
                _ => Err(unexpected(&answer, "GET")),
            }
        })
    }

    fn put(&self, id: Uuid, value: Vec<u8>, expected: Option<Tag>, ttl: Duration) -> Asked<'_, Put> {
        Box::pin(async move {
            let ttl = format!("max-age={}", ttl.as_secs().max(1));
            let expected = match &expected {
                Some(tag) => (IF_MATCH, tag.as_str()),
                None => (IF_NONE_MATCH, "*"),
            };
            let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, ttl.as_str()), expected];
            let answer = self.ask(Method::PUT, id, &headers, value).await?;
            match answer.status {
                StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(Put::Kept(tag(&answer.headers)?)),
                // 404: what was expected is gone.
                StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(Put::Stale),
                _ => Err(unexpected(&answer, "PUT")),
            }
        })
    }

    fn now(&self) -> Option<StoreTime> {
        let ahead = lock(&self.ahead).unwrap_or_default();
        u64::try_from(self.wall().saturating_add(ahead)).ok().map(StoreTime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000_000));
        assert_eq!(date("yesterday"), None);
    }

    /// `MCP_TEST_STORE=http://127.0.0.1:7420/s cargo test --lib session::values`, with `examples/http_store.py` running.
    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "it says where a store is, and nothing of what is tested")]
    async fn the_example_in_python_keeps_what_a_store_of_values_promises() {
        let url = std::env::var("MCP_TEST_STORE").ok().filter(|store| store.starts_with("http://"));
        let Some(base) = url else { return };
        let values = HttpValues::new(HttpAt { base, user: None });
        crate::session::kit::values(&values).await.unwrap();
        let store = crate::session::values::Whole::new(values, std::sync::Arc::new(Clock::new()));
        for seed in 0..20 {
            let positions = crate::session::kit::Positions::Time;
            crate::session::kit::sessions(&store, positions, seed).await.unwrap();
        }
    }

    #[test]
    fn a_weak_tag_is_told_and_not_used() {
        let headers = |tag| HeaderMap::from_iter([(ETAG, HeaderValue::from_static(tag))]);
        assert_eq!(super::tag(&headers("\"a\"")), Ok("\"a\"".to_owned()));
        assert!(super::tag(&headers("W/\"a\"")).unwrap_err().why.contains("compression"));
        assert!(super::tag(&HeaderMap::new()).unwrap_err().why.contains("no ETag"));
    }
}
