//! Creating, changing and removing memories, with the blobs that they refer to and the usage of these blobs.

use candid::Principal;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::api::{AssetMetadata, BlobRef, Error, ExternalAsset, Memory, Result, StorageBackend};
use crate::blob::{BlobError, BlobId};
use crate::capsule::{Access, CapsuleStore, Content, MemoryRecord, Request};
use crate::meter::Meter;
use crate::session::{SessionId, Time};
use crate::stable::codec;
use crate::stable::keys::TwoTexts;
use crate::storage::Storage;
use crate::upload::{IdemKey, check_metadata, check_text, id_of_new_memory, limits};

/// Maximum number of memories of deleted capsules that one call of [`sweep`] removes.
const MEMORIES_PER_SWEEP: usize = 20;

/// Content of a new memory as given by the call: exactly one of the three fields must be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewContent {
    /// Bytes to store in the record.
    pub inline: Option<ByteBuf>,
    /// A blob that is already in the capsule, by its locator, with the length and the digests that the client expects.
    pub blob: Option<BlobRef>,
    /// An asset that is stored elsewhere, its size in bytes, and its SHA-256 if known, as the client says: neither is
    /// verified.
    pub external: Option<(ExternalAsset, u64, Option<ByteBuf>)>,
}

/// Creates a memory without an upload, or finds the one that an earlier identical call created. Returns its id.
///
/// # Errors
/// [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::NotFound`] for a blob that is not in the capsule,
/// [`Error::Conflict`] if the key was used with other parameters or the blob has another digest,
/// [`Error::ResourceExhausted`], [`Error::Internal`] for a damaged record.
pub fn create(
    storage: &mut Storage,
    caller: Principal,
    now: Time,
    capsule_id: String,
    new: NewContent,
    asset_metadata: AssetMetadata,
    idem: &str,
) -> Result<String> {
    let capsule = storage.capsules.authorize(caller, Access::Write, &capsule_id)?;
    limits::check_idem(idem)?;
    check_metadata(&asset_metadata)?;
    let content = check_content(storage, &capsule_id, new)?;
    let declared = asset_metadata.base().bytes;
    if declared != content.size() {
        return Err(Error::invalid("asset_metadata.bytes", content.size().to_string(), declared));
    }
    check_claimed_sha256(&content, &asset_metadata)?;
    // The prefix `memory:` distinguishes the key from those of uploads, which may use the same text.
    let idem_key = IdemKey::of(&capsule_id, &caller, &format!("memory:{idem}"));
    let fingerprint: [u8; 32] = Sha256::new()
        .chain_update(codec::encode(1, &asset_metadata))
        .chain_update(codec::encode(1, &content))
        .finalize()
        .into();
    match storage.capsules.memory_created_with(idem_key.0)? {
        Some((id, found)) if found == fingerprint => return Ok(id),
        Some((id, _)) => {
            let detail = format!("memory {id} was created under this key with other parameters");
            return Err(Error::conflict("idem", idem, detail));
        }
        None => {}
    }
    storage.room.check_for_records()?;
    CapsuleStore::check_memory_limit(&capsule, storage.config()?.memories_per_capsule())?;
    check_inline_budget(&content, capsule.inline_bytes)?;
    // The first memory creates these structures, too, even without an upload: deleting the memory will need them.
    storage.created_with_first_upload.create(&storage.room)?;
    // The ids of memories contain numbers from the sequence of session ids, even if there was no session.
    let number = SessionId(storage.sessions.ids.issue()?);
    let memory_id = id_of_new_memory(number, idem_key, now);
    if let Content::Blob { id, .. } = content {
        storage.blobs.add_ref(BlobId(id), &memory_id, &capsule_id);
    }
    let request = Some(Request { idem_key: idem_key.0, fingerprint });
    let record = MemoryRecord {
        capsule_id,
        asset_metadata,
        content,
        created_at: now.as_nanos(),
        created_by: caller,
        request,
    };
    storage.capsules.attach(caller, &memory_id, &record)?;
    Ok(memory_id)
}

