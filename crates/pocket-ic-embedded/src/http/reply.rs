//! Request and response bodies: JSON, errors with their status, and operations on instances.

use super::state::ServerState;
use crate::ic::{CallResult, Instance, OpError};
use crate::threads::Work;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pocket_ic::common::rest::RawCanisterResult;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Maximum length of a request in bytes: that of a blob that fills a memory of 4 GiB.
pub(super) const MAX_BODY_BYTES: usize = 4 << 30;

/// Returns `{"message": …}` with a status.
pub(crate) fn message_response(status: StatusCode, message: String) -> Response {
    json_response(status, &serde_json::json!({ "message": message }))
}

pub(crate) fn json_response<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot encode the answer: {error}")).into_response()
        }
    }
}

/// Returns the response to a refused operation: the error as a message, with the status of its kind.
pub(crate) fn error_response(error: &OpError) -> Response {
    let status = match error {
        OpError::Forbidden(_) => StatusCode::FORBIDDEN,
        OpError::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::BAD_REQUEST,
    };
    message_response(status, error.to_string())
}

pub(crate) fn parse_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, OpError> {
    serde_json::from_slice(body).map_err(|error| OpError::Conversion(error.to_string()))
}

/// Returns the answer of a canister in the form that clients get; for `certified`, see `UserError::into_response`.
pub(super) fn canister_result(result: CallResult, certified: bool) -> RawCanisterResult {
    result.map_err(|error| error.into_response(certified)).into()
}

/// Runs an operation on an instance, after any earlier ones ([`Slot::operate`](super::slot::Slot::operate)), and
/// responds with its result in JSON.
pub(crate) async fn operate<T: Serialize>(
    state: &ServerState,
    id: usize,
    work: Work,
    operation: impl FnOnce(&mut Instance) -> Result<T, OpError>,
) -> Response {
    let slot = match state.slot(id) {
        Ok(slot) => slot,
        Err(refusal) => return error_response(&refusal),
    };
    // The response is encoded as part of the work, since it may be large.
    let encoded =
        |instance: &mut Instance| operation(instance).map(|value| json_response(StatusCode::OK, &value));
    match slot.operate(work, encoded).await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => error_response(&refusal),
        Err(fault) => message_response(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("internal error of the embedded server: {fault}"),
        ),
    }
}

/// Like [`operate`], as long work, with an operation that takes the parsed body of the request.
pub(super) async fn operate_with<B: DeserializeOwned, T: Serialize>(
    state: &ServerState,
    id: usize,
    body: Bytes,
    operation: impl FnOnce(&mut Instance, B) -> Result<T, OpError>,
) -> Response {
    operate(state, id, Work::Long, |instance| operation(instance, parse_json(&body)?)).await
}
