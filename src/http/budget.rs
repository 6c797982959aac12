//! Memory for bodies while they arrive and are worked on, and for answers until their client has read them.
//!
//! A small body that is there at once, and a small answer on a connection of its own, are bounded by the number of
//! connections. Nothing else is: ten thousand clients that send slowly, or do not read what they asked for, and HTTP/2,
//! where a connection has two hundred of both. All of it together has one bound, and each connection one; beyond, requests
//! get 503. When all is taken, the connection that holds most has to go, unless it is the one that asks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::refusal::{RETRY_AFTER_S, Refusal};
use crate::protocol::RpcError;

/// What is there at once, and is no larger than this, is not counted where a connection has one of it only.
pub const LARGE: usize = 64 * 1024;

/// How many bodies of the largest size there is room for in any case.
const BODIES: usize = 8;

/// How many bodies of the largest size a connection with many requests at a time may hold, and the least that it may hold in
/// bytes.
const OWN_BODIES: usize = 2;
const OWN_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that a permit stands for: they are asked for in `u32`s.
const UNIT: usize = 4096;

/// The least time between two connections that are ended for a newcomer's place: to look for one takes a look at all.
const MAKE_WAY: Duration = Duration::from_millis(50);

/// How long an answer waits for others to be read.
const WAIT: Duration = Duration::from_secs(10);

/// The memory of all connections.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    units: usize,
    /// What one connection may hold of it.
    own_units: usize,
    connections: Arc<Mutex<Vec<Weak<Own>>>>,
    made_way: Arc<Mutex<Option<Instant>>>,
}

/// The memory of one connection, a part of that of all.
#[derive(Debug, Clone)]
pub struct Account(Arc<Own>);

#[derive(Debug)]
struct Own {
    all: Budget,
    /// The other end's.
    address: IpAddr,
    /// In units.
    held: AtomicUsize,
    /// Whether there are several requests at a time: then small answers count, too.
    is_multiplexed: AtomicBool,
    /// Ends the connection, when it has to go for what it holds.
    connection: OnceLock<AbortHandle>,
    is_unwanted: AtomicBool,
}

/// A part of it; dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    permit: OwnedSemaphorePermit,
    own: Arc<Own>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.own.held.fetch_sub(self.permit.num_permits(), Ordering::Relaxed);
    }
}

impl Budget {
    /// A budget of `bytes`, or `BODIES` (8) bodies of `max_body` bytes where that is more.
    #[must_use]
    pub fn new(bytes: usize, max_body: usize) -> Self {
        let units = (bytes.max(max_body.saturating_mul(BODIES)) / UNIT).min(Semaphore::MAX_PERMITS);
        let own_units = (max_body.saturating_mul(OWN_BODIES).max(OWN_BYTES) / UNIT).min(units);
        Self {
            free: Arc::new(Semaphore::new(units)),
            units,
            own_units,
            connections: Arc::default(),
            made_way: Arc::default(),
        }
    }

    /// For a connection that begins, from `address`.
    #[must_use]
    pub fn account(&self, address: IpAddr) -> Account {
        let own = Arc::new(Own {
            all: self.clone(),
            address,
            held: AtomicUsize::new(0),
            is_multiplexed: AtomicBool::new(false),
            connection: OnceLock::new(),
            is_unwanted: AtomicBool::new(false),
        });
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended are forgotten when the list would grow.
        if connections.len() == connections.capacity() {
            connections.retain(|other| other.strong_count() > 0);
        }
        connections.push(Arc::downgrade(&own));
        Account(own)
    }

