//! Snapshots as folders, in the layout that the Internet Computer's command-line tools download and upload. As in the
//! protocol, the two words are those of a client: this server writes a folder for a download, and reads one for an
//! upload.
//!
//! ```text
//! metadata.json                    everything but the bytes
//! wasm_module.bin                  the module as it was installed
//! wasm_memory.bin                  the wasm memory (may be absent when empty)
//! stable_memory.bin                the stable memory (absent when empty)
//! wasm_chunk_store/<sha256>.bin    one file per chunk
//! ```

use super::error::UserError;
use super::replies::SnapshotMetadata;
use super::snapshot::{MAX_SLICE_BYTES, Snapshot};
use crate::sparse::data_ranges;
use candid::Principal;
use ic_management_canister_types::{
    ReadCanisterSnapshotMetadataResult, SnapshotDataKind, SnapshotDataOffset, SnapshotMetadataGlobal,
    UploadCanisterSnapshotMetadataArgs,
};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const METADATA: &str = "metadata.json";
const WASM_MODULE: &str = "wasm_module.bin";
const WASM_MEMORY: &str = "wasm_memory.bin";
const STABLE_MEMORY: &str = "stable_memory.bin";
const CHUNKS: &str = "wasm_chunk_store";
/// Files that `icp` keeps in the folder during a download: the other files already have their full length, but with
/// holes.
const PROGRESS_FILES: [&str; 2] = [".download_progress.json", ".download_progress.json.tmp"];

/// Why a folder cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotDirError {
    #[error("Snapshot directory is not empty")]
    NotEmpty,
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path}: the download is not finished, and its files may have holes; finish it with `icp canister snapshot download --resume`"
    )]
    Unfinished { path: PathBuf },
    #[error("{path}: {source}")]
    Metadata { path: PathBuf, source: serde_json::Error },
    /// The metadata lacks the value of a global, which happens if a tool could not read the value.
    #[error("{path}: the value of global {index} is missing")]
    MissingGlobal { path: PathBuf, index: usize },
    #[error("{path}: expected {expected} bytes, got {got}")]
    Length { path: PathBuf, expected: u64, got: u64 },
    /// A global that the metadata cannot represent: JSON has only finite numbers.
    #[error(
        "global {index} is {value}, which {METADATA} has no way to write: read the snapshot with the management canister"
    )]
    NotFinite { index: usize, value: f64 },
    #[error("{path}: the file has the SHA-256 {got}, not {expected}")]
    Chunk { path: PathBuf, expected: String, got: String },
    /// The snapshot refuses the metadata or the contents of a file.
    #[error("{0}")]
    Rejected(String),
}

/// Writes a snapshot to a folder, which is created if it is missing, and must be empty.
pub fn download(snapshot: &Snapshot, dir: &Path) -> Result<(), SnapshotDirError> {
    let metadata = snapshot.metadata();
    check_globals(&metadata)?;
    fs::create_dir_all(dir).map_err(io_error(dir))?;
    if fs::read_dir(dir).map_err(io_error(dir))?.next().is_some() {
        return Err(SnapshotDirError::NotEmpty);
    }
    copy_to_file(snapshot, &dir.join(WASM_MODULE), metadata.wasm_module_size, |offset, size| {
        SnapshotDataKind::WasmModule { offset, size }
    })?;
    copy_to_file(snapshot, &dir.join(WASM_MEMORY), metadata.wasm_memory_size, |offset, size| {
        SnapshotDataKind::WasmMemory { offset, size }
    })?;
    if metadata.stable_memory_size > 0 {
        copy_to_file(snapshot, &dir.join(STABLE_MEMORY), metadata.stable_memory_size, |offset, size| {
            SnapshotDataKind::StableMemory { offset, size }
        })?;
    }
    if !metadata.wasm_chunk_store.is_empty() {
        let folder = dir.join(CHUNKS);
        fs::create_dir_all(&folder).map_err(io_error(&folder))?;
        for chunk in &metadata.wasm_chunk_store {
            let path = chunk_path(dir, &chunk.hash);
            let part = SnapshotDataKind::WasmChunk { hash: chunk.hash.clone() };
            let bytes = snapshot.read(&part).map_err(rejected)?;
            fs::write(&path, bytes).map_err(io_error(&path))?;
        }
    }
    // The metadata is written last, so that a folder with metadata is complete.
    let path = dir.join(METADATA);
    let text = serde_json::to_string_pretty(&metadata)
        .map_err(|source| SnapshotDirError::Metadata { path: path.clone(), source })?;
    fs::write(&path, text).map_err(io_error(&path))
}

