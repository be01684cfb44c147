//! Reads the tables of a snapshot, and adds a finding for each structure or record that is damaged.

use std::collections::BTreeSet;

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use upload_canister::stable::memory_ids::{ALL, Structure};
use upload_canister::stable::preflight::{self, PreflightError};
use upload_canister::stable::{RawMap, Record, counters};

use super::finding::{FindingKind, Findings};
use super::report::TableReport;
use crate::snapshot::{Entry, Key, PAGE_BYTES, StableFile, Tree, read_cell};

/// Offset of the value in a cell, after magic bytes, version and length.
const CELL_VALUE: u64 = 8;

/// Offset of the version in a memory of counters.
const COUNTERS_VERSION: u64 = 3;

pub(super) type SnapshotMemory = ic_stable_structures::memory_manager::VirtualMemory<StableFile>;

/// The tables of a snapshot, and what has been found in them so far.
pub(super) struct Scan {
    memories: MemoryManager<StableFile>,
    pub findings: Findings,
    pub tables: Vec<TableReport>,
    /// Memories with a damaged structure or a record that does not decode: an entry that was not found in them may
    /// exist.
    damaged: BTreeSet<u8>,
}

impl Scan {
    /// Begins a scan: checks which memories are in use, and the headers of their structures. The memory manager's
    /// header must have been checked before.
    pub fn new(memories: MemoryManager<StableFile>) -> Scan {
        let mut scan =
            Scan { memories, findings: Findings::default(), tables: Vec::new(), damaged: BTreeSet::new() };
        for (id, name, structure) in ALL {
            if let Err(error) = preflight::check_structure(&scan.memories, *id, name, *structure) {
                scan.findings.add_at_offset(
                    FindingKind::ForeignStructure,
                    *id,
                    None,
                    0,
                    without_unchanged_remark(&error.to_string()),
                );
                scan.damaged.insert(*id);
            }
            // Maps and cells are added when they are read.
            let pages = scan.memory(*id).size();
            if matches!(structure, Structure::Region | Structure::Counters | Structure::Reserved) && pages > 0
            {
                scan.tables.push(TableReport::new(*id, None, pages * PAGE_BYTES));
            }
        }
        if let Err(error) = preflight::check_unknown(&scan.memories) {
            scan.findings.add_general(
                FindingKind::UnknownMemory,
                None,
                without_unchanged_remark(&error.to_string()),
            );
        }
        if let Err(error @ PreflightError::WrittenInPart { id, .. }) =
            preflight::check_none_missing(&scan.memories)
        {
            scan.findings.add_at_offset(
                FindingKind::DamagedStructure,
                id,
                None,
                0,
                without_unchanged_remark(&error.to_string()),
            );
        }
        scan
    }

    pub fn memory(&self, id: u8) -> SnapshotMemory {
        self.memories.get(MemoryId::new(id))
    }

    /// Returns whether no damage has been found in these memories so far. `true` means that memories which have been
    /// read already were read completely; about others, it says only that their headers are sound.
    pub fn fully_read(&self, ids: &[u8]) -> bool {
        ids.iter().all(|id| !self.damaged.contains(id))
    }

