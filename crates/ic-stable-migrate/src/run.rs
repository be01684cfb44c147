//! Runs a migration through its phases, within the instruction budget of a message.
//!
//! ```text
//! Idle ── anything to convert or verify ──> Validating ──> Converting ──> Verifying ──> Converted
//!                                            ^                                           │
//!                                            └──────────── more source units ────────────┘
//! Idle … Converted, Paused, Stuck ── rollback ──> RollingBack ──> RolledBack ── resume ──> Idle
//! Converted ── verify ──> Verifying       Converted ── finalize ──> Finalized
//! Validating … Converted ── retry ──> Validating
//! Validating … Verifying, RollingBack ── pause ──> Paused ── resume ──> as before
//! Idle … Converted, RollingBack ── error ──> Stuck ── resume ──> as before
//! Verifying ── imbalance ──> Stuck ── resume, recount ──> Validating
//! ```
//! A message on the IC commits completely or not at all, so the state is stored only once, at the end of the message:
//! the stored state is always consistent, and the next message continues from it, also after an upgrade.

use crate::chain::previous_number;
use crate::unit::{
    count_left_to_roll_back, count_quarantined, enter_phase, increment, leave_old_layout, restore, set_plan,
};
use crate::{
    Host, MessageBudget, Migration, MigrationState, Phase, Recheck, Rollback, RunOutcome, StableError,
};

/// Number of source units that [`first_unconverted`] lists at a time.
const LISTED_AT_ONCE: usize = 64;

/// Returns whether the next message has anything to do for the migration; not while it is stopped, held or waiting.
pub fn has_work<H: Host>(
    migration: &dyn Migration<H>,
    host: &H,
    state: &MigrationState<H::Key>,
) -> Result<bool, H::Error> {
    match state.phase {
        Phase::Stuck | Phase::Paused | Phase::Finalized | Phase::RolledBack => Ok(false),
        Phase::RollingBack => Ok(true),
        _ if migration.held_by(host)?.is_some() => Ok(false),
        Phase::Validating | Phase::Converting | Phase::Verifying => Ok(true),
        Phase::Idle | Phase::Converted => {
            // Clients' calls may have begun the migration: the first new unit has changed the layout, or every unit was
            // touched before the engine ran. Then no source unit may be left, but counts and digests are not verified.
            let is_begun_by_clients = state.phase == Phase::Idle && (state.has_begun() || state.source > 0);
            let is_needed = host.layout()? == migration.plan().from
                || is_begun_by_clients
                || first_unconverted(migration, host)?.is_some();
            let may_begin =
                state.phase == Phase::Converted || blocking_predecessor(migration, host)?.is_none();
            Ok(is_needed && may_begin && migration.waits_for(host)?.is_none())
        }
    }
}

/// Returns what must happen to earlier migrations before this one begins; `None` if nothing. The previous migration
/// must be finalized or not begun, and stable memory must be in the layout from which this one starts, or in a later
/// one. Otherwise a controller could neither finalize the previous migration nor roll it back.
pub fn blocking_predecessor<H: Host>(
    migration: &dyn Migration<H>,
    host: &H,
) -> Result<Option<String>, StableError> {
    let plan = migration.plan();
    if let Some(previous) = previous_number(plan) {
        let state = host.ledger().state_of(previous)?;
        if state.blocks_next() {
            let phase = state.phase;
            return Ok(Some(format!(
                "migration {previous} is in phase {phase:?}, and must be finalized first"
            )));
        }
    }
    let layout = host.layout()?;
    Ok((layout < plan.from).then(|| {
        format!(
            "stable memory is in layout {}, and the migrations that lead to layout {} must be finalized first",
            layout.0, plan.from.0
        )
    }))
}

/// Returns the first source unit that is not quarantined. Skips units that are quarantined in place, at the cost of one
/// step along both tables for each.
pub fn first_unconverted<H: Host>(
    migration: &dyn Migration<H>,
    host: &H,
) -> Result<Option<H::Key>, H::Error> {
    let number = migration.plan().number;
    let mut after = None;
    loop {
        let keys = migration.sources(host, after, LISTED_AT_ONCE)?;
        if let Some(key) = host.ledger().quarantine.first_absent(number, &keys) {
            return Ok(Some(key));
        }
        let Some(last) = keys.into_iter().next_back() else {
            return Ok(None);
        };
        after = Some(last);
    }
}

