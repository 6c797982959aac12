//! All sessions: creation, look-up, the bound on their number, and the end.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use uuid::Uuid;

use super::away::Away;
use super::clients::{Client, Clients};
use super::ended::{EndReason, Tombstone, Tombstones};
use super::fingerprint::fingerprint;
use super::guard::{Closed, Held, SessionGuard};
use super::history::Before;
use super::holders::{Caller, Holders};
use super::idle::List;
use super::instance::{Instance, Maker, Name};
use super::kept;
use super::last_look::LastLook;
use super::limits::Limits;
use super::live::Session;
use super::lock::lock;
use super::record::{Identity, NewSession, Record};
use super::saved::Saved;
use super::shared::Shared;
use super::stats::{Counters, Stats};
use super::store::{Gone, Loaded};
use super::working::Working;
use crate::clock::{Clock, Moment};
use crate::protocol::Id;

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
        /// Since when this one runs.
        since: Moment,
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

/// There are as many sessions as may be, and all of them are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {max_sessions} sessions are in use")]
pub struct Full {
    /// The bound.
    pub max_sessions: usize,
}

/// Hashes ids of sessions. This server made them itself and half of each is random, so that a hash needs no secret: a
/// client that asks for ids of its own choice finds none, and puts none in.
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

/// How many sessions of whoever has most are looked at for one that is idle.
const MOST_LOOKED_AT: usize = 32;

/// Who shares out sessions with others: an identity, else an address.
fn caller(new: &NewSession) -> Caller {
    let address = |address: &std::net::IpAddr| fingerprint(&[address.to_string().as_bytes()]);
    Caller(match &new.owner {
        Ok(owner) => owner.number(),
        Err(_) => new.address.as_ref().map_or(0, address),
    })
}

/// All sessions. Shared as `Arc<RwLock<SessionManager>>`; every operation is short and none waits.
pub struct SessionManager {
    sessions: HashMap<Uuid, (Arc<Session>, Caller), BuildHasherDefault<IdHasher>>,
    holders: Holders,
    pub(super) tombstones: Tombstones,
    /// The last session of each client that has one here, alive or remembered.
    clients: HashMap<u64, Uuid>,
    dead_ids_used: AtomicU64,
    pub(super) counters: Counters,
    instance: Instance,
    /// Whether the truth about sessions is in a store: those here are copies.
    is_away: bool,
    /// Whether other processes use that store too.
    is_shared: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) last_look: Arc<LastLook>,
}

impl SessionManager {
    /// No sessions yet.
    #[must_use]
    pub fn new(limits: Limits, clock: Arc<Clock>) -> Self {
        Self {
            sessions: HashMap::default(),
            holders: Holders::default(),
            tombstones: Tombstones::default(),
            clients: HashMap::new(),
            dead_ids_used: AtomicU64::new(0),
            counters: Counters::default(),
            instance: Instance::new(clock.now()),
            is_away: false,
            is_shared: false,
            shared: Arc::new(Shared::new(limits, clock)),
            last_look: Arc::default(),
        }
    }

    /// The same, for copies of sessions whose truth is in a store. `is_shared`: other processes use it too.
    #[must_use]
    pub fn of_copies(self, is_shared: bool) -> Self {
        Self { is_away: true, is_shared, ..self }
    }

    /// Whether other processes use its store too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Whether its sessions are copies of what is in a store.
    #[must_use]
    pub fn is_of_copies(&self) -> bool {
        self.is_away
    }

    /// Makes a session and enters it. Of one that is to be in a store, see [`kept::made`]. At the bound one of whoever has most gives way, and is returned too.
    ///
    /// # Errors
    /// [`Full`] when there are too many, and none that gives way to this caller.
    pub fn create(&mut self, new: NewSession) -> Result<(SessionGuard, Option<Arc<Session>>), Full> {
        let started = Instant::now();
        let now = self.shared.clock.at(started);
        let caller = caller(&new);
        let Ok(evicted) = self.make_room(caller, now) else { return Err(self.refuse()) };
        let id = self.instance.new_id();
        let (client, whose) = (client(&new), new.client);
        // Of the stateless era there is nothing to tell: its sessions have no requests of their own.
        let handshake = !new.protocol_version.is_stateless();
        let before = handshake.then(|| self.clients.insert(client, id)).flatten();
        let mut record = Record::new(id, now, new);
        record.history.client = client;
        record.history.before = before.and_then(|before| self.before(before, now));
        let away = self.is_away.then(|| Box::new(Away::unborn(now)));
        let session = self.insert(Saved::new(record, self.shared.limits.queue_size), away, whose, caller);
        if self.is_away {
            kept::made(id);
        }
        if handshake {
            self.shared.clients.initialized(whose, now);
        }
        self.counters.created += 1;
        Ok((SessionGuard::begin(session, started), evicted))
    }

