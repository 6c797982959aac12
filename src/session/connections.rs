//! The connections that a session's messages go out on.
//!
//! Every stream has a number; an event's id is `SESSION-STREAM-POSITION`, where the first part is the session's tag: an id of
//! another session is unknown here, and takes over no stream. Pending messages go to the newest connection only;
//! when it ends, the next newest takes over. A connection that resumes a stream replaces the one that had it, so that a
//! client whose dead connection lingers is never locked out.

use super::queue::{Delivery, Queue};
use crate::protocol::LogLevel;

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

/// Where a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    pub connection: Connection,
    /// What it comes after.
    pub position: u64,
    /// It continues an earlier stream.
    pub resumed: bool,
}

/// Open connections, oldest first. Boxed: of the sessions that there are at a time, few ever have any.
#[derive(Debug, Default)]
pub struct Connections(Option<Box<Open>>);

#[derive(Debug, Default)]
struct Open {
    connections: Vec<Connection>,
    /// The number of the newest.
    newest: u32,
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

impl Connections {
    /// Opens a connection; with a `Last-Event-ID` of this session it resumes that stream after that event.
    pub fn open(&mut self, queue: &mut Queue, last_event_id: Option<&str>) -> Opened {
        let resumed = last_event_id
            .and_then(|id| parse_event_id(queue.tag(), id))
            .filter(|(stream, position)| queue.knows(*stream, *position));
        let (stream, position) = resumed.unwrap_or_else(|| queue.new_stream());
        let Open { connections, newest } = &mut **self.0.get_or_insert_default();
        connections.retain(|other| other.stream != stream);
        if connections.len() >= MAX_STREAMS {
            connections.remove(0);
        }
        *newest = newest.wrapping_add(1);
        let connection = Connection { stream, number: *newest };
        connections.push(connection);
        Opened { connection, position, resumed: resumed.is_some() }
    }

    /// The next message for `connection` after `position`.
    pub fn next(&self, queue: &mut Queue, connection: Connection, position: u64, least: LogLevel) -> Next {
        let open = self.all();
        if !open.contains(&connection) {
            return Next::Displaced;
        }
        let newest = open.last() == Some(&connection);
        queue.next(connection.stream, position, newest, least).map_or(Next::Nothing, Next::Delivery)
    }

    /// Closes `connection`, if it is still open.
    pub fn close(&mut self, connection: Connection) {
        if let Some(open) = &mut self.0 {
            open.connections.retain(|other| *other != connection);
        }
    }

    fn all(&self) -> &[Connection] {
        self.0.as_ref().map_or(&[], |open| &open.connections)
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.all().len()
    }
}

/// `SESSION-STREAM-POSITION`.
pub fn event_id(tag: u32, stream: u32, position: u64) -> String {
    format!("{tag:08x}-{stream}-{position}")
}

/// Stream and position of an event id, where it is one of the session with this tag.
pub fn parse_event_id(tag: u32, id: &str) -> Option<(u32, u64)> {
    let (session, place) = id.trim().split_once('-')?;
    if session.len() != 8 || u32::from_str_radix(session, 16).ok()? != tag {
        return None;
    }
    let (stream, position) = place.split_once('-')?;
    Some((stream.parse().ok()?, position.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections, and a queue with three messages.
    struct Both {
        connections: Connections,
        queue: Queue,
    }

    impl Both {
        fn new() -> Self {
            let mut queue = Queue::new(10).tagged(0xa11c_e000);
            for n in 1..=3 {
                queue.push(LogLevel::Info, n.to_string().into());
            }
            Self { connections: Connections::default(), queue }
        }

        fn open(&mut self, last_event_id: Option<&str>) -> Opened {
            self.connections.open(&mut self.queue, last_event_id)
        }

        fn next(&mut self, opened: &Opened) -> Next {
            self.connections.next(&mut self.queue, opened.connection, opened.position, LogLevel::Info)
        }

        fn take(&mut self, opened: &mut Opened) -> Option<String> {
            match self.next(opened) {
                Next::Delivery(delivery) => {
                    opened.position = delivery.position;
                    Some(delivery.json.into())
                }
                Next::Nothing | Next::Displaced => None,
            }
        }
    }

    #[test]
    fn a_newer_stream_takes_over_and_gives_back() {
        let mut both = Both::new();
        let mut old = both.open(None);
        assert_eq!(both.take(&mut old).as_deref(), Some("1"));
        let mut new = both.open(None);
        assert_eq!(both.take(&mut old), None);
        assert_eq!(both.take(&mut new).as_deref(), Some("2"));
        both.connections.close(new.connection);
        assert_eq!(both.take(&mut old).as_deref(), Some("3"));
    }

    #[test]
    fn resuming_replaces_the_lingering_connection_of_that_stream() {
        let mut both = Both::new();
        let mut lingering = both.open(None);
        while both.take(&mut lingering).is_some() {}
        let mut again = both.open(Some("a11ce000-1-1"));
        assert!(again.resumed && again.connection.stream == lingering.connection.stream);
        assert_eq!(both.next(&lingering), Next::Displaced);
        assert_eq!(both.take(&mut again).as_deref(), Some("2"));
        assert_eq!(both.take(&mut again).as_deref(), Some("3"));
        assert_eq!(both.take(&mut again), None);
        both.connections.close(lingering.connection);
        assert_eq!(both.connections.count(), 1, "the late end of the old connection closes nothing");
    }

    #[test]
    fn an_unknown_event_id_starts_a_new_stream_at_the_oldest_pending() {
        for unknown in [
            "",
            "x",
            "1-1",
            "a11ce000-1-1",
            "a11ce000-7-2",
            "a11ce000-0-0",
            "a11ce000-1-99999999999999999999",
            "a11ce000-",
            "+11ce000-1-0",
        ] {
            let mut both = Both::new();
            let mut opened = both.open(Some(unknown));
            assert!(!opened.resumed, "{unknown:?}");
            assert_eq!(both.take(&mut opened).as_deref(), Some("1"));
        }
    }

    #[test]
    fn an_id_of_another_session_takes_over_no_stream() {
        let mut both = Both::new();
        let mut own = both.open(None);
        assert_eq!(both.take(&mut own).as_deref(), Some("1"));
        let stale = event_id(0xb0b0_0000, own.connection.stream, own.position);
        let mut other = both.open(Some(&stale));
        assert!(!other.resumed && other.connection.stream != own.connection.stream);
        assert_eq!(both.take(&mut other).as_deref(), Some("2"));
        assert_eq!(both.next(&own), Next::Nothing, "it is not displaced");
    }

    #[test]
    fn the_fifth_stream_closes_the_oldest() {
        let mut both = Both::new();
        let opened: Vec<_> = (0..5).map(|_| both.open(None)).collect();
        assert_eq!(both.connections.count(), MAX_STREAMS);
        assert_eq!(both.next(&opened[0]), Next::Displaced);
        assert_eq!(both.next(&opened[1]), Next::Nothing);
    }
}