/// How the file of stable memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StableFile {
    /// The file is copied, as the protocol requires.
    Copied,
    /// The pages of the file are read on demand: the file must not change as long as the canister exists.
    InPlace,
}

/// Reads a snapshot from a folder. `declare` turns the metadata into an empty snapshot, which is filled from the files
/// and returned. Source, time and version in the metadata are ignored; canister and replaced snapshot in the argument
/// of `declare` are placeholders.
pub fn upload(
    dir: &Path,
    stable_file: StableFile,
    declare: impl FnOnce(UploadCanisterSnapshotMetadataArgs) -> Result<Snapshot, UserError>,
) -> Result<Snapshot, SnapshotDirError> {
    for name in PROGRESS_FILES {
        let path = dir.join(name);
        if path.exists() {
            return Err(SnapshotDirError::Unfinished { path });
        }
    }
    let path = dir.join(METADATA);
    let text = fs::read(&path).map_err(io_error(&path))?;
    let metadata: ReadCanisterSnapshotMetadataResult = serde_json::from_slice(&text)
        .map_err(|source| SnapshotDirError::Metadata { path: path.clone(), source })?;
    let mut globals = Vec::with_capacity(metadata.globals.len());
    for (index, global) in metadata.globals.into_iter().enumerate() {
        globals.push(global.ok_or_else(|| SnapshotDirError::MissingGlobal { path: path.clone(), index })?);
    }
    let mut snapshot = declare(UploadCanisterSnapshotMetadataArgs {
        canister_id: Principal::management_canister(),
        replace_snapshot: None,
        wasm_module_size: metadata.wasm_module_size,
        globals,
        wasm_memory_size: metadata.wasm_memory_size,
        stable_memory_size: metadata.stable_memory_size,
        certified_data: metadata.certified_data,
        global_timer: metadata.global_timer,
        on_low_wasm_memory_hook_status: metadata.on_low_wasm_memory_hook_status,
    })
    .map_err(rejected)?;
    copy_from_file(&mut snapshot, &dir.join(WASM_MODULE), metadata.wasm_module_size, |offset| {
        SnapshotDataOffset::WasmModule { offset }
    })?;
    copy_from_file(&mut snapshot, &dir.join(WASM_MEMORY), metadata.wasm_memory_size, |offset| {
        SnapshotDataOffset::WasmMemory { offset }
    })?;
    let (path, size) = (dir.join(STABLE_MEMORY), metadata.stable_memory_size);
    match stable_file {
        StableFile::InPlace => {
            if let Some(file) = open_sized(&path, size)? {
                snapshot.use_stable_file(file).map_err(io_error(&path))?;
            }
        }
        StableFile::Copied => {
            copy_from_file(&mut snapshot, &path, size, |offset| SnapshotDataOffset::StableMemory { offset })?;
        }
    }
    for chunk in &metadata.wasm_chunk_store {
        let path = chunk_path(dir, &chunk.hash);
        let bytes = fs::read(&path).map_err(io_error(&path))?;
        let got = Sha256::digest(&bytes);
        if got.as_slice() != chunk.hash {
            let (expected, got) = (hex::encode(&chunk.hash), hex::encode(got));
            return Err(SnapshotDirError::Chunk { path, expected, got });
        }
        snapshot.write(&SnapshotDataOffset::WasmChunk, &bytes).map_err(rejected)?;
    }
    Ok(snapshot)
}

