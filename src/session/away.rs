//! What a process knows of a session whose truth is in a store, beside its copy of the record.

use super::store::{Outgoing, StoreFigures, Token};
use crate::clock::Moment;

/// What is known of a session in a store.
#[derive(Debug, Default)]
pub struct Away {
    /// The version of the copy here, and what the store counts; `None` where it must be loaded before it is used.
    pub known: Option<(Token, StoreFigures)>,
    /// When a request or a stream last used it here, by this process's clock.
    pub used: Moment,
    /// How often its streams here were woken.
    pub wakes: u32,
    /// A change that is running. Without one nothing here is changed for good.
    pub draft: Option<Draft>,
}

/// A change that is running.
#[derive(Debug)]
pub struct Draft {
    /// What the store counts.
    pub figures: StoreFigures,
    /// Now, by the store's clock.
    pub now: Moment,
    /// What is to be queued.
    pub append: Vec<Outgoing>,
}

impl Draft {
    /// A change at `now`, with nothing in it yet.
    pub fn new(figures: StoreFigures, now: Moment) -> Self {
        Self { figures, now, append: Vec::new() }
    }
}

impl Away {
    /// Of a session that is being made at `now`: what happens to it until it is in the store is a part of what is stored.
    pub fn unborn(now: Moment) -> Self {
        Self { known: None, used: now, wakes: 0, draft: Some(Draft::new(StoreFigures::default(), now)) }
    }
}
