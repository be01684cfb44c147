//! Counters that nearly every message increments.
//!
//! To increment a number in the record of a cell or a map, all of the record would have to be read, decoded, encoded
//! and written. Here each counter is eight bytes at a fixed offset.
//!
//! ```text
//! byte 0     "CNT"   magic
//! byte 3     1       version
//! byte 64..          numbers, eight bytes each, big-endian
//! ```
//! The bytes after the counters may hold other values at fixed offsets, all 0 initially. Header, counters and these
//! values share one page of 64 KiB.

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;

use super::memory_ids::COUNTERS_MAGIC;
use super::{Memories, Memory};

/// Version of the header, the byte after the magic.
pub const VERSION: u8 = 1;

const HEADER_BYTES: u64 = 64;

/// Counters in stable memory, all 0 initially.
pub struct Counters {
    memory: Memory,
}

impl Counters {
    /// Opens the memory at `id`; if the memory is empty and there is room, initializes it. The preflight has made sure
    /// that a memory in use contains counters.
    pub fn open(memories: &Memories, id: MemoryId) -> Self {
        let counters = Self::over(memories.get(id));
        counters.ensure_page();
        counters
    }

    /// Like [`Self::open`], but an empty memory is initialized only by the first write.
    pub(super) const fn over(memory: Memory) -> Self {
        Self { memory }
    }

    /// Returns `N` counters from index `first` on; all 0 while there is no page.
    pub fn get<const N: usize>(&self, first: u32) -> [u64; N] {
        let mut bytes = [[0; 8]; N];
        self.read(offset(first), bytes.as_flattened_mut());
        bytes.map(u64::from_be_bytes)
    }

    /// Sets the counters from index `first` on. Sets nothing if stable memory has no room for the page.
    pub fn set<const N: usize>(&self, first: u32, numbers: [u64; N]) {
        self.write(offset(first), numbers.map(u64::to_be_bytes).as_flattened());
    }

    /// Increments the counters from index `first` on, saturating. Counts nothing if stable memory has no room for the
    /// page: the call that is counted must not fail for lack of a counter.
    pub fn add<const N: usize>(&self, first: u32, by: [u64; N]) {
        if !self.ensure_page() {
            return;
        }
        let mut numbers = self.get::<N>(first);
        for (number, by) in numbers.iter_mut().zip(by) {
            *number = number.saturating_add(by);
        }
        self.set(first, numbers);
    }

    /// Reads bytes of the page from offset `at` on. While there is no page, `into` stays as it is.
    pub fn read(&self, at: u64, into: &mut [u8]) {
        if self.memory.size() > 0 {
            self.memory.read(at, into);
        }
    }

    /// Writes bytes of the page from offset `at` on. Drops them if stable memory has no room for the page.
    pub fn write(&self, at: u64, bytes: &[u8]) {
        if self.ensure_page() {
            self.memory.write(at, bytes);
        }
    }

    /// Allocates the page for the counters if there is none. Returns `false` if stable memory has no room for the page.
    pub(super) fn ensure_page(&self) -> bool {
        if self.memory.size() > 0 {
            return true;
        }
        if self.memory.grow(1) < 0 {
            return false;
        }
        let [a, b, c] = *COUNTERS_MAGIC;
        self.memory.write(0, &[a, b, c, VERSION]);
        true
    }
}

/// Returns the offset of a counter in its memory, bytes.
pub fn offset(index: u32) -> u64 {
    u64::from(index).saturating_mul(8).saturating_add(HEADER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stable::buckets::{MAX_BUCKETS, whole_memory};
    use crate::stable::{RawMemory, memory_ids};
    use ic_stable_structures::memory_manager::MemoryManager;

    #[test]
    fn counters_without_room_for_their_page_read_as_zero() {
        let memories = Memories::init(whole_memory(1));
        let rest = memories.get(memory_ids::EXTENT_REGION);
        assert!(rest.grow(MAX_BUCKETS) >= 0, "all buckets are allocated");
        let counters = Counters::open(&memories, memory_ids::UPLOAD_COUNTS);
        counters.add(0, [1]);
        counters.set(1, [1]);
        assert_eq!(counters.get(0), [0, 0]);
    }

    #[test]
    fn counters_take_one_page() {
        let memories = MemoryManager::init_with_bucket_size(RawMemory::default(), 1);
        let counters = Counters::open(&memories, memory_ids::UPLOAD_COUNTS);
        (0..3).for_each(|n| counters.add(n, [1]));
        let counters = Counters::open(&memories, memory_ids::UPLOAD_COUNTS);
        assert_eq!((counters.get(0), counters.memory.size()), ([1; 3], 1));
    }
}
