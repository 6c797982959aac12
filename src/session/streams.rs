//! What is kept of GET streams: how many were opened, how long the last ones lived, how long nothing had been sent when
//! they ended, and who ended them. Plain numbers, of a session, of a client, and of the server as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rest::Rest;
use crate::clock::Moment;

/// Lives that are kept: the last ones. Two alike are a hint, three a pattern; more tell nothing new.
pub const LIVES: usize = 8;

/// A stream that ended sooner than this was closed by somebody who did not want it: no time-out of a proxy is as short.
pub const SHORT: Duration = Duration::from_secs(3);

/// How soon after the end of a stream its client opens the next one if it does that by itself. SDKs wait a second, or what
/// `retry:` says.
pub const REOPENED_WITHIN: Duration = Duration::from_secs(5);

/// Who ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The other end of the connection: the client, or a proxy between.
    #[default]
    Remote,
    /// Another stream of the session took its place.
    Displaced,
    /// Its session ended.
    Session,
    /// The server was told to end.
    Shutdown,
    /// It was to end from the start (`?wait=`).
    Polled,
}

impl End {
    /// All, in the order of [`Streams::ended`].
    pub const ALL: [Self; 5] = [Self::Remote, Self::Displaced, Self::Session, Self::Shutdown, Self::Polled];
}

/// A stream that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Life {
    /// When it was opened.
    pub opened: Moment,
    /// How long it lived, in milliseconds.
    pub ms: u32,
    /// How long nothing had been sent on it when it ended, in milliseconds.
    pub silence_ms: u32,
    /// Who ended it.
    pub end: End,
}

impl Life {
    /// When it ended.
    #[must_use]
    pub fn ended(&self) -> Moment {
        self.opened.plus(Duration::from_millis(self.ms.into()))
    }
}

/// Short lives one after the other, all ended in the same way: a loop, when there are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Row {
    /// How many.
    pub count: u32,
    /// When the first was opened.
    pub since: Moment,
    /// When the last one ended.
    pub until: Moment,
    /// How long the longest lived, in milliseconds.
    pub longest_ms: u32,
    /// Who ended them.
    pub end: End,
}

/// The history of GET streams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Streams opened, resumed ones included.
    pub opened: u32,
    /// Of them those that ended, by [`End::ALL`].
    pub ended: [u32; End::ALL.len()],
    /// The last lives; the oldest is overwritten.
    lives: [Life; LIVES],
    /// Short lives one after the other, up to now.
    pub row: Row,
    /// A proxy was on the way of the last one.
    pub proxied: bool,
    /// What `X-Envoy-Expected-Rq-Timeout-Ms` said of the last one that had it, in milliseconds; 0 for nothing.
    pub envoy_timeout_ms: u32,
    /// Streams opened with a `Last-Event-ID` that names no event of their session.
    pub foreign_ids: u32,
    /// What a newer release wrote beside these.
    #[serde(flatten)]
    pub rest: Rest,
}

/// What is known of the way to a stream's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// A proxy is on it.
    pub proxied: bool,
    /// What `X-Envoy-Expected-Rq-Timeout-Ms` says, in milliseconds; 0 for nothing.
    pub envoy_timeout_ms: u32,
}

impl Streams {
    /// A stream was opened.
    pub fn open(&mut self, way: Way) {
        bump(&mut self.opened);
        self.proxied = way.proxied;
        if way.envoy_timeout_ms > 0 {
            self.envoy_timeout_ms = way.envoy_timeout_ms;
        }
    }

    /// A stream ended.
    pub fn end(&mut self, life: Life) {
        let so_far: u32 = self.ended.iter().fold(0, |sum, count| sum.saturating_add(*count));
        self.lives[so_far as usize % LIVES] = life;
        bump(&mut self.ended[life.end as usize]);
        if !matches!(life.end, End::Remote | End::Displaced) {
            return;
        }
        let row = self.row;
        let goes_on = row.count > 0 && row.end == life.end && life.opened.since(row.until) <= REOPENED_WITHIN;
        self.row = if u128::from(life.ms) >= SHORT.as_millis() {
            Row::default()
        } else if goes_on {
            Row {
                count: row.count.saturating_add(1),
                until: life.ended(),
                longest_ms: row.longest_ms.max(life.ms),
                ..row
            }
        } else {
            Row { count: 1, since: life.opened, until: life.ended(), longest_ms: life.ms, end: life.end }
        };
    }

    /// How many ended.
    #[must_use]
    pub fn all_ended(&self) -> u32 {
        self.ended.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many ended in this way.
    #[must_use]
    pub fn ended_by(&self, end: End) -> u32 {
        self.ended[end as usize]
    }

    /// The kept lives, in no order.
    #[must_use]
    pub fn lives(&self) -> &[Life] {
        &self.lives[..LIVES.min(self.all_ended() as usize)]
    }

    /// The stream that ended last.
    #[must_use]
    pub fn last(&self) -> Option<Life> {
        let ended = self.all_ended();
        (ended > 0).then(|| self.lives[(ended as usize - 1) % LIVES])
    }
}

fn bump(count: &mut u32) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that was opened at `opened` and lived for `ms`.
    fn life(opened: u64, ms: u32, end: End) -> Life {
        Life { opened: Moment(opened), ms, silence_ms: 0, end }
    }

    #[test]
    fn the_last_lives_are_kept() {
        let mut streams = Streams::default();
        assert!(streams.lives().is_empty() && streams.last().is_none());
        for n in 0..10 {
            streams.open(Way::default());
            streams.end(life(u64::from(n) * 10_000, n, End::Remote));
        }
        assert_eq!((streams.opened, streams.all_ended(), streams.lives().len()), (10, 10, LIVES));
        assert_eq!((streams.last().unwrap().ms, streams.lives()[1].ms), (9, 9));
    }

    #[test]
    fn short_lives_one_after_the_other_are_a_row() {
        let mut streams = Streams::default();
        for n in 0..15 {
            streams.end(life(n * 333, 300, End::Remote));
        }
        let Row { count, since, until, longest_ms, end } = streams.row;
        assert_eq!((count, since, until, longest_ms, end), (15, Moment(0), Moment(4962), 300, End::Remote));
        // Whoever comes back after a while, or stays for longer, is no loop.
        streams.end(life(60_000, 300, End::Remote));
        assert_eq!(streams.row.count, 1);
        streams.end(life(60_500, 9_000, End::Remote));
        assert_eq!(streams.row.count, 0);
    }

    #[test]
    fn streams_that_end_as_they_should_break_no_row_and_make_none() {
        let mut streams = Streams::default();
        for end in [End::Remote, End::Polled, End::Session, End::Remote, End::Shutdown] {
            streams.end(life(0, 10, end));
        }
        assert_eq!((streams.row.count, streams.ended_by(End::Polled)), (2, 1));
        streams.end(life(20, 10, End::Displaced));
        assert_eq!((streams.row.count, streams.row.end), (1, End::Displaced));
    }
}
