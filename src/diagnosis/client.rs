//! Which client sends a request, as far as it tells: for what is remembered of clients.

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::USER_AGENT;

use super::{forwarding, identity, proxies};
use crate::session::streams::Way;
use crate::session::{Client, Clients, Identity};

/// The client of a request: by its identity, else its address, and its `User-Agent`.
#[must_use]
pub fn client(clients: &Clients, headers: &HeaderMap, peer: Option<SocketAddr>) -> Client {
    let identity = identity::caller(headers).ok().as_ref().map(Identity::number);
    let agent = headers.get(USER_AGENT).map_or(&[][..], |agent| agent.as_bytes());
    clients.client(identity, forwarding::client_address(headers, peer), agent)
}

/// The way to a client, as far as its request tells.
#[must_use]
pub fn way(headers: &HeaderMap) -> Way {
    let expected = headers.get("x-envoy-expected-rq-timeout-ms").and_then(|value| value.to_str().ok()?.parse().ok());
    Way { proxied: !proxies::proxies(headers).is_empty(), envoy_timeout_ms: expected.unwrap_or(0) }
}
