//! Random operations on the real wasm, compared with the model of the upload contract: from the legacy build through
//! the whole staged upgrade, and on the direct build alone.

use std::cell::RefCell;
use std::time::Duration;

use crate::support::traps::{is_embedded, with_message_limit};
use crate::support::upload::metadata;
use crate::support::{InstalledCanister, controller, owner, writer};
use candid::Principal;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use serde_bytes::ByteBuf;
use session_migrate::build::Build;
use sha2::{Digest, Sha256};
use upload_canister::api::{
    AssetMetadata, AssetMetadataBase, AssetType, BlobRef, Capsule, CapsuleAccess, Error, Memory,
    MigrationPhase, MigrationStatus, PersonRef, StorageBackend, UploadFinishResult, UploadStatus,
};
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;

use upload_model::{
    Control, Finished, Guest, Holdings, Limits, MemoryView, NewContent, NewMemory, Operation, Phase, Put,
    Refusal, Stage, Target, TargetResult, View, operations,
};

/// Prefix of the asset names in the model's metadata, before the number of the version.
const VERSION_PREFIX: &str = "version ";

fn metadata_of_version(bytes: u64, version: u8) -> AssetMetadata {
    let name = format!("{VERSION_PREFIX}{version}");
    AssetMetadata::document(AssetMetadataBase::new(name, "text/plain", AssetType::Original, bytes, 1))
}

/// Instruction limit under which no message of the timers completes.
const TOO_FEW_INSTRUCTIONS: u64 = 2_000;

const TIMER_INTERVAL: Duration = Duration::from_secs(60);

/// Time after which an update restarts a timer that did not run.
const OVERDUE: Duration = Duration::from_secs(301);

/// The real wasm, as the target of the model.
struct ModelCanister {
    canister: InstalledCanister,
    /// Whether the test also makes the timers' message trap, so that the timers are lost. Only the embedded server can
    /// make a message trap, and only on the direct build is the sweep the only job of the timers.
    loses_timers: bool,
    /// The last snapshot of the canister, and the build in it.
    snapshot: Option<(Vec<u8>, Build)>,
}

/// Returns the principal of a person of the model.
fn person(who: u8) -> Principal {
    if who == 0 { owner() } else { writer() }
}

const fn build(stage: Stage) -> Build {
    match stage {
        Stage::Legacy => Build::Legacy,
        Stage::Staged => Build::Staged,
        Stage::Direct => Build::Direct,
    }
}

