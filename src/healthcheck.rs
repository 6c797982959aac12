//! The `healthcheck` subcommand: opens a session on a running server as a client would, and ends it.
//!
//! A client of its own, a hundred lines on hyper, so that an image without shell and curl can probe itself. Plain http
//! only: the probe runs beside the server, inside of whatever terminates TLS.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::protocol::RpcError;
use crate::request::headers::PROTOCOL_VERSION as PROTOCOL_VERSION_HEADER;
use crate::text;

/// The time that the whole check may take: below the timeout of container health checks, which is 30 s unless set.
const LIMIT: Duration = Duration::from_secs(5);

/// The most that is read of an answer, in bytes: an `initialize` result is under 1 KiB.
const MAX_ANSWER: usize = 256 * 1024;

/// The most that is shown of an answer that is not as expected, in characters.
const SHOWN: usize = 200;

/// The revision asked for: the newest that every server of the last year has.
const PROTOCOL_VERSION: &str = "2025-06-18";

/// Why a server is not healthy, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// The URL is not one that can be asked.
    #[error("{url:?} {reason}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No connection.
    #[error("cannot connect to {address}: {source}; is the server running, and on this address and port?")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("no HTTP answer to {method}: {source}; is it an MCP server that listens there, without TLS?")]
    Http {
        /// Of the request.
        method: Method,
        /// What hyper says.
        source: hyper::Error,
    },
    /// An answer, but not the one that a healthy server gives.
    #[error("{method} was answered with {status}: {body}; {advice}")]
    Status {
        /// Of the request.
        method: Method,
        /// Of the answer.
        status: StatusCode,
        /// The beginning of the answer's body.
        body: String,
        /// What to look at.
        advice: &'static str,
    },
    /// 200, but no `initialize` result.
    #[error("initialize was answered without a protocolVersion: {body}; is it an MCP endpoint?")]
    Answer {
        /// The beginning of the answer's body.
        body: String,
    },
    /// The limit is over.
    #[error("no answer within {} s; the server is overloaded or stuck: look at its log", LIMIT.as_secs())]
    TimedOut,
}

/// Initializes a session at `url`, checks the answer, and ends the session. Returns a line for people.
///
/// # Errors
/// What failed and what to do about it.
pub async fn run(url: &str) -> Result<String, HealthcheckError> {
    let target = Target::parse(url)?;
    tokio::time::timeout(LIMIT, target.check()).await.map_err(|_| HealthcheckError::TimedOut)?
}

/// Where to ask.
struct Target {
    host: String,
    port: u16,
    /// The `Host` header's value.
    authority: HeaderValue,
    /// Path and query.
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, HealthcheckError> {
        let bad = |reason| HealthcheckError::Url { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|_| bad("is not a URL; write one such as http://127.0.0.1:3000/mcp"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(bad("is https, which the healthcheck does not speak; ask the server itself over http"));
            }
            _ => return Err(bad("does not begin with http://; write one such as http://127.0.0.1:3000/mcp")),
        }
        let (Some(host), Some(authority)) = (uri.host().filter(|host| !host.is_empty()), uri.authority()) else {
            return Err(bad("names no host"));
        };
        if authority.as_str().contains('@') {
            return Err(bad("carries a user, which the healthcheck does not send; leave it out"));
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| bad("names no host"))?,
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }

    async fn check(&self) -> Result<String, HealthcheckError> {
        let mut response = self.send(Method::POST, None, initialize().to_string()).await?;
        let session = response.headers().get("mcp-session-id").cloned();
        let status = response.status();
        let body = read(&mut response, |body| answer(body).is_some()).await;
        let body = body.map_err(|source| HealthcheckError::Http { method: Method::POST, source })?;
        if status == StatusCode::BAD_REQUEST
            && let Some(supported) = supported(&body)
        {
            return Ok(format!("healthy: the server speaks {supported} and has no initialize\n"));
        }
        if status != StatusCode::OK {
            return Err(unexpected(Method::POST, status, &body));
        }
        let result = answer(&body).ok_or_else(|| HealthcheckError::Answer { body: shown(&body) })?;
        if let Some(session) = session {
            self.end(session, &result.protocol_version).await?;
        }
        Ok(format!("healthy: {} speaks {}\n", result.server, result.protocol_version))
    }

    /// A server need not let clients end sessions (405), and may have ended this one (404).
    async fn end(&self, session: HeaderValue, version: &str) -> Result<(), HealthcheckError> {
        let mut response = self.send(Method::DELETE, Some((session, version)), String::new()).await?;
        let status = response.status();
        if status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED || status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let body = read(&mut response, |_| false).await.unwrap_or_default();
        Err(unexpected(Method::DELETE, status, &body))
    }

