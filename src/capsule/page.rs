//! The room in a page of a list, which ends before a reply could not carry it.

/// Bytes of a page, by the stored forms of its entries and by [`FRAME_BYTES`]: well under the 2 MiB of a reply. The largest
/// capsule has 93 KB, and the largest memory with the inline bytes of its whole capsule 54 KB.
const MAX_PAGE_BYTES: usize = 1_500_000;

/// Bytes by which an entry may be longer in a reply than it is stored: its key, and numbers of full width.
const FRAME_BYTES: usize = 512;

/// What the entries of a page take.
#[derive(Default)]
pub struct Room {
    taken: usize,
}

impl Room {
    /// Takes the room of one more entry, of which `stored` bytes are stored. False when there is none; the first entry always
    /// has it.
    pub fn take(&mut self, stored: usize) -> bool {
        let is_first = self.taken == 0;
        self.taken = self.taken.saturating_add(stored).saturating_add(FRAME_BYTES);
        is_first || self.taken <= MAX_PAGE_BYTES
    }
}
