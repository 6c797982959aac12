//! Host and Origin are checked before anything else looks at a request (MCP basic/transports, Security Warning: DNS
//! rebinding).

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use http::header::{HOST, ORIGIN};
use http::{Request, StatusCode, Version};
use tower::Service;

use super::refusal::Refusal;
use super::{Arrival, HEALTH_PATH, Http, READY_PATH, body};
use crate::config::{Config, is_loopback_host};
use crate::diagnosis::{origin, redact};
use crate::protocol::{Addressee, RpcError};
use crate::session::clients::Denial;
use crate::text::shorten;

/// A service that only requests with an allowed Host and Origin reach.
#[derive(Clone)]
pub struct Guard<S> {
    http: Arc<Http>,
    inner: S,
}

impl<S> Guard<S> {
    /// By the server's configuration.
    pub fn new(http: Arc<Http>, inner: S) -> Self {
        Self { http, inner }
    }
}

impl<S> Service<axum::extract::Request> for Guard<S>
where
    S: Service<axum::extract::Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: axum::extract::Request) -> Self::Future {
        match check(&self.http.engine.server.config, self.http.bound_to_loopback, &request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(refusal) => {
                let (parts, body) = request.into_parts();
                let refusal = match parts.extensions.get::<Arrival>() {
                    Some(arrival) => refusal.noted(&self.http, &parts.method, &parts.headers, arrival.connection.peer),
                    None => refusal,
                };
                let refusing = async move { Ok(body::refuse(&parts.headers, body, refusal).await.into_response()) };
                Either::Right(refusing.boxed())
            }
        }
    }
}

/// The most headers of a request. Of HTTP/1.1 hyper takes no more; HTTP/2 has no such bound of its own.
const MAX_HEADERS: usize = 100;

/// 403 for a Host or Origin that is not allowed; 400 where the Host cannot be told; 431 for too many headers.
fn check<B>(config: &Config, bound_to_loopback: bool, request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers().len();
    if headers > MAX_HEADERS {
        let error = RpcError::invalid_request(format!(
            "Request Header Fields Too Large: {headers} headers, at most {MAX_HEADERS} are taken: send fewer"
        ));
        return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error).addressed_to(Addressee::Nobody));
    }
    // Load balancers probe by address, and what /healthz says is no secret.
    if !matches!(request.uri().path(), HEALTH_PATH | READY_PATH) {
        check_host(config, bound_to_loopback, request)?;
    }
    check_origin(config, request)
}

fn check_host<B>(config: &Config, bound_to_loopback: bool, request: &Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::bad_request("Bad Request: several Host headers (RFC 9112 section 3.2)")
            .addressed_to(Addressee::Nobody));
    }
    // HTTP/2 and absolute-form requests carry the host in the target (RFC 9113 section 8.3.1, RFC 9112 section 3.2.2).
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let Some(host) = authority.or_else(|| first.and_then(|host| host.to_str().ok())) else {
        return if request.version() == Version::HTTP_10 && first.is_none() {
            Ok(())
        } else {
            Err(Refusal::bad_request("Bad Request: no readable Host header (RFC 9112 section 3.2)")
                .addressed_to(Addressee::Nobody))
        };
    };
    // RFC 9113 section 8.3.1. In HTTP/1.1 the target stands, whatever Host says (RFC 9112 section 3.2.2).
    let named_otherwise = |named: &http::HeaderValue| !named.as_bytes().eq_ignore_ascii_case(host.as_bytes());
    if request.version() == Version::HTTP_2 && authority.is_some() && first.is_some_and(named_otherwise) {
        return Err(Refusal::bad_request(
            "Bad Request: Host and :authority name different hosts (RFC 9113 section 8.3.1)",
        )
        .addressed_to(Addressee::Nobody));
    }
    if !bound_to_loopback && config.allowed_hosts.is_empty() {
        return Ok(());
    }
    if is_usual(host) {
        return Ok(());
    }
    let Some((name, port)) = split_host(host) else {
        // RFC 9112 section 3.2: 400 for a Host that is not `host[:port]`.
        let host = shorten(&redact::value(host), 100);
        let message = format!("Bad Request: the Host {host:?} is not a name or an address with an optional port");
        return Err(Refusal::bad_request(message).addressed_to(Addressee::Nobody));
    };
    let allowed = is_loopback_host(&name)
        || config
            .allowed_hosts
            .iter()
            .any(|allowed| allowed.host == name && allowed.port.is_none_or(|wanted| Some(wanted) == port));
    if allowed {
        return Ok(());
    }
    let name = shorten(&redact::value(&name), 100);
    let why = if bound_to_loopback { "the server is bound to a loopback address" } else { "MCP_ALLOWED_HOSTS is set" };
    let error = RpcError::invalid_request(format!(
        "Host not allowed: {name:?}; {why}. If this name is yours, add it to MCP_ALLOWED_HOSTS"
    ));
    Err(Refusal::new(StatusCode::FORBIDDEN, error).addressed_to(Addressee::Nobody))
}

