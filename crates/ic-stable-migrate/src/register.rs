//! A single stable record.

use std::cell::OnceCell;

use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{Memory, StableCell};

use crate::{Record, StableError};

/// A stable cell that contains one record, or none yet. The record is decoded when it is first read, and not again.
///
/// ```
/// use ic_stable_migrate::{Layout, Register};
/// use ic_stable_structures::VectorMemory;
///
/// let memory = VectorMemory::default();
/// let mut layout = Register::over(memory.clone());
/// assert_eq!(layout.get()?, None);
/// layout.set(&Layout(2));
/// assert_eq!(Register::over(memory).get()?, Some(Layout(2)));
/// # Ok::<(), ic_stable_migrate::StableError>(())
/// ```
pub struct Register<V, M: Memory> {
    /// None until the first record is stored, if [`Register::open`] found an empty memory.
    cell: Option<StableCell<Vec<u8>, M>>,
    memory: M,
    /// The record or the error of decoding it, once it was read or set.
    decoded: OnceCell<Result<Option<V>, StableError>>,
}

impl<V: Record + Clone, M: Memory + Clone> Register<V, VirtualMemory<M>> {
    /// Opens the register in the memory `id`. An empty memory stays empty until the first record is stored, since it
    /// would otherwise take a whole bucket. The caller must make sure that the memory contains nothing else.
    pub fn open(memories: &MemoryManager<M>, id: MemoryId) -> Self {
        let memory = memories.get(id);
        if memory.size() > 0 {
            Self::over(memory)
        } else {
            Self { cell: None, memory, decoded: OnceCell::new() }
        }
    }
}

impl<V: Record + Clone, M: Memory + Clone> Register<V, M> {
    /// Opens the register in a memory, or creates an empty one. Unlike [`Register::open`], it writes to an empty memory
    /// at once. The caller must make sure that the memory contains nothing else.
    pub fn over(memory: M) -> Self {
        let cell = Some(StableCell::init(memory.clone(), Vec::new()));
        Self { cell, memory, decoded: OnceCell::new() }
    }

    /// Returns the record, if one was ever set.
    ///
    /// # Errors
    /// If the record does not decode.
    pub fn get(&self) -> Result<Option<V>, StableError> {
        self.decoded.get_or_init(|| self.decode()).clone()
    }

    /// Returns the raw bytes; empty if no record was ever set.
    ///
    /// ```
    /// use ic_stable_migrate::{Layout, Record, Register};
    /// use ic_stable_structures::VectorMemory;
    /// use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
    ///
    /// let memories = MemoryManager::init(VectorMemory::default());
    /// let mut layout: Register<Layout, _> = Register::open(&memories, MemoryId::new(0));
    /// assert!(layout.raw().is_empty());
    /// layout.set(&Layout(2));
    /// assert_eq!(layout.raw(), Layout(2).encode());
    /// ```
    pub fn raw(&self) -> &[u8] {
        self.cell.as_ref().map_or(&[], |cell| cell.get())
    }

    fn decode(&self) -> Result<Option<V>, StableError> {
        let bytes = self.raw();
        if bytes.is_empty() {
            return Ok(None);
        }
        let decoded = V::decode(bytes);
        decoded.map(Some).map_err(|reason| StableError { name: V::NAME, key: "(register)".into(), reason })
    }

    /// Replaces the record.
    pub fn set(&mut self, value: &V) {
        let cell = self.cell.get_or_insert_with(|| StableCell::init(self.memory.clone(), Vec::new()));
        cell.set(value.encode());
        self.decoded = OnceCell::from(Ok(Some(value.clone())));
    }
}
