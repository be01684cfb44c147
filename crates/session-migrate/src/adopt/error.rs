//! Errors of an adoption.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::build::BuildError;
use crate::inspect::InspectError;
use crate::server::ServerError;
use crate::snapshot::{CopyError, SnapshotError};

/// Why an adoption failed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The snapshot cannot be read, or the folder cannot be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The folder or file can be read, but is not a snapshot of the first public release.
    #[error("{path} is not a snapshot of the first public release: {why}")]
    Foreign {
        /// The folder or file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The release's own module reports a session number that the release cannot have issued.
    #[error(
        "the module of the snapshot reports the session number {number}, expected at most {limit}: the module or its \
        heap is damaged; adopt the file stable_memory.bin of the snapshot instead, without its sessions in flight"
    )]
    SessionNumber {
        /// The number.
        number: u64,
        /// The highest number that is accepted.
        limit: u64,
    },
    /// A file or folder that adopting would create exists already.
    #[error("{path} exists: name another folder with --out, or remove it")]
    Exists {
        /// The existing file or folder.
        path: PathBuf,
    },
    /// The new folder cannot be created in its parent folder.
    #[error("cannot write into {path}: {source}")]
    NoFolder {
        /// The parent folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The legacy build is not available.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No PocketIC server can be used.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The legacy build does not accept the adopted memory.
    #[error("the legacy build cannot continue with the adopted snapshot: {0}")]
    Copy(#[from] CopyError),
    /// The adopted folder cannot be inspected.
    #[error("the adopted folder cannot be inspected: {0}")]
    Inspect(#[from] InspectError),
    /// The canister's storage refuses a record, or the result is not what was planned.
    #[error("{0}; this is a fault of this program, and nothing was written")]
    Fault(String),
}

impl AdoptError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            AdoptError::Snapshot(error) => error.is_usage(),
            AdoptError::Foreign { .. } | AdoptError::SessionNumber { .. } | AdoptError::Exists { .. } => true,
            AdoptError::NoFolder { source, .. } => {
                matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
            }
            // The wasm to use as the legacy build does not exist.
            AdoptError::Build(BuildError::Io { action: "read", source, .. }) => {
                source.kind() == ErrorKind::NotFound
            }
            // That wasm is not an upload canister.
            AdoptError::Build(error) => matches!(error, BuildError::Wasm { .. }),
            AdoptError::Server(_) | AdoptError::Copy(_) | AdoptError::Inspect(_) | AdoptError::Fault(_) => {
                false
            }
        }
    }
}
