//! The session of a message: entered by its caller, noted in its history, opened as a stream, ended.

use uuid::Uuid;

use super::strict::{self, Asked};
use super::{Caller, Engine};
use crate::diagnosis::findings;
use crate::diagnosis::identity;
use crate::protocol::{CallStream, Failure, Id, Refused, Revision, RpcError};
use crate::request::headers::SessionHeader;
use crate::session::history::Kind;
use crate::session::{self, EndReason, Identity, Missing, SessionGuard, Stream, Working, prefix, write};
use crate::text::rfc3339;

/// A message that may be answered: the session that it works on, and the revision.
pub(super) struct Admitted {
    pub guard: Option<SessionGuard>,
    pub revision: Revision,
}

impl Admitted {
    /// The session's id.
    pub fn session_id(&self) -> Option<Uuid> {
        self.guard.as_ref().map(|guard| guard.session().id())
    }
}

/// The stream that a client gets when it opens one in a session.
pub enum SessionStream {
    /// The session's messages, in the form of this revision.
    Messages(Box<Stream>, Revision),
    /// The rest of a call's stream (SEP-1699).
    Call(CallStream),
}

impl Engine {
    /// Finds session and revision of a message with these JSON-RPC requests (methods and ids), or refuses it. Version first:
    /// it is a rule for every request. `requests` are counted in the session, unless the message is refused.
    pub(super) fn admit(&self, caller: &Caller<'_>, calls: &[(&str, &Id)], requests: u32) -> Result<Admitted, Refused> {
        let config = &self.server.config;
        let named = self.named(caller)?;
        // Only in strict mode can a message still be refused that has entered its session.
        let at_once = if config.strict { 0 } else { requests };
        let mut guard = self.enter(caller, Some((Kind::Post, named)), |session| {
            for (method, id) in calls {
                session.record_call(method, id);
            }
            session.count_requests(at_once);
        })?;
        if guard.is_none() && config.require_session {
            return Err(Refused::malformed(
                "Bad Request: a session is required (MCP_REQUIRE_SESSION); POST initialize first, then send its Mcp-Session-Id",
            ));
        }
        let revision = self.revision(guard.as_ref(), named);
        if config.strict {
            self.check_strictly(caller, Kind::Post, guard.as_ref(), revision, named, calls)?;
            if let Some(guard) = &mut guard {
                guard.count_requests(requests);
            }
        }
        Ok(Admitted { guard, revision })
    }

