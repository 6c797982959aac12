//! What a call sends before its answer, on the call's own stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a call sends before its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A JSON-RPC notification.
    Notification(String),
    /// The connection may be closed; the client comes back for the rest (SEP-1699).
    Suspend,
}

/// Where what a call sends before its answer goes: bounded; what does not fit is dropped. The calls of a POST share one.
///
/// Not a channel, which takes memory for messages when it is made: most calls that get an outbox send nothing.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<VecDeque<Sent>>,
    sent: Notify,
}

impl Outbox {
    /// Notifications that may wait for a slow reader. Progress comes about once a second.
    const CAPACITY: usize = 64;

    /// Sends a notification, if there is room. A reader that is slow, or gone, is not the call's business.
    pub fn send(&self, notification: String) {
        self.put(Sent::Notification(notification));
    }

    /// Asks to let go of the connection.
    pub(super) fn suspend(&self) {
        self.put(Sent::Suspend);
    }

    fn put(&self, outgoing: Sent) {
        let mut waiting = self.waiting();
        if waiting.len() < Self::CAPACITY {
            waiting.push_back(outgoing);
            drop(waiting);
            self.0.sent.notify_one();
        }
    }

    /// What was sent first, if anything waits. There is one reader.
    #[must_use]
    pub fn try_next(&self) -> Option<Sent> {
        self.waiting().pop_front()
    }

    /// Waits for what is sent next. Nothing is lost when the future is dropped.
    pub async fn next(&self) -> Sent {
        loop {
            if let Some(outgoing) = self.try_next() {
                return outgoing;
            }
            // A permit is kept where something was sent since.
            self.0.sent.notified().await;
        }
    }

    /// What it holds is good whatever happened to a holder of the lock.
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_comes_out_in_order_and_what_does_not_fit_is_dropped() {
        let outbox = Outbox::default();
        for n in 0..Outbox::CAPACITY + 5 {
            outbox.send(n.to_string());
        }
        for n in 0..Outbox::CAPACITY {
            assert_eq!(outbox.next().await, Sent::Notification(n.to_string()));
        }
        assert_eq!(outbox.try_next(), None);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let outbox = Outbox::default();
        let sender = outbox.clone();
        let (got, ()) = tokio::join!(outbox.next(), async move {
            tokio::task::yield_now().await;
            sender.suspend();
        });
        assert_eq!(got, Sent::Suspend);
    }
}