    /// Ends the oldest connection of the address that has most, for one from `address`, where those are more than twice as
    /// many; now and then. Returns whether one ends.
    #[must_use]
    pub fn make_way(&self, address: IpAddr) -> bool {
        {
            let mut made_way = self.made_way.lock().unwrap_or_else(PoisonError::into_inner);
            if made_way.is_some_and(|last| last.elapsed() < MAKE_WAY) {
                return false;
            }
            *made_way = Some(Instant::now());
        }
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let staying: Vec<_> = connections.iter().filter_map(Weak::upgrade).filter(|own| !own.is_ending()).collect();
        let mut counts = HashMap::new();
        for own in &staying {
            *counts.entry(own.address).or_insert(0_usize) += 1;
        }
        let has = counts.get(&address).copied().unwrap_or(0);
        let most = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 2 * (has + 1));
        let oldest = most.and_then(|(most, _)| staying.iter().find(|own| own.address == most));
        if let Some(oldest) = oldest {
            tracing::warn!("all connections are taken: one of the address that has most is ended for a newcomer");
            oldest.end();
        }
        oldest.is_some()
    }

    /// Has the connection go that holds most, where that is more than `units`.
    fn relieve(&self, units: usize) {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let held = |own: &Arc<Own>| own.held.load(Ordering::Relaxed);
        let staying = connections.iter().filter_map(Weak::upgrade).filter(|own| !own.is_ending());
        if let Some(most) = staying.max_by_key(held).filter(|most| held(most) > units) {
            tracing::warn!(
                bytes = held(&most) * UNIT,
                "the memory for bodies and answers is all taken: the connection that holds most is closed"
            );
            most.end();
        }
    }

    fn units_for(&self, bytes: usize) -> usize {
        // An answer is larger than its request: one that is larger than everything takes everything.
        bytes.div_ceil(UNIT).min(self.units)
    }
}

impl Own {
    fn is_ending(&self) -> bool {
        self.is_unwanted.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.is_unwanted.store(true, Ordering::Relaxed);
        if let Some(connection) = self.connection.get() {
            connection.abort();
        }
    }
}

impl Account {
    /// Its requests come several at a time, as over HTTP/2.
    pub fn multiplex(&self) {
        self.0.is_multiplexed.store(true, Ordering::Relaxed);
    }

    /// `connection` is the task that serves the connection: it is ended when it has to go.
    pub fn opened_for(&self, connection: AbortHandle) {
        let _ = self.0.connection.set(connection);
    }

    /// Makes `share` one of `bytes`, if there is as much.
    ///
    /// # Errors
    /// 503
    pub fn grow(&self, share: &mut Option<Share>, bytes: usize) -> Result<(), Refusal> {
        let has = share.as_ref().map_or(0, |share| share.permit.num_permits());
        let missing = self.0.all.units_for(bytes).saturating_sub(has);
        if missing == 0 {
            return Ok(());
        }
        self.take_own(missing)?;
        let permits = u32::try_from(missing).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.0.all.free).try_acquire_many_owned(permits) else {
            self.give_back(missing);
            self.0.all.relieve(self.0.held.load(Ordering::Relaxed) + missing);
            return Err(exhausted());
        };
        match share {
            Some(share) => share.permit.merge(more),
            None => *share = Some(Share { permit: more, own: Arc::clone(&self.0) }),
        }
        Ok(())
    }

    /// `answer`, counted until its last byte is sent, where it has to be. Waits where others have to be read first.
    ///
    /// # Errors
    /// 503
    pub async fn hold(&self, answer: Bytes) -> Result<Bytes, Refusal> {
        if answer.len() <= LARGE && !self.0.is_multiplexed.load(Ordering::Relaxed) {
            return Ok(answer);
        }
        let units = self.0.all.units_for(answer.len());
        if units == 0 {
            return Ok(answer);
        }
        self.take_own(units)?;
        let permits = u32::try_from(units).unwrap_or(u32::MAX);
        let free = || Arc::clone(&self.0.all.free);
        let permit = if let Ok(permit) = free().try_acquire_many_owned(permits) {
            permit
        } else {
            self.0.all.relieve(self.0.held.load(Ordering::Relaxed));
            let Ok(Ok(permit)) = tokio::time::timeout(WAIT, free().acquire_many_owned(permits)).await else {
                self.give_back(units);
                return Err(exhausted());
            };
            permit
        };
        let share = Share { permit, own: Arc::clone(&self.0) };
        Ok(Bytes::from_owner(Held { answer, _share: share }))
    }

    fn take_own(&self, units: usize) -> Result<(), Refusal> {
        let held = self.0.held.fetch_add(units, Ordering::Relaxed);
        // Where there is one request at a time, its body and its answer are all that there can be. One that is larger than
        // everything is the only one.
        let is_multiplexed = self.0.is_multiplexed.load(Ordering::Relaxed);
        if is_multiplexed && held > 0 && held + units > self.0.all.own_units {
            self.give_back(units);
            let error = RpcError::new(
                RpcError::INTERNAL_ERROR,
                "Too many large requests and unread answers on this connection; read them, or try again later",
            );
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(RETRY_AFTER_S));
        }
        Ok(())
    }

    fn give_back(&self, units: usize) {
        self.0.held.fetch_sub(units, Ordering::Relaxed);
    }
}

