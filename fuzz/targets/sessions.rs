//! Sessions against a model: whatever is done in whatever order, the manager, the queues and the streams say what a few
//! plain lists say. The clock stands still between operations.
#![no_main]

use std::fmt::Debug;
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::protocol::{Capabilities, ClientInfo, Revision};
use mcp_echo_stateful::session::streams::Way;
use mcp_echo_stateful::session::{
    Client, EndReason, Event, Identity, IdentitySource, Limits, LogLevel, MAX_STREAMS, Missing, NewSession, Over, Session,
    SessionGuard, SessionManager, Stream, Unbound, enter, read, sweep, write,
};
use uuid::Uuid;

const TIMEOUT: u64 = 60;
const WARNING: u64 = 10;
const MAX_SESSIONS: usize = 4;
const QUEUE_SIZE: usize = 4;

/// More operations than these are left out.
const MAX_OPERATIONS: usize = 400;

/// What is done. Numbers choose among what there is.
#[derive(Debug, Arbitrary)]
enum Operation {
    Create { owner: Option<bool> },
    Enter { session: u8, caller: Option<bool> },
    Leave { visit: u8 },
    Echo { visit: u8, message: u8 },
    Replay { visit: u8 },
    Log { session: u8, level: u8 },
    SetLevel { visit: u8, level: u8 },
    Open { visit: u8 },
    Resume { visit: u8, stream: u8, position: u8 },
    Next { stream: u8 },
    Close { stream: u8 },
    Advance { seconds: u8 },
    Sweep,
    End { session: u8 },
}

fuzz_target!(|operations: Vec<Operation>| {
    let mut both = Both::new();
    for operation in operations.into_iter().take(MAX_OPERATIONS) {
        both.apply(&operation);
        both.compare();
    }
    both.end();
});

/// A message of a queue, as the model has it.
#[derive(Debug)]
struct Message {
    number: u64,
    level: LogLevel,
    /// What its JSON has in it.
    text: String,
    /// The stream that had it.
    stream: Option<u32>,
}

/// A session's queue, as the model has it.
#[derive(Debug, Default)]
struct Mailbox {
    held: Vec<Message>,
    newest: u64,
    /// The last message that was delivered, or lost to a full queue.
    gone: u64,
    untold: u64,
    dropped: u64,
    /// What is gone of what streams had: the stream, the last number, how many; the last eight runs.
    lost: Vec<(u32, u64, u64)>,
    streams: u32,
    /// Open connections, oldest first: the number of the stream and that of the connection.
    open: Vec<(u32, usize)>,
}

impl Mailbox {
    fn pending(&self) -> usize {
        self.held.iter().filter(|message| message.number > self.gone).count()
    }

    fn push(&mut self, level: LogLevel, text: String) {
        if self.held.len() == QUEUE_SIZE {
            let oldest = self.held.remove(0);
            if oldest.stream.is_none() {
                self.untold += 1;
                self.dropped += 1;
                self.gone = oldest.number;
            }
            if let Some(stream) = oldest.stream {
                self.lose(stream, oldest.number, 1);
            }
        }
        self.newest += 1;
        self.held.push(Message { number: self.newest, level, text, stream: None });
    }

    fn lose(&mut self, stream: u32, to: u64, count: u64) {
        match self.lost.last_mut() {
            Some(last) if last.0 == stream => (last.1, last.2) = (to, last.2 + count),
            _ => self.lost.push((stream, to, count)),
        }
        if self.lost.len() > 8 {
            self.lost.remove(0);
        }
    }

    fn open(&mut self, last: Option<(u32, u64)>, connection: usize) -> (u32, u64, bool) {
        let resumed = last.filter(|(stream, at)| (1..=self.streams).contains(stream) && *at <= self.newest);
        let (stream, position) = resumed.unwrap_or_else(|| {
            self.streams += 1;
            (self.streams, self.gone - u64::from(self.untold > 0))
        });
        self.open.retain(|(other, _)| *other != stream);
        if self.open.len() == MAX_STREAMS {
            self.open.remove(0);
        }
        self.open.push((stream, connection));
        (stream, position, resumed.is_some())
    }

