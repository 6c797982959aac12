//! The session of a message: entered by its caller, noted in its history, opened as a stream, ended.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use uuid::Uuid;

use super::seal::Told;
use super::strict::{self, Asked, Breach};
use super::{Caller, Engine};
use crate::clock::Moment;
use crate::diagnosis::client::way;
use crate::diagnosis::findings::{self, Facts, Family, Finding, SessionFacts};
use crate::diagnosis::placeholder;
use crate::protocol::{Allowance, CallStream, Failure, Id, Refused, Revision, RpcError};
use crate::request::headers::{self, SessionHeader};
use crate::session::history::Kind;
use crate::session::{
    self, EndReason, Identity, InstanceName, Missing, Session, SessionGuard, Stream, TooFast, Working, prefix, read,
    write,
};
use crate::text::rfc3339;
use crate::tools::Server;

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
        let mut too_fast = None;
        let mut guard = self.enter(caller, Some((Kind::Post, named)), |session| {
            if let Some(limit) = &config.rate_limit {
                too_fast = session.keep_pace(limit).err();
                if too_fast.is_some() {
                    return;
                }
            }
            for (method, id) in calls {
                session.record_call(method, id);
            }
            session.count_requests(at_once);
        })?;
        match (&guard, too_fast) {
            (Some(guard), Some(why)) => return Err(self.too_fast(why).in_session(guard.session().id())),
            (Some(_), None) => {}
            (None, _) => self.go_without(caller, calls)?,
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

    /// The refusal of a message that came too fast.
    #[cold]
    fn too_fast(&self, why: TooFast) -> Refused {
        let (failure, error) = self.too_fast_error(why);
        Refused::new(failure, error)
    }

    /// The same, as a failure and its error.
    pub(super) fn too_fast_error(&self, why: TooFast) -> (Failure, RpcError) {
        let wait_ms = u32::try_from(why.wait.as_millis()).unwrap_or(u32::MAX);
        let Some(limit) = &self.server.config.rate_limit else { return (Failure::Internal, RpcError::internal()) };
        let window_s = u32::try_from(limit.window.as_secs()).unwrap_or(u32::MAX);
        let allowance = Allowance { wait_ms, messages: limit.messages, window_s };
        (Failure::TooFast(allowance), RpcError::too_fast(&limit.to_string(), wait_ms))
    }

    /// A message without a session: remembered of its client, refused where that is not allowed.
    #[cold]
    fn go_without(&self, caller: &Caller<'_>, calls: &[(&str, &Id)]) -> Result<(), Refused> {
        if self.server.config.require_session {
            return Err(self.session_required(
                caller,
                "Bad Request: a session is required (MCP_REQUIRE_SESSION); POST initialize first, then send its Mcp-Session-Id",
            ));
        }
        // Pings may come before there is a session (MCP 2024-11-05 and later, basic/lifecycle).
        if calls.is_empty() || calls.iter().any(|(method, _)| *method != "ping") {
            let (client, now) = (caller.client(&self.server), self.server.clock.now());
            let seen = self.server.clients.sessionless(client, now);
            if let Some(finding) = seen.and_then(|seen| findings::session::dropped(&seen, now)) {
                self.tell(&[(finding, None)]);
            }
        }
        Ok(())
    }

    /// The refusal of a request that names no session and needs one.
    fn session_required(&self, caller: &Caller<'_>, message: &str) -> Refused {
        let finding = findings::session::session_missing("the request names no session, and needs one");
        let (client, now) = (caller.client(&self.server), self.server.clock.now());
        let seen = self.server.clients.seen(client);
        let mut findings = vec![finding.to_json()];
        // Some clients begin with a GET, and go on with POST: that is no mistake that anybody has to know of.
        if seen.initialized > 0 || caller.request.method != Method::GET {
            self.tell(&[(finding, None)]);
        }
        let mut message = message.to_owned();
        if let Some(dropped) = findings::session::dropped(&seen, now) {
            // In the message too: it is all that some clients show.
            message = format!("{message}; {}", dropped.summary);
            findings.push(dropped.to_json());
            self.tell(&[(dropped, None)]);
        }
        let error = RpcError::invalid_request(message).with_data(serde_json::json!({ "findings": findings }));
        Refused::new(Failure::SessionRequired, error)
    }

    /// Looks for what is wrong with a session that may ask for nothing that tells: it is counted, and logged at first sight.
    #[cold]
    pub(super) fn look(&self, session: &Session) {
        let Server { config, clock, .. } = &self.server;
        let (method, uri, headers) = (Method::POST, Uri::from_static("/mcp"), HeaderMap::new());
        let told: Vec<Told> = session.change(|working| {
            let found = {
                let session = SessionFacts { record: &*working.record, figures: working.figures(), now: clock.now() };
                let revision = session.record.protocol_version;
                let facts =
                    Facts::new(&method, &uri, &headers, revision, config, clock.wall_now()).with_session(session);
                findings::find(&facts, &[Family::Session])
            };
            found.into_iter().filter(|finding| working.note_untold(finding.rule.id)).map(|one| (one, None)).collect()
        });
        self.tell(&told);
    }

    /// Looks at every session that has ended.
    pub(super) fn look_back(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        read(&self.server.sessions).last_look(move |session| {
            if let Some(engine) = engine.upgrade() {
                engine.look(session);
            }
        });
    }

    /// Opens the stream of the session that `caller` names, after `last_event_id`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        last_event_id: Option<&str>,
    ) -> Result<(Uuid, SessionStream), Refused> {
        let (guard, revision) = self.enter_for_stream(caller)?;
        let session = guard.session();
        if let Some(rest) = last_event_id.and_then(|id| session.take_suspended(id)) {
            tracing::debug!("the stream of a call goes on");
            return Ok((session.id(), SessionStream::Call(rest)));
        }
        let (client, way) = (caller.client(&self.server), way(&caller.request.headers));
        let engine = Arc::clone(self);
        let stream = session.open_stream(last_event_id, client, way).with_end(move |session| engine.look(session));
        Ok((session.id(), SessionStream::Messages(Box::new(stream), revision)))
    }

    /// Enters the session whose stream `caller` wants to open.
    pub(super) fn enter_for_stream(&self, caller: &Caller<'_>) -> Result<(SessionGuard, Revision), Refused> {
        let named = self.named(caller)?;
        let guard = self.enter(caller, Some((Kind::Get, named)), |_| {})?.ok_or_else(|| {
            self.session_required(
                caller,
                "Bad Request: GET opens the stream of a session and needs its Mcp-Session-Id header; POST initialize first; if you sent \
                 POST, a redirect on the way made it a GET: give the client the URL that the redirect leads to (https, slash at the \
                 end)",
            )
        })?;
        let revision = self.revision(Some(&guard), named);
        self.check_strictly(caller, Kind::Get, Some(&guard), revision, named, &[])?;
        Ok((guard, revision))
    }

    /// Ends the session that `caller` names. Returns its id.
    ///
    /// # Errors
    /// Why there is none.
    pub fn end_session(&self, caller: &Caller<'_>) -> Result<Uuid, Refused> {
        let guard = self.enter_to_end(caller)?;
        self.ended(caller, guard.session());
        Ok(guard.session().id())
    }

    /// Takes leave of a session that `caller` ended.
    pub(super) fn ended(&self, caller: &Caller<'_>, session: &Session) {
        write(&self.server.sessions).end(session, EndReason::Deleted);
        self.look(session);
        self.server.clients.deleted(caller.client(&self.server), self.server.clock.now());
    }

    /// Enters the session that `caller` wants to end.
    pub(super) fn enter_to_end(&self, caller: &Caller<'_>) -> Result<SessionGuard, Refused> {
        let named = self.named(caller)?;
        let guard = self.enter(caller, Some((Kind::Delete, named)), |_| {})?.ok_or_else(|| {
            self.session_required(
                caller,
                "Bad Request: DELETE ends a session and needs its Mcp-Session-Id header; send it, or do nothing",
            )
        })?;
        let revision = self.revision(Some(&guard), named);
        self.check_strictly(caller, Kind::Delete, Some(&guard), revision, named, &[])?;
        Ok(guard)
    }

    /// The revision that the caller names, if it names one.
    pub(super) fn named(&self, caller: &Caller<'_>) -> Result<Option<Revision>, Refused> {
        caller.served_version(&self.server.config.protocol).map_err(|error| Refused::new(Failure::Malformed, error))
    }

    /// Keeps the session that these headers name from expiring while the rest of their request arrives.
    #[must_use]
    pub fn keep_alive(&self, headers: &HeaderMap) -> Option<SessionGuard> {
        let SessionHeader::Id(id) = headers::session_id(headers) else { return None };
        session::hold(&self.server.sessions, id, self.server.identity(headers).ok().as_ref())
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
            SessionHeader::Several => return Err(self.session_twice()),
            SessionHeader::Foreign if is_unset(&caller.request.headers) => {
                return Err(not_found(UNSET, serde_json::json!({ "hint": UNSET })));
            }
            SessionHeader::Foreign => Missing::Unknown,
            SessionHeader::Id(id) => {
                let who = self.server.identity(&caller.request.headers).ok();
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
                    Ok(guard) => {
                        if guard.has_news() {
                            self.look(guard.session());
                        }
                        return Ok(Some(guard));
                    }
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
        self.hold(&Asked { kind, headers: &caller.request.headers, session, revision, named, calls })
    }

    /// Refuses a breach of what strict mode holds clients to.
    pub(super) fn hold(&self, asked: &Asked<'_>) -> Result<(), Refused> {
        strict::check(asked).map_err(|breach| {
            let refused = breach.refused(asked.session.map(Session::id));
            let Breach { finding, .. } = breach;
            self.tell(&[(*finding, None)]);
            refused
        })
    }

    /// Notes why there is no session `id` for a request, where an operator should know.
    pub(super) fn note_missing(&self, id: Uuid, missing: Missing) {
        match missing {
            Missing::Elsewhere { maker, here, since } => {
                self.tell(&[(self.other_replica(maker, here, since), None)]);
            }
            Missing::NotYours { anonymous } => {
                let who = if anonymous { "a request without identity" } else { "another identity" };
                tracing::warn!(session = prefix(id), "{who} tried a session that is bound to someone else");
            }
            Missing::Ended { reason, at, tries } => {
                let at = rfc3339(self.server.clock.wall(at));
                self.tell(&[(findings::session::dead_id(reason, &at, tries), None)]);
            }
            Missing::Unknown => {}
        }
    }

    /// The finding on a session of another instance.
    pub(super) fn other_replica(&self, maker: InstanceName, here: InstanceName, since: Moment) -> Finding {
        findings::session::other_replica(maker, here, &rfc3339(self.server.clock.wall(since)))
    }

    /// The refusal of a request with two session ids.
    fn session_twice(&self) -> Refused {
        const MESSAGE: &str = "Bad Request: Mcp-Session-Id came twice, or two values in one, joined by a comma; a session id is \
                               one value: have the client send the header once, and proxies replace it instead of adding one";
        let finding = findings::session::session_twice();
        let data = serde_json::json!({ "findings": [finding.to_json()] });
        self.tell_of_refusal(finding);
        Refused::new(Failure::Malformed, RpcError::invalid_request(MESSAGE).with_data(data))
    }

    /// The refusal for a session that there is not, with the reason where the caller may know it.
    pub(super) fn missing(&self, missing: Missing) -> Refused {
        const HINT: &str = "POST initialize without an Mcp-Session-Id header to start a new session";
        const UNKNOWN: &str = "never issued here, lost in a restart, or opened by another identity: send the same token as \
                               with initialize; or POST initialize without an Mcp-Session-Id header to start a new session";
        let mut told = UNKNOWN.to_owned();
        let data = match missing {
            Missing::Ended { reason, at, tries } => {
                let at = rfc3339(self.server.clock.wall(at));
                told = format!("it was {} at {at}: {HINT}", reason.name());
                let mut data = serde_json::json!({ "reason": reason.name(), "endedAt": at, "hint": HINT });
                if tries > 0 {
                    data["findings"] = serde_json::json!([findings::session::dead_id(reason, &at, tries).to_json()]);
                }
                data
            }
            Missing::Elsewhere { maker, here, since } => {
                let finding = self.other_replica(maker, here, since);
                told = format!("{}; or {HINT}", finding.summary);
                serde_json::json!({
                    "hint": told,
                    "instance": here.to_string(),
                    "madeByInstance": maker.to_string(),
                    "findings": [finding.to_json()],
                })
            }
            // Someone else's session must look like none at all.
            Missing::Unknown | Missing::NotYours { .. } => serde_json::json!({ "hint": UNKNOWN }),
        };
        not_found(&told, data)
    }
}

/// Whether the id is what code writes when its variable is empty, or a template that nothing replaced.
fn is_unset(headers: &HeaderMap) -> bool {
    let text = headers::single(headers, &headers::SESSION_ID).unwrap_or_default();
    placeholder::unmistakable(&text).is_some() || matches!(&*text, "null" | "None" | "nil")
}

/// What to do about an id that is none.
const UNSET: &str = "the Mcp-Session-Id header holds the text of an empty variable or of a template: have the client keep the \
                     header of the answer to initialize, or leave it out";

/// The refusal for a session that there is not. It begins with the original's words: some clients look for them; and goes on
/// with what to do: most clients show nothing else.
fn not_found(told: &str, data: serde_json::Value) -> Refused {
    let message = format!("Session not found or expired: {told}");
    Refused::new(Failure::NoSession, RpcError::new(RpcError::INTERNAL_ERROR, message).with_data(data))
}
