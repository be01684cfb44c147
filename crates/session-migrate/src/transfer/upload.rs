//! Uploads a snapshot folder to a canister.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candid::Principal;
use futures_util::{StreamExt, stream};
use ic_management_canister_types::{
    ReadCanisterSnapshotMetadataResult, SnapshotDataOffset, SnapshotSource, UploadCanisterSnapshotDataArgs,
    UploadCanisterSnapshotMetadataArgs, UploadCanisterSnapshotMetadataResult,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lock::lock_folder;
use super::part::{Part, TransferProgress, slices};
use super::{Options, SAVE_EVERY, TransferError};
use crate::client::decode_reply;
use crate::network::{Management, Network, RequestOutcome, Retry, Target, Ticket};
use crate::progress::Progress;
use crate::snapshot::{
    CHUNK_STORE, METADATA, Manifest, SnapshotError, check_folder, read_exact_at, write_json,
};

/// An uploaded snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The id of the snapshot, hex.
    pub snapshot: String,
    /// The manifest of the folder, with which it was compared. `None`: the folder has none, so nothing was verified.
    pub manifest: Option<Manifest>,
}

/// The progress file of an unfinished upload, next to the folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ProgressFile {
    canister: String,
    /// SHA-256 of the metadata, hex.
    metadata: String,
    /// The request that announces the snapshot; stored before it is sent.
    announcement: Ticket,
    /// Ids of the snapshots before the announcement, hex; absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshots_before: Option<Vec<String>>,
    /// Id of the snapshot, hex, once it is known.
    snapshot: Option<String>,
    reached: TransferProgress,
}

/// Uploads a folder as a new snapshot of a canister, or resumes the upload. `replace` is the id of a snapshot that the
/// new one replaces. Until this function returns, the folder is locked, and with it the progress file.
///
/// # Errors
/// [`TransferError`].
pub async fn upload(
    network: &Network,
    canister: Principal,
    folder: &Path,
    replace: Option<&[u8]>,
    options: Options,
    progress: &Progress,
) -> Result<Uploaded, TransferError> {
    let (_, manifest) = check_folder(folder)?;
    let _lock = lock_folder(folder)?;
    if let Some(manifest) = &manifest {
        progress.phase("verifying the folder");
        manifest.verify(folder, &mut |bytes| progress.add_bytes(bytes))?;
    }
    let path = folder.join(METADATA);
    let text = fs::read(&path).map_err(SnapshotError::io("read", &path))?;
    let unreadable = |why: String| SnapshotError::Metadata { path: path.clone(), why };
    let metadata: ReadCanisterSnapshotMetadataResult =
        serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    let args = announcement_args(canister, replace, &metadata).map_err(unreadable)?;
    let target = Target::management("upload_canister_snapshot_metadata", canister, (&args,))?;
    let retry = Retry::new(options.retry_for, progress);
    progress.phase("announcing the snapshot");
    let management = network.management(canister);
    let mut store = ProgressStore::open(network, folder, &management, &text, &target, retry).await?;
    let snapshot = match &store.saved.snapshot {
        Some(snapshot) => {
            let snapshots = retry.again(|| management.snapshots()).await?;
            if !snapshots.iter().any(|existing| hex::encode(&existing.id) == *snapshot) {
                let (snapshot, progress_file) = (snapshot.clone(), store.path);
                return Err(TransferError::Gone { snapshot, progress_file });
            }
            snapshot.clone()
        }
        None => store.announce(network, target, &management, &metadata, retry).await?,
    };
    let id = hex::decode(&snapshot).unwrap_or_default();
    progress.phase("uploading");
    progress.set_total(Part::ALL.iter().map(|part| part.bytes(&metadata)).sum());
    let sender = Sender { network, canister, id, retry };
    let mut upload = Upload { sender, options, folder, store };
    for part in Part::ALL {
        upload.upload_part(part, part.bytes(&metadata)).await?;
    }
    upload.upload_chunk_store(&metadata).await?;
    let path = &upload.store.path;
    fs::remove_file(path).map_err(SnapshotError::io("remove", path))?;
    Ok(Uploaded { snapshot, manifest })
}

