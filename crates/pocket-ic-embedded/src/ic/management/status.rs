//! Information about a canister (status, metrics, history, metadata, logs) and about a subnet.

use super::{ManagementCall, encode_reply};
use crate::engine::CanisterRunStatus;
use crate::ic::calls::CallResult;
use crate::ic::canister::Canister;
use crate::ic::error::UserError;
use crate::ic::instance::Instance;
use crate::ic::replies::CanisterInfo;
use candid::Nat;
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInfoArgs, CanisterMetadataArgs, CanisterMetadataResult, CanisterMetricsArgs,
    CanisterMetricsResult, CanisterStatusResult, CanisterStatusType, CyclesConsumed, FetchCanisterLogsArgs,
    FetchCanisterLogsResult, MemoryMetrics, QueryStats, SubnetInfoArgs, SubnetInfoResult,
};

/// `canister_status`
pub(super) fn status(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: CanisterIdRecord = call.decode()?;
    encode_reply(call.method, (describe(instance.find_canister(args.canister_id)?),))
}

/// Returns what `canister_status` shows.
fn describe(canister: &Canister) -> CanisterStatusResult {
    let status = match canister.run_status() {
        CanisterRunStatus::Running => CanisterStatusType::Running,
        CanisterRunStatus::Stopping => CanisterStatusType::Stopping,
        CanisterRunStatus::Stopped => CanisterStatusType::Stopped,
    };
    let stats = canister.query_stats;
    CanisterStatusResult {
        status,
        ready_for_migration: status == CanisterStatusType::Stopped,
        version: canister.version,
        settings: (&canister.settings).into(),
        module_hash: module_hash(canister),
        memory_size: canister.memory_bytes().into(),
        memory_metrics: memory_metrics(canister),
        cycles: canister.cycles.into(),
        // Cycles are never reserved here.
        reserved_cycles: 0u8.into(),
        idle_cycles_burned_per_day: canister.idle_cycles_per_day().into(),
        query_stats: QueryStats {
            num_calls_total: stats.calls.into(),
            num_instructions_total: stats.instructions.into(),
            request_payload_bytes_total: stats.request_bytes.into(),
            response_payload_bytes_total: stats.response_bytes.into(),
        },
    }
}

fn memory_metrics(canister: &Canister) -> MemoryMetrics {
    let state = canister.state.as_ref();
    MemoryMetrics {
        wasm_memory_size: state.map_or(0, |s| s.wasm_memory_bytes()).into(),
        stable_memory_size: state.map_or(0, |s| s.stable().size_bytes()).into(),
        // Eight bytes per global, as the official server counts.
        global_memory_size: state.map_or(0, |s| 8 * s.globals().len() as u64).into(),
        wasm_binary_size: state.map_or(0, |s| s.module().uploaded().len() as u64).into(),
        custom_sections_size: state.map_or(0, |s| s.module().custom_sections_bytes()).into(),
        canister_history_size: canister.history.bytes().into(),
        wasm_chunk_store_size: canister.chunks.bytes().into(),
        snapshots_size: canister.snapshots.bytes().into(),
        log_memory_store_size: canister.logs.bytes().into(),
    }
}

/// Returns the SHA-256 of the module as uploaded; `None` without code.
fn module_hash(canister: &Canister) -> Option<Vec<u8>> {
    let state = canister.state.as_ref()?;
    Some(state.module().module_hash().to_vec())
}

/// `canister_metrics`: nothing is charged, so only burned cycles are counted as consumed.
pub(super) fn metrics(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: CanisterMetricsArgs = call.decode()?;
    let canister = instance.find_canister(args.canister_id)?;
    let zero = Nat::from(0u8);
    let cycles_consumed = CyclesConsumed {
        memory: zero.clone(),
        compute_allocation: zero.clone(),
        ingress_induction: zero.clone(),
        instructions: zero.clone(),
        request_and_response_transmission: zero.clone(),
        uninstall: zero.clone(),
        canister_creation: zero.clone(),
        http_outcalls: zero,
        burned_cycles: canister.cycles_burned.into(),
    };
    encode_reply(call.method, (CanisterMetricsResult { cycles_consumed },))
}

/// `canister_info`
pub(super) fn info(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: CanisterInfoArgs = call.decode()?;
    let canister = instance.find_canister(args.canister_id)?;
    let count = usize::try_from(args.num_requested_changes.unwrap_or(0)).unwrap_or(usize::MAX);
    let result = CanisterInfo {
        total_num_changes: canister.history.total(),
        recent_changes: canister.history.recent(count),
        module_hash: module_hash(canister),
        controllers: canister.settings.controllers.clone(),
    };
    encode_reply(call.method, (result,))
}

/// `canister_metadata`: public custom sections for everyone, private ones for controllers.
pub(super) fn metadata(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: CanisterMetadataArgs = call.decode()?;
    let canister = instance.find_canister(args.canister_id)?;
    let missing = || {
        UserError::rejected(format!(
            "The custom section {} of canister {} is not available.",
            args.name, args.canister_id
        ))
    };
    let section = canister.state.as_ref().and_then(|state| state.module().custom_section(&args.name));
    let section = section.ok_or_else(missing)?;
    if !section.is_public && !canister.settings.is_controlled_by(call.caller.id) {
        return Err(missing());
    }
    let value = section.data.clone();
    encode_reply(call.method, (CanisterMetadataResult { value },))
}

/// `fetch_canister_logs`, which is a query only.
pub(super) fn logs(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: FetchCanisterLogsArgs = call.decode()?;
    let canister = instance.find_canister(args.canister_id)?;
    let caller = call.caller.id;
    if !canister.settings.may_read_logs(caller) {
        return Err(UserError::rejected(format!("Caller {caller} is not allowed to access canister logs")));
    }
    let result = FetchCanisterLogsResult { canister_log_records: canister.logs.select(args.filter.as_ref()) };
    encode_reply(call.method, (result,))
}

/// `subnet_info`
pub(super) fn subnet(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: SubnetInfoArgs = call.decode()?;
    if instance.subnet(args.subnet_id).is_err() {
        return Err(UserError::rejected(format!("There is no subnet {} on this instance.", args.subnet_id)));
    }
    // There is no registry: the subnets are as they were when the instance was created.
    let result = SubnetInfoResult { replica_version: crate::VERSION_LINE.to_owned(), registry_version: 1 };
    encode_reply(call.method, (result,))
}
