//! What ends GET streams: loops, streams that push each other out, limits on the way.

use std::time::Duration;

use super::{Facts, Finding, Rule, Severity};
use crate::session::streams::{End, Life, SHORT, Streams};
use crate::text::duration;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "ses.get_loop",
        severity: Severity::Warning,
        meaning: "GET streams are opened and closed at once, again and again: a reconnect loop",
        fix: "this server keeps a GET stream open until its client leaves: give the client's stream no read time-out, let its HTTP \
              library hand out an answer that does not end, and have it wait longer from one try to the next; a client that wants \
              no notifications need not open GET",
        reference: "MCP 2025-03-26 and later, basic/transports, Listening for Messages from the Server",
        check: get_loop,
    },
    Rule {
        id: "ses.streams_displaced",
        severity: Severity::Warning,
        meaning: "GET streams of the session push each other out, again and again",
        fix: "have one part of the client open GET streams, end its old connection before it opens a new one, and send Last-Event-ID \
              for no stream but the one that the event came on",
        reference: "MCP 2025-11-25 basic/transports, Resumability and Redelivery",
        check: displaced,
    },
    Rule {
        id: "ses.foreign_event_id",
        severity: Severity::Info,
        meaning: "a GET came with a Last-Event-ID that names no event of its session",
        fix: "forget the last event id together with the session that it came from; nothing is lost: the stream began with the oldest \
              message that nobody had",
        reference: "MCP 2025-11-25 basic/transports, Resumability and Redelivery",
        check: foreign_event_id,
    },
    Rule {
        id: "ses.get_not_reopened",
        severity: Severity::Warning,
        meaning: "the session's GET stream ended and was not opened again, while messages wait for it",
        fix: "have the client open GET again when its stream ends (SDKs do so after a second or the time of retry:), and check that \
              a proxy lets the second GET through as it did the first",
        reference: "MCP 2025-11-25 basic/transports, Listening for Messages from the Server",
        check: not_reopened,
    },
    Rule {
        id: "ses.stream_timeout",
        severity: Severity::Warning,
        meaning: "GET streams end after the same time, or after the same silence, again and again: a time-out on the way",
        fix: "find the limit of that length on the way and raise it for this path; keep-alives reset one that counts silence, but \
              none on the whole answer",
        reference: "Envoy route timeout, Google Cloud backend service timeout, nginx proxy_read_timeout, AWS ALB idle timeout, Cloudflare \
                    Proxy Read Timeout, Heroku H15, undici bodyTimeout",
        check: stream_timeout,
    },
];

/// Streams in a row that make a loop: SDKs try three times and give up, and a person who tries stops sooner.
const LOOP: u32 = 5;

/// Streams pushed out in a row: once is a client that comes back before its dead connection is noticed.
const PUSHED_OUT: u32 = 3;

/// Who it is that ends a stream from the other end.
fn other_end(streams: &Streams) -> &'static str {
    if streams.proxied { "the client, or a proxy between" } else { "the client" }
}

/// Milliseconds as seconds to a tenth.
fn seconds(ms: u32) -> String {
    let tenths = (ms + 50) / 100;
    if tenths.is_multiple_of(10) { format!("{} s", tenths / 10) } else { format!("{}.{} s", tenths / 10, tenths % 10) }
}

fn get_loop(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let streams = facts.streams()?;
    let row = Some(streams.row).filter(|row| row.end == End::Remote && row.count >= LOOP)?;
    let who = other_end(streams);
    let span = duration(row.until.since(row.since));
    let summary = format!(
        "a reconnect loop: {} GETs in {span}, each closed by {who} after {} at most",
        row.count,
        seconds(row.longest_ms)
    );
    let finding = Finding::new(rule, summary, "GET streams in a row", &row.count.to_string())
        .and_evidence("lives in ms, the last ones", &list(streams.lives(), |life| life.ms))
        .and_evidence("ended by", who);
    if streams.proxied {
        let way = "first open the GET without the proxy: where it then stays open, the proxy ends it; else the client does, and there: ";
        return Some(finding.with_fix(format!("{way}{}", rule.fix)));
    }
    Some(finding)
}

fn displaced(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let row = facts.session?.record.history.streams.as_deref()?.row;
    if row.end != End::Displaced || row.count < PUSHED_OUT {
        return None;
    }
    let span = duration(row.until.since(row.since));
    let longest = seconds(row.longest_ms);
    let summary = format!(
        "GET streams of this session push each other out: {} in {span}, each after {longest} at most",
        row.count
    );
    Some(Finding::new(rule, summary, "streams that another one replaced, in a row", &row.count.to_string()))
}

fn foreign_event_id(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let count = facts.streams()?.foreign_ids;
    let summary = "a GET came with a Last-Event-ID that names no event of its session";
    (count > 0).then(|| Finding::new(rule, summary, "such GETs", &count.to_string()))
}

