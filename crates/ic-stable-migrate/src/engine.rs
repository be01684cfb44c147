//! The engine: checks, runs and controls a list of migrations.

use crate::api::DryRun;
use crate::run::{MigrationRun, blocking_predecessor};
use crate::unit::{ConvertedBy, account, count_quarantined, leave_old_layout, set_plan};
use crate::{
    Advance, Control, Error, Host, MessageBudget, Migration, MigrationState, Phase, Reverted, RunOutcome,
    Settled, StableError, Time, UnitProgress, Unmetered, Watched, Work, chain, deferral, dry_run, watch,
};

/// The migrations of a host, in the order of their numbers, and what can be done with them.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// const ENGINE: Engine<'static, Bank> = Engine::new(&[&CentsToMillionths]);
///
/// let mut bank = Bank::of([(7, 100), (8, 250), (9, 1)]);
/// ENGINE.check(&bank)?;
/// let forecast = ENGINE.dry_run(&bank, MESSAGE, None, None)?;
/// assert_eq!((forecast.units, forecast.classes[0].class.as_str()), (3, "balance"));
///
/// // The first message of a timer. Before the next message, a client uses an account.
/// ENGINE.run(&mut bank, STEP)?;
/// Engine::touch(&CentsToMillionths, &mut bank, 9, NOW)?;
/// assert_eq!(bank.millionths.get(&9), Some(10_000));
///
/// // Once a minute: checks whether a message of the engine is overdue.
/// let mut seen = None;
/// assert_eq!(ENGINE.watch(&mut bank, NOW, &mut seen)?, Watched::Quiet);
/// ENGINE.run(&mut bank, MESSAGE)?;
/// let state = bank.ledger.state_of(1)?;
/// assert_eq!((state.phase, state.converted, state.already), (Phase::Converted, 2, 1));
/// ENGINE.control(&mut bank, NOW)?.finalize(false)?;
/// # Ok(())
/// # }
/// ```
pub struct Engine<'m, H: Host> {
    migrations: &'m [&'m dyn Migration<H>],
}

impl<H: Host> Clone for Engine<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: Host> Copy for Engine<'_, H> {}

