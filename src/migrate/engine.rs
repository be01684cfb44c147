//! The phases, within a budget of instructions.
//!
//! ```text
//! Idle ── old units or the old layout ──> Validating ──> Converting ──> Verifying ──> Converted
//!                                            ^                            │  └─────> Stuck
//!                                            └──── more old units ────────┘
//! any of them ── rollback ──> RollingBack ──> RolledBack ── resume ──> Idle
//! Converted ── verify ──> Verifying       Converted ── finalize ──> Finalized
//! working phases ── pause ──> Paused ── resume ──> as before
//! ```
//! A message on the IC happens as a whole or not at all, so the state is stored once, at its end: what is stored
//! is true, and the next message goes on behind it. An upgrade in the middle changes nothing about that.

use crate::api::Result;
use crate::meter::Meter;
use crate::migrations;
use crate::session::Time;
use crate::storage::Storage;

use super::unit::{begin, count, enter, layout, leave_old_layout, restore, settle};
use super::{Advance, Fate, Migration, MigrationState, Phase, Recheck, Reverted, UnitProgress, Work};

/// What a run left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left.
    Done,
    /// The budget is used up; run again.
    More,
}

/// Time and room of a message.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Its time.
    pub now: Time,
    /// Tells the instructions that it has used.
    pub meter: &'a dyn Meter,
    /// Instructions after which it stops.
    pub budget: u64,
}

/// Runs the migrations until they are done or `budget` instructions of this message are used.
///
/// # Errors
/// A damaged record of the migration's own tables.
pub fn run(storage: &mut Storage, now: Time, meter: &dyn Meter, budget: u64) -> Result<Progress> {
    run_all(migrations::ALL, storage, Message { now, meter, budget })
}

/// Runs these migrations, one after the other.
///
/// # Errors
/// A damaged record of the migration's own tables.
pub fn run_all(
    migrations: &[&dyn Migration],
    storage: &mut Storage,
    message: Message<'_>,
) -> Result<Progress> {
    for migration in migrations {
        let state = storage.migration.state_of(migration.plan().number)?;
        let run = Run { migration: *migration, storage, state, message, dearest: 0 };
        if run.fill_the_message()? == Progress::More {
            return Ok(Progress::More);
        }
    }
    Ok(Progress::Done)
}

/// Whether a migration would do anything if it were run.
///
/// # Errors
/// A damaged record.
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

/// Whether there is a unit in the old form that is not in quarantine.
fn has_more(migration: &dyn Migration, storage: &Storage) -> Result<bool> {
    let number = migration.plan().number;
    let mut after = None;
    loop {
        let keys = migration.sources(storage, after, 64);
        let Some(last) = keys.last() else {
            return Ok(false);
        };
        if keys.iter().any(|key| !storage.migration.quarantine.contains(number, *key)) {
            return Ok(true);
        }
        after = Some(*last);
    }
}

