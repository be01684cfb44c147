//! Changing and removing memories, with the blobs that they refer to and the bytes that those take.

use candid::Principal;

use crate::api::{AssetMetadata, Error, Memory, Result};
use crate::blob::BlobId;
use crate::capsule::Access;
use crate::storage::Storage;
use crate::upload::limits;

/// Memories of deleted capsules removed in one turn of the timer.
const SWEEP_BATCH: usize = 20;

/// Replaces the metadata of a memory. Its bytes stay what they are, and so must their declared size.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::InvalidArgument`].
pub fn update(
    storage: &mut Storage,
    caller: Principal,
    memory_id: &str,
    asset_metadata: AssetMetadata,
) -> Result<Memory> {
    let mut record = storage.capsules.memory_record(caller, Access::Write, memory_id)?;
    limits::check_metadata(&asset_metadata)?;
    let bytes = asset_metadata.base().bytes;
    if bytes != record.size {
        return Err(Error::invalid("asset_metadata.bytes", record.size.to_string(), bytes));
    }
    record.asset_metadata = asset_metadata;
    storage.capsules.replace_memory(memory_id, &record);
    Ok(record.to_api(memory_id))
}

/// Removes a memory, and its blob if no other memory refers to that.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Unauthorized`].
pub fn delete(storage: &mut Storage, caller: Principal, memory_id: &str) -> Result<()> {
    storage.capsules.memory_record(caller, Access::Write, memory_id)?;
    remove(storage, memory_id)
}

/// Removes some memories of deleted capsules. True when none is left.
///
/// # Errors
/// A damaged record.
pub fn sweep(storage: &mut Storage) -> Result<bool> {
    let condemned = storage.capsules.condemned_memories(SWEEP_BATCH);
    for memory_id in &condemned {
        remove(storage, memory_id)?;
    }
    Ok(condemned.len() < SWEEP_BATCH)
}

fn remove(storage: &mut Storage, memory_id: &str) -> Result<()> {
    let record = storage.capsules.detach(memory_id)?;
    let freed = storage.blobs.unref(BlobId(record.blob_id), memory_id, &record.capsule_id)?;
    Ok(storage.usage.free(&record.capsule_id, freed)?)
}
