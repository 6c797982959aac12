//! A GET stream's place at a session's queue.

use std::sync::Arc;
use std::time::Instant;

use super::connections::{Connection, Next, Opened, event_id};
use super::live::{Inside, Session};
use crate::clock::Moment;

/// A message with its event id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `STREAM-POSITION`.
    pub id: String,
    /// The JSON-RPC notification.
    pub json: Box<str>,
}

/// An open stream. While it lives its session is not idle; dropping it closes the connection, and the next newest stream
/// takes over.
pub struct Stream {
    session: Arc<Session>,
    connection: Connection,
    position: u64,
    resumed: bool,
    opened: Moment,
    /// The end is no news: it was ended here, or was to end from the start.
    expected: bool,
}

impl Session {
    /// Opens a stream on the queue, resuming after `last_event_id` where that names an event of this session.
    #[must_use]
    pub fn open_stream(self: &Arc<Self>, last_event_id: Option<&str>) -> Stream {
        let session = Arc::clone(self);
        session.hold();
        let Opened { connection, position, resumed } = {
            let mut access = session.access();
            let Inside { saved, local } = &mut *access.inside;
            local.connections.open(&mut saved.queue, last_event_id)
        };
        session.wake_streams();
        let opened = session.shared().clock.now();
        Stream { session, connection, position, resumed, opened, expected: false }
    }
}

impl Stream {
    /// Says that the stream ends on its own: its lifetime tells nothing.
    pub fn expect_end(&mut self) {
        self.expected = true;
    }

    /// Whether it continues an earlier stream.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The id that names the stream's present position: what a priming event carries.
    #[must_use]
    pub fn position_id(&self) -> String {
        event_id(self.connection.stream, self.position)
    }

    /// The next message, if there is one now. `Err` when the stream is over: its session ended or another connection took
    /// its place.
    ///
    /// # Errors
    /// [`Over`]
    pub fn try_next(&mut self) -> Result<Option<Event>, Over> {
        if self.session.ended().is_some() {
            self.expected = true;
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
                Ok(Some(Event { id: self.position_id(), json: delivery.json }))
            }
            Next::Nothing => Ok(None),
            Next::Displaced => {
                self.expected = true;
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
        self.session.access().inside.local.connections.close(self.connection);
        self.session.wake_streams();
        let broke_off = !self.expected && self.session.ended().is_none();
        let lifetime = self.session.shared().clock.now().since(self.opened);
        self.session.release(Instant::now(), |record| {
            if broke_off {
                record.history.record_stream(lifetime);
            }
        });
    }
}
