//! The report of an adoption: every record with its outcome and the reason.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::header::Header;
use crate::Verdict;
use crate::progress::Phase;
use crate::provenance::Provenance;

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// A capsule.
    Capsule,
    /// A memory of a capsule.
    Memory,
    /// An asset of a memory.
    Asset,
    /// A gallery of a capsule.
    Gallery,
    /// A committed blob.
    Blob,
    /// A session.
    Session,
    /// A stored chunk.
    Chunk,
    /// An administrator.
    Administrator,
    /// An entry of the index of capsules by owner.
    IndexEntry,
}

impl RecordKind {
    /// Returns the kind as a word.
    pub const fn word(self) -> &'static str {
        match self {
            RecordKind::Capsule => "capsule",
            RecordKind::Memory => "memory",
            RecordKind::Asset => "asset",
            RecordKind::Gallery => "gallery",
            RecordKind::Blob => "blob",
            RecordKind::Session => "session",
            RecordKind::Chunk => "chunk",
            RecordKind::Administrator => "administrator",
            RecordKind::IndexEntry => "index entry",
        }
    }

    /// Returns the kind as a word in the plural.
    pub const fn plural(self) -> &'static str {
        match self {
            RecordKind::Capsule => "capsules",
            RecordKind::Memory => "memories",
            RecordKind::Asset => "assets",
            RecordKind::Gallery => "galleries",
            RecordKind::Blob => "blobs",
            RecordKind::Session => "sessions",
            RecordKind::Chunk => "chunks",
            RecordKind::Administrator => "administrators",
            RecordKind::IndexEntry => "index entries",
        }
    }
}

/// The outcome of a record; the variants are in the order from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordOutcome {
    /// The record is in the adopted folder, without repairs. [`Item::rest`] lists parts that have no counterpart here.
    Taken,
    /// The record is in the adopted folder, but parts of it were repaired.
    Repaired,
    /// The record has no counterpart in this canister; it is in the file next to the folder (an asset in the line of
    /// its memory).
    NoCounterpart,
    /// The record is damaged, contradicts others or exceeds a limit; it is in the file next to the folder (an asset in
    /// the line of its memory).
    NotTaken,
}

impl fmt::Display for RecordOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordOutcome::Taken => "taken",
            RecordOutcome::Repaired => "repaired",
            RecordOutcome::NoCounterpart => "no counterpart",
            RecordOutcome::NotTaken => "not taken",
        })
    }
}

/// A record, or all chunks under one key prefix that were not taken. Chunks that were taken are only counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Kind of the record.
    pub kind: RecordKind,
    /// Id in the snapshot; for chunks, their session or key prefix.
    pub id: String,
    /// The capsule that contains the record, if any.
    pub capsule: Option<String>,
    /// Number of records: 1, or the number of chunks.
    pub count: u64,
    /// Outcome of the record.
    pub outcome: RecordOutcome,
    /// What was repaired, or why the record was not taken.
    pub notes: Vec<String>,
    /// Parts of a taken record that have no counterpart here; they are in the file next to the folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<String>,
}

/// The number of records of one kind, in total and by outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    /// The kind.
    pub kind: RecordKind,
    /// Records in the snapshot: the sum of the four numbers below, see [`KindCount::has_all_outcomes`].
    pub found: u64,
    /// Taken without repairs.
    pub taken: u64,
    /// Taken and repaired.
    pub repaired: u64,
    /// Without a counterpart.
    pub no_counterpart: u64,
    /// Not taken: damaged, in contradiction to others, or beyond a limit.
    pub not_taken: u64,
}

impl KindCount {
    /// Returns whether every record that was found has an outcome.
    pub const fn has_all_outcomes(&self) -> bool {
        self.found == self.taken + self.repaired + self.no_counterpart + self.not_taken
    }
}

