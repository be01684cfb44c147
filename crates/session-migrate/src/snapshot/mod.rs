//! Snapshots on disk: a folder as the command-line tools download it, or raw stable memory.
//!
//! Owns: whether a folder is complete, reading stable memory without loading it, and walking the structures
//! of ic-stable-structures with every byte checked first. Does not own: what the records mean. Boundary:
//! nothing here writes to a snapshot; whatever runs is a copy in a canister on a server.
//!
//! The library asserts what it reads, so a damaged node is a panic. That is why its maps are walked here
//! ([`Tree`]), with typed errors.

mod copy;
mod error;
mod folder;
mod stable;
mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use copy::{CopyError, load};
pub use error::SnapshotError;
pub use folder::{CHUNK_STORE, METADATA, Metadata, STABLE_MEMORY, WASM_MEMORY, WASM_MODULE};
pub use stable::{PAGE_BYTES, StableFile};
pub use tree::{Entry, Tree, Walked};
pub use upload_canister::stable::{Damage, Key, cell};

/// The form of a snapshot on disk.
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
    /// Returns the form as text.
    pub fn name(self) -> &'static str {
        match self {
            Form::Folder => "snapshot folder",
            Form::Raw => "raw stable memory",
            Form::Gzip => "gzipped stable memory",
        }
    }
}

/// A snapshot that is complete, as far as its format shows: it has no checksums.
#[derive(Debug)]
pub struct Snapshot {
    /// Its path.
    pub path: PathBuf,
    /// Its form.
    pub form: Form,
    /// The folder's metadata; absent for a raw memory.
    pub metadata: Option<Metadata>,
    /// Its stable memory.
    pub stable: StableFile,
}

impl Snapshot {
    /// Opens a snapshot folder, or a raw stable memory; may be gzipped.
    ///
    /// # Errors
    /// [`SnapshotError`]: what is missing, incomplete or unreadable, and what to do about it.
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

    /// Returns the path of a folder's module.
    pub fn module(&self) -> Option<PathBuf> {
        (self.form == Form::Folder).then(|| self.path.join(WASM_MODULE))
    }
}
