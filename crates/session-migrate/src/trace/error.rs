//! Errors of traces.

use std::path::{Path, PathBuf};

/// Why a trace cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A file or folder cannot be used.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The first line is not the header of a trace.
    #[error("{path}:1: not a trace: {detail}")]
    NotATrace {
        /// The file.
        path: PathBuf,
        /// The reason.
        detail: String,
    },
    /// The trace was written by a newer program.
    #[error("{path}:1: the trace is of version {got}, this program reads up to {newest}")]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Version of the trace.
        got: u32,
        /// The newest version that this program reads.
        newest: u32,
    },
    /// The trace ends before its end line.
    #[error("{path}:{line}: the trace is truncated here: it has no end line")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The last existing line.
        line: usize,
    },
    /// A line was changed, or a line was added or removed before this line.
    #[error(
        "{path}:{line}: this line or the one before it was changed: its checksum is {got}, expected {expected}"
    )]
    Edited {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The checksum that the line should have.
        expected: String,
        /// The checksum in the line.
        got: String,
    },
    /// A line does not follow the format.
    #[error("{path}:{line}: {detail}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The reason.
        detail: String,
    },
    /// The file with the payload of a line is missing or unreadable.
    #[error("{path}:{line}: the payload file {file} cannot be read: {source}")]
    UnreadablePayload {
        /// The trace.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The payload file.
        file: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A payload file does not have the expected digest and length.
    #[error(
        "{path}:{line}: the payload file {file} has the SHA-256 {got} and {bytes} bytes, expected {expected_bytes} \
        bytes with the SHA-256 in its name"
    )]
    DamagedPayload {
        /// The trace.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The file, whose name is the expected digest.
        file: PathBuf,
        /// The actual digest.
        got: String,
        /// The actual number of bytes.
        bytes: u64,
        /// The expected number of bytes.
        expected_bytes: u64,
    },
    /// The canister's interface does not parse.
    #[error("the Candid interface: {0}")]
    Interface(String),
}

impl TraceError {
    /// Creates a closure for `map_err` on file operations.
    pub(crate) fn io<'p>(
        action: &'static str,
        path: &'p Path,
    ) -> impl FnOnce(std::io::Error) -> TraceError + 'p {
        move |source| TraceError::Io { action, path: path.to_path_buf(), source }
    }

    /// Returns whether the trace or its path is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        !matches!(self, TraceError::Io { action: "write", .. } | TraceError::Interface(_))
    }
}
