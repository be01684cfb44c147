//! A canister's wasm memory between messages, as a value: sparse and copy-on-write, like stable memory.

use super::paged::Paged;
use super::stable::WASM_PAGE;

/// Contents and size of a wasm memory. Cloning is nearly free; parts that were never written take no space.
#[derive(Clone, Debug, Default)]
pub struct Heap {
    /// The size in bytes, a multiple of [`WASM_PAGE`].
    pub(super) size_bytes: u64,
    pub(super) pages: Paged,
}

impl Heap {
    /// Returns a memory of this many 64 KiB pages, all zeros.
    pub fn zeroed(wasm_pages: u64) -> Self {
        Self { size_bytes: wasm_pages.saturating_mul(WASM_PAGE), pages: Paged::default() }
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns a part of the memory; `None` if it extends beyond the end.
    pub fn read(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        self.check(offset, len)?;
        let mut out = vec![0; usize::try_from(len).ok()?];
        self.pages.read(offset, &mut out);
        Some(out)
    }

    /// Writes `bytes` at `offset`; if they would extend beyond the end, writes nothing and returns `None`.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Option<()> {
        self.check(offset, bytes.len() as u64)?;
        self.pages.write(offset, bytes);
        Some(())
    }

    /// Returns whether the `len` bytes at `offset` are known to be zeros without being read.
    pub fn is_untouched(&self, offset: u64, len: usize) -> bool {
        self.pages.is_untouched(offset, len)
    }

    /// Returns `None` if the part extends beyond the end.
    fn check(&self, offset: u64, len: u64) -> Option<()> {
        offset.checked_add(len).filter(|end| *end <= self.size_bytes).map(drop)
    }
}
