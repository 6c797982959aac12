//! Sessions in a file on this machine's disk: what was acknowledged outlives the process.
//!
//! One thread has the file. It takes all operations that wait, does them in their order, and commits once: so those that
//! come while the disk is at work share the next commit. No answer leaves before the disk has said that it has what the
//! answer speaks of. Sessions that were used last are in memory too, so that a commit reads nothing.
//!
//! The file is redb's. A session is a row (all but its messages, as JSON), each of its messages another, so that a commit
//! writes what changed; two indexes say which sessions expire next and which tombstones are old. Every row carries a
//! checksum of its own and its key's. Connections are not kept: they end with the process.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, Table, TableDefinition};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::ended::EndReason;
use super::fingerprint::fingerprint;
use super::lock::lock;
use super::queue::Message;
use super::saved::Unreadable;
use super::store::{
    Commit, Committed, Create, Created, Down, Ended, Epoch, Gone, Here, Later, Loaded, Open, Opened, Reply, Store,
    StoreTime, Take, Taken,
};
use super::stored::Stored;
use super::sweep::expiry_notice;
use crate::clock::Clock;

/// All of a session but its messages.
const SESSIONS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("sessions");
/// Messages, by session and position.
const MESSAGES: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("messages");
/// When sessions expire, in microseconds since the epoch: no later than they do, and not much sooner. What a session's row
/// says is exact, and says which of these is its own.
const DEADLINES: TableDefinition<'_, (u64, u128), ()> = TableDefinition::new("deadlines");
/// Sessions that are gone, and why.
const GONE: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("gone");
/// When they went.
const GONE_AT: TableDefinition<'_, (u64, u128), ()> = TableDefinition::new("gone_at");

/// What a checksum takes, in bytes.
const CHECKSUM: usize = 8;
/// The most operations that share a commit: as many as one answers in some ten milliseconds.
const BATCH: usize = 1024;
/// Memory for sessions that were used last, in bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Memory for pages of the file, in bytes.
const PAGES_BYTES: usize = 32 * 1024 * 1024;
/// How long it is known why a session is gone.
const REMEMBERED: Duration = Duration::from_hours(1);
/// How often what has expired is buried.
const BURY_EVERY: Duration = Duration::from_secs(1);
/// The most sessions that are buried in one commit.
const BURIED: usize = 1000;
/// Files up to this size are checked as a whole when they are opened, in bytes: it takes half a second.
const CHECKED_BYTES: u64 = 64 * 1024 * 1024;
/// How many sessions are looked at for one without an open stream, when there are too many.
const LOOKED_AT: usize = 64;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Another process has it.
    #[error(
        "MCP_STORE: {path}: another process has it open; the file is one server's: end the other one, or give each a file of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged, or none of ours.
    #[error(
        "MCP_STORE: {path}: it is damaged, or no session store: {why}; restore it from a copy, or move it away to begin anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system does not let us.
    #[error("MCP_STORE: {path}: {why}; the server must be able to make and write this file")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        why: io::Error,
    },
}

/// What is kept of how many.
#[derive(Debug, Clone, Copy)]
pub struct DiskLimits {
    /// The most sessions. Beyond them the longest idle one gives way.
    pub max_sessions: usize,
    /// How long before its end a session is told of it.
    pub warning: Duration,
}

