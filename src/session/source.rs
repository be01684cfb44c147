//! The interface through which the bytes of a chunk are read.

use super::SinkError;

/// Consumer of blocks, called with each block's offset, bytes from the start of the chunk, and with the block's bytes.
pub type TakeBlock<'a> = dyn FnMut(u64, &[u8]) -> Result<(), SinkError> + 'a;

/// The bytes of one chunk, passed on in blocks, so that a chunk need never be entirely in memory.
pub trait ByteSource {
    /// Returns the length of the chunk, bytes.
    fn len(&self) -> u64;

    /// Returns whether the chunk is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passes every block to `take` in order. Each call starts from the first block.
    ///
    /// # Errors
    /// An error of the source, or the first error of `take`, after which no further block is passed.
    fn each_block(&mut self, take: &mut TakeBlock<'_>) -> Result<(), SinkError>;
}

/// Bytes that are already in memory: a single block, even if they are empty.
impl ByteSource for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn each_block(&mut self, take: &mut TakeBlock<'_>) -> Result<(), SinkError> {
        take(0, self)
    }
}
