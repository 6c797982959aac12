//! Memory for what is large: bodies while they arrive and are worked on, answers until their client has read them.
//!
//! What is small is bounded by the number of connections and calls. What is large would not be: ten thousand clients that
//! send megabytes slowly, or do not read the megabytes that they asked for. All of it together has one bound; beyond it,
//! requests get 503.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::{RETRY_AFTER_S, Refusal};
use crate::protocol::RpcError;

/// Bodies and answers of more bytes than this are counted.
pub const LARGE: usize = 64 * 1024;

/// How many bodies of the largest size there is room for in any case.
const BODIES: usize = 8;

/// Bytes that a permit stands for: they are asked for in `u32`s.
const UNIT: usize = 4096;

/// How long an answer waits for others to be read.
const WAIT: Duration = Duration::from_secs(10);

/// The memory for what is large.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    units: usize,
}

/// A part of it; dropping it gives it back.
pub type Share = OwnedSemaphorePermit;

impl Budget {
    /// A budget of `bytes`, or `BODIES` (8) bodies of `max_body` bytes where that is more.
    #[must_use]
    pub fn new(bytes: usize, max_body: usize) -> Self {
        let units = (bytes.max(max_body.saturating_mul(BODIES)) / UNIT).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    /// Makes `share` one of `bytes`, if there is as much; small amounts need none.
    ///
    /// # Errors
    /// 503
    pub fn grow(&self, share: &mut Option<Share>, bytes: usize) -> Result<(), Refusal> {
        let missing = self.units_for(bytes).saturating_sub(share.as_ref().map_or(0, Share::num_permits));
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.free).try_acquire_many_owned(missing).map_err(|_| exhausted())?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }

    /// `answer`, counted until its last byte is sent; small ones as they are. Waits where others have to be read first.
    ///
    /// # Errors
    /// 503
    pub async fn hold(&self, answer: Bytes) -> Result<Bytes, Refusal> {
        let units = self.units_for(answer.len());
        if units == 0 {
            return Ok(answer);
        }
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let share = tokio::time::timeout(WAIT, Arc::clone(&self.free).acquire_many_owned(units)).await;
        let Ok(Ok(share)) = share else { return Err(exhausted()) };
        Ok(Bytes::from_owner(Held { answer, _share: share }))
    }

    fn units_for(&self, bytes: usize) -> usize {
        // An answer is larger than its request: one that is larger than everything takes everything.
        if bytes <= LARGE { 0 } else { bytes.div_ceil(UNIT).min(self.units) }
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

    const TOTAL: usize = 16 * 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn what_is_large_is_counted_until_it_is_gone() {
        let budget = Budget::new(TOTAL, 0);
        let all = budget.free.available_permits();
        let mut share = None;
        budget.grow(&mut share, LARGE).unwrap();
        assert!(share.is_none() && budget.hold(Bytes::from(vec![0; LARGE])).await.is_ok());
        assert_eq!(budget.free.available_permits(), all, "small ones are not counted");

        budget.grow(&mut share, LARGE + 1).unwrap();
        budget.grow(&mut share, 2 * LARGE).unwrap();
        let answer = budget.hold(Bytes::from(vec![0; TOTAL - 2 * LARGE])).await.unwrap();
        assert_eq!(budget.free.available_permits(), 0);
        let part = answer.slice(1..2);
        drop(answer);
        assert!(budget.hold(Bytes::from(vec![0; 2 * LARGE])).await.is_err(), "a part of it is still to be sent");
        assert!(budget.grow(&mut share, 3 * LARGE).is_err());
        drop(part);
        budget.grow(&mut share, 3 * LARGE).unwrap();
        drop(share);
        assert_eq!(budget.free.available_permits(), all);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_larger_than_everything_takes_everything() {
        let budget = Budget::new(TOTAL, 0);
        let answer = budget.hold(Bytes::from(vec![0; TOTAL + UNIT])).await.unwrap();
        assert!(budget.hold(Bytes::from(vec![0; LARGE + 1])).await.is_err());
        drop(answer);
        assert!(budget.hold(Bytes::from(vec![0; LARGE + 1])).await.is_ok());
    }
}
