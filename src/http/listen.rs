//! `subscriptions/listen`: the long-lived stream of the stateless era (MCP 2026-07-28 basic/patterns/subscriptions).

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::headers::Accepts;
use super::refusal::{RETRY_AFTER_S, Refusal};
use super::{Http, MAX_SUBSCRIPTIONS, sse};
use crate::protocol::meta::{META_SERVER_INFO, META_SUBSCRIPTION_ID};
use crate::protocol::{Call, Id, Params, Revision, RpcError, message, server_info};

/// Opens the stream. Its first message says what the client will get: nothing here ever changes, so no kind of
/// notification is honoured, and the stream only stays alive until the server ends it with its answer.
pub fn answer(http: &Arc<Http>, accepts: Accepts, call: &Call) -> Result<Response, Refusal> {
    check(&call.params).map_err(|error| Refusal::new(StatusCode::OK, error))?;
    if !accepts.sse {
        return Err(Refusal::not_acceptable(
            "subscriptions/listen answers with text/event-stream; the Accept header must allow it",
        ));
    }
    let room = Arc::clone(&http.subscriptions).try_acquire_owned().map_err(|_| {
        let error = RpcError::new(
            RpcError::INTERNAL_ERROR,
            format!("Too many subscriptions: all {MAX_SUBSCRIPTIONS} streams are open; try again later"),
        );
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(RETRY_AFTER_S)
    })?;
    let (opening, closing) = (acknowledged(&call.id), ended(&call.id));
    Ok(sse::response(stream(
        sse::message(None, opening.as_bytes()),
        sse::message(None, &closing),
        http.engine.config.sse_keepalive_interval,
        http.shutdown.clone(),
        room,
    )))
}

/// What may be in `notifications` (schema `SubscriptionFilter`); what this server has not heard of it does not judge.
fn check(params: &Params) -> Result<(), RpcError> {
    let Some(wanted) = params.get("notifications").and_then(Value::as_object) else {
        return Err(RpcError::invalid_params(
            "Invalid params: `notifications` is required: an object of the notifications that are wanted, such as \
             {\"toolsListChanged\": true}",
        ));
    };
    let strings = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    for (name, value) in wanted {
        let rule = match name.as_str() {
            "toolsListChanged" | "promptsListChanged" | "resourcesListChanged" if !value.is_boolean() => {
                "true or false"
            }
            "resourceSubscriptions" if !strings(value) => "an array of strings",
            _ => continue,
        };
        return Err(RpcError::invalid_params(format!("Invalid params: `notifications.{name}` must be {rule}")));
    }
    Ok(())
}

/// The first message. The id is written as it came: a number read and written again may be another one.
fn acknowledged(id: &Id) -> String {
    let params = format!("{{\"_meta\":{{\"{META_SUBSCRIPTION_ID}\":{id}}},\"notifications\":{{}}}}");
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{params}}}")
}

/// The last message: the answer to the request.
fn ended(id: &Id) -> Vec<u8> {
    let server = server_info(Revision::V2026_07_28);
    let meta = format!("{{\"{META_SUBSCRIPTION_ID}\":{id},\"{META_SERVER_INFO}\":{server}}}");
    message::result(id, format!("{{\"resultType\":\"complete\",\"_meta\":{meta}}}").as_bytes())
}

fn stream(
    opening: Bytes,
    closing: Bytes,
    keep_alive: Duration,
    shutdown: CancellationToken,
    room: OwnedSemaphorePermit,
) -> impl Stream<Item = Bytes> + Send + 'static {
    async_stream::stream! {
        // Given back when the stream ends, however it does.
        let _room = room;
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
