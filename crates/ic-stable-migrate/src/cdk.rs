//! What a canister needs in addition to the engine: timers that run it and recover on their own, and endpoints. The
//! example makes a whole canister of the bank in the crate's documentation; in the repository, `examples/one-map` is
//! this canister, compiled for wasm and tested:
//!
//! ```standalone_crate
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
//! use std::cell::RefCell;
//!
//! use ic_stable_migrate::cdk::Driver;
//!
//! thread_local!(static BANK: RefCell<Option<Bank>> = const { RefCell::new(None) });
//!
//! fn with_bank(f: &mut dyn FnMut(&mut Bank)) {
//!     BANK.with_borrow_mut(|bank| bank.as_mut().map(f));
//! }
//!
//! const MIGRATIONS: Driver<Bank> = Driver::new(&[&CentsToMillionths], with_bank);
//!
//! #[ic_cdk::post_upgrade]
//! fn post_upgrade() {
//!     BANK.set(Some(Bank::open(DefaultMemoryImpl::default())));
//!     MIGRATIONS.post_upgrade();
//! }
//!
//! ic_stable_migrate::migration_endpoints!(MIGRATIONS, u64);
//! # fn main() {
//! #     BANK.set(Some(Bank::converted([(7, 100)])));
//! #     assert_eq!(migration_status().unwrap().converted, 1);
//! # }
//! ```

pub mod timers;

use std::cell::Cell;

use candid::Principal;
#[cfg(not(test))]
use ic_cdk::api::{debug_print, is_controller, msg_caller, performance_counter, time, trap};

use self::timers::{Chain, Job};
use crate::api::{DryRun, EndpointError, JournalEntry, MigrationStatus, QuarantinedRecord};
#[cfg(test)]
use crate::tests::ic::{debug_print, is_controller, msg_caller, performance_counter, time, trap};
use crate::{Control, Engine, Host, MessageBudget, Meter, Migration, RunOutcome, Time, Watched};

/// Result of an endpoint.
///
/// ```
/// use ic_stable_migrate::api::{EndpointError, MigrationStatus};
/// use ic_stable_migrate::cdk::EndpointResult;
///
/// /// Formats what a controller sees.
/// fn line(answer: EndpointResult<MigrationStatus>) -> String {
///     match answer {
///         Ok(status) => format!("{:?}: {} of {}", status.phase, status.converted, status.source),
///         Err(error) => error.to_string(),
///     }
/// }
///
/// assert_eq!(line(Err(EndpointError::Refused("nothing is running".into()))), "nothing is running");
/// ```
pub type EndpointResult<T> = Result<T, EndpointError>;

/// Default instruction budget of a message of the migration: low enough that clients are hardly delayed.
const MESSAGE_INSTRUCTIONS: u64 = 1_500_000_000;

/// Instructions that a message reserves for its end, when the state and the journal are written.
const CLOSING_INSTRUCTIONS: u64 = 500_000;

/// A meter of the instructions that the current message has used, as the IC counts them.
///
/// ```
/// use ic_stable_migrate::cdk::MessageMeter;
/// use ic_stable_migrate::{MessageBudget, Time};
///
/// /// A message of a canister that calls the engine itself, without a [`Driver`](ic_stable_migrate::cdk::Driver).
/// fn message() -> MessageBudget<'static> {
///     MessageBudget { now: Time::from_nanos(ic_cdk::api::time()), meter: &MessageMeter, budget: 1_500_000_000 }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MessageMeter;

impl Meter for MessageMeter {
    fn used(&self) -> u64 {
        performance_counter(0)
    }
}

thread_local! {
    /// How many messages the migration had used at the watchdog's last run: the argument `messages` of
    /// [`Engine::watch`].
    static MESSAGES_SEEN: Cell<Option<u64>> = const { Cell::new(None) };
    /// Runs [`Driver::watch`] once a minute.
    static WATCHDOG: Job = const { Job::new() };
    /// Messages of the engine, each of which schedules the next. Controllers' calls schedule one, too, and must not
    /// start a second chain.
    static MESSAGE_CHAIN: Chain = const { Chain::new() };
}

