//! What a call of a tool is: how long it is put off, and what it then does.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::arguments::Rules;
use super::{Context, Outcome, ToolError};
use crate::protocol::LogLevel;
use crate::session::{Session, Working};

/// Arguments as they came, and what the tool's schema says of them.
pub struct RawArguments<'a> {
    arguments: &'a Map<String, Value>,
    rules: &'a Rules,
}

impl<'a> RawArguments<'a> {
    /// `arguments` for a tool with these rules.
    pub(super) fn new(arguments: &'a Map<String, Value>, rules: &'a Rules) -> Self {
        Self { arguments, rules }
    }

    /// The arguments as the tool's type. An optional argument that is `null` counts as left out.
    ///
    /// # Errors
    /// [`ToolError::InvalidArguments`] with everything that is wrong, as the schema tells it.
    pub fn read<A: DeserializeOwned>(&self) -> Result<A, ToolError> {
        A::deserialize(self.arguments).map_err(|error| {
            let problems = self.rules.problems(self.arguments);
            if problems.is_empty() {
                ToolError::invalid(error.to_string())
            } else {
                ToolError::InvalidArguments(problems)
            }
        })
    }
}

/// What a tool does, with what it read from its arguments. It may run again on a newer state of the session, so it has
/// no effect but what it returns and what it does to the session.
pub type Function = Box<dyn Fn(&Context<'_>, Option<&mut Working<'_>>) -> Result<Outcome, ToolError> + Send + Sync>;

/// What a tool does that sends something while it works.
pub type Streaming = for<'a> fn(&'a Ongoing<'a>) -> BoxFuture<'a, Result<Outcome, ToolError>>;

/// How a call runs.
pub enum Run {
    /// A function of facts and session.
    Function(Function),
    /// It takes its time, and may send notifications meanwhile; dropped when the call is cancelled.
    Streaming(Streaming, Map<String, Value>),
}

/// A call of a tool whose arguments have been read.
pub struct Call {
    /// How long the call is put off before it runs.
    pub delay: Duration,
    /// What it does.
    pub run: Run,
}

impl Call {
    /// A call of `run` with the arguments `raw`.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub fn of<A: DeserializeOwned + Send + Sync + 'static>(
        raw: &RawArguments<'_>,
        run: fn(&Context<'_>, Option<&mut Working<'_>>, &A) -> Result<Outcome, ToolError>,
    ) -> Result<Self, ToolError> {
        Ok(Self::with(raw.read()?, run))
    }

    /// A call of `run`, which only looks at the session, with the arguments `raw`.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub fn reading<A: DeserializeOwned + Send + Sync + 'static>(
        raw: &RawArguments<'_>,
        run: fn(&Context<'_>, Option<&Working<'_>>, &A) -> Result<Outcome, ToolError>,
    ) -> Result<Self, ToolError> {
        Ok(Self::with((raw.read()?, run), |context, session, (arguments, run)| {
            run(context, session.as_deref(), arguments)
        }))
    }

    /// A call of `run` with these arguments.
    #[must_use]
    pub fn with<A: Send + Sync + 'static>(
        arguments: A,
        run: fn(&Context<'_>, Option<&mut Working<'_>>, &A) -> Result<Outcome, ToolError>,
    ) -> Self {
        let run = move |context: &Context<'_>, session: Option<&mut Working<'_>>| run(context, session, &arguments);
        Self { delay: Duration::ZERO, run: Run::Function(Box::new(run)) }
    }

    /// A call of a tool that sends something while it works. Its arguments satisfy its schema.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub fn streaming(raw: &RawArguments<'_>, run: Streaming) -> Result<Self, ToolError> {
        let problems = raw.rules.problems(raw.arguments);
        if !problems.is_empty() {
            return Err(ToolError::InvalidArguments(problems));
        }
        Ok(Self { delay: Duration::ZERO, run: Run::Streaming(run, raw.arguments.clone()) })
    }

    /// The same, put off.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// The arguments of a tool that takes none.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// A streaming call at work.
pub struct Ongoing<'a> {
    /// What it may see.
    pub context: Context<'a>,
    /// The session of the call, if it has one.
    pub session: Option<&'a Session>,
    /// Its arguments.
    pub arguments: &'a Map<String, Value>,
}

impl Ongoing<'_> {
    /// A log line of the call itself, on the call's own stream, if the client can and wants to have it: in the handshake
    /// era by the session's level, in the stateless era only where `_meta` asks for it.
    pub fn log(&self, level: LogLevel, logger: &str, data: &Value) {
        let context = &self.context;
        let wanted = match (context.revision.is_stateless(), self.session) {
            (true, _) => context.client.and_then(|client| client.log_level),
            (false, Some(session)) => Some(session.with_record(|record| record.log_level)),
            (false, None) => Some(LogLevel::default()),
        };
        if let (Some(outbox), Some(least)) = (context.outbox, wanted)
            && level >= least
        {
            let params = serde_json::json!({ "level": level, "logger": logger, "data": data });
            outbox.send(crate::protocol::message::notification("notifications/message", &params));
        }
    }

    /// Lets go of the call's connection, so that a long call does not hold it: the client gets an event id and comes back for
    /// the answer with a GET (SEP-1699 in 2025-11-25 basic/transports, Sending Messages). Nothing happens where the
    /// revision does not have that, the call has no session, or its answer is no stream.
    pub fn suspend(&self) {
        let context = &self.context;
        if let (Some(outbox), Some(_), true) = (context.outbox, self.session, context.revision.has_primed_streams()) {
            outbox.suspend();
        }
    }
}
