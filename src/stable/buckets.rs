//! The buckets that the memory manager allocates, and never reclaims.

use ic_stable_structures::Memory;
#[cfg(test)]
use ic_stable_structures::memory_manager::MemoryManager;

#[cfg(test)]
use super::RawMemory;

/// Maximum number of buckets of a memory manager: its header has one byte for each.
pub const MAX_BUCKETS: u64 = 32_768;

/// Returns a stable memory of maximum size, with an empty memory manager in it, for tests that fill it. It is one
/// zeroed allocation, so pages that are never written take no physical memory.
#[cfg(test)]
pub fn whole_memory(bucket_pages: u16) -> RawMemory {
    let raw = RawMemory::default();
    *raw.borrow_mut() = vec![0; ((1 + MAX_BUCKETS * u64::from(bucket_pages)) * 64 * 1024) as usize];
    drop(MemoryManager::init_with_bucket_size(raw.clone(), bucket_pages));
    raw
}

/// Returns `[number of allocated buckets, pages per bucket]`, from the header of the memory manager, unchecked.
pub fn allocated_buckets(raw: &impl Memory) -> [u64; 2] {
    [4, 6].map(|offset| {
        let mut bytes = [0; 2];
        raw.read(offset, &mut bytes);
        u64::from(u16::from_le_bytes(bytes))
    })
}
