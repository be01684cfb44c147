//! Whether the engine is at work, asked from time to time: a timer that traps is lost, and an error of the
//! engine's own tables must not end in silence.

use crate::api::Result;
use crate::migrations;
use crate::session::Time;
use crate::storage::Storage;

use super::engine::has_work;
use super::unit::enter;
use super::{Migration, Phase, Retry};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Nothing: there is no work, or it goes on.
    Quiet,
    /// Run the engine.
    Run,
}

/// Looks whether a migration that has work goes on. `messages` is how many messages the engine had used when it
/// was asked before, and is replaced.
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
        return was_cut_off(*migration, storage, now);
    }
    *messages = None;
    Ok(Watched::Quiet)
}

/// The message that was announced has not come back: the next one tries less, or none is tried any more.
fn was_cut_off(migration: &dyn Migration, storage: &mut Storage, now: Time) -> Result<Watched> {
    let number = migration.plan().number;
    let mut state = storage.migration.state_of(number)?;
    let retry = state.pace.was_cut_off(state.phase == Phase::Converting);
    if retry == Retry::Never {
        let behind =
            state.cursor.map_or_else(|| "the first unit".into(), |key| format!("the unit behind {key}"));
        let did = match state.phase {
            Phase::Converting => format!("put {behind} aside"),
            phase => format!("a step of {phase:?}, at {behind},"),
        };
        state.note = format!("a message that did nothing else than {did} was cut off");
        state.resume_to = Some(state.phase);
        enter(migration, storage, &mut state, Phase::Stuck, now)?;
    }
    storage.migration.set_state(number, &state);
    Ok(if retry == Retry::Smaller { Watched::Run } else { Watched::Quiet })
}
