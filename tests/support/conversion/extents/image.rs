//! A canister in layout 2 whose first migration is finalized. Its clients have uploaded to the legacy and to the staged
//! build.
//!
//! The canister is created once in a test run, by the real builds, and then copied. A few records are damaged directly
//! in its stable memory.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ic_stable_structures::memory_manager::MemoryManager;
use session_migrate::build::Build;
use upload_canister::api::HashAlgorithm::{self, Blake3, Sha256};
use upload_canister::api::{MigrationPhase, MigrationStatus, Result};
use upload_canister::blob::{BlobId, Place};
use upload_canister::migrate::MigrationState;
use upload_canister::migrate::open_storage;
use upload_canister::stable::RawMemory;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;
use upload_canister::upload::RawRecord;

use super::SECOND;
use crate::support::conversion::settle_migration;
use crate::support::upload::{CHUNK, digest, file};
use crate::support::{InstalledCanister, controller, owner};

/// A file that the owner has uploaded, completely or in part.
pub struct UploadedFile {
    pub content: Vec<u8>,
    pub hash: HashAlgorithm,
    pub session: u64,
    /// The blob, if the upload is finished.
    pub blob: Option<BlobId>,
}

impl UploadedFile {
    /// Returns the text by which calls name the blob.
    pub fn locator(&self) -> String {
        self.blob.expect("the upload is not finished").to_string()
    }
}

/// The stable memory of the canister, and the files of its client by name.
pub struct Image {
    pub bytes: Vec<u8>,
    files: BTreeMap<&'static str, UploadedFile>,
}

impl Image {
    pub fn file(&self, name: &str) -> &UploadedFile {
        &self.files[name]
    }

    /// Iterates over committed blobs whose bytes are unchanged since they were committed, by name.
    pub fn sound_blobs(&self) -> impl Iterator<Item = (&str, &UploadedFile)> {
        let blobs =
            self.files.iter().filter(|(name, uploaded)| uploaded.blob.is_some() && !DAMAGED.contains(name));
        blobs.map(|(name, uploaded)| (*name, uploaded))
    }

    /// Iterates over sessions in flight that are not quarantined, by name.
    pub fn sessions(&self) -> impl Iterator<Item = (&str, &UploadedFile)> {
        let sessions =
            self.files.iter().filter(|(name, uploaded)| uploaded.blob.is_none() && **name != UNDECODABLE);
        sessions.map(|(name, uploaded)| (*name, uploaded))
    }
}

/// Blobs that migration 2 quarantines: one has a chunk that is too short, the other has lost its chunk.
pub const DAMAGED: &[&str] = &["torn", "lost"];

/// The session that migration 1 has quarantined.
const UNDECODABLE: &str = "undecodable";

/// An upload: its name, the length of the file, the hash algorithm, the chunks in the order of their arrival, and
/// whether it is finished.
type Upload = (&'static str, usize, HashAlgorithm, &'static [u32], bool);

/// The numbers of the first 36 chunks, 0 to 35.
const FIRST_36: [u32; 36] = {
    let mut numbers = [0; 36];
    let mut n = 0;
    while n < numbers.len() {
        numbers[n] = n as u32;
        n += 1;
    }
    numbers
};

/// What clients have uploaded to the legacy build.
#[rustfmt::skip]
const IN_LAYOUT_1: &[Upload] = &[
    // Longer than what `post_upgrade` can move.
    ("long session",    5 * CHUNK + 3, Sha256, &[5, 0, 1, 4, 2],                       false),
    (UNDECODABLE,       10,            Sha256, &[0],                                   false),
    // Many times as long as what `post_upgrade` can move.
    ("long",            36 * CHUNK,    Sha256, &FIRST_36,                              true),
    ("short",           7,             Sha256, &[0],                                   true),
    ("two, by BLAKE3",  CHUNK + 5,     Blake3, &[1, 0],                                true),
    ("torn",            CHUNK + 9,     Sha256, &[0, 1],                                true),
    ("lost",            100,           Blake3, &[0],                                   true),
];