    /// Passes every entry of a map to `each`, undecoded; none if the map is already known to be damaged. Adds findings
    /// for damage of the map.
    pub fn for_each_entry<K: Key>(
        &mut self,
        id: u8,
        mut each: impl FnMut(K, &Entry<'_, SnapshotMemory>, &mut Findings),
    ) {
        if !self.fully_read(&[id]) {
            return;
        }
        let memory = self.memory(id);
        let allocated = memory.size() * PAGE_BYTES;
        let findings = &mut self.findings;
        let (entries, damage) = match Tree::open(&memory) {
            Ok(None) => return,
            Ok(Some(tree)) => {
                let mut walked = tree.walk::<K>(&mut |key, entry| each(key, entry, findings));
                // `Tree` also reads sound maps of other canisters. `RawMap` reports the differences for which an
                // upgrade is refused.
                if let Err(damage) = RawMap::open(memory.clone()) {
                    walked.damage.insert(0, damage);
                }
                (walked.entries, walked.damage)
            }
            Err(damage) => (0, vec![damage]),
        };
        for damage in damage {
            self.findings.add_at_offset(FindingKind::DamagedStructure, id, None, damage.offset, damage.what);
            self.damaged.insert(id);
        }
        if !self.tables.iter().any(|table| table.id == id) {
            self.tables.push(TableReport::new(id, Some(entries), allocated));
        }
    }

    /// Like [`Scan::for_each_entry`], but decodes every record. Adds a finding for each record that does not decode.
    pub fn for_each_record<K: Key, V: Record>(&mut self, id: u8, mut each: impl FnMut(K, V)) {
        let mut is_damaged = false;
        self.for_each_entry::<K>(id, |key, entry, findings| match V::decode(&entry.value()) {
            Ok(value) => each(key, value),
            Err(why) => {
                is_damaged = true;
                let what = format!("{}: {why}", V::NAME);
                findings.add_at_offset(FindingKind::DamagedRecord, id, Some(key.shown()), entry.offset, what);
            }
        });
        if is_damaged {
            self.damaged.insert(id);
        }
    }

    /// Returns the bytes of a cell; `None` if the cell is empty or damaged.
    fn cell_bytes(&mut self, id: u8) -> Option<Vec<u8>> {
        if !self.fully_read(&[id]) {
            return None;
        }
        let memory = self.memory(id);
        match read_cell(&memory) {
            Ok(None) => None,
            Ok(Some(bytes)) => {
                self.tables.push(TableReport::new(id, None, memory.size() * PAGE_BYTES));
                Some(bytes).filter(|bytes| !bytes.is_empty())
            }
            Err(damage) => {
                self.findings.add_at_offset(
                    FindingKind::DamagedStructure,
                    id,
                    None,
                    damage.offset,
                    damage.what,
                );
                self.damaged.insert(id);
                None
            }
        }
    }

    /// Returns the record of a cell; `None` if none was ever stored, or the cell or record is damaged, which is a
    /// finding.
    pub fn read_cell<V: Record>(&mut self, id: u8) -> Option<V> {
        let bytes = self.cell_bytes(id)?;
        V::decode(&bytes)
            .map_err(|why| {
                self.findings.add_at_offset(
                    FindingKind::DamagedRecord,
                    id,
                    None,
                    CELL_VALUE,
                    format!("{}: {why}", V::NAME),
                );
                self.damaged.insert(id);
            })
            .ok()
    }

    /// Returns `N` counters from a memory of counters, beginning with number `place`; `None` if the memory is empty or
    /// damaged.
    pub fn read_counters<const N: usize>(&mut self, id: u8, place: u32) -> Option<[u64; N]> {
        let memory = self.memory(id);
        if !self.fully_read(&[id]) || memory.size() == 0 {
            return None;
        }
        let mut version = [0; 1];
        memory.read(COUNTERS_VERSION, &mut version);
        if version != [counters::VERSION] {
            let what = format!("version {}, expected {}", version[0], counters::VERSION);
            self.findings.add_at_offset(FindingKind::DamagedStructure, id, None, COUNTERS_VERSION, what);
            self.damaged.insert(id);
            return None;
        }
        let mut bytes = [[0; 8]; N];
        memory.read(counters::offset(place), bytes.as_flattened_mut());
        Some(bytes.map(u64::from_be_bytes))
    }
}

/// Removes the remark "nothing was changed" from the end of a canister's error text: the remark is about upgrades, and
/// here nothing is upgraded.
pub(super) fn without_unchanged_remark(text: &str) -> String {
    text.trim_end_matches("; nothing was changed").to_owned()
}
