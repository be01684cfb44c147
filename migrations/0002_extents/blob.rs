//! Moves a committed blob chunk by chunk, hashing each as it is read back from its new place: the final
//! digest must be the committed one.

use sha2::{Digest, Sha256};

use super::class::Class;
use super::{Moved, unless_given_up};
use crate::api::{Error, Result};
use crate::blob::{BlobId, BlobRecord, CHUNK_SIZE, Extents, Place};
use crate::migrate::{Advance, Fate, QuarantineRecord, Work};
use crate::session::{ChunkSet, Session, SessionError, SessionMeta, SessionStatus, Time};
use crate::stable::Record;
use crate::storage::Storage;
use crate::upload::{PayloadState, absorb_stored, content_digest};

/// Returns the SHA-256 of what must survive of a blob: its record without the place. The digest in it stands
/// for its bytes.
pub fn weigh(id: BlobId, blob: &BlobRecord) -> [u8; 32] {
    let anywhere = BlobRecord { place: Place::Extents(Extents::default()), ..blob.clone() };
    Sha256::new().chain_update(id.0.to_be_bytes()).chain_update(anywhere.encode()).finalize().into()
}

/// Copies chunks until none is left or the message is full.
///
/// # Errors
/// A damaged record, or no room. The blob is as it was, and occupies no extents.
pub fn convert(storage: &mut Storage, id: BlobId, blob: &BlobRecord, work: &mut Work<'_>) -> Result<Advance> {
    let mut progress = if work.progress.is_empty() {
        let extents = Some(storage.blobs.allocate(blob.size)?);
        PayloadState { extents, ..PayloadState::new(blob.digest.algorithm) }
    } else {
        PayloadState::decode(&work.progress).map_err(Error::Internal)?
    };
    let extents = progress.extents.clone().unwrap_or_default();
    let moved = move_some(storage, id, blob, &extents, &mut progress, work);
    let (class, fate) = match unless_given_up(storage, &extents, moved)? {
        Moved::Partly => {
            work.progress = progress.encode();
            return Ok(Advance::More);
        }
        Moved::Wholly => (Class::Blob, Fate::Converted(weigh(id, &storage.blobs.blob(id)?))),
        // It stays in place, and readable as far as it goes.
        Moved::Damaged(reason) => {
            let kept = QuarantineRecord::new(format!("{id}: {reason}"), weigh(id, blob).to_vec());
            (Class::DamagedBlob, Fate::Quarantined(kept))
        }
    };
    Ok(Advance::Done { class: class.index(), fate })
}

/// Copies and hashes chunks, at least one in each message. After the last one the blob has its bytes in the
/// extents.
fn move_some(
    storage: &mut Storage,
    id: BlobId,
    blob: &BlobRecord,
    extents: &Extents,
    progress: &mut PayloadState,
    work: &Work<'_>,
) -> Result<Moved> {
    let (chunks, place) = (as_session(blob), Place::Extents(extents.clone()));
    let begun_with = progress.next_chunk;
    while progress.next_chunk < chunks.chunk_count() {
        if progress.next_chunk > begun_with && work.is_used_up() {
            return Ok(Moved::Partly);
        }
        let at = chunks.offset(progress.next_chunk);
        let len = chunks.chunk_len(progress.next_chunk).unwrap_or(0);
        let mut bytes = Vec::new();
        let read = storage.blobs.read(&blob.place, at, len, &mut |block| bytes.extend_from_slice(block));
        if let Err(damage) = read {
            return Ok(Moved::Damaged(damage.to_string()));
        }
        storage.blobs.extents_mut().write_at(extents, at, &bytes).map_err(SessionError::from)?;
        absorb_stored(&mut storage.blobs, progress, &place, &chunks)?;
    }
    if content_digest(&storage.blobs, progress, &place, &chunks)? != blob.digest.bytes {
        return Ok(Moved::Damaged("its bytes have another digest".into()));
    }
    storage.blobs.relocate(id, extents.clone())?;
    Ok(Moved::Wholly)
}

/// Represents a blob as a session of which every chunk is there, for hashing.
fn as_session(blob: &BlobRecord) -> Session {
    let chunks = blob.chunk_count();
    Session {
        owner: Vec::new(),
        chunk_size: CHUNK_SIZE,
        bytes_expected: blob.size,
        bytes_received: blob.size,
        received_idxs: (0..chunks).collect::<ChunkSet>(),
        session_meta: SessionMeta {
            idem: String::new(),
            last_seen: Time::default(),
            status: SessionStatus::Pending,
        },
    }
}