impl<'m, H: Host> Engine<'m, H> {
    /// Creates the engine of these migrations. [`Engine::check`] reports whether they form a chain.
    #[must_use]
    pub const fn new(migrations: &'m [&'m dyn Migration<H>]) -> Self {
        Self { migrations }
    }

    /// Returns `Ok(())` if the migrations form a chain that fits the host's layout and ledger. Must be called in
    /// `post_upgrade` before anything is written; an error must trap, so that the old code and its state are kept.
    ///
    /// # Errors
    /// Which migration does not fit, or what is damaged or of a newer format. Nothing is changed.
    pub fn check(&self, host: &H) -> Result<(), Error> {
        chain::check(self.migrations)?;
        host.ledger().check()?;
        chain::check_host(self.migrations, host)
    }

    /// Defers the first migration of the list that has not begun: it is paused until a controller resumes it, and a dry
    /// run reports what it would do. The ones before it continue, and once they are finalized, it is the
    /// [current](crate::Ledger::current) one. Must be called in `post_upgrade` before the engine runs, which may begin
    /// the migration. Changes nothing if the migration is deferred already, or rolled back: then it also begins only
    /// when it is resumed.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
    /// # fn main() -> Result<(), Error> {
    /// let mut bank = Bank::of([(7, 100)]);
    /// // In `post_upgrade`, before the engine runs, if the upgrade's argument asks for it.
    /// ENGINE.defer(&mut bank, NOW)?;
    /// ENGINE.run(&mut bank, MESSAGE)?;
    /// assert_eq!(bank.cents.get(&7), Some(100), "the account is not converted");
    /// assert_eq!(ENGINE.dry_run(&bank, MESSAGE, None, None)?.units, 1);
    /// // A controller lets the migration begin.
    /// ENGINE.control(&mut bank, NOW)?.resume()?;
    /// ENGINE.run(&mut bank, MESSAGE)?;
    /// assert_eq!(bank.millionths.get(&7), Some(1_000_000));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] if every migration of the list has begun, or stable memory is already in the layout to which
    /// it leads; a damaged record. Nothing is changed.
    pub fn defer(&self, host: &mut H, now: impl Into<Time>) -> Result<(), H::Error> {
        deferral::defer_first(self.migrations, host, now.into())
    }

    /// Runs the migrations, one after the other, until none has work or the budget of the message is used. A migration
    /// does not begin while the one before it has begun and is not finalized.
    ///
    /// # Errors
    /// If it cannot be determined whether a migration has work, or if the layout is damaged. An error of the work
    /// itself is recorded in the state of the migration, whose phase is then [`Phase::Stuck`].
    pub fn run(&self, host: &mut H, message: MessageBudget<'_>) -> Result<RunOutcome, H::Error> {
        for migration in self.migrations {
            let state = host.ledger().state_of(migration.plan().number)?;
            let run = MigrationRun { migration: *migration, host, state, message, highest_cost: 0 };
            if run.run_batches()? == RunOutcome::More {
                return Ok(RunOutcome::More);
            }
        }
        Ok(RunOutcome::Done)
    }

    /// Checks whether the first migration that has work makes progress; should be called about once a minute. If its
    /// last message did not commit, the next one handles fewer units, or quarantines a unit that trapped alone while
    /// converting; if neither is possible, the migration gets stuck. `messages` is the number of messages that the
    /// migration had used at the last check (`None` before the first check), and is updated.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn watch(
        &self,
        host: &mut H,
        now: impl Into<Time>,
        messages: &mut Option<u64>,
    ) -> Result<Watched, H::Error> {
        watch::watch(self.migrations, host, now.into(), messages)
    }

    /// Returns the controls of the [current](crate::Ledger::current) migration, or of the next one in the list if the
    /// list does not contain the current one.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`] if the list contains neither, or a damaged record.
    pub fn control<'a>(&self, host: &'a mut H, now: impl Into<Time>) -> Result<Control<'a, H>, H::Error>
    where
        'm: 'a,
    {
        Control::of(self.current(host)?, host, now)
    }

    /// Returns a page of at most `limit` units after the unit `after`, and what the migration of [`Self::control`]
    /// would do to them. Nothing is written.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`], or a damaged record.
    pub fn dry_run(
        &self,
        host: &H,
        message: MessageBudget<'_>,
        after: Option<H::Key>,
        limit: Option<u32>,
    ) -> Result<DryRun<H::Key>, H::Error> {
        Self::dry_run_of(self.current(host)?, host, message, after, limit)
    }

    /// Returns the same as [`Self::dry_run`], for any migration instead of the current one.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
    /// # fn main() -> Result<(), Error> {
    /// // For a migration that is not the current one, such as a later one in the list.
    /// let bank = Bank::of([(7, 100), (8, 250)]);
    /// let page = Engine::dry_run_of(&CentsToMillionths, &bank, MESSAGE, None, Some(1))?;
    /// assert_eq!((page.units, page.next), (1, Some(7)));
    /// let last = Engine::dry_run_of(&CentsToMillionths, &bank, MESSAGE, page.next, None)?;
    /// assert_eq!((last.units, last.next), (1, None));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A damaged record.
    pub fn dry_run_of(
        migration: &dyn Migration<H>,
        host: &H,
        message: MessageBudget<'_>,
        after: Option<H::Key>,
        limit: Option<u32>,
    ) -> Result<DryRun<H::Key>, H::Error> {
        dry_run::page(migration, host, message, after, limit)
    }

    /// Converts a unit that a client is about to use, if it is a source unit of this migration: wholly, in the message
    /// of the client's call, also a unit that the engine would convert in several messages. A call must touch a unit
    /// before it changes or removes it: the unit may be counted already, and the migration gets stuck if counts or
    /// digests do not reconcile. The caller must make sure that the migration is not held ([`Migration::held_by`]). The
    /// unit is not converted if it is quarantined, while the migration before this one has begun and is not finalized,
    /// while this one is deferred, being rolled back or rolled back, or while stable memory is in the layout of another
    /// migration; `Ok(())` does not say whether it was converted.
    ///
    /// # Errors
    /// A damaged record, or no room; the unit is not changed. The layout may be that of this migration from then on, as
    /// after [`Self::enter_layout`].
    pub fn touch(
        migration: &dyn Migration<H>,
        host: &mut H,
        key: H::Key,
        now: impl Into<Time>,
    ) -> Result<(), H::Error> {
        let plan = migration.plan();
        let number = plan.number;
        let layout = host.layout()?;
        let mut state = host.ledger().state_of(number)?;
        if layout != plan.from && layout != plan.to || why_not_entered(migration, host, &state)?.is_some() {
            return Ok(());
        }
        // A unit that is quarantined in place is accounted for already, or will be when the run begins.
        let may_be_quarantined = state.quarantined > 0 || state.phase == Phase::Idle;
        if may_be_quarantined && host.ledger().quarantine.contains(number, &key) {
            return Ok(());
        }
        host.check_room()?;
        let now = now.into();
        set_plan(migration, &mut state);
        if layout == plan.from {
            leave_old_layout(migration, host, &mut state, now)?;
            // The state is stored here already, since an error below keeps the new layout.
            host.ledger_mut().set_state(number, &state);
        }
        // A unit that the engine has not counted is counted here: the engine will not find it once it is converted.
        let digest = if state.is_validated(&key) { None } else { migration.digest(host, key.clone())? };
        // The engine may have begun this unit. It must not abandon or continue it once it is converted here.
        let begun = state.unit.take_if(|unit| unit.key == key);
        let is_begun = begun.is_some();
        let progress = begun.map_or_else(Vec::new, |unit| unit.progress);
        let converted = convert_wholly(migration, host, key, progress, now);
        if converted.is_err() && is_begun {
            // As in a batch, an error ends the begun unit, whose progress is no longer valid.
            host.ledger_mut().set_state(number, &state);
        }
        match converted? {
            Some(unit) => account(migration, host, &mut state, digest, unit, ConvertedBy::Touch)?,
            // There is no such unit, and nothing to store.
            None if !is_begun => return Ok(()),
            None => {}
        }
        host.ledger_mut().set_state(number, &state);
        Ok(())
    }

    /// Changes the layout of stable memory to [`Plan::to`](crate::Plan::to) of this migration, unless it is that layout
    /// or a later one already. Must be called before a client's new unit is written as a target unit of this migration,
    /// since a build that knows only the old layout would not find the unit.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
    /// # fn main() -> Result<(), Error> {
    /// let mut bank = Bank::of([]);
    /// // The first account is opened before the migration has begun.
    /// Engine::enter_layout(&CentsToMillionths, &mut bank, NOW)?;
    /// bank.millionths.insert(7, 0);
    /// assert_eq!(bank.layout()?, Layout(2));
    ///
    /// // After a rollback, an account is opened where the old release finds it.
    /// ENGINE.control(&mut bank, NOW)?.rollback()?;
    /// ENGINE.run(&mut bank, MESSAGE)?;
    /// match Engine::enter_layout(&CentsToMillionths, &mut bank, NOW) {
    ///     Ok(()) => drop(bank.millionths.insert(8, 0)),
    ///     Err(Error::NotEntered { .. }) => drop(bank.cents.insert(8, 0)),
    ///     Err(error) => return Err(error),
    /// }
    /// assert_eq!((bank.layout()?, bank.cents.len()), (Layout(1), 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotEntered`] if the migration is not allowed to begin, since an earlier one is not finalized, and if it
    /// is deferred, rolled back, or about to be: the unit must be written in the previous layout. A damaged record.
    pub fn enter_layout(
        migration: &dyn Migration<H>,
        host: &mut H,
        now: impl Into<Time>,
    ) -> Result<(), H::Error> {
        let plan = migration.plan();
        // This holds during a rollback, too: as long as the layout is the new one, the rollback finds new target units.
        if host.layout()? >= plan.to {
            return Ok(());
        }
        let mut state = host.ledger().state_of(plan.number)?;
        if let Some(why) = why_not_entered(migration, host, &state)? {
            return Err(Error::NotEntered { number: plan.number, to: plan.to, why }.into());
        }
        set_plan(migration, &mut state);
        leave_old_layout(migration, host, &mut state, now.into())?;
        host.ledger_mut().set_state(plan.number, &state);
        Ok(())
    }

    /// Abandons rollbacks, complete ones included, and releases deferred migrations: for a build that cannot serve the
    /// old layout. Units that were already rolled back are converted again. A unit that is partly converted back is
    /// first converted back wholly, in this message: its source could not be distinguished from a whole one.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
    /// # fn main() -> Result<(), Error> {
    /// let mut bank = Bank::converted([(7, 100), (8, 250)]);
    /// ENGINE.control(&mut bank, NOW)?.rollback()?;
    /// ENGINE.run(&mut bank, STEP)?;
    /// assert!(bank.ledger.state_of(1)?.is_going_back());
    /// // In `post_upgrade` of a build without code for the old layout.
    /// ENGINE.go_forward(&mut bank, NOW)?;
    /// ENGINE.run(&mut bank, MESSAGE)?;
    /// assert_eq!((bank.cents.len(), bank.millionths.len()), (0, 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A damaged record. If a unit is partly converted back: no room for it, or [`Error::Refused`] if the migration has
    /// no rollback in this build.
    pub fn go_forward(&self, host: &mut H, now: impl Into<Time>) -> Result<(), H::Error> {
        let now = now.into();
        for migration in self.migrations {
            let number = migration.plan().number;
            let mut found = host.ledger().state_of(number)?;
            let is_deferred = found.is_deferred();
            if !(is_deferred || found.is_going_back()) {
                continue;
            }
            if let Some(unit) = found.unit.take() {
                revert_wholly(*migration, host, unit, now)?;
            }
            let (phase, event) = match is_deferred {
                true => (Phase::Idle, "released"),
                // Not `Idle`: the migration must run even if no unit was rolled back yet.
                false => (Phase::Validating, "rollback abandoned"),
            };
            let mut state = MigrationState { phase, ..found.restarted() };
            count_quarantined(*migration, host, &mut state);
            set_plan(*migration, &mut state);
            let layout = host.layout()?;
            host.ledger_mut().record(now, event, layout, number, &state);
            host.ledger_mut().set_state(number, &state);
        }
        Ok(())
    }

    /// Returns the migration that [`Self::control`] controls: the current one, or the next one in the list.
    fn current(&self, host: &H) -> Result<&'m dyn Migration<H>, Error> {
        let number = host.ledger().current();
        let found = self.migrations.iter().find(|migration| migration.plan().number >= number);
        found.copied().ok_or(Error::UnknownMigration { number })
    }
}