/// A store on disk. See the module's documentation.
pub struct Disk {
    clock: Arc<Clock>,
    jobs: Mutex<Option<Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Disk {
    /// Opens the store in the file at `path`, or makes it.
    ///
    /// # Errors
    /// [`Unusable`]
    pub fn open(path: &Path, limits: DiskLimits, here: Box<dyn Here>, clock: Arc<Clock>) -> Result<Self, Unusable> {
        let io = |why| Unusable::Io { path: path.to_owned(), why };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        if !path.exists() {
            make_private(path).map_err(io)?;
        }
        let file = File { path: path.to_owned(), database: Some(open(path, true)?) };
        let (jobs, waiting) = channel();
        let time = Arc::clone(&clock);
        let opened = StoreTime(clock.now().0 * 1000);
        let writer =
            Writer { file, cache: Cache::default(), limits, here, opened, warned: StoreTime::default(), clock };
        let thread = std::thread::Builder::new().name("sessions".to_owned()).spawn(move || writer.run(&waiting));
        let thread = thread.map_err(io)?;
        Ok(Self { clock: time, jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Closes the file, when what waits is done. Whoever comes later is told that the store is closed.
    pub fn shut(&self) {
        drop(lock(&self.jobs).take());
        if let Some(thread) = lock(&self.thread).take() {
            let _panicked = thread.join();
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        act: impl FnMut(&mut Shelf<'_>) -> Acted<T> + Send + 'static,
    ) -> Later<'static, T> {
        let (reply, replied) = oneshot::channel();
        let job = Box::new(Asked { act, result: None, reply });
        let closed = || Down { why: "the session store is closed".to_owned(), reached: false, lasts: false };
        let sent = lock(&self.jobs).as_ref().map(|jobs| jobs.send(job));
        Box::pin(async move {
            match sent {
                Some(Ok(())) => replied.await.unwrap_or_else(|_| Err(Down { reached: true, ..closed() })),
                Some(Err(_)) | None => Err(closed()),
            }
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Makes an empty file that nobody else can read: what clients sent is in it.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

/// Opens the file. `checks`: as a whole, where it is small.
fn open(path: &Path, checks: bool) -> Result<Database, Unusable> {
    let path_of = || path.to_owned();
    let unusable = |error: redb::Error| match error {
        redb::Error::DatabaseAlreadyOpen => Unusable::InUse { path: path_of() },
        redb::Error::Io(why) if !matches!(why.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            Unusable::Io { path: path_of(), why }
        }
        other => Unusable::Damaged { path: path_of(), why: other.to_string() },
    };
    // A reader of a damaged file may find things that it holds for impossible.
    let careful = |work: &mut dyn FnMut() -> Result<Database, redb::Error>| {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.unwrap_or_else(|_| Err(redb::Error::Corrupted("its pages contradict each other".to_owned())))
            .map_err(unusable)
    };
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    careful(&mut || {
        let mut database = Database::builder().set_cache_size(PAGES_BYTES).create(path)?;
        if checks && bytes <= CHECKED_BYTES && !database.check_integrity()? {
            return Err(redb::Error::Corrupted("its pages do not have their checksums".to_owned()));
        }
        let transaction = database.begin_write()?;
        {
            transaction.open_table(SESSIONS)?;
            transaction.open_table(MESSAGES)?;
            transaction.open_table(DEADLINES)?;
            transaction.open_table(GONE)?;
            transaction.open_table(GONE_AT)?;
        }
        transaction.commit()?;
        if checks && bytes <= CHECKED_BYTES {
            check_rows(&database)?;
        }
        Ok(database)
    })
}

/// Reads every session with its messages.
fn check_rows(database: &Database) -> Result<(), redb::Error> {
    let corrupted = |why: String| redb::Error::Corrupted(why);
    let transaction = database.begin_read()?;
    let (sessions, messages) = (transaction.open_table(SESSIONS)?, transaction.open_table(MESSAGES)?);
    let (deadlines, gone) = (transaction.open_table(DEADLINES)?, transaction.open_table(GONE)?);
    let mut read = 0;
    for row in sessions.iter()? {
        let (key, value) = row?;
        let id = Uuid::from_u128(key.value());
        let session = read_session(key.value(), value.value(), messages.range(messages_of(key.value()))?)?;
        let (session, indexed) = match session {
            Ok(read) => read,
            Err(Unreadable::Newer { .. }) => continue,
            Err(why) => return Err(corrupted(format!("session {id}: {why}"))),
        };
        read += session.messages().len() as u64;
        if deadlines.get((indexed.0, key.value()))?.is_none() {
            return Err(corrupted(format!("session {id} has no deadline")));
        }
    }
    if read > messages.len()? || sessions.len()? != deadlines.len()? {
        return Err(corrupted("rows are missing".to_owned()));
    }
    for row in gone.iter()? {
        let (key, value) = row?;
        checked("gone", &[&key.value().to_be_bytes()], value.value()).map_err(|why| corrupted(why.to_string()))?;
    }
    Ok(())
}

fn messages_of(id: u128) -> std::ops::RangeInclusive<(u128, u64)> {
    (id, 0)..=(id, u64::MAX)
}

/// A message's row.
type Row<'a> = Result<(redb::AccessGuard<'a, (u128, u64)>, redb::AccessGuard<'a, &'static [u8]>), redb::StorageError>;

/// A session from its rows, and its deadline in the index.
fn read_session<'a>(
    id: u128,
    head: &[u8],
    rows: impl Iterator<Item = Row<'a>>,
) -> Result<Result<(Stored, StoreTime), Unreadable>, redb::StorageError> {
    let head = match checked("session", &[&id.to_be_bytes()], head) {
        Ok(head) => head,
        Err(why) => return Ok(Err(why)),
    };
    let Some((indexed, head)) = head.split_first_chunk() else {
        return Ok(Err(Unreadable::Damaged("its row has no deadline".to_owned())));
    };
    let indexed = StoreTime(u64::from_be_bytes(*indexed));
    let mut messages = VecDeque::new();
    for row in rows {
        let (key, value) = row?;
        let (_, position) = key.value();
        let message =
            checked("message", &[&id.to_be_bytes(), &position.to_be_bytes()], value.value()).and_then(|json| {
                serde_json::from_slice::<Message>(json).map_err(|why| Unreadable::Damaged(why.to_string()))
            });
        match message {
            Ok(message) => messages.push_back(message),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Stored::read(head, messages).map(|stored| (stored, indexed)))
}

/// A row's value with its checksum.
fn sealed(table: &str, key: &[&[u8]], value: &[u8]) -> Vec<u8> {
    let mut sealed = checksum(table, key, value).to_be_bytes().to_vec();
    sealed.extend_from_slice(value);
    sealed
}

/// A row's value, if its checksum is its own.
fn checked<'a>(table: &str, key: &[&[u8]], row: &'a [u8]) -> Result<&'a [u8], Unreadable> {
    match row.split_at_checked(CHECKSUM) {
        Some((sum, value)) if sum == checksum(table, key, value).to_be_bytes() => Ok(value),
        _ => Err(Unreadable::Damaged(format!("a row of {table} has another checksum"))),
    }
}

fn checksum(table: &str, key: &[&[u8]], value: &[u8]) -> u64 {
    let key = key.concat();
    fingerprint(&[table.as_bytes(), &key, value])
}

/// What an operation came to: its result, or why this session cannot be read. The error is the file's.
type Acted<T> = Result<Result<T, Unreadable>, redb::StorageError>;

/// An operation that waits.
trait Job: Send {
    /// Does it.
    fn act(&mut self, shelf: &mut Shelf<'_>) -> Result<(), redb::StorageError>;
    /// Answers it.
    fn answer(self: Box<Self>, at: Result<StoreTime, Down>);
}

struct Asked<T, F> {
    act: F,
    result: Option<Result<T, Unreadable>>,
    reply: oneshot::Sender<Result<Reply<T>, Down>>,
}

impl<T: Send, F: FnMut(&mut Shelf<'_>) -> Acted<T> + Send> Job for Asked<T, F> {
    fn act(&mut self, shelf: &mut Shelf<'_>) -> Result<(), redb::StorageError> {
        self.result = Some((self.act)(shelf)?);
        Ok(())
    }

    fn answer(self: Box<Self>, at: Result<StoreTime, Down>) {
        let down = |why: String| Err(Down { why, reached: false, lasts: true });
        let reply = match (at, self.result) {
            (Err(why), _) => Err(why),
            (Ok(at), Some(Ok(what))) => Ok(Reply { at, what }),
            (Ok(_), Some(Err(why))) => down(format!("the session cannot be read: {why}")),
            (Ok(_), None) => down("it was not done".to_owned()),
        };
        let _nobody_waits = self.reply.send(reply);
    }
}

/// A session in memory, and what of it is in the file.
struct Cached {
    stored: Stored,
    /// Positions of its messages in the file, and the streams that had them.
    messages: VecDeque<(u64, u32)>,
    /// Its deadline in the index; `None` where it is not there yet, or is to be another.
    deadline: Option<StoreTime>,
    /// The one that is to be taken out of the index.
    outdated: Option<StoreTime>,
    used: u64,
}

impl Cached {
    fn bytes(&self) -> usize {
        self.stored.bytes() + self.messages.len() * size_of::<(u64, u32)>()
    }

    /// Whether the index is far behind. Then the session's row is to be written, too: it would be believed after a crash.
    fn is_stale(&self) -> bool {
        let slack = self.stored.timeout() / 8;
        self.deadline.is_none_or(|written| written.plus(slack) < self.stored.dead_at())
    }

    /// Whether the file has nothing of it yet.
    fn is_new(&self) -> bool {
        self.deadline.is_none() && self.outdated.is_none()
    }

    /// Has the index say when it expires, when it is written.
    fn reindex(&mut self) {
        self.outdated = self.outdated.or(self.deadline.take());
    }
}

/// Sessions that were used last.
#[derive(Default)]
struct Cache {
    sessions: HashMap<u128, Cached>,
    uses: u64,
    bytes: usize,
}

impl Cache {
    /// Drops those that were not used for longest, down to three quarters of the bound. Those with open connections stay:
    /// the file knows nothing of these.
    fn trim(&mut self) {
        self.bytes = self.sessions.values().map(Cached::bytes).sum();
        if self.bytes <= CACHE_BYTES {
            return;
        }
        let droppable = self.sessions.iter().filter(|(_, cached)| !cached.stored.is_open());
        let mut oldest: Vec<(u64, u128)> = droppable.map(|(id, cached)| (cached.used, *id)).collect();
        oldest.sort_unstable();
        for (_, id) in oldest {
            if self.bytes <= CACHE_BYTES / 4 * 3 {
                break;
            }
            self.bytes -= self.sessions.remove(&id).map_or(0, |cached| cached.bytes());
        }
    }
}

/// The file, while it can be used.
struct File {
    path: PathBuf,
    database: Option<Database>,
}

/// The thread that has the file.
struct Writer {
    file: File,
    cache: Cache,
    limits: DiskLimits,
    here: Box<dyn Here>,
    /// When this process opened the file.
    opened: StoreTime,
    /// Sessions whose deadline is not later have been told of it.
    warned: StoreTime,
    clock: Arc<Clock>,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Box<dyn Job>>) {
        let mut buried = std::time::Duration::ZERO;
        loop {
            let mut batch = Vec::new();
            match waiting.recv_timeout(BURY_EVERY) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while batch.len() < BATCH
                && let Ok(job) = waiting.try_recv()
            {
                batch.push(job);
            }
            let uptime = self.clock.uptime();
            let buries = batch.is_empty() || uptime.saturating_sub(buried) >= BURY_EVERY;
            if buries {
                buried = uptime;
            }
            let done = self.commit(&mut batch, buries);
            for job in batch {
                job.answer(done.clone());
            }
            if self.cache.sessions.len() > 64 {
                self.cache.note_growth();
            }
        }
    }

    /// Does all that waits, and commits once.
    fn commit(&mut self, batch: &mut [Box<dyn Job>], buries: bool) -> Result<StoreTime, Down> {
        let work = std::panic::AssertUnwindSafe(|| self.try_commit(batch, buries));
        let why = match std::panic::catch_unwind(work) {
            Ok(Ok(at)) => return Ok(at),
            Ok(Err((error, reached))) => (error.to_string(), reached),
            Err(_) => ("the file's pages contradict each other".to_owned(), true),
        };
        // What is in memory may not be in the file. After an error the file must be opened anew.
        self.cache = Cache::default();
        self.file.database = None;
        let (why, reached) = why;
        Err(Down { why: format!("{}: {why}", self.file.path.display()), reached, lasts: false })
    }

    fn try_commit(&mut self, batch: &mut [Box<dyn Job>], buries: bool) -> Result<StoreTime, (redb::Error, bool)> {
        let unreached = |error: redb::Error| (error, false);
        let database = match &mut self.file.database {
            Some(database) => database,
            closed => {
                let opened = open(&self.file.path, false);
                closed.insert(opened.map_err(|why| unreached(redb::Error::Corrupted(why.to_string())))?)
            }
        };
        let now = StoreTime(self.clock.now().0 * 1000);
        let transaction = database.begin_write().map_err(|error| unreached(error.into()))?;
        let (changed, ended) = {
            let mut shelf = Shelf {
                cache: &mut self.cache,
                tables: Tables::open(&transaction).map_err(|error| unreached(error.into()))?,
                dirty: HashSet::new(),
                changed: false,
                limits: self.limits,
                here: &*self.here,
                opened: self.opened,
                ended: Vec::new(),
                now,
            };
            for job in batch {
                job.act(&mut shelf).map_err(|error| unreached(error.into()))?;
            }
            if buries {
                shelf.bury().map_err(|error| unreached(error.into()))?;
                shelf.warn(&mut self.warned).map_err(|error| unreached(error.into()))?;
            }
            shelf.write().map_err(|error| unreached(error.into()))?;
            (shelf.changed, shelf.ended)
        };
        if changed {
            transaction.commit().map_err(|error| (error.into(), true))?;
        } else {
            transaction.abort().map_err(|error| unreached(error.into()))?;
        }
        let expired = ended.iter().filter(|(_, gone)| gone.reason == Some(EndReason::Expired)).count();
        if expired > 0 {
            tracing::info!(removed = expired, "removed {expired} expired sessions");
        }
        for (id, gone) in ended {
            self.here.ended(id, gone);
        }
        Ok(now)
    }
}

impl Cache {
    /// Looks at what it takes, now and then.
    fn note_growth(&mut self) {
        if self.uses.is_multiple_of(256) {
            self.trim();
        }
    }
}

/// The tables of the file in a transaction.
struct Tables<'t> {
    sessions: Table<'t, u128, &'static [u8]>,
    messages: Table<'t, (u128, u64), &'static [u8]>,
    deadlines: Table<'t, (u64, u128), ()>,
    gone: Table<'t, u128, &'static [u8]>,
    gone_at: Table<'t, (u64, u128), ()>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t redb::WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            sessions: transaction.open_table(SESSIONS)?,
            messages: transaction.open_table(MESSAGES)?,
            deadlines: transaction.open_table(DEADLINES)?,
            gone: transaction.open_table(GONE)?,
            gone_at: transaction.open_table(GONE_AT)?,
        })
    }
}

/// The file while a batch is at work on it.
struct Shelf<'t> {
    cache: &'t mut Cache,
    tables: Tables<'t>,
    /// Sessions whose rows are to be written.
    dirty: HashSet<u128>,
    /// Whether there is anything to commit.
    changed: bool,
    limits: DiskLimits,
    here: &'t dyn Here,
    /// When the file was opened by this process: it forgets nothing of what it was given since.
    opened: StoreTime,
    /// Sessions that expired or gave way.
    ended: Vec<(Uuid, Gone)>,
    now: StoreTime,
}

impl Shelf<'_> {
    /// The session `id`, whether it has expired or not.
    fn find(&mut self, id: u128) -> Acted<Option<&mut Cached>> {
        self.cache.uses += 1;
        let used = self.cache.uses;
        if !self.cache.sessions.contains_key(&id) {
            let Some(head) = self.tables.sessions.get(id)? else { return Ok(Ok(None)) };
            let read = read_session(id, head.value(), self.tables.messages.range(messages_of(id))?)?;
            let (stored, indexed) = match read {
                Ok(read) => read,
                Err(why) => return Ok(Err(why)),
            };
            let messages = stored.messages().iter().map(|message| (message.position, message.stream)).collect();
            let cached = Cached { deadline: Some(indexed), outdated: None, messages, stored, used };
            self.cache.sessions.insert(id, cached);
        }
        let cached = self.cache.sessions.get_mut(&id);
        if let Some(cached) = cached {
            cached.used = used;
            return Ok(Ok(Some(cached)));
        }
        Ok(Ok(None))
    }

