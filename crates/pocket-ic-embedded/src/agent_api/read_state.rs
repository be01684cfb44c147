//! Reads the state tree.

use super::cbor::cbor_response;
use super::checked::{self, operate};
use super::envelope::Action;
use super::refusal::Refusal;
use crate::http::Slot;
use crate::ic::{Effective, RangesForm, ReadRequest};
use crate::threads::Work;
use axum::response::Response;
use ic_transport_types::ReadStateResponse;
use std::sync::Arc;

/// `/read_state`
pub async fn read_state(
    slot: Arc<Slot>,
    effective: Effective,
    ranges_form: RangesForm,
    body: &[u8],
) -> Result<Response, Refusal> {
    let checked = checked::check_request(&slot, Action::ReadState, body)?;
    let certificate = operate(&slot, Work::Long, |instance| {
        checked.check_time(instance, Action::ReadState)?;
        let sender = checked.content.sender;
        let targets = checked.sender.into_targets();
        let paths = checked.content.into_paths()?;
        Ok(instance.read_state(&ReadRequest { sender, effective, ranges_form, paths, targets })?)
    })
    .await?;
    Ok(cbor_response(&ReadStateResponse { certificate }))
}
