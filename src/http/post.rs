//! POST: messages come in and go to the era that they belong to.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::header::CONNECTION;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Collected};

use super::body::Body;
use super::budget::LARGE;
use super::era::Era;
use super::headers::Accepts;
use super::observe::Subject;
use super::refusal::Refusal;
use super::run::Answering;
use super::{Arrival, Http, body, handshake, headers, stateless};
use crate::diagnosis::findings::session::{accept, content_type};
use crate::dispatch::unknown_method;
use crate::protocol::message::{self, Malformed};
use crate::protocol::meta::named_version;
use crate::protocol::{Call, Id, Message, Params, RpcError};
use crate::request;

/// Handles POST on the MCP endpoint where a router stands before it.
pub async fn post(State(http): State<Arc<Http>>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    Arrived::new(arrival, request).answer(&http).await
}

/// A POST whose body is still to be read.
pub struct Arrived<B> {
    request: Arc<request::Request>,
    body: B,
    is_logged: bool,
}

impl<B: Body> Arrived<B> {
    /// Of it, what the tools may see.
    pub fn new(arrival: Arrival, request: http::Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let request = Arc::new(request::Request {
            id: arrival.id,
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            peer: Some(arrival.connection.peer),
            local: arrival.connection.local,
            received: arrival.at,
            received_at: arrival.wall,
            body_bytes: 0,
            share: None,
        });
        Self { request, body, is_logged: arrival.is_logged }
    }

    /// Reads the body and answers. What hardly any request needs is boxed: the future of every request has room for the rest.
    pub async fn answer(self, http: &Arc<Http>) -> Response {
        let Self { mut request, body, is_logged } = self;
        let headers = &request.headers;
        let accepts = match acceptable(headers) {
            Ok(accepts) => accepts,
            Err(refusal) => return body::refuse(headers, body, refusal).boxed().await.into_response(),
        };
        let taken = match body::read(headers, body, http.engine.config.max_body_bytes, &http.budget).await {
            Ok((bytes, share)) => {
                // Nobody else has it yet.
                if let Some(request) = Arc::get_mut(&mut request) {
                    request.body_bytes = bytes.len();
                    request.share = share.map(Arc::new);
                }
                take(http, request, accepts, &bytes, is_logged)
            }
            Err(refusal) => return refusal.into_response(),
        };
        match taken {
            Taken { answering: Answering::Now(answered), subject, .. } if !is_large(&answered) => {
                noted(answered, subject)
            }
            taken => settle(http, taken).boxed().await,
        }
    }
}

/// Waits for an answer, and until there is memory for it.
async fn settle(http: &Http, taken: Taken) -> Response {
    let Taken { answering, id, subject } = taken;
    let mut answered = match answering {
        Answering::Now(answered) => answered,
        Answering::Later(answering) => answering.await,
    };
    if is_large(&answered)
        && let Ok(response) = answered.as_mut()
    {
        let large = std::mem::take(response);
        *response = held(http, large, id.as_ref()).await;
    }
    noted(answered, subject)
}

fn is_large(answered: &Result<Response, Refusal>) -> bool {
    answered.as_ref().is_ok_and(|response| response.body().size_hint().lower() > LARGE as u64)
}

fn noted(answered: Result<Response, Refusal>, subject: Option<Subject>) -> Response {
    match subject {
        Some(subject) => subject.noted_on(answered),
        None => answered.into_response(),
    }
}

/// A request whose body has been read, and what its headers say of the answer.
pub struct Posted<'a> {
    /// It.
    pub request: &'a Arc<request::Request>,
    /// The forms that its answer may have.
    pub accepts: Accepts,
    /// What `MCP-Protocol-Version` says, whether it is served or not.
    pub version: Option<&'a str>,
}

/// What a body asked for.
struct Taken {
    answering: Answering,
    /// The id of a single request.
    id: Option<Id>,
    /// For the log line.
    subject: Option<Subject>,
}

/// Reads the messages and has them answered.
fn take(http: &Arc<Http>, request: Arc<request::Request>, accepts: Accepts, body: &[u8], is_logged: bool) -> Taken {
    let messages = match message::read(body) {
        Ok(messages) => messages,
        Err(error) => return Taken { answering: malformed(error).into(), id: None, subject: None },
    };
    let id = match &messages {
        message::Body::Single(Message::Request(call)) => Some(call.id.clone()),
        _ => None,
    };
    let subject = is_logged.then(|| Subject::of(&messages));
    let named = headers::protocol_version_text(&request.headers);
    let asked = Posted { request: &request, accepts, version: named.as_deref() };
    let answering = match messages {
        message::Body::Single(message) => single(http, &asked, message),
        message::Body::Batch(messages) => batch(http, &asked, messages),
    };
    drop(named);
    // Here ends the request, unless a call holds it: its share of the budget is what a large answer may be waiting for.
    drop(request);
    Taken { answering, id, subject }
}

