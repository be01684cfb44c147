//! Installing, upgrading, reinstalling and uninstalling code: all or nothing.

use super::{Caller, ManagementCall, Reply, empty_reply};
use crate::engine::{
    CanisterModule, CanisterState, EntryPoint, Limits, MessageContext, MessageOutcome, Trap,
};
use crate::ic::canister::{Canister, LowMemoryHook};
use crate::ic::error::{UserError, trap_error};
use crate::ic::execute::names_in_costs;
use crate::ic::instance::Instance;
use crate::ic::records::change_origin;
use candid::Principal;
use ic_management_canister_types::{
    CanisterInstallMode, ChangeDetails, CodeDeploymentMode, CodeDeploymentRecord, InstallChunkedCodeArgs,
    InstallCodeArgs, UninstallCodeArgs, UpgradeFlags, WasmMemoryPersistence,
};
use pocket_ic::ErrorCode;
use std::sync::Arc;

/// The private custom section of modules whose wasm memory can survive upgrades.
const PERSISTENCE_SECTION: &str = "enhanced-orthogonal-persistence";

/// `install_code`
pub(super) fn install(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: InstallCodeArgs = call.decode()?;
    deploy(
        instance,
        call,
        args.canister_id,
        args.mode,
        &args.wasm_module,
        args.arg,
        args.sender_canister_version,
    )
}

/// `install_chunked_code`
pub(super) fn install_chunked(
    instance: &mut Instance,
    call: &mut ManagementCall,
) -> Result<Reply, UserError> {
    let args: InstallChunkedCodeArgs = call.decode()?;
    let store = args.store_canister.unwrap_or(args.target_canister);
    let hashes = args.chunk_hashes_list.iter().map(|c| c.hash.as_slice());
    let module = instance
        .own_or_controlled_canister(store, call.caller)?
        .chunks
        .assemble(hashes, &args.wasm_module_hash)?;
    deploy(instance, call, args.target_canister, args.mode, &module, args.arg, args.sender_canister_version)
}

/// One deployment, and the effects of its steps so far.
struct Deployment {
    id: Principal,
    caller: Caller,
    arg: Vec<u8>,
    now: u64,
    /// The limits of the next step; `instructions` is what the previous steps have left.
    limits: Limits,
    total_instructions: u64,
    logs: Vec<Vec<u8>>,
    /// The version that the code sees; at the end, the canister's.
    version: u64,
    global_timer: u64,
    certified_data: Vec<u8>,
    cycles_burned: u128,
}

