//! Settings for controllers, statistics, and public information about the running build.

use candid::CandidType;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::UploadCounts;

/// Settings that controllers can change.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Share of new sessions that take the compat path, 0 to 100 %. Only the staged build accepts 1 to 99.
    pub compat_share_percent: u8,
    /// A session expires this long after its last activity, seconds. A repeated chunk is not activity.
    pub session_ttl_seconds: u64,
    /// Sessions that one caller may have in flight.
    pub max_sessions_per_caller: u64,
    /// Bytes that the sessions of one caller may reserve.
    pub max_bytes_per_caller: u64,
    /// Bytes that one capsule may hold, including sessions in flight.
    pub max_bytes_per_capsule: u64,
    /// Bytes that the canister may hold, including sessions in flight.
    pub max_bytes: u64,
    /// Capsules that one caller may create. Absent: unchanged.
    pub max_capsules_per_caller: Option<u64>,
    /// Memories that one capsule may hold. Absent: unchanged.
    pub max_memories_per_capsule: Option<u64>,
    /// Share of `max_bytes` that sessions may have reserved but not filled, 0 to 100 %. Absent: unchanged.
    pub max_promised_percent: Option<u8>,
    /// A session expires this long after it began, even if it is active, seconds. Absent: unchanged.
    pub max_session_age_seconds: Option<u64>,
    /// Who may create capsules. Absent: unchanged.
    pub capsule_makers: Option<CapsuleMakers>,
}

/// Who may create capsules. The variant numbers are part of the stored format.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(index_only)]
pub enum CapsuleMakers {
    /// Everyone except the anonymous principal.
    #[default]
    #[n(0)]
    Anyone,
    /// Those on the list of `admin_capsule_makers_set`.
    #[n(1)]
    Listed,
    /// Nobody. Existing capsules are unaffected.
    #[n(2)]
    Nobody,
}

/// Contents of the canister.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminStats {
    /// Sessions in flight, on both paths.
    pub sessions: u64,
    /// Of these: legacy records.
    pub legacy_sessions: u64,
    /// Committed blobs.
    pub blobs: u64,
    /// Chunks in the chunk map, of blobs and of sessions.
    pub chunks: u64,
    /// Allocated bytes of the payload region: by blobs, and by sessions from the moment they begin.
    pub payload_bytes: u64,
    /// Size of the payload region, bytes; the part that is not allocated is free.
    pub payload_region_bytes: u64,
    /// Ended sessions, and deleted or moved blobs and sessions, whose chunks are still to be removed.
    pub releases_pending: u64,
    /// Capsules.
    pub capsules: u64,
    /// Memories.
    pub memories: u64,
    /// Receipts of ended sessions.
    pub receipts: u64,
    /// Bytes reserved by sessions or stored in blobs.
    pub bytes_in_use: u64,
    /// Of these: reserved by sessions but not filled yet; sessions from before this counter are excluded.
    pub bytes_promised: u64,
    /// Size of stable memory, bytes.
    pub stable_memory_bytes: u64,
    /// Upload outcomes since installation, by path.
    pub counts: UploadCounts,
}

/// An error that clients cannot do anything about.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RecentError {
    /// The timer job or interface function in which it occurred.
    pub source: String,
    /// Its message.
    pub message: String,
    /// How often it occurred.
    pub count: u64,
    /// When it first occurred, nanoseconds.
    pub first_at: u64,
    /// When it last occurred, nanoseconds.
    pub last_at: u64,
}

/// The running build.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// `legacy`, `staged` or `direct`.
    pub build: String,
    /// Cargo features it was compiled with.
    pub features: Vec<String>,
    /// Package version.
    pub version: String,
    /// Stable layouts it accepts at an upgrade.
    pub layouts: Vec<u16>,
}
