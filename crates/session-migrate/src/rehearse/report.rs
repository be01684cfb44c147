//! The report of a rehearsal.

use std::collections::BTreeMap;

use ic_stable_migrate::api::MigrationStatus;
use serde::{Deserialize, Serialize};

use super::{CanisterPart, StopPoint};
use crate::Verdict;
use crate::build::Module;
use crate::progress::Phase;
use crate::provenance::Provenance;
use crate::server::ServerKind;

/// A rehearsal, as written with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Pass or fail.
    pub verdict: Verdict,
    /// What was wrong, one line each; empty if the verdict is pass.
    pub problems: Vec<String>,
    /// What was not rehearsed, and other remarks, one line each.
    pub notes: Vec<String>,
    /// The server of the rehearsal.
    pub server: ServerKind,
    /// When, how and from which tree the report was made.
    pub provenance: Provenance,
    /// Seed of the generated content and of every choice; 0 for another canister.
    pub seed: u64,
    /// How many clients uploaded at the same time; 0 for another canister.
    pub clients: u32,
    /// Whether the migration was rolled back once.
    pub rollback: bool,
    /// Duration including the building of wasms, seconds.
    pub seconds: f64,
    /// The time of each phase.
    pub phases: Vec<Phase>,
    /// The wasms.
    pub builds: Vec<BuildReport>,
    /// The install and the upgrades.
    pub stages: Vec<StageReport>,
    /// Every upload.
    pub uploads: Vec<UploadReport>,
    /// Every run of a migration, in order, including rollbacks.
    pub runs: Vec<MigrationRun>,
    /// Last status of migration 1, rollbacks excepted; for another canister, of the last run. All zero if there is
    /// none.
    pub migration: MigrationReport,
    /// Status of the upload canister's migration 2, which moves payload into extents. All zero if it has not run.
    pub payload: MigrationReport,
    /// The snapshot, if the rehearsal began with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotPart>,
    /// The calls and their answers, if two wasms of another canister were rehearsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canister: Option<CanisterPart>,
}

/// One wasm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildReport {
    /// `legacy`, `staged` or `direct`; for another canister, `old` or `new`.
    pub name: String,
    /// Cargo features of the wasm.
    pub features: Vec<String>,
    /// Size of the wasm in bytes, unpacked.
    pub wasm_bytes: u64,
    /// Size of the wasm in bytes, gzipped.
    pub wasm_gz_bytes: u64,
    /// SHA-256 of the gzipped file, in hex: the module hash.
    pub sha256: String,
}

impl BuildReport {
    pub(super) fn of(name: &str, module: &Module) -> BuildReport {
        BuildReport {
            name: name.to_owned(),
            features: module.features.clone(),
            wasm_bytes: module.wasm_bytes,
            wasm_gz_bytes: module.gz.len() as u64,
            sha256: module.sha256.clone(),
        }
    }
}

/// One install or upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReport {
    /// What was done, such as `upgrade to staged`.
    pub name: String,
    /// The build that was installed.
    pub build: String,
    /// Whether the installation or upgrade succeeded; for an upload canister, also whether it reports this build.
    pub upgrade_ok: bool,
    /// Instructions of the install message; absent if the server does not report costs.
    pub instructions: Option<u64>,
}

/// One upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReport {
    /// Number of the client: from 1 for new clients, from 1,001 for those of uploads in flight in a snapshot.
    pub client: u32,
    /// Name of the file.
    pub name: String,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// SHA-256 of the file on disk, in hex.
    pub sha256: String,
    /// SHA-256 of the bytes read back, in hex; absent if there was nothing to read.
    pub sha256_read_back: Option<String>,
    /// State of the upload when the canister was upgraded to the staged build.
    pub state_at_upgrade: StopPoint,
    /// Number of chunks that were stored before that upgrade.
    pub chunks_before_upgrade: u32,
    /// Number of chunks of the file.
    pub chunks_total: u32,
    /// Whether the upload has no problem: the file's bytes were read back, from exactly one memory; or the upload was
    /// aborted, and nothing is left of it.
    pub intact: bool,
}

/// What a rehearsal on a snapshot adds to the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// The snapshot.
    pub path: String,
    /// Number of legacy records in the snapshot.
    pub sessions: u64,
    /// Number of sessions that their clients continued.
    pub continued: u64,
    /// Number of capsules in the snapshot.
    pub capsules: u64,
    /// Number of answers about these capsules that were read before the first step.
    pub reads: u64,
    /// When these answers were read again and compared, such as `after the rollback`.
    #[serde(default)]
    pub compared: Vec<String>,
    /// Number of answers that were different, in all comparisons together.
    #[serde(default)]
    pub differences: u64,
    /// Damage in the snapshot: the number of findings by kind.
    pub damage_before: BTreeMap<String, u64>,
    /// Damage in the canister at the end: the number of findings by kind.
    pub damage_after: BTreeMap<String, u64>,
}

impl SnapshotPart {
    /// Describes how the answers were compared, and with what result.
    pub fn comparison(&self) -> String {
        let SnapshotPart { reads, capsules, compared, differences, .. } = self;
        format!(
            "{reads} answers about {capsules} capsules were read before the first step and again {}; {differences} of \
             the later answers differ",
            compared.join(", ")
        )
    }
}

/// A run of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationRun {
    /// The installation or upgrade after which the migration ran.
    pub stage: String,
    /// Number of the migration. For the upload canister, 1 converts sessions, and 2 moves payload into extents.
    pub migration: u16,
    /// Last phase of the run: `Converted`, `RolledBack`, `Stuck`, …
    pub phase: String,
    /// Counts of the migration in that phase.
    #[serde(flatten)]
    pub counts: MigrationReport,
}

/// Counts of a migration at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationReport {
    /// Number of source records.
    pub source: u64,
    /// Number of source records that the engine has converted.
    pub converted: u64,
    /// Number of source records that were converted on touch.
    pub already: u64,
    /// Number of source records that were quarantined.
    pub quarantined: u64,
    /// Number of source records whose sessions have expired.
    pub expired: u64,
    /// Digest of the source records, in hex.
    pub digest_before: String,
    /// Digest of the converted records in their source form, in hex.
    pub digest_after: String,
    /// Instructions that the migration has used.
    pub instructions: u64,
}

impl<K> From<&MigrationStatus<K>> for MigrationReport {
    fn from(status: &MigrationStatus<K>) -> Self {
        MigrationReport {
            source: status.source,
            converted: status.converted,
            already: status.already,
            quarantined: status.quarantined,
            expired: status.expired,
            digest_before: hex::encode(&status.digest_before),
            digest_after: hex::encode(&status.digest_after),
            instructions: status.instructions,
        }
    }
}