/// What can be told by the headers alone: whether the body can be read, and the forms of an answer.
fn acceptable(headers: &HeaderMap) -> Result<Accepts, Refusal> {
    if !headers::is_json(headers) {
        let error = RpcError::invalid_request("Unsupported Media Type: send Content-Type: application/json");
        let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error);
        return Err(refusal.explained_by(&content_type(headers)));
    }
    if headers::is_encoded(headers) {
        return Err(Refusal::unsupported_encoding());
    }
    let accepts = headers::accepts(headers);
    if !accepts.json && !accepts.sse {
        let refusal = Refusal::not_acceptable("the Accept header must allow application/json or text/event-stream");
        return Err(refusal.explained_by(&accept(headers, "application/json or text/event-stream")));
    }
    Ok(accepts)
}

/// A large answer to the request with `id`, counted until it is sent; 503 where there is no room for it.
async fn held(http: &Http, response: Response, id: Option<&Id>) -> Response {
    let (parts, body) = response.into_parts();
    // All of it is there: what is still to be made has no known size.
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    match http.budget.hold(body).await {
        Ok(body) => Response::from_parts(parts, axum::body::Body::from(body)),
        Err(refusal) => {
            let mut refused = refusal.to(id).into_response();
            // The request has been read: the connection is good for another.
            refused.headers_mut().remove(CONNECTION);
            if let Some(session) = parts.headers.get(headers::SESSION_ID) {
                refused.headers_mut().insert(headers::SESSION_ID, session.clone());
            }
            refused
        }
    }
}

fn malformed(malformed: Malformed) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, *malformed.error).to(malformed.id.as_ref())
}

fn single(http: &Arc<Http>, asked: &Posted<'_>, message: Message) -> Answering {
    let served = &http.engine.config.protocol;
    let era_of = |method: &str, params: &Params| {
        let era = Era::of(method, params, asked.version, served);
        tracing::debug!(?era, "era of the message");
        era
    };
    match message {
        Message::Request(call) => match era_of(&call.method, &call.params) {
            Era::Handshake => handshake::answer(http, asked, call),
            Era::Stateless if served.has_stateless() => stateless::answer(http, asked.request, asked.accepts, call),
            Era::Stateless => refuse_stateless(http, asked, &call).into(),
        },
        Message::Notification(notification) => match era_of(&notification.method, &notification.params) {
            Era::Stateless if served.has_stateless() => stateless::notify(http, asked.request, &notification).into(),
            _ => handshake::notify(http, asked, &notification).into(),
        },
        Message::Response => match Era::by_header(asked.version, served) {
            Era::Stateless if served.has_stateless() => Refusal::bad_request(
                "Invalid Request: a response answers nothing here: servers of this protocol version send no requests",
            )
            .into(),
            _ => handshake::take_response(http, asked).into(),
        },
    }
}

fn batch(http: &Arc<Http>, asked: &Posted<'_>, messages: Vec<Result<Message, Malformed>>) -> Answering {
    let served = &http.engine.config.protocol;
    let stateless = |message: &Result<Message, Malformed>| {
        let era = match message {
            Ok(Message::Request(call)) => Era::of(&call.method, &call.params, asked.version, served),
            Ok(Message::Notification(note)) => Era::of(&note.method, &note.params, asked.version, served),
            Ok(Message::Response) | Err(_) => Era::by_header(asked.version, served),
        };
        era == Era::Stateless
    };
    // The whole array: half of it would be answered by rules that its client does not know.
    if served.has_stateless() && messages.iter().any(stateless) {
        return Refusal::bad_request("Invalid Request: this protocol version has no batches; send one message a POST")
            .into();
    }
    handshake::answer_batch(http, asked, messages)
}

/// Where no stateless revision is served: discovery is answered so that clients fall back to `initialize`, and a request
/// that names a version of that era is told which ones there are.
fn refuse_stateless(http: &Http, asked: &Posted<'_>, call: &Call) -> Refusal {
    if call.method == "server/discover" {
        return Refusal::new(StatusCode::NOT_FOUND, unknown_method(&call.method, false)).to(Some(&call.id));
    }
    let named = named_version(&call.params).map(Cow::Owned).or(asked.version.map(Cow::Borrowed));
    let error = RpcError::unsupported_version(&named.unwrap_or_default(), &http.engine.config.protocol);
    Refusal::new(StatusCode::BAD_REQUEST, error).to(Some(&call.id))
}
