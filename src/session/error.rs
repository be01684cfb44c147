//! What the session layer refuses.

use super::{SessionId, SinkError, StoreError};

/// Why a call on a session changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No session has this id.
    #[error("session {0} not found")]
    NotFound(SessionId),
    /// A session has this id already.
    #[error("session {0} exists already")]
    AlreadyExists(SessionId),
    /// The caller is not the owner.
    #[error("session {0} belongs to somebody else")]
    NotOwner(SessionId),
    /// The session is committed and takes no more chunks.
    #[error("session {0} is committed")]
    NotPending(SessionId),
    /// A chunk size of zero.
    #[error("chunk_size must be at least one byte")]
    ZeroChunkSize,
    /// More chunks than a chunk number can name.
    #[error("{bytes_expected} bytes in chunks of {chunk_size} are more than {} chunks", u32::MAX)]
    TooManyChunks {
        /// Size of the whole, bytes.
        bytes_expected: u64,
        /// Chunk size, bytes.
        chunk_size: u32,
    },
    /// The whole has no chunk of this number.
    #[error("chunk {idx} of session {id}: the session has {chunks} chunks")]
    IndexOutOfRange {
        /// Which session.
        id: SessionId,
        /// The number that came.
        idx: u32,
        /// Number of chunks.
        chunks: u32,
    },
    /// A chunk has another length than its place in the whole demands.
    #[error("chunk {idx} of session {id}: expected {expected} bytes, got {got}")]
    WrongLength {
        /// Which session.
        id: SessionId,
        /// Which chunk.
        idx: u32,
        /// Length it must have, bytes.
        expected: u64,
        /// Length that came, bytes.
        got: u64,
    },
    /// The chunk arrived before, with other bytes.
    #[error("chunk {idx} of session {id} arrived before with other bytes")]
    DifferentBytes {
        /// Which session.
        id: SessionId,
        /// Which chunk.
        idx: u32,
    },
    /// Not every chunk has arrived.
    #[error("session {id}: {missing} of {chunks} chunks are missing")]
    Incomplete {
        /// Which session.
        id: SessionId,
        /// Number of chunks.
        chunks: u32,
        /// How many are missing.
        missing: u32,
        /// The missing ones, as ranges with both ends included, ascending.
        ranges: Vec<(u32, u32)>,
    },
    /// The sink refused.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
