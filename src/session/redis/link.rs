//! The connection to Redis: made again when it is lost, with the channels that this process listens on.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind, RedisError,
    ServerErrorKind, Value,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, channel};
use uuid::Uuid;

use crate::clock::Moment;
use crate::config::RedisAt;
use crate::protocol::Id;
use crate::session::ended::EndReason;
use crate::session::store::{Down, Gone, Here, StoreTime};

/// How long a command may take. A commit is tried for longer, with the same token.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// The most that other processes may have told and nobody here has looked at.
const UNHEARD: usize = 10_000;
/// Commands that wait for the connection before those that want to ask have to wait.
const AT_ONCE: usize = 1024;
/// How long nobody tries again after a connection could not be made.
const PAUSE: Duration = Duration::from_millis(250);
/// The oldest Redis that the scripts run on: before 7.0 a script may be refused in its middle.
const OLDEST: u32 = 7;

/// What can be run on a session.
#[derive(Debug, Clone, Copy)]
pub enum Script {
    Create,
    Load,
    Commit,
    Intrude,
    Open,
    Take,
    Close,
    Touch,
    End,
}

/// Scripts as they are sent: prepared once.
struct Scripts {
    sessions: [redis::Script; 9],
    reserve: redis::Script,
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    // Where Redis is full, what makes it fuller is refused before it begins; what frees memory goes on.
    let whole =
        |flags: &str, body: &str| redis::Script::new(&format!("#!lua{flags}\n{}{body}", include_str!("head.lua")));
    let (fills, frees, reads) = ("", " flags=allow-oom", " flags=no-writes");
    Scripts {
        sessions: [
            whole(fills, include_str!("create.lua")),
            whole(reads, include_str!("load.lua")),
            whole(fills, include_str!("commit.lua")),
            whole(frees, include_str!("intrude.lua")),
            whole(fills, include_str!("open.lua")),
            whole(frees, include_str!("take.lua")),
            whole(frees, include_str!("close.lua")),
            whole(frees, include_str!("touch.lua")),
            whole(frees, include_str!("end.lua")),
        ],
        reserve: redis::Script::new(concat!("#!lua\n", include_str!("reserve.lua"))),
    }
});

/// What a script answered.
#[derive(Debug)]
pub struct Answer {
    /// What became of it.
    pub kind: String,
    /// By Redis' clock.
    pub at: StoreTime,
    /// What the session's score in the index of deadlines is to be.
    pub score: Option<StoreTime>,
    rest: std::vec::IntoIter<Value>,
}

impl Answer {
    fn read(values: Vec<Value>) -> Result<Self, Down> {
        let mut answer = Self { kind: String::new(), at: StoreTime::default(), score: None, rest: values.into_iter() };
        answer.kind = answer.text()?;
        answer.at = StoreTime(answer.number()?);
        answer.score = answer.text()?.parse().ok().map(StoreTime);
        Ok(answer)
    }

    /// What is not as a script writes it.
    pub fn strange(what: &str) -> Down {
        Down { why: format!("it answered something else than {what}"), reached: true, lasts: true }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.as_slice().is_empty()
    }

    pub fn text(&mut self) -> Result<String, Down> {
        match self.rest.next() {
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes).map_err(|_| Self::strange("text")),
            Some(Value::SimpleString(text)) => Ok(text),
            Some(Value::Int(number)) => Ok(number.to_string()),
            _ => Err(Self::strange("text")),
        }
    }

    pub fn number<T: std::str::FromStr>(&mut self) -> Result<T, Down> {
        self.text()?.parse().map_err(|_| Self::strange("a number"))
    }

    pub fn list(&mut self) -> Result<Self, Down> {
        match self.rest.next() {
            Some(Value::Array(values)) => {
                Ok(Self { kind: String::new(), at: self.at, score: None, rest: values.into_iter() })
            }
            _ => Err(Self::strange("a list")),
        }
    }
}

/// The connection of this process.
pub struct Link {
    at: RedisAt,
    /// Names this process, and its channel.
    name: String,
    here: Arc<dyn Here>,
    state: tokio::sync::Mutex<State>,
}

/// An open connection.
#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    /// Tells it from the others of this process.
    number: u64,
    /// Since when it is open, by Redis' clock.
    since: StoreTime,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    made: u64,
    /// When it could not be made the last time, and why.
    failed: Option<(Instant, Down)>,
    /// It was told that the policy of evictions cannot be read.
    warned: bool,
}

impl Link {
    pub fn new(at: RedisAt, writer: u64, here: Arc<dyn Here>) -> Arc<Self> {
        Arc::new(Self { at, name: format!("{writer:016x}"), here, state: tokio::sync::Mutex::default() })
    }

    pub async fn check(self: &Arc<Self>) -> Result<(), Down> {
        self.connection().await.map(drop)
    }

