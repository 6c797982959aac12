//! All sessions: creation, look-up, the bound, expiry and the memory of those that ended.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::history::{Before, History};
use super::idle::{IdleOrder, List};
use super::instance::{Instance, Maker, Name};
use super::{ClientInfo, House, Identity, Intrusions, LogLevel, Record, Session, State, Totals, Visit, lock};
use crate::clock::{Clock, Moment};
use crate::config::Config;
use crate::protocol::{Capabilities, Notice, Revision};

/// How many ended ids are remembered with their reason: enough for the sessions of an hour of a busy server, 0.5 MB.
pub const REMEMBERED: usize = 10_000;

/// The most sessions a sweep ends at a time, under one write lock: some 200 µs, their memory included, so that nobody who
/// waits for a sweep notices.
const SWEEP_CHUNK: usize = 64;

/// What bounds sessions.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Idle time after which a session expires.
    pub timeout: Duration,
    /// How long before its expiry an idle session is told.
    pub warning: Duration,
    /// The most sessions.
    pub max_sessions: usize,
    /// Messages held per session.
    pub queue_size: usize,
    /// The most bytes that all sessions and their queues may hold together.
    pub max_bytes: u64,
}

/// What sessions may hold together, in bytes: room for all of them with a full queue of usual lines (some 200 bytes) and 6
/// KiB of their own, 256 MiB at the defaults. Few sessions still have room for what one may keep (an echo of 1 MiB).
const MIN_BYTES: u64 = 16 * 1024 * 1024;
const BYTES_OF_SESSION: u64 = 6 * 1024;
const BYTES_OF_MESSAGE: u64 = 208;

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        // A tenth of the timeout, but at least one sweep ahead: otherwise the sweep that would tell finds it expired.
        let warning =
            (config.session_timeout / 10).max(config.session_cleanup_interval).min(config.session_timeout / 2);
        Self {
            timeout: config.session_timeout,
            warning,
            max_sessions: config.max_sessions,
            queue_size: config.message_queue_size,
            max_bytes: (config.message_queue_size as u64)
                .saturating_mul(BYTES_OF_MESSAGE)
                .saturating_add(BYTES_OF_SESSION)
                .saturating_mul(config.max_sessions as u64)
                .max(MIN_BYTES),
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// Idle for longer than the timeout.
    Expired = 1,
    /// The client sent DELETE.
    Deleted = 2,
    /// It was the longest idle one when there were too many.
    Evicted = 3,
}

impl EndReason {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Expired, Self::Deleted, Self::Evicted].into_iter().find(|reason| *reason as u8 == byte)
    }

    /// `expired`, `deleted`, `evicted`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Evicted => "evicted",
        }
    }
}

/// Why there is no session to work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Never heard of, or forgotten.
    Unknown,
    /// Another instance of this server made it.
    Elsewhere {
        /// Which.
        maker: Name,
        /// Which one this is.
        here: Name,
        /// Whether it is another replica for certain, and not this server before a restart.
        replica: bool,
    },
    /// It ended.
    Ended {
        /// Why.
        reason: EndReason,
        /// When.
        at: Moment,
        /// How often its id was used since, this time included.
        tries: u32,
    },
    /// It belongs to someone else. To the caller this must look like [`Missing::Unknown`].
    NotYours {
        /// Whether the caller had an identity at all.
        anonymous: bool,
    },
}

/// There are as many sessions as may be, and all of them are at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {max_sessions} sessions are in use")]
pub struct Full {
    /// The bound.
    pub max_sessions: usize,
}

/// What `initialize` says of a new session.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The negotiated revision.
    pub protocol_version: Revision,
    /// Who the client is.
    pub client_info: ClientInfo,
    /// What the client can do.
    pub client_capabilities: Capabilities,
    /// Who is behind it, where sessions are bound.
    pub owner: Option<Identity>,
    /// Where the client is.
    pub address: Option<IpAddr>,
}

impl NewSession {
    /// A number for the client, as far as it can be told: name, version, address, identity.
    fn client(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.client_info.name, &self.client_info.version, self.address).hash(&mut hasher);
        self.owner.as_ref().map(|owner| &owner.id).hash(&mut hasher);
        hasher.finish()
    }
}