/// Returns an error if the SHA-256 of the content is known and differs from the one that the metadata claims. If one of
/// the two is absent, returns `Ok(())`.
fn check_claimed_sha256(content: &Content, asset_metadata: &AssetMetadata) -> Result<()> {
    let Some(claimed) = &asset_metadata.base().sha256 else { return Ok(()) };
    match content.sha256() {
        Some(known) if known != *claimed => {
            Err(Error::invalid("asset_metadata.sha256", hex::encode(known), hex::encode(claimed)))
        }
        _ => Ok(()),
    }
}

/// Returns `Ok(())` if the capsule, which already has `inline_bytes`, may also store the inline bytes of `content`, or
/// if `content` is not inline.
fn check_inline_budget(content: &Content, inline_bytes: u64) -> Result<()> {
    let Content::Inline(bytes) = content else { return Ok(()) };
    let budget = u64::from(limits::upload_config().inline_budget_per_capsule);
    let requested = inline_bytes.saturating_add(bytes.len() as u64);
    if requested > budget {
        return Err(Error::exhausted("inline bytes per capsule", budget, requested));
    }
    Ok(())
}

/// Checks the content of a new memory, and converts it to the content of a record.
fn check_content(storage: &Storage, capsule_id: &str, new: NewContent) -> Result<Content> {
    let config = limits::upload_config();
    match new {
        NewContent { inline: Some(bytes), blob: None, external: None } => {
            let len = bytes.len() as u64;
            if len > u64::from(config.inline_max) {
                let expected = format!("at most {} bytes", config.inline_max);
                return Err(Error::invalid("inline", expected, format!("{len} bytes")));
            }
            Ok(Content::Inline(bytes.into_vec()))
        }
        NewContent { inline: None, blob: Some(blob), external: None } => {
            let missing = || Error::not_found("blob", &blob.locator);
            let id = BlobId::from_locator(&blob.locator).ok_or_else(missing)?;
            match storage.blobs.capsule_of(id) {
                Ok(owner) if owner == capsule_id => {}
                Ok(_) | Err(BlobError::NotFound(_)) => return Err(missing()),
                Err(damage) => return Err(damage.into()),
            }
            let stored = storage.blobs.blob(id)?;
            if blob.len != stored.size {
                return Err(Error::invalid("blob_ref.len", stored.size.to_string(), blob.len));
            }
            // A blob's record has a single digest, by the hash function that verified its upload. A digest by the other
            // function cannot be checked, so it counts as different.
            let differs = |claimed: Option<ByteBuf>, known: Option<ByteBuf>| {
                claimed.is_some_and(|claimed| known.is_none_or(|known| known != claimed))
            };
            if differs(blob.hash, stored.digest.as_sha256()) {
                return Err(Error::conflict(
                    "blob",
                    id,
                    "its SHA-256 is not the given one, or was never computed; memories_read returns its digest",
                ));
            }
            if differs(blob.blake3, stored.digest.as_blake3()) {
                return Err(Error::conflict(
                    "blob",
                    id,
                    "its BLAKE3 is not the given one, or was never computed; memories_read returns its digest",
                ));
            }
            Ok(Content::blob(id, &stored))
        }
        NewContent { inline: None, blob: None, external: Some((asset, size, checksum)) } => {
            let ExternalAsset { backend, storage_key, url } = asset;
            if backend == StorageBackend::Icp {
                return Err(Error::invalid("backend", "a store other than this one", "Icp"));
            }
            if let Some(checksum) = checksum.as_ref().filter(|checksum| checksum.len() != 32) {
                return Err(Error::invalid("sha256", "32 bytes", format!("{} bytes", checksum.len())));
            }
            for (field, text) in [("storage_key", &storage_key), ("url", &url)] {
                check_text(field, text.as_deref(), limits::MAX_EXTERNAL_TEXT_BYTES)?;
            }
            Ok(Content::External { backend, storage_key, url, size, checksum })
        }
        _ => Err(Error::invalid(
            "content",
            "one of inline bytes, a blob, an external asset",
            "none or several",
        )),
    }
}

