//! Messages that wait for execution.

use super::calls::{CallResult, CallbackId, MessageId};
use candid::Principal;

/// A message in the instance's queue. Its cycles are on no balance while it waits.
#[derive(Debug)]
pub(super) enum QueuedMessage {
    /// A user's call.
    Ingress(MessageId),
    /// A call by a canister.
    Request {
        caller: Principal,
        callback: CallbackId,
        deadline: u64,
        callee: Principal,
        method: String,
        arg: Vec<u8>,
        cycles: u128,
    },
    /// The answer to a call by a canister.
    Answer { canister: Principal, callback: CallbackId, result: CallResult, refund: u128 },
}
