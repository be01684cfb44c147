//! Downloads a snapshot into a folder.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candid::Principal;
use futures_util::{StreamExt, stream};
use ic_management_canister_types::{
    ReadCanisterSnapshotMetadataResult, Snapshot, SnapshotDataKind, SnapshotMetadataGlobal,
    TakeCanisterSnapshotArgs,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lock::{LockedFolder, contains_only_lock};
use super::part::{Part, TransferProgress, slices};
use super::{Options, SAVE_EVERY, TransferError};
use crate::client::decode_reply;
use crate::network::{Management, Network, RequestOutcome, Retry, Target};
use crate::progress::Progress;
use crate::snapshot::{
    CHUNK_STORE, FileEntry, METADATA, Manifest, PROGRESS, SnapshotError, check_folder, sha256_of, write_json,
    write_sparse,
};

/// A downloaded snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The manifest of the folder.
    pub manifest: Manifest,
    /// Whether the folder was already complete, so that it was only verified.
    pub was_complete: bool,
}

/// The progress file of an unfinished download, in the format of `icp` except for `session_migrate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ProgressFile {
    #[serde(flatten)]
    reached: TransferProgress,
    /// `None` if `icp` began the download.
    session_migrate: Option<OwnFields>,
}

/// The fields of a progress file that `icp` does not have.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OwnFields {
    #[serde(flatten)]
    source: SnapshotSource,
    /// For each large file, by its name, the SHA-256 of the bytes before its frontier, hex; absent in files of earlier
    /// versions.
    #[serde(default)]
    downloaded_sha256: BTreeMap<String, String>,
}

/// The canister and the snapshot that are downloaded into a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotSource {
    canister: String,
    snapshot: String,
}

impl SnapshotSource {
    /// Checks that the canister is `canister` and, if a snapshot is requested, that the snapshot is the requested one.
    fn check_same(
        &self,
        canister: Principal,
        requested: Option<&str>,
        path: &Path,
    ) -> Result<(), TransferError> {
        let expected = requested.unwrap_or(&self.snapshot);
        if self.canister == canister.to_text() && self.snapshot == expected {
            return Ok(());
        }
        Err(TransferError::OtherTransfer {
            path: path.to_path_buf(),
            expected: format!("{expected} of {canister}"),
            got: format!("{} of {}", self.snapshot, self.canister),
        })
    }
}

/// What the folder contains before the download.
enum FolderState {
    /// No folder, an empty one, or only the lock of a download that has written nothing.
    Nothing,
    Unfinished(ProgressFile),
    Complete(Manifest),
}

/// Which snapshot to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotChoice {
    /// The canister's latest snapshot; but if the folder has a download, finished or not, the snapshot of that
    /// download.
    Latest,
    /// A new snapshot; but if the folder has an unfinished download, the snapshot of that download.
    New,
    /// The snapshot with this id, hex.
    Id(String),
}

/// Downloads a snapshot, or resumes its download. A folder that is complete is only verified.
///
/// # Errors
/// [`TransferError`].
pub async fn download(
    network: &Network,
    canister: Principal,
    choice: &SnapshotChoice,
    folder: &Path,
    options: Options,
    progress: &Progress,
) -> Result<Downloaded, TransferError> {
    let requested = match choice {
        SnapshotChoice::Id(id) => Some(id.as_str()),
        SnapshotChoice::Latest | SnapshotChoice::New => None,
    };
    // A complete folder is only read: it is not locked, and need not be writable.
    if let FolderState::Complete(manifest) = check_folder_state(folder, canister, requested)? {
        return verify_complete(manifest, choice, folder, progress);
    }
    let locked = LockedFolder::create(folder)?;
    // Before the folder was locked, another transfer may have changed it.
    let saved = match check_folder_state(folder, canister, requested)? {
        FolderState::Complete(manifest) => return verify_complete(manifest, choice, folder, progress),
        FolderState::Unfinished(saved) => Some(saved),
        FolderState::Nothing => None,
    };
    progress.phase("asking for the snapshot");
    let management = network.management(canister);
    let retry = Retry::new(options.retry_for, progress);
    let is_taken = saved.is_none() && *choice == SnapshotChoice::New;
    let saved = match saved {
        Some(saved) => saved,
        None => {
            let snapshot = match choice {
                SnapshotChoice::Id(id) => id.clone(),
                SnapshotChoice::Latest => latest_snapshot(&management, retry).await?,
                SnapshotChoice::New => take_snapshot(network, canister, retry).await?,
            };
            let source = SnapshotSource { canister: canister.to_text(), snapshot };
            let own_fields = OwnFields { source, downloaded_sha256: BTreeMap::new() };
            ProgressFile { reached: TransferProgress::default(), session_migrate: Some(own_fields) }
        }
    };
    let own_fields = saved.session_migrate.as_ref();
    let snapshot = own_fields.map(|fields| fields.source.snapshot.clone()).unwrap_or_default();
    let snapshot_id = hex::decode(&snapshot).unwrap_or_default();
    let download = Download { network, management, snapshot_id, retry, options, folder: locked, saved };
    match download.run(snapshot.clone(), is_taken).await {
        Ok(manifest) => Ok(Downloaded { manifest, was_complete: false }),
        Err(error) if is_taken => Err(TransferError::AfterTaking { snapshot, source: Box::new(error) }),
        Err(error) => Err(error),
    }
}

