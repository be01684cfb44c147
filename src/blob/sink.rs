//! The sink that puts the bytes of a session into stable memory.

use crate::session::{ByteSink, SinkError};

use super::store::{BlobStore, ChunkPrefix};

/// Writes the chunks of one session into the chunk map.
pub struct StableBlobSink<'a> {
    blobs: &'a mut BlobStore,
    prefix: ChunkPrefix,
    chunk_size: u32,
}

impl<'a> StableBlobSink<'a> {
    /// The sink of the session whose chunks lie under `prefix`, in chunks of `chunk_size` bytes.
    pub const fn for_meta(blobs: &'a mut BlobStore, prefix: ChunkPrefix, chunk_size: u32) -> Self {
        Self { blobs, prefix, chunk_size }
    }

    fn index(&self, offset: u64) -> Result<u32, SinkError> {
        let chunk_size = u64::from(self.chunk_size);
        match (offset.checked_rem(chunk_size), offset.checked_div(chunk_size)) {
            (Some(0), Some(idx)) => u32::try_from(idx).map_err(|_| SinkError::OffsetTooLarge { offset }),
            _ => Err(SinkError::UnalignedOffset { offset, chunk_size }),
        }
    }
}

impl ByteSink for StableBlobSink<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let idx = self.index(offset)?;
        if bytes.len() as u64 > u64::from(self.chunk_size) {
            let chunk_size = u64::from(self.chunk_size);
            return Err(SinkError::OversizedChunk { offset, got: bytes.len(), chunk_size });
        }
        if self.blobs.has_chunk(self.prefix, idx) {
            return Err(SinkError::Occupied { offset });
        }
        self.blobs.write_chunk(self.prefix, idx, bytes);
        Ok(())
    }

    fn holds_at(&self, offset: u64, bytes: &[u8]) -> Result<bool, SinkError> {
        let stored = self.blobs.chunk(self.prefix, self.index(offset)?);
        Ok(stored.is_some_and(|stored| stored == bytes))
    }
}
