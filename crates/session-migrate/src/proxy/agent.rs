//! Translates agents' requests and their answers (CBOR, as the IC interface specification defines) to PocketIC's
//! protocol.
//!
//! Signatures and certificates are not verified here: the server verifies signatures, the agent certificates.

use candid::Principal;
use ic_certification::{Certificate, Label, LookupResult};
use ic_transport_types::{
    Envelope, EnvelopeContent, QueryResponse, ReadStateResponse, TransportCallResponse,
};
use pocket_ic::common::rest::{RawCanisterCall, RawCanisterResult, RawEffectivePrincipal, RawMessageId};
use pocket_ic::{ErrorCode, RejectCode, RejectResponse};

const REQUEST_STATUS: &[u8] = b"request_status";

/// Reads an update call. The message id is the call's request id. `None` if the body is not an update call.
pub(super) fn read_call(body: &[u8]) -> Option<(RawCanisterCall, RawMessageId)> {
    let content = read_content(body)?;
    let id = ic_transport_types::to_request_id(&content).ok()?;
    let EnvelopeContent::Call { sender, canister_id, method_name, arg, .. } = content else { return None };
    let message = message_id(canister_id, id.to_vec());
    Some((raw_call(sender, canister_id, method_name, arg), message))
}

/// Reads a query call; `None` if the body is none.
pub(super) fn read_query(body: &[u8]) -> Option<RawCanisterCall> {
    let EnvelopeContent::Query { sender, canister_id, method_name, arg, .. } = read_content(body)? else {
        return None;
    };
    Some(raw_call(sender, canister_id, method_name, arg))
}

/// Returns the ids of the calls whose status a `read_state` request asks for; `None` for any other body.
pub(super) fn read_asked_calls(body: &[u8]) -> Option<Vec<RawMessageId>> {
    let EnvelopeContent::ReadState { paths, .. } = read_content(body)? else { return None };
    let asked = paths.iter().filter_map(|path| match path.as_slice() {
        [status, id, ..] if status.as_bytes() == REQUEST_STATUS => Some(id),
        _ => None,
    });
    // Calls are matched by message id, so any canister will do.
    Some(
        asked
            .map(|id: &Label| message_id(Principal::management_canister(), id.as_bytes().to_vec()))
            .collect(),
    )
}

fn read_content(body: &[u8]) -> Option<EnvelopeContent> {
    let Envelope { content, .. } = serde_cbor::from_slice(body).ok()?;
    Some(content.into_owned())
}

fn raw_call(sender: Principal, canister: Principal, method: String, payload: Vec<u8>) -> RawCanisterCall {
    RawCanisterCall {
        sender: sender.as_slice().to_vec(),
        canister_id: canister.as_slice().to_vec(),
        effective_principal: effective_canister(canister),
        method,
        payload,
        sender_info: None,
    }
}

fn message_id(canister: Principal, id: Vec<u8>) -> RawMessageId {
    RawMessageId { effective_principal: effective_canister(canister), message_id: id }
}

fn effective_canister(canister: Principal) -> RawEffectivePrincipal {
    RawEffectivePrincipal::CanisterId(canister.as_slice().to_vec())
}

/// The answer to a call.
pub(super) enum CallAnswer {
    /// The answer has the call's outcome.
    Outcome(RawCanisterResult),
    /// The outcome must be read later.
    NoOutcomeYet,
}

/// Reads the answer to a call; `None` if the body is not a readable answer to a call, or rejects the call with an
/// unknown error code.
pub(super) fn read_call_answer(body: &[u8], message: &RawMessageId) -> Option<CallAnswer> {
    let outcome = match serde_cbor::from_slice(body).ok()? {
        TransportCallResponse::Replied { certificate } => {
            outcome_in(&serde_cbor::from_slice(&certificate).ok()?, message)
        }
        TransportCallResponse::NonReplicatedRejection(reject) => {
            Some(rejection(reject.error_code.as_deref(), reject.reject_message, false)?)
        }
        TransportCallResponse::Accepted => None,
    };
    Some(outcome.map_or(CallAnswer::NoOutcomeYet, CallAnswer::Outcome))
}

pub(super) fn read_query_answer(body: &[u8]) -> Option<RawCanisterResult> {
    match serde_cbor::from_slice(body).ok()? {
        QueryResponse::Replied { reply, .. } => Some(RawCanisterResult::Ok(reply.arg)),
        QueryResponse::Rejected { reject, .. } => {
            rejection(reject.error_code.as_deref(), reject.reject_message, false)
        }
    }
}

