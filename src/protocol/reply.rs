//! What answering a message makes, whatever carries it. HTTP makes JSON or a stream of it, in one place.

use std::pin::Pin;

use futures_util::Stream;
use uuid::Uuid;

use super::{Id, RpcError, message};

/// The reply to what one POST, or one frame, holds.
pub struct Reply {
    /// The session that the message entered.
    pub session: Option<Uuid>,
    /// The reply itself.
    pub content: Content,
}

/// A reply without its session.
pub enum Content {
    /// The answer to one request, or to a batch: it is complete.
    Answer(Answers),
    /// Notifications and then the answers of calls that take their time.
    Stream(CallStream),
    /// What was asked for is a stream, and ends with its answer: it has no other form.
    Subscription(CallStream),
    /// Notifications and responses get no answer.
    Accepted,
    /// The message as a whole is refused.
    Refused(Refused),
}

/// What calls send, the answers last. It ends without one where every call was cancelled.
pub type CallStream = Pin<Box<dyn Stream<Item = Outgoing> + Send>>;

/// One item of a [`CallStream`].
#[derive(Debug)]
pub enum Outgoing {
    /// A JSON-RPC notification.
    Notification(String),
    /// The connection ends here; the client finds the rest under this event id (SEP-1699 in MCP 2025-11-25
    /// basic/transports, Sending Messages).
    Suspended(String),
    /// The answer: the last item.
    Answer(Answers),
    /// There is none: the session ended under the calls.
    Refused(Refused),
}

/// What answers a POST.
#[derive(Debug, Clone)]
pub enum Answers {
    /// A response.
    One(Answer),
    /// Those of a batch.
    Batch(Vec<Answer>),
}

/// A JSON-RPC response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// JSON text.
    pub json: Vec<u8>,
    /// What kind of failure it tells, where transports have a form of their own for it; `None` for results and for errors
    /// that are answers like any other.
    pub failure: Option<Failure>,
    /// The request that it answers; `None` where its id could not be read.
    pub id: Option<Id>,
    /// Whether it must not show how long it took: that would tell somebody else's session from none.
    pub is_even: bool,
}

/// Kinds of failure that a transport may have forms of its own for: over HTTP, status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The message breaks a rule of the protocol.
    Malformed,
    /// The message names no session, and needs one.
    SessionRequired,
    /// The client accepts none of the forms that the answer can have.
    NotAcceptable,
    /// There is no such session.
    NoSession,
    /// There is no such method (MCP 2026-07-28 basic/index).
    UnknownMethod,
    /// There is no room; trying again later may help.
    Busy,
    /// The messages of its session come too fast.
    TooFast(Allowance),
    /// The server made a mistake.
    Internal,
}

/// How many messages a session may send, and when the next may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Milliseconds until then.
    pub wait_ms: u32,
    /// Messages in a window.
    pub messages: u32,
    /// The window, in seconds.
    pub window_s: u32,
}

/// Whom a refusal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// The request with this id.
    Request(Id),
    /// A request whose id could not be read: `"id":null`.
    Unreadable,
    /// No request: no `id` member at all.
    Nobody,
}

/// A message that is refused as a whole.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Why.
    pub failure: Failure,
    /// Whom it tells.
    pub to: Addressee,
    /// What it says; boxed, since it travels as an `Err`.
    pub error: Box<RpcError>,
    /// The session that the message entered before it was refused.
    pub session: Option<Uuid>,
}

impl Answer {
    /// A result, as a JSON-RPC response to the request with `id`.
    #[must_use]
    pub fn to(id: &Id, json: Vec<u8>) -> Self {
        Self { json, failure: None, id: Some(id.clone()), is_even: false }
    }

    /// An error response to the request with `id`.
    #[must_use]
    pub fn error(id: &Id, error: &RpcError) -> Self {
        Self::to(id, message::error(Some(id), error))
    }

    /// The same, with the form that transports have for this kind of failure.
    #[must_use]
    pub fn failed(self, failure: Failure) -> Self {
        Self { failure: Some(failure), ..self }
    }
}

impl Answers {
    /// The responses, one by one.
    #[must_use]
    pub fn as_slice(&self) -> &[Answer] {
        match self {
            Self::One(answer) => std::slice::from_ref(answer),
            Self::Batch(answers) => answers,
        }
    }

    /// One JSON text for all.
    #[must_use]
    pub fn into_json(self) -> Vec<u8> {
        match self {
            Self::One(answer) => answer.json,
            Self::Batch(answers) => {
                let answers: Vec<Vec<u8>> = answers.into_iter().map(|answer| answer.json).collect();
                [b"[".as_slice(), &answers.join(&b','), b"]"].concat()
            }
        }
    }
}

impl Refused {
    /// A refusal that says `error`, to a request whose id is not known.
    #[must_use]
    pub fn new(failure: Failure, error: RpcError) -> Self {
        Self { failure, to: Addressee::Unreadable, error: Box::new(error), session: None }
    }

    /// A message that breaks a rule: -32600.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Failure::Malformed, RpcError::invalid_request(message))
    }

    /// Addressed to the request with `id`.
    #[must_use]
    pub fn to(mut self, id: &Id) -> Self {
        self.to = Addressee::Request(id.clone());
        self
    }

    /// Naming the session that the message entered.
    #[must_use]
    pub fn in_session(mut self, id: Uuid) -> Self {
        self.session = Some(id);
        self
    }

    /// As JSON text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        match &self.to {
            Addressee::Request(id) => message::error(Some(id), &self.error),
            Addressee::Unreadable => message::error(None, &self.error),
            Addressee::Nobody => message::error_without_id(&self.error),
        }
    }
}

impl From<Content> for Reply {
    fn from(content: Content) -> Self {
        Self { session: None, content }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Content::Answer(Answers::One(answer)).into()
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        Self { session: refused.session, content: Content::Refused(refused) }
    }
}

impl Reply {
    /// The same, naming its session.
    #[must_use]
    pub fn in_session(self, session: Option<Uuid>) -> Self {
        Self { session, ..self }
    }
}
