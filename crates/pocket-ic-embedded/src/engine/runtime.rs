//! The wasm runtime (wasmtime): its configuration, the linked system API, and compiling, for each type of memory.

use std::sync::OnceLock;

use wasmtime::{Config, InstancePre, Linker, Module};

use super::allocator;
use super::api;
use super::costs::operator_costs;
use super::error::{EngineError, InvalidWasm};
use super::host::{Host, Word};
use super::module_cache::{CachedModule, Compiler, ModuleCache};

/// Native stack that wasm may use, in bytes. Wasm that needs more traps with "stack overflow".
const WASM_STACK: usize = 5 << 20;
/// Native stack of the threads that run wasm, in bytes: the stack of the wasm, and room for the system API.
pub const THREAD_STACK: usize = WASM_STACK + (3 << 20);

/// Minimum size of wasm for which caching compiled code, and returning memory afterwards, is worthwhile.
/// Smaller modules compile in milliseconds.
const LARGE_WASM_BYTES: usize = 32 << 10;

/// The runtimes for both types of memory, and the cache of compiled modules, if there is one.
pub(super) struct Runtime {
    memory32: RuntimeForMemory,
    /// Created with the first module that has a 64-bit memory, which is rare.
    memory64: OnceLock<Result<RuntimeForMemory, EngineError>>,
    cache: Option<ModuleCache>,
}

/// A runtime for modules with one type of memory. The type determines the cost of loads and stores, and the types of
/// the system API.
pub(super) struct RuntimeForMemory {
    config: Config,
    engine: wasmtime::Engine,
    compiler: Compiler,
    linker: Linker<Host>,
}

impl RuntimeForMemory {
    fn new<W: Word>() -> Result<Self, EngineError> {
        let failed = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .operator_cost(operator_costs(W::MEMORY64))
            // Results must not depend on the bits of a NaN on the host.
            .cranelift_nan_canonicalization(true)
            .wasm_relaxed_simd(false)
            .wasm_memory64(true)
            .wasm_tail_call(true)
            .wasm_multi_memory(false)
            .wasm_backtrace_max_frames(None)
            .async_stack_size(THREAD_STACK)
            .max_wasm_stack(WASM_STACK);
        let engine = wasmtime::Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        api::define_all::<W>(&mut linker).map_err(failed)?;
        Ok(Self { compiler: Compiler::of(&engine), config, engine, linker })
    }

    /// Links a module's imports to the system API; an error if an import has a wrong type.
    pub(super) fn link(&self, module: &Module) -> Result<InstancePre<Host>, InvalidWasm> {
        self.linker.instantiate_pre(module).map_err(|error| InvalidWasm(format!("{error:#}")))
    }
}

impl Runtime {
    pub(super) fn new(cache: Option<ModuleCache>) -> Result<Self, EngineError> {
        Ok(Self { memory32: RuntimeForMemory::new::<u32>()?, memory64: OnceLock::new(), cache })
    }

    /// Returns the runtime for this type of memory.
    pub(super) fn for_memory(&self, is_memory64: bool) -> Result<&RuntimeForMemory, InvalidWasm> {
        if !is_memory64 {
            return Ok(&self.memory32);
        }
        let runtime = self.memory64.get_or_init(RuntimeForMemory::new::<u64>).as_ref();
        runtime.map_err(|error| InvalidWasm(error.to_string()))
    }

    /// Returns the module from the cache; `None` if it is too small to be cached, if there is no cache or no valid
    /// entry.
    pub(super) fn load(&self, runtime_for_memory: &RuntimeForMemory, wasm: &[u8]) -> Option<CachedModule> {
        if wasm.len() < LARGE_WASM_BYTES {
            return None;
        }
        self.cache.as_ref()?.load(&runtime_for_memory.engine, &runtime_for_memory.compiler.key(wasm))
    }

    /// Compiles a rewritten module. Stores the code of a large module in the cache, under a key made from `wasm`, the
    /// module before it was rewritten, and with `keeps_segments`, so that the code need not be checked again.
    pub(super) fn compile(
        &self,
        runtime_for_memory: &RuntimeForMemory,
        wasm: &[u8],
        rewritten: &[u8],
        keeps_segments: bool,
    ) -> Result<Module, InvalidWasm> {
        let compile = || {
            if wasm.len() < LARGE_WASM_BYTES {
                return Module::new(&runtime_for_memory.engine, rewritten);
            }
            // An engine keeps the memory that its compiler has allocated. The memory of this temporary engine is freed
            // immediately.
            let code = wasmtime::Engine::new(&runtime_for_memory.config)?.precompile_module(rewritten)?;
            if let Some(cache) = &self.cache {
                cache.store(&runtime_for_memory.compiler.key(wasm), keeps_segments, &code);
            }
            // SAFETY: the code was just compiled by this process, with the same configuration.
            unsafe { Module::deserialize(&runtime_for_memory.engine, code) }
        };
        let module = compile().map_err(|error| InvalidWasm(format!("{error:#}")))?;
        if wasm.len() >= LARGE_WASM_BYTES {
            allocator::return_unused_memory();
        }
        Ok(module)
    }
}