/// Reads the certificate of a `read_state` answer.
pub(super) fn read_certificate(body: &[u8]) -> Option<Certificate> {
    let ReadStateResponse { certificate } = serde_cbor::from_slice(body).ok()?;
    serde_cbor::from_slice(&certificate).ok()
}

/// Returns the outcome of a call; `None` if the certified state tree contains none, or one that is not readable.
pub(super) fn outcome_in(state: &Certificate, message: &RawMessageId) -> Option<RawCanisterResult> {
    let field = |what: &str| {
        let path = [REQUEST_STATUS, &message.message_id, what.as_bytes()];
        match state.tree.lookup_path(path) {
            LookupResult::Found(value) => Some(value),
            LookupResult::Absent | LookupResult::Unknown | LookupResult::Error => None,
        }
    };
    let text = |what| Some(std::str::from_utf8(field(what)?).ok()?.to_owned());
    match field("status")? {
        b"replied" => Some(RawCanisterResult::Ok(field("reply")?.to_vec())),
        b"rejected" => rejection(text("error_code").as_deref(), text("reject_message")?, true),
        _ => None,
    }
}

/// Creates a rejection from the IC's error code, such as `IC0503`, whose hundreds digit is the reject code. `None` if
/// the code is missing or unknown.
fn rejection(code: Option<&str>, message: String, certified: bool) -> Option<RawCanisterResult> {
    let code: u64 = code?.strip_prefix("IC")?.parse().ok()?;
    Some(RawCanisterResult::Err(RejectResponse {
        reject_code: RejectCode::try_from(code / 100).ok()?,
        reject_message: message,
        error_code: ErrorCode::try_from(code).ok()?,
        certified,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_certification::{fork, labeled, leaf};
    use std::borrow::Cow;

    fn body(content: EnvelopeContent) -> Vec<u8> {
        let content = Cow::Owned(content);
        Envelope { content, sender_pubkey: None, sender_sig: None, sender_delegation: None }.encode_bytes()
    }

    fn canister() -> Principal {
        Principal::from_slice(&[7, 1, 1])
    }

    #[test]
    fn a_call_has_the_id_derived_from_its_content() {
        let content = EnvelopeContent::Call {
            nonce: Some(vec![1, 2, 3]),
            ingress_expiry: 1_700_000_000_000_000_000,
            sender: Principal::anonymous(),
            canister_id: canister(),
            method_name: "m".into(),
            arg: b"DIDL".to_vec(),
            sender_info: None,
        };
        let (read, message) = read_call(&body(content.clone())).unwrap();
        assert_eq!(message.message_id, content.to_request_id().to_vec());
        assert_eq!((read.method.as_str(), read.payload.as_slice()), ("m", &b"DIDL"[..]));
        assert_eq!((read.sender, read.canister_id), (vec![4], vec![7, 1, 1]));
        assert!(read_query(&body(content)).is_none() && read_call(b"no envelope").is_none());
    }

    #[test]
    fn outcome_of_a_call_is_read_from_the_state() {
        let message = message_id(canister(), vec![9; 32]);
        let with_status = |status: &str, rest| {
            let status = labeled("status", leaf(status));
            let call_tree = labeled([9; 32], fork(rest, status));
            Certificate { tree: labeled(REQUEST_STATUS, call_tree), signature: vec![], delegation: None }
        };
        let reply = with_status("replied", labeled("reply", leaf("yes")));
        assert!(
            matches!(outcome_in(&reply, &message), Some(RawCanisterResult::Ok(reply)) if reply == b"yes")
        );
        assert!(outcome_in(&with_status("processing", ic_certification::empty()), &message).is_none());
        // `done` means that the state no longer contains the outcome.
        assert!(outcome_in(&with_status("done", ic_certification::empty()), &message).is_none());
        let other = message_id(canister(), vec![8; 32]);
        assert!(outcome_in(&reply, &other).is_none());
        let rejection_fields =
            |code: &str| fork(labeled("error_code", leaf(code)), labeled("reject_message", leaf("no more")));
        let Some(RawCanisterResult::Err(reject)) =
            outcome_in(&with_status("rejected", rejection_fields("IC0503")), &message)
        else {
            panic!("the outcome is not a rejection");
        };
        assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
        assert_eq!(reject.reject_code, RejectCode::CanisterError);
        assert!(outcome_in(&with_status("rejected", rejection_fields("IC9999")), &message).is_none());
    }
}
