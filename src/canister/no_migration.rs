//! Replaces `migration.rs` in the legacy build, under the same names. The legacy build's part in the migration: it
//! converts nothing, takes over after a rollback by the staged build, and can defer the migration before it starts.

use super::app::{App, now, report, with_app};
use crate::api::{DryRun, Result};
use crate::migrate;

pub fn start() {
    if let Err(error) = with_app(|App { storage, .. }| Ok(migrate::discard_progress(storage, now())?)) {
        report("migration", error);
    }
}

pub const fn run_next_message() {}

pub const fn watch() {}

pub const fn stepped_at() -> Option<u64> {
    None
}

pub fn dry_run(_: Option<u64>, _: Option<u32>) -> Result<DryRun> {
    Err(controls::no_migration())
}

pub mod controls {
    use crate::api::{Error, Result};
    use crate::session::Time;
    use crate::storage::Storage;

    pub use crate::migrate::{defer as pause, release as resume};

    pub(super) fn no_migration() -> Error {
        Error::conflict("migration", "Idle", "the legacy build has no migration; install the staged build")
    }

    pub fn rollback(_: &mut Storage, _: Time) -> Result<()> {
        Err(no_migration())
    }

    pub fn finalize(_: &mut Storage, _: Time, _: bool) -> Result<()> {
        Err(no_migration())
    }

    pub fn verify(_: &mut Storage, _: Time) -> Result<()> {
        Err(no_migration())
    }

    pub fn retry(_: &mut Storage, _: Time, _: Option<u64>) -> Result<()> {
        Err(no_migration())
    }

    pub const fn check_share(_: &Storage, _: u8) -> Result<()> {
        Ok(())
    }
}
