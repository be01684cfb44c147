//! Facts about a canister before its upgrade.

use serde::{Deserialize, Serialize};

use crate::build::Build;

/// What the preflight has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The running build, according to its certified metadata.
    pub build: Build,
    /// Certified module hash, hex.
    pub module_hash: String,
    /// When the module was installed, nanoseconds; absent on networks that do not certify this time.
    pub installed_at: Option<u64>,
    /// Version of the canister; every message that changes the canister increases it.
    pub version: u64,
    /// Number of the current migration.
    pub migration: u16,
    /// Phase of the migration.
    pub phase: String,
    /// Stable layout.
    pub layout: u16,
    /// Ids of the snapshots that the canister had before the upgrade, hex.
    pub snapshots: Vec<String>,
    /// The canister's balance, cycles.
    pub cycles: String,
    /// All memory that the canister uses, bytes.
    pub memory_bytes: String,
    /// The verdict of `check` on stable memory; absent if the running module has no schema in its metadata.
    #[serde(default)]
    pub stable_memory: Option<String>,
}
