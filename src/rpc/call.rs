//! `tools/call`: from its parameters to the tool and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tracing::Span;
use uuid::Uuid;

use super::Engine;
use super::result::{refuse, result};
use crate::diagnosis::findings::{Finding, Severity};
use crate::diagnosis::{findings, identity};
use crate::protocol::{Answer, Capabilities, Failure, Id, Meta, Params, Revision, RpcError, notice};
use crate::request::Request;
use crate::session::{
    self, EndReason, Full, LogLevel, Missing, NewSession, NotKept, Session, SessionGuard, Stats, Working, prefix, read,
    write,
};
use crate::text::{did_you_mean, shorten};
use crate::tools::{Call, Context, Entry, HANDLE, Handle, Ongoing, Outbox, Outcome, Run, Tool, ToolError};

/// The longest `_meta.progressToken`, in bytes: every progress notification repeats it. Clients count, or send UUIDs.
const MAX_PROGRESS_TOKEN: usize = 1024;

/// Time between two progress notifications of a call that is put off.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// A request on its way to an answer.
pub(super) struct Job {
    /// JSON-RPC id.
    pub id: Id,
    /// JSON-RPC method.
    pub method: String,
    /// JSON-RPC parameters.
    pub params: Params,
    /// The revision that it is answered in.
    pub revision: Revision,
    /// The session that it works on.
    pub session: Option<Arc<Session>>,
    /// The HTTP request that carried it.
    pub request: Arc<Request>,
    /// What `_meta` says of the client: in the stateless era only.
    pub client: Option<Box<Meta>>,
    /// Where notifications that belong to it go; `None` where the client cannot have them.
    pub outbox: Option<Outbox>,
}

impl Job {
    /// Whether the line of its call goes on its own stream (MCP 2026-07-28 server/utilities/logging).
    pub fn logs(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.log_level.is_some())
    }
}

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
}

/// The session that a call works on.
#[derive(Default)]
struct Subject {
    session: Option<Arc<Session>>,
    /// Where a handle named it: what keeps it from idling.
    guard: Option<SessionGuard>,
    /// Whether one is to be made for the call.
    is_wanted: bool,
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

/// A finding, and whether it is the first of its kind in its session, where it has one.
pub(super) type Told = (Finding, Option<bool>);

/// What a call came to, and the findings to tell once that is kept.
struct Sealed {
    outcome: Result<Outcome, ToolError>,
    told: Vec<Told>,
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
        let (call, subject) = match self.ready(entry, arguments, &job) {
            Ok(ready) => ready,
            Err(error) => return Begun::Done(self.refuse_call(error, tool, &job, started)),
        };
        if matches!(call.run, Run::Function(_)) && call.delay.is_zero() {
            return Begun::Done(self.run_call(&call, tool, &job, &subject, started));
        }
        Begun::Waiting(Box::new(Waiting { job, tool, call, subject, started }))
    }

    /// Answers a call that takes its time.
    pub(super) async fn finish(&self, waiting: Waiting) -> Answer {
        let Waiting { job, tool, call, subject, started } = waiting;
        put_off(&self.context(&job, &self.server.stats()), call.delay).await;
        if let Err(error) = subject.lives() {
            return self.refuse_call(error, tool, &job, started);
        }
        let Run::Streaming(run, arguments) = &call.run else {
            return self.run_call(&call, tool, &job, &subject, started);
        };
        let session = subject.session.as_ref();
        let stats = self.server.stats();
        let context = self.context(&job, &stats);
        let ongoing = Ongoing { context, session: session.map(|session| &**session), arguments };
        let outcome = run(&ongoing).await.and_then(|outcome| subject.lives().map(|()| outcome));
        let sealed = in_session(session, |mut working| {
            count(working.as_deref_mut());
            self.seal(outcome, &ongoing.context, tool, working, &job, started)
        });
        self.conclude(sealed, tool, &job)
    }