    /// Sends one request over a connection of its own: the one before may still be streaming.
    async fn send(
        &self,
        method: Method,
        session: Option<(HeaderValue, &str)>,
        body: String,
    ) -> Result<Response<Incoming>, HealthcheckError> {
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = connected.map_err(|source| HealthcheckError::Connect {
            address: self.authority.to_str().unwrap_or_default().to_owned(),
            source,
        })?;
        let failed = |source| HealthcheckError::Http { method: method.clone(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // Ends with the program at the latest; its errors are those of the request.
        tokio::spawn(connection);

        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method.clone();
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("healthcheck/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((session, version)) = session {
            headers.insert("mcp-session-id", session);
            // The negotiated one: a server may have been narrowed to others than the one asked for.
            if let Ok(version) = HeaderValue::from_str(version) {
                headers.insert(PROTOCOL_VERSION_HEADER, version);
            }
        }
        sender.send_request(request).await.map_err(failed)
    }
}

fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": {},
            "clientInfo": { "name": "healthcheck", "version": env!("CARGO_PKG_VERSION") }
        }
    })
}

/// Reads a body up to its end, to [`MAX_ANSWER`], or until it `is_enough`: a stream may stay open after the answer.
async fn read(response: &mut Response<Incoming>, is_enough: impl Fn(&[u8]) -> bool) -> Result<BytesMut, hyper::Error> {
    let mut body = BytesMut::new();
    while let Some(frame) = response.body_mut().frame().await {
        if let Some(data) = frame?.data_ref() {
            body.extend_from_slice(&data[..data.len().min(MAX_ANSWER - body.len())]);
        }
        if body.len() == MAX_ANSWER || is_enough(&body) {
            break;
        }
    }
    Ok(body)
}

/// The versions that a server names which has no handshake to initialize (MCP 2026-07-28, `UnsupportedProtocolVersionError`):
/// it is alive, and says so as it should.
fn supported(body: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_str(std::str::from_utf8(body).ok()?).ok()?;
    let error = message.get("error").filter(|error| error["code"] == RpcError::UNSUPPORTED_PROTOCOL_VERSION)?;
    let versions: Vec<&str> = error["data"]["supported"].as_array()?.iter().filter_map(Value::as_str).collect();
    Some(text::shorten(&versions.join(", "), SHOWN))
}

/// What matters of an `initialize` result.
struct Initialized {
    protocol_version: String,
    server: String,
}

/// The `initialize` result in a body of JSON or of server-sent events, if it is there.
fn answer(body: &[u8]) -> Option<Initialized> {
    let text = std::str::from_utf8(body).ok()?;
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let message = std::iter::once(text)
        .chain(events)
        .find_map(|json| serde_json::from_str::<Value>(json).ok().filter(|message| message["id"] == 1))?;
    let result = &message["result"];
    Some(Initialized {
        protocol_version: result["protocolVersion"].as_str()?.to_owned(),
        server: text::shorten(result["serverInfo"]["name"].as_str().unwrap_or("the server"), SHOWN),
    })
}

fn unexpected(method: Method, status: StatusCode, body: &[u8]) -> HealthcheckError {
    let advice = match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "is the path right? the MCP endpoint is /mcp",
        StatusCode::UNAUTHORIZED => "ask the server itself, not the proxy that checks tokens before it",
        StatusCode::FORBIDDEN => "the host of --url is not allowed: use 127.0.0.1, or add it to MCP_ALLOWED_HOSTS",
        StatusCode::SERVICE_UNAVAILABLE => "the server is full: raise MCP_MAX_SESSIONS or lower MCP_SESSION_TIMEOUT",
        _ if status.is_redirection() => "redirects are not followed: use the URL it redirects to",
        _ => "look at the server's log",
    };
    HealthcheckError::Status { method, status, body: shown(body), advice }
}

