//! POST in the handshake era (2024-11-05 to 2025-11-25): `initialize`, sessions, batches.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tracing::Span;
use tracing::field::display;

use super::observe::{is_logged, loggable};
use super::post::Posted;
use super::refusal::Refusal;
use super::run::{Answering, Calls, Disconnect, Work};
use super::strict;
use super::{Http, enter_session, headers, note, prefix, refusal, revision, run};
use crate::dispatch::Job;
use crate::protocol::message::{self, Malformed};
use crate::protocol::{Call, Id, Message, Notification, Revision, RpcError};
use crate::request;
use crate::session::history::Kind;
use crate::session::{Session, SessionGuard, write};

/// Answers a request.
pub fn answer(http: &Arc<Http>, asked: &Posted<'_>, call: Call) -> Answering {
    let id = call.id.clone();
    if call.method == "initialize" {
        return Answering::from(initialize(http, asked, &call)).to(&id);
    }
    let mut place = match place(http, asked, &[(call.method.as_str(), &call.id)]) {
        Ok(place) => place,
        Err(refusal) => return refusal.to(Some(&id)).into(),
    };
    if let Some(visit) = &mut place.visit {
        visit.count_requests(1);
    }
    let calls = Calls::One(job(call, &place, asked.request));
    run::answer(http, asked.accepts, work(calls, place, asked.request)).to(&id)
}

fn work(calls: Calls, place: Place, request: &request::Request) -> Work {
    let session_id = place.visit.as_ref().map(|visit| match request.headers.get(headers::SESSION_ID) {
        // As it came, unless there are blanks around it.
        Some(value) if value.len() == uuid::fmt::Hyphenated::LENGTH => value.clone(),
        _ => refusal::session_value(visit.session().id()),
    });
    Work { calls, visit: place.visit, session_id, disconnect: Disconnect::IsNothing }
}

/// Takes a notification.
pub fn notify(http: &Http, asked: &Posted<'_>, notification: &Notification) -> Result<Response, Refusal> {
    let place = place(http, asked, &[])?;
    heed(&place, notification);
    Ok(accepted(place.visit.as_ref()))
}

/// Takes the client's answer to a request of the server's. None is ever sent, so there is nothing to match it with.
pub fn take_response(http: &Http, asked: &Posted<'_>) -> Result<Response, Refusal> {
    Ok(accepted(place(http, asked, &[])?.visit.as_ref()))
}

/// Where a message is to be answered: the session it works on, and the revision.
struct Place {
    visit: Option<SessionGuard>,
    revision: Revision,
}

/// Finds the session and the revision, or refuses. Version first: it is a rule for every request. `calls` are methods and
/// ids of the JSON-RPC requests.
fn place(http: &Http, asked: &Posted<'_>, calls: &[(&str, &Id)]) -> Result<Place, Refusal> {
    let headers = &asked.request.headers;
    let config = &http.engine.config;
    let named = headers::served_version(asked.version, &config.protocol)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))?;
    let visit = enter_session(http, headers)?;
    if visit.is_none() && config.require_session {
        return Err(Refusal::bad_request(
            "Bad Request: a session is required (MCP_REQUIRE_SESSION); POST initialize first, then send its Mcp-Session-Id",
        ));
    }
    let revision = revision(http, visit.as_ref().map(|visit| &**visit.session()), named);
    let session = visit.as_ref().map(|visit| &**visit.session());
    if let Some(session) = session {
        note(session, Kind::Post, headers, asked.request.peer, named);
        for (method, id) in calls {
            session.change(|working| working.record_call(method, id));
        }
    }
    strict::check(http, &strict::Asked { kind: Kind::Post, headers, session, revision, named, calls })?;
    Ok(Place { visit, revision })
}

fn job(call: Call, place: &Place, request: &Arc<request::Request>) -> Job {
    Job {
        id: call.id,
        method: call.method,
        params: call.params,
        revision: place.revision,
        session: place.visit.as_ref().map(|visit| Arc::clone(visit.session())),
        request: Arc::clone(request),
        client: None,
        outbox: None,
    }
}

