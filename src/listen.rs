//! The listening socket, and the signals that end the server.

use std::io;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Why the server does not listen: one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {host}:{port}: {}", advice(source))]
pub struct BindError {
    host: String,
    port: u16,
    source: io::Error,
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; stop the other program or choose another with --port".to_owned()
        }
        io::ErrorKind::PermissionDenied => "not permitted; choose a port from 1024 up with --port".to_owned(),
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; choose another with --host (0.0.0.0 for all)".to_owned()
        }
        // Name resolution fails with a kind of its own or with none, by platform.
        _ => format!("{error}; is --host an address or name of this machine?"),
    }
}

/// The most connections that wait to be accepted; the system may allow fewer (Linux: `net.core.somaxconn`, 4096). When they
/// are more, it ignores what comes, and clients try again after one second, then three, then seven. tokio asks for 128.
const BACKLOG: i32 = 4096;

/// Binds `host` (an address or a name; IPv6 without brackets) and `port` (0: a free one).
///
/// # Errors
/// When the address cannot be bound.
pub async fn bind(host: &str, port: u16) -> Result<TcpListener, BindError> {
    let failed = |source| BindError { host: host.to_owned(), port, source };
    let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
    // To listen again changes the length of the queue, and nothing else.
    socket2::SockRef::from(&listener).listen(BACKLOG).map_err(failed)?;
    Ok(listener)
}

/// A token that SIGTERM or SIGINT (elsewhere: Ctrl-C) cancels; a second signal ends the process at once. SIGHUP calls
/// `on_hangup`. Signals are heeded from the moment this returns.
///
/// # Errors
/// When the system refuses the handlers.
pub fn until_signalled(on_hangup: impl Fn() + Send + Sync + 'static) -> io::Result<CancellationToken> {
    let mut signals = Signals::new()?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let (name, _) = signals.next(&on_hangup).await;
        // What is asked for comes before what is said of it.
        cancelled.cancel();
        tracing::info!(signal = name, "shutting down; a second signal ends at once");
        let (name, number) = signals.next(&on_hangup).await;
        tracing::warn!(signal = name, "a second signal, ending at once");
        std::process::exit(128 + number);
    });
    Ok(token)
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The name and number of the next signal that shall end the process.
    async fn next(&mut self, on_hangup: &impl Fn()) -> (&'static str, i32) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return ("SIGTERM", 15),
                _ = self.interrupt.recv() => return ("SIGINT", 2),
                _ = self.hangup.recv() => on_hangup(),
            }
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self, _: &impl Fn()) -> (&'static str, i32) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        ("Ctrl-C", 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_told_with_what_to_do() {
        let first = bind("127.0.0.1", 0).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = bind("127.0.0.1", port).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "cannot listen on 127.0.0.1:{port}: the port is in use; stop the other program or choose another with --port"
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told_as_such() {
        // TEST-NET-1 (RFC 5737): nobody's address.
        let error = bind("192.0.2.1", 0).await.unwrap_err().to_string();
        assert!(error.contains("does not have that address"), "{error}");
    }
}
