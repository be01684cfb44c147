//! Defers a migration before it begins, so that the build that contains it can be examined on the canister itself: the
//! build serves the old layout unconverted, and a dry run reports what the migration would do.

use crate::{Error, Host, Migration, MigrationState, Phase, StableError, Time};

/// Defers the [current](crate::Ledger::current) migration: it is paused before it has begun, until a controller resumes
/// it or [`release`] is called. For a build without migrations, which can call this function at any time. It does not
/// know which migrations follow: a build that has a list of them calls [`Engine::defer`](crate::Engine::defer).
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::of([(7, 100)]);
/// // In the old release, which knows only cents.
/// defer(&mut bank, NOW)?;
/// // After the upgrade to the release with the migration.
/// ENGINE.run(&mut bank, MESSAGE)?;
/// assert_eq!(bank.cents.get(&7), Some(100), "the account is not converted");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::WrongPhase`] unless the migration is idle; [`Error::Refused`] if a client's call has begun it; a damaged
/// record.
pub fn defer<H: Host>(host: &mut H, now: impl Into<Time>) -> Result<(), H::Error> {
    replace_state(host, now.into(), Phase::Idle, MigrationState::deferred())
}

/// See [`Engine::defer`](crate::Engine::defer).
pub(crate) fn defer_first<H: Host>(
    migrations: &[&dyn Migration<H>],
    host: &mut H,
    now: Time,
) -> Result<(), H::Error> {
    let layout = host.layout()?;
    let mut phase = Phase::Idle;
    for plan in migrations.iter().map(|migration| migration.plan()) {
        let state = host.ledger().state_of(plan.number)?;
        phase = state.phase;
        // In the layout to which it leads, a migration has begun or has nothing to convert.
        if layout >= plan.to {
            continue;
        }
        if state.is_deferred() || phase == Phase::RolledBack {
            return Ok(());
        }
        if !state.has_begun() {
            store_state(host, now, plan.number, MigrationState::deferred())?;
            return Ok(());
        }
    }
    let why = "no migration of this build is still to begin".into();
    Err(Error::Refused { action: "defer", phase, why }.into())
}

/// Ends the deferral of the current migration, which may then begin when a build that contains it next runs the engine.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::of([(7, 100)]);
/// defer(&mut bank, NOW)?;
/// assert!(bank.ledger.state_of(1)?.is_deferred());
/// release(&mut bank, NOW)?;
/// ENGINE.run(&mut bank, MESSAGE)?;
/// assert_eq!(bank.ledger.state_of(1)?.phase, Phase::Converted);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::WrongPhase`] if the migration is not paused. [`Error::Refused`] if it was paused after it had begun: this
/// function would discard its counts; resuming keeps them. A damaged record.
pub fn release<H: Host>(host: &mut H, now: impl Into<Time>) -> Result<(), H::Error> {
    replace_state(host, now.into(), Phase::Paused, MigrationState::default())
}

/// Replaces the state of the current migration, which must be in the phase `expected`; if that is [`Phase::Paused`], it
/// must be deferred, not just paused.
fn replace_state<H: Host>(
    host: &mut H,
    now: Time,
    expected: Phase,
    replacement: MigrationState<H::Key>,
) -> Result<(), H::Error> {
    let number = host.ledger().current();
    let state = host.ledger().state_of(number)?;
    let found = state.phase;
    if found != expected {
        return Err(Error::WrongPhase { expected, found }.into());
    }
    if found == Phase::Idle && state.has_begun() {
        let why = "a client's call has begun it: pause it instead".into();
        return Err(Error::Refused { action: "defer", phase: found, why }.into());
    }
    if found == Phase::Paused && !state.is_deferred() {
        let why = "it is paused, not deferred; resume it on a build that contains it".into();
        return Err(Error::Refused { action: "release", phase: found, why }.into());
    }
    store_state(host, now, number, replacement)?;
    Ok(())
}

/// Stores the state of a migration that is deferred or released, and records that in the journal.
fn store_state<H: Host>(
    host: &mut H,
    now: Time,
    number: u16,
    state: MigrationState<H::Key>,
) -> Result<(), StableError> {
    let layout = host.layout()?;
    let ledger = host.ledger_mut();
    ledger.set_state(number, &state);
    // These texts are stored in journals, so "held back", an earlier term for deferral, stays.
    let event = if state.is_deferred() { "held back" } else { "released" };
    ledger.record(now, event, layout, number, &state);
    Ok(())
}

/// Resets the current migration to idle, without any counts, and records that in the journal. Does nothing if the
/// migration is idle, deferred or finalized.
///
/// A build that knows only the old layout must call this function when it takes over, after a rollback or before the
/// first conversion: its clients change records that are counted already, so the migration must start from scratch.
/// [`Control::recount`](crate::Control::recount) is for a migration that is stuck in the new layout.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::converted([(7, 100)]);
/// ENGINE.control(&mut bank, NOW)?.rollback()?;
/// ENGINE.run(&mut bank, MESSAGE)?;
/// // In `post_upgrade` of the build that knows only cents. Its clients write, so the counts would not match.
/// discard_progress(&mut bank, NOW)?;
/// bank.cents.insert(8, 250);
/// // The build with the migration is installed again.
/// ENGINE.run(&mut bank, MESSAGE)?;
/// assert_eq!(bank.ledger.state_of(1)?.converted, 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// A damaged record; nothing is changed.
pub fn discard_progress<H: Host>(host: &mut H, now: impl Into<Time>) -> Result<(), StableError> {
    let number = host.ledger().current();
    let state = host.ledger().state_of(number)?;
    if state.phase != Phase::Idle && state.phase != Phase::Finalized && !state.is_deferred() {
        let layout = host.layout()?;
        let state = MigrationState::default();
        host.ledger_mut().set_state(number, &state);
        // The text is stored in journals. It means that the old build has taken over from the new one.
        host.ledger_mut().record(now, "taken over", layout, number, &state);
    }
    Ok(())
}
