//! One canister: its identity, settings, code, heap, stable memory, cycles, calls, logs and snapshots.

use super::calls::{CallTable, Origin};
use super::chunks::ChunkStore;
use super::error::{UserError, trap_error};
use super::records::{CostRing, History, LogStore};
use super::settings::Settings;
use super::snapshot::SnapshotStore;
use super::subnet::Subnet;
use crate::engine::{
    CanisterRunStatus, CanisterState, EntryPoint, Limits, MAX_WASM_MEMORY_32, MessageContext, Trap,
};
use candid::Principal;
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::SubnetInstructionConfig;

/// Cost of one GiB of memory for one second on an application subnet of 13 nodes, in cycles. Nothing is
/// charged; the figure only converts the freezing threshold from seconds to cycles.
const CYCLES_PER_GIB_SECOND: u128 = 127_000;
/// Number of nodes of every subnet, as the system API shows it; [`CYCLES_PER_GIB_SECOND`] is for this number.
const SUBNET_NODES: u32 = 13;
/// Instructions per message in benchmarking mode: more than any test would wait for.
const BENCHMARKING_INSTRUCTIONS: u64 = 1_000_000_000_000_000;

/// Status of a canister; for a stopping canister, with the stop calls that wait. The engine's `CanisterRunStatus` is
/// the status without these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunStatus {
    Running,
    /// Accepts no new messages and waits for open calls; the stop calls are answered when it has stopped.
    Stopping(Vec<StopWaiter>),
    Stopped,
}

/// A stop call that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopWaiter {
    pub origin: Origin,
    /// Cycles attached to the stop call, which are refunded with the answer.
    pub cycles: u128,
    /// When the stop call was executed, nanoseconds since 1970.
    pub since: u64,
}

/// Whether the hook for low wasm memory is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LowMemoryHook {
    /// Enough memory is free.
    #[default]
    NotSatisfied,
    /// Memory became low; the hook is due.
    Ready,
    /// The hook has run; it runs again only if there was enough memory in between.
    Executed,
}

/// Totals over all non-replicated queries of a canister, as `canister_status` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    pub calls: u128,
    pub instructions: u128,
    /// Bytes of arguments.
    pub request_bytes: u128,
    /// Bytes of replies.
    pub response_bytes: u128,
}

/// A canister, which may be without code: `state` is then `None`.
#[derive(Debug)]
pub struct Canister {
    pub id: Principal,
    pub subnet: Principal,
    /// Which instruction limits apply: those for production, or the very high ones for benchmarks.
    pub instruction_config: SubnetInstructionConfig,
    /// Instruction limit of every message, unless the limit of its kind is lower.
    pub instruction_cap: Option<u64>,
    /// The public key of the instance's root subnet, DER.
    pub root_key: &'static [u8],
    /// When the canister was created, nanoseconds since 1970.
    pub created_at: u64,
    /// When code was last installed or a snapshot loaded, nanoseconds since 1970; `None` without code.
    pub installed_at: Option<u64>,
    /// Whether the subnet charges nothing, so that canisters with an empty balance are not frozen.
    pub cycles_are_free: bool,
    pub status: RunStatus,
    pub settings: Settings,
    /// The balance in cycles.
    pub cycles: u128,
    /// Cycles burned since the canister was created.
    pub cycles_burned: u128,
    /// Increases with every change of code, settings, status and state.
    pub version: u64,
    /// Module, heap, globals and stable memory; `None` without code.
    pub state: Option<CanisterState>,
    /// The certified data, up to 32 bytes.
    pub certified_data: Vec<u8>,
    /// The deadline of the global timer, nanoseconds since 1970; 0 when inactive.
    pub global_timer: u64,
    pub low_memory_hook: LowMemoryHook,
    pub logs: LogStore,
    /// Changes of code and controllers.
    pub history: History,
    /// Uploaded parts of modules.
    pub chunks: ChunkStore,
    pub snapshots: SnapshotStore,
    pub calls: CallTable,
    pub costs: CostRing,
    pub query_stats: QueryStats,
}