/// Verifies a folder that is already complete. It is an error if a new snapshot is requested.
fn verify_complete(
    manifest: Manifest,
    choice: &SnapshotChoice,
    folder: &Path,
    progress: &Progress,
) -> Result<Downloaded, TransferError> {
    if *choice == SnapshotChoice::New {
        let (path, snapshot) = (folder.to_path_buf(), manifest.snapshot);
        return Err(TransferError::AlreadyComplete { path, snapshot });
    }
    progress.phase("verifying the folder");
    manifest.verify(folder, &mut |bytes| progress.add_bytes(bytes))?;
    Ok(Downloaded { manifest, was_complete: true })
}

/// Returns what the folder contains, or an error if this download must not write into it. `requested` is the id of the
/// snapshot that a download already in the folder must have; `None` if it may have any.
fn check_folder_state(
    folder: &Path,
    canister: Principal,
    requested: Option<&str>,
) -> Result<FolderState, TransferError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FolderState::Nothing),
        entries => entries.map_err(SnapshotError::io("read", folder))?,
    };
    if contains_only_lock(entries) {
        return Ok(FolderState::Nothing);
    }
    let path = folder.join(PROGRESS);
    if let Ok(text) = fs::read(&path) {
        let saved: ProgressFile = serde_json::from_slice(&text)
            .map_err(|error| SnapshotError::Metadata { path: path.clone(), why: error.to_string() })?;
        let Some(own_fields) = &saved.session_migrate else {
            return Err(TransferError::BegunByIcp { path: folder.to_path_buf() });
        };
        own_fields.source.check_same(canister, requested, folder)?;
        return Ok(FolderState::Unfinished(saved));
    }
    if folder.join(METADATA).exists()
        && let (_, Some(manifest)) = check_folder(folder)?
    {
        let source =
            SnapshotSource { canister: manifest.canister.clone(), snapshot: manifest.snapshot.clone() };
        source.check_same(canister, requested, folder)?;
        return Ok(FolderState::Complete(manifest));
    }
    Err(TransferError::NotEmpty { path: folder.to_path_buf(), canister })
}

/// Returns the id of the snapshot that was taken last, hex.
async fn latest_snapshot(management: &Management, retry: Retry<'_>) -> Result<String, TransferError> {
    let snapshots = retry.again(|| management.snapshots()).await?;
    let latest = snapshots.into_iter().max_by_key(|snapshot| snapshot.taken_at_timestamp);
    latest
        .map(|snapshot| hex::encode(snapshot.id))
        .ok_or(TransferError::NoSnapshot { canister: management.canister() })
}

/// Takes a snapshot of the canister, which may be running; returns its id.
async fn take_snapshot(
    network: &Network,
    canister: Principal,
    retry: Retry<'_>,
) -> Result<String, TransferError> {
    let args = TakeCanisterSnapshotArgs {
        canister_id: canister,
        replace_snapshot: None,
        uninstall_code: None,
        sender_canister_version: None,
    };
    let target = Target::management("take_canister_snapshot", canister, (&args,))?;
    let call = network.prepare(target)?;
    match network.settle(&call, retry).await? {
        RequestOutcome::Replied { reply, .. } => {
            let (taken,): (Snapshot,) = decode_reply("take_canister_snapshot", &reply)?;
            Ok(hex::encode(taken.id))
        }
        RequestOutcome::Rejected(rejection) => Err(TransferError::Refused(rejection.text)),
        RequestOutcome::Lost => Err(TransferError::Unanswered),
    }
}

/// Returns the metadata in JSON, as `icp` writes it. JSON cannot represent numbers that are not finite, so they are an
/// error.
fn metadata_text(metadata: &ReadCanisterSnapshotMetadataResult) -> Result<String, TransferError> {
    for (index, global) in metadata.globals.iter().enumerate() {
        let value = match global {
            Some(SnapshotMetadataGlobal::F32(value)) => f64::from(*value),
            Some(SnapshotMetadataGlobal::F64(value)) => *value,
            _ => continue,
        };
        if !value.is_finite() {
            return Err(TransferError::NotFinite { index, value });
        }
    }
    serde_json::to_string_pretty(metadata).map_err(|error| {
        let (path, why) = (PathBuf::from(METADATA), error.to_string());
        SnapshotError::Metadata { path, why }.into()
    })
}

