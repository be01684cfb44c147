//! The wasm runtime: its configuration and the system API, for each type of memory.

use std::sync::OnceLock;

use wasmtime::{Config, InstancePre, Linker, Module};

use super::allocator;
use super::api;
use super::costs::operator_costs;
use super::error::{EngineError, InvalidWasm};
use super::host::{Host, Word};
use super::module_cache::{Compiler, ModuleCache};

/// Native stack that wasm may use, in bytes. More than that is the trap "stack overflow".
const WASM_STACK: usize = 5 << 20;
/// Native stack of the threads that run wasm, in bytes: room for the system API above the wasm.
pub(super) const THREAD_STACK: usize = WASM_STACK + (3 << 20);

/// The smallest wasm that is worth keeping compiled, and giving memory back after. Smaller ones take milliseconds.
const LARGE_WASM_BYTES: usize = 32 << 10;

/// The runtime. Shared by all modules.
pub(super) struct Runtime {
    narrow: Flavour,
    /// Set up when the first module with a 64-bit memory comes, which is seldom.
    wide: OnceLock<Result<Flavour, EngineError>>,
    cache: Option<ModuleCache>,
}

/// A runtime for modules with one type of memory: what loads and stores cost depends on it, and so do the types of the
/// system API.
struct Flavour {
    engine: wasmtime::Engine,
    compiler: Compiler,
    linker: Linker<Host>,
}

impl Flavour {
    fn new<W: Word>() -> Result<Self, EngineError> {
        let failed = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .operator_cost(operator_costs(!W::NARROW))
            // Results may not depend on the host's bits of a NaN.
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
        Ok(Self { compiler: Compiler::of(&engine), engine, linker })
    }
}

impl Runtime {
    /// A runtime that looks for compiled modules in this cache, if there is one, and keeps them there.
    pub(super) fn new(cache: Option<ModuleCache>) -> Result<Self, EngineError> {
        Ok(Self { narrow: Flavour::new::<u32>()?, wide: OnceLock::new(), cache })
    }

    /// Compiles a rewritten module and checks the types of its imports.
    pub(super) fn compile(&self, wasm: &[u8], memory64: bool) -> Result<InstancePre<Host>, InvalidWasm> {
        let failed = |error: wasmtime::Error| InvalidWasm(format!("{error:#}"));
        let flavour = if memory64 {
            let wide = self.wide.get_or_init(Flavour::new::<u64>).as_ref();
            wide.map_err(|error| InvalidWasm(error.to_string()))?
        } else {
            &self.narrow
        };
        let module = self.module(flavour, wasm).map_err(failed)?;
        flavour.linker.instantiate_pre(&module).map_err(failed)
    }

    /// The compiled module: from the cache if it is there.
    fn module(&self, flavour: &Flavour, wasm: &[u8]) -> wasmtime::Result<Module> {
        let engine = &flavour.engine;
        if wasm.len() < LARGE_WASM_BYTES {
            return Module::new(engine, wasm);
        }
        let entry = self.cache.as_ref().map(|cache| (cache, flavour.compiler.key(wasm)));
        if let Some(module) = entry.as_ref().and_then(|(cache, key)| cache.load(engine, key)) {
            return Ok(module);
        }
        let module = Module::new(engine, wasm)?;
        if let Some((cache, key)) = entry {
            cache.store(&key, &module);
        }
        allocator::give_back();
        Ok(module)
    }
}
