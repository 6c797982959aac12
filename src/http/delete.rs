//! DELETE: the client ends its session.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::observe::is_logged;
use super::refusal::Refusal;
use super::strict::{self, Asked};
use super::{Arrival, Http, enter_session, headers, note, prefix, refusal, refuse_stateless, revision};
use crate::session::history::Kind;
use crate::session::{EndReason, write};

/// Handles DELETE on the MCP endpoint.
pub async fn delete(State(http): State<Arc<Http>>, request: Request) -> Result<Response, Refusal> {
    refuse_stateless(&http, request.headers(), "DELETE", "there is no session to end")?;
    let named = headers::protocol_version(request.headers(), &http.engine.config.protocol)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))?;
    let visit = enter_session(&http, request.headers())?.ok_or_else(|| {
        Refusal::bad_request("Bad Request: DELETE ends a session and needs its Mcp-Session-Id header")
    })?;
    let session = visit.session();
    let peer = request.extensions().get::<Arrival>().map(|arrival| arrival.connection.peer);
    note(session, Kind::Delete, request.headers(), peer, named);
    let revision = revision(&http, Some(session), named);
    let (kind, headers) = (Kind::Delete, request.headers());
    strict::check(&http, &Asked { kind, headers, session: Some(session), revision, named, calls: &[] })?;
    write(&http.engine.sessions).end(visit.session(), EndReason::Deleted);
    if is_logged() {
        tracing::info!(session = prefix(visit.session().id()), "session deleted by its client");
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    refusal::name_session(&mut response, visit.session().id());
    Ok(response)
}
