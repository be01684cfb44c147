//! What a controller may do to a migration, and in which phase.

use crate::run::{blocking_predecessor, first_unconverted};
use crate::unit::{count_left_to_roll_back, count_quarantined, enter_phase, increment, restore, set_plan};
use crate::{Error, Host, Migration, MigrationState, Pace, Phase, Recheck, Rollback, Time};

/// Maximum number of units that `finalize` itself checks, at about 200,000 instructions each: a small part of the
/// instructions that a message may use.
const MAX_RECHECKED: usize = 1_000;

/// Maximum number of units that one call restores from quarantine; a further call restores more.
const MAX_RESTORED: usize = 1_000;

/// Maximum number of quarantined units that one call tries to restore, failed attempts included. The call ends at
/// whichever of the two limits it reaches first.
const MAX_EXAMINED: usize = 10_000;

/// The controls of one migration.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::of([(7, 100), (8, 250)]);
/// ENGINE.run(&mut bank, STEP)?;
/// ENGINE.control(&mut bank, NOW)?.pause()?;
/// assert_eq!(ENGINE.run(&mut bank, MESSAGE)?, RunOutcome::Done, "nothing is done during a pause");
/// ENGINE.control(&mut bank, NOW)?.resume()?;
/// ENGINE.run(&mut bank, MESSAGE)?;
/// assert_eq!(bank.ledger.state_of(1)?.phase, Phase::Converted);
///
/// // Before the migration is finalized, everything is checked again.
/// ENGINE.control(&mut bank, NOW)?.verify()?;
/// ENGINE.run(&mut bank, MESSAGE)?;
/// assert_eq!(bank.ledger.state_of(1)?.proven_since, Some(NOW.as_nanos()));
/// ENGINE.control(&mut bank, NOW)?.finalize(false)?;
///
/// // The engine chooses the current migration; a build may also name one.
/// let refused = Control::of(&CentsToMillionths, &mut bank, NOW)?.rollback().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "cannot roll back the migration in phase Finalized: the migration is finalized"
/// );
/// # Ok(())
/// # }
/// ```
pub struct Control<'a, H: Host> {
    migration: &'a dyn Migration<H>,
    host: &'a mut H,
    state: MigrationState<H::Key>,
    now: Time,
}

impl<'a, H: Host> Control<'a, H> {
    /// Returns the controls of a migration.
    ///
    /// # Errors
    /// If the state of the migration is damaged.
    pub fn of(
        migration: &'a dyn Migration<H>,
        host: &'a mut H,
        now: impl Into<Time>,
    ) -> Result<Self, H::Error> {
        let state = host.ledger().state_of(migration.plan().number)?;
        Ok(Self { migration, host, state, now: now.into() })
    }

    /// Pauses the migration. Units that clients touch are still converted, unless the pause interrupts a rollback.
    ///
    /// # Errors
    /// [`Error::Refused`] unless the migration is validating, converting, verifying or rolling back; a damaged record.
    pub fn pause(mut self) -> Result<(), H::Error> {
        let is_working = matches!(
            self.state.phase,
            Phase::Validating | Phase::Converting | Phase::Verifying | Phase::RollingBack
        );
        if !is_working {
            let is_paused = self.state.phase == Phase::Paused;
            let why = if is_paused { "it is paused already" } else { "nothing is running" };
            return Err(self.refused("pause", why));
        }
        self.state.resume_to = Some(self.state.phase);
        self.change_phase(Phase::Paused)
    }

    /// Continues a paused or stuck migration in the phase in which it stopped, lets a deferred migration begin, or
    /// starts a migration again after a rollback. If messages have trapped, their limit of units is kept, so that a
    /// unit that traps is not isolated from scratch; but the unit gets another attempt before it is quarantined. If
    /// counts or digests do not reconcile, it continues by counting and converting the source units that exist now; it
    /// gets stuck again unless the missing units are among them.
    ///
    /// # Errors
    /// [`Error::Refused`] unless the migration is paused, stuck or rolled back; a damaged record.
    pub fn resume(mut self) -> Result<(), H::Error> {
        let phase = match self.state.phase {
            Phase::Stuck if self.state.is_stuck_by_imbalance() => {
                self.migration.prepare(self.host)?;
                self.state.resume_to = None;
                Phase::Validating
            }
            Phase::Paused | Phase::Stuck => self.state.resume_to.take().unwrap_or(Phase::Idle),
            Phase::RolledBack => Phase::Idle,
            _ => return Err(self.refused("resume", "it is neither paused, stuck nor rolled back")),
        };
        self.state.note.clear();
        // `skip_next` is not kept: another build may convert the unit now, or its client may have removed it, and the
        // next unit would be quarantined in its place.
        self.state.pace = Pace { limit: self.state.pace.limit, ..self.state.pace.for_new_run() };
        self.change_phase(phase)
    }

