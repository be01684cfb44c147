//! The raw memory that contains the payload.
//!
//! ```text
//! byte 0        "EXT"   magic
//! byte 3        1       version
//! byte 4096..           payload
//! ```

use ic_stable_structures::Memory as _;

use crate::session::SinkError;
use crate::stable::memory_ids::{self, REGION_MAGIC};
use crate::stable::{Memories, Memory, StableRoom};

use super::Extent;

/// Bytes that are moved at once: enough to make the cost of a call into stable memory negligible, few enough
/// that a message touches little heap compared with a chunk of 1.8 MB.
pub const BLOCK_BYTES: usize = 32 * 1024;

/// Bytes before the payload: one of the pages of 4 KiB in which the IC tracks memory (not of 64 KiB, in which memory
/// grows), so that the payload begins on such a page.
pub const HEADER_BYTES: u64 = 4096;

const VERSION: u8 = 1;

const PAGE_BYTES: u64 = 64 * 1024;

/// Pages by which the memory grows: a bucket of the memory manager, which allocates that much in any case and
/// rewrites its table of 2 KB each time.
const BUCKET_PAGES: u64 = 128;

/// Payload, addressed from the end of the header.
pub struct Region {
    memory: Memory,
    room: StableRoom,
}

impl Region {
    /// Opens the region; its header is written when the memory first grows.
    pub fn open(memories: &Memories, room: &StableRoom) -> Self {
        Self { memory: memories.get(memory_ids::EXTENT_REGION), room: room.clone() }
    }

    /// Grows the memory, if necessary, to hold the bytes of an extent.
    ///
    /// # Errors
    /// [`SinkError::MemoryFull`].
    pub fn grow_for(&self, extent: Extent) -> Result<(), SinkError> {
        self.grow_to(extent.end().saturating_add(HEADER_BYTES))
    }

    /// Returns the bytes of payload that fit into the memory without growing it.
    pub fn capacity(&self) -> u64 {
        self.memory.size().saturating_mul(PAGE_BYTES).saturating_sub(HEADER_BYTES)
    }

    /// Stores bytes, growing the memory if necessary.
    ///
    /// # Errors
    /// [`SinkError::MemoryFull`]; nothing is stored then.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        // An offset in the memory, which begins with the header.
        let at = offset.saturating_add(HEADER_BYTES);
        self.grow_to(at.saturating_add(bytes.len() as u64))?;
        self.memory.write(at, bytes);
        Ok(())
    }

    /// Passes the bytes of an extent to `take`, block by block. Bytes beyond the end of the memory read as zeros.
    ///
    /// # Errors
    /// The first error of `take`.
    pub fn read(
        &self,
        extent: Extent,
        take: &mut dyn FnMut(&[u8]) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let mut buffer = vec![0; BLOCK_BYTES.min(extent.len as usize)];
        // An offset in the payload; `read_block` takes one in the memory.
        let mut at = extent.offset;
        while at < extent.end() {
            let wanted = extent.end().saturating_sub(at).min(buffer.len() as u64);
            let Some(block) = buffer.get_mut(..wanted as usize) else { break };
            self.read_block(at.saturating_add(HEADER_BYTES), block);
            take(block)?;
            at = at.saturating_add(wanted);
        }
        Ok(())
    }

    /// Fills a block with the bytes from `at` on, an offset in the memory, which begins with the header.
    fn read_block(&self, at: u64, block: &mut [u8]) {
        let readable = self.memory.size().saturating_mul(PAGE_BYTES).saturating_sub(at);
        let (stored, remainder) = block.split_at_mut(readable.min(block.len() as u64) as usize);
        if !stored.is_empty() {
            self.memory.read(at, stored);
        }
        remainder.fill(0);
    }

    /// Grows the memory, if necessary, to `end` bytes, including the header.
    fn grow_to(&self, end: u64) -> Result<(), SinkError> {
        let wanted_pages =
            end.div_ceil(PAGE_BYTES).checked_next_multiple_of(BUCKET_PAGES).unwrap_or(u64::MAX);
        let present_pages = self.memory.size();
        let missing_pages = wanted_pages.saturating_sub(present_pages);
        // The last buckets are reserved for the tables, which cannot return an error when memory is full.
        let fits = || self.room.check_for_region(missing_pages.saturating_mul(PAGE_BYTES)).is_ok();
        if missing_pages > 0 && (!fits() || self.memory.grow(missing_pages) < 0) {
            return Err(SinkError::MemoryFull { needed: end, has: present_pages.saturating_mul(PAGE_BYTES) });
        }
        if present_pages == 0 {
            let [a, b, c] = *REGION_MAGIC;
            self.memory.write(0, &[a, b, c, VERSION]);
        }
        Ok(())
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.raw(memory_ids::numbers::EXTENT_REGION, VERSION, None);
    }
}
