//! The state of a canister between messages: a value that clones cheaply.

use std::fmt;
use std::sync::Arc;

use super::error::StateMismatch;
use super::heap::Heap;
use super::module::{CanisterModule, GlobalValue};
use super::stable::{StableMemory, WASM_PAGE};

/// A canister's module, heap (the wasm memory), globals and stable memory. Cloning is nearly free.
#[derive(Clone)]
pub struct CanisterState {
    module: Arc<CanisterModule>,
    pub(super) heap: Heap,
    /// Only the globals that are mutable or exported, in module order.
    pub(super) globals: Arc<[GlobalValue]>,
    stable: StableMemory,
}

impl fmt::Debug for CanisterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanisterState")
            .field("module", &self.module)
            .field("wasm_memory_bytes", &self.heap.size_bytes)
            .field("globals", &self.globals.len())
            .field("stable", &self.stable)
            .finish()
    }
}

impl CanisterState {
    /// Returns the state in which a module starts: data segments in place, `(start)` not run, stable memory
    /// empty.
    pub fn new(module: Arc<CanisterModule>) -> Self {
        Self {
            heap: module.initial_heap().clone(),
            globals: module.initial_globals().clone(),
            stable: StableMemory::new(),
            module,
        }
    }

    /// Returns a state that consists of saved parts.
    ///
    /// # Errors
    /// If the wasm memory or the globals do not fit the module.
    pub fn from_parts(
        module: Arc<CanisterModule>,
        heap: Heap,
        globals: Vec<GlobalValue>,
        stable: StableMemory,
    ) -> Result<Self, StateMismatch> {
        let (min, max) = module.memory_limits();
        let got = heap.size_bytes;
        if !got.is_multiple_of(WASM_PAGE) || got < min || got > max {
            return Err(StateMismatch::WasmMemory { got, min, max });
        }
        let expected = module.initial_globals();
        if globals.len() != expected.len() {
            return Err(StateMismatch::GlobalCount { got: globals.len(), expected: expected.len() });
        }
        for (index, (got, expected)) in globals.iter().zip(expected.iter()).enumerate() {
            if got.type_name() != expected.type_name() {
                return Err(StateMismatch::GlobalType {
                    index,
                    got: got.type_name(),
                    expected: expected.type_name(),
                });
            }
        }
        Ok(Self { heap, globals: globals.into(), stable, module })
    }

    /// Returns the state after an upgrade's code change, before the new module's `(start)`: stable memory is kept, and
    /// wasm memory and globals are the new module's initial ones. With `keep_wasm_memory`, the wasm memory is kept,
    /// too, and grown to the new module's minimum.
    pub fn replace_module(&self, module: Arc<CanisterModule>, keep_wasm_memory: bool) -> Self {
        let mut next = Self::new(module);
        next.stable = self.stable.clone();
        if keep_wasm_memory {
            next.heap = Heap {
                size_bytes: self.heap.size_bytes.max(next.heap.size_bytes),
                pages: self.heap.pages.clone(),
            };
        }
        next
    }

    /// Returns a state with the same module and these contents.
    pub(super) fn with_contents(
        &self,
        heap: Heap,
        globals: Arc<[GlobalValue]>,
        stable: StableMemory,
    ) -> Self {
        Self { module: self.module.clone(), heap, globals, stable }
    }

    /// Returns the module.
    pub fn module(&self) -> &Arc<CanisterModule> {
        &self.module
    }

    /// Returns the stable memory.
    pub fn stable(&self) -> &StableMemory {
        &self.stable
    }

    /// Returns the stable memory, to be changed from outside.
    pub fn stable_mut(&mut self) -> &mut StableMemory {
        &mut self.stable
    }

    /// Returns the wasm memory.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    /// Returns the size of the wasm memory in bytes.
    pub fn wasm_memory_bytes(&self) -> u64 {
        self.heap.size_bytes
    }

    /// Returns the globals that are mutable or exported, in module order.
    pub fn globals(&self) -> Vec<GlobalValue> {
        self.globals.to_vec()
    }
}
