//! The canister's logic without the IC around it, as the model drives it.

use ic_stable_structures::memory_manager::MemoryManager;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::api::{
    AdminConfig, AssetMetadata, AssetMetadataBase, AssetType, BlobRef, CapsuleAccess, Error, ExternalAsset,
    HashAlgorithm, StorageBackend,
};
use crate::blob::{BlobId, Place};
use crate::capsule::Access;
use crate::config::Config;
use crate::memories;
use crate::meter::{Meter, Unmetered};
use crate::migrate::{self, Message, Phase, controls};
use crate::migrations::{MoveToExtents, SplitSessions};
use crate::session::{SessionId, Time};
use crate::stable::RawMemory;
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::PayloadState;
use crate::upload::path::compat::CompatPath;
use crate::upload::path::direct::DirectPath;
use crate::upload::path::{ActivePath, Upload, UploadPath};
use crate::upload::tests::{ALL_LAYOUTS, Exhausted, World, metadata, person, set_share};

use super::model::{
    self as model, Answer, Control, Finished, Guest, Holdings, MemoryView, NewContent, NewMemory, Put,
    Refusal, Stage, Target, View,
};

/// What the name of an asset begins with whose metadata the model has chosen.
const VERSION: &str = "version ";

fn named(bytes: u64, version: u8) -> AssetMetadata {
    let name = format!("{VERSION}{version}");
    AssetMetadata::document(AssetMetadataBase::new(name, "text/plain", AssetType::Original, bytes, 1))
}

/// The canister's logic without the IC around it.
pub struct Native {
    world: World,
    pub stage: Stage,
}

impl Native {
    pub fn new(stage: Stage) -> Self {
        let raw = RawMemory::default();
        // Buckets of 64 KiB and not of 8 MiB: the size lies in the memory itself, and thousands of memories
        // are made in a test run.
        drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
        let mut storage = Storage::create(raw.clone()).unwrap();
        let config = AdminConfig {
            session_ttl_seconds: model::TTL_SECONDS,
            max_sessions_per_caller: model::MAX_SESSIONS,
            max_bytes_per_caller: model::MAX_BYTES_PER_CALLER,
            max_bytes_per_capsule: model::MAX_BYTES_PER_CAPSULE,
            max_bytes: model::MAX_BYTES,
            max_memories_per_capsule: Some(model::MAX_MEMORIES),
            ..storage.config().unwrap()
        };
        storage.settings.set(&Config::checked(config).unwrap());
        // As each build installs itself.
        storage.layout.set(match stage {
            Stage::Legacy => &Layout::LEGACY,
            Stage::Staged => &Layout::SPLIT,
            Stage::Direct => &Layout::EXTENTS,
        });
        let now = Time::from_nanos(1_700_000_000_000_000_000);
        let capsule = String::new();
        let (path, meter) = (Box::new(DirectPath), Box::new(Unmetered));
        let world = World { raw, storage, path, now, meter, capsule, hash: HashAlgorithm::Sha256 };
        let mut native = Self { world, stage };
        native.upgrade(stage, 0);
        native
    }

    /// A session as its owner sees it. A legacy record is looked at without converting it.
    fn look(&mut self, id: SessionId) -> Option<View> {
        let World { storage, path, now, .. } = &mut self.world;
        let held = migrate::held(storage).unwrap();
        let untouched = self.stage != Stage::Legacy && storage.sessions.legacy.contains(&id.0) && !held;
        let upload = if untouched {
            CompatPath::default().load(storage, id, None, *now).unwrap()
        } else {
            path.load(storage, id, None, *now).unwrap()
        };
        upload.map(|upload| view_of(id, upload))
    }

    /// What the engine does in one message of the build of this stage.
    fn one_message(&mut self, meter: &dyn Meter) {
        let second = MoveToExtents { layouts: accepted_by(self.stage) };
        let World { storage, now, .. } = &mut self.world;
        let message = Message { now: *now, meter, budget: 0 };
        migrate::run_all(&[&SplitSessions, &second], storage, message).unwrap();
    }

