//! The calls of a session that are at work here, so that their client can cancel them.

use tokio_util::sync::CancellationToken;

use crate::protocol::Id;

/// The most calls of a session at work at once: ten full batches. More than a client keeps track of, and few enough to look
/// for an id among them.
pub const MAX_RUNNING: usize = 1000;

/// A session has [`MAX_RUNNING`] calls at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has {MAX_RUNNING} at work, as many as it may")]
pub struct Busy;

/// Calls at work. Ids may repeat: a client that breaks the rule cancels them all.
#[derive(Debug, Default)]
pub struct Calls(Vec<(Id, CancellationToken)>);

impl Calls {
    /// Adds a call with its canonical id.
    pub fn add(&mut self, id: Id) -> Result<CancellationToken, Busy> {
        if self.0.len() >= MAX_RUNNING {
            return Err(Busy);
        }
        let cancelled = CancellationToken::new();
        self.0.push((id, cancelled.clone()));
        Ok(cancelled)
    }

    /// Takes one call with this id out: those with the same id are alike.
    pub fn remove(&mut self, id: &Id) {
        if let Some(i) = self.0.iter().position(|(running, _)| running == id) {
            self.0.swap_remove(i);
        }
        if self.0.is_empty() {
            *self = Self::default();
        }
    }

    /// Whether a call with this id, however it is written, is at work.
    pub fn has(&self, id: &Id) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let id = id.canonical();
        self.0.iter().any(|(running, _)| *running == id)
    }

    /// How many are at work.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Cancels the calls with this id. Returns whether there were any.
    pub fn cancel(&self, id: &Id) -> bool {
        let matching = self.0.iter().filter(|(running, _)| running == id);
        matching.inspect(|(_, cancelled)| cancelled.cancel()).count() > 0
    }

    /// Cancels all.
    pub fn cancel_all(&self) {
        for (_, cancelled) in &self.0 {
            cancelled.cancel();
        }
    }
}
