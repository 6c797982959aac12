//! The floor: the smallest axum server that does what no MCP server can leave out, so that the load bench can say what
//! sessions, tools and findings add to it. It parses the POST and answers a fixed result with the request's id: as JSON
//! at `/json`, as one server-sent event at `/sse`. GET is a stream that only keeps alive.
//!
//! `floor PORT [RESULT]`: RESULT is a file with the JSON of the result, so that both servers answer as many bytes.
#![expect(clippy::unwrap_used, reason = "a measurement may break off")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;

/// What an echo returns, more or less.
const RESULT: &str = r#"{"content":[{"type":"text","text":"Hello"}],"isError":false}"#;

// The runtime of the product: as many workers as CPUs that the process may use.
#[tokio::main]
async fn main() {
    let mut args = env::args().skip(1);
    let port: u16 = args.next().unwrap().parse().unwrap();
    let result = args.next().map_or_else(|| RESULT.to_owned(), |file| fs::read_to_string(file).unwrap());
    let app = Router::new()
        .route("/json", post(json))
        .route("/sse", post(sse))
        .route("/stream", get(keep_alive))
        .with_state(Arc::from(result.trim()));
    // Without it a streamed answer waits some 40 ms for the client's delayed ACK.
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap().tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await.unwrap();
}

async fn json(State(result): State<Arc<str>>, body: Bytes) -> Response {
    match answer(&result, &body) {
        Some(json) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn sse(State(result): State<Arc<str>>, body: Bytes) -> Response {
    match answer(&result, &body) {
        Some(json) => {
            let event = Event::default().event("message").data(json);
            Sse::new(stream::iter([Ok::<_, Infallible>(event)])).into_response()
        }
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn answer(result: &str, body: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(body).ok()?;
    let id = request.get("id")?;
    Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

async fn keep_alive() -> impl IntoResponse {
    let nothing = stream::pending::<Result<Event, Infallible>>();
    Sse::new(nothing).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
