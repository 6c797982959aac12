//! Who has how many sessions: where there is room for no more, whoever has most gives way.
//!
//! Every operation takes constant time, but for a logarithm of the number of callers.

use std::collections::{BTreeSet, HashMap, VecDeque};

use uuid::Uuid;

/// A caller, as a number: its identity, or else its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller(pub u64);

#[derive(Debug, Default)]
struct Held {
    count: usize,
    /// The sessions, those that were made first in front; some have ended.
    ids: VecDeque<Uuid>,
}

/// Ended sessions that are kept in a caller's list before it is cleaned, beyond as many as there are alive.
const ENDED: usize = 16;

/// The callers that have sessions.
#[derive(Debug, Default)]
pub struct Holders {
    held: HashMap<Caller, Held>,
    by_count: BTreeSet<(usize, Caller)>,
}

impl Holders {
    /// `caller` has one more.
    pub fn add(&mut self, caller: Caller, id: Uuid) {
        let held = self.held.entry(caller).or_default();
        self.by_count.remove(&(held.count, caller));
        held.count += 1;
        held.ids.push_back(id);
        self.by_count.insert((held.count, caller));
    }

    /// `caller` has one less. `is_alive` says which of its sessions are there.
    pub fn remove(&mut self, caller: Caller, is_alive: impl Fn(Uuid) -> bool) {
        let Some(held) = self.held.get_mut(&caller) else { return };
        self.by_count.remove(&(held.count, caller));
        held.count -= 1;
        if held.count == 0 {
            self.held.remove(&caller);
            return;
        }
        if held.ids.len() > 2 * held.count + ENDED {
            held.ids.retain(|id| is_alive(*id));
        }
        self.by_count.insert((held.count, caller));
    }

    /// How many `caller` has.
    #[must_use]
    pub fn count(&self, caller: Caller) -> usize {
        self.held.get(&caller).map_or(0, |held| held.count)
    }

    /// Who has most, and how many.
    #[must_use]
    pub fn most(&self) -> Option<(Caller, usize)> {
        self.by_count.last().map(|(count, caller)| (*caller, *count))
    }

    /// The next of the caller's sessions to look at: it goes to the back of the list. `is_alive` as above.
    pub fn next(&mut self, caller: Caller, is_alive: impl Fn(Uuid) -> bool) -> Option<Uuid> {
        let ids = &mut self.held.get_mut(&caller)?.ids;
        while let Some(id) = ids.pop_front() {
            if is_alive(id) {
                ids.push_back(id);
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_most_is_known_and_nobody_is_remembered_for_nothing() {
        let mut holders = Holders::default();
        let [alice, bob] = [1, 2].map(Caller);
        for n in 0..5 {
            holders.add(if n < 2 { alice } else { bob }, Uuid::from_u128(n));
        }
        assert_eq!(holders.most(), Some((bob, 3)));
        let mut next = || holders.next(bob, |id| id != Uuid::from_u128(3));
        assert_eq!([next(), next(), next()], [2, 4, 2].map(|n| Some(Uuid::from_u128(n))));
        for _ in 0..2 {
            holders.remove(bob, |_| true);
        }
        assert_eq!((holders.most(), holders.count(bob)), (Some((alice, 2)), 1));
        holders.remove(bob, |_| true);
        assert!(holders.held.len() == 1 && holders.by_count.len() == 1);
    }

    #[test]
    fn a_callers_list_holds_few_sessions_that_have_ended() {
        let mut holders = Holders::default();
        for n in 0..10_000 {
            holders.add(Caller(1), Uuid::from_u128(n));
            if n > 0 {
                holders.remove(Caller(1), |id| id == Uuid::from_u128(n));
            }
        }
        assert!(holders.held[&Caller(1)].ids.len() < 40);
    }
}
