//! The engine's own errors.

use crate::{Layout, Phase, StableError};

/// Why the engine refused a call, or could not complete it.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// /// Returns what the developer of a canister does about an error.
/// fn advice(error: &Error) -> &'static str {
///     match error {
///         // From `Engine::check`: the list of migrations.
///         Error::DuplicateNumber { .. } | Error::Gap { .. } | Error::BrokenChain { .. } => "fix the list",
///         Error::BackwardLayout { .. } => "number the layouts in order",
///         Error::MissingMigration { .. } | Error::PlanShrunk { .. } => "list what has begun, with all its classes",
///         Error::UnknownLayout { .. } | Error::NewerFormat { .. } => "upgrade to a newer build",
///         // What is stored.
///         Error::Stable(_) | Error::DamagedKey { .. } => "load a snapshot, or repair the record in an upgrade",
///         // From the controls.
///         Error::Refused { .. } => "do what its reason says, then try again",
///         // From `defer` and `release`.
///         Error::WrongPhase { .. } => "defer only before the migration begins, and release only while it is deferred",
///         // From `Engine::enter_layout`.
///         Error::NotEntered { .. } => "write the unit in the previous layout",
///         // From `Control::retry`.
///         Error::NotQuarantined { .. } => "name a unit that is quarantined",
///         // From `Engine::control` and `Engine::dry_run`.
///         Error::UnknownMigration { .. } => "install a build with this migration or a later one",
///         _ => "read its message",
///     }
/// }
///
/// let mut bank = Bank::of([(7, 100)]);
/// let twice: Engine<'static, Bank> = Engine::new(&[&CentsToMillionths, &CentsToMillionths]);
/// let error = twice.check(&bank).unwrap_err();
/// assert!(matches!(&error, Error::DuplicateNumber { number: 1, .. }));
/// assert_eq!(advice(&error), "fix the list");
///
/// bank.set_layout(Layout(9));
/// let error = ENGINE.check(&bank).unwrap_err();
/// assert_eq!(error.to_string(), "stable memory is in layout 9, this build supports layouts 1 to 2");
///
/// bank.set_layout(Layout(1));
/// let error = ENGINE.control(&mut bank, NOW)?.pause().unwrap_err();
/// assert!(matches!(&error, Error::Refused { action: "pause", phase: Phase::Idle, .. }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A record of the ledger, or the layout header, does not decode.
    #[error(transparent)]
    Stable(#[from] StableError),
    /// The requested action is not possible now.
    #[error("cannot {action} the migration in phase {phase:?}: {why}")]
    Refused {
        /// What was requested, such as `pause` or `roll back`.
        action: &'static str,
        /// The phase of the migration.
        phase: Phase,
        /// Why the action is not possible, and usually what to do instead.
        why: String,
    },
    /// A unit must not be written in the layout to which a migration leads: the migration is not allowed to begin yet,
    /// is deferred, is rolled back, or is about to be.
    #[error(
        "no unit may be written in layout {}, to which migration {number} leads: {why}; write it in the layout before that",
        to.0
    )]
    NotEntered {
        /// Number of the migration.
        number: u16,
        /// Layout to which the migration leads.
        to: Layout,
        /// Why the unit must not be written in this layout.
        why: String,
    },
    /// The unit that a controller wants to retry is not in quarantine.
    #[error("unit {key} is not quarantined")]
    NotQuarantined {
        /// Key of the unit.
        key: String,
    },
    /// The current migration cannot be deferred, or released from its deferral, in this phase.
    #[error(
        "the current migration is in phase {found:?}, expected {expected:?}: only a migration that has not begun can \
        be deferred, and only a deferred one released; `Engine::defer` defers the next one of a list"
    )]
    WrongPhase {
        /// The phase that the migration must be in.
        expected: Phase,
        /// The phase that the migration is in.
        found: Phase,
    },
    /// The list of this build contains neither the [current](crate::Ledger::current) migration nor a later one, so
    /// there is none to control. Unlike [`Error::MissingMigration`], this may be right: the current migration may be
    /// finalized.
    #[error("this build has no migration {number}")]
    UnknownMigration {
        /// Number of the current migration.
        number: u16,
    },
    /// Two migrations have the same number.
    #[error(
        "migrations {first:?} and {second:?} both have the number {number}: give the later one the next number"
    )]
    DuplicateNumber {
        /// The number.
        number: u16,
        /// Name of the first in the list.
        first: &'static str,
        /// Name of the second in the list.
        second: &'static str,
    },
    /// The numbers are not in order, or a number is missing between two migrations.
    #[error("migration {found} comes after migration {previous}, expected {}: list every migration, in order", previous.saturating_add(1))]
    Gap {
        /// Number of the earlier migration in the list.
        previous: u16,
        /// Number of the next migration in the list.
        found: u16,
    },
    /// A migration does not start from the layout to which the previous one leads.
    #[error("migration {number} starts from layout {}, but the one before it leads to layout {}", from.0, previous.0)]
    BrokenChain {
        /// Number of the migration.
        number: u16,
        /// Layout that the migration starts from.
        from: Layout,
        /// Layout to which the previous migration leads.
        previous: Layout,
    },
    /// A migration does not lead to a higher layout.
    #[error(
        "migration {number} leads from layout {} to layout {}: a later layout must have a higher number",
        from.0, to.0
    )]
    BackwardLayout {
        /// Number of the migration.
        number: u16,
        /// Layout that the migration starts from.
        from: Layout,
        /// Layout to which the migration leads.
        to: Layout,
    },
    /// No migration of this build starts from, or leads to, the layout of stable memory.
    #[error("stable memory is in layout {}, this build supports layouts {} to {}", found.0, first.0, last.0)]
    UnknownLayout {
        /// Layout of stable memory.
        found: Layout,
        /// The first layout that this build supports.
        first: Layout,
        /// The last layout that this build supports.
        last: Layout,
    },
    /// A migration that has begun and is neither finalized nor rolled back is missing in this build, so the host must
    /// not run it; or one for which the first migration of the build would wait. [`Error::UnknownMigration`], in
    /// contrast, is about calls that need a migration to control.
    #[error(
        "migration {number} is in phase {phase:?}, and is missing in this build: roll it back or finalize \
        it on a build that contains it"
    )]
    MissingMigration {
        /// Number of the migration.
        number: u16,
        /// Phase of the migration.
        phase: Phase,
    },
    /// A migration has counted units of a class that its plan no longer knows.
    #[error(
        "migration {number} has counted units of class {class:?}, which its plan no longer has: keep every class of a migration that has begun"
    )]
    PlanShrunk {
        /// Number of the migration.
        number: u16,
        /// Name of the class.
        class: String,
    },
    /// A record of the ledger was written by a newer release of this crate.
    #[error(
        "{name} {key} has format {found}, this build supports formats up to {known}: upgrade to a build with a newer engine"
    )]
    NewerFormat {
        /// [`Record::NAME`](crate::Record::NAME).
        name: &'static str,
        /// Key of the record.
        key: String,
        /// Format of the record.
        found: u8,
        /// Newest format that this build supports.
        known: u8,
    },
    /// A key of the quarantine does not decode: it is damaged, or was stored by a release with another key type.
    #[error(
        "the quarantine holds a unit under the damaged key {key}: {reason}; if the type of the keys has changed, \
        change it back: all migrations of a canister share one"
    )]
    DamagedKey {
        /// The key as it is stored, in hex, without the number of its migration.
        key: String,
        /// What is wrong with the key.
        reason: String,
    },
}
