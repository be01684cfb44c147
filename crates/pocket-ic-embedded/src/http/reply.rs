//! Request and response bodies: JSON, errors with their status, and operations on threads that may block.

use super::state::{ServerState, Slot};
use crate::ic::{CallResult, Instance, OpError};
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pocket_ic::common::rest::RawCanisterResult;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Returns `{"message": …}` with a status.
pub(crate) fn message(status: StatusCode, message: String) -> Response {
    json(status, &serde_json::json!({ "message": message }))
}

/// Returns a JSON body with a status.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot encode the answer: {error}")).into_response()
        }
    }
}

/// Returns the status and body of a refused operation.
pub(crate) fn error(error: &OpError) -> Response {
    let status = match error {
        OpError::Forbidden(_) => StatusCode::FORBIDDEN,
        OpError::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::BAD_REQUEST,
    };
    message(status, error.to_string())
}

/// Returns a request body.
///
/// # Errors
/// A body that is not JSON of this type.
pub(crate) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, OpError> {
    serde_json::from_slice(body).map_err(|error| OpError::Conversion(error.to_string()))
}

/// Returns the answer of a canister as clients read it. `certified` is true for answers that went through a
/// round.
pub(super) fn canister_result(result: CallResult, certified: bool) -> RawCanisterResult {
    result.map_err(|error| error.into_response(certified)).into()
}

/// Runs an operation on an instance, after any earlier ones, and responds with its result.
pub(crate) async fn operate<T, F>(state: &ServerState, id: usize, operation: F) -> Response
where
    T: Serialize,
    F: FnOnce(&mut Instance) -> Result<T, OpError> + Send + 'static,
{
    match state.slot(id) {
        Ok(slot) => operate_on(slot, operation).await,
        Err(refusal) => error(&refusal),
    }
}

/// [`operate`] with a body that is parsed first.
pub(super) async fn operate_with<B, T, F>(
    state: &ServerState,
    id: usize,
    body: Bytes,
    operation: F,
) -> Response
where
    B: DeserializeOwned,
    T: Serialize,
    F: FnOnce(&mut Instance, B) -> Result<T, OpError> + Send + 'static,
{
    operate(state, id, move |instance| {
        let body = parse(&body)?;
        operation(instance, body)
    })
    .await
}

async fn operate_on<T, F>(slot: Arc<Slot>, operation: F) -> Response
where
    T: Serialize,
    F: FnOnce(&mut Instance) -> Result<T, OpError> + Send + 'static,
{
    // Large answers are encoded where it may take time.
    let work = move |instance: &mut Instance| operation(instance).map(|value| json(StatusCode::OK, &value));
    match slot.operate(work).await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => error(&refusal),
        Err(fault) => message(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("internal error of the embedded server: {fault}"),
        ),
    }
}