    /// Accepts that counts or digests do not reconcile, and begins to count again, with only the units that are not
    /// converted yet. The missing units stay unexplained, so call this only once the cause is known, and only for a
    /// migration that cannot be rolled back: a rollback followed by [`Self::resume`] counts every unit again. The
    /// journal keeps the counts so far. Before finalization, all converted units must be verified.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
    /// # fn main() -> Result<(), Error> {
    /// let mut bank = Bank::of([(7, 100), (8, 250)]);
    /// while bank.ledger.state_of(1)?.source < 2 {
    ///     ENGINE.run(&mut bank, STEP)?;
    /// }
    /// // A call closes an account that is counted already, without a touch.
    /// bank.cents.remove(&8);
    /// ENGINE.run(&mut bank, MESSAGE)?;
    /// assert_eq!(bank.ledger.state_of(1)?.phase, Phase::Stuck);
    ///
    /// // In an endpoint of the canister, for controllers only.
    /// ENGINE.control(&mut bank, NOW)?.recount()?;
    /// ENGINE.run(&mut bank, MESSAGE)?;
    /// let state = bank.ledger.state_of(1)?;
    /// assert_eq!((state.phase, state.source, state.proven_since), (Phase::Converted, 0, None));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] unless the migration is stuck because counts or digests do not reconcile; a damaged record.
    pub fn recount(mut self) -> Result<(), H::Error> {
        if !self.state.is_stuck_by_imbalance() {
            let why = "it is not stuck because of counts or digests that do not reconcile";
            return Err(self.refused("recount", why));
        }
        self.migration.prepare(self.host)?;
        let layout = self.host.layout()?;
        let number = self.migration_number();
        self.host.ledger_mut().record(self.now, "imbalance accepted", layout, number, &self.state);
        self.state = self.state.restarted();
        count_quarantined(self.migration, self.host, &mut self.state);
        set_plan(self.migration, &mut self.state);
        self.change_phase(Phase::Validating)
    }

    /// Starts a rollback of everything to the old layout, including what clients have begun and written since the
    /// conversion. Abandons a unit that is partly converted ([`Migration::abandon`]).
    ///
    /// # Errors
    /// [`Error::Refused`] if the migration has no rollback, is finalized, is rolled back, or is being rolled back; if
    /// [`Reversal::allowed`](crate::Reversal::allowed) refuses; if stable memory is in the layout of another migration;
    /// and if the migration has not begun because an earlier one is not finalized. A damaged record.
    pub fn rollback(mut self) -> Result<(), H::Error> {
        let Some(reversal) = self.migration.reversal() else {
            return Err(self.refused("roll back", "it cannot be rolled back"));
        };
        if let Err(why) = reversal.allowed() {
            return Err(self.refused("roll back", &why));
        }
        if self.state.phase == Phase::Finalized {
            return Err(self.refused("roll back", "the migration is finalized"));
        }
        let plan = self.migration.plan();
        let layout = self.host.layout()?;
        if layout != plan.from && layout != plan.to {
            let why =
                format!("stable memory is in layout {}: roll back the migration that leads there", layout.0);
            return Err(self.refused("roll back", &why));
        }
        match self.state.phase {
            Phase::RollingBack => return Err(self.refused("roll back", "it is being rolled back already")),
            Phase::RolledBack => return Err(self.refused("roll back", "it is rolled back already")),
            _ => {}
        }
        // The source units of this migration are the target units of the previous one, which may still be rolled back
        // itself while it is not finalized.
        if (!self.state.has_begun() || self.state.is_deferred())
            && let Some(why) = blocking_predecessor(self.migration, self.host)?
        {
            return Err(self.refused("roll back", &why));
        }
        set_plan(self.migration, &mut self.state);
        // During a rollback, the unit in progress is one that is partly converted back; a rollback that was interrupted
        // may already have one.
        if !self.state.is_going_back()
            && let Some(unit) = self.state.unit.take()
        {
            self.migration.abandon(self.host, unit.key, unit.progress);
        }
        self.state.resume_to = None;
        self.state.recheck = None;
        self.state.note.clear();
        self.state.pace.steps = 0;
        self.state.rollback =
            Some(Rollback { done: 0, left: count_left_to_roll_back(self.migration, self.host) });
        self.change_phase(Phase::RollingBack)
    }

    /// Starts a check of every converted unit. [`Self::finalize`] requires it if more than a thousand units were
    /// written since the last check.
    ///
    /// # Errors
    /// [`Error::Refused`] unless everything is converted and the migration is not held ([`Migration::held_by`]). A
    /// damaged record.
    pub fn verify(mut self) -> Result<(), H::Error> {
        if self.state.phase != Phase::Converted {
            return Err(self.refused("verify", &self.why_not_converted()?));
        }
        self.check_not_held("verify")?;
        self.state.recheck = Some(Recheck::begun_at(self.now.as_nanos()));
        self.state.pace.steps = 0;
        self.change_phase(Phase::Verifying)
    }