/// A migration in one message.
struct Run<'a> {
    migration: &'a dyn Migration,
    storage: &'a mut Storage,
    state: MigrationState,
    message: Message<'a>,
    /// Instructions of the dearest unit of this message so far.
    dearest: u64,
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
            if self.is_full() || limit > 0 && done >= u64::from(limit) {
                break Progress::More;
            }
        };
        self.state.pace.came_back(progress == Progress::More);
        self.storage.migration.set_state(self.migration.plan().number, &self.state);
        Ok(progress)
    }

    /// A build may treat a class in another way than the one that began; the journal says so.
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

    /// Whether the message has no room for one more unit like the dearest of it.
    fn is_full(&self) -> bool {
        self.message.meter.used().saturating_add(self.dearest) > self.message.budget
    }

    fn enter(&mut self, phase: Phase) -> Result<()> {
        enter(self.migration, self.storage, &mut self.state, phase, self.message.now)?;
        Ok(())
    }

    fn get_stuck(&mut self, note: String) -> Result<()> {
        self.state.note = note;
        self.state.resume_to = Some(self.state.phase);
        self.enter(Phase::Stuck)
    }

    /// A batch of units, or a change of phase. False when there was nothing to do, and nothing was changed.
    fn step(&mut self) -> Result<bool> {
        let most = self.migration.max_steps(self.state.source);
        if self.state.pace.steps > most && self.state.phase != Phase::Stuck {
            let steps = self.state.pace.steps;
            let source = self.state.source;
            self.get_stuck(format!("{steps} steps for {source} records, expected at most {most}"))?;
            return Ok(true);
        }
        match self.state.phase {
            Phase::Stuck | Phase::Paused | Phase::Finalized | Phase::RolledBack => return Ok(false),
            Phase::Idle | Phase::Converted => {
                if !has_work(self.migration, self.storage, &self.state)? {
                    return Ok(false);
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
                let keys = self.migration.sources(self.storage, self.state.cursor, self.state.pace.units());
                if !keys.is_empty() {
                    self.batch(&keys, Self::convert)?;
                } else if has_more(self.migration, self.storage)? {
                    // A unit may have come below the cursor.
                    self.state.cursor = None;
                } else {
                    self.enter(Phase::Verifying)?;
                }
            }
            Phase::Verifying => self.verify()?,
            Phase::RollingBack => self.roll_back()?,
        }
        Ok(true)
    }

    /// Treats units one by one until the message is full, and fits the size of the next batch to what is left.
    fn batch(&mut self, keys: &[u64], mut treat: impl FnMut(&mut Self, u64) -> Result<()>) -> Result<()> {
        let before = self.message.meter.used();
        let mut treated: u64 = 0;
        for key in keys {
            let begun = self.message.meter.used();
            count(&mut self.state.pace.steps);
            treat(self, *key)?;
            treated = treated.saturating_add(1);
            self.dearest = self.dearest.max(self.message.meter.used().saturating_sub(begun));
            if self.is_full() || self.state.unit.is_some() {
                break;
            }
        }
        let used = self.message.meter.used();
        let left = self.message.budget.saturating_sub(used);
        self.state.pace.fit(used.saturating_sub(before).checked_div(treated).unwrap_or(0), left);
        Ok(())
    }

    /// Counts and digests a batch of units in the old form; how many there were.
    fn validate(&mut self) -> Result<u64> {
        let Self { migration, storage, state, message, dearest } = self;
        let begun = message.meter.used();
        let mut before = begun;
        let mut weighed: u64 = 0;
        let (through, units) = (state.validated_through, state.pace.units());
        migration.weigh_from(storage, through, units, &mut |key, digest| {
            state.digest_before.add(digest);
            count(&mut state.source);
            count(&mut state.pace.steps);
            count(&mut weighed);
            state.validated_through = Some(key);
            state.cursor = Some(key);
            let used = message.meter.used();
            *dearest = (*dearest).max(used.saturating_sub(before));
            before = used;
            used.saturating_add(*dearest) <= message.budget
        })?;
        let used = message.meter.used();
        let each = used.saturating_sub(begun).checked_div(weighed).unwrap_or(0);
        state.pace.fit(each, message.budget.saturating_sub(used));
        Ok(weighed)
    }

    fn convert(&mut self, key: u64) -> Result<()> {
        let number = self.migration.plan().number;
        if self.state.quarantined > 0 && self.storage.migration.quarantine.contains(number, key) {
            self.state.cursor = Some(key);
            return Ok(());
        }
        if std::mem::take(&mut self.state.pace.skip_next) {
            let raw = self.migration.take_out(self.storage, key)?;
            let reason = "a message that did nothing else than convert it was cut off".to_owned();
            let fate = (self.migration.trapped_class(), Fate::Quarantined { reason, raw });
            return settle(self.migration, self.storage, &mut self.state, key, fate, false);
        }
        let mut work = self.work(key);
        let counts_now = !self.migration.counts_ahead() && self.migration.is_source(self.storage, key);
        let weight = if counts_now { Some(self.migration.weigh(self.storage, key)?) } else { None };
        match self.migration.convert(self.storage, key, &mut work)? {
            Advance::More => self.state.unit = Some(UnitProgress { key, progress: work.progress }),
            Advance::Gone => self.state.cursor = Some(key),
            Advance::Done { class, fate } => {
                if let Some(weight) = weight {
                    self.state.digest_before.add(weight);
                    count(&mut self.state.source);
                }
                settle(self.migration, self.storage, &mut self.state, key, (class, fate), false)?;
            }
        }
        Ok(())
    }

    /// The room of the message for a unit, and how far the unit is if it was begun before.
    fn work(&mut self, key: u64) -> Work<'a> {
        let Message { now, meter, budget } = self.message;
        let progress = match self.state.unit.take() {
            Some(unit) if unit.key == key => unit.progress,
            Some(unit) => {
                self.migration.abandon(self.storage, unit.key, unit.progress);
                Vec::new()
            }
            None => Vec::new(),
        };
        Work { now, meter, budget, progress }
    }

    /// Compares counts and digests, after a look at every unit in the new form if one was asked for.
    fn verify(&mut self) -> Result<()> {
        let Some(recheck) = &self.state.recheck else {
            return match self.state.imbalance() {
                None => self.enter(Phase::Converted),
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

    fn recheck(&mut self, key: u64) -> Result<()> {
        let problem = self.migration.check(self.storage, key)?;
        if let Some(recheck) = &mut self.state.recheck {
            recheck.cursor = Some(key);
            count(&mut recheck.seen);
            if let Some(problem) = problem {
                count(&mut recheck.unsound);
                if recheck.unsound == 1 {
                    recheck.first = problem;
                }
            }
        }
        Ok(())
    }

    fn roll_back(&mut self) -> Result<()> {
        let plan = self.migration.plan();
        let keys = self.migration.targets(self.storage, None, self.state.pace.units());
        if !keys.is_empty() {
            return self.batch(&keys, Self::revert);
        }
        let keys = self.storage.migration.quarantine.keys(plan.number, None, self.state.pace.units());
        if !keys.is_empty() {
            return self.batch(&keys, |run, key| {
                run.state.cursor = Some(key);
                restore(run.migration, run.storage, &mut run.state, key)
            });
        }
        self.storage.layout.set(&plan.from);
        let MigrationState { instructions, pace, .. } = self.state;
        self.state = MigrationState { instructions, pace, ..MigrationState::default() };
        begin(self.migration, &mut self.state);
        self.enter(Phase::RolledBack)
    }

    fn revert(&mut self, key: u64) -> Result<()> {
        // What was reverted before is not looked at again: it is not in the new form any more.
        if self.state.phase != Phase::RollingBack {
            return Ok(());
        }
        let Some(reversal) = self.migration.reversal() else {
            return self.get_stuck(format!("{} has no way back", self.migration.plan().name));
        };
        let mut work = self.work(key);
        match reversal.revert(self.storage, key, &mut work)? {
            Reverted::Done => self.state.cursor = Some(key),
            Reverted::More => self.state.unit = Some(UnitProgress { key, progress: work.progress }),
            Reverted::Refused(note) => self.get_stuck(note)?,
        }
        Ok(())
    }
}
