//! The two kinds of failure of an operation: a rejection as from an Internet Computer subnet ([`UserError`]),
//! and an invalid operation on the instance ([`OpError`]).
//!
//! The texts of traps are in the engine.

use crate::engine::Trap;
use candid::Principal;
use pocket_ic::{ErrorCode, RejectCode, RejectResponse};

/// A rejection with one of the numbered error codes of the Internet Computer; users and calling canisters can get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    /// The numbered code; its first digit is the reject code.
    pub code: ErrorCode,
    pub message: String,
    /// Whether a canister that gets this rejection sees the code before the text. The code is left out if the callee
    /// does not exist, is not running or is uninstalled during the call, if the call's deadline passes, or if the text
    /// comes from the callee.
    pub shows_code: bool,
}

impl UserError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), shows_code: true }
    }

    /// Returns the same rejection with [`Self::shows_code`] unset.
    pub fn hiding_code(self) -> Self {
        Self { shows_code: false, ..self }
    }

    /// Returns the text that a canister sees in `msg_reject_msg`.
    pub fn reject_text(self) -> String {
        if self.shows_code { format!("{}: {}", self.code_text(), self.message) } else { self.message }
    }

    /// Returns the numbered code as agents read it.
    pub fn code_text(&self) -> String {
        format!("IC{:04}", self.code as u64)
    }

    /// Returns the reject code, which is the first digit of the error code.
    pub fn reject_code(&self) -> RejectCode {
        match self.code as u64 / 100 {
            1 => RejectCode::SysFatal,
            2 => RejectCode::SysTransient,
            3 => RejectCode::DestinationInvalid,
            4 => RejectCode::CanisterReject,
            5 => RejectCode::CanisterError,
            _ => RejectCode::SysUnknown,
        }
    }

    /// Returns the answer that a client sees. `certified` is true for answers that passed through a round of
    /// the subnet.
    pub fn into_response(self, certified: bool) -> RejectResponse {
        RejectResponse {
            reject_code: self.reject_code(),
            reject_message: self.message,
            error_code: self.code,
            certified,
        }
    }

    pub fn canister_not_found(id: Principal) -> Self {
        Self::new(ErrorCode::CanisterNotFound, format!("Canister {id} not found."))
    }

    pub fn canister_stopped(id: Principal) -> Self {
        Self::new(ErrorCode::CanisterStopped, format!("Canister {id} is stopped"))
    }

    pub fn canister_stopping(id: Principal) -> Self {
        Self::new(ErrorCode::CanisterStopping, format!("Canister {id} is stopping"))
    }

    /// Returns the error for a canister that exists, but has no code.
    pub fn no_wasm_module(id: Principal) -> Self {
        Self::from_execution(
            id,
            ErrorCode::CanisterWasmModuleNotFound,
            "Attempted to execute a message, but the canister contains no Wasm module.",
        )
    }

    pub fn not_controller(id: Principal, controllers: &[Principal], sender: Principal) -> Self {
        let list = controllers.iter().map(Principal::to_text).collect::<Vec<_>>().join(" ");
        Self::new(
            ErrorCode::CanisterInvalidController,
            format!(
                "Only the controllers of the canister {id} can control it.\nCanister's controllers: {list}\nSender's ID: {sender}"
            ),
        )
    }

    /// Returns the error for a failed execution: the engine's text with the usual prefix and advice.
    pub fn from_execution(id: Principal, code: ErrorCode, text: &str) -> Self {
        let advice = match advice_for(code) {
            Some(advice) => format!(".\n{advice}"),
            None => String::new(),
        };
        Self::new(code, format!("Error from Canister {id}: {text}{advice}"))
    }

    /// Returns the error for an argument of the management canister that does not decode.
    pub fn invalid_payload(method: &str, cause: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorCode::InvalidManagementPayload,
            format!("Error decoding candid arguments of {method}: {cause}"),
        )
    }

    /// Returns a contract violation by the caller of the management canister.
    pub fn contract_violation(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::CanisterContractViolation, message)
    }

    /// Returns a rejection by the network, for which there is no more specific code; canisters see the code.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::CanisterRejectedMessage, message)
    }

    /// Returns the rejection for a text that the callee passed to `msg_reject`; canisters do not see the code.
    pub fn rejected_by_canister(message: String) -> Self {
        Self::rejected(message).hiding_code()
    }
}

/// Returns the reject code as the number that `ic0.msg_reject_code` returns.
pub fn reject_number(code: RejectCode) -> u32 {
    code as u32
}

