//! What a controller may do to the migration, and when.
//!
//! Every control is for the last migration that has begun, or the first if none has; the functions of
//! [`Control`] are for any.

use crate::api::{Error, Result};
use crate::migrations;
use crate::session::Time;
use crate::storage::Storage;

use super::unit::{begin, count, count_quarantined, enter, layout, left_to_roll_back, restore};
use super::{Migration, MigrationState, Phase, Recheck, Rollback};

/// Units that finalizing looks at again, since they were written after the last verification. A look takes some
/// 200,000 instructions, so this is a small part of a message.
const LOOKED_AT_AGAIN: usize = 1_000;

/// Units that one call puts back from quarantine.
const RETRIED_AT_ONCE: usize = 1_000;

/// Units in quarantine that one call looks at: some cannot be put back.
const LOOKED_AT_ONCE: usize = 10_000;

/// Stops the engine where it is. Sessions that clients touch are still served.
///
/// # Errors
/// [`Error::Conflict`] when nothing is at work.
pub fn pause(storage: &mut Storage, now: Time) -> Result<()> {
    Control::current(storage, now)?.pause()
}

/// Goes on after a pause or where it was stuck, or begins anew after a rollback.
///
/// # Errors
/// [`Error::Conflict`] when there is nothing to resume.
pub fn resume(storage: &mut Storage, now: Time) -> Result<()> {
    Control::current(storage, now)?.resume()
}

/// Takes everything back to the old layout, what was begun and written since included.
///
/// # Errors
/// [`Error::Conflict`] for a migration without a way back, in a build that could not serve the old layout,
/// after finalizing, and when it is done already.
pub fn rollback(storage: &mut Storage, now: Time) -> Result<()> {
    Control::current(storage, now)?.rollback()
}

/// Looks at every unit in the new form again. To be called before finalizing, when much was written since.
///
/// # Errors
/// [`Error::Conflict`] unless everything is converted and the old form is not in use.
pub fn verify(storage: &mut Storage, now: Time) -> Result<()> {
    Control::current(storage, now)?.verify()
}

/// Tries units in quarantine again: one, or all of them, at most a thousand in a call.
///
/// # Errors
/// [`Error::NotFound`] for a unit that is not there, [`Error::Conflict`] after finalizing, on the way back, and while the
/// old form is in use.
pub fn retry(storage: &mut Storage, now: Time, key: Option<u64>) -> Result<()> {
    Control::current(storage, now)?.retry(key)
}

/// Closes rollback for good. What is in quarantine cannot be tried again then, and is left there if a controller says so.
///
/// # Errors
/// [`Error::Conflict`] unless everything is converted, every unit is accounted for, nothing that was written
/// since the last verification is unsound, the old form is not in use, and nothing is in quarantine that is not to be left.
pub fn finalize(storage: &mut Storage, now: Time, leave_quarantined: bool) -> Result<()> {
    Control::current(storage, now)?.finalize(leave_quarantined)
}

/// Nothing, when a controller may send this share of new sessions down the compat path.
///
/// # Errors
/// [`Error::Conflict`] after finalizing, and while legacy records that are counted are not converted yet:
/// the compat path would end some of them, and the migration would look for them for ever.
pub fn check_share(storage: &Storage, compat_share_percent: u8) -> Result<()> {
    let state = storage.migration.state()?;
    if compat_share_percent == 0 || state.is_held_back() {
        return Ok(());
    }
    match state.phase {
        Phase::Idle | Phase::Converted | Phase::RollingBack | Phase::RolledBack => Ok(()),
        Phase::Finalized => Err(refused("use the compat path", &state, "the migration is finalized")),
        Phase::Validating | Phase::Converting | Phase::Verifying | Phase::Paused | Phase::Stuck => {
            Err(refused("use the compat path", &state, "the migration has begun and is not done"))
        }
    }
}

/// The controls of one migration.
pub struct Control<'a> {
    migration: &'a dyn Migration,
    storage: &'a mut Storage,
    state: MigrationState,
    now: Time,
}

impl<'a> Control<'a> {
    /// The controls of a migration.
    pub fn of(migration: &'a dyn Migration, storage: &'a mut Storage, now: Time) -> Result<Self> {
        let state = storage.migration.state_of(migration.plan().number)?;
        Ok(Self { migration, storage, state, now })
    }

    fn current(storage: &'a mut Storage, now: Time) -> Result<Self> {
        let number = storage.migration.current();
        let known = migrations::ALL.iter().find(|migration| migration.plan().number == number);
        let unknown = || Error::Internal(format!("migration {number} is none of this build's"));
        Self::of(*known.ok_or_else(unknown)?, storage, now)
    }

