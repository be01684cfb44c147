//! What a controller may do to the migration, and when.

use crate::api::{Error, Result};
use crate::session::Time;
use crate::storage::Storage;
use crate::upload::path::{BUILD, FEATURES};

use super::engine::{compat_share, enter};
use super::{MigrationState, Phase};

/// Stops the engine where it is. Sessions that clients touch are still served.
///
/// # Errors
/// [`Error::Conflict`] when nothing is at work.
pub fn pause(storage: &mut Storage, now: Time) -> Result<()> {
    let mut state = storage.migration.state()?;
    let working =
        matches!(state.phase, Phase::Validating | Phase::Converting | Phase::Verifying | Phase::RollingBack);
    if !working {
        return Err(refused("pause", &state, "nothing is at work"));
    }
    state.resume_to = Some(state.phase);
    change(storage, state, Phase::Paused, now)
}

/// Goes on after a pause, or begins anew after a rollback or where it was stuck.
///
/// # Errors
/// [`Error::Conflict`] when there is nothing to resume.
pub fn resume(storage: &mut Storage, now: Time) -> Result<()> {
    let mut state = storage.migration.state()?;
    let phase = match state.phase {
        Phase::Paused => state.resume_to.take().unwrap_or(Phase::Idle),
        Phase::RolledBack => Phase::Idle,
        _ => return Err(refused("resume", &state, "it is neither paused nor rolled back")),
    };
    change(storage, state, phase, now)
}

/// Takes everything back to layout 1, what was begun and written since included.
///
/// # Errors
/// [`Error::Conflict`] in a build without the compat path, which could not serve layout 1; after
/// finalizing; and when it is done already.
pub fn rollback(storage: &mut Storage, now: Time) -> Result<()> {
    let mut state = storage.migration.state()?;
    if !FEATURES.contains(&"compat") {
        let why = format!(
            "the {BUILD} build cannot serve layout 1: upgrade to the staged build, and roll back there"
        );
        return Err(refused("roll back", &state, &why));
    }
    if state.phase == Phase::Finalized {
        return Err(refused("roll back", &state, "the migration is finalized"));
    }
    if state.is_going_back() && state.phase != Phase::Paused {
        return Err(refused("roll back", &state, "that is what it does, or has done"));
    }
    state.resume_to = None;
    state.note.clear();
    change(storage, state, Phase::RollingBack, now)
}

/// Closes rollback for good.
///
/// # Errors
/// [`Error::Conflict`] unless everything is converted, every record is accounted for, and no new session
/// takes the compat path.
pub fn finalize(storage: &mut Storage, now: Time) -> Result<()> {
    let state = storage.migration.state()?;
    if state.phase != Phase::Converted {
        return Err(refused("finalize", &state, "not everything is converted and proven"));
    }
    if compat_share(storage)? > 0 || !storage.sessions.legacy.is_empty() {
        return Err(refused("finalize", &state, "the compat path is still in use"));
    }
    if let Some(imbalance) = state.imbalance() {
        return Err(refused("finalize", &state, &imbalance));
    }
    change(storage, state, Phase::Finalized, now)
}

/// Nothing, when a controller may send this share of new sessions down the compat path.
///
/// # Errors
/// [`Error::Conflict`] after finalizing, and while legacy records that are counted are not converted yet:
/// the compat path would end some of them, and the migration would look for them for ever.
pub fn check_share(storage: &Storage, compat_share_percent: u8) -> Result<()> {
    let state = storage.migration.state()?;
    if compat_share_percent == 0 {
        return Ok(());
    }
    match state.phase {
        Phase::Idle | Phase::Converted | Phase::RollingBack | Phase::RolledBack => Ok(()),
        Phase::Finalized => Err(refused("use the compat path", &state, "the migration is finalized")),
        Phase::Validating | Phase::Converting | Phase::Verifying | Phase::Paused | Phase::Stuck => {
            Err(refused("use the compat path", &state, "the migration has begun and is not done"))
        }
    }
}

fn change(storage: &mut Storage, mut state: MigrationState, phase: Phase, now: Time) -> Result<()> {
    enter(storage, &mut state, phase, now)?;
    storage.migration.set_state(&state);
    Ok(())
}

fn refused(what: &str, state: &MigrationState, why: &str) -> Error {
    Error::conflict("migration", format!("{:?}", state.phase), format!("cannot {what}: {why}"))
}