impl Canister {
    /// Returns a canister without code.
    pub fn new(id: Principal, subnet: &Subnet, settings: Settings, cycles: u128, now: u64) -> Self {
        Self {
            id,
            subnet: subnet.id,
            instruction_config: subnet.instruction_config.clone(),
            instruction_cap: None,
            root_key: subnet.root_key,
            created_at: now,
            installed_at: None,
            cycles_are_free: subnet.has_free_cycles(),
            status: RunStatus::Running,
            settings,
            cycles,
            cycles_burned: 0,
            version: 0,
            state: None,
            certified_data: Vec::new(),
            global_timer: 0,
            low_memory_hook: LowMemoryHook::default(),
            logs: LogStore::default(),
            history: History::default(),
            chunks: ChunkStore::default(),
            snapshots: SnapshotStore::default(),
            calls: CallTable::default(),
            costs: CostRing::default(),
            query_stats: QueryStats::default(),
        }
    }

    pub fn run_status(&self) -> CanisterRunStatus {
        match self.status {
            RunStatus::Running => CanisterRunStatus::Running,
            RunStatus::Stopping(_) => CanisterRunStatus::Stopping,
            RunStatus::Stopped => CanisterRunStatus::Stopped,
        }
    }

    /// An error if the canister is stopping or stopped.
    pub fn check_running(&self) -> Result<(), UserError> {
        match self.status {
            RunStatus::Running => Ok(()),
            RunStatus::Stopping(_) => Err(UserError::canister_stopping(self.id)),
            RunStatus::Stopped => Err(UserError::canister_stopped(self.id)),
        }
    }

    pub fn check_controller(&self, sender: Principal) -> Result<(), UserError> {
        if self.settings.is_controlled_by(sender) {
            return Ok(());
        }
        Err(UserError::not_controller(self.id, &self.settings.controllers, sender))
    }

