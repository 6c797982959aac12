//! A report of what was recorded: who came, what they did, what went wrong.

use std::collections::BTreeMap;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::View;
use super::exchanges::ms;
use crate::recorder::{Exchange, Prefix};
use crate::session::{Stats, read};
use crate::text::{duration, rfc3339, shorten};

/// The most clients that are shown; the others are counted.
const MOST_CLIENTS: usize = 50;

/// What is reported.
pub struct Report {
    endpoint: String,
    at: Timestamp,
    uptime: Duration,
    stats: Stats,
    recorded: usize,
    clients: Vec<Client>,
    operations: Vec<(String, Times)>,
    findings: BTreeMap<&'static str, u64>,
}

/// Who came: an address and what it calls itself.
#[derive(Default)]
struct Client {
    address: String,
    agent: String,
    requests: usize,
    refused: BTreeMap<u16, usize>,
    sessions: Vec<String>,
    methods: BTreeMap<String, usize>,
    findings: BTreeMap<&'static str, usize>,
    streams: usize,
    cut: usize,
    times: Times,
    last: Timestamp,
}

/// How long things took.
#[derive(Default, Clone)]
struct Times(Vec<Duration>);

impl Times {
    fn quantile(&self, of: usize) -> Duration {
        self.0.get((self.0.len() * of / 100).min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn sorted(mut self) -> Self {
        self.0.sort_unstable();
        self
    }

    fn json(&self) -> Value {
        json!({ "count": self.0.len(), "p50Ms": ms(self.quantile(50)), "p95Ms": ms(self.quantile(95)), "p99Ms": ms(self.quantile(99)) })
    }
}

/// Looks at what was recorded.
pub fn of(view: &View) -> Report {
    let exchanges = view.recorder.newest(usize::MAX);
    let server = &view.engine.server;
    let mut clients = BTreeMap::<(String, String), Client>::new();
    let mut operations = BTreeMap::<String, Times>::new();
    for exchange in &exchanges {
        let agent = exchange.head.header("user-agent").unwrap_or("(no User-Agent)");
        let key = (exchange.peer.ip().to_string(), shorten(agent, 100));
        let client =
            clients.entry(key.clone()).or_insert_with(|| Client { address: key.0, agent: key.1, ..Client::default() });
        client.add(exchange);
        operations.entry(name(exchange)).or_default().0.push(exchange.took);
    }
    let mut clients: Vec<_> =
        clients.into_values().map(|client| Client { times: client.times.clone().sorted(), ..client }).collect();
    clients.sort_by_key(|client| std::cmp::Reverse(client.last));
    Report {
        endpoint: view.endpoint.clone(),
        at: server.clock.wall_now(),
        uptime: server.clock.uptime(),
        stats: read(&server.sessions).stats(),
        recorded: exchanges.len(),
        clients,
        operations: operations.into_iter().map(|(name, times)| (name, times.sorted())).collect(),
        findings: server.findings.by_id(),
    }
}

/// What an exchange was about.
fn name(exchange: &Exchange) -> String {
    let Some(asked) = exchange.seen.asked() else {
        let path = exchange.head.target.split('?').next().unwrap_or_default();
        return format!("{} {}", exchange.head.method, shorten(path, 60));
    };
    match asked.tool() {
        Some(tool) => format!("{} {tool}", asked.method),
        None => asked.method.to_string(),
    }
}

impl Client {
    fn add(&mut self, exchange: &Exchange) {
        self.requests += 1;
        self.last = self.last.max(exchange.at);
        if exchange.status >= 400 {
            *self.refused.entry(exchange.status).or_default() += 1;
        }
        if let Some(session) = exchange.session.as_ref().map(Prefix::as_str)
            && !self.sessions.iter().any(|known| known == session)
        {
            self.sessions.push(session.to_owned());
        }
        *self.methods.entry(name(exchange)).or_default() += 1;
        for finding in exchange.seen.findings() {
            *self.findings.entry(finding).or_default() += 1;
        }
        if let Some(stream) = exchange.seen.stream() {
            self.streams += 1;
            self.cut += usize::from(stream.end.is_some_and(|(by, ..)| by == crate::seen::StreamEnd::Client));
        }
        self.times.0.push(exchange.took);
    }
}

fn counts<K: std::fmt::Display>(counts: &BTreeMap<K, usize>) -> String {
    counts.iter().map(|(what, count)| format!("{what} ×{count}")).collect::<Vec<_>>().join(", ")
}

impl Report {
    /// For people.
    pub fn to_text(&self) -> String {
        let Stats { active, created, expired, deleted, evicted, streams, pending_messages, .. } = self.stats;
        let mut text = format!(
            "Report of {}, up for {}\n\n\
             Sessions: {active} live, {created} made, {expired} expired, {deleted} deleted, {evicted} evicted; {streams} streams open, \
             {pending_messages} messages wait\n\
             Recorded: the last {} exchanges\n",
            rfc3339(self.at),
            duration(self.uptime),
            self.recorded
        );
        if self.recorded == 0 {
            text += &format!("\nNothing has come yet. Point a client at {0}, or: curl -s {0}\n", self.endpoint);
            return text;
        }
        if !self.findings.is_empty() {
            text += "\nFindings since the start (docs/findings.md)\n";
            for (id, count) in &self.findings {
                text += &format!("  {count:>6}  {id}\n");
            }
        }
        text += "\nClients, newest first\n";
        for client in self.clients.iter().take(MOST_CLIENTS) {
            text += &format!(
                "  {} {}: {} requests, last {}\n",
                client.address,
                client.agent,
                client.requests,
                rfc3339(client.last)
            );
            text += &format!("      {}\n", counts(&client.methods));
            if !client.refused.is_empty() {
                text += &format!("      refused: {}\n", counts(&client.refused));
            }
            if !client.findings.is_empty() {
                text += &format!("      findings: {}\n", counts(&client.findings));
            }
            if !client.sessions.is_empty() {
                text += &format!("      sessions: {}\n", client.sessions.join(", "));
            }
            if client.streams > 0 {
                text += &format!("      streams: {}, {} ended by the other end\n", client.streams, client.cut);
            }
        }
        if self.clients.len() > MOST_CLIENTS {
            text += &format!("  and {} more\n", self.clients.len() - MOST_CLIENTS);
        }
        text += "\nDurations                      count      p50 ms      p95 ms      p99 ms\n";
        for (name, times) in &self.operations {
            let [p50, p95, p99] = [50, 95, 99].map(|of| ms(times.quantile(of)));
            text += &format!("  {name:<28} {:>5} {p50:>11.3} {p95:>11.3} {p99:>11.3}\n", times.0.len());
        }
        text
    }

    /// For scripts.
    pub fn to_json(&self) -> Value {
        let Stats { active, created, expired, deleted, evicted, streams, pending_messages, .. } = self.stats;
        let client = |client: &Client| {
            json!({
                "address": client.address,
                "userAgent": client.agent,
                "requests": client.requests,
                "last": rfc3339(client.last),
                "methods": client.methods,
                "refused": client.refused,
                "findings": client.findings,
                "sessions": client.sessions,
                "streams": { "opened": client.streams, "endedByTheOtherEnd": client.cut },
                "durations": client.times.json(),
            })
        };
        let operations = self.operations.iter().map(|(name, times)| (name.clone(), times.json()));
        json!({
            "endpoint": self.endpoint,
            "at": rfc3339(self.at),
            "uptimeSeconds": self.uptime.as_secs(),
            "sessions": {
                "active": active,
                "created": created,
                "ended": { "expired": expired, "deleted": deleted, "evicted": evicted },
                "streams": streams,
                "pendingMessages": pending_messages,
            },
            "recorded": self.recorded,
            "findings": self.findings,
            "clients": self.clients.iter().map(client).collect::<Vec<_>>(),
            "operations": operations.collect::<serde_json::Map<_, _>>(),
        })
    }
}
