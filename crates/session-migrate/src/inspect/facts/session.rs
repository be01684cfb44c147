//! A session in flight.

use candid::Principal;
use upload_canister::blob::ChunkPrefix;
use upload_canister::migrations::split_sessions::Split;
use upload_canister::session::{ChunkSet, SessionId, SessionStatus, Time};
use upload_canister::upload::IdemKey;

/// A session as the tables describe it, whichever layout it is in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Stable layout of the record: 1 or 2.
    pub layout: u16,
    pub owner: Principal,
    pub capsule: String,
    pub bytes_expected: u64,
    pub bytes_received: u64,
    /// Chunks that have arrived: in layout 2 according to the record, in layout 1 those that are stored.
    pub received: ChunkSet,
    pub chunk_count: u32,
    /// Length of every chunk but the last.
    pub chunk_size: u32,
    pub last_seen: Time,
    /// Whether its blob is committed, although the session has not ended.
    pub is_committed: bool,
    pub idem_key: IdemKey,
    /// Prefix of the keys of its chunks, if they are in the chunk map.
    pub prefix: ChunkPrefix,
    /// Id of the blob that the record names, if any.
    pub blob: Option<u64>,
    /// Time of the last activity as recorded in layout 1, nanoseconds; `None` if it is not recorded, and in layout 2.
    pub activity: Option<u64>,
}

impl Session {
    pub fn from_split(layout: u16, id: u64, Split { session, meta }: Split) -> Session {
        // If the bytes of the owner are not a principal, nobody can call about the session: the anonymous principal
        // stands for that.
        let owner = Principal::try_from_slice(&session.owner).unwrap_or(Principal::anonymous());
        Session {
            layout,
            owner,
            bytes_expected: session.bytes_expected,
            bytes_received: session.bytes_received,
            chunk_count: session.chunk_count(),
            chunk_size: session.chunk_size,
            last_seen: session.session_meta.last_seen,
            is_committed: matches!(session.session_meta.status, SessionStatus::Committed { .. }),
            idem_key: IdemKey::of(&meta.capsule_id, &owner, &session.session_meta.idem),
            prefix: ChunkPrefix::of(&meta.provisional_memory_id, SessionId(id)),
            blob: meta.blob_id,
            capsule: meta.capsule_id,
            received: session.received_idxs,
            activity: None,
        }
    }

    pub fn bytes_missing(&self) -> u64 {
        self.bytes_expected.saturating_sub(self.bytes_received)
    }

    pub fn is_complete(&self) -> bool {
        self.received.contains_all_below(self.chunk_count)
    }
}
