//! Defers a migration before it begins, so that the build that carries it can be examined on the canister
//! itself: it serves layout 1 as it is, and a dry run tells what it would do.

use crate::api::{Error, Result};
use crate::session::Time;
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;

use super::{MigrationState, Phase};

/// Defers the migration, in a build that has none: the next build finds it paused.
///
/// # Errors
/// [`Error::Conflict`] if it is deferred already.
pub fn hold(storage: &mut Storage, now: Time) -> Result<()> {
    change(storage, now, Phase::Idle, MigrationState::deferred())
}

/// Lets the next build begin at once.
///
/// # Errors
/// [`Error::Conflict`] if the migration is not deferred.
pub fn release(storage: &mut Storage, now: Time) -> Result<()> {
    change(storage, now, Phase::Paused, MigrationState::default())
}

fn change(storage: &mut Storage, now: Time, from: Phase, to: MigrationState) -> Result<()> {
    let number = storage.migration.current();
    let phase = storage.migration.state_of(number)?.phase;
    if phase != from {
        let why = format!("it is not {from:?}, and the legacy build migrates nothing");
        return Err(Error::conflict("migration", format!("{phase:?}"), why));
    }
    storage.migration.set_state(number, &to);
    let event = if to.is_deferred() { "held back" } else { "released" };
    storage.migration.record(now, event, Layout::LEGACY, number, &to);
    Ok(())
}

/// Forgets what was counted when the legacy build takes over, after a rollback or before the first
/// conversion: nothing is converted in layout 1, and clients of the legacy build change the records. The next
/// migration starts from scratch. A deferred one stays deferred.
pub fn taken_over(storage: &mut Storage, now: Time) -> std::result::Result<(), StableError> {
    let number = storage.migration.current();
    let state = storage.migration.state_of(number)?;
    if state.phase != Phase::Idle && state.phase != Phase::Finalized && !state.is_deferred() {
        let state = MigrationState::default();
        storage.migration.set_state(number, &state);
        storage.migration.record(now, "taken over", Layout::LEGACY, number, &state);
    }
    Ok(())
}
