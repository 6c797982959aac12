//! Sessions in Redis (7 or newer) or Valkey (8 or newer): any replica serves any session.
//!
//! A session is a hash and a list, changed by scripts that run as a whole (`redis/*.lua`): what may fail comes first in
//! them, and one write last. Nothing is asked for in between, so that an exchange costs one script. Beside them there is
//! one index of deadlines for the bound of all sessions, with a command of its own: in a cluster it lives elsewhere.
//!
//! Every time is Redis' own. Replicas wake each other through channels; a message that is lost there costs the time until the
//! next sign of life of a stream ([`Store::lease`]), and nothing else.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use self::link::{Answer, Link, Script};
use super::connections::MAX_STREAMS;
use super::ended::EndReason;
use super::instance::tag_of;
use super::losses;
use super::queue::{Delivery, Message};
use super::record::Intrusions;
use super::store::{
    Commit, Committed, Create, Created, Down, Ended, Epoch, Gone, Here, Later, Loaded, Open, Opened, Outgoing, Reply,
    Start, Store, StoreFigures, StoreTime, Take, Taken, Token,
};
use crate::clock::Moment;
use crate::config::RedisAt;
use crate::protocol::Id;

mod link;

/// How many of the longest idle sessions are tried for one that gives way.
const TRIED: usize = 8;

/// A store in Redis. See the module's documentation.
pub struct Redis {
    link: Arc<Link>,
    max_sessions: usize,
}

impl Redis {
    /// A store at `at`, for the process that calls itself `writer`. Nothing is connected yet.
    #[must_use]
    pub fn new(at: RedisAt, writer: u64, max_sessions: usize, here: Arc<dyn Here>) -> Self {
        Self { link: Link::new(at, writer, here), max_sessions }
    }

    /// Connects, and looks whether sessions are safe there.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn check(&self) -> Result<(), Down> {
        self.link.check().await
    }

    /// Makes sure that there is room for one more session. Where there is none, the longest idle one gives way.
    async fn reserve(&self, id: Uuid, timeout: Duration) -> Result<bool, Down> {
        let (_, others) = self.link.reserve(id, timeout, self.max_sessions, TRIED).await?;
        if others.is_empty() {
            return Ok(true);
        }
        for (other, score) in others.into_iter().filter(|(other, _)| *other != id) {
            if self.link.is_in_use(other) {
                continue;
            }
            // A score lags behind by a sixteenth of the time-out at most.
            let since = StoreTime(score.0.saturating_add(micros(timeout) / 16).saturating_sub(micros(timeout)));
            let ended = self.end(other, EndReason::Evicted, Some(since)).await?;
            match ended.what {
                // It is about to be made.
                Ended::Gone(Gone { reason: None, .. }) => {}
                // Of those who find it gone one has its place.
                Ended::Now | Ended::Gone(_) if self.link.forget(other).await? => return Ok(true),
                Ended::Now | Ended::Gone(_) => {}
                Ended::Used => self.link.score(other, ended.at.plus(timeout)),
            }
        }
        self.link.forget(id).await?;
        Ok(false)
    }

    /// An answer to what needs no more than to have been done, or not.
    fn settled(&self, id: Uuid, asked: Result<Answer, Down>) -> Result<Reply<Answer>, Down> {
        let answer = asked?;
        if answer.kind == "newer" {
            let why = "it was written by a newer release, in a format that this one does not know".to_owned();
            return Err(Down { why, reached: false, lasts: true });
        }
        if let Some(score) = answer.score {
            self.link.score(id, score);
        }
        Ok(Reply { at: answer.at, what: answer })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// Levels and texts of messages, in turn.
fn messages<'a>(append: impl Iterator<Item = &'a Outgoing>) -> Vec<String> {
    let messages: Vec<String> =
        append.flat_map(|message| [(message.level as u8).to_string(), message.json.to_string()]).collect();
    [vec![(messages.len() / 2).to_string()], messages].concat()
}

fn reply<T>(answer: Reply<Answer>, what: impl FnOnce(&mut Answer) -> Result<T, Down>) -> Result<Reply<T>, Down> {
    let Reply { at, what: mut answer } = answer;
    Ok(Reply { at, what: what(&mut answer)? })
}

impl Answer {
    fn gone(&mut self) -> Result<Gone, Down> {
        let reason = match self.text()?.as_str() {
            "" => None,
            "deleted" => Some(EndReason::Deleted),
            "evicted" => Some(EndReason::Evicted),
            _ => Some(EndReason::Expired),
        };
        let at = Moment(self.number()?);
        Ok(Gone { reason, at, owner: self.text()?.parse().ok() })
    }