    /// Why there is no session `id`.
    fn gone(&self, id: u128) -> Acted<Gone> {
        let row = self.tables.gone.get(id)?;
        Ok(match &row {
            None => Ok(Gone { reason: None, at: self.now.moment(), owner: None }),
            Some(row) => checked("gone", &[&id.to_be_bytes()], row.value())
                .and_then(|json| serde_json::from_slice(json).map_err(|why| Unreadable::Damaged(why.to_string()))),
        })
    }

    /// Acts on a session that lives. `writes` says of the result whether the session's rows are to be written.
    fn with<T>(
        &mut self,
        id: u128,
        act: impl FnOnce(&mut Stored, StoreTime) -> T,
        writes: impl FnOnce(&T) -> bool,
    ) -> Acted<Result<T, Gone>> {
        let in_use = self.here.is_in_use(Uuid::from_u128(id));
        self.with_used(id, in_use, act, writes)
    }

    /// The same for one of which it is known whether it is in use.
    fn with_used<T>(
        &mut self,
        id: u128,
        in_use: bool,
        act: impl FnOnce(&mut Stored, StoreTime) -> T,
        writes: impl FnOnce(&T) -> bool,
    ) -> Acted<Result<T, Gone>> {
        let now = self.now;
        let cached = match self.find(id)? {
            Ok(Some(cached)) => cached,
            Ok(None) => return Ok(self.gone(id)?.map(Err)),
            Err(why) => return Ok(Err(why)),
        };
        if let Some(gone) = cached.stored.gone(now) {
            if !in_use {
                return Ok(Ok(Err(gone)));
            }
            cached.stored.touch(now);
        }
        let result = act(&mut cached.stored, now);
        if writes(&result) || cached.is_stale() {
            self.dirty.insert(id);
        }
        Ok(Ok(Ok(result)))
    }