    /// The session `id`, while it lives.
    pub(super) fn get(&self, id: Uuid) -> Option<&Arc<Session>> {
        self.sessions.get(&id).map(|(session, _)| session)
    }

    /// Takes in a session that was kept elsewhere, idle since its last activity; several in that order. Neither bound is
    /// looked at. One that is here already stays as it is.
    pub fn adopt(&mut self, saved: Saved) -> Arc<Session> {
        let id = saved.record.id;
        if let Some(session) = self.get(id) {
            return Arc::clone(session);
        }
        let caller = Caller(saved.record.owner.as_ref().map_or(0, |owner| owner.number()));
        if saved.record.initialized {
            self.clients.insert(saved.record.history.client, id);
        }
        // Who made it is known where it was made.
        let session = self.insert(saved, None, Client::default(), caller);
        lock(&self.shared.idle).put_last(session.slot(), List::Fresh);
        session
    }

    /// Takes in a copy of a session in a store, as it was read. One that is here already stays as it is.
    pub fn adopt_copy(&mut self, loaded: Loaded) -> Arc<Session> {
        let Loaded { version, record, figures } = loaded;
        let id = record.id;
        if let Some(session) = self.get(id) {
            return Arc::clone(session);
        }
        let caller = Caller(record.owner.as_ref().map_or(0, |owner| owner.number()));
        if record.initialized {
            self.clients.entry(record.history.client).or_insert(id);
        }
        let away = Box::new(Away { known: Some((version, figures)), used: Moment(0), wakes: 0, draft: None });
        // Its messages stay in the store.
        let session = self.insert(Saved::new(record, 1), Some(away), Client::default(), caller);
        lock(&self.shared.idle).put_last(session.slot(), List::Fresh);
        session
    }

    /// Counts a session that was not made for want of room. Returns why.
    pub fn refuse(&mut self) -> Full {
        self.counters.refused += 1;
        self.counters.last_refused = Some(self.shared.clock.now());
        Full { max_sessions: self.shared.limits.max_sessions }
    }

    /// Forgets a session that its store did not take.
    pub fn unmake(&mut self, session: &Session) {
        self.drop_copy(session);
        self.counters.created = self.counters.created.saturating_sub(1);
    }

    /// Drops the copy of a session in a store, whatever becomes of the session.
    pub fn drop_copy(&mut self, session: &Session) {
        if let Some((_, caller)) = self.sessions.remove(&session.id()) {
            let client = session.with_record(|record| record.history.client);
            if self.clients.get(&client) == Some(&session.id()) {
                self.clients.remove(&client);
            }
            self.holders.remove(caller, |id| self.sessions.contains_key(&id));
            lock(&self.shared.idle).take_out(session.slot());
        }
    }

    /// Wakes the streams here of a session, or of all.
    pub fn wake(&self, id: Option<Uuid>) {
        match id {
            Some(id) => self.get(id).into_iter().for_each(|session| session.wake_streams()),
            None => self.sessions.values().for_each(|(session, _)| session.wake_streams()),
        }
    }

    /// The sessions here that requests or streams use.
    #[must_use]
    pub fn in_use(&self) -> Vec<Uuid> {
        let held = self.sessions.iter().filter(|(_, (session, _))| session.is_held());
        held.map(|(id, _)| *id).collect()
    }

    /// Notes that a session in a store is gone, where there is a copy of it here.
    pub fn bury_copy(&mut self, id: Uuid, gone: Gone) {
        if self.get(id).is_some() {
            self.bury(id, gone);
        }
    }

    /// Cancels the calls of a session with this id that are at work here.
    pub fn cancel(&self, id: Uuid, call: &Id) {
        if let Some(session) = self.get(id) {
            session.cancel(call);
        }
    }

