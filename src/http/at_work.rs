//! How long a request is at work: until its answer has been handed on to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Response;
use hyper::body::{Frame, SizeHint};

use super::budget::LARGE;
use crate::connections::AtWork;

/// `response`, with `at_work` kept until a stream, or a large body, has been handed on to its end. What is small counts as
/// sent when it is made: a client that takes longer for 64 KiB than a connection is waited for loses the rest.
#[must_use]
pub fn kept_at_work(response: Response<Body>, at_work: AtWork) -> Response<Body> {
    match response.body().size_hint().exact() {
        Some(size) if size <= LARGE as u64 => response,
        _ => response.map(|body| Body::new(Kept { body, _at_work: at_work })),
    }
}

/// A body whose request is at work until it is gone.
struct Kept {
    body: Body,
    _at_work: AtWork,
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Version;

    use super::*;
    use crate::connections::Activity;

    const PATIENCE: Duration = Duration::from_secs(120);

    /// Whether a connection is still waited for long after `body` was made the answer to its request, and whether it is long
    /// after the answer was gone.
    async fn waits(body: Body) -> (bool, bool) {
        let activity = Activity::new();
        let answer = kept_at_work(Response::new(body), activity.begin(Version::HTTP_11));
        tokio::time::advance(PATIENCE * 2).await;
        let meanwhile = activity.look_again(PATIENCE).is_some();
        drop(answer);
        tokio::time::advance(PATIENCE * 2).await;
        (meanwhile, activity.look_again(PATIENCE).is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn streams_and_large_answers_keep_their_connection_at_work() {
        assert_eq!(
            waits(Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>())).await,
            (true, false)
        );
        assert_eq!(waits(Body::from(vec![0; LARGE + 1])).await, (true, false));
        assert_eq!(waits(Body::from(vec![0; LARGE])).await, (false, false), "what is small counts as sent");
        assert_eq!(waits(Body::empty()).await, (false, false));
    }
}
