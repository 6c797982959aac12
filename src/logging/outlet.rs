//! Where lines go without anybody waiting until they are there: a bounded queue, and a thread that empties it.
//!
//! Who logs must never wait for who reads: a full pipe, a slow disk or a terminal that was stopped with Ctrl-S would stop
//! requests, the health probe and signals with it. What does not fit the queue is lost, and counted; the count is logged
//! when there is room again.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::flood::Flood;
use super::target::Target;
use crate::text::is_unsafe;

/// The most lines that wait: four seconds of what requests may log.
const MAX_LINES: usize = 4096;

/// The most bytes that wait, the longest line among them.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The longest line; more is cut off. Whatever a caller chooses is shortened before.
const MAX_LINE: usize = 16 * 1024;

/// The least time between two lines about lost ones, and how long one waits for a quiet moment.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two lines about an outlet that fails: one that fails for every other line is told once.
const FAILING_INTERVAL: Duration = Duration::from_secs(60);

/// How long a target that is full for the moment is left alone: a terminal that another program made non-blocking.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Takes lines for one target.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    queue: SyncSender<Message>,
    state: Arc<State>,
}

enum Message {
    Line(Box<[u8]>),
    Reopen,
    End,
}

/// What is known of an outlet. Shared with who asks for its health.
#[derive(Debug)]
pub(super) struct State {
    /// As operators know it: `stdout`, `LOG_FILE`.
    name: &'static str,
    held: AtomicUsize,
    /// Lost and not yet told.
    untold: AtomicU64,
    lost: AtomicU64,
    /// Whether the last line was written.
    trouble: Mutex<Trouble>,
    has_trouble: AtomicBool,
}

#[derive(Debug, Default)]
struct Trouble {
    /// Why the last line could not be written, and since when none could.
    failing: Option<(String, Instant)>,
    /// When lines were last lost because too many waited.
    full: Option<Instant>,
    told: Option<Instant>,
}

/// The thread of an outlet.
#[derive(Debug)]
pub(super) struct Worker {
    ended: Receiver<()>,
}

impl Worker {
    /// Whether the thread ended before `deadline`.
    pub fn ends_before(&self, deadline: Instant) -> bool {
        self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) != Err(RecvTimeoutError::Timeout)
    }
}

impl Outlet {
    /// Starts the thread that writes to `target`. `flood` says what was left out before it came here.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn to(target: Target, flood: Arc<Flood>) -> io::Result<(Self, Worker)> {
        let (queue, lines) = sync_channel(MAX_LINES);
        let (ending, ended) = sync_channel(1);
        let state = Arc::new(State {
            name: target.name(),
            held: AtomicUsize::new(0),
            untold: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            trouble: Mutex::default(),
            has_trouble: AtomicBool::new(false),
        });
        let writer = Writer { target, state: Arc::clone(&state), flood, last_told: None };
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            writer.work(&lines);
            // Nobody waits for it any more where this fails.
            let _ = ending.try_send(());
        })?;
        Ok((Self { queue, state }, Worker { ended }))
    }

    /// What is known of it.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// Has the file opened again, by its name, before the next line.
    pub fn reopen(&self) {
        let _ = self.queue.try_send(Message::Reopen);
    }

    /// Ends the thread when it has written what waits. Not said where the queue is full: then it would not end either.
    pub fn end(&self) {
        let _ = self.queue.try_send(Message::End);
    }

    fn send(&self, line: &[u8]) {
        let line = &*escaped(line);
        let line: Box<[u8]> = match line.get(..MAX_LINE) {
            Some(start) if line.len() > MAX_LINE => [start, "…\n".as_bytes()].concat().into(),
            _ => line.into(),
        };
        let size = line.len();
        let state = &self.state;
        let fits = state.held.fetch_add(size, Ordering::Relaxed) + size <= MAX_BYTES;
        if !fits || self.queue.try_send(Message::Line(line)).is_err() {
            state.held.fetch_sub(size, Ordering::Relaxed);
            state.lose();
        }
    }
}

/// `line` without what could reorder it or hide in it. Control characters are the formats' own business: colours are made of
/// them, and both escape those of callers. What is escaped here is so in JSON's way (RFC 8259 section 7), for both.
fn escaped(line: &[u8]) -> Cow<'_, [u8]> {
    let is_hidden = |c: &char| !c.is_ascii() && is_unsafe(*c);
    match std::str::from_utf8(line) {
        Ok(text) if !line.is_ascii() && text.chars().any(|c| is_hidden(&c)) => {
            let mut out = String::with_capacity(line.len() + 8);
            for c in text.chars() {
                if is_hidden(&c) {
                    for part in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{part:04x}");
                    }
                } else {
                    out.push(c);
                }
            }
            Cow::Owned(out.into_bytes())
        }
        _ => Cow::Borrowed(line),
    }
}

