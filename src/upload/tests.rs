//! Tests of the upload contract, rule by rule: both paths must give the same answers.
//!
//! This file has what many tests of this crate share: [`TestCanister`], a canister without the IC around it, and its
//! clients. Each build runs the tests on its own paths; only the staged build tests the rules that need both paths.

#[cfg(all(feature = "compat", feature = "direct"))]
mod accounts;
mod begin;
mod content;
mod expiry;
#[cfg(all(feature = "compat", feature = "direct"))]
pub mod filled;
mod finish;
#[cfg(all(feature = "compat", feature = "direct"))]
mod foreign;
#[cfg(feature = "direct")]
mod full;
mod replace;
mod room;
mod session;
mod strangers;
mod whole;

use candid::Principal;
use ic_stable_structures::memory_manager::MemoryManager;
use serde_bytes::{ByteBuf, Bytes};
use sha2::{Digest, Sha256};

use super::chunk_hashing::digest_of_bytes;
use super::limits::{
    CATCH_UP_INSTRUCTIONS, DEFAULT_MAX_SESSIONS_PER_CALLER, DEFAULT_SESSION_TTL_SECONDS, SWEEP_BATCH,
    SWEEP_INSTRUCTIONS,
};
use super::path::UploadPath;
#[cfg(feature = "compat")]
use super::path::compat::CompatPath;
#[cfg(feature = "direct")]
use super::path::direct::DirectPath;
use super::*;
use crate::api::{
    AdminConfig, AssetMetadata, AssetMetadataBase, AssetType, CapsuleAccess, Error, HashAlgorithm, Result,
    SessionPath, SmallFile, UploadFinishResult,
};
use crate::blob::CHUNK_SIZE;
use crate::config::Config;
use crate::meter::{Meter, Unmetered};
use crate::session::Time;
use crate::stable::RawMemory;
use crate::stable::layout::Layout;
use crate::storage::Storage;

const CHUNK: usize = CHUNK_SIZE as usize;

/// Every layout that at least one build accepts.
pub const ALL_LAYOUTS: &[Layout] = &[Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS];

/// The meter of a message that has exceeded every instruction budget from the start.
pub struct Exhausted;

impl Meter for Exhausted {
    fn used(&self) -> u64 {
        u64::MAX
    }
}

/// The meter of a message that has used exactly this many instructions.
pub struct Used(pub u64);

impl Meter for Used {
    fn used(&self) -> u64 {
        self.0
    }
}

const START: Time = Time::from_nanos(1_700_000_000_000_000_000);

/// A canister without the IC around it: its memory, what it has opened, and what the next message gets from the IC.
pub struct TestCanister {
    pub raw: RawMemory,
    pub storage: Storage,
    pub path: Box<dyn UploadPath>,
    pub now: Time,
    pub meter: Box<dyn Meter>,
    /// The capsule that uploads go to.
    pub capsule: String,
    /// The hash function with which uploads are verified.
    pub hash: HashAlgorithm,
}

pub fn person(n: u8) -> Principal {
    Principal::self_authenticating([n])
}

pub const OWNER: u8 = 1;

/// Returns a memory in buckets of 64 KiB instead of 8 MiB, so that an empty canister takes 3 MB of the process instead
/// of 400 MB. The bucket size is stored in the memory, which it limits to 2 GiB.
pub fn memory_of_small_buckets() -> RawMemory {
    let raw = RawMemory::default();
    drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
    raw
}

impl TestCanister {
    /// Creates a canister in layout 2, in which either path may store sessions.
    fn new(path: Box<dyn UploadPath>, compat_share_percent: u8) -> Self {
        Self::in_layout(Layout::SPLIT, path, compat_share_percent)
    }

    fn in_layout(layout: Layout, path: Box<dyn UploadPath>, compat_share_percent: u8) -> Self {
        Self::with_memory(memory_of_small_buckets(), layout, path, compat_share_percent)
    }

    fn with_memory(
        raw: RawMemory,
        layout: Layout,
        path: Box<dyn UploadPath>,
        compat_share_percent: u8,
    ) -> Self {
        let mut storage = Storage::create_in(raw.clone(), layout).unwrap();
        set_share(&mut storage, compat_share_percent);
        let capsule = storage.capsules.create(person(OWNER), None, START).unwrap().id;
        let hash = HashAlgorithm::Sha256;
        Self { raw, storage, path, now: START, meter: Box::new(Unmetered), capsule, hash }
    }

