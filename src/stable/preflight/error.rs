//! Why the preflight refuses stable memory: each reason with its error text.

/// Why the preflight refuses stable memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// The first bytes are not those of a memory manager.
    #[error(
        "stable memory begins with {found:02x?}, expected the memory manager's \"MGR\" version 1{hint}; nothing was changed"
    )]
    NotAMemoryManager {
        /// First four bytes.
        found: [u8; 4],
        /// What these bytes look like, and what to do; empty if unknown.
        hint: &'static str,
    },
    /// A memory contains something other than the structure in the table of memory ids.
    #[error("memory id {id} ({name}) begins with {found:02x?}, expected {expected}; nothing was changed")]
    ForeignStructure {
        /// Memory id.
        id: u8,
        /// Name of the memory in the table of memory ids.
        name: &'static str,
        /// First three bytes.
        found: [u8; 3],
        /// The magic that should be there.
        expected: String,
    },
    /// A memory begins with the right magic, but its header or a node is not as the library writes it.
    #[error(
        "memory id {id} ({name}), offset {offset}: {what}; install the build that wrote it, or load a snapshot from before the damage; `session-migrate inspect` names all of it; nothing was changed"
    )]
    DamagedStructure {
        /// Memory id.
        id: u8,
        /// Name of the memory in the table of memory ids.
        name: &'static str,
        /// Offset in the memory, bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A record, or its key, is not what this canister stores in that memory.
    #[error(
        "memory id {id} ({name}): the {which} record, under {key}, is not one that this build stores in this memory: {reason}; install the build that wrote it, or load a snapshot from before the damage; `session-migrate inspect` names every such record; nothing was changed"
    )]
    ForeignRecord {
        /// Memory id.
        id: u8,
        /// Name of the memory in the table of memory ids.
        name: &'static str,
        /// `first` or `last`; `only` for the record of a cell.
        which: &'static str,
        /// Key of the record, or the first bytes of the key in hexadecimal.
        key: String,
        /// Why the record does not decode, or is not one of this memory.
        reason: String,
    },
    /// According to the format in its first byte, a newer build has written the record.
    #[error(
        "memory id {id} ({name}): the {which} record, under {key}, has format {found}, this build supports formats up to {known}: install the newer build that wrote it; if there is none, the record is damaged: load a snapshot from before the damage; `session-migrate inspect` names every such record; nothing was changed"
    )]
    NewerRecord {
        /// Memory id.
        id: u8,
        /// Name of the memory in the table of memory ids.
        name: &'static str,
        /// `first` or `last`; `only` for the record of a cell.
        which: &'static str,
        /// Key of the record.
        key: String,
        /// Format of the record.
        found: u8,
        /// Newest format that this build supports.
        known: u8,
    },
    /// There is a memory manager, but neither the layout header that every build of this canister writes, nor a session
    /// of layout 1.
    #[error(
        "memory id 10 (LAYOUT) is empty, so no build of this canister has written this memory; it uses {in_use}; install the canister that wrote it, or load a snapshot of this one; nothing was changed"
    )]
    NoLayout {
        /// List of the memory ids in use.
        in_use: String,
    },
    /// The first public release has written the memory.
    #[error(
        "stable memory is that of the first public release: it uses {in_use}, and memory id 10 (LAYOUT) is empty; no build of this canister can read that release's capsules, memories and blobs; keep that release running, never upgrade it with skip_pre_upgrade, and see docs/adopting.md; nothing was changed"
    )]
    PublicRelease {
        /// List of the memory ids in use.
        in_use: String,
    },
    /// A memory that should be in use is empty.
    #[error(
        "memory id {id} ({name}) is empty, and {why}: stable memory is incomplete; load a snapshot of this canister; nothing was changed"
    )]
    WrittenInPart {
        /// Memory id.
        id: u8,
        /// Name of the memory in the table of memory ids.
        name: &'static str,
        /// Why the memory should be in use.
        why: &'static str,
    },
    /// The header of the memory manager itself, not of a memory in it, contradicts itself or the size of stable memory.
    #[error(
        "the memory manager's header at offset {offset} is damaged: {what} is {found}, expected {expected}; restore a snapshot of this canister; nothing was changed"
    )]
    DamagedHeader {
        /// Offset in stable memory, bytes.
        offset: u64,
        /// The field of the header.
        what: &'static str,
        /// The value of the field.
        found: u64,
        /// The expected value.
        expected: String,
    },
    /// A memory is in use under an id that this build does not use.
    #[error(
        "memory id {id} has {pages} pages, and this build stores nothing there: another build has written it (a newer one, or one with a second memory manager): install that build, and move the data elsewhere with it; nothing was changed"
    )]
    UnknownMemory {
        /// Memory id.
        id: u8,
        /// Size of the memory, pages of 64 KiB.
        pages: u64,
    },
    /// An upgrade found empty stable memory, although an installed canister always has some.
    #[error(
        "stable memory is empty, although this is an upgrade: no build of this canister was installed here; install into a new canister, or load a snapshot of this one; nothing was changed"
    )]
    Empty,
}
