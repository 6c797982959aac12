//! HTTP/2 from callers that mean harm, frame by frame (RFC 9113). The bounds are mostly those of the `h2` crate: that they
//! hold is for these tests to say.

use std::collections::BTreeSet;
use std::time::Duration;

use mcp_echo_stateful::app::Bounds;
use mcp_echo_stateful::connections::Timeouts;
use mcp_echo_stateful::session::read;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::exchange::{Answer, assert_says};
use crate::server::{TestServer, in_memory, initialize, tool_call, within};

const EVER: Duration = Duration::from_secs(3600);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Error codes (RFC 9113 section 7).
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// A header field, literal and not indexed (RFC 7541 section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        // An integer of 7 bits' prefix (section 5.1).
        let mut rest = text.len();
        if rest < 127 {
            bytes.push(u8::try_from(rest).unwrap());
        } else {
            bytes.push(127);
            rest -= 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn post_head(more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/mcp"),
        (":authority", "localhost"),
        ("content-type", "application/json"),
    ];
    usual.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

/// HEADERS and DATA of a whole POST.
fn post(stream: u32, body: &Value) -> Vec<u8> {
    post_with(stream, &[], body)
}

fn post_with(stream: u32, headers: &[(&str, &str)], body: &Value) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &post_head(headers));
    [head, frame(DATA, END_STREAM, stream, body.to_string().as_bytes())].concat()
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A connection with HTTP/2 agreed on.
struct Http2(TcpStream);

impl Http2 {
    async fn to(server: &TestServer) -> Self {
        Self::with_settings(server, &[]).await
    }

    async fn with_settings(server: &TestServer, settings: &[u8]) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, settings)).await.unwrap();
        Self(stream)
    }

    async fn send(&mut self, frames: impl AsRef<[u8]>) {
        self.0.write_all(frames.as_ref()).await.unwrap();
    }

    /// The next frame; `None` when the connection was closed. PINGs are answered: a client that lives.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        if (head[3], head[4] & ACK) == (PING, 0) {
            let _ = self.0.write_all(&frame(PING, ACK, 0, &payload)).await;
        }
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of this kind.
    async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection was closed");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The DATA of a stream, to its end.
    async fn body_of(&mut self, stream: u32) -> String {
        let mut body = Vec::new();
        loop {
            let frame = self.next().await.expect("the connection was closed");
            if frame.stream == stream && frame.kind == DATA {
                body.extend(frame.payload);
            }
            if frame.stream == stream && frame.flags & END_STREAM != 0 {
                return String::from_utf8(body).unwrap();
            }
        }
    }

    /// The code of the GOAWAY that comes before the end.
    async fn goes_away(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }
}

async fn is_well(server: &TestServer) {
    assert_eq!(Answer::to(server.post(&ping())).await.result(), json!({}));
}

#[tokio::test]
async fn a_connection_by_hand_is_served() {
    let server = TestServer::start().await;
    let mut http2 = Http2::to(&server).await;
    http2.send(post(1, &ping())).await;
    assert_eq!(within(http2.body_of(1)).await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
}

/// CVE-2023-44487, rapid reset: requests that are cancelled at once do not count as open, but each costs the server work.
#[tokio::test]
async fn who_opens_and_resets_streams_without_end_is_sent_away() {
    let server = TestServer::with(|config| config.shutdown_grace = EVER).await;
    let mut http2 = Http2::to(&server).await;
    let frames: Vec<u8> = (0..10_000)
        .flat_map(|n| {
            let reset = frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes());
            [post(2 * n + 1, &ping()), reset].concat()
        })
        .collect();
    let sending = async {
        // It may be over before all is sent.
        let _ = http2.0.write_all(&frames).await;
        http2.goes_away().await
    };
    let code = within(sending).await;
    assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
    is_well(&server).await;
    server.shutdown.cancel();
    within(server.running).await.unwrap().unwrap();
}

/// CVE-2024-27316 and its kin: a head in CONTINUATION frames that never ends.
#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let server = TestServer::start().await;
    let part = frame(CONTINUATION, 0, 1, &field("x-more", &"a".repeat(8000)));
    for part in [part, frame(CONTINUATION, 0, 1, &field("x", "")), frame(CONTINUATION, 0, 1, b"")] {
        let mut http2 = Http2::to(&server).await;
        http2.send(frame(HEADERS, 0, 1, &post_head(&[]))).await;
        let endless = async {
            let flood = part.repeat(100);
            while http2.0.write_all(&flood).await.is_ok() {}
        };
        within(endless).await;
    }
    is_well(&server).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let server = TestServer::start().await;
    let mut http2 = Http2::to(&server).await;
    // One that is no larger than what the server announced it takes, and one that is.
    for (stream, bytes, refused) in [(1, 60_000, false), (3, 66_000, true)] {
        let head = post_head(&[("authorization", &format!("Bearer {}", "a".repeat(bytes)))]);
        let (first, rest) = head.split_at(16_000);
        http2.send(frame(HEADERS, END_STREAM, stream, first)).await;
        let mut parts = rest.chunks(16_000).peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
            http2.send(frame(CONTINUATION, flags, stream, part)).await;
        }
        let head = within(http2.next_of(HEADERS)).await;
        assert_eq!(head.stream, stream);
        // `:status: 431`, its digits in Huffman's code (RFC 7541 appendix B).
        let is_431 = head.payload.windows(4).any(|part| part == [0x83, 0x69, 0x90, 0xff]);
        assert_eq!(is_431, refused, "{head:?}");
    }
    http2.send(post(5, &ping())).await;
    within(http2.body_of(5)).await;
}

