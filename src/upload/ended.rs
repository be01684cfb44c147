//! What a session leaves outside of its own records, and how all of it goes when the session ends unfinished.

use candid::Principal;

use crate::blob::Place;
use crate::session::{Session, SessionId, SessionStatus};
use crate::stable::StableError;
use crate::storage::Storage;

use super::{IdemKey, UploadMeta};

/// Takes a session that came to nothing out of the indexes, frees its key, its mid-state and the bytes that
/// it reserved. Its record and its chunks are the caller's to remove.
///
/// # Errors
/// A damaged index entry or account.
pub fn forget_session(
    storage: &mut Storage,
    id: SessionId,
    owner: Principal,
    session: &Session,
    capsule_id: &str,
) -> Result<(), StableError> {
    // A legacy record without indexes has no accounts either.
    if storage.index.contains(id, owner) {
        storage.usage.end(owner, session.bytes_expected)?;
        storage.usage.free(capsule_id, session.bytes_expected)?;
    }
    storage.index.end(id, owner, session.session_meta.last_seen);
    storage.index.forget_key(IdemKey::of(capsule_id, &owner, &session.session_meta.idem), id)?;
    storage.payloads.remove(&id.0);
    Ok(())
}

/// Gives back the bytes of a session that came to nothing. The first public release left the records of committed
/// uploads where they were: the bytes of those are their blob's.
///
/// # Errors
/// A damaged record of a blob, or a damaged table.
pub fn give_bytes_back(
    storage: &mut Storage,
    session: &Session,
    meta: &UploadMeta,
    place: &Place,
) -> Result<(), StableError> {
    let says_so = session.session_meta.status != SessionStatus::Pending || meta.blob_id.is_some();
    if says_so && storage.blobs.is_committed(place)? {
        return Ok(());
    }
    storage.blobs.give_back(place)
}