/// Figures over all sessions, for healthProbe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Which run of the server this is.
    pub instance: Name,
    /// Sessions that live.
    pub active: usize,
    /// The bound.
    pub max_sessions: usize,
    /// Ever created.
    pub created: u64,
    /// Ended by expiry.
    pub expired: u64,
    /// Ended by DELETE.
    pub deleted: u64,
    /// Ended to give way.
    pub evicted: u64,
    /// Refused because all were at work.
    pub refused: u64,
    /// When the last one was refused.
    pub last_refused: Option<Moment>,
    /// Sweeps so far.
    pub sweeps: u64,
    /// When the last sweep ended.
    pub last_sweep: Option<Moment>,
    /// Mean lifetime of the sessions that ended; `None` before the first did.
    pub average_lifetime: Option<Duration>,
    /// Memory held by records, in bytes.
    pub storage_bytes: u64,
    /// Memory held by queues, in bytes.
    pub queue_bytes: u64,
    /// Messages not yet delivered.
    pub pending_messages: u64,
    /// GET streams open.
    pub streams: u64,
    /// Requests at work in a session.
    pub in_flight: u64,
    /// Requests with the id of a session that had ended.
    pub dead_ids_used: u64,
}

/// An id that ended.
#[derive(Debug)]
struct Tombstone {
    reason: EndReason,
    at: Moment,
    /// Hash of the owner's identity: the reason is nobody else's business.
    owner: Option<u64>,
    /// How often the id was used since.
    tries: AtomicU32,
    client: u64,
    before: Before,
}

#[derive(Debug, Default)]
struct Counters {
    created: u64,
    ended: [u64; 4],
    refused: u64,
    last_refused: Option<Moment>,
    sweeps: u64,
    last_sweep: Option<Moment>,
    lifetime: Duration,
}

/// Hashes ids of sessions. This server made them itself and half of each is random, so that a hash needs no secret: who
/// asks for ids of his own choice finds none, and puts none in.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_ne_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // 2^64 divided by the golden ratio, made odd: spreads every bit to the upper ones, and the rotation brings these
        // down, since the map looks at both ends.
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// All sessions. Shared as `Arc<RwLock<SessionManager>>`; every operation is short and none waits.
pub struct SessionManager {
    sessions: HashMap<Uuid, Arc<Session>, BuildHasherDefault<IdHasher>>,
    tombstones: HashMap<Uuid, Tombstone>,
    buried: VecDeque<Uuid>,
    /// The last session of each client that has one here, alive or remembered.
    clients: HashMap<u64, Uuid>,
    dead_ids_used: AtomicU64,
    counters: Counters,
    instance: Instance,
    house: Arc<House>,
}

impl SessionManager {
    /// No sessions yet.
    #[must_use]
    pub fn new(limits: Limits, clock: Arc<Clock>) -> Self {
        let instance = Instance::new(clock.now());
        let house = House {
            clock,
            limits,
            idle: Mutex::new(IdleOrder::default()),
            totals: Totals::default(),
            large: Mutex::default(),
            shedding: Mutex::default(),
        };
        Self {
            sessions: HashMap::default(),
            tombstones: HashMap::new(),
            buried: VecDeque::new(),
            clients: HashMap::new(),
            dead_ids_used: AtomicU64::new(0),
            counters: Counters::default(),
            instance,
            house: Arc::new(house),
        }
    }

    /// Makes a session and enters it. At the bound the longest-idle one gives way and is returned too.
    ///
    /// # Errors
    /// [`Full`] when there are too many and none is idle.
    pub fn create(&mut self, new: NewSession) -> Result<(Visit, Option<Arc<Session>>), Full> {
        let now = self.house.clock.now();
        let evicted = match self.make_room(now) {
            Ok(evicted) => evicted,
            Err(full) => {
                self.counters.refused += 1;
                self.counters.last_refused = Some(now);
                return Err(full);
            }
        };
        let id = self.instance.new_id(now);
        let client = new.client();
        // Of the stateless era there is nothing to tell: its sessions have no requests of their own.
        let handshake = !new.protocol_version.is_stateless();
        let before = handshake.then(|| self.clients.insert(client, id)).flatten();
        let before = before.and_then(|before| self.before(before, now));
        let record = Record {
            id,
            created: now,
            last_activity: now,
            initialized: !new.protocol_version.is_stateless(),
            client_ready: false,
            protocol_version: new.protocol_version,
            client_info: new.client_info,
            client_capabilities: new.client_capabilities,
            log_level: LogLevel::default(),
            owner: new.owner,
            intrusions: Intrusions::default(),
            request_count: 0,
            tool_calls: 0,
            total_handling_us: 0,
            finished_count: 0,
            history: History { client, before, ..History::default() },
            state: State::default(),
            findings: Vec::new(),
        };
        let place = lock(&self.house.idle).add(id);
        let session = Arc::new(Session::new(record, place, Arc::clone(&self.house)));
        self.sessions.insert(id, Arc::clone(&session));
        self.counters.created += 1;
        Ok((Visit::new(session, Instant::now()), evicted))
    }

