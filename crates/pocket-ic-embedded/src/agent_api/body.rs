//! Reads the bodies of requests, within limits of size and time.

use super::refusal::Refusal;
use crate::http::ServerState;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;

/// Maximum length of a request in bytes, the same as at the Internet Computer's boundary.
const MAX_BYTES: usize = 4 << 20;
/// Length in bytes up to which a request that is too large is still read to its end, so that its client receives the
/// refusal.
const MAX_READ_BYTES: usize = 16 * MAX_BYTES;
/// Time in which a client must send its request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the complete body before the request is handled, so that a slow client does not keep others waiting.
pub async fn read_whole(State(state): State<Arc<ServerState>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(TIMEOUT, read_body(&state, body));
    let body = match read.await {
        Ok(body) => body,
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("The request was not complete within {} seconds", TIMEOUT.as_secs()),
        )),
    };
    // Only from here on does the request keep the server from exiting: a client that sends nothing does not.
    let _busy = state.activity().begin();
    match body {
        Ok(bytes) => next.run(Request::from_parts(parts, bytes.into())).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Reads the body; a refusal if it is too large, or if the connection ends early.
async fn read_body(state: &ServerState, mut body: Body) -> Result<Bytes, Refusal> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        state.activity().touch();
        let frame =
            frame.map_err(|error| Refusal::bad_request(format!("The request ended early: {error}")))?;
        if let Ok(data) = frame.into_data() {
            length += data.len();
            if length > MAX_READ_BYTES {
                break;
            }
            if length <= MAX_BYTES {
                bytes.extend_from_slice(&data);
            }
        }
    }
    if length > MAX_BYTES {
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The request has more than {MAX_BYTES} bytes"),
        ));
    }
    Ok(bytes.into())
}