    /// Creates a canister on the compat path. Its layout is 2, not 1, so that tests can switch to the direct path.
    #[cfg(feature = "compat")]
    pub fn compat() -> Self {
        Self::new(Box::<CompatPath>::default(), 100)
    }

    /// Creates a canister of the staged build, in layout 2, with a compat share of 0.
    #[cfg(all(feature = "compat", feature = "direct"))]
    pub fn staged() -> Self {
        Self::new(Box::<super::path::ActivePath>::default(), 0)
    }

    /// Creates a canister on the direct path, in layout 2, with payload in the chunk map. [`Self::extents`] has layout
    /// 3.
    #[cfg(feature = "direct")]
    pub fn direct() -> Self {
        Self::new(Box::<DirectPath>::default(), 0)
    }

    /// Creates a canister as a fresh installation of the direct build does: in layout 3, with payload in extents.
    #[cfg(feature = "direct")]
    pub fn extents() -> Self {
        Self::in_layout(Layout::EXTENTS, Box::<DirectPath>::default(), 0)
    }

    pub fn with_blake3(self) -> Self {
        Self { hash: HashAlgorithm::Blake3, ..self }
    }

    #[cfg(feature = "direct")]
    pub fn with_sha256(self) -> Self {
        Self { hash: HashAlgorithm::Sha256, ..self }
    }

    /// Returns the digest by the hash function with which this canister verifies uploads.
    pub fn digest(&self, bytes: &[u8]) -> ByteBuf {
        ByteBuf::from(digest_of_bytes(self.hash, bytes))
    }

    /// Returns the service for a message of this person; [`Self::service`] is for the owner of the capsule.
    pub fn as_person(&mut self, n: u8) -> UploadService<'_> {
        let meter = self.meter.as_ref();
        UploadService::new(&mut self.storage, self.path.as_mut(), person(n), self.now, meter)
    }

    pub fn service(&mut self) -> UploadService<'_> {
        self.as_person(OWNER)
    }

    pub fn begin(&mut self, bytes: usize, idem: &str) -> u64 {
        self.try_begin(bytes, idem).unwrap()
    }

    pub fn try_begin(&mut self, bytes: usize, idem: &str) -> Result<u64> {
        let (capsule, hash) = (self.capsule.clone(), self.hash);
        let chunks = bytes.div_ceil(CHUNK) as u32;
        self.service().begin(capsule, metadata(bytes as u64), chunks, idem.into(), hash)
    }

    /// Puts the chunk `idx` of a file.
    pub fn put(&mut self, id: u64, file: &[u8], idx: usize) -> Result<()> {
        let mut chunk = file.chunks(CHUNK).nth(idx).unwrap();
        self.service().put_chunk(id, idx as u32, &mut chunk, None)
    }

    /// Begins an upload of a file and puts all of its chunks, but does not finish it.
    pub fn send(&mut self, file: &[u8], idem: &str) -> u64 {
        let id = self.begin(file.len(), idem);
        (0..file.len().div_ceil(CHUNK)).for_each(|idx| self.put(id, file, idx).unwrap());
        id
    }

    pub fn finish(&mut self, id: u64, file: &[u8]) -> Result<UploadFinishResult> {
        let digest = self.digest(file);
        self.service().finish(id, &digest, file.len() as u64)
    }

    /// Opens the storage again, with this path, whichever layout is stored. As in an upgrade, everything on the heap is
    /// lost.
    pub fn restart(&mut self, path: Box<dyn UploadPath>) {
        self.storage = Storage::open_accepting(self.raw.clone(), ALL_LAYOUTS).unwrap();
        self.path = path;
    }

    /// Returns the path on which a session begins now, provided that the share is 0 % or 100 %.
    fn session_path(&self) -> SessionPath {
        self.path.for_new(&self.storage, IdemKey([0; 32])).unwrap()
    }

    /// Upgrades to the same build, or in the staged build to that of the path on which sessions begin now.
    pub fn upgrade(&mut self) {
        let path: Box<dyn UploadPath> = match self.session_path() {
            #[cfg(feature = "compat")]
            SessionPath::Compat => Box::<CompatPath>::default(),
            #[cfg(feature = "direct")]
            SessionPath::Direct => Box::<DirectPath>::default(),
            #[cfg(not(all(feature = "compat", feature = "direct")))]
            other => panic!("{other:?} is not in this build"),
        };
        self.restart(path);
    }

    /// Returns five counts: legacy records plus their activities, split records (two for each session), payload states,
    /// chunks in the chunk map, and bytes allocated in extents.
    pub fn live_counts(&self) -> [u64; 5] {
        let Storage { sessions, payloads, blobs, .. } = &self.storage;
        [
            sessions.legacy.len() + sessions.legacy.activity_count(),
            sessions.sessions.len() + sessions.metas.len(),
            payloads.len(),
            blobs.chunk_total(),
            blobs.extents().taken_bytes().unwrap(),
        ]
    }
}

