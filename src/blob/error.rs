//! Errors of the blob store.

use crate::session::SinkError;
use crate::stable::StableError;

use super::id::BlobId;

/// Errors of blob calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No committed blob has this id.
    #[error("{0} not found")]
    NotFound(BlobId),
    /// A committed blob has this id already.
    #[error("{0} already exists")]
    AlreadyExists(BlobId),
    /// The blob has no such chunk.
    #[error("chunk {idx} of {blob}: the blob has {chunks} chunks")]
    NoSuchChunk {
        /// The blob.
        blob: BlobId,
        /// The chunk.
        idx: u32,
        /// Number of chunks that the blob has.
        chunks: u32,
    },
    /// The blob has no such range.
    #[error("bytes {offset} to {offset} + {len} of {blob}: the blob has {size} bytes")]
    NoSuchRange {
        /// The blob.
        blob: BlobId,
        /// First byte of the range.
        offset: u64,
        /// Number of bytes of the range.
        len: u64,
        /// Number of bytes that the blob has.
        size: u64,
    },
    /// A chunk that should be stored is missing, or shorter than it should be.
    #[error("chunk {idx} under {prefix:02x?} is not stored")]
    MissingChunk {
        /// The prefix under which the chunk should be stored.
        prefix: [u8; 32],
        /// The chunk.
        idx: u32,
    },
    /// The extents in the record do not have the bytes that were requested.
    #[error(transparent)]
    Payload(#[from] SinkError),
    /// A record does not decode.
    #[error(transparent)]
    Stable(#[from] StableError),
}
