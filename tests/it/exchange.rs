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

    /// Sends `bytes` over a connection of their own and reads what comes back until the server closes.
    pub async fn to_raw(server: &TestServer, bytes: &[u8]) -> Self {
        let mut stream = within(TcpStream::connect(server.address)).await.unwrap();
        within(stream.write_all(bytes)).await.unwrap();
        let mut received = Vec::new();
        // What came before a reset counts: a server that refuses a body closes before it has read it.
        let _ = within(stream.read_to_end(&mut received)).await;
        let text = String::from_utf8(received).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let (status, fields) = head.split_once("\r\n").unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in fields.split("\r\n").filter_map(|line| line.split_once(": ")) {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        Self { status: status.split(' ').nth(1).unwrap().parse().unwrap(), headers, text: body.to_owned() }
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
