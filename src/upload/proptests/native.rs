//! The canister's logic without the IC, driven by the model.

mod faults;
mod invariants;
mod migration;

use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::api::{
    AdminConfig, AssetMetadata, AssetMetadataBase, AssetType, BlobRef, CapsuleAccess, Error, ExternalAsset,
    HashAlgorithm, StorageBackend,
};
use crate::blob::BlobId;
use crate::capsule::Access;
use crate::config::Config;
use crate::memories;
use crate::meter::Unmetered;
use crate::migrate;
use crate::session::{SessionId, Time};
use crate::stable::RawMemory;
use crate::stable::buckets::whole_memory;
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::Upload;
use crate::upload::path::UploadPath;
use crate::upload::path::compat::CompatPath;
use crate::upload::path::direct::DirectPath;
use crate::upload::tests::{Exhausted, TestCanister, filled, memory_of_small_buckets, metadata, person};
use faults::{Faults, Snapshot, number_ids};

use upload_model::{
    self as model, Control, Finished, Guest, Holdings, Limits, MemoryView, NewContent, NewMemory, Put,
    Refusal, Stage, Target, TargetResult, View,
};

/// Prefix of the names of assets whose metadata the model has chosen. The version follows.
const VERSION_PREFIX: &str = "version ";

/// Returns metadata whose name contains `version`, a number that the model chooses; not the version of a format.
fn metadata_of_version(bytes: u64, version: u8) -> AssetMetadata {
    let name = format!("{VERSION_PREFIX}{version}");
    AssetMetadata::document(AssetMetadataBase::new(name, "text/plain", AssetType::Original, bytes, 1))
}

/// The canister as a target of the model, with the build that is installed.
pub struct Native {
    canister: TestCanister,
    pub stage: Stage,
    limits: Limits,
    faults: Faults,
    snapshot: Option<Snapshot>,
}

impl Native {
    pub fn new(stage: Stage) -> Self {
        Self::over(memory_of_small_buckets(), stage, Limits::TIGHT)
    }

    /// Creates a canister in a memory that can fill up. Its buckets are so large that no table of records needs a
    /// second one when the memory is full.
    pub fn in_little_room(stage: Stage) -> Self {
        Self::over(whole_memory(4), stage, Limits::WIDE)
    }

    fn over(raw: RawMemory, stage: Stage, limits: Limits) -> Self {
        faults::reset_canister_version();
        // A fresh installation of each build begins in this layout.
        let layout = match stage {
            Stage::Legacy => Layout::LEGACY,
            Stage::Staged => Layout::SPLIT,
            Stage::Direct => Layout::EXTENTS,
        };
        let mut storage = Storage::create_in(raw.clone(), layout).unwrap();
        let config = AdminConfig {
            session_ttl_seconds: model::TTL_SECONDS,
            max_sessions_per_caller: limits.sessions,
            max_bytes_per_caller: limits.bytes_per_caller,
            max_bytes_per_capsule: limits.bytes_per_capsule,
            max_bytes: limits.bytes,
            max_memories_per_capsule: Some(model::MAX_MEMORIES),
            max_promised_percent: Some(model::MAX_PROMISED_PERCENT),
            max_session_age_seconds: Some(model::AGE_SECONDS),
            ..storage.config().unwrap()
        };
        storage.settings.set(&Config::checked(config).unwrap());
        let now = Time::from_nanos(1_700_000_000_000_000_000);
        let capsule = String::new();
        let (path, meter) = (Box::new(DirectPath), Box::new(Unmetered));
        let canister = TestCanister { raw, storage, path, now, meter, capsule, hash: HashAlgorithm::Sha256 };
        let mut native = Self { canister, stage, limits, faults: Faults::default(), snapshot: None };
        native.open_as(stage, 0);
        native
    }

    /// Returns a session as its owner sees it, even if it has expired; `None` if there is none. A legacy record that
    /// the build would convert is read without converting it.
    fn view(&mut self, id: SessionId) -> Option<View> {
        let TestCanister { storage, path, now, .. } = &mut self.canister;
        let waits = migrate::waits_for_compat_path(storage).unwrap();
        let is_unconverted = self.stage != Stage::Legacy && storage.sessions.legacy.contains(&id.0) && !waits;
        let upload = if is_unconverted {
            CompatPath::default().load(storage, id, None, *now).unwrap()
        } else {
            path.load(storage, id, None, *now).unwrap()
        };
        let limits = self.canister.storage.config().unwrap();
        upload.map(|upload| view_of(id, upload, &limits))
    }

    fn run_timers(&mut self) {
        if let Some(taken) = &self.faults.filled {
            filled::sweep(&mut self.canister, taken);
            number_ids(&mut self.canister.storage);
        }
        // A timer has no caller, so the sweep runs as a person who owns nothing.
        while !self.canister.as_person(model::PEOPLE).sweep().unwrap() {}
        while !memories::sweep(&mut self.canister.storage, &Unmetered).unwrap() {}
    }
}

