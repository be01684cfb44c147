//! One call of the management canister, and how it ends.

use super::argument::decode_argument;
use crate::ic::calls::{CallResult, Origin};
use crate::ic::error::UserError;
use crate::ic::user_call::{Target, UserCall};
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Deserialize, Principal};
use pocket_ic::ErrorCode;

/// Who calls the management canister: a user or a canister, with the same kind of id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ic) struct Caller {
    pub id: Principal,
    pub is_canister: bool,
}

impl Caller {
    pub fn user(id: Principal) -> Self {
        Self { id, is_canister: false }
    }

    pub fn canister(id: Principal) -> Self {
        Self { id, is_canister: true }
    }
}

/// A call while it is executed; the methods use up its cycles and add to its instructions.
pub(in crate::ic) struct ManagementCall<'a> {
    pub(super) caller: Caller,
    /// The subnet to which the call was sent, if a user sent it.
    pub(super) subnet: Option<Principal>,
    pub(super) origin: Origin,
    pub(super) method: &'a str,
    pub(super) arg: &'a [u8],
    pub(super) target: Target,
    /// Cycles attached; what is left is refunded.
    pub(super) cycles: u128,
    pub(super) now: u64,
    /// Instructions used by canisters' code in the course of the call.
    pub(super) instructions: u64,
}

impl<'a> ManagementCall<'a> {
    pub(in crate::ic) fn by_user(
        call: &'a UserCall,
        subnet: Option<Principal>,
        origin: Origin,
        now: u64,
    ) -> Self {
        let UserCall { sender, method, arg, target, .. } = call;
        let (caller, target) = (Caller::user(*sender), target.clone());
        Self { caller, subnet, origin, method, arg, target, cycles: 0, now, instructions: 0 }
    }

    pub(in crate::ic) fn by_canister(
        caller: Principal,
        method: &'a str,
        arg: &'a [u8],
        cycles: u128,
        origin: Origin,
        now: u64,
    ) -> Self {
        let (caller, target) = (Caller::canister(caller), Target::default());
        Self { caller, subnet: None, origin, method, arg, target, cycles, now, instructions: 0 }
    }

    /// Decodes the argument; the error names the method.
    pub(super) fn decode<T: CandidType + for<'de> Deserialize<'de>>(&self) -> Result<T, UserError> {
        decode_argument(self.arg).map_err(|error| UserError::invalid_payload(self.method, error))
    }
}

/// When a call is answered: with these bytes now, or later.
pub(super) enum Reply {
    Now(Vec<u8>),
    /// Later: the method has recorded who waits for the answer.
    Later,
}

/// Returns the answer of methods without results: the empty argument list.
pub(in crate::ic) fn empty_reply() -> Vec<u8> {
    b"DIDL\0\0".to_vec()
}

pub(super) fn encode_reply<T: ArgumentEncoder>(method: &str, values: T) -> CallResult {
    candid::encode_args(values).map_err(|error| {
        // Only a bug in this program leads here; the caller still gets an answer.
        UserError::new(
            ErrorCode::CanisterContractViolation,
            format!("Cannot encode the answer of {method}: {error}"),
        )
    })
}
