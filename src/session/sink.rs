//! Where the bytes of a session go.

use std::fmt;

/// A place for the bytes of one session, addressed by their offset in the file.
pub trait ByteSink {
    /// Stores `bytes` at `offset` bytes from the start of the file.
    ///
    /// # Errors
    /// When the place cannot hold them; then nothing was stored.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError>;

    /// Stores `bytes` at `offset` in place of as many bytes that are stored there; a sink need not be able to.
    ///
    /// # Errors
    /// When it cannot; then nothing was changed.
    fn replace_at(&mut self, offset: u64, _bytes: &[u8]) -> Result<(), SinkError> {
        Err(SinkError::Occupied { offset })
    }

    /// Whether exactly `bytes` are stored at `offset`.
    ///
    /// # Errors
    /// When what is stored there cannot be read.
    fn holds_at(&self, offset: u64, bytes: &[u8]) -> Result<bool, SinkError>;
}

/// A sink did not take or find the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkError {
    /// Offsets are multiples of the chunk size.
    UnalignedOffset {
        /// Offset that was asked for, bytes.
        offset: u64,
        /// Chunk size of the sink, bytes.
        chunk_size: u64,
    },
    /// The file has more chunks than a sink can number.
    OffsetTooLarge {
        /// Offset that was asked for, bytes.
        offset: u64,
    },
    /// A chunk longer than the chunk size.
    OversizedChunk {
        /// Offset that was asked for, bytes.
        offset: u64,
        /// Length that came, bytes.
        got: usize,
        /// Chunk size of the sink, bytes.
        chunk_size: u64,
    },
    /// Bytes are there already, and only [`ByteSink::replace_at`] overwrites.
    Occupied {
        /// Offset that was asked for, bytes.
        offset: u64,
    },
    /// The bytes end behind the end of the place.
    OutOfRange {
        /// Offset that was asked for, bytes.
        offset: u64,
        /// Length that came, bytes.
        got: usize,
        /// Size of the place, bytes.
        size: u64,
    },
    /// The memory behind the sink cannot grow to where the bytes go.
    MemoryFull {
        /// Size that it would need, bytes.
        needed: u64,
        /// Size that it has, bytes.
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
            Self::Occupied { offset } => write!(f, "something is stored at offset {offset} already"),
            Self::OutOfRange { offset, got, size } => {
                write!(f, "{got} bytes at offset {offset} end behind the {size} bytes of the place")
            }
            Self::MemoryFull { needed, has } => {
                write!(f, "stable memory cannot grow from {has} to {needed} bytes")
            }
        }
    }
}

impl std::error::Error for SinkError {}
