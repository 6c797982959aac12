//! Exchanges as HTTP Archive 1.2, which browsers' developer tools open.

use serde_json::{Value, json};

use super::exchanges::ms;
use crate::recorder::Exchange;
use crate::text::rfc3339;

/// The archive, as JSON.
pub fn of(exchanges: &[Exchange]) -> String {
    let entries: Vec<_> = exchanges.iter().map(entry).collect();
    json!({
        "log": {
            "version": "1.2",
            "creator": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
            "entries": entries,
        }
    })
    .to_string()
}

fn entry(exchange: &Exchange) -> Value {
    let head = &exchange.head;
    let host = head.header("host").or_else(|| head.header(":authority")).unwrap_or("localhost");
    let headers: Vec<_> = head.headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let query: Vec<_> = head
        .target
        .split_once('?')
        .map_or("", |(_, query)| query)
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            json!({ "name": name, "value": value })
        })
        .collect();
    let (request, answer) = exchange.seen.bodies();
    let mut request_json = json!({
        "method": head.method,
        "url": format!("http://{host}{}", head.target),
        "httpVersion": head.protocol,
        "cookies": [],
        "headers": headers,
        "queryString": query,
        "headersSize": -1,
        "bodySize": head.header("content-length").and_then(|length| length.parse::<i64>().ok()).unwrap_or(-1),
    });
    if let Some(body) = request {
        let kind = head.header("content-type").unwrap_or("application/octet-stream");
        request_json["postData"] = json!({ "mimeType": kind, "text": body });
    }
    let kind = exchange.content_type.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut content = json!({ "size": -1, "mimeType": kind });
    if let Some(body) = answer {
        content["size"] = json!(body.len());
        content["text"] = json!(body);
    }
    let reason = http::StatusCode::from_u16(exchange.status).ok().and_then(|status| status.canonical_reason());
    let comment = [exchange.refused.as_deref().unwrap_or_default().to_owned(), exchange.seen.findings().join(", ")];
    json!({
        "startedDateTime": rfc3339(exchange.at),
        "time": ms(exchange.took),
        "request": request_json,
        "response": {
            "status": exchange.status,
            "statusText": reason.unwrap_or_default(),
            "httpVersion": head.protocol,
            "cookies": [],
            "headers": [{ "name": "content-type", "value": kind }],
            "content": content,
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": { "send": 0, "wait": ms(exchange.took), "receive": 0 },
        "connection": exchange.peer.port().to_string(),
        "comment": comment.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; "),
    })
}
