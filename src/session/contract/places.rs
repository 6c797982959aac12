//! Where sessions are kept, as the promises use it.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::double::Double;
use crate::clock::Clock;
use crate::protocol::{Capabilities, ClientInfo, Revision};
use crate::session::clients::Client;
use crate::session::connections::{event_id, parse_event_id};
use crate::session::lock::lock;
use crate::session::store::{Ended, Epoch, Gone, Open, Opened, Store, Take, Taken};
use crate::session::streams::Way;
use crate::session::{
    Committer, EndReason, Event, Identity, IdentitySource, Limits, Missing, NewSession, Over, Record, Saved, Session,
    SessionManager, Stream, Unbound, Uncommitted, Working, enter, read, write,
};

/// Idle time after which a session expires.
pub const TIMEOUT: Duration = Duration::from_secs(3600);
/// What the ids of events there begin with.
pub const TAG: u32 = 0xa11c_e000;
/// Messages that a session holds.
pub const QUEUE: usize = 5;
/// How long a stream is taken for alive after it was last heard of.
pub const LEASE: Duration = Duration::from_secs(1);
/// How long a commit is tried.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Unknown,
    NotYours,
    Ended(EndReason),
    Unreadable,
}

/// Where sessions are kept.
pub trait Place: Clone + Send + Sync + 'static {
    /// An open stream.
    type Stream: Send;

    /// A place without sessions.
    fn new() -> Self;

    /// Makes a session that belongs to `who`.
    fn create(&self, who: Option<&str>) -> impl Future<Output = Uuid> + Send;

    /// A request of `who`: enters the session, changes it, leaves it.
    fn change<T: Send + 'static>(
        &self,
        id: Uuid,
        who: Option<&str>,
        change: impl FnMut(&mut Working<'_>) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Why>> + Send;

    /// Opens a stream.
    fn open(&self, id: Uuid, last_event_id: Option<&str>) -> impl Future<Output = Self::Stream> + Send;

    /// All that there is for a stream now.
    fn take(&self, stream: &mut Self::Stream) -> impl Future<Output = Result<Vec<Event>, Over>> + Send;

    /// Ends a stream.
    fn close(&self, stream: Self::Stream) -> impl Future<Output = ()> + Send;

    /// Ends a session.
    fn end(&self, id: Uuid, reason: EndReason) -> impl Future<Output = ()> + Send;

    /// Time passes.
    fn pass(&self, time: Duration);

    /// The process ends, and another one goes on with what was kept. `edit` changes each session meanwhile.
    fn restart(&self, edit: fn(&mut Value)) -> Self;
}

/// A session of `who`.
pub fn new_session(who: Option<&str>) -> NewSession {
    NewSession {
        protocol_version: Revision::V2025_11_25,
        client_info: ClientInfo { name: "client".into(), version: "1.0".into(), title: None },
        client_capabilities: Capabilities::keep(&json!({ "roots": {} })),
        owner: who.map(identity).ok_or(Unbound::NoIdentity),
        address: None,
        client: Client::default(),
    }
}

fn identity(who: &str) -> Identity {
    Identity::new(who, IdentitySource::X_USER_ID)
}

fn manager(clock: &Arc<Clock>) -> Arc<RwLock<SessionManager>> {
    let warning = Duration::from_secs(60);
    let limits = Limits { timeout: TIMEOUT, warning, max_sessions: 100, queue_size: QUEUE, max_bytes: u64::MAX };
    Arc::new(RwLock::new(SessionManager::new(limits, Arc::clone(clock))))
}

/// Sessions in the memory of this process.
#[derive(Clone)]
pub struct Memory {
    manager: Arc<RwLock<SessionManager>>,
    clock: Arc<Clock>,
    made: Arc<Mutex<Vec<Uuid>>>,
    unreadable: Arc<Mutex<Vec<Uuid>>>,
}

impl Memory {
    fn session(&self, id: Uuid) -> Arc<Session> {
        Arc::clone(read(&self.manager).get(id).unwrap())
    }
}

impl Place for Memory {
    type Stream = Stream;

