//! Answers queries; a node signs the response.

use super::call::reject_response;
use super::cbor::cbor_response;
use super::checked::{self, operate};
use super::envelope::Action;
use super::refusal::Refusal;
use crate::http::Slot;
use crate::ic::{Effective, QueryAnswer};
use crate::threads::Work;
use axum::response::Response;
use ic_transport_types::{NodeSignature, QueryResponse, RejectCode, RejectResponse, ReplyResponse};
use serde::Serialize;
use std::sync::Arc;

/// [`QueryResponse`] in the encoding that is sent: a map of definite length, which some decoders require.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum ResponseBody<'a> {
    Replied {
        reply: &'a ReplyResponse,
        signatures: [NodeSignature; 1],
    },
    Rejected {
        reject_code: RejectCode,
        reject_message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_code: Option<&'a str>,
        signatures: [NodeSignature; 1],
    },
}

/// `/query`
pub async fn query(slot: Arc<Slot>, effective: Effective, body: &[u8]) -> Result<Response, Refusal> {
    let checked = checked::check_request(&slot, Action::Query, body)?;
    let id = checked.id;
    operate(&slot, Work::Long, |instance| {
        checked.check_time(instance, Action::Query)?;
        Ok(instance.query_request(effective, checked.content.into_call()?)?)
    })
    .await
    .map(|QueryAnswer { result, time_nanos, keys }| {
        let signatures = vec![];
        let response = match result {
            Ok(arg) => QueryResponse::Replied { reply: ReplyResponse { arg }, signatures },
            Err(error) => QueryResponse::Rejected { reject: reject_response(error), signatures },
        };
        let signature = NodeSignature {
            timestamp: time_nanos,
            signature: keys.sign_as_node(&response.signable(id, time_nanos)),
            identity: keys.node_id,
        };
        let signatures = [signature];
        match &response {
            QueryResponse::Replied { reply, .. } => {
                cbor_response(&ResponseBody::Replied { reply, signatures })
            }
            QueryResponse::Rejected { reject, .. } => {
                let RejectResponse { reject_code, reject_message, error_code } = reject;
                cbor_response(&ResponseBody::Rejected {
                    reject_code: *reject_code,
                    reject_message,
                    error_code: error_code.as_deref(),
                    signatures,
                })
            }
        }
    })
}
