//! What a canister tells about itself: status, history, metadata, logs.

use super::argument::decode_argument;
use super::{Call, Reply, encode};
use crate::engine::CanisterRunStatus;
use crate::ic::calls::CallResult;
use crate::ic::canister::Canister;
use crate::ic::error::UserError;
use crate::ic::instance::Instance;
use candid::Principal;
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInfoArgs, CanisterInfoResult, CanisterMetadataArgs, CanisterMetadataResult,
    CanisterStatusResult, CanisterStatusType, FetchCanisterLogsArgs, FetchCanisterLogsResult, MemoryMetrics,
    QueryStats,
};
use pocket_ic::ErrorCode;

/// `canister_status`
pub(super) fn status(instance: &mut Instance, call: &mut Call) -> Result<Reply, UserError> {
    let args: CanisterIdRecord = call.decode()?;
    let canister = instance.find(args.canister_id)?;
    encode(call.method, (describe(canister),))
}

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
        stable_memory_size: state.map_or(0, |s| s.stable().bytes()).into(),
        // Eight bytes a global, as the official server counts.
        global_memory_size: state.map_or(0, |s| 8 * s.globals().len() as u64).into(),
        wasm_binary_size: state.map_or(0, |s| s.module().uploaded().len() as u64).into(),
        custom_sections_size: state.map_or(0, |s| s.module().custom_sections_bytes()).into(),
        canister_history_size: canister.history.bytes().into(),
        wasm_chunk_store_size: canister.chunks.bytes().into(),
        snapshots_size: canister.snapshots.bytes().into(),
        log_memory_store_size: canister.logs.bytes().into(),
    }
}

fn module_hash(canister: &Canister) -> Option<Vec<u8>> {
    let state = canister.state.as_ref()?;
    Some(state.module().module_hash().to_vec())
}

/// `canister_info`
pub(super) fn info(instance: &mut Instance, call: &mut Call) -> Result<Reply, UserError> {
    let args: CanisterInfoArgs = call.decode()?;
    let canister = instance.find(args.canister_id)?;
    let count = usize::try_from(args.num_requested_changes.unwrap_or(0)).unwrap_or(usize::MAX);
    let result = CanisterInfoResult {
        total_num_changes: canister.history.total(),
        recent_changes: canister.history.recent(count),
        module_hash: module_hash(canister),
        controllers: canister.settings.controllers.clone(),
    };
    encode(call.method, (result,))
}

/// `canister_metadata`: public custom sections for all, private ones for controllers.
pub(super) fn metadata(instance: &mut Instance, call: &mut Call) -> Result<Reply, UserError> {
    let args: CanisterMetadataArgs = call.decode()?;
    let canister = instance.find(args.canister_id)?;
    let missing = || {
        UserError::rejected(format!(
            "The custom section {} of canister {} is not available.",
            args.name, args.canister_id
        ))
    };
    let section = canister.state.as_ref().and_then(|state| state.module().custom_section(&args.name));
    let (bytes, public) = section.ok_or_else(missing)?;
    if !public && !canister.settings.is_controlled_by(call.caller.id) {
        return Err(missing());
    }
    let value = bytes.to_vec();
    encode(call.method, (CanisterMetadataResult { value },))
}

/// `fetch_canister_logs`, which is a query only.
pub(super) fn logs(instance: &Instance, caller: Principal, arg: &[u8]) -> CallResult {
    let method = "fetch_canister_logs";
    let args: FetchCanisterLogsArgs =
        decode_argument(arg).map_err(|error| UserError::invalid_payload(method, error))?;
    let canister = instance.find(args.canister_id)?;
    if !canister.settings.may_read_logs(caller) {
        return Err(UserError::rejected(format!("Caller {caller} is not allowed to access canister logs")));
    }
    let result = FetchCanisterLogsResult { canister_log_records: canister.logs.select(args.filter.as_ref()) };
    match encode(method, (result,))? {
        Reply::Now(bytes) => Ok(bytes),
        Reply::Later => Err(UserError::new(
            ErrorCode::CanisterMethodNotFound,
            format!("Query method {method} not found."),
        )),
    }
}
