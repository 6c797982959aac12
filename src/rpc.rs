//! From a message to a [`Reply`], whatever carries it: [`Engine::exchange`]. Knows neither axum nor the forms that an answer
//! takes on its way out; of HTTP it knows the facts of the request, where there is one ([`Caller`]).
//!
//! - `era` says by which rules a message is read, `handshake` and `stateless` are these rules, `strict` makes breaches of
//!   them refusals.
//! - `methods` answers what is no tool call, `call` calls tools, `running` runs those that take their time.

mod call;
mod caller;
mod era;
mod handle;
mod handshake;
mod job;
mod methods;
mod mirror;
mod result;
mod running;
mod seal;
mod session;
mod shares;
mod stateless;
mod strict;
mod subscriptions;
#[cfg(test)]
mod tests;
mod there;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use caller::Caller;
pub use era::Era;
pub use methods::unknown_method;
pub use session::SessionStream;
pub use there::Arrived;

use shares::Shares;

use crate::protocol::message::{Body, Malformed};
use crate::protocol::meta::named_version;
use crate::protocol::{Addressee, Answer, Call, Failure, Message, Notification, Refused, Reply, RpcError};
use crate::tools::{Registry, Server, Tool};

/// The most calls at work at once, of all clients: those that may take their time. Each holds its arguments meanwhile.
pub const MAX_CALLS: usize = 10_000;

/// The most `subscriptions/listen` streams at once, of all clients: as many as there are sessions by default, since these
/// streams belong to none that would bound them.
pub const MAX_SUBSCRIPTIONS: usize = 10_000;

/// Everything that answering a message takes, shared by all requests.
pub struct Engine {
    /// What tools may see of it.
    pub server: Server,
    /// The tools.
    pub tools: Registry,
    /// Cancelled when the server is to end.
    pub shutdown: CancellationToken,
    /// Calls that outlive their request's handler: shutdown waits for them.
    pub calls: TaskTracker,
    /// Room for calls that may take their time: [`MAX_CALLS`] places.
    waiting: Shares,
    /// Room for `subscriptions/listen` streams: [`MAX_SUBSCRIPTIONS`] places.
    subscriptions: Shares,
}

impl Engine {
    /// The tool of that name, as this server writes it.
    #[must_use]
    pub fn known_tool(&self, name: &str) -> Option<&'static str> {
        self.tools.get(name).map(|entry| entry.tool().name)
    }

    /// An engine for `server` with the tools of a table, until `shutdown` is cancelled.
    #[must_use]
    pub fn new(server: Server, tools: &'static [Tool], shutdown: CancellationToken) -> Arc<Self> {
        let engine = Arc::new(Self {
            tools: Registry::new(tools, server.config.handle_header),
            server,
            shutdown,
            calls: TaskTracker::new(),
            waiting: Shares::new(MAX_CALLS),
            subscriptions: Shares::new(MAX_SUBSCRIPTIONS),
        });
        engine.look_back();
        engine
    }

    /// Whether no call takes its time and no subscription is open: all their places are free.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.are_free() && self.subscriptions.are_free()
    }

    /// Answers what a POST, or a frame, holds.
    pub fn exchange(self: &Arc<Self>, caller: &Caller<'_>, body: Body) -> Reply {
        match body {
            Body::Single(Message::Request(call)) => self.answer(caller, call),
            Body::Single(Message::Notification(notification)) => self.notify(caller, &notification),
            Body::Single(Message::Response) => self.take_response(caller),
            Body::Batch(messages) => self.answer_batch(caller, messages),
        }
    }

    fn answer(self: &Arc<Self>, caller: &Caller<'_>, call: Call) -> Reply {
        let served = &self.server.config.protocol;
        match Era::of(&call.method, &call.params, caller.version(), served) {
            Era::Handshake => handshake::answer(self, caller, call),
            Era::Stateless if served.has_stateless() => stateless::answer(self, caller, call),
            Era::Stateless => self.refuse_stateless(caller, &call).to(&call.id).into(),
        }
    }

    fn notify(&self, caller: &Caller<'_>, notification: &Notification) -> Reply {
        let served = &self.server.config.protocol;
        if methods::must_be_answered(&notification.method) {
            return Refused::new(Failure::Malformed, methods::id_missing(&notification.method)).into();
        }
        match Era::of(&notification.method, &notification.params, caller.version(), served) {
            Era::Stateless if served.has_stateless() => stateless::notify(self, caller, notification),
            _ => handshake::notify(self, caller, notification),
        }
    }

    fn take_response(&self, caller: &Caller<'_>) -> Reply {
        let served = &self.server.config.protocol;
        match Era::by_header(caller.version(), served) {
            Era::Stateless if served.has_stateless() => Refused::malformed(
                "Invalid Request: a response answers nothing here: servers of this protocol version send no requests",
            )
            .into(),
            _ => handshake::take_response(self, caller),
        }
    }

    fn answer_batch(self: &Arc<Self>, caller: &Caller<'_>, messages: Vec<Result<Message, Malformed>>) -> Reply {
        let served = &self.server.config.protocol;
        let is_stateless = |message: &Result<Message, Malformed>| {
            let era = match message {
                Ok(Message::Request(call)) => Era::of(&call.method, &call.params, caller.version(), served),
                Ok(Message::Notification(note)) => Era::of(&note.method, &note.params, caller.version(), served),
                Ok(Message::Response) | Err(_) => Era::by_header(caller.version(), served),
            };
            era == Era::Stateless
        };
        // The whole array: half of it would be answered by rules that its client does not know.
        if served.has_stateless() && messages.iter().any(is_stateless) {
            return Refused::malformed(
                "Invalid Request: this protocol version has no batches; send one message a POST",
            )
            .into();
        }
        handshake::answer_batch(self, caller, messages)
    }

    /// Where no stateless revision is served: discovery is answered so that clients fall back to `initialize`, and a request
    /// that names a version of that era is told which ones there are.
    fn refuse_stateless(&self, caller: &Caller<'_>, call: &Call) -> Refused {
        if call.method == "server/discover" {
            return Refused::new(Failure::UnknownMethod, unknown_method(&call.method, false));
        }
        let named = named_version(&call.params).or_else(|| caller.version().map(str::to_owned));
        let error = RpcError::unsupported_version(&named.unwrap_or_default(), &self.server.config.protocol);
        Refused::new(Failure::Malformed, error)
    }
}

/// A message that could not be read.
#[must_use]
pub fn malformed(malformed: Malformed) -> Refused {
    let to = malformed.id.map_or(Addressee::Unreadable, Addressee::Request);
    Refused { failure: Failure::Malformed, to, error: malformed.error, session: None }
}

/// The answer to a part of a batch that could not be read.
fn malformed_part(malformed: Malformed) -> Answer {
    let (refused, id) = (self::malformed(malformed.clone()), malformed.id);
    Answer { json: refused.to_json(), failure: None, id, is_even: false }
}
