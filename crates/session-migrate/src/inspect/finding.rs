//! The kinds of findings about a snapshot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use upload_canister::stable::memory_ids::ALL;

macro_rules! kinds {
    ($($(#[doc = $what:literal])+ $kind:ident = $name:literal => $severity:ident;)*) => {
        /// A kind of finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FindingKind {
            $($(#[doc = $what])+ #[serde(rename = $name)] $kind,)*
        }

        impl FindingKind {
            /// All kinds.
            pub const ALL: &[FindingKind] = &[$(FindingKind::$kind),*];

            /// Returns the kind's name in reports.
            pub fn name(self) -> &'static str {
                match self { $(FindingKind::$kind => $name),* }
            }

            /// Returns the severity of findings of this kind.
            pub fn severity(self) -> Severity {
                match self { $(FindingKind::$kind => Severity::$severity),* }
            }

            /// Returns an explanation of the kind for operators.
            pub fn what(self) -> &'static str {
                match self { $(FindingKind::$kind => concat!($($what),+).trim_ascii()),* }
            }
        }
    };
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Data are lost or unreadable, or contradict one another.
    Damage,
    /// No data are lost, but the operator should know about the finding before an upgrade.
    Warning,
}

// The comment on a kind is its explanation for operators, `FindingKind::what`. A *virtual memory* is a stable memory of
// the memory manager, and has a memory id; a *memory record* describes an item in a capsule.
kinds! {
    /// a virtual memory does not begin with the header of its structure
    ForeignStructure = "foreign_structure" => Damage;
    /// a virtual memory is in use that no build of this canister uses
    UnknownMemory = "unknown_memory" => Damage;
    /// a map or cell is damaged; the records in it were not all read
    DamagedStructure = "damaged_structure" => Damage;
    /// a record does not decode
    DamagedRecord = "damaged_record" => Damage;
    /// a session has only one of its two records
    HalfSession = "half_session" => Damage;
    /// a session is in layout 1 and in layout 2
    SessionInBothLayouts = "session_in_both_layouts" => Damage;
    /// an id is in use that the counter has not issued yet
    IdAboveCounter = "id_above_counter" => Damage;
    /// an index entry refers to a record that does not exist or contradicts the entry
    IndexToNowhere = "index_to_nowhere" => Damage;
    /// a record has no entry in an index
    MissingInIndex = "missing_in_index" => Damage;
    /// the idempotency key of a session is not in its index: a repeated begin would not find the session
    MissingIdempotencyKey = "missing_key" => Warning;
    /// chunks are stored that belong to no session and no blob
    OrphanChunks = "orphan_chunks" => Damage;
    /// chunks that belong to no readable record; they may belong to a record that does not decode
    UnattributedChunks = "unattributed_chunks" => Warning;
    /// a chunk that has arrived is not stored
    MissingChunk = "missing_chunk" => Damage;
    /// a chunk is stored that has not arrived according to the record
    StrayChunk = "stray_chunk" => Damage;
    /// a stored chunk has another length than its position in the file requires
    ChunkLength = "chunk_length" => Damage;
    /// no memory record refers to a committed blob that is in the index by content, so a reference has been lost: every
    /// build that has this index stores both together
    IndexedBlobUnreferenced = "blob_without_memory" => Damage;
    /// no memory record refers to a committed blob that is not in the index by content, either: the first public release,
    /// which had no such index, leaves such blobs when sessions end
    UnindexedBlobUnreferenced = "unreferenced_blob" => Warning;
    /// a memory record refers to a blob that does not exist, or has another size or digest than the record says
    MemoryWithoutBlob = "memory_without_blob" => Damage;
    /// a memory record refers to a capsule that does not exist
    MemoryWithoutCapsule = "memory_without_capsule" => Damage;
    /// bytes of the payload region are allocated but have no owner
    ExtentWithoutOwner = "extent_without_owner" => Damage;
    /// bytes of the payload region belong to two owners, or to an owner and to a free extent
    ExtentsOverlap = "extent_of_two" => Damage;
    /// an extent ends after the used part of the region, or extents are too short for their bytes
    ExtentOutOfBounds = "extent_out_of_bounds" => Damage;
    /// the tables of free extents contradict one another
    FreeExtentsDisagree = "free_extents_disagree" => Damage;
    /// an account does not match what is stored and in flight
    AccountDisagrees = "account_disagrees" => Damage;
    /// an account holds more than can be attributed; the rest may belong to records that do not decode
    AccountUnattributed = "account_unattributed" => Warning;
    /// a stored count is wrong
    CountDisagrees = "count_disagrees" => Damage;
    /// an entry of the migration journal does not follow the entry before it
    JournalBroken = "journal_broken" => Damage;
    /// the bytes of a blob differ from those that were committed (--deep)
    BlobDigest = "blob_digest" => Damage;
    /// a legacy session that the migration will quarantine
    Unconvertible = "unconvertible" => Warning;
    /// quarantined units
    Quarantined = "quarantined" => Warning;
    /// a limit that is nearly reached
    NearlyFull = "nearly_full" => Warning;
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Kind of the finding.
    pub kind: FindingKind,
    /// Severity of the finding.
    pub severity: Severity,
    /// Memory id of the table that the finding is about; `None` if it is about no single table.
    #[serde(rename = "memory")]
    pub memory_id: Option<u8>,
    /// Name of that table, `unknown` if no build has such a table.
    pub table: Option<String>,
    /// Key of the record, as a text; `None` if the finding is about no single record.
    pub key: Option<String>,
    /// Offset in that virtual memory in bytes, if the finding is about certain bytes.
    pub offset: Option<u64>,
    /// A description of what was found.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.kind.name())?;
        if let (Some(memory_id), Some(table)) = (self.memory_id, &self.table) {
            write!(f, "memory id {memory_id} ({table})")?;
            if let Some(key) = &self.key {
                write!(f, ", key {key}")?;
            }
            if let Some(offset) = self.offset {
                write!(f, ", offset {offset}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}

/// Maximum number of findings of one kind that are listed; further ones are only counted.
const MAX_LISTED: u64 = 100;

/// The findings so far: the first 100 of each kind, and the numbers of all.
#[derive(Debug, Default)]
pub(super) struct Findings {
    listed: Vec<Finding>,
    counts: BTreeMap<FindingKind, u64>,
}

impl Findings {
    pub fn add_at_key(
        &mut self,
        kind: FindingKind,
        memory_id: u8,
        key: impl Into<String>,
        what: impl Into<String>,
    ) {
        self.add(kind, Some(memory_id), Some(key.into()), None, what.into());
    }

    pub fn add_at_offset(
        &mut self,
        kind: FindingKind,
        memory_id: u8,
        key: Option<String>,
        offset: u64,
        what: impl Into<String>,
    ) {
        self.add(kind, Some(memory_id), key, Some(offset), what.into());
    }

    /// Adds a finding that is about a whole table or, if `memory_id` is `None`, about no table.
    pub fn add_general(&mut self, kind: FindingKind, memory_id: Option<u8>, what: impl Into<String>) {
        self.add(kind, memory_id, None, None, what.into());
    }

    fn add(
        &mut self,
        kind: FindingKind,
        memory_id: Option<u8>,
        key: Option<String>,
        offset: Option<u64>,
        what: String,
    ) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count > MAX_LISTED {
            return;
        }
        let table = memory_id.map(|memory_id| {
            let row = ALL.iter().find(|(id, ..)| *id == memory_id);
            row.map_or("unknown", |(_, name, _)| *name).to_owned()
        });
        self.listed.push(Finding { kind, severity: kind.severity(), memory_id, table, key, offset, what });
    }

    /// Returns the number of findings of each kind whose severity is damage, as far as there are any.
    pub fn damage(&self) -> BTreeMap<FindingKind, u64> {
        let damage = self.counts.iter().filter(|(kind, _)| kind.severity() == Severity::Damage);
        damage.map(|(kind, count)| (*kind, *count)).collect()
    }

    /// Returns the listed findings, damage first, and the number of all findings by kind.
    pub fn into_parts(mut self) -> (Vec<Finding>, BTreeMap<FindingKind, u64>) {
        self.listed.sort_by_key(|finding| (finding.severity, finding.kind));
        (self.listed, self.counts)
    }
}
