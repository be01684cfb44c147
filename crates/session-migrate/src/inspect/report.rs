//! The report: what a snapshot holds, and what is wrong with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use upload_canister::stable::memory_ids::ALL;

use super::finding::{Finding, Kind, Severity};
use crate::Verdict;
use crate::progress::Phase;
use crate::provenance::Provenance;

/// A snapshot as it was found, as written with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Fail when there is damage.
    pub verdict: Verdict,
    /// When, with what and from which tree it was made.
    pub provenance: Provenance,
    /// Where the time went.
    pub phases: Vec<Phase>,
    /// What was looked at.
    pub snapshot: SnapshotReport,
    /// Stable layout: 1 legacy, 2 split, 3 extents.
    pub layout: u16,
    /// What is in it.
    pub counts: Counts,
    /// Sessions in flight, by layout and state.
    pub sessions: Vec<SessionCount>,
    /// Sessions in flight, by how long they have been idle.
    pub ages: Vec<AgeCount>,
    /// Every class of every migration, with how many units are of it.
    pub classes: Vec<ClassReport>,
    /// Where the migrations stand.
    pub migrations: Vec<MigrationReport>,
    /// How full each limit is.
    pub limits: Vec<Limit>,
    /// What of stable memory is really used.
    pub memory: MemoryReport,
    /// Every memory in use.
    pub tables: Vec<TableReport>,
    /// What `--deep` has read.
    pub deep: Option<DeepReport>,
    /// How many findings there are of each kind.
    pub found: Vec<FoundCount>,
    /// The findings, at most 100 of each kind.
    pub findings: Vec<Finding>,
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotReport {
    /// Where it is.
    pub path: PathBuf,
    /// Folder, raw or gzip.
    pub form: String,
    /// When it was taken, nanoseconds; none of a raw memory.
    pub taken_at: Option<u64>,
    /// The time that ages are counted from, nanoseconds: that, or the last activity of any session.
    pub as_of: u64,
    /// Version of the canister.
    pub canister_version: Option<u64>,
    /// The module in it.
    pub module: Option<ModuleReport>,
}

/// The module of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleReport {
    /// SHA-256 of the file, in hex: the module hash.
    pub sha256: String,
    /// `legacy`, `staged`, `direct`, or `unknown`.
    pub build: String,
    /// Cargo features that it says it was built with.
    pub features: Vec<String>,
    /// Size of the file, bytes.
    pub bytes: u64,
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Sessions in flight.
    pub sessions: u64,
    /// Of these: in layout 1.
    pub legacy_sessions: u64,
    /// Legacy records that have become layout 2 and are only still stored.
    pub left_behind: u64,
    /// Capsules.
    pub capsules: u64,
    /// Memories.
    pub memories: u64,
    /// Committed blobs.
    pub blobs: u64,
    /// Bytes of these.
    pub blob_bytes: u64,
    /// Chunks in the chunk map.
    pub chunks: u64,
    /// Bytes of these.
    pub chunk_bytes: u64,
    /// Prefixes whose chunks are still to be removed.
    pub releases_pending: u64,
    /// Deleted capsules whose memories are still to be removed.
    pub condemned_capsules: u64,
    /// Receipts of ended sessions.
    pub receipts: u64,
    /// Downloads that are kept track of.
    pub downloads: u64,
    /// Bytes of the payload region that are taken.
    pub region_taken: u64,
    /// Where the used part of the payload region ends, bytes.
    pub region_end: u64,
    /// Units in quarantine, of all migrations.
    pub quarantined: u64,
    /// Entries of the migration journal.
    pub journal: u64,
}

/// Sessions of one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCount {
    /// 1 or 2.
    pub layout: u16,
    /// `no chunk`, `some chunks`, `all chunks`, `committed`, or `unreadable`.
    pub state: String,
    /// How many.
    pub count: u64,
    /// Bytes that they have declared.
    pub bytes: u64,
    /// Of these: that have arrived.
    pub received: u64,
}

/// Sessions of one age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgeCount {
    /// How long they have been idle, in words.
    pub idle: String,
    /// How many.
    pub count: u64,
}

/// A class of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassReport {
    /// 1 or 2.
    pub migration: u16,
    /// Its name.
    pub class: String,
    /// `convert`, `release` or `quarantine`.
    pub treatment: String,
    /// How many units are of it.
    pub count: u64,
    /// Up to three of them.
    pub examples: Vec<u64>,
}

/// Where a migration stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationReport {
    /// 1 or 2.
    pub migration: u16,
    /// Its phase.
    pub phase: String,
    /// Units there were.
    pub source: u64,
    /// Of these: converted, by the engine or when touched.
    pub converted: u64,
    /// Of these: in quarantine.
    pub quarantined: u64,
    /// Of these: released.
    pub expired: u64,
    /// Why it is stuck, or what its last verification found.
    pub note: String,
    /// Why units are in quarantine, each reason with its number of units.
    pub reasons: Vec<(String, u64)>,
}

/// A limit and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Its name.
    pub limit: String,
    /// Who uses most of it, where it is one of many.
    pub whose: Option<String>,
    /// What is used.
    pub used: u64,
    /// What is allowed.
    pub allowed: u64,
}

impl Limit {
    /// The part that is used, percent.
    pub fn percent(&self) -> u64 {
        u64::try_from(u128::from(self.used) * 100 / u128::from(self.allowed.max(1))).unwrap_or(u64::MAX)
    }
}

/// What of stable memory is really used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// Size of stable memory, bytes; what is paid for.
    pub bytes: u64,
    /// Bytes in pages that are not all zero.
    pub bytes_in_use: u64,
    /// Bytes of one bucket of the memory manager.
    pub bucket_bytes: u64,
    /// Buckets that are given out.
    pub buckets: u64,
}

/// One memory of the memory manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// Its id.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// Entries; none where it is no map.
    pub entries: Option<u64>,
    /// Its size, bytes.
    pub bytes: u64,
}

impl TableReport {
    pub(super) fn of(id: u8, entries: Option<u64>, bytes: u64) -> TableReport {
        let name = ALL.iter().find(|(known, ..)| *known == id).map_or("unknown", |(_, name, _)| name);
        TableReport { id, name: name.to_lowercase().replace('_', " "), entries, bytes }
    }
}

/// What `--deep` has read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeepReport {
    /// Blobs whose bytes were hashed.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Of these blobs: with the digest that was committed.
    pub sound: u64,
}

/// Findings of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCount {
    /// The kind.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// How many.
    pub count: u64,
    /// What it means.
    pub what: String,
}

impl FoundCount {
    pub(super) fn all(counts: BTreeMap<Kind, u64>) -> Vec<FoundCount> {
        let count = |(kind, count): (Kind, u64)| FoundCount {
            kind,
            severity: kind.severity(),
            count,
            what: kind.what().to_owned(),
        };
        counts.into_iter().map(count).collect()
    }
}
