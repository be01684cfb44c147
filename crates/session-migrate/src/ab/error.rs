//! Errors of a comparison.

use crate::compare::RuleError;
use crate::replay::ReplayError;
use crate::trace::TraceError;
use crate::workload::WorkloadError;

/// Why a comparison could not start or continue. A difference is never an error.
#[derive(Debug, thiserror::Error)]
pub enum AbError {
    /// The rules file cannot be used.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// A trace or a build cannot be used, or a replay failed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A workload cannot be recorded.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The state of a canister cannot be read.
    #[error("the state of {build}: {detail}")]
    State {
        /// The canister's build.
        build: String,
        /// The reason.
        detail: String,
    },
    /// The temporary folder for recorded traces cannot be created.
    #[error("cannot create a folder for traces: {0}")]
    Folder(std::io::Error),
    /// The thread that replayed the trace on one side panicked.
    #[error("the PocketIC server failed: {0}")]
    Panicked(String),
}

impl AbError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            AbError::Rules(_) => true,
            AbError::Replay(error) => error.is_usage(),
            AbError::Workload(error) => error.is_usage(),
            AbError::State { .. } | AbError::Folder(_) | AbError::Panicked(_) => false,
        }
    }
}

impl From<TraceError> for AbError {
    fn from(error: TraceError) -> Self {
        AbError::Replay(error.into())
    }
}
