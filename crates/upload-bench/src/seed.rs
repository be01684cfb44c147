//! States with many sessions and memories, created natively: creating them by calls through the server would take
//! minutes.
//!
//! The canister's own services write a state to a [`RawMemory`], so its bytes are those that the calls would leave. The
//! state replaces the stable memory of an installed canister, and an upgrade opens it.

use std::io::Write;

use candid::Principal;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_bytes::ByteBuf;
use session_migrate::build::Build;
use sha2::{Digest, Sha256};
use upload_canister::api::{AdminConfig, Error, ExternalAsset, HashAlgorithm, StorageBackend};
use upload_canister::blob::{BlobId, Place};
use upload_canister::config::Config;
use upload_canister::memories::{self, NewContent};
use upload_canister::meter::Unmetered;
use upload_canister::migrate::{MigrationState, Phase};
use upload_canister::session::Time;
use upload_canister::stable::RawMemory;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;
use upload_canister::upload::UploadService;
use upload_canister::upload::path::ActivePath;

use crate::error::BenchError;
use crate::metered_canister::{BEGINNING_SECONDS, client};
use crate::payload::{CHUNK_BYTES, metadata};

/// Number of sessions of one caller: as many as the settings allow.
const SESSIONS_PER_CALLER: u32 = 100;

/// Number of sessions of the measured client in every state, so that the costs per caller stay the same.
pub const SESSIONS_OF_CLIENT: u32 = 10;

/// Bytes that a session expects: few, so that the sessions stay far below the limits on bytes.
const SESSION_BYTES: u64 = 1000;

/// The contents of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Population {
    /// Number of sessions; the first ten, or all if there are fewer, are the client's.
    pub sessions: u32,
    /// Number of memories with an external asset, all of them in the client's capsule.
    pub memories: u32,
    /// The stable layout. In layout 1, sessions are legacy records; in layout 3, payload is in extents.
    pub layout: Layout,
    /// Number of chunks of 1.8 MB that each of the client's sessions has stored. Unless `finished`, each session
    /// expects one more chunk.
    pub chunks: u32,
    /// Whether migration 1 is finalized, and the client's sessions, if they have chunks, are finished.
    pub finished: bool,
    /// Number of chunks of another finished file of the client; 0 for no such file. Its first chunk lacks a byte, so
    /// that migration 2 quarantines the file.
    pub damaged: u32,
}

impl Population {
    /// Returns a population in the layout of a fresh installation of a build.
    pub fn of(build: Build, sessions: u32, memories: u32) -> Self {
        let layout = match build {
            Build::Legacy => Layout::LEGACY,
            Build::Staged => Layout::SPLIT,
            Build::Direct => Layout::EXTENTS,
        };
        Self { sessions, memories, layout, chunks: 0, finished: false, damaged: 0 }
    }

    /// Returns a population of the client's sessions with this many stored chunks each, and nothing else.
    pub const fn with_chunks(layout: Layout, sessions: u32, chunks: u32) -> Self {
        Self { sessions, memories: 0, layout, chunks, finished: false, damaged: 0 }
    }
}

/// A state, and ids in it.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Stable memory, gzipped.
    pub gz: Vec<u8>,
    /// The client's capsule.
    pub capsule: String,
    /// The last session of the client; 0 if there is none.
    pub session: u64,
    /// The last memory with an external asset; empty if there is none.
    pub memory: String,
}

/// A state in layout 1 to be filled by the caller.
pub(crate) struct LegacyState {
    raw: RawMemory,
    pub storage: Storage,
    pub capsule: String,
}

impl LegacyState {
    /// Returns a state with only the client's capsule.
    pub fn new() -> Result<Self, Error> {
        let raw = RawMemory::default();
        let mut storage =
            Storage::create_in(raw.clone(), Layout::LEGACY).map_err(|e| Error::Internal(e.to_string()))?;
        let settings = AdminConfig { compat_share_percent: 100, ..storage.config()? };
        storage.settings.set(&Config::checked(settings)?);
        let capsule = storage.capsules.create(client(), None, now())?.id;
        Ok(LegacyState { raw, storage, capsule })
    }

    /// Returns stable memory, as the legacy build leaves it.
    pub fn finish(mut self) -> RawMemory {
        // With the default `compat_share_percent`, the migration begins with the upgrade.
        self.storage.settings.set(&Config::default());
        self.raw
    }
}

/// Creates a state.
pub fn make(population: Population) -> Result<Seed, BenchError> {
    let seed_error = |detail: String| BenchError::Seed {
        sessions: population.sessions,
        memories: population.memories,
        detail,
    };
    let raw = RawMemory::default();
    let mut storage =
        Storage::create_in(raw.clone(), population.layout).map_err(|error| seed_error(error.to_string()))?;
    let ids = fill(&mut storage, population).map_err(|error| seed_error(error.to_string()))?;
    drop(storage);
    let pack = || -> std::io::Result<Vec<u8>> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&raw.borrow())?;
        packed.finish()
    };
    let gz = pack().map_err(|error| seed_error(error.to_string()))?;
    let SeedIds { capsule, session, memory } = ids;
    Ok(Seed { gz, capsule, session, memory })
}

/// Returns a time an hour before the benchmarks begin: a day before, the sessions would have expired.
pub(crate) fn now() -> Time {
    Time::from_nanos((BEGINNING_SECONDS - 3600) * 1_000_000_000)
}

/// The ids of a [`Seed`].
struct SeedIds {
    capsule: String,
    session: u64,
    memory: String,
}