    /// Number and text of what comes next on a connection; `Err` when it is over.
    fn next(&mut self, own: (u32, usize), position: u64, least: LogLevel) -> Result<Option<(u64, String)>, Over> {
        if !self.open.contains(&own) {
            return Err(Over);
        }
        let stream = own.0;
        let missed: Vec<_> = self.lost.iter().filter(|(other, to, _)| *other == stream && *to > position).collect();
        if let (Some((_, last, _)), true) = (missed.last(), least <= LogLevel::Warning) {
            let count: u64 = missed.iter().map(|(_, to, count)| *count.min(&(to - position))).sum();
            return Ok(Some((*last, format!("\"dropped\":{count},"))));
        }
        if let Some(again) =
            self.held.iter().find(|message| message.number > position && message.stream == Some(stream))
        {
            return Ok(Some((again.number, again.text.clone())));
        }
        if self.open.last() != Some(&own) {
            return Ok(None);
        }
        let lost = std::mem::take(&mut self.untold);
        if lost > 0 {
            self.lose(stream, self.gone, lost);
        }
        if lost > 0 && least <= LogLevel::Warning {
            return Ok(Some((self.gone, format!("\"dropped\":{lost},"))));
        }
        let Some(next) = self.held.iter_mut().find(|message| message.number > self.gone) else { return Ok(None) };
        next.stream = Some(stream);
        self.gone = next.number;
        Ok(Some((next.number, next.text.clone())))
    }
}

/// A session, as the model has it.
#[derive(Debug)]
struct Known {
    id: Uuid,
    real: Weak<Session>,
    owner: Option<bool>,
    /// Visits and streams.
    holds: usize,
    /// In seconds.
    last_activity: u64,
    /// When it became idle, counted over all sessions.
    idle_since: u64,
    warned: bool,
    ended: Option<EndReason>,
    tries: u32,
    level: LogLevel,
    echoes: Vec<String>,
    replays: u64,
    mailbox: Mailbox,
}

impl Known {
    fn is_expired(&self, now: u64) -> bool {
        self.holds == 0 && self.last_activity + TIMEOUT <= now
    }

    fn log(&mut self, level: LogLevel, text: String) {
        if level >= self.level {
            self.mailbox.push(level, text);
        }
    }
}

/// A stream, and what the model knows of it.
struct Open {
    session: usize,
    real: Stream,
    connection: (u32, usize),
    position: u64,
}

/// The real thing and the model.
struct Both {
    clock: Arc<Clock>,
    manager: RwLock<SessionManager>,
    visits: Vec<(usize, SessionGuard)>,
    streams: Vec<Open>,
    sessions: Vec<Known>,
    /// In seconds.
    now: u64,
    idles: u64,
    connections: usize,
    messages: u64,
    refused: u64,
    ended: [u64; 4],
}

