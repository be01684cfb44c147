//! Metrics: the contents of the canister, as numbers for controllers and as Prometheus text.

mod counts;
mod text;

use crate::api::{AdminStats, MigrationPhase, Result};
use crate::build_profile::BUILD;
use crate::stable::layout::Layout;
use crate::storage::Storage;

use text::write_metric;

/// Measurements of the running canister that `/metrics` shows in addition to what is in stable memory.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// Size of stable memory, bytes.
    pub stable_memory_bytes: u64,
    /// Size of the heap, bytes.
    pub heap_memory_bytes: u64,
    /// Cycle balance.
    pub cycle_balance: u128,
    /// Timer jobs, and how long ago each last ran or was set, seconds.
    pub jobs: Vec<(&'static str, u64)>,
    /// Seconds since the last message of the migration; absent if there was none since the installation or the last
    /// upgrade.
    pub migration_step_age: Option<u64>,
}

/// Counts everything that is stored. `stable_memory_bytes` is the size of stable memory.
///
/// # Errors
/// A damaged record.
pub fn stats(storage: &Storage, stable_memory_bytes: u64) -> Result<AdminStats> {
    let legacy_sessions = storage.sessions.legacy.len();
    Ok(AdminStats {
        sessions: legacy_sessions.saturating_add(storage.sessions.sessions.len()),
        legacy_sessions,
        blobs: storage.blobs.blob_total(),
        chunks: storage.blobs.chunk_total(),
        payload_bytes: storage.blobs.extents().taken_bytes()?,
        payload_region_bytes: storage.blobs.extents().end()?,
        releases_pending: storage.blobs.release_total(),
        capsules: storage.capsules.len(),
        memories: storage.capsules.memory_total(),
        receipts: storage.receipts.len(),
        bytes_in_use: storage.usage.total()?,
        bytes_promised: storage.promises.total(),
        stable_memory_bytes,
        counts: storage.counters.all(),
    })
}

/// Returns the statistics of [`stats`], the state of the migration and the readings in the Prometheus text format.
///
/// # Errors
/// A damaged record.
pub fn prometheus(storage: &Storage, readings: &Readings) -> Result<String> {
    let stats = stats(storage, readings.stable_memory_bytes)?;
    let layout = storage.layout.get()?.unwrap_or(Layout::LEGACY);
    let migration = storage.migration.status(layout)?;
    let gauges = [
        ("upload_sessions", "Sessions in flight", stats.sessions),
        ("upload_legacy_sessions", "Sessions in flight that are legacy records", stats.legacy_sessions),
        ("upload_blobs", "Committed blobs", stats.blobs),
        ("upload_chunks", "Chunks in the chunk map", stats.chunks),
        ("upload_payload_bytes", "Bytes allocated in the payload region", stats.payload_bytes),
        ("upload_payload_region_bytes", "Size of the payload region", stats.payload_region_bytes),
        (
            "upload_releases_pending",
            "Ended, deleted or moved objects with chunks to be removed",
            stats.releases_pending,
        ),
        ("upload_capsules", "Capsules", stats.capsules),
        ("upload_memories", "Memories", stats.memories),
        ("upload_downloads", "Tracked downloads", storage.downloads.len()),
        ("upload_receipts", "Receipts of ended sessions", stats.receipts),
        ("upload_bytes_in_use", "Bytes reserved or stored", stats.bytes_in_use),
        ("upload_bytes_promised", "Bytes reserved by sessions but not filled yet", stats.bytes_promised),
        ("upload_stable_memory_bytes", "Former name of stable_memory_bytes", stats.stable_memory_bytes),
        ("stable_memory_bytes", "Size of stable memory", stats.stable_memory_bytes),
        ("heap_memory_bytes", "Size of the heap", readings.heap_memory_bytes),
        ("upload_layout", "Stable layout", u64::from(layout.0)),
        ("migration_source", "Source records counted", migration.source),
        ("migration_converted", "Converted by the engine", migration.converted),
        ("migration_already", "Converted on touch", migration.already),
        ("migration_quarantined", "Records in quarantine", migration.quarantined),
        ("migration_expired", "Expired and released", migration.expired),
        ("migration_instructions", "Instructions used", migration.instructions),
        ("migration_attempts", "Attempts scheduled since the last commit", migration.attempts.into()),
        ("migration_journal_entries", "Entries of the journal", migration.journal_entries),
    ];
    let mut text = String::with_capacity(16 * 1024);
    text.push_str(&format!(
        "# HELP upload_build_info The running build\n# TYPE upload_build_info gauge\n\
         upload_build_info{{build=\"{BUILD}\",phase=\"{:?}\"}} 1\n",
        migration.phase
    ));
    for (name, help, value) in gauges {
        write_metric(&mut text, "gauge", name, help, [("", value)]);
    }
    // The only number that may exceed 64 bits.
    write_metric(&mut text, "gauge", "cycle_balance", "Cycle balance", [("", readings.cycle_balance)]);
    let jobs = readings.jobs.iter().map(|(job, age)| (format!("{{job=\"{job}\"}}"), *age));
    write_metric(&mut text, "gauge", "timer_job_age_seconds", "Seconds since a timer job last ran", jobs);
    let is_running = matches!(
        migration.phase,
        MigrationPhase::Validating
            | MigrationPhase::Converting
            | MigrationPhase::Verifying
            | MigrationPhase::RollingBack
    );
    let step = readings.migration_step_age.filter(|_| is_running);
    let step = step.map(|age| ("", age));
    write_metric(
        &mut text,
        "gauge",
        "migration_step_age_seconds",
        "Seconds since the last message of a running migration",
        step,
    );
    let errors = [("", storage.errors.total())];
    write_metric(
        &mut text,
        "counter",
        "upload_background_errors_total",
        "Background errors, listed by admin_errors",
        errors,
    );
    counts::write(&mut text, &stats.counts);
    Ok(text)
}
