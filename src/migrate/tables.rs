//! State, journal and quarantine in stable memory.

use crate::api::{JournalEntry, MigrationStatus, QuarantinedRecord};
use crate::session::Time;
use crate::stable::layout::Layout;
use crate::stable::{Memories, Register, StableError, Table, memory_ids};

use super::{JournalRecord, MigrationState, QuarantineRecord};

/// Entries or records in one answer; a quarantined record has at most some 17 KB.
const PAGE: usize = 50;

/// What the migration keeps.
pub struct MigrationTables {
    state: Register<MigrationState>,
    journal: Table<u64, JournalRecord>,
    /// Legacy records that could not be converted, by session id.
    pub quarantine: Table<u64, QuarantineRecord>,
}

impl MigrationTables {
    /// Opens the tables, or makes empty ones.
    pub fn open(memories: &Memories) -> Self {
        Self {
            state: Register::open(memories, memory_ids::MIGRATION_STATE),
            journal: Table::open(memories, memory_ids::MIGRATION_JOURNAL),
            quarantine: Table::open(memories, memory_ids::MIGRATION_QUARANTINE),
        }
    }

    /// The state; idle if there never was a migration.
    ///
    /// # Errors
    /// A damaged record.
    pub fn state(&self) -> Result<MigrationState, StableError> {
        Ok(self.state.get()?.unwrap_or_default())
    }

    /// Replaces the state.
    pub fn set_state(&mut self, state: &MigrationState) {
        self.state.set(state);
    }

    /// Appends an entry to the journal.
    ///
    /// # Errors
    /// When the last entry is damaged.
    pub fn record(
        &mut self,
        now: Time,
        event: &str,
        layout: Layout,
        state: &MigrationState,
    ) -> Result<(), StableError> {
        let index = self.journal.len();
        let previous = match index.checked_sub(1) {
            Some(last) => self.journal.get(&last)?.map(|entry| entry.hash()).unwrap_or_default(),
            None => [0; 32],
        };
        self.journal.insert(index, &JournalRecord::new(now, event, layout, state, previous));
        Ok(())
    }

    /// The status as the interface shows it.
    ///
    /// # Errors
    /// A damaged state.
    pub fn status(&self, layout: Layout) -> Result<MigrationStatus, StableError> {
        Ok(self.state()?.to_api(layout, self.journal.len()))
    }

    /// Up to a page of journal entries from number `from` on.
    ///
    /// # Errors
    /// A damaged entry.
    pub fn journal(&self, from: u64) -> Result<Vec<JournalEntry>, StableError> {
        let entries = self.journal.range(from..).take(PAGE);
        entries.map(|entry| entry.map(|(index, record)| record.to_api(index))).collect()
    }

    /// Up to a page of quarantined records behind session `after`.
    ///
    /// # Errors
    /// A damaged record.
    pub fn quarantined(&self, after: Option<u64>) -> Result<Vec<QuarantinedRecord>, StableError> {
        let from = after.map_or(0, |id| id.saturating_add(1));
        let records = self.quarantine.range(from..).take(PAGE);
        records.map(|entry| entry.map(|(id, record)| record.into_api(id))).collect()
    }
}
