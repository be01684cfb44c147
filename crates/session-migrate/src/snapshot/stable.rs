//! Stable memory in a file, read on demand through a cache of blocks.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::GzDecoder;
use ic_stable_structures::Memory;
use pocket_ic_embedded::internals::data_ranges;

use super::{Form, SnapshotError};

/// Bytes of a page of stable memory.
pub const PAGE_BYTES: u64 = 65_536;

/// Bytes that are read and cached together: one page.
const BLOCK_BYTES: usize = PAGE_BYTES as usize;

/// Maximum number of cached blocks: 64 MiB.
const MAX_CACHED_BLOCKS: usize = 1_024;

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The stable memory of a snapshot, as a read-only [`Memory`] of ic-stable-structures. Clones share file and cache.
///
/// [`Memory::read`] cannot return an error: if bytes cannot be read, they are zeros. Callers must check
/// [`Self::failure`] before they use the bytes.
#[derive(Clone, Debug)]
pub struct StableFile(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    path: PathBuf,
    len: u64,
    cache: RefCell<Cache>,
    failure: RefCell<Option<io::Error>>,
}

/// Blocks by number; the one that was read from the file first is evicted first.
#[derive(Debug, Default)]
struct Cache {
    blocks: HashMap<u64, Box<[u8]>>,
    order: VecDeque<u64>,
}

impl StableFile {
    /// Opens a file with the bytes of a stable memory.
    ///
    /// # Errors
    /// [`SnapshotError`] for a file that cannot be read or does not consist of whole pages.
    pub fn open(path: &Path) -> Result<StableFile, SnapshotError> {
        let file = File::open(path).map_err(SnapshotError::io("read", path))?;
        StableFile::from_file(file, path)
    }

    /// Opens a stable memory, which may be gzipped; if so, it is unpacked into a sparse unnamed temporary file.
    pub(super) fn open_any(path: &Path) -> Result<(Form, StableFile), SnapshotError> {
        let mut file = File::open(path).map_err(SnapshotError::io("read", path))?;
        let mut magic = [0; 2];
        let is_gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
        if !is_gzip {
            return Ok((Form::Raw, StableFile::from_file(file, path)?));
        }
        file.seek(SeekFrom::Start(0)).map_err(SnapshotError::io("read", path))?;
        let unpacked = unpack_sparse(GzDecoder::new(file), path)?;
        Ok((Form::Gzip, StableFile::from_file(unpacked, path)?))
    }

    fn from_file(file: File, path: &Path) -> Result<StableFile, SnapshotError> {
        let found = file.metadata().map_err(SnapshotError::io("read", path))?;
        let (len, path) = (found.len(), path.to_path_buf());
        if !found.is_file() || len == 0 || !len.is_multiple_of(PAGE_BYTES) {
            let what = match (found.is_file(), len) {
                (false, _) => "not a file",
                (true, 0) => "empty",
                (true, _) => "truncated, or not a stable memory",
            };
            return Err(SnapshotError::NotAMemory { path, got: len, what });
        }
        let (cache, failure) = (RefCell::default(), RefCell::default());
        Ok(StableFile(Rc::new(Inner { file, path, len, cache, failure })))
    }

    /// Returns the length of the memory, bytes.
    pub fn bytes(&self) -> u64 {
        self.0.len
    }

    /// Checks that no read has failed, and no write was attempted, since the last call of this function.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] with the first failure.
    pub fn failure(&self) -> Result<(), SnapshotError> {
        match self.0.failure.borrow_mut().take() {
            None => Ok(()),
            Some(error) => Err(SnapshotError::io("read", &self.0.path)(error)),
        }
    }