    fn figures(&mut self) -> Result<StoreFigures, Down> {
        let (pending, held, dropped) = (self.number()?, self.number()?, self.number()?);
        let bytes = self.number::<usize>()? + held * size_of::<Message>();
        let streams = self.number()?;
        let (other, anonymous) = (self.number()?, self.number()?);
        let last = self.text()?.parse().ok().map(Moment);
        let intrusions = Intrusions { other, anonymous, last };
        Ok(StoreFigures { pending, held, dropped, bytes, streams, intrusions })
    }

    fn token(&mut self) -> Result<Token, Down> {
        let text = self.text()?;
        let token = text.split_once('.').and_then(|(writer, number)| {
            Some(Token { writer: u64::from_str_radix(writer, 16).ok()?, number: number.parse().ok()? })
        });
        token.ok_or_else(|| Answer::strange("a version"))
    }

    fn record(&mut self) -> Result<super::Record, Down> {
        let text = self.text()?;
        serde_json::from_str(&text).map_err(|error| Down {
            why: format!("the session there is damaged: {error}"),
            reached: false,
            lasts: true,
        })
    }

    fn deliveries(&mut self) -> Result<Vec<Delivery>, Down> {
        let mut items = self.list()?;
        let mut deliveries = Vec::new();
        while !items.is_empty() {
            deliveries.push(Delivery { position: items.number()?, json: items.text()?.into() });
        }
        Ok(deliveries)
    }

    /// What a stream of a session is told that has lost messages, or may have.
    fn warning(&mut self, id: Uuid, position: u64) -> Result<Taken, Down> {
        if self.kind == "cut" {
            let (stream, held, gone) = (self.number()?, self.number()?, self.number()?);
            let json = losses::cut_warning(tag_of(id), stream, held, gone);
            return Ok(json
                .map_or(Taken::Messages { messages: Vec::new(), more: true }, |json| Taken::warning(position, json)));
        }
        let (position, lost, in_all, capacity) =
            (self.number()?, self.number()?, self.number()?, self.number::<u32>()?);
        let warning = if self.kind == "gap" { losses::gap_warning } else { losses::overflow_warning };
        Ok(Taken::warning(position, warning(lost, in_all, capacity)))
    }
}

impl Store for Redis {
    fn create<'a>(&'a self, create: Create<'a>) -> Later<'a, Created> {
        Box::pin(async move {
            let Create { token, saved, timeout } = create;
            let (id, record) = (saved.record.id, &saved.record);
            if !self.reserve(id, timeout).await? {
                let at = self.link.time().await?;
                return Ok(Reply { at, what: Created::Full });
            }
            let owner = record.owner.as_ref().map(|owner| owner.number().to_string());
            let queued = saved.queue.messages().iter();
            let queued: Vec<_> =
                queued.map(|message| Outgoing { level: message.level, json: message.json.clone() }).collect();
            let head = [
                token.to_string(),
                json(record),
                millis(timeout),
                saved.queue.capacity().to_string(),
                (record.created.0 * 1000).to_string(),
                owner.unwrap_or_default(),
                (record.log_level as u8).to_string(),
            ];
            let asked = self.link.run(Script::Create, id, &head, &messages(queued.iter())).await;
            let answer = self.settled(id, asked)?;
            reply(answer, |answer| Ok(if answer.kind == "made" { Created::Made } else { Created::Taken }))
        })
    }

