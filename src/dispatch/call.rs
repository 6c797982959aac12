//! `tools/call`: from its parameters to the tool and back.

use std::time::Instant;

use serde_json::Value;
use uuid::Uuid;

use super::result::{refuse, result};
use super::{Engine, Job, MAX_PROGRESS_TOKEN};
use crate::diagnosis::findings;
use crate::diagnosis::identity;
use crate::protocol::{Capabilities, Given, Members, RpcError, notice};
use crate::request::Request;
use crate::session::{self, Full, Missing, NewSession, SessionGuard};
use crate::tools::{Arguments, Context, Entry, HANDLE, Handle, Later, Outcome, Tool, ToolError, Way};

/// What became of a job: of nearly all the answer.
pub enum Begun {
    /// The answer: a JSON-RPC message, or the error of one.
    Done(Result<Vec<u8>, RpcError>),
    /// A call that may take its time. Its tool has not begun.
    Waiting(Box<Waiting>),
}

/// A call that is ready to run.
pub struct Waiting {
    job: Job,
    tool: &'static Tool,
    run: Later,
    ready: Ready,
    started: Instant,
}

impl Waiting {
    /// What it answers.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }
}

/// What a tool needs besides the job.
struct Ready {
    arguments: Arguments,
    /// The session that a handle names.
    visit: Option<SessionGuard>,
    /// Tool calls in the session so far.
    tool_calls: u64,
}

impl Engine {
    pub(super) fn begin_call(&self, mut job: Job) -> Begun {
        let (entry, arguments) = match self.read_call(&mut job) {
            Ok(read) => read,
            Err(error) => return Begun::Done(Err(error)),
        };
        let (tool, started) = (entry.tool(), Instant::now());
        let outcome = match self.ready(entry, arguments, &job) {
            Ok(ready) => match tool.run.way(&ready.arguments) {
                Way::Later(run) => return Begun::Waiting(Box::new(Waiting { job, tool, run, ready, started })),
                Way::Now(run) => {
                    let make = || self.make_session(&job);
                    let context = self.context(&job, tool, &ready, &make);
                    self.conclude(run(&context, &ready.arguments), &context, tool, &ready)
                }
            },
            Err(error) => Err(error),
        };
        Begun::Done(self.answer_call(outcome, tool, &job, started))
    }

    /// Answers a call that takes its time: a JSON-RPC message.
    ///
    /// # Errors
    /// The JSON-RPC error to answer with.
    pub async fn finish(&self, waiting: Waiting) -> Result<Vec<u8>, RpcError> {
        let Waiting { job, tool, run, ready, started } = waiting;
        let outcome = {
            let make = || self.make_session(&job);
            let context = self.context(&job, tool, &ready, &make);
            self.conclude(run(&context, &ready.arguments).await, &context, tool, &ready)
        };
        // With it ends the visit to a handle's session: where sessions are evicted for memory, it may be this one.
        drop(ready);
        self.answer_call(outcome, tool, &job, started)
    }

    /// Reads the parameters: the tool and its arguments, not yet checked against its schema.
    fn read_call(&self, job: &mut Job) -> Result<(&Entry, Members), RpcError> {
        let entry = self.tool(&job.params)?;
        let token = job.params.get("_meta").and_then(|meta| meta.get("progressToken")).and_then(Value::as_str);
        if token.is_some_and(|token| token.len() > MAX_PROGRESS_TOKEN) {
            return Err(RpcError::invalid_params(format!(
                "Invalid params: `_meta.progressToken` is longer than {MAX_PROGRESS_TOKEN} bytes; use a number or a short \
                 string"
            )));
        }
        match job.params.take_arguments() {
            None => Ok((entry, Members::new())),
            Some(Given::Members(arguments)) => Ok((entry, arguments)),
            Some(Given::Other(other)) if other.is_null() => Ok((entry, Members::new())),
            Some(Given::Other(_)) => Err(RpcError::invalid_params("Invalid params: \"arguments\" must be an object")),
        }
    }

    /// Counts the call, checks its arguments and finds its session.
    fn ready(&self, entry: &Entry, arguments: Members, job: &Job) -> Result<Ready, ToolError> {
        let mut tool_calls =
            job.session.as_ref().map_or(0, |session| session.change(|working| working.count_tool_call()));
        let arguments = entry.check(arguments, job.revision)?;
        let mut visit = None;
        if entry.tool().handle != Handle::None
            && let Some(handle) = arguments.str(HANDLE)
        {
            let entered = self.enter_by_handle(handle, &job.request)?;
            tool_calls = entered.session().change(|working| working.count_tool_call());
            visit = Some(entered);
        }
        Ok(Ready { arguments, visit, tool_calls })
    }

