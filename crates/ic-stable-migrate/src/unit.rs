//! Accounting for single units, which the engine or a client's call converts. Also changes of layout and phase.

use crate::chain::UNKNOWN;
use crate::{Digest, Fate, Host, Migration, MigrationState, Phase, Settled, StableError, Time};

/// Adds one, unless that would overflow.
pub fn increment(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// Who has converted, released or quarantined a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ConvertedBy {
    /// The engine, when it reached the unit.
    Engine,
    /// The call of a client that touched the unit.
    Touch,
}

/// Accounts for a unit that was converted, released or quarantined. `digest` is that of the source unit, or `None` if
/// the unit is counted in `source` already.
pub fn account<H: Host>(
    migration: &dyn Migration<H>,
    host: &mut H,
    state: &mut MigrationState<H::Key>,
    digest: Option<Digest>,
    unit: Settled<H::Key>,
    by: ConvertedBy,
) -> Result<(), H::Error> {
    if let Some(digest) = digest {
        state.digest_before.add(digest);
        increment(&mut state.source);
    }
    settle(migration, host, state, unit, by)
}

/// Accounts for a unit that was converted, released or quarantined, and that is counted in `source`.
pub fn settle<H: Host>(
    migration: &dyn Migration<H>,
    host: &mut H,
    state: &mut MigrationState<H::Key>,
    Settled { key, class, fate }: Settled<H::Key>,
    by: ConvertedBy,
) -> Result<(), H::Error> {
    let plan = migration.plan();
    match fate {
        Fate::Converted(digest) => {
            state.digest_after.add(digest);
            increment(match by {
                ConvertedBy::Engine => &mut state.converted,
                ConvertedBy::Touch => &mut state.already,
            });
        }
        Fate::Released(digest) => {
            state.digest_after.add(digest);
            increment(&mut state.expired);
        }
        Fate::Quarantined(record) => {
            host.ledger_mut().quarantine.insert(plan.number, &key, &record);
            // The digest includes only what can be read back.
            if let Some(found) = host.ledger().quarantine.get(plan.number, &key)? {
                state.digest_after.add(migration.digest_of_quarantined(&found.raw));
            }
            increment(&mut state.quarantined);
        }
    }
    state.count_class(plan.classes.get(class).map_or(UNKNOWN, |class| class.name));
    if by == ConvertedBy::Engine {
        state.cursor = Some(key);
    }
    Ok(())
}

/// Restores a unit from quarantine as a source unit, and no longer counts it in `quarantined`, nor in `source` if it is
/// not validated. Does nothing if the unit is not quarantined. An error changes nothing.
pub fn restore<H: Host>(
    migration: &dyn Migration<H>,
    host: &mut H,
    state: &mut MigrationState<H::Key>,
    key: H::Key,
) -> Result<(), H::Error> {
    let number = migration.plan().number;
    let Some(record) = host.ledger().quarantine.get(number, &key)? else {
        return Ok(());
    };
    let digest = migration.digest_of_quarantined(&record.raw);
    migration.restore(host, key.clone(), record)?;
    host.ledger_mut().quarantine.remove(number, &key);
    state.digest_after.remove(digest);
    state.quarantined = state.quarantined.saturating_sub(1);
    if !state.is_validated(&key) {
        // The unit is counted again when the migration reaches it, unless its client has removed it.
        state.digest_before.remove(digest);
        state.source = state.source.saturating_sub(1);
    }
    Ok(())
}

/// Returns the number of target units, quarantined units and leftovers that a rollback still has to handle; damaged
/// records in quarantine are included, although they stay there.
pub fn count_left_to_roll_back<H: Host>(migration: &dyn Migration<H>, host: &H) -> u64 {
    let quarantined = host.ledger().quarantine.len(migration.plan().number);
    migration.reversal().map_or(0, |reversal| reversal.left(host)).saturating_add(quarantined)
}

/// Adds quarantined units to the counts of a run that starts from scratch.
pub fn count_quarantined<H: Host>(
    migration: &dyn Migration<H>,
    host: &H,
    state: &mut MigrationState<H::Key>,
) {
    let number = migration.plan().number;
    for key in host.ledger().quarantine.keys(number, None, usize::MAX) {
        let Some(record) = host.ledger().quarantine.get_or_damaged(number, key) else { continue };
        let digest = migration.digest_of_quarantined(&record.raw);
        state.digest_before.add(digest);
        state.digest_after.add(digest);
        increment(&mut state.source);
        increment(&mut state.quarantined);
    }
}

/// Records which migration the state belongs to, and which plan it follows.
pub fn set_plan<H: Host>(migration: &dyn Migration<H>, state: &mut MigrationState<H::Key>) {
    let plan = migration.plan();
    if state.name != plan.name {
        plan.name.clone_into(&mut state.name);
    }
    state.plan = Some(plan.digest());
}

/// Changes the layout, if it is still the old one. Called before the first target unit is written: from then on, builds
/// that know only the old layout must refuse this memory. An error does not change the layout.
pub fn leave_old_layout<H: Host>(
    migration: &dyn Migration<H>,
    host: &mut H,
    state: &mut MigrationState<H::Key>,
    now: Time,
) -> Result<(), StableError> {
    let plan = migration.plan();
    if host.layout()? == plan.from {
        host.set_layout(plan.to);
        if let Err(error) = migration.layout_entered(host) {
            host.set_layout(plan.from);
            return Err(error);
        }
        // There are no target units yet, so none can be unsound.
        state.proven_since = Some(now.as_nanos());
        let event = format!("layout {}", plan.to.0);
        host.ledger_mut().record(now, &event, plan.to, plan.number, state);
    }
    Ok(())
}

/// Changes the phase, and records the change in the journal.
pub fn enter_phase<H: Host>(
    migration: &dyn Migration<H>,
    host: &mut H,
    state: &mut MigrationState<H::Key>,
    phase: Phase,
    now: Time,
) -> Result<(), StableError> {
    state.phase = phase;
    let event = match phase {
        Phase::Idle => "idle",
        Phase::Validating => "validating",
        Phase::Converting => "converting",
        Phase::Verifying => "verifying",
        Phase::Converted => "converted",
        Phase::Finalized => "finalized",
        Phase::Paused => "paused",
        Phase::Stuck => "stuck",
        Phase::RollingBack => "rolling back",
        Phase::RolledBack => "rolled back",
    };
    let layout = host.layout()?;
    host.ledger_mut().record(now, event, layout, migration.plan().number, state);
    Ok(())
}
