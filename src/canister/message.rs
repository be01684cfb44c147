//! The argument of a message, and a chunk in it that is read block by block.

use crate::blob::extents::BLOCK_BYTES;
use crate::session::{ByteSource, SinkError, TakeBlock};

/// The argument of the current message, which is copied in parts.
pub trait MessageArgument {
    fn size(&self) -> usize;

    /// Fills `into` with the bytes of the argument from `at` on; traps if the argument is too short.
    fn copy(&self, at: usize, into: &mut [u8]);
}

/// A [`ByteSource`] of the bytes of a chunk in the message.
pub struct MessageChunk<'a> {
    message: &'a dyn MessageArgument,
    /// Position of the first byte in the message.
    at: usize,
    len: usize,
    /// Length of the first block, bytes, chosen so that the other blocks begin at multiples of the block size in the
    /// file, where the subtrees of BLAKE3 begin.
    first_block_len: usize,
}

impl<'a> MessageChunk<'a> {
    /// The chunk begins at `at` in the message and at `offset` in its file.
    pub fn new(message: &'a dyn MessageArgument, at: usize, len: usize, offset: u64) -> Self {
        let offset_in_block = offset.checked_rem(BLOCK_BYTES as u64).unwrap_or(0) as usize;
        Self { message, at, len, first_block_len: BLOCK_BYTES.saturating_sub(offset_in_block) }
    }
}

impl ByteSource for MessageChunk<'_> {
    fn len(&self) -> u64 {
        self.len as u64
    }

    fn each_block(&mut self, take: &mut TakeBlock<'_>) -> Result<(), SinkError> {
        let mut buffer = vec![0; BLOCK_BYTES.min(self.len)];
        let (mut done, mut block_len) = (0_usize, self.first_block_len);
        while done < self.len {
            let wanted = block_len.min(self.len.saturating_sub(done));
            let Some(block) = buffer.get_mut(..wanted) else { break };
            self.message.copy(self.at.saturating_add(done), block);
            take(done as u64, block)?;
            done = done.saturating_add(block.len());
            block_len = BLOCK_BYTES;
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A message argument on the heap.
    pub struct Bytes(pub Vec<u8>);

    impl MessageArgument for Bytes {
        fn size(&self) -> usize {
            self.0.len()
        }

        fn copy(&self, at: usize, into: &mut [u8]) {
            into.copy_from_slice(&self.0[at..at + into.len()]);
        }
    }

    #[test]
    fn blocks_of_a_chunk_are_aligned_to_the_file_and_complete() {
        let message = Bytes((0..200_000_u32).map(|n| (n % 251) as u8).collect());
        for (at, len, offset) in [(5, 0, 0), (5, 1, 7), (5, 150_000, 1_800_000), (9, 65_536, 32_768)] {
            let mut chunk = MessageChunk::new(&message, at, len, offset);
            assert_eq!((ByteSource::len(&chunk), chunk.is_empty()), (len as u64, len == 0));
            for _ in 0..2 {
                let mut read = Vec::new();
                let mut take = |position: u64, block: &[u8]| {
                    assert_eq!(position, read.len() as u64);
                    assert!(position == 0 || (offset + position).is_multiple_of(BLOCK_BYTES as u64));
                    assert!(block.len() <= BLOCK_BYTES);
                    read.extend_from_slice(block);
                    Ok(())
                };
                chunk.each_block(&mut take).unwrap();
                assert!(
                    read == message.0[at..at + len],
                    "each call of `each_block` reads all {len} bytes at {at}"
                );
            }
        }
    }
}