/// Messages that wait before a stream that has ended is worth a word at once; fewer ones are when they wait for longer.
const WAITING: usize = 10;
const WAITED: Duration = Duration::from_secs(60);

fn not_reopened(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let session = facts.session?;
    let streams = session.record.history.streams.as_deref()?;
    let last = streams.last().filter(|last| last.end == End::Remote)?;
    let pending = session.figures.pending;
    let ago = session.now.since(last.ended());
    if session.figures.streams > 0 || pending == 0 || (pending < WAITING && ago < WAITED) {
        return None;
    }
    let summary = format!(
        "the GET stream was closed {} ago and not opened again; {pending} {} for it",
        duration(ago),
        if pending == 1 { "message waits" } else { "messages wait" },
    );
    let finding = Finding::new(rule, summary, "messages that wait", &pending.to_string())
        .and_evidence("GET streams opened so far", &streams.opened.to_string());
    Some(finding.and_evidence("the last one", &format!("lived {}, ended by {}", seconds(last.ms), other_end(streams))))
}

/// A known limit.
struct Limit {
    /// In seconds.
    seconds: u32,
    /// Whose it is where it counts silence; empty for nobody's.
    idle: &'static str,
    /// Whose it is where it counts the whole answer; empty for nobody's.
    whole: &'static str,
}

/// Known limits, and times that people set. Sources: each product's documentation of the setting that is named.
const LIMITS: &[Limit] = &[
    Limit { seconds: 5, idle: "the read timeout of httpx clients (Python)", whole: "" },
    Limit { seconds: 10, idle: "", whole: "" },
    Limit { seconds: 15, idle: "", whole: "the timeout of a route in Envoy where none is set" },
    Limit { seconds: 20, idle: "the request timeout of Azure Application Gateway", whole: "" },
    Limit { seconds: 29, idle: "", whole: "the integration timeout of AWS API Gateway" },
    Limit {
        seconds: 30,
        idle: "",
        whole: "the backend service timeout of Google Cloud load balancers, the route timeout of Pomerium, the integration timeout of \
                AWS API Gateway's HTTP APIs",
    },
    Limit { seconds: 45, idle: "", whole: "" },
    Limit { seconds: 55, idle: "the Heroku router (H15)", whole: "" },
    Limit {
        seconds: 60,
        idle: "nginx proxy_read_timeout, HAProxy timeout server, AWS ALB idle timeout, Kong read_timeout",
        whole: "a route's timeout in Envoy",
    },
    Limit { seconds: 90, idle: "", whole: "" },
    Limit { seconds: 100, idle: "the Cloudflare proxy read timeout", whole: "" },
    Limit { seconds: 120, idle: "the Cloudflare proxy read timeout of newer plans", whole: "" },
    Limit { seconds: 125, idle: "Cloudflare (ends idle answers after about 125 s)", whole: "" },
    Limit { seconds: 180, idle: "", whole: "" },
    Limit { seconds: 230, idle: "Azure App Service", whole: "" },
    Limit { seconds: 240, idle: "Azure load balancers and Container Apps", whole: "" },
    Limit {
        seconds: 300,
        idle: "undici bodyTimeout in Node.js clients, the read timeout of the Python SDK, Envoy's stream_idle_timeout",
        whole: "the total timeout of aiohttp clients (Python), the request timeout of Cloud Run where none is set",
    },
    Limit { seconds: 350, idle: "AWS Network Load Balancer", whole: "" },
    Limit { seconds: 600, idle: "", whole: "" },
    Limit { seconds: 900, idle: "", whole: "the longest request at Railway" },
    Limit { seconds: 3600, idle: "", whole: "the longest request timeout of Cloud Run" },
];

/// How far lives of one limit lie apart, in milliseconds: a timer's own grain, and the time until the end is noticed here.
fn apart(ms: u32) -> u32 {
    500 + ms / 100
}

/// How exactly a life matches a known limit, in milliseconds.
fn near(ms: u32) -> u32 {
    1000 + ms / 100
}

/// The most lives that lie together, by what `of` says of them: their middle one, and they.
fn together(lives: &[Life], of: fn(&Life) -> u32) -> Option<(u32, Vec<Life>)> {
    let short = u32::try_from(SHORT.as_millis()).unwrap_or(u32::MAX);
    let mut sorted: Vec<Life> =
        lives.iter().filter(|life| life.end == End::Remote && of(life) >= short).copied().collect();
    sorted.sort_unstable_by_key(of);
    let from = |first: usize| {
        let least = of(&sorted[first]);
        let close = sorted[first..].iter().take_while(|life| of(life) - least <= apart(least));
        close.copied().collect::<Vec<_>>()
    };
    let most = (0..sorted.len()).map(from).max_by_key(Vec::len)?;
    Some((of(&most[most.len() / 2]), most))
}

