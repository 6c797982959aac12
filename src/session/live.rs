//! A session that lives in this process.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use uuid::Uuid;

use super::away::{Away, Draft};
use super::clients::Client;
use super::ended::EndReason;
use super::idle::{List, Slot};
use super::instance::Name;
use super::kept;
use super::local::Local;
use super::lock::lock;
use super::record::{Identity, Record};
use super::saved::Saved;
use super::shared::{Shared, Weight};
use super::store::{Loaded, Outgoing, StoreFigures, Token};
use super::working::{Around, Figures, Left, Messages, Working};
use crate::clock::Moment;
use crate::protocol::{CallStream, Id, Revision};

/// A live session, or one that just ended while a request or stream still holds it.
///
/// One mutex guards its value and what of it lives only here. It is taken once for a call ([`Session::change`]), and never
/// held across an await. What cannot change is read without it.
pub struct Session {
    id: Uuid,
    created: Moment,
    revision: Revision,
    owner: Option<Arc<Identity>>,
    slot: Slot,
    /// Whose `initialize` made it.
    client: Client,
    shared: Arc<Shared>,
    /// Requests in flight and open streams: while there are any, the session is not idle.
    holds: AtomicU32,
    /// Requests that are about to use it: its copy here is not dropped under them. They are no use of it yet.
    pins: AtomicU32,
    /// 0 while it lives, else an [`EndReason`].
    ended: AtomicU8,
    /// Whether its truth is in a store.
    is_away: bool,
    inside: Mutex<Inside>,
    /// Wakes the session's streams: a message came, a connection ended, the session ended.
    wake: Notify,
}

/// What a session's mutex guards.
pub struct Inside {
    pub saved: Saved,
    pub local: Local,
    /// Where its truth is in a store: what is known of that.
    pub away: Option<Box<Away>>,
}

impl Inside {
    fn weight(&self) -> Weight {
        let Saved { record, queue, .. } = &self.saved;
        let known = self.away.as_ref().and_then(|away| away.known);
        Weight {
            storage: size_of::<Session>() + record.bytes(),
            queue: queue.bytes(),
            pending: known.map_or(queue.pending(), |(_, figures)| figures.pending),
            streams: self.local.connections.count(),
        }
    }
}

/// The lock of a session, taken to change what it holds. When it is given back the sums over all sessions are put right,
/// also where a change panicked.
pub struct Access<'a> {
    pub inside: MutexGuard<'a, Inside>,
    session: &'a Session,
    before: Weight,
}

impl Access<'_> {
    /// Runs a change. What it leaves to be done without the lock is for [`Session::finish`].
    pub fn run<T>(&mut self, change: impl FnOnce(&mut Working<'_>) -> T) -> (T, Aftermath) {
        let Inside { saved, local, away } = &mut *self.inside;
        let around = self.session.around(local);
        if let Some(away) = away {
            return run_away(&mut saved.record, away, around, change);
        }
        let newest = saved.queue.newest();
        let mut working = Working::new(&mut saved.record, Messages::Kept(&mut saved.queue), around);
        let result = change(&mut working);
        let left = working.finish();
        (result, Aftermath { left, queued: self.inside.saved.queue.newest() != newest })
    }
}

/// Runs a change of a session in a store: on the draft that is to be kept, else on a copy that nobody sees again.
#[cold]
fn run_away<T>(
    record: &mut Record,
    away: &mut Away,
    mut around: Around<'_>,
    change: impl FnOnce(&mut Working<'_>) -> T,
) -> (T, Aftermath) {
    let (mut scratch, mut unsent) = (None, Vec::new());
    let (record, figures, now, append) = if let Some(Draft { figures, now, append }) = &mut away.draft {
        (record, *figures, *now, append)
    } else {
        let (figures, now) = (away.known.map(|(_, figures)| figures), record.last_activity);
        (scratch.insert(record.clone()), figures.unwrap_or_default(), now, &mut unsent)
    };
    around.now = Some(now);
    let mut working = Working::new(record, Messages::Sent { figures, append }, around);
    let result = change(&mut working);
    (result, Aftermath { left: working.finish(), queued: false })
}

/// What a change leaves to be done when its lock is given back.
#[must_use]
pub struct Aftermath {
    pub left: Left,
    queued: bool,
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        let after = self.inside.weight();
        if after != self.before {
            self.session.shared.totals.replace(self.before, after);
            self.session.note_size(self.before.bytes(), after.bytes());
        }
    }
}

