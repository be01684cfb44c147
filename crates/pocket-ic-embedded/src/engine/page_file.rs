//! Pages of memories that are kept in a file instead of the host's memory. (The struct that finds the pages of a memory
//! is `Paged`.)

use crate::locks::lock_unpoisoned;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, OnceLock};

/// Bytes in a page, the unit in which memories are stored and shared: larger than the pages of 4 KiB in which changes
/// and accesses are counted, smaller than a wasm page.
pub(super) const PAGE: usize = 16 * 1024;

/// A file of immutable pages: a changed page is stored as a new one.
pub(super) struct PageFile {
    file: File,
    /// The places for new pages; `None` for a file that is only read.
    places: Option<Mutex<Places>>,
}

#[derive(Default)]
struct Places {
    /// Places whose pages were dropped.
    free: Vec<u64>,
    /// All places from this number on are free.
    end: u64,
}

/// A page in a file. When a page of the temporary file is dropped, its place becomes free.
pub(super) struct StoredPage {
    file: Arc<PageFile>,
    /// Position in the file, in units of [`PAGE`].
    number: u64,
}

impl PageFile {
    /// Returns a file of which pages are only read; it stays as it is when they are dropped.
    pub(super) fn from_file(file: File) -> Arc<Self> {
        Arc::new(Self { file, places: None })
    }

    /// Returns the temporary file of this process, which has no name; `None` if none can be created.
    pub(super) fn temporary() -> Option<&'static Arc<Self>> {
        static FILE: OnceLock<Option<Arc<PageFile>>> = OnceLock::new();
        let create = || {
            let file = tempfile::tempfile().ok()?;
            Some(Arc::new(PageFile { file, places: Some(Mutex::default()) }))
        };
        FILE.get_or_init(create).as_ref()
    }

    /// Returns a page of this file, which must exist: it is not checked.
    pub(super) fn page(self: &Arc<Self>, number: u64) -> StoredPage {
        StoredPage { file: self.clone(), number }
    }

    /// Writes a new page to a free place; an error if the file is only read or the disk is full.
    pub(super) fn store(self: &Arc<Self>, bytes: &[u8; PAGE]) -> io::Result<StoredPage> {
        let Some(places) = &self.places else { return Err(io::ErrorKind::ReadOnlyFilesystem.into()) };
        let number = {
            let mut places = lock_unpoisoned(places);
            places.free.pop().unwrap_or_else(|| {
                places.end += 1;
                places.end - 1
            })
        };
        // If the page cannot be written, it is dropped, and its place becomes free again.
        let page = self.page(number);
        self.file.write_all_at(bytes, number * PAGE as u64)?;
        Ok(page)
    }
}

impl StoredPage {
    /// Fills `buf` with the bytes from `start` on.
    ///
    /// # Panics
    /// If the file cannot be read, or has become shorter: there is no other copy of the page.
    pub(super) fn read(&self, start: usize, buf: &mut [u8]) {
        if let Err(error) = self.file.file.read_exact_at(buf, self.number * PAGE as u64 + start as u64) {
            panic!("a page of a canister's memory cannot be read from its file: {error}");
        }
    }
}

impl Drop for StoredPage {
    fn drop(&mut self) {
        if let Some(places) = &self.file.places {
            lock_unpoisoned(places).free.push(self.number);
        }
    }
}