impl Both {
    fn new() -> Self {
        let clock = Arc::new(Clock::standing_still());
        let limits = Limits {
            timeout: Duration::from_secs(TIMEOUT),
            warning: Duration::from_secs(WARNING),
            max_sessions: MAX_SESSIONS,
            queue_size: QUEUE_SIZE,
            max_bytes: u64::MAX,
        };
        Self {
            manager: RwLock::new(SessionManager::new(limits, Arc::clone(&clock))),
            clock,
            visits: Vec::new(),
            streams: Vec::new(),
            sessions: Vec::new(),
            now: 0,
            idles: 0,
            connections: 0,
            messages: 0,
            refused: 0,
            ended: [0; 4],
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Create { owner } => self.create(owner),
            Operation::Enter { session, caller } => {
                if let Some(session) = pick(session, self.sessions.len()) {
                    self.enter(session, caller);
                }
            }
            Operation::Leave { visit } => {
                if let Some(visit) = pick(visit, self.visits.len()) {
                    let (session, visit) = self.visits.swap_remove(visit);
                    drop(visit);
                    self.release(session);
                }
            }
            Operation::Echo { visit, message } => {
                self.visit(visit, |known, real| {
                    let message = message.to_string();
                    known.echoes.push(message.clone());
                    let number = real.change(|working| working.echo(&message, None)).ok();
                    same(&number, &u64::try_from(known.echoes.len()).ok());
                });
            }
            Operation::Replay { visit } => {
                self.visit(visit, |known, real| {
                    known.replays += u64::from(!known.echoes.is_empty());
                    let replay = real.change(|working| working.replay());
                    let replay = replay.map(|replay| (replay.message, replay.replay_count));
                    same(&replay, &known.echoes.last().map(|last| (last.clone(), known.replays)));
                });
            }
            Operation::Log { session, level } => {
                let Some(session) = pick(session, self.sessions.len()) else { return };
                let known = &mut self.sessions[session];
                let Some(real) = known.real.upgrade() else { return };
                let level = LogLevel::ALL[usize::from(level) % LogLevel::ALL.len()];
                self.messages += 1;
                let text = format!("message {}.", self.messages);
                real.change(|working| working.log(level, || text.clone().into()));
                known.log(level, text);
            }
            Operation::SetLevel { visit, level } => {
                self.visit(visit, |known, real| {
                    known.level = LogLevel::ALL[usize::from(level) % LogLevel::ALL.len()];
                    let Mailbox { held, gone, .. } = &mut known.mailbox;
                    held.retain(|message| message.number <= *gone || message.level >= known.level);
                    real.change(|working| working.set_log_level(known.level));
                });
            }
            Operation::Open { visit } => self.open(visit, None),
            Operation::Resume { visit, stream, position } => {
                self.open(visit, Some((u32::from(stream), u64::from(position))));
            }
            Operation::Next { stream } => {
                if let Some(stream) = pick(stream, self.streams.len()) {
                    self.next(stream);
                }
            }
            Operation::Close { stream } => {
                if let Some(stream) = pick(stream, self.streams.len()) {
                    self.close(stream);
                }
            }
            Operation::Advance { seconds } => {
                self.now += u64::from(seconds);
                self.clock.advance(Duration::from_secs(u64::from(seconds)));
            }
            Operation::Sweep => self.sweep(),
            Operation::End { session } => {
                if let Some(session) = pick(session, self.sessions.len()) {
                    if let Some(real) = self.sessions[session].real.upgrade() {
                        write(&self.manager).end(&real, EndReason::Deleted);
                    }
                    self.finish(session, EndReason::Deleted);
                }
            }
        }
    }

    fn visit(&mut self, visit: u8, act: impl FnOnce(&mut Known, &Arc<Session>)) {
        if let Some(visit) = pick(visit, self.visits.len()) {
            let (session, visit) = &self.visits[visit];
            act(&mut self.sessions[*session], visit.session());
        }
    }

