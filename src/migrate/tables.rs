//! The engine's tables in this canister's stable memory.
//!
//! ```text
//! id 25   MigrationState                       migration 1: phase, cursor, counts, digests
//! id 26   u64 -> JournalRecord                 all migrations: hash-chained entries
//! id 27   u64 -> QuarantineRecord              migration 1: session id to raw bytes and reason
//! id 34   u16 -> MigrationState                later migrations, by number
//! id 35   (u16, u64) -> QuarantineRecord       later migrations, by number and unit
//! ```

use ic_stable_migrate::{Build, FirstMemories, Ledger, LedgerMemories};

use crate::build_profile::{BUILD, FEATURES};
use crate::stable::{Memories, Memory, memory_ids};

/// The engine's tables.
pub type MigrationTables = Ledger<u64, Memory>;
/// The state of a migration.
pub type MigrationState = ic_stable_migrate::MigrationState<u64>;
/// A stored entry of the journal.
pub type JournalRecord = ic_stable_migrate::JournalRecord<u64>;

/// Opens the engine's tables, or creates empty ones. Migration 1 keeps its own memories, which are older than the
/// tables of the later migrations.
pub fn open_tables(memories: &Memories) -> MigrationTables {
    let tables = LedgerMemories {
        states: memories.get(memory_ids::MIGRATION_STATES),
        journal: memories.get(memory_ids::MIGRATION_JOURNAL),
        quarantine: memories.get(memory_ids::MIGRATION_QUARANTINES),
        first: Some(FirstMemories {
            state: memories.get(memory_ids::MIGRATION_STATE),
            quarantine: memories.get(memory_ids::MIGRATION_QUARANTINE),
        }),
    };
    Ledger::open(tables, Build { name: BUILD, features: FEATURES })
}

#[cfg(test)]
pub use description::describe;

#[cfg(test)]
mod description {
    use std::collections::BTreeMap;

    use ic_stable_migrate::QuarantineRecord;
    use stable_schema::Value;

    use super::{JournalRecord, MigrationState};
    use crate::stable::memory_ids::numbers;
    use crate::stable::schema::{Described, Description};
    use crate::stable::{Record, Register, Table};

    macro_rules! engine_records {
        ($($record:ty),*) => {
            $(impl Described for $record {
                fn value() -> Value {
                    let mut records: BTreeMap<String, Value> =
                        serde_json::from_str(ic_stable_migrate::SCHEMA).expect("the engine's schema is JSON");
                    records.remove(<$record as Record>::NAME).expect("the engine describes each of its records")
                }
            })*
        };
    }

    engine_records!(MigrationState, JournalRecord, QuarantineRecord);

    /// Describes the tables of the engine. They are not types of this crate, so only their types of keys and records
    /// are given.
    pub fn describe(to: &mut Description) {
        to.register(numbers::MIGRATION_STATE, None::<&Register<MigrationState>>);
        to.table(numbers::MIGRATION_STATES, None::<&Table<u16, MigrationState>>);
        to.table(numbers::MIGRATION_JOURNAL, None::<&Table<u64, JournalRecord>>);
        to.table(numbers::MIGRATION_QUARANTINE, None::<&Table<u64, QuarantineRecord>>);
        to.table(numbers::MIGRATION_QUARANTINES, None::<&Table<(u16, u64), QuarantineRecord>>);
    }
}
