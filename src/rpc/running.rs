//! Running the calls of one POST. Most are answered at once. The others go on in a task of their own, for two reasons: a
//! disconnect is not a cancellation (MCP 2025-11-25 basic/transports, Sending Messages), and shutdown can wait for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::call::{Begun, Waiting};
use super::job::Job;
use super::shares::NoPlace;
use super::{Caller, Engine, MAX_CALLS};
use crate::protocol::{Answer, Answers, CallStream, Content, Failure, Id, Outgoing, Reply, RpcError};
use crate::session::{Missing, Session, SessionGuard, read};
use crate::tools::{Outbox, Sent};

/// The calls of one POST.
pub(super) enum Calls {
    /// One.
    One(Job),
    /// Those of an array, answered as one.
    Batch {
        /// What is to be done.
        jobs: Vec<Job>,
        /// Answers to messages that were no calls.
        errors: Vec<Answer>,
    },
}

/// What it means for a call that its client goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disconnect {
    /// Nothing: the call goes on (MCP 2025-11-25 basic/transports, Sending Messages).
    IsNothing,
    /// It is cancelled (MCP 2026-07-28 basic/patterns/cancellation).
    Cancels,
}

/// The task that calls go on in: it ends with their answer, or with none where they were cancelled.
enum Task {
    On(JoinHandle<Option<Answers>>),
    WhileWanted(AbortOnDropHandle<Option<Answers>>),
}

impl Future for Task {
    type Output = Result<Option<Answers>, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::On(task) => Pin::new(task).poll(context),
            Self::WhileWanted(task) => Pin::new(task).poll(context),
        }
    }
}

/// The outbox that the calls of a POST share: made where one of them can send anything, which nearly none can.
#[derive(Clone)]
struct Lazy {
    made: OnceLock<Outbox>,
    /// Whether anything that is sent can reach the client.
    reaches: bool,
}

impl Lazy {
    fn new(reaches: bool) -> Self {
        Self { made: OnceLock::new(), reaches }
    }

    fn get(&self) -> Outbox {
        self.made.get_or_init(Outbox::default).clone()
    }

    /// For a call; `None` where its client cannot have what it sends.
    fn given(&self) -> Option<Outbox> {
        self.reaches.then(|| self.get())
    }
}

impl Engine {
    /// Runs calls and answers them. `guard` keeps their session from idling until they are done.
    pub(super) fn run(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        calls: Calls,
        guard: Option<SessionGuard>,
        disconnect: Disconnect,
    ) -> Reply {
        let outbox = Lazy::new(caller.streams);
        let id = match &calls {
            Calls::One(job) => Some(job.id.clone()),
            Calls::Batch { .. } => None,
        };
        let mut work = match calls {
            Calls::One(job) => match self.begin_caught(job, &outbox) {
                Begun::Done(answer) => return early(&outbox, Answers::One(answer)),
                Begun::Waiting(waiting) => {
                    let engine = Arc::clone(self);
                    async move { engine.go_on(*waiting).await.map(Answers::One) }.boxed()
                }
            },
            Calls::Batch { jobs, errors } => {
                // Made at once: its calls run elsewhere and share it.
                outbox.get();
                Arc::clone(self).run_all(jobs, errors, outbox.clone()).boxed()
            }
        };
        // Begun here, so that calls start in their order, and that a cancellation which comes next finds them.
        let work = match (&mut work).now_or_never() {
            Some(Some(answers)) => return early(&outbox, answers),
            Some(None) => async { None }.boxed(),
            None => work,
        };
        let session = guard.as_ref().map(|guard| Arc::clone(guard.session()));
        let work = async move {
            // Until the calls are done.
            let _guard = guard;
            work.await
        };
        let task = self.calls.spawn(work.in_current_span());
        let task = match disconnect {
            Disconnect::IsNothing => Task::On(task),
            Disconnect::Cancels => Task::WhileWanted(AbortOnDropHandle::new(task)),
        };
        Content::Stream(self.stream(task, outbox.get(), session, id)).into()
    }

    /// Begins a call, and answers for its panics: here rather than around the request, so that the answer has the call's id
    /// and the other calls of a batch theirs.
    fn begin_caught(&self, mut job: Job, outbox: &Lazy) -> Begun {
        let id = job.id.clone();
        if job.logs() {
            job.outbox = outbox.given();
        }
        let begun = catch_unwind(AssertUnwindSafe(|| self.begin(job)));
        match begun {
            Ok(Begun::Waiting(mut waiting)) => {
                waiting.job.outbox = outbox.given();
                Begun::Waiting(waiting)
            }
            Ok(done) => done,
            Err(panic) => Begun::Done(panicked(&id, &*panic)),
        }
    }