    fn create(&mut self, owner: Option<bool>) {
        let new = NewSession {
            protocol_version: Revision::V2025_11_25,
            client_info: ClientInfo::default(),
            client_capabilities: Capabilities::default(),
            owner: identity(owner).ok_or(Unbound::NoIdentity),
            address: None,
            client: Client::default(),
        };
        let full = self.alive().count() >= MAX_SESSIONS;
        // Who has most gives way; where nobody has more than one, or one has all, the longest idle.
        let count = |owner| self.alive().filter(|(_, known)| known.owner == owner).count();
        let (has, most) = (count(owner), [None, Some(false), Some(true)].map(count).into_iter().max().unwrap_or(0));
        let (own, held) = if has > 0 && has + 1 >= most { (true, has) } else { (false, most) };
        let anyones = held <= 1 || held == self.alive().count();
        let gives = |known: &Known| anyones || if own { known.owner == owner } else { count(known.owner) == held };
        let idle = || self.alive().filter(|(_, known)| known.holds == 0);
        let is_some_idle = idle().any(|(_, known)| gives(known));
        let may_end_busy = held > 2 * (has + 1);
        let created = write(&self.manager).create(new);
        let Ok((visit, evicted)) = created else {
            // Of several who have most only one is looked at.
            assert!(full && !may_end_busy && (!is_some_idle || !own), "refused with room");
            self.refused += 1;
            return;
        };
        assert_eq!(evicted.is_some(), full, "a session too many, or too few");
        if let Some(evicted) = evicted {
            let id = evicted.id();
            let (session, known) = self.alive().find(|(_, known)| known.id == id).expect("one that was alive");
            let expired = known.is_expired(self.now);
            assert!(expired || gives(known), "somebody else's");
            assert!(expired || known.holds == 0 || may_end_busy, "one that is in use");
            self.finish(session, if expired { EndReason::Expired } else { EndReason::Evicted });
        }
        self.sessions.push(Known {
            id: visit.session().id(),
            real: Arc::downgrade(visit.session()),
            owner,
            holds: 1,
            last_activity: self.now,
            idle_since: 0,
            warned: false,
            ended: None,
            tries: 0,
            level: LogLevel::default(),
            echoes: Vec::new(),
            replays: 0,
            mailbox: Mailbox::default(),
        });
        self.visits.push((self.sessions.len() - 1, visit));
    }

    fn alive(&self) -> impl Iterator<Item = (usize, &Known)> {
        self.sessions.iter().enumerate().filter(|(_, known)| known.ended.is_none())
    }

    fn enter(&mut self, session: usize, caller: Option<bool>) {
        let known = &mut self.sessions[session];
        let entered = enter(&self.manager, known.id, identity(caller).as_ref(), |_| ());
        let is_owner = known.owner.is_none() || known.owner == caller;
        let reason = known.ended.or(known.is_expired(self.now).then_some(EndReason::Expired));
        match (entered, reason) {
            (Ok(visit), None) if is_owner => {
                known.holds += 1;
                self.visits.push((session, visit));
            }
            (Err(Missing::Ended { reason, tries, .. }), Some(expected)) if is_owner => {
                known.tries += 1;
                same(&(reason, tries), &(expected, known.tries));
            }
            (Err(Missing::NotYours { anonymous }), _) if !is_owner && known.ended.is_none() => {
                same(&anonymous, &caller.is_none());
            }
            (Err(Missing::Unknown), Some(_)) if !is_owner && known.ended.is_some() => {}
            (entered, _) => panic!("{:?} for {caller:?} in {known:?}", entered.map(|_| "entered")),
        }
    }

    fn release(&mut self, session: usize) {
        let known = &mut self.sessions[session];
        known.holds -= 1;
        known.last_activity = self.now;
        if known.holds == 0 && known.ended.is_none() {
            self.idles += 1;
            known.idle_since = self.idles;
            known.warned = false;
        }
    }

    fn finish(&mut self, session: usize, reason: EndReason) {
        let known = &mut self.sessions[session];
        if known.ended.is_none() {
            known.ended = Some(reason);
            self.ended[reason as usize] += 1;
        }
    }

    fn open(&mut self, visit: u8, last: Option<(u32, u64)>) {
        let Some(visit) = pick(visit, self.visits.len()) else { return };
        let (session, visit) = &self.visits[visit];
        let known = &mut self.sessions[*session];
        let tag = visit.session().saved().queue.tag();
        let id = last.map(|(stream, position)| format!("{tag:08x}-{stream}-{position}"));
        let real = visit.session().open_stream(id.as_deref(), Client::default(), Way::default());
        self.connections += 1;
        let (stream, position, resumed) = known.mailbox.open(last, self.connections);
        known.holds += 1;
        same(&(real.position_id(), real.is_resumed()), &(format!("{tag:08x}-{stream}-{position}"), resumed));
        self.streams.push(Open { session: *session, real, connection: (stream, self.connections), position });
    }