fn fill(storage: &mut Storage, population: Population) -> Result<SeedIds, Error> {
    let is_legacy = population.layout == Layout::LEGACY;
    // With this share, sessions of layout 1 begin on the compat path, and all others on the direct path.
    let share = if is_legacy { 100 } else { 0 };
    let settings = AdminConfig { compat_share_percent: share, ..storage.config()? };
    storage.settings.set(&Config::checked(settings)?);
    let capsule = storage.capsules.create(client(), None, now())?.id;
    let mut session = 0;
    for number in 0..SESSIONS_OF_CLIENT.min(population.sessions) {
        session = match population.chunks {
            0 => begin(storage, client(), &capsule, number)?,
            chunks => begin_with_chunks(storage, &capsule, number, chunks, population.finished)?,
        };
    }
    if population.damaged > 0 {
        add_damaged(storage, &capsule, population.damaged)?;
    }
    if population.finished {
        let state = MigrationState { phase: Phase::Finalized, ..MigrationState::default() };
        storage.migration.set_state(1, &state);
    }
    for group in 0..population.sessions.saturating_sub(SESSIONS_OF_CLIENT).div_ceil(SESSIONS_PER_CALLER) {
        let caller = Principal::self_authenticating(group.to_be_bytes());
        let capsule = storage.capsules.create(caller, None, now())?.id;
        let left = population.sessions - SESSIONS_OF_CLIENT - group * SESSIONS_PER_CALLER;
        for number in 0..left.min(SESSIONS_PER_CALLER) {
            begin(storage, caller, &capsule, number)?;
        }
    }
    let mut memory = String::new();
    for number in 0..population.memories {
        memory = create_memory(storage, &capsule, number)?;
    }
    if is_legacy {
        // See `LegacyState::finish`.
        storage.settings.set(&Config::default());
    }
    Ok(SeedIds { capsule, session, memory })
}

fn begin(storage: &mut Storage, caller: Principal, capsule: &str, number: u32) -> Result<u64, Error> {
    let path = &mut ActivePath::default();
    let mut service = UploadService::new(storage, path, caller, now(), &Unmetered);
    service.begin(
        capsule.to_owned(),
        metadata(SESSION_BYTES),
        1,
        format!("upload {number}"),
        HashAlgorithm::Sha256,
    )
}

/// Begins a session and stores this many chunks. If `finished`, finishes it; otherwise one more chunk is missing.
fn begin_with_chunks(
    storage: &mut Storage,
    capsule: &str,
    number: u32,
    chunks: u32,
    finished: bool,
) -> Result<u64, Error> {
    let expected = if finished { chunks } else { chunks + 1 };
    let bytes = u64::from(expected) * CHUNK_BYTES;
    // The sessions have different bytes, so that their files do not become a single blob.
    let chunk = vec![number as u8; CHUNK_BYTES as usize];
    let path = &mut ActivePath::default();
    let mut service = UploadService::new(storage, path, client(), now(), &Unmetered);
    let idem = format!("upload {number}");
    let session =
        service.begin(capsule.to_owned(), metadata(bytes), expected, idem, HashAlgorithm::Sha256)?;
    let mut sha256 = Sha256::new();
    for index in 0..chunks {
        service.put_chunk(session, index, &mut chunk.as_slice(), None)?;
        sha256.update(&chunk);
    }
    if finished {
        service.finish(session, &ByteBuf::from(sha256.finalize().to_vec()), bytes)?;
    }
    Ok(session)
}

/// Uploads a file of this many chunks, and shortens its first chunk by a byte.
fn add_damaged(storage: &mut Storage, capsule: &str, chunks: u32) -> Result<(), Error> {
    let before = storage.blobs.list_in_chunk_map(None, usize::MAX);
    begin_with_chunks(storage, capsule, SESSIONS_OF_CLIENT, chunks, true)?;
    for id in storage.blobs.list_in_chunk_map(None, usize::MAX) {
        if let (false, Place::Chunks(prefix)) = (before.contains(&id), storage.blobs.blob(BlobId(id))?.place)
        {
            let shorter = vec![SESSIONS_OF_CLIENT as u8; CHUNK_BYTES as usize - 1];
            storage.blobs.write_chunk(prefix, 0, &shorter);
        }
    }
    Ok(())
}

/// Creates a memory with an external asset, since inline bytes are limited per capsule.
fn create_memory(storage: &mut Storage, capsule: &str, number: u32) -> Result<String, Error> {
    let asset =
        ExternalAsset { backend: StorageBackend::S3, storage_key: Some(format!("key {number}")), url: None };
    let external = Some((asset, SESSION_BYTES, None::<ByteBuf>));
    let new = NewContent { inline: None, blob: None, external };
    let idem = format!("memory {number}");
    memories::create(storage, client(), now(), capsule.to_owned(), new, metadata(SESSION_BYTES), &idem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_state_has_the_requested_contents() {
        for build in Build::ALL {
            let population = Population::of(build, 230, 12);
            let legacy = build == Build::Legacy;
            let seed = make(population).unwrap();
            let mut bytes = Vec::new();
            flate2::read::GzDecoder::new(seed.gz.as_slice()).read_to_end(&mut bytes).unwrap();
            let raw = std::rc::Rc::new(std::cell::RefCell::new(bytes));
            let storage = Storage::open_accepting(raw, &[population.layout]).unwrap();
            assert_eq!(storage.index.len(), 230);
            assert_eq!(storage.sessions.legacy.len(), if legacy { 230 } else { 0 });
            assert_eq!(storage.sessions.sessions.len(), if legacy { 0 } else { 230 });
            assert_eq!(storage.index.count_of(client(), 1000), u64::from(SESSIONS_OF_CLIENT));
            assert_eq!(storage.capsules.memory_total(), 12);
            assert!(storage.capsules.memory(client(), &seed.memory).is_ok());
        }
    }
}