    fn context<'a>(
        &'a self,
        job: &'a Job,
        tool: &Tool,
        ready: &'a Ready,
        make_session: &'a (dyn Fn() -> Result<SessionGuard, Full> + Send + Sync),
    ) -> Context<'a> {
        Context {
            request: &job.request,
            session: ready.visit.as_ref().map(SessionGuard::session).or(job.session.as_ref()),
            revision: job.revision,
            config: &self.config,
            clock: &self.clock,
            sessions: &self.sessions,
            system: &self.system,
            finding_counts: &self.findings,
            preflights: &self.preflights,
            meta: job.params.get("_meta").and_then(Value::as_object),
            client: job.client.as_deref(),
            new_session: (tool.handle == Handle::Makes && job.revision.is_stateless()).then_some(make_session),
            outbox: job.outbox.as_ref(),
            tool_calls: ready.tool_calls,
        }
    }

    /// What a tool said, with the findings of its families.
    fn conclude(
        &self,
        outcome: Result<Outcome, ToolError>,
        context: &Context<'_>,
        tool: &Tool,
        ready: &Ready,
    ) -> Result<Outcome, ToolError> {
        let mut outcome = outcome?;
        // Deleted while the call took its time: what it did there is gone.
        if let Some(reason) = ready.visit.as_ref().and_then(|visit| visit.session().ended()) {
            return Err(no_session(format!(" (it was {})", reason.name())));
        }
        if tool.findings.is_empty() || outcome.structured.is_none() {
            return Ok(outcome.concluded(None));
        }
        let mut found = outcome.findings.take().unwrap_or_else(|| context.findings(tool.findings));
        findings::sort(&mut found);
        self.note(&found, context.session);
        Ok(outcome.concluded(Some(&found)))
    }

    fn answer_call(
        &self,
        outcome: Result<Outcome, ToolError>,
        tool: &Tool,
        job: &Job,
        started: Instant,
    ) -> Result<Vec<u8>, RpcError> {
        tell_finished(tool, job, started, outcome.as_ref().map_or(true, |outcome| outcome.is_error));
        let crowded = match &job.session {
            Some(session) => session.is_crowded(),
            None => job.revision.is_stateless() && session::read(&self.sessions).is_crowded(),
        };
        if crowded {
            self.evict_for_memory();
        }
        match outcome {
            Ok(outcome) => Ok(result(&job.id, &outcome, job.revision)),
            Err(error) => refuse(&job.id, tool.name, &error, job.revision),
        }
    }

    /// Enters the session that a handle names, for its caller.
    fn enter_by_handle(&self, handle: &str, request: &Request) -> Result<SessionGuard, ToolError> {
        // To the letter, as in Mcp-Session-Id: another spelling would be routed to another server.
        let id = Uuid::try_parse(handle).ok().filter(|id| id.hyphenated().to_string() == handle);
        // Before the lock: it may mean to decode a token of tens of kilobytes.
        let caller = identity::caller(&request.headers);
        let missing = match id {
            Some(id) => match session::read(&self.sessions).enter(id, || caller, |working| working.count_requests(1)) {
                Ok(visit) => {
                    tracing::Span::current().record("session", handle.get(..8));
                    return Ok(visit);
                }
                Err(missing) => {
                    self.note_missing(id, missing);
                    missing
                }
            },
            None => Missing::Unknown,
        };
        Err(no_session(match missing {
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
        let created = session::write(&self.sessions).create(new);
        let (mut visit, evicted) = created?;
        visit.count_requests(1);
        visit.session().change(|working| working.count_tool_call());
        let id = session::prefix(visit.session().id());
        if let Some(evicted) = evicted {
            tracing::warn!(
                session = session::prefix(evicted.id()),
                "evicted the longest-idle session: there were as many as may be"
            );
        }
        tracing::info!(session = id, revision = %job.revision, bound, "session created");
        Ok(visit)
    }
}

/// One `info` line for each finished call: queued in the session, or in the stateless era on the call's own stream
/// where `_meta` asks for it.
fn tell_finished(tool: &Tool, job: &Job, started: Instant, is_error: bool) {
    let finished = || notice::call_finished(tool.name, &job.id, started.elapsed(), is_error);
    match (&job.session, &job.client, &job.outbox) {
        (Some(session), ..) => session.change(|working| working.log(notice::FINISHED, finished)),
        (None, Some(client), Some(outbox)) if client.log_level.is_some_and(|least| least <= notice::FINISHED) => {
            outbox.send(finished().into());
        }
        _ => {}
    }
}

/// There is no session behind a handle: why, where the caller may know, and what to do.
#[expect(clippy::needless_pass_by_value, reason = "made for this call")]
fn no_session(why: String) -> ToolError {
    ToolError::InvalidArguments(vec![format!(
        "`{HANDLE}`: session not found or expired{why}; call echo without `{HANDLE}` to make a new one"
    )])
}