    fn new() -> Self {
        let clock = Arc::new(Clock::standing_still());
        Self { manager: manager(&clock), clock, made: Arc::default(), unreadable: Arc::default() }
    }

    async fn create(&self, who: Option<&str>) -> Uuid {
        let id = write(&self.manager).create(new_session(who)).unwrap().0.session().id();
        lock(&self.made).push(id);
        id
    }

    async fn change<T: Send + 'static>(
        &self,
        id: Uuid,
        who: Option<&str>,
        change: impl FnMut(&mut Working<'_>) -> T + Send + 'static,
    ) -> Result<T, Why> {
        let guard = enter(&self.manager, id, who.map(identity).as_ref(), |_| ()).map_err(|missing| match missing {
            _ if lock(&self.unreadable).contains(&id) => Why::Unreadable,
            Missing::Unknown | Missing::Elsewhere { .. } => Why::Unknown,
            Missing::NotYours { .. } => Why::NotYours,
            Missing::Ended { reason, .. } => Why::Ended(reason),
        })?;
        Ok(guard.session().change(change))
    }

    async fn open(&self, id: Uuid, last_event_id: Option<&str>) -> Stream {
        self.session(id).open_stream(last_event_id, Client::default(), Way::default())
    }

    async fn take(&self, stream: &mut Stream) -> Result<Vec<Event>, Over> {
        let mut events = Vec::new();
        while let Some(event) = stream.try_next()? {
            events.push(event);
        }
        Ok(events)
    }

    async fn close(&self, stream: Stream) {
        drop(stream);
    }

    async fn end(&self, id: Uuid, reason: EndReason) {
        let session = self.session(id);
        write(&self.manager).end(&session, reason);
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn restart(&self, edit: fn(&mut Value)) -> Self {
        let next = Self { manager: manager(&self.clock), unreadable: Arc::default(), ..self.clone() };
        for id in lock(&self.made).iter() {
            let Some(session) = read(&self.manager).get(*id).cloned() else { continue };
            let mut value = serde_json::from_slice(&session.saved().to_json()).unwrap();
            edit(&mut value);
            match Saved::from_json(value.to_string().as_bytes()) {
                Ok(saved) => drop(write(&next.manager).adopt(saved)),
                Err(_) => lock(&next.unreadable).push(*id),
            }
        }
        next
    }
}

/// Sessions in a store, and a process that has copies of them.
#[derive(Clone)]
pub struct Remote {
    pub store: Double,
    pub committer: Arc<Committer>,
    /// The copies.
    manager: Arc<RwLock<SessionManager>>,
    /// This process.
    replica: u64,
}

/// A stream whose messages are in a store.
#[derive(Debug, Clone)]
pub struct RemoteStream {
    id: Uuid,
    epoch: Epoch,
    pub stream: u32,
    pub position: u64,
}

impl Remote {
    /// A process, number `replica`, on `store`.
    pub fn on(store: Double, replica: u64) -> Self {
        let committer = Committer::new(Arc::new(store.clone()), replica, PATIENCE);
        // An hour off, as clocks of processes are.
        let clock = Arc::new(Clock::standing_still());
        clock.advance(Duration::from_secs(3600));
        Self { store, committer: Arc::new(committer), manager: manager(&clock), replica }
    }

    /// The copy of a session here; loaded where there is none.
    pub async fn session(&self, id: Uuid) -> Result<Arc<Session>, Uncommitted> {
        if let Some(session) = read(&self.manager).get(id) {
            return Ok(Arc::clone(session));
        }
        let loaded = self.committer.load(id).await?;
        Ok(write(&self.manager).adopt_copy(loaded))
    }

    /// A change by somebody who may.
    pub async fn commit<T: Send + 'static>(
        &self,
        id: Uuid,
        change: impl FnMut(&mut Working<'_>) -> T + Send + 'static,
    ) -> Result<T, Uncommitted> {
        let session = self.session(id).await?;
        self.committer.change(&session, change).await
    }