/// Whether a Host value is what nearly every client on this machine sends: a name of it with a port. That needs no parsing.
fn is_usual(host: &str) -> bool {
    let name_and_port = ["localhost:", "127.0.0.1:"].iter().find_map(|name| host.strip_prefix(name));
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    name_and_port.is_some_and(is_port)
}

/// Name (lower case, without the root's dot) and port of a Host value; `None` for what is none. User information is
/// none: RFC 9110 section 4.2.4.
fn split_host(host: &str) -> Option<(Cow<'_, str>, Option<u16>)> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(end);
    let port = match port {
        // An empty port is the scheme's (RFC 3986 section 3.2.3).
        "" | ":" => None,
        _ => Some(port.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?),
    };
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b));
    let fits = name.starts_with('[') || is_name(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = || if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) };
    fits.then(|| (lower(), port))
}

fn check_origin<B>(config: &Config, request: &Request<B>) -> Result<(), Refusal> {
    for value in request.headers().get_all(ORIGIN) {
        let origin = value.to_str().unwrap_or("(not ASCII)");
        if !origin::origin_allowed(origin, config) {
            let origin = shorten(origin, 100);
            let error = RpcError::invalid_request(format!(
                "Origin not allowed: {origin:?}. If this web page is yours, add its origin to MCP_ALLOWED_ORIGINS"
            ));
            return Err(Refusal::new(StatusCode::FORBIDDEN, error)
                .because(Denial::Origin)
                .addressed_to(Addressee::Nobody));
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
        let of = |host: &'static str| split_host(host).unwrap();
        assert_eq!(of("Localhost:3000"), ("localhost".into(), Some(3000)));
        assert_eq!(of("[::1]:3000"), ("[::1]".into(), Some(3000)));
        assert_eq!(of("[::1]"), ("[::1]".into(), None));
        assert_eq!(of("mcp.example.com."), ("mcp.example.com".into(), None));
        assert_eq!(of("localhost:"), ("localhost".into(), None));
        for bad in [
            "",
            ":80",
            "::1",
            "[::1",
            "[::1]evil.example",
            "localhost:evil",
            "localhost:+80",
            "localhost:99999",
            "evil.example@localhost",
            "localhost@evil.example",
            "evil.example#.localhost",
            "evil.example/.localhost",
            "a b.localhost",
            "localhost, evil.example",
        ] {
            assert_eq!(split_host(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_let_in_unparsed_would_be_let_in_parsed() {
        for host in ["localhost:3000", "127.0.0.1:65535"] {
            assert!(is_usual(host) && split_host(host).is_some_and(|(name, _)| is_loopback_host(&name)), "{host}");
        }
        for host in
            ["localhost", "localhost:", "localhost:65536", "localhost:+80", "localhost:80@evil", "127.0.0.1.evil:80"]
        {
            assert!(!is_usual(host), "{host}");
        }
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
