//! The product with a clock that stands still until it is told to jump: nobody waits an hour for sessions to expire.
//!
//! Configured like the product. Each line of its input is a number of seconds to jump. To stderr (stdout has the
//! log) it prints `expiring` when sessions expire after that, and when no more do, how many did and in how many µs.
#![expect(clippy::print_stderr, clippy::unwrap_used, reason = "a measurement prints, and may break off")]

use std::io::{self, BufRead as _};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use mcp_echo_stateful::app::App;
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::{Command, Config};
use mcp_echo_stateful::session::{SessionManager, read};
use mcp_echo_stateful::tools::TOOLS;
use mcp_echo_stateful::{listen, logging};

const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Longer than the pause between two sweeps: nothing in so long means that there is nothing left to sweep.
const QUIET: Duration = Duration::from_millis(2500);

#[tokio::main]
async fn main() {
    let Command::Serve(config) = Config::load(std::env::args_os(), std::env::vars_os()).unwrap() else { return };
    let _log = logging::init(&config).unwrap();
    let shutdown = listen::until_signalled(|| ()).unwrap();
    let listener = listen::bind(&config.host, config.port).await.unwrap();
    let clock = Arc::new(Clock::standing_still());
    let app = App::with(*config, Arc::clone(&clock), TOOLS);
    let sessions = app.sessions();
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            clock.advance(Duration::from_secs(line.unwrap().parse().unwrap()));
            watch(&sessions);
        }
    });
    app.serve(listener, shutdown).await.unwrap();
}

/// Tells how the expired sessions grow in number, until they no longer do.
fn watch(sessions: &RwLock<SessionManager>) {
    let expired = || read(sessions).stats().expired;
    let before = expired();
    let (mut seen, mut first, mut last) = (before, None, Instant::now());
    while last.elapsed() < QUIET {
        thread::sleep(LOOK_EVERY);
        let now = expired();
        if now != seen {
            (seen, last) = (now, Instant::now());
            if first.is_none() {
                first = Some(last);
                eprintln!("expiring");
            }
        }
    }
    let took = first.map_or(0, |first| last.duration_since(first).as_micros());
    eprintln!("{} {took}", seen - before);
}
