//! Errors of a rehearsal.

use std::path::{Path, PathBuf};

use crate::build::{BuildError, WasmError};
use crate::client::ClientError;
use crate::inspect::InspectError;
use crate::server::ServerError;
use crate::snapshot::{CopyError, SnapshotError};
use crate::trace::TraceError;

/// Why a rehearsal could not start or continue. Problems that a rehearsal finds are in its report.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// A given file cannot be used.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A given file is not a usable wasm.
    #[error("{path}: {source}")]
    Wasm {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: WasmError,
    },
    /// A file or folder that the rehearsal itself creates could not be used.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The wasms could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// There is no usable server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A call that belongs to no upload failed, or a file to upload can no longer be read.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The snapshot cannot be inspected.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The snapshot cannot be loaded.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The clients' calls cannot be recorded.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The legacy build could not be installed.
    #[error("cannot install the legacy build{}: {message}", given.as_ref().map_or(String::new(), |path| format!(" ({})", path.display())))]
    Install {
        /// The file, if one was given instead of the build of the tree.
        given: Option<PathBuf>,
        /// The IC's or the canister's message.
        message: String,
    },
}

impl RehearseError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            RehearseError::File { .. } | RehearseError::Wasm { .. } => true,
            RehearseError::Install { given, .. } => given.is_some(),
            RehearseError::Trace(error) => error.is_usage(),
            RehearseError::Snapshot(error) => error.is_usage(),
            RehearseError::Inspect(error) => error.is_usage() || error.is_damage(),
            RehearseError::Copy(_) => true,
            _ => false,
        }
    }

    /// Creates a closure for `map_err` on file operations.
    pub(crate) fn io<'p>(
        action: &'static str,
        path: &'p Path,
    ) -> impl FnOnce(std::io::Error) -> RehearseError + 'p {
        move |source| RehearseError::Io { action, path: path.to_path_buf(), source }
    }
}