    /// Notes that a session in a store is gone: why, where the store says. What works on its copy here ends.
    pub fn bury(&mut self, id: Uuid, gone: Gone) {
        if let Some(session) = self.get(id).cloned() {
            return self.end_at(&session, gone.reason.unwrap_or(EndReason::Expired), gone.at);
        }
        let Some(reason) = gone.reason.filter(|_| self.tombstones.get(id).is_none()) else { return };
        self.counters.ended[reason as usize] += 1;
        let (at, owner) = (gone.at, gone.owner);
        self.tombstones.add(id, Tombstone { reason, at, owner, tries: 0.into(), client: 0, before: Before::default() });
    }

    fn insert(&mut self, saved: Saved, away: Option<Box<Away>>, client: Client, caller: Caller) -> Arc<Session> {
        let id = saved.record.id;
        let slot = lock(&self.shared.idle).add(id);
        let session = Arc::new(Session::new(saved, away, slot, client, Arc::clone(&self.shared)));
        self.sessions.insert(id, (Arc::clone(&session), caller));
        self.holders.add(caller, id);
        session
    }

    /// What became of a session, for the next one of the same client.
    fn before(&self, id: Uuid, now: Moment) -> Option<Before> {
        if let Some(session) = self.get(id) {
            let fate = match (session.is_held(), session.is_expired(now)) {
                (true, _) => Fate::InUse,
                (false, true) => Fate::Expired,
                (false, false) => Fate::LeftOpen,
            };
            return Some(session.with_record(|record| summary(record, fate)));
        }
        self.tombstones.get(id).map(|stone| stone.before)
    }

    /// Room for one more of `caller`'s.
    fn make_room(&mut self, caller: Caller, now: Moment) -> Result<Option<Arc<Session>>, Full> {
        let max_sessions = self.shared.limits.max_sessions;
        if self.sessions.len() < max_sessions {
            return Ok(None);
        }
        match self.evict(caller, now) {
            // The store knows how many there are; here are copies of those that are used.
            None if self.is_away => Ok(None),
            evicted => evicted.map(Some).ok_or(Full { max_sessions }),
        }
    }

    /// Ends a session for another one of `caller`'s: an expired one, else one of whoever has most. Where nobody has more
    /// than one, or one has all, the longest idle.
    fn evict(&mut self, caller: Caller, now: Moment) -> Option<Arc<Session>> {
        let has = self.holders.count(caller);
        let (mut most, mut held) = self.holders.most()?;
        if has > 0 && has + 1 >= held {
            (most, held) = (caller, has);
        }
        let takes_anyones = held <= 1 || held == self.sessions.len();
        let reason = |session: &Session| if session.is_expired(now) { EndReason::Expired } else { EndReason::Evicted };
        for list in [List::Warned, List::Fresh] {
            let first = |manager: &Self| manager.longest_idle(list);
            while let Some(session) = first(self).filter(|session| takes_anyones || session.is_expired(now)) {
                if self.end_idle(&session, reason(&session)) {
                    return Some(session);
                }
            }
        }
        let mut busy = None;
        for _ in 0..held.min(MOST_LOOKED_AT) {
            let next = self.holders.next(most, |id| self.sessions.contains_key(&id));
            let Some(session) = next.and_then(|id| self.get(id).cloned()) else { break };
            if self.end_idle(&session, reason(&session)) {
                return Some(session);
            }
            busy = busy.or(Some(session));
        }
        // All of them are in use. Those of somebody who has far more than this caller end all the same.
        let session = busy.filter(|_| held > 2 * (has + 1) && !self.is_away)?;
        self.end(&session, EndReason::Evicted);
        Some(session)
    }

    /// The first session of a list that still lives.
    pub(super) fn longest_idle(&self, list: List) -> Option<Arc<Session>> {
        loop {
            let (slot, id) = lock(&self.shared.idle).first(list)?;
            match self.get(id) {
                Some(session) => return Some(Arc::clone(session)),
                // It ended while its last request was on its way out.
                None => lock(&self.shared.idle).take_out(slot),
            }
        }
    }