/// What clients have uploaded to the staged build.
#[rustfmt::skip]
const IN_LAYOUT_2: &[Upload] = &[
    ("empty",                0,             Sha256, &[],        true),
    ("one, by BLAKE3",       CHUNK,         Blake3, &[0],       true),
    ("complete",             2 * CHUNK + 1, Sha256, &[2, 0, 1], false),
    ("complete, by BLAKE3",  CHUNK + 1,     Blake3, &[1, 0],    false),
    ("begun, by BLAKE3",     2 * CHUNK,     Blake3, &[1],       false),
    ("nothing has come",     10,            Sha256, &[],        false),
];

/// Returns the canister before the migration, created at most once in a test run.
pub fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(make_image)
}

fn make_image() -> Image {
    let mut canister = InstalledCanister::empty(Build::Legacy);
    // The buckets have 64 KiB instead of 8 MiB, so that less is copied for each of hundreds of canisters.
    let raw = RawMemory::default();
    drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
    drop(Storage::create_in(raw.clone(), Layout::LEGACY).unwrap());
    canister.set_stable_memory(&raw);
    canister.try_upgrade(Build::Legacy).unwrap();

    let capsule = canister.create_capsule();
    let mut files: BTreeMap<_, _> =
        IN_LAYOUT_1.iter().map(|upload| (upload.0, send_upload(&canister, &capsule, upload))).collect();
    change_storage(&canister, |storage| {
        storage.sessions.legacy.insert(files[UNDECODABLE].session, &RawRecord(b"rubbish".to_vec()));
    });
    canister.try_upgrade(Build::Staged).unwrap();
    canister.build = Build::Staged;
    let state = settle_migration(&canister);
    assert_eq!((state.phase, state.quarantined), (MigrationPhase::Converted, 1), "{}", state.note);
    files.extend(IN_LAYOUT_2.iter().map(|upload| (upload.0, send_upload(&canister, &capsule, upload))));
    let finalized: Result<MigrationStatus> =
        canister.update(controller(), "migration_finalize", (Some(true),));
    finalized.unwrap();

    let raw = change_storage(&canister, |storage| {
        let prefix = |storage: &Storage, name| {
            let blob = storage.blobs.blob(files[name].blob.unwrap()).unwrap();
            let Place::Chunks(prefix) = blob.place else { panic!("{name} is in {:?}", blob.place) };
            prefix
        };
        let (torn, lost) = (prefix(storage, "torn"), prefix(storage, "lost"));
        storage.blobs.write_chunk(torn, 1, &[7; 8]);
        storage.blobs.release(lost);
        let mut state = MigrationState::default();
        // Two units, since a message that is limited to one would only change the phase.
        state.pace.limit = 2;
        storage.migration.set_state(SECOND, &state);
    });
    let bytes = raw.borrow().clone();
    Image { bytes, files }
}

/// Begins an upload, sends its chunks, and finishes it if it is marked as finished.
fn send_upload(canister: &InstalledCanister, capsule: &str, upload: &Upload) -> UploadedFile {
    let (name, len, hash, chunks, finished) = *upload;
    let content = file(len, len as u64);
    let session = canister.begin_hashed(owner(), capsule, &content, name, hash).unwrap();
    for idx in chunks {
        canister.put(owner(), session, *idx, &content).unwrap();
    }
    let blob = finished.then(|| {
        let result = canister
            .finish_with_digest(owner(), session, &digest(hash, &content), content.len() as u64)
            .unwrap();
        BlobId::from_locator(&result.blob_id).unwrap()
    });
    UploadedFile { content, hash, session, blob }
}

/// Changes the canister's stable memory without a call, and returns a copy of the result.
fn change_storage(canister: &InstalledCanister, change: impl FnOnce(&mut Storage)) -> RawMemory {
    let raw = canister.stable_memory();
    change(&mut open_storage(raw.clone()).unwrap());
    canister.set_stable_memory(&raw);
    raw
}
