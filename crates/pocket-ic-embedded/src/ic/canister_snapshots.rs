//! Takes snapshots of canisters, and loads snapshots onto canisters. The snapshots themselves are in `snapshot.rs`.

use super::canister::{Canister, LowMemoryHook};
use super::error::UserError;
use super::snapshot::{Contents, Snapshot, inconsistent};
use crate::engine::{CanisterState, Engine};
use ic_management_canister_types::{CanisterTimer, OnLowWasmMemoryHookStatus};
use pocket_ic::ErrorCode;

impl Snapshot {
    /// Takes a snapshot; an error if the canister has no code.
    pub fn take(canister: &Canister, now: u64) -> Result<Self, UserError> {
        let Some(state) = &canister.state else {
            // The colon is the IC's, too.
            return Err(UserError::rejected(format!(
                "Failed to create snapshot for empty canister {}:",
                canister.id
            )));
        };
        Ok(Self {
            contents: Contents::Taken(state.clone()),
            chunks: canister.chunks.clone(),
            certified_data: canister.certified_data.clone(),
            global_timer: Some(match canister.global_timer {
                0 => CanisterTimer::Inactive,
                nanos => CanisterTimer::Active(nanos),
            }),
            hook_status: Some(match canister.low_memory_hook {
                LowMemoryHook::NotSatisfied => OnLowWasmMemoryHookStatus::ConditionNotSatisfied,
                LowMemoryHook::Ready => OnLowWasmMemoryHookStatus::Ready,
                LowMemoryHook::Executed => OnLowWasmMemoryHookStatus::Executed,
            }),
            version: canister.version,
            taken_at: now,
        })
    }

    /// Restores a canister's code, heap, globals, stable memory, chunks and certified data from the snapshot. If the
    /// snapshot was uploaded, also restores the timer and the low-memory hook, as far as the metadata contains them (a
    /// taken snapshot has them for its metadata only, as on the IC). On an error the canister is unchanged.
    pub fn load_onto(&self, canister: &mut Canister, engine: &Engine) -> Result<(), UserError> {
        let state = match &self.contents {
            Contents::Taken(state) => state.clone(),
            Contents::Uploaded { module, heap, stable, globals } => {
                let module = engine
                    .compile(module)
                    .map_err(|error| UserError::new(ErrorCode::CanisterInvalidWasm, error.to_string()))?;
                let state = CanisterState::from_parts(module, heap.clone(), globals.clone(), stable.clone())
                    .map_err(|error| inconsistent(format!("The snapshot cannot be loaded: {error}")))?;
                let hook_status = self.uploaded_hook_status(canister.is_low_on_memory(Some(&state)))?;
                canister.low_memory_hook = hook_status.unwrap_or(canister.low_memory_hook);
                match self.global_timer {
                    Some(CanisterTimer::Inactive) => canister.global_timer = 0,
                    Some(CanisterTimer::Active(nanos)) => canister.global_timer = nanos,
                    None => {}
                }
                state
            }
        };
        canister.state = Some(state);
        canister.chunks = self.chunks.clone();
        canister.certified_data = self.certified_data.clone();
        Ok(())
    }

    /// Returns the uploaded status of the low-memory hook; `None` if the metadata has none; an error if the status
    /// contradicts `is_low_on_memory`.
    fn uploaded_hook_status(&self, is_low_on_memory: bool) -> Result<Option<LowMemoryHook>, UserError> {
        let hook = match &self.hook_status {
            None => return Ok(None),
            Some(OnLowWasmMemoryHookStatus::ConditionNotSatisfied) => LowMemoryHook::NotSatisfied,
            Some(OnLowWasmMemoryHookStatus::Ready) => LowMemoryHook::Ready,
            Some(OnLowWasmMemoryHookStatus::Executed) => LowMemoryHook::Executed,
        };
        if is_low_on_memory != (hook != LowMemoryHook::NotSatisfied) {
            return Err(inconsistent(format!(
                "Hook status ({:?}) of uploaded snapshot is inconsistent with the canister's state (hook condition satisfied: {is_low_on_memory}).",
                self.hook_status
            )));
        }
        Ok(Some(hook))
    }
}