#[tokio::test]
async fn a_request_has_a_hundred_headers_as_over_http_1() {
    let server = TestServer::start().await;
    let mut http2 = Http2::to(&server).await;
    for (stream, more, is_refused) in [(1, 99, false), (3, 500, true)] {
        let names: Vec<String> = (0..more).map(|n| format!("x-{n}")).collect();
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        http2.send(post_with(stream, &headers, &ping())).await;
        let body = within(http2.body_of(stream)).await;
        assert_eq!(body.contains("at most 100 are taken"), is_refused, "{body}");
    }
}

#[tokio::test]
async fn a_connection_has_200_streams_and_the_next_is_refused() {
    let server = TestServer::start().await;
    let mut http2 = Http2::to(&server).await;
    let settings = within(http2.next_of(SETTINGS)).await;
    let max = settings.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(max[2..], 200_u32.to_be_bytes());
    for n in 0..201 {
        // Bodies that never come.
        http2.send(frame(HEADERS, END_HEADERS, 2 * n + 1, &post_head(&[]))).await;
    }
    let refused = within(http2.next_of(RST_STREAM)).await;
    assert_eq!((refused.stream, refused.code()), (401, REFUSED_STREAM));
    http2.send(frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes())).await;
    http2.send(post(403, &ping())).await;
    within(http2.body_of(403)).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_answered_with_408() {
    let server = TestServer::start().await;
    let mut http2 = Http2::to(&server).await;
    http2.send(frame(HEADERS, END_HEADERS, 1, &post_head(&[]))).await;
    http2.send(frame(DATA, 0, 1, b"{")).await;
    let answering = async {
        let mut body = Vec::new();
        loop {
            let received = http2.next().await.expect("the connection was closed");
            if (received.kind, received.stream) == (DATA, 1) {
                body.extend(&received.payload);
            }
            if received.stream == 1 && received.flags & END_STREAM != 0 {
                return body;
            }
        }
    };
    let body = tokio::time::timeout(EVER, answering).await.expect("it was waited for");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_says(&body["error"], &["Request Timeout"]);
}

