//! Streams of calls whose connection was let go of before the answer (SEP-1699): kept until their client comes back.

use std::collections::VecDeque;

use super::instance::Name;
use crate::protocol::CallStream;

/// The most suspended streams of a session; the next one pushes the oldest out, and its answer is lost.
pub const MAX_SUSPENDED: usize = 8;

/// The instance that has the rest of the call whose stream was suspended as `id`; `None` where it is no such id.
#[must_use]
pub fn suspended_in(id: &str) -> Option<&str> {
    let (instance, number) = id.trim().strip_prefix("call-")?.strip_suffix("-0")?.split_once('-')?;
    let is_name = instance.len() == 4 && instance.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_name && number.parse::<u32>().is_ok()).then_some(instance)
}

/// Suspended streams, oldest first.
#[derive(Default)]
pub struct SuspendedStreams {
    kept: VecDeque<(String, CallStream)>,
    ids: u32,
}

impl SuspendedStreams {
    /// A new event id: `call-` tells it from the ids of GET streams, and then it says in which instance the rest is.
    pub fn next_id(&mut self, here: Name) -> String {
        self.ids += 1;
        format!("call-{here}-{}-0", self.ids)
    }

    /// Keeps a stream. Returns the one that it pushed out.
    pub fn keep(&mut self, id: &str, rest: CallStream) -> Option<(String, CallStream)> {
        let pushed_out = if self.kept.len() >= MAX_SUSPENDED { self.kept.pop_front() } else { None };
        self.kept.push_back((id.to_owned(), rest));
        pushed_out
    }

    /// Takes a stream out.
    pub fn take(&mut self, id: &str) -> Option<CallStream> {
        let i = self.kept.iter().position(|(kept, _)| kept == id.trim())?;
        self.kept.remove(i).map(|(_, rest)| rest)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::stream::empty;

    use super::*;
    use crate::clock::Moment;
    use crate::session::instance::Instance;

    #[test]
    fn the_oldest_is_pushed_out_and_each_is_taken_once() {
        let mut streams = SuspendedStreams::default();
        let here = Instance::new(Moment(0)).name();
        let ids: Vec<String> = (0..=MAX_SUSPENDED).map(|_| streams.next_id(here)).collect();
        let pushed_out = ids.iter().filter(|id| streams.keep(id, empty().boxed()).is_some()).count();
        assert_eq!(pushed_out, 1);
        assert!(streams.take(&ids[0]).is_none());
        assert!(streams.take(&ids[1]).is_some());
        assert!(streams.take(&ids[1]).is_none());
    }
}
