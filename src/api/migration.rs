//! Status, dry run, journal and quarantine of the migrations.

use candid::CandidType;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Phase of a migration.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPhase {
    /// Nothing to do, or never started.
    Idle,
    /// Counting and digesting the source records.
    Validating,
    /// Converting records.
    Converting,
    /// Comparing counts and digests.
    Verifying,
    /// Everything is converted and verified; rollback is open.
    Converted,
    /// Verified once more, and rollback is closed for good.
    Finalized,
    /// Stopped by a controller.
    Paused,
    /// Stopped by itself; see `note`.
    Stuck,
    /// Rolling back.
    RollingBack,
    /// Everything is layout 1 again: the legacy build may take over, or the migration may be resumed.
    RolledBack,
}

/// The state of the migration. `source = converted + already + quarantined + expired` once it is converted.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Number of the migration.
    pub migration: u16,
    /// Its name; empty while it has not begun.
    pub name: String,
    /// Stable layout the canister is in: 1 legacy, 2 split, 3 extents.
    pub layout: u16,
    /// Phase of the migration.
    pub phase: MigrationPhase,
    /// Last session id that was treated in this phase.
    pub cursor: Option<u64>,
    /// Source records counted so far.
    pub source: u64,
    /// Of these: converted by the engine.
    pub converted: u64,
    /// Of these: converted before the engine came to them, when their client touched them.
    pub already: u64,
    /// Of these: quarantined with their bytes and a reason.
    pub quarantined: u64,
    /// Of these: past their time to live, and released.
    pub expired: u64,
    /// Order-independent digest of all source records, taken before the first was converted.
    pub digest_before: ByteBuf,
    /// The same over what they became, projected to the source form from the stored records.
    pub digest_after: ByteBuf,
    /// Instructions the migration has used so far.
    pub instructions: u64,
    /// Messages the migration has used so far.
    pub messages: u64,
    /// Units in a batch at present.
    pub batch: u32,
    /// Consecutive attempts that have not committed: 1 while a message is running.
    pub attempts: u32,
    /// Number of units treated, by class; classes that did not occur are left out.
    pub classes: Vec<ClassCount>,
    /// Every converted unit was found sound at this time or later, nanoseconds. What was written since must
    /// be checked again before the migration is finalized.
    pub proven_since: Option<u64>,
    /// Number of journal entries.
    pub journal_entries: u64,
    /// Why it is stuck, or what the last verification found, in words; otherwise empty.
    pub note: String,
    /// Sessions and quarantined records that the last rollback has rolled back, and leftover sources that it
    /// has dropped.
    pub rollback_done: Option<u64>,
    /// The same, still to do.
    pub rollback_left: Option<u64>,
}

/// Number of units of a class.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// Name of the class.
    pub class: String,
    /// Number of units.
    pub count: u64,
}

/// A page of what the migration would do. Nothing is written.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// Number of the migration.
    pub migration: u16,
    /// Its name.
    pub name: String,
    /// What must happen before it may begin, in words.
    pub waits_for: Option<String>,
    /// Units on this page.
    pub units: u64,
    /// Start of the next page; absent on the last one.
    pub next: Option<u64>,
    /// The classes that occur on this page.
    pub classes: Vec<ClassForecast>,
    /// Instructions that this page has used.
    pub instructions: u64,
    /// Estimate of the instructions that migrating the units of this page would use.
    pub estimated_instructions: u64,
    /// Estimate of the messages that this would take.
    pub estimated_messages: u64,
}

/// A class on a page of a dry run.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClassForecast {
    /// Name of the class.
    pub class: String,
    /// Treatment of its units: convert, release or quarantine.
    pub treatment: String,
    /// Number of units.
    pub count: u64,
    /// The first few of them.
    pub examples: Vec<u64>,
    /// Why the first of them would be quarantined, in words; otherwise empty.
    pub reason: String,
}

/// One entry of the journal. Each carries the hash of the one before it.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Number of the entry, from 0.
    pub index: u64,
    /// Time, nanoseconds.
    pub at: u64,
    /// The build that wrote it.
    pub build: String,
    /// Cargo features of that build.
    pub features: Vec<String>,
    /// What happened.
    pub event: String,
    /// SHA-256 of the plan that the run follows, once it has begun.
    pub plan: Option<ByteBuf>,
    /// The counts at that moment.
    pub status: MigrationStatus,
    /// SHA-256 of the entry before this one; 32 zero bytes for the first.
    pub previous: ByteBuf,
    /// SHA-256 of this entry, `previous` included.
    pub hash: ByteBuf,
}

/// A legacy record that could not be converted. Nothing of it is lost.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedRecord {
    /// Session id of the record.
    pub session: u64,
    /// Why it was not converted.
    pub reason: String,
    /// The record as it was stored, or as much of it as a reply has room for.
    pub raw: ByteBuf,
    /// Length of the record in bytes, if `raw` is truncated.
    pub raw_len: Option<u64>,
}
