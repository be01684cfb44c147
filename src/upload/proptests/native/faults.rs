//! Faults that no client causes: unreadable and damaged records, records of the first public release, loaded snapshots,
//! and a full memory.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::blob::CHUNK_SIZE;
use crate::session::{SessionId, SessionSpec};
use crate::stable::{Record as _, Table, memory_ids, preflight};
use crate::storage::Storage;
use crate::upload::path::compat::UploadSessionMeta;
use crate::upload::tests::{TestCanister, filled, metadata, person};
use crate::upload::{RawRecord, UploadMeta};
use upload_model::Stage;

use super::Native;

thread_local! {
    static CANISTER_VERSION: Cell<u64> = const { Cell::new(0) };
}

/// Resets the canister version, so that the same operations always get the same ids.
pub fn reset_canister_version() {
    CANISTER_VERSION.set(0);
}

/// Advances the canister version, which the IC increments with every message and no snapshot resets.
pub fn next_message() {
    CANISTER_VERSION.set(CANISTER_VERSION.get() + 1);
}

/// Makes the ids that `storage` issues from now on contain the canister version, as on the IC.
pub fn number_ids(storage: &mut Storage) {
    storage.include_version_in_ids(|| CANISTER_VERSION.get());
}

/// The faults injected so far.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Ids of the records of layout 1 that no build can read.
    unreadable: BTreeSet<u64>,
    /// Range of the memory's bytes that is occupied so that the memory is nearly full; `None` if it is not filled.
    pub filled: Option<Range<usize>>,
}

/// A copy of the memory, with what was known about it.
pub struct Snapshot {
    memory: Vec<u8>,
    stage: Stage,
    faults: Faults,
}

impl Native {
    /// In the legacy build, adds unreadable records, which are in no index, as earlier builds may have left them.
    pub(super) fn put_unreadable_records(&mut self, records: u8) {
        if self.stage != Stage::Legacy {
            return;
        }
        next_message();
        let sessions = &mut self.canister.storage.sessions;
        for _ in 0..records {
            let id = sessions.ids.issue().unwrap();
            sessions.legacy.insert(id, &RawRecord(b"rubbish".to_vec()));
            self.faults.unreadable.insert(id);
        }
    }

    /// In the legacy build, adds a complete session as the first public release left it: in no index and on no account.
    pub(super) fn put_foreign(&mut self, who: u8, capsule: &str, chunks: &[Vec<u8>]) -> Option<u64> {
        if self.stage != Stage::Legacy {
            return None;
        }
        next_message();
        let TestCanister { storage, now, .. } = &mut self.canister;
        let id = SessionId(storage.sessions.ids.issue().unwrap());
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let spec = SessionSpec {
            chunk_size: CHUNK_SIZE,
            bytes_expected: bytes,
            owner: person(who).as_slice().to_vec(),
            idem: String::new(),
        };
        let meta = UploadMeta {
            capsule_id: capsule.into(),
            provisional_memory_id: String::new(),
            asset_metadata: metadata(bytes),
            blob_id: None,
            created_at: now.as_nanos(),
            expected_chunks: chunks.len() as u32,
        };
        let record = UploadSessionMeta::new(id, &spec, meta).unwrap();
        for (idx, chunk) in (0..).zip(chunks) {
            storage.blobs.write_chunk(record.chunk_prefix(), idx, chunk);
        }
        storage.sessions.legacy.insert(id.0, &RawRecord(record.encode()));
        Some(id.0)
    }

    /// Returns how many unreadable records are still in layout 1, not in quarantine.
    pub(super) fn unreadable_in_layout_1(&self) -> u64 {
        let legacy = &self.canister.storage.sessions.legacy;
        self.faults.unreadable.iter().filter(|id| legacy.contains(id)).count() as u64
    }

    pub(super) fn is_unreadable(&self, id: u64) -> bool {
        self.faults.unreadable.contains(&id)
    }

    /// Returns the number of sessions in layout 1, without the unreadable ones.
    pub(super) fn legacy_sessions(&self) -> u64 {
        self.canister.storage.sessions.legacy.len() - self.unreadable_in_layout_1()
    }

    /// Checks that each unreadable record is still stored, either in layout 1 or in quarantine.
    pub(super) fn unreadable_records_invariant(&self) -> Result<(), String> {
        let Storage { sessions, migration, .. } = &self.canister.storage;
        let misplaced = self
            .faults
            .unreadable
            .iter()
            .find(|id| sessions.legacy.contains(id) == migration.quarantine.contains(1, **id));
        let quarantined = migration.quarantine.len(1);
        let expected = self.faults.unreadable.len() as u64 - self.unreadable_in_layout_1();
        match misplaced {
            Some(id) => Err(format!("record {id} is stored nowhere, or twice")),
            None if quarantined != expected => {
                Err(format!("{quarantined} are in quarantine, expected {expected}"))
            }
            None => Ok(()),
        }
    }

    /// Damages one of the records in the quarantine, chosen by `record`. Returns `false` if there is none.
    pub(super) fn damage_quarantined_record(&mut self, record: u8) -> bool {
        let keys = self.canister.storage.migration.quarantine.keys(1, None, usize::MAX);
        let Some(key) = keys.get(usize::from(record).checked_rem(keys.len()).unwrap_or(0)) else {
            return false;
        };
        let memories = preflight::open_existing(self.canister.raw.clone()).unwrap();
        let mut damaged: Table<u64, RawRecord> = Table::open(&memories, memory_ids::MIGRATION_QUARANTINE);
        damaged.insert(*key, &RawRecord(b"damaged".to_vec()));
        self.reopen();
        true
    }

    /// Takes a snapshot, in place of an earlier one. Returns `true`: this target can always take one.
    pub(super) fn save_snapshot(&mut self) -> bool {
        let memory = self.canister.raw.borrow().clone();
        self.snapshot = Some(Snapshot { memory, stage: self.stage, faults: self.faults.clone() });
        true
    }

    /// Loads the snapshot, if one was taken. The canister version is not reset.
    pub(super) fn restore_snapshot(&mut self) {
        next_message();
        let Some(Snapshot { memory, stage, faults }) = &self.snapshot else { return };
        self.canister.raw.borrow_mut().clone_from(memory);
        (self.stage, self.faults) = (*stage, faults.clone());
        self.reopen();
    }

    /// Occupies all of the memory except `left` MiB. Returns `false` if this was done before.
    pub(super) fn occupy_memory(&mut self, left: u16) -> bool {
        if self.faults.filled.is_some() {
            return false;
        }
        self.faults.filled = Some(filled::fill_memory(&mut self.canister, u64::from(left) << 20));
        self.reopen();
        true
    }
}