/// Returns the work on a unit that must be completed in this message. `progress` is that of the slices of earlier
/// messages.
const fn work_without_limit(now: Time, progress: Vec<u8>) -> Work<'static> {
    Work { now, meter: &Unmetered, budget: u64::MAX, progress }
}

/// Converts the remaining slices of a unit in this message, after those of earlier messages, whose progress is
/// `progress`. Returns `None` if the unit no longer exists.
fn convert_wholly<H: Host>(
    migration: &dyn Migration<H>,
    host: &mut H,
    key: H::Key,
    progress: Vec<u8>,
    now: Time,
) -> Result<Option<Settled<H::Key>>, H::Error> {
    let mut work = work_without_limit(now, progress);
    loop {
        match migration.convert(host, key.clone(), &mut work)? {
            Advance::More => {}
            Advance::Done { class, fate } => return Ok(Some(Settled { key, class, fate })),
            Advance::Gone => return Ok(None),
        }
    }
}

/// Converts the remaining slices of a unit back in this message. If the unit is refused, it is a target unit as before.
fn revert_wholly<H: Host>(
    migration: &dyn Migration<H>,
    host: &mut H,
    unit: UnitProgress<H::Key>,
    now: Time,
) -> Result<(), H::Error> {
    let UnitProgress { key, progress } = unit;
    let Some(reversal) = migration.reversal() else {
        let why = format!("unit {key:?} is partly converted back, and this build has no rollback");
        let (action, phase) = ("stop rolling back", Phase::RollingBack);
        return Err(Error::Refused { action, phase, why }.into());
    };
    host.check_room()?;
    let mut work = work_without_limit(now, progress);
    while reversal.revert(host, key.clone(), &mut work)? == Reverted::More {}
    Ok(())
}

/// Returns why no unit may be written in, or converted to, the layout of a migration; `None` if that is allowed.
fn why_not_entered<H: Host>(
    migration: &dyn Migration<H>,
    host: &H,
    state: &MigrationState<H::Key>,
) -> Result<Option<String>, StableError> {
    if state.is_going_back() {
        return Ok(Some("it is rolled back, or about to be".into()));
    }
    if state.is_deferred() {
        return Ok(Some("it is deferred".into()));
    }
    blocking_predecessor(migration, host)
}
