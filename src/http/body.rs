//! Reading a body: at most so many bytes, in at most so much time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::refusal::Refusal;
use crate::protocol::RpcError;

/// The longest that a body may take to arrive: 4 MiB at 70 KB a second, slower than any network worth waiting for.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 as soon as it is known to be larger, 408 when it takes too long, 400 when the client breaks off.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(READ_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(error)) => Err(Refusal::bad_request(format!("Bad Request: the body broke off: {error}")).and_close()),
        Err(_) => {
            let error = RpcError::invalid_request(format!(
                "Request Timeout: the body did not arrive within {} s",
                READ_TIMEOUT.as_secs()
            ));
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error).and_close())
        }
    }
}

fn too_large(limit: usize) -> Refusal {
    let error = RpcError::invalid_request(format!(
        "Content Too Large: the body is larger than {limit} bytes (MCP_MAX_BODY_BYTES)"
    ));
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error).and_close()
}
