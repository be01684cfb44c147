//! Errors of a client's calls to the canister, and of its uploads.

use std::path::PathBuf;

use upload_canister::api;

/// Why a call or an upload step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The IC rejected the call, for example because of a trap, a stopped canister or an unknown method.
    #[error("{method} was rejected: {code:?}: {message}")]
    Rejected {
        /// The canister's method.
        method: &'static str,
        /// The IC's error code.
        code: pocket_ic::ErrorCode,
        /// The IC's message.
        message: String,
    },
    /// No answer came over the network: the call may or may not have been executed. May be repeated, unlike
    /// [`ClientError::Network`].
    #[error("{method} got no answer: {detail}")]
    Unanswered {
        /// The canister's method.
        method: &'static str,
        /// The agent's message.
        detail: String,
    },
    /// The network's answer cannot be used (it is not certified by the network's root key, or the network refused the
    /// request), or the request could not be signed.
    #[error("{method}: {detail}")]
    Network {
        /// The canister's method.
        method: &'static str,
        /// The agent's message.
        detail: String,
    },
    /// The canister returned one of its own errors.
    #[error("{method}: {error}")]
    Refused {
        /// The canister's method.
        method: &'static str,
        /// The canister's error.
        error: api::Error,
    },
    /// Arguments or a reply that are not the expected Candid.
    #[error("{method}: cannot {action} Candid: {detail}")]
    Candid {
        /// The canister's method.
        method: &'static str,
        /// `encode` or `decode`.
        action: &'static str,
        /// What was wrong.
        detail: String,
    },
    /// The file being uploaded cannot be read, or has become shorter.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A step needs a session, but none was begun.
    #[error("{step} was called before begin")]
    NotBegun {
        /// The step.
        step: String,
    },
    /// A repeated begin returned a different session.
    #[error("begin with the same key returned session {got}, expected {expected}")]
    OtherSession {
        /// The session of the first begin.
        expected: u64,
        /// The session of the repeated begin.
        got: u64,
    },
    /// A repeated finish returned a different result.
    #[error("a repeated finish returned {got:?}, expected {expected:?}")]
    OtherResult {
        /// The result of the first finish.
        expected: Box<api::UploadFinishResult>,
        /// The result of the repeated finish.
        got: Box<api::UploadFinishResult>,
    },
    /// Repeated calls of a method make no progress.
    #[error("{method} makes no progress: repeated calls return {at}")]
    NoProgress {
        /// The canister's method.
        method: &'static str,
        /// The progress that the canister reported last.
        at: String,
    },
}

impl ClientError {
    /// Returns the error that the canister itself returned; `None` for every other error.
    pub fn refusal(&self) -> Option<&api::Error> {
        match self {
            ClientError::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Returns whether the call was rejected because the canister is frozen: it executes nothing until it is topped up.
    pub fn is_out_of_cycles(&self) -> bool {
        matches!(self, ClientError::Rejected { code: pocket_ic::ErrorCode::CanisterOutOfCycles, .. })
    }

    /// Returns whether the same call may succeed later: there was no answer, the canister is temporarily stopped, as
    /// for an upgrade, or the subnet is overloaded.
    pub fn is_transient(&self) -> bool {
        use pocket_ic::ErrorCode::{
            CanisterStopped, CanisterStopping, IngressHistoryFull, SubnetOversubscribed,
        };
        match self {
            ClientError::Unanswered { .. } => true,
            ClientError::Rejected { code, .. } => {
                [CanisterStopped, CanisterStopping, IngressHistoryFull, SubnetOversubscribed].contains(code)
            }
            _ => false,
        }
    }
}
