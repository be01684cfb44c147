//! Errors of snapshots on disk.

use std::path::{Path, PathBuf};

/// Why a snapshot cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file or folder of the snapshot, or a temporary file, cannot be used.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A folder without metadata.
    #[error(
        "{path} is not a snapshot folder: it has no metadata.json; name the folder that `icp canister snapshot download` or \
         `dfx canister snapshot download` has written, or its stable_memory.bin"
    )]
    NoMetadata {
        /// The folder.
        path: PathBuf,
    },
    /// An unfinished download.
    #[error(
        "{path} shows that the download is not finished, so the files next to it may have holes: finish it \
        with `{resume_command}`, or download the snapshot again"
    )]
    Unfinished {
        /// The file that records the unfinished download.
        path: PathBuf,
        /// The command that finishes the download.
        resume_command: &'static str,
    },
    /// A file that the metadata lists is missing.
    #[error("{path} is missing, metadata.json says {expected} bytes: download the snapshot again")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Size of the file according to the metadata, bytes.
        expected: u64,
    },
    /// A file does not have the length in the metadata.
    #[error(
        "{path} has {got} bytes, expected {expected} according to metadata.json: an interrupted download, or files of \
         two snapshots; download the snapshot again into an empty folder"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Length according to the metadata, bytes.
        expected: u64,
        /// Actual length, bytes.
        got: u64,
    },
    /// The metadata, or the progress file of a transfer, is not as the tools write it.
    #[error("{path}: {why}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        why: String,
    },
    /// A chunk of the wasm chunk store does not have the hash in its name.
    #[error(
        "{path} has the SHA-256 {got}, expected {expected} according to its name: download the snapshot again"
    )]
    Chunk {
        /// The file.
        path: PathBuf,
        /// Hash according to the name of the file, hex.
        expected: String,
        /// Hash of the bytes of the file, hex.
        got: String,
    },
    /// A manifest that does not decode, or has another format.
    #[error("{path}: {why}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with the file.
        why: String,
    },
    /// A file differs from the manifest.
    #[error(
        "{path} is not the file that {manifest} lists: {what}; download the snapshot again, or remove the manifest if it \
         belongs to another snapshot"
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// The manifest.
        manifest: PathBuf,
        /// The actual and the expected length or digest.
        what: String,
    },
    /// A folder to be verified has no manifest.
    #[error(
        "{path} cannot be verified: there is no {manifest}, which `session-migrate snapshot download` writes, and the \
         format of snapshots has no checksums"
    )]
    NoManifest {
        /// The folder.
        path: PathBuf,
        /// Path at which the manifest is expected.
        manifest: PathBuf,
    },
    /// The canister of the snapshot has no stable memory.
    #[error("{path} has no stable memory: it is not a snapshot of an upload canister")]
    NoStableMemory {
        /// The folder.
        path: PathBuf,
    },
    /// A file that is not a stable memory.
    #[error("{path} has {got} bytes, expected whole pages of 65536 bytes, at least one: it is {what}")]
    NotAMemory {
        /// The file.
        path: PathBuf,
        /// Size of the file, bytes.
        got: u64,
        /// What the file seems to be.
        what: &'static str,
    },
    /// A damaged gzip file.
    #[error("cannot decompress {path}: {why}")]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        why: String,
    },
}

impl SnapshotError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            // The path does not exist; any other failure is the machine's.
            SnapshotError::Io { action, source, .. } => {
                *action == "read" && source.kind() == std::io::ErrorKind::NotFound
            }
            _ => true,
        }
    }

    /// Returns a closure for `map_err` on file operations.
    pub(crate) fn io<'p>(
        action: &'static str,
        path: &'p Path,
    ) -> impl FnOnce(std::io::Error) -> SnapshotError + 'p {
        move |source| SnapshotError::Io { action, path: path.to_path_buf(), source }
    }
}
