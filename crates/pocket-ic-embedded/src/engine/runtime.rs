//! The wasm runtime: its configuration and the system API, for each type of memory.

use std::sync::OnceLock;

use wasmtime::{Config, InstancePre, Linker, Module};

use super::api;
use super::costs::operator_costs;
use super::error::{EngineError, InvalidWasm};
use super::host::{Host, Word};

/// Native stack that wasm may use, in bytes. More than that is the trap "stack overflow".
const WASM_STACK: usize = 5 << 20;
/// Native stack of the threads that run wasm, in bytes: room for the system API above the wasm.
pub(super) const THREAD_STACK: usize = WASM_STACK + (3 << 20);

/// The runtime. Shared by all modules.
pub(super) struct Runtime {
    narrow: Flavour,
    /// Set up when the first module with a 64-bit memory comes, which is seldom.
    wide: OnceLock<Result<Flavour, EngineError>>,
}

/// A runtime for modules with one type of memory: what loads and stores cost depends on it, and so do the types of the
/// system API.
struct Flavour {
    engine: wasmtime::Engine,
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
        Ok(Self { engine, linker })
    }
}

impl Runtime {
    pub(super) fn new() -> Result<Self, EngineError> {
        Ok(Self { narrow: Flavour::new::<u32>()?, wide: OnceLock::new() })
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
        let module = Module::new(&flavour.engine, wasm).map_err(failed)?;
        flavour.linker.instantiate_pre(&module).map_err(failed)
    }
}
