//! Requests where the truth about sessions is in a store. A whole exchange is what is committed: entering the session, the
//! call, its counts and notices are kept together, and the answer leaves after that.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use super::session::SessionStream;
use super::{Caller, Engine, Era};
use crate::diagnosis::client::way;
use crate::protocol::message::Body;
use crate::protocol::{Failure, Message, Refused, Reply, Revision, RpcError};
use crate::request::Request;
use crate::request::headers::{Accept, SessionHeader};
use crate::session::store::Gone;
use crate::session::{
    Committer, EndReason, Held, Session, Stream, Uncommitted, copy_of, kept, read, suspended_in, write,
};
use crate::text::rfc3339;
use crate::tools::HANDLE;

/// An HTTP request that came as a whole.
#[derive(Clone)]
pub struct Arrived {
    /// It.
    pub request: Arc<Request>,
    /// The forms of an answer that it accepts.
    pub accept: Accept,
    /// Whether that may be a stream.
    pub streams: bool,
}

impl Arrived {
    fn caller(&self) -> Caller<'_> {
        Caller::of_http(&self.request, self.accept, self.streams)
    }
}

impl Engine {
    /// Answers what a POST holds, whose sessions are in a store.
    pub async fn exchange_there(self: &Arc<Self>, committer: &Arc<Committer>, arrived: Arrived, body: Body) -> Reply {
        let id = match &body {
            Body::Single(Message::Request(call)) => Some(call.id.clone()),
            _ => None,
        };
        let target = self.target(&arrived.caller(), &body);
        let looks = self.looks(&body);
        let engine = Arc::clone(self);
        let run = {
            let arrived = arrived.clone();
            move || engine.exchange(&arrived.caller(), body.clone())
        };
        match self.kept_in(committer, &arrived, (target, looks), run).await {
            Ok(reply) => reply,
            Err(why) => {
                let refused = self.unkept(&why);
                match &id {
                    Some(id) => refused.to(id),
                    None => refused,
                }
                .into()
            }
        }
    }

    /// The session that a message is about: one that a handle names in the stateless era, else the header's.
    fn target(&self, caller: &Caller<'_>, body: &Body) -> Option<Uuid> {
        let served = &self.server.config.protocol;
        if let Body::Single(Message::Request(call)) = body
            && served.has_stateless()
            && Era::of(&call.method, &call.params, caller.version(), served) == Era::Stateless
        {
            let handle = call.params.arguments().get(HANDLE).and_then(Value::as_str);
            return handle.and_then(|handle| Uuid::try_parse(handle).ok());
        }
        named(caller)
    }

    /// Whether a tool that is called looks at the session as a whole.
    fn looks(&self, body: &Body) -> bool {
        let looks = |message: &Message| match message {
            Message::Request(call) if call.method == "tools/call" => {
                let tool = call.params.name().as_str().and_then(|name| self.tools.get(name));
                tool.is_some_and(|entry| entry.tool().looks_at_sessions())
            }
            _ => false,
        };
        match body {
            Body::Single(message) => looks(message),
            Body::Batch(messages) => messages.iter().flatten().any(looks),
        }
    }

