//! Tables of the migrations in stable memory: states, journal and quarantine.

use std::iter;

use crate::api::{JournalEntry, MigrationStatus, QuarantinedRecord};
use crate::session::{SessionId, Time};
use crate::stable::layout::Layout;
use crate::stable::{Memories, Record, Register, StableError, Table, memory_ids};

use super::quarantine::Quarantine;
use super::{JournalRecord, MigrationState};

/// Number of the migration whose state and quarantine have memories of their own.
pub(super) const FIRST_MIGRATION: u16 = 1;

/// Entries or records in one reply.
const PAGE: usize = 50;

/// Bytes of records in one reply: with everything around them, below the IC's 2 MB.
const PAGE_BYTES: usize = 1_500_000;

/// The tables of all migrations.
pub struct MigrationTables {
    first: Register<MigrationState>,
    later: Table<u16, MigrationState>,
    journal: Table<u64, JournalRecord>,
    /// Units that could not be converted.
    pub quarantine: Quarantine,
}

impl MigrationTables {
    /// Opens the tables, or makes empty ones.
    pub fn open(memories: &Memories) -> Self {
        Self {
            first: Register::open(memories, memory_ids::MIGRATION_STATE),
            later: Table::open(memories, memory_ids::MIGRATION_STATES),
            journal: Table::open(memories, memory_ids::MIGRATION_JOURNAL),
            quarantine: Quarantine::open(memories),
        }
    }

    /// Returns the state of the first migration, the one between the session layers.
    pub fn state(&self) -> Result<MigrationState, StableError> {
        self.state_of(FIRST_MIGRATION)
    }

    /// Returns the state of a migration; idle if it never began.
    pub fn state_of(&self, migration: u16) -> Result<MigrationState, StableError> {
        let state = match migration {
            FIRST_MIGRATION => self.first.get()?,
            _ => self.later.get(&migration)?,
        };
        Ok(state.unwrap_or_default())
    }

    /// Replaces the state of a migration.
    pub fn set_state(&mut self, migration: u16, state: &MigrationState) {
        match migration {
            FIRST_MIGRATION => self.first.set(state),
            _ => self.later.insert(migration, state),
        }
    }

    /// Returns whether the migration between the session layers has quarantined a session.
    pub fn has_set_aside(&self, id: SessionId) -> bool {
        self.quarantine.contains(FIRST_MIGRATION, id.0)
    }

    /// Returns the number of the last migration that has begun, or of the first.
    pub fn current(&self) -> u16 {
        self.later.last_key().unwrap_or(FIRST_MIGRATION)
    }

    /// Appends an entry to the journal.
    pub fn record(&mut self, now: Time, event: &str, layout: Layout, migration: u16, state: &MigrationState) {
        let index = self.journal.len();
        let last = index.checked_sub(1).and_then(|last| self.journal.get_raw(&last));
        let previous = last.map_or([0; 32], |stored| JournalRecord::hash(&stored));
        let entry = JournalRecord::new(now, event, layout, migration, state, previous);
        self.journal.insert(index, &entry);
    }

    /// Returns the status of the last migration that has begun.
    pub fn status(&self, layout: Layout) -> Result<MigrationStatus, StableError> {
        self.status_of(self.current(), layout)
    }

    /// Returns the status of a migration as the interface shows it.
    pub fn status_of(&self, migration: u16, layout: Layout) -> Result<MigrationStatus, StableError> {
        Ok(self.state_of(migration)?.to_api(migration, layout, self.journal.len()))
    }

    /// Returns up to a page of journal entries from number `from` on.
    pub fn journal(&self, from: u64) -> Result<Vec<JournalEntry>, StableError> {
        let indexes = self.journal.keys(from..).take(PAGE);
        let stored = indexes.filter_map(|index| Some((index, self.journal.get_raw(&index)?)));
        stored
            .map(|(index, raw)| {
                let damaged =
                    |reason| StableError { name: JournalRecord::NAME, key: index.to_string(), reason };
                let record = JournalRecord::decode(&raw).map_err(damaged)?;
                Ok(record.to_api(index, JournalRecord::hash(&raw)))
            })
            .collect()
    }

    /// Lists up to a page of quarantined units above `after`, of every migration: what the first has
    /// quarantined stays so when it is finalized. Units of two migrations under the same number come on the
    /// same page. A record that is larger than a page is truncated.
    pub fn quarantined(&self, after: Option<u64>) -> Vec<QuarantinedRecord> {
        let migrations = iter::once(FIRST_MIGRATION).chain(self.later.keys(..));
        let keys_of = |migration| {
            self.quarantine.keys(migration, after, PAGE).into_iter().map(move |key| (key, migration))
        };
        let mut keys: Vec<_> = migrations.flat_map(keys_of).collect();
        keys.sort_unstable();
        let last = keys.get(PAGE.saturating_sub(1)).map(|(key, _)| *key);
        keys.retain(|(key, _)| last.is_none_or(|last| *key <= last));
        let (mut page, mut bytes) = (Vec::new(), 0_usize);
        for of_one_number in keys.chunk_by(|(one, _), (other, _)| one == other) {
            let get = |(key, migration): &(u64, u16)| {
                Some((*key, self.quarantine.get_or_damaged(*migration, *key)?))
            };
            let records: Vec<_> = of_one_number.iter().filter_map(get).collect();
            let taken = records.iter().map(|(_, record)| record.bytes_in_answer()).sum::<usize>();
            bytes = bytes.saturating_add(taken);
            if bytes > PAGE_BYTES && !page.is_empty() {
                break;
            }
            let each = PAGE_BYTES.checked_div(records.len()).unwrap_or(PAGE_BYTES);
            // If all of them fit, one may be larger than its share.
            let each = if taken > PAGE_BYTES { each } else { PAGE_BYTES };
            page.extend(records.into_iter().map(|(key, record)| record.into_api(key, each)));
        }
        page
    }
}
