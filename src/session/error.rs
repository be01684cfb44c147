//! Errors of the session layer and of its stores.

use std::fmt;

use super::{SessionId, SinkError};

/// Errors of a call about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// No session has this id.
    NotFound(SessionId),
    /// A session already has this id.
    AlreadyExists(SessionId),
    /// The caller is not the owner.
    NotOwner(SessionId),
    /// The session is committed, so it accepts no more chunks.
    NotPending(SessionId),
    /// The chunk size is zero.
    ZeroChunkSize,
    /// The object would have `u32::MAX` chunks or more.
    TooManyChunks {
        /// Size of the object, bytes.
        bytes_expected: u64,
        /// Chunk size, bytes.
        chunk_size: u32,
    },
    /// The object has no chunk with this number.
    IndexOutOfRange {
        /// The session.
        id: SessionId,
        /// The chunk number in the call.
        idx: u32,
        /// Number of chunks.
        chunks: u32,
    },
    /// The chunk does not have the length required at its position.
    WrongLength {
        /// The session.
        id: SessionId,
        /// The chunk.
        idx: u32,
        /// Required length, bytes.
        expected: u64,
        /// Actual length, bytes.
        got: u64,
    },
    /// The chunk arrived earlier with different bytes.
    DifferentBytes {
        /// The session.
        id: SessionId,
        /// The chunk.
        idx: u32,
    },
    /// Not every chunk has arrived.
    Incomplete {
        /// The session.
        id: SessionId,
        /// Number of chunks.
        chunks: u32,
        /// Number of missing chunks: the sum of the lengths of `ranges`.
        missing: u64,
        /// The missing chunks, as inclusive ranges, ascending.
        ranges: Vec<(u32, u32)>,
    },
    /// The sink (or the source, whose errors have the same type) reported an error.
    Sink(SinkError),
    /// The store reported an error.
    Store(StoreError),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(id) => write!(f, "session {id} not found"),
            Self::AlreadyExists(id) => write!(f, "session {id} already exists"),
            Self::NotOwner(id) => write!(f, "session {id} belongs to someone else"),
            Self::NotPending(id) => write!(f, "session {id} is committed"),
            Self::ZeroChunkSize => f.write_str("chunk_size must be at least one byte"),
            Self::TooManyChunks { bytes_expected, chunk_size } => {
                write!(f, "{bytes_expected} bytes in chunks of {chunk_size} are at least {} chunks", u32::MAX)
            }
            Self::IndexOutOfRange { id, idx, chunks } => {
                write!(f, "chunk {idx} of session {id}: the session has {chunks} chunks")
            }
            Self::WrongLength { id, idx, expected, got } => {
                write!(f, "chunk {idx} of session {id}: expected {expected} bytes, got {got}")
            }
            Self::DifferentBytes { id, idx } => {
                write!(f, "chunk {idx} of session {id} arrived before with other bytes")
            }
            Self::Incomplete { id, chunks, missing, .. } => {
                write!(f, "session {id}: {missing} of {chunks} chunks are missing")
            }
            Self::Sink(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SessionError {}

impl From<SinkError> for SessionError {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Errors of a store of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The record under this id does not decode.
    Damaged {
        /// Id of the record.
        id: SessionId,
        /// Why the record does not decode.
        reason: String,
    },
    /// No id can be issued.
    NoId {
        /// Why not.
        reason: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { id, reason } => write!(f, "session {id}: {reason}"),
            Self::NoId { reason } => write!(f, "no session id can be issued: {reason}"),
        }
    }
}

impl std::error::Error for StoreError {}