fn view_of(id: SessionId, upload: Upload, limits: &AdminConfig) -> View {
    let expires_at = upload.expires_at(limits).as_nanos();
    let Upload { session, meta, .. } = upload;
    View {
        id: id.0,
        capsule: meta.capsule_id,
        idem: session.session_meta.idem,
        bytes_expected: session.bytes_expected,
        bytes_received: session.bytes_received,
        received: session.received_idxs.ranges().collect(),
        memory: meta.provisional_memory_id,
        last_seen: session.session_meta.last_seen.as_nanos(),
        expires_at,
    }
}

fn to_refusal(error: impl Into<Error>) -> Refusal {
    match error.into() {
        Error::Unauthorized { .. } => Refusal::Unauthorized,
        Error::NotFound { .. } => Refusal::NotFound,
        Error::InvalidArgument { .. } => Refusal::Invalid,
        Error::Conflict { .. } => Refusal::Conflict,
        Error::Incomplete { missing_chunks, .. } => Refusal::Incomplete(missing_chunks),
        Error::ChecksumMismatch { .. } => Refusal::Checksum,
        Error::ResourceExhausted { .. } => Refusal::Exhausted,
        Error::Hashing { .. } => Refusal::Hashing,
        Error::Internal(_) => Refusal::Internal,
    }
}

impl Target for Native {
    fn now(&self) -> u64 {
        self.canister.now.as_nanos()
    }

    fn pass(&mut self, seconds: u64) {
        self.canister.now = self.canister.now.plus_seconds(seconds);
        self.run_timers();
    }

    fn pass_without_timers(&mut self, seconds: u64) {
        self.canister.now = self.canister.now.plus_seconds(seconds);
    }

    fn create_capsule(&mut self, owner: u8) -> TargetResult<String> {
        faults::next_message();
        let TestCanister { storage, now, .. } = &mut self.canister;
        let id = storage.capsules.create(person(owner), None, *now).map_err(to_refusal)?.id;
        self.share(owner, owner, &id, Guest::Write)?;
        Ok(id)
    }

    fn delete_capsule(&mut self, who: u8, capsule: &str) -> TargetResult<()> {
        self.canister.storage.capsules.delete(person(who), capsule).map_err(to_refusal)
    }

    fn share(&mut self, who: u8, owner: u8, capsule: &str, guest: Guest) -> TargetResult<()> {
        let other = person((owner + 1) % model::PEOPLE);
        let guests_with = |right: Guest| if guest == right { vec![other] } else { vec![] };
        let access = CapsuleAccess {
            owners: vec![person(owner)],
            writers: guests_with(Guest::Write),
            readers: guests_with(Guest::Read),
        };
        self.canister.storage.capsules.set_access(person(who), capsule, access).map(drop).map_err(to_refusal)
    }

    fn begin(&mut self, who: u8, capsule: &str, bytes: u64, chunks: u32, idem: &str) -> TargetResult<u64> {
        faults::next_message();
        let mut service = self.canister.as_person(who);
        let hash = HashAlgorithm::Sha256;
        service.begin(capsule.to_owned(), metadata(bytes), chunks, idem.to_owned(), hash).map_err(to_refusal)
    }

    fn put(&mut self, who: u8, put: &Put) -> TargetResult<()> {
        let digest = put.digest.map(|right| {
            let digest: [u8; 32] = if right { Sha256::digest(&put.bytes).into() } else { [7; 32] };
            ByteBuf::from(digest)
        });
        self.canister
            .as_person(who)
            .put_chunk(put.session, put.idx, &mut put.bytes.as_slice(), digest)
            .map_err(to_refusal)
    }

    fn finish(
        &mut self,
        who: u8,
        session: u64,
        digest: &[u8],
        bytes: u64,
        tired: bool,
    ) -> TargetResult<Finished> {
        if tired {
            self.canister.meter = Box::new(Exhausted);
        }
        let finished = self.canister.as_person(who).finish(session, &ByteBuf::from(digest), bytes);
        self.canister.meter = Box::new(Unmetered);
        let finished = finished.map_err(to_refusal)?;
        Ok(Finished { memory: finished.memory_id, locator: finished.blob_id, size: finished.size })
    }

    fn abort(&mut self, who: u8, session: u64) -> TargetResult<()> {
        self.canister.as_person(who).abort(session).map_err(to_refusal)
    }

    fn status(&mut self, who: u8, session: u64) -> TargetResult<View> {
        self.canister.as_person(who).status(session).map_err(to_refusal)?;
        self.view(SessionId(session)).ok_or(Refusal::Internal)
    }

    fn create_memory(&mut self, who: u8, new: &NewMemory<'_>) -> TargetResult<String> {
        let NewMemory { capsule, idem, bytes, version, .. } = *new;
        let mut content = memories::NewContent { inline: None, blob: None, external: None };
        match &new.content {
            NewContent::Inline => content.inline = Some(ByteBuf::from(vec![0; bytes as usize])),
            NewContent::Blob(locator) => {
                content.blob =
                    Some(BlobRef { locator: locator.clone(), hash: None, len: bytes, blake3: None });
            }
            NewContent::Elsewhere => {
                let asset = ExternalAsset { backend: StorageBackend::S3, storage_key: None, url: None };
                content.external = Some((asset, bytes, None));
            }
            NewContent::Nothing => {}
        }
        faults::next_message();
        let TestCanister { storage, now, .. } = &mut self.canister;
        let asset = metadata_of_version(bytes, version);
        memories::create(storage, person(who), *now, capsule.to_owned(), content, asset, idem)
            .map_err(to_refusal)
    }