/// The beginning of a body in one line.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN + 1).collect();
    if line.is_empty() { "(empty body)".to_owned() } else { text::shorten(&line, SHOWN) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"mcp-echo","version":"1"}}}"#;

    /// A server that gives these answers, one a connection, and returns the requests that it got.
    async fn server(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let mut requests = vec![];
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                requests.push(request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        });
        (url, served)
    }

    /// Reads one request with its body.
    async fn request(stream: &mut TcpStream) -> String {
        let mut request = String::new();
        loop {
            let mut part = [0; 4096];
            let n = stream.read(&mut part).await.unwrap();
            request.push_str(std::str::from_utf8(&part[..n]).unwrap());
            let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if n == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return request;
            }
        }
    }

    fn http(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_session_is_opened_checked_and_ended() {
        let ok = http("200 OK", "content-type: application/json\r\nmcp-session-id: abc\r\n", RESULT);
        let (url, served) = server(vec![ok, http("204 No Content", "", "")]).await;
        assert_eq!(run(&url).await.unwrap(), "healthy: mcp-echo speaks 2025-06-18\n");
        let requests = served.await.unwrap();
        assert!(requests[0].starts_with("POST /mcp HTTP/1.1\r\n"), "{}", requests[0]);
        assert!(requests[0].contains(r#""name":"healthcheck""#) && requests[0].contains(r#""2025-06-18""#));
        assert!(requests[1].starts_with("DELETE /mcp HTTP/1.1\r\n"), "{}", requests[1]);
        assert!(requests[1].contains("mcp-session-id: abc\r\n"), "{}", requests[1]);
    }

    #[tokio::test]
    async fn a_session_is_ended_in_the_version_that_was_negotiated() {
        let ok = http("200 OK", "mcp-session-id: abc\r\n", &RESULT.replace("2025-06-18", "2025-11-25"));
        let (url, served) = server(vec![ok, http("204 No Content", "", "")]).await;
        assert_eq!(run(&url).await.unwrap(), "healthy: mcp-echo speaks 2025-11-25\n");
        assert!(served.await.unwrap()[1].contains("mcp-protocol-version: 2025-11-25\r\n"));
    }

    #[tokio::test]
    async fn a_server_without_handshake_revisions_is_healthy_when_it_says_so() {
        let error =
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["2026-07-28"]}}}"#;
        let (url, _served) = server(vec![http("400 Bad Request", "", error)]).await;
        assert_eq!(run(&url).await.unwrap(), "healthy: the server speaks 2026-07-28 and has no initialize\n");
    }

    #[tokio::test]
    async fn an_answer_on_a_stream_that_stays_open_is_enough() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (result, _stream) = tokio::join!(run(&url), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            let event = format!("id: 0\ndata:\n\nevent: message\ndata: {RESULT}\n\n");
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}{:x}\r\n{event}\r\n", event.len()).as_bytes()).await.unwrap();
            stream
        });
        assert_eq!(result.unwrap(), "healthy: mcp-echo speaks 2025-06-18\n");
    }

    #[tokio::test]
    async fn what_a_sick_server_says_is_told_with_advice() {
        let error_result = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unsupported"}}"#;
        for (answer, expected) in [
            (
                http("404 Not Found", "", "nothing here"),
                "POST was answered with 404 Not Found: nothing here; is the path right?",
            ),
            (http("403 Forbidden", "", ""), "403 Forbidden: (empty body); the host of --url is not allowed"),
            (http("200 OK", "", error_result), "initialize was answered without a protocolVersion: {\"jsonrpc\""),
            (http("200 OK", "", "<html>"), "is it an MCP endpoint?"),
            ("SSH-2.0-OpenSSH\r\n".to_owned(), "no HTTP answer to POST"),
        ] {
            let (url, _served) = server(vec![answer]).await;
            let error = run(&url).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_session_that_cannot_be_ended_is_a_failure_unless_the_server_need_not() {
        let ok = http("200 OK", "mcp-session-id: abc\r\n", RESULT);
        for (answer, healthy) in [("405 Method Not Allowed", true), ("404 Not Found", true), ("500 Oops", false)] {
            let (url, _served) = server(vec![ok.clone(), http(answer, "", "")]).await;
            assert_eq!(run(&url).await.is_ok(), healthy, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_such() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let error = run(&format!("http://127.0.0.1:{port}/mcp")).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{error}");
        assert!(error.ends_with("is the server running, and on this address and port?"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_after_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        assert!(matches!(run(&url).await, Err(HealthcheckError::TimedOut)));
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_refused() {
        for (url, reason) in [
            ("https://mcp.example/mcp", "does not speak"),
            ("ftp://mcp.example", "does not begin with http://"),
            ("/mcp", "does not begin with http://"),
            ("http://", "is not a URL"),
            ("http://user:pass@127.0.0.1/", "carries a user"),
        ] {
            let error = run(url).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
        let target = Target::parse("http://[::1]:3000/mcp?x").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 3000, "/mcp?x"));
    }
}
