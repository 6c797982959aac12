//! The handshake era (2024-11-05 to 2025-11-25): `initialize`, sessions, batches.

use std::sync::Arc;

use tracing::Span;
use tracing::field::display;

use super::job::Job;
use super::running::{Calls, Disconnect};
use super::session::Admitted;
use super::strict::Asked;
use super::{Caller, Engine, malformed_part, methods};
use crate::config::SessionBinding;
use crate::diagnosis::redact::loggable;
use crate::protocol::message::Malformed;
use crate::protocol::{Answer, Call, Content, Failure, Message, Notification, Refused, Reply, RpcError, message};
use crate::session::history::Kind;
use crate::session::{Unbound, kept, prefix};

/// Answers a request.
pub fn answer(engine: &Arc<Engine>, caller: &Caller<'_>, call: Call) -> Reply {
    let id = call.id.clone();
    if call.method == "initialize" {
        return initialize(engine, caller, &call).unwrap_or_else(|refused| refused.to(&id).into());
    }
    match engine.admit(caller, &[(call.method.as_str(), &call.id)], 1) {
        Ok(admitted) => {
            let session = admitted.session_id();
            let calls = Calls::One(job(call, &admitted, caller));
            engine.run(caller, calls, admitted.guard, Disconnect::IsNothing).in_session(session)
        }
        Err(refused) => refused.to(&id).into(),
    }
}

/// Takes a notification.
pub fn notify(engine: &Engine, caller: &Caller<'_>, notification: &Notification) -> Reply {
    let admitted = match engine.admit(caller, &[], 0) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into(),
    };
    heed(engine, &admitted, notification);
    Reply { session: admitted.session_id(), content: Content::Accepted }
}

/// Takes the client's answer to a request of the server's. None is ever sent, so there is nothing to match it with.
pub fn take_response(engine: &Engine, caller: &Caller<'_>) -> Reply {
    match engine.admit(caller, &[], 0) {
        Ok(admitted) => Reply { session: admitted.session_id(), content: Content::Accepted },
        Err(refused) => refused.into(),
    }
}

fn job(call: Call, admitted: &Admitted, caller: &Caller<'_>) -> Job {
    Job {
        id: call.id,
        method: call.method,
        params: call.params,
        revision: admitted.revision,
        session: admitted.guard.as_ref().map(|guard| Arc::clone(guard.session())),
        request: Arc::clone(caller.request),
        client: None,
        outbox: None,
    }
}

#[inline(never)]
fn initialize(engine: &Engine, caller: &Caller<'_>, call: &Call) -> Result<Reply, Refused> {
    // Negotiated by the body, whatever the header says: that is for the requests after it (MCP 2025-06-18 basic/transports,
    // Protocol Version Header), and some clients send a version here that no server has.
    let named = engine.named(caller).unwrap_or_default();
    // Not noted: the session's history has the `initialize` that it began with.
    if let Some(guard) = engine.enter(caller, None, |_| {})? {
        let message = "Invalid Request: session already initialized; leave Mcp-Session-Id out to start another, or DELETE it first";
        return Err(Refused::malformed(message).in_session(guard.session().id()));
    }
    let new = match engine.read_initialize(&call.params, caller.request) {
        Ok(new) => new,
        Err(error) => return Ok(Answer::error(&call.id, &error).into()),
    };
    let revision = new.protocol_version;
    if engine.server.config.strict {
        let (kind, headers) = (Kind::Initialize, &caller.request.headers);
        engine.hold(&Asked { kind, headers, session: None, revision, named, calls: &[] })?;
    }
    if let (Err(why), SessionBinding::Require) = (&new.owner, engine.server.config.session_binding) {
        return Err(Refused::malformed(format!("Bad Request: {}", methods::unbindable(*why))));
    }
    let (bound, client) =
        (methods::binding(&new.owner), format!("{} {}", new.client_info.name, new.client_info.version));
    let mut entry = caller.entry(Kind::Initialize, named);
    if matches!(new.owner, Err(Unbound::Off)) {
        entry.user = engine.server.identity(&caller.request.headers).ok().map(|user| user.number());
    }
    let guard = engine.create(new, |session| session.record_request(&entry)).map_err(|full| {
        let error = RpcError::too_many_sessions(&full.to_string());
        Refused::new(Failure::Busy, error)
    })?;
    let id = guard.session().id();
    if guard.session().is_crowded() {
        engine.evict_for_memory();
    }
    Span::current().record("session", display(prefix(id)));
    if !Span::current().is_none() {
        kept::when_kept(move || tracing::info!(%revision, client = loggable(&client), bound, "session created"));
    }
    let result = methods::initialize_result(revision);
    Ok(Reply::from(Answer::to(&call.id, message::result(&call.id, &result))).in_session(Some(id)))
}

