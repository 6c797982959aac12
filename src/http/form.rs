//! The forms of a reply over HTTP: a status and one JSON body, or a stream of events. Nothing else makes responses to
//! messages.

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};

use super::budget::Account;
use super::observe::Even;
use super::refusal::{self, Refusal};
use super::{Http, sse};
use crate::config::ResponseMode;
use crate::protocol::{Addressee, Answer, Answers, CallStream, Content, Outgoing, Reply, message};
use crate::recorder::{self, Recorder};
use crate::request::headers::{Accepts, SESSION_ID};
use crate::seen;

/// The forms that the answer to a POST may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON body.
    Json,
    /// A stream of events.
    Stream,
    /// JSON, unless there is something to stream before the answer.
    Either,
}

impl Form {
    /// By what the client accepts, then by `MCP_ECHO_RESPONSE`.
    #[must_use]
    pub fn choose(mode: ResponseMode, accepts: Accepts) -> Self {
        let (form, why) = match (accepts.json, accepts.sse, mode) {
            (true, false, _) => (Self::Json, "the client accepts nothing else"),
            (false, _, _) => (Self::Stream, "the client accepts nothing else"),
            (true, true, ResponseMode::Json) => (Self::Json, "MCP_ECHO_RESPONSE=json"),
            (true, true, ResponseMode::Sse) => (Self::Stream, "MCP_ECHO_RESPONSE=sse"),
            (true, true, ResponseMode::Auto) => (Self::Either, "JSON unless there is something to stream"),
        };
        tracing::debug!(?form, "form of the answer: {why}");
        form
    }

    /// Whether the client can have anything before the answer.
    #[must_use]
    pub fn streams(self) -> bool {
        self != Self::Json
    }
}

/// The response that a reply makes. `session` is the header in which the request named its session, if it did.
pub async fn render(
    http: &Http,
    account: &Account,
    form: Form,
    reply: Reply,
    session: Option<HeaderValue>,
) -> Response {
    let mut response = match reply.content {
        Content::Answer(answer) => complete(http.recorder.as_deref(), account, form, answer).await,
        Content::Stream(calls) => ongoing(http, account, form, calls).await,
        Content::Subscription(messages) => ongoing(http, account, Form::Either, messages).await,
        Content::Accepted => StatusCode::ACCEPTED.into_response(),
        Content::Refused(refused) => Refusal::from(refused).into_response(),
    };
    // A session that ended under its call is not named: some clients take up the id of any response again.
    let is_gone = response.status() == StatusCode::NOT_FOUND;
    if let Some(id) = reply.session.filter(|_| !is_gone) {
        // As it came, unless there are blanks around it: to write it anew costs as much as a layer.
        let came = session.filter(|value| value.len() == uuid::fmt::Hyphenated::LENGTH);
        response.headers_mut().insert(SESSION_ID, came.unwrap_or_else(|| refusal::session_value(id)));
    }
    response
}

/// An answer that is there.
async fn complete(recorder: Option<&Recorder>, account: &Account, form: Form, answers: Answers) -> Response {
    // A failure with a status of its own is no stream: that has 200 and could not say so.
    if let Answers::One(Answer { failure: Some(failure), json, .. }) = answers {
        let mut response = refusal::json(refusal::status(failure), json);
        response.headers_mut().extend(refusal::waits(failure));
        return response;
    }
    let to = answers.as_slice().first().and_then(|answer| answer.id.clone());
    let is_even = answers.as_slice().iter().any(|answer| answer.is_even);
    let body = if form == Form::Stream {
        let events: Vec<Bytes> = answers.as_slice().iter().map(|answer| sse::message(None, &answer.json)).collect();
        if let [event] = &events[..] { event.clone() } else { events.concat().into() }
    } else {
        Bytes::from(answers.into_json())
    };
    if recorder.is_some_and(Recorder::records_bodies)
        && let Some(seen) = seen::current()
    {
        seen.note_bodies(None, Some(recorder::body(&body)));
    }
    match account.hold(body).await {
        Ok(body) if form == Form::Stream => evened(sse::response_at_once(body), is_even),
        Ok(body) => evened(refusal::json(StatusCode::OK, body), is_even),
        Err(refusal) => {
            let to = to.map_or(Addressee::Unreadable, Addressee::Request);
            let mut response = refusal.addressed_to(to).into_response();
            // The request has been read: the connection is good for another.
            response.headers_mut().remove(CONNECTION);
            response
        }
    }
}