    fn why(&self, id: Uuid, who: Option<&str>, uncommitted: &Uncommitted) -> Why {
        let &Uncommitted::Gone(Gone { reason, owner, .. }) = uncommitted else {
            panic!("{uncommitted}");
        };
        self.drop_copy(id);
        match reason {
            Some(reason) if owner.is_none() || owner == who.map(|who| identity(who).number()) => Why::Ended(reason),
            _ => Why::Unknown,
        }
    }

    fn drop_copy(&self, id: Uuid) {
        let session = read(&self.manager).get(id).cloned();
        if let Some(session) = session {
            write(&self.manager).drop_copy(&session);
        }
    }

    pub async fn take_once(&self, stream: &mut RemoteStream) -> Result<Vec<Event>, Over> {
        let RemoteStream { id, epoch, stream: number, position } = *stream;
        let take = Take { epoch, stream: number, position, count: 3, lease: LEASE };
        match self.store.take(id, take).await.unwrap().what {
            Taken::Messages { messages, .. } => Ok(messages
                .into_iter()
                .map(|message| {
                    stream.position = message.position;
                    Event { id: event_id(TAG, number, message.position), json: message.json }
                })
                .collect()),
            Taken::Unregistered => {
                let open =
                    Open { replica: self.replica, lease: LEASE, resume: Some((number, position)), again: Some(epoch) };
                let opened = self.store.open(id, open).await.unwrap().what.map_err(|_| Over)?;
                (stream.stream, stream.position) = (opened.stream, opened.position);
                Box::pin(self.take_once(stream)).await
            }
            Taken::Displaced | Taken::Gone(_) => Err(Over),
        }
    }
}

impl Place for Remote {
    type Stream = RemoteStream;

    fn new() -> Self {
        Self::on(Double::new(), 1)
    }

    async fn create(&self, who: Option<&str>) -> Uuid {
        let now = self.store.now().moment();
        let id = read(&self.manager).instance().new_id();
        let saved = Saved::new(Record::new(id, now, new_session(who)), QUEUE);
        let made = self.committer.create(&saved, TIMEOUT).await.unwrap();
        write(&self.manager).adopt_copy(made);
        id
    }

    async fn change<T: Send + 'static>(
        &self,
        id: Uuid,
        who: Option<&str>,
        change: impl FnMut(&mut Working<'_>) -> T + Send + 'static,
    ) -> Result<T, Why> {
        let session = match self.session(id).await {
            Ok(session) => session,
            Err(Uncommitted::Refused(why)) if why.contains("newer release") => return Err(Why::Unreadable),
            Err(why) => return Err(self.why(id, who, &why)),
        };
        if session.owner().is_some_and(|owner| Some(owner.id.as_str()) != who) {
            self.store.note_intrusion(id, who.is_none()).await.unwrap();
            return Err(Why::NotYours);
        }
        self.committer.change(&session, change).await.map_err(|why| self.why(id, who, &why))
    }

    async fn open(&self, id: Uuid, last_event_id: Option<&str>) -> RemoteStream {
        let resume = last_event_id.and_then(|id| parse_event_id(TAG, id)).or(last_event_id.map(|_| (0, 0)));
        let open = Open { replica: self.replica, lease: LEASE, resume, again: None };
        let Opened { epoch, stream, position, .. } = self.store.open(id, open).await.unwrap().what.unwrap();
        RemoteStream { id, epoch, stream, position }
    }

    async fn take(&self, stream: &mut RemoteStream) -> Result<Vec<Event>, Over> {
        let mut events = Vec::new();
        loop {
            match self.take_once(stream).await? {
                more if more.is_empty() => return Ok(events),
                more => events.extend(more),
            }
        }
    }

    async fn close(&self, stream: RemoteStream) {
        self.store.close(stream.id, stream.epoch, false).await.unwrap();
    }

    async fn end(&self, id: Uuid, reason: EndReason) {
        let ended = self.store.end(id, reason, None).await.unwrap().what;
        assert_eq!(ended, Ended::Now);
        self.drop_copy(id);
    }

    fn pass(&self, time: Duration) {
        self.store.advance(time);
    }

    fn restart(&self, edit: fn(&mut Value)) -> Self {
        self.store.restart(edit);
        Self::on(self.store.clone(), self.replica + 1)
    }
}
