//! Steps of a single unit, whoever triggers them: digested before, accounted for after.

use crate::api::Result;
use crate::session::Time;
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;

use super::{Fate, Migration, MigrationState, Phase, Settled};

/// Increments a counter.
pub fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// Adds a source unit to what the migration must account for.
pub fn count_source(
    migration: &dyn Migration,
    storage: &Storage,
    state: &mut MigrationState,
    key: u64,
) -> Result<()> {
    state.digest_before.add(migration.weigh(storage, key)?);
    count(&mut state.source);
    Ok(())
}

/// Accounts for a unit that was converted, released or quarantined. `touched` says that its client triggered
/// it.
pub fn settle(
    migration: &dyn Migration,
    storage: &mut Storage,
    state: &mut MigrationState,
    Settled { key, class, fate }: Settled,
    touched: bool,
) -> Result<()> {
    let plan = migration.plan();
    match fate {
        Fate::Converted(digest) => {
            state.digest_after.add(digest);
            count(if touched { &mut state.already } else { &mut state.converted });
        }
        Fate::Released(digest) => {
            state.digest_after.add(digest);
            count(&mut state.expired);
        }
        Fate::Quarantined(record) => {
            storage.migration.quarantine.insert(plan.number, key, &record);
            // Only what can be read back counts.
            if let Some(kept) = storage.migration.quarantine.get(plan.number, key)? {
                state.digest_after.add(migration.digest_of_quarantined(&kept.raw));
            }
            count(&mut state.quarantined);
        }
    }
    state.count_class(plan.classes.get(class).map_or("unknown", |class| class.name));
    if !touched {
        state.cursor = Some(key);
    }
    Ok(())
}

/// Takes a unit out of quarantine and out of the counts, and restores it as a source unit.
///
/// # Errors
/// A damaged record; nothing is changed.
pub fn restore(
    migration: &dyn Migration,
    storage: &mut Storage,
    state: &mut MigrationState,
    key: u64,
) -> Result<()> {
    let number = migration.plan().number;
    let Some(record) = storage.migration.quarantine.get(number, key)? else {
        return Ok(());
    };
    let digest = migration.digest_of_quarantined(&record.raw);
    migration.restore(storage, key, record)?;
    storage.migration.quarantine.remove(number, key);
    state.digest_after.remove(digest);
    state.quarantined = state.quarantined.saturating_sub(1);
    if !migration.counts_ahead() {
        // It is counted again when its turn comes, unless its client has removed it.
        state.digest_before.remove(digest);
        state.source = state.source.saturating_sub(1);
    }
    Ok(())
}

/// Returns the steps that a rollback still takes.
pub fn left_to_roll_back(migration: &dyn Migration, storage: &Storage) -> u64 {
    let quarantined = storage.migration.quarantine.len(migration.plan().number);
    migration.reversal().map_or(0, |reversal| reversal.left(storage)).saturating_add(quarantined)
}

/// Adds quarantined units to the counts of a run that starts from scratch.
pub fn count_quarantined(migration: &dyn Migration, storage: &Storage, state: &mut MigrationState) {
    let number = migration.plan().number;
    for key in storage.migration.quarantine.keys(number, None, usize::MAX) {
        let Some(record) = storage.migration.quarantine.get_or_damaged(number, key) else { continue };
        let digest = migration.digest_of_quarantined(&record.raw);
        state.digest_before.add(digest);
        state.digest_after.add(digest);
        count(&mut state.source);
        count(&mut state.quarantined);
    }
}

/// Returns the layout in the header.
pub fn layout(storage: &Storage) -> std::result::Result<Layout, StableError> {
    Ok(storage.layout.get()?.unwrap_or(Layout::LEGACY))
}

/// Records which migration the state belongs to, and which plan it follows.
pub fn begin(migration: &dyn Migration, state: &mut MigrationState) {
    let plan = migration.plan();
    if state.name != plan.name {
        plan.name.clone_into(&mut state.name);
    }
    state.plan = Some(plan.digest());
}

/// Changes the layout with the first converted unit: from then on builds of the old layout must refuse this
/// memory.
pub fn leave_old_layout(
    migration: &dyn Migration,
    storage: &mut Storage,
    state: &mut MigrationState,
    now: Time,
) -> std::result::Result<(), StableError> {
    let plan = migration.plan();
    if layout(storage)? == plan.from {
        // No unit is converted yet, so all of them are sound.
        state.proven_since = Some(now.as_nanos());
        storage.layout.set(&plan.to);
        migration.layout_entered(storage)?;
        let event = format!("layout {}", plan.to.0);
        storage.migration.record(now, &event, plan.to, plan.number, state);
    }
    Ok(())
}

/// Changes the phase and writes it into the journal.
pub fn enter(
    migration: &dyn Migration,
    storage: &mut Storage,
    state: &mut MigrationState,
    phase: Phase,
    now: Time,
) -> std::result::Result<(), StableError> {
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
    let layout = layout(storage)?;
    storage.migration.record(now, event, layout, migration.plan().number, state);
    Ok(())
}
