//! `tools/call`: from its parameters to the tool and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::Engine;
use super::handle::no_session;
use super::job::Job;
use super::seal::{answered, seal};
use crate::diagnosis::jwks::KeySet;
use crate::protocol::{Answer, Failure, Params, RpcError};
use crate::session::{
    self, Committer, EndReason, NotKept, Session, SessionGuard, Stats, Uncommitted, Working, kept, write,
};
use crate::text::{did_you_mean, rfc3339, shorten};
use crate::tools::{Call, Context, Entry, Function, Handle, Ongoing, Run, Tool, ToolError};

/// The longest `_meta.progressToken`, in bytes: every progress notification repeats it. Clients count, or send UUIDs.
const MAX_PROGRESS_TOKEN: usize = 1024;

/// Time between two progress notifications of a call that is put off.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What became of a job: of nearly all the answer.
pub(super) enum Begun {
    /// The answer.
    Done(Answer),
    /// A call that takes its time. Its tool has not begun.
    Waiting(Box<Waiting>),
}

/// A call that is ready to run.
pub(super) struct Waiting {
    pub job: Job,
    tool: &'static Tool,
    call: Call,
    subject: Subject,
    started: Instant,
    /// Where the session is in a store: comes when it is kept there that the call has begun.
    kept: Option<oneshot::Receiver<()>>,
}

/// The session that a call works on.
#[derive(Default)]
struct Subject {
    session: Option<Arc<Session>>,
    /// Where a handle named it: what keeps it from idling.
    guard: Option<SessionGuard>,
    /// Whether one is to be made for the call.
    is_wanted: bool,
    /// Whether the call is counted there already.
    is_counted: bool,
}

impl Subject {
    /// Whether the session of a handle is still there: it may have been deleted while the call took its time, and with it
    /// went what the call did there.
    fn lives(&self) -> Result<(), ToolError> {
        match self.guard.as_ref().and_then(|guard| guard.session().ended()) {
            Some(reason) => Err(no_session(&format!(" (it was {})", reason.name()))),
            None => Ok(()),
        }
    }
}

impl Engine {
    /// Answers a job, or has its call begin: [`Engine::finish`] answers that.
    pub(super) fn begin(&self, mut job: Job) -> Begun {
        if job.method != "tools/call" {
            let answer = self.answer_method(&job);
            return Begun::Done(answered(&job, answer));
        }
        let started = Instant::now();
        let (entry, arguments) = match self.read_call(&mut job.params) {
            Ok(read) => read,
            Err(error) => return Begun::Done(answered(&job, Err(error))),
        };
        let tool = entry.tool();
        let (call, mut subject) = match self.ready(entry, arguments, &job) {
            Ok(ready) => ready,
            Err(ToolError::TooFast(why)) => {
                let (failure, error) = self.too_fast_error(why);
                return Begun::Done(Answer::error(&job.id, &error).failed(failure));
            }
            Err(error) => return Begun::Done(self.refuse_call(error, tool, &job, started)),
        };
        if let Run::Function(run) = &call.run
            && call.delay.is_zero()
        {
            return Begun::Done(self.run_function(run, tool, &job, &subject, started));
        }
        // Counted before it waits: the client has made it, even if it cancels it.
        in_session(subject.session.as_ref(), count);
        subject.is_counted = subject.session.is_some();
        job.params.keep_progress_token();
        let kept = kept::is_pending().then(|| {
            let (opens, kept) = oneshot::channel();
            kept::when_kept(move || {
                let _gone = opens.send(());
            });
            kept
        });
        Begun::Waiting(Box::new(Waiting { job, tool, call, subject, started, kept }))
    }

    /// Answers a call that takes its time.
    pub(super) async fn finish(self: &Arc<Self>, mut waiting: Waiting) -> Answer {
        if let Some(kept) = waiting.kept.take() {
            // What was not kept has not begun; nobody waits for its answer.
            if kept.await.is_err() {
                return Answer::error(&waiting.job.id, &RpcError::internal());
            }
        }
        if let Some(committer) = &self.server.committer {
            return self.finish_there(committer, waiting).await;
        }
        let Waiting { job, tool, call, subject, started, .. } = waiting;
        put_off(&self.context(&job, &self.server.stats(), None), call.delay).await;
        if let Err(error) = subject.lives() {
            return self.refuse_call(error, tool, &job, started);
        }
        let (run, arguments) = match &call.run {
            Run::Function(run) => return self.run_function(run, tool, &job, &subject, started),
            Run::Streaming(run, arguments) => (run, arguments),
        };
        let session = subject.session.as_ref();
        let stats = self.server.stats();
        let context = self.context(&job, &stats, self.keys(tool));
        let ongoing = Ongoing { context, session: session.map(|session| &**session), arguments };
        let outcome = run(&ongoing).await.and_then(|outcome| subject.lives().map(|()| outcome));
        let sealed = in_session(session, |working| seal(outcome, &ongoing.context, tool, working, &job, started));
        self.conclude(sealed, tool, &job)
    }

