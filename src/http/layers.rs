//! The layers around the routes: what happens to every request, whatever it asks for.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::response::IntoResponse as _;
use axum::{BoxError, Router};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;

use super::cors::Cors;
use super::guard::Guard;
use super::observe::Observe;
use super::refusal::Refusal;
use super::unread::unless_unread;
use super::{Http, note_panic};
use crate::protocol::RpcError;

/// `routes` within all layers. A request comes in at the top of the list and its response leaves there.
///
/// The layers are around the router, not in it (`Router::layer`): there every one would box its future and its service anew
/// for each request. All of them, and axum's router, are always ready.
pub fn around<B>(
    http: &Arc<Http>,
    routes: Router,
) -> impl Service<
    Request<B>,
    Response = Response<impl HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let unread = http.unread;
    ServiceBuilder::new()
        // One type of body, whatever the connection speaks.
        .map_request(|request: Request<B>| request.map(Body::new))
        // X-Request-Id, the span, the log line, Server-Timing and X-Instance-Id. Around all else, so that no answer is
        // without them.
        .layer_fn(|inner| Observe::new(Arc::clone(http), inner))
        // A panic is answered with 500 and a JSON-RPC error, and the connection lives on.
        .layer(CatchPanicLayer::custom(panicked))
        // 403 for a Host or Origin that is not allowed, before anything else looks at the request.
        .layer_fn(|inner| Guard::new(Arc::clone(http), inner))
        // The server's own CORS, where it is on: preflights, and headers for the pages of allowed origins.
        .layer_fn(|inner| Cors::new(http, inner))
        // Limits. Large answers that their client does not read are given up here. What bounds a body (bytes, time, the
        // memory of all together) has to wait until its route reads it: see `body` and `budget`.
        .map_response(move |response| unless_unread(response, unread))
        .service(routes)
}

#[expect(clippy::needless_pass_by_value, reason = "what CatchPanicLayer hands over")]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response<Body> {
    note_panic(&*panic);
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, RpcError::internal()).into_response()
}