    fn next(&mut self, stream: usize) {
        let open = &mut self.streams[stream];
        let known = &mut self.sessions[open.session];
        let expected = match known.ended {
            None => known.mailbox.next(open.connection, open.position, known.level),
            Some(_) => Err(Over),
        };
        match (open.real.try_next(), expected) {
            (Ok(Some(Event { id, json })), Ok(Some((position, text)))) => {
                open.position = position;
                assert!(id.ends_with(&format!("-{}-{position}", open.connection.0)), "{id}");
                assert!(json.contains(&text), "{json} where {text} was due");
            }
            (real, expected) => same(&real.map(|event| event.map(|event| event.id)), &expected.map(|_| None)),
        }
    }

    fn close(&mut self, stream: usize) {
        let Open { session, real, connection, .. } = self.streams.swap_remove(stream);
        drop(real);
        self.sessions[session].mailbox.open.retain(|other| *other != connection);
        self.release(session);
    }

    fn sweep(&mut self) {
        let removed = sweep(&self.manager);
        let expired: Vec<_> = self.alive().filter(|(_, known)| known.is_expired(self.now)).map(|(i, _)| i).collect();
        same(&removed, &expired.len());
        for session in expired {
            self.finish(session, EndReason::Expired);
        }
        let now = self.now;
        for known in self.sessions.iter_mut().filter(|known| known.ended.is_none() && known.holds == 0) {
            if !known.warned && known.last_activity + TIMEOUT - WARNING <= now {
                known.warned = true;
                known.log(LogLevel::Notice, "this session expires in".to_owned());
            }
        }
    }

    /// The figures that anybody can see.
    fn compare(&self) {
        let stats = read(&self.manager).stats();
        let there = || self.sessions.iter().filter(|known| known.ended.is_none() || known.holds > 0);
        let pending: usize = there().map(|known| known.mailbox.pending()).sum();
        let open: usize = there().map(|known| known.mailbox.open.len()).sum();
        same(&stats.active, &self.alive().count());
        same(&stats.created, &(self.sessions.len() as u64));
        same(&stats.refused, &self.refused);
        same(&[0, stats.expired, stats.deleted, stats.evicted], &self.ended);
        same(&stats.in_flight, &(self.visits.len() as u64));
        same(&stats.pending_messages, &(pending as u64));
        same(&stats.streams, &(open as u64));
        for known in &self.sessions {
            let real = known.real.upgrade();
            assert_eq!(real.is_some(), known.ended.is_none() || known.holds > 0, "kept or lost: {known:?}");
            let Some(real) = real else { continue };
            same(&real.ended(), &known.ended);
            same(&real.expires().is_some(), &(known.holds == 0));
            let figures = real.figures();
            let Mailbox { held, dropped, open, .. } = &known.mailbox;
            same(&(figures.held, figures.pending), &(held.len(), known.mailbox.pending()));
            same(&(figures.dropped, figures.streams), &(*dropped, open.len()));
        }
    }

    /// All leave, and all sessions expire: nothing is left but the table.
    fn end(mut self) {
        self.streams.clear();
        self.visits.clear();
        self.clock.advance(Duration::from_secs(TIMEOUT));
        sweep(&self.manager);
        let stats = read(&self.manager).stats();
        same(&(stats.active, stats.in_flight, stats.streams), &(0, 0, 0));
        same(&(stats.pending_messages, stats.queue_bytes), &(0, 0));
        assert!(stats.storage_bytes <= 64 * (MAX_SESSIONS as u64 + 4), "{} bytes of nothing", stats.storage_bytes);
    }
}

fn identity(number: Option<bool>) -> Option<Identity> {
    number.map(|number| Identity::new(number.to_string(), IdentitySource::X_USER_ID))
}

fn pick(number: u8, count: usize) -> Option<usize> {
    usize::from(number).checked_rem(count)
}

#[track_caller]
fn same<T: PartialEq + Debug>(real: &T, model: &T) {
    assert_eq!(real, model, "the real thing, and the model");
}