/// Returns the arguments of the call that announces the snapshot. The error names a value that the metadata lacks.
fn announcement_args(
    canister: Principal,
    replace: Option<&[u8]>,
    metadata: &ReadCanisterSnapshotMetadataResult,
) -> Result<UploadCanisterSnapshotMetadataArgs, String> {
    let globals = metadata.globals.iter().enumerate().map(|(index, global)| {
        global.clone().ok_or_else(|| format!("the value of global {index} is missing"))
    });
    Ok(UploadCanisterSnapshotMetadataArgs {
        canister_id: canister,
        replace_snapshot: replace.map(<[u8]>::to_vec),
        wasm_module_size: metadata.wasm_module_size,
        globals: globals.collect::<Result<_, _>>()?,
        wasm_memory_size: metadata.wasm_memory_size,
        stable_memory_size: metadata.stable_memory_size,
        certified_data: metadata.certified_data.clone(),
        global_timer: metadata.global_timer.clone(),
        on_low_wasm_memory_hook_status: metadata.on_low_wasm_memory_hook_status.clone(),
    })
}

/// The progress file of an upload, and its path.
struct ProgressStore {
    path: PathBuf,
    saved: ProgressFile,
}

impl ProgressStore {
    /// Reads the progress file of this upload, or creates a new one.
    async fn open(
        network: &Network,
        folder: &Path,
        management: &Management,
        metadata: &[u8],
        target: &Target,
        retry: Retry<'_>,
    ) -> Result<ProgressStore, TransferError> {
        let canister = management.canister();
        // The progress file is next to the folder, like the manifest.
        let manifest = Manifest::path(folder);
        let name = manifest.file_name().unwrap_or_default().to_string_lossy();
        let path = manifest.with_file_name(name.replace(".manifest.json", ".upload.json"));
        let metadata_sha256 = hex::encode(Sha256::digest(metadata));
        let saved = match fs::read(&path) {
            Ok(text) => {
                let saved: ProgressFile = serde_json::from_slice(&text).map_err(|error| {
                    SnapshotError::Metadata { path: path.clone(), why: error.to_string() }
                })?;
                if (&saved.canister, &saved.metadata) != (&canister.to_text(), &metadata_sha256) {
                    let expected = format!("with metadata {metadata_sha256} to {canister}");
                    let got = format!("with metadata {} to {}", saved.metadata, saved.canister);
                    return Err(TransferError::OtherTransfer { path, expected, got });
                }
                saved
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let existing = retry.again(|| management.snapshots()).await?;
                let before = existing.iter().map(|snapshot| hex::encode(&snapshot.id)).collect();
                ProgressFile {
                    canister: canister.to_text(),
                    metadata: metadata_sha256,
                    announcement: network.prepare(target.clone())?.ticket().clone(),
                    snapshots_before: Some(before),
                    snapshot: None,
                    reached: TransferProgress::default(),
                }
            }
            Err(error) => return Err(SnapshotError::io("read", &path)(error).into()),
        };
        let store = ProgressStore { path, saved };
        store.save()?;
        Ok(store)
    }

    fn save(&self) -> Result<(), SnapshotError> {
        write_json(&self.path, &self.saved).map_err(SnapshotError::io("write", &self.path))
    }

    /// Announces the snapshot and returns its id. A resumed upload sends the stored request again, which the network
    /// executes at most once.
    async fn announce(
        &mut self,
        network: &Network,
        target: Target,
        management: &Management,
        metadata: &ReadCanisterSnapshotMetadataResult,
        retry: Retry<'_>,
    ) -> Result<String, TransferError> {
        let id = loop {
            let call = network.prepare_again(target.clone(), &self.saved.announcement)?;
            match network.settle(&call, retry).await? {
                RequestOutcome::Replied { reply, .. } => {
                    let (announced,): (UploadCanisterSnapshotMetadataResult,) =
                        decode_reply(target.method, &reply)?;
                    break hex::encode(announced.snapshot_id);
                }
                RequestOutcome::Rejected(rejection) => {
                    // The next attempt must make a new request.
                    fs::remove_file(&self.path).map_err(SnapshotError::io("remove", &self.path))?;
                    return Err(TransferError::Refused(rejection.text));
                }
                RequestOutcome::Lost => {
                    // The network may have executed the request, and no longer store its outcome.
                    if let Some(id) = self.find_announced(management, metadata, retry).await? {
                        break id;
                    }
                    self.saved.announcement = network.prepare(target.clone())?.ticket().clone();
                    self.save()?;
                }
            }
        };
        self.saved.snapshot = Some(id.clone());
        self.save()?;
        Ok(id)
    }