    /// Every byte that is taken in the payload region belongs to a session or a blob, or to what is on its way.
    fn payload_invariant(&self) -> Result<(), String> {
        let Storage { payloads, blobs, migration, .. } = &self.world.storage;
        blobs.extents().check().map_err(|e| e.to_string())?;
        let mut owned = 0;
        for entry in payloads.range(..) {
            let PayloadState { extents, subtrees, .. } = entry.unwrap().1;
            owned += [extents, subtrees].into_iter().flatten().map(|extents| extents.size()).sum::<u64>();
        }
        for id in blobs.list_in_extents(None, usize::MAX) {
            let Place::Extents(extents) = blobs.blob(BlobId(id)).unwrap().place else {
                return Err(format!("blob {id} is not in extents"));
            };
            owned += extents.size();
        }
        let taken = blobs.extents().taken_bytes().unwrap();
        let on_its_way = migration.state_of(2).unwrap().unit.is_some();
        if owned == taken || on_its_way && owned < taken {
            Ok(())
        } else {
            Err(format!("{taken} bytes are taken, sessions and blobs have {owned}"))
        }
    }

    fn drain(&mut self) {
        while !self.world.service().sweep().unwrap() {}
        while !memories::sweep(&mut self.world.storage, &Unmetered).unwrap() {}
    }
}

/// The layouts that the build of a stage accepts.
fn accepted_by(stage: Stage) -> &'static [Layout] {
    match stage {
        Stage::Legacy => &[Layout::LEGACY],
        Stage::Staged => &[Layout::LEGACY, Layout::SPLIT],
        Stage::Direct => ALL_LAYOUTS,
    }
}

fn view_of(id: SessionId, upload: Upload) -> View {
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
    }
}