    fn create(&mut self, create: Create<'_>) -> Acted<Created> {
        let id = create.saved.record.id.as_u128();
        match self.find(id)? {
            Ok(Some(cached)) if cached.stored.made_by(create.token) => return Ok(Ok(Created::Made)),
            Ok(Some(_)) => return Ok(Ok(Created::Taken)),
            Ok(None) => {}
            Err(why) => return Ok(Err(why)),
        }
        match self.gone(id)? {
            Ok(Gone { reason: None, .. }) => {}
            Ok(_) => return Ok(Ok(Created::Taken)),
            Err(why) => return Ok(Err(why)),
        }
        if !self.make_room()? {
            return Ok(Ok(Created::Full));
        }
        let stored = Stored::new(create, self.now);
        let used = self.cache.uses;
        self.cache
            .sessions
            .insert(id, Cached { stored, messages: VecDeque::new(), deadline: None, outdated: None, used });
        self.dirty.insert(id);
        Ok(Ok(Created::Made))
    }

    /// Ends the longest idle session where there are as many as may be. Returns whether there is room.
    fn make_room(&mut self) -> Result<bool, redb::StorageError> {
        let is_new = |id: &&u128| self.cache.sessions.get(*id).is_some_and(Cached::is_new);
        let new = self.dirty.iter().filter(is_new).count() as u64;
        if self.tables.sessions.len()?.saturating_add(new) < self.limits.max_sessions as u64 {
            return Ok(true);
        }
        let mut first = Vec::new();
        for row in self.tables.deadlines.iter()?.take(LOOKED_AT) {
            first.push(row?.0.value());
        }
        let mut longest_idle: Option<(StoreTime, u128)> = None;
        for (_, id) in first {
            let (now, in_use) = (self.now, self.here.is_in_use(Uuid::from_u128(id)));
            let Ok(Some(cached)) = self.find(id)? else { continue };
            if in_use {
                // Further back in the order, so that the next one who looks finds others first.
                cached.stored.touch(now);
                cached.reindex();
                self.dirty.insert(id);
            } else {
                let one = (cached.stored.dead_at(), id);
                longest_idle = Some(longest_idle.map_or(one, |other| other.min(one)));
            }
        }
        let Some((_, id)) = longest_idle else { return Ok(false) };
        let now = self.now;
        let Ok(Some(cached)) = self.find(id)? else { return Ok(false) };
        let gone = cached.stored.gone(now);
        let gone = gone.unwrap_or_else(|| cached.stored.tombstone(EndReason::Evicted, now));
        self.remove(id, &gone)?;
        self.ended.push((Uuid::from_u128(id), gone));
        Ok(true)
    }

