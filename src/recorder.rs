//! The last exchanges over HTTP, as people look at them: a ring of so many, in so many bytes.
//!
//! What is in it is redacted when it comes in; nothing else is ever kept. A head that a connection has sent before costs a hash
//! and a reference.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Version};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::diagnosis::redact;
use crate::request::RequestId;
use crate::seen::Seen;
use crate::text::shorten;

mod operations;

pub use operations::{BOUNDS, Key, METHODS, Operation, Operations};

/// The most memory that recorded exchanges take together, in bytes.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// The most of a body that is recorded, in bytes.
pub const MOST_BODY: usize = 4 * 1024;
/// The most of a header's value that is recorded, in characters.
const MOST_VALUE: usize = 1024;
/// The most of a target that is recorded, in characters.
const MOST_TARGET: usize = 2048;

/// A request's head, redacted.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// `GET`, `POST`.
    pub method: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: &'static str,
    /// Names and values, in the order in which they came.
    pub headers: Vec<(Box<str>, Box<str>)>,
}

impl Head {
    fn of<B>(request: &Request<B>) -> Self {
        let header = |name: &http::HeaderName, value: &http::HeaderValue| {
            (name.as_str().into(), shorten(&redact::header(name.as_str(), value.as_bytes()), MOST_VALUE).into())
        };
        let target = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Self {
            method: request.method().as_str().into(),
            target: shorten(&redact::uri(&target), MOST_TARGET).into(),
            protocol: protocol(request.version()),
            headers: request.headers().iter().map(|(name, value)| header(name, value)).collect(),
        }
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| &**one == name).map(|(_, value)| &**value)
    }

    fn bytes(&self) -> usize {
        let headers =
            self.headers.iter().map(|(name, value)| size_of::<(Box<str>, Box<str>)>() + name.len() + value.len());
        size_of::<Self>() + self.method.len() + self.target.len() + headers.sum::<usize>()
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// The beginning of a session's id, which is all that is shown of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix([u8; 8]);

impl Prefix {
    /// Of an id; `None` where it does not begin like one.
    #[must_use]
    pub fn of(id: &[u8]) -> Option<Self> {
        let begins = id.first_chunk().filter(|begins: &&[u8; 8]| begins.iter().all(u8::is_ascii_alphanumeric));
        begins.copied().map(Self)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Letters and digits.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The last head of a connection, to know it again.
#[derive(Debug, Default)]
pub struct Known(Mutex<Option<(u64, Arc<Head>)>>);

/// An exchange: what came, and what became of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its number, from 1 in the order of the answers.
    pub number: u64,
    /// When it came.
    pub at: Timestamp,
    /// Until the head of the answer was there.
    pub took: Duration,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// `X-Request-Id`.
    pub id: RequestId,
    /// What came.
    pub head: Arc<Head>,
    /// Of the answer.
    pub status: u16,
    /// `Content-Type` of the answer.
    pub content_type: Option<HeaderValue>,
    /// The session that it was in, or made: the first eight characters of the id.
    pub session: Option<Prefix>,
    /// Why it was refused, redacted.
    pub refused: Option<Box<str>>,
    /// What was noted of it, and still is of a stream.
    pub seen: Arc<Seen>,
    /// What it adds to the memory.
    weight: usize,
}

/// What is known of an exchange when it is answered.
pub struct Answered {
    /// When it came.
    pub at: Timestamp,
    /// Until now.
    pub took: Duration,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// `X-Request-Id`.
    pub id: RequestId,
    /// What came.
    pub head: Arc<Head>,
    /// Of the answer.
    pub status: u16,
    /// `Content-Type` of the answer.
    pub content_type: Option<HeaderValue>,
    /// The first eight characters of the session's id.
    pub session: Option<Prefix>,
    /// Why it was refused, redacted.
    pub refused: Option<Box<str>>,
    /// What was noted of it.
    pub seen: Arc<Seen>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Recorder {
    most: usize,
    bodies: bool,
    /// So that nobody outside knows the hash of a head.
    seed: u64,
    ring: Mutex<Ring>,
    grown: Notify,
    operations: Operations,
}

#[derive(Debug, Default)]
struct Ring {
    exchanges: VecDeque<Exchange>,
    /// What was noted of an exchange that is gone, to be used again: what is recorded takes no memory anew.
    spare: Option<Arc<Seen>>,
    bytes: usize,
    /// Of the newest.
    number: u64,
}

impl Recorder {
    /// For `most` exchanges (0: none, only counted); `bodies`: with the beginnings of their bodies.
    #[must_use]
    pub fn new(most: usize, bodies: bool) -> Self {
        let (seed, operations) = (RandomState::new().hash_one(most), Operations::default());
        Self { most, bodies, seed, ring: Mutex::default(), grown: Notify::new(), operations }
    }

    /// Whether bodies are recorded.
    #[must_use]
    pub fn records_bodies(&self) -> bool {
        self.bodies
    }

    /// A head, redacted; the one that the connection sent last where it is the same.
    #[must_use]
    pub fn head<B>(&self, request: &Request<B>, known: &Known) -> Arc<Head> {
        let hash = self.hash(request);
        let mut known = known.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((last, head)) if *last == hash => Arc::clone(head),
            _ => {
                let head = Arc::new(Head::of(request));
                *known = Some((hash, Arc::clone(&head)));
                head
            }
        }
    }

    /// A number for a head: of two that differ it is the same once in 2^64 times, but for somebody who tries, whose own
    /// exchange then shows the head before.
    fn hash<B>(&self, request: &Request<B>) -> u64 {
        let mut hash = fold(self.seed, request.method().as_str().as_bytes());
        if let Some(target) = request.uri().path_and_query() {
            hash = fold(hash, target.as_str().as_bytes());
        }
        for (name, value) in request.headers() {
            hash = fold(fold(hash, name.as_str().as_bytes()), value.as_bytes());
        }
        hash
    }

    /// For what is noted of a request that came at `began`.
    #[must_use]
    pub fn seen(&self, began: Instant) -> Arc<Seen> {
        let spare = self.ring().spare.take();
        if let Some(mut seen) = spare
            && let Some(unused) = Arc::get_mut(&mut seen)
        {
            unused.reset(began);
            return seen;
        }
        Arc::new(Seen::new(began))
    }

    /// Takes in an exchange that is answered.
    pub fn record(&self, answered: Answered) {
        self.operations.count(&answered);
        if self.most == 0 {
            return;
        }
        let Answered { at, took, peer, id, head, status, content_type, session, refused, seen } = answered;
        let refused_bytes = refused.as_ref().map_or(0, |text| text.len());
        let mut ring = self.ring();
        let is_known = ring.exchanges.back().is_some_and(|last| Arc::ptr_eq(&last.head, &head));
        let weight = size_of::<Exchange>()
            + size_of::<Seen>()
            + refused_bytes
            + seen.bytes()
            + if is_known { 0 } else { head.bytes() };
        ring.number += 1;
        ring.bytes += weight;
        let number = ring.number;
        let exchange =
            Exchange { number, at, took, peer, id, head, status, content_type, session, refused, seen, weight };
        ring.exchanges.push_back(exchange);
        while ring.exchanges.len() > self.most || (ring.bytes > MOST_BYTES && ring.exchanges.len() > 1) {
            let Some(oldest) = ring.exchanges.pop_front() else { break };
            ring.bytes -= oldest.weight;
            ring.spare = Some(oldest.seen);
        }
        drop(ring);
        self.grown.notify_waiters();
    }

    /// The exchanges after number `after` that are still there, oldest first, at most `most` of them.
    #[must_use]
    pub fn after(&self, after: u64, most: usize) -> Vec<Exchange> {
        let ring = self.ring();
        let first = ring.exchanges.partition_point(|exchange| exchange.number <= after);
        ring.exchanges.iter().skip(first).take(most).cloned().collect()
    }

    /// The newest `most` exchanges, oldest first.
    #[must_use]
    pub fn newest(&self, most: usize) -> Vec<Exchange> {
        let ring = self.ring();
        let first = ring.exchanges.len().saturating_sub(most);
        ring.exchanges.iter().skip(first).cloned().collect()
    }

    /// Becomes ready when an exchange comes in. To be called before a look.
    pub fn grown(&self) -> tokio::sync::futures::Notified<'_> {
        self.grown.notified()
    }

    /// What was counted of all exchanges, those that are gone included.
    #[must_use]
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// How many there are, the most, and their memory in bytes.
    #[must_use]
    pub fn held(&self) -> (usize, usize, usize) {
        let ring = self.ring();
        (ring.exchanges.len(), self.most, ring.bytes)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mixes bytes into a hash, eight at a time, by the high and the low half of a product.
fn fold(hash: u64, bytes: &[u8]) -> u64 {
    /// 2^64 divided by the golden ratio, made odd.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(MIX);
        #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
        let halves = (product as u64, (product >> 64) as u64);
        halves.0 ^ halves.1.rotate_left(23)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    // The length tells where one text ends and the next begins.
    step(step(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}

/// The beginning of a body, redacted.
#[must_use]
pub fn body(bytes: &[u8]) -> Box<str> {
    // Twice as much is looked at, so that no secret is cut in two at the end of what is kept.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2 * MOST_BODY)]);
    shorten(&redact::value(&text), MOST_BODY).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method("POST").uri("/mcp?access_token=eyJhbGciOiJSUzI1NiJ9.e30.c2ln");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn record(recorder: &Recorder, known: &Known, request: &Request<()>, refused: Option<&str>) {
        recorder.record(Answered {
            at: Timestamp::UNIX_EPOCH,
            took: Duration::from_millis(1),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            id: RequestId::generate(),
            head: recorder.head(request, known),
            status: 200,
            content_type: None,
            session: None,
            refused: refused.map(Into::into),
            seen: Arc::new(Seen::new(Instant::now())),
        });
    }

    #[test]
    fn nothing_that_is_secret_is_kept() {
        let recorder = Recorder::new(10, false);
        let secret = "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl";
        record(&recorder, &Known::default(), &request(&[("authorization", secret), ("x", "1"), ("x", "2")]), None);
        let exchange = &recorder.newest(1)[0];
        let shown = format!("{exchange:?}");
        assert!(!shown.contains("c2ln"), "{shown}");
        let names: Vec<_> = exchange.head.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(names[1..], [("x", "1"), ("x", "2")]);
    }

    #[test]
    fn a_head_that_came_before_is_kept_once() {
        let (recorder, known) = (Recorder::new(10, false), Known::default());
        for value in ["1", "1", "2"] {
            record(&recorder, &known, &request(&[("x", value)]), None);
        }
        let heads: Vec<_> = recorder.newest(3).iter().map(|exchange| Arc::clone(&exchange.head)).collect();
        assert!(Arc::ptr_eq(&heads[0], &heads[1]) && !Arc::ptr_eq(&heads[1], &heads[2]));
    }

    #[test]
    fn there_are_so_many_and_they_take_so_much_memory() {
        let (recorder, known) = (Recorder::new(100, false), Known::default());
        for n in 0..1000 {
            record(&recorder, &known, &request(&[("x", &n.to_string())]), None);
        }
        let held = recorder.newest(1000);
        assert_eq!((held.len(), held[0].number, held[99].number), (100, 901, 1000));
        assert_eq!(recorder.after(995, 3).iter().map(|one| one.number).collect::<Vec<_>>(), [996, 997, 998]);
        let large = "x".repeat(100_000);
        for _ in 0..1000 {
            record(&recorder, &known, &request(&[]), Some(&large));
        }
        let (count, _, bytes) = recorder.held();
        assert!(bytes <= MOST_BYTES && count < 200, "{count} with {bytes} bytes");
    }

    #[test]
    fn the_beginning_of_a_body_shows_no_secret() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlc2lnbmF0dXJl";
        let text = format!("{} \"{token}\" {}", "x".repeat(MOST_BODY - 30), "y".repeat(MOST_BODY));
        let kept = body(text.as_bytes());
        assert!(kept.chars().count() <= MOST_BODY + 1 && !kept.contains("c2lnb"), "{}", &kept[MOST_BODY - 40..]);
        assert_eq!(&*body(b"\xff{}"), "\u{fffd}{}");
    }
}