/// `response`, which does not show how long it took where `is_even`.
fn evened(mut response: Response, is_even: bool) -> Response {
    if is_even {
        response.extensions_mut().insert(Even);
    }
    response
}

/// Calls that go on: as JSON or as a stream, as the form and the first thing that happens want it.
async fn ongoing(http: &Http, account: &Account, form: Form, mut calls: CallStream) -> Response {
    let first = match form {
        // The first byte leaves at once.
        Form::Stream => None,
        Form::Either => calls.next().await,
        // Notifications are not sent to those who cannot have them.
        Form::Json => loop {
            match calls.next().await {
                Some(Outgoing::Notification(_)) => {}
                other => break other,
            }
        },
    };
    let opening = match (form, first) {
        (Form::Stream, _) => Opening::Comment("working"),
        (_, Some(Outgoing::Answer(answers))) => {
            return complete(http.recorder.as_deref(), account, form, answers).await;
        }
        (_, Some(Outgoing::Refused(refused))) => return Refusal::from(refused).into_response(),
        // Every call was cancelled.
        (Form::Json, _) => return StatusCode::NO_CONTENT.into_response(),
        (Form::Either, None) => return sse::response_at_once(Bytes::new()),
        (Form::Either, Some(first)) => Opening::Item(first),
    };
    sse::response(events(http, account, opening, calls))
}

/// The rest of a call's stream, for a client that comes back for it (SEP-1699).
#[must_use]
pub fn resumed(http: &Http, account: &Account, calls: CallStream) -> Response {
    sse::response(events(http, account, Opening::Comment("resumed"), calls))
}

/// What a stream opens with.
enum Opening {
    Comment(&'static str),
    Item(Outgoing),
}

/// What calls send, and their answers, as events.
fn events(
    http: &Http,
    account: &Account,
    opening: Opening,
    mut calls: CallStream,
) -> impl Stream<Item = Bytes> + Send + use<> {
    let (keep_alive, account) = (http.engine.server.config.sse_keepalive_interval, account.clone());
    async_stream::stream! {
        let mut next = match opening {
            Opening::Comment(comment) => {
                yield sse::comment(comment);
                None
            }
            Opening::Item(item) => Some(item),
        };
        loop {
            let item = if next.is_some() {
                next.take()
            } else {
                tokio::select! {
                    biased;
                    item = calls.next() => item,
                    // Not the keep-alive event of GET streams: clients read every event of a POST's stream.
                    () = tokio::time::sleep(keep_alive) => {
                        yield sse::comment("keep-alive");
                        continue;
                    }
                }
            };
            let Some(item) = item else { return };
            match item {
                Outgoing::Notification(note) => yield sse::message(None, note.as_bytes()),
                Outgoing::Answer(answers) => {
                    for answer in answers.as_slice() {
                        yield held(&account, answer).await;
                    }
                }
                Outgoing::Suspended(id) => {
                    yield sse::priming(&id);
                    return;
                }
                // The session is gone, and with it who would listen.
                Outgoing::Refused(_) => return,
            }
        }
    }
}

/// An answer as an event, counted until it is sent.
async fn held(account: &Account, answer: &Answer) -> Bytes {
    match account.hold(sse::message(None, &answer.json)).await {
        Ok(event) => event,
        Err(refusal) => sse::message(None, &message::error(answer.id.as_ref(), refusal.error())),
    }
}
