//! A GET stream's place at a session's queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use super::clients::Client;
use super::committer::{Committer, Uncommitted};
use super::connections::{Connection, Next, Opened, event_id, parse_event_id};
use super::ended::EndReason;
use super::instance::tag_of;
use super::live::{Inside, Session};
use super::queue::Delivery;
use super::store::{self as stored, Epoch, Start, Take, Taken};
use super::streams::{End, Life, Way};
use super::working::Working;
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
type AtEnd = Box<dyn Fn(&Arc<Session>) + Send + Sync>;

/// An open stream. While it lives its session is not idle; dropping it closes the connection, and the next newest stream
/// takes over.
pub struct Stream {
    session: Arc<Session>,
    source: Source,
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

/// Where its messages come from.
enum Source {
    /// The session's own queue.
    Queue(Connection),
    /// A store.
    Store(Box<Remote>),
}

/// A connection whose messages are in a store.
struct Remote {
    committer: Arc<Committer>,
    epoch: Epoch,
    stream: u32,
    /// Taken, and not handed out yet.
    taken: VecDeque<Delivery>,
    /// How often the session's streams had been woken when all was taken that there was, and when that was; `None` where
    /// there may be more.
    all_at: Option<(u32, Instant)>,
    /// What is left to be done when it has ended: shutdown waits for that.
    tasks: TaskTracker,
}

/// The most messages that are taken at a time.
const BATCH: usize = 100;

/// Time between two tries when the store does not answer.
const PAUSE: Duration = Duration::from_secs(1);

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
            let Inside { saved, local, .. } = &mut *access.inside;
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
            source: Source::Queue(connection),
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
    /// Opens a stream on the messages of a session in a store, resuming after `last_event_id` where that names an event of
    /// this session. `tasks` has what it leaves to be done at its end.
    ///
    /// # Errors
    /// Where the store did not answer, or there is no session.
    pub async fn there(
        session: &Arc<Session>,
        committer: &Arc<Committer>,
        last_event_id: Option<&str>,
        client: Client,
        way: Way,
        tasks: TaskTracker,
    ) -> Result<Self, Uncommitted> {
        let tag = tag_of(session.id());
        let resume = last_event_id.map(|id| parse_event_id(tag, id).unwrap_or((0, 0)));
        let stored::Opened { epoch, stream, position, how } = committer.open(session.id(), resume, None).await?;
        session.hold();
        session.shared().totals.streams.fetch_add(1, Ordering::Relaxed);
        // The store counts one more; another stream may be over.
        session.know(None);
        session.wake_streams();
        let opened = session.shared().clock.now();
        session.shared().clients.opened(client, way, opened);
        let remote =
            Remote { committer: Arc::clone(committer), epoch, stream, taken: VecDeque::new(), all_at: None, tasks };
        let opened = Self {
            session: Arc::clone(session),
            source: Source::Store(Box::new(remote)),
            tag,
            position,
            began: position,
            resumed: matches!(how, Start::Resumed | Start::Foreign),
            client,
            opened,
            sent: opened,
            end: End::Remote,
            at_end: None,
        };
        if how == Start::Unknown {
            let foreign = |working: &mut Working<'_>| {
                let streams = working.record.history.streams.get_or_insert_default();
                streams.foreign_ids = streams.foreign_ids.saturating_add(1);
            };
            committer.change(session, foreign).await?;
        }
        Ok(opened)
    }

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
    pub fn with_end(mut self, at_end: impl Fn(&Arc<Session>) + Send + Sync + 'static) -> Self {
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
        let stream = match &self.source {
            Source::Queue(connection) => connection.stream,
            Source::Store(remote) => remote.stream,
        };
        event_id(self.tag, stream, self.position)
    }

    /// The next message, if there is one now. `Err` when the stream is over: its session ended or another connection took
    /// its place.
    ///
    /// # Errors
    /// [`Over`]
    pub async fn pending(&mut self) -> Result<Option<Event>, Over> {
        if self.session.ended().is_some() {
            self.end = End::Session;
            return Err(Over);
        }
        let next = match &mut self.source {
            Source::Queue(_) => return self.try_next(),
            Source::Store(remote) => remote.next(&self.session, &mut self.position).await,
        };
        self.hand_out(next)
    }

    /// The same, of the session's own queue.
    ///
    /// # Errors
    /// [`Over`]
    pub fn try_next(&mut self) -> Result<Option<Event>, Over> {
        let Source::Queue(connection) = self.source else { return Ok(None) };
        if self.session.ended().is_some() {
            self.end = End::Session;
            return Err(Over);
        }
        let next = {
            let mut access = self.session.access();
            let Inside { saved, local, .. } = &mut *access.inside;
            local.connections.next(&mut saved.queue, connection, self.position, saved.record.log_level)
        };
        self.hand_out(next)
    }

    fn hand_out(&mut self, next: Next) -> Result<Option<Event>, Over> {
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
            match (self.pending().await, &self.source) {
                (Ok(Some(event)), _) => return Some(event),
                (Ok(None), Source::Queue(_)) => woken.await,
                (Ok(None), Source::Store(remote)) => drop(tokio::time::timeout_at(remote.due().into(), woken).await),
                (Err(Over), _) => return None,
            }
        }
    }
}

