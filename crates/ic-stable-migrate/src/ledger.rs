//! The tables of the engine in stable memory: states, journal and quarantine.
//!
//! ```text
//! states      u16 -> MigrationState                       phase, cursor, counts, digests, by migration
//! journal     u64 -> JournalRecord                        hash-chained entries, of all migrations
//! quarantine  (u16, key) -> QuarantineRecord              raw bytes and reason, by migration and unit
//! first       MigrationState; key -> QuarantineRecord     state and quarantine of migration 1, if separate
//! ```

use std::iter;

use ic_stable_structures::Memory;

use crate::api::{JournalEntry, MigrationStatus, QuarantinedRecord};
use crate::key::StoredKey;
use crate::plan::FIRST_MIGRATION;
use crate::{
    Build, Error, JournalRecord, Key, Layout, MigrationState, Phase, Quarantine, Record, Register,
    StableError, Table, Time, newer_format,
};

/// Maximum number of journal entries, or of keys of quarantined units, in one reply. Units of two migrations with the
/// same key count once.
const MAX_ENTRIES: usize = 50;

/// Maximum number of keys of a migration's quarantine that are read for one reply, damaged ones included: at most a few
/// hundred million instructions for each migration.
const MAX_KEYS_READ: usize = 100_000;

/// Maximum number of bytes of quarantined records in one reply, so that the reply stays below the IC's limit of 2 MB.
const MAX_BYTES: usize = 1_500_000;

/// Maximum number of keys of each quarantine table that [`Ledger::check`] decodes, at 2,700 instructions each, so that
/// the cost of `post_upgrade` does not grow with the quarantine. That is enough to detect keys of another type: already
/// the first ones do not decode.
const MAX_KEYS_CHECKED: usize = 350;

/// Memories of a [`Ledger`]. Nothing else may use them.
///
/// ```
/// use ic_stable_migrate::{Build, Ledger, LedgerMemories};
/// use ic_stable_structures::VectorMemory;
/// use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
///
/// let memories = MemoryManager::init(VectorMemory::default());
/// let memory = |id| memories.get(MemoryId::new(id));
/// let tables = LedgerMemories { states: memory(3), journal: memory(4), quarantine: memory(5), first: None };
/// let ledger: Ledger<u64, _> = Ledger::open(tables, Build::default());
/// assert!(ledger.quarantine.is_empty());
/// ```
pub struct LedgerMemories<M> {
    /// States of the migrations, by number.
    pub states: M,
    /// The journal.
    pub journal: M,
    /// Quarantined units, by number of the migration and key.
    pub quarantine: M,
    /// Memories of migration 1, if its state and quarantine have their own; `None` for a new canister.
    pub first: Option<FirstMemories<M>>,
}

/// Memories of migration 1, in a canister that had only that migration when its ledger was created.
///
/// ```
/// use ic_stable_migrate::{Build, FirstMemories, Ledger, LedgerMemories};
/// use ic_stable_structures::VectorMemory;
///
/// // Only for a canister whose first migration kept its state in a memory of its own, before it used this crate.
/// let memory = VectorMemory::default;
/// let first = FirstMemories { state: memory(), quarantine: memory() };
/// let tables = LedgerMemories { states: memory(), journal: memory(), quarantine: memory(), first: Some(first) };
/// let ledger: Ledger<u64, _> = Ledger::open(tables, Build::default());
/// assert_eq!(ledger.state()?, ledger.state_of(1)?);
/// # Ok::<(), ic_stable_migrate::StableError>(())
/// ```
pub struct FirstMemories<M> {
    /// State of migration 1, in a cell.
    pub state: M,
    /// Quarantined units of migration 1, by key.
    pub quarantine: M,
}

/// The tables of all migrations: states, journal and quarantine.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::converted([(7, 100), (8, 250)]);
/// bank.ledger.check()?;
///
/// // For the endpoints.
/// let status = bank.ledger.status(bank.layout()?)?;
/// assert_eq!((status.migration, status.layout, status.converted), (1, 2, 2));
/// assert_eq!(bank.ledger.status_of(1, Layout(2))?, status);
/// let journal = bank.ledger.journal(0)?;
/// assert_eq!(journal.last().map(|entry| entry.event.as_str()), Some("converted"));
/// assert_eq!(bank.ledger.quarantined(None), []);
///
/// // A tool that moves states between canisters.
/// let (number, state) = (bank.ledger.current(), bank.ledger.state()?);
/// let mut other = Bank::of([]);
/// other.ledger.set_state(number, &state);
/// other.ledger.record(NOW, "copied", Layout(2), number, &state);
/// assert_eq!(other.ledger.state_of(number)?, state);
/// # Ok(())
/// # }
/// ```
pub struct Ledger<K: Key, M: Memory> {
    /// This build, which every new entry of the journal names.
    build: Build,
    /// The state of migration 1, if it has a memory of its own.
    first: Option<Register<MigrationState<K>, M>>,
    /// The states of the other migrations, by number; of all migrations if `first` is `None`.
    by_number: Table<u16, MigrationState<K>, M>,
    journal: Table<u64, JournalRecord<K>, M>,
    /// Units that could not be converted.
    pub quarantine: Quarantine<K, M>,
}

