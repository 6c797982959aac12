//! Which instance made a session id.
//!
//! Sessions live in one process, so behind a load balancer an id may arrive at an instance that never issued it. An id that
//! says who made it, and when, turns "session not found" into "another replica has it". It stays a UUID of version 4
//! (RFC 9562 section 5.4) to everybody else: of its 122 random bits 66 are random, and the other 56 look so.
//!
//! Not a secret and not a signature: whoever makes up such an id is told about an instance that does not exist.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::clock::Moment;

/// Bytes of an id that are random, the version and the variant included.
const RANDOM: usize = 9;

/// A moment in an id counts quarters of a second, in so many bits: it begins anew after 194 days.
const TICK_MS: u64 = 250;
const TICK_BITS: u32 = 26;
const TICKS: u64 = 1 << TICK_BITS;

/// Bits that are zero in an id of ours: one in 16,384 other ids is taken for one.
const CHECK_BITS: u32 = 14;

/// One run of the server: a number of its own, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    number: u16,
    started: Moment,
}

/// What an id that is no session here says of its maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// This instance.
    This,
    /// Another instance of this server.
    Another {
        /// Its name: four hex digits.
        instance: Name,
        /// Whether it made the id while this instance ran: then it is another replica, and not this server before a restart.
        side_by_side: bool,
    },
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
        let [high, low, ..] = Uuid::new_v4().into_bytes();
        Self { number: u16::from_be_bytes([high, low]), started }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> Name {
        Name(self.number)
    }

    /// A new id for a session made at `now`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "ids of sessions are not to be guessed")]
    pub fn new_id(self, now: Moment) -> Uuid {
        let mut id = Uuid::new_v4().into_bytes();
        let ticks = now.0 / TICK_MS % TICKS;
        let plain = ((u64::from(self.number) << TICK_BITS) | ticks) << CHECK_BITS;
        let tail = (plain ^ mask(&id)).to_be_bytes();
        id[RANDOM..].copy_from_slice(&tail[1..]);
        Uuid::from_bytes(id)
    }

    /// Who made `id`, as it looks at `now`.
    #[must_use]
    pub fn maker_of(self, id: Uuid, now: Moment) -> Maker {
        let id = id.into_bytes();
        let mut tail = [0; 8];
        tail[1..].copy_from_slice(&id[RANDOM..]);
        let plain = u64::from_be_bytes(tail) ^ mask(&id);
        if id[6] >> 4 != 4 || id[8] >> 6 != 0b10 || plain & ((1 << CHECK_BITS) - 1) != 0 {
            return Maker::Stranger;
        }
        let number = u16::try_from(plain >> (CHECK_BITS + TICK_BITS)).unwrap_or_default();
        if number == self.number {
            return Maker::This;
        }
        let made = plain >> CHECK_BITS & (TICKS - 1);
        let age = (now.0 / TICK_MS % TICKS + TICKS - made) % TICKS;
        let run = (now.0 / TICK_MS).saturating_sub(self.started.0 / TICK_MS);
        Maker::Another { instance: Name(number), side_by_side: age < run }
    }
}

/// A number by which the events of a session are told from those of others.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "it must tell nothing of the session's id")]
pub fn event_tag() -> u32 {
    let [.., a, b, c, d] = Uuid::new_v4().into_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The first 8 characters of a session's id: enough to find it in a log, too little to use it.
#[must_use]
pub fn prefix(id: Uuid) -> String {
    let mut id = id.to_string();
    id.truncate(8);
    id
}

/// What makes the last 56 bits of an id look random.
fn mask(id: &[u8; 16]) -> u64 {
    let digest = Sha256::digest(&id[..RANDOM]);
    digest[..16 - RANDOM].iter().fold(0, |mask, byte| mask << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment(1_800_000_000_000);

    fn at(seconds: u64) -> Moment {
        Moment(START.0 + seconds * 1000)
    }

    #[test]
    fn an_instance_knows_its_own_ids_and_they_are_uuids_of_version_4() {
        let instance = Instance::new(START);
        for second in 0..1000 {
            let id = instance.new_id(at(second));
            assert_eq!(instance.maker_of(id, at(second)), Maker::This);
            assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn an_id_of_a_replica_is_told_from_one_of_the_run_before() {
        let (first, second) = (Instance { number: 1, started: START }, Instance { number: 2, started: at(3600) });
        let another = |side_by_side| Maker::Another { instance: Name(1), side_by_side };
        assert_eq!(second.maker_of(first.new_id(at(100)), at(7200)), another(false));
        assert_eq!(second.maker_of(first.new_id(at(3601)), at(7200)), another(true));
        assert_eq!(second.maker_of(first.new_id(at(7200)), at(7200)), another(true));
        // The moment of the start itself proves nothing.
        assert_eq!(second.maker_of(first.new_id(at(3600)), at(7200)), another(false));
        assert_eq!(first.name().to_string(), "0001");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "ids that anybody else may make")]
    fn other_ids_are_strangers() {
        let instance = Instance::new(START);
        let mut taken = 0;
        for _ in 0..10_000 {
            taken += u32::from(instance.maker_of(Uuid::new_v4(), START) != Maker::Stranger);
        }
        assert!(taken < 20, "{taken} of 10,000 random ids were taken for ours");
        assert_eq!(instance.maker_of(Uuid::nil(), START), Maker::Stranger);
    }
}