    /// See [`pause`].
    pub fn pause(mut self) -> Result<()> {
        let working = matches!(
            self.state.phase,
            Phase::Validating | Phase::Converting | Phase::Verifying | Phase::RollingBack
        );
        if !working {
            let is_paused = self.state.phase == Phase::Paused;
            let why = if is_paused { "it is paused already" } else { "nothing is at work" };
            return Err(self.refused("pause", why));
        }
        self.state.resume_to = Some(self.state.phase);
        self.change(Phase::Paused)
    }

    /// See [`resume`].
    pub fn resume(mut self) -> Result<()> {
        let phase = match self.state.phase {
            Phase::Paused | Phase::Stuck => self.state.resume_to.take().unwrap_or(Phase::Idle),
            Phase::RolledBack => Phase::Idle,
            _ => return Err(self.refused("resume", "it is neither paused, stuck nor rolled back")),
        };
        self.state.note.clear();
        self.state.pace = self.state.pace.of_new_run();
        self.change(phase)
    }

    /// See [`rollback`].
    pub fn rollback(mut self) -> Result<()> {
        let Some(reversal) = self.migration.reversal() else {
            return Err(self.refused("roll back", "it has no way back"));
        };
        if let Err(why) = reversal.allowed() {
            return Err(self.refused("roll back", &why));
        }
        if self.state.phase == Phase::Finalized {
            return Err(self.refused("roll back", "the migration is finalized"));
        }
        match self.state.phase {
            Phase::RollingBack => return Err(self.refused("roll back", "it is being rolled back already")),
            Phase::RolledBack => return Err(self.refused("roll back", "it is rolled back already")),
            _ => {}
        }
        begin(self.migration, &mut self.state);
        self.state.resume_to = None;
        self.state.recheck = None;
        self.state.note.clear();
        self.state.pace.steps = 0;
        self.state.rollback =
            Some(Rollback { done: 0, left: left_to_roll_back(self.migration, self.storage) });
        self.change(Phase::RollingBack)
    }

    /// See [`verify`].
    pub fn verify(mut self) -> Result<()> {
        if self.state.phase != Phase::Converted {
            return Err(self.refused("verify", self.why_not_converted()));
        }
        self.not_while_held("verify")?;
        self.state.recheck = Some(Recheck { since: self.now.as_nanos(), ..Recheck::default() });
        self.state.pace.steps = 0;
        self.change(Phase::Verifying)
    }

    /// See [`retry`].
    pub fn retry(mut self, key: Option<u64>) -> Result<()> {
        let phase = self.state.phase;
        if !matches!(phase, Phase::Converting | Phase::Verifying | Phase::Converted) {
            return Err(self.refused("retry", self.why_not_converted()));
        }
        self.not_while_held("retry")?;
        self.state.note.clear();
        match key {
            None => self.restore_all()?,
            Some(key) if self.storage.migration.quarantine.contains(self.number(), key) => {
                restore(self.migration, self.storage, &mut self.state, key)?;
            }
            Some(key) => return Err(Error::not_found("quarantined record", key)),
        }
        self.state.cursor = None;
        self.state.recheck = None;
        self.state.pace.steps = 0;
        self.change(Phase::Converting)
    }