    fn end(&mut self, id: u128, reason: EndReason, unless_used_since: Option<StoreTime>) -> Acted<Ended> {
        let ended = self.with(id, |stored, now| stored.end(reason, unless_used_since, now), |_| false)?;
        Ok(match ended {
            Err(why) => Err(why),
            Ok(Err(gone)) => Ok(Ended::Gone(gone)),
            Ok(Ok(Err(used))) => Ok(used),
            Ok(Ok(Ok(gone))) => {
                self.remove(id, &gone)?;
                Ok(Ended::Now)
            }
        })
    }

    /// Takes a session out, and remembers why.
    fn remove(&mut self, id: u128, gone: &Gone) -> Result<(), redb::StorageError> {
        self.changed = true;
        self.dirty.remove(&id);
        if let Some(cached) = self.cache.sessions.remove(&id) {
            for (position, _) in cached.messages {
                self.tables.messages.remove((id, position))?;
            }
            for deadline in [cached.deadline, cached.outdated].into_iter().flatten() {
                self.tables.deadlines.remove((deadline.0, id))?;
            }
        }
        self.tables.sessions.remove(id)?;
        let json = serde_json::to_vec(gone).unwrap_or_default();
        self.tables.gone.insert(id, sealed("gone", &[&id.to_be_bytes()], &json).as_slice())?;
        self.tables.gone_at.insert((self.now.0, id), ())?;
        Ok(())
    }

