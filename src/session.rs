//! Sessions: what is kept between requests. Independent of HTTP and of the tools.

mod level;
mod record;

use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

pub use level::LogLevel;
pub use record::{ClientInfo, Identity, IdentitySource, Intrusions, Record, State};

/// A live session.
pub struct Session {
    id: Uuid,
    record: Mutex<Record>,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// A copy of what is known of it.
    #[must_use]
    pub fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
