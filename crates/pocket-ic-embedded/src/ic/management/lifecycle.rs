//! Starting, stopping and deleting canisters, and changing their settings.

use super::{ManagementCall, Reply, empty_reply};
use crate::ic::canister::{RunStatus, StopWaiter};
use crate::ic::error::UserError;
use crate::ic::instance::Instance;
use crate::ic::records::change_origin;
use ic_management_canister_types::{
    CanisterIdRecord, ChangeDetails, ControllersChangeRecord, UpdateSettingsArgs,
};
use pocket_ic::ErrorCode;

/// `start_canister`: pending stop calls are rejected.
pub(super) fn start(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: CanisterIdRecord = call.decode()?;
    let canister = instance.controlled_canister(args.canister_id, call.caller)?;
    let previous_status = std::mem::replace(&mut canister.status, RunStatus::Running);
    if previous_status != RunStatus::Running {
        canister.version += 1;
    }
    if let RunStatus::Stopping(waiters) = previous_status {
        for waiter in waiters {
            let error = UserError::new(
                ErrorCode::CanisterStoppingCancelled,
                format!("Canister {}'s stop request was cancelled.", args.canister_id),
            );
            instance.respond(waiter.origin, Err(error), waiter.cycles);
        }
    }
    Ok(Reply::Now(empty_reply()))
}

/// `stop_canister`: answered once no call is open, unless the canister is started again or the stop call times out
/// before.
pub(super) fn stop(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: CanisterIdRecord = call.decode()?;
    let canister = instance.controlled_canister(args.canister_id, call.caller)?;
    let waiter = StopWaiter { origin: call.origin.clone(), cycles: call.cycles, since: call.now };
    match &mut canister.status {
        RunStatus::Stopped => return Ok(Reply::Now(empty_reply())),
        RunStatus::Stopping(waiters) => waiters.push(waiter),
        RunStatus::Running => {
            canister.status = RunStatus::Stopping(vec![waiter]);
            canister.version += 1;
        }
    }
    instance.finish_stopping(args.canister_id);
    Ok(Reply::Later)
}

/// `delete_canister`: the canister must be stopped; its cycles are lost.
pub(super) fn delete(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: CanisterIdRecord = call.decode()?;
    let id = args.canister_id;
    if call.caller.id == id {
        return Err(UserError::new(
            ErrorCode::CanisterInvalidController,
            format!("Canister {id} cannot delete itself."),
        ));
    }
    let canister = instance.controlled_canister(id, call.caller)?;
    if canister.status != RunStatus::Stopped {
        return Err(UserError::new(
            ErrorCode::CanisterNotStopped,
            format!("Canister {id} must be stopped before it is deleted."),
        ));
    }
    instance.canisters.remove(&id);
    Ok(Reply::Now(empty_reply()))
}

/// `update_settings`
pub(super) fn update_settings(
    instance: &mut Instance,
    call: &mut ManagementCall,
) -> Result<Reply, UserError> {
    let args: UpdateSettingsArgs = call.decode()?;
    let canister = instance.controlled_canister(args.canister_id, call.caller)?;
    let changes_controllers = args.settings.controllers.is_some();
    canister.settings = canister.settings.with(args.settings)?;
    canister.update_low_memory_hook();
    canister.logs.shrink_to(canister.settings.log_memory_limit);
    canister.version += 1;
    if changes_controllers {
        let origin = change_origin(call.caller.id, call.caller.is_canister, args.sender_canister_version);
        let details = ChangeDetails::ControllersChange(ControllersChangeRecord {
            controllers: canister.settings.controllers.clone(),
        });
        canister.history.push(call.now, canister.version, origin, details);
    }
    Ok(Reply::Now(empty_reply()))
}
