//! Errors of workloads.

use crate::client::ClientError;
use crate::replay::ReplayError;
use crate::trace::TraceError;

/// Why a workload could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The canister could not be installed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The trace cannot be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A generated file cannot be written or read, or the canister has another interface.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No folder for generated files can be created.
    #[error("cannot create a folder for files: {0}")]
    Folder(std::io::Error),
}

impl WorkloadError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            WorkloadError::Replay(error) => error.is_usage(),
            WorkloadError::Trace(error) => error.is_usage(),
            WorkloadError::Client(_) | WorkloadError::Folder(_) => false,
        }
    }
}
