//! Errors of transfers.

use std::path::PathBuf;

use candid::Principal;

use crate::client::ClientError;
use crate::snapshot::SnapshotError;

/// Why a snapshot was not transferred. Unless the error's text says otherwise, the same command resumes the transfer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A call failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file or folder cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The canister has no snapshot.
    #[error("{canister} has no snapshot: take one with --take, or with `icp canister snapshot create`")]
    NoSnapshot {
        /// The canister.
        canister: Principal,
    },
    /// The folder contains something other than a download of this canister that this program began.
    #[error(
        "{path} is not empty, and is not a download of {canister} that this program began: name another \
        folder"
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// The canister.
        canister: Principal,
    },
    /// A new snapshot is requested, but the folder already contains a complete download.
    #[error(
        "no snapshot was taken: {path} already contains snapshot {snapshot}, complete; name another folder, or omit \
        --take to verify this one"
    )]
    AlreadyComplete {
        /// The folder.
        path: PathBuf,
        /// The snapshot in the folder, hex.
        snapshot: String,
    },
    /// The folder has a download that `icp` began.
    #[error(
        "{path} is an unfinished download of icp, which does not record the snapshot: finish it with `icp \
        canister snapshot download --resume`"
    )]
    BegunByIcp {
        /// The folder.
        path: PathBuf,
    },
    /// The folder belongs to the transfer of another snapshot, or of another canister.
    #[error(
        "{path} belongs to a transfer of snapshot {got}, expected {expected}: name another folder, or remove it"
    )]
    OtherTransfer {
        /// The folder, or the progress file of an upload.
        path: PathBuf,
        /// What was requested: snapshot and canister of a download, metadata and canister of an upload.
        expected: String,
        /// The same of the transfer to which `path` belongs.
        got: String,
    },
    /// Another process uses the folder.
    #[error("{path} is locked: another transfer is running")]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The network's answer does not have the expected length or digest.
    #[error("{what}: got {got}, expected {expected}")]
    Answer {
        /// The part of the snapshot.
        what: String,
        /// Expected length or digest.
        expected: String,
        /// Actual length or digest.
        got: String,
    },
    /// A global variable of the module has a value that JSON cannot represent.
    #[error(
        "global {index} of the snapshot is {value}, which metadata.json cannot represent: it has finite \
        numbers only, so no tool can write this snapshot into a folder"
    )]
    NotFinite {
        /// The number of the global variable.
        index: usize,
        /// The value of the global variable.
        value: f64,
    },
    /// The request to take a snapshot has expired without an answer.
    #[error("`take_canister_snapshot` has expired without an answer: the network may have taken a snapshot")]
    Unanswered,
    /// A snapshot was taken, but not downloaded.
    #[error(
        "{source}; snapshot {snapshot} was taken for this download and stays on the canister: select it with \
        --snapshot instead of --take"
    )]
    AfterTaking {
        /// The snapshot, hex.
        snapshot: String,
        /// Why it was not downloaded.
        source: Box<TransferError>,
    },
    /// The network refuses to take or to accept the snapshot.
    #[error("the network has refused the call: {0}")]
    Refused(String),
    /// The snapshot of an interrupted upload no longer exists.
    #[error(
        "snapshot {snapshot} of the interrupted upload no longer exists on the canister: remove \
        {progress_file} to begin again"
    )]
    Gone {
        /// The snapshot, hex.
        snapshot: String,
        /// The progress file of the upload.
        progress_file: PathBuf,
    },
}

impl TransferError {
    /// Returns whether the user's input is at fault, not the machine or the network.
    pub fn is_usage(&self) -> bool {
        match self {
            TransferError::Client(error) => matches!(error, ClientError::Rejected { .. }),
            TransferError::Snapshot(error) => error.is_usage(),
            TransferError::AfterTaking { source, .. } => source.is_usage(),
            TransferError::Answer { .. } => false,
            _ => true,
        }
    }
}
