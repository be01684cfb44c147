//! Watchdog: asks from time to time whether the engine makes progress. A timer that traps is lost, and an
//! error in the engine's own tables must not end in silence.

use crate::api::Result;
use crate::migrations;
use crate::session::Time;
use crate::storage::Storage;

use super::engine::has_work;
use super::unit::enter;
use super::{Migration, Phase, Retry};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Nothing: there is no work, or it makes progress.
    Quiet,
    /// Run the engine.
    Run,
}

/// Checks whether a migration that has work makes progress. `messages` is the number of messages the engine
/// had used at the last check, and is replaced.
pub fn watch(storage: &mut Storage, now: Time, messages: &mut Option<u64>) -> Result<Watched> {
    for migration in migrations::ALL {
        let number = migration.plan().number;
        let mut state = storage.migration.state_of(number)?;
        if !has_work(*migration, storage, &state)? {
            continue;
        }
        let before = messages.replace(state.pace.messages);
        if state.pace.attempts == 0 {
            state.pace.attempts = 1;
            storage.migration.set_state(number, &state);
            return Ok(Watched::Run);
        }
        if before != Some(state.pace.messages) {
            return Ok(Watched::Quiet);
        }
        return did_not_commit(*migration, storage, now);
    }
    *messages = None;
    Ok(Watched::Quiet)
}

/// Handles an attempt that did not commit: the next one tries less, or none is tried any more.
fn did_not_commit(migration: &dyn Migration, storage: &mut Storage, now: Time) -> Result<Watched> {
    let number = migration.plan().number;
    let mut state = storage.migration.state_of(number)?;
    let retry = state.pace.did_not_commit(state.phase == Phase::Converting);
    if retry == Retry::Never {
        let unit =
            state.cursor.map_or_else(|| "the first unit".into(), |key| format!("the unit after {key}"));
        let step = match state.phase {
            Phase::Converting => format!("quarantining {unit}"),
            phase => format!("a step of {phase:?} at {unit}"),
        };
        state.note = format!("{step} trapped, though the message did nothing else");
        state.resume_to = Some(state.phase);
        enter(migration, storage, &mut state, Phase::Stuck, now)?;
    }
    storage.migration.set_state(number, &state);
    Ok(if retry == Retry::Smaller { Watched::Run } else { Watched::Quiet })
}