    /// Runs a call that takes its time; `None` when it was cancelled.
    async fn go_on(self: &Arc<Self>, waiting: Waiting) -> Option<Answer> {
        let (id, session) = (waiting.job.id.clone(), waiting.job.session.clone());
        let _room = match self.waiting.take(self.server.holder(&waiting.job.request)) {
            Ok(room) => room,
            Err(NoPlace::Full) => {
                return Some(overload(&id, format_args!("all {MAX_CALLS} that may be at work at a time are")));
            }
            Err(NoPlace::Share) => {
                let why =
                    format_args!("yours are a quarter of the {MAX_CALLS} that there are, or more, and few are left");
                return Some(overload(&id, why));
            }
        };
        let answering = AssertUnwindSafe(self.finish(waiting)).catch_unwind();
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
        Some(answer.unwrap_or_else(|panic| panicked(&id, &*panic)))
    }

    /// The calls of a batch, side by side, started in their order.
    async fn run_all(self: Arc<Self>, jobs: Vec<Job>, errors: Vec<Answer>, outbox: Lazy) -> Option<Answers> {
        let run = async |job| match self.begin_caught(job, &outbox) {
            Begun::Done(answer) => Some(answer),
            Begun::Waiting(waiting) => self.go_on(*waiting).await,
        };
        let running: Vec<BoxFuture<'_, _>> = jobs.into_iter().map(|job| Box::pin(run(job)) as _).collect();
        let answers: Vec<_> =
            futures_util::future::join_all(running).await.into_iter().flatten().chain(errors).collect();
        (!answers.is_empty()).then_some(Answers::Batch(answers))
    }

    /// What calls send, and then their answer; `id` is that of a single call.
    fn stream(
        self: &Arc<Self>,
        mut task: Task,
        outbox: Outbox,
        session: Option<Arc<Session>>,
        id: Option<Id>,
    ) -> CallStream {
        let engine = Arc::clone(self);
        Box::pin(async_stream::stream! {
            let answer = loop {
                let sent = tokio::select! {
                    biased;
                    sent = outbox.next() => sent,
                    answer = &mut task => break answer,
                };
                match (sent, &session) {
                    (Sent::Notification(note), _) => yield Outgoing::Notification(note),
                    (Sent::Suspend, Some(session)) => {
                        // The id first, so that a client that is cut off here knows what to ask for.
                        let event = session.suspension_id(read(&engine.server.sessions).instance().name());
                        session.suspend(&event, engine.stream(task, outbox, Some(Arc::clone(session)), id));
                        yield Outgoing::Suspended(event);
                        return;
                    }
                    (Sent::Suspend, None) => {}
                }
            };
            for note in notifications(&outbox) {
                yield Outgoing::Notification(note);
            }
            match (answer, session.and_then(|session| session.ended())) {
                (Ok(Some(answer)), _) => yield Outgoing::Answer(answer),
                // Cancelled: by the client, or because the session ended under the calls.
                (Ok(None), None) => {}
                (Ok(None), Some(reason)) => {
                    let at = engine.server.clock.now();
                    let refused = engine.missing(Missing::Ended { reason, at, tries: 0 });
                    yield Outgoing::Refused(match &id {
                        Some(id) => refused.to(id),
                        None => refused,
                    });
                }
                (Err(_), _) => tracing::error!("a call's task broke; its stream ends without an answer"),
            }
        })
    }
}

/// A call's answer that is there at once, after what the call sent before it.
fn early(outbox: &Lazy, answers: Answers) -> Reply {
    let notes = outbox.made.get().map(notifications).unwrap_or_default();
    // A failure is no stream: that could not say so. What the call sent before it goes unsaid.
    let fails = matches!(&answers, Answers::One(answer) if answer.failure.is_some());
    if notes.is_empty() || fails {
        return Content::Answer(answers).into();
    }
    let sent = notes.into_iter().map(Outgoing::Notification).chain([Outgoing::Answer(answers)]);
    Content::Stream(Box::pin(futures_util::stream::iter(sent.collect::<Vec<_>>()))).into()
}

/// The notifications that wait in an outbox.
fn notifications(outbox: &Outbox) -> Vec<String> {
    let sent = std::iter::from_fn(|| outbox.try_next());
    sent.filter_map(|sent| match sent {
        Sent::Notification(note) => Some(note),
        // The answer is there already.
        Sent::Suspend => None,
    })
    .collect()
}

/// The answer to a call that is one too many. Its tool has not begun.
fn overload(id: &Id, why: std::fmt::Arguments<'_>) -> Answer {
    let error = RpcError::new(RpcError::INTERNAL_ERROR, format!("Too many calls: {why}; try again later"));
    Answer::error(id, &error).failed(Failure::Busy)
}

/// The answer to a call whose tool panicked.
fn panicked(id: &Id, panic: &(dyn std::any::Any + Send)) -> Answer {
    let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = what.unwrap_or("unknown"), "a call panicked");
    Answer::error(id, &RpcError::internal()).failed(Failure::Internal)
}
