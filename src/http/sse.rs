//! Server-sent events as text (HTML Standard, Server-sent events).

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::refusal::HEADERS;
use crate::request::headers::ACCEL_BUFFERING;
use crate::seen::{self, Seen, StreamEnd};

/// Milliseconds after which a client should reconnect: what clients do unasked, so that a short outage stays short.
const RETRY_MS: u32 = 1000;

/// The media type of a stream.
pub const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// One JSON-RPC message. JSON has no raw line breaks, so one `data:` line holds it.
#[must_use]
pub fn message(id: Option<&str>, json: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(json.len() + 96);
    event.extend_from_slice(b"event: message\n");
    if let Some(id) = id {
        event.extend_from_slice(b"id: ");
        event.extend_from_slice(id.as_bytes());
        event.push(b'\n');
    }
    event.extend_from_slice(b"data: ");
    let start = event.len();
    event.extend_from_slice(json);
    // A line break between JSON tokens would end the line; in JSON it means nothing. Hardly any has one.
    if json.contains(&b'\n') || json.contains(&b'\r') {
        for byte in &mut event[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    event.extend_from_slice(b"\n\n");
    Bytes::from(event)
}

/// The event that a stream opens with where its revision wants one: an id to resume from, no data (SEP-1699).
#[must_use]
pub fn priming(id: &str) -> Bytes {
    let mut event = String::new();
    let _ = write!(event, "id: {id}\nretry: {RETRY_MS}\ndata:\n\n");
    Bytes::from(event)
}

/// The time to reconnect after, without an event.
#[must_use]
pub fn retry() -> Bytes {
    Bytes::from(format!("retry: {RETRY_MS}\n\n"))
}

/// A comment: bytes on the wire that no client takes for an event.
#[must_use]
pub fn comment(text: &'static str) -> Bytes {
    Bytes::from(format!(": {text}\n\n"))
}

/// The keep-alive event of the original.
#[must_use]
pub fn keep_alive_event() -> Bytes {
    Bytes::from_static(b"event: keep-alive\ndata: {\"type\":\"ping\"}\n\n")
}

/// A 200 response with a stream of events.
#[must_use]
pub fn response(events: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let Some(seen) = seen::current() else {
        return with_headers(Body::from_stream(events.map(Ok::<_, Infallible>)));
    };
    with_headers(Body::from_stream(watched(events, seen).map(Ok::<_, Infallible>)))
}

/// A stream of which is noted what goes out on it, and who ends it.
fn watched(events: impl Stream<Item = Bytes> + Send + 'static, seen: Arc<Seen>) -> impl Stream<Item = Bytes> + Send {
    /// Dropped before its end, the other end has ended it.
    struct Watch {
        seen: Arc<Seen>,
        last: Instant,
    }
    impl Drop for Watch {
        fn drop(&mut self) {
            self.seen.stream_ended(StreamEnd::Client, self.last.elapsed());
        }
    }
    seen.stream_opened();
    async_stream::stream! {
        let mut watch = Watch { seen, last: Instant::now() };
        futures_util::pin_mut!(events);
        while let Some(event) = events.next().await {
            watch.last = Instant::now();
            if event.starts_with(b"event: message") {
                watch.seen.event_sent();
            } else {
                watch.seen.kept_alive();
            }
            yield event;
        }
        watch.seen.stream_ended(StreamEnd::Server, watch.last.elapsed());
    }
}

/// A 200 response with events that are all known.
#[must_use]
pub fn response_at_once(events: Bytes) -> Response<Body> {
    with_headers(Body::from(events))
}

fn with_headers(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_data_line_whatever_the_json() {
        let event = message(Some("1-2"), b"{\"id\":\n\"a\"}");
        assert_eq!(event, "event: message\nid: 1-2\ndata: {\"id\": \"a\"}\n\n".as_bytes());
        assert_eq!(priming("1-0"), "id: 1-0\nretry: 1000\ndata:\n\n".as_bytes());
    }
}
