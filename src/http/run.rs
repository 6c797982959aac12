//! Running calls and choosing the form of their answer: one JSON body, or a stream.
//!
//! Most calls are answered in one go, without a future. The others go on in a task of their own, for two reasons: a
//! disconnect is not a cancellation (MCP 2025-11-25 basic/transports, Sending Messages), and shutdown can wait for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryFutureExt as _};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::headers::{self, Accepts};
use super::refusal::{self, Refusal};
use super::{Budget, Http, MAX_CALLS, internal_error, note_panic, sse};
use crate::config::ResponseMode;
use crate::dispatch::{Begun, Job, Waiting};
use crate::protocol::{Id, Revision, RpcError, message};
use crate::session::{EventStream, Missing, Session, SessionGuard};
use crate::tools::{Outbox, Outgoing};

/// What one POST asks for.
pub struct Work {
    /// What is to be done.
    pub calls: Calls,
    /// The session they work on: kept from idling until they are done.
    pub visit: Option<SessionGuard>,
    /// Its id, as the request named it.
    pub session_id: Option<HeaderValue>,
    /// What a client that goes away means.
    pub disconnect: Disconnect,
}

/// The calls of one POST.
pub enum Calls {
    /// One.
    One(Job),
    /// Those of an array, answered as one.
    Batch {
        /// What is to be done.
        jobs: Vec<Job>,
        /// Answers to messages that were no calls.
        errors: Vec<Vec<u8>>,
    },
}

/// What becomes of a POST.
pub enum Answering {
    /// The answer is there: so with nearly all.
    Now(Result<Response, Refusal>),
    /// It takes its time.
    Later(BoxFuture<'static, Result<Response, Refusal>>),
}

impl Answering {
    /// Addressed to the request with `id`, where it is refused.
    #[must_use]
    pub fn to(self, id: &Id) -> Self {
        match self {
            Self::Now(answered) => Self::Now(answered.map_err(|refusal| refusal.to(Some(id)))),
            Self::Later(answering) => {
                let id = id.clone();
                Self::Later(answering.map_err(move |refusal| refusal.to(Some(&id))).boxed())
            }
        }
    }
}

impl From<Result<Response, Refusal>> for Answering {
    fn from(answered: Result<Response, Refusal>) -> Self {
        Self::Now(answered)
    }
}

impl From<Refusal> for Answering {
    fn from(refusal: Refusal) -> Self {
        Self::Now(Err(refusal))
    }
}

/// What it means for a call that its client goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disconnect {
    /// Nothing: the call goes on (MCP 2025-11-25 basic/transports, Sending Messages).
    IsNothing,
    /// It is cancelled (MCP 2026-07-28 basic/patterns/cancellation).
    Cancels,
}

/// The task that a call goes on in.
enum Going {
    On(JoinHandle<Answers>),
    WhileWanted(AbortOnDropHandle<Answers>),
}

impl Future for Going {
    type Output = Result<Answers, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::On(task) => Pin::new(task).poll(context),
            Self::WhileWanted(task) => Pin::new(task).poll(context),
        }
    }
}

/// The forms that an answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Stream,
    /// JSON, unless there is something to stream before the answer.
    Either,
}

