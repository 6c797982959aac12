//! Which instance made a session id.
//!
//! Sessions live in one process, so behind a load balancer an id may arrive at an instance that never issued it. An id that
//! says who made it turns "session not found" into "another instance has it". It is a UUID of version 4 (RFC 9562 section
//! 5.4) to everybody else:
//!
//! - its first 32 bits are public: the instance, and a counter that makes them differ. They are what a log line shows;
//! - of the others 78 are random, more than the 64 that a session id has to have (OWASP, Session Management Cheat Sheet),
//!   and 12 follow from the first 32: that is how an id of another server is told.
//!
//! Not a signature: whoever makes up such an id is told about an instance that does not exist.

use std::sync::atomic::{AtomicU16, Ordering};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::fingerprint::fingerprint;
use crate::clock::Moment;

/// Bytes of an id that are public.
const PUBLIC: usize = 4;

/// Bits that follow from the public ones: one in 4,096 other ids is taken for one of ours.
const CHECK_BITS: u32 = 12;

/// One run of the server: a number of its own, and since when.
#[derive(Debug)]
pub struct Instance {
    number: u16,
    started: Moment,
    /// Of the next id. Begins anywhere, so that it does not tell how many there were.
    next: AtomicU16,
}

/// What an id that is no session here says of its maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// This instance.
    This,
    /// Another instance of this server.
    Another(Name),
    /// No server of this kind.
    Stranger,
}

/// An instance's name: four hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name(u16);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

impl Instance {
    /// An instance that starts at `started`, with a random number.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "an instance's number is chosen by chance")]
    pub fn new(started: Moment) -> Self {
        let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
        Self { number: u16::from_be_bytes([a, b]), started, next: AtomicU16::new(u16::from_be_bytes([c, d])) }
    }

    /// Its name. Its ids begin with it.
    #[must_use]
    pub fn name(&self) -> Name {
        Name(self.number)
    }

    /// Since when it runs.
    #[must_use]
    pub fn started(&self) -> Moment {
        self.started
    }

    /// A new id.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "ids of sessions are not to be guessed")]
    pub fn new_id(&self) -> Uuid {
        let mut id = Uuid::new_v4().into_bytes();
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        id[..PUBLIC].copy_from_slice(&((u32::from(self.number) << 16) | u32::from(count)).to_be_bytes());
        let random = u16::from_be_bytes([id[14], id[15]]) >> CHECK_BITS << CHECK_BITS;
        let last = random | check(&id);
        id[14..].copy_from_slice(&last.to_be_bytes());
        Uuid::from_bytes(id)
    }

    /// Who made `id`.
    #[must_use]
    pub fn maker_of(&self, id: Uuid) -> Maker {
        let is_v4 = id.get_version_num() == 4 && id.get_variant() == uuid::Variant::RFC4122;
        let id = id.into_bytes();
        if !is_v4 || u16::from_be_bytes([id[14], id[15]]) & ((1 << CHECK_BITS) - 1) != check(&id) {
            return Maker::Stranger;
        }
        let number = u16::from_be_bytes([id[0], id[1]]);
        if number == self.number { Maker::This } else { Maker::Another(Name(number)) }
    }
}

/// A name for this start of this process, by chance: [`Token::writer`](super::store::Token::writer).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "two processes must not have one name")]
pub fn writer() -> u64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    // The bits that say what kind of id it is meet random ones.
    high ^ low.rotate_left(32)
}

/// A number by which the events of a session are told from those of others.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "it must tell nothing of the session's id")]
pub fn event_tag() -> u32 {
    let [.., a, b, c, d] = Uuid::new_v4().into_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The same where a session's queue is in a store, and every process must come to the same number. It says nothing of the
/// session's id either.
#[must_use]
pub fn tag_of(id: Uuid) -> u32 {
    let [a, b, c, d, ..] = fingerprint(&[b"events", id.as_bytes()]).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The first 8 characters of a session's id: enough to find it in a log, too little to use it.
#[must_use]
pub fn prefix(id: Uuid) -> String {
    let mut id = id.to_string();
    id.truncate(8);
    id
}

/// The bits of an id that follow from its public ones.
fn check(id: &[u8; 16]) -> u16 {
    let digest = Sha256::digest(&id[..PUBLIC]);
    u16::from_be_bytes([digest[0], digest[1]]) >> (16 - CHECK_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const START: Moment = Moment(1_800_000_000_000);

    #[test]
    fn an_instance_knows_its_own_ids_and_they_are_uuids_of_version_4() {
        let instance = Instance::new(START);
        for _ in 0..1000 {
            let id = instance.new_id();
            assert_eq!(instance.maker_of(id), Maker::This);
            assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
            assert!(id.to_string().starts_with(&instance.name().to_string()), "{id}");
        }
    }

    #[test]
    fn what_a_log_shows_of_ids_differs_and_tells_nothing_of_the_rest() {
        let instance = Instance::new(START);
        let ids: Vec<_> = (0..4096).map(|_| instance.new_id()).collect();
        let shown: HashSet<_> = ids.iter().map(|id| prefix(*id)).collect();
        assert_eq!(shown.len(), ids.len());
        // Bits that are set in about half of the ids: those that a guess has to get right.
        let bits = (0..128).filter(|bit| {
            let set = ids.iter().filter(|id| id.as_u128() >> (127 - bit) & 1 == 1).count();
            *bit >= 32 && (1800..2300).contains(&set)
        });
        // Without the check bits, version and variant; the check bits look random as well.
        assert_eq!(bits.count(), 90);
        let [one, other] = [(); 2].map(|()| Instance { number: 1, started: START, next: AtomicU16::new(0) }.new_id());
        let differing = (one.as_u128() ^ other.as_u128()).count_ones();
        assert!((15..70).contains(&differing), "the same public part, and another rest: {differing} bits");
    }

    #[test]
    fn ids_of_another_instance_name_it() {
        let [first, second] = [1, 2].map(|number| Instance { number, started: START, next: AtomicU16::new(7) });
        assert_eq!(second.maker_of(first.new_id()), Maker::Another(Name(1)));
        assert_eq!(first.name().to_string(), "0001");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "ids that anybody else may make")]
    fn other_ids_are_strangers() {
        let instance = Instance::new(START);
        let mut taken = 0;
        for _ in 0..10_000 {
            taken += u32::from(instance.maker_of(Uuid::new_v4()) != Maker::Stranger);
        }
        assert!(taken < 20, "{taken} of 10,000 random ids were taken for ours");
        assert_eq!(instance.maker_of(Uuid::nil()), Maker::Stranger);
    }
}
