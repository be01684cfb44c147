//! Payload in contiguous extents of one raw memory: an allocator, and reads and writes through its extents.
//!
//! Owns: which bytes of the region are allocated, and moving bytes in and out of them. Does not own: to whom
//! the bytes belong. Boundary: depends neither on blobs nor on sessions.
//!
//! ```text
//! id 36   region            4 KiB of header ("EXT", version 1), then payload
//! id 37   u64 -> u64        free extents: offset to length, never adjacent
//! id 38   (u64, u64) -> ()  the same free extents, by (length, offset)
//! id 39   AllocatorState    where the used part of the region ends, and how much of it is allocated
//! ```
//! Offsets count from the end of the header. Messages are atomic, so the tables and the payload always agree.

mod allocator;
mod extent;
mod region;

pub use allocator::{AllocateError, Allocator, AllocatorState, REGION_BYTES};
pub use extent::{Extent, Extents, MAX_EXTENTS};
pub use region::{BLOCK_BYTES, HEADER_BYTES, Region};

use crate::bytes::is_same;
use crate::session::SinkError;
use crate::stable::{Memories, StableError, StableRoom};

/// The region and its allocator.
pub struct ExtentStore {
    region: Region,
    allocator: Allocator,
}

impl ExtentStore {
    /// Opens the store; what does not exist yet is created when something is stored.
    pub fn open(memories: &Memories, room: &StableRoom) -> Self {
        Self { region: Region::open(memories, room), allocator: Allocator::open(memories) }
    }

    /// Allocates `len` bytes; an empty object gets no extent. The region grows when bytes are written to it, not here.
    ///
    /// # Errors
    /// [`AllocateError`]; nothing is allocated then.
    pub fn allocate(&mut self, len: u64) -> Result<Extents, AllocateError> {
        self.allocator.allocate(len)
    }

    /// Frees extents.
    ///
    /// # Errors
    /// A damaged table, or an extent that is not allocated; nothing is freed then.
    pub fn free(&mut self, extents: &Extents) -> Result<(), StableError> {
        // All of several extents are checked before the first is freed; a single one is checked by `Allocator::free`.
        if extents.iter().count() > 1 {
            extents.iter().try_for_each(|extent| self.allocator.check_allocated(*extent))?;
        }
        extents.iter().try_for_each(|extent| self.allocator.free(*extent))
    }

    /// Frees the extents that [`Self::allocate`] returned last, even if free extents next to them are damaged.
    ///
    /// # Errors
    /// A damaged table; nothing is freed then.
    pub fn discard(&mut self, extents: &Extents) -> Result<(), StableError> {
        self.allocator.discard(extents)
    }

    /// Grows stable memory for `len` bytes at offset `at` of an object, so that they can be stored later.
    ///
    /// # Errors
    /// [`SinkError::OutOfRange`], [`SinkError::MemoryFull`].
    pub fn grow_for(&mut self, extents: &Extents, at: u64, len: usize) -> Result<(), SinkError> {
        extents.pieces(at, len)?.try_for_each(|piece| self.region.grow_for(piece))
    }

    /// Stores `bytes` at offset `at` of an object.
    ///
    /// # Errors
    /// [`SinkError::OutOfRange`]; [`SinkError::MemoryFull`], after writing the extents before the one without room.
    pub fn write_at(&mut self, extents: &Extents, at: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let mut rest = bytes;
        for piece in extents.pieces(at, bytes.len())? {
            let (part, remainder) = rest.split_at_checked(piece.len as usize).unwrap_or((rest, &[]));
            self.region.write(piece.offset, part)?;
            rest = remainder;
        }
        Ok(())
    }

    /// Passes `len` bytes at offset `at` of an object to `take`, in blocks of at most [`BLOCK_BYTES`].
    ///
    /// # Errors
    /// [`SinkError::OutOfRange`], or the first error of `take`.
    pub fn read_at(
        &self,
        extents: &Extents,
        at: u64,
        len: usize,
        take: &mut dyn FnMut(&[u8]) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        for piece in extents.pieces(at, len)? {
            self.region.read(piece, take)?;
        }
        Ok(())
    }

    /// Returns whether exactly `bytes` are stored at offset `at` of an object.
    ///
    /// # Errors
    /// [`SinkError::OutOfRange`].
    pub fn holds_at(&self, extents: &Extents, at: u64, bytes: &[u8]) -> Result<bool, SinkError> {
        let (mut rest, mut all_same) = (bytes, true);
        self.read_at(extents, at, bytes.len(), &mut |stored| {
            let (part, remainder) = rest.split_at_checked(stored.len()).unwrap_or((rest, &[]));
            all_same = all_same && is_same(part, stored);
            rest = remainder;
            Ok(())
        })?;
        Ok(all_same)
    }

    /// Returns the bytes that are allocated; each allocation is rounded up to whole units of the allocator.
    ///
    /// # Errors
    /// A damaged state.
    pub fn taken_bytes(&self) -> Result<u64, StableError> {
        self.allocator.taken_bytes()
    }

    /// Returns the bytes of payload, allocated or not, that fit into the region at its present size.
    pub fn capacity(&self) -> u64 {
        self.region.capacity()
    }

    /// Returns how many bytes of the region, at its present size, are not allocated.
    ///
    /// # Errors
    /// A damaged state.
    pub fn bytes_left(&self) -> Result<u64, StableError> {
        Ok(self.region.capacity().saturating_sub(self.taken_bytes()?))
    }

    /// Returns the end of the used part of the region, bytes.
    ///
    /// # Errors
    /// A damaged state.
    pub fn end(&self) -> Result<u64, StableError> {
        self.allocator.end()
    }

    /// Returns `Ok(())` if the allocator's tables agree with each other. Reads all of them.
    ///
    /// # Errors
    /// A description of the disagreement, or a damaged record.
    pub fn check(&self) -> Result<(), StableError> {
        self.allocator.check()
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        self.region.describe(to);
        self.allocator.describe(to);
    }
}

#[cfg(test)]
mod tests;