    /// Buries sessions that have expired, and forgets those that are long gone.
    fn bury(&mut self) -> Result<(), redb::StorageError> {
        let mut due = Vec::new();
        for row in self.tables.deadlines.range(..=(self.now.0, u128::MAX))?.take(BURIED) {
            due.push(row?.0.value());
        }
        for (_, id) in due {
            let (now, in_use) = (self.now, self.here.is_in_use(Uuid::from_u128(id)));
            // What cannot be read stays for whoever can.
            let Ok(Some(cached)) = self.find(id)? else { continue };
            if in_use {
                cached.stored.touch(now);
            }
            if let Some(gone) = cached.stored.gone(now) {
                self.remove(id, &gone)?;
                self.ended.push((Uuid::from_u128(id), gone));
            } else {
                cached.reindex();
                self.dirty.insert(id);
            }
        }
        let old = StoreTime(self.now.0.saturating_sub(u64::try_from(REMEMBERED.as_micros()).unwrap_or(u64::MAX)));
        let mut forgotten = Vec::new();
        for row in self.tables.gone_at.range(..(old.0, 0))?.take(BURIED) {
            forgotten.push(row?.0.value());
        }
        for (at, id) in forgotten {
            self.tables.gone_at.remove((at, id))?;
            self.tables.gone.remove(id)?;
            self.changed = true;
        }
        Ok(())
    }

