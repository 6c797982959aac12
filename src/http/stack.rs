//! Everything that a request passes, from the outermost to the routes. One function instead of a tower of layers: each layer
//! around a router costs every request allocations and a walk through it. And what nearly every request is, a POST to
//! the endpoint that needs no CORS headers, passes no router at all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use super::body::Body;
use super::observe::Observed;
use super::post::Arrived;
use super::refusal::Refusal;
use super::{
    Arrival, Connection, HEALTH_PATH, Http, MCP_PATHS, body, cors_layer, guard, panicked, refusing_routes, routes,
    without_idle_cors,
};

/// What answers the requests of a connection.
#[derive(Clone)]
pub struct Stack {
    http: Arc<Http>,
    /// Whether POSTs to the endpoint are answered.
    is_serving: bool,
    /// The routes.
    plain: Router,
    /// The routes with the server's own CORS around them, where it is on: for requests of browsers.
    cors: Option<Router>,
}

/// The way that a request takes.
enum Way<B> {
    /// Straight to its handler.
    Post(Arrived<B>),
    /// Any other.
    Other(BoxFuture<'static, Response>),
}

impl Stack {
    /// The stack of a server.
    #[must_use]
    pub fn new(http: Arc<Http>) -> Self {
        let plain = routes(&http);
        let cors = cors_layer(&http)
            .map(|cors| routes(&http).layer(cors).layer(axum::middleware::map_response(without_idle_cors)));
        Self { http, is_serving: true, plain, cors }
    }

    /// The stack of a connection that is one too many.
    #[must_use]
    pub fn refusing(http: Arc<Http>, max: usize) -> Self {
        let plain = refusing_routes(&http, max);
        Self { http, is_serving: false, plain, cors: None }
    }

    /// Answers a request that came in on `connection`.
    ///
    /// What needs the whole head is done before there is a future: every future that holds it is moved around with it.
    pub fn respond<B: Body>(
        &self,
        connection: Connection,
        request: http::Request<B>,
    ) -> impl Future<Output = Response> + Send + use<B> {
        let http = Arc::clone(&self.http);
        // Request id, span, log line, Server-Timing: outermost, so that nothing escapes it.
        let (observed, arrival) = Observed::new(&http, connection, &request);
        let way = observed.span.in_scope(|| {
            // Whatever panics on the way is answered for, and the server lives on.
            catch_unwind(AssertUnwindSafe(|| self.way(arrival, request)))
                .unwrap_or_else(|panic| Way::Other(std::future::ready(panicked(panic)).boxed()))
        });
        let shared = Arc::clone(&http);
        let answering = async move {
            match way {
                Way::Post(post) => post.answer(&shared).await,
                Way::Other(answering) => answering.await,
            }
        };
        let span = observed.span.clone();
        AssertUnwindSafe(answering).catch_unwind().instrument(span).map(move |answered| {
            let mut response = answered.unwrap_or_else(panicked);
            observed.answered(&http, &mut response);
            response
        })
    }

    fn way<B: Body>(&self, arrival: Arrival, request: http::Request<B>) -> Way<B> {
        // Origin and Host.
        if let Err(refusal) = guard::admit(&self.http.engine.config, self.http.bound_to_loopback, &request) {
            return Way::Other(refuse(request, refusal));
        }
        // CORS headers mean nothing to requests without an Origin.
        let cors = self.cors.as_ref().filter(|_| request.headers().contains_key(ORIGIN) && !is_lost_options(&request));
        let is_post = request.method() == Method::POST && MCP_PATHS.contains(&request.uri().path());
        if is_post && self.is_serving && cors.is_none() {
            return Way::Post(Arrived::new(arrival, request));
        }
        Way::Other(route(cors.unwrap_or(&self.plain), arrival, request))
    }
}

#[inline(never)]
fn refuse<B: Body>(request: http::Request<B>, refusal: Refusal) -> BoxFuture<'static, Response> {
    let (parts, body) = request.into_parts();
    async move { body::refuse(&parts.headers, body, refusal).await.into_response() }.boxed()
}

#[inline(never)]
fn route<B: Body>(routes: &Router, arrival: Arrival, request: http::Request<B>) -> BoxFuture<'static, Response> {
    let mut request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(arrival);
    routes.clone().oneshot(request).map(IntoResponse::into_response).boxed()
}

/// The CORS layer takes every OPTIONS for a preflight, at any path. One that asks for no method is none (Fetch, CORS-preflight
/// fetch): where there is nothing, it is to find nothing.
fn is_lost_options<B>(request: &http::Request<B>) -> bool {
    let is_bare = request.method() == Method::OPTIONS && !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let path = request.uri().path();
    is_bare && path != HEALTH_PATH && !MCP_PATHS.contains(&path)
}
