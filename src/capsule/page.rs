//! Limits the size of a page of a list, so that it fits into a reply.

/// Maximum size of a page, bytes: the stored records of its entries, with [`FRAME_BYTES`] for each. A reply may have
/// 2 MiB. The largest capsule has 93 KB, and the largest memory, with all inline bytes of its capsule, 54 KB.
const MAX_PAGE_BYTES: usize = 1_500_000;

/// Bytes by which an entry may be longer in a reply than in storage: its key, and its numbers, which are shorter in
/// storage.
const FRAME_BYTES: usize = 512;

/// The size of a page so far.
#[derive(Default)]
pub struct PageSize {
    bytes: usize,
}

impl PageSize {
    /// Counts an entry of `stored` bytes. Returns `false` if that makes the page too large: the caller must end the
    /// page before this entry. The first entry always fits.
    pub fn try_add(&mut self, stored: usize) -> bool {
        let is_first = self.bytes == 0;
        self.bytes = self.bytes.saturating_add(stored).saturating_add(FRAME_BYTES);
        is_first || self.bytes <= MAX_PAGE_BYTES
    }
}
