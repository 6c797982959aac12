//! POST: messages come in, answers go out.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tracing::Span;
use tracing::field::display;

use super::headers::Accepts;
use super::observe::loggable;
use super::refusal::Refusal;
use super::{Arrival, Connection, Http, body, enter_session, headers, prefix, refusal, run};
use crate::dispatch::Job;
use crate::protocol::message::{self, Malformed};
use crate::protocol::{self, Call, Id, Message, Notification, Revision, RpcError};
use crate::request;
use crate::session::{Session, Visit, write};

/// Seconds after which a client that found all sessions in use may try again.
const RETRY_AFTER_S: u64 = 10;

/// `_meta` key that names the version of a request of the stateless era (MCP 2026-07-28 basic/index, `_meta`).
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Handles POST on the MCP endpoint.
pub async fn post(State(http): State<Arc<Http>>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    if !headers::is_json(&parts.headers) {
        let error = RpcError::invalid_request("Unsupported Media Type: send Content-Type: application/json");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let accepts = headers::accepts(&parts.headers);
    if !accepts.json && !accepts.sse {
        return Err(Refusal::not_acceptable("the Accept header must allow application/json or text/event-stream"));
    }
    let body = body::read(&parts.headers, body, http.engine.config.max_body_bytes).await?;
    let connection = parts.extensions.get::<Connection>().copied();
    let arrival = parts.extensions.get::<Arrival>().cloned();
    let arrival = arrival.unwrap_or_else(|| Arrival {
        id: request::RequestId::generate(),
        at: std::time::Instant::now(),
        wall: http.engine.clock.wall_now(),
    });
    let request = Arc::new(request::Request {
        id: arrival.id,
        method: parts.method,
        uri: parts.uri,
        version: parts.version,
        headers: parts.headers,
        peer: connection.map(|connection| connection.peer),
        local: connection.and_then(|connection| connection.local),
        received: arrival.at,
        received_at: arrival.wall,
        body_bytes: body.len(),
    });
    let messages = message::read(&body).map_err(malformed)?;
    drop(body);
    match messages {
        message::Body::Single(message) => single(&http, &request, accepts, message).await,
        message::Body::Batch(messages) => batch(&http, &request, accepts, messages).await,
    }
}

fn malformed(malformed: Malformed) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, *malformed.error).to(malformed.id.as_ref())
}

/// Where a message is to be answered: the session it works on, and the revision.
struct Place {
    visit: Option<Visit>,
    revision: Revision,
}

/// Finds the session and the revision, or refuses. Version first: it is a rule for every request.
fn place(http: &Http, headers: &HeaderMap) -> Result<Place, Refusal> {
    let config = &http.engine.config;
    let named = headers::protocol_version(headers, &config.protocol)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))?;
    let visit = enter_session(http, headers)?;
    if visit.is_none() && config.require_session {
        return Err(Refusal::bad_request(
            "Bad Request: a session is required (MCP_REQUIRE_SESSION); POST initialize first, then send its Mcp-Session-Id",
        ));
    }
    let revision = match (&visit, named) {
        (Some(visit), _) => visit.session().revision(),
        (None, Some(named)) => named,
        (None, None) => config.protocol.when_unnamed(),
    };
    Ok(Place { visit, revision })
}

async fn single(
    http: &Arc<Http>,
    request: &Arc<request::Request>,
    accepts: Accepts,
    message: Message,
) -> Result<Response, Refusal> {
    let call = match message {
        Message::Request(call) => call,
        Message::Notification(notification) => {
            Span::current().record("method", loggable(&notification.method));
            let place = place(http, &request.headers)?;
            notify(&place, &notification);
            return Ok(accepted(place.visit.as_ref()));
        }
        Message::Response => return Ok(accepted(place(http, &request.headers)?.visit.as_ref())),
    };
    let id = call.id.clone();
    Span::current().record("method", loggable(&call.method));
    refuse_stateless(http, &call)?;
    if call.method == "initialize" {
        return initialize(http, request, accepts, &call).map_err(|refusal| refusal.to(Some(&id)));
    }
    let mut place = place(http, &request.headers).map_err(|refusal| refusal.to(Some(&id)))?;
    if let Some(visit) = &mut place.visit {
        visit.count_requests(1);
    }
    if call.method == "tools/call"
        && let Some(tool) = call.params.get("name").and_then(Value::as_str)
    {
        Span::current().record("tool", loggable(tool));
    }
    let work =
        run::Work { jobs: vec![job(call, &place, request)], errors: Vec::new(), batch: false, visit: place.visit };
    run::answer(http, accepts, work).await.map_err(|refusal| refusal.to(Some(&id)))
}

fn job(call: Call, place: &Place, request: &Arc<request::Request>) -> Job {
    Job {
        id: call.id,
        method: call.method,
        params: call.params,
        revision: place.revision,
        session: place.visit.as_ref().map(|visit| Arc::clone(visit.session())),
        request: Arc::clone(request),
        outbox: None,
    }
}

