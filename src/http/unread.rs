//! Large answers that their client does not read are given up.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::{Buf as _, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

use super::budget::LARGE;

/// The most bytes of a large body that are handed on at a time: so much may stay behind in the HTTP library, uncounted,
/// when its client stops reading.
const CHUNK: usize = 16 * 1024;

/// `response`, but a large body that is there as a whole is given up, with its share of the budget, when its client has
/// taken nothing of it for `unread`: TCP does not notice an HTTP/2 stream whose window is closed (RFC 9113 section 5.2).
/// The stream is then reset when the client wants more.
#[must_use]
pub fn unless_unread(response: Response, unread: Duration) -> Response {
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
