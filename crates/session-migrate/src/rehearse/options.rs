//! Options of a rehearsal.

use std::path::PathBuf;

use super::Wasms;

/// Options of [`run`](super::run).
#[derive(Clone, Debug)]
pub struct Options {
    /// The snapshot to rehearse on; if absent, a new canister.
    pub snapshot: Option<PathBuf>,
    /// The files that every client uploads; if empty, an original and three derivatives are generated for each client.
    pub files: Vec<PathBuf>,
    /// How many clients upload at the same time.
    pub clients: u32,
    /// Seed of the generated files and of every random choice.
    pub seed: u64,
    /// Whether to roll back the first migration once, return to the legacy build, and migrate again. On a snapshot,
    /// this is always done.
    pub rollback: bool,
    /// Wasms to use instead of those built from the tree.
    pub wasms: Wasms,
    /// Where to write the trace of the clients' calls; if absent, they are not recorded.
    pub record: Option<PathBuf>,
}
