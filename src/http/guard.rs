//! The door: Origin and Host, before anything else looks at a request (MCP basic/transports, Security Warning: DNS
//! rebinding).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::{StatusCode, Version};

use super::refusal::Refusal;
use super::{HEALTH_PATH, Http};
use crate::config::Config;
use crate::diagnosis::origin;
use crate::protocol::RpcError;
use crate::text::shorten;

/// Lets a request in, or refuses it with 403 (400 for a request whose Host cannot be told).
pub async fn check(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    match admit(&http.engine.config, http.bound_to_loopback, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn admit(config: &Config, bound_to_loopback: bool, request: &Request) -> Result<(), Refusal> {
    // A load balancer probes by address: /healthz says nothing that would need a door.
    if request.uri().path() != HEALTH_PATH {
        check_host(config, bound_to_loopback, request)?;
    }
    check_origin(config, request)
}

fn check_host(config: &Config, bound_to_loopback: bool, request: &Request) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(
            Refusal::bad_request("Bad Request: several Host headers (RFC 9112 section 3.2)").addressed_to_nobody()
        );
    }
    // HTTP/2 and absolute-form requests carry the host in the target (RFC 9113 section 8.3.1, RFC 9112 section 3.2.2).
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let Some(host) = authority.or_else(|| first.and_then(|host| host.to_str().ok())) else {
        return if request.version() == Version::HTTP_10 && first.is_none() {
            Ok(())
        } else {
            Err(Refusal::bad_request("Bad Request: no readable Host header (RFC 9112 section 3.2)")
                .addressed_to_nobody())
        };
    };
    if !bound_to_loopback && config.allowed_hosts.is_empty() {
        return Ok(());
    }
    let (name, port) = split_host(host);
    let allowed = origin::is_loopback_host(&name)
        || config
            .allowed_hosts
            .iter()
            .any(|allowed| allowed.host == name && allowed.port.is_none_or(|wanted| Some(wanted) == port));
    if allowed {
        return Ok(());
    }
    let name = shorten(&name, 100);
    let why = if bound_to_loopback { "the server is bound to a loopback address" } else { "MCP_ALLOWED_HOSTS is set" };
    let error = RpcError::invalid_request(format!(
        "Host not allowed: {name:?}; {why}. If this name is yours, add it to MCP_ALLOWED_HOSTS"
    ));
    Err(Refusal::new(StatusCode::FORBIDDEN, error).addressed_to_nobody())
}

/// Name (lower case) and port of a Host value.
fn split_host(host: &str) -> (String, Option<u16>) {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).trim();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, None),
    };
    (name.trim_end_matches('.').to_ascii_lowercase(), port)
}

fn check_origin(config: &Config, request: &Request) -> Result<(), Refusal> {
    for value in request.headers().get_all(ORIGIN) {
        let origin = value.to_str().unwrap_or("(not ASCII)");
        if !origin::origin_allowed(origin, config) {
            let origin = shorten(origin, 100);
            let error = RpcError::invalid_request(format!(
                "Origin not allowed: {origin:?}. If this web page is yours, add its origin to MCP_ALLOWED_ORIGINS"
            ));
            return Err(Refusal::new(StatusCode::FORBIDDEN, error).addressed_to_nobody());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AllowedHost;

    #[test]
    fn hosts_are_split_into_name_and_port() {
        let of = |host: &str| split_host(host);
        assert_eq!(of("Localhost:3000"), ("localhost".to_owned(), Some(3000)));
        assert_eq!(of("[::1]:3000"), ("[::1]".to_owned(), Some(3000)));
        assert_eq!(of("[::1]"), ("[::1]".to_owned(), None));
        assert_eq!(of("mcp.example.com."), ("mcp.example.com".to_owned(), None));
        assert_eq!(of("localhost@evil.com"), ("evil.com".to_owned(), None));
    }

    #[test]
    fn an_allowed_host_may_name_its_port() {
        let config = Config {
            allowed_hosts: vec![
                AllowedHost { host: "mcp.example.com".to_owned(), port: None },
                AllowedHost { host: "other.example.com".to_owned(), port: Some(8443) },
            ],
            ..Config::default()
        };
        let admitted = |host: &str| {
            let request = Request::builder().uri("/mcp").header(HOST, host).body(axum::body::Body::empty()).unwrap();
            check_host(&config, true, &request).is_ok()
        };
        assert!(admitted("mcp.example.com:1") && admitted("MCP.example.com") && admitted("other.example.com:8443"));
        assert!(!admitted("other.example.com") && !admitted("evil.com"));
    }
}
