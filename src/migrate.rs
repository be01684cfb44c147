//! The migration engine: which phase, how far, what it counted, and the proof that nothing was lost.
//!
//! Owns: phases, budget, cursor, conservation, journal, quarantine. Does not own: what a record becomes;
//! that is in `migrations/`, one folder per migration, each with its own frozen copy of the old types.
//! Boundary: the engine knows units by their numbers, and never looks into one.
//!
//! ```text
//! id 25   MigrationState                       phase, cursor, counts, digests: of migration 1
//! id 26   u64 -> JournalRecord                 hash-chained, one entry per change of phase, of all migrations
//! id 27   u64 -> QuarantineRecord              session id to raw bytes and reason: of migration 1
//! id 34   u16 -> MigrationState                of the migrations behind it, by number
//! id 35   (u16, u64) -> QuarantineRecord       the same, by number and unit
//! ```

mod digest;
mod journal;
mod pace;
mod quarantine;
mod state;
mod tables;

pub use digest::MultisetDigest;
pub use journal::JournalRecord;
pub use pace::{Pace, Retry};
pub use quarantine::{Quarantine, QuarantineRecord};
pub use state::{MigrationState, Phase, Recheck, UnitProgress};
pub use tables::MigrationTables;

use crate::session::Time;
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;

/// In the old layout nothing is converted. So when the legacy build takes over, after a rollback or before the
/// first conversion, what was counted is forgotten, since its clients change the records; the next migration
/// begins anew.
///
/// # Errors
/// A damaged state.
pub fn taken_over(storage: &mut Storage, now: Time) -> Result<(), StableError> {
    let number = storage.migration.current();
    let phase = storage.migration.state_of(number)?.phase;
    if phase != Phase::Idle && phase != Phase::Finalized {
        let state = MigrationState::default();
        storage.migration.set_state(number, &state);
        storage.migration.record(now, "taken over", Layout::LEGACY, number, &state);
    }
    Ok(())
}

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
        pub use touch::{compat_share, ended, held, touch, touch_unit};
        pub use watch::{Watched, watch};

        #[cfg(test)]
        mod tests;
    }
}