    /// Tells sessions that they are about to expire: those whose deadline is not far and later than `warned`.
    fn warn(&mut self, warned: &mut StoreTime) -> Result<(), redb::StorageError> {
        let soon = self.now.plus(self.limits.warning);
        let from = (*warned).max(self.now);
        let mut due = Vec::new();
        if from < soon {
            for row in self.tables.deadlines.range((from.0 + 1, 0)..=(soon.0, u128::MAX))?.take(BURIED) {
                due.push(row?.0.value());
            }
        }
        *warned = if due.len() < BURIED { soon } else { due.last().map_or(soon, |(at, _)| StoreTime(*at)) };
        for (_, id) in due {
            let (now, opened, in_use) = (self.now, self.opened, self.here.is_in_use(Uuid::from_u128(id)));
            let Ok(Some(cached)) = self.find(id)? else { continue };
            let dead_at = cached.stored.dead_at();
            if in_use {
                cached.stored.touch(now);
            } else if now < dead_at && dead_at <= soon {
                let left = Duration::from_micros(dead_at.0 - now.0);
                cached.stored.warn(expiry_notice(left), opened);
            }
            // Where the index is behind, with the true deadline it comes up again.
            cached.reindex();
            self.dirty.insert(id);
        }
        Ok(())
    }

    /// Writes what changed.
    fn write(&mut self) -> Result<(), redb::StorageError> {
        for id in self.dirty.drain() {
            let Some(cached) = self.cache.sessions.get_mut(&id) else { continue };
            self.changed = true;
            if cached.is_stale() {
                cached.reindex();
            }
            if let Some(outdated) = cached.outdated.take() {
                self.tables.deadlines.remove((outdated.0, id))?;
            }
            let dead_at = cached.stored.dead_at();
            if cached.deadline.is_none() {
                self.tables.deadlines.insert((dead_at.0, id), ())?;
            }
            let indexed = *cached.deadline.get_or_insert(dead_at);
            let row = [&indexed.0.to_be_bytes()[..], &cached.stored.head()].concat();
            self.tables.sessions.insert(id, sealed("session", &[&id.to_be_bytes()], &row).as_slice())?;
            let (messages, written) = (cached.stored.messages(), std::mem::take(&mut cached.messages));
            for (position, _) in &written {
                if messages.binary_search_by_key(position, |message| message.position).is_err() {
                    self.tables.messages.remove((id, *position))?;
                }
            }
            for message in messages {
                let (position, stream) = (message.position, message.stream);
                if written.binary_search(&(position, stream)).is_err() {
                    let json = serde_json::to_vec(message).unwrap_or_default();
                    let row = sealed("message", &[&id.to_be_bytes(), &position.to_be_bytes()], &json);
                    self.tables.messages.insert((id, position), row.as_slice())?;
                }
                cached.messages.push_back((position, stream));
            }
        }
        Ok(())
    }
}

