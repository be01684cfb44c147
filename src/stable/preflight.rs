//! Preflight: checks the raw bytes of stable memory before anything in it is opened.
//!
//! The library's structures overwrite whatever they do not recognize with a new structure. So the raw magics
//! are read first, and foreign or damaged bytes stop the upgrade before anything is lost.

use ic_stable_structures::Memory;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};

use super::buckets::{MAX_BUCKETS, allocated_buckets};
use super::memory_ids::{ALL, Structure};
use super::{Memories, RawMemory};

/// Stable memory was not written by this canister.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// The first bytes are not a memory manager's.
    #[error(
        "stable memory begins with {found:02x?}, expected the memory manager's \"MGR\" version 1{hint}; nothing was changed"
    )]
    NotAMemoryManager {
        /// First four bytes.
        found: [u8; 4],
        /// What they look like.
        hint: &'static str,
    },
    /// A memory contains something other than what the table of memory ids says.
    #[error("memory id {id} ({name}) begins with {found:02x?}, expected {expected}; nothing was changed")]
    ForeignStructure {
        /// Memory id.
        id: u8,
        /// Its name in the table.
        name: &'static str,
        /// First three bytes.
        found: [u8; 3],
        /// What should be there.
        expected: String,
    },
    /// The memory manager's header contradicts itself or the size of the memory.
    #[error(
        "the memory manager's header at offset {offset} is damaged: {what} is {found}, expected {expected}; restore a snapshot of this canister; nothing was changed"
    )]
    DamagedHeader {
        /// Where, bytes from the start of stable memory.
        offset: u64,
        /// Which field of it.
        what: &'static str,
        /// What it is.
        found: u64,
        /// What it should be.
        expected: String,
    },
    /// Something is stored under an id that this build does not know.
    #[error(
        "memory id {id} has {pages} pages, and this build stores nothing there: a second memory manager or a newer build has written it; install that build, and move the data elsewhere; nothing was changed"
    )]
    UnknownMemory {
        /// Memory id.
        id: u8,
        /// Its size, pages of 64 KiB.
        pages: u64,
    },
    /// An upgrade found empty stable memory, although an installed canister always has some.
    #[error("stable memory is empty, although this is an upgrade; nothing was changed")]
    Empty,
}

/// Opens the memory manager of an installed canister, after reading every magic.
///
/// # Errors
/// What was found instead of what was expected.
pub fn open_existing(raw: RawMemory) -> Result<Memories, PreflightError> {
    check_manager(&raw)?;
    let memories = Memories::init(raw);
    for (id, name, structure) in ALL {
        check_structure(&memories, *id, name, *structure)?;
    }
    Ok(memories)
}

/// Returns `Ok(())` if the memory begins with a memory manager whose header is consistent with itself and
/// with the size of the memory, so that the library can open it without a panic.
///
/// # Errors
/// [`PreflightError::Empty`], [`PreflightError::NotAMemoryManager`], [`PreflightError::DamagedHeader`].
pub fn check_manager(raw: &impl Memory) -> Result<(), PreflightError> {
    if raw.size() == 0 {
        return Err(PreflightError::Empty);
    }
    let mut found = [0; 4];
    raw.read(0, &mut found);
    if found != *b"MGR\x01" {
        let hint = match &found {
            b"DIDL" => ", found Candid as `stable_save` writes it over everything else",
            _ => "",
        };
        return Err(PreflightError::NotAMemoryManager { found, hint });
    }
    check_header(raw)
}

/// Returns `Ok(())` if no memory that this build does not know is in use. Must be called after the layout is
/// checked, since a newer layout is the better explanation.
///
/// # Errors
/// [`PreflightError::UnknownMemory`].
pub fn check_unknown<M: Memory>(memories: &MemoryManager<M>) -> Result<(), PreflightError> {
    // What the first public release left under its ids stays there; what a second memory manager wrote is
    // refused.
    let kept = |id: u8| ALL.iter().any(|(known, ..)| *known == id) && id != SECOND_MANAGER;
    for id in (0..u8::MAX).filter(|id| !kept(*id)) {
        let pages = memories.get(MemoryId::new(id)).size();
        if pages > 0 {
            return Err(PreflightError::UnknownMemory { id, pages });
        }
    }
    Ok(())
}

