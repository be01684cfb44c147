//! Options of a rehearsal of another canister.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

/// Options of [`check`](super::check).
#[derive(Clone, Debug)]
pub struct ForeignOptions {
    /// The wasm that is installed first.
    pub old: PathBuf,
    /// The wasm to upgrade to.
    pub new: PathBuf,
    /// The file of calls.
    pub calls: PathBuf,
    /// Arguments of the installation of the old wasm, and of the upgrade back to it, Candid text.
    pub init_args: String,
    /// Arguments of every upgrade to the new wasm, Candid text.
    pub upgrade_args: String,
    /// Methods whose answers may differ between the old and the new wasm.
    pub may_differ: BTreeSet<String>,
    /// How to interrupt the migration.
    pub interruptions: BTreeSet<MigrationInterruption>,
    /// Whether to roll back once, continue on the old wasm, and migrate again.
    pub rollback: bool,
    /// Maximum number of units in quarantine after a conversion; more are a problem.
    pub max_quarantined: u64,
}

/// How a migration is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MigrationInterruption {
    /// By another upgrade to the new wasm.
    Upgrade,
    /// By traps of the migration's messages at several instruction limits.
    Trap,
}

impl FromStr for MigrationInterruption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "upgrade" => Ok(MigrationInterruption::Upgrade),
            "trap" => Ok(MigrationInterruption::Trap),
            _ => Err(format!("expected upgrade or trap, got `{text}`")),
        }
    }
}
