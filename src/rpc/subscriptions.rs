//! `subscriptions/listen`: the long-lived stream of the stateless era (MCP 2026-07-28 basic/patterns/subscriptions).

use serde_json::Value;

use super::shares::NoPlace;
use super::{Caller, Engine, MAX_SUBSCRIPTIONS};
use crate::protocol::meta::{META_SERVER_INFO, META_SUBSCRIPTION_ID};
use crate::protocol::{
    Answer, Answers, Call, Content, Failure, Id, Outgoing, Params, Refused, Reply, Revision, RpcError, message,
    server_info,
};

/// Opens the stream. Its first message says what the client will get: nothing here ever changes, so no kind of
/// notification is honoured, and the stream only stays alive until the server ends it with its answer.
pub fn answer(engine: &Engine, caller: &Caller<'_>, call: &Call) -> Reply {
    if let Err(error) = check(&call.params) {
        return Answer::error(&call.id, &error).into();
    }
    let refused = |failure, error| Reply::from(Refused::new(failure, error).to(&call.id));
    if !caller.subscribes {
        let error = RpcError::invalid_request(
            "Not Acceptable: subscriptions/listen answers with text/event-stream; the Accept header must allow it",
        );
        return refused(Failure::NotAcceptable, error);
    }
    let room = match engine.subscriptions.take(engine.server.holder(caller.request)) {
        Ok(room) => room,
        Err(why) => {
            let why = match why {
                NoPlace::Full => format!("all {MAX_SUBSCRIPTIONS} streams are open"),
                NoPlace::Share => {
                    format!("yours are a quarter of the {MAX_SUBSCRIPTIONS} that there are, or more, and few are left")
                }
            };
            let message = format!("Too many subscriptions: {why}; try again later");
            return refused(Failure::Busy, RpcError::new(RpcError::INTERNAL_ERROR, message));
        }
    };
    let (id, shutdown) = (call.id.clone(), engine.shutdown.clone());
    Content::Subscription(Box::pin(async_stream::stream! {
        // Given back when the stream ends, however it does.
        let _room = room;
        yield Outgoing::Notification(acknowledged(&id));
        shutdown.cancelled().await;
        // The answer to the request that opened the stream: it ended in order, and nobody need reconnect at once.
        yield Outgoing::Answer(Answers::One(ended(&id)));
    }))
    .into()
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
fn ended(id: &Id) -> Answer {
    let server = server_info(Revision::NEWEST);
    let meta = format!("{{\"{META_SUBSCRIPTION_ID}\":{id},\"{META_SERVER_INFO}\":{server}}}");
    Answer::to(id, message::result(id, format!("{{\"resultType\":\"complete\",\"_meta\":{meta}}}").as_bytes()))
}
