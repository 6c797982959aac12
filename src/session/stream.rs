//! A GET stream's place at a session's queue.

use std::sync::Arc;
use std::time::Instant;

use super::clients::Client;
use super::connections::{Connection, Next, Opened, event_id};
use super::live::{Inside, Session};
use super::streams::{End, Life, Way};
use crate::clock::Moment;

/// A message with its event id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `SESSION-STREAM-POSITION`.
    pub id: String,
    /// The JSON-RPC notification.
    pub json: Box<str>,
}

/// A stream that lives no longer may have ended before its client had read anything, in milliseconds. Before 2025-11-25 it
/// has no event that says where to resume from until it has a message (MCP 2025-11-25 basic/transports: streams are primed).
const AT_ONCE_MS: u32 = 5_000;

/// What is done when a stream has ended, without a lock.
type AtEnd = Box<dyn FnOnce(&Arc<Session>) + Send + Sync>;

/// An open stream. While it lives its session is not idle; dropping it closes the connection, and the next newest stream
/// takes over.
pub struct Stream {
    session: Arc<Session>,
    connection: Connection,
    /// What its events' ids begin with.
    tag: u32,
    position: u64,
    /// Where it began.
    began: u64,
    resumed: bool,
    client: Client,
    opened: Moment,
    /// When something was last sent.
    sent: Moment,
    /// Who ends it, unless the other end does.
    end: End,
    at_end: Option<AtEnd>,
}

impl Session {
    /// Opens a stream on the queue for `client`, resuming after `last_event_id` where that names an event of this session.
    #[must_use]
    pub fn open_stream(self: &Arc<Self>, last_event_id: Option<&str>, client: Client, way: Way) -> Stream {
        let session = Arc::clone(self);
        session.hold();
        let opened = session.shared().clock.now();
        session.shared().clients.opened(client, way, opened);
        let (tag, Opened { connection, position, resumed }) = {
            let mut access = session.access();
            let Inside { saved, local } = &mut *access.inside;
            let streams = saved.record.history.streams.get_or_insert_default();
            streams.open(way);
            let at = local.connections.open(&mut saved.queue, last_event_id);
            if last_event_id.is_some() && !at.resumed {
                streams.foreign_ids = streams.foreign_ids.saturating_add(1);
            }
            (saved.queue.tag(), at)
        };
        session.wake_streams();
        let sent = opened;
        Stream {
            session,
            connection,
            tag,
            position,
            began: position,
            resumed,
            client,
            opened,
            sent,
            end: End::Remote,
            at_end: None,
        }
    }
}

impl Stream {
    /// Says that the stream ends on its own: its life tells nothing.
    pub fn expect_end(&mut self) {
        self.end = End::Polled;
    }

    /// The server ends it, because it is to end itself.
    pub fn shut_down(&mut self) {
        self.end = End::Shutdown;
    }

    /// Something that is no message was sent on it.
    pub fn kept_alive(&mut self) {
        self.sent = self.session.shared().clock.now();
    }

    /// Has `at_end` happen when it has ended.
    #[must_use]
    pub fn with_end(mut self, at_end: impl FnOnce(&Arc<Session>) + Send + Sync + 'static) -> Self {
        self.at_end = Some(Box::new(at_end));
        self
    }

    /// Whether it continues an earlier stream.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The id that names the stream's present position: what a priming event carries.
    #[must_use]
    pub fn position_id(&self) -> String {
        event_id(self.tag, self.connection.stream, self.position)
    }

    /// The next message, if there is one now. `Err` when the stream is over: its session ended or another connection took
    /// its place.
    ///
    /// # Errors
    /// [`Over`]
    pub fn try_next(&mut self) -> Result<Option<Event>, Over> {
        if self.session.ended().is_some() {
            self.end = End::Session;
            return Err(Over);
        }
        let next = {
            let mut access = self.session.access();
            let Inside { saved, local } = &mut *access.inside;
            local.connections.next(&mut saved.queue, self.connection, self.position, saved.record.log_level)
        };
        match next {
            Next::Delivery(delivery) => {
                self.position = delivery.position;
                self.kept_alive();
                Ok(Some(Event { id: self.position_id(), json: delivery.json }))
            }
            Next::Nothing => Ok(None),
            Next::Displaced => {
                self.end = End::Displaced;
                Err(Over)
            }
        }
    }

    /// Waits for the next message; `None` when the stream is over. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        let session = Arc::clone(&self.session);
        loop {
            let woken = session.woken();
            tokio::pin!(woken);
            // Listening before looking: a message that comes in between is not missed.
            woken.as_mut().enable();
            match self.try_next() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => woken.await,
                Err(Over) => return None,
            }
        }
    }
}

/// The stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is over")]
pub struct Over;

impl Drop for Stream {
    fn drop(&mut self) {
        let session = &self.session;
        let now = session.shared().clock.now();
        let ms = |since| u32::try_from(now.since(since).as_millis()).unwrap_or(u32::MAX);
        // Whoever notices first that the session ended: the stream, or the client.
        let end = if session.ended().is_some() { End::Session } else { self.end };
        {
            let mut access = session.access();
            access.inside.local.connections.close(self.connection);
            let had_messages = self.position > self.began && !self.resumed;
            if end == End::Remote
                && had_messages
                && ms(self.opened) < AT_ONCE_MS
                && !session.revision().has_primed_streams()
            {
                access.inside.saved.queue.note_cut(self.connection.stream);
            }
        }
        session.wake_streams();
        let life = Life { opened: self.opened, ms: ms(self.opened), silence_ms: ms(self.sent), end };
        session.shared().clients.ended(self.client, life);
        session.release(Instant::now(), |record| {
            record.history.streams.get_or_insert_default().end(life);
        });
        if let Some(at_end) = self.at_end.take() {
            at_end(session);
        }
    }
}
