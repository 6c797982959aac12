//! Exchanges as JSON: a line each, for scripts.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Asked, MOST, SIGN_OF_LIFE, View};
use crate::recorder::{Exchange, Prefix};
use crate::seen::{AskedId, StreamEnd};
use crate::text::rfc3339;

/// Milliseconds, to the microsecond.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// An exchange as JSON. Members that do not apply are left out.
pub fn json(exchange: &Exchange) -> Value {
    let Exchange { head, seen, .. } = exchange;
    let mut json = json!({
        "number": exchange.number,
        "id": exchange.id.as_str(),
        "time": rfc3339(exchange.at),
        "durationMs": ms(exchange.took),
        "peer": exchange.peer.to_string(),
        "protocol": head.protocol,
        "method": head.method,
        "target": head.target,
        "headers": head.headers.iter().map(|(name, value)| [name, value]).collect::<Vec<_>>(),
        "status": exchange.status,
    });
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            json[name] = value;
        }
    };
    if let Some(asked) = seen.asked() {
        let mut rpc = json!({ "method": asked.method });
        if let Some(tool) = asked.tool() {
            rpc["tool"] = json!(tool);
        }
        match &asked.id {
            Some(AskedId::Number(number)) => rpc["id"] = json!(number),
            Some(AskedId::Json(id)) => rpc["id"] = serde_json::from_str(id).unwrap_or_else(|_| json!(id)),
            None => {}
        }
        add("rpc", rpc);
    }
    add("session", json!(exchange.session.as_ref().map(Prefix::as_str)));
    add("refused", json!(exchange.refused));
    let findings = seen.findings();
    if !findings.is_empty() {
        add("findings", json!(findings));
    }
    let (request, answer) = seen.bodies();
    add("request", json!(request));
    add("answer", json!(answer));
    if let Some(stream) = seen.stream() {
        let mut shown = json!({
            "events": stream.events,
            "eventsAtMs": stream.times.iter().map(|at| ms(*at)).collect::<Vec<_>>(),
            "keepAlives": stream.kept_alive,
            "open": stream.end.is_none(),
        });
        if let Some((by, at, silence)) = stream.end {
            shown["endedBy"] = json!(match by {
                StreamEnd::Server => "server",
                StreamEnd::Client => "client",
            });
            (shown["endedAtMs"], shown["silenceMs"]) = (json!(ms(at)), json!(ms(silence)));
        }
        add("stream", shown);
    }
    json
}

/// The same as a line.
pub fn line(exchange: &Exchange) -> String {
    let mut line = json(exchange).to_string();
    line.push('\n');
    line
}

/// The exchanges that are there, then those that come. An empty line is a sign of life.
pub fn follow(
    view: Arc<View>,
    asked: Asked,
    shutdown: CancellationToken,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    async_stream::stream! {
        let _place = place;
        let chosen = asked.chosen(&view);
        let mut after = view.recorder.newest(1).last().map_or(0, |newest| newest.number).max(asked.since.unwrap_or(0));
        for exchange in chosen {
            yield Ok(Bytes::from(line(&exchange)));
        }
        loop {
            let grown = view.recorder.grown();
            tokio::pin!(grown);
            // Listening before looking.
            grown.as_mut().enable();
            let new = view.recorder.after(after, MOST);
            if let Some(newest) = new.last() {
                after = newest.number;
                for exchange in new.iter().filter(|exchange| asked.wants(exchange)) {
                    yield Ok(Bytes::from(line(exchange)));
                }
                continue;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = grown => {}
                () = tokio::time::sleep(SIGN_OF_LIFE) => yield Ok(Bytes::from_static(b"\n")),
            }
        }
    }
}
