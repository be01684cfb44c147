//! Loads a snapshot into a canister on a PocketIC server.

use std::path::{Path, PathBuf};

use candid::Principal;
use pocket_ic::common::rest::RawCanisterSnapshotUpload;
use pocket_ic::{PocketIc, Time};
use pocket_ic_embedded::ExtensionError;
use serde_json::Value;

use super::{Form, METADATA, STABLE_MEMORY, Snapshot, SnapshotError};
use crate::build::Module;
use crate::client::NO_ARGUMENTS;
use crate::costs;
use crate::temporary;

/// Cycles that the canister gets, so that it does not run out of them.
const CYCLES: u128 = 1_000_000_000_000_000;

/// Why a snapshot could not be loaded into a canister.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The server has written metadata that are not valid JSON. ([`SnapshotError::Metadata`] is about the user's
    /// snapshot.)
    #[error("{path}: {source}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// The server refuses the snapshot.
    #[error("{path} cannot be loaded: {why}")]
    Refused {
        /// The snapshot.
        path: PathBuf,
        /// The server's message.
        why: String,
    },
}

/// Loads a snapshot into an empty canister, and sets the server's time to `as_of` unless the server's time is later. If
/// the snapshot has a module, the canister runs this module with the heap of the snapshot; otherwise it runs `legacy`
/// with an empty heap. The embedded server reads stable memory from the file on demand, so the snapshot must not change
/// as long as the canister exists.
///
/// # Errors
/// [`CopyError`].
pub fn load(
    pic: &PocketIc,
    canister: Principal,
    controller: Principal,
    snapshot: &Snapshot,
    as_of: u64,
    legacy: &Module,
) -> Result<(), CopyError> {
    let refused =
        |why: String| CopyError::Refused { path: snapshot.path.clone(), why: why.replace('\n', " ") };
    pic.add_cycles(canister, CYCLES);
    // The time of a server cannot be set back.
    let now = pic.get_time().as_nanos_since_unix_epoch().max(as_of);
    pic.set_time(Time::from_nanos_since_unix_epoch(now));
    let has_module = snapshot.metadata.as_ref().is_some_and(|metadata| metadata.wasm_module_size > 0);
    let load_folder = |folder: PathBuf| {
        let id = upload(pic, canister, controller, folder).map_err(refused)?;
        pic.load_canister_snapshot(canister, Some(controller), id)
            .map_err(|reject| refused(reject.reject_message))
    };
    if has_module {
        let folder =
            std::path::absolute(&snapshot.path).map_err(SnapshotError::io("read", &snapshot.path))?;
        return load_folder(folder);
    }
    let temporary = temporary::folder().map_err(SnapshotError::io("create", &std::env::temp_dir()))?;
    let folder = temporary.path().join("snapshot");
    let rejected = |reject: pocket_ic::RejectResponse| refused(reject.reject_message);
    pic.reinstall_canister(canister, legacy.gz.clone(), NO_ARGUMENTS.to_vec(), Some(controller))
        .map_err(rejected)?;
    let empty = pic.take_canister_snapshot(canister, Some(controller), None).map_err(rejected)?;
    pic.canister_snapshot_download(canister, controller, empty.id, folder.clone());
    set_stable_size(&folder, snapshot.stable.bytes())?;
    let stable = folder.join(STABLE_MEMORY);
    match snapshot.form {
        // The file already exists if the fresh canister has stable memory.
        Form::Raw => replace_by_symlink(&snapshot.path, &stable)?,
        Form::Folder | Form::Gzip => snapshot.stable.copy_to(&stable)?,
    }
    load_folder(folder)?;
    // The loaded heap is that of the fresh canister, and does not fit the stable memory; an upgrade creates a new one.
    pic.upgrade_canister(canister, legacy.gz.clone(), NO_ARGUMENTS.to_vec(), Some(controller))
        .map_err(rejected)
}

/// Uploads a snapshot folder to the server; the embedded server does not copy stable memory. Returns the snapshot's id.
fn upload(
    pic: &PocketIc,
    canister: Principal,
    controller: Principal,
    folder: PathBuf,
) -> Result<Vec<u8>, String> {
    let Ok(extensions) = costs::extensions(pic) else {
        // The client of the official server panics if the server refuses the snapshot.
        let upload = || pic.canister_snapshot_upload(canister, controller, None, folder);
        return std::panic::catch_unwind(std::panic::AssertUnwindSafe(upload))
            .map_err(|panic| crate::panic_text(&*panic));
    };
    let request = RawCanisterSnapshotUpload {
        sender: controller.into(),
        canister_id: canister.into(),
        replace_snapshot: None,
        snapshot_dir: folder,
    };
    match extensions.upload_snapshot_in_place(&request) {
        Ok(id) => Ok(id.snapshot_id),
        Err(ExtensionError::Refused { message, .. }) => Err(message),
        Err(error) => Err(error.to_string()),
    }
}

/// Creates a symbolic link to a file, in place of a file that may exist.
fn replace_by_symlink(file: &Path, link: &Path) -> Result<(), SnapshotError> {
    let file = std::path::absolute(file).map_err(SnapshotError::io("read", file))?;
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SnapshotError::io("remove", link)(error))
        }
        _ => std::os::unix::fs::symlink(file, link).map_err(SnapshotError::io("create", link)),
    }
}

/// Writes another size of stable memory into the metadata of a folder.
fn set_stable_size(folder: &Path, bytes: u64) -> Result<(), CopyError> {
    let path = folder.join(METADATA);
    let text = std::fs::read(&path).map_err(SnapshotError::io("read", &path))?;
    let damaged = |source| CopyError::Metadata { path: path.clone(), source };
    let mut fields: Value = serde_json::from_slice(&text).map_err(damaged)?;
    fields["stable_memory_size"] = bytes.into();
    let text = serde_json::to_vec(&fields).map_err(damaged)?;
    Ok(std::fs::write(&path, text).map_err(SnapshotError::io("write", &path))?)
}
