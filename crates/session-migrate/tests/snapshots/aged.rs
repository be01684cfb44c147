//! A canister with a history: thousands of calls by clients who finish, abort, resume and abandon uploads, records of
//! the first public release, and completed migrations. The history is created by the canister's own code, without an
//! IC.

use std::path::Path;

use candid::Principal;
use ic_stable_structures::memory_manager::MemoryManager;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_bytes::{ByteBuf, Bytes};
use sha2::{Digest, Sha256};
use upload_canister::api::{
    AdminConfig, AssetMetadata, AssetMetadataBase, AssetType, CapsuleAccess, HashAlgorithm, SmallFile,
};
use upload_canister::blob::{BlobRecord, CHUNK_SIZE, ChunkPrefix, ContentDigest, Place, Sha256Blob};
use upload_canister::config::Config;
use upload_canister::memories::{self, NewContent};
use upload_canister::meter::Unmetered;
use upload_canister::migrate::{self, MessageBudget, Migration, RunOutcome, controls};
use upload_canister::migrations::split_sessions::{LegacyStatus, LegacyUploadSession};
use upload_canister::migrations::{MoveToExtents, SplitSessions};
use upload_canister::session::{SessionId, Time};
use upload_canister::stable::layout::Layout;
use upload_canister::stable::{Memories, RawMemory, Table, memory_ids};
use upload_canister::storage::Storage;
use upload_canister::upload::path::ActivePath;
use upload_canister::upload::{RawRecord, UploadService};

const CHUNK: usize = CHUNK_SIZE as usize;
const START: Time = Time::from_nanos(1_760_000_000_000_000_000);
const LAYOUTS: &[Layout] = &[Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS];

/// An upload in flight, as its client sees it.
#[derive(Clone, Debug)]
struct OpenUpload {
    owner: Principal,
    id: u64,
    file: Vec<u8>,
    missing: Vec<u32>,
    hash: HashAlgorithm,
}

/// A canister without the IC around it.
pub struct NativeCanister {
    pub raw: RawMemory,
    pub storage: Storage,
    pub now: Time,
    path: ActivePath,
    rng: ChaCha8Rng,
    capsules: Vec<(Principal, String)>,
    /// Uploads that their clients believe to be open; some have expired.
    open: Vec<OpenUpload>,
    /// Memories by owner and id; some are deleted with their capsule.
    memories: Vec<(Principal, String)>,
    /// Number of calls so far; makes names unique.
    calls: u64,
}

pub fn person(n: u64) -> Principal {
    Principal::self_authenticating(n.to_be_bytes())
}

fn metadata(bytes: u64, name: &str) -> AssetMetadata {
    let base = AssetMetadataBase::new(name, "image/jpeg", AssetType::Original, bytes, START.as_nanos());
    AssetMetadata::image(base)
}

fn digest(hash: HashAlgorithm, bytes: &[u8]) -> ByteBuf {
    ByteBuf::from(match hash {
        HashAlgorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        HashAlgorithm::Blake3 => blake3::hash(bytes).as_bytes().to_vec(),
    })
}

/// Returns a canister in a layout. It has executed `calls` calls in layout 1, and half as many after each migration.
pub fn aged(layout: Layout, calls: u64, seed: u64) -> NativeCanister {
    let mut canister = NativeCanister::new(seed);
    canister.make_calls(calls);
    canister.add_foreign_records();
    if layout >= Layout::SPLIT {
        canister.split_sessions();
        canister.make_calls(calls / 2);
    }
    if layout >= Layout::EXTENTS {
        canister.move_to_extents();
        canister.make_calls(calls / 2);
    }
    if layout == Layout::LEGACY {
        // The legacy build stores no compat share, since it has only one path.
        canister.storage.settings.set(&Config::default());
    }
    assert_eq!(canister.storage.layout.get().unwrap(), Some(layout));
    canister
}

impl NativeCanister {
    /// Returns a new canister of the legacy build, whose buckets have one page.
    pub fn new(seed: u64) -> NativeCanister {
        let raw = RawMemory::default();
        drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
        let storage = Storage::create_in(raw.clone(), Layout::LEGACY).unwrap();
        let mut canister = NativeCanister {
            raw,
            storage,
            now: START,
            path: ActivePath::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            capsules: Vec::new(),
            open: Vec::new(),
            memories: Vec::new(),
            calls: 0,
        };
        canister.set_compat_share(100);
        for n in 1..=4 {
            canister.make_capsule(person(n));
        }
        canister
    }

    fn set_compat_share(&mut self, compat_share_percent: u8) {
        let config = AdminConfig { compat_share_percent, ..self.storage.config().unwrap() };
        self.storage.settings.set(&Config::checked(config).unwrap());
    }

