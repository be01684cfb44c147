//! The report of an inspection: what a snapshot contains, and what is wrong with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use upload_canister::stable::memory_ids::ALL;

use super::finding::{Finding, FindingKind, Severity};
use crate::Verdict;
use crate::progress::Phase;
use crate::provenance::Provenance;
use crate::snapshot::Verified;

/// An inspected snapshot, as written with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Fail if a finding is damage; warnings alone pass.
    pub verdict: Verdict,
    /// The provenance of the report; it names no server, since none is used.
    pub provenance: Provenance,
    /// The phases, with their times.
    pub phases: Vec<Phase>,
    /// The snapshot.
    pub snapshot: SnapshotReport,
    /// Stable layout: 1 legacy, 2 split, 3 extents.
    pub layout: u16,
    /// Numbers of records and bytes in the snapshot.
    pub counts: Counts,
    /// Sessions in flight, by layout and state.
    pub sessions: Vec<SessionCount>,
    /// Sessions in flight, by idle time.
    pub ages: Vec<AgeCount>,
    /// Every class of every migration, with its number of units.
    pub classes: Vec<ClassReport>,
    /// The state of each migration.
    pub migrations: Vec<MigrationReport>,
    /// The use of each limit.
    pub limits: Vec<Limit>,
    /// The use of stable memory.
    pub memory: MemoryReport,
    /// The memories that were read.
    pub tables: Vec<TableReport>,
    /// The result of `--deep`, if it was requested.
    pub deep: Option<DeepReport>,
    /// Number of findings of each kind.
    pub found: Vec<FoundCount>,
    /// The findings, at most 100 of each kind.
    pub findings: Vec<Finding>,
}

/// The snapshot that was inspected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotReport {
    /// Path of the snapshot.
    pub path: PathBuf,
    /// The form: a snapshot folder, or raw or gzipped stable memory.
    pub form: String,
    /// When the snapshot was taken, nanoseconds; absent for a raw memory.
    pub taken_at: Option<u64>,
    /// The time relative to which ages are counted, nanoseconds: `taken_at`, or else the last activity of any session.
    pub as_of: u64,
    /// The canister's version number as the IC counts it; absent for a raw memory.
    pub canister_version: Option<u64>,
    /// The module in the snapshot; absent if it has none.
    pub module: Option<ModuleReport>,
    /// How far the folder was compared with its manifest, the file next to it.
    #[serde(default)]
    pub verified: Verified,
}

impl SnapshotReport {
    /// Describes how far the folder was compared with its manifest.
    pub fn verification(&self) -> &'static str {
        match self.verified {
            Verified::No => "unverified: it has no manifest",
            Verified::Lengths => "lengths, metadata and module match its manifest",
            Verified::EveryByte => "every byte matches its manifest",
        }
    }
}

/// The module of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleReport {
    /// SHA-256 of the file, in hex: the module hash.
    pub sha256: String,
    /// `legacy`, `staged`, `direct`, or `unknown`.
    pub build: String,
    /// Cargo features according to the module's metadata.
    pub features: Vec<String>,
    /// Size of the file, bytes.
    pub bytes: u64,
}

/// Numbers of records and bytes in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Sessions in flight, also those that do not decode.
    pub sessions: u64,
    /// Legacy records, without leftovers.
    pub legacy_sessions: u64,
    /// Legacy records that were converted and are still stored.
    pub leftovers: u64,
    /// Capsules.
    pub capsules: u64,
    /// Memories.
    pub memories: u64,
    /// Committed blobs.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub blob_bytes: u64,
    /// Chunks in the chunk map.
    pub chunks: u64,
    /// Bytes of these chunks.
    pub chunk_bytes: u64,
    /// Key prefixes whose chunks must still be removed: those of sessions and blobs with released chunks.
    pub releases_pending: u64,
    /// Deleted capsules whose memories must still be removed.
    pub condemned_capsules: u64,
    /// Receipts of ended sessions.
    pub receipts: u64,
    /// Tracked downloads.
    pub downloads: u64,
    /// Allocated bytes of the payload region.
    pub region_taken: u64,
    /// Size of the used part of the payload region in bytes: what is allocated, and what is free before the end.
    pub region_end: u64,
    /// Quarantined units of all migrations.
    pub quarantined: u64,
    /// Entries of the migration journal.
    pub journal: u64,
}

