//! Upgrades from build to build on the same memory, and the migration, message by message.

use crate::meter::{Meter, Unmetered};
use crate::migrate::{self, MessageBudget, Phase, controls};
use crate::migrations::{MoveToExtents, SplitSessions};
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::path::ActivePath;
use crate::upload::path::compat::CompatPath;
use crate::upload::path::direct::DirectPath;
use crate::upload::tests::{ALL_LAYOUTS, TestCanister, set_share};
use upload_model::{self as model, Control, Stage, TargetResult};

use super::faults::number_ids;
use super::{Native, to_refusal};

/// Returns the layouts that the build of a stage accepts.
fn accepted_by(stage: Stage) -> &'static [Layout] {
    match stage {
        Stage::Legacy => &[Layout::LEGACY],
        Stage::Staged => &[Layout::LEGACY, Layout::SPLIT],
        Stage::Direct => ALL_LAYOUTS,
    }
}

impl Native {
    /// Runs the engine for one message of the build of this stage, with a budget of 0 instructions. With an exhausted
    /// meter, the message does one step; unmetered, it always counts 0 instructions as used, so it runs to the end.
    pub(super) fn run_one_message(&mut self, meter: &dyn Meter) {
        let move_to_extents = MoveToExtents { layouts: accepted_by(self.stage) };
        let TestCanister { storage, now, .. } = &mut self.canister;
        let message = MessageBudget { now: (*now).into(), meter, budget: 0 };
        migrate::Engine::new(&[&SplitSessions, &move_to_extents]).run(storage, message).unwrap();
    }

    /// Upgrades to the build of another stage, which opens the same memory.
    pub(super) fn open_as(&mut self, to: Stage, share: u8) {
        self.stage = to;
        self.reopen();
        let share = match to {
            Stage::Legacy => 100,
            // If the build would refuse this share from a controller, the share is 0 instead.
            Stage::Staged => {
                let may = controls::check_share(&self.canister.storage, share).is_ok();
                if may { share } else { 0 }
            }
            Stage::Direct => {
                // The direct build makes this call by itself when it starts. These tests are compiled as the staged
                // build.
                controls::go_forward(&mut self.canister.storage, self.canister.now, false).unwrap();
                0
            }
        };
        set_share(&mut self.canister.storage, share);
        if to == Stage::Legacy {
            migrate::discard_progress(&mut self.canister.storage, self.canister.now).unwrap();
        }
    }

    /// Opens the memory again with the build of this stage.
    pub(super) fn reopen(&mut self) {
        let accepted = accepted_by(self.stage);
        self.canister.storage = Storage::open_accepting(self.canister.raw.clone(), accepted).unwrap();
        number_ids(&mut self.canister.storage);
        self.canister.path = match self.stage {
            Stage::Legacy => Box::<CompatPath>::default(),
            Stage::Staged => Box::<ActivePath>::default(),
            Stage::Direct => Box::new(DirectPath),
        };
    }

    /// Returns the answer of this stage's build to the control of a controller; `None` if the build has no such call.
    pub(super) fn apply_control(&mut self, control: Control) -> Option<TargetResult<()>> {
        // The legacy build can only defer and release the migration. The direct build refuses a rollback, but
        // decides so at compile time, and these tests are compiled as the staged build.
        let may_defer = matches!(control, Control::Pause | Control::Resume);
        if self.stage == Stage::Legacy && !may_defer
            || (self.stage, control) == (Stage::Direct, Control::Rollback)
        {
            return None;
        }
        let TestCanister { storage, now, .. } = &mut self.canister;
        let answer = match control {
            Control::Pause if self.stage == Stage::Legacy => migrate::defer(storage, *now),
            Control::Resume if self.stage == Stage::Legacy => migrate::release(storage, *now),
            Control::Pause => controls::pause(storage, *now),
            Control::Resume => controls::resume(storage, *now),
            Control::Rollback => controls::rollback(storage, *now),
            Control::Finalize => controls::finalize(storage, *now, true),
            Control::Retry => controls::retry(storage, *now, None),
        };
        Some(answer.map_err(to_refusal))
    }

    pub(super) fn migration_phase(&self) -> model::Phase {
        if self.canister.storage.migration.current() > 1 {
            return model::Phase::Second;
        }
        let state = self.canister.storage.migration.state().unwrap();
        match state.phase {
            Phase::Idle => model::Phase::Idle,
            Phase::Validating | Phase::Converting | Phase::Verifying => model::Phase::Working,
            Phase::Converted => model::Phase::Converted,
            Phase::Finalized => model::Phase::Finalized,
            Phase::Paused if state.is_going_back() => model::Phase::PausedInRollback,
            Phase::Paused => model::Phase::Paused,
            Phase::Stuck => model::Phase::Stuck,
            Phase::RollingBack => model::Phase::RollingBack,
            Phase::RolledBack => model::Phase::RolledBack,
        }
    }

    /// Runs the migration to its end, from whatever phase it is in, and checks the result.
    pub(super) fn end_migration(&mut self) -> Result<(), String> {
        set_share(&mut self.canister.storage, 0);
        // An unmetered message runs to the end. If a rollback is paused, the first message completes it, and the
        // second migrates again.
        for _ in 0..2 {
            let TestCanister { storage, now, .. } = &mut self.canister;
            // The controls refuse to resume if the migration is neither paused nor rolled back.
            let _ = controls::resume(storage, *now);
            self.run_one_message(&Unmetered);
        }
        let storage = &mut self.canister.storage;
        let state = storage.migration.state().unwrap();
        if let Some(imbalance) = state.imbalance() {
            return Err(imbalance);
        }
        let quarantined = storage.migration.quarantine.len(1);
        let is_done = storage.sessions.legacy.is_empty() && state.quarantined == quarantined;
        if state.phase == Phase::Stuck || !is_done {
            return Err(format!("the migration is not done: {state:?}"));
        }
        match storage.layout.get().unwrap() {
            Some(Layout::SPLIT) => Ok(()),
            Some(Layout::EXTENTS) if self.stage == Stage::Direct => Ok(()),
            layout => Err(format!("the migration has ended in layout {layout:?}")),
        }
    }
}
