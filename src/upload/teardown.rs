//! Teardown of sessions that ended without a file, and the receipts of all ended sessions.

use candid::Principal;

use crate::api::HashAlgorithm;
use crate::blob::Place;
use crate::session::{Session, SessionId, SessionStatus, Time};
use crate::stable::StableError;
use crate::storage::Storage;

use super::idempotency::Fingerprint;
use super::{IdemKey, Outcome, PayloadState, Receipt, UploadMeta};

/// Removes a session that ended without a file from the indexes, and releases its idempotency key, its payload state
/// and the bytes that it reserved. `release` must release the payload of the session, or fail without changing
/// anything; the calling code must remove the session's record afterwards. Returns the idempotency key.
///
/// # Errors
/// If an account is damaged, or the error of `release`. Nothing is changed.
pub fn forget_session(
    storage: &mut Storage,
    id: SessionId,
    owner: Principal,
    session: &Session,
    capsule_id: &str,
    release: impl FnOnce(&mut Storage) -> Result<(), StableError>,
) -> Result<IdemKey, StableError> {
    let key = IdemKey::of(capsule_id, &owner, &session.session_meta.idem);
    // If the entry of the key is damaged, it leads to no session, so it is removed as well.
    let key_leads_here = storage.index.find(key).map_or(true, |found| found == Some(id));
    // A legacy record in no index is on no account.
    let is_on_accounts = storage.index.contains(id, owner);
    let accounts = is_on_accounts.then(|| storage.usage.session_accounts(owner, capsule_id)).transpose()?;
    release(storage)?;
    if let Some(accounts) = accounts {
        storage.usage.subtract_reserved(&accounts, session.bytes_expected);
        storage.promises.subtract(id, session.bytes_missing());
    }
    storage.index.remove_keeping_key(id, owner, session.session_meta.last_seen);
    if key_leads_here {
        storage.index.remove_key(key);
    }
    storage.payloads.remove(&id.0);
    Ok(key)
}

/// What the receipt of an ended session records, apart from the outcome.
pub struct Ended<'a> {
    /// Owner of the session.
    pub owner: Principal,
    /// Idempotency key of the session.
    pub key: IdemKey,
    /// Upload meta of the session.
    pub meta: &'a UploadMeta,
    /// Hash function chosen at begin, also if the upload was never verified.
    pub hash: HashAlgorithm,
    /// When the receipt of the session expires.
    pub receipt_expires_at: Time,
}

/// Stores a receipt that says how a session ended. If stable memory is full, only a finished session gets one: ending
/// a session is more important than leaving a receipt.
pub fn leave_receipt(storage: &mut Storage, id: SessionId, ended: &Ended<'_>, outcome: Outcome) {
    if !matches!(outcome, Outcome::Finished(_)) && storage.room.check_for_step().is_err() {
        return;
    }
    let Ended { owner, key, meta, hash, receipt_expires_at } = *ended;
    let receipt = Receipt {
        owner,
        idem_key: key.0,
        fingerprint: Fingerprint::of(&meta.asset_metadata, meta.expected_chunks, hash).0,
        expires_at: receipt_expires_at.as_nanos(),
        outcome,
    };
    storage.receipts.insert(id, &receipt);
}

/// Releases the bytes of a session, unless they belong to a blob.
///
/// # Errors
/// A damaged table.
pub fn release_payload(
    storage: &mut Storage,
    session: &Session,
    meta: &UploadMeta,
    place: &Place,
) -> Result<(), StableError> {
    if is_payload_of_blob(storage, session, meta, place) {
        return Ok(());
    }
    storage.blobs.free(place)
}

/// Frees the chaining values of a session that ends, if it has any, and then calls `free`, which must free the bytes of
/// the session, or fail without changing anything. If `free` fails, the session continues without the chaining values:
/// its chunks are then hashed from their stored bytes.
///
/// # Errors
/// A damaged table, or the error of `free`.
pub fn free_with_subtrees(
    storage: &mut Storage,
    id: SessionId,
    payload: &PayloadState,
    free: impl FnOnce(&mut Storage) -> Result<(), StableError>,
) -> Result<(), StableError> {
    let Some(slots) = &payload.subtrees else { return free(storage) };
    storage.blobs.extents_mut().free(slots)?;
    let freed = free(storage);
    if freed.is_err() {
        storage.payloads.insert(id.0, &PayloadState { subtrees: None, ..payload.clone() });
    }
    freed
}

/// Returns whether the bytes of a session belong to a blob. This is possible only for a session of the first public
/// release, which kept the records of committed uploads.
pub fn is_payload_of_blob(storage: &Storage, session: &Session, meta: &UploadMeta, place: &Place) -> bool {
    let may_be_committed = session.session_meta.status != SessionStatus::Pending || meta.blob_id.is_some();
    may_be_committed && storage.blobs.is_committed(place)
}
