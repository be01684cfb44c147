//! What must be true of stable memory before anything in it is opened.
//!
//! The library's structures make a new one over whatever they do not recognise. So the raw magics are
//! read first, and foreign or damaged bytes stop the upgrade while everything is still there.

use ic_stable_structures::Memory as _;

use super::memory_ids::{ALL, Structure};
use super::{Memories, RawMemory};

/// Stable memory is not what this canister left there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// The first bytes are not a memory manager's.
    #[error(
        "stable memory begins with {found:02x?}, expected the memory manager's \"MGR\" version 1{hint}; nothing was changed"
    )]
    NotAMemoryManager {
        /// First four bytes.
        found: [u8; 4],
        /// What they look like, in words.
        hint: &'static str,
    },
    /// An id holds something else than the table of memory ids says.
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
    /// An upgrade found empty stable memory, though an installed canister always has some.
    #[error("stable memory is empty, though this is an upgrade; nothing was changed")]
    Empty,
}

/// Opens the memory manager of an installed canister, after reading every magic.
///
/// # Errors
/// What was found in the place of what was expected.
pub fn open_existing(raw: RawMemory) -> Result<Memories, PreflightError> {
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
    let memories = Memories::init(raw);
    for (id, name, structure) in ALL {
        check_structure(&memories, *id, name, *structure)?;
    }
    Ok(memories)
}

fn check_structure(
    memories: &Memories,
    id: u8,
    name: &'static str,
    structure: Structure,
) -> Result<(), PreflightError> {
    let Some(magic) = structure.magic() else {
        return Ok(());
    };
    let memory = memories.get(ic_stable_structures::memory_manager::MemoryId::new(id));
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
