//! Moves a session in flight chunk by chunk. Its client can continue in the meantime: a later message copies the chunks
//! that arrive in between, and the session switches to the extents when no chunk is left to copy.

use sha2::{Digest, Sha256};

use super::class::Class;
use super::{Moved, copy_and_compare, free_extents_if_abandoned};
use crate::api::{Error, Result};
use crate::blob::{ChunkPrefix, Extents, Place};
use crate::migrate::{Advance, Fate, QuarantineRecord, Work};
use crate::session::{ChunkSet, Session, SessionId};
use crate::stable::{Record, codec};
use crate::storage::Storage;
use crate::upload::{UploadMeta, is_payload_of_blob, mapped_sessions};

#[derive(minicbor::Encode, minicbor::Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct SessionProgress {
    /// The extents to which the chunks are copied; the session does not use them yet.
    #[n(0)]
    pub extents: Extents,
    /// Chunks that have been copied, as inclusive ranges.
    #[n(1)]
    copied: Vec<(u32, u32)>,
    /// [`PayloadState::replaced`](crate::upload::PayloadState::replaced) when copying (re)started; if it has changed
    /// since, a copied chunk may be stale.
    #[n(2)]
    replaced: Option<u64>,
}

/// Version of the stored progress. The engine stores it in the same field as the progress of a blob, which is an
/// encoded `PayloadState`. [`extents_of`](super::extents_of) distinguishes the two by the version, so this must be none
/// of the versions of `PayloadState` (1 and 2).
const VERSION: u8 = 3;

codec::cbor_record!(SessionProgress, "session being moved into extents", version VERSION);

/// Returns the SHA-256 of the part of a session that must survive: its id and both its records. The bytes of the
/// session are compared chunk by chunk.
pub fn digest(storage: &Storage, id: SessionId) -> Result<[u8; 32]> {
    let (session, meta) = read_records(storage, id)?;
    Ok(Sha256::new()
        .chain_update(id.0.to_be_bytes())
        // A sum of these digests is stored between messages, and another build may continue it. So the `Debug` output
        // of `Session`, field names included, must not change while a canister may be in the middle of this migration.
        .chain_update(format!("{session:?}"))
        .chain_update(meta.encode())
        .finalize()
        .into())
}

/// Returns how many bytes of a session have arrived.
pub fn bytes_received(storage: &Storage, id: SessionId) -> Result<u64> {
    Ok(read_records(storage, id)?.0.bytes_received)
}

/// Copies chunks until none is left or the message's budget is used up.
///
/// # Errors
/// - No room, a chunk that reads back differently, or malformed stored ranges of copied chunks: the session is
///   unchanged, and its extents are freed.
/// - An error of `mapped_sessions::shrink_range`: the session has already switched to the extents.
/// - A damaged record of the session: nothing is changed, and the extents are not lost. The engine calls [`digest`]
///   first, which returns the same error, so the progress with the extents stays in the engine's state.
pub fn convert(storage: &mut Storage, id: SessionId, work: &mut Work<'_>) -> Result<Advance> {
    let (session, meta) = read_records(storage, id)?;
    let replaced = storage.payload_of(id)?.replaced;
    let mut progress = if work.progress.is_empty() {
        SessionProgress {
            extents: storage.blobs.allocate(session.bytes_expected)?,
            copied: Vec::new(),
            replaced,
        }
    } else {
        SessionProgress::decode(&work.progress)
            .map_err(|reason| Error::Internal(format!("session {id}: progress of the move: {reason}")))?
    };
    if progress.replaced != replaced {
        // Any of the copied chunks may have been replaced since.
        progress = SessionProgress { copied: Vec::new(), replaced, ..progress };
    }
    let prefix = ChunkPrefix::of(&meta.provisional_memory_id, id);
    let moved = copy_some(storage, id, prefix, &session, &meta, &mut progress, work);
    free_extents_if_abandoned(storage, &progress.extents, &moved)?;
    let (class, fate) = match moved? {
        Moved::Partly => {
            work.progress = progress.encode();
            return Ok(Advance::More);
        }
        Moved::Wholly => {
            switch_to_extents(storage, id, progress.extents)?;
            (Class::Session, Fate::Converted(digest(storage, id)?))
        }
        // The session stays in place, and its client can continue as far as the stored chunks allow.
        Moved::Damaged(reason) => {
            let quarantined =
                QuarantineRecord::new(format!("session {id}: {reason}"), digest(storage, id)?.to_vec());
            (Class::DamagedSession, Fate::Quarantined(quarantined))
        }
    };
    Ok(Advance::Done { class: class.index(), fate })
}

fn switch_to_extents(storage: &mut Storage, id: SessionId, extents: Extents) -> Result<()> {
    let mut payload = storage.payload_of(id)?;
    payload.extents = Some(extents);
    storage.payloads.insert(id.0, &payload);
    // The range of sessions to move may now begin after this one.
    Ok(mapped_sessions::shrink_range(storage)?)
}

/// Copies chunks that have arrived, at least one per message. After the last one, the chunk map releases the copied
/// chunks, unless they belong to a blob, too.
fn copy_some(
    storage: &mut Storage,
    id: SessionId,
    prefix: ChunkPrefix,
    session: &Session,
    meta: &UploadMeta,
    progress: &mut SessionProgress,
    work: &Work<'_>,
) -> Result<Moved> {
    let malformed = || Error::Internal(format!("session {id}: the ranges of copied chunks are malformed"));
    let mut copied = ChunkSet::from_ranges(&progress.copied).ok_or_else(malformed)?;
    let copied_before = copied.len();
    for idx in session.received_idxs.ranges().flat_map(|(first, last)| first..=last) {
        if copied.contains(idx) {
            continue;
        }
        if copied.len() > copied_before && work.is_used_up() {
            progress.copied = copied.ranges().collect();
            return Ok(Moved::Partly);
        }
        let Some(bytes) = storage.blobs.chunk(prefix, idx) else {
            return Ok(Moved::Damaged(format!("chunk {idx} is recorded but not stored")));
        };
        let (stored, expected) = (bytes.len() as u64, session.chunk_len(idx).unwrap_or(0));
        if stored != expected {
            let reason = format!("chunk {idx} has {stored} bytes instead of {expected}");
            return Ok(Moved::Damaged(reason));
        }
        copy_and_compare(storage, session.offset(idx), &bytes, &progress.extents)?;
        copied.insert(idx);
    }
    // The first public release kept the sessions of committed uploads. The blob of such a session has the same chunks,
    // is moved separately, and still needs them.
    if !is_payload_of_blob(storage, session, meta, &Place::Chunks(prefix)) {
        storage.blobs.release_copied(prefix);
    }
    Ok(Moved::Wholly)
}

fn read_records(storage: &Storage, id: SessionId) -> Result<(Session, UploadMeta)> {
    let gone = || Error::not_found("session", id);
    let session = storage.sessions.sessions.get(&id.0)?.ok_or_else(gone)?;
    let session = session.into_session().map_err(Error::Internal)?;
    let meta = storage.sessions.metas.get(&id.0)?.ok_or_else(gone)?;
    Ok((session, meta))
}
