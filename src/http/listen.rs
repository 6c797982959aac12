//! `subscriptions/listen`: the long-lived stream of the stateless era (MCP 2026-07-28 basic/patterns/subscriptions).

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::headers::Accepts;
use super::refusal::Refusal;
use super::{Http, sse};
use crate::protocol::meta::META_SUBSCRIPTION_ID;
use crate::protocol::{Call, Id, RpcError, message, server_meta};

/// Opens the stream. Its first message says what the client will get: nothing here ever changes, so no kind of
/// notification is honoured, and the stream only stays alive until the server ends it with its answer.
pub fn answer(http: &Arc<Http>, accepts: Accepts, call: &Call) -> Result<Response, Refusal> {
    if !call.params.get("notifications").is_some_and(Value::is_object) {
        let error = RpcError::invalid_params(
            "Invalid params: `notifications` is required: an object of the notifications that are wanted, such as \
             {\"toolsListChanged\": true}",
        );
        return Err(Refusal::new(StatusCode::OK, error));
    }
    if !accepts.sse {
        return Err(Refusal::not_acceptable(
            "subscriptions/listen answers with text/event-stream; the Accept header must allow it",
        ));
    }
    let acknowledged = json!({ "_meta": subscription(&call.id), "notifications": {} });
    let opening = message::notification("notifications/subscriptions/acknowledged", &acknowledged);
    let mut meta = server_meta();
    meta[META_SUBSCRIPTION_ID] = id_value(&call.id);
    let closing = message::result(&call.id, json!({ "resultType": "complete", "_meta": meta }).to_string().as_bytes());
    Ok(sse::response(stream(
        sse::message(None, opening.as_bytes()),
        sse::message(None, &closing),
        http.engine.config.sse_keepalive_interval,
        http.shutdown.clone(),
    )))
}

/// The `_meta` of everything on the stream.
fn subscription(id: &Id) -> Value {
    json!({ META_SUBSCRIPTION_ID: id_value(id) })
}

fn id_value(id: &Id) -> Value {
    serde_json::from_str(id.as_json()).unwrap_or_default()
}

fn stream(
    opening: Bytes,
    closing: Bytes,
    keep_alive: Duration,
    shutdown: CancellationToken,
) -> impl Stream<Item = Bytes> + Send + 'static {
    async_stream::stream! {
        yield opening;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(keep_alive) => yield sse::comment("keep-alive"),
            }
        }
        // The answer to the request that opened the stream: it ended in order, and nobody need reconnect at once.
        yield closing;
    }
}