    /// Puts back what can be put back; the others stay, and `note` says how many there are and what is wrong with the first.
    ///
    /// # Errors
    /// What is wrong with the first, when none could be put back; then nothing was changed.
    fn restore_all(&mut self) -> Result<()> {
        let (mut restored, mut stay, mut first) = (0_usize, 0_u64, None);
        for key in self.storage.migration.quarantine.keys(self.number(), None, LOOKED_AT_ONCE) {
            match restore(self.migration, self.storage, &mut self.state, key) {
                Ok(()) => restored = restored.saturating_add(1),
                Err(error) => {
                    count(&mut stay);
                    first.get_or_insert(error);
                }
            }
            if restored == RETRIED_AT_ONCE {
                break;
            }
        }
        match first {
            Some(error) if restored == 0 => Err(error),
            Some(error) => {
                self.state.note = format!("{stay} records stay in quarantine, the first since {error}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn number(&self) -> u16 {
        self.migration.plan().number
    }

    /// Why there is nothing to verify, to finalize or to try again in this phase.
    const fn why_not_converted(&self) -> &'static str {
        match self.state.phase {
            Phase::Finalized => "it is finalized already, and what is in quarantine stays there",
            Phase::Paused => "it is paused; resume it, and wait for Converted",
            Phase::Stuck => "it is stuck; see its note, and resume it",
            Phase::RollingBack => "it is being rolled back",
            Phase::RolledBack => "it is rolled back; resume it to begin again",
            Phase::Idle | Phase::Validating | Phase::Converting | Phase::Verifying | Phase::Converted => {
                "not everything is converted and proven yet"
            }
        }
    }

    /// See [`finalize`].
    pub fn finalize(mut self, leave_quarantined: bool) -> Result<()> {
        let plan = self.migration.plan();
        // Where there never was anything to convert, there is nothing to prove either.
        let nothing_to_do = self.state.phase == Phase::Idle && layout(self.storage)? != plan.from;
        if self.state.phase != Phase::Converted && !nothing_to_do {
            return Err(self.refused("finalize", self.why_not_converted()));
        }
        self.not_while_held("finalize")?;
        if !self.leftovers()?.is_empty() {
            return Err(self.refused("finalize", "the old form is still in use"));
        }
        if let Some(imbalance) = self.state.imbalance() {
            return Err(self.refused("finalize", &imbalance));
        }
        if !leave_quarantined && !self.storage.migration.quarantine.keys(plan.number, None, 1).is_empty() {
            let why =
                "what is in quarantine could not be tried again; retry it, or say that it is to be left";
            return Err(self.refused("finalize", why));
        }
        if !nothing_to_do {
            self.look_again()?;
        }
        self.migration.leave_in_quarantine(self.storage)?;
        begin(self.migration, &mut self.state);
        self.change(Phase::Finalized)
    }

    /// While the old form is in use the engine does nothing, and the share cannot be changed once it has something to do.
    fn not_while_held(&self, what: &str) -> Result<()> {
        if self.migration.is_held(self.storage)? {
            return Err(self.refused(what, "the old form is still in use"));
        }
        Ok(())
    }

    /// Units in the old form that are not in quarantine, if there are any.
    fn leftovers(&self) -> Result<Vec<u64>> {
        let number = self.migration.plan().number;
        let mut keys = self.migration.sources(self.storage, None, RETRIED_AT_ONCE)?;
        keys.retain(|key| !self.storage.migration.quarantine.contains(number, *key));
        Ok(keys)
    }

    /// A verification goes stale with every write after it; without one, every unit in the new form is looked at.
    fn look_again(&self) -> Result<()> {
        let limit = LOOKED_AT_AGAIN.saturating_add(1);
        let (unproven, too_many) = match self.state.proven_since {
            Some(since) => (
                self.migration.written_since(self.storage, Time::from_nanos(since), limit),
                format!("the verification is stale: more than {LOOKED_AT_AGAIN} records were written since"),
            ),
            None => (
                self.migration.targets(self.storage, None, limit),
                format!("more than {LOOKED_AT_AGAIN} records are not verified"),
            ),
        };
        if unproven.len() > LOOKED_AT_AGAIN {
            return Err(self.refused("finalize", &format!("{too_many}; verify again")));
        }
        for key in unproven {
            if let Some(problem) = self.migration.check(self.storage, key)? {
                return Err(self.refused("finalize", &problem));
            }
        }
        Ok(())
    }

    fn change(mut self, phase: Phase) -> Result<()> {
        enter(self.migration, self.storage, &mut self.state, phase, self.now)?;
        self.storage.migration.set_state(self.migration.plan().number, &self.state);
        Ok(())
    }

    fn refused(&self, what: &str, why: &str) -> Error {
        refused(what, &self.state, why)
    }
}

/// A build that does not serve the old form goes forward from a rollback that it finds under way, and from a migration
/// that is held back; what was taken back already is converted anew.
pub fn go_forward(storage: &mut Storage, now: Time, serves_old_form: bool) -> Result<()> {
    for migration in migrations::ALL {
        let number = migration.plan().number;
        let found = storage.migration.state_of(number)?;
        let is_held_back = found.is_held_back();
        if serves_old_form || !(is_held_back || found.is_going_back()) {
            continue;
        }
        // Behind a rollback the run is due even where nothing was taken back yet.
        let (phase, event) = match is_held_back {
            true => (Phase::Idle, "released"),
            false => (Phase::Validating, "rollback abandoned"),
        };
        let mut state = MigrationState { phase, ..found.begun_anew() };
        count_quarantined(*migration, storage, &mut state);
        begin(*migration, &mut state);
        storage.migration.record(now, event, layout(storage)?, number, &state);
        storage.migration.set_state(number, &state);
    }
    Ok(())
}

fn refused(what: &str, state: &MigrationState, why: &str) -> Error {
    Error::conflict("migration", format!("{:?}", state.phase), format!("cannot {what}: {why}"))
}