struct Held {
    answer: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

fn exhausted() -> Refusal {
    let error =
        RpcError::new(RpcError::INTERNAL_ERROR, "Too many large requests and answers at a time; try again later");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(RETRY_AFTER_S).and_close()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const TOTAL: usize = 16 * 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_counted_until_it_is_gone() {
        let budget = Budget::new(TOTAL, TOTAL / 8);
        let (all, account) = (budget.free.available_permits(), budget.account(HERE));
        let mut share = None;
        account.grow(&mut share, LARGE).unwrap();
        account.grow(&mut share, 2 * LARGE).unwrap();
        let other = budget.account(HERE);
        let answer = other.hold(Bytes::from(vec![0; TOTAL - 2 * LARGE])).await.unwrap();
        assert_eq!(budget.free.available_permits(), 0);
        let part = answer.slice(1..2);
        drop(answer);
        assert!(account.hold(Bytes::from(vec![0; 2 * LARGE])).await.is_err(), "a part of it is still to be sent");
        assert!(account.grow(&mut share, 3 * LARGE).is_err());
        drop(part);
        account.grow(&mut share, 3 * LARGE).unwrap();
        drop(share);
        assert_eq!(budget.free.available_permits(), all);
        assert_eq!((account.0.held.load(Ordering::Relaxed), other.0.held.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_larger_than_everything_takes_everything() {
        let budget = Budget::new(TOTAL, 0);
        let answer = budget.account(HERE).hold(Bytes::from(vec![0; TOTAL + UNIT])).await.unwrap();
        assert!(budget.account(HERE).hold(Bytes::from(vec![0; LARGE + 1])).await.is_err());
        drop(answer);
        assert!(budget.account(HERE).hold(Bytes::from(vec![0; LARGE + 1])).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_its_own_bound_and_when_all_is_taken_who_holds_most_has_to_go() {
        let budget = Budget::new(TOTAL, 0);
        let is_unwanted = |account: &Account| account.0.is_unwanted.load(Ordering::Relaxed);
        let [greedy, modest, newcomer] = [(); 3].map(|()| budget.account(HERE));
        greedy.multiplex();
        let mut shares = Vec::new();
        loop {
            let mut share = None;
            if greedy.grow(&mut share, 1024 * 1024).is_err() {
                break;
            }
            shares.push(share);
        }
        assert_eq!(greedy.0.held.load(Ordering::Relaxed) * UNIT, OWN_BYTES, "and no more");
        let held = modest.hold(Bytes::from(vec![0; TOTAL - OWN_BYTES - LARGE])).await.unwrap();
        assert!(newcomer.grow(&mut None, 2 * LARGE).is_err());
        assert!(is_unwanted(&greedy) && !is_unwanted(&modest));
        // Who holds most is never sent away by itself.
        assert!(modest.grow(&mut None, 2 * LARGE).is_err() && !is_unwanted(&modest));
        drop((held, shares));
        newcomer.grow(&mut None, 2 * LARGE).unwrap();
    }

    #[test]
    fn connections_that_have_ended_are_forgotten() {
        let budget = Budget::new(TOTAL, 0);
        for _ in 0..10_000 {
            drop(budget.account(HERE));
        }
        assert!(budget.connections.lock().unwrap().len() < 100);
    }
}
