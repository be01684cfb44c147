//! Snapshot folders: their files, and the check that a folder is complete.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SnapshotError;

/// Metadata of the snapshot.
pub const METADATA: &str = "metadata.json";
/// The module as it was installed.
pub const WASM_MODULE: &str = "wasm_module.bin";
/// The heap.
pub const WASM_MEMORY: &str = "wasm_memory.bin";
/// The stable memory.
pub const STABLE_MEMORY: &str = "stable_memory.bin";
/// The folder with the chunks of the canister's wasm chunk store.
pub const CHUNK_STORE: &str = "wasm_chunk_store";

/// A file that `icp` and `session-migrate` keep during a download. Until the download is complete, the other files may
/// have their full length, but with holes.
pub const PROGRESS: &str = ".download_progress.json";
const PROGRESS_BEING_WRITTEN: &str = ".download_progress.json.tmp";
/// A field of the progress file that this program writes, but `icp` does not.
const FIELD_OF_THIS_PROGRAM: &str = "session_migrate";

/// The fields of the metadata that are used here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// When the snapshot was taken, nanoseconds; for an uploaded snapshot, when it was uploaded.
    pub taken_at_timestamp: u64,
    /// Bytes of the module.
    pub wasm_module_size: u64,
    /// Bytes of the heap.
    pub wasm_memory_size: u64,
    /// Bytes of stable memory.
    pub stable_memory_size: u64,
    /// The IC's version of the canister, which counts its changes; not a release.
    #[serde(default)]
    pub canister_version: u64,
    /// The chunks in the wasm chunk store.
    #[serde(default)]
    wasm_chunk_store: Vec<StoredChunk>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredChunk {
    #[serde(with = "serde_bytes")]
    hash: Vec<u8>,
}

/// Returns the command of the program that has begun the download.
fn resume_command(progress: &Path) -> &'static str {
    let is_by_this_program = fs::read(progress)
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        .is_some_and(|progress| progress.get(FIELD_OF_THIS_PROGRAM).is_some());
    if is_by_this_program {
        "session-migrate snapshot download"
    } else {
        "icp canister snapshot download --resume"
    }
}

/// Reads the metadata of a folder. Checks that the download is finished, that the files have the listed sizes, and that
/// the chunks of the wasm chunk store have the listed hashes.
pub(super) fn read_checked(folder: &Path) -> Result<Metadata, SnapshotError> {
    for name in [PROGRESS, PROGRESS_BEING_WRITTEN] {
        let path = folder.join(name);
        if path.exists() {
            return Err(SnapshotError::Unfinished { resume_command: resume_command(&path), path });
        }
    }
    let path = folder.join(METADATA);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SnapshotError::NoMetadata { path: folder.to_path_buf() });
        }
        text => text.map_err(SnapshotError::io("read", &path))?,
    };
    let metadata: Metadata = serde_json::from_slice(&text)
        .map_err(|error| SnapshotError::Metadata { path: path.clone(), why: error.to_string() })?;
    if !metadata.stable_memory_size.is_multiple_of(super::PAGE_BYTES) {
        let size = metadata.stable_memory_size;
        let why =
            format!("stable_memory_size is {size}, expected whole pages of {} bytes", super::PAGE_BYTES);
        return Err(SnapshotError::Metadata { path, why });
    }
    for (name, size) in [
        (WASM_MODULE, metadata.wasm_module_size),
        (WASM_MEMORY, metadata.wasm_memory_size),
        (STABLE_MEMORY, metadata.stable_memory_size),
    ] {
        check_length(&folder.join(name), size)?;
    }
    for StoredChunk { hash } in &metadata.wasm_chunk_store {
        check_chunk(&folder.join(CHUNK_STORE), hash)?;
    }
    Ok(metadata)
}

fn check_length(path: &Path, expected: u64) -> Result<(), SnapshotError> {
    match fs::metadata(path) {
        Ok(found) if found.len() == expected => Ok(()),
        Ok(found) => Err(SnapshotError::Length { path: path.to_path_buf(), expected, got: found.len() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match expected {
            // Some tools write an empty file for an empty memory, others no file.
            0 => Ok(()),
            _ => Err(SnapshotError::Missing { path: path.to_path_buf(), expected }),
        },
        Err(error) => Err(SnapshotError::io("read", path)(error)),
    }
}

fn check_chunk(store: &Path, hash: &[u8]) -> Result<(), SnapshotError> {
    let expected = hex::encode(hash);
    let path = store.join(format!("{expected}.bin"));
    let bytes = fs::read(&path).map_err(SnapshotError::io("read", &path))?;
    let got = hex::encode(Sha256::digest(&bytes));
    if got == expected { Ok(()) } else { Err(SnapshotError::Chunk { path, expected, got }) }
}