    /// What became of a session, for the next one of the same client.
    fn before(&self, id: Uuid, now: Moment) -> Option<Before> {
        if let Some(session) = self.sessions.get(&id) {
            let expired = session.is_expired(now);
            return Some(session.with_record(|record| summary(record, expired)));
        }
        self.tombstones.get(&id).map(|stone| stone.before)
    }

    /// Room for one more: an expired session first, else the longest idle.
    fn make_room(&mut self, now: Moment) -> Result<Option<Arc<Session>>, Full> {
        let max_sessions = self.house.limits.max_sessions;
        if self.sessions.len() < max_sessions {
            return Ok(None);
        }
        self.evict(now).map(Some).ok_or(Full { max_sessions })
    }

    /// Ends the session that has been idle for longest.
    fn evict(&mut self, now: Moment) -> Option<Arc<Session>> {
        loop {
            let session = self.longest_idle(List::Warned).or_else(|| self.longest_idle(List::Fresh))?;
            if !self.set_aside(&session) {
                let reason = if session.is_expired(now) { EndReason::Expired } else { EndReason::Evicted };
                self.end(&session, reason);
                return Some(session);
            }
        }
    }

    /// Whether sessions hold more memory than they may together.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.house.excess_bytes() > 0
    }

    /// Ends idle sessions that hold more than their share, the longest idle first, until `excess` bytes are free; none where
    /// all of them together hold less: it would help nobody. Returns those that ended.
    fn make_memory(&mut self, excess: u64) -> Vec<Arc<Session>> {
        let large = lock(&self.house.large).iter().filter_map(|id| self.sessions.get(id)).cloned().collect::<Vec<_>>();
        let mut idle: Vec<_> = large.into_iter().filter(|session| !session.is_held()).collect();
        let mut ended = Vec::new();
        if idle.iter().map(|session| session.bytes()).sum::<u64>() < excess {
            return ended;
        }
        idle.sort_by_cached_key(|session| session.last_activity());
        let mut freed = 0;
        for session in idle {
            if freed >= excess {
                break;
            }
            if !self.set_aside(&session) {
                freed += session.bytes();
                self.end(&session, EndReason::Evicted);
                ended.push(session);
            }
        }
        ended
    }

    /// The first session of a list that still lives.
    fn longest_idle(&self, list: List) -> Option<Arc<Session>> {
        loop {
            let (place, id) = lock(&self.house.idle).first(list)?;
            match self.sessions.get(&id) {
                Some(session) => return Some(Arc::clone(session)),
                // It ended while its last request was on its way out.
                None => lock(&self.house.idle).take_out(place),
            }
        }
    }

    /// Takes a session that is held out of the idle order; its last release puts it back. Returns whether it was held.
    fn set_aside(&self, session: &Session) -> bool {
        // Looked at under the lock: a release in between would put it back and have it taken out for good.
        let mut idle = lock(&self.house.idle);
        let held = session.is_held();
        if held {
            idle.take_out(session.place);
        }
        held
    }

    /// Looks a session up for `caller` and enters it: from here until the visit ends it is not idle. `caller` is asked
    /// while locks are held: it must not take long.
    ///
    /// # Errors
    /// [`Missing`], with the reason where the id is remembered.
    pub fn enter(&self, id: Uuid, caller: impl FnOnce() -> Option<Identity>) -> Result<Visit, Missing> {
        let Some(session) = self.sessions.get(&id) else {
            return Err(self.missing(id, caller));
        };
        let started = Instant::now();
        let now = self.house.clock.at(started);
        let kept = &mut lock(&session.kept);
        if let Some(owner) = &kept.record.owner {
            let caller = caller();
            if caller.as_ref().map(|caller| &caller.id) != Some(&owner.id) {
                let intrusions = &mut kept.record.intrusions;
                let anonymous = caller.is_none();
                *(if anonymous { &mut intrusions.anonymous } else { &mut intrusions.other }) += 1;
                intrusions.last = Some(now);
                return Err(Missing::NotYours { anonymous });
            }
        }
        let expires = kept.record.last_activity.plus(self.house.limits.timeout);
        if !session.is_held() && expires <= now {
            let tries = &mut kept.record.history.tries_when_dead;
            *tries = tries.saturating_add(1);
            self.dead_ids_used.fetch_add(1, Ordering::Relaxed);
            return Err(Missing::Ended { reason: EndReason::Expired, at: expires, tries: *tries });
        }
        Ok(Visit::new(Arc::clone(session), started))
    }

    fn missing(&self, id: Uuid, caller: impl FnOnce() -> Option<Identity>) -> Missing {
        match self.tombstones.get(&id) {
            Some(stone) if stone.owner.is_none() || stone.owner == caller().map(|caller| fingerprint(&caller)) => {
                self.dead_ids_used.fetch_add(1, Ordering::Relaxed);
                let tries = stone.tries.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                Missing::Ended { reason: stone.reason, at: stone.at, tries }
            }
            Some(_) => Missing::Unknown,
            None => self.unknown(id),
        }
    }

    /// What can be told of an id that nobody here remembers.
    fn unknown(&self, id: Uuid) -> Missing {
        match self.instance.maker_of(id, self.house.clock.now()) {
            Maker::Another { instance, side_by_side } => {
                Missing::Elsewhere { maker: instance, here: self.instance.name(), replica: side_by_side }
            }
            // Of an id made here no more is told than of any other: it may be someone else's.
            Maker::This | Maker::Stranger => Missing::Unknown,
        }
    }

    /// This run of the server.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Ends a session: its streams end, its id is dead from now on.
    pub fn end(&mut self, session: &Session, reason: EndReason) {
        if self.sessions.remove(&session.id).is_none() {
            return;
        }
        session.end(reason);
        lock(&self.house.idle).take_out(session.place);
        let now = self.house.clock.now();
        let (owner, last_activity, client, tries, before) = session.with_record(|record| {
            let history = &record.history;
            let before = summary(record, reason == EndReason::Expired);
            (
                record.owner.as_ref().map(fingerprint),
                record.last_activity,
                history.client,
                history.tries_when_dead,
                before,
            )
        });
        let at = match reason {
            EndReason::Expired => last_activity.plus(self.house.limits.timeout).min(now),
            EndReason::Deleted | EndReason::Evicted => now,
        };
        self.counters.ended[reason as usize] += 1;
        self.counters.lifetime += at.since(before.created);
        if self.buried.len() >= REMEMBERED
            && let Some(oldest) = self.buried.pop_front()
        {
            self.forget(oldest);
        }
        self.buried.push_back(session.id);
        self.tombstones.insert(session.id, Tombstone { reason, at, owner, tries: tries.into(), client, before });
    }

    /// Forgets a session that ended.
    fn forget(&mut self, id: Uuid) {
        if let Some(stone) = self.tombstones.remove(&id)
            && self.clients.get(&stone.client) == Some(&id)
        {
            self.clients.remove(&stone.client);
        }
    }

    /// Ends at most [`SWEEP_CHUNK`] expired sessions and warns those that are about to expire. Returns the ended ones (to
    /// be dropped without the lock) and whether there is more to do.
    fn sweep_some(&mut self) -> (Vec<Arc<Session>>, bool) {
        let now = self.house.clock.now();
        let limits = self.house.limits;
        let mut ended = Vec::new();
        for _ in 0..SWEEP_CHUNK {
            let warned = self.longest_idle(List::Warned);
            let Some(session) = warned.filter(|session| session.is_held() || session.is_expired(now)) else { break };
            if !self.set_aside(&session) {
                self.end(&session, EndReason::Expired);
                ended.push(session);
            }
        }
        let mut steps = ended.len();
        while steps < SWEEP_CHUNK {
            let Some(session) = self.longest_idle(List::Fresh) else { break };
            if self.set_aside(&session) {
                // It comes back when it is idle again.
            } else if session.is_expired(now) {
                self.end(&session, EndReason::Expired);
                ended.push(session);
            } else if session.last_activity().plus(limits.timeout.saturating_sub(limits.warning)) <= now {
                lock(&self.house.idle).put_last(session.place, List::Warned);
                let left = session.last_activity().plus(limits.timeout).since(now);
                session.log(LogLevel::Notice, || Notice::log(&expiry_notice(left)));
            } else {
                break;
            }
            steps += 1;
        }
        let more = ended.len() >= SWEEP_CHUNK || steps >= SWEEP_CHUNK;
        if !more {
            self.counters.sweeps += 1;
            self.counters.last_sweep = Some(now);
        }
        (ended, more)
    }

    /// Figures over all sessions.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        let totals = &self.house.totals;
        let ended: u64 = counters.ended.iter().sum();
        let map_bytes = self.sessions.capacity() * (size_of::<(Uuid, Arc<Session>)>() + 1);
        let total = |sum: &std::sync::atomic::AtomicI64| u64::try_from(sum.load(Ordering::Relaxed)).unwrap_or(0);
        Stats {
            instance: self.instance.name(),
            active: self.sessions.len(),
            max_sessions: self.house.limits.max_sessions,
            created: counters.created,
            expired: counters.ended[EndReason::Expired as usize],
            deleted: counters.ended[EndReason::Deleted as usize],
            evicted: counters.ended[EndReason::Evicted as usize],
            refused: counters.refused,
            last_refused: counters.last_refused,
            sweeps: counters.sweeps,
            last_sweep: counters.last_sweep,
            average_lifetime: u32::try_from(ended).ok().and_then(|n| counters.lifetime.checked_div(n)),
            storage_bytes: total(&totals.storage_bytes) + map_bytes as u64,
            queue_bytes: total(&totals.queue_bytes),
            pending_messages: total(&totals.pending),
            streams: total(&totals.streams),
            in_flight: total(&totals.in_flight),
            dead_ids_used: self.dead_ids_used.load(Ordering::Relaxed),
        }
    }
}

