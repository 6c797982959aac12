//! Many clients: what the load bench needs beside wrk. Blocking sockets and threads, so that a million sessions are
//! opened in seconds and nothing of the client's own shows in what is measured.
//!
//! - `crowd fill ADDRESS COUNT FILE`: opens sessions, handshake and all, and writes their ids to FILE, one a line.
//! - `crowd call ADDRESS FILE TIMES`: echoes in each of these sessions, so many times.
//! - `crowd streams ADDRESS PATH FILE`: opens a GET stream for each of them, prints `open`, and holds them until its
//!   input ends.
//! - `crowd pace ADDRESS FILE RATE SECONDS`: echoes in these sessions at a fixed rate, whatever the answers take;
//!   prints `began`, and at the end when each was due and how long after that it was answered, in µs. A stall so shows
//!   in all that were due meanwhile.
//! - `crowd delivery ADDRESS FILE COUNT`: how long a notification takes to a stream, from sending the call that queues
//!   it; prints that and the call's own round trip, in µs.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and may break off")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// Connections at once.
const CONNECTIONS: usize = 8;
/// Requests on their way on a connection: HTTP/1.1 pipelining, so that neither side waits for the other.
const PIPELINE: usize = 64;
/// Connections of `pace`: enough that one whose answer is late does not hold up the next.
const PACED: usize = 32;
const REVISION: &str = "2025-11-25";

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", address, count, file] => fill(address, count.parse().unwrap(), file),
        ["call", address, file, times] => call(address, &sessions(file), times.parse().unwrap()),
        ["streams", address, path, file] => streams(address, path, &sessions(file)),
        ["pace", address, file, rate, seconds] => {
            pace(address, &sessions(file), rate.parse().unwrap(), seconds.parse().unwrap());
        }
        ["delivery", address, file, count] => delivery(address, &sessions(file)[0], count.parse().unwrap()),
        _ => panic!("no such command: {args:?}"),
    }
}

fn sessions(file: &str) -> Vec<String> {
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

fn fill(address: &str, count: usize, file: &str) {
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true},"sampling":{},"elicitation":{}},"clientInfo":{"name":"load-bench","version":"1.0.0"}}}"#;
    let initialize = post("", initialize);
    let shares: Vec<usize> = (0..CONNECTIONS).map(|n| (count + n) / CONNECTIONS).collect();
    let ids = side_by_side(&shares, |share| {
        let mut client = Client::to(address);
        let mut ids = Vec::with_capacity(*share);
        while ids.len() < *share {
            let some = PIPELINE.min(share - ids.len());
            let opened: Vec<String> = client.ask(&initialize.repeat(some), some).map(|answer| answer.session).collect();
            let ready: String = opened
                .iter()
                .map(|id| post(&in_session(id), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#))
                .collect();
            client.ask(&ready, some).for_each(drop);
            ids.extend(opened);
        }
        ids
    });
    let mut lines = ids.concat().join("\n");
    lines.push('\n');
    fs::write(file, lines).unwrap();
}

fn call(address: &str, sessions: &[String], times: usize) {
    let shares: Vec<&[String]> = sessions.chunks(sessions.len().div_ceil(CONNECTIONS)).collect();
    side_by_side(&shares, |share| {
        let mut client = Client::to(address);
        for id in *share {
            let mut left = times;
            while left > 0 {
                let some = PIPELINE.min(left);
                client.ask(&echo(id).repeat(some), some).for_each(|answer| answer.must_be_a_result());
                left -= some;
            }
        }
    });
}

fn streams(address: &str, path: &str, sessions: &[String]) {
    let held: Vec<TcpStream> = sessions.iter().map(|id| open_stream(address, path, id).into_inner()).collect();
    println!("open");
    io::stdout().flush().unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(held);
}

fn pace(address: &str, sessions: &[String], rate: u32, seconds: u32) {
    let interval = Duration::from_secs(1) / rate;
    let began = Instant::now();
    println!("began");
    io::stdout().flush().unwrap();
    let numbers: Vec<usize> = (0..PACED).collect();
    let seen = side_by_side(&numbers, |number| {
        let mut client = Client::to(address);
        let mut seen = Vec::new();
        for turn in (*number..(rate * seconds) as usize).step_by(PACED) {
            let due = began + interval * u32::try_from(turn).unwrap();
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let session = &sessions[turn % sessions.len()];
            client.ask(&echo(session), 1).for_each(|answer| answer.must_be_a_result());
            seen.push((due.duration_since(began).as_micros(), due.elapsed().as_micros()));
        }
        seen
    });
    let mut lines = String::new();
    for (due, took) in seen.concat() {
        let _ = writeln!(lines, "{due} {took}");
    }
    print!("{lines}");
}

fn delivery(address: &str, session: &str, count: usize) {
    let stream = open_stream(address, "/mcp", session);
    let (sender, arrivals) = mpsc::sync_channel(1);
    thread::spawn(move || {
        for line in stream.lines() {
            if line.unwrap().contains("tools.echo") && sender.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let mut client = Client::to(address);
    let call = echo(session);
    for _ in 0..count {
        let sent = Instant::now();
        client.ask(&call, 1).for_each(|answer| answer.must_be_a_result());
        let answered = sent.elapsed();
        let arrived = arrivals.recv_timeout(Duration::from_secs(10)).unwrap().duration_since(sent);
        println!("{} {}", arrived.as_micros(), answered.as_micros());
    }
}

/// `work` for each share, each in a thread of its own; what they return, in order.
fn side_by_side<S: Sync, T: Send>(shares: &[S], work: impl Fn(&S) -> T + Sync) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = shares.iter().map(|share| scope.spawn(move || work(share))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn in_session(id: &str) -> String {
    format!("MCP-Protocol-Version: {REVISION}\r\nMcp-Session-Id: {id}\r\n")
}

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load-bench/1.0\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn echo(session: &str) -> String {
    let body = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"message":"Hello, stateful world!"}}}"#;
    post(&in_session(session), body)
}

/// A GET stream that was answered, and has said its first word where there is one.
fn open_stream(address: &str, path: &str, session: &str) -> BufReader<TcpStream> {
    let mut stream = connect(address);
    let headers = in_session(session);
    let get = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n{headers}\r\n");
    stream.write_all(get.as_bytes()).unwrap();
    let mut reader = BufReader::with_capacity(1024, stream);
    let (status, _) = read_head(&mut reader);
    assert_eq!(status, 200);
    reader
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Status and headers of an answer.
fn read_head(reader: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.split_once(':') else { return (status, headers) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

/// What matters of an answer.
struct Answer {
    session: String,
    body: String,
}

impl Answer {
    fn must_be_a_result(&self) {
        assert!(self.body.contains(r#""isError":false"#), "{}", self.body);
    }
}

impl Client {
    fn to(address: &str) -> Self {
        Self(BufReader::with_capacity(64 * 1024, connect(address)))
    }

    /// Sends so many requests at once; their answers.
    fn ask(&mut self, requests: &str, count: usize) -> impl Iterator<Item = Answer> {
        self.0.get_mut().write_all(requests.as_bytes()).unwrap();
        (0..count).map(|_| self.answer())
    }

    fn answer(&mut self) -> Answer {
        let (status, headers) = read_head(&mut self.0);
        let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(matches!(status, 200 | 202), "{status}: {body}");
        Answer { session: header("mcp-session-id").unwrap_or_default(), body }
    }
}