impl Store for Disk {
    fn now(&self) -> Option<StoreTime> {
        Some(StoreTime(self.clock.now().0 * 1000))
    }

    /// Connections end with this process, the only one.
    fn is_shared(&self) -> bool {
        false
    }

    fn lease(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn create<'a>(&'a self, create: Create<'a>) -> Later<'a, Created> {
        let (token, saved, timeout) = (create.token, create.saved.clone(), create.timeout);
        self.ask(move |shelf| shelf.create(Create { token, saved: &saved, timeout }))
    }

    fn load(&self, id: Uuid) -> Later<'_, Result<Loaded, Gone>> {
        self.ask(move |shelf| shelf.with(id.as_u128(), |stored, now| stored.load(now), |_| false))
    }

    fn commit<'a>(&'a self, commit: Commit<'a>) -> Later<'a, Committed> {
        let (record, append) = (commit.record.clone(), commit.append.to_vec());
        let Commit { id, token, expected, until, in_use, attempt, .. } = commit;
        self.ask(move |shelf| {
            let commit = Commit { id, token, expected, until, in_use, attempt, record: &record, append: &append };
            let opened = shelf.opened;
            let kept = |committed: &Committed| matches!(committed, Committed::Kept { again: false, .. });
            let committed =
                shelf.with_used(id.as_u128(), in_use, |stored, now| stored.commit(commit, opened, now), kept)?;
            Ok(committed.map(|committed| committed.unwrap_or_else(Committed::Gone)))
        })
    }

    fn note_intrusion(&self, id: Uuid, anonymous: bool) -> Later<'_, ()> {
        self.ask(move |shelf| {
            let noted = shelf.with(id.as_u128(), |stored, now| stored.note_intrusion(anonymous, now), |()| true)?;
            Ok(noted.map(|_gone| ()))
        })
    }

    fn open(&self, id: Uuid, open: Open) -> Later<'_, Result<Opened, Gone>> {
        self.ask(move |shelf| shelf.with(id.as_u128(), |stored, now| stored.open(open, now), |_| true))
    }

    fn take(&self, id: Uuid, take: Take) -> Later<'_, Taken> {
        self.ask(move |shelf| {
            let some = |taken: &Taken| matches!(taken, Taken::Messages { messages, .. } if !messages.is_empty());
            let taken = shelf.with(id.as_u128(), |stored, now| stored.take(take, now), some)?;
            Ok(taken.map(|taken| taken.unwrap_or_else(Taken::Gone)))
        })
    }

    fn close(&self, id: Uuid, epoch: Epoch, cut: bool) -> Later<'_, ()> {
        self.ask(move |shelf| {
            let closed = shelf.with(id.as_u128(), |stored, now| stored.close(epoch, cut, now), |()| true)?;
            Ok(closed.map(|_gone| ()))
        })
    }

    fn touch(&self, id: Uuid, _lease: Duration) -> Later<'_, ()> {
        self.ask(move |shelf| {
            let touched = shelf.with(id.as_u128(), |stored, now| stored.touch(now), |()| true)?;
            Ok(touched.map(|_gone| ()))
        })
    }

    fn end(&self, id: Uuid, reason: EndReason, unless_used_since: Option<StoreTime>) -> Later<'_, Ended> {
        self.ask(move |shelf| shelf.end(id.as_u128(), reason, unless_used_since))
    }
}
