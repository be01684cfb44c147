//! How far the migration is, and what it did.

use candid::CandidType;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Where a migration stands.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPhase {
    /// Nothing to do, or never started.
    Idle,
    /// Counting and digesting what is there.
    Validating,
    /// Converting records.
    Converting,
    /// Comparing counts and digests.
    Verifying,
    /// Everything is converted and proven; rollback is open.
    Converted,
    /// Proven once more, and rollback is closed for good.
    Finalized,
    /// Stopped by a controller.
    Paused,
    /// Stopped by itself; see `note`.
    Stuck,
    /// Converting back.
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
    /// Where the migration stands.
    pub phase: MigrationPhase,
    /// Last session id that was treated in this phase.
    pub cursor: Option<u64>,
    /// Legacy records there were.
    pub source: u64,
    /// Of these: converted by the engine.
    pub converted: u64,
    /// Of these: already converted when the engine came to them, since their client had touched them.
    pub already: u64,
    /// Of these: kept aside with their bytes and a reason.
    pub quarantined: u64,
    /// Of these: past their time to live, and released.
    pub expired: u64,
    /// Order-independent digest of all legacy records, taken before the first was converted.
    pub digest_before: ByteBuf,
    /// The same over what they became, projected back from the new records as stored.
    pub digest_after: ByteBuf,
    /// Instructions the migration has used so far.
    pub instructions: u64,
    /// Messages the migration has used so far.
    pub messages: u64,
    /// Units that are taken at a time at present.
    pub batch: u32,
    /// Messages that were announced and did not come back, one after the other: 1 while one is on its way.
    pub attempts: u32,
    /// How many units of each class were treated; classes that were not met are left out.
    pub classes: Vec<ClassCount>,
    /// Everything in the new form was found sound at this time or later, nanoseconds. What was written since
    /// must be looked at again before the migration is finalized.
    pub proven_since: Option<u64>,
    /// Number of journal entries.
    pub journal_entries: u64,
    /// Why it is stuck, or what the last verification found, in words; else empty.
    pub note: String,
    /// Sessions and quarantined records that the last rollback has taken back, and old copies that it has dropped.
    pub rollback_done: Option<u64>,
    /// The same that it still has before it.
    pub rollback_left: Option<u64>,
}

/// How many units of a class there are.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// Name of the class.
    pub class: String,
    /// How many.
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
    /// Where the next page begins; nothing behind the last one.
    pub next: Option<u64>,
    /// The classes that were met on this page.
    pub classes: Vec<ClassForecast>,
    /// Instructions that this page has taken.
    pub instructions: u64,
    /// Instructions that migrating the units of this page would take, about.
    pub estimated_instructions: u64,
    /// Messages that these make, about.
    pub estimated_messages: u64,
}

/// A class on a page of a dry run.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClassForecast {
    /// Name of the class.
    pub class: String,
    /// What would become of its units: convert, release or quarantine.
    pub treatment: String,
    /// How many there are.
    pub count: u64,
    /// The first few of them.
    pub examples: Vec<u64>,
    /// Why the first of them would be put into quarantine, in words; else empty.
    pub reason: String,
}

/// One entry of the journal. Each carries the hash of the one before it.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Number of the entry, from 0.
    pub index: u64,
    /// When, nanoseconds.
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
    /// The record as it was stored, or as much of it as an answer has room for.
    pub raw: ByteBuf,
    /// How many bytes the record has, where `raw` is only their beginning.
    pub raw_len: Option<u64>,
}
