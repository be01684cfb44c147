//! The interface through which the bytes of a session are stored.

use std::fmt;

/// A destination for the bytes of one session, addressed by their offset in the object.
pub trait ByteSink {
    /// Stores `bytes` at `offset` bytes from the start of the object.
    ///
    /// # Errors
    /// If the destination cannot store all of the bytes.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError>;

    /// Replaces the stored bytes at `offset` with `bytes`. By default, refuses as unsupported.
    ///
    /// # Errors
    /// If the sink does not support replacing or cannot store the bytes.
    fn replace_at(&mut self, offset: u64, _bytes: &[u8]) -> Result<(), SinkError> {
        Err(SinkError::Occupied { offset })
    }

    /// Returns whether `bytes` are stored at `offset`. In a sink that stores whole chunks, the stored chunk must also
    /// have the same length.
    ///
    /// # Errors
    /// If the offset is invalid, or the stored bytes cannot be read.
    fn holds_at(&self, offset: u64, bytes: &[u8]) -> Result<bool, SinkError>;
}

/// Errors of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkError {
    /// The offset is not a multiple of the chunk size.
    UnalignedOffset {
        /// The offset, bytes.
        offset: u64,
        /// Chunk size of the sink, bytes.
        chunk_size: u64,
    },
    /// The offset is beyond the last chunk that a sink can number.
    OffsetTooLarge {
        /// The offset, bytes.
        offset: u64,
    },
    /// The chunk is longer than the chunk size.
    OversizedChunk {
        /// The offset, bytes.
        offset: u64,
        /// Actual length, bytes.
        got: usize,
        /// Chunk size of the sink, bytes.
        chunk_size: u64,
    },
    /// Bytes are already stored at this offset, and the call does not overwrite them, or the sink does not support it.
    Occupied {
        /// The offset, bytes.
        offset: u64,
    },
    /// The bytes would extend beyond the end of the destination.
    OutOfRange {
        /// The offset, bytes.
        offset: u64,
        /// Actual length, bytes.
        got: usize,
        /// Size of the destination, bytes.
        size: u64,
    },
    /// Stable memory has no room for the bytes.
    MemoryFull {
        /// What the sink needs, bytes: the size to which its memory would have to grow, or the room for one chunk.
        needed: u64,
        /// What the sink has, bytes: accordingly, the present size of its memory, or the room that is left.
        has: u64,
    },
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnalignedOffset { offset, chunk_size } => {
                write!(f, "offset {offset} is not a multiple of the chunk size {chunk_size}")
            }
            Self::OffsetTooLarge { offset } => {
                write!(f, "offset {offset} is beyond chunk number {}", u32::MAX)
            }
            Self::OversizedChunk { offset, got, chunk_size } => {
                write!(f, "{got} bytes at offset {offset}, at most {chunk_size} fit")
            }
            Self::Occupied { offset } => write!(f, "bytes are already stored at offset {offset}"),
            Self::OutOfRange { offset, got, size } => {
                write!(f, "{got} bytes at offset {offset} end beyond the {size} bytes of the destination")
            }
            Self::MemoryFull { needed, has } => {
                write!(f, "{needed} bytes of stable memory are needed, but only {has} are available")
            }
        }
    }
}

impl std::error::Error for SinkError {}
