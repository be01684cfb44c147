//! Watchdog: checks, when the canister calls it (about once a minute), whether the engine makes progress. A timer that
//! traps is lost, and an error in the engine's own tables must not stop the migration silently.

use crate::pace::Retry;
use crate::run::has_work;
use crate::unit::enter_phase;
use crate::{Host, Migration, MigrationState, Phase, Time};

/// What the caller of [`Engine::watch`](crate::Engine::watch) must do.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::of([(7, 100), (8, 250)]);
/// ENGINE.run(&mut bank, STEP)?;
/// let mut seen = None;
/// assert_eq!(ENGINE.watch(&mut bank, NOW, &mut seen)?, Watched::Quiet);
/// // A minute later there has been no other message: the timer is lost, or its message trapped.
/// assert_eq!(ENGINE.watch(&mut bank, NOW, &mut seen)?, Watched::Run);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Nothing: there is no work, or the engine makes progress.
    Quiet,
    /// Run the engine.
    Run,
}

/// See [`Engine::watch`](crate::Engine::watch). Checks only the first migration that has work.
/// `messages` is the caller's memo: the number of messages that this migration had used at the last check.
pub(crate) fn watch<H: Host>(
    migrations: &[&dyn Migration<H>],
    host: &mut H,
    now: Time,
    messages: &mut Option<u64>,
) -> Result<Watched, H::Error> {
    for migration in migrations {
        let number = migration.plan().number;
        let mut state = host.ledger().state_of(number)?;
        if !has_work(*migration, host, &state)? {
            continue;
        }
        let messages_before = messages.replace(state.pace.messages);
        // No attempt is scheduled: the caller must schedule one, whose marker is stored here.
        if state.pace.attempts == 0 {
            state.pace.attempts = 1;
            host.ledger_mut().set_state(number, &state);
            return Ok(Watched::Run);
        }
        // Messages have committed since the last check, or this is the first check, which cannot know.
        if messages_before != Some(state.pace.messages) {
            return Ok(Watched::Quiet);
        }
        return handle_uncommitted(*migration, host, now);
    }
    *messages = None;
    Ok(Watched::Quiet)
}

/// Handles an attempt that did not commit: the next attempt handles fewer units; or, if a unit trapped alone while
/// converting, quarantines it; if that trapped, too, or nothing smaller is possible, the migration is stuck.
fn handle_uncommitted<H: Host>(
    migration: &dyn Migration<H>,
    host: &mut H,
    now: Time,
) -> Result<Watched, H::Error> {
    let number = migration.plan().number;
    let mut state = host.ledger().state_of(number)?;
    let usual = units_per_message(host, number, &state);
    // Only an attempt that was to convert units may be followed by quarantining one.
    let retry = state.pace.record_uncommitted(state.phase == Phase::Converting, usual);
    if retry == Retry::Never {
        let unit = state
            .cursor
            .as_ref()
            .map_or_else(|| "the first unit".into(), |key| format!("the unit after {key:?}"));
        let step = match state.phase {
            Phase::Converting => format!("quarantining {unit}"),
            phase => format!("a step of {phase:?} at {unit}"),
        };
        state.note = format!("{step} trapped, although the message did nothing else");
        state.resume_to = Some(state.phase);
        enter_phase(migration, host, &mut state, Phase::Stuck, now)?;
    }
    host.ledger_mut().set_state(number, &state);
    Ok(if retry == Retry::Smaller { Watched::Run } else { Watched::Quiet })
}

/// Returns how many units a message has handled on average since the last entry of the journal; `None` if that entry is
/// about another migration or phase, or no unit was handled since. The states do not have the number for a message.
fn units_per_message<H: Host>(host: &H, number: u16, state: &MigrationState<H::Key>) -> Option<u32> {
    let entry = host.ledger().last_entry().ok()??;
    if entry.migration != Some(number) || entry.state.phase != state.phase {
        return None;
    }
    let units = state.pace.steps.checked_sub(entry.state.pace.steps).filter(|units| *units > 0)?;
    // The message that wrote the entry may have handled some of them.
    let messages = state.pace.messages.saturating_sub(entry.state.pace.messages).saturating_add(1);
    u32::try_from(units.div_ceil(messages.max(1))).ok()
}
