//! Makes empty structures.
//!
//! A memory of the manager takes a whole bucket of 8 MiB when the first byte is written to it. In layout 3 most
//! structures are made with the first capsule, all of them at once: a call that ends an upload, which must also work when
//! the canister cannot get more memory, finds every table that it writes.

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;

use super::memory_ids::{ALL, Structure};
use super::{Memories, Memory, Register, Table};

/// Memories, each with what belongs in it.
pub struct Structures(Vec<(Structure, Memory)>);

impl Structures {
    /// Returns the structures whose ids are `among`.
    pub fn of(memories: &Memories, among: impl Fn(u8) -> bool) -> Self {
        let ids = ALL.iter().filter(|(id, ..)| among(*id));
        Self(ids.map(|(id, _, structure)| (*structure, memories.get(MemoryId::new(*id)))).collect())
    }

    /// Makes those that do not exist yet. Maps and cells only: regions and counters are made by what writes them.
    pub fn make(&self) {
        for (structure, memory) in self.0.iter().filter(|(_, memory)| memory.size() == 0) {
            // While there is no record in it, a structure is the same for all types.
            match structure {
                Structure::Map => drop(Table::<u64, ()>::over(memory.clone())),
                Structure::Cell => drop(Register::<u64>::over(memory.clone())),
                Structure::Region | Structure::Counters | Structure::Reserved => {}
            }
        }
    }
}