/// What the next session of the same client is told.
fn summary(record: &Record, expired: bool) -> Before {
    let single = record.tool_calls == 1 && record.request_count <= 2;
    let earlier = record.history.before.map_or(0, |before| before.single_calls);
    Before {
        requests: record.request_count,
        tool_calls: record.tool_calls,
        expired,
        created: record.created,
        single_calls: if single { earlier.saturating_add(1) } else { 0 },
    }
}

fn expiry_notice(left: Duration) -> Value {
    json!({
        "level": LogLevel::Notice,
        "logger": "session",
        "data": {
            "message": format!("this session expires in {} unless it is used", crate::text::duration(left)),
            "expiresInSeconds": left.as_secs(),
        },
    })
}

fn fingerprint(identity: &Identity) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.id.hash(&mut hasher);
    hasher.finish()
}

/// Read access. A holder that panicked left plain data behind.
pub fn read(manager: &RwLock<SessionManager>) -> RwLockReadGuard<'_, SessionManager> {
    manager.read().unwrap_or_else(PoisonError::into_inner)
}

/// Write access. A holder that panicked left plain data behind.
pub fn write(manager: &RwLock<SessionManager>) -> RwLockWriteGuard<'_, SessionManager> {
    manager.write().unwrap_or_else(PoisonError::into_inner)
}