/// Installs, reinstalls or upgrades. After an error, the canister is as before, except for its log and its list of
/// costs.
fn deploy(
    instance: &mut Instance,
    call: &mut ManagementCall,
    id: Principal,
    mode: CanisterInstallMode,
    module: &[u8],
    arg: Vec<u8>,
    sender_version: Option<u64>,
) -> Result<Reply, UserError> {
    let canister = instance.controlled_canister(id, call.caller)?;
    canister.check_not_frozen()?;
    check_mode(canister, mode)?;
    // The wasm memory limit is set for each step in `run_step`.
    let limits = canister.limits(Limits::install(), &EntryPoint::Start);
    let mut deployment = Deployment {
        id,
        caller: call.caller,
        arg,
        now: call.now,
        total_instructions: limits.instructions,
        limits,
        logs: Vec::new(),
        version: canister.version,
        global_timer: canister.global_timer,
        certified_data: canister.certified_data.clone(),
        cycles_burned: 0,
    };
    let old = canister.state.clone();
    let module = instance
        .engine
        .compile(module)
        .map_err(|error| UserError::from_execution(id, ErrorCode::CanisterInvalidWasm, &error.to_string()))?;
    let deployed = match (mode, old) {
        (CanisterInstallMode::Upgrade(flags), Some(old)) => {
            deployment.upgrade(instance, old, &module, flags.unwrap_or_default())
        }
        _ => deployment.install(instance, &module),
    };
    call.instructions = deployment.total_instructions.saturating_sub(deployment.limits.instructions);
    // The memory can exceed the limit in the settings: a module's initial memory, or one that an upgrade keeps.
    let canister = instance.controlled_canister(id, call.caller)?;
    let check_limit =
        |state: CanisterState| canister.check_wasm_memory(state.wasm_memory_bytes()).map(|()| state);
    let state = match deployed.and_then(check_limit) {
        Ok(state) => state,
        Err(error) => {
            instance.record_logs(id, &deployment.logs, call.now);
            return Err(error);
        }
    };
    let canister = instance.controlled_canister(id, call.caller)?;
    if !matches!(mode, CanisterInstallMode::Upgrade(_)) {
        canister.logs.clear();
    }
    canister.state = Some(state);
    canister.installed_at = Some(call.now);
    canister.low_memory_hook = LowMemoryHook::default();
    canister.update_low_memory_hook();
    canister.version = deployment.version;
    canister.global_timer = deployment.global_timer;
    canister.certified_data = std::mem::take(&mut deployment.certified_data);
    canister.cycles = canister.cycles.saturating_sub(deployment.cycles_burned);
    canister.cycles_burned = canister.cycles_burned.saturating_add(deployment.cycles_burned);
    let origin = change_origin(call.caller.id, call.caller.is_canister, sender_version);
    let details = ChangeDetails::CodeDeployment(CodeDeploymentRecord {
        mode: match mode {
            CanisterInstallMode::Install => CodeDeploymentMode::Install,
            CanisterInstallMode::Reinstall => CodeDeploymentMode::Reinstall,
            CanisterInstallMode::Upgrade(_) => CodeDeploymentMode::Upgrade,
        },
        module_hash: module.module_hash().to_vec(),
    });
    canister.history.push(call.now, canister.version, origin, details);
    instance.record_logs(id, &deployment.logs, call.now);
    Ok(Reply::Now(empty_reply()))
}

/// An error if a canister with code is to be installed, or one without code upgraded.
fn check_mode(canister: &Canister, mode: CanisterInstallMode) -> Result<(), UserError> {
    let id = canister.id;
    match (mode, canister.state.is_some()) {
        (CanisterInstallMode::Install, true) => Err(UserError::new(
            ErrorCode::CanisterNonEmpty,
            format!(
                "Canister {id} cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead."
            ),
        )),
        (CanisterInstallMode::Upgrade(_), false) => Err(UserError::no_wasm_module(id)),
        _ => Ok(()),
    }
}

impl Deployment {
    // Installs or reinstalls: for the new code, there is no difference.
    fn install(
        &mut self,
        instance: &mut Instance,
        module: &Arc<CanisterModule>,
    ) -> Result<CanisterState, UserError> {
        self.version += 1;
        self.global_timer = 0;
        self.certified_data.clear();
        let state = CanisterState::new(module.clone());
        let state = self.run_step(instance, &state, EntryPoint::Start)?;
        self.run_step(instance, &state, EntryPoint::Init)
    }

    fn upgrade(
        &mut self,
        instance: &mut Instance,
        mut state: CanisterState,
        module: &Arc<CanisterModule>,
        flags: UpgradeFlags,
    ) -> Result<CanisterState, UserError> {
        let keeps_memory = self.keeps_wasm_memory(state.module(), module, flags)?;
        if flags.skip_pre_upgrade != Some(true) {
            state = self.run_step(instance, &state, EntryPoint::PreUpgrade)?;
        }
        self.version += 1;
        // An upgrade deactivates the timer, even if `pre_upgrade` has set it.
        self.global_timer = 0;
        let state = state.replace_module(module.clone(), keeps_memory);
        let state = self.run_step(instance, &state, EntryPoint::Start)?;
        self.run_step(instance, &state, EntryPoint::PostUpgrade)
    }

