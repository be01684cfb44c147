//! The entry points of the migration. What they do is in `src/migrate/controls.rs`.

use macro_rules_attribute::apply;

use super::app::{App, controllers_only, now, with_app};
use super::entry::{cache_candid_headers, query, update};
use super::migration;
use crate::api::*;
use crate::session::Time;
use crate::stable::layout::Layout;
use crate::storage::Storage;

/// Returns the phase and counts of the migration.
#[apply(query)]
fn migration_status() -> Result<MigrationStatus> {
    with_app(|App { storage, .. }| {
        let layout = storage.layout.get()?.unwrap_or(Layout::LEGACY);
        Ok(storage.migration.status(layout)?)
    })
}

/// Returns entries of the journal of the migrations, starting at number `from`.
#[apply(query)]
fn migration_journal(from: Option<u64>) -> Result<Vec<JournalEntry>> {
    with_app(|App { storage, .. }| Ok(storage.migration.journal(from.unwrap_or(0))?))
}

/// Returns quarantined records of the migrations, after the session or blob `after`. For controllers.
#[apply(query)]
fn migration_quarantine(after: Option<u64>) -> Result<Vec<QuarantinedRecord>> {
    controllers_only()?;
    with_app(|App { storage, .. }| Ok(storage.migration.quarantined(after)))
}

/// Returns what the migration would do to the records after the session or blob `after`, and the estimated
/// cost; changes nothing. For controllers.
#[apply(query)]
fn migration_dry_run(after: Option<u64>, limit: Option<u32>) -> Result<DryRun> {
    controllers_only()?;
    migration::dry_run(after, limit)
}

/// Runs a control of the migration, schedules a message of the engine, and returns the status before that message.
fn run_control(control: impl FnOnce(&mut Storage, Time) -> Result<()>) -> Result<MigrationStatus> {
    controllers_only()?;
    with_app(|App { storage, .. }| control(storage, now()))?;
    migration::run_next_message();
    migration_status()
}

/// Pauses the migration after the current record; on the legacy build, defers it before it starts. For controllers.
#[apply(update)]
fn migration_pause() -> Result<MigrationStatus> {
    run_control(migration::controls::pause)
}

/// Resumes a paused or stuck migration. For controllers.
#[apply(update)]
fn migration_resume() -> Result<MigrationStatus> {
    run_control(migration::controls::resume)
}

/// Rolls everything back to the old layout. For controllers, until the migration is finalized.
#[apply(update)]
fn migration_rollback() -> Result<MigrationStatus> {
    run_control(migration::controls::rollback)
}

/// Checks every converted record again, and compares the digests. For controllers.
#[apply(update)]
fn migration_verify() -> Result<MigrationStatus> {
    run_control(migration::controls::verify)
}

/// Retries one quarantined record, or all of them. For controllers.
#[apply(update)]
fn migration_retry(session: Option<u64>) -> Result<MigrationStatus> {
    run_control(|storage, now| migration::controls::retry(storage, now, session))
}

/// Ends the migration; afterwards no rollback is possible. With `opt true`, quarantined records stay in
/// quarantine permanently. For controllers.
#[apply(update)]
fn migration_finalize(leave_quarantined: Option<bool>) -> Result<MigrationStatus> {
    run_control(|storage, now| migration::controls::finalize(storage, now, leave_quarantined == Some(true)))
}

pub fn cache_candid_headers() -> std::result::Result<(), candid::Error> {
    cache_candid_headers!(
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
