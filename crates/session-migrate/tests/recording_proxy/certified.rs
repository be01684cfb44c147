//! What a server of the Internet Computer returns about calls: parts of its state, which are not signed here,
//! and rejections.

use candid::Nat;
use ic_certification::{Certificate, HashTree, fork, labeled, leaf};
use ic_transport_types::{RejectResponse, RequestId};
use pocket_ic::common::rest::RawCanisterResult;

/// Returns a certificate with the time, nanoseconds since 1970, and the outcome of one call.
pub fn state(time: u64, id: RequestId, result: Option<RawCanisterResult>) -> Vec<u8> {
    let mut leb128 = Vec::new();
    // Numbers in a certificate are encoded as LEB128, as in Candid.
    Nat::from(time).encode(&mut leb128).unwrap();
    let calls = labeled("request_status", labeled(id.as_slice(), call_status(result)));
    let tree = fork(calls, labeled("time", leaf(leb128)));
    serde_cbor::to_vec(&Certificate { tree, signature: vec![0; 48], delegation: None }).unwrap()
}

fn call_status(result: Option<RawCanisterResult>) -> HashTree {
    match result {
        None => labeled("status", leaf("received")),
        Some(RawCanisterResult::Ok(reply)) => {
            fork(labeled("reply", leaf(reply)), labeled("status", leaf("replied")))
        }
        Some(RawCanisterResult::Err(reject)) => fork(
            fork(
                labeled("error_code", leaf(error_code(reject.error_code))),
                labeled("reject_code", leaf([reject.reject_code as u8])),
            ),
            fork(labeled("reject_message", leaf(reject.reject_message)), labeled("status", leaf("rejected"))),
        ),
    }
}

/// Returns a rejection in the form that agents get.
pub fn rejection(reject: pocket_ic::RejectResponse) -> RejectResponse {
    RejectResponse {
        reject_code: (reject.reject_code as u64).try_into().unwrap(),
        reject_message: reject.reject_message,
        error_code: Some(error_code(reject.error_code)),
    }
}

fn error_code(code: pocket_ic::ErrorCode) -> String {
    format!("IC{:04}", code as u64)
}
