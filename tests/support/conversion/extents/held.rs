//! Everything that clients have uploaded, and the room that it takes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use upload_canister::blob::extents::Extent;
use upload_canister::blob::{BlobId, Place};
use upload_canister::session::{Session, SessionId, Time};
use upload_canister::stable::Record;
use upload_canister::storage::Storage;
use upload_canister::upload::{PayloadState, UploadMeta};

use crate::support::owner;

/// Maximum number of records of one kind that are read.
const MAX_READ: usize = 99;

/// What is held: `accounts` is the number of accounts, and `bytes` the bytes on the canister's account.
#[derive(Debug, PartialEq)]
pub struct Held {
    blobs: BTreeMap<u64, HeldBlob>,
    sessions: BTreeMap<u64, HeldSession>,
    receipts: u64,
    memories: u64,
    /// All sessions in the index, by last activity.
    by_activity: Vec<u64>,
    /// The owner's sessions, by the index of owners.
    owned: Vec<u64>,
    accounts: u64,
    bytes: u64,
    layout: Option<u16>,
    /// Number of chunks in the chunk map, and of objects whose chunks are still to be removed from the map.
    pub chunk_map: [u64; 2],
    /// Allocated bytes of the payload region.
    pub region: u64,
}

#[derive(Debug, PartialEq)]
struct HeldBlob {
    size: u64,
    digest: [u8; 32],
    created_at: Time,
    /// Whether the blob is in the payload region, and not in the chunk map.
    is_moved: bool,
    /// SHA-256 of the blob's bytes, or the error of reading them.
    content: Result<[u8; 32], String>,
}

#[derive(Debug, PartialEq)]
struct HeldSession {
    session: Session,
    meta: UploadMeta,
    is_moved: bool,
    /// The encoded hash state of the session.
    hashed: Vec<u8>,
    /// SHA-256 of each chunk.
    chunks: BTreeMap<u32, [u8; 32]>,
}

impl Held {
    /// Reads everything. The test fails unless the allocated bytes of the payload region are exactly those of the
    /// objects in the region, and no unit is partly moved.
    pub fn of(storage: &Storage) -> Self {
        let Storage { blobs, sessions, index, usage, .. } = storage;
        let mut in_region = Vec::new();
        let in_chunk_map = blobs.list_in_chunk_map(None, MAX_READ).into_iter();
        let blobs_held = in_chunk_map
            .chain(blobs.list_in_extents(None, MAX_READ))
            .map(|id| (id, HeldBlob::of(storage, BlobId(id), &mut in_region)))
            .collect();
        let sessions_held = sessions
            .sessions
            .keys(..)
            .map(|id| (id, HeldSession::of(storage, SessionId(id), &mut in_region)))
            .collect();
        assert_region_has_only(storage, in_region);
        Self {
            blobs: blobs_held,
            sessions: sessions_held,
            receipts: storage.receipts.len(),
            memories: storage.capsules.memory_total(),
            by_activity: index
                .idle_since(Time::from_nanos(u64::MAX), MAX_READ)
                .into_iter()
                .map(|(_, id)| id.0)
                .collect(),
            owned: index.sessions_of(owner(), None, MAX_READ).into_iter().map(|id| id.0).collect(),
            accounts: usage.account_count(),
            bytes: usage.total().unwrap(),
            layout: storage.layout.get().unwrap().map(|layout| layout.0),
            chunk_map: [blobs.chunk_total(), blobs.release_total()],
            region: blobs.extents().taken_bytes().unwrap(),
        }
    }

    /// Returns this state without everything that depends on where the payload is stored.
    pub fn without_places(mut self) -> Self {
        self.blobs.values_mut().for_each(|blob| blob.is_moved = false);
        self.sessions.values_mut().for_each(|session| session.is_moved = false);
        Self { layout: None, chunk_map: [0, 0], region: 0, ..self }
    }

    /// Returns the numbers of blobs, and of sessions in flight, in the payload region.
    pub fn moved_counts(&self) -> [usize; 2] {
        let blobs = self.blobs.values().filter(|blob| blob.is_moved).count();
        [blobs, self.sessions.values().filter(|session| session.is_moved).count()]
    }

    /// Returns this state without the blobs' times of creation and the sessions' times of last activity.
    pub fn without_times(mut self) -> Self {
        for blob in self.blobs.values_mut() {
            blob.created_at = Time::default();
        }
        for held in self.sessions.values_mut() {
            held.session.session_meta.last_seen = Time::default();
        }
        self
    }
}

impl HeldBlob {
    fn of(storage: &Storage, id: BlobId, in_region: &mut Vec<Extent>) -> Self {
        let blob = storage.blobs.blob(id).unwrap();
        let is_moved = collect_extents(&blob.place, in_region);
        let content = storage.blobs.read_range(id, 0, blob.size);
        Self {
            size: blob.size,
            digest: blob.digest.bytes,
            created_at: blob.created_at,
            is_moved,
            content: content.map(|bytes| sha256(&bytes)).map_err(|error| error.to_string()),
        }
    }
}

impl HeldSession {
    fn of(storage: &Storage, id: SessionId, in_region: &mut Vec<Extent>) -> Self {
        let session = storage.sessions.sessions.get(&id.0).unwrap().unwrap().into_session().unwrap();
        let meta = storage.sessions.metas.get(&id.0).unwrap().unwrap();
        let payload = storage.payload_of(id).unwrap();
        let place = payload.place(id, &meta);
        let is_moved = collect_extents(&place, in_region);
        let chunk = |idx| {
            let (at, len) = (session.offset(idx), session.chunk_len(idx).unwrap());
            let mut bytes = Vec::new();
            storage.blobs.read(&place, at, len, &mut |block| bytes.extend_from_slice(block)).unwrap();
            (idx, sha256(&bytes))
        };
        let chunks =
            session.received_idxs.ranges().flat_map(|(first, last)| first..=last).map(chunk).collect();
        let hashed = PayloadState { extents: None, ..payload }.encode();
        Self { session, meta, is_moved, hashed, chunks }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns whether an object is in the payload region. If it is, adds its extents to `in_region`.
fn collect_extents(place: &Place, in_region: &mut Vec<Extent>) -> bool {
    let Place::Extents(extents) = place else { return false };
    in_region.extend(extents.iter());
    true
}

/// Checks that exactly these extents are allocated in the payload region, and that no unit is partly moved.
fn assert_region_has_only(storage: &Storage, mut taken: Vec<Extent>) {
    let region = storage.blobs.extents();
    region.check().unwrap();
    taken.sort_by_key(|extent| extent.offset);
    for pair in taken.windows(2) {
        assert!(pair[0].end() <= pair[1].offset, "two objects share the bytes of {pair:?}");
    }
    let unit = storage.migration.state_of(super::SECOND).unwrap().unit;
    assert_eq!(unit, None, "no unit is partly moved");
    let sum: u64 = taken.iter().map(|extent| extent.len).sum();
    assert_eq!(region.taken_bytes(), Ok(sum), "the allocated bytes of the region are those of the objects");
}
