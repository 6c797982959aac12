//! Memory for what is large: bodies while they arrive and are worked on, answers until their client has read them.
//!
//! What is small is bounded by the number of connections and calls. What is large would not be: ten thousand clients that
//! send megabytes slowly, or do not read the megabytes that they asked for. All of it together has one bound; who comes
//! when it is used up hears 503.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Buf as _, Bytes};
use http::{Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::refusal::{RETRY_AFTER_S, Refusal};
use crate::protocol::RpcError;

/// What is larger is counted, in bytes.
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

/// The most bytes of a large body that are handed on at a time: so much may stay behind in the HTTP library, uncounted,
/// when its client stops reading.
const CHUNK: usize = 16 * 1024;

/// `response`, but a large body that is there as a whole is given up, with its share, when its client has taken nothing of
/// it for `unread`: a stream whose window is closed (RFC 9113 section 5.2) looks well to TCP. The stream is then reset
/// when the client wants more.
#[must_use]
pub fn unless_unread(response: Response<Body>, unread: Duration) -> Response<Body> {
    match response.body().size_hint().exact() {
        Some(size) if size > LARGE as u64 => response.map(|body| Body::new(Unread::new(body, size, unread))),
        _ => response,
    }
}

/// What is left of a large body. The HTTP library does not ask for more while the window is closed, so that a task has to
/// look after it.
struct Unread {
    rest: Arc<Mutex<Rest>>,
    left: u64,
    /// Tells the task that something was taken; dropped with the body, which ends it.
    taken: watch::Sender<()>,
}

struct Rest {
    /// `None` when it was given up.
    body: Option<Body>,
    /// Of it, what was read and not yet handed on.
    frame: Bytes,
}

impl Unread {
    fn new(body: Body, left: u64, unread: Duration) -> Self {
        let rest = Arc::new(Mutex::new(Rest { body: Some(body), frame: Bytes::new() }));
        let (taken, mut progress) = watch::channel(());
        let watched = Arc::clone(&rest);
        tokio::spawn(async move {
            loop {
                match tokio::time::timeout(unread, progress.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) => break,
                }
            }
            let given_up = std::mem::replace(&mut *lock(&watched), Rest { body: None, frame: Bytes::new() });
            tracing::info!("a large answer was given up: its client read nothing of it for {} s", unread.as_secs());
            drop(given_up);
        });
        Self { rest, left, taken }
    }
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let rest = &mut *lock(&this.rest);
        let Some(body) = &mut rest.body else {
            return Poll::Ready(Some(Err(axum::Error::new("given up: nothing of it was read for too long"))));
        };
        if rest.frame.is_empty() {
            match std::task::ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => rest.frame = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        // A copy: a part of the frame would hold all of it, and its share, for as long as the library holds the part.
        let chunk = Bytes::copy_from_slice(&rest.frame[..rest.frame.len().min(CHUNK)]);
        rest.frame.advance(chunk.len());
        this.left = this.left.saturating_sub(chunk.len() as u64);
        this.taken.send_replace(());
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A holder that panicked left plain data behind.
fn lock(rest: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
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
