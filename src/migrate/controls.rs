//! What a controller may do to the migration, and in which phase.
//!
//! Every function here is for the last migration that has begun, or the first if none has; the functions of
//! [`Control`] are for any migration.

use crate::api::{Error, Result};
use crate::migrations;
use crate::session::Time;
use crate::storage::Storage;

use super::unit::{begin, count, count_quarantined, enter, layout, left_to_roll_back, restore};
use super::{Migration, MigrationState, Phase, Recheck, Rollback};

/// Units that `finalize` checks because they were written after the last verification. A check takes some
/// 200,000 instructions, so this is a small part of a message.
const LOOKED_AT_AGAIN: usize = 1_000;

/// Units that one call restores from quarantine.
const RETRIED_AT_ONCE: usize = 1_000;

/// Units in quarantine that one call examines; some of them cannot be restored.
const LOOKED_AT_ONCE: usize = 10_000;

/// Pauses the engine. Sessions that clients touch are still served.
///
/// # Errors
/// [`Error::Conflict`] when nothing is at work.
pub fn pause(storage: &mut Storage, now: Time) -> Result<()> {
    Control::current(storage, now)?.pause()
}

/// Resumes after a pause or where the engine was stuck, or starts again after a rollback.
///
/// # Errors
/// [`Error::Conflict`] when there is nothing to resume.
pub fn resume(storage: &mut Storage, now: Time) -> Result<()> {
    Control::current(storage, now)?.resume()
}

/// Rolls everything back to the old layout, including what was begun and written since.
///
/// # Errors
/// [`Error::Conflict`] if the migration has no rollback, if this build does not serve the old layout, after
/// finalization, and if the rollback is complete.
pub fn rollback(storage: &mut Storage, now: Time) -> Result<()> {
    Control::current(storage, now)?.rollback()
}

/// Checks every converted unit again. To be called before finalizing if much was written since.
///
/// # Errors
/// [`Error::Conflict`] unless everything is converted and the compat path is not in use.
pub fn verify(storage: &mut Storage, now: Time) -> Result<()> {
    Control::current(storage, now)?.verify()
}

/// Tries units in quarantine again: one, or all of them, at most a thousand in a call.
///
/// # Errors
/// [`Error::NotFound`] if there is no such unit, [`Error::Conflict`] after finalization, during a rollback,
/// and while the compat path is in use.
pub fn retry(storage: &mut Storage, now: Time, key: Option<u64>) -> Result<()> {
    Control::current(storage, now)?.retry(key)
}

/// Closes the rollback for good. Quarantined units cannot be retried afterwards; they are left there only
/// with the consent of a controller.
///
/// # Errors
/// [`Error::Conflict`] unless everything is converted, every unit is accounted for, everything written since
/// the last verification is sound, the compat path is not in use, and quarantine is empty or may be left as
/// it is.
pub fn finalize(storage: &mut Storage, now: Time, leave_quarantined: bool) -> Result<()> {
    Control::current(storage, now)?.finalize(leave_quarantined)
}

/// Returns `Ok(())` if a controller may send this share of new sessions down the compat path.
///
/// # Errors
/// [`Error::Conflict`] after finalization, and while counted legacy records are not converted yet: the compat
/// path would end some of them, and the migration would look for them for ever.
pub fn check_share(storage: &Storage, compat_share_percent: u8) -> Result<()> {
    let state = storage.migration.state()?;
    if compat_share_percent == 0 || state.is_deferred() {
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
    /// Returns the controls of a migration.
    pub fn of(migration: &'a dyn Migration, storage: &'a mut Storage, now: Time) -> Result<Self> {
        let state = storage.migration.state_of(migration.plan().number)?;
        Ok(Self { migration, storage, state, now })
    }

    fn current(storage: &'a mut Storage, now: Time) -> Result<Self> {
        let number = storage.migration.current();
        let known = migrations::ALL.iter().find(|migration| migration.plan().number == number);
        let unknown = || Error::Internal(format!("this build has no migration {number}"));
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
            let why = if is_paused { "it is paused already" } else { "nothing is running" };
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
            return Err(self.refused("roll back", "it cannot be rolled back"));
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

    /// Restores every unit that can be restored; the others stay, and `note` says how many and why the first
    /// could not.
    ///
    /// # Errors
    /// The error of the first, if none could be restored; nothing is changed then.
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
                self.state.note = format!("{stay} records stay in quarantine, the first because {error}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn number(&self) -> u16 {
        self.migration.plan().number
    }

    /// Says why there is nothing to verify, finalize or retry in this phase.
    const fn why_not_converted(&self) -> &'static str {
        match self.state.phase {
            Phase::Finalized => "it is finalized already, and what is in quarantine stays there",
            Phase::Paused => "it is paused; resume it, and wait for Converted",
            Phase::Stuck => "it is stuck; see its note, and resume it",
            Phase::RollingBack => "it is being rolled back",
            Phase::RolledBack => "it is rolled back; resume it to begin again",
            Phase::Idle | Phase::Validating | Phase::Converting | Phase::Verifying | Phase::Converted => {
                "not everything is converted and verified yet"
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
            return Err(self.refused("finalize", "the compat path is still in use"));
        }
        if let Some(imbalance) = self.state.imbalance() {
            return Err(self.refused("finalize", &imbalance));
        }
        if !leave_quarantined && !self.storage.migration.quarantine.keys(plan.number, None, 1).is_empty() {
            let why =
                "quarantined records cannot be retried afterwards; retry them, or consent to leaving them";
            return Err(self.refused("finalize", why));
        }
        if !nothing_to_do {
            self.look_again()?;
        }
        self.migration.leave_in_quarantine(self.storage)?;
        begin(self.migration, &mut self.state);
        self.change(Phase::Finalized)
    }

    /// Refuses while the compat path is in use: the engine does nothing then, and the share cannot be changed
    /// once it has work.
    fn not_while_held(&self, what: &str) -> Result<()> {
        if self.migration.is_held(self.storage)? {
            return Err(self.refused(what, "the compat path is still in use"));
        }
        Ok(())
    }

    /// Returns source units that are not quarantined, if there are any.
    fn leftovers(&self) -> Result<Vec<u64>> {
        let number = self.migration.plan().number;
        let mut keys = self.migration.sources(self.storage, None, RETRIED_AT_ONCE)?;
        keys.retain(|key| !self.storage.migration.quarantine.contains(number, *key));
        Ok(keys)
    }

    /// Checks what was written since the last verification; without one, every converted unit.
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

/// Goes forward, in a build that does not serve layout 1, from a rollback in progress and from a deferred
/// migration; what was already rolled back is converted again.
pub fn go_forward(storage: &mut Storage, now: Time, serves_old_form: bool) -> Result<()> {
    for migration in migrations::ALL {
        let number = migration.plan().number;
        let found = storage.migration.state_of(number)?;
        let is_deferred = found.is_deferred();
        if serves_old_form || !(is_deferred || found.is_going_back()) {
            continue;
        }
        // After a rollback the run is due even if nothing was rolled back yet.
        let (phase, event) = match is_deferred {
            true => (Phase::Idle, "released"),
            false => (Phase::Validating, "rollback abandoned"),
        };
        let mut state = MigrationState { phase, ..found.restarted() };
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
