//! What is promised of sessions wherever they are kept, checked against the memory of this process and against a store that
//! does what it is told to do wrong.
//!
//! - `places`: sessions in memory, and sessions in a store, with the same few methods.
//! - `promises`: what holds in both.
//! - `failures`: what holds when a store fails, by the numbers F1 to F31 of the failures that a first design did not survive.
//! - `double`: the store.

mod double;
mod failures;
mod places;
mod promises;

/// Every kind of store keeps what a store promises, at the time that it says it was.
mod walks {
    use std::sync::Arc;
    use std::time::Duration;

    use uuid::Uuid;

    use super::double::Double;
    use crate::clock::Clock;
    use crate::session::disk::{Disk, DiskLimits};
    use crate::session::kit::{self, Positions};
    use crate::session::store::{Gone, Here, Store, StoreTime};

    struct Nobody;

    impl Here for Nobody {
        fn is_in_use(&self, _: Uuid) -> bool {
            false
        }

        fn ended(&self, _: Uuid, _: Gone) {}
    }

    async fn walk(store: &dyn Store, positions: Positions, walks: u64) {
        for seed in 0..walks {
            let walked = kit::sessions(store, positions, seed).await;
            walked.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_double_does_what_a_store_promises() {
        walk(&Double::new(), Positions::Time, 100).await;
    }

    #[tokio::test]
    async fn the_disk_does_what_a_store_promises() {
        let folder = tempfile::tempdir().unwrap();
        let limits = DiskLimits { max_sessions: 1000, warning: Duration::ZERO };
        let clock = Arc::new(Clock::new());
        let opened = StoreTime(clock.now().0 * 1000);
        let disk = Disk::open(&folder.path().join("sessions"), limits, Box::new(Nobody), clock).unwrap();
        walk(&disk, Positions::Since(opened), 20).await;
    }
}
