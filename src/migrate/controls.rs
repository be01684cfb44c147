//! The calls of controllers, each for the [current](ic_stable_migrate::Ledger::current) migration.
//!
//! [`ic_stable_migrate::Control`] documents the methods of the same names and the phases in which they are accepted. A
//! refusal by the engine is [`Error::Conflict`]. Migration 1 converts nothing while the compat path is in use.

use super::{ENGINE, Phase};
use crate::api::{Error, Result};
use crate::session::Time;
use crate::storage::Storage;

/// The controls of one migration.
pub type Control<'a> = ic_stable_migrate::Control<'a, Storage>;

/// Pauses the migration.
pub fn pause(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.pause()
}

/// Resumes the migration after a pause, an error or a rollback.
pub fn resume(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.resume()
}

/// Starts a rollback of everything to the source layout, including all that was begun and written since the conversion.
pub fn rollback(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.rollback()
}

/// Starts a check of every converted unit.
pub fn verify(storage: &mut Storage, now: Time) -> Result<()> {
    ENGINE.control(storage, now)?.verify()
}

/// Retries one quarantined unit, or all of them without `key`; [`Error::NotFound`] if `key` is not in quarantine.
pub fn retry(storage: &mut Storage, now: Time, key: Option<u64>) -> Result<()> {
    ENGINE.control(storage, now)?.retry(key)
}

/// Ends the possibility of a rollback.
pub fn finalize(storage: &mut Storage, now: Time, leave_quarantined: bool) -> Result<()> {
    ENGINE.control(storage, now)?.finalize(leave_quarantined)
}

/// Returns `Ok(())` if a controller may set this share of new sessions for the compat path now; always for a share of
/// 0.
///
/// # Errors
/// [`Error::Conflict`] for a share above 0 after the finalization of migration 1, and while it is in progress, paused
/// or stuck: the compat path could end a record that is counted but not converted yet, and the counts would not
/// reconcile.
pub fn check_share(storage: &Storage, compat_share_percent: u8) -> Result<()> {
    let state = storage.migration.state()?;
    if compat_share_percent == 0 || state.is_deferred() {
        return Ok(());
    }
    match state.phase {
        Phase::Idle | Phase::Converted | Phase::RollingBack | Phase::RolledBack => Ok(()),
        Phase::Finalized => Err(compat_path_refused(state.phase, "the migration is finalized")),
        Phase::Validating | Phase::Converting | Phase::Verifying | Phase::Paused | Phase::Stuck => {
            Err(compat_path_refused(state.phase, "the migration is in progress; wait for Converted"))
        }
    }
}

/// In a build that does not serve layout 1, ends a deferral, or a rollback in progress or complete: the migration then
/// converts all sessions, including those that were rolled back already.
pub fn go_forward(storage: &mut Storage, now: Time, serves_layout_1: bool) -> Result<()> {
    if serves_layout_1 { Ok(()) } else { ENGINE.go_forward(storage, now) }
}

fn compat_path_refused(phase: Phase, why: &str) -> Error {
    ic_stable_migrate::Error::Refused { action: "use the compat path", phase, why: why.into() }.into()
}
