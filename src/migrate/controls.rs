//! A controller's calls, each for the current migration: the first that is neither idle nor finalized, otherwise the
//! last that has begun.
//!
//! The methods of the same names in [`ic_stable_migrate::Control`] document what the functions do, and in which phases.
//! A refusal is [`Error::Conflict`]. The migration waits while the compat path is in use.

use super::{ENGINE, Phase};
use crate::api::{Error, Result};
use crate::session::Time;
use crate::storage::Storage;

/// The controls of one migration.
pub type Control<'a> = ic_stable_migrate::Control<'a, Storage>;

/// Pauses the engine.
pub fn pause(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.pause()
}

/// Resumes after a pause or where the engine was stuck, or starts again after a rollback.
pub fn resume(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.resume()
}

/// Rolls everything back to the old layout, including all that was begun and written since the conversion.
pub fn rollback(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.rollback()
}

/// Checks every converted unit again.
pub fn verify(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.verify()
}

/// Retries one quarantined unit, or all of them; [`Error::NotFound`] if there is no such unit.
pub fn retry(storage: &mut Storage, now: Time, key: Option<u64>) -> Result<()> {
    ENGINE.control(storage, now)?.retry(key)
}

/// Ends the possibility of a rollback.
pub fn finalize(storage: &mut Storage, now: Time, leave_quarantined: bool) -> Result<()> {
    ENGINE.control(storage, now)?.finalize(leave_quarantined)
}

/// Returns `Ok(())` if a controller may send this share of new sessions down the compat path.
///
/// # Errors
/// [`Error::Conflict`] after finalization, and while counted legacy records are not converted yet: the compat
/// path would end some of them, and the migration would look for them forever.
pub fn check_share(storage: &Storage, compat_share_percent: u8) -> Result<()> {
    let state = storage.migration.state()?;
    if compat_share_percent == 0 || state.is_deferred() {
        return Ok(());
    }
    match state.phase {
        Phase::Idle | Phase::Converted | Phase::RollingBack | Phase::RolledBack => Ok(()),
        Phase::Finalized => Err(refused(state.phase, "the migration is finalized")),
        Phase::Validating | Phase::Converting | Phase::Verifying | Phase::Paused | Phase::Stuck => {
            Err(refused(state.phase, "the migration is in progress; wait for Converted"))
        }
    }
}

/// In a build that does not serve layout 1, ends a deferral or a rollback in progress: the migration then converts all
/// sessions, including those that were rolled back already.
pub fn go_forward(storage: &mut Storage, now: Time, serves_layout_1: bool) -> Result<()> {
    if serves_layout_1 { Ok(()) } else { ENGINE.go_forward(storage, now) }
}

/// Returns the error with which the engine's own controls refuse an action.
fn refused(phase: Phase, why: &str) -> Error {
    ic_stable_migrate::Error::Refused { action: "use the compat path", phase, why: why.into() }.into()
}