/// One migration in one message.
pub(crate) struct MigrationRun<'a, H: Host> {
    pub(crate) migration: &'a dyn Migration<H>,
    pub(crate) host: &'a mut H,
    /// Changed during the message, and stored at its end.
    pub(crate) state: MigrationState<H::Key>,
    pub(crate) message: MessageBudget<'a>,
    /// Highest cost of a unit in this message so far, in instructions.
    pub(crate) highest_cost: u64,
}

impl<'a, H: Host> MigrationRun<'a, H> {
    /// Takes steps until there is no work, or the budget or the limit of units is used, and stores the state. An error
    /// of a step makes the migration stuck, and is not returned.
    pub(crate) fn run_batches(mut self) -> Result<RunOutcome, H::Error> {
        if !has_work(self.migration, self.host, &self.state)? {
            return Ok(RunOutcome::Done);
        }
        self.adopt_changed_plan()?;
        let (used_at_start, instructions_before) = (self.message.meter.used(), self.state.instructions);
        let limit = self.state.pace.limit;
        let steps_before = self.state.pace.steps;
        increment(&mut self.state.pace.messages);
        let outcome = loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break RunOutcome::Done,
                Err(error) => {
                    self.become_stuck(error.to_string())?;
                    break RunOutcome::Done;
                }
            }
            let used = self.message.meter.used().saturating_sub(used_at_start);
            self.state.instructions = instructions_before.saturating_add(used);
            let steps_done = self.state.pace.steps.saturating_sub(steps_before);
            // A message limited to one unit does nothing else, so that the unit must be the cause of a trap.
            if self.is_full() || limit == 1 || limit > 1 && steps_done >= u64::from(limit) {
                break RunOutcome::More;
            }
        };
        if let (Phase::RollingBack, Some(rollback)) = (self.state.phase, &mut self.state.rollback) {
            rollback.left = count_left_to_roll_back(self.migration, self.host);
        }
        self.state.pace.record_commit(outcome == RunOutcome::More);
        self.host.ledger_mut().set_state(self.migration.plan().number, &self.state);
        Ok(outcome)
    }

    /// If a run that has begun follows the plan of another build, adopts this build's plan, and records that in the
    /// journal.
    fn adopt_changed_plan(&mut self) -> Result<(), H::Error> {
        let plan = self.migration.plan();
        if self.state.phase != Phase::Idle && self.state.plan != Some(plan.digest()) {
            set_plan(self.migration, &mut self.state);
            let layout = self.host.layout()?;
            self.host.ledger_mut().record(self.message.now, "plan changed", layout, plan.number, &self.state);
        }
        Ok(())
    }

    /// Returns whether the budget left is too small for another unit at the highest cost seen.
    pub(crate) fn is_full(&self) -> bool {
        self.message.meter.used().saturating_add(self.highest_cost) > self.message.budget
    }

    /// As the function of the same name, for the state of this run.
    fn enter_phase(&mut self, phase: Phase) -> Result<(), H::Error> {
        enter_phase(self.migration, self.host, &mut self.state, phase, self.message.now)?;
        Ok(())
    }

    /// Stops the migration until a controller resumes it; `note` says why.
    pub(crate) fn become_stuck(&mut self, note: String) -> Result<(), H::Error> {
        self.state.note = note;
        self.state.resume_to = Some(self.state.phase);
        self.enter_phase(Phase::Stuck)
    }

    /// Returns an error text if the run has taken more steps than [`Migration::max_steps`]. Verifications and rollbacks
    /// are exempt: their steps do not depend on the number of source units.
    fn too_many_steps(&self) -> Option<String> {
        let MigrationState { source, pace, .. } = &self.state;
        let (steps, max) = (pace.steps, self.migration.max_steps(*source));
        let is_bounded = matches!(self.state.phase, Phase::Validating | Phase::Converting);
        (is_bounded && steps > max)
            .then(|| format!("{steps} steps for {source} records, expected at most {max}"))
    }

    /// Handles a batch of units, or changes the phase. Returns `false` if there was nothing to do.
    fn step(&mut self) -> Result<bool, H::Error> {
        if let Some(note) = self.too_many_steps() {
            self.become_stuck(note)?;
            return Ok(true);
        }
        match self.state.phase {
            Phase::Stuck | Phase::Paused | Phase::Finalized | Phase::RolledBack => return Ok(false),
            Phase::Idle | Phase::Converted => {
                if !has_work(self.migration, self.host, &self.state)? {
                    return Ok(false);
                }
                self.migration.prepare(self.host)?;
                if self.state.quarantined == 0 && self.state.phase == Phase::Idle {
                    // Units that an earlier run has left in quarantine.
                    count_quarantined(self.migration, self.host, &mut self.state);
                }
                set_plan(self.migration, &mut self.state);
                self.state.pace.steps = 0;
                self.state.recheck = None;
                self.state.count_from_first();
                self.enter_phase(Phase::Validating)?;
            }
            Phase::Validating => {
                if !self.migration.counts_ahead() || self.validate_batch()? == 0 {
                    leave_old_layout(self.migration, self.host, &mut self.state, self.message.now)?;
                    self.state.cursor = None;
                    self.enter_phase(Phase::Converting)?;
                }
            }
            Phase::Converting => {
                if self.convert_batch()? {
                    // The next step converts another batch, if the message has budget for it.
                } else if first_unconverted(self.migration, self.host)?.is_some() {
                    // A unit may have been created below the cursor.
                    self.state.cursor = None;
                } else {
                    self.abandon_unit();
                    self.enter_phase(Phase::Verifying)?;
                }
            }
            Phase::Verifying => self.verify_batch()?,
            Phase::RollingBack => self.roll_back_batch()?,
        }
        Ok(true)
    }

    /// Checks the next batch of target units, if a controller has requested a verification; otherwise compares counts
    /// and digests.
    fn verify_batch(&mut self) -> Result<(), H::Error> {
        let Some(recheck) = &self.state.recheck else {
            return match self.state.explained_imbalance() {
                None => {
                    if let Some(bulk) = self.migration.bulk() {
                        bulk.clear_leftovers(self.host);
                    }
                    self.enter_phase(Phase::Converted)
                }
                Some(note) => self.become_stuck(note),
            };
        };
        let keys = self.migration.targets(self.host, recheck.cursor.clone(), self.state.pace.units());
        if keys.is_empty() {
            let Some(Recheck { since, seen, unsound, first, .. }) = self.state.recheck.take() else {
                return Ok(());
            };
            if unsound == 0 {
                self.state.proven_since = Some(since);
                self.state.note.clear();
            } else {
                self.state.proven_since = None;
                self.state.note = format!("{unsound} of {seen} records are not sound, the first: {first}");
            }
            // Without a recheck, the next step compares counts and digests.
            return Ok(());
        }
        self.handle_batch(keys, Self::recheck)
    }

    /// Counts one unit or leftover that the rollback has handled.
    pub(crate) fn count_rolled_back(&mut self) {
        if let Some(rollback) = &mut self.state.rollback {
            increment(&mut rollback.done);
        }
    }

    /// Drops, converts back or restores the next batch of units; the last time, restores the layout.
    fn roll_back_batch(&mut self) -> Result<(), H::Error> {
        let plan = self.migration.plan();
        // A begun unit is continued before any other. It cannot be abandoned: its target is the only whole copy.
        if let Some(unit) = &self.state.unit {
            return self.handle_batch(vec![unit.key.clone()], Self::revert);
        }
        // Leftovers are dropped first: a unit whose target no longer exists must not reappear.
        if let Some(bulk) = self.migration.bulk() {
            let keys = bulk.leftovers(self.host, self.state.pace.units());
            if !keys.is_empty() {
                return self.handle_batch(keys, |run, key| {
                    bulk.drop_leftover(run.host, key);
                    run.count_rolled_back();
                    Ok(())
                });
            }
        }
        let keys = self.migration.targets(self.host, None, self.state.pace.units());
        if !keys.is_empty() {
            return self.handle_batch(keys, Self::revert);
        }
        // Damaged quarantine records cannot be restored; the others are.
        let keys = self.host.ledger().quarantine.sound_keys(plan.number, self.state.pace.units());
        if !keys.is_empty() {
            return self.handle_batch(keys, |run, key| {
                run.host.check_room()?;
                run.state.cursor = Some(key.clone());
                restore(run.migration, run.host, &mut run.state, key)?;
                run.count_rolled_back();
                Ok(())
            });
        }
        self.host.set_layout(plan.from);
        let done = self.state.rollback.unwrap_or_default().done;
        self.state = self.state.restarted();
        self.state.rollback = Some(Rollback { done, left: 0 });
        let damaged = self.host.ledger().quarantine.len(plan.number);
        if damaged > 0 {
            self.state.note = format!("{damaged} records in quarantine do not decode, and stay there");
        }
        set_plan(self.migration, &mut self.state);
        self.enter_phase(Phase::RolledBack)
    }
}
