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
use tower_http::cors::CorsLayer;

use super::cors::{self, Cors};
use super::guard::Guard;
use super::observe::Observe;
use super::refusal::Refusal;
use super::unread::unless_unread;
use super::{Account, Connection, Http, note_panic};
use crate::protocol::RpcError;

/// Routes with the layers around them.
#[derive(Clone)]
pub struct Layers {
    http: Arc<Http>,
    cors: Option<Arc<CorsLayer>>,
    routes: Router,
}

impl Layers {
    /// Around `routes`.
    #[must_use]
    pub fn around(http: Arc<Http>, routes: Router) -> Self {
        Self { cors: cors::layer(&http).map(Arc::new), http, routes }
    }

    /// What answers the requests of a connection: they come in at the top of the list, and their responses leave there.
    ///
    /// The layers are around the router, not in it (`Router::layer`): there, each would box its service and its future for
    /// every request. All of them, and axum's router, are always ready.
    pub fn on<B>(
        self,
        connection: Connection,
        account: Account,
    ) -> impl Service<
        Request<B>,
        Response = Response<impl HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let Self { http, cors, routes } = self;
        let (unread, observing) = (http.unread, Arc::clone(&http));
        ServiceBuilder::new()
            // One type of body, whatever the connection speaks.
            .map_request(|request: Request<B>| request.map(Body::new))
            // X-Request-Id, the span, the log line, Server-Timing and X-Instance-Id. Around all else, so that no answer is
            // without them.
            .layer_fn(move |inner| Observe::new(Arc::clone(&observing), connection, account.clone(), inner))
            // A panic is answered with 500 and a JSON-RPC error, and the connection lives on.
            .layer(CatchPanicLayer::custom(panicked))
            // 403 for a Host or Origin that is not allowed, before anything else looks at the request.
            .layer_fn(|inner| Guard::new(Arc::clone(&http), inner))
            // The server's own CORS, where it is on: preflights, and headers for the pages of allowed origins.
            .layer_fn(|inner| Cors::new(cors.clone(), inner))
            // Limits. Large answers that their client does not read are given up here. What bounds a body (bytes, time, the
            // memory of all together) has to wait until its route reads it: see `body` and `budget`.
            .map_response(move |response| unless_unread(response, unread))
            .service(routes)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what CatchPanicLayer hands over")]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response<Body> {
    note_panic(&*panic);
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, RpcError::internal()).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::RwLock;
    use std::time::Duration;

    use axum::routing::get;
    use http::HeaderValue;
    use http_body_util::BodyExt as _;
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt as _;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::http::Budget;
    use crate::rpc::Engine;
    use crate::session::{Limits, SessionManager};
    use crate::system::System;
    use crate::tools::{Server, TOOLS};

    fn http() -> Arc<Http> {
        let (config, clock) = (Config::default(), Arc::new(Clock::new()));
        let sessions = SessionManager::new(Limits::from(&config), Arc::clone(&clock));
        let sessions = Arc::new(RwLock::new(sessions));
        let server = Server::new(Arc::new(config), clock, sessions, Arc::new(System::unsampled()));
        Arc::new(Http {
            engine: Engine::new(server, TOOLS, CancellationToken::new()),
            instance: HeaderValue::from_static("0000"),
            bound_to_loopback: true,
            unread: Duration::from_secs(60),
            recorder: None,
        })
    }

    #[tokio::test]
    async fn a_panic_anywhere_behind_the_layers_is_answered_like_any_request() {
        let at_once = async || -> &'static str { panic!("on purpose") };
        let routes = Router::new().route("/mcp", get(at_once));
        let stack = Layers::around(http(), routes).on(
            Connection { peer: SocketAddr::from(([127, 0, 0, 1], 4711)), local: None },
            Budget::new(0, 0).account([127, 0, 0, 1].into()),
        );
        for (header, id) in [("x-request-id", "mine"), ("x-other", "req_")] {
            let request = Request::builder().uri("/mcp").header("host", "localhost").header(header, "mine");
            let Ok(response) = stack.clone().oneshot(request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let (parts, body) = response.into_parts();
            for name in ["server-timing", "x-instance-id"] {
                assert!(parts.headers.contains_key(name), "{name}: {:?}", parts.headers);
            }
            assert!(parts.headers["x-request-id"].to_str().unwrap().starts_with(id), "{:?}", parts.headers);
            let Ok(body) = body.collect().await else { panic!("the body broke off") };
            let body: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
            assert_eq!((&body["jsonrpc"], &body["error"]["code"]), (&"2.0".into(), &(-32603).into()), "{body}");
        }
    }
}