impl Session {
    pub(super) fn new(saved: Saved, away: Option<Box<Away>>, slot: Slot, client: Client, shared: Arc<Shared>) -> Self {
        let record = &saved.record;
        let session = Self {
            id: record.id,
            created: record.created,
            revision: record.protocol_version,
            owner: record.owner.clone(),
            slot,
            client,
            shared,
            holds: AtomicU32::new(0),
            pins: AtomicU32::new(0),
            ended: AtomicU8::new(0),
            is_away: away.is_some(),
            inside: Mutex::new(Inside { saved, local: Local::default(), away }),
            wake: Notify::new(),
        };
        let weight = lock(&session.inside).weight();
        session.shared.totals.replace(Weight::default(), weight);
        session.note_size(0, weight.bytes());
        session
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// When it was made.
    #[must_use]
    pub fn created(&self) -> Moment {
        self.created
    }

    /// The revision negotiated for it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whom it is bound to; `None` where it may be used by everybody.
    #[must_use]
    pub fn owner(&self) -> Option<&Identity> {
        self.owner.as_deref()
    }

    /// Changes it: the one lock of a call. Afterwards, without the lock, the streams are woken where messages were queued,
    /// and what the change wants to happen happens ([`Working::after`]). Nothing is evicted here.
    ///
    /// A change is short, and calls neither the session nor its manager: whoever holds the manager may wait for a session.
    pub fn change<T>(&self, change: impl FnOnce(&mut Working<'_>) -> T) -> T {
        let mut access = self.access();
        let (result, aftermath) = access.run(change);
        drop(access);
        self.finish(aftermath);
        result
    }

    /// Does what a change left to be done, without the lock.
    pub(super) fn finish(&self, aftermath: Aftermath) {
        if aftermath.queued {
            self.wake_streams();
        }
        aftermath.left.effects.into_iter().for_each(kept::when_kept);
    }

    /// Whether its truth is in a store: then what is here is a copy, which only a [`Committer`](super::Committer) changes.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.is_away
    }

    /// The version of the copy here, and what the store counts; `None` where it must be loaded before it is used.
    pub(super) fn known(&self) -> Option<(Token, StoreFigures)> {
        self.inside().away.as_ref()?.known
    }

    /// Notes what is known of its version; `None` where the copy here must not be used.
    pub(super) fn know(&self, known: Option<(Token, StoreFigures)>) {
        if let Some(away) = &mut self.access().inside.away {
            away.known = known;
        }
    }

    /// Of a session in a store: the copy here is to be read anew before it is used.
    pub fn know_nothing(&self) {
        self.know(None);
    }

    /// Notes that a stream took so many of its messages from the store.
    pub(super) fn note_taken(&self, messages: usize) {
        if let Some((_, figures)) = self.access().inside.away.as_mut().and_then(|away| away.known.as_mut()) {
            figures.pending = figures.pending.saturating_sub(messages);
        }
    }

    /// Counts an attempt of somebody else in the copy here, as the store does.
    pub(super) fn count_intrusion(&self, anonymous: bool) {
        let now = self.shared.clock.now();
        let mut inside = self.inside();
        let Inside { saved, away, .. } = &mut *inside;
        saved.record.intrusions.count(anonymous, now);
        if let Some((_, figures)) = away.as_mut().and_then(|away| away.known.as_mut()) {
            figures.intrusions.count(anonymous, now);
        }
    }

    /// Begins a change at `now`, on what the store says.
    pub(super) fn begin_draft(&self, base: &Loaded, now: Moment) {
        let mut access = self.access();
        let Inside { saved, away, .. } = &mut *access.inside;
        saved.record = base.record.clone();
        saved.record.intrusions = base.figures.intrusions;
        saved.record.last_activity = now;
        if let Some(away) = away {
            away.draft = Some(Draft::new(base.figures, now));
        }
    }

    /// Ends it: the record as it is to be, and what is to be queued.
    pub(super) fn end_draft(&self) -> (Record, Vec<Outgoing>) {
        let mut inside = self.inside();
        let append = inside.away.as_mut().and_then(|away| away.draft.take()).map(|draft| draft.append);
        (inside.saved.record.clone(), append.unwrap_or_default())
    }

    /// What is around a change.
    pub(super) fn around<'a>(&'a self, local: &'a Local) -> Around<'a> {
        Around { local, shared: &self.shared, overhead: size_of::<Self>(), now: None }
    }

    /// The lock, to change what it holds.
    pub(super) fn access(&self) -> Access<'_> {
        let inside = lock(&self.inside);
        let before = inside.weight();
        Access { inside, session: self, before }
    }

