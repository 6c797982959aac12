//! A request's time in a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::live::Session;
use super::working::Working;
use crate::clock::Moment;

/// A request's time in a session: the session is not idle while this lives.
pub struct SessionGuard {
    session: Arc<Session>,
    started: Instant,
    requests: u32,
    has_news: bool,
}

/// A session whose copy here is kept from being dropped, by a request that is about to use it.
pub struct Held(Arc<Session>);

impl Held {
    /// Holds `session`.
    #[must_use]
    pub fn of(session: &Arc<Session>) -> Self {
        session.pin();
        Self(Arc::clone(session))
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.unpin();
    }
}

/// Why a session cannot be entered.
#[derive(Debug, Clone, Copy)]
pub enum Closed {
    /// It has expired, and nobody has buried it yet.
    Expired {
        /// When.
        at: Moment,
        /// How often it was tried since, this time included.
        tries: u32,
    },
    /// It ended after it was looked up.
    Ended,
}

impl SessionGuard {
    /// Enters a session that was just made.
    pub(super) fn begin(session: Arc<Session>, started: Instant) -> Self {
        session.hold();
        session.shared().totals.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { session, started, requests: 0, has_news: false }
    }

    /// Enters a session at `started`, with a first change, unless it has ended or expired: all under one lock.
    pub(super) fn enter(
        session: &Arc<Session>,
        started: Instant,
        note: impl FnOnce(&mut Working<'_>),
    ) -> Result<Self, Closed> {
        // Declared before the lock, so that it is dropped after it: a change that panics leaves the session again.
        let mut guard;
        let mut access = session.access();
        if session.ended().is_some() {
            return Err(Closed::Ended);
        }
        // Of a session in a store the store says whether it is gone, where it is asked: where a change is to be committed.
        let away = access.inside.away.as_ref();
        let (is_asked, used) = away.map_or((false, Moment(0)), |away| (away.draft.is_some(), away.used));
        let record = &mut access.inside.saved.record;
        let expires = record.last_activity.max(used).plus(session.timeout());
        if !session.is_held() && !is_asked && expires <= session.shared().clock.at(started) {
            let tries = &mut record.history.tries_when_dead;
            *tries = tries.saturating_add(1);
            return Err(Closed::Expired { at: expires, tries: *tries });
        }
        guard = Self::begin(Arc::clone(session), started);
        let ((), aftermath) = access.run(note);
        drop(access);
        guard.requests = aftermath.left.requests;
        guard.has_news = aftermath.left.news.findings;
        if aftermath.left.news.first_use {
            let shared = session.shared();
            shared.clients.used(session.client(), shared.clock.at(started));
        }
        session.finish(aftermath);
        Ok(guard)
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Whether the request brought something that the session's findings should be looked for.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.has_news
    }

    /// Counts JSON-RPC requests that this request holds.
    pub fn count_requests(&mut self, n: u32) {
        self.requests += n;
        self.session.inside().saved.record.request_count += u64::from(n);
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = u64::try_from(now.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX);
        self.session.shared().totals.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.session.release(now, |record| {
            if self.requests > 0 {
                record.total_handling_us = record.total_handling_us.saturating_add(took);
                record.finished_count += u64::from(self.requests);
            }
        });
    }
}
