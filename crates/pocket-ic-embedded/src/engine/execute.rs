//! The engine: compiled modules, live instances, and the execution of one message.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::entry::{EntryPoint, MethodKind, SystemEntry};
use super::error::{EngineError, InvalidWasm, Trap};
use super::host::Message;
use super::instance::{Fit, LiveInstance};
use super::module::CanisterModule;
use super::module_cache::ModuleCache;
use super::outcome::MessageOutcome;
use super::permissions::execution_kind_of;
use super::runtime::{Runtime, THREAD_STACK};
use super::state::CanisterState;
use super::types::{Limits, MessageContext};
use crate::locks::lock_unpoisoned;

/// The text of [`Trap::Engine`] after a panic: a bug of the server.
const PANICKED: &str = "the thread that ran the message panicked";
/// Maximum number of modules that are kept compiled in memory; of these, unused ones make room for new ones.
const MAX_MODULES: usize = 64;
/// Maximum number of idle instances that are kept for later messages.
const MAX_INSTANCES: usize = 16;
/// Maximum total size of the wasm memories of idle instances, in bytes.
const MAX_INSTANCE_BYTES: u64 = 1 << 30;

/// Compiles modules and executes messages. Cheap to clone; clones share compiled modules and live instances.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    /// Whether the limits on the methods of modules and on the names of called methods apply.
    has_method_limits: bool,
}

struct Shared {
    runtime: Runtime,
    /// By the hash of the uploaded bytes.
    modules: Mutex<HashMap<[u8; 32], ModuleSlot>>,
    /// Idle instances, the most recently used one last.
    instances: Mutex<Vec<LiveInstance>>,
}

/// The slot of a module; empty until the module is compiled. It is locked during the compilation, so that many tests
/// that start with the same module compile it once, and other modules do not have to wait.
type ModuleSlot = Arc<Mutex<Option<Arc<CanisterModule>>>>;

thread_local! {
    // Whether this thread may run messages itself.
    static RUNS_MESSAGES: Cell<bool> = const { Cell::new(false) };
}

/// Allows [`Engine::execute`] to run messages on the current thread, which must have a stack of [`THREAD_STACK`] bytes.
/// On any other thread, [`Engine::execute`] starts a new thread for each message.
pub fn allow_on_this_thread() {
    RUNS_MESSAGES.set(true);
}

impl Engine {
    /// Returns an engine with no modules yet.
    pub fn new() -> Result<Self, EngineError> {
        Self::with_cache(None)
    }

    /// Returns an engine that shares compiled modules with other processes, if a cache is given.
    pub fn with_cache(cache: Option<ModuleCache>) -> Result<Self, EngineError> {
        Ok(Self {
            shared: Arc::new(Shared {
                runtime: Runtime::new(cache)?,
                modules: Mutex::default(),
                instances: Mutex::default(),
            }),
            has_method_limits: true,
        })
    }

    /// Returns this engine, but without limits on the number of exported methods and on the lengths of method
    /// names.
    pub fn without_method_limits(self) -> Self {
        Self { has_method_limits: false, ..self }
    }

    /// Returns the compiled module of an upload (gzipped or not). Checks and compiles the module, unless the engine
    /// still holds one with the same hash of the uploaded bytes.
    pub fn compile(&self, uploaded: &[u8]) -> Result<Arc<CanisterModule>, InvalidWasm> {
        let module = self.compile_once(uploaded)?;
        if self.has_method_limits {
            module.info().check_methods()?;
        }
        Ok(module)
    }

    /// [`Self::compile`] without the limits on methods, since engines with and without them share modules.
    fn compile_once(&self, uploaded: &[u8]) -> Result<Arc<CanisterModule>, InvalidWasm> {
        let hash: [u8; 32] = Sha256::digest(uploaded).into();
        let slot = self.slot_for(hash);
        let mut compiled = lock_unpoisoned(&slot);
        if let Some(module) = &*compiled {
            return Ok(module.clone());
        }
        let module = CanisterModule::compile(&self.shared.runtime, uploaded).and_then(|module| {
            let initial = LiveInstance::initial(&module)
                .map_err(|trap| InvalidWasm(format!("Wasm module cannot be instantiated: {trap}")))?;
            Ok(module.with_initial(initial))
        });
        match module {
            Ok(module) => Ok(compiled.insert(Arc::new(module)).clone()),
            Err(error) => {
                // A refused module takes no slot; it is checked again if it is uploaded again.
                lock_unpoisoned(&self.shared.modules).remove(&hash);
                Err(error)
            }
        }
    }

