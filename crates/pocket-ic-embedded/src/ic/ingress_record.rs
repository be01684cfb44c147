//! The record of a submitted message.

use super::calls::CallResult;
use super::user_call::UserCall;
use candid::Principal;

/// A message from a user, and its answer.
#[derive(Clone, Debug)]
pub struct IngressRecord {
    /// Further data about the message if an agent sent it; `None` if a PocketIC client did.
    pub agent_call: Option<RecordedAgentCall>,
    pub sender: Principal,
    /// The call, until its execution begins.
    pub call: Option<UserCall>,
    /// The subnet to which the message was sent.
    pub subnet: Principal,
    /// `None` until the message is answered.
    pub answer: Option<CallResult>,
}

/// What is stored about an agent's call.
#[derive(Clone, Debug)]
pub struct RecordedAgentCall {
    /// When the call expires, nanoseconds since 1970.
    pub expiry: u64,
    pub effective: Effective,
    pub callee: Principal,
}

/// The effective id in the address of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effective {
    /// The subnet of this canister.
    Canister(Principal),
    /// This subnet.
    Subnet(Principal),
}
