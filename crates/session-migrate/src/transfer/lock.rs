//! The lock of a snapshot folder: one transfer at a time uses the folder.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::TransferError;
use crate::snapshot::SnapshotError;

/// Name of the lock file in a folder, as `icp` uses it, too.
const LOCK: &str = ".lock";

/// Locks an existing folder until the returned file is closed.
pub(super) fn lock_folder(folder: &Path) -> Result<File, TransferError> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(SnapshotError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) if path.exists() => Ok(file),
        // A download has removed the file, as in `LockedFolder::drop`, before this process locked it.
        Ok(()) | Err(TryLockError::WouldBlock) => Err(TransferError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(SnapshotError::io("lock", &path)(error).into()),
    }
}

/// Returns whether these entries of a folder are none, or only the lock of a download that has written nothing.
pub(super) fn contains_only_lock(mut entries: fs::ReadDir) -> bool {
    entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK))
}

/// The folder of a download, locked until it is dropped.
pub(super) struct LockedFolder<'a> {
    pub path: &'a Path,
    /// The folder and those above it, as far as they did not exist before; inner ones first.
    created: Vec<PathBuf>,
    is_lock_new: bool,
    _lock: File,
}

impl<'a> LockedFolder<'a> {
    /// Creates the folder, if it does not exist, and locks it.
    pub fn create(path: &'a Path) -> Result<LockedFolder<'a>, TransferError> {
        let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let created = missing.map(Path::to_path_buf).collect();
        fs::create_dir_all(path).map_err(SnapshotError::io("create", path))?;
        let is_lock_new = !path.join(LOCK).exists();
        Ok(LockedFolder { path, created, is_lock_new, _lock: lock_folder(path)? })
    }
}

impl Drop for LockedFolder<'_> {
    /// Removes the lock file and the folders that were created, if nothing else was written.
    fn drop(&mut self) {
        if self.is_lock_new && fs::read_dir(self.path).is_ok_and(contains_only_lock) {
            // What cannot be removed stays. It does no harm: a download may begin in a folder with only a lock.
            let _ = fs::remove_file(self.path.join(LOCK));
            for folder in &self.created {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}
