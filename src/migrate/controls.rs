//! What a controller may do to the migrations, and in which phase.
//!
//! Every function here is for the last migration that has begun, or the first if none has.

use super::{ENGINE, Phase};
use crate::api::{Error, Result};
use crate::session::Time;
use crate::storage::Storage;

/// The controls of one migration.
pub type Control<'a> = ic_stable_migrate::Control<'a, Storage>;

/// Pauses the engine. Sessions that clients touch are still served.
///
/// # Errors
/// [`Error::Conflict`] when nothing is at work.
pub fn pause(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.pause()
}

/// Resumes after a pause or where the engine was stuck, or starts again after a rollback.
///
/// # Errors
/// [`Error::Conflict`] when there is nothing to resume.
pub fn resume(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.resume()
}

/// Rolls everything back to the old layout, including what was begun and written since.
///
/// # Errors
/// [`Error::Conflict`] if the migration has no rollback, if this build does not serve the old layout, after
/// finalization, and if the rollback is complete.
pub fn rollback(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.rollback()
}

/// Checks every converted unit again. To be called before finalizing if much was written since.
///
/// # Errors
/// [`Error::Conflict`] unless everything is converted and the compat path is not in use.
pub fn verify(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.verify()
}

/// Retries units in quarantine: one, or all of them, at most a thousand in a call. Sessions that the compat path has
/// begun since the last count are counted and converted, too.
///
/// # Errors
/// [`Error::NotFound`] if there is no such unit, [`Error::Conflict`] before the migration has begun, while it is paused
/// or stuck, during a rollback, after finalization, and while the compat path is in use.
pub fn retry(storage: &mut Storage, now: Time, key: Option<u64>) -> Result<()> {
    ENGINE.control(storage, now)?.retry(key)
}

/// Closes the rollback for good. Quarantined units cannot be retried afterwards; they are left there only
/// with the consent of a controller.
///
/// # Errors
/// [`Error::Conflict`] unless everything is converted, every unit is accounted for, everything written since
/// the last verification is sound, the compat path is not in use, and quarantine is empty or may be left as
/// it is.
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
            Err(refused(state.phase, "the migration has begun and is not done"))
        }
    }
}

/// Goes forward, in a build that does not serve layout 1, from a rollback in progress and from a deferred
/// migration; what was already rolled back is converted again.
pub fn go_forward(storage: &mut Storage, now: Time, serves_layout_1: bool) -> Result<()> {
    if serves_layout_1 { Ok(()) } else { ENGINE.go_forward(storage, now) }
}

/// Refuses as the engine's own controls do.
fn refused(phase: Phase, why: &str) -> Error {
    ic_stable_migrate::Error::Refused { action: "use the compat path", phase, why: why.into() }.into()
}
