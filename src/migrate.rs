//! The migrations of this canister: connects the engine in `ic-stable-migrate` to the canister's storage, and converts
//! sessions on touch.
//!
//! Owns: the engine's list of migrations, and who may use the compat path while they run. Does not own: the conversion
//! of records, which is in `migrations/`, one folder per migration.

mod host;
mod tables;

pub use host::EngineTime;
pub use ic_stable_migrate::{
    MultisetDigest, Phase, QuarantineRecord, Rollback, defer, discard_progress, release,
};
#[cfg(test)]
pub use tables::describe;
pub use tables::{JournalRecord, MigrationState, MigrationTables, open_tables};

use ic_stable_migrate::Error;

use crate::build_profile::LAYOUTS;
use crate::stable::RawMemory;
use crate::storage::{OpenError, Storage};

/// Opens the storage of an installed canister, if this build's migrations fit the layout and the progress in stable
/// memory.
///
/// # Errors
/// See [`OpenError`].
pub fn open_storage(raw: RawMemory) -> Result<Storage, OpenError> {
    let storage = Storage::open_accepting(raw, LAYOUTS)?;
    check_migrations(&storage)?;
    Ok(storage)
}

cfg_if::cfg_if! {
    if #[cfg(feature = "direct")] {
        pub mod controls;
        mod touch;
        pub use ic_stable_migrate::{
            Advance, Bulk, ClassPlan, Classified, Fate, MessageBudget, Migration, Plan, RunOutcome, Reversal, Reverted,
            Treatment, Watched, Work,
        };
        pub use touch::{compat_share, leave_layout_1, touch, waits_for_compat_path};

        pub use ic_stable_migrate::Engine;

        use ic_stable_migrate::Meter;

        use crate::api::{self, DryRun};
        use crate::session::Time;

        /// A unit that has left the source layout, and its outcome.
        pub type Settled = ic_stable_migrate::Settled<u64>;

        /// The engine with this canister's migrations.
        pub const ENGINE: Engine<'static, Storage> = Engine::new(crate::migrations::ALL);

        fn check_migrations(storage: &Storage) -> Result<(), Error> {
            ENGINE.check(storage)
        }

        /// Runs the migrations until none has work at present, or `budget` instructions of this message are used.
        pub fn run(storage: &mut Storage, now: Time, meter: &dyn Meter, budget: u64) -> api::Result<RunOutcome> {
            ENGINE.run(storage, MessageBudget { now: now.into(), meter, budget })
        }

        /// Returns a page of the dry run of the current migration: at most `limit` units above `after`.
        pub fn dry_run(
            storage: &Storage,
            message: MessageBudget<'_>,
            after: Option<u64>,
            limit: Option<u32>,
        ) -> api::Result<DryRun> {
            ENGINE.dry_run(storage, message, after, limit)
        }

        #[cfg(all(test, feature = "compat"))]
        mod tests;
    } else {
        use ic_stable_migrate::Host as _;

        /// Without migrations, only the format of the engine's tables is checked.
        fn check_migrations(storage: &Storage) -> Result<(), Error> {
            storage.ledger().check()
        }
    }
}