/// A function that calls its argument with the canister's storage, or does nothing if the storage is not open.
///
/// ```
/// use std::cell::RefCell;
///
/// use ic_stable_migrate::cdk::With;
/// # struct Bank;
/// # impl Bank { fn open() -> Self { Self } }
///
/// thread_local!(static BANK: RefCell<Option<Bank>> = const { RefCell::new(None) });
///
/// const WITH_BANK: With<Bank> = |f| BANK.with_borrow_mut(|bank| {
///     // Before `init` or `post_upgrade` has opened it, the function is not called.
///     bank.as_mut().map(f);
/// });
///
/// let mut calls = 0;
/// WITH_BANK(&mut |_| calls += 1);
/// BANK.set(Some(Bank::open()));
/// WITH_BANK(&mut |_| calls += 1);
/// assert_eq!(calls, 1);
/// ```
pub type With<H> = fn(&mut dyn FnMut(&mut H));

/// The engine of a canister, with access to its host.
///
/// The engine runs in messages of timers, which do nothing else. So a unit that traps rolls back neither an upgrade nor
/// a controller's call, and the watchdog can isolate it.
///
/// ```standalone_crate
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # use std::cell::RefCell;
/// #
/// use ic_stable_migrate::cdk::{Driver, EndpointResult};
///
/// # thread_local!(static BANK: RefCell<Option<Bank>> = const { RefCell::new(None) });
/// #
/// # fn with_bank(f: &mut dyn FnMut(&mut Bank)) {
/// #     BANK.with_borrow_mut(|bank| bank.as_mut().map(f));
/// # }
/// #
/// const MIGRATIONS: Driver<Bank> =
///     Driver::new(&[&CentsToMillionths], with_bank).with_budget(500_000_000);
///
/// #[ic_cdk::init]
/// fn init() {
///     let mut bank = Bank::open(DefaultMemoryImpl::default());
///     // A fresh installation starts in the newest layout.
///     bank.set_layout(PLAN.to);
///     BANK.set(Some(bank));
///     MIGRATIONS.init();
/// }
///
/// #[ic_cdk::post_upgrade]
/// fn post_upgrade() {
///     BANK.set(Some(Bank::open(DefaultMemoryImpl::default())));
///     MIGRATIONS.post_upgrade();
/// }
///
/// #[ic_cdk::update]
/// fn deposit(account: u64, millionths: u128) {
///     MIGRATIONS.ensure_timers();
///     // Refuse an account in quarantine; convert any other on touch, then add to its balance.
/// }
///
/// // Endpoints of the canister's own, instead of those of `migration_endpoints!`. `quarantine`, `dry_run` and
/// // `control` answer controllers only.
/// fn status() -> EndpointResult<MigrationStatus> {
///     MIGRATIONS.status()
/// }
///
/// fn journal() -> EndpointResult<Vec<JournalEntry>> {
///     MIGRATIONS.journal(None)
/// }
///
/// fn quarantine() -> EndpointResult<Vec<QuarantinedRecord>> {
///     MIGRATIONS.quarantine(None)
/// }
///
/// fn dry_run() -> EndpointResult<DryRun> {
///     MIGRATIONS.dry_run(None, Some(1_000))
/// }
///
/// fn retry_all() -> EndpointResult<MigrationStatus> {
///     MIGRATIONS.control(|control| control.retry(None))
/// }
///
/// /// Does not wait for the timer. If a unit traps, so does this call.
/// fn hurry() -> EndpointResult<MigrationStatus> {
///     MIGRATIONS.go_on();
///     MIGRATIONS.status()
/// }
///
/// # fn main() {
/// assert!(status().is_err(), "the storage is not open yet");
/// BANK.set(Some(Bank::converted([(7, 100)])));
/// assert_eq!(status().unwrap().phase, MigrationPhase::Converted);
/// assert_eq!(journal().unwrap().len(), 5);
/// # }
/// ```
pub struct Driver<H: Host + 'static> {
    engine: Engine<'static, H>,
    with: With<H>,
    budget: u64,
}