impl Form {
    fn choose(mode: ResponseMode, accepts: Accepts) -> Self {
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
}

/// An answer as JSON, and the status that it makes when it is the only one.
struct Answer {
    json: Vec<u8>,
    status: StatusCode,
    /// The request that it answers; `None` for what was no request.
    id: Option<Id>,
}

impl From<Vec<u8>> for Answer {
    fn from(json: Vec<u8>) -> Self {
        Self { json, status: StatusCode::OK, id: None }
    }
}

/// The status of an error answer. In the handshake era it is 200: a 4xx would end a whole client there. The stateless era
/// has rules of its own (MCP 2026-07-28 basic/index, `_meta`, and streamable-http, Protocol Version Header).
fn error_status(error: &RpcError, revision: Revision) -> StatusCode {
    match error.code {
        _ if !revision.is_stateless() => StatusCode::OK,
        RpcError::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        RpcError::MISSING_CLIENT_CAPABILITY => StatusCode::BAD_REQUEST,
        // The only internal error that a call returns: no room for another session.
        RpcError::INTERNAL_ERROR => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}

/// The answers of a POST.
enum Answers {
    /// To one call; `None` when it was cancelled.
    One(Option<Answer>),
    /// To a batch: one for each call that was not cancelled.
    Batch(Vec<Answer>),
}

/// Runs `work` and answers it.
pub fn answer(http: &Arc<Http>, accepts: Accepts, work: Work) -> Answering {
    let form = Form::choose(http.engine.config.response, accepts);
    let Work { mut calls, visit, session_id, disconnect } = work;
    let outbox = Outbox::default();
    if form != Form::Json {
        match &mut calls {
            Calls::One(job) => job.outbox = Some(outbox.clone()),
            Calls::Batch { jobs, .. } => jobs.iter_mut().for_each(|job| job.outbox = Some(outbox.clone())),
        }
    }
    let job = match calls {
        Calls::One(job) => job,
        Calls::Batch { jobs, errors } => {
            let session = visit.as_ref().map(|visit| Arc::clone(visit.session()));
            let all = run_all(Arc::clone(http), jobs, errors, visit).boxed();
            return Answering::Later(
                wait(Arc::clone(http), form, all, outbox, session, session_id, disconnect).boxed(),
            );
        }
    };
    match begin(http, job) {
        Ok(answer) => {
            let response = at_once(form, Answers::One(Some(answer)), &drain(&outbox));
            let response = finish(http, form, visit.as_ref().map(|visit| &**visit.session()), session_id, response);
            Answering::Now(response)
        }
        Err(waiting) => set_going(Arc::clone(http), form, waiting, outbox, visit, session_id, disconnect),
    }
}

/// Has a call go on that was not answered in one go.
#[inline(never)]
fn set_going(
    http: Arc<Http>,
    form: Form,
    waiting: Box<Waiting>,
    outbox: Outbox,
    visit: Option<SessionGuard>,
    session_id: Option<HeaderValue>,
    disconnect: Disconnect,
) -> Answering {
    let session = visit.as_ref().map(|visit| Arc::clone(visit.session()));
    let own = Arc::clone(&http);
    let call = async move {
        let answer = go_on(&own, *waiting).await;
        drop(visit);
        Answers::One(answer)
    };
    Answering::Later(wait(http, form, call.boxed(), outbox, session, session_id, disconnect).boxed())
}

/// Has calls go on that were not answered in one go.
async fn wait(
    http: Arc<Http>,
    form: Form,
    mut all: BoxFuture<'static, Answers>,
    outbox: Outbox,
    session: Option<Arc<Session>>,
    session_id: Option<HeaderValue>,
    disconnect: Disconnect,
) -> Result<Response, Refusal> {
    let response = match futures_util::poll!(&mut all) {
        Poll::Ready(answers) => at_once(form, answers, &drain(&outbox)),
        Poll::Pending => {
            let task = http.calls.spawn(all.in_current_span());
            let task = match disconnect {
                Disconnect::IsNothing => Going::On(task),
                Disconnect::Cancels => Going::WhileWanted(AbortOnDropHandle::new(task)),
            };
            later(&http, form, Ongoing { task, outbox, session: session.clone() }).await
        }
    };
    finish(&http, form, session.as_deref(), session_id, response)
}

/// The response to a POST, naming its session; `None` where every call was cancelled: by the client, or because the
/// session ended under it.
fn finish(
    http: &Http,
    form: Form,
    session: Option<&Session>,
    session_id: Option<HeaderValue>,
    response: Option<Response>,
) -> Result<Response, Refusal> {
    let mut response = match response {
        Some(response) => response,
        None => match session.and_then(Session::ended) {
            Some(reason) => {
                let at = http.engine.clock.now();
                return Err(Refusal::missing_session(Missing::Ended { reason, at, tries: 0 }, &http.engine.clock));
            }
            None if form == Form::Json => StatusCode::NO_CONTENT.into_response(),
            None => sse::response_at_once(Vec::new()),
        },
    };
    if let Some(id) = session_id {
        response.headers_mut().insert(headers::SESSION_ID, id);
    }
    Ok(response)
}

/// The calls of a batch, side by side, started in their order.
async fn run_all(http: Arc<Http>, jobs: Vec<Job>, errors: Vec<Vec<u8>>, visit: Option<SessionGuard>) -> Answers {
    let run = async |job| match begin(&http, job) {
        Ok(answer) => Some(answer),
        Err(waiting) => go_on(&http, *waiting).await,
    };
    let mut running: Vec<Option<BoxFuture<'_, Option<Answer>>>> =
        jobs.into_iter().map(|job| Some(Box::pin(run(job)) as BoxFuture<'_, _>)).collect();
    let mut answers: Vec<Option<Answer>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (call, answer) in running.iter_mut().zip(&mut answers) {
            if let Some(future) = call
                && let Poll::Ready(ready) = Pin::new(future).poll(context)
            {
                *answer = ready;
                *call = None;
            }
        }
        if running.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    drop(running);
    drop(visit);
    Answers::Batch(answers.into_iter().flatten().chain(errors.into_iter().map(Answer::from)).collect())
}

/// Begins a call: nearly always that is all there is to do.
fn begin(http: &Http, job: Job) -> Result<Answer, Box<Waiting>> {
    let (id, revision) = (job.id.clone(), job.revision);
    // Here rather than around the handler, so that the answer has the call's id and the other calls of a batch theirs.
    match catch_unwind(AssertUnwindSafe(|| http.engine.begin(job))) {
        Ok(Begun::Done(answer)) => Ok(rendered(id, revision, Ok(answer))),
        Ok(Begun::Waiting(waiting)) => Err(waiting),
        Err(panic) => Ok(rendered(id, revision, Err(panic))),
    }
}

/// Runs a call that takes its time; `None` when it was cancelled.
async fn go_on(http: &Http, waiting: Waiting) -> Option<Answer> {
    let job = waiting.job();
    let (id, revision, session) = (job.id.clone(), job.revision, job.session.clone());
    let Ok(_room) = http.waiting.try_acquire() else {
        return Some(overload(&id, format_args!("all {MAX_CALLS} that may be at work at a time are")));
    };
    let answering = AssertUnwindSafe(http.engine.finish(waiting)).catch_unwind();
    let answer = match session.map(|session| session.running(&id)) {
        None => answering.await,
        // From here on the client can cancel it.
        Some(Ok(running)) => tokio::select! {
            biased;
            () = running.cancelled() => return None,
            answer = answering => answer,
        },
        Some(Err(busy)) => return Some(overload(&id, format_args!("{busy}"))),
    };
    Some(rendered(id, revision, answer))
}

/// A call's answer, or the error that it ended with, or its panic.
fn rendered(id: Id, revision: Revision, answer: std::thread::Result<Result<Vec<u8>, RpcError>>) -> Answer {
    match answer {
        Ok(Ok(json)) => Answer { json, status: StatusCode::OK, id: Some(id) },
        Ok(Err(error)) => {
            let json = message::error(Some(&id), &error);
            Answer { json, status: error_status(&error, revision), id: Some(id) }
        }
        Err(panic) => {
            note_panic(&*panic);
            let json = message::error(Some(&id), &internal_error());
            Answer { json, status: StatusCode::INTERNAL_SERVER_ERROR, id: Some(id) }
        }
    }
}

/// The answer to a call that is one too many. Its tool has not begun.
fn overload(id: &Id, why: std::fmt::Arguments<'_>) -> Answer {
    let error = RpcError::new(RpcError::INTERNAL_ERROR, format!("Too many calls: {why}; try again later"));
    let json = message::error(Some(id), &error);
    Answer { json, status: StatusCode::SERVICE_UNAVAILABLE, id: Some(id.clone()) }
}

/// What a call has sent by now.
fn drain(outbox: &Outbox) -> Vec<String> {
    let sent = std::iter::from_fn(|| outbox.try_next());
    sent.filter_map(|sent| match sent {
        Outgoing::Notification(note) => Some(note),
        // The answer is there already.
        Outgoing::Suspend => None,
    })
    .collect()
}

/// A response with all answers, after what was sent `early`; `None` where there are none.
fn at_once(form: Form, answers: Answers, early: &[String]) -> Option<Response> {
    let status = match &answers {
        Answers::One(answer) => answer.as_ref()?.status,
        Answers::Batch(answers) if answers.is_empty() => return None,
        Answers::Batch(_) => StatusCode::OK,
    };
    // An error with a status of its own is no stream: that has 200 and could not say so. What it sent before goes unsaid.
    let json = status != StatusCode::OK || form == Form::Json || (form == Form::Either && early.is_empty());
    Some(if json {
        let mut response = refusal::json(status, answers.into_body());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, refusal::RETRY_AFTER_S.into());
        }
        response
    } else {
        let answers = answers.as_slice().iter().map(|answer| answer.json.as_slice());
        let mut events = Vec::new();
        for json in early.iter().map(String::as_bytes).chain(answers) {
            sse::write_message(&mut events, None, json);
        }
        sse::response_at_once(events)
    })
}

impl Answers {
    fn as_slice(&self) -> &[Answer] {
        match self {
            Self::One(answer) => answer.as_slice(),
            Self::Batch(answers) => answers,
        }
    }

    /// One JSON body for all.
    fn into_body(self) -> Vec<u8> {
        match self {
            Self::One(answer) => answer.map(|answer| answer.json).unwrap_or_default(),
            Self::Batch(answers) => {
                let answers: Vec<Vec<u8>> = answers.into_iter().map(|answer| answer.json).collect();
                [b"[".as_slice(), &answers.join(&b','), b"]"].concat()
            }
        }
    }
}

/// An answer whose form is known before its work is done.
#[must_use]
pub fn render_single(http: &Http, accepts: Accepts, answer: Vec<u8>) -> Response {
    let form = Form::choose(http.engine.config.response, accepts);
    at_once(form, Answers::One(Some(answer.into())), &[]).unwrap_or_else(broken)
}

fn broken() -> Response {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, internal_error()).into_response()
}

/// Calls that go on: their task, and what they send meanwhile.
struct Ongoing {
    task: Going,
    outbox: Outbox,
    session: Option<Arc<Session>>,
}

/// Waits for the answers, as JSON or as a stream, as the form and the first thing that happens want it.
async fn later(http: &Http, form: Form, mut calls: Ongoing) -> Option<Response> {
    let mut first = None;
    match form {
        Form::Json => return settle(form, calls.task.await, &calls.outbox),
        Form::Either => tokio::select! {
            biased;
            sent = calls.outbox.next() => first = Some(sent),
            answers = &mut calls.task => return settle(form, answers, &calls.outbox),
        },
        Form::Stream => {}
    }
    // The first byte leaves at once.
    let opening = if first.is_none() { Some(sse::comment("working")) } else { None };
    let keep_alive = http.engine.config.sse_keepalive_interval;
    Some(sse::response(stream(opening, first, calls, keep_alive, http.budget.clone())))
}

fn settle(form: Form, answers: Result<Answers, JoinError>, outbox: &Outbox) -> Option<Response> {
    match answers {
        Ok(answers) => at_once(form, answers, &drain(outbox)),
        Err(_) => Some(broken()),
    }
}

/// What calls send, and their answers, as events; `first` is what was taken out of their outbox already.
fn stream(
    opening: Option<Bytes>,
    first: Option<Outgoing>,
    calls: Ongoing,
    keep_alive: Duration,
    budget: Budget,
) -> EventStream {
    let Ongoing { mut task, outbox, session } = calls;
    let events = async_stream::stream! {
        if let Some(opening) = opening {
            yield opening;
        }
        let mut next = first;
        let answers = loop {
            match (next.take(), &session) {
                (Some(Outgoing::Notification(note)), _) => yield sse::message(None, note.as_bytes()),
                (Some(Outgoing::Suspend), Some(session)) => {
                    // The id first, so that a client that is cut off here knows what to ask for.
                    let id = session.suspension_id();
                    let calls = Ongoing { task, outbox, session: Some(Arc::clone(session)) };
                    session.suspend(&id, stream(Some(sse::comment("resumed")), None, calls, keep_alive, budget));
                    yield sse::priming(&id);
                    return;
                }
                (Some(Outgoing::Suspend), None) | (None, _) => {}
            }
            tokio::select! {
                biased;
                sent = outbox.next() => next = Some(sent),
                answers = &mut task => break answers,
                // Not the keep-alive event of GET streams: clients read every event of a POST's stream.
                () = tokio::time::sleep(keep_alive) => yield sse::comment("keep-alive"),
            }
        };
        let Ok(answers) = answers else {
            tracing::error!("a call's task broke; its stream ends without an answer");
            return;
        };
        if answers.as_slice().is_empty() {
            return;
        }
        for note in drain(&outbox) {
            yield sse::message(None, note.as_bytes());
        }
        for answer in answers.as_slice() {
            match budget.hold(sse::message(None, &answer.json)).await {
                Ok(event) => yield event,
                Err(refusal) => yield sse::message(None, &message::error(answer.id.as_ref(), refusal.error())),
            }
        }
    };
    Box::pin(events)
}