    /// The lock, to look, or to change what weighs nothing.
    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        lock(&self.inside)
    }

    /// Looks at the record without copying it. `look` is short, and calls neither the session nor its manager.
    pub fn with_record<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.inside().saved.record)
    }

    /// A copy of what is known of it.
    #[must_use]
    pub fn record(&self) -> Record {
        self.inside().saved.record.clone()
    }

    /// A copy of all that outlives the process.
    #[must_use]
    pub fn saved(&self) -> Saved {
        self.inside().saved.clone()
    }

    /// Its figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let inside = self.inside();
        match &inside.away {
            None => Figures::of(&inside.saved, &inside.local),
            Some(away) => Figures::told(&away.known.map(|(_, figures)| figures).unwrap_or_default(), &inside.local),
        }
    }

    /// Enters it among those that hold more than their share, or takes it out. Its lock is held, so that of two changes at
    /// once the later one has the last word.
    fn note_size(&self, before: i64, after: i64) {
        let share = self.shared.limits.share();
        if (before > share) != (after > share) {
            let mut large = lock(&self.shared.large);
            if after > share {
                large.insert(self.id);
            } else {
                large.remove(&self.id);
            }
        }
    }

    /// What it holds, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        u64::try_from(self.inside().weight().bytes()).unwrap_or(0)
    }

    /// Why it ended; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<EndReason> {
        EndReason::from_byte(self.ended.load(Ordering::Acquire))
    }

    /// When it expires if nothing more happens; `None` while a request or stream holds it.
    #[must_use]
    pub fn expires(&self) -> Option<Moment> {
        (!self.is_held()).then(|| self.last_activity().plus(self.timeout()))
    }

    /// How much longer it lives if nothing more happens than the request that asks.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.shared.limits.timeout
    }

    pub(super) fn last_activity(&self) -> Moment {
        let inside = self.inside();
        let used = inside.away.as_ref().map_or(Moment(0), |away| away.used);
        inside.saved.record.last_activity.max(used)
    }

    /// Whether all sessions together hold more memory than they may.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.shared.excess_bytes(0) > 0
    }

    pub(super) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }

    /// Whether it has been idle for too long. Of a session in a store the store alone knows; its copy may be dropped then.
    pub(super) fn is_expired(&self, now: Moment) -> bool {
        self.expires().is_some_and(|at| at <= now)
    }

    pub(super) fn client(&self) -> Client {
        self.client
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Keeps its copy here until [`Session::unpin`].
    pub(super) fn pin(&self) {
        self.pins.fetch_add(1, Ordering::AcqRel);
    }

    /// Lets its copy go.
    pub(super) fn unpin(&self) {
        // As in a release: a sweep does not set aside what is no longer pinned.
        let mut idle = lock(&self.shared.idle);
        if self.pins.fetch_sub(1, Ordering::AcqRel) == 1 && !self.is_held() && self.ended().is_none() {
            idle.put_last(self.slot, List::Fresh);
        }
    }

    /// Of a session in a store: whether it has been in use here until less than its time-out ago.
    pub(super) fn was_in_use(&self) -> bool {
        let used = self.inside().away.as_ref().map_or(Moment(0), |away| away.used);
        self.is_held() || self.shared.clock.now().since(used) < self.timeout()
    }

    /// Whether a request or a stream has it, or is about to.
    pub(super) fn is_taken(&self) -> bool {
        self.is_held() || self.pins.load(Ordering::Acquire) > 0
    }

    /// Keeps it from idling until [`Session::release`].
    pub(super) fn hold(&self) {
        self.holds.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends a hold at `now`; the last one starts the idle time. `last` is a last look at the record.
    pub(super) fn release(&self, now: Instant, last: impl FnOnce(&mut Record)) {
        let mut inside = self.inside();
        let Inside { saved: Saved { record, .. }, away, .. } = &mut *inside;
        match away {
            None => {
                last(record);
                // Another request may have ended since `now` was looked at.
                record.last_activity = record.last_activity.max(self.shared.clock.at(now));
            }
            Some(away) => {
                if away.draft.is_some() {
                    last(record);
                }
                away.used = away.used.max(self.shared.clock.at(now));
            }
        }
        // Counted under the lock of the order, so that a sweep does not set aside what is no longer held.
        let mut idle = lock(&self.shared.idle);
        if self.holds.fetch_sub(1, Ordering::AcqRel) == 1 && self.ended().is_none() {
            idle.put_last(self.slot, List::Fresh);
        }
    }

    /// Wakes its streams: there may be something for them.
    pub(super) fn wake_streams(&self) {
        if self.is_away
            && let Some(away) = &mut self.inside().away
        {
            away.wakes = away.wakes.wrapping_add(1);
        }
        self.wake.notify_waiters();
    }

    /// Of a session in a store: how often its streams were woken. Where that is more than before a look, another look is due.
    pub(super) fn wakes(&self) -> u32 {
        self.inside().away.as_ref().map_or(0, |away| away.wakes)
    }

    /// Becomes ready when the streams are woken.
    pub(super) fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.wake.notified()
    }

    /// Cancels the calls with this id that run. Returns whether there were any.
    pub fn cancel(&self, id: &Id) -> bool {
        self.inside().local.calls.cancel(&id.canonical())
    }

    /// Marks it ended, unless somebody holds it. It is entered under the same lock, so that nobody enters it in between.
    pub(super) fn end_unless_held(&self, reason: EndReason) -> bool {
        let _inside = self.inside();
        let ends = !self.is_held();
        if ends {
            self.ended.store(reason as u8, Ordering::Release);
        }
        ends
    }

    /// Marks it ended: streams end, running calls are cancelled.
    pub(super) fn end(&self, reason: EndReason) {
        self.ended.store(reason as u8, Ordering::Release);
        self.inside().local.calls.cancel_all();
        self.forget_suspended();
        self.wake_streams();
    }

    /// The event id under which a client finds the rest of a stream whose connection is about to be let go of.
    #[must_use]
    pub fn suspension_id(&self, here: Name) -> String {
        self.inside().local.suspended.get_or_insert_default().next_id(here)
    }

    /// Keeps the rest of a stream until a client comes for it with `id`, or newer ones push it out.
    pub fn suspend(&self, id: &str, rest: CallStream) {
        // Bound to a name: what is pushed out may hold this session, and is dropped without the lock.
        let pushed_out = self.inside().local.suspended.get_or_insert_default().keep(id, rest);
        drop(pushed_out);
        if self.ended().is_some() {
            self.forget_suspended();
        }
    }

    /// A suspended stream holds its session: forgetting it lets the session go.
    fn forget_suspended(&self) {
        let suspended = self.inside().local.suspended.take();
        drop(suspended);
    }

    /// The rest of the stream that was suspended as `id`.
    #[must_use]
    pub fn take_suspended(&self, id: &str) -> Option<CallStream> {
        self.inside().local.suspended.as_mut()?.take(id)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let weight = lock(&self.inside).weight();
        self.shared.totals.replace(weight, Weight::default());
        self.note_size(weight.bytes(), 0);
        lock(&self.shared.idle).remove(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be ten million of them, and what each holds in maps, slots and texts comes on top.
    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 768, "{} bytes", size_of::<Session>());
    }
}
