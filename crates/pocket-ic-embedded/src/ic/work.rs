//! Messages that wait for execution.

use super::calls::{CallResult, CallbackId, MessageId};
use candid::Principal;

/// A message that waits for execution.
#[derive(Debug)]
pub(super) enum Work {
    /// A user's call.
    Ingress(MessageId),
    /// A call by a canister.
    Request {
        /// The canister that called.
        caller: Principal,
        /// The callback that gets the answer.
        callback: CallbackId,
        /// When a best-effort call expires, nanoseconds; 0 for calls without a time limit.
        deadline: u64,
        /// The canister that is called.
        callee: Principal,
        /// The method.
        method: String,
        /// The argument.
        arg: Vec<u8>,
        /// Cycles attached.
        cycles: u128,
    },
    /// An answer to a canister.
    Answer {
        /// The canister that called.
        canister: Principal,
        /// The callback that gets the answer.
        callback: CallbackId,
        /// The answer.
        result: CallResult,
        /// Cycles that are refunded.
        refund: u128,
    },
}
