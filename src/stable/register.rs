//! A single stable record.

use std::cell::OnceCell;

use ic_stable_structures::StableCell;
use ic_stable_structures::memory_manager::MemoryId;

use super::table::{Record, StableError};
use super::{Memories, Memory};

/// A stable cell that contains one record, or none yet. It is decoded once, even if a message reads it
/// several times.
pub struct Register<V> {
    cell: StableCell<Vec<u8>, Memory>,
    decoded: OnceCell<Result<Option<V>, StableError>>,
}

impl<V: Record + Clone> Register<V> {
    /// Opens the cell at `id`, or creates an empty one. The preflight has made sure that nothing else is
    /// there.
    pub fn open(memories: &Memories, id: MemoryId) -> Self {
        Self::over(memories.get(id))
    }

    /// Opens the register in a given memory.
    pub fn over(memory: Memory) -> Self {
        Self { cell: StableCell::init(memory, Vec::new()), decoded: OnceCell::new() }
    }

    /// Returns the record, if one was ever set.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn get(&self) -> Result<Option<V>, StableError> {
        self.decoded.get_or_init(|| self.decode()).clone()
    }

    fn decode(&self) -> Result<Option<V>, StableError> {
        let bytes = self.cell.get();
        if bytes.is_empty() {
            return Ok(None);
        }
        let decoded = V::decode(bytes);
        decoded.map(Some).map_err(|reason| StableError { name: V::NAME, key: "(register)".into(), reason })
    }

    /// Replaces the record.
    pub fn set(&mut self, value: &V) {
        self.cell.set(value.encode());
        self.decoded = OnceCell::from(Ok(Some(value.clone())));
    }
}
