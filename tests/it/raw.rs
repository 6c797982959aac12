//! A connection by hand: for what no client library would send, or leave out.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::exchange::Answer;

/// A connection and what came in on it so far.
pub struct Raw {
    pub stream: TcpStream,
    pub received: Vec<u8>,
}

impl Raw {
    pub async fn to(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), received: Vec::new() }
    }

    /// Sends `bytes`.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer, which must have a Content-Length.
    pub async fn answer(&mut self) -> Answer {
        loop {
            if let Some((answer, length)) = Answer::first_of(&self.received) {
                self.received.drain(..length);
                return answer;
            }
            let n = self.stream.read_buf(&mut self.received).await.unwrap();
            assert_ne!(n, 0, "the answer broke off: {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// Everything until the other end closes the connection, by whatever means.
    pub async fn rest(mut self) -> Vec<u8> {
        // What is closed with unread bytes is reset.
        let _ = self.stream.read_to_end(&mut self.received).await;
        self.received
    }
}

/// A POST to the MCP endpoint, with these further header lines (each with its line break).
pub fn post(body: &Value, headers: &str) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}Content-Length: \
         {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
