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

cfg_if::cfg_if! {
    if #[cfg(feature = "direct")] {
        mod convert;
        mod engine;
        pub use convert::touch;
        pub use engine::{Progress, run};

        #[cfg(test)]
        mod tests;
    }
}