    /// Ends a session, unless somebody holds it: then it is set aside. Of one in a store that lives on the copy here is dropped,
    /// and no more. Returns whether it is no longer here.
    pub(super) fn end_idle(&mut self, session: &Session, reason: EndReason) -> bool {
        if session.is_away() {
            let idle = !self.set_aside(session);
            match reason {
                // Where others may use it, the store alone knows whether it has expired.
                EndReason::Expired if idle && !self.is_shared => self.end(session, reason),
                _ if idle => self.drop_copy(session),
                _ => {}
            }
            return idle;
        }
        let ends = session.end_unless_held(reason);
        if ends {
            self.end(session, reason);
        } else {
            self.set_aside(session);
        }
        ends
    }

    /// Takes a session that is held out of the idle order; its last release puts it back. Returns whether it was held.
    pub(super) fn set_aside(&self, session: &Session) -> bool {
        // Looked at under the lock: a release in between would put it back and have it taken out for good.
        let mut idle = lock(&self.shared.idle);
        let held = session.is_taken();
        if held {
            idle.take_out(session.slot());
        }
        held
    }

    /// Why there is no session `id` for `caller`.
    fn missing(&self, id: Uuid, caller: Option<&Identity>) -> Missing {
        match self.tombstones.get(id) {
            Some(stone) if stone.owner.is_none() || stone.owner == caller.map(Identity::number) => {
                self.dead_ids_used.fetch_add(1, Ordering::Relaxed);
                Missing::Ended { reason: stone.reason, at: stone.at, tries: stone.count_try() }
            }
            Some(_) => Missing::Unknown,
            None => self.unknown(id),
        }
    }

    /// What can be told of an id that nobody here remembers.
    fn unknown(&self, id: Uuid) -> Missing {
        match self.instance.maker_of(id) {
            // In a store every session is to be found, whoever made it.
            Maker::Another(maker) if !self.is_away => {
                Missing::Elsewhere { maker, here: self.instance.name(), since: self.instance.started() }
            }
            // Of an id made here no more is told than of any other: it may be someone else's.
            Maker::Another(_) | Maker::This | Maker::Stranger => Missing::Unknown,
        }
    }

    /// This run of the server.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Ends a session: its streams end, its id is dead from now on.
    pub fn end(&mut self, session: &Session, reason: EndReason) {
        self.end_at(session, reason, self.shared.clock.now());
    }

    /// The same for one that ended at that moment.
    fn end_at(&mut self, session: &Session, reason: EndReason, now: Moment) {
        let Some((_, caller)) = self.sessions.remove(&session.id()) else { return };
        self.holders.remove(caller, |id| self.sessions.contains_key(&id));
        session.end(reason);
        lock(&self.shared.idle).take_out(session.slot());
        let (last_activity, stone) = session.with_record(|record| {
            let stone = Tombstone {
                reason,
                at: now,
                owner: session.owner().map(Identity::number),
                tries: record.history.tries_when_dead.into(),
                client: record.history.client,
                before: summary(record, if reason == EndReason::Expired { Fate::Expired } else { Fate::Ended }),
            };
            (record.last_activity, stone)
        });
        let at = match reason {
            EndReason::Expired => last_activity.plus(session.timeout()).min(now),
            EndReason::Deleted | EndReason::Evicted => now,
        };
        self.counters.ended[reason as usize] += 1;
        self.counters.lifetime += at.since(session.created());
        if let Some((id, forgotten)) = self.tombstones.add(session.id(), Tombstone { at, ..stone })
            && self.clients.get(&forgotten.client) == Some(&id)
        {
            self.clients.remove(&forgotten.client);
        }
    }

    /// Has `look` look at every session that has ended, once it is nobody's any more. The first one stays.
    pub fn last_look(&self, look: impl Fn(&Session) + Send + Sync + 'static) {
        self.last_look.set(look);
    }