impl<K: Key, M: Memory + Clone> Ledger<K, M> {
    /// Opens the tables, or creates empty ones. The caller must make sure that their memories contain nothing else.
    pub fn open(memories: LedgerMemories<M>, build: Build) -> Self {
        let LedgerMemories { states, journal, quarantine, first } = memories;
        let (state, first) = first.map(|first| (first.state, first.quarantine)).unzip();
        // The order of these calls determines which buckets each memory gets.
        Self {
            build,
            first: state.map(Register::over),
            by_number: Table::over(states),
            journal: Table::over(journal),
            quarantine: Quarantine::open(first, quarantine),
        }
    }

    /// Returns `Ok(())` if every state and the last entry of the journal decode and are in a format that this crate
    /// knows, and the first keys of the quarantine decode.
    ///
    /// # Errors
    /// [`Error::NewerFormat`], [`Error::Stable`] or [`Error::DamagedKey`].
    pub fn check(&self) -> Result<(), Error> {
        if let Some(first) = &self.first {
            check_format::<MigrationState<K>>(FIRST_MIGRATION, first.raw())?;
        }
        for number in self.by_number.keys(..) {
            let raw = self.by_number.get_raw(&number).unwrap_or_default();
            check_format::<MigrationState<K>>(number, &raw)?;
        }
        for number in self.numbers_with_state() {
            self.state_of(number)?;
        }
        if let Some(last) = self.journal.last_key() {
            let raw = self.journal.get_raw(&last).unwrap_or_default();
            check_format::<JournalRecord<K>>(last, &raw)?;
            self.journal.get(&last)?;
        }
        // Records in quarantine are not decoded: a damaged one must not prevent the upgrade that fixes it.
        self.quarantine.check_keys(MAX_KEYS_CHECKED)
    }

    /// Returns the numbers of the migrations that have a stored state: those that have ever begun or been deferred.
    pub(crate) fn numbers_with_state(&self) -> Vec<u16> {
        let first = self.first.iter().filter(|first| !first.raw().is_empty()).map(|_| FIRST_MIGRATION);
        first.chain(self.by_number.keys(..)).collect()
    }

    /// Returns the migrations that are neither idle, finalized, rolled back nor deferred, and their states.
    pub(crate) fn unfinished(&self) -> Result<Vec<(u16, MigrationState<K>)>, StableError> {
        let mut unfinished = Vec::new();
        for number in self.numbers_with_state() {
            let state = self.state_of(number)?;
            let is_at_rest = matches!(state.phase, Phase::Idle | Phase::Finalized | Phase::RolledBack);
            if !is_at_rest && !state.is_deferred() {
                unfinished.push((number, state));
            }
        }
        Ok(unfinished)
    }

    /// Returns the state of migration 1, whichever migration is the current one.
    ///
    /// # Errors
    /// If the state does not decode.
    pub fn state(&self) -> Result<MigrationState<K>, StableError> {
        self.state_of(FIRST_MIGRATION)
    }

    /// Returns the state of a migration; the default, idle, if none is stored.
    ///
    /// # Errors
    /// If the state does not decode.
    pub fn state_of(&self, migration: u16) -> Result<MigrationState<K>, StableError> {
        let state = match &self.first {
            Some(first) if migration == FIRST_MIGRATION => first.get()?,
            _ => self.by_number.get(&migration)?,
        };
        Ok(state.unwrap_or_default())
    }

    /// Replaces the state of a migration.
    pub fn set_state(&mut self, migration: u16, state: &MigrationState<K>) {
        match &mut self.first {
            Some(first) if migration == FIRST_MIGRATION => first.set(state),
            _ => self.by_number.insert(migration, state),
        }
    }

    /// Returns the number of the current migration: the first that has begun or is deferred, and is not finalized. If
    /// there is none, it is the first with a stored state after the finalized ones, otherwise the last finalized one;
    /// if no state is stored, 1.
    pub fn current(&self) -> u16 {
        let stored: Vec<_> =
            self.numbers_with_state().into_iter().map(|number| (number, self.state_of(number))).collect();
        let is_final = |state: &MigrationState<K>| state.phase == Phase::Finalized;
        // A state that does not decode makes its migration current, so that the damage is reported.
        let unsettled =
            stored.iter().find(|(_, state)| state.as_ref().map_or(true, MigrationState::blocks_next));
        let not_final =
            stored.iter().rev().take_while(|(_, state)| !state.as_ref().is_ok_and(is_final)).last();
        unsettled.or(not_final).or(stored.last()).map_or(FIRST_MIGRATION, |(number, _)| *number)
    }