    /// The same, where the session is in a store: what the call does there is committed on its own.
    async fn finish_there(self: &Arc<Self>, committer: &Arc<Committer>, waiting: Waiting) -> Answer {
        let (engine, waiting) = (Arc::clone(self), Arc::new(waiting));
        let Waiting { job, tool, call, subject, started, .. } = &*waiting;
        put_off(&self.context(job, &self.server.stats(), None), call.delay).await;
        let session = subject.session.clone();
        let change: Box<dyn FnMut() -> Answer + Send> = if let Err(error) = subject.lives() {
            let waiting = Arc::clone(&waiting);
            Box::new(move || engine.refuse_call(error.clone(), waiting.tool, &waiting.job, waiting.started))
        } else if let Run::Streaming(run, arguments) = &call.run {
            let outcome = {
                let stats = self.server.stats();
                let context = self.context(job, &stats, self.keys(tool));
                let ongoing = Ongoing { context, session: session.as_deref(), arguments };
                run(&ongoing).await.and_then(|outcome| subject.lives().map(|()| outcome))
            };
            let waiting = Arc::clone(&waiting);
            Box::new(move || {
                let Waiting { job, tool, subject, started, .. } = &*waiting;
                let stats = engine.server.stats();
                let context = engine.context(job, &stats, engine.keys(tool));
                let outcome = outcome.clone();
                let session = subject.session.as_ref();
                let sealed = in_session(session, |working| seal(outcome, &context, tool, working, job, *started));
                engine.conclude(sealed, tool, job)
            })
        } else {
            let waiting = Arc::clone(&waiting);
            Box::new(move || {
                let Waiting { job, tool, call, subject, started, .. } = &*waiting;
                match &call.run {
                    Run::Function(run) => engine.run_function(run, tool, job, subject, *started),
                    Run::Streaming(..) => Answer::error(&job.id, &RpcError::internal()),
                }
            })
        };
        let began = *started;
        match self.kept_here(committer, session.as_ref(), began, change).await {
            Ok(answer) => answer,
            Err(Uncommitted::Gone(gone)) => {
                let why = gone.reason.map(|reason| format!(" (it was {})", reason.name())).unwrap_or_default();
                self.refuse_call(no_session(&why), tool, job, began)
            }
            Err(why) => Answer::error(&job.id, &self.unkept_error(&why)).failed(Failure::Busy),
        }
    }

    /// The keys for a tool that looks at tokens. Read before its session is locked: this may look at a file.
    fn keys(&self, tool: &Tool) -> Option<Arc<KeySet>> {
        let server = &self.server;
        tool.looks_at_tokens().then(|| server.keys.current(server.clock.wall_now())).flatten()
    }

