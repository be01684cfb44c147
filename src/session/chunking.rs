//! How an object is divided into chunks: their number, and the offset and length of each.

use super::ChunkSet;

/// An object divided into chunks of equal length, the last of which may be shorter.
///
/// Sums and products saturate, since sizes and indices come from clients and stored records. Chunks beyond the end are
/// empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u64,
    /// Size of the object, bytes.
    pub bytes: u64,
}

impl Chunking {
    /// Returns the division of `bytes` bytes into chunks of `chunk_size` bytes.
    #[inline]
    pub const fn new(bytes: u64, chunk_size: u64) -> Self {
        Self { chunk_size, bytes }
    }

    /// Returns the number of chunks; zero for an empty object. A chunk size of zero, which only a stored record can
    /// have, counts as one here; the chunks are empty then.
    #[inline]
    pub const fn chunks(self) -> u64 {
        let size = if self.chunk_size == 0 { 1 } else { self.chunk_size };
        self.bytes.div_ceil(size)
    }

    /// Returns [`Self::chunks`] as `u32`, the type of chunk numbers: `u32::MAX` if there are more.
    #[inline]
    pub const fn count(self) -> u32 {
        let chunks = self.chunks();
        // The cast cannot truncate: `chunks` is at most `u32::MAX` here.
        if chunks > u32::MAX as u64 { u32::MAX } else { chunks as u32 }
    }

    /// Returns the offset of chunk `idx`, bytes.
    #[inline]
    pub const fn offset(self, idx: u32) -> u64 {
        (idx as u64).saturating_mul(self.chunk_size)
    }

    /// Returns the length of chunk `idx`, bytes: zero if the object has no such chunk.
    #[inline]
    pub const fn len(self, idx: u32) -> u64 {
        let remaining = self.bytes.saturating_sub(self.offset(idx));
        if remaining < self.chunk_size { remaining } else { self.chunk_size }
    }

    /// Returns the offset after chunk `idx`, bytes: the chunk's own offset if the object has no such chunk.
    #[inline]
    pub const fn end(self, idx: u32) -> u64 {
        self.offset(idx).saturating_add(self.len(idx))
    }

    /// Returns offset and length (not start and end) of chunk `idx`; `None` if the object has no such chunk.
    #[inline]
    pub const fn range(self, idx: u32) -> Option<(u64, u64)> {
        if idx < self.count() { Some((self.offset(idx), self.len(idx))) } else { None }
    }

    /// Returns the total length of the chunks in the set, bytes.
    pub fn len_of(self, chunks: &ChunkSet) -> u64 {
        chunks.ranges().map(|(first, last)| self.len_of_run(first, last)).sum()
    }

    /// Returns the total length of a run, the consecutive chunks `first..=last`, bytes.
    #[inline]
    pub(super) const fn len_of_run(self, first: u32, last: u32) -> u64 {
        let end = self.offset(last).saturating_add(self.chunk_size);
        let end = if end < self.bytes { end } else { self.bytes };
        end.saturating_sub(self.offset(first))
    }
}