fn heed(engine: &Engine, admitted: &Admitted, notification: &Notification) {
    let Some(guard) = &admitted.guard else { return };
    let session = guard.session();
    match notification.method.as_str() {
        "notifications/initialized" => session.change(|working| working.record.client_ready = true),
        "notifications/cancelled" => {
            let call = notification.params.request_id();
            let known = call.is_some_and(|id| session.cancel(id));
            let store = engine.server.committer.as_ref().map(|committer| committer.store());
            match (store.filter(|store| store.is_shared()), call) {
                // It may be at work in another instance.
                (Some(store), Some(call)) if !known => {
                    let (store, id, call) = (Arc::clone(store), session.id(), call.clone());
                    kept::when_kept(move || store.cancel(id, &call));
                }
                _ if !known => session.change(|working| working.count_late_cancel()),
                _ => {}
            }
            tracing::debug!(known, "cancellation");
        }
        _ => {}
    }
}

/// Answers a batch.
#[inline(never)]
pub fn answer_batch(engine: &Arc<Engine>, caller: &Caller<'_>, messages: Vec<Result<Message, Malformed>>) -> Reply {
    // What comes after `notifications/initialized` comes in time.
    let early = messages.iter().flatten().take_while(
        |message| !matches!(message, Message::Notification(note) if note.method == "notifications/initialized"),
    );
    let calls: Vec<_> = early
        .filter_map(|message| match message {
            Message::Request(call) => Some((call.method.as_str(), &call.id)),
            _ => None,
        })
        .collect();
    let mut admitted = match engine.admit(caller, &calls, 0) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into(),
    };
    let session = admitted.session_id();
    if !admitted.revision.has_batch() {
        let refused = Refused::malformed(format!(
            "Invalid Request: protocol version {} has no batches; send one message a POST",
            admitted.revision
        ));
        return Reply::from(refused).in_session(session);
    }
    let (mut jobs, mut errors) = (Vec::new(), Vec::new());
    for message in messages {
        match message {
            Ok(Message::Request(call)) if stands_alone(&call.method) => {
                let error = RpcError::invalid_request(format!(
                    "Invalid Request: {} cannot be in a batch; send it in a POST of its own",
                    call.method
                ));
                errors.push(Answer::error(&call.id, &error));
            }
            Ok(Message::Request(call)) => jobs.push(job(call, &admitted, caller)),
            Ok(Message::Notification(notification)) if methods::must_be_answered(&notification.method) => {
                let error = methods::id_missing(&notification.method);
                errors.push(Answer { json: message::error(None, &error), failure: None, id: None, is_even: false });
            }
            Ok(Message::Notification(notification)) => heed(engine, &admitted, &notification),
            Ok(Message::Response) => {}
            Err(malformed) => errors.push(malformed_part(malformed)),
        }
    }
    if jobs.is_empty() && errors.is_empty() {
        return Reply { session, content: Content::Accepted };
    }
    let requests = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    admitted.guard.iter_mut().for_each(|guard| guard.count_requests(requests));
    engine.run(caller, Calls::Batch { jobs, errors }, admitted.guard, Disconnect::IsNothing).in_session(session)
}

/// Whether a method cannot be in a batch (MCP 2025-03-26 basic/lifecycle: initialize must not be part of one).
fn stands_alone(method: &str) -> bool {
    matches!(method, "initialize" | "server/discover")
}
