//! Places that callers share out: for calls that take their time, and for subscriptions.
//!
//! While there is room, whoever asks has one. The last tenth is for callers that have less than a quarter of all places:
//! so nobody, however busy, takes everything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places of one kind.
#[derive(Debug, Clone)]
pub(super) struct Shares(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<u64, usize>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    shares: Shares,
    caller: u64,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All are taken.
    Full,
    /// This caller has its share, and there are few left.
    Share,
}

impl Shares {
    /// So many `places`.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Inner { places, taken: Mutex::default() }))
    }

    /// A place for `caller`.
    pub fn take(&self, caller: u64) -> Result<Place, NoPlace> {
        let places = self.0.places;
        let mut taken = self.taken();
        if taken.all >= places {
            return Err(NoPlace::Full);
        }
        let has = taken.of.get(&caller).copied().unwrap_or(0);
        if taken.all >= places - places / 10 && has >= places.div_ceil(4) {
            return Err(NoPlace::Share);
        }
        taken.all += 1;
        taken.of.insert(caller, has + 1);
        drop(taken);
        Ok(Place { shares: self.clone(), caller })
    }

    /// Whether nobody has any.
    pub fn are_free(&self) -> bool {
        self.taken().all == 0
    }

    /// Counts: usable whoever panicked with them.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= 1;
        match taken.of.get_mut(&self.caller) {
            Some(has) if *has > 1 => *has -= 1,
            _ => drop(taken.of.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_places_are_not_for_those_who_have_most() {
        let shares = Shares::new(100);
        let mut greedy: Vec<_> = (0..90).map(|_| shares.take(1).unwrap()).collect();
        assert_eq!(shares.take(1).err(), Some(NoPlace::Share));
        let modest: Vec<_> = (0..10).map(|n| shares.take(2 + n % 2).unwrap()).collect();
        assert_eq!(shares.take(4).err(), Some(NoPlace::Full));
        greedy.truncate(10);
        drop(modest);
        assert!(shares.take(1).is_ok());
        drop(greedy);
        assert!(shares.are_free() && shares.taken().of.is_empty());
    }
}