    /// Runs a script on a session.
    pub async fn run(
        self: &Arc<Self>,
        script: Script,
        id: Uuid,
        head: &[String],
        tail: &[String],
    ) -> Result<Answer, Down> {
        let prefix = &self.at.prefix;
        let mut call = SCRIPTS.sessions[script as usize].prepare_invoke();
        call.key(format!("{prefix}{{{id}}}:s")).key(format!("{prefix}{{{id}}}:q"));
        call.arg(prefix).arg(id.to_string()).arg(head).arg(tail);
        let Open { mut connection, number, since } = self.connection().await?;
        call.arg(since.0);
        let values: Vec<Value> = self.heard(call.invoke_async(&mut connection).await, number).await?;
        Answer::read(values)
    }

    /// Enters a session into the index of deadlines. Where there are too many then, returns those that expire first.
    pub async fn reserve(
        self: &Arc<Self>,
        id: Uuid,
        timeout: Duration,
        most: usize,
        others: usize,
    ) -> Result<(StoreTime, Vec<(Uuid, StoreTime)>), Down> {
        let mut call = SCRIPTS.reserve.prepare_invoke();
        call.key(self.index()).arg(id.to_string()).arg(timeout.as_millis().to_string()).arg(most).arg(others);
        let Open { mut connection, number, .. } = self.connection().await?;
        let (at, named): (u64, Vec<String>) = self.heard(call.invoke_async(&mut connection).await, number).await?;
        let pairs = named.chunks_exact(2).filter_map(|pair| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds until 2255")]
            let score = pair[1].parse::<f64>().ok()? as u64;
            Some((Uuid::try_parse(&pair[0]).ok()?, StoreTime(score)))
        });
        Ok((StoreTime(at), pairs.collect()))
    }

    /// Redis' time.
    pub async fn time(self: &Arc<Self>) -> Result<StoreTime, Down> {
        let Open { mut connection, number, .. } = self.connection().await?;
        let time = redis::cmd("TIME").query_async::<(u64, u64)>(&mut connection).await;
        Ok(store_time(self.heard(time, number).await?))
    }

    /// Whether requests or streams use a session in this process.
    pub fn is_in_use(&self, id: Uuid) -> bool {
        self.here.is_in_use(id)
    }

    /// Takes a session out of the index of deadlines. Returns whether it was there.
    pub async fn forget(self: &Arc<Self>, id: Uuid) -> Result<bool, Down> {
        let Open { mut connection, number, .. } = self.connection().await?;
        let removed =
            redis::cmd("ZREM").arg(self.index()).arg(id.to_string()).query_async::<bool>(&mut connection).await;
        self.heard(removed, number).await
    }

    /// The same, without waiting for it: a session that is left there is a number too many until its time is up.
    pub fn forget_soon(self: &Arc<Self>, id: Uuid) {
        let link = Arc::clone(self);
        tokio::spawn(async move { link.forget(id).await });
    }

    /// Enters when a session expires, without waiting for it.
    pub fn score(self: &Arc<Self>, id: Uuid, score: StoreTime) {
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let Open { mut connection, number, .. } = link.connection().await?;
            let mut add = redis::cmd("ZADD");
            add.arg(link.index()).arg(score.0).arg(id.to_string());
            let added = add.query_async::<()>(&mut connection).await;
            link.heard(added, number).await
        });
    }

    /// Tells all processes something, as well as it can be told.
    pub fn tell_all(self: &Arc<Self>, what: String) {
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let Open { mut connection, number, .. } = link.connection().await?;
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(format!("{}ctl", link.at.prefix)).arg(what);
            let told = publish.query_async::<()>(&mut connection).await;
            link.heard(told, number).await
        });
    }

    /// Since when the connection is open.
    #[cfg(test)]
    pub async fn since(self: &Arc<Self>) -> StoreTime {
        self.connection().await.unwrap().since
    }

    /// Any command.
    #[cfg(test)]
    pub async fn ask<T: redis::FromRedisValue>(self: &Arc<Self>, command: &mut redis::Cmd) -> T {
        command.query_async(&mut self.connection().await.unwrap().connection).await.unwrap()
    }

    fn index(&self) -> String {
        format!("{}ix", self.at.prefix)
    }

    /// What Redis said, or why it did not. A connection that is of no more use is given up.
    async fn heard<T>(&self, said: Result<T, RedisError>, number: u64) -> Result<T, Down> {
        let error = match said {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let (refused, keeps) = match error.kind() {
            // A node that was demoted: its name may be another one's by now.
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => (true, false),
            // A script that broke off. None does, unless somebody else writes these keys.
            ErrorKind::Server(ServerErrorKind::ResponseError) => (false, true),
            // NOPERM, LOADING, OOM, MISCONF and the like: before the script began.
            ErrorKind::Server(_) | ErrorKind::Extension => (true, true),
            _ => (false, false),
        };
        if !keeps {
            let mut state = self.state.lock().await;
            state.open.take_if(|open| open.number == number);
        }
        // Full (OOM), or not allowed: it says so until somebody does something about it. Else it is starting.
        let starting = matches!(error.kind(), ErrorKind::Server(kind) if kind != ServerErrorKind::NoPerm);
        Err(Down { why: detail(&error), reached: !refused, lasts: refused && keeps && !starting })
    }

    async fn connection(self: &Arc<Self>) -> Result<Open, Down> {
        let mut state = self.state.lock().await;
        if let Some(open) = &state.open {
            return Ok(open.clone());
        }
        if let Some((at, why)) = &state.failed
            && at.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        match self.connect(&mut state.warned).await {
            Ok((connection, since, pushed)) => {
                state.made += 1;
                state.failed = None;
                let open = Open { connection, number: state.made, since };
                state.open = Some(open.clone());
                tokio::spawn(Self::listen(Arc::downgrade(self), pushed, state.made));
                // What was told meanwhile nobody here has heard.
                self.here.wake(None);
                Ok(open)
            }
            Err(why) => {
                state.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn connect(&self, warned: &mut bool) -> Result<(MultiplexedConnection, StoreTime, Receiver<PushInfo>), Down> {
        let why = |error: &RedisError| {
            let answered =
                matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed);
            Down {
                why: detail(error),
                reached: false,
                lasts: answered && error.kind() != ErrorKind::Server(ServerErrorKind::BusyLoading),
            }
        };
        let (push, pushed) = channel(UNHEARD);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(PATIENCE))
            .set_pipeline_buffer_size(AT_ONCE)
            .set_push_sender(move |told| match push.try_send(told) {
                Err(TrySendError::Closed(_)) => Err(SendError),
                // What is lost here is as what is lost on the way: the next sign of life finds it.
                Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            });
        let info = self.at.url.as_str().into_connection_info().map_err(|error| why(&error))?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client =
            Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp)).map_err(|error| why(&error))?;
        let mut connection =
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| why(&error))?;
        let server = redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await;
        let server = server.map_err(|error| why(&error))?;
        let version = server.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default();
        if version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major < OLDEST) {
            let why = format!("it is Redis {version}; sessions need Redis 7 or newer, or Valkey 8 or newer");
            return Err(Down { why, reached: false, lasts: true });
        }
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("maxmemory-policy");
        match ask.query_async::<HashMap<String, String>>(&mut connection).await {
            Ok(policy) => {
                if let Some(policy) = policy.get("maxmemory-policy").filter(|policy| *policy != "noeviction") {
                    let why = format!(
                        "its maxmemory-policy is {policy}: it would throw sessions away; set it to noeviction, or use another Redis"
                    );
                    return Err(Down { why, reached: false, lasts: true });
                }
            }
            Err(error) if !std::mem::replace(warned, true) => tracing::warn!(
                "cannot read the session store's maxmemory-policy ({}): it must be noeviction, or sessions are lost",
                detail(&error)
            ),
            Err(_) => {}
        }
        let channels = [format!("{}w:{}", self.at.prefix, self.name), format!("{}ctl", self.at.prefix)];
        connection.subscribe(&channels).await.map_err(|error| why(&error))?;
        let time = redis::cmd("TIME").query_async::<(u64, u64)>(&mut connection).await.map_err(|error| why(&error))?;
        Ok((connection, store_time(time), pushed))
    }

    /// Passes on what is told to this process, until the connection is lost; then makes another one: who waits for messages
    /// asks for nothing meanwhile.
    fn listen(
        link: Weak<Self>,
        mut pushed: Receiver<PushInfo>,
        number: u64,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            while let Some(info) = pushed.recv().await {
                let Some(link) = link.upgrade() else { return };
                match info.kind {
                    PushKind::Message => {
                        if let [_, Value::BulkString(what)] = info.data.as_slice() {
                            link.told(&String::from_utf8_lossy(what));
                        }
                    }
                    PushKind::Disconnection => break,
                    _ => {}
                }
            }
            while let Some(link) = link.upgrade() {
                link.state.lock().await.open.take_if(|open| open.number == number);
                if link.connection().await.is_ok() {
                    return;
                }
                drop(link);
                tokio::time::sleep(PAUSE).await;
            }
        })
    }

    fn told(&self, what: &str) {
        let mut words = what.splitn(3, ' ');
        let (Some(first), second, rest) = (words.next(), words.next(), words.next()) else { return };
        let id = |text: &str| Uuid::try_parse(text).ok();
        match (first, second.and_then(id), rest) {
            ("end", Some(id), Some(rest)) => {
                let mut words = rest.split(' ');
                let reason = match words.next() {
                    Some("deleted") => EndReason::Deleted,
                    Some("evicted") => EndReason::Evicted,
                    _ => EndReason::Expired,
                };
                let at = Moment(words.next().and_then(|at| at.parse().ok()).unwrap_or_default());
                let owner = words.next().and_then(|owner| owner.parse().ok());
                self.here.ended(id, Gone { reason: Some(reason), at, owner });
            }
            ("cancel", Some(id), Some(call)) => {
                if let Some(call) = serde_json::from_str(call).ok().and_then(|call| Id::from_value(&call)) {
                    self.here.cancel(id, &call);
                }
            }
            (first, None, None) => self.here.wake(id(first)),
            _ => {}
        }
    }
}

fn store_time((seconds, micros): (u64, u64)) -> StoreTime {
    StoreTime(seconds * 1_000_000 + micros)
}

/// What went wrong, for people.
fn detail(error: &RedisError) -> String {
    error.to_string()
}
