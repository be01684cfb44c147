//! A call or query by a user, as it is submitted.

use super::error::OpError;
use crate::engine::CallerInfo;
use candid::Principal;
use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};
use std::sync::{Arc, OnceLock};

/// A call or query by a user; agents' requests and those of PocketIC clients are converted to it.
#[derive(Clone, Debug)]
pub struct UserCall {
    pub sender: Principal,
    /// The canister that is called, or the management canister.
    pub callee: Principal,
    /// The effective principal, if the client has specified one.
    pub effective: RawEffectivePrincipal,
    pub method: String,
    pub arg: Vec<u8>,
    /// A canister's signed statement about the sender.
    pub caller_info: CallerInfo,
    /// The canister that a call of the management canister is about.
    pub target: Target,
}

/// The canister that a call of the management canister is about, if its argument says so. The argument is read only
/// once.
#[derive(Clone, Debug, Default)]
pub struct Target(Arc<OnceLock<Option<Principal>>>);

impl Target {
    /// Returns the canister; `find` reads it from the argument, and is called at most once.
    pub fn get_or_find(&self, find: impl FnOnce() -> Option<Principal>) -> Option<Principal> {
        *self.0.get_or_init(find)
    }
}

impl TryFrom<RawCanisterCall> for UserCall {
    type Error = OpError;

    fn try_from(raw: RawCanisterCall) -> Result<Self, OpError> {
        let caller_info = raw.sender_info.map(|info| CallerInfo { data: info.info, signer: info.signer });
        Ok(Self {
            sender: parse_principal(&raw.sender, "Bad sender principal")?,
            callee: parse_principal(&raw.canister_id, "Bad canister id")?,
            effective: raw.effective_principal,
            method: raw.method,
            arg: raw.payload,
            caller_info: caller_info.unwrap_or_default(),
            target: Target::default(),
        })
    }
}

/// Parses a principal that a client sent; `error_text` is the text of the error if the bytes are not a principal.
pub fn parse_principal(bytes: &[u8], error_text: &str) -> Result<Principal, OpError> {
    Principal::try_from_slice(bytes).map_err(|_| OpError::Conversion(error_text.into()))
}

/// Parses a canister id in text form, from the address of a request. (In other requests, ids are bytes.)
pub fn parse_canister_id(text: &str) -> Result<Principal, OpError> {
    Principal::from_text(text).map_err(|_| OpError::Conversion("Bad canister id".into()))
}