    /// Opens the stream of the session that `caller` names, after `last_event_id`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open(&self, caller: &Caller<'_>, last_event_id: Option<&str>) -> Result<(Uuid, SessionStream), Refused> {
        let named = self.named(caller)?;
        let guard = self.enter(caller, Some((Kind::Get, named)), |_| {})?.ok_or_else(|| {
            Refused::malformed(
                "Bad Request: GET opens the stream of a session and needs its Mcp-Session-Id header; POST initialize first",
            )
        })?;
        let revision = self.revision(Some(&guard), named);
        self.check_strictly(caller, Kind::Get, Some(&guard), revision, named, &[])?;
        let session = guard.session();
        if let Some(rest) = last_event_id.and_then(|id| session.take_suspended(id)) {
            tracing::debug!("the stream of a call goes on");
            return Ok((session.id(), SessionStream::Call(rest)));
        }
        let stream = session.open_stream(last_event_id);
        Ok((session.id(), SessionStream::Messages(Box::new(stream), revision)))
    }

    /// Ends the session that `caller` names. Returns its id.
    ///
    /// # Errors
    /// Why there is none.
    pub fn end_session(&self, caller: &Caller<'_>) -> Result<Uuid, Refused> {
        let named = self.named(caller)?;
        let guard = self.enter(caller, Some((Kind::Delete, named)), |_| {})?.ok_or_else(|| {
            Refused::malformed(
                "Bad Request: DELETE ends a session and needs its Mcp-Session-Id header; send it, or do nothing",
            )
        })?;
        let revision = self.revision(Some(&guard), named);
        self.check_strictly(caller, Kind::Delete, Some(&guard), revision, named, &[])?;
        write(&self.server.sessions).end(guard.session(), EndReason::Deleted);
        Ok(guard.session().id())
    }

    /// The revision that the caller names, if it names one.
    pub(super) fn named(&self, caller: &Caller<'_>) -> Result<Option<Revision>, Refused> {
        caller.served_version(&self.server.config.protocol).map_err(|error| Refused::new(Failure::Malformed, error))
    }

    /// Enters the session that the caller names; `None` when it names none. `noted` is what its history says of the request.
    pub(super) fn enter(
        &self,
        caller: &Caller<'_>,
        noted: Option<(Kind, Option<Revision>)>,
        note: impl FnOnce(&mut Working<'_>),
    ) -> Result<Option<SessionGuard>, Refused> {
        let missing = match caller.session {
            SessionHeader::Absent => return Ok(None),
            SessionHeader::Foreign => Missing::Unknown,
            SessionHeader::Id(id) => {
                let who = identity::caller(&caller.request.headers).ok();
                let entry = noted.map(|(kind, named)| caller.entry(kind, named));
                let entered = session::enter(&self.server.sessions, id, who.as_ref(), |session| {
                    if let Some(mut entry) = entry {
                        // Where it is bound, its user is always the same.
                        if session.record.owner.is_none() {
                            entry.user = who.as_ref().map(Identity::number);
                        }
                        session.record_request(&entry);
                    }
                    note(session);
                });
                match entered {
                    Ok(guard) => return Ok(Some(guard)),
                    Err(missing) => {
                        self.note_missing(id, missing);
                        missing
                    }
                }
            }
        };
        Err(self.missing(missing))
    }

    /// The revision of a request of the handshake era: the one its session negotiated, else the one that its header names,
    /// else the one that the specification says. A session that a stateless request made has negotiated none.
    fn revision(&self, guard: Option<&SessionGuard>, named: Option<Revision>) -> Revision {
        let negotiated = guard.map(|guard| guard.session().revision()).filter(|revision| !revision.is_stateless());
        let unnamed = || self.server.config.protocol.when_unnamed().unwrap_or(Revision::WHEN_UNNAMED);
        negotiated.or(named).unwrap_or_else(unnamed)
    }

    fn check_strictly(
        &self,
        caller: &Caller<'_>,
        kind: Kind,
        guard: Option<&SessionGuard>,
        revision: Revision,
        named: Option<Revision>,
        calls: &[(&str, &Id)],
    ) -> Result<(), Refused> {
        if !self.server.config.strict {
            return Ok(());
        }
        let session = guard.map(|guard| &**guard.session());
        strict::check(&Asked { kind, headers: &caller.request.headers, session, revision, named, calls })
    }

    /// Notes why there is no session `id` for a request, where an operator should know.
    pub(super) fn note_missing(&self, id: Uuid, missing: Missing) {
        match missing {
            Missing::Elsewhere { maker, here, replica } => {
                self.tell(&[(findings::session::other_replica(maker, here, replica), None)]);
            }
            Missing::NotYours { anonymous } => {
                let who = if anonymous { "a request without identity" } else { "another identity" };
                tracing::warn!(session = prefix(id), "{who} tried a session that is bound to someone else");
            }
            Missing::Unknown | Missing::Ended { .. } => {}
        }
    }

    /// The refusal for a session that there is not, with the reason where the caller may know it.
    pub(super) fn missing(&self, missing: Missing) -> Refused {
        const HINT: &str = "POST initialize without an Mcp-Session-Id header to start a new session";
        const UNKNOWN: &str = "never issued here, lost in a restart, or opened by another identity: send the same token as \
                               with initialize; or POST initialize without an Mcp-Session-Id header to start a new session";
        let data = match missing {
            Missing::Ended { reason, at, tries } => {
                let at = rfc3339(self.server.clock.wall(at));
                let mut data = serde_json::json!({ "reason": reason.name(), "endedAt": at, "hint": HINT });
                if tries > 0 {
                    data["findings"] = serde_json::json!([findings::session::dead_id(reason, &at, tries).to_json()]);
                }
                data
            }
            Missing::Elsewhere { maker, here, replica } => {
                let finding = findings::session::other_replica(maker, here, replica);
                serde_json::json!({
                    "hint": format!("{}; or {HINT}", finding.summary),
                    "instance": here.to_string(),
                    "madeByInstance": maker.to_string(),
                    "findings": [finding.to_json()],
                })
            }
            // Someone else's session must look like none at all.
            Missing::Unknown | Missing::NotYours { .. } => serde_json::json!({ "hint": UNKNOWN }),
        };
        // The original's words, whole: some clients look for them.
        let error = RpcError::new(RpcError::INTERNAL_ERROR, "Session not found or expired").with_data(data);
        Refused::new(Failure::NoSession, error)
    }
}