fn refusal(error: impl Into<Error>) -> Refusal {
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
        self.world.now.as_nanos()
    }

    fn pass(&mut self, seconds: u64) {
        self.world.now = self.world.now.plus_seconds(seconds);
        self.drain();
    }

    fn pass_without_timers(&mut self, seconds: u64) -> bool {
        self.world.now = self.world.now.plus_seconds(seconds);
        true
    }

    fn create_capsule(&mut self, owner: u8) -> String {
        let World { storage, now, .. } = &mut self.world;
        let id = storage.capsules.create(person(owner), None, *now).unwrap().id;
        self.share(owner, owner, &id, Guest::Write).unwrap();
        id
    }

    fn delete_capsule(&mut self, who: u8, capsule: &str) -> Answer<()> {
        self.world.storage.capsules.delete(person(who), capsule).map_err(refusal)
    }

    fn share(&mut self, who: u8, owner: u8, capsule: &str, guest: Guest) -> Answer<()> {
        let other = person((owner + 1) % model::PEOPLE);
        let of = |right: Guest| if guest == right { vec![other] } else { vec![] };
        let access = CapsuleAccess {
            owners: vec![person(owner)],
            writers: of(Guest::Write),
            readers: of(Guest::Read),
        };
        self.world.storage.capsules.set_access(person(who), capsule, access).map(drop).map_err(refusal)
    }

    fn begin(&mut self, who: u8, capsule: &str, bytes: u64, chunks: u32, idem: &str) -> Answer<u64> {
        let mut service = self.world.as_person(who);
        let hash = HashAlgorithm::Sha256;
        service.begin(capsule.to_owned(), metadata(bytes), chunks, idem.to_owned(), hash).map_err(refusal)
    }

    fn put(&mut self, who: u8, put: &Put) -> Answer<()> {
        let digest = put.digest.map(|right| {
            let digest: [u8; 32] = if right { Sha256::digest(&put.bytes).into() } else { [7; 32] };
            ByteBuf::from(digest)
        });
        self.world
            .as_person(who)
            .put_chunk(put.session, put.idx, &mut put.bytes.as_slice(), digest)
            .map_err(refusal)
    }

    fn finish(&mut self, who: u8, session: u64, digest: &[u8], bytes: u64, tired: bool) -> Answer<Finished> {
        if tired {
            self.world.meter = Box::new(Exhausted);
        }
        let finished = self.world.as_person(who).finish(session, &ByteBuf::from(digest), bytes);
        self.world.meter = Box::new(Unmetered);
        let finished = finished.map_err(refusal)?;
        Ok(Finished { memory: finished.memory_id, locator: finished.blob_id, size: finished.size })
    }

    fn abort(&mut self, who: u8, session: u64) -> Answer<()> {
        self.world.as_person(who).abort(session).map_err(refusal)
    }

    fn status(&mut self, who: u8, session: u64) -> Answer<View> {
        self.world.as_person(who).status(session).map_err(refusal)?;
        self.look(SessionId(session)).ok_or(Refusal::Internal)
    }

    fn create_memory(&mut self, who: u8, new: &NewMemory<'_>) -> Answer<String> {
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
        let World { storage, now, .. } = &mut self.world;
        let asset = named(bytes, version);
        memories::create(storage, person(who), *now, capsule.to_owned(), content, asset, idem)
            .map_err(refusal)
    }

    fn update_memory(&mut self, who: u8, memory: &str, bytes: u64, version: u8) -> Answer<()> {
        let updated = memories::update(&mut self.world.storage, person(who), memory, named(bytes, version));
        updated.map(drop).map_err(refusal)
    }

    fn memory(&mut self, who: u8, memory: &str) -> Answer<MemoryView> {
        let memory = self.world.storage.capsules.memory(person(who), memory).map_err(refusal)?;
        let base = memory.asset_metadata.base();
        assert_eq!(base.bytes, memory.blob.len);
        let version = base.name.strip_prefix(VERSION).map(|version| version.parse().unwrap());
        Ok(MemoryView {
            capsule: memory.capsule_id,
            locator: memory.blob.locator,
            bytes: base.bytes,
            version,
        })
    }

    fn delete_blob(&mut self, who: u8, locator: &str) -> Answer<()> {
        // As the entry point looks for it: a blob that the caller may not read does not exist.
        let storage = &mut self.world.storage;
        let id = BlobId::from_locator(locator).ok_or(Refusal::NotFound)?;
        let capsule = storage.blobs.capsule_of(id).map_err(|_| Refusal::NotFound)?;
        storage.capsules.authorize(person(who), Access::Read, &capsule).map_err(|_| Refusal::NotFound)?;
        memories::delete_blob(storage, person(who), id).map_err(refusal)
    }

    fn delete_memory(&mut self, who: u8, memory: &str) -> Answer<()> {
        memories::delete(&mut self.world.storage, person(who), memory).map_err(refusal)
    }

    fn read(&mut self, _: u8, locator: &str, idx: u32) -> Option<Vec<u8>> {
        self.world.storage.blobs.read_chunk(BlobId::from_locator(locator)?, idx).ok()
    }

    fn sessions_of(&mut self, who: u8) -> Vec<View> {
        let now = self.now();
        let ids = self.world.storage.index.of(person(who), None, usize::MAX);
        let views = ids.into_iter().filter_map(|id| self.look(id));
        views.filter(|view| view.last_seen + model::TTL_SECONDS * model::SECOND > now).collect()
    }

    fn holdings(&mut self) -> Holdings {
        let stats = crate::metrics::stats(&self.world.storage, 0).unwrap();
        Holdings {
            sessions: stats.sessions,
            receipts: stats.receipts,
            payload: model::Payload { chunks: stats.chunks, extent_bytes: stats.payload_bytes },
            blobs: stats.blobs,
            memories: stats.memories,
            capsules: stats.capsules,
            bytes: stats.bytes_in_use,
        }
    }

    fn upgrade(&mut self, to: Stage, share: u8) {
        self.stage = to;
        self.world.storage = Storage::open_accepting(self.world.raw.clone(), accepted_by(to)).unwrap();
        let (path, share): (Box<dyn UploadPath>, u8) = match to {
            Stage::Legacy => (Box::<CompatPath>::default(), 100),
            // Where a controller could not raise the share, it stays at zero.
            Stage::Staged => {
                let may = controls::check_share(&self.world.storage, share).is_ok();
                (Box::<ActivePath>::default(), if may { share } else { 0 })
            }
            Stage::Direct => {
                // As that build does when it starts; this test has the features of another.
                let state = self.world.storage.migration.state().unwrap();
                if state.is_held_back() {
                    migrate::release(&mut self.world.storage, self.world.now).unwrap();
                }
                (Box::new(DirectPath), 0)
            }
        };
        self.world.path = path;
        set_share(&mut self.world.storage, share);
        if to == Stage::Legacy {
            migrate::taken_over(&mut self.world.storage, self.world.now).unwrap();
        }
    }

    fn migrate(&mut self, steps: u8) {
        if self.stage != Stage::Legacy {
            for _ in 0..steps {
                self.one_message(&Exhausted);
            }
        }
    }

    fn control(&mut self, control: Control) -> Option<Answer<()>> {
        // The legacy build has no such code, and what a build without the old path answers is decided when it is
        // compiled: these tests are compiled as the staged build.
        let may_hold = matches!(control, Control::Pause | Control::Resume);
        if self.stage == Stage::Legacy && !may_hold
            || (self.stage, control) == (Stage::Direct, Control::Rollback)
        {
            return None;
        }
        let World { storage, now, .. } = &mut self.world;
        let answer = match control {
            Control::Pause if self.stage == Stage::Legacy => migrate::hold(storage, *now),
            Control::Resume if self.stage == Stage::Legacy => migrate::release(storage, *now),
            Control::Pause => controls::pause(storage, *now),
            Control::Resume => controls::resume(storage, *now),
            Control::Rollback => controls::rollback(storage, *now),
            Control::Finalize => controls::finalize(storage, *now),
        };
        Some(answer.map_err(refusal))
    }

    fn phase(&mut self) -> model::Phase {
        if self.world.storage.migration.current() > 1 {
            return model::Phase::Second;
        }
        let state = self.world.storage.migration.state().unwrap();
        match state.phase {
            Phase::Idle => model::Phase::Idle,
            Phase::Validating | Phase::Converting | Phase::Verifying => model::Phase::Working,
            Phase::Converted => model::Phase::Converted,
            Phase::Finalized => model::Phase::Finalized,
            Phase::Paused if state.is_going_back() => model::Phase::PausedOnTheWayBack,
            Phase::Paused => model::Phase::Paused,
            Phase::Stuck => model::Phase::Stuck,
            Phase::RollingBack => model::Phase::RollingBack,
            Phase::RolledBack => model::Phase::RolledBack,
        }
    }

    fn own_invariants(&mut self, settled: bool) -> Result<(), String> {
        let Storage { sessions, index, payloads, blobs, usage, receipts, .. } = &self.world.storage;
        let live = sessions.legacy.len() + sessions.sessions.len();
        let pairs = [
            ("legacy records and their activity", sessions.legacy.len(), sessions.legacy.notes()),
            ("sessions and their meta", sessions.sessions.len(), sessions.metas.len()),
            ("sessions and the index", live, index.len()),
            ("released prefixes", blobs.release_total(), 0),
        ];
        for (what, left, right) in pairs {
            if left != right {
                return Err(format!("{what}: {left} and {right}"));
            }
        }
        self.payload_invariant()?;
        if payloads.len() > live {
            return Err(format!("{} payload states of {live} sessions", payloads.len()));
        }
        if self.stage == Stage::Legacy && !sessions.sessions.is_empty() {
            return Err("the legacy build has made a record of layout 2".into());
        }
        let left = [live, payloads.len(), index.len(), receipts.len(), usage.accounts()];
        if settled && left != [0; 5] {
            return Err(format!("sessions, payload states, index, receipts, accounts left: {left:?}"));
        }
        Ok(())
    }

    fn conclude_migration(&mut self) -> Result<(), String> {
        set_share(&mut self.world.storage, 0);
        // A pause may hide a rollback, and that one ends in a rest of its own.
        for _ in 0..2 {
            let World { storage, now, .. } = &mut self.world;
            // Refused where nothing is paused or rolled back.
            let _ = controls::resume(storage, *now);
            self.one_message(&Unmetered);
        }
        let storage = &mut self.world.storage;
        let state = storage.migration.state().unwrap();
        if let Some(imbalance) = state.imbalance() {
            return Err(imbalance);
        }
        if state.phase == Phase::Stuck || state.quarantined > 0 || !storage.sessions.legacy.is_empty() {
            return Err(format!("the migration has ended like this: {state:?}"));
        }
        match storage.layout.get().unwrap() {
            Some(Layout::SPLIT) => Ok(()),
            Some(Layout::EXTENTS) if self.stage == Stage::Direct => Ok(()),
            layout => Err(format!("the migration has ended in layout {layout:?}")),
        }
    }
}