    /// Returns the total size of wasm memory, stable memory and module, in bytes.
    pub fn execution_memory_bytes(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| {
            state.wasm_memory_bytes() + state.stable().size_bytes() + state.module().uploaded().len() as u64
        })
    }

    /// Returns the total size of everything that the canister stores, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.execution_memory_bytes()
            + self.chunks.bytes()
            + self.snapshots.bytes()
            + self.history.bytes()
            + self.logs.bytes()
    }

    /// Returns how many cycles a day of storage would cost.
    pub fn idle_cycles_per_day(&self) -> u128 {
        if self.cycles_are_free {
            return 0;
        }
        u128::from(self.memory_bytes().max(self.settings.memory_allocation)) * CYCLES_PER_GIB_SECOND * 86_400
            / (1 << 30)
    }

    /// Returns the part of the balance that must not be spent, so that the canister is not frozen.
    pub fn frozen_balance(&self) -> u128 {
        self.idle_cycles_per_day().saturating_mul(u128::from(self.settings.freezing_threshold)) / 86_400
    }

    /// Checks that the balance is positive and not below the freezing limit, unless everything is free on the subnet.
    pub fn check_not_frozen(&self) -> Result<(), UserError> {
        let needed = self.frozen_balance();
        if self.cycles_are_free || (self.cycles > 0 && self.cycles >= needed) {
            return Ok(());
        }
        Err(UserError::new(
            ErrorCode::CanisterOutOfCycles,
            format!(
                "Canister {} is out of cycles: please top up the canister with at least {} additional cycles",
                self.id,
                needed.saturating_sub(self.cycles).max(1)
            ),
        ))
    }

    /// Checks that a call from another canister has the cycles that the settings require.
    pub fn check_incoming_cycles(&self, attached: u128) -> Result<(), UserError> {
        let needed = self.settings.minimum_incoming_canister_call_cycles;
        if attached >= needed {
            return Ok(());
        }
        Err(UserError::new(
            ErrorCode::InsufficientCyclesInCall,
            format!(
                "Canister {} requires at least {needed} cycles with the call of another canister, got {attached}",
                self.id
            ),
        ))
    }

    /// Returns the context of a message of this canister, without what only the message knows, such as the argument.
    pub fn message_context(&self, caller: Principal, time_nanos: u64) -> MessageContext {
        MessageContext {
            controllers: self.settings.controllers.clone(),
            subnet_id: self.subnet,
            subnet_node_count: SUBNET_NODES,
            cycles_are_free: self.cycles_are_free,
            balance: self.cycles,
            frozen_balance: self.frozen_balance(),
            canister_version: self.version,
            status: self.run_status(),
            global_timer: self.global_timer,
            environment: self.settings.environment(),
            root_key: self.root_key,
            ..MessageContext::new(self.id, caller, time_nanos)
        }
    }

    /// Returns an instruction limit as it applies on the canister's subnet.
    pub fn instruction_limit_on_subnet(&self, limit: u64) -> u64 {
        match self.instruction_config {
            SubnetInstructionConfig::Production => limit,
            SubnetInstructionConfig::Benchmarking => BENCHMARKING_INSTRUCTIONS,
        }
    }

    /// Returns the limit in the settings for the wasm memory that an entry point may use, in bytes; 0 if none applies.
    /// The limit keeps users from filling the memory, but must not keep the canister from completing calls that it has
    /// begun.
    pub fn wasm_memory_limit(&self, entry: &EntryPoint) -> u64 {
        match entry {
            EntryPoint::Start | EntryPoint::Init | EntryPoint::PostUpgrade | EntryPoint::Update(_) => {
                self.settings.wasm_memory_limit
            }
            _ => 0,
        }
    }

    /// Checks a size of the wasm memory against the limit in the settings.
    pub fn check_wasm_memory(&self, bytes: u64) -> Result<(), UserError> {
        match self.settings.wasm_memory_limit {
            limit if limit != 0 && bytes > limit => {
                Err(trap_error(self.id, &Trap::WasmMemoryLimit { limit, peak: bytes }))
            }
            _ => Ok(()),
        }
    }

    /// Returns the limits `base` of one kind of message, adapted to this canister: its settings, its subnet and its
    /// instruction cap.
    pub fn limits(&self, base: Limits, entry: &EntryPoint) -> Limits {
        let on_subnet = self.instruction_limit_on_subnet(base.instructions);
        let instructions = self.instruction_cap.map_or(on_subnet, |cap| cap.min(on_subnet));
        Limits { wasm_memory_bytes: self.wasm_memory_limit(entry), ..base.with_instructions(instructions) }
    }

    /// Returns whether the wasm memory that a state leaves unused is below the threshold in the settings; with the
    /// threshold 0, the default, it never is.
    pub fn is_low_on_memory(&self, state: Option<&CanisterState>) -> bool {
        let (used, largest) = match state {
            Some(state) => (state.wasm_memory_bytes(), state.module().largest_wasm_memory()),
            None => (0, MAX_WASM_MEMORY_32),
        };
        let limit = match self.settings.wasm_memory_limit {
            0 => largest,
            limit => limit,
        };
        limit.saturating_sub(used) < self.settings.wasm_memory_threshold
    }

    /// Updates the status of the low-memory hook after the size of the wasm memory, or its threshold, has changed.
    pub fn update_low_memory_hook(&mut self) {
        self.low_memory_hook = match (self.is_low_on_memory(self.state.as_ref()), self.low_memory_hook) {
            (false, _) => LowMemoryHook::NotSatisfied,
            (true, LowMemoryHook::NotSatisfied) => LowMemoryHook::Ready,
            (true, status) => status,
        };
    }

    /// Appends a text to the canister's log; does not print it.
    pub fn log(&mut self, time_nanos: u64, content: Vec<u8>) {
        self.logs.push(time_nanos, content, self.settings.log_memory_limit);
    }
}
