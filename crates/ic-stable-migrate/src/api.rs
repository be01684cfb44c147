//! Status, dry run, journal and quarantine of the migrations.
//!
//! The comments of these types are in the Candid interface of every canister that has the endpoints; their examples are
//! not.

use std::fmt;

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Phase of a migration.
#[cfg_attr(
    doc,
    doc = r#"
```
# include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
# fn main() -> Result<(), Error> {
use ic_stable_migrate::api::MigrationPhase;

/// Returns whether a monitor should raise an alarm.
fn is_alarming(phase: MigrationPhase) -> bool {
    match phase {
        MigrationPhase::Stuck => true,
        MigrationPhase::Paused | MigrationPhase::RolledBack => false, // a controller did that
        MigrationPhase::Idle | MigrationPhase::Converted | MigrationPhase::Finalized => false,
        MigrationPhase::Validating | MigrationPhase::Converting => false,
        MigrationPhase::Verifying | MigrationPhase::RollingBack => false,
    }
}

let bank = Bank::converted([(7, 100)]);
assert!(!is_alarming(bank.ledger.status(bank.layout()?)?.phase));
# Ok(())
# }
```
"#
)]
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
    /// Everything is converted and verified; a rollback is possible.
    Converted,
    /// Verified again; a rollback is no longer possible.
    Finalized,
    /// Stopped by a controller.
    Paused,
    /// Stopped because of an error; see `note`.
    Stuck,
    /// Rolling back.
    RollingBack,
    /// Everything is in the old layout again: the old build may be installed, or the migration may be resumed.
    RolledBack,
}

/// The state of the migration. Once it is converted, `source = converted + already + quarantined + expired`.
#[cfg_attr(
    doc,
    doc = r#"
```
# include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
# fn main() -> Result<(), Error> {
let bank = Bank::converted([(7, 100), (8, 250)]);
let status: MigrationStatus = bank.ledger.status(bank.layout()?)?;
assert_eq!(status.source, status.converted + status.already + status.quarantined + status.expired);
assert_eq!(status.digest_before, status.digest_after);
// `migration_status` returns this type.
let reply = candid::encode_one(&status).unwrap();
assert_eq!(candid::decode_one::<MigrationStatus>(&reply).unwrap(), status);
# Ok(())
# }
```
"#
)]
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus<K = u64> {
    /// Number of the migration.
    pub migration: u16,
    /// Its name; empty while it has not begun.
    pub name: String,
    /// Stable layout of the canister.
    pub layout: u16,
    /// Phase of the migration.
    pub phase: MigrationPhase,
    /// Key of the last unit that was handled in this phase.
    pub cursor: Option<K>,
    /// Source records counted so far.
    pub source: u64,
    /// Of these: converted by the engine.
    pub converted: u64,
    /// Of these: converted when their client touched them, before the engine reached them.
    pub already: u64,
    /// Of these: quarantined with their bytes and a reason.
    pub quarantined: u64,
    /// Of these: expired, and released.
    pub expired: u64,
    /// Order-independent digest of all source records, taken before the first was converted.
    pub digest_before: ByteBuf,
    /// The same digest afterwards: of the converted records, read back from stable memory and converted back
    /// to the source form, and of the expired and quarantined ones.
    pub digest_after: ByteBuf,
    /// Instructions the migration has used so far.
    pub instructions: u64,
    /// Messages the migration has used so far.
    pub messages: u64,
    /// Current number of units in a batch.
    pub batch: u32,
    /// Attempts since the last one that committed: 1 while work is left; each message that traps adds 1.
    pub attempts: u32,
    /// Number of units handled, by class; classes that did not occur are left out.
    pub classes: Vec<ClassCount>,
    /// Every converted unit was found sound at this time or later, nanoseconds. Units written since must be
    /// checked again before the migration is finalized.
    pub proven_since: Option<u64>,
    /// Number of journal entries.
    pub journal_entries: u64,
    /// Why it is stuck, what the last verification found, or what could not be retried or rolled back; otherwise
    /// empty.
    pub note: String,
    /// Number of units and quarantined records that the last rollback has converted back, and of leftover
    /// sources that it has deleted.
    pub rollback_done: Option<u64>,
    /// Number of units, quarantined records and leftover sources that the rollback still has to handle.
    pub rollback_left: Option<u64>,
}

/// Number of units of a class.
#[cfg_attr(
    doc,
    doc = r#"
```
# include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
# fn main() -> Result<(), Error> {
let bank = Bank::converted([(7, 100), (8, 250)]);
let status = bank.ledger.status(bank.layout()?)?;
assert_eq!(status.classes, [ClassCount { class: "balance".into(), count: 2 }]);
# Ok(())
# }
```
"#
)]
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// Name of the class.
    pub class: String,
    /// Number of units.
    pub count: u64,
}

/// A page describing what the migration would do. Nothing is written.
#[cfg_attr(
    doc,
    doc = r#"
