//! Replies of the management canister whose types in `ic-management-canister-types` are too lenient: that crate makes
//! fields optional that an older Internet Computer may not send. A caller that declares such a field as required could
//! not decode those replies.
//!
//! Fields and their order are those of the interface specification.

use candid::{CandidType, Principal};
use ic_management_canister_types::{
    CanisterTimer, ChangeDetails, ChangeOrigin, ChunkHash, OnLowWasmMemoryHookStatus, SnapshotMetadataGlobal,
    SnapshotSource,
};
use serde::Serialize;

#[derive(CandidType)]
pub struct CanisterInfo {
    /// Changes since the canister was created.
    pub total_num_changes: u64,
    /// The newest changes, oldest first.
    pub recent_changes: Vec<Change>,
    /// SHA-256 of the module as it was uploaded.
    pub module_hash: Option<Vec<u8>>,
    pub controllers: Vec<Principal>,
}

#[derive(Clone, Debug, CandidType)]
pub struct Change {
    /// When the change was made, nanoseconds since 1970.
    pub timestamp_nanos: u64,
    /// The canister's version after the change.
    pub canister_version: u64,
    pub origin: ChangeOrigin,
    pub details: ChangeDetails,
}

/// The result of `read_canister_snapshot_metadata`, which is also the `metadata.json` of a snapshot folder.
#[derive(Debug, CandidType, Serialize)]
pub struct SnapshotMetadata {
    pub source: SnapshotSource,
    /// When the snapshot was taken, nanoseconds since 1970.
    pub taken_at_timestamp: u64,
    pub wasm_module_size: u64,
    /// Globals that are mutable or exported, in module order.
    pub globals: Vec<SnapshotMetadataGlobal>,
    pub wasm_memory_size: u64,
    pub stable_memory_size: u64,
    pub wasm_chunk_store: Vec<ChunkHash>,
    /// The canister's version when the snapshot was taken.
    pub canister_version: u64,
    pub certified_data: Vec<u8>,
    pub global_timer: Option<CanisterTimer>,
    pub on_low_wasm_memory_hook_status: Option<OnLowWasmMemoryHookStatus>,
}