fn check_globals(metadata: &SnapshotMetadata) -> Result<(), SnapshotDirError> {
    for (index, global) in metadata.globals.iter().enumerate() {
        let value = match global {
            SnapshotMetadataGlobal::F32(value) => f64::from(*value),
            SnapshotMetadataGlobal::F64(value) => *value,
            _ => continue,
        };
        if !value.is_finite() {
            return Err(SnapshotDirError::NotFinite { index, value });
        }
    }
    Ok(())
}

/// Writes a part of a snapshot to a new file, in slices; `part_at` names the slice at an offset and of a length.
fn copy_to_file(
    snapshot: &Snapshot,
    path: &Path,
    size: u64,
    part_at: impl Fn(u64, u64) -> SnapshotDataKind,
) -> Result<(), SnapshotDirError> {
    let mut file = File::create_new(path).map_err(io_error(path))?;
    let mut offset = 0;
    while offset < size {
        let step = MAX_SLICE_BYTES.min(size - offset);
        // Parts that are known to be zeros are skipped: they become holes, which read as zeros and take no space.
        let part = part_at(offset, step);
        if !snapshot.is_hole(&part) {
            let bytes = snapshot.read(&part).map_err(rejected)?;
            file.seek(SeekFrom::Start(offset)).map_err(io_error(path))?;
            file.write_all(&bytes).map_err(io_error(path))?;
        }
        offset += step;
    }
    file.set_len(size).map_err(io_error(path))?;
    file.flush().map_err(io_error(path))
}

/// Fills a part of a snapshot from a file that must have this size; `place_at` names the place of an offset.
fn copy_from_file(
    snapshot: &mut Snapshot,
    path: &Path,
    size: u64,
    place_at: impl Fn(u64) -> SnapshotDataOffset,
) -> Result<(), SnapshotDirError> {
    let Some(mut file) = open_sized(path, size)? else { return Ok(()) };
    let mut buffer = vec![0; usize::try_from(MAX_SLICE_BYTES.min(size)).unwrap_or(usize::MAX)];
    // The declared contents are zeros, so holes are skipped.
    for range in data_ranges(&file, size).map_err(io_error(path))? {
        let mut offset = range.start;
        file.seek(SeekFrom::Start(offset)).map_err(io_error(path))?;
        while offset < range.end {
            let step = (range.end - offset).min(buffer.len() as u64);
            // `step` is at most the length of the buffer, hence a usize.
            let piece = &mut buffer[..step as usize];
            file.read_exact(piece).map_err(io_error(path))?;
            // A piece of zeros is not written, so that it takes no space.
            if piece.iter().any(|byte| *byte != 0) {
                snapshot.write(&place_at(offset), piece).map_err(rejected)?;
            }
            offset += step;
        }
    }
    Ok(())
}

/// Opens a file that must have this length; `None` if the length is 0: some tools omit an empty file, others write one.
fn open_sized(path: &Path, expected: u64) -> Result<Option<File>, SnapshotDirError> {
    if expected == 0 {
        return Ok(None);
    }
    let file = File::open(path).map_err(io_error(path))?;
    let got = file.metadata().map_err(io_error(path))?.len();
    match got == expected {
        true => Ok(Some(file)),
        false => Err(SnapshotDirError::Length { path: path.to_owned(), expected, got }),
    }
}

fn chunk_path(dir: &Path, hash: &[u8]) -> PathBuf {
    dir.join(CHUNKS).join(format!("{}.bin", hex::encode(hash)))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SnapshotDirError + '_ {
    move |source| SnapshotDirError::Io { path: path.to_owned(), source }
}

fn rejected(error: UserError) -> SnapshotDirError {
    SnapshotDirError::Rejected(error.message)
}
