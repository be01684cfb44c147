//! A session in flight, and the tables around a legacy record.

use candid::Principal;
use upload_canister::api;
use upload_canister::blob::ChunkPrefix;
use upload_canister::migrations::split_sessions::{Split, Surroundings};
use upload_canister::session::{ChunkSet, SessionId, SessionStatus, Time};
use upload_canister::upload::IdemKey;

use super::Facts;

/// A session in flight.
#[derive(Clone, Debug)]
pub struct Session {
    /// 1 or 2.
    pub layout: u16,
    /// Its owner.
    pub owner: Principal,
    /// The capsule of the upload.
    pub capsule: String,
    /// Size of the file.
    pub bytes_expected: u64,
    /// Bytes that have arrived.
    pub bytes_received: u64,
    /// Chunks that have arrived: by the record in layout 2, by the stored chunks in layout 1.
    pub received: ChunkSet,
    /// Number of chunks.
    pub chunks: u32,
    /// Length of every chunk but the last.
    pub chunk_size: u32,
    /// Last activity.
    pub last_seen: Time,
    /// Whether the upload is committed.
    pub is_committed: bool,
    /// Its idempotency key.
    pub key: IdemKey,
    /// Where its chunks are in the chunk map.
    pub prefix: ChunkPrefix,
    /// The blob that was committed from it.
    pub blob: Option<u64>,
    /// Last activity as recorded in layout 1.
    pub activity: Option<u64>,
}

impl Session {
    pub fn of(layout: u16, id: u64, Split { session, meta }: Split) -> Session {
        // A session whose owner is not a principal belongs to no one.
        let owner = Principal::try_from_slice(&session.owner).unwrap_or(Principal::anonymous());
        Session {
            layout,
            owner,
            bytes_expected: session.bytes_expected,
            bytes_received: session.bytes_received,
            chunks: session.chunk_count(),
            chunk_size: session.chunk_size,
            last_seen: session.session_meta.last_seen,
            is_committed: matches!(session.session_meta.status, SessionStatus::Committed { .. }),
            key: IdemKey::of(&meta.capsule_id, &owner, &session.session_meta.idem),
            prefix: ChunkPrefix::of(&meta.provisional_memory_id, SessionId(id)),
            blob: meta.blob_id,
            capsule: meta.capsule_id,
            received: session.received_idxs,
            activity: None,
        }
    }

    /// Returns the bytes that have not arrived.
    pub fn bytes_missing(&self) -> u64 {
        self.bytes_expected.saturating_sub(self.bytes_received)
    }

    /// Returns whether every chunk has arrived.
    pub fn is_complete(&self) -> bool {
        self.received.contains_all_below(self.chunks)
    }
}

/// The tables read by the canister's own examination of a record.
pub(super) struct Around<'f>(pub &'f Facts);

impl Surroundings for Around<'_> {
    fn session_ttl_seconds(&self) -> api::Result<u64> {
        Ok(self.0.config.0.session_ttl_seconds)
    }

    fn stored_chunks(&self, prefix: ChunkPrefix) -> ChunkSet {
        self.0.stored(prefix).map(|(idx, _)| idx).collect()
    }

    fn is_indexed(&self, id: SessionId, owner: Principal) -> bool {
        self.0.by_owner.contains(&(owner, id.0))
    }

    fn leads_to(&self, key: IdemKey) -> api::Result<Option<SessionId>> {
        Ok(self.0.by_idem.get(&key.0).copied().map(SessionId))
    }

    fn lives(&self, id: SessionId) -> bool {
        self.0.is_live(id.0)
    }
}