fn refusal(error: Error) -> Refusal {
    match error {
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

fn view(status: UploadStatus) -> View {
    View {
        id: status.session,
        capsule: status.capsule_id,
        idem: status.idem,
        bytes_expected: status.bytes_expected,
        bytes_received: status.bytes_received,
        received: status.received.iter().map(|range| (range.first, range.last)).collect(),
        memory: status.provisional_memory_id,
        last_seen: status.last_seen,
        expires_at: status.expires_at,
    }
}

impl ModelCanister {
    fn new(stage: Stage) -> Self {
        let mut wasm = Self {
            canister: InstalledCanister::new(build(stage)),
            loses_timers: stage == Stage::Direct && is_embedded(),
            snapshot: None,
        };
        wasm.set_limits();
        wasm
    }

    /// Reinstalls the canister, which is faster than a new instance.
    fn renew(&mut self, stage: Stage) {
        self.canister.reinstall(build(stage));
        self.set_limits();
    }

    /// Returns the number of released chunks that are still in the chunk map.
    fn released_chunks(&self) -> u64 {
        let layouts = [Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS];
        let storage = Storage::open_accepting(self.canister.stable_memory(), &layouts).unwrap();
        storage.blobs.released_chunks()
    }

    /// Makes the timers' message trap, so that the IC no longer has a timer. Then makes an update that restarts the
    /// timers and changes nothing else.
    fn lose_timers(&self) {
        let trapped = with_message_limit(&self.canister, TOO_FEW_INSTRUCTIONS, |canister| {
            canister.pic.advance_time(TIMER_INTERVAL);
            canister.pic.tick();
        });
        assert!(!trapped.is_empty(), "a message of the timers traps");
        self.canister.pic.advance_time(OVERDUE);
        self.canister.abort(owner(), 0).unwrap_err();
    }

    /// Sets the limits that the model expects.
    fn set_limits(&mut self) {
        self.canister.configure(|config| {
            config.session_ttl_seconds = upload_model::TTL_SECONDS;
            let Limits { sessions, bytes_per_caller, bytes_per_capsule, bytes } = Limits::TIGHT;
            config.max_sessions_per_caller = sessions;
            config.max_bytes_per_caller = bytes_per_caller;
            config.max_bytes_per_capsule = bytes_per_capsule;
            config.max_bytes = bytes;
            config.max_memories_per_capsule = Some(upload_model::MAX_MEMORIES);
            config.max_promised_percent = Some(upload_model::MAX_PROMISED_PERCENT);
            config.max_session_age_seconds = Some(upload_model::AGE_SECONDS);
        });
    }
}

impl Target for ModelCanister {
    fn now(&self) -> u64 {
        self.canister.pic.get_time().as_nanos_since_unix_epoch()
    }

    fn pass(&mut self, seconds: u64) {
        if self.loses_timers {
            self.lose_timers();
        }
        self.canister.pass(Duration::from_secs(seconds));
    }

    fn create_capsule(&mut self, owner: u8) -> TargetResult<String> {
        let created = self.canister.update::<Capsule>(person(owner), "capsules_create", (None::<PersonRef>,));
        let id = created.map_err(refusal)?.id;
        self.share(owner, owner, &id, Guest::Write)?;
        Ok(id)
    }

    fn delete_capsule(&mut self, who: u8, capsule: &str) -> TargetResult<()> {
        self.canister.update(person(who), "capsules_delete", (capsule,)).map_err(refusal)
    }

    fn share(&mut self, who: u8, owner: u8, capsule: &str, guest: Guest) -> TargetResult<()> {
        let other = person((owner + 1) % upload_model::PEOPLE);
        let guest_with = |right: Guest| if guest == right { vec![other] } else { vec![] };
        let access = CapsuleAccess {
            owners: vec![person(owner)],
            writers: guest_with(Guest::Write),
            readers: guest_with(Guest::Read),
        };
        let shared = self.canister.update::<Capsule>(person(who), "capsules_set_access", (capsule, access));
        shared.map(drop).map_err(refusal)
    }

    fn begin(&mut self, who: u8, capsule: &str, bytes: u64, chunks: u32, idem: &str) -> TargetResult<u64> {
        let args = (capsule, metadata(bytes), chunks, idem);
        self.canister.update(person(who), "uploads_begin", args).map_err(refusal)
    }

    fn put(&mut self, who: u8, put: &Put) -> TargetResult<()> {
        let digest = put.digest.map(|right| {
            let digest: [u8; 32] = if right { Sha256::digest(&put.bytes).into() } else { [7; 32] };
            ByteBuf::from(digest)
        });
        let bytes = serde_bytes::Bytes::new(&put.bytes);
        let args = (put.session, put.idx, bytes, digest);
        self.canister.update(person(who), "uploads_put_chunk", args).map_err(refusal)
    }

    // On the real wasm, every message has a budget for hashing.
    fn finish(
        &mut self,
        who: u8,
        session: u64,
        digest: &[u8],
        bytes: u64,
        _without_budget: bool,
    ) -> TargetResult<Finished> {
        let finished: Result<UploadFinishResult, Error> =
            self.canister.finish_with_digest(person(who), session, digest, bytes);
        let finished = finished.map_err(refusal)?;
        Ok(Finished { memory: finished.memory_id, locator: finished.blob_id, size: finished.size })
    }

    fn abort(&mut self, who: u8, session: u64) -> TargetResult<()> {
        self.canister.abort(person(who), session).map_err(refusal)
    }

    fn status(&mut self, who: u8, session: u64) -> TargetResult<View> {
        self.canister.status(person(who), session).map(view).map_err(refusal)
    }

    fn create_memory(&mut self, who: u8, new: &NewMemory<'_>) -> TargetResult<String> {
        let NewMemory { capsule, idem, bytes, version, .. } = *new;
        let (mut inline, mut blob, mut backend) = (None, None, None);
        match &new.content {
            NewContent::Inline => inline = Some(ByteBuf::from(vec![0; bytes as usize])),
            NewContent::Blob(locator) => {
                blob = Some(BlobRef { locator: locator.clone(), hash: None, len: bytes, blake3: None });
            }
            NewContent::Elsewhere => backend = Some(StorageBackend::S3),
            NewContent::Nothing => {}
        }
        let (text, digest) = (None::<String>, None::<ByteBuf>);
        let asset = metadata_of_version(bytes, version);
        let args = (capsule, inline, blob, backend, &text, &text, Some(bytes), digest, asset, idem);
        self.canister.update(person(who), "memories_create", args).map_err(refusal)
    }

    fn update_memory(&mut self, who: u8, memory: &str, bytes: u64, version: u8) -> TargetResult<()> {
        let args = (memory, metadata_of_version(bytes, version));
        self.canister.update::<Memory>(person(who), "memories_update", args).map(drop).map_err(refusal)
    }

    fn memory(&mut self, who: u8, memory: &str) -> TargetResult<MemoryView> {
        let memory = self.canister.memory(person(who), memory).map_err(refusal)?;
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
        self.canister.update(person(who), "blob_delete", (locator,)).map_err(refusal)
    }

    fn delete_memory(&mut self, who: u8, memory: &str) -> TargetResult<()> {
        self.canister.update(person(who), "memories_delete", (memory,)).map_err(refusal)
    }

    fn read(&mut self, who: u8, locator: &str, idx: u32) -> Option<Vec<u8>> {
        self.canister.read_chunk(person(who), locator, idx).ok()
    }

    fn sessions_of(&mut self, who: u8) -> Vec<View> {
        let args = (None::<u64>, None::<u32>);
        let listed = self.canister.query::<Vec<UploadStatus>>(person(who), "uploads_list", args);
        listed.unwrap().into_iter().map(view).collect()
    }

    fn all_converted(&mut self) -> bool {
        self.canister.build == Build::Legacy || self.canister.stats().legacy_sessions == 0
    }

    fn holdings(&mut self) -> Holdings {
        let stats = self.canister.stats();
        Holdings {
            sessions: stats.sessions,
            receipts: stats.receipts,
            payload: upload_model::Payload {
                chunks: stats.chunks - if stats.releases_pending > 0 { self.released_chunks() } else { 0 },
                extent_bytes: stats.payload_bytes,
            },
            blobs: stats.blobs,
            memories: stats.memories,
            capsules: stats.capsules,
            bytes: stats.bytes_in_use,
        }
    }

    fn upgrade(&mut self, to: Stage, share: u8) {
        self.canister.upgrade(build(to));
        if to == Stage::Staged {
            // After finalization, the canister refuses a share above zero, and the share stays at zero.
            let _ = self.canister.try_configure(|config| config.compat_share_percent = share);
            self.canister.pic.tick();
        }
    }

    fn migrate(&mut self, _steps: u8) {
        // The canister migrates in the upgrade and by its timers; a round runs the timers that are due.
        self.canister.pic.tick();
    }

    fn control(&mut self, control: Control) -> Option<TargetResult<()>> {
        let method = match control {
            Control::Pause => "migration_pause",
            Control::Resume => "migration_resume",
            Control::Rollback => "migration_rollback",
            Control::Finalize => "migration_finalize",
            Control::Retry => "migration_retry",
        };
        // The optional argument is omitted: the record to retry, or whether to finalize although records are
        // quarantined.
        let answer = self.canister.update::<MigrationStatus>(controller(), method, ());
        self.canister.pic.tick();
        Some(answer.map(drop).map_err(refusal))
    }

    fn phase(&mut self) -> Phase {
        let status = self.canister.migration_status();
        if status.migration > 1 {
            return Phase::Second;
        }
        match status.phase {
            MigrationPhase::Idle => Phase::Idle,
            MigrationPhase::Validating | MigrationPhase::Converting | MigrationPhase::Verifying => {
                Phase::Working
            }
            MigrationPhase::Converted => Phase::Converted,
            MigrationPhase::Finalized => Phase::Finalized,
            MigrationPhase::Paused => Phase::Paused,
            MigrationPhase::Stuck => Phase::Stuck,
            MigrationPhase::RollingBack => Phase::RollingBack,
            MigrationPhase::RolledBack => Phase::RolledBack,
        }
    }

    fn take_snapshot(&mut self) -> bool {
        let InstalledCanister { pic, id, build } = &self.canister;
        let replaced = self.snapshot.take().map(|(snapshot, _)| snapshot);
        let taken = pic.take_canister_snapshot(*id, Some(controller()), replaced).unwrap();
        self.snapshot = Some((taken.id, *build));
        true
    }

    fn load_snapshot(&mut self) {
        let (snapshot, build) = self.snapshot.as_ref().unwrap();
        self.canister.load_snapshot(snapshot);
        self.canister.build = *build;
    }

    fn own_invariants(&mut self, emptied: bool) -> Result<(), String> {
        let stats = self.canister.stats();
        // Chunks that migration 2 has moved wait for the timers to remove them.
        if stats.releases_pending > 0 && (emptied || self.canister.migration_status().migration < 2) {
            return Err(format!("{} prefixes are still to be released", stats.releases_pending));
        }
        if emptied && stats.legacy_sessions > 0 {
            return Err(format!("{} legacy sessions are left", stats.legacy_sessions));
        }
        Ok(())
    }

    fn conclude_migration(&mut self) -> Result<(), String> {
        if self.canister.build == Build::Staged {
            self.canister.configure(|config| config.compat_share_percent = 0);
        }
        // The call is refused if the migration is neither paused nor rolled back.
        let _ = self.canister.update::<MigrationStatus>(controller(), "migration_resume", ());
        self.canister.run_timers_until(|stats| stats.legacy_sessions == 0);
        let status = self.canister.migration_status();
        let accounted = status.converted + status.already + status.quarantined + status.expired;
        let reconciles = status.source == accounted
            && status.digest_before == status.digest_after
            && status.quarantined == 0
            && (status.layout == 2 || status.layout == 3 && self.canister.build == Build::Direct);
        if reconciles { Ok(()) } else { Err(format!("the migration does not reconcile: {status:?}")) }
    }
}

/// Returns the configuration of both tests: two hundred cases, which take a minute or two, unless `PROPTEST_CASES` is
/// set.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 200 };
    let file = FileFailurePersistence::Direct("proptest-regressions/model.txt");
    // Shrinking is limited, since a step on the wasm takes milliseconds instead of microseconds.
    ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: Some(Box::new(file)), ..default }
}

/// Runs random operations, each time on a canister that was just installed.
fn check_random_operations(stage: Stage) {
    let wasm = RefCell::new(ModelCanister::new(stage));
    let checked = TestRunner::new(config()).run(&operations(10..60), |operations: Vec<Operation>| {
        let mut wasm = wasm.borrow_mut();
        wasm.renew(stage);
        upload_model::run(&mut *wasm, &operations, stage).map_err(TestCaseError::fail)
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

#[test]
fn the_wasm_keeps_the_contract_through_the_upgrade() {
    check_random_operations(Stage::Legacy);
}

#[test]
fn the_direct_wasm_keeps_the_contract() {
    check_random_operations(Stage::Direct);
}
