//! Live instances: an instance can take on the state of any canister with the same module, and its state can be read.

use std::sync::Arc;

use wasmtime::{Global, Instance, Memory, Ref, Store, Table};

use super::entry::EntryPoint;
use super::error::Trap;
use super::heap::Heap;
use super::host::{HeapLimiter, Host, Message, NO_LIMIT};
use super::module::{CanisterModule, GlobalValue};
use super::state::CanisterState;

/// A wasm instance that can be reused, and the contents that its wasm memory is known to have.
pub(super) struct LiveInstance {
    module: Arc<CanisterModule>,
    parts: Parts,
    /// The memory at the last restore or capture, or at instantiation.
    known_heap: Heap,
}

/// How well an instance fits a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The instance cannot be brought into the state: its module is another one, or its memory is larger, and memories
    /// cannot shrink.
    Impossible,
    /// The instance can be brought into the state.
    Restorable,
    /// The instance can be brought into the state, and its memory already has the contents of the state.
    SameMemory,
}

/// A wasm instance in its store, with those of its exports that hold state.
struct Parts {
    store: Store<Host>,
    instance: Instance,
    memory: Option<Memory>,
    table: Option<Table>,
    /// The globals that belong to the state, in the order of `ModuleInfo::globals`.
    globals: Vec<Global>,
}

/// The trap for faults of the runtime or of this server.
fn engine_error(error: impl std::fmt::Display) -> Trap {
    Trap::Engine(format!("{error:#}"))
}

impl Parts {
    fn new(module: &CanisterModule, message: Message) -> Result<Self, Trap> {
        let (_, largest) = module.memory_limits();
        let host = Host { memory: None, message, limiter: HeapLimiter { limit: NO_LIMIT, largest } };
        let mut store = Store::new(module.code().module().engine(), host);
        store.limiter(|host| &mut host.limiter);
        // Instantiation consumes fuel for segments, but only messages are metered. This fuel never runs out, so no
        // error names a limit.
        store.set_fuel(u64::MAX).map_err(engine_error)?;
        let instance = module.code().instantiate(&mut store).map_err(|error| trap_of(&error, 0))?;
        let names = module.names();
        let missing = |what: &str| Trap::Engine(format!("the instance has no {what}"));
        let memory = instance.get_memory(&mut store, &names.memory());
        let table = instance.get_table(&mut store, &names.table());
        let globals = module.info().globals.iter().map(|global| {
            instance.get_global(&mut store, &names.global(global.index)).ok_or_else(|| missing("global"))
        });
        let globals = globals.collect::<Result<_, _>>()?;
        store.data_mut().memory = memory;
        Ok(Self { store, instance, memory, table, globals })
    }

    fn memory_bytes(&self) -> u64 {
        self.memory.map_or(0, |memory| memory.data_size(&self.store) as u64)
    }

    fn read_globals(&mut self) -> Result<Arc<[GlobalValue]>, Trap> {
        let globals = self.globals.iter().map(|global| {
            GlobalValue::from_val(global.get(&mut self.store))
                .ok_or_else(|| engine_error("a global holds a reference"))
        });
        globals.collect()
    }
}

impl LiveInstance {
    /// Returns the memory and globals of a fresh instance: what [`CanisterState::new`] starts from.
    pub(super) fn initial(module: &CanisterModule) -> Result<(Heap, Arc<[GlobalValue]>), Trap> {
        let mut parts = Parts::new(module, Message::none())?;
        let mut heap = Heap::default();
        if let Some(memory) = parts.memory {
            let data = memory.data(&parts.store);
            heap.size_bytes = data.len() as u64;
            heap.pages.capture(data);
        }
        Ok((heap, parts.read_globals()?))
    }

    pub(super) fn new(module: &Arc<CanisterModule>) -> Result<Self, Trap> {
        Ok(Self {
            parts: Parts::new(module, Message::none())?,
            known_heap: module.initial_heap().clone(),
            module: module.clone(),
        })
    }

    /// Returns how well this instance fits the state; its globals do not matter, since they are always set.
    pub(super) fn fit(&self, state: &CanisterState) -> Fit {
        if !Arc::ptr_eq(&self.module, state.module()) || self.parts.memory_bytes() > state.heap.size_bytes {
            return Fit::Impossible;
        }
        match self.known_heap.pages.is_clone_of(&state.heap.pages) {
            true => Fit::SameMemory,
            false => Fit::Restorable,
        }
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.parts.memory_bytes()
    }

    /// Brings memory and globals into this state, which must fit the instance.
    pub(super) fn restore(&mut self, state: &CanisterState) -> Result<(), Trap> {
        let parts = &mut self.parts;
        if let Some(memory) = parts.memory {
            let missing_bytes = state.heap.size_bytes.saturating_sub(memory.data_size(&parts.store) as u64);
            if missing_bytes > 0 {
                // The limit in the settings is for growth by the canister.
                parts.store.data_mut().limiter.limit = NO_LIMIT;
                let page = memory.page_size(&parts.store);
                memory.grow(&mut parts.store, missing_bytes / page).map_err(|_| Trap::OutOfMemory)?;
            }
            let data = memory.data_mut(&mut parts.store);
            self.known_heap.pages.restore(&state.heap.pages, data);
            self.known_heap = state.heap.clone();
        }
        let globals = parts.globals.iter().zip(state.globals.iter());
        for ((global, value), info) in globals.zip(&self.module.info().globals) {
            if info.is_mutable {
                global.set(&mut parts.store, value.to_val()).map_err(engine_error)?;
            }
        }
        Ok(())
    }

