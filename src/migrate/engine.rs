//! The phases, within a budget of instructions.
//!
//! ```text
//! Idle ── source units or the old layout ─> Validating ──> Converting ──> Verifying ──> Converted
//!                                            ^                            │  └─────> Stuck
//!                                            └─── more source units ──────┘
//! any of them ── rollback ──> RollingBack ──> RolledBack ── resume ──> Idle
//! Converted ── verify ──> Verifying       Converted ── finalize ──> Finalized
//! working phases ── pause ──> Paused ── resume ──> as before
//! ```
//! A message on the IC commits as a whole or not at all, so the state is stored once, at its end: what is
//! stored is true, and the next message continues from it. An upgrade in between changes nothing about that.

use crate::api::Result;
use crate::meter::Meter;
use crate::migrations;
use crate::session::Time;
use crate::storage::Storage;

use super::unit::{
    begin, count, count_quarantined, enter, layout, leave_old_layout, left_to_roll_back, restore,
};
use super::{Migration, MigrationState, Phase, Recheck, Rollback};

/// What a run has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left.
    Done,
    /// The budget is used up; run again.
    More,
}

/// Time and instruction budget of a message.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Time of the message.
    pub now: Time,
    /// Tells how many instructions the message has used.
    pub meter: &'a dyn Meter,
    /// Instructions after which it stops.
    pub budget: u64,
}

/// Runs the migrations until they are done or `budget` instructions of this message are used.
pub fn run(storage: &mut Storage, now: Time, meter: &dyn Meter, budget: u64) -> Result<Progress> {
    run_all(migrations::ALL, storage, Message { now, meter, budget })
}

/// Runs these migrations, one after the other.
pub fn run_all(
    migrations: &[&dyn Migration],
    storage: &mut Storage,
    message: Message<'_>,
) -> Result<Progress> {
    for migration in migrations {
        let state = storage.migration.state_of(migration.plan().number)?;
        let run = Run { migration: *migration, storage, state, message, highest_cost: 0 };
        if run.fill_the_message()? == Progress::More {
            return Ok(Progress::More);
        }
    }
    Ok(Progress::Done)
}

/// Returns whether a migration would do anything if it were run.
pub fn has_work(migration: &dyn Migration, storage: &Storage, state: &MigrationState) -> Result<bool> {
    match state.phase {
        Phase::Stuck | Phase::Paused | Phase::Finalized | Phase::RolledBack => Ok(false),
        Phase::RollingBack => Ok(true),
        _ if migration.is_held(storage)? => Ok(false),
        Phase::Validating | Phase::Converting | Phase::Verifying => Ok(true),
        Phase::Idle | Phase::Converted => {
            // Clients may have touched every unit before the engine came to any.
            let unproven = state.phase == Phase::Idle && state.source > 0;
            let old = layout(storage)? == migration.plan().from || has_more(migration, storage)? || unproven;
            Ok(old && migration.waits_for(storage)?.is_none())
        }
    }
}

/// Returns whether there is a source unit that is not quarantined.
fn has_more(migration: &dyn Migration, storage: &Storage) -> Result<bool> {
    let number = migration.plan().number;
    let mut after = None;
    loop {
        let keys = migration.sources(storage, after, 64)?;
        let Some(last) = keys.last() else {
            return Ok(false);
        };
        if keys.iter().any(|key| !storage.migration.quarantine.contains(number, *key)) {
            return Ok(true);
        }
        after = Some(*last);
    }
}

/// One migration in one message.
pub(super) struct Run<'a> {
    pub(super) migration: &'a dyn Migration,
    pub(super) storage: &'a mut Storage,
    pub(super) state: MigrationState,
    pub(super) message: Message<'a>,
    /// Highest cost of a unit in this message so far, in instructions.
    pub(super) highest_cost: u64,
}