/// Lives alike that are a pattern where no known limit is as long, and where one is.
const ALIKE: usize = 3;
const ALIKE_AND_KNOWN: usize = 2;

fn stream_timeout(rule: &'static Rule, facts: &Facts<'_>) -> Option<Finding> {
    let streams = facts.streams()?;
    let lives = streams.lives();
    let known = |ms: u32| LIMITS.iter().find(|limit| ms.abs_diff(limit.seconds * 1000) <= near(ms));
    let enough = |ms, count| count >= if known(ms).is_some() { ALIKE_AND_KNOWN } else { ALIKE };
    if let Some((ms, alike)) = together(lives, |life| life.ms)
        && enough(ms, alike.len())
    {
        return Some(regular(rule, facts, streams, ms, &alike, known(ms)));
    }
    let (ms, alike) = together(lives, |life| life.silence_ms)?;
    (alike.len() >= ALIKE).then(|| {
        let span = seconds(ms);
        let summary = format!(
            "{} GET streams ended after {span} without anything sent: a time-out that counts silence",
            alike.len()
        );
        let finding =
            evidence(Finding::new(rule, summary, "lives in ms", &list(&alike, |life| life.ms)), facts, &alike);
        let finding = finding.with_fix(below(ms));
        match known(ms).filter(|limit| !limit.idle.is_empty()) {
            Some(limit) => finding.and_evidence("known for this time", limit.idle),
            None => finding,
        }
    })
}

/// Streams that lived equally long.
fn regular(
    rule: &'static Rule,
    facts: &Facts<'_>,
    streams: &Streams,
    ms: u32,
    alike: &[Life],
    known: Option<&Limit>,
) -> Finding {
    let (count, span) = (alike.len(), seconds(ms));
    // Keep-alives, or messages, went out and reset what counts silence.
    let in_spite = alike.iter().all(|life| life.silence_ms + near(life.ms) < life.ms);
    let envoy = streams.envoy_timeout_ms;
    let is_envoy = envoy > 0 && envoy.abs_diff(ms) <= near(ms);
    let summary = match (is_envoy, in_spite) {
        (true, _) => format!("{count} GET streams ended after {span} each: that is the timeout of the route in Envoy"),
        (false, true) => format!(
            "{count} GET streams ended after {span} each, though something was sent meanwhile: a limit on the whole answer"
        ),
        (false, false) => format!(
            "{count} GET streams ended after {span} each, and nothing had been sent since they opened: a limit on silence, or on the \
             whole answer"
        ),
    };
    let finding = evidence(Finding::new(rule, summary, "lives in ms", &list(alike, |life| life.ms)), facts, alike);
    if is_envoy {
        let header = "X-Envoy-Expected-Rq-Timeout-Ms";
        return finding.and_evidence(header, &envoy.to_string()).with_fix(
            "in Envoy set `timeout: 0s` on the route of this path (keep-alives do not reset it; stream_idle_timeout may stay); in Istio \
             `timeout: 0s` on the VirtualService's route, in Envoy Gateway `timeouts.request: 0s` on the HTTPRoute's rule",
        );
    }
    let whose = known.and_then(|limit| match (in_spite, limit.whole, limit.idle) {
        (_, "", "") => None,
        (_, whole, "") => Some(whole.to_owned()),
        (true, "", idle) => {
            Some(format!("{idle}, if keep-alives do not get there: a proxy that buffers holds them back"))
        }
        (true, whole, idle) => Some(format!("{whole}; not, unless a proxy holds keep-alives back: {idle}")),
        (false, "", idle) => Some(idle.to_owned()),
        (false, whole, idle) => Some(format!("silence: {idle}; the whole: {whole}")),
    });
    let finding = match whose {
        Some(whose) => finding.and_evidence("known for this time", &whose),
        None => finding,
    };
    finding.with_fix(if in_spite {
        format!(
            "raise or switch off what ends a whole answer after {span}: a request or route timeout of the gateway, or of the client; \
             MCP_SSE_KEEPALIVE_INTERVAL changes nothing, since keep-alives went out"
        )
    } else {
        format!("{}; where streams still end after {span} then, it is a limit on the whole answer: raise that one", below(ms))
    })
}

/// How to stay below a limit on silence.
fn below(ms: u32) -> String {
    let half = (ms / 2000).max(1);
    format!("set MCP_SSE_KEEPALIVE_INTERVAL to {half} (seconds), below the time-out, or raise that")
}

fn evidence(finding: Finding, facts: &Facts<'_>, alike: &[Life]) -> Finding {
    let silence = list(alike, |life| life.silence_ms);
    let interval = facts.config.sse_keepalive_interval;
    finding
        .and_evidence("silence before the end, in ms", &silence)
        .and_evidence("keep-alives every", &duration(interval))
}

fn list(lives: &[Life], of: fn(&Life) -> u32) -> String {
    lives.iter().map(|life| of(life).to_string()).collect::<Vec<_>>().join(", ")
}
