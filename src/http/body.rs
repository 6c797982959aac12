//! Reading a body: at most so many bytes, in at most so much time, as long as there is memory.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;

use super::budget::{Account, LARGE, Share};
use super::refusal::Refusal;
use crate::protocol::RpcError;

/// The longest that a body may take to arrive: 4 MiB at 70 KB a second, slower than any network worth waiting for.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of a body that is too large is still read and thrown away, in bytes and time: most clients send all of it
/// before they look at the answer, and closing while they send would take the answer from them.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// How long a refusal waits for the rest of the body: longer than a proxy takes from head to body, too short to be worth
/// holding connections with.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Reads a body of at most `limit` bytes; one that is large, or not there at once, comes with its share of the budget. What
/// `meanwhile` gives lives while a body that is not there yet arrives.
///
/// # Errors
/// 413 as soon as it is known to be larger, 408 when it takes too long, 400 when the client breaks off, 503 when too many
/// large ones are under way.
pub async fn read<T>(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    budget: &Account,
    meanwhile: impl FnOnce() -> T,
) -> Result<(Bytes, Option<Share>), Refusal> {
    let mut share = None;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_none() {
        check_coding(headers)?;
    }
    let read = if declared.is_some_and(|length| length > limit as u64) {
        Ok(None)
    } else {
        let mut reading = pin!(read_up_to(&mut body, limit, budget, &mut share));
        // Nearly every body is there already, and needs no timer.
        match futures_util::poll!(&mut reading) {
            Poll::Ready(read) => read,
            Poll::Pending => {
                let _meanwhile = meanwhile();
                // Boxed: where it is not needed it takes no room in what every request holds.
                let read = Box::pin(tokio::time::timeout(READ_TIMEOUT, reading)).await;
                read.unwrap_or_else(|_| Err(timed_out()))
            }
        }
    };
    let Some(bytes) = read? else {
        // To read it would be to ask for it: RFC 9110 section 10.1.1.
        if headers.contains_key(EXPECT) {
            return Err(too_large(limit));
        }
        tokio::spawn(async move { tokio::time::timeout(DRAIN_TIME, drain(&mut body)).await });
        return Err(too_large(limit));
    };
    Ok((bytes, share))
}

/// A body that is coded in another way than in chunks would be read as something that it is not (RFC 9112 section 6.1).
fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let (first, more) = (codings.next(), codings.next());
    let is_plain = first.is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if is_plain && more.is_none() {
        return Ok(());
    }
    let error = RpcError::invalid_request("Not Implemented: the only Transfer-Encoding that is taken is chunked, once");
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, error).and_close())
}

/// The body; `None` when it is larger than `limit`.
async fn read_up_to(
    body: &mut Body,
    limit: usize,
    budget: &Account,
    share: &mut Option<Share>,
) -> Result<Option<Bytes>, Refusal> {
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Refusal::bad_request(format!("Bad Request: the body broke off: {error}")).and_close())?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Ok(None);
        }
        // By what has come, not by what is announced: announcing costs nothing. A small body that is there is worked on at
        // once; one that is not may stay for a minute, and HTTP/2 has many of them.
        let so_far = first.len() + rest.len() + data.len();
        if so_far > LARGE || !body.is_end_stream() {
            budget.grow(share, so_far)?;
        }
        // Nearly every body comes in one piece: that one is not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(Some(first));
    }
    let mut whole = Vec::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.append(&mut rest);
    Ok(Some(Bytes::from(whole)))
}

/// Whether the body came to its end within the bound.
async fn drain(body: &mut Body) -> bool {
    let mut left = DRAIN_BYTES;
    // Not by `is_end_stream`, which never comes true for a chunked body.
    loop {
        match body.frame().await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => left = rest,
                None => return false,
            },
        }
    }
}

/// Throws away the body of a request that is refused for its head, so that the connection can serve the next request: an
/// HTTP library closes one with an unread body without a word, and a proxy that has just sent the next request there
/// answers 502. `false`: there was no waiting for it, and the answer has to say `Connection: close`.
pub async fn discard(headers: &HeaderMap, mut body: Body) -> bool {
    if body.is_end_stream() {
        return true;
    }
    // To read it would be to ask for it: RFC 9110 section 10.1.1.
    if headers.contains_key(EXPECT) {
        return false;
    }
    if tokio::time::timeout(DISCARD_TIME, drain(&mut body)).await == Ok(true) {
        return true;
    }
    tokio::spawn(async move { tokio::time::timeout(DRAIN_TIME, drain(&mut body)).await });
    false
}

/// [`discard`], and what the refusal says of the connection.
pub async fn refuse(headers: &HeaderMap, body: Body, refusal: Refusal) -> Refusal {
    if discard(headers, body).await { refusal } else { refusal.and_close() }
}

fn timed_out() -> Refusal {
    let error = RpcError::invalid_request(format!(
        "Request Timeout: the body did not arrive within {} s",
        READ_TIMEOUT.as_secs()
    ));
    Refusal::new(StatusCode::REQUEST_TIMEOUT, error).and_close()
}

fn too_large(limit: usize) -> Refusal {
    let error = RpcError::invalid_request(format!(
        "Content Too Large: the body is larger than {limit} bytes (MCP_MAX_BODY_BYTES)"
    ));
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error).and_close()
}
