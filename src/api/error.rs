//! The only error type of the interface. Every variant names its subject and has the numbers that a client needs to
//! decide what to do: retry, send what is missing, shrink the request, or abort.

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::ChunkRange;

/// Result of every call that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call changed nothing.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The caller may not do this.
    Unauthorized {
        /// The caller.
        caller: Principal,
        /// The right that is missing.
        needs: String,
    },
    /// The item does not exist, or the caller may not know that it does.
    NotFound {
        /// What was looked up: a session, a blob, a memory.
        kind: String,
        /// The given key.
        key: String,
    },
    /// An argument is invalid.
    InvalidArgument {
        /// The argument.
        field: String,
        /// What the argument must be.
        expected: String,
        /// The given value.
        got: String,
    },
    /// The call contradicts stored data.
    Conflict {
        /// Kind of the stored item.
        kind: String,
        /// Key of the stored item.
        key: String,
        /// The contradiction.
        detail: String,
    },
    /// Finish was called before every chunk had arrived.
    Incomplete {
        /// Number of chunks of the file.
        expected_chunks: u32,
        /// Number of missing chunks.
        missing_chunks: u32,
        /// The missing chunks, in order; at most 64 ranges.
        missing: Vec<ChunkRange>,
    },
    /// The digest of the bytes is not the one that the caller claims. The stored bytes are unchanged.
    ChecksumMismatch {
        /// The digest claimed by the caller, 32 bytes.
        expected: ByteBuf,
        /// The digest of the bytes, 32 bytes.
        got: ByteBuf,
    },
    /// A limit would be exceeded.
    ResourceExhausted {
        /// Name of the limit.
        limit: String,
        /// Value of the limit.
        allowed: u64,
        /// The value that the call would have reached.
        requested: u64,
    },
    /// Hashing the stored bytes needs more messages. Progress is kept: call again with the same arguments.
    Hashing {
        /// Bytes hashed so far.
        hashed: u64,
        /// Total number of bytes.
        total: u64,
    },
    /// Stored data is damaged, or an internal assumption is violated. Nothing was changed.
    Internal(String),
}

impl Error {
    /// Creates an [`Error::NotFound`].
    pub fn not_found(kind: &str, key: impl ToString) -> Self {
        Self::NotFound { kind: kind.into(), key: shortened(key) }
    }

    /// Creates an [`Error::InvalidArgument`].
    pub fn invalid(field: &str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::InvalidArgument { field: field.into(), expected: expected.into(), got: shortened(got) }
    }

    /// Creates an [`Error::Conflict`].
    pub fn conflict(kind: &str, key: impl ToString, detail: impl Into<String>) -> Self {
        Self::Conflict { kind: kind.into(), key: shortened(key), detail: detail.into() }
    }

    /// Creates an [`Error::ResourceExhausted`].
    pub fn exhausted(limit: &str, allowed: u64, requested: u64) -> Self {
        Self::ResourceExhausted { limit: limit.into(), allowed, requested }
    }
}

/// Truncates a text, which may be as long as a whole message, to 256 bytes and an ellipsis, for use in an error.
pub(crate) fn shortened(text: impl ToString) -> String {
    const LONGEST: usize = 256;
    let mut text = text.to_string();
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unauthorized { caller, needs } => write!(f, "{caller} is not authorised: needs {needs}"),
            Self::NotFound { kind, key } => write!(f, "{kind} {key} not found"),
            Self::InvalidArgument { field, expected, got } => {
                write!(f, "{field}: expected {expected}, got {got}")
            }
            Self::Conflict { kind, key, detail } => write!(f, "{kind} {key}: {detail}"),
            Self::Incomplete { expected_chunks, missing_chunks, .. } => {
                write!(f, "{missing_chunks} of {expected_chunks} chunks are missing")
            }
            Self::ChecksumMismatch { expected, got } => {
                write!(f, "checksum mismatch: expected {}, got {}", hex::encode(expected), hex::encode(got))
            }
            Self::ResourceExhausted { limit, allowed, requested } => {
                write!(f, "{limit}: {allowed} allowed, {requested} requested")
            }
            Self::Hashing { hashed, total } => {
                write!(f, "{hashed} of {total} bytes hashed, call again")
            }
            Self::Internal(detail) => write!(f, "internal error: {detail}"),
        }
    }
}

impl std::error::Error for Error {}