/// Replaces the metadata of a memory, and returns the memory. Its bytes stay the same, so the new metadata must declare
/// the same size.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::ResourceExhausted`],
/// [`Error::Internal`] for a damaged record.
pub fn update(
    storage: &mut Storage,
    caller: Principal,
    memory_id: &str,
    asset_metadata: AssetMetadata,
) -> Result<Memory> {
    let mut record = storage.capsules.memory_record(caller, Access::Write, memory_id)?;
    check_metadata(&asset_metadata)?;
    let declared = asset_metadata.base().bytes;
    let size = record.content.size();
    if declared != size {
        return Err(Error::invalid("asset_metadata.bytes", size.to_string(), declared));
    }
    check_claimed_sha256(&record.content, &asset_metadata)?;
    storage.room.check_for_records()?;
    record.asset_metadata = asset_metadata;
    storage.capsules.replace_memory(memory_id, &record);
    Ok(record.to_api(memory_id))
}

/// Removes a memory; also its blob, if this was the last memory that refers to the blob.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::Internal`] for a damaged record.
pub fn delete(storage: &mut Storage, caller: Principal, memory_id: &str) -> Result<()> {
    let record = storage.capsules.memory_record(caller, Access::Write, memory_id)?;
    remove(storage, memory_id, record)
}

/// Removes a blob together with the memory that refers to it, which must be the only one. The caller needs write access
/// to the capsule of that memory.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::Conflict`] for a shared blob, [`Error::Internal`] for a
/// damaged record.
pub fn delete_blob(storage: &mut Storage, caller: Principal, id: BlobId) -> Result<()> {
    let mut refs = storage.blobs.refs(id);
    let (memory_id, _) = refs.next().ok_or_else(|| Error::not_found("blob", id))??;
    let record = storage.capsules.memory_record(caller, Access::Write, &memory_id)?;
    if let Some(another) = refs.next() {
        let (another, _) = another?;
        let detail = format!("memories {memory_id}, {another} and maybe more share it: delete those");
        return Err(Error::conflict("blob", id, detail));
    }
    drop(refs);
    remove(storage, &memory_id, record)
}

/// Removes up to `MEMORIES_PER_SWEEP` memories of deleted capsules, fewer if `meter` exceeds `SWEEP_INSTRUCTIONS`.
/// Returns `true` if there was none to remove, and `false` if another call is needed.
///
/// # Errors
/// A damaged record of a memory, its blob or an account: the memory is skipped until the next upgrade, and the next
/// call continues after it.
pub fn sweep(storage: &mut Storage, meter: &dyn Meter) -> Result<bool> {
    let to_remove = storage.capsules.memories_to_remove(MEMORIES_PER_SWEEP);
    // Only an empty batch means the end: a short one may be the end of one capsule, while other capsules follow.
    let none_left = to_remove.is_empty();
    for capsule_and_memory in to_remove {
        let TwoTexts(_, memory_id) = &capsule_and_memory;
        let removed = match storage.capsules.memory_record_unchecked(memory_id) {
            Ok(record) => remove(storage, memory_id, record),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = removed {
            storage.capsules.skip_memory(capsule_and_memory);
            return Err(error);
        }
        if meter.used() > limits::SWEEP_INSTRUCTIONS {
            break;
        }
    }
    Ok(none_left)
}

/// Removes a memory, given its record, without checking access. See [`delete`].
fn remove(storage: &mut Storage, memory_id: &str, record: MemoryRecord) -> Result<()> {
    let Content::Blob { id, .. } = record.content else {
        return Ok(storage.capsules.detach(memory_id, &record)?);
    };
    // Both are read before the memory is detached, so that the memory is kept if an account or the blob's record is
    // damaged. If it were detached first, the bytes would stay on the accounts, or nothing would refer to the blob.
    let accounts = storage.usage.stored_accounts(&record.capsule_id)?;
    let freed = storage.blobs.unref(BlobId(id), memory_id, &record.capsule_id)?;
    storage.capsules.detach(memory_id, &record)?;
    // If other memories refer to the blob, it stays and `freed` is 0.
    if freed > 0 {
        storage.usage.subtract_freed(&accounts, freed);
    }
    Ok(())
}

#[cfg(all(test, feature = "direct"))]
mod tests;