    /// Restores the quarantined unit `key` as a source unit, or, without `key`, all quarantined units, at most a
    /// thousand per call. The next run tries to convert them. It also counts and converts units created since the last
    /// count.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
    /// # fn main() -> Result<(), Error> {
    /// let mut bank = Bank::of([(7, 100), (8, 250)]);
    /// // The engine does the same with a unit whose conversion traps.
    /// let record = CentsToMillionths.take_out(&mut bank, 7, "its conversion trapped".into())?;
    /// bank.ledger.quarantine.insert(1, 7, &record);
    /// ENGINE.run(&mut bank, MESSAGE)?;
    /// let state = bank.ledger.state_of(1)?;
    /// assert_eq!((state.converted, state.quarantined), (1, 1));
    ///
    /// // A build with a corrected conversion retries it.
    /// ENGINE.control(&mut bank, NOW)?.retry(Some(7))?;
    /// ENGINE.run(&mut bank, MESSAGE)?;
    /// let state = bank.ledger.state_of(1)?;
    /// assert_eq!((state.converted, state.quarantined, state.phase), (2, 0, Phase::Converted));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotQuarantined`] if the unit `key` is not in quarantine. [`Error::Refused`] before the migration has
    /// begun, while it is paused, stuck or held ([`Migration::held_by`]), during and after a rollback, and after
    /// finalization. The error of [`Host::check_room`] or [`Migration::restore`]; without `key`, only if no unit could
    /// be restored. A damaged record.
    pub fn retry(mut self, key: Option<H::Key>) -> Result<(), H::Error> {
        let phase = self.state.phase;
        if !matches!(phase, Phase::Validating | Phase::Converting | Phase::Verifying | Phase::Converted) {
            return Err(self.refused("retry", &self.why_not_converted()?));
        }
        self.check_not_held("retry")?;
        self.state.note.clear();
        self.state.count_from_first();
        match key {
            None => self.restore_all()?,
            Some(key) if self.host.ledger().quarantine.contains(self.migration_number(), &key) => {
                self.restore_one(key)?;
            }
            Some(key) => return Err(Error::NotQuarantined { key: format!("{key:?}") }.into()),
        }
        self.migration.prepare(self.host)?;
        self.state.cursor = None;
        self.state.recheck = None;
        self.state.pace.steps = 0;
        self.change_phase(Phase::Validating)
    }

