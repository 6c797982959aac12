//! Sessions of the stateless era: named by a handle, or made for a call (MCP 2026-07-28 basic/index, Statelessness).

use tracing::Span;
use uuid::Uuid;

use super::Engine;
use super::job::Job;
use super::methods::{binding, unbindable};
use crate::config::SessionBinding;
use crate::diagnosis::forwarding::client_address;
use crate::request::Request;
use crate::session::{self, Client, Full, Missing, NewSession, SessionGuard, Working, kept, prefix, write};
use crate::tools::{HANDLE, ToolError};

impl Engine {
    /// Enters the session that a handle names, for its caller.
    pub(super) fn enter_by_handle(&self, handle: &str, request: &Request) -> Result<SessionGuard, ToolError> {
        // To the letter, as in Mcp-Session-Id: another spelling would be routed to another server.
        let id = Uuid::try_parse(handle).ok().filter(|id| id.hyphenated().to_string() == handle);
        let missing = match id {
            Some(id) => {
                let caller = self.server.identity(&request.headers).ok();
                let limit = self.server.config.rate_limit.as_ref();
                let mut too_fast = None;
                let entered = session::enter(&self.server.sessions, id, caller.as_ref(), |session| {
                    too_fast = limit.and_then(|limit| session.keep_pace(limit).err());
                    session.count_requests(u32::from(too_fast.is_none()));
                });
                match entered {
                    Ok(guard) => {
                        if let Some(why) = too_fast {
                            return Err(ToolError::TooFast(why));
                        }
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
            Missing::Elsewhere { maker, here, since } => {
                format!(" ({}; this is {here})", self.other_replica(maker, here, since).summary)
            }
            Missing::Unknown | Missing::NotYours { .. } => String::new(),
        }))
    }

    /// Makes a session for a call of the stateless era.
    pub(super) fn make_session(&self, job: &Job) -> Result<SessionGuard, ToolError> {
        let client = job.client.as_deref();
        let owner = self.owner(&job.request);
        if let (Err(why), SessionBinding::Require) = (&owner, self.server.config.session_binding) {
            return Err(ToolError::invalid(unbindable(*why)));
        }
        let new = NewSession {
            protocol_version: job.revision,
            client_info: client.and_then(|client| client.client_info.clone()).unwrap_or_default(),
            client_capabilities: client.map(|client| client.client_capabilities.clone()).unwrap_or_default(),
            owner,
            address: client_address(&job.request.headers, job.request.peer),
            client: Client::default(),
        };
        let bound = binding(&new.owner);
        let guard = self.create(new, |_| {})?;
        let session = prefix(guard.session().id());
        let revision = job.revision;
        kept::when_kept(move || tracing::info!(session, %revision, bound, "session created"));
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
            self.look(&evicted);
            tracing::warn!(
                session = prefix(evicted.id()),
                "evicted the longest-idle session: there were as many as may be"
            );
        }
        Ok(guard)
    }
}

/// There is no session behind a handle: why, where the caller may know, and what to do.
pub(super) fn no_session(why: &str) -> ToolError {
    ToolError::NoSession(format!(
        "`{HANDLE}`: session not found or expired{why}; call echo without `{HANDLE}` to make a new one"
    ))
}
