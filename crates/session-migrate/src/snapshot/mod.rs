//! A canister's snapshot on the disk: a folder as the command-line tools download it, or its raw stable memory.
//!
//! Owns: what makes a folder a whole snapshot, reading stable memory without loading it, and walking what
//! ic-stable-structures keeps in it, with every byte checked first. Does not own: what the records mean. Boundary: nothing
//! here writes to a snapshot; what is run is a copy in a canister of a server.
//!
//! The library asserts what it reads, and a damaged node is a panic there. So its maps are walked here by code of our own
//! ([`Tree`]), with typed errors.

mod cell;
mod copy;
mod error;
mod folder;
mod key;
mod stable;
mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use cell::cell;
pub use copy::{CopyError, load};
pub use error::SnapshotError;
pub use folder::{CHUNK_STORE, METADATA, Metadata, STABLE_MEMORY, WASM_MEMORY, WASM_MODULE};
pub use key::Key;
pub use stable::{PAGE_BYTES, StableFile};
pub use tree::{Damage, Entry, Tree, Walked};

/// What a snapshot is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A folder of `icp`, `dfx` or PocketIC.
    Folder,
    /// The bytes of stable memory.
    Raw,
    /// The same, gzipped.
    Gzip,
}

impl Form {
    /// The form in words.
    pub fn name(self) -> &'static str {
        match self {
            Form::Folder => "snapshot folder",
            Form::Raw => "raw stable memory",
            Form::Gzip => "gzipped stable memory",
        }
    }
}

/// A snapshot that is there as a whole, as far as its format can tell: it has no checksums.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub form: Form,
    /// What the folder says of itself; none of a raw memory.
    pub metadata: Option<Metadata>,
    /// Its stable memory.
    pub stable: StableFile,
}

impl Snapshot {
    /// Opens a snapshot folder, a raw stable memory, or gzip of one.
    ///
    /// # Errors
    /// [`SnapshotError`]: what is not there, not whole, or not readable, and what to do about it.
    pub fn open(path: &Path) -> Result<Snapshot, SnapshotError> {
        let found = std::fs::metadata(path).map_err(SnapshotError::io("read", path))?;
        if found.is_dir() {
            let metadata = folder::check(path)?;
            let stable = match metadata.stable_memory_size {
                0 => return Err(SnapshotError::NoStableMemory { path: path.to_path_buf() }),
                _ => StableFile::open(&path.join(STABLE_MEMORY))?,
            };
            let (path, metadata) = (path.to_path_buf(), Some(metadata));
            return Ok(Snapshot { path, form: Form::Folder, metadata, stable });
        }
        let (form, stable) = StableFile::open_any(path)?;
        Ok(Snapshot { path: path.to_path_buf(), form, metadata: None, stable })
    }

    /// The module file of a folder.
    pub fn module(&self) -> Option<PathBuf> {
        (self.form == Form::Folder).then(|| self.path.join(WASM_MODULE))
    }
}