    fn load(&self, id: Uuid) -> Later<'_, Result<Loaded, Gone>> {
        Box::pin(async move {
            let answer = self.settled(id, self.link.run(Script::Load, id, &[], &[]).await)?;
            reply(answer, |answer| {
                if answer.kind == "gone" {
                    return Ok(Err(answer.gone()?));
                }
                let (version, record) = (answer.token()?, answer.record()?);
                Ok(Ok(Loaded { version, record, figures: answer.figures()? }))
            })
        })
    }

    fn commit<'a>(&'a self, commit: Commit<'a>) -> Later<'a, Committed> {
        Box::pin(async move {
            let head = [
                commit.token.to_string(),
                commit.expected.to_string(),
                commit.until.0.to_string(),
                commit.attempt.to_string(),
                (commit.record.log_level as u8).to_string(),
                json(commit.record),
            ];
            let asked = self.link.run(Script::Commit, commit.id, &head, &messages(commit.append.iter())).await;
            let answer = self.settled(commit.id, asked)?;
            reply(answer, |answer| {
                Ok(match answer.kind.as_str() {
                    "gone" => Committed::Gone(answer.gone()?),
                    "late" => Committed::Late,
                    "conflict" => {
                        let (version, figures) = (answer.token()?, answer.figures()?);
                        Committed::Conflict(Box::new(Loaded { version, record: answer.record()?, figures }))
                    }
                    kind => {
                        let again = kind == "again";
                        Committed::Kept { version: answer.token()?, again, figures: answer.figures()? }
                    }
                })
            })
        })
    }

    fn note_intrusion(&self, id: Uuid, anonymous: bool) -> Later<'_, ()> {
        Box::pin(async move {
            let field = if anonymous { "ia" } else { "io" };
            let asked = self.link.run(Script::Intrude, id, &[field.to_owned()], &[]).await;
            reply(self.settled(id, asked)?, |_| Ok(()))
        })
    }

    fn open(&self, id: Uuid, open: Open) -> Later<'_, Result<Opened, Gone>> {
        Box::pin(async move {
            let (stream, position) = open.resume.map(|(s, p)| (s.to_string(), p.to_string())).unwrap_or_default();
            let head = [
                format!("{:016x}", open.replica),
                millis(open.lease),
                stream,
                position,
                MAX_STREAMS.to_string(),
                open.again.map(|epoch| epoch.0.to_string()).unwrap_or_default(),
            ];
            let answer = self.settled(id, self.link.run(Script::Open, id, &head, &[]).await)?;
            reply(answer, |answer| {
                if answer.kind == "gone" {
                    return Ok(Err(answer.gone()?));
                }
                let (epoch, stream, position) = (Epoch(answer.number()?), answer.number()?, answer.number()?);
                let how = match answer.text()?.as_str() {
                    "resumed" => Start::Resumed,
                    "foreign" => Start::Foreign,
                    "unknown" => Start::Unknown,
                    _ => Start::New,
                };
                Ok(Ok(Opened { epoch, stream, position, how }))
            })
        })
    }

    fn take(&self, id: Uuid, take: Take) -> Later<'_, Taken> {
        Box::pin(async move {
            let head = [
                take.epoch.0.to_string(),
                take.stream.to_string(),
                take.position.to_string(),
                take.count.to_string(),
                millis(take.lease),
            ];
            let answer = self.settled(id, self.link.run(Script::Take, id, &head, &[]).await)?;
            reply(answer, |answer| {
                Ok(match answer.kind.as_str() {
                    "gone" => Taken::Gone(answer.gone()?),
                    "displaced" => Taken::Displaced,
                    "unregistered" => Taken::Unregistered,
                    "taken" => {
                        let messages = answer.deliveries()?;
                        Taken::Messages { messages, more: answer.number::<u8>()? == 1 }
                    }
                    _ => answer.warning(id, take.position)?,
                })
            })
        })
    }

    fn close(&self, id: Uuid, epoch: Epoch, cut: bool) -> Later<'_, ()> {
        Box::pin(async move {
            let head = [epoch.0.to_string(), u8::from(cut).to_string()];
            reply(self.settled(id, self.link.run(Script::Close, id, &head, &[]).await)?, |_| Ok(()))
        })
    }

    fn touch(&self, id: Uuid, lease: Duration) -> Later<'_, ()> {
        Box::pin(async move {
            reply(self.settled(id, self.link.run(Script::Touch, id, &[millis(lease)], &[]).await)?, |_| Ok(()))
        })
    }

    fn end(&self, id: Uuid, reason: EndReason, unless_used_since: Option<StoreTime>) -> Later<'_, Ended> {
        Box::pin(async move {
            let since = unless_used_since.map(|since| since.0.to_string()).unwrap_or_default();
            let head = [reason.name().to_owned(), since];
            let answer = self.settled(id, self.link.run(Script::End, id, &head, &[]).await)?;
            if answer.what.kind == "ended" && unless_used_since.is_none() {
                self.link.forget_soon(id);
            }
            reply(answer, |answer| {
                Ok(match answer.kind.as_str() {
                    "gone" => Ended::Gone(answer.gone()?),
                    "used" => Ended::Used,
                    _ => Ended::Now,
                })
            })
        })
    }

    fn cancel(&self, id: Uuid, call: &Id) {
        self.link.tell_all(format!("cancel {id} {}", call.canonical().as_json()));
    }
}

fn json(record: &super::Record) -> String {
    // Plain data with texts as keys: nothing that could fail.
    serde_json::to_string(record).unwrap_or_default()
}

#[cfg(test)]
mod tests;
