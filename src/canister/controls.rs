//! The entry points of the migration.

use macro_rules_attribute::apply;

use super::entry::{query, update, write_heads};
use super::{App, controllers_only, migration, now, with_app};
use crate::api::*;
use crate::session::Time;
use crate::stable::layout::Layout;
use crate::storage::Storage;

/// Phase and counts of the migration.
#[apply(query)]
fn migration_status() -> Result<MigrationStatus> {
    with_app(|App { storage, .. }| {
        let layout = storage.layout.get()?.unwrap_or(Layout::LEGACY);
        Ok(storage.migration.status(layout)?)
    })
}

/// Entries of the journal of the migration, from number `from` on.
#[apply(query)]
fn migration_journal(from: Option<u64>) -> Result<Vec<JournalEntry>> {
    with_app(|App { storage, .. }| Ok(storage.migration.journal(from.unwrap_or(0))?))
}

/// Records that the migrations have kept aside, after the session or blob `after`. For controllers.
#[apply(query)]
fn migration_quarantine(after: Option<u64>) -> Result<Vec<QuarantinedRecord>> {
    controllers_only()?;
    with_app(|App { storage, .. }| Ok(storage.migration.quarantined(after)))
}

/// What the migration would do to the records after the session `after`, and the price; changes nothing. For controllers.
#[apply(query)]
fn migration_dry_run(after: Option<u64>, limit: Option<u32>) -> Result<DryRun> {
    controllers_only()?;
    migration::dry_run(after, limit)
}

/// Runs a control of the migration, then the engine, and says where that leads.
fn control(control: impl FnOnce(&mut Storage, Time) -> Result<()>) -> Result<MigrationStatus> {
    controllers_only()?;
    with_app(|App { storage, .. }| control(storage, now()))?;
    migration::go_on();
    migration_status()
}

/// Stops the migration after the record in hand; on the legacy build, holds it back before it begins. For controllers.
#[apply(update)]
fn migration_pause() -> Result<MigrationStatus> {
    control(migration::controls::pause)
}

/// Lets a paused or stuck migration go on. For controllers.
#[apply(update)]
fn migration_resume() -> Result<MigrationStatus> {
    control(migration::controls::resume)
}

/// Turns everything back into the old layout. For controllers, until it is finalized.
#[apply(update)]
fn migration_rollback() -> Result<MigrationStatus> {
    control(migration::controls::rollback)
}

/// Looks at every record in the new form again, and compares the digests. For controllers.
#[apply(update)]
fn migration_verify() -> Result<MigrationStatus> {
    control(migration::controls::verify)
}

/// Tries one record in quarantine again, or all of them. For controllers.
#[apply(update)]
fn migration_retry(session: Option<u64>) -> Result<MigrationStatus> {
    control(|storage, now| migration::controls::retry(storage, now, session))
}

/// Ends the migration; there is no way back. With `opt true`, records in quarantine are left there for good. For controllers.
#[apply(update)]
fn migration_finalize(leave_quarantined: Option<bool>) -> Result<MigrationStatus> {
    control(|storage, now| migration::controls::finalize(storage, now, leave_quarantined == Some(true)))
}

/// Writes what the messages of all these functions begin with.
pub fn write_heads() -> std::result::Result<(), candid::Error> {
    write_heads!(
        migration_status,
        migration_journal,
        migration_quarantine,
        migration_dry_run,
        migration_pause,
        migration_resume,
        migration_rollback,
        migration_verify,
        migration_retry,
        migration_finalize
    )
}
