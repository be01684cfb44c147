//! Copies finished files to the output folder, atomically and by one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::freshness::BuildRecord;
use super::write::write_atomically;
use super::{Build, BuildError, Workspace};
use crate::progress::Progress;

/// The folder of the checked-in interfaces in the tree.
const INTERFACE_FOLDER: &str = "candid";

/// A lock on a cache folder, which a process holds while it builds; released on drop, or by the system if the process
/// dies.
pub(crate) struct Lock {
    _file: File,
}

/// Waits until no other process builds in `cache`.
pub(crate) fn lock(cache: &Path) -> Result<Lock, BuildError> {
    std::fs::create_dir_all(cache).map_err(BuildError::io("create", cache))?;
    let path = cache.join("lock");
    let file = File::create(&path).map_err(BuildError::io("create", &path))?;
    let locked = match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let progress = Progress::stderr();
            progress.phase(format!("waiting for another process that builds in {}", cache.display()));
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    locked.map_err(BuildError::io("lock", &path))?;
    Ok(Lock { _file: file })
}

/// A finished build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Which build this is.
    pub build: Build,
    /// The cargo features of the build.
    pub features: Vec<String>,
    /// The file to install: the gzipped wasm.
    pub wasm_gz: PathBuf,
    /// Size of the wasm, unpacked, in bytes.
    pub wasm_bytes: u64,
    /// Size of the gzipped wasm in bytes.
    pub wasm_gz_bytes: u64,
    /// SHA-256 of the gzipped wasm, in hex. This is the module hash that the IC reports after an install.
    pub sha256: String,
    /// The file with the Candid interface, next to the wasm.
    pub did: PathBuf,
    /// True if the interface is identical, byte for byte, to the one checked in under `candid/`; also if it was just
    /// copied there.
    pub did_is_checked_in: bool,
}

/// Copies the cached files of `build` to `out`. With `update_did`, also copies the interface over the checked-in one.
pub(crate) fn publish(
    build: Build,
    record: &BuildRecord,
    cache: &Path,
    out: &Path,
    workspace: &Workspace,
    update_did: bool,
) -> Result<Artifact, BuildError> {
    let wasm_gz = out.join(format!("{build}.wasm.gz"));
    let did = out.join(format!("{build}.did"));
    let gz = copy_if_changed(&cache.join(format!("{build}.wasm.gz")), &wasm_gz)?;
    let interface = copy_if_changed(&cache.join(format!("{build}.did")), &did)?;
    let checked_in = workspace.root.join(INTERFACE_FOLDER).join(format!("{build}.did"));
    let mut is_same = has_bytes(&checked_in, &interface);
    if update_did && !is_same {
        write_atomically(&checked_in, &interface)?;
        is_same = true;
    }
    Ok(Artifact {
        build,
        features: build.features().iter().map(|&name| name.to_owned()).collect(),
        wasm_gz,
        wasm_bytes: record.wasm_bytes,
        wasm_gz_bytes: gz.len() as u64,
        sha256: record.sha256.clone(),
        did,
        did_is_checked_in: is_same,
    })
}

/// Copies a file, unless `to` already has the same bytes; returns the bytes in either case. A reader never sees half a
/// file.
fn copy_if_changed(from: &Path, to: &Path) -> Result<Vec<u8>, BuildError> {
    let bytes = std::fs::read(from).map_err(BuildError::io("read", from))?;
    if !has_bytes(to, &bytes) {
        write_atomically(to, &bytes)?;
    }
    Ok(bytes)
}

fn has_bytes(path: &Path, bytes: &[u8]) -> bool {
    std::fs::read(path).is_ok_and(|found| found == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_builder_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let file = File::create(dir.path().join("lock")).unwrap();
        // A second builder would wait in `lock` now.
        assert!(file.try_lock().is_err());
        drop(first);
        file.try_lock().unwrap();
    }
}