    /// What is remembered of clients.
    #[must_use]
    pub fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.shared.clients)
    }

    /// Figures over all sessions.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        let totals = &self.shared.totals;
        let ended: u64 = counters.ended.iter().sum();
        let map_bytes = self.sessions.capacity() * (size_of::<(Uuid, Arc<Session>, Caller)>() + 1);
        let total = |sum: &AtomicI64| u64::try_from(sum.load(Ordering::Relaxed)).unwrap_or(0);
        Stats {
            instance: self.instance.name(),
            active: self.sessions.len(),
            max_sessions: self.shared.limits.max_sessions,
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
fn summary(record: &Record, fate: Fate) -> Before {
    // `initialize`, a call, and `tools/list`, which the Python SDK sends after a session's first call.
    let single = record.tool_calls == 1 && record.request_count <= 3;
    let (history, earlier) = (&record.history, record.history.before.unwrap_or_default());
    Before {
        requests: record.request_count,
        tool_calls: record.tool_calls,
        expired: fate == Fate::Expired,
        created: record.created,
        told_to_wait_until: record.pace.as_ref().map_or(Moment(0), |pace| pace.told),
        single_calls: if single { earlier.single_calls.saturating_add(1) } else { 0 },
        listed_first: if single { earlier.listed_first.saturating_add(u8::from(history.listed_first)) } else { 0 },
        left_open: match fate {
            Fate::LeftOpen => earlier.left_open.saturating_add(1),
            Fate::InUse | Fate::Ended => earlier.left_open,
            // Those before it had been idle for longer.
            Fate::Expired => 0,
        },
    }
}

/// What became of a session by the time that the next one of its client begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is used, by a request or a stream.
    InUse,
    /// It is idle, and nobody ended it.
    LeftOpen,
    /// It was idle for too long.
    Expired,
    /// It was ended.
    Ended,
}

/// A number for a client, as far as it can be told: name, version, address, identity.
fn client(new: &NewSession) -> u64 {
    let address = new.address.map(|address| address.to_string());
    let owner = new.owner.as_ref().ok().map(|owner| owner.id.as_str());
    let parts = [Some(&*new.client_info.name), Some(&*new.client_info.version), address.as_deref(), owner];
    fingerprint(&parts.map(|part| part.unwrap_or_default().as_bytes()))
}

/// Looks a session up for `caller` and enters it with a first change, `note`: from here until the guard is dropped it is not
/// idle. The manager's lock is held for the look-up only: while this waits for a busy session, others do not wait.
///
/// # Errors
/// [`Missing`], with the reason where the id is remembered.
pub fn enter(
    manager: &RwLock<SessionManager>,
    id: Uuid,
    caller: Option<&Identity>,
    note: impl FnOnce(&mut Working<'_>),
) -> Result<SessionGuard, Missing> {
    let found = read(manager).get(id).cloned();
    let Some(session) = found else { return Err(read(manager).missing(id, caller)) };
    let started = Instant::now();
    if let Some(owner) = session.owner()
        && !caller.is_some_and(|caller| owner.is(caller))
    {
        let anonymous = caller.is_none();
        session.change(|working| {
            let now = working.now();
            working.record.intrusions.count(anonymous, now);
        });
        return Err(Missing::NotYours { anonymous });
    }
    SessionGuard::enter(&session, started, note).map_err(|closed| match closed {
        Closed::Expired { at, tries } => {
            read(manager).dead_ids_used.fetch_add(1, Ordering::Relaxed);
            Missing::Ended { reason: EndReason::Expired, at, tries }
        }
        Closed::Ended => read(manager).missing(id, caller),
    })
}

/// Keeps the session of a request from idling before the request is there as a whole; `None` where there is no such session
/// for this caller. Nothing is noted of the request: [`enter`] does that.
pub fn hold(manager: &RwLock<SessionManager>, id: Uuid, caller: Option<&Identity>) -> Option<SessionGuard> {
    let session = read(manager).get(id).cloned()?;
    if session.owner().is_some_and(|owner| !caller.is_some_and(|caller| owner.is(caller))) {
        return None;
    }
    SessionGuard::enter(&session, Instant::now(), |_| ()).ok()
}

/// The copy of a session in a store, where there is one here. Held under the manager's lock, so that nobody drops it before.
#[must_use]
pub fn copy_of(manager: &RwLock<SessionManager>, id: Uuid) -> Option<Held> {
    read(manager).get(id).map(Held::of)
}

/// Whether requests or streams use a session here.
#[must_use]
pub fn is_in_use(manager: &RwLock<SessionManager>, id: Uuid) -> bool {
    read(manager).get(id).is_some_and(|session| session.is_held())
}

/// Read access. A holder that panicked left plain data behind.
pub fn read(manager: &RwLock<SessionManager>) -> RwLockReadGuard<'_, SessionManager> {
    manager.read().unwrap_or_else(PoisonError::into_inner)
}

/// Write access. A holder that panicked left plain data behind.
pub fn write(manager: &RwLock<SessionManager>) -> RwLockWriteGuard<'_, SessionManager> {
    manager.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
