//! The server's own CORS (Fetch, HTTP-CORS protocol): tower-http's, for requests that have an Origin.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tower::{Layer as _, Service};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::refusal::ALLOWED_METHODS;
use super::{HEALTH_PATH, Http, MCP_PATHS, READY_PATH};
use crate::config::Origins;
use crate::diagnosis::cors;

/// A service with CORS around it, where that is on.
#[derive(Clone)]
pub struct Cors<S> {
    layer: Option<Arc<CorsLayer>>,
    inner: S,
}

impl<S> Cors<S> {
    /// With this [`layer`], or none.
    pub fn new(layer: Option<Arc<CorsLayer>>, inner: S) -> Self {
        Self { layer, inner }
    }
}

impl<S> Service<Request> for Cors<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // CORS headers mean nothing to requests without an Origin: those are spared the work.
        let has_origin = || request.headers().contains_key(ORIGIN);
        match &self.layer {
            Some(layer) if has_origin() && !is_lost_options(&request) => {
                let is_options_of_mcp =
                    request.method() == Method::OPTIONS && MCP_PATHS.contains(&request.uri().path());
                let answering = layer.layer(self.inner.clone()).call(request);
                let tidied = answering.map(move |response| Ok(tidied(response?, is_options_of_mcp)));
                Either::Right(tidied.boxed())
            }
            _ => Either::Left(self.inner.call(request)),
        }
    }
}

/// tower-http's layer, by the policy and the lists that corsAnalysis judges by; `None` where the server leaves CORS to the
/// proxy.
pub fn layer(http: &Http) -> Option<CorsLayer> {
    let allow_origin = match cors::Policy::of(&http.engine.server.config) {
        cors::Policy::Off => return None,
        cors::Policy::Origins(Origins::Any) => AllowOrigin::any(),
        _ => {
            let config = Arc::clone(&http.engine.server.config);
            AllowOrigin::predicate(move |value: &HeaderValue, _| {
                value.to_str().is_ok_and(|value| cors::Policy::of(&config).allows(value))
            })
        }
    };
    let names = |names: &[&str]| -> Vec<HeaderName> { names.iter().filter_map(|name| name.parse().ok()).collect() };
    let methods: Vec<Method> = cors::ALLOW_METHODS.iter().filter_map(|name| name.parse().ok()).collect();
    Some(
        CorsLayer::new()
            .allow_origin(allow_origin)
            .allow_methods(methods)
            .allow_headers(names(&cors::ALLOW_HEADERS))
            .expose_headers(names(&cors::EXPOSE_HEADERS))
            .max_age(Duration::from_secs(u64::from(cors::MAX_AGE))),
    )
}

/// tower-http's layer takes every OPTIONS for a preflight, at any path. One that asks for no method is none (Fetch,
/// CORS-preflight fetch): where there is nothing, it gets 404.
fn is_lost_options<B>(request: &http::Request<B>) -> bool {
    let is_bare = request.method() == Method::OPTIONS && !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let path = request.uri().path();
    is_bare && !matches!(path, HEALTH_PATH | READY_PATH) && !MCP_PATHS.contains(&path)
}

/// What tower-http's layer leaves as this server would not have it.
fn tidied(mut response: Response, is_options_of_mcp: bool) -> Response {
    // It answers preflights with 200 and without Allow.
    if is_options_of_mcp && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, ALLOWED_METHODS);
    }
    // It sends some headers to origins that are not allowed, where they mean nothing. Scripts that look for the session in a
    // dump of the headers (`grep -i mcp-session-id`) must find the one line that has it.
    let headers = response.headers_mut();
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in [
            ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
    }
    response
}