    /// Restores quarantined units, at most [`MAX_RESTORED`], after at most [`MAX_EXAMINED`] attempts. If attempts fail,
    /// `note` reports how many, and why the first one failed.
    ///
    /// # Errors
    /// If every attempt fails, the error of the first one.
    fn restore_all(&mut self) -> Result<(), H::Error> {
        let (mut restored, mut failed, mut first_error) = (0_usize, 0_u64, None);
        for key in self.host.ledger().quarantine.keys(self.migration_number(), None, MAX_EXAMINED) {
            match self.restore_one(key) {
                Ok(()) => restored = restored.saturating_add(1),
                Err(error) => {
                    increment(&mut failed);
                    first_error.get_or_insert(error);
                }
            }
            if restored == MAX_RESTORED {
                break;
            }
        }
        match first_error {
            Some(error) if restored == 0 => Err(error),
            Some(error) => {
                self.state.note =
                    format!("{failed} records could not be restored, the first because {error}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn restore_one(&mut self, key: H::Key) -> Result<(), H::Error> {
        self.host.check_room()?;
        restore(self.migration, self.host, &mut self.state, key)
    }

    fn migration_number(&self) -> u16 {
        self.migration.plan().number
    }

    /// Returns why the migration cannot be verified, finalized or retried in this phase.
    fn why_not_converted(&self) -> Result<String, H::Error> {
        let why = match self.state.phase {
            Phase::Finalized => "it is finalized already, and what is in quarantine stays there",
            Phase::Paused => "it is paused; resume it, and wait for Converted",
            Phase::Stuck if self.state.is_stuck_by_imbalance() => match self.migration.reversal() {
                Some(_) => {
                    "its counts or digests do not reconcile, see its note; roll it back and resume it, to count and \
                     convert everything again"
                }
                None => {
                    "its counts or digests do not reconcile, see its note; resuming it helps only if the missing \
                     units exist again; otherwise a build must call `Control::recount`"
                }
            },
            Phase::Stuck => "it is stuck; see its note, and resume it",
            Phase::RollingBack => {
                "it is being rolled back; wait for RolledBack, and resume it to begin again"
            }
            Phase::RolledBack => "it is rolled back; resume it to begin again",
            Phase::Idle => {
                let why =
                    self.why_idle()?.map_or_else(|| "; wait for Converted".into(), |why| format!(": {why}"));
                return Ok(format!("it has not begun{why}"));
            }
            // `Converted` does not occur: no caller refuses its action in that phase.
            Phase::Validating | Phase::Converting | Phase::Verifying | Phase::Converted => {
                "not everything is converted and verified yet"
            }
        };
        Ok(why.into())
    }

    /// Returns what keeps the migration from beginning; `None` if it begins with the next message, or has no work.
    fn why_idle(&self) -> Result<Option<String>, H::Error> {
        if let Some(why) = self.migration.held_by(self.host)? {
            return Ok(Some(why));
        }
        match blocking_predecessor(self.migration, self.host)? {
            Some(why) => Ok(Some(why)),
            None => self.migration.waits_for(self.host),
        }
    }

    /// Ends the possibility of a rollback. Units that are then in quarantine stay there and can no longer be retried;
    /// if there are any, `leave_quarantined` must be true.
    ///
    /// # Errors
    /// [`Error::Refused`] unless everything is converted, or nothing was there to convert; every unit is accounted for;
    /// at most a thousand units were written since the last verification, and all of these are sound; the migration is
    /// not held ([`Migration::held_by`]); and quarantine is empty, or `leave_quarantined` is true. A damaged record, or
    /// the error of [`Migration::leave_in_quarantine`].
    pub fn finalize(mut self, leave_quarantined: bool) -> Result<(), H::Error> {
        let plan = self.migration.plan();
        // The engine had nothing to convert, or has not run yet. Clients' calls may have converted units; `source` then
        // counts them.
        let is_idle_in_new_layout = self.state.phase == Phase::Idle && self.host.layout()? >= plan.to;
        if self.state.phase != Phase::Converted && !is_idle_in_new_layout {
            return Err(self.refused("finalize", &self.why_not_converted()?));
        }
        self.check_not_held("finalize")?;
        if let Some(key) = first_unconverted(self.migration, self.host)? {
            return Err(
                self.refused("finalize", &format!("unit {key:?} is neither converted nor quarantined"))
            );
        }
        if let Some(imbalance) = self.state.imbalance() {
            return Err(self.refused("finalize", &imbalance));
        }
        if !leave_quarantined && !self.host.ledger().quarantine.is_empty_of(plan.number) {
            let why = "quarantined records cannot be retried afterwards; retry them, or finalize with `true` to leave them there";
            return Err(self.refused("finalize", why));
        }
        if !is_idle_in_new_layout || self.state.source > 0 {
            self.recheck_written()?;
        }
        self.migration.leave_in_quarantine(self.host)?;
        set_plan(self.migration, &mut self.state);
        self.state.clear_positions();
        self.change_phase(Phase::Finalized)
    }

    /// Returns an error if the migration is held ([`Migration::held_by`]), since the engine would do nothing.
    fn check_not_held(&self, action: &'static str) -> Result<(), H::Error> {
        if let Some(why) = self.migration.held_by(self.host)? {
            return Err(self.refused(action, &why));
        }
        Ok(())
    }

    /// Checks every unit written since `proven_since`, or every converted unit if that is `None`. Returns an error if
    /// one of these is unsound, or if these are more than [`MAX_RECHECKED`].
    fn recheck_written(&self) -> Result<(), H::Error> {
        let limit = MAX_RECHECKED.saturating_add(1);
        let (unproven, too_many) = match self.state.proven_since {
            Some(since) => (
                self.migration.written_since(self.host, Time::from_nanos(since), limit),
                format!("the verification is stale: more than {MAX_RECHECKED} records were written since"),
            ),
            None => (
                self.migration.targets(self.host, None, limit),
                format!("more than {MAX_RECHECKED} records are not verified"),
            ),
        };
        if unproven.len() > MAX_RECHECKED {
            return Err(self.refused("finalize", &format!("{too_many}; verify again")));
        }
        for key in unproven {
            if let Some(problem) = self.migration.check(self.host, key)? {
                return Err(self.refused("finalize", &problem));
            }
        }
        Ok(())
    }

    /// Enters a phase, records the change in the journal, and stores the state.
    fn change_phase(mut self, phase: Phase) -> Result<(), H::Error> {
        enter_phase(self.migration, self.host, &mut self.state, phase, self.now)?;
        self.host.ledger_mut().set_state(self.migration.plan().number, &self.state);
        Ok(())
    }

    /// Returns the error that refuses `action`, for the reason `why`.
    fn refused(&self, action: &'static str, why: &str) -> H::Error {
        Error::Refused { action, phase: self.state.phase, why: why.into() }.into()
    }
}