#[tokio::test]
async fn who_floods_with_frames_and_never_reads_is_cut_off() {
    let timeouts = Timeouts { unread: Duration::from_secs(1), ..Timeouts::default() };
    let bounds = Bounds { timeouts, ..Bounds::default() };
    for flood in [
        frame(PING, 0, 0, b"12345678"),
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255].repeat(100)),
    ] {
        let server = TestServer::with_bounds(bounds, |config| config.shutdown_grace = EVER).await;
        let mut http2 = Http2::to(&server).await;
        let mut written = 0;
        let flood = flood.repeat(1000);
        let cut_off = async {
            while let Ok(n) = http2.0.write(&flood).await {
                written += n;
            }
        };
        within(cut_off).await;
        is_well(&server).await;
        server.shutdown.cancel();
        within(server.running).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn empty_frames_without_end_are_cut_off() {
    let server = TestServer::start().await;
    let mut http2 = Http2::to(&server).await;
    http2.send(frame(HEADERS, END_HEADERS, 1, &post_head(&[]))).await;
    let flood = frame(DATA, 0, 1, b"").repeat(1000);
    let ended = async {
        let (mut read, mut write) = http2.0.split();
        let mut received = Vec::new();
        let sending = async { while write.write_all(&flood).await.is_ok() {} };
        tokio::join!(sending, read.read_to_end(&mut received)).1
    };
    let _ = within(ended).await;
    is_well(&server).await;
}

/// Two hundred bodies that do not end, none of them large: 13 MiB that a connection could hold for a minute.
#[tokio::test]
async fn the_unfinished_bodies_of_a_connection_have_a_bound() {
    const PART: usize = 16_000;
    let server = TestServer::start().await;
    let mut http2 = Http2::to(&server).await;
    // What the server takes on the connection: RFC 9113 section 6.9.2 has 65,535 bytes, WINDOW_UPDATE adds to them.
    let (mut window, mut refused) = (65_535, BTreeSet::new());
    for n in 0..200 {
        let stream = 2 * n + 1;
        http2.send(frame(HEADERS, END_HEADERS, stream, &post_head(&[]))).await;
        for _ in 0..4 {
            while window < PART {
                let frame = within(http2.next()).await.expect("the connection was closed");
                match frame.kind {
                    8 if frame.stream == 0 => {
                        window += u32::from_be_bytes(frame.payload[..4].try_into().unwrap()) as usize;
                    }
                    HEADERS => drop(refused.insert(frame.stream)),
                    _ => {}
                }
            }
            if !refused.contains(&stream) {
                http2.send(frame(DATA, 0, stream, &[b' '; PART])).await;
                window -= PART;
            }
        }
    }
    while refused.is_empty() {
        if within(http2.next()).await.expect("the connection was closed").kind == HEADERS {
            refused.insert(0);
        }
    }
    is_well(&server).await;
}

/// A client whose window is closed and who answers pings looks well to TCP.
#[tokio::test]
async fn large_answers_that_nobody_reads_are_given_up_and_their_streams_reset() {
    const MIB: usize = 1024 * 1024;
    // On disk, in a build for tests, it takes longer than its time-outs allow.
    if !in_memory() {
        return;
    }
    let timeouts = Timeouts { unread: Duration::from_secs(1), ..Timeouts::default() };
    let bounds = Bounds { large_bytes: 64 * MIB, timeouts };
    let server = TestServer::with_bounds(bounds, |config| config.max_body_bytes = MIB).await;
    let session = server.session("2025-06-18").await;
    session.call("echo", json!({"message": "\"".repeat(MIB / 4)})).await;
    let large = tool_call("replayLastEcho", &json!({}));
    // One stream's window is closed from the start, another's after its first byte (SETTINGS_INITIAL_WINDOW_SIZE).
    for window in [0_u8, 1] {
        let mut http2 = Http2::with_settings(&server, &[0, 4, 0, 0, 0, window]).await;
        for n in 0..7 {
            http2.send(post_with(2 * n + 1, &[("mcp-session-id", &session.id)], &large)).await;
            while within(http2.next_of(HEADERS)).await.stream != 2 * n + 1 {}
        }
        // As much as a connection may hold: the next is refused until they are given up.
        let mut refused = 0;
        let comes_back = async {
            for n in 7.. {
                http2.send(post_with(2 * n + 1, &[("mcp-session-id", &session.id)], &large)).await;
                let mut head = http2.next_of(HEADERS).await;
                while head.stream != 2 * n + 1 {
                    head = http2.next_of(HEADERS).await;
                }
                // `:status: 200` (RFC 7541 appendix A).
                if head.payload[0] == 0x88 {
                    return;
                }
                refused += 1;
            }
        };
        within(comes_back).await;
        assert!(refused > 0, "a connection may hold all of it");
        let opened = frame(8, 0, 1, &(64 * 1024_u32).to_be_bytes());
        http2.send(opened).await;
        let reset = within(http2.next_of(RST_STREAM)).await;
        assert_eq!(reset.stream, 1, "after {refused} refusals");
    }
}

/// Answers that a client asks for and leaves unread by its window (RFC 9113 section 5.2) weigh on the server: all together
/// they have a bound, and who holds most has to go where there is no more.
#[tokio::test(start_paused = true)]
async fn large_answers_that_nobody_reads_are_bounded_all_together() {
    const MIB: usize = 1024 * 1024;
    // The clock runs ahead whenever everybody waits: nothing is to be given up here.
    let timeouts = Timeouts { unread: 100 * EVER, ..Timeouts::default() };
    let bounds = Bounds { large_bytes: 8 * MIB, timeouts };
    let server = TestServer::with_bounds(bounds, |config| config.max_body_bytes = MIB).await;
    let patiently = |request: reqwest::RequestBuilder| async {
        let response = tokio::time::timeout(EVER, request.send()).await.unwrap().unwrap();
        let status = response.status().as_u16();
        let body: Value = tokio::time::timeout(EVER, response.json()).await.unwrap().unwrap();
        (status, body)
    };
    let message = json!({"message": "\"".repeat(MIB / 4)});
    let made = tokio::time::timeout(EVER, server.post(&initialize("2025-06-18")).send()).await.unwrap().unwrap();
    let session = made.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let echo = server.post(&tool_call("echo", &message)).header("mcp-session-id", &session);
    assert_eq!(patiently(echo).await.0, 200);
    // Quotes are doubled in JSON, and an answer has the message twice: 1 MiB each and a little, of 8 MiB that there are.
    let large = tool_call("replayLastEcho", &json!({}));
    let in_session = [("mcp-session-id", session.as_str())];
    let mut http2 = Http2::to(&server).await;
    for n in 0..7 {
        let stream = 2 * n + 1;
        let sending = async {
            http2.send(post_with(stream, &in_session, &large)).await;
            // The head of the answer: its body waits for the window.
            loop {
                let frame = http2.next().await.unwrap();
                if frame.kind == HEADERS && frame.stream == stream {
                    return;
                }
            }
        };
        tokio::time::timeout(EVER, sending).await.expect("no answer");
    }
    let (status, _) = patiently(server.post(&ping())).await;
    assert_eq!(status, 200, "small ones go on");
    let (status, _) = patiently(server.post(&large).header("mcp-session-id", &session)).await;
    assert_eq!(status, 200, "a newcomer has what the greedy one held");
    let closed = tokio::time::timeout(EVER, async { while http2.next().await.is_some() {} });
    closed.await.expect("the greedy connection stays");
    assert_eq!(read(&server.sessions).stats().in_flight, 0);
}
