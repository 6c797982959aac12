//! Promises of the engine that no socket can hold it to: what is asked next comes at once.

use std::sync::RwLock;
use std::time::Instant;

use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::config::Config;
use crate::protocol::{Content, message};
use crate::request::headers::{Accept, PROTOCOL_VERSION, SESSION_ID};
use crate::request::{ProxyProof, Request, RequestId};
use crate::session::{Limits, SessionManager, enter};
use crate::system::System;
use crate::tools::TOOLS;

/// An engine, and a session of it.
struct Client {
    engine: Arc<Engine>,
    session: Option<HeaderValue>,
}

impl Client {
    /// With a session in 2025-06-18.
    fn new(config: Config) -> Self {
        let (config, clock) = (Arc::new(config), Arc::new(Clock::new()));
        let sessions = Arc::new(RwLock::new(SessionManager::new(Limits::from(&*config), Arc::clone(&clock))));
        let server = Server::new(config, clock, sessions, Arc::new(System::unsampled()));
        let mut client = Self { engine: Engine::new(server, TOOLS, CancellationToken::new()), session: None };
        let info = json!({"name": "client", "version": "1"});
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info});
        let reply = client.post(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}));
        client.session = Some(reply.session.unwrap().to_string().parse().unwrap());
        client
    }

    fn post(&self, message: &Value) -> Reply {
        let mut headers = HeaderMap::from_iter(self.session.clone().map(|id| (SESSION_ID, id)));
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static("2025-06-18"));
        headers.insert("accept", HeaderValue::from_static("application/json, text/event-stream"));
        let accept = Accept::of(&headers);
        let request = Arc::new(Request {
            id: RequestId::generate(),
            method: Method::POST,
            uri: Uri::from_static("/mcp"),
            version: Version::HTTP_11,
            headers,
            proxy: ProxyProof::NotAsked,
            peer: None,
            local: None,
            received: Instant::now(),
            body_bytes: 0,
            share: None,
        });
        let body = message::read(message.to_string().as_bytes()).unwrap();
        self.engine.exchange(&Caller::of_http(&request, accept, true), body)
    }

    fn echo(&self, arguments: &Value) -> Reply {
        let params = json!({"name": "echo", "arguments": arguments});
        self.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
    }

    /// Requests that its session has counted.
    fn requests(&self) -> u64 {
        let id = self.session.as_ref().unwrap().to_str().unwrap().parse().unwrap();
        let guard = enter(&self.engine.server.sessions, id, None, |_| ()).unwrap();
        guard.session().with_record(|record| record.request_count)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_cancelled_from_the_moment_it_is_accepted() {
    let client = Client::new(Config::default());
    let reply = client.echo(&json!({"message": "x", "delayMs": 60_000}));
    let Content::Stream(mut calls) = reply.content else { panic!("no stream") };
    let params = json!({"requestId": 1});
    let cancel = client.post(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    assert!(matches!(cancel.content, Content::Accepted));
    assert!(calls.next().await.is_none(), "it was answered all the same");
}

#[test]
fn what_is_refused_is_not_counted_as_a_request_of_the_session() {
    let client = Client::new(Config::default());
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let batch = client.post(&json!([ping, ping, ping]));
    assert!(matches!(batch.content, Content::Refused(_)), "2025-06-18 has no batches");
    client.post(&ping);
    assert_eq!(client.requests(), 2, "initialize and ping");

    let client = Client::new(Config { strict: true, ..Config::default() });
    let early = client.echo(&json!({"message": "x"}));
    assert!(matches!(early.content, Content::Refused(_)), "notifications/initialized has not come");
    client.post(&ping);
    assert_eq!(client.requests(), 2, "initialize and ping");
}