    /// Returns a random number below `end`; 0 if `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.rng.next_u64() % end.max(1) as u64) as usize
    }

    fn service(&mut self, caller: Principal) -> UploadService<'_> {
        UploadService::new(&mut self.storage, &mut self.path, caller, self.now, &Unmetered)
    }

    fn make_capsule(&mut self, owner: Principal) {
        let capsule = self.storage.capsules.create(owner, None, self.now).unwrap();
        self.capsules.push((owner, capsule.id));
    }

    /// Makes `calls` calls, with time between them.
    pub fn make_calls(&mut self, calls: u64) {
        for _ in 0..calls {
            self.calls += 1;
            let passed = 1 + self.rng.next_u64() % 30;
            self.now = self.now.plus_seconds(passed);
            match self.below(100) {
                // The numbers are percentages of the calls.
                0..25 => self.begin(),
                25..60 => self.put(),
                60..74 => self.finish(),
                74..78 => self.abort(),
                78..84 => self.put_whole(),
                84..90 => self.delete_memory(),
                90..93 => self.create_note(),
                93..95 => self.share_capsule(),
                95 => {
                    let owner = person(1 + self.rng.next_u64() % 9);
                    self.make_capsule(owner);
                }
                96 => self.delete_capsule(),
                97 => self.now = self.now.plus_seconds(3 * 60 * 60),
                98 if self.below(4) == 0 => self.now = self.now.plus_seconds(26 * 60 * 60),
                _ => self.sweep(),
            }
        }
        self.sweep();
        self.leave_some_in_flight();
    }

    /// Begins uploads of three chunks each. Of one upload, no chunk arrives; of others, some; of the last one, all.
    fn leave_some_in_flight(&mut self) {
        for chunks in [&[][..], &[1], &[0, 2], &[0, 1, 2]] {
            self.calls += 1;
            let (owner, capsule) = self.capsules[chunks.len() % 4].clone();
            let file = vec![self.calls as u8; 2 * CHUNK + 5];
            let (idem, meta) = (format!("left-{}", self.calls), metadata(file.len() as u64, "left.jpg"));
            let id = self.service(owner).begin(capsule, meta, 3, idem, HashAlgorithm::Sha256).unwrap();
            for idx in chunks {
                let mut chunk = file.chunks(CHUNK).nth(*idx as usize).unwrap();
                self.service(owner).put_chunk(id, *idx, &mut chunk, None).unwrap();
            }
            let missing = (0..3).filter(|idx| !chunks.contains(idx)).collect();
            self.open.push(OpenUpload { owner, id, file, missing, hash: HashAlgorithm::Sha256 });
        }
    }

    /// Returns one of the capsules, at random, with its owner.
    fn any_capsule(&mut self) -> (Principal, String) {
        let index = self.below(self.capsules.len());
        self.capsules[index].clone()
    }

    fn any_file(&mut self) -> Vec<u8> {
        // A few files are large, and some have the same content as another client's.
        let content = self.below(40) as u8;
        let len = match self.below(60) {
            0 => 0,
            1 => 2 * CHUNK + 1_000,
            2 => CHUNK + 1,
            _ => 1 + self.below(2_000),
        };
        vec![content; len]
    }

    fn any_hash(&mut self) -> HashAlgorithm {
        if self.below(4) == 0 { HashAlgorithm::Blake3 } else { HashAlgorithm::Sha256 }
    }

    fn begin(&mut self) {
        let ((owner, capsule), file, hash) = (self.any_capsule(), self.any_file(), self.any_hash());
        let idem = format!("upload-{}", self.calls);
        let chunks = file.len().div_ceil(CHUNK) as u32;
        let meta = metadata(file.len() as u64, "holiday.jpg");
        let Ok(id) = self.service(owner).begin(capsule, meta, chunks, idem, hash) else { return };
        self.open.push(OpenUpload { owner, id, file, missing: (0..chunks).collect(), hash });
    }

    fn put(&mut self) {
        let Some(index) = (!self.open.is_empty()).then(|| self.below(self.open.len())) else { return };
        let OpenUpload { owner, id, file, missing, .. } = self.open[index].clone();
        if missing.is_empty() {
            return;
        }
        let idx = missing[self.below(missing.len())];
        let mut chunk = file.chunks(CHUNK).nth(idx as usize).unwrap();
        match self.service(owner).put_chunk(id, idx, &mut chunk, None) {
            Ok(()) => self.open[index].missing.retain(|missing| *missing != idx),
            // The upload has expired, or its capsule was deleted.
            Err(_) => drop(self.open.remove(index)),
        }
    }

    fn finish(&mut self) {
        let complete: Vec<usize> =
            (0..self.open.len()).filter(|index| self.open[*index].missing.is_empty()).collect();
        if complete.is_empty() {
            return;
        }
        let index = complete[self.below(complete.len())];
        let OpenUpload { owner, id, file, hash, .. } = self.open.remove(index);
        if let Ok(finished) = self.service(owner).finish(id, &digest(hash, &file), file.len() as u64) {
            self.memories.push((owner, finished.memory_id));
        }
    }

    fn abort(&mut self) {
        if !self.open.is_empty() {
            let index = self.below(self.open.len());
            let OpenUpload { owner, id, .. } = self.open.remove(index);
            let _ = self.service(owner).abort(id);
        }
    }

    fn put_whole(&mut self) {
        let ((owner, capsule_id), hash) = (self.any_capsule(), self.any_hash());
        let (content, len) = (self.below(40) as u8, self.below(500));
        let bytes = vec![content; len];
        let (idem, asset_metadata) = (format!("whole-{}", self.calls), metadata(len as u64, "thumb.jpg"));
        let digest = digest(hash, &bytes);
        let bytes = Bytes::new(&bytes);
        let file = SmallFile { capsule_id, asset_metadata, idem, bytes, digest, hash: Some(hash) };
        if let Ok(finished) = self.service(owner).put_whole(file) {
            self.memories.push((owner, finished.memory_id));
        }
    }

    fn create_note(&mut self) {
        let (owner, capsule) = self.any_capsule();
        let bytes = b"a note that is kept within its record".to_vec();
        let asset = metadata(bytes.len() as u64, "note.txt");
        let new = NewContent { inline: Some(ByteBuf::from(bytes)), blob: None, external: None };
        let idem = format!("note-{}", self.calls);
        if let Ok(memory) = memories::create(&mut self.storage, owner, self.now, capsule, new, asset, &idem) {
            self.memories.push((owner, memory));
        }
    }

    fn share_capsule(&mut self) {
        let (owner, capsule) = self.any_capsule();
        let reader = person(20 + self.rng.next_u64() % 5);
        let access = CapsuleAccess { owners: vec![owner], writers: vec![], readers: vec![reader] };
        self.storage.capsules.set_access(owner, &capsule, access).unwrap();
    }

    fn delete_memory(&mut self) {
        if !self.memories.is_empty() {
            let index = self.below(self.memories.len());
            let (owner, memory) = self.memories.remove(index);
            let _ = memories::delete(&mut self.storage, owner, &memory);
        }
    }

    fn delete_capsule(&mut self) {
        if self.capsules.len() > 4 {
            let index = self.below(self.capsules.len());
            let (owner, capsule) = self.capsules.remove(index);
            self.storage.capsules.delete(owner, &capsule).unwrap();
        }
    }

    /// Sweeps until nothing is left to release, as the timer does.
    pub fn sweep(&mut self) {
        while !self.service(person(0)).sweep().unwrap() {}
        while !memories::sweep(&mut self.storage, &Unmetered).unwrap() {}
    }

    /// Adds records of the first public release, which are in no index: one of every class that is not damage.
    pub fn add_foreign_records(&mut self) {
        type Change = fn(&mut LegacyUploadSession);
        const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
        let classes: [(Change, &[usize]); 16] = [
            (|_| {}, &[]),
            (|_| {}, &[1]),
            (|_| {}, &[0, 1]),
            (|legacy| legacy.status = LegacyStatus::Committed { completed_at: legacy.created_at }, &[0, 1]),
            (
                |legacy| {
                    legacy.status = LegacyStatus::Committed { completed_at: legacy.created_at };
                    legacy.blob_id = Some(9);
                },
                &[0],
            ),
            (
                |legacy| {
                    legacy.status = LegacyStatus::Committed { completed_at: 5 };
                    legacy.blob_id = None;
                },
                &[0, 1],
            ),
            (|legacy| legacy.blob_id = Some(u64::MAX), &[0]),
            (|legacy| legacy.idem.clear(), &[]),
            (|legacy| legacy.created_at /= 1_000_000_000, &[]),
            (|legacy| legacy.created_at /= 1_000_000, &[]),
            (|legacy| legacy.created_at = 7, &[]),
            (|legacy| legacy.created_at -= 3 * DAY, &[0]),
            (|legacy| legacy.chunk_size = 0, &[]),
            (|legacy| legacy.chunk_count += 1, &[]),
            (|legacy| (legacy.expected_chunks, legacy.chunk_count) = (3, 3), &[0]),
            (|_| {}, &[0, 1, 2]),
        ];
        for (change, chunks) in classes {
            self.add_foreign(change, chunks);
        }
        // A record with the idempotency key of another live session.
        let capsule = self.capsules[0].1.clone();
        let idem = self.storage.sessions.legacy.raw_after(None).find_map(|(id, raw)| {
            let legacy = LegacyUploadSession::decode(&raw).unwrap();
            let is_live = self.open.iter().any(|open| open.id == id);
            (is_live && legacy.capsule_id == capsule).then_some(legacy.idem)
        });
        let idem = idem.unwrap();
        self.add_foreign(|legacy| legacy.idem.clone_from(&idem), &[]);
    }

    /// Adds a legacy record that is in no index, like those of the first public release, and stores these chunks of it.
    fn add_foreign(&mut self, change: impl Fn(&mut LegacyUploadSession), chunks: &[usize]) {
        let id = self.storage.sessions.ids.issue().unwrap();
        let (owner, capsule_id) = self.capsules[0].clone();
        let bytes = CHUNK as u64 + 700;
        let mut legacy = LegacyUploadSession {
            session_id: id,
            capsule_id,
            caller: owner,
            created_at: self.now.as_nanos() - 1_000,
            expected_chunks: 2,
            status: LegacyStatus::Pending,
            chunk_count: 2,
            asset_metadata: metadata(bytes, "old.jpg").into(),
            provisional_memory_id: format!("mem_{id}"),
            chunk_size: CHUNK as u64,
            idem: format!("foreign-{id}"),
            blob_id: None,
        };
        let prefix = ChunkPrefix::of(&legacy.provisional_memory_id, SessionId(id));
        legacy.blob_id = Some(prefix.blob_id().0).filter(|_| chunks == [0, 1]);
        change(&mut legacy);
        for idx in chunks {
            // Chunk 2 is beyond the end of the file, which has two chunks.
            let len = [CHUNK, 700, 1][*idx];
            self.storage.blobs.write_chunk(prefix, *idx as u32, &vec![id as u8; len]);
        }
        let is_committed = matches!(legacy.status, LegacyStatus::Committed { .. });
        if is_committed && legacy.blob_id == Some(prefix.blob_id().0) && chunks == [0, 1] {
            let content = [vec![id as u8; CHUNK], vec![id as u8; 700]].concat();
            let record = BlobRecord {
                size: bytes,
                digest: ContentDigest::sha256(Sha256::digest(&content).into()),
                created_at: self.now,
                place: Place::Chunks(prefix),
            };
            let mut blobs: Table<u64, Sha256Blob> =
                Table::open(&Memories::init(self.raw.clone()), memory_ids::BLOB_META);
            blobs.insert(prefix.blob_id().0, &Sha256Blob::of(&record).unwrap());
        }
        self.storage.sessions.legacy.insert(id, &RawRecord(legacy.encode()));
        self.reopen();
    }

    /// Opens the tables again, as an upgrade does.
    pub fn reopen(&mut self) {
        self.storage = Storage::open_accepting(self.raw.clone(), LAYOUTS).unwrap();
        self.path = ActivePath::default();
    }

    /// Runs these migrations until they settle.
    fn run_migrations(&mut self, migrations: &[&dyn Migration<Storage>]) {
        for _ in 0..10_000 {
            let message = MessageBudget { now: self.now.into(), meter: &Unmetered, budget: 0 };
            if migrate::Engine::new(migrations).run(&mut self.storage, message).unwrap() == RunOutcome::Done {
                return;
            }
        }
        panic!("the migration does not end: {:?}", self.storage.migration.state());
    }

    pub fn split_sessions(&mut self) {
        self.set_compat_share(0);
        self.run_migrations(&[&SplitSessions]);
    }

    pub fn roll_back(&mut self) {
        controls::rollback(&mut self.storage, self.now).unwrap();
        self.run_migrations(&[&SplitSessions]);
    }

    /// Finalizes migration 1 and runs migration 2.
    pub fn move_to_extents(&mut self) {
        controls::verify(&mut self.storage, self.now).unwrap();
        self.run_migrations(&[&SplitSessions]);
        controls::finalize(&mut self.storage, self.now, true).unwrap();
        self.run_migrations(&[&SplitSessions, &MoveToExtents { layouts: LAYOUTS }]);
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.raw.borrow().clone()
    }
}

/// Writes a snapshot folder with a stable memory and a module.
pub fn write_folder(folder: &Path, stable: &[u8], taken_at: u64, module: Option<&[u8]>) {
    let module = module.unwrap_or_default();
    let metadata = serde_json::json!({
        "source": { "taken_from_canister": null },
        "taken_at_timestamp": taken_at,
        "wasm_module_size": module.len(),
        "globals": [],
        "wasm_memory_size": 0,
        "stable_memory_size": stable.len(),
        "wasm_chunk_store": [],
        "canister_version": 7,
        "certified_data": [],
        "global_timer": null,
        "on_low_wasm_memory_hook_status": null,
    });
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("metadata.json"), serde_json::to_vec_pretty(&metadata).unwrap()).unwrap();
    std::fs::write(folder.join("stable_memory.bin"), stable).unwrap();
    std::fs::write(folder.join("wasm_module.bin"), module).unwrap();
}
