//! The request headers that decide how a request is served: parsed, not searched for substrings.

use std::borrow::Cow;

use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

/// `Mcp-Session-Id` (MCP 2025-03-26 basic/transports, Session Management).
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `MCP-Protocol-Version` (MCP 2025-06-18 basic/transports, Protocol Version Header).
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Last-Event-ID` (HTML Standard, Server-sent events).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// `X-Instance-Id`: which run of the server answered, to tell replicas apart.
pub const INSTANCE_ID: HeaderName = HeaderName::from_static("x-instance-id");
/// `X-Request-Id`.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `Server-Timing` (W3C Server Timing).
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// `X-Accel-Buffering`: nginx must not buffer a stream.
pub const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Which of the two forms of an answer a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// `application/json`
    pub json: bool,
    /// `text/event-stream`
    pub sse: bool,
}

/// What `Accept` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    /// What it accepts.
    pub accepts: Accepts,
    /// What it names, not by a wildcard: what the specification asks of clients.
    pub lists: Accepts,
}

impl Accept {
    /// Of these headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        match usual(headers) {
            Some(usual) => Self { accepts: usual, lists: usual },
            None => Self { accepts: accepts(headers), lists: lists(headers) },
        }
    }
}

/// Reads `Accept` (RFC 9110 section 12.5.1): the most specific range that matches a type decides, and `q=0` means no. No
/// Accept, or an empty one, accepts everything.
#[must_use]
pub fn accepts(headers: &HeaderMap) -> Accepts {
    // How specific the best match so far is, and what it says: */* is 1, type/* is 2, type/subtype is 3.
    let (mut json, mut sse) = ((0, false), (0, false));
    let mut any = false;
    for range in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if media.is_empty() {
            continue;
        }
        any = true;
        let allowed = parts
            .find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
            .is_none_or(|q| !is_zero(q));
        for (kind, subtype, best) in [("application", "json", &mut json), ("text", "event-stream", &mut sse)] {
            let specificity = specificity(media, kind, subtype);
            if specificity > best.0 || (specificity == best.0 && specificity > 0 && allowed) {
                *best = (specificity, allowed);
            }
        }
    }
    if any { Accepts { json: json.1, sse: sse.1 } } else { Accepts { json: true, sse: true } }
}

/// Which of the two forms `Accept` lists by name, not by a wildcard: what the specification asks of clients.
#[must_use]
pub fn lists(headers: &HeaderMap) -> Accepts {
    let accept = |values: &str| {
        let (mut json, mut sse) = (false, false);
        for range in values.split(',') {
            let (media, parameters) = range.split_once(';').unwrap_or((range, ""));
            let refused = || {
                let q = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
                let mut q = q.filter(|(name, _)| name.eq_ignore_ascii_case("q"));
                q.any(|(_, value)| is_zero(value))
            };
            let media = media.trim();
            json |= media.eq_ignore_ascii_case("application/json") && !refused();
            sse |= media.eq_ignore_ascii_case("text/event-stream") && !refused();
        }
        (json, sse)
    };
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).map(accept);
    let (json, sse) = values.fold((false, false), |all, one| (all.0 | one.0, all.1 | one.1));
    Accepts { json, sse }
}

/// Whether a weight means no. What is no number (`NaN` is none either) says nothing.
fn is_zero(q: &str) -> bool {
    q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0)
}

/// What an `Accept` lists, and accepts, that is to the letter what nearly every client sends: that needs no parsing.
fn usual(headers: &HeaderMap) -> Option<Accepts> {
    let mut values = headers.get_all(ACCEPT).iter();
    let usual = match values.next()?.as_bytes() {
        b"application/json, text/event-stream" => Accepts { json: true, sse: true },
        b"application/json" => Accepts { json: true, sse: false },
        b"text/event-stream" => Accepts { json: false, sse: true },
        _ => return None,
    };
    values.next().is_none().then_some(usual)
}

fn specificity(range: &str, kind: &str, subtype: &str) -> u8 {
    match range.split_once('/') {
        Some(("*", "*")) => 1,
        Some((k, "*")) if k.eq_ignore_ascii_case(kind) => 2,
        Some((k, s)) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => 3,
        _ => 0,
    }
}

/// Whether the body is declared as JSON: exactly one `Content-Type`, `application/json`, with any parameters. Anything
/// else is refused: a browser may send `text/plain` across sites without asking (CVE-2026-33252 in another server).
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    if value == "application/json" {
        return true;
    }
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Whether the body is compressed: any `Content-Encoding` but `identity`.
#[must_use]
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        let codings = value.to_str().unwrap_or("unreadable").split(',').map(str::trim);
        codings.into_iter().any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
    })
}

/// What `MCP-Protocol-Version` says, whether it is served or not; `None` when absent or empty.
#[must_use]
pub fn protocol_version(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    single(headers, &PROTOCOL_VERSION)
}

/// The value of a header that must not have several: repeats of the same value count once, different ones are joined.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().map(text);
    let first = values.next()?;
    let joined = values.next().map(|second| {
        let mut values: Vec<_> = [first.clone(), second].into_iter().chain(values).collect();
        values.dedup();
        values.join(", ")
    });
    Some(joined.map_or(first, Cow::Owned)).filter(|joined| !joined.is_empty())
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    if let Ok(text) = value.to_str() {
        return Cow::Borrowed(text.trim_ascii());
    }
    match String::from_utf8_lossy(value.as_bytes()) {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// What `Mcp-Session-Id` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionHeader {
    /// Absent or empty.
    Absent,
    /// An id as this server makes them.
    Id(Uuid),
    /// Several values: two lines of the header, or one in which something joined them.
    Several,
    /// Something that was never one of this server's ids.
    Foreign,
}

/// Reads `Mcp-Session-Id`. Ids are compared to the letter: lower case, hyphenated.
#[must_use]
pub fn session_id(headers: &HeaderMap) -> SessionHeader {
    let mut lines = headers.get_all(&SESSION_ID).iter().map(text);
    let Some(text) = lines.next() else { return SessionHeader::Absent };
    if lines.next().is_some() || text.contains(',') {
        return SessionHeader::Several;
    }
    if text.is_empty() {
        return SessionHeader::Absent;
    }
    let is_as_made = text.len() == uuid::fmt::Hyphenated::LENGTH && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    match Uuid::try_parse(&text) {
        Ok(id) if is_as_made => SessionHeader::Id(id),
        _ => SessionHeader::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn accept_is_parsed_and_not_searched() {
        let cases = [
            (&[][..], true, true),
            (&[""], true, true),
            (&["*/*"], true, true),
            (&["application/json, text/event-stream"], true, true),
            (&["text/event-stream", "application/json"], true, true),
            (&["application/json"], true, false),
            (&["TEXT/EVENT-STREAM"], false, true),
            (&["application/json;q=0, */*"], false, true),
            (&["text/event-stream;q=0.0,*/*;q=0.1"], true, false),
            (&["application/*"], true, false),
            (&["text/html, application/xhtml+xml"], false, false),
            (&["application/jsonp"], false, false),
            (&["application/json; charset=utf-8; q=0"], false, false),
            (&["x-application/json-thing"], false, false),
            (&["*/*;q=0"], false, false),
            (&["text/plain, */*;q=0.8"], true, true),
            (&["application/json;q=nan"], true, false),
        ];
        for (values, json, sse) in cases {
            assert_eq!(accepts(&with(&ACCEPT, values)), Accepts { json, sse }, "{values:?}");
        }
    }

    #[test]
    fn a_wildcard_lists_nothing() {
        for (value, json, sse) in [
            ("application/json, text/event-stream", true, true),
            ("Text/Event-Stream;q=0.5,application/json", true, true),
            ("*/*", false, false),
            ("application/json;q=0, text/event-stream", false, true),
            ("application/*, text/*", false, false),
            ("", false, false),
            ("application/json;q=nan", true, false),
        ] {
            assert_eq!(lists(&with(&ACCEPT, &[value])), Accepts { json, sse }, "{value}");
        }
        let both = with(&ACCEPT, &["application/json", "text/event-stream"]);
        assert_eq!(lists(&both), Accepts { json: true, sse: true });
    }

    #[test]
    fn only_json_is_json() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"] {
            assert!(is_json(&with(&CONTENT_TYPE, &[good])), "{good}");
        }
        for bad in [&["text/plain"][..], &[], &["application/json-rpc"], &["application/json", "text/plain"], &["json"]]
        {
            assert!(!is_json(&with(&CONTENT_TYPE, bad)), "{bad:?}");
        }
    }

    #[test]
    fn a_version_that_came_several_times_is_one_only_where_all_are_the_same() {
        let of = |values: &[&str]| protocol_version(&with(&PROTOCOL_VERSION, values)).map(Cow::into_owned);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[""]), None);
        assert_eq!(of(&["2025-06-18", "2025-06-18"]).as_deref(), Some("2025-06-18"));
        assert_eq!(of(&["2025-06-18", "2025-03-26"]).as_deref(), Some("2025-06-18, 2025-03-26"));
    }

    #[test]
    fn a_session_id_is_taken_to_the_letter() {
        let id = "550e8400-e29b-41d4-a716-446655440000";
        let of = |value: &str| session_id(&with(&SESSION_ID, &[value]));
        assert_eq!(of(id), SessionHeader::Id(id.parse().unwrap()));
        assert_eq!(of(""), SessionHeader::Absent);
        for foreign in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), "x".into(), "../..".into()] {
            assert_eq!(of(&foreign), SessionHeader::Foreign, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn header_parsers_never_panic(value in "[ -~]{0,60}") {
            if let Ok(header) = http::HeaderValue::from_str(&value) {
                let mut headers = HeaderMap::new();
                for name in [ACCEPT, CONTENT_TYPE, SESSION_ID, PROTOCOL_VERSION] {
                    headers.append(name, header.clone());
                }
                let _ = accepts(&headers);
                let _ = is_json(&headers);
                let _ = session_id(&headers);
                let _ = protocol_version(&headers);
            }
        }
    }
}
