//! The migration engine: which phase, how far, what it counted, and the proof that nothing was lost.
//!
//! Owns: phases, budget, cursor, conservation, journal, quarantine. Does not own: what a record becomes;
//! that is in `migrations/`, one folder per migration, each with its own frozen copy of the old types.
//! Boundary: the engine moves records between tables, and never looks into the bytes of a chunk.
//!
//! ```text
//! id 25   MigrationState                phase, cursor, counts, digests
//! id 26   u64 -> JournalRecord          hash-chained, one entry per change of phase
//! id 27   u64 -> QuarantineRecord       session id to raw bytes and reason
//! ```

mod digest;
mod journal;
mod quarantine;
mod state;
mod tables;

pub use digest::MultisetDigest;
pub use journal::JournalRecord;
pub use quarantine::QuarantineRecord;
pub use state::{MigrationState, Phase};
pub use tables::MigrationTables;

use crate::session::Time;
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;

/// A rollback is over when the legacy build takes over: the next migration begins anew.
///
/// # Errors
/// A damaged state or journal.
pub fn taken_over(storage: &mut Storage, now: Time) -> Result<(), StableError> {
    if storage.migration.state()?.phase == Phase::RolledBack {
        let state = MigrationState::default();
        storage.migration.set_state(&state);
        storage.migration.record(now, "taken over", Layout::LEGACY, &state)?;
    }
    Ok(())
}

cfg_if::cfg_if! {
    if #[cfg(feature = "direct")] {
        pub mod controls;
        mod convert;
        mod engine;
        mod revert;
        pub use convert::touch;
        pub use engine::{Progress, compat_share, held, run};

        #[cfg(test)]
        mod tests;
    }
}
