//! One request and its whole answer: by reqwest, or by hand where no client library would send it.

use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{TestServer, within};

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// Sends `request` and reads all of its answer.
    pub async fn to(request: RequestBuilder) -> Self {
        let response = within(request.send()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: within(response.text()).await.unwrap() }
    }

    /// Sends `bytes` over a connection of their own and reads one answer, which must have a Content-Length: a server that
    /// refuses a body may leave the connection open for a while, to read what is still under way.
    pub async fn to_raw(server: &TestServer, bytes: &[u8]) -> Self {
        let mut stream = within(TcpStream::connect(server.address)).await.unwrap();
        within(stream.write_all(bytes)).await.unwrap();
        Self::read(&mut stream).await
    }

    /// Reads one answer, which must have a Content-Length.
    pub async fn read(stream: &mut TcpStream) -> Self {
        let mut received = String::new();
        loop {
            if let Some((head, body)) = received.split_once("\r\n\r\n") {
                let answer = Self::parse(head, body);
                if answer.header("content-length").is_none_or(|length| length.parse() == Ok(body.len())) {
                    return answer;
                }
            }
            let mut chunk = [0; 4096];
            let n = within(stream.read(&mut chunk)).await.unwrap();
            assert_ne!(n, 0, "the answer broke off: {received:?}");
            received.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
        }
    }

    /// The first whole answer in `received`, and its length in bytes.
    pub fn first_of(received: &[u8]) -> Option<(Self, usize)> {
        let head = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let mut answer = Self::parse(std::str::from_utf8(&received[..head]).unwrap(), "");
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let body = received.get(head + 4..head + 4 + length)?;
        std::str::from_utf8(body).unwrap().clone_into(&mut answer.text);
        Some((answer, head + 4 + length))
    }

    fn parse(head: &str, body: &str) -> Self {
        let (status, fields) = head.split_once("\r\n").unwrap();
        let fields = fields.split("\r\n").filter_map(|line| line.split_once(": "));
        let headers = fields.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        Self {
            status: status.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: headers.collect(),
            text: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body as JSON, which the answer must declare it to be.
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON-RPC error, which must be well-formed, answer `id` and say something.
    pub fn error(&self, status: u16, code: i64, id: &Value) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        assert_eq!(body["jsonrpc"], "2.0", "{body}");
        assert_eq!(body.get("id"), Some(id), "{body}");
        assert_eq!(body["error"]["code"], code, "{body}");
        assert!(body["error"]["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
        assert!(body.get("result").is_none(), "{body}");
        body["error"].clone()
    }

    /// The result of a JSON-RPC request, as JSON.
    pub fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        let mut body = self.json();
        assert!(body.get("error").is_none(), "{body}");
        body["result"].take()
    }
}

/// `request` with this Accept header and no other.
pub fn accepting(request: RequestBuilder, accept: &'static str) -> RequestBuilder {
    request.headers([(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
}

/// The message of an error that must contain each of `words`.
pub fn assert_says(error: &Value, words: &[&str]) {
    let message = error["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in {message:?}");
    }
}

/// An error's data without the findings: that the client was refused before, and why.
pub fn data_alone(error: &Value) -> Value {
    let mut data = error["data"].clone();
    if let Some(members) = data.as_object_mut() {
        members.remove("findings");
    }
    data
}