/// Has idle sessions that hold more than their share give way, the longest idle first, until all together hold no more
/// than they may less `room` bytes; none where that cannot be reached. Returns the ids of those that ended.
fn shed(manager: &RwLock<SessionManager>, room: u64) -> Vec<Uuid> {
    let house = Arc::clone(&read(manager).house);
    // Who only tidies up leaves it to who does so already; who needs the room waits for it.
    let _only = match (house.shedding.try_lock(), room) {
        (Ok(only), _) => only,
        (Err(_), 0) => return Vec::new(),
        (Err(_), _) => lock(&house.shedding),
    };
    let excess = house.excess_bytes_with(i64::try_from(room).unwrap_or(i64::MAX));
    if excess == 0 {
        return Vec::new();
    }
    // Bound to a name: they are dropped without the lock of the manager, and before the next one looks.
    let ended = write(manager).make_memory(excess);
    ended.iter().map(|session| session.id).collect()
}

/// Makes room where sessions hold too much memory, with a line in the log for each that ended.
pub fn shed_and_tell(manager: &RwLock<SessionManager>, room: u64) {
    for id in shed(manager, room) {
        tracing::warn!(session = super::prefix(id), "a long-idle session gave way: sessions held too much memory");
    }
}

/// Ends every session that has expired. Returns how many. The lock is given back between chunks.
pub fn sweep(manager: &RwLock<SessionManager>) -> usize {
    let mut removed = 0;
    loop {
        let (ended, more) = sweep_chunk(manager);
        removed += ended;
        if !more {
            return removed;
        }
    }
}

/// A chunk of a sweep: how many sessions it ended, and whether there is more to do.
fn sweep_chunk(manager: &RwLock<SessionManager>) -> (usize, bool) {
    // Bound to a name: the sessions are dropped after the lock is given back.
    let (ended, more) = write(manager).sweep_some();
    (ended.len(), more)
}

/// Sweeps every `interval` until `shutdown`. Logs only when it removed something.
pub async fn sweep_regularly(manager: Arc<RwLock<SessionManager>>, interval: Duration, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let mut removed = 0;
        loop {
            let (ended, more) = sweep_chunk(&manager);
            removed += ended;
            if !more {
                break;
            }
            // Where there is one worker, everybody else would wait for the whole sweep.
            tokio::task::yield_now().await;
        }
        if removed > 0 {
            tracing::info!(removed, active = read(&manager).stats().active, "removed {removed} expired sessions");
        }
    }
}

#[cfg(test)]
mod tests;
