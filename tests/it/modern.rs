//! Requests of the stateless era as a well-behaved client sends them, and what tests change about them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::exchange::Answer;
use crate::server::{Events, TestServer, within};

/// The revision of the stateless era.
pub const MODERN: &str = "2026-07-28";

/// `_meta` keys.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A request: a body, and the headers that repeat it unless a test says otherwise.
#[derive(Debug, Clone)]
pub struct Modern {
    pub body: Value,
    /// In the place of the header that repeats the body; none to leave it out.
    headers: Vec<(&'static str, Vec<HeaderValue>)>,
}

impl Modern {
    /// A request with id 1.
    pub fn new(method: &str, mut params: Value) -> Self {
        params["_meta"] = json!({
            VERSION: MODERN,
            CLIENT_INFO: {"name": "modern-client", "version": "2.0"},
            CAPABILITIES: {},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        Self { body, headers: Vec::new() }
    }

    /// A tool call.
    pub fn call(tool: &str, arguments: Value) -> Self {
        let mut params = json!({"name": tool});
        params["arguments"] = arguments;
        Self::new("tools/call", params)
    }

    /// With another id.
    pub fn id(mut self, id: impl Into<Value>) -> Self {
        self.body["id"] = id.into();
        self
    }

    /// With this in its `_meta`.
    pub fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body["params"]["_meta"][key] = value.into();
        self
    }

    /// Without this in its `_meta`.
    pub fn without_meta(mut self, key: &str) -> Self {
        self.body["params"]["_meta"].as_object_mut().unwrap().remove(key);
        self
    }

    /// With this header, once more if it was given before, whatever the body says.
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        match self.headers.iter_mut().find(|(other, _)| *other == name) {
            Some((_, values)) => values.push(value),
            None => self.headers.push((name, vec![value])),
        }
        self
    }

    /// Without this header.
    pub fn without(mut self, name: &'static str) -> Self {
        self.headers.push((name, Vec::new()));
        self
    }

    /// With this Accept header.
    pub fn accept(self, value: &'static str) -> Self {
        self.header("accept", value)
    }

    /// The headers that it goes with.
    pub fn all_headers(&self) -> HeaderMap {
        let params = &self.body["params"];
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let version = params["_meta"][VERSION].as_str().unwrap_or(MODERN);
        headers.insert("mcp-protocol-version", encoded(version));
        headers.insert("mcp-method", encoded(self.body["method"].as_str().unwrap()));
        if let Some(name) = params["name"].as_str() {
            headers.insert("mcp-name", encoded(name));
        }
        if let Some(handle) = params["arguments"]["sessionId"].as_str() {
            headers.insert("mcp-param-session", encoded(handle));
        }
        for (name, values) in &self.headers {
            headers.remove(*name);
            for value in values {
                headers.append(*name, value.clone());
            }
        }
        headers
    }

    /// Ready to be sent.
    pub fn to(&self, server: &TestServer) -> RequestBuilder {
        server.request(reqwest::Method::POST, "/mcp").headers(self.all_headers()).json(&self.body)
    }

    /// Its whole answer.
    pub async fn ask(&self, server: &TestServer) -> Answer {
        Answer::to(self.to(server)).await
    }

    /// Its result, which must be there and complete, and name the server.
    pub async fn result(&self, server: &TestServer) -> Value {
        let result = self.ask(server).await.result();
        assert_eq!(result["resultType"], "complete", "{result}");
        assert!(result["_meta"][SERVER_INFO]["version"].is_string(), "{result}");
        result
    }

    /// A tool's structured content.
    pub async fn facts(&self, server: &TestServer) -> Value {
        let mut result = self.result(server).await;
        assert_eq!(result["isError"], false, "{result}");
        result["structuredContent"].take()
    }

    /// What a tool says of a call that it could not do.
    pub async fn complaint(&self, server: &TestServer) -> String {
        let result = self.result(server).await;
        assert_eq!(result["isError"], true, "{result}");
        assert!(result.get("structuredContent").is_none(), "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// The stream that answers it.
    pub async fn stream(&self, server: &TestServer) -> Events {
        Events::of(within(self.to(server).send()).await.unwrap())
    }
}

/// A header value in the Base64 form.
pub fn base64(value: impl AsRef<[u8]>) -> String {
    format!("=?base64?{}?=", STANDARD.encode(value))
}

/// A header value as a client must write it (streamable HTTP, Value Encoding).
fn encoded(value: &str) -> HeaderValue {
    let plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.trim() == value;
    let sentinel = value.starts_with("=?base64?") && value.ends_with("?=");
    let text = if plain && !sentinel { value.to_owned() } else { base64(value) };
    HeaderValue::try_from(text).unwrap()
}
