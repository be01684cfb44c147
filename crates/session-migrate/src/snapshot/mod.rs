//! Snapshots on disk: a folder as the command-line tools download it, or raw stable memory.
//!
//! Nothing here writes to a snapshot; only copies are run, in a canister on a server. Stable memory is read on demand,
//! not loaded. Since ic-stable-structures panics when it reads a damaged node, [`Tree`] walks the maps of that library
//! with typed errors.

mod copy;
mod error;
mod folder;
mod form;
mod manifest;
mod stable;
mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::progress::Progress;

pub use copy::{CopyError, load};
pub use error::SnapshotError;
pub use folder::{CHUNK_STORE, METADATA, Metadata, PROGRESS, STABLE_MEMORY, WASM_MEMORY, WASM_MODULE};
pub use form::Form;
pub use manifest::{FileEntry, Manifest, Verified};
pub(crate) use manifest::{sha256_of, write_json};
pub use stable::{PAGE_BYTES, StableFile};
pub(crate) use stable::{read_exact_at, write_sparse};
pub use tree::{Entry, Tree, Walked};
pub use upload_canister::stable::{Damage, Key, read_cell};

/// A snapshot that is complete as far as its format, which has no checksums, can show.
#[derive(Debug)]
pub struct Snapshot {
    /// Path of the snapshot.
    pub path: PathBuf,
    /// Form of the snapshot.
    pub form: Form,
    /// The folder's metadata; `None` for a raw stable memory.
    pub metadata: Option<Metadata>,
    /// Stable memory of the snapshot.
    pub stable: StableFile,
    /// The manifest next to a folder; `None` if there is none, and for a raw stable memory.
    pub manifest: Option<Manifest>,
    /// How far the folder was compared with its manifest. While [`Self::while_verifying`] runs, this is the expected
    /// outcome.
    pub verified: Verified,
}

impl Snapshot {
    /// Opens a snapshot folder, or a raw stable memory, which may be gzipped.
    ///
    /// # Errors
    /// If the snapshot is incomplete, unreadable, or differs from its manifest.
    pub fn open(path: &Path) -> Result<Snapshot, SnapshotError> {
        let found = std::fs::metadata(path).map_err(SnapshotError::io("read", path))?;
        if found.is_dir() {
            let (metadata, manifest) = check_folder(path)?;
            let stable = match metadata.stable_memory_size {
                0 => return Err(SnapshotError::NoStableMemory { path: path.to_path_buf() }),
                _ => StableFile::open(&path.join(STABLE_MEMORY))?,
            };
            let (path, metadata) = (path.to_path_buf(), Some(metadata));
            let verified = if manifest.is_some() { Verified::Lengths } else { Verified::No };
            return Ok(Snapshot { path, form: Form::Folder, metadata, stable, manifest, verified });
        }
        let (form, stable) = StableFile::open_any(path)?;
        let (path, verified) = (path.to_path_buf(), Verified::No);
        Ok(Snapshot { path, form, metadata: None, stable, manifest: None, verified })
    }

    /// Compares every byte of a folder with its manifest; does nothing without a manifest. `on_read` gets the number of
    /// bytes of each read.
    ///
    /// # Errors
    /// [`SnapshotError::Differs`], or the error of a file that cannot be read.
    pub fn verify(&mut self, on_read: &mut dyn FnMut(u64)) -> Result<(), SnapshotError> {
        if let Some(manifest) = &self.manifest {
            manifest.verify(&self.path, on_read)?;
            self.verified = Verified::EveryByte;
        }
        Ok(())
    }

    /// Calls `work` while another thread compares every byte of the snapshot with its manifest, if there is one. If a
    /// file differs, the result of `work` is dropped, so `work` must change nothing but copies.
    ///
    /// # Errors
    /// [`SnapshotError::Differs`], or the error of a file that cannot be read; otherwise the error of `work`.
    pub fn while_verifying<T, E: From<SnapshotError>>(
        &mut self,
        progress: &Progress,
        work: impl FnOnce(&Snapshot) -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(manifest) = self.manifest.clone() else { return work(&*self) };
        // `work` may already report the snapshot as verified: if the verification fails, that report is dropped.
        let before = std::mem::replace(&mut self.verified, Verified::EveryByte);
        let path = self.path.clone();
        std::thread::scope(|scope| {
            let verifying = scope.spawn(move || manifest.verify(&path, &mut |_| ()));
            let worked = work(&*self);
            progress.phase("verifying the snapshot");
            match verifying.join() {
                Ok(Ok(())) => worked,
                Ok(Err(error)) => {
                    self.verified = before;
                    Err(error.into())
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Returns the path at which a folder has the module; `None` if the snapshot is not a folder.
    pub fn module(&self) -> Option<PathBuf> {
        (self.form == Form::Folder).then(|| self.path.join(WASM_MODULE))
    }
}

/// Checks that a folder is complete, and that the lengths of its files, its metadata and its module are those in the
/// manifest next to it, if there is one.
///
/// # Errors
/// [`SnapshotError`].
pub fn check_folder(path: &Path) -> Result<(Metadata, Option<Manifest>), SnapshotError> {
    let metadata = folder::read_checked(path)?;
    let manifest = Manifest::next_to(path)?;
    if let Some(manifest) = &manifest {
        manifest.check(path)?;
    }
    Ok((metadata, manifest))
}
