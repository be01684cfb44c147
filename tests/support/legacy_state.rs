//! Stable memory as the legacy build leaves it, with any number of sessions, created directly instead of by calls.
//!
//! Every session is a file of one chunk; session `n` belongs to client `n % CLIENTS`, or to client `n % sessions` if
//! there are fewer sessions than clients, and uploads to that client's capsule. The chunk of every third session is
//! stored.

use candid::Principal;
use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryManager;
use upload_canister::api::{AdminConfig, AssetMetadata, AssetMetadataBase, AssetType};
use upload_canister::blob::ChunkPrefix;
use upload_canister::config::Config;
use upload_canister::migrations::split_sessions::{LegacyStatus, LegacyUploadSession};
use upload_canister::session::{SessionId, Time};
use upload_canister::stable::RawMemory;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;
use upload_canister::upload::{IdemKey, RawRecord};

/// Bytes of each file.
pub const BYTES: usize = 64;

/// Maximum number of clients.
pub const CLIENTS: u64 = 1_000;

pub fn client(n: u64) -> Principal {
    Principal::self_authenticating(n.to_be_bytes())
}

/// Returns the file of a session, of [`BYTES`] bytes.
pub fn file(session: u64) -> Vec<u8> {
    session.to_be_bytes().repeat(BYTES / 8)
}

/// Returns whether the session's chunk is stored.
pub fn is_stored(session: u64) -> bool {
    session.is_multiple_of(3)
}

/// Returns the metadata of every file.
pub fn metadata() -> AssetMetadata {
    let mut base = AssetMetadataBase::new(
        "holiday.jpg",
        "image/jpeg",
        AssetType::Original,
        BYTES as u64,
        1_700_000_000_000_000_000,
    );
    base.description = Some("the harbour in the evening".into());
    base.tags = vec!["sea".into(), "evening".into()];
    (base.width, base.height) = (Some(6_000), Some(4_000));
    AssetMetadata::image(base)
}

/// Returns the idempotency key of a session.
pub fn idem(session: u64) -> String {
    format!("upload-1759000000000-{session:09}")
}

/// Returns a stable memory with these bytes, in whole pages.
pub fn memory_of(bytes: &[u8]) -> RawMemory {
    let raw = RawMemory::default();
    raw.grow(bytes.len().div_ceil(65_536) as u64);
    raw.write(0, bytes);
    raw
}

/// Creates the stable memory, with sessions `1..=sessions`, all begun at `now`. Also returns the ids of the capsules,
/// by the number of the client.
pub fn image(sessions: u64, now: u64) -> (Vec<u8>, Vec<String>) {
    image_in(RawMemory::default(), sessions, now)
}

/// Does the same as [`image`] for few sessions, with buckets of 64 KiB instead of 8 MiB, so that a test that creates
/// hundreds of canisters copies a hundredth of the bytes. The memory manager's header stores the bucket size.
pub fn small_image(sessions: u64, now: u64) -> (Vec<u8>, Vec<String>) {
    let raw = RawMemory::default();
    drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
    image_in(raw, sessions, now)
}

fn image_in(raw: RawMemory, sessions: u64, now: u64) -> (Vec<u8>, Vec<String>) {
    let mut storage = Storage::create_in(raw.clone(), Layout::LEGACY).unwrap();
    let settings = AdminConfig { max_sessions_per_caller: u64::MAX, ..storage.config().unwrap() };
    storage.settings.set(&Config::checked(settings).unwrap());
    let now = Time::from_nanos(now);
    let capsules: Vec<String> = (0..CLIENTS.min(sessions))
        .map(|n| storage.capsules.create(client(n), None, now).unwrap().id)
        .collect();
    for session in 1..=sessions {
        let n = session % CLIENTS.min(sessions);
        add_session(&mut storage, session, client(n), &capsules[n as usize], now);
    }
    storage.sessions.ids.continue_after(sessions);
    drop(storage);
    let bytes = raw.borrow().clone();
    (bytes, capsules)
}

fn add_session(storage: &mut Storage, session: u64, caller: Principal, capsule: &str, now: Time) {
    let id = SessionId(session);
    let legacy = LegacyUploadSession {
        session_id: session,
        capsule_id: capsule.to_owned(),
        caller,
        created_at: now.as_nanos(),
        expected_chunks: 1,
        status: LegacyStatus::Pending,
        chunk_count: 1,
        asset_metadata: metadata().into(),
        provisional_memory_id: format!("mem_{session}_00112233445566778899aabbccddeeff"),
        chunk_size: 1_800_000,
        idem: idem(session),
        blob_id: None,
    };
    let prefix = ChunkPrefix::of(&legacy.provisional_memory_id, id);
    if is_stored(session) {
        storage.blobs.write_chunk(prefix, 0, &file(session));
    }
    let key = IdemKey::of(capsule, &caller, &legacy.idem);
    storage.sessions.legacy.insert(session, &RawRecord(legacy.encode()));
    storage.sessions.legacy.record_activity(session, now);
    storage.index.insert(id, key, caller, now);
    storage.usage.reserve_unlimited(caller, capsule, BYTES as u64).unwrap();
}