    fn context<'a>(&'a self, job: &'a Job, stats: &'a Stats) -> Context<'a> {
        Context {
            request: &job.request,
            message: &job.params,
            revision: job.revision,
            client: job.client.as_deref(),
            outbox: job.outbox.as_ref(),
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
        Ok((call, Subject { session, guard, is_wanted }))
    }

    /// Runs a call that is a function of facts and session.
    fn run_call(&self, call: &Call, tool: &Tool, job: &Job, subject: &Subject, started: Instant) -> Answer {
        let made = match subject.is_wanted.then(|| self.make_session(job)).transpose() {
            Ok(made) => made,
            Err(full) => return self.refuse_call(full.into(), tool, job, started),
        };
        let session = made.as_ref().map(SessionGuard::session).or(subject.session.as_ref());
        let stats = self.server.stats();
        let context = self.context(job, &stats);
        let attempt = |is_first: bool| {
            in_session(session, |mut working| {
                if is_first {
                    count(working.as_deref_mut());
                }
                let outcome = match &call.run {
                    Run::Function(run) => run(&context, working.as_deref_mut()),
                    Run::Streaming(..) => Ok(Outcome::default()),
                };
                match outcome {
                    Err(ToolError::NotKept(NotKept::NoRoom { growth, .. })) if is_first => Err(growth),
                    outcome => Ok(self.seal(outcome, &context, tool, working, job, started)),
                }
            })
        };
        let sealed = attempt(true).or_else(|growth| {
            session::evict_for_memory(&self.server.sessions, growth);
            attempt(false)
        });
        let sealed = sealed.unwrap_or_else(|_| Sealed { outcome: Ok(Outcome::default()), told: Vec::new() });
        if let (Err(_), Some(made)) = (&sealed.outcome, &made) {
            // A refused echo leaves nothing behind.
            write(&self.server.sessions).end(made.session(), EndReason::Evicted);
        }
        self.conclude(sealed, tool, job)
    }

    /// The answer to a call that does not come to its tool.
    fn refuse_call(&self, error: ToolError, tool: &Tool, job: &Job, started: Instant) -> Answer {
        let stats = self.server.stats();
        let context = self.context(job, &stats);
        let sealed = in_session(job.session.as_ref(), |mut working| {
            count(working.as_deref_mut());
            self.seal(Err(error), &context, tool, working, job, started)
        });
        self.conclude(sealed, tool, job)
    }

    /// Completes what a tool said with its findings, and keeps in the session what a call leaves there.
    fn seal(
        &self,
        outcome: Result<Outcome, ToolError>,
        context: &Context<'_>,
        tool: &Tool,
        mut session: Option<&mut Working<'_>>,
        job: &Job,
        started: Instant,
    ) -> Sealed {
        let mut told = Vec::new();
        let outcome = outcome.map(|mut outcome| {
            if tool.findings.is_empty() {
                return outcome.concluded(None);
            }
            let mut found = outcome
                .findings
                .take()
                .unwrap_or_else(|| findings::find(&context.facts(session.as_deref()), tool.findings));
            findings::sort(&mut found);
            let outcome = outcome.concluded(Some(&found));
            for finding in found {
                let first = session.as_deref_mut().map(|session| session.note_finding(finding.rule.id));
                told.push((finding, first));
            }
            outcome
        });
        let is_error = outcome.as_ref().map_or(true, |outcome| outcome.is_error);
        let finished = || notice::call_finished(tool.name, &job.id, started.elapsed(), is_error);
        match (session, &job.client) {
            (Some(session), None) => {
                for (finding, _) in told.iter().filter(|(finding, first)| is_warned_of(finding) && *first == Some(true))
                {
                    session.log(LogLevel::Warning, || notice::log(&finding_line(finding)));
                }
                session.log(notice::FINISHED, finished);
            }
            // Log lines of the stateless era belong to the request (MCP 2026-07-28 server/utilities/logging).
            (_, Some(client)) => {
                let wanted = client.log_level.is_some_and(|least| least <= notice::FINISHED);
                if let Some(outbox) = job.outbox.as_ref().filter(|_| wanted) {
                    outbox.send(finished().into());
                }
            }
            (None, None) => {}
        }
        Sealed { outcome, told }
    }

    /// Tells what is to be told once the session is kept, and answers.
    fn conclude(&self, sealed: Sealed, tool: &Tool, job: &Job) -> Answer {
        let Sealed { outcome, told } = sealed;
        self.tell(&told);
        let is_crowded = match &job.session {
            Some(session) => session.is_crowded(),
            None => job.revision.is_stateless() && read(&self.server.sessions).is_crowded(),
        };
        if is_crowded {
            self.evict_for_memory();
        }
        answered(
            job,
            match outcome {
                Ok(outcome) => Ok(result(&job.id, &outcome, job.revision)),
                Err(error) => refuse(&job.id, tool.name, &error, job.revision),
            },
        )
    }

    /// Counts findings, and logs the first of its kind in a session (without one: on this server).
    pub(super) fn tell(&self, told: &[Told]) {
        for (finding, first) in told {
            let first_here = self.server.findings.count(finding.rule);
            if !first.unwrap_or(first_here) {
                continue;
            }
            let id = finding.rule.id;
            if is_warned_of(finding) {
                tracing::warn!(finding = id, "{}: {}; to do: {}", id, finding.summary, finding.fix);
            } else {
                tracing::info!(finding = id, "{}: {}; to do: {}", id, finding.summary, finding.fix);
            }
        }
    }

    /// Evicts sessions while all together hold more memory than they may.
    pub(super) fn evict_for_memory(&self) {
        session::evict_for_memory(&self.server.sessions, 0);
    }

    /// Enters the session that a handle names, for its caller.
    fn enter_by_handle(&self, handle: &str, request: &Request) -> Result<SessionGuard, ToolError> {
        // To the letter, as in Mcp-Session-Id: another spelling would be routed to another server.
        let id = Uuid::try_parse(handle).ok().filter(|id| id.hyphenated().to_string() == handle);
        let missing = match id {
            Some(id) => {
                // Before the lock: it may mean to decode a token of tens of kilobytes.
                let caller = identity::caller(&request.headers);
                match read(&self.server.sessions).enter(id, || caller, |session| session.count_requests(1)) {
                    Ok(guard) => {
                        Span::current().record("session", handle.get(..8));
                        return Ok(guard);
                    }
                    Err(missing) => {
                        self.note_missing(id, missing);
                        missing
                    }
                }
            }
            None => Missing::Unknown,
        };
        Err(no_session(&match missing {
            Missing::Ended { reason, .. } => format!(" (it was {})", reason.name()),
            Missing::Elsewhere { maker, here, replica } => {
                let finding = findings::session::other_replica(maker, here, replica);
                format!(" ({}: made by instance {maker}, this is {here})", finding.summary)
            }
            Missing::Unknown | Missing::NotYours { .. } => String::new(),
        }))
    }

    /// Makes a session for a call of the stateless era.
    fn make_session(&self, job: &Job) -> Result<SessionGuard, Full> {
        let client = job.client.as_deref();
        let new = NewSession {
            protocol_version: job.revision,
            client_info: client.and_then(|client| client.client_info.clone()).unwrap_or_default(),
            client_capabilities: client
                .map(|client| Capabilities::keep(&Value::Object(client.client_capabilities.clone())))
                .unwrap_or_default(),
            owner: self.owner(&job.request),
            address: None,
        };
        let bound = new.owner.is_some();
        let guard = self.create(new, |_| {})?;
        let session = prefix(guard.session().id());
        tracing::info!(session, revision = %job.revision, bound, "session created");
        Ok(guard)
    }

    /// Makes a session with one request in it.
    pub(super) fn create(&self, new: NewSession, note: impl FnOnce(&mut Working<'_>)) -> Result<SessionGuard, Full> {
        // The write lock ends here.
        let created = write(&self.server.sessions).create(new);
        let (mut guard, evicted) = created?;
        guard.count_requests(1);
        guard.session().change(note);
        if let Some(evicted) = evicted {
            tracing::warn!(
                session = prefix(evicted.id()),
                "evicted the longest-idle session: there were as many as may be"
            );
        }
        Ok(guard)
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

/// Whether a finding is more than worth knowing.
fn is_warned_of(finding: &Finding) -> bool {
    finding.rule.severity != Severity::Info
}

/// A finding as a log line.
fn finding_line(finding: &Finding) -> Value {
    json!({ "level": LogLevel::Warning, "logger": "findings", "data": finding.to_json() })
}

/// What a job came to, as the answer to it. In the handshake era an error is an answer like any other: a 4xx would end a
/// whole client there. The stateless era has rules of its own (MCP 2026-07-28 basic/index, `_meta`, and streamable-http,
/// Protocol Version Header).
fn answered(job: &Job, came_to: Result<Vec<u8>, RpcError>) -> Answer {
    let error = match came_to {
        Ok(json) => return Answer::to(&job.id, json),
        Err(error) => error,
    };
    let answer = Answer::error(&job.id, &error);
    match error.code {
        _ if !job.revision.is_stateless() => answer,
        RpcError::METHOD_NOT_FOUND => answer.failed(Failure::UnknownMethod),
        RpcError::MISSING_CLIENT_CAPABILITY => answer.failed(Failure::Malformed),
        // The only internal error that a call returns: no room for another session.
        RpcError::INTERNAL_ERROR => answer.failed(Failure::Busy),
        _ => answer,
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
    while passed < delay {
        context.progress(ms(passed), ms(delay), &format!("answering in {} ms", ms(delay - passed)));
        passed = (passed + PROGRESS_INTERVAL).min(delay);
        tokio::time::sleep_until(started + passed).await;
    }
    context.progress(ms(delay), ms(delay), "answering now");
}

/// There is no session behind a handle: why, where the caller may know, and what to do.
fn no_session(why: &str) -> ToolError {
    ToolError::invalid(format!(
        "`{HANDLE}`: session not found or expired{why}; call echo without `{HANDLE}` to make a new one"
    ))
}
