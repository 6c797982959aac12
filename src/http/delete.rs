//! DELETE: the client ends its session.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use uuid::Uuid;

use super::refusal::{self, Refusal};
use super::{Arrival, Http};
use crate::request;
use crate::request::headers::Accept;
use crate::rpc::{Arrived, Caller};
use crate::session::prefix;

/// Handles DELETE on the MCP endpoint.
pub async fn delete(
    State(http): State<Arc<Http>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refusal> {
    let request = Arc::new(arrival.request(request.into_parts().0, 0, None));
    let session = end(&http, &request)
        .await
        .map_err(|refusal| refusal.noted(&http, &request.method, &request.headers, arrival.connection.peer))?;
    if arrival.is_logged {
        tracing::info!(session = prefix(session), "session deleted by its client");
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    refusal::name_session(&mut response, session);
    Ok(response)
}

async fn end(http: &Http, request: &Arc<request::Request>) -> Result<Uuid, Refusal> {
    let accept = Accept::of(&request.headers);
    let caller = Caller::of_http(request, accept, false);
    refusal::refuse_stateless(http, &caller, "DELETE", "there is no session to end")?;
    Ok(match &http.engine.server.committer {
        None => http.engine.end_session(&caller)?,
        Some(committer) => {
            let arrived = Arrived { request: Arc::clone(request), accept, streams: false };
            Box::pin(http.engine.end_session_there(committer, arrived)).await?
        }
    })
}