    /// Returns the id of the snapshot that an announcement without an outcome has created. `None` if there is none, or
    /// if the progress file does not say which snapshots existed before.
    async fn find_announced(
        &self,
        management: &Management,
        metadata: &ReadCanisterSnapshotMetadataResult,
        retry: Retry<'_>,
    ) -> Result<Option<String>, TransferError> {
        let Some(before) = &self.saved.snapshots_before else { return Ok(None) };
        for snapshot in retry.again(|| management.snapshots()).await? {
            let (bytes, id) = (snapshot.id.as_slice(), hex::encode(&snapshot.id));
            if before.contains(&id) {
                continue;
            }
            let found = retry.again(|| management.snapshot_metadata(bytes)).await?;
            if is_upload_of(&found, metadata) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

/// Returns whether a snapshot was uploaded, not taken, and its parts have the sizes of this folder.
fn is_upload_of(
    found: &ReadCanisterSnapshotMetadataResult,
    folder: &ReadCanisterSnapshotMetadataResult,
) -> bool {
    let is_uploaded = matches!(found.source, Some(SnapshotSource::MetadataUpload(_)));
    is_uploaded && Part::ALL.iter().all(|part| part.bytes(found) == part.bytes(folder))
}

/// Sends the bytes of a snapshot that was announced.
struct Sender<'a> {
    network: &'a Network,
    canister: Principal,
    id: Vec<u8>,
    retry: Retry<'a>,
}

impl Sender<'_> {
    /// Sends a slice or a chunk, and retries transient errors. Every attempt reads the bytes from the file again, so
    /// that only the encoded request is in memory while the call waits for its answer.
    async fn send(
        &self,
        kind: SnapshotDataOffset,
        read: impl Fn() -> Result<Vec<u8>, SnapshotError>,
    ) -> Result<(), TransferError> {
        let sent = self.retry.again(|| async {
            let chunk = match read() {
                Ok(chunk) => chunk,
                // The outer result is `Ok`, so that an unreadable file is not retried.
                Err(error) => return Ok(Err(error)),
            };
            let (canister_id, snapshot_id) = (self.canister, self.id.clone());
            let args = UploadCanisterSnapshotDataArgs { canister_id, snapshot_id, kind: kind.clone(), chunk };
            let target = Target::management("upload_canister_snapshot_data", canister_id, (&args,))?;
            drop(args);
            self.network.send_large(target).await.map(|_| Ok(()))
        });
        Ok(sent.await??)
    }
}

struct Upload<'a> {
    sender: Sender<'a>,
    options: Options,
    folder: &'a Path,
    store: ProgressStore,
}

impl Upload<'_> {
    /// Uploads the remaining bytes of one of the large files.
    async fn upload_part(&mut self, part: Part, bytes: u64) -> Result<(), TransferError> {
        if bytes == 0 {
            return Ok(());
        }
        let Upload { sender, options, folder, store } = self;
        let path = folder.join(part.file());
        let from = *store.saved.reached.frontier_mut(part);
        let progress = sender.retry.progress;
        // What an earlier process has uploaded counts as progress.
        progress.add_bytes(from);
        let file = &File::open(&path).map_err(SnapshotError::io("read", &path))?;
        let (sender, path) = (&*sender, &path);
        let calls = slices(from, bytes).map(|(offset, len)| async move {
            let read = || {
                let mut chunk = vec![0; usize::try_from(len).unwrap_or_default()];
                read_exact_at(file, &mut chunk, offset).map_err(SnapshotError::io("read", path))?;
                Ok(chunk)
            };
            sender.send(part.data_offset(offset), read).await?;
            Ok::<_, TransferError>((offset, len))
        });
        let mut answers = stream::iter(calls).buffered(options.parallel);
        let mut last_save = Instant::now();
        while let Some(answer) = answers.next().await {
            let (offset, len) = answer?;
            *store.saved.reached.frontier_mut(part) = offset + len;
            progress.add_bytes(len);
            if last_save.elapsed() >= SAVE_EVERY {
                store.save()?;
                last_save = Instant::now();
            }
        }
        Ok(store.save()?)
    }

    /// Uploads the chunks of the wasm chunk store, all of them again after an interruption.
    async fn upload_chunk_store(
        &self,
        metadata: &ReadCanisterSnapshotMetadataResult,
    ) -> Result<(), TransferError> {
        for chunk in &metadata.wasm_chunk_store {
            let path = self.folder.join(CHUNK_STORE).join(format!("{}.bin", hex::encode(&chunk.hash)));
            let read = || fs::read(&path).map_err(SnapshotError::io("read", &path));
            self.sender.send(SnapshotDataOffset::WasmChunk, read).await?;
        }
        Ok(())
    }
}
