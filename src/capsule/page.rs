//! Room in a page of a list, which ends before its reply would be too large.

/// Bytes of a page, by the stored records of its entries and by [`FRAME_BYTES`]: well under the 2 MiB of a
/// reply. The largest capsule has 93 KB, and the largest memory with the inline bytes of its whole capsule 54
/// KB.
const MAX_PAGE_BYTES: usize = 1_500_000;

/// Bytes by which an entry may be longer in a reply than it is stored: its key, and numbers of full width.
const FRAME_BYTES: usize = 512;

/// Bytes used by the entries of a page.
#[derive(Default)]
pub struct Room {
    taken: usize,
}

impl Room {
    /// Takes the room of one more entry with `stored` stored bytes. Returns `false` if there is none; the
    /// first entry always has room.
    pub fn take(&mut self, stored: usize) -> bool {
        let is_first = self.taken == 0;
        self.taken = self.taken.saturating_add(stored).saturating_add(FRAME_BYTES);
        is_first || self.taken <= MAX_PAGE_BYTES
    }
}
