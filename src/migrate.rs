//! The migration engine: phases, progress, counts, and the proof that nothing was lost.
//!
//! Owns: phases, instruction budget, cursor, reconciliation, journal, quarantine. Does not own what a record
//! is converted to: that is in `migrations/`, one folder per migration, each with its own frozen copy of the
//! old types.
//! Boundary: the engine knows units by their numbers and never looks inside one.
//!
//! ```text
//! id 25   MigrationState                       phase, cursor, counts, digests: of migration 1
//! id 26   u64 -> JournalRecord                 hash-chained, one entry per change of phase, of all migrations
//! id 27   u64 -> QuarantineRecord              session id to raw bytes and reason: of migration 1
//! id 34   u16 -> MigrationState                of later migrations, by number
//! id 35   (u16, u64) -> QuarantineRecord       the same, by number and unit
//! ```

mod digest;
mod hold;
mod journal;
mod pace;
mod quarantine;
mod state;
mod tables;

pub use digest::MultisetDigest;
pub use hold::{hold, release, taken_over};
pub use journal::JournalRecord;
pub use pace::{Pace, Retry};
pub use quarantine::{Quarantine, QuarantineRecord};
pub use state::{MigrationState, Phase, Recheck, Rollback, UnitProgress};
pub use tables::MigrationTables;

cfg_if::cfg_if! {
    if #[cfg(feature = "direct")] {
        mod batches;
        pub mod controls;
        mod dry_run;
        mod engine;
        mod migration;
        mod plan;
        mod touch;
        mod unit;
        mod watch;
        pub use dry_run::{dry_run, dry_run_of};
        pub use engine::{Message, Progress, has_work, run, run_all};
        pub use migration::{Advance, Bulk, Classified, Fate, Migration, Reversal, Reverted, Settled, Work};
        pub use plan::{ClassPlan, Plan, Treatment};
        pub use touch::{compat_share, held, leave_layout_1, touch};
        pub use watch::{Watched, watch};

        #[cfg(all(test, feature = "compat"))]
        mod tests;
    }
}
