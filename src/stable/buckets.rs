//! The buckets that the memory manager allocates, and never reclaims.

use ic_stable_structures::Memory;

/// Maximum number of buckets of a memory manager.
pub const MAX_BUCKETS: u64 = 32_768;

/// Returns the number of allocated buckets and the pages per bucket, from the manager's header.
pub fn allocated_buckets(raw: &impl Memory) -> [u64; 2] {
    [4, 6].map(|offset| {
        let mut bytes = [0; 2];
        raw.read(offset, &mut bytes);
        u64::from(u16::from_le_bytes(bytes))
    })
}
