//! The sink that writes the bytes of a session to stable memory.

use crate::bytes::is_same;
use crate::session::{ByteSink, SinkError};
use crate::stable::NoRoom;

use super::chunk_key::ChunkPrefix;
use super::record::Place;
use super::store::BlobStore;

/// Writes the chunks of one session to their destination.
pub struct StableBlobSink<'a> {
    blobs: &'a mut BlobStore,
    place: &'a Place,
    chunk_size: u32,
}

/// What to do if the chunk map already has a chunk at this offset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfStored {
    Refuse,
    Replace,
}

impl<'a> StableBlobSink<'a> {
    /// Returns the sink of a session whose bytes go to `place`, in chunks of `chunk_size` bytes. The chunk map takes
    /// each chunk as a whole; extents take blocks of any length.
    pub const fn new(blobs: &'a mut BlobStore, place: &'a Place, chunk_size: u32) -> Self {
        Self { blobs, place, chunk_size }
    }

    /// Returns the number of the chunk that begins at `offset`.
    fn chunk_index(&self, offset: u64) -> Result<u32, SinkError> {
        let chunk_size = u64::from(self.chunk_size);
        match (offset.checked_rem(chunk_size), offset.checked_div(chunk_size)) {
            (Some(0), Some(idx)) => u32::try_from(idx).map_err(|_| SinkError::OffsetTooLarge { offset }),
            _ => Err(SinkError::UnalignedOffset { offset, chunk_size }),
        }
    }

    /// Checks and stores a chunk in the chunk map; `BlobStore::write_chunk` stores without a check.
    fn write_chunk(
        &mut self,
        prefix: ChunkPrefix,
        offset: u64,
        bytes: &[u8],
        if_stored: IfStored,
    ) -> Result<(), SinkError> {
        let idx = self.chunk_index(offset)?;
        if bytes.len() as u64 > u64::from(self.chunk_size) {
            let chunk_size = u64::from(self.chunk_size);
            return Err(SinkError::OversizedChunk { offset, got: bytes.len(), chunk_size });
        }
        if if_stored == IfStored::Refuse && self.blobs.has_chunk(prefix, idx) {
            return Err(SinkError::Occupied { offset });
        }
        let NoRoom { needed, left } = match self.blobs.check_room_for_chunk(bytes.len() as u64) {
            Ok(()) => {
                self.blobs.write_chunk(prefix, idx, bytes);
                return Ok(());
            }
            Err(no_room) => no_room,
        };
        Err(SinkError::MemoryFull { needed, has: left })
    }
}

// Only the chunk map refuses to write where something is stored; in extents, `write_at` and `replace_at` are the same.
impl ByteSink for StableBlobSink<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        match self.place {
            Place::Chunks(prefix) => self.write_chunk(*prefix, offset, bytes, IfStored::Refuse),
            Place::Extents(extents) => self.blobs.extents_mut().write_at(extents, offset, bytes),
        }
    }

    fn replace_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        match self.place {
            Place::Chunks(prefix) => self.write_chunk(*prefix, offset, bytes, IfStored::Replace),
            Place::Extents(extents) => self.blobs.extents_mut().write_at(extents, offset, bytes),
        }
    }

    fn holds_at(&self, offset: u64, bytes: &[u8]) -> Result<bool, SinkError> {
        match self.place {
            Place::Chunks(prefix) => {
                let stored = self.blobs.chunk(*prefix, self.chunk_index(offset)?);
                Ok(stored.is_some_and(|stored| is_same(&stored, bytes)))
            }
            Place::Extents(extents) => self.blobs.extents().holds_at(extents, offset, bytes),
        }
    }
}
