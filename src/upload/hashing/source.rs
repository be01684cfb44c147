//! A [`ByteSource`] that hashes the blocks of a chunk and passes them on to be stored.

use sha2::Digest;

use crate::session::{ByteSource, SinkError, TakeBlock};

use super::{LeafHasher, Sha256};

/// The hasher of one chunk, as [`HashingSource`] feeds it.
#[derive(Clone)]
pub enum ChunkHasher {
    /// No hashing: the chunk is not the next one to be hashed, and has no slot in which its hash could wait.
    Skip,
    /// SHA-256 of the chunks up to and including this one.
    Sha256(Sha256),
    /// BLAKE3 over the leaves that lie entirely within the chunk.
    Blake3(LeafHasher),
}

impl ChunkHasher {
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Skip => {}
            Self::Sha256(sha256) => sha256.update(bytes),
            Self::Blake3(leaves) => leaves.update(bytes),
        }
    }
}

pub struct HashingSource<'a> {
    chunk: &'a mut dyn ByteSource,
    /// The hasher before the chunk. Each pass over the chunk (one compares, one stores) begins with a copy of it.
    initial_hasher: ChunkHasher,
    /// The hasher after the last complete pass.
    final_hasher: Option<ChunkHasher>,
}

impl<'a> HashingSource<'a> {
    pub fn new(chunk: &'a mut dyn ByteSource, hasher: ChunkHasher) -> Self {
        Self { chunk, initial_hasher: hasher, final_hasher: None }
    }

    /// Returns the hasher after the last complete pass over the chunk; `None` if no pass was completed.
    pub fn into_hasher(self) -> Option<ChunkHasher> {
        self.final_hasher
    }
}

impl ByteSource for HashingSource<'_> {
    fn len(&self) -> u64 {
        self.chunk.len()
    }

    fn each_block(&mut self, take: &mut TakeBlock<'_>) -> Result<(), SinkError> {
        let mut hasher = self.initial_hasher.clone();
        self.chunk.each_block(&mut |at, block| {
            hasher.update(block);
            take(at, block)
        })?;
        self.final_hasher = Some(hasher);
        Ok(())
    }
}
