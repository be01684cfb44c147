//! What the canister holds, as numbers for a controller and as Prometheus text.

mod counts;

use crate::api::{AdminStats, Result};
use crate::build_profile::BUILD;
use crate::stable::layout::Layout;
use crate::storage::Storage;

/// Counts everything that is kept. `stable_memory_bytes` is the size of stable memory.
///
/// # Errors
/// A damaged account.
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

/// The same in the Prometheus text format, with the state of the migration.
///
/// # Errors
/// A damaged record.
pub fn prometheus(storage: &Storage, stable_memory_bytes: u64) -> Result<String> {
    let stats = stats(storage, stable_memory_bytes)?;
    let layout = storage.layout.get()?.unwrap_or(Layout::LEGACY);
    let migration = storage.migration.status(layout)?;
    let gauges = [
        ("upload_sessions", "Sessions in flight", stats.sessions),
        ("upload_legacy_sessions", "Sessions in flight that are legacy records", stats.legacy_sessions),
        ("upload_blobs", "Committed blobs", stats.blobs),
        ("upload_chunks", "Chunks in the chunk map", stats.chunks),
        ("upload_payload_bytes", "Bytes taken in the payload region", stats.payload_bytes),
        ("upload_payload_region_bytes", "Size of the payload region", stats.payload_region_bytes),
        ("upload_releases_pending", "Ended sessions with chunks to be removed", stats.releases_pending),
        ("upload_capsules", "Capsules", stats.capsules),
        ("upload_memories", "Memories", stats.memories),
        ("upload_receipts", "Receipts of ended sessions", stats.receipts),
        ("upload_bytes_in_use", "Bytes reserved or stored", stats.bytes_in_use),
        ("upload_bytes_promised", "Bytes reserved by sessions and not filled yet", stats.bytes_promised),
        ("upload_stable_memory_bytes", "Size of stable memory", stats.stable_memory_bytes),
        ("upload_layout", "Stable layout", u64::from(layout.0)),
        ("migration_source", "Legacy records there were", migration.source),
        ("migration_converted", "Converted by the engine", migration.converted),
        ("migration_already", "Converted when touched", migration.already),
        ("migration_quarantined", "Kept aside", migration.quarantined),
        ("migration_expired", "Expired and released", migration.expired),
        ("migration_instructions", "Instructions used", migration.instructions),
    ];
    let mut text = format!(
        "# HELP upload_build_info The running build\n# TYPE upload_build_info gauge\n\
         upload_build_info{{build=\"{BUILD}\",phase=\"{:?}\"}} 1\n",
        migration.phase
    );
    for (name, help, value) in gauges {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
    }
    counts::write(&mut text, &stats.counts);
    Ok(text)
}