    /// Returns whether an upgrade keeps the wasm memory; an error if the flags do not fit the modules. Whoever upgrades a
    /// module that keeps its data in wasm memory must decide about the memory, whatever the new module supports, so that
    /// the data is not lost by an oversight.
    fn keeps_wasm_memory(
        &self,
        old: &CanisterModule,
        new: &CanisterModule,
        flags: UpgradeFlags,
    ) -> Result<bool, UserError> {
        let is_persistent = |module: &CanisterModule| {
            module.custom_section(PERSISTENCE_SECTION).is_some_and(|section| !section.is_public)
        };
        let error =
            |text: &str| Err(UserError::from_execution(self.id, ErrorCode::CanisterContractViolation, text));
        match flags.wasm_memory_persistence {
            None if is_persistent(old) => error(
                "Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence` upgrade option.",
            ),
            Some(WasmMemoryPersistence::Keep) if !is_persistent(new) => error(
                "Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option requires that the new canister module supports enhanced orthogonal persistence.",
            ),
            Some(WasmMemoryPersistence::Keep) => Ok(true),
            None | Some(WasmMemoryPersistence::Replace) => Ok(false),
        }
    }

    /// Runs one entry point with the remaining instructions.
    fn run_step(
        &mut self,
        instance: &mut Instance,
        state: &CanisterState,
        entry: EntryPoint,
    ) -> Result<CanisterState, UserError> {
        let Some(canister) = instance.canisters.get(&self.id) else {
            return Err(UserError::canister_not_found(self.id));
        };
        let takes_arg = matches!(entry, EntryPoint::Init | EntryPoint::PostUpgrade);
        let base = canister.message_context(self.caller.id, self.now);
        let message = MessageContext {
            arg: if takes_arg { self.arg.clone() } else { Vec::new() },
            canister_version: self.version,
            global_timer: self.global_timer,
            balance: base.balance.saturating_sub(self.cycles_burned),
            ..base
        };
        let (name, method) = names_in_costs(&entry, "");
        let limits = Limits { wasm_memory_bytes: canister.wasm_memory_limit(&entry), ..self.limits.clone() };
        let outcome = instance.engine.execute(state, entry, message, limits);
        instance.record_cost(self.id, name, &method, &outcome, self.now);
        self.apply_outcome(outcome)
    }

    /// Adds the effects of a step to those of the deployment, and returns the state after the step.
    fn apply_outcome(&mut self, outcome: MessageOutcome) -> Result<CanisterState, UserError> {
        self.limits.instructions = self.limits.instructions.saturating_sub(outcome.instructions);
        self.logs.extend(outcome.logs);
        if let Err(trap) = outcome.result {
            let trap = match trap {
                // The error names the limit for all steps together, not the instructions that were left for this step.
                Trap::InstructionLimit(_) => Trap::InstructionLimit(self.total_instructions),
                other => other,
            };
            return Err(trap_error(self.id, &trap));
        }
        self.cycles_burned = self.cycles_burned.saturating_add(outcome.cycles_burned);
        if let Some(data) = outcome.certified_data {
            self.certified_data = data;
        }
        if let Some(timer) = outcome.global_timer {
            self.global_timer = timer;
        }
        Ok(outcome.state)
    }
}

/// `uninstall_code`: removes code, heap, globals, stable memory, certified data, timer, logs and chunks; callers
/// waiting for an answer get a rejection.
pub(super) fn uninstall(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: UninstallCodeArgs = call.decode()?;
    uninstall_code(instance, args.canister_id, call.caller, args.sender_canister_version, call.now)?;
    Ok(Reply::Now(empty_reply()))
}

/// Does the work of `uninstall_code`, which taking a snapshot can also request.
pub(super) fn uninstall_code(
    instance: &mut Instance,
    id: Principal,
    caller: Caller,
    sender_version: Option<u64>,
    now: u64,
) -> Result<(), UserError> {
    let canister = instance.controlled_canister(id, caller)?;
    canister.state = None;
    canister.installed_at = None;
    canister.low_memory_hook = LowMemoryHook::default();
    canister.certified_data.clear();
    canister.global_timer = 0;
    canister.logs.clear();
    canister.chunks.clear();
    canister.version += 1;
    let origin = change_origin(caller.id, caller.is_canister, sender_version);
    canister.history.push(now, canister.version, origin, ChangeDetails::CodeUninstall);
    for context in canister.calls.clear() {
        instance.respond(
            context.origin,
            Err(UserError::rejected("Canister has been uninstalled.").hiding_code()),
            context.cycles,
        );
    }
    instance.finish_stopping(id);
    Ok(())
}
