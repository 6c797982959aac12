//! A call at work that its client can cancel.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::calls::Busy;
use super::live::Session;
use crate::protocol::Id;

/// A call that runs and can be cancelled. Dropping it takes the call out again.
pub struct RunningCall {
    session: Arc<Session>,
    id: Id,
    cancelled: CancellationToken,
}

impl Session {
    /// Registers a call that runs, so that the client can cancel it.
    ///
    /// # Errors
    /// When there are [`MAX_RUNNING`](super::MAX_RUNNING) already.
    pub fn running(self: &Arc<Self>, id: &Id) -> Result<RunningCall, Busy> {
        let id = id.canonical();
        let cancelled = self.inside().local.calls.add(id.clone())?;
        if self.ended().is_some() {
            cancelled.cancel();
        }
        Ok(RunningCall { session: Arc::clone(self), id, cancelled })
    }
}

impl RunningCall {
    /// Resolves when the client cancels the call or its session ends.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.session.inside().local.calls.remove(&self.id);
    }
}