    /// Returns the number of pages that are not all zero. Holes of the file are not read. `progress` gets the number
    /// of bytes of each read, and at the end the number of bytes in holes.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn pages_in_use(&self, progress: &mut dyn FnMut(u64)) -> Result<u64, SnapshotError> {
        let (mut used, mut read) = (0, 0);
        self.for_each_data(|_, part| {
            used += part.chunks(BLOCK_BYTES).filter(|page| **page != ZEROS[..page.len()]).count() as u64;
            read += part.len() as u64;
            progress(part.len() as u64);
            Ok(())
        })?;
        progress(self.0.len - read);
        Ok(used)
    }

    /// Copies the memory to a file, with holes for zeros.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn copy_to(&self, path: &Path) -> Result<(), SnapshotError> {
        let mut file = File::create(path).map_err(SnapshotError::io("create", path))?;
        self.for_each_data(|at, part| {
            write_sparse(&mut file, at, part).map_err(SnapshotError::io("write", path))
        })?;
        file.set_len(self.0.len).map_err(SnapshotError::io("write", path))
    }

    /// Passes all pages outside the file's holes to `each`, up to 16 at once, with the offset of the first.
    fn for_each_data(
        &self,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        const AT_ONCE: u64 = 16 * BLOCK_BYTES as u64;
        let Inner { file, path, len, .. } = &*self.0;
        let ranges = data_ranges(file, *len).map_err(SnapshotError::io("read", path))?;
        let mut buffer = vec![0; AT_ONCE as usize];
        let mut at = 0;
        for range in ranges {
            // A page that two ranges share is passed once.
            at = at.max(range.start / PAGE_BYTES * PAGE_BYTES);
            let end = range.end.next_multiple_of(PAGE_BYTES).min(*len);
            while at < end {
                let part = &mut buffer[..(end - at).min(AT_ONCE) as usize];
                read_exact_at(file, part, at).map_err(SnapshotError::io("read", path))?;
                each(at, part)?;
                at += part.len() as u64;
            }
        }
        Ok(())
    }

    fn keep_failure(&self, error: io::Error) {
        self.0.failure.borrow_mut().get_or_insert(error);
    }

    /// Reads bytes through the cache.
    fn read_cached(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut cache = self.0.cache.borrow_mut();
        let (mut at, mut rest) = (offset, into);
        while !rest.is_empty() {
            let number = at / BLOCK_BYTES as u64;
            let block = cache.block(number, &self.0.file, self.0.len)?;
            let from = (at % BLOCK_BYTES as u64) as usize;
            let part = block.get(from..).filter(|part| !part.is_empty());
            let part = part.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            let len = part.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(&part[..len]);
            at += len as u64;
            rest = later;
        }
        Ok(())
    }
}

impl Cache {
    /// Returns a block, which is read from the file unless it is cached.
    fn block(&mut self, number: u64, file: &File, len: u64) -> io::Result<&[u8]> {
        if !self.blocks.contains_key(&number) {
            let offset = number.saturating_mul(BLOCK_BYTES as u64);
            let block_len = len.saturating_sub(offset).min(BLOCK_BYTES as u64) as usize;
            let mut block = match self.order.len() < MAX_CACHED_BLOCKS {
                true => vec![0; block_len].into_boxed_slice(),
                false => {
                    // The new block gets the buffer of the evicted one, if it fits.
                    let oldest = self.order.pop_front().and_then(|oldest| self.blocks.remove(&oldest));
                    oldest
                        .filter(|block| block.len() == block_len)
                        .unwrap_or_else(|| vec![0; block_len].into())
                }
            };
            read_exact_at(file, &mut block, offset)?;
            self.order.push_back(number);
            self.blocks.insert(number, block);
        }
        self.blocks.get(&number).map(|block| &**block).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Memory for StableFile {
    fn size(&self) -> u64 {
        self.0.len / PAGE_BYTES
    }

    // -1 means that the memory cannot grow.
    fn grow(&self, _: u64) -> i64 {
        -1
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        if let Err(error) = self.read_cached(offset, into) {
            into.fill(0);
            self.keep_failure(error);
        }
    }

    fn write(&self, offset: u64, _: &[u8]) {
        self.keep_failure(io::Error::other(format!("a snapshot is never written, at offset {offset}")));
    }
}

#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, offset)
}

#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !into.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, into, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                into = &mut into[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}

/// Writes a block, or leaves a hole in its place if it is all zeros.
fn write_unless_zero(file: &mut File, at: u64, block: &[u8]) -> io::Result<()> {
    if *block == ZEROS[..block.len()] {
        return Ok(());
    }
    file.seek(SeekFrom::Start(at))?;
    file.write_all(block)
}

/// Writes bytes to a file that has a hole at this offset, and leaves holes for blocks of zeros.
pub(crate) fn write_sparse(file: &mut File, at: u64, bytes: &[u8]) -> io::Result<()> {
    for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        write_unless_zero(file, at + (index * BLOCK_BYTES) as u64, block)?;
    }
    Ok(())
}

/// Unpacks a gzipped stable memory into a sparse temporary file; `path` is its name in errors.
fn unpack_sparse(mut from: impl Read, path: &Path) -> Result<File, SnapshotError> {
    let folder = std::env::temp_dir();
    let mut file = tempfile::tempfile().map_err(SnapshotError::io("create a file in", &folder))?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut len = 0;
    loop {
        block.clear();
        from.by_ref()
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut block)
            .map_err(|error| SnapshotError::Gzip { path: path.to_path_buf(), why: error.to_string() })?;
        if block.is_empty() {
            break;
        }
        write_unless_zero(&mut file, len, &block).map_err(SnapshotError::io("write a file in", &folder))?;
        len += block.len() as u64;
    }
    file.set_len(len).map_err(SnapshotError::io("write a file in", &folder))?;
    Ok(file)
}