    /// Appends an entry to the journal.
    pub fn record(
        &mut self,
        now: impl Into<Time>,
        event: &str,
        layout: impl Into<Layout>,
        migration: u16,
        state: &MigrationState<K>,
    ) {
        let index = self.journal.len();
        let last = index.checked_sub(1).and_then(|last| self.journal.get_raw(&last));
        let previous = last.map_or([0; 32], |stored| JournalRecord::<K>::hash(&stored));
        let entry =
            JournalRecord::new(self.build, now.into(), event, layout.into(), migration, state, previous);
        self.journal.insert(index, &entry);
    }

    /// Returns the last entry of the journal; `None` if there is none.
    ///
    /// # Errors
    /// If the entry does not decode.
    pub(crate) fn last_entry(&self) -> Result<Option<JournalRecord<K>>, StableError> {
        self.journal.last_key().map_or(Ok(None), |last| self.journal.get(&last))
    }

    /// Returns the status of the [current](Self::current) migration.
    ///
    /// # Errors
    /// If the state does not decode.
    pub fn status(&self, layout: impl Into<Layout>) -> Result<MigrationStatus<K>, StableError> {
        self.status_of(self.current(), layout)
    }

    /// Returns the status of a migration, in the type of the endpoints.
    ///
    /// # Errors
    /// If the state does not decode.
    pub fn status_of(
        &self,
        migration: u16,
        layout: impl Into<Layout>,
    ) -> Result<MigrationStatus<K>, StableError> {
        Ok(self.state_of(migration)?.to_api(migration, layout.into(), self.journal.len()))
    }

    /// Returns up to a page of journal entries, starting at number `from`.
    ///
    /// # Errors
    /// If an entry does not decode.
    pub fn journal(&self, from: u64) -> Result<Vec<JournalEntry<K>>, StableError> {
        let indexes = self.journal.keys(from..).take(MAX_ENTRIES);
        let stored = indexes.filter_map(|index| Some((index, self.journal.get_raw(&index)?)));
        stored
            .map(|(index, raw)| {
                let damaged =
                    |reason| StableError { name: JournalRecord::<K>::NAME, key: index.to_string(), reason };
                let record = JournalRecord::<K>::decode(&raw).map_err(damaged)?;
                Ok(record.to_api(index, JournalRecord::<K>::hash(&raw)))
            })
            .collect()
    }

    /// Lists up to a page of quarantined units with keys above `after`, of all migrations, since units may stay in
    /// quarantine after their migration is finalized. Units of two migrations with the same key are on the same page;
    /// if the records of one key are larger than a page, they are truncated. Damaged keys are left out. At most 100,000
    /// keys of each migration are read for a page, damaged ones included.
    pub fn quarantined(&self, after: Option<K>) -> Vec<QuarantinedRecord<K>> {
        let after = after.map(|key| StoredKey::of(&key));
        let later = self.by_number.keys(..).filter(|number| *number != FIRST_MIGRATION);
        let migrations = iter::once(FIRST_MIGRATION).chain(later);
        let keys_of = |migration| {
            let stored = self.quarantine.stored_keys(migration, after.clone()).take(MAX_KEYS_READ);
            let sound = stored.filter_map(move |stored| Some((stored.decode().ok()?, stored)));
            sound.take(MAX_ENTRIES).map(move |(key, stored)| (stored, migration, key))
        };
        let mut keys: Vec<_> = migrations.flat_map(keys_of).collect();
        keys.sort_unstable();
        // A page of keys, and all units with the last of these keys.
        let last = keys.get(MAX_ENTRIES.saturating_sub(1)).map(|(stored, ..)| stored.clone());
        keys.retain(|(stored, ..)| last.as_ref().is_none_or(|last| stored <= last));
        let (mut page, mut bytes) = (Vec::new(), 0_usize);
        for same_key in keys.chunk_by(|(one, ..), (other, ..)| one == other) {
            let read_record = |(_, migration, key): &(StoredKey<K>, u16, K)| {
                Some((key.clone(), self.quarantine.get_or_damaged(*migration, key)?))
            };
            let records: Vec<_> = same_key.iter().filter_map(read_record).collect();
            let needed_bytes = records.iter().map(|(_, record)| record.max_bytes_in_reply()).sum::<usize>();
            bytes = bytes.saturating_add(needed_bytes);
            if bytes > MAX_BYTES && !page.is_empty() {
                break;
            }
            let share = MAX_BYTES.checked_div(records.len()).unwrap_or(MAX_BYTES);
            // If all records of the key fit together, none is truncated.
            let max_bytes = if needed_bytes > MAX_BYTES { share } else { MAX_BYTES };
            page.extend(records.into_iter().map(|(key, record)| record.into_api(key, max_bytes)));
        }
        page
    }
}

/// Returns [`Error::NewerFormat`] if a newer build wrote the record. Does not decode it.
fn check_format<V: Record>(key: impl ToString, raw: &[u8]) -> Result<(), Error> {
    let newer = |(found, known)| Error::NewerFormat { name: V::NAME, key: key.to_string(), found, known };
    newer_format::<V>(raw).map(newer).map_or(Ok(()), Err)
}