/// One line is written at a time, whole.
impl Write for &Outlet {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    /// Lines that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What is wrong at `now`, for operators; `recent` is how long the loss of a line counts.
    pub fn trouble(&self, now: Instant, recent: Duration) -> Option<String> {
        if !self.has_trouble.load(Ordering::Relaxed) {
            return None;
        }
        let (name, lost) = (self.name, self.lost());
        let trouble = lock(&self.trouble);
        if let Some((why, since)) = &trouble.failing {
            let seconds = now.saturating_duration_since(*since).as_secs();
            return Some(format!(
                "{name} has taken no log line for {seconds} s: {why}; {lost} lines were lost since the start"
            ));
        }
        let full = trouble.full.filter(|at| now.saturating_duration_since(*at) < recent);
        full.map(|_| format!("{name} is read too slowly: {lost} log lines were lost since the start"))
    }

    fn lose(&self) {
        self.count_lost();
        self.has_trouble.store(true, Ordering::Relaxed);
        lock(&self.trouble).full = Some(Instant::now());
    }

    fn count_lost(&self) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the thread works with.
struct Writer {
    target: Target,
    state: Arc<State>,
    flood: Arc<Flood>,
    last_told: Option<Instant>,
}

impl Writer {
    fn work(mut self, lines: &Receiver<Message>) {
        loop {
            let next = if self.has_news() {
                match lines.recv_timeout(TELL_INTERVAL) {
                    Err(RecvTimeoutError::Timeout) => {
                        self.tell();
                        continue;
                    }
                    other => other.ok(),
                }
            } else {
                lines.recv().ok()
            };
            match next {
                Some(Message::Line(line)) => {
                    self.write(&line);
                    self.state.held.fetch_sub(line.len(), Ordering::Relaxed);
                }
                Some(Message::Reopen) => match self.target.reopen() {
                    Ok(true) => tracing::info!("{} was opened again", self.state.name),
                    Ok(false) => {}
                    Err(error) => tracing::error!("{} goes on as it was: {error}", self.state.name),
                },
                Some(Message::End) | None => return,
            }
            if self.has_news() && self.last_told.is_none_or(|at| at.elapsed() >= TELL_INTERVAL) {
                self.tell();
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        match self.write_whole(line) {
            Ok(()) if self.state.has_trouble.load(Ordering::Relaxed) => self.recovered(),
            Ok(()) => {}
            Err(error) => self.failed(&error),
        }
    }

    fn write_whole(&mut self, mut line: &[u8]) -> io::Result<()> {
        while !line.is_empty() {
            match self.target.write(line) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => line = &line[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn failed(&self, error: &io::Error) {
        self.state.count_lost();
        let is_news = {
            let mut trouble = lock(&self.state.trouble);
            self.state.has_trouble.store(true, Ordering::Relaxed);
            let is_first = trouble.failing.is_none();
            let since = trouble.failing.take().map_or_else(Instant::now, |(_, since)| since);
            trouble.failing = Some((error.to_string(), since));
            let is_news = is_first && trouble.told.is_none_or(|at| at.elapsed() >= FAILING_INTERVAL);
            if is_news {
                trouble.told = Some(Instant::now());
            }
            is_news
        };
        if is_news {
            tracing::error!("{} takes no log lines: {error}", self.state.name);
        }
    }

    fn recovered(&self) {
        let mut trouble = lock(&self.state.trouble);
        trouble.failing = None;
        // A full queue is remembered: that it was too slow is known by those who ask within a minute.
        self.state.has_trouble.store(trouble.full.is_some(), Ordering::Relaxed);
    }

    fn has_news(&self) -> bool {
        self.state.untold.load(Ordering::Relaxed) > 0 || self.flood.has_left_out()
    }

    /// Logs what was lost or left out, where lines can be written again.
    fn tell(&mut self) {
        self.last_told = Some(Instant::now());
        self.flood.tell();
        if lock(&self.state.trouble).failing.is_none() {
            let lost = self.state.untold.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lost, "log lines were lost: {} took them too slowly, or not at all", self.state.name);
            }
        }
    }
}

/// Plain data: usable whoever panicked with it.
fn lock(trouble: &Mutex<Trouble>) -> MutexGuard<'_, Trouble> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}