    /// Runs the function of an entry point with a message. Returns the result, the message and the number of
    /// instructions used.
    pub(super) fn run(&mut self, entry: &EntryPoint, message: Message) -> (Result<(), Trap>, Message, u64) {
        let limit = message.limits.instructions;
        let named_limit = message.limits.message_instructions;
        let host = self.parts.store.data_mut();
        host.limiter.limit = message.limits.wasm_memory_bytes;
        host.message = message;
        let result = match self.parts.store.set_fuel(limit) {
            Ok(()) => self.call(entry, named_limit),
            Err(error) => Err(engine_error(error)),
        };
        let store = &mut self.parts.store;
        let left = match result {
            Err(Trap::InstructionLimit(_)) => 0,
            _ => store.get_fuel().unwrap_or(0),
        };
        let message = std::mem::replace(&mut store.data_mut().message, Message::none());
        (result, message, limit.saturating_sub(left))
    }

    /// Calls the function of the entry point. `limit` is only named in the error.
    fn call(&mut self, entry: &EntryPoint, limit: u64) -> Result<(), Trap> {
        let store = &mut self.parts.store;
        let instance = &self.parts.instance;
        let name = match entry {
            EntryPoint::Start => self.module.names().start(),
            EntryPoint::Init => "canister_init".into(),
            EntryPoint::PreUpgrade => "canister_pre_upgrade".into(),
            EntryPoint::PostUpgrade => "canister_post_upgrade".into(),
            EntryPoint::InspectMessage => "canister_inspect_message".into(),
            EntryPoint::Heartbeat => "canister_heartbeat".into(),
            EntryPoint::GlobalTimer => "canister_global_timer".into(),
            EntryPoint::OnLowWasmMemory => "canister_on_low_wasm_memory".into(),
            EntryPoint::Update(name) => format!("canister_update {name}"),
            EntryPoint::Query(name) | EntryPoint::ReplicatedQuery(name) => {
                format!("canister_query {name}")
            }
            EntryPoint::CompositeQuery(name) => format!("canister_composite_query {name}"),
            EntryPoint::ReplyCallback { fun, env }
            | EntryPoint::RejectCallback { fun, env }
            | EntryPoint::CleanupCallback { fun, env } => {
                return self.call_callback(*fun, *env, limit);
            }
        };
        let function = instance.get_typed_func::<(), ()>(&mut *store, &name).map_err(engine_error)?;
        function.call(store, ()).map_err(|error| trap_of(&error, limit))
    }

    fn call_callback(&mut self, fun: u32, env: u64, limit: u64) -> Result<(), Trap> {
        let store = &mut self.parts.store;
        let entry = self.parts.table.and_then(|t| t.get(&mut *store, fun.into()));
        let Some(Ref::Func(Some(function))) = entry else {
            return Err(Trap::FunctionNotFound { table: 0, index: fun });
        };
        let wrong_type = |_| {
            Trap::ContractViolation(format!(
                "function type mismatch: function table index {fun} is not a callback"
            ))
        };
        let result = if self.module.info().is_memory64() {
            let function = function.typed::<u64, ()>(&*store).map_err(wrong_type)?;
            function.call(store, env)
        } else {
            let env = u32::try_from(env)
                .map_err(|_| engine_error("the environment of a callback does not fit 32 bits"))?;
            let function = function.typed::<u32, ()>(&*store).map_err(wrong_type)?;
            function.call(store, env)
        };
        result.map_err(|error| trap_of(&error, limit))
    }

    /// Returns the current memory and globals, and the number of 4 KiB pages of the memory that changed since the last
    /// restore or capture.
    pub(super) fn capture(&mut self) -> Result<(Heap, Arc<[GlobalValue]>, u64), Trap> {
        let mut changed = 0;
        if let Some(memory) = self.parts.memory {
            let data = memory.data(&self.parts.store);
            changed = self.known_heap.pages.capture(data);
            self.known_heap.size_bytes = data.len() as u64;
        }
        Ok((self.known_heap.clone(), self.parts.read_globals()?, changed))
    }

    /// Returns whether the instance may run another message: in most modules, nothing but memory and globals can
    /// change, while code with `data.drop` or `elem.drop` may have changed segments, which cannot be restored.
    pub(super) fn is_reusable(&self) -> bool {
        self.module.info().keeps_segments
    }
}

/// Translates an error of the runtime. `limit` is the number that [`Trap::InstructionLimit`] names.
fn trap_of(error: &wasmtime::Error, limit: u64) -> Trap {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trap.clone();
    }
    let text = match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::OutOfFuel) => return Trap::InstructionLimit(limit),
        Some(wasmtime::Trap::StackOverflow) => "stack overflow",
        Some(wasmtime::Trap::MemoryOutOfBounds | wasmtime::Trap::HeapMisaligned) => "heap out of bounds",
        Some(wasmtime::Trap::TableOutOfBounds) => "table out of bounds",
        Some(wasmtime::Trap::IntegerDivisionByZero) => "integer division by 0",
        Some(wasmtime::Trap::UnreachableCodeReached) => "unreachable",
        Some(wasmtime::Trap::IntegerOverflow) => "integer overflow",
        Some(wasmtime::Trap::BadConversionToInteger) => "invalid conversion to integer",
        Some(wasmtime::Trap::IndirectCallToNull) => "indirect call to a null table entry",
        Some(wasmtime::Trap::BadSignature) => "indirect call type mismatch",
        _ => return engine_error(error),
    };
    Trap::Wasm(text.to_string())
}
