//! The table of memory ids. An id is never reused for other data.

use ic_stable_structures::memory_manager::MemoryId;

/// First bytes of the payload region.
pub const REGION_MAGIC: &[u8; 3] = b"EXT";

/// First bytes of a memory of counters.
pub const COUNTERS_MAGIC: &[u8; 3] = b"CNT";

/// The structure stored under an id; determines which magic the preflight expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// A `StableBTreeMap`, magic `BTR`.
    Map,
    /// A `StableCell`, magic `SCL`.
    Cell,
    /// Payload after our own header, magic `EXT`.
    Region,
    /// Numbers at fixed offsets after our own header, magic `CNT`.
    Counters,
    /// Reserved; we store nothing there.
    Reserved,
}

impl Structure {
    /// Returns the first three bytes that the memory must have; `None` for a reserved memory.
    pub const fn magic(self) -> Option<&'static [u8; 3]> {
        match self {
            Self::Map => Some(b"BTR"),
            Self::Cell => Some(b"SCL"),
            Self::Region => Some(REGION_MAGIC),
            Self::Counters => Some(COUNTERS_MAGIC),
            Self::Reserved => None,
        }
    }
}

macro_rules! memory_ids {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $structure:ident;)*) => {
        $($(#[$doc])* pub const $name: MemoryId = MemoryId::new($id);)*

        /// The ids as numbers, for code that only inspects a memory.
        pub mod numbers {
            $($(#[$doc])* pub const $name: u8 = $id;)*
        }

        /// Id, name and structure of every memory, by id.
        pub const ALL: &[(u8, &str, Structure)] =
            &[$(($id, stringify!($name), Structure::$structure)),*];
    };
}

memory_ids! {
    /// Capsules: capsule id to record.
    CAPSULES = 0, Map;
    /// Index of the first public release, by subject.
    RESERVED_BY_SUBJECT = 1, Reserved;
    /// Index of the first public release, by owner.
    RESERVED_BY_OWNER = 2, Reserved;
    /// Layout 1: session id to `UploadSessionMeta`.
    LEGACY_SESSIONS = 3, Map;
    /// Session chunks of the first public release, which never stored any here.
    RESERVED_SESSION_CHUNKS = 4, Reserved;
    /// The last session id that was issued.
    SESSION_COUNTER = 5, Cell;
    /// Chunks: (SHA-256 of memory id and session id, chunk number) to bytes.
    CHUNKS = 6, Map;
    /// Committed blobs in the chunk map whose digest is a SHA-256: blob id to size, checksum and prefix of the chunks.
    BLOB_META = 7, Map;
    /// Blob counter of the first public release.
    RESERVED_BLOB_COUNTER = 8, Reserved;
    /// Admins of the first public release.
    RESERVED_ADMINS = 9, Reserved;
    /// Layout header.
    LAYOUT = 10, Cell;
    /// Layout 2: session id to `Session`.
    SESSIONS = 11, Map;
    /// Layout 2: session id to `UploadMeta`.
    UPLOAD_META = 12, Map;
    /// Index of live sessions by idempotency key.
    SESSION_BY_IDEM = 13, Map;
    /// Index of live sessions by last activity.
    SESSION_BY_ACTIVITY = 14, Map;
    /// Index of live sessions by owner.
    SESSION_BY_OWNER = 15, Map;
    /// Where the payload of live sessions is stored, and how many of its bytes are hashed.
    PAYLOAD_STATES = 16, Map;
    /// Receipts of ended uploads, for clients that lost the reply.
    RECEIPTS = 17, Map;
    /// Memories: memory id to record.
    MEMORIES = 18, Map;
    /// Index of memories by capsule.
    MEMORY_BY_CAPSULE = 19, Map;
    /// Which memories refer to which blob.
    BLOB_REFS = 20, Map;
    /// The last capsule number that was issued.
    CAPSULE_COUNTER = 21, Cell;
    /// Settings that controllers can change.
    CONFIG = 22, Cell;
    /// Layout 1: session id to last activity.
    LEGACY_ACTIVITY = 23, Map;
    /// Prefixes whose chunks are still to be removed.
    RELEASED_CHUNKS = 24, Map;
    /// State of the first migration.
    MIGRATION_STATE = 25, Cell;
    /// Journal of the migrations.
    MIGRATION_JOURNAL = 26, Map;
    /// Records that the first migration could not convert.
    MIGRATION_QUARANTINE = 27, Map;
    /// Index of receipts by expiry.
    RECEIPT_BY_EXPIRY = 28, Map;
    /// Index of capsules by member.
    CAPSULE_BY_MEMBER = 29, Map;
    /// Bytes in use, by account.
    USAGE = 30, Map;
    /// Index of blobs by content, within a capsule.
    BLOB_BY_CONTENT = 31, Map;
    /// Deleted capsules whose memories are still to be removed.
    CONDEMNED_CAPSULES = 32, Map;
    /// Index of memories that were created without an upload, by idempotency key.
    MEMORY_BY_IDEM = 33, Map;
    /// States of the migrations after the first: migration number to state.
    MIGRATION_STATES = 34, Map;
    /// Units that a migration after the first could not convert.
    MIGRATION_QUARANTINES = 35, Map;
    /// Layout 3: payload, in extents.
    EXTENT_REGION = 36, Region;
    /// Layout 3: free extents of the region, by offset.
    FREE_EXTENTS = 37, Map;
    /// Layout 3: free extents of the region, by length.
    FREE_EXTENTS_BY_LEN = 38, Map;
    /// Layout 3: end of the used part of the region, and allocated bytes.
    EXTENT_STATE = 39, Cell;
    /// Layout 3: committed blobs in extents.
    BLOBS = 40, Map;
    /// Committed blobs in the chunk map whose digest is not a SHA-256.
    MAPPED_BLOBS = 41, Map;
    /// HTTP secret of a later public release, in a second memory manager. Never to be used.
    RESERVED_HTTP_SECRET = 42, Reserved;
    /// Layout 3: which sessions may still have their bytes in the chunk map.
    MAPPED_SESSIONS = 43, Cell;
    /// Caller to the number of existing capsules that the caller has created.
    CAPSULES_BY_CREATOR = 44, Map;
    /// Counts of sessions, calls and errors by path, marks of the structures, and the last errors.
    UPLOAD_COUNTS = 45, Counters;
    /// Layout 1: the leftover mark, the key up to which all records are converted to layout 2.
    LEGACY_LEFT_BEHIND = 46, Cell;
    /// Who may create capsules, if the setting says that a list decides.
    CAPSULE_MAKERS = 47, Cell;
    /// Keys that authenticate the tokens with which browsers read private blobs.
    ACCESS_KEYS = 48, Cell;
    /// Tracked downloads.
    DOWNLOADS = 49, Map;
}

/// Highest id of the structures that the first builds of layouts 1 to 3 created together with the layout header.
pub const LAST_OF_FIRST_BUILD: u8 = numbers::MIGRATION_QUARANTINES;

/// Highest id of the structures that this build creates in every memory of layout 1 or 2.
pub const LAST_CREATED_BEFORE_LAYOUT_3: u8 = numbers::LEGACY_LEFT_BEHIND;

/// Structures that are created in layout 3 together with the layout header.
pub const CREATED_WITH_LAYOUT_3: [u8; 9] = [
    numbers::LAYOUT,
    numbers::UPLOAD_COUNTS,
    numbers::SESSION_COUNTER,
    numbers::CONFIG,
    numbers::MIGRATION_STATE,
    numbers::MIGRATION_JOURNAL,
    numbers::MIGRATION_QUARANTINE,
    numbers::MIGRATION_STATES,
    numbers::MIGRATION_QUARANTINES,
];

/// Structures that are created in layout 3 together with the first capsule: all that creating or deleting an empty
/// capsule writes.
pub const CREATED_WITH_FIRST_CAPSULE: [u8; 5] = [
    numbers::CAPSULES,
    numbers::CAPSULE_COUNTER,
    numbers::CAPSULE_BY_MEMBER,
    numbers::CONDEMNED_CAPSULES,
    numbers::CAPSULES_BY_CREATOR,
];

/// Structures that are created in layout 3 together with the first upload, or with the first memory that is created
/// without an upload: all that an upload, its end, and the removal of its file write. All other structures are created
/// with their first record.
pub const CREATED_WITH_FIRST_UPLOAD: [u8; 18] = [
    numbers::SESSIONS,
    numbers::UPLOAD_META,
    numbers::SESSION_BY_IDEM,
    numbers::SESSION_BY_ACTIVITY,
    numbers::SESSION_BY_OWNER,
    numbers::PAYLOAD_STATES,
    numbers::RECEIPTS,
    numbers::MEMORIES,
    numbers::MEMORY_BY_CAPSULE,
    numbers::BLOB_REFS,
    numbers::RECEIPT_BY_EXPIRY,
    numbers::USAGE,
    numbers::BLOB_BY_CONTENT,
    numbers::MEMORY_BY_IDEM,
    numbers::FREE_EXTENTS,
    numbers::FREE_EXTENTS_BY_LEN,
    numbers::EXTENT_STATE,
    numbers::BLOBS,
];

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated by the compiler")]
const _: () = {
    let mut i = 1;
    while i < ALL.len() {
        assert!(ALL[i - 1].0 < ALL[i].0, "memory ids are unique and ascending");
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::{ALL, Structure};

    #[test]
    fn the_page_on_stable_memory_has_a_row_for_every_memory() {
        let page = include_str!("../../docs/stable-memory.md");
        let documented =
            page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
        let used = ALL.iter().filter(|(.., structure)| *structure != Structure::Reserved);
        assert_eq!(documented.collect::<Vec<u8>>(), used.map(|(id, ..)| *id).collect::<Vec<_>>());
        let reserved = ALL.iter().filter(|(.., structure)| *structure == Structure::Reserved);
        let reserved: Vec<_> = reserved.map(|(id, ..)| id.to_string()).collect();
        let (last, others) = reserved.split_last().unwrap();
        assert!(page.contains(&format!("Ids {} and {last} belonged to", others.join(", "))));
    }
}