```
# include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
# fn main() -> Result<(), Error> {
let bank = Bank::of((0..250).map(|account| (account, 1)));
// Reads it page by page, as a controller calls `migration_dry_run`.
let (mut units, mut next) = (0, None);
loop {
    let page: DryRun = ENGINE.dry_run(&bank, MESSAGE, next, Some(100))?;
    assert_eq!(page.waits_for, None);
    units += page.units;
    next = page.next;
    if next.is_none() {
        break;
    }
}
assert_eq!(units, 250);
# Ok(())
# }
```
"#
)]
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DryRun<K = u64> {
    /// Number of the migration.
    pub migration: u16,
    /// Its name.
    pub name: String,
    /// What must happen before it may start.
    pub waits_for: Option<String>,
    /// Units on this page.
    pub units: u64,
    /// Key of the last unit of this page, after which the next page begins; absent on the last page.
    pub next: Option<K>,
    /// The classes that occur on this page.
    pub classes: Vec<ClassForecast<K>>,
    /// Instructions used to compute this page.
    pub instructions: u64,
    /// Estimate of the instructions that migrating the units of this page would use.
    pub estimated_instructions: u64,
    /// Estimate of the number of messages that migrating the units of this page would take.
    pub estimated_messages: u64,
}

impl<K> Default for DryRun<K> {
    fn default() -> Self {
        Self {
            migration: 0,
            name: String::new(),
            waits_for: None,
            units: 0,
            next: None,
            classes: Vec::new(),
            instructions: 0,
            estimated_instructions: 0,
            estimated_messages: 0,
        }
    }
}

/// A class on a page of a dry run.
#[cfg_attr(
    doc,
    doc = r#"
```
# include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
# fn main() -> Result<(), Error> {
let bank = Bank::of((0..5).map(|account| (account, 1)));
let page = ENGINE.dry_run(&bank, MESSAGE, None, None)?;
let ClassForecast { class, treatment, count, examples, .. } = &page.classes[0];
assert_eq!((class.as_str(), treatment.as_str(), *count), ("balance", "convert", 5));
assert_eq!(*examples, [0, 1, 2]);
# Ok(())
# }
```
"#
)]
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClassForecast<K = u64> {
    /// Name of the class.
    pub class: String,
    /// Treatment of its units: convert, release or quarantine.
    pub treatment: String,
    /// Number of units.
    pub count: u64,
    /// Keys of the first few units.
    pub examples: Vec<K>,
    /// Why the first of these units would be quarantined; otherwise empty.
    pub reason: String,
}

/// An entry of the journal. Each contains the hash of the previous one.
#[cfg_attr(
    doc,
    doc = r#"
```
# include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
# fn main() -> Result<(), Error> {
let bank = Bank::converted([(7, 100)]);
let journal: Vec<JournalEntry> = bank.ledger.journal(0)?;
// Each entry has the hash of the one before.
assert!(journal.windows(2).all(|pair| pair[1].previous == pair[0].hash));
let events: Vec<&str> = journal.iter().map(|entry| entry.event.as_str()).collect();
assert_eq!(events, ["validating", "layout 2", "converting", "verifying", "converted"]);
# Ok(())
# }
```
"#
)]
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry<K = u64> {
    /// Number of the entry, from 0.
    pub index: u64,
    /// Time, nanoseconds.
    pub at: u64,
    /// The build that wrote the entry.
    pub build: String,
    /// Cargo features of that build.
    pub features: Vec<String>,
    /// What happened.
    pub event: String,
    /// SHA-256 of the plan that the migration follows, once it has started.
    pub plan: Option<ByteBuf>,
    /// The counts at that time.
    pub status: MigrationStatus<K>,
    /// SHA-256 of the previous entry; 32 zero bytes for the first.
    pub previous: ByteBuf,
    /// SHA-256 of this entry, including `previous`.
    pub hash: ByteBuf,
}

/// A unit that could not be converted. None of its bytes are lost.
#[cfg_attr(
    doc,
    doc = r#"
```
# include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
# fn main() -> Result<(), Error> {
let mut bank = Bank::of([]);
bank.ledger.quarantine.insert(1, 7, &QuarantineRecord::new("it does not decode".into(), vec![0xff]));
let page: Vec<QuarantinedRecord> = bank.ledger.quarantined(None);
assert_eq!((page[0].session, page[0].reason.as_str()), (7, "it does not decode"));
assert_eq!((page[0].raw.as_slice(), page[0].raw_len), ([0xff].as_slice(), None));
// The next page.
assert_eq!(bank.ledger.quarantined(page.last().map(|record| record.session)), []);
# Ok(())
# }
```
"#
)]
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedRecord<K = u64> {
    /// Key of the unit. The field's name is that of the first canister that used this interface.
    pub session: K,
    /// Why it was not converted.
    pub reason: String,
    /// The record as it was stored, or its beginning if a reply has no room for all of it.
    pub raw: ByteBuf,
    /// Length of the record in bytes, if `raw` is truncated.
    pub raw_len: Option<u64>,
}

/// Why an endpoint changed nothing.
#[cfg_attr(
    doc,
    doc = r#"
```
use candid::Principal;
use ic_stable_migrate::api::EndpointError;

let strange = EndpointError::Unauthorized { caller: Principal::anonymous() };
assert_eq!(strange.to_string(), "2vxsx-fae is not a controller");
let early = EndpointError::Refused("not everything is converted and verified yet".into());
assert_eq!(early.to_string(), "not everything is converted and verified yet");
```
"#
)]
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum EndpointError {
    /// The caller is not a controller.
    Unauthorized {
        /// The caller.
        caller: Principal,
    },
    /// The engine's reason.
    Refused(String),
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized { caller } => write!(f, "{caller} is not a controller"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for EndpointError {}