    /// Runs what enters a session, keeps what it changes there, and returns what it returned. What makes a session has that
    /// kept, too.
    async fn kept_in<T: Send + 'static>(
        self: &Arc<Self>,
        committer: &Arc<Committer>,
        arrived: &Arrived,
        (target, looks): (Option<Uuid>, bool),
        mut run: impl FnMut() -> T + Clone + Send + 'static,
    ) -> Result<T, Uncommitted> {
        if let Some(id) = target
            && let Some(copy) = self.copy(committer, id).await?
        {
            if self.is_strange(copy.session(), arrived) {
                let anonymous = self.server.identity(&arrived.request.headers).is_err();
                committer.note_intrusion(copy.session(), anonymous).await;
            } else {
                if looks && committer.store().is_shared() {
                    // What other processes deliver and count is no change of the session: its version does not tell.
                    copy.session().know_nothing();
                }
                match committer.run_in(copy.session(), run.clone()).await {
                    // Known from now on: what runs next finds it so.
                    Err(Uncommitted::Gone(gone)) => self.bury(id, gone),
                    kept => return kept,
                }
            }
        }
        self.keep_made(committer, kept::run(&mut run)).await
    }

    /// Has the rest of a call that took its time kept: in its session, where it has one, or with the session that it makes.
    pub(super) async fn kept_here<T: Send + 'static>(
        &self,
        committer: &Arc<Committer>,
        session: Option<&Arc<Session>>,
        began: Instant,
        mut change: Box<dyn FnMut() -> T + Send>,
    ) -> Result<T, Uncommitted> {
        let Some(session) = session else { return self.keep_made(committer, kept::run(change)).await };
        let changed = Arc::clone(session);
        let run = move || {
            let result = change();
            changed.change(|working| working.count_finished(began.elapsed()));
            result
        };
        match committer.run_in(session, run).await {
            Err(Uncommitted::Gone(gone)) => {
                self.bury(session.id(), gone);
                Err(Uncommitted::Gone(gone))
            }
            kept => kept,
        }
    }

    /// Has the sessions kept that a run made, and then what it left happen.
    async fn keep_made<T>(&self, committer: &Committer, ran: (T, kept::Waiting)) -> Result<T, Uncommitted> {
        let (result, left) = ran;
        // One that ended at once is none.
        let made: Vec<Held> = left.made.iter().filter_map(|id| copy_of(&self.server.sessions, *id)).collect();
        for one in &made {
            if let Err(why) = committer.bear(one.session()).await {
                for one in &made {
                    write(&self.server.sessions).unmake(one.session());
                }
                return Err(why);
            }
        }
        left.effects.into_iter().for_each(|effect| effect());
        Ok(result)
    }

    /// A copy of a session of the store, kept here while it is held; `None` where there is no such session.
    async fn copy(&self, committer: &Committer, id: Uuid) -> Result<Option<Held>, Uncommitted> {
        if let Some(here) = copy_of(&self.server.sessions, id) {
            return Ok(Some(here));
        }
        match committer.load(id).await {
            Ok(loaded) => {
                let session = write(&self.server.sessions).adopt_copy(loaded);
                Ok(Some(Held::of(&session)))
            }
            Err(Uncommitted::Gone(gone)) => {
                self.bury(id, gone);
                Ok(None)
            }
            Err(why) => Err(why),
        }
    }

    fn bury(&self, id: Uuid, gone: Gone) {
        write(&self.server.sessions).bury(id, gone);
    }

    /// Whether a session is bound to somebody else.
    fn is_strange(&self, session: &Session, arrived: &Arrived) -> bool {
        let who = || self.server.identity(&arrived.request.headers);
        session.owner().is_some_and(|owner| !who().is_ok_and(|who| owner.is(&who)))
    }

    /// Opens the stream of the session that a GET names, which is in a store.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open_there(
        self: &Arc<Self>,
        committer: &Arc<Committer>,
        arrived: Arrived,
        last_event_id: Option<String>,
    ) -> Result<(Uuid, SessionStream), Refused> {
        let target = named(&arrived.caller());
        let (engine, asked) = (Arc::clone(self), arrived.clone());
        let enter = move || -> Result<(Held, Revision), Refused> {
            let caller = asked.caller();
            let (guard, revision) = engine.enter_for_stream(&caller)?;
            let way = way(&caller.request.headers);
            guard.session().change(|working| working.record.history.streams.get_or_insert_default().open(way));
            Ok((Held::of(guard.session()), revision))
        };
        let entered =
            self.kept_in(committer, &arrived, (target, false), enter).await.map_err(|why| self.unkept(&why))?;
        let (held, revision) = entered?;
        let session = held.session();
        if let Some(rest) = last_event_id.as_deref().and_then(|id| session.take_suspended(id)) {
            return Ok((session.id(), SessionStream::Call(rest)));
        }
        let here = read(&self.server.sessions).instance().name().to_string();
        if let Some(there) = last_event_id.as_deref().and_then(suspended_in).filter(|there| *there != here) {
            let message = format!(
                "the rest of that call is in instance {there}, where it runs, and this is {here}: ask again until {there} answers \
                 (every answer has X-Instance-Id), or have the proxy keep a session at one instance"
            );
            let error = RpcError::new(RpcError::INTERNAL_ERROR, message);
            let error = error.with_data(json!({ "instance": here, "runsInInstance": there, "retryAfterMs": 1000 }));
            return Err(Refused::new(Failure::Busy, error));
        }
        let (caller, engine) = (arrived.caller(), Arc::clone(self));
        let (client, way) = (caller.client(&self.server), way(&caller.request.headers));
        let (last, tasks) = (last_event_id.as_deref(), self.calls.clone());
        let opened = Stream::there(session, committer, last, client, way, tasks).await;
        let stream = match opened {
            Ok(stream) => stream.with_end(move |session| engine.look(session)),
            Err(Uncommitted::Gone(gone)) => {
                self.bury(session.id(), gone);
                return Err(self.enter_for_stream(&caller).err().unwrap_or_else(|| self.unkept(&Uncommitted::Broken)));
            }
            Err(why) => return Err(self.unkept(&why)),
        };
        Ok((session.id(), SessionStream::Messages(Box::new(stream), revision)))
    }

    /// Ends the session that a DELETE names, which is in a store. Returns its id.
    ///
    /// # Errors
    /// Why there is none to end.
    pub async fn end_session_there(
        self: &Arc<Self>,
        committer: &Arc<Committer>,
        arrived: Arrived,
    ) -> Result<Uuid, Refused> {
        let (engine, asked) = (Arc::clone(self), arrived.clone());
        let target = named(&arrived.caller());
        let enter = move || engine.enter_to_end(&asked.caller()).map(|guard| Arc::clone(guard.session()));
        let entered =
            self.kept_in(committer, &arrived, (target, false), enter).await.map_err(|why| self.unkept(&why))?;
        let session = entered?;
        match committer.end(session.id(), EndReason::Deleted).await {
            // Gone: what was asked for is so.
            Ok(()) | Err(Uncommitted::Gone(_)) => {}
            Err(why) => return Err(self.unkept(&why)),
        }
        self.ended(&arrived.caller(), &session);
        Ok(session.id())
    }

    /// The refusal of a request whose change the store did not keep.
    pub(super) fn unkept(&self, why: &Uncommitted) -> Refused {
        let failure = if *why == Uncommitted::Broken { Failure::Internal } else { Failure::Busy };
        Refused::new(failure, self.unkept_error(why))
    }

    /// The same, as the error of a call.
    pub(super) fn unkept_error(&self, why: &Uncommitted) -> RpcError {
        if *why == Uncommitted::Full {
            let full = write(&self.server.sessions).refuse();
            return RpcError::too_many_sessions(&full.to_string());
        }
        let store = self.server.config.store.shown();
        let Some(outcome) = why.outcome() else {
            return RpcError::internal();
        };
        let done = match outcome {
            "refused" => "nothing was changed: send the request again",
            _ => "it may have been done or not: look (sessionInfo, replayLastEcho) before you send it again",
        };
        let mut data = json!({ "store": store, "outcome": outcome, "retryAfterMs": 1000 });
        let mut since = String::new();
        if let Some((lasts, _)) = self.server.committer.as_ref().and_then(|committer| committer.health().down) {
            let at = self.server.clock.wall_now() - jiff::SignedDuration::try_from(lasts).unwrap_or_default();
            since = format!(" since {}", rfc3339(at));
            data["since"] = json!(rfc3339(at));
        }
        let message = format!("Session store {store} does not answer{since}: {why}; {done}");
        RpcError::new(RpcError::INTERNAL_ERROR, message).with_data(data)
    }
}

/// The session that a request's header names.
fn named(caller: &Caller<'_>) -> Option<Uuid> {
    match caller.session {
        SessionHeader::Id(id) => Some(id),
        _ => None,
    }
}
