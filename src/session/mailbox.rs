//! A session's queue and the streams that drink from it.
//!
//! Every stream has a number; an event's id is `STREAM-POSITION`. Pending messages go to the newest connection only;
//! when it ends, the next newest takes over. A connection that resumes a stream replaces the one that had it, so that a
//! client whose dead connection lingers is never locked out.

use super::LogLevel;
use super::queue::{Delivery, Queue};

/// The most GET streams of one session: a client needs one, a reconnecting one two; the fifth closes the oldest.
pub const MAX_STREAMS: usize = 4;

/// A connection on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The stream's number, from 1.
    pub stream: u32,
    /// Tells this connection from others that had the same stream.
    number: u32,
}

/// Queue and open connections, oldest first.
#[derive(Debug)]
pub struct Mailbox {
    pub queue: Queue,
    open: Vec<Connection>,
    streams: u32,
    connections: u32,
}

/// What there is for a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A message.
    Delivery(Delivery),
    /// Nothing yet.
    Nothing,
    /// Another connection has taken this one's place.
    Displaced,
}

impl Mailbox {
    pub fn new(queue_size: usize) -> Self {
        Self { queue: Queue::new(queue_size), open: Vec::new(), streams: 0, connections: 0 }
    }

    /// Opens a connection; with a `Last-Event-ID` of this session it resumes that stream after that event. Returns it and
    /// the position it starts from.
    pub fn open(&mut self, last_event_id: Option<&str>) -> (Connection, u64, bool) {
        let resumed = last_event_id
            .and_then(parse_event_id)
            .filter(|(stream, seq)| (1..=self.streams).contains(stream) && *seq <= self.queue.newest());
        let (stream, position) = resumed.unwrap_or_else(|| {
            self.streams += 1;
            (self.streams, self.queue.position())
        });
        self.open.retain(|other| other.stream != stream);
        if self.open.len() >= MAX_STREAMS {
            self.open.remove(0);
        }
        self.connections = self.connections.wrapping_add(1);
        let connection = Connection { stream, number: self.connections };
        self.open.push(connection);
        (connection, position, resumed.is_some())
    }

    /// The next message for `connection` after `position`.
    pub fn next(&mut self, connection: Connection, position: u64, least: LogLevel) -> Next {
        if !self.open.contains(&connection) {
            return Next::Displaced;
        }
        let newest = self.open.last() == Some(&connection);
        self.queue.next(connection.stream, position, newest, least).map_or(Next::Nothing, Next::Delivery)
    }

    /// Closes `connection`, if it is still open.
    pub fn close(&mut self, connection: Connection) {
        self.open.retain(|other| *other != connection);
    }

    /// Connections open.
    pub fn open_streams(&self) -> usize {
        self.open.len()
    }
}

/// `STREAM-POSITION`.
pub fn event_id(stream: u32, seq: u64) -> String {
    format!("{stream}-{seq}")
}

fn parse_event_id(id: &str) -> Option<(u32, u64)> {
    let (stream, seq) = id.trim().split_once('-')?;
    Some((stream.parse().ok()?, seq.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Notice;

    fn mailbox() -> Mailbox {
        let mut mailbox = Mailbox::new(10);
        for n in 1..=3 {
            mailbox.queue.push(LogLevel::Info, Notice::Json(n.to_string().into()));
        }
        mailbox
    }

    fn take(mailbox: &mut Mailbox, connection: Connection, position: &mut u64) -> Option<String> {
        match mailbox.next(connection, *position, LogLevel::Info) {
            Next::Delivery(delivery) => {
                *position = delivery.seq;
                Some(delivery.json.into())
            }
            Next::Nothing | Next::Displaced => None,
        }
    }

    #[test]
    fn a_newer_stream_takes_over_and_gives_back() {
        let mut mailbox = mailbox();
        let (old, mut old_at, _) = mailbox.open(None);
        assert_eq!(take(&mut mailbox, old, &mut old_at).as_deref(), Some("1"));
        let (new, mut new_at, _) = mailbox.open(None);
        assert_eq!(take(&mut mailbox, old, &mut old_at), None);
        assert_eq!(take(&mut mailbox, new, &mut new_at).as_deref(), Some("2"));
        mailbox.close(new);
        assert_eq!(take(&mut mailbox, old, &mut old_at).as_deref(), Some("3"));
    }

    #[test]
    fn resuming_replaces_the_lingering_connection_of_that_stream() {
        let mut mailbox = mailbox();
        let (lingering, mut at, _) = mailbox.open(None);
        while take(&mut mailbox, lingering, &mut at).is_some() {}
        let (again, mut at, resumed) = mailbox.open(Some("1-1"));
        assert!(resumed && again.stream == lingering.stream);
        assert_eq!(mailbox.next(lingering, 3, LogLevel::Info), Next::Displaced);
        assert_eq!(take(&mut mailbox, again, &mut at).as_deref(), Some("2"));
        assert_eq!(take(&mut mailbox, again, &mut at).as_deref(), Some("3"));
        assert_eq!(take(&mut mailbox, again, &mut at), None);
        mailbox.close(lingering);
        assert_eq!(mailbox.open_streams(), 1, "the late end of the old connection closes nothing");
    }

    #[test]
    fn an_unknown_event_id_starts_a_new_stream_at_the_oldest_pending() {
        for unknown in ["", "x", "1-1", "7-2", "0-0", "1-99999999999999999999", "-", "1-"] {
            let mut mailbox = mailbox();
            let (connection, mut at, resumed) = mailbox.open(Some(unknown));
            assert!(!resumed, "{unknown:?}");
            assert_eq!(take(&mut mailbox, connection, &mut at).as_deref(), Some("1"));
        }
    }

    #[test]
    fn the_fifth_stream_closes_the_oldest() {
        let mut mailbox = mailbox();
        let connections: Vec<_> = (0..5).map(|_| mailbox.open(None).0).collect();
        assert_eq!(mailbox.open_streams(), MAX_STREAMS);
        assert_eq!(mailbox.next(connections[0], 0, LogLevel::Info), Next::Displaced);
        assert_eq!(mailbox.next(connections[1], 0, LogLevel::Info), Next::Nothing);
    }
}
