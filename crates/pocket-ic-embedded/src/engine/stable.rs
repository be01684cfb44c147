//! A canister's stable memory as a value, and which parts of it a message accessed.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;

use super::page_file::PAGE;
use super::page_file::PageFile;
use super::paged::Paged;
use crate::sparse::data_ranges;

/// Bytes in a wasm page, the unit in which memories grow.
pub const WASM_PAGE: u64 = 64 * 1024;
/// Maximum size of a stable memory in bytes, as on the IC.
pub const MAX_STABLE_BYTES: u64 = 500 << 30;
/// Size of the pages by which access to stable memory is counted, bytes; memories are stored in larger ones (`PAGE`).
pub(super) const ACCESS_PAGE: u64 = 4096;

/// Maximum number of pages of a stable memory that are kept in the host's memory, 128 MiB; if more are written, all are
/// moved to a temporary file.
pub(super) const MAX_RESIDENT_PAGES: usize = (128 << 20) / PAGE;

/// A canister's stable memory: sparse and copy-on-write. Cloning is nearly free; memory that was never
/// written takes no space.
#[derive(Clone, Default)]
pub struct StableMemory {
    /// The size, in wasm pages.
    pages: u64,
    contents: Paged,
}

impl fmt::Debug for StableMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StableMemory({} pages)", self.pages)
    }
}

/// An access beyond the end of stable memory; the fields are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stable memory out of bounds: offset {offset}, length {len}, size {size} bytes")]
pub struct StableOutOfBounds {
    pub offset: u64,
    pub len: u64,
    pub size: u64,
}

impl StableMemory {
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a memory with these contents, padded with zeros to whole pages.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut memory = Self { pages: (bytes.len() as u64).div_ceil(WASM_PAGE), contents: Paged::default() };
        memory.contents.write(0, bytes);
        memory.contents.limit_resident(MAX_RESIDENT_PAGES);
        memory
    }

    /// Returns a memory with the contents of a file, whose pages are read on demand: the file must not change as long
    /// as this memory or a copy of it exists. The memory is padded with zeros to whole pages.
    ///
    /// # Errors
    /// If the file cannot be read, or not be searched for holes.
    pub fn from_file(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        // A page that extends beyond the end of the file could not be read on demand, so its bytes are read now.
        let whole_page_bytes = bytes / PAGE as u64 * PAGE as u64;
        let data = data_ranges(&file, whole_page_bytes)?;
        let mut tail = vec![0; (bytes - whole_page_bytes) as usize];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut tail, whole_page_bytes)?;
        let mut memory = Self {
            pages: bytes.div_ceil(WASM_PAGE),
            contents: Paged::from_file(&PageFile::from_file(file), &data),
        };
        memory.contents.write(whole_page_bytes, &tail);
        Ok(memory)
    }

    /// Returns the size in pages of 64 KiB.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    pub fn size_bytes(&self) -> u64 {
        self.pages * WASM_PAGE
    }

    /// Adds wasm pages of zeros; returns the previous size, in wasm pages, or `None` if the size would exceed
    /// `max_bytes`.
    pub fn grow(&mut self, pages: u64, max_bytes: u64) -> Option<u64> {
        let before = self.pages;
        let after = before.checked_add(pages)?;
        if after > max_bytes / WASM_PAGE {
            return None;
        }
        self.pages = after;
        Some(before)
    }

    /// An error if the range extends beyond the end; reading and writing check this, too.
    pub fn check(&self, offset: u64, len: u64) -> Result<(), StableOutOfBounds> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size_bytes() => Ok(()),
            _ => Err(StableOutOfBounds { offset, len, size: self.size_bytes() }),
        }
    }

    /// Returns whether the `len` bytes at `offset` are known to be zeros without being read.
    pub fn is_untouched(&self, offset: u64, len: usize) -> bool {
        self.contents.is_untouched(offset, len)
    }

    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), StableOutOfBounds> {
        self.check(offset, buf.len() as u64)?;
        self.contents.read(offset, buf);
        Ok(())
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StableOutOfBounds> {
        self.check(offset, bytes.len() as u64)?;
        self.contents.write(offset, bytes);
        self.contents.limit_resident(MAX_RESIDENT_PAGES);
        Ok(())
    }

    /// Returns the size of the pages in the host's memory that are not shared with `other`: after a clone, those
    /// written since.
    #[cfg(test)]
    pub(crate) fn unshared_bytes(&self, other: &Self) -> u64 {
        self.contents.unshared_pages(&other.contents) * PAGE as u64
    }

    /// Moves all pages that are in memory to the temporary file.
    #[cfg(test)]
    pub(super) fn move_to_file(&mut self) {
        self.contents.limit_resident(0);
    }

    /// Returns the complete contents. A stable memory can be far larger than the host's memory: read large ones piece
    /// by piece with [`Self::read`].
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.size_bytes() as usize];
        self.contents.read(0, &mut out);
        out
    }
}

/// Counts the 4 KiB pages of stable memory that a message read or wrote, each once.
#[derive(Default)]
pub(super) struct StableAccess {
    /// By page number / 64: the bits of the 64 pages that were accessed, and the bits of those that were written.
    touched: HashMap<u64, (u64, u64)>,
    /// Number of pages read or written.
    pub(super) accessed: u64,
    /// Number of pages written.
    pub(super) dirtied: u64,
}

impl StableAccess {
    pub(super) fn read(&mut self, offset: u64, len: u64) {
        self.touch(offset, len, false);
    }

    /// Records a write; returns the number of pages written for the first time.
    pub(super) fn write(&mut self, offset: u64, len: u64) -> u64 {
        let before = self.dirtied;
        self.touch(offset, len, true);
        self.dirtied - before
    }

    fn touch(&mut self, offset: u64, len: u64, is_write: bool) {
        if len == 0 {
            return;
        }
        let (first, last) = (offset / ACCESS_PAGE, (offset + len - 1) / ACCESS_PAGE);
        for group in first / 64..=last / 64 {
            let low = first.saturating_sub(group * 64).min(63);
            let high = (last - group * 64).min(63);
            let mask = (u64::MAX >> (63 - high)) & (u64::MAX << low);
            let (accessed, written) = self.touched.entry(group).or_default();
            self.accessed += (mask & !*accessed).count_ones() as u64;
            *accessed |= mask;
            if is_write {
                self.dirtied += (mask & !*written).count_ones() as u64;
                *written |= mask;
            }
        }
    }
}
