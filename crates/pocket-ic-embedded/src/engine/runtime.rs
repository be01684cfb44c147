//! The wasm runtime: its configuration and the system API linked for both memory types.

use wasmtime::{Config, InstancePre, Linker, Module};

use super::api;
use super::costs::operator_costs;
use super::error::{EngineError, InvalidWasm};
use super::host::Host;

/// Native stack that wasm may use, in bytes. More than that is the trap "stack overflow".
const WASM_STACK: usize = 5 << 20;
/// Native stack of the threads that run wasm, in bytes: room for the system API above the wasm.
pub(super) const THREAD_STACK: usize = WASM_STACK + (3 << 20);

/// The runtime. Shared by all modules.
pub(super) struct Runtime {
    engine: wasmtime::Engine,
    linker32: Linker<Host>,
    linker64: Linker<Host>,
}

impl Runtime {
    pub(super) fn new() -> Result<Self, EngineError> {
        let failed = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .operator_cost(operator_costs())
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
        let mut linker32 = Linker::new(&engine);
        api::define_all::<u32>(&mut linker32).map_err(failed)?;
        let mut linker64 = Linker::new(&engine);
        api::define_all::<u64>(&mut linker64).map_err(failed)?;
        Ok(Self { engine, linker32, linker64 })
    }

    /// Compiles a rewritten module and checks the types of its imports.
    pub(super) fn compile(&self, wasm: &[u8], memory64: bool) -> Result<InstancePre<Host>, InvalidWasm> {
        let failed = |error: wasmtime::Error| InvalidWasm(format!("{error:#}"));
        let module = Module::new(&self.engine, wasm).map_err(failed)?;
        let linker = if memory64 { &self.linker64 } else { &self.linker32 };
        linker.instantiate_pre(&module).map_err(failed)
    }
}
