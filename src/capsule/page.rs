//! A page of a list, which ends before a reply could not carry it.

/// Bytes of a page, by the stored forms of its entries and by [`FRAME_BYTES`]: well under the 2 MiB of a reply. The largest
/// capsule has 93 KB, and the largest memory with the inline bytes of its whole capsule 54 KB.
const MAX_PAGE_BYTES: usize = 1_500_000;

/// Bytes by which an entry may be longer in a reply than it is stored: its key, and numbers of full width.
const FRAME_BYTES: usize = 512;

/// Entries, as long as there is room for them.
pub struct Page<T> {
    limit: usize,
    bytes: usize,
    entries: Vec<T>,
}

impl<T> Page<T> {
    /// An empty page for at most `limit` entries.
    pub const fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, entries: Vec::new() }
    }

    /// Whether one more entry, of which `stored` bytes are stored, has a place. The first one always has.
    pub fn has_room(&mut self, stored: usize) -> bool {
        self.bytes = self.bytes.saturating_add(stored).saturating_add(FRAME_BYTES);
        self.entries.len() < self.limit && (self.entries.is_empty() || self.bytes <= MAX_PAGE_BYTES)
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: T) {
        self.entries.push(entry);
    }

    /// The entries.
    pub fn into_entries(self) -> Vec<T> {
        self.entries
    }
}