struct Download<'a> {
    network: &'a Network,
    management: Management,
    snapshot_id: Vec<u8>,
    retry: Retry<'a>,
    options: Options,
    folder: LockedFolder<'a>,
    saved: ProgressFile,
}

impl Download<'_> {
    /// Downloads the remaining bytes, and writes the manifest. `is_taken`: the snapshot was just taken for this
    /// download.
    async fn run(mut self, snapshot: String, is_taken: bool) -> Result<Manifest, TransferError> {
        if is_taken {
            // Before any other call, so that the next attempt takes no other snapshot.
            self.save_progress()?;
        }
        let (network, folder, progress) = (self.network, self.folder.path, self.retry.progress);
        let metadata = self.retry.again(|| self.management.snapshot_metadata(&self.snapshot_id)).await?;
        let text = metadata_text(&metadata)?;
        let mut manifest = Manifest::new(
            self.management.canister().to_text(),
            snapshot,
            network.url().to_owned(),
            hex::encode(network.root_key()),
        );
        manifest.taken_at = metadata.taken_at_timestamp;
        self.save_progress()?;
        self.write_metadata(&text, &mut manifest)?;
        let hashers = self.hash_downloaded(&metadata)?;
        progress.phase("downloading");
        progress.set_total(Part::ALL.iter().map(|part| part.bytes(&metadata)).sum());
        for (part, hasher) in Part::ALL.into_iter().zip(hashers) {
            let entry = self.download_part(part, part.bytes(&metadata), hasher).await?;
            if part == Part::Module && entry.bytes > 0 {
                manifest.module_hash = Some(entry.sha256.clone());
            }
            manifest.files.push(entry);
        }
        manifest.files.extend(self.download_chunk_store(&metadata).await?);
        manifest.write(folder)?;
        let path = folder.join(PROGRESS);
        fs::remove_file(&path).map_err(SnapshotError::io("remove", &path))?;
        Ok(manifest)
    }

    fn save_progress(&self) -> Result<(), SnapshotError> {
        let path = self.folder.path.join(PROGRESS);
        write_json(&path, &self.saved).map_err(SnapshotError::io("write", &path))
    }

    /// Writes the metadata. If the folder already has metadata, since the download is resumed, they must be the same.
    fn write_metadata(&self, text: &str, manifest: &mut Manifest) -> Result<(), TransferError> {
        let path = self.folder.path.join(METADATA);
        match fs::read_to_string(&path) {
            Ok(written) if written == text => {}
            Ok(_) => {
                return Err(TransferError::OtherTransfer {
                    path: self.folder.path.to_path_buf(),
                    expected: format!("{}, as downloaded from the network", manifest.snapshot),
                    got: "with other metadata".into(),
                });
            }
            Err(_) => fs::write(&path, text).map_err(SnapshotError::io("write", &path))?,
        }
        manifest.files.push(FileEntry {
            path: METADATA.into(),
            bytes: text.len() as u64,
            sha256: hex::encode(Sha256::digest(text)),
        });
        Ok(())
    }

    /// Hashes what an interrupted download has written to each of the large files. A file that no longer has these
    /// bytes will be downloaded from its beginning.
    fn hash_downloaded(
        &mut self,
        metadata: &ReadCanisterSnapshotMetadataResult,
    ) -> Result<Vec<Sha256>, SnapshotError> {
        let progress = self.retry.progress;
        let downloaded: u64 = Part::ALL.into_iter().map(|part| *self.saved.reached.frontier_mut(part)).sum();
        if downloaded > 0 {
            progress.phase("comparing what was downloaded before");
            progress.set_total(downloaded);
        }
        let mut hashers = Vec::new();
        for part in Part::ALL {
            let hasher = self.hash_part(part, part.bytes(metadata))?;
            if hasher.is_none() {
                let path = self.folder.path.join(part.file());
                let frontier = std::mem::take(self.saved.reached.frontier_mut(part));
                progress.line(&format!(
                    "{}: the first {frontier} bytes are not those that were downloaded before; downloading the \
                     file again",
                    path.display()
                ));
            }
            hashers.push(hasher.unwrap_or_default());
        }
        Ok(hashers)
    }

    /// Hashes the bytes before the frontier of a file of this length. `None` if the file does not exist, or the bytes
    /// are not those that were downloaded.
    fn hash_part(&mut self, part: Part, bytes: u64) -> Result<Option<Sha256>, SnapshotError> {
        let frontier = *self.saved.reached.frontier_mut(part);
        if frontier == 0 {
            return Ok(Some(Sha256::new()));
        }
        let progress = self.retry.progress;
        let path = self.folder.path.join(part.file());
        let hasher = match sha256_of(&path, frontier, &mut |read| progress.add_bytes(read)) {
            Err(SnapshotError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            hasher => hasher?,
        };
        let own_fields = self.saved.session_migrate.as_ref();
        let expected = own_fields.and_then(|fields| fields.downloaded_sha256.get(part.file()));
        let is_same = frontier <= bytes && expected == Some(&hex::encode(hasher.clone().finalize()));
        Ok(is_same.then_some(hasher))
    }

    /// Records that a file is downloaded up to an offset. `hasher` has hashed the bytes before it, which are on disk.
    fn save_frontier(&mut self, part: Part, offset: u64, hasher: &Sha256) -> Result<(), SnapshotError> {
        *self.saved.reached.frontier_mut(part) = offset;
        if let Some(own_fields) = &mut self.saved.session_migrate {
            let sha256 = hex::encode(hasher.clone().finalize());
            own_fields.downloaded_sha256.insert(part.file().to_owned(), sha256);
        }
        self.save_progress()
    }

    /// Downloads the remaining bytes of one of the large files, and hashes them as they arrive. `hasher` has hashed the
    /// bytes before the frontier.
    async fn download_part(
        &mut self,
        part: Part,
        bytes: u64,
        mut hasher: Sha256,
    ) -> Result<FileEntry, TransferError> {
        let path = self.folder.path.join(part.file());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(SnapshotError::io("create", &path))?;
        let progress = self.retry.progress;
        let from = *self.saved.reached.frontier_mut(part);
        // What may be in the file after the frontier becomes a hole, as `write_sparse` needs it.
        file.set_len(from).and_then(|()| file.set_len(bytes)).map_err(SnapshotError::io("write", &path))?;
        // What an earlier process has downloaded counts as progress.
        progress.add_bytes(from);
        let (management, snapshot_id, retry) =
            (self.management.clone(), self.snapshot_id.clone(), self.retry);
        let calls = slices(from, bytes).map(|(offset, len)| {
            let (management, snapshot_id) = (&management, &snapshot_id);
            async move {
                let kind = part.data_kind(offset, len);
                let slice = retry.again(|| management.snapshot_data(snapshot_id, kind.clone())).await?;
                Ok::<_, TransferError>((offset, len, slice))
            }
        });
        let mut answers = stream::iter(calls).buffered(self.options.parallel);
        let mut last_save = Instant::now();
        let mut frontier = from;
        while let Some(answer) = answers.next().await {
            let (offset, len, slice) = answer?;
            if slice.len() as u64 != len {
                return Err(TransferError::Answer {
                    what: format!("{} at offset {offset}", part.file()),
                    expected: format!("{len} bytes"),
                    got: format!("{} bytes", slice.len()),
                });
            }
            write_sparse(&mut file, offset, &slice).map_err(SnapshotError::io("write", &path))?;
            hasher.update(&slice);
            frontier = offset + len;
            progress.add_bytes(len);
            if last_save.elapsed() >= SAVE_EVERY {
                file.sync_data().map_err(SnapshotError::io("write", &path))?;
                self.save_frontier(part, frontier, &hasher)?;
                last_save = Instant::now();
            }
        }
        file.sync_data().map_err(SnapshotError::io("write", &path))?;
        self.save_frontier(part, frontier, &hasher)?;
        Ok(FileEntry { path: part.file().into(), bytes, sha256: hex::encode(hasher.finalize()) })
    }

    /// Downloads the canister's wasm chunk store. Each chunk fits into one reply.
    async fn download_chunk_store(
        &self,
        metadata: &ReadCanisterSnapshotMetadataResult,
    ) -> Result<Vec<FileEntry>, TransferError> {
        let store = self.folder.path.join(CHUNK_STORE);
        fs::create_dir_all(&store).map_err(SnapshotError::io("create", &store))?;
        let mut entries = Vec::new();
        for chunk in &metadata.wasm_chunk_store {
            let kind = SnapshotDataKind::WasmChunk { hash: chunk.hash.clone() };
            let bytes =
                self.retry.again(|| self.management.snapshot_data(&self.snapshot_id, kind.clone())).await?;
            let (expected, got) = (hex::encode(&chunk.hash), hex::encode(Sha256::digest(&bytes)));
            if got != expected {
                return Err(TransferError::Answer {
                    what: "a chunk of the wasm chunk store".into(),
                    expected,
                    got,
                });
            }
            let name = format!("{expected}.bin");
            let path = store.join(&name);
            fs::write(&path, &bytes).map_err(SnapshotError::io("write", &path))?;
            entries.push(FileEntry {
                path: format!("{CHUNK_STORE}/{name}"),
                bytes: bytes.len() as u64,
                sha256: got,
            });
        }
        Ok(entries)
    }
}
