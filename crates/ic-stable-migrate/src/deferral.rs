//! Defers a migration before it begins, so that the build that contains it can be examined on the canister
//! itself: it serves the old layout unconverted, and a dry run reports what it would do.

use crate::{Error, Host, MigrationState, Phase, StableError, Time};

/// Defers the current migration, in a build that has none: the next build finds it paused.
///
/// # Errors
/// [`Error::WrongPhase`] unless it is idle.
pub fn defer<H: Host>(host: &mut H, now: impl Into<Time>) -> Result<(), H::Error> {
    change(host, now.into(), Phase::Idle, MigrationState::deferred())
}

/// Allows the next build to begin immediately.
///
/// # Errors
/// [`Error::WrongPhase`] if the migration is not deferred.
pub fn release<H: Host>(host: &mut H, now: impl Into<Time>) -> Result<(), H::Error> {
    change(host, now.into(), Phase::Paused, MigrationState::default())
}

fn change<H: Host>(
    host: &mut H,
    now: Time,
    expected: Phase,
    to: MigrationState<H::Key>,
) -> Result<(), H::Error> {
    let number = host.ledger().current();
    let found = host.ledger().state_of(number)?.phase;
    if found != expected {
        return Err(Error::WrongPhase { expected, found }.into());
    }
    let layout = host.layout()?;
    let ledger = host.ledger_mut();
    ledger.set_state(number, &to);
    ledger.record(now, if to.is_deferred() { "held back" } else { "released" }, layout, number, &to);
    Ok(())
}

/// Discards the counts when a build that knows only the old layout takes over, after a rollback or before the
/// first conversion: its clients change the records. The next migration starts from scratch. A deferred one
/// stays deferred.
///
/// # Errors
/// A damaged record; nothing is changed.
pub fn taken_over<H: Host>(host: &mut H, now: impl Into<Time>) -> Result<(), StableError> {
    let number = host.ledger().current();
    let state = host.ledger().state_of(number)?;
    if state.phase != Phase::Idle && state.phase != Phase::Finalized && !state.is_deferred() {
        let layout = host.layout()?;
        let state = MigrationState::default();
        host.ledger_mut().set_state(number, &state);
        host.ledger_mut().record(now, "taken over", layout, number, &state);
    }
    Ok(())
}
