//! POST: a message comes in, and its reply goes out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};

use super::form::{self, Form};
use super::observe;
use super::refusal::{self, Refusal};
use super::{Arrival, Http, body};
use crate::diagnosis::findings::session::{accept, content_type};
use crate::protocol::{Content, RpcError, message};
use crate::recorder;
use crate::request::headers::{self, Accept, SESSION_ID};
use crate::rpc::{self, Arrived, Caller};
use crate::session::clients::Denial;

/// Handles POST on the MCP endpoint.
pub async fn post(State(http): State<Arc<Http>>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let config = &http.engine.server.config;
    let peer = arrival.connection.peer;
    let accept = match acceptable(&parts.headers) {
        Ok(accept) => accept,
        Err(refusal) => {
            let refusal = refusal.noted(&http, &parts.method, &parts.headers, peer);
            return body::refuse(&parts.headers, body, refusal).await.into_response();
        }
    };
    let meanwhile = || http.engine.keep_alive(&parts.headers);
    let (bytes, share) =
        match body::read(&parts.headers, body, config.max_body_bytes, &arrival.account, meanwhile).await {
            Ok(read) => read,
            Err(refusal) => return refusal.noted(&http, &parts.method, &parts.headers, peer).into_response(),
        };
    let form = Form::choose(config.response, accept.accepts);
    let message = match message::read(&bytes) {
        Ok(message) => message,
        Err(malformed) => {
            let refusal = Refusal::from(rpc::malformed(malformed)).because(Denial::Unreadable);
            return refusal.noted(&http, &parts.method, &parts.headers, peer).into_response();
        }
    };
    observe::record(&http, &message, arrival.is_logged, arrival.seen.as_ref());
    if let (Some(seen), Some(_)) = (&arrival.seen, http.recorder.as_ref().filter(|recorder| recorder.records_bodies()))
    {
        seen.note_bodies(Some(recorder::body(&bytes)), None);
    }
    let session = parts.headers.get(SESSION_ID).cloned();
    let request = Arc::new(arrival.request(parts, bytes.len(), share));
    let mut reply = match &http.engine.server.committer {
        None => http.engine.exchange(&Caller::of_http(&request, accept, form.streams()), message),
        Some(committer) => {
            let arrived = Arrived { request: Arc::clone(&request), accept, streams: form.streams() };
            Box::pin(http.engine.exchange_there(committer, arrived, message)).await
        }
    };
    if let Content::Refused(refused) = &mut reply.content {
        let why = refusal::denial_of(refused);
        refusal::note(&http, (&request.method, &request.headers, peer), why, &mut refused.error);
    }
    // Here ends the request, unless a call holds it: its share of the budget is what a large answer may be waiting for.
    drop((request, bytes));
    form::render(&http, &arrival.account, form, reply, session).await
}

/// What can be told by the headers alone: whether the body can be read, and the forms of an answer.
fn acceptable(headers: &HeaderMap) -> Result<Accept, Refusal> {
    if !headers::is_json(headers) {
        let error = RpcError::invalid_request("Unsupported Media Type: send Content-Type: application/json");
        let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error);
        return Err(refusal.explained_by(content_type(headers)));
    }
    if headers::is_encoded(headers) {
        return Err(Refusal::unsupported_encoding());
    }
    let read = Accept::of(headers);
    if !read.accepts.json && !read.accepts.sse {
        let refusal = Refusal::not_acceptable("the Accept header must allow application/json or text/event-stream");
        return Err(refusal.explained_by(accept(headers, "application/json or text/event-stream")));
    }
    Ok(read)
}
