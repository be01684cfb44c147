//! Moves a committed blob chunk by chunk.

use sha2::{Digest, Sha256};

use super::class::Class;
use super::{Moved, copy_and_compare, free_extents_if_abandoned};
use crate::api::{Error, Result};
use crate::blob::{BlobId, BlobRecord, Extents, Place};
use crate::migrate::{Advance, Fate, QuarantineRecord, Work};
use crate::stable::Record;
use crate::storage::Storage;
use crate::upload::PayloadState;

/// Returns the digest by which the migration reconciles a blob: the SHA-256 of its id and of its record without the
/// location. The bytes of the blob are compared chunk by chunk.
pub fn digest(id: BlobId, blob: &BlobRecord) -> [u8; 32] {
    let without_place = BlobRecord { place: Place::Extents(Extents::default()), ..blob.clone() };
    Sha256::new().chain_update(id.0.to_be_bytes()).chain_update(without_place.encode()).finalize().into()
}

/// Copies chunks until none is left or the message's budget is used up. The progress is stored as a [`PayloadState`]:
/// the new extents, and the next chunk to copy.
///
/// # Errors
/// No room, or a chunk that reads back differently. The blob stays in the chunk map, and the new extents are freed.
pub fn convert(storage: &mut Storage, id: BlobId, blob: &BlobRecord, work: &mut Work<'_>) -> Result<Advance> {
    let mut progress = if work.progress.is_empty() {
        let extents = Some(storage.blobs.allocate(blob.size)?);
        PayloadState { extents, ..PayloadState::new(blob.digest.algorithm) }
    } else {
        PayloadState::decode(&work.progress)
            .map_err(|reason| Error::Internal(format!("{id}: progress of the move: {reason}")))?
    };
    let extents = progress.extents.clone().unwrap_or_default();
    let moved = copy_some(storage, id, blob, &extents, &mut progress, work);
    free_extents_if_abandoned(storage, &extents, &moved)?;
    let (class, fate) = match moved? {
        Moved::Partly => {
            work.progress = progress.encode();
            return Ok(Advance::More);
        }
        Moved::Wholly => (Class::Blob, Fate::Converted(digest(id, &storage.blobs.blob(id)?))),
        // The blob stays in place, and remains readable as far as its bytes are intact.
        Moved::Damaged(reason) => {
            let quarantined = QuarantineRecord::new(format!("{id}: {reason}"), digest(id, blob).to_vec());
            (Class::DamagedBlob, Fate::Quarantined(quarantined))
        }
    };
    Ok(Advance::Done { class: class.index(), fate })
}

/// Copies chunks, at least one per message. After the last one, points the blob to the extents.
fn copy_some(
    storage: &mut Storage,
    id: BlobId,
    blob: &BlobRecord,
    extents: &Extents,
    progress: &mut PayloadState,
    work: &Work<'_>,
) -> Result<Moved> {
    let first_chunk = progress.next_chunk;
    while progress.next_chunk < blob.chunk_count() {
        if progress.next_chunk > first_chunk && work.is_used_up() {
            return Ok(Moved::Partly);
        }
        let (at, len) = storage.blobs.chunk_range(id, blob, progress.next_chunk)?;
        let bytes = match storage.blobs.read_bytes(&blob.place, at, len) {
            Ok(bytes) => bytes,
            Err(damage) => return Ok(Moved::Damaged(damage.to_string())),
        };
        copy_and_compare(storage, at, &bytes, extents)?;
        progress.next_chunk = progress.next_chunk.saturating_add(1);
    }
    storage.blobs.relocate(id, extents.clone())?;
    Ok(Moved::Wholly)
}
