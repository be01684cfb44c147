//! Accepts calls, and answers synchronous ones with the outcome.

use super::address::CallReply;
use super::cbor::cbor_response;
use super::checked::{self, operate};
use super::envelope::Action;
use super::refusal::Refusal;
use crate::http::Slot;
use crate::ic::{AgentCall, Effective, UserError};
use crate::threads::{self, Work};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ic_transport_types::{RejectCode, RejectResponse, TransportCallResponse};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Time to wait for the outcome of a synchronous call. After that, the call is answered without it, and clients poll.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// `/call`
pub async fn call(
    slot: Arc<Slot>,
    effective: Effective,
    reply: CallReply,
    body: &[u8],
) -> Result<Response, Refusal> {
    let checked = checked::check_request(&slot, Action::Call, body)?;
    let submitted = operate(&slot, Work::for_request(body), |instance| {
        checked.check_time(instance, Action::Call)?;
        let (id, expiry) = (*checked.id, checked.content.ingress_expiry);
        let call = AgentCall { id, expiry, effective, call: checked.content.into_call()? };
        let inspection = Work::long_if(instance.is_inspected(&call.call));
        let submitted = threads::run_part(inspection, || instance.submit_request(call))?;
        Ok(submitted.map(|()| match reply {
            CallReply::Accepted => None,
            CallReply::Certificate(ranges_form) => Some(instance.certificate_channel(id, ranges_form)),
        }))
    })
    .await?;
    let receiver = match (submitted, reply) {
        (Ok(receiver), _) => receiver,
        (Err(error), CallReply::Accepted) => return Ok(cbor_response(&reject_response(error))),
        (Err(error), CallReply::Certificate(_)) => {
            return Ok(cbor_response(&TransportCallResponse::NonReplicatedRejection(reject_response(error))));
        }
    };
    slot.request_round();
    let accepted = StatusCode::ACCEPTED.into_response();
    let Some(receiver) = receiver else {
        return Ok(accepted);
    };
    Ok(match timeout(MAX_WAIT, receiver).await {
        Ok(Ok(certificate)) => cbor_response(&TransportCallResponse::Replied { certificate }),
        _ => accepted,
    })
}

/// Returns a rejection in the form that agents get.
pub fn reject_response(error: UserError) -> RejectResponse {
    RejectResponse {
        // Agents know five reject codes; the sixth is for canisters only.
        reject_code: RejectCode::try_from(error.reject_code() as u64).unwrap_or(RejectCode::SysTransient),
        error_code: Some(error.code_text()),
        reject_message: error.message,
    }
}
