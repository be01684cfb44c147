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
    /// The subnet to which the message was sent.
    pub subnet: Principal,
    pub state: IngressState,
}

impl IngressRecord {
    /// Returns the answer; `None` if there is none yet, or it has been discarded.
    pub fn answer(&self) -> Option<&CallResult> {
        match &self.state {
            IngressState::Answered(answer) => Some(answer),
            IngressState::Received(_) | IngressState::Processing | IngressState::Done => None,
        }
    }

    /// Returns whether the message has been answered, even if its answer has been discarded.
    pub fn is_answered(&self) -> bool {
        matches!(self.state, IngressState::Answered(_) | IngressState::Done)
    }
}

/// How far a message has got; with the names of the interface specification.
#[derive(Clone, Debug)]
pub enum IngressState {
    /// Its execution has not begun.
    Received(UserCall),
    Processing,
    Answered(CallResult),
    /// It was answered, and the answer has been discarded.
    Done,
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