/// 2026-07-28 is not served: its discovery is answered so that clients fall back to `initialize`, and a request that
/// names a version of its era is told which ones there are.
fn refuse_stateless(http: &Http, call: &Call) -> Result<(), Refusal> {
    if call.method == "server/discover" {
        let error = RpcError::method_not_found(&call.method, &["initialize"]);
        return Err(Refusal::new(StatusCode::NOT_FOUND, error).to(Some(&call.id)));
    }
    let named = call.params.get("_meta").and_then(|meta| meta.get(META_VERSION)).and_then(Value::as_str);
    match named {
        Some(version) if protocol::is_stateless(version) || http.engine.config.protocol.get(version).is_none() => {
            let error = RpcError::unsupported_version(version, &http.engine.config.protocol);
            Err(Refusal::new(StatusCode::BAD_REQUEST, error).to(Some(&call.id)))
        }
        _ => Ok(()),
    }
}

fn initialize(
    http: &Http,
    request: &Arc<request::Request>,
    accepts: Accepts,
    call: &Call,
) -> Result<Response, Refusal> {
    headers::protocol_version(&request.headers, &http.engine.config.protocol)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))?;
    if enter_session(http, &request.headers)?.is_some() {
        return Err(Refusal::bad_request(
            "Invalid Request: session already initialized; leave Mcp-Session-Id out to start another, or DELETE it first",
        ));
    }
    let new = match http.engine.read_initialize(&call.params, request) {
        Ok(new) => new,
        Err(error) => return Ok(run::render_single(http, accepts, message::error(Some(&call.id), &error))),
    };
    let revision = new.protocol_version;
    let (owner, client) = (new.owner.is_some(), format!("{} {}", new.client_info.name, new.client_info.version));
    let created = write(&http.engine.sessions).create(new);
    let (mut visit, evicted) = created.map_err(|full| {
        let error = RpcError::new(
            RpcError::INTERNAL_ERROR,
            format!("Too many sessions: {full} and none is idle; try again later or raise MCP_MAX_SESSIONS"),
        );
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(RETRY_AFTER_S)
    })?;
    if let Some(evicted) = evicted {
        tracing::warn!(session = prefix(evicted.id()), "the longest-idle session gave way to a new one");
    }
    visit.count_requests(1);
    let session = Arc::clone(visit.session());
    Span::current().record("session", display(prefix(session.id())));
    tracing::info!(session = prefix(session.id()), %revision, client = loggable(&client), bound = owner, "session created");
    let answer = message::result(&call.id, &http.engine.initialize_result(revision));
    let mut response = run::render_single(http, accepts, answer);
    refusal::name_session(&mut response, session.id());
    Ok(response)
}

fn notify(place: &Place, notification: &Notification) {
    let Some(visit) = &place.visit else { return };
    let session: &Session = visit.session();
    match notification.method.as_str() {
        "notifications/initialized" => session.client_is_ready(),
        "notifications/cancelled" => {
            let id = notification.params.get("requestId").and_then(Id::from_value);
            let known = id.is_some_and(|id| session.cancel(&id));
            tracing::debug!(known, "cancellation");
        }
        _ => {}
    }
}

/// 202 for what wants no answer.
fn accepted(visit: Option<&Visit>) -> Response {
    let mut response = StatusCode::ACCEPTED.into_response();
    if let Some(visit) = visit {
        refusal::name_session(&mut response, visit.session().id());
    }
    response
}

async fn batch(
    http: &Arc<Http>,
    request: &Arc<request::Request>,
    accepts: Accepts,
    messages: Vec<Result<Message, Malformed>>,
) -> Result<Response, Refusal> {
    Span::current().record("method", "batch");
    let mut place = place(http, &request.headers)?;
    if !place.revision.has_batch() {
        return Err(Refusal::bad_request(format!(
            "Invalid Request: protocol version {} has no batches; send one message a POST",
            place.revision
        )));
    }
    let (mut jobs, mut errors) = (Vec::new(), Vec::new());
    for message in messages {
        match message {
            Ok(Message::Request(call)) if matches!(call.method.as_str(), "initialize" | "server/discover") => {
                // MCP 2025-03-26 basic/lifecycle: initialize must not be part of a batch.
                let error = RpcError::invalid_request(format!("Invalid Request: {} cannot be in a batch", call.method));
                errors.push(message::error(Some(&call.id), &error));
            }
            Ok(Message::Request(call)) => jobs.push(job(call, &place, request)),
            Ok(Message::Notification(notification)) => notify(&place, &notification),
            Ok(Message::Response) => {}
            Err(malformed) => errors.push(message::error(malformed.id.as_ref(), &malformed.error)),
        }
    }
    if jobs.is_empty() && errors.is_empty() {
        return Ok(accepted(place.visit.as_ref()));
    }
    if let Some(visit) = &mut place.visit {
        visit.count_requests(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
    }
    run::answer(http, accepts, run::Work { jobs, errors, batch: true, visit: place.visit }).await
}