#[inline(never)]
fn initialize(http: &Http, asked: &Posted<'_>, call: &Call) -> Result<Response, Refusal> {
    let &Posted { request, accepts, version } = asked;
    let named = headers::served_version(version, &http.engine.config.protocol)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))?;
    if let Some(visit) = enter_session(http, &request.headers)? {
        let message = "Invalid Request: session already initialized; leave Mcp-Session-Id out to start another, or DELETE it first";
        return Err(Refusal::bad_request(message).in_session(visit.session().id()));
    }
    let new = match http.engine.read_initialize(&call.params, request) {
        Ok(new) => new,
        Err(error) => return Ok(run::render_single(http, accepts, message::error(Some(&call.id), &error))),
    };
    let revision = new.protocol_version;
    let (kind, headers) = (Kind::Initialize, &request.headers);
    strict::check(http, &strict::Asked { kind, headers, session: None, revision, named, calls: &[] })?;
    let (owner, client) = (new.owner.is_some(), format!("{} {}", new.client_info.name, new.client_info.version));
    let created = write(&http.engine.sessions).create(new);
    let (mut visit, evicted) = created.map_err(|full| {
        let error = RpcError::too_many_sessions(&full.to_string());
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(refusal::RETRY_AFTER_S)
    })?;
    if let Some(evicted) = evicted {
        tracing::warn!(
            session = prefix(evicted.id()),
            "evicted the longest-idle session: there were as many as may be"
        );
    }
    visit.count_requests(1);
    let session = Arc::clone(visit.session());
    if session.is_crowded() {
        http.engine.evict_for_memory();
    }
    note(&session, kind, headers, request.peer, named);
    Span::current().record("session", display(prefix(session.id())));
    if is_logged() {
        tracing::info!(%revision, client = loggable(&client), bound = owner, "session created");
    }
    let answer = message::result(&call.id, http.engine.initialize_result(revision).as_bytes());
    let mut response = run::render_single(http, accepts, answer);
    refusal::name_session(&mut response, session.id());
    Ok(response)
}

fn heed(place: &Place, notification: &Notification) {
    let Some(visit) = &place.visit else { return };
    let session: &Session = visit.session();
    match notification.method.as_str() {
        "notifications/initialized" => session.change(|working| working.record.client_ready = true),
        "notifications/cancelled" => {
            let id = notification.params.get("requestId").and_then(Id::from_value);
            let known = id.is_some_and(|id| session.cancel(&id));
            tracing::debug!(known, "cancellation");
        }
        _ => {}
    }
}

/// 202 for what wants no answer.
fn accepted(visit: Option<&SessionGuard>) -> Response {
    let mut response = StatusCode::ACCEPTED.into_response();
    if let Some(visit) = visit {
        refusal::name_session(&mut response, visit.session().id());
    }
    response
}

/// Answers a batch.
#[inline(never)]
pub fn answer_batch(http: &Arc<Http>, asked: &Posted<'_>, messages: Vec<Result<Message, Malformed>>) -> Answering {
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
    let mut place = match place(http, asked, &calls) {
        Ok(place) => place,
        Err(refusal) => return refusal.into(),
    };
    if !place.revision.has_batch() {
        let refusal = Refusal::bad_request(format!(
            "Invalid Request: protocol version {} has no batches; send one message a POST",
            place.revision
        ));
        return match &place.visit {
            Some(visit) => refusal.in_session(visit.session().id()).into(),
            None => refusal.into(),
        };
    }
    let (mut jobs, mut errors) = (Vec::new(), Vec::new());
    for message in messages {
        match message {
            Ok(Message::Request(call)) if matches!(call.method.as_str(), "initialize" | "server/discover") => {
                // MCP 2025-03-26 basic/lifecycle: initialize must not be part of a batch.
                let error = RpcError::invalid_request(format!("Invalid Request: {} cannot be in a batch", call.method));
                errors.push(message::error(Some(&call.id), &error));
            }
            Ok(Message::Request(call)) => jobs.push(job(call, &place, asked.request)),
            Ok(Message::Notification(notification)) => heed(&place, &notification),
            Ok(Message::Response) => {}
            Err(malformed) => errors.push(message::error(malformed.id.as_ref(), &malformed.error)),
        }
    }
    if jobs.is_empty() && errors.is_empty() {
        return Answering::Now(Ok(accepted(place.visit.as_ref())));
    }
    if let Some(visit) = &mut place.visit {
        visit.count_requests(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
    }
    let calls = Calls::Batch { jobs, errors };
    run::answer(http, asked.accepts, work(calls, place, asked.request))
}
