//! `/api/v2/status`: what agents request first, above all the root key.

use super::cbor;
use super::refusal::Refusal;
use crate::VERSION_LINE;
use crate::http::ServerState;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

#[derive(Serialize)]
struct Status {
    impl_version: &'static str,
    replica_health_status: &'static str,
    #[serde(with = "serde_bytes")]
    root_key: &'static [u8],
}

/// Returns the status of an instance.
pub async fn status(state: &ServerState, instance: usize) -> Response {
    let slot = match state.slot(instance) {
        Ok(slot) => slot,
        Err(refusal) => return Refusal::from(refusal).into_response(),
    };
    match slot.operate(|instance| Ok(instance.root_key())).await {
        Ok(Ok(root_key)) => {
            cbor(&Status { impl_version: VERSION_LINE, replica_health_status: "healthy", root_key })
        }
        Ok(Err(refusal)) => Refusal::from(refusal).into_response(),
        Err(fault) => Refusal::fault(fault).into_response(),
    }
}