/// Returns the advice for developers that the IC adds to error texts with this code; `None` for most codes.
fn advice_for(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::CanisterCalledTrap | ErrorCode::CanisterTrapped => Some(
            "Consider gracefully handling failures from this canister or altering the canister to handle exceptions.",
        ),
        ErrorCode::CanisterMethodNotFound => {
            Some("Check that the method being called is exported by the target canister.")
        }
        ErrorCode::CanisterInstructionLimitExceeded => Some(
            "Try optimizing this method to consume fewer instructions or split the work across multiple messages.",
        ),
        ErrorCode::CanisterWasmModuleNotFound => {
            Some("Please install code to this canister before calling it.")
        }
        _ => None,
    }
}

/// An operation on an instance that the server refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    #[error("CanisterNotFound(CanisterId({0}))")]
    CanisterNotFound(Principal),
    /// The canister has no code, hence no memory.
    #[error("CanisterIsEmpty(CanisterId({0}))")]
    CanisterIsEmpty(Principal),
    /// A message that cannot be accepted or answered.
    #[error("BadIngressMessage({0:?})")]
    BadIngressMessage(String),
    #[error("SubnetNotFound({0})")]
    SubnetNotFound(Principal),
    /// No subnet of the instance is responsible for the canister id.
    #[error("CanisterRequestRoutingError({0:?})")]
    CanisterRouting(String),
    /// Time can only move forward: current and requested time in nanoseconds.
    #[error("SettingTimeIntoPast(({0}, {1}))")]
    SettingTimeIntoPast(u64, u64),
    /// The caller may not read this.
    #[error("Forbidden({0:?})")]
    Forbidden(String),
    /// The folder cannot hold or does not hold a snapshot.
    #[error("InvalidCanisterSnapshotDirectory({0:?})")]
    InvalidSnapshotDirectory(String),
    /// A management call on behalf of a snapshot download or upload was rejected.
    #[error("CanisterSnapshotError({0:?})")]
    Snapshot(String),
    /// A request that does not parse.
    #[error("ConversionError {{ message: {0:?} }}")]
    Conversion(String),
    /// A request for what this server lacks. The text names it, as the subject of the sentence that `Display`
    /// completes.
    #[error("{0} is not supported by the embedded server")]
    Unsupported(String),
    #[error("{0}")]
    Other(String),
}

/// Returns the error that the caller of a canister gets if the canister traps.
pub(super) fn trap_error(id: Principal, trap: &Trap) -> UserError {
    // The engine returns only codes of `ErrorCode`; anything else would be a bug in the engine.
    let code =
        ErrorCode::try_from(u64::from(trap.error_code())).unwrap_or(ErrorCode::CanisterWasmEngineError);
    UserError::from_execution(id, code, &trap.to_string())
}

/// Returns the error of a callback whose cleanup trapped as well: the callback's error, with both texts.
pub(super) fn cleanup_error(id: Principal, callback_trap: &Trap, cleanup_trap: &Trap) -> UserError {
    UserError {
        message: format!(
            "Error from Canister {id}: {callback_trap}\n\ncall_on_cleanup also failed:\n\n{cleanup_trap}"
        ),
        ..trap_error(id, callback_trap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reject_code_is_the_first_digit() {
        for (code, reject) in [
            (ErrorCode::SubnetOversubscribed, RejectCode::SysFatal),
            (ErrorCode::CanisterOutOfCycles, RejectCode::SysTransient),
            (ErrorCode::CanisterNotFound, RejectCode::DestinationInvalid),
            (ErrorCode::CanisterRejectedMessage, RejectCode::CanisterReject),
            (ErrorCode::CanisterCalledTrap, RejectCode::CanisterError),
            (ErrorCode::DeadlineExpired, RejectCode::SysUnknown),
        ] {
            assert_eq!(UserError::new(code, "").reject_code(), reject, "{code}");
        }
    }

    #[test]
    fn execution_errors_carry_prefix_text_and_advice() {
        let id = Principal::from_slice(&[1]);
        let error = UserError::from_execution(
            id,
            ErrorCode::CanisterMethodNotFound,
            "Canister has no update method 'foo'.",
        );
        assert!(error.message.starts_with(&format!(
            "Error from Canister {id}: Canister has no update method 'foo'..\nCheck that"
        )));
    }

    #[test]
    fn canisters_read_the_code_before_the_text_of_an_error() {
        let error = UserError::new(ErrorCode::CanisterOutOfCycles, "out of cycles");
        assert_eq!(error.reject_text(), "IC0207: out of cycles");
        assert_eq!(UserError::rejected_by_canister("not today".into()).reject_text(), "not today");
    }

    #[test]
    fn operation_errors_name_their_variant() {
        assert_eq!(OpError::SettingTimeIntoPast(5, 3).to_string(), "SettingTimeIntoPast((5, 3))");
        assert_eq!(OpError::BadIngressMessage("x".into()).to_string(), "BadIngressMessage(\"x\")");
    }
}