impl<'a> Run<'a> {
    fn fill_the_message(mut self) -> Result<Progress> {
        if !has_work(self.migration, self.storage, &self.state)? {
            return Ok(Progress::Done);
        }
        self.follow_the_plan()?;
        let (begun_with, used_before) = (self.message.meter.used(), self.state.instructions);
        let limit = self.state.pace.limit;
        let steps_before = self.state.pace.steps;
        count(&mut self.state.pace.messages);
        let progress = loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break Progress::Done,
                Err(error) => {
                    self.get_stuck(error.to_string())?;
                    break Progress::Done;
                }
            }
            let used = self.message.meter.used().saturating_sub(begun_with);
            self.state.instructions = used_before.saturating_add(used);
            let done = self.state.pace.steps.saturating_sub(steps_before);
            // A message limited to one unit does not change the phase before it: if it traps, the unit is
            // known.
            if self.is_full() || limit == 1 || limit > 1 && done >= u64::from(limit) {
                break Progress::More;
            }
        };
        if let (Phase::RollingBack, Some(rollback)) = (self.state.phase, &mut self.state.rollback) {
            rollback.left = left_to_roll_back(self.migration, self.storage);
        }
        self.state.pace.committed(progress == Progress::More);
        self.storage.migration.set_state(self.migration.plan().number, &self.state);
        Ok(progress)
    }

    /// Follows the plan of this build, which may treat a class differently from the build that began; the
    /// journal says so.
    fn follow_the_plan(&mut self) -> Result<()> {
        let plan = self.migration.plan();
        let followed = self.state.plan;
        if self.state.phase != Phase::Idle && followed != Some(plan.digest()) {
            begin(self.migration, &mut self.state);
            let layout = layout(self.storage)?;
            self.storage.migration.record(self.message.now, "plan changed", layout, plan.number, &self.state);
        }
        Ok(())
    }

    /// Returns whether the budget left is too small for another unit at the highest cost seen.
    pub(super) fn is_full(&self) -> bool {
        self.message.meter.used().saturating_add(self.highest_cost) > self.message.budget
    }

    fn enter(&mut self, phase: Phase) -> Result<()> {
        enter(self.migration, self.storage, &mut self.state, phase, self.message.now)?;
        Ok(())
    }

    pub(super) fn get_stuck(&mut self, note: String) -> Result<()> {
        self.state.note = note;
        self.state.resume_to = Some(self.state.phase);
        self.enter(Phase::Stuck)
    }

    /// Returns the error text saying that units were digested and converted over and over. Checks and
    /// rollbacks are exempt: they take one step for each unit, however many there are.
    fn is_endless(&self) -> Option<String> {
        let MigrationState { source, pace, .. } = &self.state;
        let (steps, most) = (pace.steps, self.migration.max_steps(*source));
        let is_bounded = matches!(self.state.phase, Phase::Validating | Phase::Converting);
        (is_bounded && steps > most)
            .then(|| format!("{steps} steps for {source} records, expected at most {most}"))
    }

    /// Treats a batch of units, or changes the phase. Returns `false` if there was nothing to do and nothing
    /// was changed.
    fn step(&mut self) -> Result<bool> {
        if let Some(note) = self.is_endless() {
            self.get_stuck(note)?;
            return Ok(true);
        }
        match self.state.phase {
            Phase::Stuck | Phase::Paused | Phase::Finalized | Phase::RolledBack => return Ok(false),
            Phase::Idle | Phase::Converted => {
                if !has_work(self.migration, self.storage, &self.state)? {
                    return Ok(false);
                }
                self.migration.prepare(self.storage)?;
                if self.state.quarantined == 0 && self.state.phase == Phase::Idle {
                    // What an earlier run could not take back.
                    count_quarantined(self.migration, self.storage, &mut self.state);
                }
                begin(self.migration, &mut self.state);
                self.state.pace.steps = 0;
                self.state.recheck = None;
                self.enter(Phase::Validating)?;
            }
            Phase::Validating => {
                if !self.migration.counts_ahead() || self.validate()? == 0 {
                    leave_old_layout(self.migration, self.storage, &mut self.state, self.message.now)?;
                    self.state.cursor = None;
                    self.enter(Phase::Converting)?;
                }
            }
            Phase::Converting => {
                if self.convert_some()? {
                    // Another batch, if the message has room for it.
                } else if has_more(self.migration, self.storage)? {
                    // A unit may have come below the cursor.
                    self.state.cursor = None;
                } else {
                    self.give_up_unit();
                    self.enter(Phase::Verifying)?;
                }
            }
            Phase::Verifying => self.verify()?,
            Phase::RollingBack => self.roll_back()?,
        }
        Ok(true)
    }

    /// Compares counts and digests, after checking every converted unit if that was asked for.
    fn verify(&mut self) -> Result<()> {
        let Some(recheck) = &self.state.recheck else {
            return match self.state.imbalance() {
                None => {
                    if let Some(bulk) = self.migration.bulk() {
                        bulk.clear_left_behind(self.storage);
                    }
                    self.enter(Phase::Converted)
                }
                Some(note) => self.get_stuck(note),
            };
        };
        let keys = self.migration.targets(self.storage, recheck.cursor, self.state.pace.units());
        if keys.is_empty() {
            let Recheck { since, seen, unsound, first, .. } = self.state.recheck.take().unwrap_or_default();
            if unsound == 0 {
                self.state.proven_since = Some(since);
                self.state.note.clear();
            } else {
                self.state.proven_since = None;
                self.state.note = format!("{unsound} of {seen} records are not sound, the first: {first}");
            }
            return Ok(());
        }
        self.batch(&keys, Self::recheck)
    }

    /// Counts one more unit that was rolled back.
    pub(super) fn count_back(&mut self) {
        if let Some(rollback) = &mut self.state.rollback {
            count(&mut rollback.done);
        }
    }

    fn roll_back(&mut self) -> Result<()> {
        let plan = self.migration.plan();
        // Otherwise the legacy record of a unit that has ended since would reappear.
        if let Some(bulk) = self.migration.bulk() {
            let keys = bulk.left_behind(self.storage, self.state.pace.units());
            if !keys.is_empty() {
                return self.batch(&keys, |run, key| {
                    bulk.drop_left_behind(run.storage, key);
                    run.count_back();
                    Ok(())
                });
            }
        }
        let keys = self.migration.targets(self.storage, None, self.state.pace.units());
        if !keys.is_empty() {
            return self.batch(&keys, Self::revert);
        }
        // A damaged quarantine record cannot be restored; that is no reason to keep all the others from it.
        let keys = self.storage.migration.quarantine.sound_keys(plan.number, self.state.pace.units());
        if !keys.is_empty() {
            return self.batch(&keys, |run, key| {
                run.storage.room.for_step()?;
                run.state.cursor = Some(key);
                restore(run.migration, run.storage, &mut run.state, key)?;
                run.count_back();
                Ok(())
            });
        }
        self.storage.layout.set(&plan.from);
        let done = self.state.rollback.unwrap_or_default().done;
        self.state = self.state.restarted();
        self.state.rollback = Some(Rollback { done, left: 0 });
        let damaged = self.storage.migration.quarantine.len(plan.number);
        if damaged > 0 {
            self.state.note = format!("{damaged} records in quarantine do not decode, and stay there");
        }
        begin(self.migration, &mut self.state);
        self.enter(Phase::RolledBack)
    }
}
