//! Options of a rehearsal.

use std::path::PathBuf;

use super::Wasms;

/// Options of [`run`](super::run).
#[derive(Clone, Debug)]
pub struct Options {
    /// The snapshot to rehearse on; absent: a fresh canister.
    pub snapshot: Option<PathBuf>,
    /// The files that every client uploads; empty: a generated set of an original and three derivatives.
    pub files: Vec<PathBuf>,
    /// How many clients upload at the same time.
    pub clients: u32,
    /// Seed for the generated contents and every choice of the clients.
    pub seed: u64,
    /// Whether to roll back once on the staged build, return to the legacy build, and begin the migration
    /// again.
    pub rollback: bool,
    /// Wasms to use instead of those built from the tree.
    pub wasms: Wasms,
    /// Where to write the trace of the clients' calls.
    pub record: Option<PathBuf>,
}