impl<H: Host + 'static> Clone for Driver<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: Host + 'static> Copy for Driver<H> {}

impl<H: Host + 'static> Driver<H> {
    /// Creates the driver of these migrations. `with` calls a function with the canister's storage, if that is open.
    #[must_use]
    pub const fn new(migrations: &'static [&'static dyn Migration<H>], with: With<H>) -> Self {
        Self { engine: Engine::new(migrations), with, budget: MESSAGE_INSTRUCTIONS }
    }

    /// Replaces the instruction budget of a message of the migration. The engine ends a message when another unit, at
    /// the highest cost of a unit in this message, would exceed the budget.
    #[must_use]
    pub const fn with_budget(self, budget: u64) -> Self {
        Self { budget, ..self }
    }

    /// Sets the timer of the watchdog. Must be called at the end of `init`.
    pub fn init(&self) {
        self.set_watchdog();
    }

    /// Checks the chain of migrations against what is stored, sets the timer of the watchdog, and schedules a message
    /// of the engine. Converts nothing in the message of the upgrade, which would be refused if a unit trapped. Must be
    /// called at the end of `post_upgrade`. Traps if the check fails or the storage is not open, so that the old code
    /// and its state are kept.
    pub fn post_upgrade(&self) {
        match self.with_host(|host| self.engine.check(host)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => trap(format!("upgrade refused: {error}")),
            Err(error) => trap(format!("upgrade refused: {error}")),
        }
        self.set_watchdog();
        self.run_next_message();
    }

    /// If the watchdog is overdue, sets its timer again, and schedules a message of the engine. [`timers`] explains how
    /// timers are lost. Should be called in every update; what a query sets is lost.
    pub fn ensure_timers(&self) {
        let now = time();
        if WATCHDOG.with(|watchdog| watchdog.is_overdue(now)) {
            self.set_watchdog();
            self.run_next_message();
            timers::wake(now);
        }
    }

    /// Runs the engine in the current message, and schedules another message if there is more to do. An error is only
    /// printed. If a unit traps, the whole message does: nothing that must be kept should be done in the same message.
    pub fn go_on(&self) {
        let message = self.message_budget(self.budget);
        match self.answer(|host| self.engine.run(host, message)) {
            Ok(RunOutcome::Done) => {}
            Ok(RunOutcome::More) => self.run_next_message(),
            Err(error) => print_error(&error),
        }
    }

    /// Returns phase and counts of the [current](crate::Ledger::current) migration.
    ///
    /// # Errors
    /// [`EndpointError::Refused`] if a record is damaged or the storage is not open.
    pub fn status(&self) -> EndpointResult<MigrationStatus<H::Key>> {
        self.answer(|host| {
            let layout = host.layout()?;
            Ok(host.ledger().status(layout)?)
        })
    }

    /// Returns a page of the journal, starting at entry `from`.
    ///
    /// # Errors
    /// [`EndpointError::Refused`] if a record is damaged or the storage is not open.
    pub fn journal(&self, from: Option<u64>) -> EndpointResult<Vec<JournalEntry<H::Key>>> {
        self.answer(|host| Ok(host.ledger().journal(from.unwrap_or(0))?))
    }

    /// Returns a page of quarantined units after the unit `after`. For controllers.
    ///
    /// # Errors
    /// [`EndpointError::Unauthorized`], or [`EndpointError::Refused`] if the storage is not open.
    pub fn quarantine(&self, after: Option<H::Key>) -> EndpointResult<Vec<QuarantinedRecord<H::Key>>> {
        check_is_controller()?;
        self.answer(|host| Ok(host.ledger().quarantined(after)))
    }

    /// Returns what the migration would do to the units after `after`, and the estimated cost. For controllers.
    ///
    /// # Errors
    /// [`EndpointError::Unauthorized`], or [`EndpointError::Refused`] with the error of [`Engine::dry_run`], or if the
    /// storage is not open.
    pub fn dry_run(&self, after: Option<H::Key>, limit: Option<u32>) -> EndpointResult<DryRun<H::Key>> {
        check_is_controller()?;
        let message = self.message_budget(self.budget);
        self.answer(|host| self.engine.dry_run(host, message, after, limit))
    }

    /// Calls a method of [`Control`], schedules a message of the engine, and returns the status before that message.
    /// For controllers.
    ///
    /// # Errors
    /// [`EndpointError::Unauthorized`], or [`EndpointError::Refused`] with the error of the method, or if a record is
    /// damaged or the storage is not open.
    pub fn control(
        &self,
        control: impl FnOnce(Control<'_, H>) -> Result<(), H::Error>,
    ) -> EndpointResult<MigrationStatus<H::Key>> {
        check_is_controller()?;
        self.answer(|host| control(self.engine.control(host, now())?))?;
        self.ensure_timers();
        self.run_next_message();
        // The message must also run if the timers were lost less than five minutes ago.
        timers::wake(time());
        self.status()
    }

    /// The watchdog's job: schedules a message of the engine if none is scheduled or the last one has not committed.
    fn watch(&self) {
        WATCHDOG.with(|watchdog| watchdog.begin(time()));
        let mut seen = MESSAGES_SEEN.get();
        let watched = self.answer(|host| self.engine.watch(host, now(), &mut seen));
        MESSAGES_SEEN.set(seen);
        match watched {
            Ok(Watched::Quiet) => {}
            Ok(Watched::Run) => self.run_next_message(),
            Err(error) => print_error(&error),
        }
    }

    fn set_watchdog(&self) {
        let this = *self;
        WATCHDOG.with(|watchdog| watchdog.set(move || this.watch(), time()));
    }

    fn run_next_message(&self) {
        let this = *self;
        MESSAGE_CHAIN.with(|chain| chain.run_next(move || this.go_on()));
    }

    /// Returns the budget of this message for the engine: `budget` without the instructions for the end of the message.
    fn message_budget(&self, budget: u64) -> MessageBudget<'static> {
        MessageBudget {
            now: now(),
            meter: &MessageMeter,
            budget: budget.saturating_sub(CLOSING_INSTRUCTIONS),
        }
    }

    /// Calls `f` with the host. An error of `f` becomes [`EndpointError::Refused`].
    fn answer<T>(&self, f: impl FnOnce(&mut H) -> Result<T, H::Error>) -> EndpointResult<T> {
        self.with_host(f)?.map_err(|error| EndpointError::Refused(error.to_string()))
    }

    /// Calls `f` with the host and returns what it returns; [`EndpointError::Refused`] only if the storage is not open.
    fn with_host<T>(&self, f: impl FnOnce(&mut H) -> T) -> EndpointResult<T> {
        let (mut f, mut result) = (Some(f), None);
        (self.with)(&mut |host| result = f.take().map(|f| f(host)));
        result.ok_or_else(|| EndpointError::Refused("the canister's storage is not open".into()))
    }
}