/// Sessions of one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCount {
    /// The stable layout of the sessions: 1 or 2.
    pub layout: u16,
    /// `no chunk`, `some chunks`, `all chunks`, `committed`, or `unreadable`.
    pub state: String,
    /// Number of sessions.
    pub count: u64,
    /// Sum of the sizes of the sessions' files, as declared by the clients.
    pub bytes: u64,
    /// Bytes that have arrived.
    pub received: u64,
}

/// Sessions in one range of idle times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgeCount {
    /// The range, as text.
    pub idle: String,
    /// Number of sessions.
    pub count: u64,
}

/// A class of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Number of the migration: 1 or 2.
    pub migration: u16,
    /// Name of the class, as in the plan of the migration.
    pub class: String,
    /// `convert`, `release` or `quarantine`.
    pub treatment: String,
    /// Number of units.
    pub count: u64,
    /// Keys of up to three of the units.
    pub examples: Vec<u64>,
}

/// The state of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationReport {
    /// Number of the migration: 1 or 2.
    pub migration: u16,
    /// Phase of the migration.
    pub phase: String,
    /// Number of source units.
    pub source: u64,
    /// Units converted: by the engine, or on touch.
    pub converted: u64,
    /// Units quarantined.
    pub quarantined: u64,
    /// Units released because they had expired.
    pub expired: u64,
    /// Why the migration is stuck, or a remark, for example about unsound or quarantined records; empty if there is
    /// none.
    pub note: String,
    /// Why units are quarantined: each reason with its number of units.
    pub reasons: Vec<(String, u64)>,
}

/// A limit and its use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Name of the limit.
    pub limit: String,
    /// The caller or capsule with the highest use; absent for a limit of the whole canister.
    pub whose: Option<String>,
    /// Amount used.
    pub used: u64,
    /// Amount allowed.
    pub allowed: u64,
}

impl Limit {
    /// Returns the use in percent, rounded down; may exceed 100.
    pub fn percent(&self) -> u64 {
        u64::try_from(u128::from(self.used) * 100 / u128::from(self.allowed.max(1))).unwrap_or(u64::MAX)
    }
}

/// The use of stable memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// Size of stable memory, bytes; all of it is charged.
    pub bytes: u64,
    /// Bytes in pages that are not all zero.
    pub bytes_in_use: u64,
    /// Bytes of one bucket of the memory manager.
    pub bucket_bytes: u64,
    /// Allocated buckets.
    pub buckets: u64,
}

/// One memory of the memory manager that is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// Id of the memory.
    pub id: u8,
    /// Name of the memory.
    pub name: String,
    /// Number of entries; absent if the memory is not a map.
    pub entries: Option<u64>,
    /// Size of the memory, bytes.
    pub bytes: u64,
}

impl TableReport {
    pub(super) fn new(id: u8, entries: Option<u64>, bytes: u64) -> TableReport {
        let name = ALL.iter().find(|(known, ..)| *known == id).map_or("unknown", |(_, name, _)| name);
        TableReport { id, name: name.to_lowercase().replace('_', " "), entries, bytes }
    }
}

/// The result of `--deep`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeepReport {
    /// Blobs whose bytes were hashed.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub bytes: u64,
    /// Blobs whose bytes have the committed digest.
    pub sound: u64,
}

/// The number of findings of one kind, also of those that are not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCount {
    /// The kind.
    pub kind: FindingKind,
    /// Severity of the kind.
    pub severity: Severity,
    /// Number of findings.
    pub count: u64,
    /// Meaning of the kind.
    pub what: String,
}

impl FoundCount {
    pub(super) fn from_counts(counts: BTreeMap<FindingKind, u64>) -> Vec<FoundCount> {
        let count = |(kind, count): (FindingKind, u64)| FoundCount {
            kind,
            severity: kind.severity(),
            count,
            what: kind.what().to_owned(),
        };
        counts.into_iter().map(count).collect()
    }
}