    /// Returns the slot for the module with this hash. If it has none yet and [`MAX_MODULES`] slots are in use, the
    /// result is a new slot that nobody else gets, so the module is compiled for this caller alone.
    fn slot_for(&self, hash: [u8; 32]) -> ModuleSlot {
        let mut modules = lock_unpoisoned(&self.shared.modules);
        if modules.len() >= MAX_MODULES && !modules.contains_key(&hash) {
            // A slot that is locked is in use: perhaps its module is just being compiled.
            modules.retain(|_, slot| match slot.try_lock() {
                Ok(compiled) => compiled.as_ref().is_some_and(|module| Arc::strong_count(module) > 1),
                Err(_) => true,
            });
            if modules.len() >= MAX_MODULES {
                return ModuleSlot::default();
            }
        }
        modules.entry(hash).or_default().clone()
    }

    /// Executes one message. Blocks until the message ends; never panics, regardless of what the wasm does.
    pub fn execute(
        &self,
        state: &CanisterState,
        entry: EntryPoint,
        ctx: MessageContext,
        mut limits: Limits,
    ) -> MessageOutcome {
        if !self.has_method_limits {
            limits.method_name_bytes = u64::MAX;
        }
        let execution_kind = execution_kind_of(&entry, ctx.composite_query);
        let message = Message::new(execution_kind, ctx, limits, state.stable().clone());
        match has_entry_point(state.module(), &entry) {
            Ok(true) => {}
            // The system function is not exported, so there is nothing to do.
            Ok(false) => return MessageOutcome::without_counts(Ok(()), state, message),
            Err(trap) => return MessageOutcome::without_counts(Err(trap), state, message),
        }
        let run = || self.run(state, &entry, message);
        let outcome = if RUNS_MESSAGES.get() {
            panic::catch_unwind(AssertUnwindSafe(run)).map_err(|_| PANICKED.to_string())
        } else {
            on_new_thread(run)
        };
        outcome.unwrap_or_else(|text| {
            MessageOutcome::without_counts(Err(Trap::Engine(text)), state, Message::none())
        })
    }

    /// Runs a message whose entry point exists, on the current thread.
    fn run(&self, state: &CanisterState, entry: &EntryPoint, message: Message) -> MessageOutcome {
        let mut live = match self.instance_for(state) {
            Ok(live) => live,
            Err(trap) => return MessageOutcome::without_counts(Err(trap), state, message),
        };
        let began = Instant::now();
        let (result, mut message, instructions) = live.run(entry, message);
        let wall_time = began.elapsed();
        let captured = result.and_then(|()| live.capture());
        let outcome = match captured {
            Ok((heap, globals, dirty_wasm_pages)) => {
                self.keep_instance(live);
                let stable = std::mem::take(&mut message.stable);
                let state = state.with_contents(heap, globals, stable);
                MessageOutcome::new(Ok(()), state, message, instructions, dirty_wasm_pages)
            }
            // The instance is in an unknown state, so it is dropped.
            Err(trap) => MessageOutcome::new(Err(trap), state.clone(), message, instructions, 0),
        };
        MessageOutcome { wall_time, ..outcome }
    }

    /// Returns an instance in the given state: preferably one whose memory already has its contents, otherwise one that
    /// can be brought into the state, otherwise a new one.
    fn instance_for(&self, state: &CanisterState) -> Result<LiveInstance, Trap> {
        let existing = {
            let mut instances = lock_unpoisoned(&self.shared.instances);
            let fits: Vec<_> = instances.iter().map(|live| live.fit(state)).collect();
            let latest = |wanted: Fit| fits.iter().rposition(|fit| *fit == wanted);
            let found = latest(Fit::SameMemory).or_else(|| latest(Fit::Restorable));
            found.map(|index| instances.remove(index))
        };
        let mut live = match existing {
            Some(live) => live,
            None => LiveInstance::new(state.module())?,
        };
        live.restore(state)?;
        Ok(live)
    }

    /// Keeps an instance for later messages if it is reusable. Drops the least recently used instances if there are too
    /// many, or if their memories are too large together.
    fn keep_instance(&self, live: LiveInstance) {
        if !live.is_reusable() {
            return;
        }
        let mut instances = lock_unpoisoned(&self.shared.instances);
        instances.push(live);
        let mut bytes: u64 = instances.iter().map(LiveInstance::memory_bytes).sum();
        let mut surplus = 0;
        for (index, live) in instances.iter().enumerate() {
            if instances.len() - index <= MAX_INSTANCES && bytes <= MAX_INSTANCE_BYTES {
                break;
            }
            bytes -= live.memory_bytes();
            surplus = index + 1;
        }
        instances.drain(..surplus);
    }
}

