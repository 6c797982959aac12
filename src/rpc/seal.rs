//! What a call leaves when its tool is done: findings on its answer and in its session, a line in the queue, lines in the log.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::Engine;
use super::job::Job;
use super::result::{refuse, result};
use crate::diagnosis::findings::{self, Finding, Severity};
use crate::protocol::{Answer, Failure, LogLevel, RpcError, notice};
use crate::seen;
use crate::session::{self, Working, kept, read};
use crate::tools::{Context, FindingCounts, Outcome, Tool, ToolError};

/// A finding, and whether it is the first of its kind in its session, where it has one.
pub(super) type Told = (Finding, Option<bool>);

/// What a call came to, and the findings to tell once that is kept.
pub(super) struct Sealed {
    pub outcome: Result<Outcome, ToolError>,
    pub told: Vec<Told>,
}

impl Engine {
    /// Tells what is to be told once the session is kept, and answers.
    pub(super) fn conclude(&self, sealed: Sealed, tool: &Tool, job: &Job) -> Answer {
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

    /// Counts a finding of a refused request, and logs it at first sight.
    pub fn tell_of_refusal(&self, finding: Finding) {
        self.tell(&[(finding, None)]);
    }

    /// Counts findings, and logs the first of its kind in a session (without one: on this server).
    pub(super) fn tell(&self, told: &[Told]) {
        if told.is_empty() {
            return;
        }
        if kept::is_pending() {
            let (counts, told) = (Arc::clone(&self.server.findings), told.to_vec());
            kept::when_kept(move || tell(&counts, &told));
        } else {
            tell(&self.server.findings, told);
        }
    }

    /// Evicts sessions while all together hold more memory than they may.
    pub(super) fn evict_for_memory(&self) {
        session::evict_for_memory(&self.server.sessions, 0);
    }
}

fn tell(counts: &FindingCounts, told: &[Told]) {
    for (finding, first) in told {
        seen::finding(finding.rule.id);
        let first_here = counts.count(finding.rule);
        if !first.unwrap_or(first_here) {
            continue;
        }
        let id = finding.rule.id;
        if is_warned_of(finding) {
            tracing::warn!(finding = id, "{}; to do: {}", finding.summary, finding.fix);
        } else {
            tracing::info!(finding = id, "{}; to do: {}", finding.summary, finding.fix);
        }
    }
}

/// Completes what a tool said with its findings, and keeps in the session what a call leaves there.
pub(super) fn seal(
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
            for (finding, _) in told.iter().filter(|(finding, first)| is_warned_of(finding) && *first == Some(true)) {
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
pub(super) fn answered(job: &Job, came_to: Result<Vec<u8>, RpcError>) -> Answer {
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
