//! Conversions from the errors of lower layers to [`Error`].

use serde_bytes::ByteBuf;

use crate::api::{ChunkRange, Error, shortened};
use crate::blob::extents::REGION_BYTES;
use crate::blob::{AllocateError, BlobError};
use crate::capsule::{CapsuleError, MAX_LIST, MAX_SUBJECT_BYTES};
use crate::session::{SessionError, SinkError};
use crate::stable::{NoRoom, StableError};

use super::limits::MAX_RANGES_IN_ERROR;

impl From<StableError> for Error {
    fn from(error: StableError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<NoRoom> for Error {
    fn from(NoRoom { needed, left }: NoRoom) -> Self {
        Self::exhausted("bytes of stable memory", left, needed)
    }
}

impl From<CapsuleError> for Error {
    fn from(error: CapsuleError) -> Self {
        match error {
            CapsuleError::Unauthorized { caller, needs, capsule } => {
                Self::Unauthorized { caller, needs: format!("{needs} to {}", shortened(capsule)) }
            }
            CapsuleError::Anonymous => {
                Self::Unauthorized { caller: candid::Principal::anonymous(), needs: "an identity".into() }
            }
            CapsuleError::NoSuchMemory(id) => Self::not_found("memory", id),
            CapsuleError::MemoryExists(id) => Self::conflict("memory", id, "already exists"),
            CapsuleError::NoOwner => Self::invalid("owners", "at least one", 0),
            CapsuleError::SubjectTooLong { got } => {
                Self::invalid("subject", format!("at most {MAX_SUBJECT_BYTES} bytes"), format!("{got} bytes"))
            }
            CapsuleError::ListTooLong { list, got } => {
                Self::invalid(list, format!("at most {MAX_LIST} principals"), got)
            }
            CapsuleError::Full { limit, allowed, requested } => Self::exhausted(limit, allowed, requested),
            CapsuleError::NoRoom(error) => error.into(),
            CapsuleError::Stable(error) => error.into(),
        }
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::NotFound(id) => Self::not_found("blob", id),
            BlobError::NoSuchChunk { chunks, idx, .. } => {
                Self::invalid("idx", format!("less than {chunks}"), idx)
            }
            BlobError::NoSuchRange { offset, len, size, .. } => {
                Self::invalid("range", format!("within {size} bytes"), format!("{len} bytes at {offset}"))
            }
            BlobError::AlreadyExists(id) => Self::conflict("blob", id, "already exists"),
            BlobError::MissingChunk { .. } | BlobError::Payload(_) => Self::Internal(error.to_string()),
            BlobError::Stable(error) => error.into(),
        }
    }
}

impl From<AllocateError> for Error {
    fn from(error: AllocateError) -> Self {
        match error {
            AllocateError::RegionFull { needed } => {
                Self::exhausted("bytes in the payload region", REGION_BYTES, needed)
            }
            AllocateError::Stable(error) => error.into(),
        }
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        match error {
            // A stranger gets the same answer as for a session that does not exist.
            SessionError::NotFound(id) | SessionError::NotOwner(id) => Self::not_found("session", id),
            SessionError::AlreadyExists(id) => Self::conflict("session", id, "already exists"),
            SessionError::NotPending(id) => Self::conflict("session", id, "is committed"),
            SessionError::ZeroChunkSize => Self::invalid("chunk_size", "at least 1", 0),
            SessionError::TooManyChunks { bytes_expected, chunk_size } => Self::InvalidArgument {
                field: "bytes".into(),
                expected: format!("fewer than {} chunks of {chunk_size} bytes", u32::MAX),
                got: bytes_expected.to_string(),
            },
            SessionError::IndexOutOfRange { idx, chunks, .. } => {
                Self::invalid("idx", format!("less than {chunks}"), idx)
            }
            SessionError::WrongLength { idx, expected, got, .. } => {
                Self::invalid("chunk", format!("{expected} bytes for chunk {idx}"), format!("{got} bytes"))
            }
            SessionError::DifferentBytes { idx, .. } => {
                Self::conflict("chunk", idx, "arrived before with other bytes")
            }
            SessionError::Incomplete { chunks, missing, ranges, .. } => Self::Incomplete {
                expected_chunks: chunks,
                missing_chunks: u32::try_from(missing).unwrap_or(u32::MAX),
                missing: to_ranges(ranges.into_iter().take(MAX_RANGES_IN_ERROR)),
            },
            SessionError::Sink(SinkError::MemoryFull { needed, has }) => {
                Self::exhausted("bytes of stable memory", has, needed)
            }
            SessionError::Sink(error) => Self::Internal(error.to_string()),
            SessionError::Store(error) => Self::Internal(error.to_string()),
        }
    }
}

/// Converts pairs of a first and a last chunk to [`ChunkRange`]s.
pub fn to_ranges(ranges: impl Iterator<Item = (u32, u32)>) -> Vec<ChunkRange> {
    ranges.map(|(first, last)| ChunkRange { first, last }).collect()
}

/// Converts a digest given by a client, or returns an error that names `field` if it does not have 32 bytes. Compares
/// it with nothing.
pub fn parse_digest(field: &str, bytes: &ByteBuf) -> Result<[u8; 32], Error> {
    <[u8; 32]>::try_from(bytes.as_slice())
        .map_err(|_| Error::invalid(field, "32 bytes", format!("{} bytes", bytes.len())))
}