    fn update_memory(&mut self, who: u8, memory: &str, bytes: u64, version: u8) -> TargetResult<()> {
        let updated = memories::update(
            &mut self.canister.storage,
            person(who),
            memory,
            metadata_of_version(bytes, version),
        );
        updated.map(drop).map_err(to_refusal)
    }

    fn memory(&mut self, who: u8, memory: &str) -> TargetResult<MemoryView> {
        let memory = self.canister.storage.capsules.memory(person(who), memory).map_err(to_refusal)?;
        let base = memory.asset_metadata.base();
        assert_eq!(base.bytes, memory.blob.len);
        let version = base.name.strip_prefix(VERSION_PREFIX).map(|version| version.parse().unwrap());
        Ok(MemoryView {
            capsule: memory.capsule_id,
            locator: memory.blob.locator,
            bytes: base.bytes,
            version,
        })
    }

    fn delete_blob(&mut self, who: u8, locator: &str) -> TargetResult<()> {
        // As in the entry point, a blob that the caller may not read counts as missing.
        let storage = &mut self.canister.storage;
        let id = BlobId::from_locator(locator).ok_or(Refusal::NotFound)?;
        let capsule = storage.blobs.capsule_of(id).map_err(|_| Refusal::NotFound)?;
        storage.capsules.authorize(person(who), Access::Read, &capsule).map_err(|_| Refusal::NotFound)?;
        memories::delete_blob(storage, person(who), id).map_err(to_refusal)
    }

    fn delete_memory(&mut self, who: u8, memory: &str) -> TargetResult<()> {
        memories::delete(&mut self.canister.storage, person(who), memory).map_err(to_refusal)
    }

    fn read(&mut self, _: u8, locator: &str, idx: u32) -> Option<Vec<u8>> {
        self.canister.storage.blobs.read_chunk(BlobId::from_locator(locator)?, idx).ok()
    }

    fn sessions_of(&mut self, who: u8) -> Vec<View> {
        let now = self.now();
        let ids = self.canister.storage.index.sessions_of(person(who), None, usize::MAX);
        let views = ids.into_iter().filter_map(|id| self.view(id));
        views.filter(|view| view.expires_at > now).collect()
    }

    fn all_converted(&mut self) -> bool {
        self.stage == Stage::Legacy
            || self.legacy_sessions() == 0
            || migrate::waits_for_compat_path(&self.canister.storage).unwrap()
    }

    fn holdings(&mut self) -> Holdings {
        let stats = crate::metrics::stats(&self.canister.storage, 0).unwrap();
        Holdings {
            sessions: stats.sessions - self.unreadable_in_layout_1(),
            receipts: stats.receipts,
            payload: model::Payload {
                chunks: stats.chunks - self.canister.storage.blobs.released_chunks(),
                extent_bytes: stats.payload_bytes - self.abandoned_bytes(),
            },
            blobs: stats.blobs,
            memories: stats.memories,
            capsules: stats.capsules,
            bytes: stats.bytes_in_use,
        }
    }

    fn upgrade(&mut self, to: Stage, share: u8) {
        self.open_as(to, share);
    }

    fn migrate(&mut self, steps: u8) {
        if self.stage != Stage::Legacy {
            for _ in 0..steps {
                self.run_one_message(&Exhausted);
            }
        }
    }

    fn control(&mut self, control: Control) -> Option<TargetResult<()>> {
        self.apply_control(control)
    }

    fn phase(&mut self) -> model::Phase {
        self.migration_phase()
    }

    fn limits(&mut self) -> Limits {
        Limits { bytes: self.canister.storage.limits().unwrap().max_bytes, ..self.limits }
    }

    fn lacks_room(&mut self) -> bool {
        let room = &self.canister.storage.room;
        room.check_for_records().is_err() || room.check_for_chunk(model::CHUNK).is_err()
    }

    fn fill_memory(&mut self, left: u16) -> bool {
        self.occupy_memory(left)
    }

    fn add_first_release_session(&mut self, who: u8, capsule: &str, chunks: &[Vec<u8>]) -> Option<u64> {
        self.put_foreign(who, capsule, chunks)
    }

    fn add_unreadable_records(&mut self, records: u8) {
        self.put_unreadable_records(records);
    }

    fn damage_quarantined(&mut self, record: u8) -> bool {
        self.damage_quarantined_record(record)
    }

    fn take_snapshot(&mut self) -> bool {
        self.save_snapshot()
    }

    fn load_snapshot(&mut self) {
        self.restore_snapshot();
    }

    fn own_invariants(&mut self, emptied: bool) -> Result<(), String> {
        self.check_tables(emptied)
    }

    fn conclude_migration(&mut self) -> Result<(), String> {
        self.end_migration()
    }
}
