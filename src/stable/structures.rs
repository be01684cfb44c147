//! Structures that are created only when they are needed.
//!
//! A memory of the manager takes a whole bucket of 8 MiB when the first byte is written to it. So in layout 3 most
//! structures are created in groups, with the first capsule or the first upload. The group of the first upload has
//! every table that the end of an upload writes, so an upload can be ended even if the canister gets no more memory.
//!
//! An empty memory may be a structure that was never created, or one that was lost. To distinguish them, layout 3 marks
//! each existing structure, next to the upload counts. The preflight refuses memory that lacks a marked structure:
//!
//! ```text
//! id 45   byte 32896..32928    four u64, big-endian: bit `id % 64` of number `id / 64`; all 0: no marks
//! ```

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;

use super::counters::{self, Counters};
use super::memory_ids::{self, ALL, COUNTERS_MAGIC, Structure};
use super::{Memories, Memory, NoRoom, Register, StableRoom, Table};

/// Index of the counter at whose offset the marks begin.
const MARKS: u32 = 4104;

/// The marks: a bit for each memory id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks([u64; 4]);

impl Marks {
    /// Reads the marks without changing anything.
    pub fn read(memory: &impl ic_stable_structures::Memory) -> Self {
        let (mut magic, mut bytes) = ([0; 3], [[0; 8]; 4]);
        if memory.size() > 0 {
            memory.read(0, &mut magic);
        }
        if magic == *COUNTERS_MAGIC {
            memory.read(counters::offset(MARKS), bytes.as_flattened_mut());
        }
        Self(bytes.map(u64::from_be_bytes))
    }

    /// Returns whether nothing is marked: stable memory is in layout 1 or 2, or an earlier build wrote it.
    pub fn are_none(self) -> bool {
        self == Self::default()
    }

    /// Returns the marked ids.
    pub fn ids(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |id| self.has(*id))
    }

    fn write(self, memory: &Memory) {
        memory.write(counters::offset(MARKS), self.0.map(u64::to_be_bytes).as_flattened());
    }

    fn has(self, id: u8) -> bool {
        self.0.get(usize::from(id >> 6)).is_some_and(|number| number >> (id & 63) & 1 == 1)
    }

    fn with(mut self, id: u8) -> Self {
        if let Some(number) = self.0.get_mut(usize::from(id >> 6)) {
            *number |= 1 << (id & 63);
        }
        self
    }
}

/// A group of structures that are created together.
pub struct Structures {
    /// The structures of the group that did not exist when the storage was opened; empty once all are created.
    missing: Vec<(u8, Structure, Memory)>,
    /// The memory of the upload counts, which holds the marks.
    counts: Memory,
}

impl Structures {
    /// Returns the group of the structures whose ids `is_included` accepts.
    pub fn of(memories: &Memories, is_included: impl Fn(u8) -> bool) -> Self {
        let included = ALL.iter().filter(|(id, ..)| is_included(*id));
        let with_memories =
            included.map(|(id, _, structure)| (*id, *structure, memories.get(MemoryId::new(*id))));
        let missing = with_memories.filter(|(.., memory)| memory.size() == 0).collect();
        Self { missing, counts: memories.get(memory_ids::UPLOAD_COUNTS) }
    }

    /// Creates the structures that do not exist yet, and marks them if stable memory has marks.
    ///
    /// # Errors
    /// [`NoRoom`] if the canister cannot get the memory. Structures created until then stay, and the next call creates
    /// the others.
    pub fn create(&mut self, room: &StableRoom) -> Result<(), NoRoom> {
        for (id, structure, memory) in &self.missing {
            if memory.size() == 0 {
                create_empty(*structure, memory).ok_or_else(|| room.no_bucket())?;
            }
            let marks = Marks::read(&self.counts);
            if !marks.are_none() {
                marks.with(*id).write(&self.counts);
            }
        }
        self.missing.clear();
        Ok(())
    }
}

/// Marks every existing structure. The memory of the upload counts, which holds the marks, must exist.
pub fn mark_all(memories: &Memories) {
    let counts = memories.get(memory_ids::UPLOAD_COUNTS);
    let marks = Marks::read(&counts);
    let exists = |id: &&(u8, &str, Structure)| memories.get(MemoryId::new(id.0)).size() > 0;
    let all_marked = ALL.iter().filter(exists).fold(marks, |marks, (id, ..)| marks.with(*id));
    if all_marked != marks {
        all_marked.write(&counts);
    }
}

/// Creates an empty structure in an empty memory; returns `None` if the memory cannot grow. For a region or a reserved
/// memory, does nothing and returns `Some`.
fn create_empty(structure: Structure, memory: &Memory) -> Option<()> {
    // The bytes of an empty structure do not depend on its types.
    match structure {
        Structure::Map if memory.grow(1) >= 0 => drop(Table::<u64, ()>::over(memory.clone())),
        Structure::Cell if memory.grow(1) >= 0 => drop(Register::<u64>::over(memory.clone())),
        Structure::Counters => return Counters::over(memory.clone()).ensure_page().then_some(()),
        Structure::Map | Structure::Cell => return None,
        // Created by the code that writes them.
        Structure::Region | Structure::Reserved => {}
    }
    Some(())
}