    fn context<'a>(&'a self, job: &'a Job, stats: &'a Stats, keys: Option<Arc<KeySet>>) -> Context<'a> {
        Context {
            request: &job.request,
            message: &job.params,
            revision: job.revision,
            client: job.client.as_deref(),
            outbox: job.outbox.as_ref(),
            keys,
            server: &self.server,
            stats,
        }
    }

    /// The tool that a call names, and the arguments for it, not yet read.
    fn read_call(&self, params: &mut Params) -> Result<(&Entry, Map<String, Value>), RpcError> {
        let entry = self.tool(params)?;
        let token = params.meta().get("progressToken").and_then(Value::as_str);
        if token.is_some_and(|token| token.len() > MAX_PROGRESS_TOKEN) {
            return Err(RpcError::invalid_params(format!(
                "Invalid params: `_meta.progressToken` is longer than {MAX_PROGRESS_TOKEN} bytes; use a number or a short \
                 string"
            )));
        }
        match params.take_arguments() {
            Value::Null => Ok((entry, Map::new())),
            Value::Object(arguments) => Ok((entry, arguments)),
            _ => Err(RpcError::invalid_params("Invalid params: \"arguments\" must be an object")),
        }
    }

    /// The tool that a call names.
    fn tool(&self, params: &Params) -> Result<&Entry, RpcError> {
        let names = self.tools.names();
        let error = |message: String| {
            // In the message too: it is all that some clients show.
            RpcError::invalid_params(format!("{message}; the tools are {}", names.join(", ")))
                .with_data(json!({ "available": names }))
        };
        match params.name() {
            Value::String(name) => self
                .tools
                .get(name)
                .ok_or_else(|| error(format!("Unknown tool: {}{}", shorten(name, 100), did_you_mean(name, &names)))),
            _ => Err(error("Invalid params: \"name\" must be the name of a tool".to_owned())),
        }
    }

    /// Reads the arguments of a call, and finds the session that it works on.
    fn ready(&self, entry: &Entry, arguments: Map<String, Value>, job: &Job) -> Result<(Call, Subject), ToolError> {
        let (call, handle) = entry.read(arguments, job.revision)?;
        let is_wanted = handle.is_none() && entry.tool().handle == Handle::Makes && job.revision.is_stateless();
        let guard = handle.map(|handle| self.enter_by_handle(&handle, &job.request)).transpose()?;
        let session = guard.as_ref().map(SessionGuard::session).or(job.session.as_ref()).map(Arc::clone);
        Ok((call, Subject { session, guard, is_wanted, is_counted: false }))
    }

    /// Runs a call that is a function of facts and session.
    fn run_function(&self, run: &Function, tool: &Tool, job: &Job, subject: &Subject, started: Instant) -> Answer {
        let made = match subject.is_wanted.then(|| self.make_session(job)).transpose() {
            Ok(made) => made,
            Err(error) => return self.refuse_call(error, tool, job, started),
        };
        let session = made.as_ref().map(SessionGuard::session).or(subject.session.as_ref());
        let stats = self.server.stats();
        let context = self.context(job, &stats, self.keys(tool));
        let first = in_session(session, |mut working| {
            if !subject.is_counted {
                count(working.as_deref_mut());
            }
            match run(&context, working.as_deref_mut()) {
                Err(ToolError::NotKept(NotKept::NoRoom { growth, .. })) => Err(growth),
                outcome => Ok(seal(outcome, &context, tool, working, job, started)),
            }
        });
        // With room made for it, once more: the first time changed nothing but the count of calls.
        let sealed = first.unwrap_or_else(|growth| {
            session::evict_for_memory(&self.server.sessions, growth);
            in_session(session, |mut working| {
                let outcome = run(&context, working.as_deref_mut());
                seal(outcome, &context, tool, working, job, started)
            })
        });
        if let (Err(_), Some(made)) = (&sealed.outcome, &made) {
            // A refused echo leaves nothing behind.
            write(&self.server.sessions).end(made.session(), EndReason::Evicted);
        }
        self.conclude(sealed, tool, job)
    }

    /// The answer to a call that does not come to its tool.
    fn refuse_call(&self, error: ToolError, tool: &Tool, job: &Job, started: Instant) -> Answer {
        let is_even = matches!(error, ToolError::NoSession(_));
        let stats = self.server.stats();
        let context = self.context(job, &stats, None);
        let sealed = in_session(job.session.as_ref(), |mut working| {
            count(working.as_deref_mut());
            seal(Err(error), &context, tool, working, job, started)
        });
        Answer { is_even, ..self.conclude(sealed, tool, job) }
    }
}

/// Changes the session, where there is one, under its one lock.
fn in_session<T>(session: Option<&Arc<Session>>, change: impl FnOnce(Option<&mut Working<'_>>) -> T) -> T {
    match session {
        Some(session) => session.change(|working| change(Some(working))),
        None => change(None),
    }
}

fn count(session: Option<&mut Working<'_>>) {
    if let Some(session) = session {
        session.count_tool_call();
    }
}

/// Waits, telling how far it is. Progress is the milliseconds that have passed.
async fn put_off(context: &Context<'_>, delay: Duration) {
    if delay.is_zero() {
        return;
    }
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let started = tokio::time::Instant::now();
    let mut passed = Duration::ZERO;
    // With the time, so that a person can compare: what arrives long after was held back on the way.
    let sent = || rfc3339(context.server.clock.wall_now());
    while passed < delay {
        context.progress(ms(passed), ms(delay), &format!("sent {}; answering in {} ms", sent(), ms(delay - passed)));
        passed = (passed + PROGRESS_INTERVAL).min(delay);
        tokio::time::sleep_until(started + passed).await;
    }
    context.progress(ms(delay), ms(delay), &format!("sent {}; answering now", sent()));
}
