//! What is seen of a request while it is worked on, for the recorder: what it asks for, the findings that it raised, what
//! went out on its stream. Noted by whoever knows it; nobody hands it along: the thread knows whose request it works on.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The most findings of a request that are noted: more than a request raises.
const MAX_FINDINGS: usize = 32;
/// The most events of a stream whose times are kept: the last ones.
pub const MAX_EVENTS: usize = 64;

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The JSON-RPC method; `response` and `batch` for what has none.
    pub method: Cow<'static, str>,
    /// The tool that it calls, where this server has none of that name.
    pub tool: Option<Box<str>>,
    /// The tool that it calls, where this server has it.
    pub known_tool: Option<&'static str>,
    /// The request's id.
    pub id: Option<AskedId>,
}

impl Asked {
    /// The tool that it calls.
    #[must_use]
    pub fn tool(&self) -> Option<&str> {
        self.known_tool.or(self.tool.as_deref())
    }
}

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedId {
    /// A whole number, as most are.
    Number(u64),
    /// Another one, as JSON, fit to be shown.
    Json(Box<str>),
}

/// What became of a stream so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamSeen {
    /// Events with a message.
    pub events: u64,
    /// When the last [`MAX_EVENTS`] were sent, after the request came.
    pub times: VecDeque<Duration>,
    /// Signs of life without a message.
    pub kept_alive: u64,
    /// Who ended it, when, and how long nothing had been sent by then.
    pub end: Option<(StreamEnd, Duration, Duration)>,
}

/// Who ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The server: the session ended, another stream took its place, it was polled, or the server stops.
    Server,
    /// The other end: the client, or what stands between.
    Client,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Seen {
    began: Instant,
    asked: OnceLock<Asked>,
    rest: Mutex<Rest>,
}

/// What hardly any request has.
#[derive(Debug, Default)]
struct Rest {
    findings: Vec<&'static str>,
    stream: Option<Box<StreamSeen>>,
    request: Option<Box<str>>,
    answer: Option<Box<str>>,
}

thread_local! {
    /// Of the request that this thread works on.
    static CURRENT: RefCell<Option<Arc<Seen>>> = const { RefCell::new(None) };
}

/// The request that this thread works on, where it is recorded.
#[must_use]
pub fn current() -> Option<Arc<Seen>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Works on a request: what is noted meanwhile is noted of it.
pub fn within<T>(seen: Option<&Arc<Seen>>, work: impl FnOnce() -> T) -> T {
    /// Puts back what was, also where the work panicked.
    struct Outer(Option<Arc<Seen>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let Some(seen) = seen else { return work() };
    let _outer = Outer(CURRENT.replace(Some(Arc::clone(seen))));
    work()
}

/// Notes of the request that this thread works on that it raised a finding.
pub fn finding(id: &'static str) {
    CURRENT.with_borrow(|current| {
        if let Some(seen) = current {
            seen.note_finding(id);
        }
    });
}

impl Seen {
    /// Of a request that came at `began`.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        Self { began, asked: OnceLock::new(), rest: Mutex::default() }
    }

    /// Begins anew, of a request that came at `began`.
    pub fn reset(&mut self, began: Instant) {
        self.began = began;
        self.asked.take();
        // What it has of its own is given back; hardly any has something.
        *self.rest.get_mut().unwrap_or_else(PoisonError::into_inner) = Rest::default();
    }

    /// When it came.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Notes what it asks for; the first time counts.
    pub fn ask(&self, asked: Asked) {
        let _again = self.asked.set(asked);
    }

    /// What it asks for; `None` where no message came, or none that could be read.
    #[must_use]
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.get()
    }

    fn note_finding(&self, id: &'static str) {
        let findings = &mut self.rest().findings;
        if findings.len() < MAX_FINDINGS && !findings.contains(&id) {
            findings.push(id);
        }
    }

    /// The ids of the findings that it raised.
    #[must_use]
    pub fn findings(&self) -> Vec<&'static str> {
        self.rest().findings.clone()
    }

    /// Notes the beginning of its body, and of its answer's; redacted.
    pub fn note_bodies(&self, request: Option<Box<str>>, answer: Option<Box<str>>) {
        let mut rest = self.rest();
        rest.request = request.or(rest.request.take());
        rest.answer = answer.or(rest.answer.take());
    }

    /// The beginning of its body, and of its answer's, where they are recorded.
    #[must_use]
    pub fn bodies(&self) -> (Option<Box<str>>, Option<Box<str>>) {
        let rest = self.rest();
        (rest.request.clone(), rest.answer.clone())
    }

    /// An event with a message went out on its stream.
    pub fn event_sent(&self) {
        let at = self.began.elapsed();
        let mut rest = self.rest();
        let stream = rest.stream.get_or_insert_default();
        stream.events += 1;
        if stream.times.len() == MAX_EVENTS {
            stream.times.pop_front();
        }
        stream.times.push_back(at);
    }

    /// A sign of life went out on it.
    pub fn kept_alive(&self) {
        self.rest().stream.get_or_insert_default().kept_alive += 1;
    }

    /// It is a stream, open from now on.
    pub fn stream_opened(&self) {
        self.rest().stream.get_or_insert_default();
    }

    /// Its stream ended; the first time counts.
    pub fn stream_ended(&self, by: StreamEnd, silence: Duration) {
        let at = self.began.elapsed();
        self.rest().stream.get_or_insert_default().end.get_or_insert((by, at, silence));
    }

    /// Its stream, if it is one.
    #[must_use]
    pub fn stream(&self) -> Option<StreamSeen> {
        self.rest().stream.as_deref().cloned()
    }

    /// Memory that it takes beside itself, in bytes, about: bodies, which do not grow any more.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rest = self.rest();
        let texts = [&rest.request, &rest.answer];
        texts.iter().map(|text| text.as_ref().map_or(0, |text| text.len())).sum()
    }

    /// What is noted is plain data, good whatever happened to who noted it.
    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_noted_of_the_request_that_is_worked_on() {
        let seen = [0; 2].map(|_| Arc::new(Seen::new(Instant::now())));
        finding("nobody's");
        within(Some(&seen[0]), || {
            finding("a");
            within(Some(&seen[1]), || finding("b"));
            within(None, || finding("c"));
            finding("a");
        });
        finding("nobody's");
        assert_eq!((seen[0].findings(), seen[1].findings()), (vec!["a", "c"], vec!["b"]));
    }

    #[test]
    fn of_a_long_stream_the_last_events_have_their_times() {
        let seen = Seen::new(Instant::now());
        (0..100).for_each(|_| seen.event_sent());
        seen.stream_ended(StreamEnd::Client, Duration::from_secs(1));
        seen.stream_ended(StreamEnd::Server, Duration::ZERO);
        let stream = seen.stream().unwrap();
        assert_eq!((stream.events, stream.times.len()), (100, MAX_EVENTS));
        assert_eq!(stream.end.unwrap().0, StreamEnd::Client);
    }
}