fn now() -> Time {
    Time::from_nanos(time())
}

fn check_is_controller() -> EndpointResult<()> {
    let caller: Principal = msg_caller();
    if is_controller(&caller) { Ok(()) } else { Err(EndpointError::Unauthorized { caller }) }
}

fn print_error(error: &EndpointError) {
    debug_print(format!("migration: {error}"));
}

/// Gives a canister the endpoints of its migrations: `migration_status`, `_journal`, `_quarantine` and `_dry_run` as
/// queries, `_pause`, `_resume`, `_verify`, `_retry`, `_rollback` and `_finalize` as updates for controllers. The
/// arguments are a constant [`Driver`], and the type of the keys. The canister must depend on `ic-cdk`, and on this
/// crate without renaming it: `ic_cdk::export_candid!` reads the types as text, in which `$crate` would mean nothing.
///
/// ```standalone_crate
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # use std::cell::RefCell;
/// #
/// use ic_stable_migrate::cdk::Driver;
///
/// # thread_local!(static BANK: RefCell<Option<Bank>> = const { RefCell::new(None) });
/// #
/// # fn with_bank(f: &mut dyn FnMut(&mut Bank)) {
/// #     BANK.with_borrow_mut(|bank| bank.as_mut().map(f));
/// # }
/// #
/// const MIGRATIONS: Driver<Bank> = Driver::new(&[&CentsToMillionths], with_bank);
///
/// ic_stable_migrate::migration_endpoints!(MIGRATIONS, u64);
///
/// # fn main() {
/// BANK.set(Some(Bank::converted([(7, 100)])));
/// // The endpoints are functions, which other code of the canister can call, too.
/// assert_eq!(migration_status().unwrap().phase, MigrationPhase::Converted);
/// assert_eq!(migration_journal(Some(4)).unwrap()[0].event, "converted");
/// # }
/// ```
#[macro_export]
macro_rules! migration_endpoints {
    ($driver:expr, $key:ty) => {
        /// Returns phase and counts of the migration.
        #[::ic_cdk::query]
        fn migration_status()
        -> ::ic_stable_migrate::cdk::EndpointResult<::ic_stable_migrate::api::MigrationStatus<$key>> {
            $driver.status()
        }

        /// Returns entries of the journal, starting at number `from`.
        #[::ic_cdk::query]
        fn migration_journal(
            from: Option<u64>,
        ) -> ::ic_stable_migrate::cdk::EndpointResult<Vec<::ic_stable_migrate::api::JournalEntry<$key>>> {
            $driver.journal(from)
        }

        /// Returns quarantined units after the unit `after`. For controllers.
        #[::ic_cdk::query]
        fn migration_quarantine(
            after: Option<$key>,
        ) -> ::ic_stable_migrate::cdk::EndpointResult<Vec<::ic_stable_migrate::api::QuarantinedRecord<$key>>>
        {
            $driver.quarantine(after)
        }

        /// Returns what the migration would do to the units after `after`, and the estimated cost; changes
        /// nothing. For controllers.
        #[::ic_cdk::query]
        fn migration_dry_run(
            after: Option<$key>,
            limit: Option<u32>,
        ) -> ::ic_stable_migrate::cdk::EndpointResult<::ic_stable_migrate::api::DryRun<$key>> {
            $driver.dry_run(after, limit)
        }

        /// Pauses the migration after the current unit. For controllers.
        #[::ic_cdk::update]
        fn migration_pause()
        -> ::ic_stable_migrate::cdk::EndpointResult<::ic_stable_migrate::api::MigrationStatus<$key>> {
            $driver.control(|control| control.pause())
        }

        /// Resumes a migration that is paused, stuck or rolled back. For controllers.
        #[::ic_cdk::update]
        fn migration_resume()
        -> ::ic_stable_migrate::cdk::EndpointResult<::ic_stable_migrate::api::MigrationStatus<$key>> {
            $driver.control(|control| control.resume())
        }

        /// Checks every converted unit again. For controllers.
        #[::ic_cdk::update]
        fn migration_verify()
        -> ::ic_stable_migrate::cdk::EndpointResult<::ic_stable_migrate::api::MigrationStatus<$key>> {
            $driver.control(|control| control.verify())
        }

        /// Retries one quarantined unit, or all of them. For controllers.
        #[::ic_cdk::update]
        fn migration_retry(
            unit: Option<$key>,
        ) -> ::ic_stable_migrate::cdk::EndpointResult<::ic_stable_migrate::api::MigrationStatus<$key>> {
            $driver.control(|control| control.retry(unit))
        }

        /// Rolls everything back to the old layout. For controllers, until the migration is finalized.
        #[::ic_cdk::update]
        fn migration_rollback()
        -> ::ic_stable_migrate::cdk::EndpointResult<::ic_stable_migrate::api::MigrationStatus<$key>> {
            $driver.control(|control| control.rollback())
        }

        /// Ends the migration; afterwards no rollback is possible. With `opt true`, quarantined units are
        /// left there permanently. For controllers.
        #[::ic_cdk::update]
        fn migration_finalize(
            leave_quarantined: Option<bool>,
        ) -> ::ic_stable_migrate::cdk::EndpointResult<::ic_stable_migrate::api::MigrationStatus<$key>> {
            $driver.control(|control| control.finalize(leave_quarantined == Some(true)))
        }
    };
}