impl Remote {
    /// When a sign of life is due; and a wake-up may have been lost on its way.
    fn due(&self) -> Instant {
        let now = Instant::now();
        self.all_at.map_or(now, |(_, at)| at + self.committer.store().lease() / 3).max(now)
    }

    /// The next message, taken from the store where none is left here.
    async fn next(&mut self, session: &Session, position: &mut u64) -> Next {
        while self.taken.is_empty() {
            let wakes = session.wakes();
            if let Some((seen, _)) = self.all_at
                && seen == wakes
                && self.due() > Instant::now()
            {
                return Next::Nothing;
            }
            let (id, lease) = (session.id(), self.committer.store().lease());
            let take = Take { epoch: self.epoch, stream: self.stream, position: *position, count: BATCH, lease };
            let taken = match self.committer.store().take(id, take).await {
                Ok(reply) => reply.what,
                Err(down) => {
                    // What waits there is not lost; the client need not know.
                    tracing::debug!("a stream waits for the session store: {down}");
                    tokio::time::sleep(PAUSE).await;
                    return Next::Nothing;
                }
            };
            match taken {
                Taken::Messages { messages, more } => {
                    self.all_at = (!more).then(|| (wakes, Instant::now()));
                    session.note_taken(messages.len());
                    self.taken.extend(messages);
                }
                Taken::Displaced => return Next::Displaced,
                Taken::Unregistered => {
                    let resume = Some((self.stream, *position));
                    match self.committer.open(id, resume, Some(self.epoch)).await {
                        Ok(opened) => (self.stream, *position) = (opened.stream, opened.position),
                        Err(_) => return Next::Nothing,
                    }
                }
                Taken::Gone(gone) => {
                    session.end(gone.reason.unwrap_or(EndReason::Expired));
                    return Next::Displaced;
                }
            }
        }
        self.taken.pop_front().map_or(Next::Nothing, Next::Delivery)
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
        let cut = end == End::Remote
            && self.position > self.began
            && !self.resumed
            && ms(self.opened) < AT_ONCE_MS
            && !session.revision().has_primed_streams();
        if let Source::Queue(connection) = self.source {
            let mut access = session.access();
            access.inside.local.connections.close(connection);
            if cut {
                access.inside.saved.queue.note_cut(connection.stream);
            }
        }
        session.wake_streams();
        let life = Life { opened: self.opened, ms: ms(self.opened), silence_ms: ms(self.sent), end };
        session.shared().clients.ended(self.client, life);
        if let Source::Store(remote) = &self.source {
            let Remote { committer, epoch, tasks, .. } = &**remote;
            let (session, committer, epoch) = (Arc::clone(session), Arc::clone(committer), *epoch);
            let at_end = self.at_end.take();
            // Its copy stays here until that is done; it is idle from now on.
            session.pin();
            session.release(Instant::now(), |_| ());
            let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                session.shared().totals.streams.fetch_sub(1, Ordering::Relaxed);
                return session.unpin();
            };
            let task = async move {
                // Its lease ends it, where the store does not hear of it.
                let _down = committer.store().close(session.id(), epoch, cut).await;
                session.know(None);
                session.wake_streams();
                let ended = Arc::clone(&session);
                let note = move || {
                    ended.change(|working| working.record.history.streams.get_or_insert_default().end(life));
                    if let Some(at_end) = &at_end {
                        at_end(&ended);
                    }
                };
                if session.ended().is_none() {
                    let _lost = committer.run_in(&session, note).await;
                }
                session.shared().totals.streams.fetch_sub(1, Ordering::Relaxed);
                session.unpin();
            };
            tasks.spawn_on(task, &runtime);
            return;
        }
        session.release(Instant::now(), |record| {
            record.history.streams.get_or_insert_default().end(life);
        });
        if let Some(at_end) = self.at_end.take() {
            at_end(session);
        }
    }
}