/// The outcome of an adoption.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`Verdict::Fail`] if a record was not taken, a structure of the snapshot is damaged, or the sessions on its heap
    /// could not be read. The folder is written nevertheless.
    pub verdict: Verdict,
    /// The provenance of the report.
    pub provenance: Provenance,
    /// The phases and their times.
    pub phases: Vec<Phase>,
    /// The snapshot.
    pub snapshot: String,
    /// The adopted folder.
    pub folder: String,
    /// The file next to the folder.
    pub left: String,
    /// Number of lines in that file.
    pub left_lines: u64,
    /// The state in which the header of the memory manager was found.
    pub header: Header,
    /// Why the sessions on the heap are unknown; `None` if they are known.
    pub heap: Option<String>,
    /// Descriptions of damage to the structures of the snapshot.
    pub damage: Vec<String>,
    /// Records by kind.
    pub counts: Vec<KindCount>,
    /// Bytes of all blobs that were taken, each compared with its SHA-256 in the adopted folder.
    pub blob_bytes: u64,
    /// The number above which this canister issues session ids.
    pub sessions_after: u64,
    /// Size of the adopted stable memory, bytes.
    pub stable_bytes: u64,
    /// Every record, except the chunks that were taken.
    pub items: Vec<Item>,
}

/// The outcomes of the records so far, and the numbers of records found.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub items: Vec<Item>,
    found: BTreeMap<RecordKind, u64>,
    chunks_taken: u64,
}

impl Outcomes {
    pub fn add_found(&mut self, kind: RecordKind, count: u64) {
        *self.found.entry(kind).or_default() += count;
    }

    /// Adds a record that was taken: as repaired if there are notes, which then list the repairs.
    pub fn add_taken(
        &mut self,
        kind: RecordKind,
        id: &str,
        capsule: Option<&str>,
        notes: Vec<String>,
    ) -> &mut Item {
        let outcome = if notes.is_empty() { RecordOutcome::Taken } else { RecordOutcome::Repaired };
        self.add(kind, id, capsule, outcome, notes)
    }

    pub fn add_not_taken(&mut self, kind: RecordKind, id: &str, capsule: Option<&str>, why: &str) {
        self.add(kind, id, capsule, RecordOutcome::NotTaken, vec![why.to_owned()]);
    }

    pub fn add_no_counterpart(
        &mut self,
        kind: RecordKind,
        id: &str,
        capsule: Option<&str>,
        why: &str,
    ) -> &mut Item {
        self.add(kind, id, capsule, RecordOutcome::NoCounterpart, vec![why.to_owned()])
    }

    pub fn add(
        &mut self,
        kind: RecordKind,
        id: &str,
        capsule: Option<&str>,
        outcome: RecordOutcome,
        notes: Vec<String>,
    ) -> &mut Item {
        let (id, capsule) = (id.to_owned(), capsule.map(str::to_owned));
        self.items.push_mut(Item { kind, id, capsule, count: 1, outcome, notes, rest: Vec::new() })
    }

    pub fn add_taken_chunks(&mut self, count: u64) {
        self.chunks_taken += count;
    }

    /// Returns the counts of every kind of which a record was found or has an outcome. A kind whose outcomes do not add
    /// up is never omitted.
    pub fn counts(&self) -> Vec<KindCount> {
        let mut counts: BTreeMap<RecordKind, KindCount> = BTreeMap::new();
        let count_before_items = |kind: RecordKind| KindCount {
            kind,
            found: self.found.get(&kind).copied().unwrap_or(0),
            taken: if kind == RecordKind::Chunk { self.chunks_taken } else { 0 },
            repaired: 0,
            no_counterpart: 0,
            not_taken: 0,
        };
        for kind in self.found.keys() {
            counts.entry(*kind).or_insert_with(|| count_before_items(*kind));
        }
        for item in &self.items {
            let count = counts.entry(item.kind).or_insert_with(|| count_before_items(item.kind));
            *match item.outcome {
                RecordOutcome::Taken => &mut count.taken,
                RecordOutcome::Repaired => &mut count.repaired,
                RecordOutcome::NoCounterpart => &mut count.no_counterpart,
                RecordOutcome::NotTaken => &mut count.not_taken,
            } += item.count;
        }
        counts.into_values().filter(|count| count.found > 0 || !count.has_all_outcomes()).collect()
    }
}
