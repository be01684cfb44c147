//! `/api/v2/status`: the root key and the other facts that agents request first.

use super::cbor::cbor_response;
use super::checked::operate;
use super::refusal::Refusal;
use crate::VERSION_LINE;
use crate::http::ServerState;
use crate::threads::Work;
use axum::response::Response;
use serde::Serialize;

#[derive(Serialize)]
struct Status {
    impl_version: &'static str,
    replica_health_status: &'static str,
    #[serde(with = "serde_bytes")]
    root_key: &'static [u8],
}

/// Answers for one instance.
pub async fn status(state: &ServerState, instance: usize) -> Result<Response, Refusal> {
    let root_key = operate(&*state.slot(instance)?, Work::Brief, |instance| Ok(instance.root_key())).await?;
    Ok(cbor_response(&Status { impl_version: VERSION_LINE, replica_health_status: "healthy", root_key }))
}
