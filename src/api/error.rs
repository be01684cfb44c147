//! The one error type of the interface. Every variant names the thing and carries the numbers a client
//! needs to act: retry, send what is missing, shrink the request, or give up.

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::ChunkRange;

/// Answer of every call that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call changed nothing.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The caller may not do this.
    Unauthorized {
        /// Who called.
        caller: Principal,
        /// The right that is missing, in words.
        needs: String,
    },
    /// There is no such thing, or the caller may not know of it.
    NotFound {
        /// What was looked for: a session, a blob, a memory.
        kind: String,
        /// The key that was given.
        key: String,
    },
    /// An argument breaks a rule.
    InvalidArgument {
        /// Which argument.
        field: String,
        /// The rule.
        expected: String,
        /// What came.
        got: String,
    },
    /// The call contradicts what is already stored.
    Conflict {
        /// What kind of thing it contradicts.
        kind: String,
        /// Its key.
        key: String,
        /// In what way.
        detail: String,
    },
    /// Finish was called before every chunk had arrived.
    Incomplete {
        /// Number of chunks of the file.
        expected_chunks: u32,
        /// How many of them are missing.
        missing_chunks: u32,
        /// The missing ones, in order; at most 64 ranges.
        missing: Vec<ChunkRange>,
    },
    /// The bytes have another digest than the caller says. What is stored stays as it is.
    ChecksumMismatch {
        /// What the caller said, 32 bytes.
        expected: ByteBuf,
        /// What the bytes have, 32 bytes.
        got: ByteBuf,
    },
    /// A limit would be exceeded.
    ResourceExhausted {
        /// Which limit.
        limit: String,
        /// Its value.
        allowed: u64,
        /// What the call would have made of it.
        requested: u64,
    },
    /// Hashing the stored bytes takes more than one message. Progress is kept: call again with the same arguments.
    Hashing {
        /// Bytes hashed so far.
        hashed: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Stored data is damaged or an assumption of the canister does not hold. Nothing was changed.
    Internal(String),
}

impl Error {
    /// Shorthand for [`Error::NotFound`].
    pub fn not_found(kind: &str, key: impl ToString) -> Self {
        Self::NotFound { kind: kind.into(), key: shortened(key) }
    }

    /// Shorthand for [`Error::InvalidArgument`].
    pub fn invalid(field: &str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::InvalidArgument { field: field.into(), expected: expected.into(), got: shortened(got) }
    }

    /// Shorthand for [`Error::Conflict`].
    pub fn conflict(kind: &str, key: impl ToString, detail: impl Into<String>) -> Self {
        Self::Conflict { kind: kind.into(), key: shortened(key), detail: detail.into() }
    }

    /// Shorthand for [`Error::ResourceExhausted`].
    pub fn exhausted(limit: &str, allowed: u64, requested: u64) -> Self {
        Self::ResourceExhausted { limit: limit.into(), allowed, requested }
    }
}

/// What a caller sent, as far as an error repeats it: the text may be as long as a whole message.
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
            Self::ChecksumMismatch { .. } => write!(f, "the bytes have another digest"),
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
