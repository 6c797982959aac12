//! GET: the session's queue as a stream of server-sent events.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream as EventStream;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::refusal::{self, Refusal};
use super::{Account, Arrival, Http, form, sse};
use crate::config::KeepAliveStyle;
use crate::diagnosis::findings::session::accept;
use crate::protocol::{Revision, RpcError};
use crate::request;
use crate::request::headers::{self, Accept};
use crate::rpc::{Arrived, Caller, SessionStream};
use crate::session::Stream;

/// The longest `?wait=`, in seconds: clients and proxies give an idle answer up after 300 s at the latest.
const MAX_WAIT_S: f64 = 300.0;

/// Handles GET on the MCP endpoint.
pub async fn get(
    State(http): State<Arc<Http>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refusal> {
    let request = Arc::new(arrival.request(request.into_parts().0, 0, None));
    answer(&http, &arrival.account, &request)
        .await
        .map_err(|refusal| refusal.noted(&http, &request.method, &request.headers, arrival.connection.peer))
}

async fn answer(http: &Arc<Http>, account: &Account, request: &Arc<request::Request>) -> Result<Response, Refusal> {
    let headers = &request.headers;
    let accepted = Accept::of(headers);
    let caller = Caller::of_http(request, accepted, true);
    refusal::refuse_stateless(http, &caller, "GET", "POST subscriptions/listen opens a stream")?;
    if !accepted.accepts.sse {
        let refusal = Refusal::not_acceptable(
            "GET answers with text/event-stream; the Accept header must allow it. A probe for OAuth can stop here: this server \
             itself asks for no token",
        );
        return Err(refusal.explained_by(accept(headers, "text/event-stream")));
    }
    let wait = wait(request.uri.query())?;
    let (session, opened) = match &http.engine.server.committer {
        None => http.engine.open(&caller, last_event_id(headers))?,
        Some(committer) => {
            let arrived = Arrived { request: Arc::clone(request), accept: accepted, streams: true };
            let last = last_event_id(headers).map(str::to_owned);
            Box::pin(http.engine.open_there(committer, arrived, last)).await?
        }
    };
    let mut response = match opened {
        SessionStream::Call(rest) => form::resumed(http, account, rest),
        SessionStream::Messages(stream, revision) => messages(http, *stream, revision, wait),
    };
    refusal::name_session(&mut response, session);
    Ok(response)
}

fn messages(http: &Http, stream: Stream, revision: Revision, wait: Option<Duration>) -> Response {
    let config = &http.engine.server.config;
    let keep_alive = KeepAlive {
        interval: config.sse_keepalive_interval,
        event: match config.sse_keepalive_style {
            KeepAliveStyle::Event => sse::keep_alive_event(),
            KeepAliveStyle::Comment => sse::comment("keep-alive"),
        },
    };
    tracing::debug!(resumed = stream.is_resumed(), from = stream.position_id(), ?wait, "stream opened");
    let opening = opening(&stream, revision);
    let shutdown = http.engine.shutdown.clone();
    match wait {
        None => sse::response(live(stream, opening, keep_alive, shutdown)),
        Some(wait) => sse::response(poll(stream, opening, keep_alive, shutdown, wait)),
    }
}

/// `?wait=SECONDS`.
fn wait(query: Option<&str>) -> Result<Option<Duration>, Refusal> {
    let value = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == "wait").then_some(value)
    });
    let Some(value) = value else { return Ok(None) };
    match value.parse::<f64>() {
        Ok(seconds) if (0.0..=MAX_WAIT_S).contains(&seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            RpcError::invalid_params(format!(
                "Invalid params: \"wait\" must be a number of seconds from 0 to {MAX_WAIT_S}"
            )),
        )),
    }
}

fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(headers::LAST_EVENT_ID)?.to_str().ok()
}

/// The first bytes, sent at once: some proxies and clients hold the whole answer back until there are any.
fn opening(stream: &Stream, revision: Revision) -> Bytes {
    match (revision.has_primed_streams(), stream.is_resumed()) {
        (true, false) => sse::priming(&stream.position_id()),
        // A resumed stream has given its client an id already; another event would repeat it.
        (true, true) => sse::retry(),
        (false, _) => sse::comment("stream open"),
    }
}

/// What an idle stream says, and how often.
#[derive(Clone)]
struct KeepAlive {
    interval: Duration,
    event: Bytes,
}

fn live(
    mut stream: Stream,
    opening: Bytes,
    keep_alive: KeepAlive,
    shutdown: CancellationToken,
) -> impl EventStream<Item = Bytes> + Send + 'static {
    async_stream::stream! {
        yield opening;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    stream.shut_down();
                    break;
                }
                event = stream.next() => match event {
                    Some(event) => yield sse::message(Some(&event.id), event.json.as_bytes()),
                    None => break,
                },
                () = tokio::time::sleep(keep_alive.interval) => {
                    stream.kept_alive();
                    yield keep_alive.event.clone();
                }
            }
        }
    }
}

/// For scripts: what is pending, or the first message within `wait`, then the end.
fn poll(
    mut stream: Stream,
    opening: Bytes,
    keep_alive: KeepAlive,
    shutdown: CancellationToken,
    wait: Duration,
) -> impl EventStream<Item = Bytes> + Send + 'static {
    stream.expect_end();
    async_stream::stream! {
        yield opening;
        let until = Instant::now() + wait;
        let mut delivered = false;
        loop {
            match stream.pending().await {
                Ok(Some(event)) => {
                    delivered = true;
                    yield sse::message(Some(&event.id), event.json.as_bytes());
                    continue;
                }
                Ok(None) if !delivered => {}
                _ => break,
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                event = stream.next() => match event {
                    Some(event) => {
                        delivered = true;
                        yield sse::message(Some(&event.id), event.json.as_bytes());
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(until) => break,
                () = tokio::time::sleep(keep_alive.interval) => yield keep_alive.event.clone(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_a_bounded_number_of_seconds() {
        assert_eq!(wait(None).unwrap(), None);
        assert_eq!(wait(Some("x=1")).unwrap(), None);
        assert_eq!(wait(Some("x=1&wait=2.5")).unwrap(), Some(Duration::from_millis(2500)));
        for bad in ["wait", "wait=", "wait=-1", "wait=301", "wait=NaN", "wait=inf", "wait=abc"] {
            assert!(wait(Some(bad)).is_err(), "{bad}");
        }
    }
}