/// Runs the function on a thread with enough stack, and waits for it. The error is a text for [`Trap::Engine`].
fn on_new_thread<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("canister".to_string())
            .stack_size(THREAD_STACK)
            .spawn_scoped(scope, run)
            .map_err(|error| format!("cannot start a thread: {error}"))?
            .join()
            .map_err(|_| PANICKED.to_string())
    })
}

/// Returns whether the module has the function of the entry point: `false` for a missing system function, an error for
/// a missing method. For callbacks always `true`: they are only looked up when they are called.
fn has_entry_point(module: &CanisterModule, entry: &EntryPoint) -> Result<bool, Trap> {
    let exports_method = |kind, name: &str| {
        if module.has_export(kind, name) {
            Ok(true)
        } else {
            Err(Trap::MethodNotFound { kind, name: name.to_string() })
        }
    };
    let exports_system = |entry| Ok(module.exports_system(entry));
    match entry {
        EntryPoint::Start => exports_system(SystemEntry::Start),
        EntryPoint::Init => exports_system(SystemEntry::Init),
        EntryPoint::PreUpgrade => exports_system(SystemEntry::PreUpgrade),
        EntryPoint::PostUpgrade => exports_system(SystemEntry::PostUpgrade),
        EntryPoint::InspectMessage => exports_system(SystemEntry::InspectMessage),
        EntryPoint::Heartbeat => exports_system(SystemEntry::Heartbeat),
        EntryPoint::GlobalTimer => exports_system(SystemEntry::GlobalTimer),
        EntryPoint::OnLowWasmMemory => exports_system(SystemEntry::OnLowWasmMemory),
        EntryPoint::Update(name) => exports_method(MethodKind::Update, name),
        EntryPoint::Query(name) | EntryPoint::ReplicatedQuery(name) => {
            exports_method(MethodKind::Query, name)
        }
        EntryPoint::CompositeQuery(name) => exports_method(MethodKind::CompositeQuery, name),
        EntryPoint::ReplyCallback { .. }
        | EntryPoint::RejectCallback { .. }
        | EntryPoint::CleanupCallback { .. } => Ok(true),
    }
}

impl MessageOutcome {
    /// Returns the outcome of a message that did not run, or of which it is not known how far it ran.
    fn without_counts(result: Result<(), Trap>, state: &CanisterState, message: Message) -> Self {
        Self::new(result, state.clone(), message, 0, 0)
    }

    /// Returns the outcome of a message; after a trap, without the effects that are rolled back.
    fn new(
        result: Result<(), Trap>,
        state: CanisterState,
        mut message: Message,
        instructions: u64,
        dirty_wasm_pages: u64,
    ) -> Self {
        if let Err(trap) = &result {
            message.logs.push(log_text(trap).into_bytes());
        }
        // A call still under construction at the end of the message is dropped, and so is data appended for a reply
        // that was never sent.
        let succeeded = result.is_ok();
        Self {
            state,
            reply: message.reply.take().filter(|_| succeeded),
            instructions,
            stable_bytes_written: message.stable_written,
            stable_bytes_read: message.stable_read,
            dirty_stable_pages: message.access.dirtied,
            dirty_wasm_pages,
            wall_time: Duration::ZERO,
            logs: message.logs.into_vec(),
            calls: if succeeded { message.calls } else { Vec::new() },
            certified_data: message.certified_data.filter(|_| succeeded),
            global_timer: message.global_timer.filter(|_| succeeded),
            cycles_accepted: if succeeded { message.cycles_accepted } else { 0 },
            cycles_burned: if succeeded { message.cycles_burned } else { 0 },
            message_accepted: succeeded && message.message_accepted,
            result,
        }
    }
}

/// The line in the canister's log. For the two usual traps it is shorter than `Display`.
fn log_text(trap: &Trap) -> String {
    match trap {
        Trap::CalledTrap(text) if text.is_empty() => "[TRAP]: (no message)".to_string(),
        Trap::CalledTrap(text) | Trap::Wasm(text) => format!("[TRAP]: {text}"),
        other => format!("[TRAP]: {other}"),
    }
}