impl TestCanister {
    /// Returns the digest in a result of finish; `None` if it is not by the hash function of this canister, or is not
    /// the only one.
    fn checksum(&self, finished: &UploadFinishResult) -> Option<ByteBuf> {
        let UploadFinishResult { checksum_sha256, checksum_blake3, .. } = finished.clone();
        match self.hash {
            HashAlgorithm::Sha256 => checksum_sha256.filter(|_| checksum_blake3.is_none()),
            HashAlgorithm::Blake3 => checksum_blake3.filter(|_| checksum_sha256.is_none()),
        }
    }

    /// Returns what a committed file of this many bytes takes: chunks in the chunk map, and bytes in extents.
    fn committed_size(&self, bytes: usize) -> [u64; 2] {
        if self.storage.layout.get().unwrap() == Some(Layout::EXTENTS) {
            // Extents are allocated in units of 64 bytes.
            [0, bytes.next_multiple_of(64) as u64]
        } else {
            [bytes.div_ceil(CHUNK) as u64, 0]
        }
    }
}

/// Sets the share of new sessions on the compat path, as a controller does.
pub fn set_share(storage: &mut Storage, compat_share_percent: u8) {
    let config = AdminConfig { compat_share_percent, ..storage.config().unwrap() };
    storage.settings.set(&Config::checked(config).unwrap());
}

pub fn metadata(bytes: u64) -> AssetMetadata {
    let base = AssetMetadataBase::new("a.jpg", "image/jpeg", AssetType::Original, bytes, 1);
    AssetMetadata::image(base)
}

pub fn sha256(bytes: &[u8]) -> ByteBuf {
    ByteBuf::from(Sha256::digest(bytes).to_vec())
}

/// Returns a file of which no two chunks are the same, if it has at most 256.
pub fn file(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i / CHUNK) as u8).collect()
}

/// Creates a fresh canister for each way in which the build under test stores sessions and payload.
pub fn canisters() -> Vec<TestCanister> {
    vec![
        #[cfg(feature = "compat")]
        TestCanister::compat(),
        #[cfg(feature = "direct")]
        TestCanister::direct(),
        #[cfg(feature = "direct")]
        TestCanister::extents(),
    ]
}

/// Runs the test of a rule on each of [`canisters`], with each hash function.
pub fn on_every_path(rule: impl Fn(TestCanister)) {
    canisters().into_iter().for_each(&rule);
    canisters().into_iter().map(TestCanister::with_blake3).for_each(&rule);
}

/// Reads a whole blob, without checking access.
fn read_back(canister: &TestCanister, locator: &str) -> Vec<u8> {
    let id = crate::blob::BlobId::from_locator(locator).unwrap();
    let chunks = canister.storage.blobs.blob(id).unwrap().chunk_count();
    (0..chunks).flat_map(|idx| canister.storage.blobs.read_chunk(id, idx).unwrap()).collect()
}

fn small_file<'a>(canister: &TestCanister, bytes: &'a [u8], idem: &str) -> SmallFile<'a> {
    SmallFile {
        capsule_id: canister.capsule.clone(),
        asset_metadata: metadata(bytes.len() as u64),
        idem: idem.into(),
        bytes: Bytes::new(bytes),
        digest: canister.digest(bytes),
        hash: Some(canister.hash),
    }
}
