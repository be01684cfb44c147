//! The buckets that the memory manager hands out, and never takes back.

use ic_stable_structures::Memory as _;

use super::RawMemory;

/// Buckets that a memory manager can hand out.
pub const MAX_BUCKETS: u64 = 32_768;

const PAGE_BYTES: u64 = 64 * 1024;

/// Number of buckets that are given out, and pages of a bucket, as the manager's header says.
pub fn given_out(raw: &RawMemory) -> [u64; 2] {
    [4, 6].map(|offset| {
        let mut bytes = [0; 2];
        raw.read(offset, &mut bytes);
        u64::from(u16::from_le_bytes(bytes))
    })
}

/// The manager's buckets.
pub struct Buckets {
    raw: RawMemory,
}

impl Buckets {
    /// Of a memory that has a memory manager.
    pub const fn of(raw: RawMemory) -> Self {
        Self { raw }
    }

    /// Bytes in the buckets that belong to no memory yet.
    pub fn bytes_left(&self) -> u64 {
        let [given_out, pages] = given_out(&self.raw);
        MAX_BUCKETS.saturating_sub(given_out).saturating_mul(pages).saturating_mul(PAGE_BYTES)
    }
}