/// Checks the header of the memory manager against the size of the memory.
///
/// ```text
/// byte 0..4        "MGR", 1
/// byte 4..6        number of allocated buckets, little-endian
/// byte 6..8        pages of a bucket, little-endian
/// byte 8..40       reserved
/// byte 40..2080    pages of each of 255 memories, eight bytes each
/// byte 2080..      the memory that each bucket belongs to, one byte each
/// ```
fn check_header(raw: &impl Memory) -> Result<(), PreflightError> {
    let damaged =
        |offset, what, found, expected| Err(PreflightError::DamagedHeader { offset, what, found, expected });
    let [buckets, bucket_pages] = allocated_buckets(raw);
    if bucket_pages == 0 {
        return damaged(6, "the size of a bucket", 0, "at least one page".into());
    }
    let held = raw.size().saturating_sub(1).div_euclid(bucket_pages);
    if buckets > held.min(MAX_BUCKETS) {
        let expected = format!("at most {}, in {} pages", held.min(MAX_BUCKETS), raw.size());
        return damaged(4, "the number of buckets", buckets, expected);
    }
    let mut owned = [0_u64; 256];
    let mut owners = [[UNOWNED; 8]; 512];
    for first in (0..MAX_BUCKETS).step_by(owners.as_flattened().len()) {
        raw.read(OWNERS_OFFSET.saturating_add(first), owners.as_flattened_mut());
        // Most of them are compared eight at a time: comparing each of 32,768 bytes would double the cost of
        // an upgrade.
        let bits = |eight: [u8; 8]| u64::from_ne_bytes(eight);
        if first >= buckets && owners.iter().fold(u64::MAX, |all, eight| all & bits(*eight)) == u64::MAX {
            continue;
        }
        for (bucket, eight) in (first..).step_by(8).zip(owners) {
            if bucket >= buckets && bits(eight) == u64::MAX {
                continue;
            }
            for (bucket, owner) in (bucket..).zip(eight) {
                // Otherwise the manager would allocate a bucket twice, or lose one.
                if (owner == UNOWNED) == (bucket < buckets) {
                    let expected = format!("that of {buckets} allocated buckets");
                    let offset = OWNERS_OFFSET.saturating_add(bucket);
                    return damaged(offset, "the memory of a bucket", u64::from(owner), expected);
                }
                if let Some(buckets) = owned.get_mut(usize::from(owner)) {
                    *buckets = buckets.saturating_add(1);
                }
            }
        }
    }
    let mut sizes = [[0; 8]; u8::MAX as usize];
    raw.read(SIZES_OFFSET, sizes.as_flattened_mut());
    for ((id, size), owned) in (0..u8::MAX).zip(sizes).zip(owned) {
        let offset = SIZES_OFFSET.saturating_add(u64::from(id).saturating_mul(8));
        let pages = u64::from_le_bytes(size);
        if pages.div_ceil(bucket_pages) != owned {
            let expected = format!("that of {owned} buckets of {bucket_pages} pages");
            return damaged(offset, "the size of a memory", pages, expected);
        }
    }
    Ok(())
}

/// The memory id of a bucket that is not allocated.
const UNOWNED: u8 = u8::MAX;

const SIZES_OFFSET: u64 = 40;

const OWNERS_OFFSET: u64 = 2_080;

/// Where a later public release kept a secret through a second memory manager.
const SECOND_MANAGER: u8 = 42;

/// Returns `Ok(())` if a memory is empty or begins with the magic of its structure.
///
/// # Errors
/// [`PreflightError::ForeignStructure`].
pub fn check_structure<M: Memory>(
    memories: &MemoryManager<M>,
    id: u8,
    name: &'static str,
    structure: Structure,
) -> Result<(), PreflightError> {
    let Some(magic) = structure.magic() else {
        return Ok(());
    };
    let memory = memories.get(MemoryId::new(id));
    if memory.size() == 0 {
        return Ok(());
    }
    let mut found = [0; 3];
    memory.read(0, &mut found);
    if found == *magic {
        return Ok(());
    }
    let expected = format!("\"{}\"", String::from_utf8_lossy(magic));
    Err(PreflightError::ForeignStructure { id, name, found, expected })
}
