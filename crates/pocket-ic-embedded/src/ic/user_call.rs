//! A call by a user, as it is submitted.

use super::error::OpError;
use crate::engine::CallerInfo;
use candid::Principal;
use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};
use std::sync::{Arc, OnceLock};

/// A call by a user.
#[derive(Clone, Debug)]
pub struct UserCall {
    /// Who calls.
    pub sender: Principal,
    /// The canister; the management canister for its methods.
    pub callee: Principal,
    /// Where the call is to go, if stated.
    pub effective: RawEffectivePrincipal,
    /// The method.
    pub method: String,
    /// The argument.
    pub arg: Vec<u8>,
    /// What the sender attested about itself.
    pub info: CallerInfo,
    /// The canister that it is about, for the management canister.
    pub target: Target,
}

/// The canister that a call of the management canister is about, if its argument says so. It is looked up once.
#[derive(Clone, Debug, Default)]
pub struct Target(Arc<OnceLock<Option<Principal>>>);

impl Target {
    /// Returns the canister; `find` reads the argument.
    pub fn or_find(&self, find: impl FnOnce() -> Option<Principal>) -> Option<Principal> {
        *self.0.get_or_init(find)
    }
}

impl TryFrom<RawCanisterCall> for UserCall {
    type Error = OpError;

    fn try_from(raw: RawCanisterCall) -> Result<Self, OpError> {
        let info = raw.sender_info.map(|info| CallerInfo { data: info.info, signer: info.signer });
        Ok(Self {
            sender: principal(&raw.sender, "Bad sender principal")?,
            callee: principal(&raw.canister_id, "Bad canister id")?,
            effective: raw.effective_principal,
            method: raw.method,
            arg: raw.payload,
            info: info.unwrap_or_default(),
            target: Target::default(),
        })
    }
}

/// Returns a principal from the bytes that a client sent.
///
/// # Errors
/// `what`, if the bytes are not one.
pub fn principal(bytes: &[u8], what: &str) -> Result<Principal, OpError> {
    Principal::try_from_slice(bytes).map_err(|_| OpError::Conversion(what.into()))
}

/// Returns the canister that a client has specified in the address.
///
/// # Errors
/// If that is not a principal.
pub fn named_canister(text: &str) -> Result<Principal, OpError> {
    Principal::from_text(text).map_err(|_| OpError::Conversion("Bad canister id".into()))
}
